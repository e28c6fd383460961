/* tree_restore.c: znodes to the bytes of a snapshot and back. */
#include <assert.h>
#include <stdlib.h>

#include "base/vec.h"
#include "keeper/jute.h"
#include "keeper/tree.h"
#include "keeper/tree_inside.h"

#define NO_ID UINT32_MAX

/* Which parts a znode of format 3 has; the others are as it was born. */
enum znode_parts {
    HAS_CHANGES = 1, /* mzxid, pzxid, mtime, versions */
    HAS_OWNER = 2,   /* and its order */
    HAS_ACL = 4,
    HAS_CHILDREN = 8, /* an id, by which they name it */
    HAS_DATA = 16,    /* not null */
    PARTS = 31,
};

/* A znode that others may name as their parent. */
struct tree_branch {
    struct znode *node;
    uint32_t count; /* children */
    bool is_hung;   /* it hangs on the root */
    bool is_seen;
};

void znode_encode(const struct tree *tree, const struct znode *node, struct text *out)
{
    struct stat_kept kept = znode_kept(tree, node);
    const struct znode *parent = znode_parent(tree, node);
    bool has_children = znode_child_count(tree, node) > 0;
    struct slice data = znode_data(tree, node);
    bool is_changed = kept.mzxid != kept.czxid || kept.pzxid != kept.czxid ||
                      kept.mtime_ms != kept.ctime_ms || kept.version || kept.cversion || kept.aversion;
    int parts = (is_changed ? HAS_CHANGES : 0) | (kept.owner ? HAS_OWNER : 0) | (kept.acl ? HAS_ACL : 0) |
                (has_children ? HAS_CHILDREN : 0) | (data.data ? HAS_DATA : 0);
    text_addc(out, (char)parts);
    text_add_be32(out, parent ? znode_more(tree, parent)->children->id : NO_ID);
    text_add_be64(out, (uint64_t)kept.czxid);
    text_add_be64(out, (uint64_t)kept.ctime_ms);
    if (is_changed) {
        text_add_be64(out, (uint64_t)kept.mzxid);
        text_add_be64(out, (uint64_t)kept.pzxid);
        text_add_be64(out, (uint64_t)kept.mtime_ms);
        text_add_be32(out, (uint32_t)kept.version);
        text_add_be32(out, (uint32_t)kept.cversion);
        text_add_be32(out, (uint32_t)kept.aversion);
    }
    if (kept.owner) {
        text_add_be64(out, (uint64_t)kept.owner);
        text_add_be32(out, kept.order);
    }
    if (kept.acl) text_add_be32(out, kept.acl);
    if (has_children) text_add_be32(out, znode_more(tree, node)->children->id);
    jute_add_bytes(out, znode_name(node));
    if (data.data) jute_add_bytes(out, data);
}

void tree_restoring_free(struct tree *tree)
{
    struct tree_restoring *restoring = &tree->restoring;
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&restoring->others, &i));) free(slot->value);
    free(restoring->branches);
    map_free(&restoring->others);
    map_free(&restoring->acls);
    *restoring = (struct tree_restoring){0};
}

void tree_restore_begin(struct tree *tree, int64_t zxid, int32_t format)
{
    *tree = (struct tree){.restoring = {.zxid = zxid, .format = format}};
    acl_cache_init(&tree->acls);
}

enum error tree_restore_acl(struct tree *tree, uint32_t id, struct slice bytes)
{
    struct jute in = jute_of(bytes);
    if (acl_take(&in).size != bytes.size) return ERR_CORRUPT;
    if (map_get_number(&tree->restoring.acls, id)) return ERR_CORRUPT;
    uint32_t acl = acl_intern(&tree->acls, bytes);
    return map_put_number(&tree->restoring.acls, id, (void *)((uintptr_t)acl + 1));
}

static struct tree_branch *branch_of(const struct tree_restoring *restoring, uint32_t id)
{
    if (id < restoring->branch_count) return &restoring->branches[id];
    return restoring->others.count > 0 ? map_get_number(&restoring->others, id) : NULL;
}

