/* loop.c: loops over libuv: turns, messages, time, signals. The shape of a turn is drawn in loop/inside.h. */
#include "loop/inside.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
    MAX_ROUNDS = 4, /* messages that beget messages: so many rounds, then sockets get their chance */
    SECOND_US = 1000000,
    WATCH_US = 100,         /* a shorter wait is not worth a sleep: waking up may cost as much, twice over */
    WATCH_AFTER = 8,        /* so many short waits in a row make the next one likely */
    WATCH_CROWDED_US = 300, /* away from the processor for so long: somebody else needs it */
    WATCH_PAUSE_US = 50000,
};

int64_t clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

/* --- the end of a turn --- */

static void run_timers(struct loop *loop)
{
    uint64_t before_order = loop->timers.next_order;
    struct loop_timer *timer;
    while ((timer = timer_heap_take_due(&loop->timers, loop->now_us / 1000, before_order))) timer->run(timer);
}

static void run_inbox(struct loop *loop)
{
    struct loop_message *newest = __atomic_exchange_n(&loop->inbox, NULL, __ATOMIC_SEQ_CST), *oldest = NULL;
    while (newest) {
        struct loop_message *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct loop_message *next = oldest->next; /* run may free or post it again */
        oldest->next = NULL;
        oldest->run(oldest);
        oldest = next;
    }
}

static void run_deferred(struct loop *loop)
{
    struct loop_message *message = loop->deferred;
    loop->deferred = loop->deferred_last = NULL; /* what they defer is for the next round */
    while (message) {
        struct loop_message *next = message->next;
        message->next = NULL;
        message->run(message);
        message = next;
    }
}

static bool has_inbox(const struct loop *loop)
{
    return __atomic_load_n(&loop->inbox, __ATOMIC_SEQ_CST) != NULL;
}

static void run_turn(struct loop *loop)
{
    run_timers(loop);
    for (int round = 0; round < MAX_ROUNDS; round++) {
        run_inbox(loop);
        run_deferred(loop);
        if (loop->deferred || has_inbox(loop)) continue;
        /* Streams last: what was written before goes out in one call each. */
        streams_flush(loop);
        if (!loop->deferred && !has_inbox(loop)) return;
    }
    streams_flush(loop);
}

/* Busy time is counted in windows of a second, closed by the first turn that ends after it. */
static void account(struct loop *loop)
{
    int64_t now_us = clock_us();
    int64_t busy_us = loop->second_busy_us + (now_us - loop->turn_start_us);
    int64_t elapsed_us = now_us - loop->second_start_us;
    if (elapsed_us >= SECOND_US) {
        int permille = (int)(busy_us * 1000 / elapsed_us);
        __atomic_store_n(&loop->last_permille, permille > 1000 ? 1000 : permille, __ATOMIC_RELAXED);
        __atomic_store_n(&loop->second_start_us, now_us, __ATOMIC_RELAXED);
        busy_us = 0;
    }
    __atomic_store_n(&loop->second_busy_us, busy_us, __ATOMIC_RELAXED);
    __atomic_store_n(&loop->turn_start_us, 0, __ATOMIC_RELAXED);
}

static void stay_awake(uv_idle_t *idle)
{
    (void)idle;
}

static void set_hot(struct loop *loop, bool is_hot)
{
    if (is_hot == loop->is_hot) return;
    loop->is_hot = is_hot;
    if (is_hot) {
        uv_idle_start(&loop->hot, stay_awake);
    } else {
        uv_idle_stop(&loop->hot);
    }
}

static void on_alarm(uv_timer_t *alarm)
{
    struct loop *loop = alarm->data;
    loop->alarm_due_ms = INT64_MAX;
    loop_begin_turn(loop);
}

