/* quorum_life_test.c: random lives of a log over the simulated disk: crashes at any write, torn and lost pages, full disks, failed
 * syncs, bit rot. What was applied is there after every crash, in order; what is there was appended; what the disk
 * lost after it was acknowledged is refused, not forgotten.
 *
 * quorum_life_test [SEED [SEEDS]] lives other lives. */
#include "base/test.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "base/random.h"
#include "loop/sim.h"
#include "quorum/files.h"
#include "quorum/quorum.h"

enum { ENTRIES_MAX = 20000, ROUNDS = 25 };

/* What a crash leaves in memory was the machine's own. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

struct world {
    struct sim *sim;
    struct sim_machine *machine;
    struct random *random;
    uint64_t seed;
    int64_t segment_bytes, room_step_bytes, slow_sync_ms, purge_interval_ms;
    int snapshots_kept;
    const char *log_dir;
    bool force_sync;
    /* what was appended, by index - 1; the tail may be lost by a crash */
    uint64_t appended[ENTRIES_MAX];
    uint64_t appended_count, acknowledged;
    uint64_t next_value;
    int snapshots, recovered_from_snapshot, cuts, full, failures;
};

static struct {
    int snapshots, recovered_from_snapshot, cuts, full, failures;
} total;

/* One life of the process: a crash abandons it. */
struct life {
    struct world *world;
    struct loop *loop;
    struct lane *sync, *work;
    struct quorum *quorum;
    uint64_t *values; /* the machine: what was applied */
    uint64_t count;
    bool is_ready, has_failed, is_closed, is_saving;
    enum error ready_err;
};

static void push(struct life *life, uint64_t value)
{
    if (life->count % 256 == 0)
        life->values = realloc(life->values, (life->count + 256) * sizeof *life->values);
    life->values[life->count++] = value;
}

static enum error on_restore(void *context, struct slice chunk)
{
    struct life *life = context;
    for (size_t at = 0; at + 8 <= chunk.size; at += 8) push(life, get_be64(chunk.data + at));
    return OK;
}

static enum error on_restored(void *context, uint64_t index)
{
    struct life *life = context;
    life->world->recovered_from_snapshot++;
    assert_int_equal(life->count, index);
    return OK;
}

static enum error on_apply(void *context, uint64_t index, uint64_t term, struct slice entry)
{
    struct life *life = context;
    assert_false(life->has_failed);
    assert_int_equal(index, life->count + 1);
    assert_true(entry.size >= 8);
    push(life, get_be64(entry.data));
    for (size_t i = 8; i < entry.size; i++) assert_int_equal(entry.data[i], (uint8_t)entry.size);
    if (life->is_ready) {
        assert_int_equal(life->world->appended[index - 1], life->values[index - 1]);
        if (index > life->world->acknowledged) life->world->acknowledged = index;
    }
    return OK;
}

static void on_ready(void *context, enum error err)
{
    struct life *life = context;
    life->is_ready = true;
    life->ready_err = err;
}

static void on_failed(void *context, enum error err)
{
    struct life *life = context;
    life->has_failed = true;
    life->world->failures++;
}

static void on_snapshot_done(void *context, enum error err)
{
    struct life *life = context;
    life->is_saving = false;
    life->world->snapshots += err == OK;
}

static void on_closed(void *context)
{
    struct life *life = context;
    life->is_closed = true;
}

static bool is_ready(void *context)
{
    struct life *life = context;
    return life->is_ready;
}

static bool is_closed(void *context)
{
    struct life *life = context;
    return life->is_closed;
}

