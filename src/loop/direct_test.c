/* direct_test.c: what direct.h promises, over the kernel and over the simulation. A kernel or a file system without direct writes
 * may say so; then there is nothing to test. */
#include "base/random.h"
#include "loop/contract.h"
#include "loop/direct.h"

enum { BLOCK = DIRECT_BLOCK_BYTES, BLOCKS = 24, WRITES = 40 };

struct writer {
    struct world world;
    struct direct *direct;
    struct random random;
    struct path path;
    struct loop_message begin;
    struct file *file;
    uint8_t model[BLOCKS * BLOCK];
    int written, answers;
    enum error err;
};

static void write_done(void *context, enum error err);

static enum error writer_open(struct writer *writer, uint64_t seed)
{
    static const struct direct_events events = {.done = write_done};
    *writer = (struct writer){0};
    world_open_seeded(&writer->world, seed);
    random_seed(&writer->random, seed);
    struct disk *disk = writer->world.disk;
    writer->path = in(&writer->world, "file");
    assert_int_equal(file_open(disk, writer->path.text, FILE_WRITE | FILE_CREATE, &writer->file), OK);
    assert_int_equal(file_pwrite(writer->file, writer->model, sizeof writer->model, 0), OK);
    assert_int_equal(file_sync(writer->file), OK);
    enum error err = direct_new(writer->world.loop, disk, &events, writer, &writer->direct);
    if (err == OK) err = direct_open(writer->direct, writer->path.text);
    if (err != OK) assert_int_equal(err, ERR_UNSUPPORTED);
    return err;
}

static void writer_close(struct writer *writer)
{
    direct_free(&writer->direct);
    assert_null(writer->direct);
    file_release(&writer->file);
    world_close(&writer->world);
}

static void write_some(struct writer *writer)
{
    size_t most = DIRECT_WRITE_MAX / BLOCK;
    size_t count = 1 + random_below(&writer->random, random_below(&writer->random, 4) ? 2 : most);
    size_t first = random_below(&writer->random, BLOCKS - count + 1);
    random_fill(&writer->random, direct_buffer(writer->direct), count * BLOCK);
    memcpy(writer->model + first * BLOCK, direct_buffer(writer->direct), count * BLOCK);
    int before = writer->answers;
    enum error err = direct_write(writer->direct, count * BLOCK, (int64_t)(first * BLOCK));
    assert_int_equal(writer->answers, before); /* never from within */
    if (err != OK) {
        writer->err = err;
        loop_stop(writer->world.loop);
    }
}

static void begin(struct loop_message *message)
{
    write_some(CONTAINER_OF(message, struct writer, begin));
}

static void write_done(void *context, enum error err)
{
    struct writer *writer = context;
    assert_true(loop_is_current(writer->world.loop));
    writer->answers++;
    writer->err = err;
    if (err == OK && ++writer->written < WRITES) {
        write_some(writer);
    } else {
        loop_stop(writer->world.loop);
    }
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    int tried = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct writer writer;
        if (writer_open(&writer, seed) == OK) {
            writer.begin.run = begin;
            loop_post(writer.world.loop, &writer.begin);
            loop_run(writer.world.loop);
            if (writer.err != ERR_UNSUPPORTED) {
                assert_int_equal(writer.err, OK);
                assert_int_equal(writer.written, WRITES);
                static uint8_t back[BLOCKS * BLOCK + 1];
                size_t got;
                assert_int_equal(file_pread(writer.file, back, sizeof back, 0, &got), OK);
                assert_int_equal(got, sizeof writer.model);
                assert_memory_equal(back, writer.model, got);
                tried++;
            }
        }
        writer_close(&writer);
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
        struct writer writer;
        if (writer_open(&writer, seed) == OK) {
            bool fails = seed % 5 == 0;
            if (fails) sim_disk_fail_sync(writer.world.machine, 1);
            writer.begin.run = begin;
            loop_post(writer.world.loop, &writer.begin);
            sim_run_ms(writer.world.sim, fails ? 200 : 5 + (int64_t)random_below(&writer.random, 20));
            if (fails) assert_int_equal(writer.err, ERR_IO);
            failed += fails;
            /* The write under way may be lost, torn or there: what it was about to change is not looked at. */
            static uint8_t back[BLOCKS * BLOCK], now[BLOCKS * BLOCK];
            memcpy(now, writer.model, sizeof now);
            uint8_t *under_way = direct_buffer(writer.direct);
            sim_machine_crash(writer.world.machine);
            writer.world.disk = sim_machine_disk(writer.world.machine);
            struct file *file;
            size_t got;
            if (file_open(writer.world.disk, writer.path.text, FILE_READ, &file) ==
                OK) { /* its name was never synced */
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
        direct_free(&writer.direct);
        file_release(&writer.file);
        loop_free(writer.world.loop);
        descriptors_free(writer.world.descriptors);
        sim_free(writer.world.sim);
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
