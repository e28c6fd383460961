/* entries.h: the newest entries of the log, in memory: what is yet to be written, sent or applied, and some more for members that lag a
 * little. Older ones are read from the files.
 *
 *     first          next
 *     |41|42|43|...|90|          a ring of slots; their bytes lie in blocks of many entries, freed when all of a block's are gone
 *
 * Threads  the loop's. Errors  ERR_NOMEM, which leaves all as it was.
 */
#pragma once
#include "quorum/frames.h"

struct entry_block;

struct entry_slot {
    uint64_t term;
    enum entry_kind kind;
    uint32_t size;
    const uint8_t *data;
    struct entry_block *block;
};

struct entries {
    struct entry_slot *slots; /* by index, modulo capacity, a power of two */
    uint64_t first, next;     /* first == next: none */
    size_t capacity, bytes;
    struct entry_block *filling;
};

/* Empty, going on at `next`. */
void entries_reset(struct entries *entries, uint64_t next);
/* Copies. The entry's index is entries->next. */
MUST_USE enum error entries_append(struct entries *entries, uint64_t term, enum entry_kind kind,
                                   const struct slice *parts, int count);
/* From `index` on they are void. */
void entries_cut(struct entries *entries, uint64_t index);
/* Lets go of old ones below `index` while there are more bytes than `kept_bytes`. */
void entries_trim(struct entries *entries, uint64_t index, size_t kept_bytes);
/* A loan until the next call that is not this one. False: it is not here. */
bool entries_get(const struct entries *entries, uint64_t index, struct frame_entry *entry);
