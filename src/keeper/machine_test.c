/* machine_test.c: the state machine, case by case. */
#include <time.h>

#include "keeper/bench.h"

static const char NUL_PATH[] = "/a\0b";

/* --- which error a client sees first (facts/keeper.md 1.8) --- */

static void a_creation_fails_in_this_order(void **state)
{
    static const struct {
        const char *sentence, *path;
        int32_t flags;
        const char *scheme; /* of the ACL; NULL: an empty list */
        enum error want;
    } rows[] = {
        {"a flag nobody knows, before all else", "no slash", 7, NULL, ERR_ZK_BAD_ARGUMENTS},
        {"TTL is off", "no slash", 5, NULL, ERR_ZK_UNIMPLEMENTED},
        {"a path without a slash", "abc", 0, NULL, ERR_ZK_BAD_ARGUMENTS},
        {"an empty path", "", 0, NULL, ERR_ZK_BAD_ARGUMENTS},
        {"an empty ACL, before the parent is looked for", "/none/x", 0, NULL, ERR_ZK_INVALID_ACL},
        {"a scheme nobody knows", "/none/x", 0, "nosuch", ERR_ZK_INVALID_ACL},
        {"auth without having proved anything but an address", "/none/x", 0, "auth", ERR_ZK_INVALID_ACL},
        {"no parent", "/none/x", 0, "world", ERR_ZK_NO_NODE},
        {"no parent, before the path's syntax", "/a/../b", 0, "world", ERR_ZK_NO_NODE},
        {"a trailing slash makes the name the parent", "/none/", 0, "world", ERR_ZK_NO_NODE},
        {"the parent's ACL, before the path's syntax", "/closed/..", 0, "world", ERR_ZK_NO_AUTH},
        {"the parent's ACL, before the name is looked for", "/closed/here", 0, "world", ERR_ZK_NO_AUTH},
        {"a bad name under a good parent", "/open/..", 0, "world", ERR_ZK_BAD_ARGUMENTS},
        {"a trailing slash under a good parent", "/open/", 0, "world", ERR_ZK_BAD_ARGUMENTS},
        {"a control character", "/open/\x01", 0, "world", ERR_ZK_BAD_ARGUMENTS},
        {"the root exists", "/", 0, "world", ERR_ZK_NODE_EXISTS},
        {"it exists, before ephemerals have no children", "/open/here", 0, "world", ERR_ZK_NODE_EXISTS},
        {"ephemerals have no children", "/mine/x", 0, "world", ERR_ZK_NO_CHILDREN_FOR_EPHEMERALS},
        {"a container by plain create", "/open/container", 4, "world", OK},
        {"a sequence may end in a slash", "/open/", 2, "world", OK},
    };
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    assert_int_equal(bench_create(&bench, session, "/open", "", 0), OK);
    assert_int_equal(bench_create(&bench, session, "/open/here", "", 0), OK);
    assert_int_equal(bench_create(&bench, session, "/closed", "", 0), OK);
    assert_int_equal(bench_create(&bench, session, "/closed/here", "", 0), OK);
    assert_int_equal(bench_set_acl(&bench, session, "/closed", ACL_READ, "world", "anyone", -1), OK);
    assert_int_equal(bench_create(&bench, session, "/mine", "", 1), OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        text_reset(&bench.body);
        jute_add_bytes(&bench.body, slice_of(rows[i].path));
        jute_add_bytes(&bench.body, SLICE("data"));
        if (rows[i].scheme) {
            add_acl(&bench.body, ACL_ALL, rows[i].scheme, "anyone");
        } else {
            text_add_be32(&bench.body, 0);
        }
        text_add_be32(&bench.body, (uint32_t)rows[i].flags);
        int64_t before = bench.machine.zxid;
        enum error err = bench_apply(&bench, OP_CREATE, session, text_slice(&bench.body));
        if (err != rows[i].want) fail_msg("%s: %s", rows[i].sentence, error_text(err));
        assert_int_equal(bench.machine.zxid, before + 1); /* also the failed take one */
    }
    text_reset(&bench.body);
    add_create(&bench.body, (struct slice){(const uint8_t *)NUL_PATH, 4}, SLICE(""), 0);
    assert_int_equal(bench_apply(&bench, OP_CREATE, session, text_slice(&bench.body)), ERR_ZK_BAD_ARGUMENTS);
    assert_int_equal(bench_apply(&bench, OP_CREATE, 42, text_slice(&bench.body)), ERR_ZK_SESSION_EXPIRED);
    for (size_t size = 0; size + 1 < bench.body.size; size++) {
        struct slice cut = {(const uint8_t *)bench.body.data, size};
        assert_int_equal(bench_apply(&bench, OP_CREATE, session, cut), ERR_ZK_MARSHALLING);
    }
    bench_free(&bench);
}

