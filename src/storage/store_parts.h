/* store_parts.h: what a store is made of; only for its own files. */
#pragma once
#include "base/map.h"
#include "base/random.h"
#include "storage/checkpoint.h"
#include "storage/log_parts.h"

struct dir_meta {
    bool is_there;
    struct meta_properties properties;
};

/* What the checkpoint files of a directory said at start, by "topic-partition". */
struct dir_checkpoints {
    struct map entries; /* -> struct checkpoint_entry */
};

struct checkpoint_entry {
    int64_t recovery_point; /* 0 = none */
    int64_t start_offset;   /* -1 = none */
    int64_t high_watermark; /* 0 = none */
    bool was_compacted;     /* the cleaner knows it */
};

struct log_store {
    struct log_store_options options;
    struct log_dir *dirs;
    struct dir_meta *metas;
    size_t dir_count;
    struct map logs;        /* "topic-partition" -> struct log */
    struct map futures;     /* the same -> the one that is being moved (move.h) */
    struct map wanted_dirs; /* the same, of logs that are not there yet -> struct log_dir */
    struct map deleted;     /* names that checkpoint files may still mention */
    struct log_home home;   /* for what is no log's: deleted directories */
    struct random random;
    int64_t broker_epoch;
    struct log_store_progress progress; /* atomic */
    struct load_work *loading;
    struct loop_timer checkpoint_timer;
    int64_t recovery_due_ms, start_due_ms, high_watermark_due_ms;
    size_t checkpoint_jobs;
    bool checkpoint_again, is_loaded, is_closing;
    struct close_work *closing; /* waits for checkpoints that are being written */
};

void store_free(struct log_store *store, bool machine_is_gone);
/* "topic-partition" into `key`, which holds any valid one. False for a topic no directory could be called after. */
bool log_store_key(struct slice topic, int32_t partition, char key[TOPIC_NAME_MAX + 16]);
void log_store_unique(struct log_store *store, uint8_t out[16]);
/* A log of this name is no more in its directory. */
void log_store_forget(struct log_store *store, const struct log *gone);
/* All logs, and those being moved. Zeroed to begin with; NULL at the end. */
struct store_walk {
    size_t log, future;
};
struct log *log_store_walk(const struct log_store *store, struct store_walk *walk);

/* --- store_checkpoints.c --- */
/* Remembers and removes the clean-shutdown marker, then reads the checkpoints. */
MUST_USE enum error dir_checkpoints_read(struct log_dir *dir);
void dir_checkpoints_free(struct log_dir *dir);
/* All is loaded: what the files say of logs that are not there must not be taken for a later log's, either. */
MUST_USE enum error dir_checkpoints_find_deleted(struct log_dir *dir);
struct checkpoint_entry dir_checkpoint_of(const struct log_dir *dir, const char *name);
void log_store_mark_all(struct log_dir *dir);
/* Waits for the disk: all checkpoints of all directories, as they are now. */
void log_store_checkpoint_now(struct log_store *store);
/* Sees to it that no checkpoint file mentions a deleted log of this name. */
MUST_USE enum error log_store_settle_deleted(struct log_store *store, struct slice name);
/* Starts the timer that writes what is due; after load. */
void log_store_checkpoints_start(struct log_store *store);
/* All of them for one directory, and the marker when `is_clean`. Waits for the disk; any thread, while no log changes. */
MUST_USE enum error dir_write_final(struct log_dir *dir, bool is_clean);

/* --- store_boot.c --- */
/* After the marker was looked for: sets dir->has_lost_cache. */
MUST_USE enum error dir_boot_read(struct log_dir *dir, bool is_known);

/* --- move.c: at the start --- */
/* Of two logs of the same partition the one to keep; NULL: nobody can say. */
struct log *log_store_pick(struct log_store *store, struct log *a, struct log *b);
/* Out of the way: its directory is called -delete, and goes. */
MUST_USE enum error log_store_set_aside(struct log_store *store, const struct log *gone);
/* All is loaded: moves that ended leave no mark. */
void log_store_settle_moves(struct log_store *store);

/* --- store_life.c --- */
void log_store_close_continue(struct log_store *store);
