/* calls.c: each API of the group coordinator: what is checked where the call is made, and what its response looks like
 * when nobody here can answer. What the answers mean is the brain's. */
#include <assert.h>

#include "group/coordinator.h"

static enum error check(struct group_call *call, struct slice group_id)
{
    return call->check_group ? call->check_group(call, group_id) : OK;
}

static enum error find_topic(struct group_call *call, bool by_id, struct group_topic_check *check)
{
    check->topic.partition_count = 0;
    check->err = call->find_topic(call, by_id, &check->topic);
    return check->err;
}

/* --- JoinGroup, SyncGroup, Heartbeat, LeaveGroup --- */

static struct slice join_group_id(const struct group_call *call)
{
    return ((const struct join_group_request *)call->request)->group_id;
}

static void join_refuse(struct group_call *call, enum error err)
{
    group_join_error(call, err, ((const struct join_group_request *)call->request)->member_id);
}

static struct slice sync_group_id(const struct group_call *call)
{
    return ((const struct sync_group_request *)call->request)->group_id;
}

static struct slice heartbeat_group_id(const struct group_call *call)
{
    return ((const struct heartbeat_request *)call->request)->group_id;
}

/* A member must not give up a group that is only being read. */
static void heartbeat_refuse(struct group_call *call, enum error err)
{
    group_heartbeat_error(call, err == ERR_COORDINATOR_LOAD_IN_PROGRESS ? OK : err);
}

static struct slice leave_group_id(const struct group_call *call)
{
    return ((const struct leave_group_request *)call->request)->group_id;
}

/* One group, nothing else to look at. */
static bool begin_one(struct group_call *call)
{
    enum error err = check(call, call->api->group_id(call));
    if (err != OK) call->api->refuse(call, err);
    return err == OK;
}

void group_join(struct group_coordinators *coordinators, struct group_call *call,
                const struct join_group_request *request)
{
    static const struct group_api api = {.needs_group_id = true,
                                         .begin = begin_one,
                                         .group_id = join_group_id,
                                         .run = group_shard_join,
                                         .refuse = join_refuse};
    group_call_start(coordinators, call, &api, request);
}

void group_sync(struct group_coordinators *coordinators, struct group_call *call,
                const struct sync_group_request *request)
{
    static const struct group_api api = {.needs_group_id = true,
                                         .begin = begin_one,
                                         .group_id = sync_group_id,
                                         .run = group_shard_sync,
                                         .refuse = group_sync_error};
    /* From version 5 on both must be said, right or wrong. */
    if (call->version >= 5 && (!request->protocol_type.data || !request->protocol_name.data)) {
        call->response = NULL;
        group_sync_error(call, ERR_INCONSISTENT_GROUP_PROTOCOL);
        call->done(call);
        return;
    }
    group_call_start(coordinators, call, &api, request);
}

void group_heartbeat(struct group_coordinators *coordinators, struct group_call *call,
                     const struct heartbeat_request *request)
{
    static const struct group_api api = {.needs_group_id = true,
                                         .begin = begin_one,
                                         .group_id = heartbeat_group_id,
                                         .run = group_shard_heartbeat,
                                         .refuse = heartbeat_refuse};
    group_call_start(coordinators, call, &api, request);
}

void group_leave(struct group_coordinators *coordinators, struct group_call *call,
                 const struct leave_group_request *request)
{
    static const struct group_api api = {.needs_group_id = true,
                                         .begin = begin_one,
                                         .group_id = leave_group_id,
                                         .run = group_shard_leave,
                                         .refuse = group_leave_error};
    group_call_start(coordinators, call, &api, request);
}

/* --- OffsetCommit --- */

static struct slice commit_group_id(const struct group_call *call)
{
    return ((const struct offset_commit_request *)call->request)->group_id;
}

static bool commit_begin(struct group_call *call)
{
    const struct offset_commit_request *request = call->request;
    size_t count = request->topics.count > 0 ? (size_t)request->topics.count : 0;
    struct group_topic_check *checks = arena_array(call->arena, count, sizeof *checks);
    if (!checks) return false;
    bool by_id = call->version >= 10;
    for (size_t i = 0; i < count; i++) {
        checks[i].topic = (struct group_topic){.name = request->topics.items[i].name,
                                               .id = request->topics.items[i].topic_id};
        (void)find_topic(call, by_id, &checks[i]);
    }
    call->work = checks;
    return begin_one(call);
}

void group_offset_commit(struct group_coordinators *coordinators, struct group_call *call,
                         const struct offset_commit_request *request)
{
    static const struct group_api api = {.begin = commit_begin,
                                         .group_id = commit_group_id,
                                         .run = group_shard_commit,
                                         .refuse = group_commit_error};
    group_call_start(coordinators, call, &api, request);
}

