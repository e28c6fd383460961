/* quorum_ensemble_test.c: lives of several members over the simulated loop, network and disks, from one seed each: partitions, resets,
 * pauses, crashes with torn writes, kills, full disks, failed syncs, snapshots, changed memberships, replaced disks. Always:
 *
 *   - one leader for a term;
 *   - the same entries in the same order at every member, whatever each has missed;
 *   - what was acknowledged is never missing once there is a leader again: a majority's disks hold it;
 *   - once all is well again, there is a leader, it takes entries, and all members have them.
 *
 * quorum_ensemble_test [SEED [SEEDS]] lives other lives. */
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
    int64_t segment_bytes, memory_bytes;
    /* what was applied anywhere, by order of commands */
    uint64_t applied[ENTRIES_MAX];
    uint64_t applied_count;
    uint64_t acknowledged; /* of them: applied where they were appended */
    uint64_t next_value, said;
    int32_t leaders[TERMS_MAX];
    int offices, snapshots, installs, changes, crashed, wiped, failures, hurries;
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

static void push(struct life *life, uint64_t value)
{
    if (life->count % 256 == 0)
        life->values = realloc(life->values, (life->count + 256) * sizeof *life->values);
    life->values[life->count++] = value;
}

static enum error on_restore(void *context, struct slice chunk)
{
    struct life *life = context;
    if (chunk.data[0] == 1) life->count = 0; /* the first */
    for (size_t at = 1; at + 8 <= chunk.size; at += 8) push(life, get_be64(chunk.data + at));
    return OK;
}

/* The same everywhere: position by position. */
static void check_value(struct life *life, uint64_t at)
{
    struct world *world = life->world;
    CHECK(world, at < ENTRIES_MAX);
    if (at == world->applied_count) world->applied[world->applied_count++] = life->values[at];
    CHECK(world, at < world->applied_count);
    CHECK(world, world->applied[at] == life->values[at]);
}

static enum error on_restored(void *context, uint64_t index)
{
    struct life *life = context;
    for (uint64_t i = 0; i < life->count; i++) check_value(life, i);
    life->last_index = index;
    return OK;
}

static enum error on_apply(void *context, uint64_t index, uint64_t term, struct slice entry)
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

static void on_installing(void *context)
{
    struct life *life = context;
    CHECK(life->world, !life->is_installing);
    life->is_installing = true;
}

static void on_installed(void *context)
{
    struct life *life = context;
    CHECK(life->world, life->is_installing);
    life->is_installing = false;
    life->world->installs++;
}

/* --- events --- */

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

static void on_standing(void *context, const struct quorum_standing *standing)
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

static void on_message(void *context, int32_t from, struct slice bytes)
{
    struct life *life = context;
    CHECK(life->world, bytes.size >= 16 && life->links[from]);
    uint64_t number = get_be64(bytes.data);
    CHECK(life->world, number > life->heard_last[from]);
    for (size_t i = 16; i < bytes.size; i++) CHECK(life->world, bytes.data[i] == (uint8_t)number);
    life->heard_last[from] = number;
    life->heard++;
}

static void on_link(void *context, int32_t id, bool is_up)
{
    struct life *life = context;
    CHECK(life->world, life->links[id] != is_up);
    life->links[id] = is_up;
}

static void on_changed(void *context, enum error err)
{
    struct life *life = context;
    CHECK(life->world, life->is_changing);
    life->is_changing = false;
    life->change_err = err;
    life->world->changes += err == OK;
}

static void on_closed(void *context)
{
    struct life *life = context;
    life->is_closed = true;
}

/* --- lives --- */

static bool is_closed(void *context)
{
    struct life *life = context;
    return life->is_closed;
}

static void born(struct world *world, int at)
{
    static const struct quorum_machine machine = {on_restore, on_restored, on_apply, on_installing,
                                                  on_installed};
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
                                   .id = at + 1,
                                   .founders = world->members,
                                   .founder_count = at < world->founder_count ? world->founder_count
                                                                              : world->member_count};
    world->lives[at] = life;
    CHECK(world, quorum_open(&config, life->loop, sim_machine_disk(world->machines[at]), life->sync,
                             life->work, &machine, &events, life, &life->quorum) == OK);
}

