/* children.h: the children of one znode, found by name.
 *
 *     places  4 bytes each: where the child is in tree.nodes        open addressing, linear probing, at most 7/8 full
 *     tags    1 byte each: 0 empty, 1 was removed, else 7 bits of the name's hash, so that nearly no other znode is looked at
 *
 * When it grows or shrinks, the children move over a few at each change: nobody pays for a million at once. Their order is that of
 * the places, so none that means anything.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct znode;
struct slabs;

struct children_table {
    uint32_t *places;        /* then `capacity` tags */
    uint32_t capacity, used; /* used: children and removed ones; of the old table: children */
};

struct znode_children {
    struct children_table now, old;
    uint32_t moved; /* places of `old` that are done with */
    uint32_t first; /* no child in `now` before it */
    uint32_t count;
    uint32_t id;       /* names the znode in snapshots: dense, and its own as long as it has children */
    uint32_t path_crc; /* of the znode's path */
};

uint32_t children_hash(struct slice name);
/* Room for so many at once, in an empty one. */
void children_expect(struct znode_children *children, uint32_t count);
struct znode *children_find(const struct slabs *nodes, const struct znode_children *children,
                            struct slice name, uint32_t hash);
/* The name must be absent. Without memory the process stops. */
void children_add(const struct slabs *nodes, struct znode_children *children, struct znode *node,
                  uint32_t hash);
void children_remove(const struct slabs *nodes, struct znode_children *children, const struct znode *node);
void children_free(struct znode_children *children);
/* One after another: *at begins as 0. Nothing may change in between. */
struct znode *children_next(const struct slabs *nodes, const struct znode_children *children, size_t *at);
/* Where children_next goes on after this one. */
size_t children_after(const struct slabs *nodes, const struct znode_children *children,
                      const struct znode *node);