/* --- OffsetFetch --- */

static struct group_fetch *fetch_step(const struct group_call *call)
{
    return (struct group_fetch *)call->work + call->step;
}

static struct slice fetch_group_id(const struct group_call *call)
{
    return fetch_step(call)->group_id;
}

static bool fetch_wants(const struct group_call *call)
{
    return call->response && fetch_step(call)->answer->error_code == 0;
}

static void fetch_refuse(struct group_call *call, enum error err)
{
    group_fetch_error(call, fetch_step(call), err);
}

static void fetch_run(struct group_shard *shard, struct group_call *call)
{
    group_shard_fetch(shard, call, fetch_step(call));
}

static void fetch_topic(struct group_call *call, struct group_fetch_topic *topic, struct slice name,
                        const struct uuid *id, const int32_t *partitions, int32_t count)
{
    topic->check.topic = (struct group_topic){.name = name, .id = *id};
    topic->partitions = partitions;
    topic->partition_count = count > 0 ? count : 0;
    enum error err = find_topic(call, call->version >= 10, &topic->check);
    /* Offsets outlive their topic, until they are deleted or expire. */
    if (err == ERR_UNKNOWN_TOPIC_OR_PARTITION) topic->check.err = OK;
}

static bool fetch_group(struct group_call *call, struct group_fetch *fetch, struct slice group_id,
                        int32_t topic_count)
{
    const struct offset_fetch_request *request = call->request;
    *fetch = (struct group_fetch){.group_id = group_id,
                                  .topic_count = topic_count,
                                  .require_stable = request->require_stable,
                                  .answer = fetch->answer};
    memset(fetch->answer, 0, sizeof *fetch->answer);
    fetch->answer->group_id = group_id;
    fetch->answer->error_code = error_kafka_code(check(call, group_id));
    if (topic_count <= 0) return true;
    fetch->topics = arena_array(call->arena, (size_t)topic_count, sizeof *fetch->topics);
    return fetch->topics != NULL;
}

static bool fetch_begin_one(struct group_call *call, struct group_fetch *fetch)
{
    const struct offset_fetch_request *request = call->request;
    if (!fetch_group(call, fetch, request->group_id, request->topics.count)) return false;
    for (int32_t i = 0; i < request->topics.count; i++) {
        __auto_type topic = &request->topics.items[i];
        const struct uuid none = {0};
        fetch_topic(call, &fetch->topics[i], topic->name, &none, topic->partition_indexes.items,
                    topic->partition_indexes.count);
    }
    enum error err = error_from_kafka(fetch->answer->error_code);
    if (err != OK) group_fetch_error(call, fetch, err);
    return call->response != NULL;
}

static bool fetch_begin_many(struct group_call *call, struct group_fetch *fetches)
{
    const struct offset_fetch_request *request = call->request;
    for (int32_t i = 0; i < request->groups.count; i++) {
        __auto_type group = &request->groups.items[i];
        if (!fetch_group(call, &fetches[i], group->group_id, group->topics.count)) return false;
        for (int32_t j = 0; j < group->topics.count; j++) {
            __auto_type topic = &group->topics.items[j];
            fetch_topic(call, &fetches[i].topics[j], topic->name, &topic->topic_id,
                        topic->partition_indexes.items, topic->partition_indexes.count);
        }
    }
    return true;
}

static bool fetch_begin(struct group_call *call)
{
    const struct offset_fetch_request *request = call->request;
    struct offset_fetch_response *response = group_response(call, &offset_fetch_response_type);
    int32_t count = call->version < 8 ? 1 : request->groups.count;
    if (count < 0) count = 0;
    struct group_fetch *fetches = arena_array(call->arena, (size_t)count, sizeof *fetches);
    if (!response || !fetches) goto no_memory;
    response->groups.items = arena_array(call->arena, (size_t)count, sizeof *response->groups.items);
    response->groups.count = count;
    if (!response->groups.items) goto no_memory;
    for (int32_t i = 0; i < count; i++) fetches[i].answer = &response->groups.items[i];
    call->work = fetches;
    call->step_count = count;
    if (call->version < 8 ? fetch_begin_one(call, fetches) : fetch_begin_many(call, fetches)) return true;
no_memory:
    call->response = NULL;
    return false;
}

