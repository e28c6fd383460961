/* guest_asks.c: what a guest asks, and what the answers tell the history. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "keeper/inside.h"
#include "keeper/jute.h"

enum {
    REGISTERS = 3,
    PAIR = REGISTERS, /* two of them */
    PARENTS = PAIR + 2,
    LOCKS = PARENTS + 2,
    PLAIN = LOCKS + 2,
    KNOWN = PLAIN + 2,
    PERSISTENT = LOCKS, /* made at first, never deleted */
    EPHEMERAL_PARENT = PARENTS + 1,
    ZK_NO_NODE = -101,
    ZK_BAD_VERSION = -103,
    ZK_NODE_EXISTS = -110,
    ZK_SESSION_EXPIRED = -112,
    XID_EVENT = -1,
    XID_PING = -2,
    XID_SET_WATCHES = -8,
};

static const char *const known[KNOWN] = {"/r0", "/r1", "/r2", "/p0", "/p1", "/q",
                                         "/e",  "/l0", "/l1", "/d0", "/d1"};

/* All guests know these by the same numbers. */
static void know_paths(struct tree_history *history)
{
    while (history->path_count < KNOWN) tree_history_path(history, known[history->path_count], -1);
}

/* Whose child a name is: of those that are listed. */
static int parent_of(const char *name)
{
    for (int i = PARENTS; i < LOCKS; i++) {
        size_t size = strlen(known[i]);
        if (strncmp(name, known[i], size) == 0 && name[size] == '/') return i;
    }
    return -1;
}

static int64_t between(struct line *line, int64_t min, int64_t max)
{
    return keepers_between(line->guest->keepers, min, max);
}

static struct tree_history *history_of(struct line *line)
{
    return &line->guest->keepers->history;
}

/* --- encoding --- */

static void add_path(struct text *out, struct line *line, int path)
{
    jute_add_bytes(out, slice_of(history_of(line)->paths[path].name));
}

static void add_value(struct text *out, struct line *line, uint64_t value)
{
    static const uint8_t filling[3000];
    size_t size = between(line, 0, 40) == 0 ? 3000 : (size_t)between(line, 0, 60);
    text_add_be32(out, (uint32_t)(8 + size));
    text_add_be64(out, value);
    text_add(out, (struct slice){filling, size});
}

static void add_acl_and_flags(struct text *out, int32_t flags)
{
    text_add_be32(out, 1);
    text_add_be32(out, ACL_ALL);
    jute_add_bytes(out, SLICE("world"));
    jute_add_bytes(out, SLICE("anyone"));
    text_add_be32(out, (uint32_t)flags);
}

static void add_part(struct text *out, int32_t op)
{
    text_add_be32(out, (uint32_t)op);
    text_addc(out, op == -1);
    text_add_be32(out, UINT32_MAX);
}

static void begin(struct text *out, int32_t xid, int32_t op)
{
    text_add_be32(out, (uint32_t)xid);
    text_add_be32(out, (uint32_t)op);
}

static void end(struct line *line, struct text *out)
{
    line_send(line, text_slice(out));
    text_free(out);
}

/* --- asking --- */

/* Notes a write: what is asked on a connection that was given up must not happen. */
static void note_write(struct line *line, struct ask *ask, enum tree_write_kind kind, int path, int other,
                       int32_t version, bool is_ephemeral)
{
    struct guest *guest = line->guest;
    struct tree_write write = {.kind = kind,
                               .path = path,
                               .other_path = other,
                               .version = version,
                               .is_ephemeral = is_ephemeral,
                               .session = guest->record,
                               .sent_ms = ask->sent_ms};
    ask->serial = tree_history_send(history_of(line), &write);
    ask->path = path;
    ask->version = version;
    if (!line->is_given_up) return;
    if (guest->void_zxid)
        tree_history_void(history_of(line), line->record, &ask->serial, 1, guest->void_zxid);
    else if (guest->void_count < GUEST_VOIDS)
        guest->voids[guest->void_count++] = ask->serial;
}

