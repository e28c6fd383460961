/* quorum.c: append, group commit, apply; and the ways in and out. */
#include "quorum/quorum.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "quorum/alone.h"
#include "quorum/ensemble.h"
#include "quorum/inside.h"

enum {
    ROOM_STEP_BYTES =
        256 << 10, /* a log file grows by this much at once, so that most syncs change no metadata */
    BATCH_KEPT_BYTES = 1 << 20, /* a batch's memory above this is given back */
    RETRY_DELAY_MS = 1000,      /* of a write that found the disk full */
    SNAPSHOTS_KEPT = 2,
};

uint8_t *quorum_batch_reserve(struct quorum_batch *batch, size_t size)
{
    if (size > SIZE_MAX / 4 - batch->size) return NULL;
    size_t wanted = batch->size + size;
    if (wanted > batch->capacity) {
        size_t grown = batch->capacity + batch->capacity / 2 + 1024;
        if (grown < wanted) grown = wanted;
        uint8_t *moved = realloc(batch->data, grown);
        if (!moved) return NULL;
        batch->data = moved;
        batch->capacity = grown;
    }
    return batch->data + batch->size;
}

static void batch_free(struct quorum_batch *batch)
{
    free(batch->data);
    *batch = (struct quorum_batch){0};
}

void quorum_fail(struct quorum *quorum, const char *what, enum error err)
{
    if (quorum->state == QUORUM_FAILED) return;
    quorum->state = QUORUM_FAILED;
    quorum->stats.has_failed = true;
    if (quorum->ensemble) ensemble_failed(quorum->ensemble);
    diag_error("could not %s the log in \"%s\": %s; nothing more is written until a restart", what,
               quorum->log_dir, error_text(err));
    if (quorum->events.failed) quorum->events.failed(quorum->context, err);
}

/* --- on the sync lane --- */

static enum error write_make_file(struct quorum *quorum)
{
    char path[QUORUM_PATH_SIZE];
    struct file *file = NULL;
    if (!quorum_path(path, quorum->log_dir, quorum->prefix, "log", quorum->writing.first_index))
        return ERR_TOO_LARGE;
    enum error err = file_open(quorum->disk, path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file);
    if (err != OK) return err;
    uint8_t header[QUORUM_FILE_HEADER_SIZE];
    quorum_log_header(header, quorum_format(quorum), quorum->writing.first_index);
    err = file_pwrite(file, header, sizeof header, 0);
    if (err != OK) {
        file_release(&file);
        return err;
    }
    file_release(&quorum->file);
    quorum->file = file;
    quorum->file_first = quorum->writing.first_index;
    quorum->file_end = quorum->file_room = QUORUM_FILE_HEADER_SIZE;
    return OK;
}

enum error quorum_sync_path(struct quorum *quorum, const char *dir)
{
    enum error err = disk_sync_dir(quorum->disk, dir);
    char path[QUORUM_PATH_SIZE];
    slice_text(slice_of(dir), path, sizeof path);
    for (size_t size = strlen(path); size > 0 && err == OK;) {
        while (size > 0 && path[size - 1] == '/') size--;
        while (size > 0 && path[size - 1] != '/') size--;
        path[size] = 0;
        err = disk_sync_dir(quorum->disk, size > 0 ? path : dir[0] == '/' ? "/" : ".");
        if (err == ERR_DENIED) err = OK; /* not ours: it was there before us */
    }
    return err;
}

enum error quorum_sync_names(struct quorum *quorum)
{
    if (quorum->is_dir_known) return disk_sync_dir(quorum->disk, quorum->log_dir);
    /* The first file of all: whoever made the directories above (we, or a process killed since) need not have synced them. */
    enum error err = quorum_sync_path(quorum, quorum->log_dir);
    quorum->is_dir_known = err == OK;
    return err;
}

void quorum_seal(struct quorum *quorum)
{
    const struct quorum_batch *batch = &quorum->writing;
    for (size_t at = 0; at < batch->size;) {
        uint8_t *record = batch->data + at;
        uint32_t word = get_be32(record + 4);
        size_t entry_size = quorum_record_entry_size(word);
        quorum_record_seal(record, get_be64(record + 8), get_be64(record + 16), quorum->write.durable,
                           word >> 30, entry_size);
        at += quorum_record_size(entry_size);
    }
}

