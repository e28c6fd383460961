#include "metrics/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/vec.h"

enum kind { KIND_COUNTER, KIND_SUMMARY };

struct series {
    char *labels;
    struct counter counter;
    struct histogram *histogram; /* of a summary */
};

struct family {
    char *name, *help;
    enum kind kind;
    struct series **series;
    size_t count, capacity;
};

struct collector {
    void (*write)(void *context, struct text *out);
    void *context;
};

struct metrics {
    pthread_mutex_t lock; /* registration and scrape; values need none */
    struct family **families;
    size_t count, capacity;
    struct map by_name;   /* name -> struct family */
    struct map by_series; /* name{labels} -> struct series */
    struct collector *collectors;
    size_t collector_count, collector_capacity;
    struct series spare; /* handed out when memory ran out */
    struct histogram spare_histogram;
};

static const char *const kind_names[] = {"counter", "summary"};

struct metrics *metrics_new(void)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics) return NULL;
    pthread_mutex_init(&metrics->lock, NULL);
    metrics->spare.histogram = &metrics->spare_histogram;
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics) return;
    for (size_t i = 0; i < metrics->count; i++) {
        struct family *family = metrics->families[i];
        for (size_t j = 0; j < family->count; j++) {
            free(family->series[j]->labels);
            free(family->series[j]->histogram);
            free(family->series[j]);
        }
        free(family->series);
        free(family->name);
        free(family->help);
        free(family);
    }
    free(metrics->families);
    free(metrics->collectors);
    map_free(&metrics->by_name);
    map_free(&metrics->by_series);
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

static struct family *family_of(struct metrics *metrics, const char *name, const char *help, enum kind kind)
{
    struct family *family = map_get(&metrics->by_name, slice_of(name));
    if (family) return family;
    family = calloc(1, sizeof *family);
    if (!family) return NULL;
    family->name = strdup(name);
    family->help = strdup(help);
    family->kind = kind;
    if (family->name && family->help && VEC_RESERVE(metrics->families, metrics->count, metrics->capacity) &&
        map_put(&metrics->by_name, slice_of(name), family) == OK) {
        metrics->families[metrics->count++] = family;
        return family;
    }
    free(family->name);
    free(family->help);
    free(family);
    return NULL;
}

static struct series *series_of(struct metrics *metrics, const char *name, const char *help,
                                const char *labels, enum kind kind)
{
    struct text key = {0};
    text_addf(&key, "%s{%s}", name, labels);
    pthread_mutex_lock(&metrics->lock);
    struct series *series = key.failed ? NULL : map_get(&metrics->by_series, text_slice(&key));
    if (!series) {
        struct family *family = family_of(metrics, name, help, kind);
        struct series *fresh = family ? calloc(1, sizeof *fresh) : NULL;
        if (fresh) {
            fresh->labels = strdup(labels);
            if (kind == KIND_SUMMARY) fresh->histogram = calloc(1, sizeof *fresh->histogram);
            if (fresh->labels && (kind != KIND_SUMMARY || fresh->histogram) &&
                VEC_RESERVE(family->series, family->count, family->capacity) &&
                map_put(&metrics->by_series, text_slice(&key), fresh) == OK) {
                family->series[family->count++] = fresh;
                series = fresh;
            } else {
                free(fresh->labels);
                free(fresh->histogram);
                free(fresh);
            }
        }
    }
    pthread_mutex_unlock(&metrics->lock);
    text_free(&key);
    return series ? series : &metrics->spare;
}

struct counter *metrics_counter(struct metrics *metrics, const char *name, const char *help,
                                const char *labels)
{
    return &series_of(metrics, name, help, labels, KIND_COUNTER)->counter;
}

struct histogram *metrics_summary_ms(struct metrics *metrics, const char *name, const char *help,
                                     const char *labels)
{
    return series_of(metrics, name, help, labels, KIND_SUMMARY)->histogram;
}

