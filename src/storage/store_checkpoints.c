/* store_checkpoints.c: the files that say, for all partitions of a directory, how far each is synced, where it starts, and
 * where its high watermark was.
 *
 * The text is made on the store's loop from numbers the logs publish, and written by the directory's load lane. A file is
 * written when it would say something new and its time has come. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/vec.h"
#include "storage/store_parts.h"

enum checkpoint_kind {
    RECOVERY_POINTS,
    LOG_STARTS,
    HIGH_WATERMARKS,
    CHECKPOINT_KINDS,
    CLEANER_OFFSETS = CHECKPOINT_KINDS
};

static const char *const file_names[CHECKPOINT_KINDS + 1] = {
    [RECOVERY_POINTS] = RECOVERY_POINT_FILE,
    [LOG_STARTS] = LOG_START_FILE,
    [HIGH_WATERMARKS] = HIGH_WATERMARK_FILE,
    [CLEANER_OFFSETS] = CLEANER_OFFSET_FILE, /* only read: the cleaner writes it */
};

static int *dirty_flag(struct log_dir *dir, enum checkpoint_kind kind)
{
    if (kind == RECOVERY_POINTS) return &dir->recovery_dirty;
    return kind == LOG_STARTS ? &dir->start_dirty : &dir->high_watermark_dirty;
}

void log_store_mark_all(struct log_dir *dir)
{
    for (int kind = 0; kind < CHECKPOINT_KINDS; kind++) {
        __atomic_store_n(dirty_flag(dir, (enum checkpoint_kind)kind), 1, __ATOMIC_RELAXED);
    }
}

/* --- reading --- */

struct reader {
    struct log_dir *dir;
    enum checkpoint_kind kind;
};

static enum error read_entry(void *context, struct slice topic, int32_t partition, int64_t offset)
{
    struct reader *reader = context;
    struct map *entries = &reader->dir->checkpoints->entries;
    char key[TOPIC_NAME_MAX + 16];
    if (topic.size > TOPIC_NAME_MAX) return ERR_CORRUPT;
    snprintf(key, sizeof key, "%.*s-%d", SLICE_ARG(topic), (int)partition);
    struct checkpoint_entry *entry = map_get(entries, slice_of(key));
    if (!entry) {
        entry = malloc(sizeof *entry);
        if (!entry) return ERR_NOMEM;
        *entry = (struct checkpoint_entry){.start_offset = -1};
        enum error err = map_put(entries, slice_of(key), entry);
        if (err != OK) {
            free(entry);
            return err;
        }
    }
    if (offset < 0) offset = 0;
    if (reader->kind == RECOVERY_POINTS)
        entry->recovery_point = offset;
    else if (reader->kind == LOG_STARTS)
        entry->start_offset = offset;
    else if (reader->kind == CLEANER_OFFSETS)
        entry->was_compacted = true;
    else
        entry->high_watermark = offset;
    return OK;
}

static enum error read_kind(struct log_dir *dir, enum checkpoint_kind kind)
{
    struct reader reader = {dir, kind};
    struct bytes *bytes = NULL;
    char *path = path_join(dir->path, file_names[kind]);
    enum error err = path ? disk_read_file(dir->disk, path, CHECKPOINT_SIZE_MAX, &bytes) : ERR_NOMEM;
    if (err == OK) err = offset_checkpoint_read(bytes_slice(bytes), read_entry, &reader);
    bytes_release(&bytes);
    if (err == ERR_NOT_FOUND) err = OK;
    if (err == ERR_CORRUPT || err == ERR_TOO_LARGE) {
        /* Entries before the damage are as good as any: too low a number costs time, and these are no higher. */
        diag_warn("\"%s\" is damaged: what it does not say is recovered from the logs", path);
        err = OK;
    }
    free(path);
    return err;
}

