/* The tree against a sorted array, the image against a plain table, and sharing: old images stay as they were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/random.h"
#include "metadata/metadata.h"
#include "metadata/tree.h"
#include "wire/messages.h"

/* --- tree --- */

struct value {
    int references;
    char key[8];
};

static void value_retain(void *value)
{
    ((struct value *)value)->references++;
}

static void value_release(void *value)
{
    if (--((struct value *)value)->references == 0) free(value);
}

static const struct tree_kind kind = {value_retain, value_release};

enum { KEYS = 100, VERSIONS = 8 };

struct plain {
    struct value *at[KEYS];
};

static void key_of(int number, char key[8])
{
    snprintf(key, 8, "k%02d", number);
}

static void compare(const struct tree_node *root, const struct plain *plain, uint64_t seed)
{
    char key[8];
    struct value *found = tree_next(root, SLICE_NULL, false);
    for (int i = 0; i < KEYS; i++) {
        key_of(i, key);
        if (tree_get(root, slice_of(key)) != plain->at[i])
            fail_msg("seed %llu: get %s", (unsigned long long)seed, key);
        struct value *next = plain->at[i];
        for (int j = i; j < KEYS && !next; j++) next = plain->at[j];
        if (tree_next(root, slice_of(key), false) != next)
            fail_msg("seed %llu: next of %s", (unsigned long long)seed, key);
        if (!plain->at[i]) continue;
        if (found != plain->at[i]) fail_msg("seed %llu: order at %s", (unsigned long long)seed, key);
        found = tree_next(root, slice_of(found->key), true);
    }
    assert_null(found);
}

static void old_trees_stay_as_they_were(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct tree_node *roots[VERSIONS] = {0};
        struct plain plains[VERSIONS] = {0};
        for (int turn = 0; turn < 400; turn++) {
            int at = (int)random_below(&random, VERSIONS);
            if (random_below(&random, 10) == 0) { /* a copy of another version */
                int from = (int)random_below(&random, VERSIONS);
                struct tree_node *copy = tree_retain(roots[from]);
                tree_release(&roots[at], &kind);
                roots[at] = copy;
                plains[at] = plains[from];
                continue;
            }
            int number = (int)random_below(&random, KEYS);
            char key[8];
            key_of(number, key);
            if (random_below(&random, 3) == 0) {
                assert_int_equal(tree_remove(&roots[at], &kind, slice_of(key)), OK);
                plains[at].at[number] = NULL;
                continue;
            }
            struct value *value = calloc(1, sizeof *value);
            value->references = 1;
            memcpy(value->key, key, sizeof key);
            assert_int_equal(tree_put(&roots[at], &kind, slice_of(value->key), value), OK);
            plains[at].at[number] = value;
            value_release(value);
        }
        for (int i = 0; i < VERSIONS; i++) compare(roots[i], &plains[i], seed);
        for (int i = 0; i < VERSIONS; i++)
            tree_release(&roots[i], &kind); /* leaks are the sanitizer's to find */
    }
}

static int depth_of(const struct tree_node *node)
{
    if (!node) return 0;
    int left = depth_of(node->left), right = depth_of(node->right);
    return 1 + (left > right ? left : right);
}

static void a_tree_of_sorted_keys_is_not_deep(void **state)
{
    (void)state;
    struct tree_node *root = NULL;
    for (int i = 0; i < 20000; i++) {
        struct value *value = calloc(1, sizeof *value);
        value->references = 1;
        snprintf(value->key, sizeof value->key, "%06d", i);
        assert_int_equal(tree_put(&root, &kind, slice_of(value->key), value), OK);
        value_release(value);
    }
    assert_in_range(depth_of(root), 14, 60);
    tree_release(&root, &kind);
}

/* --- images --- */

static struct image *changed(const struct image *old, const char *topic, const struct uuid *id, int32_t index,
                             int32_t leader, int32_t epoch)
{
    struct image_builder *builder = NULL;
    int32_t replicas[] = {1, 2, 3};
    struct image_partition partition = {.index = index,
                                        .leader = leader,
                                        .leader_epoch = epoch,
                                        .replica_count = 3,
                                        .isr_count = 2,
                                        .offline_count = 1,
                                        .replicas = replicas,
                                        .isr = replicas,
                                        .offline = replicas + 2};
    assert_int_equal(image_builder_new(old, &builder), OK);
    assert_int_equal(image_builder_partition(builder, slice_of(topic), id, &partition), OK);
    return image_builder_finish(&builder);
}

