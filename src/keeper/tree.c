#include "keeper/tree.h"

#include <assert.h>
#include <stdlib.h>

#include "base/vec.h"
#include "keeper/tree_inside.h"

enum { INLINE_MAX = 1024 }; /* a znode with more data than fits into this has it elsewhere */

enum undo_kind { UNDO_CREATE, UNDO_DELETE, UNDO_DATA, UNDO_ACL };

struct undo {
    enum undo_kind kind;
    struct znode *node;
    union {
        struct {
            int64_t pzxid;
            int32_t cversion;
        } parent; /* as it was */
        struct {
            uint8_t *data;
            uint32_t size_or_0;
            int32_t version;
            int64_t mzxid, mtime_ms;
        } data;
        struct {
            uint32_t acl;
            int32_t aversion;
        } acl;
    };
};

/* --- what a znode holds --- */

static bool fits_born(int64_t time_ms)
{
    return time_ms >= 0 && time_ms < (int64_t)1 << 42;
}

struct stat_kept znode_kept(const struct tree *tree, const struct znode *node)
{
    const struct znode_more *more = znode_more(tree, node);
    if (!more) {
        int64_t zxid = node->czxid, time_ms = (int64_t)node->ctime_ms;
        return (struct stat_kept){
            .czxid = zxid, .mzxid = zxid, .pzxid = zxid, .ctime_ms = time_ms, .mtime_ms = time_ms};
    }
    return (struct stat_kept){
        .czxid = node->czxid,
        .mzxid = more->mzxid,
        .pzxid = more->pzxid,
        .ctime_ms = more->ctime_ms,
        .mtime_ms = more->mtime_ms,
        .owner = more->owner,
        .version = more->version,
        .cversion = more->cversion,
        .aversion = more->aversion,
        .acl = more->acl,
        .order = more->order,
    };
}

void znode_keep(struct tree *tree, struct znode *node, const struct stat_kept *kept)
{
    node->czxid = kept->czxid;
    node->ctime_ms = (uint64_t)kept->ctime_ms;
    bool is_as_born = kept->mzxid == kept->czxid && kept->pzxid == kept->czxid &&
                      kept->mtime_ms == kept->ctime_ms && fits_born(kept->ctime_ms) && !kept->version &&
                      !kept->cversion && !kept->aversion && !kept->acl;
    if (is_as_born && !node->more) return;
    struct znode_more *more = znode_need_more(tree, node);
    more->mzxid = kept->mzxid;
    more->pzxid = kept->pzxid;
    more->ctime_ms = kept->ctime_ms;
    more->mtime_ms = kept->mtime_ms;
    more->version = kept->version;
    more->cversion = kept->cversion;
    more->aversion = kept->aversion;
    more->acl = kept->acl;
    more->order = kept->order;
}

uint32_t znode_acl(const struct tree *tree, const struct znode *node)
{
    return node->more ? znode_more(tree, node)->acl : ACL_OPEN;
}

int64_t znode_owner(const struct tree *tree, const struct znode *node)
{
    return node->more ? znode_more(tree, node)->owner : 0;
}

enum owner_kind owner_kind(int64_t owner)
{
    if (owner == 0) return OWNER_NONE;
    if (owner == OWNER_CONTAINER) return OWNER_IS_CONTAINER;
    if ((owner & OWNER_TTL_MASK) == OWNER_TTL_MASK) return OWNER_IS_TTL;
    return OWNER_SESSION;
}

static struct znode_children *children_of(const struct tree *tree, const struct znode *node)
{
    const struct znode_more *more = znode_more(tree, node);
    return more && owner_kind(more->owner) != OWNER_SESSION ? more->children : NULL;
}

static struct znode_ephemeral *ephemeral_of(const struct tree *tree, const struct znode *node)
{
    return znode_more(tree, node)->ephemeral;
}

uint32_t znode_child_count(const struct tree *tree, const struct znode *node)
{
    const struct znode_children *children = children_of(tree, node);
    return children ? children->count : 0;
}

static uint8_t *inline_data(struct znode *node)
{
    return (uint8_t *)node->name + node->name_size;
}

struct slice znode_data(const struct tree *tree, const struct znode *node)
{
    if (node->data_size_or_0 == 0) return SLICE_NULL;
    const struct znode_more *more = znode_more(tree, node);
    return (struct slice){more && more->data ? more->data : (const uint8_t *)node->name + node->name_size,
                          node->data_size_or_0 - 1};
}

