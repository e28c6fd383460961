/* zk.c: odradek zk: the verbs, and one call of one of them. */
#include "cli/zk.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* clang-format off */
static const struct zk_verb verbs[] = {
    {"ls", "[-s] [-w] [-R] [PATH]", "s w R", 0, 1, zk_verb_ls, "children; -R: all below, -s: and Stat, -w: wait for a change"},
    {"get", "[-s] [-w] PATH", "s w", 1, 1, zk_verb_get, "data; -s: and Stat, -w: wait for a change"},
    {"stat", "[-w] PATH", "w", 1, 1, zk_verb_stat, "Stat; -w: wait for a change, or until it is there"},
    {"set", "[-s] [-v VERSION] PATH DATA", "s v:", 2, 2, zk_verb_set, "change data; -v: only if it has this version"},
    {"create", "[-e] [-s] [-c] [-t MS] PATH [DATA] [ACL]", "e s c t:", 1, 3, zk_verb_create,
     "make a znode; -e ephemeral, -s sequential, -c container, -t time to live"},
    {"delete", "[-v VERSION] PATH", "v:", 1, 1, zk_verb_delete, "delete a znode without children"},
    {"deleteall", "PATH", "", 1, 1, zk_verb_deleteall, "delete a znode and all below"},
    {"getAcl", "[-s] PATH", "s", 1, 1, zk_verb_get_acl, "who may do what"},
    {"setAcl", "[-s] [-v VERSION] [-R] PATH ACL", "s v: R", 2, 2, zk_verb_set_acl, "world:anyone:r,digest:USER:HASH:cdrwa; -R: all below too"},
    {"sync", "[PATH]", "", 0, 1, zk_verb_sync, "wait until this member has what the leader has"},
    {"tree", "[-d DEPTH] [PATH]", "d:", 0, 1, zk_verb_tree, "all below, with how many and how large; * is ephemeral"},
    {"count", "[PATH]", "", 0, 1, zk_verb_count, "how many znodes, how many bytes"},
    {"watch", "[-m MODE] PATH", "m:", 1, 1, zk_verb_watch, "show what happens there and below, until interrupted"},
    {"addWatch", "[-m MODE] PATH", "m:", 1, 1, zk_verb_add_watch, "a persistent watch for this session (in the shell)"},
    {"removewatches", "[-c] [-d] [-a] PATH", "c d a", 1, 1, zk_verb_remove_watches, "this session's watches there: of children, of data, all"},
    {"export", "PATH", "", 1, 1, zk_verb_export, "a subtree as JSON: data, ACLs"},
    {"import", "[--replace] PATH [FILE]", "replace", 1, 2, zk_verb_import, "what export wrote, below PATH; --replace: over what is there"},
    {"diff", "SERVER[/PATH] SERVER[/PATH]", "", 2, 2, zk_verb_diff, "two subtrees, of one ensemble or of two; exit code 1 if they differ"},
    {"getEphemerals", "[PREFIX]", "", 0, 1, zk_verb_ephemerals, "of this session"},
    {"whoami", "", "", 0, 0, zk_verb_whoami, "what this session has proved"},
    {"addauth", "SCHEME AUTH", "", 1, 2, zk_verb_addauth, "digest USER:PASSWORD"},
    {"listquota", "PATH", "", 1, 1, zk_verb_listquota, "a subtree's limits, and what it holds"},
    {"setquota", "[-n N] [-b BYTES] [-N N] [-B BYTES] PATH", "n: b: N: B:", 1, 1, zk_verb_setquota, "limit a subtree; -N and -B refuse what is beyond"},
    {"delquota", "[-n] [-b] [-N] [-B] PATH", "n b N B", 1, 1, zk_verb_delquota, "take limits off"},
    {"config", "[-s] [-w]", "s w", 0, 0, zk_verb_config, "the members of the ensemble"},
    {"reconfig", "[-v HEX] [-add S] [-remove IDS] [-members S]", "v: add: remove: members:", 0, 0, zk_verb_reconfig, "change the members"},
    {"version", "", "", 0, 0, zk_verb_version, "of this program"},
};
/* clang-format on */

const struct zk_verb *zk_verb_at(size_t index)
{
    return index < sizeof verbs / sizeof *verbs ? &verbs[index] : NULL;
}

