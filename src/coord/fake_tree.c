/* fake_tree.c: znodes in a map, and what a failed multi puts back. */
#include <stdio.h>

#include "coord/fake_inside.h"

struct znode *fake_find(const struct fake_keeper *fake, const char *path)
{
    return map_get(&fake->nodes, slice_of(path));
}

void fake_znode_free(struct znode *node)
{
    if (!node) return;
    free(node->path);
    free(node->data);
    free(node);
}

static struct znode *znode_copy(const struct znode *node)
{
    struct znode *copy = need(malloc(sizeof *copy));
    *copy = *node;
    copy->path = need(strdup(node->path));
    if (node->data) {
        copy->data = need(malloc(node->size + 1));
        memcpy(copy->data, node->data, node->size);
    }
    return copy;
}

void fake_parent(const char *path, char *parent, size_t size)
{
    snprintf(parent, size, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash == parent)
        slash[1] = 0;
    else
        *slash = 0;
}

/* Before a multi changes `path`: keep what it was. */
static void keep(struct fake_keeper *fake, const char *path)
{
    if (!fake->is_in_multi) return;
    struct znode *node = fake_find(fake, path);
    struct znode *copy;
    if (node) {
        copy = znode_copy(node);
    } else {
        copy = need(calloc(1, sizeof *copy));
        copy->path = need(strdup(path));
    }
    if (!VEC_RESERVE(fake->undo, fake->undo_count, fake->undo_capacity)) abort();
    fake->undo[fake->undo_count++] = copy;
}

void fake_forget_undo(struct fake_keeper *fake, bool is_undone)
{
    while (fake->undo_count > 0) {
        struct znode *was = fake->undo[--fake->undo_count];
        if (!is_undone) {
            fake_znode_free(was);
            continue;
        }
        fake_znode_free(map_remove(&fake->nodes, slice_of(was->path)));
        if (was->stat.czxid != 0)
            need_ok(map_put(&fake->nodes, slice_of(was->path), was));
        else
            fake_znode_free(was);
    }
    fake->is_in_multi = false;
}

static void set_data(struct znode *node, struct slice data)
{
    free(node->data);
    node->data = NULL;
    if (data.data) {
        node->data = need(malloc(data.size + 1));
        memcpy(node->data, data.data, data.size);
    }
    node->size = data.size;
    node->stat.data_length = (int32_t)data.size;
}

/* flags as on the wire; `created` gets the path with its sequence number. */
enum error fake_create(struct fake_keeper *fake, const char *path, struct slice data, int32_t flags,
                       int64_t owner, char *created, size_t created_size)
{
    char parent_path[540];
    fake_parent(path, parent_path, sizeof parent_path);
    struct znode *parent = fake_find(fake, parent_path);
    if (!parent) return ERR_ZK_NO_NODE;
    if (flags & COORD_SEQUENTIAL)
        snprintf(created, created_size, "%s%010d", path, parent->sequence);
    else
        snprintf(created, created_size, "%s", path);
    if (fake_find(fake, created)) return ERR_ZK_NODE_EXISTS;
    if (parent->stat.ephemeral_owner) return ERR_ZK_NO_CHILDREN_FOR_EPHEMERALS;

    keep(fake, parent_path);
    keep(fake, created);
    struct znode *node = need(calloc(1, sizeof *node));
    node->path = need(strdup(created));
    set_data(node, data);
    node->stat.czxid = node->stat.mzxid = node->stat.pzxid = fake->zxid;
    node->stat.ctime_ms = node->stat.mtime_ms = FAKE_KEEPER_EPOCH_MS + fake->now_ms;
    node->stat.ephemeral_owner = flags & COORD_EPHEMERAL ? owner : 0;
    need_ok(map_put(&fake->nodes, slice_of(created), node));
    parent->stat.child_count++;
    parent->stat.cversion++;
    parent->stat.pzxid = fake->zxid;
    parent->sequence++;
    return OK;
}

enum error fake_delete(struct fake_keeper *fake, const char *path, int32_t version)
{
    struct znode *node = fake_find(fake, path);
    if (!node) return ERR_ZK_NO_NODE;
    if (version != COORD_ANY_VERSION && version != node->stat.version) return ERR_ZK_BAD_VERSION;
    if (node->stat.child_count > 0) return ERR_ZK_NOT_EMPTY;
    char parent_path[540];
    fake_parent(path, parent_path, sizeof parent_path);
    struct znode *parent = fake_find(fake, parent_path);
    keep(fake, parent_path);
    keep(fake, path);
    parent->stat.child_count--;
    parent->stat.cversion++;
    parent->stat.pzxid = fake->zxid;
    fake_znode_free(map_remove(&fake->nodes, slice_of(path)));
    return OK;
}

enum error fake_set(struct fake_keeper *fake, const char *path, struct slice data, int32_t version)
{
    struct znode *node = fake_find(fake, path);
    if (!node) return ERR_ZK_NO_NODE;
    if (version != COORD_ANY_VERSION && version != node->stat.version) return ERR_ZK_BAD_VERSION;
    keep(fake, path);
    set_data(node, data);
    node->stat.version++;
    node->stat.mzxid = fake->zxid;
    node->stat.mtime_ms = FAKE_KEEPER_EPOCH_MS + fake->now_ms;
    return OK;
}

enum error fake_check(struct fake_keeper *fake, const char *path, int32_t version)
{
    struct znode *node = fake_find(fake, path);
    if (!node) return ERR_ZK_NO_NODE;
    return version != COORD_ANY_VERSION && version != node->stat.version ? ERR_ZK_BAD_VERSION : OK;
}