static struct uuid id_of(int number)
{
    struct uuid id = {{0}};
    put_be32(id.bytes, (uint32_t)number + 1);
    return id;
}

static void an_image_shares_what_did_not_change(void **state)
{
    (void)state;
    struct uuid a = id_of(0), b = id_of(1);
    struct image *first = changed(NULL, "a", &a, 0, 1, 0);
    struct image *second = changed(first, "b", &b, 1, 2, 5);
    struct image *third = changed(second, "a", &a, 1, 3, 7);
    assert_ptr_equal(image_topic(second, SLICE("a")), image_topic(first, SLICE("a")));
    assert_ptr_equal(image_topic(third, SLICE("b")), image_topic(second, SLICE("b")));
    assert_ptr_equal(image_partition(third, SLICE("a"), 0), image_partition(first, SLICE("a"), 0));
    assert_null(image_partition(second, SLICE("a"), 1));
    assert_null(image_partition(second, SLICE("b"), 0)); /* only told of the other one */
    assert_int_equal(image_partition(third, SLICE("a"), 1)->leader_epoch, 7);
    assert_int_equal(image_partition(third, SLICE("a"), 1)->offline[0], 3);
    assert_int_equal(image_topic_count(third), 2);
    assert_int_equal(image_partition_count(third), 3);
    assert_int_equal(image_version(third), 3);
    assert_null(image_partition(third, SLICE("a"), -1));
    assert_null(image_partition(third, SLICE("a"), 2));
    assert_ptr_equal(image_topic_by_id(third, &b), image_topic(third, SLICE("b")));

    /* Deleted and made again under another id, and we missed the deletion. */
    struct uuid c = id_of(2);
    struct image *fourth = changed(third, "a", &c, 0, 1, 0);
    assert_null(image_topic_by_id(fourth, &a));
    assert_int_equal(image_topic(fourth, SLICE("a"))->partition_count, 1);
    assert_int_equal(image_partition_count(fourth), 2);
    struct image *fifth = changed(fourth, "a", &c, 0, IMAGE_LEADER_DELETED, 0);
    assert_null(image_topic(fifth, SLICE("a")));
    assert_null(image_topic_by_id(fifth, &c));
    assert_int_equal(image_topic_count(fifth), 1);
    struct image **all[] = {&first, &third, &fifth, &second, &fourth};
    for (int i = 0; i < 5; i++) image_release(all[i]);
}