/* Whatever it had before is gone, or kept by an undo. */
static void data_assign(struct tree *tree, struct znode *node, struct slice data)
{
    size_t room = slabs_piece_size(&tree->nodes, node) - sizeof *node - node->name_size;
    struct znode_more *more = data.size > room ? znode_need_more(tree, node) : znode_more(tree, node);
    if (more) more->data = NULL;
    node->data_size_or_0 = data.data ? (uint32_t)(data.size + 1) & 0x3fffffffu : 0;
    if (data.size == 0) return;
    assert(data.size < 0x3fffffff);
    if (data.size <= room) {
        memcpy(inline_data(node), data.data, data.size);
        return;
    }
    more->data = malloc(data.size);
    assert(more->data);
    memcpy(more->data, data.data, data.size);
}

struct znode_stat znode_stat(const struct tree *tree, const struct znode *node)
{
    struct stat_kept kept = znode_kept(tree, node);
    int32_t child_count = (int32_t)znode_child_count(tree, node);
    return (struct znode_stat){
        .czxid = kept.czxid,
        .mzxid = kept.mzxid,
        .ctime_ms = kept.ctime_ms,
        .mtime_ms = kept.mtime_ms,
        .version = kept.version,
        /* Creations and deletions: each deletion is a creation that is no child any more. */
        .cversion = (int32_t)((uint32_t)kept.cversion * 2 - (uint32_t)child_count),
        .aversion = kept.aversion,
        .ephemeral_owner = owner_kind(kept.owner) == OWNER_SESSION ? kept.owner : 0,
        .data_length = (int32_t)znode_data_size(node),
        .child_count = child_count,
        .pzxid = kept.pzxid,
    };
}

/* --- finding --- */

struct znode *tree_child(const struct tree *tree, const struct znode *parent, struct slice name)
{
    const struct znode_children *children = children_of(tree, parent);
    return children ? children_find(&tree->nodes, children, name, children_hash(name)) : NULL;
}

struct znode *tree_find(const struct tree *tree, struct slice path)
{
    struct znode *node = tree->root;
    if (path.size == 0 || (path.size == 1 && path.data[0] == '/')) return node;
    if (path.data[0] != '/') return NULL;
    for (size_t at = 1; node && at <= path.size;) {
        const uint8_t *slash = at < path.size ? memchr(path.data + at, '/', path.size - at) : NULL;
        size_t end = slash ? (size_t)(slash - path.data) : path.size;
        if (end == at) return NULL;
        node = tree_child(tree, node, (struct slice){path.data + at, end - at});
        at = end + 1;
    }
    return node;
}

/* --- links --- */

void tree_count_znode(struct tree *tree, const struct znode *node, int sign)
{
    tree->count += sign;
    tree->data_bytes += sign * ((int64_t)node->name_size + znode_data_size(node));
    enum owner_kind kind = znode_owner_kind(tree, node);
    tree->ephemeral_count += kind == OWNER_SESSION ? sign : 0;
    tree->container_count += kind == OWNER_IS_CONTAINER ? sign : 0;
    tree->ttl_count += kind == OWNER_IS_TTL ? sign : 0;
}

static uint32_t id_take(struct tree *tree)
{
    return tree->free_id_count > 0 ? tree->free_ids[--tree->free_id_count] : tree->child_ids++;
}

static void id_give(struct tree *tree, uint32_t id)
{
    bool has_room = VEC_RESERVE(tree->free_ids, tree->free_id_count, tree->free_id_capacity);
    assert(has_room);
    tree->free_ids[tree->free_id_count++] = id;
}

struct znode_children *znode_need_children(struct tree *tree, struct znode *node)
{
    struct znode_more *more = znode_need_more(tree, node);
    assert(owner_kind(more->owner) != OWNER_SESSION);
    if (more->children) return more->children;
    uint32_t path_crc = znode_path_crc(tree, node);
    struct znode_children *children = calloc(1, sizeof *children);
    assert(children);
    children->id = id_take(tree);
    children->path_crc = path_crc;
    more->children = children;
    return children;
}

