/* metrics_test.c: the numbers add up, and the text is what Prometheus reads. */
#include <string.h>

#include "base/random.h"
#include "base/test.h"
#include "metrics/metrics.h"
#include "metrics/summary.h"

static void write_depth(void *context, struct text *out)
{
    metrics_family(out, "depth", "gauge", "how deep");
    metrics_sample(out, "depth", "", *(double *)context);
}

static void the_same_series_is_the_same_counter(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct counter *a = metrics_counter(m, "x_total", "help", "t=\"1\"");
    assert_ptr_equal(a, metrics_counter(m, "x_total", "help", "t=\"1\""));
    assert_ptr_not_equal(a, metrics_counter(m, "x_total", "help", "t=\"2\""));
    counter_add(a, 41);
    counter_add(a, 1);
    double depth = 2.5;
    metrics_collector(m, write_depth, &depth);
    struct text out = {0};
    metrics_write(m, &out);
    assert_string_equal(
        out.data, "# HELP x_total help\n# TYPE x_total counter\nx_total{t=\"1\"} 42\nx_total{t=\"2\"} 0\n"
                  "# HELP depth how deep\n# TYPE depth gauge\ndepth 2.5\n");
    text_free(&out);
    metrics_free(m);
}

static void quantiles_are_within_a_quarter(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct histogram *h = metrics_summary_ms(m, "d_ms", "help", "");
    assert_int_equal(histogram_quantile(h, 0.5), 0);
    for (int i = 1; i <= 100000; i++) histogram_record(h, i);
    assert_int_equal(histogram_count(h), 100000);
    double wanted[] = {0.001, 0.5, 0.9, 0.99, 1.0};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        double exact = wanted[i] * 100000, got = (double)histogram_quantile(h, wanted[i]);
        assert_true(got >= exact && got <= exact * 1.25 + 1);
    }
    histogram_record(h, INT64_MAX);
    histogram_record(h, -5);
    assert_int_equal(histogram_count(h), 100002);
    struct text out = {0};
    metrics_write(m, &out);
    assert_non_null(strstr(out.data, "# TYPE d_ms summary\nd_ms{quantile=\"0.5\"} "));
    assert_non_null(strstr(out.data, "d_ms_count 100002\n"));
    text_free(&out);
    metrics_free(m);
}

static void a_summary_tells_the_exact_ends(void **state)
{
    struct summary summary = {0};
    assert_int_equal(summary_quantile(&summary, 0.5), 0);
    for (int i = 1000; i >= 10; i--) summary_record(&summary, i);
    summary_record(&summary, -3);
    assert_true(summary.count == 992 && summary.least == 0 && summary.greatest == 1000);
    assert_int_equal(summary_sum(&summary), (10 + 1000) * 991 / 2);
    assert_int_equal(summary_quantile(&summary, 1), 1000); /* never beyond what was seen */
    uint64_t median = summary_quantile(&summary, 0.5);
    assert_true(median >= 500 && median <= 640);
    summary_reset(&summary);
    assert_int_equal(summary.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_series_is_the_same_counter),
        cmocka_unit_test(quantiles_are_within_a_quarter),
        cmocka_unit_test(a_summary_tells_the_exact_ends),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
