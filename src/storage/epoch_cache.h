/* epoch_cache.h: which leader wrote which offsets of one partition.
 *
 *     offset   0             120             340         500 = log end
 *              |-- epoch 0 --|--- epoch 2 ---|- epoch 5 -|
 *
 * A follower asks its leader "where did epoch 2 end?", hears 340, and cuts its own log there.
 * That one question keeps two replicas from telling different stories.
 *
 * Units   epoch counts leader elections, offset counts records, both from 0; -1 is unknown.
 * Shape   sorted: epoch and start_offset both strictly rise. 16 bytes for each leader that wrote.
 * Owner   the partition's loop, so no lock. A zeroed struct is an empty cache.
 * Errors  ERR_NOMEM from assign, which then leaves the cache as it was; ERR_CORRUPT from read.
 * Source  KIP-101, KIP-279. Its file, leader-epoch-checkpoint: facts/storage.md 1, 4.5.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"

struct epoch_entry {
    int32_t epoch;
    int64_t start_offset; /* of its first record */
};

struct epoch_end {
    int32_t epoch;
    int64_t end_offset; /* one past its last record */
};

struct epoch_cache {
    struct epoch_entry *entries;
    size_t count, capacity;
};

void epoch_cache_free(struct epoch_cache *cache);

/* `epoch` writes from `start_offset` on. Entries that contradict this are dropped, for the newest
 * leader is right. Assigning the current epoch again changes nothing. */
MUST_USE enum error epoch_cache_assign(struct epoch_cache *cache, int32_t epoch, int64_t start_offset);

/* Where `epoch` ended. The newest is still growing, so at `log_end`. One that wrote nothing answers
 * for the one before it or, with none left before it, our first offset. The future is {-1, -1}. */
struct epoch_end epoch_cache_end(const struct epoch_cache *cache, int32_t epoch, int64_t log_end);

/* The epoch that wrote `offset`, -1 when it is before our first entry. */
int32_t epoch_cache_of(const struct epoch_cache *cache, int64_t offset);

/* The log now ends, or begins, at `offset`. The epoch that the log's first offset belongs to keeps an entry,
 * moved up to it, and so does the newest of an emptied log: the next question needs it. True when something
 * changed. */
bool epoch_cache_cut_end(struct epoch_cache *cache, int64_t offset);
bool epoch_cache_cut_start(struct epoch_cache *cache, int64_t offset);

/* The text of leader-epoch-checkpoint. read: ERR_CORRUPT, *cache untouched. Entries that do not rise are
 * resolved as if assigned in the file's order. */
void epoch_cache_write(const struct epoch_cache *cache, struct text *text);
MUST_USE enum error epoch_cache_read(struct slice text, struct epoch_cache *cache);
