/* keeper_wire_test.c: a keeper's sockets, over the simulated network: opening, moving and losing sessions, order, limits,
 * four-letter words, nonsense. */
#include "keeper/wire_bench.h"

/* --- sessions --- */

static void a_session_opens_moves_and_is_refused(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *old = dial(bench);
    assert_int_equal(shake(old, 0, NULL, 0, 1, false),
                     36);                           /* an old client: no readOnly, and none in the answer */
    assert_int_equal(old->timeout_ms, 2 * TICK_MS); /* clamped */
    struct client *first = open_client(bench);
    assert_int_equal(first->timeout_ms, 10000);
    send_create(first, 1, "/mine", 1, 1);
    assert_int_equal(answer_code(first, 1), 0);

    struct client *thief = dial(bench);
    uint8_t wrong[PASSWORD_SIZE] = {1};
    assert_int_equal(shake(thief, first->session, wrong, 0, 10000, true), 37);
    assert_int_equal(thief->timeout_ms, 0);
    assert_cut(thief);
    assert_false(first->is_closed);

    /* With the password it moves: the old connection is cut, the ephemeral stays. */
    struct client *second = dial(bench);
    assert_int_equal(shake(second, first->session, first->password, 0, 10000, true), 37);
    assert_true(second->session == first->session);
    assert_cut(first);
    send_path(second, 2, OP_EXISTS, "/mine", 0);
    assert_int_equal(answer_code(second, 2), 0);

    struct client *ahead = dial(bench);
    assert_int_equal(shake(ahead, 0, NULL, 1 << 20, 10000, true), 0); /* it has seen what we have not */
    assert_true(ahead->is_closed);
    struct client *unknown = dial(bench);
    assert_int_equal(shake(unknown, 42, NULL, 0, 10000, true), 37);
    assert_int_equal(unknown->timeout_ms, 0);

    send_path(second, 3, OP_CLOSE_SESSION, NULL, -1);
    assert_int_equal(answer_code(second, 3), 0);
    assert_cut(second);
    assert_int_equal(stats_of(bench).ephemeral_count, 0);
    struct client *late = dial(bench);
    assert_int_equal(shake(late, second->session, second->password, 0, 10000, true), 37);
    assert_int_equal(late->timeout_ms, 0);
    bench_free(bench);
}

static void silence_ends_a_session_and_a_ping_keeps_it(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *silent = open_client(bench), *pinging = open_client(bench);
    send_create(silent, 1, "/silent", 1, 1);
    send_create(pinging, 1, "/pinging", 1, 1);
    assert_int_equal(answer_code(silent, 1), 0);
    assert_int_equal(answer_code(pinging, 1), 0);
    for (int i = 0; i < 9; i++) {
        sim_run_ms(bench->sim, 1000);
        send_path(pinging, -2, OP_PING, NULL, -1);
        assert_int_equal(answer_code(pinging, -2), 0);
    }
    assert_int_equal(stats_of(bench).ephemeral_count, 2); /* not before its time */
    for (int i = 0; i < 3; i++) {
        sim_run_ms(bench->sim, 1000);
        send_path(pinging, -2, OP_PING, NULL, -1);
        assert_int_equal(answer_code(pinging, -2), 0);
    }
    assert_int_equal(stats_of(bench).ephemeral_count, 1);
    assert_true(silent->is_closed);

    /* A restart gives it its full timeout again. */
    stop(bench);
    start(bench);
    sim_run_ms(bench->sim, 9000);
    struct client *back = dial(bench);
    assert_int_equal(shake(back, pinging->session, pinging->password, 0, 10000, true), 37);
    assert_true(back->session == pinging->session);
    bench_free(bench);
}

/* Its process died: the kernel closes what it had open, and says so at once. */
static void a_broker_that_is_gone_is_not_waited_for(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *others = open_client(bench), *broker = dial(bench), *quick = dial(bench);
    broker->is_broker = quick->is_broker = true;
    assert_int_equal(shake(broker, 0, NULL, 0, 10000, true), 37);
    assert_int_equal(shake(quick, 0, NULL, 0, 10000, true), 37);
    struct client *clients[] = {others, broker, quick};
    const char *paths[] = {"/others", "/broker", "/quick"};
    for (int i = 0; i < 3; i++) {
        send_create(clients[i], 1, paths[i], 1, 1);
        assert_int_equal(answer_code(clients[i], 1), 0);
        stream_close(&clients[i]->stream);
    }
    sim_run_ms(bench->sim, 100);
    assert_int_equal(stats_of(bench).ephemeral_count, 3);
    struct client *back = dial(bench); /* it lost its connection, and lives */
    back->is_broker = true;
    assert_int_equal(shake(back, quick->session, quick->password, 0, 10000, true), 37);
    assert_true(back->session == quick->session);
    sim_run_ms(bench->sim, 400);
    assert_int_equal(stats_of(bench).ephemeral_count, 2);
    sim_run_ms(bench->sim, 5000); /* ZooKeeper's rule for the others */
    assert_int_equal(stats_of(bench).ephemeral_count, 2);
    bench_free(bench);
}

