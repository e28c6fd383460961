/* replicas_test.c: the controller's word on partitions of three loops, two of them threads: homes, tables, roles, refusals,
 * deletion, the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/diag.h"
#include "loop/loop.h"
#include "metadata/metadata.h"
#include "replica/partition_state.h"
#include "replica/replicas.h"
#include "wire/messages.h"

enum { SELF = 1, LOOPS = 3, PARTITIONS = 6 };

struct world {
    char dir[64];
    struct descriptors *descriptors;
    struct disk *disk;
    struct loop *loops[LOOPS];
    struct log_store *store;
    struct metadata *metadata;
    struct replicas *replicas;
    struct role_listener listener;
    int led, resigned, elsewhere; /* atomic; elsewhere: told on another loop than the home */
    bool is_done;
    int awaited; /* ends of more than one request */
    struct arena arena;
    struct loop_message apply;
    const struct leader_and_isr_request *leader_and_isr; /* one of the two is to be applied */
    struct leader_and_isr_response *leader_and_isr_response;
    const struct stop_replica_request *stop_replica;
    struct stop_replica_response *stop_replica_response;
};

static void finished(void *context)
{
    struct world *world = context;
    if (--world->awaited > 0) return;
    world->is_done = true;
    loop_stop(world->loops[0]);
}

/* Turns the control loop until finished() was called. */
static void await(struct world *world)
{
    while (!world->is_done) loop_run(world->loops[0]);
    world->is_done = false;
}

/* On the control loop, as in life. */
static void apply_run(struct loop_message *message)
{
    struct world *world = CONTAINER_OF(message, struct world, apply);
    if (world->leader_and_isr) {
        replicas_apply_leader_and_isr(world->replicas, world->leader_and_isr, &world->arena,
                                      world->leader_and_isr_response, finished, world);
    } else {
        replicas_apply_stop_replica(world->replicas, world->stop_replica, &world->arena,
                                    world->stop_replica_response, finished, world);
    }
}

static void apply(struct world *world)
{
    world->apply.run = apply_run;
    loop_post(world->loops[0], &world->apply);
    await(world);
}

static void loaded(void *context, enum error err, const char *why)
{
    assert_int_equal(err, OK);
    finished(context);
}

static void rules_of(void *context, struct slice topic, struct topic_rules *rules)
{
    *rules = (struct topic_rules){.min_insync_replicas = 1};
    log_config_default(&rules->log);
    rules->log.file_delete_delay_ms = 0;
}

static void led(void *context, struct partition *partition)
{
    struct world *world = context;
    __atomic_fetch_add(&world->led, 1, __ATOMIC_RELAXED);
    if (!loop_is_current(partition_home(partition)))
        __atomic_fetch_add(&world->elsewhere, 1, __ATOMIC_RELAXED);
}

static void resigned(void *context, struct partition *partition)
{
    struct world *world = context;
    __atomic_fetch_add(&world->resigned, 1, __ATOMIC_RELAXED);
    if (!loop_is_current(partition_home(partition)))
        __atomic_fetch_add(&world->elsewhere, 1, __ATOMIC_RELAXED);
}

