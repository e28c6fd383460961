/* session.c: sessions as this member sees them: opened, re-attached, touched, expired.
 *
 * A session is due a tick after its timeout, rounded up to whole ticks; all that are due in one tick hang in one bucket of a
 * ring. Touching moves a session only when its tick changes. If the whole process stood still (SIGSTOP, a suspended
 * machine) for longer than two ticks, nobody had a chance to ping, so everyone gets a full timeout again.
 *
 * A broker of ours says so when it connects. Its process closes its connection only by ending, or to come back at once: so its
 * session ends a moment after its connection did, where others keep ZooKeeper's rule. Only the timeout notices a machine that went
 * without a word, or a process that stands still.
 * Source: facts/keeper.md 1.2, 2.1. */
#include <assert.h>
#include <stdlib.h>

#include "keeper/inside.h"
#include "keeper/jute.h"

int32_t keeper_min_timeout_ms(const struct keeper *keeper)
{
    const struct keeper_config *config = &keeper->config;
    return config->min_session_timeout_ms >= 0 ? config->min_session_timeout_ms : 2 * config->tick_time_ms;
}

int32_t keeper_max_timeout_ms(const struct keeper *keeper)
{
    const struct keeper_config *config = &keeper->config;
    return config->max_session_timeout_ms >= 0 ? config->max_session_timeout_ms : 20 * config->tick_time_ms;
}

/* --- expiry --- */

static void expiry_plan(struct keeper *keeper, int64_t at_ms)
{
    if (loop_timer_running(&keeper->expiry) && keeper->expiry_at_ms <= at_ms) return;
    keeper->expiry_at_ms = at_ms;
    loop_timer_start(keeper->loop, &keeper->expiry, at_ms - loop_now_ms(keeper->loop));
}

static void schedule(struct keeper *keeper, struct live *live, int64_t due_tick)
{
    if (due_tick == live->due_tick) return;
    live->due_tick = due_tick;
    list_remove(&live->bucket);
    list_push_back(&keeper->buckets[due_tick % BUCKETS], &live->bucket);
    expiry_plan(keeper, due_tick * keeper->config.tick_time_ms);
}

void session_touch(struct keeper *keeper, struct live *live)
{
    if (live->is_closing) return;
    schedule(keeper, live, (loop_now_ms(keeper->loop) + live->timeout_ms) / keeper->config.tick_time_ms + 1);
}

static void expire(struct keeper *keeper, struct live *live, int64_t tick)
{
    if (live->is_closing) return;
    if (request_submit_own(keeper, OP_CLOSE_SESSION, live->session->id, SLICE_NULL) == OK) {
        live->is_closing = true;
        list_remove(&live->bucket);
        keeper->expired_count++;
    } else if (!keeper->has_failed) {
        schedule(keeper, live, tick + 1); /* the log is full for the moment */
    }
}

void session_expiry(struct loop_timer *timer)
{
    struct keeper *keeper = CONTAINER_OF(timer, struct keeper, expiry);
    int64_t now_ms = loop_now_ms(keeper->loop), tick_ms = keeper->config.tick_time_ms;
    int64_t tick = now_ms / tick_ms;
    bool stood_still = now_ms > keeper->expiry_at_ms + 2 * tick_ms;
    for (int i = 0; i < BUCKETS; i++) {
        LIST_EACH(&keeper->buckets[i], item)
        {
            struct live *live = CONTAINER_OF(item, struct live, bucket);
            if (stood_still) {
                session_touch(keeper, live);
            } else if (live->due_tick <= tick) {
                expire(keeper, live, tick);
            }
        }
    }
    for (int64_t next = tick + 1; next <= tick + BUCKETS; next++) {
        if (list_empty(&keeper->buckets[next % BUCKETS])) continue;
        expiry_plan(keeper, next * tick_ms);
        break;
    }
}

/* --- coming and going --- */

