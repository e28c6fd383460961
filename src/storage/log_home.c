#include "storage/log_home.h"

#include <assert.h>
#include <stdlib.h>

#include "base/diag.h"
#include "storage/log_parts.h"

#define DIRTY_INTERVAL_MS 1000
#define RETENTION_SLICE_US 1000

struct log_garbage {
    struct list link;
    struct log_dir *dir;
    char *path;
    bool is_tree;
    int64_t due_ms;
};

struct flush_job {
    struct lane_job job;
    struct log_home *home;
    struct log *log; /* NULL: it left meanwhile */
    struct log_flush *flush;
    bool was_wanted, was_inactive_wanted; /* what it serves: wanted again when there was no room for it */
};

struct garbage_job {
    struct lane_job job;
    struct log_home *home;
    struct list items;
};

static int64_t now_of(const struct log_home *home)
{
    return home->loop ? loop_now_ms(home->loop) : 0;
}

static void check_idle(struct log_home *home)
{
    if (!home->is_closing || home->jobs_in_flight > 0 || home->flush_deferred || !home->on_idle) return;
    void (*on_idle)(void *context) = home->on_idle;
    home->on_idle = NULL;
    on_idle(home->idle_context);
}

void log_home_job_begin(struct log_home *home)
{
    home->jobs_in_flight++;
}

void log_home_job_end(struct log_home *home)
{
    home->jobs_in_flight--;
    check_idle(home);
}

/* --- flushing --- */

static void flush_start(struct log_home *home, struct log *log);

static void flush_work(struct lane_job *job)
{
    log_flush_work(CONTAINER_OF(job, struct flush_job, job)->flush);
}

static bool flush_is_wanted(const struct log *log)
{
    return log->flush_wanted || log->flush_inactive_wanted;
}

static void flush_done(struct lane_job *lane_job)
{
    struct flush_job *job = CONTAINER_OF(lane_job, struct flush_job, job);
    struct log_home *home = job->home;
    struct log *log = job->log;
    home->jobs_in_flight--;
    if (log) log->flush_job = NULL;
    enum error err = log_flush_end(log, &job->flush);
    bool was_wanted = job->was_wanted, was_inactive_wanted = job->was_inactive_wanted;
    free(job);
    if (log && log->home == home) {
        if (err == ERR_DISK_FULL || err == ERR_NOMEM) {
            log->flush_wanted |= was_wanted;
            log->flush_inactive_wanted |= was_inactive_wanted;
            log_mark_dirty(log); /* try again in a second */
        } else if (err == OK && flush_is_wanted(log)) {
            flush_start(home, log);
        }
    }
    check_idle(home);
}

/* Starts the widest of what is wanted. */
static void flush_start(struct log_home *home, struct log *log)
{
    if (log->flush_job || log_dir_is_failed(log->dir)) return;
    int64_t up_to = log->recovery_point;
    if (log->flush_inactive_wanted) up_to = log_active_segment(log)->base_offset;
    if (log->flush_wanted) up_to = log->end_offset;
    bool is_wanted = log->flush_wanted, is_inactive_wanted = log->flush_inactive_wanted;
    log->flush_wanted = log->flush_inactive_wanted = false;

    struct flush_job *job = calloc(1, sizeof *job);
    struct log_flush *flush = NULL;
    enum error err = job ? log_flush_begin(log, up_to, &flush) : ERR_NOMEM;
    if (err != OK || !flush) {
        free(job);
        if (err == ERR_NOMEM || err == ERR_DISK_FULL) {
            log->flush_wanted = is_wanted;
            log->flush_inactive_wanted = is_inactive_wanted;
            log_mark_dirty(log);
        } else if (err != OK)
            log_dir_fail(log->dir, err, "flush", log->name);
        return;
    }
    *job = (struct flush_job){.job = {.work = flush_work, .done = flush_done},
                              .home = home,
                              .log = log,
                              .flush = flush,
                              .was_wanted = is_wanted,
                              .was_inactive_wanted = is_inactive_wanted};
    log->flush_job = job;
    home->jobs_in_flight++;
    lane_submit(log->dir->sync_lane, home->loop, &job->job);
}

