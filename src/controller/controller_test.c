/* Brokers on a keeper that is a map: a cluster of one as it is served now, and of several, for the same code will run those. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "controller/controller_world.h"

static void assert_data(struct test_world *world, const char *path, const char *want)
{
    if (!fake_keeper_has(world->fake, path)) fail_msg("%s is not there", path);
    char got[1000];
    slice_text(fake_keeper_data(world->fake, path), got, sizeof got);
    assert_string_equal(got, want);
}

static void an_empty_keeper_becomes_a_cluster_of_one(void **state)
{
    (void)state;
    struct test_world *w = test_world_new(1);
    struct test_broker *b = test_broker_start(w, 1);
    assert_int_equal(b->joined, OK);
    assert_true(b->is_registered);
    assert_true(b->is_controller);
    struct znode_stat stat;
    assert_true(fake_keeper_stat(w->fake, "/brokers/ids/1", &stat));
    assert_int_equal(stat.version, 1);
    assert_int_equal(stat.czxid, controller_broker_epoch(b->controller));
    assert_true(fake_keeper_stat(w->fake, "/controller_epoch", &stat));
    assert_int_equal(stat.version, 1);
    assert_data(w, "/controller_epoch", "1");
    assert_data(w, "/controller",
                "{\"version\":2,\"brokerid\":1,\"timestamp\":\"1700000001000\",\"kraftControllerEpoch\":-1}");
    assert_data(w, "/feature", "{\"features\":{},\"version\":2,\"status\":1}");
    assert_data(
        w, "/brokers/ids/1",
        "{\"features\":{},\"listener_security_protocol_map\":{\"PLAINTEXT\":\"PLAINTEXT\"},\"endpoints\":"
        "[\"PLAINTEXT://127.0.0.1:9093\"],\"jmx_port\":-1,\"port\":9093,\"host\":\"127.0.0.1\",\"version\":5,"
        "\"timestamp\":\"1700000001000\"}");
    const struct image *image = metadata_image(b->metadata);
    assert_int_equal(image_broker_count(image), 1);
    assert_int_equal(image_controller_id(image), 1);
    assert_true(slice_is(image_cluster_id(image), b->identity.cluster_id));
    test_world_free(w);
}

static void a_topic_is_created_and_its_znodes_are_kafkas(void **state)
{
    (void)state;
    struct test_world *w = test_world_new(2);
    struct test_broker *b = test_broker_start(w, 1);
    assert_int_equal(test_create(b, "orders", 2, 1), OK);
    assert_data(w, "/config/topics/orders", "{\"version\":1,\"config\":{}}");
    assert_data(w, "/brokers/topics/orders/partitions/1/state",
                "{\"controller_epoch\":1,\"leader\":1,\"version\":1,\"leader_epoch\":0,\"isr\":[1]}");
    const struct image_topic *topic = image_topic(metadata_image(b->metadata), SLICE("orders"));
    char id[UUID_TEXT_SIZE], json[300];
    uuid_format(&topic->id, id);
    snprintf(json, sizeof json,
             "{\"partitions\":{\"0\":[1],\"1\":[1]},\"topic_id\":\"%s\",\"adding_replicas\":{},\"removing_"
             "replicas\":{},"
             "\"version\":3}",
             id);
    assert_data(w, "/brokers/topics/orders", json);
    struct test_replica *replica = map_get(&b->replicas, SLICE("orders-1"));
    assert_non_null(replica);
    assert_true(replica->is_new);
    test_world_check(w, 2);

    assert_int_equal(test_create(b, "orders", 1, 1), ERR_TOPIC_ALREADY_EXISTS);
    assert_int_equal(test_create(b, "a.b", -1, -1), OK);
    assert_int_equal(image_topic(metadata_image(b->metadata), SLICE("a.b"))->partition_count, 2);
    assert_int_equal(test_create(b, "a_b", 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    assert_int_equal(test_create(b, "", 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    assert_int_equal(test_create(b, "..", 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    assert_int_equal(test_create(b, "x y", 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    assert_int_equal(test_create(b, "none", 0, 1), ERR_INVALID_PARTITIONS);
    assert_int_equal(test_create(b, "none", 1, 0), ERR_INVALID_REPLICATION_FACTOR);
    assert_int_equal(test_create(b, "many", 1, 2), ERR_INVALID_REPLICATION_FACTOR);
    test_world_check(w, 2);
    test_world_free(w);
}

static void a_large_topic_takes_few_writes(void **state)
{
    (void)state;
    struct test_world *w = test_world_new(3);
    struct test_broker *b = test_broker_start(w, 1);
    int64_t before = fake_keeper_writes(w->fake);
    assert_int_equal(test_create(b, "wide", 1000, 1), OK);
    assert_in_range(fake_keeper_writes(w->fake) - before, 2, 20);
    test_world_check(w, 3);
    test_world_free(w);
}

static void a_deleted_topic_leaves_nothing(void **state)
{
    (void)state;
    for (int partitions = 1; partitions <= 301; partitions += 300) {
        struct test_world *w = test_world_new(4);
        struct test_broker *b = test_broker_start(w, 1);
        assert_int_equal(test_create(b, "gone", partitions, 1), OK);
        assert_int_equal(test_create(b, "stays", 1, 1), OK);
        struct uuid id = image_topic(metadata_image(b->metadata), SLICE("gone"))->id;
        assert_int_equal(test_delete(b, "gone"), OK);
        assert_int_equal(test_delete(b, "gone"), ERR_UNKNOWN_TOPIC_OR_PARTITION);
        fake_keeper_advance(w->fake, 10);
        assert_false(fake_keeper_has(w->fake, "/brokers/topics/gone"));
        assert_false(fake_keeper_has(w->fake, "/config/topics/gone"));
        assert_false(fake_keeper_has(w->fake, "/admin/delete_topics/gone"));
        assert_null(map_get(&b->replicas, SLICE("gone-0")));
        assert_int_equal(test_create(b, "gone", 1, 1), OK);
        assert_false(uuid_equal(&id, &image_topic(metadata_image(b->metadata), SLICE("gone"))->id));
        test_world_check(w, 4);
        test_world_free(w);
    }
}

static void a_failed_deletion_waits_for_the_broker_to_come_back(void **state)
{
    (void)state;
    struct test_world *w = test_world_new(5);
    struct test_broker *b = test_broker_start(w, 1);
    assert_int_equal(test_create(b, "stuck", 1, 1), OK);
    b->fails_deletes = true;
    assert_int_equal(test_delete(b, "stuck"), ERR_REQUEST_TIMED_OUT);
    assert_int_equal(test_create(b, "stuck", 1, 1), ERR_TOPIC_ALREADY_EXISTS);
    assert_true(fake_keeper_has(w->fake, "/admin/delete_topics/stuck"));
    test_broker_stop(w, 1);
    b = test_broker_start(w, 1);
    fake_keeper_advance(w->fake, 10);
    assert_false(fake_keeper_has(w->fake, "/brokers/topics/stuck"));
    test_world_free(w);

    w = test_world_new(5);
    w->is_deletion_disabled = true;
    b = test_broker_start(w, 1);
    assert_int_equal(test_create(b, "kept", 1, 1), OK);
    assert_int_equal(test_delete(b, "kept"), ERR_TOPIC_DELETION_DISABLED);
    fake_keeper_put(w->fake, "/admin/delete_topics/kept", SLICE_NULL, 0);
    fake_keeper_advance(w->fake, 10);
    assert_false(fake_keeper_has(w->fake, "/admin/delete_topics/kept"));
    assert_true(fake_keeper_has(w->fake, "/brokers/topics/kept"));
    test_world_free(w);
}

static enum error grow(struct test_broker *b, const char *name, int32_t count)
{
    struct create_partitions_request_create_partitions_topic topic = {
        .name = slice_of(name), .count = count, .assignments.count = -1};
    struct create_partitions_request request = {.topics = {&topic, 1}, .timeout_ms = 1000};
    struct test_call call;
    test_submit(b, &call, 37, 3, &request);
    fake_keeper_advance(b->world->fake, 1100);
    controller_tick(b->controller);
    assert_int_equal(call.done, 1);
    enum error err = call.call.err;
    if (err == OK) err = error_from_kafka(call.response.grow.results.items[0].error_code);
    test_call_free(&call);
    return err;
}

static void a_topic_grows_and_never_shrinks(void **state)
{
    (void)state;
    struct test_world *w = test_world_new(6);
    struct test_broker *b = test_broker_start(w, 1);
    assert_int_equal(test_create(b, "t", 1, 1), OK);
    assert_int_equal(grow(b, "t", 3), OK);
    assert_int_equal(image_topic(metadata_image(b->metadata), SLICE("t"))->partition_count, 3);
    assert_int_equal(grow(b, "t", 3), ERR_INVALID_PARTITIONS);
    assert_int_equal(grow(b, "t", 2), ERR_INVALID_PARTITIONS);
    assert_int_equal(grow(b, "other", 2), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    test_world_check(w, 6);
    test_world_free(w);
}

static void a_manual_assignment_is_checked(void **state)
{
    (void)state;
    static int32_t good[] = {1}, twice[] = {1, 1}, negative[] = {-1}, unknown[] = {7};
    static const struct {
        const char *why;
        int32_t index, *ids, count, partitions;
        enum error want;
    } rows[] = {
        {"taken as it is", 0, good, 1, -1, OK},
        {"does not start at 0", 1, good, 1, -1, ERR_INVALID_REPLICA_ASSIGNMENT},
        {"a broker twice", 0, twice, 2, -1, ERR_INVALID_REPLICA_ASSIGNMENT},
        {"no replicas", 0, good, 0, -1, ERR_INVALID_REPLICA_ASSIGNMENT},
        {"no broker id", 0, negative, 1, -1, ERR_INVALID_REPLICA_ASSIGNMENT},
        {"a count as well", 0, good, 1, 1, ERR_INVALID_REQUEST},
        {"a broker that is away: no leader for now", 0, unknown, 1, -1, ERR_REQUEST_TIMED_OUT},
    };
    struct test_world *w = test_world_new(7);
    struct test_broker *b = test_broker_start(w, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%zu", i);
        struct create_topics_request_creatable_replica_assignment assignment = {
            rows[i].index, {rows[i].ids, rows[i].count}, {0}};
        struct create_topics_request_creatable_topic topic = {.name = slice_of(name),
                                                              .num_partitions = rows[i].partitions,
                                                              .replication_factor = -1,
                                                              .assignments = {&assignment, 1}};
        struct create_topics_request request = {.topics = {&topic, 1}, .timeout_ms = 100};
        struct test_call call;
        test_submit(b, &call, 19, 7, &request);
        fake_keeper_advance(w->fake, 200);
        controller_tick(b->controller);
        assert_int_equal(call.done, 1);
        enum error got = error_from_kafka(call.response.create.topics.items[0].error_code);
        if (got != rows[i].want)
            fail_msg("%s: %s, not %s", rows[i].why, error_name(got), error_name(rows[i].want));
        test_call_free(&call);
    }
    test_world_free(w);
}

static void producer_ids_come_in_blocks(void **state)
{
    (void)state;
    struct test_world *w = test_world_new(8);
    struct test_broker *b = test_broker_start(w, 1);
    for (int i = 0; i < 3; i++) {
        struct allocate_producer_ids_request request = {
            .broker_id = 1, .broker_epoch = controller_broker_epoch(b->controller)};
        struct test_call call;
        test_submit(b, &call, 67, 0, &request);
        fake_keeper_run(w->fake);
        assert_int_equal(call.done, 1);
        assert_int_equal(call.response.ids.error_code, 0);
        assert_int_equal(call.response.ids.producer_id_start, i * 1000);
        assert_int_equal(call.response.ids.producer_id_len, 1000);
        test_call_free(&call);
    }
    assert_data(w, "/latest_producer_id_block",
                "{\"version\":1,\"broker\":1,\"block_start\":\"2000\",\"block_end\":\"2999\"}");
    static const struct {
        int32_t id;
        int64_t epoch;
        enum error want;
    } bad[] = {{2, -1, ERR_BROKER_ID_NOT_REGISTERED}, {1, 0, ERR_STALE_BROKER_EPOCH}};
    for (int i = 0; i < 2; i++) {
        struct allocate_producer_ids_request request = {.broker_id = bad[i].id, .broker_epoch = bad[i].epoch};
        struct test_call call;
        test_submit(b, &call, 67, 0, &request);
        fake_keeper_run(w->fake);
        assert_int_equal(call.response.ids.error_code, error_kafka_code(bad[i].want));
        test_call_free(&call);
    }
    test_world_free(w);
}

static enum error alter(struct test_broker *b, int8_t type, const char *name, const char *key, int8_t op,
                        const char *value)
{
    struct incremental_alter_configs_request_alterable_config config = {
        .name = slice_of(key), .config_operation = op, .value = slice_of(value)};
    struct incremental_alter_configs_request_alter_configs_resource resource = {
        .resource_type = type, .resource_name = slice_of(name), .configs = {&config, 1}};
    struct incremental_alter_configs_request request = {.resources = {&resource, 1}};
    struct test_call call;
    test_submit(b, &call, 44, 1, &request);
    fake_keeper_advance(b->world->fake, 10);
    assert_int_equal(call.done, 1);
    enum error err = call.call.err;
    if (err == OK) err = error_from_kafka(call.response.alter.responses.items[0].error_code);
    test_call_free(&call);
    return err;
}

static void configs_change_at_once_and_are_announced(void **state)
{
    (void)state;
    enum { TOPIC = 2, BROKER = 4 };
    struct test_world *w = test_world_new(9);
    struct test_broker *b = test_broker_start(w, 1), *other = test_broker_start(w, 2);
    assert_int_equal(test_create(b, "t", 1, 1), OK);
    assert_int_equal(alter(b, TOPIC, "t", "retention.ms", 0, "1000"), OK);
    assert_data(w, "/config/topics/t", "{\"version\":1,\"config\":{\"retention.ms\":\"1000\"}}");
    assert_data(w, "/config/changes/config_change_0000000000",
                "{\"version\":2,\"entity_path\":\"topics/t\"}");
    for (int i = 0; i < 2; i++) {
        const struct image *image = metadata_image(i ? other->metadata : b->metadata);
        assert_true(
            slice_is(image_config_value(image_config(image, CONFIG_TOPIC, SLICE("t")), SLICE("retention.ms")),
                     "1000"));
    }
    assert_int_equal(alter(b, TOPIC, "t", "cleanup.policy", 2, "compact"), OK);
    assert_data(
        w, "/config/topics/t",
        "{\"version\":1,\"config\":{\"retention.ms\":\"1000\",\"cleanup.policy\":\"delete,compact\"}}");
    assert_int_equal(alter(b, TOPIC, "t", "cleanup.policy", 3, "delete"), OK);
    assert_int_equal(alter(b, TOPIC, "t", "retention.ms", 1, NULL), OK);
    assert_data(w, "/config/topics/t", "{\"version\":1,\"config\":{\"cleanup.policy\":\"compact\"}}");
    assert_int_equal(alter(b, TOPIC, "t", "retention.ms", 2, "1"), ERR_INVALID_CONFIG);
    assert_int_equal(alter(b, TOPIC, "t", "bogus", 0, "1"), ERR_INVALID_CONFIG);
    assert_int_equal(alter(b, TOPIC, "t", "x", 0, NULL), ERR_INVALID_REQUEST);
    assert_int_equal(alter(b, TOPIC, "missing", "x", 0, "1"), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(alter(b, BROKER, "1", "log.retention.ms", 0, "5"), OK);
    assert_int_equal(alter(b, BROKER, "2", "log.retention.ms", 0, "5"), ERR_INVALID_REQUEST);
    assert_int_equal(alter(b, BROKER, "", "log.retention.ms", 0, "6"), OK);
    assert_data(w, "/config/brokers/<default>", "{\"version\":1,\"config\":{\"log.retention.ms\":\"6\"}}");
    /* Any broker may, and the one that is not the controller sees it too. */
    assert_int_equal(alter(other, TOPIC, "t", "retention.ms", 0, "7"), OK);
    fake_keeper_advance(w->fake, 10);
    test_world_check(w, 9);

    /* Notices are removed when they are a quarter of an hour old. */
    fake_keeper_advance(w->fake, 16 * 60 * 1000);
    assert_int_equal(alter(b, TOPIC, "t", "retention.ms", 0, "8"), OK);
    test_broker_stop(w, 2);
    test_broker_start(w, 2);
    fake_keeper_advance(w->fake, 10);
    assert_false(fake_keeper_has(w->fake, "/config/changes/config_change_0000000000"));
    assert_true(fake_keeper_has(w->fake, "/config/changes/config_change_0000000007"));
    test_world_free(w);
}

