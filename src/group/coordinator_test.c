/* coordinator_test.c: calls on their way: between loops, from group to group, while partitions load, are led and resigned.
 * Two loops, four partitions of __consumer_offsets (statelog/fake_partition.h), the real statelog, the real brain. */
#include "statelog/fake_partition.h"

#include <stdio.h>

#include "base/diag.h"
#include "group/group.h"
#include "statelog/statelog.h"
#include "wire/messages.h"

enum { LOOPS = 2, PARTITIONS = 4 };

struct stage {
    struct loop loops[LOOPS];
    struct partition partitions[PARTITIONS];
    struct group_coordinators *coordinators;
    struct random random;
};

struct caller {
    struct group_call call;
    struct arena arena;
    const struct message_type *type; /* of the response */
    int answers;
    const char *denied_group, *denied_topic;
};

static void stage_open(struct stage *stage, bool is_alone)
{
    struct group_config config = GROUP_CONFIG_DEFAULT;
    memset(stage, 0, sizeof *stage);
    for (int i = 0; i < LOOPS; i++) {
        stage->loops[i].now_ms = 1000;
        random_seed(&stage->loops[i].random, (uint64_t)i + 1);
    }
    for (int i = 0; i < PARTITIONS; i++) {
        fake_partition_open(&stage->partitions[i], &stage->loops[i % LOOPS], i);
        stage->partitions[i].is_alone = is_alone;
    }
    assert_int_equal(group_coordinators_new(&config, &stage->coordinators), OK);
}

/* Until nobody has anything left to do now. */
static void run(struct stage *stage)
{
    bool any = true;
    while (any) {
        any = false;
        for (int i = 0; i < LOOPS; i++) {
            fake_current = &stage->loops[i];
            while (fake_turn(&stage->loops[i])) any = true;
            while (fake_tick(&stage->loops[i])) any = true;
        }
    }
    fake_current = NULL;
}

static void pass_ms(struct stage *stage, int64_t ms)
{
    for (; ms > 0; ms -= 100) {
        for (int i = 0; i < LOOPS; i++) stage->loops[i].now_ms += ms < 100 ? ms : 100;
        run(stage);
    }
}

static void lead(struct stage *stage, int index)
{
    fake_current = stage->partitions[index].loop;
    assert_int_equal(group_partition_led(stage->coordinators, &stage->partitions[index]), OK);
    fake_current = NULL;
}

static void resign(struct stage *stage, int index)
{
    fake_current = stage->partitions[index].loop;
    group_partition_resigned(stage->coordinators, index);
    fake_current = NULL;
}

static void lead_all(struct stage *stage)
{
    assert_int_equal(group_partitions_set(stage->coordinators, PARTITIONS), OK);
    for (int i = 0; i < PARTITIONS; i++) lead(stage, i);
    run(stage);
}

static void stage_close(struct stage *stage)
{
    for (int i = 0; i < PARTITIONS; i++) resign(stage, i);
    run(stage);
    for (int i = 0; i < PARTITIONS; i++) fake_partition_close(&stage->partitions[i]);
    group_coordinators_free(&stage->coordinators);
}

/* --- callers --- */

static void answered(struct group_call *call)
{
    struct caller *caller = CONTAINER_OF(call, struct caller, call);
    assert_true(loop_is_current(call->loop));
    assert_int_equal(caller->answers++, 0);
    assert_non_null(call->response);
    /* Whatever we say can be said in the version that was asked for. */
    assert_true(message_size(caller->type, call->version, call->response) < SIZE_MAX);
}

static enum error check_group(struct group_call *call, struct slice group_id)
{
    const struct caller *caller = CONTAINER_OF(call, struct caller, call);
    assert_true(loop_is_current(call->loop));
    bool is_denied = caller->denied_group && slice_is(group_id, caller->denied_group);
    return is_denied ? ERR_GROUP_AUTHORIZATION_FAILED : OK;
}

