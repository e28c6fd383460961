/* txn_index.h: which transactions of a segment were aborted, so that readers of committed data skip them.
 *
 *     i16 version 0 | i64 producer id | i64 first offset | i64 last offset (its marker's) | i64 last stable offset
 *
 * Ordered by last offset. Lies in the segment that holds the abort marker, and exists only where one does. The last stable
 * offset is the one right after this abort: a search may stop there.
 *
 * Errors  ERR_CORRUPT. Threads: pure but for the file. Source: facts/storage.md 3.7.
 */
#pragma once
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "loop/disk.h"

#define TXN_ENTRY_SIZE 34

struct txn_entry {
    int64_t producer_id, first_offset, last_offset, last_stable_offset;
};

void txn_entry_put(uint8_t out[TXN_ENTRY_SIZE], const struct txn_entry *entry);
/* ERR_UNSUPPORTED for another version. */
MUST_USE enum error txn_entry_get(const uint8_t *at, struct txn_entry *entry);

/* Appends one, making the file if need be. */
MUST_USE enum error txn_index_append(struct disk *disk, const char *path, const struct txn_entry *entry);
/* ERR_CORRUPT: no whole entries, or they do not rise, or begin before 0 or last before `base_offset`. */
MUST_USE enum error txn_index_check(struct slice content, int64_t base_offset);
/* Drops entries with last_offset >= offset; OK when there is no file. */
MUST_USE enum error txn_index_cut(struct disk *disk, const char *path, int64_t offset);