static void damaged_partitions_are_refused(void **state)
{
    (void)state;
    struct image_builder *builder = NULL;
    struct uuid id = id_of(0);
    struct image_partition bad[] = {
        {.index = -1}, {.index = INT32_MAX}, {.replica_count = -1}, {.isr_count = INT32_MAX}};
    assert_int_equal(image_builder_new(NULL, &builder), OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(image_builder_partition(builder, SLICE("t"), &id, &bad[i]), ERR_CORRUPT);

    /* Far indexes cost a place for each one below: of all topics together there is a limit. */
    struct image_partition far = {.index = 3 << 20}, near = {.index = 1};
    struct uuid other = id_of(1), third = id_of(2);
    assert_int_equal(image_builder_partition(builder, SLICE("t"), &id, &far), OK);
    assert_int_equal(image_builder_partition(builder, SLICE("u"), &other, &far), ERR_CORRUPT);
    assert_int_equal(image_builder_partition(builder, SLICE("t"), &id, &near), OK);
    far.leader = IMAGE_LEADER_DELETED;
    near.leader = IMAGE_LEADER_DELETED;
    assert_int_equal(image_builder_partition(builder, SLICE("t"), &id, &far), OK);
    assert_int_equal(image_builder_partition(builder, SLICE("t"), &id, &near), OK);
    far.leader = 1;
    assert_int_equal(image_builder_partition(builder, SLICE("u"), &other, &far), OK);

    /* Whoever looks for an id finds one topic. */
    near.leader = 1;
    assert_int_equal(image_builder_partition(builder, SLICE("v"), &other, &near), ERR_CORRUPT);
    assert_int_equal(image_builder_partition(builder, SLICE("v"), &third, &near), OK);
    assert_int_equal(image_builder_partition(builder, SLICE("u"), &third, &near), ERR_CORRUPT);

    struct update_metadata_request_update_metadata_broker brokers[] = {{.id = 7}, {.id = 3}, {.id = 7}};
    struct update_metadata_request request;
    update_metadata_request_init(&request);
    request.live_brokers.items = brokers;
    request.live_brokers.count = 3;
    assert_int_equal(image_builder_update(builder, &request), ERR_CORRUPT);
    image_builder_drop(&builder);
}

enum { TOPICS = 12, PARTITIONS = 4 };

static void random_updates_agree_with_a_table(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct random random;
        random_seed(&random, seed);
        int leader[TOPICS][PARTITIONS]; /* -2 = not there */
        int made[TOPICS] = {0};         /* how often; each time it has another id */
        for (int t = 0; t < TOPICS; t++)
            for (int p = 0; p < PARTITIONS; p++) leader[t][p] = -2;
        struct metadata *metadata;
        assert_int_equal(metadata_new(NULL, SLICE("c"), &metadata), OK);
        for (int turn = 0; turn < 60; turn++) {
            struct update_metadata_request request;
            update_metadata_request_init(&request);
            struct update_metadata_request_update_metadata_topic_state topics[3] = {0};
            struct update_metadata_request_update_metadata_partition_state partitions[3][2] = {0};
            char names[3][8];
            int32_t ids[] = {1, 2};
            for (int i = 0; i < 3; i++) {
                int t = (int)random_below(&random, TOPICS);
                snprintf(names[i], sizeof names[i], "t%d", t);
                topics[i].topic_name = slice_of(names[i]);
                topics[i].topic_id = id_of(t + TOPICS * made[t]);
                topics[i].partition_states.items = partitions[i];
                topics[i].partition_states.count = 2;
                bool is_gone = random_below(&random, 3) == 0;
                for (int k = 0; k < 2; k++) {
                    int p = (int)random_below(&random, PARTITIONS),
                        l = is_gone ? -2 : (int)random_below(&random, 5) - 1;
                    partitions[i][k].partition_index = p;
                    partitions[i][k].leader = l;
                    partitions[i][k].replicas.items = ids;
                    partitions[i][k].replicas.count = 2;
                    leader[t][p] = l;
                }
            }
            request.topic_states.items = topics;
            request.topic_states.count = 3;
            assert_int_equal(metadata_apply_update(metadata, &request), OK);
            for (int i = 0; i < 3; i++) {
                int t = (int)strtol(names[i] + 1, NULL, 10);
                struct uuid id = id_of(t + TOPICS * made[t]);
                made[t] += !image_topic_by_id(metadata_image(metadata), &id);
            }
        }
        const struct image *image = metadata_image(metadata);
        size_t topic_count = 0;
        int64_t partition_count = 0;
        for (int t = 0; t < TOPICS; t++) {
            char name[8];
            snprintf(name, sizeof name, "t%d", t);
            struct uuid id = id_of(t + TOPICS * made[t]);
            const struct image_topic *topic = image_topic(image, slice_of(name));
            assert_ptr_equal(topic, image_topic_by_id(image, &id));
            int known = 0;
            for (int p = 0; p < PARTITIONS; p++) {
                const struct image_partition *partition = image_topic_partition(topic, p);
                int got = partition ? partition->leader : -2;
                if (got != leader[t][p]) fail_msg("seed %llu: %s-%d", (unsigned long long)seed, name, p);
                known += got != -2;
            }
            assert_int_equal(topic != NULL, known > 0);
            topic_count += known > 0;
            partition_count += known;
        }
        assert_int_equal(image_topic_count(image), topic_count);
        assert_int_equal(image_partition_count(image), partition_count);
        size_t walked = 0;
        struct slice last = SLICE_NULL;
        for (const struct image_topic *t = image_next_topic(image, SLICE_NULL, false); t;
             t = image_next_topic(image, t->name, true)) {
            assert_true(slice_compare(last, t->name) < 0);
            last = t->name;
            walked++;
        }
        assert_int_equal(walked, topic_count);
        metadata_free(&metadata);
    }
}

