#include "keepers_siege.h"

#include <stdio.h>
#include <stdlib.h>

#include "guest.h"
#include "keeper/inside.h"

enum {
    MAX_CUTS = 24,
    SLICE_MS = 50,
    READY_MS = 40000,
    MAX_SKEW_MS = 6 * 3600 * 1000,
};

struct cut {
    struct sim_machine *from, *to;
    int64_t until_ms; /* 0 = none */
};

struct keepers_siege {
    struct keepers *keepers;
    struct cut cuts[MAX_CUTS];
};

/* --- time --- */

static void heal_cuts(struct keepers_siege *siege, bool is_all)
{
    struct keepers *keepers = siege->keepers;
    for (int i = 0; i < MAX_CUTS; i++) {
        struct cut *cut = &siege->cuts[i];
        if (!cut->until_ms || (!is_all && keepers_now_ms(keepers) < cut->until_ms)) continue;
        cut->until_ms = 0;
        sim_net_cut_way(keepers->sim, cut->from, cut->to, false);
        keepers_trouble(keepers, 0);
    }
}

static void tend(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    int64_t now_ms = keepers_now_ms(keepers);
    heal_cuts(siege, false);
    for (int i = 0; i < keepers->plan.members; i++) {
        struct member *member = &keepers->members[i];
        if (member->is_full && now_ms >= member->well_ms) {
            member->is_full = false;
            sim_disk_full(member->machine, false);
            keepers_note(keepers, "%s: the disk has room", member->host);
        }
        if (member->state == MEMBER_DOWN && now_ms >= member->up_ms) member_start(member);
    }
}

/* Time for life; what is over is put right meanwhile. */
static void pass(struct keepers_siege *siege, int64_t ms)
{
    struct keepers *keepers = siege->keepers;
    int64_t end_ms = keepers_now_ms(keepers) + ms;
    while (keepers_now_ms(keepers) < end_ms && !keepers_has_failed(keepers)) {
        tend(siege);
        int64_t left_ms = end_ms - keepers_now_ms(keepers);
        keepers_run(keepers, left_ms < SLICE_MS ? left_ms : SLICE_MS);
    }
}

/* --- whom --- */

static struct member *somebody(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    struct member *leader = keepers_leader(keepers);
    if (leader && keepers_chance(keepers, 2)) return leader;
    return &keepers->members[keepers_between(keepers, 0, keepers->plan.members - 1)];
}

static void plan_start(struct keepers_siege *siege, struct member *member)
{
    struct keepers *keepers = siege->keepers;
    int64_t timeout_ms = keepers->plan.timeout_ms;
    int64_t away_ms = keepers_chance(keepers, 3)   ? keepers_between(keepers, 0, 20)
                      : keepers_chance(keepers, 2) ? keepers_between(keepers, 20, timeout_ms)
                                                   : keepers_between(keepers, timeout_ms, 2 * timeout_ms);
    member->up_ms = keepers_now_ms(keepers) + away_ms;
}

/* --- blows --- */

static void die(struct keepers_siege *siege, struct member *member)
{
    if (siege->keepers->plan.has_power_cuts && keepers_chance(siege->keepers, 2))
        member_power_cut(member);
    else
        member_kill(member);
}

static void kill_one(struct keepers_siege *siege)
{
    struct member *member = somebody(siege);
    if (member->state == MEMBER_DOWN) return;
    plan_start(siege, member);
    die(siege, member);
}

/* In the middle of a write. */
static void die_at_write(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    struct member *member = somebody(siege);
    if (!keepers->plan.has_power_cuts) {
        kill_one(siege);
        return;
    }
    int count = (int)keepers_between(keepers, 1, keepers_chance(keepers, 2) ? 12 : 150);
    keepers_note(keepers, "%s: the power will go at change %d of the disk", member->host, count);
    plan_start(siege, member);
    sim_machine_crash_at_write(member->machine, count);
    pass(siege, keepers_between(keepers, 100, 2000));
    if (member->state != MEMBER_DOWN) sim_machine_crash_at_write(member->machine, 0);
}

