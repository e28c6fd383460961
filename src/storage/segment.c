/* segment.c: the files of one segment, and the active segment's indexes in memory. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "base/vec.h"
#include "storage/log_parts.h"

size_t log_segment_of(const struct log *log, int64_t offset)
{
    /* Readers are nearly always in the last segment. */
    size_t low = 0, high = log->segment_count;
    if (offset >= log->segments[high - 1].base_offset) return high - 1;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (log->segments[middle].base_offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

char *log_path(const struct log *log)
{
    char name[TOPIC_NAME_MAX + 64];
    snprintf(name, sizeof name, "%s%s", log->name, log->future_suffix);
    return path_join(log->dir->path, name);
}

char *log_segment_path(const struct log *log, int64_t base_offset, enum file_kind kind, const char *suffix)
{
    char *dir = log_path(log);
    char *path = dir ? segment_path(dir, base_offset, kind, suffix) : NULL;
    free(dir);
    return path;
}

enum error segment_file(struct log *log, struct segment *segment, bool for_writing)
{
    if (segment->log_file && (segment->is_writable || !for_writing)) return OK;
    char *path = log_segment_path(log, segment->base_offset, FILE_LOG, "");
    if (!path) return ERR_NOMEM;
    struct file *file = NULL;
    enum error err = file_open(log->dir->disk, path, for_writing ? FILE_WRITE : FILE_READ, &file);
    free(path);
    if (err != OK) return err;
    file_release(&segment->log_file);
    segment->log_file = file;
    segment->is_writable = for_writing;
    return OK;
}

enum error segment_index_file(struct log *log, struct segment *segment)
{
    if (segment->index_file) return OK;
    char *path = log_segment_path(log, segment->base_offset, FILE_INDEX, "");
    if (!path) return ERR_NOMEM;
    enum error err = file_open(log->dir->disk, path, FILE_READ, &segment->index_file);
    free(path);
    return err;
}

void segment_release_files(struct segment *segment)
{
    file_release(&segment->log_file);
    file_release(&segment->index_file);
    segment->is_writable = false;
}

enum error segment_know_timestamp(struct log *log, size_t i)
{
    struct segment *segment = &log->segments[i];
    if (segment->max_timestamp != UNKNOWN_TIMESTAMP) return OK;
    char *path = log_segment_path(log, segment->base_offset, FILE_TIMEINDEX, "");
    if (!path) return ERR_NOMEM;
    struct file *file = NULL;
    struct time_entry last = {-1, 0};
    enum error err = file_open(log->dir->disk, path, FILE_READ, &file);
    if (err == OK) err = time_index_last(file, &last);
    file_release(&file);
    free(path);
    if (err == ERR_NOT_FOUND) err = OK; /* as an empty one */
    if (err != OK) return err;
    segment->max_timestamp = last.timestamp;
    segment->max_timestamp_offset = segment->base_offset + last.relative_offset;
    return OK;
}

static struct log_active *active_new(const struct log *log, int64_t base_offset, int64_t now_ms)
{
    struct log_active *active = calloc(1, sizeof *active);
    if (!active) return NULL;
    active->first_batch_timestamp = -1;
    active->created_ms = now_ms;
    int64_t bound = log->config.segment_jitter_ms < log->config.segment_ms ? log->config.segment_jitter_ms
                                                                           : log->config.segment_ms;
    if (bound > 0) {
        /* Logs of one topic must not all roll in the same second; which one when is of no interest. */
        uint8_t key[16];
        put_be64(key, hash_bytes(log->name, strlen(log->name)));
        put_be64(key + 8, (uint64_t)base_offset ^ (uint64_t)now_ms);
        active->roll_jitter_ms = (int64_t)(hash_bytes(key, sizeof key) % (uint64_t)bound);
    }
    return active;
}

static void active_free(struct log_active *active)
{
    if (!active) return;
    offset_index_free(&active->offsets);
    time_index_free(&active->times);
    free(active);
}

void log_deactivate(struct log *log)
{
    active_free(log->active);
    log->active = NULL;
}

void log_index_batch(struct log *log, const struct batch_header *header, int64_t position)
{
    struct log_active *active = log->active;
    struct segment *segment = log_active_segment(log);
    int64_t last_offset = batch_last_offset(header);

    if (position == 0) active->first_batch_timestamp = header->max_timestamp;
    if (header->max_timestamp > segment->max_timestamp) {
        segment->max_timestamp = header->max_timestamp;
        segment->max_timestamp_offset = last_offset;
    }
    if (active->bytes_since_entry > log->config.index_interval_bytes) {
        int64_t relative = last_offset - segment->base_offset;
        int64_t relative_time = segment->max_timestamp_offset - segment->base_offset;
        if (relative <= INT32_MAX && position <= POSITION_MAX) {
            enum error err = offset_index_add(&active->offsets, (int32_t)relative, (int32_t)position);
            if (err == OK)
                err = time_index_add(&active->times, segment->max_timestamp, (int32_t)relative_time);
            if (err == OK) active->bytes_since_entry = 0;
            if (!active->indexes_unsaved) {
                active->indexes_unsaved = true;
                log_mark_dirty(log);
            }
        }
    }
    active->bytes_since_entry += (int64_t)header->size_bytes;

    active->recent[active->recent_next] = (struct recent_batch){
        .base_offset = header->base_offset,
        .last_offset = last_offset,
        .position = (int32_t)position,
        .size = (int32_t)header->size_bytes,
    };
    active->recent_next = (active->recent_next + 1) % RECENT_BATCHES;
    if (active->recent_count < RECENT_BATCHES) active->recent_count++;
}

/* Indexes all batches from `position` to the end of the segment. */
static enum error index_from(struct log *log, int64_t position, int64_t *end_offset)
{
    struct segment *segment = log_active_segment(log);
    uint8_t window[4096];
    struct header_scan scan = {.file = segment->log_file,
                               .position = position,
                               .end = segment->size,
                               .window = window,
                               .window_capacity = sizeof window};
    struct batch_header header;
    enum error err;
    while ((err = header_scan_next(&scan, &header, &position)) == OK) {
        log_index_batch(log, &header, position);
        *end_offset = batch_last_offset(&header) + 1;
    }
    if (err == ERR_EOF) return OK;
    return err == ERR_TRUNCATED ? ERR_CORRUPT : err;
}

/* What the index files of the active segment hold, and from where on the log must be read to know the rest. */
static enum error load_indexes(struct log *log, int64_t *position)
{
    struct segment *segment = log_active_segment(log);
    char *index_path = log_segment_path(log, segment->base_offset, FILE_INDEX, "");
    char *time_path = log_segment_path(log, segment->base_offset, FILE_TIMEINDEX, "");
    struct offset_index offsets = {0};
    struct time_index times = {0};
    enum error err = index_path && time_path ? OK : ERR_NOMEM;
    if (err == OK) err = offset_index_load(log->dir->disk, index_path, segment->size, &offsets);
    if (err == OK) err = time_index_load(log->dir->disk, time_path, &times);
    free(index_path);
    free(time_path);
    if (err != OK) {
        offset_index_free(&offsets);
        time_index_free(&times);
        return err;
    }
    log->active->offsets = offsets;
    log->active->times = times;
    *position = offsets.count ? offsets.entries[offsets.count - 1].position : 0;
    segment->max_timestamp = -1;
    segment->max_timestamp_offset = segment->base_offset;
    if (times.count > 0) {
        segment->max_timestamp = times.entries[times.count - 1].timestamp;
        segment->max_timestamp_offset = segment->base_offset + times.entries[times.count - 1].relative_offset;
    }
    return OK;
}

static enum error read_first_timestamp(struct log *log)
{
    struct segment *segment = log_active_segment(log);
    if (segment->size == 0) return OK;
    uint8_t window[BATCH_HEADER_SIZE];
    struct header_scan scan = {
        .file = segment->log_file, .end = segment->size, .window = window, .window_capacity = sizeof window};
    struct batch_header header;
    int64_t position;
    enum error err = header_scan_next(&scan, &header, &position);
    if (err == OK) log->active->first_batch_timestamp = header.max_timestamp;
    return err;
}

enum error log_activate(struct log *log, int64_t now_ms)
{
    if (log->active) return OK;
    struct segment *segment = log_active_segment(log);
    log->active = active_new(log, segment->base_offset, now_ms);
    enum error err = log->active ? segment_file(log, segment, true) : ERR_NOMEM;

    int64_t position = 0, end_offset = segment->base_offset;
    if (err == OK) err = load_indexes(log, &position);
    bool must_rebuild = err == ERR_CORRUPT || err == ERR_NOT_FOUND;
    if (must_rebuild) {
        segment->max_timestamp = -1;
        segment->max_timestamp_offset = segment->base_offset;
        log->active->indexes_unsaved = true;
        err = OK;
    }
    if (err == OK) err = read_first_timestamp(log);
    if (err == OK) err = index_from(log, position, &end_offset);
    /* An offset entry names the batch it points to, so with one, reading again gives the end; a log may end beyond its last
     * batch (compaction, a cut), never before. */
    if (err == OK && !log->is_loaded) log->end_offset = end_offset;
    if (err == OK && end_offset > log->end_offset) err = ERR_CORRUPT;
    if (err == OK && log->active->indexes_unsaved) log_mark_dirty(log);
    if (err == OK) log->active->has_reserve = segment->size > 0; /* an earlier life may have left some */
    if (err != OK) {
        segment->max_timestamp = UNKNOWN_TIMESTAMP;
        log_deactivate(log);
    }
    return err;
}

enum error log_save_indexes(struct log *log)
{
    struct log_active *active = log->active;
    struct segment *segment = log_active_segment(log);
    char *index_path = log_segment_path(log, segment->base_offset, FILE_INDEX, "");
    char *time_path = log_segment_path(log, segment->base_offset, FILE_TIMEINDEX, "");
    enum error err = index_path && time_path ? OK : ERR_NOMEM;
    if (err == OK) err = offset_index_save(&active->offsets, log->dir->disk, index_path);
    if (err == OK) err = time_index_save(&active->times, log->dir->disk, time_path);
    free(index_path);
    free(time_path);
    if (err == OK) active->indexes_unsaved = false;
    return err;
}

enum error log_close_indexes(struct log *log)
{
    struct log_active *active = log->active;
    struct segment *segment = log_active_segment(log);
    int64_t relative = segment->max_timestamp_offset - segment->base_offset;
    size_t before = active->times.count;
    if (relative <= INT32_MAX) {
        enum error err = time_index_add(&active->times, segment->max_timestamp, (int32_t)relative);
        if (err != OK) return err;
    }
    if (active->times.count != before) active->indexes_unsaved = true;
    if (!active->indexes_unsaved) return OK;
    return log_save_indexes(log);
}

enum error log_spare_indexes(struct log *log, enum error err)
{
    if (err != ERR_DISK_FULL) return err;
    static const enum file_kind kinds[] = {FILE_INDEX, FILE_TIMEINDEX};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char *path = log_segment_path(log, log_active_segment(log)->base_offset, kinds[i], "");
        enum error gone = path ? disk_unlink(log->dir->disk, path) : ERR_NOMEM;
        free(path);
        if (gone != OK && gone != ERR_NOT_FOUND) return gone;
    }
    log->dir_unsynced = true;
    return OK;
}

