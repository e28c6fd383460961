/* local.c: the local door: a connection without a socket. What is sent waits for the end of the turn and is then handled as
 * if it had come from a wire; what is answered is handed over, frame by frame, in the same way. */
#include <stdlib.h>

#include "keeper/inside.h"

enum { LOCAL_INPUT_MAX = 64 << 20 };

enum error keeper_local_connect(struct keeper *keeper, const struct keeper_local_events *events,
                                void *context, struct keeper_local **result)
{
    if (!keeper->is_serving || keeper->is_read_only) return ERR_CLOSED;
    struct keeper_local *local = calloc(1, sizeof *local);
    struct conn *conn = local ? conn_new(keeper) : NULL;
    if (!conn) {
        free(local);
        return ERR_NOMEM;
    }
    *local = (struct keeper_local){.keeper = keeper, .conn = conn, .events = *events, .context = context};
    conn->local = local;
    slice_text(SLICE("127.0.0.1"), conn->host, sizeof conn->host);
    if (auth_add(&conn->ids, SLICE("ip"), slice_of(conn->host))) conn->auth_count = 1;
    list_push_back(&keeper->locals, &local->all);
    *result = local;
    return OK;
}

enum error keeper_local_send(struct keeper_local *local, struct slice frame)
{
    if (!local->conn) return OK; /* on_closed is on its way, or was there */
    size_t waiting = local->in.size + local->conn->in_size;
    if (waiting > 0 && waiting + frame.size > LOCAL_INPUT_MAX) return ERR_AGAIN;
    size_t before = local->in.size;
    text_add_be32(&local->in, (uint32_t)frame.size);
    text_add(&local->in, frame);
    if (local->in.failed) {
        local->in.failed = false;
        local->in.size = before;
        return ERR_NOMEM;
    }
    keeper_turn_soon(local->keeper);
    return OK;
}

static void local_free(struct keeper_local *local)
{
    list_remove(&local->all);
    text_free(&local->in);
    bytes_release(&local->out);
    free(local);
}

void keeper_local_close(struct keeper_local **local)
{
    struct keeper_local *held = *local;
    *local = NULL;
    if (!held) return;
    held->is_dropped = true;
    if (held->conn) {
        held->conn->local = NULL;
        conn_close(held->conn);
        held->conn = NULL;
    }
    if (!held->is_delivering) local_free(held);
}

void local_take_input(struct keeper *keeper)
{
    LIST_EACH(&keeper->locals, item)
    {
        struct keeper_local *local = CONTAINER_OF(item, struct keeper_local, all);
        if (local->in.size == 0) continue;
        struct text in = local->in;
        local->in = (struct text){0};
        if (local->conn) conn_input(local->conn, (const uint8_t *)in.data, in.size);
        if (in.capacity > OUT_PAUSE_BYTES) {
            text_free(&in);
        } else {
            text_reset(&in);
            local->in = in;
        }
    }
}

/* Callbacks may close this or another local connection, or the keeper. */
static void deliver(struct keeper_local *local)
{
    struct keeper *keeper = local->keeper;
    local->is_delivering = true;
    struct bytes *out = local->out;
    local->out = NULL;
    for (size_t at = 0; out && at < out->size && !local->is_dropped && !keeper->is_closing;) {
        size_t size = get_be32(out->data + at);
        local->events.on_frame(local->context, (struct slice){out->data + at + 4, size});
        at += 4 + size;
    }
    bytes_release(&out);
    if (!local->is_dropped && !keeper->is_closing && local->wants_closed) {
        local->wants_closed = false;
        local->events.on_closed(local->context);
    }
    local->is_delivering = false;
    if (keeper->is_closing) return; /* its end frees us */
    if (local->is_dropped) {
        local_free(local);
    } else if (local->conn) {
        conn_resume(local->conn);
    }
}

void local_deliver(struct keeper *keeper)
{
    for (bool delivered = true; delivered && !keeper->is_closing;) {
        delivered = false;
        /* From the start again after each: the callback may have changed the list. */
        LIST_EACH(&keeper->locals, item)
        {
            struct keeper_local *local = CONTAINER_OF(item, struct keeper_local, all);
            if (!local->out && !local->wants_closed) continue;
            deliver(local);
            delivered = true;
            break;
        }
    }
}

void local_free_all(struct keeper *keeper)
{
    while (!list_empty(&keeper->locals))
        local_free(CONTAINER_OF(keeper->locals.next, struct keeper_local, all));
}
