/* gauges.h: what a scrape of /metrics reads from a node's parts at that moment: counts of the broker, the controller and the
 * keeper, and one line for each partition led here. Names are those of the JMX exporter, kafka_exporter and ZooKeeper
 * (facts/operators.md 3). Everything runs on the control loop, where scrapes are served. */
#pragma once
#include <stdint.h>

struct broker;
struct controller;
struct keeper;
struct loop;
struct metadata;
struct metrics;
struct replicas;

/* Where the node keeps its parts; what they point to is NULL while there is none. */
struct gauges {
    struct loop *control;
    int32_t broker_id; /* once known */
    struct metadata *const *metadata;
    struct replicas *const *replicas;
    struct broker *const *broker;
    struct controller *const *controller;
    struct keeper *const *keeper;
};

/* `gauges` outlives the metrics. */
void gauges_register(struct gauges *gauges, struct metrics *metrics);
