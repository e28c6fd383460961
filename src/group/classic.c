/* classic.c: the classic group protocol: who is in the generation, and what its leader assigned to them.
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
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "group/brain.h"

#define JOIN_RETRY_MS 1000 /* a join phase that could not end is looked at again, at the earliest */

/* --- answers --- */

void group_answer(struct group_shard *shard, struct group_call *call)
{
    call->is_waiting = false;
    list_push_back(&shard->answers, &call->link);
}

void *group_response(struct group_call *call, const struct message_type *type)
{
    call->response = arena_alloc(call->arena, message_struct_size(type));
    if (call->response) message_init(type, call->response);
    return call->response;
}

/* An owned copy in the call's arena; without memory the whole response is given up. */
static struct slice answer_slice(struct group_call *call, struct slice s)
{
    struct slice copy = arena_copy(call->arena, s);
    if (s.data && !copy.data) call->response = NULL;
    return copy;
}

void group_join_error(struct group_call *call, enum error err, struct slice member_id)
{
    struct join_group_response *response = group_response(call, &join_group_response_type);
    if (!response) return;
    response->error_code = error_kafka_code(err);
    response->protocol_name = call->version >= 7 ? SLICE_NULL : SLICE("");
    response->member_id = answer_slice(call, member_id);
}

static void answer_join_error(struct group_shard *shard, struct group_call *call, enum error err,
                              struct slice member_id)
{
    group_join_error(call, err, member_id);
    group_answer(shard, call);
}

static bool answer_members(struct group_call *call, const struct group *group,
                           struct join_group_response *response)
{
    response->members.items = arena_array(call->arena, group->member_count, sizeof *response->members.items);
    if (!response->members.items) return false;
    LIST_EACH(&group->members, item)
    {
        const struct member *member = CONTAINER_OF(item, struct member, link);
        struct slice metadata = member_metadata(member, group->protocol);
        response->members.items[response->members.count++] =
            (struct join_group_response_join_group_response_member){
                .member_id = answer_slice(call, member->id),
                .group_instance_id = answer_slice(call, member->instance_id),
                .metadata = answer_slice(call, metadata.data ? metadata : SLICE("")),
            };
    }
    return call->response != NULL;
}

/* This generation, as `member_id` hears it. */
static void answer_join(struct group_shard *shard, struct group_call *call, const struct group *group,
                        struct slice member_id, struct slice leader_id, bool with_members,
                        bool skip_assignment)
{
    struct join_group_response *response = group_response(call, &join_group_response_type);
    if (response) {
        response->generation_id = group->generation;
        response->protocol_type = answer_slice(call, group->protocol_type);
        response->protocol_name = answer_slice(call, group->protocol);
        if (!group->protocol.data && call->version < 7) response->protocol_name = SLICE("");
        response->leader = answer_slice(call, leader_id.data ? leader_id : SLICE(""));
        response->member_id = answer_slice(call, member_id);
        response->skip_assignment = skip_assignment && call->version >= 9;
        if (with_members && !answer_members(call, group, response)) call->response = NULL;
    }
    group_answer(shard, call);
}

void group_sync_error(struct group_call *call, enum error err)
{
    struct sync_group_response *response = group_response(call, &sync_group_response_type);
    if (!response) return;
    response->error_code = error_kafka_code(err);
    response->assignment = SLICE("");
}

static void answer_sync(struct group_shard *shard, struct group_call *call, const struct group *group,
                        enum error err, struct slice assignment)
{
    group_sync_error(call, err);
    struct sync_group_response *response = call->response;
    if (response && err == OK) {
        response->protocol_type = answer_slice(call, group->protocol_type);
        response->protocol_name = answer_slice(call, group->protocol);
        response->assignment = answer_slice(call, assignment.data ? assignment : SLICE(""));
    }
    group_answer(shard, call);
}

/* --- who waits --- */

static void fail_join(struct group_shard *shard, struct member *member, enum error err,
                      struct slice member_id)
{
    struct group_call *call = member->join;
    if (!call) return;
    member->join = NULL;
    member->group->joining_count--;
    answer_join_error(shard, call, err, member_id);
}

