/* vote.h: what a member has promised: its term and whom it voted for in it, and who it is, in PREFIXvote.
 *
 *     byte 0     "odrq-vot" version u32 crc u32 | number u64 term u64 vote u32 flags u32 incarnation u64      48 bytes
 *     byte 4096  the same
 *
 * Two slots, written in turn and each in a page of its own, so that a write torn by a crash leaves the one before it. The greater
 * number counts. Numbers are big-endian, the checksum is CRC-32C over all but itself.
 *
 * Threads  any one at a time: a worker's. Errors  ERR_NOT_FOUND: there is none; ERR_CORRUPT: neither slot is whole;
 * ERR_UNSUPPORTED_VERSION.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct disk;
struct file;

enum { VOTE_FORMAT = 1, VOTE_SLOT_SIZE = 48, VOTE_SLOT_STEP = 4096 };

struct vote {
    uint64_t term;
    int32_t voted_for;    /* 0: nobody */
    bool is_founder;      /* has founded the quorum, so it may vote without being named by its incarnation */
    uint64_t incarnation; /* of the directory; never 0 */
};

struct vote_file {
    struct file *file;
    uint64_t number; /* of the last slot written */
};

void vote_slot_encode(const struct vote *vote, uint64_t number, uint8_t out[VOTE_SLOT_SIZE]);
MUST_USE enum error vote_slot_decode(struct slice slot, struct vote *vote, uint64_t *number);

/* Reads both slots. `path` is a loan. */
MUST_USE enum error vote_open(struct disk *disk, const char *path, struct vote_file *file, struct vote *vote);
/* Made in one piece with its name on the disk (that of the directory is the caller's work). */
MUST_USE enum error vote_create(struct disk *disk, const char *path, const struct vote *vote,
                                struct vote_file *file);
/* Into the other slot, synced. After an error the slot may be torn: write again before relying on it. */
MUST_USE enum error vote_write(struct vote_file *file, const struct vote *vote);
void vote_close(struct vote_file *file);