/* file, file_end and file_room are the job's while it runs. */
static void write_work(struct lane_job *job)
{
    struct quorum *quorum = CONTAINER_OF(job, struct quorum, write.job);
    struct quorum_write *write = &quorum->write;
    const struct quorum_batch *batch = &quorum->writing;
    quorum_seal(quorum);
    write->failed_in_sync = false;
    enum error err = OK;
    if (write->cut) {
        err = quorum_cut(quorum, write->cut);
        if (err == OK) write->cut = 0;
        if (!quorum->file) write->makes_file = true;
    }
    bool was_file = quorum->file != NULL;
    if (err == OK && write->makes_file && was_file && !quorum->force_sync) {
        /* Only the last file may have an unfinished end. */
        err = file_sync(quorum->file);
        write->failed_in_sync = err != OK;
    }
    if (err == OK && write->makes_file) err = write_make_file(quorum);
    if (err == OK) {
        int64_t end = quorum->file_end + (int64_t)batch->size;
        if (write->prepares) quorum_straight_zero(quorum, batch->size);
        if (end > quorum->file_room) {
            int64_t room = (end / quorum->room_step_bytes + 1) * quorum->room_step_bytes;
            /* A file system that cannot, or has no room, tells us in the write itself. */
            if (file_allocate(quorum->file, room) == OK) quorum->file_room = room;
        }
        err = file_pwrite(quorum->file, batch->data, batch->size, quorum->file_end);
        if (err != OK && file_truncate(quorum->file, quorum->file_end) == OK) {
            quorum->file_room = quorum->file_end;
            quorum_straight_forget(quorum);
        }
    }
    write->sync_us = -1;
    if (err == OK && (quorum->force_sync || write->makes_file)) {
        int64_t begun_us = loop_clock_us(quorum->loop);
        err = file_sync(quorum->file);
        write->sync_us = loop_clock_us(quorum->loop) - begun_us;
        if (err == OK && write->makes_file) err = quorum_sync_names(quorum);
        write->failed_in_sync = err != OK;
    }
    if (err == OK) quorum->file_end += (int64_t)batch->size;
    if (err == OK) quorum_straight_note(quorum);
    write->err = err;
}

/* --- on the loop --- */

static void write_start(struct quorum *quorum)
{
    struct quorum_write *write = &quorum->write;
    assert(!write->is_running && quorum->writing.size > 0);
    write->is_running = true;
    write->durable = quorum->durable_end;
    write->begun_us = loop_clock_us(quorum->loop);
    if (!quorum_straight_write(quorum)) quorum_write_by_worker(quorum);
}

void quorum_write_by_worker(struct quorum *quorum)
{
    quorum->write.prepares = quorum_straight_wanted(quorum);
    lane_submit(quorum->sync, quorum->loop, &quorum->write.job);
}

/* What was gathered becomes the batch at work. */
void quorum_flush(struct quorum *quorum)
{
    if (quorum->write.is_running || quorum->writing.size > 0 || quorum->gathering.size == 0) return;
    if (quorum->state != QUORUM_OPEN) return;
    struct quorum_batch emptied = quorum->writing;
    quorum->writing = quorum->gathering;
    quorum->gathering = emptied;
    quorum->write.makes_file =
        !quorum->file || quorum->wants_roll || quorum->file_end >= quorum->segment_bytes;
    quorum->wants_roll = false;
    write_start(quorum);
}

/* The end of a turn. */
static void flush_run(struct loop_message *message)
{
    struct quorum *quorum = CONTAINER_OF(message, struct quorum, flush);
    quorum->is_flush_deferred = false;
    if (quorum->is_closing) {
        quorum_job_ended(quorum);
        return;
    }
    quorum_flush(quorum);
}

static void flush_soon(struct quorum *quorum)
{
    if (quorum->is_flush_deferred || quorum->write.is_running || quorum->writing.size > 0) return;
    quorum->is_flush_deferred = true;
    loop_defer(quorum->loop, &quorum->flush);
}

static void retry_run(struct loop_timer *timer)
{
    struct quorum *quorum = CONTAINER_OF(timer, struct quorum, retry);
    if (quorum->state == QUORUM_OPEN && !quorum->is_closing) write_start(quorum);
}

static void apply_batch(struct quorum *quorum)
{
    struct quorum_batch *batch = &quorum->writing;
    for (size_t at = 0; at < batch->size && !quorum->is_closing;) {
        const uint8_t *record = batch->data + at;
        struct slice entry = {record + QUORUM_RECORD_HEADER_SIZE, get_be32(record + 4)};
        uint64_t index = get_be64(record + 8);
        assert(index == quorum->applied_index + 1);
        quorum->applied_index = index;
        enum error err = quorum->machine.apply(quorum->context, index, get_be64(record + 16), entry);
        assert(err == OK); /* we made it ourselves */
        at += quorum_record_size(entry.size);
    }
    quorum->log_bytes += (int64_t)batch->size;
}

