/* loop_contract_test.c: what loop.h, stream.h and disk.h promise, whichever library is linked: this file is built twice, over
 * the kernel and over the simulation. Whatever the simulation lets pass here, a broker tested on it may rely on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/random.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/sim.h"
#include "loop/stream.h"

struct world {
    struct descriptors *descriptors;
    struct loop *loop;
    struct disk *disk;
    char directory[64];
    struct loop_timer alarm;
#ifdef LOOP_IS_SIMULATED
    struct sim *sim;
#endif
};

static void stop_loop(struct loop_timer *timer)
{
    loop_stop(CONTAINER_OF(timer, struct world, alarm)->loop);
}

static void world_open(struct world *world)
{
    *world = (struct world){.descriptors = descriptors_new(0), .alarm = {.run = stop_loop}};
#ifdef LOOP_IS_SIMULATED
    struct sim_machine *machine;
    assert_int_equal(sim_new(1, &world->sim), OK);
    assert_int_equal(sim_machine_new(world->sim, "one", &machine), OK);
    assert_int_equal(sim_loop_new(machine, &world->loop), OK);
    world->disk = sim_machine_disk(machine);
    strcpy(world->directory, "/data");
    assert_int_equal(disk_mkdir(world->disk, world->directory), OK);
#else
    assert_int_equal(loop_new(world->descriptors, &world->loop), OK);
    world->disk = disk_new(world->descriptors);
    strcpy(world->directory, "/tmp/odradek-contract-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
#endif
}

static void world_close(struct world *world)
{
    loop_timer_stop(world->loop, &world->alarm);
    assert_int_equal(disk_remove_tree(world->disk, world->directory), OK);
    loop_free(world->loop);
    disk_free(world->disk);
    descriptors_free(world->descriptors);
#ifdef LOOP_IS_SIMULATED
    sim_free(world->sim);
#endif
}

/* In pieces: on a busy machine the first thing that is due may be the alarm, and a turn is only had once for each. */
static void run_ms(struct world *world, int64_t ms)
{
    enum { PIECES = 10 };
    for (int64_t i = 0; i < PIECES; i++) {
        loop_timer_start(world->loop, &world->alarm, ms * (i + 1) / PIECES - ms * i / PIECES);
        loop_run(world->loop);
    }
}

/* --- messages and deferred work --- */

struct step {
    struct loop_message message;
    struct script *script;
    char name;
};

struct script {
    struct world world;
    struct step steps[8];
    char played[32];
    size_t length;
};

static void play(struct loop_message *message)
{
    struct step *step = CONTAINER_OF(message, struct step, message);
    struct script *script = step->script;
    script->played[script->length++] = step->name;
    assert_true(loop_is_current(script->world.loop));
    switch (step->name) {
    case 'a': /* in one turn: a message, then what it deferred and posted */
        loop_defer(script->world.loop, &script->steps[3].message);
        loop_post(script->world.loop, &script->steps[2].message);
        break;
    case 'd': loop_defer(script->world.loop, &script->steps[4].message); break;
    default: break;
    }
}

static void messages_keep_their_order(void **state)
{
    (void)state;
    struct script script = {.length = 0};
    world_open(&script.world);
    for (int i = 0; i < 8; i++) {
        script.steps[i] = (struct step){{NULL, play}, &script, (char)('a' + i)};
    }
    assert_false(loop_is_current(script.world.loop));
    loop_post(script.world.loop, &script.steps[0].message);
    loop_post(script.world.loop, &script.steps[1].message);
    run_ms(&script.world, 20);
    assert_int_equal(script.length, 5);
    assert_memory_equal(script.played, "ab", 2); /* as posted */
    /* c was posted by a, d deferred by a, e deferred by d: each after its cause */
    assert_non_null(memchr(script.played + 2, 'c', 3));
    const char *d = memchr(script.played + 2, 'd', 3), *e = memchr(script.played + 2, 'e', 3);
    assert_true(d && e && d < e);
    world_close(&script.world);
}

/* --- timers --- */

enum { TIMERS = 40 };

