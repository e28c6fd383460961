/* keeper_backup_test.c: a keeper's snapshot over its admin commands, and restored: what comes back, what is refused, and that a crash at any
 * write leaves what was before or what was restored, whole. */
#include "keeper/backup.h"
#include "keeper/figures.h"
#include "keeper/wire_bench.h"
#include "loop/disk.h"

/* What a crash leaves in memory was the machine's own. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

struct asked {
    struct bench *bench;
    struct backup_answer answer;
    int crashes;
    bool is_done;
};

static void on_done(void *context, struct backup_answer *answer)
{
    struct asked *asked = context;
    asked->answer = *answer;
    asked->is_done = true;
}

static bool is_done(void *context)
{
    struct asked *asked = context;
    return asked->is_done || sim_machine_crashes(asked->bench->server) != asked->crashes;
}

/* The status; 0: the machine crashed before. */
static unsigned ask(struct asked *asked, struct backup_request request, const struct text *bytes)
{
    struct bench *bench = asked->bench;
    sim_run_ms(bench->sim, 2);
    asked->is_done = false;
    asked->crashes = sim_machine_crashes(bench->server);
    if (!request.name.data) request.name = request.is_restore ? SLICE("rest") : SLICE("snap");
    if (!request.host) request.host = "10.0.0.2";
    if (!backup_begin(bench->keeper, &request, on_done, asked, &asked->answer)) return asked->answer.status;
    for (size_t at = 0; bytes && at < bytes->size; at += 1000) {
        size_t size = bytes->size - at < 1000 ? bytes->size - at : 1000;
        backup_take(bench->keeper, (struct slice){(const uint8_t *)bytes->data + at, size});
    }
    if (bytes) backup_end(bench->keeper);
    assert_true(sim_run_until(bench->sim, is_done, asked, 60000));
    return asked->is_done ? asked->answer.status : 0;
}

static void forget(struct asked *asked)
{
    text_free(&asked->answer.body);
    file_release(&asked->answer.file);
}

static bool says(struct asked *asked, const char *what)
{
    text_addc(&asked->answer.body, 0);
    bool does = strstr(asked->answer.body.data, what) != NULL;
    forget(asked);
    return does;
}

static struct backup_request rooted(bool is_restore)
{
    return (struct backup_request){
        .authorization = "digest root:secret", .is_restore = is_restore, .streams = true};
}

static void take_snapshot(struct asked *asked, struct text *out)
{
    assert_int_equal(ask(asked, rooted(false), NULL), 200);
    uint8_t bytes[4096];
    size_t got = 0;
    text_reset(out);
    while ((int64_t)out->size < asked->answer.size) {
        assert_int_equal(file_pread(asked->answer.file, bytes, sizeof bytes, (int64_t)out->size, &got), OK);
        assert_true(got > 0);
        text_add(out, (struct slice){bytes, got});
    }
    forget(asked);
}

static int32_t exists(struct client *client, const char *path)
{
    send_path(client, 9, OP_EXISTS, path, 0);
    return answer_code(client, 9);
}

static int32_t create(struct client *client, const char *path)
{
    send_create(client, 8, path, 0, 100);
    return answer_code(client, 8);
}

static struct bench *bench_of(struct asked *asked)
{
    struct bench *bench = bench_new();
    *asked = (struct asked){.bench = bench};
    bench->config.admin_interval_ms = 0;
    start(bench);
    return bench;
}

static void what_was_taken_comes_back(void **state)
{
    struct asked asked;
    struct bench *bench = bench_of(&asked);
    struct client *client = open_client(bench);
    struct text bytes = {0};
    for (int i = 0; i < 300; i++) {
        char path[16];
        snprintf(path, sizeof path, "/n%d", i);
        assert_int_equal(create(client, path), 0);
    }
    take_snapshot(&asked, &bytes);
    send_delete(client, 7, "/n7");
    assert_int_equal(answer_code(client, 7), 0);
    assert_int_equal(create(client, "/later"), 0);
    int64_t before = stats_of(bench).zxid;

    assert_int_equal(ask(&asked, rooted(true), &bytes), 200);
    assert_true(says(&asked, "\"last_zxid\" : 301,"));
    assert_cut(client);
    for (int life = 0; life < 2; life++) {
        client = open_client(bench);
        assert_int_equal(exists(client, "/n7"), 0);
        assert_int_equal(exists(client, "/later"), -101);
        assert_int_equal(create(client, life ? "/b" : "/a"), 0);
        assert_true(stats_of(bench).zxid >> 32 == 1 && stats_of(bench).zxid > before);
        stop(bench);
        start(bench);
    }
    /* Again, over what was restored, with a snapshot of ours behind it; and of this one. */
    struct backup_request stays = rooted(false);
    stays.streams = false;
    assert_int_equal(ask(&asked, stays, NULL), 200);
    assert_true(asked.answer.size > 300 && !asked.answer.file);
    forget(&asked);
    assert_int_equal(ask(&asked, rooted(true), &bytes), 200);
    forget(&asked);
    client = open_client(bench);
    assert_int_equal(exists(client, "/a"), -101);
    assert_true(stats_of(bench).zxid >> 32 == 2);
    text_free(&bytes);
    bench_free(bench);
}

