/* conn.c: bytes to frames and frames to bytes, for a socket or the local door; and the keeper's turn: what was answered
 * goes out at its end, what died is freed.
 *
 * An idle connection holds no buffer: bytes are read into the keeper's scratch, and only what is no whole frame yet, or may not
 * be looked at yet (its session is being made, its queue is full, it does not read its answers), is kept. */
#include <assert.h>
#include <stdlib.h>

#include "keeper/inside.h"
#include "loop/tls.h"
#include "security/sasl_digest.h"

enum { SCRATCH_SIZE = 64 << 10, OUT_FIRST_BYTES = 512 };

/* --- coming --- */

struct conn *conn_new(struct keeper *keeper)
{
    struct conn *conn = calloc(1, sizeof *conn);
    if (!conn) return NULL;
    conn->keeper = keeper;
    conn->state = CONN_FRESH;
    conn->last_op = OP_NEVER;
    conn->begun_ms = conn->timed_from_ms = loop_now_ms(keeper->loop);
    list_init(&conn->timed);
    list_init(&conn->dirty);
    list_init(&conn->stalled);
    watcher_init(&conn->watcher);
    list_push_back(&keeper->conns, &conn->all);
    keeper->conn_count++;
    return conn;
}

static void host_count(struct keeper *keeper, const char *host, int change)
{
    uintptr_t count = (uintptr_t)map_get(&keeper->by_host, slice_of(host)) + (uintptr_t)change;
    if (count == 0) {
        map_remove(&keeper->by_host, slice_of(host));
    } else if (map_put(&keeper->by_host, slice_of(host), (void *)count) != OK) {
        return; /* without memory the limit is not exact */
    }
}

static bool is_over_limit(const struct keeper *keeper, const char *host)
{
    const struct keeper_config *config = &keeper->config;
    if (config->max_cnxns > 0 && keeper->conn_count >= (size_t)config->max_cnxns) return true;
    uintptr_t count = (uintptr_t)map_get(&keeper->by_host, slice_of(host));
    return config->max_client_cnxns > 0 && count >= (uintptr_t)config->max_client_cnxns;
}

static void timeouts_plan(struct keeper *keeper)
{
    int64_t at_ms = INT64_MAX;
    if (!list_empty(&keeper->fresh)) {
        at_ms = CONTAINER_OF(keeper->fresh.next, struct conn, timed)->timed_from_ms +
                keeper->config.sessionless_ms;
    }
    if (!list_empty(&keeper->finishing)) {
        int64_t finish_ms =
            CONTAINER_OF(keeper->finishing.next, struct conn, timed)->timed_from_ms + LINGER_MS;
        if (finish_ms < at_ms) at_ms = finish_ms;
    }
    if (at_ms == INT64_MAX) {
        loop_timer_stop(keeper->loop, &keeper->timeouts);
    } else {
        loop_timer_start(keeper->loop, &keeper->timeouts, at_ms - loop_now_ms(keeper->loop));
    }
}

static void timed_add(struct keeper *keeper, struct list *list, struct conn *conn)
{
    conn->timed_from_ms = loop_now_ms(keeper->loop);
    list_remove(&conn->timed);
    list_push_back(list, &conn->timed);
    if (!loop_timer_running(&keeper->timeouts) || list == &keeper->finishing) timeouts_plan(keeper);
}

void keeper_timeouts(struct loop_timer *timer)
{
    struct keeper *keeper = CONTAINER_OF(timer, struct keeper, timeouts);
    int64_t now_ms = loop_now_ms(keeper->loop);
    LIST_EACH(&keeper->fresh, item)
    {
        struct conn *conn = CONTAINER_OF(item, struct conn, timed);
        if (conn->timed_from_ms + keeper->config.sessionless_ms > now_ms) break;
        keeper->counts.sessionless_expired++;
        conn_close(conn);
    }
    LIST_EACH(&keeper->finishing, item)
    {
        struct conn *conn = CONTAINER_OF(item, struct conn, timed);
        if (conn->timed_from_ms + LINGER_MS > now_ms) break;
        conn_close(conn);
    }
    timeouts_plan(keeper);
}

