/* zk_tree.c: verbs on subtrees: tree, count, deleteall, export, import. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/rdk.h"
#include "cli/zk.h"

static size_t depth_of(const char *path)
{
    size_t depth = 0;
    for (const char *at = path; *at; at++) depth += *at == '/' && at[1];
    return depth;
}

static bool is_below(const char *path, const char *ancestor)
{
    size_t size = strcmp(ancestor, "/") == 0 ? 0 : strlen(ancestor);
    return strncmp(path, ancestor, size) == 0 && path[size] == '/' && path[size + 1];
}

struct sums {
    int64_t count, bytes; /* below, and with it */
};

static struct sums *sum_up(const struct zk_subtree *subtree)
{
    struct sums *sums = calloc(subtree->count + 1, sizeof *sums);
    size_t stack_size = 0, *stack = calloc(subtree->count + 1, sizeof *stack);
    for (size_t i = 0; sums && stack && i < subtree->count; i++) {
        while (stack_size > 0 &&
               !is_below(subtree->nodes[i].path, subtree->nodes[stack[stack_size - 1]].path))
            stack_size--;
        stack[stack_size++] = i;
        for (size_t s = 0; s < stack_size; s++) {
            sums[stack[s]].count += stack[s] != i;
            sums[stack[s]].bytes += subtree->nodes[i].stat.data_length;
        }
    }
    free(stack);
    return sums;
}

static void print_bytes(int64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double size = (double)bytes;
    int unit = 0;
    for (; size >= 1024 && unit < 4; unit++) size /= 1024;
    snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
}

enum { DEPTH_MAX = 256 }; /* of lines drawn; what is deeper hangs at the last one */

/* For each node: does no sibling follow? Seen from the end. */
static bool *find_last(const struct zk_subtree *subtree)
{
    bool *is_last = calloc(subtree->count + 1, sizeof *is_last), seen[DEPTH_MAX] = {false};
    size_t deepest = 0;
    for (size_t i = subtree->count; is_last && i-- > 0;) {
        size_t depth = depth_of(subtree->nodes[i].path);
        if (depth >= DEPTH_MAX) depth = DEPTH_MAX - 1;
        for (; deepest > depth; deepest--) seen[deepest] = false;
        is_last[i] = !seen[depth];
        seen[depth] = true;
        deepest = depth;
    }
    return is_last;
}

int zk_verb_tree(struct zk_call *call)
{
    const char *root = call->words.argc ? call->words.argv[0] : "/";
    const char *limit_text = zk_option(&call->words, "d");
    int64_t limit = INT32_MAX;
    if (limit_text && !slice_to_int64(slice_of(limit_text), 0, INT32_MAX, &limit)) {
        cli_complain("-d %s: not a depth", limit_text);
        return EXIT_USAGE;
    }
    struct zk_subtree subtree;
    enum error err = zk_walk(call->zk, root, 0, &subtree);
    struct sums *sums = err == OK ? sum_up(&subtree) : NULL;
    bool *is_last = err == OK ? find_last(&subtree) : NULL, line_ends[DEPTH_MAX] = {false};
    if (err == OK && (!sums || !is_last)) err = ERR_NOMEM;
    size_t base = depth_of(root);
    for (size_t i = 0; i < subtree.count && err == OK; i++) {
        const struct zk_node *node = &subtree.nodes[i];
        size_t depth = depth_of(node->path) - base;
        if (depth >= DEPTH_MAX) depth = DEPTH_MAX - 1;
        line_ends[depth] = is_last[i];
        if ((int64_t)depth > limit) continue;
        if (!zk_is_text(call)) {
            zk_emit(call, json_pack("{s:s, s:I, s:I, s:I, s:b}", "path", node->path, "descendants",
                                    (json_int_t)sums[i].count, "bytes", (json_int_t)node->stat.data_length,
                                    "total_bytes", (json_int_t)sums[i].bytes, "ephemeral",
                                    node->stat.ephemeral_owner != 0));
            continue;
        }
        for (size_t d = 1; d < depth; d++) fputs(line_ends[d] ? "    " : "│   ", stdout);
        if (depth > 0) fputs(is_last[i] ? "└── " : "├── ", stdout);
        char bytes[32];
        print_bytes(sums[i].bytes, bytes);
        const char *name = depth > 0 ? strrchr(node->path, '/') + 1 : node->path;
        if (sums[i].count > 0) {
            printf("%s  (%lld, %s)\n", name, (long long)sums[i].count, bytes);
        } else {
            printf("%s%s  (%s)\n", name, node->stat.ephemeral_owner ? "*" : "", bytes);
        }
    }
    free(sums);
    free(is_last);
    int status = err == OK ? zk_walked(&subtree) : zk_fail(call, root, err);
    zk_subtree_free(&subtree);
    return status;
}