enum error dir_checkpoints_read(struct log_dir *dir)
{
    dir->checkpoints = calloc(1, sizeof *dir->checkpoints);
    char *path = path_join(dir->path, CLEAN_SHUTDOWN_FILE);
    enum error err = dir->checkpoints && path ? OK : ERR_NOMEM;
    /* Removed before anything is loaded: a crash while loading is no clean stop (KAFKA-10471). */
    if (err == OK) {
        err = disk_unlink(dir->disk, path);
        dir->was_clean = err == OK;
        if (err == OK) err = disk_sync_dir(dir->disk, dir->path);
        if (err == ERR_NOT_FOUND) err = OK;
    }
    free(path);
    path = path_join(dir->path, LOST_SYNC_FILE);
    if (!path && err == OK) err = ERR_NOMEM;
    if (err == OK) dir->has_lost_sync = disk_exists(dir->disk, path);
    free(path);
    for (int kind = 0; err == OK && kind <= CLEANER_OFFSETS; kind++)
        err = read_kind(dir, (enum checkpoint_kind)kind);
    return err;
}

enum error dir_checkpoints_find_deleted(struct log_dir *dir)
{
    struct log_store *store = dir->store;
    struct map_slot *slot;
    enum error err = OK;
    for (size_t i = 0; err == OK && dir->checkpoints && (slot = map_next(&dir->checkpoints->entries, &i));) {
        struct slice name = map_slot_key(slot);
        const struct log *log = map_get(&store->logs, name), *future = map_get(&store->futures, name);
        if ((log && log->dir == dir) || (future && future->dir == dir)) continue;
        err = map_put(&store->deleted, name, store);
        dir->has_deleted = true;
    }
    return err;
}

void dir_checkpoints_free(struct log_dir *dir)
{
    if (!dir->checkpoints) return;
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&dir->checkpoints->entries, &i));) free(slot->value);
    map_free(&dir->checkpoints->entries);
    free(dir->checkpoints);
    dir->checkpoints = NULL;
}

struct checkpoint_entry dir_checkpoint_of(const struct log_dir *dir, const char *name)
{
    const struct checkpoint_entry *entry =
        dir->checkpoints ? map_get(&dir->checkpoints->entries, slice_of(name)) : NULL;
    return entry ? *entry : (struct checkpoint_entry){.start_offset = -1};
}

/* --- writing --- */

/* -1: this log has no line in this file. */
static int64_t number_of(struct log *log, enum checkpoint_kind kind)
{
    if (kind == HIGH_WATERMARKS) return published(&log->high_watermark);
    if (kind == LOG_STARTS) {
        int64_t start_offset = published(&log->start_offset);
        return start_offset > published(&log->first_offset) ? start_offset : -1;
    }
    /* A cut on another thread lowers the recovery point and then asks what the file may say. Whichever of the two comes
     * second sees the other. */
    int64_t said = __atomic_exchange_n(&log->checkpointed_recovery_point, INT64_MAX, __ATOMIC_SEQ_CST);
    if (said == INT64_MAX) said = log->checkpoint_pending; /* another text of it is under way */
    if (said > log->checkpointed_before) log->checkpointed_before = said;
    log->checkpoint_pending = __atomic_load_n(&log->trusted_point, __ATOMIC_SEQ_CST);
    return log->checkpoint_pending;
}

static void make_text(struct log_dir *dir, enum checkpoint_kind kind, struct text *text)
{
    struct text lines = {0};
    struct store_walk walk = {0};
    struct log *log;
    size_t count = 0;
    while ((log = log_store_walk(dir->store, &walk))) {
        int64_t number = log->dir == dir ? number_of(log, kind) : -1;
        if (number < 0) continue;
        text_addf(&lines, "%.*s %d %lld\n", (int)log->topic_size, log->name, (int)log->partition,
                  (long long)number);
        count++;
    }
    text_addf(text, "0\n%zu\n", count);
    text_add(text, text_slice(&lines));
    if (lines.failed) text->failed = true;
    text_free(&lines);
}

