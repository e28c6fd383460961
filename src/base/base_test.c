/* base_test.c: chosen cases, then random lives against plain models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/list.h"
#include "base/map.h"
#include "base/random.h"
#include "base/test.h"
#include "base/text.h"
#include "base/uuid.h"
#include "base/vec.h"

static void errors_keep_kafkas_codes(void **state)
{
    (void)state;
    assert_int_equal(error_kafka_code(OK), 0);
    assert_int_equal(error_kafka_code(ERR_UNKNOWN_SERVER_ERROR), -1);
    assert_int_equal(error_kafka_code(ERR_NOT_LEADER_OR_FOLLOWER), 6);
    assert_int_equal(error_kafka_code(ERR_MEMBER_ID_REQUIRED), 79);
    assert_int_equal(error_kafka_code(ERR_SHARE_SESSION_LIMIT_REACHED), 133);
    for (int16_t code = -1; code <= 133; code++) {
        assert_int_equal(error_kafka_code(error_from_kafka(code)), code);
    }
    assert_int_equal(error_from_kafka(999), ERR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(error_from_zk(-101), ERR_ZK_NO_NODE);
    assert_int_equal(error_zk_code(ERR_ZK_BAD_VERSION), -103);
}

static void map_agrees_with_an_array(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 7);
    struct map by_text = {0}, by_number = {0};
    void *model[256] = {0};
    size_t count = 0;
    for (int step = 0; step < 20000; step++) {
        uint64_t key = random_below(&random, 256);
        char text[8];
        snprintf(text, sizeof text, "k%d", (int)key);
        void *value = (void *)(uintptr_t)(step + 1);
        if (random_below(&random, 3) == 0) {
            assert_ptr_equal(map_remove(&by_text, slice_of(text)), model[key]);
            assert_ptr_equal(map_remove_number(&by_number, key), model[key]);
            count -= model[key] != NULL;
            model[key] = NULL;
        } else {
            assert_int_equal(map_put(&by_text, slice_of(text), value), OK);
            assert_int_equal(map_put_number(&by_number, key, value), OK);
            count += model[key] == NULL;
            model[key] = value;
        }
        uint64_t asked = random_below(&random, 256);
        snprintf(text, sizeof text, "k%d", (int)asked);
        assert_ptr_equal(map_get(&by_text, slice_of(text)), model[asked]);
        assert_ptr_equal(map_get_number(&by_number, asked), model[asked]);
        assert_int_equal(by_text.count, count);
    }
    size_t seen = 0;
    for (size_t i = 0; map_next(&by_text, &i);) seen++;
    assert_int_equal(seen, count);
    map_free(&by_text);
    map_free(&by_number);
}

static void arena_keeps_its_limit(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1000);
    assert_non_null(arena_alloc(&arena, 900));
    assert_null(arena_alloc(&arena, 200));
    assert_null(arena_array(&arena, SIZE_MAX / 4, 16));
    arena_reset(&arena);
    uint8_t *first = arena_alloc(&arena, 10), *second = arena_alloc(&arena, 10);
    assert_int_equal((uintptr_t)first % 16, 0);
    assert_true(second >= first + 10 || first >= second + 10);
    arena_free(&arena);
    arena_init(&arena, 0);
    for (int i = 0; i < 1000; i++) memset(arena_alloc(&arena, (size_t)i * 7), i, (size_t)i * 7);
    arena_free(&arena);
}

static void uuids_round_trip(void **state)
{
    (void)state;
    struct uuid id, back;
    char text[UUID_TEXT_SIZE];
    assert_true(uuid_parse(SLICE("AAAAAAAAAAAAAAAAAAAAAQ"), &id));
    assert_int_equal(id.bytes[15], 1);
    uuid_format(&id, text);
    assert_string_equal(text, "AAAAAAAAAAAAAAAAAAAAAQ");
    assert_false(uuid_parse(SLICE("AAAAAAAAAAAAAAAAAAAAA"), &id));
    assert_false(uuid_parse(SLICE("AAAAAAAAAAAAAAAAAAA+AQ"), &id));
    struct random random;
    random_seed(&random, 1);
    for (int i = 0; i < 100; i++) {
        random_fill(&random, id.bytes, 16);
        uuid_format(&id, text);
        assert_true(uuid_parse(slice_of(text), &back));
        assert_memory_equal(&id, &back, 16);
    }
}

static void text_escapes_json(void **state)
{
    (void)state;
    struct text text = {0};
    text_add_json(&text, SLICE("a\"b\\c\n\x01\xff\xc3\xa9"));
    assert_string_equal(text.data, "\"a\\\"b\\\\c\\n\\u0001\\ufffd\xc3\xa9\"");
    text_free(&text);
}

static void numbers_are_whole_and_in_range(void **state)
{
    (void)state;
    int64_t value = 0;
    assert_true(slice_to_int64(SLICE("-9223372036854775808"), INT64_MIN, INT64_MAX, &value));
    assert_true(value == INT64_MIN);
    assert_false(slice_to_int64(SLICE("9223372036854775808"), INT64_MIN, INT64_MAX, &value));
    assert_false(slice_to_int64(SLICE("12x"), 0, 100, &value));
    assert_false(slice_to_int64(SLICE(""), 0, 100, &value));
    assert_false(slice_to_int64(SLICE("-"), -5, 100, &value));
    assert_false(slice_to_int64(SLICE("101"), 0, 100, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_keep_kafkas_codes), cmocka_unit_test(map_agrees_with_an_array),
        cmocka_unit_test(arena_keeps_its_limit),    cmocka_unit_test(uuids_round_trip),
        cmocka_unit_test(text_escapes_json),        cmocka_unit_test(numbers_are_whole_and_in_range),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