/* Thousands in one request: each is held against all others, and that takes no time. */
static void names_of_one_request_are_held_against_each_other(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    static struct create_topics_request_creatable_topic topics[COUNT];
    static char names[COUNT][16];
    struct test_world *w = test_world_new(14);
    struct test_broker *b = test_broker_start(w, 1);
    assert_int_equal(test_create(b, "old.one", 1, 1), OK);
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "many.topics%d", i);
        topics[i] = (struct create_topics_request_creatable_topic){
            .name = slice_of(names[i]), .num_partitions = 1, .replication_factor = 1};
    }
    topics[5].name = SLICE("twice");
    topics[6].name = SLICE("twice");
    topics[7].name = SLICE("many_topics1");
    topics[8].name = SLICE("old_one");
    topics[9].name = SLICE("old.one");
    topics[10].name = SLICE("plain");
    struct create_topics_request request = {
        .topics = {topics, COUNT}, .timeout_ms = 5000, .validate_only = true};
    struct test_call call;
    test_submit(b, &call, 19, 7, &request);
    fake_keeper_advance(w->fake, 10);
    assert_int_equal(call.done, 1);
    assert_int_equal(call.response.create.topics.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        enum error want = i == 5 || i == 6   ? ERR_INVALID_REQUEST
                          : i == 7 || i == 8 ? ERR_INVALID_TOPIC_EXCEPTION
                          : i == 9           ? ERR_TOPIC_ALREADY_EXISTS
                                             : OK;
        const struct create_topics_response_creatable_topic_result *result =
            &call.response.create.topics.items[i];
        if (result->error_code != (want == OK ? 0 : error_kafka_code(want)))
            fail_msg("%s: %d", (const char *)topics[i].name.data, result->error_code);
    }
    test_call_free(&call);
    test_world_free(w);
}