static void stop_one(struct keepers_siege *siege)
{
    struct member *member = somebody(siege);
    if (member->state != MEMBER_READY) return;
    plan_start(siege, member);
    member_stop(member);
}

static void blackout(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    keepers_note(keepers, "blackout");
    for (int i = 0; i < keepers->plan.members; i++) {
        struct member *member = &keepers->members[i];
        if (member->state != MEMBER_DOWN) die(siege, member);
        member->up_ms = keepers_now_ms(keepers) + keepers_between(keepers, 0, 500);
    }
}

static void cut_way(struct keepers_siege *siege, struct sim_machine *from, struct sim_machine *to, int64_t ms)
{
    struct keepers *keepers = siege->keepers;
    struct cut *free_one = NULL;
    for (int i = 0; i < MAX_CUTS; i++) {
        struct cut *cut = &siege->cuts[i];
        if (cut->until_ms && cut->from == from && cut->to == to) return;
        if (!cut->until_ms) free_one = cut;
    }
    if (!free_one) return;
    *free_one = (struct cut){from, to, keepers_now_ms(keepers) + ms};
    sim_net_cut_way(keepers->sim, from, to, true);
}

/* From some others, from all of them, from the guests; both ways or one. */
static void cut_off(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    struct member *member = somebody(siege);
    int64_t ms = keepers_chance(keepers, 2)
                     ? keepers_between(keepers, 50, 1500)
                     : keepers_between(keepers, 500, 2 * (int64_t)keepers->plan.timeout_ms);
    int64_t kind = keepers_between(keepers, 0, 3), ways = keepers_between(keepers, 0, 3);
    keepers_note(keepers, "%s: cut off (%d, ways %d) for %d ms", member->host, (int)kind, (int)ways, (int)ms);
    keepers->counts.cuts++;
    keepers_trouble(keepers, ms);
    for (int i = 0; i < keepers->plan.members; i++) {
        struct member *other = &keepers->members[i];
        if (other == member || kind == 0 || (kind == 1 && keepers_chance(keepers, 2))) continue;
        if (ways != 1) cut_way(siege, member->machine, other->machine, ms);
        if (ways != 2) cut_way(siege, other->machine, member->machine, ms);
    }
    for (int i = 0; i < CLIENT_MACHINES; i++) {
        if (kind == 2 || (kind == 0 && keepers_chance(keepers, 2))) continue;
        if (kind == 1 && keepers_chance(keepers, 2)) continue;
        if (ways != 1) cut_way(siege, member->machine, keepers->client_machines[i], ms);
        if (ways != 2) cut_way(siege, keepers->client_machines[i], member->machine, ms);
    }
}

/* Two sides that do not hear each other. */
static void part(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    int64_t ms = keepers_between(keepers, 200, 2 * (int64_t)keepers->plan.timeout_ms);
    int64_t sides = keepers_between(keepers, 1, (1 << keepers->plan.members) - 1);
    keepers_note(keepers, "the members part (%x) for %d ms", (unsigned)sides, (int)ms);
    keepers->counts.cuts++;
    keepers_trouble(keepers, ms);
    for (int i = 0; i < keepers->plan.members; i++) {
        for (int j = 0; j < keepers->plan.members; j++) {
            if (((sides >> i) & 1) != ((sides >> j) & 1))
                cut_way(siege, keepers->members[i].machine, keepers->members[j].machine, ms);
        }
    }
}

static void pause_one(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    int64_t timeout_ms = keepers->plan.timeout_ms;
    int64_t ms = keepers_chance(keepers, 2) ? keepers_between(keepers, 20, 800)
                                            : keepers_between(keepers, timeout_ms, 3 * timeout_ms);
    keepers->counts.pauses++;
    keepers_trouble(keepers, ms);
    if (keepers_chance(keepers, 5)) {
        keepers_note(keepers, "some guests are paused for %d ms", (int)ms);
        sim_machine_pause(keepers->client_machines[keepers_between(keepers, 0, CLIENT_MACHINES - 1)], ms);
        return;
    }
    struct member *member = somebody(siege);
    keepers_note(keepers, "%s: paused for %d ms", member->host, (int)ms);
    sim_machine_pause(member->machine, ms);
}

