/* requests.c: what callers ask, written as ZooKeeper's requests, and the answers read back. */
#include <stdlib.h>

#include "coord/session.h"

enum { MAX_WAITING_BYTES = 64 << 20 };

static bool path_is_legal(struct slice path)
{
    return path.data && path.size > 0 && path.data[0] == '/' && !memchr(path.data, 0, path.size);
}

static void add_path(const struct coord *coord, struct text *out, struct slice path)
{
    bool is_root = path.size == 1;
    size_t own = is_root && coord->chroot_size > 0 ? 0 : path.size;
    text_add_be32(out, (uint32_t)(coord->chroot_size + own));
    text_add(out, (struct slice){(const uint8_t *)coord->chroot, coord->chroot_size});
    text_add(out, (struct slice){path.data, own});
}

static void add_acl(struct text *out, enum coord_acl acl)
{
    enum { READ = 1, ALL = 31 };
    text_add_be32(out, acl == COORD_ACL_CREATOR_AND_READERS ? 2 : 1);
    if (acl != COORD_ACL_OPEN) {
        text_add_be32(out, ALL);
        jute_add_bytes(out, SLICE("auth"));
        jute_add_bytes(out, SLICE(""));
    }
    if (acl != COORD_ACL_CREATOR) {
        text_add_be32(out, acl == COORD_ACL_OPEN ? ALL : READ);
        jute_add_bytes(out, SLICE("world"));
        jute_add_bytes(out, SLICE("anyone"));
    }
}

static void add_step(const struct coord *coord, struct text *out, const struct coord_op *op)
{
    add_path(coord, out, op->path);
    switch (op->kind) {
    case COORD_CREATE:
        jute_add_bytes(out, op->data);
        add_acl(out, op->acl);
        text_add_be32(out, (uint32_t)op->mode);
        break;
    case COORD_SET:
        jute_add_bytes(out, op->data);
        text_add_be32(out, (uint32_t)op->version);
        break;
    case COORD_DELETE:
    case COORD_CHECK: text_add_be32(out, (uint32_t)op->version); break;
    }
}

static const int32_t step_type[] = {[COORD_CREATE] = JUTE_CREATE,
                                    [COORD_DELETE] = JUTE_DELETE,
                                    [COORD_SET] = JUTE_SET,
                                    [COORD_CHECK] = JUTE_CHECK};

size_t coord_op_size(const struct coord *coord, const struct coord_op *op)
{
    enum { HEADER = 9, LENGTHS = 12, LONGEST_ACL = 64 };
    return HEADER + LENGTHS + LONGEST_ACL + coord->chroot_size + op->path.size + op->data.size;
}

static void answer_now(coord_done *done, void *context, enum error err)
{
    struct coord_reply reply = {.err = err};
    if (done) done(context, &reply);
}

static struct request *request_new(int32_t op, const struct text *body, size_t step_count, coord_done *done,
                                   void *context)
{
    struct request *request = malloc(sizeof *request + body->size + step_count);
    if (!request) return NULL;
    *request = (struct request){.op = op, .done = done, .context = context, .size = body->size};
    memcpy(request->body, body->data, body->size);
    request->kinds = request->body + body->size;
    request->step_count = step_count;
    if (op == JUTE_GET || op == JUTE_EXISTS || op == JUTE_CHILDREN)
        request->path = (struct slice){request->body + 4, get_be32(request->body)};
    return request;
}

/* Queues what `body` holds, and frees it. */
static void ask(struct coord *coord, int32_t op, struct text *body, const struct coord_op *steps,
                size_t step_count, coord_done *done, void *context)
{
    enum error err = OK;
    if (coord->phase >= PHASE_FINISHING)
        err = ERR_CLOSED;
    else if (body->failed)
        err = ERR_NOMEM;
    else if (body->size > COORD_MAX_MESSAGE)
        err = ERR_TOO_LARGE;
    else if (coord->waiting_count >= COORD_MAX_WAITING ||
             coord->waiting_bytes + body->size > MAX_WAITING_BYTES)
        err = ERR_LIMIT;

    struct request *request = err == OK ? request_new(op, body, step_count, done, context) : NULL;
    text_free(body);
    if (!request) {
        answer_now(done, context, err == OK ? ERR_NOMEM : err);
        return;
    }
    for (size_t i = 0; i < step_count; i++) request->kinds[i] = (uint8_t)steps[i].kind;
    list_push_back(&coord->waiting, &request->link);
    coord->waiting_count++;
    coord->waiting_bytes += request->size;
    session_pump(coord);
}

