/* partition_test.c: the high watermark and who waits for it, held against plain models; roles and their checks. Logs are real, in
 * a directory of the machine; the loop is real and turned by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/random.h"
#include "loop/loop.h"
#include "replica/partition_state.h"
#include "replica/table.h"
#include "storage/log_store.h"
#include "wire/record.h"

enum { SELF = 1 };

struct world {
    char dir[64];
    struct descriptors *descriptors;
    struct disk *disk;
    struct loop *loop;
    struct log_store *store;
    struct loop_message stop;
    int topics;
};

static void stop_run(struct loop_message *message)
{
    struct world *world = CONTAINER_OF(message, struct world, stop);
    loop_stop(world->loop);
}

/* Whatever was deferred or posted runs. */
static void turn(struct world *world)
{
    for (int i = 0; i < 3; i++) {
        world->stop.run = stop_run;
        loop_post(world->loop, &world->stop);
        loop_run(world->loop);
    }
}

static void stopped(void *context)
{
}

static void loaded(void *context, enum error err, const char *why)
{
    assert_int_equal(err, OK);
}

static int setup(void **state)
{
    static struct world world;
    memset(&world, 0, sizeof world);
    strcpy(world.dir, "/tmp/odradek-partition-XXXXXX");
    assert_non_null(mkdtemp(world.dir));
    world.descriptors = descriptors_new(0);
    world.disk = disk_new(world.descriptors);
    assert_int_equal(loop_new(world.descriptors, &world.loop), OK);
    struct log_store_options options;
    log_store_options_default(&options);
    const char *dirs[] = {world.dir};
    options.disk = world.disk;
    options.dirs = dirs;
    options.dir_count = 1;
    options.random_seed = 1;
    struct text why = {0};
    assert_int_equal(log_store_open(&options, &world.store, &why), OK);
    assert_int_equal(log_store_claim(world.store, "abcdefghijklmnopqrstuv", SELF, &why), OK);
    log_store_load(world.store, loaded, NULL);
    text_free(&why);
    *state = &world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    log_store_close(world->store, stopped, NULL);
    assert_int_equal(disk_remove_tree(world->disk, world->dir), OK);
    loop_free(world->loop);
    disk_free(world->disk);
    descriptors_free(world->descriptors);
    return 0;
}

static struct partition *make(struct world *world)
{
    char name[32];
    snprintf(name, sizeof name, "topic%d", world->topics++);
    struct log *log;
    struct uuid id = {{1, 2, 3}};
    struct log_config config;
    log_config_default(&config);
    assert_int_equal(log_store_create(world->store, slice_of(name), 0, &id, &config, &log), OK);
    struct partition *partition;
    assert_int_equal(partition_new(slice_of(name), 0, SELF, world->loop, &partition), OK);
    partition_set_log(partition, log);
    return partition;
}

static void quiet(void *context, struct partition *partition)
{
    partition_set_log(partition, NULL);
    partition_free(partition);
    *(bool *)context = true;
}

static void drop(struct world *world, struct partition *partition)
{
    bool is_gone = false;
    partition_remove(partition, quiet, &is_gone);
    turn(world);
    assert_true(is_gone);
}

static enum error lead(struct partition *partition, int32_t epoch, const int32_t *replicas,
                       int32_t replica_count, const int32_t *isr, int32_t isr_count)
{
    struct partition_assignment assignment = {.leader = SELF,
                                              .leader_epoch = epoch,
                                              .replicas = replicas,
                                              .replica_count = replica_count,
                                              .isr = isr,
                                              .isr_count = isr_count};
    return partition_become_leader(partition, &assignment);
}

static const int32_t three[] = {1, 2, 3};

static void fetched(struct partition *partition, int32_t broker_id, int64_t offset, int64_t now_ms)
{
    struct isr_fetch fetch = {.broker_id = broker_id, .replica_epoch = -1, .offset = offset};
    assert_int_equal(partition_follower_fetched(partition, &fetch, now_ms), OK);
}

enum { BATCH_SIZE = 200 };

