/* bench.h: what the tests of keeper/ share: a machine to which requests are handed as entries, and their bodies. */
#pragma once
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/test.h"
#include "base/text.h"
#include "keeper/jute.h"
#include "keeper/machine.h"

struct bench {
    struct machine machine;
    int64_t time_ms;
    struct text entry, body;
    struct text ids; /* of whoever asks; empty: ip 10.0.0.1 */
    uint8_t flags;
    int32_t cxid;
};

static inline void bench_init(struct bench *bench)
{
    *bench = (struct bench){.time_ms = 1700000000000};
    machine_init(&bench->machine, 1);
    bench->machine.wants_events = true;
    auth_add(&bench->ids, SLICE("ip"), SLICE("10.0.0.1"));
}

static inline void bench_free(struct bench *bench)
{
    machine_free(&bench->machine);
    text_free(&bench->entry);
    text_free(&bench->body);
    text_free(&bench->ids);
}

static inline enum error bench_apply(struct bench *bench, int32_t op, int64_t session, struct slice body)
{
    struct entry entry = {.flags = bench->flags,
                          .op = op,
                          .time_ms = ++bench->time_ms,
                          .session = session,
                          .cxid = ++bench->cxid};
    uint8_t header[ENTRY_HEADER_MAX];
    size_t header_size = entry_header(&entry, header);
    text_reset(&bench->entry);
    text_add(&bench->entry, (struct slice){header, header_size});
    text_add(&bench->entry, text_slice(&bench->ids));
    text_add(&bench->entry, body);
    enum error err = machine_apply(&bench->machine, text_slice(&bench->entry));
    assert_int_equal(err, OK);
    return bench->machine.outcome.err;
}

static inline int64_t bench_session(struct bench *bench)
{
    uint8_t body[CREATE_SESSION_BODY_SIZE] = {0, 0, 0x75, 0x30, 1, 2, 3};
    assert_int_equal(bench_apply(bench, OP_CREATE_SESSION, 0, (struct slice){body, sizeof body}), OK);
    return bench->machine.outcome.session;
}

/* --- bodies --- */

static inline void add_acl(struct text *out, int32_t perms, const char *scheme, const char *id)
{
    text_add_be32(out, 1);
    text_add_be32(out, (uint32_t)perms);
    jute_add_bytes(out, slice_of(scheme));
    jute_add_bytes(out, slice_of(id));
}

static inline void add_create(struct text *out, struct slice path, struct slice data, int32_t flags)
{
    jute_add_bytes(out, path);
    jute_add_bytes(out, data);
    add_acl(out, ACL_ALL, "world", "anyone");
    text_add_be32(out, (uint32_t)flags);
}

static inline void add_path_version(struct text *out, struct slice path, int32_t version)
{
    jute_add_bytes(out, path);
    text_add_be32(out, (uint32_t)version);
}

static inline void add_set_data(struct text *out, struct slice path, struct slice data, int32_t version)
{
    jute_add_bytes(out, path);
    jute_add_bytes(out, data);
    text_add_be32(out, (uint32_t)version);
}

static inline void add_multi_part(struct text *out, int32_t op, bool is_done)
{
    text_add_be32(out, (uint32_t)op);
    text_addc(out, (char)is_done);
    text_add_be32(out, UINT32_MAX);
}

static inline enum error bench_create(struct bench *bench, int64_t session, const char *path,
                                      const char *data, int32_t flags)
{
    text_reset(&bench->body);
    add_create(&bench->body, slice_of(path), slice_of(data), flags);
    return bench_apply(bench, OP_CREATE, session, text_slice(&bench->body));
}

static inline enum error bench_create_acl(struct bench *bench, int64_t session, const char *path,
                                          int32_t perms, const char *scheme, const char *id)
{
    text_reset(&bench->body);
    jute_add_bytes(&bench->body, slice_of(path));
    jute_add_bytes(&bench->body, SLICE("x"));
    add_acl(&bench->body, perms, scheme, id);
    text_add_be32(&bench->body, 0);
    return bench_apply(bench, OP_CREATE, session, text_slice(&bench->body));
}

static inline enum error bench_delete(struct bench *bench, int64_t session, const char *path, int32_t version)
{
    text_reset(&bench->body);
    add_path_version(&bench->body, slice_of(path), version);
    return bench_apply(bench, OP_DELETE, session, text_slice(&bench->body));
}

static inline enum error bench_set(struct bench *bench, int64_t session, const char *path, const char *data,
                                   int32_t version)
{
    text_reset(&bench->body);
    add_set_data(&bench->body, slice_of(path), slice_of(data), version);
    return bench_apply(bench, OP_SET_DATA, session, text_slice(&bench->body));
}

static inline enum error bench_set_acl(struct bench *bench, int64_t session, const char *path, int32_t perms,
                                       const char *scheme, const char *id, int32_t version)
{
    text_reset(&bench->body);
    jute_add_bytes(&bench->body, slice_of(path));
    add_acl(&bench->body, perms, scheme, id);
    text_add_be32(&bench->body, (uint32_t)version);
    return bench_apply(bench, OP_SET_ACL, session, text_slice(&bench->body));
}

static inline void ignore_watch(void *context, enum read_watch kind, struct slice path)
{
    *(int *)context += kind == READ_WATCH_DATA ? 1 : 100;
}

/* The answer is left in `out`; *watches counts data watches as 1, child watches as 100. */
static inline enum error bench_read(struct bench *bench, int32_t op, int64_t session, struct slice body,
                                    struct text *out, int *watches)
{
    struct read_request request = {.op = op,
                                   .session = session,
                                   .ids = {text_slice(&bench->ids)},
                                   .body = body,
                                   .watch = ignore_watch,
                                   .context = watches};
    text_reset(out);
    return machine_read(&bench->machine, &request, out);
}

static inline struct znode_stat bench_stat(struct bench *bench, const char *path)
{
    struct znode *node = tree_find(&bench->machine.tree, slice_of(path));
    assert_non_null(node);
    return znode_stat(&bench->machine.tree, node);
}
