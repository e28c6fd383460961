/* One session under a scripted door: what it says, when it says it again, and what it does when things break. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/diag.h"
#include "base/random.h"
#include "coord/coord.h"
#include "coord/fake_keeper.h"

struct answer {
    int calls;
    enum error err;
    char data[64], path[64];
    int32_t version;
    size_t children, results, failed_index;
    enum error result_errs[4];
};

static void note(void *context, const struct coord_reply *reply)
{
    struct answer *answer = context;
    *answer = (struct answer){.calls = answer->calls + 1,
                              .err = reply->err,
                              .version = reply->stat.version,
                              .children = reply->child_count,
                              .results = reply->result_count,
                              .failed_index = reply->failed_index};
    slice_text(reply->data, answer->data, sizeof answer->data);
    slice_text(reply->path, answer->path, sizeof answer->path);
    for (size_t i = 0; i < reply->result_count && i < 4; i++) answer->result_errs[i] = reply->results[i].err;
}

struct events {
    int count;
    enum coord_event last;
    char path[64];
};

static void note_event(void *context, enum coord_event event, struct slice path)
{
    struct events *events = context;
    events->count++;
    events->last = event;
    slice_text(path, events->path, sizeof events->path);
}

struct states {
    char log[128]; /* C connected, D disconnected, E expired, N new session, A refused */
    struct coord_listener listener;
};

static void note_state(void *context, enum coord_state state)
{
    struct states *states = context;
    size_t at = strlen(states->log);
    if (at + 1 < sizeof states->log) states->log[at] = "CDENA"[state];
}

static void no_diag(void *context, enum diag_level level, const char *message)
{
    (void)context;
    (void)level;
    (void)message;
}

struct world {
    struct fake_keeper *fake;
    struct coord *coord;
    struct states states;
};

static struct world *world_new(const struct coord_options *options)
{
    struct world *world = calloc(1, sizeof *world);
    diag_set_sink(no_diag, NULL);
    world->fake = fake_keeper_new();
    world->coord = fake_keeper_coord(world->fake, options, 0);
    world->states.listener = (struct coord_listener){note_state, &world->states, NULL};
    coord_listen(world->coord, &world->states.listener);
    fake_keeper_advance(world->fake, 1);
    assert_true(coord_is_connected(world->coord));
    return world;
}

static void world_free(struct world *world)
{
    coord_close(&world->coord);
    fake_keeper_free(world->fake);
    diag_set_sink(NULL, NULL);
    free(world);
}

