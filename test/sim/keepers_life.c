/* keepers_life.c: seeds of a simulated ensemble of one, three or five keepers: guests write, read, watch, lock and list through
 * any member, an adversary strikes, and in the end there must be one history that all they were told is true of (tree_history.h),
 * sessions and ephemerals must have ended as promised, and all members must be equal (keepers.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "keeper/inside.h"
#include "keepers.h"
#include "keepers_siege.h"
#include "seeds.h"

enum { SETTLE_MS = 60000 };

/* --- the people --- */

static struct guest *inspector(struct keepers *keepers, int member)
{
    return &keepers->guests[GUESTS_MAX + member];
}

static struct guest *admin_of(struct keepers *keepers)
{
    return &keepers->guests[GUESTS_MAX + MEMBERS_MAX];
}

static bool is_set_up(void *context)
{
    const struct guest *first = context;
    return first->inspected == guest_setup_steps() && guest_is_quiet(first);
}

/* The znodes that are always there: by the first guest, who then lives like the others. */
static void set_up(struct keepers *keepers)
{
    struct guest *first = &keepers->guests[0];
    keepers->phase = PHASE_SETUP;
    for (int i = 0; i < keepers->plan.guests; i++) {
        int machine = i % CLIENT_MACHINES;
        guest_start(&keepers->guests[i], keepers, i, keepers->client_machines[machine],
                    keepers->client_loops[machine]);
        keepers->guests[i].is_broker = i == 1 && keepers->plan.has_broker;
        keepers->guest_count++;
    }
    guest_start(admin_of(keepers), keepers, GUESTS_MAX + MEMBERS_MAX, keepers->client_machines[0],
                keepers->client_loops[0]);
    admin_of(keepers)->is_admin = true;
    while (!is_set_up(first) && !keepers_has_failed(keepers)) {
        keepers_run(keepers, 5);
        if (keepers_now_ms(keepers) > SETTLE_MS)
            keepers_fail(keepers, "nothing was made in the first minute");
        bool may_ask = first->now && first->now->state == LINE_UP && first->inspected < guest_setup_steps();
        if (may_ask) guest_setup_ask(first->now, first->inspected++);
    }
    keepers->phase = PHASE_LIFE;
}

static bool is_quiet(void *context)
{
    struct keepers *keepers = context;
    for (int i = 0; i < keepers->guest_count; i++) {
        const struct guest *guest = &keepers->guests[i];
        if (!guest_is_quiet(guest) || guest->alive_ms < keepers->quiet_ms) return false;
    }
    return true;
}

/* Nothing new is asked, everybody has a session that works. */
static void quieten(struct keepers *keepers)
{
    keepers->phase = PHASE_QUIET;
    keepers->quiet_ms = keepers_now_ms(keepers);
    for (int i = 0; i < keepers->guest_count; i++) keepers->guests[i].nap_until_ms = 0;
    if (keepers_run_until(keepers, is_quiet, keepers, SETTLE_MS)) return;
    for (int i = 0; i < keepers->guest_count && !keepers_has_failed(keepers); i++) {
        const struct guest *guest = &keepers->guests[i];
        if (!guest_is_quiet(guest))
            keepers_fail(keepers, "guest %d finds no peace a minute after all was well: %s", i,
                         guest->now && guest->now->state == LINE_UP ? "its questions are not answered"
                                                                    : "no member takes it");
    }
    keepers_fail(keepers, "not every guest is heard");
}

static bool have_all_inspected(void *context)
{
    struct keepers *keepers = context;
    for (int i = 0; i < keepers->plan.members; i++) {
        if (!guest_has_inspected(inspector(keepers, i))) return false;
    }
    return true;
}

/* Everything is read from every member. */
static void inspect(struct keepers *keepers)
{
    for (int i = 0; i < keepers->plan.members; i++) {
        int machine = i % CLIENT_MACHINES;
        guest_start(inspector(keepers, i), keepers, GUESTS_MAX + i, keepers->client_machines[machine],
                    keepers->client_loops[machine]);
        guest_inspect(inspector(keepers, i), i);
    }
    if (!keepers_run_until(keepers, have_all_inspected, keepers, SETTLE_MS))
        keepers_fail(keepers, "not every member can be read from a minute after all was well");
    for (int i = 0; i < keepers->plan.members; i++) guest_stop(inspector(keepers, i));
}

/* --- the end --- */

static void note_survivors(struct keepers *keepers)
{
    const struct machine *machine = &member_keeper(&keepers->members[0])->machine;
    for (size_t i = 0; i < keepers->history.session_count; i++) {
        struct tree_session *session = &keepers->history.sessions[i];
        session->is_alive_at_end = machine_session(machine, session->id) != NULL;
        bool is_over = session->state == SESSION_CLOSED || session->state == SESSION_ENDED;
        if (is_over && session->is_alive_at_end)
            keepers_fail(keepers, "session %llx is over and lives", (unsigned long long)session->id);
    }
}

