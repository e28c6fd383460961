/* zk_diff.c: two subtrees side by side, of one ensemble or of two: what is in one only, and what differs. */
#include <stdio.h>
#include <string.h>

#include "cli/zk.h"

static bool same_text(const struct text *a, const struct text *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static bool is_own(const char *path)
{
    return strcmp(path, "/zookeeper") == 0 || strncmp(path, "/zookeeper/", 11) == 0;
}

static void tell(struct zk_call *call, char sign, const char *path, const char *what)
{
    if (zk_is_text(call)) {
        printf("%c %s%s%s\n", sign, path, what[0] ? "  " : "", what);
        return;
    }
    const char *kind = sign == '-' ? "only_left" : sign == '+' ? "only_right" : "differs";
    zk_emit(call, json_pack("{s:s, s:s, s:s}", "path", path, "kind", kind, "what", what));
}

int64_t zk_diff_subtrees(struct zk_call *call, const struct zk_subtree *left, const struct zk_subtree *right)
{
    int64_t differences = 0;
    for (size_t l = 0, r = 0; l < left->count || r < right->count;) {
        const struct zk_node *a = l < left->count ? &left->nodes[l] : NULL;
        const struct zk_node *b = r < right->count ? &right->nodes[r] : NULL;
        int order = !a ? 1 : !b ? -1 : zk_compare_paths(a->path, b->path);
        const char *path = order <= 0 ? a->path : b->path;
        l += order <= 0;
        r += order >= 0;
        if (is_own(path)) continue;
        char what[64] = "";
        if (order == 0) {
            bool data = a->is_null == b->is_null && same_text(&a->data, &b->data),
                 acl = same_text(&a->acl, &b->acl);
            bool kind = (a->stat.ephemeral_owner != 0) == (b->stat.ephemeral_owner != 0);
            snprintf(what, sizeof what, "%s%s%s", data ? "" : " data", acl ? "" : " acl",
                     kind ? "" : " ephemeral");
            if (!what[0]) continue;
        }
        differences++;
        tell(call, order < 0 ? '-' : order > 0 ? '+' : '!', path, what[0] ? what + 1 : "");
    }
    return differences;
}

static enum error read_side(struct zk_call *call, const char *server, struct zk_subtree *subtree)
{
    struct zk_security security;
    if (!zk_security_of(call->cli, &security)) return ERR_CONFIG;
    const struct zk_options options = {.server = server,
                                       .security = security,
                                       .session_timeout_ms = 30000,
                                       .timeout_ms = call->cli->timeout_ms ? call->cli->timeout_ms : 30000};
    struct zk *zk = NULL;
    enum error err = zk_open(&options, &zk);
    const char *auth;
    for (size_t i = 0; err == OK && (auth = cli_text_at(call->cli, "auth", i)); i++) {
        char scheme[64];
        const char *colon = strchr(auth, ':');
        slice_text((struct slice){(const uint8_t *)auth, colon ? (size_t)(colon - auth) : 0}, scheme,
                   sizeof scheme);
        err = zk_auth(zk, scheme, colon ? colon + 1 : "");
    }
    if (err == OK) err = zk_walk(zk, "/", ZK_WITH_DATA | ZK_WITH_ACL, subtree);
    zk_close(&zk);
    zk_security_free(&security);
    return err;
}

int zk_verb_diff(struct zk_call *call)
{
    struct zk_subtree sides[2] = {0};
    int status = EXIT_OK;
    for (int i = 0; i < 2 && status == EXIT_OK; i++) {
        enum error err = read_side(call, call->words.argv[i], &sides[i]);
        if (err != OK) status = zk_fail(call, call->words.argv[i], err);
    }
    if (status == EXIT_OK && zk_diff_subtrees(call, &sides[0], &sides[1]) > 0) status = EXIT_ITEM_FAILED;
    for (int i = 0; i < 2; i++) {
        int walked = zk_walked(&sides[i]);
        if (walked != EXIT_OK) status = walked;
        zk_subtree_free(&sides[i]);
    }
    return status;
}
