/* tree.h: sorted maps that share what did not change: treaps whose shared nodes are copied before they are written.
 *
 *     before   m          after putting p:   m'      m' and t' are new; f (with all below it) is shared
 *             / \                           / \
 *            f   t                         f   t'
 *                                             /
 *                                            p
 *
 * A key's priority is its hash, so the shape depends on the keys alone and is balanced as a random tree is: about 2 log n deep.
 * A node with one reference, on a path of such nodes, belongs to the builder alone and is changed in place; so filling a
 * new tree copies nothing.
 *
 * Keys     live in their values. Values are counted by the owner's two functions.
 * Threads  reading and releasing anywhere; changing on one.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct tree_kind {
    void (*retain)(void *value);
    void (*release)(void *value);
};

struct tree_node {
    int references; /* __atomic */
    uint64_t priority;
    struct slice key;
    void *value;
    struct tree_node *left, *right;
};

/* A NULL root is an empty tree. */
struct tree_node *tree_retain(struct tree_node *root);
void tree_release(struct tree_node **root, const struct tree_kind *kind);

void *tree_get(const struct tree_node *root, struct slice key);
/* The first value in order whose key is >= key, or > key. */
void *tree_next(const struct tree_node *root, struct slice key, bool is_after);

/* Takes a reference of its own. On an error the tree holds what it held. */
MUST_USE enum error tree_put(struct tree_node **root, const struct tree_kind *kind, struct slice key,
                             void *value);
/* Absent keys are fine. */
MUST_USE enum error tree_remove(struct tree_node **root, const struct tree_kind *kind, struct slice key);