static void fail_sync(struct group_shard *shard, struct member *member, enum error err)
{
    struct group_call *call = member->sync;
    if (!call) return;
    member->sync = NULL;
    answer_sync(shard, call, member->group, err, SLICE_NULL);
}

/* A client that asks twice has given up its first question. */
static void wait_join(struct group_shard *shard, struct member *member, struct group_call *call)
{
    fail_join(shard, member, ERR_REBALANCE_IN_PROGRESS, member->id);
    member->join = call;
    member->group->joining_count++;
    call->is_waiting = true;
}

static void wait_sync(struct group_shard *shard, struct member *member, struct group_call *call)
{
    fail_sync(shard, member, ERR_REBALANCE_IN_PROGRESS);
    member->sync = call;
    call->is_waiting = true;
}

void group_fail_calls(struct group_shard *shard, struct group *group, enum error err)
{
    LIST_EACH(&group->members, item)
    {
        struct member *member = CONTAINER_OF(item, struct member, link);
        fail_join(shard, member, err, member->id);
        fail_sync(shard, member, err);
    }
}

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

static void write_empty(struct group_shard *shard, struct group *group)
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
        return write_empty(shard, group);
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
        answer_join(shard, call, group, member->id, group->leader->id, member == group->leader, false);
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

static void try_complete_join(struct group_shard *shard, struct group *group)
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
            fail_sync(shard, member, ERR_REBALANCE_IN_PROGRESS);
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
    try_complete_join(shard, group);
}

static void maybe_prepare_rebalance(struct group_shard *shard, struct group *group)
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
        try_complete_join(shard, group);
    }
}

static void remove_member(struct group_shard *shard, struct member *member)
{
    struct group *group = member->group;
    fail_join(shard, member, ERR_UNKNOWN_MEMBER_ID, SLICE(""));
    fail_sync(shard, member, ERR_UNKNOWN_MEMBER_ID);
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
    remove_member(shard, member);
}