static void other_writes_fail_in_this_order(void **state)
{
    enum kind { DELETE, SET, SET_ACL };
    static const struct {
        const char *sentence;
        enum kind kind;
        const char *path;
        int32_t version;
        enum error want;
    } rows[] = {
        {"no slash", DELETE, "abc", -1, ERR_ZK_BAD_ARGUMENTS},
        {"the root", DELETE, "/", -1, ERR_ZK_BAD_ARGUMENTS},
        {"/zookeeper", DELETE, "/zookeeper", -1, ERR_ZK_BAD_ARGUMENTS},
        {"its quota", DELETE, "/zookeeper/quota", -1, ERR_ZK_BAD_ARGUMENTS},
        {"its config", DELETE, "/zookeeper/config", -1, ERR_ZK_BAD_ARGUMENTS},
        {"no parent", DELETE, "/none/x", -1, ERR_ZK_NO_NODE},
        {"the parent's ACL, before the name is looked for", DELETE, "/closed/none", -1, ERR_ZK_NO_AUTH},
        {"no such name", DELETE, "/open/none", -1, ERR_ZK_NO_NODE},
        {"version, before children", DELETE, "/open", 3, ERR_ZK_BAD_VERSION},
        {"children", DELETE, "/open", 0, ERR_ZK_NOT_EMPTY},
        {"any version", DELETE, "/open/here", -1, OK},
        {"a bad path, before it is looked for", SET, "/none/", -1, ERR_ZK_BAD_ARGUMENTS},
        {"no node", SET, "/none", -1, ERR_ZK_NO_NODE},
        {"WRITE, before version", SET, "/closed", 9, ERR_ZK_NO_AUTH},
        {"version", SET, "/open", 9, ERR_ZK_BAD_VERSION},
        {"the root may be set", SET, "/", 0, OK},
        {"a bad path", SET_ACL, "//", -1, ERR_ZK_BAD_ARGUMENTS},
        {"no node", SET_ACL, "/none", -1, ERR_ZK_NO_NODE},
        {"ADMIN, before aversion", SET_ACL, "/closed", 9, ERR_ZK_NO_AUTH},
        {"aversion, not version", SET_ACL, "/open", 1, ERR_ZK_BAD_VERSION},
        {"aversion", SET_ACL, "/open", 0, OK},
    };
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    assert_int_equal(bench_create(&bench, session, "/open", "", 0), OK);
    assert_int_equal(bench_create(&bench, session, "/open/here", "", 0), OK);
    assert_int_equal(bench_create(&bench, session, "/closed", "", 0), OK);
    assert_int_equal(bench_set_acl(&bench, session, "/closed", ACL_READ, "world", "anyone", 0), OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum error err;
        switch (rows[i].kind) {
        case DELETE: err = bench_delete(&bench, session, rows[i].path, rows[i].version); break;
        case SET: err = bench_set(&bench, session, rows[i].path, "x", rows[i].version); break;
        default:
            err = bench_set_acl(&bench, session, rows[i].path, ACL_ALL, "world", "anyone", rows[i].version);
            break;
        }
        if (err != rows[i].want) fail_msg("%d, %s: %s", rows[i].kind, rows[i].sentence, error_text(err));
    }
    assert_int_equal(bench_set_acl(&bench, session, "/none", ACL_ALL, "nosuch", "x", -1), ERR_ZK_INVALID_ACL);
    bench_free(&bench);
}

/* --- Stat (facts/keeper.md 2.3) --- */

static void a_fresh_tree_is_zookeepers(void **state)
{
    struct bench bench;
    bench_init(&bench);
    assert_int_equal(bench.machine.tree.count + 1, 5); /* the root counts twice there */
    assert_int_equal(bench_stat(&bench, "/").cversion, -1);
    assert_int_equal(bench_stat(&bench, "/").child_count, 1);
    assert_int_equal(bench_stat(&bench, "/zookeeper").cversion, -2);
    assert_int_equal(bench_stat(&bench, "/zookeeper/config").aversion, -1);
    assert_null(tree_find(&bench.machine.tree, SLICE("/zookeeper/")));
    assert_null(tree_find(&bench.machine.tree, SLICE("zookeeper")));
    assert_null(tree_find(&bench.machine.tree, SLICE("//zookeeper")));
    bench_free(&bench);
}

