/* batch.h: record batches as they stand on the wire and in a segment: headers, checks, patches, runs.
 *
 *      0         8      12      16 17    21     23        27        35        43      51     53      57 61 |
 * i64     | i32  | i32   |i8| u32 | i16  | i32     | i64     | i64     | i64   | i16  | i32   | i32   | |
 * base    |length| leader|mg| crc |attri-| last    | base    | max     | produ-|produ-| base  |record |
 * records | offset  |      | epoch |ic|     |butes | offset  | time-   | time-   | cer id|cer   | sequ-
 * |count  | (maybe |         |      |       |2 |     |      | delta   | stamp   | stamp   |       |epoch |
 * ence  |       | compressed)
 *      \-- outside the checksum -------/ \-- CRC-32C over all of this
 * ------------------------------------------...
 *
 * `length` counts what follows it, so a batch is 12 + length bytes. Because base offset and leader epoch are
 * outside the checksum, a broker stamps both without reading the records.
 *
 * Segments written long ago hold entries of magic 0 and 1 (wire/legacy.h): i64 offset, i32 size, i32 crc, i8
 * magic, i8 attributes ... Headers of those are read here as well, so that storage can index, scan and cut
 * any segment: their base_offset is the entry's offset (of a compressed one: its LAST message's),
 * last_offset_delta 0, max_timestamp -1 for magic 0, producer fields -1, record_count 1, or -1 when
 * compressed.
 *
 * Units   timestamps in ms since 1970, -1 none; sizes in bytes.
 * Errors  ERR_TRUNCATED: more bytes are needed to know. ERR_CORRUPT: no bytes to come can mend it.
 * Threads pure. Source: facts/storage.md 3.1, 3.2; KIP-98, KIP-534.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "wire/codec.h"

#define BATCH_PREFIX_SIZE 12 /* base offset and length: what a scan reads to learn the size */
#define BATCH_MAGIC_END 17   /* what a scan reads to learn size and magic; an old entry's is byte 16 too */
#define BATCH_HEADER_SIZE 61 /* all of magic 2 before its records; enough to read any header */

#define BATCH_CODEC_MASK 0x07
#define BATCH_TIMESTAMP_TYPE 0x08 /* set: timestamps are the append time, which is max_timestamp */
#define BATCH_TRANSACTIONAL 0x10
#define BATCH_CONTROL 0x20
#define BATCH_DELETE_HORIZON                                                                                 \
    0x40 /* set by compaction: base_timestamp is when its tombstones may go (KIP-534) */

enum timestamp_type { TIMESTAMP_CREATE = 0, TIMESTAMP_LOG_APPEND = 1 };

#define NO_TIMESTAMP (-1LL)
#define NO_PRODUCER_ID (-1LL)
#define NO_PRODUCER_EPOCH (-1)
#define NO_SEQUENCE (-1)
#define NO_LEADER_EPOCH (-1)

struct batch_header {
    int64_t base_offset;
    size_t size_bytes; /* the whole batch, prefix included */
    int32_t partition_leader_epoch;
    int8_t magic;
    uint32_t crc;
    int16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t record_count;
};

/* The size of the batch that `in` begins with, prefix included, from its first BATCH_PREFIX_SIZE bytes. A
 * length no batch or message of any magic can have is ERR_CORRUPT: a zero tail of a preallocated segment, for
 * one. */
MUST_USE enum error batch_total_size(struct slice in, size_t *size_bytes);

/* Reads the header `in` begins with; the records need not be there. Only what the header itself shows is
 * checked: the length suffices for its magic, the magic is known, offsets do not overflow, counts are not
 * negative. After an error *header means nothing, here and below. */
MUST_USE enum error batch_header_read(struct slice in, struct batch_header *header);

