/* sim_loop.c: loop.h over the simulated world: turns, messages, timers and lanes in virtual time.
 *
 * A turn does what a real one does, in the same order, and takes a few virtual microseconds, more when it called slow
 * things. loop_run and loop_join drive the whole world until that loop has stopped; tests usually drive it by sim_run_ms
 * instead, and every loop takes its turns from the moment it is made.
 */
#include "loop/sim_inside.h"

enum {
    MAX_ROUNDS = 4,
    WAKE_MIN_US = 1, /* from a post to the turn */
    WAKE_MAX_US = 30,
    LATE_MAX_US = 300, /* of a timer */
    SECOND_US = 1000000,
};

/* --- descriptors: nobody runs out of them here --- */

struct descriptors {
    size_t limit;
};

struct descriptors *descriptors_new(size_t limit)
{
    struct descriptors *descriptors = calloc(1, sizeof *descriptors);
    if (descriptors) descriptors->limit = limit;
    return descriptors;
}

void descriptors_free(struct descriptors *descriptors)
{
    free(descriptors);
}

/* --- turns --- */

void loop_wake_at(struct loop *loop, int64_t at_us)
{
    if (loop->is_dead || loop->is_stopped) return;
    if (at_us < loop->busy_until_us) at_us = loop->busy_until_us;
    if (loop_timer_running(&loop->turn) && loop->turn.due_ms <= at_us) return;
    sim_event_at(loop->sim, &loop->turn, at_us);
}

static void wake_soon(struct loop *loop)
{
    loop_wake_at(loop, loop->sim->now_us + sim_between(loop->sim, WAKE_MIN_US, WAKE_MAX_US));
}

static int64_t machine_us(const struct loop *loop, int64_t virtual_us)
{
    return virtual_us + loop->machine->boot_us;
}

static void run_list(struct loop *loop, struct loop_message **first, struct loop_message **last)
{
    struct loop_message *message = *first;
    *first = *last = NULL;
    while (message && !loop->is_dead) {
        struct loop_message *next = message->next;
        message->next = NULL;
        message->run(message);
        message = next;
    }
}

static void run_timers(struct loop *loop)
{
    uint64_t before_order = loop->timers.next_order;
    int64_t now_ms = machine_us(loop, loop->now_us) / 1000;
    struct loop_timer *timer;
    while (!loop->is_dead && (timer = timer_heap_take_due(&loop->timers, now_ms, before_order)))
        timer->run(timer);
}

static void run_turn(struct loop *loop)
{
    net_accept(loop);
    if (!loop->is_dead) net_answer(loop);
    if (!loop->is_dead) net_read(loop);
    run_timers(loop);
    for (int round = 0; round < MAX_ROUNDS && !loop->is_dead; round++) {
        run_list(loop, &loop->inbox, &loop->inbox_last);
        if (!loop->is_dead) run_list(loop, &loop->deferred, &loop->deferred_last);
        if (loop->deferred || loop->inbox) continue;
        if (!loop->is_dead) net_flush(loop);
        if (!loop->deferred && !loop->inbox) return;
    }
    if (!loop->is_dead) net_flush(loop);
}

static void account(struct loop *loop, int64_t took_us)
{
    int64_t elapsed_us = loop->sim->now_us - loop->second_start_us;
    loop->second_busy_us += took_us;
    if (elapsed_us < SECOND_US) return;
    int64_t permille = loop->second_busy_us * 1000 / elapsed_us;
    loop->last_permille = permille > 1000 ? 1000 : (int)permille;
    loop->second_start_us = loop->sim->now_us;
    loop->second_busy_us = 0;
}

static void wake_for_timers(struct loop *loop)
{
    int64_t due_ms = timer_heap_next_due_ms(&loop->timers);
    if (due_ms > INT64_MAX / 1000) return;
    int64_t due_us = due_ms * 1000 - loop->machine->boot_us;
    loop_wake_at(loop, due_us + sim_between(loop->sim, 0, LATE_MAX_US));
}

static void take_turn(sim_event *event)
{
    struct loop *loop = CONTAINER_OF(event, struct loop, turn);
    struct sim *sim = loop->sim;
    if (loop->machine->paused_until_us > sim->now_us) {
        sim_event_at(sim, event, loop->machine->paused_until_us);
        return;
    }
    sim_note(sim, loop->machine, SIM_TURN, 0, 0);
    sim->current = loop;
    loop->now_us = sim->now_us;
    run_turn(loop);
    sim->current = NULL;
    if (loop->is_dead) return;

    int64_t took_us = sim_between(sim, 1, 20) + sim->charge_us;
    loop->busy_until_us = sim->now_us + took_us;
    account(loop, took_us);
    if (loop->is_stopping) {
        loop->is_stopping = false;
        loop->is_stopped = true;
        sim_event_cancel(sim, &loop->turn);
        return;
    }
    if (loop->inbox || loop->deferred || !list_empty(&loop->ready) || !list_empty(&loop->flush) ||
        !list_empty(&loop->accepting) || !list_empty(&loop->answered)) {
        wake_soon(loop);
    }
    wake_for_timers(loop);
}

/* --- life --- */

