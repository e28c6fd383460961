#include "siege.h"

#include <stdlib.h>

#include "shell.h"
#include "tools.h"
#include "witness.h"

enum {
    MAX_CUTS = 12,
    SLICE_MS = 40,
    MAX_SKEW_MS = 6 * 3600 * 1000, /* as in adversary.c */
    WHOLE_MS = 60000,              /* in which all replicas must be in sync once all is well */
};

struct cut {
    struct sim_machine *a, *b;
    struct server *troubled;
    int64_t until_ms; /* 0 = none */
};

struct siege {
    struct world *world;
    struct shell *shell;
    struct tools *tools;
    struct cut cuts[MAX_CUTS];
    int64_t up_ms[WORLD_MAX_SERVERS];       /* when a broker that is down is started again */
    int64_t well_ms[WORLD_MAX_SERVERS];     /* when its disk has room again */
    int64_t paused_ms[WORLD_MAX_SERVERS];   /* until when it stands still */
    int64_t patience_ms[WORLD_MAX_SERVERS]; /* when one that is stopping is killed */
    int64_t keeper_up_ms;
};

/* --- time --- */

static void mark_troubled(struct siege *siege)
{
    struct world *world = siege->world;
    for (int i = 0; i < world->server_count; i++)
        world->servers[i].is_troubled =
            siege->paused_ms[i] > world_now_ms(world) || world->servers[i].is_full;
    for (int i = 0; i < MAX_CUTS; i++) {
        struct cut *cut = &siege->cuts[i];
        if (cut->until_ms && cut->troubled) cut->troubled->is_troubled = true;
    }
}

static void heal_cuts(struct siege *siege, bool is_all)
{
    struct world *world = siege->world;
    for (int i = 0; i < MAX_CUTS; i++) {
        struct cut *cut = &siege->cuts[i];
        if (!cut->until_ms || (!is_all && world_now_ms(world) < cut->until_ms)) continue;
        cut->until_ms = 0;
        sim_net_cut(world->sim, cut->a, cut->b, false);
        world_note(world, "a cut is healed");
    }
}

static void tend(struct siege *siege)
{
    struct world *world = siege->world;
    int64_t now_ms = world_now_ms(world);
    heal_cuts(siege, false);
    for (int i = 0; i < world->server_count; i++) {
        struct server *server = &world->servers[i];
        if (server->is_full && now_ms >= siege->well_ms[i]) server_disk_full(server, false);
        if (server->state == SERVER_STOPPING && now_ms >= siege->patience_ms[i]) server_kill(server);
        bool may_start = !server->is_full || world_chance(world, 20);
        if (server->state == SERVER_DOWN && now_ms >= siege->up_ms[i] && may_start) server_start(server);
    }
    if (world->keeper.state == SERVER_DOWN && now_ms >= siege->keeper_up_ms) server_start(&world->keeper);
    mark_troubled(siege);
}

/* Time for life; what is over is put right meanwhile. */
static void pass(struct siege *siege, int64_t ms)
{
    int64_t end_ms = world_now_ms(siege->world) + ms;
    while (world_now_ms(siege->world) < end_ms && !world_has_failed(siege->world)) {
        tend(siege);
        int64_t left_ms = end_ms - world_now_ms(siege->world);
        world_run(siege->world, left_ms < SLICE_MS ? left_ms : SLICE_MS);
    }
}

/* --- whom --- */

static struct server *somebody(struct siege *siege)
{
    return &siege->world->servers[world_between(siege->world, 0, siege->world->server_count - 1)];
}

/* Somebody who is up and may go; NULL = not now. */
static struct server *victim(struct siege *siege)
{
    struct server *server = somebody(siege);
    bool may = server->state != SERVER_DOWN && witness_may_lose(siege->world->witness, server);
    return may ? server : NULL;
}

static void plan_start(struct siege *siege, const struct server *server)
{
    struct world *world = siege->world;
    int64_t session_ms = world->plan.keeper_session_ms;
    /* At once, within the session's timeout, or after it. */
    int64_t away_ms = world_chance(world, 3)   ? world_between(world, 0, 20)
                      : world_chance(world, 2) ? world_between(world, 20, session_ms)
                                               : world_between(world, session_ms, 3 * session_ms);
    siege->up_ms[server->id] = world_now_ms(world) + away_ms;
}

/* --- blows --- */

