/* zk_request.c: requests and answers of the verbs, as ZooKeeper encodes them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/rdk.h"
#include "cli/zk.h"
#include "keeper/jute.h"
#include "keeper/machine.h"

void zk_read_body(struct zk *zk, struct zk_request *request, enum zk_read op, const char *path, bool watches)
{
    *request = (struct zk_request){.op = (int32_t)op};
    zk_add_path(zk, &request->body, path);
    if (op != ZK_ACL) text_addc(&request->body, watches);
}

enum error zk_stat_read(struct slice bytes, struct znode_stat *stat)
{
    struct jute in = jute_of(bytes);
    *stat = stat_read(&in);
    return in.is_bad ? ERR_CORRUPT : OK;
}

enum error zk_get(struct zk *zk, const char *path, bool watches, struct text *data, bool *is_null,
                  struct znode_stat *stat)
{
    struct zk_request request;
    zk_read_body(zk, &request, ZK_GET, path, watches);
    enum error err = zk_ask(zk, &request);
    struct jute in = jute_of(text_slice(&request.answer));
    if (err == OK) {
        struct slice bytes = jute_bytes(&in);
        struct znode_stat read = stat_read(&in);
        if (stat) *stat = read;
        if (is_null) *is_null = !bytes.data;
        text_reset(data);
        text_add(data, bytes);
        if (in.is_bad) err = ERR_CORRUPT;
        if (data->failed) err = ERR_NOMEM;
    }
    zk_request_free(&request);
    return err;
}

/* What answers with a Stat alone. */
static enum error ask_stat(struct zk *zk, struct zk_request *request, struct znode_stat *stat)
{
    enum error err = zk_ask(zk, request);
    struct znode_stat ignored;
    if (err == OK) err = zk_stat_read(text_slice(&request->answer), stat ? stat : &ignored);
    zk_request_free(request);
    return err;
}

enum error zk_exists(struct zk *zk, const char *path, bool watches, struct znode_stat *stat)
{
    struct zk_request request;
    zk_read_body(zk, &request, ZK_EXISTS, path, watches);
    return ask_stat(zk, &request, stat);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum error zk_children_read(struct slice answer, struct zk_names *names, struct znode_stat *stat)
{
    struct jute in = jute_of(answer);
    int32_t count = jute_count(&in, 4);
    *names = (struct zk_names){.names = calloc(count > 0 ? (size_t)count : 1, sizeof *names->names)};
    if (!names->names) return ERR_NOMEM;
    for (int32_t i = 0; i < count && !in.is_bad; i++) {
        struct slice name = jute_bytes(&in);
        names->names[names->count] = slice_dup(name.data ? name : SLICE(""));
        if (names->names[names->count]) names->count++;
    }
    struct znode_stat read = stat_read(&in);
    if (stat) *stat = read;
    if (in.is_bad) {
        zk_names_free(names);
        return ERR_CORRUPT;
    }
    if (names->count > 1) qsort(names->names, names->count, sizeof *names->names, compare_names);
    return OK;
}

enum error zk_children(struct zk *zk, const char *path, bool watches, struct zk_names *names,
                       struct znode_stat *stat)
{
    struct zk_request request;
    zk_read_body(zk, &request, ZK_CHILDREN, path, watches);
    enum error err = zk_ask(zk, &request);
    if (err == OK) err = zk_children_read(text_slice(&request.answer), names, stat);
    zk_request_free(&request);
    return err;
}

void zk_names_free(struct zk_names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->names[i]);
    free(names->names);
    *names = (struct zk_names){0};
}

/* --- ACLs --- */

static const struct {
    char letter;
    int perm;
} perms[] = {{'c', ACL_CREATE}, {'d', ACL_DELETE}, {'r', ACL_READ}, {'w', ACL_WRITE}, {'a', ACL_ADMIN}};

bool zk_acl_parse(const char *text, struct text *out)
{
    uint32_t count = 0;
    size_t begin = out->size;
    text_add_be32(out, 0);
    while (*text) {
        size_t size = strcspn(text, ",");
        const char *first = memchr(text, ':', size), *last = first ? memrchr(text, ':', size) : NULL;
        if (!first || last == first) return false;
        int bits = 0;
        for (const char *at = last + 1; at < text + size; at++) {
            int bit = 0;
            for (size_t i = 0; i < sizeof perms / sizeof *perms; i++) {
                if (perms[i].letter == *at) bit = perms[i].perm;
            }
            if (bit == 0) return false;
            bits |= bit;
        }
        text_add_be32(out, (uint32_t)bits);
        jute_add_bytes(out, (struct slice){(const uint8_t *)text, (size_t)(first - text)});
        jute_add_bytes(out, (struct slice){(const uint8_t *)first + 1, (size_t)(last - first - 1)});
        count++;
        text += size;
        if (*text == ',' && !*++text) return false;
    }
    if (out->failed) return false;
    put_be32(out->data + begin, count);
    return count > 0;
}

enum error zk_acl_text(struct slice vector, struct text *out, struct slice *rest)
{
    struct jute in = jute_of(vector);
    int32_t count = jute_count(&in, 12);
    for (int32_t i = 0; i < count && !in.is_bad; i++) {
        int bits = jute_int(&in);
        struct slice scheme = jute_bytes(&in), id = jute_bytes(&in);
        text_addf(out, "%s%.*s:%.*s:", i ? "," : "", SLICE_ARG(scheme), SLICE_ARG(id));
        for (size_t p = 0; p < sizeof perms / sizeof *perms; p++) {
            if (bits & perms[p].perm) text_addc(out, perms[p].letter);
        }
    }
    if (rest) *rest = jute_rest(&in);
    if (in.is_bad) return ERR_CORRUPT;
    return out->failed ? ERR_NOMEM : OK;
}

