/* log_store_disk_test.c: what a store makes of a disk that is full, that fails, or that loses its power: over the simulated one alone. */
#include "storage/store_bench.h"

static void restart_machine(struct world *world, bool is_power_lost)
{
    if (is_power_lost)
        sim_machine_crash(world->machine);
    else
        sim_machine_kill(world->machine);
    world->disk = world->options.disk = sim_machine_disk(world->machine);
    assert_int_equal(sim_loop_new(world->machine, &world->loop), OK);
    world->options.loop = world->loop;
    open_store(world);
}

/* A killed process lost nothing, a machine that was off may have, until others know; and what cannot be told counts as lost. */
static void another_boot_is_a_loss_until_it_is_noted(void **state)
{
    struct world world;
    world_open(&world, 2);
    world.options.is_of_cluster = true;
    assert_int_equal(disk_sync_dir(world.disk, "/"), OK);
    assert_int_equal(disk_sync_dir(world.disk, world.root), OK);
    open_store(&world);
    assert_true(log_store_may_have_lost(world.store)); /* empty: who knows what was here */
    log_store_note_boot(world.store);
    assert_false(log_store_may_have_lost(world.store));
    restart_machine(&world, false);
    assert_false(log_store_may_have_lost(world.store));
    restart_machine(&world, true);
    assert_true(log_store_may_have_lost(world.store));
    restart_machine(&world, false); /* killed before it was noted */
    assert_true(log_store_may_have_lost(world.store));
    close_store(&world); /* stopped before it was noted */
    open_store(&world);
    assert_true(log_store_may_have_lost(world.store));
    log_store_note_boot(world.store);
    close_store(&world); /* in good order: all was synced */
    sim_machine_crash(world.machine);
    restart_machine(&world, true);
    assert_false(log_store_may_have_lost(world.store));
    /* One of two is enough. */
    log_store_note_boot(world.store);
    char path[120];
    snprintf(path, sizeof path, "%s/" BOOT_FILE, world.paths[1]);
    assert_int_equal(disk_write_file_atomic(world.disk, path, SLICE("odradek boot, version 9\nx\n")), OK);
    restart_machine(&world, false);
    assert_true(log_store_may_have_lost(world.store));
    close_store(&world);
    world_close(&world);
}

static enum error append_sequence(struct world *world, struct log *log, int sequence, int64_t *offset)
{
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    options.producer_id = 5;
    options.producer_epoch = 0;
    options.base_sequence = sequence;
    struct batch_builder builder = {0};
    struct slice batch;
    uint8_t copy[200];
    batch_builder_start(&builder, &options);
    assert_int_equal(batch_builder_add(&builder, world->now_ms, SLICE("k"), SLICE("v"), NULL, 0), OK);
    assert_int_equal(batch_builder_finish(&builder, &batch), OK);
    memcpy(copy, batch.data, batch.size);
    struct log_append how = {.origin = APPEND_CLIENT, .now_ms = world->now_ms};
    struct log_appended appended;
    enum error err = log_append(log, copy, batch.size, &how, &appended);
    *offset = appended.base_offset;
    batch_builder_free(&builder);
    return err;
}

