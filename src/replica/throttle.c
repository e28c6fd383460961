#include "replica/throttle.h"

#include "base/text.h"

enum { US_PER_S = 1000000, LOOK_AGAIN_MS = 1000 };

void throttle_set_rate(struct throttle *throttle, int64_t rate)
{
    if (rate == INT64_MAX) rate = 0;
    if (__atomic_exchange_n(&throttle->rate, rate, __ATOMIC_RELAXED) != rate)
        __atomic_store_n(&throttle->free_at_us, 0, __ATOMIC_RELAXED);
}

void throttle_charge(struct throttle *throttle, size_t bytes, int64_t now_us)
{
    int64_t rate = __atomic_load_n(&throttle->rate, __ATOMIC_RELAXED);
    if (rate <= 0 || bytes == 0) return;
    double cost_us = (double)bytes * US_PER_S / (double)rate;
    int64_t cost = cost_us < 1e15 ? (int64_t)cost_us : (int64_t)1e15;
    int64_t free_at = __atomic_load_n(&throttle->free_at_us, __ATOMIC_RELAXED), next;
    do {
        next = (free_at > now_us ? free_at : now_us) + cost;
    } while (!__atomic_compare_exchange_n(&throttle->free_at_us, &free_at, next, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
}

int64_t throttle_wait_ms(const struct throttle *throttle, int64_t now_us)
{
    int64_t left_us = __atomic_load_n(&throttle->free_at_us, __ATOMIC_RELAXED) - now_us;
    if (left_us <= 0 || __atomic_load_n(&throttle->rate, __ATOMIC_RELAXED) <= 0) return 0;
    return left_us >= LOOK_AGAIN_MS * 1000 ? LOOK_AGAIN_MS : (left_us + 999) / 1000;
}

bool throttle_names(struct slice list, int32_t partition, int32_t broker)
{
    while (list.size > 0) {
        const uint8_t *comma = memchr(list.data, ',', list.size);
        struct slice item = {list.data, comma ? (size_t)(comma - list.data) : list.size};
        list = comma ? (struct slice){comma + 1, list.size - item.size - 1} : SLICE_NULL;
        while (item.size > 0 && item.data[0] == ' ') item.data++, item.size--;
        while (item.size > 0 && item.data[item.size - 1] == ' ') item.size--;
        if (slice_is(item, "*")) return true;
        const uint8_t *colon = item.size > 0 ? memchr(item.data, ':', item.size) : NULL;
        if (!colon) continue;
        struct slice first = {item.data, (size_t)(colon - item.data)},
                     second = {colon + 1, item.size - first.size - 1};
        int64_t number;
        if (slice_to_int64(first, 0, INT32_MAX, &number) && number == partition &&
            slice_to_int64(second, 0, INT32_MAX, &number) && number == broker)
            return true;
    }
    return false;
}
