/* batch_builder.c: batches from records. The header's place is kept while records are added and filled in
 * when the batch is finished, for only then are its counts and its size known. */
#include <assert.h>
#include <string.h>

#include "base/vec.h"
#include "wire/crc32c.h"
#include "wire/record.h"
#include "wire/varint.h"

/* Java's ints bound a batch; a little less, so that the 12 bytes before the counted ones fit as well. */
#define BATCH_SIZE_MAX ((size_t)INT32_MAX - BATCH_PREFIX_SIZE)

void batch_builder_free(struct batch_builder *builder)
{
    text_free(&builder->batch);
    text_free(&builder->compressed);
    *builder = (struct batch_builder){0};
}

void batch_builder_start(struct batch_builder *builder, const struct batch_options *options)
{
    builder->options = *options;
    text_reset(&builder->batch);
    builder->record_count = 0;
    builder->last_offset_delta = -1;
    builder->base_timestamp = options->has_delete_horizon ? options->delete_horizon : NO_TIMESTAMP;
    builder->max_timestamp = NO_TIMESTAMP;
}

static size_t nullable_size(struct slice s)
{
    return s.data ? varint32_size((int32_t)s.size) + s.size : 1;
}

static uint8_t *nullable_put(uint8_t *at, struct slice s)
{
    at += varint32_put(at, s.data ? (int32_t)s.size : -1);
    if (s.size) memcpy(at, s.data, s.size);
    return at + s.size;
}

/* SIZE_MAX when beyond what a batch can hold. */
static size_t variable_size(struct slice key, struct slice value, const struct record_header *headers,
                            int32_t header_count)
{
    if (key.size > BATCH_SIZE_MAX || value.size > BATCH_SIZE_MAX) return SIZE_MAX;
    size_t size = nullable_size(key) + nullable_size(value) + varint32_size(header_count);
    for (int32_t i = 0; i < header_count && size <= BATCH_SIZE_MAX; i++) {
        if (headers[i].key.size > BATCH_SIZE_MAX || headers[i].value.size > BATCH_SIZE_MAX) return SIZE_MAX;
        size += nullable_size(headers[i].key) + nullable_size(headers[i].value);
    }
    return size <= BATCH_SIZE_MAX ? size : SIZE_MAX;
}

size_t batch_record_size_max(struct slice key, struct slice value, const struct record_header *headers,
                             int32_t header_count)
{
    size_t size = variable_size(key, value, headers, header_count);
    if (size == SIZE_MAX) return SIZE_MAX;
    return size + VARINT32_MAX + 1 + VARINT64_MAX + VARINT32_MAX;
}

size_t batch_builder_size(const struct batch_builder *builder)
{
    return builder->batch.size > 0 ? builder->batch.size : BATCH_HEADER_SIZE;
}

enum error batch_builder_add_at(struct batch_builder *builder, int32_t offset_delta, int64_t timestamp,
                                struct slice key, struct slice value, const struct record_header *headers,
                                int32_t header_count)
{
    assert(offset_delta > builder->last_offset_delta);
    assert(header_count >= 0);
    for (int32_t i = 0; i < header_count; i++) assert(headers[i].key.data);

    bool is_first = builder->record_count == 0;
    int64_t base = is_first && !builder->options.has_delete_horizon ? timestamp : builder->base_timestamp;
    int64_t timestamp_delta = (int64_t)((uint64_t)timestamp - (uint64_t)base);

    size_t variable = variable_size(key, value, headers, header_count);
    if (variable == SIZE_MAX) return ERR_TOO_LARGE;
    size_t body = 1 + varint64_size(timestamp_delta) + varint32_size(offset_delta) + variable;
    size_t size = builder->batch.size > 0 ? builder->batch.size : BATCH_HEADER_SIZE;
    if (body + VARINT32_MAX > BATCH_SIZE_MAX - size) return ERR_TOO_LARGE;
    size_t record = varint32_size((int32_t)body) + body;
    struct text *text = &builder->batch;
    if (!vec_grow((void **)&text->data, &text->capacity, size + record + 1, 1)) return ERR_NOMEM;

    uint8_t *at = (uint8_t *)text->data + size;
    at += varint32_put(at, (int32_t)body);
    *at++ = 0; /* attributes: none are defined */
    at += varint64_put(at, timestamp_delta);
    at += varint32_put(at, offset_delta);
    at = nullable_put(at, key);
    at = nullable_put(at, value);
    at += varint32_put(at, header_count);
    for (int32_t i = 0; i < header_count; i++) {
        at = nullable_put(at, headers[i].key);
        at = nullable_put(at, headers[i].value);
    }
    text->size = size + record;
    assert(at == (uint8_t *)text->data + text->size);

    builder->base_timestamp = base;
    if (timestamp > builder->max_timestamp) builder->max_timestamp = timestamp;
    builder->last_offset_delta = offset_delta;
    builder->record_count++;
    return OK;
}