/* Ids are names: one that is far beyond the number of znodes read so far costs a place in the map, not all places up to it. */
static enum error branch_add(struct tree_restoring *restoring, uint32_t id, struct znode *node)
{
    struct tree_branch *branch = branch_of(restoring, id);
    if (!branch && id < 2 * restoring->count + 1024) {
        size_t grown = 2 * ((size_t)id + 1024);
        struct tree_branch *moved = realloc(restoring->branches, grown * sizeof *moved);
        if (!moved) return ERR_NOMEM;
        memset(moved + restoring->branch_count, 0, (grown - restoring->branch_count) * sizeof *moved);
        restoring->branches = moved;
        restoring->branch_count = grown;
        /* Those that were far beyond it and are not any more. */
        struct map_slot *slot;
        for (size_t i = 0; (slot = map_next(&restoring->others, &i));) {
            struct tree_branch *other = slot->value;
            if (slot->key_size_or_number < grown) moved[slot->key_size_or_number].node = other->node;
        }
        branch = &moved[id];
    }
    if (branch) {
        if (branch->node) return ERR_CORRUPT;
        branch->node = node;
        return OK;
    }
    branch = calloc(1, sizeof *branch);
    if (!branch) return ERR_NOMEM;
    branch->node = node;
    enum error err = map_put_number(&restoring->others, id, branch);
    if (err != OK) free(branch);
    return err;
}

struct znode_read {
    struct stat_kept kept;
    uint32_t parent, id, stored_acl; /* id: NO_ID when nobody can name it */
    bool has_acl;
    struct slice name, data;
};

static void read_changes(struct znode_read *read, struct jute *in)
{
    read->kept.version = jute_int(in);
    read->kept.cversion = jute_int(in);
    read->kept.aversion = jute_int(in);
}

static void read_old(struct znode_read *read, struct jute *in)
{
    read->id = (uint32_t)jute_int(in);
    read->parent = (uint32_t)jute_int(in);
    read->kept.order = (uint32_t)jute_int(in);
    read->stored_acl = (uint32_t)jute_int(in);
    read->has_acl = true;
    read->kept.czxid = jute_long(in);
    read->kept.mzxid = jute_long(in);
    read->kept.pzxid = jute_long(in);
    read->kept.ctime_ms = jute_long(in);
    read->kept.mtime_ms = jute_long(in);
    read->kept.owner = jute_long(in);
    read_changes(read, in);
    read->name = jute_bytes(in);
    read->data = jute_bytes(in);
    if (read->id == NO_ID) in->is_bad = true;
    if (owner_kind(read->kept.owner) != OWNER_SESSION) read->kept.order = 0;
}

static void read_new(struct znode_read *read, struct jute *in)
{
    const uint8_t *first = jute_take(in, 1);
    int parts = first ? *first : 0;
    if (parts & ~PARTS) in->is_bad = true;
    read->parent = (uint32_t)jute_int(in);
    struct stat_kept *kept = &read->kept;
    kept->czxid = kept->mzxid = kept->pzxid = jute_long(in);
    kept->ctime_ms = kept->mtime_ms = jute_long(in);
    if (parts & HAS_CHANGES) {
        kept->mzxid = jute_long(in);
        kept->pzxid = jute_long(in);
        kept->mtime_ms = jute_long(in);
        read_changes(read, in);
    }
    if (parts & HAS_OWNER) {
        kept->owner = jute_long(in);
        kept->order = (uint32_t)jute_int(in);
        if (owner_kind(kept->owner) != OWNER_SESSION) kept->order = 0;
    }
    read->has_acl = parts & HAS_ACL;
    if (read->has_acl) read->stored_acl = (uint32_t)jute_int(in);
    read->id = parts & HAS_CHILDREN ? (uint32_t)jute_int(in) : NO_ID;
    if (parts & HAS_CHILDREN && read->id == NO_ID) in->is_bad = true;
    read->name = jute_bytes(in);
    if (parts & HAS_DATA) {
        read->data = jute_bytes(in);
        if (!read->data.data) in->is_bad = true;
    }
}

