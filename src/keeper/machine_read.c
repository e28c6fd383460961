/* machine_read.c: what a client may ask without changing anything. */
#include "base/text.h"
#include "keeper/jute.h"
#include "keeper/machine.h"
#include "keeper/path.h"

bool op_is_read(int32_t op)
{
    switch (op) {
    case OP_EXISTS:
    case OP_GET_DATA:
    case OP_GET_ACL:
    case OP_GET_CHILDREN:
    case OP_GET_CHILDREN2:
    case OP_MULTI_READ:
    case OP_GET_EPHEMERALS:
    case OP_GET_ALL_CHILDREN_NUMBER:
    case OP_WHO_AM_I: return true;
    default: return false;
    }
}

bool machine_may_read(const struct machine *machine, uint32_t acl, const struct auth_ids *ids)
{
    return acl_permits(acl_bytes(&machine->tree.acls, acl), ACL_READ, ids);
}

static bool permits(const struct machine *machine, const struct read_request *request,
                    const struct znode *node, int perms)
{
    return request->skips_acl ||
           acl_permits(acl_bytes(&machine->tree.acls, znode_acl(&machine->tree, node)), perms, &request->ids);
}

/* The znode, if there is one and `perms` are given. */
static enum error find(const struct machine *machine, const struct read_request *request, struct slice path,
                       int perms, struct znode **node)
{
    if (!path.data) return ERR_ZK_MARSHALLING;
    struct znode *found = tree_find(&machine->tree, path);
    if (!found) return ERR_ZK_NO_NODE;
    if (!permits(machine, request, found, perms)) return ERR_ZK_NO_AUTH;
    *node = found;
    return OK;
}

static enum error read_exists(const struct machine *machine, const struct read_request *request,
                              struct slice path, bool wants_watch, struct text *out)
{
    if (path.data && path_has_nul(path)) return ERR_ZK_BAD_ARGUMENTS;
    struct znode *node;
    enum error err = find(machine, request, path, ACL_READ, &node);
    if (wants_watch && (err == OK || err == ERR_ZK_NO_NODE))
        request->watch(request->context, READ_WATCH_DATA, path);
    if (err == OK) znode_add_stat(&machine->tree, node, out);
    return err;
}

static enum error read_data(const struct machine *machine, const struct read_request *request,
                            struct slice path, bool wants_watch, struct text *out)
{
    struct znode *node;
    enum error err = find(machine, request, path, ACL_READ, &node);
    if (err != OK) return err;
    if (wants_watch) request->watch(request->context, READ_WATCH_DATA, path);
    jute_add_bytes(out, znode_data(&machine->tree, node));
    znode_add_stat(&machine->tree, node, out);
    return OK;
}

static enum error read_children(const struct machine *machine, const struct read_request *request,
                                struct slice path, bool wants_watch, bool wants_stat, struct text *out)
{
    struct znode *node;
    enum error err = find(machine, request, path, ACL_READ, &node);
    if (err != OK) return err;
    if (wants_watch) request->watch(request->context, READ_WATCH_CHILDREN, path);
    text_add_be32(out, znode_child_count(&machine->tree, node));
    size_t at = 0;
    for (const struct znode *child; (child = znode_next_child(&machine->tree, node, &at));) {
        jute_add_bytes(out, znode_name(child));
    }
    if (wants_stat) znode_add_stat(&machine->tree, node, out);
    return OK;
}

static enum error read_acl(const struct machine *machine, const struct read_request *request,
                           struct slice path, struct text *out)
{
    struct znode *node;
    enum error err = find(machine, request, path, ACL_READ | ACL_ADMIN, &node);
    if (err != OK) return err;
    struct slice list = acl_bytes(&machine->tree.acls, znode_acl(&machine->tree, node));
    if (permits(machine, request, node, ACL_ADMIN)) {
        text_add(out, list);
    } else {
        acl_mask(list, out);
    }
    znode_add_stat(&machine->tree, node, out);
    return OK;
}

static struct slice trimmed(struct slice s)
{
    while (s.size > 0 && s.data[0] <= ' ') s.data++, s.size--;
    while (s.size > 0 && s.data[s.size - 1] <= ' ') s.size--;
    return s;
}

