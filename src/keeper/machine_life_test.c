/* machine_life_test.c: random lives of the state machine against a model too plain to be wrong: an array of znodes with
 * their whole paths, copied whole before each multi. And snapshots taken in the middle of such lives. */
#include "base/random.h"
#include "keeper/bench.h"
#include "wire/crc32c.h"

enum { NODES_MAX = 400, SESSIONS = 3, STEPS = 3000 };

struct model_node {
    char path[64];
    char data[16];
    int64_t czxid, mzxid, pzxid, owner;
    int32_t version, creations;
};

struct model {
    struct model_node nodes[NODES_MAX];
    int count;
    int64_t zxid;
};

static int model_find(const struct model *model, const char *path)
{
    for (int i = 0; i < model->count; i++) {
        if (strcmp(model->nodes[i].path, path) == 0) return i;
    }
    return -1;
}

static int model_parent(const struct model *model, const char *path)
{
    char parent[64];
    snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = 0;
    return model_find(model, parent);
}

static int model_children(const struct model *model, const char *path)
{
    int count = 0;
    size_t size = strlen(path);
    for (int i = 0; i < model->count; i++) {
        const char *other = model->nodes[i].path;
        if (strncmp(other, path, size) == 0 && other[size] == '/' && !strchr(other + size + 1, '/')) count++;
    }
    return count;
}

static enum error model_create(struct model *model, const char *path, const char *data, int32_t flags,
                               int64_t session)
{
    int parent = model_parent(model, path);
    if (parent < 0) return ERR_ZK_NO_NODE;
    char name[64];
    snprintf(name, sizeof name, "%s", path);
    if (flags & 2) snprintf(name, sizeof name, "%.40s%010d", path, model->nodes[parent].creations);
    if (model_find(model, name) >= 0) return ERR_ZK_NODE_EXISTS;
    if (model->nodes[parent].owner != 0) return ERR_ZK_NO_CHILDREN_FOR_EPHEMERALS;
    assert_true(model->count < NODES_MAX);
    struct model_node *node = &model->nodes[model->count++];
    *node = (struct model_node){.czxid = model->zxid, .mzxid = model->zxid, .pzxid = model->zxid};
    memcpy(node->path, name, sizeof name);
    snprintf(node->data, sizeof node->data, "%s", data);
    node->owner = flags & 1 ? session : 0;
    model->nodes[parent].creations++;
    model->nodes[parent].pzxid = model->zxid;
    return OK;
}

static void model_remove(struct model *model, int index)
{
    int parent = model_parent(model, model->nodes[index].path);
    model->nodes[parent].pzxid = model->zxid;
    memmove(&model->nodes[index], &model->nodes[index + 1],
            (size_t)(model->count - index - 1) * sizeof *model->nodes);
    model->count--;
}

static enum error model_delete(struct model *model, const char *path, int32_t version)
{
    if (model_parent(model, path) < 0) return ERR_ZK_NO_NODE;
    int index = model_find(model, path);
    if (index < 0) return ERR_ZK_NO_NODE;
    if (version != -1 && version != model->nodes[index].version) return ERR_ZK_BAD_VERSION;
    if (model_children(model, path) > 0) return ERR_ZK_NOT_EMPTY;
    model_remove(model, index);
    return OK;
}

static enum error model_set(struct model *model, const char *path, const char *data, int32_t version)
{
    int index = model_find(model, path);
    if (index < 0) return ERR_ZK_NO_NODE;
    struct model_node *node = &model->nodes[index];
    if (version != -1 && version != node->version) return ERR_ZK_BAD_VERSION;
    node->version++;
    node->mzxid = model->zxid;
    snprintf(node->data, sizeof node->data, "%s", data);
    return OK;
}

static void model_close(struct model *model, int64_t session)
{
    for (int i = 0; i < model->count;) {
        if (model->nodes[i].owner == session) {
            model_remove(model, i);
        } else {
            i++;
        }
    }
}

