/* sim_test.c: the adversary: what crashes, cuts and slow disks do, that they do it, and that a seed repeats. What is left on a disk
 * is in sim_disk_test.c, what the simulation has in common with the kernel in loop_contract_test.c and stream_contract_test.c. */
#include "loop/sim_bench.h"

#include "base/list.h"
#include "base/text.h"
#include "loop/stream.h"

/* --- an echo server that logs what it hears, and a caller --- */

struct server {
    struct loop *loop;
    struct disk *disk;
    struct lane *lane;
    struct listener *listener;
    struct file *log;
    int64_t log_size;
    struct guest *guests;
    bool is_syncing;
    struct lane_job sync;
    int syncs;
};

struct guest {
    struct guest *next;
    struct server *server;
    struct stream *stream;
};

static void sync_work(struct lane_job *job)
{
    enum error err = file_sync(CONTAINER_OF(job, struct server, sync)->log);
    (void)err; /* a dead disk says so */
}

static void sync_done(struct lane_job *job)
{
    struct server *server = CONTAINER_OF(job, struct server, sync);
    server->is_syncing = false;
    server->syncs++;
}

static void guest_readable(void *context)
{
    struct guest *guest = context;
    struct server *server = guest->server;
    struct bytes *bytes = bytes_new(1000);
    size_t got;
    if (stream_read(guest->stream, bytes->data, bytes->capacity, &got) != OK) {
        bytes_release(&bytes);
        return;
    }
    if (file_pwrite(server->log, bytes->data, got, server->log_size) == OK) server->log_size += (int64_t)got;
    if (!server->is_syncing) {
        server->is_syncing = true;
        server->sync = (struct lane_job){.work = sync_work, .done = sync_done};
        lane_submit(server->lane, server->loop, &server->sync);
    }
    enum error err = stream_write(guest->stream, bytes, 0, got);
    (void)err; /* a dead stream says so */
}

static void guest_closed(void *context, enum error err)
{
    (void)err;
    stream_close(&((struct guest *)context)->stream);
}

static void server_accept(void *context, struct stream *stream)
{
    static const struct stream_events events = {guest_readable, NULL, guest_closed};
    struct server *server = context;
    struct guest *guest = calloc(1, sizeof *guest);
    *guest = (struct guest){server->guests, server, stream};
    server->guests = guest;
    stream_set_events(stream, &events, guest);
    stream_set_reading(stream, true);
}

static void server_open(struct server *server, struct sim_machine *machine)
{
    *server = (struct server){.loop = new_loop(machine), .disk = sim_machine_disk(machine)};
    assert_int_equal(lane_new(server->loop, "sync", 1, &server->lane), OK);
    assert_int_equal(file_open(server->disk, "/log", FILE_WRITE | FILE_CREATE, &server->log), OK);
    assert_int_equal(file_size(server->log, &server->log_size), OK);
    assert_int_equal(stream_listen(server->loop, "", 9092, 0, server_accept, server, &server->listener), OK);
}

static void server_close(struct server *server)
{
    while (server->guests) {
        struct guest *next = server->guests->next;
        if (server->guests->stream) stream_close(&server->guests->stream);
        free(server->guests);
        server->guests = next;
    }
    listener_close(&server->listener);
    lane_free(server->lane);
    file_release(&server->log);
    disk_free(server->disk);
    loop_free(server->loop);
}

struct caller {
    struct loop *loop;
    struct connecting *connecting;
    struct stream *stream;
    enum error connected, closed;
    int answers, ends;
    struct text heard;
};

static void caller_readable(void *context)
{
    struct caller *caller = context;
    uint8_t bytes[500];
    size_t got;
    while (stream_read(caller->stream, bytes, sizeof bytes, &got) == OK) {
        text_add(&caller->heard, (struct slice){bytes, got});
    }
}

static void caller_closed(void *context, enum error err)
{
    struct caller *caller = context;
    caller->closed = err;
    caller->ends++;
    stream_close(&caller->stream);
}