static void flush_asked(struct loop_message *message)
{
    struct log_home *home = CONTAINER_OF(message, struct log_home, flush_message);
    home->flush_deferred = false;
    LIST_EACH(&home->flush_asked, link)
    {
        list_remove(link);
        flush_start(home, CONTAINER_OF(link, struct log, flush_link));
    }
    check_idle(home);
}

/* All that is asked for within one turn of the loop becomes one flush. */
static void ask(struct log *log)
{
    struct log_home *home = log->home;
    if (list_empty(&log->flush_link)) list_push_back(&home->flush_asked, &log->flush_link);
    if (home->flush_deferred) return;
    home->flush_deferred = true;
    loop_defer(home->loop, &home->flush_message);
}

static bool has_loop(const struct log *log)
{
    return log->home && log->home->loop;
}

void log_flush(struct log *log)
{
    if (!has_loop(log)) {
        enum error err = log_flush_now(log);
        if (err != OK) diag_warn("could not flush \"%s\": %s", log->name, error_text(err));
        return;
    }
    log->flush_wanted = true;
    ask(log);
}

void log_flush_inactive(struct log *log)
{
    if (!has_loop(log)) return;
    log->flush_inactive_wanted = true;
    ask(log);
}

/* --- writing behind --- */

void log_mark_dirty(struct log *log)
{
    struct log_home *home = log->home;
    if (!home) return;
    if (list_empty(&log->dirty_link)) list_push_back(&home->dirty, &log->dirty_link);
    if (!home->loop || home->is_closing) return;
    int64_t delay_ms = log->config.flush_ms < DIRTY_INTERVAL_MS ? log->config.flush_ms : DIRTY_INTERVAL_MS;
    int64_t due_ms = now_of(home) + delay_ms;
    if (loop_timer_running(&home->dirty_timer) && home->dirty_due_ms <= due_ms) return;
    home->dirty_due_ms = due_ms;
    loop_timer_start(home->loop, &home->dirty_timer, delay_ms);
}

/* True when there is nothing left to come back for. */
static bool tidy(struct log_home *home, struct log *log, int64_t now_ms)
{
    if (log_dir_is_failed(log->dir)) return true;
    bool is_done = true;
    if (log->active && log->active->indexes_unsaved) {
        enum error err = log_save_indexes(log);
        if (err == ERR_DISK_FULL || err == ERR_NOMEM)
            is_done = false;
        else if (err != OK)
            log_dir_fail(log->dir, err, "write indexes of", log->name);
    }
    if (log->epochs_unsaved) {
        /* Not synced: thousands may change at once, and until a flush moves the recovery point past their first batches,
         * recovery finds epochs in the batches. */
        enum error err = log_write_epochs(log);
        if (err == ERR_DISK_FULL || err == ERR_NOMEM)
            is_done = false;
        else if (err != OK)
            log_dir_fail(log->dir, err, "write leader epochs of", log->name);
    }
    if (flush_is_wanted(log) && home->loop) ask(log); /* again: it failed for want of room */
    if (log->unsynced_records > 0 && log->config.flush_ms != INT64_MAX) {
        if (now_ms - log->unsynced_since_ms >= log->config.flush_ms)
            log_flush(log);
        else
            is_done = false;
    }
    return is_done;
}

