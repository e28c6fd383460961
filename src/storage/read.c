/* read.c: from an offset to bytes.
 *
 *     newest batches   the ring knows where each of the last ones stands: no I/O at all for readers at the tail
 *     active segment   floor of the index in memory, then a scan of headers, at most index.interval.bytes and one batch
 *     older segments   the same with the index on disk, searched by cached reads
 *
 * A slice ends with its segment; the next read begins in the next one. */
#include <assert.h>
#include <stdlib.h>

#include "storage/log_parts.h"

/* Where a segment's batches stand: what both kinds of read search in. */
struct place {
    struct file *log_file, *index_file; /* index_file NULL: hints are used */
    int64_t base_offset, size;
    bool cached;
};

/* First batch of the segment that reaches `offset`. ERR_EOF: none does. */
static enum error locate(const struct place *place, int64_t offset, int64_t hint, struct batch_header *header,
                         int64_t *position)
{
    if (place->index_file && offset > place->base_offset) {
        struct offset_entry entry;
        enum error err =
            offset_index_search(place->index_file, place->cached, offset - place->base_offset, &entry);
        if (err != OK && err != ERR_CORRUPT) return err;
        hint = err == OK && entry.position >= 0 && entry.position < place->size ? entry.position : 0;
    }
    return scan_find(place->log_file, hint, place->size, place->cached, offset, header, position);
}

/* The slice from `offset` on within one segment. `ends_offset`: where the segment's offsets end. */
static enum error slice_in(const struct place *place, const struct log_read *what, int64_t ends_offset,
                           int64_t start_hint, int64_t limit_hint, struct log_slice *slice)
{
    struct batch_header first, last;
    int64_t position, limit_position = place->size;
    enum error err = locate(place, what->offset, start_hint, &first, &position);
    if (err != OK) return err;
    if (what->limit_offset < ends_offset) {
        if (limit_hint < position) limit_hint = position;
        err = batch_last_offset(&first) >= what->limit_offset
                  ? OK
                  : locate(place, what->limit_offset, limit_hint, &last, &limit_position);
        if (err == ERR_EOF)
            limit_position = place->size;
        else if (err != OK)
            return err;
        else if (batch_last_offset(&first) >= what->limit_offset)
            limit_position = position;
    }
    *slice = (struct log_slice){.position = position,
                                .base_offset = first.base_offset,
                                .first_batch_size = (int64_t)first.size_bytes};
    if (limit_position > position) slice->size = (size_t)(limit_position - position);
    return OK;
}

/* Applies the size limits and takes the reference. */
static void slice_finish(const struct log_read *what, struct file *file, struct log_slice *slice)
{
    size_t first = (size_t)slice->first_batch_size;
    if (slice->size > what->max_bytes) slice->size = what->max_bytes;
    if (slice->size > 0 && slice->size < first) slice->size = what->min_one_batch ? first : 0;
    if (slice->size == 0 && what->max_bytes == 0 && what->min_one_batch) slice->size = first;
    if (slice->size > 0) slice->file = file_retain(file);
}

/* The oldest batch in the ring that reaches `offset`; NULL when the ring does not go back that far. */
static const struct recent_batch *ring_find(const struct log *log, int64_t offset)
{
    const struct log_active *active = log->active;
    if (!active || active->recent_count == 0) return NULL;
    size_t oldest = (active->recent_next + RECENT_BATCHES - active->recent_count) % RECENT_BATCHES;
    const struct recent_batch *first = &active->recent[oldest];
    if (offset < first->base_offset && first->position > 0) return NULL;
    size_t low = 0, high = active->recent_count; /* batches before `low` do not reach it */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (active->recent[(oldest + middle) % RECENT_BATCHES].last_offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == active->recent_count) return NULL;
    return &active->recent[(oldest + low) % RECENT_BATCHES];
}

static bool read_recent(struct log *log, const struct log_read *what, struct log_slice *slice)
{
    const struct segment *segment = log_active_segment(log);
    const struct recent_batch *first = ring_find(log, what->offset);
    if (!first) return false;
    int64_t limit_position = segment->size;
    if (what->limit_offset < log->end_offset) {
        const struct recent_batch *limit = ring_find(log, what->limit_offset);
        if (limit) limit_position = limit->position;
    }
    *slice = (struct log_slice){
        .position = first->position, .base_offset = first->base_offset, .first_batch_size = first->size};
    if (limit_position > first->position) slice->size = (size_t)(limit_position - first->position);
    return true;
}

static int64_t index_hint(const struct log *log, int64_t offset)
{
    if (!log->active) return 0;
    const struct segment *segment = &log->segments[log->segment_count - 1];
    return offset_index_floor(&log->active->offsets, offset - segment->base_offset).position;
}

