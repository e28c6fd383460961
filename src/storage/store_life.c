/* store_life.c: bringing all partitions up, and down again: each partition a job on its directory's lane. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/vec.h"
#include "storage/store_parts.h"

struct load_job {
    struct lane_job job;
    struct load_work *work;
    struct log_dir *dir;
    char *name; /* of its directory */
    bool is_future;
    struct log *log;
    enum error err;
};

struct load_work {
    struct log_store *store;
    struct load_job *jobs;
    size_t count, capacity, left;
    void (*done)(void *context, enum error err, const char *why);
    void *context;
    struct text why;
};

/* --- loading --- */

static void load_one(struct load_job *job)
{
    struct log_store *store = job->work->store;
    if (log_dir_is_failed(job->dir)) {
        job->err = ERR_KAFKA_STORAGE_ERROR;
        return;
    }
    char key[PARTITION_DIR_NAME_MAX + 1];
    snprintf(key, sizeof key, "%.*s", (int)(strlen(job->name) - (job->is_future ? FUTURE_SUFFIX_SIZE : 0)),
             job->name);
    struct checkpoint_entry entry = dir_checkpoint_of(job->dir, key);
    struct log_load_request request = {.dir = job->dir,
                                       .name = job->name,
                                       .config = &store->options.config,
                                       .recovery_point = entry.recovery_point,
                                       .start_offset = entry.start_offset,
                                       .high_watermark = entry.high_watermark,
                                       .was_clean = job->dir->was_clean,
                                       .was_compacted = entry.was_compacted};
    int64_t recovered_bytes = 0;
    job->err = log_load(&request, &job->log, &recovered_bytes);
    if (job->err == ERR_DISK_FULL)
        diag_error(
            "\"%s/%s\" was not stopped in good order, and there is no room to mend it: make some and start "
            "again, nothing is lost",
            job->dir->path, job->name);
    if (job->err != OK) log_dir_fail(job->dir, job->err, "load", job->name);
    __atomic_fetch_add(&store->progress.loaded, 1, __ATOMIC_RELAXED);
    if (!job->dir->was_clean) __atomic_fetch_add(&store->progress.recovered, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&store->progress.recovered_bytes, recovered_bytes, __ATOMIC_RELAXED);
}

static void load_work(struct lane_job *lane_job)
{
    load_one(CONTAINER_OF(lane_job, struct load_job, job));
}

/* One log into its map. Of two for the same partition one was moved to the other's directory, or neither is right. */
static enum error adopt(struct log_store *store, struct load_job *job, struct text *why)
{
    struct map *logs = job->is_future ? &store->futures : &store->logs;
    const char *name = job->log->name;
    struct log *other = map_get(logs, slice_of(name));
    struct log *kept = other ? log_store_pick(store, other, job->log) : job->log;
    if (!kept) {
        text_addf(why,
                  "partition \"%s\" lies in two log directories, \"%s\" and \"%s\"; move one of them away",
                  name, other->dir->path, job->dir->path);
        return ERR_CONFIG;
    }
    struct log *gone = kept == job->log ? other : job->log;
    if (kept == job->log) {
        enum error err = map_put(logs, slice_of(name), kept);
        if (err != OK) return err;
        job->dir->partition_count++;
        if (other) other->dir->partition_count--;
    }
    job->log = gone; /* freed by who called us */
    return gone ? log_store_set_aside(store, gone) : OK;
}

/* Everything is written again: what the last life lost is no matter any more. */
static void forget_lost_sync(struct log_dir *dir)
{
    if (!dir->has_lost_sync || log_dir_is_failed(dir)) return;
    char *path = path_join(dir->path, LOST_SYNC_FILE);
    enum error err = path ? disk_unlink(dir->disk, path) : ERR_NOMEM;
    if (err != OK && err != ERR_NOT_FOUND)
        diag_warn("could not remove \"%s/%s\": %s", dir->path, LOST_SYNC_FILE, error_text(err));
    free(path);
}

static void load_finish(struct load_work *work)
{
    struct log_store *store = work->store;
    enum error err = OK;
    for (size_t i = 0; i < work->count; i++) {
        struct load_job *job = &work->jobs[i];
        if (err == OK && job->err == OK && job->log) err = adopt(store, job, &work->why);
        log_free(job->log);
        free(job->name);
    }
    if (err == OK) log_store_settle_moves(store);
    for (size_t i = 0; err == OK && i < store->dir_count; i++)
        err = dir_checkpoints_find_deleted(&store->dirs[i]);
    for (size_t i = 0; i < store->dir_count; i++) {
        dir_checkpoints_free(&store->dirs[i]);
        if (err == OK) forget_lost_sync(&store->dirs[i]);
        /* What the files say may be wrong by now. */
        if (!store->dirs[i].was_clean) log_store_mark_all(&store->dirs[i]);
    }
    if (err == OK && log_store_live_dirs(store) == 0) {
        text_addz(&work->why, "no log directory can be used");
        err = ERR_IO;
    }
    if (err == OK) log_store_checkpoints_start(store);
    store->loading = NULL;
    work->done(work->context, err, work->why.data ? work->why.data : "");
    text_free(&work->why);
    free(work->jobs);
    free(work);
}

