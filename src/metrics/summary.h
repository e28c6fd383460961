/* summary.h: how a value was distributed: count, sum, least, greatest, quantiles. Of one thread, so without atomics.
 *
 *     summary_record(&times.sync_us, 1250);        a few ns: one bucket and four numbers
 *     summary_quantile(&times.sync_us, 0.99)       the upper bound of that value's bucket, at most the greatest seen
 *
 * Units   whatever is recorded, whole numbers; below 0 counts as 0. Zeroed = empty. Buckets as in metrics.h.
 * Owner   the loop that records; it also reads and resets.
 */
#pragma once
#include <stdint.h>
#include <string.h>

#include "metrics/metrics.h"

struct summary {
    struct histogram histogram;
    uint64_t count, least, greatest;
};

static inline void summary_record(struct summary *summary, int64_t value)
{
    uint64_t recorded = value > 0 ? (uint64_t)value : 0;
    summary->histogram.buckets[histogram_bucket_of(recorded)]++;
    summary->histogram.sum += recorded;
    if (summary->count == 0 || recorded < summary->least) summary->least = recorded;
    if (recorded > summary->greatest) summary->greatest = recorded;
    summary->count++;
}

static inline uint64_t summary_sum(const struct summary *summary)
{
    return summary->histogram.sum;
}

static inline uint64_t summary_quantile(const struct summary *summary, double q)
{
    uint64_t bound = histogram_quantile(&summary->histogram, q);
    return bound < summary->greatest ? bound : summary->greatest;
}

static inline void summary_reset(struct summary *summary)
{
    memset(summary, 0, sizeof *summary);
}