/* The topics of this world: t has id 1, u id 2, each of 10 partitions. */
static enum error find_topic(struct group_call *call, bool by_id, struct group_topic *topic)
{
    const struct caller *caller = CONTAINER_OF(call, struct caller, call);
    assert_true(loop_is_current(call->loop));
    uint8_t last = topic->id.bytes[15];
    if (by_id && last != 1 && last != 2) return ERR_UNKNOWN_TOPIC_ID;
    if (by_id) topic->name = last == 1 ? SLICE("t") : SLICE("u");
    if (caller->denied_topic && slice_is(topic->name, caller->denied_topic))
        return ERR_TOPIC_AUTHORIZATION_FAILED;
    if (!slice_is(topic->name, "t") && !slice_is(topic->name, "u")) return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    topic->id = (struct uuid){{[15] = slice_is(topic->name, "t") ? 1 : 2}};
    topic->partition_count = 10;
    return OK;
}

static struct caller *caller_new(struct stage *stage, int loop, int16_t version,
                                 const struct message_type *type)
{
    struct caller *caller = calloc(1, sizeof *caller);
    assert_non_null(caller);
    arena_init(&caller->arena, 0);
    caller->type = type;
    caller->call = (struct group_call){.loop = &stage->loops[loop],
                                       .arena = &caller->arena,
                                       .version = version,
                                       .client_id = SLICE("client"),
                                       .client_host = SLICE("/127.0.0.1"),
                                       .done = answered,
                                       .check_group = check_group,
                                       .find_topic = find_topic};
    fake_current = &stage->loops[loop];
    return caller;
}

static void caller_free(struct caller *caller)
{
    assert_int_equal(caller->answers, 1);
    arena_free(&caller->arena);
    free(caller);
}

static void *request_new(struct caller *caller, const struct message_type *type)
{
    void *request = arena_alloc(&caller->arena, message_struct_size(type));
    message_init(type, request);
    return request;
}

static struct caller *join(struct stage *stage, int loop, const char *group)
{
    struct caller *caller = caller_new(stage, loop, 3, &join_group_response_type);
    struct join_group_request *request = request_new(caller, &join_group_request_type);
    request->group_id = slice_of(group);
    request->session_timeout_ms = 10000;
    request->rebalance_timeout_ms = 60000;
    request->member_id = SLICE("");
    request->protocol_type = SLICE("consumer");
    request->protocols.items = arena_zalloc(&caller->arena, sizeof *request->protocols.items);
    request->protocols.count = 1;
    request->protocols.items[0].name = SLICE("range");
    request->protocols.items[0].metadata = SLICE("m");
    group_join(stage->coordinators, &caller->call, request);
    fake_current = NULL;
    return caller;
}

static int16_t heartbeat(struct stage *stage, int loop, const char *group)
{
    struct caller *caller = caller_new(stage, loop, 4, &heartbeat_response_type);
    struct heartbeat_request *request = request_new(caller, &heartbeat_request_type);
    request->group_id = slice_of(group);
    request->member_id = SLICE("nobody");
    group_heartbeat(stage->coordinators, &caller->call, request);
    run(stage);
    int16_t code = ((struct heartbeat_response *)caller->call.response)->error_code;
    caller_free(caller);
    return code;
}

static struct caller *commit(struct stage *stage, int loop, int16_t version, const char *group,
                             const char *topic, int64_t offset, const char *denied_topic)
{
    struct caller *caller = caller_new(stage, loop, version, &offset_commit_response_type);
    struct offset_commit_request *request = request_new(caller, &offset_commit_request_type);
    caller->denied_topic = denied_topic;
    request->group_id = slice_of(group);
    request->topics.items = arena_zalloc(&caller->arena, sizeof *request->topics.items);
    request->topics.count = 1;
    if (version < 10) request->topics.items[0].name = slice_of(topic);
    if (version >= 10) request->topics.items[0].name = SLICE("");
    if (version >= 10)
        request->topics.items[0].topic_id.bytes[15] = *topic == 't' ? 1 : *topic == 'u' ? 2 : 9;
    request->topics.items[0].partitions.items =
        arena_zalloc(&caller->arena, sizeof *request->topics.items[0].partitions.items);
    request->topics.items[0].partitions.count = 1;
    request->topics.items[0].partitions.items[0].committed_offset = offset;
    request->topics.items[0].partitions.items[0].committed_leader_epoch = -1;
    request->topics.items[0].partitions.items[0].commit_timestamp = -1;
    group_offset_commit(stage->coordinators, &caller->call, request);
    fake_current = NULL;
    return caller;
}

