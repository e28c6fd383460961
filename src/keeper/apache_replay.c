/* apache_replay.c: one transaction of Apache's log to the tree.
 *
 * A logged transaction holds its outcome: the name with its sequence number, the version as it became. So replaying sets,
 * and checks nothing. A snapshot may already hold what its log says next (it is written while the server works), hence:
 *
 *     create     of what is there: its ACL and its parent's cversion and pzxid are brought forward
 *     delete     of what is not there: its parent's pzxid is. What hangs below it was made later and will be made again
 *     others     of what is not there: nothing, a later deletion is already in
 *
 * The tree's digest goes along, change by change, so it can be held against each record's. */
#include <assert.h>
#include <stdlib.h>

#include "keeper/apache_inside.h"
#include "keeper/jute.h"
#include "keeper/machine_inside.h"
#include "keeper/path.h"
#include "keeper/tree_inside.h"

/* Around each change that the tree does not know. */
static void digest_out(struct apache_state *state, const struct znode *node)
{
    state->machine.tree.digest -= znode_digest(&state->machine.tree, node);
}

static void digest_in(struct apache_state *state, const struct znode *node)
{
    state->machine.tree.digest += znode_digest(&state->machine.tree, node);
}

/* --- the state --- */

void apache_state_begin(struct apache_state *state)
{
    *state = (struct apache_state){0};
    machine_init(&state->machine, 1);
    state->machine.tree.quotas = NULL;
    state->order = (uint32_t)state->machine.tree.count;
    static const uint8_t missing[] = {0,   0,   0,   1,   0,   0,   0,   0, 0, 0, 0, 7,
                                      'm', 'i', 's', 's', 'i', 'n', 'g', 0, 0, 0, 0};
    state->missing_acl = acl_intern(&state->machine.tree.acls, (struct slice){missing, sizeof missing});
}

void apache_state_init(struct apache_state *state)
{
    apache_state_begin(state);
    struct tree *tree = &state->machine.tree;
    while (znode_first_child(tree, tree->root)) {
        struct znode *node = znode_first_child(tree, tree->root), *below;
        while ((below = znode_first_child(tree, node))) node = below;
        tree_delete(tree, node, 0);
    }
    tree->quotas = NULL; /* until the end: which znode that will be is not known yet */
    state->order = 0;
}

void apache_state_free(struct apache_state *state)
{
    machine_free(&state->machine);
}

struct session *apache_session(struct apache_state *state, int64_t id)
{
    struct session *session = machine_session(&state->machine, id);
    if (session) return session;
    struct session ghost = {.id = id, .timeout_ms = APACHE_GHOST_TIMEOUT, .attachment = 1};
    return machine_session_add(&state->machine, &ghost);
}

void apache_remove(struct apache_state *state, struct znode *top, int64_t zxid)
{
    struct tree *tree = &state->machine.tree;
    for (struct znode *node = top, *below;;) {
        while ((below = znode_first_child(tree, node))) node = below;
        bool is_top = node == top;
        struct znode *parent = znode_parent(tree, node);
        tree_delete(tree, node, zxid);
        if (is_top) return;
        node = parent;
    }
}

/* --- one change --- */

/* Only a log can have lists whose count is negative: Java takes -1 for null, which stands for the open one, others for empty. */
static uint32_t intern(struct apache_state *state, struct slice bytes)
{
    static const uint8_t empty[4];
    struct acl_cache *acls = &state->machine.tree.acls;
    int32_t count = (int32_t)get_be32(bytes.data);
    if (count >= 0) return acl_intern(acls, bytes);
    if (count < -1) return acl_intern(acls, (struct slice){empty, sizeof empty});
    acl_retain(acls, ACL_OPEN);
    return ACL_OPEN;
}