static void load_done(struct lane_job *lane_job)
{
    struct load_work *work = CONTAINER_OF(lane_job, struct load_job, job)->work;
    if (--work->left == 0) load_finish(work);
}

/* What else lies in a log directory. */
static void pass_over(struct log_store *store, struct log_dir *dir, const char *name,
                      enum partition_dir_kind kind)
{
    if (kind == DIR_DELETE) {
        char *path = path_join(dir->path, name);
        if (path) home_discard_tree(&store->home, dir, path, 0);
    } else if (kind == DIR_STRAY) {
        diag_info("leaving \"%s/%s\" as it is: it was put aside for you to look at", dir->path, name);
    } else if (strcmp(name, "remote-log-index-cache") != 0 && strcmp(name, "lost+found") != 0) {
        diag_warn("\"%s/%s\" is no partition's directory; Apache Kafka would refuse to start beside it",
                  dir->path, name);
    }
}

static enum error find_partitions(struct load_work *work, struct log_dir *dir)
{
    struct disk_entry *entries = NULL;
    size_t count = 0;
    enum error err = disk_list(dir->disk, dir->path, &entries, &count);
    for (size_t i = 0; err == OK && i < count; i++) {
        if (!entries[i].is_dir) continue;
        struct partition_dir_name name = partition_dir_parse(slice_of(entries[i].name));
        if (name.kind != DIR_CURRENT && name.kind != DIR_FUTURE) {
            pass_over(work->store, dir, entries[i].name, name.kind);
            continue;
        }
        if (slice_is(name.topic, "__cluster_metadata"))
            continue; /* KRaft's own log, left from another life */
        if (!VEC_RESERVE(work->jobs, work->count, work->capacity)) err = ERR_NOMEM;
        char *copy = err == OK ? slice_dup(slice_of(entries[i].name)) : NULL;
        if (!copy) {
            err = ERR_NOMEM;
            break;
        }
        work->jobs[work->count++] = (struct load_job){.job = {.work = load_work, .done = load_done},
                                                      .work = work,
                                                      .dir = dir,
                                                      .name = copy,
                                                      .is_future = name.kind == DIR_FUTURE};
    }
    disk_list_free(entries, count);
    return err;
}

void log_store_load(struct log_store *store, void (*done)(void *context, enum error err, const char *why),
                    void *context)
{
    struct load_work *work = calloc(1, sizeof *work);
    if (!work) {
        done(context, ERR_NOMEM, error_text(ERR_NOMEM));
        return;
    }
    *work = (struct load_work){.store = store, .done = done, .context = context};
    store->loading = work;
    for (size_t i = 0; i < store->dir_count; i++) {
        struct log_dir *dir = &store->dirs[i];
        if (log_dir_is_failed(dir)) continue;
        enum error err = find_partitions(work, dir);
        if (err != OK) log_dir_fail(dir, err, "list", dir->path);
    }
    __atomic_store_n(&store->progress.partitions, work->count, __ATOMIC_RELAXED);
    work->left = work->count;
    if (!store->options.loop) {
        for (size_t i = 0; i < work->count; i++) load_one(&work->jobs[i]);
        load_finish(work);
    } else if (work->count == 0) {
        load_finish(work);
    } else {
        for (size_t i = 0; i < work->count; i++) {
            lane_submit(work->jobs[i].dir->load_lane, store->options.loop, &work->jobs[i].job);
        }
    }
}

/* --- stopping --- */

/* Logs of one directory that have something to sync: up to here each for itself, beyond that the whole file system at once. */
#define SYNC_ONE_BY_ONE 4

struct close_job {
    struct lane_job job;
    struct close_work *work;
    struct log_dir *dir;
    struct log *log; /* NULL: the directory's own files */
    bool all_will_be_synced;
    enum error err;
};

struct close_work {
    struct log_store *store;
    struct close_job *jobs; /* one for each log, then one for each directory */
    size_t log_count, left;
    void (*done)(void *context);
    void *context;
};

static void close_one(struct lane_job *lane_job)
{
    struct close_job *job = CONTAINER_OF(lane_job, struct close_job, job);
    if (log_dir_is_failed(job->dir)) return;
    job->err = log_close_cleanly(job->log, job->all_will_be_synced);
    if (job->err != OK && job->err != ERR_DISK_FULL && job->err != ERR_NOMEM) {
        log_dir_fail(job->dir, job->err, "close", job->log->name);
    }
}