/* A write waits for a slow disk, and the pings behind it; the broker tries another connection, which waits for the same log. */
static void a_broker_that_is_back_is_not_ended_by_a_slow_disk(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *broker = dial(bench);
    broker->is_broker = true;
    assert_int_equal(shake(broker, 0, NULL, 0, 10000, true), 37);
    send_create(broker, 1, "/broker", 1, 1);
    assert_int_equal(answer_code(broker, 1), 0);
    sim_disk_slow(bench->server, 3000, 1);
    send_create(broker, 2, "/slow", 0, 1);
    sim_run_ms(bench->sim, 100);
    stream_close(&broker->stream);
    sim_run_ms(bench->sim, 50);
    struct client *back = dial(bench);
    back->is_broker = true;
    assert_int_equal(shake(back, broker->session, broker->password, 0, 10000, true), 37);
    assert_true(back->session == broker->session);
    sim_run_ms(bench->sim, 1000);
    assert_int_equal(stats_of(bench).ephemeral_count, 1);
    bench_free(bench);
}

/* --- order --- */

static void answers_keep_their_order(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *client = open_client(bench);
    sim_disk_slow(bench->server, 100, 3);
    int32_t xid = 0;
    send_create(client, ++xid, "/a", 0, 10);
    send_path(client, ++xid, OP_GET_DATA, "/a", 1); /* sees the creation it was sent behind */
    send_create(client, ++xid, "/a/b", 0, 0);
    send_path(client, ++xid, OP_GET_CHILDREN, "/a", 1);
    send_path(client, ++xid, OP_SYNC, "/a", -1);
    send_path(client, -2, OP_PING, NULL, -1);
    send_path(client, ++xid, OP_DELETE_CONTAINER, "/a/b", -1);
    static const struct {
        int32_t xid, err;
        size_t size; /* 0: do not care */
    } want[] = {
        {1, 0, 16 + 6}, {2, 0, 16 + 14 + 68}, {3, 0, 0},  {4, 0, 16 + 4 + 5},
        {5, 0, 0},      {-2, 0, 16},          {-1, 0, 0}, /* the event of its own deletion comes before the answer */
        {6, 0, 0},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct answer answer;
        assert_true(take_answer(client, &answer));
        if (answer.xid != want[i].xid || answer.err != want[i].err ||
            (want[i].size && answer.size != want[i].size)) {
            fail_msg("answer %zu: xid %d err %d, %zu bytes", i, answer.xid, answer.err, answer.size);
        }
    }
    bench_free(bench);
}

static void a_thousand_writes_at_once_share_few_syncs(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *client = open_client(bench);
    for (int i = 1; i <= 3000; i++) {
        char path[16];
        snprintf(path, sizeof path, "/n%d", i);
        send_create(client, i, path, 0, 20);
    }
    for (int i = 1; i <= 3000; i++) assert_int_equal(answer_code(client, i), 0);
    struct keeper_stats stats = stats_of(bench);
    assert_true(stats.log_syncs < 100);
    assert_int_equal(stats.outstanding, 0);
    assert_int_equal(stats.znode_count, 5 + 3000);
    bench_free(bench);
}

/* --- limits --- */

static void nonsense_is_cut_and_the_others_are_served(void **state)
{
    static const struct {
        const char *sentence;
        const char *bytes;
        size_t size;
    } rows[] = {
        {"a negative length", "\xff\xff\xff\xff", 4},
        {"a length over jute.maxbuffer", "\x00\x10\x00\x00", 4},
        {"an HTTP request", "GET / HTTP/1.1\r\n\r\n", 18},
        {"an empty ConnectRequest", "\0\0\0\0", 4},
        {"a short ConnectRequest", "\0\0\0\x08\0\0\0\0\0\0\0\0", 12},
    };
    struct bench *bench = bench_new();
    start(bench);
    struct client *good = open_client(bench);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct client *bad = dial(bench);
        send_raw(bad, (struct slice){(const uint8_t *)rows[i].bytes, rows[i].size});
        if (!sim_run_until(bench->sim, has_closed, bad, 1000)) fail_msg("%s", rows[i].sentence);
        assert_int_equal(bad->in.size, 0);
    }
    /* Within a session: an unknown operation is answered, then cut; a word is a length there. */
    struct client *odd = open_client(bench);
    send_path(odd, 1, 9999, NULL, -1);
    struct answer answer = {0};
    assert_true(take_answer(odd, &answer));
    assert_true(answer.err == -6 && answer.zxid == -1);
    assert_cut(odd);
    struct client *wordy = open_client(bench);
    send_raw(wordy, SLICE("srvr"));
    assert_cut(wordy);
    assert_int_equal(wordy->in.size, 0);
    send_path(good, 1, OP_EXISTS, "/", 0);
    assert_int_equal(answer_code(good, 1), 0);
    sim_run_ms(bench->sim, 4000);
    assert_int_equal(stats_of(bench).connection_count, 1);
    bench_free(bench);
}

