/* disk.h: files and directories. Synchronous calls, for the page cache is memory; what may block (fsync, cold
 * reads) is called from a lane's worker.
 *
 * A struct file is a counted handle on a path. Its descriptor is opened when needed and may be closed again
 * when many files are in use (least recently used first; one with unsynced bytes is synced before); nobody
 * above notices. A rename through disk_rename of an open file must be followed by file_renamed.
 *
 * The last release closes and does not sync: the owner that cares syncs first.
 *
 * Threads  any thread may call anything here; two threads may use one file at once as pread/pwrite allow.
 * Errors   ERR_DISK_FULL, ERR_NOT_FOUND, ERR_EXISTS, ERR_DENIED, ERR_LIMIT, else ERR_IO. A failed file_sync
 * is final for that file's unsynced bytes: never retry, take the directory offline.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/error.h"

struct disk;
struct file;
struct loop;
struct descriptors;

/* The machine's file system (the simulator has its own constructor, loop/sim.h). */
struct disk *disk_new(struct descriptors *descriptors);
void disk_free(struct disk *disk);

enum file_flags {
    FILE_READ = 0,
    FILE_WRITE = 1,  /* read and write */
    FILE_CREATE = 2, /* with WRITE: create when absent */
    FILE_EXCLUSIVE = 4,
    FILE_TRUNCATE = 8,
    FILE_LAZY =
        16, /* opened at its first use, which then tells what is wrong; for thousands of files at start */
};

MUST_USE enum error file_open(struct disk *disk, const char *path, int flags, struct file **file);
struct file *file_retain(struct file *file);
/* Closes at the last release; clears the pointer. */
void file_release(struct file **file);
/* Reads up to size bytes; *got < size only at the end of the file. */
MUST_USE enum error file_pread(struct file *file, void *into, size_t size, int64_t position, size_t *got);
/* Only what the page cache has: ERR_AGAIN when it would wait for the disk (preadv2 RWF_NOWAIT). */
MUST_USE enum error file_pread_cached(struct file *file, void *into, size_t size, int64_t position,
                                      size_t *got);
/* True when the whole range seems to be in memory, so that sendfile would not block. Cheap and approximate.
 */
bool file_is_cached(struct file *file, int64_t position, size_t size);
/* All or nothing to the caller: on error the file may hold a part (cut it back with file_truncate). */
MUST_USE enum error file_pwrite(struct file *file, const void *data, size_t size, int64_t position);
MUST_USE enum error file_pwritev(struct file *file, const struct iovec *parts, int count, int64_t position);
MUST_USE enum error file_truncate(struct file *file, int64_t size);
/* Grows the file to at least `size`, the new bytes zero and their place on the disk reserved. */
MUST_USE enum error file_allocate(struct file *file, int64_t size);
/* Reserves place on the disk for what will be written there; the size stays, and file_truncate gives back what is beyond it.
 * ERR_UNSUPPORTED where the file system cannot. */
MUST_USE enum error file_reserve(struct file *file, int64_t position, int64_t size);
MUST_USE enum error file_size(struct file *file, int64_t *size);
/* fdatasync. The name of a new file is safe only after disk_sync_dir of its directory (and a new directory's after that of
 * its parent). */
MUST_USE enum error file_sync(struct file *file);
/* Modification time, ms since 1970. */
MUST_USE enum error file_mtime_ms(struct file *file, int64_t *mtime_ms);
void file_renamed(struct file *file, const char *new_path);
const char *file_path(const struct file *file);

/* Whole small files. */
MUST_USE enum error disk_read_file(struct disk *disk, const char *path, size_t max_size,
                                   struct bytes **bytes);
/* path.tmp, write, fsync, rename over, fsync of the directory: readers see the old or the new, never a
 * mixture. */
MUST_USE enum error disk_write_file_atomic(struct disk *disk, const char *path, struct slice content);
MUST_USE enum error disk_rename(struct disk *disk, const char *from, const char *to);
MUST_USE enum error disk_unlink(struct disk *disk, const char *path);
MUST_USE enum error disk_mkdir(struct disk *disk, const char *path); /* parents too; existing is OK */
MUST_USE enum error disk_rmdir(struct disk *disk, const char *path);
MUST_USE enum error disk_remove_tree(struct disk *disk, const char *path);
MUST_USE enum error disk_sync_dir(struct disk *disk, const char *path);
/* All that was written to anything below `path`, and the names there (syncfs: all of its file system). For stopping, where it
 * stands for very many file_syncs. */
MUST_USE enum error disk_sync_all(struct disk *disk, const char *path);
bool disk_exists(struct disk *disk, const char *path);

struct disk_entry {
    char *name;
    bool is_dir;
    int64_t size;
};
/* Sorted by name; without "." and "..". Free with disk_list_free. */
MUST_USE enum error disk_list(struct disk *disk, const char *path, struct disk_entry **entries,
                              size_t *count);
void disk_list_free(struct disk_entry *entries, size_t count);

/* An exclusive lock on a file, held until released or the process ends (POSIX record lock, as Java's
 * FileLock). ERR_BUSY when another process has it. */
struct disk_lock;
MUST_USE enum error disk_lock(struct disk *disk, const char *path, struct disk_lock **lock);
void disk_unlock(struct disk_lock **lock);

/* What this boot of the machine is called: it is another one whenever the page cache was lost. ERR_UNSUPPORTED where the kernel
 * does not say. */
enum { DISK_BOOT_ID_SIZE = 64 };
MUST_USE enum error disk_boot_id(struct disk *disk, char id[DISK_BOOT_ID_SIZE]);

/* Free and total bytes of the file system that holds `path`. */
MUST_USE enum error disk_space(struct disk *disk, const char *path, int64_t *free_bytes,
                               int64_t *total_bytes);
