/* bootstrap_test.c: address lists as people write them. */
#include <string.h>

#include "base/test.h"
#include "client/bootstrap.h"

static void lists_of_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t count;
        const char *last_host;
        uint16_t last_port;
        const char *why; /* part of it; NULL = fine */
    } rows[] = {
        {"localhost:9092", 1, "localhost", 9092, NULL},
        {"a:1, b:2 ,c:3", 3, "c", 3, NULL},
        {"[::1]:9092", 1, "::1", 9092, NULL},
        {"zk1,zk2", 2, "zk2", 2181, NULL},
        {"a:1,,", 1, "a", 1, NULL},
        {"", 0, NULL, 0, "no address"},
        {":9092", 0, NULL, 0, "host is missing"},
        {"a:0", 0, NULL, 0, "not a number"},
        {"a:65536", 0, NULL, 0, "not a number"},
        {"a:nine", 0, NULL, 0, "not a number"},
        {"a\001b:1", 0, NULL, 0, "control character"},
        {"my host:1", 0, NULL, 0, "a blank"},
        {"[::1", 0, NULL, 0, "without its"},
        {"a:1,b:2,c:3,d:4,e:5", 0, NULL, 0, "too many"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct endpoint found[4];
        size_t count = 0;
        const char *why = NULL;
        struct slice bad;
        enum error err = bootstrap_parse(slice_of(rows[i].text), 2181, found, 4, &count, &why, &bad);
        assert_int_equal(err, rows[i].why ? ERR_CONFIG : OK);
        if (rows[i].why) {
            assert_non_null(strstr(why, rows[i].why));
        } else {
            assert_int_equal(count, rows[i].count);
            assert_string_equal(found[count - 1].host, rows[i].last_host);
            assert_int_equal(found[count - 1].port, rows[i].last_port);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lists_of_addresses)};
    return cmocka_run_group_tests_name("bootstrap", tests, NULL, NULL);
}
