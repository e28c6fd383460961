#include "peer.h"

#include "world.h"

enum { CONNECT_MS = 1000, REDIAL_MIN_MS = 5, REDIAL_MAX_MS = 150 };

static void dial(struct loop_timer *timer);

static void dial_later(struct peer *peer)
{
    int64_t delay_ms = world_between(peer->world, REDIAL_MIN_MS, REDIAL_MAX_MS);
    loop_timer_start(peer->world->loop, &peer->redial, delay_ms);
}

static void lost(struct peer *peer)
{
    bool was_open = peer->is_open;
    peer->is_open = false;
    peer->wanted = peer->home;
    if (peer->connection) connection_close(&peer->connection);
    dial_later(peer);
    if (was_open && peer->on_lost) peer->on_lost(peer);
}

static void opened(void *context, enum error err)
{
    struct peer *peer = context;
    if (err != OK) {
        lost(peer);
        return;
    }
    peer->is_open = true;
    if (peer->on_open) peer->on_open(peer);
}

static void closed(void *context, enum error err)
{
    struct peer *peer = context;
    world_note(peer->world, "%s lost its connection to %s: %s", peer->name,
               peer->world->servers[peer->server].host, error_text(err));
    lost(peer);
}

static void dial(struct loop_timer *timer)
{
    struct peer *peer = CONTAINER_OF(timer, struct peer, redial);
    struct connection_options options = {.client_id = peer->name,
                                         .timeout_ms = CONNECT_MS,
                                         .max_frame_size = 64 << 20,
                                         .on_open = opened,
                                         .on_closed = closed,
                                         .context = peer};
    struct world *world = peer->world;
    peer->server = peer->wanted >= 0         ? peer->wanted
                   : world->server_count > 1 ? (int)world_between(world, 0, world->server_count - 1)
                                             : 0;
    enum error err = connection_open(world->loop, world->servers[peer->server].host, WORLD_PORT, &options,
                                     &peer->connection);
    if (err != OK) dial_later(peer);
}

void peer_start(struct peer *peer, struct world *world, const char *name, int home)
{
    peer->world = world;
    peer->name = name;
    peer->home = peer->wanted = home;
    peer->redial = (struct loop_timer){.run = dial};
    list_push_back(&world->peers, &peer->link);
    dial_later(peer);
}

void peer_stop(struct peer *peer)
{
    if (!peer->world) return;
    loop_timer_stop(peer->world->loop, &peer->redial);
    peer->is_open = false;
    if (peer->connection) connection_close(&peer->connection);
    list_remove(&peer->link);
    peer->world = NULL;
}

void peer_break(struct peer *peer)
{
    if (peer->connection) lost(peer);
}

void peer_move(struct peer *peer, int server)
{
    if (peer->connection) lost(peer);
    peer->wanted = server;
}

enum error peer_send(struct peer *peer, int16_t api_key, const void *request, struct call *call)
{
    if (!peer->is_open) return ERR_CLOSED;
    enum error err = connection_send(peer->connection, api_key, request, call);
    if (err != OK && err != ERR_CLOSED) {
        history_fail(&peer->world->history, "%s cannot send request %d: %s", peer->name, api_key,
                     error_text(err));
    }
    return err;
}