static void a_restart_brings_every_partition_back(void **state)
{
    (void)state;
    struct test_world *w = test_world_new(10);
    struct test_broker *b = test_broker_start(w, 1);
    assert_int_equal(test_create(b, "t", 3, 1), OK);
    int64_t epoch = controller_broker_epoch(b->controller);
    test_broker_stop(w, 1);
    b = test_broker_start(w, 1);
    assert_true(b->is_controller);
    assert_int_equal(controller_epoch(b->controller), 2);
    assert_true(controller_broker_epoch(b->controller) > epoch);
    const struct image_partition *p = image_partition(metadata_image(b->metadata), SLICE("t"), 2);
    assert_int_equal(p->leader, 1);
    assert_int_equal(p->leader_epoch, 0);
    assert_false(((struct test_replica *)map_get(&b->replicas, SLICE("t-2")))->is_new);
    test_world_check(w, 10);
    test_world_free(w);
}

static void an_expired_session_registers_and_leads_again(void **state)
{
    (void)state;
    struct test_world *w = test_world_new(11);
    struct test_broker *b = test_broker_start(w, 1);
    assert_int_equal(test_create(b, "t", 1, 1), OK);
    int64_t epoch = controller_broker_epoch(b->controller);
    fake_keeper_expire(w->fake, coord_session_id(b->coord));
    fake_keeper_advance(w->fake, 2000);
    assert_true(controller_is_active(b->controller));
    assert_true(controller_broker_epoch(b->controller) > epoch);
    assert_int_equal(metadata_broker_epoch(b->metadata), controller_broker_epoch(b->controller));
    test_world_check(w, 11);
    test_world_free(w);
}

