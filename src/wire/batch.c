#include "wire/batch.h"

#include <assert.h>

#include "wire/crc32c.h"
#include "wire/legacy.h"

/* Offsets of fields within a batch of magic 2. */
enum {
    AT_BASE_OFFSET = 0,
    AT_LENGTH = 8,
    AT_LEADER_EPOCH = 12,
    AT_MAGIC = 16,
    AT_CRC = 17,
    AT_ATTRIBUTES = 21,
    AT_LAST_OFFSET_DELTA = 23,
    AT_BASE_TIMESTAMP = 27,
    AT_MAX_TIMESTAMP = 35,
    AT_PRODUCER_ID = 43,
    AT_PRODUCER_EPOCH = 51,
    AT_BASE_SEQUENCE = 53,
    AT_RECORD_COUNT = 57,
    /* and of magic 0 and 1 */
    AT_OLD_CRC = 12,
    AT_OLD_ATTRIBUTES = 17,
    AT_OLD_TIMESTAMP = 18,
};

/* A message of magic 0 after its prefix: crc, magic, attributes, two null lengths. */
#define OLD_LENGTH_MIN 14
/* The smallest record: length, attributes, two deltas, key, value and header count, a byte each. */
#define RECORD_SIZE_MIN 7

enum error batch_total_size(struct slice in, size_t *size_bytes)
{
    if (in.size < BATCH_PREFIX_SIZE) return ERR_TRUNCATED;
    int32_t length = (int32_t)get_be32(in.data + AT_LENGTH);
    if (length < OLD_LENGTH_MIN) return ERR_CORRUPT;
    *size_bytes = BATCH_PREFIX_SIZE + (size_t)length;
    return OK;
}

static enum error old_header_read(struct slice in, size_t size_bytes, int8_t magic,
                                  struct batch_header *header)
{
    size_t fixed = magic == 0 ? LEGACY_OVERHEAD_V0 : LEGACY_OVERHEAD_V1;
    if (size_bytes < fixed) return ERR_CORRUPT;
    if (in.size < fixed - 8) return ERR_TRUNCATED; /* up to the key's length */

    int8_t attributes = (int8_t)in.data[AT_OLD_ATTRIBUTES];
    int64_t timestamp = magic == 0 ? NO_TIMESTAMP : (int64_t)get_be64(in.data + AT_OLD_TIMESTAMP);
    *header = (struct batch_header){
        .base_offset = (int64_t)get_be64(in.data + AT_BASE_OFFSET),
        .size_bytes = size_bytes,
        .partition_leader_epoch = NO_LEADER_EPOCH,
        .magic = magic,
        .crc = get_be32(in.data + AT_OLD_CRC),
        .attributes = attributes,
        .base_timestamp = timestamp,
        .max_timestamp = timestamp,
        .producer_id = NO_PRODUCER_ID,
        .producer_epoch = NO_PRODUCER_EPOCH,
        .base_sequence = NO_SEQUENCE,
        .record_count = attributes & BATCH_CODEC_MASK ? -1 : 1,
    };
    return OK;
}

enum error batch_header_read(struct slice in, struct batch_header *header)
{
    size_t size_bytes;
    enum error err = batch_total_size(in, &size_bytes);
    if (err != OK) return err;
    if (in.size < BATCH_MAGIC_END) return ERR_TRUNCATED;

    const uint8_t *at = in.data;
    int8_t magic = (int8_t)at[AT_MAGIC];
    if (magic < 0 || magic > 2) return ERR_CORRUPT;

