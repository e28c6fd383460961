/* state.c: what a log keeps beside its batches: leader epochs, producers, snapshots of them. */
#include <stdlib.h>

#include "base/diag.h"
#include "storage/checkpoint.h"
#include "storage/log_parts.h"

static enum error write_epochs(struct log *log,
                               enum error (*write)(struct disk *disk, const char *path, struct slice content))
{
    struct text text = {0};
    epoch_cache_write(&log->epochs, &text);
    char *dir = log_path(log);
    char *path = dir ? path_join(dir, EPOCH_FILE) : NULL;
    enum error err = path && !text.failed ? write(log->dir->disk, path, text_slice(&text)) : ERR_NOMEM;
    free(path);
    free(dir);
    text_free(&text);
    if (err == OK) log->epochs_unsaved = log->epochs_unsynced = false;
    return err;
}

enum error log_save_epochs(struct log *log)
{
    return write_epochs(log, disk_write_file_atomic);
}

enum error log_write_epochs(struct log *log)
{
    enum error err = write_epochs(log, write_file_unsynced);
    if (err == OK) log->epochs_unsynced = log->dir_unsynced = true;
    return err;
}

enum error log_write_snapshot(struct log *log, int64_t offset)
{
    if (log->snapshot_offset == offset && !log->has_unsaved_state) return OK;
    struct text text = {0};
    producer_state_write(&log->producers, &text);
    char *path = log_segment_path(log, offset, FILE_SNAPSHOT, "");
    struct file *file = NULL;
    enum error err = path && !text.failed ? OK : ERR_NOMEM;
    if (err == OK) err = file_open(log->dir->disk, path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file);
    if (err == OK) {
        log->snapshot_unsynced = true;
        log->dir_unsynced = true;
        err = file_pwrite(file, text.data, text.size, 0);
        /* A part of one is worse than none. */
        if (err != OK) {
            if (log->snapshot_offset == offset) log->snapshot_offset = -1;
            if (disk_unlink(log->dir->disk, path) != OK && err == ERR_DISK_FULL) err = ERR_IO;
        }
    }
    file_release(&file);
    free(path);
    text_free(&text);
    if (err != OK) return err;
    log->snapshot_offset = offset;
    log->has_unsaved_state = false;
    return OK;
}

enum error log_apply_producer(struct log *log, const struct batch_header *header, struct slice batch,
                              bool write_txn_index, int64_t segment_base)
{
    if (!batch_has_producer(header)) return OK;
    struct control_record control;
    bool is_control = batch_is_control(header), has_aborted = false;
    struct txn_entry aborted;
    enum error err = OK;
    if (is_control && header->record_count > 0) {
        /* One that is in the log but cannot be read says nothing; its bytes stay as they are. */
        err = control_batch_read(batch, header, &control);
        if (err == ERR_CORRUPT) return OK;
    } else if (is_control) {
        return OK; /* an emptied marker, left by compaction */
    }
    if (err == OK) {
        err = producer_state_apply(&log->producers, header, is_control ? &control : NULL, &has_aborted,
                                   &aborted);
    }
    log->has_unsaved_state = true;
    if (err != OK || !has_aborted || !write_txn_index) return err;

    char *path = log_segment_path(log, segment_base, FILE_TXNINDEX, "");
    err = path ? txn_index_append(log->dir->disk, path, &aborted) : ERR_NOMEM;
    free(path);
    log->dir_unsynced = true;
    return err;
}

/* Applies what segment i holds from `offset` to `end`. */
static enum error replay_segment(struct log *log, size_t i, int64_t offset, int64_t end)
{
    struct segment *segment = &log->segments[i];
    if (segment->size == 0) return OK;
    enum error err = segment_file(log, segment, false);
    if (err != OK) return err;

    int64_t position = 0;
    struct batch_header header;
    struct slice batch;
    if (offset > segment->base_offset) {
        struct offset_entry entry = {0, 0};
        if (log->active && i + 1 == log->segment_count) {
            entry = offset_index_floor(&log->active->offsets, offset - segment->base_offset);
        } else if (segment_index_file(log, segment) == OK) {
            err = offset_index_search(segment->index_file, false, offset - segment->base_offset, &entry);
        }
        if (err == OK) {
            err = scan_find(segment->log_file, entry.position, segment->size, false, offset, &header,
                            &position);
        }
        if (err == ERR_EOF) return OK;
        if (err != OK) return err;
    }
    struct batch_scan scan = {.file = segment->log_file, .position = position, .end = segment->size};
    while ((err = batch_scan_next(&scan, &header, &batch, &position)) == OK) {
        if (header.base_offset >= end) break;
        err = log_apply_producer(log, &header, batch, false, segment->base_offset);
        if (err != OK) break;
    }
    batch_scan_free(&scan);
    return err == ERR_EOF ? OK : err;
}

