#include "keeper/tree.h"

#include <assert.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/vec.h"
#include "keeper/tree_inside.h"

enum { FIRST_BUCKETS = 64, BUCKETS_MOVED_AT_ONCE = 8 };

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
            int32_t size, version;
            int64_t mzxid, mtime_ms;
        } data;
        struct {
            uint32_t acl;
            int32_t aversion;
        } acl;
    };
};

/* --- finding --- */

uint32_t tree_hash_child(const struct znode *parent, struct slice name)
{
    uint64_t hash = hash_bytes(name.data, name.size) + parent->slot * 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93ULL;
    return (uint32_t)(hash >> 32);
}

void tree_expect_bucket(const struct tree *tree, uint32_t hash)
{
    __builtin_prefetch(&tree->buckets[hash & (tree->bucket_count - 1)]);
}

void tree_expect_first(const struct tree *tree, uint32_t hash)
{
    const struct znode *first = tree->buckets[hash & (tree->bucket_count - 1)];
    if (first) __builtin_prefetch(&first->hash);
}

static struct znode *bucket_find(struct znode *node, const struct znode *parent, struct slice name,
                                 uint32_t hash)
{
    for (; node; node = node->hash_next) {
        if (node->hash == hash && node->parent == parent && node->name_size == name.size &&
            memcmp(node->name, name.data, name.size) == 0) {
            return node;
        }
    }
    return NULL;
}