enum error log_leave_indexes(struct log *log)
{
    enum error err = log_close_indexes(log);
    enum error spared = log_spare_indexes(log, err);
    return spared == OK ? log_dir_spare(log->dir, err) : spared;
}

enum error log_begin_indexes(struct log *log)
{
    log_deactivate(log);
    log->active = active_new(log, log_active_segment(log)->base_offset, 0);
    if (!log->active) return ERR_NOMEM;
    log->active->indexes_unsaved = true;
    return OK;
}

enum error segment_rebuild_indexes(struct log *log, size_t i)
{
    /* The work is that of the active segment, so for a moment this one is. */
    size_t count = log->segment_count;
    struct log_active *active = log->active;
    struct segment *segment = &log->segments[i];
    log->segment_count = i + 1;
    log->active = active_new(log, segment->base_offset, 0);
    segment->max_timestamp = -1;
    segment->max_timestamp_offset = segment->base_offset;

    int64_t end_offset = segment->base_offset;
    enum error err = log->active ? segment_file(log, segment, false) : ERR_NOMEM;
    if (err == OK) err = index_from(log, 0, &end_offset);
    if (err == OK) {
        log->active->indexes_unsaved = true;
        err = log_leave_indexes(log);
    }
    log_deactivate(log);
    log->active = active;
    log->segment_count = count;
    file_release(&segment->index_file);
    if (err != OK) segment->max_timestamp = UNKNOWN_TIMESTAMP;
    return err;
}