static void ask_read(struct line *line, struct ask *ask, int path)
{
    static const int32_t ops[] = {
        [ASK_GET] = OP_GET_DATA, [ASK_EXISTS] = OP_EXISTS, [ASK_LIST] = OP_GET_CHILDREN};
    struct text out = {0};
    ask->path = path;
    ask->with_stat = ask->kind == ASK_LIST && between(line, 0, 1);
    ask->watches = !line->guest->is_inspector && between(line, 0, 2) == 0;
    begin(&out, ask->xid, ask->with_stat ? OP_GET_CHILDREN2 : ops[ask->kind]);
    add_path(&out, line, path);
    text_addc(&out, (char)ask->watches);
    end(line, &out);
}

static void ask_create(struct line *line, struct ask *ask, int path, bool is_ephemeral)
{
    struct text out = {0};
    note_write(line, ask, WRITE_CREATE, path, TREE_NO_PATH, -1, is_ephemeral);
    ask->with_stat = between(line, 0, 1);
    begin(&out, ask->xid, ask->with_stat ? OP_CREATE2 : OP_CREATE);
    add_path(&out, line, path);
    add_value(&out, line, ask->serial);
    add_acl_and_flags(&out, is_ephemeral);
    end(line, &out);
}

static void ask_create_next(struct line *line, struct ask *ask, int parent)
{
    struct text out = {0};
    char name[TREE_NAME];
    bool is_ephemeral = parent == EPHEMERAL_PARENT;
    snprintf(name, sizeof name, "%s/n-", known[parent]);
    note_write(line, ask, WRITE_CREATE_NEXT, parent, TREE_NO_PATH, -1, is_ephemeral);
    ask->with_stat = between(line, 0, 1);
    begin(&out, ask->xid, ask->with_stat ? OP_CREATE2 : OP_CREATE);
    jute_add_bytes(&out, slice_of(name));
    add_value(&out, line, ask->serial);
    add_acl_and_flags(&out, is_ephemeral ? 3 : 2);
    end(line, &out);
}

static void ask_set(struct line *line, struct ask *ask, int path, int32_t version)
{
    struct text out = {0};
    note_write(line, ask, WRITE_SET, path, TREE_NO_PATH, version, false);
    begin(&out, ask->xid, OP_SET_DATA);
    add_path(&out, line, path);
    add_value(&out, line, ask->serial);
    text_add_be32(&out, (uint32_t)version);
    end(line, &out);
}

static void ask_delete(struct line *line, struct ask *ask, int path)
{
    struct text out = {0};
    note_write(line, ask, WRITE_DELETE, path, TREE_NO_PATH, -1, false);
    begin(&out, ask->xid, OP_DELETE);
    add_path(&out, line, path);
    text_add_be32(&out, UINT32_MAX);
    end(line, &out);
}

static void ask_pair(struct line *line, struct ask *ask)
{
    struct text out = {0};
    note_write(line, ask, WRITE_PAIR, PAIR, PAIR + 1, -1, false);
    begin(&out, ask->xid, OP_MULTI);
    for (int i = 0; i < 2; i++) {
        add_part(&out, OP_SET_DATA);
        add_path(&out, line, PAIR + i);
        add_value(&out, line, ask->serial);
        text_add_be32(&out, UINT32_MAX);
    }
    if (ask->kind == ASK_PAIR_IN_VAIN) { /* this one fails, and must leave no trace */
        add_part(&out, OP_CHECK);
        add_path(&out, line, 0);
        text_add_be32(&out, 1 << 30);
    }
    add_part(&out, -1);
    end(line, &out);
}

static void ask_pair_get(struct line *line, struct ask *ask)
{
    struct text out = {0};
    begin(&out, ask->xid, OP_MULTI_READ);
    for (int i = 0; i < 2; i++) {
        add_part(&out, OP_GET_DATA);
        add_path(&out, line, PAIR + i);
        text_addc(&out, 0);
    }
    add_part(&out, -1);
    end(line, &out);
}

