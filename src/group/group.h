/* group.h: the group coordinator: who consumes what, and how far they came.
 *
 *     FindCoordinator   group id -> partition of __consumer_offsets -> its leader
 *     JoinGroup  -->  members meet: a generation, a protocol, a leader    (wait: "PreparingRebalance")
 *     SyncGroup  -->  the leader's assignment, written, then told to all  (wait: "CompletingRebalance")
 *     Heartbeat, OffsetCommit, OffsetFetch, LeaveGroup                    ("Stable")
 *
 * A group lives with its partition of __consumer_offsets, on that partition's home loop. A caller does not care: it
 * calls on its own loop, the call travels to the group and comes back, and done() runs on the caller's loop, perhaps
 * before the function returns. Each call is answered once, errors included: the answer is always a whole response.
 *
 * Memory   the request and the call live until done(). The response is built in call->arena and shares nothing with
 *          the group, so it may go anywhere the arena goes; nobody else uses that arena from the call to done().
 * Inside   brain.h is the pure part (state, event, now -> answers, records, timers); coordinator.c runs it.
 * Source   facts/coordinators.md sections 1 to 4; KIP-345, KIP-394, KIP-447, KIP-814, KIP-848 (as records only).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "base/uuid.h"
#include "loop/loop.h"
#include "wire/codec.h"

struct group_coordinators;
struct partition;

struct join_group_request;
struct sync_group_request;
struct heartbeat_request;
struct leave_group_request;
struct offset_commit_request;
struct offset_fetch_request;
struct offset_delete_request;
struct describe_groups_request;
struct list_groups_request;
struct delete_groups_request;

struct group_config {
    int32_t initial_rebalance_delay_ms; /* group.initial.rebalance.delay.ms */
    int32_t min_session_timeout_ms, max_session_timeout_ms;
    int32_t max_size;                  /* group.max.size */
    int32_t offset_metadata_max_bytes; /* Java chars, whatever the key is called */
    int64_t offsets_retention_ms, offsets_retention_check_interval_ms;
    int32_t commit_timeout_ms;      /* offsets.commit.timeout.ms */
    size_t load_buffer_bytes;       /* offsets.load.buffer.size */
    enum codec offsets_topic_codec; /* offsets.topic.compression.codec */
    struct lane *lane;              /* cold reads, for loading; NULL = read on the loop */
};
/* Kafka's defaults, no lane. */
#define GROUP_CONFIG_DEFAULT                                                                                 \
    ((struct group_config){.initial_rebalance_delay_ms = 3000,                                               \
                           .min_session_timeout_ms = 6000,                                                   \
                           .max_session_timeout_ms = 1800000,                                                \
                           .max_size = INT32_MAX,                                                            \
                           .offset_metadata_max_bytes = 4096,                                                \
                           .offsets_retention_ms = 10080LL * 60 * 1000,                                      \
                           .offsets_retention_check_interval_ms = 600000,                                    \
                           .commit_timeout_ms = 5000,                                                        \
                           .load_buffer_bytes = 5242880})

/* --- the node's coordinators --- */

MUST_USE enum error group_coordinators_new(const struct group_config *config,
                                           struct group_coordinators **coordinators);
/* After every partition was resigned and every call answered. */
void group_coordinators_free(struct group_coordinators **coordinators);

/* How many partitions __consumer_offsets has, from the metadata as soon as the topic is known. Any thread. The count of a cluster never changes; another one is refused (ERR_EXISTS) while a group is led here. */
MUST_USE enum error group_partitions_set(struct group_coordinators *coordinators, int32_t count);
/* Of which partition of __consumer_offsets this group is; -1 while the count is unknown. Any thread. */
int32_t group_partition_of(const struct group_coordinators *coordinators, struct slice group_id);

/* This broker became leader of a partition of __consumer_offsets (again: with a new leader epoch), or ceased to be.
 * On the partition's home loop. A group's calls hear COORDINATOR_LOAD_IN_PROGRESS until its log has been replayed, and
 * NOT_COORDINATOR when the partition is resigned. Resign before the partition or its loop goes; no-op if not led. */
MUST_USE enum error group_partition_led(struct group_coordinators *coordinators, struct partition *partition);
void group_partition_resigned(struct group_coordinators *coordinators, int32_t partition_index);
/* --- calls --- */

/* A topic of a request, as the caller's metadata knows it. */
struct group_topic {
    struct slice name; /* given, or found by id */
    struct uuid id;    /* given, or found by name; zero if there is none */
    int32_t partition_count;
};

struct group_call {
    /* The caller's: */
    struct loop *loop;   /* where this call is made, and done() runs */
    struct arena *arena; /* the response is built here */
    int16_t version;
    struct slice client_id, client_host; /* host as "/1.2.3.4"; null client id is "" */
    void (*done)(struct group_call *call);
    /* May the principal do this to the group? On the caller's loop, before anything else, for each group of the
     * request (and for each found, in ListGroups). OK or ERR_GROUP_AUTHORIZATION_FAILED. NULL = always. */
    enum error (*check_group)(struct group_call *call, struct slice group_id);
    /* Completes `topic`, known by name or (by_id) by id. OK, ERR_UNKNOWN_TOPIC_OR_PARTITION, ERR_UNKNOWN_TOPIC_ID or
     * ERR_TOPIC_AUTHORIZATION_FAILED. On the caller's loop. Needed by offset commit, fetch and delete. For a fetch by
     * name, a topic that is gone (ERR_UNKNOWN_TOPIC_OR_PARTITION) still answers what was committed. */
    enum error (*find_topic)(struct group_call *call, bool by_id, struct group_topic *topic);
    void *context;

    /* For done(): the API's response struct (struct join_group_response for group_join, ...); NULL when the arena's
     * limit or memory was out, then close the connection. throttle_time_ms is left 0. */
    void *response;

    /* The coordinator's: */
    const void *request;
    struct group_coordinators *coordinators;
    const struct group_api *api;
    void *work; /* what the API keeps between its steps, in the arena */
    void *part; /* the piece of the response this step answers */
    int32_t step, step_count;
    bool is_waiting; /* with a group, for others to act */
    struct list link;
    struct loop_message message;
};

void group_join(struct group_coordinators *coordinators, struct group_call *call,
                const struct join_group_request *request);
void group_sync(struct group_coordinators *coordinators, struct group_call *call,
                const struct sync_group_request *request);
void group_heartbeat(struct group_coordinators *coordinators, struct group_call *call,
                     const struct heartbeat_request *request);
void group_leave(struct group_coordinators *coordinators, struct group_call *call,
                 const struct leave_group_request *request);
void group_offset_commit(struct group_coordinators *coordinators, struct group_call *call,
                         const struct offset_commit_request *request);
void group_offset_fetch(struct group_coordinators *coordinators, struct group_call *call,
                        const struct offset_fetch_request *request);
void group_offset_delete(struct group_coordinators *coordinators, struct group_call *call,
                         const struct offset_delete_request *request);
/* authorized_operations of each group is left at its default (not asked for). */
void group_describe(struct group_coordinators *coordinators, struct group_call *call,
                    const struct describe_groups_request *request);
/* The groups of this broker. */
void group_list(struct group_coordinators *coordinators, struct group_call *call,
                const struct list_groups_request *request);
void group_delete(struct group_coordinators *coordinators, struct group_call *call,
                  const struct delete_groups_request *request);
