/* zk_node.c: verbs on one znode, as zkCli has them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/rdk.h"
#include "cli/zk.h"
#include "keeper/jute.h"
#include "keeper/machine.h"

static bool number_option(struct zk_call *call, const char *name, int64_t min, int64_t max, int64_t *value)
{
    const char *text = zk_option(&call->words, name);
    if (!text || slice_to_int64(slice_of(text), min, max, value)) return true;
    cli_complain("-%s %s: not a number from %lld to %lld", name, text, (long long)min, (long long)max);
    call->status = EXIT_USAGE;
    return false;
}

/* -w, once: outside the shell the event is waited for. */
static void wait_for_watch(struct zk_call *call)
{
    if (zk_option(&call->words, "w") && !call->is_shell) {
        fflush(stdout);
        zk_idle(call->zk, -1, -1);
    }
}

static void print_names(const struct zk_call *call, const struct zk_names *names)
{
    bool in_row = call->is_shell || call->cli->is_terminal;
    if (in_row) putchar('[');
    for (size_t i = 0; i < names->count; i++)
        printf(in_row ? "%s%s" : "%.0s%s\n", i ? ", " : "", names->names[i]);
    if (in_row) puts("]");
}

int zk_verb_ls(struct zk_call *call)
{
    const char *path = call->words.argc ? call->words.argv[0] : "/";
    bool watches = zk_option(&call->words, "w");
    if (zk_option(&call->words, "R")) {
        struct zk_subtree subtree;
        enum error err = zk_walk(call->zk, path, 0, &subtree);
        for (size_t i = 0; i < subtree.count && err == OK; i++) {
            if (zk_is_text(call)) {
                puts(subtree.nodes[i].path);
            } else {
                zk_emit(call, json_pack("{s:s, s:o}", "path", subtree.nodes[i].path, "stat",
                                        zk_stat_json(&subtree.nodes[i].stat)));
            }
        }
        int status = err == OK ? zk_walked(&subtree) : zk_fail(call, path, err);
        zk_subtree_free(&subtree);
        return status;
    }
    struct zk_names names;
    struct znode_stat stat;
    enum error err = zk_children(call->zk, path, watches, &names, &stat);
    if (err != OK) return zk_fail(call, path, err);
    if (zk_is_text(call)) {
        print_names(call, &names);
        if (zk_option(&call->words, "s")) zk_stat_print(&stat);
    } else {
        for (size_t i = 0; i < names.count; i++) {
            bool is_root = strcmp(path, "/") == 0;
            zk_emit(call, json_pack("{s:o, s:o}", "name", cli_json_text(slice_of(names.names[i])), "path",
                                    json_sprintf("%s/%s", is_root ? "" : path, names.names[i])));
        }
    }
    zk_names_free(&names);
    wait_for_watch(call);
    return EXIT_OK;
}

int zk_verb_get(struct zk_call *call)
{
    const char *path = call->words.argv[0];
    struct text data = {0};
    bool is_null = false;
    struct znode_stat stat;
    enum error err = zk_get(call->zk, path, zk_option(&call->words, "w"), &data, &is_null, &stat);
    if (err != OK) {
        text_free(&data);
        return zk_fail(call, path, err);
    }
    if (zk_is_text(call)) {
        zk_data_print(call, &data, is_null);
        if (zk_option(&call->words, "s")) zk_stat_print(&stat);
    } else {
        json_t *content = is_null ? json_null() : rdk_bytes_json(data.data ? data.data : "", data.size);
        zk_emit(call,
                json_pack("{s:s, s:o, s:o}", "path", path, "data", content, "stat", zk_stat_json(&stat)));
    }
    text_free(&data);
    wait_for_watch(call);
    return EXIT_OK;
}

static void show_stat(struct zk_call *call, const char *path, const struct znode_stat *stat)
{
    if (zk_is_text(call)) {
        zk_stat_print(stat);
    } else {
        zk_emit(call, json_pack("{s:s, s:o}", "path", path, "stat", zk_stat_json(stat)));
    }
}

int zk_verb_stat(struct zk_call *call)
{
    const char *path = call->words.argv[0];
    struct znode_stat stat;
    enum error err = zk_exists(call->zk, path, zk_option(&call->words, "w"), &stat);
    if (err == OK) show_stat(call, path, &stat);
    if (err == OK || (err == ERR_ZK_NO_NODE && zk_option(&call->words, "w"))) wait_for_watch(call);
    return err == OK ? EXIT_OK : zk_fail(call, path, err);
}

int zk_verb_set(struct zk_call *call)
{
    const char *path = call->words.argv[0];
    int64_t version = -1;
    struct znode_stat stat;
    if (!number_option(call, "v", -1, INT32_MAX, &version)) return EXIT_USAGE;
    enum error err = zk_set(call->zk, path, slice_of(call->words.argv[1]), (int32_t)version, &stat);
    if (err != OK) return zk_fail(call, path, err);
    if (zk_option(&call->words, "s") || !zk_is_text(call)) show_stat(call, path, &stat);
    return EXIT_OK;
}

