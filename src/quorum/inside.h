/* inside.h: what the files of quorum/ share: the struct itself. */
#pragma once
#include "base/list.h"
#include "loop/direct.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "quorum/files.h"
#include "quorum/quorum.h"

/* Records one behind another, as they go to the file. */
struct quorum_batch {
    uint8_t *data;
    size_t size, capacity;
    uint64_t first_index; /* of the first record; meaningless while size is 0 */
};

enum quorum_state {
    QUORUM_RECOVERING,
    QUORUM_OPEN,
    QUORUM_FAILED,
};

/* A job that writes one batch to the log. */
struct quorum_write {
    struct lane_job job;
    bool is_running;
    uint64_t cut;     /* before it writes: what lies in the files from this entry on is void; 0: nothing */
    bool makes_file;  /* the batch begins a new file, named by its first index */
    uint64_t durable; /* every entry below was on the disk when this job began */
    bool prepares;    /* makes the file ready for direct writes (straight.c) */
    /* results */
    enum error err;
    bool failed_in_sync;
    int64_t begun_us, sync_us; /* sync_us -1: there was none */
};

/* What is known of the open file, so that small batches can be written without the worker (straight.c). The job's while one runs. */
struct quorum_straight {
    struct direct *direct;            /* NULL: not yet, or never */
    bool is_off;                      /* there are no direct writes here */
    struct file *file;                /* whose blocks these are; NULL: of none */
    int64_t end, zeroed;              /* of the log in it, and of the blocks written beforehand */
    int64_t begun;                    /* where the write under way begins */
    uint8_t last[DIRECT_BLOCK_BYTES]; /* the block in which the log ends */
};

/* A snapshot on its way to its file. */
struct quorum_snapshot {
    struct lane_job job;
    bool is_open, is_ended, is_running;
    uint64_t index, term;
    struct quorum_batch gathering, writing;
    uint64_t chunk_count;
    uint32_t crc;
    struct file *file;
    int64_t position;
    bool job_begins, job_ends, job_purges;
    uint64_t oldest_log; /* the job's: the first entry that is still in a file */
    int64_t begun_us;
    enum error err;     /* the first that happened; the loop's */
    enum error job_err; /* the job's, in and out */
};

struct alone;
struct ensemble;

struct quorum {
    struct ensemble *ensemble; /* NULL: a log of one */
    struct alone *alone;       /* alone.c; NULL: not in a member's directory */
    bool leaves_silent;
    char *dir, *log_dir, *prefix;
    bool force_sync, has_log_dir; /* log_dir is not dir */
    int64_t segment_bytes, max_pending_bytes, room_step_bytes, slow_sync_ms;
    int64_t purge_interval_ms, purged_ms;
    size_t snapshots_kept;
    struct loop *loop;
    struct disk *disk;
    struct lane *sync, *work;
    struct quorum_machine machine;
    struct quorum_events events;
    void *context;

    enum quorum_state state;
    bool is_closing, is_ending, wants_room;
    void (*closed)(void *context);
    void *closed_context;
    struct loop_message last_message;

    uint64_t term;
    uint64_t last_index;    /* appended */
    uint64_t applied_index; /* committed and applied */
    uint64_t durable_end;   /* every entry below is on the disk */
    uint64_t snapshot_index;
    int64_t log_bytes; /* after snapshot_index */

    bool is_dir_known; /* a file of ours was in `dir` when we came, so its name is on the disk */
    struct file *file; /* NULL: the next write makes one */
    int64_t file_end, file_room;
    uint64_t file_first; /* the entry that names it */
    bool wants_roll;

    struct quorum_batch gathering, writing;
    struct quorum_write write;
    struct quorum_straight straight;
    struct loop_message flush;
    bool is_flush_deferred;
    struct loop_timer retry;

    struct quorum_snapshot snapshot;