enum error sim_loop_new(struct sim_machine *machine, struct loop **result)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop) return ERR_NOMEM;
    loop->sim = machine->sim;
    loop->machine = machine;
    loop->turn.run = take_turn;
    loop->second_start_us = loop->now_us = machine->sim->now_us;
    list_init(&loop->accepting);
    list_init(&loop->answered);
    list_init(&loop->ready);
    list_init(&loop->flush);
    list_push_back(&loop->sim->loops, &loop->in_world);
    *result = loop;
    return OK;
}

/* Loops of a simulated node are made by its machine. */
enum error loop_new(struct descriptors *descriptors, struct loop **loop)
{
    (void)descriptors;
    (void)loop;
    return ERR_UNSUPPORTED;
}

static void forget_timers(struct loop *loop)
{
    for (size_t i = 1; i <= loop->timers.count; i++) loop->timers.timers[i]->heap_index = 0;
    timer_heap_free(&loop->timers);
}

void loop_free(struct loop *loop)
{
    if (!loop) return;
    sim_event_cancel(loop->sim, &loop->turn);
    timer_heap_free(&loop->timers); /* the timers' own memory may be gone */
    list_remove(&loop->in_world);
    free(loop);
}

static void drive(struct loop *loop)
{
    while (!loop->is_stopped && !loop->is_dead) {
        bool has_event = sim_step(loop->sim, INT64_MAX - 1);
        assert(has_event && "the loop sleeps for ever");
    }
}

void loop_run(struct loop *loop)
{
    loop->is_stopped = false;
    loop_wake_at(loop, loop->sim->now_us);
    drive(loop);
}

enum error loop_start_thread(struct loop *loop, const char *name)
{
    (void)name;
    loop->is_stopped = false;
    loop_wake_at(loop, loop->sim->now_us);
    return OK;
}

void loop_join(struct loop *loop)
{
    drive(loop);
}

void loop_stop(struct loop *loop)
{
    if (loop->is_dead || loop->is_stopped) return;
    loop->is_stopping = true;
    wake_soon(loop);
}

bool loop_is_current(const struct loop *loop)
{
    return loop->sim->current == loop;
}

/* --- time --- */

int64_t loop_now_us(const struct loop *loop)
{
    return machine_us(loop, loop->sim->current == loop ? loop->now_us : loop->sim->now_us);
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop_now_us(loop) / 1000;
}

int64_t loop_wall_ms(const struct loop *loop)
{
    return sim_wall_ms(loop->machine);
}

int64_t loop_clock_us(const struct loop *loop)
{
    return machine_us(loop, loop->sim->now_us) + loop->sim->charge_us;
}

void loop_random(struct loop *loop, void *out, size_t size)
{
    random_fill(&loop->sim->secrets, out, size);
}

int loop_busy_permille(const struct loop *loop)
{
    int64_t elapsed_us = loop->sim->now_us - loop->second_start_us;
    if (elapsed_us < 2 * SECOND_US) return loop->last_permille;
    int64_t permille = loop->second_busy_us * 1000 / elapsed_us;
    return permille > 1000 ? 1000 : (int)permille;
}

/* --- messages and timers --- */

static void append(struct loop_message **first, struct loop_message **last, struct loop_message *message)
{
    message->next = NULL;
    if (*first) {
        (*last)->next = message;
    } else {
        *first = message;
    }
    *last = message;
}

void loop_post(struct loop *to, struct loop_message *message)
{
    assert(message->run);
    if (to->is_dead) return;
    append(&to->inbox, &to->inbox_last, message);
    wake_soon(to);
}

void loop_defer(struct loop *loop, struct loop_message *message)
{
    assert(message->run);
    if (loop->is_dead) return;
    append(&loop->deferred, &loop->deferred_last, message);
    if (loop->sim->current != loop) wake_soon(loop);
}

void loop_timer_start(struct loop *loop, struct loop_timer *timer, int64_t delay_ms)
{
    if (loop->is_dead) return;
    int64_t now_ms = loop_now_ms(loop), due_ms;
    if (delay_ms < 0) delay_ms = 0;
    if (__builtin_add_overflow(now_ms, delay_ms, &due_ms)) due_ms = INT64_MAX - 1;
    timer_heap_start(&loop->timers, timer, due_ms);
    if (loop->sim->current != loop) wake_for_timers(loop);
}

void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    if (loop->is_dead) {
        timer->heap_index = 0;
        return;
    }
    timer_heap_stop(&loop->timers, timer);
}

/* --- lanes --- */

struct worker {
    sim_event event;
    struct lane *lane;
    struct lane_job *job;
    bool has_worked;
};

struct lane {
    struct sim *sim;
    struct sim_machine *machine;
    struct list in_world;
    struct lane_job *first, *last;
    bool is_dead;
    int threads;
    struct worker workers[];
};

static void start_jobs(struct lane *lane);

static void job_finished(struct loop_message *message)
{
    struct lane_job *job = CONTAINER_OF(message, struct lane_job, finished);
    job->done(job);
}

static void finish_job(struct lane_job *job)
{
    job->finished.run = job_finished;
    loop_post(job->loop, &job->finished);
}