/* Those that were killed from outside are abandoned. */
static void bury(struct world *world)
{
    for (int i = 0; i < world->member_count; i++) {
        if (!world->lives[i] || sim_machine_crashes(world->machines[i]) == world->crashes[i]) continue;
        world->lives[i] = NULL; /* its memory is gone with it */
        world->crashed++;
    }
}

static void stop(struct world *world, int at)
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

static struct world *world_new(uint64_t seed, int member_count, int founder_count)
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

static void world_end(struct world *world)
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

static struct life *leader_of(struct world *world)
{
    struct life *leader = NULL;
    for (int i = 0; i < world->member_count; i++) {
        struct life *life = world->lives[i];
        if (!life || life->has_failed || life->standing.office != QUORUM_LEADING) continue;
        if (!leader || life->standing.term > leader->standing.term) leader = life;
    }
    return leader;
}

static enum error append(struct life *life)
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

static void save(struct life *life)
{
    if (life->is_saving || life->count == 0 || life->is_installing) return;
    if (quorum_snapshot_begin(life->quorum) != OK) return;
    life->is_saving = true;
    for (uint64_t at = 0; at < life->count;) {
        uint8_t chunk[1 + 8 * 100] = {at == 0};
        size_t size = 1;
        for (; size < sizeof chunk && at < life->count; size += 8) put_be64(chunk + size, life->values[at++]);
        quorum_snapshot_write(life->quorum, (struct slice){chunk, size});
    }
    quorum_snapshot_end(life->quorum);
}

static void talk(struct life *life, int32_t to)
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

static bool has_settled(void *context)
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

static bool is_next_applied(void *context)
{
    struct world *world = context;
    if (!has_settled(world)) return false;
    struct life *leader = leader_of(world);
    return leader->count > 0 && leader->values[leader->count - 1] == world->next_value;
}

static void await(struct world *world, bool (*check)(void *context), int64_t limit_ms)
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

static void settle(struct world *world, int64_t limit_ms)
{
    /* An office that was being handed over may take the first with it. */
    bool is_taken = false;
    for (int i = 0; i < 5 && !is_taken; i++) {
        await(world, has_settled, limit_ms);
        is_taken = append(leader_of(world)) == OK && sim_run_until(world->sim, is_next_applied, world, 5000);
    }
    CHECK(world, is_taken);
}

static void three_members_find_a_leader_and_agree(void **state)
{
    struct world *world = world_new(1, 3, 3);
    for (int i = 0; i < 3; i++) born(world, i);
    settle(world, 20000);
    for (int i = 0; i < 500; i++) CHECK(world, append(leader_of(world)) == OK);
    CHECK(world, sim_run_until(world->sim, is_next_applied, world, 10000));
    CHECK(world, world->lives[0]->count == 501);
    int count;
    uint64_t index;
    const struct quorum_member *members = quorum_members(world->lives[1]->quorum, &count, &index);
    CHECK(world, count == 3 && members[2].id == 3 && members[2].port == 2888 &&
                     strcmp(members[2].about, "x y") == 0);
    for (int i = 0; i < 3; i++) {
        if (world->lives[i] != leader_of(world)) CHECK(world, append(world->lives[i]) == ERR_NOT_LEADER);
    }
    world_end(world);
}

/* --- random lives --- */

static void hurt(struct world *world)
{
    struct random *random = world->random;
    int at = (int)random_below(random, (uint64_t)world->member_count),
        other = (int)random_below(random, (uint64_t)world->member_count);
    struct sim_machine *machine = world->machines[at];
    switch (random_below(random, 12)) {
    case 0: sim_machine_crash(machine); break;
    case 1: sim_machine_kill(machine); break;
    case 2: sim_machine_crash_at_write(machine, 1 + (int)random_below(random, 30)); break;
    case 3: stop(world, at); break;
    case 4:
    case 5:
        if (other != at) sim_net_cut(world->sim, machine, world->machines[other], true);
        break;
    case 6: sim_net_reset_one(world->sim); break;
    case 7: sim_machine_pause(machine, 1 + (int64_t)random_below(random, 4000)); break;
    case 8: sim_disk_full(machine, random_below(random, 2)); break;
    case 9: sim_disk_slow(machine, 200, 3); break;
    case 10: sim_disk_fail_sync(machine, 1); break;
    default: sim_net_delay(world->sim, 50, 100 + (int64_t)random_below(random, 30000)); break;
    }
}