static void on_readable(void *context)
{
    struct conn *conn = context;
    struct keeper *keeper = conn->keeper;
    size_t got = 0;
    enum error err = stream_read(conn->stream, keeper->scratch, SCRATCH_SIZE, &got);
    if (err == ERR_AGAIN) return;
    if (err != OK) {
        conn_close(conn);
        return;
    }
    if (conn->state == CONN_FINISHING) return; /* nobody listens any more */
    conn_input(conn, keeper->scratch, got);
}

static void on_drained(void *context)
{
    conn_resume(context);
}

static void on_closed(void *context, enum error err)
{
    conn_close(context);
}

static const struct stream_events stream_callbacks = {on_readable, on_drained, on_closed};

void conn_accept(void *context, struct stream *stream)
{
    const struct door *door = context;
    struct keeper *keeper = door->keeper;
    struct address peer;
    stream_peer(stream, &peer);
    struct conn *conn = NULL;
    const struct tls_start start = {.admits_plain = door->admits_plain};
    /* A member of an ensemble always answers words. */
    bool is_open = keeper->is_serving || keeper->office.state != OFFICE_ALONE;
    /* A session of TLS is made only for who may stay. */
    if (is_open && !is_over_limit(keeper, peer.host) &&
        (!door->tls || stream_start_tls(stream, door->tls, &start) == OK))
        conn = conn_new(keeper);
    if (!conn) {
        keeper->rejected_count++;
        stream_close(&stream);
        return;
    }
    conn->stream = stream;
    conn->port = peer.port;
    memcpy(conn->host, peer.host, sizeof conn->host);
    host_count(keeper, conn->host, 1);
    if (auth_add(&conn->ids, SLICE("ip"), slice_of(conn->host))) conn->auth_count = 1;
    timed_add(keeper, &keeper->fresh, conn);
    stream_set_events(stream, &stream_callbacks, conn);
    stream_set_reading(stream, true);
}

/* --- input --- */

static void stall(struct conn *conn)
{
    if (list_empty(&conn->stalled)) list_push_back(&conn->keeper->stalled, &conn->stalled);
}

/* Handles whole frames; says how many bytes are done with. */
static size_t parse(struct conn *conn, const uint8_t *data, size_t size)
{
    struct keeper *keeper = conn->keeper;
    size_t at = 0;
    while (size - at >= 4 && (conn->state == CONN_FRESH || conn->state == CONN_OPEN)) {
        if (conn->state == CONN_FRESH && conn->stream) {
            enum words_found found = words_try(conn, data + at, size - at);
            if (found == WORDS_ANSWERED) return size;
            if (found == WORDS_MORE) break;
        }
        int32_t length = (int32_t)get_be32(data + at);
        if (length < 0 || length > keeper->config.jute_max_buffer) {
            keeper->counts.large_requests += length >= 0;
            conn_close(conn);
            return size;
        }
        if (size - at - 4 < (size_t)length) break;
        if (conn_unsent(conn) > OUT_PAUSE_BYTES ||
            !request_frame(conn, (struct slice){data + at + 4, (size_t)length})) {
            stall(conn);
            break;
        }
        at += 4 + (size_t)length;
    }
    if (conn->state == CONN_FINISHING || conn->state == CONN_DEAD) return size;
    if (conn->state == CONN_CONNECTING) stall(conn);
    return at;
}

static bool keep(struct conn *conn, const uint8_t *data, size_t size)
{
    size_t wanted = conn->in_size + size;
    if (wanted > conn->in_capacity) {
        size_t grown = wanted + wanted / 2;
        uint8_t *moved = realloc(conn->in, grown);
        if (!moved) return false;
        conn->in = moved;
        conn->in_capacity = grown;
    }
    if (size) memcpy(conn->in + conn->in_size, data, size);
    conn->in_size = wanted;
    return true;
}