static void a_taken_seat_is_waited_for_and_then_given_up(void **state)
{
    (void)state;
    struct test_world *w = test_world_new(12);
    test_broker_start(w, 1);
    test_broker_kill(w, 1);
    struct test_broker *b = test_broker_start(w, 1);
    assert_false(b->is_registered);
    fake_keeper_advance(w->fake, 7000); /* the old session times out */
    assert_true(b->is_registered);
    assert_true(b->is_controller);
    assert_false(b->is_fatal);

    struct test_broker *twin = w->brokers[1];
    w->brokers[1] = NULL;
    struct test_broker *second = test_broker_start(w, 1);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(second->is_fatal, i >= 27);
        fake_keeper_advance(w->fake, 1000);
        controller_tick(second->controller);
    }
    assert_true(second->is_fatal);
    assert_true(controller_is_active(twin->controller));
    test_broker_kill(w, 1);
    w->brokers[1] = twin;
    test_world_free(w);
}

static void a_deposed_controller_cannot_write(void **state)
{
    (void)state;
    struct test_world *w = test_world_new(13);
    struct test_broker *b = test_broker_start(w, 1);
    /* Somebody else took over, and the news has not come yet. */
    fake_keeper_put(w->fake, "/controller_epoch", SLICE("2"), 0);
    struct create_topics_request_creatable_topic topic = {
        .name = SLICE("t"), .num_partitions = 1, .replication_factor = 1};
    struct create_topics_request request = {.topics = {&topic, 1}, .timeout_ms = 0};
    struct test_call call;
    test_submit(b, &call, 19, 7, &request);
    for (int i = 0; i < 30 && !fake_keeper_has(w->fake, "/brokers/topics/t"); i++) fake_keeper_step(w->fake);
    fake_keeper_run(w->fake);
    /* Its multi was refused; /controller being its own still, it stood again, and repaired the topic. */
    assert_true(controller_is_active(b->controller));
    assert_int_equal(controller_epoch(b->controller), 3);
    assert_data(w, "/brokers/topics/t/partitions/0/state",
                "{\"controller_epoch\":3,\"leader\":1,\"version\":1,\"leader_epoch\":0,\"isr\":[1]}");
    test_world_check(w, 13);
    test_call_free(&call);
    test_world_free(w);
}

