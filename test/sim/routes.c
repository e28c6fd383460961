#include "routes.h"

#include <stdlib.h>

#include "base/vec.h"
#include "wire/messages.h"
#include "world.h"

enum {
    API_METADATA = 3,
    METADATA_VERSION = 12,
    CALL_MS = 2000,
    REFRESH_MIN_MS = 200,
    REFRESH_MAX_MS = 1500,
    SOON_MAX_MS = 60,
};

static void ask_in(struct routes *routes, int64_t min_ms, int64_t max_ms)
{
    loop_timer_start(routes->world->loop, &routes->timer, world_between(routes->world, min_ms, max_ms));
}

static void learn(struct routes *routes, size_t partition,
                  const struct metadata_response_metadata_response_partition *told)
{
    while (routes->count <= partition) {
        if (!VEC_RESERVE(routes->items, routes->count, routes->capacity)) abort();
        routes->items[routes->count++] = (struct route){-1, -1};
    }
    struct route *route = &routes->items[partition];
    bool is_sound = told->leader_id >= 0 && told->leader_id < routes->world->server_count;
    if (is_sound && told->leader_epoch >= route->epoch)
        *route = (struct route){told->leader_id, told->leader_epoch};
}

static void answered(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct routes *routes = call->context;
    const struct metadata_response *answer = response;
    routes->is_calling = false;
    ask_in(routes, REFRESH_MIN_MS, REFRESH_MAX_MS);
    for (int32_t t = 0; err == OK && t < answer->topics.count; t++) {
        const struct metadata_response_metadata_response_topic *topic = &answer->topics.items[t];
        for (int32_t p = 0; p < topic->partitions.count; p++) {
            size_t partition = history_find_partition(&routes->world->history, topic->name,
                                                      topic->partitions.items[p].partition_index);
            if (partition != SIZE_MAX) learn(routes, partition, &topic->partitions.items[p]);
        }
    }
}

static void ask(struct loop_timer *timer)
{
    struct routes *routes = CONTAINER_OF(timer, struct routes, timer);
    if (routes->is_calling || world_has_failed(routes->world)) return;
    if (!routes->peer.is_open) {
        ask_in(routes, 5, SOON_MAX_MS);
        return;
    }
    /* Each time another broker, now and then: one may know little for long. */
    if (world_chance(routes->world, 6)) peer_move(&routes->peer, PEER_ANY);
    struct metadata_request request;
    metadata_request_init(&request);
    request.topics.items = NULL;
    request.topics.count = -1; /* all */
    routes->call = (struct call){
        .done = answered, .context = routes, .max_version = METADATA_VERSION, .timeout_ms = CALL_MS};
    routes->is_calling = peer_send(&routes->peer, API_METADATA, &request, &routes->call) == OK;
    if (!routes->is_calling) ask_in(routes, 5, SOON_MAX_MS);
}

void routes_start(struct routes *routes, struct world *world, const char *name)
{
    *routes = (struct routes){.world = world};
    if (world->server_count == 1) return;
    routes->timer.run = ask;
    peer_start(&routes->peer, world, name, PEER_ANY);
    ask_in(routes, 0, SOON_MAX_MS);
}

void routes_stop(struct routes *routes)
{
    if (!routes->world) return;
    peer_stop(&routes->peer);
    loop_timer_stop(routes->world->loop, &routes->timer);
    free(routes->items);
    *routes = (struct routes){0};
}

void routes_refresh(struct routes *routes)
{
    if (routes->world->server_count > 1 && !routes->is_calling) ask_in(routes, 1, SOON_MAX_MS);
}

int routes_leader(const struct routes *routes, size_t partition)
{
    if (routes->world->server_count == 1) return 0;
    return partition < routes->count ? routes->items[partition].leader : -1;
}

int32_t routes_epoch(const struct routes *routes, size_t partition)
{
    return partition < routes->count ? routes->items[partition].epoch : -1;
}
