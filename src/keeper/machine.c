#include "keeper/machine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/vec.h"
#include "keeper/jute.h"
#include "keeper/machine_inside.h"
#include "keeper/path.h"
#include "keeper/quota.h"

void machine_init(struct machine *machine, uint8_t server_id)
{
    *machine = (struct machine){.server_id = server_id};
    list_init(&machine->session_list);
    tree_init(&machine->tree);
}

enum { KEPT_EVENTS = 1024, KEPT_BYTES = 256 << 10 };

void machine_forget_events(struct machine *machine)
{
    struct machine_outcome *outcome = &machine->outcome;
    for (size_t i = 0; i < outcome->event_count; i++) {
        acl_release(&machine->tree.acls, outcome->events[i].acl);
        acl_release(&machine->tree.acls, outcome->events[i].parent_acl);
    }
    outcome->event_count = 0;
    text_reset(&outcome->paths);
    /* One multi of thousands is no reason to keep the memory for all those to come. */
    if (outcome->event_capacity > KEPT_EVENTS) {
        free(outcome->events);
        outcome->events = NULL;
        outcome->event_capacity = 0;
    }
    if (outcome->paths.capacity > KEPT_BYTES) text_free(&outcome->paths);
}

/* --- one operation --- */

/* The requests' records, as far as one operation needs them. */
struct request {
    int32_t op;
    struct slice path, data, acl;
    int32_t flags, version;
    int64_t ttl_ms;
    bool was_ttl; /* a createTTL in a multi whose flags make it something else */
};

void apply_event(struct apply *apply, enum event_type type, struct slice path, uint32_t acl,
                 uint32_t parent_acl)
{
    struct machine *machine = apply->machine;
    struct machine_outcome *outcome = &machine->outcome;
    if (!machine->wants_events) return;
    bool has_room = VEC_RESERVE(outcome->events, outcome->event_count, outcome->event_capacity);
    assert(has_room);
    acl_retain(&machine->tree.acls, acl);
    acl_retain(&machine->tree.acls, parent_acl);
    outcome->events[outcome->event_count++] =
        (struct machine_event){type, outcome->paths.size, path.size, acl, parent_acl};
    text_add(&outcome->paths, path);
    assert(!outcome->paths.failed);
}

void apply_removal(struct apply *apply, struct znode *node, struct slice path)
{
    struct tree *tree = &apply->machine->tree;
    apply_event(apply, EVENT_DELETED, path, znode_acl(tree, node), znode_acl(tree, znode_parent(tree, node)));
    int64_t size = znode_data_size(node);
    tree_delete(tree, node, apply->zxid);
    quota_add(tree, path, -size, -1);
}

/* Takes back the events of a failed multi. */
static void events_cut(struct machine *machine, size_t count)
{
    struct machine_outcome *outcome = &machine->outcome;
    while (outcome->event_count > count) {
        struct machine_event *event = &outcome->events[--outcome->event_count];
        acl_release(&machine->tree.acls, event->acl);
        acl_release(&machine->tree.acls, event->parent_acl);
    }
}

static bool permits(const struct apply *apply, const struct znode *node, int perm)
{
    if (apply->entry->flags & ENTRY_SKIP_ACL) return true;
    return acl_permits(acl_bytes(&apply->machine->tree.acls, znode_acl(&apply->machine->tree, node)), perm,
                       &apply->entry->ids);
}

/* Into machine.scratch. */
static enum error fix_acl(const struct apply *apply, struct slice sent)
{
    uint8_t flags = apply->entry->flags;
    int schemes = (flags & ENTRY_X509_ACLS ? ACL_X509 : 0) | (flags & ENTRY_SASL_ACLS ? ACL_SASL : 0);
    return acl_fix(sent, &apply->entry->ids, schemes, &apply->machine->scratch);
}

static bool version_fits(int32_t wanted, int32_t actual)
{
    return wanted == -1 || wanted == actual;
}

/* Is there room for so much more under `path`? */
static enum error within_quota(const struct apply *apply, struct slice path, int64_t bytes_more,
                               int64_t count_more)
{
    if (!(apply->entry->flags & ENTRY_ENFORCE_QUOTA)) return OK;
    const struct tree *tree = &apply->machine->tree;
    const struct znode *quota = quota_of(tree, path);
    bool is_over = false;
    enum error err = quota ? quota_check(tree, quota, bytes_more, count_more, &is_over) : OK;
    if (is_over) text_add(&apply->machine->outcome.over_quota, path);
    return err;
}

