#include "keeper/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "keeper/acl.h"
#include "keeper/inside.h"
#include "keeper/jute.h"
#include "keeper/process.h"

struct line {
    struct keeper *keeper;
    const struct entry *entry;
    const struct conn *conn;
};

/* --- pieces --- */

static void add_safe(struct text *out, struct slice s)
{
    for (size_t i = 0; i < s.size; i++) {
        uint8_t byte = s.data[i];
        text_addc(out, byte < 0x20 || byte == 0x7f ? '?' : (char)byte);
    }
}

static void begin(struct text *out, int64_t wall_ms, bool is_failure)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts = {0};
    char date[32] = "";
    localtime_r(&seconds, &parts);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &parts);
    text_addf(out, "%s,%03d %s audit.Slf4jAuditLogger: ", date, (int)(wall_ms % 1000),
              is_failure ? "ERROR" : "INFO");
}

static void add_server_user(struct text *out)
{
    char user[256];
    process_user(user, sizeof user);
    text_addf(out, "user=%s", user);
}

void audit_server_line(struct text *out, int64_t wall_ms, const char *operation, const char *result)
{
    begin(out, wall_ms, strcmp(result, "failure") == 0);
    add_server_user(out);
    text_addf(out, "\toperation=%s\tresult=%s\n", operation, result);
}

static void add_users(struct text *out, const struct auth_ids *ids)
{
    struct auth_id id;
    bool is_first = true;
    for (size_t at = 0; auth_next(ids, &at, &id);) {
        if (!is_first) text_addc(out, ',');
        is_first = false;
        const uint8_t *colon = slice_is(id.scheme, "digest") ? memchr(id.id.data, ':', id.id.size) : NULL;
        add_safe(out, (struct slice){id.id.data, colon ? (size_t)(colon - id.id.data) : id.id.size});
    }
}

static const char *create_mode(int32_t op, int32_t flags)
{
    static const char *const modes[] = {
        "persistent", "ephemeral",           "persistent_sequential",         "ephemeral_sequential",
        "container",  "persistent_with_ttl", "persistent_sequential_with_ttl"};
    if (op == OP_CREATE_CONTAINER) flags = 4;
    return flags >= 0 && flags < 7 ? modes[flags] : NULL;
}

/* What a request asks, as far as a line shows it. */
struct wish {
    const char *operation; /* NULL: no line for this */
    struct slice path, acl;
    const char *mode;
};

/* Reads on to the end of the request, for in a multi the next one follows. */
static struct wish wish_of(int32_t op, struct jute *in)
{
    struct wish wish = {0};
    wish.path = jute_bytes(in);
    switch (op) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        wish.operation = "create";
        jute_bytes(in);
        acl_take(in);
        wish.mode = create_mode(op, jute_int(in));
        if (op == OP_CREATE_TTL) jute_long(in);
        break;
    case OP_DELETE: jute_int(in); /* fall through */
    case OP_DELETE_CONTAINER: wish.operation = "delete"; break;
    case OP_SET_DATA:
        wish.operation = "setData";
        jute_bytes(in);
        jute_int(in);
        break;
    case OP_SET_ACL:
        wish.operation = "setAcl";
        wish.acl = acl_take(in);
        jute_int(in);
        break;
    case OP_CHECK: jute_int(in); break;
    default: in->is_bad = true; break;
    }
    return wish;
}

static void add_acl(struct text *out, struct slice list)
{
    static const char letters[] = "cdrwa";
    static const int perms[] = {ACL_CREATE, ACL_DELETE, ACL_READ, ACL_WRITE, ACL_ADMIN};
    struct jute in = jute_of(list);
    int32_t count = jute_count(&in, 12);
    for (int32_t i = 0; i < count && !in.is_bad; i++) {
        int32_t permitted = jute_int(&in);
        struct slice scheme = jute_bytes(&in), id = jute_bytes(&in);
        add_safe(out, scheme);
        text_addc(out, ':');
        add_safe(out, id);
        text_addc(out, ':');
        for (int j = 0; j < 5; j++) {
            if (permitted & perms[j]) text_addc(out, letters[j]);
        }
    }
}

/* --- lines --- */