static void compare(struct bench *bench, const struct model *model, uint64_t seed, int step)
{
    const struct machine *machine = &bench->machine;
    if (machine->tree.count != model->count + 3)
        fail_msg("seed %llu step %d: %lld znodes, not %d", (unsigned long long)seed, step,
                 (long long)machine->tree.count, model->count + 3);
    for (int i = 0; i < model->count; i++) {
        const struct model_node *want = &model->nodes[i];
        struct znode *node = tree_find(&machine->tree, slice_of(want->path));
        if (!node) fail_msg("seed %llu step %d: no %s", (unsigned long long)seed, step, want->path);
        struct znode_stat stat = znode_stat(&machine->tree, node);
        int children =
            model_children(model, want->path) + (want->path[0] == 0); /* the root: /zookeeper, too */
        bool is_same = stat.czxid == want->czxid && stat.mzxid == want->mzxid && stat.pzxid == want->pzxid &&
                       stat.ephemeral_owner == want->owner && stat.version == want->version &&
                       stat.cversion == 2 * want->creations - children && stat.child_count == children &&
                       slice_is(znode_data(&machine->tree, node), want->data);
        if (!is_same) fail_msg("seed %llu step %d: %s differs", (unsigned long long)seed, step, want->path);
    }
}

static void random_path(struct random *random, char path[64])
{
    int depth = 1 + (int)random_below(random, 3);
    size_t size = 0;
    for (int i = 0; i < depth; i++) {
        size += (size_t)snprintf(path + size, 64 - size, "/%c", 'a' + (int)random_below(random, 4));
    }
}

struct part {
    int kind; /* 0 create, 1 delete, 2 set, 3 check */
    char path[64], data[16];
    int32_t flags, version;
};

static struct part random_part(struct random *random)
{
    struct part part = {.kind = (int)random_below(random, 3), .version = -1};
    random_path(random, part.path);
    snprintf(part.data, sizeof part.data, "%d", (int)random_below(random, 1000));
    if (random_below(random, 4) == 0) part.flags = 1 + (int32_t)random_below(random, 3);
    if (part.flags >= 2 && random_below(random, 4) != 0)
        part.flags = 0; /* few sequences, for the array's sake */
    if (random_below(random, 3) == 0) part.version = (int32_t)random_below(random, 3);
    return part;
}

static enum error model_part(struct model *model, const struct part *part, int64_t session)
{
    switch (part->kind) {
    case 0: return model_create(model, part->path, part->data, part->flags, session);
    case 1: return model_delete(model, part->path, part->version);
    case 2: return model_set(model, part->path, part->data, part->version);
    default: {
        int index = model_find(model, part->path);
        if (index < 0) return ERR_ZK_NO_NODE;
        return part->version == -1 || part->version == model->nodes[index].version ? OK : ERR_ZK_BAD_VERSION;
    }
    }
}

static const int32_t ops[] = {OP_CREATE, OP_DELETE, OP_SET_DATA, OP_CHECK};

static void add_part(struct text *out, const struct part *part)
{
    switch (part->kind) {
    case 0: add_create(out, slice_of(part->path), slice_of(part->data), part->flags); break;
    case 2: add_set_data(out, slice_of(part->path), slice_of(part->data), part->version); break;
    default: add_path_version(out, slice_of(part->path), part->version); break;
    }
}

static void random_multi(struct bench *bench, struct model *model, struct random *random, int64_t session)
{
    static struct model before;
    before = *model;
    int count = (int)random_below(random, 6);
    enum error want = OK;
    text_reset(&bench->body);
    for (int i = 0; i < count; i++) {
        struct part part = random_part(random);
        if (random_below(random, 5) == 0) part.kind = 3;
        add_multi_part(&bench->body, ops[part.kind], false);
        add_part(&bench->body, &part);
        if (want == OK) want = model_part(model, &part, session);
    }
    add_multi_part(&bench->body, -1, true);
    if (want != OK) {
        before.zxid = model->zxid;
        *model = before;
    }
    assert_int_equal(bench_apply(bench, OP_MULTI, session, text_slice(&bench->body)), OK);
}

/* --- snapshots in between --- */

struct chunks {
    struct text bytes;
    size_t sizes[4096];
    size_t count;
};

