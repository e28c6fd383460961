/* offsets_test.c: committing, fetching, deleting and forgetting offsets; their records; transactions in the log. */
#include "group/brain_testbed.h"

#include "base/diag.h"

#define HOUR_MS 3600000LL
#define DAY_MS (24 * HOUR_MS)

static int64_t fetched(struct bed *bed, const char *topic, int32_t partition)
{
    return bed_committed(bed, "g", topic, partition);
}

static int16_t simple(struct bed *bed, const char *topic, int32_t partition, int64_t offset)
{
    return bed_commit_now(
        bed, 8,
        (struct bed_commit){.generation = -1, .topic = topic, .partition = partition, .offset = offset});
}

/* A group of one, stable; its member id goes to `member`. `metadata` is its subscription. */
static void settle_group(struct bed *bed, const char *type, const char *metadata, size_t metadata_size,
                         char member[64])
{
    struct bed_call *call = bed_call(3);
    struct join_group_request_join_group_request_protocol protocol = {
        .name = SLICE("range"), .metadata = {(const uint8_t *)metadata, metadata_size}};
    join_group_request_init(&call->request.join);
    call->request.join.group_id = SLICE("g");
    call->request.join.member_id = SLICE("");
    call->request.join.protocol_type = slice_of(type);
    call->request.join.session_timeout_ms = 1800000;
    call->request.join.rebalance_timeout_ms = 60000;
    call->request.join.protocols.items = &protocol;
    call->request.join.protocols.count = 1;
    group_shard_join(&bed->shard, &call->call);
    bed_advance(bed, 3000);
    slice_text(joined(call)->member_id, member, 64);
    struct bed_call *sync = bed_sync(bed, 3, "g", member, NULL, joined(call)->generation_id, NULL);
    assert_int_equal(synced(sync)->error_code, 0);
    bed_call_free(call), bed_call_free(sync);
}

/* version 1, topics ["t"], no user data, nothing owned */
static const char subscribes_t[] = "\0\1\0\0\0\1\0\1t\377\377\377\377\0\0\0\0";

static void a_commit_counts_when_it_is_written(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    assert_int_equal(fetched(&bed, "t", 0), -1);
    assert_int_equal(simple(&bed, "t", 0, 5), 0);
    assert_int_equal(fetched(&bed, "t", 0), 5);

    bed.mode = BED_HOLDS;
    struct bed_call *first = bed_commit(&bed, 8, (struct bed_commit){.generation = -1, .offset = 6});
    struct bed_call *second = bed_commit(&bed, 8, (struct bed_commit){.generation = -1, .offset = 7});
    assert_false(first->is_answered);
    assert_int_equal(fetched(&bed, "t", 0), 5);
    struct bed_call *stable = bed_fetch(&bed, "g", "t", 0, true);
    assert_false(stable->is_answered); /* it hears of both */
    bed_end_one(&bed, OK);
    bed_collect(&bed);
    assert_int_equal(committed(first), 0);
    assert_int_equal(fetched(&bed, "t", 0), 6);
    bed_release(&bed);
    assert_int_equal(committed(second), 0);
    assert_int_equal(stable->fetched.topics.items[0].partitions.items[0].committed_offset, 7);

    bed.mode = BED_HOLDS;
    struct bed_call *third = bed_commit(&bed, 8, (struct bed_commit){.generation = -1, .offset = 8});
    bed_refuse_last(&bed, ERR_NOT_ENOUGH_REPLICAS);
    assert_int_equal(committed(third), 15);
    assert_int_equal(fetched(&bed, "t", 0), 7);

    struct bed_call *new =
        bed_commit(&bed, 8, (struct bed_commit){.generation = -1, .partition = 1, .offset = 8});
    bed_refuse_last(&bed, ERR_NOT_ENOUGH_REPLICAS);
    assert_int_equal(committed(new), 15);
    assert_int_equal(fetched(&bed, "t", 1), -1);
    bed_call_free(new);

    /* Time is up, the client is told; but the record is in the log and counts. */
    struct bed_call *fourth = bed_commit(&bed, 8, (struct bed_commit){.generation = -1, .offset = 9});
    group_shard_write_timed_out(&bed.shard, CONTAINER_OF(bed.held.next, struct group_write, link));
    bed_collect(&bed);
    assert_int_equal(committed(fourth), 15);
    bed_release(&bed);
    assert_int_equal(fetched(&bed, "t", 0), 9);
    bed_call_free(first), bed_call_free(second), bed_call_free(third), bed_call_free(fourth),
        bed_call_free(stable);
    bed_close(&bed);
}

