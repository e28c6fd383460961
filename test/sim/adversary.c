#include "adversary.h"

enum {
    DAY_MS = 24 * 3600 * 1000,
    /* Wall clocks stay within half a day of each other: producers are forgotten after a day (producer.id.expiration.ms). */
    MAX_SKEW_MS = DAY_MS / 4,
};

static struct server *server_of(struct world *world)
{
    return &world->servers[0];
}

static void wait(struct world *world, int64_t min_ms, int64_t max_ms)
{
    world_run(world, world_between(world, min_ms, max_ms));
}

static void die(struct world *world)
{
    if (world->plan.has_power_cuts && !world_chance(world, 3))
        server_power_cut(server_of(world));
    else
        server_kill(server_of(world));
}

/* --- blows; the node is up, or on its way --- */

static void death(struct world *world)
{
    die(world);
}

/* The power goes in the middle of a write to come. */
static void death_at_write(struct world *world)
{
    if (!world->plan.has_power_cuts) {
        die(world);
        return;
    }
    int64_t count = world_chance(world, 2) ? world_between(world, 1, 20) : world_between(world, 1, 300);
    world_note(world, "the power will go at change %lld of the disk", (long long)count);
    sim_machine_crash_at_write(server_of(world)->machine, (int)count);
    wait(world, 200, 2000);
    if (server_of(world)->state != SERVER_DOWN) sim_machine_crash_at_write(server_of(world)->machine, 0);
}

static void clean_stop(struct world *world)
{
    server_stop(server_of(world));
}

static void full_disk(struct world *world)
{
    server_disk_full(server_of(world), true);
    wait(world, 50, 1500);
    if (world_chance(world, 3) && server_of(world)->state != SERVER_DOWN) die(world);
    server_disk_full(server_of(world), false);
}

static void slow_disk(struct world *world)
{
    int64_t delay_ms = world_between(world, 5, 500), count = world_between(world, 1, 30);
    world_note(world, "the next %lld syncs take %lld ms", (long long)count, (long long)delay_ms);
    sim_disk_slow(server_of(world)->machine, delay_ms, (int)count);
}

/* A directory goes offline, perhaps the node ends. The kernel shows what it dropped until the power goes, at once or lives
 * later. */
static void failing_sync(struct world *world)
{
    if (!world->plan.has_lost_syncs) {
        slow_disk(world);
        return;
    }
    server_fail_syncs(server_of(world), (int)world_between(world, 1, 3));
    wait(world, 100, 2000);
    server_disk_heal(server_of(world));
    if (server_of(world)->state != SERVER_DOWN && world_chance(world, 4)) server_stop(server_of(world));
    if (world_chance(world, 2)) server_power_cut(server_of(world));
}

static void clock_jump(struct world *world)
{
    int64_t to_ms = world_between(world, -MAX_SKEW_MS, MAX_SKEW_MS);
    if (world_chance(world, 2)) to_ms /= 1000;
    world_note(world, "the wall clock jumps by %lld ms", (long long)(to_ms - server_of(world)->skew_ms));
    sim_wall_jump(server_of(world)->machine, to_ms - server_of(world)->skew_ms);
    server_of(world)->skew_ms = to_ms;
}

static void resets(struct world *world)
{
    int64_t count = world_between(world, 1, 4);
    world_note(world, "%lld connections are reset", (long long)count);
    for (int64_t i = 0; i < count; i++) sim_net_reset_one(world->sim);
}

static void cut(struct world *world)
{
    world_note(world, "the network is cut");
    sim_net_cut(world->sim, server_of(world)->machine, world->clients, true);
    wait(world, 50, 5000);
    sim_net_cut(world->sim, server_of(world)->machine, world->clients, false);
    world_note(world, "the network is back");
}

static void slow_net(struct world *world)
{
    int64_t min_us = world_between(world, 10, 20000);
    sim_net_delay(world->sim, min_us, min_us + world_between(world, 10, 30000));
}