static void connections_are_counted_by_address(void **state)
{
    struct bench *bench = bench_new();
    bench->config.max_client_cnxns = 3;
    start(bench);
    struct client *kept[3];
    for (int i = 0; i < 3; i++) kept[i] = open_client(bench);
    struct client *over = dial(bench);
    assert_cut(over);
    stream_close(&kept[0]->stream);
    sim_run_ms(bench->sim, 100);
    open_client(bench);
    assert_int_equal(stats_of(bench).connection_count, 3);
    bench_free(bench);
}

static void a_connection_without_a_session_does_not_stay(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *idle = dial(bench), *half = dial(bench);
    send_raw(half, (struct slice){(const uint8_t *)"\0\0\0\x2d\0", 5});
    sim_run_ms(bench->sim, 9000);
    assert_int_equal(stats_of(bench).connection_count, 2);
    assert_cut(idle);
    assert_cut(half);
    bench_free(bench);
}

/* A client that asks for much and reads nothing is not read any more; one that lets events pile up is cut. */
static void a_slow_reader_costs_little(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *slow = open_client(bench), *good = open_client(bench);
    send_create(good, 1, "/big", 0, 500000);
    assert_int_equal(answer_code(good, 1), 0);
    slow->is_deaf = true;
    for (int i = 1; i <= 400; i++) send_path(slow, i, OP_GET_DATA, "/big", 0);
    sim_run_ms(bench->sim, 2000);
    int64_t sent = stats_of(bench).packets_sent;
    send_path(good, 2, OP_EXISTS, "/big", 0);
    assert_int_equal(answer_code(good, 2), 0);
    assert_true(sent < 100); /* of the 400: what the socket and one megabyte hold */
    slow->is_deaf = false;
    stream_set_reading(slow->stream, true);
    for (int i = 1; i <= 400; i++) assert_int_equal(answer_code(slow, i), 0);
    bench_free(bench);
}

/* --- words --- */

static void words_are_answered_and_the_rest_is_not(void **state)
{
    struct bench *bench = bench_new();
    bench->config.four_letter_words = "srvr, ruok,wchc";
    start(bench);
    struct client *watching = open_client(bench);
    send_path(watching, 1, OP_EXISTS, "/none", 1);
    assert_int_equal(answer_code(watching, 1), -101);
    static const struct {
        const char *word, *begins;
    } rows[] = {
        {"ruok", "imok"}, {"srvr", "Zookeeper version: 3."},
        {"wchc", "0x1"},  {"mntr", "mntr is not executed because it is not in the whitelist.\n"},
        {"abcd", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct client *client = dial(bench);
        send_raw(client, (struct slice){(const uint8_t *)rows[i].word, 2}); /* in two packets */
        sim_run_ms(bench->sim, 50);
        send_raw(client, (struct slice){(const uint8_t *)rows[i].word + 2, 2});
        assert_cut(client);
        text_addc(&client->in, 0);
        if (strncmp(client->in.data, rows[i].begins, strlen(rows[i].begins)) != 0) {
            fail_msg("%s: %s", rows[i].word, client->in.data);
        }
    }
    bench_free(bench);
}

static void all_words_have_something_to_say(void **state)
{
    static const char *const words[] = {"conf", "cons", "crst", "dirs", "dump", "envi", "gtmk",
                                        "isro", "mntr", "srst", "stat", "wchp", "wchs"};
    struct bench *bench = bench_new();
    bench->config.four_letter_words = "*";
    bench->config.max_client_cnxns = 0;
    start(bench);
    struct client *client = open_client(bench);
    send_create(client, 1, "/e", 1, 1);
    assert_int_equal(answer_code(client, 1), 0);
    send_path(client, 2, OP_GET_CHILDREN, "/", 1);
    assert_int_equal(answer_code(client, 2), 0);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        bench->client_count = 1;
        struct client *asking = dial(bench);
        send_raw(asking, (struct slice){(const uint8_t *)words[i], 4});
        assert_cut(asking);
        if (asking->in.size == 0) fail_msg("%s", words[i]);
        text_free(&asking->in);
    }
    bench_free(bench);
}

