/* Configs and features by watches, over a keeper that is a map; images on their way to other loops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/diag.h"
#include "base/list.h"
#include "coord/fake_keeper.h"
#include "loop/loop.h"
#include "metadata/metadata.h"

struct world {
    struct fake_keeper *fake;
    struct coord *coord;
    struct metadata *metadata;
    struct config_watch *watch;
    int loaded;
};

static void no_diag(void *context, enum diag_level level, const char *message)
{
    (void)context;
    (void)level;
    (void)message;
}

static int64_t wall_ms(void *context)
{
    return FAKE_KEEPER_EPOCH_MS + fake_keeper_now_ms(((struct world *)context)->fake);
}

static void on_loaded(void *context)
{
    ((struct world *)context)->loaded++;
}

static void put(struct world *w, const char *path, const char *data)
{
    fake_keeper_put(w->fake, path, slice_of(data), 0);
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof *w);
    diag_set_sink(no_diag, NULL);
    w->fake = fake_keeper_new();
    static const char *const folders[] = {"/config/changes", "/config/topics",  "/config/brokers",
                                          "/config/users",   "/config/clients", "/config/ips"};
    for (int i = 0; i < 6; i++) fake_keeper_put(w->fake, folders[i], SLICE_NULL, 0);
    w->coord = fake_keeper_coord(w->fake, NULL, 0);
    assert_int_equal(metadata_new(NULL, SLICE("c"), &w->metadata), OK);
    return w;
}

static void begin(struct world *w)
{
    assert_int_equal(config_watch_new(w->coord, w->metadata, wall_ms, on_loaded, w, &w->watch), OK);
}

static void world_free(struct world *w)
{
    config_watch_free(&w->watch);
    coord_close(&w->coord);
    metadata_free(&w->metadata);
    fake_keeper_free(w->fake);
    diag_set_sink(NULL, NULL);
    free(w);
}

/* "": known and not set; "?": not known. */
static const char *value(struct world *w, enum config_type type, const char *name, const char *key)
{
    static char text[64];
    const struct image_config *config = image_config(metadata_image(w->metadata), type, slice_of(name));
    if (!config) return "?";
    slice_text(image_config_value(config, slice_of(key)), text, sizeof text);
    return text;
}

static void everything_is_read_at_the_start(void **state)
{
    (void)state;
    struct world *w = world_new();
    put(w, "/config/topics/t", "{\"version\":1,\"config\":{\"a\":\"1\"}}");
    put(w, "/config/topics/broken", "{\"version\":1,\"config\":{\"a\":1}}");
    put(w, "/config/brokers/<default>", "{\"version\":1,\"config\":{\"b\":\"2\"}}");
    put(w, "/config/users/al%20ice", "{\"version\":1,\"config\":{\"c\":\"3\"}}");
    put(w, "/feature",
        "{\"version\":2,\"status\":1,\"features\":{\"group.version\":{\"max_version_level\":1}}}");
    put(w, "/config/changes/config_change_0000000007", "not json");
    begin(w);
    fake_keeper_advance(w->fake, 1);
    assert_int_equal(w->loaded, 1);
    assert_string_equal(value(w, CONFIG_TOPIC, "t", "a"), "1");
    assert_string_equal(value(w, CONFIG_TOPIC, "broken", "a"), "");
    assert_string_equal(value(w, CONFIG_BROKER, "<default>", "b"), "2");
    assert_string_equal(value(w, CONFIG_USER, "al ice", "c"), "3");
    assert_int_equal(image_feature_epoch(metadata_image(w->metadata)), 0);
    world_free(w);
}

