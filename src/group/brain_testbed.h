/* brain_testbed.h: for tests of group/: a brain on a table, with a log that is an array and a clock that is a number. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "group/brain.h"

struct bed_record {
    struct slice key, value; /* owned */
};

enum bed_mode { BED_COMMITS, BED_HOLDS }; /* what becomes of writes when they are handed over */

struct bed {
    struct group_config config;
    struct group_shard shard;
    struct random random;
    struct bed_record *records;
    size_t record_count, record_capacity;
    struct list held; /* writes in the log, not committed */
    enum bed_mode mode;
    int answers; /* so far */
};

struct bed_call {
    struct group_call call;
    struct arena arena;
    bool is_answered;
    union {
        struct join_group_request join;
        struct sync_group_request sync;
        struct heartbeat_request heartbeat;
        struct leave_group_request leave;
        struct offset_commit_request commit;
        struct offset_delete_request offset_delete;
    } request;
    struct group_fetch fetch;
    struct offset_fetch_response_offset_fetch_response_group fetched;
    int16_t code; /* of a DeleteGroups */
};

#define TESTBED __attribute__((unused)) static

TESTBED void bed_random(void *context, void *out, size_t size)
{
    random_fill(context, out, size);
}

TESTBED void bed_open(struct bed *bed, uint64_t seed)
{
    *bed = (struct bed){.config = GROUP_CONFIG_DEFAULT};
    random_seed(&bed->random, seed);
    list_init(&bed->held);
    group_shard_init(&bed->shard, &bed->config);
    bed->shard.random = bed_random;
    bed->shard.random_context = &bed->random;
    bed->shard.now_ms = 1000000;
    bed->shard.wall_ms = 1700000000000;
}

TESTBED void bed_collect(struct bed *bed)
{
    while (!list_empty(&bed->shard.answers)) {
        struct group_call *call = CONTAINER_OF(bed->shard.answers.next, struct group_call, link);
        list_remove(&call->link);
        struct bed_call *answered = CONTAINER_OF(call, struct bed_call, call);
        assert_false(answered->is_answered);
        answered->is_answered = true;
        bed->answers++;
    }
}

/* Ends the oldest held write. */
TESTBED void bed_end_one(struct bed *bed, enum error err)
{
    struct group_write *write = CONTAINER_OF(bed->held.next, struct group_write, link);
    list_remove(&write->link);
    int64_t first_offset = write->op.last_offset - (int64_t)write->entry_count + 1;
    group_shard_written(&bed->shard, write, err, first_offset);
}

TESTBED void bed_append(struct bed *bed, struct slice key, struct slice value)
{
    if (bed->record_count == bed->record_capacity) {
        bed->record_capacity = bed->record_capacity * 2 + 64;
        bed->records = realloc(bed->records, bed->record_capacity * sizeof *bed->records);
        assert_non_null(bed->records);
    }
    struct bed_record *record = &bed->records[bed->record_count++];
    *record = (struct bed_record){0};
    assert_true(slice_keep(key, &record->key) && slice_keep(value, &record->value));
}

/* Carries out what the last event left to do. */
TESTBED void bed_settle(struct bed *bed)
{
    while (!list_empty(&bed->shard.writes)) {
        struct group_write *write = CONTAINER_OF(bed->shard.writes.next, struct group_write, link);
        list_remove(&write->link);
        for (size_t i = 0; i < write->entry_count; i++) {
            const struct group_write_entry *entry = &write->entries[i];
            const uint8_t *bytes = (const uint8_t *)write->bytes.data;
            struct slice value = {bytes + entry->value_at, entry->value_size};
            if (entry->value_size == SIZE_MAX) value = SLICE_NULL;
            bed_append(bed, (struct slice){bytes + entry->key_at, entry->key_size}, value);
        }
        write->op.last_offset = (int64_t)bed->record_count - 1;
        list_push_back(&bed->held, &write->link);
    }
    while (bed->mode == BED_COMMITS && !list_empty(&bed->held)) {
        bed_end_one(bed, OK);
        bed_settle(bed);
    }
    bed_collect(bed);
}