/* Of what was found where all was asked for, only what this principal may see; with ids where the version speaks ids. */
static void fetch_filter(struct group_call *call, struct group_fetch *fetch)
{
    __auto_type topics = &fetch->answer->topics;
    int32_t kept = 0;
    for (int32_t i = 0; i < topics->count; i++) {
        struct group_topic_check check = {.topic = {.name = topics->items[i].name}};
        enum error err = find_topic(call, false, &check);
        if (err == ERR_TOPIC_AUTHORIZATION_FAILED || (err != OK && call->version >= 10)) continue;
        topics->items[kept] = topics->items[i];
        topics->items[kept++].topic_id = check.topic.id;
    }
    topics->count = kept;
}

/* What versions before 8 say of their one group. */
static bool fetch_flatten(struct group_call *call, const struct group_fetch *fetch)
{
    struct offset_fetch_response *response = call->response;
    __auto_type from = &fetch->answer->topics;
    response->error_code = fetch->answer->error_code;
    response->groups.count = 0;
    response->topics.items = arena_array(call->arena, (size_t)from->count, sizeof *response->topics.items);
    if (!response->topics.items) return false;
    for (int32_t i = 0; i < from->count; i++) {
        __auto_type topic = &response->topics.items[response->topics.count++];
        __auto_type partitions = &from->items[i].partitions;
        memset(topic, 0, sizeof *topic);
        topic->name = from->items[i].name;
        topic->partitions.items =
            arena_array(call->arena, (size_t)partitions->count, sizeof *topic->partitions.items);
        if (!topic->partitions.items) return false;
        for (int32_t j = 0; j < partitions->count; j++) {
            __auto_type to = &topic->partitions.items[topic->partitions.count++];
            memset(to, 0, sizeof *to);
            to->partition_index = partitions->items[j].partition_index;
            to->committed_offset = partitions->items[j].committed_offset;
            to->committed_leader_epoch = partitions->items[j].committed_leader_epoch;
            to->metadata = partitions->items[j].metadata;
            to->error_code = partitions->items[j].error_code;
        }
    }
    return true;
}

static void fetch_end(struct group_call *call)
{
    struct group_fetch *fetches = call->work;
    for (int32_t i = 0; call->response && i < call->step_count; i++) {
        if (fetches[i].topic_count < 0) fetch_filter(call, &fetches[i]);
    }
    if (call->response && call->version < 8 && !fetch_flatten(call, fetches)) call->response = NULL;
}

void group_offset_fetch(struct group_coordinators *coordinators, struct group_call *call,
                        const struct offset_fetch_request *request)
{
    static const struct group_api api = {.begin = fetch_begin,
                                         .group_id = fetch_group_id,
                                         .wants = fetch_wants,
                                         .run = fetch_run,
                                         .refuse = fetch_refuse,
                                         .end = fetch_end};
    group_call_start(coordinators, call, &api, request);
}

/* --- OffsetDelete --- */

static struct slice offset_delete_group_id(const struct group_call *call)
{
    return ((const struct offset_delete_request *)call->request)->group_id;
}

static bool offset_delete_begin(struct group_call *call)
{
    const struct offset_delete_request *request = call->request;
    size_t count = request->topics.count > 0 ? (size_t)request->topics.count : 0;
    struct group_topic_check *checks = arena_array(call->arena, count, sizeof *checks);
    if (!checks) return false;
    for (size_t i = 0; i < count; i++) {
        checks[i].topic = (struct group_topic){.name = request->topics.items[i].name};
        (void)find_topic(call, false, &checks[i]);
    }
    call->work = checks;
    return begin_one(call);
}

void group_offset_delete(struct group_coordinators *coordinators, struct group_call *call,
                         const struct offset_delete_request *request)
{
    static const struct group_api api = {.needs_group_id = true,
                                         .begin = offset_delete_begin,
                                         .group_id = offset_delete_group_id,
                                         .run = group_shard_offset_delete,
                                         .refuse = group_offset_delete_error};
    group_call_start(coordinators, call, &api, request);
}

/* --- DescribeGroups --- */

static struct describe_groups_response_described_group *described(const struct group_call *call)
{
    return &((struct describe_groups_response *)call->response)->groups.items[call->step];
}

static bool describe_begin(struct group_call *call)
{
    const struct describe_groups_request *request = call->request;
    struct describe_groups_response *response = group_response(call, &describe_groups_response_type);
    if (!response) return false;
    size_t count = request->groups.count > 0 ? (size_t)request->groups.count : 0;
    response->groups.items = arena_array(call->arena, count, sizeof *response->groups.items);
    if (!response->groups.items) return call->response = NULL, false;
    response->groups.count = call->step_count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        struct describe_groups_response_described_group *group = &response->groups.items[i];
        memset(group, 0, sizeof *group);
        group->group_id = request->groups.items[i];
        group->group_state = group->protocol_type = group->protocol_data = SLICE("");
        group->authorized_operations = INT32_MIN;
        group->error_code = error_kafka_code(check(call, group->group_id));
    }
    return true;
}

