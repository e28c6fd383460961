/* loop.h: event loops, time, timers, messages between loops, worker lanes.
 *
 * The only door to threads, sockets, files, clocks and randomness. It exists twice behind the same headers
 * (loop.h, stream.h, disk.h): over libuv and the kernel (loop.c, stream.c, disk.c), and over a seeded
 * simulation (sim*.c, with loop/sim.h to steer it). Everything above runs unchanged on either; the linker
 * chooses.
 *
 * Threads  a loop is one thread. Every function here is called on that loop's thread unless it says "any
 * thread". Time     loop_now_* is monotonic, read once per turn of the loop; loop_wall_ms is UTC and may
 * jump.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct loop;

/* Descriptors of one node, shared between sockets and the file cache, so that neither starves the other. */
struct descriptors;
/* limit 0: RLIMIT_NOFILE (raised to its hard limit first). NULL without memory. Freed after loops and disk.
 */
struct descriptors *descriptors_new(size_t limit);
void descriptors_free(struct descriptors *descriptors);

MUST_USE enum error loop_new(struct descriptors *descriptors, struct loop **loop);
/* After loop_run returned. Streams, listeners, lanes and timers must be gone; messages not yet run are dropped. */
void loop_free(struct loop *loop);
/* Runs on the calling thread until loop_stop. */
void loop_run(struct loop *loop);
/* The same on a thread of its own; loop_join waits for its end. */
MUST_USE enum error loop_start_thread(struct loop *loop, const char *name);
void loop_join(struct loop *loop);
/* Any thread. The current turn ends first. */
void loop_stop(struct loop *loop);
bool loop_is_current(const struct loop *loop);

int64_t loop_now_ms(const struct loop *loop);
int64_t loop_now_us(const struct loop *loop);
int64_t loop_wall_ms(const struct loop *loop);
/* Reads the monotonic clock now, for stage times within a turn. Any thread. */
int64_t loop_clock_us(const struct loop *loop);
/* Secrets-grade in production, seeded in the simulator. */
void loop_random(struct loop *loop, void *out, size_t size);
/* Share of the last full second spent outside the kernel's wait, 0..1000. Any thread. */
int loop_busy_permille(const struct loop *loop);

/* --- messages: the only way between loops --- */
struct loop_message {
    struct loop_message *next; /* the queue's */
    void (*run)(struct loop_message *message);
};

/* Any thread. `message` must live until run; run is on `to`'s thread, in posting order of each sender. Posts
 * are batched: one wake-up however many wait. */
void loop_post(struct loop *to, struct loop_message *message);
/* Own loop only: run once at the end of this turn, before the loop sleeps (flush answers, close batches). A
 * message that is already deferred must not be deferred again. */
void loop_defer(struct loop *loop, struct loop_message *message);

/* --- timers --- */
struct loop_timer {
    void (*run)(struct loop_timer *timer);
    /* the loop's: */
    int64_t due_ms;
    uint64_t order;
    size_t heap_index; /* 1-based; 0 = not running. A zeroed timer with run set is ready to start. */
};

/* Starts or moves it. delay_ms <= 0 fires in the next turn. Accurate to 1 ms, never early. O(log n). */
void loop_timer_start(struct loop *loop, struct loop_timer *timer, int64_t delay_ms);
void loop_timer_stop(struct loop *loop, struct loop_timer *timer);
static inline bool loop_timer_running(const struct loop_timer *timer)
{
    return timer->heap_index != 0;
}

/* --- lanes: workers for what must not run on a loop. One lane never waits for another. --- */
struct lane;

struct lane_job {
    void (*work)(struct lane_job *job); /* on a worker */
    void (*done)(struct lane_job *job); /* on the loop that submitted it; may free the job */
    /* the lane's: */
    struct lane_job *next;
    struct loop *loop;
    struct loop_message finished;
};

/* `threads` workers, started at the first job. name: at most 15 characters. */
MUST_USE enum error lane_new(struct loop *any_loop, const char *name, int threads, struct lane **lane);
/* Waits for the job at work; queued jobs are run too. Any thread. */
void lane_free(struct lane *lane);
/* From a loop's thread. Jobs of a lane start in order; with one thread they also finish in order. */
void lane_submit(struct lane *lane, struct loop *loop, struct lane_job *job);

/* --- signals (production only; the simulator stops nodes itself) --- */
/* Calls run(context, signal) on the loop for SIGTERM, SIGINT, SIGHUP. */
MUST_USE enum error loop_on_signals(struct loop *loop, void (*run)(void *context, int signal), void *context);

/* --- a foreign descriptor (libmicrohttpd's epoll) polled by the loop; production only --- */
struct loop_poll;
MUST_USE enum error loop_poll_new(struct loop *loop, int fd, void (*ready)(void *context), void *context,
                                  struct loop_poll **poll);
void loop_poll_free(struct loop_poll **poll);
