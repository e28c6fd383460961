/* quorum_world.h: what the tests of several members share: machines of a simulation, and on each the lives of a process with a quorum
 * whose machine is a list of numbers. Wherever they are applied it is checked that they are the same, in the same order, and that no
 * two lead in one term; total counts what happened. A program takes [SEED [SEEDS]]; LOUD in the environment lets it talk. */
#pragma once
#include "base/test.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "base/random.h"
#include "loop/sim.h"
#include "quorum/offline.h"
#include "quorum/quorum.h"

enum { MEMBERS = 7, ENTRIES_MAX = 40000, TERMS_MAX = 4000 };

/* What a crash leaves in memory was the machine's own. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

struct world;

/* One life of a member's process. A crash abandons it. */
struct life {
    struct world *world;
    int at; /* of its machine */
    struct loop *loop;
    struct lane *sync, *work;
    struct quorum *quorum;
    uint64_t *values; /* the machine: the commands that were applied */
    uint64_t count, last_index;
    bool is_ready, has_failed, is_closed, is_saving, is_installing, is_changing;
    enum error ready_err, change_err;
    struct quorum_standing standing;
    bool links[MEMBERS + 1];
    int heard;
    uint64_t heard_last[MEMBERS + 1]; /* of each member's messages */
};

struct world {
    struct sim *sim;
    struct random *random;
    uint64_t seed;
    int member_count;
    struct sim_machine *machines[MEMBERS];
    int crashes[MEMBERS];
    struct life *lives[MEMBERS]; /* NULL: down */
    struct quorum_member members[MEMBERS];
    char hosts[MEMBERS][16];
    int founder_count;
    bool is_out[MEMBERS]; /* not a member now */
    bool leaves_silent;   /* who is born next */
    int64_t segment_bytes, memory_bytes;
    /* what was applied anywhere, by order of commands */
    uint64_t applied[ENTRIES_MAX];
    uint64_t applied_count;
    uint64_t acknowledged; /* of them: applied where they were appended */
    uint64_t next_value, said;
    int32_t leaders[TERMS_MAX];
    int offices, snapshots, installs, changes, crashed, wiped, failures;
};

static struct {
    int offices, snapshots, installs, changes, crashed, wiped, failures;
    uint64_t entries;
} total;

