/* log_store_test.c: all logs of a node with a loop under them: what homes do by themselves, what directories refuse, and what
 * is left after a restart. Over the kernel and, as log_store_test_sim, over the simulated loop and disk. */
#include "storage/store_bench.h"

static void partitions_spread_and_come_back(void **state)
{
    struct world world;
    world_open(&world, 2);
    open_store(&world);
    for (int i = 0; i < 6; i++) {
        struct log *log = create(&world, "t", i);
        for (int k = 0; k < i; k++) assert_int_equal(append(&world, log, world.now_ms), OK);
        log_set_high_watermark(log, i);
    }
    struct log *again;
    assert_int_equal(log_store_create(world.store, SLICE("t"), 3, NULL, &world.options.config, &again),
                     ERR_EXISTS);
    assert_int_equal(log_store_create(world.store, SLICE("a/b"), 3, NULL, &world.options.config, &again),
                     ERR_INVALID_TOPIC_EXCEPTION);
    log_store_set_broker_epoch(world.store, 42);
    close_store(&world);
    assert_true(file_says(&world, world.paths[0], CLEAN_SHUTDOWN_FILE, "\"brokerEpoch\":42"));
    assert_true(file_says(&world, world.paths[0], META_PROPERTIES_FILE, "cluster.id=cluster-of-one"));
    assert_true(file_says(&world, world.paths[0], META_PROPERTIES_FILE, "version=0\nbroker.id=1\n"));

    open_store(&world);
    assert_int_equal(log_store_count(world.store), 6);
    for (size_t i = 0; i < 2; i++) {
        struct log_store_dir dir;
        log_store_dir(world.store, i, &dir);
        assert_true(dir.is_online && dir.was_clean);
        assert_int_equal(dir.partition_count, 3);
    }
    for (int i = 0; i < 6; i++) {
        struct log *log = log_store_find(world.store, SLICE("t"), i);
        assert_non_null(log);
        assert_int_equal(log_end_offset(log), i);
        assert_int_equal(log_high_watermark(log), i);
        assert_int_equal(log_synced_end_offset(log), i);
        assert_int_equal(log_latest_epoch(log), i == 0 ? -1 : 3);
        assert_int_equal(log_topic_id(log)->bytes[0], 9);
    }
    close_store(&world);
    world_close(&world);
}

