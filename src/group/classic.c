/* classic.c: the requests of the classic group protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup. What they set in motion
 * is rebalance.c's. Source: facts/coordinators.md 3.3; KIP-345, KIP-394, KIP-814. */
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "group/brain.h"

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
        return group_answer_join_error(shard, call, ERR_UNKNOWN_SERVER_ERROR, member->id);
    }
    member_wait_join(shard, member, call);
    group_maybe_prepare_rebalance(shard, member->group);
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
    if (!member) return group_answer_join_error(shard, call, ERR_UNKNOWN_SERVER_ERROR, request->member_id);

    member->is_new = true;
    group->has_new_member = true;
    member_wait_join(shard, member, call);
    group_session_restart(shard, member);
    group_maybe_prepare_rebalance(shard, group);
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
        return group_answer_join_error(shard, call, ERR_UNKNOWN_SERVER_ERROR, SLICE(""));
    }
    diag_info("static member %.*s of group \"%.*s\" goes on as %.*s", SLICE_ARG(write->old_id),
              SLICE_ARG(group->id), SLICE_ARG(new_id));
    member_fail_join(shard, member, ERR_FENCED_INSTANCE_ID, write->old_id);
    member_fail_sync(shard, member, ERR_FENCED_INSTANCE_ID);
    group_session_restart(shard, member);

    bool goes_on = group->state == GROUP_STABLE && slice_equal(group_select_protocol(group), group->protocol);
    if (goes_on && group_write_metadata(write, group, METADATA_PRESENT)) {
        write->call = call;
        call->is_waiting = true;
        return group_write_submit(write);
    }
    group_write_free(write);
    member_wait_join(shard, member, call);
    group_maybe_prepare_rebalance(shard, group);
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
        return group_answer_join_error(shard, call, err, SLICE(""));
    }
    bool is_leader = member && member == group->leader;
    if (call->version >= 9) {
        struct slice leader_id = group->leader ? group->leader->id : SLICE_NULL;
        return group_answer_join(shard, call, group, write->new_id, leader_id, is_leader, is_leader);
    }
    /* Told of its own old id as the leader, it does not think it must assign (KAFKA-13435). */
    group_answer_join(shard, call, group, write->new_id, write->old_leader_id, false, false);
}

static void join_unknown(struct group_shard *shard, struct group *group, struct group_call *call)
{
    const struct join_group_request *request = call->request;
    struct slice instance_id = request->group_instance_id;
    struct slice member_id = new_member_id(shard, instance_id.data ? instance_id : call->client_id);
    if (!member_id.data) return group_answer_join_error(shard, call, ERR_UNKNOWN_SERVER_ERROR, SLICE(""));

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
    group_answer_join_error(shard, call, err, err == ERR_MEMBER_ID_REQUIRED ? member_id : SLICE(""));
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
    if (err != OK) return group_answer_join_error(shard, call, err, request->member_id);

    struct member *member = group_member(group, request->member_id);
    bool is_leader = member == group->leader;
    bool is_unchanged = member_protocols_match(member, request);
    switch (group->state) {
    case GROUP_PREPARING_REBALANCE: return join_again(shard, member, call);
    case GROUP_COMPLETING_REBALANCE:
        if (!is_unchanged) return join_again(shard, member, call);
        return group_answer_join(shard, call, group, member->id, group->leader->id, is_leader, false);
    case GROUP_STABLE:
        if (is_leader || !is_unchanged) return join_again(shard, member, call);
        return group_answer_join(shard, call, group, member->id, group->leader->id, false, false);
    default: return group_answer_join_error(shard, call, ERR_UNKNOWN_MEMBER_ID, request->member_id);
    }
}

static void join_group(struct group_shard *shard, struct group *group, struct group_call *call)
{
    const struct join_group_request *request = call->request;
    struct member *member = group_member(group, request->member_id);
    if (!has_place_for(shard, group, member)) {
        if (member) group_expel_member(shard, member);
        return group_answer_join_error(shard, call, ERR_GROUP_MAX_SIZE_REACHED, SLICE(""));
    }
    if (group->state == GROUP_DEAD) {
        return group_answer_join_error(shard, call, ERR_COORDINATOR_NOT_AVAILABLE, request->member_id);
    }
    if (!group_supports(group, request->protocol_type, request)) {
        return group_answer_join_error(shard, call, ERR_INCONSISTENT_GROUP_PROTOCOL, request->member_id);
    }
    if (request->member_id.size == 0) {
        join_unknown(shard, group, call);
    } else {
        join_known(shard, group, call);
    }
    group_try_complete_join(shard, group);
}

void group_shard_join(struct group_shard *shard, struct group_call *call)
{
    const struct join_group_request *request = call->request;
    if (request->group_id.size == 0)
        return group_answer_join_error(shard, call, ERR_INVALID_GROUP_ID, request->member_id);
    if (request->session_timeout_ms < shard->config->min_session_timeout_ms ||
        request->session_timeout_ms > shard->config->max_session_timeout_ms) {
        return group_answer_join_error(shard, call, ERR_INVALID_SESSION_TIMEOUT, request->member_id);
    }
    arena_reset(&shard->scratch);
    struct group *group = group_find(shard, request->group_id);
    bool is_new = !group;
    if (is_new && request->member_id.size > 0) {
        return group_answer_join_error(shard, call, ERR_UNKNOWN_MEMBER_ID, request->member_id);
    }
    if (is_new) group = group_obtain(shard, request->group_id);
    if (!group) return group_answer_join_error(shard, call, ERR_UNKNOWN_SERVER_ERROR, request->member_id);
    if (is_new) group->state_since_ms = shard->wall_ms;

    join_group(shard, group, call);
    if (is_new && (group->member_count > 0 || group->pending_count > 0)) group_write_empty(shard, group);
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
        LIST_EACH(&group->members, item)
        member_fail_sync(shard, CONTAINER_OF(item, struct member, link), err);
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
        group_answer_sync(shard, call, group, OK, member->assignment);
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
    if (err != OK) return group_answer_sync(shard, call, group, err, SLICE_NULL);

    struct member *member = group_member(group, request->member_id);
    member->must_sync = false;
    group_session_restart(shard, member);
    if (group->state == GROUP_STABLE) return group_answer_sync(shard, call, group, OK, member->assignment);
    member_wait_sync(shard, member, call);
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
            group_try_complete_join(shard, group);
            return OK;
        }
        enum error err = group_check_member(group, member_id, instance_id);
        if (err != OK) return err;
        member = group_member(group, member_id);
    }
    group_expel_member(shard, member);
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
                (struct leave_group_response_member_response){
                    .member_id = group_answer_slice(call, member_id),
                    .group_instance_id = group_answer_slice(call, instance_id),
                    .error_code = error_kafka_code(err)};
        }
        if (!response->members.items) call->response = NULL;
    }
    group_answer(shard, call);
}