static void heal(struct world *world)
{
    for (int i = 0; i < world->member_count; i++) {
        sim_disk_full(world->machines[i], false);
        sim_machine_crash_at_write(world->machines[i], 0);
        sim_disk_fail_sync(world->machines[i], 0);
        for (int j = 0; j < i; j++) sim_net_cut(world->sim, world->machines[i], world->machines[j], false);
        bury(world);
        const struct life *life = world->lives[i];
        if (life && (life->has_failed || (life->is_ready && life->ready_err != OK))) stop(world, i);
    }
    sim_net_delay(world->sim, 50, 500);
}

static void live(uint64_t seed, int member_count, int rounds)
{
    struct world *world = world_new(seed, member_count, member_count);
    for (int i = 0; i < member_count; i++) born(world, i);
    settle(world, 30000);
    for (int round = 0; round < rounds; round++) {
        int turns = (int)random_below(world->random, 80);
        for (int turn = 0; turn < turns; turn++) {
            if (random_below(world->random, 6) == 0) hurt(world);
            bury(world);
            for (int i = 0; i < member_count; i++) {
                struct life *life = world->lives[i];
                if (!life && random_below(world->random, 8) == 0) born(world, i);
                if (!life || !life->is_ready || life->ready_err != OK || life->has_failed) continue;
                if (life->standing.office == QUORUM_LEADING && world->applied_count < ENTRIES_MAX - 1000) {
                    for (uint64_t n = random_below(world->random, 10); n > 0; n--)
                        if (append(life) != OK) break;
                }
                if (random_below(world->random, 40) == 0) save(life);
                if (random_below(world->random, 4) == 0) {
                    int to = 1 + (int)random_below(world->random, (uint64_t)member_count);
                    if (to != i + 1) talk(life, to);
                }
                if (random_below(world->random, 100) == 0 && life->standing.office == QUORUM_LEADING) {
                    enum error err = quorum_transfer(life->quorum, 0);
                    CHECK(world,
                          err == OK || err == ERR_BUSY || err == ERR_NOT_LEADER || err == ERR_NOT_FOUND);
                }
            }
            sim_run_ms(world->sim,
                       (int64_t)random_below(world->random, random_below(world->random, 10) ? 60 : 3000));
            bury(world);
        }
        heal(world);
        for (int i = 0; i < member_count; i++) {
            if (!world->lives[i]) born(world, i);
        }
        settle(world, 120000);
    }
    world_end(world);
}

static uint64_t first_seed = 1, seeds = 40;

/* All is well: one disk is replaced, or the membership changes. */
static bool is_changed(void *context)
{
    struct world *world = context;
    for (int i = 0; i < world->member_count; i++) {
        if (world->lives[i] && world->lives[i]->is_changing) return false;
    }
    return true;
}

static bool is_membership_known(void *context)
{
    struct world *world = context;
    uint64_t newest = 0;
    bool is_known = true;
    for (int i = 0; i < world->member_count; i++) {
        int told;
        uint64_t index;
        if (!world->lives[i]) continue;
        (void)quorum_members(world->lives[i]->quorum, &told, &index);
        is_known = is_known && (newest == 0 || newest == index);
        newest = index;
    }
    return is_known;
}

/* A majority of the voters' disks is left, or its own does not count. */
static bool can_lose(struct world *world, int at)
{
    int count, voters = 0;
    uint64_t index;
    const struct quorum_member *members = quorum_members(leader_of(world)->quorum, &count, &index);
    bool is_voter = false;
    for (int i = 0; i < count; i++) {
        voters += members[i].part == QUORUM_VOTER;
        is_voter = is_voter || (members[i].id == at + 1 && members[i].part == QUORUM_VOTER);
    }
    return !is_voter || voters > 2;
}

