/* metrics.h: counters and histograms of one node, and their Prometheus text.
 *
 *     struct counter *produced = metrics_counter(m, "kafka_..._total", "records in", "topic=\"orders\"");
 *     counter_add(produced, 3);                              any thread, one relaxed atomic add
 *     histogram_record(&latency, 1250);                      microseconds
 *
 * Registration takes a lock and allocates: do it at start or when a topic appears, never per request. Values
 * are relaxed atomics, so a scrape never stops the data path. Names follow what dashboards ask for
 * (facts/operators.md 3). Errors: registration without memory answers a shared throw-away object, so callers
 * need no check.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct metrics;

struct counter {
    uint64_t value;
};

/* Log-linear: four buckets for each power of two, relative error below 1/4; values up to 2^40. */
enum { HISTOGRAM_BUCKETS = 164 };
struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t sum;
};

struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);

/* labels: what stands between the braces, e.g. `request="Fetch",error="NONE"`, or "". Asking again for the
 * same name and labels gives the same object. Owned by `metrics`. */
struct counter *metrics_counter(struct metrics *metrics, const char *name, const char *help,
                                const char *labels);
/* Values in microseconds, shown as a Prometheus summary in milliseconds with quantiles, as JMX dashboards expect. */
struct histogram *metrics_summary_ms(struct metrics *metrics, const char *name, const char *help,
                                     const char *labels);
/* Writes whole families of its own at each scrape (per-partition gauges, for example), with metrics_family
 * and metrics_sample. Called on the scraping thread. */
void metrics_collector(struct metrics *metrics, void (*write)(void *context, struct text *out),
                       void *context);

void metrics_family(struct text *out, const char *name, const char *type, const char *help);
void metrics_sample(struct text *out, const char *name, const char *labels, double value);

/* Everything, as text/plain; version=0.0.4. */
void metrics_write(struct metrics *metrics, struct text *out);

static inline void counter_add(struct counter *counter, uint64_t n)
{
    __atomic_fetch_add(&counter->value, n, __ATOMIC_RELAXED);
}
static inline uint64_t counter_get(const struct counter *counter)
{
    return __atomic_load_n(&counter->value, __ATOMIC_RELAXED);
}

static inline size_t histogram_bucket_of(uint64_t value)
{
    if (value < 4) return (size_t)value;
    int power = 63 - __builtin_clzll(value);
    size_t index = (size_t)(power - 1) * 4 + (value >> (power - 2) & 3);
    return index < HISTOGRAM_BUCKETS ? index : HISTOGRAM_BUCKETS - 1;
}
void histogram_record(struct histogram *histogram, int64_t value_us);
uint64_t histogram_count(const struct histogram *histogram);
/* Upper bound of the bucket that holds the q-quantile (0 < q <= 1), in microseconds; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double q);
