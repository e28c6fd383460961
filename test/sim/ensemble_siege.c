#include "ensemble_siege.h"

#include <stdlib.h>

enum {
    MAX_CUTS = 24,
    SLICE_MS = 50,
    READY_MS = 30000,
    MAX_STARTS = 12,
    MAX_SKEW_MS = 6 * 3600 * 1000,
};

struct cut {
    struct sim_machine *from, *to;
    int64_t until_ms; /* 0 = none */
};

struct ensemble_siege {
    struct ensemble *ensemble;
    struct cut cuts[MAX_CUTS];
    struct member *wiped; /* whose disk is new, until all are level again */
};

/* --- time --- */

static void heal_cuts(struct ensemble_siege *siege, bool is_all)
{
    struct ensemble *ensemble = siege->ensemble;
    for (int i = 0; i < MAX_CUTS; i++) {
        struct cut *cut = &siege->cuts[i];
        if (!cut->until_ms || (!is_all && ensemble_now_ms(ensemble) < cut->until_ms)) continue;
        cut->until_ms = 0;
        sim_net_cut_way(ensemble->sim, cut->from, cut->to, false);
        ensemble_trouble(ensemble, 0);
    }
}

static void tend(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    int64_t now_ms = ensemble_now_ms(ensemble);
    heal_cuts(siege, false);
    for (int i = 0; i < ensemble->plan.members; i++) {
        struct member *member = &ensemble->members[i];
        if (member->is_full && now_ms >= member->well_ms) {
            member->is_full = false;
            sim_disk_full(member->machine, false);
            ensemble_note(ensemble, "%s: the disk has room", member->host);
        }
        if (member->state == MEMBER_DOWN && now_ms >= member->up_ms) member_start(member);
    }
}

/* Time for life; what is over is put right meanwhile. */
static void pass(struct ensemble_siege *siege, int64_t ms)
{
    struct ensemble *ensemble = siege->ensemble;
    int64_t end_ms = ensemble_now_ms(ensemble) + ms;
    while (ensemble_now_ms(ensemble) < end_ms && !ensemble_has_failed(ensemble)) {
        tend(siege);
        int64_t left_ms = end_ms - ensemble_now_ms(ensemble);
        ensemble_run(ensemble, left_ms < SLICE_MS ? left_ms : SLICE_MS);
    }
}

/* --- whom --- */

static struct member *somebody(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    struct member *leader = ensemble_leader(ensemble);
    if (leader && ensemble_chance(ensemble, 2)) return leader;
    return &ensemble->members[ensemble_between(ensemble, 0, ensemble->plan.members - 1)];
}

static void plan_start(struct ensemble_siege *siege, struct member *member)
{
    struct ensemble *ensemble = siege->ensemble;
    int64_t timeout_ms = ensemble->plan.timeout_ms;
    int64_t away_ms = ensemble_chance(ensemble, 3)   ? ensemble_between(ensemble, 0, 20)
                      : ensemble_chance(ensemble, 2) ? ensemble_between(ensemble, 20, timeout_ms)
                                                     : ensemble_between(ensemble, timeout_ms, 2 * timeout_ms);
    member->up_ms = ensemble_now_ms(ensemble) + away_ms;
}

/* --- blows --- */

static void die(struct ensemble_siege *siege, struct member *member)
{
    if (siege->ensemble->plan.has_power_cuts && ensemble_chance(siege->ensemble, 2))
        member_power_cut(member);
    else
        member_kill(member);
}

static void kill_one(struct ensemble_siege *siege)
{
    struct member *member = somebody(siege);
    if (member->state == MEMBER_DOWN) return;
    plan_start(siege, member);
    die(siege, member);
}

/* In the middle of a write. */
static void die_at_write(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    struct member *member = somebody(siege);
    if (!ensemble->plan.has_power_cuts) {
        kill_one(siege);
        return;
    }
    int count = (int)ensemble_between(ensemble, 1, ensemble_chance(ensemble, 2) ? 12 : 150);
    ensemble_note(ensemble, "%s: the power will go at change %d of the disk", member->host, count);
    plan_start(siege, member);
    sim_machine_crash_at_write(member->machine, count);
    pass(siege, ensemble_between(ensemble, 100, 2000));
    if (member->state != MEMBER_DOWN) sim_machine_crash_at_write(member->machine, 0);
}