static void assert_counts(struct bench *bench, const char *name, int64_t wanted)
{
    struct text said = {0}, line = {0};
    figures_mntr(bench->keeper, &said);
    text_addf(&line, "\nzk_%s\t%lld\n", name, (long long)wanted);
    if (!strstr(said.data, line.data)) fail_msg("no %s in %s", line.data + 1, said.data);
    text_free(&said);
    text_free(&line);
}

static void what_is_refused(void **state)
{
    int64_t errors = 0;
    struct asked asked;
    struct bench *bench = bench_of(&asked);
    struct client *client = open_client(bench);
    struct text bytes = {0};
    assert_int_equal(create(client, "/a"), 0);
    take_snapshot(&asked, &bytes);

    struct backup_request nobody = rooted(false);
    nobody.authorization = NULL;
    assert_int_equal(ask(&asked, nobody, NULL), 401);
    assert_true(says(&asked, "Auth info is missing"));
    nobody.authorization = "digest ";
    assert_int_equal(ask(&asked, nobody, NULL), 401);
    forget(&asked);

    /* Damage at any place is told from what is whole; nobody is cut for it. */
    for (size_t at = 0; at < bytes.size; at += 37) {
        bytes.data[at] ^= 0x10;
        assert_int_equal(ask(&asked, rooted(true), &bytes), 500);
        assert_true(says(&asked, "the snapshot cannot be used"));
        errors++;
        bytes.data[at] ^= 0x10;
    }
    size_t whole = bytes.size;
    for (size_t size = 0; size < whole; size += 41) {
        bytes.size = size;
        assert_int_equal(ask(&asked, rooted(true), &bytes), 500);
        forget(&asked);
        errors++;
    }
    bytes.size = whole;
    assert_counts(bench, "restore_error_count", errors);
    assert_int_equal(exists(client, "/a"), 0);

    /* One at a time, and not too often. */
    struct backup_request restore = rooted(true);
    restore.name = SLICE("restore");
    assert_true(backup_begin(bench->keeper, &restore, on_done, &asked, &asked.answer));
    assert_int_equal(ask(&asked, rooted(false), NULL), 503);
    assert_true(says(&asked, "under way"));
    backup_forget(bench->keeper); /* its client is gone */
    assert_counts(bench, "restore_error_count", errors + 1);
    assert_counts(bench, "snapshot_error_count", 0);
    assert_counts(bench, "cnt_startup_txns_loaded", 0);
    bench->config.admin_interval_ms = 300000;
    stop(bench);
    start(bench);
    client = open_client(bench);
    sim_run_ms(bench->sim, 10);
    assert_counts(bench, "sum_startup_txns_loaded", 2); /* the session, and what it created */
    assert_counts(bench, "cnt_startup_snap_load_time", 1);
    assert_counts(bench, "cnt_restore_time", 0);
    assert_int_equal(ask(&asked, restore, &bytes), 200);
    forget(&asked);
    assert_counts(bench, "cnt_restore_time", 1);
    assert_int_equal(ask(&asked, restore, &bytes), 429);
    forget(&asked);
    assert_counts(bench, "restore_rate_limited_count", 1);
    assert_counts(bench, "snapshot_rate_limited_count", 0);
    sim_run_ms(bench->sim, 300001);
    assert_int_equal(ask(&asked, restore, &bytes), 200);
    forget(&asked);

    bench->config.has_admin_snapshot = bench->config.has_admin_restore = false;
    stop(bench);
    start(bench);
    assert_int_equal(ask(&asked, rooted(false), NULL), 503);
    forget(&asked);
    assert_int_equal(ask(&asked, restore, &bytes), 503);
    forget(&asked);
    text_free(&bytes);
    bench_free(bench);
}

static void a_crash_leaves_one_or_the_other(void **state)
{
    int crashed = 0, old = 0, restored = 0;
    bool is_whole = false;
    for (int write = 1; !is_whole; write++) {
        struct asked asked;
        struct bench *bench = bench_of(&asked);
        struct client *client = open_client(bench);
        struct text bytes = {0};
        assert_int_equal(create(client, "/a"), 0);
        take_snapshot(&asked, &bytes);
        send_delete(client, 7, "/a");
        assert_int_equal(answer_code(client, 7), 0);
        assert_int_equal(create(client, "/b"), 0);
        sim_machine_crash_at_write(bench->server, write);
        unsigned status = ask(&asked, rooted(true), &bytes);
        is_whole = status == 200 && sim_machine_crashes(bench->server) == asked.crashes;
        sim_machine_crash_at_write(bench->server, 0);
        forget(&asked);
        if (sim_machine_crashes(bench->server) == asked.crashes) sim_machine_kill(bench->server);
        assert_int_equal(sim_loop_new(bench->server, &bench->loop), OK);
        assert_int_equal(lane_new(bench->loop, "sync", 1, &bench->lane), OK);
        start(bench);
        client = open_client(bench);
        bool has_a = exists(client, "/a") == 0, has_b = exists(client, "/b") == 0;
        assert_true(has_a != has_b);
        if (status == 200) assert_true(has_a);
        crashed += !is_whole;
        old += has_b;
        restored += has_a;
        assert_int_equal(create(client, "/c"), 0);
        text_free(&bytes);
        bench_free(bench);
    }
    assert_true(crashed > 5 && old > 0 && restored > 0);
}

int main(void)
{
    diag_set_level(DIAG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_taken_comes_back),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(a_crash_leaves_one_or_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
