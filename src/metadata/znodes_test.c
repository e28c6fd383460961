/* Znodes as a live Apache Kafka 3.9.2 wrote them, what it accepts, what nobody should; random ones there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "metadata/znodes.h"

static void assert_text(struct text *text, const char *want)
{
    assert_false(text->failed);
    assert_string_equal(text->data, want);
    text_free(text);
}

static void every_znode_reads_as_apache_writes_it(void **state)
{
    (void)state;
    struct text text = {0};
    struct broker_endpoint ends[] = {{SLICE("PLAINTEXT"), SLICE("127.0.0.1"), 29091, 0}};
    struct broker_registration broker = {.endpoints = ends,
                                         .endpoint_count = 1,
                                         .rack = SLICE("r1"),
                                         .jmx_port = -1,
                                         .timestamp_ms = 1732272000000};
    znode_broker_encode(&broker, &text);
    assert_text(
        &text,
        "{\"features\":{},\"listener_security_protocol_map\":{\"PLAINTEXT\":\"PLAINTEXT\"},\"endpoints\":"
        "[\"PLAINTEXT://"
        "127.0.0.1:29091\"],\"rack\":\"r1\",\"jmx_port\":-1,\"port\":29091,\"host\":\"127.0.0.1\","
        "\"version\":5,\"timestamp\":\"1732272000000\"}");
    struct broker_endpoint secure[] = {{SLICE("OUT"), SLICE("::1"), 9093, 3}};
    broker = (struct broker_registration){.endpoints = secure,
                                          .endpoint_count = 1,
                                          .jmx_port = -1,
                                          .alive_since_zxid = 17,
                                          .shrinks_itself = true};
    znode_broker_encode(&broker, &text);
    assert_text(&text,
                "{\"features\":{},\"listener_security_protocol_map\":{\"OUT\":\"SASL_SSL\"},\"endpoints\":"
                "[\"OUT://"
                "[::1]:9093\"],\"jmx_port\":-1,\"port\":-1,\"host\":null,\"version\":5,\"timestamp\":\"0\","
                "\"odradek_alive_since\":17,\"odradek_shrinks_itself\":true}");
    struct arena arena;
    struct znode_fault fault;
    arena_init(&arena, 0);
    struct slice told = SLICE("{\"endpoints\":[],\"jmx_port\":-1,\"version\":5,\"odradek_alive_since\":17,"
                              "\"odradek_shrinks_itself\":true}");
    assert_int_equal(znode_broker_decode(SLICE("/brokers/ids/1"), told, &arena, &broker, &fault), OK);
    assert_int_equal(broker.alive_since_zxid, 17);
    assert_true(broker.shrinks_itself);
    told = SLICE("{\"endpoints\":[],\"jmx_port\":-1,\"version\":5,\"odradek_shrinks_itself\":1}");
    assert_int_equal(znode_broker_decode(SLICE("/brokers/ids/1"), told, &arena, &broker, &fault), OK);
    assert_false(broker.shrinks_itself);
    arena_free(&arena);

    int32_t ids[] = {2, 1, 3};
    struct int32_list replicas[] = {{ids, 3}}, adding[] = {{ids + 2, 1}}, none[] = {{NULL, 0}};
    struct topic_assignment topic = {
        .replicas = replicas, .adding = none, .removing = none, .partition_count = 1};
    assert_true(uuid_parse(SLICE("AAAAAAAAQACAAAAAAAAABA"), &topic.id));
    znode_topic_encode(&topic, &text);
    assert_text(
        &text,
        "{\"partitions\":{\"0\":[2,1,3]},\"topic_id\":\"AAAAAAAAQACAAAAAAAAABA\",\"adding_replicas\":{},"
        "\"removing_replicas\":{},\"version\":3}");
    topic.adding = adding;
    memset(&topic.id, 0, sizeof topic.id);
    znode_topic_encode(&topic, &text);
    assert_text(&text, "{\"partitions\":{\"0\":[2,1,3]},\"adding_replicas\":{\"0\":[3]},\"removing_"
                       "replicas\":{},\"version\":3}");

    struct partition_state partition = {.controller_epoch = 1, .leader = 2, .isr = {ids, 3}};
    znode_state_encode(&partition, &text);
    assert_text(&text,
                "{\"controller_epoch\":1,\"leader\":2,\"version\":1,\"leader_epoch\":0,\"isr\":[2,1,3]}");
    partition.is_recovering = true;
    znode_state_encode(&partition, &text);
    assert_text(&text,
                "{\"controller_epoch\":1,\"leader\":2,\"version\":1,\"leader_epoch\":0,\"isr\":[2,1,3],"
                "\"leader_recovery_state\":1}");

    znode_cluster_id_encode(SLICE("WZEKwK-b123oT3ZOSU0dgw"), &text);
    assert_text(&text, "{\"version\":\"1\",\"id\":\"WZEKwK-b123oT3ZOSU0dgw\"}");
    struct config_entry entries[] = {{SLICE("k"), SLICE("a\"b")}};
    znode_config_encode(entries, 1, &text);
    assert_text(&text, "{\"version\":1,\"config\":{\"k\":\"a\\\"b\"}}");
    znode_config_change_encode(SLICE("users/al%20ice/clients/c%2F1"), &text);
    assert_text(&text, "{\"version\":2,\"entity_path\":\"users/al%20ice/clients/c%2F1\"}");
    struct named_partition moved = {SLICE("t"), 0, {ids, 2}};
    znode_partitions_encode(&moved, 1, true, &text);
    assert_text(&text,
                "{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"replicas\":[2,1]}]}");
    znode_log_dir_event_encode(3, &text);
    assert_text(&text, "{\"version\":1,\"broker\":3,\"event\":1}");
    znode_producer_ids_encode(&(struct producer_id_block){3, 1000, 1999}, &text);
    assert_text(&text, "{\"version\":1,\"broker\":3,\"block_start\":\"1000\",\"block_end\":\"1999\"}");
}

static void what_cannot_be_is_named_by_path_and_field(void **state)
{
    (void)state;
    static const struct {
        char kind; /* b t s c e i k n p f g l */
        const char *data, *fault;
    } rows[] = {
        {'t', NULL, "/p/1: expected JSON, found null data"},
        {'t', "[]", "/p/1: expected an object, found an array"},
        {'t', "{\"version\":3}", "/p/1: partitions: expected an object, found nothing"},
        {'t', "{\"version\":3,\"partitions\":{\"0\":[\"x\"]}}",
         "/p/1: partitions.0[0]: expected a whole number, found a string"},
        {'t', "{\"version\":3,\"partitions\":{\"0\":[1,1]}}",
         "/p/1: partitions.0[1]: a broker is named twice"},
        {'t', "{\"version\":3,\"partitions\":{\"1\":[1]}}",
         "/p/1: partitions.1: partitions must be numbered from 0 without gaps"},
        {'t', "{\"version\":3,\"partitions\":{\"0\":[]}}",
         "/p/1: partitions.0: expected replicas, found none"},
        {'t', "{\"version\":3,\"partitions\":{},\"topic_id\":\"short\"}",
         "/p/1: topic_id: not 22 characters of URL-safe base64"},
        {'t', "{\"version\":0,\"partitions\":{}}", "/p/1: version: 0 is not between 1 and 100"},
        {'s', "{\"leader\":1,\"leader_epoch\":0,\"isr\":[1]}",
         "/p/1: controller_epoch: expected a whole number, found nothing"},
        {'s', "{\"controller_epoch\":1,\"leader\":-2,\"leader_epoch\":0,\"isr\":[1]}",
         "/p/1: leader: -2 is not between -1 and 2147483647"},
        {'s', "{\"controller_epoch\":1,\"leader\":1,\"leader_epoch\":99999999999,\"isr\":[1]}",
         "/p/1: leader_epoch: 99999999999 is not between 0 and 2147483647"},
        {'b', "{\"version\":5,\"endpoints\":[],\"timestamp\":\"1\"}",
         "/p/1: jmx_port: expected a whole number, found nothing"},
        {'b', "{\"version\":5,\"jmx_port\":-1,\"endpoints\":[\"nonsense\"]}",
         "/p/1: endpoints[0]: not LISTENER://host:port"},
        {'b', "{\"version\":5,\"jmx_port\":-1,\"endpoints\":[\"A://h:1\"]}",
         "/p/1: endpoints[0]: its listener has no known security protocol"},
        {'b', "{\"version\":5,\"jmx_port\":-1,\"timestamp\":\"soon\",\"endpoints\":[]}",
         "/p/1: timestamp: not a time in milliseconds"},
        {'k', "{\"version\":1,\"config\":{\"a\":1}}",
         "/p/1: config.a: expected a string, found a whole number"},
        {'k', "{\"version\":2,\"config\":{}}", "/p/1: version: 2 is not between 1 and 1"},
        {'n', "{\"version\":1,\"entity_type\":\"users\",\"entity_name\":\"u\"}",
         "/p/1: entity_type: version 1 knows topics and clients only"},
        {'p', "{\"version\":1,\"broker\":1,\"block_start\":0,\"block_end\":\"1\"}",
         "/p/1: block_start: expected a number in a string"},
        {'p', "{\"version\":1,\"broker\":1,\"block_start\":\"5\",\"block_end\":\"1\"}",
         "/p/1: block_end: lies before block_start"},
        {'f', "{\"version\":2,\"status\":1,\"features\":{\"x\":{\"max_version_level\":0}}}",
         "/p/1: max_version_level: 0 is not between 1 and 32767"},
        {'l', "{\"version\":1,\"partitions\":[7]}", "/p/1: partitions[0]: expected an object"},
        {'e', "1x", "/p/1: expected a number, found \"1x\""},
        {'c', "{}", "/p/1: brokerid: expected a whole number, found nothing"},
        {'i', "{\"version\":\"1\"}", "/p/1: id: expected a string, found nothing"},
        {'g', "{\"broker\":1,\"event\":2}", "/p/1: event: 2 is not between 1 and 1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena arena;
        struct znode_fault fault = {0};
        struct slice path = SLICE("/p/1"), data = slice_of(rows[i].data);
        union {
            struct broker_registration b;
            struct topic_assignment t;
            struct partition_state s;
            struct controller_owner c;
            struct feature_node f;
            struct producer_id_block p;
            int32_t number;
            struct slice text;
        } out;
        struct config_entry *entries;
        struct named_partition *partitions;
        size_t count;
        enum error err = OK;
        arena_init(&arena, 0);
        switch (rows[i].kind) {
        case 'b': err = znode_broker_decode(path, data, &arena, &out.b, &fault); break;
        case 't': err = znode_topic_decode(path, data, &arena, &out.t, &fault); break;
        case 's': err = znode_state_decode(path, data, &arena, &out.s, &fault); break;
        case 'c': err = znode_controller_decode(path, data, &out.c, &fault); break;
        case 'e': err = znode_epoch_decode(path, data, &out.number, &fault); break;
        case 'i': err = znode_cluster_id_decode(path, data, &arena, &out.text, &fault); break;
        case 'k': err = znode_config_decode(path, data, &arena, &entries, &count, &fault); break;
        case 'n': err = znode_config_change_decode(path, data, &arena, &out.text, &fault); break;
        case 'p': err = znode_producer_ids_decode(path, data, &out.p, &fault); break;
        case 'f': err = znode_feature_decode(path, data, &arena, &out.f, &fault); break;
        case 'g': err = znode_log_dir_event_decode(path, data, &out.number, &fault); break;
        case 'l':
            err = znode_partitions_decode(path, data, &arena, false, &partitions, &count, &fault);
            break;
        }
        if (err != ERR_CORRUPT || strcmp(fault.text, rows[i].fault) != 0)
            fail_msg("%s\n  gives %s: \"%s\"\n  want  \"%s\"", rows[i].data, error_name(err), fault.text,
                     rows[i].fault);
        arena_free(&arena);
    }
}