int zk_verb_count(struct zk_call *call)
{
    const char *root = call->words.argc ? call->words.argv[0] : "/";
    struct zk_subtree subtree;
    enum error err = zk_walk(call->zk, root, 0, &subtree);
    int64_t bytes = 0, ephemerals = 0;
    for (size_t i = 0; i < subtree.count; i++) {
        bytes += subtree.nodes[i].stat.data_length;
        ephemerals += subtree.nodes[i].stat.ephemeral_owner != 0;
    }
    if (err == OK && zk_is_text(call))
        printf("%zu znodes, %lld of them ephemeral, %lld bytes\n", subtree.count, (long long)ephemerals,
               (long long)bytes);
    if (err == OK && !zk_is_text(call)) {
        zk_emit(call, json_pack("{s:s, s:I, s:I, s:I}", "path", root, "znodes", (json_int_t)subtree.count,
                                "ephemerals", (json_int_t)ephemerals, "bytes", (json_int_t)bytes));
    }
    zk_subtree_free(&subtree);
    return err == OK ? EXIT_OK : zk_fail(call, root, err);
}

int zk_verb_deleteall(struct zk_call *call)
{
    const char *root = call->words.argv[0];
    struct zk_subtree subtree;
    enum error err = zk_walk(call->zk, root, 0, &subtree);
    bool is_root = strcmp(root, "/") == 0;
    if (is_root) {
        cli_complain("deleteall: not the root");
        err = ERR_ZK_BAD_ARGUMENTS;
    }
    for (size_t i = subtree.count; i-- > 0 && err == OK;) {
        err = zk_delete(call->zk, subtree.nodes[i].path, -1);
        if (err == ERR_ZK_NO_NODE) err = OK; /* somebody else was faster */
    }
    int status = err == OK ? zk_walked(&subtree) : zk_fail(call, root, err);
    zk_subtree_free(&subtree);
    return status;
}

/* --- export and import --- */

int zk_verb_export(struct zk_call *call)
{
    const char *root = call->words.argv[0];
    size_t skip = strcmp(root, "/") == 0 ? 0 : strlen(root);
    struct zk_subtree subtree;
    enum error err = zk_walk(call->zk, root, ZK_WITH_DATA | ZK_WITH_ACL, &subtree);
    json_t *nodes = json_array();
    for (size_t i = 0; i < subtree.count && err == OK; i++) {
        const struct zk_node *node = &subtree.nodes[i];
        if (skip == 0 &&
            (strcmp(node->path, "/zookeeper") == 0 || strncmp(node->path, "/zookeeper/", 11) == 0))
            continue;
        json_t *data = node->is_null
                           ? json_null()
                           : rdk_bytes_json(node->data.data ? node->data.data : "", node->data.size);
        json_array_append_new(
            nodes, json_pack("{s:s, s:o, s:o, s:b, s:i}", "path", node->path[skip] ? node->path + skip : "/",
                             "data", data, "acl", cli_json_text(text_slice(&node->acl)), "ephemeral",
                             node->stat.ephemeral_owner != 0, "version", node->stat.version));
    }
    int status = err == OK ? zk_walked(&subtree) : zk_fail(call, root, err);
    zk_subtree_free(&subtree);
    if (err == OK) {
        json_t *whole = json_pack("{s:s, s:i, s:s, s:O}", "kind", "zk_export", "version", 1, "root", root,
                                  "nodes", nodes);
        json_dumpf(whole, stdout, JSON_INDENT(1));
        putchar('\n');
        json_decref(whole);
    }
    json_decref(nodes);
    return status;
}