static void note_write(struct quorum *quorum)
{
    struct quorum_stats *stats = &quorum->stats;
    int64_t write_us = loop_clock_us(quorum->loop) - quorum->write.begun_us;
    stats->bytes_written += (int64_t)quorum->writing.size;
    stats->sync_us_sum += write_us;
    if (write_us > stats->sync_us_max) stats->sync_us_max = write_us;
    int64_t sync_us = quorum->write.sync_us;
    if (sync_us < 0) return;
    stats->syncs++;
    summary_record(&quorum->times.sync_us, sync_us);
    if (quorum->slow_sync_ms <= 0 || sync_us / 1000 <= quorum->slow_sync_ms) return;
    stats->slow_syncs++;
    diag_warn("a sync of the log in \"%s\" took %lld ms; every write waited for it", quorum->log_dir,
              (long long)sync_us / 1000);
}

static void write_done(struct lane_job *job)
{
    quorum_write_ended(CONTAINER_OF(job, struct quorum, write.job));
}

void quorum_write_ended(struct quorum *quorum)
{
    struct quorum_write *write = &quorum->write;
    write->is_running = false;
    if (quorum->is_closing) {
        quorum_job_ended(quorum);
        return;
    }
    if (write->err == ERR_DISK_FULL && !write->failed_in_sync) {
        if (!quorum->stats.is_disk_full) {
            diag_error("no space for the log in \"%s\": writes wait until there is", quorum->log_dir);
        }
        quorum->stats.is_disk_full = true;
        loop_timer_start(quorum->loop, &quorum->retry, RETRY_DELAY_MS);
        if (quorum->ensemble) ensemble_unwritten(quorum->ensemble); /* it may stop the timer */
        return;
    }
    if (write->err != OK) {
        quorum_fail(quorum, write->failed_in_sync ? "sync" : "write", write->err);
        return;
    }
    if (quorum->stats.is_disk_full) diag_info("the log in \"%s\" has space again", quorum->log_dir);
    quorum->stats.is_disk_full = false;
    note_write(quorum);
    write->makes_file = false;

    if (quorum->ensemble) {
        ensemble_written(quorum->ensemble);
        quorum->writing.size = 0;
        if (quorum->writing.capacity > BATCH_KEPT_BYTES) batch_free(&quorum->writing);
        return;
    }
    uint64_t applied = quorum->applied_index;
    apply_batch(quorum);
    summary_record(&quorum->times.sync_entries, (int64_t)(quorum->applied_index - applied));
    if (quorum->is_closing) return;
    if (quorum->force_sync) quorum->durable_end = quorum->applied_index + 1;
    quorum->writing.size = 0;
    if (quorum->writing.capacity > BATCH_KEPT_BYTES) batch_free(&quorum->writing);
    if (quorum->events.applied) quorum->events.applied(quorum->context);
    if (quorum->is_closing) return;
    if (quorum->gathering.size > 0) flush_soon(quorum);
    if (quorum->wants_room && (int64_t)quorum->gathering.size <= quorum->max_pending_bytes / 2) {
        quorum->wants_room = false;
        if (quorum->events.room) quorum->events.room(quorum->context);
    }
}

uint8_t *quorum_gather(struct quorum *quorum, uint64_t index, uint64_t term, unsigned kind, size_t entry_size)
{
    struct quorum_batch *batch = &quorum->gathering;
    uint8_t *out = quorum_batch_reserve(batch, quorum_record_size(entry_size));
    if (!out) return NULL;
    if (batch->size == 0) batch->first_index = index;
    put_be32(out + 4, (uint32_t)entry_size |
                          (uint32_t)kind << 30); /* the rest of its header is made when it is written */
    put_be64(out + 8, index);
    put_be64(out + 16, term);
    batch->size += quorum_record_size(entry_size);
    return out + QUORUM_RECORD_HEADER_SIZE;
}

static void batch_cut(struct quorum_batch *batch, uint64_t index)
{
    for (size_t at = 0; at < batch->size;) {
        if (get_be64(batch->data + at + 8) >= index) {
            batch->size = at;
            return;
        }
        at += quorum_record_size(quorum_record_entry_size(get_be32(batch->data + at + 4)));
    }
}

