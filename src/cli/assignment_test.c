/* assignment_test.c: assignments and partitions as people write them. */
#include "cli/assignment.h"

#include "base/test.h"
#include "cli/move.h"

static void assignments(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int32_t partitions; /* -1: refused */
        int32_t last_count, last;
    } rows[] = {{"1:2:3,2:3:1", 2, 3, 1}, {"7", 1, 1, 7},     {"0:1", 1, 2, 1},         {"", -1, 0, 0},
                {",", -1, 0, 0},          {"1:2,", -1, 0, 0}, {"1:1", -1, 0, 0},        {"1;2", -1, 0, 0},
                {"1:-2", -1, 0, 0},       {"a", -1, 0, 0},    {"99999999999", -1, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena arena;
        arena_init(&arena, 0);
        struct ids *replicas = NULL;
        int32_t count = -1;
        const char *why = NULL;
        enum error err = assignment_parse(rows[i].text, &arena, &replicas, &count, &why);
        assert_int_equal(err == OK, rows[i].partitions >= 0);
        if (err == OK) {
            assert_int_equal(count, rows[i].partitions);
            assert_int_equal(replicas[count - 1].count, rows[i].last_count);
            assert_int_equal(replicas[count - 1].items[rows[i].last_count - 1], rows[i].last);
        } else {
            assert_non_null(why);
        }
        arena_free(&arena);
    }
}

static void partitions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_good, names_0, names_4;
    } rows[] = {{"orders", true, true, true},      {"orders:0", true, true, false},
                {"orders:0,4", true, true, true},  {"orders:14", true, false, false},
                {"other", true, false, false},     {"orders:", false, false, false},
                {"orders:a", false, false, false}, {":1", false, false, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(partition_wish_is_good(rows[i].text), rows[i].is_good);
        assert_int_equal(partition_wish_names(rows[i].text, SLICE("orders"), 0), rows[i].names_0);
        assert_int_equal(partition_wish_names(rows[i].text, SLICE("orders"), 4), rows[i].names_4);
    }
}

static void words_for_numbers(void **state)
{
    (void)state;
    char text[32], bar[13];
    move_bytes_text(1536, text, sizeof text);
    assert_string_equal(text, "1.5 KiB");
    move_bytes_text(999, text, sizeof text);
    assert_string_equal(text, "999 B");
    move_bytes_text(-1, text, sizeof text);
    assert_string_equal(text, "?");
    move_time_text(12400, text, sizeof text);
    assert_string_equal(text, "12 s");
    move_time_text(-1, text, sizeof text);
    assert_string_equal(text, "?");
    move_bar(1, 2, bar);
    assert_string_equal(bar, "[#####.....]");
    move_bar(5, 0, bar);
    assert_string_equal(bar, "[..........]");
    move_bar(9, 2, bar);
    assert_string_equal(bar, "[##########]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(assignments), cmocka_unit_test(partitions),
                                       cmocka_unit_test(words_for_numbers)};
    return cmocka_run_group_tests_name("assignment", tests, NULL, NULL);
}