enum create_flags {
    FLAG_EPHEMERAL = 1,
    FLAG_SEQUENTIAL = 2,
    FLAG_EPHEMERAL_SEQUENTIAL = 3,
    FLAG_CONTAINER = 4,
    FLAG_TTL = 5,
    FLAG_TTL_SEQUENTIAL = 6
};

static enum error create_check_mode(const struct apply *apply, const struct request *request)
{
    if (request->flags < 0 || request->flags > FLAG_TTL_SEQUENTIAL) return ERR_ZK_BAD_ARGUMENTS;
    bool is_ttl = request->flags >= FLAG_TTL;
    if (request->op == OP_CREATE_TTL && !is_ttl)
        return ERR_ZK_BAD_ARGUMENTS; /* Apache's server dies of some of these */
    if (is_ttl && !(apply->entry->flags & ENTRY_EXTENDED_TYPES)) return ERR_ZK_UNIMPLEMENTED;
    if (is_ttl ? request->ttl_ms <= 0 || request->ttl_ms > TTL_MAX_MS : request->ttl_ms >= 0) {
        return ERR_ZK_BAD_ARGUMENTS;
    }
    return OK;
}

/* createContainer and createTTL make what they are called, whatever their flags say. */
static int64_t create_owner(const struct apply *apply, const struct request *request)
{
    if (request->op == OP_CREATE_CONTAINER) return OWNER_CONTAINER;
    if (request->op == OP_CREATE_TTL) return OWNER_TTL_MASK | request->ttl_ms;
    switch (request->flags) {
    case FLAG_EPHEMERAL:
    case FLAG_EPHEMERAL_SEQUENTIAL: return apply->entry->session;
    case FLAG_CONTAINER: return OWNER_CONTAINER;
    case FLAG_TTL:
    case FLAG_TTL_SEQUENTIAL: return OWNER_TTL_MASK | request->ttl_ms;
    default: return 0;
    }
}

/* The order of these checks decides which error a client sees: facts/keeper.md 1.8. */
static enum error apply_create(struct apply *apply, const struct request *request, struct text *out)
{
    struct machine *machine = apply->machine;
    struct tree *tree = &machine->tree;
    enum error err = create_check_mode(apply, request);
    if (err != OK) return err;
    struct slice parent_path, name;
    if (!path_split(request->path, &parent_path, &name)) return ERR_ZK_BAD_ARGUMENTS;
    err = fix_acl(apply, request->acl);
    if (err != OK) return err;
    struct znode *parent = tree_find(tree, parent_path);
    if (!parent) return ERR_ZK_NO_NODE;
    if (!permits(apply, parent, ACL_CREATE)) return ERR_ZK_NO_AUTH;

    struct text *path = &machine->path;
    text_reset(path);
    text_add(path, request->path);
    bool is_sequential = request->flags == FLAG_SEQUENTIAL || request->flags == FLAG_EPHEMERAL_SEQUENTIAL ||
                         request->flags == FLAG_TTL_SEQUENTIAL;
    if (is_sequential) text_addf(path, "%010d", znode_kept(tree, parent).cversion);
    assert(!path->failed);
    if (!path_is_valid(text_slice(path))) return ERR_ZK_BAD_ARGUMENTS;
    bool is_split = path_split(text_slice(path), &parent_path, &name);
    assert(is_split);
    if (name.size > ZNODE_NAME_MAX) return ERR_ZK_BAD_ARGUMENTS;
    if (name.size == 0 || tree_child(tree, parent, name)) return ERR_ZK_NODE_EXISTS; /* "/" exists */
    if (znode_owner_kind(tree, parent) == OWNER_SESSION) return ERR_ZK_NO_CHILDREN_FOR_EPHEMERALS;
    err = within_quota(apply, text_slice(path), (int64_t)request->data.size, 1);
    if (err != OK) return err;

