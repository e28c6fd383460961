/* reassignment.h: partitions on their way to other brokers (KIP-455; facts/cluster.md 3.10).
 *
 *   replicas  RS = target, then what else the origin had      origin = RS - adding      target = RS - removing
 *
 *   U  the new RS, adding, removing: topic znode, then memory; what a superseded move no longer needs is stopped and deleted
 *   A  target not in sync yet: next leader epoch, all of RS are told, the adding ones that they are new. Then we wait.
 *   B  target in sync: RS = target; a leader outside it moves; removing ones leave the ISR, stop, delete; topic znode; everybody is told
 *
 * The znode changes last in B, so whoever fails over in the middle does it again. Many partitions go together: one write for a
 * topic, one multi for many states, one request to a broker.
 */
#pragma once
#include "controller/inside.h"

struct move {
    struct cpartition *partition;
    struct int32_list replicas, adding, removing; /* as they are to be; in scratch */
    enum error err;                               /* after reassign_begin's steps */
};

struct moves {
    struct move *items;
    size_t count;
};

bool reassign_is_running(const struct cpartition *partition);
/* Fills the lists of a move to `target`, or back to where it came from when that is NULL. Errors:
 * ERR_INVALID_REPLICA_ASSIGNMENT, ERR_NO_REASSIGNMENT_IN_PROGRESS, with `why`. */
enum error reassign_plan(struct controller *c, struct cpartition *partition, const struct int32_list *target,
                         struct move *move, const char **why);
/* Pushes U, then A or B for each. Moves whose err is set are left out. */
void reassign_begin(struct controller *c, struct moves *moves);
/* Pushes A or B for those that are being moved; `is_only_complete`: B alone, where it is due. */
void reassign_go_on(struct controller *c, struct partition_list partitions, bool is_only_complete);
/* Every partition that is being moved, of topics that stay; with `broker_id` >= 0 those that have it in their target. */
struct partition_list reassign_running(struct controller *c, int32_t broker_id);

/* --- reassign_calls.c --- */
/* Pushes: takes these out of /admin/reassign_partitions, where they may be. */
void reassign_clear_requested(struct controller *c, struct partition_list partitions);