static void stop_one(struct ensemble_siege *siege)
{
    struct member *member = somebody(siege);
    if (member->state != MEMBER_READY) return;
    plan_start(siege, member);
    member_stop(member);
}

static void blackout(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    ensemble_note(ensemble, "blackout");
    for (int i = 0; i < ensemble->plan.members; i++) {
        struct member *member = &ensemble->members[i];
        if (member->state != MEMBER_DOWN) die(siege, member);
        member->up_ms = ensemble_now_ms(ensemble) + ensemble_between(ensemble, 0, 500);
    }
}

static void cut_way(struct ensemble_siege *siege, struct sim_machine *from, struct sim_machine *to,
                    int64_t ms)
{
    struct ensemble *ensemble = siege->ensemble;
    struct cut *free_one = NULL;
    for (int i = 0; i < MAX_CUTS; i++) {
        struct cut *cut = &siege->cuts[i];
        if (cut->until_ms && cut->from == from && cut->to == to) return;
        if (!cut->until_ms) free_one = cut;
    }
    if (!free_one) return;
    *free_one = (struct cut){from, to, ensemble_now_ms(ensemble) + ms};
    sim_net_cut_way(ensemble->sim, from, to, true);
}

/* From some others, from all of them, from the guests; both ways or one. */
static void cut_off(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    struct member *member = somebody(siege);
    int64_t ms = ensemble_chance(ensemble, 2)
                     ? ensemble_between(ensemble, 50, 1500)
                     : ensemble_between(ensemble, 500, 2 * (int64_t)ensemble->plan.timeout_ms);
    int64_t kind = ensemble_between(ensemble, 0, 3), ways = ensemble_between(ensemble, 0, 3);
    ensemble_note(ensemble, "%s: cut off (%d, ways %d) for %d ms", member->host, (int)kind, (int)ways,
                  (int)ms);
    ensemble->counts.cuts++;
    ensemble_trouble(ensemble, ms);
    for (int i = 0; i < ensemble->plan.members; i++) {
        struct member *other = &ensemble->members[i];
        if (other == member || kind == 0 || (kind == 1 && ensemble_chance(ensemble, 2))) continue;
        if (ways != 1) cut_way(siege, member->machine, other->machine, ms);
        if (ways != 2) cut_way(siege, other->machine, member->machine, ms);
    }
    for (int i = 0; i < CLIENT_MACHINES; i++) {
        if (kind == 2 || (kind == 0 && ensemble_chance(ensemble, 2))) continue;
        if (kind == 1 && ensemble_chance(ensemble, 2)) continue;
        if (ways != 1) cut_way(siege, member->machine, ensemble->client_machines[i], ms);
        if (ways != 2) cut_way(siege, ensemble->client_machines[i], member->machine, ms);
    }
}

/* Two sides that do not hear each other. */
static void part(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    int64_t ms = ensemble_between(ensemble, 200, 2 * (int64_t)ensemble->plan.timeout_ms);
    int64_t sides = ensemble_between(ensemble, 1, (1 << ensemble->plan.members) - 1);
    ensemble_note(ensemble, "the members part (%x) for %d ms", (unsigned)sides, (int)ms);
    ensemble->counts.cuts++;
    ensemble_trouble(ensemble, ms);
    for (int i = 0; i < ensemble->plan.members; i++) {
        for (int j = 0; j < ensemble->plan.members; j++) {
            if (((sides >> i) & 1) != ((sides >> j) & 1))
                cut_way(siege, ensemble->members[i].machine, ensemble->members[j].machine, ms);
        }
    }
}

static void pause_one(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    int64_t timeout_ms = ensemble->plan.timeout_ms;
    int64_t ms = ensemble_chance(ensemble, 2) ? ensemble_between(ensemble, 20, 800)
                                              : ensemble_between(ensemble, timeout_ms, 3 * timeout_ms);
    ensemble->counts.pauses++;
    ensemble_trouble(ensemble, ms);
    if (ensemble_chance(ensemble, 5)) {
        ensemble_note(ensemble, "some guests are paused for %d ms", (int)ms);
        sim_machine_pause(ensemble->client_machines[ensemble_between(ensemble, 0, CLIENT_MACHINES - 1)], ms);
        return;
    }
    struct member *member = somebody(siege);
    ensemble_note(ensemble, "%s: paused for %d ms", member->host, (int)ms);
    sim_machine_pause(member->machine, ms);
}