int zk_verb_create(struct zk_call *call)
{
    enum { EPHEMERAL = 1, SEQUENTIAL = 2, CONTAINER = 4, TTL = 5 };
    const char *path = call->words.argv[0];
    const char *data = call->words.argc > 1 ? call->words.argv[1] : NULL;
    const char *acl = call->words.argc > 2 ? call->words.argv[2] : NULL;
    int64_t ttl_ms = -1;
    if (!number_option(call, "t", 1, TTL_MAX_MS, &ttl_ms)) return EXIT_USAGE;
    bool is_ephemeral = zk_option(&call->words, "e"), is_sequential = zk_option(&call->words, "s");
    bool is_container = zk_option(&call->words, "c");
    if ((is_container && (is_ephemeral || is_sequential || ttl_ms > 0)) || (ttl_ms > 0 && is_ephemeral)) {
        cli_complain("create: -c stands alone, and -t does not go with -e");
        return EXIT_USAGE;
    }
    int32_t flags = (is_ephemeral ? EPHEMERAL : 0) | (is_sequential ? SEQUENTIAL : 0);
    if (is_container) flags = CONTAINER;
    if (ttl_ms > 0) flags = TTL + is_sequential;
    struct text created = {0};
    enum error err =
        zk_create(call->zk, path, data ? slice_of(data) : SLICE_NULL, acl, flags, ttl_ms, &created);
    if (err == OK && zk_is_text(call)) printf("Created %.*s\n", SLICE_ARG(text_slice(&created)));
    if (err == OK && !zk_is_text(call))
        zk_emit(call, json_pack("{s:o}", "path", cli_json_text(text_slice(&created))));
    text_free(&created);
    return err == OK ? EXIT_OK : zk_fail(call, path, err);
}

int zk_verb_delete(struct zk_call *call)
{
    int64_t version = -1;
    if (!number_option(call, "v", -1, INT32_MAX, &version)) return EXIT_USAGE;
    enum error err = zk_delete(call->zk, call->words.argv[0], (int32_t)version);
    return err == OK ? EXIT_OK : zk_fail(call, call->words.argv[0], err);
}

int zk_verb_get_acl(struct zk_call *call)
{
    const char *path = call->words.argv[0];
    struct text acl = {0};
    struct znode_stat stat;
    enum error err = zk_acl(call->zk, path, &acl, &stat);
    if (err == OK && zk_is_text(call)) {
        /* zkCli: 'world,'anyone and, below, : cdrwa. Ours on a line is what setAcl takes. */
        for (const char *at = acl.data ? acl.data : ""; *at;) {
            size_t size = strcspn(at, ",");
            const char *first = memchr(at, ':', size), *last = memrchr(at, ':', size);
            printf("'%.*s,'%.*s\n: %.*s\n", (int)(first - at), at, (int)(last - first - 1), first + 1,
                   (int)(at + size - last - 1), last + 1);
            at += size + (at[size] == ',');
        }
        if (zk_option(&call->words, "s")) zk_stat_print(&stat);
    } else if (err == OK) {
        zk_emit(call, json_pack("{s:s, s:o, s:o}", "path", path, "acl", cli_json_text(text_slice(&acl)),
                                "stat", zk_stat_json(&stat)));
    }
    text_free(&acl);
    return err == OK ? EXIT_OK : zk_fail(call, path, err);
}

int zk_verb_set_acl(struct zk_call *call)
{
    const char *path = call->words.argv[0], *acl = call->words.argv[1];
    int64_t version = -1;
    if (!number_option(call, "v", -1, INT32_MAX, &version)) return EXIT_USAGE;
    struct zk_subtree subtree = {0};
    struct znode_stat stat;
    enum error err = OK;
    if (zk_option(&call->words, "R")) {
        err = zk_walk(call->zk, path, 0, &subtree);
        /* From below: who takes rights away loses them last. */
        for (size_t i = subtree.count; i-- > 0 && err == OK;) {
            err = zk_set_acl(call->zk, subtree.nodes[i].path, acl, (int32_t)version, &stat);
            if (err == ERR_ZK_NO_NODE && i > 0) err = OK;
        }
        zk_subtree_free(&subtree);
    } else {
        err = zk_set_acl(call->zk, path, acl, (int32_t)version, &stat);
    }
    if (err != OK) return zk_fail(call, path, err);
    if (zk_option(&call->words, "s") || !zk_is_text(call)) show_stat(call, path, &stat);
    return EXIT_OK;
}

int zk_verb_sync(struct zk_call *call)
{
    const char *path = call->words.argc ? call->words.argv[0] : "/";
    struct zk_request request = {.op = OP_SYNC};
    zk_add_path(call->zk, &request.body, path);
    enum error err = zk_ask(call->zk, &request);
    zk_request_free(&request);
    if (err == OK && zk_is_text(call)) puts("Sync is OK");
    return err == OK ? EXIT_OK : zk_fail(call, path, err);
}