static void keep_chunk(void *context, struct slice chunk)
{
    struct chunks *chunks = context;
    assert_true(chunks->count < 4096);
    chunks->sizes[chunks->count++] = chunk.size;
    text_add(&chunks->bytes, chunk);
}

static void restore_and_compare(struct chunks *chunks, uint64_t want)
{
    struct machine restored;
    machine_init(&restored, 1);
    size_t at = 0;
    for (size_t i = 0; i < chunks->count; i++) {
        struct slice chunk = {(const uint8_t *)chunks->bytes.data + at, chunks->sizes[i]};
        assert_int_equal(machine_restore(&restored, chunk), OK);
        at += chunks->sizes[i];
    }
    assert_int_equal(machine_restored(&restored), OK);
    assert_true(machine_digest(&restored) == want);
    machine_free(&restored);
    text_reset(&chunks->bytes);
    chunks->count = 0;
}

/* ZooKeeper's digest as its definition says it, from nothing. */
static void digest_is_that_of_every_znode(const struct tree *tree)
{
    uint64_t sum = 0;
    struct text bytes = {0};
    uint64_t at = 0;
    const struct znode *node;
    while ((node = tree_next(tree, &at))) {
        struct stat_kept kept = znode_kept(tree, node);
        text_reset(&bytes);
        tree_path(tree, node, &bytes);
        if (bytes.size > 11 && memcmp(bytes.data, "/zookeeper/", 11) == 0) continue;
        if (!node->parent) text_reset(&bytes); /* the root's path is empty */
        text_add(&bytes, znode_data(tree, node));
        text_add_be64(&bytes, (uint64_t)kept.czxid);
        text_add_be64(&bytes, (uint64_t)kept.mzxid);
        text_add_be64(&bytes, (uint64_t)kept.pzxid);
        text_add_be64(&bytes, (uint64_t)kept.ctime_ms);
        text_add_be64(&bytes, (uint64_t)kept.mtime_ms);
        text_add_be32(&bytes, (uint32_t)kept.version);
        text_add_be32(&bytes, (uint32_t)kept.cversion);
        text_add_be32(&bytes, (uint32_t)kept.aversion);
        text_add_be64(&bytes, (uint64_t)kept.owner);
        sum += crc32_legacy(0, bytes.data, bytes.size);
    }
    text_free(&bytes);
    assert_true(sum == tree->digest);
}

static void live(uint64_t seed)
{
    struct random random;
    random_seed(&random, seed);
    struct bench bench;
    bench_init(&bench);
    static struct model model;
    model = (struct model){.count = 1};
    int64_t sessions[SESSIONS];
    for (int i = 0; i < SESSIONS; i++) sessions[i] = bench_session(&bench);
    struct chunks *chunks = calloc(1, sizeof *chunks);
    bool is_saving = false;
    uint64_t saved_digest = 0;

    for (int step = 0; step < STEPS; step++) {
        int64_t *session = &sessions[random_below(&random, SESSIONS)];
        model.zxid = bench.machine.zxid + 1;
        uint64_t dice = random_below(&random, 100);
        if (dice < 2) {
            assert_int_equal(bench_apply(&bench, OP_CLOSE_SESSION, *session, SLICE_NULL), OK);
            model_close(&model, *session);
            *session = bench_session(&bench);
        } else if (dice < 20) {
            random_multi(&bench, &model, &random, *session);
        } else {
            struct part part = random_part(&random);
            enum error want = model_part(&model, &part, *session);
            text_reset(&bench.body);
            add_part(&bench.body, &part);
            enum error err = bench_apply(&bench, ops[part.kind], *session, text_slice(&bench.body));
            if (err != want)
                fail_msg("seed %llu step %d: %s instead of %s", (unsigned long long)seed, step,
                         error_name(err), error_name(want));
        }
        /* The array is small: what sequences left behind goes now and then. */
        if (model.count > NODES_MAX - 20) {
            for (int i = model.count - 1; i > 0; i--) {
                char path[64];
                memcpy(path, model.nodes[i].path, sizeof path);
                if (model_children(&model, path) > 0) continue;
                model.zxid = bench.machine.zxid + 1;
                assert_int_equal(bench_delete(&bench, sessions[0], path, -1), OK);
                assert_int_equal(model_delete(&model, path, -1), OK);
            }
        }
        if (step % 16 == 0) compare(&bench, &model, seed, step);
        if (step % 64 == 0) digest_is_that_of_every_znode(&bench.machine.tree);

        if (!is_saving && random_below(&random, 50) == 0) {
            saved_digest = machine_digest(&bench.machine);
            machine_snapshot_begin(&bench.machine, keep_chunk, chunks);
            is_saving = true;
        } else if (is_saving && !machine_snapshot_step(&bench.machine, random_below(&random, 4))) {
            restore_and_compare(chunks, saved_digest);
            is_saving = false;
        }
    }
    compare(&bench, &model, seed, STEPS);
    text_free(&chunks->bytes);
    free(chunks);
    bench_free(&bench);
}

