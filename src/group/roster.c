/* roster.c: groups and their members: who is in, who leads, which protocol all of them speak. */
#include <assert.h>
#include <stdlib.h>

#include "group/brain.h"

bool slice_keep(struct slice from, struct slice *to)
{
    uint8_t *copy = NULL;
    if (from.data) {
        copy = malloc(from.size ? from.size : 1);
        if (!copy) return false;
        memcpy(copy, from.data, from.size);
    }
    slice_drop(to);
    *to = (struct slice){copy, from.size};
    return true;
}

void slice_drop(struct slice *slice)
{
    free((uint8_t *)slice->data);
    *slice = SLICE_NULL;
}

/* --- groups --- */

const char *group_state_name(enum group_state state)
{
    switch (state) {
    case GROUP_EMPTY: return "Empty";
    case GROUP_PREPARING_REBALANCE: return "PreparingRebalance";
    case GROUP_COMPLETING_REBALANCE: return "CompletingRebalance";
    case GROUP_STABLE: return "Stable";
    case GROUP_DEAD: return "Dead";
    }
    return "";
}

struct group *group_find(const struct group_shard *shard, struct slice id)
{
    return map_get(&shard->groups, id);
}

static void group_free(struct group_shard *shard, struct group *group)
{
    while (!list_empty(&group->members)) {
        group_remove_member(shard, CONTAINER_OF(group->members.next, struct member, link));
    }
    while (!list_empty(&group->pending)) {
        group_remove_pending(shard, CONTAINER_OF(group->pending.next, struct pending_member, link));
    }
    offsets_free(shard, group);
    group_timer_stop(&shard->timers, &group->join_timer);
    group_timer_stop(&shard->timers, &group->sync_timer);
    group_timers_release(&shard->timers, 2);
    map_free(&group->by_id);
    map_free(&group->by_instance);
    slice_drop(&group->id);
    slice_drop(&group->protocol_type);
    slice_drop(&group->protocol);
    free(group);
}

struct group *group_obtain(struct group_shard *shard, struct slice id)
{
    struct group *group = group_find(shard, id);
    if (group) return group;
    group = calloc(1, sizeof *group);
    if (!group) return NULL;
    list_init(&group->members);
    list_init(&group->pending);
    group->state_since_ms = -1;
    group->join_timer.kind = TIMER_JOIN;
    group->sync_timer.kind = TIMER_SYNC;
    if (!group_timers_reserve(&shard->timers, 2)) {
        free(group);
        return NULL;
    }
    if (!slice_keep(id, &group->id) || map_put(&shard->groups, id, group) != OK) {
        group_free(shard, group);
        return NULL;
    }
    return group;
}

void group_drop(struct group_shard *shard, struct group *group)
{
    assert(group->writes == 0);
    map_remove(&shard->groups, group->id);
    group_free(shard, group);
}

void group_drop_all(struct group_shard *shard)
{
    struct map_slot *slot;
    for (size_t position = 0; (slot = map_next(&shard->groups, &position));) group_free(shard, slot->value);
    map_free(&shard->groups);
}

void group_drop_if_void(struct group_shard *shard, struct group *group)
{
    if (group->state != GROUP_EMPTY || group->member_count > 0 || group->pending_count > 0 ||
        group->has_record || group->writes > 0 || !offsets_are_void(group)) {
        return;
    }
    group_drop(shard, group);
}

#define FROM(state) (1 << GROUP_##state)

void group_move(struct group_shard *shard, struct group *group, enum group_state state)
{
    static const int allowed_from[] = {
        [GROUP_EMPTY] = FROM(PREPARING_REBALANCE),
        [GROUP_PREPARING_REBALANCE] = FROM(STABLE) | FROM(COMPLETING_REBALANCE) | FROM(EMPTY),
        [GROUP_COMPLETING_REBALANCE] = FROM(PREPARING_REBALANCE),
        [GROUP_STABLE] = FROM(COMPLETING_REBALANCE),
        [GROUP_DEAD] =
            FROM(EMPTY) | FROM(PREPARING_REBALANCE) | FROM(COMPLETING_REBALANCE) | FROM(STABLE) | FROM(DEAD),
    };
    assert(allowed_from[state] & (1 << group->state));
    group->state = state;
    group->state_since_ms = shard->wall_ms;
}

