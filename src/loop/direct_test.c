/* direct_test.c: what direct.h promises, over the kernel and over the simulation. A kernel or a file system without direct writes
 * may say so; then there is nothing to test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/random.h"
#include "loop/direct.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/sim.h"

enum { BLOCK = DIRECT_BLOCK_BYTES, BLOCKS = 24, WRITES = 40 };

struct world {
    struct descriptors *descriptors;
    struct loop *loop;
    struct disk *disk;
    struct direct *direct;
    struct random random;
    char directory[64], path[96];
    struct loop_message begin;
    struct file *file;
    uint8_t model[BLOCKS * BLOCK];
    int written, answers;
    enum error err;
#ifdef LOOP_IS_SIMULATED
    struct sim *sim;
    struct sim_machine *machine;
#endif
};

static void write_done(void *context, enum error err);

static enum error world_open(struct world *world, uint64_t seed)
{
    static const struct direct_events events = {.done = write_done};
    *world = (struct world){.descriptors = descriptors_new(0)};
    random_seed(&world->random, seed);
#ifdef LOOP_IS_SIMULATED
    assert_int_equal(sim_new(seed, &world->sim), OK);
    assert_int_equal(sim_machine_new(world->sim, "one", &world->machine), OK);
    assert_int_equal(sim_loop_new(world->machine, &world->loop), OK);
    world->disk = sim_machine_disk(world->machine);
    strcpy(world->directory, "/data");
    assert_int_equal(disk_mkdir(world->disk, world->directory), OK);
#else
    assert_int_equal(loop_new(world->descriptors, &world->loop), OK);
    world->disk = disk_new(world->descriptors);
    strcpy(world->directory, "/tmp/odradek-direct-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
#endif
    snprintf(world->path, sizeof world->path, "%s/file", world->directory);
    assert_int_equal(file_open(world->disk, world->path, FILE_WRITE | FILE_CREATE, &world->file), OK);
    assert_int_equal(file_pwrite(world->file, world->model, sizeof world->model, 0), OK);
    assert_int_equal(file_sync(world->file), OK);
    enum error err = direct_new(world->loop, world->disk, &events, world, &world->direct);
    if (err == OK) err = direct_open(world->direct, world->path);
    if (err != OK) assert_int_equal(err, ERR_UNSUPPORTED);
    return err;
}

static void world_close(struct world *world)
{
    direct_free(&world->direct);
    assert_null(world->direct);
    file_release(&world->file);
    assert_int_equal(disk_remove_tree(world->disk, world->directory), OK);
    loop_free(world->loop);
    disk_free(world->disk);
    descriptors_free(world->descriptors);
#ifdef LOOP_IS_SIMULATED
    sim_free(world->sim);
#endif
}

static void write_some(struct world *world)
{
    size_t most = DIRECT_WRITE_MAX / BLOCK;
    size_t count = 1 + random_below(&world->random, random_below(&world->random, 4) ? 2 : most);
    size_t first = random_below(&world->random, BLOCKS - count + 1);
    random_fill(&world->random, direct_buffer(world->direct), count * BLOCK);
    memcpy(world->model + first * BLOCK, direct_buffer(world->direct), count * BLOCK);
    int before = world->answers;
    enum error err = direct_write(world->direct, count * BLOCK, (int64_t)(first * BLOCK));
    assert_int_equal(world->answers, before); /* never from within */
    if (err != OK) {
        world->err = err;
        loop_stop(world->loop);
    }
}

static void begin(struct loop_message *message)
{
    write_some(CONTAINER_OF(message, struct world, begin));
}

static void write_done(void *context, enum error err)
{
    struct world *world = context;
    assert_true(loop_is_current(world->loop));
    world->answers++;
    world->err = err;
    if (err == OK && ++world->written < WRITES) {
        write_some(world);
    } else {
        loop_stop(world->loop);
    }
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    int tried = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct world world;
        if (world_open(&world, seed) == OK) {
            world.begin.run = begin;
            loop_post(world.loop, &world.begin);
            loop_run(world.loop);
            if (world.err != ERR_UNSUPPORTED) {
                assert_int_equal(world.err, OK);
                assert_int_equal(world.written, WRITES);
                static uint8_t back[BLOCKS * BLOCK + 1];
                size_t got;
                assert_int_equal(file_pread(world.file, back, sizeof back, 0, &got), OK);
                assert_int_equal(got, sizeof world.model);
                assert_memory_equal(back, world.model, got);
                tried++;
            }
        }
        world_close(&world);
    }
#ifdef LOOP_IS_SIMULATED
    assert_true(tried > 0 && tried < 8); /* both kinds of machines */
#endif
}

#ifdef LOOP_IS_SIMULATED
static void what_was_answered_survives_a_power_cut(void **state)
{
    (void)state;
    int cut = 0, failed = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world world;
        if (world_open(&world, seed) == OK) {
            bool fails = seed % 5 == 0;
            if (fails) sim_disk_fail_sync(world.machine, 1);
            world.begin.run = begin;
            loop_post(world.loop, &world.begin);
            sim_run_ms(world.sim, fails ? 200 : 5 + (int64_t)random_below(&world.random, 20));
            if (fails) assert_int_equal(world.err, ERR_IO);
            failed += fails;
            /* The write under way may be lost, torn or there: what it was about to change is not looked at. */
            static uint8_t back[BLOCKS * BLOCK], now[BLOCKS * BLOCK];
            memcpy(now, world.model, sizeof now);
            uint8_t *under_way = direct_buffer(world.direct);
            sim_machine_crash(world.machine);
            world.disk = sim_machine_disk(world.machine);
            struct file *file;
            size_t got;
            if (file_open(world.disk, world.path, FILE_READ, &file) == OK) { /* its name was never synced */
                assert_int_equal(file_pread(file, back, sizeof back, 0, &got), OK);
                assert_int_equal(got, sizeof back);
                for (int block = 0; block < BLOCKS; block++) {
                    bool is_under_way = false;
                    for (int i = 0; i < DIRECT_WRITE_MAX / BLOCK; i++)
                        is_under_way |= memcmp(under_way + i * BLOCK, now + block * BLOCK, BLOCK) == 0;
                    if (!is_under_way) assert_memory_equal(back + block * BLOCK, now + block * BLOCK, BLOCK);
                }
                file_release(&file);
                cut++;
            }
        }
        direct_free(&world.direct);
        file_release(&world.file);
        loop_free(world.loop);
        descriptors_free(world.descriptors);
        sim_free(world.sim);
    }
    assert_true(cut > 5 && failed > 0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
#ifdef LOOP_IS_SIMULATED
        cmocka_unit_test(what_was_answered_survives_a_power_cut),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