/* Into its session's list between ephemeral->prev and ephemeral->next, and among its parent's children. */
static void link_between(struct tree *tree, struct znode *node)
{
    struct znode *parent = znode_parent(tree, node);
    children_add(&tree->nodes, znode_need_children(tree, parent), node, children_hash(znode_name(node)));
    if (znode_owner_kind(tree, node) == OWNER_SESSION) {
        struct znode_ephemeral *link = ephemeral_of(tree, node);
        *(link->prev ? &ephemeral_of(tree, link->prev)->next : &link->list->first) = node;
        *(link->next ? &ephemeral_of(tree, link->next)->prev : &link->list->last) = node;
        link->list->count++;
    }
    tree_count_znode(tree, node, 1);
}

void tree_link_last(struct tree *tree, struct znode *node, struct ephemerals *ephemerals)
{
    if (znode_owner_kind(tree, node) == OWNER_SESSION) {
        struct znode_ephemeral *link = malloc(sizeof *link);
        assert(link && ephemerals);
        *link = (struct znode_ephemeral){.prev = ephemerals->last, .list = ephemerals};
        znode_more(tree, node)->ephemeral = link;
    }
    link_between(tree, node);
}

static void unlink_znode(struct tree *tree, struct znode *node)
{
    struct znode_more *parent = znode_more(tree, znode_parent(tree, node));
    children_remove(&tree->nodes, parent->children, node);
    if (parent->children->count == 0) {
        id_give(tree, parent->children->id);
        children_free(parent->children);
        free(parent->children);
        parent->children = NULL;
    }
    if (znode_owner_kind(tree, node) == OWNER_SESSION) {
        struct znode_ephemeral *link = ephemeral_of(tree, node);
        *(link->prev ? &ephemeral_of(tree, link->prev)->next : &link->list->first) = link->next;
        *(link->next ? &ephemeral_of(tree, link->next)->prev : &link->list->last) = link->prev;
        link->list->count--;
    }
    tree_count_znode(tree, node, -1);
}

/* --- making and freeing --- */

struct znode_more *znode_need_more(struct tree *tree, struct znode *node)
{
    if (node->more) return znode_more(tree, node);
    struct stat_kept kept = znode_kept(tree, node);
    uint32_t place;
    struct znode_more *more = slabs_take(&tree->mores, sizeof *more, &place);
    assert(more);
    *more = (struct znode_more){
        .mzxid = kept.mzxid, .pzxid = kept.pzxid, .ctime_ms = kept.ctime_ms, .mtime_ms = kept.mtime_ms};
    node->more = place;
    znode_checksum_data(tree, node);
    return more;
}

struct znode *znode_make(struct tree *tree, const struct znode_birth *birth)
{
    assert(birth->name.size <= ZNODE_NAME_MAX);
    size_t size = sizeof(struct znode) + birth->name.size;
    if (birth->data.size <= INLINE_MAX && size + birth->data.size <= INLINE_MAX) size += birth->data.size;
    uint32_t place;
    struct znode *node = slabs_take(&tree->nodes, size, &place);
    assert(node);
    *node = (struct znode){.parent = birth->parent,
                           .czxid = birth->zxid,
                           .ctime_ms = (uint64_t)birth->time_ms,
                           .name_size = birth->name.size};
    if (birth->name.size) memcpy(node->name, birth->name.data, birth->name.size);
    if (birth->owner != 0 || birth->acl != ACL_OPEN || birth->order != 0 || !fits_born(birth->time_ms)) {
        struct znode_more *more = znode_need_more(tree, node);
        more->owner = birth->owner;
        more->acl = birth->acl;
        more->order = birth->order;
        more->ctime_ms = more->mtime_ms = birth->time_ms;
    }
    data_assign(tree, node, birth->data);
    return node;
}

static void more_free(struct znode_more *more)
{
    free(more->data);
    if (owner_kind(more->owner) == OWNER_SESSION) {
        free(more->ephemeral);
    } else if (more->children) {
        children_free(more->children);
        free(more->children);
    }
}

void znode_unmake(struct tree *tree, struct znode *node)
{
    if (node->more) {
        struct znode_more *more = znode_more(tree, node);
        more_free(more);
        slabs_give(&tree->mores, more);
    }
    slabs_give(&tree->nodes, node);
}

static void znode_drop(struct tree *tree, struct znode *node)
{
    acl_release(&tree->acls, znode_acl(tree, node));
    znode_unmake(tree, node);
}

