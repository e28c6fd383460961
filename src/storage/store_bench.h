/* store_bench.h: what the tests of a whole store share: a loop, a disk with one or two log directories, a store on them, and batches for it. */
#pragma once
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

static inline void stop_loop(struct loop_timer *timer)
{
    loop_stop(CONTAINER_OF(timer, struct world, alarm)->loop);
}

static inline void run_ms(struct world *world, int64_t ms)
{
    loop_timer_start(world->loop, &world->alarm, ms);
    loop_run(world->loop);
    loop_timer_stop(world->loop, &world->alarm);
}

static inline void dir_failed(void *context, const char *dir, enum error err)
{
    ((struct world *)context)->dir_failures++;
}

static inline void world_open(struct world *world, size_t dir_count)
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

static inline void world_close(struct world *world)
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

static inline void loaded(void *context, enum error err, const char *why)
{
    struct world *world = context;
    world->is_loaded = true;
    world->load_error = err;
    snprintf(world->load_why, sizeof world->load_why, "%s", why);
}

static inline enum error try_open(struct world *world, const char *cluster_id, int32_t broker_id,
                                  struct text *why)
{
    enum error err = log_store_open(&world->options, &world->store, why);
    if (err == OK) err = log_store_claim(world->store, cluster_id, broker_id, why);
    return err;
}

static inline void open_store(struct world *world)
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

static inline void home_idle(void *context)
{
    *(bool *)context = true;
}

static inline void closed(void *context)
{
    ((struct world *)context)->is_closed = true;
}

static inline void close_store(struct world *world)
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

static inline void abandon(struct world *world)
{
    struct log *log;
    bool is_idle = false;
    for (size_t i = 0; (log = log_store_next(world->store, &i));) log_set_home(log, NULL);
    log_home_close(&world->home, home_idle, &is_idle);
    for (int i = 0; i < 500 && !is_idle; i++) run_ms(world, 10);
    run_ms(world, 100);
    log_store_abandon(world->store, false);
}

static inline struct log *create(struct world *world, const char *topic, int32_t partition)
{
    struct log *log = NULL;
    struct uuid id = {{9, 8, 7}};
    assert_int_equal(
        log_store_create(world->store, slice_of(topic), partition, &id, &world->options.config, &log), OK);
    log_set_home(log, &world->home);
    return log;
}

static inline enum error append(struct world *world, struct log *log, int64_t timestamp)
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

static inline int64_t size_of(struct world *world, const struct log *log, int64_t base_offset,
                              enum file_kind kind)
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

static inline void write_text(struct world *world, const char *dir, const char *name, const char *content)
{
    char *path = path_join(dir, name);
    assert_int_equal(disk_write_file_atomic(world->disk, path, slice_of(content)), OK);
    free(path);
}

static inline bool file_says(struct world *world, const char *dir, const char *name, const char *part)
{
    char *path = path_join(dir, name);
    struct bytes *bytes = NULL;
    bool is_there = disk_read_file(world->disk, path, 1 << 20, &bytes) == OK &&
                    memmem(bytes->data, bytes->size, part, strlen(part)) != NULL;
    bytes_release(&bytes);
    free(path);
    return is_there;
}
