/* change.c: rolling, cutting and forgetting: every change of a log but the append.
 *
 * What a crash leaves in the middle of any of these is a log that is right, though perhaps not yet cut or longer than
 * asked: segments go newest first when cut, oldest first when forgotten. */
#include <stdlib.h>

#include "base/diag.h"
#include "storage/log_parts.h"

static enum error fail(struct log *log, enum error err, const char *what)
{
    if (err == OK || err == ERR_DISK_FULL || err == ERR_NOMEM) return err;
    log_dir_fail(log->dir, err, what, log->name);
    return ERR_KAFKA_STORAGE_ERROR;
}

enum error log_roll_at(struct log *log, int64_t base_offset)
{
    enum error err = log_activate(log, 0);
    struct segment *segment = log_active_segment(log);
    if (err == OK && segment->size == 0 && segment->base_offset == base_offset) return OK;
    if (err == OK && (log->active->is_preallocated || log->active->has_reserve))
        err = file_truncate(segment->log_file, segment->size);
    if (err == OK) err = log_close_indexes(log);
    if (err == OK) err = log_write_snapshot(log, base_offset);
    /* The checkpoint file may still promise that all below its recovery point is synced, though a cut came since. Recovery
     * would then trust the segment we leave as soon as there is another one, so it must be true before. */
    bool is_promised = base_offset <= __atomic_load_n(&log->checkpointed_recovery_point, __ATOMIC_SEQ_CST);
    if (err == OK && is_promised) err = log_flush_closing(log, base_offset);
    if (err == OK) err = log_add_segment(log, base_offset);
    if (err != OK) return err;
    log_publish_trust(log);
    log_flush_inactive(log);
    return OK;
}

enum error log_roll(struct log *log, int64_t now_ms)
{
    if (log_dir_is_failed(log->dir)) return ERR_KAFKA_STORAGE_ERROR;
    enum error err = log_activate(log, now_ms);
    if (err == OK && log_active_segment(log)->size > 0) err = log_roll_at(log, log->end_offset);
    return fail(log, err, "roll");
}

enum error log_sync_names(struct log *log)
{
    char *path = log_path(log);
    enum error err = path ? disk_sync_dir(log->dir->disk, path) : ERR_NOMEM;
    free(path);
    return err;
}

static void move_end(struct log *log, int64_t end_offset)
{
    publish(&log->end_offset, end_offset);
    if (log->recovered_end > end_offset) log->recovered_end = end_offset;
    log->generation++;
    log->unsynced_records = 0;
    if (log->recovery_point > end_offset) publish(&log->recovery_point, end_offset);
    size_t last = log->segment_count - 1;
    if (log->closed_synced > log->segments[last].base_offset)
        log->closed_synced = log->segments[last].base_offset;
    log_publish_trust(log);
}

/* Before anything is written below a start that is checkpointed. On an error it stays. */
static enum error lower_start(struct log *log, int64_t start_offset)
{
    int64_t before = log->start_offset;
    if (before <= start_offset) return OK;
    publish(&log->start_offset, start_offset);
    enum error err = log_write_start(log);
    if (err != OK) publish(&log->start_offset, before);
    return err;
}

/* What was cut is gone, whether or not there is room to write the epochs that are left: it is written later, then. */
static enum error save_cut_epochs(struct log *log)
{
    enum error err = log_save_epochs(log);
    if (err != ERR_DISK_FULL) return err;
    log->epochs_unsaved = true;
    log_mark_dirty(log);
    return OK;
}

/* Half cut there is no way back, and none forward: what is known of producers and indexes may be of batches that are gone. */
static enum error fail_half_cut(struct log *log, enum error err, const char *what)
{
    if (err == OK) return OK;
    log_dir_fail(log->dir, err, what, log->name);
    return ERR_KAFKA_STORAGE_ERROR;
}

/* Cuts the last segment before the batch that holds `offset`; *end_offset is where the log then ends. */
static enum error cut_active(struct log *log, int64_t offset, int64_t *end_offset)
{
    enum error err = log_activate(log, 0);
    if (err != OK) return err;
    struct log_active *active = log->active;
    struct segment *segment = log_active_segment(log);
    struct batch_header header;
    int64_t position = segment->size;
    *end_offset = offset;
    if (offset <= segment->base_offset) {
        position = 0;
    } else {
        struct offset_entry entry = offset_index_floor(&active->offsets, offset - segment->base_offset);
        err = scan_find(segment->log_file, entry.position, segment->size, false, offset, &header, &position);
        if (err == OK && header.base_offset < offset) *end_offset = header.base_offset;
        if (err == ERR_EOF) {
            position = segment->size;
            err = OK;
        }
    }
    if (err != OK || position == segment->size) return err;

