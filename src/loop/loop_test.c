/* loop_test.c: the real loop: threads that post, lanes, signals, sleep and busy time; and the timer heap against a plain
 * model. What both implementations promise is in loop_contract_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/random.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/timer_heap.h"

/* --- the heap --- */

enum { TIMERS = 200 };

static void nothing(struct loop_timer *timer)
{
    (void)timer;
}

static void timers_come_by_due_time_and_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct timer_heap heap = {0};
        struct loop_timer timers[TIMERS];
        int64_t due_ms[TIMERS]; /* the model: -1 = not running */
        uint64_t order[TIMERS], next_order = 0;
        memset(timers, 0, sizeof timers);
        for (int i = 0; i < TIMERS; i++) {
            timers[i].run = nothing;
            due_ms[i] = -1;
        }
        int64_t now_ms = 0;
        for (int step = 0; step < 3000; step++) {
            size_t i = random_below(&random, TIMERS);
            switch (random_below(&random, 4)) {
            case 0:
            case 1:
                due_ms[i] = now_ms + (int64_t)random_below(&random, 50);
                order[i] = next_order++;
                timer_heap_start(&heap, &timers[i], due_ms[i]);
                break;
            case 2:
                due_ms[i] = -1;
                timer_heap_stop(&heap, &timers[i]);
                break;
            default:
                now_ms += (int64_t)random_below(&random, 10);
                for (;;) {
                    int want = -1;
                    for (int k = 0; k < TIMERS; k++) {
                        if (due_ms[k] < 0 || due_ms[k] > now_ms) continue;
                        if (want < 0 || due_ms[k] < due_ms[want] ||
                            (due_ms[k] == due_ms[want] && order[k] < order[want])) {
                            want = k;
                        }
                    }
                    struct loop_timer *got = timer_heap_take_due(&heap, now_ms, UINT64_MAX);
                    assert_ptr_equal(got, want < 0 ? NULL : &timers[want]);
                    if (want < 0) break;
                    due_ms[want] = -1;
                }
            }
            assert_int_equal(loop_timer_running(&timers[i]), due_ms[i] >= 0);
        }
        timer_heap_free(&heap);
    }
}

/* --- a node's loops --- */

struct world {
    struct descriptors *descriptors;
    struct loop *loops[3];
};

static void world_open(struct world *world, int loops)
{
    *world = (struct world){.descriptors = descriptors_new(0)};
    assert_non_null(world->descriptors);
    for (int i = 0; i < loops; i++) assert_int_equal(loop_new(world->descriptors, &world->loops[i]), OK);
}

static void world_close(struct world *world)
{
    for (int i = 0; i < 3; i++) loop_free(world->loops[i]);
    descriptors_free(world->descriptors);
}

/* --- posting from many threads --- */

enum { SENDERS = 3, EACH = 20000 };

struct numbered {
    struct loop_message message;
    struct inbox *inbox;
    int sender, number;
};

struct inbox {
    struct loop *loop;
    int next[SENDERS], total;
    bool is_foreign; /* a message ran on another thread */
};

static void numbered_run(struct loop_message *message)
{
    struct numbered *numbered = CONTAINER_OF(message, struct numbered, message);
    struct inbox *inbox = numbered->inbox;
    if (!loop_is_current(inbox->loop)) inbox->is_foreign = true;
    if (inbox->next[numbered->sender] == numbered->number) inbox->next[numbered->sender]++;
    if (++inbox->total == SENDERS * EACH) loop_stop(inbox->loop);
    free(numbered);
}

struct sender {
    struct inbox *inbox;
    int index;
};

static void *send_all(void *argument)
{
    struct sender *sender = argument;
    for (int i = 0; i < EACH; i++) {
        struct numbered *numbered = malloc(sizeof *numbered);
        *numbered = (struct numbered){{NULL, numbered_run}, sender->inbox, sender->index, i};
        loop_post(sender->inbox->loop, &numbered->message);
        if (i % 1000 == 0) sched_yield();
    }
    return NULL;
}

static void posts_of_each_sender_keep_their_order(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 1);
    struct inbox inbox = {.loop = world.loops[0]};
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    assert_int_equal(loop_start_thread(world.loops[0], "test-loop"), OK);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){&inbox, i};
        pthread_create(&threads[i], NULL, send_all, &senders[i]);
    }
    for (int i = 0; i < SENDERS; i++) pthread_join(threads[i], NULL);
    loop_join(world.loops[0]);
    for (int i = 0; i < SENDERS; i++) assert_int_equal(inbox.next[i], EACH);
    assert_int_equal(inbox.total, SENDERS * EACH);
    assert_false(inbox.is_foreign);
    world_close(&world);
}

