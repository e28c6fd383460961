#include "server.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "keeper/keeper.h"
#include "node/node.h"
#include "peer.h"
#include "settings/settings.h"
#include "witness.h"
#include "world.h"

enum {
    MAX_LOOPS = 2,
    STOP_MS = 30000, /* of virtual time; a clean stop must do */
    KEEPER_TICK_MS = 500,
};

/* One start of the server, to its end. Abandoned when the machine dies. */
struct server_life {
    struct server *server;
    struct loop *loops[MAX_LOOPS];
    int loop_count;
    struct settings *settings;
    struct node *node; /* or */
    struct keeper *keeper;
    struct lane *lane; /* the keeper's */
    bool has_ended;
    struct loop_message start, stop;
};

void server_init(struct server *server, struct world *world, const char *host, int id, bool is_keeper)
{
    *server = (struct server){.world = world, .is_there = true, .id = id, .is_keeper = is_keeper};
    snprintf(server->host, sizeof server->host, "%s", host);
}

static void note(const struct server *server, const char *what)
{
    world_note(server->world, "%s: %s", server->host, what);
}

const struct keeper *server_keeper(const struct server *server)
{
    return server->state == SERVER_READY && server->life ? server->life->keeper : NULL;
}

/* --- death --- */

/* What follows once the machine has died, by our hand or by itself in the middle of a write. */
static void mourn(struct server *server, bool is_power_lost)
{
    struct world *world = server->world;
    server->deaths_seen = sim_machine_crashes(server->machine);
    server->state = SERVER_DOWN;
    server->life = NULL; /* abandoned */
    if (!is_power_lost) return;
    world->counts.power_cuts++;
    if (world->plan.is_durable || server->is_keeper) return;
    if (plan_is_replicated(&world->plan)) {
        server->is_hurt = true;
        witness_hurt(world->witness, server);
        return;
    }
    world_peers_break(world);
    history_power_cut(&world->history);
}

void server_power_cut(struct server *server)
{
    note(server, "power cut");
    sim_machine_crash(server->machine);
    mourn(server, true);
}

void server_kill(struct server *server)
{
    note(server, "kill -9");
    server->world->counts.kills++;
    sim_machine_kill(server->machine);
    mourn(server, false);
}

/* The process is over: its loops, sockets and locks go; memory that was not freed stays abandoned. */
static void bury(struct server *server)
{
    if (server->life) settings_free(&server->life->settings);
    free(server->life);
    sim_machine_kill(server->machine);
    mourn(server, false);
}

bool server_look(struct server *server)
{
    bool has_died = sim_machine_crashes(server->machine) != server->deaths_seen;
    if (has_died) {
        note(server, "the power is gone in the middle of a write");
        mourn(server, true);
    }
    if (server->life && server->life->has_ended) {
        bury(server); /* it ended by itself or was stopped */
        has_died = true;
    }
    return has_died;
}

/* --- the disk --- */

void server_disk_full(struct server *server, bool is_full)
{
    note(server, is_full ? "the disk is full" : "the disk has room");
    sim_disk_full(server->machine, is_full);
    server->is_full = is_full;
}

void server_fail_syncs(struct server *server, int count)
{
    world_note(server->world, "%s: the next %d syncs fail", server->host, count);
    sim_disk_fail_sync(server->machine, count);
    server->is_disk_sick = server->may_end = true;
}

void server_disk_heal(struct server *server)
{
    server->is_full = false;
    sim_disk_full(server->machine, false);
    sim_disk_fail_sync(server->machine, 0);
    sim_disk_slow(server->machine, 0, 0);
    server->is_disk_sick = false;
}

/* --- ready and over --- */

static void is_ready(struct server_life *life, const char *line)
{
    struct server *server = life->server;
    note(server, line);
    if (server->state == SERVER_STARTING) {
        server->state = SERVER_READY;
        server->ready_ms = world_now_ms(server->world);
    }
}

static void has_ended(struct server_life *life, enum error err, const char *problem)
{
    struct server *server = life->server;
    struct world *world = server->world;
    world_note(world, "%s: ended: %s: %s", server->host, error_name(err), problem);
    bool was_asked = server->state == SERVER_STOPPING && err == OK;
    if (!was_asked && !server->may_end) {
        history_fail(&world->history, "%s ended by itself: %s: %s", server->host, error_name(err), problem);
    }
    world->counts.ends += !was_asked;
    server->state = SERVER_DOWN;
    life->node = NULL;
    life->has_ended = true;
}

/* --- a broker --- */

static void node_is_ready(void *context, const char *line)
{
    is_ready(context, line);
}

static void node_has_ended(void *context, enum error err, const char *problem)
{
    has_ended(context, err, problem);
}

