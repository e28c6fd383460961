#include "keeper/throttle.h"

#include "base/test.h"

static struct throttle made(int32_t tokens, int32_t fill_ms, int32_t fill_count)
{
    struct throttle throttle;
    struct throttle_config config;
    throttle_config_init(&config);
    config.tokens = tokens;
    config.fill_ms = fill_ms;
    config.fill_count = fill_count;
    throttle_init(&throttle, &config, 1000);
    return throttle;
}

static int admitted(struct throttle *throttle, int64_t now_ms, int tries)
{
    int count = 0;
    for (int i = 0; i < tries; i++) count += throttle_admits(throttle, now_ms, false, 0.5);
    return count;
}

static void without_tokens_everybody_comes(void **state)
{
    struct throttle throttle = made(0, 1, 1);
    assert_int_equal(admitted(&throttle, 1000, 10000), 10000);
}

static void a_burst_empties_the_bucket_and_time_fills_it(void **state)
{
    struct throttle throttle = made(10, 100, 2);
    assert_int_equal(admitted(&throttle, 1000, 30), 10);
    assert_int_equal(admitted(&throttle, 1100, 30), 0); /* more than 100 ms */
    assert_int_equal(admitted(&throttle, 1200, 30), 4);
    assert_int_equal(admitted(&throttle, 1000000, 30), 10); /* no more than it holds */
    throttle = made(INT32_MAX, 1, INT32_MAX);
    assert_int_equal(admitted(&throttle, INT64_MAX / 2, 30), 30);
}

static void sessions_that_come_back_cost_less(void **state)
{
    struct throttle throttle = made(4, 100, 1);
    struct throttle_config config = throttle.config;
    config.has_weights = true;
    throttle_init(&throttle, &config, 1000); /* 4 new ones: 12 tokens */
    for (int i = 0; i < 6; i++) assert_true(throttle_admits(&throttle, 1000, true, 0));
    assert_false(throttle_admits(&throttle, 1000, true, 0));
    assert_false(throttle_admits(&throttle, 1101, false, 0) && throttle_admits(&throttle, 1101, false, 0));
}

static void the_chance_grows_while_the_bucket_is_empty(void **state)
{
    struct throttle throttle = made(2, 10, 1);
    throttle.config.freeze_ms = 20;
    throttle.config.drop_increase = 0.6;
    throttle.config.drop_decrease = 0.6;
    assert_int_equal(admitted(&throttle, 1000, 5), 2);
    throttle.config.fill_ms = 100000;
    assert_false(throttle_admits(&throttle, 1021, false, 0.5)); /* empty: 0.6 now */
    throttle.config.fill_ms = 10;
    assert_false(throttle_admits(&throttle, 1041, false, 0.5)); /* there are tokens, and bad luck */
    assert_true(throttle.tokens == 2);
    assert_true(throttle_admits(&throttle, 1062, false, 0.0)); /* all are there: 0 again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_tokens_everybody_comes),
        cmocka_unit_test(a_burst_empties_the_bucket_and_time_fills_it),
        cmocka_unit_test(sessions_that_come_back_cost_less),
        cmocka_unit_test(the_chance_grows_while_the_bucket_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