/* --- ACLs over the wire --- */

static void send_auth(struct client *client, const char *scheme, const char *secret)
{
    struct text out = {0};
    add_header(&out, -4, OP_AUTH);
    text_add_be32(&out, 0);
    jute_add_bytes(&out, slice_of(scheme));
    jute_add_bytes(&out, secret ? slice_of(secret) : SLICE_NULL);
    send_frame(client, &out);
    text_free(&out);
}

static void send_digest_create(struct client *client, int32_t xid, const char *path, const char *id)
{
    struct text out = {0};
    add_header(&out, xid, OP_CREATE);
    jute_add_bytes(&out, slice_of(path));
    jute_add_bytes(&out, SLICE("secret"));
    text_add_be32(&out, 1);
    text_add_be32(&out, ACL_ALL);
    jute_add_bytes(&out, SLICE("digest"));
    jute_add_bytes(&out, slice_of(id));
    text_add_be32(&out, 0);
    send_frame(client, &out);
    text_free(&out);
}

static void auth_opens_what_it_should(void **state)
{
    struct bench *bench = bench_new();
    bench->config.super_digest =
        "super:D/InIHSb7yEEbrWz8b9l71RjZJU="; /* super:test, as ZooKeeper's own tests have it */
    start(bench);
    struct client *client = open_client(bench), *super = open_client(bench), *failed = open_client(bench),
                  *nobody = open_client(bench);
    send_digest_create(client, 1, "/closed", "user:smGaoVKd/cQkjm7b88GyorAUz20="); /* user:pass */
    assert_int_equal(answer_code(client, 1), 0);
    send_path(client, 2, OP_GET_DATA, "/closed", 0);
    assert_int_equal(answer_code(client, 2), -102);
    send_auth(client, "digest", "user:pass");
    assert_int_equal(answer_code(client, -4), 0);
    send_path(client, 3, OP_GET_DATA, "/closed", 0);
    assert_int_equal(answer_code(client, 3), 0);
    send_auth(super, "digest", "super:test");
    assert_int_equal(answer_code(super, -4), 0);
    send_path(super, 1, OP_GET_DATA, "/closed", 0);
    assert_int_equal(answer_code(super, 1), 0);
    send_auth(failed, "nosuch", "x");
    assert_int_equal(answer_code(failed, -4), -115);
    assert_cut(failed);
    send_auth(nobody, "digest", ""); /* a user without a name */
    assert_int_equal(answer_code(nobody, -4), 0);
    send_auth(nobody, "digest", NULL);
    assert_int_equal(answer_code(nobody, -4), -115);
    assert_cut(nobody);
    bench_free(bench);
}

/* A client that means another ensemble is cut without a word, for it has other servers to try. */
static void only_of_the_ensemble_that_is_meant(void **state)
{
    for (int knows = 0; knows < 2; knows++) {
        struct bench *bench = bench_new();
        bench->config.knows_ensembles = knows;
        bench->config.ensemble_names = "blue, green";
        start(bench);
        struct client *client = open_client(bench);
        send_auth(client, "ensemble", "green");
        assert_int_equal(answer_code(client, -4), knows ? 0 : -115);
        if (knows) {
            send_auth(client, "ensemble", "");
            assert_int_equal(answer_code(client, -4), 0);
            send_digest_create(client, 1, "/a", "user:smGaoVKd/cQkjm7b88GyorAUz20=");
            assert_int_equal(answer_code(client, 1), 0);
            send_auth(client, "ensemble", "gree");
        }
        assert_cut(client);
        assert_int_equal(client->in.size, 0);
        bench_free(bench);
    }
}

static void quiet(void *context, enum diag_level level, const char *message)
{
}

int main(void)
{
    diag_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_opens_moves_and_is_refused),
        cmocka_unit_test(silence_ends_a_session_and_a_ping_keeps_it),
        cmocka_unit_test(a_broker_that_is_gone_is_not_waited_for),
        cmocka_unit_test(a_broker_that_is_back_is_not_ended_by_a_slow_disk),
        cmocka_unit_test(answers_keep_their_order),
        cmocka_unit_test(a_thousand_writes_at_once_share_few_syncs),
        cmocka_unit_test(nonsense_is_cut_and_the_others_are_served),
        cmocka_unit_test(connections_are_counted_by_address),
        cmocka_unit_test(a_connection_without_a_session_does_not_stay),
        cmocka_unit_test(a_slow_reader_costs_little),
        cmocka_unit_test(words_are_answered_and_the_rest_is_not),
        cmocka_unit_test(all_words_have_something_to_say),
        cmocka_unit_test(auth_opens_what_it_should),
        cmocka_unit_test(only_of_the_ensemble_that_is_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
