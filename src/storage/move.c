#include "storage/move.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "storage/store_parts.h"

/* --- which there are: the store's loop --- */

static struct log_dir *find_dir(const struct log_store *store, struct slice path)
{
    while (path.size > 1 && path.data[path.size - 1] == '/') path.size--;
    for (size_t i = 0; i < store->dir_count; i++) {
        if (slice_is(path, store->dirs[i].path)) return &store->dirs[i];
    }
    return NULL;
}

enum error log_store_check_dir(const struct log_store *store, struct slice dir)
{
    const struct log_dir *found = find_dir(store, dir);
    if (!found) return ERR_LOG_DIR_NOT_FOUND;
    return log_dir_is_failed(found) ? ERR_KAFKA_STORAGE_ERROR : OK;
}

enum error log_store_want(struct log_store *store, struct slice topic, int32_t partition, struct slice dir)
{
    char key[TOPIC_NAME_MAX + 16];
    if (!log_store_key(topic, partition, key)) return ERR_INVALID_TOPIC_EXCEPTION;
    return map_put(&store->wanted_dirs, slice_of(key), find_dir(store, dir));
}

struct log *log_store_future(const struct log_store *store, struct slice topic, int32_t partition)
{
    char key[TOPIC_NAME_MAX + 16];
    if (!log_store_key(topic, partition, key)) return NULL;
    return map_get(&store->futures, slice_of(key));
}

bool log_is_future(const struct log *log)
{
    return log->future_suffix[0] != 0;
}

enum error log_store_make_future(struct log_store *store, const struct log *current, struct slice dir,
                                 struct log **future)
{
    struct log_dir *target = find_dir(store, dir);
    uint8_t unique[16];
    char name[PARTITION_DIR_NAME_MAX + 1];
    log_store_unique(store, unique);
    if (!partition_dir_future_name(slice_of(current->name), unique, name)) return ERR_INVALID_TOPIC_EXCEPTION;
    if (log_store_live_dirs(store) < store->dir_count) return ERR_KAFKA_STORAGE_ERROR;
    if (map_get(&store->futures, slice_of(current->name))) return ERR_EXISTS;
    /* Its last move is not all over: two marks would say nothing. */
    if (current->has_moved_mark) return ERR_REPLICA_NOT_AVAILABLE;