/* Texts are numbered before they are made, so the higher number has the newer truth; one that was overtaken is not written. */
static uint64_t next_number(struct log_dir *dir)
{
    return __atomic_add_fetch(&dir->checkpoint_made, 1, __ATOMIC_SEQ_CST);
}

static enum error write_text(struct log_dir *dir, enum checkpoint_kind kind, uint64_t number,
                             const struct text *text)
{
    char *path = path_join(dir->path, file_names[kind]);
    enum error err = path && !text->failed ? OK : ERR_NOMEM;
    pthread_mutex_lock(&dir->checkpoint_mutex);
    if (err == OK && number > dir->checkpoint_written[kind]) {
        err = disk_write_file_atomic(dir->disk, path, text_slice(text));
        if (err == OK) dir->checkpoint_written[kind] = number;
    }
    pthread_mutex_unlock(&dir->checkpoint_mutex);
    free(path);
    return err;
}

struct checkpoint_job {
    struct lane_job job;
    struct log_dir *dir;
    enum checkpoint_kind kind;
    uint64_t number;
    struct text text;
    enum error err;
};

/* The recovery points that were written are now what the file says; if they could not be, it says these or those before. */
static void settle(struct log_dir *dir, bool is_written)
{
    struct store_walk walk = {0};
    struct log *log;
    while ((log = log_store_walk(dir->store, &walk))) {
        if (log->dir != dir || log->checkpoint_pending < 0) continue;
        int64_t most = log->checkpoint_pending;
        if (!is_written && log->checkpointed_before > most) most = log->checkpointed_before;
        log->checkpointed_before = most;
        log->checkpoint_pending = -1;
        __atomic_store_n(&log->checkpointed_recovery_point, most, __ATOMIC_SEQ_CST);
    }
}

static void written(struct log_dir *dir, enum checkpoint_kind kind, enum error err)
{
    if (kind == RECOVERY_POINTS) settle(dir, err == OK);
    if (err == OK) return;
    __atomic_store_n(dirty_flag(dir, kind), 1, __ATOMIC_RELAXED); /* next time, then */
    if (err == ERR_DISK_FULL || err == ERR_NOMEM) {
        diag_warn("could not write \"%s/%s\": %s", dir->path, file_names[kind], error_text(err));
    } else {
        log_dir_fail(dir, err, "write checkpoints of", dir->path);
    }
}

/* Drops the names of deleted logs once every file was written after the last deletion. */
static void forget_deleted(struct log_store *store)
{
    for (size_t i = 0; i < store->dir_count; i++) {
        struct log_dir *dir = &store->dirs[i];
        if (log_dir_is_failed(dir) || !dir->has_deleted) continue;
        bool is_settled = true;
        pthread_mutex_lock(&dir->checkpoint_mutex);
        for (int kind = 0; kind < CHECKPOINT_KINDS; kind++)
            is_settled &= dir->checkpoint_written[kind] > dir->deleted_mark;
        pthread_mutex_unlock(&dir->checkpoint_mutex);
        if (!is_settled) return;
        dir->has_deleted = false;
    }
    map_free(&store->deleted);
}

static void checkpoint_work(struct lane_job *lane_job)
{
    struct checkpoint_job *job = CONTAINER_OF(lane_job, struct checkpoint_job, job);
    job->err = write_text(job->dir, job->kind, job->number, &job->text);
}

static void checkpoint_done(struct lane_job *lane_job)
{
    struct checkpoint_job *job = CONTAINER_OF(lane_job, struct checkpoint_job, job);
    struct log_store *store = job->dir->store;
    written(job->dir, job->kind, job->err);
    text_free(&job->text);
    free(job);
    store->checkpoint_jobs--;
    if (store->checkpoint_jobs > 0) return;
    if (store->is_closing) {
        log_store_close_continue(store);
    } else if (store->checkpoint_again) {
        store->checkpoint_again = false;
        log_store_checkpoint(store);
    } else {
        forget_deleted(store);
    }
}