static void stat_tells_what_happened(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    bench_create(&bench, session, "/p", "abc", 0);
    int64_t born = bench.machine.zxid, born_ms = bench.time_ms;
    struct znode_stat stat = bench_stat(&bench, "/p");
    assert_true(stat.czxid == born && stat.mzxid == born && stat.pzxid == born);
    assert_true(stat.ctime_ms == born_ms && stat.mtime_ms == born_ms);
    assert_true(stat.version == 0 && stat.cversion == 0 && stat.aversion == 0 && stat.data_length == 3);

    bench_set(&bench, session, "/p", "abc", -1); /* equal data counts, too */
    int64_t changed = bench.machine.zxid;
    bench_set(&bench, session, "/p", "x", 7); /* a failure changes nothing */
    bench_set_acl(&bench, session, "/p", ACL_ALL, "world", "anyone", 0);
    stat = bench_stat(&bench, "/p");
    assert_true(stat.version == 1 && stat.aversion == 1 && stat.mzxid == changed && stat.pzxid == born);

    bench_create(&bench, session, "/p/a", "", 0);
    bench_create(&bench, session, "/p/b", "", 0);
    stat = bench_stat(&bench, "/p");
    assert_true(stat.cversion == 2 && stat.child_count == 2 && stat.pzxid == bench.machine.zxid);
    bench_delete(&bench, session, "/p/a", -1);
    stat = bench_stat(&bench, "/p");
    assert_true(stat.cversion == 3 && stat.child_count == 1 && stat.pzxid == bench.machine.zxid);
    assert_int_equal(stat.mzxid, changed);

    text_reset(&bench.body);
    add_set_data(&bench.body, SLICE("/p"), SLICE_NULL, -1);
    bench_apply(&bench, OP_SET_DATA, session, text_slice(&bench.body));
    assert_int_equal(bench_stat(&bench, "/p").data_length, 0);
    assert_null(znode_data(&bench.machine.tree, tree_find(&bench.machine.tree, SLICE("/p")))
                    .data); /* null is not empty */

    struct znode *node = tree_find(&bench.machine.tree, SLICE("/p"));
    struct znode_more *more = znode_more(&bench.machine.tree, node);
    more->version = INT32_MAX;
    bench_set(&bench, session, "/p", "", INT32_MAX);
    assert_int_equal(more->version, INT32_MIN);
    bench_free(&bench);
}

static struct slice created_path(struct bench *bench)
{
    struct jute in = jute_of(text_slice(&bench->machine.outcome.body));
    return jute_bytes(&in);
}

static void sequences_count_all_creations(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    bench_create(&bench, session, "/q", "", 0);
    bench_create(&bench, session, "/q/n-", "", 2);
    assert_true(slice_is(created_path(&bench), "/q/n-0000000000"));
    bench_create(&bench, session, "/q/plain", "", 0);
    bench_delete(&bench, session, "/q/plain", -1);
    bench_create(&bench, session, "/q/", "", 3);
    assert_true(slice_is(created_path(&bench), "/q/0000000002"));

    struct znode *parent = tree_find(&bench.machine.tree, SLICE("/q"));
    znode_more(&bench.machine.tree, parent)->cversion = INT32_MAX;
    bench_create(&bench, session, "/q/n-", "", 2);
    assert_true(slice_is(created_path(&bench), "/q/n-2147483647"));
    bench_create(&bench, session, "/q/n-", "", 2);
    assert_true(slice_is(created_path(&bench), "/q/n--2147483648"));
    bench_free(&bench);
}

/* --- multi (facts/keeper.md 1.6) --- */

static void add_multi_create(struct text *out, const char *path, int32_t flags)
{
    add_multi_part(out, OP_CREATE, false);
    add_create(out, slice_of(path), SLICE("m"), flags);
}

static void add_multi_delete(struct text *out, const char *path)
{
    add_multi_part(out, OP_DELETE, false);
    add_path_version(out, slice_of(path), -1);
}

static enum error multi_end(struct bench *bench, int64_t session)
{
    add_multi_part(&bench->body, -1, true);
    return bench_apply(bench, OP_MULTI, session, text_slice(&bench->body));
}

/* The codes in the answer of a failed multi. */
static int multi_codes(struct bench *bench, int32_t codes[8])
{
    struct jute in = jute_of(text_slice(&bench->machine.outcome.body));
    int count = 0;
    for (;;) {
        int32_t op = jute_int(&in);
        bool is_done = jute_bool(&in);
        int32_t code = jute_int(&in);
        assert_int_equal(op, -1);
        if (is_done) break;
        codes[count++] = code;
        assert_int_equal(jute_int(&in), code);
    }
    assert_false(in.is_bad);
    assert_int_equal(in.at, in.size);
    return count;
}

