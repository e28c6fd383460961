/* record_test.c: batches, records and old messages: bytes that Apache's classes made, hostile ones, and random lives.
 *
 * `record_test --emit` prints batches of our builder for test/interop/java/RecordGolden.java to read with Apache's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "wire/crc32c.h"
#include "wire/legacy.h"
#include "wire/record.h"
#include "wire/varint.h"

static const struct golden {
    const char *name;
    int magic, codec, count;
    const char *hex;
} GOLDEN[] = {
#include "wire/record_golden.inc"
};

#define START 1700000000000LL

static const struct golden *golden(const char *name)
{
    for (size_t i = 0; i < sizeof GOLDEN / sizeof *GOLDEN; i++) {
        if (strcmp(GOLDEN[i].name, name) == 0) return &GOLDEN[i];
    }
    fail_msg("no golden batch \"%s\"", name);
    return NULL;
}

/* malloc'ed to the byte, so that a sanitizer sees one read too far. */
static uint8_t *unhex(const char *hex, size_t *size)
{
    *size = strlen(hex) / 2;
    uint8_t *bytes = malloc(*size ? *size : 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < *size; i++) {
        unsigned value;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
        bytes[i] = (uint8_t)value;
    }
    return bytes;
}

/* The contents that RecordGolden.java's rule gives record i; `buffer` holds them. */
struct sample {
    struct slice key, value;
    struct record_header headers[2];
    int32_t header_count;
    int64_t timestamp;
    char buffer[400];
};

static void sample_make(int i, struct sample *sample)
{
    *sample = (struct sample){.header_count = i % 3, .timestamp = START + 10LL * i};
    sample->headers[0] = (struct record_header){SLICE("h0"), SLICE("x0")};
    sample->headers[1] = (struct record_header){SLICE("h1"), SLICE_NULL};
    int key_size = snprintf(sample->buffer, 20, "key-%d", i);
    if (i % 5 != 4) sample->key = (struct slice){(uint8_t *)sample->buffer, (size_t)key_size};
    char *value = sample->buffer + 20;
    int value_size = snprintf(value, 20, "value-%d", i);
    memset(value + value_size, 'a' + i % 26, (size_t)i * 7);
    if (i % 11 != 10) sample->value = (struct slice){(uint8_t *)value, (size_t)(value_size + i * 7)};
}

static void assert_slices_equal(struct slice a, struct slice b)
{
    assert_true(slice_equal(a, b));
}

static void assert_is_sample(const struct record *record, const struct batch_header *header, int i)
{
    struct sample want;
    sample_make(i, &want);
    assert_slices_equal(record->key, want.key);
    assert_slices_equal(record->value, want.value);
    assert_int_equal(record->header_count, want.header_count);
    struct slice headers = record->headers;
    struct record_header one;
    for (int32_t h = 0; h < want.header_count; h++) {
        assert_true(record_header_next(&headers, &one));
        assert_slices_equal(one.key, want.headers[h].key);
        assert_slices_equal(one.value, want.headers[h].value);
    }
    assert_false(record_header_next(&headers, &one));
    assert_int_equal(record_offset(header, record), header->base_offset + i);
    if (batch_timestamp_type(header) == TIMESTAMP_CREATE) {
        assert_int_equal(record_timestamp(header, record), want.timestamp);
    } else {
        assert_int_equal(record_timestamp(header, record), header->max_timestamp);
    }
}

