/* log.h: one partition's log: an ordered, immutable run of record batches in segments on disk.
 *
 *     log start                                      recovery point      log end
 *        |-- segment 0 --|-- segment 1200 --|-- active segment 4711 ------|
 *
 * The log knows batches, not records, and no roles: who leads, how far readers may see and who waits is replica/'s.
 *
 * Units    offsets count records; epochs count leader elections; times are ms since 1970 unless named now_us.
 * Owner    the partition's home loop calls everything here, except where "a worker" is named. Slices handed out hold
 *          their own references and may be used on any thread.
 * Errors   ERR_DISK_FULL: the short write was cut back, nothing changed, try again later. ERR_IO: the log directory is
 *          offline from now on (log_dir_failed); ERR_CORRUPT_MESSAGE etc. are the producer's fault and change nothing.
 * Source   facts/storage.md.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/uuid.h"
#include "loop/disk.h"

struct log;

enum timestamp_type { TIMESTAMP_CREATE = 0, TIMESTAMP_LOG_APPEND = 1 };

/* What of the topic's configuration the log obeys; the broker fills it from settings and hands a new one to
 * log_configure when it changes. */
struct log_config {
    int64_t segment_bytes, segment_ms, segment_jitter_ms, segment_index_bytes, index_interval_bytes;
    int64_t retention_ms, retention_bytes; /* -1 = no limit */
    int64_t file_delete_delay_ms;
    int64_t flush_messages, flush_ms;
    int64_t max_message_bytes;
    int64_t timestamp_before_max_ms, timestamp_after_max_ms;
    enum timestamp_type timestamp_type;
    bool delete_policy, compact_policy, preallocate;
    int64_t producer_id_expiration_ms;
};

enum append_origin { APPEND_CLIENT, APPEND_COORDINATOR, APPEND_REPLICATION };

struct log_append {
    enum append_origin origin;
    int32_t leader_epoch;  /* stamped into the batches; ignored for APPEND_REPLICATION */
    int64_t now_ms;        /* wall clock */
};

struct log_appended {
    int64_t base_offset, last_offset; /* of what was written; of the original for a duplicate */
    int64_t log_append_time_ms;       /* -1 for CreateTime topics, except for a duplicate: its stored timestamp */
    int64_t log_start_offset;
    bool is_duplicate;                /* nothing was written: an idempotent producer sent it before */
    bool rolled;
    int32_t bad_record_index;         /* for ERR_INVALID_RECORD / ERR_INVALID_TIMESTAMP: first offending record, else -1 */
    const char *bad_record_text;      /* static text, or NULL */
};

/* Appends one produced batch (or a run of them for coordinators and replication). `batches` is patched in place (offsets,
 * leader epoch, timestamps), so it must be writable and private. Checks order, producer state, sizes as facts/storage.md
 * 4.1-4.3. CRC and record structure were checked by the caller with wire/batch.h (once, on the connection's loop).
 * appended is filled on success and, for bad_record_*, on failure. */
MUST_USE enum error log_append(struct log *log, uint8_t *batches, size_t size, const struct log_append *how,
                               struct log_appended *appended);

/* A run of whole batches (the last may be cut) on disk. Holds one reference of `file`; log_slice_release drops it. */
struct log_slice {
    struct file *file; /* NULL when empty */
    int64_t position;
    size_t size;
    int64_t base_offset;          /* of its first batch */
    int64_t first_batch_size;     /* of its first batch, whole */
    int32_t segment_generation;   /* changes when a truncation may have cut what the slice shows */
};
void log_slice_release(struct log_slice *slice);

struct log_read {
    int64_t offset;       /* from the batch that contains it */
    int64_t limit_offset; /* first offset not to be shown: high watermark, last stable offset or log end */
    size_t max_bytes;
    bool min_one_batch;   /* a first batch larger than max_bytes comes whole */
};
/* ERR_OFFSET_OUT_OF_RANGE outside [log start, log end]. An empty slice when there is nothing below the limit.
 * ERR_AGAIN when finding the position would wait for the disk: run log_read_blocking on a lane's worker instead. */
MUST_USE enum error log_read(struct log *log, const struct log_read *what, struct log_slice *slice);

int64_t log_start_offset(const struct log *log);
int64_t log_end_offset(const struct log *log);
int64_t log_size_bytes(const struct log *log);
int32_t log_latest_epoch(const struct log *log); /* -1 = none */
/* First offset of the oldest open transaction, or INT64_MAX. */
int64_t log_first_unstable_offset(const struct log *log);