/* What the caller may ask; *is_empty when there is nothing to show. */
static enum error check(struct log *log, const struct log_read *what, struct log_read *bounded,
                        bool *is_empty)
{
    if (log_dir_is_failed(log->dir)) return ERR_KAFKA_STORAGE_ERROR;
    if (what->offset < log->start_offset || what->offset > log->end_offset) return ERR_OFFSET_OUT_OF_RANGE;
    *bounded = *what;
    if (bounded->limit_offset > log->end_offset) bounded->limit_offset = log->end_offset;
    *is_empty = bounded->offset >= bounded->limit_offset;
    return OK;
}

static enum error read_failed(struct log *log, enum error err)
{
    /* Damaged bytes are told to the reader; a disk that cannot be read takes its directory along. */
    if (err == ERR_CORRUPT || err == ERR_TRUNCATED) return ERR_CORRUPT_MESSAGE;
    if (err == ERR_AGAIN || err == ERR_NOMEM || err == ERR_LIMIT || err == OK) return err;
    log_dir_fail(log->dir, err, "read", log->name);
    return ERR_KAFKA_STORAGE_ERROR;
}

static enum error read_segments(struct log *log, const struct log_read *what, bool cached,
                                struct log_slice *slice)
{
    struct log_read bounded;
    bool is_empty;
    *slice = (struct log_slice){.base_offset = what->offset};
    enum error err = check(log, what, &bounded, &is_empty);
    if (err != OK || is_empty) return err;

    for (size_t i = log_segment_of(log, bounded.offset); i < log->segment_count; i++) {
        struct segment *segment = &log->segments[i];
        bool is_active = i + 1 == log->segment_count;
        int64_t ends_offset = segment_end_offset(log, i);
        if (segment->base_offset > bounded.offset) bounded.offset = segment->base_offset;
        if (bounded.offset >= bounded.limit_offset) return OK;
        if (segment->size == 0) continue;

        err = segment_file(log, segment, is_active && log->active);
        if (err != OK) break;
        struct log_slice found;
        bool is_recent = is_active && read_recent(log, &bounded, &found);
        if (!is_recent) {
            /* Without its indexes in memory the last segment is searched like the others. */
            bool by_file = !is_active || !log->active;
            if (by_file && segment_index_file(log, segment) == ERR_NOMEM) return ERR_NOMEM;
            struct place place = {.log_file = segment->log_file,
                                  .index_file = by_file ? segment->index_file : NULL,
                                  .base_offset = segment->base_offset,
                                  .size = segment->size,
                                  .cached = cached};
            int64_t start_hint = by_file ? 0 : index_hint(log, bounded.offset);
            int64_t limit_hint = by_file ? 0 : index_hint(log, bounded.limit_offset);
            err = slice_in(&place, &bounded, ends_offset, start_hint, limit_hint, &found);
        }
        if (err == ERR_EOF) {
            err = OK;
            continue; /* the rest of this segment was compacted away */
        }
        if (err != OK) break;
        slice_finish(&bounded, segment->log_file, &found);
        *slice = found;
        return OK;
    }
    return read_failed(log, err);
}

enum error log_read(struct log *log, const struct log_read *what, struct log_slice *slice)
{
    return read_segments(log, what, true, slice);
}

enum error log_read_blocking(struct log *log, const struct log_read *what, struct log_slice *slice)
{
    return read_segments(log, what, false, slice);
}

/* --- in three steps --- */

enum error log_cold_read_begin(struct log *log, const struct log_read *what, struct log_cold_read *read)
{
    bool is_empty;
    struct log_cold_read begun = {.generation = log->generation};
    enum error err = check(log, what, &begun.what, &is_empty);
    if (err != OK) return err;
    begun.slice = (struct log_slice){.base_offset = what->offset};
    if (!is_empty) {
        size_t i = log_segment_of(log, what->offset);
        struct segment *segment = &log->segments[i];
        bool in_memory = i + 1 == log->segment_count && log->active;
        err = segment_file(log, segment, in_memory);
        if (err == OK && !in_memory && segment_index_file(log, segment) == ERR_NOMEM) err = ERR_NOMEM;
        if (err != OK) return read_failed(log, err);
        begun.log_file = file_retain(segment->log_file);
        if (!in_memory && segment->index_file) begun.index_file = file_retain(segment->index_file);
        begun.base_offset = segment->base_offset;
        begun.size = segment->size;
        begun.segment_end_offset = segment_end_offset(log, i);
        begun.start_hint = in_memory ? index_hint(log, what->offset) : 0;
        begun.limit_hint = in_memory ? index_hint(log, begun.what.limit_offset) : 0;
    }
    *read = begun;
    return OK;
}