struct ticker {
    struct loop_timer timer;
    struct clockwork *clockwork;
    int64_t due_ms;
    int fired;
};

struct clockwork {
    struct world world;
    struct ticker tickers[TIMERS];
    int64_t last_due_ms;
    bool is_early, is_disordered;
};

static void tick(struct loop_timer *timer)
{
    struct ticker *ticker = CONTAINER_OF(timer, struct ticker, timer);
    struct clockwork *clockwork = ticker->clockwork;
    ticker->fired++;
    if (loop_now_ms(clockwork->world.loop) < ticker->due_ms) clockwork->is_early = true;
    if (ticker->due_ms < clockwork->last_due_ms) clockwork->is_disordered = true;
    clockwork->last_due_ms = ticker->due_ms;
    assert_false(loop_timer_running(timer));
}

static void timers_fire_once_in_order_and_never_early(void **state)
{
    (void)state;
    struct clockwork clockwork = {.is_early = false};
    struct random random;
    random_seed(&random, 5);
    world_open(&clockwork.world);
    struct loop *loop = clockwork.world.loop;
    for (int i = 0; i < TIMERS; i++) {
        int64_t delay_ms = (int64_t)random_below(&random, 60) - 2;
        clockwork.tickers[i] = (struct ticker){.timer = {.run = tick}, .clockwork = &clockwork};
        loop_timer_start(loop, &clockwork.tickers[i].timer, delay_ms);
        clockwork.tickers[i].due_ms = loop_now_ms(loop) + (delay_ms > 0 ? delay_ms : 0) - 1;
        assert_true(loop_timer_running(&clockwork.tickers[i].timer));
    }
    loop_timer_stop(loop, &clockwork.tickers[7].timer);
    loop_timer_stop(loop, &clockwork.tickers[7].timer);
    loop_timer_start(loop, &clockwork.tickers[8].timer, 100); /* moved */
    clockwork.tickers[8].due_ms = loop_now_ms(loop) + 99;
    run_ms(&clockwork.world, 200);
    for (int i = 0; i < TIMERS; i++) assert_int_equal(clockwork.tickers[i].fired, i != 7);
    assert_false(clockwork.is_early);
    world_close(&clockwork.world);
}

struct again {
    struct loop_timer timer;
    struct loop *loop;
    int count;
};

static void fire_again(struct loop_timer *timer)
{
    struct again *again = CONTAINER_OF(timer, struct again, timer);
    if (++again->count < 50) loop_timer_start(again->loop, timer, 0);
}

static void a_timer_may_start_itself_again(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    struct again again = {.timer = {.run = fire_again}, .loop = world.loop};
    loop_timer_start(world.loop, &again.timer, 0);
    run_ms(&world, 50);
    assert_int_equal(again.count, 50);
    int64_t before_us = loop_now_us(world.loop), before_ms = loop_now_ms(world.loop);
    run_ms(&world, 10);
    assert_true(loop_now_us(world.loop) - before_us >= 9000);
    assert_true(loop_now_ms(world.loop) - before_ms >= 9);
    assert_true(loop_wall_ms(world.loop) > 1600000000000);
    world_close(&world);
}

/* --- lanes --- */

enum { JOBS = 30 };

struct task {
    struct lane_job job;
    struct world *world;
    int number, *next;
    bool has_worked;
};

static void task_work(struct lane_job *job)
{
    CONTAINER_OF(job, struct task, job)->has_worked = true;
}

static void task_done(struct lane_job *job)
{
    struct task *task = CONTAINER_OF(job, struct task, job);
    assert_true(task->has_worked);
    assert_true(loop_is_current(task->world->loop));
    assert_int_equal((*task->next)++, task->number);
    free(task);
}

static void a_lane_of_one_works_in_order(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    struct lane *lane;
    int next = 0;
    assert_int_equal(lane_new(world.loop, "one", 1, &lane), OK);
    for (int i = 0; i < JOBS; i++) {
        struct task *task = malloc(sizeof *task);
        *task = (struct task){{.work = task_work, .done = task_done}, &world, i, &next, false};
        lane_submit(lane, world.loop, &task->job);
    }
    lane_free(lane); /* runs what is queued; the answers come to the loop */
    run_ms(&world, 20);
    assert_int_equal(next, JOBS);
    world_close(&world);
}