    /* Field by field into the caller's: a copy of the whole right behind its fields waits for each of them to reach the
     * cache, and a produced batch is read some five times. */
    if (magic < 2) {
        err = old_header_read(in, size_bytes, magic, header);
        if (err != OK) return err;
    } else {
        if (size_bytes < BATCH_HEADER_SIZE) return ERR_CORRUPT;
        if (in.size < BATCH_HEADER_SIZE) return ERR_TRUNCATED;
        header->base_offset = (int64_t)get_be64(at + AT_BASE_OFFSET);
        header->size_bytes = size_bytes;
        header->partition_leader_epoch = (int32_t)get_be32(at + AT_LEADER_EPOCH);
        header->magic = magic;
        header->crc = get_be32(at + AT_CRC);
        header->attributes = (int16_t)get_be16(at + AT_ATTRIBUTES);
        header->last_offset_delta = (int32_t)get_be32(at + AT_LAST_OFFSET_DELTA);
        header->base_timestamp = (int64_t)get_be64(at + AT_BASE_TIMESTAMP);
        header->max_timestamp = (int64_t)get_be64(at + AT_MAX_TIMESTAMP);
        header->producer_id = (int64_t)get_be64(at + AT_PRODUCER_ID);
        header->producer_epoch = (int16_t)get_be16(at + AT_PRODUCER_EPOCH);
        header->base_sequence = (int32_t)get_be32(at + AT_BASE_SEQUENCE);
        header->record_count = (int32_t)get_be32(at + AT_RECORD_COUNT);
    }
    /* INT64_MAX is no offset: "one past the last" must be one too. */
    if (header->base_offset < 0 || header->last_offset_delta < 0) return ERR_CORRUPT;
    if (header->base_offset >= INT64_MAX - header->last_offset_delta) return ERR_CORRUPT;
    if (magic == 2 && header->record_count < 0) return ERR_CORRUPT;
    return OK;
}

bool batch_crc_is_right(struct slice batch, const struct batch_header *header)
{
    return crc32c(0, batch.data + AT_ATTRIBUTES, batch.size - AT_ATTRIBUTES) == header->crc;
}

enum error batch_check(struct slice batch, struct batch_header *header)
{
    struct batch_header own, *read = header ? header : &own;
    enum error err = batch_header_read(batch, read);
    if (err != OK) return err;
    if (batch.size < read->size_bytes) return ERR_TRUNCATED;
    if (batch.size > read->size_bytes) return ERR_CORRUPT;

    if (read->magic < 2) {
        struct legacy_message message;
        err = legacy_message_read(batch, true, &message);
    } else {
        /* Compaction removes records but keeps the last offset, so fewer than the delta says is right, more
         * is not. */
        bool is_crowded = read->record_count > (int64_t)read->last_offset_delta + 1;
        bool is_small = batch_codec(read) == CODEC_NONE &&
                        (read->size_bytes - BATCH_HEADER_SIZE) / RECORD_SIZE_MIN < (size_t)read->record_count;
        if (is_crowded || is_small || !batch_crc_is_right(batch, read)) err = ERR_CORRUPT;
    }
    return err;
}

enum error batch_check_produced(const struct batch_header *header, const char **why)
{
    enum error err = ERR_INVALID_RECORD;
    if (header->magic != 2) {
        *why = "a message format older than record batches (magic 2)";
    } else if (header->base_offset != 0) {
        *why = "the base offset of a produced batch is not 0";
    } else if (header->record_count <= 0) {
        *why = "a produced batch has no records";
    } else if (header->record_count != (int64_t)header->last_offset_delta + 1) {
        *why = "the record count is not the last offset delta plus one";
    } else if (batch_is_control(header)) {
        *why = "clients may not write control batches";
    } else if (header->producer_id >= 0 && header->base_sequence < 0) {
        *why = "a producer id without a sequence number";
    } else if (header->producer_id >= 0 && header->producer_epoch < 0) {
        *why = "a producer id without a producer epoch";
    } else if (header->producer_id < 0 && batch_is_transactional(header)) {
        *why = "a transactional batch without a producer id";
    } else if (!codec_text(batch_codec(header))) {
        *why = "an unknown compression type";
    } else {
        err = OK;
    }
    return err;
}

enum error batches_next(struct slice *run, struct batch_header *header, struct slice *batch)
{
    if (run->size == 0) return ERR_EOF;
    struct batch_header own, *read = header ? header : &own;
    enum error err = batch_header_read(*run, read);
    if (err != OK) return err;
    if (run->size < read->size_bytes) return ERR_TRUNCATED;
    *batch = (struct slice){run->data, read->size_bytes};
    run->data += read->size_bytes;
    run->size -= read->size_bytes;
    return OK;
}

