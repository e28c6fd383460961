/* cluster_bench.h: what tests of several brokers share: a cluster made, and what is shown of it. For tests alone. */
#pragma once
#include "base/test.h"

#include "controller/controller_world.h"

/* As the controller's broker sees it. */
static inline const struct image_partition *shown(struct test_world *w, const char *name, int32_t index)
{
    return image_partition(metadata_image(test_controller(w)->metadata), slice_of(name), index);
}

static inline void assert_ids(const int32_t *got, int32_t got_count, const int32_t *want, int32_t count)
{
    assert_int_equal(got_count, count);
    for (int32_t i = 0; i < count; i++) assert_int_equal(got[i], want[i]);
}

#define ASSERT_REPLICAS(partition, ...)                                                                      \
    assert_ids((partition)->replicas, (partition)->replica_count, (const int32_t[]){__VA_ARGS__},            \
               sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))
#define ASSERT_ISR(partition, ...)                                                                           \
    assert_ids((partition)->isr, (partition)->isr_count, (const int32_t[]){__VA_ARGS__},                     \
               sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))
#define IDS(...) (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t)

static inline struct test_world *cluster(uint64_t seed, int brokers)
{
    struct test_world *w = test_world_new(seed);
    for (int i = 0; i < brokers; i++) test_broker_start(w, i);
    assert_int_equal(test_controller(w)->id, 0);
    return w;
}

static inline struct test_replica *replica(struct test_world *w, int32_t id, const char *name)
{
    return map_get(&w->brokers[id]->replicas, slice_of(name));
}

static inline void run(struct test_world *w)
{
    fake_keeper_advance(w->fake, 20);
}