TESTBED void bed_release(struct bed *bed)
{
    bed->mode = BED_COMMITS;
    bed_settle(bed);
}

/* The newest held write never got into the log. */
TESTBED void bed_refuse_last(struct bed *bed, enum error err)
{
    struct group_write *write = CONTAINER_OF(bed->held.prev, struct group_write, link);
    list_remove(&write->link);
    for (size_t i = 0; i < write->entry_count; i++) {
        struct bed_record *record = &bed->records[--bed->record_count];
        slice_drop(&record->key);
        slice_drop(&record->value);
    }
    group_shard_written(&bed->shard, write, err, -1);
    bed_settle(bed);
}

TESTBED void bed_advance(struct bed *bed, int64_t ms)
{
    int64_t until_ms = bed->shard.now_ms + ms;
    int64_t due_ms;
    while ((due_ms = group_shard_next_due_ms(&bed->shard)) <= until_ms) {
        if (due_ms > bed->shard.now_ms) {
            bed->shard.wall_ms += due_ms - bed->shard.now_ms;
            bed->shard.now_ms = due_ms;
        }
        group_shard_tick(&bed->shard);
        bed_settle(bed);
    }
    bed->shard.wall_ms += until_ms - bed->shard.now_ms;
    bed->shard.now_ms = until_ms;
}

TESTBED void bed_close(struct bed *bed)
{
    group_shard_fail(&bed->shard, ERR_NOT_COORDINATOR);
    while (!list_empty(&bed->held)) bed_end_one(bed, ERR_NOT_COORDINATOR);
    bed_collect(bed);
    group_shard_free(&bed->shard);
    for (size_t i = 0; i < bed->record_count; i++) {
        slice_drop(&bed->records[i].key);
        slice_drop(&bed->records[i].value);
    }
    free(bed->records);
}

/* Another broker's brain reads what this one wrote. Free with group_shard_free. */
TESTBED void bed_replay(struct bed *bed, struct group_shard *shard)
{
    group_shard_init(shard, &bed->config);
    shard->now_ms = bed->shard.now_ms;
    shard->wall_ms = bed->shard.wall_ms;
    for (size_t i = 0; i < bed->record_count; i++) {
        group_shard_replay(shard, &(struct statelog_record){.offset = (int64_t)i,
                                                            .timestamp = shard->wall_ms,
                                                            .producer_id = -1,
                                                            .producer_epoch = -1,
                                                            .key = bed->records[i].key,
                                                            .value = bed->records[i].value});
    }
}

/* --- calls --- */

TESTBED struct bed_call *bed_call(int16_t version)
{
    struct bed_call *call = calloc(1, sizeof *call);
    assert_non_null(call);
    arena_init(&call->arena, 0);
    call->call.arena = &call->arena;
    call->call.version = version;
    call->call.client_id = SLICE("client");
    call->call.client_host = SLICE("/127.0.0.1");
    call->call.request = &call->request;
    list_init(&call->call.link);
    return call;
}

TESTBED void bed_call_free(struct bed_call *call)
{
    assert_true(call->is_answered);
    arena_free(&call->arena);
    free(call);
}

TESTBED struct slice bed_text(struct bed_call *call, const char *text)
{
    return text ? arena_copy(&call->arena, slice_of(text)) : SLICE_NULL;
}

struct bed_join {
    const char *group, *member, *instance, *type;
    const char *protocols; /* "range,roundrobin": one or more names; "" for none */
    const char *metadata;  /* of each; NULL = "m" */
    int32_t session_ms, rebalance_ms;
};

TESTBED struct bed_call *bed_join(struct bed *bed, int16_t version, struct bed_join join)
{
    struct bed_call *call = bed_call(version);
    struct join_group_request *request = &call->request.join;
    join_group_request_init(request);
    request->group_id = bed_text(call, join.group ? join.group : "g");
    request->member_id = bed_text(call, join.member ? join.member : "");
    request->group_instance_id = bed_text(call, join.instance);
    request->protocol_type = bed_text(call, join.type ? join.type : "consumer");
    request->session_timeout_ms = join.session_ms ? join.session_ms : 10000;
    request->rebalance_timeout_ms = join.rebalance_ms ? join.rebalance_ms : 60000;
    request->protocols.items = arena_array(&call->arena, 8, sizeof *request->protocols.items);
    const char *at = join.protocols ? join.protocols : "range";
    while (*at) {
        size_t size = strcspn(at, ",");
        request->protocols.items[request->protocols.count++] =
            (struct join_group_request_join_group_request_protocol){
                .name = arena_copy(&call->arena, (struct slice){(const uint8_t *)at, size}),
                .metadata = bed_text(call, join.metadata ? join.metadata : "m")};
        at += size + (at[size] == ',');
    }
    group_shard_join(&bed->shard, &call->call);
    bed_settle(bed);
    return call;
}