static void reads_what_apache_wrote(void **state)
{
    (void)state;
    struct text scratch = {0};
    for (size_t i = 0; i < sizeof GOLDEN / sizeof *GOLDEN; i++) {
        const struct golden *g = &GOLDEN[i];
        size_t size;
        uint8_t *bytes = unhex(g->hex, &size);
        struct slice run = {bytes, size}, batch;
        struct batch_header header;
        int seen = 0;
        enum error err;
        while ((err = batches_next(&run, &header, &batch)) == OK) {
            assert_int_equal(header.magic, g->magic);
            assert_int_equal(batch_codec(&header), g->codec);
            struct batch_header checked;
            assert_int_equal(batch_check(batch, &checked), OK);
            assert_int_equal(checked.crc, header.crc);
            assert_int_equal(batch_last_offset(&checked), batch_last_offset(&header));
            if (g->magic == 2) {
                if (g->count == 0) continue;
                struct slice records;
                assert_int_equal(batch_records(batch, &header, 1 << 20, &scratch, &records), OK);
                struct records_report report;
                assert_int_equal(records_check(&header, records, &report), OK);
                assert_int_equal(report.max_timestamp, START + 10LL * (g->count - 1));
                assert_int_equal(report.max_timestamp_offset_delta, g->count - 1);
                assert_int_equal(report.min_timestamp, START);
                assert_int_equal(report.null_key_count, g->count / 5);
                assert_int_equal(report.first_null_key, g->count > 4 ? 4 : -1);
                struct record record;
                while (record_next(&records, &record) == OK) assert_is_sample(&record, &header, seen++);
                assert_int_equal(header.record_count, g->count);
            } else {
                struct legacy_message message, inner;
                struct legacy_walk walk;
                assert_int_equal(legacy_message_read(batch, true, &message), OK);
                if (g->codec) assert_int_equal(message.offset, g->count - 1);
                assert_int_equal(legacy_walk_open(&message, 1 << 20, &scratch, &walk), OK);
                while ((err = legacy_walk_next(&walk, &inner)) == OK) {
                    struct sample want;
                    sample_make(seen, &want);
                    assert_slices_equal(inner.key, want.key);
                    assert_slices_equal(inner.value, want.value);
                    assert_int_equal(inner.offset, seen);
                    assert_int_equal(inner.timestamp, g->magic == 0 ? NO_TIMESTAMP : want.timestamp);
                    seen++;
                }
                assert_int_equal(err, ERR_EOF);
            }
        }
        assert_int_equal(err, ERR_EOF);
        assert_int_equal(seen, g->count);
        free(bytes);
    }
    text_free(&scratch);
}

static void add_samples(struct batch_builder *builder, int count)
{
    for (int i = 0; i < count; i++) {
        struct sample s;
        sample_make(i, &s);
        assert_int_equal(batch_builder_add(builder, s.timestamp, s.key, s.value, s.headers, s.header_count),
                         OK);
    }
}

static void assert_golden_bytes(const char *name, struct slice batch)
{
    size_t size;
    uint8_t *bytes = unhex(golden(name)->hex, &size);
    assert_int_equal(batch.size, size);
    assert_memory_equal(batch.data, bytes, size);
    free(bytes);
}

static void writes_what_apache_writes(void **state)
{
    (void)state;
    struct batch_builder builder = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct slice batch;
    for (int count = 1; count <= 40; count += 39) {
        batch_builder_start(&builder, &options);
        add_samples(&builder, count);
        assert_int_equal(batch_builder_finish(&builder, &batch), OK);
        assert_int_equal(batch.size, batch_builder_size(&builder));
        assert_golden_bytes(count == 1 ? "none_v2_1" : "none_v2_40", batch);
    }
    options.producer_id = 4711;
    options.producer_epoch = 3;
    options.base_sequence = INT32_MAX - 1;
    options.is_transactional = true;
    options.partition_leader_epoch = 9;
    batch_builder_start(&builder, &options);
    add_samples(&builder, 4);
    assert_int_equal(batch_builder_finish(&builder, &batch), OK);
    assert_golden_bytes("transactional", batch);
    struct batch_header header;
    assert_int_equal(batch_check(batch, &header), OK);
    assert_int_equal(batch_last_sequence(&header), 1); /* 2^31-2, 2^31-1, 0, 1 */
    assert_true(batch_is_transactional(&header) && !batch_is_control(&header) && batch_has_producer(&header));

    options = BATCH_OPTIONS_DEFAULT;
    options.timestamp_type = TIMESTAMP_LOG_APPEND;
    options.append_time = START + 999;
    options.base_offset = 100;
    batch_builder_start(&builder, &options);
    add_samples(&builder, 4);
    assert_int_equal(batch_builder_finish(&builder, &batch), OK);
    assert_golden_bytes("append_time", batch);

    uint8_t marker[END_TXN_MARKER_SIZE];
    end_txn_marker_write(marker, 4711, 3, 12, true, START);
    assert_golden_bytes("commit_marker", (struct slice){marker, sizeof marker});

    options = BATCH_OPTIONS_DEFAULT;
    options.producer_id = 4711;
    options.producer_epoch = 3;
    options.base_sequence = 17;
    options.base_offset = 50;
    options.partition_leader_epoch = 5;
    options.is_transactional = true;
    options.codec = CODEC_ZSTD;
    batch_builder_start(&builder, &options);
    assert_int_equal(batch_builder_finish_to(&builder, 9, &batch), OK);
    assert_int_equal(batch_check(batch, &header), OK);
    assert_int_equal(header.record_count, 0);
    assert_int_equal(batch_last_offset(&header), 59);
    assert_int_equal(batch_last_sequence(&header), 26);
    batch_builder_free(&builder);
}

