/* commit.c: OffsetCommit, OffsetFetch, OffsetDelete, and the retention of offsets. Source: facts/coordinators.md 3.3,
 * 3.4; KIP-211, KIP-447, KIP-496, KIP-709. */
#include <assert.h>
#include <stdlib.h>

#include "group/brain.h"

/* --- OffsetCommit --- */

static struct offset_commit_response *commit_response(struct group_call *call)
{
    const struct offset_commit_request *request = call->request;
    const struct group_topic_check *checks = call->work;
    struct offset_commit_response *response = group_response(call, &offset_commit_response_type);
    if (!response) return NULL;
    size_t count = request->topics.count > 0 ? (size_t)request->topics.count : 0;
    response->topics.items = arena_array(call->arena, count, sizeof *response->topics.items);
    for (size_t i = 0; i < count && response->topics.items; i++) {
        __auto_type asked = &request->topics.items[i];
        __auto_type topic = &response->topics.items[i];
        size_t partitions = asked->partitions.count > 0 ? (size_t)asked->partitions.count : 0;
        memset(topic, 0, sizeof *topic);
        topic->name = asked->name;
        topic->topic_id = asked->topic_id;
        topic->partitions.items = arena_array(call->arena, partitions, sizeof *topic->partitions.items);
        if (!topic->partitions.items) return call->response = NULL;
        topic->partitions.count = (int32_t)partitions;
        for (size_t j = 0; j < partitions; j++) {
            int32_t index = asked->partitions.items[j].partition_index;
            enum error err = checks[i].err;
            if (err == OK && (index < 0 || index >= checks[i].topic.partition_count))
                err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
            memset(&topic->partitions.items[j], 0, sizeof topic->partitions.items[j]);
            topic->partitions.items[j].partition_index = index;
            topic->partitions.items[j].error_code = error_kafka_code(err);
        }
        response->topics.count++;
    }
    if (!response->topics.items) return call->response = NULL;
    return response;
}

/* Sets the error of each partition that had none of its own. */
static void set_commit_errors(struct offset_commit_response *response, enum error err)
{
    for (int32_t i = 0; response && i < response->topics.count; i++) {
        for (int32_t j = 0; j < response->topics.items[i].partitions.count; j++) {
            int16_t *code = &response->topics.items[i].partitions.items[j].error_code;
            if (*code == 0) *code = error_kafka_code(err);
        }
    }
}

void group_commit_error(struct group_call *call, enum error err)
{
    set_commit_errors(commit_response(call), err);
}

static void answer_commit(struct group_shard *shard, struct group_call *call, enum error err)
{
    set_commit_errors(call->response, err);
    group_answer(shard, call);
}

static enum error check_commit(const struct group *group, const struct offset_commit_request *request,
                               int16_t version)
{
    int32_t generation = request->generation_id_or_member_epoch;
    if (!group) {
        if (generation < 0) return OK; /* a simple group: somebody who assigns by hand */
        return version >= 9 ? ERR_GROUP_ID_NOT_FOUND : ERR_ILLEGAL_GENERATION;
    }
    if (group->state == GROUP_DEAD) return ERR_COORDINATOR_NOT_AVAILABLE;
    if (generation < 0 && group->state == GROUP_EMPTY) return OK;
    if (generation < 0 && request->member_id.size == 0 && !request->group_instance_id.data)
        return ERR_UNKNOWN_MEMBER_ID;
    enum error err = group_check_member(group, request->member_id, request->group_instance_id);
    if (err != OK) return err;
    if (generation != group->generation) return ERR_ILLEGAL_GENERATION;
    return group->state == GROUP_COMPLETING_REBALANCE ? ERR_REBALANCE_IN_PROGRESS : OK;
}

static int64_t add_ms(int64_t time_ms, int64_t span_ms)
{
    int64_t sum;
    return __builtin_add_overflow(time_ms, span_ms, &sum) ? INT64_MAX : sum;
}

