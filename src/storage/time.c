/* time.c: the first record at or after a point in time (ListOffsets).
 *
 * A segment whose largest timestamp is too small is passed over; in the first that may hold the record, the time index says up
 * to which offset nothing is late enough; from there batches are walked by their headers, and the first with a large enough
 * timestamp is opened. */
#include <stdlib.h>

#include "base/diag.h"
#include "storage/log_parts.h"
#include "wire/legacy.h"
#include "wire/record.h"

#define LIMIT_BYTES_DEFAULT ((size_t)256 << 20)

struct log_time_segment {
    int64_t base_offset, size;
    int64_t max_timestamp; /* or UNKNOWN_TIMESTAMP */
};

static void lookup_free(struct log_time_lookup *lookup)
{
    free(lookup->path);
    free(lookup->segments);
    lookup->path = NULL;
    lookup->segments = NULL;
}

enum error log_time_lookup_begin(struct log *log, int64_t timestamp, struct log_time_lookup *lookup)
{
    if (log_dir_is_failed(log->dir)) return ERR_KAFKA_STORAGE_ERROR;
    if (timestamp < 0 && timestamp != LOG_TIME_MAX) return ERR_INVALID_REQUEST;
    struct log_time_lookup begun = {
        .timestamp = timestamp,
        .limit_bytes = LIMIT_BYTES_DEFAULT,
        .disk = log->dir->disk,
        .path = log_path(log),
        .segments = calloc(log->segment_count, sizeof *begun.segments),
        .log_start_offset = log->start_offset,
        .generation = log->generation,
        .found = {-1, -1, -1},
    };
    enum error err = begun.path && begun.segments ? OK : ERR_NOMEM;
    /* The worker knows files only, so they must be as far as we are. */
    if (err == OK && log->active && log->active->indexes_unsaved) err = log_save_indexes(log);
    if (err == ERR_DISK_FULL) err = OK; /* it searches a little longer then */
    for (size_t i = 0; err == OK && i < log->segment_count; i++) {
        const struct segment *segment = &log->segments[i];
        if (segment->size == 0 || segment_end_offset(log, i) <= log->start_offset) continue;
        begun.segments[begun.segment_count++] =
            (struct log_time_segment){.base_offset = segment->base_offset,
                                      .size = segment->size,
                                      .max_timestamp = segment->max_timestamp};
    }
    if (err != OK) {
        lookup_free(&begun);
        return err;
    }
    *lookup = begun;
    return OK;
}

static enum error open_of(const struct log_time_lookup *lookup, const struct log_time_segment *segment,
                          enum file_kind kind, struct file **file)
{
    char *path = segment_path(lookup->path, segment->base_offset, kind, "");
    if (!path) return ERR_NOMEM;
    enum error err = file_open(lookup->disk, path, FILE_READ, file);
    free(path);
    return err;
}

/* The first record of one batch that is late enough, and not below the log's start; for LOG_TIME_MAX the first of the latest.
 * found->offset stays -1 when none is. */
static enum error search_records(const struct log_time_lookup *lookup, struct slice batch,
                                 const struct batch_header *header, int64_t timestamp,
                                 struct log_time_found *found)
{
    struct text scratch = {0};
    struct slice records;
    struct record record;
    enum error err = batch_records(batch, header, lookup->limit_bytes, &scratch, &records);
    while (err == OK && (err = record_next(&records, &record)) == OK) {
        int64_t at = record_timestamp(header, &record), offset = record_offset(header, &record);
        if (offset < lookup->log_start_offset) continue;
        if (at < timestamp || (timestamp == LOG_TIME_MAX && at <= found->timestamp)) continue;
        *found = (struct log_time_found){offset, at, header->partition_leader_epoch};
        if (timestamp != LOG_TIME_MAX) break;
    }
    text_free(&scratch);
    return err == ERR_EOF ? OK : err;
}

