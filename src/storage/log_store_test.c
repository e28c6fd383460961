/* log_store_test.c: all logs of a node with a loop under them: what homes do by themselves, what directories refuse, and what
 * is left after a restart. Over the kernel and, as log_store_test_sim, over the simulated loop and disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/diag.h"
#include "storage/checkpoint.h"
#include "storage/log_store.h"
#include "storage/names.h"
#include "wire/record.h"
#ifdef LOOP_IS_SIMULATED
#include "loop/sim.h"
#else
#include "loop/loop.h"
#endif

struct world {
    struct descriptors *descriptors;
    struct loop *loop;
    struct disk *disk;
    char root[64], paths[2][80];
    const char *dirs[2];
    struct loop_timer alarm;
    struct log_store_options options;
    struct log_store *store;
    struct log_home home;
    bool is_loaded, is_closed;
    enum error load_error;
    char load_why[256];
    int dir_failures, syncs;
    int64_t now_ms;
#ifdef LOOP_IS_SIMULATED
    struct sim *sim;
    struct sim_machine *machine;
#endif
};

static void stop_loop(struct loop_timer *timer)
{
    loop_stop(CONTAINER_OF(timer, struct world, alarm)->loop);
}

static void run_ms(struct world *world, int64_t ms)
{
    loop_timer_start(world->loop, &world->alarm, ms);
    loop_run(world->loop);
    loop_timer_stop(world->loop, &world->alarm);
}

static void dir_failed(void *context, const char *dir, enum error err)
{
    ((struct world *)context)->dir_failures++;
}

static void world_open(struct world *world, size_t dir_count)
{
    *world = (struct world){.alarm = {.run = stop_loop}};
#ifdef LOOP_IS_SIMULATED
    assert_int_equal(sim_new(7, &world->sim), OK);
    assert_int_equal(sim_machine_new(world->sim, "one", &world->machine), OK);
    assert_int_equal(sim_loop_new(world->machine, &world->loop), OK);
    world->disk = sim_machine_disk(world->machine);
    strcpy(world->root, "/data");
#else
    world->descriptors = descriptors_new(0);
    assert_int_equal(loop_new(world->descriptors, &world->loop), OK);
    world->disk = disk_new(world->descriptors);
    strcpy(world->root, "/tmp/odradek-store-XXXXXX");
    assert_non_null(mkdtemp(world->root));
#endif
    world->now_ms = loop_wall_ms(world->loop);
    log_store_options_default(&world->options);
    for (size_t i = 0; i < dir_count; i++) {
        snprintf(world->paths[i], sizeof world->paths[i], "%s/%zu", world->root, i);
        world->dirs[i] = world->paths[i];
        assert_int_equal(disk_mkdir(world->disk, world->paths[i]), OK);
    }
    world->options.disk = world->disk;
    world->options.loop = world->loop;
    world->options.dirs = world->dirs;
    world->options.dir_count = dir_count;
    world->options.on_dir_failed = dir_failed;
    world->options.context = world;
    world->options.config.segment_bytes = 2000;
    world->options.config.index_interval_bytes = 0;
    world->options.config.file_delete_delay_ms = 300;
}

static void world_close(struct world *world)
{
    assert_int_equal(disk_remove_tree(world->disk, world->root), OK);
    loop_free(world->loop);
    disk_free(world->disk);
#ifdef LOOP_IS_SIMULATED
    sim_free(world->sim);
#else
    descriptors_free(world->descriptors);
#endif
}

static void loaded(void *context, enum error err, const char *why)
{
    struct world *world = context;
    world->is_loaded = true;
    world->load_error = err;
    snprintf(world->load_why, sizeof world->load_why, "%s", why);
}

static enum error try_open(struct world *world, const char *cluster_id, int32_t broker_id, struct text *why)
{
    enum error err = log_store_open(&world->options, &world->store, why);
    if (err == OK) err = log_store_claim(world->store, cluster_id, broker_id, why);
    return err;
}

static void open_store(struct world *world)
{
    struct text why = {0};
    enum error err = try_open(world, "cluster-of-one", 1, &why);
    if (err != OK) fail_msg("open: %s", why.data);
    text_free(&why);
    world->is_loaded = false;
    log_store_load(world->store, loaded, world);
    for (int i = 0; i < 500 && !world->is_loaded; i++) run_ms(world, 10);
    assert_true(world->is_loaded);
    assert_int_equal(world->load_error, OK);
    log_home_init(&world->home, world->store, world->loop);
}

static void home_idle(void *context)
{
    *(bool *)context = true;
}

static void closed(void *context)
{
    ((struct world *)context)->is_closed = true;
}

static void close_store(struct world *world)
{
    bool is_idle = false;
    struct log *log;
    for (size_t i = 0; (log = log_store_next(world->store, &i));) log_set_home(log, NULL);
    log_home_close(&world->home, home_idle, &is_idle);
    for (int i = 0; i < 500 && !is_idle; i++) run_ms(world, 10);
    assert_true(is_idle);
    world->is_closed = false;
    log_store_close(world->store, closed, world);
    for (int i = 0; i < 500 && !world->is_closed; i++) run_ms(world, 10);
    assert_true(world->is_closed);
}

static void abandon(struct world *world)
{
    struct log *log;
    bool is_idle = false;
    for (size_t i = 0; (log = log_store_next(world->store, &i));) log_set_home(log, NULL);
    log_home_close(&world->home, home_idle, &is_idle);
    for (int i = 0; i < 500 && !is_idle; i++) run_ms(world, 10);
    run_ms(world, 100);
    log_store_abandon(world->store, false);
}

static struct log *create(struct world *world, const char *topic, int32_t partition)
{
    struct log *log = NULL;
    struct uuid id = {{9, 8, 7}};
    assert_int_equal(
        log_store_create(world->store, slice_of(topic), partition, &id, &world->options.config, &log), OK);
    log_set_home(log, &world->home);
    return log;
}

static enum error append(struct world *world, struct log *log, int64_t timestamp)
{
    struct batch_builder builder = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct slice built;
    uint8_t value[300] = "a value";
    batch_builder_start(&builder, &options);
    assert_int_equal(
        batch_builder_add(&builder, timestamp, SLICE_NULL, (struct slice){value, sizeof value}, NULL, 0), OK);
    assert_int_equal(batch_builder_finish(&builder, &built), OK);
    uint8_t copy[1024];
    memcpy(copy, built.data, built.size);
    struct log_append how = {.leader_epoch = 3, .now_ms = world->now_ms};
    struct log_appended appended;
    enum error err = log_append(log, copy, built.size, &how, &appended);
    batch_builder_free(&builder);
    return err;
}

static int64_t size_of(struct world *world, const struct log *log, int64_t base_offset, enum file_kind kind)
{
    char dir[256];
    snprintf(dir, sizeof dir, "%s/%.*s-%d", log_dir_path(log), SLICE_ARG(log_topic(log)),
             (int)log_partition(log));
    char *path = segment_path(dir, base_offset, kind, "");
    struct file *file = NULL;
    int64_t size = -1;
    if (file_open(world->disk, path, FILE_READ, &file) == OK) assert_int_equal(file_size(file, &size), OK);
    file_release(&file);
    free(path);
    return size;
}

static void write_text(struct world *world, const char *dir, const char *name, const char *content)
{
    char *path = path_join(dir, name);
    assert_int_equal(disk_write_file_atomic(world->disk, path, slice_of(content)), OK);
    free(path);
}

static bool file_says(struct world *world, const char *dir, const char *name, const char *part)
{
    char *path = path_join(dir, name);
    struct bytes *bytes = NULL;
    bool is_there = disk_read_file(world->disk, path, 1 << 20, &bytes) == OK &&
                    memmem(bytes->data, bytes->size, part, strlen(part)) != NULL;
    bytes_release(&bytes);
    free(path);
    return is_there;
}

/* --- */

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

#ifdef LOOP_IS_SIMULATED
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
    assert_int_equal(log_end_offset(log), 5);
    assert_int_equal(world.dir_failures, 0);
    sim_disk_full(world.machine, false);
    assert_int_equal(append_sequence(&world, log, 5, &offset), OK);
    assert_int_equal(offset, 5);
    assert_int_equal(log_end_offset(log), 6);
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
#endif

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
#ifdef LOOP_IS_SIMULATED
        cmocka_unit_test(another_boot_is_a_loss_until_it_is_noted),
        cmocka_unit_test(a_full_disk_breaks_no_sequence),
        cmocka_unit_test(a_full_disk_cuts_whole_or_not_at_all),
        cmocka_unit_test(a_log_is_made_where_it_was_begun),
        cmocka_unit_test(a_start_on_a_full_disk_reads_and_deletes),
        cmocka_unit_test(a_store_that_does_not_open_says_no_more),
        cmocka_unit_test(a_clean_stop_is_on_the_platter),
        cmocka_unit_test(a_failed_sync_takes_its_directory_along),
        cmocka_unit_test(a_restart_after_a_failed_sync_writes_again),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