static void multi_stands_or_falls(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    bench_create(&bench, session, "/kept", "k", 0);
    bench_create(&bench, session, "/kept/child", "", 1);

    /* Create, delete and create the same path again: each part sees those before it; one zxid for all. */
    text_reset(&bench.body);
    add_multi_create(&bench.body, "/m", 0);
    add_multi_create(&bench.body, "/m/s", 2);
    add_multi_delete(&bench.body, "/m/s0000000000");
    add_multi_delete(&bench.body, "/m");
    add_multi_create(&bench.body, "/m", 0);
    int64_t before = bench.machine.zxid;
    assert_int_equal(multi_end(&bench, session), OK);
    assert_int_equal(bench.machine.zxid, before + 1);
    assert_int_equal(bench_stat(&bench, "/m").czxid, before + 1);
    assert_int_equal(bench_stat(&bench, "/m").cversion, 0);
    assert_int_equal(bench.machine.outcome.event_count, 5);

    /* A failing check takes everything back, the sequence counter and the order of ephemerals too; also of the root, which has no parent. */
    uint64_t digest = tree_digest(&bench.machine.tree);
    text_reset(&bench.body);
    add_multi_part(&bench.body, OP_SET_DATA, false);
    add_set_data(&bench.body, SLICE("/"), SLICE("root"), -1);
    add_multi_create(&bench.body, "/m/x", 2);
    add_multi_delete(&bench.body, "/kept/child");
    add_multi_part(&bench.body, OP_SET_DATA, false);
    add_set_data(&bench.body, SLICE("/kept"), SLICE("other"), 0);
    add_multi_delete(&bench.body, "/kept");
    add_multi_part(&bench.body, OP_CHECK, false);
    add_path_version(&bench.body, SLICE("/m"), 5);
    add_multi_create(&bench.body, "/never", 0);
    assert_int_equal(multi_end(&bench, session), OK); /* the body carries the errors */
    int32_t codes[8];
    assert_int_equal(multi_codes(&bench, codes), 7);
    static const int32_t want[] = {0, 0, 0, 0, 0, -103, -2};
    assert_memory_equal(codes, want, sizeof want);
    assert_true(tree_digest(&bench.machine.tree) == digest);
    assert_int_equal(bench.machine.outcome.event_count, 0);
    assert_int_equal(machine_session(&bench.machine, session)->ephemerals.count, 1);
    bench_create(&bench, session, "/m/x", "", 2);
    assert_true(slice_is(created_path(&bench), "/m/x0000000000"));

    /* Nothing in it is legal; a read or a foreign op is not. */
    text_reset(&bench.body);
    assert_int_equal(multi_end(&bench, session), OK);
    assert_int_equal(multi_codes(&bench, codes), 0);
    text_reset(&bench.body);
    add_multi_part(&bench.body, OP_GET_DATA, false);
    jute_add_bytes(&bench.body, SLICE("/m"));
    text_addc(&bench.body, 0);
    assert_int_equal(multi_end(&bench, session), ERR_ZK_MARSHALLING);
    bench_free(&bench);
}

static void add_multi_create_without_acl(struct text *out, int32_t op, int32_t flags)
{
    add_multi_part(out, op, false);
    jute_add_bytes(out, SLICE("/m"));
    jute_add_bytes(out, SLICE(""));
    text_add_be32(out, UINT32_MAX);
    text_add_be32(out, (uint32_t)flags);
    if (op == OP_CREATE_TTL) text_add_be64(out, 1000);
}

/* Whether such a multi takes a zxid depends on what is wrong first. */
static void a_multi_without_an_acl_is_no_request(void **state)
{
    static const struct {
        const char *sentence;
        int32_t op, flags, flags_before;
        bool is_request;
    } rows[] = {
        {"a null ACL", OP_CREATE, 0, 0, false},
        {"in create2, too", OP_CREATE2, 2, 0, false},
        {"a TTL flag, which would be wrong as well", OP_CREATE, 5, 0, false},
        {"flags that nobody knows come first", OP_CREATE, 7, 0, true},
        {"createTTL looks at it later", OP_CREATE_TTL, 5, 0, true},
        {"the part before it is wrong", OP_CREATE, 0, -1, true},
        {"the part before it wants to live for a time that it does not tell", OP_CREATE, 0, 5, true},
    };
    struct text body = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        text_reset(&body);
        add_multi_create(&body, "/before", rows[i].flags_before);
        add_multi_create_without_acl(&body, rows[i].op, rows[i].flags);
        add_multi_part(&body, OP_ERROR, true);
        if (op_is_decodable(OP_MULTI, text_slice(&body)) != rows[i].is_request)
            fail_msg("%s", rows[i].sentence);
    }
    text_free(&body);
}

