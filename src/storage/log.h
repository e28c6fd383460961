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
#include "storage/epoch_cache.h"
#include "wire/batch.h"

struct log;
struct log_home;
struct records_report;

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
    /* What a client's batch of another codec becomes (by who appends it: broker/recompress.h); not set: it stays as it came. */
    bool recompresses;
    enum codec codec;
    int codec_level;
};

enum append_origin { APPEND_CLIENT, APPEND_COORDINATOR, APPEND_REPLICATION };

struct log_append {
    enum append_origin origin;
    int32_t leader_epoch; /* stamped into the batches; ignored for APPEND_REPLICATION */
    int64_t now_ms;       /* wall clock */
    /* What records_check() found in the one batch of a client; NULL: the header's timestamps are believed. Needed where
     * the topic is compacted, for keys must not be null there. */
    const struct records_report *report;
};

struct log_appended {
    int64_t base_offset, last_offset; /* of what was written; of the original for a duplicate */
    int64_t log_append_time_ms; /* -1 for CreateTime topics, except for a duplicate: its stored timestamp */
    int64_t log_start_offset;
    bool is_duplicate; /* nothing was written: an idempotent producer sent it before */
    bool rolled;
    /* for ERR_INVALID_RECORD / ERR_INVALID_TIMESTAMP: first offending record, else -1 */
    int32_t bad_record_index;
    const char *bad_record_text; /* static text, or NULL */
};

/* Appends one produced batch (or a run of them for coordinators and replication). `batches` is patched in place (offsets,
 * leader epoch, timestamps), so it must be writable and private. Checks order, producer state, sizes as facts/storage.md
 * 4.1-4.3. CRC and record structure were checked by the caller with wire/batch.h (once, on the connection's loop).
 * appended is filled on success and, for bad_record_*, on failure. */
MUST_USE enum error log_append(struct log *log, uint8_t *batches, size_t size, const struct log_append *how,
                               struct log_appended *appended);

/* Several appends, of several clients, in this order and with as few writes as they allow: each is judged as log_append would,
 * and each has its own end in `err`. */
struct log_append_item {
    uint8_t *batches;
    size_t size;
    const struct log_append *how;
    struct log_appended *appended;
    enum error err;
};
void log_append_all(struct log *log, struct log_append_item *items, size_t count);

/* A run of whole batches (the last may be cut) on disk. Holds one reference of `file`; log_slice_release drops it. */
struct log_slice {
    struct file *file; /* NULL when empty */
    int64_t position;
    size_t size;
    int64_t base_offset;      /* of its first batch */
    int64_t first_batch_size; /* of its first batch, whole */
};
void log_slice_release(struct log_slice *slice);

struct log_read {
    int64_t offset;       /* from the batch that contains it */
    int64_t limit_offset; /* first offset not to be shown: high watermark, last stable offset or log end */
    size_t max_bytes;
    bool min_one_batch; /* a first batch larger than max_bytes comes whole */
};
/* ERR_OFFSET_OUT_OF_RANGE outside [log start, log end]. An empty slice when there is nothing below the limit.
 * ERR_AGAIN when finding the position would wait for the disk: use a log_cold_read instead. */
MUST_USE enum error log_read(struct log *log, const struct log_read *what, struct log_slice *slice);
/* The same, waiting for the disk: for those who may (start-up, the command line, tests). */
MUST_USE enum error log_read_blocking(struct log *log, const struct log_read *what, struct log_slice *slice);

/* The same in three steps, so that only a worker waits: _begin on the home loop, _work on any worker (it also brings the
 * slice's bytes into memory), _end on the home loop again. _end is ERR_AGAIN when a truncation or deletion came between:
 * begin anew. After a successful _begin, _end must be called (with the log, or with NULL if it is gone). */
struct log_cold_read {
    struct log_read what;
    /* the log's: */
    struct file *log_file, *index_file;
    int64_t base_offset, size, segment_end_offset;
    int64_t start_hint, limit_hint; /* places to scan from, where no index file is searched */
    int32_t generation;
    enum error err;
    struct log_slice slice;
};
MUST_USE enum error log_cold_read_begin(struct log *log, const struct log_read *what,
                                        struct log_cold_read *read);
void log_cold_read_work(struct log_cold_read *read);
MUST_USE enum error log_cold_read_end(struct log *log, struct log_cold_read *read, struct log_slice *slice);

int64_t log_start_offset(const struct log *log);
int64_t log_end_offset(const struct log *log);
int64_t log_size_bytes(const struct log *log);
int32_t log_latest_epoch(const struct log *log); /* -1 = none */
/* First offset of the oldest open transaction, or INT64_MAX. */
int64_t log_first_unstable_offset(const struct log *log);
/* The last stable offset: below the high watermark (log_set_high_watermark) and below every transaction that is open or
 * whose end is not below the high watermark. */
int64_t log_last_stable_offset(struct log *log);

/* --- who it is --- */
struct slice log_topic(const struct log *log);
int32_t log_partition(const struct log *log);
const struct uuid *log_topic_id(const struct log *log); /* zero = none yet */
/* Writes partition.metadata. ERR_INCONSISTENT_TOPIC_ID when it has another id already. */
MUST_USE enum error log_set_topic_id(struct log *log, const struct uuid *topic_id);
const char *log_dir_path(const struct log *log); /* of the log directory it lies in */
bool log_is_offline(const struct log *log);      /* its log directory failed. Any thread. */
const struct log_config *log_config_of(const struct log *log);
void log_configure(struct log *log, const struct log_config *config);

