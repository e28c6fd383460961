/* admin.c: what administrators ask: DescribeGroups, ListGroups, DeleteGroups. Source: facts/coordinators.md 3.3;
 * KIP-518, KIP-1043. */
#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "group/brain.h"

/* --- DescribeGroups --- */

static bool describe_members(const struct group *group, struct group_call *call,
                             struct describe_groups_response_described_group *answer)
{
    answer->members.items = arena_array(call->arena, group->member_count, sizeof *answer->members.items);
    if (!answer->members.items) return false;
    LIST_EACH(&group->members, item)
    {
        const struct member *member = CONTAINER_OF(item, struct member, link);
        __auto_type to = &answer->members.items[answer->members.count++];
        struct slice metadata = SLICE(""), assignment = SLICE("");
        if (group->state == GROUP_STABLE) {
            struct slice found = member_metadata(member, group->protocol);
            if (found.data) metadata = arena_copy(call->arena, found);
            if (member->assignment.data) assignment = arena_copy(call->arena, member->assignment);
        }
        memset(to, 0, sizeof *to);
        to->member_id = arena_copy(call->arena, member->id);
        to->group_instance_id = arena_copy(call->arena, member->instance_id);
        to->client_id = arena_copy(call->arena, member->client_id);
        to->client_host = arena_copy(call->arena, member->client_host);
        to->member_metadata = metadata;
        to->member_assignment = assignment;
        if (!to->member_id.data || !to->client_id.data || !to->client_host.data || !metadata.data ||
            !assignment.data) {
            return false;
        }
    }
    return true;
}

void group_shard_describe(struct group_shard *shard, struct group_call *call, struct slice group_id,
                          struct describe_groups_response_described_group *answer)
{
    const struct group *group = group_find(shard, group_id);
    if (!group) {
        answer->group_state = slice_of(group_state_name(GROUP_DEAD));
        if (call->version < 6) return;
        answer->error_code = error_kafka_code(ERR_GROUP_ID_NOT_FOUND);
        answer->error_message = arena_printf(call->arena, "Group %.*s not found.", SLICE_ARG(group_id));
        return;
    }
    answer->group_state = slice_of(group_state_name(group->state));
    if (group->protocol_type.data) answer->protocol_type = arena_copy(call->arena, group->protocol_type);
    if (group->state == GROUP_STABLE && group->protocol.data) {
        answer->protocol_data = arena_copy(call->arena, group->protocol);
    }
    bool is_made =
        answer->protocol_type.data && answer->protocol_data.data && describe_members(group, call, answer);
    if (!is_made) call->response = NULL;
}

/* --- ListGroups --- */

static bool names(const struct slice *filter, int32_t count, const char *name)
{
    for (int32_t i = 0; i < count; i++) {
        if (filter[i].size == strlen(name) &&
            strncasecmp((const char *)filter[i].data, name, filter[i].size) == 0) {
            return true;
        }
    }
    return count <= 0; /* no filter */
}

bool group_shard_list(struct group_shard *shard, const struct list_groups_request *request,
                      struct arena *arena, struct group_listing *listing)
{
    if (!names(request->types_filter.items, request->types_filter.count, "classic")) return true;
    size_t position = 0;
    struct map_slot *slot;
    while ((slot = map_next(&shard->groups, &position))) {
        const struct group *group = slot->value;
        if (!names(request->states_filter.items, request->states_filter.count,
                   group_state_name(group->state)))
            continue;
        if (listing->count == listing->capacity) {
            int32_t grown = listing->capacity * 2 + 16;
            struct list_groups_response_listed_group *items =
                arena_array(arena, (size_t)grown, sizeof *items);
            if (!items) return false;
            if (listing->count > 0) memcpy(items, listing->items, (size_t)listing->count * sizeof *items);
            listing->items = items;
            listing->capacity = grown;
        }
        struct slice type = group->protocol_type.data ? group->protocol_type : SLICE("");
        struct list_groups_response_listed_group *listed = &listing->items[listing->count++];
        memset(listed, 0, sizeof *listed);
        listed->group_id = arena_copy(arena, group->id);
        listed->protocol_type = arena_copy(arena, type);
        listed->group_state = slice_of(group_state_name(group->state));
        listed->group_type = SLICE("classic");
        if (!listed->group_id.data || !listed->protocol_type.data) return false;
    }
    return true;
}

/* --- DeleteGroups --- */

/* Tombstones for every offset, those on their way into the log too, and for the group itself. */
static bool write_tombstones(struct group_write *write, struct group *group)
{
    size_t at_topic = 0;
    struct map_slot *topic_slot;
    while ((topic_slot = map_next(&group->topics, &at_topic))) {
        const struct offset_topic *topic = topic_slot->value;
        size_t at_partition = 0;
        struct map_slot *slot;
        while ((slot = map_next(&topic->partitions, &at_partition))) {
            if (!group_write_offset_tombstone(write, slot->value)) return false;
        }
    }
    return group_write_metadata_tombstone(write, group);
}

bool group_shard_delete(struct group_shard *shard, struct group_call *call, struct slice group_id,
                        int16_t *error_code)
{
    struct group *group = group_find(shard, group_id);
    enum error err = OK;
    if (!group)
        err = ERR_GROUP_ID_NOT_FOUND;
    else if (group->state == GROUP_DEAD)
        err = ERR_COORDINATOR_NOT_AVAILABLE; /* being deleted, and who knows how that ends */
    else if (group->state != GROUP_EMPTY)
        err = ERR_NON_EMPTY_GROUP;

    struct group_write *write = err == OK ? group_write_new(shard, WRITE_GROUP_DELETE, group) : NULL;
    if (write && write_tombstones(write, group)) {
        group_move(shard, group, GROUP_DEAD);
        write->call = call;
        call->is_waiting = true;
        call->part = error_code;
        group_write_submit(write);
        return false;
    }
    if (write) group_write_free(write);
    *error_code = error_kafka_code(err == OK ? ERR_UNKNOWN_SERVER_ERROR : err);
    return true;
}