/* --- files --- */

struct path {
    char text[160];
};

static struct path in(const struct world *world, const char *name)
{
    struct path path;
    snprintf(path.text, sizeof path.text, "%s/%s", world->directory, name);
    return path;
}

static void opening_tells_what_is_wrong(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    struct {
        const char *name;
        int flags;
        enum error want;
    } rows[] = {
        {"absent", FILE_READ, ERR_NOT_FOUND},
        {"absent", FILE_WRITE, ERR_NOT_FOUND},
        {"no/such/dir", FILE_WRITE | FILE_CREATE, ERR_NOT_FOUND},
        {"new", FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, OK},
        {"new", FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, ERR_EXISTS},
        {"new", FILE_WRITE | FILE_CREATE, OK},
        {"new", FILE_WRITE, OK},
        {"new", FILE_READ, OK},
        {"dir", FILE_READ, ERR_IO},
    };
    assert_int_equal(disk_mkdir(world.disk, in(&world, "dir").text), OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct file *file = NULL;
        struct path path = in(&world, rows[i].name);
        assert_int_equal(file_open(world.disk, path.text, rows[i].flags, &file), rows[i].want);
        if (rows[i].want != OK) continue;
        assert_string_equal(file_path(file), path.text);
        file_release(&file);
        assert_null(file);
    }
    world_close(&world);
}

/* A random life of one file beside an array. */
enum { MODEL_BYTES = 60000 };

static void a_file_agrees_with_an_array(void **state)
{
    (void)state;
    static uint8_t model[MODEL_BYTES * 2], chunk[9000], back[MODEL_BYTES * 2];
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world world;
        world_open(&world);
        struct random random;
        random_seed(&random, seed);
        struct path path = in(&world, "file");
        struct file *file;
        assert_int_equal(file_open(world.disk, path.text, FILE_WRITE | FILE_CREATE, &file), OK);
        memset(model, 0, sizeof model);
        int64_t size = 0;
        for (int step = 0; step < 300; step++) {
            int64_t at = (int64_t)random_below(&random, MODEL_BYTES);
            size_t length = random_below(&random, sizeof chunk), got = 0;
            switch (random_below(&random, 7)) {
            case 0:
                random_fill(&random, chunk, length);
                assert_int_equal(file_pwrite(file, chunk, length, at), OK);
                memcpy(model + at, chunk, length);
                if (length > 0 && at + (int64_t)length > size) size = at + (int64_t)length;
                break;
            case 1: {
                random_fill(&random, chunk, length);
                size_t first = length / 3, second = length / 2;
                struct iovec parts[4] = {{chunk, first},
                                         {chunk, 0},
                                         {chunk + first, second - first},
                                         {chunk + second, length - second}};
                assert_int_equal(file_pwritev(file, parts, 4, at), OK);
                memcpy(model + at, chunk, length);
                if (length > 0 && at + (int64_t)length > size) size = at + (int64_t)length;
                break;
            }
            case 2:
                assert_int_equal(file_truncate(file, at), OK);
                if (at < size) memset(model + at, 0, (size_t)(size - at));
                size = at;
                break;
            case 3: assert_int_equal(file_sync(file), OK); break;
            case 4:
                assert_int_equal(file_allocate(file, at), OK);
                if (at > size) size = at;
                break;
            case 5: /* close and open */
                file_release(&file);
                assert_int_equal(file_open(world.disk, path.text, FILE_WRITE, &file), OK);
                break;
            default: {
                enum error err = random_below(&random, 2) ? file_pread(file, back, length, at, &got)
                                                          : file_pread_cached(file, back, length, at, &got);
                if (err == ERR_AGAIN) break;
                assert_int_equal(err, OK);
                int64_t there = size > at ? size - at : 0;
                assert_int_equal(got, there < (int64_t)length ? there : (int64_t)length);
                assert_memory_equal(back, model + at, got);
            }
            }
            int64_t now = -1;
            assert_int_equal(file_size(file, &now), OK);
            assert_int_equal(now, size);
        }
        size_t got;
        assert_int_equal(file_pread(file, back, sizeof back, 0, &got), OK);
        assert_int_equal(got, size);
        assert_memory_equal(back, model, got);
        file_release(&file);
        world_close(&world);
    }
}

