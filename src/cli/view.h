/* view.h: a cluster at one moment, put together from what its brokers answer: what status shows and plans are made from.
 *
 * Metadata names brokers, leaders, replicas and ISR; DescribeLogDirs (each broker) the bytes; ListPartitionReassignments what
 * moves; DescribeConfigs min.insync.replicas. The parts come one after another, so a cluster in motion may look a little
 * crooked. Memory is the admin's arena: admin_forget lets a view go.
 */
#pragma once
#include "cli/admin.h"

struct view_broker {
    int32_t id;
    struct slice host; /* null: it is down, and only replicas still name it */
    int32_t port;
    struct slice rack; /* null: none */
    bool is_silent;    /* named by the others, but it does not answer us */
    int32_t leads, holds;
    int64_t bytes;                     /* of its replicas; -1 unknown */
    int64_t total_bytes, usable_bytes; /* of its disks; -1 unknown */
};

struct ids {
    const int32_t *items;
    int32_t count;
};

struct view_partition {
    struct slice topic;
    int32_t index, leader, leader_epoch;
    struct ids replicas, isr, offline;
    struct ids adding, removing; /* part of replicas; both empty: it is not being reassigned */
    bool is_moving;
    int32_t min_isr; /* -1 unknown */
    int64_t *sizes;  /* bytes of each of replicas; -1 unknown */
};

struct view {
    struct slice cluster_id;
    int32_t controller;          /* -1 unknown */
    struct view_broker *brokers; /* by id */
    size_t broker_count;
    struct view_partition *partitions; /* by topic and index */
    size_t partition_count, topic_count, moving_count;
    int64_t at_ms;
    bool has_moves; /* false: the controller did not say what moves */
};

enum view_parts {
    VIEW_SIZES = 1,        /* of all replicas */
    VIEW_MOVING_SIZES = 2, /* of those being reassigned */
    VIEW_MIN_ISR = 4,
    VIEW_MOVES = 8,
};

/* OK or what kept it from the brokers and topics themselves; a part that is missing is shown as unknown. */
MUST_USE enum error view_read(struct admin *admin, int parts, struct view *view);
struct view_broker *view_broker(const struct view *view, int32_t id);
struct view_partition *view_find(const struct view *view, struct slice topic, int32_t index);
bool view_ids_have(struct ids ids, int32_t id);
/* Bytes of the replica on this broker, -1 unknown; of the largest replica. */
int64_t view_size_on(const struct view_partition *partition, int32_t broker);
int64_t view_size(const struct view_partition *partition);
/* Replicas it shall have in the end: those that are not going. Memory is the arena's; null without. */
struct ids view_target(struct arena *arena, const struct view_partition *partition);

/* Copying that is under way: bytes to copy in all, and copied. */
struct view_progress {
    int64_t bytes, done;
};
struct view_progress view_progress_of(const struct view_partition *partition);
struct view_progress view_progress(const struct view *view);