static void older_versions_and_other_orders_are_read(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct topic_assignment topic;
    struct slice path = SLICE("/brokers/ids/7");
    assert_int_equal(znode_topic_decode(path, SLICE("{\"version\":1,\"partitions\":{\"1\":[4],\"0\":[5]}}"),
                                        &arena, &topic, NULL),
                     OK);
    assert_int_equal(topic.replicas[1].items[0], 4);
    assert_true(uuid_is_zero(&topic.id));
    struct broker_registration broker;
    assert_int_equal(
        znode_broker_decode(path,
                            SLICE("{\"unknown\":[{}],\"version\":2,\"host\":\"h\",\"port\":1,\"jmx_port\":5,"
                                  "\"timestamp\":7,\"endpoints\":[\"SSL://[::1]:9\"],\"rack\":null}"),
                            &arena, &broker, NULL),
        OK);
    assert_int_equal(broker.id, 7);
    assert_true(slice_is(broker.endpoints[0].host, "::1"));
    assert_int_equal(broker.endpoints[0].security_protocol, 1);
    struct slice entity;
    assert_int_equal(znode_config_change_decode(
                         path, SLICE("{\"version\":1,\"entity_type\":\"topics\",\"entity_name\":\"t\"}"),
                         &arena, &entity, NULL),
                     OK);
    assert_true(slice_is(entity, "topics/t"));
    arena_free(&arena);
}

