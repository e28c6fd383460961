/* machine_ensemble_test.c: what the machine does for an ensemble: who waits for an entry, which connection a session is at,
 * ids of several members, entries without a zxid, members that compare what they have. */
#include "keeper/bench.h"

static enum error apply_of(struct bench *bench, const struct entry *entry)
{
    uint8_t header[ENTRY_HEADER_MAX];
    text_reset(&bench->entry);
    text_add(&bench->entry, (struct slice){header, entry_header(entry, header)});
    text_add(&bench->entry, text_slice(&bench->ids));
    text_add(&bench->entry, entry->body);
    assert_int_equal(machine_apply(&bench->machine, text_slice(&bench->entry)), OK);
    return bench->machine.outcome.err;
}

static const uint8_t session_body[CREATE_SESSION_BODY_SIZE] = {0, 0, 0x75, 0x30, 1, 2, 3};

static int64_t session_of(struct bench *bench, uint8_t origin, int64_t time_ms)
{
    const struct entry entry = {.op = OP_CREATE_SESSION,
                                .time_ms = time_ms,
                                .origin = origin,
                                .body = {session_body, sizeof session_body}};
    assert_int_equal(apply_of(bench, &entry), OK);
    return bench->machine.outcome.session;
}

static enum error attach(struct bench *bench, int64_t session, const uint8_t body[CREATE_SESSION_BODY_SIZE])
{
    const struct entry entry = {
        .op = OP_ATTACH, .session = session, .origin = 2, .body = {body, CREATE_SESSION_BODY_SIZE}};
    return apply_of(bench, &entry);
}

static enum error create_as(struct bench *bench, int64_t session, uint32_t attachment, const char *path)
{
    text_reset(&bench->body);
    add_create(&bench->body, slice_of(path), SLICE("x"), 1);
    const struct entry entry = {.op = OP_CREATE,
                                .session = session,
                                .origin = 1,
                                .life = 7,
                                .sequence = 11,
                                .attachment = attachment,
                                .body = text_slice(&bench->body)};
    return apply_of(bench, &entry);
}

static void an_entry_says_who_waits_for_it(void **state)
{
    struct entry entry = {.flags = ENTRY_SKIP_ACL,
                          .op = OP_SET_DATA,
                          .time_ms = 1700000000123,
                          .session = -5,
                          .cxid = 9,
                          .origin = 254,
                          .life = 0xdeadbeef,
                          .sequence = 0xfffffffe,
                          .attachment = 3},
                 back;
    uint8_t header[ENTRY_HEADER_MAX + 3] = {0};
    assert_int_equal(entry_header(&entry, header), ENTRY_HEADER_MAX);
    header[ENTRY_HEADER_MAX + 2] = 'b'; /* no ids, a body of one byte */
    assert_int_equal(entry_parse((struct slice){header, sizeof header}, &back), OK);
    assert_int_equal(back.flags, entry.flags);
    assert_true(back.session == entry.session && back.time_ms == entry.time_ms && back.cxid == 9);
    assert_int_equal(back.origin, 254);
    assert_true(back.life == entry.life && back.sequence == entry.sequence && back.attachment == 3);
    assert_true(slice_is(back.body, "b"));
    entry_stamp(header, ENTRY_EXTENDED_TYPES, 42);
    assert_int_equal(entry_parse((struct slice){header, sizeof header}, &back), OK);
    assert_int_equal(back.flags, ENTRY_EXTENDED_TYPES);
    assert_true(back.time_ms == 42);
    for (size_t size = 1; size < ENTRY_HEADER_MAX + 2; size++)
        assert_int_equal(entry_parse((struct slice){header, size}, &back), ERR_CORRUPT);
    header[26] = 0;
    assert_int_equal(entry_parse((struct slice){header, sizeof header}, &back), ERR_CORRUPT);
    header[0] = 3;
    assert_int_equal(entry_parse((struct slice){header, sizeof header}, &back), ERR_UNSUPPORTED_VERSION);

    entry.origin = 0;
    assert_int_equal(entry_header(&entry, header), 26);
    put_be16(header + 26, 0); /* no ids */
    assert_int_equal(entry_parse((struct slice){header, 28}, &back), OK);
    assert_int_equal(back.origin, 0);
    assert_int_equal(back.attachment, 0);
}