    err = file_truncate(segment->log_file, position);
    /* Waits for the disk: what comes in their place may lie at the same offsets, and be lost in a power cut that brings back
     * those cut here. Behind batches of the new epoch, or under them, nothing would tell them from what belongs there. */
    if (err == OK) err = file_sync(segment->log_file);
    if (err != OK) return err;
    publish(&log->size_bytes, log->size_bytes - (segment->size - position));
    segment->size = position;

    size_t kept = active->offsets.count;
    while (kept > 0 && active->offsets.entries[kept - 1].position >= position) kept--;
    active->offsets.count = kept;
    if (active->offsets.written > kept) active->offsets.written = kept;
    kept = active->times.count;
    while (kept > 0 && segment->base_offset + active->times.entries[kept - 1].relative_offset >= *end_offset)
        kept--;
    active->times.count = kept;
    if (active->times.written > kept) active->times.written = kept;

    char *path = log_segment_path(log, segment->base_offset, FILE_TXNINDEX, "");
    err = path ? txn_index_cut(log->dir->disk, path, *end_offset) : ERR_NOMEM;
    free(path);
    if (err == OK) err = log_spare_indexes(log, log_save_indexes(log));
    /* Largest timestamp, newest positions, bytes since the last entry: read anew from the end. */
    log_deactivate(log);
    publish(&log->end_offset, *end_offset);
    if (err == OK) err = log_activate(log, 0);
    return err;
}

/* Down to the base of the batch that holds it. */
static enum error whole_batches_to(struct log *log, int64_t *offset)
{
    struct segment *segment = &log->segments[log_segment_of(log, *offset)];
    struct batch_header header;
    int64_t position;
    enum error err = segment_file(log, segment, false);
    if (err == OK) err = scan_find(segment->log_file, 0, segment->size, false, *offset, &header, &position);
    if (err == ERR_EOF) return OK;
    if (err == OK && header.base_offset < *offset) *offset = header.base_offset;
    return err;
}

enum error log_truncate_to(struct log *log, int64_t offset)
{
    if (log_dir_is_failed(log->dir)) return ERR_KAFKA_STORAGE_ERROR;
    if (offset >= log->end_offset) {
        /* Leaders that wrote nothing from there on were none (KAFKA-10706). */
        bool is_told = epoch_cache_cut_end(&log->epochs, log->end_offset);
        return is_told ? fail(log, save_cut_epochs(log), "truncate") : OK;
    }
    int64_t end_offset = offset;
    enum error err =
        log->start_offset > log->segments[0].base_offset ? whole_batches_to(log, &end_offset) : OK;
    if (err != OK) return fail(log, err, "truncate");
    /* Nothing would be left but what was deleted already. */
    if (end_offset < log->start_offset) return log_truncate_fully_and_start_at(log, end_offset);

    size_t i = log_segment_of(log, offset);
    end_offset = log->end_offset;
    if (i + 1 < log->segment_count) {
        end_offset = log->segments[i + 1].base_offset;
        err = log_drop_segments(log, i + 1, log->segment_count - i - 1, true);
        /* Should a crash bring them back, recovery would look at the last of them and trust the one we cut next. */
        if (err == OK) err = log_sync_names(log);
        if (err == OK) publish(&log->end_offset, end_offset);
    }
    if (err == OK) err = cut_active(log, offset, &end_offset);
    if (err == OK) {
        move_end(log, end_offset);
        if (epoch_cache_cut_end(&log->epochs, end_offset)) err = save_cut_epochs(log);
    }
    if (err == OK) err = log_rebuild_producers(log, end_offset);
    return fail_half_cut(log, err, "truncate");
}

/* An empty file that becomes the .log of the only segment once its name is free: a full disk is met before anything is dropped.
 * A crash leaves what every start removes. */
static enum error spare_make(struct log *log, int64_t offset, char **spare)
{
    struct file *file = NULL;
    *spare = log_segment_path(log, offset, FILE_LOG, ".cleaned");
    enum error err = *spare ? OK : ERR_NOMEM;
    if (err == OK) err = file_open(log->dir->disk, *spare, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file);
    file_release(&file);
    return err;
}

static enum error spare_use(struct log *log, int64_t offset, const char *spare)
{
    char *path = log_segment_path(log, offset, FILE_LOG, "");
    enum error err = path ? disk_rename(log->dir->disk, spare, path) : ERR_NOMEM;
    free(path);
    return err;
}

