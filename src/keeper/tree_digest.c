/* tree_digest.c: ZooKeeper's digest of a tree, version 2, kept up to date.
 *
 *     digest = sum over the znodes not below /zookeeper of CRC-32(path, data, stat as it is kept: 60 bytes)
 *
 * A checksum goes on from where another ended, so a znode keeps those of its path and of path and data: to follow a change of
 * the stat takes 60 bytes, whatever the znode holds. Source: facts/keeper.md 4.2. */
#include "base/bytes.h"
#include "keeper/tree.h"
#include "keeper/tree_inside.h"
#include "wire/crc32c.h"

void znode_checksum_data(struct znode *node)
{
    node->data_crc = node->path_crc;
    if (node->data_size > 0)
        node->data_crc = crc32_legacy(node->path_crc, node->data, (size_t)node->data_size);
}

void znode_checksum(struct znode *node)
{
    const struct znode *parent = node->parent;
    if (parent) {
        node->path_crc = crc32_legacy(crc32_legacy(parent->path_crc, "/", 1), node->name, node->name_size);
        bool is_of_zookeeper =
            !parent->parent ? false : !parent->parent->parent && slice_is(znode_name(parent), "zookeeper");
        node->is_undigested = parent->is_undigested || is_of_zookeeper;
    }
    znode_checksum_data(node);
}

uint64_t znode_digest(const struct znode *node)
{
    enum { STAT_KEPT_SIZE = 60 };
    if (node->is_undigested) return 0;
    uint8_t stat[STAT_KEPT_SIZE];
    put_be64(stat, (uint64_t)node->czxid);
    put_be64(stat + 8, (uint64_t)node->mzxid);
    put_be64(stat + 16, (uint64_t)node->pzxid);
    put_be64(stat + 24, (uint64_t)node->ctime_ms);
    put_be64(stat + 32, (uint64_t)node->mtime_ms);
    put_be32(stat + 40, (uint32_t)node->version);
    put_be32(stat + 44, (uint32_t)node->cversion);
    put_be32(stat + 48, (uint32_t)node->aversion);
    put_be64(stat + 52, (uint64_t)node->owner);
    return crc32_legacy(node->data_crc, stat, sizeof stat);
}

void tree_digest_all(struct tree *tree)
{
    tree->digest = 0;
    struct znode *at = tree->root;
    while (at) { /* parents before their children, whose paths go on from theirs */
        znode_checksum(at);
        tree->digest += znode_digest(at);
        struct znode *next = znode_first_child(at);
        while (!next && at != tree->root) {
            next = at->next;
            if (!next) at = at->parent;
        }
        at = next;
    }
}