enum error zk_acl(struct zk *zk, const char *path, struct text *acl, struct znode_stat *stat)
{
    struct zk_request request;
    zk_read_body(zk, &request, ZK_ACL, path, false);
    enum error err = zk_ask(zk, &request);
    struct slice rest;
    if (err == OK) err = zk_acl_text(text_slice(&request.answer), acl, &rest);
    if (err == OK && stat) err = zk_stat_read(rest, stat);
    zk_request_free(&request);
    return err;
}

/* --- writes --- */

enum error zk_create(struct zk *zk, const char *path, struct slice data, const char *acl, int32_t flags,
                     int64_t ttl_ms, struct text *created)
{
    enum { CONTAINER = 4, TTL = 5 };
    struct zk_request request = {.op = flags >= TTL         ? OP_CREATE_TTL
                                       : flags == CONTAINER ? OP_CREATE_CONTAINER
                                                            : OP_CREATE};
    zk_add_path(zk, &request.body, path);
    jute_add_bytes(&request.body, data);
    if (!zk_acl_parse(acl ? acl : "world:anyone:cdrwa", &request.body)) {
        zk_request_free(&request);
        return ERR_ZK_INVALID_ACL;
    }
    text_add_be32(&request.body, (uint32_t)flags);
    if (flags >= TTL) text_add_be64(&request.body, (uint64_t)ttl_ms);
    enum error err = zk_ask(zk, &request);
    struct jute in = jute_of(text_slice(&request.answer));
    if (err == OK && created) text_add(created, zk_strip(zk, jute_bytes(&in)));
    zk_request_free(&request);
    return err;
}

enum error zk_set(struct zk *zk, const char *path, struct slice data, int32_t version,
                  struct znode_stat *stat)
{
    struct zk_request request = {.op = OP_SET_DATA};
    zk_add_path(zk, &request.body, path);
    jute_add_bytes(&request.body, data);
    text_add_be32(&request.body, (uint32_t)version);
    return ask_stat(zk, &request, stat);
}

enum error zk_set_acl(struct zk *zk, const char *path, const char *acl, int32_t version,
                      struct znode_stat *stat)
{
    struct zk_request request = {.op = OP_SET_ACL};
    zk_add_path(zk, &request.body, path);
    if (!zk_acl_parse(acl, &request.body)) {
        zk_request_free(&request);
        return ERR_ZK_INVALID_ACL;
    }
    text_add_be32(&request.body, (uint32_t)version);
    return ask_stat(zk, &request, stat);
}

enum error zk_delete(struct zk *zk, const char *path, int32_t version)
{
    struct zk_request request = {.op = OP_DELETE};
    zk_add_path(zk, &request.body, path);
    text_add_be32(&request.body, (uint32_t)version);
    enum error err = zk_ask(zk, &request);
    zk_request_free(&request);
    return err;
}

/* --- showing --- */

json_t *zk_stat_json(const struct znode_stat *stat)
{
    json_t *json = json_object();
    const struct {
        const char *name;
        int64_t value;
    } fields[] = {{"czxid", stat->czxid},
                  {"mzxid", stat->mzxid},
                  {"pzxid", stat->pzxid},
                  {"ctime", stat->ctime_ms},
                  {"mtime", stat->mtime_ms},
                  {"version", stat->version},
                  {"cversion", stat->cversion},
                  {"aversion", stat->aversion},
                  {"ephemeral_owner", stat->ephemeral_owner},
                  {"data_length", stat->data_length},
                  {"children", stat->child_count}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        json_object_set_new(json, fields[i].name, json_integer(fields[i].value));
    return json;
}

/* As Java prints a Date. */
static void print_time(const char *name, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    char text[64] = "";
    if (localtime_r(&seconds, &parts)) strftime(text, sizeof text, "%a %b %d %H:%M:%S %Z %Y", &parts);
    printf("%s = %s\n", name, text);
}

void zk_stat_print(const struct znode_stat *stat)
{
    printf("cZxid = 0x%llx\n", (unsigned long long)stat->czxid);
    print_time("ctime", stat->ctime_ms);
    printf("mZxid = 0x%llx\n", (unsigned long long)stat->mzxid);
    print_time("mtime", stat->mtime_ms);
    printf("pZxid = 0x%llx\n", (unsigned long long)stat->pzxid);
    printf("cversion = %d\ndataVersion = %d\naclVersion = %d\nephemeralOwner = 0x%llx\n", stat->cversion,
           stat->version, stat->aversion, (unsigned long long)stat->ephemeral_owner);
    printf("dataLength = %d\nnumChildren = %d\n", stat->data_length, stat->child_count);
}

void zk_data_print(const struct zk_call *call, const struct text *data, bool is_null)
{
    if (is_null) {
        puts("null");
        return;
    }
    bool may_be_json = data->size > 1 && (data->data[0] == '{' || data->data[0] == '[');
    json_t *json = may_be_json && call->cli->is_terminal ? json_loadb(data->data, data->size, 0, NULL) : NULL;
    if (json) {
        json_dumpf(json, stdout, JSON_INDENT(2));
    } else {
        fwrite(data->data, 1, data->size, stdout);
    }
    json_decref(json);
    if (json || data->size == 0 || data->data[data->size - 1] != '\n') putchar('\n');
}