static void markers_tell_what_they_end(void **state)
{
    (void)state;
    for (int is_commit = 0; is_commit < 2; is_commit++) {
        uint8_t bytes[END_TXN_MARKER_SIZE];
        end_txn_marker_write(bytes, 77, 2, 31, is_commit, START);
        struct batch_header header;
        assert_int_equal(batch_check((struct slice){bytes, sizeof bytes}, &header), OK);
        assert_true(batch_is_control(&header) && batch_is_transactional(&header));
        assert_int_equal(header.producer_id, 77);
        assert_int_equal(header.base_sequence, NO_SEQUENCE);
        struct slice records = {bytes + BATCH_HEADER_SIZE, sizeof bytes - BATCH_HEADER_SIZE};
        struct record record;
        struct control_record control;
        assert_int_equal(record_next(&records, &record), OK);
        assert_int_equal(control_record_read(&record, &control), OK);
        assert_int_equal(control.type, is_commit ? CONTROL_COMMIT : CONTROL_ABORT);
        assert_int_equal(control.coordinator_epoch, 31);
    }
    struct control_record control;
    struct record later = {.key = SLICE("\0\0\0\x63")};
    assert_int_equal(control_record_read(&later, &control), OK);
    assert_int_equal(control.type, 99);
    assert_int_equal(control.coordinator_epoch, -1);
    struct record empty = {.key = SLICE("\0\0\0")},
                  no_value = {.key = SLICE("\0\0\0\1"), .value = SLICE("\0\0\0\0\0")};
    assert_int_equal(control_record_read(&empty, &control), ERR_CORRUPT);
    assert_int_equal(control_record_read(&no_value, &control), ERR_CORRUPT);
}

static uint8_t *golden_bytes(const char *name, size_t *size)
{
    return unhex(golden(name)->hex, size);
}

static void rehash(uint8_t *batch, size_t size)
{
    put_be32(batch + 17, crc32c(0, batch + 21, size - 21));
}

static void headers_that_lie_are_refused(void **state)
{
    (void)state;
    enum { KEEP = -1 };
    static const struct {
        const char *what;
        size_t at;
        int width; /* bytes, big-endian */
        uint64_t value;
        enum error read, check; /* check: with a right checksum */
    } rows[] = {
        {"nothing wrong", 16, 1, 2, OK, OK},
        {"a length of 0", 8, 4, 0, ERR_CORRUPT, ERR_CORRUPT},
        {"a length of 13", 8, 4, 13, ERR_CORRUPT, ERR_CORRUPT},
        {"a length below the header", 8, 4, 48, ERR_CORRUPT, ERR_CORRUPT},
        {"a negative length", 8, 4, 0xffffffff, ERR_CORRUPT, ERR_CORRUPT},
        {"a length of 2 GiB", 8, 4, 0x7fffffff, OK, ERR_TRUNCATED},
        {"magic 3", 16, 1, 3, ERR_CORRUPT, ERR_CORRUPT},
        {"magic -1", 16, 1, 0xff, ERR_CORRUPT, ERR_CORRUPT},
        {"a negative base offset", 0, 8, (uint64_t)-1, ERR_CORRUPT, ERR_CORRUPT},
        {"offsets that overflow", 0, 8, INT64_MAX - 39, ERR_CORRUPT, ERR_CORRUPT},
        {"offsets that just fit", 0, 8, INT64_MAX - 40, OK, OK},
        {"a negative last offset delta", 23, 4, 0xffffffff, ERR_CORRUPT, ERR_CORRUPT},
        {"a negative record count", 57, 4, 0xffffffff, ERR_CORRUPT, ERR_CORRUPT},
        {"more records than offsets", 57, 4, 41, OK, ERR_CORRUPT},
        {"fewer records than offsets, as compaction leaves", 57, 4, 39, OK, OK},
        {"unknown attribute bits", 21, 2, 0xff00, OK, OK},
    };
    size_t size;
    uint8_t *right = golden_bytes("none_v2_40", &size);
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    struct batch_header header;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memcpy(bytes, right, size);
        for (int b = 0; b < rows[i].width; b++) {
            bytes[rows[i].at + (size_t)b] = (uint8_t)(rows[i].value >> 8 * (rows[i].width - 1 - b));
        }
        rehash(bytes, size);
        if (batch_header_read((struct slice){bytes, size}, &header) != rows[i].read)
            fail_msg("read: %s", rows[i].what);
        if (batch_check((struct slice){bytes, size}, &header) != rows[i].check)
            fail_msg("check: %s", rows[i].what);
    }
    /* Any byte but base offset and leader epoch changed: the checksum or a length sees it. */
    for (size_t i = 0; i < size; i++) {
        memcpy(bytes, right, size);
        bytes[i] ^= 0x10;
        bool is_outside = i < 8 || (i >= 12 && i < 16);
        enum error err = batch_check((struct slice){bytes, size}, &header);
        if (is_outside)
            assert_true(err == OK || i == 0);
        else
            assert_int_not_equal(err, OK);
    }
    for (size_t cut = 0; cut < size; cut++) { /* malloc'ed to the byte */
        uint8_t *part = malloc(cut ? cut : 1);
        assert_non_null(part);
        memcpy(part, right, cut);
        struct slice run = {part, cut}, batch;
        assert_int_equal(batches_next(&run, &header, &batch), cut == 0 ? ERR_EOF : ERR_TRUNCATED);
        assert_int_equal(batch_check((struct slice){part, cut}, &header), ERR_TRUNCATED);
        assert_int_equal(batch_header_read((struct slice){part, cut}, &header),
                         cut < BATCH_HEADER_SIZE ? ERR_TRUNCATED : OK);
        free(part);
    }
    free(bytes);
    free(right);
}

