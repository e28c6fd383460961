/* ensemble_life.c: seeds of a simulated ensemble of one, three or five keepers: guests write, read, watch, lock and list through
 * any member, an adversary strikes, and in the end there must be one history that all they were told is true of (tree_history.h),
 * sessions and ephemerals must have ended as promised, and all members must be equal (ensemble.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ensemble.h"
#include "ensemble_siege.h"
#include "guest.h"
#include "keeper/inside.h"
#include "seeds.h"

enum { SETTLE_MS = 60000 };

/* --- the people --- */

static struct guest *inspector(struct ensemble *ensemble, int member)
{
    return &ensemble->guests[GUESTS_MAX + member];
}

static bool is_set_up(void *context)
{
    const struct guest *first = context;
    return first->inspected == guest_setup_steps() && guest_is_quiet(first);
}

/* The znodes that are always there: by the first guest, who then lives like the others. */
static void set_up(struct ensemble *ensemble)
{
    struct guest *first = &ensemble->guests[0];
    ensemble->phase = PHASE_SETUP;
    for (int i = 0; i < ensemble->plan.guests; i++) {
        int machine = i % CLIENT_MACHINES;
        guest_start(&ensemble->guests[i], ensemble, i, ensemble->client_machines[machine],
                    ensemble->client_loops[machine]);
        ensemble->guest_count++;
    }
    while (!is_set_up(first) && !ensemble_has_failed(ensemble)) {
        ensemble_run(ensemble, 5);
        if (ensemble_now_ms(ensemble) > SETTLE_MS)
            ensemble_fail(ensemble, "nothing was made in the first minute");
        bool may_ask = first->now && first->now->state == LINE_UP && first->inspected < guest_setup_steps();
        if (may_ask) guest_setup_ask(first->now, first->inspected++);
    }
    ensemble->phase = PHASE_LIFE;
}

static bool is_quiet(void *context)
{
    struct ensemble *ensemble = context;
    for (int i = 0; i < ensemble->guest_count; i++) {
        const struct guest *guest = &ensemble->guests[i];
        if (!guest_is_quiet(guest) || guest->alive_ms < ensemble->quiet_ms) return false;
    }
    return true;
}

/* Nothing new is asked, everybody has a session that works. */
static void quieten(struct ensemble *ensemble)
{
    ensemble->phase = PHASE_QUIET;
    ensemble->quiet_ms = ensemble_now_ms(ensemble);
    for (int i = 0; i < ensemble->guest_count; i++) ensemble->guests[i].nap_until_ms = 0;
    if (ensemble_run_until(ensemble, is_quiet, ensemble, SETTLE_MS)) return;
    for (int i = 0; i < ensemble->guest_count && !ensemble_has_failed(ensemble); i++) {
        const struct guest *guest = &ensemble->guests[i];
        if (!guest_is_quiet(guest))
            ensemble_fail(ensemble, "guest %d finds no peace a minute after all was well: %s", i,
                          guest->now && guest->now->state == LINE_UP ? "its questions are not answered"
                                                                     : "no member takes it");
    }
    ensemble_fail(ensemble, "not every guest is heard");
}

static bool have_all_inspected(void *context)
{
    struct ensemble *ensemble = context;
    for (int i = 0; i < ensemble->plan.members; i++) {
        if (!guest_has_inspected(inspector(ensemble, i))) return false;
    }
    return true;
}

/* Everything is read from every member. */
static void inspect(struct ensemble *ensemble)
{
    for (int i = 0; i < ensemble->plan.members; i++) {
        int machine = i % CLIENT_MACHINES;
        guest_start(inspector(ensemble, i), ensemble, GUESTS_MAX + i, ensemble->client_machines[machine],
                    ensemble->client_loops[machine]);
        guest_inspect(inspector(ensemble, i), i);
    }
    if (!ensemble_run_until(ensemble, have_all_inspected, ensemble, SETTLE_MS))
        ensemble_fail(ensemble, "not every member can be read from a minute after all was well");
    for (int i = 0; i < ensemble->plan.members; i++) guest_stop(inspector(ensemble, i));
}

/* --- the end --- */

static void note_survivors(struct ensemble *ensemble)
{
    const struct machine *machine = &member_keeper(&ensemble->members[0])->machine;
    for (size_t i = 0; i < ensemble->history.session_count; i++) {
        struct tree_session *session = &ensemble->history.sessions[i];
        session->is_alive_at_end = machine_session(machine, session->id) != NULL;
        bool is_over = session->state == SESSION_CLOSED || session->state == SESSION_ENDED;
        if (is_over && session->is_alive_at_end)
            ensemble_fail(ensemble, "session %llx is over and lives", (unsigned long long)session->id);
    }
}