TESTBED const struct join_group_response *joined(const struct bed_call *call)
{
    assert_true(call->is_answered);
    assert_non_null(call->call.response);
    return call->call.response;
}

/* `assignments`: "member=bytes,member=bytes" or NULL. */
TESTBED struct bed_call *bed_sync(struct bed *bed, int16_t version, const char *group, const char *member,
                                  const char *instance, int32_t generation, const char *assignments)
{
    struct bed_call *call = bed_call(version);
    struct sync_group_request *request = &call->request.sync;
    sync_group_request_init(request);
    request->group_id = bed_text(call, group);
    request->member_id = bed_text(call, member);
    request->group_instance_id = bed_text(call, instance);
    request->generation_id = generation;
    const char *at = assignments ? assignments : "";
    request->assignments.items =
        arena_array(&call->arena, strlen(at) + 1, sizeof *request->assignments.items);
    while (*at) {
        size_t id_size = strcspn(at, "="), size = strcspn(at + id_size + 1, ",");
        const char *bytes = at + id_size + 1;
        request->assignments.items[request->assignments.count++] =
            (struct sync_group_request_sync_group_request_assignment){
                .member_id = arena_copy(&call->arena, (struct slice){(const uint8_t *)at, id_size}),
                .assignment = arena_copy(&call->arena, (struct slice){(const uint8_t *)bytes, size})};
        at = bytes + size + (bytes[size] == ',');
    }
    group_shard_sync(&bed->shard, &call->call);
    bed_settle(bed);
    return call;
}

TESTBED const struct sync_group_response *synced(const struct bed_call *call)
{
    assert_true(call->is_answered);
    assert_non_null(call->call.response);
    return call->call.response;
}

TESTBED int16_t bed_heartbeat(struct bed *bed, const char *group, const char *member, const char *instance,
                              int32_t generation)
{
    struct bed_call *call = bed_call(4);
    heartbeat_request_init(&call->request.heartbeat);
    call->request.heartbeat.group_id = slice_of(group);
    call->request.heartbeat.member_id = slice_of(member);
    call->request.heartbeat.group_instance_id = slice_of(instance);
    call->request.heartbeat.generation_id = generation;
    group_shard_heartbeat(&bed->shard, &call->call);
    bed_settle(bed);
    int16_t code = ((struct heartbeat_response *)call->call.response)->error_code;
    bed_call_free(call);
    return code;
}

/* One member; the code of the whole, or else of the member. */
TESTBED int16_t bed_leave(struct bed *bed, int16_t version, const char *group, const char *member,
                          const char *instance)
{
    struct bed_call *call = bed_call(version);
    struct leave_group_request_member_identity who = {.member_id = slice_of(member),
                                                      .group_instance_id = slice_of(instance)};
    leave_group_request_init(&call->request.leave);
    call->request.leave.group_id = slice_of(group);
    if (version < 3) call->request.leave.member_id = slice_of(member);
    if (version >= 3) call->request.leave.members.items = &who, call->request.leave.members.count = 1;
    group_shard_leave(&bed->shard, &call->call);
    bed_settle(bed);
    const struct leave_group_response *response = call->call.response;
    int16_t code = response->error_code;
    if (code == 0 && version >= 3) code = response->members.items[0].error_code;
    bed_call_free(call);
    return code;
}

struct bed_commit {
    const char *group, *member, *instance, *topic, *metadata;
    int32_t generation, partition;
    int64_t offset, retention_ms;
    enum error topic_err;
    uint8_t topic_id; /* 0 = none; else the id's last byte */
};