void metrics_collector(struct metrics *metrics, void (*write)(void *context, struct text *out), void *context)
{
    pthread_mutex_lock(&metrics->lock);
    if (VEC_RESERVE(metrics->collectors, metrics->collector_count, metrics->collector_capacity)) {
        metrics->collectors[metrics->collector_count++] = (struct collector){write, context};
    }
    pthread_mutex_unlock(&metrics->lock);
}

/* --- histograms --- */

/* Largest value of a bucket. */
static uint64_t bucket_top(size_t index)
{
    if (index < 4) return index;
    int power = (int)(index / 4) + 1;
    uint64_t step = 1ULL << (power - 2);
    return (1ULL << power) + step * (index % 4 + 1) - 1;
}

void histogram_record(struct histogram *histogram, int64_t value_us)
{
    uint64_t value = value_us > 0 ? (uint64_t)value_us : 0;
    __atomic_fetch_add(&histogram->buckets[histogram_bucket_of(value)], 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&histogram->sum, value, __ATOMIC_RELAXED);
}

static uint64_t load(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

uint64_t histogram_count(const struct histogram *histogram)
{
    uint64_t count = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) count += load(&histogram->buckets[i]);
    return count;
}

uint64_t histogram_quantile(const struct histogram *histogram, double q)
{
    uint64_t count = histogram_count(histogram), seen = 0;
    if (count == 0) return 0;
    uint64_t wanted = (uint64_t)ceil(q * (double)count);
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += load(&histogram->buckets[i]);
        if (seen >= wanted) return bucket_top(i);
    }
    return bucket_top(HISTOGRAM_BUCKETS - 1);
}

/* --- text --- */

void metrics_family(struct text *out, const char *name, const char *type, const char *help)
{
    text_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_sample(struct text *out, const char *name, const char *labels, double value)
{
    if (labels[0]) {
        text_addf(out, "%s{%s} ", name, labels);
    } else {
        text_addf(out, "%s ", name);
    }
    bool is_whole = value == floor(value) && fabs(value) < 1e15;
    text_addf(out, is_whole ? "%.0f\n" : "%.9g\n", value);
}

static void write_summary(struct text *out, const char *name, const struct series *series)
{
    static const char *const quantiles[] = {"0.5", "0.75", "0.95", "0.98", "0.99", "0.999"};
    const char *comma = series->labels[0] ? "," : "";
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        double ms = (double)histogram_quantile(series->histogram, atof(quantiles[i])) / 1000;
        text_addf(out, "%s{%s%squantile=\"%s\"} %.9g\n", name, series->labels, comma, quantiles[i], ms);
    }
    const char *open = series->labels[0] ? "{" : "", *close = series->labels[0] ? "}" : "";
    text_addf(out, "%s_sum%s%s%s %.9g\n", name, open, series->labels, close,
              (double)load(&series->histogram->sum) / 1000);
    text_addf(out, "%s_count%s%s%s %llu\n", name, open, series->labels, close,
              (unsigned long long)histogram_count(series->histogram));
}

void metrics_write(struct metrics *metrics, struct text *out)
{
    pthread_mutex_lock(&metrics->lock);
    for (size_t i = 0; i < metrics->count; i++) {
        const struct family *family = metrics->families[i];
        metrics_family(out, family->name, kind_names[family->kind], family->help);
        for (size_t j = 0; j < family->count; j++) {
            const struct series *series = family->series[j];
            switch (family->kind) {
            case KIND_COUNTER:
                metrics_sample(out, family->name, series->labels, (double)counter_get(&series->counter));
                break;
            case KIND_SUMMARY: write_summary(out, family->name, series); break;
            }
        }
    }
    for (size_t i = 0; i < metrics->collector_count; i++) {
        metrics->collectors[i].write(metrics->collectors[i].context, out);
    }
    pthread_mutex_unlock(&metrics->lock);
}