    struct znode_new wanted = {
        .name = name,
        .data = request->data,
        .acl = acl_intern(&tree->acls, text_slice(&machine->scratch)),
        .owner = create_owner(apply, request),
        .zxid = apply->zxid,
        .time_ms = apply->entry->time_ms,
        .order = apply->order++,
    };
    if (wanted.owner == apply->entry->session) {
        wanted.ephemerals = &machine_session(machine, apply->entry->session)->ephemerals;
        apply->made_ephemeral = true;
    }
    struct znode *node = tree_create(tree, parent, &wanted);
    apply_event(apply, EVENT_CREATED, text_slice(path), znode_acl(tree, node), znode_acl(tree, parent));
    jute_add_bytes(out, text_slice(path));
    if (request->op != OP_CREATE) znode_add_stat(tree, node, out);
    quota_made(tree, node);
    quota_add(tree, text_slice(path), (int64_t)request->data.size, 1);
    return OK;
}

/* A deletion's target has a parent and may be deleted at all. */
static enum error find_deletable(struct apply *apply, const struct request *request, struct znode **parent)
{
    struct slice parent_path, name;
    if (!path_split(request->path, &parent_path, &name) || path_is_special(request->path))
        return ERR_ZK_BAD_ARGUMENTS;
    *parent = tree_find(&apply->machine->tree, parent_path);
    return OK;
}

static enum error apply_delete(struct apply *apply, const struct request *request)
{
    struct tree *tree = &apply->machine->tree;
    struct znode *parent;
    enum error err = find_deletable(apply, request, &parent);
    if (err != OK) return err;
    if (!parent) return ERR_ZK_NO_NODE;
    if (!permits(apply, parent, ACL_DELETE)) return ERR_ZK_NO_AUTH;
    struct znode *node = tree_find(tree, request->path);
    if (!node) return ERR_ZK_NO_NODE;
    if (!version_fits(request->version, znode_kept(tree, node).version)) return ERR_ZK_BAD_VERSION;
    if (znode_child_count(tree, node) > 0) return ERR_ZK_NOT_EMPTY;
    apply_removal(apply, node, request->path);
    return OK;
}

static enum error apply_delete_container(struct apply *apply, const struct request *request)
{
    struct tree *tree = &apply->machine->tree;
    struct znode *parent;
    enum error err = find_deletable(apply, request, &parent);
    if (err != OK) return err;
    struct znode *node = tree_find(tree, request->path);
    if (!node) return ERR_ZK_NO_NODE;
    if (znode_child_count(tree, node) > 0) return ERR_ZK_NOT_EMPTY;
    if (znode_owner_kind(tree, node) == OWNER_SESSION) return ERR_ZK_BAD_VERSION;
    apply_removal(apply, node, request->path);
    return OK;
}

static enum error apply_set_data(struct apply *apply, const struct request *request, struct text *out)
{
    struct tree *tree = &apply->machine->tree;
    if (!path_is_valid(request->path)) return ERR_ZK_BAD_ARGUMENTS;
    struct znode *node = tree_find(tree, request->path);
    if (!node) return ERR_ZK_NO_NODE;
    if (!permits(apply, node, ACL_WRITE)) return ERR_ZK_NO_AUTH;
    int64_t bytes_more = (int64_t)request->data.size - znode_data_size(node);
    enum error err = within_quota(apply, request->path, bytes_more, 0);
    if (err != OK) return err;
    if (!version_fits(request->version, znode_kept(tree, node).version)) return ERR_ZK_BAD_VERSION;
    tree_set_data(tree, node, request->data, apply->zxid, apply->entry->time_ms);
    apply_event(apply, EVENT_DATA_CHANGED, request->path, znode_acl(tree, node), znode_acl(tree, node));
    znode_add_stat(tree, node, out);
    quota_add(tree, request->path, bytes_more, 0);
    return OK;
}

static enum error apply_set_acl(struct apply *apply, const struct request *request, struct text *out)
{
    struct machine *machine = apply->machine;
    if (!path_is_valid(request->path)) return ERR_ZK_BAD_ARGUMENTS;
    enum error err = fix_acl(apply, request->acl);
    if (err != OK) return err;
    struct tree *tree = &machine->tree;
    struct znode *node = tree_find(tree, request->path);
    if (!node) return ERR_ZK_NO_NODE;
    if (!permits(apply, node, ACL_ADMIN)) return ERR_ZK_NO_AUTH;
    if (!version_fits(request->version, znode_kept(tree, node).aversion)) return ERR_ZK_BAD_VERSION;
    tree_set_acl(tree, node, acl_intern(&tree->acls, text_slice(&machine->scratch)));
    znode_add_stat(tree, node, out);
    return OK;
}