static void a_client_that_moved_is_not_overtaken_by_what_it_sent_before(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = session_of(&bench, 1, 1700000000000);
    assert_int_equal(bench.machine.outcome.attachment, 1);
    assert_int_equal(create_as(&bench, session, 1, "/a"), OK);
    assert_int_equal(bench.machine.outcome.origin, 1);
    assert_int_equal(bench.machine.outcome.life, 7);
    assert_int_equal(bench.machine.outcome.sequence, 11);

    int64_t zxid = bench.machine.zxid;
    uint8_t wrong[CREATE_SESSION_BODY_SIZE] = {0, 0, 0x75, 0x30, 1, 2, 4};
    assert_int_equal(attach(&bench, session, wrong), ERR_ZK_SESSION_EXPIRED);
    assert_int_equal(attach(&bench, session + 1, session_body), ERR_ZK_SESSION_EXPIRED);
    assert_int_equal(create_as(&bench, session, 1, "/b"), OK);
    assert_int_equal(attach(&bench, session, session_body), OK);
    assert_int_equal(bench.machine.outcome.attachment, 2);
    assert_true(bench.machine.zxid == zxid + 1); /* of the creation */

    assert_int_equal(create_as(&bench, session, 1, "/c"), ERR_ZK_SESSION_MOVED);
    assert_true(bench.machine.zxid == zxid + 2);
    struct entry close = {.op = OP_CLOSE_SESSION, .session = session, .origin = 1, .attachment = 1};
    assert_int_equal(apply_of(&bench, &close), ERR_ZK_SESSION_MOVED);
    assert_int_equal(create_as(&bench, session, 2, "/c"), OK);
    assert_int_equal(create_as(&bench, session, 0, "/d"), OK);
    close.attachment = 2;
    assert_int_equal(apply_of(&bench, &close), OK);
    assert_int_equal(bench.machine.tree.ephemeral_count, 0);
    assert_int_equal(attach(&bench, session, session_body), ERR_ZK_SESSION_EXPIRED);
    bench_free(&bench);
}

static void ids_of_all_members_differ_for_ever(void **state)
{
    struct bench bench;
    bench_init(&bench);
    const int64_t times[] = {1700000000000, 1600000000000, 1700000000001, 0};
    int64_t ids[16];
    for (int i = 0; i < 16; i++) {
        ids[i] = session_of(&bench, (uint8_t)(1 + i % 3 * 100), times[i % 4]);
        assert_int_equal((uint64_t)ids[i] >> 56, 1 + i % 3 * 100);
        for (int other = 0; other < i; other++)
            assert_true(((uint64_t)ids[i] & (UINT64_MAX >> 8)) > ((uint64_t)ids[other] & (UINT64_MAX >> 8)));
    }
    assert_true(session_id_is_given(&bench.machine, ids[3]));
    assert_false(session_id_is_given(&bench.machine, ids[15] + 1));
    bench_free(&bench);
}

static void a_count_that_ends_begins_the_next_epoch(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    bench.machine.zxid = 0x5fffffffe;
    assert_int_equal(bench_create(&bench, session, "/last", "", 0), OK);
    assert_true(bench.machine.outcome.zxid == 0x5ffffffff);
    assert_int_equal(bench_create(&bench, session, "/next", "", 0), OK);
    assert_true(bench.machine.outcome.zxid == 0x600000000);
    const struct entry epoch = {.op = OP_NEW_EPOCH, .origin = 3};
    assert_int_equal(apply_of(&bench, &epoch), OK);
    assert_true(bench.machine.zxid == 0x700000000);
    bench_free(&bench);
}

static enum error compare_mark(struct bench *bench, const struct machine_mark *mark)
{
    uint8_t body[DIGEST_BODY_SIZE];
    put_be64(body, (uint64_t)mark->zxid);
    put_be64(body + 8, mark->digest);
    const struct entry entry = {.op = OP_DIGEST, .origin = 3, .body = {body, sizeof body}};
    return apply_of(bench, &entry);
}

static void who_parts_from_the_leader_notices(void **state)
{
    struct bench leader, follower;
    bench_init(&leader);
    bench_init(&follower);
    struct machine_mark mark;
    assert_false(machine_last_mark(&leader.machine, &mark));
    int64_t session = bench_session(&leader);
    bench_session(&follower);
    assert_int_equal(bench_create(&leader, session, "/a", "", 0), OK);
    assert_int_equal(bench_create(&follower, session, "/a", "", 0), OK);
    while (leader.machine.zxid < 3 * MARK_EVERY) {
        bench_set(&leader, session, "/a", "x", -1);
        bench_set(&follower, session, "/a", "x", -1);
    }
    assert_true(machine_last_mark(&leader.machine, &mark));
    assert_true(mark.zxid == 3 * MARK_EVERY);
    int64_t zxid = follower.machine.zxid;
    assert_int_equal(compare_mark(&follower, &mark), OK);
    assert_true(follower.machine.zxid == zxid);

    const struct entry epoch = {.op = OP_NEW_EPOCH, .origin = 3};
    tree_set_data(&follower.machine.tree, tree_find(&follower.machine.tree, SLICE("/a")), SLICE("y"), zxid,
                  0);
    apply_of(&leader, &epoch);
    apply_of(&follower, &epoch);
    assert_true(machine_last_mark(&leader.machine, &mark));
    assert_int_equal(compare_mark(&leader, &mark), OK);
    assert_false(leader.machine.has_parted);
    assert_int_equal(compare_mark(&follower, &mark), ERR_CORRUPT);
    assert_true(follower.machine.has_parted);
    mark.zxid = 12345; /* one that nobody has */
    leader.machine.has_parted = false;
    assert_int_equal(compare_mark(&leader, &mark), OK);
    bench_free(&leader);
    bench_free(&follower);
}