void quorum_ungather(struct quorum *quorum, uint64_t index)
{
    batch_cut(&quorum->gathering, index);
    if (quorum->write.is_running) return; /* what it writes is cut from the files */
    batch_cut(&quorum->writing, index);
    if (quorum->writing.size == 0) loop_timer_stop(quorum->loop, &quorum->retry);
}

enum error quorum_append(struct quorum *quorum, const struct slice *parts, int count, uint64_t *index)
{
    if (quorum->state != QUORUM_OPEN || quorum->is_closing) return ERR_IO;
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        if (parts[i].size > QUORUM_ENTRY_MAX - size) return ERR_TOO_LARGE;
        size += parts[i].size;
    }
    if (quorum->ensemble) return ensemble_append(quorum->ensemble, parts, count, size, index);
    struct quorum_batch *batch = &quorum->gathering;
    if (batch->size > 0 && (int64_t)(batch->size + size) > quorum->max_pending_bytes) {
        quorum->wants_room = true;
        return ERR_AGAIN;
    }
    uint8_t *at = quorum_gather(quorum, quorum->last_index + 1, quorum->term, 0, size);
    if (!at) return ERR_NOMEM;
    for (int i = 0; i < count; i++) {
        if (parts[i].size) memcpy(at, parts[i].data, parts[i].size);
        at += parts[i].size;
    }
    quorum->last_index++;
    *index = quorum->last_index;
    flush_soon(quorum);
    return OK;
}

uint64_t quorum_last_index(const struct quorum *quorum)
{
    return quorum->last_index;
}

uint64_t quorum_applied_index(const struct quorum *quorum)
{
    return quorum->applied_index;
}

int64_t quorum_log_entries(const struct quorum *quorum)
{
    return (int64_t)(quorum->applied_index - quorum->snapshot_index);
}

int64_t quorum_log_bytes(const struct quorum *quorum)
{
    return quorum->log_bytes;
}

void quorum_stats(const struct quorum *quorum, struct quorum_stats *stats)
{
    *stats = quorum->stats;
}

struct quorum_times *quorum_times(struct quorum *quorum)
{
    return &quorum->times;
}

bool quorum_last_snapshot(const struct quorum *quorum, uint64_t *index, int64_t *wall_ms)
{
    *index = quorum->published_index;
    *wall_ms = quorum->published_wall_ms;
    return quorum->published_index > 0;
}

enum error quorum_disk_bytes(const struct quorum *quorum, int64_t *snapshots, int64_t *logs)
{
    enum error err = quorum_files_bytes(quorum->disk, quorum->dir, quorum->prefix, "snapshot", snapshots);
    if (err == OK) err = quorum_files_bytes(quorum->disk, quorum->log_dir, quorum->prefix, "log", logs);
    return err;
}

/* --- the ways in and out --- */

static void recovery_work(struct lane_job *job)
{
    struct quorum *quorum = CONTAINER_OF(job, struct quorum, recovery);
    quorum->recovery_err = quorum_recover(quorum);
}

static void recovery_done(struct lane_job *job)
{
    struct quorum *quorum = CONTAINER_OF(job, struct quorum, recovery);
    quorum->is_recovering = false;
    if (quorum->is_closing) {
        quorum_job_ended(quorum);
        return;
    }
    enum error err = quorum->recovery_err;
    if (err == OK && quorum->alone && !alone_is_sure(quorum)) {
        alone_ask(quorum);
        return;
    }
    summary_record(&quorum->times.load_us, quorum->load_us);
    if (quorum->replayed > 0) {
        summary_record(&quorum->times.replay_us, quorum->replay_us);
        summary_record(&quorum->times.replayed, quorum->replayed);
    }
    if (err == OK && quorum->ensemble) err = ensemble_begin(quorum->ensemble);
    quorum->state = err == OK ? QUORUM_OPEN : QUORUM_FAILED;
    quorum->events.ready(quorum->context, err);
}

void quorum_alone_answered(struct quorum *quorum, enum error err)
{
    if (err != OK) {
        quorum->state = QUORUM_FAILED;
        quorum->events.ready(quorum->context, err);
        return;
    }
    quorum->is_recovering = true;
    lane_submit(quorum->work, quorum->loop, &quorum->recovery);
}