static void worker_step(sim_event *event)
{
    struct worker *worker = CONTAINER_OF(event, struct worker, event);
    struct lane *lane = worker->lane;
    struct sim *sim = lane->sim;
    if (lane->machine->paused_until_us > sim->now_us) {
        sim_event_at(sim, event, lane->machine->paused_until_us);
        return;
    }
    struct lane_job *job = worker->job;
    if (!worker->has_worked) {
        sim_note(sim, lane->machine, SIM_WORK, 0, 0);
        worker->has_worked = true;
        job->work(job);
        if (lane->is_dead) return;
        sim_event_at(sim, event, sim->now_us + sim->charge_us + sim_between(sim, 1, 50));
        return;
    }
    worker->job = NULL;
    finish_job(job);
    start_jobs(lane);
}

static void start_jobs(struct lane *lane)
{
    for (int i = 0; i < lane->threads && lane->first; i++) {
        struct worker *worker = &lane->workers[i];
        if (worker->job) continue;
        worker->job = lane->first;
        worker->has_worked = false;
        lane->first = worker->job->next;
        worker->job->next = NULL;
        int64_t delay_us =
            sim_chance(lane->sim, 16) ? sim_between(lane->sim, 100, 20000) : sim_between(lane->sim, 2, 100);
        sim_event_at(lane->sim, &worker->event, lane->sim->now_us + delay_us);
    }
}

enum error lane_new(struct loop *any_loop, const char *name, int threads, struct lane **result)
{
    assert(threads > 0 && strlen(name) <= 15);
    assert(any_loop && "a simulated lane belongs to a loop's machine");
    struct lane *lane = calloc(1, sizeof *lane + (size_t)threads * sizeof(struct worker));
    if (!lane) return ERR_NOMEM;
    lane->sim = any_loop->sim;
    lane->machine = any_loop->machine;
    lane->is_dead = any_loop->is_dead;
    lane->threads = threads;
    for (int i = 0; i < threads; i++) {
        lane->workers[i].event.run = worker_step;
        lane->workers[i].lane = lane;
    }
    list_push_back(&lane->sim->lanes, &lane->in_world);
    *result = lane;
    return OK;
}

void lane_submit(struct lane *lane, struct loop *loop, struct lane_job *job)
{
    assert(job->work && loop);
    if (lane->is_dead) return;
    job->loop = loop;
    job->next = NULL;
    if (lane->first) {
        lane->last->next = job;
    } else {
        lane->first = job;
    }
    lane->last = job;
    start_jobs(lane);
}

static void lane_drop(struct lane *lane)
{
    for (int i = 0; i < lane->threads; i++) sim_event_cancel(lane->sim, &lane->workers[i].event);
    list_remove(&lane->in_world);
    free(lane);
}

void lane_free(struct lane *lane)
{
    if (!lane) return;
    for (int i = 0; i < lane->threads && !lane->is_dead; i++) {
        struct worker *worker = &lane->workers[i];
        if (!worker->job) continue;
        if (!worker->has_worked) worker->job->work(worker->job);
        if (!lane->is_dead) finish_job(worker->job);
    }
    while (lane->first && !lane->is_dead) {
        struct lane_job *job = lane->first;
        lane->first = job->next;
        job->next = NULL;
        job->work(job);
        if (!lane->is_dead) finish_job(job);
    }
    lane_drop(lane);
}

void loops_free(struct sim *sim)
{
    while (!list_empty(&sim->lanes)) lane_drop(CONTAINER_OF(sim->lanes.next, struct lane, in_world));
    while (!list_empty(&sim->loops)) loop_free(CONTAINER_OF(sim->loops.next, struct loop, in_world));
}

void loops_die(struct sim_machine *machine)
{
    LIST_EACH(&machine->sim->loops, item)
    {
        struct loop *loop = CONTAINER_OF(item, struct loop, in_world);
        if (loop->machine != machine || loop->is_dead) continue;
        loop->is_dead = true;
        loop->inbox = loop->inbox_last = loop->deferred = loop->deferred_last = NULL;
        sim_event_cancel(loop->sim, &loop->turn);
        forget_timers(loop);
    }
    LIST_EACH(&machine->sim->lanes, item)
    {
        struct lane *lane = CONTAINER_OF(item, struct lane, in_world);
        if (lane->machine != machine || lane->is_dead) continue;
        lane->is_dead = true;
        lane->first = NULL;
        for (int i = 0; i < lane->threads; i++) sim_event_cancel(lane->sim, &lane->workers[i].event);
    }
}

/* --- production only --- */

enum error loop_on_signals(struct loop *loop, void (*run)(void *context, int signal), void *context)
{
    (void)loop;
    (void)run;
    (void)context;
    return OK; /* none ever comes */
}

enum error loop_poll_new(struct loop *loop, int fd, void (*ready)(void *context), void *context,
                         struct loop_poll **poll)
{
    (void)loop;
    (void)fd;
    (void)ready;
    (void)context;
    (void)poll;
    return ERR_UNSUPPORTED;
}

void loop_poll_free(struct loop_poll **poll)
{
    *poll = NULL;
}
