/* zk.h: odradek zk: verbs over a session with an ensemble, one at a time or in a shell. zkCli's words and options.
 *
 *     zk.c          the verbs' table; one call of one verb      zk_walk.c   a subtree, read in batches
 *     zk_node.c     verbs on one znode                           zk_tree.c   verbs on subtrees: tree, count, deleteall, export, import
 *     zk_more.c     watches, quotas, sessions, reconfig          zk_diff.c   two subtrees side by side
 *     zk_request.c  requests and answers                         zk_words.c  lines to words, words to options
 *     zk_client.c   the session                                  zk_shell.c  prompt, completion, history */
#pragma once
#include <jansson.h>

#include "cli/cli.h"
#include "cli/zk_client.h"
#include "cli/zk_words.h"
#include "keeper/stat.h"

struct zk_call;

struct zk_verb {
    const char *name, *args;
    const char *options;    /* as zk_words.h has them */
    int min_args, max_args; /* -1 = any number */
    int (*run)(struct zk_call *call);
    const char *summary;
};
const struct zk_verb *zk_verb_at(size_t index);
const struct zk_verb *zk_verb_find(const char *name);

/* What outlives a call in the shell. */
struct zk_shell;

struct zk_call {
    struct zk *zk;
    const struct cli *cli;
    const struct zk_verb *verb;
    struct zk_words words;
    enum cli_output output;
    bool is_shell;
    json_t *items;
    int status;
};

/* Runs one verb; `argv[0]` is its name. */
int zk_run(struct zk *zk, const struct cli *cli, bool is_shell, int argc, char **argv);
/* Text goes out as it comes; JSON and the like when the verb is done. */
bool zk_is_text(const struct zk_call *call);
/* Takes over the reference. */
void zk_emit(struct zk_call *call, json_t *item);
/* "odradek: /a: no such znode (ZK_NO_NODE)"; the exit code. */
int zk_fail(struct zk_call *call, const char *path, enum error err);
/* False after saying so. */
bool zk_path_is_good(const char *path);
/* "CREATED", "DELETED", ...: what happened. */
const char *zk_event_name(int32_t type);
void zk_print_event(enum cli_output output, int32_t type, struct slice path);

/* --- zk_request.c --- */
enum zk_read { ZK_GET = 4, ZK_EXISTS = 3, ZK_CHILDREN = 12, ZK_ACL = 6 };
void zk_read_body(struct zk *zk, struct zk_request *request, enum zk_read op, const char *path, bool watches);
MUST_USE enum error zk_get(struct zk *zk, const char *path, bool watches, struct text *data, bool *is_null,
                           struct znode_stat *stat);
MUST_USE enum error zk_exists(struct zk *zk, const char *path, bool watches, struct znode_stat *stat);
/* NUL-terminated names, sorted; freed with zk_names_free. */
struct zk_names {
    char **names;
    size_t count;
};
MUST_USE enum error zk_children(struct zk *zk, const char *path, bool watches, struct zk_names *names,
                                struct znode_stat *stat);
MUST_USE enum error zk_children_read(struct slice answer, struct zk_names *names, struct znode_stat *stat);
void zk_names_free(struct zk_names *names);
/* ACLs as people write them: "world:anyone:cdrwa,digest:u:hash:r". Appends a jute vector; false when it cannot be read. */
bool zk_acl_parse(const char *text, struct text *out);
/* A jute vector to that form; what is behind it stays in *rest (may be NULL). */
MUST_USE enum error zk_acl_text(struct slice vector, struct text *out, struct slice *rest);
MUST_USE enum error zk_acl(struct zk *zk, const char *path, struct text *acl, struct znode_stat *stat);
/* flags as the protocol has them (1 ephemeral, 2 sequential, 4 container, 5 TTL); acl NULL: open. */
MUST_USE enum error zk_create(struct zk *zk, const char *path, struct slice data, const char *acl,
                              int32_t flags, int64_t ttl_ms, struct text *created);
MUST_USE enum error zk_set(struct zk *zk, const char *path, struct slice data, int32_t version,
                           struct znode_stat *stat);
MUST_USE enum error zk_set_acl(struct zk *zk, const char *path, const char *acl, int32_t version,
                               struct znode_stat *stat);
MUST_USE enum error zk_delete(struct zk *zk, const char *path, int32_t version);
MUST_USE enum error zk_stat_read(struct slice bytes, struct znode_stat *stat);
json_t *zk_stat_json(const struct znode_stat *stat);
void zk_stat_print(const struct znode_stat *stat);
/* On a terminal JSON is shown with indents. */
void zk_data_print(const struct zk_call *call, const struct text *data, bool is_null);

/* --- zk_walk.c --- */
struct zk_node {
    char *path;
    struct znode_stat stat;
    struct text data, acl; /* when asked for */
    bool is_null;
};
struct zk_subtree {
    struct zk_node *nodes; /* parents before their children, siblings by name */
    size_t count, capacity;
    size_t denied; /* not in it, nor what is below them: they may not be read; said on standard error */
};
enum { ZK_WITH_DATA = 1, ZK_WITH_ACL = 2 };
/* What is deleted meanwhile is passed over; a root that is not there is ERR_ZK_NO_NODE, one that may not be read ERR_ZK_NO_AUTH. */
MUST_USE enum error zk_walk(struct zk *zk, const char *root, int with, struct zk_subtree *subtree);
void zk_subtree_free(struct zk_subtree *subtree);
/* The exit code of a verb that has shown what could be read. */
int zk_walked(const struct zk_subtree *subtree);
/* '/' before every other byte: a znode, what is below it, then its next sibling. */
int zk_compare_paths(const char *a, const char *b);

/* --- zk_diff.c --- */
/* Shows the differences, but for what is below /zookeeper; how many. */
int64_t zk_diff_subtrees(struct zk_call *call, const struct zk_subtree *left, const struct zk_subtree *right);

/* --- the verbs --- */
int zk_verb_ls(struct zk_call *call);
int zk_verb_get(struct zk_call *call);
int zk_verb_stat(struct zk_call *call);
int zk_verb_set(struct zk_call *call);
int zk_verb_create(struct zk_call *call);
int zk_verb_delete(struct zk_call *call);
int zk_verb_deleteall(struct zk_call *call);
int zk_verb_get_acl(struct zk_call *call);
int zk_verb_set_acl(struct zk_call *call);
int zk_verb_sync(struct zk_call *call);
int zk_verb_tree(struct zk_call *call);
int zk_verb_count(struct zk_call *call);
int zk_verb_export(struct zk_call *call);
int zk_verb_import(struct zk_call *call);
int zk_verb_diff(struct zk_call *call);
int zk_verb_watch(struct zk_call *call);
int zk_verb_add_watch(struct zk_call *call);
int zk_verb_remove_watches(struct zk_call *call);
int zk_verb_addauth(struct zk_call *call);
int zk_verb_ephemerals(struct zk_call *call);
int zk_verb_whoami(struct zk_call *call);
int zk_verb_config(struct zk_call *call);
int zk_verb_reconfig(struct zk_call *call);
int zk_verb_listquota(struct zk_call *call);
int zk_verb_setquota(struct zk_call *call);
int zk_verb_delquota(struct zk_call *call);
int zk_verb_version(struct zk_call *call);

int zk_shell(struct zk *zk, const struct cli *cli);