static void write_kind(struct log_store *store, enum checkpoint_kind kind)
{
    for (size_t i = 0; i < store->dir_count; i++) {
        struct log_dir *dir = &store->dirs[i];
        if (log_dir_is_failed(dir) || !__atomic_exchange_n(dirty_flag(dir, kind), 0, __ATOMIC_RELAXED))
            continue;
        struct checkpoint_job made = {.job = {.work = checkpoint_work, .done = checkpoint_done},
                                      .dir = dir,
                                      .kind = kind,
                                      .number = next_number(dir)};
        make_text(dir, kind, &made.text);
        struct checkpoint_job *job = store->options.loop ? malloc(sizeof *job) : NULL;
        if (job) {
            *job = made;
            store->checkpoint_jobs++;
            lane_submit(dir->sync_lane, store->options.loop, &job->job);
        } else {
            written(dir, kind, write_text(dir, kind, made.number, &made.text));
            text_free(&made.text);
        }
    }
}

void log_store_checkpoint_now(struct log_store *store)
{
    for (size_t i = 0; i < store->dir_count; i++) {
        struct log_dir *dir = &store->dirs[i];
        for (int k = 0; k < CHECKPOINT_KINDS && !log_dir_is_failed(dir); k++) {
            enum checkpoint_kind kind = (enum checkpoint_kind)k;
            struct text text = {0};
            uint64_t number = next_number(dir);
            make_text(dir, kind, &text);
            written(dir, kind, write_text(dir, kind, number, &text));
            text_free(&text);
        }
    }
    forget_deleted(store);
}

enum error log_store_settle_deleted(struct log_store *store, struct slice name)
{
    if (!map_get(&store->deleted, name)) return OK;
    log_store_checkpoint_now(store);
    return map_get(&store->deleted, name) ? ERR_DISK_FULL : OK;
}

void log_store_checkpoint(struct log_store *store)
{
    if (store->is_closing || !store->is_loaded) return;
    if (store->checkpoint_jobs > 0) {
        store->checkpoint_again = true; /* two writers of one file would not know who was last */
        return;
    }
    for (int kind = 0; kind < CHECKPOINT_KINDS; kind++) write_kind(store, (enum checkpoint_kind)kind);
}

static int64_t earliest(const struct log_store *store)
{
    int64_t due_ms = store->recovery_due_ms;
    if (store->start_due_ms < due_ms) due_ms = store->start_due_ms;
    if (store->high_watermark_due_ms < due_ms) due_ms = store->high_watermark_due_ms;
    return due_ms;
}

static void arm(struct log_store *store, int64_t now_ms)
{
    loop_timer_start(store->options.loop, &store->checkpoint_timer, earliest(store) - now_ms);
}

static void checkpoints_due(struct loop_timer *timer)
{
    struct log_store *store = CONTAINER_OF(timer, struct log_store, checkpoint_timer);
    const struct log_store_options *options = &store->options;
    int64_t now_ms = loop_now_ms(options->loop);
    bool may_write =
        store->checkpoint_jobs == 0; /* else a disk is slower than the interval: wait for the next one */
    if (now_ms >= store->recovery_due_ms) {
        if (may_write) write_kind(store, RECOVERY_POINTS);
        store->recovery_due_ms = now_ms + options->recovery_checkpoint_interval_ms;
    }
    if (now_ms >= store->start_due_ms) {
        if (may_write) write_kind(store, LOG_STARTS);
        store->start_due_ms = now_ms + options->log_start_checkpoint_interval_ms;
    }
    if (now_ms >= store->high_watermark_due_ms) {
        if (may_write) write_kind(store, HIGH_WATERMARKS);
        store->high_watermark_due_ms = now_ms + options->high_watermark_checkpoint_interval_ms;
    }
    arm(store, now_ms);
}