static void fill_disk(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    struct member *member = somebody(siege);
    if (member->is_full) return;
    int64_t ms = ensemble_between(ensemble, 50, 3000);
    ensemble_note(ensemble, "%s: the disk is full", member->host);
    ensemble_trouble(ensemble, ms + 1000);
    sim_disk_full(member->machine, true);
    member->is_full = true;
    member->was_starved |= member->state == MEMBER_STARTING;
    member->well_ms = ensemble_now_ms(ensemble) + ms;
}

static void slow_disk(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    struct member *member = somebody(siege);
    int64_t delay_ms = ensemble_between(ensemble, 5, 500), count = ensemble_between(ensemble, 1, 20);
    ensemble_note(ensemble, "%s: the next %d syncs take %d ms", member->host, (int)count, (int)delay_ms);
    ensemble_trouble(ensemble, count * delay_ms);
    sim_disk_slow(member->machine, delay_ms, (int)count);
}

/* The log ends, its member with it; the kernel shows what it dropped until the power goes. */
static void fail_sync(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    struct member *member = somebody(siege);
    if (!ensemble->plan.has_failed_syncs || member->state == MEMBER_DOWN) {
        slow_disk(siege);
        return;
    }
    ensemble_note(ensemble, "%s: the next sync fails", member->host);
    ensemble_trouble(ensemble, 3000);
    plan_start(siege, member);
    member->was_sick = member->is_disk_sick = true;
    sim_disk_fail_sync(member->machine, 1);
    pass(siege, ensemble_between(ensemble, 50, 1000));
    member->is_disk_sick = false;
    sim_disk_fail_sync(member->machine, 0);
    if (member->state != MEMBER_DOWN && ensemble_chance(ensemble, 2)) member_power_cut(member);
}

static void jump_clock(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    struct member *member = somebody(siege);
    int64_t to_ms = ensemble_between(ensemble, -MAX_SKEW_MS, MAX_SKEW_MS);
    if (ensemble_chance(ensemble, 2)) to_ms /= 1000;
    ensemble_note(ensemble, "%s: the wall clock jumps by %d ms", member->host,
                  (int)(to_ms - member->skew_ms));
    sim_wall_jump(member->machine, to_ms - member->skew_ms);
    member->skew_ms = to_ms;
}

static void reset_some(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    int64_t count = ensemble_between(ensemble, 1, 6);
    ensemble_note(ensemble, "%d connections are reset", (int)count);
    ensemble_trouble(ensemble, 0);
    for (int64_t i = 0; i < count; i++) sim_net_reset_one(ensemble->sim);
}

static void slow_net(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    int64_t min_us = ensemble_between(ensemble, 10, 5000);
    int64_t max_us = min_us + ensemble_between(ensemble, 10, ensemble_chance(ensemble, 3) ? 80000 : 10000);
    ensemble_note(ensemble, "the network takes %d to %d us", (int)min_us, (int)max_us);
    sim_net_delay(ensemble->sim, min_us, max_us);
}

/* --- the schedule --- */

static const struct {
    void (*strike)(struct ensemble_siege *siege);
    int weight;
    int least_members;
} blows[] = {
    {kill_one, 8, 1},   {die_at_write, 6, 1}, {stop_one, 2, 1},  {blackout, 2, 2},  {cut_off, 6, 1},
    {part, 4, 2},       {pause_one, 5, 1},    {fill_disk, 2, 1}, {slow_disk, 2, 1}, {fail_sync, 2, 1},
    {jump_clock, 2, 1}, {reset_some, 4, 1},   {slow_net, 2, 1},
};

