/* tree_inside.h: what tree.c and tree_restore.c share. */
#pragma once
#include "keeper/tree.h"

struct znode *znode_alloc(struct slice name, struct slice data);
void znode_free(struct znode *node);
void tree_count_znode(struct tree *tree, const struct znode *node, int sign);
/* Behind its siblings and its session's other ephemerals, and into the table. */
void tree_link_last(struct tree *tree, struct znode *node, struct ephemerals *ephemerals);
void tree_restoring_free(struct tree *tree);
