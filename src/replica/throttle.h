/* throttle.h: KIP-73: replicas being copied take, or give, at most so many bytes a second on this broker.
 *
 *     bytes that went     |==== 1 MB ====|            rate 1 MB/s
 *     nothing more until  ---------------> free_at    then again
 *
 * Two of them for each broker: what leaders hand out, and what followers fetch. Only replicas that their topic's list names are
 * slowed, and only while they are behind: who is in sync goes on at full speed. A fetch that is under way is let through
 * whole, and then paid for, so that the rate holds over any time longer than one fetch takes.
 *
 * Threads  any: relaxed atomics; two loops that charge at once both count.
 * Source   KIP-73, facts/cluster.md 5.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct throttle {
    int64_t rate; /* bytes a second; 0: without end */
    int64_t free_at_us;
};

/* A rate that differs forgives what is still to be waited for. INT64_MAX: without end. */
void throttle_set_rate(struct throttle *throttle, int64_t rate);
void throttle_charge(struct throttle *throttle, size_t bytes, int64_t now_us);
/* How long nothing more may go; 0: go on. At most a second, then it is to be asked again: the rate may be another. */
int64_t throttle_wait_ms(const struct throttle *throttle, int64_t now_us);

/* Does a topic's list ("*", or "partition:broker,...") name this replica? */
bool throttle_names(struct slice list, int32_t partition, int32_t broker);