static struct life *born(struct world *world)
{
    static const struct quorum_machine machine = {on_restore, on_restored, on_apply};
    static const struct quorum_events events = {
        .ready = on_ready, .failed = on_failed, .snapshot_done = on_snapshot_done};
    struct life *life = calloc(1, sizeof *life);
    life->world = world;
    assert_int_equal(sim_loop_new(world->machine, &life->loop), OK);
    assert_int_equal(lane_new(life->loop, "sync", 1, &life->sync), OK);
    assert_int_equal(lane_new(life->loop, "work", 1, &life->work), OK);
    struct quorum_config config = {.dir = "/data",
                                   .prefix = "keeper-",
                                   .log_dir = world->log_dir,
                                   .force_sync = world->force_sync,
                                   .segment_bytes = world->segment_bytes,
                                   .room_step_bytes = world->room_step_bytes,
                                   .slow_sync_ms = world->slow_sync_ms,
                                   .snapshots_kept = world->snapshots_kept,
                                   .purge_interval_ms = world->purge_interval_ms};
    assert_int_equal(quorum_open(&config, life->loop, sim_machine_disk(world->machine), life->sync,
                                 life->work, &machine, &events, life, &life->quorum),
                     OK);
    assert_true(sim_run_until(world->sim, is_ready, life, 60000));
    return life;
}

static void append(struct life *life)
{
    struct world *world = life->world;
    uint8_t bytes[2000];
    size_t size = 8 + (random_below(world->random, 8) == 0 ? random_below(world->random, 1900)
                                                           : random_below(world->random, 60));
    memset(bytes, (int)(uint8_t)size, size);
    uint64_t value = ++world->next_value, index = 0;
    put_be64(bytes, value);
    struct slice parts[] = {{bytes, 3}, {bytes + 3, size - 3}};
    if (world->appended_count >= ENTRIES_MAX || quorum_append(life->quorum, parts, 2, &index) != OK) return;
    assert_int_equal(index, world->appended_count + 1);
    world->appended[world->appended_count++] = value;
}

static void save(struct life *life)
{
    if (life->is_saving || life->count == 0 || quorum_snapshot_begin(life->quorum) != OK) return;
    life->is_saving = true;
    for (uint64_t at = 0; at < life->count;) {
        uint8_t chunk[8 * 100];
        size_t size = 0;
        for (; size < sizeof chunk && at < life->count; size += 8) put_be64(chunk + size, life->values[at++]);
        quorum_snapshot_write(life->quorum, (struct slice){chunk, size});
    }
    quorum_snapshot_end(life->quorum);
}

static void check_recovered(struct life *life)
{
    struct world *world = life->world;
    if (life->ready_err != OK)
        fail_msg("seed %llu: %s", (unsigned long long)world->seed, error_text(life->ready_err));
    if (world->force_sync && life->count < world->acknowledged) {
        fail_msg("seed %llu: %llu entries were acknowledged, %llu are left", (unsigned long long)world->seed,
                 (unsigned long long)world->acknowledged, (unsigned long long)life->count);
    }
    assert_true(life->count <= world->appended_count);
    for (uint64_t i = 0; i < life->count; i++) assert_int_equal(life->values[i], world->appended[i]);
    if (life->count < world->appended_count) world->cuts++;
    world->appended_count = life->count;
    world->acknowledged = life->count; /* what was recovered may have been seen */
    assert_int_equal(quorum_last_index(life->quorum), life->count);
}

static void end(struct life *life, bool is_dead)
{
    if (!is_dead) {
        quorum_close(&life->quorum, on_closed, life);
        assert_true(sim_run_until(life->world->sim, is_closed, life, 60000));
        lane_free(life->sync);
        lane_free(life->work);
        loop_free(life->loop);
        free(life->values);
        free(life);
    }
}

