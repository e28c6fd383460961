/* keeper_cases_test.c: hard cases over the simulated network that clients and operators meet seldom (docs/keeper-cases.md). */
#include "keeper/wire_bench.h"

/* --- containers and znodes with a time to live --- */

static void send_create_ttl(struct client *client, int32_t xid, const char *path, int64_t ttl_ms)
{
    struct text out = {0};
    add_create(&out, xid, OP_CREATE_TTL, path, 5, 1);
    text_add_be64(&out, (uint64_t)ttl_ms);
    send_frame(client, &out);
    text_free(&out);
}

static bool is_there(struct client *client, const char *path)
{
    send_path(client, 99, OP_EXISTS, path, 0);
    int32_t err = answer_code(client, 99);
    assert_true(err == 0 || err == -101);
    return err == 0;
}

static void containers_and_old_znodes_go_when_they_may(void **state)
{
    struct bench *bench = bench_new();
    bench->config.extended_types = true;
    bench->config.container_check_ms = 1000;
    bench->config.container_never_used_ms = 5000;
    start(bench);
    struct client *client = open_client(bench);
    static const struct {
        const char *path;
        int32_t flags;
    } made[] = {{"/plain", 0}, {"/plain/x", 0}, {"/used", 4}, {"/used/x", 0},
                {"/full", 4},  {"/full/x", 0},  {"/never", 4}};
    for (int i = 0; i < 7; i++) {
        send_create(client, i + 1, made[i].path, made[i].flags, 1);
        assert_int_equal(answer_code(client, i + 1), 0);
    }
    send_create_ttl(client, 10, "/brief", 2500);
    send_create_ttl(client, 11, "/parent", 100);
    send_create(client, 12, "/parent/x", 0, 1);
    for (int32_t xid = 10; xid <= 12; xid++) assert_int_equal(answer_code(client, xid), 0);
    send_delete(client, 13, "/used/x");
    send_delete(client, 14, "/plain/x");
    assert_int_equal(answer_code(client, 13), 0);
    assert_int_equal(answer_code(client, 14), 0);

    static const struct {
        int64_t from_ms;
        bool used, full, never, brief, parent;
    } rows[] = {{500, true, true, true, true, true},
                {1500, false, true, true, true, true},
                {4500, false, true, true, false, true},
                {7500, false, true, false, false, true}};
    int64_t begun_ms = loop_now_ms(bench->loop);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sim_run_ms(bench->sim, begun_ms + rows[i].from_ms - loop_now_ms(bench->loop));
        assert_int_equal(is_there(client, "/used"), rows[i].used);
        assert_int_equal(is_there(client, "/full"), rows[i].full);
        assert_int_equal(is_there(client, "/never"), rows[i].never);
        assert_int_equal(is_there(client, "/brief"), rows[i].brief);
        assert_int_equal(is_there(client, "/parent"), rows[i].parent);
        assert_true(is_there(client, "/plain"));
    }
    bench_free(bench);
}

/* What is over goes at the rate that was asked for, so that clients with watches there are not all woken at once. */
static void containers_go_at_the_rate_that_was_asked_for(void **state)
{
    struct bench *bench = bench_new();
    bench->config.container_check_ms = 100;
    bench->config.container_per_minute = 60;
    start(bench);
    struct client *client = open_client(bench);
    for (int32_t i = 0; i < 5; i++) {
        char path[16];
        snprintf(path, sizeof path, "/c%d", i);
        send_create(client, 1, path, 4, 1);
        assert_int_equal(answer_code(client, 1), 0);
        snprintf(path, sizeof path, "/c%d/x", i);
        send_create(client, 1, path, 0, 1);
        assert_int_equal(answer_code(client, 1), 0);
        send_delete(client, 1, path);
        assert_int_equal(answer_code(client, 1), 0);
    }
    sim_run_ms(bench->sim, 2500);
    int left = 0;
    for (int32_t i = 0; i < 5; i++) {
        char path[16];
        snprintf(path, sizeof path, "/c%d", i);
        left += is_there(client, path);
    }
    assert_true(left == 2 || left == 3);
    bench_free(bench);
}

/* --- watches --- */

struct event {
    int32_t xid, type;
    char path[16]; /* its beginning */
};

/* The next frame, of an event or an answer (type 0). */
static struct event take_event(struct client *client)
{
    struct text frame = {0};
    assert_true(take_frame(client, &frame));
    struct jute in = jute_of(text_slice(&frame));
    struct event event = {.xid = jute_int(&in)};
    jute_long(&in);
    jute_int(&in);
    if (event.xid == -1) {
        event.type = jute_int(&in);
        jute_int(&in);
        slice_text(jute_bytes(&in), event.path, sizeof event.path);
    }
    text_free(&frame);
    return event;
}