static enum error search_messages(const struct log_time_lookup *lookup, struct slice batch, int64_t timestamp,
                                  struct log_time_found *found)
{
    struct text scratch = {0};
    struct legacy_message message;
    struct legacy_walk walk;
    enum error err = legacy_message_read(batch, false, &message);
    if (err == OK) err = legacy_walk_open(&message, lookup->limit_bytes, &scratch, &walk);
    while (err == OK && (err = legacy_walk_next(&walk, &message)) == OK) {
        if (message.offset < lookup->log_start_offset) continue;
        if (message.timestamp < timestamp) continue;
        if (timestamp == LOG_TIME_MAX && message.timestamp <= found->timestamp) continue;
        *found = (struct log_time_found){message.offset, message.timestamp, -1};
        if (timestamp != LOG_TIME_MAX) break;
    }
    text_free(&scratch);
    return err == ERR_EOF ? OK : err;
}

/* Where in the segment to begin: nothing before is late enough. */
static enum error start_position(const struct log_time_lookup *lookup, const struct log_time_segment *segment,
                                 struct file *log_file, int64_t timestamp, int64_t *position)
{
    struct file *times = NULL, *offsets = NULL;
    struct time_entry below = {-1, 0};
    enum error err = open_of(lookup, segment, FILE_TIMEINDEX, &times);
    if (err == OK) err = time_index_search(times, timestamp, &below);
    file_release(&times);
    if (err == ERR_NOT_FOUND || err == ERR_CORRUPT) err = OK;
    int64_t offset = segment->base_offset + (below.timestamp >= 0 ? below.relative_offset : 0);
    if (offset < lookup->log_start_offset) offset = lookup->log_start_offset;

    struct offset_entry entry = {0, 0};
    if (err == OK) err = open_of(lookup, segment, FILE_INDEX, &offsets);
    if (err == OK) err = offset_index_search(offsets, false, offset - segment->base_offset, &entry);
    file_release(&offsets);
    if (err == ERR_NOT_FOUND || err == ERR_CORRUPT) err = OK;
    if (err != OK) return err;

    struct batch_header header;
    err = scan_find(log_file, entry.position, segment->size, false, offset, &header, position);
    if (err == ERR_EOF) *position = segment->size;
    return err == ERR_EOF ? OK : err;
}

static enum error search_batch(const struct log_time_lookup *lookup, struct file *file,
                               const struct batch_header *header, int64_t position, int64_t timestamp,
                               struct log_time_found *found)
{
    uint8_t *data = malloc(header->size_bytes);
    size_t got = 0;
    enum error err = data ? file_pread(file, data, header->size_bytes, position, &got) : ERR_NOMEM;
    if (err == OK && got < header->size_bytes) err = ERR_CORRUPT;
    struct slice batch = {data, header->size_bytes};
    if (err == OK && header->magic >= 2)
        err = search_records(lookup, batch, header, timestamp, found);
    else if (err == OK)
        err = search_messages(lookup, batch, timestamp, found);
    free(data);
    return err;
}

static enum error search_segment(const struct log_time_lookup *lookup, const struct log_time_segment *segment,
                                 int64_t timestamp, struct log_time_found *found)
{
    struct file *file = NULL;
    int64_t position = 0;
    enum error err = open_of(lookup, segment, FILE_LOG, &file);
    if (err == OK) err = start_position(lookup, segment, file, timestamp, &position);

    uint8_t window[4096];
    struct header_scan scan = {.file = file,
                               .position = position,
                               .end = segment->size,
                               .window = window,
                               .window_capacity = sizeof window};
    struct batch_header header;
    while (err == OK && found->offset < 0 && (err = header_scan_next(&scan, &header, &position)) == OK) {
        /* A compressed set of magic 0 has no timestamps, one of magic 1 has its largest. */
        if (header.max_timestamp < timestamp) continue;
        err = search_batch(lookup, file, &header, position, timestamp, found);
    }
    file_release(&file);
    return err == ERR_EOF ? OK : err;
}