static void ask_bare(struct line *line, struct ask *ask)
{
    struct text out = {0};
    if (ask->kind == ASK_PING) {
        ask->xid = XID_PING;
        begin(&out, XID_PING, OP_PING);
    } else if (ask->kind == ASK_CLOSE) {
        note_write(line, ask, WRITE_CLOSE, TREE_NO_PATH, TREE_NO_PATH, -1, false);
        begin(&out, ask->xid, OP_CLOSE_SESSION);
    } else {
        begin(&out, ask->xid, OP_SYNC);
        jute_add_bytes(&out, SLICE("/"));
    }
    end(line, &out);
}

/* Any path that is known; children of the two parents among them. */
static int some_path(struct line *line)
{
    const struct tree_history *history = history_of(line);
    bool is_child = history->path_count > KNOWN && between(line, 0, 3) == 0;
    int64_t last = (int64_t)history->path_count - 1;
    if (!is_child) return (int)between(line, 0, KNOWN - 1);
    return (int)between(line, last - KNOWN > 30 ? last - 30 : KNOWN, last); /* one of the latest */
}

static int some_child(struct line *line)
{
    const struct tree_history *history = history_of(line);
    if (history->path_count <= KNOWN) return TREE_NO_PATH;
    return (int)between(line, KNOWN, (int64_t)history->path_count - 1);
}

void guest_ask_one(struct line *line, enum ask_kind kind)
{
    struct guest *guest = line->guest;
    struct ask *ask = line_push(line, kind);
    switch (kind) {
    case ASK_GET:
    case ASK_EXISTS: ask_read(line, ask, some_path(line)); break;
    case ASK_LIST: ask_read(line, ask, PARENTS + (int)between(line, 0, 1)); break;
    case ASK_SET: {
        int path = (int)between(line, 0, 4) == 0 ? LOCKS + (int)between(line, 0, KNOWN - LOCKS - 1)
                                                 : (int)between(line, 0, REGISTERS - 1);
        ask_set(line, ask, path, between(line, 0, 3) == 0 ? -1 : guest->versions[path]);
        break;
    }
    case ASK_CREATE: {
        int path = LOCKS + (int)between(line, 0, KNOWN - LOCKS - 1);
        ask_create(line, ask, path, path < PLAIN);
        break;
    }
    case ASK_CREATE_NEXT: ask_create_next(line, ask, PARENTS + (int)between(line, 0, 1)); break;
    case ASK_DELETE: {
        int child = between(line, 0, 1) ? some_child(line) : TREE_NO_PATH;
        ask_delete(line, ask, child >= 0 ? child : LOCKS + (int)between(line, 0, KNOWN - LOCKS - 1));
        break;
    }
    case ASK_PAIR:
    case ASK_PAIR_IN_VAIN: ask_pair(line, ask); break;
    case ASK_PAIR_GET: ask_pair_get(line, ask); break;
    default: ask_bare(line, ask); break;
    }
}

void guest_ask(struct line *line)
{
    static const struct {
        enum ask_kind kind;
        int weight;
    } asks[] = {{ASK_GET, 20},         {ASK_EXISTS, 8},   {ASK_SET, 22}, {ASK_CREATE, 8},
                {ASK_CREATE_NEXT, 6},  {ASK_DELETE, 8},   {ASK_LIST, 5}, {ASK_PAIR, 5},
                {ASK_PAIR_IN_VAIN, 2}, {ASK_PAIR_GET, 5}, {ASK_SYNC, 6}, {ASK_PING, 3}};
    if (!line->is_given_up && between(line, 0, 500) == 0) {
        line->is_closing = true;
        history_of(line)->sessions[line->guest->record].state = SESSION_CLOSING;
        guest_ask_one(line, ASK_CLOSE);
        return;
    }
    int64_t total = 0;
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) total += asks[i].weight;
    int64_t drawn = between(line, 0, total - 1);
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        if (drawn < asks[i].weight) {
            guest_ask_one(line, asks[i].kind);
            return;
        }
        drawn -= asks[i].weight;
    }
}