static void names_change_and_lists_are_sorted(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    struct disk *disk = world.disk;
    assert_int_equal(disk_mkdir(disk, in(&world, "a/b/c").text), OK);
    assert_int_equal(disk_mkdir(disk, in(&world, "a/b/c").text), OK);
    const char *files[] = {"a/z", "a/m", "a/b/f"};
    for (int i = 0; i < 3; i++) {
        struct file *file;
        assert_int_equal(file_open(disk, in(&world, files[i]).text, FILE_WRITE | FILE_CREATE, &file), OK);
        assert_int_equal(file_pwrite(file, "12345", (size_t)i + 1, 0), OK);
        file_release(&file);
    }
    struct disk_entry *entries;
    size_t count;
    assert_int_equal(disk_list(disk, in(&world, "a").text, &entries, &count), OK);
    assert_int_equal(count, 3);
    assert_string_equal(entries[0].name, "b");
    assert_true(entries[0].is_dir);
    assert_string_equal(entries[1].name, "m");
    assert_false(entries[1].is_dir);
    assert_int_equal(entries[1].size, 2);
    assert_string_equal(entries[2].name, "z");
    disk_list_free(entries, count);

    assert_int_equal(disk_list(disk, in(&world, "none").text, &entries, &count), ERR_NOT_FOUND);
    assert_int_equal(disk_rename(disk, in(&world, "none").text, in(&world, "x").text), ERR_NOT_FOUND);
    assert_int_equal(disk_rename(disk, in(&world, "a/z").text, in(&world, "a/m").text), OK); /* over it */
    assert_false(disk_exists(disk, in(&world, "a/z").text));
    struct bytes *content;
    assert_int_equal(disk_read_file(disk, in(&world, "a/m").text, 100, &content), OK);
    assert_int_equal(content->size, 1);
    bytes_release(&content);
    assert_int_equal(disk_rename(disk, in(&world, "a/b").text, in(&world, "moved").text), OK);
    assert_true(disk_exists(disk, in(&world, "moved/f").text));
    assert_int_equal(disk_rmdir(disk, in(&world, "moved").text), ERR_IO); /* not empty */
    assert_int_equal(disk_unlink(disk, in(&world, "moved/f").text), OK);
    assert_int_equal(disk_unlink(disk, in(&world, "moved/f").text), ERR_NOT_FOUND);
    assert_int_equal(disk_rmdir(disk, in(&world, "moved/c").text), OK);
    assert_int_equal(disk_rmdir(disk, in(&world, "moved").text), OK);
    assert_int_equal(disk_sync_dir(disk, in(&world, "a").text), OK);
    assert_int_equal(disk_sync_dir(disk, in(&world, "none").text), ERR_NOT_FOUND);
    assert_int_equal(disk_remove_tree(disk, in(&world, "a").text), OK);
    assert_false(disk_exists(disk, in(&world, "a").text));
    assert_int_equal(disk_remove_tree(disk, in(&world, "a").text), ERR_NOT_FOUND);
    world_close(&world);
}

static void small_files_are_replaced_whole(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    struct path path = in(&world, "checkpoint");
    struct bytes *content = NULL;
    assert_int_equal(disk_read_file(world.disk, path.text, 100, &content), ERR_NOT_FOUND);
    const char *versions[] = {"0\n2\nfirst\n", "", "third"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(disk_write_file_atomic(world.disk, path.text, slice_of(versions[i])), OK);
        assert_int_equal(disk_read_file(world.disk, path.text, 100, &content), OK);
        assert_true(slice_is(bytes_slice(content), versions[i]));
        bytes_release(&content);
    }
    assert_int_equal(disk_read_file(world.disk, path.text, 4, &content), ERR_TOO_LARGE);
    struct disk_entry *entries;
    size_t count;
    assert_int_equal(disk_list(world.disk, world.directory, &entries, &count), OK);
    assert_int_equal(count, 1); /* nothing temporary stays */
    disk_list_free(entries, count);
    world_close(&world);
}

