/* index.h: the two sparse indexes of a segment.
 *
 *     .index      i32 offset - base | i32 position            every index.interval.bytes of log
 *     .timeindex  i64 timestamp | i32 offset - base           the largest timestamp so far, and where it came
 *
 * An offset entry names the last offset of a batch and where that batch begins, so everything at or beyond the position
 * has a last offset at or beyond the entry's. A time entry says: up to this offset nothing is later than this timestamp.
 *
 * The active segment's indexes are in memory and written behind (segment.h); those of older segments stay on disk and are
 * searched there, a dozen cached reads a look-up.
 *
 * Errors  ERR_CORRUPT: entries do not rise or leave their segment; the caller rebuilds from the log. ERR_AGAIN as
 *         file_pread_cached, only where asked for. Threads: pure but for the file. Source: facts/storage.md 3.4-3.6.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "loop/disk.h"

#define OFFSET_ENTRY_SIZE 8
#define TIME_ENTRY_SIZE 12

struct offset_entry {
    int32_t relative_offset;
    int32_t position;
};

struct time_entry {
    int64_t timestamp;
    int32_t relative_offset;
};

/* In memory. A zeroed struct is empty. */
struct offset_index {
    struct offset_entry *entries;
    size_t count, capacity;
    size_t written; /* of these, how many its file holds */
};

struct time_index {
    struct time_entry *entries;
    size_t count, capacity;
    size_t written;
};

void offset_index_free(struct offset_index *index);
void time_index_free(struct time_index *index);

/* Entries that do not rise are passed over: they would say nothing new. */
MUST_USE enum error offset_index_add(struct offset_index *index, int32_t relative_offset, int32_t position);
MUST_USE enum error time_index_add(struct time_index *index, int64_t timestamp, int32_t relative_offset);

/* The last entry at or below `relative_offset`; {0, 0} with none. */
struct offset_entry offset_index_floor(const struct offset_index *index, int64_t relative_offset);

/* Writes what the file does not hold yet; makes the file when it is not there, and cuts what is beyond. */
MUST_USE enum error offset_index_save(struct offset_index *index, struct disk *disk, const char *path);
MUST_USE enum error time_index_save(struct time_index *index, struct disk *disk, const char *path);

/* All of a file, checked: entries rise; positions lie below `log_size`. */
MUST_USE enum error offset_index_load(struct disk *disk, const char *path, int64_t log_size,
                                      struct offset_index *index);
MUST_USE enum error time_index_load(struct disk *disk, const char *path, struct time_index *index);

/* Searches in the file. `cached`: ERR_AGAIN rather than wait. floor: {0, 0} with none. */
MUST_USE enum error offset_index_search(struct file *file, bool cached, int64_t relative_offset,
                                        struct offset_entry *entry);
/* The last entry below `timestamp`: nothing up to its offset is as late. {-1, 0} with none. */
MUST_USE enum error time_index_search(struct file *file, int64_t timestamp, struct time_entry *entry);
/* The last entry that is not all zero; {-1, 0} with none. */
MUST_USE enum error time_index_last(struct file *file, struct time_entry *entry);

struct offset_entry offset_entry_get(const uint8_t *at);
struct time_entry time_entry_get(const uint8_t *at);