/* The newest good snapshot at or below `offset`; bad ones are removed, as are those above. *at is -1 with none. */
static enum error read_newest_snapshot(struct log *log, int64_t offset, int64_t *at)
{
    char *dir = log_path(log);
    struct disk_entry *entries = NULL;
    size_t count = 0;
    enum error err = dir ? disk_list(log->dir->disk, dir, &entries, &count) : ERR_NOMEM;
    int64_t found = -1;
    for (size_t i = count; err == OK && i > 0; i--) {
        struct segment_file_name name = segment_file_parse(slice_of(entries[i - 1].name));
        if (name.kind != FILE_SNAPSHOT || name.state != STATE_CURRENT || found >= 0) continue;
        char *path = path_join(dir, entries[i - 1].name);
        struct bytes *bytes = NULL;
        bool is_bad = name.base_offset > offset;
        if (!path) err = ERR_NOMEM;
        if (err == OK && !is_bad) {
            err = disk_read_file(log->dir->disk, path, PRODUCER_SNAPSHOT_SIZE_MAX, &bytes);
            if (err == OK) err = producer_state_read(bytes_slice(bytes), &log->producers);
            if (err == OK) found = name.base_offset;
            is_bad = err == ERR_CORRUPT || err == ERR_UNSUPPORTED || err == ERR_TOO_LARGE;
            if (is_bad) diag_warn("dropping producer snapshot \"%s\": %s", path, error_text(err));
        }
        if (is_bad) err = disk_unlink(log->dir->disk, path);
        bytes_release(&bytes);
        free(path);
    }
    disk_list_free(entries, count);
    free(dir);
    if (err == OK) *at = found;
    return err;
}

static enum error replay_from_snapshot(struct log *log, int64_t offset)
{
    int64_t at;
    enum error err = read_newest_snapshot(log, offset, &at);
    if (err != OK) return err;
    log->snapshot_offset = at;
    log->has_unsaved_state = false;
    int64_t from = at >= 0 ? at : 0;
    if (from >= offset) return OK;
    for (size_t i = log_segment_of(log, from); err == OK && i < log->segment_count; i++) {
        if (log->segments[i].base_offset >= offset) break;
        err = replay_segment(log, i, from, offset);
        if (err != ERR_CORRUPT && err != ERR_TRUNCATED) continue;
        diag_warn("segment %lld of \"%s\" has damaged batches: its producers may be forgotten",
                  (long long)log->segments[i].base_offset, log->name);
        err = OK;
    }
    return err;
}

/* A producer may be waiting for an answer about any of its last batches, and ask again: none is forgotten that stays in the log. */
enum error log_rebuild_producers(struct log *log, int64_t offset)
{
    struct producer_state before = log->producers;
    log->producers = (struct producer_state){0};
    enum error err = replay_from_snapshot(log, offset);
    producer_state_recall(&log->producers, &before, offset);
    producer_state_free(&before);
    return err;
}

static bool snapshot_is_good(struct log *log, const char *path)
{
    struct producer_state state = {0};
    struct bytes *bytes = NULL;
    enum error err = disk_read_file(log->dir->disk, path, PRODUCER_SNAPSHOT_SIZE_MAX, &bytes);
    if (err == OK) err = producer_state_read(bytes_slice(bytes), &state);
    producer_state_free(&state);
    bytes_release(&bytes);
    return err != ERR_CORRUPT && err != ERR_UNSUPPORTED;
}

void log_prune_snapshots(struct log *log, bool also_damaged)
{
    char *dir = log_path(log);
    struct disk_entry *entries = NULL;
    size_t count = 0;
    enum error err = dir ? disk_list(log->dir->disk, dir, &entries, &count) : ERR_NOMEM;
    for (size_t i = 0; err == OK && i < count; i++) {
        struct segment_file_name name = segment_file_parse(slice_of(entries[i].name));
        if (name.kind != FILE_SNAPSHOT || name.state != STATE_CURRENT) continue;
        const struct segment *segment = &log->segments[log_segment_of(log, name.base_offset)];
        bool is_wanted = segment->base_offset == name.base_offset || name.base_offset == log->snapshot_offset;
        if (is_wanted && !also_damaged) continue;
        char *path = path_join(dir, entries[i].name);
        is_wanted = is_wanted && (!path || snapshot_is_good(log, path));
        /* One too many is harmless, so a failure is too. */
        if (path && !is_wanted && disk_unlink(log->dir->disk, path) != OK)
            diag_debug("could not remove \"%s\"", path);
        free(path);
    }
    disk_list_free(entries, count);
    free(dir);
}

/* --- leader epochs --- */

enum error log_epoch_assign(struct log *log, int32_t epoch, int64_t start_offset)
{
    if (log_latest_epoch(log) == epoch && log_latest_epoch_start(log) <= start_offset) return OK;
    enum error err = epoch_cache_assign(&log->epochs, epoch, start_offset);
    if (err != OK) return err;
    /* Written within a second, or before the recovery point passes the epoch's first batch: until then recovery finds it in
     * the batches themselves. */
    log->epochs_unsaved = true;
    log_mark_dirty(log);
    return OK;
}

struct epoch_end log_epoch_end(const struct log *log, int32_t epoch)
{
    return epoch_cache_end(&log->epochs, epoch, log->end_offset);
}

int32_t log_epoch_of(const struct log *log, int64_t offset)
{
    return epoch_cache_of(&log->epochs, offset);
}

int32_t log_latest_epoch(const struct log *log)
{
    return log->epochs.count ? log->epochs.entries[log->epochs.count - 1].epoch : -1;
}

int64_t log_latest_epoch_start(const struct log *log)
{
    return log->epochs.count ? log->epochs.entries[log->epochs.count - 1].start_offset : -1;
}

/* --- producers --- */

int64_t log_first_unstable_offset(const struct log *log)
{
    return producer_state_first_open(&log->producers);
}

int64_t log_last_stable_offset(struct log *log)
{
    int64_t high_watermark = log->high_watermark;
    int64_t unstable = producer_state_first_unstable(&log->producers, high_watermark);
    return unstable < high_watermark ? unstable : high_watermark;
}

void log_expire_producers(struct log *log, int64_t now_ms)
{
    if (log->config.producer_id_expiration_ms < 0 || now_ms < log->config.producer_id_expiration_ms) return;
    producer_state_expire(&log->producers, now_ms - log->config.producer_id_expiration_ms);
}