static void times_locks_and_open_files_behave(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    struct path path = in(&world, "f"), moved = in(&world, "g");
    struct file *file;
    assert_int_equal(file_open(world.disk, path.text, FILE_WRITE | FILE_CREATE, &file), OK);
    int64_t mtime_ms = 0;
    assert_int_equal(file_mtime_ms(file, &mtime_ms), OK);
    int64_t apart_ms = loop_wall_ms(world.loop) - mtime_ms;
    assert_true(apart_ms > -10000 && apart_ms < 10000);
    assert_int_equal(file_set_mtime_ms(file, 1234567890123), OK);
    assert_int_equal(file_mtime_ms(file, &mtime_ms), OK);
    assert_true(mtime_ms == 1234567890123);

    assert_int_equal(file_pwrite(file, "abc", 3, 0), OK);
    assert_int_equal(disk_rename(world.disk, path.text, moved.text), OK);
    file_renamed(file, moved.text);
    assert_string_equal(file_path(file), moved.text);
    assert_int_equal(disk_unlink(world.disk, moved.text), OK);
    char back[4];
    size_t got;
    assert_int_equal(file_pread(file, back, 4, 0, &got), OK); /* an open file outlives its name */
    assert_int_equal(got, 3);
    file_release(&file);

    struct path lock_path = in(&world, ".lock");
    struct disk_lock *lock, *second;
    assert_int_equal(disk_lock(world.disk, lock_path.text, &lock), OK);
    assert_true(disk_exists(world.disk, lock_path.text));
    assert_int_equal(disk_lock(world.disk, lock_path.text, &second), ERR_BUSY);
    disk_unlock(&lock);
    assert_null(lock);
    assert_int_equal(disk_lock(world.disk, lock_path.text, &lock), OK);
    disk_unlock(&lock);
    int64_t free_bytes, total_bytes;
    assert_int_equal(disk_space(world.disk, world.directory, &free_bytes, &total_bytes), OK);
    assert_true(free_bytes > 0 && free_bytes <= total_bytes);
    world_close(&world);
}

/* --- streams: two ends of one loop --- */

struct end {
    struct talk *talk;
    struct stream *stream;
    struct text_like {
        uint8_t *data;
        size_t size, capacity;
    } received;
    enum error closed;
    int closed_count, drained_count;
    size_t read_size; /* at most so much in one read */
};

struct talk {
    struct world world;
    struct listener *listener;
    struct connecting *connecting;
    struct end client, server;
    enum error connect_err;
    int connect_count, accept_count, released_count;
};

static void end_readable(void *context)
{
    struct end *end = context;
    for (;;) {
        if (end->received.capacity - end->received.size < end->read_size) {
            end->received.capacity = end->received.capacity * 2 + end->read_size;
            end->received.data = realloc(end->received.data, end->received.capacity);
        }
        size_t got;
        if (stream_read(end->stream, end->received.data + end->received.size, end->read_size, &got) != OK)
            return;
        end->received.size += got;
    }
}

static void end_drained(void *context)
{
    ((struct end *)context)->drained_count++;
}

static void end_closed(void *context, enum error err)
{
    struct end *end = context;
    end->closed = err;
    end->closed_count++;
}

static const struct stream_events end_events = {end_readable, end_drained, end_closed};

static void on_accept(void *context, struct stream *stream)
{
    struct talk *talk = context;
    talk->accept_count++;
    talk->server.stream = stream;
    stream_set_events(stream, &end_events, &talk->server);
    stream_set_reading(stream, true);
}

static void on_connected(void *context, enum error err, struct stream *stream)
{
    struct talk *talk = context;
    talk->connect_err = err;
    talk->connect_count++;
    talk->connecting = NULL;
    talk->client.stream = stream;
    if (!stream) return;
    stream_set_events(stream, &end_events, &talk->client);
    stream_set_reading(stream, true);
}