static void entity_names_are_escaped_as_kafka_does(void **state)
{
    (void)state;
    static const char *const rows[][2] = {{"al ice", "al%20ice"}, {"c/1", "c%2F1"},
                                          {"a*b~c", "a%2Ab~c"},   {"<default>", "<default>"},
                                          {"a<b", "a%3Cb"},       {"\xc3\xa4", "%C3%A4"}};
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct text text = {0};
        struct slice back;
        entity_name_encode(slice_of(rows[i][0]), &text);
        assert_string_equal(text.data, rows[i][1]);
        assert_int_equal(entity_name_decode(text_slice(&text), &arena, &back), OK);
        assert_true(slice_is(back, rows[i][0]));
        text_free(&text);
    }
    struct slice back;
    assert_int_equal(entity_name_decode(SLICE("%"), &arena, &back), ERR_CORRUPT);
    assert_int_equal(entity_name_decode(SLICE("a%2"), &arena, &back), ERR_CORRUPT);
    assert_int_equal(entity_name_decode(SLICE("%zz"), &arena, &back), ERR_CORRUPT);
    arena_free(&arena);
}

static struct int32_list random_ids(struct random *random, struct arena *arena)
{
    size_t count = 1 + random_below(random, 5);
    int32_t *ids = arena_array(arena, count, sizeof *ids);
    int32_t next = (int32_t)random_below(random, 100);
    for (size_t i = 0; i < count; i++) ids[i] = next += 1 + (int32_t)random_below(random, 1000000);
    return (struct int32_list){ids, count};
}