/* With several batches on their way a producer hears of a full disk for each, and not that its sequence is broken. */
static void a_full_disk_breaks_no_sequence(void **state)
{
    struct world world;
    world_open(&world, 1);
    open_store(&world);
    struct log *log = create(&world, "t", 0);
    static const struct {
        int sequence;
        bool is_full;
        enum error err;
    } steps[] = {{0, false, OK},
                 {1, true, ERR_DISK_FULL},
                 {2, true, ERR_DISK_FULL},
                 {INT32_MAX, true, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER}, /* of long ago */
                 {2, false, ERR_DISK_FULL}, /* room again, but what is before it is still missing */
                 {1, false, OK},
                 {2, false, OK},
                 {4, false, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        int64_t offset;
        sim_disk_full(world.machine, steps[i].is_full);
        assert_int_equal(append_sequence(&world, log, steps[i].sequence, &offset), steps[i].err);
    }
    close_store(&world);
    world_close(&world);
}

/* Also where the log knows nothing of the producer, and where another found room in between. */
static void a_full_disk_keeps_first_batches_first(void **state)
{
    struct world world;
    world_open(&world, 1);
    open_store(&world);
    struct log *log = create(&world, "t", 0);
    int64_t offset;
    sim_disk_full(world.machine, true);
    assert_int_equal(append_sequence(&world, log, 0, &offset), ERR_DISK_FULL);
    sim_disk_full(world.machine, false);
    assert_int_equal(append(&world, log, world.now_ms), OK);
    assert_int_equal(append_sequence(&world, log, 1, &offset), ERR_DISK_FULL);
    assert_int_equal(append_sequence(&world, log, 0, &offset), OK);
    assert_int_equal(append_sequence(&world, log, 1, &offset), OK);
    assert_int_equal(append_sequence(&world, log, 3, &offset), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    close_store(&world);
    world_close(&world);
}

/* Without room for anything a log is cut all the same, and forgets what its producers sent of the rest; one that would have to begin
 * anew elsewhere stays as it is. */
static void a_full_disk_cuts_whole_or_not_at_all(void **state)
{
    struct world world;
    world_open(&world, 1);
    open_store(&world);
    struct log *log = create(&world, "t", 0);
    int64_t offset;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(log_epoch_assign(log, i, i), OK);
        assert_int_equal(append_sequence(&world, log, i, &offset), OK);
    }
    run_ms(&world, 1500);
    sim_disk_full(world.machine, true);
    log_store_checkpoint(world.store); /* in vain */
    run_ms(&world, 100);
    assert_int_equal(log_truncate_to(log, 5), OK);
    assert_int_equal(log_end_offset(log), 5);
    assert_int_equal(log_epoch_end(log, 7).end_offset, -1);
    assert_int_equal(log_truncate_fully_and_start_at(log, 100), ERR_DISK_FULL);
    log_store_checkpoint(world.store); /* under way: nobody knows what the file promises */
    assert_int_equal(log_truncate_fully_and_start_at(log, 100), ERR_DISK_FULL);
    assert_int_equal(log_truncate_fully_and_start_at(log, 0), ERR_DISK_FULL);
    assert_int_equal(log_end_offset(log), 5);
    assert_int_equal(world.dir_failures, 0);
    sim_disk_full(world.machine, false);
    assert_int_equal(append_sequence(&world, log, 5, &offset), OK);
    assert_int_equal(offset, 5);
    assert_int_equal(log_end_offset(log), 6);
    log_store_checkpoint(world.store);
    assert_int_equal(log_truncate_fully_and_start_at(log, 100), OK);
    assert_int_equal(log_start_offset(log), 100);
    close_store(&world);
    world_close(&world);
}

/* A log whose making found no room left its directory behind. */
static void a_log_is_made_where_it_was_begun(void **state)
{
    struct world world;
    world_open(&world, 2);
    open_store(&world);
    char path[120];
    snprintf(path, sizeof path, "%s/v-0", world.paths[1]);
    assert_int_equal(disk_mkdir(world.disk, path), OK);
    assert_string_equal(log_dir_path(create(&world, "v", 0)), world.paths[1]);
    close_store(&world);
    open_store(&world);
    assert_non_null(log_store_find(world.store, SLICE("v"), 0));
    close_store(&world);
    world_close(&world);
}

/* What a start makes anew can wait until there is room; what is there can be read, and deleted to make some. */
static void a_start_on_a_full_disk_reads_and_deletes(void **state)
{
    struct world world;
    world_open(&world, 1);
    open_store(&world);
    struct log *log = create(&world, "t", 0);
    for (int i = 0; i < 20; i++) assert_int_equal(append(&world, log, world.now_ms + i), OK);
    assert_int_equal(append(&world, create(&world, "u", 0), world.now_ms), OK);
    char path[120];
    snprintf(path, sizeof path, "%s/v-0", world.paths[0]); /* as one whose making found no room */
    assert_int_equal(disk_mkdir(world.disk, path), OK);
    sim_disk_full(world.machine, true);
    for (int life = 0; life < 3; life++) {
        restart_machine(&world, false);
        assert_int_equal(world.dir_failures, 0);
        assert_int_equal(log_store_live_dirs(world.store), 1);
        assert_null(log_store_find(world.store, SLICE("v"), 0));
        log = log_store_find(world.store, SLICE("t"), 0);
        assert_int_equal(log_end_offset(log), 20);
        for (int64_t offset = 0; offset < 20; offset++) {
            struct log_read what = {.offset = offset, .limit_offset = 20, .max_bytes = 1 << 20};
            struct log_slice slice;
            assert_int_equal(log_read_blocking(log, &what, &slice), OK);
            assert_int_equal(slice.base_offset, offset);
            log_slice_release(&slice);
        }
        log_set_home(log, &world.home);
        assert_int_equal(append(&world, log, world.now_ms), ERR_DISK_FULL);
        struct log *other = log_store_find(world.store, SLICE("u"), 0);
        if (other) assert_int_equal(log_store_delete(world.store, &other), OK);
        run_ms(&world, 1500); /* what is written behind finds no room, again and again */
        assert_int_equal(world.dir_failures, 0);
        assert_null(log_store_find(world.store, SLICE("u"), 0));
    }
    sim_disk_full(world.machine, false);
    assert_int_equal(append(&world, log, world.now_ms), OK);
    assert_int_equal(append(&world, create(&world, "v", 0), world.now_ms), OK);
    close_store(&world);
    open_store(&world);
    log = log_store_find(world.store, SLICE("t"), 0);
    assert_int_equal(log_end_offset(log), 21);
    assert_true(size_of(&world, log, 0, FILE_INDEX) > 0 && size_of(&world, log, 0, FILE_TIMEINDEX) > 0);
    close_store(&world);
    world_close(&world);
}

/* The word that a directory failed is on its way when the store is gone already. */
static void a_store_that_does_not_open_says_no_more(void **state)
{
    struct world world;
    world_open(&world, 2);
    open_store(&world);
    close_store(&world);
    sim_disk_fail_sync(world.machine, 100);
    struct text why = {0};
    assert_int_equal(try_open(&world, "cluster-of-one", 1, &why), ERR_IO);
    run_ms(&world, 50);
    assert_int_equal(world.dir_failures, 0);
    text_free(&why);
    world_close(&world);
}

/* What stood behind a damaged batch is gone, and the power goes again before anything else is synced. */
static void what_recovery_dropped_stays_away(void **state)
{
    struct world world;
    world_open(&world, 1);
    assert_int_equal(disk_sync_dir(world.disk, "/"), OK);
    assert_int_equal(disk_sync_dir(world.disk, world.root), OK);
    open_store(&world);
    struct log *log = create(&world, "t", 0);
    for (int i = 0; i < 30; i++) assert_int_equal(append(&world, log, world.now_ms), OK);
    assert_int_equal(log_flush_now(log), OK);
    restart_machine(&world, true);
    log = log_store_find(world.store, SLICE("t"), 0);
    assert_int_equal(log_end_offset(log), 30);
    assert_int_equal(sim_disk_rot(world.machine, "/data/0/t-0/00000000000000000000.log", 1000, 1), OK);
    restart_machine(&world, false);
    log = log_store_find(world.store, SLICE("t"), 0);
    assert_in_range(log_end_offset(log), 1, 4);
    log_store_abandon(world.store, false);
    sim_machine_crash(world.machine);
    static const char *const dropped[] = {"05", "10", "15", "20", "25"};
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++) {
        char path[80];
        snprintf(path, sizeof path, "/data/0/t-0/000000000000000000%s.log", dropped[i]);
        struct file *file;
        assert_int_equal(file_open(sim_machine_disk(world.machine), path, FILE_READ, &file), ERR_NOT_FOUND);
    }
    world.disk = world.options.disk = sim_machine_disk(world.machine);
    assert_int_equal(sim_loop_new(world.machine, &world.loop), OK);
    world.options.loop = world.loop;
    world_close(&world);
}

