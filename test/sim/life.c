#include "life.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const life_counts[] = {"starts",
                                   "power cuts",
                                   "kills",
                                   "stops",
                                   "ended by itself",
                                   "records acknowledged",
                                   "read",
                                   "commits",
                                   "claims",
                                   "topics",
                                   "producer ids",
                                   "lost with acks=1",
                                   "sent near by",
                                   "moves between directories",
                                   "deletions of records",
                                   NULL};

static void count(const struct world *world, int64_t counts[])
{
    const struct world_counts *servers = &world->counts;
    const struct history_counts *clients = &world->history.counts;
    const int64_t all[] = {servers->starts, servers->power_cuts,   servers->kills,        servers->stops,
                           servers->ends,   clients->acknowledged, clients->read,         clients->commits,
                           clients->claims, clients->topics,       clients->producer_ids, clients->lost,
                           clients->near,   clients->moves,        clients->deletions};
    _Static_assert(sizeof all / sizeof *all + 1 == sizeof life_counts / sizeof *life_counts,
                   "each has its name");
    memcpy(counts, all, sizeof all);
}

void life_live(enum plan_kind kind, void (*live)(struct world *world), uint64_t seed, int forced_replicas,
               void (*line)(void *context, const char *text), void *context, struct seeds_result *result)
{
    struct world *world;
    if (world_new(seed, kind, forced_replicas, line, context, &world) != OK) abort();
    live(world);
    if (world_has_failed(world)) {
        snprintf(result->fault, sizeof result->fault, "%s", world->history.fault.data);
        world_note(world, "FAULT: %s", result->fault);
    }
    result->trace = sim_trace(world->sim);
    result->virtual_ms = world_now_ms(world);
    count(world, result->counts);
    world_free(&world);
}