/* A batch of one record, to be stamped; its size. */
static size_t make_batch(uint8_t bytes[BATCH_SIZE])
{
    struct batch_builder builder = {0};
    batch_builder_start(&builder, &BATCH_OPTIONS_DEFAULT);
    struct slice batch;
    assert_int_equal(batch_builder_add(&builder, 1000, SLICE("k"), SLICE("v"), NULL, 0), OK);
    assert_int_equal(batch_builder_finish(&builder, &batch), OK);
    assert_true(batch.size <= BATCH_SIZE);
    size_t size = batch.size;
    memcpy(bytes, batch.data, size);
    batch_builder_free(&builder);
    return size;
}

static enum error append(struct partition *partition, int16_t acks, struct log_appended *appended)
{
    uint8_t bytes[BATCH_SIZE];
    size_t size = make_batch(bytes);
    return partition_append(partition, bytes, size, acks, APPEND_CLIENT, 1000, appended);
}

struct watcher {
    struct partition_waiter waiter;
    int calls;
    enum error err;
};

static void called(struct partition_waiter *waiter, enum error err)
{
    struct watcher *watcher = CONTAINER_OF(waiter, struct watcher, waiter);
    watcher->calls++;
    watcher->err = err;
}

static void a_lone_leader_commits_at_once(void **state)
{
    struct world *world = *state;
    struct partition *partition = make(world);
    struct log_appended appended;
    assert_int_equal(append(partition, 1, &appended), ERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(lead(partition, 0, three, 1, three, 1), OK);
    assert_int_equal(append(partition, -1, &appended), OK);
    assert_int_equal(appended.base_offset, 0);
    assert_int_equal(partition_high_watermark(partition), 1);
    assert_int_equal(partition_last_stable_offset(partition), 1);
    drop(world, partition);
}

static void epochs_are_checked(void **state)
{
    struct world *world = *state;
    struct partition *partition = make(world);
    assert_int_equal(partition_check(partition, -1, false), ERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(lead(partition, 5, three, 1, three, 1), OK);
    static const struct {
        int32_t asked;
        enum error err;
    } rows[] = {{-1, OK}, {5, OK}, {4, ERR_FENCED_LEADER_EPOCH}, {6, ERR_UNKNOWN_LEADER_EPOCH}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(partition_check(partition, rows[i].asked, true), rows[i].err);
    }
    struct partition_assignment follow = {
        .leader = 2, .leader_epoch = 6, .replicas = three, .replica_count = 2, .isr = three, .isr_count = 2};
    assert_int_equal(partition_become_follower(partition, &follow), OK);
    assert_int_equal(partition_check(partition, 6, false), OK);
    assert_int_equal(partition_check(partition, 6, true), ERR_NOT_LEADER_OR_FOLLOWER);
    drop(world, partition);
}

static void waiters_hear_of_the_high_watermark_after_the_call(void **state)
{
    struct world *world = *state;
    struct partition *partition = make(world);
    assert_int_equal(lead(partition, 0, three, 2, three, 2), OK);
    struct log_appended appended;
    assert_int_equal(append(partition, -1, &appended), OK);
    assert_int_equal(partition_high_watermark(partition), 0);
    struct watcher first = {.waiter.run = called}, second = {.waiter.run = called},
                   cancelled = {.waiter.run = called};
    partition_wait_committed(partition, &first.waiter, 1);
    partition_wait_committed(partition, &second.waiter, 2);
    partition_wait_committed(partition, &cancelled.waiter, 1);
    turn(world);
    assert_int_equal(first.calls, 0);
    fetched(partition, 2, 1, 10);
    assert_int_equal(partition_high_watermark(partition), 1);
    assert_int_equal(first.calls, 0); /* never from inside */
    partition_wait_cancel(&cancelled.waiter);
    turn(world);
    assert_int_equal(first.calls, 1);
    assert_int_equal(first.err, OK);
    assert_int_equal(second.calls, 0);
    assert_int_equal(cancelled.calls, 0);
    drop(world, partition);
    assert_int_equal(second.calls, 1);
    assert_int_equal(second.err, ERR_NOT_LEADER_OR_FOLLOWER);
}

static void a_wait_ends_with_the_epoch_it_began_in(void **state)
{
    struct world *world = *state;
    struct partition *partition = make(world);
    assert_int_equal(lead(partition, 0, three, 2, three, 2), OK);
    struct watcher watcher = {.waiter.run = called}, change = {.waiter.run = called};
    partition_wait_committed(partition, &watcher.waiter, 1);
    partition_wait_change(partition, &change.waiter);
    assert_int_equal(lead(partition, 1, three, 2, three, 2), OK);
    turn(world);
    assert_int_equal(watcher.calls, 1);
    assert_int_equal(watcher.err, ERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(change.calls, 1);
    drop(world, partition);
}

struct proposals {
    struct partition_cluster cluster;
    int told;
    int64_t synced_end; /* when it was told */
};

static void told(void *context, struct partition *partition)
{
    struct proposals *proposals = context;
    proposals->told++;
    proposals->synced_end = log_synced_end_offset(partition_log(partition));
}

static struct isr_answer answer_of(const struct partition *partition, const int32_t *isr, int32_t count)
{
    return (struct isr_answer){.leader_epoch = partition->leader_epoch,
                               .partition_epoch = partition->isr.partition_epoch + 1,
                               .isr = isr,
                               .isr_count = count};
}

/* KIP-966's last replica standing: once it is written that nobody else counts, what was committed is on this disk. */
static void who_is_left_alone_syncs_before_it_says_so(void **state)
{
    struct world *world = *state;
    struct partition *partition = make(world);
    struct peer peers[] = {{.id = 1, .host = ""}, {.id = 2, .host = ""}};
    struct proposals proposals = {.cluster = {.peers = {peers, 2}, .lag_max_ms = 30000, .propose = told}};
    proposals.cluster.context = &proposals;
    partition->cluster = &proposals.cluster;
    assert_int_equal(lead(partition, 0, three, 2, three, 2), OK);
    struct log_appended appended;
    for (int i = 0; i < 3; i++) assert_int_equal(append(partition, -1, &appended), OK);
    fetched(partition, 2, 2, 10);
    assert_int_equal(partition_high_watermark(partition), 2);
    partition_check_lag(partition);
    assert_int_equal(proposals.told, 0); /* nobody is gone */

    proposals.cluster.peers.count = 0; /* we do not even know of ourselves */
    partition_check_lag(partition);
    assert_false(isr_is_alone(&partition->isr));
    proposals.cluster.peers.count = 1;
    partition_check_lag(partition);
    assert_true(isr_is_alone(&partition->isr));
    assert_int_equal(append(partition, -1, &appended), OK);
    turn(world);
    assert_int_equal(proposals.told, 1);
    assert_true(proposals.synced_end >= 2);
    assert_int_equal(partition_high_watermark(partition),
                     2); /* the other one is waited for until it is written */
    struct isr_answer alone = answer_of(partition, three, 1);
    assert_int_equal(partition_isr_answered(partition, 0, 0, &alone), ISR_CHANGED);
    turn(world);
    assert_int_equal(partition_high_watermark(partition), 4);

    /* Refused: two count again, and memory does. */
    proposals.cluster.peers.count = 2;
    assert_int_equal(lead(partition, 1, three, 2, three, 2), OK);
    proposals.cluster.peers.count = 1;
    partition_check_lag(partition);
    turn(world);
    assert_int_equal(proposals.told, 2);
    struct isr_answer refused = {.err = ERR_OPERATION_NOT_ATTEMPTED};
    assert_int_equal(partition_isr_answered(partition, 1, 0, &refused), ISR_BACK);
    assert_false(partition_must_sync(partition));
    drop(world, partition);
}

static void too_small_an_isr_takes_nothing_and_moves_nothing(void **state)
{
    struct world *world = *state;
    struct partition *partition = make(world);
    partition_set_min_insync_replicas(partition, 2);
    assert_int_equal(lead(partition, 0, three, 3, three, 1), OK);
    struct log_appended appended;
    assert_int_equal(append(partition, -1, &appended), ERR_NOT_ENOUGH_REPLICAS);
    assert_int_equal(append(partition, 1, &appended), OK);
    assert_int_equal(partition_high_watermark(partition), 0);
    /* With one replica in all, min.insync.replicas asks for no more than there are. */
    struct partition *alone = make(world);
    partition_set_min_insync_replicas(alone, 2);
    assert_int_equal(lead(alone, 0, three, 1, three, 1), OK);
    assert_int_equal(append(alone, -1, &appended), OK);
    assert_int_equal(partition_high_watermark(alone), 1);
    drop(world, partition);
    drop(world, alone);
}

static void a_reader_is_sent_to_who_has_what_it_asks_for(void **state)
{
    struct world *world = *state;
    struct partition *partition = make(world);
    static const int32_t near[] = {2, 3, 9};
    assert_int_equal(partition_nearest(partition, near, 3, 0), -1); /* does not lead */
    assert_int_equal(lead(partition, 0, three, 3, three, 3), OK);
    assert_int_equal(partition_nearest(partition, near, 3, 0), -1); /* nobody has fetched yet */
    struct log_appended appended;
    for (int i = 0; i < 5; i++) assert_int_equal(append(partition, 1, &appended), OK);
    fetched(partition, 2, 3, 10);
    fetched(partition, 3, 4, 10);
    static const struct {
        size_t count;
        int64_t offset;
        int32_t want;
    } rows[] = {{0, 0, -1}, {1, 0, 2}, {1, 3, 2}, {1, 4, -1}, {2, 0, 3}, {3, 4, 3}, {3, 5, -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(partition_nearest(partition, near, rows[i].count, rows[i].offset), rows[i].want);
    drop(world, partition);
}

/* Of three replicas one is left in sync: what it has counts when its disk has it. */
static void the_last_replica_standing_syncs(void **state)
{
    struct world *world = *state;
    struct partition *partition = make(world);
    assert_int_equal(lead(partition, 0, three, 3, three, 1), OK);
    struct log_appended appended;
    assert_int_equal(append(partition, -1, &appended), OK);
    assert_int_equal(log_synced_end_offset(partition->log),
                     1); /* asked for; without a loop it is done at once */
    assert_int_equal(partition_high_watermark(partition), 1);
    /* With two of them the other one's memory is as good. */
    assert_int_equal(lead(partition, 1, three, 3, three, 2), OK);
    assert_int_equal(append(partition, -1, &appended), OK);
    fetched(partition, 2, 2, 10);
    assert_int_equal(partition_high_watermark(partition), 2);
    assert_int_equal(log_synced_end_offset(partition->log), 1);
    drop(world, partition);
}

static void append_to(struct log *log)
{
    uint8_t bytes[BATCH_SIZE];
    size_t size = make_batch(bytes);
    struct log_append how = {.origin = APPEND_CLIENT, .now_ms = 1000};
    struct log_appended appended;
    assert_int_equal(log_append(log, bytes, size, &how, &appended), OK);
}

/* The sync that a waiter waits for was the copy's, and came before the two were exchanged. */
static void a_copy_may_be_on_disk_before_what_it_is_of(void **state)
{
    struct world *world = *state;
    struct partition *partition = make(world), *other = make(world);
    assert_int_equal(lead(partition, 0, three, 3, three, 1), OK);
    struct log *copy = other->log;
    append_to(partition->log);
    append_to(copy);
    assert_int_equal(log_flush_now(copy), OK);
    assert_int_equal(log_synced_end_offset(partition->log), 0);
    assert_int_equal(partition_high_watermark(partition), 0);
    partition_set_log(other, NULL);
    partition_swap_log(partition, copy);
    assert_int_equal(partition_high_watermark(partition), 1);
    drop(world, partition);
    drop(world, other);
}

/* Ten records, of which the first eight are committed. The rows follow one another. */
static void the_beginning_is_forgotten_up_to_the_high_watermark(void **state)
{
    struct world *world = *state;
    struct partition *partition = make(world);
    struct log_appended appended;
    int64_t asked = 0;
    assert_int_equal(partition_delete_records(partition, &asked), ERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(lead(partition, 0, three, 2, three, 2), OK);
    for (int i = 0; i < 10; i++) assert_int_equal(append(partition, 1, &appended), OK);
    fetched(partition, 2, 8, 10);
    static const struct {
        int64_t offset;
        enum error err;
        int64_t low;
        bool wakes; /* who reads below it must hear */
    } rows[] = {
        {0, OK, 0, false},
        {3, OK, 3, true},
        {3, OK, 3, false},
        {1, OK, 3, false}, /* gone already */
        {9, ERR_OFFSET_OUT_OF_RANGE, 3, false},
        {-2, ERR_OFFSET_OUT_OF_RANGE, 3, false},
        {-1, OK, 8, true}, /* the high watermark */
        {8, OK, 8, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct watcher change = {.waiter.run = called};
        turn(world);
        partition_wait_change(partition, &change.waiter);
        asked = rows[i].offset;
        assert_int_equal(partition_delete_records(partition, &asked), rows[i].err);
        if (rows[i].offset == -1) assert_int_equal(asked, rows[i].low);
        assert_int_equal(log_start_offset(partition->log), rows[i].low);
        turn(world);
        assert_int_equal(change.calls, rows[i].wakes);
        partition_wait_cancel(&change.waiter);
    }
    struct log_config config = *log_config_of(partition->log);
    config.compact_policy = true;
    log_configure(partition->log, &config);
    asked = 8;
    assert_int_equal(partition_delete_records(partition, &asked), OK);
    config.delete_policy = false;
    log_configure(partition->log, &config);
    assert_int_equal(partition_delete_records(partition, &asked), ERR_POLICY_VIOLATION);
    drop(world, partition);
}

static void fetched_from(struct partition *partition, int32_t broker, int64_t start)
{
    struct isr_fetch fetch = {
        .broker_id = broker, .replica_epoch = -1, .offset = 5, .log_start_offset = start};
    assert_int_equal(partition_follower_fetched(partition, &fetch, 10), OK);
}

/* The lowest start of all replicas; who waits for it hears when a follower tells of a later one, and when the role changes. */
static void the_low_watermark_is_where_all_logs_begin(void **state)
{
    struct world *world = *state;
    struct partition *partition = make(world);
    struct log_appended appended;
    assert_int_equal(lead(partition, 0, three, 3, three, 3), OK);
    for (int i = 0; i < 5; i++) assert_int_equal(append(partition, 1, &appended), OK);
    assert_int_equal(partition_low_watermark(partition), -1); /* nobody has told */
    fetched_from(partition, 2, 0);
    fetched_from(partition, 3, 0);
    int64_t asked = -1;
    assert_int_equal(partition_delete_records(partition, &asked), OK);
    assert_int_equal(asked, 5);
    assert_int_equal(partition_low_watermark(partition), 0);
    static const struct {
        int32_t broker;
        int64_t start, low;
        bool wakes;
    } rows[] = {{2, 5, 0, true}, {2, 5, 0, false}, {3, 4, 4, true}, {3, 5, 5, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct watcher change = {.waiter = {.run = called, .is_for_low = true}};
        turn(world);
        partition_wait_change(partition, &change.waiter);
        assert_int_equal(append(partition, 1, &appended), OK); /* no news for who waits for that */
        fetched_from(partition, rows[i].broker, rows[i].start);
        turn(world);
        assert_int_equal(partition_low_watermark(partition), rows[i].low);
        assert_int_equal(change.calls, rows[i].wakes);
        partition_wait_cancel(&change.waiter);
    }
    struct watcher change = {.waiter = {.run = called, .is_for_low = true}};
    partition_wait_change(partition, &change.waiter);
    partition_stop(partition);
    turn(world);
    assert_int_equal(change.calls, 1);
    drop(world, partition);
}

/* Followers in the ISR fetch; the high watermark is the least end of all and never goes back while we lead. */
static void high_watermark_life(struct world *world, uint64_t seed)
{
    struct random random;
    random_seed(&random, seed);
    struct partition *partition = make(world);
    int32_t isr_count = 2 + (int32_t)random_below(&random, 2);
    assert_int_equal(lead(partition, 0, three, 3, three, isr_count), OK);
    int64_t ends[4] = {0, 0, -1, -1}, end = 0, high = 0;
    for (int step = 0; step < 60; step++) {
        switch (random_below(&random, 3)) {
        case 0: {
            struct log_appended appended;
            assert_int_equal(append(partition, 1, &appended), OK);
            end++;
            break;
        }
        case 1: {
            int32_t follower = 2 + (int32_t)random_below(&random, (uint64_t)isr_count - 1);
            ends[follower] = (int64_t)random_below(&random, (uint64_t)end + 1);
            fetched(partition, follower, ends[follower], step);
            break;
        }
        case 2: turn(world); break;
        }
        int64_t least = end;
        for (int32_t i = 2; i <= isr_count; i++) least = ends[i] < least ? ends[i] : least;
        if (least > high) high = least;
        if (partition_high_watermark(partition) != high) {
            fail_msg("seed %llu step %d: high watermark %lld, want %lld", (unsigned long long)seed, step,
                     (long long)partition_high_watermark(partition), (long long)high);
        }
    }
    drop(world, partition);
}

static void high_watermark_lives(void **state)
{
    for (uint64_t seed = 1; seed <= 40; seed++) high_watermark_life(*state, seed);
}

static void tables_find_what_was_set(void **state)
{
    struct world *world = *state;
    struct partition_table table = {0};
    struct partition *made[30];
    for (int i = 0; i < 30; i++) {
        char name[8];
        snprintf(name, sizeof name, "t%d", i % 5);
        assert_int_equal(partition_new(slice_of(name), i / 5 * 7, SELF, world->loop, &made[i]), OK);
        assert_int_equal(partition_table_set(&table, made[i]), OK);
        assert_int_equal(partition_table_set(&table, made[i]), OK);
    }
    assert_int_equal(table.count, 30);
    size_t position = 0, walked = 0;
    while (partition_table_next(&table, &position)) walked++;
    assert_int_equal(walked, 30);
    position = walked = 0;
    while (partition_table_next_of(&table, SLICE("t3"), &position)) walked++;
    assert_int_equal(walked, 6);
    assert_null(partition_table_find(&table, SLICE("t3"), 1));
    assert_null(partition_table_find(&table, SLICE("t3"), -1));
    for (int i = 0; i < 30; i++) {
        assert_ptr_equal(partition_table_find(&table, partition_topic(made[i]), partition_index(made[i])),
                         made[i]);
        partition_table_drop(&table, made[i]);
        assert_null(partition_table_find(&table, partition_topic(made[i]), partition_index(made[i])));
        partition_free(made[i]);
    }
    assert_int_equal(table.count, 0);
    partition_table_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_leader_commits_at_once),
        cmocka_unit_test(epochs_are_checked),
        cmocka_unit_test(waiters_hear_of_the_high_watermark_after_the_call),
        cmocka_unit_test(a_wait_ends_with_the_epoch_it_began_in),
        cmocka_unit_test(who_is_left_alone_syncs_before_it_says_so),
        cmocka_unit_test(a_copy_may_be_on_disk_before_what_it_is_of),
        cmocka_unit_test(too_small_an_isr_takes_nothing_and_moves_nothing),
        cmocka_unit_test(a_reader_is_sent_to_who_has_what_it_asks_for),
        cmocka_unit_test(the_last_replica_standing_syncs),
        cmocka_unit_test(the_beginning_is_forgotten_up_to_the_high_watermark),
        cmocka_unit_test(the_low_watermark_is_where_all_logs_begin),
        cmocka_unit_test(high_watermark_lives),
        cmocka_unit_test(tables_find_what_was_set),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
