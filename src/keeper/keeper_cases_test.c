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

static void quiet(void *context, enum diag_level level, const char *message)
{
}

int main(void)
{
    diag_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(containers_and_old_znodes_go_when_they_may),
        cmocka_unit_test(containers_go_at_the_rate_that_was_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