static void wipe(struct world *world, int at)
{
    stop(world, at);
    CHECK(world, disk_remove_tree(sim_machine_disk(world->machines[at]), "/data") == OK);
    CHECK(world, disk_sync_dir(sim_machine_disk(world->machines[at]), "/") == OK);
    world->wiped++;
    born(world, at);
}

static void change(struct world *world)
{
    struct quorum_member wanted[MEMBERS];
    bool is_out[MEMBERS];
    int count = 0, voters = 0;
    for (int i = 0; i < world->member_count; i++) {
        is_out[i] = random_below(world->random, 3) == 0;
        if (is_out[i]) continue;
        wanted[count] = world->members[i];
        if (random_below(world->random, 4) == 0) wanted[count].part = QUORUM_OBSERVER;
        voters += wanted[count++].part == QUORUM_VOTER;
    }
    if (voters == 0) return;
    for (int i = 0; i < world->member_count; i++) {
        if (!is_out[i] && !world->lives[i]) born(world, i);
    }
    struct life *leader = leader_of(world);
    enum error err =
        leader ? quorum_change(leader->quorum, wanted, count, on_changed, leader) : ERR_NOT_LEADER;
    if (err != OK) return;
    leader->is_changing = true;
    await(world, is_changed, 120000);
    if (leader->change_err != OK) return; /* an office that was lost in between: whoever is in stays up */
    for (int i = 0; i < world->member_count; i++) {
        world->is_out[i] = is_out[i];
        if (is_out[i]) stop(world, i);
    }
    await(world, has_settled, 120000);
    await(world, is_membership_known, 10000);
    for (int i = 0; i < world->member_count; i++) {
        if (!world->lives[i]) continue;
        int told;
        uint64_t index;
        const struct quorum_member *members = quorum_members(world->lives[i]->quorum, &told, &index);
        CHECK(world, told == count);
        for (int j = 0; j < count; j++)
            CHECK(world, members[j].id == wanted[j].id && members[j].part == wanted[j].part);
    }
}

static void flip(uint64_t seed, int member_count, int founder_count)
{
    struct world *world = world_new(seed, member_count, founder_count);
    for (int i = 0; i < member_count; i++) {
        world->is_out[i] = i >= founder_count;
        if (!world->is_out[i]) born(world, i);
    }
    settle(world, 30000);
    for (int round = 0; round < 12; round++) {
        for (int turn = 0; turn < 20; turn++) {
            struct life *leader = leader_of(world);
            if (leader && append(leader) == OK && random_below(world->random, 10) == 0) save(leader);
            sim_run_ms(world->sim, (int64_t)random_below(world->random, 40));
        }
        int at = (int)random_below(world->random, (uint64_t)member_count);
        uint64_t dice = random_below(world->random, 4);
        if (dice == 0 && !world->is_out[at] && can_lose(world, at)) {
            wipe(world, at);
        } else if (dice == 1 && !world->is_out[at]) {
            sim_machine_kill(world->machines[at]);
        } else {
            change(world);
        }
        bury(world);
        for (int i = 0; i < member_count; i++) {
            if (!world->lives[i] && !world->is_out[i]) born(world, i);
        }
        settle(world, 120000);
    }
    world_end(world);
}

static void memberships_change_and_disks_are_replaced(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) flip(seed, 5, 3);
    print_message("%d changes, %d disks replaced\n", total.changes, total.wiped);
    if (seeds >= 20) assert_true(total.changes > 0 && total.wiped > 0);
}

