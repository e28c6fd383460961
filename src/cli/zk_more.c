/* zk_more.c: watches, quotas, sessions, the ensemble's members. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/zk.h"
#include "keeper/jute.h"
#include "keeper/machine.h"

/* --- watches --- */

const char *zk_event_name(int32_t type)
{
    static const char *const names[] = {"none", "created", "deleted", "changed", "children"};
    return type >= 0 && type <= 4 ? names[type] : "unknown";
}

void zk_print_event(enum cli_output output, int32_t type, struct slice path)
{
    if (output == OUTPUT_TABLE || output == OUTPUT_TSV) {
        printf("%s\t%.*s\n", zk_event_name(type), SLICE_ARG(path));
    } else {
        json_t *item = json_pack("{s:s, s:o}", "event", zk_event_name(type), "path", cli_json_text(path));
        json_dumpf(item, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(item);
    }
    fflush(stdout);
}

static int32_t watch_mode(const struct zk_call *call)
{
    const char *mode = zk_option(&call->words, "m");
    if (!mode || strcmp(mode, "PERSISTENT_RECURSIVE") == 0) return 1;
    return strcmp(mode, "PERSISTENT") == 0 ? 0 : -1;
}

int zk_verb_add_watch(struct zk_call *call)
{
    int32_t mode = watch_mode(call);
    if (mode < 0) {
        cli_complain("-m: PERSISTENT or PERSISTENT_RECURSIVE (which it is when not given)");
        return EXIT_USAGE;
    }
    enum error err = zk_watch(call->zk, call->words.argv[0], mode);
    return err == OK ? EXIT_OK : zk_fail(call, call->words.argv[0], err);
}

/* Shows events as they come, until a signal ends it; in the shell, until Enter. */
int zk_verb_watch(struct zk_call *call)
{
    int status = zk_verb_add_watch(call);
    if (status != EXIT_OK) return status;
    if (call->is_shell) {
        fprintf(stderr, "watching %s; Enter ends it\n", call->words.argv[0]);
        zk_idle(call->zk, 0, -1);
        char line[256];
        if (!fgets(line, sizeof line, stdin)) clearerr(stdin);
        enum error err = zk_unwatch(call->zk, call->words.argv[0], 3);
        return err == OK ? EXIT_OK : zk_fail(call, call->words.argv[0], err);
    }
    zk_idle(call->zk, -1, -1);
    return EXIT_OK;
}

int zk_verb_remove_watches(struct zk_call *call)
{
    int32_t kind = zk_option(&call->words, "c") ? 1 : zk_option(&call->words, "d") ? 2 : 3;
    enum error err = zk_unwatch(call->zk, call->words.argv[0], kind);
    return err == OK ? EXIT_OK : zk_fail(call, call->words.argv[0], err);
}

/* --- who we are, what we have --- */

int zk_verb_addauth(struct zk_call *call)
{
    enum error err = zk_auth(call->zk, call->words.argv[0], call->words.argc > 1 ? call->words.argv[1] : "");
    return err == OK ? EXIT_OK : zk_fail(call, call->words.argv[0], err);
}

int zk_verb_whoami(struct zk_call *call)
{
    struct zk_request request = {.op = OP_WHO_AM_I};
    enum error err = zk_ask(call->zk, &request);
    struct jute in = jute_of(text_slice(&request.answer));
    int32_t count = err == OK ? jute_count(&in, 8) : 0;
    if (err == OK && zk_is_text(call)) puts("Auth scheme: User");
    for (int32_t i = 0; i < count && !in.is_bad; i++) {
        struct slice scheme = jute_bytes(&in), user = jute_bytes(&in);
        if (zk_is_text(call)) {
            printf("%.*s: %.*s\n", SLICE_ARG(scheme), SLICE_ARG(user));
        } else {
            zk_emit(call,
                    json_pack("{s:o, s:o}", "scheme", cli_json_text(scheme), "user", cli_json_text(user)));
        }
    }
    if (err == OK && in.is_bad) err = ERR_CORRUPT;
    zk_request_free(&request);
    return err == OK ? EXIT_OK : zk_fail(call, "whoami", err);
}

int zk_verb_ephemerals(struct zk_call *call)
{
    const char *prefix = call->words.argc ? call->words.argv[0] : "/";
    struct zk_request request = {.op = OP_GET_EPHEMERALS};
    zk_add_path(call->zk, &request.body, prefix);
    enum error err = zk_ask(call->zk, &request);
    struct jute in = jute_of(text_slice(&request.answer));
    int32_t count = err == OK ? jute_count(&in, 4) : 0;
    for (int32_t i = 0; i < count && !in.is_bad; i++) {
        struct slice path = zk_strip(call->zk, jute_bytes(&in));
        if (zk_is_text(call)) {
            printf("%.*s\n", SLICE_ARG(path));
        } else {
            zk_emit(call, json_pack("{s:o}", "path", cli_json_text(path)));
        }
    }
    zk_request_free(&request);
    return err == OK ? EXIT_OK : zk_fail(call, prefix, err);
}

int zk_verb_version(struct zk_call *call)
{
    printf("odradek %s\n", ODRADEK_VERSION);
    return EXIT_OK;
}

/* --- the members --- */

int zk_verb_config(struct zk_call *call)
{
    struct text data = {0};
    bool is_null = false;
    struct znode_stat stat;
    enum error err =
        zk_get(call->zk, "/zookeeper/config", zk_option(&call->words, "w"), &data, &is_null, &stat);
    if (err == OK && zk_is_text(call)) {
        zk_data_print(call, &data, is_null);
        if (zk_option(&call->words, "s")) zk_stat_print(&stat);
    } else if (err == OK) {
        zk_emit(call, json_pack("{s:o, s:o}", "config", cli_json_text(text_slice(&data)), "stat",
                                zk_stat_json(&stat)));
    }
    text_free(&data);
    return err == OK ? EXIT_OK : zk_fail(call, "/zookeeper/config", err);
}

static void add_option(struct zk_call *call, struct text *body, const char *name)
{
    const char *value = zk_option(&call->words, name);
    jute_add_bytes(body, value ? slice_of(value) : SLICE_NULL);
}

int zk_verb_reconfig(struct zk_call *call)
{
    const char *version = zk_option(&call->words, "v");
    char *end = NULL;
    int64_t config_id = version ? (int64_t)strtoull(version, &end, 16) : -1; /* as config shows it */
    bool has_members = zk_option(&call->words, "members");
    bool has_change = zk_option(&call->words, "add") || zk_option(&call->words, "remove");
    if ((version && (end == version || *end)) || has_members == has_change) {
        cli_complain("reconfig: -add SERVERS, -remove IDS, or both; or -members SERVERS; -v is a version in "
                     "hexadecimal");
        return EXIT_USAGE;
    }
    struct zk_request request = {.op = OP_RECONFIG};
    add_option(call, &request.body, "add");
    add_option(call, &request.body, "remove");
    add_option(call, &request.body, "members");
    text_add_be64(&request.body, (uint64_t)config_id);
    enum error err = zk_ask(call->zk, &request);
    struct jute in = jute_of(text_slice(&request.answer));
    struct slice config = err == OK ? jute_bytes(&in) : SLICE_NULL;
    if (err == OK && zk_is_text(call)) printf("Committed new configuration:\n%.*s\n", SLICE_ARG(config));
    if (err == OK && !zk_is_text(call)) zk_emit(call, json_pack("{s:o}", "config", cli_json_text(config)));
    zk_request_free(&request);
    return err == OK ? EXIT_OK : zk_fail(call, "reconfig", err);
}

/* --- quotas --- */

static const struct {
    const char *option, *name;
} limits[] = {{"n", "count"}, {"b", "bytes"}, {"N", "countHardLimit"}, {"B", "byteHardLimit"}};
enum { LIMIT_COUNT = 4, QUOTA_PATH = 8192 };

struct quota {
    long long limits[LIMIT_COUNT]; /* -1 = none */
};

static void quota_path(char out[QUOTA_PATH], const char *path, const char *leaf)
{
    snprintf(out, QUOTA_PATH, "/zookeeper/quota%s%s%s", path, leaf[0] ? "/" : "", leaf);
}

static struct quota quota_parse(const char *text)
{
    struct quota quota = {{-1, -1, -1, -1}};
    for (const char *at = text; *at;) {
        size_t name = strcspn(at, "=");
        for (int i = 0; i < LIMIT_COUNT; i++) {
            if (strlen(limits[i].name) == name && memcmp(at, limits[i].name, name) == 0 && at[name] == '=')
                quota.limits[i] = strtoll(at + name + 1, NULL, 10);
        }
        at += strcspn(at, ",;");
        at += *at != 0;
    }
    return quota;
}

/* As StatsTrack writes it: the second "=" keeps servers before 3.7 from seeing what follows. */
static void quota_text(const struct quota *quota, struct text *out)
{
    text_addf(out, "count=%lld,bytes=%lld", quota->limits[0], quota->limits[1]);
    if (quota->limits[2] < 0 && quota->limits[3] < 0) return;
    text_addc(out, '=');
    if (quota->limits[3] >= 0) text_addf(out, ";byteHardLimit=%lld", quota->limits[3]);
    if (quota->limits[2] >= 0) text_addf(out, ";countHardLimit=%lld", quota->limits[2]);
}

static enum error quota_read(struct zk_call *call, const char *path, const char *leaf, struct text *data)
{
    char where[QUOTA_PATH];
    quota_path(where, path, leaf);
    return zk_get(call->zk, where, false, data, NULL, NULL);
}

int zk_verb_listquota(struct zk_call *call)
{
    const char *path = call->words.argv[0];
    struct text quota = {0}, used = {0};
    enum error err = quota_read(call, path, "zookeeper_limits", &quota);
    if (err == OK) err = quota_read(call, path, "zookeeper_stats", &used);
    if (err == OK && zk_is_text(call)) {
        printf("absolute path is /zookeeper/quota%s/zookeeper_limits\n", path);
        printf("Output quota for %s %.*s\n", path, SLICE_ARG(text_slice(&quota)));
        printf("Output stat for %s %.*s\n", path, SLICE_ARG(text_slice(&used)));
    } else if (err == OK) {
        zk_emit(call, json_pack("{s:s, s:o, s:o}", "path", path, "limits", cli_json_text(text_slice(&quota)),
                                "used", cli_json_text(text_slice(&used))));
    }
    text_free(&quota);
    text_free(&used);
    return err == OK ? EXIT_OK : zk_fail(call, path, err);
}

/* /zookeeper/quota and all between it and the two leaves. */
static enum error quota_make(struct zk_call *call, const char *path, const struct text *content)
{
    char where[QUOTA_PATH];
    enum error err = OK;
    for (size_t i = 1; i <= strlen(path) && err == OK; i++) {
        if (path[i] && path[i] != '/') continue;
        snprintf(where, sizeof where, "/zookeeper/quota%.*s", (int)i, path);
        err = zk_create(call->zk, where, SLICE_NULL, NULL, 0, -1, NULL);
        if (err == ERR_ZK_NODE_EXISTS) err = OK;
    }
    quota_path(where, path, "zookeeper_limits");
    if (err == OK) err = zk_create(call->zk, where, text_slice(content), NULL, 0, -1, NULL);
    quota_path(where, path, "zookeeper_stats");
    if (err == OK) err = zk_create(call->zk, where, SLICE("count=0,bytes=0"), NULL, 0, -1, NULL);
    return err;
}

int zk_verb_setquota(struct zk_call *call)
{
    const char *path = call->words.argv[0];
    struct text data = {0};
    enum error err = quota_read(call, path, "zookeeper_limits", &data);
    bool exists = err == OK, has_any = false;
    struct quota quota = quota_parse(exists && data.data ? data.data : "");
    for (int i = 0; i < LIMIT_COUNT; i++) {
        const char *value = zk_option(&call->words, limits[i].option);
        int64_t number;
        if (!value) continue;
        if (!slice_to_int64(slice_of(value), -1, INT64_MAX, &number)) {
            cli_complain("-%s %s: not a number", limits[i].option, value);
            text_free(&data);
            return EXIT_USAGE;
        }
        quota.limits[i] = number;
        has_any = true;
    }
    if (!has_any) {
        cli_complain("setquota: -n COUNT, -b BYTES, -N and -B for limits that refuse");
        text_free(&data);
        return EXIT_USAGE;
    }
    struct znode_stat stat;
    if (err == ERR_ZK_NO_NODE) err = zk_exists(call->zk, path, false, &stat);
    text_reset(&data);
    quota_text(&quota, &data);
    if (err == OK && exists) {
        char where[QUOTA_PATH];
        quota_path(where, path, "zookeeper_limits");
        err = zk_set(call->zk, where, text_slice(&data), -1, NULL);
    } else if (err == OK) {
        err = quota_make(call, path, &data);
    }
    text_free(&data);
    return err == OK ? EXIT_OK : zk_fail(call, path, err);
}

int zk_verb_delquota(struct zk_call *call)
{
    const char *path = call->words.argv[0];
    char where[QUOTA_PATH];
    struct text data = {0};
    enum error err = quota_read(call, path, "zookeeper_limits", &data);
    struct quota quota = quota_parse(err == OK && data.data ? data.data : "");
    bool is_whole = true;
    for (int i = 0; i < LIMIT_COUNT; i++) {
        if (!zk_option(&call->words, limits[i].option)) continue;
        quota.limits[i] = -1;
        is_whole = false;
    }
    if (err == OK && !is_whole) {
        text_reset(&data);
        quota_text(&quota, &data);
        quota_path(where, path, "zookeeper_limits");
        err = zk_set(call->zk, where, text_slice(&data), -1, NULL);
    } else if (err == OK) {
        static const char *const leaves[] = {"zookeeper_limits", "zookeeper_stats"};
        for (int i = 0; i < 2 && err == OK; i++) {
            quota_path(where, path, leaves[i]);
            err = zk_delete(call->zk, where, -1);
            if (err == ERR_ZK_NO_NODE) err = OK;
        }
        /* And what only led there. */
        char rest[4096];
        snprintf(rest, sizeof rest, "%s", path);
        while (err == OK && rest[0] == '/' && rest[1]) {
            quota_path(where, rest, "");
            if (zk_delete(call->zk, where, -1) != OK) break; /* it leads to another, too */
            *strrchr(rest, '/') = 0;
        }
    }
    text_free(&data);
    return err == OK ? EXIT_OK : zk_fail(call, path, err);
}