static void caller_connected(void *context, enum error err, struct stream *stream)
{
    static const struct stream_events events = {caller_readable, NULL, caller_closed};
    struct caller *caller = context;
    caller->connecting = NULL;
    caller->answers++;
    caller->connected = err;
    caller->stream = stream;
    if (!stream) return;
    stream_set_events(stream, &events, caller);
    stream_set_reading(stream, true);
}

static void call(struct caller *caller, const char *host, int64_t timeout_ms)
{
    assert_int_equal(
        stream_connect(caller->loop, host, 9092, timeout_ms, caller_connected, caller, &caller->connecting),
        OK);
}

static bool say(struct caller *caller, const char *words)
{
    if (!caller->stream) return false;
    return stream_write(caller->stream, bytes_copy(words, strlen(words)), 0, strlen(words)) == OK;
}

static void caller_close(struct caller *caller)
{
    if (caller->connecting) stream_connect_cancel(&caller->connecting);
    if (caller->stream) stream_close(&caller->stream);
    loop_free(caller->loop);
    text_free(&caller->heard);
}

/* --- a seed is a life --- */

static void add_line(void *context, const char *text)
{
    text_addz(context, text);
    text_addc(context, '\n');
}

/* A restless world; its trace. */
static uint64_t live(uint64_t seed, struct text *lines)
{
    struct sim *sim = new_sim(seed);
    if (lines) sim_trace_to(sim, add_line, lines);
    struct sim_machine *machines[3] = {new_machine(sim, "server"), new_machine(sim, "a"),
                                       new_machine(sim, "b")};
    struct server server;
    server_open(&server, machines[0]);
    struct caller callers[2] = {{.loop = new_loop(machines[1])}, {.loop = new_loop(machines[2])}};
    struct random *random = sim_random(sim);
    for (int step = 0; step < 150; step++) {
        struct caller *caller = &callers[random_below(random, 2)];
        if (!caller->stream && !caller->connecting) call(caller, "server", 500);
        char words[400];
        memset(words, 'a' + step % 26, sizeof words);
        words[random_below(random, 399)] = 0;
        say(caller, words);
        switch (random_below(random, 12)) {
        case 0: sim_net_cut(sim, machines[0], machines[1 + random_below(random, 2)], true); break;
        case 1:
            sim_net_cut(sim, machines[0], machines[1], false);
            sim_net_cut(sim, machines[0], machines[2], false);
            break;
        case 2: sim_net_reset_one(sim); break;
        case 3:
            sim_machine_pause(machines[random_below(random, 3)], (int64_t)random_below(random, 50));
            break;
        case 4: sim_wall_jump(machines[0], (int64_t)random_below(random, 1000) - 500); break;
        case 5:
            if (random_below(random, 2)) {
                sim_machine_crash(machines[0]);
            } else {
                sim_machine_kill(machines[0]);
            }
            server_close(&server);
            server_open(&server, machines[0]);
            break;
        default: break;
        }
        sim_run_ms(sim, (int64_t)random_below(random, 40));
    }
    uint64_t trace = sim_trace(sim);
    server_close(&server);
    caller_close(&callers[0]);
    caller_close(&callers[1]);
    sim_free(sim);
    return trace;
}

static void the_same_seed_lives_the_same_life(void **state)
{
    (void)state;
    uint64_t before = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct text first = {0}, second = {0};
        uint64_t trace = live(seed, &first);
        void *shift = malloc(12345); /* other addresses */
        assert_true(live(seed, &second) == trace);
        free(shift);
        assert_string_equal(first.data, second.data);
        assert_true(live(seed, NULL) == trace); /* watching changes nothing */
        assert_true(trace != before);
        before = trace;
        text_free(&first);
        text_free(&second);
    }
}

/* --- time --- */

struct ticker {
    struct loop_timer timer;
    struct loop *loop;
    int count;
};

static void tick(struct loop_timer *timer)
{
    struct ticker *ticker = CONTAINER_OF(timer, struct ticker, timer);
    ticker->count++;
    loop_timer_start(ticker->loop, timer, 1000);
}

static bool has_ticked_thrice(void *context)
{
    return ((struct ticker *)context)->count >= 3;
}