static void talk_open(struct talk *talk)
{
    memset(talk, 0, sizeof *talk);
    world_open(&talk->world);
    talk->client.talk = talk->server.talk = talk;
    talk->client.read_size = talk->server.read_size = 5000;
    assert_int_equal(stream_listen(talk->world.loop, "127.0.0.1", 0, 0, on_accept, talk, &talk->listener),
                     OK);
    assert_int_equal(stream_connect(talk->world.loop, "127.0.0.1", listener_port(talk->listener), 5000,
                                    on_connected, talk, &talk->connecting),
                     OK);
    assert_int_equal(talk->connect_count, 0); /* never before it returned */
    run_ms(&talk->world, 20);
    assert_int_equal(talk->connect_count, 1);
    assert_int_equal(talk->connect_err, OK);
    assert_int_equal(talk->accept_count, 1);
}

static void talk_close(struct talk *talk)
{
    stream_close(&talk->client.stream);
    stream_close(&talk->server.stream);
    listener_close(&talk->listener);
    free(talk->client.received.data);
    free(talk->server.received.data);
    run_ms(&talk->world, 10);
    world_close(&talk->world);
}

static void say(struct end *end, const char *words)
{
    size_t size = strlen(words);
    struct bytes *bytes = bytes_copy(words, size);
    assert_int_equal(stream_write(end->stream, bytes, 0, size), OK);
}

static void assert_heard(const struct end *end, const char *words)
{
    assert_int_equal(end->received.size, strlen(words));
    assert_memory_equal(end->received.data, words, end->received.size);
}

static void words_pass_both_ways(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    say(&talk.client, "hello ");
    say(&talk.client, "broker");
    assert_int_equal(stream_unsent_bytes(talk.client.stream), 12);
    run_ms(&talk.world, 20);
    assert_int_equal(stream_unsent_bytes(talk.client.stream), 0);
    assert_heard(&talk.server, "hello broker");
    say(&talk.server, "hello client");
    stream_finish(talk.server.stream);
    struct bytes *late = bytes_copy("x", 1);
    assert_int_equal(stream_write(talk.server.stream, late, 0, 1), ERR_CLOSED);
    run_ms(&talk.world, 20);
    assert_heard(&talk.client, "hello client");
    assert_int_equal(talk.client.closed_count, 1);
    assert_int_equal(talk.client.closed, ERR_EOF);
    assert_int_equal(talk.server.closed_count, 0);
    size_t got;
    uint8_t byte;
    assert_int_equal(stream_read(talk.client.stream, &byte, 1, &got), ERR_EOF);
    say(&talk.client, " and bye"); /* half-closed: the other half goes on */
    stream_finish(talk.client.stream);
    run_ms(&talk.world, 20);
    assert_heard(&talk.server, "hello broker and bye");
    assert_int_equal(talk.server.closed_count, 1);
    assert_int_equal(talk.server.closed, ERR_EOF);
    struct address a, b;
    stream_local(talk.client.stream, &a);
    assert_ptr_equal(stream_loop(talk.client.stream), talk.world.loop);
    stream_peer(talk.server.stream, &b);
    assert_int_equal(a.port, b.port);
    talk_close(&talk);
}

static uint8_t pattern(uint64_t position)
{
    return (uint8_t)(position * 131 + (position >> 9));
}

static void released(void *context)
{
    ((struct talk *)context)->released_count++;
}