/* One partition, of topics with 100. */
TESTBED struct bed_call *bed_commit(struct bed *bed, int16_t version, struct bed_commit commit)
{
    struct bed_call *call = bed_call(version);
    struct offset_commit_request *request = &call->request.commit;
    offset_commit_request_init(request);
    request->group_id = bed_text(call, commit.group ? commit.group : "g");
    request->member_id = bed_text(call, commit.member ? commit.member : "");
    request->group_instance_id = bed_text(call, commit.instance);
    request->generation_id_or_member_epoch = commit.generation;
    request->retention_time_ms = commit.retention_ms ? commit.retention_ms : -1;
    request->topics.items = arena_zalloc(&call->arena, sizeof *request->topics.items);
    request->topics.count = 1;
    __auto_type topic = &request->topics.items[0];
    topic->name = bed_text(call, commit.topic ? commit.topic : "t");
    topic->topic_id.bytes[15] = commit.topic_id;
    topic->partitions.items = arena_zalloc(&call->arena, sizeof *topic->partitions.items);
    topic->partitions.count = 1;
    topic->partitions.items[0].partition_index = commit.partition;
    topic->partitions.items[0].committed_offset = commit.offset;
    topic->partitions.items[0].committed_leader_epoch = -1;
    topic->partitions.items[0].commit_timestamp = -1;
    topic->partitions.items[0].committed_metadata = bed_text(call, commit.metadata);
    struct group_topic_check *check = arena_zalloc(&call->arena, sizeof *check);
    *check = (struct group_topic_check){
        .err = commit.topic_err,
        .topic = {.name = topic->name, .id = topic->topic_id, .partition_count = 100}};
    call->call.work = check;
    group_shard_commit(&bed->shard, &call->call);
    bed_settle(bed);
    return call;
}

TESTBED int16_t committed(const struct bed_call *call)
{
    assert_true(call->is_answered);
    const struct offset_commit_response *response = call->call.response;
    return response->topics.items[0].partitions.items[0].error_code;
}

TESTBED int16_t bed_commit_now(struct bed *bed, int16_t version, struct bed_commit commit)
{
    struct bed_call *call = bed_commit(bed, version, commit);
    int16_t code = committed(call);
    bed_call_free(call);
    return code;
}

/* The response's own struct serves as a marker that memory was not out. */
TESTBED struct bed_call *bed_fetch(struct bed *bed, const char *group, const char *topic, int32_t partition,
                                   bool stable)
{
    struct bed_call *call = bed_call(8);
    call->fetch = (struct group_fetch){.group_id = slice_of(group),
                                       .topic_count = topic ? 1 : -1,
                                       .require_stable = stable,
                                       .answer = &call->fetched};
    call->call.response = call;
    if (topic) {
        int32_t *partitions = arena_alloc(&call->arena, sizeof *partitions);
        *partitions = partition;
        call->fetch.topics = arena_zalloc(&call->arena, sizeof *call->fetch.topics);
        call->fetch.topics[0].check.topic.name = bed_text(call, topic);
        call->fetch.topics[0].partitions = partitions;
        call->fetch.topics[0].partition_count = 1;
    }
    group_shard_fetch(&bed->shard, &call->call, &call->fetch);
    bed_settle(bed);
    return call;
}

/* What is committed, -1 for nothing; or minus the error code less 1000. */
TESTBED int64_t bed_committed(struct bed *bed, const char *group, const char *topic, int32_t partition)
{
    struct bed_call *call = bed_fetch(bed, group, topic, partition, false);
    assert_true(call->is_answered);
    __auto_type answer = &call->fetched.topics.items[0].partitions.items[0];
    int64_t offset = answer->error_code ? -1000 - answer->error_code : answer->committed_offset;
    bed_call_free(call);
    return offset;
}

TESTBED struct bed_call *bed_delete(struct bed *bed, const char *group)
{
    struct bed_call *call = bed_call(2);
    if (group_shard_delete(&bed->shard, &call->call, slice_of(group), &call->code))
        group_answer(&bed->shard, &call->call);
    bed_settle(bed);
    return call;
}