/* The znodes that are always there, made before anything happens. */
int guest_setup_steps(void)
{
    return PERSISTENT;
}

void guest_setup_ask(struct line *line, int step)
{
    know_paths(history_of(line));
    ask_create(line, line_push(line, ASK_CREATE), step, false);
}

bool guest_reconfig(struct guest *guest, const char *joining, const char *leaving)
{
    struct line *line = guest->now;
    struct text out = {0};
    if (!line || line->state != LINE_UP || line->waiting > 0) return false;
    const struct ask *ask = line_push(line, ASK_RECONFIG);
    begin(&out, ask->xid, OP_RECONFIG);
    jute_add_bytes(&out, joining[0] ? slice_of(joining) : SLICE_NULL);
    jute_add_bytes(&out, leaving[0] ? slice_of(leaving) : SLICE_NULL);
    jute_add_bytes(&out, SLICE_NULL);
    text_add_be64(&out, UINT64_MAX);
    end(line, &out);
    return true;
}

/* A sync, then everything there is. */
void guest_inspect_ask(struct line *line)
{
    struct guest *guest = line->guest;
    const struct tree_history *history = history_of(line);
    int step = guest->inspected;
    if (step == 0) {
        ask_bare(line, line_push(line, ASK_SYNC));
    } else if (step <= 2) {
        ask_read(line, line_push(line, ASK_LIST), PARENTS + step - 1);
    } else if (step - 3 < (int)history->path_count) {
        ask_read(line, line_push(line, ASK_GET), step - 3);
    } else {
        return;
    }
    guest->inspected++;
}

bool guest_has_inspected(const struct guest *guest)
{
    return guest->inspected >= (int)guest->keepers->history.path_count + 3 && guest->now &&
           guest->now->waiting == 0;
}

/* --- watches --- */

static void watch(struct line *line, enum line_watch kind, int path, int64_t zxid)
{
    struct guest *guest = line->guest;
    tree_history_note(history_of(line), line->record,
                      (struct line_entry){.kind = LINE_ARMED, .watch = kind, .path = path, .zxid = zxid});
    if (line != guest->now || guest->watch_count == GUEST_WATCHES) return;
    for (size_t i = 0; i < guest->watch_count; i++) {
        if (guest->watches[i].path == path && guest->watches[i].watch == kind) return;
    }
    guest->watches[guest->watch_count++] = (struct guest_watch){kind, path};
}

static void unwatch(struct guest *guest, int path, int event_type)
{
    for (size_t i = 0; i < guest->watch_count;) {
        bool is_child = guest->watches[i].watch == LINE_WATCH_CHILD;
        bool is_it = guest->watches[i].path == path &&
                     (is_child ? event_type == EVENT_CHILDREN_CHANGED || event_type == EVENT_DELETED
                               : event_type != EVENT_CHILDREN_CHANGED);
        if (is_it)
            guest->watches[i] = guest->watches[--guest->watch_count];
        else
            i++;
    }
}

void guest_set_watches(struct line *line)
{
    struct guest *guest = line->guest;
    struct text out = {0};
    struct ask *ask = line_push(line, ASK_SET_WATCHES);
    ask->xid = XID_SET_WATCHES;
    begin(&out, XID_SET_WATCHES, OP_SET_WATCHES);
    text_add_be64(&out, (uint64_t)guest->zxid);
    for (int kind = LINE_WATCH_DATA; kind <= LINE_WATCH_CHILD; kind++) {
        uint32_t count = 0;
        for (size_t i = 0; i < guest->watch_count; i++) count += (int)guest->watches[i].watch == kind;
        text_add_be32(&out, count);
        for (size_t i = 0; i < guest->watch_count; i++) {
            if ((int)guest->watches[i].watch != kind) continue;
            add_path(&out, line, guest->watches[i].path);
            tree_history_note(history_of(line), line->record,
                              (struct line_entry){.kind = LINE_REARMED,
                                                  .watch = (enum line_watch)kind,
                                                  .path = guest->watches[i].path,
                                                  .zxid = guest->zxid});
        }
    }
    end(line, &out);
}