static int16_t commit_code(const struct caller *caller)
{
    const struct offset_commit_response *response = caller->call.response;
    return response->topics.items[0].partitions.items[0].error_code;
}

static int16_t commit_now(struct stage *stage, int loop, const char *group, const char *topic, int64_t offset)
{
    struct caller *caller = commit(stage, loop, 8, group, topic, offset, NULL);
    run(stage);
    int16_t code = commit_code(caller);
    caller_free(caller);
    return code;
}

static int16_t list_code(struct stage *stage, int *count)
{
    struct caller *caller = caller_new(stage, 1, 5, &list_groups_response_type);
    group_list(stage->coordinators, &caller->call, request_new(caller, &list_groups_request_type));
    run(stage);
    const struct list_groups_response *response = caller->call.response;
    int16_t code = response->error_code;
    *count = response->groups.count;
    caller_free(caller);
    return code;
}

/* One group, one topic (NULL = all) with one partition, in any version: the code of the group, else of the partition,
 * else 0 with the offset in *offset. */
static int16_t fetch(struct stage *stage, int loop, int16_t version, const char *group, const char *topic,
                     int64_t *offset)
{
    static int32_t partition_zero[1];
    struct caller *caller = caller_new(stage, loop, version, &offset_fetch_response_type);
    struct offset_fetch_request *request = request_new(caller, &offset_fetch_request_type);
    request->require_stable = version >= 7;
    struct offset_fetch_request_offset_fetch_request_topic old = {.name = slice_of(topic)};
    struct offset_fetch_request_offset_fetch_request_topics new = {.name = slice_of(topic)};
    struct offset_fetch_request_offset_fetch_request_group asked = {.group_id = slice_of(group),
                                                                    .member_epoch = -1};
    old.partition_indexes.items = new.partition_indexes.items = partition_zero;
    old.partition_indexes.count = new.partition_indexes.count = 1;
    if (version >= 10) new.name = SLICE("");
    if (version >= 10 && topic) new.topic_id.bytes[15] = *topic == 't' ? 1 : *topic == 'u' ? 2 : 9;
    if (version < 8) {
        request->group_id = slice_of(group);
        request->topics.items = &old;
        request->topics.count = topic ? 1 : -1;
    } else {
        request->groups.items = &asked;
        request->groups.count = 1;
        asked.topics.items = &new;
        asked.topics.count = topic ? 1 : -1;
    }
    group_offset_fetch(stage->coordinators, &caller->call, request);
    run(stage);

    const struct offset_fetch_response *response = caller->call.response;
    int16_t code;
    *offset = -1;
    if (version < 8) {
        code = response->error_code;
        if (response->topics.count > 0) {
            __auto_type partition = &response->topics.items[0].partitions.items[0];
            if (code == 0) code = partition->error_code;
            *offset = partition->committed_offset;
        }
    } else {
        assert_int_equal(response->groups.count, 1);
        __auto_type answer = &response->groups.items[0];
        assert_true(slice_is(answer->group_id, group));
        code = answer->error_code;
        if (answer->topics.count > 0) {
            __auto_type partition = &answer->topics.items[0].partitions.items[0];
            if (code == 0) code = partition->error_code;
            *offset = partition->committed_offset;
            if (version >= 10) assert_true(answer->topics.items[0].topic_id.bytes[15] != 0);
        }
    }
    caller_free(caller);
    return code;
}

/* Groups by the partition they live in: "g0" ... are searched so that group_in(i) is in partition i. */
static const char *group_in(int partition)
{
    static char names[PARTITIONS][8];
    for (int i = 0; !names[partition][0] && i < 1000; i++) {
        char name[8];
        snprintf(name, sizeof name, "g%d", i);
        if (statelog_partition_of(slice_of(name), PARTITIONS) == partition) strcpy(names[partition], name);
    }
    return names[partition];
}