static void a_clients_batch_is_held_to_more(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = golden_bytes("transactional", &size);
    struct batch_header right, header;
    assert_int_equal(batch_check((struct slice){bytes, size}, &right), OK);
    const char *why = NULL;
    assert_int_equal(batch_check_produced(&right, &why), OK);
    assert_null(why);
#define REFUSED(change)                                                                                      \
    do {                                                                                                     \
        header = right;                                                                                      \
        change;                                                                                              \
        why = NULL;                                                                                          \
        assert_int_equal(batch_check_produced(&header, &why), ERR_INVALID_RECORD);                           \
        assert_non_null(why);                                                                                \
    } while (0)
    REFUSED(header.magic = 1);
    REFUSED(header.base_offset = 5);
    REFUSED(header.record_count = 0);
    REFUSED(header.record_count = 3);
    REFUSED(header.last_offset_delta = INT32_MAX);
    REFUSED(header.attributes |= BATCH_CONTROL);
    REFUSED(header.base_sequence = -1);
    REFUSED(header.producer_epoch = -1);
    REFUSED(header.producer_id = -1);
    REFUSED(header.attributes |= 5);
#undef REFUSED
    free(bytes);
}

static void patches_keep_the_checksum_right(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = golden_bytes("lz4_v2_40", &size);
    struct slice batch = {bytes, size};
    struct batch_header header;
    batch_set_base_offset(bytes, 123456789012345);
    batch_set_leader_epoch(bytes, 42);
    assert_int_equal(batch_check(batch, &header), OK);
    assert_int_equal(header.base_offset, 123456789012345);
    assert_int_equal(header.partition_leader_epoch, 42);
    uint32_t crc = header.crc;
    batch_set_max_timestamp(bytes, size, TIMESTAMP_CREATE, header.max_timestamp);
    assert_int_equal(batch_check(batch, &header), OK);
    assert_int_equal(header.crc, crc);
    batch_set_max_timestamp(bytes, size, TIMESTAMP_LOG_APPEND, START + 5);
    assert_int_equal(batch_check(batch, &header), OK);
    assert_int_equal(header.max_timestamp, START + 5);
    assert_int_equal(batch_timestamp_type(&header), TIMESTAMP_LOG_APPEND);
    assert_int_equal(batch_codec(&header), CODEC_LZ4);
    batch_set_max_timestamp(bytes, size, TIMESTAMP_CREATE, START);
    batch_set_producer(bytes, size, 9, 8, 7, true);
    assert_int_equal(batch_check(batch, &header), OK);
    assert_int_equal(batch_timestamp_type(&header), TIMESTAMP_CREATE);
    assert_int_equal(header.producer_id, 9);
    assert_int_equal(header.producer_epoch, 8);
    assert_int_equal(header.base_sequence, 7);
    assert_true(batch_is_transactional(&header));
    assert_int_equal(sequence_add(INT32_MAX, 1), 0);
    assert_int_equal(sequence_add(INT32_MAX - 1, 5), 3);
    free(bytes);
}

