/* keepers.h: a simulated ensemble of keepers with its clients, from a seed: a machine for each member, which may lose power, be
 * killed, be stopped, be wiped and started again.
 *
 *     machine 10.0.0.1 ...  one loop, disk   keeper 1, 2, ...: one life after the other on the same disk
 *     machine 10.0.1.1 ...  one loop         the guests (guest.h)
 *
 * After each step of the simulation the members that applied something are looked at from inside:
 *
 *   - at one index of the log all members have one digest of their state;
 *   - an ephemeral's session exists; a session that one member ended at an index is there at no later one, on any;
 *   - nobody's session ends early.
 *
 * Memory   of a member that was crashed is abandoned with it: run with leak detection off.
 * Threads  one. All chance comes from the seed, in a fixed order.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/random.h"
#include "loop/loop.h"
#include "loop/sim.h"
#include "tree_history.h"

enum {
    MEMBERS_MAX = 5,
    GUESTS_MAX = 6,
    CLIENT_MACHINES = 2,
    MEMBER_PORT = 2181,
    MEMBER_QUORUM_PORT = 2888,
    MEMBER_ELECTION_PORT = 3888,
};

struct guest;
struct keeper;
struct keepers;
struct member_life;

enum member_state { MEMBER_DOWN, MEMBER_STARTING, MEMBER_READY, MEMBER_STOPPING };

struct member {
    struct keepers *keepers;
    int number; /* 1 ... */
    char host[24];
    struct sim_machine *machine;
    enum member_state state;
    struct member_life *life;
    int deaths_seen;
    bool is_full, is_disk_sick, was_starved;
    bool was_sick; /* syncs failed in this life: it may end */
    int64_t skew_ms;
    int64_t up_ms, well_ms; /* the adversary's: when to start it again, when its disk has room */
    uint64_t looked_index;
};

enum keepers_phase { PHASE_SETUP, PHASE_LIFE, PHASE_QUIET, PHASE_OVER };

struct keepers_plan {
    int members, guests, steps, tick_ms, timeout_ms, window;
    int64_t snap_count;
    bool has_power_cuts, has_failed_syncs, has_wipes, has_changes, has_broker, has_tenants;
};

struct keepers_counts {
    int64_t starts, power_cuts, kills, stops, ends, wipes, cuts, pauses, leaders, looks, changes;
};

/* A session as the members have it. */
struct watched_session {
    int64_t id;
    uint64_t last_there, first_gone; /* index; first_gone: UINT64_MAX = nowhere yet */
};

struct digest_at {
    uint64_t digest;
    int member;
};

struct keepers {
    uint64_t seed;
    struct keepers_plan plan;
    struct random random;
    struct sim *sim;
    struct member members[MEMBERS_MAX];
    struct sim_machine *client_machines[CLIENT_MACHINES];
    struct loop *client_loops[CLIENT_MACHINES];
    struct guest *guests; /* and, after GUESTS_MAX, an inspector for each member, and the admin */
    int guest_count;
    enum keepers_phase phase;
    int64_t quiet_ms; /* since when nothing new is asked */
    struct tree_history history;
    struct keepers_counts counts;
    int64_t trouble_ms; /* until when what the adversary did may still be felt */
    int leader;         /* the last seen; 0 = none */
    uint64_t leader_term;
    struct watched_session *sessions;
    size_t session_count, session_capacity;
    struct map digests; /* index: struct digest_at */

    void (*line)(void *context, const char *text);
    void *line_context;
};

MUST_USE enum error keepers_new(uint64_t seed, int forced_members,
                                void (*line)(void *context, const char *text), void *context,
                                struct keepers **keepers);
void keepers_free(struct keepers **keepers);

int64_t keepers_now_ms(const struct keepers *keepers);
int64_t keepers_between(struct keepers *keepers, int64_t min, int64_t max);
bool keepers_chance(struct keepers *keepers, unsigned one_in);
void keepers_note(struct keepers *keepers, const char *format, ...) __attribute__((format(printf, 2, 3)));
void keepers_fail(struct keepers *keepers, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline bool keepers_has_failed(const struct keepers *keepers)
{
    return tree_history_has_fault(&keepers->history);
}
/* Something was done that may be felt for so long. */
void keepers_trouble(struct keepers *keepers, int64_t ms);

/* Lets time pass, less on a fault. */
void keepers_run(struct keepers *keepers, int64_t ms);
bool keepers_run_until(struct keepers *keepers, bool (*check)(void *context), void *context,
                       int64_t limit_ms);

/* "HOST:PORT:PORT:participant;HOST:PORT", or observer. */
void member_line(const struct member *member, bool is_observer, char *line, size_t size);
void member_start(struct member *member);
void member_power_cut(struct member *member);
void member_kill(struct member *member);
/* Asks for a clean stop and waits for it. */
void member_stop(struct member *member);
/* While it is down: its disk is new. */
void member_wipe(struct member *member);
const struct keeper *member_keeper(const struct member *member);
struct keeper *member_keeper_mut(struct member *member);
/* Who leads as far as the members know, the one of the latest term; NULL = nobody. */
struct member *keepers_leader(struct keepers *keepers);
/* Does this session exist with them still? */
bool keepers_has_session(const struct keepers *keepers, int64_t id);

/* How many members vote, as the leader has it; 0: nobody leads. */
int keepers_voters(struct keepers *keepers);
/* All members are up, have applied the same, and are equal. */
void keepers_compare(struct keepers *keepers);