    /* Lines of a log of this name that left the directory would be taken for its. */
    enum error err = log_store_settle_deleted(store, slice_of(current->name));
    struct log *made = NULL;
    if (err == OK) err = log_create(target, name, &current->topic_id, &current->config, &made);
    if (err == OK) err = map_put(&store->futures, slice_of(made->name), made);
    if (err != OK) {
        log_free(made);
        if (err == ERR_NOMEM || err == ERR_DISK_FULL || err == ERR_LIMIT) return err;
        log_dir_fail(target, err, "create", name);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    target->partition_count++;
    *future = made;
    return OK;
}

/* --- filling it: the home loop --- */

/* Where `future` is to be cut next; its end when nothing is wrong, -1: all of it goes. *is_last: nothing is to be asked afterwards. */
static int64_t parting(const struct log *current, const struct log *future, bool *is_last)
{
    int32_t epoch = log_latest_epoch(future);
    *is_last = true;
    if (epoch < 0) return future->end_offset;
    /* Its writers are below the other's start: whether they wrote the same nobody can say any more. */
    if (current->epochs.count > 0 && epoch < current->epochs.entries[0].epoch) return -1;
    struct epoch_end theirs = log_epoch_end(current, epoch);
    /* Nobody who leads knows of it: a leader that was overruled wrote it. */
    if (theirs.end_offset < 0) {
        *is_last = false;
        return log_latest_epoch_start(future);
    }
    if (theirs.epoch == epoch) return theirs.end_offset;
    *is_last = false;
    struct epoch_end ours = log_epoch_end(future, theirs.epoch);
    return ours.end_offset >= 0 && ours.end_offset < theirs.end_offset ? ours.end_offset : theirs.end_offset;
}

static enum error agree(const struct log *current, struct log *future)
{
    enum error err = OK;
    bool is_last = false;
    while (err == OK && !is_last) {
        int32_t epoch = log_latest_epoch(future);
        int64_t end = parting(current, future, &is_last);
        if (is_last && end >= future->end_offset) break;
        if (end >= 0) err = log_truncate_to(future, end);
        /* A batch may reach over the cut, or the epoch have begun at the end: either way it must go. */
        bool must_restart = end < 0 || (!is_last && log_latest_epoch(future) == epoch);
        if (err != OK || !must_restart) continue;
        err = log_truncate_fully_and_start_at(future, current->start_offset);
        is_last = true;
    }
    if (err == OK) future->agreed_generation = current->generation;
    return err;
}

enum error log_move_align(const struct log *current, struct log *future)
{
    enum error err = future->agreed_generation == current->generation ? OK : agree(current, future);
    if (err == OK && future->end_offset > current->end_offset)
        err = log_truncate_to(future, current->end_offset);
    if (err == OK && future->end_offset < current->start_offset)
        err = log_truncate_fully_and_start_at(future, current->start_offset);
    if (err != OK) return err;
    int64_t high_watermark = current->high_watermark;
    log_set_high_watermark(future, high_watermark < future->end_offset ? high_watermark : future->end_offset);
    return current->start_offset <= future->high_watermark ? log_increase_start(future, current->start_offset)
                                                           : OK;
}

enum error log_move_mark_begin(const struct log *future, struct log_move_mark *mark)
{
    char *dir = log_path(future);
    *mark = (struct log_move_mark){.disk = future->dir->disk,
                                   .path = dir ? path_join(dir, MOVED_HERE_FILE) : NULL};
    free(dir);
    return mark->path ? OK : ERR_NOMEM;
}

void log_move_mark_work(struct log_move_mark *mark)
{
    mark->err = disk_write_file_atomic(mark->disk, mark->path, SLICE("odradek move, version 1\n"));
}

enum error log_move_mark_end(struct log *future, struct log_move_mark *mark)
{
    enum error err = mark->err;
    if (err == OK && future) future->has_moved_mark = true;
    if (err != OK && err != ERR_DISK_FULL && err != ERR_NOMEM && future) {
        log_dir_fail(future->dir, err, "write", mark->path);
        err = ERR_KAFKA_STORAGE_ERROR;
    }
    free(mark->path);
    mark->path = NULL;
    return err;
}

/* The epochs of the other, from where this log begins. */
static enum error copy_epochs(const struct log *current, const struct log *future, struct epoch_cache *epochs)
{
    enum error err = OK;
    for (size_t i = 0; err == OK && i < current->epochs.count; i++) {
        const struct epoch_entry *entry = &current->epochs.entries[i];
        err = epoch_cache_assign(epochs, entry->epoch, entry->start_offset);
    }
    if (err == OK) epoch_cache_cut_start(epochs, future->start_offset);
    return err;
}

static enum error rename_to_current(struct log *future)
{
    char suffix[sizeof future->future_suffix];
    memcpy(suffix, future->future_suffix, sizeof suffix);
    char *from = log_path(future);
    future->future_suffix[0] = 0;
    char *to = log_path(future);
    enum error err = from && to ? disk_rename(future->dir->disk, from, to) : ERR_NOMEM;
    if (err == OK) {
        log_rename_open_files(future, to);
        future->dir_unsynced = future->parent_unsynced = true;
    } else {
        memcpy(future->future_suffix, suffix, sizeof suffix);
        if (err != ERR_NOMEM) {
            log_dir_fail(future->dir, err, "rename", from);
            err = ERR_KAFKA_STORAGE_ERROR;
        }
    }
    free(from);
    free(to);
    return err;
}

enum error log_move_swap(struct log *current, struct log *future)
{
    if (current->end_offset != future->end_offset || future->flush_job || !future->has_moved_mark)
        return ERR_AGAIN;
    enum error err = OK;
    /* What was promised of the one must hold for the other, also by an earlier life that nobody remembers. */
    int64_t promised = log_synced_end_offset(current);
    if (promised < current->recovered_end) promised = current->recovered_end;
    if (log_synced_end_offset(future) < promised) err = log_flush_now(future);
    struct epoch_cache epochs = {0};
    if (err == OK) err = copy_epochs(current, future, &epochs);
    if (err == OK && !uuid_is_zero(&current->topic_id)) err = log_set_topic_id(future, &current->topic_id);
    if (err == OK) err = rename_to_current(future);
    if (err != OK) {
        epoch_cache_free(&epochs);
        return err;
    }
    epoch_cache_free(&future->epochs);
    future->epochs = epochs;
    future->epochs_unsaved = true;
    /* The same, but for what retention took before the copy began. */
    struct producer_state producers = future->producers;
    future->producers = current->producers;
    current->producers = producers;
    future->has_unsaved_state = true;
    if (future->generation <= current->generation) future->generation = current->generation + 1;
    future->config = current->config;
    log_set_high_watermark(future, current->high_watermark);
    log_mark_dirty(future);
    return OK;
}

/* --- afterwards: the store's loop, and a worker --- */

struct retirement {
    struct lane_job job;
    struct log_store *store;
    struct log_dir *dir, *new_dir;
    char *name, *from, *to, *path, *mark; /* `path` and the mark in it: where it is now */
    int64_t delay_ms;
    bool is_done;
};

static void retirement_free(struct retirement *work)
{
    if (!work) return;
    free(work->name);
    free(work->from);
    free(work->to);
    free(work->path);
    free(work->mark);
    free(work);
}

/* The new name first: else a power cut could leave none of the two. */
static void retire_work(struct lane_job *job)
{
    struct retirement *work = CONTAINER_OF(job, struct retirement, job);
    enum error err = disk_sync_dir(work->new_dir->disk, work->new_dir->path);
    if (err != OK) {
        log_dir_fail(work->new_dir, err, "sync", work->new_dir->path);
        return;
    }
    if (log_dir_is_failed(work->dir)) return;
    err = disk_rename(work->dir->disk, work->from, work->to);
    if (err == OK) err = disk_sync_dir(work->dir->disk, work->dir->path);
    if (err != OK) {
        log_dir_fail(work->dir, err, "rename", work->from);
        return;
    }
    work->is_done = true;
    /* Should it stay, the next start takes it away. */
    err = disk_unlink(work->new_dir->disk, work->mark);
    if (err == OK) err = disk_sync_dir(work->new_dir->disk, work->path);
    if (err != OK) diag_warn("could not remove \"%s\": %s", work->mark, error_text(err));
}

static void retire_done(struct lane_job *job)
{
    struct retirement *work = CONTAINER_OF(job, struct retirement, job);
    struct log_store *store = work->store;
    struct log_home *home = &store->home;
    struct log *now = map_get(&store->logs, slice_of(work->name));
    if (work->is_done) {
        if (now && now->dir == work->new_dir) now->has_moved_mark = false;
        home_discard_tree(home, work->dir, work->to, work->delay_ms);
        work->to = NULL;
    }
    retirement_free(work);
    if (store->options.loop) log_home_job_end(home);
}

/* NULL without memory. */
static struct retirement *retirement_of(struct log_store *store, const struct log *old, struct log *now)
{
    uint8_t unique[16];
    char name[PARTITION_DIR_NAME_MAX + 1];
    log_store_unique(store, unique);
    partition_dir_delete_name(slice_of(old->name), unique, name);
    struct retirement *work = calloc(1, sizeof *work);
    if (!work) return NULL;
    *work = (struct retirement){.job = {.work = retire_work, .done = retire_done},
                                .store = store,
                                .dir = old->dir,
                                .new_dir = now->dir,
                                .name = slice_dup(slice_of(now->name)),
                                .from = log_path(old),
                                .to = path_join(old->dir->path, name),
                                .path = log_path(now),
                                .delay_ms = old->config.file_delete_delay_ms};
    work->mark = work->path ? path_join(work->path, MOVED_HERE_FILE) : NULL;
    if (work->name && work->from && work->to && work->mark) return work;
    retirement_free(work);
    return NULL;
}

void log_store_moved(struct log_store *store, struct log **moved)
{
    struct log *old = *moved;
    struct log *now = map_remove(&store->futures, slice_of(old->name));
    enum error err = map_put(&store->logs, slice_of(now->name), now); /* in the place of the other */
    if (err != OK) diag_error("could not keep \"%s\": %s", now->name, error_text(err));
    log_set_home(old, NULL);
    struct retirement *work = retirement_of(store, old, now);
    if (!work) {
        /* Two directories until the next start, which knows the right one. */
        diag_warn("could not remove \"%s\" from \"%s\": %s", old->name, old->dir->path,
                  error_text(ERR_NOMEM));
    } else if (store->options.loop) {
        log_home_job_begin(&store->home);
        lane_submit(now->dir->sync_lane, store->options.loop, &work->job);
    } else {
        retire_work(&work->job);
        retire_done(&work->job);
    }
    log_store_forget(store, old);
    log_store_mark_all(now->dir);
    log_free(old);
    *moved = NULL;
    log_store_checkpoint(store);
}

/* --- at the start --- */

struct log *log_store_pick(struct log_store *store, struct log *a, struct log *b)
{
    if (log_is_future(a)) return b->end_offset > a->end_offset ? b : a; /* a copy is a copy */
    if (a->has_moved_mark == b->has_moved_mark) return NULL;
    struct log *kept = a->has_moved_mark ? a : b;
    diag_info("\"%s\" was moved to \"%s\"", kept->name, kept->dir->path);
    return kept;
}

enum error log_store_set_aside(struct log_store *store, const struct log *gone)
{
    uint8_t unique[16];
    char name[PARTITION_DIR_NAME_MAX + 1];
    log_store_unique(store, unique);
    partition_dir_delete_name(slice_of(gone->name), unique, name);
    char *from = log_path(gone), *to = path_join(gone->dir->path, name);
    enum error err = from && to ? disk_rename(gone->dir->disk, from, to) : ERR_NOMEM;
    if (err == OK) err = disk_sync_dir(gone->dir->disk, gone->dir->path);
    if (err == OK) {
        home_discard_tree(&store->home, gone->dir, to, 0);
        to = NULL;
    } else if (err != ERR_NOMEM) {
        log_dir_fail(gone->dir, err, "rename", from);
        err = OK;
    }
    log_store_mark_all(gone->dir);
    free(from);
    free(to);
    return err;
}

void log_store_settle_moves(struct log_store *store)
{
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&store->logs, &i));) {
        struct log *log = slot->value;
        if (!log->has_moved_mark) continue;
        char *dir = log_path(log), *path = dir ? path_join(dir, MOVED_HERE_FILE) : NULL;
        enum error err = path ? disk_unlink(log->dir->disk, path) : ERR_NOMEM;
        if (err == OK) err = disk_sync_dir(log->dir->disk, dir);
        if (err == OK) log->has_moved_mark = false;
        if (err != OK) diag_warn("could not remove \"%s\": %s", path ? path : log->name, error_text(err));
        free(path);
        free(dir);
    }
}