/* Reads the slice's bytes, for what they leave behind: pages in memory, so that sending does not wait. */
static enum error warm(struct file *file, const struct log_slice *slice)
{
    uint8_t *buffer = malloc(256 << 10);
    if (!buffer) return OK; /* then the loop waits; slow is not wrong */
    enum error err = OK;
    for (size_t done = 0; err == OK && done < slice->size;) {
        size_t size = slice->size - done < (256 << 10) ? slice->size - done : (256 << 10), got;
        err = file_pread(file, buffer, size, slice->position + (int64_t)done, &got);
        if (err != OK || got == 0) break;
        done += got;
    }
    free(buffer);
    return err;
}

void log_cold_read_work(struct log_cold_read *read)
{
    if (!read->log_file) return;
    struct place place = {.log_file = read->log_file,
                          .index_file = read->index_file,
                          .base_offset = read->base_offset,
                          .size = read->size};
    struct log_slice found;
    read->err =
        slice_in(&place, &read->what, read->segment_end_offset, read->start_hint, read->limit_hint, &found);
    if (read->err != OK) return;
    slice_finish(&read->what, read->log_file, &found);
    read->slice = found;
    if (found.file) read->err = warm(found.file, &found);
}

enum error log_cold_read_end(struct log *log, struct log_cold_read *read, struct log_slice *slice)
{
    struct log_slice found = read->slice;
    enum error err = read->err;
    file_release(&read->log_file);
    file_release(&read->index_file);
    read->slice.file = NULL;
    bool is_stale = !log || log->generation != read->generation || read->what.offset < log->start_offset;
    if (is_stale || err != OK) log_slice_release(&found);
    if (is_stale) return ERR_AGAIN;
    if (err == ERR_EOF) {
        /* The rest of the segment was compacted away: the answer stands at the front of the next one. */
        return log_read_blocking(log, &read->what, slice);
    }
    if (err != OK) return read_failed(log, err);
    *slice = found;
    return OK;
}

/* --- aborted transactions --- */

static enum error aborted_in(struct log *log, size_t i, int64_t from, int64_t bound,
                             void (*each)(void *context, const struct log_aborted_txn *txn), void *context,
                             bool *is_done)
{
    char *path = log_segment_path(log, log->segments[i].base_offset, FILE_TXNINDEX, "");
    struct bytes *bytes = NULL;
    enum error err = path ? disk_read_file(log->dir->disk, path, (size_t)1 << 30, &bytes) : ERR_NOMEM;
    free(path);
    if (err == ERR_NOT_FOUND) return OK;
    if (err != OK) return err;
    for (size_t at = 0; at + TXN_ENTRY_SIZE <= bytes->size && !*is_done; at += TXN_ENTRY_SIZE) {
        struct txn_entry entry;
        err = txn_entry_get(bytes->data + at, &entry);
        if (err != OK) break;
        if (entry.last_offset >= from && entry.first_offset < bound) {
            struct log_aborted_txn txn = {entry.producer_id, entry.first_offset};
            each(context, &txn);
        }
        *is_done = entry.last_stable_offset >= bound;
    }
    bytes_release(&bytes);
    return err;
}

enum error log_aborted_txns(struct log *log, int64_t fetch_offset, const struct log_slice *slice,
                            void (*each)(void *context, const struct log_aborted_txn *txn), void *context)
{
    if (slice->size == 0) return OK;
    size_t i = log_segment_of(log, slice->base_offset);
    struct segment *segment = &log->segments[i];
    int64_t bound = segment_end_offset(log, i);

    /* The offset behind the slice, as near as an index entry tells. */
    int64_t end_position = slice->position + (int64_t)slice->size;
    if (end_position < segment->size) {
        uint8_t window[BATCH_HEADER_SIZE];
        struct header_scan scan = {.file = slice->file,
                                   .position = slice->position,
                                   .end = segment->size,
                                   .window = window,
                                   .window_capacity = sizeof window};
        struct batch_header header;
        int64_t position;
        enum error err = OK;
        while (scan.position < end_position && (err = header_scan_next(&scan, &header, &position)) == OK) {
            bound = batch_last_offset(&header) + 1;
        }
        if (err != OK) return read_failed(log, err == ERR_EOF ? ERR_CORRUPT : err);
    }

    bool is_done = false;
    enum error err = OK;
    for (; err == OK && !is_done && i < log->segment_count; i++) {
        err = aborted_in(log, i, fetch_offset, bound, each, context, &is_done);
    }
    return read_failed(log, err);
}