/* Each founder gets a copy of what was imported; one that gets none is given it. */
static void an_import_is_where_several_begin(void **state)
{
    struct world *world = world_new(5, 3, 3);
    for (int i = 0; i < 3; i++) {
        struct quorum_offline *offline;
        uint8_t chunk[17] = {1};
        put_be64(chunk + 1, 1001);
        put_be64(chunk + 9, 1002);
        CHECK(world,
              quorum_offline_begin(sim_machine_disk(world->machines[i]), "/data", "keeper-", &offline) == OK);
        quorum_offline_write(offline, (struct slice){chunk, sizeof chunk});
        CHECK(world, quorum_offline_end(&offline, OK) == OK);
        if (i > 0) born(world, i);
    }
    settle(world, 30000); /* without the first, which takes a while */
    CHECK(world, leader_of(world)->values[0] == 1001 && leader_of(world)->values[1] == 1002);
    wipe(world, 0);
    settle(world, 30000);
    CHECK(world, world->lives[0]->count == leader_of(world)->count && world->lives[0]->values[1] == 1002);
    stop(world, 0);
    stop(world, 1);
    stop(world, 2);
    for (int i = 0; i < 3; i++) born(world, i);
    settle(world, 30000);
    world_end(world);
}

static bool has_leader(void *context)
{
    return leader_of(context) != NULL;
}

/* Of three, the leader and one follower have an entry; the leader's machine is down and the follower's disk replaced: the two that
 * are left must not go on without it. */
static void a_replaced_disk_does_not_vote(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + seeds / 4 + 1; seed++) {
        struct world *world = world_new(seed, 3, 3);
        for (int i = 0; i < 3; i++) born(world, i);
        settle(world, 30000);
        int first = leader_of(world)->at, second = (first + 1) % 3, third = (first + 2) % 3;
        sim_net_cut(world->sim, world->machines[third], world->machines[first], true);
        sim_net_cut(world->sim, world->machines[third], world->machines[second], true);
        CHECK(world, append(leader_of(world)) == OK);
        sim_run_ms(world->sim, 300);
        uint64_t acknowledged = world->acknowledged;
        sim_machine_crash(world->machines[first]);
        bury(world);
        wipe(world, second);
        sim_net_cut(world->sim, world->machines[third], world->machines[second], false);
        CHECK(world, !sim_run_until(world->sim, has_leader, world, 60000));
        sim_net_cut(world->sim, world->machines[third], world->machines[first], false);
        born(world, first);
        settle(world, 60000);
        CHECK(world, leader_of(world)->count > acknowledged);
        world_end(world);
    }
}

/* Who is killed has lost its links: the others do not wait for its silence to grow long. */
static void a_killed_leader_is_followed_at_once(void **state)
{
    int64_t longest = 0;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        int count = seed % 2 ? 3 : 5;
        struct world *world = world_new(seed, count, count);
        sim_net_delay(world->sim, 50, 500);
        for (int i = 0; i < count; i++) born(world, i);
        settle(world, 30000);
        sim_run_ms(world->sim, 1000);
        sim_machine_kill(world->machines[leader_of(world)->at]);
        bury(world);
        int64_t begun = sim_now_ms(world->sim);
        CHECK(world, sim_run_until(world->sim, has_leader, world, 10000));
        int64_t took = sim_now_ms(world->sim) - begun;
        if (took > longest) longest = took;
        world_end(world);
    }
    print_message("a new leader after %lld ms at most\n", (long long)longest);
    assert_true(longest <= 200);
}

static void nothing_acknowledged_is_lost(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) live(seed, seed % 3 ? 3 : 5, 6);
    print_message("%d offices, %llu entries, %d snapshots, %d of them sent, %d crashes, %d failures\n",
                  total.offices, (unsigned long long)total.entries, total.snapshots, total.installs,
                  total.crashed, total.failures);
}

static void quiet(void *context, enum diag_level level, const char *message)
{
}

int main(int argc, char **argv)
{
    if (argc > 1) first_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2) seeds = strtoull(argv[2], NULL, 10);
    if (!getenv("LOUD")) diag_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_members_find_a_leader_and_agree),
        cmocka_unit_test(nothing_acknowledged_is_lost),
        cmocka_unit_test(memberships_change_and_disks_are_replaced),
        cmocka_unit_test(an_import_is_where_several_begin),
        cmocka_unit_test(a_replaced_disk_does_not_vote),
        cmocka_unit_test(a_killed_leader_is_followed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
