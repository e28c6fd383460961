/* partition.h: one local replica of a partition: its role, its high watermark, and who waits for it.
 *
 * A partition learns its role only through LeaderAndIsr and StopReplica (replica/replicas.h), whoever the controller is.
 *
 * Owner    the partition's home loop; only that loop calls anything here. Its requests from other loops arrive by
 *          loop_post. partition_home may be read on any thread.
 * Waiting  nothing blocks: a waiter is an intrusive item that is run on the home loop, after the call that woke it has
 *          returned (never from inside partition_append).
 * Source   facts/cluster.md 4.3-4.5, 5; KIP-101, KIP-207, KIP-227, KIP-966.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "base/uuid.h"
#include "storage/log.h"

struct partition;
struct loop;
struct records_report;

enum partition_role { PARTITION_OFFLINE, PARTITION_FOLLOWER, PARTITION_LEADER };

struct slice partition_topic(const struct partition *partition);
int32_t partition_index(const struct partition *partition);
const struct uuid *partition_topic_id(const struct partition *partition);
enum partition_role partition_role_of(const struct partition *partition);
int32_t partition_leader_epoch(const struct partition *partition);
struct loop *partition_home(const struct partition *partition);
struct log *partition_log(struct partition *partition);
/* Where it is being moved to (replica/move.h); NULL: it stays. */
const struct log *partition_future_log(const struct partition *partition);
int64_t partition_high_watermark(const struct partition *partition);
int64_t partition_last_stable_offset(const struct partition *partition);

/* What a request says of the leader epoch it knows: -1 = nothing. ERR_FENCED_LEADER_EPOCH, ERR_UNKNOWN_LEADER_EPOCH,
 * ERR_NOT_LEADER_OR_FOLLOWER (when must_lead), ERR_KAFKA_STORAGE_ERROR. */
MUST_USE enum error partition_check(const struct partition *partition, int32_t current_leader_epoch,
                                    bool must_lead);

/* As leader. required_acks 0, 1 or -1: for -1 ERR_NOT_ENOUGH_REPLICAS before writing when the ISR is below
 * min.insync.replicas. Advances the high watermark where the ISR is this broker alone, and wakes waiters (deferred). */
MUST_USE enum error partition_append(struct partition *partition, uint8_t *batches, size_t size,
                                     int16_t required_acks, enum append_origin origin, int64_t now_ms,
                                     struct log_appended *appended);

/* A client's one batch. It is appended before this turn of the home loop ends, with all that came in it for this partition, in one
 * write where they fit; then run(append) says how it went: as partition_append would have, with err and appended set. */
struct partition_append {
    uint8_t *batch; /* patched in place; lives until run */
    size_t size;
    int16_t required_acks;
    const struct records_report *report; /* what records_check() found in it; NULL: nobody looked */
    void (*run)(struct partition_append *append);
    enum error err;
    struct log_appended appended;
    struct partition_append *next; /* the partition's */
};
void partition_append_soon(struct partition *partition, struct partition_append *append);

/* DeleteRecords, as leader: the log starts at *offset (-1: the high watermark, which it then says) or already beyond it, from now on.
 * ERR_OFFSET_OUT_OF_RANGE beyond the high watermark, ERR_POLICY_VIOLATION where nothing but compaction removes records. */
MUST_USE enum error partition_delete_records(struct partition *partition, int64_t *offset);
/* As leader: where the logs of the replicas on live brokers begin, the lowest of them, and that of a copy of ours that is being made in
 * another directory; -1: one of them has not told yet. */
int64_t partition_low_watermark(const struct partition *partition);

/* One past the last offset that may be read: a consumer's isolation decides it; for a replica it is the log end. */
enum partition_reader { READ_UNCOMMITTED, READ_COMMITTED, READ_AS_REPLICA };
int64_t partition_read_limit(const struct partition *partition, enum partition_reader reader);

/* Waits: run(waiter, OK) once the high watermark is >= offset (replication reached it), or run(waiter, err) when this
 * broker stops leading at the epoch in which the wait began (ERR_NOT_LEADER_OR_FOLLOWER). */
struct partition_waiter {
    struct list link; /* initialise with list_init, or zero */
    int64_t offset;
    void (*run)(struct partition_waiter *waiter, enum error err);
    bool is_waiting;
    bool is_replica; /* partition_wait_change: reads to the log end, not to the high watermark */
    bool is_for_low; /* the same: wants to hear of the low watermark, and of the role, alone */
    /* partition's: */
    bool is_local_only;   /* waits for this broker's disk, not for the high watermark */
    int32_t leader_epoch; /* when the wait began */
};
void partition_wait_committed(struct partition *partition, struct partition_waiter *waiter, int64_t offset);
/* The same, but for our own disk alone: what acks=1 asks for where flush.messages=1. Runs at once elsewhere. */
void partition_wait_durable(struct partition *partition, struct partition_waiter *waiter, int64_t offset);
bool partition_syncs_before_ack(const struct partition *partition);
/* Runs once when more may be readable (append for replicas, high watermark or last stable offset for consumers), the role
 * changed, or the log start moved. Level it yourself: check before waiting. */
void partition_wait_change(struct partition *partition, struct partition_waiter *waiter);
void partition_wait_cancel(struct partition_waiter *waiter);

/* Where this leader's epoch began: until the high watermark is there, a new leader does not know the latest offset that
 * clients may be told (KIP-207). */
int64_t partition_epoch_start_offset(const struct partition *partition);
/* What the topic's configuration says; set again whenever it changes. */
void partition_set_min_insync_replicas(struct partition *partition, int32_t count);
void partition_set_sync_before_ack(struct partition *partition, bool is_on); /* flush.messages = 1 */
/* What this broker hands to followers that are behind is slowed by that; NULL: it is not (replica/throttle.h). Of a follower in
 * sync always NULL. */
struct throttle;
struct throttle *partition_throttle_for(const struct partition *partition, int32_t follower);
/* min.insync.replicas, but never more than there are replicas. */
int32_t partition_effective_min_insync(const struct partition *partition);
int32_t partition_isr_count(const struct partition *partition);
/* A follower's fetch, of which nothing is wrong and for which all before its offset is there: it has that. May change the ISR
 * and the high watermark. ERR_NOT_LEADER_OR_FOLLOWER: it keeps no replica of this; ERR_STALE_BROKER_EPOCH: it lives no more. */
struct isr_fetch;
MUST_USE enum error partition_follower_fetched(struct partition *partition, const struct isr_fetch *fetch,
                                               int64_t now_ms);
/* As leader: which of these brokers a reader of `offset` is better off with: the most caught up that is in sync and has it. -1: none,
 * or we do not lead. */
int32_t partition_nearest(const struct partition *partition, const int32_t *broker_ids, size_t count,
                          int64_t offset);