/* --- members --- */

struct member *group_member(const struct group *group, struct slice id)
{
    return map_get(&group->by_id, id);
}

struct member *group_static_member(const struct group *group, struct slice instance_id)
{
    return instance_id.data ? map_get(&group->by_instance, instance_id) : NULL;
}

static void member_free(struct group_shard *shard, struct member *member)
{
    group_timer_stop(&shard->timers, &member->session);
    group_timers_release(&shard->timers, 1);
    slice_drop(&member->id);
    slice_drop(&member->instance_id);
    slice_drop(&member->client_id);
    slice_drop(&member->client_host);
    slice_drop(&member->assignment);
    slice_drop(&member->next_assignment);
    free(member->protocols.items);
    free(member);
}

struct member *group_add_member(struct group_shard *shard, struct group *group, struct slice id,
                                struct slice instance_id, struct slice client_id, struct slice client_host)
{
    assert(!group_member(group, id) && !group_static_member(group, instance_id));
    struct member *member = calloc(1, sizeof *member);
    if (!member) return NULL;
    if (!group_timers_reserve(&shard->timers, 1)) {
        free(member);
        return NULL;
    }
    member->group = group;
    member->session.kind = TIMER_SESSION;
    bool is_made = slice_keep(id, &member->id) && slice_keep(instance_id, &member->instance_id) &&
                   slice_keep(client_id.data ? client_id : SLICE(""), &member->client_id) &&
                   slice_keep(client_host.data ? client_host : SLICE(""), &member->client_host) &&
                   slice_keep(SLICE(""), &member->assignment) && map_put(&group->by_id, id, member) == OK;
    if (is_made && instance_id.data && map_put(&group->by_instance, instance_id, member) != OK) {
        map_remove(&group->by_id, id);
        is_made = false;
    }
    if (!is_made) {
        member_free(shard, member);
        return NULL;
    }
    list_push_back(&group->members, &member->link);
    group->member_count++;
    if (!group->leader) group->leader = member;
    return member;
}

void group_remove_member(struct group_shard *shard, struct member *member)
{
    struct group *group = member->group;
    assert(!member->join && !member->sync);
    map_remove(&group->by_id, member->id);
    if (member->instance_id.data) map_remove(&group->by_instance, member->instance_id);
    list_remove(&member->link);
    group->member_count--;
    if (group->leader == member) {
        group->leader =
            list_empty(&group->members) ? NULL : CONTAINER_OF(group->members.next, struct member, link);
    }
    member_free(shard, member);
}

bool group_rename_member(struct member *member, struct slice id)
{
    struct slice kept = SLICE_NULL;
    if (!slice_keep(id, &kept)) return false;
    if (map_put(&member->group->by_id, id, member) != OK) {
        slice_drop(&kept);
        return false;
    }
    map_remove(&member->group->by_id, member->id);
    slice_drop(&member->id);
    member->id = kept;
    return true;
}

/* --- ids given out, not used yet --- */

struct pending_member *group_pending(const struct group *group, struct slice id)
{
    LIST_EACH(&group->pending, item)
    {
        struct pending_member *pending = CONTAINER_OF(item, struct pending_member, link);
        if (slice_equal(pending->id, id)) return pending;
    }
    return NULL;
}

bool group_add_pending(struct group_shard *shard, struct group *group, struct slice id, int64_t due_ms)
{
    struct pending_member *pending = calloc(1, sizeof *pending);
    if (!pending) return false;
    if (!slice_keep(id, &pending->id) || !group_timers_reserve(&shard->timers, 1)) {
        slice_drop(&pending->id);
        free(pending);
        return false;
    }
    pending->group = group;
    pending->timer.kind = TIMER_PENDING;
    group_timer_start(&shard->timers, &pending->timer, due_ms);
    list_push_back(&group->pending, &pending->link);
    group->pending_count++;
    return true;
}

void group_remove_pending(struct group_shard *shard, struct pending_member *pending)
{
    group_timer_stop(&shard->timers, &pending->timer);
    group_timers_release(&shard->timers, 1);
    list_remove(&pending->link);
    pending->group->pending_count--;
    slice_drop(&pending->id);
    free(pending);
}

/* --- protocols --- */