static void set_alarm(struct loop *loop)
{
    int64_t due_ms = timer_heap_next_due_ms(&loop->timers);
    if (due_ms == loop->alarm_due_ms) return;
    loop->alarm_due_ms = due_ms;
    if (due_ms == INT64_MAX) {
        uv_timer_stop(&loop->alarm);
        return;
    }
    /* libuv counts in the same monotonic milliseconds, from the start of this iteration. */
    int64_t wait_ms = due_ms - (int64_t)uv_now(&loop->uv);
    uv_timer_start(&loop->alarm, on_alarm, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
}

/* A client that sends its next request as soon as it has heard the answer to the last makes for waits of some 30 us, and on an
 * idle machine waking a sleeping processor takes as long. After several such waits a loop stays awake through the next, for as long
 * as it is short and nobody else wants the processor. True: ask the kernel again, the turn has not begun. */
static bool keep_watch(struct loop *loop)
{
    /* Awake: somebody posted, or the loop has been stopped and run again; either is for the turn to see. */
    bool is_asleep = __atomic_load_n(&loop->is_asleep, __ATOMIC_RELAXED);
    if (!loop->is_watching || loop->is_in_turn || !is_asleep) return false;
    int64_t now_us = clock_us();
    bool is_crowded = now_us - loop->watch_polled_us > WATCH_CROWDED_US;
    bool is_over = now_us - loop->wait_start_us > WATCH_US;
    loop->watch_polled_us = now_us;
    if (!is_crowded && !is_over) {
        sched_yield();
        return true;
    }
    if (is_crowded) loop->no_watch_until_us = now_us + WATCH_PAUSE_US;
    loop->short_waits = 0;
    loop->is_watching = false;
    set_hot(loop, false);
    return true; /* and now it sleeps */
}

/* A turn has ended and nothing is left to do. */
static void begin_watch(struct loop *loop)
{
    loop->wait_start_us = loop->watch_polled_us = clock_us();
    loop->waits_for_a_disk = loop->direct_writes > 0;
    loop->is_watching = loop->short_waits >= WATCH_AFTER && loop->wait_start_us >= loop->no_watch_until_us &&
                        !loop->is_hot && !loop->waits_for_a_disk;
    if (loop->is_watching) set_hot(loop, true);
}

static void end_turn(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    if (keep_watch(loop)) return;
    loop->is_watching = false;
    loop_begin_turn(loop);
    bool was_short = !loop->waits_for_a_disk && loop->now_us - loop->wait_start_us <= WATCH_US;
    loop->short_waits = was_short ? loop->short_waits + (loop->short_waits < WATCH_AFTER) : 0;
    run_turn(loop);

    set_alarm(loop);
    if (__atomic_load_n(&loop->is_stopping, __ATOMIC_ACQUIRE)) uv_stop(&loop->uv);
    account(loop);
    loop->is_in_turn = false;
    __atomic_store_n(&loop->is_asleep, 1, __ATOMIC_SEQ_CST);
    /* Whoever posted before that store did not wake us; whoever posts after it does. */
    set_hot(loop, has_inbox(loop) || loop->deferred || !list_empty(&loop->flush));
    begin_watch(loop);
}

static void on_wake(uv_async_t *wake)
{
    loop_begin_turn(wake->data); /* the inbox is read at the end of the turn */
}

/* --- life --- */

enum error loop_new(struct descriptors *descriptors, struct loop **result)
{
    assert(descriptors);
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop) return ERR_NOMEM;
    int status = uv_loop_init(&loop->uv);
    if (status != 0) {
        free(loop);
        return error_from_errno(-status);
    }
    signal(SIGPIPE, SIG_IGN); /* a peer that went away is an error of that stream, not of the process */
    list_init(&loop->lookups);
    list_init(&loop->flush);
    loop->descriptors = descriptors;
    loop->alarm_due_ms = INT64_MAX;
    loop->second_start_us = clock_us();

    status = uv_async_init(&loop->uv, &loop->wake, on_wake);
    assert(status == 0);
    uv_prepare_init(&loop->uv, &loop->turn_end);
    uv_prepare_start(&loop->turn_end, end_turn);
    uv_idle_init(&loop->uv, &loop->hot);
    uv_timer_init(&loop->uv, &loop->alarm);
    loop->wake.data = loop->turn_end.data = loop->hot.data = loop->alarm.data = loop;
    __atomic_add_fetch(&descriptors->sockets, LOOP_DESCRIPTORS, __ATOMIC_RELAXED);
    *result = loop;
    return OK;
}

