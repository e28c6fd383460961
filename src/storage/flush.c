/* flush.c: making a log durable, in three steps: the loop says what, a worker waits for the disk, the loop believes it.
 *
 * A segment that no longer grows is synced with its indexes and the snapshot at its end, for recovery will trust them once
 * the recovery point is past it. Of the active segment only .log matters: its indexes would be rebuilt. */
#include <stdlib.h>

#include "base/diag.h"
#include "storage/checkpoint.h"
#include "storage/log_parts.h"

struct flush_segment {
    struct file *log_file;
    int64_t base_offset, next_offset;
    bool is_active;
};

struct log_flush {
    struct log_dir *dir;
    char *path; /* of the partition */
    int64_t end_offset, closed_offset, records;
    int32_t generation;
    bool sync_dir, sync_parent, sync_metadata, sync_epochs;
    enum error err;
    size_t count;
    struct flush_segment segments[];
};

void log_publish_trust(struct log *log)
{
    bool is_owing =
        log->closed_synced < log_active_segment(log)->base_offset && log->closed_synced < log->recovery_point;
    int64_t point = is_owing ? log->closed_synced : log->recovery_point;
    if (point == log->trusted_point) return;
    __atomic_store_n(&log->trusted_point, point, __ATOMIC_SEQ_CST);
    __atomic_store_n(&log->dir->recovery_dirty, 1, __ATOMIC_RELAXED);
}

static void flush_free(struct log_flush *flush)
{
    for (size_t i = 0; i < flush->count; i++) file_release(&flush->segments[i].log_file);
    free(flush->path);
    free(flush);
}

/* `closing_at`: the active segment is about to end there, so its indexes count, too; -1 otherwise. */
static enum error begin(struct log *log, int64_t up_to_offset, int64_t closing_at, struct log_flush **flush)
{
    *flush = NULL;
    bool has_data = up_to_offset > log->recovery_point;
    bool has_names = log->dir_unsynced || log->parent_unsynced;
    bool has_closed = closing_at >= 0 || (log->closed_synced < log_active_segment(log)->base_offset &&
                                          up_to_offset > log->closed_synced);
    bool has_epochs = log->epochs_unsaved || log->epochs_unsynced;
    if (!has_data && !has_names && !has_closed && !has_epochs) return OK;
    /* By us, not by the worker: what it began to write a while ago would replace what we wrote since. */
    enum error err = log->epochs_unsaved ? log_write_epochs(log) : OK;
    if (err != OK) return err;

    /* A segment that was synced while it was active still owes its indexes. */
    int64_t from = log->closed_synced < log->recovery_point ? log->closed_synced : log->recovery_point;
    size_t first = log_segment_of(log, from), end = first;
    while (end < log->segment_count && log->segments[end].base_offset < up_to_offset) end++;
    if (closing_at >= 0) end = log->segment_count;
    struct log_flush *begun = calloc(1, sizeof *begun + (end - first) * sizeof *begun->segments);
    if (!begun) return ERR_NOMEM;
    begun->dir = log->dir;
    begun->path = log_path(log);
    begun->end_offset = has_data ? up_to_offset : log->recovery_point;
    begun->records = up_to_offset == log->end_offset ? log->unsynced_records : 0;
    begun->generation = log->generation;
    err = begun->path ? OK : ERR_NOMEM;
    for (size_t i = first; err == OK && i < end; i++) {
        struct segment *segment = &log->segments[i];
        err = segment_file(log, segment, false);
        if (err != OK) break;
        begun->segments[begun->count++] = (struct flush_segment){
            .log_file = file_retain(segment->log_file),
            .base_offset = segment->base_offset,
            .next_offset = segment_end_offset(log, i),
            .is_active = i + 1 == log->segment_count && closing_at < 0,
        };
        struct flush_segment *added = &begun->segments[begun->count - 1];
        if (i + 1 == log->segment_count && closing_at >= 0) added->next_offset = closing_at;
        if (!added->is_active) begun->closed_offset = added->next_offset;
    }
    if (err != OK) {
        flush_free(begun);
        return err;
    }
    begun->sync_dir = log->dir_unsynced;
    begun->sync_parent = log->parent_unsynced;
    begun->sync_metadata = log->metadata_unsynced;
    log->metadata_unsynced = false;
    begun->sync_epochs = log->epochs_unsynced;
    log->epochs_unsynced = false;
    if (begun->sync_dir) log->dir_unsynced = false;
    if (begun->sync_parent) log->parent_unsynced = false;
    *flush = begun;
    return OK;
}