/* -1 items are null, other negative counts are none, as in Java. */
static void odd_counts_of_an_acl(void **state)
{
    static const struct {
        int32_t count;
        enum error want;
    } rows[] = {{-1, ERR_ZK_INVALID_ACL}, {-2, ERR_ZK_INVALID_ACL}, {INT32_MIN, ERR_ZK_INVALID_ACL},
                {0, ERR_ZK_INVALID_ACL},  {1, ERR_ZK_MARSHALLING},  {INT32_MAX, ERR_ZK_MARSHALLING}};
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        text_reset(&bench.body);
        jute_add_bytes(&bench.body, SLICE("/a"));
        jute_add_bytes(&bench.body, SLICE(""));
        text_add_be32(&bench.body, (uint32_t)rows[i].count);
        text_add_be32(&bench.body, 0);
        assert_int_equal(bench_apply(&bench, OP_CREATE, session, text_slice(&bench.body)), rows[i].want);
    }
    bench_free(&bench);
}

/* --- sessions --- */

static void a_session_takes_its_ephemerals_along(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t mine = bench_session(&bench), other = bench_session(&bench);
    assert_true(other > mine);
    assert_int_equal((uint64_t)mine >> 56, 1);
    bench_create(&bench, mine, "/a", "", 1);
    bench_create(&bench, other, "/b", "", 1);
    bench_create(&bench, mine, "/c", "", 3);
    bench_create(&bench, mine, "/d", "", 0);
    assert_int_equal(bench.machine.tree.ephemeral_count, 3);
    int64_t pzxid = bench.machine.zxid;
    assert_int_equal(bench_apply(&bench, OP_CLOSE_SESSION, mine, SLICE_NULL), OK);
    assert_int_equal(bench.machine.outcome.event_count, 2);
    assert_true(slice_is(machine_event_path(&bench.machine.outcome, &bench.machine.outcome.events[0]), "/a"));
    assert_null(tree_find(&bench.machine.tree, SLICE("/a")));
    assert_non_null(tree_find(&bench.machine.tree, SLICE("/b")));
    assert_non_null(tree_find(&bench.machine.tree, SLICE("/d")));
    assert_int_equal(bench_stat(&bench, "/").pzxid, pzxid + 1);
    assert_int_equal(bench_apply(&bench, OP_CLOSE_SESSION, mine, SLICE_NULL), OK); /* again: nothing */
    assert_int_equal(bench_create(&bench, mine, "/late", "", 1), ERR_ZK_SESSION_EXPIRED);

    bench.time_ms -= 1000000; /* the clock went back: ids still rise */
    assert_true(bench_session(&bench) > other);
    bench_free(&bench);
}

/* --- ACLs --- */

