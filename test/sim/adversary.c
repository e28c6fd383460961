#include "adversary.h"

enum {
    DAY_MS = 24 * 3600 * 1000,
    /* Wall clocks stay within half a day of each other: producers are forgotten after a day (producer.id.expiration.ms). */
    MAX_SKEW_MS = DAY_MS / 4,
};

static void wait(struct world *world, int64_t min_ms, int64_t max_ms)
{
    world_run(world, world_between(world, min_ms, max_ms));
}

static void die(struct world *world)
{
    if (world->plan.has_power_cuts && !world_chance(world, 3))
        world_power_cut(world);
    else
        world_kill(world);
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
    sim_machine_crash_at_write(world->server, (int)count);
    wait(world, 200, 2000);
    if (world->state != NODE_DOWN) sim_machine_crash_at_write(world->server, 0);
}

static void clean_stop(struct world *world)
{
    world_stop_node(world);
}

static void full_disk(struct world *world)
{
    world_disk_full(world, true);
    wait(world, 50, 1500);
    if (world_chance(world, 3) && world->state != NODE_DOWN) die(world);
    world_disk_full(world, false);
}

static void slow_disk(struct world *world)
{
    int64_t delay_ms = world_between(world, 5, 500), count = world_between(world, 1, 30);
    world_note(world, "the next %lld syncs take %lld ms", (long long)count, (long long)delay_ms);
    sim_disk_slow(world->server, delay_ms, (int)count);
}

/* A directory goes offline, perhaps the node ends; what the kernel dropped shows when the power goes. */
static void failing_sync(struct world *world)
{
    if (!world->plan.has_lost_syncs) {
        slow_disk(world);
        return;
    }
    world_fail_syncs(world, (int)world_between(world, 1, 3));
    wait(world, 100, 2000);
    world_disk_heal(world);
    if (world->state != NODE_DOWN && world_chance(world, 4)) world_stop_node(world);
    if (world->has_lost_sync) world_power_cut(world);
}

static void clock_jump(struct world *world)
{
    int64_t to_ms = world_between(world, -MAX_SKEW_MS, MAX_SKEW_MS);
    if (world_chance(world, 2)) to_ms /= 1000;
    world_note(world, "the wall clock jumps by %lld ms", (long long)(to_ms - world->skew_ms));
    sim_wall_jump(world->server, to_ms - world->skew_ms);
    world->skew_ms = to_ms;
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
    sim_net_cut(world->sim, world->server, world->clients, true);
    wait(world, 50, 5000);
    sim_net_cut(world->sim, world->server, world->clients, false);
    world_note(world, "the network is back");
}

static void slow_net(struct world *world)
{
    int64_t min_us = world_between(world, 10, 20000);
    sim_net_delay(world->sim, min_us, min_us + world_between(world, 10, 30000));
}

static void pause(struct world *world)
{
    struct sim_machine *machine = world_chance(world, 3) ? world->clients : world->server;
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
    world_start_node(world);
    if (world->plan.has_power_cuts && world_chance(world, 5))
        sim_machine_crash_at_write(world->server, (int)world_between(world, 1, 60));
    if (world_chance(world, 6)) {
        world_run(world, world_between(world, 0, 30));
        if (world->state != NODE_DOWN) die(world);
    }
}

void adversary_live(struct world *world)
{
    for (int i = 0; i < world->plan.steps && !world_has_failed(world); i++) {
        if (world->state == NODE_DOWN) {
            wait(world, 0, 300);
            start(world);
        }
        wait(world, 5, world_chance(world, 3) ? 3000 : 600);
        if (world->state != NODE_DOWN && !world_has_failed(world)) strike(world);
    }
    adversary_heal(world);
}

void adversary_heal(struct world *world)
{
    world_note(world, "all is well from now on");
    world_disk_heal(world);
    sim_machine_crash_at_write(world->server, 0);
    sim_net_cut(world->sim, world->server, world->clients, false);
    sim_net_delay(world->sim, 50, 1000);
    bool may_be_offline = world->may_end || world->was_starved; /* a directory, until a restart */
    if (world->state != NODE_DOWN && may_be_offline) world_stop_node(world);
    world_bring_up(world);
}

void adversary_last_restart(struct world *world)
{
    if (world_chance(world, 3))
        world_stop_node(world);
    else
        die(world);
    world_bring_up(world);
}