static void quorum_free(struct quorum *quorum)
{
    alone_free(quorum);
    quorum_ensemble_free(&quorum->ensemble);
    quorum_straight_free(quorum);
    file_release(&quorum->file);
    file_release(&quorum->snapshot.file);
    if (quorum->lock) disk_unlock(&quorum->lock);
    if (quorum->log_lock) disk_unlock(&quorum->log_lock);
    batch_free(&quorum->gathering);
    batch_free(&quorum->writing);
    batch_free(&quorum->snapshot.gathering);
    batch_free(&quorum->snapshot.writing);
    free(quorum->dir);
    free(quorum->log_dir);
    free(quorum->prefix);
    free(quorum);
}

enum error quorum_open(const struct quorum_config *config, struct loop *loop, struct disk *disk,
                       struct lane *sync, struct lane *work, const struct quorum_machine *machine,
                       const struct quorum_events *events, void *context, struct quorum **quorum)
{
    assert(machine->apply && machine->restore && machine->restored && events->ready);
    if (config->id != 0 && !quorum_can_have_members()) {
        diag_error("this program was built without the Raft library (libraft-dev 0.22.1): it cannot be a "
                   "member of several");
        return ERR_UNSUPPORTED;
    }
    struct quorum *opened = calloc(1, sizeof *opened);
    if (!opened) return ERR_NOMEM;
    *opened = (struct quorum){
        .dir = slice_dup(slice_of(config->dir)),
        .log_dir = slice_dup(slice_of(config->log_dir ? config->log_dir : config->dir)),
        .has_log_dir = config->log_dir && strcmp(config->log_dir, config->dir) != 0,
        .prefix = slice_dup(slice_of(config->prefix)),
        .force_sync = config->force_sync,
        .segment_bytes = config->segment_bytes > 0 ? config->segment_bytes : 64 << 20,
        .max_pending_bytes = config->max_pending_bytes > 0 ? config->max_pending_bytes : 64 << 20,
        .room_step_bytes = config->room_step_bytes > 0 ? config->room_step_bytes : ROOM_STEP_BYTES,
        .slow_sync_ms = config->slow_sync_ms,
        .snapshots_kept = config->snapshots_kept > 0 ? (size_t)config->snapshots_kept : SNAPSHOTS_KEPT,
        .purge_interval_ms = config->purge_interval_ms,
        .leaves_silent = config->leaves_silent,
        .purged_ms = loop_now_ms(loop),
        .loop = loop,
        .disk = disk,
        .sync = sync,
        .work = work,
        .machine = *machine,
        .events = *events,
        .context = context,
        .term = 1,
        .durable_end = 1,
        .write.job = {.work = write_work, .done = write_done},
        .recovery = {.work = recovery_work, .done = recovery_done},
        .is_recovering = true,
        .flush.run = flush_run,
        .retry.run = retry_run,
    };
    if (!opened->dir || !opened->log_dir || !opened->prefix) {
        quorum_free(opened);
        return ERR_NOMEM;
    }
    enum error err = config->id != 0 ? quorum_ensemble_new(opened, config, &opened->ensemble) : OK;
    if (err != OK) {
        quorum_free(opened);
        return err;
    }
    *quorum = opened;
    lane_submit(work, loop, &opened->recovery);
    return OK;
}

static void last_run(struct loop_message *message)
{
    struct quorum *quorum = CONTAINER_OF(message, struct quorum, last_message);
    void (*closed)(void *context) = quorum->closed;
    void *context = quorum->closed_context;
    quorum_free(quorum);
    if (closed) closed(context);
}

void quorum_job_ended(struct quorum *quorum)
{
    assert(quorum->is_closing);
    if (quorum->write.is_running || quorum->snapshot.is_running || quorum->is_recovering ||
        quorum->is_flush_deferred || quorum->is_ending ||
        (quorum->ensemble && ensemble_is_busy(quorum->ensemble))) {
        return;
    }
    quorum->is_ending = true;
    loop_post(quorum->loop, &quorum->last_message);
}

void quorum_close(struct quorum **quorum, void (*closed)(void *context), void *context)
{
    struct quorum *held = *quorum;
    *quorum = NULL;
    if (!held) return;
    assert(!held->is_closing);
    held->is_closing = true;
    held->closed = closed;
    held->closed_context = context;
    held->last_message.run = last_run;
    loop_timer_stop(held->loop, &held->retry);
    if (!held->is_recovering) alone_free(held);
    if (held->ensemble) ensemble_close(held->ensemble);
    quorum_job_ended(held);
}