static void acls_rule(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    struct text out = {0};
    int watches = 0;
    static const struct {
        const char *scheme, *id;
        enum error want;
    } rows[] = {
        {"digest", "u:hash", OK},
        {"digest", "nocolon", ERR_ZK_INVALID_ACL},
        {"digest", "a:b:c", ERR_ZK_INVALID_ACL},
        {"ip", "10.0.0.0/8", OK},
        {"ip", "10.0.0.0/33", ERR_ZK_INVALID_ACL},
        {"ip", "10.0.0", ERR_ZK_INVALID_ACL},
        {"ip", "2001:db8::/32", OK},
        {"ip", "", ERR_ZK_INVALID_ACL},
        {"world", "nobody", ERR_ZK_INVALID_ACL},
        {"", "", ERR_ZK_INVALID_ACL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[16];
        snprintf(path, sizeof path, "/r%zu", i);
        enum error err = bench_create_acl(&bench, session, path, ACL_ALL, rows[i].scheme, rows[i].id);
        if (err != rows[i].want) fail_msg("%s:%s %s", rows[i].scheme, rows[i].id, error_text(err));
    }
    /* Who asks comes from 10.0.0.1: the ip rule admits, the digest does not. */
    text_reset(&bench.body);
    jute_add_bytes(&bench.body, SLICE("/r3"));
    text_addc(&bench.body, 1);
    assert_int_equal(bench_read(&bench, OP_GET_DATA, session, text_slice(&bench.body), &out, &watches), OK);
    assert_int_equal(watches, 1);
    put_be32(bench.body.data, 3);
    memcpy(bench.body.data + 4, "/r0", 3);
    assert_int_equal(bench_read(&bench, OP_GET_DATA, session, text_slice(&bench.body), &out, &watches),
                     ERR_ZK_NO_AUTH);
    assert_int_equal(bench_read(&bench, OP_EXISTS, session, text_slice(&bench.body), &out, &watches),
                     ERR_ZK_NO_AUTH);
    assert_int_equal(watches, 1); /* refused reads watch nothing */
    bench.flags = ENTRY_SKIP_ACL;
    assert_int_equal(bench_set(&bench, session, "/r0", "x", -1), OK);
    bench.flags = 0;
    assert_int_equal(bench_set(&bench, session, "/r0", "x", -1), ERR_ZK_NO_AUTH);

    /* "auth" becomes each id that was proved. */
    assert_true(auth_add(&bench.ids, SLICE("digest"), SLICE("u:hash")));
    assert_false(auth_add(&bench.ids, SLICE("digest"), SLICE("u:hash")));
    assert_true(auth_add(&bench.ids, SLICE("digest"), SLICE("v:hash")));
    assert_int_equal(bench_set(&bench, session, "/r0", "x", -1), OK);
    assert_int_equal(bench_create_acl(&bench, session, "/auth", ACL_READ | ACL_WRITE, "auth", ""), OK);
    struct slice list =
        acl_bytes(&bench.machine.tree.acls,
                  znode_acl(&bench.machine.tree, tree_find(&bench.machine.tree, SLICE("/auth"))));
    assert_int_equal(get_be32(list.data), 2);

    /* Without ADMIN the hash is not shown. */
    text_reset(&bench.body);
    jute_add_bytes(&bench.body, SLICE("/auth"));
    assert_int_equal(bench_read(&bench, OP_GET_ACL, session, text_slice(&bench.body), &out, &watches), OK);
    struct jute in = jute_of(text_slice(&out));
    jute_int(&in);
    jute_int(&in);
    assert_true(slice_is(jute_bytes(&in), "digest"));
    assert_true(slice_is(jute_bytes(&in), "u:x"));

    assert_int_equal(bench_read(&bench, OP_WHO_AM_I, session, SLICE_NULL, &out, &watches), OK);
    in = jute_of(text_slice(&out));
    assert_int_equal(jute_int(&in), 3);
    jute_bytes(&in);
    assert_true(slice_is(jute_bytes(&in), "10.0.0.1"));
    jute_bytes(&in);
    assert_true(slice_is(jute_bytes(&in), "u"));

    text_reset(&bench.ids);
    auth_add(&bench.ids, SLICE("super"), SLICE(""));
    assert_int_equal(bench_set(&bench, session, "/r6", "x", -1), OK);
    text_free(&out);
    bench_free(&bench);
}

/* Names of certificates as Java's X500Principal takes them; and whoAmI names users only of schemes that are known. */
static void names_of_other_schemes(void **state)
{
    static const struct {
        const char *name;
        bool is_valid;
    } rows[] = {{"CN=a", true},       {"cn = a, O=b", true}, {"CN=a;O=b+OU=c", true},
                {"1.2.3=a", true},    {"OID.1.2=a", true},   {"", true},
                {"CN=\"a,b\"", true}, {"CN=a\\,b", true},    {"emailAddress=a@b, C=DE", true},
                {"x", false},         {"CN", false},         {"=a", false},
                {"foo=a", false},     {"CN=a,", false},      {"CN=a,,O=b", false},
                {"1.2.=a", false},    {"1=a", false},        {"CN=\"a", false},
                {"CN=a\\", false}};
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[16];
        snprintf(path, sizeof path, "/%zu", i);
        bench.flags = ENTRY_X509_ACLS;
        enum error err = bench_create_acl(&bench, session, path, 31, "x509", rows[i].name);
        if (err != (rows[i].is_valid ? OK : ERR_ZK_INVALID_ACL))
            fail_msg("%s: %s", rows[i].name, error_text(err));
        bench.flags = 0;
        assert_int_equal(bench_create_acl(&bench, session, "/no", 31, "x509", rows[i].name),
                         ERR_ZK_INVALID_ACL);
    }
    auth_add(&bench.ids, SLICE("sasl"), SLICE("alice"));
    auth_add(&bench.ids, SLICE("super"), SLICE("CN=a"));
    for (int knows = 0; knows < 2; knows++) {
        struct text out = {0};
        const struct read_request request = {
            .op = OP_WHO_AM_I, .ids = {text_slice(&bench.ids)}, .knows_sasl = knows};
        assert_int_equal(machine_read(&bench.machine, &request, &out), OK);
        struct jute in = jute_of(text_slice(&out));
        static const char *const schemes[] = {"ip", "sasl", "super"};
        const char *const users[] = {"10.0.0.1", knows ? "alice" : "", ""};
        assert_int_equal(jute_int(&in), 3);
        for (int i = 0; i < 3; i++) {
            assert_true(slice_is(jute_bytes(&in), schemes[i]));
            assert_true(slice_is(jute_bytes(&in), users[i]));
        }
        text_free(&out);
    }
    bench_free(&bench);
}