static void assert_ids(struct int32_list a, struct int32_list b)
{
    assert_int_equal(a.count, b.count);
    if (a.count) assert_memory_equal(a.items, b.items, a.count * sizeof *a.items);
}

static struct slice random_text(struct random *random, struct arena *arena)
{
    static const char *const pieces[] = {"a", "\"", "\\",  "\n",  "\xc3\xbc", "\xf0\x9f\x98\x80",
                                         "/", ".",  "x y", "\x01"};
    struct text text = {0};
    for (uint64_t n = random_below(random, 6) + 1; n > 0; n--)
        text_addz(&text, pieces[random_below(random, 10)]);
    struct slice copy = arena_copy(arena, text_slice(&text));
    text_free(&text);
    return copy;
}

/* What we write we read; what is damaged on the way is refused or read, and never kills. */
static void random_znodes_go_there_and_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct random random;
        struct arena arena;
        struct text text = {0};
        random_seed(&random, seed);
        arena_init(&arena, 0);
        size_t count = random_below(&random, 20);
        struct int32_list *lists = arena_zalloc(&arena, (3 * count + 1) * sizeof *lists);
        struct topic_assignment topic = {.replicas = lists,
                                         .adding = lists + count,
                                         .removing = lists + 2 * count,
                                         .partition_count = count},
                                topic_back;
        uint8_t bytes[16];
        do random_fill(&random, bytes, 16);
        while (!uuid_from_random(bytes, &topic.id));
        for (size_t i = 0; i < count; i++) {
            lists[i] = random_ids(&random, &arena);
            if (random_below(&random, 4) == 0) lists[count + i] = random_ids(&random, &arena);
        }
        znode_topic_encode(&topic, &text);
        assert_int_equal(znode_topic_decode(SLICE("/t"), text_slice(&text), &arena, &topic_back, NULL), OK);
        assert_int_equal(topic_back.partition_count, count);
        assert_true(uuid_equal(&topic_back.id, &topic.id));
        for (size_t i = 0; i < count; i++) {
            assert_ids(topic_back.replicas[i], topic.replicas[i]);
            assert_ids(topic_back.adding[i], topic.adding[i]);
        }
        for (int hit = 0; hit < 20; hit++) {
            struct text torn = {0};
            text_add(&torn, text_slice(&text));
            torn.data[random_below(&random, torn.size)] = (char)random_next(&random);
            struct slice cut = {(uint8_t *)torn.data,
                                random_below(&random, 3) ? torn.size : random_below(&random, torn.size)};
            struct znode_fault fault;
            enum error err = znode_topic_decode(SLICE("/t"), cut, &arena, &topic_back, &fault);
            assert_true(err == OK || err == ERR_CORRUPT);
            text_free(&torn);
        }
        text_reset(&text);

        struct config_entry entries[5], *back;
        size_t back_count;
        for (int i = 0; i < 5; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%d", i);
            entries[i] =
                (struct config_entry){arena_copy(&arena, slice_of(key)), random_text(&random, &arena)};
        }
        znode_config_encode(entries, 5, &text);
        assert_int_equal(
            znode_config_decode(SLICE("/c"), text_slice(&text), &arena, &back, &back_count, NULL), OK);
        assert_int_equal(back_count, 5);
        for (int i = 0; i < 5; i++) assert_true(slice_equal(back[i].value, entries[i].value));
        text_reset(&text);

        struct partition_state partition = {(int32_t)random_below(&random, INT32_MAX),
                                            (int32_t)random_below(&random, 100) - 1,
                                            (int32_t)random_below(&random, INT32_MAX),
                                            random_ids(&random, &arena), random_below(&random, 2)},
                               partition_back;
        znode_state_encode(&partition, &text);
        assert_int_equal(znode_state_decode(SLICE("/s"), text_slice(&text), &arena, &partition_back, NULL),
                         OK);
        assert_ids(partition_back.isr, partition.isr);
        assert_int_equal(partition_back.leader_epoch, partition.leader_epoch);
        assert_int_equal(partition_back.is_recovering, partition.is_recovering);
        text_free(&text);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_znode_reads_as_apache_writes_it),
        cmocka_unit_test(what_cannot_be_is_named_by_path_and_field),
        cmocka_unit_test(older_versions_and_other_orders_are_read),
        cmocka_unit_test(entity_names_are_escaped_as_kafka_does),
        cmocka_unit_test(random_znodes_go_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