static void three_brokers_share_and_survive(void **state)
{
    (void)state;
    struct test_world *w = test_world_new(14);
    for (int i = 0; i < 3; i++) test_broker_start(w, i);
    assert_int_equal(test_create(test_controller(w), "t", 6, 3), OK);
    test_world_check(w, 14);
    /* The controller dies: another one takes over, moves its leaders, shrinks the ISRs. */
    int first = test_controller(w)->id;
    test_broker_stop(w, first);
    fake_keeper_advance(w->fake, 100);
    assert_int_not_equal(test_controller(w)->id, first);
    test_world_check(w, 14);
    const struct image *image = metadata_image(test_controller(w)->metadata);
    for (int p = 0; p < 6; p++) {
        const struct image_partition *partition = image_partition(image, SLICE("t"), p);
        assert_int_equal(partition->isr_count, 2);
        assert_int_equal(partition->offline_count, 1);
        assert_int_equal(partition->offline[0], first);
    }
    /* It returns and follows; its leader asks for it to be in sync again. */
    test_broker_start(w, first);
    test_world_check(w, 14);
    struct test_broker *c = test_controller(w);
    const struct image_partition *p0 = image_partition(metadata_image(c->metadata), SLICE("t"), 0);
    struct test_proposal proposal;
    test_propose(c, "t", 0, (const int32_t[]){0, 1, 2}, 3, &proposal);
    struct test_call call;
    test_submit(c, &call, 56, 3, &proposal.request);
    fake_keeper_run(w->fake);
    assert_int_equal(call.done, 1);
    assert_int_equal(call.response.isr.error_code, 0);
    assert_int_equal(test_proposal_code(&call), 0);
    p0 = image_partition(metadata_image(c->metadata), SLICE("t"), 0);
    assert_int_equal(p0->isr_count, 3);
    assert_int_equal(call.response.isr.topics.items[0].partitions.items[0].partition_epoch, p0->zk_version);
    test_call_free(&call);
    /* The same again is the same answer; an older one is not. */
    test_submit(c, &call, 56, 3, &proposal.request);
    fake_keeper_run(w->fake);
    assert_int_equal(test_proposal_code(&call), 0);
    test_call_free(&call);
    proposal.data.new_isr_with_epochs.count = 2;
    test_submit(c, &call, 56, 3, &proposal.request);
    fake_keeper_run(w->fake);
    assert_int_equal(test_proposal_code(&call), error_kafka_code(ERR_INVALID_UPDATE_VERSION));
    test_call_free(&call);
    proposal.request.broker_epoch--;
    test_submit(c, &call, 56, 3, &proposal.request);
    fake_keeper_run(w->fake);
    assert_int_equal(call.response.isr.error_code, error_kafka_code(ERR_STALE_BROKER_EPOCH));
    test_call_free(&call);

    /* Its preferred leader again, on request. */
    int32_t preferred = p0->replicas[0];
    struct elect_leaders_request elect = {
        .election_type = 0, .topic_partitions = {NULL, -1}, .timeout_ms = 1000};
    test_submit(c, &call, 43, 2, &elect);
    fake_keeper_advance(w->fake, 10);
    assert_int_equal(call.done, 1);
    assert_int_equal(image_partition(metadata_image(c->metadata), SLICE("t"), 0)->leader, preferred);
    test_call_free(&call);
    test_world_check(w, 14);
    test_world_free(w);
}