static void heard_event(struct line *line, int64_t zxid, struct jute *in)
{
    struct guest *guest = line->guest;
    struct tree_history *history = history_of(line);
    int32_t type = jute_int(in);
    jute_int(in);
    struct slice path_name = jute_bytes(in);
    char name[TREE_NAME];
    if (in->is_bad || path_name.size >= sizeof name || type < EVENT_CREATED ||
        type > EVENT_CHILDREN_CHANGED) {
        keepers_fail(guest->keepers, "guest %d was sent a malformed event", guest->index);
        return;
    }
    memcpy(name, path_name.data, path_name.size);
    name[path_name.size] = 0;
    int path = tree_history_path(history, name, parent_of(name));
    history->counts.events++;
    tree_history_note(
        history, line->record,
        (struct line_entry){.kind = LINE_EVENT, .path = path, .event_type = type, .zxid = zxid});
    if (line == guest->now) unwatch(guest, path, type);
    if (zxid > history->seen_zxid) history->seen_zxid = zxid;
    if (zxid == -1 || type == EVENT_CHILDREN_CHANGED) return;
    tree_history_tell(history, &(struct tree_fact){.kind = type == EVENT_CREATED   ? FACT_CREATED
                                                           : type == EVENT_DELETED ? FACT_DELETED
                                                                                   : FACT_CHANGED,
                                                   .zxid = zxid,
                                                   .path = path,
                                                   .line = line->record});
}

/* --- answers --- */

static void tell(struct line *line, enum tree_fact_kind kind, int64_t zxid, int path, int32_t version)
{
    tree_history_tell(
        history_of(line),
        &(struct tree_fact){
            .kind = kind, .zxid = zxid, .path = path, .line = line->record, .version = version});
}

static void tell_stat(struct line *line, int64_t zxid, int path, struct jute *in, uint64_t value)
{
    const uint8_t *stat = jute_take(in, STAT_SIZE);
    if (!stat) return;
    struct tree_fact fact = {.kind = FACT_IS,
                             .zxid = zxid,
                             .path = path,
                             .line = line->record,
                             .czxid = (int64_t)get_be64(stat),
                             .mzxid = (int64_t)get_be64(stat + 8),
                             .version = (int32_t)get_be32(stat + 32),
                             .owner = (int64_t)get_be64(stat + 44),
                             .value = value};
    tree_history_tell(history_of(line), &fact);
    if (path < KNOWN) line->guest->versions[path] = fact.version;
}

static uint64_t take_value(struct jute *in)
{
    struct slice data = jute_bytes(in);
    return data.size >= 8 ? get_be64(data.data) : 0;
}

static void heard_list(struct line *line, const struct ask *ask, int64_t zxid, struct jute *in)
{
    enum { MOST = 4000 };
    struct tree_history *history = history_of(line);
    int32_t count = jute_count(in, 4);
    int children[MOST];
    char name[TREE_NAME];
    for (int32_t i = 0; i < count && i < MOST; i++) {
        struct slice child = jute_bytes(in);
        if (child.size > 20) in->is_bad = true;
        snprintf(name, sizeof name, "%.16s/%.*s", history->paths[ask->path].name, (int)(child.size % 21),
                 (const char *)child.data);
        children[i] = tree_history_path(history, name, ask->path);
    }
    if (in->is_bad || count < 0 || count > MOST) return;
    tree_history_tell_children(history, line->record, zxid, ask->path, children, (size_t)count);
    if (!ask->with_stat) return;
    const uint8_t *stat = jute_take(in, STAT_SIZE);
    if (stat && (int32_t)get_be32(stat + 56) != count)
        keepers_fail(line->guest->keepers, "%s has %d children and lists %d", history->paths[ask->path].name,
                     (int32_t)get_be32(stat + 56), count);
}