static void much_passes_in_order_from_memory_and_files(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    enum { FILE_BYTES = 1 << 20 };
    uint8_t *content = malloc(FILE_BYTES);
    for (size_t i = 0; i < FILE_BYTES; i++) content[i] = pattern(i);
    struct file *file;
    assert_int_equal(
        file_open(talk.world.disk, in(&talk.world, "segment").text, FILE_WRITE | FILE_CREATE, &file), OK);
    assert_int_equal(file_pwrite(file, content, FILE_BYTES, 0), OK);

    struct random random;
    random_seed(&random, 11);
    uint8_t *want = malloc(16 << 20);
    size_t total = 0;
    int slices = 0;
    for (int i = 0; i < 100; i++) {
        size_t size = random_below(&random, i % 10 ? 3000 : 400000),
               at = random_below(&random, FILE_BYTES - 400000);
        if (i % 3 == 0) {
            struct bytes *bytes = bytes_copy(content + at, size);
            assert_int_equal(stream_write(talk.server.stream, bytes, 0, size), OK);
        } else {
            slices++;
            assert_int_equal(
                stream_write_file(talk.server.stream, file_retain(file), (int64_t)at, size, released, &talk),
                OK);
        }
        memcpy(want + total, content + at, size);
        total += size;
    }
    assert_int_equal(stream_unsent_bytes(talk.server.stream), total);
    /* A reader that pauses now and then. */
    for (int i = 0; i < 5000 && talk.client.received.size < total; i++) {
        stream_set_reading(talk.client.stream, i % 4 != 0);
        run_ms(&talk.world, 1);
    }
    assert_int_equal(talk.client.received.size, total);
    assert_memory_equal(talk.client.received.data, want, total);
    assert_int_equal(talk.released_count, slices);
    assert_int_equal(talk.server.drained_count, 1);

    /* Dropped pieces are released too, and a file that is too short ends the stream. */
    assert_int_equal(
        stream_write_file(talk.server.stream, file_retain(file), FILE_BYTES - 5, 10, released, &talk), OK);
    run_ms(&talk.world, 20);
    assert_int_equal(talk.released_count, slices + 1);
    assert_int_equal(talk.server.closed, ERR_IO);
    free(want);
    free(content);
    file_release(&file);
    talk_close(&talk);
}

static void reading_off_hears_nothing(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    stream_set_reading(talk.server.stream, false);
    say(&talk.client, "knock");
    run_ms(&talk.world, 20);
    assert_int_equal(talk.server.received.size, 0);
    stream_close(&talk.client.stream);
    run_ms(&talk.world, 20);
    assert_int_equal(talk.server.closed_count, 0);
    stream_set_reading(talk.server.stream, true);
    run_ms(&talk.world, 20);
    assert_heard(&talk.server, "knock");
    assert_int_equal(talk.server.closed_count, 1);
    talk_close(&talk);
}

/* Level-triggered: what is left unread calls again. */
struct sipper {
    struct end *end;
    int calls;
};

static void sip(void *context)
{
    struct sipper *sipper = context;
    uint8_t byte;
    size_t got;
    sipper->calls++;
    if (stream_read(sipper->end->stream, &byte, 1, &got) != OK) return;
    sipper->end->received.size++;
}

static void sipper_closed(void *context, enum error err)
{
    struct sipper *sipper = context;
    sipper->end->closed = err;
    sipper->end->closed_count++;
}

static void unread_bytes_call_again(void **state)
{
    (void)state;
    static const struct stream_events events = {sip, NULL, sipper_closed};
    struct talk talk;
    talk_open(&talk);
    struct sipper sipper = {&talk.server, 0};
    stream_set_events(talk.server.stream, &events, &sipper);
    say(&talk.client, "0123456789");
    stream_finish(talk.client.stream);
    run_ms(&talk.world, 50);
    assert_int_equal(talk.server.received.size, 10);
    assert_int_equal(sipper.calls, 11);
    assert_int_equal(talk.server.closed_count, 1);
    talk_close(&talk);
}

static void close_both(void *context)
{
    struct talk *talk = ((struct end *)context)->talk;
    stream_close(&talk->client.stream);
    stream_close(&talk->server.stream);
}

static void a_callback_may_close_everything(void **state)
{
    (void)state;
    static const struct stream_events events = {close_both, NULL, end_closed};
    struct talk talk;
    talk_open(&talk);
    stream_set_events(talk.server.stream, &events, &talk.server);
    say(&talk.client, "die");
    run_ms(&talk.world, 20);
    assert_null(talk.server.stream);
    assert_null(talk.client.stream);
    assert_int_equal(talk.client.closed_count + talk.server.closed_count, 0);
    talk_close(&talk);
}