static void pause(struct world *world)
{
    struct sim_machine *machine = world_chance(world, 3) ? world->clients : server_of(world)->machine;
    int64_t ms = world_between(world, 20, world_chance(world, 4) ? 5000 : 500);
    world_note(world, "the %s are paused for %lld ms",
               machine == world->clients ? "clients" : "server's loops", (long long)ms);
    sim_machine_pause(machine, ms);
}

/* --- the schedule --- */

static const struct {
    void (*strike)(struct world *world);
    int weight;
} blows[] = {
    {death, 6},      {death_at_write, 5}, {clean_stop, 2}, {full_disk, 2}, {slow_disk, 2}, {failing_sync, 2},
    {clock_jump, 2}, {resets, 3},         {cut, 2},        {slow_net, 1},  {pause, 2},
};

static void strike(struct world *world)
{
    int64_t total = 0;
    for (size_t i = 0; i < sizeof blows / sizeof *blows; i++) total += blows[i].weight;
    int64_t drawn = world_between(world, 0, total - 1);
    for (size_t i = 0; i < sizeof blows / sizeof *blows; i++) {
        if (drawn < blows[i].weight) {
            blows[i].strike(world);
            return;
        }
        drawn -= blows[i].weight;
    }
}

/* Often enough a start does not come far. */
static void start(struct world *world)
{
    server_start(server_of(world));
    if (world->plan.has_power_cuts && world_chance(world, 5))
        sim_machine_crash_at_write(server_of(world)->machine, (int)world_between(world, 1, 60));
    if (world_chance(world, 6)) {
        world_run(world, world_between(world, 0, 30));
        if (server_of(world)->state != SERVER_DOWN) die(world);
    }
}

/* No blow, but blows may fall in the middle of it. */
static void use_tools(struct world *world, struct tools *tools)
{
    struct tools_target target;
    int64_t what = world_between(world, 0, 3);
    int64_t most = world->plan.segment_bytes < 500000 ? world->plan.segment_bytes / 2 : 250000;
    const char *dir = world_chance(world, 2) ? "/data/a" : "/data/b";
    if (what == 3) {
        if (tools_target_doomed(world, &target))
            tools_fill(tools, 0, target.topic, target.index, (size_t)world_between(world, 100, most));
    } else if (what == 2) {
        if (tools_target_doomed(world, &target)) tools_move_dir(tools, 0, target.topic, target.index, dir);
    } else if (tools_target_draw(world, &target)) {
        tools_move_dir(tools, 0, target.topic, target.index, dir);
    }
}

void adversary_live(struct world *world, struct tools *tools)
{
    for (int i = 0; i < world->plan.steps && !world_has_failed(world); i++) {
        if (server_of(world)->state == SERVER_DOWN) {
            wait(world, 0, 300);
            start(world);
        }
        wait(world, 5, world_chance(world, 3) ? 3000 : 600);
        if (world->plan.data_dirs > 1) {
            use_tools(world, tools);
            if (world_chance(world, 2)) wait(world, 0, 300);
        }
        if (server_of(world)->state != SERVER_DOWN && !world_has_failed(world)) strike(world);
    }
    adversary_heal(world);
}

void adversary_heal(struct world *world)
{
    world_note(world, "all is well from now on");
    server_disk_heal(server_of(world));
    sim_machine_crash_at_write(server_of(world)->machine, 0);
    sim_net_cut(world->sim, server_of(world)->machine, world->clients, false);
    sim_net_delay(world->sim, 50, 1000);
    bool may_be_offline = server_of(world)->may_end; /* a directory, until a restart */
    if (server_of(world)->state != SERVER_DOWN && may_be_offline) server_stop(server_of(world));
    world_bring_up(world);
}

void adversary_last_restart(struct world *world)
{
    if (world_chance(world, 3))
        server_stop(server_of(world));
    else
        die(world);
    world_bring_up(world);
}
