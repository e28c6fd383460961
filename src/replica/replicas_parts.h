/* replicas_parts.h: what the files of replicas.h share. For those alone:
 *
 *     replicas.c        tables, listeners, counts, configuration, the end
 *     roles.c           a home loop changes a role
 *     change.c          a change visits every loop and comes back
 *     leader_and_isr.c  stop_replica.c  the controller's words, on the control loop
 *     alter_dirs.c      moves between log directories
 *     others.c          the other brokers: who lives, what an ISR is to be, who fell behind
 */
#pragma once
#include "loop/loop.h"
#include "metadata/metadata.h"
#include "replica/alter_isr.h"
#include "replica/fetcher.h"
#include "replica/late_roles.h"
#include "replica/move.h"
#include "replica/partition_state.h"
#include "replica/recent_stops.h"
#include "replica/replicas.h"
#include "replica/table.h"
#include "replica/throttle.h"
#include "wire/messages.h"

/* What one loop has. Touched by that loop alone, but for `home_closed`. */
struct replica_loop {
    struct replicas *owner;
    struct loop *loop;
    struct partition_table table;
    struct log_home home;
    bool has_home;
    struct partition_cluster cluster;
    struct fetchers fetchers;
    struct moves moves;
    struct loop_timer lag_timer;
    struct loop_message lag_start;
    bool is_closed; /* its partitions have stopped for good */
    struct loop_message closing, closed;
};

struct replicas {
    struct replicas_options options;
    struct replica_loop *loops;
    struct role_listener *listeners;
    int64_t pending_changes;
    bool is_busy;        /* a change is under way that lets no other begin: what comes meanwhile waits, */
    struct list waiting; /* as struct change_later, in order */
    struct recent_stops stops;
    struct late_roles late;
    size_t next_home;            /* when they are spread */
    struct replicas_count count; /* relaxed atomics */
    struct throttle throttle_out, throttle_in, throttle_moves;
    struct metadata_listener on_image;
    struct peers peers;          /* as last told to the loops */
    struct alter_isr *alter_isr; /* NULL without a controller to tell */
    size_t loops_to_close;
    void (*on_closed)(void *context);
    void *on_closed_context;
    bool is_closing;
};

/* --- change.c --- */

struct step {
    struct partition *partition; /* NULL: refused, err says why */
    struct slice topic;
    const struct uuid *topic_id; /* LeaderAndIsr; in the request */
    int32_t index;
    enum error err;
    bool is_new, is_delete;
    struct dir_change *move; /* alter_dirs.c's, and the future log that comes or goes: */
    struct log *future;
    int32_t epoch_before; /* of the partition, if the role is not taken */
    const struct leader_and_isr_request_leader_and_isr_partition_state *state;
    struct partition_assignment assignment;
};

struct change;

struct visit {
    struct loop_message there, back;
    struct change *change;
    size_t loop_index;
};

/* Who asks for a change, and who hears of its end. */
struct change_call {
    int32_t controller_epoch; /* what a controller says of itself and of us; see change_obey */
    int64_t broker_epoch;
    const void *request;
    void *response;
    int16_t *error_code; /* of the whole response */
    void (*done)(void *context);
    void *context;
};

struct change {
    struct replicas *replicas;
    struct step *steps;
    size_t count;
    void (*at_loop)(struct change *change, struct replica_loop *here);
    void (*at_end)(struct change *change); /* control loop */
    struct loop_message go_on; /* LeaderAndIsr goes in rounds: this one has the steps begin <= i < end */
    size_t begin, end;
    bool is_alone;
    size_t visits_out;
    size_t quiet_out; /* removals that wait for a partition to be quiet */
    struct arena *arena;
    struct change_call call;
    struct visit visits[];
};

/* NULL without memory. */
struct change *change_new(struct replicas *replicas, size_t count, struct arena *arena,
                          const struct change_call *call);
/* The same for a controller's request. NULL when it is not to be obeyed: then it is answered. */
struct change *change_obey(struct replicas *replicas, size_t count, struct arena *arena,
                           const struct change_call *call);
/* A partition that is stopped is in no table, while its log is there until the partition is quiet: neither may a role be taken on that
 * log meanwhile, nor another request delete it. And what a later round of LeaderAndIsr is to make must not be stopped before it is
 * made. So StopReplica is alone from beginning to end, and LeaderAndIsr while it has rounds before it. */
struct change_later {
    struct list link;
    struct replicas *replicas;
    void (*apply)(const struct change_later *later); /* on an arena of its own call's */
    int32_t controller_epoch;
    int64_t broker_epoch;
    const void *request;
    struct arena *arena;
    void *response;
    void (*done)(void *done_context);
    void *done_context;
};

/* Applies what a controller asks, now or when its turn comes. A new controller is known from now on: what an older one said and is
 * not done yet is void. If it cannot be kept until then, or is not to be obeyed, *error_code says why and it is done. */
void change_in_turn(struct change_later asked, int16_t *error_code);
void change_alone_begin(struct replicas *replicas);
void change_alone_end(struct replicas *replicas);
/* Every loop, the control loop last: so a change of a node with one loop is over before this returns. */
void change_run(struct change *change, void (*at_loop)(struct change *change, struct replica_loop *here),
                void (*at_end)(struct change *change));
void change_end(struct change *change);

/* --- alter_dirs.c --- */
void replica_move_ended(void *context, struct move_end *end); /* moves.ended; context: struct replicas */

/* --- roles.c: the home loop --- */
struct log_home *replica_home(struct replica_loop *here);
void replica_loop_init(struct replica_loop *here, struct replicas *replicas, struct loop *loop);
MUST_USE enum error replica_change_role(struct replica_loop *here, struct partition *partition,
                                        const struct partition_assignment *assignment);
void replica_stop(struct replica_loop *here, struct partition *partition);
void replica_apply_rules(struct replicas *replicas, struct partition *partition);
/* Gauges count what each partition adds: taken away before a change, added again after. */
void replica_count_role(struct replicas *replicas, const struct partition *partition, int64_t sign);
static inline void replica_count_add(int64_t *count, int64_t n)
{
    __atomic_fetch_add(count, n, __ATOMIC_RELAXED);
}

/* --- others.c --- */
/* Control loop. */
MUST_USE enum error others_begin(struct replicas *replicas);
void others_end(struct replicas *replicas);
/* Home loop: the loop's partitions stopped. */
void others_end_here(struct replica_loop *here);
/* partition_cluster.propose */
void others_propose(void *context, struct partition *partition);
void others_check_lag(struct loop_timer *timer);
