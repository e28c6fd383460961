/* partition_state.h: what a partition is made of, and the steps that move its role. For replica/ alone: replicas.c makes
 * partitions and moves them, partition.c answers questions and wakes waiters. Everybody else sees partition.h.
 */
#pragma once
#include "base/list.h"
#include "loop/loop.h"
#include "replica/isr.h"
#include "replica/partition.h"
#include "replica/peers.h"

struct followed;
struct move;
struct throttle;

/* What the partitions of one loop share. */
struct partition_cluster {
    struct peers peers;
    int64_t lag_max_ms; /* replica.lag.time.max.ms */
    /* partition->isr.proposed is to be told to the controller. */
    void (*propose)(void *context, struct partition *partition);
    void *context;
};

enum partition_change { CHANGE_END = 1, CHANGE_HIGH = 2, CHANGE_ROLE = 4, CHANGE_START = 8, CHANGE_LOW = 16 };

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
    struct isr isr;                          /* of a follower: only who is assigned */
    const struct partition_cluster *cluster; /* NULL in tests: all are alive, nothing is proposed */
    struct followed *followed;               /* replica/fetcher.h's; NULL = follows nobody */
    struct move *move;                       /* replica/move.h's; NULL = it stays in its log directory */
    int64_t high_watermark;                  /* read by other loops' metrics: relaxed atomic */
    bool is_proposal_held; /* to be alone in the ISR: told once what is committed is synced */
    bool sync_before_ack;  /* flush.messages = 1: only what log_synced_end_offset covers counts */
    int32_t min_insync_replicas;
    struct throttle *throttle_out, *throttle_in; /* of what is led, and followed, here; NULL: not slowed */

    struct list committed_waiters, change_waiters;
    struct loop_message wake;
    bool is_wake_deferred;
    unsigned changes;                               /* enum partition_change: since the last wake-up */
    struct partition_append *appends, *last_append; /* of this turn, to be written at its end */
    struct loop_message write;
    /* Set once nobody can find it any more; called on the home loop when nothing is deferred: it may be freed. */
    void (*on_quiet)(void *context, struct partition *partition);
    void *on_quiet_context;

    /* The control loop's, which alone touches them. */
    struct {
        struct log *log;
        struct log *future; /* found at the start: its way to another directory goes on with its first role */
        int32_t leader_epoch; /* of the last LeaderAndIsr that was taken */
        bool is_altering;     /* a request to move it is under way */
    } control;
};

/* What LeaderAndIsr says of one partition. The arrays are copied. */
struct partition_assignment {
    int32_t leader, leader_epoch, partition_epoch, controller_epoch;
    const int32_t *replicas, *isr;
    int32_t replica_count, isr_count;
    bool is_recovering;
};

MUST_USE enum error partition_new(struct slice topic, int32_t index, int32_t self_id, struct loop *home,
                                  struct partition **partition);
/* The log must be taken away before. Not while something of it is deferred: partition_is_quiet. */
void partition_free(struct partition *partition);
bool partition_is_quiet(const struct partition *partition);

/* Home loop. Gives it its log, with the high watermark the log remembers, clamped to what it holds; or takes it away
 * (NULL). */
void partition_set_log(struct partition *partition, struct log *log);
/* Home loop. It goes on in `log`, which is the same one elsewhere (storage/move.h). */
void partition_swap_log(struct partition *partition, struct log *log);
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

/* --- partition.c and partition_progress.c to each other --- */
void partition_wake(struct partition *partition, unsigned changes);
/* Up to where our own log counts: to what a power cut would leave, where partition_must_sync. */
int64_t partition_local_end(const struct partition *partition);
/* Only what is synced counts: where the topic says so, and where of several replicas this one alone is left in the ISR. Nobody
 * else could lead, so what a power cut took from it would be gone, acknowledged or not (KIP-966 has no other way for ZooKeeper). */
bool partition_must_sync(const struct partition *partition);
void partition_advance_high_watermark(struct partition *partition);

/* --- as leader: replicas.c's --- */
/* The controller answered a proposal; tells what became of it. */
enum isr_outcome partition_isr_answered(struct partition *partition, int32_t asked_leader_epoch,
                                        int32_t asked_partition_epoch, const struct isr_answer *answer);
/* Followers that fell behind leave the ISR. */
void partition_check_lag(struct partition *partition);

/* --- as follower: the fetcher's --- */
/* What the leader's answer says of it, after its records were appended. */
void partition_follow_offsets(struct partition *partition, int64_t high_watermark, int64_t log_start_offset);
MUST_USE enum error partition_append_fetched(struct partition *partition, uint8_t *batches, size_t size);
MUST_USE enum error partition_cut(struct partition *partition, int64_t offset);
MUST_USE enum error partition_start_at(struct partition *partition, int64_t offset);
