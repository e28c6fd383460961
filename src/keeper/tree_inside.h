/* tree_inside.h: what the tree's files share. */
#pragma once
#include "keeper/tree.h"

struct znode_birth {
    struct slice name, data;
    uint32_t parent, acl, order;
    int64_t zxid, time_ms, owner;
};
/* With more if it needs it; its parent is not told. */
struct znode *znode_make(struct tree *tree, const struct znode_birth *birth);
void znode_unmake(struct tree *tree, struct znode *node);
/* Made now, if there is none, as if nothing had changed. */
struct znode_more *znode_need_more(struct tree *tree, struct znode *node);
struct znode_children *znode_need_children(struct tree *tree, struct znode *node);
void tree_count_znode(struct tree *tree, const struct znode *node, int sign);
/* Among its parent's children and behind its session's other ephemerals. */
void tree_link_last(struct tree *tree, struct znode *node, struct ephemerals *ephemerals);
void tree_restoring_free(struct tree *tree);

/* tree_digest.c */
uint32_t znode_path_crc(const struct tree *tree, const struct znode *node);
/* Of a znode that has its parent. */
bool znode_is_undigested(const struct tree *tree, const struct znode *node);
/* Brings more->data_crc to what the data is; nothing without more. */
void znode_checksum_data(struct tree *tree, struct znode *node);
/* All of it anew. */
void tree_digest_all(struct tree *tree);
