#include "metadata/tree.h"

#include <stdlib.h>

#include "base/map.h"

static bool is_shared(const struct tree_node *node)
{
    return __atomic_load_n(&node->references, __ATOMIC_ACQUIRE) > 1;
}

struct tree_node *tree_retain(struct tree_node *root)
{
    if (root) __atomic_add_fetch(&root->references, 1, __ATOMIC_RELAXED);
    return root;
}

void tree_release(struct tree_node **root, const struct tree_kind *kind)
{
    struct tree_node *node = *root;
    *root = NULL;
    if (!node || __atomic_sub_fetch(&node->references, 1, __ATOMIC_ACQ_REL) > 0) return;
    tree_release(&node->left, kind);
    tree_release(&node->right, kind);
    kind->release(node->value);
    free(node);
}

void *tree_get(const struct tree_node *root, struct slice key)
{
    while (root) {
        int order = slice_compare(key, root->key);
        if (order == 0) return root->value;
        root = order < 0 ? root->left : root->right;
    }
    return NULL;
}

void *tree_next(const struct tree_node *root, struct slice key, bool is_after)
{
    void *found = NULL;
    while (root) {
        int order = slice_compare(root->key, key);
        if (order > 0 || (order == 0 && !is_after)) {
            found = root->value;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return found;
}

/* Makes *slot, a reference of ours, one that nobody else sees. */
static enum error own(struct tree_node **slot, const struct tree_kind *kind)
{
    struct tree_node *node = *slot;
    if (!is_shared(node)) return OK;
    struct tree_node *copy = malloc(sizeof *copy);
    if (!copy) return ERR_NOMEM;
    /* Field by field: others count the node's references meanwhile. */
    *copy = (struct tree_node){.references = 1,
                               .priority = node->priority,
                               .key = node->key,
                               .value = node->value,
                               .left = tree_retain(node->left),
                               .right = tree_retain(node->right)};
    kind->retain(copy->value);
    tree_release(slot, kind);
    *slot = copy;
    return OK;
}

/* Both nodes are ours alone. */
static void lift_left(struct tree_node **slot)
{
    struct tree_node *node = *slot, *up = node->left;
    node->left = up->right;
    up->right = node;
    *slot = up;
}

static void lift_right(struct tree_node **slot)
{
    struct tree_node *node = *slot, *up = node->right;
    node->right = up->left;
    up->left = node;
    *slot = up;
}

static enum error put(struct tree_node **slot, const struct tree_kind *kind, struct slice key,
                      uint64_t priority, void *value)
{
    if (!*slot) {
        struct tree_node *leaf = malloc(sizeof *leaf);
        if (!leaf) return ERR_NOMEM;
        *leaf = (struct tree_node){.references = 1, .priority = priority, .key = key, .value = value};
        kind->retain(value);
        *slot = leaf;
        return OK;
    }
    enum error err = own(slot, kind);
    if (err != OK) return err;

    struct tree_node *node = *slot;
    int order = slice_compare(key, node->key);
    if (order == 0) {
        kind->retain(value);
        kind->release(node->value);
        node->value = value;
        node->key = key;
    } else if (order < 0) {
        err = put(&node->left, kind, key, priority, value);
        if (err == OK && node->left->priority > node->priority) lift_left(slot);
    } else {
        err = put(&node->right, kind, key, priority, value);
        if (err == OK && node->right->priority > node->priority) lift_right(slot);
    }
    return err;
}

enum error tree_put(struct tree_node **root, const struct tree_kind *kind, struct slice key, void *value)
{
    return put(root, kind, key, hash_bytes(key.data, key.size), value);
}

/* Lets the node sink, the higher of its children rising each time, until it has none. Each step leaves a valid search
 * tree, so that running out of memory on the way loses nothing (but a little balance). */
static enum error sink(struct tree_node **slot, const struct tree_kind *kind)
{
    enum error err = own(slot, kind);
    if (err != OK) return err;
    struct tree_node *node = *slot;
    if (!node->left && !node->right) {
        tree_release(slot, kind);
        return OK;
    }
    bool is_left = node->left && (!node->right || node->left->priority > node->right->priority);
    err = own(is_left ? &node->left : &node->right, kind);
    if (err != OK) return err;
    if (is_left)
        lift_left(slot);
    else
        lift_right(slot);
    return sink(is_left ? &(*slot)->right : &(*slot)->left, kind);
}

static enum error remove_from(struct tree_node **slot, const struct tree_kind *kind, struct slice key)
{
    int order = slice_compare(key, (*slot)->key);
    if (order == 0) return sink(slot, kind);
    enum error err = own(slot, kind);
    if (err != OK) return err;
    return remove_from(order < 0 ? &(*slot)->left : &(*slot)->right, kind, key);
}

enum error tree_remove(struct tree_node **root, const struct tree_kind *kind, struct slice key)
{
    return tree_get(*root, key) ? remove_from(root, kind, key) : OK;
}