void loop_free(struct loop *loop)
{
    if (!loop) return;
    assert(!__atomic_load_n(&loop->is_running, __ATOMIC_ACQUIRE));
    lookups_abandon(loop);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->turn_end, NULL);
    uv_close((uv_handle_t *)&loop->hot, NULL);
    uv_close((uv_handle_t *)&loop->alarm, NULL);
    if (loop->on_signal) {
        for (int i = 0; i < 3; i++) uv_close((uv_handle_t *)&loop->signals[i], NULL);
    }
    uv_run(&loop->uv, UV_RUN_NOWAIT); /* the closes of ours, and of streams closed after the last turn */
    int status = uv_loop_close(&loop->uv);
    assert(status == 0 && "a stream, listener or poll outlives its loop");
    __atomic_sub_fetch(&loop->descriptors->sockets, LOOP_DESCRIPTORS, __ATOMIC_RELAXED);
    piece_pool_free(&loop->spare_pieces);
    timer_heap_free(&loop->timers);
    free(loop->scratch);
    free(loop);
}

void loop_run(struct loop *loop)
{
    __atomic_store_n(&loop->runner, pthread_self(), __ATOMIC_RELAXED);
    __atomic_store_n(&loop->is_running, 1, __ATOMIC_RELEASE);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    /* libuv looks at the sockets once more after uv_stop; what that brought ends here. */
    loop_begin_turn(loop);
    run_turn(loop);
    account(loop);
    loop->is_in_turn = false;
    __atomic_store_n(&loop->is_stopping, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&loop->is_running, 0, __ATOMIC_RELEASE);
}

static void *thread_main(void *argument)
{
    struct loop *loop = argument;
    pthread_setname_np(pthread_self(), loop->name);
    loop_run(loop);
    return NULL;
}

enum error loop_start_thread(struct loop *loop, const char *name)
{
    strncpy(loop->name, name, sizeof loop->name - 1);
    /* Signals are for the thread that asked for them (loop_on_signals), whichever that is. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int status = pthread_create(&loop->thread, NULL, thread_main, loop);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return error_from_errno(status);
}

void loop_join(struct loop *loop)
{
    pthread_join(loop->thread, NULL);
}

static void wake(struct loop *loop)
{
    if (!__atomic_load_n(&loop->is_asleep, __ATOMIC_SEQ_CST)) return;
    if (__atomic_exchange_n(&loop->is_asleep, 0, __ATOMIC_SEQ_CST)) uv_async_send(&loop->wake);
}

void loop_stop(struct loop *loop)
{
    __atomic_store_n(&loop->is_stopping, 1, __ATOMIC_SEQ_CST);
    /* Not wake(): a loop on its way to sleep has read the flag already. */
    uv_async_send(&loop->wake);
}

bool loop_is_current(const struct loop *loop)
{
    return __atomic_load_n(&loop->is_running, __ATOMIC_ACQUIRE) &&
           pthread_equal(__atomic_load_n(&loop->runner, __ATOMIC_RELAXED), pthread_self());
}

/* --- time --- */

int64_t loop_now_us(const struct loop *loop)
{
    return loop->is_in_turn ? loop->now_us : clock_us();
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop_now_us(loop) / 1000;
}

int64_t loop_wall_ms(const struct loop *loop)
{
    (void)loop;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t loop_clock_us(const struct loop *loop)
{
    (void)loop;
    return clock_us();
}

int loop_busy_permille(const struct loop *loop)
{
    int64_t now_us = clock_us();
    int64_t elapsed_us = now_us - __atomic_load_n(&loop->second_start_us, __ATOMIC_RELAXED);
    if (elapsed_us < SECOND_US) return __atomic_load_n(&loop->last_permille, __ATOMIC_RELAXED);
    /* No turn has ended since: it sleeps, or works on one long turn. */
    int64_t busy_us = __atomic_load_n(&loop->second_busy_us, __ATOMIC_RELAXED);
    int64_t turn_start_us = __atomic_load_n(&loop->turn_start_us, __ATOMIC_RELAXED);
    if (turn_start_us > 0) busy_us += now_us - turn_start_us;
    int64_t permille = busy_us * 1000 / elapsed_us;
    return permille < 0 ? 0 : permille > 1000 ? 1000 : (int)permille;
}

void loop_timer_start(struct loop *loop, struct loop_timer *timer, int64_t delay_ms)
{
    int64_t now_ms = loop_now_ms(loop), due_ms;
    if (delay_ms < 0) delay_ms = 0;
    if (__builtin_add_overflow(now_ms, delay_ms, &due_ms)) due_ms = INT64_MAX - 1;
    timer_heap_start(&loop->timers, timer, due_ms);
}

void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    timer_heap_stop(&loop->timers, timer);
}

