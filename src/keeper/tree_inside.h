/* tree_inside.h: what the tree's files share. */
#pragma once
#include "keeper/tree.h"

struct znode *znode_alloc(struct slice name, struct slice data);
void znode_free(struct znode *node);
void tree_count_znode(struct tree *tree, const struct znode *node, int sign);
/* Behind its siblings and its session's other ephemerals, and into the table. */
void tree_link_last(struct tree *tree, struct znode *node, struct ephemerals *ephemerals);
/* tree_digest.c: path_crc and data_crc of a znode that has its parent and its data. */
void znode_checksum(struct znode *node);
void znode_checksum_data(struct znode *node);
/* The same for all znodes, and the digest. */
void tree_digest_all(struct tree *tree);
void tree_restoring_free(struct tree *tree);
/* Where a child would be looked for: a number for tree_expect, which fetches that place into the cache ahead of time. */
uint32_t tree_hash_child(const struct znode *parent, struct slice name);
void tree_expect_bucket(const struct tree *tree, uint32_t hash);
void tree_expect_first(const struct tree *tree, uint32_t hash);