static void records_that_lie_are_refused(void **state)
{
    (void)state;
    /* One record, as bytes; lengths are zig-zag: 2 n. */
    static const struct {
        const char *what;
        uint8_t bytes[16];
        size_t size;
        enum error next;
    } rows[] = {
        {"right: null key, empty value", {14, 0, 0, 0, 1, 0, 0}, 7, ERR_CORRUPT},
        {"right: null key, one byte", {14, 0, 0, 0, 1, 2, 'v', 0}, 8, OK},
        {"right: empty key and value", {12, 0, 0, 0, 0, 0, 0}, 7, OK},
        {"length 0", {0, 0, 0, 0, 0, 0, 0}, 7, ERR_CORRUPT},
        {"negative length", {1, 0, 0, 0, 0, 0, 0}, 7, ERR_CORRUPT},
        {"length beyond the end", {14, 0, 0, 0, 0, 0, 0}, 7, ERR_CORRUPT},
        {"length with a byte left over", {14, 0, 0, 0, 0, 0, 0, 0}, 8, ERR_CORRUPT},
        {"key size -2", {12, 0, 0, 0, 3, 0, 0}, 7, ERR_CORRUPT},
        {"key beyond the record", {12, 0, 0, 0, 40, 0, 0}, 7, ERR_CORRUPT},
        {"value size -2", {12, 0, 0, 0, 0, 3, 0}, 7, ERR_CORRUPT},
        {"negative header count", {12, 0, 0, 0, 0, 0, 1}, 7, ERR_CORRUPT},
        {"a header that is not there", {12, 0, 0, 0, 0, 0, 2}, 7, ERR_CORRUPT},
        {"a header with a null name", {16, 0, 0, 0, 0, 0, 2, 1, 1}, 9, ERR_CORRUPT},
        {"a header with a null value", {16, 0, 0, 0, 0, 0, 2, 0, 1}, 9, OK},
        {"a million headers", {18, 0, 0, 0, 0, 0, 0x80, 0x89, 0x7a, 0}, 10, ERR_CORRUPT},
        {"an endless length", {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0}, 8, ERR_CORRUPT},
        {"an endless timestamp",
         {26, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0},
         14,
         ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t *exact = malloc(rows[i].size);
        assert_non_null(exact);
        memcpy(exact, rows[i].bytes, rows[i].size);
        struct slice in = {exact, rows[i].size};
        struct record record;
        if (record_next(&in, &record) != rows[i].next) fail_msg("%s", rows[i].what);
        assert_int_equal(in.size, rows[i].next == OK ? 0 : rows[i].size);
        free(exact);
    }
}

static void counts_and_deltas_must_agree(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = golden_bytes("none_v2_40", &size);
    struct batch_header header;
    assert_int_equal(batch_check((struct slice){bytes, size}, &header), OK);
    struct slice records = {bytes + BATCH_HEADER_SIZE, size - BATCH_HEADER_SIZE};
    struct records_report report;

    header.record_count = 39;
    assert_int_equal(records_check(&header, records, &report), ERR_INVALID_RECORD);
    assert_int_equal(report.fault_index, 39);
    header.record_count = 41;
    assert_int_equal(records_check(&header, records, &report), ERR_INVALID_RECORD);
    assert_int_equal(report.fault_index, -1);
    header.record_count = 40;
    records.size--;
    assert_int_equal(records_check(&header, records, &report), ERR_INVALID_RECORD);
    assert_int_equal(report.fault_index, 39);
    assert_string_equal(report.fault, "a malformed record");
    free(bytes);

    struct batch_builder builder = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    batch_builder_start(&builder, &options);
    assert_int_equal(batch_builder_add(&builder, -1, SLICE_NULL, SLICE("a"), NULL, 0), OK);
    assert_int_equal(batch_builder_add_at(&builder, 5, -1, SLICE("k"), SLICE("b"), NULL, 0), OK);
    struct slice batch;
    assert_int_equal(batch_builder_finish(&builder, &batch), OK);
    assert_int_equal(batch_check(batch, &header), OK); /* on disk a gap is compaction's */
    records = (struct slice){batch.data + BATCH_HEADER_SIZE, batch.size - BATCH_HEADER_SIZE};
    assert_int_equal(records_check(&header, records, &report), ERR_INVALID_RECORD);
    assert_int_equal(report.fault_index, 1);
    assert_int_equal(report.null_key_count, 1);
    assert_int_equal(report.max_timestamp, NO_TIMESTAMP);
    assert_true(report.min_timestamp == INT64_MAX);
    batch_builder_free(&builder);
}

static void horizons_rebase_their_records(void **state)
{
    (void)state;
    struct batch_builder builder = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    options.has_delete_horizon = true;
    options.delete_horizon = START + 86400000;
    batch_builder_start(&builder, &options);
    add_samples(&builder, 3);
    struct slice batch;
    assert_int_equal(batch_builder_finish(&builder, &batch), OK);
    struct batch_header header;
    assert_int_equal(batch_check(batch, &header), OK);
    assert_true(batch_has_delete_horizon(&header));
    assert_int_equal(header.base_timestamp, START + 86400000);
    assert_int_equal(header.max_timestamp, START + 20);
    struct slice records = {batch.data + BATCH_HEADER_SIZE, batch.size - BATCH_HEADER_SIZE};
    struct record record;
    for (int i = 0; record_next(&records, &record) == OK; i++) assert_is_sample(&record, &header, i);
    batch_builder_free(&builder);
}

/* Random batches in a run: what is read is what was put in. */
static void random_batches_round_trip(void **state)
{
    (void)state;
    enum { RECORDS = 20 };
    struct batch_builder builder = {0};
    struct text run = {0}, scratch = {0};
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct random random;
        random_seed(&random, seed);
        text_reset(&run);
        uint8_t noise[300];
        random_fill(&random, noise, sizeof noise);
        struct {
            struct slice key, value;
            struct record_header headers[3];
            int32_t header_count, offset_delta;
            int64_t timestamp;
        } model[3][RECORDS];
        int counts[3];
        struct batch_options options[3];
        for (int b = 0; b < 3; b++) {
            options[b] = BATCH_OPTIONS_DEFAULT;
            options[b].codec = (enum codec)random_below(&random, CODEC_COUNT);
            options[b].level = codec_default_level(options[b].codec);
            options[b].base_offset = b * 1000;
            options[b].producer_id = (int64_t)random_below(&random, 10) - 1;
            options[b].producer_epoch = (int16_t)random_below(&random, 32768);
            options[b].base_sequence = (int32_t)random_below(&random, (uint64_t)INT32_MAX + 1);
            batch_builder_start(&builder, &options[b]);
            counts[b] = 1 + (int)random_below(&random, RECORDS);
            int32_t delta = -1;
            for (int i = 0; i < counts[b]; i++) {
                struct slice pick[5];
                for (int p = 0; p < 5; p++) {
                    size_t from = random_below(&random, 300);
                    pick[p] = (struct slice){noise + from, random_below(&random, 301 - from)};
                }
                model[b][i].key = random_below(&random, 4) ? pick[0] : SLICE_NULL;
                model[b][i].value = random_below(&random, 4) ? pick[1] : SLICE_NULL;
                model[b][i].header_count = (int32_t)random_below(&random, 4);
                for (int h = 0; h < 3; h++) {
                    struct slice value = random_below(&random, 4) ? pick[4] : SLICE_NULL;
                    model[b][i].headers[h] = (struct record_header){pick[2 + h % 2], value};
                }
                delta += random_below(&random, 5) ? 1 : 1 + (int32_t)random_below(&random, 20);
                model[b][i].offset_delta = delta;
                model[b][i].timestamp = random_below(&random, 9)
                                            ? START + (int64_t)random_below(&random, 1000000)
                                            : (int64_t)random_next(&random);
                size_t before = batch_builder_size(&builder);
                assert_int_equal(batch_builder_add_at(&builder, delta, model[b][i].timestamp, model[b][i].key,
                                                      model[b][i].value, model[b][i].headers,
                                                      model[b][i].header_count),
                                 OK);
                assert_true(batch_builder_size(&builder) - before <=
                            batch_record_size_max(model[b][i].key, model[b][i].value, model[b][i].headers,
                                                  model[b][i].header_count));
            }
            struct slice batch;
            assert_int_equal(batch_builder_finish(&builder, &batch), OK);
            text_add(&run, batch);
        }
        struct slice rest = text_slice(&run), batch, records;
        struct batch_header header;
        for (int b = 0; b < 3; b++) {
            assert_int_equal(batches_next(&rest, &header, &batch), OK);
            assert_int_equal(batch_check(batch, &header), OK);
            assert_int_equal(header.producer_id, options[b].producer_id);
            assert_int_equal(header.base_sequence, options[b].base_sequence);
            assert_int_equal(batch_records(batch, &header, 1 << 20, &scratch, &records), OK);
            assert_int_equal(header.record_count, counts[b]);
            for (int i = 0; i < counts[b]; i++) {
                struct record record;
                assert_int_equal(record_next(&records, &record), OK);
                assert_slices_equal(record.key, model[b][i].key);
                assert_slices_equal(record.value, model[b][i].value);
                assert_int_equal(record.offset_delta, model[b][i].offset_delta);
                assert_true(record_timestamp(&header, &record) == model[b][i].timestamp);
                struct slice headers = record.headers;
                struct record_header one;
                for (int h = 0; h < model[b][i].header_count; h++) {
                    assert_true(record_header_next(&headers, &one));
                    assert_slices_equal(one.key, model[b][i].headers[h].key);
                    assert_slices_equal(one.value, model[b][i].headers[h].value);
                }
                assert_false(record_header_next(&headers, &one));
            }
            assert_int_equal(records.size, 0);
        }
        assert_int_equal(batches_next(&rest, &header, &batch), ERR_EOF);
    }
    batch_builder_free(&builder);
    text_free(&run);
    text_free(&scratch);
}