static void each_partition_has_its_own_error(void **unused)
{
    char long_text[5001];
    memset(long_text, 'm', 5000), long_text[5000] = 0;
    char pairs[4 * 2049 + 1]; /* 2049 characters beyond the BMP: 4098 Java chars */
    for (int i = 0; i < 2049; i++) memcpy(pairs + 4 * i, "\xf0\x9f\x98\x80", 4);
    pairs[4 * 2049] = 0;
    const struct {
        struct bed_commit commit;
        int16_t code;
    } cases[] = {
        {{.metadata = long_text}, 12},
        {{.metadata = long_text + 5000 - 4096}, 0},
        {{.metadata = pairs}, 12},
        {{.metadata = pairs + 4}, 0},
        {{.topic_err = ERR_UNKNOWN_TOPIC_OR_PARTITION}, 3},
        {{.topic_err = ERR_TOPIC_AUTHORIZATION_FAILED}, 29},
        {{.topic_err = ERR_UNKNOWN_TOPIC_ID}, 100},
        {{.partition = 100}, 3},
        {{.partition = -1}, 3},
        {{.partition = 99}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bed bed;
        bed_open(&bed, 1);
        struct bed_commit commit = cases[i].commit;
        commit.generation = -1;
        assert_int_equal(bed_commit_now(&bed, 8, commit), cases[i].code);
        assert_int_equal(bed.record_count, cases[i].code == 0);
        assert_int_equal(group_find(&bed.shard, SLICE("g")) != NULL, cases[i].code == 0);
        bed_close(&bed);
    }
}

static void all_that_was_committed_can_be_fetched(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    struct bed_call *none = bed_fetch(&bed, "g", NULL, 0, false);
    assert_int_equal(none->fetched.topics.count, 0);
    assert_int_equal(none->fetched.error_code, 0);
    for (int i = 0; i < 30; i++) {
        char topic[8];
        snprintf(topic, sizeof topic, "t%d", i % 3);
        assert_int_equal(simple(&bed, topic, i, 1000 + i), 0);
    }
    struct bed_call *all = bed_fetch(&bed, "g", NULL, 0, true);
    bool seen[30] = {0};
    assert_int_equal(all->fetched.topics.count, 3);
    for (int i = 0; i < 3; i++) {
        __auto_type topic = &all->fetched.topics.items[i];
        assert_int_equal(topic->partitions.count, 10);
        for (int j = 0; j < 10; j++) {
            int32_t partition = topic->partitions.items[j].partition_index;
            assert_int_equal(topic->name.data[1] - '0', partition % 3);
            assert_int_equal(topic->partitions.items[j].committed_offset, 1000 + partition);
            assert_false(seen[partition]);
            seen[partition] = true;
        }
    }
    bed_call_free(none), bed_call_free(all);
    bed_close(&bed);
}

/* The bytes of the last record: key, then value. */
static void last_record(const struct bed *bed, uint8_t *out, size_t *size)
{
    const struct bed_record *record = &bed->records[bed->record_count - 1];
    memcpy(out, record->key.data, record->key.size);
    if (record->value.size) memcpy(out + record->key.size, record->value.data, record->value.size);
    *size = record->key.size + record->value.size;
}

static void records_are_apaches(void **unused)
{
    /* commit timestamp 1700000000000 = 0x18bcfe56800 */
#define STAMP "\0\0\1\x8b\xcf\xe5\x68\0"
#define KEY "\0\1\0\1g\0\1t\0\0\0\7"
    static const struct {
        int16_t version;
        struct bed_commit commit;
        const char *bytes;
        size_t size;
    } cases[] = {
        {8, {.offset = 5, .metadata = "hi"}, KEY "\0\3\0\0\0\0\0\0\0\5\377\377\377\377\0\2hi" STAMP, 12 + 26},
        {2, {.offset = 5}, KEY "\0\3\0\0\0\0\0\0\0\5\377\377\377\377\0\0" STAMP, 12 + 24},
        {3,
         {.offset = 5, .retention_ms = 256},
         KEY "\0\1\0\0\0\0\0\0\0\5\0\0" STAMP "\0\0\1\x8b\xcf\xe5\x69\0",
         12 + 28},
        {10,
         {.offset = 5, .topic_id = 9},
         KEY "\0\4\0\0\0\0\0\0\0\5\377\377\377\377\1" STAMP "\1\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x9",
         12 + 2 + 8 + 4 + 1 + 8 + 1 + 2 + 16},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bed bed;
        bed_open(&bed, 1);
        struct bed_commit commit = cases[i].commit;
        commit.generation = -1;
        commit.partition = 7;
        assert_int_equal(bed_commit_now(&bed, cases[i].version, commit), 0);
        uint8_t bytes[256];
        size_t size;
        last_record(&bed, bytes, &size);
        assert_int_equal(size, cases[i].size);
        assert_memory_equal(bytes, cases[i].bytes, size);
        bed_close(&bed);
    }
}

static void a_new_topic_of_the_same_name_begins_anew(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    assert_int_equal(
        bed_commit_now(&bed, 10, (struct bed_commit){.generation = -1, .offset = 5, .topic_id = 1}), 0);
    for (uint8_t id = 1; id <= 2; id++) {
        struct bed_call *call = bed_call(10);
        struct group_fetch_topic topic = {.partition_count = 1, .partitions = &(int32_t){0}};
        topic.check.topic.name = SLICE("t");
        topic.check.topic.id.bytes[15] = id;
        call->fetch = (struct group_fetch){
            .group_id = SLICE("g"), .topic_count = 1, .topics = &topic, .answer = &call->fetched};
        call->call.response = call;
        group_shard_fetch(&bed.shard, &call->call, &call->fetch);
        bed_settle(&bed);
        assert_int_equal(call->fetched.topics.items[0].partitions.items[0].committed_offset,
                         id == 1 ? 5 : -1);
        bed_call_free(call);
    }
    assert_int_equal(fetched(&bed, "t", 0), 5); /* by name there is no telling */
    bed_close(&bed);
}

/* --- deleting --- */

static void a_group_is_deleted_with_its_offsets(void **unused)
{
    struct bed bed;
    char member[64];
    bed_open(&bed, 1);
    struct bed_call *call = bed_delete(&bed, "g");
    assert_int_equal(call->code, 69);
    bed_call_free(call);
    settle_group(&bed, "consumer", subscribes_t, sizeof subscribes_t - 1, member);
    call = bed_delete(&bed, "g");
    assert_int_equal(call->code, 68);
    bed_call_free(call);
    assert_int_equal(
        bed_commit_now(&bed, 8, (struct bed_commit){.member = member, .generation = 1, .offset = 3}), 0);
    assert_int_equal(bed_leave(&bed, 3, "g", member, NULL), 0);

    /* A commit that is still on its way when the group goes. */
    bed.mode = BED_HOLDS;
    struct bed_call *late =
        bed_commit(&bed, 8, (struct bed_commit){.generation = -1, .partition = 9, .offset = 1});
    call = bed_delete(&bed, "g");
    struct bed_call *twice = bed_delete(&bed, "g");
    assert_int_equal(twice->code, 15);
    assert_false(call->is_answered);
    bed_release(&bed);
    assert_int_equal(call->code, 0);
    assert_int_equal(committed(late), 0);
    assert_null(group_find(&bed.shard, SLICE("g")));
    struct group_shard shard;
    bed_replay(&bed, &shard);
    assert_int_equal(shard.groups.count, 0);
    group_shard_free(&shard);
    bed_call_free(call), bed_call_free(twice), bed_call_free(late);

    /* One that cannot be deleted lives on. */
    assert_int_equal(simple(&bed, "t", 0, 4), 0);
    bed.mode = BED_HOLDS;
    call = bed_delete(&bed, "g");
    bed_refuse_last(&bed, ERR_NOT_ENOUGH_REPLICAS);
    assert_int_equal(call->code, 15);
    assert_int_equal(fetched(&bed, "t", 0), 4);
    bed.mode = BED_COMMITS;
    assert_int_equal(simple(&bed, "t", 0, 5), 0);
    bed_call_free(call);
    bed_close(&bed);
}

static int16_t offset_delete(struct bed *bed, const char *topic, int16_t *top)
{
    struct bed_call *call = bed_call(0);
    struct group_topic_check check = {.topic = {.name = slice_of(topic), .partition_count = 10}};
    struct offset_delete_request_offset_delete_request_partition partition = {.partition_index = 0};
    struct offset_delete_request_offset_delete_request_topic asked = {.name = slice_of(topic)};
    asked.partitions.items = &partition;
    asked.partitions.count = 1;
    offset_delete_request_init(&call->request.offset_delete);
    call->request.offset_delete.group_id = SLICE("g");
    call->request.offset_delete.topics.items = &asked;
    call->request.offset_delete.topics.count = 1;
    call->call.work = &check;
    group_shard_offset_delete(&bed->shard, &call->call);
    bed_settle(bed);
    const struct offset_delete_response *response = call->call.response;
    *top = response->error_code;
    int16_t code = response->topics.count > 0 ? response->topics.items[0].partitions.items[0].error_code : 0;
    bed_call_free(call);
    return code;
}

static void single_offsets_are_deleted(void **unused)
{
    struct bed bed;
    char member[64];
    int16_t top;
    bed_open(&bed, 1);
    offset_delete(&bed, "t", &top);
    assert_int_equal(top, 69);
    assert_int_equal(simple(&bed, "t", 0, 4) + simple(&bed, "u", 0, 5), 0);
    settle_group(&bed, "consumer", subscribes_t, sizeof subscribes_t - 1, member);
    assert_int_equal(offset_delete(&bed, "t", &top), 86);
    assert_int_equal(top, 0);
    assert_int_equal(offset_delete(&bed, "u", &top), 0);
    assert_int_equal(fetched(&bed, "u", 0), -1);
    assert_int_equal(fetched(&bed, "t", 0), 4);
    assert_int_equal(offset_delete(&bed, "never", &top), 0);
    assert_int_equal(bed_leave(&bed, 3, "g", member, NULL), 0);
    assert_int_equal(offset_delete(&bed, "t", &top), 0);
    assert_int_equal(fetched(&bed, "t", 0), -1);
    bed_close(&bed);

    bed_open(&bed, 1);
    settle_group(&bed, "connect", "", 0, member);
    offset_delete(&bed, "t", &top);
    assert_int_equal(top, 68);
    bed_close(&bed);
}

/* --- retention --- */

static void expire(struct bed *bed)
{
    group_shard_expire(&bed->shard);
    bed_settle(bed);
}

static void simple_offsets_expire_by_commit_time(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    assert_int_equal(simple(&bed, "t", 0, 4), 0);
    bed_advance(&bed, 3 * DAY_MS);
    assert_int_equal(simple(&bed, "u", 0, 5), 0);
    bed_advance(&bed, 4 * DAY_MS - 1);
    expire(&bed);
    assert_int_equal(fetched(&bed, "t", 0), 4);
    bed_advance(&bed, 1);
    expire(&bed);
    assert_int_equal(fetched(&bed, "t", 0), -1);
    assert_int_equal(fetched(&bed, "u", 0), 5);
    bed_advance(&bed, 3 * DAY_MS);
    expire(&bed);
    assert_int_equal(bed.shard.groups.count, 0);
    struct group_shard shard;
    bed_replay(&bed, &shard);
    assert_int_equal(shard.groups.count, 0);
    group_shard_free(&shard);
    bed_close(&bed);
}

static void a_time_of_its_own_comes_first(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    struct bed_commit commit = {.generation = -1, .offset = 4, .retention_ms = HOUR_MS};
    assert_int_equal(bed_commit_now(&bed, 2, commit), 0);
    bed_advance(&bed, HOUR_MS - 1);
    expire(&bed);
    assert_int_equal(fetched(&bed, "t", 0), 4);
    bed_advance(&bed, 1);
    expire(&bed);
    assert_int_equal(fetched(&bed, "t", 0), -1);
    commit.retention_ms = INT64_MAX; /* for ever */
    assert_int_equal(bed_commit_now(&bed, 2, commit), 0);
    bed_advance(&bed, 1000 * DAY_MS);
    expire(&bed);
    assert_int_equal(fetched(&bed, "t", 0), 4);
    bed_close(&bed);
}

static void a_group_that_lived_expires_when_it_has_been_empty(void **unused)
{
    struct bed bed;
    char member[64];
    bed_open(&bed, 1);
    bed.config.offsets_retention_ms = HOUR_MS / 4;
    settle_group(&bed, "consumer", subscribes_t, sizeof subscribes_t - 1, member);
    assert_int_equal(
        bed_commit_now(&bed, 8, (struct bed_commit){.member = member, .generation = 1, .offset = 3}), 0);
    assert_int_equal(
        bed_commit_now(
            &bed, 8,
            (struct bed_commit){.member = member, .generation = 1, .topic = "unsubscribed", .offset = 3}),
        0);
    bed_advance(&bed, HOUR_MS / 4);
    expire(&bed);
    assert_int_equal(fetched(&bed, "t", 0), 3); /* KIP-211: subscribed, so it stays */
    assert_int_equal(fetched(&bed, "unsubscribed", 0), -1);

    assert_int_equal(bed_leave(&bed, 3, "g", member, NULL), 0);
    bed_advance(&bed, HOUR_MS / 4 - 1);
    expire(&bed);
    assert_int_equal(fetched(&bed, "t", 0), 3); /* counted from when it became empty */

    struct group_shard shard; /* another broker knows since when */
    bed_replay(&bed, &shard);
    assert_int_equal(group_shard_loaded(&shard), OK);
    shard.wall_ms += 1;
    group_shard_expire(&shard);
    assert_false(list_empty(&shard.writes));
    group_shard_fail(&shard, ERR_NOT_COORDINATOR);
    group_shard_free(&shard);

    bed_advance(&bed, 1);
    expire(&bed);
    assert_null(group_find(&bed.shard, SLICE("g")));
    bed_close(&bed);
}

static void metadata_nobody_can_read_keeps_offsets(void **unused)
{
    static const struct {
        const char *type, *metadata;
        size_t size;
        bool expires;
    } cases[] = {
        {"consumer", "", 0, false},
        {"consumer", "\0", 1, false},
        {"consumer", "\0\0\0\0\0\1\0\7t", 9, false},
        {"consumer", "\0\0\x7f\xff\xff\xff", 6, false},
        {"consumer", "\0\0\0\0\0\0\377\377\377\377", 10, true},  /* subscribes to nothing */
        {"consumer", "\0\7\0\0\0\0\377\377\377\377!", 11, true}, /* of a later version */
        {"connect", "\0\0\0\0\0\0\377\377\377\377", 10, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bed bed;
        char member[64];
        bed_open(&bed, 1);
        bed.config.offsets_retention_ms = 1000;
        settle_group(&bed, cases[i].type, cases[i].metadata, cases[i].size, member);
        assert_int_equal(
            bed_commit_now(&bed, 8, (struct bed_commit){.member = member, .generation = 1, .offset = 3}), 0);
        bed_advance(&bed, 2000);
        expire(&bed);
        assert_int_equal(fetched(&bed, "t", 0), cases[i].expires ? -1 : 3);
        bed_close(&bed);
    }
}

/* --- transactions, as another broker may have written them --- */

static void replay_offset(struct group_shard *shard, int64_t at, int64_t producer_id, const char *topic,
                          int64_t offset)
{
    /* Borrow the writer of our own records. */
    struct bed bed;
    bed_open(&bed, 1);
    assert_int_equal(simple(&bed, topic, 0, offset), 0);
    const struct bed_record *record = &bed.records[bed.record_count - 1];
    group_shard_replay(shard, &(struct statelog_record){.offset = at,
                                                        .producer_id = producer_id,
                                                        .key = record->key,
                                                        .value = offset < 0 ? SLICE_NULL : record->value});
    bed_close(&bed);
}

static void transactions_end_in_the_order_of_the_log(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    struct group_shard *shard = &bed.shard;
    struct bed_call *call;

    replay_offset(shard, 0, 42, "t", 10);
    assert_int_equal(fetched(&bed, "t", 0), -1);
    call = bed_fetch(&bed, "g", "t", 0, true);
    assert_int_equal(call->fetched.topics.items[0].partitions.items[0].error_code, 88);
    bed_call_free(call);
    call = bed_fetch(&bed, "g", NULL, 0, true);
    assert_int_equal(call->fetched.topics.items[0].partitions.items[0].error_code, 88);
    bed_call_free(call);
    bed.config.offsets_retention_ms = 0;
    expire(&bed);
    assert_non_null(group_find(shard, SLICE("g"))); /* an open transaction keeps it */
    bed.config.offsets_retention_ms = DAY_MS;

    offsets_end_transaction(shard, 7, true); /* somebody else's */
    assert_int_equal(fetched(&bed, "t", 0), -1);
    offsets_end_transaction(shard, 42, true);
    assert_int_equal(fetched(&bed, "t", 0), 10);

    replay_offset(shard, 2, 42, "t", 20);
    offsets_end_transaction(shard, 42, false);
    assert_int_equal(fetched(&bed, "t", 0), 10);

    replay_offset(shard, 4, 42, "t", 30);
    replay_offset(shard, 5, -1, "t", 40); /* a plain commit after it ... */
    offsets_end_transaction(shard, 42, true);
    assert_int_equal(fetched(&bed, "t", 0), 40); /* ... is the later word */

    replay_offset(shard, 7, 42, "t", 50);
    replay_offset(shard, 8, 43, "t", 60);
    offsets_end_transaction(shard, 43, true);
    offsets_end_transaction(shard, 42, true);
    assert_int_equal(fetched(&bed, "t", 0), 60);

    replay_offset(shard, 11, 42, "t", 70);
    replay_offset(shard, 12, -1, "t", -1); /* a tombstone ends both */
    offsets_end_transaction(shard, 42, true);
    assert_int_equal(fetched(&bed, "t", 0), -1);
    assert_null(group_find(shard, SLICE("g")));

    replay_offset(shard, 20, 42, "t", 80); /* left open */
    bed_close(&bed);
}

static void an_aborted_first_commit_leaves_nothing(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    replay_offset(&bed.shard, 0, 42, "t", 10);
    replay_offset(&bed.shard, 1, 42, "u", 10);
    offsets_end_transaction(&bed.shard, 42, false);
    assert_int_equal(bed.shard.groups.count, 0);
    bed_close(&bed);
}

/* --- records that are not ours, old or damaged --- */

static void replay_bytes(struct group_shard *shard, const char *key, size_t key_size, const char *value,
                         size_t value_size)
{
    static int64_t offset = 1000;
    group_shard_replay(shard, &(struct statelog_record){
                                  .offset = offset++,
                                  .producer_id = -1,
                                  .key = {(const uint8_t *)key, key_size},
                                  .value = {(const uint8_t *)value, value_size},
                              });
}
#define BYTES(text) text, sizeof(text) - 1

static void every_version_of_an_offset_is_read(void **unused)
{
    static const struct {
        const char *value;
        size_t size;
    } cases[] = {
        {BYTES("\0\0\0\0\0\0\0\0\0\5\0\2hi\0\0\0\0\0\0\0\1")},
        {BYTES("\0\1\0\0\0\0\0\0\0\5\0\2hi\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2")},
        {BYTES("\0\2\0\0\0\0\0\0\0\5\0\2hi\0\0\0\0\0\0\0\1")},
        {BYTES("\0\3\0\0\0\0\0\0\0\5\0\0\0\4\0\2hi\0\0\0\0\0\0\0\1")},
        {BYTES("\0\4\0\0\0\0\0\0\0\5\0\0\0\4\3hi\0\0\0\0\0\0\0\1\1\0\x10"
               "0123456789abcdef")},
    };
    static const char *const keys[] = {"\0\1\0\1g\0\1t\0\0\0\0", "\0\0\0\1g\0\1t\0\0\0\0"};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        struct bed bed;
        bed_open(&bed, 1);
        replay_bytes(&bed.shard, keys[i % 2], 12, cases[i / 2].value, cases[i / 2].size);
        const struct group *group = group_find(&bed.shard, SLICE("g"));
        assert_non_null(group);
        const struct offset_entry *entry = offsets_find(group, SLICE("t"), 0);
        assert_int_equal(entry->value.offset, 5);
        assert_int_equal(entry->value.leader_epoch, i / 2 >= 3 ? 4 : -1);
        assert_int_equal(entry->value.commit_timestamp, 1);
        assert_int_equal(entry->value.expire_timestamp, i / 2 == 1 ? 2 : -1);
        assert_int_equal(uuid_is_zero(&entry->value.topic_id), i / 2 < 4);
        assert_true(slice_is(entry->value.metadata, "hi"));
        bed_close(&bed);
    }
}

static void every_version_of_a_group_is_read(void **unused)
{
    static const struct {
        const char *value;
        size_t size;
        int32_t rebalance_ms;
        int64_t since_ms;
        bool is_static;
    } cases[] = {
        {BYTES("\0\0\0\1c\0\0\0\3\0\1r\0\1m\0\0\0\1\0\1m\0\1x\0\1h\0\0\0\x9\0\0\0\1s\0\0\0\1a"), 9, -1,
         false},
        {BYTES("\0\1\0\1c\0\0\0\3\0\1r\0\1m\0\0\0\1\0\1m\0\1x\0\1h\0\0\0\7\0\0\0\x9\0\0\0\1s\0\0\0\1a"), 7,
         -1, false},
        {BYTES("\0\2\0\1c\0\0\0\3\0\1r\0\1m\0\0\0\0\0\0\0\6\0\0\0\1\0\1m\0\1x\0\1h\0\0\0\7\0\0\0\x9\0\0\0\1s"
               "\0\0\0\1a"),
         7, 6, false},
        {BYTES("\0\3\0\1c\0\0\0\3\0\1r\0\1m\0\0\0\0\0\0\0\6\0\0\0\1\0\1m\0\1i\0\1x\0\1h\0\0\0\7\0\0\0\x9\0\0"
               "\0\1s\0\0\0\1a"),
         7, 6, true},
        {BYTES("\0\4\2c\0\0\0\3\2r\2m\0\0\0\0\0\0\0\6\2\2m\2i\2x\2h\0\0\0\7\0\0\0\x9\2s\2a\0\0"), 7, 6, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bed bed;
        bed_open(&bed, 1);
        replay_bytes(&bed.shard, BYTES("\0\2\0\1g"), cases[i].value, cases[i].size);
        const struct group *group = group_find(&bed.shard, SLICE("g"));
        assert_non_null(group);
        assert_int_equal(group->state, GROUP_STABLE);
        assert_int_equal(group->generation, 3);
        assert_int_equal(group->state_since_ms, cases[i].since_ms);
        const struct member *member = group_member(group, SLICE("m"));
        assert_non_null(member);
        assert_int_equal(member->session_timeout_ms, 9);
        assert_int_equal(member->rebalance_timeout_ms, cases[i].rebalance_ms);
        assert_true(slice_is(member->assignment, "a"));
        assert_true(slice_is(member_metadata(member, SLICE("r")), "s"));
        assert_int_equal(group_static_member(group, SLICE("i")) == member, cases[i].is_static);
        replay_bytes(&bed.shard, BYTES("\0\2\0\1g"), NULL, 0); /* and its tombstone */
        assert_null(group_find(&bed.shard, SLICE("g")));
        bed_close(&bed);
    }
}

static void what_is_not_ours_is_left_alone(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    static const struct {
        const char *key;
        size_t key_size;
        const char *value;
        size_t value_size;
    } cases[] = {
        {BYTES("\0\3\0\1g"), BYTES("\0\0\0\0\0\1\0")}, /* KIP-848 */
        {BYTES("\0\5\0\1g\0\1m"), BYTES("\0\0")},      /* one of its members */
        {BYTES("\0\x17\0\1g"), BYTES("\0\0")},         /* streams */
        {BYTES("\1\0\0\1g"), BYTES("\0\0")},           /* of the future */
        {BYTES("\377\377"), BYTES("\0\0")},
        {BYTES(""), BYTES("\0\0")},
        {BYTES("\0"), BYTES("\0\0")},
        {BYTES("\0\2"), BYTES("\0\3")},
        {BYTES("\0\2\0\5g"), BYTES("\0\3")},
        {BYTES("\0\2\0\1g"), BYTES("")},
        {BYTES("\0\2\0\1g"), BYTES("\0\5\0")},
        {BYTES("\0\2\0\1g"), BYTES("\0\3\0\1c\0\0\0\1\0\1r\0\1m\0\0\0\0\0\0\0\6\x7f\377\377\377")},
        {BYTES("\0\1\0\1g\0\1t\0\0\0\0"), BYTES("\0\5\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\0\0\1")},
        {BYTES("\0\1\0\1g\0\1t\0\0\0\0"), BYTES("\377\377\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\0\0\1")},
        {BYTES("\0\1\0\1g\0\1t\0\0\0\0"), BYTES("\0\3\0\0\0\0")},
        {BYTES("\0\1\0\1g\0\1t\0\0"), BYTES("\0\2\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\0\0\1")},
    };
    diag_set_level(DIAG_ERROR);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        replay_bytes(&bed.shard, cases[i].key, cases[i].key_size, cases[i].value, cases[i].value_size);
        assert_int_equal(bed.shard.skipped_records, i + 1);
    }
    replay_bytes(&bed.shard, BYTES("\0\2\0\1g"), NULL, 0); /* tombstones of what was never here */
    replay_bytes(&bed.shard, BYTES("\0\1\0\1g\0\1t\0\0\0\0"), NULL, 0);
    assert_int_equal(bed.shard.groups.count, 0);
    assert_int_equal(group_shard_loaded(&bed.shard), OK);
    diag_set_level(DIAG_WARN);
    bed_close(&bed);
}

int main(void)
{
    diag_set_level(DIAG_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_counts_when_it_is_written),
        cmocka_unit_test(each_partition_has_its_own_error),
        cmocka_unit_test(all_that_was_committed_can_be_fetched),
        cmocka_unit_test(records_are_apaches),
        cmocka_unit_test(a_new_topic_of_the_same_name_begins_anew),
        cmocka_unit_test(a_group_is_deleted_with_its_offsets),
        cmocka_unit_test(single_offsets_are_deleted),
        cmocka_unit_test(simple_offsets_expire_by_commit_time),
        cmocka_unit_test(a_time_of_its_own_comes_first),
        cmocka_unit_test(a_group_that_lived_expires_when_it_has_been_empty),
        cmocka_unit_test(metadata_nobody_can_read_keeps_offsets),
        cmocka_unit_test(transactions_end_in_the_order_of_the_log),
        cmocka_unit_test(an_aborted_first_commit_leaves_nothing),
        cmocka_unit_test(every_version_of_an_offset_is_read),
        cmocka_unit_test(every_version_of_a_group_is_read),
        cmocka_unit_test(what_is_not_ours_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
