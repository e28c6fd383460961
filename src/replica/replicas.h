/* replicas.h: all partitions that have a replica on this node, and the controller's word on them.
 *
 *     LeaderAndIsr, StopReplica --> control loop: checks, logs, homes --> each home loop: the role changes, listeners told
 *                                        ^                                      |
 *                                        `------------- answered when all did --'
 *
 * Homes    a partition lives on one loop. Loops fill one after another: the next one gets a new partition only when those
 *          before it were busy for more than half of the last second, for a hop costs more than most requests.
 * Tables   every loop has its own table of partitions, changed by messages: a partition is in all of them before its first
 *          role is answered, and out of all of them before it is freed.
 * Threads  control loop: everything, but what names another. replicas_find and replicas_next: any of the loops, for itself.
 * Source   facts/cluster.md 4.2, 4.3, 4.5; KIP-516, KIP-570.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "replica/fetcher.h"
#include "replica/partition.h"
#include "storage/log_store.h"

struct replicas;
struct controller_link;
struct metadata;
struct leader_and_isr_request;
struct leader_and_isr_response;
struct stop_replica_request;
struct stop_replica_response;

/* What a topic's configuration says to its partitions. */
struct topic_rules {
    struct log_config log; /* log.flush_messages == 1 asks for a sync before the ack */
    int32_t min_insync_replicas;
    /* KIP-73: replicas as their topic's lists name them, and this broker's rates; null lists name none. */
    struct slice throttled_leaders, throttled_followers;
    int64_t leader_rate, follower_rate;
    int64_t move_rate; /* replica.alter.log.dirs.io.max.bytes.per.second */
};

struct replicas_options {
    int32_t broker_id;
    struct loop *const
        *loops; /* loops[0] is the control loop and the store's; all of them run on when replicas close */
    size_t loop_count;
    struct log_store *store; /* loaded */
    struct metadata *metadata;
    struct controller_link *controller_link; /* changes of an ISR go there; NULL in tests of one broker */
    struct slice listener;                   /* inter-broker, by which leaders are reached; copied */
    struct fetch_rules fetch;
    struct lane *copy_lane; /* reads what moves between log directories */
    int64_t lag_max_ms;     /* replica.lag.time.max.ms; 0 = its default */
    bool is_spread;         /* loops get homes in turn, whether those before them are busy or not */
    /* The rules of a topic as of now; any of the loops. */
    void (*topic_rules)(void *context, struct slice topic, struct topic_rules *rules);
    void *context;
};

MUST_USE enum error replicas_new(const struct replicas_options *options, struct replicas **replicas);
/* Each partition stops, its listeners are told, its log leaves its home; then done on the control loop, and the store may be
 * closed. Nothing may be asked of partitions after this call. */
void replicas_close(struct replicas *replicas, void (*done)(void *context), void *context);
/* After done, when no loop runs any more or none asks: the partitions go with it. */
void replicas_free(struct replicas **replicas);

/* The partition as `loop` knows it, NULL when there is none here. `loop` is the loop that asks. It lives at least until
 * this loop's turn ends; who keeps it longer waits on it and is told when it stops. */
struct partition *replicas_find(struct replicas *replicas, const struct loop *loop, struct slice topic,
                                int32_t index);
/* Walks those of `loop`'s table. for (i = 0; (p = replicas_next(replicas, loop, &i));) in repeatable order. */
struct partition *replicas_next(struct replicas *replicas, const struct loop *loop, size_t *position);

/* Who hears on the partition's home loop that this broker leads it from now on (again with each epoch), or does no longer.
 * The caller owns it; register before the first LeaderAndIsr. */
struct role_listener {
    void (*led)(void *context, struct partition *partition);
    void (*resigned)(void *context, struct partition *partition);
    void *context;
    struct role_listener *next;
};
void replicas_listen(struct replicas *replicas, struct role_listener *listener);

/* As struct broker_appliers wants them. done may come before they return. */
void replicas_apply_leader_and_isr(struct replicas *replicas, const struct leader_and_isr_request *request,
                                   struct arena *arena, struct leader_and_isr_response *response,
                                   void (*done)(void *done_context), void *done_context);
void replicas_apply_stop_replica(struct replicas *replicas, const struct stop_replica_request *request,
                                 struct arena *arena, struct stop_replica_response *response,
                                 void (*done)(void *done_context), void *done_context);

/* AlterReplicaLogDirs: where replicas are to lie. Control loop; done may come before it returns. err: OK, it is there or on its way;
 * ERR_LOG_DIR_NOT_FOUND; ERR_KAFKA_STORAGE_ERROR: something is offline; ERR_REPLICA_NOT_AVAILABLE: none is here (one that is made
 * later will lie there), or another request moves it just now; ERR_INVALID_TOPIC_EXCEPTION: its name is too long. */
struct dir_change {
    struct slice topic, dir; /* until done */
    int32_t index;
    enum error err;
};
void replicas_alter_dirs(struct replicas *replicas, struct dir_change *changes, size_t count,
                         struct arena *arena, void (*done)(void *context), void *context);

/* The topic's configuration changed, or with a null name that of all: asks topic_rules again for each. */
void replicas_reconfigure(struct replicas *replicas, struct slice topic);

/* How many there are, and lead, over all loops. Control loop. */
struct replicas_count {
    int64_t partitions, leaders, under_replicated, under_min_isr, offline;
};
void replicas_count(const struct replicas *replicas, struct replicas_count *count);
/* True once every partition that LeaderAndIsr named so far has its role: what readiness asks. */
bool replicas_is_settled(const struct replicas *replicas);
