/* recompress_test.c: every codec into every other, and what is refused on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/recompress.h"

enum { RECORDS = 50, BASE_MS = 1000000 };

static struct slice build(struct batch_builder *builder, enum codec codec)
{
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    options.codec = codec;
    options.level = codec_default_level(codec);
    options.producer_id = 77;
    options.producer_epoch = 3;
    options.base_sequence = 11;
    options.partition_leader_epoch = 5;
    batch_builder_start(builder, &options);
    for (int i = 0; i < RECORDS; i++) {
        char key[16], value[64];
        snprintf(key, sizeof key, "key %d", i);
        snprintf(value, sizeof value, "the same words again and again, number %d", i);
        struct record_header header = {SLICE("h"), slice_of(key)};
        assert_int_equal(
            batch_builder_add(builder, BASE_MS + i % 7, slice_of(key), slice_of(value), &header, 1), OK);
    }
    struct slice batch;
    assert_int_equal(batch_builder_finish(builder, &batch), OK);
    return batch;
}

static struct log_config config_of(enum codec codec)
{
    return (struct log_config){.recompresses = true,
                               .codec = codec,
                               .codec_level = codec_default_level(codec),
                               .max_message_bytes = 1 << 20};
}

static void every_codec_becomes_every_other(void **state)
{
    struct batch_builder plain = {0}, other = {0};
    struct slice want = build(&plain, CODEC_NONE);
    for (int from = 0; from < CODEC_COUNT; from++) {
        for (int to = 0; to < CODEC_COUNT; to++) {
            struct log_config config = config_of((enum codec)to);
            struct slice came = build(&other, (enum codec)from), batch = came;
            struct text made = {0}, opened = {0};
            struct records_report report = {0};
            const char *why = NULL;
            assert_int_equal(recompress(&config, &batch, &made, &report, &why), OK);
            if (from == to) {
                assert_ptr_equal(batch.data, came.data);
                assert_int_equal(made.size, 0);
                continue;
            }
            struct batch_header header, before;
            assert_int_equal(batch_header_read(came, &before), OK);
            assert_int_equal(batch_check(batch, &header), OK);
            assert_int_equal(batch_codec(&header), to);
            assert_int_equal(header.size_bytes, batch.size);
            /* All else of the header is as it was: before the length, up to the checksum, behind the attributes. */
            assert_int_equal(header.attributes & ~BATCH_CODEC_MASK, before.attributes & ~BATCH_CODEC_MASK);
            assert_memory_equal(batch.data, came.data, 8);
            assert_memory_equal(batch.data + 12, came.data + 12, 5);
            assert_memory_equal(batch.data + 23, came.data + 23, BATCH_HEADER_SIZE - 23);
            assert_int_equal(report.max_timestamp, BASE_MS + 6);
            assert_int_equal(report.min_timestamp, BASE_MS);

            struct slice records;
            assert_int_equal(batch_header_read(batch, &header), OK);
            assert_int_equal(batch_records(batch, &header, 1 << 20, &opened, &records), OK);
            assert_true(slice_equal(
                records, (struct slice){want.data + BATCH_HEADER_SIZE, want.size - BATCH_HEADER_SIZE}));
            text_free(&made);
            text_free(&opened);
        }
    }
    batch_builder_free(&plain);
    batch_builder_free(&other);
}

static void what_cannot_be_opened_is_refused(void **state)
{
    struct batch_builder builder = {0};
    struct log_config config = config_of(CODEC_ZSTD);
    struct text made = {0};
    struct records_report report = {.fault_index = -1};
    const char *why = NULL;

    struct slice batch = build(&builder, CODEC_GZIP);
    config.max_message_bytes = (int64_t)batch.size - 1;
    assert_int_equal(recompress(&config, &batch, &made, &report, &why), ERR_MESSAGE_TOO_LARGE);
    config.max_message_bytes++;

    ((uint8_t *)batch.data)[BATCH_HEADER_SIZE + 12] ^= 0x55;
    assert_int_equal(recompress(&config, &batch, &made, &report, &why), ERR_CORRUPT_MESSAGE);
    assert_non_null(why);

    /* Records that are not what the header says. */
    batch = build(&builder, CODEC_NONE);
    config.max_message_bytes = 1 << 20;
    uint8_t *count = (uint8_t *)batch.data + BATCH_HEADER_SIZE - 4;
    put_be32(count, RECORDS - 1);
    assert_int_equal(recompress(&config, &batch, &made, &report, &why), ERR_INVALID_RECORD);
    assert_int_equal(made.size, 0);
    batch_builder_free(&builder);
    text_free(&made);
}

static void levels_are_the_topics(void **state)
{
    struct batch_builder builder = {0};
    struct log_config low = config_of(CODEC_GZIP), high = low;
    low.codec_level = 1;
    high.codec_level = 9;
    struct text small = {0}, large = {0};
    struct records_report report;
    const char *why = NULL;
    struct slice a = build(&builder, CODEC_NONE), b = a;
    assert_int_equal(recompress(&low, &a, &large, &report, &why), OK);
    assert_int_equal(recompress(&high, &b, &small, &report, &why), OK);
    assert_true(b.size < a.size);
    batch_builder_free(&builder);
    text_free(&small);
    text_free(&large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_codec_becomes_every_other),
        cmocka_unit_test(what_cannot_be_opened_is_refused),
        cmocka_unit_test(levels_are_the_topics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