int32_t group_rebalance_timeout_ms(const struct group *group)
{
    int32_t longest = 0;
    LIST_EACH(&group->members, item)
    {
        const struct member *member = CONTAINER_OF(item, struct member, link);
        if (member->rebalance_timeout_ms > longest) longest = member->rebalance_timeout_ms;
    }
    return longest;
}

static bool member_supports(const struct member *member, struct slice protocol)
{
    for (int32_t i = 0; i < member->protocols.count; i++) {
        if (slice_equal(member->protocols.items[i].name, protocol)) return true;
    }
    return false;
}

static bool all_support(const struct group *group, struct slice protocol)
{
    LIST_EACH(&group->members, item)
    {
        if (!member_supports(CONTAINER_OF(item, struct member, link), protocol)) return false;
    }
    return true;
}

bool group_supports(const struct group *group, struct slice protocol_type,
                    const struct join_group_request *request)
{
    if (request->protocols.count <= 0) return false;
    if (group->state == GROUP_EMPTY) return protocol_type.size > 0;
    if (!slice_equal(group->protocol_type, protocol_type)) return false;
    for (int32_t i = 0; i < request->protocols.count; i++) {
        if (all_support(group, request->protocols.items[i].name)) return true;
    }
    return false;
}

/* How many members like `protocol` best among those that all support. */
static size_t votes_for(const struct group *group, struct slice protocol)
{
    size_t votes = 0;
    LIST_EACH(&group->members, item)
    {
        const struct member *member = CONTAINER_OF(item, struct member, link);
        for (int32_t i = 0; i < member->protocols.count; i++) {
            struct slice name = member->protocols.items[i].name;
            if (!all_support(group, name)) continue;
            votes += slice_equal(name, protocol);
            break;
        }
    }
    return votes;
}

struct slice group_select_protocol(const struct group *group)
{
    struct slice best = SLICE_NULL;
    size_t best_votes = 0;
    if (list_empty(&group->members)) return best;
    /* What all support is in everybody's list, so one list is enough to walk. The usual case is settled by the first. */
    const struct member *first = CONTAINER_OF(group->members.next, struct member, link);
    for (int32_t i = 0; i < first->protocols.count && best_votes * 2 <= group->member_count; i++) {
        struct slice name = first->protocols.items[i].name;
        if (!all_support(group, name)) continue;
        size_t votes = votes_for(group, name);
        if (!best.data || votes > best_votes) best = name, best_votes = votes;
    }
    return best;
}

struct slice member_metadata(const struct member *member, struct slice protocol)
{
    for (int32_t i = 0; protocol.data && i < member->protocols.count; i++) {
        if (slice_equal(member->protocols.items[i].name, protocol))
            return member->protocols.items[i].metadata;
    }
    return SLICE_NULL;
}

bool member_protocols_match(const struct member *member, const struct join_group_request *request)
{
    if (member->protocols.count != request->protocols.count) return false;
    for (int32_t i = 0; i < member->protocols.count; i++) {
        if (!slice_equal(member->protocols.items[i].name, request->protocols.items[i].name) ||
            !slice_equal(member->protocols.items[i].metadata, request->protocols.items[i].metadata)) {
            return false;
        }
    }
    return true;
}

static struct slice put(uint8_t **at, struct slice s)
{
    uint8_t *begin = *at;
    if (s.size) memcpy(begin, s.data, s.size);
    *at += s.size;
    return (struct slice){begin, s.size};
}

bool member_protocols_copy(const struct join_group_request *request, struct member_protocols *protocols)
{
    size_t count = request->protocols.count > 0 ? (size_t)request->protocols.count : 0;
    size_t size = count * sizeof(struct member_protocol);
    for (size_t i = 0; i < count; i++) {
        size += request->protocols.items[i].name.size + request->protocols.items[i].metadata.size;
    }
    struct member_protocol *items = malloc(size + 1);
    if (!items) return false;
    uint8_t *at = (uint8_t *)(items + count);
    for (size_t i = 0; i < count; i++) {
        items[i].name = put(&at, request->protocols.items[i].name);
        items[i].metadata = put(&at, request->protocols.items[i].metadata);
    }
    *protocols = (struct member_protocols){items, (int32_t)count};
    return true;
}