/* --- snapshots --- */

struct chunks {
    struct text items[8];
    size_t count;
};

static void keep_chunk(void *context, struct slice chunk)
{
    struct chunks *chunks = context;
    assert_true(chunks->count < 8);
    text_add(&chunks->items[chunks->count++], chunk);
}

static enum error restore(struct machine *restored, const struct chunks *chunks)
{
    machine_init(restored, 1);
    enum error err = OK;
    for (size_t i = 0; i < chunks->count && err == OK; i++)
        err = machine_restore(restored, text_slice(&chunks->items[i]));
    return err == OK ? machine_restored(restored) : err;
}

/* As formats 1 and 2 had it. Ids were dense then; here every second is far away. */
static uint32_t old_id(const struct znode *node)
{
    uint32_t place = slabs_place(node);
    return place % 2 ? place + 50000000 : place % 512;
}

static void add_old_znode(const struct tree *tree, const struct znode *node, struct text *out)
{
    struct stat_kept kept = znode_kept(tree, node);
    const struct znode *parent = znode_parent(tree, node);
    text_add_be32(out, old_id(node));
    text_add_be32(out, parent ? old_id(parent) : UINT32_MAX);
    text_add_be32(out, kept.order);
    text_add_be32(out, kept.acl);
    text_add_be64(out, (uint64_t)kept.czxid);
    text_add_be64(out, (uint64_t)kept.mzxid);
    text_add_be64(out, (uint64_t)kept.pzxid);
    text_add_be64(out, (uint64_t)kept.ctime_ms);
    text_add_be64(out, (uint64_t)kept.mtime_ms);
    text_add_be64(out, (uint64_t)kept.owner);
    text_add_be32(out, (uint32_t)kept.version);
    text_add_be32(out, (uint32_t)kept.cversion);
    text_add_be32(out, (uint32_t)kept.aversion);
    jute_add_bytes(out, znode_name(node));
    jute_add_bytes(out, znode_data(tree, node));
}

/* Format 2 says all of each znode; format 1 has no digest in the header (its last eight bytes), no attachment behind the one session. */
static void make_old(const struct tree *tree, struct chunks *chunks, uint32_t format)
{
    for (size_t i = 0; i < chunks->count; i++) {
        struct text *chunk = &chunks->items[i];
        if (chunk->data[0] == 'H') {
            put_be32((uint8_t *)chunk->data + 1, format);
            chunk->size -= format == 1 ? 8 : 0;
        } else if (chunk->data[0] == 'S') {
            chunk->size -= format == 1 ? 4 : 0;
        } else if (chunk->data[0] == 'Z') {
            chunk->size = 1;
            uint64_t at = 0;
            for (const struct znode *node; (node = tree_next(tree, &at));) add_old_znode(tree, node, chunk);
        }
    }
}

static void snapshots_know_attachments_and_old_ones_are_read(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = session_of(&bench, 200, 1700000000000);
    assert_true(session < 0);
    assert_int_equal(attach(&bench, session, session_body), OK);
    assert_int_equal(create_as(&bench, session, 2, "/a"), OK);
    struct chunks chunks = {0};
    machine_snapshot_begin(&bench.machine, keep_chunk, &chunks);
    while (machine_snapshot_step(&bench.machine, 100)) continue;

    struct machine restored;
    assert_int_equal(restore(&restored, &chunks), OK);
    assert_int_equal(machine_session(&restored, session)->attachment, 2);
    assert_true(machine_running_digest(&restored) == machine_running_digest(&bench.machine));
    machine_free(&restored);

    uint8_t *digest = (uint8_t *)chunks.items[0].data + chunks.items[0].size - 1;
    *digest ^= 1;
    assert_int_equal(restore(&restored, &chunks), ERR_CORRUPT);
    machine_free(&restored);
    *digest ^= 1;

    make_old(&bench.machine.tree, &chunks, 2);
    assert_int_equal(restore(&restored, &chunks), OK);
    assert_true(machine_digest(&restored) == machine_digest(&bench.machine));
    machine_free(&restored);

    make_old(&bench.machine.tree, &chunks, 1);
    assert_int_equal(restore(&restored, &chunks), OK);
    assert_int_equal(machine_session(&restored, session)->attachment, 1);
    assert_true(restored.tree.digest == bench.machine.tree.digest);
    machine_free(&restored);
    for (size_t i = 0; i < chunks.count; i++) text_free(&chunks.items[i]);
    bench_free(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_says_who_waits_for_it),
        cmocka_unit_test(a_client_that_moved_is_not_overtaken_by_what_it_sent_before),
        cmocka_unit_test(ids_of_all_members_differ_for_ever),
        cmocka_unit_test(a_count_that_ends_begins_the_next_epoch),
        cmocka_unit_test(who_parts_from_the_leader_notices),
        cmocka_unit_test(snapshots_know_attachments_and_old_ones_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