static void kill_one(struct siege *siege)
{
    struct server *server = victim(siege);
    if (!server) return;
    plan_start(siege, server);
    server_kill(server);
}

static void cut_power(struct siege *siege)
{
    struct world *world = siege->world;
    struct server *server = victim(siege);
    if (!server || !world->plan.has_power_cuts || !witness_may_hurt(world->witness, server)) {
        if (server) kill_one(siege);
        return;
    }
    plan_start(siege, server);
    server_power_cut(server);
}

/* In the middle of a write: only where it costs nothing, for nobody knows who may be hurt by then. */
static void cut_power_at_write(struct siege *siege)
{
    struct world *world = siege->world;
    struct server *server = victim(siege);
    bool may = world->plan.has_power_cuts && (world->plan.is_durable || !plan_is_replicated(&world->plan));
    if (!server || !may) {
        cut_power(siege);
        return;
    }
    int count = (int)world_between(world, 1, world_chance(world, 2) ? 20 : 300);
    world_note(world, "%s: the power will go at change %d of the disk", server->host, count);
    plan_start(siege, server);
    sim_machine_crash_at_write(server->machine, count);
    pass(siege, world_between(world, 200, 2000));
    if (server->state != SERVER_DOWN) sim_machine_crash_at_write(server->machine, 0);
}

static void stop_one(struct siege *siege)
{
    struct server *server = victim(siege);
    if (!server) return;
    plan_start(siege, server);
    server_ask_stop(server);
    siege->patience_ms[server->id] = world_now_ms(siege->world) + world_between(siege->world, 1000, 10000);
}

/* Everybody at once. */
static void blackout(struct siege *siege)
{
    struct world *world = siege->world;
    if (!world->plan.has_blackouts) {
        kill_one(siege);
        return;
    }
    world_note(world, "blackout");
    for (int i = 0; i < world->server_count; i++) {
        if (world->servers[i].state != SERVER_DOWN) server_power_cut(&world->servers[i]);
        siege->up_ms[i] = world_now_ms(world) + world_between(world, 0, 500);
    }
    if (world->plan.is_durable) return;
    world_peers_break(world);
    history_power_cut(&world->history);
}

static void hit_keeper(struct siege *siege)
{
    struct world *world = siege->world;
    if (world->keeper.state == SERVER_DOWN) return;
    int64_t away_ms = world_chance(world, 2) ? world_between(world, 0, 500)
                                             : world_between(world, 500, 3 * world->plan.keeper_session_ms);
    siege->keeper_up_ms = world_now_ms(world) + away_ms;
    if (world_chance(world, 4))
        server_ask_stop(&world->keeper);
    else if (world->plan.has_power_cuts && world_chance(world, 2))
        server_power_cut(&world->keeper);
    else
        server_kill(&world->keeper);
}

static void cut_between(struct siege *siege, struct server *troubled, struct sim_machine *a,
                        struct sim_machine *b, int64_t ms)
{
    struct world *world = siege->world;
    for (int i = 0; i < MAX_CUTS; i++) {
        struct cut *cut = &siege->cuts[i];
        if (cut->until_ms && ((cut->a == a && cut->b == b) || (cut->a == b && cut->b == a))) return;
    }
    for (int i = 0; i < MAX_CUTS; i++) {
        struct cut *cut = &siege->cuts[i];
        if (cut->until_ms) continue;
        *cut = (struct cut){a, b, troubled, world_now_ms(world) + ms};
        sim_net_cut(world->sim, a, b, true);
        return;
    }
}

static int64_t cut_ms(struct world *world)
{
    return world_chance(world, 2) ? world_between(world, 50, 1500)
                                  : world_between(world, 500, 3 * world->plan.keeper_session_ms);
}

static void cut_off(struct siege *siege)
{
    struct world *world = siege->world;
    struct server *server = victim(siege), *other = somebody(siege);
    if (!server || server->is_troubled) return;
    int64_t ms = cut_ms(world), kind = world_between(world, 0, 4);
    bool is_alone = kind == 4; /* from everybody */
    world_note(world, "%s is cut off from %s for %lld ms", server->host,
               is_alone    ? "everybody"
               : kind == 0 ? "the keeper"
               : kind == 1 ? "the clients"
                           : other->host,
               (long long)ms);
    if (is_alone || kind == 0) cut_between(siege, server, server->machine, world->keeper.machine, ms);
    if (is_alone || kind == 1) cut_between(siege, server, server->machine, world->clients, ms);
    for (int i = 0; i < world->server_count; i++) {
        struct server *peer = &world->servers[i];
        bool is_cut = peer != server && (is_alone || (kind >= 2 && peer == other));
        if (is_cut) cut_between(siege, server, server->machine, peer->machine, ms);
    }
    mark_troubled(siege);
}

