/* quota_test.c: what a subtree may hold, counted and enforced by the state machine. */
#include "keeper/bench.h"
#include "keeper/quota.h"

#define QUOTA "/zookeeper/quota"

static void assert_stats(struct bench *bench, const char *path, const char *want)
{
    char full[256];
    snprintf(full, sizeof full, QUOTA "%s/zookeeper_stats", path);
    const struct znode *node = tree_find(&bench->machine.tree, slice_of(full));
    assert_non_null(node);
    char have[256];
    slice_text(znode_data(&bench->machine.tree, node), have, sizeof have);
    assert_string_equal(have, want);
    struct stat_kept kept = znode_kept(&bench->machine.tree, node);
    assert_int_equal(kept.version, 0); /* the service's own changes are no versions */
    assert_int_equal(kept.mzxid, kept.czxid);
}

static void make(struct bench *bench, int64_t session, const char *path, const char *data)
{
    assert_int_equal(bench_create(bench, session, path, data, 0), OK);
}

/* As zkCli does: limits first, then stats. */
static void limit(struct bench *bench, int64_t session, const char *path, const char *limits)
{
    char full[256];
    for (size_t i = 1; i <= strlen(path); i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        snprintf(full, sizeof full, QUOTA "%.*s", (int)i, path);
        if (!tree_find(&bench->machine.tree, slice_of(full))) make(bench, session, full, "");
    }
    snprintf(full, sizeof full, QUOTA "%s/zookeeper_limits", path);
    make(bench, session, full, limits);
    snprintf(full, sizeof full, QUOTA "%s/zookeeper_stats", path);
    make(bench, session, full, "count=0,bytes=0");
}

static void stats_follow_what_happens_below(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    make(&bench, session, "/a", "12345");
    make(&bench, session, "/a/b", "123");
    make(&bench, session, "/ab", "1234567890");
    limit(&bench, session, "/a", "count=100,bytes=-1");
    assert_stats(&bench, "/a", "count=2,bytes=8");
    make(&bench, session, "/a/c", "1");
    assert_stats(&bench, "/a", "count=3,bytes=9");
    make(&bench, session, "/ab/c", "1"); /* only a prefix of the text */
    assert_stats(&bench, "/a", "count=3,bytes=9");
    assert_int_equal(bench_set(&bench, session, "/a", "1234567", -1), OK);
    assert_stats(&bench, "/a", "count=3,bytes=11");
    assert_int_equal(bench_delete(&bench, session, "/a/c", -1), OK);
    assert_stats(&bench, "/a", "count=2,bytes=10");

    /* The deepest prefix counts, and only it. */
    limit(&bench, session, "/a/b", "count=5,bytes=-1");
    assert_stats(&bench, "/a/b", "count=1,bytes=3");
    make(&bench, session, "/a/b/x", "22");
    assert_stats(&bench, "/a/b", "count=2,bytes=5");
    assert_stats(&bench, "/a", "count=2,bytes=10");
    assert_int_equal(bench_delete(&bench, session, QUOTA "/a/b/zookeeper_limits", -1), OK);
    assert_int_equal(bench_delete(&bench, session, "/a/b/x", -1), OK);
    assert_stats(&bench, "/a/b", "count=2,bytes=5"); /* of the past */
    assert_stats(&bench, "/a", "count=1,bytes=8");

    /* Ephemerals leave with their session. */
    int64_t other = bench_session(&bench);
    assert_int_equal(bench_create(&bench, other, "/a/e", "four", 1), OK);
    assert_stats(&bench, "/a", "count=2,bytes=12");
    assert_int_equal(bench_apply(&bench, OP_CLOSE_SESSION, other, SLICE_NULL), OK);
    assert_stats(&bench, "/a", "count=1,bytes=8");
    bench_free(&bench);
}

static void a_multi_that_fails_counts_for_nothing(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    make(&bench, session, "/a", "");
    limit(&bench, session, "/a", "count=100,bytes=-1");
    uint64_t before = tree_digest(&bench.machine.tree);
    text_reset(&bench.body);
    add_multi_part(&bench.body, OP_CREATE, false);
    add_create(&bench.body, SLICE("/a/x"), SLICE("data"), 0);
    add_multi_part(&bench.body, OP_SET_DATA, false);
    add_set_data(&bench.body, SLICE("/a/x"), SLICE("more data"), -1);
    add_multi_part(&bench.body, OP_DELETE, false);
    add_path_version(&bench.body, SLICE("/nowhere"), -1);
    add_multi_part(&bench.body, OP_ERROR, true);
    assert_int_equal(bench_apply(&bench, OP_MULTI, session, text_slice(&bench.body)), OK);
    assert_stats(&bench, "/a", "count=1,bytes=0");
    assert_int_equal(tree_digest(&bench.machine.tree), before);
    bench_free(&bench);
}