/* --- messages --- */

void loop_post(struct loop *to, struct loop_message *message)
{
    assert(message->run);
    struct loop_message *head = __atomic_load_n(&to->inbox, __ATOMIC_RELAXED);
    do {
        message->next = head;
    } while (
        !__atomic_compare_exchange_n(&to->inbox, &head, message, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    wake(to);
}

void loop_defer(struct loop *loop, struct loop_message *message)
{
    assert(message->run);
    message->next = NULL;
    if (loop->deferred) {
        loop->deferred_last->next = message;
    } else {
        loop->deferred = message;
    }
    loop->deferred_last = message;
}

/* --- the rest --- */

uint8_t *loop_scratch(struct loop *loop)
{
    if (!loop->scratch) loop->scratch = malloc(SCRATCH_BYTES);
    return loop->scratch;
}

static void kernel_random(void *out, size_t size)
{
    uint8_t *at = out;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno == EINTR) continue;
        assert(got > 0 && "no randomness from the kernel");
        at += got;
        size -= (size_t)got;
    }
}

void loop_random(struct loop *loop, void *out, size_t size)
{
    if (size > sizeof loop->random) {
        kernel_random(out, size);
        return;
    }
    if (loop->random_left < size) {
        kernel_random(loop->random, sizeof loop->random);
        loop->random_left = sizeof loop->random;
    }
    loop->random_left -= size;
    memcpy(out, loop->random + loop->random_left, size);
    explicit_bzero(loop->random + loop->random_left, size); /* a secret is nowhere else */
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct loop *loop = handle->data;
    loop_begin_turn(loop);
    loop->on_signal(loop->on_signal_context, number);
}

enum error loop_on_signals(struct loop *loop, void (*run)(void *context, int signal), void *context)
{
    static const int numbers[3] = {SIGTERM, SIGINT, SIGHUP};
    assert(!loop->on_signal);
    loop->on_signal = run;
    loop->on_signal_context = context;
    for (int i = 0; i < 3; i++) {
        uv_signal_init(&loop->uv, &loop->signals[i]);
        loop->signals[i].data = loop;
    }
    for (int i = 0; i < 3; i++) {
        int status = uv_signal_start(&loop->signals[i], on_signal, numbers[i]);
        if (status != 0) return error_from_errno(-status);
    }
    return OK;
}

struct loop_poll {
    uv_poll_t poll;
    void (*ready)(void *context);
    void *context;
    bool is_freed;
};

static void on_poll_ready(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    struct loop_poll *poll = handle->data;
    loop_begin_turn(CONTAINER_OF(handle->loop, struct loop, uv));
    if (!poll->is_freed) poll->ready(poll->context);
}

enum error loop_poll_new(struct loop *loop, int fd, void (*ready)(void *context), void *context,
                         struct loop_poll **result)
{
    struct loop_poll *poll = calloc(1, sizeof *poll);
    if (!poll) return ERR_NOMEM;
    int status = uv_poll_init(&loop->uv, &poll->poll, fd);
    if (status != 0) {
        free(poll);
        return error_from_errno(-status);
    }
    poll->poll.data = poll;
    poll->ready = ready;
    poll->context = context;
    status = uv_poll_start(&poll->poll, UV_READABLE, on_poll_ready);
    assert(status == 0);
    *result = poll;
    return OK;
}

static void free_poll(uv_handle_t *handle)
{
    free(handle->data);
}

void loop_poll_free(struct loop_poll **poll)
{
    struct loop_poll *freed = *poll;
    *poll = NULL;
    if (!freed) return;
    freed->is_freed = true;
    uv_close((uv_handle_t *)&freed->poll, free_poll);
}