enum error tree_restore_znode(struct tree *tree, struct jute *in)
{
    struct tree_restoring *restoring = &tree->restoring;
    struct znode_read read = {0};
    if (restoring->format < ZNODE_FORMAT) {
        read_old(&read, in);
    } else {
        read_new(&read, in);
    }
    uintptr_t acl =
        read.has_acl ? (uintptr_t)map_get_number(&restoring->acls, read.stored_acl) : ACL_OPEN + 1;
    if (in->is_bad || acl == 0 || read.name.size > ZNODE_NAME_MAX || read.data.size >= 0x3fffffff)
        return ERR_CORRUPT;
    bool is_root = read.parent == NO_ID;
    if (is_root ? tree->root != NULL || read.kept.owner != 0 : read.name.size == 0) return ERR_CORRUPT;
    int64_t zxid = restoring->zxid;
    if (read.kept.czxid > zxid || read.kept.mzxid > zxid || read.kept.pzxid > zxid) return ERR_CORRUPT;

    read.kept.acl = (uint32_t)(acl - 1);
    acl_retain(&tree->acls, read.kept.acl);
    struct znode_birth birth = {.name = read.name,
                                .data = read.data,
                                .acl = read.kept.acl,
                                .order = read.kept.order,
                                .owner = read.kept.owner,
                                .zxid = read.kept.czxid,
                                .time_ms = read.kept.ctime_ms};
    struct znode *node = znode_make(tree, &birth);
    znode_keep(tree, node, &read.kept);
    /* Until the end its parent is known by id only; that of the root must not be SLABS_FREE. */
    node->parent = is_root ? 0 : read.parent;
    if (is_root) tree->root = node;
    restoring->count++;
    if (owner_kind(read.kept.owner) == OWNER_SESSION) restoring->ephemeral_count++;
    return read.id == NO_ID ? OK : branch_add(restoring, read.id, node);
}

/* --- tying them together --- */

static enum error count_children(struct tree *tree)
{
    uint64_t at = 0;
    struct znode *node;
    while ((node = tree_next(tree, &at))) {
        if (node == tree->root) continue;
        struct tree_branch *parent = branch_of(&tree->restoring, node->parent);
        if (!parent || !parent->node || parent->node == node ||
            znode_owner_kind(tree, parent->node) == OWNER_SESSION)
            return ERR_CORRUPT;
        parent->count++;
    }
    return OK;
}

/* From the root down, so that each knows its path: up to one that hangs already, then back. A ring never gets there. */
static enum error branch_hang(struct tree *tree, struct tree_branch *branch, struct tree_branch ***chain,
                              size_t *capacity)
{
    size_t count = 0;
    while (!branch->is_hung) {
        if (branch->is_seen) return ERR_CORRUPT;
        branch->is_seen = true;
        if (!VEC_RESERVE(*chain, count, *capacity)) return ERR_NOMEM;
        (*chain)[count++] = branch;
        if (branch->node == tree->root) break;
        branch = branch_of(&tree->restoring, branch->node->parent);
    }
    while (count > 0) {
        branch = (*chain)[--count];
        struct znode *node = branch->node;
        if (node != tree->root) node->parent = slabs_place(branch_of(&tree->restoring, node->parent)->node);
        branch->is_hung = true;
        node->is_undigested = znode_is_undigested(tree, node);
        if (branch->count > 0) children_expect(znode_need_children(tree, node), branch->count);
        node->is_saved = true; /* its parent is its parent's place by now */
    }
    return OK;
}

static enum error hang_all(struct tree *tree)
{
    struct tree_restoring *restoring = &tree->restoring;
    struct tree_branch **chain = NULL;
    size_t capacity = 0, at = 0;
    enum error err = OK;
    for (size_t i = 0; i < restoring->branch_count && err == OK; i++) {
        if (restoring->branches[i].node) err = branch_hang(tree, &restoring->branches[i], &chain, &capacity);
    }
    struct map_slot *slot;
    while (err == OK && (slot = map_next(&restoring->others, &at))) {
        struct tree_branch *branch = slot->value;
        if (slot->key_size_or_number >= restoring->branch_count)
            err = branch_hang(tree, branch, &chain, &capacity);
    }
    free(chain);
    return err;
}

