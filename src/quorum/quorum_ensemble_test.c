/* quorum_ensemble_test.c: lives of several members over the simulated loop, network and disks, from one seed each: partitions, resets,
 * pauses, crashes with torn writes, kills, full disks, failed syncs, snapshots, changed memberships, replaced disks. Always:
 *
 *   - one leader for a term;
 *   - the same entries in the same order at every member, whatever each has missed;
 *   - what was acknowledged is never missing once there is a leader again: a majority's disks hold it;
 *   - once all is well again, there is a leader, it takes entries, and all members have them.
 *
 * quorum_ensemble_test [SEED [SEEDS]] lives other lives. */
#include "quorum/quorum_world.h"

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
    flip(769, 5, 3); /* an office ends while it sends a snapshot, and the link lives on */
    print_message("%d changes, %d disks replaced\n", total.changes, total.wiped);
    if (seeds >= 20) assert_true(total.changes > 0 && total.wiped > 0);
}

static void on_changed_says(void *context, enum error err)
{
    on_changed(context, err);
    if (err == OK) CHECK(((struct life *)context)->world, append(context) == OK);
}

static bool is_gone(void *context)
{
    struct world *world = context;
    struct life *leader = leader_of(world);
    int count;
    uint64_t index;
    for (int i = 0; leader && i < world->member_count; i++)
        if (quorum_is_leaving(leader->quorum, i + 1)) return false;
    return leader && quorum_members(leader->quorum, &count, &index) && count == world->member_count - 1;
}

/* A follower, or the leader itself, is taken out: what the leader says at that is applied there, too. Its seat is gone soon, also when
 * it is killed at once or the leader is. */
static void who_leaves_is_told(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        struct world *world = world_new(seed, 4, 4);
        for (int i = 0; i < 4; i++) born(world, i);
        settle(world, 30000);
        struct life *leader = leader_of(world);
        bool is_own = seed % 4 == 0;
        struct life *leaving = is_own ? leader : world->lives[(leader->at + 1 + (int)seed % 3) % 4];
        struct quorum_member stay[3];
        for (int i = 0, count = 0; i < 4; i++)
            if (i != leaving->at) stay[count++] = world->members[i];
        for (int i = 0; i < 20; i++) CHECK(world, append(leader) == OK); /* on their way */
        leader->is_changing = true;
        CHECK(world, quorum_change(leader->quorum, stay, 3, on_changed_says, leader) == OK);
        CHECK(world, sim_run_until(world->sim, is_changed, world, 5000));
        CHECK(world, leader->change_err == OK);
        int count;
        uint64_t index, said = world->next_value;
        (void)quorum_members(leader->quorum, &count, &index);
        CHECK(world, count == 3);
        if (seed % 8 >= 6) {
            sim_machine_kill(world->machines[seed % 8 == 6 ? leader->at : leaving->at]);
            bury(world);
        } else {
            sim_run_ms(world->sim, 1000);
            CHECK(world, leaving->values[leaving->count - 1] == said);
        }
        CHECK(world, sim_run_until(world->sim, is_gone, world, 5000));
        if (world->lives[leaving->at] == leaving && !is_own) {
            CHECK(world, leaving->standing.office != QUORUM_LEADING);
        }
        world_end(world);
    }
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

/* The log that it would need is gone; whoever sends counts it. */
static void who_was_away_for_long_is_sent_a_snapshot(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + seeds / 8 + 1; seed++) {
        struct world *world = world_new(seed, 3, 3);
        for (int i = 0; i < 3; i++) born(world, i);
        settle(world, 30000);
        struct life *leader = leader_of(world);
        int away = (leader->at + 1) % 3;
        stop(world, away);
        CHECK(world, quorum_times(leader->quorum)->snapshots_sent == 0);
        for (int round = 0; round < 4; round++) {
            for (int i = 0; i < 50; i++) CHECK(world, append(leader) == OK);
            settle(world, 30000);
            save(leader);
            sim_run_ms(world->sim, 2000);
        }
        born(world, away);
        settle(world, 60000);
        CHECK(world,
              leader_of(world) == leader && quorum_times(leader->quorum)->snapshots_sent == world->installs);
        CHECK(world, world->installs == 1);
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

int main(int argc, char **argv)
{
    world_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_members_find_a_leader_and_agree),
        cmocka_unit_test(nothing_acknowledged_is_lost),
        cmocka_unit_test(memberships_change_and_disks_are_replaced),
        cmocka_unit_test(who_leaves_is_told),
        cmocka_unit_test(an_import_is_where_several_begin),
        cmocka_unit_test(a_replaced_disk_does_not_vote),
        cmocka_unit_test(who_was_away_for_long_is_sent_a_snapshot),
        cmocka_unit_test(a_killed_leader_is_followed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