static enum error know_timestamp(const struct log_time_lookup *lookup, struct log_time_segment *segment)
{
    if (segment->max_timestamp != UNKNOWN_TIMESTAMP) return OK;
    struct file *file = NULL;
    struct time_entry last;
    enum error err = open_of(lookup, segment, FILE_TIMEINDEX, &file);
    if (err == OK) err = time_index_last(file, &last);
    if (err == OK) segment->max_timestamp = last.timestamp;
    file_release(&file);
    return err;
}

/* The largest timestamp at or above the log's start, in a segment that the start lies in: what DeleteRecords took away must
 * not count. */
static enum error largest_left(const struct log_time_lookup *lookup, struct log_time_segment *segment)
{
    struct file *file = NULL;
    struct batch_header header;
    int64_t position = segment->size;
    enum error err = open_of(lookup, segment, FILE_LOG, &file);
    if (err == OK)
        err = scan_find(file, 0, segment->size, false, lookup->log_start_offset, &header, &position);
    if (err == ERR_EOF) position = segment->size;
    if (err == ERR_EOF) err = OK;

    uint8_t window[4096];
    struct header_scan scan = {.file = file,
                               .position = position,
                               .end = segment->size,
                               .window = window,
                               .window_capacity = sizeof window};
    int64_t largest = -1;
    while (err == OK && (err = header_scan_next(&scan, &header, &position)) == OK) {
        int64_t timestamp = header.max_timestamp;
        if (header.base_offset < lookup->log_start_offset) {
            struct log_time_found found = {-1, -1, -1};
            err = search_batch(lookup, file, &header, position, LOG_TIME_MAX, &found);
            timestamp = found.timestamp;
        }
        if (timestamp > largest) largest = timestamp;
    }
    file_release(&file);
    segment->max_timestamp = largest;
    return err == ERR_EOF ? OK : err;
}

void log_time_lookup_work(struct log_time_lookup *lookup)
{
    enum error err = OK;
    int64_t timestamp = lookup->timestamp, largest = -1;
    if (timestamp == LOG_TIME_MAX) {
        for (size_t i = 0; err == OK && i < lookup->segment_count; i++) {
            struct log_time_segment *segment = &lookup->segments[i];
            bool is_cut = segment->base_offset < lookup->log_start_offset;
            err = is_cut ? largest_left(lookup, segment) : know_timestamp(lookup, segment);
            if (lookup->segments[i].max_timestamp > largest) largest = lookup->segments[i].max_timestamp;
        }
        timestamp = largest;
        if (largest < 0) lookup->segment_count = 0; /* no record has a timestamp */
    }
    for (size_t i = 0; err == OK && lookup->found.offset < 0 && i < lookup->segment_count; i++) {
        err = know_timestamp(lookup, &lookup->segments[i]);
        if (err == OK && lookup->segments[i].max_timestamp >= timestamp) {
            err = search_segment(lookup, &lookup->segments[i], timestamp, &lookup->found);
        }
    }
    lookup->err = err;
}

enum error log_time_lookup_end(struct log *log, struct log_time_lookup *lookup, struct log_time_found *found)
{
    lookup_free(lookup);
    if (!log || log->generation != lookup->generation) return ERR_AGAIN;
    /* A segment that retention took between the steps. */
    if (lookup->err == ERR_NOT_FOUND && log->start_offset != lookup->log_start_offset) return ERR_AGAIN;
    if (lookup->err == ERR_CORRUPT || lookup->err == ERR_TRUNCATED) return ERR_CORRUPT_MESSAGE;
    if (lookup->err == ERR_IO) {
        log_dir_fail(log->dir, lookup->err, "search", log->name);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    if (lookup->err != OK) return lookup->err;
    *found = lookup->found;
    return OK;
}

enum error log_offset_for_time(struct log *log, int64_t timestamp, struct log_time_found *found)
{
    struct log_time_lookup lookup = {0};
    enum error err = log_time_lookup_begin(log, timestamp, &lookup);
    if (err != OK) return err;
    log_time_lookup_work(&lookup);
    return log_time_lookup_end(log, &lookup, found);
}
