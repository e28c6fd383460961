/* tree_restore.c: znodes to the bytes of a snapshot and back. */
#include <assert.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/vec.h"
#include "keeper/jute.h"
#include "keeper/tree.h"
#include "keeper/tree_inside.h"

#define NO_SLOT UINT32_MAX

void znode_encode(const struct znode *node, struct text *out)
{
    text_add_be32(out, node->slot);
    text_add_be32(out, node->parent ? node->parent->slot : NO_SLOT);
    text_add_be32(out, node->order);
    text_add_be32(out, node->acl);
    text_add_be64(out, (uint64_t)node->czxid);
    text_add_be64(out, (uint64_t)node->mzxid);
    text_add_be64(out, (uint64_t)node->pzxid);
    text_add_be64(out, (uint64_t)node->ctime_ms);
    text_add_be64(out, (uint64_t)node->mtime_ms);
    text_add_be64(out, (uint64_t)node->owner);
    text_add_be32(out, (uint32_t)node->version);
    text_add_be32(out, (uint32_t)node->cversion);
    text_add_be32(out, (uint32_t)node->aversion);
    jute_add_bytes(out, znode_name(node));
    jute_add_bytes(out, znode_data(node));
}

void tree_restoring_free(struct tree *tree)
{
    free(tree->restoring.by_slot);
    map_free(&tree->restoring.slots);
    map_free(&tree->restoring.acls);
    tree->restoring = (struct tree_restoring){0};
}