static int ephemeral_compare(const struct tree *tree, const struct znode *x, const struct znode *y)
{
    if (x->czxid != y->czxid) return x->czxid < y->czxid ? -1 : 1;
    uint32_t a = znode_more(tree, x)->order, b = znode_more(tree, y)->order;
    return (a > b) - (a < b);
}

struct ephemeral_sorted {
    const struct tree *tree;
    struct znode *node;
};

static int sorted_compare(const void *a, const void *b)
{
    const struct ephemeral_sorted *x = a, *y = b;
    return ephemeral_compare(x->tree, x->node, y->node);
}

static enum error tie(struct tree *tree, struct znode *node,
                      struct ephemerals *(*owner_of)(void *context, int64_t), void *context)
{
    struct ephemerals *ephemerals = NULL;
    if (znode_owner_kind(tree, node) == OWNER_SESSION) {
        ephemerals = owner_of(context, znode_owner(tree, node));
        if (!ephemerals) return ERR_CORRUPT;
    }
    if (tree_child(tree, znode_parent(tree, node), znode_name(node))) return ERR_CORRUPT;
    tree_link_last(tree, node, ephemerals);
    node->is_undigested = znode_is_undigested(tree, node);
    znode_checksum_data(tree, node);
    tree->digest += znode_digest(tree, node);
    return OK;
}

static enum error tie_all(struct tree *tree, struct ephemerals *(*owner_of)(void *context, int64_t session),
                          void *context)
{
    size_t count = 0, expected = tree->restoring.ephemeral_count;
    struct ephemeral_sorted *ephemerals = malloc((expected + 1) * sizeof *ephemerals);
    if (!ephemerals) return ERR_NOMEM;
    uint64_t at = 0;
    struct znode *node;
    enum error err = OK;
    while (err == OK && (node = tree_next(tree, &at))) {
        bool is_hung = node->is_saved;
        node->is_saved = false;
        if (node == tree->root) continue;
        if (!is_hung) node->parent = slabs_place(branch_of(&tree->restoring, node->parent)->node);
        if (znode_owner_kind(tree, node) == OWNER_SESSION) {
            ephemerals[count++] = (struct ephemeral_sorted){tree, node};
        } else {
            err = tie(tree, node, owner_of, context);
        }
    }
    /* Those of a session in the order in which they were created. */
    if (err == OK) qsort(ephemerals, count, sizeof *ephemerals, sorted_compare);
    for (size_t i = 0; i < count && err == OK; i++) err = tie(tree, ephemerals[i].node, owner_of, context);
    free(ephemerals);
    return err;
}

enum error tree_restore_end(struct tree *tree, struct ephemerals *(*owner_of)(void *context, int64_t session),
                            void *context)
{
    if (!tree->root) return ERR_CORRUPT;
    enum error err = count_children(tree);
    if (err == OK) err = hang_all(tree);
    if (err != OK) return err;
    tree_count_znode(tree, tree->root, 1);
    znode_checksum_data(tree, tree->root);
    tree->digest = znode_digest(tree, tree->root);
    err = tie_all(tree, owner_of, context);
    if (err != OK) return err;

    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&tree->restoring.acls, &i));)
        acl_release(&tree->acls, (uint32_t)((uintptr_t)slot->value - 1));
    tree_restoring_free(tree);
    tree->quotas = tree_find(tree, SLICE("/zookeeper/quota"));
    return OK;
}

uint64_t tree_digest(const struct tree *tree)
{
    uint64_t sum = 0;
    struct text bytes = {0};
    uint64_t at = 0;
    const struct znode *node;
    while ((node = tree_next(tree, &at))) {
        text_reset(&bytes);
        tree_path(tree, node, &bytes);
        jute_add_bytes(&bytes, znode_data(tree, node));
        text_add(&bytes, acl_bytes(&tree->acls, znode_acl(tree, node)));
        znode_add_stat(tree, node, &bytes);
        struct stat_kept kept = znode_kept(tree, node);
        text_add_be64(&bytes, (uint64_t)kept.owner);
        text_add_be32(&bytes, kept.order);
        assert(!bytes.failed);
        sum += hash_bytes(bytes.data, bytes.size);
    }
    text_free(&bytes);
    return sum;
}
