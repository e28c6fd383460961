/* quorum_grow_test.c: a log of one becomes one of several, and the other way round, over the simulated loop: crashes while files change, others
 * that come sooner or later, others with data of their own.
 *
 * quorum_grow_test [SEED [SEEDS]] lives other lives. */
#include "quorum/files.h"
#include "quorum/quorum_world.h"

static bool is_ready(void *context)
{
    struct life *life = context;
    return life->is_ready || life->world->lives[life->at] != life;
}

static bool all_applied(void *context)
{
    struct life *life = context;
    return life->count >= life->world->next_value;
}

/* Stands alone, takes some entries, and ends in good order or not. */
static void live_alone(struct world *world, int at, int entries)
{
    born_as(world, at, 0);
    struct life *life = world->lives[at];
    CHECK(world, sim_run_until(world->sim, is_ready, life, 60000) && life->ready_err == OK);
    life->standing.office = QUORUM_LEADING; /* what it applies is acknowledged */
    for (int i = 0; i < entries; i++) {
        CHECK(world, append(life) == OK);
        if (random_below(world->random, 10) == 0) sim_run_ms(world->sim, 1);
        if (random_below(world->random, 50) == 0) save(life);
    }
    CHECK(world, sim_run_until(world->sim, all_applied, life, 60000));
    if (random_below(world->random, 3) == 0) sim_machine_crash(world->machines[at]);
    bury(world);
    stop(world, at);
}

/* Its files become a member's, whatever falls meanwhile. */
static void grow(struct world *world, int at)
{
    if (random_below(world->random, 2)) /* while it changes its files */
        sim_machine_crash_at_write(world->machines[at], 1 + (int)random_below(world->random, 12));
    for (int i = 0; i < world->member_count; i++) {
        if (i != at || random_below(world->random, 2)) born(world, i);
        sim_run_ms(world->sim, (int64_t)random_below(world->random, 300));
        bury(world);
    }
    sim_run_ms(world->sim, (int64_t)random_below(world->random, 1000));
    for (int i = 0; i < world->member_count; i++) sim_machine_crash_at_write(world->machines[i], 0);
    bury(world);
    for (int i = 0; i < world->member_count; i++) {
        if (!world->lives[i]) born(world, i);
    }
}

static void one_becomes_several_and_one_again(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        int count = seed % 2 ? 3 : 2 + (int)(seed % 4);
        struct world *world = world_new(seed, count, count);
        int at = (int)random_below(world->random, (uint64_t)count);
        live_alone(world, at, (int)random_below(world->random, random_below(world->random, 2) ? 3 : 300));
        for (int round = 0; round < 2; round++) {
            grow(world, at);
            settle(world, 60000);
            CHECK(world, world->applied_count >= world->acknowledged);
            sim_run_ms(world->sim, 10000); /* all are in, and have their votes */
            for (int i = 0; i < 50; i++) CHECK(world, append(leader_of(world)) == OK);
            settle(world, 60000);
            if (count > 2) { /* the data is with the others, too */
                sim_machine_crash(world->machines[at]);
                bury(world);
                settle(world, 60000);
                born(world, at);
                settle(world, 60000);
            }
            for (int i = 0; i < count; i++) stop(world, i);
            /* Not by mistake. */
            at = (int)random_below(world->random, (uint64_t)count);
            born_as(world, at, 0);
            CHECK(world, sim_run_until(world->sim, is_ready, world->lives[at], 60000));
            CHECK(world, world->lives[at]->ready_err == ERR_CONFIG);
            stop(world, at);
            for (int i = 0; i < count; i++) {
                struct disk *disk = sim_machine_disk(world->machines[i]);
                if (i == at)
                    CHECK(world, disk_unlink(disk, "/data/keeper-vote") == OK);
                else
                    CHECK(world, disk_remove_tree(disk, "/data") == OK);
                CHECK(world, disk_sync_dir(disk, i == at ? "/data" : "/") == OK);
            }
            live_alone(world, at, 20);
            memset(world->leaders, 0, sizeof world->leaders); /* of an ensemble that is gone */
        }
        world_end(world);
    }
}