/* ERR_OFFSET_METADATA_TOO_LARGE is this partition's; ERR_NOMEM everybody's. */
static enum error commit_partition(struct group_write *write, const struct offset_commit_request *request,
                                   const struct offset_commit_request_offset_commit_request_partition *asked,
                                   const struct group_topic *topic, int16_t version, int16_t *error_code)
{
    struct group_shard *shard = write->shard;
    struct slice metadata = asked->committed_metadata.data ? asked->committed_metadata : SLICE("");
    if (java_string_length(metadata) > (size_t)shard->config->offset_metadata_max_bytes) {
        return ERR_OFFSET_METADATA_TOO_LARGE;
    }
    struct offset_value value = {.offset = asked->committed_offset,
                                 .leader_epoch = asked->committed_leader_epoch,
                                 .metadata = metadata,
                                 .commit_timestamp = shard->wall_ms,
                                 .expire_timestamp = -1};
    if (version == 1 && asked->commit_timestamp != -1) value.commit_timestamp = asked->commit_timestamp;
    if (version >= 2 && version <= 4 && request->retention_time_ms >= 0) {
        value.expire_timestamp = add_ms(shard->wall_ms, request->retention_time_ms);
    }
    if (version >= 10) value.topic_id = topic->id;

    struct offset_entry *entry = offsets_obtain(write->group, topic->name, asked->partition_index);
    if (!entry) return ERR_NOMEM;
    if (!group_write_offset(write, entry, &value)) {
        offsets_tidy(entry);
        return ERR_NOMEM;
    }
    write->changes[write->change_count - 1].error_code = error_code;
    return OK;
}

static enum error commit_all(struct group_write *write, struct group_call *call)
{
    const struct offset_commit_request *request = call->request;
    const struct group_topic_check *checks = call->work;
    struct offset_commit_response *response = call->response;
    for (int32_t i = 0; i < request->topics.count; i++) {
        __auto_type partitions = &response->topics.items[i].partitions;
        for (int32_t j = 0; j < partitions->count; j++) {
            int16_t *code = &partitions->items[j].error_code;
            if (*code != 0) continue;
            enum error err = commit_partition(write, request, &request->topics.items[i].partitions.items[j],
                                              &checks[i].topic, call->version, code);
            if (err == ERR_NOMEM) return err;
            *code = error_kafka_code(err);
        }
    }
    return OK;
}

void group_shard_commit(struct group_shard *shard, struct group_call *call)
{
    const struct offset_commit_request *request = call->request;
    if (!commit_response(call)) return group_answer(shard, call);
    struct group *group = group_find(shard, request->group_id);
    enum error err = check_commit(group, request, call->version);
    if (err != OK) return answer_commit(shard, call, err);

    if (group && (group->state == GROUP_STABLE || group->state == GROUP_PREPARING_REBALANCE)) {
        struct member *member = group_member(group, request->member_id);
        if (member) group_session_restart(shard, member);
    }
    if (!group) group = group_obtain(shard, request->group_id);
    struct group_write *write = group ? group_write_new(shard, WRITE_OFFSETS, group) : NULL;
    err = write ? commit_all(write, call) : ERR_NOMEM;
    if (err == OK && write->entry_count > 0) {
        write->call = call;
        call->is_waiting = true;
        return group_write_submit(write);
    }
    if (write) group_write_free(write);
    if (group) group_drop_if_void(shard, group);
    answer_commit(shard, call, err == OK ? OK : ERR_UNKNOWN_SERVER_ERROR);
}

/* --- OffsetFetch --- */

static void fetch_none(struct offset_fetch_response_offset_fetch_response_partitions *answer,
                       int32_t partition, enum error err)
{
    memset(answer, 0, sizeof *answer);
    answer->partition_index = partition;
    answer->committed_offset = -1;
    answer->committed_leader_epoch = -1;
    answer->metadata = SLICE("");
    answer->error_code = error_kafka_code(err);
}

/* False without memory. */
static bool fetch_entry(struct group_call *call, const struct group_fetch *fetch,
                        const struct offset_entry *entry, int32_t partition, const struct uuid *topic_id,
                        struct offset_fetch_response_offset_fetch_response_partitions *answer)
{
    bool is_unstable = entry && entry->transactions > 0 && fetch->require_stable;
    fetch_none(answer, partition, is_unstable ? ERR_UNSTABLE_OFFSET_COMMIT : OK);
    if (is_unstable || !entry || !entry->has_value) return true;
    /* Committed for a topic of this name that is gone: its successor begins anew. */
    const struct uuid *stored = &entry->value.topic_id;
    if (topic_id && !uuid_is_zero(stored) && !uuid_equal(stored, topic_id)) return true;
    answer->committed_offset = entry->value.offset;
    answer->committed_leader_epoch = entry->value.leader_epoch;
    answer->metadata = arena_copy(call->arena, entry->value.metadata);
    return answer->metadata.data != NULL;
}

