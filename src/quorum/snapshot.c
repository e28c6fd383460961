/* snapshot.c: a snapshot's chunks on their way to a file, and the purge after it. The loop gathers chunks, the work lane
 * writes what was gathered; one job at a time. The name appears only when every byte is on the disk. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "quorum/ensemble.h"
#include "quorum/inside.h"
#include "wire/crc32c.h"

enum { SNAPSHOT_JOB_BYTES = 256 << 10, SNAPSHOT_PENDING_BYTES = 4 << 20 };

static bool temporary_path(const struct quorum *quorum, char path[QUORUM_PATH_SIZE])
{
    int size = snprintf(path, QUORUM_PATH_SIZE, "%s/%ssnapshot.tmp", quorum->dir, quorum->prefix);
    return size < QUORUM_PATH_SIZE;
}

void quorum_purge(struct quorum *quorum)
{
    uint64_t *snapshots = NULL, *logs = NULL;
    size_t snapshot_count = 0, log_count = 0;
    char path[QUORUM_PATH_SIZE];
    if (quorum_files_list(quorum->disk, quorum->dir, quorum->prefix, "snapshot", &snapshots,
                          &snapshot_count) != OK ||
        quorum_files_list(quorum->disk, quorum->log_dir, quorum->prefix, "log", &logs, &log_count) != OK) {
        goto out;
    }
    size_t kept = quorum->snapshots_kept, dropped = snapshot_count > kept ? snapshot_count - kept : 0;
    enum error err = OK;
    for (size_t i = 0; i < dropped && err == OK; i++) {
        /* One that is on its way to a member goes with a later purge, and those after it for the log's sake. */
        if (quorum->ensemble && ensemble_sends_snapshot(quorum->ensemble, snapshots[i])) dropped = i;
        if (i < dropped && quorum_path(path, quorum->dir, quorum->prefix, "snapshot", snapshots[i])) {
            err = disk_unlink(quorum->disk, path);
        }
    }
    /* The log goes with the snapshots: until there are as many as are kept, all of it stays, so that an operator can go back
     * to any of them. */
    uint64_t oldest = snapshot_count >= kept ? snapshots[dropped] : 0;
    for (size_t i = 0; i + 1 < log_count && err == OK && logs[i + 1] <= oldest + 1; i++) {
        if (quorum_path(path, quorum->log_dir, quorum->prefix, "log", logs[i]))
            err = disk_unlink(quorum->disk, path);
    }
    if (err != OK) diag_warn("could not purge \"%s\": %s", path, error_text(err));
out:
    free(snapshots);
    free(logs);
}

static enum error oldest_log(const struct quorum *quorum, uint64_t *oldest)
{
    uint64_t *logs;
    size_t count;
    enum error err = quorum_files_list(quorum->disk, quorum->log_dir, quorum->prefix, "log", &logs, &count);
    if (err != OK) return err;
    *oldest = count > 0 ? logs[0] : UINT64_MAX;
    free(logs);
    return OK;
}

static enum error job_publish(struct quorum *quorum, const char *temporary)
{
    struct quorum_snapshot *snapshot = &quorum->snapshot;
    char path[QUORUM_PATH_SIZE];
    if (!quorum_path(path, quorum->dir, quorum->prefix, "snapshot", snapshot->index)) return ERR_TOO_LARGE;
    enum error err = file_sync(snapshot->file);
    if (err == OK) err = disk_rename(quorum->disk, temporary, path);
    if (err == OK) file_renamed(snapshot->file, path);
    if (err == OK && quorum->has_log_dir)
        err = quorum_sync_path(quorum, quorum->dir); /* the log's is another */
    if (err == OK && !quorum->has_log_dir) err = disk_sync_dir(quorum->disk, quorum->dir);
    if (err == OK && snapshot->job_purges) quorum_purge(quorum);
    if (err == OK && quorum->ensemble) err = oldest_log(quorum, &snapshot->oldest_log);
    return err;
}

static void job_work(struct lane_job *job)
{
    struct quorum *quorum = CONTAINER_OF(job, struct quorum, snapshot.job);
    struct quorum_snapshot *snapshot = &quorum->snapshot;
    char temporary[QUORUM_PATH_SIZE];
    enum error err = temporary_path(quorum, temporary) ? snapshot->job_err : ERR_TOO_LARGE;
    if (snapshot->job_begins && err == OK) {
        err = file_open(quorum->disk, temporary, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &snapshot->file);
    }
    if (err == OK) {
        err = file_pwrite(snapshot->file, snapshot->writing.data, snapshot->writing.size, snapshot->position);
    }
    if (err == OK) snapshot->position += (int64_t)snapshot->writing.size;
    if (err == OK && snapshot->job_ends) err = job_publish(quorum, temporary);
    if (err != OK && snapshot->file) {
        file_release(&snapshot->file);
        if (disk_exists(quorum->disk, temporary) && disk_unlink(quorum->disk, temporary) != OK) {
            diag_warn("could not remove \"%s\"", temporary);
        }
    }
    snapshot->job_err = err;
}

static void job_start(struct quorum *quorum);