static uint64_t live(uint64_t seed, bool force_sync)
{
    struct world *world = calloc(1, sizeof *world);
    world->seed = seed;
    world->force_sync = force_sync;
    assert_int_equal(sim_new(seed, &world->sim), OK);
    world->random = sim_random(world->sim);
    world->segment_bytes = random_below(world->random, 2) ? 4096 : 1 << 20;
    world->room_step_bytes = random_below(world->random, 2) ? 0 : 4096;
    world->log_dir = random_below(world->random, 2) ? NULL : "/logs/deep";
    world->snapshots_kept = (int)random_below(world->random, 4);
    assert_int_equal(sim_machine_new(world->sim, "10.0.0.1", &world->machine), OK);
    for (int round = 0; round < ROUNDS; round++) {
        struct life *life = born(world);
        int crashes = sim_machine_crashes(world->machine);
        check_recovered(life);
        if (random_below(world->random, 3) == 0) {
            sim_machine_crash_at_write(world->machine, 1 + (int)random_below(world->random, 40));
        }
        int turns = (int)random_below(world->random, 60);
        bool is_full = false;
        for (int turn = 0; turn < turns && sim_machine_crashes(world->machine) == crashes; turn++) {
            for (uint64_t n = random_below(world->random, 12); n > 0; n--) append(life);
            uint64_t dice = random_below(world->random, 40);
            if (dice == 0) save(life);
            if (dice == 1) {
                is_full = !is_full;
                world->full++;
                sim_disk_full(world->machine, is_full);
            }
            if (dice == 2) sim_disk_slow(world->machine, 20, 2);
            if (dice == 3 && force_sync) sim_disk_fail_sync(world->machine, 1);
            sim_run_ms(world->sim, (int64_t)random_below(world->random, 12));
        }
        sim_disk_full(world->machine, false);
        sim_machine_crash_at_write(world->machine, 0);
        bool has_crashed = sim_machine_crashes(world->machine) != crashes;
        if (!has_crashed && random_below(world->random, 2)) {
            end(life, false);
            if (random_below(world->random, 2)) sim_machine_crash(world->machine);
        } else {
            if (!has_crashed && random_below(world->random, 4) == 0) {
                sim_machine_kill(world->machine);
            } else if (!has_crashed) {
                sim_machine_crash(world->machine);
            }
            end(life, true);
        }
        sim_disk_fail_sync(world->machine, 0);
    }
    total.snapshots += world->snapshots;
    total.recovered_from_snapshot += world->recovered_from_snapshot;
    total.cuts += world->cuts;
    total.full += world->full;
    total.failures += world->failures;
    uint64_t trace = sim_trace(world->sim) ^ world->next_value;
    sim_free(world->sim);
    free(world);
    return trace;
}

static void quiet(void *context, enum diag_level level, const char *message)
{
}

static uint64_t first_seed = 1, seeds = 60;

static void what_was_applied_survives(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) live(seed, true);
    print_message(
        "%d snapshots, %d recoveries from one, %d crashes cut a tail, %d changes of room, %d failed syncs\n",
        total.snapshots, total.recovered_from_snapshot, total.cuts, total.full, total.failures);
    if (seeds >= 20)
        assert_true(total.snapshots && total.recovered_from_snapshot && total.cuts && total.failures);
}

/* Without syncs a power cut may cost the tail, but never the order, and never the start. */
static void without_syncs_a_prefix_survives(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + seeds / 4; seed++) live(seed, false);
}

static void the_same_seed_lives_the_same_life(void **state)
{
    assert_true(live(first_seed, true) == live(first_seed, true));
    assert_true(live(first_seed, true) != live(first_seed + 1, true));
}

/* --- bit rot --- */

static bool has_applied(void *context)
{
    struct life *life = context;
    return life->count == life->world->appended_count;
}