static void old_wrappers_that_lie_are_refused(void **state)
{
    (void)state;
    struct text inner = {0}, packed = {0}, scratch = {0};
    enum error want = OK;
    for (int lie = 0; lie < 7; lie++) {
        text_reset(&inner);
        text_reset(&packed);
        int8_t inner_attributes = lie == 1 ? CODEC_GZIP : 0;
        int8_t inner_magic = lie == 2 ? 0 : 1;
        int64_t second = lie == 3 ? 0 : 1;
        struct legacy_message one = {.magic = 1, .timestamp = 7, .value = SLICE("one")};
        struct legacy_message two = {.offset = second,
                                     .magic = inner_magic,
                                     .attributes = inner_attributes,
                                     .timestamp = 8,
                                     .value = SLICE("two")};
        assert_int_equal(legacy_message_write(&one, &inner), OK);
        assert_int_equal(legacy_message_write(&two, &inner), OK);
        if (lie == 4) inner.size--;
        if (lie == 5) inner.size = 0;
        assert_int_equal(codec_compress(CODEC_GZIP, -1, text_slice(&inner), &packed), OK);
        struct legacy_message wrapper = {.offset = lie == 6 ? 0 : 50,
                                         .magic = 1,
                                         .attributes = CODEC_GZIP | BATCH_TIMESTAMP_TYPE,
                                         .timestamp = 99,
                                         .value = text_slice(&packed)};
        struct legacy_walk walk;
        want = lie == 0 ? OK : ERR_CORRUPT;
        assert_int_equal(legacy_walk_open(&wrapper, 1000, &scratch, &walk), want);
        if (lie != 0) continue;
        struct legacy_message message;
        assert_int_equal(legacy_walk_next(&walk, &message), OK);
        assert_int_equal(message.offset, 49);
        assert_int_equal(message.timestamp, 99); /* append time: the wrapper's */
        assert_int_equal(legacy_walk_next(&walk, &message), OK);
        assert_int_equal(message.offset, 50);
        assert_true(slice_is(message.value, "two"));
        assert_int_equal(legacy_walk_next(&walk, &message), ERR_EOF);
        assert_int_equal(legacy_walk_open(&wrapper, 10, &scratch, &walk), ERR_TOO_LARGE);
        wrapper.attributes = CODEC_ZSTD;
        assert_int_equal(legacy_walk_open(&wrapper, 1000, &scratch, &walk), ERR_CORRUPT);
    }
    text_free(&inner);
    text_free(&packed);
    text_free(&scratch);
}