/* A client may send a list as long as its frame: it must cost no more than it is long. */
static void long_acls_are_made_canonical_quickly(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    text_reset(&bench.body);
    jute_add_bytes(&bench.body, SLICE("/long"));
    jute_add_bytes(&bench.body, SLICE(""));
    text_add_be32(&bench.body, 30000);
    for (uint32_t i = 0; i < 30000; i++) {
        text_add_be32(&bench.body, i % 15000);
        jute_add_bytes(&bench.body, SLICE("world"));
        jute_add_bytes(&bench.body, SLICE("anyone"));
    }
    text_add_be32(&bench.body, 0);
    assert_int_equal(bench_apply(&bench, OP_CREATE, session, text_slice(&bench.body)), OK);
    struct slice list =
        acl_bytes(&bench.machine.tree.acls,
                  znode_acl(&bench.machine.tree, tree_find(&bench.machine.tree, SLICE("/long"))));
    assert_int_equal(get_be32(list.data), 15000);
    bench_free(&bench);
}

/* --- containers and TTL --- */

static void extended_types(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    assert_int_equal(bench_create(&bench, session, "/c", "", 4), OK);
    assert_int_equal(bench_stat(&bench, "/c").ephemeral_owner, 0);
    bench_create(&bench, session, "/c/x", "", 0);
    text_reset(&bench.body);
    jute_add_bytes(&bench.body, SLICE("/c"));
    assert_int_equal(bench_apply(&bench, OP_DELETE_CONTAINER, 0, text_slice(&bench.body)), ERR_ZK_NOT_EMPTY);
    bench_delete(&bench, session, "/c/x", -1);
    text_reset(&bench.body);
    jute_add_bytes(&bench.body, SLICE("/c"));
    assert_int_equal(bench_apply(&bench, OP_DELETE_CONTAINER, 0, text_slice(&bench.body)), OK);

    for (int is_on = 0; is_on < 2; is_on++) {
        bench.flags = is_on ? ENTRY_EXTENDED_TYPES : 0;
        text_reset(&bench.body);
        add_create(&bench.body, SLICE("/t"), SLICE(""), 5);
        text_add_be64(&bench.body, 1000);
        enum error err = bench_apply(&bench, OP_CREATE_TTL, session, text_slice(&bench.body));
        assert_int_equal(err, is_on ? OK : ERR_ZK_UNIMPLEMENTED);
    }
    assert_int_equal(bench_stat(&bench, "/t").ephemeral_owner, 0);
    assert_int_equal(bench.machine.tree.ttl_count, 1);
    static const int64_t bad_ttls[] = {0, -1, TTL_MAX_MS + 1};
    for (size_t i = 0; i < 3; i++) {
        text_reset(&bench.body);
        add_create(&bench.body, SLICE("/t2"), SLICE(""), 5);
        text_add_be64(&bench.body, (uint64_t)bad_ttls[i]);
        assert_int_equal(bench_apply(&bench, OP_CREATE_TTL, session, text_slice(&bench.body)),
                         ERR_ZK_BAD_ARGUMENTS);
    }
    bench_free(&bench);
}

/* --- reads --- */