void tree_restore_begin(struct tree *tree, int64_t zxid)
{
    *tree = (struct tree){.restoring.zxid = zxid};
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

static struct znode *stored(const struct tree_restoring *restoring, uint32_t slot)
{
    if (slot < restoring->by_slot_count && restoring->by_slot[slot]) return restoring->by_slot[slot];
    return restoring->slots.count > 0 ? map_get_number(&restoring->slots, slot) : NULL;
}

/* Slots are names: one that is far beyond the number of znodes read so far costs a place in the map, not all places up to it. */
static enum error stored_add(struct tree_restoring *restoring, uint32_t slot, size_t read_count,
                             struct znode *node)
{
    if (slot >= restoring->by_slot_count && slot < 2 * read_count + 1024) {
        size_t grown = 2 * ((size_t)slot + 1024);
        struct znode **moved = realloc(restoring->by_slot, grown * sizeof *moved);
        if (!moved) return ERR_NOMEM;
        memset(moved + restoring->by_slot_count, 0, (grown - restoring->by_slot_count) * sizeof *moved);
        restoring->by_slot = moved;
        restoring->by_slot_count = grown;
    }
    if (slot >= restoring->by_slot_count) return map_put_number(&restoring->slots, slot, node);
    restoring->by_slot[slot] = node;
    return OK;
}

enum error tree_restore_znode(struct tree *tree, struct jute *in)
{
    struct tree_restoring *restoring = &tree->restoring;
    struct znode read = {0};
    uint32_t stored_slot = (uint32_t)jute_int(in);
    uint32_t parent_slot = (uint32_t)jute_int(in);
    read.order = (uint32_t)jute_int(in);
    uint32_t stored_acl = (uint32_t)jute_int(in);
    read.czxid = jute_long(in);
    read.mzxid = jute_long(in);
    read.pzxid = jute_long(in);
    read.ctime_ms = jute_long(in);
    read.mtime_ms = jute_long(in);
    read.owner = jute_long(in);
    read.version = jute_int(in);
    read.cversion = jute_int(in);
    read.aversion = jute_int(in);
    struct slice name = jute_bytes(in), data = jute_bytes(in);
    bool is_root = parent_slot == NO_SLOT;
    uintptr_t acl = (uintptr_t)map_get_number(&restoring->acls, stored_acl);
    if (in->is_bad || acl == 0 || stored(restoring, stored_slot)) return ERR_CORRUPT;
    if (is_root ? tree->root != NULL || read.owner != 0 : name.size == 0) return ERR_CORRUPT;
    int64_t zxid = restoring->zxid;
    if (read.czxid > zxid || read.mzxid > zxid || read.pzxid > zxid) return ERR_CORRUPT;

    if (tree->slot_count >= NO_SLOT) return ERR_CORRUPT;
    if (!VEC_RESERVE(tree->slots, tree->slot_count, tree->slot_capacity)) return ERR_NOMEM;
    struct znode *node = znode_alloc(name, data);
    read.slot = (uint32_t)tree->slot_count;
    read.acl = (uint32_t)(acl - 1);
    read.data = node->data;
    read.data_size = node->data_size;
    read.name_size = node->name_size;
    /* Until the end its parent is known by place only. */
    read.next = (struct znode *)(uintptr_t)parent_slot;
    memcpy(node, &read, offsetof(struct znode, name));
    acl_retain(&tree->acls, node->acl);
    tree->slots[tree->slot_count++] = node;
    if (is_root) tree->root = node;
    return stored_add(restoring, stored_slot, tree->slot_count, node);
}

struct restored {
    int64_t czxid;
    uint32_t order;
    uint32_t hash; /* of its place among its parent's children */
    struct znode *node;
};

static int restored_compare(const void *a, const void *b)
{
    const struct restored *x = a, *y = b;
    if (x->czxid != y->czxid) return x->czxid < y->czxid ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* Every znode but the root, in the order in which they were created. */
static struct restored *restored_sorted(const struct tree *tree, size_t *count)
{
    struct restored *all = malloc((tree->slot_count + 1) * sizeof *all);
    if (!all) return NULL;
    size_t found = 0;
    bool is_sorted = true;
    for (size_t i = 0; i < tree->slot_count; i++) {
        struct znode *node = tree->slots[i];
        if (!node || node == tree->root) continue;
        all[found++] = (struct restored){node->czxid, node->order, 0, node};
        if (found > 1 && restored_compare(&all[found - 2], &all[found - 1]) > 0) is_sorted = false;
    }
    if (!is_sorted) qsort(all, found, sizeof *all, restored_compare);
    *count = found;
    return all;
}

static enum error tie(struct tree *tree, struct znode *node,
                      struct ephemerals *(*owner_of)(void *context, int64_t), void *context, bool *may_ring)
{
    struct znode *parent = stored(&tree->restoring, (uint32_t)(uintptr_t)node->next);
    if (!parent || parent == node || znode_owner_kind(parent) == OWNER_SESSION) return ERR_CORRUPT;
    if (tree_child(tree, parent, znode_name(node))) return ERR_CORRUPT;
    struct ephemerals *ephemerals = NULL;
    if (znode_owner_kind(node) == OWNER_SESSION) {
        ephemerals = owner_of(context, node->owner);
        if (!ephemerals) return ERR_CORRUPT;
    }
    /* A parent is older than its children, so it hangs on the root already. If it does not, these may be rings, which hang
     * together without hanging on the root. */
    if (!parent->parent && parent != tree->root) *may_ring = true;
    node->parent = parent;
    tree_link_last(tree, node, ephemerals);
    znode_checksum(node);
    tree->digest += znode_digest(node);
    return OK;
}

/* Each znode's place in the table is somewhere else in memory: fetched while those before it are being tied. */
static void look_ahead(const struct tree *tree, struct restored *all, size_t count, size_t at)
{
    enum { FAR = 12, NEAR = 6 };
    if (at + FAR < count) {
        struct restored *far = &all[at + FAR];
        const struct znode *parent = stored(&tree->restoring, (uint32_t)(uintptr_t)far->node->next);
        far->hash = parent ? tree_hash_child(parent, znode_name(far->node)) : 0;
        tree_expect_bucket(tree, far->hash);
    }
    if (at + NEAR < count) tree_expect_first(tree, all[at + NEAR].hash);
}

enum error tree_restore_end(struct tree *tree, struct ephemerals *(*owner_of)(void *context, int64_t session),
                            void *context)
{
    if (!tree->root) return ERR_CORRUPT;
    tree->root->next = NULL;
    tree_count_znode(tree, tree->root, 1);
    size_t count;
    struct restored *all = restored_sorted(tree, &count);
    if (!all) return ERR_NOMEM;
    tree->bucket_count = 64;
    while (tree->bucket_count <= count) tree->bucket_count *= 2;
    tree->buckets = calloc(tree->bucket_count, sizeof *tree->buckets);
    enum error err = tree->buckets ? OK : ERR_NOMEM;
    znode_checksum(tree->root);
    tree->digest = znode_digest(tree->root);
    bool may_ring = false;
    for (size_t i = 0; i < count && err == OK; i++) {
        look_ahead(tree, all, count, i);
        err = tie(tree, all[i].node, owner_of, context, &may_ring);
    }
    free(all);
    if (err != OK) return err;
    if (may_ring) {
        if (znode_descendant_count(tree->root) != (int64_t)count) return ERR_CORRUPT;
        tree_digest_all(tree); /* which goes from parents to children */
    }

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
    for (size_t i = 0; i < tree->slot_count; i++) {
        const struct znode *node = tree->slots[i];
        if (!node) continue;
        text_reset(&bytes);
        tree_path(node, &bytes);
        jute_add_bytes(&bytes, znode_data(node));
        text_add(&bytes, acl_bytes(&tree->acls, node->acl));
        struct stat stat = znode_stat(node);
        uint8_t encoded[STAT_SIZE];
        stat_encode(&stat, encoded);
        text_add(&bytes, (struct slice){encoded, sizeof encoded});
        text_add_be64(&bytes, (uint64_t)node->owner);
        text_add_be32(&bytes, node->order);
        assert(!bytes.failed);
        sum += hash_bytes(bytes.data, bytes.size);
    }
    text_free(&bytes);
    return sum;
}