/* The loop that owns it from now on (log_home.h); called on that loop before anything else. NULL: nobody, nothing happens
 * by itself (no index writes, no flush, no late unlinking). */
void log_set_home(struct log *log, struct log_home *home);

/* --- what replication tells it --- */
/* The high watermark as replica/ knows it: bounds retention and the last stable offset, and goes into the checkpoint.
 * Never used to refuse reads. Cheap. log_high_watermark: any thread; before the first set, the checkpoint's or,
 * without one, the log start. */
void log_set_high_watermark(struct log *log, int64_t high_watermark);
int64_t log_high_watermark(const struct log *log);

/* --- changing it other than by append --- */
/* Cuts everything from `offset` on. When `offset` is inside a batch, the whole batch goes and the log ends before it, so ask
 * log_end_offset afterwards. An offset at or beyond the end takes no record, but the epochs of leaders that
 * have written none; one before the first segment empties the log. */
MUST_USE enum error log_truncate_to(struct log *log, int64_t offset);
/* Drops everything and goes on at `offset`: a follower that fell behind its leader's log start. */
MUST_USE enum error log_truncate_fully_and_start_at(struct log *log, int64_t offset);
/* DeleteRecords, or the leader's log start. ERR_OFFSET_OUT_OF_RANGE beyond the high watermark; lower ones change nothing. */
MUST_USE enum error log_increase_start(struct log *log, int64_t offset);
/* A new active segment at the log's end, unless the active one is empty. */
MUST_USE enum error log_roll(struct log *log, int64_t now_ms);
/* Retention by time, size and log start; never at or beyond the high watermark. *deleted may be NULL. */
MUST_USE enum error log_delete_old_segments(struct log *log, int64_t high_watermark, int64_t now_ms,
                                            size_t *deleted);
/* Forgets producers that were silent for producer_id_expiration_ms. */
void log_expire_producers(struct log *log, int64_t now_ms);

/* --- leader epochs --- */
MUST_USE enum error log_epoch_assign(struct log *log, int32_t epoch, int64_t start_offset);
/* epoch_cache_end() with this log's end. */
struct epoch_end log_epoch_end(const struct log *log, int32_t epoch);
/* The epoch of the leader that wrote `offset`; -1 when unknown. */
int32_t log_epoch_of(const struct log *log, int64_t offset);
/* First offset of the newest epoch; -1 = none. */
int64_t log_latest_epoch_start(const struct log *log);

/* --- offsets by time (ListOffsets) --- */
#define LOG_TIME_MAX (-3LL) /* asks for the first record that has the largest timestamp */
struct log_time_found {
    int64_t offset, timestamp; /* -1, -1: no such record */
    int32_t leader_epoch;      /* of its batch, -1 */
};
/* First record at or above the log start with a timestamp >= `timestamp` (>= 0, or LOG_TIME_MAX). Waits for the disk. */
MUST_USE enum error log_offset_for_time(struct log *log, int64_t timestamp, struct log_time_found *found);
/* In three steps as log_cold_read; `limit_bytes` bounds what one compressed batch may decompress to. */
struct log_time_lookup {
    int64_t timestamp;
    size_t limit_bytes; /* 256 MiB; may be changed after _begin */
    /* the log's: */
    struct disk *disk;
    char *path;
    struct log_time_segment *segments;
    size_t segment_count;
    int64_t log_start_offset;
    int32_t generation;
    enum error err;
    struct log_time_found found;
};
MUST_USE enum error log_time_lookup_begin(struct log *log, int64_t timestamp, struct log_time_lookup *lookup);
void log_time_lookup_work(struct log_time_lookup *lookup);
MUST_USE enum error log_time_lookup_end(struct log *log, struct log_time_lookup *lookup,
                                        struct log_time_found *found);

/* --- to the platter --- */
/* Everything below is synced. At most log end. With flush.messages=1, replica/ shows nothing beyond it. Any thread. */
int64_t log_synced_end_offset(const struct log *log);
/* run(context, log) on the home loop each time log_synced_end_offset has moved. */
void log_on_synced(struct log *log, void (*run)(void *context, struct log *log), void *context);
/* Asks the home to flush all of the log on its sync lane; requests during a flush are served together by the next one. With
 * flush.messages or flush.ms set the log asks by itself. Without a home: see log_flush_now. */
void log_flush(struct log *log);
MUST_USE enum error log_flush_now(struct log *log); /* waits for the disk */
/* The three steps the home uses: loop, worker, loop. At most one flush of a log at a time. */
struct log_flush;
MUST_USE enum error log_flush_begin(struct log *log, int64_t up_to_offset, struct log_flush **flush);
enum error log_flush_work(struct log_flush *flush);
/* Moves the recovery point, or takes the log directory offline. Frees `flush`. `log` NULL: it was closed meanwhile. */
enum error log_flush_end(struct log *log, struct log_flush **flush);

/* --- producers and transactions --- */
struct log_aborted_txn {
    int64_t producer_id, first_offset;
};
/* Aborted transactions that touch [slice.base_offset, end of the slice), for a read_committed fetch from `fetch_offset`.
 * Reads transaction indexes (small; only segments in which something was aborted have one). */
MUST_USE enum error log_aborted_txns(struct log *log, int64_t fetch_offset, const struct log_slice *slice,
                                     void (*each)(void *context, const struct log_aborted_txn *txn),
                                     void *context);