static void damage_is_refused_and_never_forgotten(void **state)
{
    int refused = 0, cut = 0, unharmed = 0;
    for (uint64_t seed = 1; seed <= 80; seed++) {
        struct world *world = calloc(1, sizeof *world);
        world->seed = seed;
        world->force_sync = true;
        assert_int_equal(sim_new(seed, &world->sim), OK);
        world->random = sim_random(world->sim);
        world->segment_bytes = 4096;
        assert_int_equal(sim_machine_new(world->sim, "10.0.0.1", &world->machine), OK);
        struct life *life = born(world);
        uint64_t last_batch_first = 0;
        for (int batch = 0; batch < 20; batch++) {
            last_batch_first = world->appended_count + 1;
            for (int i = 0; i < 3; i++) append(life);
            assert_true(sim_run_until(world->sim, has_applied, life, 10000));
            if (batch == 8 && seed % 2) save(life);
        }
        sim_run_ms(world->sim, 100);
        end(life, false);

        struct disk_entry *entries;
        size_t count;
        struct disk *disk = sim_machine_disk(world->machine);
        assert_int_equal(disk_list(disk, "/data", &entries, &count), OK);
        const struct disk_entry *victim = &entries[random_below(world->random, count)];
        while (victim->size == 0) victim = &entries[random_below(world->random, count)];
        char path[300];
        snprintf(path, sizeof path, "/data/%s", victim->name);
        int64_t limit = victim->size < 6000 ? victim->size : 6000; /* the zeros beyond are nobody's */
        int64_t position = (int64_t)random_below(world->random, (uint64_t)limit);
        assert_int_equal(sim_disk_rot(world->machine, path, position, 0x10), OK);
        disk_list_free(entries, count);

        life = born(world);
        if (life->ready_err != OK) {
            refused++;
            assert_true(life->ready_err == ERR_CORRUPT || life->ready_err == ERR_TRUNCATED ||
                        life->ready_err == ERR_UNSUPPORTED_VERSION);
        } else if (life->count < world->appended_count) {
            /* Only the last write cannot be told from one that a crash tore. */
            cut++;
            assert_true(life->count + 1 >= last_batch_first);
        } else {
            unharmed++;
        }
        for (uint64_t i = 0; i < life->count && life->ready_err == OK; i++) {
            assert_int_equal(life->values[i], world->appended[i]);
        }
        end(life, false);
        sim_free(world->sim);
        free(world);
    }
    assert_true(refused > 20 && cut > 0);
    (void)unharmed;
}

static void a_newer_format_is_refused_by_name(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->force_sync = true;
    assert_int_equal(sim_new(1, &world->sim), OK);
    world->random = sim_random(world->sim);
    assert_int_equal(sim_machine_new(world->sim, "10.0.0.1", &world->machine), OK);
    struct life *life = born(world);
    append(life);
    assert_true(sim_run_until(world->sim, has_applied, life, 10000));
    end(life, false);
    assert_int_equal(sim_disk_rot(world->machine, "/data/keeper-log-00000000000000000001", 11, 2),
                     OK); /* 1 -> 3 */
    life = born(world);
    assert_int_equal(life->ready_err, ERR_UNSUPPORTED_VERSION);
    end(life, false);
    sim_free(world->sim);
    free(world);
}

/* --- what it costs --- */

static void an_empty_start_syncs_nothing_and_many_writers_share(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->force_sync = true;
    assert_int_equal(sim_new(3, &world->sim), OK);
    world->random = sim_random(world->sim);
    assert_int_equal(sim_machine_new(world->sim, "10.0.0.1", &world->machine), OK);
    struct life *life = born(world);
    struct quorum_stats stats;
    quorum_stats(life->quorum, &stats);
    assert_int_equal(stats.syncs, 0);
    sim_disk_slow(world->machine, 50, 2);
    append(life);
    sim_run_ms(world->sim, 10); /* it syncs; these wait and go together */
    for (int i = 0; i < 500; i++) append(life);
    assert_true(sim_run_until(world->sim, has_applied, life, 10000));
    quorum_stats(life->quorum, &stats);
    assert_int_equal(stats.syncs, 2);
    end(life, false);
    sim_free(world->sim);
    free(world);
}

static struct world *world_of(uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);
    world->force_sync = true;
    assert_int_equal(sim_new(seed, &world->sim), OK);
    world->random = sim_random(world->sim);
    assert_int_equal(sim_machine_new(world->sim, "10.0.0.1", &world->machine), OK);
    return world;
}

static void world_end(struct world *world)
{
    sim_free(world->sim);
    free(world);
}

static size_t files_in(struct world *world, const char *dir, const char *prefix)
{
    struct disk_entry *entries;
    size_t count, found = 0;
    assert_int_equal(disk_list(sim_machine_disk(world->machine), dir, &entries, &count), OK);
    for (size_t i = 0; i < count; i++) found += strncmp(entries[i].name, prefix, strlen(prefix)) == 0;
    disk_list_free(entries, count);
    return found;
}