/* --- tests --- */

static void a_call_travels_and_comes_back(void **unused)
{
    struct stage stage;
    stage_open(&stage, true);
    lead_all(&stage);
    for (int partition = 0; partition < PARTITIONS; partition++) {
        for (int loop = 0; loop < LOOPS; loop++) {
            assert_int_equal(commit_now(&stage, loop, group_in(partition), "t", 100 + loop), 0);
            assert_int_equal(heartbeat(&stage, loop, group_in(partition)), 25);
        }
        assert_true(stage.partitions[partition].appends >= 2);
        struct caller *member = join(&stage, 0, group_in(partition));
        pass_ms(&stage, 2900);
        assert_int_equal(member->answers, 0);
        pass_ms(&stage, 200);
        assert_int_equal(((struct join_group_response *)member->call.response)->error_code, 0);
        caller_free(member);
    }
    stage_close(&stage);
}

static void a_fetch_is_answered_in_every_version(void **unused)
{
    struct stage stage;
    int64_t offset;
    stage_open(&stage, true);
    lead_all(&stage);
    const char *group = group_in(1);
    assert_int_equal(commit_now(&stage, 0, group, "t", 77), 0);
    for (int16_t version = 0; version <= 10; version++) {
        assert_int_equal(fetch(&stage, 0, version, group, "t", &offset), 0);
        assert_int_equal(offset, 77);
        assert_int_equal(fetch(&stage, 1, version, group, "u", &offset), 0);
        assert_int_equal(offset, -1);
        assert_int_equal(fetch(&stage, 0, version, "nobody's", "t", &offset), 0);
        assert_int_equal(offset, -1);
        assert_int_equal(fetch(&stage, 0, version, group, "gone", &offset), version >= 10 ? 100 : 0);
        if (version >= 2) {
            assert_int_equal(fetch(&stage, 0, version, group, NULL, &offset), 0);
            assert_int_equal(offset, 77);
        }
    }
    resign(&stage, 1);
    for (int16_t version = 0; version <= 10; version++)
        assert_int_equal(fetch(&stage, 0, version, group, "t", &offset), 16);
    lead(&stage, 1); /* loads only when its loop comes around */
    struct caller *caller = commit(&stage, 1, 8, group, "t", 5, NULL);
    assert_int_equal(commit_code(caller), 14);
    caller_free(caller);
    run(&stage);
    assert_int_equal(fetch(&stage, 0, 8, group, "t", &offset), 0);
    assert_int_equal(offset, 77);
    stage_close(&stage);
}

static void nobody_home(void **unused)
{
    struct stage stage;
    int count;
    stage_open(&stage, true);
    assert_int_equal(heartbeat(&stage, 0, "g"), 15); /* nobody knows yet where groups live */
    assert_int_equal(heartbeat(&stage, 0, ""), 24);
    assert_int_equal(group_partition_of(stage.coordinators, SLICE("g")), -1);
    assert_int_equal(list_code(&stage, &count), 0);
    assert_int_equal(group_partitions_set(stage.coordinators, PARTITIONS), OK);
    assert_int_equal(heartbeat(&stage, 0, "g"), 16);
    assert_int_equal(heartbeat(&stage, 0, ""), 24);
    assert_int_equal(commit_now(&stage, 0, "", "t", 1), 16); /* an empty group id may commit */
    struct caller *caller = join(&stage, 0, "g");
    assert_int_equal(((struct join_group_response *)caller->call.response)->error_code, 16);
    caller_free(caller);

    for (int i = 0; i < PARTITIONS; i++) lead(&stage, i);
    assert_int_equal(group_partitions_set(stage.coordinators, 50), ERR_EXISTS);
    for (int i = 0; i < PARTITIONS; i++) { /* all are loading now, for nobody's turn has come */
        struct caller *beat = caller_new(&stage, i % LOOPS, 4, &heartbeat_response_type);
        struct heartbeat_request *request = request_new(beat, &heartbeat_request_type);
        request->group_id = slice_of(group_in(i));
        request->member_id = SLICE("m");
        group_heartbeat(stage.coordinators, &beat->call, request);
        assert_int_equal(((struct heartbeat_response *)beat->call.response)->error_code, 0);
        caller_free(beat);
        caller = join(&stage, i % LOOPS, group_in(i));
        assert_int_equal(((struct join_group_response *)caller->call.response)->error_code, 14);
        caller_free(caller);
    }
    run(&stage);
    assert_int_equal(heartbeat(&stage, 0, "g"), 25);
    assert_int_equal(commit_now(&stage, 0, "", "t", 1), 0);
    assert_int_equal(list_code(&stage, &count), 0);
    assert_int_equal(count, 1);

    lead(&stage, 2); /* again, at the same epoch: nothing happens */
    assert_int_equal(list_code(&stage, &count), 0);
    stage.partitions[2].epoch++;
    lead(&stage, 2); /* at another: all begins anew */
    caller = join(&stage, 0, group_in(2));
    assert_int_equal(((struct join_group_response *)caller->call.response)->error_code, 14);
    caller_free(caller);
    stage_close(&stage);
}

