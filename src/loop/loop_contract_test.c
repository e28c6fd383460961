/* loop_contract_test.c: what loop.h and disk.h promise, whichever library is linked (contract.h). Streams are in
 * stream_contract_test.c. */
#include "loop/contract.h"

#include "base/random.h"

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
    if (timer->due_ms < clockwork->last_due_ms) clockwork->is_disordered = true;
    clockwork->last_due_ms = timer->due_ms;
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
    assert_false(clockwork.is_disordered);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