static void heard_pair_get(struct line *line, int64_t zxid, struct jute *in)
{
    for (int i = 0; i < 2; i++) {
        int32_t op = jute_int(in);
        jute_bool(in);
        jute_int(in);
        if (op == OP_ERROR) { /* a member that is behind: it is not there yet */
            if (jute_int(in) == ZK_NO_NODE) tell(line, FACT_ABSENT, zxid, PAIR + i, 0);
            continue;
        }
        uint64_t value = take_value(in);
        tell_stat(line, zxid, PAIR + i, in, value);
    }
}

/* What follows of an answer without an error, and of one with. */
static bool heard_done(struct line *line, struct ask *ask, int64_t zxid, struct jute *in)
{
    struct tree_history *history = history_of(line);
    switch (ask->kind) {
    case ASK_GET: {
        uint64_t value = take_value(in);
        tell_stat(line, zxid, ask->path, in, value);
        if (ask->watches) watch(line, LINE_WATCH_DATA, ask->path, zxid);
        break;
    }
    case ASK_EXISTS:
        tell_stat(line, zxid, ask->path, in, 0);
        if (ask->watches) watch(line, LINE_WATCH_DATA, ask->path, zxid);
        break;
    case ASK_LIST:
        heard_list(line, ask, zxid, in);
        if (ask->watches) watch(line, LINE_WATCH_CHILD, ask->path, zxid);
        break;
    case ASK_SET: tell_stat(line, zxid, ask->path, in, ask->serial); break;
    case ASK_CREATE:
        jute_bytes(in);
        if (ask->with_stat) tell_stat(line, zxid, ask->path, in, ask->serial);
        break;
    case ASK_CREATE_NEXT: {
        struct slice made = jute_bytes(in);
        char name[TREE_NAME];
        if (in->is_bad || made.size >= sizeof name) return false;
        memcpy(name, made.data, made.size);
        name[made.size] = 0;
        int path = tree_history_path(history, name, ask->path);
        history->writes[ask->serial - 1].path = path;
        if (ask->with_stat) tell_stat(line, zxid, path, in, ask->serial);
        break;
    }
    case ASK_PAIR:
        for (int i = 0; i < 2; i++) {
            jute_int(in);
            jute_bool(in);
            jute_int(in);
            tell_stat(line, zxid, PAIR + i, in, ask->serial);
        }
        break;
    case ASK_PAIR_IN_VAIN: break;
    case ASK_PAIR_GET: heard_pair_get(line, zxid, in); break;
    case ASK_SYNC:
        if (zxid < ask->sent_zxid)
            keepers_fail(line->guest->keepers,
                         "guest %d: member %d had synced at %" PRIx64 ", but %" PRIx64
                         " had been seen before",
                         line->guest->index, line->member + 1, (uint64_t)zxid, (uint64_t)ask->sent_zxid);
        break;
    default: break;
    }
    return !in->is_bad;
}

static bool heard_refused(struct line *line, struct ask *ask, int64_t zxid, int32_t err)
{
    /* Of what is always there too: a member may be behind. */
    bool is_lookup = ask->kind == ASK_GET || ask->kind == ASK_EXISTS || ask->kind == ASK_LIST;
    bool may_be_absent = is_lookup || ask->kind == ASK_SET || ask->kind == ASK_DELETE;
    if (err == ZK_NO_NODE && may_be_absent) {
        tell(line, FACT_ABSENT, zxid, ask->path, 0);
        if (ask->kind == ASK_EXISTS && ask->watches) watch(line, LINE_WATCH_EXIST, ask->path, zxid);
        return true;
    }
    if (err == ZK_NODE_EXISTS && ask->kind == ASK_CREATE) {
        tell(line, FACT_THERE, zxid, ask->path, 0);
        return true;
    }
    if (err == ZK_BAD_VERSION && ask->kind == ASK_SET) {
        tell(line, FACT_NOT_VERSION, zxid, ask->path, ask->version);
        return true;
    }
    /* No quorum, in progress, bad arguments (it is so already). */
    if (ask->kind == ASK_RECONFIG) return err == -13 || err == -14 || err == -8;
    return err == ZK_SESSION_EXPIRED;
}