enum error log_truncate_fully_and_start_at(struct log *log, int64_t offset)
{
    if (log_dir_is_failed(log->dir)) return ERR_KAFKA_STORAGE_ERROR;
    /* The new segment first: a crash between leaves the old log, for recovery drops what stands behind a gap. Unless its
     * name is taken, or the checkpoint may promise so much that recovery would begin there. */
    bool is_there = offset == log_active_segment(log)->base_offset && log_active_segment(log)->size == 0;
    bool is_first = offset > log_active_segment(log)->base_offset &&
                    offset > __atomic_load_n(&log->checkpointed_recovery_point, __ATOMIC_SEQ_CST);
    size_t count = log->segment_count - is_there;
    int64_t start_before = log->start_offset;
    enum error err = lower_start(log, offset);
    char *spare = NULL;
    if (err == OK && is_first) err = log_add_segment(log, offset);
    if (err == OK && !is_first && !is_there) err = spare_make(log, offset, &spare);
    if (err != OK) {
        free(spare);
        publish(&log->start_offset, start_before);
        __atomic_store_n(&log->dir->start_dirty, 1, __ATOMIC_RELAXED);
        return fail(log, err, "empty");
    }
    err = log_drop_segments(log, 0, count, true);
    if (err == OK && spare) err = spare_use(log, offset, spare);
    if (err == OK && spare) err = log_add_segment(log, offset);
    free(spare);
    if (err == OK) err = log_sync_names(log);
    if (err == OK) {
        move_end(log, offset);
        publish(&log->start_offset, offset);
        publish(&log->recovery_point, offset);
        log->closed_synced = offset;
        log_publish_trust(log);
        publish(&log->size_bytes, 0);
        __atomic_store_n(&log->dir->start_dirty, 1, __ATOMIC_RELAXED);
        log->epochs.count = 0;
        err = save_cut_epochs(log);
    }
    if (err == OK) err = log_rebuild_producers(log, -1);
    return fail_half_cut(log, err, "empty");
}

static void raise_start(struct log *log, int64_t offset)
{
    if (offset <= log->start_offset) return;
    publish(&log->start_offset, offset);
    __atomic_store_n(&log->dir->start_dirty, 1, __ATOMIC_RELAXED);
    if (epoch_cache_cut_start(&log->epochs, offset)) {
        log->epochs_unsaved = true;
        log_mark_dirty(log);
    }
}

enum error log_increase_start(struct log *log, int64_t offset)
{
    if (log_dir_is_failed(log->dir)) return ERR_KAFKA_STORAGE_ERROR;
    if (offset <= log->start_offset) return OK;
    if (offset > log->high_watermark || offset > log->end_offset) return ERR_OFFSET_OUT_OF_RANGE;
    raise_start(log, offset);
    return OK;
}

/* The newest record of segment i, or when its file was last written, for records without timestamps. */
static enum error segment_age_from(struct log *log, size_t i, int64_t *timestamp_ms)
{
    struct segment *segment = &log->segments[i];
    enum error err = segment_know_timestamp(log, i);
    if (err != OK) return err;
    *timestamp_ms = segment->max_timestamp;
    if (segment->max_timestamp >= 0) return OK;
    err = segment_file(log, segment, false);
    return err == OK ? file_mtime_ms(segment->log_file, timestamp_ms) : err;
}

/* How many of the oldest segments may go, by any of the three rules. */
static enum error count_expired(struct log *log, int64_t high_watermark, int64_t now_ms, size_t *expired)
{
    const struct log_config *config = &log->config;
    int64_t surplus = config->delete_policy && config->retention_bytes >= 0
                          ? log->size_bytes - config->retention_bytes
                          : -1;
    size_t count = 0;
    for (; count < log->segment_count; count++) {
        const struct segment *segment = &log->segments[count];
        bool is_active = count + 1 == log->segment_count;
        int64_t upper = segment_end_offset(log, count);
        if (upper > high_watermark || (is_active && segment->size == 0)) break;

        bool is_expired = !is_active && upper <= log->start_offset;
        if (surplus >= segment->size) {
            surplus -= segment->size;
            is_expired = true;
        } else {
            surplus = -1; /* and those behind it stay, too */
        }
        if (!is_expired && config->delete_policy && config->retention_ms >= 0) {
            int64_t timestamp_ms;
            enum error err = segment_age_from(log, count, &timestamp_ms);
            if (err != OK) return err;
            is_expired = timestamp_ms < now_ms && now_ms - timestamp_ms > config->retention_ms;
        }
        if (!is_expired) break;
    }
    *expired = count;
    return OK;
}

enum error log_delete_old_segments(struct log *log, int64_t high_watermark, int64_t now_ms, size_t *deleted)
{
    if (deleted) *deleted = 0;
    if (log_dir_is_failed(log->dir)) return ERR_KAFKA_STORAGE_ERROR;
    size_t count;
    enum error err = count_expired(log, high_watermark, now_ms, &count);
    if (err != OK || count == 0) return fail(log, err, "look for old segments of");

    if (count == log->segment_count) err = log_roll_at(log, log->end_offset);
    if (err == OK) {
        raise_start(log, log->segments[count].base_offset);
        err = log_drop_segments(log, 0, count, false);
    }
    if (err == OK) {
        log_prune_snapshots(log, false);
        /* The recovery point stays, even below the new start: until names are synced a crash may bring back what was deleted
         * before it was ever safe. */
        diag_info("deleted %zu old segments of \"%s\", which now starts at %lld", count, log->name,
                  (long long)log->start_offset);
        if (deleted) *deleted = count;
    }
    return fail(log, err, "delete old segments of");
}
