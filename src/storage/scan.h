/* scan.h: walking the batches of a segment file: by headers alone, or whole.
 *
 * Errors  ERR_EOF at `end`. ERR_TRUNCATED: the last batch is cut off; ERR_CORRUPT: no batch can begin here. The position
 *         then stays where the trouble begins. ERR_AGAIN where `cached` and the disk would have to be waited for.
 * Threads one user each; the file may be shared.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "loop/disk.h"
#include "wire/batch.h"

/* Headers only; reads through a window of the caller's. */
struct header_scan {
    struct file *file;
    int64_t position, end;
    bool cached;
    uint8_t *window;
    size_t window_capacity; /* at least BATCH_HEADER_SIZE */
    int64_t window_position;
    size_t window_size;
};
MUST_USE enum error header_scan_next(struct header_scan *scan, struct batch_header *header,
                                     int64_t *position);

/* The first batch at or after start_position whose last offset is >= offset. ERR_EOF: none. When start_position is nobody's
 * beginning (a damaged index), the scan begins anew at 0. */
MUST_USE enum error scan_find(struct file *file, int64_t start_position, int64_t end, bool cached,
                              int64_t offset, struct batch_header *header, int64_t *position);

/* Whole batches, in one buffer of its own; the slice lives until the next call. */
struct batch_scan {
    struct file *file;
    int64_t position, end;
    uint8_t *buffer;
    size_t capacity;
    int64_t buffer_position;
    size_t buffer_size;
};
MUST_USE enum error batch_scan_next(struct batch_scan *scan, struct batch_header *header, struct slice *batch,
                                    int64_t *position);
void batch_scan_free(struct batch_scan *scan);