static void refusals(void **state)
{
    static const struct {
        const char *meta[2]; /* of the two directories; NULL: none */
        const char *cluster_id;
        int32_t broker_id;
        enum error err;
        const char *says;
    } cases[] = {
        {{"version=1\ncluster.id=x\nnode.id=1\n", NULL}, "x", 1, ERR_UNSUPPORTED, "KRaft"},
        {{"#a\nversion=0\ncluster.id=x\nbroker.id=1\n", NULL}, "y", 1, ERR_CONFIG, "this is cluster \"y\""},
        {{"version=0\ncluster.id=x\nbroker.id=1\n", NULL}, "x", 2, ERR_CONFIG, "this is broker 2"},
        {{"version=0\ncluster.id=x\nbroker.id=1\n", "version=0\ncluster.id=z\nbroker.id=1\n"},
         "x",
         1,
         ERR_CONFIG,
         "\"z\""},
        {{"version=0\ncluster.id=x\nbroker.id=1\n", "version=0\ncluster.id=x\nbroker.id=2\n"},
         "x",
         1,
         ERR_CONFIG,
         "to broker 2"},
        {{"nonsense", NULL}, "x", 1, ERR_CONFIG, "damaged"},
        {{"version=0\r\ncluster.id=x\r\nbroker.id=1\r\n", NULL}, "x", 1, OK, NULL},
        {{NULL, NULL}, "x", 1, OK, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world world;
        struct text why = {0};
        world_open(&world, 2);
        for (int k = 0; k < 2; k++) {
            if (cases[i].meta[k]) write_text(&world, world.paths[k], META_PROPERTIES_FILE, cases[i].meta[k]);
        }
        assert_int_equal(try_open(&world, cases[i].cluster_id, cases[i].broker_id, &why), cases[i].err);
        if (cases[i].says && !strstr(why.data, cases[i].says)) fail_msg("case %zu: %s", i, why.data);
        if (world.store) log_store_abandon(world.store, false);
        text_free(&why);
        world_close(&world);
    }
}

static void one_partition_in_two_directories(void **state)
{
    struct world world;
    world_open(&world, 2);
    for (int i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/twice-0", world.paths[i]);
        assert_int_equal(disk_mkdir(world.disk, path), OK);
    }
    struct text why = {0};
    assert_int_equal(try_open(&world, "c", 1, &why), OK);
    log_store_load(world.store, loaded, &world);
    for (int i = 0; i < 100 && !world.is_loaded; i++) run_ms(&world, 10);
    assert_int_equal(world.load_error, ERR_CONFIG);
    assert_non_null(strstr(world.load_why, "twice-0"));
    log_store_abandon(world.store, false);
    text_free(&why);
    world_close(&world);
}

static void count_sync(void *context, struct log *log)
{
    ((struct world *)context)->syncs++;
}

static void homes_write_behind_and_commit_in_groups(void **state)
{
    struct world world;
    world_open(&world, 1);
    open_store(&world);
    struct log *lazy = create(&world, "lazy", 0);
    for (int i = 0; i < 5; i++) assert_int_equal(append(&world, lazy, world.now_ms + i), OK);
    assert_int_equal(size_of(&world, lazy, 0, FILE_INDEX), 0);
    run_ms(&world, 1300);
    assert_int_equal(size_of(&world, lazy, 0, FILE_INDEX), 4 * 8);
    assert_int_equal(size_of(&world, lazy, 0, FILE_TIMEINDEX), 4 * 12);
    assert_int_equal(log_synced_end_offset(lazy), 0);
    log_on_synced(lazy, count_sync, &world);
    for (int i = 0; i < 5; i++) assert_int_equal(append(&world, lazy, world.now_ms + i), OK);
    run_ms(&world, 500);
    int64_t rolled_at = log_synced_end_offset(lazy); /* a rolled segment is synced by itself */
    assert_true(rolled_at > 0 && rolled_at < 10);
    assert_int_equal(world.syncs, 1);

    world.options.config.flush_messages = 1;
    struct log *careful = create(&world, "careful", 0);
    world.syncs = 0;
    log_on_synced(careful, count_sync, &world);
    for (int i = 0; i < 5; i++) assert_int_equal(append(&world, careful, world.now_ms), OK);
    assert_int_equal(log_synced_end_offset(careful), 0);
    run_ms(&world, 300);
    assert_int_equal(log_synced_end_offset(careful), 5);
    assert_int_equal(world.syncs, 1); /* five appends of one turn, one commit */

    world.options.config.flush_messages = INT64_MAX;
    world.options.config.flush_ms = 200;
    struct log *timed = create(&world, "timed", 0);
    assert_int_equal(append(&world, timed, world.now_ms), OK);
    run_ms(&world, 600);
    assert_int_equal(log_synced_end_offset(timed), 1);
    close_store(&world);
    world_close(&world);
}

static void retention_runs_by_itself(void **state)
{
    struct world world;
    world_open(&world, 1);
    world.options.retention_initial_delay_ms = 200;
    world.options.retention_check_interval_ms = 200;
    world.options.config.retention_bytes = 4000;
    world.options.high_watermark_checkpoint_interval_ms = 100;
    open_store(&world);
    struct log *log = create(&world, "t", 0);
    for (int i = 0; i < 40; i++) assert_int_equal(append(&world, log, loop_wall_ms(world.loop)), OK);
    run_ms(&world, 400);
    assert_int_equal(log_start_offset(log), 0); /* nothing is below the high watermark */
    log_set_high_watermark(log, 30);
    run_ms(&world, 400);
    assert_true(log_start_offset(log) > 0 && log_start_offset(log) <= 30);
    assert_true(log_size_bytes(log) >= 4000);
    assert_true(file_says(&world, world.paths[0], HIGH_WATERMARK_FILE, "t 0 30\n"));
    run_ms(&world, 800);
    char dir[128];
    struct disk_entry *entries;
    size_t count, deleted = 0;
    snprintf(dir, sizeof dir, "%s/t-0", world.paths[0]);
    assert_int_equal(disk_list(world.disk, dir, &entries, &count), OK);
    for (size_t i = 0; i < count; i++) deleted += strstr(entries[i].name, ".deleted") != NULL;
    assert_int_equal(deleted, 0);
    disk_list_free(entries, count);
    close_store(&world);
    world_close(&world);
}

static void a_deleted_log_stays_deleted(void **state)
{
    struct world world;
    world_open(&world, 1);
    open_store(&world);
    struct log *log = create(&world, "t", 0);
    for (int i = 0; i < 20; i++) assert_int_equal(append(&world, log, world.now_ms), OK);
    log_set_high_watermark(log, 15);
    assert_int_equal(log_increase_start(log, 12), OK);
    assert_int_equal(log_flush_now(log), OK);
    log_store_checkpoint(world.store);
    run_ms(&world, 200);
    assert_true(file_says(&world, world.paths[0], LOG_START_FILE, "t 0 12\n"));

    struct log_read what = {.offset = 14, .limit_offset = 20, .max_bytes = 10000};
    struct log_slice slice;
    assert_int_equal(log_read(log, &what, &slice), OK);
    assert_int_equal(log_store_delete(world.store, &log), OK);
    assert_null(log_store_find(world.store, SLICE("t"), 0));
    log = create(&world, "t", 0);
    assert_int_equal(append(&world, log, world.now_ms), OK);
    assert_false(file_says(&world, world.paths[0], LOG_START_FILE, "t 0"));
    uint8_t byte;
    size_t got;
    assert_int_equal(file_pread(slice.file, &byte, 1, slice.position, &got), OK); /* readers may finish */
    assert_int_equal(got, 1);
    log_slice_release(&slice);
    abandon(&world);

    open_store(&world);
    log = log_store_find(world.store, SLICE("t"), 0);
    assert_non_null(log);
    assert_int_equal(log_start_offset(log), 0);
    assert_int_equal(log_end_offset(log), 1);
    run_ms(&world, 300);
    struct disk_entry *entries;
    size_t count;
    assert_int_equal(disk_list(world.disk, world.paths[0], &entries, &count), OK);
    for (size_t i = 0; i < count; i++) assert_null(strstr(entries[i].name, "-delete"));
    disk_list_free(entries, count);
    close_store(&world);
    world_close(&world);
}

static void names(void **state)
{
    static const struct {
        const char *name;
        enum partition_dir_kind kind;
        const char *topic;
        int32_t partition;
    } cases[] = {
        {"orders-0", DIR_CURRENT, "orders", 0},
        {"a-1", DIR_CURRENT, "a", 1},
        {"a-1-2", DIR_CURRENT, "a-1", 2},
        {"a.b_c-12", DIR_CURRENT, "a.b_c", 12},
        {"-3", DIR_FOREIGN, NULL, 0},
        {"orders", DIR_FOREIGN, NULL, 0},
        {"orders-", DIR_FOREIGN, NULL, 0},
        {"orders-x", DIR_FOREIGN, NULL, 0},
        {"orders-99999999999", DIR_FOREIGN, NULL, 0},
        {"..-0", DIR_FOREIGN, NULL, 0},
        {"lost+found", DIR_FOREIGN, NULL, 0},
        {"orders-0.0123456789abcdef0123456789abcdef-delete", DIR_DELETE, "orders", 0},
        {"a-b.c-7.0123456789abcdef0123456789abcdef-stray", DIR_STRAY, "a-b.c", 7},
        {"orders-0.0123456789abcdef0123456789abcdef-future", DIR_FUTURE, "orders", 0},
        {"orders-0.0123-delete", DIR_FOREIGN, NULL, 0},
        {"x-future-0", DIR_CURRENT, "x-future", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct partition_dir_name parsed = partition_dir_parse(slice_of(cases[i].name));
        if (parsed.kind != cases[i].kind) fail_msg("%s", cases[i].name);
        if (parsed.kind == DIR_FOREIGN) continue;
        assert_true(slice_is(parsed.topic, cases[i].topic));
        assert_int_equal(parsed.partition, cases[i].partition);
    }
    char longest[300], gone[PARTITION_DIR_NAME_MAX + 1];
    const uint8_t unique[16] = {0xab};
    memset(longest, 't', 249);
    strcpy(longest + 249, "-1000");
    partition_dir_delete_name(slice_of(longest), unique, gone);
    assert_int_equal(strlen(gone), 255);
    struct partition_dir_name parsed = partition_dir_parse(slice_of(gone));
    assert_int_equal(parsed.kind, DIR_DELETE);
    assert_int_equal(parsed.partition, 1000);
}

int main(void)
{
    diag_set_level(DIAG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(partitions_spread_and_come_back),
        cmocka_unit_test(refusals),
        cmocka_unit_test(one_partition_in_two_directories),
        cmocka_unit_test(homes_write_behind_and_commit_in_groups),
        cmocka_unit_test(retention_runs_by_itself),
        cmocka_unit_test(a_deleted_log_stays_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