static void read_ephemerals(const struct machine *machine, const struct read_request *request,
                            struct slice prefix, struct text *out)
{
    struct slice bare = trimmed(prefix);
    bool wants_all = bare.size == 0 || slice_is(bare, "/");
    const struct session *session = machine_session(machine, request->session);
    uint32_t count = 0;
    size_t count_at = out->size;
    text_add_be32(out, 0);
    struct text path = {0};
    for (const struct znode *node = session ? session->ephemerals.first : NULL; node;
         node = znode_next_ephemeral(&machine->tree, node)) {
        text_reset(&path);
        tree_path(&machine->tree, node, &path);
        bool is_below = path.size >= prefix.size && memcmp(path.data, prefix.data, prefix.size) == 0;
        if (!wants_all && !is_below) continue;
        jute_add_bytes(out, text_slice(&path));
        count++;
    }
    if (!out->failed) put_be32(out->data + count_at, count);
    text_free(&path);
}

static void read_who_am_i(const struct read_request *request, struct text *out)
{
    uint32_t count = 0;
    size_t count_at = out->size;
    text_add_be32(out, 0);
    struct auth_id id;
    for (size_t at = 0; auth_next(&request->ids, &at, &id); count++) {
        const uint8_t *colon = slice_is(id.scheme, "digest") ? memchr(id.id.data, ':', id.id.size) : NULL;
        if (colon) id.id.size = (size_t)(colon - id.id.data);
        bool is_known =
            !slice_is(id.scheme, "super") && (request->knows_sasl || !slice_is(id.scheme, "sasl"));
        if (!is_known) id.id = SLICE("");
        jute_add_bytes(out, id.scheme);
        jute_add_bytes(out, id.id);
    }
    if (!out->failed) put_be32(out->data + count_at, count);
}

static void add_multi_header(struct text *out, int32_t op, bool is_done, int32_t err)
{
    text_add_be32(out, (uint32_t)op);
    text_addc(out, (char)is_done);
    text_add_be32(out, (uint32_t)err);
}

/* Each read for itself: one may fail and the next succeed. */
static enum error read_multi(const struct machine *machine, const struct read_request *request,
                             struct text *out)
{
    struct jute in = jute_of(request->body);
    for (bool is_checked = false;; is_checked = true) {
        in.at = 0;
        for (;;) {
            int32_t op = jute_int(&in);
            bool is_done = jute_bool(&in);
            jute_int(&in);
            if (in.is_bad) return ERR_ZK_MARSHALLING;
            if (is_done) break;
            struct slice path = jute_bytes(&in);
            jute_bool(&in); /* watch: nobody ever armed one here */
            if (in.is_bad || (op != OP_GET_DATA && op != OP_GET_CHILDREN)) return ERR_ZK_MARSHALLING;
            if (!is_checked) continue;
            size_t begin = out->size;
            add_multi_header(out, op, false, 0);
            enum error err = op == OP_GET_DATA ? read_data(machine, request, path, false, out)
                                               : read_children(machine, request, path, false, false, out);
            if (err == OK) continue;
            out->size = begin;
            add_multi_header(out, OP_ERROR, false, error_zk_code(err));
            text_add_be32(out, (uint32_t)error_zk_code(err));
        }
        if (is_checked) break;
    }
    add_multi_header(out, OP_ERROR, true, -1);
    return OK;
}

enum error machine_read(const struct machine *machine, const struct read_request *request, struct text *out)
{
    if (request->op == OP_WHO_AM_I) {
        read_who_am_i(request, out);
        return OK;
    }
    if (request->op == OP_MULTI_READ) return read_multi(machine, request, out);

    struct jute in = jute_of(request->body);
    struct slice path = jute_bytes(&in);
    bool has_watch = request->op == OP_EXISTS || request->op == OP_GET_DATA ||
                     request->op == OP_GET_CHILDREN || request->op == OP_GET_CHILDREN2;
    bool wants_watch = has_watch && jute_bool(&in);
    if (in.is_bad) return ERR_ZK_MARSHALLING;
    struct znode *node;
    enum error err;
    switch (request->op) {
    case OP_EXISTS: return read_exists(machine, request, path, wants_watch, out);
    case OP_GET_DATA: return read_data(machine, request, path, wants_watch, out);
    case OP_GET_CHILDREN: return read_children(machine, request, path, wants_watch, false, out);
    case OP_GET_CHILDREN2: return read_children(machine, request, path, wants_watch, true, out);
    case OP_GET_ACL: return read_acl(machine, request, path, out);
    case OP_GET_EPHEMERALS: read_ephemerals(machine, request, path, out); return OK;
    case OP_GET_ALL_CHILDREN_NUMBER:
        err = find(machine, request, path, ACL_READ, &node);
        /* Of "/" ZooKeeper does not count the root itself, of "", which is the same znode, it does. */
        if (err == OK)
            text_add_be32(out, (uint32_t)(znode_descendant_count(&machine->tree, node) + (path.size == 0)));
        return err;
    default: return ERR_ZK_UNIMPLEMENTED;
    }
}
