/* move_test.c: a log that moves from directory to directory while it is written to, cut and shortened, and while its process ends
 * in order, dies, or loses power in the middle of any write. What was synced is there afterwards, in one place and once. Over the
 * kernel and, as move_test_sim, over the simulated disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/diag.h"
#include "base/random.h"
#include "storage/checkpoint.h"
#include "storage/move.h"
#include "storage/names.h"
#include "wire/record.h"
#ifdef LOOP_IS_SIMULATED
#include "loop/sim.h"
#else
#include "loop/loop.h"
#endif

enum { RECORDS_MAX = 20000, DIRS = 3 };

struct world {
    uint64_t seed;
    struct random random;
    struct disk *disk;
    struct log_store_options options;
    char root[64], paths[DIRS][80];
    const char *dirs[DIRS];
    struct log_store *store;
    struct log *log, *future;
    /* the model: which epoch wrote the record at each offset */
    int32_t *epochs, epoch;
    int64_t start, end, high_watermark;
    int64_t promised; /* by any life: below, all was synced at some time */
    int swaps;
#ifdef LOOP_IS_SIMULATED
    struct sim *sim;
    struct sim_machine *machine;
#else
    struct descriptors *descriptors;
#endif
};

#define CHECK(world, condition)                                                                              \
    do {                                                                                                     \
        if (!(condition)) fail_msg("seed %llu: %s", (unsigned long long)(world)->seed, #condition);          \
    } while (0)

static uint64_t below(struct world *world, uint64_t bound)
{
    return random_below(&world->random, bound);
}

static void loaded(void *context, enum error err, const char *why)
{
    if (err != OK) fail_msg("seed %llu: %s", (unsigned long long)((struct world *)context)->seed, why);
}

static void closed(void *context)
{
    *(bool *)context = true;
}

static void store_open(struct world *world)
{
    struct text why = {0};
#ifdef LOOP_IS_SIMULATED
    world->disk = sim_machine_disk(world->machine);
#endif
    world->options.disk = world->disk;
    world->options.random_seed = 1 + below(world, 1 << 30); /* names of directories */
    enum error err = log_store_open(&world->options, &world->store, &why);
    if (err == OK) err = log_store_claim(world->store, "c", 1, &why);
    if (err != OK) fail_msg("seed %llu: %s %s", (unsigned long long)world->seed, error_text(err), why.data);
    text_free(&why);
    log_store_load(world->store, loaded, world);
    world->log = log_store_find(world->store, SLICE("t"), 0);
    world->future = log_store_future(world->store, SLICE("t"), 0);
}

static void world_open(struct world *world, uint64_t seed)
{
    *world = (struct world){.seed = seed};
    random_seed(&world->random, seed);
#ifdef LOOP_IS_SIMULATED
    assert_int_equal(sim_new(seed, &world->sim), OK);
    assert_int_equal(sim_machine_new(world->sim, "one", &world->machine), OK);
    strcpy(world->root, "/data");
#else
    world->descriptors = descriptors_new(64);
    world->disk = disk_new(world->descriptors);
    strcpy(world->root, "/tmp/odradek-move-XXXXXX");
    assert_non_null(mkdtemp(world->root));
#endif
    log_store_options_default(&world->options);
    for (int i = 0; i < DIRS; i++) {
        snprintf(world->paths[i], sizeof world->paths[i], "%s/%d", world->root, i);
        world->dirs[i] = world->paths[i];
    }
    world->options.dirs = world->dirs;
    world->options.dir_count = DIRS;
    world->options.config.segment_bytes = 600 + (int64_t)below(world, 2000);
    world->options.config.index_interval_bytes = 100;
    world->options.config.retention_ms = -1;
    world->epochs = calloc(RECORDS_MAX, sizeof *world->epochs);
    assert_non_null(world->epochs);
    store_open(world);
    struct uuid id = {{1, 2, 3}};
    CHECK(world,
          log_store_create(world->store, SLICE("t"), 0, &id, &world->options.config, &world->log) == OK);
    CHECK(world, log_flush_now(world->log) == OK);
}

static void world_close(struct world *world)
{
    bool is_closed = false;
    log_store_close(world->store, closed, &is_closed);
    assert_true(is_closed);
    free(world->epochs);
#ifdef LOOP_IS_SIMULATED
    sim_free(world->sim);
#else
    assert_int_equal(disk_remove_tree(world->disk, world->root), OK);
    disk_free(world->disk);
    descriptors_free(world->descriptors);
#endif
}

/* A record says who wrote it, and where. */
static enum error append_one(struct world *world)
{
    struct batch_builder builder = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct slice built;
    char value[80];
    int size = snprintf(value, sizeof value, "%d %lld %*s", (int)world->epoch, (long long)world->end,
                        (int)below(world, 40), "");
    batch_builder_start(&builder, &options);
    CHECK(world, batch_builder_add(&builder, 1700000000000, SLICE_NULL,
                                   (struct slice){(const uint8_t *)value, (size_t)size}, NULL, 0) == OK);
    CHECK(world, batch_builder_finish(&builder, &built) == OK);
    uint8_t copy[400];
    memcpy(copy, built.data, built.size);
    struct log_append how = {.leader_epoch = world->epoch, .now_ms = 1700000000000};
    struct log_appended appended;
    enum error err = log_append(world->log, copy, built.size, &how, &appended);
    batch_builder_free(&builder);
    if (err != OK) return err;
    CHECK(world, appended.base_offset == world->end && world->end < RECORDS_MAX);
    world->epochs[world->end++] = world->epoch;
    return OK;
}

static void set_high_watermark(struct world *world)
{
    int64_t span = world->end - world->high_watermark;
    world->high_watermark += (int64_t)below(world, (uint64_t)span + 1);
    log_set_high_watermark(world->log, world->high_watermark);
}

static enum error cut(struct world *world)
{
    int64_t span = world->end - world->high_watermark;
    int64_t offset = world->high_watermark + (int64_t)below(world, (uint64_t)span + 1);
    world->epoch++;
    world->end = offset;
    if (world->promised > offset) world->promised = offset;
    return log_truncate_to(world->log, offset);
}

static enum error shorten(struct world *world)
{
    int64_t span = world->high_watermark - world->start;
    int64_t offset = world->start + (int64_t)below(world, (uint64_t)span + 1);
    enum error err = log_increase_start(world->log, offset);
    if (err == OK) world->start = offset;
    return err;
}

/* --- moving --- */

static enum error begin_move(struct world *world)
{
    const char *dir = world->dirs[below(world, DIRS)];
    CHECK(world, log_store_check_dir(world->store, slice_of(dir)) == OK);
    if (strcmp(dir, log_dir_path(world->log)) == 0) return OK;
    return log_store_make_future(world->store, world->log, slice_of(dir), &world->future);
}

static enum error copy_some(struct world *world, size_t bytes)
{
    enum error err = log_move_align(world->log, world->future);
    if (err != OK) return err;
    struct log_read what = {.offset = log_end_offset(world->future),
                            .limit_offset = INT64_MAX,
                            .max_bytes = bytes,
                            .min_one_batch = true};
    struct log_slice slice;
    err = log_read_blocking(world->log, &what, &slice);
    if (err != OK || slice.size == 0) return err;
    uint8_t *buffer = malloc(slice.size);
    size_t got = 0;
    err = file_pread(slice.file, buffer, slice.size, slice.position, &got);
    struct log_append how = {.origin = APPEND_REPLICATION, .now_ms = 1700000000000};
    struct log_appended appended;
    if (err == OK) err = log_append(world->future, buffer, got, &how, &appended);
    free(buffer);
    log_slice_release(&slice);
    return err;
}

static enum error try_swap(struct world *world)
{
    enum error err = copy_some(world, 1 << 20);
    while (err == OK && log_end_offset(world->future) < log_end_offset(world->log))
        err = copy_some(world, 1 << 20); /* segment after segment */
    struct log_move_mark mark;
    if (err == OK) err = log_move_mark_begin(world->future, &mark);
    if (err != OK) return err;
    log_move_mark_work(&mark);
    err = log_move_mark_end(world->future, &mark);
    if (err == OK) err = log_move_swap(world->log, world->future);
    if (err != OK) return err;
    CHECK(world, log_end_offset(world->future) == world->end);
    struct log *old = world->log;
    world->log = world->future;
    world->future = NULL;
    world->swaps++;
    /* The copy may know of a deletion that a crash made the other forget. */
    CHECK(world, log_start_offset(world->log) >= world->start);
    world->start = log_start_offset(world->log);
    if (world->high_watermark < world->start) world->high_watermark = world->start;
    log_set_high_watermark(world->log, world->high_watermark);
    /* Between the two the log goes on. */
    if (below(world, 2)) err = append_one(world);
    if (err == OK && below(world, 2)) err = log_flush_now(world->log);
    if (err != OK) return err;
    log_store_moved(world->store, &old);
    return OK;
}

/* --- looking --- */

static int count_dirs(struct world *world, enum partition_dir_kind kind)
{
    int count = 0;
    for (int i = 0; i < DIRS; i++) {
        struct disk_entry *entries = NULL;
        size_t n = 0;
        CHECK(world, disk_list(world->disk, world->dirs[i], &entries, &n) == OK);
        for (size_t k = 0; k < n; k++)
            count += entries[k].is_dir && partition_dir_parse(slice_of(entries[k].name)).kind == kind;
        disk_list_free(entries, n);
    }
    return count;
}

/* Every record is the one that was written there; above `sure` one that was cut may be back. */
static void check_records(struct world *world, int64_t sure)
{
    CHECK(world, log_end_offset(world->log) <= world->end || sure < log_end_offset(world->log));
    int64_t end = log_end_offset(world->log);
    for (int64_t offset = log_start_offset(world->log); offset < end;) {
        struct log_read what = {.offset = offset, .limit_offset = INT64_MAX, .max_bytes = 1 << 20};
        struct log_slice slice;
        CHECK(world, log_read_blocking(world->log, &what, &slice) == OK && slice.size > 0);
        uint8_t *bytes = malloc(slice.size);
        size_t got = 0;
        CHECK(world, file_pread(slice.file, bytes, slice.size, slice.position, &got) == OK);
        for (size_t at = 0; at < got;) {
            struct batch_header header;
            CHECK(world, batch_header_read((struct slice){bytes + at, got - at}, &header) == OK);
            size_t size = 0;
            CHECK(world, batch_total_size((struct slice){bytes + at, got - at}, &size) == OK);
            struct slice records;
            struct record record;
            struct text scratch = {0};
            CHECK(world,
                  batch_records((struct slice){bytes + at, size}, &header, 1000, &scratch, &records) == OK);
            CHECK(world, record_next(&records, &record) == OK);
            int epoch = -1;
            long long place = -1;
            char text[100];
            snprintf(text, sizeof text, "%.*s", SLICE_ARG(record.value));
            text_free(&scratch);
            CHECK(world, sscanf(text, "%d %lld", &epoch, &place) == 2 && place == header.base_offset);
            if (place < sure && epoch != world->epochs[place])
                fail_msg("seed %llu: epoch %d wrote offset %lld, not %d", (unsigned long long)world->seed,
                         world->epochs[place], place, epoch);
            world->epochs[place] = epoch;
            offset = place + 1;
            at += size;
        }
        free(bytes);
        log_slice_release(&slice);
    }
}

#ifdef LOOP_IS_SIMULATED
static void after_crash(struct world *world, int64_t sure)
{
    if (sure < world->promised) sure = world->promised;
    log_store_abandon(world->store, true);
    store_open(world);
    CHECK(world, world->log != NULL);
    CHECK(world, count_dirs(world, DIR_CURRENT) == 1 && count_dirs(world, DIR_FUTURE) <= 1);
    CHECK(world, log_end_offset(world->log) >= sure);
    check_records(world, sure);
    world->end = log_end_offset(world->log);
    world->start = log_start_offset(world->log);
    world->high_watermark = log_high_watermark(world->log);
    world->epoch++;
}
#endif

static void reopen(struct world *world)
{
    bool is_closed = false, was_moving = world->future != NULL;
    log_store_close(world->store, closed, &is_closed);
    CHECK(world, is_closed);
    store_open(world);
    CHECK(world, world->log && (world->future != NULL) == was_moving);
    CHECK(world, log_end_offset(world->log) == world->end && log_start_offset(world->log) == world->start);
    check_records(world, world->end);
    world->epoch++;
}

static enum error step(struct world *world)
{
    uint64_t what = below(world, 100);
    if (what < 40) return append_one(world);
    if (what < 48) return log_flush_now(world->log);
    if (what < 55) {
        set_high_watermark(world);
        return OK;
    }
    if (what < 59) return cut(world);
    if (what < 63) return shorten(world);
    if (!world->future) return begin_move(world);
    if (what < 85) return copy_some(world, 200 + below(world, 2000));
    if (what < 88) return log_flush_now(world->future);
    if (what < 91) return log_store_delete(world->store, &world->future);
    return try_swap(world);
}

static void live(uint64_t seed, int steps)
{
    struct world world;
    world_open(&world, seed);
    for (int i = 0; i < steps; i++) {
        uint64_t what = below(&world, 40);
        if (what == 0) {
            reopen(&world);
            continue;
        }
#ifdef LOOP_IS_SIMULATED
        int64_t promised = log_synced_end_offset(world.log);
        if (world.promised < promised) world.promised = promised;
        if (what == 4) {
            sim_machine_kill(world.machine);
            after_crash(&world, world.end);
            continue;
        }
        if (what < 4) {
            int64_t sure = log_synced_end_offset(world.log);
            int crashes = sim_machine_crashes(world.machine);
            if (what < 3) sim_machine_crash_at_write(world.machine, 1 + (int)below(&world, 40));
            for (int k = 0; k < 12 && sim_machine_crashes(world.machine) == crashes; k++) {
                int64_t synced = log_synced_end_offset(world.log), end_before = world.end;
                enum error err = step(&world);
                if (world.end < end_before && world.end < synced) synced = world.end; /* cut */
                sure = synced;
                if (err != OK) break;
            }
            if (sim_machine_crashes(world.machine) == crashes) {
                sure = log_synced_end_offset(world.log);
                sim_machine_crash(world.machine);
            }
            after_crash(&world, sure);
            continue;
        }
#endif
        enum error err = step(&world);
        if (err != OK) fail_msg("seed %llu: %s", (unsigned long long)seed, error_text(err));
    }
    if (!world.future) {
        const char *dir = strcmp(world.dirs[0], log_dir_path(world.log)) == 0 ? world.dirs[1] : world.dirs[0];
        CHECK(&world, log_store_make_future(world.store, world.log, slice_of(dir), &world.future) == OK);
    }
    CHECK(&world, try_swap(&world) == OK);
    check_records(&world, world.end);
    reopen(&world);
    CHECK(&world, count_dirs(&world, DIR_CURRENT) == 1 && count_dirs(&world, DIR_FUTURE) == 0);
    char path[160];
    snprintf(path, sizeof path, "%s/t-0/%s", log_dir_path(world.log), MOVED_HERE_FILE);
    CHECK(&world, !disk_exists(world.disk, path) && world.swaps > 0);
    world_close(&world);
}

static void quiet(void *context, enum diag_level level, const char *message)
{
    if (getenv("MOVE_SEED")) fprintf(stderr, "%s\n", message);
}

/* MOVE_SEED=17 lives that one aloud; MOVE_COUNT=1000 more of them than a quick test wants. */
static void random_lives(void **state)
{
    diag_set_sink(quiet, NULL);
    const char *seed = getenv("MOVE_SEED"), *lives = getenv("MOVE_COUNT");
#ifdef LOOP_IS_SIMULATED
    const uint64_t usual = 100;
#else
    const uint64_t usual = 2; /* each syncs a real disk hundreds of times */
#endif
    uint64_t first = seed ? strtoull(seed, NULL, 10) : 1;
    uint64_t count = seed ? 1 : lives ? strtoull(lives, NULL, 10) : usual;
    for (uint64_t i = first; i < first + count; i++) live(i, 300);
    diag_set_sink(NULL, NULL);
}

static void what_cannot_be_asked_for(void **state)
{
    struct world world;
    world_open(&world, 1);
    assert_int_equal(log_store_check_dir(world.store, SLICE("/elsewhere")), ERR_LOG_DIR_NOT_FOUND);
    struct log *log = NULL, *future = NULL;
    char name[TOPIC_NAME_MAX + 1];
    memset(name, 'n', TOPIC_NAME_MAX);
    name[TOPIC_NAME_MAX] = 0;
    assert_int_equal(log_store_create(world.store, slice_of(name), 0, NULL, &world.options.config, &log), OK);
    const char *there = strcmp(log_dir_path(log), world.dirs[0]) == 0 ? world.dirs[1] : world.dirs[0];
    assert_int_equal(log_store_make_future(world.store, log, slice_of(there), &future),
                     ERR_INVALID_TOPIC_EXCEPTION);
    assert_int_equal(log_store_make_future(world.store, world.log, slice_of(world.dirs[2]), &future), OK);
    assert_true(log_is_future(future) && !log_is_future(world.log));
    assert_int_equal(log_store_make_future(world.store, world.log, slice_of(world.dirs[1]), &future),
                     ERR_EXISTS);
    assert_int_equal(log_move_swap(world.log, future), ERR_AGAIN); /* no mark */

    assert_int_equal(log_store_want(world.store, SLICE("new"), 3, slice_of(world.dirs[2])), OK);
    assert_int_equal(log_store_create(world.store, SLICE("new"), 3, NULL, &world.options.config, &log), OK);
    assert_string_equal(log_dir_path(log), world.dirs[2]);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_cannot_be_asked_for),
                                       cmocka_unit_test(random_lives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