enum { DATA_LIST, EXIST_LIST, CHILD_LIST };

/* `count` paths "/w/NNNNN" and a long tail, in one of the three lists. */
static void send_set_watches(struct client *client, int64_t zxid, int list, int first, int count)
{
    struct text out = {0};
    char path[256];
    add_header(&out, -8, OP_SET_WATCHES);
    text_add_be64(&out, (uint64_t)zxid);
    for (int i = 0; i < 3; i++) {
        text_add_be32(&out, i == list ? (uint32_t)count : 0);
        for (int at = first; i == list && at < first + count; at++) {
            snprintf(path, sizeof path, "/w/%05d-%0190d", at, 0);
            jute_add_bytes(&out, slice_of(path));
        }
    }
    assert_true(out.size > 128 * 1024 || count < 500);
    send_frame(client, &out);
    text_free(&out);
}

/* Java's and C's clients send what they watched in pieces of 128 KiB, all at once and with the same xid. */
static void watches_are_set_again_in_several_pieces(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *client = open_client(bench), *other = open_client(bench);
    char path[256];
    send_create(other, 1, "/w", 0, 0);
    assert_int_equal(answer_code(other, 1), 0);
    for (int i = 0; i < 3; i++) { /* the clients saw nothing of them */
        snprintf(path, sizeof path, "/w/%05d-%0190d", i * 1000, 0);
        send_create(other, 2, path, 0, 0);
        assert_int_equal(answer_code(other, 2), 0);
    }
    for (int piece = 0; piece < 3; piece++) send_set_watches(client, 0, EXIST_LIST, piece * 1000, 1000);
    for (int piece = 0; piece < 3; piece++) {
        struct event created = take_event(client);
        assert_true(created.xid == -1 && created.type == EVENT_CREATED);
        assert_int_equal(created.path[4], '0' + piece); /* "/w/0P000" */
        assert_int_equal(take_event(client).xid, -8);
    }
    assert_int_equal(stats_of(bench).watch_count, 2997);
    snprintf(path, sizeof path, "/w/%05d-%0190d", 2999, 0);
    send_create(other, 3, path, 0, 0);
    assert_int_equal(answer_code(other, 3), 0);
    assert_int_equal(take_event(client).type, EVENT_CREATED);
    bench_free(bench);
}

static int64_t zxid_of(struct client *client)
{
    struct answer answer = {0};
    send_path(client, 77, OP_EXISTS, "/", 0);
    assert_true(take_answer(client, &answer));
    return answer.zxid;
}