static void fill_disk(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    struct member *member = somebody(siege);
    if (member->is_full) return;
    int64_t ms = keepers_between(keepers, 50, 3000);
    keepers_note(keepers, "%s: the disk is full", member->host);
    keepers_trouble(keepers, ms + 1000);
    sim_disk_full(member->machine, true);
    member->is_full = true;
    member->was_starved |= member->state == MEMBER_STARTING;
    member->well_ms = keepers_now_ms(keepers) + ms;
}

static void slow_disk(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    struct member *member = somebody(siege);
    int64_t delay_ms = keepers_between(keepers, 5, 500), count = keepers_between(keepers, 1, 20);
    keepers_note(keepers, "%s: the next %d syncs take %d ms", member->host, (int)count, (int)delay_ms);
    keepers_trouble(keepers, count * delay_ms);
    sim_disk_slow(member->machine, delay_ms, (int)count);
}

/* The log ends, its member with it; the kernel shows what it dropped until the power goes. */
static void fail_sync(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    struct member *member = somebody(siege);
    if (!keepers->plan.has_failed_syncs || member->state == MEMBER_DOWN) {
        slow_disk(siege);
        return;
    }
    keepers_note(keepers, "%s: the next sync fails", member->host);
    keepers_trouble(keepers, 3000);
    plan_start(siege, member);
    member->was_sick = member->is_disk_sick = true;
    sim_disk_fail_sync(member->machine, 1);
    pass(siege, keepers_between(keepers, 50, 1000));
    member->is_disk_sick = false;
    sim_disk_fail_sync(member->machine, 0);
    if (member->state != MEMBER_DOWN && keepers_chance(keepers, 2)) member_power_cut(member);
}

static void jump_clock(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    struct member *member = somebody(siege);
    int64_t to_ms = keepers_between(keepers, -MAX_SKEW_MS, MAX_SKEW_MS);
    if (keepers_chance(keepers, 2)) to_ms /= 1000;
    keepers_note(keepers, "%s: the wall clock jumps by %d ms", member->host, (int)(to_ms - member->skew_ms));
    sim_wall_jump(member->machine, to_ms - member->skew_ms);
    member->skew_ms = to_ms;
}

static void reset_some(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    int64_t count = keepers_between(keepers, 1, 6);
    keepers_note(keepers, "%d connections are reset", (int)count);
    keepers_trouble(keepers, 0);
    for (int64_t i = 0; i < count; i++) sim_net_reset_one(keepers->sim);
}

static void slow_net(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    int64_t min_us = keepers_between(keepers, 10, 5000);
    int64_t max_us = min_us + keepers_between(keepers, 10, keepers_chance(keepers, 3) ? 80000 : 10000);
    keepers_note(keepers, "the network takes %d to %d us", (int)min_us, (int)max_us);
    sim_net_delay(keepers->sim, min_us, max_us);
}

/* The leader hands its office over. */
static void hand_over(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    struct member *leader = keepers_leader(keepers);
    if (!leader) return;
    int32_t to = (int32_t)keepers_between(keepers, 0, keepers->plan.members);
    enum error err = quorum_transfer(member_keeper_mut(leader)->quorum, to);
    keepers_note(keepers, "%s: hands its office to %d: %s", leader->host, (int)to, error_text(err));
    keepers_trouble(keepers, 500);
}

