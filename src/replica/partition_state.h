/* partition_state.h: what a partition is made of, and the steps that move its role. For replica/ alone: replicas.c makes
 * partitions and moves them, partition.c answers questions and wakes waiters. Everybody else sees partition.h.
 */
#pragma once
#include "base/list.h"
#include "loop/loop.h"
#include "replica/partition.h"

/* A follower as the leader knows it (KIP-101, facts/cluster.md 5.4). */
struct remote_replica {
    int32_t broker_id;
    int64_t log_end_offset;      /* -1 = unknown since this leader epoch began */
    int64_t last_caught_up_ms;   /* monotonic; 0 = not since this leader epoch began */
    int64_t last_fetch_ms;       /* of its previous fetch ... */
    int64_t leader_end_at_fetch; /* ... and where our log ended then */
};

struct partition {
    char *topic;
    size_t topic_size;
    int32_t index;
    struct uuid topic_id;
    struct loop *home;
    struct log *log; /* NULL: offline */

    int32_t self_id;
    enum partition_role role;
    int32_t leader, leader_epoch, controller_epoch;
    int32_t partition_epoch; /* the state znode's version */
    int64_t epoch_start_offset;
    int64_t high_watermark; /* read by other loops' metrics: relaxed atomic */
    bool sync_before_ack;   /* flush.messages = 1: only what log_synced_end_offset covers counts */
    int32_t min_insync_replicas;

    int32_t *replicas, *isr; /* broker ids, this one included */
    int32_t replica_count, isr_count;
    struct remote_replica *remotes; /* one for each replica but this one */
    int32_t remote_count;

    struct list committed_waiters, change_waiters;
    struct loop_message wake;
    bool is_wake_deferred, has_changed;
    /* Set once nobody can find it any more; called on the home loop when no wake-up is deferred: it may be freed. */
    void (*on_quiet)(void *context, struct partition *partition);
    void *on_quiet_context;

    /* The control loop's, which alone touches them. */
    struct {
        struct log *log;
        int32_t leader_epoch; /* of the last LeaderAndIsr that was taken */
    } control;
};

/* What LeaderAndIsr says of one partition. The arrays are copied. */
struct partition_assignment {
    int32_t leader, leader_epoch, partition_epoch, controller_epoch;
    const int32_t *replicas, *isr;
    int32_t replica_count, isr_count;
};

MUST_USE enum error partition_new(struct slice topic, int32_t index, int32_t self_id, struct loop *home,
                                  struct partition **partition);
/* The log must be taken away before. Not while a wake-up is deferred: partition_is_quiet. */
void partition_free(struct partition *partition);
bool partition_is_quiet(const struct partition *partition);

/* Home loop. Gives it its log, with the high watermark the log remembers, clamped to what it holds; or takes it away
 * (NULL). */
void partition_set_log(struct partition *partition, struct log *log);
/* Home loop. Both tell waiters of the old role. ERR_NOMEM changes nothing. */
MUST_USE enum error partition_become_leader(struct partition *partition,
                                            const struct partition_assignment *assignment);
MUST_USE enum error partition_become_follower(struct partition *partition,
                                              const struct partition_assignment *assignment);
/* Stops answering: nobody leads here from now on. The log stays. */
void partition_stop(struct partition *partition);
/* partition_stop, then on_quiet as soon as it may be freed, perhaps before this returns. */
void partition_remove(struct partition *partition,
                      void (*on_quiet)(void *context, struct partition *partition), void *context);