/* --- two loops play ball: a lost wake-up would hang here --- */

enum { VOLLEYS = 20000 };

struct ball {
    struct loop_message message;
    struct loop *sides[2];
    int bounces;
};

static void bounce(struct loop_message *message)
{
    struct ball *ball = CONTAINER_OF(message, struct ball, message);
    if (++ball->bounces == VOLLEYS) {
        loop_stop(ball->sides[0]);
        loop_stop(ball->sides[1]);
        return;
    }
    loop_post(ball->sides[ball->bounces % 2], message);
}

static void no_wake_up_is_lost(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 2);
    struct ball ball = {.message = {.run = bounce}, .sides = {world.loops[0], world.loops[1]}};
    loop_post(world.loops[0], &ball.message);
    assert_int_equal(loop_start_thread(world.loops[0], "one"), OK);
    assert_int_equal(loop_start_thread(world.loops[1], "two"), OK);
    loop_join(world.loops[0]);
    loop_join(world.loops[1]);
    assert_int_equal(ball.bounces, VOLLEYS);
    world_close(&world);
}

/* --- lanes --- */

enum { JOBS = 2000 };

struct task {
    struct lane_job job;
    struct tasks *tasks;
    int number;
    bool was_worked;
};

struct tasks {
    struct loop *loop;
    struct task each[JOBS];
    int done;
    bool is_ordered;
    int at_work, most_at_work; /* __atomic */
};

static void task_work(struct lane_job *job)
{
    struct task *task = CONTAINER_OF(job, struct task, job);
    int at_work = __atomic_add_fetch(&task->tasks->at_work, 1, __ATOMIC_SEQ_CST);
    int most = __atomic_load_n(&task->tasks->most_at_work, __ATOMIC_SEQ_CST);
    while (at_work > most && !__atomic_compare_exchange_n(&task->tasks->most_at_work, &most, at_work, false,
                                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    task->was_worked = true;
    __atomic_sub_fetch(&task->tasks->at_work, 1, __ATOMIC_SEQ_CST);
}

static void task_done(struct lane_job *job)
{
    struct task *task = CONTAINER_OF(job, struct task, job);
    struct tasks *tasks = task->tasks;
    assert_true(task->was_worked);
    assert_true(loop_is_current(tasks->loop));
    if (task->number != tasks->done) tasks->is_ordered = false;
    if (++tasks->done == JOBS) loop_stop(tasks->loop);
}

static void lanes_work_and_answer(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads += 3) {
        struct world world;
        world_open(&world, 1);
        struct tasks *tasks = calloc(1, sizeof *tasks);
        tasks->loop = world.loops[0];
        tasks->is_ordered = true;
        struct lane *lane;
        assert_int_equal(lane_new(world.loops[0], "test-lane", threads, &lane), OK);
        for (int i = 0; i < JOBS; i++) {
            tasks->each[i] =
                (struct task){.job = {.work = task_work, .done = task_done}, .tasks = tasks, .number = i};
            lane_submit(lane, world.loops[0], &tasks->each[i].job);
        }
        loop_run(world.loops[0]);
        assert_int_equal(tasks->done, JOBS);
        assert_in_range(tasks->most_at_work, 1, threads);
        if (threads == 1) assert_true(tasks->is_ordered);
        lane_free(lane);
        free(tasks);
        world_close(&world);
    }
}

/* Two jobs that wait for each other need two workers at once. */
struct meeting {
    struct lane_job job;
    pthread_barrier_t *barrier;
    struct loop *loop;
    int *left;
};

static void meet(struct lane_job *job)
{
    pthread_barrier_wait(CONTAINER_OF(job, struct meeting, job)->barrier);
}

static void met(struct lane_job *job)
{
    struct meeting *meeting = CONTAINER_OF(job, struct meeting, job);
    if (--*meeting->left == 0) loop_stop(meeting->loop);
}

static void a_lane_of_three_works_on_three_jobs_at_once(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 1);
    struct lane *lane;
    assert_int_equal(lane_new(world.loops[0], "three", 3, &lane), OK);
    for (int round = 0; round < 20; round++) { /* with workers not yet started, then with idle ones */
        pthread_barrier_t barrier;
        pthread_barrier_init(&barrier, NULL, 3);
        int left = 3;
        struct meeting meetings[3];
        for (int i = 0; i < 3; i++) {
            meetings[i] = (struct meeting){{.work = meet, .done = met}, &barrier, world.loops[0], &left};
            lane_submit(lane, world.loops[0], &meetings[i].job);
        }
        loop_run(world.loops[0]);
        assert_int_equal(left, 0);
        pthread_barrier_destroy(&barrier);
    }
    lane_free(lane);
    world_close(&world);
}