/* What of the fetch names topics; each partition has the topic's error, or else `err`. */
static bool fetch_asked(const struct group *group, struct group_call *call, struct group_fetch *fetch,
                        enum error err)
{
    __auto_type topics = &fetch->answer->topics;
    topics->items = arena_array(call->arena, (size_t)fetch->topic_count, sizeof *topics->items);
    if (!topics->items) return false;
    for (int32_t i = 0; i < fetch->topic_count; i++) {
        const struct group_fetch_topic *asked = &fetch->topics[i];
        __auto_type topic = &topics->items[topics->count++];
        memset(topic, 0, sizeof *topic);
        topic->name = asked->check.topic.name;
        topic->topic_id = asked->check.topic.id;
        topic->partitions.items =
            arena_array(call->arena, (size_t)asked->partition_count, sizeof *topic->partitions.items);
        if (!topic->partitions.items) return false;
        topic->partitions.count = asked->partition_count;
        for (int32_t j = 0; j < asked->partition_count; j++) {
            int32_t partition = asked->partitions[j];
            enum error bad = asked->check.err != OK ? asked->check.err : err;
            if (bad != OK) {
                fetch_none(&topic->partitions.items[j], partition, bad);
                continue;
            }
            const struct offset_entry *entry = group ? offsets_find(group, topic->name, partition) : NULL;
            const struct uuid *topic_id = call->version >= 10 ? &topic->topic_id : NULL;
            if (!fetch_entry(call, fetch, entry, partition, topic_id, &topic->partitions.items[j]))
                return false;
        }
    }
    return true;
}

static bool fetch_all(const struct group *group, struct group_call *call, struct group_fetch *fetch)
{
    __auto_type topics = &fetch->answer->topics;
    if (!group) return true;
    topics->items = arena_array(call->arena, group->topics.count, sizeof *topics->items);
    if (!topics->items) return false;
    size_t at_topic = 0;
    struct map_slot *topic_slot;
    while ((topic_slot = map_next(&group->topics, &at_topic))) {
        const struct offset_topic *from = topic_slot->value;
        __auto_type topic = &topics->items[topics->count];
        memset(topic, 0, sizeof *topic);
        topic->name = arena_copy(call->arena, from->name);
        topic->partitions.items =
            arena_array(call->arena, from->partitions.count, sizeof *topic->partitions.items);
        if (!topic->partitions.items || !topic->name.data) return false;
        size_t at_partition = 0;
        struct map_slot *slot;
        while ((slot = map_next(&from->partitions, &at_partition))) {
            const struct offset_entry *entry = slot->value;
            bool is_unstable = entry->transactions > 0 && fetch->require_stable;
            if (!entry->has_value && !is_unstable) continue;
            __auto_type answer = &topic->partitions.items[topic->partitions.count++];
            if (!fetch_entry(call, fetch, entry, entry->partition, NULL, answer)) return false;
        }
        if (topic->partitions.count > 0) topics->count++;
    }
    return true;
}

void group_fetch_error(struct group_call *call, struct group_fetch *fetch, enum error err)
{
    fetch->answer->error_code = error_kafka_code(err);
    /* Version 1 has no other place for an error than each partition. */
    if (call->version < 2 && !fetch_asked(NULL, call, fetch, err)) call->response = NULL;
}

static void fetch_now(struct group_shard *shard, struct group_call *call, struct group_fetch *fetch)
{
    const struct group *group = group_find(shard, fetch->group_id);
    if (group && group->state == GROUP_DEAD) group = NULL;
    bool is_made =
        fetch->topic_count < 0 ? fetch_all(group, call, fetch) : fetch_asked(group, call, fetch, OK);
    if (!is_made) call->response = NULL;
    group_answer(shard, call);
}