static void brokers_configs_and_features_are_looked_up(void **state)
{
    (void)state;
    struct image_builder *builder = NULL;
    struct update_metadata_request request;
    update_metadata_request_init(&request);
    struct update_metadata_request_update_metadata_endpoint ends[] = {
        {.host = SLICE("h"), .listener = SLICE("INTERNAL"), .port = 9},
        {.host = SLICE("x"), .listener = SLICE("EXTERNAL"), .port = 10}};
    struct update_metadata_request_update_metadata_broker brokers[] = {
        {.id = 7, .endpoints = {ends, 2}, .rack = SLICE("r")},
        {.id = 3, .endpoints = {ends, 1}, .rack = SLICE_NULL}};
    request.live_brokers.items = brokers;
    request.live_brokers.count = 2;
    request.controller_id = 3;
    struct config_entry entries[] = {
        {SLICE("b"), SLICE("1")}, {SLICE("a"), SLICE("2")}, {SLICE("b"), SLICE("3")}};
    struct image_feature feature = {SLICE("group.version"), 1, 1};
    assert_int_equal(image_builder_new(NULL, &builder), OK);
    assert_int_equal(image_builder_update(builder, &request), OK);
    assert_int_equal(image_builder_config(builder, CONFIG_TOPIC, SLICE("t"), entries, 3), OK);
    assert_int_equal(image_builder_config(builder, CONFIG_BROKER, SLICE(CONFIG_DEFAULT_ENTITY), entries, 1),
                     OK);
    assert_int_equal(image_builder_features(builder, 4, &feature, 1), OK);
    struct image *image = image_builder_finish(&builder);
    assert_int_equal(image_broker_at(image, 0)->id, 3);
    assert_null(image_broker(image, 4));
    assert_null(image_broker(image, 3)->rack.data);
    assert_int_equal(image_broker_endpoint(image_broker(image, 7), SLICE("EXTERNAL"))->port, 10);
    assert_null(image_broker_endpoint(image_broker(image, 3), SLICE("EXTERNAL")));
    const struct image_config *config = image_config(image, CONFIG_TOPIC, SLICE("t"));
    assert_int_equal(config->entry_count, 2);
    assert_true(slice_is(image_config_value(config, SLICE("b")), "3")); /* the last wins */
    assert_null(image_config_value(config, SLICE("c")).data);
    assert_null(image_config(image, CONFIG_USER, SLICE("t")));
    assert_null(image_config(image, CONFIG_TOPIC, SLICE("")));
    assert_non_null(image_next_config(image, CONFIG_BROKER, SLICE_NULL, false));
    assert_int_equal(image_feature_epoch(image), 4);

    /* The same again leaves the pointers, so that who compares them sees no change. */
    struct image_builder *again = NULL;
    assert_int_equal(image_builder_new(image, &again), OK);
    assert_int_equal(image_builder_update(again, &request), OK);
    assert_int_equal(image_builder_config(again, CONFIG_TOPIC, SLICE("t"), entries, 3), OK);
    struct image *same = image_builder_finish(&again);
    assert_ptr_equal(image_config(same, CONFIG_TOPIC, SLICE("t")), config);
    assert_ptr_equal(image_broker(same, 7), image_broker(image, 7));
    image_release(&image);
    assert_true(slice_is(image_broker(same, 7)->rack, "r"));
    image_release(&same);
}

static void tell_of(struct metadata *metadata, int64_t broker_epoch, const char *names)
{
    struct update_metadata_request request;
    update_metadata_request_init(&request);
    struct update_metadata_request_update_metadata_topic_state topics[4] = {0};
    struct update_metadata_request_update_metadata_partition_state partition = {.leader = 1};
    request.broker_epoch = broker_epoch;
    request.topic_states.items = topics;
    request.topic_states.count = 0;
    for (; *names; names++) {
        struct update_metadata_request_update_metadata_topic_state *topic =
            &topics[request.topic_states.count++];
        *topic = (struct update_metadata_request_update_metadata_topic_state){
            .topic_name = {(const uint8_t *)names, 1}, .topic_id = id_of(*names)};
        topic->partition_states.items = &partition;
        topic->partition_states.count = 1;
    }
    assert_int_equal(metadata_apply_update(metadata, &request), OK);
}

static void a_new_registration_is_told_everything_at_first(void **state)
{
    (void)state;
    static const struct {
        int64_t broker_epoch;
        const char *told, *known;
    } rows[] = {
        {5, "ab", "ab"}, {5, "c", "abc"},   {7, "", "abc"}, /* brokers only: a fail-over begins so */
        {7, "bc", "bc"},                                    /* deleted while we were away: a */
        {7, "d", "bcd"}, {-1, "e", "bcde"}, {7, "", "bcde"}, {6, "a", "abcde"}, {9, "ef", "ef"},
    };
    struct metadata *metadata;
    assert_int_equal(metadata_new(NULL, SLICE("c"), &metadata), OK);
    tell_of(metadata, 5, "");
    assert_false(image_is_whole(metadata_image(metadata))); /* what it lacks may just not be known */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tell_of(metadata, rows[i].broker_epoch, rows[i].told);
        assert_true(image_is_whole(metadata_image(metadata)));
        const struct image *image = metadata_image(metadata);
        assert_int_equal(image_topic_count(image), strlen(rows[i].known));
        for (const char *name = rows[i].known; *name; name++)
            assert_non_null(image_topic(image, (struct slice){(const uint8_t *)name, 1}));
    }
    metadata_free(&metadata);
}

