/* rebalance.c: how a group moves: sessions, the join phase and its timers, members that go.
 *
 *              join, leave, expiry, new metadata          all joined, or time is up
 *     Stable ----------------------------> Preparing ----------------------------> Completing
 *       ^                                    ^  |  nobody joined                        |
 *       |                                    |  +--------------> Empty                  |
 *       |              append failed, join, leave, expiry                               |
 *       +-------------------------------------------------------------------------------+
 *                        the leader's assignment is written
 *
 * Source: facts/coordinators.md 3.1 to 3.3. */
#include <assert.h>

#include "base/diag.h"
#include "group/brain.h"

#define JOIN_RETRY_MS 1000 /* a join phase that could not end is looked at again, at the earliest */

/* --- sessions --- */

/* A heartbeat only moves the deadline; the timer, when it runs, looks whether the deadline has moved. */
void group_session_restart(struct group_shard *shard, struct member *member)
{
    int64_t timeout_ms = member->is_new ? GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS : member->session_timeout_ms;
    member->deadline_ms = shard->now_ms + timeout_ms;
    if (!member->session.heap_index || member->session.due_ms > member->deadline_ms) {
        group_timer_start(&shard->timers, &member->session, member->deadline_ms);
    }
}

/* --- the join phase --- */

void group_write_empty(struct group_shard *shard, struct group *group)
{
    struct group_write *write = group_write_new(shard, WRITE_EMPTY, group);
    if (!write || !group_write_metadata(write, group, METADATA_EMPTY)) {
        diag_warn("could not note that group \"%.*s\" is empty: %s", SLICE_ARG(group->id),
                  error_text(ERR_NOMEM));
        if (write) group_write_free(write);
        return;
    }
    group->has_record = true;
    group_write_submit(write);
}

static void drop_next_assignments(struct group *group)
{
    LIST_EACH(&group->members, item) slice_drop(&CONTAINER_OF(item, struct member, link)->next_assignment);
    group->is_storing = false;
}

static void begin_generation(struct group_shard *shard, struct group *group)
{
    group->generation = group->generation == INT32_MAX ? 1 : group->generation + 1;
    if (group->member_count == 0) {
        slice_drop(&group->protocol);
        group_move(shard, group, GROUP_EMPTY);
        return group_write_empty(shard, group);
    }
    if (!slice_keep(group_select_protocol(group), &group->protocol)) {
        /* Nothing is said of this round; the members' clients ask again. */
        return group_timer_start(&shard->timers, &group->join_timer, shard->now_ms + JOIN_RETRY_MS);
    }
    group_move(shard, group, GROUP_COMPLETING_REBALANCE);
    group_timer_start(&shard->timers, &group->sync_timer, shard->now_ms + group_rebalance_timeout_ms(group));

    LIST_EACH(&group->members, item)
    {
        struct member *member = CONTAINER_OF(item, struct member, link);
        struct group_call *call = member->join;
        member->must_sync = true;
        if (!call) continue; /* a static one that did not come back yet */
        member->join = NULL;
        group->joining_count--;
        member->is_new = false;
        group_session_restart(shard, member);
        group_answer_join(shard, call, group, member->id, group->leader->id, member == group->leader, false);
    }
}

static struct member *first_joined(const struct group *group)
{
    LIST_EACH(&group->members, item)
    {
        struct member *member = CONTAINER_OF(item, struct member, link);
        if (member->join) return member;
    }
    return NULL;
}

static void complete_join(struct group_shard *shard, struct group *group)
{
    assert(group->state == GROUP_PREPARING_REBALANCE);
    LIST_EACH(&group->members, item)
    {
        struct member *member = CONTAINER_OF(item, struct member, link);
        if (!member->join && !member->instance_id.data) group_remove_member(shard, member);
    }
    group_timer_stop(&shard->timers, &group->join_timer);
    group->is_initial_delay = false;

    if (group->member_count > 0) {
        struct member *joined = first_joined(group);
        if (!joined) {
            /* Only static members, all away: their sessions decide. */
            int64_t delay_ms = group_rebalance_timeout_ms(group);
            if (delay_ms < JOIN_RETRY_MS) delay_ms = JOIN_RETRY_MS;
            return group_timer_start(&shard->timers, &group->join_timer, shard->now_ms + delay_ms);
        }
        if (!group->leader->join) group->leader = joined;
    }
    begin_generation(shard, group);
}

