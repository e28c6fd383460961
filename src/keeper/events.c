/* events.c: watches that requests set, and the events that changes send. Source: facts/keeper.md 1.9, 2.5. */
#include "keeper/inside.h"
#include "keeper/jute.h"
#include "keeper/path.h"

enum { STATE_SYNC_CONNECTED = 3, XID_EVENT = -1 };

static void send_event(struct conn *conn, enum event_type type, int64_t zxid, struct slice path)
{
    enum { EVENT_HEADER_SIZE = 16 };
    if (conn_unsent(conn) > OUT_CUT_BYTES) {
        conn_cut(conn); /* it does not read what it asked to hear */
        return;
    }
    size_t size = EVENT_HEADER_SIZE + 4 + 4 + 4 + path.size;
    uint8_t *out = conn_reserve(conn, 4 + size);
    if (!out) return;
    put_be32(out, (uint32_t)size);
    put_be32(out + 4, (uint32_t)XID_EVENT);
    put_be64(out + 8, (uint64_t)zxid);
    put_be32(out + 16, 0);
    put_be32(out + 20, (uint32_t)type);
    put_be32(out + 24, STATE_SYNC_CONNECTED);
    put_be32(out + 28, (uint32_t)path.size);
    if (path.size) memcpy(out + 32, path.data, path.size);
    conn->sent++;
    conn->keeper->packets_sent++;
    conn->keeper->counts.watch_bytes += 4 + (int64_t)size;
}

/* --- what changed --- */

struct firing {
    struct keeper *keeper;
    const struct machine_event *event;
    int told[EVENT_CHILDREN_CHANGED + 1]; /* by type */
};

/* Who may not read a znode (any more) does not hear of it, though its watch is spent (CVE-2024-23944). */
static void fired(void *context, struct watcher *watcher, enum event_type type, struct slice path,
                  bool is_of_parent)
{
    struct firing *firing = context;
    struct keeper *keeper = firing->keeper;
    struct conn *conn = CONTAINER_OF(watcher, struct conn, watcher);
    struct auth_ids ids = {text_slice(&conn->ids)};
    firing->told[type]++;
    uint32_t acl = is_of_parent ? firing->event->parent_acl : firing->event->acl;
    if (!keeper->config.skip_acl && !machine_may_read(&keeper->machine, acl, &ids)) return;
    send_event(conn, type, keeper->machine.outcome.zxid, path);
}

void events_fire(struct keeper *keeper)
{
    const struct machine_outcome *outcome = &keeper->machine.outcome;
    for (size_t i = 0; i < outcome->event_count; i++) {
        struct firing firing = {.keeper = keeper, .event = &outcome->events[i]};
        struct watch_firing fire = {
            .type = firing.event->type,
            .path = machine_event_path(outcome, firing.event),
            .fired = fired,
            .context = &firing,
        };
        watch_fire(&keeper->watches, &fire);
        for (int type = EVENT_CREATED; type <= EVENT_CHILDREN_CHANGED; type++) {
            if (firing.told[type] > 0) summary_record(&keeper->counts.told[type], firing.told[type]);
        }
    }
    machine_forget_events(&keeper->machine);
}

/* --- watches set by requests --- */

static void arm(struct conn *conn, struct slice path, int modes)
{
    if (watch_add(&conn->keeper->watches, &conn->watcher, path, modes) != OK) conn_cut(conn);
}

void events_watch_read(void *context, enum read_watch kind, struct slice path)
{
    arm(context, path, kind == READ_WATCH_DATA ? WATCH_DATA : WATCH_CHILD);
}

enum set_kind { SET_DATA, SET_EXIST, SET_CHILD, SET_PERSISTENT, SET_RECURSIVE, SET_KINDS };

/* A client is back: what it missed since `seen_zxid` it hears now, the rest is watched again. */
static void set_one(struct conn *conn, enum set_kind kind, struct slice path, int64_t seen_zxid)
{
    enum { NO_ZXID = -1 };
    const struct znode *node = tree_find(&conn->keeper->machine.tree, path);
    switch (kind) {
    case SET_DATA:
        if (!node) {
            send_event(conn, EVENT_DELETED, NO_ZXID, path);
        } else if (znode_kept(&conn->keeper->machine.tree, node).mzxid > seen_zxid) {
            send_event(conn, EVENT_DATA_CHANGED, NO_ZXID, path);
        } else {
            arm(conn, path, WATCH_DATA);
        }
        break;
    case SET_EXIST:
        if (node) {
            send_event(conn, EVENT_CREATED, NO_ZXID, path);
        } else {
            arm(conn, path, WATCH_DATA);
        }
        break;
    case SET_CHILD:
        if (!node) {
            send_event(conn, EVENT_DELETED, NO_ZXID, path);
        } else if (znode_kept(&conn->keeper->machine.tree, node).pzxid > seen_zxid) {
            send_event(conn, EVENT_CHILDREN_CHANGED, NO_ZXID, path);
        } else {
            arm(conn, path, WATCH_CHILD);
        }
        break;
    case SET_PERSISTENT: arm(conn, path, WATCH_PERSISTENT); break;
    default: arm(conn, path, WATCH_RECURSIVE); break;
    }
}

enum error events_set_watches(struct conn *conn, struct slice body, bool has_persistent)
{
    int kinds = has_persistent ? SET_KINDS : SET_PERSISTENT;
    for (bool is_checked = false;; is_checked = true) {
        struct jute in = jute_of(body);
        int64_t seen_zxid = jute_long(&in);
        for (int kind = 0; kind < kinds; kind++) {
            int32_t count = jute_count(&in, 4);
            for (int32_t i = 0; i < count && !in.is_bad; i++) {
                struct slice path = jute_bytes(&in);
                if (!path.data) in.is_bad = true;
                if (is_checked) set_one(conn, (enum set_kind)kind, path, seen_zxid);
            }
        }
        if (in.is_bad) return ERR_ZK_MARSHALLING;
        if (is_checked) return OK;
    }
}

enum error events_add_watch(struct conn *conn, struct slice body, struct text *out)
{
    struct jute in = jute_of(body);
    struct slice path = jute_bytes(&in);
    int32_t mode = jute_int(&in);
    if (in.is_bad || mode < 0 || mode > 1) return ERR_ZK_MARSHALLING;
    if (path.data) arm(conn, path, mode == 0 ? WATCH_PERSISTENT : WATCH_RECURSIVE);
    text_add_be32(out, 0);
    return OK;
}

enum error events_check_watches(struct conn *conn, struct slice body, bool removes)
{
    static const int modes_of_type[] = {0,         WATCH_CHILD,      WATCH_DATA,
                                        WATCH_ANY, WATCH_PERSISTENT, WATCH_RECURSIVE};
    struct jute in = jute_of(body);
    struct slice path = jute_bytes(&in);
    int32_t type = jute_int(&in);
    if (in.is_bad || !path.data || type < 1 || type > 5) return ERR_ZK_MARSHALLING;
    struct watch_table *table = &conn->keeper->watches;
    if (!(watch_modes(table, &conn->watcher, path) & modes_of_type[type])) return ERR_ZK_NO_WATCHER;
    if (removes) watch_remove(table, &conn->watcher, path, modes_of_type[type]);
    return OK;
}