static void lives_agree_with_a_model(void **state)
{
    for (uint64_t seed = 1; seed <= 12; seed++) live(seed);
}

/* Two members that apply the same entries are equal, also when one of them came from a snapshot half-way. */
static void a_restored_member_goes_on_alike(void **state)
{
    struct random random;
    random_seed(&random, 99);
    struct bench first, second;
    bench_init(&first);
    bench_init(&second);
    struct chunks *chunks = calloc(1, sizeof *chunks);
    int64_t session = bench_session(&first);
    assert_int_equal(bench_session(&second), session);
    for (int step = 0; step < 4000; step++) {
        struct part part = random_part(&random);
        text_reset(&first.body);
        add_part(&first.body, &part);
        enum error a = bench_apply(&first, ops[part.kind], session, text_slice(&first.body));
        text_reset(&second.body);
        add_part(&second.body, &part);
        enum error b = bench_apply(&second, ops[part.kind], session, text_slice(&second.body));
        assert_int_equal(a, b);
        assert_true(
            slice_equal(text_slice(&first.machine.outcome.body), text_slice(&second.machine.outcome.body)));
        if (step % 1000 != 500) continue;
        machine_snapshot_begin(&first.machine, keep_chunk, chunks);
        while (machine_snapshot_step(&first.machine, 7)) {
        }
        size_t at = 0;
        machine_free(&second.machine);
        machine_init(&second.machine, 1);
        second.machine.wants_events = true;
        for (size_t i = 0; i < chunks->count; i++) {
            struct slice chunk = {(const uint8_t *)chunks->bytes.data + at, chunks->sizes[i]};
            assert_int_equal(machine_restore(&second.machine, chunk), OK);
            at += chunks->sizes[i];
        }
        assert_int_equal(machine_restored(&second.machine), OK);
        text_reset(&chunks->bytes);
        chunks->count = 0;
        assert_true(machine_digest(&first.machine) == machine_digest(&second.machine));
    }
    assert_true(machine_digest(&first.machine) == machine_digest(&second.machine));
    text_free(&chunks->bytes);
    free(chunks);
    bench_free(&first);
    bench_free(&second);
}

/* Damaged chunks are refused or give some other machine, but never more than that. */
static void hurt_chunks_do_no_harm(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    bench_create(&bench, session, "/a", "one", 0);
    bench_create(&bench, session, "/a/b", "two", 1);
    bench_create_acl(&bench, session, "/a/c", ACL_ALL, "digest", "u:p");
    struct chunks *chunks = calloc(1, sizeof *chunks);
    machine_snapshot_begin(&bench.machine, keep_chunk, chunks);
    while (machine_snapshot_step(&bench.machine, 100)) {
    }
    struct random random;
    random_seed(&random, 5);
    for (int round = 0; round < 20000; round++) {
        struct machine restored;
        machine_init(&restored, 1);
        size_t at = 0, hurt = random_below(&random, chunks->bytes.size);
        char was = chunks->bytes.data[hurt];
        chunks->bytes.data[hurt] = (char)random_next(&random);
        enum error err = OK;
        for (size_t i = 0; i < chunks->count && err == OK; i++) {
            size_t size = chunks->sizes[i];
            if (random_below(&random, 10) == 0) size = random_below(&random, size + 1);
            err = machine_restore(&restored, (struct slice){(const uint8_t *)chunks->bytes.data + at, size});
            at += chunks->sizes[i];
        }
        if (err == OK) err = machine_restored(&restored);
        machine_free(&restored);
        chunks->bytes.data[hurt] = was;
    }
    text_free(&chunks->bytes);
    free(chunks);
    bench_free(&bench);
}

