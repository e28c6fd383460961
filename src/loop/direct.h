/* direct.h: writes that are on the disk when they are done, without a worker and without the page cache.
 *
 *     direct_write --> a ring of the loop's in the kernel (io_uring) --> the disk --> done, in a later turn of the loop
 *
 * A sync on a worker costs two wake-ups, of the worker by the loop and of the loop by the worker, which are more than the sync
 * itself. Here the loop hands one write to the kernel (O_DIRECT, with RWF_DSYNC) and goes on; nothing waits for the disk.
 *
 * It pays where the blocks have been written before (with zeros, say, and synced), so that no metadata changes: elsewhere it is
 * right, but the kernel may do it on a thread of its own. What others read of the file through file_pread is the same as ever.
 *
 * Units    whole blocks: position and size are multiples of DIRECT_BLOCK_BYTES.
 * Owner    the caller, who never has two writes under way, nor a write and a file_pwrite of the same blocks.
 * Threads  the loop's, except direct_open: any thread, while no write is under way.
 * Errors   ERR_UNSUPPORTED: an older kernel (before 5.6), one that forbids io_uring (containers do), a file system without
 *          O_DIRECT. Of a write ERR_AGAIN, ERR_UNSUPPORTED and ERR_DISK_FULL say that it must be made again, all of it, with
 *          file_pwrite and file_sync; any other is a failed sync, and final as in disk.h.
 * Source   io_uring_setup(2), io_uring_enter(2), open(2).
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct loop;
struct disk;
struct direct;

enum {
    DIRECT_BLOCK_BYTES = 4096,
    DIRECT_WRITE_MAX = 64 << 10,
};

struct direct_events {
    void (*done)(void *context, enum error err);
};

MUST_USE enum error direct_new(struct loop *loop, struct disk *disk, const struct direct_events *events,
                               void *context, struct direct **direct);
/* Goes on with this file, which exists. What the page cache has of it, and the disk too, is dropped: a write would have to throw its
 * page out first, for which it would wait on a thread of the kernel's. */
MUST_USE enum error direct_open(struct direct *direct, const char *path);
/* DIRECT_WRITE_MAX bytes for what is to be written; not to be touched while a write is under way. */
uint8_t *direct_buffer(struct direct *direct);
/* Writes the first `size` bytes of the buffer; `done` comes in a later turn. An error: nothing was begun. */
MUST_USE enum error direct_write(struct direct *direct, size_t size, int64_t position);
/* No write is under way. Clears the pointer. */
void direct_free(struct direct **direct);