/* --- sleep and busy time --- */

static int64_t process_cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec * 1000000LL + usage.ru_utime.tv_usec + usage.ru_stime.tv_sec * 1000000LL +
           usage.ru_stime.tv_usec;
}

struct stopper {
    struct loop_timer timer;
    struct loop *loop;
    int64_t spin_until_us;
};

static void stop_now(struct loop_timer *timer)
{
    loop_stop(CONTAINER_OF(timer, struct stopper, timer)->loop);
}

static void an_idle_loop_uses_no_time(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 1);
    struct stopper stopper = {.timer = {.run = stop_now}, .loop = world.loops[0]};
    int64_t before_us = process_cpu_us();
    int64_t start_us = loop_clock_us(world.loops[0]);
    loop_timer_start(world.loops[0], &stopper.timer, 1200);
    loop_run(world.loops[0]);
    int64_t took_us = loop_clock_us(world.loops[0]) - start_us;
    assert_true(took_us >= 1199000); /* due times count from the start of a millisecond */
    assert_true(process_cpu_us() - before_us < 20000);
    assert_in_range(loop_busy_permille(world.loops[0]), 0, 20);
    world_close(&world);
}

static void spin(struct loop_timer *timer)
{
    struct stopper *stopper = CONTAINER_OF(timer, struct stopper, timer);
    while (loop_clock_us(stopper->loop) < stopper->spin_until_us) {
    }
    loop_stop(stopper->loop);
}

static void a_working_loop_says_so(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 1);
    struct stopper stopper = {.timer = {.run = spin}, .loop = world.loops[0]};
    stopper.spin_until_us = loop_clock_us(world.loops[0]) + 1050000;
    loop_timer_start(world.loops[0], &stopper.timer, 0);
    loop_run(world.loops[0]);
    assert_in_range(loop_busy_permille(world.loops[0]), 900, 1000);
    world_close(&world);
}

/* --- signals and foreign descriptors --- */

static void note_signal(void *context, int signal)
{
    struct world *world = context;
    assert_int_equal(signal, SIGHUP);
    loop_stop(world->loops[0]);
}

static void signals_run_on_the_loop(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 1);
    assert_int_equal(loop_on_signals(world.loops[0], note_signal, &world), OK);
    kill(getpid(), SIGHUP);
    loop_run(world.loops[0]);
    world_close(&world);
}

struct foreign {
    struct loop *loop;
    struct loop_poll *poll;
    int fd;
};

static void foreign_ready(void *context)
{
    struct foreign *foreign = context;
    uint64_t value;
    assert_int_equal(read(foreign->fd, &value, sizeof value), sizeof value);
    assert_int_equal(value, 7);
    loop_poll_free(&foreign->poll);
    loop_stop(foreign->loop);
}

static void a_foreign_descriptor_is_polled(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 1);
    struct foreign foreign = {world.loops[0], NULL, eventfd(0, EFD_NONBLOCK)};
    assert_int_equal(loop_poll_new(world.loops[0], foreign.fd, foreign_ready, &foreign, &foreign.poll), OK);
    uint64_t value = 7;
    assert_int_equal(write(foreign.fd, &value, sizeof value), sizeof value);
    loop_run(world.loops[0]);
    assert_null(foreign.poll);
    close(foreign.fd);
    world_close(&world);
}

static void randomness_is_not_repeated(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 1);
    uint8_t seen[64][16], large[1000] = {0};
    for (int i = 0; i < 64; i++) {
        loop_random(world.loops[0], seen[i], 16);
        for (int k = 0; k < i; k++) assert_memory_not_equal(seen[i], seen[k], 16);
    }
    loop_random(world.loops[0], large, sizeof large);
    int zeros = 0;
    for (size_t i = 0; i < sizeof large; i++) zeros += large[i] == 0;
    assert_in_range(zeros, 0, 50);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_come_by_due_time_and_order),
        cmocka_unit_test(posts_of_each_sender_keep_their_order),
        cmocka_unit_test(no_wake_up_is_lost),
        cmocka_unit_test(lanes_work_and_answer),
        cmocka_unit_test(a_lane_of_three_works_on_three_jobs_at_once),
        cmocka_unit_test(an_idle_loop_uses_no_time),
        cmocka_unit_test(a_working_loop_says_so),
        cmocka_unit_test(signals_run_on_the_loop),
        cmocka_unit_test(a_foreign_descriptor_is_polled),
        cmocka_unit_test(randomness_is_not_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
