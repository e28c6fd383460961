/* throttle_test.c: rates hold over time, however they are charged; lists name what they say. */
#include "replica/throttle.h"

#include "base/random.h"
#include "base/test.h"

static void lists(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        bool names_0_1, names_10_1;
    } rows[] = {{"*", true, true},        {"0:1", true, false},        {"10:1", false, true},
                {"0:1,10:1", true, true}, {" 0:1 , 3:4", true, false}, {"1:0", false, false},
                {"", false, false},       {"0", false, false},         {"0:11,:1,0:", false, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(throttle_names(slice_of(rows[i].list), 0, 1), rows[i].names_0_1);
        assert_int_equal(throttle_names(slice_of(rows[i].list), 10, 1), rows[i].names_10_1);
    }
    assert_false(throttle_names(SLICE_NULL, 0, 1));
}

/* Who asks before each fetch gets the rate, within one fetch. */
static void a_rate_holds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct throttle throttle = {0};
        int64_t rate = 1000 + (int64_t)random_below(&random, 10000000), now_us = 5000000, went = 0, most = 0;
        throttle_set_rate(&throttle, rate);
        while (now_us < 5000000 + 20 * 1000000LL) {
            int64_t wait_ms = throttle_wait_ms(&throttle, now_us);
            assert_in_range(wait_ms, 0, 1000);
            if (wait_ms > 0) {
                now_us += wait_ms * 1000;
                continue;
            }
            int64_t bytes = (int64_t)random_below(&random, (uint64_t)rate / 2 + 1);
            throttle_charge(&throttle, (size_t)bytes, now_us);
            went += bytes;
            if (bytes > most) most = bytes;
            now_us += 100;
        }
        assert_true(went <= 20 * rate + most);
        assert_true(went >= 20 * rate * 9 / 10 - most);
    }
}

static void without_a_rate_nothing_waits(void **state)
{
    (void)state;
    struct throttle throttle = {0};
    throttle_charge(&throttle, 1000000, 1);
    assert_int_equal(throttle_wait_ms(&throttle, 1), 0);
    throttle_set_rate(&throttle, 1);
    throttle_charge(&throttle, SIZE_MAX, 1);
    assert_int_equal(throttle_wait_ms(&throttle, 1), 1000);
    throttle_set_rate(&throttle, 1000); /* another rate forgives */
    assert_int_equal(throttle_wait_ms(&throttle, 1), 0);
    throttle_charge(&throttle, 1000000, 1);
    throttle_set_rate(&throttle, INT64_MAX);
    assert_int_equal(throttle_wait_ms(&throttle, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lists), cmocka_unit_test(a_rate_holds),
                                       cmocka_unit_test(without_a_rate_nothing_waits)};
    return cmocka_run_group_tests_name("throttle", tests, NULL, NULL);
}