struct znode *tree_child(const struct tree *tree, const struct znode *parent, struct slice name)
{
    if (tree->bucket_count == 0) return NULL;
    uint32_t hash = tree_hash_child(parent, name);
    struct znode *found = bucket_find(tree->buckets[hash & (tree->bucket_count - 1)], parent, name, hash);
    if (!found && tree->old_bucket_count > 0) {
        found = bucket_find(tree->old_buckets[hash & (tree->old_bucket_count - 1)], parent, name, hash);
    }
    return found;
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

static void buckets_move(struct tree *tree, size_t count)
{
    while (tree->old_bucket_count > 0 && count-- > 0) {
        struct znode *node = tree->old_buckets[tree->moved_count];
        tree->old_buckets[tree->moved_count++] = NULL;
        while (node) {
            struct znode *next = node->hash_next;
            struct znode **bucket = &tree->buckets[node->hash & (tree->bucket_count - 1)];
            node->hash_next = *bucket;
            *bucket = node;
            node = next;
        }
        if (tree->moved_count == tree->old_bucket_count) {
            free(tree->old_buckets);
            tree->old_buckets = NULL;
            tree->old_bucket_count = tree->moved_count = 0;
        }
    }
}

/* The table doubles, but its znodes move over a few at each insertion: no request pays for a million. */
static void hash_insert(struct tree *tree, struct znode *node)
{
    if ((size_t)tree->count >= tree->bucket_count) {
        buckets_move(tree, tree->old_bucket_count);
        size_t grown = tree->bucket_count ? tree->bucket_count * 2 : FIRST_BUCKETS;
        struct znode **buckets = calloc(grown, sizeof *buckets);
        assert(buckets);
        if (tree->bucket_count > 0) {
            tree->old_buckets = tree->buckets;
            tree->old_bucket_count = tree->bucket_count;
            tree->moved_count = 0;
        }
        tree->buckets = buckets;
        tree->bucket_count = grown;
    }
    buckets_move(tree, BUCKETS_MOVED_AT_ONCE);
    node->hash = tree_hash_child(node->parent, znode_name(node));
    struct znode **bucket = &tree->buckets[node->hash & (tree->bucket_count - 1)];
    node->hash_next = *bucket;
    *bucket = node;
}

static bool bucket_remove(struct znode **at, struct znode *node)
{
    for (; *at; at = &(*at)->hash_next) {
        if (*at == node) {
            *at = node->hash_next;
            return true;
        }
    }
    return false;
}

static void hash_remove(struct tree *tree, struct znode *node)
{
    bool was_there = bucket_remove(&tree->buckets[node->hash & (tree->bucket_count - 1)], node);
    if (!was_there)
        was_there = bucket_remove(&tree->old_buckets[node->hash & (tree->old_bucket_count - 1)], node);
    assert(was_there);
}

/* --- links --- */

void tree_count_znode(struct tree *tree, const struct znode *node, int sign)
{
    tree->count += sign;
    tree->data_bytes += sign * ((int64_t)node->name_size + (node->data_size > 0 ? node->data_size : 0));
    enum owner_kind kind = znode_owner_kind(node);
    tree->ephemeral_count += kind == OWNER_SESSION ? sign : 0;
    tree->container_count += kind == OWNER_IS_CONTAINER ? sign : 0;
    tree->ttl_count += kind == OWNER_IS_TTL ? sign : 0;
}

/* Into its parent's children between node->prev and node->next, into its session's list likewise, into the table. */
static void link_between(struct tree *tree, struct znode *node)
{
    struct znode *parent = node->parent;
    if (!parent->children) {
        parent->children = calloc(1, sizeof *parent->children);
        assert(parent->children);
    }
    *(node->prev ? &node->prev->next : &parent->children->first) = node;
    *(node->next ? &node->next->prev : &parent->children->last) = node;
    parent->children->count++;
    if (znode_owner_kind(node) == OWNER_SESSION) {
        struct znode_ephemeral *link = node->ephemeral;
        *(link->prev ? &link->prev->ephemeral->next : &link->list->first) = node;
        *(link->next ? &link->next->ephemeral->prev : &link->list->last) = node;
        link->list->count++;
    }
    tree_count_znode(tree, node, 1);
    hash_insert(tree, node);
}

void tree_link_last(struct tree *tree, struct znode *node, struct ephemerals *ephemerals)
{
    node->next = NULL;
    node->prev = node->parent->children ? node->parent->children->last : NULL;
    if (znode_owner_kind(node) == OWNER_SESSION) {
        node->ephemeral = malloc(sizeof *node->ephemeral);
        assert(node->ephemeral && ephemerals);
        *node->ephemeral = (struct znode_ephemeral){.prev = ephemerals->last, .list = ephemerals};
    }
    link_between(tree, node);
}

static void unlink_znode(struct tree *tree, struct znode *node)
{
    struct znode *parent = node->parent;
    *(node->prev ? &node->prev->next : &parent->children->first) = node->next;
    *(node->next ? &node->next->prev : &parent->children->last) = node->prev;
    if (--parent->children->count == 0) {
        free(parent->children);
        parent->children = NULL;
    }
    if (znode_owner_kind(node) == OWNER_SESSION) {
        struct znode_ephemeral *link = node->ephemeral;
        *(link->prev ? &link->prev->ephemeral->next : &link->list->first) = link->next;
        *(link->next ? &link->next->ephemeral->prev : &link->list->last) = link->prev;
        link->list->count--;
    }
    tree_count_znode(tree, node, -1);
    hash_remove(tree, node);
}

/* --- making and freeing --- */

static uint32_t slot_take(struct tree *tree, struct znode *node)
{
    if (tree->free_count > 0) {
        uint32_t slot = tree->free_slots[--tree->free_count];
        tree->slots[slot] = node;
        return slot;
    }
    bool has_room = VEC_RESERVE(tree->slots, tree->slot_count, tree->slot_capacity);
    assert(has_room);
    tree->slots[tree->slot_count] = node;
    return (uint32_t)tree->slot_count++;
}

static void slot_give(struct tree *tree, uint32_t slot)
{
    bool has_room = VEC_RESERVE(tree->free_slots, tree->free_count, tree->free_capacity);
    assert(has_room);
    tree->slots[slot] = NULL;
    tree->free_slots[tree->free_count++] = slot;
}

static void data_assign(struct znode *node, struct slice data)
{
    node->data = NULL;
    node->data_size = data.data ? (int32_t)data.size : -1;
    if (data.size == 0) return;
    node->data = malloc(data.size);
    assert(node->data);
    memcpy(node->data, data.data, data.size);
}

struct znode *znode_alloc(struct slice name, struct slice data)
{
    struct znode *node = calloc(1, sizeof *node + name.size);
    assert(node);
    node->name_size = (uint32_t)name.size;
    if (name.size) memcpy(node->name, name.data, name.size);
    data_assign(node, data);
    return node;
}

void znode_free(struct znode *node)
{
    if (znode_owner_kind(node) == OWNER_SESSION) {
        free(node->ephemeral);
    } else {
        free(node->children);
    }
    free(node->data);
    free(node);
}

static void znode_drop(struct tree *tree, struct znode *node)
{
    slot_give(tree, node->slot);
    acl_release(&tree->acls, node->acl);
    znode_free(node);
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
    tree->save(tree->save_context, node);
    node->is_saved = tree->saved_mark;
}

/* Every change of a znode begins here ... */
static void touch(struct tree *tree, struct znode *node)
{
    save_now(tree, node);
    tree->digest -= znode_digest(node);
}

/* ... and ends here, if the znode is still there. */
static void touched(struct tree *tree, const struct znode *node)
{
    tree->digest += znode_digest(node);
}

static struct znode *initial(struct tree *tree, struct znode *parent, const char *name)
{
    struct znode *node = znode_alloc(slice_of(name), SLICE(""));
    node->slot = slot_take(tree, node);
    node->parent = parent;
    acl_retain(&tree->acls, ACL_OPEN);
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
    tree->root = initial(tree, NULL, "");
    struct znode *zookeeper = initial(tree, tree->root, "zookeeper");
    tree->quotas = initial(tree, zookeeper, "quota");
    struct znode *config = initial(tree, zookeeper, "config");
    acl_release(&tree->acls, config->acl);
    config->acl = acl_intern(&tree->acls, (struct slice){readable_list, sizeof readable_list});
    config->aversion = -1;
    for (size_t i = 0; i < tree->slot_count; i++) tree->slots[i]->order = (uint32_t)i;
    tree_digest_all(tree);
}

void tree_free(struct tree *tree)
{
    assert(!tree->is_recording);
    for (size_t i = 0; i < tree->slot_count; i++) {
        if (tree->slots[i]) znode_free(tree->slots[i]);
    }
    free(tree->slots);
    free(tree->free_slots);
    free(tree->buckets);
    free(tree->old_buckets);
    free(tree->undos);
    tree_restoring_free(tree);
    acl_cache_free(&tree->acls);
    *tree = (struct tree){0};
}

/* --- changing --- */

static void pzxid_raise(struct znode *node, int64_t zxid)
{
    if (zxid > node->pzxid) node->pzxid = zxid;
}

struct znode *tree_create(struct tree *tree, struct znode *parent, const struct znode_new *wanted)
{
    assert(znode_owner_kind(parent) != OWNER_SESSION);
    touch(tree, parent);
    struct znode *node = znode_alloc(wanted->name, wanted->data);
    node->slot = slot_take(tree, node);
    node->parent = parent;
    node->czxid = node->mzxid = node->pzxid = wanted->zxid;
    node->ctime_ms = node->mtime_ms = wanted->time_ms;
    node->owner = wanted->owner;
    node->acl = wanted->acl;
    node->order = wanted->order;
    node->is_saved = tree->saved_mark;
    if (tree->is_recording) {
        undo_push(tree, (struct undo){
                            .kind = UNDO_CREATE, .node = node, .parent = {parent->pzxid, parent->cversion}});
    }
    tree_link_last(tree, node, wanted->ephemerals);
    parent->cversion = (int32_t)((uint32_t)parent->cversion + 1);
    pzxid_raise(parent, wanted->zxid);
    touched(tree, parent);
    znode_checksum(node);
    touched(tree, node);
    return node;
}

void tree_delete(struct tree *tree, struct znode *node, int64_t zxid)
{
    struct znode *parent = node->parent;
    assert(parent && znode_child_count(node) == 0);
    touch(tree, node);
    touch(tree, parent);
    unlink_znode(tree, node);
    if (tree->is_recording) {
        undo_push(tree, (struct undo){
                            .kind = UNDO_DELETE, .node = node, .parent = {parent->pzxid, parent->cversion}});
    } else {
        znode_drop(tree, node);
    }
    pzxid_raise(parent, zxid);
    touched(tree, parent);
}

static void data_replace(struct tree *tree, struct znode *node, struct slice data)
{
    if (tree->is_recording) {
        undo_push(tree, (struct undo){.kind = UNDO_DATA,
                                      .node = node,
                                      .data = {node->data, node->data_size, node->version, node->mzxid,
                                               node->mtime_ms}});
    } else {
        free(node->data);
    }
    tree->data_bytes -= node->data_size > 0 ? node->data_size : 0;
    data_assign(node, data);
    tree->data_bytes += node->data_size > 0 ? node->data_size : 0;
}

void tree_set_data(struct tree *tree, struct znode *node, struct slice data, int64_t zxid, int64_t time_ms)
{
    touch(tree, node);
    data_replace(tree, node, data);
    node->version = (int32_t)((uint32_t)node->version + 1);
    node->mzxid = zxid;
    node->mtime_ms = time_ms;
    znode_checksum_data(node);
    touched(tree, node);
}

void tree_keep_data(struct tree *tree, struct znode *node, struct slice data)
{
    touch(tree, node);
    data_replace(tree, node, data);
    znode_checksum_data(node);
    touched(tree, node);
}

void tree_set_acl(struct tree *tree, struct znode *node, uint32_t acl)
{
    touch(tree, node);
    if (tree->is_recording) {
        undo_push(tree, (struct undo){.kind = UNDO_ACL, .node = node, .acl = {node->acl, node->aversion}});
    } else {
        acl_release(&tree->acls, node->acl);
    }
    node->acl = acl;
    node->aversion = (int32_t)((uint32_t)node->aversion + 1);
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

void tree_rollback(struct tree *tree)
{
    assert(tree->is_recording);
    while (tree->undo_count > 0) {
        struct undo *undo = &tree->undos[--tree->undo_count];
        struct znode *node = undo->node, *parent = node->parent;
        switch (undo->kind) {
        case UNDO_CREATE:
            unlink_znode(tree, node);
            znode_drop(tree, node);
            break;
        case UNDO_DELETE: link_between(tree, node); break;
        case UNDO_DATA:
            tree->data_bytes -= node->data_size > 0 ? node->data_size : 0;
            free(node->data);
            node->data = undo->data.data;
            node->data_size = undo->data.size;
            node->version = undo->data.version;
            node->mzxid = undo->data.mzxid;
            node->mtime_ms = undo->data.mtime_ms;
            tree->data_bytes += node->data_size > 0 ? node->data_size : 0;
            znode_checksum_data(node);
            break;
        case UNDO_ACL:
            acl_release(&tree->acls, node->acl);
            node->acl = undo->acl.acl;
            node->aversion = undo->acl.aversion;
            break;
        }
        if (undo->kind == UNDO_CREATE || undo->kind == UNDO_DELETE) {
            parent->pzxid = undo->parent.pzxid;
            parent->cversion = undo->parent.cversion;
        }
    }
    tree->digest = tree->recorded_digest;
    undos_shrink(tree);
    tree->is_recording = false;
}

/* --- asking --- */

enum owner_kind znode_owner_kind(const struct znode *node)
{
    if (node->owner == 0) return OWNER_NONE;
    if (node->owner == OWNER_CONTAINER) return OWNER_IS_CONTAINER;
    if ((node->owner & OWNER_TTL_MASK) == OWNER_TTL_MASK) return OWNER_IS_TTL;
    return OWNER_SESSION;
}

struct slice znode_data(const struct znode *node)
{
    if (node->data_size < 0) return SLICE_NULL;
    return (struct slice){node->data ? node->data : (const uint8_t *)"", (size_t)node->data_size};
}

struct stat znode_stat(const struct znode *node)
{
    int32_t child_count = (int32_t)znode_child_count(node);
    return (struct stat){
        .czxid = node->czxid,
        .mzxid = node->mzxid,
        .ctime_ms = node->ctime_ms,
        .mtime_ms = node->mtime_ms,
        .version = node->version,
        /* Creations and deletions: each deletion is a creation that is no child any more. */
        .cversion = (int32_t)((uint32_t)node->cversion * 2 - (uint32_t)child_count),
        .aversion = node->aversion,
        .ephemeral_owner = znode_owner_kind(node) == OWNER_SESSION ? node->owner : 0,
        .data_length = node->data_size > 0 ? node->data_size : 0,
        .child_count = child_count,
        .pzxid = node->pzxid,
    };
}

void stat_encode(const struct stat *stat, uint8_t out[STAT_SIZE])
{
    put_be64(out, (uint64_t)stat->czxid);
    put_be64(out + 8, (uint64_t)stat->mzxid);
    put_be64(out + 16, (uint64_t)stat->ctime_ms);
    put_be64(out + 24, (uint64_t)stat->mtime_ms);
    put_be32(out + 32, (uint32_t)stat->version);
    put_be32(out + 36, (uint32_t)stat->cversion);
    put_be32(out + 40, (uint32_t)stat->aversion);
    put_be64(out + 44, (uint64_t)stat->ephemeral_owner);
    put_be32(out + 52, (uint32_t)stat->data_length);
    put_be32(out + 56, (uint32_t)stat->child_count);
    put_be64(out + 60, (uint64_t)stat->pzxid);
}

struct znode *znode_first_child(const struct znode *node)
{
    return znode_child_count(node) > 0 ? node->children->first : NULL;
}

int64_t znode_descendant_count(const struct znode *node)
{
    int64_t count = 0;
    const struct znode *at = node;
    for (;;) {
        const struct znode *next = znode_first_child(at);
        while (!next && at != node) {
            next = at->next;
            if (!next) at = at->parent;
        }
        if (!next) return count;
        count++;
        at = next;
    }
}

void tree_path(const struct znode *node, struct text *out)
{
    if (!node->parent) {
        text_addc(out, '/');
        return;
    }
    size_t size = 0;
    for (const struct znode *at = node; at->parent; at = at->parent) {
        size += 1 + at->name_size;
    }
    /* From the end to the front. */
    size_t begin = out->size;
    for (size_t i = 0; i < size; i++) text_addc(out, '/');
    assert(!out->failed);
    char *end = out->data + begin + size;
    for (const struct znode *at = node; at->parent; at = at->parent) {
        end -= at->name_size;
        memcpy(end, at->name, at->name_size);
        end--;
    }
}

/* --- snapshots --- */

void tree_snapshot_begin(struct tree *tree, void (*save)(void *context, const struct znode *node),
                         void *context)
{
    assert(!tree->is_saving && !tree->is_recording);
    tree->is_saving = true;
    tree->saved_mark = !tree->saved_mark;
    tree->saving_slot = 0;
    tree->save = save;
    tree->save_context = context;
}

bool tree_snapshot_step(struct tree *tree, size_t slots)
{
    assert(tree->is_saving && !tree->is_recording);
    for (; slots > 0 && tree->saving_slot < tree->slot_count; slots--) {
        struct znode *node = tree->slots[tree->saving_slot++];
        if (node) save_now(tree, node);
    }
    if (tree->saving_slot < tree->slot_count) return true;
    tree->is_saving = false;
    return false;
}
