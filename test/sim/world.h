/* world.h: a simulated cluster with its clients, from a seed: machines of their own for each server, which may lose power, be
 * killed, be stopped and started again.
 *
 *     machine 10.0.0.1 ...  one or two loops, disk    broker 0, 1, ...: one life after the other on the same disk
 *     machine 10.0.2.1      one loop, disk            a keeper alone, where the plan has one; else broker 0 has its own
 *     machine 10.0.1.1      one loop                  producers, members, the admin, the reader
 *
 * The world holds time, chance, the plan and the history; what a machine lives through is server.h.
 *
 * Memory   of a server that was crashed is abandoned with it: run with leak detection off.
 * Threads  one. All chance comes from the seed, in a fixed order.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/random.h"
#include "base/text.h"
#include "history.h"
#include "loop/loop.h"
#include "loop/sim.h"
#include "plan.h"
#include "server.h"

#define WORLD_CLIENTS "10.0.1.1"
#define WORLD_KEEPER "10.0.2.1"
enum { WORLD_PORT = 9092, WORLD_KEEPER_PORT = 2181, WORLD_MAX_SERVERS = 5 };

struct world_counts {
    int64_t starts, power_cuts, kills, stops, ends;
};

struct witness;

struct world {
    uint64_t seed;
    int forced_replicas; /* 0 = as the seed draws them */
    struct plan plan;
    struct random random;
    struct sim *sim;
    struct sim_machine *clients;
    struct loop *loop; /* the clients' */
    struct server servers[WORLD_MAX_SERVERS];
    int server_count;
    struct server keeper;    /* is_there when the plan has a keeper alone */
    struct witness *witness; /* of the keeper's znodes; NULL without a keeper alone */
    bool is_calm;            /* all is well, and what was is over: nobody is deposed without knowing it */
    struct list peers;
    struct history history;
    struct world_counts counts;

    void (*line)(void *context, const char *text);
    void *line_context;
};

/* `line` (may be NULL) gets every event of the simulation and every note, as readable lines. */
MUST_USE enum error world_new(uint64_t seed, enum plan_kind kind, int forced_replicas,
                              void (*line)(void *context, const char *text), void *context,
                              struct world **world);
void world_free(struct world **world);

int64_t world_now_ms(const struct world *world);
/* min .. max, both included. */
int64_t world_between(struct world *world, int64_t min, int64_t max);
bool world_chance(struct world *world, unsigned one_in);
/* A line in the trace. */
void world_note(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline bool world_has_failed(const struct world *world)
{
    return history_has_fault(&world->history);
}
/* Cuts every client off at once, so that nothing of before is heard later. */
void world_peers_break(struct world *world);

/* Lets `ms` pass, or less when a server dies or a fault is found. */
void world_run(struct world *world, int64_t ms);
/* Until check is true; false at the limit or on a fault. A server's death does not end it. */
bool world_run_until(struct world *world, bool (*check)(void *context), void *context, int64_t limit_ms);

/* Starts every server that is down until all are ready at once; a fault if that takes more than a few starts or too long. */
void world_bring_up(struct world *world);
/* Stops every server in good order, the keeper last. */
void world_stop_all(struct world *world);