static void resigning_answers_everybody(void **unused)
{
    struct stage stage;
    int64_t offset;
    stage_open(&stage, false); /* nothing is replicated until the test says so */
    lead_all(&stage);
    const char *group = group_in(1);
    struct caller *first = commit(&stage, 0, 8, group, "t", 5, NULL);
    run(&stage);
    fake_replicate(&stage.partitions[1], stage.partitions[1].end_offset);
    run(&stage);
    assert_int_equal(commit_code(first), 0);
    struct caller *member = join(&stage, 0, group);
    struct caller *second = commit(&stage, 0, 8, group_in(1), "u", 6, NULL);
    run(&stage);
    assert_int_equal(member->answers, 0);
    resign(&stage, 1);
    run(&stage);
    assert_int_equal(((struct join_group_response *)member->call.response)->error_code, 16);
    assert_int_not_equal(commit_code(second), 0);
    assert_int_equal(heartbeat(&stage, 0, group), 16);

    stage.partitions[1].high_watermark = stage.partitions[1].end_offset;
    stage.partitions[1].epoch++;
    lead(&stage, 1);
    run(&stage);
    assert_int_equal(fetch(&stage, 0, 5, group, "t", &offset), 0);
    assert_int_equal(offset, 5);
    caller_free(first), caller_free(second), caller_free(member);
    stage_close(&stage);
}

static void time_is_up_for_slow_writes(void **unused)
{
    struct stage stage;
    int64_t offset;
    stage_open(&stage, false);
    lead_all(&stage);
    const char *group = group_in(2);
    struct caller *slow = commit(&stage, 1, 8, group, "t", 5, NULL);
    pass_ms(&stage, 4900);
    assert_int_equal(slow->answers, 0);
    pass_ms(&stage, 200);
    assert_int_equal(commit_code(slow), 15);
    fake_replicate(&stage.partitions[2], 1);
    run(&stage);
    assert_int_equal(fetch(&stage, 0, 5, group, "t", &offset), 0);
    assert_int_equal(offset, 5); /* late is not never */
    stage.partitions[2].append_error = ERR_NOT_ENOUGH_REPLICAS;
    assert_int_equal(commit_now(&stage, 1, group, "t", 6), 15);
    caller_free(slow);
    stage_close(&stage);
}