static void the_last_in_sync_leads_alone_unless_unclean_is_allowed(void **state)
{
    (void)state;
    for (int is_allowed = 0; is_allowed < 2; is_allowed++) {
        struct test_world *w = test_world_new(15);
        w->is_unclean_allowed = is_allowed;
        for (int i = 0; i < 3; i++) test_broker_start(w, i);
        struct test_broker *c = test_controller(w);
        /* A topic on the two that are not the controller. */
        int32_t ids[2] = {(c->id + 1) % 3, (c->id + 2) % 3};
        struct create_topics_request_creatable_replica_assignment assignment = {0, {ids, 2}, {0}};
        struct create_topics_request_creatable_topic topic = {.name = SLICE("t"),
                                                              .num_partitions = -1,
                                                              .replication_factor = -1,
                                                              .assignments = {&assignment, 1}};
        struct create_topics_request request = {.topics = {&topic, 1}, .timeout_ms = 100};
        struct test_call call;
        test_submit(c, &call, 19, 7, &request);
        fake_keeper_advance(w->fake, 10);
        assert_int_equal(call.done, 1);
        test_call_free(&call);
        test_broker_stop(w, ids[0]);
        const struct image_partition *p = image_partition(metadata_image(c->metadata), SLICE("t"), 0);
        assert_int_equal(p->leader, ids[1]);
        assert_int_equal(p->isr_count, 1);
        test_broker_stop(w, ids[1]);
        p = image_partition(metadata_image(c->metadata), SLICE("t"), 0);
        assert_int_equal(p->leader, -1);
        assert_int_equal(p->isr_count, 1);
        assert_int_equal(p->isr[0], ids[1]);
        /* The one that fell behind comes back first. */
        test_broker_start(w, ids[0]);
        p = image_partition(metadata_image(c->metadata), SLICE("t"), 0);
        assert_int_equal(p->leader, is_allowed ? ids[0] : -1);
        assert_int_equal(p->isr[0], is_allowed ? ids[0] : ids[1]);
        test_broker_start(w, ids[1]);
        p = image_partition(metadata_image(c->metadata), SLICE("t"), 0);
        assert_int_equal(p->leader, is_allowed ? ids[0] : ids[1]);
        test_world_free(w);
    }
}