static void tidy_all(struct log_home *home, int64_t now_ms)
{
    LIST_EACH(&home->dirty, link)
    {
        struct log *log = CONTAINER_OF(link, struct log, dirty_link);
        if (tidy(home, log, now_ms)) list_remove(link);
    }
    if (list_empty(&home->dirty) || !home->loop || home->is_closing) return;
    int64_t delay_ms = DIRTY_INTERVAL_MS;
    LIST_EACH(&home->dirty, link)
    {
        const struct log *log = CONTAINER_OF(link, struct log, dirty_link);
        if (log->config.flush_ms < delay_ms) delay_ms = log->config.flush_ms;
    }
    if (delay_ms < 1) delay_ms = 1;
    home->dirty_due_ms = now_ms + delay_ms;
    loop_timer_start(home->loop, &home->dirty_timer, delay_ms);
}

static void dirty_due(struct loop_timer *timer)
{
    struct log_home *home = CONTAINER_OF(timer, struct log_home, dirty_timer);
    tidy_all(home, now_of(home));
}

/* --- garbage --- */

static void garbage_remove(struct log_garbage *item)
{
    enum error err = item->is_tree ? disk_remove_tree(item->dir->disk, item->path)
                                   : disk_unlink(item->dir->disk, item->path);
    if (err != OK && err != ERR_NOT_FOUND)
        diag_warn("could not remove \"%s\": %s", item->path, error_text(err));
}

static void garbage_free(struct log_garbage *item)
{
    list_remove(&item->link);
    free(item->path);
    free(item);
}

static void garbage_work(struct lane_job *lane_job)
{
    struct garbage_job *job = CONTAINER_OF(lane_job, struct garbage_job, job);
    LIST_EACH(&job->items, link) garbage_remove(CONTAINER_OF(link, struct log_garbage, link));
}

static void garbage_done(struct lane_job *lane_job)
{
    struct garbage_job *job = CONTAINER_OF(lane_job, struct garbage_job, job);
    struct log_home *home = job->home;
    LIST_EACH(&job->items, link) garbage_free(CONTAINER_OF(link, struct log_garbage, link));
    free(job);
    home->jobs_in_flight--;
    check_idle(home);
}

static void garbage_arm(struct log_home *home)
{
    if (!home->loop || home->is_closing || list_empty(&home->garbage)) return;
    const struct log_garbage *first = CONTAINER_OF(home->garbage.next, struct log_garbage, link);
    loop_timer_start(home->loop, &home->garbage_timer, first->due_ms - now_of(home));
}

static void collect(struct log_home *home, int64_t now_ms)
{
    struct garbage_job *job = NULL;
    LIST_EACH(&home->garbage, link)
    {
        struct log_garbage *item = CONTAINER_OF(link, struct log_garbage, link);
        if (item->due_ms > now_ms) continue;
        if (!job) {
            job = calloc(1, sizeof *job);
            if (!job) break; /* the next one is due soon enough */
            *job = (struct garbage_job){.job = {.work = garbage_work, .done = garbage_done}, .home = home};
            list_init(&job->items);
        }
        list_remove(link);
        list_push_back(&job->items, link);
    }
    if (job) {
        struct log_garbage *first = CONTAINER_OF(job->items.next, struct log_garbage, link);
        home->jobs_in_flight++;
        lane_submit(first->dir->load_lane, home->loop, &job->job);
    }
    garbage_arm(home);
}

static void garbage_due(struct loop_timer *timer)
{
    struct log_home *home = CONTAINER_OF(timer, struct log_home, garbage_timer);
    collect(home, now_of(home));
}

static void discard(struct log_home *home, struct log_dir *dir, char *path, bool is_tree, int64_t delay_ms)
{
    struct log_garbage *item = calloc(1, sizeof *item);
    if (!item) {
        free(path); /* it goes at the next start */
        return;
    }
    *item =
        (struct log_garbage){.dir = dir, .path = path, .is_tree = is_tree, .due_ms = now_of(home) + delay_ms};
    /* In order of due times: delays differ by topic, but seldom. */
    struct list *after = home->garbage.prev;
    while (after != &home->garbage && CONTAINER_OF(after, struct log_garbage, link)->due_ms > item->due_ms) {
        after = after->prev;
    }
    list_push_front(after, &item->link);
    if (home->garbage.next == &item->link) garbage_arm(home);
}

