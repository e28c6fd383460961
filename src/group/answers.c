/* answers.c: responses of JoinGroup and SyncGroup, and the members who wait for them. Everything a response holds is a copy in
 * its call's arena; where that has no room, the response is NULL. */
#include "group/brain.h"

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
struct slice group_answer_slice(struct group_call *call, struct slice s)
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
    response->member_id = group_answer_slice(call, member_id);
}

void group_answer_join_error(struct group_shard *shard, struct group_call *call, enum error err,
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
                .member_id = group_answer_slice(call, member->id),
                .group_instance_id = group_answer_slice(call, member->instance_id),
                .metadata = group_answer_slice(call, metadata.data ? metadata : SLICE("")),
            };
    }
    return call->response != NULL;
}

/* This generation, as `member_id` hears it. */
void group_answer_join(struct group_shard *shard, struct group_call *call, const struct group *group,
                       struct slice member_id, struct slice leader_id, bool with_members,
                       bool skip_assignment)
{
    struct join_group_response *response = group_response(call, &join_group_response_type);
    if (response) {
        response->generation_id = group->generation;
        response->protocol_type = group_answer_slice(call, group->protocol_type);
        response->protocol_name = group_answer_slice(call, group->protocol);
        if (!group->protocol.data && call->version < 7) response->protocol_name = SLICE("");
        response->leader = group_answer_slice(call, leader_id.data ? leader_id : SLICE(""));
        response->member_id = group_answer_slice(call, member_id);
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

void group_answer_sync(struct group_shard *shard, struct group_call *call, const struct group *group,
                       enum error err, struct slice assignment)
{
    group_sync_error(call, err);
    struct sync_group_response *response = call->response;
    if (response && err == OK) {
        response->protocol_type = group_answer_slice(call, group->protocol_type);
        response->protocol_name = group_answer_slice(call, group->protocol);
        response->assignment = group_answer_slice(call, assignment.data ? assignment : SLICE(""));
    }
    group_answer(shard, call);
}

/* --- who waits --- */

void member_fail_join(struct group_shard *shard, struct member *member, enum error err,
                      struct slice member_id)
{
    struct group_call *call = member->join;
    if (!call) return;
    member->join = NULL;
    member->group->joining_count--;
    group_answer_join_error(shard, call, err, member_id);
}

void member_fail_sync(struct group_shard *shard, struct member *member, enum error err)
{
    struct group_call *call = member->sync;
    if (!call) return;
    member->sync = NULL;
    group_answer_sync(shard, call, member->group, err, SLICE_NULL);
}

/* A client that asks twice has given up its first question. */
void member_wait_join(struct group_shard *shard, struct member *member, struct group_call *call)
{
    member_fail_join(shard, member, ERR_REBALANCE_IN_PROGRESS, member->id);
    member->join = call;
    member->group->joining_count++;
    call->is_waiting = true;
}

void member_wait_sync(struct group_shard *shard, struct member *member, struct group_call *call)
{
    member_fail_sync(shard, member, ERR_REBALANCE_IN_PROGRESS);
    member->sync = call;
    call->is_waiting = true;
}

void group_fail_calls(struct group_shard *shard, struct group *group, enum error err)
{
    LIST_EACH(&group->members, item)
    {
        struct member *member = CONTAINER_OF(item, struct member, link);
        member_fail_join(shard, member, err, member->id);
        member_fail_sync(shard, member, err);
    }
}