    struct lane_job recovery;
    bool is_recovering;
    enum error recovery_err;
    int64_t load_us, replay_us, replayed; /* recovery's results, for times */
    struct disk_lock *lock, *log_lock;

    struct quorum_stats stats;
    struct quorum_times times;
    uint64_t published_index; /* of the newest snapshot; 0: none */
    int64_t published_wall_ms;
};

/* Room for `size` more bytes; NULL without memory. */
uint8_t *quorum_batch_reserve(struct quorum_batch *batch, size_t size);

static inline uint32_t quorum_format(const struct quorum *quorum)
{
    return quorum->ensemble ? QUORUM_FORMAT : QUORUM_FORMAT_LONE;
}
/* quorum.c: one record behind what is gathered; its bytes are the caller's to fill in. NULL without memory. */
uint8_t *quorum_gather(struct quorum *quorum, uint64_t index, uint64_t term, unsigned kind,
                       size_t entry_size);
/* Starts a write of what is gathered, unless one runs. */
void quorum_flush(struct quorum *quorum);
/* What is gathered and not yet on its way to the disk from `index` on is void. */
void quorum_ungather(struct quorum *quorum, uint64_t index);
void quorum_fail(struct quorum *quorum, const char *what, enum error err);
/* quorum.c: the headers of what is being written. */
void quorum_seal(struct quorum *quorum);
/* quorum.c: the write has ended, as quorum->write says. */
void quorum_write_ended(struct quorum *quorum);
/* quorum.c: the write is a worker's, from the beginning. */
void quorum_write_by_worker(struct quorum *quorum);

/* straight.c: takes the write if it can; quorum_write_ended, or quorum_write_by_worker, comes later. */
bool quorum_straight_write(struct quorum *quorum);
/* Whether the worker that gets this write should make the file ready. */
bool quorum_straight_wanted(struct quorum *quorum);
/* On the worker, before it writes `size` bytes: as many zeros behind them as some hundred small batches take. */
void quorum_straight_zero(struct quorum *quorum, size_t size);
/* On the worker, after it wrote. */
void quorum_straight_note(struct quorum *quorum);
/* The blocks are no more. */
void quorum_straight_forget(struct quorum *quorum);
void quorum_straight_free(struct quorum *quorum);

/* cut.c, on a worker: the log ends before `index`. */
MUST_USE enum error quorum_cut(struct quorum *quorum, uint64_t index);

/* quorum.c, on a worker: makes the names of a new log file, and of the directories made for it, last. */
MUST_USE enum error quorum_sync_names(struct quorum *quorum);
/* The same for `dir` and whatever is above it. */
MUST_USE enum error quorum_sync_path(struct quorum *quorum, const char *dir);
/* recovery.c, on a worker: fills in indexes and the open file. Says itself what is wrong. */
MUST_USE enum error quorum_recover(struct quorum *quorum);
/* convert.c, on a worker. An arrived snapshot takes the place of the log, where a crash was in between. */
MUST_USE enum error quorum_finish_install(struct quorum *quorum);
/* Whether the files are of several members and this is a log of one, or the other way round. */
MUST_USE enum error quorum_is_other_kind(struct quorum *quorum, bool *is_other);
/* They become ours: one snapshot, with `members` where there are several. */
MUST_USE enum error quorum_convert(struct quorum *quorum, uint64_t least_index, struct slice members);
/* A log of one, in the files of a member whose operator says so. */
MUST_USE enum error quorum_stand_alone(struct quorum *quorum);
/* snapshot.c: one chunk behind what is gathered of a snapshot; size_word: of its header. */
void quorum_chunk_add(struct quorum_snapshot *snapshot, uint32_t size_word, struct slice chunk);
/* snapshot.c, on a worker: removes what two snapshots make superfluous. */
void quorum_purge(struct quorum *quorum);
/* quorum.c: a job has ended; frees the quorum if it was the last that a close waited for. */
void quorum_job_ended(struct quorum *quorum);