/* What happened between two connections, told by what is there: a znode that was deleted and made again is a change. */
static void what_was_missed_is_told_by_what_is_there(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *client = open_client(bench), *other = open_client(bench);
    static const char *const all[] = {"/w", "/w/again", "/w/same", "/w/gone", "/w/kids", "/w/kids/a"};
    for (int i = 0; i < 6; i++) {
        send_create(other, 1, all[i], 0, 0);
        assert_int_equal(answer_code(other, 1), 0);
    }
    int64_t seen = zxid_of(other);
    send_delete(other, 2, "/w/again");
    send_create(other, 3, "/w/again", 0, 0);
    send_delete(other, 4, "/w/gone");
    send_delete(other, 5, "/w/kids/a");
    for (int32_t xid = 2; xid <= 5; xid++) assert_int_equal(answer_code(other, xid), 0);

    struct text out = {0};
    add_header(&out, -8, OP_SET_WATCHES);
    text_add_be64(&out, (uint64_t)seen);
    static const char *const lists[3][3] = {{"/w/again", "/w/same", "/w/gone"},
                                            {"/w/gone", "/w/never", "/w/same"},
                                            {"/w/kids", "/w/same", "/w/gone"}};
    for (int i = 0; i < 3; i++) {
        text_add_be32(&out, 3);
        for (int k = 0; k < 3; k++) jute_add_bytes(&out, slice_of(lists[i][k]));
    }
    send_frame(client, &out);
    text_free(&out);
    static const struct {
        int32_t type;
        const char *path;
    } rows[] = {{EVENT_DATA_CHANGED, "/w/again"},
                {EVENT_DELETED, "/w/gone"},
                {EVENT_CREATED, "/w/same"},
                {EVENT_CHILDREN_CHANGED, "/w/kids"},
                {EVENT_DELETED, "/w/gone"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct event event = take_event(client);
        assert_int_equal(event.xid, -1);
        assert_int_equal(event.type, rows[i].type);
        assert_string_equal(event.path, rows[i].path);
    }
    assert_int_equal(take_event(client).xid, -8);
    assert_int_equal(stats_of(bench).watch_count, 4); /* same: data and child; gone and never: to be made */
    bench_free(bench);
}

/* CVE-2024-23944: who may no longer read hears nothing, and the watch is spent. */
static void a_right_that_was_taken_silences_the_watch(void **state)
{
    struct bench *bench = bench_new();
    bench->config.super_digest = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="; /* super:test */
    start(bench);
    struct client *client = open_client(bench), *super = open_client(bench);
    struct text out = {0};
    send_create(client, 1, "/secret", 0, 0);
    assert_int_equal(answer_code(client, 1), 0);
    send_path(client, 2, OP_GET_DATA, "/secret", 1);
    assert_int_equal(answer_code(client, 2), 0);
    send_path(client, 3, OP_GET_CHILDREN, "/secret", 1);
    assert_int_equal(answer_code(client, 3), 0);
    add_header(&out, -4, OP_AUTH);
    text_add_be32(&out, 0);
    jute_add_bytes(&out, SLICE("digest"));
    jute_add_bytes(&out, SLICE("super:test"));
    send_frame(super, &out);
    assert_int_equal(answer_code(super, -4), 0);
    add_header(&out, 1, OP_SET_ACL);
    jute_add_bytes(&out, SLICE("/secret"));
    text_add_be32(&out, 1);
    text_add_be32(&out, ACL_ALL);
    jute_add_bytes(&out, SLICE("digest"));
    jute_add_bytes(&out, SLICE("user:smGaoVKd/cQkjm7b88GyorAUz20="));
    text_add_be32(&out, UINT32_MAX);
    send_frame(super, &out);
    assert_int_equal(answer_code(super, 1), 0);
    send_create(super, 2, "/secret/x", 0, 0);
    send_delete(super, 3, "/secret/x");
    send_delete(super, 4, "/secret");
    for (int32_t xid = 2; xid <= 4; xid++) assert_int_equal(answer_code(super, xid), 0);
    send_path(client, 4, OP_EXISTS, "/", 0);
    assert_int_equal(answer_code(client, 4), 0); /* and no event before it */
    assert_int_equal(stats_of(bench).watch_count, 0);
    text_free(&out);
    bench_free(bench);
}

/* --- paths and numbers --- */

static void send_sequential(struct client *client, int32_t xid, const char *path)
{
    send_create(client, xid, path, 2, 0);
}

/* A multi that failed took no number: names go on as if it had never been (ZOOKEEPER-1624). */
static void sequences_go_on_after_a_failed_multi(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *client = open_client(bench);
    send_create(client, 1, "/q", 0, 0);
    send_sequential(client, 2, "/q/n-");
    struct text out = {0};
    add_header(&out, 3, OP_MULTI);
    for (int i = 0; i < 2; i++) { /* a sequential creation, then one whose parent is missing */
        text_add_be32(&out, OP_CREATE);
        text_addc(&out, 0);
        text_add_be32(&out, UINT32_MAX);
        add_create_body(&out, i == 0 ? "/q/n-" : "/none/x", i == 0 ? 2 : 0, 0);
    }
    text_add_be32(&out, UINT32_MAX);
    text_addc(&out, 1);
    text_add_be32(&out, UINT32_MAX);
    send_frame(client, &out);
    send_sequential(client, 4, "/q/n-");
    for (int32_t xid = 1; xid <= 4; xid++) assert_int_equal(answer_code(client, xid), 0);
    send_path(client, 5, OP_EXISTS, "/q/n-0000000001", 0);
    assert_int_equal(answer_code(client, 5), 0);
    text_free(&out);
    bench_free(bench);
}

/* A request id may come again: it is only sent back. */
static void ids_of_requests_may_come_again(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *client = open_client(bench);
    static const int32_t xids[] = {7, 7, 0, INT32_MAX, INT32_MIN, -3};
    for (size_t i = 0; i < sizeof xids / sizeof *xids; i++) send_path(client, xids[i], OP_EXISTS, "/", 0);
    for (size_t i = 0; i < sizeof xids / sizeof *xids; i++) assert_int_equal(answer_code(client, xids[i]), 0);
    bench_free(bench);
}

/* Ten thousand pings in a row, and one who asks for something beside them. */
static void a_flood_of_pings_harms_nobody(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    struct client *client = open_client(bench), *other = open_client(bench);
    for (int i = 0; i < 10000; i++) send_path(client, -2, OP_PING, NULL, -1);
    send_create(other, 1, "/beside", 0, 10);
    assert_int_equal(answer_code(other, 1), 0);
    for (int i = 0; i < 10000; i++) assert_int_equal(answer_code(client, -2), 0);
    bench_free(bench);
}

/* request_throttle_max_requests: one write at a time, whoever asks, and all get their turn. */
/* A ping is answered as one whatever its id; and no number of an operation is one of ours, inside. */
static void what_is_no_operation_is_answered_and_cut(void **state)
{
    struct bench *bench = bench_new();
    start(bench);
    static const int32_t ops[] = {INT32_MIN, INT32_MIN + 1, -1, 0, 23, 108, INT32_MAX};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        struct client *client = open_client(bench);
        send_path(client, 7, OP_PING, NULL, -1);
        assert_int_equal(answer_code(client, -2), 0);
        send_path(client, 8, ops[i], "/", 0);
        assert_int_equal(answer_code(client, 8), -6);
        assert_cut(client);
        hang_up(bench);
    }
    bench_free(bench);
}

