/* placement.h: which brokers hold the replicas of new partitions: spread evenly, the followers of one leader over many
 * others, and over racks where brokers name theirs. Pure. Source: facts/cluster.md 3.11.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct placement_broker {
    int32_t id;
    struct slice rack; /* null = none */
};

struct placement {
    const struct placement_broker *brokers; /* by rising id */
    size_t broker_count;
    int32_t replication_factor;
    int32_t first_partition; /* 0 for a new topic */
    int32_t partition_count; /* to be placed */
    uint32_t start, shift;   /* random for a new topic */
};

/* out[p * replication_factor + r]. ERR_INVALID_PARTITIONS, ERR_INVALID_REPLICATION_FACTOR (of more than there are brokers),
 * ERR_UNKNOWN_SERVER_ERROR when some brokers have racks and some none, ERR_NOMEM. */
MUST_USE enum error place_replicas(const struct placement *placement, int32_t *out);