/* --- crashes --- */

/* Kills the only broker after `steps` messages of creating and deleting topics; the next life must put everything right. */
static bool crash_after(int steps)
{
    struct test_world *w = test_world_new((uint64_t)steps + 100);
    struct test_broker *b = test_broker_begin(w, 1);
    int left = steps;
    while (left > 0 && !b->is_controller && fake_keeper_step(w->fake)) left--;
    bool was_up = b->is_controller;
    struct test_call calls[2] = {0};
    struct create_topics_request_creatable_topic topics[] = {
        {.name = SLICE("a"), .num_partitions = 2, .replication_factor = 1},
        {.name = SLICE("b"), .num_partitions = 1, .replication_factor = 1},
    };
    struct create_topics_request create = {.topics = {topics, 2}, .timeout_ms = 5000};
    struct slice names[] = {SLICE("a")};
    struct delete_topics_request remove = {.topic_names = {names, 1}, .timeout_ms = 5000};
    if (was_up) {
        test_submit(b, &calls[0], 19, 7, &create);
        while (left > 0 && !calls[0].done && fake_keeper_step(w->fake)) left--;
    }
    bool was_created = was_up && calls[0].done;
    if (was_created) {
        test_submit(b, &calls[1], 20, 5, &remove);
        while (left > 0 && fake_keeper_step(w->fake)) left--;
    }
    bool is_over = was_created && calls[1].done && left > 0;
    int64_t session = test_broker_kill(w, 1);
    fake_keeper_expire(w->fake, session);
    b = test_broker_start(w, 1);
    fake_keeper_advance(w->fake, 100);
    assert_true(b->is_controller);
    test_world_check(w, (uint64_t)steps);
    if (was_created && !image_topic(metadata_image(b->metadata), SLICE("b")))
        fail_msg("after %d steps a topic is lost", steps);
    for (int i = 0; i < 2; i++)
        if (calls[i].call.arena) test_call_free(&calls[i]);
    test_world_free(w);
    return is_over;
}

static void a_crash_at_any_step_is_repaired(void **state)
{
    (void)state;
    int steps = 1;
    while (!crash_after(steps)) {
        steps++;
        assert_in_range(steps, 1, 2000);
    }
    assert_in_range(steps, 100, 2000); /* it did go through all of it */
}