static void damaged_runs_never_crash(void **state)
{
    (void)state;
    struct text scratch = {0};
    struct random random;
    random_seed(&random, 9);
    for (int round = 0; round < 6000; round++) {
        const struct golden *g = &GOLDEN[random_below(&random, sizeof GOLDEN / sizeof *GOLDEN)];
        size_t size;
        uint8_t *bytes = unhex(g->hex, &size);
        for (uint64_t n = 1 + random_below(&random, 3); n > 0; n--) {
            bytes[random_below(&random, random_below(&random, 2) ? size
                                        : size < 70              ? size
                                                                 : 70)] = (uint8_t)random_next(&random);
        }
        struct slice run = {bytes, random_below(&random, 4) ? size : random_below(&random, size)}, batch,
                     records;
        struct batch_header header;
        while (batches_next(&run, &header, &batch) == OK) {
            enum error err = batch_check(batch, NULL);
            assert_true(err == OK || err == ERR_CORRUPT);
            if (header.magic == 2) {
                if (batch_records(batch, &header, 100000, &scratch, &records) != OK) continue;
                struct records_report report;
                struct record record;
                err = records_check(&header, records, &report);
                while (record_next(&records, &record) == OK) {
                    struct record_header one;
                    while (record_header_next(&record.headers, &one)) assert_non_null(one.key.data);
                    struct control_record control;
                    err = control_record_read(&record, &control);
                }
            } else {
                struct legacy_message message;
                struct legacy_walk walk;
                if (legacy_message_read(batch, false, &message) != OK) continue;
                if (legacy_walk_open(&message, 100000, &scratch, &walk) != OK) continue;
                while (legacy_walk_next(&walk, &message) == OK) {
                }
            }
        }
        free(bytes);
    }
    text_free(&scratch);
}

