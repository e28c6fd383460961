/* log_parts.h: what a log is made of; only for the files of storage/.
 *
 *     struct log --- struct segment [0] [1] ... [n-1]      the last one is active
 *         |                                  |
 *         |                         struct log_active      its indexes and newest positions, in memory
 *         +-- struct log_dir (the log directory)           offline or not; sync lane; checkpoints
 *
 * A log that nobody touched since the start costs this struct and its segments; files, indexes and the ring of positions
 * come with first use.
 */
#pragma once
#include <pthread.h>

#include "base/list.h"
#include "base/text.h"
#include "loop/loop.h"
#include "storage/index.h"
#include "storage/log.h"
#include "storage/log_home.h"
#include "storage/log_store.h"
#include "storage/names.h"
#include "storage/producer_state.h"
#include "storage/refused.h"
#include "storage/scan.h"

#define UNKNOWN_TIMESTAMP INT64_MIN
#define POSITION_MAX ((int64_t)INT32_MAX)

/* Lives longer than the store, when that is freed while it is on its way. */
struct dir_alarm {
    struct loop_message message;
    struct log_dir *dir; /* NULL: the store is gone */
};

struct log_dir {
    struct log_store *store;
    struct disk *disk;
    char *path;
    struct lane *sync_lane, *load_lane; /* NULL without a loop */
    int is_failed;                      /* atomic */
    enum error failure;
    struct dir_alarm *alarm; /* to the store's loop, posted once; NULL when it has arrived */
    struct disk_lock *lock;
    bool was_clean;
    bool has_lost_cache; /* since its last life the machine was off, or it is empty: store_boot.c */
    bool has_lost_sync;  /* its last life ended so: recovery writes again what it reads */
    int lacks_room;      /* atomic: a start found none for what it makes anew */
    int recovery_dirty, start_dirty, high_watermark_dirty; /* atomic: a checkpoint would say something new */
    size_t partition_count;
    size_t used_logs; /* when closing: that have something to write */
    /* a checkpoint file has one writer at a time, and the latest text wins */
    pthread_mutex_t checkpoint_mutex;
    uint64_t checkpoint_made;
    uint64_t checkpoint_written[3]; /* under the mutex */
    uint64_t deleted_mark;          /* texts numbered up to this may still mention a deleted log */
    bool has_deleted;
    struct dir_checkpoints *checkpoints; /* as read at start; until load is done */
};

static inline bool log_dir_is_failed(const struct log_dir *dir)
{
    return __atomic_load_n(&dir->is_failed, __ATOMIC_ACQUIRE) != 0;
}
/* Any thread. Says so once, at level error; `what` was being done to `path`. */
void log_dir_fail(struct log_dir *dir, enum error err, const char *what, const char *path);
/* For what a start can do without: ERR_DISK_FULL becomes OK. Any thread; says so once. */
MUST_USE enum error log_dir_spare(struct log_dir *dir, enum error err);

struct segment {
    int64_t base_offset;
    int64_t size;                 /* of whole batches in .log */
    int64_t max_timestamp;        /* -1: none has one; UNKNOWN_TIMESTAMP: ask the time index */
    int64_t max_timestamp_offset; /* last offset of the batch that brought it */
    struct file *log_file;        /* opened at first use */
    struct file *index_file;      /* of inactive ones, for searches */
    bool is_writable;             /* log_file is */
};

struct recent_batch {
    int64_t base_offset, last_offset;
    int32_t position, size;
};
#define RECENT_BATCHES 32

/* Of the active segment, once it was written to or cut. */
struct log_active {
    struct offset_index offsets;
    struct time_index times;
    int64_t bytes_since_entry;
    int64_t first_batch_timestamp; /* -1: none yet, or it has none */
    int64_t created_ms;            /* when we first wrote to it: stands in for a missing timestamp */
    int64_t roll_jitter_ms;
    bool indexes_unsaved;
    bool is_preallocated; /* .log is larger than what is in it */
    bool has_reserve;     /* the file system keeps blocks beyond its end, */
    int64_t reserved_to;  /* up to here; not asked again below */
    size_t recent_next, recent_count;
    struct recent_batch recent[RECENT_BATCHES]; /* a ring: the batches appended last, to the log's end */
};

struct log {
    struct log_dir *dir;
    struct log_home *home;
    char *name; /* "topic-0" */
    /* ".<32 hex>-future": its directory's, while it is being moved here (move.h); else "" */
    char future_suffix[48];
    size_t topic_size;
    int32_t partition;
    struct uuid topic_id;
    struct log_config config;

