/* statelog.h: the state of a coordinator, kept as records in one partition of an internal topic.
 *
 *     statelog_new      every record of the log is replayed into the user's state: loading
 *       loaded          the state is what the log says; from now on
 *       statelog_write  an operation's records go to the log, all operations of one turn in one batch, and
 *         done(OK)      runs when the high watermark has passed them: only now may a client be told
 *         done(error)   runs when they were not written, or when this broker no longer leads
 *     statelog_close    the state is dropped; another broker has it, or will
 *
 * Groups, transactions and share groups keep their state so; what the records mean is theirs alone.
 *
 * Order    done() runs in the order of statelog_write, but for operations that failed before they were written.
 *          An operation whose time is up hears timed_out() first: its client must be answered, yet the records are
 *          in the log and done() still tells how they ended.
 * Limits   STATELOG_OPERATIONS_MAX operations may wait; more hear ERR_LIMIT.
 * Owner    the partition's home loop. Only reads of the log, while loading, are made by a lane's worker.
 * Errors   done() hears what partition_append said; statelog_client_error() has the words for a client.
 * Source   facts/coordinators.md section 1.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "wire/codec.h"

struct lane;
struct loop;
struct partition;
struct statelog;

#define STATELOG_OPERATIONS_MAX 100000

/* --- where a key lives --- */

/* Java's String.hashCode of a UTF-8 text: over its UTF-16 code units, in wrapping 32 bits. */
int32_t java_string_hash(struct slice utf8);
/* The partition, of `count`, whose leader coordinates `key`. count > 0. */
int32_t statelog_partition_of(struct slice key, int32_t count);
/* How many UTF-16 code units (Java's chars) the text has. */
size_t java_string_length(struct slice utf8);

/* --- replay --- */

struct statelog_record {
    int64_t offset, timestamp;
    int64_t producer_id; /* of a transactional record; -1 for all others */
    int16_t producer_epoch;
    struct slice key, value; /* loans; data NULL = null, a tombstone */
};

struct statelog_marker {
    int64_t offset;
    int64_t producer_id;
    int16_t producer_epoch;
    bool is_commit;
};

/* What the state's owner does. All run on the partition's home loop. */
struct statelog_user {
    void (*replay)(void *state, const struct statelog_record *record);
    /* A transaction ended in this partition; may be NULL. */
    void (*replay_marker)(void *state, const struct statelog_marker *marker);
    /* Loading is over, once. On an error the state is worthless; close the statelog. */
    void (*loaded)(void *state, enum error err);
};

/* Hands each record and marker of a run of whole batches to `user`, and gives the offset after the last batch
 * in *end_offset. Batches below `start_offset` and records without key are left out. ERR_CORRUPT and the like when a
 * batch is broken; those before it were replayed. `budget` batches at most (0 = all); what is left stays in *run. */
MUST_USE enum error statelog_replay_run(struct slice *run, int64_t start_offset, size_t budget,
                                        const struct statelog_user *user, void *state, int64_t *end_offset);

/* --- one partition --- */

struct statelog_config {
    const char *name;         /* "group coordinator", for diagnostics; static */
    int32_t write_timeout_ms; /* offsets.commit.timeout.ms and its kin */
    size_t load_buffer_bytes; /* offsets.load.buffer.size and its kin */
    enum codec codec;
    struct lane *lane; /* for reads while loading; NULL = on the loop */
};

/* Begins to load. `partition` must lead and outlive the statelog. loaded() never runs inside this call. */
MUST_USE enum error statelog_new(struct partition *partition, const struct statelog_config *config,
                                 const struct statelog_user *user, void *state, struct statelog **log);
/* Every operation that waits hears done(ERR_NOT_COORDINATOR) before this returns; the state may then be freed.
 * NULL is fine; clears the pointer. */
void statelog_close(struct statelog **log);
bool statelog_is_loaded(const struct statelog *log);
int32_t statelog_leader_epoch(const struct statelog *log);

/* --- operations --- */

struct statelog_entry {
    struct slice key, value; /* loans until statelog_write returns; value.data NULL = tombstone */
};

struct statelog_op {
    void (*done)(struct statelog_op *op, enum error err); /* once; may free the op */
    void (*timed_out)(struct statelog_op *op);            /* at most once, before done; may be NULL */
    int64_t last_offset;                                  /* of its last record, when done(OK) */
    /* the statelog's: */
    struct list link, clock_link;
    int64_t end_offset, deadline_ms;
    int32_t last_delta;
    enum error refusal;
};

/* Writes `entries`, all or none, in one batch. Without entries it is a barrier: done(OK) when all that was
 * written before is committed. done() never runs inside this call. */
void statelog_write(struct statelog *log, struct statelog_op *op, const struct statelog_entry *entries,
                    size_t count);

/* What a client hears of a failed write: COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, ... */
enum error statelog_client_error(enum error err);