static void what_one_may_not_is_left_out(void **unused)
{
    struct stage stage;
    stage_open(&stage, true);
    lead_all(&stage);
    assert_int_equal(commit_now(&stage, 0, group_in(0), "t", 5) + commit_now(&stage, 0, group_in(0), "u", 6),
                     0);
    for (int16_t version = 8; version <= 10; version += 2) {
        struct caller *caller = commit(&stage, 0, version, group_in(0), "t", 9, "t");
        run(&stage);
        assert_int_equal(commit_code(caller), 29);
        caller_free(caller);
        caller = commit(&stage, 0, version, group_in(0), "v", 9, NULL);
        run(&stage);
        assert_int_equal(commit_code(caller), version >= 10 ? 100 : 3);
        caller_free(caller);
    }

    struct caller *caller = caller_new(&stage, 0, 8, &offset_fetch_response_type);
    struct offset_fetch_request *request = request_new(caller, &offset_fetch_request_type);
    struct offset_fetch_request_offset_fetch_request_group groups[3] = {
        {.group_id = slice_of(group_in(0)), .member_epoch = -1, .topics = {NULL, -1}},
        {.group_id = slice_of(group_in(1)), .member_epoch = -1, .topics = {NULL, -1}},
        {.group_id = slice_of(group_in(2)), .member_epoch = -1, .topics = {NULL, -1}}};
    request->groups.items = groups;
    request->groups.count = 3;
    caller->denied_group = group_in(1);
    caller->denied_topic = "t";
    group_offset_fetch(stage.coordinators, &caller->call, request);
    run(&stage);
    const struct offset_fetch_response *response = caller->call.response;
    assert_int_equal(response->groups.count, 3);
    assert_int_equal(response->groups.items[0].error_code, 0);
    assert_int_equal(response->groups.items[0].topics.count, 1);
    assert_true(slice_is(response->groups.items[0].topics.items[0].name, "u"));
    assert_int_equal(response->groups.items[1].error_code, 30);
    assert_int_equal(response->groups.items[2].error_code, 0);
    caller_free(caller);

    for (int16_t version = 1; version <= 8; version++) {
        caller = caller_new(&stage, 0, version, &offset_fetch_response_type);
        request = request_new(caller, &offset_fetch_request_type);
        int32_t zero = 0;
        struct offset_fetch_request_offset_fetch_request_topic topic = {.name = SLICE("t"),
                                                                        .partition_indexes = {&zero, 1}};
        request->group_id = slice_of(group_in(1));
        request->groups.items = &groups[1];
        if (version < 8) request->topics.items = &topic, request->topics.count = 1;
        if (version >= 8) request->groups.count = 1;
        caller->denied_group = group_in(1);
        group_offset_fetch(stage.coordinators, &caller->call, request);
        run(&stage);
        response = caller->call.response;
        if (version < 2) assert_int_equal(response->topics.items[0].partitions.items[0].error_code, 30);
        if (version >= 2 && version < 8) assert_int_equal(response->error_code, 30);
        if (version >= 8) assert_int_equal(response->groups.items[0].error_code, 30);
        caller_free(caller);
    }
    stage_close(&stage);
}

static void requests_about_many_groups_go_round(void **unused)
{
    struct stage stage;
    int count;
    stage_open(&stage, true);
    lead_all(&stage);
    for (int i = 0; i < PARTITIONS; i++) assert_int_equal(commit_now(&stage, 0, group_in(i), "t", 5), 0);
    assert_int_equal(list_code(&stage, &count), 0);
    assert_int_equal(count, PARTITIONS);
    resign(&stage, 3);

    struct slice names[12];
    for (int i = 0; i < 12; i++) names[i] = slice_of(group_in(i % PARTITIONS));
    names[8] = SLICE("unheard of");
    struct caller *caller = caller_new(&stage, 0, 6, &describe_groups_response_type);
    struct describe_groups_request *describe = request_new(caller, &describe_groups_request_type);
    describe->groups.items = names;
    describe->groups.count = 12;
    caller->denied_group = group_in(2);
    group_describe(stage.coordinators, &caller->call, describe);
    run(&stage);
    const struct describe_groups_response *described = caller->call.response;
    bool is_here = statelog_partition_of(names[8], PARTITIONS) != 3;
    for (int i = 0; i < 12; i++) {
        static const int16_t want[PARTITIONS] = {0, 0, 30, 16};
        assert_int_equal(described->groups.items[i].error_code,
                         i == 8 ? (is_here ? 69 : 16) : want[i % PARTITIONS]);
        assert_true(slice_equal(described->groups.items[i].group_id, names[i]));
        if (i % PARTITIONS < 2 && i != 8)
            assert_true(slice_is(described->groups.items[i].group_state, "Empty"));
    }
    caller_free(caller);

    caller = caller_new(&stage, 1, 2, &delete_groups_response_type);
    struct delete_groups_request *delete = request_new(caller, &delete_groups_request_type);
    delete->groups_names.items = names;
    delete->groups_names.count = 8;
    group_delete(stage.coordinators, &caller->call, delete);
    run(&stage);
    const struct delete_groups_response *deleted = caller->call.response;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(deleted->results.items[i].error_code, i % 4 == 3 ? 16 : i < 4 ? 0 : 69);
    }
    caller_free(caller);
    assert_int_equal(list_code(&stage, &count), 0);
    assert_int_equal(count, 0);
    stage_close(&stage);
}