static void ask_step(struct coord *coord, const struct coord_op *op, coord_done *done, void *context)
{
    if (!path_is_legal(op->path)) {
        answer_now(done, context, ERR_ZK_BAD_ARGUMENTS);
        return;
    }
    struct text body = {0};
    add_step(coord, &body, op);
    ask(coord, step_type[op->kind], &body, NULL, 0, done, context);
}

void coord_create(struct coord *coord, struct slice path, struct slice data, enum coord_mode mode,
                  enum coord_acl acl, coord_done *done, void *context)
{
    struct coord_op op = {.kind = COORD_CREATE, .path = path, .data = data, .mode = mode, .acl = acl};
    ask_step(coord, &op, done, context);
}

void coord_delete(struct coord *coord, struct slice path, int32_t version, coord_done *done, void *context)
{
    struct coord_op op = {.kind = COORD_DELETE, .path = path, .version = version};
    ask_step(coord, &op, done, context);
}

void coord_set(struct coord *coord, struct slice path, struct slice data, int32_t version, coord_done *done,
               void *context)
{
    struct coord_op op = {.kind = COORD_SET, .path = path, .data = data, .version = version};
    ask_step(coord, &op, done, context);
}

/* The byte after the path asks for a watch; it is set when the request is sent. */
static void ask_read(struct coord *coord, int32_t op, struct slice path, coord_done *done, void *context)
{
    if (!path_is_legal(path)) {
        answer_now(done, context, ERR_ZK_BAD_ARGUMENTS);
        return;
    }
    struct text body = {0};
    add_path(coord, &body, path);
    text_addc(&body, 0);
    ask(coord, op, &body, NULL, 0, done, context);
}

void coord_get(struct coord *coord, struct slice path, coord_done *done, void *context)
{
    ask_read(coord, JUTE_GET, path, done, context);
}

void coord_exists(struct coord *coord, struct slice path, coord_done *done, void *context)
{
    ask_read(coord, JUTE_EXISTS, path, done, context);
}

void coord_children(struct coord *coord, struct slice path, coord_done *done, void *context)
{
    ask_read(coord, JUTE_CHILDREN, path, done, context);
}

void coord_multi(struct coord *coord, const struct coord_op *ops, size_t count, coord_done *done,
                 void *context)
{
    struct text body = {0};
    for (size_t i = 0; i < count; i++) {
        if (!path_is_legal(ops[i].path)) {
            text_free(&body);
            answer_now(done, context, ERR_ZK_BAD_ARGUMENTS);
            return;
        }
        jute_add_multi_header(&body, step_type[ops[i].kind], false, -1);
        add_step(coord, &body, &ops[i]);
    }
    jute_add_multi_header(&body, -1, true, -1);
    ask(coord, JUTE_MULTI, &body, ops, count, done, context);
}

struct request *request_internal(struct coord *coord, int32_t op, struct slice path, coord_done *done,
                                 void *context)
{
    struct text body = {0};
    jute_add_bytes(&body, path);
    if (op == JUTE_EXISTS) {
        text_addc(&body, 0);
    } else {
        jute_add_bytes(&body, SLICE_NULL);
        add_acl(&body, COORD_ACL_OPEN);
        text_add_be32(&body, COORD_PERSISTENT);
    }
    struct request *request = body.failed ? NULL : request_new(op, &body, 0, done, context);
    text_free(&body);
    if (!request) return NULL;
    request->is_internal = true;
    list_push_back(&coord->urgent, &request->link);
    coord->waiting_count++;
    coord->waiting_bytes += request->size;
    return request;
}