struct importing {
    struct zk_call *call;
    const char *root;
    bool replaces;
    int64_t created, replaced, skipped;
};

static enum error import_node(struct importing *importing, json_t *node, struct text *path)
{
    struct zk *zk = importing->call->zk;
    const char *relative = json_string_value(json_object_get(node, "path"));
    const char *acl = json_string_value(json_object_get(node, "acl"));
    if (!relative || relative[0] != '/') return ERR_CONFIG;
    bool is_top = strcmp(relative, "/") == 0, in_root = strcmp(importing->root, "/") == 0;
    text_reset(path);
    text_addf(path, "%s%s", in_root ? "" : importing->root, is_top ? "" : relative);
    if (path->size == 0) text_addc(path, '/');
    if (path->failed) return ERR_NOMEM;
    if (json_is_true(json_object_get(node, "ephemeral"))) {
        importing->skipped++; /* it would end with this session */
        return OK;
    }
    struct text memory = {0};
    const void *bytes;
    size_t size;
    if (!rdk_json_bytes(json_object_get(node, "data"), &memory, &bytes, &size)) {
        text_free(&memory);
        return ERR_CONFIG;
    }
    struct slice data = {bytes, size};
    enum error err = path->size == 1 ? ERR_ZK_NODE_EXISTS : zk_create(zk, path->data, data, acl, 0, -1, NULL);
    bool exists = err == ERR_ZK_NODE_EXISTS;
    if (err == OK) importing->created++;
    if (exists && (importing->replaces || is_top)) {
        err = is_top && !importing->replaces ? OK : zk_set(zk, path->data, data, -1, NULL);
        if (err == OK && importing->replaces && acl) err = zk_set_acl(zk, path->data, acl, -1, NULL);
        if (err == OK && importing->replaces) importing->replaced++;
    }
    text_free(&memory);
    return err;
}

int zk_verb_import(struct zk_call *call)
{
    const char *file = call->words.argc > 1 ? call->words.argv[1] : NULL;
    struct importing importing = {call, call->words.argv[0], zk_option(&call->words, "replace"), 0, 0, 0};
    json_error_t where;
    json_t *whole =
        file ? json_load_file(file, JSON_ALLOW_NUL, &where) : json_loadf(stdin, JSON_ALLOW_NUL, &where);
    const json_t *nodes = json_object_get(whole, "nodes");
    if (!json_is_array(nodes)) {
        cli_complain("%s: %s", file ? file : "standard input",
                     whole ? "no export: there are no \"nodes\"" : where.text);
        json_decref(whole);
        return EXIT_USAGE;
    }
    struct text path = {0};
    enum error err = OK;
    for (size_t i = 0; i < json_array_size(nodes) && err == OK; i++)
        err = import_node(&importing, json_array_get(nodes, i), &path);
    if (err == OK && zk_is_text(call)) {
        printf("created %lld, replaced %lld, left out %lld ephemerals\n", (long long)importing.created,
               (long long)importing.replaced, (long long)importing.skipped);
    } else if (err == OK) {
        zk_emit(call, json_pack("{s:I, s:I, s:I}", "created", (json_int_t)importing.created, "replaced",
                                (json_int_t)importing.replaced, "ephemerals_left_out",
                                (json_int_t)importing.skipped));
    }
    int status = err == OK ? EXIT_OK : zk_fail(call, path.data ? path.data : importing.root, err);
    text_free(&path);
    json_decref(whole);
    return status;
}
