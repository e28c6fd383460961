/* What admin requests are judged by, where no broker is needed for it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "base/random.h"
#include "base/test.h"
#include "broker/admin.h"
#include "broker/broker_loggers.h"

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
        const bool *is_twice = admin_find_twice(&arena, names, count);
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
        const bool *is_twice = admin_find_twice(&arena, names, count);
        assert_non_null(is_twice);
        for (size_t i = 0; i < count; i++) {
            size_t others = 0;
            for (size_t k = 0; k < count; k++) others += k != i && slice_equal(names[i], names[k]);
            if (is_twice[i] != (others > 0)) fail_msg("seed %llu, name %zu", (unsigned long long)seed, i);
        }
        arena_free(&arena);
    }
}

static void resources_are_told_apart(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct slice topic = admin_resource_key(&arena, RESOURCE_TOPIC, SLICE("1"));
    assert_true(slice_equal(topic, admin_resource_key(&arena, RESOURCE_TOPIC, SLICE("1"))));
    assert_false(slice_equal(topic, admin_resource_key(&arena, RESOURCE_BROKER, SLICE("1"))));
    assert_false(slice_equal(topic, admin_resource_key(&arena, RESOURCE_TOPIC, SLICE("1\0a"))));
    assert_true(slice_equal(admin_resource_key(&arena, RESOURCE_BROKER, SLICE("")),
                            admin_resource_key(&arena, RESOURCE_BROKER, SLICE_NULL)));
    arena_free(&arena);
}

static void loggers_have_levels(void **state)
{
    (void)state;
    enum { SET, DELETE, APPEND, SUBTRACT };
    static const struct {
        const char *logger, *level; /* NULL = null */
        int8_t operation;
        enum error err;
        const char *then; /* the level that the root logger has afterwards */
    } cases[] = {
        {"root", "DEBUG", SET, OK, "DEBUG"},
        {"root", "WARN", SET, OK, "WARN"},
        {"root", "TRACE", SET, OK, "DEBUG"},
        {"root", "FATAL", SET, OK, "ERROR"},
        {"root", "ERROR", SET, OK, "ERROR"},
        {"root", "INFO", SET, OK, "INFO"},
        {"root", "info", SET, ERR_INVALID_CONFIG, "INFO"},
        {"root", "OFF", SET, ERR_INVALID_CONFIG, "INFO"},
        {"root", "", SET, ERR_INVALID_CONFIG, "INFO"},
        {"root", NULL, DELETE, ERR_INVALID_REQUEST, "INFO"},
        {"root", "WARN", APPEND, ERR_INVALID_REQUEST, "INFO"},
        {"root", "WARN", SUBTRACT, ERR_INVALID_REQUEST, "INFO"},
        {"kafka.controller", "WARN", SET, ERR_INVALID_CONFIG, "INFO"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why = NULL;
        struct slice before = root_logger_level(), level = slice_of(cases[i].level);
        enum error err =
            broker_logger_alter(slice_of(cases[i].logger), cases[i].operation, level, true, &why);
        assert_int_equal(err, cases[i].err);
        assert_true(slice_equal(root_logger_level(), before)); /* validated only */
        err = broker_logger_alter(slice_of(cases[i].logger), cases[i].operation, level, false, &why);
        assert_int_equal(err, cases[i].err);
        assert_int_equal(why != NULL, err != OK);
        assert_true(slice_is(root_logger_level(), cases[i].then));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_twice),
        cmocka_unit_test(names_are_found_twice_at_random),
        cmocka_unit_test(resources_are_told_apart),
        cmocka_unit_test(loggers_have_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