static void each_operation_answers_as_the_keeper_does(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct answer a = {0};

    coord_create(w->coord, SLICE("/a"), SLICE("one"), COORD_PERSISTENT, COORD_ACL_OPEN, note, &a);
    assert_int_equal(a.calls, 0);
    fake_keeper_run(w->fake);
    assert_int_equal(a.err, OK);
    assert_string_equal(a.path, "/a");
    coord_create(w->coord, SLICE("/a"), SLICE("one"), COORD_PERSISTENT, COORD_ACL_CREATOR, note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(a.err, ERR_ZK_NODE_EXISTS);
    coord_create(w->coord, SLICE("/a/s-"), SLICE_NULL, COORD_SEQUENTIAL, COORD_ACL_CREATOR_AND_READERS, note,
                 &a);
    fake_keeper_run(w->fake);
    assert_string_equal(a.path, "/a/s-0000000000");
    coord_get(w->coord, SLICE("/a/s-0000000000"), note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(a.err, OK);
    assert_string_equal(a.data, "");

    coord_set(w->coord, SLICE("/a"), SLICE("two"), 0, note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(a.err, OK);
    assert_int_equal(a.version, 1);
    coord_set(w->coord, SLICE("/a"), SLICE("three"), 0, note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(a.err, ERR_ZK_BAD_VERSION);
    coord_get(w->coord, SLICE("/a"), note, &a);
    fake_keeper_run(w->fake);
    assert_string_equal(a.data, "two");
    assert_int_equal(a.version, 1);
    coord_children(w->coord, SLICE("/a"), note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(a.children, 1);
    coord_exists(w->coord, SLICE("/b"), note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(a.err, ERR_ZK_NO_NODE);
    coord_delete(w->coord, SLICE("/a"), COORD_ANY_VERSION, note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(a.err, ERR_ZK_NOT_EMPTY);

    /* Answered before the call returns: what can never be sent. */
    a.calls = 0;
    coord_get(w->coord, SLICE("a"), note, &a);
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.err, ERR_ZK_BAD_ARGUMENTS);
    struct bytes *huge = bytes_new(COORD_MAX_MESSAGE + 1);
    huge->size = COORD_MAX_MESSAGE + 1;
    memset(huge->data, 'x', huge->size);
    coord_set(w->coord, SLICE("/a"), bytes_slice(huge), -1, note, &a);
    assert_int_equal(a.err, ERR_TOO_LARGE);
    bytes_release(&huge);
    world_free(w);
}

static void a_multi_does_all_or_nothing_and_names_the_step(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct answer a = {0};
    struct coord_op ops[] = {
        {.kind = COORD_CREATE, .path = SLICE("/e"), .data = SLICE("0"), .acl = COORD_ACL_OPEN},
        {.kind = COORD_SET, .path = SLICE("/e"), .data = SLICE("1"), .version = 0},
        {.kind = COORD_CHECK, .path = SLICE("/e"), .version = 1},
        {.kind = COORD_CREATE, .path = SLICE("/e/x"), .data = SLICE_NULL},
    };
    coord_multi(w->coord, ops, 4, note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(a.err, OK);
    assert_int_equal(a.results, 4);
    assert_true(fake_keeper_has(w->fake, "/e/x"));

    struct coord_op bad[] = {
        {.kind = COORD_DELETE, .path = SLICE("/e/x"), .version = -1},
        {.kind = COORD_CHECK, .path = SLICE("/e"), .version = 7},
        {.kind = COORD_DELETE, .path = SLICE("/e"), .version = -1},
    };
    coord_multi(w->coord, bad, 3, note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(a.err, ERR_ZK_BAD_VERSION);
    assert_int_equal(a.failed_index, 1);
    assert_int_equal(a.result_errs[0], OK);
    assert_int_equal(a.result_errs[2], ERR_ZK_RUNTIME_INCONSISTENCY);
    assert_true(fake_keeper_has(w->fake, "/e/x"));

    coord_multi(w->coord, NULL, 0, note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(a.err, OK);
    world_free(w);
}

static void at_most_ten_are_in_flight_and_answers_keep_their_order(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    static struct answer answers[100];
    memset(answers, 0, sizeof answers);
    fake_keeper_put(w->fake, "/n", SLICE("x"), 0);
    for (int i = 0; i < 100; i++) coord_set(w->coord, SLICE("/n"), SLICE("y"), i, note, &answers[i]);
    fake_keeper_run(w->fake);
    assert_int_equal(fake_keeper_max_in_flight(w->fake), COORD_MAX_IN_FLIGHT);
    for (int i = 0; i < 100; i++)
        assert_int_equal(answers[i].err, OK); /* each found the version of the one before */
    world_free(w);
}

static void a_watch_fires_once_and_survives_a_reconnect(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct events node = {0}, absent = {0}, children = {0};
    struct answer a = {0};
    fake_keeper_put(w->fake, "/w", SLICE("0"), 0);
    assert_int_equal(coord_watch(w->coord, COORD_WATCH_NODE, SLICE("/w"), note_event, &node), OK);
    assert_int_equal(coord_watch(w->coord, COORD_WATCH_NODE, SLICE("/w/n"), note_event, &absent), OK);
    assert_int_equal(coord_watch(w->coord, COORD_WATCH_CHILDREN, SLICE("/w"), note_event, &children), OK);
    coord_exists(w->coord, SLICE("/no-handler"), note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(fake_keeper_armed(w->fake), 0);

    coord_get(w->coord, SLICE("/w"), note, &a);
    coord_exists(w->coord, SLICE("/w/n"), note, &a);
    coord_children(w->coord, SLICE("/w"), note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(fake_keeper_armed(w->fake), 3);

    /* All three change while the connection is down: SetWatches brings the news. */
    fake_keeper_cut(w->fake);
    fake_keeper_put(w->fake, "/w", SLICE("1"), 0);
    fake_keeper_put(w->fake, "/w/n", SLICE("2"), 0);
    fake_keeper_advance(w->fake, 2000);
    assert_true(coord_is_connected(w->coord));
    assert_int_equal(node.count, 1);
    assert_int_equal(node.last, COORD_NODE_CHANGED);
    assert_int_equal(absent.count, 1);
    assert_int_equal(absent.last, COORD_NODE_CREATED);
    assert_int_equal(children.count, 1);
    assert_int_equal(children.last, COORD_CHILDREN_CHANGED);

    fake_keeper_put(w->fake, "/w", SLICE("3"), 0);
    fake_keeper_run(w->fake);
    assert_int_equal(node.count, 1); /* not read again, so not armed */

    coord_get(w->coord, SLICE("/w"), note, &a);
    coord_children(w->coord, SLICE("/w"), note, &a);
    fake_keeper_run(w->fake);
    coord_unwatch(w->coord, COORD_WATCH_NODE, SLICE("/w"));
    fake_keeper_remove(w->fake, "/w");
    fake_keeper_run(w->fake);
    assert_int_equal(node.count, 1);
    assert_int_equal(children.count, 2);
    /* Removing /w/n was the first news of its children; that /w went after it is not told again. */
    assert_int_equal(children.last, COORD_CHILDREN_CHANGED);
    world_free(w);
}

static void what_was_in_flight_is_sent_again(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct answer first = {0}, second = {0};
    coord_create(w->coord, SLICE("/r"), SLICE("x"), COORD_PERSISTENT, COORD_ACL_OPEN, note, &first);
    fake_keeper_cut(w->fake); /* never arrived */
    fake_keeper_advance(w->fake, 2000);
    assert_int_equal(first.calls, 1);
    assert_int_equal(first.err, OK);

    coord_create(w->coord, SLICE("/q"), SLICE("x"), COORD_PERSISTENT, COORD_ACL_OPEN, note, &second);
    fake_keeper_cut_answers(w->fake); /* done, but nobody told us */
    fake_keeper_advance(w->fake, 2000);
    assert_int_equal(second.calls, 1);
    assert_int_equal(second.err, ERR_ZK_NODE_EXISTS);
    assert_string_equal(w->states.log, "NCDCDC");
    world_free(w);
}

static void an_expired_session_fails_what_waited_and_a_new_one_begins(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct answer before = {0}, after = {0};
    struct events node = {0};
    assert_int_equal(coord_watch(w->coord, COORD_WATCH_NODE, SLICE("/x"), note_event, &node), OK);
    coord_exists(w->coord, SLICE("/x"), note, &after);
    coord_create(w->coord, SLICE("/mine"), SLICE("x"), COORD_EPHEMERAL, COORD_ACL_OPEN, note, &before);
    fake_keeper_run(w->fake);
    int64_t session = coord_session_id(w->coord);
    coord_set(w->coord, SLICE("/mine"), SLICE("y"), -1, note, &before);
    fake_keeper_expire(w->fake, session);
    assert_false(fake_keeper_has(w->fake, "/mine"));
    fake_keeper_advance(w->fake, 2000);
    assert_int_equal(before.err, ERR_ZK_SESSION_EXPIRED);
    assert_string_equal(w->states.log, "NCDENC");
    assert_true(coord_session_id(w->coord) != session);
    assert_int_equal(fake_keeper_armed(w->fake), 0);
    coord_exists(w->coord, SLICE("/x"), note, &after);
    fake_keeper_run(w->fake);
    fake_keeper_put(w->fake, "/x", SLICE(""), 0);
    fake_keeper_run(w->fake);
    assert_int_equal(node.count, 1);
    world_free(w);
}

static void pings_keep_the_session_and_silence_ends_the_connection(void **state)
{
    (void)state;
    struct world *w = world_new(&(struct coord_options){.session_timeout_ms = 6000});
    fake_keeper_advance(w->fake, 600000);
    assert_string_equal(w->states.log, "NC");
    fake_keeper_refuse(w->fake, true);
    fake_keeper_cut(w->fake);
    fake_keeper_advance(w->fake, 3000);
    fake_keeper_refuse(w->fake, false);
    fake_keeper_advance(w->fake, 1100);
    assert_string_equal(w->states.log, "NCDC");
    fake_keeper_refuse(w->fake, true);
    fake_keeper_cut(w->fake);
    fake_keeper_advance(w->fake, 20000);
    fake_keeper_refuse(w->fake, false);
    fake_keeper_advance(w->fake, 1100);
    assert_string_equal(w->states.log, "NCDCDENC");
    world_free(w);
}

static void the_chroot_is_made_once_and_seen_by_nobody(void **state)
{
    (void)state;
    struct world *w = world_new(&(struct coord_options){.chroot = "/kafka/one"});
    struct answer a = {0};
    struct events node = {0};
    assert_true(fake_keeper_has(w->fake, "/kafka/one"));
    assert_int_equal(coord_watch(w->coord, COORD_WATCH_NODE, SLICE("/t"), note_event, &node), OK);
    coord_exists(w->coord, SLICE("/t"), note, &a);
    coord_create(w->coord, SLICE("/t"), SLICE("x"), COORD_PERSISTENT, COORD_ACL_OPEN, note, &a);
    fake_keeper_run(w->fake);
    assert_string_equal(a.path, "/t");
    assert_string_equal(node.path, "/t");
    assert_true(fake_keeper_has(w->fake, "/kafka/one/t"));
    coord_children(w->coord, SLICE("/"), note, &a);
    fake_keeper_run(w->fake);
    assert_int_equal(a.children, 1);
    int64_t writes = fake_keeper_writes(w->fake);
    struct coord *other = fake_keeper_coord(w->fake, &(struct coord_options){.chroot = "/kafka/one/"}, 0);
    fake_keeper_advance(w->fake, 10);
    assert_int_equal(fake_keeper_writes(w->fake), writes);
    coord_close(&other);
    world_free(w);
}

static void the_session_of_a_former_process_is_ended_first(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct answer a = {0};
    coord_create(w->coord, SLICE("/id"), SLICE("x"), COORD_EPHEMERAL, COORD_ACL_OPEN, note, &a);
    fake_keeper_run(w->fake);
    int64_t session = fake_keeper_remembered(w->fake);
    assert_int_equal(session, coord_session_id(w->coord));
    coord_close(&w->coord); /* as kill -9 does */
    assert_true(fake_keeper_has(w->fake, "/id"));

    w->coord = fake_keeper_coord(w->fake, NULL, session);
    fake_keeper_advance(w->fake, 1);
    assert_true(coord_is_connected(w->coord));
    assert_false(fake_keeper_has(w->fake, "/id"));
    assert_true(coord_session_id(w->coord) != session);

    /* One that ended long ago does not stop us either. */
    coord_close(&w->coord);
    w->coord = fake_keeper_coord(w->fake, NULL, session);
    fake_keeper_advance(w->fake, 1);
    assert_true(coord_is_connected(w->coord));
    world_free(w);
}

static void count_call(void *context)
{
    ++*(int *)context;
}

static void finishing_ends_the_session_at_once(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct answer a = {0}, late = {0};
    int done = 0;
    coord_create(w->coord, SLICE("/id"), SLICE("x"), COORD_EPHEMERAL, COORD_ACL_OPEN, note, &a);
    fake_keeper_run(w->fake);
    coord_get(w->coord, SLICE("/id"), note, &a);
    coord_finish(w->coord, 1000, count_call, &done);
    assert_int_equal(a.err, ERR_CLOSED);
    coord_get(w->coord, SLICE("/id"), note, &late);
    assert_int_equal(late.err, ERR_CLOSED);
    fake_keeper_run(w->fake);
    assert_int_equal(done, 1);
    assert_false(fake_keeper_has(w->fake, "/id"));
    assert_int_equal(fake_keeper_remembered(w->fake), 0);
    world_free(w);
}

static void a_malformed_answer_costs_the_connection_not_the_process(void **state)
{
    (void)state;
    static const struct {
        const char *why, *bytes;
        size_t size;
    } cases[] = {
        {"no header", "\0\0", 2},
        {"another request's", "\0\0\0\77\0\0\0\0\0\0\0\1\0\0\0\0", 16},
        {"no body", "\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0", 16},
        {"data longer than the answer", "\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\77\0\0\0x", 21},
        {"negative length", "\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\200\0\0\0x", 21},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = world_new(NULL);
        struct answer a = {0};
        fake_keeper_put(w->fake, "/n", SLICE("x"), 0);
        fake_keeper_garble(w->fake, (struct slice){(const uint8_t *)cases[i].bytes, cases[i].size});
        coord_get(w->coord, SLICE("/n"), note, &a);
        fake_keeper_advance(w->fake, 2000);
        if (a.calls != 1 || a.err != OK) fail_msg("%s", cases[i].why);
        assert_string_equal(w->states.log, "NCDC");
        world_free(w);
    }
}

/* --- random lives --- */

struct life {
    int next_answer; /* answers come in the order of questions */
    int asked;
    int last_ok[4];
    int maybe[4]; /* the latest that failed by expiry after last_ok: may or may not have been done */
    uint64_t seed;
};

struct question {
    struct life *life;
    int number, node;
};

static void note_in_order(void *context, const struct coord_reply *reply)
{
    struct question *question = context;
    struct life *life = question->life;
    if (question->number != life->next_answer)
        fail_msg("seed %llu: answer out of order", (unsigned long long)life->seed);
    life->next_answer++;
    if (reply->err == OK) {
        life->last_ok[question->node] = question->number;
        life->maybe[question->node] = -1;
    } else {
        assert_int_equal(reply->err, ERR_ZK_SESSION_EXPIRED);
        life->maybe[question->node] = question->number;
    }
    free(question);
}

static void every_question_is_answered_once_whatever_breaks(void **state)
{
    (void)state;
    static const char *nodes[4] = {"/a", "/b", "/c", "/d"};
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct world *w = world_new(NULL);
        struct random random;
        random_seed(&random, seed);
        struct life life = {.seed = seed, .last_ok = {-1, -1, -1, -1}, .maybe = {-1, -1, -1, -1}};
        for (int i = 0; i < 4; i++) fake_keeper_put(w->fake, nodes[i], SLICE("-1"), 0);
        for (int turn = 0; turn < 300; turn++) {
            uint64_t draw = random_below(&random, 100);
            if (draw < 50) {
                struct question *question = malloc(sizeof *question);
                *question = (struct question){&life, life.asked++, (int)random_below(&random, 4)};
                char text[16];
                snprintf(text, sizeof text, "%d", question->number);
                coord_set(w->coord, slice_of(nodes[question->node]), slice_of(text), -1, note_in_order,
                          question);
            } else if (draw < 90) {
                for (uint64_t n = random_below(&random, 12); n > 0; n--) fake_keeper_step(w->fake);
            } else if (draw < 93) {
                fake_keeper_cut(w->fake);
            } else if (draw < 96) {
                fake_keeper_cut_answers(w->fake);
            } else if (draw < 97) {
                fake_keeper_expire(w->fake, coord_session_id(w->coord));
            } else {
                fake_keeper_advance(w->fake, (int64_t)random_below(&random, 3000));
            }
        }
        fake_keeper_advance(w->fake, 5000);
        assert_int_equal(life.next_answer, life.asked);
        for (int i = 0; i < 4; i++) {
            char ok[16], maybe[16];
            snprintf(ok, sizeof ok, "%d", life.last_ok[i]);
            snprintf(maybe, sizeof maybe, "%d", life.maybe[i]);
            struct slice data = fake_keeper_data(w->fake, nodes[i]);
            bool is_right = slice_is(data, ok) || life.maybe[i] >= 0;
            if (!is_right)
                fail_msg("seed %llu: %s is %.*s, not %s", (unsigned long long)seed, nodes[i], SLICE_ARG(data),
                         ok);
        }
        world_free(w);
    }
}

static void count_warnings(void *context, enum diag_level level, const char *message)
{
    (void)message;
    *(int *)context += level == DIAG_WARN;
}

/* Once when it has been away for longer than a session lasts, and once when it is back. */
static void a_keeper_that_stays_away_is_said_once(void **state)
{
    (void)state;
    struct world *w = world_new(&(struct coord_options){.session_timeout_ms = 6000});
    int warnings = 0;
    diag_set_sink(count_warnings, &warnings);
    fake_keeper_refuse(w->fake, true);
    fake_keeper_cut(w->fake);
    fake_keeper_advance(w->fake, 3000);
    fake_keeper_refuse(w->fake, false);
    fake_keeper_advance(w->fake, 3000);
    assert_true(coord_is_connected(w->coord));
    assert_int_equal(warnings, 0);
    fake_keeper_refuse(w->fake, true);
    fake_keeper_cut(w->fake);
    fake_keeper_advance(w->fake, 600000);
    assert_int_equal(warnings, 1);
    fake_keeper_refuse(w->fake, false);
    fake_keeper_advance(w->fake, 10000);
    assert_true(coord_is_connected(w->coord));
    assert_in_range(warnings, 2, 3); /* and that the session is over */
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_operation_answers_as_the_keeper_does),
        cmocka_unit_test(a_multi_does_all_or_nothing_and_names_the_step),
        cmocka_unit_test(at_most_ten_are_in_flight_and_answers_keep_their_order),
        cmocka_unit_test(a_watch_fires_once_and_survives_a_reconnect),
        cmocka_unit_test(what_was_in_flight_is_sent_again),
        cmocka_unit_test(an_expired_session_fails_what_waited_and_a_new_one_begins),
        cmocka_unit_test(pings_keep_the_session_and_silence_ends_the_connection),
        cmocka_unit_test(the_chroot_is_made_once_and_seen_by_nobody),
        cmocka_unit_test(the_session_of_a_former_process_is_ended_first),
        cmocka_unit_test(finishing_ends_the_session_at_once),
        cmocka_unit_test(a_malformed_answer_costs_the_connection_not_the_process),
        cmocka_unit_test(every_question_is_answered_once_whatever_breaks),
        cmocka_unit_test(a_keeper_that_stays_away_is_said_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