static bool is_nobody_left(void *context)
{
    struct keepers *keepers = context;
    for (int i = 0; i < keepers->plan.members; i++) {
        const struct keeper *keeper = member_keeper(&keepers->members[i]);
        struct keeper_stats stats;
        if (!keeper) return false;
        keeper_stats(keeper, &stats);
        if (stats.ephemeral_count || stats.session_count || stats.watch_count || stats.connection_count)
            return false;
    }
    return true;
}

/* All guests go and stay away: in the end nothing of them is left. */
static void leave(struct keepers *keepers)
{
    keepers->phase = PHASE_OVER;
    for (int i = 0; i < keepers->guest_count; i++) guest_stop(&keepers->guests[i]);
    guest_stop(admin_of(keepers));
    int64_t limit_ms = keepers->plan.timeout_ms * 2 + keepers->plan.tick_ms * 4 + 5000;
    if (keepers_run_until(keepers, is_nobody_left, keepers, limit_ms)) return;
    for (int i = 0; i < keepers->plan.members && !keepers_has_failed(keepers); i++) {
        struct keeper_stats stats;
        if (!member_keeper(&keepers->members[i])) continue;
        keeper_stats(member_keeper(&keepers->members[i]), &stats);
        keepers_fail(
            keepers,
            "left behind at member %d: %lld ephemerals, %lld sessions, %lld watches, %lld connections", i + 1,
            (long long)stats.ephemeral_count, (long long)stats.session_count, (long long)stats.watch_count,
            (long long)stats.connection_count);
    }
}

static void say(void *context, const char *text)
{
    keepers_note(context, "%s", text);
}

static void live_in(struct keepers *keepers)
{
    struct keepers_siege *siege = keepers_siege_new(keepers);
    keepers_siege_heal(siege);
    if (!keepers_has_failed(keepers)) set_up(keepers);
    if (!keepers_has_failed(keepers)) keepers_siege_live(siege);
    if (!keepers_has_failed(keepers)) quieten(keepers);
    if (!keepers_has_failed(keepers)) inspect(keepers);
    if (!keepers_has_failed(keepers)) keepers_compare(keepers);
    if (!keepers_has_failed(keepers)) keepers_siege_last_restart(siege);
    if (!keepers_has_failed(keepers)) inspect(keepers);
    if (!keepers_has_failed(keepers)) keepers_compare(keepers);
    if (!keepers_has_failed(keepers)) note_survivors(keepers);
    if (!keepers_has_failed(keepers)) {
        tree_history_check(&keepers->history, say, keepers);
        if (keepers_has_failed(keepers)) keepers_note(keepers, "FAULT: %s", keepers->history.fault.data);
    }
    if (!keepers_has_failed(keepers)) leave(keepers);
    keepers_siege_free(&siege);
}

static const char *const count_names[] = {"starts",
                                          "power cuts",
                                          "kills",
                                          "stops",
                                          "ended by itself",
                                          "new disks",
                                          "cuts",
                                          "pauses",
                                          "leaders",
                                          "looks",
                                          "changes of members",
                                          "writes",
                                          "without an answer",
                                          "reads",
                                          "events",
                                          "sessions",
                                          "moved sessions",
                                          "expired",
                                          "closed",
                                          NULL};

static void live(uint64_t seed, int forced, void (*line)(void *context, const char *text), void *context,
                 struct seeds_result *result)
{
    struct keepers *keepers;
    if (keepers_new(seed, forced, line, context, &keepers) != OK) abort();
    live_in(keepers);
    if (keepers_has_failed(keepers))
        snprintf(result->fault, sizeof result->fault, "%s", keepers->history.fault.data);
    const struct keepers_counts *members = &keepers->counts;
    const struct tree_history_counts *guests = &keepers->history.counts;
    const int64_t all[] = {members->starts,  members->power_cuts, members->kills,   members->stops,
                           members->ends,    members->wipes,      members->cuts,    members->pauses,
                           members->leaders, members->looks,      members->changes, guests->writes,
                           guests->lost,     guests->reads,       guests->events,   guests->sessions,
                           guests->moved,    guests->expired,     guests->closed};
    _Static_assert(sizeof all / sizeof *all + 1 == sizeof count_names / sizeof *count_names,
                   "each has its name");
    memcpy(result->counts, all, sizeof all);
    result->trace = sim_trace(keepers->sim);
    result->virtual_ms = keepers_now_ms(keepers);
    keepers_free(&keepers);
}

int main(int argc, char **argv)
{
    static const struct seeds_program program = {"keepers_life", count_names, live};
    return seeds_main(&program, argc, argv);
}