static void job_done(struct lane_job *job)
{
    struct quorum *quorum = CONTAINER_OF(job, struct quorum, snapshot.job);
    struct quorum_snapshot *snapshot = &quorum->snapshot;
    snapshot->is_running = false;
    if (snapshot->err == OK) snapshot->err = snapshot->job_err;
    snapshot->job_begins = false;
    snapshot->writing.size = 0;
    if (quorum->is_closing) {
        quorum_job_ended(quorum);
        return;
    }
    if (!snapshot->job_ends) {
        bool is_due = snapshot->is_ended || snapshot->gathering.size >= SNAPSHOT_JOB_BYTES;
        if (is_due) job_start(quorum);
        if (!snapshot->is_ended && quorum->events.snapshot_room)
            quorum->events.snapshot_room(quorum->context);
        return;
    }
    enum error err = snapshot->err;
    if (err != OK) {
        diag_warn("could not write a snapshot into \"%s\": %s; the log is kept instead", quorum->dir,
                  error_text(err));
    } else {
        quorum->stats.snapshots++;
        quorum->published_index = snapshot->index;
        quorum->published_wall_ms = loop_wall_ms(quorum->loop);
        summary_record(&quorum->times.snapshot_us, loop_clock_us(quorum->loop) - snapshot->begun_us);
        if (snapshot->job_purges) quorum->purged_ms = loop_now_ms(quorum->loop);
    }
    if (err == OK && quorum->ensemble) ensemble_snapshot_done(quorum->ensemble);
    file_release(&snapshot->file);
    free(snapshot->gathering.data);
    free(snapshot->writing.data);
    *snapshot = (struct quorum_snapshot){0};
    if (quorum->events.snapshot_done) quorum->events.snapshot_done(quorum->context, err);
}

static void job_start(struct quorum *quorum)
{
    struct quorum_snapshot *snapshot = &quorum->snapshot;
    assert(!snapshot->is_running);
    struct quorum_batch emptied = snapshot->writing;
    snapshot->writing = snapshot->gathering;
    snapshot->gathering = emptied;
    snapshot->gathering.size = 0;
    snapshot->job_ends = snapshot->is_ended;
    snapshot->job_purges = loop_now_ms(quorum->loop) - quorum->purged_ms >= quorum->purge_interval_ms;
    snapshot->job_err = snapshot->err;
    snapshot->is_running = true;
    snapshot->job.work = job_work;
    snapshot->job.done = job_done;
    lane_submit(quorum->work, quorum->loop, &snapshot->job);
}

enum error quorum_snapshot_begin(struct quorum *quorum)
{
    struct quorum_snapshot *snapshot = &quorum->snapshot;
    if (quorum->state != QUORUM_OPEN || quorum->is_closing) return ERR_CLOSED;
    if (snapshot->is_open) return ERR_BUSY;
    *snapshot =
        (struct quorum_snapshot){.is_open = true,
                                 .index = quorum->applied_index,
                                 .term = quorum->ensemble ? quorum->ensemble->applied_term : quorum->term,
                                 .job_begins = true,
                                 .begun_us = loop_clock_us(quorum->loop)};
    uint8_t *header = quorum_batch_reserve(&snapshot->gathering, QUORUM_FILE_HEADER_SIZE);
    if (!header) {
        *snapshot = (struct quorum_snapshot){0};
        return ERR_NOMEM;
    }
    quorum_snapshot_header(header, quorum_format(quorum), snapshot->index, snapshot->term);
    snapshot->gathering.size = QUORUM_FILE_HEADER_SIZE;
    if (quorum->ensemble) {
        enum error err = ensemble_snapshot_begin(quorum->ensemble);
        if (err != OK) {
            free(snapshot->gathering.data);
            *snapshot = (struct quorum_snapshot){0};
            return err;
        }
    }
    /* The log goes on in a new file, so that the purge can drop the old one whole. */
    quorum->wants_roll = true;
    quorum->snapshot_index = quorum->applied_index;
    quorum->log_bytes = 0;
    return OK;
}

void quorum_chunk_add(struct quorum_snapshot *snapshot, uint32_t size_word, struct slice chunk)
{
    uint8_t *out = quorum_batch_reserve(&snapshot->gathering, QUORUM_CHUNK_HEADER_SIZE + chunk.size);
    if (!out) {
        if (snapshot->err == OK) snapshot->err = ERR_NOMEM;
        return;
    }
    snapshot->crc = crc32c(snapshot->crc, chunk.data, chunk.size);
    put_be32(out, size_word);
    put_be32(out + 4, snapshot->crc);
    memcpy(out + QUORUM_CHUNK_HEADER_SIZE, chunk.data, chunk.size);
    snapshot->gathering.size += QUORUM_CHUNK_HEADER_SIZE + chunk.size;
}

bool quorum_snapshot_write(struct quorum *quorum, struct slice chunk)
{
    struct quorum_snapshot *snapshot = &quorum->snapshot;
    assert(snapshot->is_open && !snapshot->is_ended);
    assert(chunk.size > 0 && chunk.size < QUORUM_CHUNK_END);
    if (snapshot->err != OK) return true; /* given up: the rest goes nowhere */
    quorum_chunk_add(snapshot, (uint32_t)chunk.size, chunk);
    snapshot->chunk_count++;
    if (!snapshot->is_running && snapshot->gathering.size >= SNAPSHOT_JOB_BYTES) job_start(quorum);
    return snapshot->gathering.size < SNAPSHOT_PENDING_BYTES;
}

void quorum_snapshot_end(struct quorum *quorum)
{
    struct quorum_snapshot *snapshot = &quorum->snapshot;
    assert(snapshot->is_open && !snapshot->is_ended);
    uint8_t count[8];
    put_be64(count, snapshot->chunk_count);
    quorum_chunk_add(snapshot, QUORUM_CHUNK_END, (struct slice){count, sizeof count});
    snapshot->is_ended = true;
    if (!snapshot->is_running) job_start(quorum);
}
