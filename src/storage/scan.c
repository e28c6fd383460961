#include "storage/scan.h"

#include <stdlib.h>

#define BUFFER_SIZE ((size_t)256 << 10)
#define WINDOW_SIZE 4096

enum error header_scan_next(struct header_scan *scan, struct batch_header *header, int64_t *position)
{
    int64_t left = scan->end - scan->position;
    if (left <= 0) return ERR_EOF;
    if (left < BATCH_MAGIC_END) return ERR_TRUNCATED;

    int64_t skipped = scan->position - scan->window_position;
    size_t wanted = left < BATCH_HEADER_SIZE ? (size_t)left : BATCH_HEADER_SIZE;
    if (skipped < 0 || skipped + (int64_t)wanted > (int64_t)scan->window_size) {
        size_t size = (int64_t)scan->window_capacity < left ? scan->window_capacity : (size_t)left;
        size_t got = 0;
        enum error err = scan->cached
                             ? file_pread_cached(scan->file, scan->window, size, scan->position, &got)
                             : file_pread(scan->file, scan->window, size, scan->position, &got);
        if (err != OK) return err;
        scan->window_position = scan->position;
        scan->window_size = got;
        skipped = 0;
        if (got < wanted) return ERR_TRUNCATED; /* the file is shorter than we were told */
    }

    struct slice in = {scan->window + skipped, scan->window_size - (size_t)skipped};
    enum error err = batch_header_read(in, header);
    if (err != OK) return err;
    if ((int64_t)header->size_bytes > left) return ERR_TRUNCATED;
    *position = scan->position;
    scan->position += (int64_t)header->size_bytes;
    return OK;
}

enum error scan_find(struct file *file, int64_t start_position, int64_t end, bool cached, int64_t offset,
                     struct batch_header *header, int64_t *position)
{
    uint8_t window[WINDOW_SIZE];
    if (start_position < 0 || start_position > end)
        start_position = 0; /* an index said so: nobody else would */
    struct header_scan scan = {.file = file,
                               .position = start_position,
                               .end = end,
                               .cached = cached,
                               .window = window,
                               .window_capacity = sizeof window};
    bool is_first = true;
    for (;;) {
        enum error err = header_scan_next(&scan, header, position);
        bool is_lost = err == ERR_CORRUPT || err == ERR_TRUNCATED || (err == ERR_EOF && is_first) ||
                       (err == OK && is_first && header->magic >= 2 && header->base_offset > offset);
        if (is_lost && is_first && start_position > 0) {
            /* The index sent us to a place where no batch begins, or past the offset. */
            start_position = scan.position = 0;
            continue;
        }
        if (err != OK) return err;
        is_first = false;
        if (batch_last_offset(header) >= offset) return OK;
    }
}

static enum error fill(struct batch_scan *scan, size_t wanted)
{
    int64_t skipped = scan->position - scan->buffer_position;
    if (skipped >= 0 && skipped + (int64_t)wanted <= (int64_t)scan->buffer_size) return OK;

    size_t size = wanted < BUFFER_SIZE ? BUFFER_SIZE : wanted;
    if ((int64_t)size > scan->end - scan->position) size = (size_t)(scan->end - scan->position);
    if (size > scan->capacity) {
        free(scan->buffer);
        scan->capacity = scan->buffer_size = 0;
        scan->buffer = malloc(size);
        if (!scan->buffer) return ERR_NOMEM;
        scan->capacity = size;
    }
    size_t got = 0;
    enum error err = file_pread(scan->file, scan->buffer, size, scan->position, &got);
    if (err != OK) return err;
    scan->buffer_position = scan->position;
    scan->buffer_size = got;
    return got < wanted ? ERR_TRUNCATED : OK;
}

enum error batch_scan_next(struct batch_scan *scan, struct batch_header *header, struct slice *batch,
                           int64_t *position)
{
    int64_t left = scan->end - scan->position;
    if (left <= 0) return ERR_EOF;
    if (left < BATCH_MAGIC_END) return ERR_TRUNCATED;

    enum error err = fill(scan, left < BATCH_HEADER_SIZE ? (size_t)left : BATCH_HEADER_SIZE);
    if (err != OK) return err;
    size_t skipped = (size_t)(scan->position - scan->buffer_position);
    err = batch_header_read((struct slice){scan->buffer + skipped, scan->buffer_size - skipped}, header);
    if (err != OK) return err;
    if ((int64_t)header->size_bytes > left) return ERR_TRUNCATED;

    err = fill(scan, header->size_bytes);
    if (err != OK) return err;
    skipped = (size_t)(scan->position - scan->buffer_position);
    *batch = (struct slice){scan->buffer + skipped, header->size_bytes};
    *position = scan->position;
    scan->position += (int64_t)header->size_bytes;
    return OK;
}

void batch_scan_free(struct batch_scan *scan)
{
    free(scan->buffer);
    scan->buffer = NULL;
    scan->capacity = scan->buffer_size = 0;
}
