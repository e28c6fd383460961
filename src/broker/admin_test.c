/* What admin requests are judged by, where no broker is needed for it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "base/random.h"
#include "base/test.h"
#include "broker/admin.h"
#include "broker/broker_loggers.h"

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
        cmocka_unit_test(resources_are_told_apart),
        cmocka_unit_test(loggers_have_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
