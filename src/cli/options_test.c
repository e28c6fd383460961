/* options_test.c: durations, sizes and offsets as people write them. */
#include <stdio.h>

#include "base/test.h"
#include "cli/cli.h"
#include "cli/offset.h"
#include "cli/rdk.h"

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;                                                 /* -1 = refused */
    } rows[] = {{"8000000000000000000ms8000000000000000000ms", -1}, /* the sum does not fit */
                {"500ms", 500},
                {"2s", 2000},
                {"1m", 60000},
                {"7d", 604800000},
                {"2h30m", 9000000},
                {"1.5s", 1500},
                {"250", 250},
                {"", -1},
                {"7 d", -1},
                {"d", -1},
                {"-1s", -1},
                {"1y", -1},
                {"9999999999999w", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t ms = -1;
        assert_int_equal(cli_parse_duration_ms(rows[i].text, &ms), rows[i].ms >= 0);
        assert_int_equal(ms, rows[i].ms);
    }
}

static void sizes(void **state)
{
    (void)state;
    int64_t bytes = 0;
    assert_true(cli_parse_bytes("512MiB", &bytes));
    assert_int_equal(bytes, 536870912);
    assert_true(cli_parse_bytes("10k", &bytes));
    assert_int_equal(bytes, 10000);
    assert_true(cli_parse_bytes("1GB", &bytes));
    assert_int_equal(bytes, 1000000000);
    assert_false(cli_parse_bytes("1PB", &bytes));
    assert_false(cli_parse_bytes("inf", &bytes));
    assert_false(cli_parse_bytes("nan", &bytes));
}

static void offsets(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_good;
        enum offset_kind kind;
        int64_t value;
    } rows[] = {
        {"start", true, OFFSET_START, 0},
        {"end", true, OFFSET_END, 0},
        {"42", true, OFFSET_NUMBER, 42},
        {"-5", true, OFFSET_FROM_END, 5},
        {"@-1h", true, OFFSET_AT_TIME, 1000000000000 - 3600000},
        {"@now", true, OFFSET_AT_TIME, 1000000000000},
        {"@1763805600000", true, OFFSET_AT_TIME, 1763805600000},
        {"@2026-11-22T10:00Z", true, OFFSET_AT_TIME, 1795341600000},
        {"@2026-11-22", true, OFFSET_AT_TIME, 1795305600000},
        {"", false, 0, 0},
        {"soon", false, 0, 0},
        {"@yesterday", false, 0, 0},
        {"12x", false, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct offset_wish wish;
        bool is_good = offset_parse(rows[i].text, 1000000000000, &wish);
        assert_int_equal(is_good, rows[i].is_good);
        if (!is_good) continue;
        assert_int_equal(wish.kind, rows[i].kind);
        assert_int_equal(wish.value, rows[i].value);
    }
}

/* What consume -o jsonl writes, produce -i jsonl reads: any bytes, null apart from empty. */
static void bytes_through_json(void **state)
{
    (void)state;
    static const struct slice values[] = {{0},
                                          {(const uint8_t *)"", 0},
                                          {(const uint8_t *)"plain", 5},
                                          {(const uint8_t *)"\xff\x00\x01", 3},
                                          {(const uint8_t *)"\xff\xfe", 2},
                                          {(const uint8_t *)"a\0b", 3},
                                          {(const uint8_t *)"\x80", 1}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        json_t *json = rdk_bytes_json(values[i].data, values[i].size);
        struct text memory = {0};
        const void *bytes = NULL;
        size_t size = 0;
        assert_true(rdk_json_bytes(json, &memory, &bytes, &size));
        assert_true(slice_equal((struct slice){bytes, size}, values[i]));
        text_free(&memory);
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(durations), cmocka_unit_test(sizes),
                                       cmocka_unit_test(offsets), cmocka_unit_test(bytes_through_json)};
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