static bool is_everybody_level(struct keepers *keepers)
{
    uint64_t index = 0;
    if (keepers_voters(keepers) < keepers->plan.members) return false;
    for (int i = 0; i < keepers->plan.members; i++) {
        const struct member *member = &keepers->members[i];
        if (member->state != MEMBER_READY) return false;
        const struct quorum *quorum = member_keeper(member)->quorum;
        uint64_t applied = quorum_applied_index(quorum);
        if (i > 0 && applied != index) return false;
        /* What is under way may be a change of members: with a disk less there may be nobody left who could finish it. */
        if (quorum_last_index(quorum) != applied) return false;
        index = applied;
    }
    return true;
}

/* --- who belongs to it --- */

static struct guest *admin_of(struct keepers *keepers)
{
    return &keepers->guests[GUESTS_MAX + MEMBERS_MAX];
}

static bool ask_join(struct keepers *keepers, const struct member *member, bool is_observer)
{
    char line[80], joining[100];
    member_line(member, is_observer, line, sizeof line);
    snprintf(joining, sizeof joining, "server.%d=%s", member->number, line);
    return guest_reconfig(admin_of(keepers), joining, "");
}

static void change_members(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    struct member *member = somebody(siege);
    int64_t kind = keepers_between(keepers, 0, 2);
    char leaving[12];
    if (!keepers->plan.has_changes) {
        kill_one(siege);
        return;
    }
    if (kind < 2 && keepers_voters(keepers) < 3) kind = 2;
    snprintf(leaving, sizeof leaving, "%d", member->number);
    bool is_asked =
        kind == 0 ? guest_reconfig(admin_of(keepers), "", leaving) : ask_join(keepers, member, kind == 1);
    if (!is_asked) return;
    keepers->counts.changes++;
    keepers_trouble(keepers, 5000);
    keepers_note(keepers, "member %d is asked %s", member->number,
                 kind == 0   ? "to leave"
                 : kind == 1 ? "to observe"
                             : "to vote");
}

/* Everybody is to vote again. */
static void restore_members(struct keepers *keepers)
{
    if (!keepers->plan.has_changes || keepers_voters(keepers) == keepers->plan.members) return;
    struct member *member = &keepers->members[keepers_between(keepers, 0, keepers->plan.members - 1)];
    ask_join(keepers, member, false);
    keepers_trouble(keepers, 1000);
}

/* A member's disk is replaced by a new one: only while all have everything, and no other has a new one yet. */
static void replace_disk(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    struct member *member = somebody(siege);
    for (int i = 0; i < 100 && !is_everybody_level(keepers) && keepers->plan.has_wipes; i++) pass(siege, 20);
    if (!keepers->plan.has_wipes || !is_everybody_level(keepers) || keepers_has_failed(keepers)) {
        kill_one(siege);
        return;
    }
    member_kill(member);
    member_wipe(member);
    member_start(member);
    keepers_note(keepers, "everybody is left alone until %s is level again", member->host);
    heal_cuts(siege, true);
    for (int i = 0; i < 1000 && !is_everybody_level(keepers) && !keepers_has_failed(keepers); i++)
        pass(siege, 20);
    if (!is_everybody_level(keepers))
        keepers_fail(keepers, "member %d does not come back with a new disk within 20 s", member->number);
}

/* --- the schedule --- */

static const struct {
    void (*strike)(struct keepers_siege *siege);
    int weight;
    int least_members;
} blows[] = {
    {kill_one, 8, 1},     {die_at_write, 6, 1},   {stop_one, 2, 1},   {blackout, 2, 2},
    {cut_off, 6, 1},      {part, 4, 2},           {pause_one, 5, 1},  {fill_disk, 2, 1},
    {slow_disk, 2, 1},    {fail_sync, 2, 1},      {jump_clock, 2, 1}, {hand_over, 3, 2},
    {replace_disk, 2, 3}, {change_members, 5, 3}, {reset_some, 4, 1}, {slow_net, 2, 1},
};

static void strike(struct keepers_siege *siege)
{
    int64_t total = 0;
    int members = siege->keepers->plan.members;
    for (size_t i = 0; i < sizeof blows / sizeof *blows; i++)
        total += members >= blows[i].least_members ? blows[i].weight : 0;
    int64_t drawn = keepers_between(siege->keepers, 0, total - 1);
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
    struct keepers *keepers = context;
    bool is_all = true;
    for (int i = 0; i < keepers->plan.members; i++) is_all &= keepers->members[i].state == MEMBER_READY;
    return is_all;
}

