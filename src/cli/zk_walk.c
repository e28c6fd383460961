/* zk_walk.c: a whole subtree, many requests at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "cli/zk.h"
#include "keeper/jute.h"
#include "keeper/machine.h"

enum { BATCH = 128, KINDS_MAX = 3 };

void zk_subtree_free(struct zk_subtree *subtree)
{
    for (size_t i = 0; i < subtree->count; i++) {
        free(subtree->nodes[i].path);
        text_free(&subtree->nodes[i].data);
        text_free(&subtree->nodes[i].acl);
    }
    free(subtree->nodes);
    *subtree = (struct zk_subtree){0};
}

int zk_walked(const struct zk_subtree *subtree)
{
    if (subtree->denied > 0)
        cli_complain("%zu znodes, and what is below them, may not be read", subtree->denied);
    return subtree->denied > 0 ? EXIT_DENIED : EXIT_OK;
}

int zk_compare_paths(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    unsigned char left = *a == '/' ? 1 : (unsigned char)*a, right = *b == '/' ? 1 : (unsigned char)*b;
    return (left > right) - (left < right);
}

static int compare_nodes(const void *a, const void *b)
{
    return zk_compare_paths(((const struct zk_node *)a)->path, ((const struct zk_node *)b)->path);
}

static enum error add_path(struct zk_subtree *subtree, const char *parent, const char *name)
{
    if (!VEC_RESERVE(subtree->nodes, subtree->count, subtree->capacity)) return ERR_NOMEM;
    struct text path = {0};
    text_addz(&path, parent && strcmp(parent, "/") != 0 ? parent : "");
    if (parent) text_addc(&path, '/');
    text_addz(&path, name);
    if (path.failed) return ERR_NOMEM;
    subtree->nodes[subtree->count++] = (struct zk_node){.path = path.data};
    return OK;
}

static enum error take_answers(struct zk_subtree *subtree, size_t index, const struct zk_request *requests,
                               int kinds)
{
    struct zk_node *node = &subtree->nodes[index];
    struct zk_names names;
    enum error err = zk_children_read(text_slice(&requests[0].answer), &names, &node->stat);
    if (err != OK) return err;
    for (int k = 1; k < kinds && err == OK; k++) {
        struct jute in = jute_of(text_slice(&requests[k].answer));
        if (requests[k].op == ZK_GET) {
            struct slice data = jute_bytes(&in);
            node->is_null = !data.data;
            text_add(&node->data, data);
            if (in.is_bad || node->data.failed) err = ERR_CORRUPT;
        } else {
            err = zk_acl_text(text_slice(&requests[k].answer), &node->acl, NULL);
        }
    }
    for (size_t i = 0; i < names.count && err == OK; i++)
        err = add_path(subtree, subtree->nodes[index].path, names.names[i]);
    zk_names_free(&names);
    return err;
}

/* Nodes from `done` on, BATCH at most. Those that are gone meanwhile lose their path. */
static enum error read_batch(struct zk *zk, struct zk_subtree *subtree, size_t done, size_t end, int with)
{
    static const enum zk_read all[KINDS_MAX] = {ZK_CHILDREN, ZK_GET, ZK_ACL};
    enum zk_read wanted[KINDS_MAX];
    int kinds = 0;
    for (int k = 0; k < KINDS_MAX; k++) {
        if (k == 0 || (k == 1 && with & ZK_WITH_DATA) || (k == 2 && with & ZK_WITH_ACL))
            wanted[kinds++] = all[k];
    }
    size_t count = (end - done) * (size_t)kinds;
    struct zk_request *requests = calloc(count, sizeof *requests);
    if (!requests) return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        zk_read_body(zk, &requests[i], wanted[i % (size_t)kinds],
                     subtree->nodes[done + i / (size_t)kinds].path, false);
    enum error err = zk_ask_all(zk, requests, count);
    if (err == ERR_ZK_NO_NODE || err == ERR_ZK_NO_AUTH) err = OK; /* looked at one by one */
    for (size_t i = done; i < end && err == OK; i++) {
        const struct zk_request *first = &requests[(i - done) * (size_t)kinds];
        bool is_gone = false, is_denied = false;
        for (int k = 0; k < kinds && err == OK; k++) {
            bool is_missing = first[k].err == ERR_ZK_NO_NODE || first[k].err == ERR_ZK_NO_AUTH;
            is_gone = is_gone || is_missing;
            is_denied = is_denied || first[k].err == ERR_ZK_NO_AUTH;
            if (!is_missing || i == 0) err = first[k].err;
        }
        subtree->denied += err == OK && is_denied;
        if (is_gone && err == OK) {
            free(subtree->nodes[i].path);
            subtree->nodes[i].path = NULL;
        } else if (err == OK) {
            err = take_answers(subtree, i, first, kinds);
        }
    }
    for (size_t i = 0; i < count; i++) zk_request_free(&requests[i]);
    free(requests);
    return err;
}

enum error zk_walk(struct zk *zk, const char *root, int with, struct zk_subtree *subtree)
{
    *subtree = (struct zk_subtree){0};
    enum error err = add_path(subtree, NULL, root);
    size_t done = 0;
    while (err == OK && done < subtree->count) {
        size_t end = subtree->count - done > BATCH ? done + BATCH : subtree->count;
        err = read_batch(zk, subtree, done, end, with);
        done = end;
    }
    size_t kept = 0;
    for (size_t i = 0; i < subtree->count; i++) {
        struct zk_node node = subtree->nodes[i];
        if (node.path) subtree->nodes[kept++] = node;
        if (!node.path) {
            text_free(&node.data);
            text_free(&node.acl);
        }
    }
    subtree->count = kept;
    if (kept > 1) qsort(subtree->nodes, kept, sizeof *subtree->nodes, compare_nodes);
    return err;
}
