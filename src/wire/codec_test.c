/* codec_test.c: round trips of every codec, limits, and what hostile or foreign bytes get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "wire/codec.h"
#include "wire/crc32c.h"
#include "wire/varint.h"

static void checksums_have_their_known_values(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(crc32_legacy(0, "123456789", 9), 0xCBF43926);
    uint8_t zeros[32] = {0}, ones[32];
    memset(ones, 0xff, sizeof ones);
    assert_int_equal(crc32c(0, zeros, 32), 0x8A9136AA); /* RFC 3720 B.4 */
    assert_int_equal(crc32c(0, ones, 32), 0x62A8AB43);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xE3069283);
    assert_int_equal(crc32_legacy(crc32_legacy(0, "1234", 4), "56789", 5), 0xCBF43926);
}

static void varints_round_trip_and_end(void **state)
{
    (void)state;
    static const int64_t values[] = {0,    -1,   1,         63,        64,        -64,      -65,
                                     8191, 8192, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint8_t buffer[VARINT64_MAX];
        size_t size = varint64_put(buffer, values[i]);
        assert_int_equal(size, varint64_size(values[i]));
        int64_t back;
        struct slice in = {buffer, size};
        assert_true(varint64_get(&in, &back));
        assert_int_equal(in.size, 0);
        assert_true(back == values[i]);
        for (size_t cut = 0; cut < size; cut++) {
            in = (struct slice){buffer, cut};
            assert_false(varint64_get(&in, &back));
            assert_int_equal(in.size, cut);
        }
        if (values[i] < INT32_MIN || values[i] > INT32_MAX) continue;
        int32_t narrow;
        size = varint32_put(buffer, (int32_t)values[i]);
        assert_int_equal(size, varint32_size((int32_t)values[i]));
        in = (struct slice){buffer, size};
        assert_true(varint32_get(&in, &narrow));
        assert_int_equal(narrow, values[i]);
    }
    static const uint8_t endless[11] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0};
    struct slice in = {endless, sizeof endless};
    int32_t narrow;
    int64_t wide;
    assert_false(varint32_get(&in, &narrow));
    assert_false(varint64_get(&in, &wide));
    static const uint8_t padded[] = {0x82, 0x80, 0x00}; /* 1, longer than needed */
    in = (struct slice){padded, sizeof padded};
    assert_true(varint32_get(&in, &narrow));
    assert_int_equal(narrow, 1);
    assert_int_equal(in.size, 0);
}

/* Something between noise and one letter. */
static struct slice sample(struct random *random, uint8_t *buffer, size_t size)
{
    uint64_t kind = random_below(random, 3);
    for (size_t i = 0; i < size; i++) {
        buffer[i] = kind == 0   ? 'x'
                    : kind == 1 ? (uint8_t)('a' + random_below(random, 4))
                                : (uint8_t)random_next(random);
    }
    return (struct slice){buffer, size};
}

static void every_codec_gives_back_what_it_took(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 11);
    static uint8_t buffer[300000];
    static const size_t sizes[] = {0, 1, 2, 15, 100, 4096, 32767, 32768, 32769, 65536, 65537, 300000};
    struct text packed = {0}, plain = {0};
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            for (int round = 0; round < 3; round++) {
                struct slice in = sample(&random, buffer, sizes[i]);
                text_reset(&packed);
                text_reset(&plain);
                text_addz(&packed, "before");
                text_addz(&plain, "kept");
                assert_int_equal(codec_compress(codec, codec_default_level(codec), in, &packed), OK);
                struct slice body = {(uint8_t *)packed.data + 6, packed.size - 6};
                assert_int_equal(codec_decompress(codec, body, in.size, &plain), OK);
                assert_int_equal(plain.size, 4 + in.size);
                assert_memory_equal(plain.data, "kept", 4);
                assert_memory_equal(plain.data + 4, in.data, in.size);

                text_reset(&plain);
                assert_int_equal(codec_decompress_old(codec, body, SIZE_MAX, &plain), OK);
                assert_int_equal(plain.size, in.size);
                if (in.size > 0) {
                    assert_int_equal(codec_decompress(codec, body, in.size - 1, &plain), ERR_TOO_LARGE);
                    assert_int_equal(plain.size, in.size);
                }
                if (codec == CODEC_NONE || body.size == 0) continue;
                /* Cut short anywhere: never what it was. Snappy's frame may end after any block. */
                struct slice cut = {body.data, random_below(&random, body.size)};
                text_reset(&plain);
                enum error err = codec_decompress(codec, cut, SIZE_MAX, &plain);
                if (codec == CODEC_SNAPPY && err == OK)
                    assert_true(plain.size < in.size || in.size == 0);
                else
                    assert_int_equal(err, ERR_CORRUPT);
            }
        }
    }
    text_free(&packed);
    text_free(&plain);
}