/* --- answers --- */

void request_finish(struct coord *coord, struct request *request, const struct coord_reply *reply)
{
    list_remove(&request->link);
    coord->waiting_count--;
    coord->waiting_bytes -= request->size;
    if (request->done) request->done(request->context, reply);
    free(request);
}

void request_fail(struct coord *coord, struct request *request, enum error err)
{
    struct coord_reply reply = {.err = err};
    request_finish(coord, request, &reply);
}

static bool answer_children(struct coord *coord, struct request *request, struct jute *in,
                            struct coord_reply *reply)
{
    int32_t told = jute_count(in, 4);
    size_t count = told > 0 ? (size_t)told : 0;
    struct slice *names = malloc((count ? count : 1) * sizeof *names);
    if (!names) {
        request_fail(coord, request, ERR_NOMEM);
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        names[i] = jute_bytes(in);
        if (!names[i].data) in->is_bad = true;
    }
    reply->stat = stat_read(in);
    reply->children = names;
    reply->child_count = count;
    bool is_whole = !in->is_bad;
    if (is_whole) request_finish(coord, request, reply);
    free(names);
    return is_whole;
}

static void read_step(struct coord *coord, struct jute *in, enum coord_op_kind kind,
                      struct coord_op_result *result)
{
    int32_t type = jute_int(in);
    if (jute_bool(in)) in->is_bad = true;
    jute_int(in);
    if (type == -1) {
        int32_t code = jute_int(in);
        result->err = code == 0 ? OK : error_from_zk(code);
    } else if (type != step_type[kind]) {
        in->is_bad = true;
    } else if (kind == COORD_CREATE) {
        result->path = chroot_strip(coord, jute_bytes(in));
    } else if (kind == COORD_SET) {
        result->stat = stat_read(in);
    }
}

static bool answer_multi(struct coord *coord, struct request *request, struct jute *in,
                         struct coord_reply *reply)
{
    size_t count = request->step_count;
    struct coord_op_result *results = calloc(count ? count : 1, sizeof *results);
    if (!results) {
        request_fail(coord, request, ERR_NOMEM);
        return true;
    }
    for (size_t i = 0; i < count && !in->is_bad; i++) {
        read_step(coord, in, (enum coord_op_kind)request->kinds[i], &results[i]);
        bool is_cause = results[i].err != OK && results[i].err != ERR_ZK_RUNTIME_INCONSISTENCY;
        if (is_cause && reply->err == OK) {
            reply->err = results[i].err;
            reply->failed_index = i;
        }
    }
    /* Some keeper may blame no step in particular: then none was done either. */
    for (size_t i = 0; i < count && reply->err == OK; i++) reply->err = results[i].err;
    reply->results = results;
    reply->result_count = count;
    bool is_whole = !in->is_bad;
    if (is_whole) request_finish(coord, request, reply);
    free(results);
    return is_whole;
}

bool request_take_answer(struct coord *coord, struct request *request, int64_t zxid, int32_t code,
                         struct jute *in)
{
    struct coord_reply reply = {.err = code == 0 ? OK : error_from_zk(code), .zxid = zxid};
    if (request->is_watching) watch_arm(coord, request, reply.err);
    if (reply.err != OK) {
        request_finish(coord, request, &reply);
        return true;
    }
    switch (request->op) {
    case JUTE_CREATE: reply.path = chroot_strip(coord, jute_bytes(in)); break;
    case JUTE_GET:
        reply.data = jute_bytes(in);
        reply.stat = stat_read(in);
        break;
    case JUTE_EXISTS:
    case JUTE_SET: reply.stat = stat_read(in); break;
    case JUTE_CHILDREN: return answer_children(coord, request, in, &reply);
    case JUTE_MULTI: return answer_multi(coord, request, in, &reply);
    default: break;
    }
    if (in->is_bad) return false;
    request_finish(coord, request, &reply);
    return true;
}