bool log_reserve_segments(struct log *log, size_t count)
{
    if (log->segment_count == 0 && log->segment_capacity == 0) {
        /* Most logs have one segment for good, and there may be very many logs. */
        log->segments = malloc(count * sizeof *log->segments);
        log->segment_capacity = log->segments ? count : 0;
        return log->segments != NULL;
    }
    return VEC_RESERVE_N(log->segments, log->segment_count, log->segment_capacity, count);
}

enum error log_add_segment(struct log *log, int64_t base_offset)
{
    assert(log->segment_count == 0 || base_offset > log_active_segment(log)->base_offset);
    if (!log_reserve_segments(log, 1)) return ERR_NOMEM;
    struct segment added = {.base_offset = base_offset,
                            .max_timestamp = -1,
                            .max_timestamp_offset = base_offset,
                            .is_writable = true};
    struct log_active *active = active_new(log, base_offset, 0);
    char *path = log_segment_path(log, base_offset, FILE_LOG, "");
    enum error err = active && path ? OK : ERR_NOMEM;

    /* What an earlier life left under this name must not be taken for ours. */
    static const enum file_kind leftovers[] = {FILE_INDEX, FILE_TIMEINDEX, FILE_TXNINDEX};
    for (size_t i = 0; err == OK && i < 3; i++) {
        char *leftover = log_segment_path(log, base_offset, leftovers[i], "");
        err = leftover ? disk_unlink(log->dir->disk, leftover) : ERR_NOMEM;
        if (err == ERR_NOT_FOUND) err = OK;
        free(leftover);
    }
    if (err == OK) {
        err = file_open(log->dir->disk, path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &added.log_file);
    }
    if (err == OK && log->config.preallocate) {
        active->is_preallocated = true;
        err = file_allocate(added.log_file, log->config.segment_bytes);
    }
    free(path);
    if (err != OK) {
        file_release(&added.log_file);
        active_free(active);
        return err;
    }
    log_deactivate(log);
    active->indexes_unsaved = true; /* so that both files come to be */
    log->active = active;
    log->segments[log->segment_count++] = added;
    publish(&log->first_offset, log->segments[0].base_offset);
    log->dir_unsynced = true;
    log_mark_dirty(log);
    return OK;
}