static void tell_state(struct metadata *metadata, uint8_t id, int32_t leader, int32_t zk_version)
{
    struct update_metadata_request request;
    update_metadata_request_init(&request);
    struct update_metadata_request_update_metadata_partition_state partition = {.leader = leader,
                                                                                .zk_version = zk_version};
    struct update_metadata_request_update_metadata_topic_state topic = {.topic_name = SLICE("t"),
                                                                        .topic_id = id_of(id)};
    topic.partition_states.items = &partition;
    topic.partition_states.count = 1;
    request.topic_states.items = &topic;
    request.topic_states.count = 1;
    assert_int_equal(metadata_apply_update(metadata, &request), OK);
}

/* Each row may come a second time, at last, over a connection that the controller had given up. */
static void what_was_overtaken_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        uint8_t id;
        int32_t leader, zk_version, seen; /* seen: the leader that clients are told; -2 no such topic */
    } rows[] = {{1, 1, 0, 1},  {1, 2, 1, 2}, {1, 1, 0, 2}, {1, 3, 1, 3},   {1, -2, 2, -2}, {1, 3, 1, -2},
                {1, 1, 0, -2}, {2, 4, 0, 4}, {1, 1, 0, 4}, {2, -2, 1, -2}, {2, -2, 1, -2}, {2, 4, 0, -2}};
    struct metadata *metadata;
    assert_int_equal(metadata_new(NULL, SLICE("c"), &metadata), OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tell_state(metadata, rows[i].id, rows[i].leader, rows[i].zk_version);
        const struct image_topic *topic = image_topic(metadata_image(metadata), SLICE("t"));
        assert_int_equal(topic ? topic->partitions[0]->leader : -2, rows[i].seen);
    }
    metadata_free(&metadata);
}

static void the_topics_deleted_last_are_remembered(void **state)
{
    (void)state;
    enum { DELETED = 200, REMEMBERED = 128 };
    struct metadata *metadata;
    assert_int_equal(metadata_new(NULL, SLICE("c"), &metadata), OK);
    for (int i = 1; i <= DELETED; i++) {
        tell_state(metadata, (uint8_t)i, 1, 0);
        tell_state(metadata, (uint8_t)i, -2, 1);
        tell_state(metadata, (uint8_t)i, -2, 1); /* again: no other is forgotten for it */
    }
    for (int i = 0; i <= DELETED + 1; i++) {
        struct uuid id = id_of(i);
        assert_int_equal(metadata_is_gone(metadata, &id), i > DELETED - REMEMBERED && i <= DELETED);
    }
    metadata_free(&metadata);
}

static void a_deposed_controller_is_not_obeyed(void **state)
{
    (void)state;
    struct metadata *metadata;
    assert_int_equal(metadata_new(NULL, SLICE("c"), &metadata), OK);
    metadata_set_broker_epoch(metadata, 50);
    assert_int_equal(metadata_obey(metadata, 3, -1), OK);
    assert_int_equal(metadata_obey(metadata, 3, 50), OK);
    assert_int_equal(metadata_obey(metadata, 4, 49), ERR_STALE_BROKER_EPOCH);
    assert_int_equal(metadata_obey(metadata, 4, 51), OK); /* it may know our registration first */
    assert_int_equal(metadata_obey(metadata, 3, 51), ERR_STALE_CONTROLLER_EPOCH);
    metadata_free(&metadata);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_trees_stay_as_they_were),
        cmocka_unit_test(a_tree_of_sorted_keys_is_not_deep),
        cmocka_unit_test(an_image_shares_what_did_not_change),
        cmocka_unit_test(damaged_partitions_are_refused),
        cmocka_unit_test(random_updates_agree_with_a_table),
        cmocka_unit_test(brokers_configs_and_features_are_looked_up),
        cmocka_unit_test(a_new_registration_is_told_everything_at_first),
        cmocka_unit_test(what_was_overtaken_changes_nothing),
        cmocka_unit_test(the_topics_deleted_last_are_remembered),
        cmocka_unit_test(a_deposed_controller_is_not_obeyed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