void log_store_checkpoints_start(struct log_store *store)
{
    store->is_loaded = true;
    const struct log_store_options *options = &store->options;
    if (!options->loop) return;
    int64_t now_ms = loop_now_ms(options->loop);
    store->recovery_due_ms = now_ms + options->recovery_checkpoint_interval_ms;
    store->start_due_ms = now_ms + options->log_start_checkpoint_interval_ms;
    store->high_watermark_due_ms = now_ms + options->high_watermark_checkpoint_interval_ms;
    store->checkpoint_timer.run = checkpoints_due;
    arm(store, now_ms);
}

enum error dir_write_final(struct log_dir *dir, bool is_clean)
{
    enum error err = OK;
    for (int kind = 0; err == OK && kind < CHECKPOINT_KINDS; kind++) {
        struct text text = {0};
        uint64_t number = next_number(dir);
        make_text(dir, (enum checkpoint_kind)kind, &text);
        err = write_text(dir, (enum checkpoint_kind)kind, number, &text);
        text_free(&text);
    }
    /* Else the next start would know of no loss, and nobody has been told. */
    bool is_settled = !dir->has_lost_cache || !dir->store->options.is_of_cluster;
    if (err == OK && is_clean && is_settled) {
        struct text text = {0};
        clean_shutdown_write(dir->store->broker_epoch, &text);
        char *path = path_join(dir->path, CLEAN_SHUTDOWN_FILE);
        err = path && !text.failed ? disk_write_file_atomic(dir->disk, path, text_slice(&text)) : ERR_NOMEM;
        free(path);
        text_free(&text);
    }
    return err;
}

/* --- one line --- */

struct others {
    const struct log *log;
    struct text lines;
    size_t count;
};

static enum error keep(struct others *others, struct slice topic, int32_t partition, int64_t offset)
{
    text_addf(&others->lines, "%.*s %d %lld\n", SLICE_ARG(topic), (int)partition, (long long)offset);
    others->count++;
    return others->lines.failed ? ERR_NOMEM : OK;
}

static enum error keep_other(void *context, struct slice topic, int32_t partition, int64_t offset)
{
    struct others *others = context;
    if (partition == others->log->partition && slice_equal(topic, log_topic(others->log))) return OK;
    return keep(others, topic, partition, offset);
}

enum error log_write_start(struct log *log)
{
    struct log_dir *dir = log->dir;
    struct others others = {.log = log};
    struct bytes *bytes = NULL;
    struct text text = {0};
    uint64_t number = next_number(dir);
    char *path = path_join(dir->path, file_names[LOG_STARTS]);
    pthread_mutex_lock(&dir->checkpoint_mutex);
    enum error err = path ? disk_read_file(dir->disk, path, CHECKPOINT_SIZE_MAX, &bytes) : ERR_NOMEM;
    if (err == OK) err = offset_checkpoint_read(bytes_slice(bytes), keep_other, &others);
    if (err == ERR_NOT_FOUND || err == ERR_CORRUPT) err = OK;
    int64_t start_offset = number_of(log, LOG_STARTS);
    if (err == OK && start_offset >= 0) err = keep(&others, log_topic(log), log->partition, start_offset);
    text_addf(&text, "0\n%zu\n", others.count);
    text_add(&text, text_slice(&others.lines));
    if (err == OK && (text.failed || others.lines.failed)) err = ERR_NOMEM;
    if (err == OK) err = disk_write_file_atomic(dir->disk, path, text_slice(&text));
    if (err == OK && number > dir->checkpoint_written[LOG_STARTS])
        dir->checkpoint_written[LOG_STARTS] = number;
    pthread_mutex_unlock(&dir->checkpoint_mutex);
    /* A text of the others' news may have been overtaken by this one. */
    __atomic_store_n(&dir->start_dirty, 1, __ATOMIC_RELAXED);
    bytes_release(&bytes);
    text_free(&others.lines);
    text_free(&text);
    free(path);
    return err;
}
