/* balance.h: plans a better spread of replicas and leaders over brokers and racks, moving as few bytes as it can.
 *
 *     before   t-0 1,2   t-1 1,2   t-2 1,2        broker 3 is new
 *     after    t-0 3,2   t-1 1,3   t-2 2,1        two replicas moved, one leader changed by order alone
 *
 * Better means, in this order: no replica where none may be; the replicas of a partition in as many racks, as evenly, as
 * there are; every broker with as many replicas as any other (at most one more); then as many preferred leaders. A move is
 * made only when it brings two brokers nearer to each other, so a spread that is good already plans nothing, and a plan that
 * was carried out plans nothing more.
 *
 * How   replicas go along the cheapest chain of moves from a broker that has at least two more to one that has less; leaders
 *       along the shortest chain of swaps within the replicas there are, which is known to end in the best spread possible
 *       (a chain that would still help is what is missing in it).
 * Pure  no input, no output, no clock; brokers are indexes into `brokers`. Memory of the plan is the arena's.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

enum balance_role {
    BALANCE_TAKES,   /* gets and gives */
    BALANCE_KEEPS,   /* keeps what it has, e.g. a broker that is down for now */
    BALANCE_EMPTIES, /* everything leaves it */
};

struct balance_broker {
    enum balance_role role;
    int32_t rack;                                                           /* equal numbers, equal rack */
    int32_t replicas_before, replicas_after, leaders_before, leaders_after; /* filled */
};

struct balance_partition {
    const int32_t *before;
    int32_t before_count;
    int32_t wanted_count; /* replicas it shall have; before_count as a rule */
    int64_t bytes;        /* of one replica */
    bool is_fixed;        /* counts, but stays: being reassigned by somebody */
    /* filled: */
    int32_t *after;
    int32_t after_count;
};

enum balance_scope {
    BALANCE_ALL,
    BALANCE_LEADERS,    /* only the order within replicas */
    BALANCE_ONE_BROKER, /* only towards `target` */
};

struct balance {
    struct balance_broker *brokers;
    size_t broker_count;
    struct balance_partition *partitions;
    size_t partition_count;
    enum balance_scope scope;
    int32_t target;
    /* only partitions with a replica on a broker that empties, or with another wanted_count */
    bool is_only_necessary;
    /* filled: */
    size_t changed, moved_replicas, changed_leaders;
    int64_t moved_bytes;
    size_t impossible; /* the partition that wants more replicas than there are brokers for them */
};

/* ERR_LIMIT with `impossible` when a partition cannot have its replicas; ERR_NOMEM. */
MUST_USE enum error balance_plan(struct balance *balance, struct arena *arena);
bool balance_is_changed(const struct balance_partition *partition);