static void add_line(const struct line *line, const struct wish *wish, bool is_success)
{
    struct text *out = &line->keeper->audit;
    begin(out, loop_wall_ms(line->keeper->loop), !is_success);
    text_addf(out, "session=0x%" PRIx64 "\tuser=", (uint64_t)line->entry->session);
    add_users(out, &line->entry->ids);
    if (line->conn) text_addf(out, "\tip=%s", line->conn->host);
    text_addf(out, "\toperation=%s", wish->operation);
    if (wish->path.data) {
        text_addz(out, "\tznode=");
        add_safe(out, wish->path);
    }
    if (wish->mode) text_addf(out, "\tznode_type=%s", wish->mode);
    if (wish->acl.data) {
        text_addz(out, "\tacl=");
        add_acl(out, wish->acl);
    }
    text_addf(out, "\tresult=%s\n", is_success ? "success" : "failure");
}

static bool makes_name(int32_t op)
{
    return op == OP_CREATE || op == OP_CREATE2 || op == OP_CREATE_CONTAINER || op == OP_CREATE_TTL;
}

/* The parts of a multi that was carried out, side by side with their results, which hold the names that were made. */
static void add_multi(const struct line *line, const struct machine_outcome *outcome)
{
    struct jute in = jute_of(line->entry->body), results = jute_of(text_slice(&outcome->body));
    while (true) {
        int32_t op = jute_int(&in);
        bool is_done = jute_bool(&in);
        jute_int(&in);
        jute_take(&results, 4 + 1 + 4);
        if (in.is_bad || is_done) return;
        struct wish wish = wish_of(op, &in);
        if (makes_name(op)) {
            struct slice made = jute_bytes(&results);
            if (!results.is_bad) wish.path = made;
        }
        if (op != OP_CREATE && op != OP_DELETE && op != OP_CHECK) jute_take(&results, STAT_SIZE);
        if (in.is_bad) return;
        if (wish.operation) add_line(line, &wish, true);
    }
}

/* Then it answered with errors alone, and changed nothing. */
static bool multi_failed(const struct machine_outcome *outcome)
{
    struct jute results = jute_of(text_slice(&outcome->body));
    int32_t type = jute_int(&results);
    bool is_done = jute_bool(&results);
    return !results.is_bad && !is_done && type == OP_ERROR;
}

static void add_ephemerals(struct keeper *keeper, const struct machine_outcome *outcome)
{
    struct text *out = &keeper->audit;
    for (size_t i = 0; i < outcome->event_count; i++) {
        if (outcome->events[i].type != EVENT_DELETED) continue;
        begin(out, loop_wall_ms(keeper->loop), false);
        add_server_user(out);
        text_addz(out, "\toperation=ephemeralZNodeDeletionOnSessionCloseOrExpire\tznode=");
        add_safe(out, machine_event_path(outcome, &outcome->events[i]));
        text_addz(out, "\tresult=success\n");
    }
}

void audit_applied(struct keeper *keeper, uint64_t index, struct slice bytes)
{
    const struct machine_outcome *outcome = &keeper->machine.outcome;
    struct entry entry;
    if (entry_parse(bytes, &entry) != OK) return;
    if (entry.op == OP_CLOSE_SESSION) add_ephemerals(keeper, outcome);
    const struct request *request = request_of_applied(keeper, index);
    bool is_ours = request && request->kind == REQUEST_WRITE;
    if (is_ours && entry.session != 0) {
        struct line line = {keeper, &entry, request->conn};
        bool is_success = outcome->err == OK;
        struct jute in = jute_of(entry.body);
        if (entry.op == OP_MULTI) {
            struct wish wish = {.operation = "multiOperation"};
            if (is_success && !multi_failed(outcome)) {
                add_multi(&line, outcome);
            } else {
                add_line(&line, &wish, false);
            }
        } else if (entry.op == OP_RECONFIG) {
            struct wish wish = {.operation = "reconfig"};
            if (is_success) wish.path = SLICE("/zookeeper/config");
            add_line(&line, &wish, is_success);
        } else if (entry.op != OP_CLOSE_SESSION) {
            struct wish wish = wish_of(entry.op, &in);
            if (is_success && makes_name(entry.op)) {
                struct jute body = jute_of(text_slice(&outcome->body));
                wish.path = jute_bytes(&body);
            }
            if (!in.is_bad && wish.operation) add_line(&line, &wish, is_success);
        }
    }
    if (keeper->audit.size > 0 || keeper->audit.failed) keeper_turn_soon(keeper);
}

void audit_flush(struct keeper *keeper)
{
    struct text *lines = &keeper->audit;
    if (lines->size > 0 && !lines->failed) keeper->events.audit(keeper->context, text_slice(lines));
    if (lines->failed)
        keeper->events.audit(keeper->context, SLICE("(lines are missing here: out of memory)\n"));
    text_reset(lines);
    if (lines->capacity > 64 << 10 || lines->failed) text_free(lines);
}