static void a_keeper_alone_has_no_members_to_change(void **state)
{
    for (int is_enabled = 0; is_enabled < 2; is_enabled++) {
        struct bench *bench = bench_new();
        bench->config.reconfig_enabled = is_enabled;
        start(bench);
        struct client *client = open_client(bench);
        struct text frame = {0};
        add_header(&frame, 1, OP_RECONFIG);
        for (int i = 0; i < 3; i++) text_add_be32(&frame, UINT32_MAX);
        text_add_be64(&frame, UINT64_MAX);
        send_frame(client, &frame);
        text_free(&frame);
        assert_int_equal(answer_code(client, 1), is_enabled ? -6 : -123);
        send_path(client, 2, OP_EXISTS, "/", 0);
        assert_int_equal(answer_code(client, 2), 0);
        bench_free(bench);
    }
}

static void throttled_writes_get_their_turn(void **state)
{
    enum { WRITES = 20 };
    struct bench *bench = bench_new();
    bench->config.request_throttle_max = 1;
    start(bench);
    struct client *clients[] = {open_client(bench), open_client(bench)};
    for (int32_t xid = 1; xid <= WRITES; xid++) {
        char path[20];
        for (int c = 0; c < 2; c++) {
            snprintf(path, sizeof path, "/%c%d", 'a' + c, (int)xid);
            send_create(clients[c], xid, path, 0, 1);
        }
    }
    for (int64_t i = 0; i < 200; i++) {
        sim_run_ms(bench->sim, 1);
        assert_true(stats_of(bench).outstanding <= 1);
    }
    for (int c = 0; c < 2; c++) {
        for (int32_t xid = 1; xid <= WRITES; xid++) assert_int_equal(answer_code(clients[c], xid), 0);
    }
    bench_free(bench);
}

/* throttled_op_wait_time: who waited too long hears so, in line, and may ask again. */
static void a_write_that_waited_too_long_is_told(void **state)
{
    struct bench *bench = bench_new();
    bench->config.request_throttle_max = 1;
    bench->config.throttled_wait_ms = 100;
    start(bench);
    struct client *client = open_client(bench);
    sim_disk_slow(bench->server, 300, 1);
    send_create(client, 1, "/slow", 0, 1);
    send_create(client, 2, "/late", 0, 1);
    send_path(client, 3, OP_EXISTS, "/slow", 0);
    assert_int_equal(answer_code(client, 1), 0);
    assert_int_equal(answer_code(client, 2), -127);
    assert_int_equal(answer_code(client, 3), 0);
    send_create(client, 4, "/late", 0, 1);
    assert_int_equal(answer_code(client, 4), 0);
    bench_free(bench);
}

/* connection_throttle_tokens: who comes beyond them is cut, and may come later. */
static void sessions_beyond_the_tokens_are_cut(void **state)
{
    struct bench *bench = bench_new();
    bench->config.throttle.tokens = 2;
    bench->config.throttle.fill_ms = 5000;
    start(bench);
    open_client(bench);
    open_client(bench);
    assert_int_equal(shake(dial(bench), 0, NULL, 0, 10000, true), 0);
    sim_run_ms(bench->sim, 6000);
    open_client(bench);
    bench_free(bench);
}

static void quiet(void *context, enum diag_level level, const char *message)
{
}

int main(void)
{
    diag_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(containers_and_old_znodes_go_when_they_may),
        cmocka_unit_test(containers_go_at_the_rate_that_was_asked_for),
        cmocka_unit_test(watches_are_set_again_in_several_pieces),
        cmocka_unit_test(what_was_missed_is_told_by_what_is_there),
        cmocka_unit_test(a_right_that_was_taken_silences_the_watch),
        cmocka_unit_test(sequences_go_on_after_a_failed_multi),
        cmocka_unit_test(ids_of_requests_may_come_again),
        cmocka_unit_test(a_flood_of_pings_harms_nobody),
        cmocka_unit_test(what_is_no_operation_is_answered_and_cut),
        cmocka_unit_test(a_keeper_alone_has_no_members_to_change),
        cmocka_unit_test(throttled_writes_get_their_turn),
        cmocka_unit_test(a_write_that_waited_too_long_is_told),
        cmocka_unit_test(sessions_beyond_the_tokens_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
