#include "keeper/status.h"

#include <stdlib.h>

const char *status_mode(const struct keeper *keeper)
{
    return office_mode(keeper);
}

void status_dir_bytes(const struct keeper *keeper, int64_t *data, int64_t *log)
{
    *data = *log = 0;
    if (quorum_disk_bytes(keeper->quorum, data, log) != OK) *data = *log = 0;
}

/* --- what expires --- */

static int by_due(const void *a, const void *b)
{
    int64_t left = ((const struct status_due *)a)->due_ms, right = ((const struct status_due *)b)->due_ms;
    return (left > right) - (left < right);
}

struct status_due *status_sessions(struct keeper *keeper, size_t *count)
{
    *count = 0;
    struct status_due *due = calloc(keeper->lives.count + 1, sizeof *due);
    if (!due) return NULL;
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&keeper->lives, &i));) {
        const struct live *live = slot->value;
        if (live->is_closing) continue;
        due[(*count)++] =
            (struct status_due){live->due_tick * keeper->config.tick_time_ms, live->session, live->conn};
    }
    qsort(due, *count, sizeof *due, by_due);
    return due;
}

struct status_due *status_conns(struct keeper *keeper, size_t *count)
{
    *count = 0;
    struct status_due *due = calloc(keeper->conn_count + 1, sizeof *due);
    if (!due) return NULL;
    LIST_EACH(&keeper->conns, item)
    {
        const struct conn *conn = CONTAINER_OF(item, struct conn, all);
        int64_t due_ms = conn->timed_from_ms +
                         (conn->state == CONN_FINISHING ? LINGER_MS : conn->keeper->config.sessionless_ms);
        if (conn->live) due_ms = conn->live->due_tick * keeper->config.tick_time_ms;
        due[(*count)++] = (struct status_due){due_ms, conn->live ? conn->live->session : NULL, conn};
    }
    qsort(due, *count, sizeof *due, by_due);
    return due;
}

size_t status_same_due(const struct status_due *due, size_t count, size_t at)
{
    size_t same = 1;
    while (at + same < count && due[at + same].due_ms == due[at].due_ms) same++;
    return same;
}

/* --- connections --- */

void status_watches(const struct keeper *keeper, int64_t *connections, int64_t *paths)
{
    *connections = *paths = 0;
    struct slice path;
    int modes;
    LIST_EACH(&keeper->conns, item)
    *connections += CONTAINER_OF(item, struct conn, all)->watcher.is_in_data;
    struct watch_path *known;
    for (size_t at = 0; (known = watch_next_path(&keeper->watches, &at, &path));) {
        for (struct list *position = NULL; watch_next_watcher(known, &position, &modes);) {
            if (!(modes & WATCH_IN_DATA)) continue;
            *paths += 1;
            break;
        }
    }
}

void status_ports(const struct keeper *keeper, int *plain, int *secure)
{
    *plain = *secure = -1;
    for (size_t i = 0; i < keeper->door_count; i++) {
        const struct door *door = &keeper->doors[i];
        int *port = door->tls && !door->admits_plain ? secure : plain;
        if (*port < 0) *port = listener_port(door->listener);
    }
}

bool status_names_ephemerals(const struct session *session)
{
    return session->had_ephemerals || session->ephemerals.count > 0;
}

int64_t status_session_id(const struct conn *conn)
{
    return conn->live ? conn->live->session->id : 0;
}

int status_interest(const struct conn *conn)
{
    bool is_word = conn->state == CONN_FINISHING || (conn->state == CONN_FRESH && conn->received > 0);
    return list_empty(&conn->stalled) && !is_word ? 1 : 0;
}

const char *status_op_name(int32_t op)
{
    switch (op) {
    case OP_CREATE_SESSION: return "SESS";
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL: return "CREA";
    case OP_DELETE:
    case OP_DELETE_CONTAINER: return "DELE";
    case OP_EXISTS: return "EXIS";
    case OP_GET_DATA: return "GETD";
    case OP_SET_DATA: return "SETD";
    case OP_GET_ACL: return "GETA";
    case OP_SET_ACL: return "SETA";
    case OP_GET_CHILDREN:
    case OP_GET_CHILDREN2: return "GETC";
    case OP_GET_ALL_CHILDREN_NUMBER: return "GETACN";
    case OP_GET_EPHEMERALS: return "GETE";
    case OP_SYNC: return "SYNC";
    case OP_PING: return "PING";
    case OP_CHECK: return "CHEC";
    case OP_MULTI: return "MULT";
    case OP_MULTI_READ: return "MLTR";
    case OP_RECONFIG: return "RECO";
    case OP_CLOSE_SESSION: return "CLOS";
    case OP_SET_WATCHES: return "SETW";
    case OP_SET_WATCHES2: return "STW2";
    case OP_ADD_WATCH: return "ADDW";
    case OP_CHECK_WATCHES: return "CHKW";
    case OP_REMOVE_WATCHES: return "REMW";
    case OP_WHO_AM_I: return "HOMI";
    default: return "NA";
    }
}