static void batch_checksum(uint8_t *batch, size_t size_bytes)
{
    put_be32(batch + AT_CRC, crc32c(0, batch + AT_ATTRIBUTES, size_bytes - AT_ATTRIBUTES));
}

void batch_set_base_offset(uint8_t *batch, int64_t base_offset)
{
    put_be64(batch + AT_BASE_OFFSET, (uint64_t)base_offset);
}

void batch_set_leader_epoch(uint8_t *batch, int32_t leader_epoch)
{
    assert(batch[AT_MAGIC] == 2);
    put_be32(batch + AT_LEADER_EPOCH, (uint32_t)leader_epoch);
}

void batch_set_max_timestamp(uint8_t *batch, size_t size_bytes, enum timestamp_type type,
                             int64_t max_timestamp)
{
    assert(batch[AT_MAGIC] == 2);
    assert(size_bytes >= BATCH_HEADER_SIZE);
    uint16_t attributes = get_be16(batch + AT_ATTRIBUTES);
    uint16_t patched = (uint16_t)(attributes & ~BATCH_TIMESTAMP_TYPE);
    if (type == TIMESTAMP_LOG_APPEND) patched |= BATCH_TIMESTAMP_TYPE;
    if (patched == attributes && (int64_t)get_be64(batch + AT_MAX_TIMESTAMP) == max_timestamp) return;
    put_be16(batch + AT_ATTRIBUTES, patched);
    put_be64(batch + AT_MAX_TIMESTAMP, (uint64_t)max_timestamp);
    batch_checksum(batch, size_bytes);
}

void batch_set_producer(uint8_t *batch, size_t size_bytes, int64_t producer_id, int16_t producer_epoch,
                        int32_t base_sequence, bool is_transactional)
{
    assert(batch[AT_MAGIC] == 2);
    assert(size_bytes >= BATCH_HEADER_SIZE);
    uint16_t attributes = (uint16_t)(get_be16(batch + AT_ATTRIBUTES) & ~BATCH_TRANSACTIONAL);
    if (is_transactional) attributes |= BATCH_TRANSACTIONAL;
    put_be16(batch + AT_ATTRIBUTES, attributes);
    put_be64(batch + AT_PRODUCER_ID, (uint64_t)producer_id);
    put_be16(batch + AT_PRODUCER_EPOCH, (uint16_t)producer_epoch);
    put_be32(batch + AT_BASE_SEQUENCE, (uint32_t)base_sequence);
    batch_checksum(batch, size_bytes);
}

enum error batch_records(struct slice batch, const struct batch_header *header, size_t limit_bytes,
                         struct text *scratch, struct slice *records)
{
    assert(header->magic == 2);
    assert(batch.size >= BATCH_HEADER_SIZE);
    struct slice body = {batch.data + BATCH_HEADER_SIZE, batch.size - BATCH_HEADER_SIZE};
    if (batch_codec(header) == CODEC_NONE) {
        *records = body;
        return OK;
    }
    text_reset(scratch);
    enum error err = codec_decompress(batch_codec(header), body, limit_bytes, scratch);
    if (err == OK) *records = text_slice(scratch);
    return err;
}

enum error batch_recompress(struct slice batch, struct slice records, enum codec codec, int level,
                            struct text *out)
{
    assert(batch.size >= BATCH_HEADER_SIZE && batch.data[AT_MAGIC] == 2);
    text_reset(out);
    text_add(out, (struct slice){batch.data, BATCH_HEADER_SIZE});
    if (out->failed) return ERR_NOMEM;
    enum error err = codec_compress(codec, level, records, out);
    if (err == OK && out->size > INT32_MAX) err = ERR_TOO_LARGE;
    if (err != OK) return err;
    uint8_t *made = (uint8_t *)out->data;
    uint16_t attributes = (uint16_t)(get_be16(made + AT_ATTRIBUTES) & ~BATCH_CODEC_MASK);
    put_be16(made + AT_ATTRIBUTES, (uint16_t)(attributes | codec));
    put_be32(made + AT_LENGTH, (uint32_t)(out->size - BATCH_PREFIX_SIZE));
    batch_checksum(made, out->size);
    return OK;
}