static void start_node(struct loop_message *message)
{
    struct server_life *life = CONTAINER_OF(message, struct server_life, start);
    struct world *world = life->server->world;
    struct node_config config = {.settings = life->settings,
                                 .loops = life->loops,
                                 .loop_count = (size_t)life->loop_count,
                                 .is_spread = world->plan.is_spread,
                                 .disk = sim_machine_disk(life->server->machine),
                                 .started_us = loop_clock_us(life->loops[0]),
                                 .on_ready = node_is_ready,
                                 .on_end = node_has_ended,
                                 .context = life};
    enum error err = node_start(&config, &life->node);
    if (err != OK) history_fail(&world->history, "node_start: %s", error_text(err));
}

static void stop_node(struct loop_message *message)
{
    struct server_life *life = CONTAINER_OF(message, struct server_life, stop);
    if (life->node) node_stop(life->node);
}

static enum error load_settings(const struct server *server, struct settings **settings)
{
    struct text text = {0};
    plan_settings(server->world, server->id, &text);
    struct settings_sources sources = {.name = "server.properties", .text = text_slice(&text)};
    enum error err = text.failed ? ERR_NOMEM : settings_load(&sources, settings);
    text_free(&text);
    return err;
}

/* --- the keeper alone, as `odradek keeper` runs it --- */

static void keeper_ready(void *context, enum error err)
{
    struct server_life *life = context;
    if (err == OK) err = keeper_listen(life->keeper, life->server->host, WORLD_KEEPER_PORT);
    if (err != OK)
        has_ended(life, err, "the keeper did not recover or cannot listen");
    else
        is_ready(life, "ready: keeper");
}

static void keeper_failed(void *context, enum error err)
{
    has_ended(context, err, "the keeper's log failed");
}

static void start_keeper(struct loop_message *message)
{
    struct server_life *life = CONTAINER_OF(message, struct server_life, start);
    struct server *server = life->server;
    static const struct keeper_events events = {.ready = keeper_ready, .failed = keeper_failed};
    struct keeper_config config;
    keeper_config_init(&config);
    config.data_dir = "/data/keeper";
    config.tick_time_ms = KEEPER_TICK_MS;
    config.snap_count = 500;
    config.max_client_cnxns = 0;
    enum error err = lane_new(life->loops[0], "keeper-sync", 1, &life->lane);
    if (err == OK) {
        err = keeper_open(&config, life->loops[0], sim_machine_disk(server->machine), life->lane, &events,
                          life, &life->keeper);
    }
    if (err != OK) history_fail(&server->world->history, "keeper_open: %s", error_text(err));
}

static void keeper_closed(void *context)
{
    struct server_life *life = context;
    lane_free(life->lane);
    has_ended(life, OK, "");
}

static void stop_keeper(struct loop_message *message)
{
    struct server_life *life = CONTAINER_OF(message, struct server_life, stop);
    keeper_close(&life->keeper, keeper_closed, life);
}

/* --- life --- */

void server_start(struct server *server)
{
    assert(server->state == SERVER_DOWN && !server->life);
    struct world *world = server->world;
    struct server_life *life = calloc(1, sizeof *life);
    if (!life) abort();
    life->server = server;
    life->loop_count = server->is_keeper ? 1 : world->plan.loops;
    enum error err = server->is_keeper ? OK : load_settings(server, &life->settings);
    for (int i = 0; i < life->loop_count && err == OK; i++)
        err = sim_loop_new(server->machine, &life->loops[i]);
    if (err != OK) {
        history_fail(&world->history, "could not begin a life: %s", error_text(err));
        return;
    }
    note(server, "start");
    world->counts.starts++;
    server->life = life;
    server->state = SERVER_STARTING;
    server->may_end = server->is_disk_sick;
    life->start.run = server->is_keeper ? start_keeper : start_node;
    loop_post(life->loops[0], &life->start);
}

void server_ask_stop(struct server *server)
{
    if (server->state == SERVER_DOWN || server->state == SERVER_STOPPING) return;
    note(server, "stop");
    server->world->counts.stops++;
    server->state = SERVER_STOPPING;
    server->life->stop.run = server->is_keeper ? stop_keeper : stop_node;
    loop_post(server->life->loops[0], &server->life->stop);
}

static bool is_down(void *context)
{
    return ((struct server *)context)->state == SERVER_DOWN;
}

void server_stop(struct server *server)
{
    struct world *world = server->world;
    if (server->state == SERVER_DOWN) return;
    server_ask_stop(server);
    if (!world_run_until(world, is_down, server, STOP_MS)) {
        history_fail(&world->history, "a clean stop of %s does not end within %d s", server->host,
                     STOP_MS / 1000);
    }
    world_run(world, 0); /* takes leave of it */
}