static void undo_push(struct tree *tree, struct undo undo)
{
    bool has_room = VEC_RESERVE(tree->undos, tree->undo_count, tree->undo_capacity);
    assert(has_room);
    tree->undos[tree->undo_count++] = undo;
}

static void save_now(struct tree *tree, struct znode *node)
{
    if (!tree->is_saving || node->is_saved == tree->saved_mark) return;
    tree->save(tree->save_context, tree, node);
    node->is_saved = tree->saved_mark;
}

/* Every change of a znode begins here ... */
static void touch(struct tree *tree, struct znode *node)
{
    save_now(tree, node);
    tree->digest -= znode_digest(tree, node);
}

/* ... and ends here, if the znode is still there. */
static void touched(struct tree *tree, const struct znode *node)
{
    tree->digest += znode_digest(tree, node);
}

static struct znode *initial(struct tree *tree, const struct znode *parent, const char *name, uint32_t acl)
{
    struct znode_birth birth = {
        .name = slice_of(name), .data = SLICE(""), .acl = acl, .parent = parent ? slabs_place(parent) : 0};
    struct znode *node = znode_make(tree, &birth);
    if (parent) {
        tree_link_last(tree, node, NULL);
    } else {
        tree_count_znode(tree, node, 1);
    }
    return node;
}

void tree_init(struct tree *tree)
{
    static const uint8_t readable_list[] = {0,   0,   0,   1, 0, 0, 0, 1,   0,   0,   0,   5,   'w', 'o',
                                            'r', 'l', 'd', 0, 0, 0, 6, 'a', 'n', 'y', 'o', 'n', 'e'};
    *tree = (struct tree){0};
    acl_cache_init(&tree->acls);
    for (int i = 0; i < 4; i++) acl_retain(&tree->acls, ACL_OPEN);
    tree->root = initial(tree, NULL, "", ACL_OPEN);
    struct znode *zookeeper = initial(tree, tree->root, "zookeeper", ACL_OPEN);
    tree->quotas = initial(tree, zookeeper, "quota", ACL_OPEN);
    acl_release(&tree->acls, ACL_OPEN);
    uint32_t readable = acl_intern(&tree->acls, (struct slice){readable_list, sizeof readable_list});
    struct znode *config = initial(tree, zookeeper, "config", readable);
    znode_need_more(tree, config)->aversion = -1;
    tree_digest_all(tree);
}

void tree_free(struct tree *tree)
{
    assert(!tree->is_recording);
    uint64_t at = 0;
    struct znode *node;
    while ((node = tree_next(tree, &at))) {
        if (node->more) more_free(znode_more(tree, node));
    }
    slabs_free(&tree->nodes);
    slabs_free(&tree->mores);
    free(tree->free_ids);
    free(tree->undos);
    tree_restoring_free(tree);
    acl_cache_free(&tree->acls);
    *tree = (struct tree){0};
}

/* --- changing --- */

static void pzxid_raise(struct znode_more *more, int64_t zxid)
{
    if (zxid > more->pzxid) more->pzxid = zxid;
}

struct znode *tree_create(struct tree *tree, struct znode *parent, const struct znode_new *wanted)
{
    struct znode_more *more = znode_need_more(tree, parent);
    assert(owner_kind(more->owner) != OWNER_SESSION);
    touch(tree, parent);
    struct znode_birth birth = {
        .name = wanted->name,
        .data = wanted->data,
        .parent = slabs_place(parent),
        .acl = wanted->acl,
        .order = owner_kind(wanted->owner) == OWNER_SESSION ? wanted->order : 0,
        .zxid = wanted->zxid,
        .time_ms = wanted->time_ms,
        .owner = wanted->owner,
    };
    struct znode *node = znode_make(tree, &birth);
    node->is_saved = tree->saved_mark;
    if (tree->is_recording) {
        undo_push(tree,
                  (struct undo){.kind = UNDO_CREATE, .node = node, .parent = {more->pzxid, more->cversion}});
    }
    tree_link_last(tree, node, wanted->ephemerals);
    more->cversion = (int32_t)((uint32_t)more->cversion + 1);
    pzxid_raise(more, wanted->zxid);
    touched(tree, parent);
    node->is_undigested = znode_is_undigested(tree, node);
    znode_checksum_data(tree, node);
    touched(tree, node);
    return node;
}