static bool is_nobody_left(void *context)
{
    struct ensemble *ensemble = context;
    for (int i = 0; i < ensemble->plan.members; i++) {
        const struct keeper *keeper = member_keeper(&ensemble->members[i]);
        struct keeper_stats stats;
        if (!keeper) return false;
        keeper_stats(keeper, &stats);
        if (stats.ephemeral_count || stats.session_count || stats.watch_count || stats.connection_count)
            return false;
    }
    return true;
}

/* All guests go and stay away: in the end nothing of them is left. */
static void leave(struct ensemble *ensemble)
{
    ensemble->phase = PHASE_OVER;
    for (int i = 0; i < ensemble->guest_count; i++) guest_stop(&ensemble->guests[i]);
    int64_t limit_ms = ensemble->plan.timeout_ms * 2 + ensemble->plan.tick_ms * 4 + 5000;
    if (ensemble_run_until(ensemble, is_nobody_left, ensemble, limit_ms)) return;
    for (int i = 0; i < ensemble->plan.members && !ensemble_has_failed(ensemble); i++) {
        struct keeper_stats stats;
        if (!member_keeper(&ensemble->members[i])) continue;
        keeper_stats(member_keeper(&ensemble->members[i]), &stats);
        ensemble_fail(
            ensemble,
            "left behind at member %d: %lld ephemerals, %lld sessions, %lld watches, %lld connections", i + 1,
            (long long)stats.ephemeral_count, (long long)stats.session_count, (long long)stats.watch_count,
            (long long)stats.connection_count);
    }
}

static void say(void *context, const char *text)
{
    ensemble_note(context, "%s", text);
}

static void live_in(struct ensemble *ensemble)
{
    struct ensemble_siege *siege = ensemble_siege_new(ensemble);
    ensemble_siege_heal(siege);
    if (!ensemble_has_failed(ensemble)) set_up(ensemble);
    if (!ensemble_has_failed(ensemble)) ensemble_siege_live(siege);
    if (!ensemble_has_failed(ensemble)) quieten(ensemble);
    if (!ensemble_has_failed(ensemble)) inspect(ensemble);
    if (!ensemble_has_failed(ensemble)) ensemble_compare(ensemble);
    if (!ensemble_has_failed(ensemble)) note_survivors(ensemble);
    if (!ensemble_has_failed(ensemble)) ensemble_siege_last_restart(siege);
    if (!ensemble_has_failed(ensemble)) inspect(ensemble);
    if (!ensemble_has_failed(ensemble)) ensemble_compare(ensemble);
    if (!ensemble_has_failed(ensemble)) {
        tree_history_check(&ensemble->history, say, ensemble);
        if (ensemble_has_failed(ensemble)) ensemble_note(ensemble, "FAULT: %s", ensemble->history.fault.data);
    }
    if (!ensemble_has_failed(ensemble)) leave(ensemble);
    ensemble_siege_free(&siege);
}

static const char *const count_names[] = {"starts",          "power cuts", "kills",    "stops",
                                          "ended by itself", "new disks",  "cuts",     "pauses",
                                          "leaders",         "looks",      "writes",   "without an answer",
                                          "reads",           "events",     "sessions", "moved sessions",
                                          "expired",         "closed",     NULL};

static void live(uint64_t seed, int forced, void (*line)(void *context, const char *text), void *context,
                 struct seeds_result *result)
{
    struct ensemble *ensemble;
    if (ensemble_new(seed, forced, line, context, &ensemble) != OK) abort();
    live_in(ensemble);
    if (ensemble_has_failed(ensemble))
        snprintf(result->fault, sizeof result->fault, "%s", ensemble->history.fault.data);
    const struct ensemble_counts *members = &ensemble->counts;
    const struct tree_history_counts *guests = &ensemble->history.counts;
    const int64_t all[] = {members->starts,  members->power_cuts, members->kills,   members->stops,
                           members->ends,    members->wipes,      members->cuts,    members->pauses,
                           members->leaders, members->looks,      guests->writes,   guests->lost,
                           guests->reads,    guests->events,      guests->sessions, guests->moved,
                           guests->expired,  guests->closed};
    _Static_assert(sizeof all / sizeof *all + 1 == sizeof count_names / sizeof *count_names,
                   "each has its name");
    memcpy(result->counts, all, sizeof all);
    result->trace = sim_trace(ensemble->sim);
    result->virtual_ms = ensemble_now_ms(ensemble);
    ensemble_free(&ensemble);
}

int main(int argc, char **argv)
{
    static const struct seeds_program program = {"ensemble_life", count_names, live};
    return seeds_main(&program, argc, argv);
}
