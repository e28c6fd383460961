/* world.h: one simulated node with its clients, from a seed: two loops and a disk on a machine of its own, which may lose power,
 * be killed, be stopped and started again.
 *
 *     machine 10.0.0.1   loop 0, loop 1, disk    the node: one life after the other on the same disk
 *     machine 10.0.0.2   one loop                producers, members, the admin, the reader
 *
 * The world checks the node's life: after each start it must be ready (unless the adversary has just made that impossible), it
 * must not end by itself without a reason, and a clean stop must end. What it tells its clients is checked by history.h.
 *
 * Memory   of a node that was crashed is abandoned with it: run with leak detection off.
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

#define WORLD_SERVER "10.0.0.1"
#define WORLD_CLIENTS "10.0.0.2"
#define WORLD_PORT 9092

/* What kind of world a seed makes. */
struct plan {
    bool is_durable;     /* flush.messages=1: a power cut loses nothing acknowledged */
    bool has_power_cuts; /* else only kill -9 and clean stops */
    bool has_lost_syncs;
    bool
        is_spread; /* both loops have work from the start; else the second gets some when the first is busy */
    int data_dirs; /* 1 or 2 */
    int producers, groups, members_per_group;
    int topics, partitions_per_topic, offsets_partitions;
    int segment_bytes, roll_ms, index_interval_bytes, checkpoint_ms, session_ms;
    int steps; /* of the adversary */
};

enum node_state { NODE_DOWN, NODE_STARTING, NODE_READY, NODE_STOPPING };

struct world_counts {
    int64_t starts, power_cuts, kills, stops, ends;
};

struct node_life;

struct world {
    uint64_t seed;
    struct plan plan;
    struct random random;
    struct sim *sim;
    struct sim_machine *server, *clients;
    struct loop *loop; /* the clients' */
    struct list peers;
    struct history history;

    enum node_state state;
    struct node_life *life;    /* NULL while down */
    int deaths_seen;           /* sim_machine_crashes at the last look */
    bool is_full, was_starved; /* the disk is full; it was when this life began */
    bool is_disk_sick;         /* its syncs fail */
    bool may_end;              /* it was while this life lasted, so it may end by itself */
    bool has_lost_sync; /* the kernel dropped pages that it still shows: only a power cut tells the truth */
    int64_t skew_ms;    /* of the server's wall clock */
    struct world_counts counts;

    void (*line)(void *context, const char *text);
    void *line_context;
};

/* `line` (may be NULL) gets every event of the simulation and every note, as readable lines. */
MUST_USE enum error world_new(uint64_t seed, void (*line)(void *context, const char *text), void *context,
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

/* Lets `ms` pass, or less when the machine dies or a fault is found. */
void world_run(struct world *world, int64_t ms);
/* Until check is true; false at the limit or on a fault. The node's death does not end it. */
bool world_run_until(struct world *world, bool (*check)(void *context), void *context, int64_t limit_ms);

/* The disk is full or its syncs fail from now on, or is well again. */
void world_disk_full(struct world *world, bool is_full);
void world_fail_syncs(struct world *world, int count);
void world_disk_heal(struct world *world);

/* The node's life. A start begins and returns. */
void world_start_node(struct world *world);
void world_power_cut(struct world *world);
/* A power cut instead when has_lost_sync. */
void world_kill(struct world *world);
/* Asks for a clean stop and waits for its end (or for the power to go meanwhile). */
void world_stop_node(struct world *world);
/* Starts it until it is ready; a fault if that takes more than a few starts or too long. */
void world_bring_up(struct world *world);
