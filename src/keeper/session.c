/* session.c: sessions as this member sees them: opened, re-attached, touched, expired.
 *
 * A session is due a tick after its timeout, rounded up to whole ticks; all that are due in one tick hang in one bucket of a
 * ring. Touching moves a session only when its tick changes. If the whole process stood still (SIGSTOP, a suspended
 * machine) for longer than two ticks, nobody had a chance to ping, so everyone gets a full timeout again.
 *
 * A broker of ours says so when it connects. Its process closes its connection only by ending, or to come back at once: so its
 * session ends a moment after its connection did, where others keep ZooKeeper's rule. Only the timeout notices a machine that went
 * without a word, or a process that stands still.
 *
 * In an ensemble the leader alone ends sessions, and begins its office with everybody's full timeout: nobody told it who was heard
 * of lately. The others tell it each half tick whom they heard. A client that comes back is an entry (attach), wherever it comes: from
 * then on what it sent elsewhere does not count, and whoever had its connection closes that.
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
    if (live->is_closing || live->is_read_only) return;
    if (!office_leads(keeper)) {
        if (!list_empty(&live->touched)) return;
        list_push_back(&keeper->touched, &live->touched);
        if (!loop_timer_running(&keeper->touch_timer))
            loop_timer_start(keeper->loop, &keeper->touch_timer, keeper->config.tick_time_ms / 2);
        return;
    }
    int32_t timeout_ms = live->timeout_ms > 0 ? live->timeout_ms : 0; /* another member's word, or a file's */
    schedule(keeper, live, (loop_now_ms(keeper->loop) + timeout_ms) / keeper->config.tick_time_ms + 1);
}

static void expire(struct keeper *keeper, struct live *live, int64_t tick)
{
    if (live->is_closing) return;
    if (request_submit_own(keeper, OP_CLOSE_SESSION, live->id, SLICE_NULL) == OK) {
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
    live->id = session->id;
    live->timeout_ms = session->timeout_ms;
    list_init(&live->bucket);
    list_init(&live->touched);
    list_init(&live->lost);
    enum error err = map_put_number(&keeper->lives, (uint64_t)session->id, live);
    assert(err == OK);
    return live;
}

static void live_free(struct live *live)
{
    list_remove(&live->bucket);
    list_remove(&live->touched);
    list_remove(&live->lost);
    if (live->is_read_only) free(live->session);
    free(live);
}

/* Each session has its full timeout again. */
void session_adopt_all(struct keeper *keeper)
{
    LIST_EACH(&keeper->machine.session_list, item)
    {
        struct live *live = live_add(keeper, CONTAINER_OF(item, struct session, all));
        if (office_leads(keeper)) session_touch(keeper, live);
    }
}

static bool is_at_door_of(const struct session *session, int32_t member)
{
    return session->is_local_door && (uint64_t)session->id >> 56 == session_top_byte(member);
}

void session_end_old(struct keeper *keeper)
{
    const struct office *office = &keeper->office;
    LIST_EACH(&keeper->machine.session_list, item)
    {
        const struct session *session = CONTAINER_OF(item, struct session, all);
        struct live *live = map_get_number(&keeper->lives, (uint64_t)session->id);
        bool is_ours = office->id ? is_at_door_of(session, office->id) : session->is_local_door;
        if (!is_ours || (live->is_old && live->is_closing)) continue;
        if (!live->is_old) keeper->closes_left++;
        live->is_old = true;
        if (request_submit_own(keeper, OP_CLOSE_SESSION, live->id, SLICE_NULL) != OK)
            continue; /* tried again */
        live->is_closing = true;
        list_remove(&live->bucket);
    }
}

void session_take_office(struct keeper *keeper)
{
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&keeper->lives, &i));) {
        struct live *live = slot->value;
        list_remove(&live->touched);
        session_touch(keeper, live);
    }
    for (int32_t member = 1; member < MEMBER_IDS; member++) {
        bool is_gone = member != keeper->office.id && !keeper->office.is_linked[member];
        if (is_gone) session_member_linked(keeper, member, false);
    }
}