static void heard_close(struct line *line, int64_t zxid)
{
    struct guest *guest = line->guest;
    struct tree_session *session = &history_of(line)->sessions[guest->record];
    session->state = SESSION_CLOSED;
    session->closed_zxid = zxid;
    history_of(line)->counts.closed++;
    guest_session_over(guest);
}

static void note_answer(struct line *line, const struct ask *ask, int64_t zxid)
{
    struct guest *guest = line->guest;
    struct keepers *keepers = guest->keepers;
    struct tree_history *history = &keepers->history;
    if (zxid < line->zxid) {
        keepers_fail(keepers, "guest %d was led back from %" PRIx64 " to %" PRIx64 " by member %d",
                     guest->index, (uint64_t)line->zxid, (uint64_t)zxid, line->member + 1);
    }
    line->zxid = zxid;
    if (zxid > history->seen_zxid) history->seen_zxid = zxid;
    tree_history_note(
        history, line->record,
        (struct line_entry){.kind = LINE_ANSWER, .zxid = zxid, .is_rearming = ask->kind == ASK_SET_WATCHES});
    if (line != guest->now) return;
    if (zxid > guest->zxid) guest->zxid = zxid;
    struct tree_session *session = &history->sessions[guest->record];
    if (zxid > session->seen_zxid) session->seen_zxid = zxid;
    guest_is_alive(guest, ask->sent_ms);
    struct member *leader = keepers_leader(keepers);
    if (leader && leader->number == line->member + 1) guest->alive_leader_ms = ask->sent_ms;
    if (guest->wants_void_zxid) {
        guest->wants_void_zxid = false;
        guest->void_zxid = zxid;
        tree_history_void(history, line->record, guest->voids, guest->void_count, zxid);
        guest->void_count = 0;
    }
}

void guest_heard(struct line *line, struct slice frame)
{
    struct guest *guest = line->guest;
    struct keepers *keepers = guest->keepers;
    struct jute in = jute_of(frame);
    int32_t xid = jute_int(&in);
    int64_t zxid = jute_long(&in);
    int32_t err = jute_int(&in);
    if (xid == XID_EVENT && !in.is_bad) {
        heard_event(line, zxid, &in);
        return;
    }
    struct ask *ask = line->first;
    if (in.is_bad || !ask || ask->xid != xid) {
        keepers_fail(keepers, "guest %d waits for an answer to %d, member %d answered to %d", guest->index,
                     ask ? ask->xid : 0, line->member + 1, xid);
        return;
    }
    line->first = ask->next;
    if (!line->first) line->last = NULL;
    line->waiting--;
    note_answer(line, ask, zxid);
    bool is_done = err == 0 && ask->kind != ASK_PAIR_IN_VAIN;
    if (ask->serial)
        tree_history_answered(&keepers->history, ask->serial, zxid, is_done);
    else
        keepers->history.counts.reads++;
    bool is_good = err == 0 ? heard_done(line, ask, zxid, &in) : heard_refused(line, ask, zxid, err);
    if (!is_good) {
        keepers_fail(keepers, "guest %d: member %d answered %d to a question of kind %d about %s",
                     guest->index, line->member + 1, err, (int)ask->kind,
                     ask->path >= 0 ? keepers->history.paths[ask->path].name : "-");
    }
    bool is_closed = ask->kind == ASK_CLOSE && err == 0;
    free(ask);
    if (is_closed) heard_close(line, zxid);
}