enum error log_flush_begin(struct log *log, int64_t up_to_offset, struct log_flush **flush)
{
    return begin(log, up_to_offset, -1, flush);
}

/* Takes over `path`. */
static enum error sync_path(struct log_flush *flush, char *path)
{
    struct file *file = NULL;
    enum error err = path ? file_open(flush->dir->disk, path, FILE_WRITE, &file) : ERR_NOMEM;
    if (err == OK) err = file_sync(file);
    if (err == ERR_NOT_FOUND) err = OK; /* there never was one, or retention took it */
    file_release(&file);
    free(path);
    return err;
}

static enum error sync_segment(struct log_flush *flush, int64_t offset, enum file_kind kind)
{
    return sync_path(flush, segment_path(flush->path, offset, kind, ""));
}

enum error log_flush_work(struct log_flush *flush)
{
    enum error err = OK;
    for (size_t i = 0; err == OK && i < flush->count; i++) {
        struct flush_segment *segment = &flush->segments[i];
        err = file_sync(segment->log_file);
        if (segment->is_active) break;
        if (err == OK) err = sync_segment(flush, segment->base_offset, FILE_INDEX);
        if (err == OK) err = sync_segment(flush, segment->base_offset, FILE_TIMEINDEX);
        if (err == OK) err = sync_segment(flush, segment->base_offset, FILE_TXNINDEX);
        if (err == OK) err = sync_segment(flush, segment->next_offset, FILE_SNAPSHOT);
    }
    if (err == OK && flush->sync_metadata)
        err = sync_path(flush, path_join(flush->path, PARTITION_METADATA_FILE));
    if (err == OK && flush->sync_epochs) err = sync_path(flush, path_join(flush->path, EPOCH_FILE));
    if (err == OK && flush->sync_dir) err = disk_sync_dir(flush->dir->disk, flush->path);
    if (err == OK && flush->sync_parent) err = disk_sync_dir(flush->dir->disk, flush->dir->path);
    flush->err = err;
    return err;
}

enum error log_flush_end(struct log *log, struct log_flush **flush)
{
    struct log_flush *ended = *flush;
    *flush = NULL;
    enum error err = ended->err;
    /* A directory that is gone was deleted with its log. */
    if (!log && err == ERR_NOT_FOUND) err = OK;
    if (err != OK && err != ERR_DISK_FULL && err != ERR_NOMEM)
        log_dir_fail(ended->dir, err, "sync", ended->path);
    if (log && err != OK) {
        log->dir_unsynced |= ended->sync_dir;
        log->parent_unsynced |= ended->sync_parent;
        log->metadata_unsynced |= ended->sync_metadata;
        log->epochs_unsynced |= ended->sync_epochs;
    }
    bool has_moved = false;
    if (log && err == OK && log->generation == ended->generation) {
        log->unsynced_records -= ended->records;
        if (log->unsynced_records < 0) log->unsynced_records = 0;
        if (log->unsynced_records > 0 && log->config.flush_ms != INT64_MAX && log->home && log->home->loop) {
            log->unsynced_since_ms = loop_now_ms(log->home->loop);
            log_mark_dirty(log);
        }
        if (ended->closed_offset > log->closed_synced) log->closed_synced = ended->closed_offset;
        has_moved = ended->end_offset > log->recovery_point;
        if (has_moved) publish(&log->recovery_point, ended->end_offset);
        log_publish_trust(log);
    }
    flush_free(ended);
    if (has_moved && log->on_synced) log->on_synced(log->synced_context, log);
    return err;
}

static enum error flush_waiting(struct log *log, int64_t up_to_offset, int64_t closing_at)
{
    if (log_dir_is_failed(log->dir)) return ERR_KAFKA_STORAGE_ERROR;
    struct log_flush *flush;
    enum error err = begin(log, up_to_offset, closing_at, &flush);
    if (err != OK || !flush) return err;
    log_flush_work(flush);
    return log_flush_end(log, &flush);
}

enum error log_flush_now(struct log *log)
{
    return flush_waiting(log, log->end_offset, -1);
}

enum error log_flush_closing(struct log *log, int64_t base_offset)
{
    return flush_waiting(log, log->end_offset, base_offset);
}