static void reads_answer(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    bench_create(&bench, session, "/a", "one", 0);
    bench_create(&bench, session, "/a/b", "", 1);
    bench_create(&bench, session, "/a/c", "", 0);
    bench_create(&bench, session, "/a/c/d", "", 1);
    struct text out = {0};
    int watches = 0;
    static const struct {
        const char *sentence;
        int32_t op;
        const char *path;
        bool has_watch;
        enum error want;
        int watches;
        size_t size;
    } rows[] = {
        {"exists watches what is there", OP_EXISTS, "/a", true, OK, 1, 68},
        {"and what is not", OP_EXISTS, "/none", true, ERR_ZK_NO_NODE, 1, 0},
        {"data", OP_GET_DATA, "/a", true, OK, 1, 4 + 3 + 68},
        {"data of nothing watches nothing", OP_GET_DATA, "/none", true, ERR_ZK_NO_NODE, 0, 0},
        {"children", OP_GET_CHILDREN, "/a", true, OK, 100, 4 + 5 + 5},
        {"children with stat", OP_GET_CHILDREN2, "/a", true, OK, 100, 4 + 5 + 5 + 68},
        {"children of nothing", OP_GET_CHILDREN2, "/a/", true, ERR_ZK_NO_NODE, 0, 0},
        {"all below", OP_GET_ALL_CHILDREN_NUMBER, "/a", false, OK, 0, 4},
        {"all below the root", OP_GET_ALL_CHILDREN_NUMBER, "/", false, OK, 0, 4},
        {"all below the root by its other name, which counts itself", OP_GET_ALL_CHILDREN_NUMBER, "", false,
         OK, 0, 4},
        {"my ephemerals", OP_GET_EPHEMERALS, "/", false, OK, 0, 4 + 8 + 10},
        {"my ephemerals below", OP_GET_EPHEMERALS, "/a/c", false, OK, 0, 4 + 10},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        text_reset(&bench.body);
        jute_add_bytes(&bench.body, slice_of(rows[i].path));
        if (rows[i].has_watch) text_addc(&bench.body, 1);
        watches = 0;
        enum error err = bench_read(&bench, rows[i].op, session, text_slice(&bench.body), &out, &watches);
        if (err != rows[i].want || watches != rows[i].watches || out.size != rows[i].size) {
            fail_msg("%s: %s, watches %d, %zu bytes", rows[i].sentence, error_text(err), watches, out.size);
        }
        if (rows[i].op == OP_GET_ALL_CHILDREN_NUMBER)
            assert_int_equal(get_be32(out.data), rows[i].path[0] == 0 ? 8 : rows[i].path[1] ? 3 : 7);
        bench.body.size--;
        err = bench_read(&bench, rows[i].op, session, text_slice(&bench.body), &out, &watches);
        assert_int_equal(err, ERR_ZK_MARSHALLING);
    }
    text_reset(&bench.body);
    add_multi_part(&bench.body, OP_GET_DATA, false);
    jute_add_bytes(&bench.body, SLICE("/none"));
    text_addc(&bench.body, 1);
    add_multi_part(&bench.body, OP_GET_CHILDREN, false);
    jute_add_bytes(&bench.body, SLICE("/a/c"));
    text_addc(&bench.body, 1);
    add_multi_part(&bench.body, -1, true);
    watches = 0;
    assert_int_equal(bench_read(&bench, OP_MULTI_READ, session, text_slice(&bench.body), &out, &watches), OK);
    assert_int_equal(watches, 0);
    struct jute in = jute_of(text_slice(&out));
    assert_int_equal(jute_int(&in), -1);
    jute_bool(&in);
    assert_int_equal(jute_int(&in), -101);
    assert_int_equal(jute_int(&in), -101);
    assert_int_equal(jute_int(&in), OP_GET_CHILDREN);
    text_free(&out);
    bench_free(&bench);
}

/* Also in that in which another lists them: no place for them all at one end of a table. */
static void children_may_come_in_any_order(void **state)
{
    enum { COUNT = 60000 };
    struct bench one, other;
    bench_init(&one);
    bench_init(&other);
    int64_t session = bench_session(&one), session_there = bench_session(&other);
    clock_t begun = clock();
    for (int i = 0; i < COUNT; i++) {
        char path[24];
        snprintf(path, sizeof path, "/n%07d", i);
        assert_int_equal(bench_create(&one, session, path, "", 0), OK);
    }
    clock_t middle = clock();
    const struct tree *tree = &one.machine.tree;
    struct text path = {0};
    for (const struct znode *node = tree->root; (node = znode_next_below(tree, tree->root, node));) {
        text_reset(&path);
        tree_path(tree, node, &path);
        text_addc(&path, 0);
        if (strncmp(path.data, "/n", 2) == 0)
            assert_int_equal(bench_create(&other, session_there, path.data, "", 0), OK);
    }
    clock_t ended = clock();
    assert_true(other.machine.tree.count == tree->count);
    assert_true(ended - middle < 10 * (middle - begun) + CLOCKS_PER_SEC / 5);
    text_free(&path);
    bench_free(&one);
    bench_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_creation_fails_in_this_order),
        cmocka_unit_test(other_writes_fail_in_this_order),
        cmocka_unit_test(a_fresh_tree_is_zookeepers),
        cmocka_unit_test(stat_tells_what_happened),
        cmocka_unit_test(sequences_count_all_creations),
        cmocka_unit_test(multi_stands_or_falls),
        cmocka_unit_test(a_multi_without_an_acl_is_no_request),
        cmocka_unit_test(odd_counts_of_an_acl),
        cmocka_unit_test(a_session_takes_its_ephemerals_along),
        cmocka_unit_test(acls_rule),
        cmocka_unit_test(names_of_other_schemes),
        cmocka_unit_test(long_acls_are_made_canonical_quickly),
        cmocka_unit_test(extended_types),
        cmocka_unit_test(reads_answer),
        cmocka_unit_test(children_may_come_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