static void pause_one(struct siege *siege)
{
    struct world *world = siege->world;
    int64_t session_ms = world->plan.keeper_session_ms;
    int64_t ms = world_chance(world, 2) ? world_between(world, 20, 800)
                                        : world_between(world, session_ms, 3 * session_ms);
    if (world_chance(world, 6)) {
        world_note(world, "the %s is paused for %lld ms", "keeper", (long long)ms);
        sim_machine_pause(world->keeper.machine, ms);
        return;
    }
    struct server *server = victim(siege);
    if (!server) return;
    world_note(world, "%s is paused for %lld ms", server->host, (long long)ms);
    sim_machine_pause(server->machine, ms);
    siege->paused_ms[server->id] = world_now_ms(world) + ms;
    mark_troubled(siege);
}

static void fill_disk(struct siege *siege)
{
    struct world *world = siege->world;
    struct server *server = victim(siege);
    if (!server || server->is_full) return;
    server_disk_full(server, true);
    siege->well_ms[server->id] = world_now_ms(world) + world_between(world, 50, 3000);
    mark_troubled(siege);
}

/* The directory goes offline, and the broker with it if it has no other; a restart writes again what the kernel gave up on. */
static void fail_syncs(struct siege *siege)
{
    struct world *world = siege->world;
    struct server *server = victim(siege);
    if (!server || !world->plan.has_lost_syncs || server->is_disk_sick || server->is_hurt) return;
    server_fail_syncs(server, (int)world_between(world, 1, 3));
    plan_start(siege, server);
}

static void slow_disk(struct siege *siege)
{
    struct world *world = siege->world;
    struct server *server = world_chance(world, 4) ? &world->keeper : somebody(siege);
    int64_t delay_ms = world_between(world, 5, 500), count = world_between(world, 1, 30);
    world_note(world, "%s: the next %lld syncs take %lld ms", server->host, (long long)count,
               (long long)delay_ms);
    sim_disk_slow(server->machine, delay_ms, (int)count);
}

static void jump_clock(struct siege *siege)
{
    struct world *world = siege->world;
    struct server *server = world_chance(world, 5) ? &world->keeper : somebody(siege);
    int64_t to_ms = world_between(world, -MAX_SKEW_MS, MAX_SKEW_MS);
    if (world_chance(world, 2)) to_ms /= 1000;
    world_note(world, "%s: the wall clock jumps by %lld ms", server->host,
               (long long)(to_ms - server->skew_ms));
    sim_wall_jump(server->machine, to_ms - server->skew_ms);
    server->skew_ms = to_ms;
}

static void reset_some(struct siege *siege)
{
    struct world *world = siege->world;
    int64_t count = world_between(world, 1, 8);
    world_note(world, "%lld connections are reset", (long long)count);
    for (int64_t i = 0; i < count; i++) sim_net_reset_one(world->sim);
}

static void slow_net(struct siege *siege)
{
    struct world *world = siege->world;
    int64_t min_us = world_between(world, 10, 10000);
    sim_net_delay(world->sim, min_us, min_us + world_between(world, 10, 30000));
}

struct patience {
    const struct witness *witness;
    int64_t changes;
};

static bool has_changed(void *context)
{
    const struct patience *patience = context;
    return witness_changes(patience->witness) > patience->changes;
}

static void force_election(struct siege *siege)
{
    struct world *world = siege->world;
    struct patience patience = {world->witness, witness_changes(world->witness)};
    /* A broker that dies while the keeper is slow gives a controller much to write, and time to be deposed meanwhile. */
    struct server *server = world_chance(world, 3) ? NULL : victim(siege);
    if (server) {
        sim_disk_slow(world->keeper.machine, world_between(world, 50, 300), 8);
        plan_start(siege, server);
        server_kill(server);
    }
    /* In the middle of its work, more often than not. */
    if (!world_chance(world, 3)) world_run_until(world, has_changed, &patience, 2000);
    shell_force_election(siege->shell);
}

static const struct history_partition *some_partition(struct siege *siege)
{
    const struct history *history = &siege->world->history;
    if (history->partition_count == 0) return NULL;
    return &history->partitions[world_between(siege->world, 0, (int64_t)history->partition_count - 1)];
}