static struct live *live_add(struct keeper *keeper, struct session *session)
{
    struct live *live = calloc(1, sizeof *live);
    assert(live); /* a session nobody watches over would never end */
    live->session = session;
    live->timeout_ms = session->timeout_ms;
    list_init(&live->bucket);
    list_init(&live->lost);
    enum error err = map_put_number(&keeper->lives, (uint64_t)session->id, live);
    assert(err == OK);
    return live;
}

/* After recovery: each session has its full timeout again, unless it was this process' own in its last life. */
enum error session_adopt(struct keeper *keeper, struct session *session)
{
    struct live *live = live_add(keeper, session);
    if (!session->is_local_door) {
        session_touch(keeper, live);
        return OK;
    }
    enum error err = request_submit_own(keeper, OP_CLOSE_SESSION, session->id, SLICE_NULL);
    if (err == OK) live->is_closing = true;
    return err;
}

void session_detach(struct conn *conn)
{
    if (!conn->live) return;
    conn->live->conn = NULL;
    conn->live = NULL;
}

static void lost_plan(struct keeper *keeper)
{
    if (list_empty(&keeper->lost)) {
        loop_timer_stop(keeper->loop, &keeper->lost_timer);
        return;
    }
    int64_t first_ms = CONTAINER_OF(keeper->lost.next, struct live, lost)->lost_ms;
    loop_timer_start(keeper->loop, &keeper->lost_timer,
                     first_ms + BROKER_GRACE_MS - loop_now_ms(keeper->loop));
}

void session_connection_lost(struct conn *conn)
{
    struct live *live = conn->live;
    struct keeper *keeper = conn->keeper;
    session_detach(conn);
    if (!live || !conn->is_broker || live->is_closing || !keeper->is_serving) return;
    live->lost_ms = loop_now_ms(keeper->loop);
    list_remove(&live->lost);
    list_push_back(&keeper->lost, &live->lost);
    if (!loop_timer_running(&keeper->lost_timer)) lost_plan(keeper);
}

void session_lost_expiry(struct loop_timer *timer)
{
    struct keeper *keeper = CONTAINER_OF(timer, struct keeper, lost_timer);
    int64_t now_ms = loop_now_ms(keeper->loop);
    LIST_EACH(&keeper->lost, item)
    {
        struct live *live = CONTAINER_OF(item, struct live, lost);
        if (live->lost_ms + BROKER_GRACE_MS > now_ms) break;
        list_remove(item);
        expire(keeper, live, now_ms / keeper->config.tick_time_ms);
    }
    lost_plan(keeper);
}

/* timeout 0, no id: this session is gone. */
static void connect_reply(struct conn *conn, int32_t timeout_ms, int64_t id,
                          const uint8_t password[PASSWORD_SIZE])
{
    size_t size = 4 + 4 + 8 + 4 + PASSWORD_SIZE + conn->had_read_only;
    uint8_t *out = conn_reserve(conn, 4 + size);
    if (!out) return;
    put_be32(out, (uint32_t)size);
    put_be32(out + 4, 0);
    put_be32(out + 8, (uint32_t)timeout_ms);
    put_be64(out + 12, (uint64_t)id);
    put_be32(out + 20, PASSWORD_SIZE);
    memcpy(out + 24, password, PASSWORD_SIZE);
    if (conn->had_read_only) out[24 + PASSWORD_SIZE] = 0;
    conn->sent++;
    conn->keeper->packets_sent++;
}

static void attach(struct conn *conn, struct live *live, int32_t timeout_ms)
{
    struct keeper *keeper = conn->keeper;
    if (live->conn) conn_close(live->conn); /* the session moved here */
    list_remove(&live->lost);
    live->conn = conn;
    live->timeout_ms = timeout_ms;
    conn->live = live;
    conn->state = CONN_OPEN;
    list_remove(&conn->timed);
    session_touch(keeper, live);
    connect_reply(conn, timeout_ms, live->session->id, live->session->password);
}

void session_created(struct keeper *keeper, struct conn *conn)
{
    struct session *session = machine_session(&keeper->machine, keeper->machine.outcome.session);
    struct live *live = live_add(keeper, session);
    if (!conn) {
        session_touch(keeper, live); /* whoever asked is gone: it expires by itself */
        return;
    }
    attach(conn, live, session->timeout_ms);
    conn_resume(conn);
}