    struct segment *segments;
    size_t segment_count, segment_capacity;
    struct log_active *active; /* NULL until needed */
    /* written by the home loop, read by checkpoint writers: relaxed */
    int64_t start_offset, end_offset, recovery_point;
    /* what the checkpoint may say: the recovery point, or the first segment that owes its indexes */
    int64_t trusted_point;
    /* After an unclean stop; an earlier life may have promised that it is synced up to here. */
    int64_t recovered_end;
    int64_t closed_synced; /* segments that end at or below this are on disk with their indexes */
    int64_t first_offset;  /* of the first segment, for those threads */
    int64_t high_watermark;
    int64_t size_bytes;
    /* the most its file may say; above recovery_point after a cut: see log_roll_at */
    int64_t checkpointed_recovery_point;
    int64_t checkpoint_pending;  /* the store's: what is being written; -1 nothing */
    int64_t checkpointed_before; /* and the most the file said before that */
    int32_t generation;
    bool epochs_unsaved;    /* leader epochs are not written, */
    bool epochs_unsynced;   /* or written and not synced */
    bool dir_unsynced;      /* names of its files, */
    bool metadata_unsynced; /* partition.metadata was written, */
    bool parent_unsynced;   /* or its own, may not be on disk */
    bool is_loaded;
    int32_t agreed_generation; /* of a future log: the other's when both were last compared; -1 never */
    bool has_moved_mark;       /* "moved-here" lies in its directory */
    bool snapshot_unsynced;    /* some snapshot was written since the last clean stop */
    bool has_unsaved_state;    /* producers changed since the newest snapshot */
    int64_t snapshot_offset;   /* of the newest snapshot file; -1 none */

    struct epoch_cache epochs;
    struct producer_state producers;

    struct refused refused; /* producers whose batch found no room */
    int64_t unsynced_records;
    int64_t unsynced_since_ms;   /* home's clock; valid while unsynced_records > 0 */
    struct flush_job *flush_job; /* one in flight */
    bool flush_wanted, flush_inactive_wanted;
    void (*on_synced)(void *context, struct log *log);
    void *synced_context;

    struct list home_link, dirty_link, flush_link;
};

static inline struct segment *log_active_segment(struct log *log)
{
    return &log->segments[log->segment_count - 1];
}
/* One past the last offset that segment i may hold. */
static inline int64_t segment_end_offset(const struct log *log, size_t i)
{
    return i + 1 < log->segment_count ? log->segments[i + 1].base_offset : log->end_offset;
}
/* The segment that would hold `offset`; 0 when it is before all. */
size_t log_segment_of(const struct log *log, int64_t offset);

/* "<dir>/<name>", of one that is being moved here with its suffix; malloc'ed. */
char *log_path(const struct log *log);
char *log_segment_path(const struct log *log, int64_t base_offset, enum file_kind kind, const char *suffix);
/* partition.metadata as it is in memory; synced with the first flush, so before any batch is. */
MUST_USE enum error log_write_topic_id(struct log *log);