/* What we asked the log for may never be in it, and then it is another's to ask. */
void session_leave_office(struct keeper *keeper)
{
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&keeper->lives, &i));) {
        struct live *live = slot->value;
        live->is_closing = live->is_coming_back = false;
        live->due_tick = 0;
        list_remove(&live->bucket);
        list_remove(&live->lost);
    }
    loop_timer_stop(keeper->loop, &keeper->expiry);
    loop_timer_stop(keeper->loop, &keeper->lost_timer);
}

/* A read-only session goes with its connection. */
void session_detach(struct conn *conn)
{
    struct live *live = conn->live;
    if (!live) return;
    live->conn = NULL;
    conn->live = NULL;
    if (!live->is_read_only) return;
    map_remove_number(&conn->keeper->lives, (uint64_t)live->id);
    live_free(live);
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

static void lost_add(struct keeper *keeper, struct live *live)
{
    if (live->is_closing || !list_empty(&live->lost)) return;
    live->lost_ms = loop_now_ms(keeper->loop);
    list_push_back(&keeper->lost, &live->lost);
    if (!loop_timer_running(&keeper->lost_timer)) lost_plan(keeper);
}

void session_connection_lost(struct conn *conn)
{
    struct live *live = conn->live;
    struct keeper *keeper = conn->keeper;
    bool is_of_broker = live && conn->is_broker && !live->is_read_only && !live->is_closing;
    session_detach(conn);
    if (!is_of_broker || !keeper->is_serving) return;
    if (office_leads(keeper)) {
        lost_add(keeper, live);
    } else if (keeper->office.state == OFFICE_FOLLOWING) {
        forward_lost(keeper, live->id, conn->attachment);
    }
}

void session_lost_elsewhere(struct keeper *keeper, int64_t id, uint32_t attachment)
{
    struct live *live = map_get_number(&keeper->lives, (uint64_t)id);
    bool is_lost = live && live->session->attachment == attachment && !live->is_coming_back;
    if (is_lost) lost_add(keeper, live);
}

static bool password_matches(const struct session *session, struct slice password)
{
    if (password.size != PASSWORD_SIZE) return false;
    uint8_t difference = 0;
    for (size_t i = 0; i < PASSWORD_SIZE; i++)
        difference |= (uint8_t)(session->password[i] ^ password.data[i]);
    return difference == 0;
}

void session_coming_back(struct keeper *keeper, const struct entry *entry)
{
    struct live *live = map_get_number(&keeper->lives, (uint64_t)entry->session);
    if (!live || live->is_closing || entry->body.size != CREATE_SESSION_BODY_SIZE) return;
    if (!password_matches(live->session, (struct slice){entry->body.data + 4, PASSWORD_SIZE})) return;
    live->is_coming_back = true;
    list_remove(&live->lost);
}

/* Sessions at a member's local door end with its process; without a link we take it for gone, unless it is back in a moment. */
void session_member_linked(struct keeper *keeper, int32_t member, bool is_up)
{
    LIST_EACH(&keeper->machine.session_list, item)
    {
        const struct session *session = CONTAINER_OF(item, struct session, all);
        if (!is_at_door_of(session, member)) continue;
        struct live *live = map_get_number(&keeper->lives, (uint64_t)session->id);
        if (is_up) {
            list_remove(&live->lost);
        } else {
            lost_add(keeper, live);
        }
    }
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
    if (conn->had_read_only) out[24 + PASSWORD_SIZE] = conn->keeper->is_read_only;
    conn->sent++;
    conn->keeper->packets_sent++;
    conn->keeper->counts.response_bytes += 4 + (int64_t)size;
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
    connect_reply(conn, timeout_ms, live->id, live->session->password);
}

void session_created(struct keeper *keeper)
{
    struct live *live = live_add(keeper, machine_session(&keeper->machine, keeper->machine.outcome.session));
    if (office_leads(keeper))
        session_touch(keeper, live); /* should nobody be there any more, it expires by itself */
}

void session_attached(struct keeper *keeper)
{
    struct live *live = map_get_number(&keeper->lives, (uint64_t)keeper->machine.outcome.session);
    live->timeout_ms = live->session->timeout_ms;
    live->is_coming_back = false;
    list_remove(&live->lost);
    if (office_leads(keeper)) session_touch(keeper, live);
    struct conn *conn = live->conn;
    if (!conn) return;
    session_detach(conn);
    conn_close(conn); /* the session has moved, here or elsewhere */
}

static void refuse(struct conn *conn)
{
    static const uint8_t no_password[PASSWORD_SIZE];
    connect_reply(conn, 0, 0, no_password);
    conn_finish(conn);
}

void session_connected(struct conn *conn)
{
    struct keeper *keeper = conn->keeper;
    const struct machine_outcome *outcome = &keeper->machine.outcome;
    if (outcome->err != OK) {
        refuse(conn);
        return;
    }
    struct live *live = map_get_number(&keeper->lives, (uint64_t)outcome->session);
    if (keeper->office.id) conn->attachment = outcome->attachment;
    if (outcome->op == OP_CREATE_SESSION) { /* a request that was answered; coming back is none */
        conn->last_op = OP_CREATE_SESSION;
        conn->last_xid = 0;
        conn->last_zxid = outcome->zxid;
        conn->last_answer_ms = loop_now_ms(keeper->loop);
    }
    attach(conn, live, live->session->timeout_ms);
    conn_resume(conn);
}

void session_closed(struct keeper *keeper, int64_t id, struct conn *asked)
{
    struct live *live = map_remove_number(&keeper->lives, (uint64_t)id);
    if (live) {
        struct conn *conn = live->conn;
        bool was_old = live->is_old;
        if (conn) session_detach(conn);
        live_free(live);
        if (conn && conn != asked) conn_close(conn);
        if (was_old && --keeper->closes_left == 0 && office_takes_writes(keeper)) keeper_serve(keeper);
    }
    if (asked) conn_finish(asked);
}

void session_free_all(struct keeper *keeper)
{
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&keeper->lives, &i));) live_free(slot->value);
    map_free(&keeper->lives);
    keeper->closes_left = 0;
}