const struct zk_verb *zk_verb_find(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcasecmp(verbs[i].name, name) == 0) return &verbs[i];
    }
    if (strcmp(name, "rmr") == 0) return zk_verb_find("deleteall");
    if (strcmp(name, "ls2") == 0) return zk_verb_find("ls");
    return NULL;
}

bool zk_is_text(const struct zk_call *call)
{
    return call->output == OUTPUT_TABLE;
}

void zk_emit(struct zk_call *call, json_t *item)
{
    json_array_append_new(call->items, item);
}

int zk_fail(struct zk_call *call, const char *path, enum error err)
{
    cli_complain("%s: %s (%s)", path, error_text(err), error_name(err));
    switch (err) {
    case ERR_ZK_NO_AUTH:
    case ERR_ZK_AUTH_FAILED:
    case ERR_ZK_SESSION_CLOSED_REQUIRE_SASL: return EXIT_DENIED;
    case ERR_ZK_CONNECTION_LOSS:
    case ERR_TIMED_OUT:
    case ERR_REFUSED:
    case ERR_UNREACHABLE:
    case ERR_NAME:
    case ERR_NET:
    case ERR_EOF: return EXIT_UNREACHABLE;
    default: return EXIT_ITEM_FAILED;
    }
}

bool zk_path_is_good(const char *path)
{
    size_t size = strlen(path);
    bool is_good = path[0] == '/' && (size == 1 || path[size - 1] != '/') && !strstr(path, "//");
    if (!is_good) cli_complain("%s: a path begins with / and does not end with one", path);
    return is_good;
}

static int complain_usage(const struct zk_call *call)
{
    if (call->words.wrong) cli_complain("%s has no such option: %s", call->verb->name, call->words.wrong);
    fprintf(stderr, "usage: %s %s\n", call->verb->name, call->verb->args);
    return EXIT_USAGE;
}

/* Those of each verb: -o FORMAT, as everywhere. */
static bool take_output(struct zk_call *call)
{
    static const char *const names[] = {"table", "json", "jsonl", "tsv", "name"};
    const char *text = zk_option(&call->words, "o");
    if (!text) text = zk_option(&call->words, "output");
    for (int i = 0; text && i < 5; i++) {
        if (strcmp(text, names[i]) != 0) continue;
        call->output = (enum cli_output)i;
        return true;
    }
    if (text) cli_complain("-o %s: not a format; table, json, jsonl, tsv or name", text);
    return !text;
}

static int finish(struct zk_call *call, int status)
{
    if (zk_is_text(call) || (status != EXIT_OK && json_array_size(call->items) == 0)) return status;
    struct cli cli = *call->cli;
    cli.output = call->output;
    struct cli_result result;
    cli_result_begin(&result, &cli, call->verb->name);
    json_array_extend(result.items, call->items);
    static const struct cli_column columns[] = {
        {"PATH", "path"}, {"DATA", "data"}, {"WHAT", "what"}, {"STAT", "stat"}, {0}};
    int shown = cli_result_end(&result, columns, NULL);
    return status != EXIT_OK ? status : shown;
}

int zk_run(struct zk *zk, const struct cli *cli, bool is_shell, int argc, char **argv)
{
    struct zk_call call = {.zk = zk, .cli = cli, .output = cli->output, .is_shell = is_shell};
    call.verb = zk_verb_find(argv[0]);
    if (!call.verb) {
        cli_complain("no verb \"%s\"; see %s", argv[0], is_shell ? "help" : "odradek zk --help");
        return EXIT_USAGE;
    }
    char table[128];
    snprintf(table, sizeof table, "%s o: output:", call.verb->options);
    enum error err = zk_words_parse(table, argv + 1, argc - 1, &call.words);
    int count = call.words.argc;
    if (err != OK || count < call.verb->min_args || (call.verb->max_args >= 0 && count > call.verb->max_args))
        return complain_usage(&call);
    if (!take_output(&call)) return EXIT_USAGE;
    bool has_path = strstr(call.verb->args, "PATH") && !strstr(call.verb->args, "SERVER");
    bool may_end_with_slash = strcmp(call.verb->name, "create") == 0; /* a sequence may have no other name */
    if (has_path && count > 0 && !may_end_with_slash && !zk_path_is_good(call.words.argv[0]))
        return EXIT_USAGE;
    call.items = json_array();
    int status = call.verb->run(&call);
    status = finish(&call, status != EXIT_OK ? status : call.status);
    json_decref(call.items);
    fflush(stdout);
    return status;
}

