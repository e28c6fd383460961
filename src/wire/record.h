/* record.h: the records inside a batch of magic 2: reading, judging, building.
 *
 *     varint length | i8 attributes (0) | varlong timestamp delta | varint offset delta
 *     varint key size (-1 null) | key | varint value size (-1 null) | value
 *     varint header count | { varint size | name (UTF-8, never null) | varint size (-1 null) | value } ...
 *
 * All slices of a struct record are loans from the bytes it was read from.
 * Errors  ERR_CORRUPT for malformed records; ERR_INVALID_RECORD from records_check, which speaks to a client.
 * Threads pure; a batch_builder belongs to one owner. Source: facts/storage.md 3.1, 4.2.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "wire/batch.h"

struct record {
    int8_t attributes;
    int64_t timestamp_delta; /* to the batch's base_timestamp */
    int32_t offset_delta;    /* to the batch's base_offset */
    struct slice key, value; /* data NULL = null */
    int32_t header_count;
    struct slice headers; /* for record_header_next() */
};

struct record_header {
    struct slice key, value;
};

/* Takes the next record off the front of `records`. ERR_EOF when none is left. Headers are walked once here,
 * so record_header_next() on them cannot fail. */
MUST_USE enum error record_next(struct slice *records, struct record *record);
/* False when none is left. */
bool record_header_next(struct slice *headers, struct record_header *header);

static inline int64_t record_offset(const struct batch_header *batch, const struct record *record)
{
    return batch->base_offset + record->offset_delta;
}
static inline int64_t record_timestamp(const struct batch_header *batch, const struct record *record)
{
    if (batch_timestamp_type(batch) == TIMESTAMP_LOG_APPEND) return batch->max_timestamp;
    return (int64_t)((uint64_t)batch->base_timestamp + (uint64_t)record->timestamp_delta);
}

/* What one pass over a produced batch's records finds. Timestamps are those of the records, base + delta,
 * whatever the batch's timestamp type. */
struct records_report {
    int64_t max_timestamp;              /* NO_TIMESTAMP when all are -1 */
    int32_t max_timestamp_offset_delta; /* the first record that has it */
    int64_t min_timestamp;              /* of those that are not -1; INT64_MAX when none is */
    int32_t null_key_count;
    int32_t first_null_key; /* index, -1 when none */
    size_t records_bytes;   /* uncompressed */
    int32_t fault_index;    /* on ERR_INVALID_RECORD: which record, -1 the batch */
    const char *fault;      /* and why, in words for the client (static text) */
};

/* Judges all records of a batch in one pass, with no allocation: each length, the count, offset deltas 0, 1,
 * 2 ..., headers, nothing left over. `report` is also written on ERR_INVALID_RECORD (fault, fault_index). */
MUST_USE enum error records_check(const struct batch_header *batch, struct slice records,
                                  struct records_report *report);

/* --- building --- */

struct batch_options {
    enum codec codec;
    int level; /* codec_default_level(codec) where it does not matter */
    enum timestamp_type timestamp_type;
    int64_t append_time; /* max_timestamp of a TIMESTAMP_LOG_APPEND batch */
    int64_t base_offset;
    int32_t partition_leader_epoch;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    bool is_transactional;
    bool is_control;
    bool has_delete_horizon;
    int64_t delete_horizon; /* becomes the base timestamp */
};

/* No codec, no producer, offset 0, leader epoch -1: what a client or coordinator writes. */
#define BATCH_OPTIONS_DEFAULT                                                                                \
    ((struct batch_options){.append_time = NO_TIMESTAMP,                                                     \
                            .partition_leader_epoch = NO_LEADER_EPOCH,                                       \
                            .producer_id = NO_PRODUCER_ID,                                                   \
                            .producer_epoch = NO_PRODUCER_EPOCH,                                             \
                            .base_sequence = NO_SEQUENCE})

/* One batch at a time; its memory is kept between batches. A zeroed builder is ready for
 * batch_builder_start(). */
struct batch_builder {
    struct batch_options options;
    struct text batch;      /* header, then records as they are added */
    struct text compressed; /* the finished batch, when a codec is set */
    int32_t record_count;
    int32_t last_offset_delta; /* -1 before the first record */
    int64_t base_timestamp, max_timestamp;
};

void batch_builder_free(struct batch_builder *builder);
void batch_builder_start(struct batch_builder *builder, const struct batch_options *options);
/* ERR_NOMEM or ERR_TOO_LARGE (a record, or the batch, beyond 2 GiB), then the batch is as it was. */
MUST_USE enum error batch_builder_add(struct batch_builder *builder, int64_t timestamp, struct slice key,
                                      struct slice value, const struct record_header *headers,
                                      int32_t header_count);
/* The same at a chosen offset delta above the last one: compaction leaves gaps. */
MUST_USE enum error batch_builder_add_at(struct batch_builder *builder, int32_t offset_delta,
                                         int64_t timestamp, struct slice key, struct slice value,
                                         const struct record_header *headers, int32_t header_count);
/* Bytes so far, header included, before compression. */
size_t batch_builder_size(const struct batch_builder *builder);
/* What one more record would add, at most. */
size_t batch_record_size_max(struct slice key, struct slice value, const struct record_header *headers,
                             int32_t header_count);
/* The finished batch, of one record at least: a loan until the next start or free. */
MUST_USE enum error batch_builder_finish(struct batch_builder *builder, struct slice *batch);
/* The same with a last offset delta of at least that of its last record; without records, too: what compaction leaves of a
 * batch keeps its offsets and its sequence. */
MUST_USE enum error batch_builder_finish_to(struct batch_builder *builder, int32_t last_offset_delta,
                                            struct slice *batch);

/* --- control records --- */

enum control_type {
    CONTROL_ABORT = 0,
    CONTROL_COMMIT = 1,
    CONTROL_LEADER_CHANGE = 2, /* this and higher: KRaft's metadata log */
    CONTROL_SNAPSHOT_HEADER = 3,
    CONTROL_SNAPSHOT_FOOTER = 4,
    CONTROL_KRAFT_VERSION = 5,
    CONTROL_KRAFT_VOTERS = 6,
};

#define END_TXN_MARKER_SIZE 78

struct control_record {
    int16_t type;              /* enum control_type, or one that came later: tolerate it */
    int32_t coordinator_epoch; /* of ABORT and COMMIT, else -1 */
};

/* Writes the batch that ends a transaction in a partition: one control record, END_TXN_MARKER_SIZE bytes. */
void end_txn_marker_write(uint8_t out[END_TXN_MARKER_SIZE], int64_t producer_id, int16_t producer_epoch,
                          int32_t coordinator_epoch, bool is_commit, int64_t timestamp);
/* From key and value of the one record of a control batch. */
MUST_USE enum error control_record_read(const struct record *record, struct control_record *control);