/* The power goes right after a clean stop of more logs than are synced one by one. */
static void a_clean_stop_is_on_the_platter(void **state)
{
    for (int logs = 1; logs <= 12; logs += 11) {
        struct world world;
        world_open(&world, 1);
        assert_int_equal(disk_sync_dir(world.disk, "/"), OK);
        assert_int_equal(disk_sync_dir(world.disk, world.root), OK);
        open_store(&world);
        for (int i = 0; i < logs; i++) {
            struct log *log = create(&world, "t", i);
            for (int k = 0; k <= i; k++) assert_int_equal(append(&world, log, world.now_ms), OK);
        }
        close_store(&world);
        sim_machine_crash(world.machine);
        world.disk = world.options.disk = sim_machine_disk(world.machine);
        assert_int_equal(sim_loop_new(world.machine, &world.loop), OK);
        world.options.loop = world.loop;
        open_store(&world);
        struct log_store_dir dir;
        log_store_dir(world.store, 0, &dir);
        assert_true(dir.was_clean && dir.is_online);
        assert_int_equal(log_store_count(world.store), logs);
        for (int i = 0; i < logs; i++) {
            struct log *log = log_store_find(world.store, SLICE("t"), i);
            assert_int_equal(log_end_offset(log), i + 1);
            assert_int_equal(log_topic_id(log)->bytes[0], 9);
            assert_int_equal(log_latest_epoch(log), 3);
            log_set_home(log, &world.home);
            assert_int_equal(append(&world, log, world.now_ms), OK);
        }
        close_store(&world);
        world_close(&world);
    }
}