static void move_partition(struct siege *siege)
{
    struct world *world = siege->world;
    struct tools_target target;
    if (!plan_is_replicated(&world->plan) || !tools_target_draw(world, &target)) return;
    int32_t brokers[WORLD_MAX_SERVERS];
    for (int i = 0; i < world->server_count; i++) brokers[i] = i;
    for (int i = world->server_count - 1; i > 0; i--) {
        int64_t other = world_between(world, 0, i);
        int32_t swapped = brokers[i];
        brokers[i] = brokers[other];
        brokers[other] = swapped;
    }
    shell_reassign(siege->shell, target.topic, target.index, brokers, world->plan.replicas);
}

static void prefer_leader(struct siege *siege)
{
    struct tools_target target;
    if (tools_target_draw(siege->world, &target))
        shell_elect_preferred(siege->shell, target.topic, target.index);
}

/* From one of its log directories to the other. */
static void move_dir(struct siege *siege, const struct tools_target *target)
{
    struct world *world = siege->world;
    if (world->plan.data_dirs < 2) return;
    int32_t ids[WORLD_MAX_SERVERS + 1];
    int count = witness_isr(world->witness, target->topic, target->index, ids);
    if (count == 0) return;
    tools_move_dir(siege->tools, ids[world_between(world, 0, count - 1)], target->topic, target->index,
                   world_chance(world, 2) ? "/data/a" : "/data/b");
}

/* So that there is something to copy, and to delete. */
static void fill(struct siege *siege, const struct tools_target *target)
{
    struct world *world = siege->world;
    int32_t ids[WORLD_MAX_SERVERS + 1];
    if (witness_isr(world->witness, target->topic, target->index, ids) == 0) return;
    int64_t most = world->plan.segment_bytes < 500000 ? world->plan.segment_bytes / 2 : 250000;
    tools_fill(siege->tools, ids[0], target->topic, target->index, (size_t)world_between(world, 100, most));
}

static void delete_records(struct siege *siege)
{
    struct world *world = siege->world;
    const struct history_partition *partition = some_partition(siege);
    if (!partition || !world->plan.deletes_records) return;
    size_t at = (size_t)(partition - world->history.partitions);
    int32_t ids[WORLD_MAX_SERVERS + 1];
    if (witness_isr(world->witness, partition->topic, partition->index, ids) == 0) return;
    tools_delete_records(siege->tools, ids[0], at,
                         world_between(world, 0, history_known_end(&world->history, at)));
}

/* A leader that can reach neither one of its in-sync followers nor the controllers, while one that was away comes back to it: it
 * must not count what only that one has. Then it dies, and who it did not reach leads. */
static void tear(struct siege *siege)
{
    struct world *world = siege->world;
    const struct history_partition *partition = some_partition(siege);
    int32_t ids[WORLD_MAX_SERVERS + 1];
    int count = partition ? witness_isr(world->witness, partition->topic, partition->index, ids) : 0;
    if (count < 3) return;
    struct server *leader = &world->servers[ids[0]], *reached = &world->servers[ids[1]],
                  *away = &world->servers[ids[2]];
    bool may = leader->state == SERVER_READY && away->state == SERVER_READY &&
               witness_may_lose(world->witness, away) && witness_may_lose(world->witness, leader);
    if (!may || leader->is_troubled || reached->is_troubled) return;
    siege->up_ms[away->id] = world_now_ms(world) + world->plan.lag_ms / 2;
    server_kill(away);
    pass(siege, world->plan.lag_ms / 2 - 50);
    int64_t ms = world_between(world, 500, 2500);
    world_note(world, "%s reaches only %s for %lld ms", leader->host, away->host, (long long)ms);
    for (int i = 0; i < world->server_count; i++) {
        struct server *other = &world->servers[i];
        if (other != leader && other != away)
            cut_between(siege, leader, leader->machine, other->machine, ms + 500);
    }
    pass(siege, ms);
    if (world_has_failed(world) || leader->state == SERVER_DOWN) return;
    if (!witness_may_lose(world->witness, leader)) return;
    plan_start(siege, leader);
    server_kill(leader);
}