static void parse_kept(struct conn *conn)
{
    size_t done = parse(conn, conn->in, conn->in_size);
    if (conn->state == CONN_DEAD || conn->state == CONN_FINISHING) return; /* freed with the connection */
    conn->in_size -= done;
    if (conn->in_size > 0) {
        memmove(conn->in, conn->in + done, conn->in_size);
    } else {
        free(conn->in);
        conn->in = NULL;
        conn->in_capacity = 0;
    }
}

static void reading_adjust(struct conn *conn)
{
    if (conn->state != CONN_DEAD && conn->stream)
        stream_set_reading(conn->stream, list_empty(&conn->stalled));
}

void conn_input(struct conn *conn, const uint8_t *data, size_t size)
{
    if (conn->state == CONN_FINISHING || conn->state == CONN_DEAD) return;
    if (conn->in_size == 0 && list_empty(&conn->stalled)) {
        size_t done = parse(conn, data, size);
        if (conn->state == CONN_DEAD) return;
        data += done;
        size -= done;
        if (size > 0 && !keep(conn, data, size)) {
            conn_close(conn);
            return;
        }
    } else {
        if (!keep(conn, data, size)) {
            conn_close(conn);
            return;
        }
        if (list_empty(&conn->stalled)) parse_kept(conn);
    }
    reading_adjust(conn);
}

void conn_resume(struct conn *conn)
{
    if (conn->state == CONN_DEAD || list_empty(&conn->stalled)) return;
    if (conn->state == CONN_CONNECTING) return;
    list_remove(&conn->stalled);
    parse_kept(conn);
    reading_adjust(conn);
}

/* --- output --- */

size_t conn_unsent(const struct conn *conn)
{
    size_t size = conn->out ? conn->out->size : 0;
    if (conn->stream) return size + stream_unsent_bytes(conn->stream);
    return size + (conn->local && conn->local->out ? conn->local->out->size : 0);
}

uint8_t *conn_reserve(struct conn *conn, size_t size)
{
    if (conn->state == CONN_DEAD || conn->is_cut) return NULL;
    struct bytes *out = conn->out;
    if (!out || out->capacity - out->size < size) {
        size_t used = out ? out->size : 0;
        size_t wanted = (used + size) * 2 > OUT_FIRST_BYTES ? (used + size) * 2 : OUT_FIRST_BYTES;
        if (used == 0 && size > OUT_FIRST_BYTES) wanted = size;
        struct bytes *grown = bytes_new(wanted);
        if (!grown) {
            conn_cut(conn);
            return NULL;
        }
        if (used) memcpy(grown->data, out->data, used);
        grown->size = used;
        bytes_release(&conn->out);
        conn->out = out = grown;
    }
    if (list_empty(&conn->dirty)) list_push_back(&conn->keeper->dirty, &conn->dirty);
    keeper_turn_soon(conn->keeper);
    uint8_t *at = out->data + out->size;
    out->size += size;
    return at;
}

void conn_reply(struct conn *conn, int32_t xid, int64_t zxid, int32_t code, struct slice body)
{
    enum { REPLY_HEADER_SIZE = 16 };
    if (code != 0) body.size = 0;
    uint8_t *out = conn_reserve(conn, 4 + REPLY_HEADER_SIZE + body.size);
    if (!out) return;
    put_be32(out, (uint32_t)(REPLY_HEADER_SIZE + body.size));
    put_be32(out + 4, (uint32_t)xid);
    put_be64(out + 8, (uint64_t)zxid);
    put_be32(out + 16, (uint32_t)code);
    if (body.size) memcpy(out + 20, body.data, body.size);
    conn->sent++;
    struct keeper *keeper = conn->keeper;
    keeper->packets_sent++;
    struct keeper_counts *counts = &keeper->counts;
    int64_t answer = (int64_t)(REPLY_HEADER_SIZE + body.size);
    counts->response_bytes += 4 + answer;
    counts->answer_last = answer;
    if (answer > counts->answer_greatest) counts->answer_greatest = answer;
    if (answer < counts->answer_least || counts->answer_least < 0) counts->answer_least = answer;
}