/* One sync for all logs of the directory. */
static enum error sync_logs(struct close_work *work, struct log_dir *dir)
{
    enum error err = disk_sync_all(dir->disk, dir->path);
    for (size_t i = 0; err == OK && i < work->log_count; i++) {
        if (work->jobs[i].dir == dir && work->jobs[i].err == OK) log_was_synced(work->jobs[i].log);
    }
    return err;
}

static void close_dir(struct lane_job *lane_job)
{
    struct close_job *job = CONTAINER_OF(lane_job, struct close_job, job);
    struct close_work *work = job->work;
    if (log_dir_is_failed(job->dir) || !work->store->is_loaded) return;
    if (job->all_will_be_synced) {
        job->err = sync_logs(work, job->dir);
        if (job->err != OK) {
            log_dir_fail(job->dir, job->err, "sync", job->dir->path);
            return;
        }
    }
    bool is_clean = true;
    for (size_t i = 0; i < work->log_count; i++) {
        if (work->jobs[i].dir == job->dir && work->jobs[i].err != OK) is_clean = false;
    }
    job->err = dir_write_final(job->dir, is_clean);
    if (job->err != OK)
        diag_error("could not write checkpoints of \"%s\": %s", job->dir->path, error_text(job->err));
}

static void close_end(void *context)
{
    struct close_work *work = context;
    void (*done)(void *context) = work->done;
    void *done_context = work->context;
    store_free(work->store, false);
    free(work->jobs);
    free(work);
    done(done_context);
}

static void dirs_closed(struct lane_job *lane_job)
{
    struct close_work *work = CONTAINER_OF(lane_job, struct close_job, job)->work;
    if (--work->left == 0) log_home_close(&work->store->home, close_end, work);
}

static void close_dirs(struct close_work *work)
{
    struct log_store *store = work->store;
    work->left = store->dir_count;
    for (size_t i = 0; i < store->dir_count; i++) {
        struct close_job *job = &work->jobs[work->log_count + i];
        *job = (struct close_job){.job = {.work = close_dir, .done = dirs_closed},
                                  .work = work,
                                  .dir = &store->dirs[i],
                                  .all_will_be_synced = store->dirs[i].used_logs > SYNC_ONE_BY_ONE};
        if (store->options.loop)
            lane_submit(job->dir->load_lane, store->options.loop, &job->job);
        else
            close_dir(&job->job);
    }
    if (!store->options.loop) log_home_close(&store->home, close_end, work);
}

static void log_closed(struct lane_job *lane_job)
{
    struct close_work *work = CONTAINER_OF(lane_job, struct close_job, job)->work;
    if (--work->left == 0) close_dirs(work);
}

/* Logs that nobody touched since they were loaded are not even looked at by a worker. */
static void close_logs(struct close_work *work)
{
    struct log_store *store = work->store;
    struct store_walk walk = {0};
    struct log *log;
    size_t count = 0;
    while ((log = log_store_walk(store, &walk))) {
        if (log_is_at_rest(log) && !log_dir_is_failed(log->dir)) continue;
        log->dir->used_logs++;
        work->jobs[count++] = (struct close_job){
            .job = {.work = close_one, .done = log_closed}, .work = work, .dir = log->dir, .log = log};
    }
    work->log_count = work->left = count;
    for (size_t i = 0; i < count; i++) {
        struct close_job *job = &work->jobs[i];
        job->all_will_be_synced = job->dir->used_logs > SYNC_ONE_BY_ONE;
        if (store->options.loop)
            lane_submit(job->dir->load_lane, store->options.loop, &job->job);
        else
            close_one(&job->job);
    }
    if (count == 0 || !store->options.loop) close_dirs(work);
}

void log_store_close_continue(struct log_store *store)
{
    struct close_work *work = store->closing;
    store->closing = NULL;
    close_logs(work);
}

void log_store_close(struct log_store *store, void (*done)(void *context), void *context)
{
    struct close_work *work = calloc(1, sizeof *work);
    struct close_job *jobs =
        calloc(store->logs.count + store->futures.count + store->dir_count, sizeof *jobs);
    if (!work || !jobs) {
        /* Not clean then, but stopped: recovery will do what we cannot. */
        free(work);
        free(jobs);
        log_store_abandon(store, false);
        done(context);
        return;
    }
    *work = (struct close_work){.store = store, .jobs = jobs, .done = done, .context = context};
    store->is_closing = true;
    store->closing = work;
    if (store->options.loop) loop_timer_stop(store->options.loop, &store->checkpoint_timer);
    struct store_walk walk = {0};
    struct log *log;
    while ((log = log_store_walk(store, &walk))) log_set_home(log, NULL);
    /* A checkpoint being written now would overwrite the last one. */
    if (store->checkpoint_jobs == 0) log_store_close_continue(store);
}
