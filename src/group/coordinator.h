/* coordinator.h: how a call finds its group. For group/ alone.
 *
 *     caller's loop      begin: may it, which topics                                         end -> done()
 *                          |                                                                  ^
 *                          v  loop_post, where homes differ                                   |
 *     home of the group  run, step 0 ...  (waits)  ... run, step 1 ...  -----------------------+
 *
 * A request about several groups is as many steps, one after another, each on the home loop of its group.
 */
#pragma once
#include "group/brain.h"

struct group_coordinator;

struct group_api {
    bool needs_group_id; /* an empty one is INVALID_GROUP_ID */
    /* On the caller's loop. False: there is nothing to run, the response is complete. Sets step_count where it is not 1. */
    bool (*begin)(struct group_call *call);
    /* Whose step it is; NULL: the partition of that number (ListGroups). */
    struct slice (*group_id)(const struct group_call *call);
    /* False: this step was answered in begin. NULL: never. */
    bool (*wants)(const struct group_call *call);
    /* On the home loop; ends by group_answer, now or later. */
    void (*run)(struct group_shard *shard, struct group_call *call);
    /* Instead of run, on any loop: nobody here can. */
    void (*refuse)(struct group_call *call, enum error err);
    /* On the caller's loop, the last touch; may be NULL. */
    void (*end)(struct group_call *call);
};

/* coordinator.c, for calls.c. */
void group_call_start(struct group_coordinators *coordinators, struct group_call *call,
                      const struct group_api *api, const void *request);
/* 0 = unknown. Any thread. */
int32_t group_partition_count(const struct group_coordinators *coordinators);