static struct slice describe_group_id(const struct group_call *call)
{
    return ((const struct describe_groups_request *)call->request)->groups.items[call->step];
}

static bool describe_wants(const struct group_call *call)
{
    return call->response && described(call)->error_code == 0;
}

static void describe_run(struct group_shard *shard, struct group_call *call)
{
    group_shard_describe(shard, call, describe_group_id(call), described(call));
    group_answer(shard, call);
}

static void describe_refuse(struct group_call *call, enum error err)
{
    described(call)->error_code = error_kafka_code(err);
}

void group_describe(struct group_coordinators *coordinators, struct group_call *call,
                    const struct describe_groups_request *request)
{
    static const struct group_api api = {.begin = describe_begin,
                                         .group_id = describe_group_id,
                                         .wants = describe_wants,
                                         .run = describe_run,
                                         .refuse = describe_refuse};
    group_call_start(coordinators, call, &api, request);
}

/* --- DeleteGroups --- */

static struct delete_groups_response_deletable_group_result *deleted(const struct group_call *call)
{
    return &((struct delete_groups_response *)call->response)->results.items[call->step];
}

static bool delete_begin(struct group_call *call)
{
    const struct delete_groups_request *request = call->request;
    struct delete_groups_response *response = group_response(call, &delete_groups_response_type);
    if (!response) return false;
    size_t count = request->groups_names.count > 0 ? (size_t)request->groups_names.count : 0;
    response->results.items = arena_array(call->arena, count, sizeof *response->results.items);
    if (!response->results.items) return call->response = NULL, false;
    response->results.count = call->step_count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        struct delete_groups_response_deletable_group_result *result = &response->results.items[i];
        memset(result, 0, sizeof *result);
        result->group_id = request->groups_names.items[i];
        result->error_code = error_kafka_code(check(call, result->group_id));
    }
    return true;
}

static struct slice delete_group_id(const struct group_call *call)
{
    return ((const struct delete_groups_request *)call->request)->groups_names.items[call->step];
}

static bool delete_wants(const struct group_call *call)
{
    return deleted(call)->error_code == 0;
}

static void delete_run(struct group_shard *shard, struct group_call *call)
{
    if (group_shard_delete(shard, call, delete_group_id(call), &deleted(call)->error_code))
        group_answer(shard, call);
}

static void delete_refuse(struct group_call *call, enum error err)
{
    deleted(call)->error_code = error_kafka_code(err);
}

void group_delete(struct group_coordinators *coordinators, struct group_call *call,
                  const struct delete_groups_request *request)
{
    static const struct group_api api = {.begin = delete_begin,
                                         .group_id = delete_group_id,
                                         .wants = delete_wants,
                                         .run = delete_run,
                                         .refuse = delete_refuse};
    group_call_start(coordinators, call, &api, request);
}

/* --- ListGroups: a step is a partition --- */

static bool list_begin(struct group_call *call)
{
    struct group_listing *listing = arena_zalloc(call->arena, sizeof *listing);
    if (!group_response(call, &list_groups_response_type)) return false;
    if (!listing) return call->response = NULL, false;
    call->work = listing;
    call->step_count = group_partition_count(call->coordinators);
    return true;
}

static bool list_wants(const struct group_call *call)
{
    return call->response && ((const struct list_groups_response *)call->response)->error_code == 0;
}

static void list_run(struct group_shard *shard, struct group_call *call)
{
    if (!group_shard_list(shard, call->request, call->arena, call->work)) call->response = NULL;
    group_answer(shard, call);
}

/* A partition that is elsewhere has its groups elsewhere. One that is being loaded spoils the whole list. */
static void list_refuse(struct group_call *call, enum error err)
{
    struct list_groups_response *response = call->response;
    if (err != ERR_NOT_COORDINATOR) response->error_code = error_kafka_code(err);
}

static void list_end(struct group_call *call)
{
    struct list_groups_response *response = call->response;
    struct group_listing *listing = call->work;
    if (!response || response->error_code != 0) return;
    response->groups.items = listing->items;
    for (int32_t i = 0; i < listing->count; i++) {
        if (check(call, listing->items[i].group_id) != OK) continue;
        listing->items[response->groups.count++] = listing->items[i];
    }
}

void group_list(struct group_coordinators *coordinators, struct group_call *call,
                const struct list_groups_request *request)
{
    static const struct group_api api = {
        .begin = list_begin, .wants = list_wants, .run = list_run, .refuse = list_refuse, .end = list_end};
    group_call_start(coordinators, call, &api, request);
}