static enum error drop_files(struct log *log, struct segment *segment)
{
    static const enum file_kind kinds[] = {FILE_LOG, FILE_INDEX, FILE_TIMEINDEX, FILE_TXNINDEX};
    enum error err = OK;
    for (size_t k = 0; err == OK && k < sizeof kinds / sizeof *kinds; k++) {
        char *from = log_segment_path(log, segment->base_offset, kinds[k], "");
        char *to = log_segment_path(log, segment->base_offset, kinds[k], ".deleted");
        err = from && to ? disk_rename(log->dir->disk, from, to) : ERR_NOMEM;
        if (err == OK && kinds[k] == FILE_LOG && segment->log_file) file_renamed(segment->log_file, to);
        if (err == OK) {
            log_discard(log, to);
            to = NULL;
        }
        if (err == ERR_NOT_FOUND) err = OK;
        free(from);
        free(to);
    }
    return err;
}

enum error log_drop_segments(struct log *log, size_t first, size_t count, bool from_end)
{
    enum error err = OK;
    size_t end = first + count;
    while (err == OK && first < end) {
        size_t i = from_end ? end - 1 : first;
        struct segment *segment = &log->segments[i];
        if (i + 1 == log->segment_count) log_deactivate(log);
        err = drop_files(log, segment);
        if (err != OK) break;
        log->size_bytes -= segment->size;
        segment_release_files(segment);
        memmove(segment, segment + 1, (log->segment_count - i - 1) * sizeof *segment);
        log->segment_count--;
        end--;
        log->dir_unsynced = true;
        if (log->segment_count > 0) publish(&log->first_offset, log->segments[0].base_offset);
    }
    return err;
}