static void sync_timer_due(struct group_shard *shard, struct group *group)
{
    if (group->state != GROUP_COMPLETING_REBALANCE && group->state != GROUP_STABLE) return;
    bool any_left = false;
    LIST_EACH(&group->members, item)
    {
        struct member *member = CONTAINER_OF(item, struct member, link);
        if (!member->must_sync) continue;
        fail_join(shard, member, ERR_UNKNOWN_MEMBER_ID, SLICE(""));
        fail_sync(shard, member, ERR_UNKNOWN_MEMBER_ID);
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
        try_complete_join(shard, group);
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

/* --- JoinGroup --- */

static bool has_place_for(const struct group_shard *shard, const struct group *group,
                          const struct member *member)
{
    size_t max_size = (size_t)shard->config->max_size;
    switch (group->state) {
    case GROUP_EMPTY:
    case GROUP_DEAD: return true;
    case GROUP_PREPARING_REBALANCE: return (member && member->join) || group->joining_count < max_size;
    default: return member || group->member_count < max_size;
    }
}

/* <what>-<uuid>. Null without memory. */
static struct slice new_member_id(struct group_shard *shard, struct slice what)
{
    uint8_t r[16];
    char id[40];
    shard->random(shard->random_context, r, sizeof r);
    r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
    r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
    snprintf(id, sizeof id, "-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0],
             r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
    size_t id_size = strlen(id);
    uint8_t *bytes = arena_alloc(&shard->scratch, what.size + id_size);
    if (!bytes) return SLICE_NULL;
    if (what.size) memcpy(bytes, what.data, what.size);
    memcpy(bytes + what.size, id, id_size);
    return (struct slice){bytes, what.size + id_size};
}

/* What a member says of itself. False without memory; then it is as it was. */
static bool update_member(struct member *member, const struct join_group_request *request, int16_t version,
                          struct member_protocols *old)
{
    struct member_protocols protocols;
    if (!member_protocols_copy(request, &protocols)) return false;
    if (old) {
        *old = member->protocols;
    } else {
        free(member->protocols.items);
    }
    int32_t rebalance_timeout_ms = version >= 1 ? request->rebalance_timeout_ms : request->session_timeout_ms;
    member->protocols = protocols;
    member->session_timeout_ms = request->session_timeout_ms;
    member->rebalance_timeout_ms = rebalance_timeout_ms > 0 ? rebalance_timeout_ms : 0;
    return true;
}

static void join_again(struct group_shard *shard, struct member *member, struct group_call *call)
{
    const struct join_group_request *request = call->request;
    if (!update_member(member, request, call->version, NULL)) {
        return answer_join_error(shard, call, ERR_UNKNOWN_SERVER_ERROR, member->id);
    }
    wait_join(shard, member, call);
    maybe_prepare_rebalance(shard, member->group);
}

static void join_as_new(struct group_shard *shard, struct group *group, struct slice member_id,
                        struct group_call *call)
{
    const struct join_group_request *request = call->request;
    struct member *member = group_add_member(shard, group, member_id, request->group_instance_id,
                                             call->client_id, call->client_host);
    bool is_first = group->member_count == 1;
    if (member && (!update_member(member, request, call->version, NULL) ||
                   (is_first && !slice_keep(request->protocol_type, &group->protocol_type)))) {
        group_remove_member(shard, member);
        member = NULL;
    }
    if (!member) return answer_join_error(shard, call, ERR_UNKNOWN_SERVER_ERROR, request->member_id);

    member->is_new = true;
    group->has_new_member = true;
    wait_join(shard, member, call);
    group_session_restart(shard, member);
    maybe_prepare_rebalance(shard, group);
}

/* The member of a known instance came back without its id: it goes on in the same place, under a new one. */
static void join_as_static(struct group_shard *shard, struct member *member, struct slice new_id,
                           struct group_call *call)
{
    struct group *group = member->group;
    struct group_write *write = group_write_new(shard, WRITE_STATIC_MEMBER, group);
    struct member_protocols old_protocols = {0};
    bool is_ready = write && slice_keep(member->id, &write->old_id) && slice_keep(new_id, &write->new_id) &&
                    slice_keep(group->leader->id, &write->old_leader_id) &&
                    update_member(member, call->request, call->version, &old_protocols);
    if (is_ready) write->old_protocols = old_protocols;
    if (is_ready && !group_rename_member(member, new_id)) {
        free(member->protocols.items);
        member->protocols = old_protocols;
        write->old_protocols = (struct member_protocols){0};
        is_ready = false;
    }
    if (!is_ready) {
        if (write) group_write_free(write);
        return answer_join_error(shard, call, ERR_UNKNOWN_SERVER_ERROR, SLICE(""));
    }
    diag_info("static member %.*s of group \"%.*s\" goes on as %.*s", SLICE_ARG(write->old_id),
              SLICE_ARG(group->id), SLICE_ARG(new_id));
    fail_join(shard, member, ERR_FENCED_INSTANCE_ID, write->old_id);
    fail_sync(shard, member, ERR_FENCED_INSTANCE_ID);
    group_session_restart(shard, member);

    bool goes_on = group->state == GROUP_STABLE && slice_equal(group_select_protocol(group), group->protocol);
    if (goes_on && group_write_metadata(write, group, METADATA_PRESENT)) {
        write->call = call;
        call->is_waiting = true;
        return group_write_submit(write);
    }
    group_write_free(write);
    wait_join(shard, member, call);
    maybe_prepare_rebalance(shard, group);
}

void group_static_member_written(struct group_shard *shard, struct group_write *write, enum error err)
{
    struct group *group = write->group;
    struct group_call *call = write->call;
    struct member *member = group_member(group, write->new_id);
    if (!call) return; /* time was up, and it has gone back already */
    write->call = NULL;
    if (err != OK) {
        if (member && group_rename_member(member, write->old_id)) {
            free(member->protocols.items);
            member->protocols = write->old_protocols;
            write->old_protocols = (struct member_protocols){0};
        }
        return answer_join_error(shard, call, err, SLICE(""));
    }
    bool is_leader = member && member == group->leader;
    if (call->version >= 9) {
        struct slice leader_id = group->leader ? group->leader->id : SLICE_NULL;
        return answer_join(shard, call, group, write->new_id, leader_id, is_leader, is_leader);
    }
    /* Told of its own old id as the leader, it does not think it must assign (KAFKA-13435). */
    answer_join(shard, call, group, write->new_id, write->old_leader_id, false, false);
}

static void join_unknown(struct group_shard *shard, struct group *group, struct group_call *call)
{
    const struct join_group_request *request = call->request;
    struct slice instance_id = request->group_instance_id;
    struct slice member_id = new_member_id(shard, instance_id.data ? instance_id : call->client_id);
    if (!member_id.data) return answer_join_error(shard, call, ERR_UNKNOWN_SERVER_ERROR, SLICE(""));

    struct member *owner = group_static_member(group, instance_id);
    if (owner) return join_as_static(shard, owner, member_id, call);
    if (instance_id.data || call->version < 4) return join_as_new(shard, group, member_id, call);

    /* It must come again with its id: one that crashes now leaves no ghost to wait for (KIP-394). */
    enum error err = ERR_MEMBER_ID_REQUIRED;
    int64_t due_ms = shard->now_ms + request->session_timeout_ms;
    if (group->pending_count >= GROUP_PENDING_MAX) {
        err = ERR_COORDINATOR_NOT_AVAILABLE;
    } else if (!group_add_pending(shard, group, member_id, due_ms)) {
        err = ERR_UNKNOWN_SERVER_ERROR;
    }
    answer_join_error(shard, call, err, err == ERR_MEMBER_ID_REQUIRED ? member_id : SLICE(""));
}

static void join_known(struct group_shard *shard, struct group *group, struct group_call *call)
{
    const struct join_group_request *request = call->request;
    struct pending_member *pending = group_pending(group, request->member_id);
    if (pending && !request->group_instance_id.data) {
        group_remove_pending(shard, pending);
        return join_as_new(shard, group, request->member_id, call);
    }
    enum error err = group_check_member(group, request->member_id, request->group_instance_id);
    if (err != OK) return answer_join_error(shard, call, err, request->member_id);

    struct member *member = group_member(group, request->member_id);
    bool is_leader = member == group->leader;
    bool is_unchanged = member_protocols_match(member, request);
    switch (group->state) {
    case GROUP_PREPARING_REBALANCE: return join_again(shard, member, call);
    case GROUP_COMPLETING_REBALANCE:
        if (!is_unchanged) return join_again(shard, member, call);
        return answer_join(shard, call, group, member->id, group->leader->id, is_leader, false);
    case GROUP_STABLE:
        if (is_leader || !is_unchanged) return join_again(shard, member, call);
        return answer_join(shard, call, group, member->id, group->leader->id, false, false);
    default: return answer_join_error(shard, call, ERR_UNKNOWN_MEMBER_ID, request->member_id);
    }
}

static void join_group(struct group_shard *shard, struct group *group, struct group_call *call)
{
    const struct join_group_request *request = call->request;
    struct member *member = group_member(group, request->member_id);
    if (!has_place_for(shard, group, member)) {
        if (member) remove_member(shard, member);
        return answer_join_error(shard, call, ERR_GROUP_MAX_SIZE_REACHED, SLICE(""));
    }
    if (group->state == GROUP_DEAD) {
        return answer_join_error(shard, call, ERR_COORDINATOR_NOT_AVAILABLE, request->member_id);
    }
    if (!group_supports(group, request->protocol_type, request)) {
        return answer_join_error(shard, call, ERR_INCONSISTENT_GROUP_PROTOCOL, request->member_id);
    }
    if (request->member_id.size == 0) {
        join_unknown(shard, group, call);
    } else {
        join_known(shard, group, call);
    }
    try_complete_join(shard, group);
}

void group_shard_join(struct group_shard *shard, struct group_call *call)
{
    const struct join_group_request *request = call->request;
    if (request->group_id.size == 0)
        return answer_join_error(shard, call, ERR_INVALID_GROUP_ID, request->member_id);
    if (request->session_timeout_ms < shard->config->min_session_timeout_ms ||
        request->session_timeout_ms > shard->config->max_session_timeout_ms) {
        return answer_join_error(shard, call, ERR_INVALID_SESSION_TIMEOUT, request->member_id);
    }
    arena_reset(&shard->scratch);
    struct group *group = group_find(shard, request->group_id);
    bool is_new = !group;
    if (is_new && request->member_id.size > 0) {
        return answer_join_error(shard, call, ERR_UNKNOWN_MEMBER_ID, request->member_id);
    }
    if (is_new) group = group_obtain(shard, request->group_id);
    if (!group) return answer_join_error(shard, call, ERR_UNKNOWN_SERVER_ERROR, request->member_id);
    if (is_new) group->state_since_ms = shard->wall_ms;

    join_group(shard, group, call);
    if (is_new && (group->member_count > 0 || group->pending_count > 0)) write_empty(shard, group);
    group_drop_if_void(shard, group);
}

/* --- SyncGroup --- */

/* The leader's word on who gets what; who is not named gets nothing. */
static bool take_assignments(struct group *group, const struct sync_group_request *request)
{
    LIST_EACH(&group->members, item)
    {
        if (!slice_keep(SLICE(""), &CONTAINER_OF(item, struct member, link)->next_assignment)) return false;
    }
    for (int32_t i = 0; i < request->assignments.count; i++) {
        struct member *member = group_member(group, request->assignments.items[i].member_id);
        struct slice assignment = request->assignments.items[i].assignment;
        if (member && assignment.data && !slice_keep(assignment, &member->next_assignment)) return false;
    }
    return true;
}

static void store_assignment(struct group_shard *shard, struct group *group,
                             const struct sync_group_request *request)
{
    if (group->is_storing) return; /* the leader asks again while its first word is being written */
    struct group_write *write = group_write_new(shard, WRITE_ASSIGNMENT, group);
    if (write && take_assignments(group, request) && group_write_metadata(write, group, METADATA_NEXT)) {
        group->is_storing = true;
        group->has_record = true;
        return group_write_submit(write);
    }
    if (write) group_write_free(write);
    group_fail_calls(shard, group, ERR_UNKNOWN_SERVER_ERROR);
    group_prepare_rebalance(shard, group);
}

void group_assignment_written(struct group_shard *shard, struct group_write *write, enum error err)
{
    struct group *group = write->group;
    /* Leaves, joins and timers may have ended this generation meanwhile; its assignment is then nobody's. */
    if (group->state != GROUP_COMPLETING_REBALANCE || group->generation != write->generation ||
        !group->is_storing)
        return;
    if (err != OK) {
        LIST_EACH(&group->members, item) fail_sync(shard, CONTAINER_OF(item, struct member, link), err);
        return group_prepare_rebalance(shard, group);
    }
    group->is_storing = false;
    group_move(shard, group, GROUP_STABLE);
    LIST_EACH(&group->members, item)
    {
        struct member *member = CONTAINER_OF(item, struct member, link);
        slice_drop(&member->assignment);
        member->assignment = member->next_assignment;
        member->next_assignment = SLICE_NULL;
        struct group_call *call = member->sync;
        if (!call) continue;
        member->sync = NULL;
        group_session_restart(shard, member);
        answer_sync(shard, call, group, OK, member->assignment);
    }
}

static enum error check_sync(const struct group *group, const struct sync_group_request *request)
{
    if (!group || group->state == GROUP_EMPTY) return ERR_UNKNOWN_MEMBER_ID;
    if (group->state == GROUP_DEAD) return ERR_COORDINATOR_NOT_AVAILABLE;
    enum error err = group_check_member(group, request->member_id, request->group_instance_id);
    if (err != OK) return err;
    if (request->generation_id != group->generation) return ERR_ILLEGAL_GENERATION;
    if ((request->protocol_type.data && !slice_equal(request->protocol_type, group->protocol_type)) ||
        (request->protocol_name.data && !slice_equal(request->protocol_name, group->protocol))) {
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    }
    return group->state == GROUP_PREPARING_REBALANCE ? ERR_REBALANCE_IN_PROGRESS : OK;
}

void group_shard_sync(struct group_shard *shard, struct group_call *call)
{
    const struct sync_group_request *request = call->request;
    struct group *group = group_find(shard, request->group_id);
    enum error err = request->group_id.size == 0 ? ERR_INVALID_GROUP_ID : check_sync(group, request);
    if (err != OK) return answer_sync(shard, call, group, err, SLICE_NULL);

    struct member *member = group_member(group, request->member_id);
    member->must_sync = false;
    group_session_restart(shard, member);
    if (group->state == GROUP_STABLE) return answer_sync(shard, call, group, OK, member->assignment);
    wait_sync(shard, member, call);
    if (member == group->leader) store_assignment(shard, group, request);
}

/* --- Heartbeat --- */

static enum error heartbeat(struct group_shard *shard, const struct heartbeat_request *request)
{
    if (request->group_id.size == 0) return ERR_INVALID_GROUP_ID;
    struct group *group = group_find(shard, request->group_id);
    if (!group || group->state == GROUP_EMPTY) return ERR_UNKNOWN_MEMBER_ID;
    if (group->state == GROUP_DEAD) return ERR_COORDINATOR_NOT_AVAILABLE;
    enum error err = group_check_member(group, request->member_id, request->group_instance_id);
    if (err != OK) return err;
    if (request->generation_id != group->generation) return ERR_ILLEGAL_GENERATION;
    group_session_restart(shard, group_member(group, request->member_id));
    return group->state == GROUP_PREPARING_REBALANCE ? ERR_REBALANCE_IN_PROGRESS : OK;
}

void group_heartbeat_error(struct group_call *call, enum error err)
{
    struct heartbeat_response *response = group_response(call, &heartbeat_response_type);
    if (response) response->error_code = error_kafka_code(err);
}

void group_shard_heartbeat(struct group_shard *shard, struct group_call *call)
{
    group_heartbeat_error(call, heartbeat(shard, call->request));
    group_answer(shard, call);
}

/* --- LeaveGroup --- */

static enum error leave(struct group_shard *shard, struct group *group, struct slice member_id,
                        struct slice instance_id)
{
    if (!group) return ERR_UNKNOWN_MEMBER_ID;
    struct member *member = NULL;
    if (instance_id.data && member_id.size == 0) {
        member = group_static_member(group, instance_id); /* an administrator, who knows no member ids */
        if (!member) return ERR_UNKNOWN_MEMBER_ID;
    } else {
        struct pending_member *pending = instance_id.data ? NULL : group_pending(group, member_id);
        if (pending) {
            group_remove_pending(shard, pending);
            try_complete_join(shard, group);
            return OK;
        }
        enum error err = group_check_member(group, member_id, instance_id);
        if (err != OK) return err;
        member = group_member(group, member_id);
    }
    remove_member(shard, member);
    return OK;
}

void group_leave_error(struct group_call *call, enum error err)
{
    struct leave_group_response *response = group_response(call, &leave_group_response_type);
    if (response) response->error_code = error_kafka_code(err);
}

void group_shard_leave(struct group_shard *shard, struct group_call *call)
{
    const struct leave_group_request *request = call->request;
    struct group *group = group_find(shard, request->group_id);
    enum error err = OK;
    if (request->group_id.size == 0)
        err = ERR_INVALID_GROUP_ID;
    else if (group && group->state == GROUP_DEAD)
        err = ERR_COORDINATOR_NOT_AVAILABLE;
    else if (call->version < 3)
        err = leave(shard, group, request->member_id, SLICE_NULL);
    group_leave_error(call, err);
    struct leave_group_response *response = call->response;
    if (response && call->version >= 3 && err == OK && request->members.count > 0) {
        response->members.items =
            arena_array(call->arena, (size_t)request->members.count, sizeof *response->members.items);
        for (int32_t i = 0; i < request->members.count; i++) {
            struct slice member_id = request->members.items[i].member_id;
            struct slice instance_id = request->members.items[i].group_instance_id;
            err = leave(shard, group, member_id, instance_id);
            if (!response->members.items) continue; /* they leave, even if there is no memory to say so */
            response->members.items[response->members.count++] =
                (struct leave_group_response_member_response){.member_id = answer_slice(call, member_id),
                                                              .group_instance_id =
                                                                  answer_slice(call, instance_id),
                                                              .error_code = error_kafka_code(err)};
        }
        if (!response->members.items) call->response = NULL;
    }
    group_answer(shard, call);
}