/* Two have data: nobody's is taken for the other's. */
static void two_with_data_do_not_begin(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + seeds / 4 + 1; seed++) {
        struct world *world = world_new(seed, 3, 3);
        int rival = random_below(world->random, 2) ? 1 : 2;
        live_alone(world, rival, 10);
        world->next_value = world->acknowledged = 0; /* the same values, but it does not know that */
        live_alone(world, 0, 20);
        for (int i = 0; i < 3; i++) born(world, i);
        CHECK(world, !sim_run_until(world->sim, has_leader, world, 60000));
        wipe(world, rival);
        settle(world, 60000);
        CHECK(world, world->applied_count == 21);
        sim_run_ms(world->sim, 10000); /* all have their votes */
        /* One that comes later with data of its own is turned away, and keeps it. */
        stop(world, rival);
        CHECK(world, disk_remove_tree(sim_machine_disk(world->machines[rival]), "/data") == OK);
        uint64_t next_value = world->next_value, acknowledged = world->acknowledged;
        world->next_value = world->acknowledged = 0;
        live_alone(world, rival, 5);
        world->next_value = next_value;
        world->acknowledged = acknowledged;
        born(world, rival);
        sim_run_ms(world->sim, 60000);
        CHECK(world, leader_of(world) && leader_of(world)->at != rival);
        CHECK(world,
              world->lives[rival]->standing.office == QUORUM_LOOKING && world->lives[rival]->count == 5);
        world_end(world);
    }
}

static void open_leaving(struct world *world, int at)
{
    world->leaves_silent = true;
    born_as(world, at, 0);
    world->leaves_silent = false;
}

static uint64_t files_sum(struct world *world, int at)
{
    int64_t snapshots = 0, logs = 0;
    struct disk *disk = sim_machine_disk(world->machines[at]);
    CHECK(world, quorum_files_bytes(disk, "/data", "keeper-", "snapshot", &snapshots) == OK);
    CHECK(world, quorum_files_bytes(disk, "/data", "keeper-", "log", &logs) == OK);
    return (uint64_t)snapshots << 32 | (uint64_t)logs;
}

/* Its server lines are gone: it stands alone when nobody of its ensemble answers, and not before. With the lines again it is refused. */
static void who_lost_its_lines_asks_the_others_first(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + seeds / 2 + 1; seed++) {
        struct world *world = world_new(seed, 3, 3);
        for (int i = 0; i < 3; i++) born(world, i);
        settle(world, 60000);
        for (int i = 0; i < 50; i++) CHECK(world, append(leader_of(world)) == OK);
        settle(world, 60000);
        for (int i = 0; i < 3; i++) {
            if (random_below(world->random, 2)) save(world->lives[i]);
        }
        sim_run_ms(world->sim, 1000);
        int at = (int)random_below(world->random, 3),
            lives = (at + 1 + (int)random_below(world->random, 2)) % 3;
        for (int i = 0; i < 3; i++) {
            if (i != lives) stop(world, i);
        }
        uint64_t sum = files_sum(world, at);
        open_leaving(world, at);
        CHECK(world, sim_run_until(world->sim, is_ready, world->lives[at], 700));
        CHECK(world, world->lives[at]->ready_err == ERR_CONFIG);
        stop(world, at);
        CHECK(world, files_sum(world, at) == sum);

        if (random_below(world->random, 2)) { /* it cannot be reached: no answer in half a second */
            sim_net_cut(world->sim, world->machines[at], world->machines[lives], true);
            sim_net_cut(world->sim, world->machines[lives], world->machines[at], true);
        } else {
            stop(world, lives);
        }
        if (random_below(world->random, 4) == 0) { /* given up while it asks */
            open_leaving(world, at);
            sim_run_ms(world->sim, (int64_t)random_below(world->random, 600));
            stop(world, at);
        }
        if (random_below(world->random, 2)) { /* or while it changes its files */
            sim_machine_crash_at_write(world->machines[at], 1 + (int)random_below(world->random, 8));
            open_leaving(world, at);
            sim_run_ms(world->sim, 2000);
            sim_machine_crash_at_write(world->machines[at], 0);
            bury(world);
            stop(world, at);
        }
        open_leaving(world, at);
        CHECK(world, sim_run_until(world->sim, is_ready, world->lives[at], 2000));
        CHECK(world, world->lives[at]->ready_err == OK && world->lives[at]->count >= world->acknowledged);
        stop(world, at);
        uint64_t next_value = world->next_value;
        live_alone(world, at, 20);
        stop(world, lives);
        sim_net_cut(world->sim, world->machines[at], world->machines[lives], false);
        sim_net_cut(world->sim, world->machines[lives], world->machines[at], false);

        /* A member again: not with what it did meanwhile. */
        born(world, at);
        CHECK(world, sim_run_until(world->sim, is_ready, world->lives[at], 60000));
        CHECK(world, world->lives[at]->ready_err == ERR_CONFIG);
        stop(world, at);
        world->next_value = next_value;
        world->acknowledged = next_value;
        memset(world->leaders, 0, sizeof world->leaders);
        wipe(world, at);
        for (int i = 0; i < 3; i++) {
            if (!world->lives[i]) born(world, i);
        }
        settle(world, 60000);
        CHECK(world, world->lives[at]->count >= next_value);
        world_end(world);
    }
}

int main(int argc, char **argv)
{
    world_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_becomes_several_and_one_again),
        cmocka_unit_test(two_with_data_do_not_begin),
        cmocka_unit_test(who_lost_its_lines_asks_the_others_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