static void notices_bring_changes_in_their_order(void **state)
{
    (void)state;
    struct world *w = world_new();
    begin(w);
    fake_keeper_advance(w->fake, 1);
    static const struct {
        const char *notice, *path, *data;
        enum config_type type;
        const char *name, *want;
    } rows[] = {
        {"{\"version\":2,\"entity_path\":\"topics/t\"}", "/config/topics/t",
         "{\"version\":1,\"config\":{\"k\":\"1\"}}", CONFIG_TOPIC, "t", "1"},
        {"{\"version\":1,\"entity_type\":\"topics\",\"entity_name\":\"t\"}", "/config/topics/t",
         "{\"version\":1,\"config\":{\"k\":\"2\"}}", CONFIG_TOPIC, "t", "2"},
        {"nonsense", "/config/topics/u", "{\"version\":1,\"config\":{\"k\":\"3\"}}", CONFIG_TOPIC, "u", "?"},
        {"{\"version\":2,\"entity_path\":\"moons/t\"}", "/config/topics/t",
         "{\"version\":1,\"config\":{\"k\":\"4\"}}", CONFIG_TOPIC, "t", "2"},
        {"{\"version\":2,\"entity_path\":\"brokers/<default>\"}", "/config/brokers/<default>",
         "{\"version\":1,\"config\":{\"k\":\"5\"}}", CONFIG_BROKER, "<default>", "5"},
        {"{\"version\":2,\"entity_path\":\"users/u/clients/c\"}", "/config/users/u/clients/c", "{}",
         CONFIG_USER, "u", "?"},
        {"{\"version\":2,\"entity_path\":\"topics/t\"}", "/config/topics/t", "{\"version\":1,\"config\":{}}",
         CONFIG_TOPIC, "t", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char notice[80];
        snprintf(notice, sizeof notice, "/config/changes/config_change_%010zu", i);
        put(w, rows[i].path, rows[i].data);
        put(w, notice, rows[i].notice);
        fake_keeper_advance(w->fake, 1);
        assert_string_equal(value(w, rows[i].type, rows[i].name, "k"), rows[i].want);
    }
    /* An entity that is gone is forgotten. */
    fake_keeper_remove(w->fake, "/config/brokers/<default>");
    put(w, "/config/changes/config_change_0000000099",
        "{\"version\":2,\"entity_path\":\"brokers/<default>\"}");
    fake_keeper_advance(w->fake, 1);
    assert_string_equal(value(w, CONFIG_BROKER, "<default>", "k"), "?");
    world_free(w);
}

static void nothing_is_missed_across_sessions(void **state)
{
    (void)state;
    struct world *w = world_new();
    put(w, "/config/brokers/1", "{\"version\":1,\"config\":{\"k\":\"1\"}}");
    put(w, "/config/brokers/2", "{\"version\":1,\"config\":{\"k\":\"1\"}}");
    begin(w);
    for (int i = 0; i < 7; i++) fake_keeper_step(w->fake);
    coord_door_tick(w->coord);
    for (int i = 0; i < 7; i++) fake_keeper_step(w->fake);
    fake_keeper_expire(w->fake, coord_session_id(w->coord)); /* in the middle of loading */
    assert_int_equal(w->loaded, 0);
    fake_keeper_advance(w->fake, 3000);
    assert_int_equal(w->loaded, 1);
    assert_string_equal(value(w, CONFIG_BROKER, "1", "k"), "1");
    /* Changed and removed while we had no session: what is read anew says so. */
    fake_keeper_refuse(w->fake, true);
    fake_keeper_expire(w->fake, coord_session_id(w->coord));
    put(w, "/config/brokers/1", "{\"version\":1,\"config\":{\"k\":\"2\"}}");
    fake_keeper_remove(w->fake, "/config/brokers/2");
    put(w, "/feature", "{\"version\":2,\"status\":1,\"features\":{}}");
    fake_keeper_advance(w->fake, 1000);
    fake_keeper_refuse(w->fake, false);
    fake_keeper_advance(w->fake, 3000);
    assert_string_equal(value(w, CONFIG_BROKER, "1", "k"), "2");
    assert_string_equal(value(w, CONFIG_BROKER, "2", "k"), "?");
    assert_int_equal(image_feature_epoch(metadata_image(w->metadata)), 0);
    fake_keeper_remove(w->fake, "/feature");
    fake_keeper_advance(w->fake, 1);
    assert_int_equal(image_feature_epoch(metadata_image(w->metadata)), -1);
    world_free(w);
}

static void count_done(void *context)
{
    ++*(int *)context;
}

static void needed_topics_are_known_before_anybody_goes_on(void **state)
{
    (void)state;
    struct world *w = world_new();
    int done = 0;
    begin(w);
    fake_keeper_advance(w->fake, 1);
    put(w, "/config/topics/a", "{\"version\":1,\"config\":{\"k\":\"1\"}}");
    struct slice names[] = {SLICE("a"), SLICE("absent")};
    config_watch_need_topics(w->watch, names, 2, count_done, &done);
    assert_int_equal(done, 0);
    fake_keeper_expire(w->fake, coord_session_id(w->coord)); /* asked again by the next session */
    fake_keeper_advance(w->fake, 3000);
    assert_int_equal(done, 1);
    assert_string_equal(value(w, CONFIG_TOPIC, "a", "k"), "1");
    assert_string_equal(value(w, CONFIG_TOPIC, "absent", "k"), "");
    config_watch_need_topics(w->watch, names, 2, count_done, &done);
    assert_int_equal(done, 2); /* known: at once */
    world_free(w);
}

/* --- images on other loops --- */

enum { READERS = 3, IMAGES = 2000 };

struct reader {
    struct loop *loop;
    struct metadata_view *view;
    int64_t last;
    bool is_wrong;
};

struct hop {
    struct loop_message message;
    struct loop *home;
    int *left;
    struct reader *reader;
    int64_t want;
};

static void on_image(void *context, const struct image *old, const struct image *image)
{
    struct reader *reader = context;
    if (image_version(image) <= image_version(old) || image_version(old) != reader->last)
        reader->is_wrong = true;
    reader->last = image_version(image);
    if (image_topic_count(image) != (size_t)(image_version(image) - 1)) reader->is_wrong = true;
}

static void hop_back(struct loop_message *message)
{
    struct hop *hop = CONTAINER_OF(message, struct hop, message);
    if (--*hop->left == 0) loop_stop(hop->home);
}

/* What is posted after an image finds it there. */
static void hop_there(struct loop_message *message)
{
    struct hop *hop = CONTAINER_OF(message, struct hop, message);
    if (image_version(metadata_view_image(hop->reader->view)) < hop->want) hop->reader->is_wrong = true;
    hop->message.run = hop_back;
    loop_post(hop->home, &hop->message);
}

struct publisher {
    struct loop_message message;
    struct loop *home;
    struct metadata *metadata;
    struct reader *readers;
    struct hop *hops;
    int left;
    int count;
};

static void publish_next(struct loop_message *message)
{
    struct publisher *p = CONTAINER_OF(message, struct publisher, message);
    struct image_builder *builder = NULL;
    char name[16];
    struct uuid id = {{0}};
    put_be32(id.bytes, (uint32_t)p->count + 1);
    snprintf(name, sizeof name, "t%d", p->count);
    if (image_builder_new(metadata_image(p->metadata), &builder) != OK ||
        image_builder_partition(builder, slice_of(name), &id, &(struct image_partition){0}) != OK)
        abort();
    metadata_publish(p->metadata, image_builder_finish(&builder));
    for (int r = 0; r < READERS; r++) {
        struct hop *hop = &p->hops[p->count * READERS + r];
        *hop = (struct hop){
            {NULL, hop_there}, p->home, &p->left, &p->readers[r], image_version(metadata_image(p->metadata))};
        loop_post(p->readers[r].loop, &hop->message);
    }
    if (++p->count < IMAGES) loop_post(p->home, &p->message);
}

static void images_reach_every_loop_in_order(void **state)
{
    (void)state;
    struct descriptors *descriptors = descriptors_new(0);
    struct loop *home;
    struct reader readers[READERS] = {0};
    struct publisher publisher = {.message.run = publish_next, .readers = readers, .left = READERS * IMAGES};
    assert_int_equal(loop_new(descriptors, &home), OK);
    assert_int_equal(metadata_new(home, SLICE("c"), &publisher.metadata), OK);
    publisher.home = home;
    publisher.hops = calloc((size_t)READERS * IMAGES, sizeof *publisher.hops);
    for (int r = 0; r < READERS; r++) {
        readers[r].last = 1;
        assert_int_equal(loop_new(descriptors, &readers[r].loop), OK);
        assert_int_equal(
            metadata_view_open(publisher.metadata, readers[r].loop, on_image, &readers[r], &readers[r].view),
            OK);
        assert_int_equal(loop_start_thread(readers[r].loop, "reader"), OK);
    }
    loop_post(home, &publisher.message);
    loop_run(home);
    for (int r = 0; r < READERS; r++) {
        loop_stop(readers[r].loop);
        loop_join(readers[r].loop);
        assert_false(readers[r].is_wrong);
        assert_int_equal(image_version(metadata_view_image(readers[r].view)), IMAGES + 1);
        metadata_view_close(publisher.metadata, &readers[r].view);
        loop_free(readers[r].loop);
    }
    metadata_free(&publisher.metadata);
    free(publisher.hops);
    loop_free(home);
    descriptors_free(descriptors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_read_at_the_start),
        cmocka_unit_test(notices_bring_changes_in_their_order),
        cmocka_unit_test(nothing_is_missed_across_sessions),
        cmocka_unit_test(needed_topics_are_known_before_anybody_goes_on),
        cmocka_unit_test(images_reach_every_loop_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