/* --- ConnectRequest --- */

/* A new session, or with an id the one that it had: through the log. False: not now. */
static bool ask_log(struct conn *conn, int32_t timeout_ms, int64_t id, const uint8_t *password)
{
    struct keeper *keeper = conn->keeper;
    uint8_t body[CREATE_SESSION_BODY_SIZE];
    put_be32(body, (uint32_t)timeout_ms);
    if (id) {
        memcpy(body + 4, password, PASSWORD_SIZE);
    } else {
        loop_random(keeper->loop, body + 4, PASSWORD_SIZE);
    }
    struct entry entry = {
        .flags = conn->local ? ENTRY_LOCAL_DOOR : 0,
        .op = id ? OP_ATTACH : OP_CREATE_SESSION,
        .time_ms = loop_wall_ms(keeper->loop),
        .session = id,
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

/* While there is no leader: a session that only this member knows, until the connection ends or there is a leader. */
static void open_read_only(struct conn *conn, int32_t timeout_ms)
{
    struct keeper *keeper = conn->keeper;
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        conn_close(conn);
        return;
    }
    do {
        loop_random(keeper->loop, &session->id, sizeof session->id);
        session->id = (int64_t)((uint64_t)session->id >> 8 | session_top_byte(keeper->office.id) << 56);
    } while (map_get_number(&keeper->lives, (uint64_t)session->id));
    session->timeout_ms = timeout_ms;
    loop_random(keeper->loop, session->password, PASSWORD_SIZE);
    struct live *live = live_add(keeper, session);
    live->is_read_only = true;
    attach(conn, live, timeout_ms);
}

/* Once for each connection, and not of the local door. */
static bool is_admitted(struct conn *conn, bool is_renewed)
{
    struct keeper *keeper = conn->keeper;
    if (keeper->throttle.most == 0 || !conn->stream || conn->is_admitted) return true;
    uint32_t drawn;
    loop_random(keeper->loop, &drawn, sizeof drawn);
    conn->is_admitted = throttle_admits(&keeper->throttle, loop_now_ms(keeper->loop), is_renewed,
                                        (double)drawn / ((double)UINT32_MAX + 1));
    return conn->is_admitted;
}

/* A client comes back to its session. False: not decided yet, the frame is to be tried again. */
static bool renew(struct conn *conn, int64_t id, int32_t timeout_ms, struct slice password)
{
    struct keeper *keeper = conn->keeper;
    keeper->counts.revalidations += !conn->is_revalidation_counted;
    conn->is_revalidation_counted = true;
    struct live *live = map_get_number(&keeper->lives, (uint64_t)id);
    if (live ? !password_matches(live->session, password) : password.size != PASSWORD_SIZE) {
        refuse(conn);
        return true;
    }
    /* What we do not know may be a new session of another member's. */
    if (!keeper->is_read_only && keeper->office.state != OFFICE_ALONE) {
        if (live) list_remove(&live->lost);
        return ask_log(conn, timeout_ms, id, password.data);
    }
    if (!live) {
        refuse(conn);
        return true;
    }
    if (keeper->is_read_only) {
        attach(conn, live, timeout_ms);
        return true;
    }
    /* It moves here: what its old connection asked and the log has happens before it is told anything; and that it is over it is told
     * once that is true for ever. */
    if (live->conn) conn_close(live->conn);
    /* A broker is back, however long the log takes until it may be told so. Should it go again before, its timeout ends it. */
    list_remove(&live->lost);
    if (conn->attach_after == 0) conn->attach_after = quorum_last_index(keeper->quorum);
    if (live->is_closing || quorum_applied_index(keeper->quorum) < conn->attach_after) return false;
    attach(conn, live, timeout_ms);
    return true;
}

void session_connect_frame(struct conn *conn, struct slice frame, bool *is_taken)
{
    struct keeper *keeper = conn->keeper;
    struct jute in = jute_of(frame);
    conn->is_broker = jute_int(&in) == KEEPER_BROKER_PROTOCOL; /* ZooKeeper never looks at it */
    int64_t seen_zxid = jute_long(&in);
    int32_t timeout_ms = jute_int(&in);
    int64_t id = jute_long(&in);
    struct slice password = jute_bytes(&in);
    conn->had_read_only = !in.is_bad && in.at < in.size;
    conn->wants_read_only = conn->had_read_only && jute_bool(&in);
    *is_taken = true;
    keeper->counts.connection_requests += !conn->is_counted;
    conn->is_counted = true;
    /* A client that has seen more than we have must not be led back in time. */
    if (in.is_bad || !keeper->is_serving || seen_zxid > keeper->machine.zxid ||
        (keeper->is_read_only && !conn->wants_read_only)) {
        conn_close(conn);
        return;
    }
    if (!is_admitted(conn, id != 0)) {
        keeper->rejected_count++;
        conn_close(conn);
        return;
    }
    if (!keeper->is_read_only && !office_takes_writes(keeper)) {
        *is_taken = false; /* there may be a leader in a moment */
        return;
    }
    int32_t min_ms = keeper_min_timeout_ms(keeper), max_ms = keeper_max_timeout_ms(keeper);
    if (timeout_ms > max_ms) timeout_ms = max_ms;
    if (timeout_ms < min_ms) timeout_ms = min_ms;
    if (id == 0 && keeper->is_read_only) {
        open_read_only(conn, timeout_ms);
        return;
    }
    if (id == 0) {
        *is_taken = ask_log(conn, timeout_ms, 0, NULL);
        return;
    }
    *is_taken = renew(conn, id, timeout_ms, password);
}