static enum error apply_check(struct apply *apply, const struct request *request)
{
    if (!path_is_valid(request->path)) return ERR_ZK_BAD_ARGUMENTS;
    const struct tree *tree = &apply->machine->tree;
    const struct znode *node = tree_find(tree, request->path);
    if (!node) return ERR_ZK_NO_NODE;
    if (!permits(apply, node, ACL_READ)) return ERR_ZK_NO_AUTH;
    return version_fits(request->version, znode_kept(tree, node).version) ? OK : ERR_ZK_BAD_VERSION;
}

/* A request's record. False when it cannot be read or has no path. */
static bool request_take(struct jute *in, int32_t op, struct request *request)
{
    *request = (struct request){.op = op, .path = jute_bytes(in), .ttl_ms = -1};
    switch (op) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        request->data = jute_bytes(in);
        request->acl = acl_take(in);
        request->flags = jute_int(in);
        if (op == OP_CREATE_TTL) request->ttl_ms = jute_long(in);
        break;
    case OP_SET_DATA:
        request->data = jute_bytes(in);
        request->version = jute_int(in);
        break;
    case OP_SET_ACL:
        request->acl = acl_take(in);
        request->version = jute_int(in);
        break;
    case OP_DELETE:
    case OP_CHECK: request->version = jute_int(in); break;
    case OP_DELETE_CONTAINER: break;
    default: return false;
    }
    return !in->is_bad;
}

static bool op_creates(int32_t op)
{
    return op == OP_CREATE || op == OP_CREATE2 || op == OP_CREATE_CONTAINER || op == OP_CREATE_TTL;
}

static enum error apply_request(struct apply *apply, const struct request *request, struct text *out)
{
    if (!request->path.data && (op_creates(request->op) || request->op == OP_DELETE))
        return ERR_ZK_MARSHALLING;
    switch (request->op) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL: return apply_create(apply, request, out);
    case OP_DELETE: return apply_delete(apply, request);
    case OP_DELETE_CONTAINER: return apply_delete_container(apply, request);
    case OP_SET_DATA: return apply_set_data(apply, request, out);
    case OP_SET_ACL: return apply_set_acl(apply, request, out);
    default: return apply_check(apply, request);
    }
}

/* --- multi --- */

static bool op_fits_multi(int32_t op)
{
    switch (op) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
    case OP_DELETE:
    case OP_SET_DATA:
    case OP_CHECK: return true;
    default: return false;
    }
}

static void add_multi_header(struct text *out, int32_t op, bool is_done, int32_t err)
{
    text_add_be32(out, (uint32_t)op);
    text_addc(out, (char)is_done);
    text_add_be32(out, (uint32_t)err);
}

/* The next part; *is_done at the end. False when it cannot be read. */
static bool multi_take(struct jute *in, bool *is_done, struct request *request)
{
    int32_t op = jute_int(in);
    *is_done = jute_bool(in);
    jute_int(in);
    if (in->is_bad) return false;
    if (*is_done) return true;
    if (!op_fits_multi(op) || !request_take(in, op, request)) return false;
    /* Here the flags decide what is made, more than the operation's name. */
    bool is_ttl = request->flags == FLAG_TTL || request->flags == FLAG_TTL_SEQUENTIAL;
    if (op == OP_CREATE_TTL && !is_ttl) {
        request->was_ttl = true;
        request->op = OP_CREATE;
        request->ttl_ms = -1;
    }
    if (request->op == OP_CREATE && request->flags == FLAG_CONTAINER) request->op = OP_CREATE_CONTAINER;
    return true;
}

/* What makes the whole multi unacceptable, whatever its parts would say. */
static enum error multi_count(struct jute in, int32_t *count)
{
    struct request request;
    bool is_done;
    for (*count = 0;; (*count)++) {
        if (!multi_take(&in, &is_done, &request)) return ERR_ZK_MARSHALLING;
        if (is_done) return OK;
        if (!request.path.data) return ERR_ZK_MARSHALLING;
        if (!op_creates(request.op) || request.was_ttl) continue;
        int32_t last_flag = request.op == OP_CREATE_TTL ? FLAG_TTL_SEQUENTIAL : FLAG_CONTAINER;
        if (request.flags < 0 || request.flags > last_flag) return ERR_ZK_MARSHALLING;
    }
}