/* --- the command --- */

struct watching {
    struct zk *zk;
    enum cli_output output;
    bool ends; /* with the first event: -w */
    struct zk_security security;
};

static void on_event(void *context, int32_t type, struct slice path)
{
    struct watching *watching = context;
    zk_print_event(watching->output, type, path);
    if (watching->ends && watching->zk) zk_stop(watching->zk);
}

static void on_expired(void *context)
{
    cli_complain("the session had expired: its ephemerals are gone; watches are set again, what happened "
                 "meanwhile is not shown");
}

static void print_verbs(void)
{
    for (size_t i = 0; zk_verb_at(i); i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", verbs[i].name, verbs[i].args);
        printf("  %-48s %s\n", left, verbs[i].summary);
    }
}

static int open_all(struct cli *cli, struct watching *watching, struct zk **zk)
{
    const char *server = cli_text(cli, "server");
    if (!server) server = getenv("ODRADEK_ZK_SERVER");
    if (!server) server = "localhost:2181";
    int64_t session_ms = 30000;
    const char *text = cli_text(cli, "session-timeout");
    if (text && (!cli_parse_duration_ms(text, &session_ms) || session_ms <= 0 || session_ms > INT32_MAX)) {
        cli_complain("--session-timeout %s: not a duration; 30s, 2m", text);
        return EXIT_USAGE;
    }
    if (!zk_security_of(cli, &watching->security)) return EXIT_USAGE;
    const struct zk_options options = {.server = server,
                                       .security = watching->security,
                                       .session_timeout_ms = (int32_t)session_ms,
                                       .timeout_ms = cli->timeout_ms ? cli->timeout_ms : 30000,
                                       .on_event = on_event,
                                       .on_expired = on_expired,
                                       .context = watching};
    enum error err = zk_open(&options, zk);
    if (err == ERR_CONFIG) return EXIT_USAGE;
    if (err != OK) {
        cli_complain("no session with %s: %s", server, error_text(err));
        bool is_denied = err == ERR_ZK_AUTH_FAILED || err == ERR_ZK_SESSION_CLOSED_REQUIRE_SASL;
        return is_denied ? EXIT_DENIED : EXIT_UNREACHABLE;
    }
    watching->zk = *zk;
    const char *auth;
    for (size_t i = 0; (auth = cli_text_at(cli, "auth", i)); i++) {
        const char *colon = strchr(auth, ':');
        char scheme[64];
        slice_text((struct slice){(const uint8_t *)auth, colon ? (size_t)(colon - auth) : 0}, scheme,
                   sizeof scheme);
        err = colon ? zk_auth(*zk, scheme, colon + 1) : ERR_CONFIG;
        if (err != OK) {
            cli_complain("--auth %.*s:...: %s", (int)strcspn(auth, ":"), auth, error_text(err));
            return err == ERR_CONFIG ? EXIT_USAGE : EXIT_DENIED;
        }
    }
    return EXIT_OK;
}

int cli_zk(struct cli *cli)
{
    if (cli->argc == 1 && strcmp(cli->argv[0], "help") == 0) {
        print_verbs();
        return EXIT_OK;
    }
    if (cli->argc > 0 && !zk_verb_find(cli->argv[0])) {
        cli_complain("no verb \"%s\"; odradek zk help lists them", cli->argv[0]);
        return EXIT_USAGE;
    }
    struct zk *zk = NULL;
    struct watching watching = {.output = cli->output,
                                .ends = cli->argc > 0 && strcasecmp(cli->argv[0], "watch") != 0};
    bool is_diff = cli->argc > 0 && strcmp(cli->argv[0], "diff") == 0; /* opens its own two */
    signal(SIGPIPE, SIG_IGN);
    int status = is_diff ? EXIT_OK : open_all(cli, &watching, &zk);
    for (int i = 1; i + 1 < cli->argc; i++) { /* "-o json" behind the verb is for its events, too */
        if (strcmp(cli->argv[i], "-o") == 0 && strncmp(cli->argv[i + 1], "json", 4) == 0)
            watching.output = OUTPUT_JSONL;
    }
    if (status == EXIT_OK)
        status = cli->argc > 0 ? zk_run(zk, cli, false, cli->argc, cli->argv) : zk_shell(zk, cli);
    zk_close(&zk);
    zk_security_free(&watching.security);
    return status;
}