static inline enum codec batch_codec(const struct batch_header *header)
{
    return (enum codec)(header->attributes & BATCH_CODEC_MASK); /* 5 to 7 are nobody's: ask codec_text() */
}
static inline enum timestamp_type batch_timestamp_type(const struct batch_header *header)
{
    return header->attributes & BATCH_TIMESTAMP_TYPE ? TIMESTAMP_LOG_APPEND : TIMESTAMP_CREATE;
}
static inline bool batch_is_transactional(const struct batch_header *header)
{
    return header->magic >= 2 && (header->attributes & BATCH_TRANSACTIONAL);
}
static inline bool batch_is_control(const struct batch_header *header)
{
    return header->magic >= 2 && (header->attributes & BATCH_CONTROL);
}
static inline bool batch_has_delete_horizon(const struct batch_header *header)
{
    return header->magic >= 2 && (header->attributes & BATCH_DELETE_HORIZON);
}
static inline int64_t batch_last_offset(const struct batch_header *header)
{
    return header->base_offset + header->last_offset_delta;
}
static inline bool batch_has_producer(const struct batch_header *header)
{
    return header->producer_id >= 0;
}
/* `sequence` + `delta`, which wraps from 2^31 - 1 to 0. delta >= 0. */
static inline int32_t sequence_add(int32_t sequence, int32_t delta)
{
    return (int32_t)(((int64_t)sequence + delta) & INT32_MAX);
}
/* NO_SEQUENCE where the batch has none. */
static inline int32_t batch_last_sequence(const struct batch_header *header)
{
    if (header->base_sequence < 0) return NO_SEQUENCE;
    return sequence_add(header->base_sequence, header->last_offset_delta);
}

/* Of a whole batch of magic 2. */
bool batch_crc_is_right(struct slice batch, const struct batch_header *header);

/* One whole batch, exactly: its size, checksum and (magic 2) that its counts do not contradict its size. Any
 * magic. Records are not looked at. ERR_CORRUPT is all it says, except ERR_TRUNCATED when `batch` is cut off.
 */
MUST_USE enum error batch_check(struct slice batch, struct batch_header *header);

/* What Kafka refuses of a client's batch by its header alone, ERR_INVALID_RECORD or ERR_CORRUPT_MESSAGE, with
 * the reason in words for the client in *why (static text). Size limits, codec and timestamps are the topic's
 * business. */
MUST_USE enum error batch_check_produced(const struct batch_header *header, const char **why);

/* Takes the next whole batch, of any magic, off the front of `run`. Checks its header, not its checksum.
 * ERR_EOF when the run is used up; ERR_TRUNCATED when a part of a batch is left (usual at the end of a
 * fetched run); `run` is left where the trouble begins. `header` may be NULL. */
MUST_USE enum error batches_next(struct slice *run, struct batch_header *header, struct slice *batch);

/* Patches of a whole batch of magic 2 in memory. The first two are outside the checksum. */
void batch_set_base_offset(uint8_t *batch, int64_t base_offset);
void batch_set_leader_epoch(uint8_t *batch, int32_t leader_epoch);
/* Sets type and largest timestamp; the checksum is made anew over all of the batch if anything changed. */
void batch_set_max_timestamp(uint8_t *batch, size_t size_bytes, enum timestamp_type type,
                             int64_t max_timestamp);
/* Producer fields, as a client stamps them on a batch it built before it knew them; makes the checksum anew.
 */
void batch_set_producer(uint8_t *batch, size_t size_bytes, int64_t producer_id, int16_t producer_epoch,
                        int32_t base_sequence, bool is_transactional);

/* The same batch with `records`, its own as batch_records() gives them, compressed otherwise: header fields stay, but for the
 * codec, the length and the checksum. `out` is emptied first. */
MUST_USE enum error batch_recompress(struct slice batch, struct slice records, enum codec codec, int level,
                                     struct text *out);

/* The records of a whole batch of magic 2, ready for record_next(): a loan from `batch`, or, when it is
 * compressed, decompressed into `scratch` (emptied first), to at most `limit_bytes`. */
MUST_USE enum error batch_records(struct slice batch, const struct batch_header *header, size_t limit_bytes,
                                  struct text *scratch, struct slice *records);