static void world_open(struct world *world, const char *dir)
{
    memset(world, 0, sizeof *world);
    strcpy(world->dir, dir);
    world->descriptors = descriptors_new(0);
    world->disk = disk_new(world->descriptors);
    arena_init(&world->arena, 0);
    for (int i = 0; i < LOOPS; i++) assert_int_equal(loop_new(world->descriptors, &world->loops[i]), OK);
    for (int i = 1; i < LOOPS; i++) assert_int_equal(loop_start_thread(world->loops[i], "replicas"), OK);
    struct log_store_options options;
    log_store_options_default(&options);
    const char *dirs[] = {world->dir};
    options.disk = world->disk;
    options.loop = world->loops[0];
    options.dirs = dirs;
    options.dir_count = 1;
    struct text why = {0};
    assert_int_equal(log_store_open(&options, &world->store, &why), OK);
    assert_int_equal(log_store_claim(world->store, "abcdefghijklmnopqrstuv", SELF, &why), OK);
    text_free(&why);
    log_store_load(world->store, loaded, world);
    await(world);
    assert_int_equal(metadata_new(world->loops[0], SLICE("abcdefghijklmnopqrstuv"), &world->metadata), OK);
    metadata_set_broker_epoch(world->metadata, 5);
    struct replicas_options replicas = {.broker_id = SELF,
                                        .loops = world->loops,
                                        .loop_count = LOOPS,
                                        .store = world->store,
                                        .metadata = world->metadata,
                                        .is_spread = true,
                                        .topic_rules = rules_of};
    assert_int_equal(replicas_new(&replicas, &world->replicas), OK);
    world->listener = (struct role_listener){.led = led, .resigned = resigned, .context = world};
    replicas_listen(world->replicas, &world->listener);
}

static void world_close(struct world *world)
{
    replicas_close(world->replicas, finished, world);
    await(world);
    log_store_close(world->store, finished, world);
    await(world);
    for (int i = 1; i < LOOPS; i++) {
        loop_stop(world->loops[i]);
        loop_join(world->loops[i]);
    }
    replicas_free(&world->replicas);
    metadata_free(&world->metadata);
    for (int i = 0; i < LOOPS; i++) loop_free(world->loops[i]);
    disk_free(world->disk);
    descriptors_free(world->descriptors);
    arena_free(&world->arena);
}

/* --- requests --- */

static int32_t only_self[] = {SELF}, only_other[] = {2};

/* One LeaderAndIsr for all partitions of "orders"; the answer's codes in `codes`, the top error returned. */
static int16_t lead(struct world *world, int32_t leader, int32_t leader_epoch, uint8_t id, int32_t *replicas,
                    int64_t broker_epoch, int32_t controller_epoch, int16_t codes[PARTITIONS])
{
    struct leader_and_isr_request request;
    leader_and_isr_request_init(&request);
    request.controller_epoch = controller_epoch;
    request.broker_epoch = broker_epoch;
    struct leader_and_isr_request_leader_and_isr_partition_state states[PARTITIONS];
    memset(states, 0, sizeof states);
    for (int i = 0; i < PARTITIONS; i++) {
        states[i].partition_index = i;
        states[i].leader = leader;
        states[i].leader_epoch = leader_epoch;
        states[i].isr.items = states[i].replicas.items = replicas;
        states[i].isr.count = states[i].replicas.count = 1;
        states[i].is_new = true;
    }
    struct leader_and_isr_request_leader_and_isr_topic_state topic = {.topic_name = SLICE("orders")};
    topic.topic_id.bytes[0] = id;
    topic.partition_states.items = states;
    topic.partition_states.count = PARTITIONS;
    request.topic_states.items = &topic;
    request.topic_states.count = 1;

    struct leader_and_isr_response response;
    leader_and_isr_response_init(&response);
    world->leader_and_isr = &request;
    world->leader_and_isr_response = &response;
    apply(world);
    for (int i = 0; i < PARTITIONS; i++) codes[i] = -99;
    if (response.error_code != 0) return response.error_code;
    assert_int_equal(response.topics.count, 1);
    assert_int_equal(response.topics.items[0].partition_errors.count, PARTITIONS);
    for (int i = 0; i < PARTITIONS; i++)
        codes[i] = response.topics.items[0].partition_errors.items[i].error_code;
    return 0;
}

static void expect_codes(const int16_t codes[PARTITIONS], enum error err)
{
    for (int i = 0; i < PARTITIONS; i++) assert_int_equal(codes[i], error_kafka_code(err));
}

struct stop {
    struct stop_replica_request request;
    struct stop_replica_request_stop_replica_topic_state topic;
    struct stop_replica_request_stop_replica_partition_state states[PARTITIONS];
    struct stop_replica_response response;
};