static void every_level_apache_takes_works(void **state)
{
    (void)state;
    static const struct {
        enum codec codec;
        int level;
    } rows[] = {
        {CODEC_GZIP, -1}, {CODEC_GZIP, 1},       {CODEC_GZIP, 9},  {CODEC_LZ4, 1},    {CODEC_LZ4, 9},
        {CODEC_LZ4, 17},  {CODEC_ZSTD, -131072}, {CODEC_ZSTD, 22}, {CODEC_SNAPPY, 5},
    };
    uint8_t buffer[5000];
    struct random random;
    random_seed(&random, 5);
    struct slice in = sample(&random, buffer, sizeof buffer);
    struct text packed = {0}, plain = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        text_reset(&packed);
        text_reset(&plain);
        assert_int_equal(codec_compress(rows[i].codec, rows[i].level, in, &packed), OK);
        assert_int_equal(codec_decompress(rows[i].codec, text_slice(&packed), 5000, &plain), OK);
        assert_memory_equal(plain.data, buffer, sizeof buffer);
    }
    text_free(&packed);
    text_free(&plain);
}

static void a_bomb_costs_its_limit_only(void **state)
{
    (void)state;
    size_t size = 64 << 20;
    uint8_t *zeros = calloc(1, size);
    assert_non_null(zeros);
    struct text packed = {0}, plain = {0};
    for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
        text_reset(&packed);
        assert_int_equal(
            codec_compress(codec, codec_default_level(codec), (struct slice){zeros, size}, &packed), OK);
        text_free(&plain);
        assert_int_equal(codec_decompress(codec, text_slice(&packed), 100000, &plain), ERR_TOO_LARGE);
        assert_int_equal(plain.size, 0);
        /* Its first window may be three times a big input, never its output. */
        assert_true(plain.capacity < 4 * packed.size + 200000);
    }
    free(zeros);
    text_free(&packed);
    text_free(&plain);
}