void log_discard(struct log *log, char *path)
{
    if (log->home) {
        discard(log->home, log->dir, path, false, log->config.file_delete_delay_ms);
        return;
    }
    struct log_garbage item = {.dir = log->dir, .path = path};
    garbage_remove(&item);
    free(path);
}

void home_discard_tree(struct log_home *home, struct log_dir *dir, char *path, int64_t delay_ms)
{
    discard(home, dir, path, true, delay_ms);
}

/* --- retention --- */

static void retain(struct log *log, int64_t now_ms)
{
    if (log_dir_is_failed(log->dir)) return;
    enum error err = log_delete_old_segments(log, log->high_watermark, now_ms, NULL);
    if (err != OK) diag_warn("could not delete old segments of \"%s\": %s", log->name, error_text(err));
    log_expire_producers(log, now_ms);
}

/* A slice of the logs each turn, for each may have to open a file: the list goes round. */
static void retention_due(struct loop_timer *timer)
{
    struct log_home *home = CONTAINER_OF(timer, struct log_home, retention_timer);
    if (home->retention_left == 0) {
        LIST_EACH(&home->logs, link) home->retention_left++;
    }
    int64_t began_us = loop_clock_us(home->loop), now_ms = loop_wall_ms(home->loop);
    while (home->retention_left > 0 && !list_empty(&home->logs)) {
        struct log *log = CONTAINER_OF(home->logs.next, struct log, home_link);
        home->retention_left--;
        list_remove(&log->home_link);
        list_push_back(&home->logs, &log->home_link);
        retain(log, now_ms);
        if (loop_clock_us(home->loop) - began_us > RETENTION_SLICE_US) break;
    }
    if (list_empty(&home->logs)) home->retention_left = 0;
    int64_t interval_ms = log_store_options_of(home->store)->retention_check_interval_ms;
    loop_timer_start(home->loop, timer, home->retention_left > 0 ? 1 : interval_ms);
}

/* --- life --- */

void log_home_init(struct log_home *home, struct log_store *store, struct loop *loop)
{
    *home = (struct log_home){.store = store, .loop = loop};
    list_init(&home->logs);
    list_init(&home->dirty);
    list_init(&home->flush_asked);
    list_init(&home->garbage);
    home->dirty_timer.run = dirty_due;
    home->garbage_timer.run = garbage_due;
    home->retention_timer.run = retention_due;
    home->flush_message.run = flush_asked;
    if (loop && store) {
        loop_timer_start(loop, &home->retention_timer,
                         log_store_options_of(store)->retention_initial_delay_ms);
    }
}

void log_home_close(struct log_home *home, void (*on_idle)(void *context), void *context)
{
    if (home->loop) {
        loop_timer_stop(home->loop, &home->dirty_timer);
        loop_timer_stop(home->loop, &home->garbage_timer);
        loop_timer_stop(home->loop, &home->retention_timer);
    }
    LIST_EACH(&home->garbage, link) garbage_free(CONTAINER_OF(link, struct log_garbage, link));
    home->is_closing = true;
    home->on_idle = on_idle;
    home->idle_context = context;
    check_idle(home);
}

void log_set_home(struct log *log, struct log_home *home)
{
    if (log->home == home) return;
    list_remove(&log->home_link);
    list_remove(&log->dirty_link);
    list_remove(&log->flush_link);
    if (log->flush_job) {
        log->flush_job->log = NULL;
        log->flush_job = NULL;
        log->flush_wanted = true; /* what it would have told us is lost; ask again */
    }
    log->home = home;
    if (!home) return;
    assert(!home->is_closing);
    list_push_back(&home->logs, &log->home_link);
    bool is_dirty = log->epochs_unsaved || log->unsynced_records > 0 || flush_is_wanted(log) ||
                    (log->active && log->active->indexes_unsaved);
    if (is_dirty) log_mark_dirty(log);
}