/* Many groups in one request cost no stack. */
static void ten_thousand_groups_in_one_request(void **unused)
{
    enum { MANY = 10000 };
    struct stage stage;
    stage_open(&stage, true);
    lead_all(&stage);
    struct slice *names = calloc(MANY, sizeof *names);
    for (int i = 0; i < MANY; i++)
        names[i] = slice_of(group_in(i % 2 ? 0 : 2)); /* two coordinators of one loop */
    struct caller *caller = caller_new(&stage, 0, 5, &describe_groups_response_type);
    struct describe_groups_request *describe = request_new(caller, &describe_groups_request_type);
    describe->groups.items = names;
    describe->groups.count = MANY;
    group_describe(stage.coordinators, &caller->call, describe);
    run(&stage);
    assert_int_equal(((struct describe_groups_response *)caller->call.response)->groups.count, MANY);
    caller_free(caller);
    free(names);
    stage_close(&stage);
}

/* Leaders come and go while calls are on their way: each is answered, once, on its own loop. */
static void calls_in_a_storm(void **unused)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct stage stage;
        struct random random;
        static struct caller *callers[2000];
        int count = 0;
        stage_open(&stage, false);
        random_seed(&random, seed);
        assert_int_equal(group_partitions_set(stage.coordinators, PARTITIONS), OK);
        for (int step = 0; step < 1500; step++) {
            int partition = (int)random_below(&random, PARTITIONS), loop = (int)random_below(&random, LOOPS);
            struct partition *at = &stage.partitions[partition];
            switch (random_below(&random, 12)) {
            case 0:
                if (random_below(&random, 4) == 0) at->epoch++, lead(&stage, partition);
                break;
            case 1:
                if (random_below(&random, 4) == 0) resign(&stage, partition);
                break;
            case 2:
            case 3:
                fake_current = at->loop;
                fake_replicate(at, at->end_offset);
                break;
            case 4: at->append_error = random_below(&random, 4) ? OK : ERR_NOT_ENOUGH_REPLICAS; break;
            case 5: callers[count++] = join(&stage, loop, group_in(partition)); break;
            case 6: callers[count++] = commit(&stage, loop, 8, group_in(partition), "t", step, NULL); break;
            case 7: {
                struct caller *caller = callers[count++] =
                    caller_new(&stage, loop, 5, &list_groups_response_type);
                group_list(stage.coordinators, &caller->call, request_new(caller, &list_groups_request_type));
                break;
            }
            case 8:
                if (random_below(&random, 8) == 0) pass_ms(&stage, 700);
                break;
            default: fake_current = &stage.loops[loop]; fake_turn(&stage.loops[loop]);
            }
            fake_current = NULL;
        }
        for (int i = 0; i < PARTITIONS; i++) resign(&stage, i);
        run(&stage);
        for (int i = 0; i < count; i++) caller_free(callers[i]);
        stage_close(&stage);
    }
}

int main(void)
{
    diag_set_level(DIAG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_travels_and_comes_back),
        cmocka_unit_test(a_fetch_is_answered_in_every_version),
        cmocka_unit_test(nobody_home),
        cmocka_unit_test(resigning_answers_everybody),
        cmocka_unit_test(time_is_up_for_slow_writes),
        cmocka_unit_test(what_one_may_not_is_left_out),
        cmocka_unit_test(requests_about_many_groups_go_round),
        cmocka_unit_test(ten_thousand_groups_in_one_request),
        cmocka_unit_test(calls_in_a_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