static void strike(struct ensemble_siege *siege)
{
    int64_t total = 0;
    int members = siege->ensemble->plan.members;
    for (size_t i = 0; i < sizeof blows / sizeof *blows; i++)
        total += members >= blows[i].least_members ? blows[i].weight : 0;
    int64_t drawn = ensemble_between(siege->ensemble, 0, total - 1);
    for (size_t i = 0; i < sizeof blows / sizeof *blows; i++) {
        if (members < blows[i].least_members) continue;
        if (drawn < blows[i].weight) {
            blows[i].strike(siege);
            return;
        }
        drawn -= blows[i].weight;
    }
}

/* --- well again --- */

static bool is_all_ready(void *context)
{
    struct ensemble *ensemble = context;
    bool is_all = true;
    for (int i = 0; i < ensemble->plan.members; i++) is_all &= ensemble->members[i].state == MEMBER_READY;
    return is_all;
}

static bool is_settled(void *context)
{
    struct ensemble *ensemble = context;
    bool is_any_down = false;
    for (int i = 0; i < ensemble->plan.members; i++) is_any_down |= ensemble->members[i].state == MEMBER_DOWN;
    return is_any_down || is_all_ready(ensemble);
}

static void bring_up(struct ensemble *ensemble)
{
    for (int starts = 0; starts < MAX_STARTS && !ensemble_has_failed(ensemble); starts++) {
        if (is_all_ready(ensemble)) return;
        for (int i = 0; i < ensemble->plan.members; i++) {
            if (ensemble->members[i].state == MEMBER_DOWN) member_start(&ensemble->members[i]);
        }
        if (!ensemble_run_until(ensemble, is_settled, ensemble, READY_MS)) {
            for (int i = 0; i < ensemble->plan.members; i++) {
                if (ensemble->members[i].state != MEMBER_READY)
                    ensemble_fail(ensemble, "member %d is not ready %d s after its start", i + 1,
                                  READY_MS / 1000);
            }
        }
    }
    if (!is_all_ready(ensemble)) ensemble_fail(ensemble, "not every member comes up");
}

void ensemble_siege_heal(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    ensemble_note(ensemble, "all is well from now on");
    heal_cuts(siege, true);
    sim_net_delay(ensemble->sim, 50, 1000);
    for (int i = 0; i < CLIENT_MACHINES; i++) sim_machine_pause(ensemble->client_machines[i], 0);
    for (int i = 0; i < ensemble->plan.members; i++) {
        struct member *member = &ensemble->members[i];
        sim_machine_pause(member->machine, 0);
        sim_machine_crash_at_write(member->machine, 0);
        sim_disk_full(member->machine, false);
        sim_disk_fail_sync(member->machine, 0);
        sim_disk_slow(member->machine, 0, 0);
        member->is_full = member->is_disk_sick = false;
        if (member->was_sick && member->state == MEMBER_READY)
            member_stop(member); /* a sync may be failing yet */
    }
    bring_up(ensemble);
}

void ensemble_siege_last_restart(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    bool is_clean = ensemble_chance(ensemble, 3), is_rolling = ensemble_chance(ensemble, 2);
    for (int i = 0; i < ensemble->plan.members && !ensemble_has_failed(ensemble); i++) {
        struct member *member = &ensemble->members[i];
        if (member->state == MEMBER_DOWN) continue;
        if (is_clean)
            member_stop(member);
        else
            die(siege, member);
        if (is_rolling && !ensemble_has_failed(ensemble)) ensemble_siege_heal(siege);
    }
    if (!ensemble_has_failed(ensemble)) ensemble_siege_heal(siege);
}

void ensemble_siege_live(struct ensemble_siege *siege)
{
    struct ensemble *ensemble = siege->ensemble;
    for (int i = 0; i < ensemble->plan.steps && !ensemble_has_failed(ensemble); i++) {
        pass(siege, ensemble_between(ensemble, 5, ensemble_chance(ensemble, 3) ? 4000 : 800));
        if (!ensemble_has_failed(ensemble)) strike(siege);
    }
    if (!ensemble_has_failed(ensemble)) ensemble_siege_heal(siege);
}

struct ensemble_siege *ensemble_siege_new(struct ensemble *ensemble)
{
    struct ensemble_siege *siege = calloc(1, sizeof *siege);
    if (!siege) abort();
    siege->ensemble = ensemble;
    return siege;
}

void ensemble_siege_free(struct ensemble_siege **freed)
{
    free(*freed);
    *freed = NULL;
}