static void hard_limits_refuse_and_soft_ones_tell(void **state)
{
    static const struct {
        const char *sentence, *limits, *path, *data;
        uint8_t flags;
        enum error want;
        bool is_over;
    } rows[] = {
        {"nobody enforces", "count=0,bytes=0=;byteHardLimit=0;countHardLimit=0", "/a/x", "1", 0, OK, false},
        {"enough room", "count=-1,bytes=-1=;byteHardLimit=2;countHardLimit=2", "/a/x", "1",
         ENTRY_ENFORCE_QUOTA, OK, false},
        {"one znode too many", "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=1", "/a/x", "",
         ENTRY_ENFORCE_QUOTA, ERR_ZK_QUOTA_EXCEEDED, true},
        {"one byte too many", "count=-1,bytes=-1=;byteHardLimit=3;countHardLimit=-1", "/a/x", "1234",
         ENTRY_ENFORCE_QUOTA, ERR_ZK_QUOTA_EXCEEDED, true},
        {"one byte too many in an old znode", "count=-1,bytes=-1=;byteHardLimit=3", "/a", "1234",
         ENTRY_ENFORCE_QUOTA, ERR_ZK_QUOTA_EXCEEDED, true},
        {"a soft limit lets pass", "count=1,bytes=1", "/a/x", "1234", ENTRY_ENFORCE_QUOTA, OK, true},
        {"a hard limit hides the soft one", "count=1,bytes=1=;countHardLimit=9;byteHardLimit=9", "/a/x", "12",
         ENTRY_ENFORCE_QUOTA, OK, false},
        {"elsewhere", "count=0,bytes=0=;byteHardLimit=0;countHardLimit=0", "/b", "1234", ENTRY_ENFORCE_QUOTA,
         OK, false},
        {"limits that are no figures", "many", "/a/x", "1", ENTRY_ENFORCE_QUOTA, ERR_ZK_MARSHALLING, false},
        {"limits without a value", "count=", "/a/x", "1", ENTRY_ENFORCE_QUOTA, ERR_ZK_MARSHALLING, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bench bench;
        bench_init(&bench);
        int64_t session = bench_session(&bench);
        make(&bench, session, "/a", "");
        limit(&bench, session, "/a", rows[i].limits);
        bench.flags = rows[i].flags;
        bool is_known = tree_find(&bench.machine.tree, slice_of(rows[i].path)) != NULL;
        enum error err = is_known ? bench_set(&bench, session, rows[i].path, rows[i].data, -1)
                                  : bench_create(&bench, session, rows[i].path, rows[i].data, 0);
        if (err != rows[i].want) fail_msg("%s: %s", rows[i].sentence, error_text(err));
        if ((bench.machine.outcome.over_quota.size > 0) != rows[i].is_over) fail_msg("%s", rows[i].sentence);
        bench_free(&bench);
    }
}

/* Deleting is always allowed, and gives room. */
static void a_deletion_gives_room(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    make(&bench, session, "/a", "");
    limit(&bench, session, "/a", "count=-1,bytes=-1=;countHardLimit=2");
    bench.flags = ENTRY_ENFORCE_QUOTA;
    make(&bench, session, "/a/x", "");
    assert_int_equal(bench_create(&bench, session, "/a/y", "", 0), ERR_ZK_QUOTA_EXCEEDED);
    assert_int_equal(bench_delete(&bench, session, "/a/x", -1), OK);
    make(&bench, session, "/a/y", "");
    bench_free(&bench);
}

static void what_clients_write_into_stats(void **state)
{
    static const struct {
        const char *written, *after; /* a znode of two bytes was made */
    } rows[] = {
        {"count=5,bytes=7", "count=6,bytes=9"},
        {"bytes=7;count=5", "count=6,bytes=9"},
        {"", "count=0,bytes=1"},
        {"count=5,bytes=7=;z=3;a=-2", "count=6,bytes=9=;a=-2;z=3"},
        {"count==3,bytes=1", "count=0,bytes=3"},
        {"what", "what"},
        {"count=x", "count=x"},
        {"count=99999999999999999999", "count=99999999999999999999"},
        {",", ","},
        {"a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1",
         "a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bench bench;
        bench_init(&bench);
        int64_t session = bench_session(&bench);
        make(&bench, session, "/a", "");
        limit(&bench, session, "/a", "count=1,bytes=1");
        assert_int_equal(bench_set(&bench, session, QUOTA "/a/zookeeper_stats", rows[i].written, -1), OK);
        make(&bench, session, "/a/x", "22");
        char have[256];
        slice_text(znode_data(&bench.machine.tree,
                              tree_find(&bench.machine.tree, SLICE(QUOTA "/a/zookeeper_stats"))),
                   have, sizeof have);
        if (strcmp(have, rows[i].after) != 0) fail_msg("%s: %s", rows[i].written, have);
        bench_free(&bench);
    }
}

static void stats_of_nothing_and_of_everything(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    limit(&bench, session, "/none", "count=1,bytes=1");
    assert_stats(&bench, "/none", "count=0,bytes=0");
    /* The root has no quota, whatever is made there. */
    make(&bench, session, QUOTA "/zookeeper_limits", "count=0,bytes=0=;countHardLimit=0");
    make(&bench, session, QUOTA "/zookeeper_stats", "count=0,bytes=0");
    bench.flags = ENTRY_ENFORCE_QUOTA;
    make(&bench, session, "/free", "x");
    bench_free(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stats_follow_what_happens_below),
        cmocka_unit_test(a_multi_that_fails_counts_for_nothing),
        cmocka_unit_test(hard_limits_refuse_and_soft_ones_tell),
        cmocka_unit_test(a_deletion_gives_room),
        cmocka_unit_test(what_clients_write_into_stats),
        cmocka_unit_test(stats_of_nothing_and_of_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