/* Without an ACL a creation in a multi is not even taken for a request, unless something before it cannot be read. */
static bool multi_has_acls(struct jute in)
{
    struct request request;
    bool is_done;
    while (multi_take(&in, &is_done, &request) && !is_done) {
        if (!op_creates(request.op) || request.op == OP_CREATE_TTL || request.was_ttl) continue;
        if (request.flags < 0 || request.flags > FLAG_TTL_SEQUENTIAL) return true;
        if (get_be32(request.acl.data) == UINT32_MAX) return false;
        if (request.flags >= FLAG_TTL) return true; /* not without a time to live */
    }
    return true;
}

/* What the failed multi answers: no error before the one that failed, "runtime inconsistency" after it. */
static void multi_add_failure(struct text *out, int32_t count, int32_t failed, enum error err)
{
    for (int32_t i = 0; i < count; i++) {
        int32_t code = i < failed ? 0 : error_zk_code(i == failed ? err : ERR_ZK_RUNTIME_INCONSISTENCY);
        add_multi_header(out, OP_ERROR, false, code);
        text_add_be32(out, (uint32_t)code);
    }
}

bool op_is_decodable(int32_t op, struct slice body)
{
    struct jute in = jute_of(body);
    if (op == OP_MULTI) return multi_has_acls(in);
    if (op == OP_CLOSE_SESSION) return true;
    if (op == OP_RECONFIG) {
        for (int i = 0; i < 3; i++) jute_bytes(&in);
        jute_long(&in);
        return !in.is_bad;
    }
    struct request request;
    return request_take(&in, op, &request) && (op != OP_DELETE_CONTAINER || request.path.data);
}

static enum error apply_multi(struct apply *apply, struct text *out)
{
    struct machine *machine = apply->machine;
    struct jute in = jute_of(apply->entry->body);
    int32_t count;
    enum error err = multi_count(in, &count);
    if (err != OK) return err;
    size_t begin = out->size, event_begin = machine->outcome.event_count;
    tree_begin(&machine->tree);
    int32_t done = 0;
    for (; done < count; done++) {
        struct request request;
        bool is_done;
        bool is_whole = multi_take(&in, &is_done, &request);
        assert(is_whole && !is_done);
        /* The extended creations all answer as create2. */
        bool is_extended = request.op == OP_CREATE_CONTAINER || request.op == OP_CREATE_TTL;
        add_multi_header(out, is_extended ? OP_CREATE2 : request.op, false, 0);
        err = apply_request(apply, &request, out);
        if (err != OK) break;
    }
    if (err == OK) {
        tree_commit(&machine->tree);
    } else {
        tree_rollback(&machine->tree);
        events_cut(machine, event_begin);
        apply->made_ephemeral = false;
        if (err == ERR_ZK_MARSHALLING) return err;
        out->size = begin;
        multi_add_failure(out, count, done, err);
    }
    add_multi_header(out, OP_ERROR, true, -1);
    return OK;
}

/* --- an entry --- */

static enum error apply_one(struct apply *apply, struct text *out)
{
    const struct entry *entry = apply->entry;
    struct jute in = jute_of(entry->body);
    struct request request;
    if (!request_take(&in, entry->op, &request)) return ERR_ZK_MARSHALLING;
    if (entry->session == 0 && request.op != OP_DELETE_CONTAINER) return ERR_ZK_SESSION_EXPIRED;
    return apply_request(apply, &request, out);
}

/* Who stands alone has no members to change: what an ensemble says of them never comes here. */
static enum error apply_reconfig_request(struct apply *apply, struct text *out)
{
    if (apply->entry->origin) return apply_reconfig(apply, out);
    return apply->entry->flags & ENTRY_RECONFIG ? ERR_ZK_UNIMPLEMENTED : ERR_ZK_RECONFIG_DISABLED;
}

static enum error apply_client(struct apply *apply, struct text *out)
{
    const struct entry *entry = apply->entry;
    if (entry->op == OP_RECONFIG) return apply_reconfig_request(apply, out);
    struct session *session = machine_session(apply->machine, entry->session);
    if (entry->session != 0 && !session) return ERR_ZK_SESSION_EXPIRED;
    if (session_has_moved(session, entry)) return ERR_ZK_SESSION_MOVED;
    enum error err = entry->op == OP_MULTI ? apply_multi(apply, out) : apply_one(apply, out);
    if (apply->made_ephemeral) session->had_ephemerals = true;
    return err;
}

/* --- do all members have the same? --- */

static void note_mark(struct machine *machine)
{
    machine->marks[machine->mark_count++ % MARKS_KEPT] =
        (struct machine_mark){machine->zxid, machine_running_digest(machine)};
}