static void time_is_virtual(void **state)
{
    (void)state;
    struct sim *sim = new_sim(1);
    struct sim_machine *machine = new_machine(sim, "m");
    struct ticker ticker = {.timer = {.run = tick}, .loop = new_loop(machine)};
    loop_timer_start(ticker.loop, &ticker.timer, 1000);
    int64_t wall_ms = loop_wall_ms(ticker.loop), now_ms = loop_now_ms(ticker.loop);
    sim_run_ms(sim, 24 * 3600 * 1000); /* a day, at once */
    assert_in_range(ticker.count, 86300, 86400);
    assert_in_range(loop_wall_ms(ticker.loop) - wall_ms, 86400000 - 1, 86400000);
    assert_int_equal(sim_now_ms(sim), 86400000);
    assert_in_range(loop_busy_permille(ticker.loop), 0, 5);

    sim_wall_jump(machine, -5000); /* only the wall clock jumps */
    assert_in_range(loop_wall_ms(ticker.loop) - wall_ms, 86394999, 86395000);
    assert_in_range(loop_now_ms(ticker.loop) - now_ms, 86399999, 86400000);

    ticker.count = 0;
    sim_machine_pause(machine, 10000);
    assert_false(sim_run_until(sim, has_ticked_thrice, &ticker, 9900));
    assert_int_equal(ticker.count, 0);
    assert_true(sim_run_until(sim, has_ticked_thrice, &ticker, 5000));
    loop_timer_stop(ticker.loop, &ticker.timer);
    assert_false(sim_run_until(sim, has_ticked_thrice, &(struct ticker){.count = 0}, 100));
    loop_free(ticker.loop);
    sim_free(sim);
}

static bool has_synced(void *context)
{
    return ((struct server *)context)->syncs > 0;
}

static void a_slow_disk_holds_up_its_lane_only(void **state)
{
    (void)state;
    struct sim *sim = new_sim(3);
    struct sim_machine *machine = new_machine(sim, "server");
    struct server server;
    server_open(&server, machine);
    struct caller caller = {.loop = new_loop(machine)};
    call(&caller, "localhost", 1000);
    sim_run_ms(sim, 10);
    assert_int_equal(caller.connected, OK);
    sim_disk_slow(machine, 3000, 1);
    assert_true(say(&caller, "hello"));
    sim_run_ms(sim, 100);
    assert_string_equal(caller.heard.data, "hello"); /* the loop answers meanwhile */
    assert_int_equal(server.syncs, 0);
    assert_true(sim_run_until(sim, has_synced, &server, 5000));
    assert_true(sim_now_ms(sim) >= 3000);
    caller_close(&caller);
    server_close(&server);
    sim_free(sim);
}

/* --- the network --- */

struct pair {
    struct sim *sim;
    struct sim_machine *near, *far;
    struct server server;
    struct caller caller;
};

static void pair_open(struct pair *pair, uint64_t seed)
{
    pair->sim = new_sim(seed);
    pair->near = new_machine(pair->sim, "near");
    pair->far = new_machine(pair->sim, "far");
    server_open(&pair->server, pair->far);
    pair->caller = (struct caller){.loop = new_loop(pair->near)};
    call(&pair->caller, "far", 1000);
    sim_run_ms(pair->sim, 10);
    assert_int_equal(pair->caller.connected, OK);
    assert_non_null(pair->caller.stream);
}

static void pair_close(struct pair *pair)
{
    caller_close(&pair->caller);
    server_close(&pair->server);
    sim_free(pair->sim);
}

static void a_cut_holds_words_back_until_it_heals(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, 4);
    sim_net_cut(pair.sim, pair.near, pair.far, true);
    assert_true(say(&pair.caller, "hello?"));
    struct caller second = {.loop = new_loop(pair.near)};
    call(&second, "far", 700);
    sim_run_ms(pair.sim, 5000);
    assert_int_equal(pair.caller.heard.size, 0);
    assert_int_equal(pair.caller.ends, 0);
    assert_int_equal(second.answers, 1);
    assert_int_equal(second.connected, ERR_TIMED_OUT);
    sim_net_cut(pair.sim, pair.far, pair.near, false);
    sim_run_ms(pair.sim, 1000);
    assert_string_equal(pair.caller.heard.data, "hello?");
    caller_close(&second);
    pair_close(&pair);
}