/* No blows, but they may fall in the middle of one. */
static void use_tools(struct siege *siege)
{
    struct tools_target target;
    int64_t what = world_between(siege->world, 0, 5);
    if (what < 2 && tools_target_draw(siege->world, &target))
        move_dir(siege, &target);
    else if (what < 4)
        delete_records(siege);
    else if (what == 4 && tools_target_doomed(siege->world, &target))
        fill(siege, &target);
    else if (what == 5 && tools_target_doomed(siege->world, &target))
        move_dir(siege, &target);
}

/* --- the schedule --- */

static const struct {
    void (*strike)(struct siege *siege);
    int weight;
} blows[] = {
    {kill_one, 6},       {cut_power, 5},     {cut_power_at_write, 3},
    {stop_one, 3},       {blackout, 1},      {hit_keeper, 3},
    {cut_off, 6},        {pause_one, 4},     {fill_disk, 2},
    {fail_syncs, 3},     {slow_disk, 2},     {jump_clock, 2},
    {reset_some, 3},     {slow_net, 1},      {force_election, 5},
    {move_partition, 3}, {prefer_leader, 1}, {tear, 3},
};

static void strike(struct siege *siege)
{
    int64_t total = 0;
    for (size_t i = 0; i < sizeof blows / sizeof *blows; i++) total += blows[i].weight;
    int64_t drawn = world_between(siege->world, 0, total - 1);
    for (size_t i = 0; i < sizeof blows / sizeof *blows; i++) {
        if (drawn < blows[i].weight) {
            blows[i].strike(siege);
            return;
        }
        drawn -= blows[i].weight;
    }
}

struct siege *siege_new(struct world *world)
{
    struct siege *siege = calloc(1, sizeof *siege);
    if (!siege) abort();
    siege->world = world;
    siege->shell = shell_new(world);
    siege->tools = tools_new(world);
    return siege;
}

void siege_free(struct siege **freed)
{
    struct siege *siege = *freed;
    *freed = NULL;
    shell_free(&siege->shell);
    tools_free(&siege->tools);
    free(siege);
}

void siege_live(struct siege *siege)
{
    struct world *world = siege->world;
    for (int i = 0; i < world->plan.steps && !world_has_failed(world); i++) {
        pass(siege, world_between(world, 5, world_chance(world, 3) ? 4000 : 800));
        use_tools(siege);
        if (world_chance(world, 2)) pass(siege, world_between(world, 0, 300));
        if (!world_has_failed(world)) strike(siege);
    }
    if (!world_has_failed(world)) siege_heal(siege);
}

static bool is_whole(void *context)
{
    return witness_is_whole(((struct world *)context)->witness);
}

void siege_heal(struct siege *siege)
{
    struct world *world = siege->world;
    world_note(world, "all is well from now on");
    heal_cuts(siege, true);
    sim_net_delay(world->sim, 50, 1000);
    for (int i = 0; i < world->server_count; i++) {
        struct server *server = &world->servers[i];
        bool may_be_offline = server->may_end; /* a directory, until a restart */
        server_disk_heal(server);
        sim_machine_pause(server->machine, 0);
        siege->paused_ms[i] = 0;
        sim_machine_crash_at_write(server->machine, 0);
        if (server->state != SERVER_DOWN && may_be_offline) server_stop(server);
    }
    sim_machine_pause(world->keeper.machine, 0);
    mark_troubled(siege);
    world_bring_up(world);
    /* What is still to be noticed of the past: sessions that are over without their brokers knowing. */
    if (!world_has_failed(world)) world_run(world, 2 * (int64_t)world->plan.keeper_session_ms);
    world->is_calm = true;
    if (world_has_failed(world) || world_run_until(world, is_whole, world, WHOLE_MS)) return;
    char words[200];
    witness_say(world->witness, words, sizeof words);
    history_fail(&world->history, "%d s after all was well %s", WHOLE_MS / 1000, words);
}

void siege_last_restart(struct siege *siege)
{
    struct world *world = siege->world;
    bool is_clean = world_chance(world, 3), is_rolling = world_chance(world, 2);
    world->is_calm = false;
    for (int i = 0; i < world->server_count && !world_has_failed(world); i++) {
        struct server *server = &world->servers[i];
        if (is_clean)
            server_stop(server);
        else if (world->plan.has_power_cuts && witness_may_hurt(world->witness, server) &&
                 (is_rolling || world->plan.is_durable))
            server_power_cut(server);
        else
            server_kill(server);
        if (is_rolling && !world_has_failed(world)) siege_heal(siege);
    }
    if (!world_has_failed(world)) siege_heal(siege);
}