/* What the leader had at a mark: whoever has something else has parted from it. A mark we do not have (we began behind it)
 * says nothing. */
static enum error apply_digest(struct machine *machine, struct slice body)
{
    if (body.size != DIGEST_BODY_SIZE) return ERR_ZK_MARSHALLING;
    int64_t zxid = (int64_t)get_be64(body.data);
    for (size_t i = 0; i < MARKS_KEPT && i < machine->mark_count; i++) {
        if (machine->marks[i].zxid != zxid) continue;
        if (machine->marks[i].digest == get_be64(body.data + 8)) return OK;
        machine->has_parted = true;
        return ERR_CORRUPT;
    }
    return OK;
}

bool machine_last_mark(const struct machine *machine, struct machine_mark *mark)
{
    if (machine->mark_count == 0) return false;
    *mark = machine->marks[(machine->mark_count - 1) % MARKS_KEPT];
    return true;
}

uint64_t machine_running_digest(const struct machine *machine)
{
    return machine->tree.digest * 31 + machine->session_digest;
}

/* --- an entry --- */

/* What the members say to each other: no client asked for it, it takes no zxid. */
static bool apply_without_zxid(struct apply *apply, enum error *err)
{
    struct machine *machine = apply->machine;
    switch (apply->entry->op) {
    case OP_NEW_EPOCH:
        /* The lower half begins anew, so that zxids of two leaders never meet. */
        machine->zxid = (int64_t)((((uint64_t)machine->zxid >> 32) + 1) << 32);
        note_mark(machine);
        *err = OK;
        return true;
    case OP_ATTACH: *err = apply_attach(apply); return true;
    case OP_DIGEST: *err = apply_digest(machine, apply->entry->body); return true;
    case OP_SYNC: *err = OK; return true;
    case OP_RECONFIG:
        if (!apply->entry->origin || !reconfig_takes_no_zxid(apply)) return false;
        apply->zxid = machine->zxid;
        *err = apply_reconfig(apply, &machine->outcome.body);
        return true;
    default: return false;
    }
}

enum error machine_apply(struct machine *machine, struct slice bytes)
{
    struct entry entry;
    enum error err = entry_parse(bytes, &entry);
    if (err != OK) return err;
    machine_forget_events(machine);
    struct machine_outcome *outcome = &machine->outcome;
    if (outcome->body.capacity > KEPT_BYTES) text_free(&outcome->body);
    text_reset(&outcome->body);
    text_reset(&outcome->over_quota);
    outcome->op = entry.op;
    outcome->session = entry.session;
    outcome->origin = entry.origin;
    outcome->life = entry.life;
    outcome->sequence = entry.sequence;
    struct apply apply = {.machine = machine, .entry = &entry};
    if (apply_without_zxid(&apply, &outcome->err)) {
        outcome->zxid = machine->zxid;
        return OK;
    }
    /* From the last of a count the zxid goes to the next epoch by itself. */
    apply.zxid = outcome->zxid = ++machine->zxid;
    switch (entry.op) {
    case OP_CREATE_SESSION: outcome->err = apply_create_session(&apply); break;
    case OP_CLOSE_SESSION: outcome->err = apply_close_session(&apply); break;
    default: outcome->err = apply_client(&apply, &outcome->body); break;
    }
    if (outcome->err != OK) text_reset(&outcome->body);
    assert(!outcome->body.failed);
    if (machine->zxid % MARK_EVERY == 0) note_mark(machine);
    return OK;
}

void machine_free(struct machine *machine)
{
    machine_forget_events(machine);
    machine_saver_free(machine);
    tree_free(&machine->tree);
    machine_sessions_free(machine);
    text_free(&machine->outcome.body);
    text_free(&machine->outcome.paths);
    text_free(&machine->outcome.over_quota);
    free(machine->outcome.events);
    text_free(&machine->scratch);
    text_free(&machine->path);
    *machine = (struct machine){0};
}

uint64_t machine_digest(const struct machine *machine)
{
    uint64_t sum = tree_digest(&machine->tree);
    LIST_EACH(&machine->session_list, item)
    {
        const struct session *session = CONTAINER_OF(item, struct session, all);
        sum = sum * 31 + session_digest(session) + session->ephemerals.count;
    }
    return sum + hash_bytes(&machine->zxid, sizeof machine->zxid) * 3 + (uint64_t)machine->last_session;
}