void tree_delete(struct tree *tree, struct znode *node, int64_t zxid)
{
    struct znode *parent = znode_parent(tree, node);
    assert(parent && znode_child_count(tree, node) == 0);
    struct znode_more *more = znode_more(tree, parent);
    touch(tree, node);
    touch(tree, parent);
    unlink_znode(tree, node);
    if (tree->is_recording) {
        undo_push(tree,
                  (struct undo){.kind = UNDO_DELETE, .node = node, .parent = {more->pzxid, more->cversion}});
    } else {
        znode_drop(tree, node);
    }
    pzxid_raise(more, zxid);
    touched(tree, parent);
}

/* What there was, for an undo to give it back. */
static uint8_t *data_take(struct tree *tree, struct znode *node)
{
    struct znode_more *more = znode_more(tree, node);
    uint8_t *taken = more->data;
    int64_t size = znode_data_size(node);
    if (!taken && size > 0) {
        taken = malloc((size_t)size);
        assert(taken);
        memcpy(taken, inline_data(node), (size_t)size);
    }
    more->data = NULL;
    return taken;
}

static void data_replace(struct tree *tree, struct znode *node, struct slice data)
{
    struct znode_more *more = znode_need_more(tree, node);
    uint8_t *old = NULL;
    if (tree->is_recording) {
        struct undo undo = {.kind = UNDO_DATA, .node = node};
        undo.data.size_or_0 = node->data_size_or_0;
        undo.data.version = more->version;
        undo.data.mzxid = more->mzxid;
        undo.data.mtime_ms = more->mtime_ms;
        undo.data.data = data_take(tree, node);
        undo_push(tree, undo);
    } else {
        old = more->data;
    }
    tree->data_bytes -= znode_data_size(node);
    data_assign(tree, node, data);
    tree->data_bytes += znode_data_size(node);
    znode_checksum_data(tree, node);
    free(old);
}

void tree_set_data(struct tree *tree, struct znode *node, struct slice data, int64_t zxid, int64_t time_ms)
{
    struct znode_more *more = znode_need_more(tree, node);
    touch(tree, node);
    data_replace(tree, node, data);
    more->version = (int32_t)((uint32_t)more->version + 1);
    more->mzxid = zxid;
    more->mtime_ms = time_ms;
    touched(tree, node);
}

void tree_keep_data(struct tree *tree, struct znode *node, struct slice data)
{
    touch(tree, node);
    data_replace(tree, node, data);
    touched(tree, node);
}

void tree_set_acl(struct tree *tree, struct znode *node, uint32_t acl)
{
    struct znode_more *more = znode_need_more(tree, node);
    touch(tree, node);
    if (tree->is_recording) {
        undo_push(tree, (struct undo){.kind = UNDO_ACL, .node = node, .acl = {more->acl, more->aversion}});
    } else {
        acl_release(&tree->acls, more->acl);
    }
    more->acl = acl;
    more->aversion = (int32_t)((uint32_t)more->aversion + 1);
    touched(tree, node);
}

/* --- undo --- */

void tree_begin(struct tree *tree)
{
    assert(!tree->is_recording && tree->undo_count == 0);
    tree->is_recording = true;
    tree->recorded_digest = tree->digest;
}

/* One multi of thousands is no reason to keep the memory for all those to come. */
static void undos_shrink(struct tree *tree)
{
    enum { KEPT_UNDOS = 1024 };
    if (tree->undo_capacity <= KEPT_UNDOS) return;
    free(tree->undos);
    tree->undos = NULL;
    tree->undo_capacity = 0;
}

void tree_commit(struct tree *tree)
{
    assert(tree->is_recording);
    for (size_t i = 0; i < tree->undo_count; i++) {
        struct undo *undo = &tree->undos[i];
        switch (undo->kind) {
        case UNDO_CREATE: break;
        case UNDO_DELETE: znode_drop(tree, undo->node); break;
        case UNDO_DATA: free(undo->data.data); break;
        case UNDO_ACL: acl_release(&tree->acls, undo->acl.acl); break;
        }
    }
    tree->undo_count = 0;
    undos_shrink(tree);
    tree->is_recording = false;
}

static void parent_restore(struct tree *tree, const struct undo *undo)
{
    struct znode_more *parent = znode_more(tree, znode_parent(tree, undo->node));
    parent->pzxid = undo->parent.pzxid;
    parent->cversion = undo->parent.cversion;
}