static void stop_init(struct stop *stop, int32_t first, int count, int32_t leader_epoch, bool is_delete)
{
    memset(stop, 0, sizeof *stop);
    stop_replica_request_init(&stop->request);
    stop_replica_response_init(&stop->response);
    stop->request.controller_epoch = 100;
    stop->request.broker_epoch = 5;
    for (int i = 0; i < count; i++) {
        stop->states[i] = (struct stop_replica_request_stop_replica_partition_state){
            .partition_index = first + i, .leader_epoch = leader_epoch, .delete_partition = is_delete};
    }
    stop->topic.topic_name = SLICE("orders");
    stop->topic.partition_states.items = stop->states;
    stop->topic.partition_states.count = count;
    stop->request.topic_states.items = &stop->topic;
    stop->request.topic_states.count = 1;
}

static int16_t stop_one(struct world *world, int32_t index, int32_t leader_epoch, bool is_delete)
{
    struct stop stop;
    stop_init(&stop, index, 1, leader_epoch, is_delete);
    world->leader_and_isr = NULL;
    world->stop_replica = &stop.request;
    world->stop_replica_response = &stop.response;
    apply(world);
    assert_int_equal(stop.response.error_code, 0);
    assert_int_equal(stop.response.partition_errors.count, 1);
    return stop.response.partition_errors.items[0].error_code;
}