static void last_words_are_heard(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    say(&talk.client, "bytes that the server never reads");
    stream_set_reading(talk.server.stream, false);
    run_ms(&talk.world, 20);
    say(&talk.server, "go away");
    stream_close_after_sending(&talk.server.stream);
    assert_null(talk.server.stream);
    run_ms(&talk.world, 20);
    assert_heard(&talk.client, "go away");
    assert_int_equal(talk.client.closed_count, 1);
    assert_int_equal(talk.server.closed_count, 0);
    stream_close(&talk.client.stream);
    run_ms(&talk.world, 20);
    talk_close(&talk);
}

static void connecting_fails_with_a_reason(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    stream_close(&talk.client.stream);
    uint16_t port = listener_port(talk.listener);
    struct listener *second;
    assert_int_equal(stream_listen(talk.world.loop, "127.0.0.1", port, 0, on_accept, &talk, &second),
                     ERR_BUSY);
    listener_close(&talk.listener);
    assert_int_equal(
        stream_connect(talk.world.loop, "127.0.0.1", port, 2000, on_connected, &talk, &talk.connecting), OK);
    run_ms(&talk.world, 50);
    assert_int_equal(talk.connect_count, 2);
    assert_int_equal(talk.connect_err, ERR_REFUSED);
    assert_int_equal(
        stream_connect(talk.world.loop, "127.0.0.1", port, 2000, on_connected, &talk, &talk.connecting), OK);
    stream_connect_cancel(&talk.connecting);
    assert_null(talk.connecting);
    run_ms(&talk.world, 50);
    assert_int_equal(talk.connect_count, 2);
    talk_close(&talk);
}

static void a_paused_listener_lets_them_wait(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    struct stream *first = talk.server.stream, *first_client = talk.client.stream;
    listener_pause(talk.listener, true);
    assert_int_equal(stream_connect(talk.world.loop, "127.0.0.1", listener_port(talk.listener), 2000,
                                    on_connected, &talk, &talk.connecting),
                     OK);
    run_ms(&talk.world, 30);
    assert_int_equal(talk.connect_count, 2); /* by the kernel */
    assert_int_equal(talk.accept_count, 1);
    listener_pause(talk.listener, false);
    run_ms(&talk.world, 30);
    assert_int_equal(talk.accept_count, 2);
    stream_close(&first);
    stream_close(&first_client);
    talk_close(&talk);
}

static void a_detached_stream_goes_on(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    stream_set_reading(talk.server.stream, false);
    say(&talk.client, "one ");
    run_ms(&talk.world, 20);
    struct detached_stream *detached;
    assert_int_equal(stream_detach(&talk.server.stream, &detached), OK);
    assert_null(talk.server.stream);
    say(&talk.client, "two");
    run_ms(&talk.world, 20);
    assert_int_equal(stream_attach(talk.world.loop, &detached, &talk.server.stream), OK);
    assert_null(detached);
    stream_set_events(talk.server.stream, &end_events, &talk.server);
    stream_set_reading(talk.server.stream, true);
    run_ms(&talk.world, 20);
    assert_heard(&talk.server, "one two");
    talk_close(&talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_keep_their_order),
        cmocka_unit_test(timers_fire_once_in_order_and_never_early),
        cmocka_unit_test(a_timer_may_start_itself_again),
        cmocka_unit_test(a_lane_of_one_works_in_order),
        cmocka_unit_test(opening_tells_what_is_wrong),
        cmocka_unit_test(a_file_agrees_with_an_array),
        cmocka_unit_test(names_change_and_lists_are_sorted),
        cmocka_unit_test(small_files_are_replaced_whole),
        cmocka_unit_test(times_locks_and_open_files_behave),
        cmocka_unit_test(words_pass_both_ways),
        cmocka_unit_test(much_passes_in_order_from_memory_and_files),
        cmocka_unit_test(reading_off_hears_nothing),
        cmocka_unit_test(unread_bytes_call_again),
        cmocka_unit_test(a_callback_may_close_everything),
        cmocka_unit_test(last_words_are_heard),
        cmocka_unit_test(connecting_fails_with_a_reason),
        cmocka_unit_test(a_paused_listener_lets_them_wait),
        cmocka_unit_test(a_detached_stream_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