static void a_cut_of_one_way_lets_the_other_through(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, 5);
    sim_net_cut_way(pair.sim, pair.far, pair.near, true);
    int64_t taken = pair.server.log_size;
    assert_true(say(&pair.caller, "hello?"));
    struct caller second = {.loop = new_loop(pair.near)};
    call(&second, "far", 700);
    sim_run_ms(pair.sim, 5000);
    assert_int_equal(pair.server.log_size - taken, 6); /* and what it answered is on its way */
    assert_int_equal(pair.caller.heard.size, 0);
    assert_int_equal(second.connected, ERR_TIMED_OUT);
    sim_net_cut_way(pair.sim, pair.far, pair.near, false);
    sim_run_ms(pair.sim, 1000);
    assert_string_equal(pair.caller.heard.data, "hello?");
    caller_close(&second);
    pair_close(&pair);
}

static void names_without_machines_and_ports_without_listeners_fail(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, 5);
    struct caller other = {.loop = new_loop(pair.near)};
    call(&other, "nowhere", 700);
    sim_run_ms(pair.sim, 1000);
    assert_int_equal(other.connected, ERR_NAME);
    call(&other, "near", 700); /* nobody listens there */
    sim_run_ms(pair.sim, 1000);
    assert_int_equal(other.connected, ERR_REFUSED);
    assert_int_equal(other.answers, 2);
    caller_close(&other);
    pair_close(&pair);
}

static void resets_and_deaths_end_connections(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct pair pair;
        pair_open(&pair, (uint64_t)how + 10);
        assert_true(say(&pair.caller, "before"));
        sim_run_ms(pair.sim, 50);
        assert_string_equal(pair.caller.heard.data, "before");
        switch (how) {
        case 0: assert_true(sim_net_reset_one(pair.sim)); break;
        case 1: sim_machine_crash(pair.far); break;
        default: sim_machine_kill(pair.far);
        }
        sim_run_ms(pair.sim, 3000);
        assert_int_equal(pair.caller.ends, 1);
        assert_int_equal(pair.caller.closed, ERR_EOF);
        assert_false(sim_net_reset_one(pair.sim)); /* none is left */
        call(&pair.caller, "far", 700);
        sim_run_ms(pair.sim, 100);
        assert_int_equal(pair.caller.connected, how == 0 ? OK : ERR_REFUSED);
        if (how > 0) { /* the machine comes back */
            server_close(&pair.server);
            server_open(&pair.server, pair.far);
            call(&pair.caller, "far", 700);
            sim_run_ms(pair.sim, 100);
            assert_int_equal(pair.caller.connected, OK);
        }
        pair_close(&pair);
    }
}

/* What a killed process had handed to its kernel still arrives. */
static void a_killed_process_has_said_what_it_said(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, 6);
    sim_net_delay(pair.sim, 5000, 5000);
    assert_true(say(&pair.caller, "last words"));
    sim_run_ms(pair.sim, 7); /* heard and answered, the answer on its way */
    assert_int_equal(pair.caller.heard.size, 0);
    sim_machine_kill(pair.far);
    sim_run_ms(pair.sim, 100);
    assert_string_equal(pair.caller.heard.data, "last words");
    assert_int_equal(pair.caller.ends, 1);
    pair_close(&pair);
}