static void a_log_elsewhere_is_not_left_behind(void **state)
{
    struct world *world = world_of(5);
    world->log_dir = "/logs";
    struct life *life = born(world);
    append(life);
    assert_true(sim_run_until(world->sim, has_applied, life, 10000));
    int64_t snapshots = 0, logs = 0;
    assert_int_equal(quorum_disk_bytes(life->quorum, &snapshots, &logs), OK);
    assert_true(snapshots == 0 && logs > 0);
    end(life, false);
    assert_int_equal(files_in(world, "/data", "keeper-log-"), 0);
    assert_int_equal(files_in(world, "/logs", "keeper-log-"), 1);
    const char *elsewhere[] = {NULL, "/other"};
    for (int i = 0; i < 2; i++) { /* it would be an empty one */
        world->log_dir = elsewhere[i];
        life = born(world);
        assert_int_equal(life->ready_err, ERR_CONFIG);
        end(life, false);
    }
    world->log_dir = "/logs";
    life = born(world);
    assert_int_equal(life->ready_err, OK);
    assert_int_equal(life->count, 1);
    end(life, false);
    world_end(world);

    world = world_of(6); /* the other way round: it was in /data */
    life = born(world);
    append(life);
    assert_true(sim_run_until(world->sim, has_applied, life, 10000));
    end(life, false);
    world->log_dir = "/logs";
    life = born(world);
    assert_int_equal(life->ready_err, ERR_CONFIG);
    end(life, false);
    world_end(world);
}

static bool has_saved(void *context)
{
    struct life *life = context;
    return !life->is_saving;
}

static void purges_keep_what_they_are_told(void **state)
{
    struct world *world = world_of(7);
    world->snapshots_kept = 3;
    world->purge_interval_ms = 3600000;
    struct life *life = born(world);
    for (int i = 0; i < 8; i++) {
        if (i == 7) sim_run_ms(world->sim, 3600000);
        append(life);
        assert_true(sim_run_until(world->sim, has_applied, life, 10000));
        save(life);
        assert_true(sim_run_until(world->sim, has_saved, life, 10000));
        if (i == 6) assert_int_equal(files_in(world, "/data", "keeper-snapshot-"), 7); /* not yet */
    }
    assert_int_equal(files_in(world, "/data", "keeper-snapshot-"), 3);
    uint64_t index;
    int64_t wall_ms;
    assert_true(quorum_last_snapshot(life->quorum, &index, &wall_ms));
    assert_int_equal(index, 8);
    assert_int_equal(quorum_times(life->quorum)->snapshot_us.count, 8);
    end(life, false);
    world_end(world);
}

static void a_slow_sync_is_counted(void **state)
{
    struct world *world = world_of(8);
    world->slow_sync_ms = 20;
    struct life *life = born(world);
    append(life);
    assert_true(sim_run_until(world->sim, has_applied, life, 10000));
    struct quorum_stats stats;
    quorum_stats(life->quorum, &stats);
    assert_int_equal(stats.slow_syncs, 0);
    sim_disk_slow(world->machine, 50, 1);
    for (int i = 0; i < 3; i++) append(life);
    assert_true(sim_run_until(world->sim, has_applied, life, 10000));
    quorum_stats(life->quorum, &stats);
    assert_int_equal(stats.slow_syncs, 1);
    const struct quorum_times *times = quorum_times(life->quorum);
    assert_true(times->sync_us.greatest >= 50000 && times->sync_us.count == 2);
    assert_true(times->sync_entries.greatest == 3 && times->sync_entries.least == 1);
    end(life, false);
    world_end(world);
}

int main(int argc, char **argv)
{
    if (argc > 1) first_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2) seeds = strtoull(argv[2], NULL, 10);
    diag_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_applied_survives),
        cmocka_unit_test(without_syncs_a_prefix_survives),
        cmocka_unit_test(the_same_seed_lives_the_same_life),
        cmocka_unit_test(damage_is_refused_and_never_forgotten),
        cmocka_unit_test(a_newer_format_is_refused_by_name),
        cmocka_unit_test(an_empty_start_syncs_nothing_and_many_writers_share),
        cmocka_unit_test(a_log_elsewhere_is_not_left_behind),
        cmocka_unit_test(purges_keep_what_they_are_told),
        cmocka_unit_test(a_slow_sync_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