/* Publishes a number that other threads read. */
static inline void publish(int64_t *at, int64_t value)
{
    __atomic_store_n(at, value, __ATOMIC_RELAXED);
}
static inline int64_t published(const int64_t *at)
{
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/* --- segment.c: files of one segment --- */
/* Opens .log when it is not open, for writing if asked. */
MUST_USE enum error segment_file(struct log *log, struct segment *segment, bool for_writing);
MUST_USE enum error segment_index_file(struct log *log, struct segment *segment);
void segment_release_files(struct segment *segment);
/* Reads max_timestamp from the time index when it is unknown. Waits for the disk. */
MUST_USE enum error segment_know_timestamp(struct log *log, size_t i);
/* Brings the last segment's indexes into memory and makes its file writable. Checks that the log ends where we think. */
MUST_USE enum error log_activate(struct log *log, int64_t now_ms);
void log_deactivate(struct log *log);
/* The same with empty indexes, for one who reads all of the segment anyway. */
MUST_USE enum error log_begin_indexes(struct log *log);
/* Adds a batch that was just appended, or is just read again, to the active indexes and the ring. Index entries are hints:
 * without memory for one, the index is a little sparser. */
void log_index_batch(struct log *log, const struct batch_header *header, int64_t position);
/* Writes what the index files lack. */
MUST_USE enum error log_save_indexes(struct log *log);
/* Takes the last time index entry, as a segment that will not grow has. */
MUST_USE enum error log_close_indexes(struct log *log);
/* Passes on how writing index files went, but on a full disk: then both files go, a part would be taken for all of it. They are made
 * anew from the log, by the next flush or the next start. */
MUST_USE enum error log_spare_indexes(struct log *log, enum error err);
/* Makes both indexes of segment i anew from its headers. */
MUST_USE enum error segment_rebuild_indexes(struct log *log, size_t i);
/* log_close_indexes at a start, which does without when there is no room: none at all then, for a part would be taken for all of it. Readers
 * search the segment from its front, and the next start makes them anew. */
MUST_USE enum error log_leave_indexes(struct log *log);
/* Room for as many more. */
bool log_reserve_segments(struct log *log, size_t count);
/* A new segment at the end of the array, its .log created. */
MUST_USE enum error log_add_segment(struct log *log, int64_t base_offset);
/* Renames the files of segments [first, first + count) to .deleted and hands them to the home's garbage; newest first when
 * `from_end`, else oldest first, so that what a crash leaves is one run. Removes them from the array. */
MUST_USE enum error log_drop_segments(struct log *log, size_t first, size_t count, bool from_end);
/* The names of its files, waiting for the disk. */
MUST_USE enum error log_sync_names(struct log *log);

/* --- change.c --- */
/* A new active segment at base_offset >= the log's end: an append may leave a gap. */
MUST_USE enum error log_roll_at(struct log *log, int64_t base_offset);

/* --- state.c: epochs, producers, snapshots --- */
MUST_USE enum error log_save_epochs(struct log *log);
/* The same, to be synced by whoever comes next. */
MUST_USE enum error log_write_epochs(struct log *log);
MUST_USE enum error log_write_snapshot(struct log *log, int64_t offset);
/* Producer state as of `offset`: the newest good snapshot, then a replay. Removes snapshots above `offset`. */
MUST_USE enum error log_rebuild_producers(struct log *log, int64_t offset);
/* Applies one batch of the log; `batch` is needed for control batches only. write_txn_index: aborts go to `segment_base`'s. */
MUST_USE enum error log_apply_producer(struct log *log, const struct batch_header *header, struct slice batch,
                                       bool write_txn_index, int64_t segment_base);
/* Removes snapshots that no segment begins with, but for the newest; and those a crash damaged. */
void log_prune_snapshots(struct log *log, bool also_damaged);

/* --- log_store.c --- */
const struct log_store_options *log_store_options_of(const struct log_store *store);
/* The log's directory is called that from now on. */
void log_rename_open_files(struct log *log, const char *to);

/* --- store_checkpoints.c --- */
/* Writes this log's line of the log-start checkpoint, at once: the start was lowered, and the old line would hide what is
 * written now. Waits for the disk; for cuts below the log's start, which are rare. */
MUST_USE enum error log_write_start(struct log *log);

/* --- flush.c --- */
/* After any change of the recovery point, closed_synced or the active segment. */
void log_publish_trust(struct log *log);
/* All of the log, and the active segment as one that ends at base_offset. Waits for the disk. */
MUST_USE enum error log_flush_closing(struct log *log, int64_t base_offset);

/* --- log_home.c --- */
void log_mark_dirty(struct log *log);
/* Renamed files go after file.delete.delay.ms. Takes over `path`. */
void log_discard(struct log *log, char *path);
/* A whole directory, after delay_ms. Takes over `path`. */
void home_discard_tree(struct log_home *home, struct log_dir *dir, char *path, int64_t delay_ms);
/* Segments that no longer grow are to be synced. */
void log_flush_inactive(struct log *log);

/* --- load.c, recover.c --- */
struct log_load_request {
    struct log_dir *dir;
    const char *name; /* of the partition directory, current or -future */
    const struct log_config *config;
    int64_t recovery_point; /* 0 = nothing is known */
    int64_t start_offset;   /* -1 = no checkpoint */
    int64_t high_watermark;
    bool was_clean, was_compacted;
};
/* On a worker or wherever: touches nothing but the new log and its directory. */
MUST_USE enum error write_file_unsynced(struct disk *disk, const char *path, struct slice content);
/* *log is NULL when there is nothing in it, and no room to begin. */
MUST_USE enum error log_load(const struct log_load_request *request, struct log **log,
                             int64_t *recovered_bytes);
MUST_USE enum error log_create(struct log_dir *dir, const char *name, const struct uuid *topic_id,
                               const struct log_config *config, struct log **log);
/* Nothing would have to be written before a clean stop. */
bool log_is_at_rest(const struct log *log);
/* Snapshot, trim, flush; then nothing about it changes any more. With all_will_be_synced the caller does that for all logs at
 * once (disk_sync_all), and then says so by log_was_synced. On a worker or wherever. */
MUST_USE enum error log_close_cleanly(struct log *log, bool all_will_be_synced);
void log_was_synced(struct log *log);
void log_free(struct log *log);
/* Recovers segments from the one that holds the recovery point on. */
/* may_have_gaps: it was compacted. */
MUST_USE enum error log_recover(struct log *log, bool may_have_gaps, int64_t *recovered_bytes);