static void live(uint64_t seed)
{
    struct test_world *w = test_world_new(seed);
    struct random random;
    random_seed(&random, seed);
    for (int turn = 0; turn < 60; turn++) {
        uint64_t draw = random_below(&random, 100);
        int id = (int)random_below(&random, 3);
        struct test_broker *c = test_controller(w);
        if (!w->brokers[id] && draw < 40) {
            test_broker_begin(w, id);
        } else if (draw < 8 && w->brokers[id]) {
            int64_t session = test_broker_kill(w, id);
            if (random_below(&random, 2)) fake_keeper_expire(w->fake, session);
        } else if (draw < 12 && w->brokers[id]) {
            fake_keeper_expire(w->fake, coord_session_id(w->brokers[id]->coord));
        } else if (draw < 16) {
            fake_keeper_cut(w->fake);
        } else if (draw < 20) {
            fake_keeper_cut_answers(w->fake);
        } else if (draw < 24) {
            fake_keeper_remove(w->fake, "/controller");
        } else if (draw < 60 && c) {
            /* Asked for directly in znodes, as another broker would. */
            char path[64], data[200];
            snprintf(path, sizeof path, "/brokers/topics/t%d", (int)random_below(&random, 6));
            if (draw < 45 && !fake_keeper_has(w->fake, path)) {
                snprintf(
                    data, sizeof data,
                    "{\"version\":3,\"partitions\":{\"0\":[%d,%d],\"1\":[%d]},\"topic_id\":\"%018dAAAA\"}",
                    id, (id + 1) % 3, (id + 2) % 3, (int)random_below(&random, 1000000) + 1);
                char config[64];
                snprintf(config, sizeof config, "/config/topics/%s", path + 16);
                fake_keeper_put(w->fake, config, SLICE("{\"version\":1,\"config\":{}}"), 0);
                fake_keeper_put(w->fake, path, slice_of(data), 0);
            } else if (draw >= 45 && fake_keeper_has(w->fake, path)) {
                snprintf(data, sizeof data, "/admin/delete_topics/%s", path + 16);
                if (!fake_keeper_has(w->fake, data)) fake_keeper_put(w->fake, data, SLICE_NULL, 0);
            }
        }
        if (random_below(&random, 2))
            fake_keeper_advance(w->fake, (int64_t)random_below(&random, 3000));
        else
            for (uint64_t n = random_below(&random, 60); n > 0; n--) fake_keeper_step(w->fake);
        for (int i = 0; i < 3; i++)
            if (w->brokers[i] && w->brokers[i]->controller) controller_tick(w->brokers[i]->controller);
    }
    /* Peace: everybody comes back. */
    for (int i = 0; i < 3; i++)
        if (!w->brokers[i]) test_broker_begin(w, i);
    for (int i = 0; i < 12; i++) {
        fake_keeper_advance(w->fake, 2000);
        for (int b = 0; b < 3; b++)
            if (w->brokers[b]->controller) controller_tick(w->brokers[b]->controller);
    }
    for (int i = 0; i < 3; i++)
        if (!w->brokers[i]->is_registered || controller_broker_epoch(w->brokers[i]->controller) < 0)
            fail_msg("seed %llu: broker %d is not registered", (unsigned long long)seed, i);
    if (!test_controller(w)) fail_msg("seed %llu: there is no controller", (unsigned long long)seed);
    test_world_check(w, seed);
    test_world_free(w);
}

static void random_lives_end_in_order(void **state)
{
    (void)state;
    const char *only = getenv("TEST_SEED");
    if (only) {
        live(strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= 300; seed++) live(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_keeper_becomes_a_cluster_of_one),
        cmocka_unit_test(a_topic_is_created_and_its_znodes_are_kafkas),
        cmocka_unit_test(a_large_topic_takes_few_writes),
        cmocka_unit_test(a_deleted_topic_leaves_nothing),
        cmocka_unit_test(a_failed_deletion_waits_for_the_broker_to_come_back),
        cmocka_unit_test(a_topic_grows_and_never_shrinks),
        cmocka_unit_test(a_manual_assignment_is_checked),
        cmocka_unit_test(producer_ids_come_in_blocks),
        cmocka_unit_test(configs_change_at_once_and_are_announced),
        cmocka_unit_test(names_of_one_request_are_held_against_each_other),
        cmocka_unit_test(a_restart_brings_every_partition_back),
        cmocka_unit_test(an_expired_session_registers_and_leads_again),
        cmocka_unit_test(a_taken_seat_is_waited_for_and_then_given_up),
        cmocka_unit_test(a_deposed_controller_cannot_write),
        cmocka_unit_test(three_brokers_share_and_survive),
        cmocka_unit_test(the_last_in_sync_leads_alone_unless_unclean_is_allowed),
        cmocka_unit_test(a_crash_at_any_step_is_repaired),
        cmocka_unit_test(random_lives_end_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
