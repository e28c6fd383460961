/* legacy.h: messages of magic 0 and 1, from before record batches.
 *
 *     i64 offset | i32 size | u32 crc | i8 magic | i8 attributes | [magic 1: i64 timestamp]
 *     i32 key size (-1 null) | key | i32 value size (-1 null) | value
 *
 * The crc is CRC-32 (IEEE) over magic to end. A compressed set is one wrapper message whose value is a
 * compressed run of messages: of magic 0 with their own absolute offsets; of magic 1 with offsets 0, 1, 2 ...
 * while the wrapper has the offset of its last one. Segments of old brokers hold them and they must stay
 * readable; nobody writes them but tests and clients of old.
 *
 * Walk a run with batches_next() (wire/batch.h); open each entry here. Slices are loans.
 * Errors ERR_CORRUPT, ERR_TRUNCATED, ERR_TOO_LARGE. Threads pure. Source: facts/storage.md 3.2.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "wire/batch.h"

#define LEGACY_OVERHEAD_V0 26 /* of a message with null key and value: 12 + 14 */
#define LEGACY_OVERHEAD_V1 34

struct legacy_message {
    int64_t offset;
    int8_t magic;
    int8_t attributes;
    int64_t timestamp; /* NO_TIMESTAMP for magic 0 */
    struct slice key, value;
};

/* One whole entry, exactly: lengths, and the crc when `check_crc`. */
MUST_USE enum error legacy_message_read(struct slice entry, bool check_crc, struct legacy_message *message);

static inline enum codec legacy_codec(const struct legacy_message *message)
{
    return (enum codec)(message->attributes & BATCH_CODEC_MASK);
}

/* The messages of one entry, deep: itself, or those a wrapper holds. */
struct legacy_walk {
    struct slice rest;
    struct legacy_message wrapper;
    int64_t offset_shift; /* added to inner offsets */
    bool is_compressed, is_done;
};

/* `scratch` (emptied first) holds what a wrapper decompresses to, at most `limit_bytes`, while the walk
 * lasts. */
MUST_USE enum error legacy_walk_open(const struct legacy_message *message, size_t limit_bytes,
                                     struct text *scratch, struct legacy_walk *walk);
/* The next message with its absolute offset, its timestamp as the wrapper rules it, and its crc checked.
 * ERR_EOF at the end. */
MUST_USE enum error legacy_walk_next(struct legacy_walk *walk, struct legacy_message *message);

/* Appends one message; `attributes` as given, crc made. Compressed sets are made from a run of these. */
MUST_USE enum error legacy_message_write(const struct legacy_message *message, struct text *out);