void tree_rollback(struct tree *tree)
{
    assert(tree->is_recording);
    while (tree->undo_count > 0) {
        struct undo *undo = &tree->undos[--tree->undo_count];
        struct znode *node = undo->node;
        struct znode_more *more = znode_more(tree, node);
        switch (undo->kind) {
        case UNDO_CREATE:
            parent_restore(tree, undo);
            unlink_znode(tree, node);
            znode_drop(tree, node);
            break;
        case UNDO_DELETE:
            parent_restore(tree, undo);
            link_between(tree, node);
            break;
        case UNDO_DATA:
            tree->data_bytes -= znode_data_size(node);
            free(more->data);
            data_assign(tree, node,
                        undo->data.size_or_0
                            ? (struct slice){undo->data.data ? undo->data.data : (const uint8_t *)"",
                                             undo->data.size_or_0 - 1}
                            : SLICE_NULL);
            free(undo->data.data);
            more->version = undo->data.version;
            more->mzxid = undo->data.mzxid;
            more->mtime_ms = undo->data.mtime_ms;
            tree->data_bytes += znode_data_size(node);
            znode_checksum_data(tree, node);
            break;
        case UNDO_ACL:
            acl_release(&tree->acls, more->acl);
            more->acl = undo->acl.acl;
            more->aversion = undo->acl.aversion;
            break;
        }
    }
    tree->digest = tree->recorded_digest;
    undos_shrink(tree);
    tree->is_recording = false;
}

/* --- asking --- */

void znode_add_stat(const struct tree *tree, const struct znode *node, struct text *out)
{
    struct znode_stat stat = znode_stat(tree, node);
    stat_add(&stat, out);
}

struct znode *znode_next_child(const struct tree *tree, const struct znode *node, size_t *at)
{
    const struct znode_children *children = children_of(tree, node);
    return children ? children_next(&tree->nodes, children, at) : NULL;
}

struct znode *znode_first_child(const struct tree *tree, const struct znode *node)
{
    size_t at = 0;
    return znode_next_child(tree, node, &at);
}

struct znode *znode_next_below(const struct tree *tree, const struct znode *top, const struct znode *node)
{
    struct znode *next = znode_first_child(tree, node);
    while (!next && node != top) {
        const struct znode *parent = znode_parent(tree, node);
        const struct znode_children *children = children_of(tree, parent);
        size_t at = children_after(&tree->nodes, children, node);
        next = children_next(&tree->nodes, children, &at);
        node = parent;
    }
    return next;
}

struct znode *znode_next_ephemeral(const struct tree *tree, const struct znode *node)
{
    return ephemeral_of(tree, node)->next;
}

int64_t znode_descendant_count(const struct tree *tree, const struct znode *top)
{
    int64_t count = 0;
    for (const struct znode *at = top; (at = znode_next_below(tree, top, at));) count++;
    return count;
}

void tree_path(const struct tree *tree, const struct znode *node, struct text *out)
{
    if (!node->parent) {
        text_addc(out, '/');
        return;
    }
    size_t size = 0;
    for (const struct znode *at = node; at->parent; at = znode_parent(tree, at)) {
        size += 1 + at->name_size;
    }
    /* From the end to the front. */
    size_t begin = out->size;
    for (size_t i = 0; i < size; i++) text_addc(out, '/');
    assert(!out->failed);
    char *end = out->data + begin + size;
    for (const struct znode *at = node; at->parent; at = znode_parent(tree, at)) {
        end -= at->name_size;
        memcpy(end, at->name, at->name_size);
        end--;
    }
}

/* --- snapshots --- */

void tree_snapshot_begin(struct tree *tree,
                         void (*save)(void *context, const struct tree *tree, const struct znode *node),
                         void *context)
{
    assert(!tree->is_saving && !tree->is_recording);
    tree->is_saving = true;
    tree->saved_mark = !tree->saved_mark;
    tree->saving_at = 0;
    tree->save = save;
    tree->save_context = context;
}

bool tree_snapshot_step(struct tree *tree, size_t count)
{
    assert(tree->is_saving && !tree->is_recording);
    for (; count > 0; count--) {
        struct znode *node = tree_next(tree, &tree->saving_at);
        if (!node) {
            tree->is_saving = false;
            return false;
        }
        save_now(tree, node);
    }
    return true;
}