static enum error replay_create(struct apache_state *state, const struct apache_txn *txn, int32_t type,
                                struct jute *in)
{
    struct slice path = jute_bytes(in), data = jute_bytes(in), acl_bytes = acl_take(in);
    bool is_ephemeral = (type == OP_CREATE || type == OP_CREATE2) && jute_bool(in);
    if (in->is_bad) return ERR_CORRUPT;
    /* Servers before 3.3 did not say what became of the parent. */
    bool is_old = type == OP_CREATE && in->at == in->size;
    int32_t cversion = is_old ? -1 : jute_int(in);
    int64_t owner = is_ephemeral ? txn->session : 0;
    if (type == OP_CREATE_CONTAINER) owner = OWNER_CONTAINER;
    if (type == OP_CREATE_TTL) {
        int64_t ttl_ms = jute_long(in);
        if (ttl_ms < 0 || ttl_ms > TTL_MAX_MS) return ERR_CORRUPT;
        owner = OWNER_TTL_MASK | ttl_ms;
    }
    struct slice parent_path, name;
    if (in->is_bad || !path_split(path, &parent_path, &name)) return ERR_CORRUPT;

    struct tree *tree = &state->machine.tree;
    struct znode *parent = tree_find(tree, parent_path);
    if (!parent || name.size == 0 || name.size > ZNODE_NAME_MAX ||
        znode_owner_kind(tree, parent) == OWNER_SESSION) {
        state->ignored++;
        return OK;
    }
    struct znode_more *more = znode_need_more(tree, parent);
    if (cversion == -1) cversion = (int32_t)((uint32_t)more->cversion + 1);
    int32_t cversion_before = more->cversion;
    int64_t pzxid_before = more->pzxid;
    uint32_t acl = intern(state, acl_bytes);
    struct znode *node = tree_child(tree, parent, name);
    if (node) {
        state->ignored++;
        acl_release(&tree->acls, znode_acl(tree, node));
        znode_need_more(tree, node)->acl = acl;
    } else {
        struct znode_new wanted = {.name = name,
                                   .data = data,
                                   .acl = acl,
                                   .owner = owner,
                                   .zxid = txn->zxid,
                                   .time_ms = txn->time_ms,
                                   .order = state->order++};
        if (owner_kind(owner) == OWNER_SESSION) wanted.ephemerals = &apache_session(state, owner)->ephemerals;
        tree_create(tree, parent, &wanted);
    }
    bool is_forward = cversion > cversion_before;
    digest_out(state, parent);
    more->cversion = is_forward ? cversion : cversion_before;
    more->pzxid = is_forward ? txn->zxid : pzxid_before;
    digest_in(state, parent);
    return OK;
}

static void replay_delete_path(struct apache_state *state, struct slice path, int64_t zxid)
{
    struct slice parent_path, name;
    struct tree *tree = &state->machine.tree;
    struct znode *parent = path_split(path, &parent_path, &name) ? tree_find(tree, parent_path) : NULL;
    struct znode *node = parent && name.size > 0 ? tree_child(tree, parent, name) : NULL;
    if (node) {
        apache_remove(state, node, zxid);
        return;
    }
    state->ignored++;
    if (!parent || zxid <= znode_kept(tree, parent).pzxid) return;
    digest_out(state, parent);
    znode_need_more(tree, parent)->pzxid = zxid;
    digest_in(state, parent);
}

static enum error replay_set_data(struct apache_state *state, const struct apache_txn *txn, struct jute *in)
{
    struct slice path = jute_bytes(in), data = jute_bytes(in);
    int32_t version = jute_int(in);
    if (in->is_bad || !path.data) return ERR_CORRUPT;
    struct znode *node = tree_find(&state->machine.tree, path);
    if (!node) {
        state->ignored++;
        return OK;
    }
    tree_set_data(&state->machine.tree, node, data, txn->zxid, txn->time_ms);
    digest_out(state, node);
    znode_more(&state->machine.tree, node)->version = version;
    digest_in(state, node);
    return OK;
}

