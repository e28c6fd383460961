/* logs.h: the logs of one partition on the disks of its replicas, read as files, without any broker. */
#pragma once
#include <stdint.h>

struct world;

/* The replicas must have the same bytes in each batch that all of them have, offsets rising without a gap, and all must reach
 * `must_end`; what is below `may_start` some may have deleted. Faults go to the history. */
void logs_compare(struct world *world, const char *topic, int32_t index, const int32_t *brokers, int count,
                  int64_t may_start, int64_t must_end);