static enum error restore(struct machine *restored, const struct chunks *chunks)
{
    enum error err = OK;
    machine_init(restored, 1);
    size_t at = 0;
    for (size_t i = 0; i < chunks->count && err == OK; at += chunks->sizes[i++])
        err = machine_restore(restored,
                              (struct slice){(const uint8_t *)chunks->bytes.data + at, chunks->sizes[i]});
    return err == OK ? machine_restored(restored) : err;
}

/* Header: kind u8, format i32, zxid, last session, slots, znodes, sessions i64 each. */
enum { HEADER_ZXID_AT = 5, HEADER_LAST_SESSION_AT = 13, HEADER_SLOTS_AT = 21 };

/* What a snapshot says of the future is damage: a session would be given out twice, a znode be older than its parent. */
static void nothing_is_later_than_the_snapshot(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    bench_create(&bench, session, "/a", "one", 0);
    struct chunks *chunks = calloc(1, sizeof *chunks);
    machine_snapshot_begin(&bench.machine, keep_chunk, chunks);
    while (machine_snapshot_step(&bench.machine, 100)) continue;
    struct {
        size_t at;
        uint64_t value;
        enum error want;
    } rows[] = {
        {HEADER_ZXID_AT, (uint64_t)bench.machine.zxid + 7, OK},
        {HEADER_ZXID_AT, (uint64_t)bench.machine.zxid - 1, ERR_CORRUPT},
        {HEADER_ZXID_AT, UINT64_MAX, ERR_CORRUPT},
        {HEADER_LAST_SESSION_AT, (uint64_t)session + 7, OK},
        {HEADER_LAST_SESSION_AT, (uint64_t)session - 1, ERR_CORRUPT},
        {HEADER_LAST_SESSION_AT, UINT64_MAX, ERR_CORRUPT},
        {HEADER_SLOTS_AT, UINT64_MAX, OK}, /* believed by nobody */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t *at = (uint8_t *)chunks->bytes.data + rows[i].at;
        uint64_t was = get_be64(at);
        put_be64(at, rows[i].value);
        struct machine restored;
        assert_int_equal(restore(&restored, chunks), rows[i].want);
        machine_free(&restored);
        put_be64(at, was);
    }
    text_free(&chunks->bytes);
    free(chunks);
    bench_free(&bench);
}

static void gaps_of_deleted_znodes_end_with_a_restart(void **state)
{
    struct bench bench;
    bench_init(&bench);
    int64_t session = bench_session(&bench);
    char path[32], id[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(path, sizeof path, "/n%d", i);
        snprintf(id, sizeof id, "u%d:p", i);
        assert_int_equal(bench_create_acl(&bench, session, path, ACL_ALL, "digest", id), OK);
    }
    for (int i = 0; i < 4999; i++) {
        snprintf(path, sizeof path, "/n%d", i);
        assert_int_equal(bench_delete(&bench, session, path, -1), OK);
    }
    struct chunks *chunks = calloc(1, sizeof *chunks);
    machine_snapshot_begin(&bench.machine, keep_chunk, chunks);
    while (machine_snapshot_step(&bench.machine, 100)) continue;
    struct machine restored;
    assert_int_equal(restore(&restored, chunks), OK);
    assert_true(machine_digest(&restored) == machine_digest(&bench.machine));
    assert_int_equal(restored.tree.count, 5);
    machine_free(&restored);
    text_free(&chunks->bytes);
    free(chunks);
    bench_free(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives_agree_with_a_model),
        cmocka_unit_test(a_restored_member_goes_on_alike),
        cmocka_unit_test(hurt_chunks_do_no_harm),
        cmocka_unit_test(nothing_is_later_than_the_snapshot),
        cmocka_unit_test(gaps_of_deleted_znodes_end_with_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