enum error batch_builder_add(struct batch_builder *builder, int64_t timestamp, struct slice key,
                             struct slice value, const struct record_header *headers, int32_t header_count)
{
    if (builder->last_offset_delta == INT32_MAX) return ERR_TOO_LARGE;
    return batch_builder_add_at(builder, builder->last_offset_delta + 1, timestamp, key, value, headers,
                                header_count);
}

static void header_put(uint8_t *at, const struct batch_builder *builder, int32_t last_offset_delta,
                       size_t size)
{
    const struct batch_options *options = &builder->options;
    bool is_append_time = options->timestamp_type == TIMESTAMP_LOG_APPEND;
    uint16_t attributes = (uint16_t)options->codec;
    if (is_append_time) attributes |= BATCH_TIMESTAMP_TYPE;
    if (options->is_transactional) attributes |= BATCH_TRANSACTIONAL;
    if (options->is_control) attributes |= BATCH_CONTROL;
    if (options->has_delete_horizon) attributes |= BATCH_DELETE_HORIZON;

    put_be64(at, (uint64_t)options->base_offset);
    put_be32(at + 8, (uint32_t)(size - BATCH_PREFIX_SIZE));
    put_be32(at + 12, (uint32_t)options->partition_leader_epoch);
    at[16] = 2;
    put_be16(at + 21, attributes);
    put_be32(at + 23, (uint32_t)last_offset_delta);
    put_be64(at + 27, (uint64_t)builder->base_timestamp);
    put_be64(at + 35, (uint64_t)(is_append_time ? options->append_time : builder->max_timestamp));
    put_be64(at + 43, (uint64_t)options->producer_id);
    put_be16(at + 51, (uint16_t)options->producer_epoch);
    put_be32(at + 53, (uint32_t)options->base_sequence);
    put_be32(at + 57, (uint32_t)builder->record_count);
    put_be32(at + 17, crc32c(0, at + 21, size - 21));
}

enum error batch_builder_finish_to(struct batch_builder *builder, int32_t last_offset_delta,
                                   struct slice *batch)
{
    assert(last_offset_delta >= builder->last_offset_delta);
    assert(last_offset_delta >= 0);

    struct text *plain = &builder->batch;
    if (plain->size == 0) { /* no records: compaction keeps such a batch for its offsets and sequence */
        if (!vec_grow((void **)&plain->data, &plain->capacity, BATCH_HEADER_SIZE + 1, 1)) return ERR_NOMEM;
        plain->size = BATCH_HEADER_SIZE;
    }
    struct text *finished = plain;
    if (builder->options.codec != CODEC_NONE && builder->record_count > 0) {
        finished = &builder->compressed;
        text_reset(finished);
        if (!vec_grow((void **)&finished->data, &finished->capacity, BATCH_HEADER_SIZE + 1, 1))
            return ERR_NOMEM;
        finished->size = BATCH_HEADER_SIZE;
        struct slice records = {(const uint8_t *)plain->data + BATCH_HEADER_SIZE,
                                plain->size - BATCH_HEADER_SIZE};
        enum error err = codec_compress(builder->options.codec, builder->options.level, records, finished);
        if (err != OK) return err;
        if (finished->size > BATCH_SIZE_MAX) return ERR_TOO_LARGE;
    }
    header_put((uint8_t *)finished->data, builder, last_offset_delta, finished->size);
    *batch = text_slice(finished);
    return OK;
}

enum error batch_builder_finish(struct batch_builder *builder, struct slice *batch)
{
    assert(builder->record_count > 0);
    return batch_builder_finish_to(builder, builder->last_offset_delta, batch);
}

void end_txn_marker_write(uint8_t out[END_TXN_MARKER_SIZE], int64_t producer_id, int16_t producer_epoch,
                          int32_t coordinator_epoch, bool is_commit, int64_t timestamp)
{
    uint8_t key[4], value[6];
    put_be16(key, 0);
    put_be16(key + 2, is_commit ? CONTROL_COMMIT : CONTROL_ABORT);
    put_be16(value, 0);
    put_be32(value + 2, (uint32_t)coordinator_epoch);

    /* length 16: attributes, two zero deltas, key and value with a byte of length each, no headers */
    uint8_t *at = out + BATCH_HEADER_SIZE;
    at += varint32_put(at, 16);
    *at++ = 0;
    at += varint64_put(at, 0);
    at += varint32_put(at, 0);
    at = nullable_put(at, (struct slice){key, sizeof key});
    at = nullable_put(at, (struct slice){value, sizeof value});
    at += varint32_put(at, 0);
    assert(at == out + END_TXN_MARKER_SIZE);

    struct batch_builder builder = {.options = BATCH_OPTIONS_DEFAULT,
                                    .record_count = 1,
                                    .base_timestamp = timestamp,
                                    .max_timestamp = timestamp};
    builder.options.producer_id = producer_id;
    builder.options.producer_epoch = producer_epoch;
    builder.options.is_transactional = true;
    builder.options.is_control = true;
    header_put(out, &builder, 0, END_TXN_MARKER_SIZE);
}