static void flush(struct conn *conn)
{
    if (conn->out && conn->stream) {
        struct bytes *out = conn->out;
        conn->out = NULL;
        if (stream_write(conn->stream, out, 0, out->size) != OK) {
            conn_close(conn);
            return;
        }
    } else if (conn->out && conn->local) {
        assert(!conn->local->out); /* the turn before delivered it */
        conn->local->out = conn->out;
        conn->out = NULL;
    }
    if (conn->state != CONN_FINISHING) return;
    if (!conn->stream) {
        conn_close(conn);
        return;
    }
    stream_finish(conn->stream);
    stream_set_reading(conn->stream, true);
    timed_add(conn->keeper, &conn->keeper->finishing, conn);
}

/* --- going --- */

void conn_cut(struct conn *conn)
{
    conn->is_cut = conn->keeper->has_cut = true;
    keeper_turn_soon(conn->keeper);
}

static void close_cut(struct keeper *keeper)
{
    if (!keeper->has_cut) return;
    keeper->has_cut = false;
    LIST_EACH(&keeper->conns, item)
    {
        struct conn *conn = CONTAINER_OF(item, struct conn, all);
        if (conn->is_cut) conn_close(conn);
    }
}

void conn_finish(struct conn *conn)
{
    if (conn->state == CONN_DEAD || conn->state == CONN_FINISHING) return;
    struct keeper *keeper = conn->keeper;
    request_drop_all(conn);
    session_detach(conn);
    watcher_free(&keeper->watches, &conn->watcher);
    list_remove(&conn->timed);
    list_remove(&conn->stalled);
    conn->state = CONN_FINISHING;
    conn->in_size = 0;
    if (list_empty(&conn->dirty)) list_push_back(&keeper->dirty, &conn->dirty);
    keeper_turn_soon(keeper);
}

void conn_close(struct conn *conn)
{
    if (conn->state == CONN_DEAD) return;
    struct keeper *keeper = conn->keeper;
    trim_consider(keeper, sizeof *conn + conn->in_capacity + conn_unsent(conn));
    request_drop_all(conn);
    session_connection_lost(conn);
    watcher_free(&keeper->watches, &conn->watcher);
    conn->state = CONN_DEAD;
    list_remove(&conn->timed);
    list_remove(&conn->dirty);
    list_remove(&conn->stalled);
    list_remove(&conn->all);
    list_push_back(&keeper->dead, &conn->all);
    keeper->conn_count--;
    if (conn->stream) {
        host_count(keeper, conn->host, -1);
        stream_close(&conn->stream);
    }
    if (conn->local) {
        conn->local->conn = NULL;
        conn->local->wants_closed = true;
        conn->local = NULL;
    }
    keeper_turn_soon(keeper);
}

void keeper_free_dead(struct keeper *keeper)
{
    while (!list_empty(&keeper->dead)) {
        struct conn *conn = CONTAINER_OF(keeper->dead.next, struct conn, all);
        list_remove(&conn->all);
        assert(!conn->first && !conn->live && conn->watcher.count == 0);
        bytes_release(&conn->out);
        text_free(&conn->ids);
        sasl_digest_free(&conn->sasl);
        free(conn->in);
        free(conn);
    }
}

void keeper_turn_soon(struct keeper *keeper)
{
    if (keeper->is_turn_deferred) return;
    keeper->is_turn_deferred = true;
    loop_defer(keeper->loop, &keeper->turn);
}

void keeper_turn(struct loop_message *message)
{
    struct keeper *keeper = CONTAINER_OF(message, struct keeper, turn);
    keeper->is_turn_deferred = false;
    audit_flush(keeper);
    if (keeper->is_closing) {
        keeper_end(keeper);
        return;
    }
    local_take_input(keeper);
    close_cut(keeper);
    while (!list_empty(&keeper->dirty)) {
        struct conn *conn = CONTAINER_OF(keeper->dirty.next, struct conn, dirty);
        list_remove(&conn->dirty);
        flush(conn);
    }
    local_deliver(keeper);
    if (!keeper->is_closing) keeper_free_dead(keeper);
}
