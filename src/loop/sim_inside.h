/* sim_inside.h: what the files of the simulated loop share; nobody else includes it.
 *
 * The world is one queue of events by virtual microsecond: turns of loops, jobs of lanes, segments and resets on the
 * network, steps of connecting. sim.c owns the queue, the machines and the trace; sim_loop.c is loop.h, sim_net.c is
 * stream.h, sim_disk.c is disk.h.
 *
 * Owners  what a node made (loops, lanes, streams, files ...) the node frees, or, when it was abandoned by a crash, the
 *         world at sim_free. After a crash the node's objects are dead: every call on them is harmless and answers as if
 *         the machine were off (ERR_IO, ERR_CLOSED, nothing), so the rest of a callback that died half-way may run, and
 *         the node may be freed as usual.
 */
#pragma once
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/random.h"
#include "loop/sim.h"
#include "loop/timer_heap.h"

/* One row a kind of event in the trace. */
#define SIM_KINDS(KIND)                                                                                      \
    KIND(TURN, "turn")                                                                                       \
    KIND(WORK, "work")                                                                                       \
    KIND(CONNECT, "connect")                                                                                 \
    KIND(SEND, "send")                                                                                       \
    KIND(ARRIVE, "arrive")                                                                                   \
    KIND(RESET, "reset")                                                                                     \
    KIND(WRITE, "write")                                                                                     \
    KIND(SYNC, "sync")                                                                                       \
    KIND(NAME, "name")                                                                                       \
    KIND(CRASH, "crash")                                                                                     \
    KIND(KILL, "kill")                                                                                       \
    KIND(LEFT, "left")                                                                                       \
    KIND(FAULT, "fault")

enum sim_kind {
#define KIND(name, text) SIM_##name,
    SIM_KINDS(KIND)
#undef KIND
};

/* An event is a timer whose due time is in virtual microseconds. */
typedef struct loop_timer sim_event;

struct sim_cut { /* nothing gets from `from` to `to` */
    struct sim_machine *from, *to;
};

struct sim {
    struct random world;   /* what the adversary decides */
    struct random tests;   /* sim_random */
    struct random secrets; /* loop_random */
    int64_t now_us;
    struct timer_heap events;
    struct loop *current; /* whose turn it is */
    int64_t charge_us;    /* virtual time that the running code has used up in slow calls */
    int64_t min_delay_us, max_delay_us;
    struct sim_cut *cuts;
    size_t cut_count, cut_capacity;
    struct sim_machine **machines;
    size_t machine_count, machine_capacity;
    /* everything alive, for sim_free */
    struct list streams, connections, connectings, listeners, lanes, loops;
    uint64_t trace;
    void (*line)(void *context, const char *text);
    void *line_context;
};

struct sim_machine {
    struct sim *sim;
    char *host;
    int index;
    int64_t boot_us;      /* its monotonic clock is ahead of virtual time by this */
    int64_t wall_jump_ms; /* its wall clock, of the world's */
    int64_t paused_until_us;
    int crashes, power_losses;
    uint16_t next_port;

    /* sim_disk.c */
    struct inode *root;
    struct list inodes, journal;
    struct disk *disk; /* of this life; dead ones wait in `disks` for sim_free */
    struct list disks;
    int64_t used_bytes;
    bool is_full;
    int64_t slow_ms;
    int slow_count, fail_count, crash_countdown;
};

struct loop {
    struct sim *sim;
    struct sim_machine *machine;
    struct list in_world;
    sim_event turn;
    int64_t now_us, busy_until_us; /* virtual */
    struct timer_heap timers;      /* in the machine's milliseconds */
    struct loop_message *inbox, *inbox_last, *deferred, *deferred_last;
    struct list accepting; /* listeners with connections to accept */
    struct list answered;  /* connectings to be told */
    struct list ready;     /* streams with something to read */
    struct list flush;     /* streams with something to send or to tell */
    int64_t second_start_us, second_busy_us;
    int last_permille;
    bool is_dead, is_stopping, is_stopped;
};

/* sim.c */
void sim_note(struct sim *sim, const struct sim_machine *machine, enum sim_kind kind, int64_t a, int64_t b);
/* From min to max, both included. */
int64_t sim_between(struct sim *sim, int64_t min, int64_t max);
bool sim_chance(struct sim *sim, unsigned one_in);
void sim_event_at(struct sim *sim, sim_event *event, int64_t at_us);
void sim_event_cancel(struct sim *sim, sim_event *event);
/* One event, if one is due by until_us. */
bool sim_step(struct sim *sim, int64_t until_us);
int64_t sim_wall_ms(const struct sim_machine *machine);
/* Does nothing get from the one to the other? */
bool sim_is_cut(const struct sim *sim, const struct sim_machine *from, const struct sim_machine *to);

/* sim_loop.c */
/* The loop takes a turn, `at_us` at the earliest. */
void loop_wake_at(struct loop *loop, int64_t at_us);
void loops_die(struct sim_machine *machine);
void loops_free(struct sim *sim);

/* sim_dial.c */
void net_accept(struct loop *loop);
void net_answer(struct loop *loop);

/* sim_net.c */
void net_read(struct loop *loop);
void net_flush(struct loop *loop);
/* is_power_lost: the peers hear nothing at first; else the kernel says goodbye for the process. */
void net_die(struct sim_machine *machine, bool is_power_lost);
void net_free(struct sim *sim);

/* sim_disk.c */
MUST_USE enum error disk_of_machine(struct sim_machine *machine);
void disk_die(struct sim_machine *machine, bool is_power_lost);
void disk_world_free(struct sim_machine *machine);