static void foreign_and_hostile_bytes(void **state)
{
    (void)state;
    struct text out = {0}, packed = {0};
    /* "aaaaaaaaaaaaaaaa" as one raw snappy block, with no xerial frame around it */
    static const uint8_t raw[] = {16, 0x00, 'a', 0x3a, 0x01, 0x00};
    assert_int_equal(codec_decompress(CODEC_SNAPPY, (struct slice){raw, sizeof raw}, 100, &out), OK);
    assert_string_equal(out.data, "aaaaaaaaaaaaaaaa");
    /* a claim of 4 GiB in five bytes */
    static const uint8_t claim[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0};
    text_reset(&out);
    assert_int_equal(codec_decompress(CODEC_SNAPPY, (struct slice){claim, sizeof claim}, SIZE_MAX, &out),
                     ERR_CORRUPT);
    /* a xerial block that goes beyond the end */
    static const uint8_t beyond[] = {0x82, 'S', 'N', 'A', 'P', 'P',  'Y',  0,    0,    0, 0,
                                     1,    0,   0,   0,   1,   0x7f, 0xff, 0xff, 0xff, 0};
    assert_int_equal(codec_decompress(CODEC_SNAPPY, (struct slice){beyond, sizeof beyond}, 100, &out),
                     ERR_CORRUPT);

    /* two gzip members and two zstd frames read as one; bytes behind an lz4 frame are refused */
    static const enum codec chained[] = {CODEC_GZIP, CODEC_ZSTD, CODEC_SNAPPY};
    for (size_t i = 0; i < 3; i++) {
        text_reset(&packed);
        text_reset(&out);
        assert_int_equal(codec_compress(chained[i], 1, SLICE("one "), &packed), OK);
        assert_int_equal(codec_compress(chained[i], 1, SLICE("two"), &packed), OK);
        assert_int_equal(codec_decompress(chained[i], text_slice(&packed), 7, &out), OK);
        assert_string_equal(out.data, "one two");
    }
    text_reset(&packed);
    text_reset(&out);
    assert_int_equal(codec_compress(CODEC_LZ4, 9, SLICE("one"), &packed), OK);
    text_addc(&packed, 'x');
    assert_int_equal(codec_decompress(CODEC_LZ4, text_slice(&packed), 100, &out), ERR_CORRUPT);

    /* the header checksum of old messages: refused as it should be, mended where it is known to be wrong */
    packed.size--;
    packed.data[6] ^= 0x55;
    assert_int_equal(codec_decompress(CODEC_LZ4, text_slice(&packed), 100, &out), ERR_CORRUPT);
    assert_int_equal(codec_decompress_old(CODEC_LZ4, text_slice(&packed), 100, &out), OK);
    assert_string_equal(out.data, "one");

    for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
        assert_int_equal(codec_decompress(codec, SLICE_NULL, 100, &out), ERR_CORRUPT);
        assert_int_equal(codec_decompress_old(codec, SLICE(""), 100, &out), ERR_CORRUPT);
    }
    assert_int_equal(codec_decompress((enum codec)5, SLICE("x"), 100, &out), ERR_UNSUPPORTED);
    assert_int_equal(codec_compress((enum codec)7, 0, SLICE("x"), &out), ERR_UNSUPPORTED);
    assert_string_equal(out.data, "one");
    text_free(&packed);
    text_free(&out);
}

static void damaged_bytes_never_crash(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 3);
    static uint8_t buffer[3000];
    struct text packed = {0}, plain = {0};
    for (int round = 0; round < 4000; round++) {
        enum codec codec = (enum codec)(CODEC_GZIP + random_below(&random, 4));
        struct slice in = sample(&random, buffer, random_below(&random, sizeof buffer));
        text_reset(&packed);
        text_reset(&plain);
        assert_int_equal(codec_compress(codec, codec_default_level(codec), in, &packed), OK);
        for (uint64_t n = 1 + random_below(&random, 4); n > 0; n--) {
            packed.data[random_below(&random, packed.size)] = (char)random_next(&random);
        }
        enum error err = codec_decompress_old(codec, text_slice(&packed), 10000, &plain);
        assert_true(err == OK || err == ERR_CORRUPT || err == ERR_TOO_LARGE || err == ERR_NOMEM);
        assert_true(plain.size <= 10000);
    }
    text_free(&packed);
    text_free(&plain);
}

static void codecs_have_names(void **state)
{
    (void)state;
    static const char *const names[CODEC_COUNT] = {"none", "gzip", "snappy", "lz4", "zstd"};
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        assert_string_equal(codec_text((enum codec)codec), names[codec]);
    assert_null(codec_text((enum codec)5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_have_their_known_values),
        cmocka_unit_test(varints_round_trip_and_end),
        cmocka_unit_test(every_codec_gives_back_what_it_took),
        cmocka_unit_test(every_level_apache_takes_works),
        cmocka_unit_test(a_bomb_costs_its_limit_only),
        cmocka_unit_test(foreign_and_hostile_bytes),
        cmocka_unit_test(damaged_bytes_never_crash),
        cmocka_unit_test(codecs_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