void group_shard_fetch(struct group_shard *shard, struct group_call *call, struct group_fetch *fetch)
{
    if (!fetch->require_stable) return fetch_now(shard, call, fetch);
    /* Who asks for stability hears of every commit that came before, answered or not. */
    struct group_write *barrier = group_write_new(shard, WRITE_BARRIER, NULL);
    if (!barrier) {
        group_fetch_error(call, fetch, ERR_UNKNOWN_SERVER_ERROR);
        return group_answer(shard, call);
    }
    barrier->call = call;
    call->part = fetch;
    call->is_waiting = true;
    group_write_submit(barrier);
}

void group_fetch_resumed(struct group_shard *shard, struct group_call *call, enum error err)
{
    if (err == OK) return fetch_now(shard, call, call->part);
    group_fetch_error(call, call->part, err);
    group_answer(shard, call);
}

/* --- who subscribes to what --- */

/* Whether a member of a group of consumers subscribes to `topic`, or may: metadata nobody can read counts as yes. */
static bool is_subscribed(struct group_shard *shard, const struct group *group, struct slice topic)
{
    if (group->member_count > 0 && !group->protocol.data) return true;
    LIST_EACH(&group->members, item)
    {
        struct slice metadata = member_metadata(CONTAINER_OF(item, struct member, link), group->protocol);
        struct consumer_protocol_subscription subscription;
        /* Later versions only add to the end, so what version 0 knows can be read of any. */
        if (metadata.size < 2) return true;
        struct slice body = {metadata.data + 2, metadata.size - 2};
        arena_reset(&shard->scratch);
        if (consumer_protocol_subscription_decode(0, body, &shard->scratch, &subscription, NULL, NULL) != OK)
            return true;
        for (int32_t i = 0; i < subscription.topics.count; i++) {
            if (slice_equal(subscription.topics.items[i], topic)) return true;
        }
    }
    return false;
}

/* --- OffsetDelete --- */

static enum error check_offset_delete(const struct group *group)
{
    if (!group) return ERR_GROUP_ID_NOT_FOUND;
    if (group->state == GROUP_DEAD) return ERR_COORDINATOR_NOT_AVAILABLE;
    if (group->state == GROUP_EMPTY || slice_is(group->protocol_type, "consumer")) return OK;
    return ERR_NON_EMPTY_GROUP;
}

/* False without memory. */
static bool delete_offsets(struct group_write *write, struct group_call *call)
{
    const struct offset_delete_request *request = call->request;
    const struct group_topic_check *checks = call->work;
    struct offset_delete_response *response = call->response;
    struct group *group = write->group;
    size_t count = request->topics.count > 0 ? (size_t)request->topics.count : 0;
    response->topics.items = arena_array(call->arena, count, sizeof *response->topics.items);
    if (!response->topics.items) return false;
    for (size_t i = 0; i < count; i++) {
        __auto_type asked = &request->topics.items[i];
        __auto_type topic = &response->topics.items[response->topics.count++];
        size_t partitions = asked->partitions.count > 0 ? (size_t)asked->partitions.count : 0;
        memset(topic, 0, sizeof *topic);
        topic->name = asked->name;
        topic->partitions.items = arena_array(call->arena, partitions, sizeof *topic->partitions.items);
        if (!topic->partitions.items) return false;
        enum error err = checks[i].err;
        if (err == OK && group->state != GROUP_EMPTY && is_subscribed(write->shard, group, asked->name)) {
            err = ERR_GROUP_SUBSCRIBED_TO_TOPIC;
        }
        for (size_t j = 0; j < partitions; j++) {
            __auto_type answer = &topic->partitions.items[topic->partitions.count++];
            memset(answer, 0, sizeof *answer);
            answer->partition_index = asked->partitions.items[j].partition_index;
            bool is_known =
                answer->partition_index >= 0 && answer->partition_index < checks[i].topic.partition_count;
            answer->error_code =
                error_kafka_code(err == OK && !is_known ? ERR_UNKNOWN_TOPIC_OR_PARTITION : err);
            if (answer->error_code != 0) continue;
            struct offset_entry *entry = offsets_find(group, asked->name, answer->partition_index);
            if (!entry) continue; /* nothing to delete is deleted */
            if (!group_write_offset_tombstone(write, entry)) return false;
            write->changes[write->change_count - 1].error_code = &answer->error_code;
        }
    }
    return true;
}