/* Whatever the network does, what is heard is the beginning of what was said, in order, once; and without resets all of it. */
static void what_is_heard_is_a_prefix_of_what_was_said(void **state)
{
    (void)state;
    int whole = 0, cut_short = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct pair pair;
        pair_open(&pair, seed);
        struct random *random = sim_random(pair.sim);
        bool has_resets = seed % 2;
        sim_net_delay(pair.sim, 10, 1 + (int64_t)random_below(random, 20000));
        struct text said = {0};
        for (int step = 0; step < 40; step++) {
            char words[3000];
            size_t size = 1 + random_below(random, sizeof words - 1);
            for (size_t i = 0; i < size; i++) words[i] = (char)('a' + random_below(random, 26));
            words[size] = 0;
            if (say(&pair.caller, words)) text_addz(&said, words);
            switch (random_below(random, 8)) {
            case 0: sim_net_cut(pair.sim, pair.near, pair.far, true); break;
            case 1: sim_net_cut(pair.sim, pair.near, pair.far, false); break;
            case 2: sim_machine_pause(pair.far, (int64_t)random_below(random, 100)); break;
            case 3:
                if (has_resets && random_below(random, 4) == 0) sim_net_reset_one(pair.sim);
                break;
            default: break;
            }
            sim_run_ms(pair.sim, (int64_t)random_below(random, 60));
        }
        sim_net_cut(pair.sim, pair.near, pair.far, false);
        sim_run_ms(pair.sim, 20000);
        assert_true(pair.caller.heard.size <= said.size);
        if (pair.caller.heard.size)
            assert_memory_equal(pair.caller.heard.data, said.data, pair.caller.heard.size);
        bool is_whole = pair.caller.heard.size == said.size;
        if (!pair.caller.ends) assert_true(is_whole);
        if (!has_resets) assert_int_equal(pair.caller.ends, 0);
        whole += is_whole;
        cut_short += !is_whole;
        text_free(&said);
        pair_close(&pair);
    }
    assert_true(whole >= 30 && cut_short > 5);
}

/* A crash in the middle of a callback: the rest of it runs on dead things, nobody hears it, and all can be freed. */
static void the_dead_are_harmless(void **state)
{
    (void)state;
    for (int write = 1; write <= 2; write++) {
        struct pair pair;
        pair_open(&pair, 7);
        sim_machine_crash_at_write(pair.far, write);
        assert_true(say(&pair.caller, "boom"));
        sim_run_ms(pair.sim, 5000);
        assert_int_equal(sim_machine_crashes(pair.far), 1);
        /* 1: within the write, before the answer was queued. 2: within the sync, on the lane. */
        assert_int_equal(pair.caller.heard.size, write == 1 ? 0 : 4);
        assert_int_equal(pair.caller.ends, 1);
        struct loop_message message = {NULL, (void (*)(struct loop_message *))abort};
        struct loop_timer timer = {.run = (void (*)(struct loop_timer *))abort};
        loop_post(pair.server.loop, &message);
        loop_defer(pair.server.loop, &message);
        loop_timer_start(pair.server.loop, &timer, 0);
        loop_timer_stop(pair.server.loop, &timer);
        loop_stop(pair.server.loop);
        struct listener *listener;
        assert_int_equal(stream_listen(pair.server.loop, "", 1, 0, server_accept, NULL, &listener),
                         ERR_CLOSED);
        sim_run_ms(pair.sim, 1000);
        pair_close(&pair);
    }
    /* And abandoned ones go with the world (as far as they are of loop/). */
    struct pair pair;
    pair_open(&pair, 8);
    assert_true(say(&pair.caller, "boom"));
    sim_run_ms(pair.sim, 50);
    sim_machine_crash(pair.far);
    sim_machine_crash(pair.near);
    free(pair.server.guests);
    text_free(&pair.caller.heard);
    sim_free(pair.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_lives_the_same_life),
        cmocka_unit_test(time_is_virtual),
        cmocka_unit_test(a_slow_disk_holds_up_its_lane_only),
        cmocka_unit_test(a_cut_holds_words_back_until_it_heals),
        cmocka_unit_test(a_cut_of_one_way_lets_the_other_through),
        cmocka_unit_test(names_without_machines_and_ports_without_listeners_fail),
        cmocka_unit_test(resets_and_deaths_end_connections),
        cmocka_unit_test(a_killed_process_has_said_what_it_said),
        cmocka_unit_test(what_is_heard_is_a_prefix_of_what_was_said),
        cmocka_unit_test(the_dead_are_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