void group_try_complete_join(struct group_shard *shard, struct group *group)
{
    if (group->state != GROUP_PREPARING_REBALANCE || group->is_initial_delay) return;
    if (group->joining_count == group->member_count && group->pending_count == 0) complete_join(shard, group);
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void group_prepare_rebalance(struct group_shard *shard, struct group *group)
{
    if (group->state == GROUP_COMPLETING_REBALANCE) {
        drop_next_assignments(group);
        LIST_EACH(&group->members, item)
        {
            struct member *member = CONTAINER_OF(item, struct member, link);
            slice_drop(&member->assignment);
            if (member->sync) group_session_restart(shard, member);
            member_fail_sync(shard, member, ERR_REBALANCE_IN_PROGRESS);
        }
    }
    group_timer_stop(&shard->timers, &group->sync_timer);

    int64_t delay_ms = group_rebalance_timeout_ms(group);
    if (group->state == GROUP_EMPTY) {
        /* More members will come: whoever starts a consumer mostly starts several. */
        int64_t initial_ms = shard->config->initial_rebalance_delay_ms;
        group->is_initial_delay = true;
        group->has_new_member = false;
        group->initial_remaining_ms = delay_ms > initial_ms ? delay_ms - initial_ms : 0;
        delay_ms = initial_ms;
    } else {
        group->is_initial_delay = false;
    }
    group_move(shard, group, GROUP_PREPARING_REBALANCE);
    group_timer_start(&shard->timers, &group->join_timer, shard->now_ms + delay_ms);
    group_try_complete_join(shard, group);
}

void group_maybe_prepare_rebalance(struct group_shard *shard, struct group *group)
{
    if (group->state != GROUP_PREPARING_REBALANCE && group->state != GROUP_DEAD)
        group_prepare_rebalance(shard, group);
}

static void join_timer_due(struct group_shard *shard, struct group *group)
{
    if (group->state != GROUP_PREPARING_REBALANCE) return;
    if (group->is_initial_delay && group->has_new_member && group->initial_remaining_ms > 0) {
        int64_t delay_ms = smaller(shard->config->initial_rebalance_delay_ms, group->initial_remaining_ms);
        group->has_new_member = false;
        group->initial_remaining_ms -= delay_ms;
        return group_timer_start(&shard->timers, &group->join_timer, shard->now_ms + delay_ms);
    }
    complete_join(shard, group);
}

/* --- members that go --- */

static void member_left(struct group_shard *shard, struct group *group)
{
    if (group->state == GROUP_STABLE || group->state == GROUP_COMPLETING_REBALANCE) {
        group_prepare_rebalance(shard, group);
    } else {
        group_try_complete_join(shard, group);
    }
}

void group_expel_member(struct group_shard *shard, struct member *member)
{
    struct group *group = member->group;
    member_fail_join(shard, member, ERR_UNKNOWN_MEMBER_ID, SLICE(""));
    member_fail_sync(shard, member, ERR_UNKNOWN_MEMBER_ID);
    group_remove_member(shard, member);
    member_left(shard, group);
}

static void session_timer_due(struct group_shard *shard, struct member *member)
{
    if (member->deadline_ms > shard->now_ms) {
        return group_timer_start(&shard->timers, &member->session, member->deadline_ms);
    }
    if (!member->is_new && (member->join || member->sync)) return group_session_restart(shard, member);
    diag_info("member %.*s of group \"%.*s\" was silent for %d ms: removed", SLICE_ARG(member->id),
              SLICE_ARG(member->group->id),
              member->is_new ? GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS : member->session_timeout_ms);
    group_expel_member(shard, member);
}

static void sync_timer_due(struct group_shard *shard, struct group *group)
{
    if (group->state != GROUP_COMPLETING_REBALANCE && group->state != GROUP_STABLE) return;
    bool any_left = false;
    LIST_EACH(&group->members, item)
    {
        struct member *member = CONTAINER_OF(item, struct member, link);
        if (!member->must_sync) continue;
        member_fail_join(shard, member, ERR_UNKNOWN_MEMBER_ID, SLICE(""));
        member_fail_sync(shard, member, ERR_UNKNOWN_MEMBER_ID);
        group_remove_member(shard, member);
        any_left = true;
    }
    if (any_left) member_left(shard, group);
}

void group_timer_due(struct group_shard *shard, struct group_timer *timer)
{
    switch (timer->kind) {
    case TIMER_JOIN: return join_timer_due(shard, CONTAINER_OF(timer, struct group, join_timer));
    case TIMER_SYNC: return sync_timer_due(shard, CONTAINER_OF(timer, struct group, sync_timer));
    case TIMER_SESSION: return session_timer_due(shard, CONTAINER_OF(timer, struct member, session));
    case TIMER_PENDING: {
        struct pending_member *pending = CONTAINER_OF(timer, struct pending_member, timer);
        struct group *group = pending->group;
        group_remove_pending(shard, pending);
        group_try_complete_join(shard, group);
        return;
    }
    }
}

enum error group_check_member(const struct group *group, struct slice member_id, struct slice instance_id)
{
    if (instance_id.data) {
        const struct member *owner = group_static_member(group, instance_id);
        if (!owner) return ERR_UNKNOWN_MEMBER_ID;
        if (!slice_equal(owner->id, member_id)) return ERR_FENCED_INSTANCE_ID;
    }
    return group_member(group, member_id) ? OK : ERR_UNKNOWN_MEMBER_ID;
}