static void a_failed_sync_takes_its_directory_along(void **state)
{
    struct world world;
    world_open(&world, 2);
    open_store(&world);
    struct log *logs[2] = {create(&world, "t", 0), create(&world, "t", 1)};
    assert_string_not_equal(log_dir_path(logs[0]), log_dir_path(logs[1]));
    for (int i = 0; i < 2; i++) assert_int_equal(append(&world, logs[i], world.now_ms), OK);
    sim_disk_fail_sync(world.machine, 1);
    log_flush(logs[0]);
    run_ms(&world, 500);
    assert_int_equal(world.dir_failures, 1);
    assert_true(log_is_offline(logs[0]) && !log_is_offline(logs[1]));
    assert_int_equal(log_synced_end_offset(logs[0]), 0);
    assert_int_equal(append(&world, logs[0], world.now_ms), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(append(&world, logs[1], world.now_ms), OK);
    assert_int_equal(log_store_live_dirs(world.store), 1);
    assert_string_equal(log_dir_path(create(&world, "t", 2)), log_dir_path(logs[1]));
    close_store(&world);
    world_close(&world);
}

/* The process starts again, the machine does not: the cache still shows what the kernel gave up on. Records written and synced
 * behind it must not go with it when the power does. */
static void a_restart_after_a_failed_sync_writes_again(void **state)
{
    struct world world;
    world_open(&world, 1);
    assert_int_equal(disk_sync_dir(world.disk, "/"), OK);
    assert_int_equal(disk_sync_dir(world.disk, world.root), OK);
    open_store(&world);
    struct log *log = create(&world, "t", 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(append(&world, log, world.now_ms), OK); /* several segments */
    sim_disk_fail_sync(world.machine, 100);
    log_flush(log);
    run_ms(&world, 500);
    assert_true(log_is_offline(log));
    abandon(&world);
    sim_disk_fail_sync(world.machine, 0);
    assert_true(file_says(&world, world.paths[0], LOST_SYNC_FILE, "lost sync"));

    open_store(&world);
    assert_false(file_says(&world, world.paths[0], LOST_SYNC_FILE, "lost sync"));
    log = log_store_find(world.store, SLICE("t"), 0);
    assert_int_equal(log_end_offset(log), 20);
    log_set_home(log, &world.home);
    assert_int_equal(append(&world, log, world.now_ms), OK);
    log_flush(log);
    run_ms(&world, 500);
    assert_int_equal(log_synced_end_offset(log), 21);

    sim_machine_crash(world.machine);
    log_store_abandon(world.store, true);
    world.disk = world.options.disk = sim_machine_disk(world.machine);
    assert_int_equal(sim_loop_new(world.machine, &world.loop), OK);
    world.options.loop = world.loop;
    open_store(&world);
    log = log_store_find(world.store, SLICE("t"), 0);
    assert_int_equal(log_end_offset(log), 21);
    assert_int_equal(log_topic_id(log)->bytes[0], 9);
    assert_int_equal(log_latest_epoch(log), 3);
    close_store(&world);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_boot_is_a_loss_until_it_is_noted),
        cmocka_unit_test(a_full_disk_breaks_no_sequence),
        cmocka_unit_test(a_full_disk_keeps_first_batches_first),
        cmocka_unit_test(a_full_disk_cuts_whole_or_not_at_all),
        cmocka_unit_test(a_log_is_made_where_it_was_begun),
        cmocka_unit_test(a_start_on_a_full_disk_reads_and_deletes),
        cmocka_unit_test(a_store_that_does_not_open_says_no_more),
        cmocka_unit_test(what_recovery_dropped_stays_away),
        cmocka_unit_test(a_clean_stop_is_on_the_platter),
        cmocka_unit_test(a_failed_sync_takes_its_directory_along),
        cmocka_unit_test(a_restart_after_a_failed_sync_writes_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
