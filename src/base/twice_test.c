/* Names and numbers that are there twice: chosen cases, then against counting. */
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "base/test.h"
#include "base/twice.h"

static void names_are_found_twice(void **state)
{
    (void)state;
    static const struct {
        const char *names[6]; /* "-" = null */
        const char *twice;    /* one character a name */
    } cases[] = {
        {{NULL}, ""},
        {{"a"}, "n"},
        {{"a", "b"}, "nn"},
        {{"a", "b", "a"}, "yny"},
        {{"a", "a", "a"}, "yyy"},
        {{"", ""}, "yy"},
        {{"-", "-", "a"}, "nnn"}, /* no name is not the same name */
        {{"-", ""}, "nn"},
        {{"b", "ab", "b", "a", "ab"}, "yyyny"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice names[6];
        size_t count = 0;
        for (; cases[i].names[count]; count++) {
            names[count] = cases[i].names[count][0] == '-' ? SLICE_NULL : slice_of(cases[i].names[count]);
        }
        struct arena arena;
        arena_init(&arena, 0);
        const bool *is_twice = find_twice(&arena, names, count);
        assert_non_null(is_twice);
        for (size_t k = 0; k < count; k++) assert_int_equal(is_twice[k], cases[i].twice[k] == 'y');
        arena_free(&arena);
    }
}

/* Against counting. */
static void names_are_found_twice_at_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct random random;
        random_seed(&random, seed);
        char texts[40][2];
        struct slice names[40];
        size_t count = random_below(&random, 40);
        uint32_t letters = 1 + (uint32_t)random_below(&random, 26);
        for (size_t i = 0; i < count; i++) {
            texts[i][0] = (char)('a' + random_below(&random, letters));
            texts[i][1] = (char)('a' + random_below(&random, 2));
            names[i] = (struct slice){(const uint8_t *)texts[i], random_below(&random, 3)};
        }
        struct arena arena;
        arena_init(&arena, 0);
        const bool *is_twice = find_twice(&arena, names, count);
        assert_non_null(is_twice);
        for (size_t i = 0; i < count; i++) {
            size_t others = 0;
            for (size_t k = 0; k < count; k++) others += k != i && slice_equal(names[i], names[k]);
            if (is_twice[i] != (others > 0)) fail_msg("seed %llu, name %zu", (unsigned long long)seed, i);
        }
        arena_free(&arena);
    }
}

static void numbers_are_found_twice(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 1);
    for (int round = 0; round < 500; round++) {
        int32_t numbers[20];
        size_t count = random_below(&random, 20);
        bool want = false;
        for (size_t i = 0; i < count; i++) {
            numbers[i] = (int32_t)random_below(&random, 200) - 100;
            for (size_t k = 0; k < i; k++) want |= numbers[k] == numbers[i];
        }
        struct arena arena;
        arena_init(&arena, 0);
        assert_int_equal(has_twice(&arena, numbers, count), want);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_twice),
        cmocka_unit_test(names_are_found_twice_at_random),
        cmocka_unit_test(numbers_are_found_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