void session_closed(struct keeper *keeper, int64_t id, struct conn *asked)
{
    struct live *live = map_remove_number(&keeper->lives, (uint64_t)id);
    if (live) {
        struct conn *conn = live->conn;
        list_remove(&live->bucket);
        list_remove(&live->lost);
        if (conn) session_detach(conn);
        free(live);
        if (conn && conn != asked) conn_close(conn);
    }
    if (asked) conn_finish(asked);
    if (keeper->closes_left > 0 && --keeper->closes_left == 0 && !keeper->is_serving) {
        keeper->is_serving = true;
        keeper->events.ready(keeper->context, OK);
    }
}

void session_free_all(struct keeper *keeper)
{
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&keeper->lives, &i));) free(slot->value);
    map_free(&keeper->lives);
}

/* --- ConnectRequest --- */

static bool password_matches(const struct session *session, struct slice password)
{
    if (password.size != PASSWORD_SIZE) return false;
    uint8_t difference = 0;
    for (size_t i = 0; i < PASSWORD_SIZE; i++)
        difference |= (uint8_t)(session->password[i] ^ password.data[i]);
    return difference == 0;
}

static bool open_session(struct conn *conn, int32_t timeout_ms)
{
    struct keeper *keeper = conn->keeper;
    uint8_t body[CREATE_SESSION_BODY_SIZE];
    put_be32(body, (uint32_t)timeout_ms);
    loop_random(keeper->loop, body + 4, PASSWORD_SIZE);
    struct entry entry = {
        .flags = conn->local ? ENTRY_LOCAL_DOOR : 0,
        .op = OP_CREATE_SESSION,
        .time_ms = loop_wall_ms(keeper->loop),
        .body = {body, sizeof body},
    };
    enum error err = request_submit(keeper, conn, REQUEST_CONNECT, 0, &entry);
    if (err == ERR_AGAIN) return false;
    if (err != OK) {
        conn_close(conn);
        return true;
    }
    conn->state = CONN_CONNECTING;
    list_remove(&conn->timed);
    return true;
}

void session_connect_frame(struct conn *conn, struct slice frame, bool *is_taken)
{
    static const uint8_t no_password[PASSWORD_SIZE];
    struct keeper *keeper = conn->keeper;
    struct jute in = jute_of(frame);
    conn->is_broker = jute_int(&in) == KEEPER_BROKER_PROTOCOL; /* ZooKeeper never looks at it */
    int64_t seen_zxid = jute_long(&in);
    int32_t timeout_ms = jute_int(&in);
    int64_t id = jute_long(&in);
    struct slice password = jute_bytes(&in);
    conn->had_read_only = !in.is_bad && in.at < in.size;
    *is_taken = true;
    /* A client that has seen more than we have must not be led back in time. */
    if (in.is_bad || !keeper->is_serving || seen_zxid > keeper->machine.zxid) {
        conn_close(conn);
        return;
    }
    int32_t min_ms = keeper_min_timeout_ms(keeper), max_ms = keeper_max_timeout_ms(keeper);
    if (timeout_ms > max_ms) timeout_ms = max_ms;
    if (timeout_ms < min_ms) timeout_ms = min_ms;
    if (id == 0) {
        *is_taken = open_session(conn, timeout_ms);
        return;
    }
    struct live *live = map_get_number(&keeper->lives, (uint64_t)id);
    if (!live || !password_matches(live->session, password)) {
        connect_reply(conn, 0, 0, no_password);
        conn_finish(conn);
        return;
    }
    /* It moves here: what its old connection asked and the log has happens before it is told anything; and that it is over it is told
     * once that is true for ever. */
    if (live->conn) conn_close(live->conn);
    if (conn->attach_after == 0) conn->attach_after = quorum_last_index(keeper->quorum);
    *is_taken = !live->is_closing && quorum_applied_index(keeper->quorum) >= conn->attach_after;
    if (*is_taken) attach(conn, live, timeout_ms);
}
