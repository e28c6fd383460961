/* tree_digest.c: ZooKeeper's digest of a tree, version 2, kept up to date.
 *
 *     digest = sum over the znodes not below /zookeeper of CRC-32(path, data, stat as it is kept: 60 bytes)
 *
 * A checksum goes on from where another ended, so a znode with children keeps that of its path, one with more that of path and
 * data: to follow a change of such a stat takes 60 bytes, whatever the znode holds. Source: facts/keeper.md 4.2. */
#include "base/bytes.h"
#include "keeper/tree.h"
#include "keeper/tree_inside.h"
#include "wire/crc32c.h"

uint32_t znode_path_crc(const struct tree *tree, const struct znode *node)
{
    if (!node->parent) return 0; /* the root's path is empty here */
    const struct znode *parent = znode_parent(tree, node);
    const struct znode_more *more = znode_more(tree, parent);
    uint32_t crc = more && more->children ? more->children->path_crc : znode_path_crc(tree, parent);
    return crc32_legacy(crc32_legacy(crc, "/", 1), node->name, node->name_size);
}

static uint32_t data_crc(const struct tree *tree, const struct znode *node)
{
    uint32_t crc = znode_path_crc(tree, node);
    struct slice data = znode_data(tree, node);
    return data.size > 0 ? crc32_legacy(crc, data.data, data.size) : crc;
}

void znode_checksum_data(struct tree *tree, struct znode *node)
{
    if (node->more) znode_more(tree, node)->data_crc = data_crc(tree, node);
}

bool znode_is_undigested(const struct tree *tree, const struct znode *node)
{
    const struct znode *parent = znode_parent(tree, node);
    if (!parent) return false;
    return parent->is_undigested || (parent != tree->root && znode_parent(tree, parent) == tree->root &&
                                     slice_is(znode_name(parent), "zookeeper"));
}

uint64_t znode_digest(const struct tree *tree, const struct znode *node)
{
    enum { STAT_KEPT_SIZE = 60 };
    if (node->is_undigested) return 0;
    struct stat_kept kept = znode_kept(tree, node);
    uint8_t stat[STAT_KEPT_SIZE];
    put_be64(stat, (uint64_t)kept.czxid);
    put_be64(stat + 8, (uint64_t)kept.mzxid);
    put_be64(stat + 16, (uint64_t)kept.pzxid);
    put_be64(stat + 24, (uint64_t)kept.ctime_ms);
    put_be64(stat + 32, (uint64_t)kept.mtime_ms);
    put_be32(stat + 40, (uint32_t)kept.version);
    put_be32(stat + 44, (uint32_t)kept.cversion);
    put_be32(stat + 48, (uint32_t)kept.aversion);
    put_be64(stat + 52, (uint64_t)kept.owner);
    return crc32_legacy(node->more ? znode_more(tree, node)->data_crc : data_crc(tree, node), stat,
                        sizeof stat);
}

void tree_digest_all(struct tree *tree)
{
    tree->digest = 0;
    for (struct znode *at = tree->root; at; at = znode_next_below(tree, tree->root, at)) {
        at->is_undigested = znode_is_undigested(tree, at);
        struct znode_more *more = znode_more(tree, at);
        if (more && owner_kind(more->owner) != OWNER_SESSION && more->children)
            more->children->path_crc = znode_path_crc(tree, at);
        znode_checksum_data(tree, at);
        tree->digest += znode_digest(tree, at);
    }
}