static enum error replay_set_acl(struct apache_state *state, struct jute *in)
{
    struct slice path = jute_bytes(in), acl_bytes = acl_take(in);
    int32_t version = jute_int(in);
    if (in->is_bad || !path.data) return ERR_CORRUPT;
    struct tree *tree = &state->machine.tree;
    struct znode *node = tree_find(tree, path);
    if (!node) {
        state->ignored++;
        return OK;
    }
    tree_set_acl(tree, node, intern(state, acl_bytes));
    digest_out(state, node);
    znode_more(tree, node)->aversion = version;
    digest_in(state, node);
    return OK;
}

static enum error replay_close(struct apache_state *state, const struct apache_txn *txn, struct jute *in)
{
    /* Servers before 3.6 do not list what goes with the session; 12 bytes are then the digest alone. */
    size_t rest = in->size - in->at;
    if (rest != 0 && rest != APACHE_TXN_DIGEST_SIZE) {
        int32_t count = jute_count(in, 4);
        for (int32_t i = 0; i < count; i++) {
            struct slice path = jute_bytes(in);
            if (in->is_bad) return ERR_CORRUPT;
            replay_delete_path(state, path, txn->zxid);
        }
        if (in->is_bad) return ERR_CORRUPT;
    }
    struct session *session = machine_session(&state->machine, txn->session);
    if (!session) return OK;
    while (session->ephemerals.first) apache_remove(state, session->ephemerals.first, txn->zxid);
    machine_session_remove(&state->machine, session);
    return OK;
}

static enum error replay_one(struct apache_state *state, const struct apache_txn *txn, int32_t type,
                             struct jute *in)
{
    switch (type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL: return replay_create(state, txn, type, in);
    case OP_DELETE:
    case OP_DELETE_CONTAINER: {
        struct slice path = jute_bytes(in);
        if (in->is_bad || !path.data) return ERR_CORRUPT;
        replay_delete_path(state, path, txn->zxid);
        return OK;
    }
    case OP_SET_DATA:
    case OP_RECONFIG: return replay_set_data(state, txn, in);
    case OP_SET_ACL: return replay_set_acl(state, in);
    case OP_CHECK: jute_bytes(in);
    /* fallthrough */
    case OP_ERROR: jute_int(in); return in->is_bad ? ERR_CORRUPT : OK;
    default: return ERR_UNSUPPORTED;
    }
}

static enum error replay_multi(struct apache_state *state, const struct apache_txn *txn, struct jute *in)
{
    struct jute ahead = *in;
    int32_t count = jute_count(&ahead, 8);
    bool has_failed = false;
    for (int32_t i = 0; i < count && !ahead.is_bad; i++) {
        has_failed = has_failed || jute_int(&ahead) == OP_ERROR;
        jute_bytes(&ahead);
    }
    if (ahead.is_bad) return ERR_CORRUPT;
    jute_int(in);
    for (int32_t i = 0; i < count; i++) {
        int32_t type = jute_int(in);
        struct jute part = jute_of(jute_bytes(in)); /* of an error, it may hold what was asked for */
        if (has_failed) continue;
        enum error err = replay_one(state, txn, type, &part);
        if (err != OK) return err;
    }
    return OK;
}

enum error apache_replay(struct apache_state *state, const struct apache_txn *txn, bool *digest_given,
                         uint64_t *digest)
{
    struct jute in = jute_of(txn->body);
    enum error err = OK;
    switch (txn->type) {
    case OP_CREATE_SESSION: {
        int32_t timeout_ms = jute_int(&in);
        if (in.is_bad || timeout_ms < 0 || txn->session == 0) return ERR_CORRUPT;
        apache_session(state, txn->session)->timeout_ms = timeout_ms;
        break;
    }
    case OP_CLOSE_SESSION: err = replay_close(state, txn, &in); break;
    case OP_MULTI: err = replay_multi(state, txn, &in); break;
    default: err = replay_one(state, txn, txn->type, &in); break;
    }
    if (err != OK) return err;
    state->zxid = txn->zxid;
    *digest_given = in.size - in.at == APACHE_TXN_DIGEST_SIZE && jute_int(&in) == APACHE_DIGEST_VERSION;
    if (*digest_given) *digest = (uint64_t)jute_long(&in);
    return OK;
}