static int emit(void)
{
    struct batch_builder builder = {0};
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        static const int counts[] = {1, 7, 50};
        for (int c = 0; c < 3; c++) {
            struct batch_options options = BATCH_OPTIONS_DEFAULT;
            options.codec = (enum codec)codec;
            options.level = codec_default_level(options.codec);
            batch_builder_start(&builder, &options);
            for (int i = 0; i < counts[c]; i++) {
                struct sample s;
                sample_make(i, &s);
                if (batch_builder_add(&builder, s.timestamp, s.key, s.value, s.headers, s.header_count) != OK)
                    return 1;
            }
            struct slice batch;
            if (batch_builder_finish(&builder, &batch) != OK) return 1;
            printf("%s_v2_%d %d ", codec_text(codec), counts[c], counts[c]);
            for (size_t i = 0; i < batch.size; i++) printf("%02x", batch.data[i]);
            printf("\n");
        }
    }
    struct text run = {0};
    for (int8_t magic = 0; magic < 2; magic++) {
        for (int codec = 0; codec < CODEC_ZSTD; codec++) {
            text_reset(&run);
            for (int i = 0; i < 20; i++) {
                struct sample s;
                sample_make(i, &s);
                struct legacy_message message = {
                    .offset = i, .magic = magic, .timestamp = s.timestamp, .key = s.key, .value = s.value};
                if (legacy_message_write(&message, &run) != OK) return 1;
            }
            if (codec != CODEC_NONE) {
                struct text packed = {0};
                if (codec_compress(codec, codec_default_level(codec), text_slice(&run), &packed) != OK)
                    return 1;
                struct legacy_message wrapper = {.offset = 19,
                                                 .magic = magic,
                                                 .attributes = (int8_t)codec,
                                                 .timestamp = START + 190,
                                                 .value = text_slice(&packed)};
                text_reset(&run);
                if (legacy_message_write(&wrapper, &run) != OK) return 1;
                text_free(&packed);
            }
            printf("%s_v%d_20 20 ", codec_text(codec), magic);
            for (size_t i = 0; i < run.size; i++) printf("%02x", (uint8_t)run.data[i]);
            printf("\n");
        }
    }
    text_free(&run);
    batch_builder_free(&builder);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--emit") == 0) return emit();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_apache_wrote),
        cmocka_unit_test(writes_what_apache_writes),
        cmocka_unit_test(markers_tell_what_they_end),
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(a_clients_batch_is_held_to_more),
        cmocka_unit_test(patches_keep_the_checksum_right),
        cmocka_unit_test(records_that_lie_are_refused),
        cmocka_unit_test(counts_and_deltas_must_agree),
        cmocka_unit_test(horizons_rebase_their_records),
        cmocka_unit_test(random_batches_round_trip),
        cmocka_unit_test(old_wrappers_that_lie_are_refused),
        cmocka_unit_test(damaged_runs_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