static void bring_up(struct keepers *keepers)
{
    enum { STEP_MS = 250, SURE_MS = 5000 };
    int64_t end_ms = keepers_now_ms(keepers) + READY_MS, good_ms = keepers_now_ms(keepers);
    for (;;) {
        for (int i = 0; i < keepers->plan.members; i++) {
            if (keepers->members[i].state == MEMBER_DOWN) member_start(&keepers->members[i]);
        }
        keepers_run(keepers, STEP_MS);
        bool is_known = keepers->phase == PHASE_SETUP || keepers_voters(keepers) == keepers->plan.members;
        if (keepers_has_failed(keepers)) return;
        if (!is_all_ready(keepers) || !is_known) good_ms = keepers_now_ms(keepers);
        /* A change that was asked for may still come true. */
        if (keepers_now_ms(keepers) - good_ms >= (keepers->plan.has_changes ? SURE_MS : STEP_MS)) return;
        if (keepers->phase != PHASE_SETUP) restore_members(keepers);
        if (keepers_now_ms(keepers) < end_ms) continue;
        for (int i = 0; i < keepers->plan.members; i++) {
            if (keepers->members[i].state != MEMBER_READY)
                keepers_fail(keepers, "member %d is not ready %d s after all was well", i + 1,
                             READY_MS / 1000);
        }
        keepers_fail(keepers, "not everybody votes %d s after all was well", READY_MS / 1000);
        return;
    }
}

void keepers_siege_heal(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    keepers_note(keepers, "all is well from now on");
    heal_cuts(siege, true);
    sim_net_delay(keepers->sim, 50, 1000);
    for (int i = 0; i < CLIENT_MACHINES; i++) sim_machine_pause(keepers->client_machines[i], 0);
    for (int i = 0; i < keepers->plan.members; i++) {
        struct member *member = &keepers->members[i];
        sim_machine_pause(member->machine, 0);
        sim_machine_crash_at_write(member->machine, 0);
        sim_disk_full(member->machine, false);
        sim_disk_fail_sync(member->machine, 0);
        sim_disk_slow(member->machine, 0, 0);
        member->is_full = member->is_disk_sick = false;
        if (member->was_sick && member->state == MEMBER_READY)
            member_stop(member); /* a sync may be failing yet */
    }
    bring_up(keepers);
}

void keepers_siege_last_restart(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    bool is_clean = keepers_chance(keepers, 3), is_rolling = keepers_chance(keepers, 2);
    for (int i = 0; i < keepers->plan.members && !keepers_has_failed(keepers); i++) {
        struct member *member = &keepers->members[i];
        if (member->state == MEMBER_DOWN) continue;
        if (is_clean)
            member_stop(member);
        else
            die(siege, member);
        if (is_rolling && !keepers_has_failed(keepers)) keepers_siege_heal(siege);
    }
    if (!keepers_has_failed(keepers)) keepers_siege_heal(siege);
}

void keepers_siege_live(struct keepers_siege *siege)
{
    struct keepers *keepers = siege->keepers;
    for (int i = 0; i < keepers->plan.steps && !keepers_has_failed(keepers); i++) {
        pass(siege, keepers_between(keepers, 5, keepers_chance(keepers, 3) ? 4000 : 800));
        if (!keepers_has_failed(keepers)) strike(siege);
    }
    if (!keepers_has_failed(keepers)) keepers_siege_heal(siege);
}

struct keepers_siege *keepers_siege_new(struct keepers *keepers)
{
    struct keepers_siege *siege = calloc(1, sizeof *siege);
    if (!siege) abort();
    siege->keepers = keepers;
    return siege;
}

void keepers_siege_free(struct keepers_siege **freed)
{
    free(*freed);
    *freed = NULL;
}