void group_offset_delete_error(struct group_call *call, enum error err)
{
    struct offset_delete_response *response = group_response(call, &offset_delete_response_type);
    if (response) response->error_code = error_kafka_code(err);
}

void group_shard_offset_delete(struct group_shard *shard, struct group_call *call)
{
    const struct offset_delete_request *request = call->request;
    struct group *group = group_find(shard, request->group_id);
    enum error err = request->group_id.size == 0 ? ERR_INVALID_GROUP_ID : check_offset_delete(group);
    group_offset_delete_error(call, err);
    if (!call->response || err != OK) return group_answer(shard, call);

    struct group_write *write = group_write_new(shard, WRITE_OFFSET_DELETES, group);
    bool is_made = write && delete_offsets(write, call);
    if (is_made && write->entry_count > 0) {
        write->call = call;
        call->is_waiting = true;
        return group_write_submit(write);
    }
    if (write) group_write_free(write);
    if (!is_made) call->response = NULL;
    group_answer(shard, call);
}

/* --- retention --- */

static bool is_expired(const struct group_shard *shard, const struct group *group,
                       const struct offset_value *value)
{
    if (value->expire_timestamp != -1) return shard->wall_ms >= value->expire_timestamp;
    bool since_empty = group->state == GROUP_EMPTY && group->protocol_type.data && group->state_since_ms >= 0;
    int64_t base_ms = since_empty ? group->state_since_ms : value->commit_timestamp;
    return shard->wall_ms >= add_ms(base_ms, shard->config->offsets_retention_ms);
}

/* Whether offsets of this topic may expire at all as long as the group is as it is. */
static bool may_expire(struct group_shard *shard, const struct group *group, struct slice topic)
{
    if (group->state == GROUP_EMPTY) return true;
    if (group->state != GROUP_STABLE || !slice_is(group->protocol_type, "consumer")) return false;
    return !is_subscribed(shard, group, topic);
}

static bool expire_offsets(struct group_shard *shard, struct group *group, struct group_write *write,
                           size_t *left)
{
    size_t at_topic = 0;
    struct map_slot *topic_slot;
    while ((topic_slot = map_next(&group->topics, &at_topic))) {
        const struct offset_topic *topic = topic_slot->value;
        bool is_free = may_expire(shard, group, topic->name);
        size_t at_partition = 0;
        struct map_slot *slot;
        while ((slot = map_next(&topic->partitions, &at_partition))) {
            struct offset_entry *entry = slot->value;
            bool is_due = is_free && entry->has_value && entry->in_flight == 0 && entry->transactions == 0 &&
                          is_expired(shard, group, &entry->value);
            if (!is_due) (*left)++;
            if (is_due && !group_write_offset_tombstone(write, entry)) return false;
        }
    }
    return true;
}

static void expire_group(struct group_shard *shard, struct group *group)
{
    if (group->state == GROUP_DEAD) return;
    struct group_write *write = group_write_new(shard, WRITE_OFFSET_DELETES, group);
    size_t left = 0;
    if (!write || !expire_offsets(shard, group, write, &left)) {
        if (write) group_write_free(write);
        return; /* the next round has memory again, or not */
    }
    bool is_done = left == 0 && group->state == GROUP_EMPTY && group->pending_count == 0;
    if (is_done && group->has_record) {
        if (!group_write_metadata_tombstone(write, group)) return group_write_free(write);
        write->kind = WRITE_GROUP_DELETE;
        group_move(shard, group, GROUP_DEAD);
    }
    if (write->entry_count > 0) return group_write_submit(write);
    group_write_free(write);
    group_drop_if_void(shard, group);
}

void group_shard_expire(struct group_shard *shard)
{
    /* Groups are dropped on the way, and a map must not change while it is walked. */
    size_t count = 0, position = 0;
    struct group **groups = calloc(shard->groups.count + 1, sizeof *groups);
    if (!groups) return;
    struct map_slot *slot;
    while ((slot = map_next(&shard->groups, &position))) groups[count++] = slot->value;
    for (size_t i = 0; i < count; i++) expire_group(shard, groups[i]);
    free(groups);
}