#define CHECK(world, condition)                                                                              \
    do {                                                                                                     \
        if (!(condition)) fail_msg("seed %llu: %s", (unsigned long long)(world)->seed, #condition);          \
    } while (0)

/* --- the machine --- */

static inline void push(struct life *life, uint64_t value)
{
    if (life->count % 256 == 0)
        life->values = realloc(life->values, (life->count + 256) * sizeof *life->values);
    life->values[life->count++] = value;
}

static inline enum error on_restore(void *context, struct slice chunk)
{
    struct life *life = context;
    if (chunk.data[0] == 1) life->count = 0; /* the first */
    for (size_t at = 1; at + 8 <= chunk.size; at += 8) push(life, get_be64(chunk.data + at));
    return OK;
}

/* The same everywhere: position by position. */
static inline void check_value(struct life *life, uint64_t at)
{
    struct world *world = life->world;
    CHECK(world, at < ENTRIES_MAX);
    if (at == world->applied_count) world->applied[world->applied_count++] = life->values[at];
    CHECK(world, at < world->applied_count);
    CHECK(world, world->applied[at] == life->values[at]);
}

static inline enum error on_restored(void *context, uint64_t index)
{
    struct life *life = context;
    for (uint64_t i = 0; i < life->count; i++) check_value(life, i);
    life->last_index = index;
    return OK;
}

static inline enum error on_apply(void *context, uint64_t index, uint64_t term, struct slice entry)
{
    struct life *life = context;
    struct world *world = life->world;
    CHECK(world, !life->has_failed && !life->is_installing);
    CHECK(world, index > life->last_index && entry.size >= 8);
    life->last_index = index;
    push(life, get_be64(entry.data));
    for (size_t i = 8; i < entry.size; i++) CHECK(world, entry.data[i] == (uint8_t)entry.size);
    check_value(life, life->count - 1);
    if (life->standing.office == QUORUM_LEADING && life->count > world->acknowledged)
        world->acknowledged = life->count;
    return OK;
}

static inline void write_values(struct life *life, void (*write)(void *to, struct slice chunk), void *to)
{
    uint64_t at = 0;
    do {
        uint8_t chunk[1 + 8 * 100] = {at == 0};
        size_t size = 1;
        for (; size < sizeof chunk && at < life->count; size += 8) put_be64(chunk + size, life->values[at++]);
        write(to, (struct slice){chunk, size});
    } while (at < life->count);
}

static inline void save_chunk(void *context, struct slice chunk)
{
    struct life *life = context;
    quorum_snapshot_write(life->quorum, chunk);
}

static inline enum error on_save(void *context, void (*write)(void *to, struct slice chunk), void *to)
{
    write_values(context, write, to);
    return OK;
}

static inline void on_installing(void *context)
{
    struct life *life = context;
    CHECK(life->world, !life->is_installing);
    life->is_installing = true;
}

static inline void on_installed(void *context)
{
    struct life *life = context;
    CHECK(life->world, life->is_installing);
    life->is_installing = false;
    life->world->installs++;
}

/* --- events --- */

static inline void on_ready(void *context, enum error err)
{
    struct life *life = context;
    life->is_ready = true;
    life->ready_err = err;
}

static inline void on_failed(void *context, enum error err)
{
    struct life *life = context;
    life->has_failed = true;
    life->world->failures++;
}

static inline void on_snapshot_done(void *context, enum error err)
{
    struct life *life = context;
    life->is_saving = false;
    life->world->snapshots += err == OK;
}

static inline void on_standing(void *context, const struct quorum_standing *standing)
{
    struct life *life = context;
    struct world *world = life->world;
    CHECK(world, standing->term >= life->standing.term && standing->term < TERMS_MAX);
    life->standing = *standing;
    if (standing->office != QUORUM_LEADING) return;
    world->offices++;
    CHECK(world, world->leaders[standing->term] == 0 || world->leaders[standing->term] == life->at + 1);
    world->leaders[standing->term] = life->at + 1;
    /* What was acknowledged by anybody before is here. */
    CHECK(world, life->count >= world->acknowledged);
}

static inline void on_message(void *context, int32_t from, struct slice bytes)
{
    struct life *life = context;
    CHECK(life->world, bytes.size >= 16 && life->links[from]);
    uint64_t number = get_be64(bytes.data);
    CHECK(life->world, number > life->heard_last[from]);
    for (size_t i = 16; i < bytes.size; i++) CHECK(life->world, bytes.data[i] == (uint8_t)number);
    life->heard_last[from] = number;
    life->heard++;
}

static inline void on_link(void *context, int32_t id, bool is_up)
{
    struct life *life = context;
    CHECK(life->world, life->links[id] != is_up);
    life->links[id] = is_up;
}

static inline void on_changed(void *context, enum error err)
{
    struct life *life = context;
    CHECK(life->world, life->is_changing);
    life->is_changing = false;
    life->change_err = err;
    life->world->changes += err == OK;
}

static inline void on_closed(void *context)
{
    struct life *life = context;
    life->is_closed = true;
}

/* --- lives --- */

static inline bool is_closed(void *context)
{
    struct life *life = context;
    return life->is_closed;
}

static inline void born_as(struct world *world, int at, int32_t id)
{
    static const struct quorum_machine machine = {on_restore,    on_restored,  on_apply,
                                                  on_installing, on_installed, on_save};
    static const struct quorum_events events = {.ready = on_ready,
                                                .failed = on_failed,
                                                .snapshot_done = on_snapshot_done,
                                                .standing = on_standing,
                                                .message = on_message,
                                                .link = on_link};
    struct life *life = calloc(1, sizeof *life);
    life->world = world;
    life->at = at;
    world->crashes[at] = sim_machine_crashes(world->machines[at]);
    CHECK(world, sim_loop_new(world->machines[at], &life->loop) == OK);
    CHECK(world, lane_new(life->loop, "sync", 1, &life->sync) == OK);
    CHECK(world, lane_new(life->loop, "work", 1, &life->work) == OK);
    struct quorum_config config = {.dir = "/data",
                                   .prefix = "keeper-",
                                   .force_sync = true,
                                   .segment_bytes = world->segment_bytes,
                                   .memory_bytes = world->memory_bytes,
                                   .id = id,
                                   .leaves_silent = world->leaves_silent,
                                   .founders = world->members,
                                   .founder_count = at < world->founder_count ? world->founder_count
                                                                              : world->member_count};
    world->lives[at] = life;
    CHECK(world, quorum_open(&config, life->loop, sim_machine_disk(world->machines[at]), life->sync,
                             life->work, &machine, &events, life, &life->quorum) == OK);
}

static inline void born(struct world *world, int at)
{
    born_as(world, at, at + 1);
}

/* Those that were killed from outside are abandoned. */
static inline void bury(struct world *world)
{
    for (int i = 0; i < world->member_count; i++) {
        if (!world->lives[i] || sim_machine_crashes(world->machines[i]) == world->crashes[i]) continue;
        world->lives[i] = NULL; /* its memory is gone with it */
        world->crashed++;
    }
}

static inline void stop(struct world *world, int at)
{
    struct life *life = world->lives[at];
    if (!life) return;
    quorum_close(&life->quorum, on_closed, life);
    sim_run_until(world->sim, is_closed, life, 60000);
    bury(world);
    if (!world->lives[at]) return;
    CHECK(world, life->is_closed);
    world->lives[at] = NULL;
    lane_free(life->sync);
    lane_free(life->work);
    loop_free(life->loop);
    free(life->values);
    free(life);
}

static inline struct world *world_new(uint64_t seed, int member_count, int founder_count)
{
    struct world *world = calloc(1, sizeof *world);
    world->seed = seed;
    CHECK(world, sim_new(seed, &world->sim) == OK);
    world->random = sim_random(world->sim);
    world->member_count = member_count;
    world->founder_count = founder_count;
    world->segment_bytes = random_below(world->random, 2) ? 4096 : 1 << 20;
    world->memory_bytes = random_below(world->random, 2) ? 2000 : 0;
    for (int i = 0; i < member_count; i++) {
        snprintf(world->hosts[i], sizeof world->hosts[i], "10.0.0.%d", i + 1);
        CHECK(world, sim_machine_new(world->sim, world->hosts[i], &world->machines[i]) == OK);
        world->members[i] = (struct quorum_member){
            .id = i + 1, .part = QUORUM_VOTER, .host = world->hosts[i], .port = 2888, .about = "x y"};
    }
    return world;
}

static inline void world_end(struct world *world)
{
    for (int i = 0; i < world->member_count; i++) stop(world, i);
    total.offices += world->offices;
    total.snapshots += world->snapshots;
    total.installs += world->installs;
    total.changes += world->changes;
    total.crashed += world->crashed;
    total.wiped += world->wiped;
    total.failures += world->failures;
    total.entries += world->applied_count;
    sim_free(world->sim);
    free(world);
}

static inline struct life *leader_of(struct world *world)
{
    struct life *leader = NULL;
    for (int i = 0; i < world->member_count; i++) {
        struct life *life = world->lives[i];
        if (!life || life->has_failed || life->standing.office != QUORUM_LEADING) continue;
        if (!leader || life->standing.term > leader->standing.term) leader = life;
    }
    return leader;
}

static inline enum error append(struct life *life)
{
    struct world *world = life->world;
    uint8_t bytes[2000];
    size_t size = 8 + (random_below(world->random, 8) == 0 ? random_below(world->random, 1900)
                                                           : random_below(world->random, 60));
    memset(bytes, (int)(uint8_t)size, size);
    uint64_t index = 0;
    put_be64(bytes, world->next_value + 1);
    struct slice parts[] = {{bytes, 3}, {bytes + 3, size - 3}};
    enum error err = quorum_append(life->quorum, parts, 2, &index);
    world->next_value += err == OK;
    return err;
}

static inline void save(struct life *life)
{
    if (life->is_saving || life->count == 0 || life->is_installing) return;
    if (quorum_snapshot_begin(life->quorum) != OK) return;
    life->is_saving = true;
    write_values(life, save_chunk, life);
    quorum_snapshot_end(life->quorum);
}

static inline void talk(struct life *life, int32_t to)
{
    struct world *world = life->world;
    static uint8_t bytes[70000];
    uint64_t number = ++world->said;
    size_t size = 16 + (random_below(world->random, 10) == 0 ? random_below(world->random, 60000) : 20);
    memset(bytes, (int)(uint8_t)number, size);
    put_be64(bytes, number);
    struct slice part = {bytes, size};
    enum error err = quorum_send(life->quorum, to, &part, 1);
    CHECK(world, (err == OK) == life->links[to] || err == ERR_AGAIN);
}

/* --- all is well --- */

static inline bool has_settled(void *context)
{
    struct world *world = context;
    struct life *leader = leader_of(world);
    if (!leader) return false;
    for (int i = 0; i < world->member_count; i++) {
        struct life *life = world->lives[i];
        if (!life) continue;
        if (!life->is_ready || life->is_installing || life->count != leader->count) return false;
        if (life->standing.leader != leader->at + 1 || life->standing.term != leader->standing.term)
            return false;
    }
    return leader->count >= world->acknowledged;
}

static inline bool is_next_applied(void *context)
{
    struct world *world = context;
    if (!has_settled(world)) return false;
    struct life *leader = leader_of(world);
    return leader->count > 0 && leader->values[leader->count - 1] == world->next_value;
}

static inline void await(struct world *world, bool (*check)(void *context), int64_t limit_ms)
{
    if (sim_run_until(world->sim, check, world, limit_ms / 2)) return;
    for (int i = 0; i < world->member_count;
         i++) { /* a sync that was on its way when all became well may still have failed */
        struct life *life = world->lives[i];
        if (!life || !(life->has_failed || (life->is_ready && life->ready_err != OK))) continue;
        stop(world, i);
        born(world, i);
    }
    if (sim_run_until(world->sim, check, world, limit_ms / 2)) return;
    for (int i = 0; i < world->member_count; i++) {
        struct life *life = world->lives[i];
        if (!life) continue;
        print_message("member %d: ready %d failed %d office %d leader %d term %llu count %llu of %llu\n",
                      i + 1, life->is_ready, life->has_failed, (int)life->standing.office,
                      (int)life->standing.leader, (unsigned long long)life->standing.term,
                      (unsigned long long)life->count, (unsigned long long)world->acknowledged);
    }
    fail_msg("seed %llu: the members do not come to terms", (unsigned long long)world->seed);
}

static inline void settle(struct world *world, int64_t limit_ms)
{
    /* An office that was being handed over may take the first with it. */
    bool is_taken = false;
    for (int i = 0; i < 5 && !is_taken; i++) {
        await(world, has_settled, limit_ms);
        is_taken = append(leader_of(world)) == OK && sim_run_until(world->sim, is_next_applied, world, 5000);
    }
    CHECK(world, is_taken);
}

static inline void wipe(struct world *world, int at)
{
    stop(world, at);
    CHECK(world, disk_remove_tree(sim_machine_disk(world->machines[at]), "/data") == OK);
    CHECK(world, disk_sync_dir(sim_machine_disk(world->machines[at]), "/") == OK);
    world->wiped++;
    born(world, at);
}

static inline bool has_leader(void *context)
{
    return leader_of(context) != NULL;
}

static inline void quiet(void *context, enum diag_level level, const char *message)
{
}

static uint64_t first_seed = 1, seeds = 40;

static inline void world_arguments(int argc, char **argv)
{
    if (argc > 1) first_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2) seeds = strtoull(argv[2], NULL, 10);
    if (!getenv("LOUD")) diag_set_sink(quiet, NULL);
}