static void make_dir(char dir[64])
{
    strcpy(dir, "/tmp/odradek-replicas-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

static void remove_dir(const char *dir)
{
    struct descriptors *descriptors = descriptors_new(0);
    struct disk *disk = disk_new(descriptors);
    assert_int_equal(disk_remove_tree(disk, dir), OK);
    disk_free(disk);
    descriptors_free(descriptors);
}

/* --- tests --- */

static void roles_are_taken_on_every_home(void **state)
{
    struct world world;
    char dir[64];
    make_dir(dir);
    world_open(&world, dir);
    int16_t codes[PARTITIONS];
    assert_int_equal(lead(&world, SELF, 0, 7, only_self, 5, 1, codes), 0);
    expect_codes(codes, OK);
    assert_int_equal(world.led, PARTITIONS);
    assert_int_equal(world.elsewhere, 0);
    int homes[LOOPS] = {0};
    for (int l = 0; l < LOOPS; l++) {
        size_t position = 0, count = 0;
        while (replicas_next(world.replicas, world.loops[l], &position)) count++;
        assert_int_equal(count, PARTITIONS); /* every table has them all */
    }
    for (int i = 0; i < PARTITIONS; i++) {
        struct partition *partition = replicas_find(world.replicas, world.loops[1], SLICE("orders"), i);
        assert_non_null(partition);
        for (int l = 0; l < LOOPS; l++) homes[l] += partition_home(partition) == world.loops[l];
        assert_int_equal(partition_role_of(partition), PARTITION_LEADER);
    }
    for (int l = 0; l < LOOPS; l++) assert_int_equal(homes[l], PARTITIONS / LOOPS);
    struct replicas_count count;
    replicas_count(world.replicas, &count);
    assert_int_equal(count.partitions, PARTITIONS);
    assert_int_equal(count.leaders, PARTITIONS);
    assert_true(replicas_is_settled(world.replicas));

    assert_int_equal(lead(&world, 2, 1, 7, only_self, 5, 1, codes), 0); /* another broker leads */
    expect_codes(codes, OK);
    assert_int_equal(world.resigned, PARTITIONS);
    replicas_count(world.replicas, &count);
    assert_int_equal(count.leaders, 0);
    world_close(&world);
    assert_int_equal(world.resigned, PARTITIONS); /* nobody resigns twice */
    remove_dir(dir);
}

static void what_is_stale_or_foreign_is_refused(void **state)
{
    struct world world;
    char dir[64];
    make_dir(dir);
    world_open(&world, dir);
    int16_t codes[PARTITIONS];
    assert_int_equal(lead(&world, SELF, 3, 7, only_self, 5, 4, codes), 0);
    expect_codes(codes, OK);
    static const struct {
        int32_t leader_epoch;
        uint8_t id;
        int32_t *replicas;
        int64_t broker_epoch;
        int32_t controller_epoch;
        enum error top, each;
    } rows[] = {
        {4, 7, only_self, 4, 4, ERR_STALE_BROKER_EPOCH, OK},     /* meant for an earlier life */
        {4, 7, only_self, 5, 3, ERR_STALE_CONTROLLER_EPOCH, OK}, /* from a deposed controller */
        {3, 7, only_self, 5, 4, OK, ERR_STALE_CONTROLLER_EPOCH}, /* again */
        {2, 7, only_self, 5, 4, OK, ERR_STALE_CONTROLLER_EPOCH}, /* an old one */
        {4, 8, only_self, 5, 4, OK, ERR_INCONSISTENT_TOPIC_ID},
        {4, 7, only_other, 5, 4, OK, ERR_UNKNOWN_TOPIC_OR_PARTITION}, /* not ours */
        {4, 7, only_self, -1, 4, OK, OK},                             /* -1: not checked */
        {5, 7, only_self, 6, 4, OK, OK}, /* the controller may know our next epoch first */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int16_t top = lead(&world, SELF, rows[i].leader_epoch, rows[i].id, rows[i].replicas,
                           rows[i].broker_epoch, rows[i].controller_epoch, codes);
        assert_int_equal(top, error_kafka_code(rows[i].top));
        if (top == 0) expect_codes(codes, rows[i].each);
    }
    world_close(&world);
    remove_dir(dir);
}

static void stopped_and_deleted_partitions_are_gone_from_every_table(void **state)
{
    struct world world;
    char dir[64];
    make_dir(dir);
    world_open(&world, dir);
    int16_t codes[PARTITIONS];
    assert_int_equal(lead(&world, SELF, 3, 7, only_self, 5, 4, codes), 0);
    assert_int_equal(stop_one(&world, 0, 2, true), error_kafka_code(ERR_FENCED_LEADER_EPOCH));
    assert_int_equal(stop_one(&world, 0, 3, false), 0); /* stopped, kept */
    struct partition *kept = replicas_find(world.replicas, world.loops[2], SLICE("orders"), 0);
    assert_non_null(kept);
    assert_int_equal(partition_role_of(kept), PARTITION_OFFLINE);
    assert_int_equal(world.resigned, 1);
    for (int i = 0; i < PARTITIONS; i++) {
        int32_t epoch = i % 3 == 0 ? -2 : i % 3 == 1 ? -1 : 3; /* the topic goes; unknown; as it is */
        assert_int_equal(stop_one(&world, i, epoch, true), 0);
        for (int l = 0; l < LOOPS; l++) {
            assert_null(replicas_find(world.replicas, world.loops[l], SLICE("orders"), i));
        }
        assert_null(log_store_find(world.store, SLICE("orders"), i));
    }
    assert_int_equal(world.resigned, PARTITIONS);
    assert_int_equal(stop_one(&world, 0, -1, true), 0); /* what is not here is gone already */
    struct replicas_count count;
    replicas_count(world.replicas, &count);
    assert_int_equal(count.partitions, 0);
    assert_int_equal(count.leaders, 0);
    /* And they may come again. */
    assert_int_equal(lead(&world, SELF, 0, 9, only_self, 5, 100, codes), 0);
    expect_codes(codes, OK);
    world_close(&world);
    remove_dir(dir);
}

struct twice {
    struct world *world;
    struct loop_message message;
    struct stop first, again;
};

static void stop_twice(struct loop_message *message)
{
    struct twice *twice = CONTAINER_OF(message, struct twice, message);
    struct world *world = twice->world;
    replicas_apply_stop_replica(world->replicas, &twice->first.request, &world->arena, &twice->first.response,
                                finished, world);
    replicas_apply_stop_replica(world->replicas, &twice->again.request, &world->arena, &twice->again.response,
                                finished, world);
    assert_false(replicas_is_settled(world->replicas));
}

/* The first has them out of every table and waits for them to be quiet when the second comes, and finds only their logs. */
static void a_deletion_told_twice_in_one_turn(void **state)
{
    struct world world;
    char dir[64];
    make_dir(dir);
    world_open(&world, dir);
    int16_t codes[PARTITIONS];
    for (int round = 0; round < 20; round++) {
        assert_int_equal(lead(&world, SELF, 0, (uint8_t)(7 + round), only_self, 5, 100, codes), 0);
        expect_codes(codes, OK);
        struct twice twice = {.world = &world, .message = {.run = stop_twice}};
        stop_init(&twice.first, 0, PARTITIONS, -2, true);
        stop_init(&twice.again, 0, PARTITIONS, -2, true);
        world.awaited = 2;
        loop_post(world.loops[0], &twice.message);
        await(&world);
        for (int i = 0; i < PARTITIONS; i++) {
            assert_int_equal(twice.first.response.partition_errors.items[i].error_code, 0);
            assert_int_equal(twice.again.response.partition_errors.items[i].error_code, 0);
            assert_null(log_store_find(world.store, SLICE("orders"), i));
        }
    }
    world_close(&world);
    remove_dir(dir);
}

enum { MANY = 200, LATE = 150 }; /* more than a round makes; one of a later round */

struct many {
    struct world *world;
    struct loop_message message;
    struct leader_and_isr_request request;
    struct leader_and_isr_request_leader_and_isr_topic_state topic;
    struct leader_and_isr_request_leader_and_isr_partition_state states[MANY];
    struct leader_and_isr_response response;
    struct stop stop;
};

static void many_init(struct many *many, struct world *world, uint8_t id, int32_t leader_epoch)
{
    memset(many, 0, sizeof *many);
    many->world = world;
    leader_and_isr_request_init(&many->request);
    leader_and_isr_response_init(&many->response);
    many->request.controller_epoch = 100;
    many->request.broker_epoch = 5;
    many->request.topic_states.items = &many->topic;
    many->request.topic_states.count = 1;
    many->topic.topic_name = SLICE("orders");
    many->topic.topic_id.bytes[0] = id;
    many->topic.partition_states.items = many->states;
    many->topic.partition_states.count = MANY;
    for (int i = 0; i < MANY; i++) {
        many->states[i].partition_index = i;
        many->states[i].leader = SELF;
        many->states[i].leader_epoch = leader_epoch;
        many->states[i].isr.items = many->states[i].replicas.items = only_self;
        many->states[i].isr.count = many->states[i].replicas.count = 1;
        many->states[i].is_new = true;
    }
}

static void lead_and_stop(struct loop_message *message)
{
    struct many *many = CONTAINER_OF(message, struct many, message);
    struct world *world = many->world;
    replicas_apply_leader_and_isr(world->replicas, &many->request, &world->arena, &many->response, finished,
                                  world);
    replicas_apply_stop_replica(world->replicas, &many->stop.request, &world->arena, &many->stop.response,
                                finished, world);
}

static void lead_many_and_stop(struct world *world, struct many *many)
{
    many->message.run = lead_and_stop;
    world->awaited = 2;
    loop_post(world->loops[0], &many->message);
    await(world);
}

static int16_t code_of(const struct many *many, int32_t index)
{
    assert_int_equal(many->response.topics.count, 1);
    assert_int_equal(many->response.topics.items[0].partition_errors.count, MANY);
    return many->response.topics.items[0].partition_errors.items[index].error_code;
}

/* A deletion that comes while LeaderAndIsr has rounds before it, of the same controller: it was said later, and holds. */
static void what_was_said_last_holds(void **state)
{
    struct world world;
    char dir[64];
    make_dir(dir);
    world_open(&world, dir);
    struct many many;
    many_init(&many, &world, 7, 3);
    stop_init(&many.stop, LATE, 1, 3, true);
    lead_many_and_stop(&world, &many);
    assert_int_equal(code_of(&many, 0), 0);
    assert_int_equal(code_of(&many, LATE), 0);
    assert_int_equal(many.stop.response.partition_errors.items[0].error_code, 0);
    assert_null(replicas_find(world.replicas, world.loops[0], SLICE("orders"), LATE));
    assert_null(log_store_find(world.store, SLICE("orders"), LATE));
    assert_non_null(log_store_find(world.store, SLICE("orders"), MANY - 1));

    /* The same words once more, late, over a connection that was given up: nothing comes back. A newer one does. */
    many_init(&many, &world, 7, 3);
    stop_init(&many.stop, 0, 1, -1, false);
    lead_many_and_stop(&world, &many);
    assert_int_equal(code_of(&many, LATE), error_kafka_code(ERR_STALE_CONTROLLER_EPOCH));
    assert_null(log_store_find(world.store, SLICE("orders"), LATE));
    many_init(&many, &world, 7, 4);
    stop_init(&many.stop, 0, 1, -1, false);
    lead_many_and_stop(&world, &many);
    assert_int_equal(code_of(&many, LATE), 0);
    assert_non_null(log_store_find(world.store, SLICE("orders"), LATE));
    world_close(&world);
    remove_dir(dir);
}

/* The next controller speaks while the one before has rounds before it: those are void. */
static void a_new_controller_ends_the_rounds_of_the_last(void **state)
{
    struct world world;
    char dir[64];
    make_dir(dir);
    world_open(&world, dir);
    struct many many;
    many_init(&many, &world, 7, 3);
    stop_init(&many.stop, 0, 1, -2, true);
    many.stop.request.controller_epoch = 101;
    lead_many_and_stop(&world, &many);
    assert_int_equal(many.stop.response.error_code, 0);
    assert_int_equal(code_of(&many, 1), 0);
    assert_int_equal(code_of(&many, LATE), error_kafka_code(ERR_STALE_CONTROLLER_EPOCH));
    assert_null(log_store_find(world.store, SLICE("orders"), 0));
    assert_null(log_store_find(world.store, SLICE("orders"), LATE));

    /* And who is deposed waits for no turn. */
    many_init(&many, &world, 7, 4);
    many.request.controller_epoch = 101;
    stop_init(&many.stop, LATE, 1, -2, true);
    lead_many_and_stop(&world, &many);
    assert_int_equal(many.stop.response.error_code, error_kafka_code(ERR_STALE_CONTROLLER_EPOCH));
    assert_non_null(log_store_find(world.store, SLICE("orders"), LATE));
    world_close(&world);
    remove_dir(dir);
}

static void logs_and_high_watermarks_outlive_a_clean_stop(void **state)
{
    struct world world;
    char dir[64];
    make_dir(dir);
    world_open(&world, dir);
    int16_t codes[PARTITIONS];
    assert_int_equal(lead(&world, SELF, 0, 7, only_self, 5, 1, codes), 0);
    world_close(&world);
    world_open(&world, dir);
    assert_int_equal(log_store_count(world.store), PARTITIONS);
    assert_int_equal(lead(&world, SELF, 0, 7, only_self, 5, 1, codes),
                     0); /* a new process has no epochs yet */
    expect_codes(codes, OK);
    world_close(&world);
    remove_dir(dir);
}

int main(void)
{
    diag_set_level(DIAG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_are_taken_on_every_home),
        cmocka_unit_test(what_is_stale_or_foreign_is_refused),
        cmocka_unit_test(stopped_and_deleted_partitions_are_gone_from_every_table),
        cmocka_unit_test(a_deletion_told_twice_in_one_turn),
        cmocka_unit_test(what_was_said_last_holds),
        cmocka_unit_test(a_new_controller_ends_the_rounds_of_the_last),
        cmocka_unit_test(logs_and_high_watermarks_outlive_a_clean_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
