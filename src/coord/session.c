/* session.c: one session that outlives its connections.
 *
 *     RESTING --due--> OPENING --opened--> GREETING --granted--> ATTACHED
 *        ^                |                   |  `--refused: expired--> a new session, at once
 *        `----------------+---- closed -------+------------------------'
 *
 * Pure: the door's calls and time come in, messages go out. Pings keep the session while nothing else is said: one after a
 * third of the timeout without sending; a connection silent for two thirds of it is given up (as Java's client does).
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "coord/session.h"
#include "keeper/keeper.h"

enum {
    DEFAULT_SESSION_TIMEOUT_MS = 18000,
    DEFAULT_CONNECT_TIMEOUT_MS = 6000,
    MAX_REST_MS = 1000,
    FIRST_REST_MS = 20
};

static int64_t now_of(const struct coord *coord)
{
    return coord->door.now_ms(coord->door_context);
}

static void tell_state(struct coord *coord, enum coord_state state)
{
    for (struct coord_listener *listener = coord->listeners, *next; listener; listener = next) {
        next = listener->next;
        listener->on_state(listener->context, state);
    }
}

static void set_wake(struct coord *coord)
{
    int64_t due = INT64_MAX;
    switch (coord->phase) {
    case PHASE_RESTING: due = coord->retry_ms; break;
    case PHASE_OPENING:
    case PHASE_GREETING:
    case PHASE_FINISHING: due = coord->deadline_ms; break;
    case PHASE_ATTACHED: {
        int64_t ping_ms = coord->sent_ms + coord->timeout_ms / 3;
        int64_t silence_ms = coord->heard_ms + (int64_t)coord->timeout_ms * 2 / 3;
        due = ping_ms < silence_ms ? ping_ms : silence_ms;
        break;
    }
    case PHASE_FINISHED: return;
    }
    coord->door.wake_at(coord->door_context, due);
}

static bool send_text(struct coord *coord, struct text *message)
{
    struct bytes *bytes = message->failed ? NULL : bytes_copy(message->data, message->size);
    text_free(message);
    if (!bytes) return false;
    coord->sent_ms = now_of(coord);
    coord->door.send(coord->door_context, bytes);
    return true;
}

static bool send_header(struct coord *coord, int32_t xid, int32_t type)
{
    struct text message = {0};
    text_add_be32(&message, (uint32_t)xid);
    text_add_be32(&message, (uint32_t)type);
    return send_text(coord, &message);
}

/* --- losing a connection, losing a session --- */

/* What was in flight goes back to the front of its queue, in order. */
static void take_back(struct coord *coord)
{
    while (!list_empty(&coord->in_flight)) {
        struct request *last = CONTAINER_OF(coord->in_flight.prev, struct request, link);
        list_remove(&last->link);
        list_push_front(last->is_internal ? &coord->urgent : &coord->waiting, &last->link);
    }
    coord->in_flight_count = 0;
}

static void rest(struct coord *coord, int64_t at_least_ms)
{
    int64_t rest_ms = FIRST_REST_MS;
    for (int32_t i = 1; i < coord->failures && rest_ms < MAX_REST_MS; i++) rest_ms *= 2;
    if (rest_ms > MAX_REST_MS) rest_ms = MAX_REST_MS;
    uint16_t jitter;
    coord->door.random(coord->door_context, &jitter, sizeof jitter);
    rest_ms = coord->failures == 0 ? 0 : rest_ms / 2 + jitter % (rest_ms / 2 + 1);
    coord->phase = PHASE_RESTING;
    coord->retry_ms = now_of(coord) + (rest_ms > at_least_ms ? rest_ms : at_least_ms);
}

static void finished(struct coord *coord)
{
    coord->phase = PHASE_FINISHED;
    coord->door.close(coord->door_context);
    void (*done)(void *) = coord->finish_done;
    coord->finish_done = NULL;
    if (done) done(coord->finish_context);
}

/* The connection is gone, or not worth keeping: try another. */
static void lose_connection(struct coord *coord, enum error err)
{
    if (coord->phase == PHASE_FINISHED || coord->phase == PHASE_RESTING) return;
    if (coord->phase == PHASE_FINISHING) {
        finished(coord);
        return;
    }
    bool was_attached = coord->phase == PHASE_ATTACHED;
    int64_t now_ms = now_of(coord), alone_ms = now_ms - coord->alone_since_ms;
    if (was_attached) coord->alone_since_ms = now_ms;
    if (!was_attached && alone_ms >= coord->wanted_timeout_ms && !coord->has_said_alone) {
        coord->has_said_alone = true;
        diag_warn("no keeper has answered for %lld s (%s): what has a leader goes on, but nothing is "
                  "elected, created or "
                  "changed until one does",
                  (long long)(alone_ms / 1000), error_text(err));
    }
    if (was_attached)
        diag_info("connection to the keeper lost: %s", error_text(err));
    else if (coord->failures == 0)
        diag_info("could not connect to the keeper, trying on: %s", error_text(err));
    coord->door.close(coord->door_context);
    coord->failures++;
    take_back(coord);
    rest(coord, coord->is_refused ? MAX_REST_MS : 0);
    set_wake(coord);
    if (was_attached) tell_state(coord, COORD_DISCONNECTED);
}

static void begin_new_session(struct coord *coord)
{
    coord->is_ending_old = false;
    coord->id = 0;
    memset(coord->password, 0, sizeof coord->password);
    coord->last_zxid = 0;
    coord->failures = 0;
    coord->door.close(coord->door_context);
    rest(coord, 0);
    set_wake(coord);
}

static void fail_all(struct coord *coord, enum error err)
{
    /* Only what was asked so far: a callback may ask again, and that waits for the next session. */
    struct list failing;
    list_init(&failing);
    struct list *queues[] = {&coord->in_flight, &coord->urgent, &coord->waiting};
    for (int i = 0; i < 3; i++) {
        while (!list_empty(queues[i])) {
            struct list *first = queues[i]->next;
            list_remove(first);
            list_push_back(&failing, first);
        }
    }
    coord->in_flight_count = 0;
    while (!list_empty(&failing)) request_fail(coord, CONTAINER_OF(failing.next, struct request, link), err);
}

static void expire(struct coord *coord)
{
    diag_warn("the keeper has ended our session 0x%llx; beginning another", (unsigned long long)coord->id);
    take_back(coord);
    watch_forget(coord);
    begin_new_session(coord);
    fail_all(coord, ERR_ZK_SESSION_EXPIRED);
    tell_state(coord, COORD_EXPIRED);
}

/* --- chroot: created where it is missing, and only then, for we may not be allowed to (KAFKA-12866) --- */

static void chroot_created(void *context, const struct coord_reply *reply)
{
    struct coord *coord = context;
    if (reply->err == OK || reply->err == ERR_ZK_NODE_EXISTS)
        coord->has_chroot = true;
    else if (reply->err != ERR_ZK_SESSION_EXPIRED)
        diag_error("could not create the chroot \"%s\": %s", coord->chroot, error_text(reply->err));
}

static void chroot_asked(void *context, const struct coord_reply *reply)
{
    struct coord *coord = context;
    if (reply->err == OK) {
        coord->has_chroot = true;
        return;
    }
    if (reply->err != ERR_ZK_NO_NODE) {
        if (reply->err != ERR_ZK_SESSION_EXPIRED)
            diag_error("could not look for the chroot \"%s\": %s", coord->chroot, error_text(reply->err));
        return;
    }
    for (size_t i = 1; i <= coord->chroot_size; i++) {
        if (i < coord->chroot_size && coord->chroot[i] != '/') continue;
        bool is_last = i == coord->chroot_size;
        struct slice path = {(const uint8_t *)coord->chroot, i};
        if (!request_internal(coord, JUTE_CREATE, path, is_last ? chroot_created : NULL, coord))
            lose_connection(coord, ERR_NOMEM);
    }
}

/* --- sending --- */

static bool send_request(struct coord *coord, struct request *request)
{
    coord->last_xid = coord->last_xid == INT32_MAX ? 1 : coord->last_xid + 1;
    request->xid = coord->last_xid;
    request->is_watching = watch_is_wanted(coord, request);
    if (request->path.data) request->body[request->size - 1] = request->is_watching;

    struct bytes *message = bytes_new(8 + request->size);
    if (!message) return false;
    put_be32(message->data, (uint32_t)request->xid);
    put_be32(message->data + 4, (uint32_t)request->op);
    memcpy(message->data + 8, request->body, request->size);
    message->size = 8 + request->size;

    list_remove(&request->link);
    list_push_back(&coord->in_flight, &request->link);
    coord->in_flight_count++;
    coord->sent_ms = now_of(coord);
    coord->door.send(coord->door_context, message);
    return true;
}

void session_pump(struct coord *coord)
{
    while (coord->phase == PHASE_ATTACHED && coord->in_flight_count < (size_t)coord->max_in_flight) {
        struct list *queue = !list_empty(&coord->urgent) ? &coord->urgent
                             : coord->has_chroot         ? &coord->waiting
                                                         : NULL;
        if (!queue || list_empty(queue)) break;
        if (!send_request(coord, CONTAINER_OF(queue->next, struct request, link))) {
            lose_connection(coord, ERR_NOMEM);
            return;
        }
    }
}

static void greet(struct coord *coord)
{
    struct text message = {0};
    /* The protocol version, which ZooKeeper does not look at; a keeper of ours does. */
    text_add_be32(&message, KEEPER_BROKER_PROTOCOL);
    text_add_be64(&message, (uint64_t)coord->last_zxid);
    text_add_be32(&message, (uint32_t)coord->wanted_timeout_ms);
    text_add_be64(&message, (uint64_t)coord->id);
    jute_add_bytes(&message, (struct slice){coord->password, sizeof coord->password});
    text_addc(&message, 0); /* not read-only */
    if (!send_text(coord, &message)) lose_connection(coord, ERR_NOMEM);
}

/* --- receiving --- */

static void attached(struct coord *coord, bool is_new)
{
    if (coord->has_said_alone)
        diag_warn("a keeper answers again, after %lld s",
                  (long long)((now_of(coord) - coord->alone_since_ms) / 1000));
    coord->has_said_alone = false;
    coord->phase = PHASE_ATTACHED;
    coord->failures = 0;
    coord->is_refused = false;
    if (is_new) {
        diag_debug("session 0x%llx begun, timeout %d ms", (unsigned long long)coord->id, coord->timeout_ms);
        if (coord->door.remember) coord->door.remember(coord->door_context, coord->id, coord->password);
    } else if (watch_restore(coord) != OK) {
        lose_connection(coord, ERR_NOMEM);
        return;
    }
    if (!coord->has_chroot && list_empty(&coord->urgent) &&
        !request_internal(coord, JUTE_EXISTS, slice_of(coord->chroot), chroot_asked, coord)) {
        lose_connection(coord, ERR_NOMEM);
        return;
    }
    if (is_new) tell_state(coord, COORD_NEW_SESSION);
    tell_state(coord, COORD_CONNECTED);
    session_pump(coord);
    set_wake(coord);
}

static void greeted(struct coord *coord, struct jute *in)
{
    jute_int(in); /* protocol version */
    int32_t timeout_ms = jute_int(in);
    int64_t id = jute_long(in);
    struct slice password = jute_bytes(in);
    if (in->is_bad || (timeout_ms > 0 && (id == 0 || password.size != sizeof coord->password))) {
        lose_connection(coord, ERR_CORRUPT);
        return;
    }
    if (coord->is_ending_old) {
        if (timeout_ms > 0 && send_header(coord, 1, JUTE_CLOSE))
            return; /* its answer, or the end, is awaited */
        begin_new_session(coord);
        return;
    }
    if (timeout_ms <= 0) {
        if (coord->id == 0)
            lose_connection(coord, ERR_REFUSED);
        else
            expire(coord);
        return;
    }
    bool is_new = coord->id == 0;
    coord->id = id;
    coord->timeout_ms = timeout_ms;
    memcpy(coord->password, password.data, sizeof coord->password);
    attached(coord, is_new);
}

static void answered(struct coord *coord, int32_t xid, int64_t zxid, int32_t code, struct jute *in)
{
    if (zxid > coord->last_zxid) coord->last_zxid = zxid;
    enum error err = code == 0 ? OK : error_from_zk(code);
    if (err == ERR_ZK_SESSION_CLOSED_REQUIRE_SASL || err == ERR_ZK_AUTH_FAILED) {
        diag_error("the keeper refuses our session: %s", error_text(err));
        coord->is_refused = true;
        tell_state(coord, COORD_AUTH_FAILED);
        lose_connection(coord, err);
        return;
    }
    if (err == ERR_ZK_SESSION_EXPIRED || err == ERR_ZK_SESSION_MOVED) {
        lose_connection(coord, err); /* reconnecting tells what became of it */
        return;
    }
    struct request *first =
        list_empty(&coord->in_flight) ? NULL : CONTAINER_OF(coord->in_flight.next, struct request, link);
    if (!first || first->xid != xid) {
        diag_warn("the keeper answered request %d, which is not the one we wait for", xid);
        lose_connection(coord, ERR_CORRUPT);
        return;
    }
    coord->in_flight_count--;
    if (!request_take_answer(coord, first, zxid, code, in)) {
        coord->in_flight_count++;
        diag_warn("the keeper's answer to a request of type %d is malformed", first->op);
        lose_connection(coord, ERR_CORRUPT);
        return;
    }
    session_pump(coord);
}

static void event(struct coord *coord, struct jute *in)
{
    int32_t type = jute_int(in);
    jute_int(in); /* state */
    struct slice path = jute_bytes(in);
    if (in->is_bad) {
        lose_connection(coord, ERR_CORRUPT);
        return;
    }
    if (path.data) watch_event(coord, type, path);
}

void coord_door_message(struct coord *coord, struct slice message)
{
    struct jute in = jute_of(message);
    coord->heard_ms = now_of(coord);
    if (coord->phase == PHASE_GREETING && !coord->is_ending_old) {
        greeted(coord, &in);
        return;
    }
    if (coord->phase == PHASE_GREETING) {
        /* The greeting of the old session is longer than the answer to its closing, which is a bare header. */
        if (message.size > 16)
            greeted(coord, &in);
        else
            begin_new_session(coord);
        return;
    }
    if (coord->phase != PHASE_ATTACHED && coord->phase != PHASE_FINISHING) return;

    int32_t xid = jute_int(&in);
    int64_t zxid = jute_long(&in);
    int32_t code = jute_int(&in);
    if (in.is_bad)
        lose_connection(coord, ERR_CORRUPT);
    else if (coord->phase == PHASE_FINISHING) {
        if (xid == coord->last_xid) finished(coord);
    } else if (xid == JUTE_XID_EVENT)
        event(coord, &in);
    else if (xid >= 0)
        answered(coord, xid, zxid, code, &in);
    /* else: ping, SetWatches: that they came is all that matters */
}

void coord_door_opened(struct coord *coord)
{
    if (coord->phase != PHASE_OPENING) return;
    coord->phase = PHASE_GREETING;
    coord->heard_ms = now_of(coord);
    greet(coord);
    set_wake(coord);
}

void coord_door_closed(struct coord *coord, enum error err)
{
    if (coord->phase == PHASE_GREETING && coord->is_ending_old && err == ERR_EOF && coord->failures > 0) {
        /* A keeper closes without a word on one who knows later zxids; an old session that no member lets us end
         * is left to its timeout. */
        begin_new_session(coord);
        return;
    }
    lose_connection(coord, err);
}

void coord_door_tick(struct coord *coord)
{
    int64_t now_ms = now_of(coord);
    switch (coord->phase) {
    case PHASE_RESTING:
        if (now_ms < coord->retry_ms) break;
        coord->phase = PHASE_OPENING;
        coord->deadline_ms = now_ms + coord->connect_timeout_ms;
        coord->door.open(coord->door_context);
        break;
    case PHASE_OPENING:
    case PHASE_GREETING:
    case PHASE_FINISHING:
        if (now_ms >= coord->deadline_ms) lose_connection(coord, ERR_TIMED_OUT);
        break;
    case PHASE_ATTACHED:
        if (now_ms - coord->heard_ms >= (int64_t)coord->timeout_ms * 2 / 3)
            lose_connection(coord, ERR_TIMED_OUT);
        else if (now_ms - coord->sent_ms >= coord->timeout_ms / 3 &&
                 !send_header(coord, JUTE_XID_PING, JUTE_PING))
            lose_connection(coord, ERR_NOMEM);
        break;
    case PHASE_FINISHED: return;
    }
    set_wake(coord);
}

/* --- life --- */

enum error coord_new(const struct coord_door *door, void *door_context, const struct coord_options *options,
                     int64_t old_session_id, const uint8_t old_password[16], struct coord **coord)
{
    struct coord *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    made->door = *door;
    made->door_context = door_context;
    made->wanted_timeout_ms =
        options->session_timeout_ms > 0 ? options->session_timeout_ms : DEFAULT_SESSION_TIMEOUT_MS;
    made->connect_timeout_ms =
        options->connect_timeout_ms > 0 ? options->connect_timeout_ms : DEFAULT_CONNECT_TIMEOUT_MS;
    if (made->connect_timeout_ms > made->wanted_timeout_ms)
        made->connect_timeout_ms = made->wanted_timeout_ms;
    made->max_in_flight = options->max_in_flight > 0 ? options->max_in_flight : COORD_MAX_IN_FLIGHT;
    struct slice chroot = slice_of(options->chroot ? options->chroot : "");
    while (chroot.size > 0 && chroot.data[chroot.size - 1] == '/') chroot.size--;
    made->chroot = slice_dup(chroot);
    made->chroot_size = chroot.size;
    made->has_chroot = chroot.size == 0;
    if (!made->chroot || (chroot.size > 0 && made->chroot[0] != '/')) {
        enum error err = made->chroot ? ERR_CONFIG : ERR_NOMEM;
        free(made->chroot);
        free(made);
        return err;
    }
    made->alone_since_ms = now_of(made);
    list_init(&made->urgent);
    list_init(&made->waiting);
    list_init(&made->in_flight);
    if (old_session_id != 0) {
        made->is_ending_old = true;
        made->id = old_session_id;
        memcpy(made->password, old_password, sizeof made->password);
    }
    made->retry_ms = now_of(made);
    *coord = made;
    set_wake(made);
    return OK;
}

void coord_finish(struct coord *coord, int32_t timeout_ms, void (*done)(void *context), void *context)
{
    assert(coord->phase < PHASE_FINISHING);
    coord->finish_done = done;
    coord->finish_context = context;
    bool is_attached = coord->phase == PHASE_ATTACHED;
    coord->phase = PHASE_FINISHING;
    coord->deadline_ms = now_of(coord) + timeout_ms;
    fail_all(coord, ERR_CLOSED);
    coord->last_xid = coord->last_xid == INT32_MAX ? 1 : coord->last_xid + 1;
    if (!is_attached || !send_header(coord, coord->last_xid, JUTE_CLOSE))
        coord->deadline_ms = now_of(coord);
    else if (coord->door.remember)
        coord->door.remember(coord->door_context, 0, (const uint8_t[16]){0});
    set_wake(coord);
}

void coord_close(struct coord **coord)
{
    struct coord *closing = *coord;
    if (!closing) return;
    *coord = NULL;
    if (closing->phase != PHASE_FINISHED) closing->door.close(closing->door_context);
    closing->phase = PHASE_FINISHED;
    closing->finish_done = NULL;
    fail_all(closing, ERR_CLOSED);
    for (int kind = 0; kind < 2; kind++) {
        struct map_slot *slot;
        for (size_t i = 0; (slot = map_next(&closing->watches[kind], &i));) free(slot->value);
        map_free(&closing->watches[kind]);
    }
    if (closing->door.free) closing->door.free(closing->door_context);
    free(closing->chroot);
    free(closing);
}

void coord_listen(struct coord *coord, struct coord_listener *listener)
{
    struct coord_listener **end = &coord->listeners;
    while (*end) end = &(*end)->next;
    listener->next = NULL;
    *end = listener;
}

void coord_unlisten(struct coord *coord, struct coord_listener *listener)
{
    for (struct coord_listener **at = &coord->listeners; *at; at = &(*at)->next) {
        if (*at != listener) continue;
        *at = listener->next;
        return;
    }
}

bool coord_is_connected(const struct coord *coord)
{
    return coord->phase == PHASE_ATTACHED;
}

int64_t coord_session_id(const struct coord *coord)
{
    return coord->is_ending_old ? 0 : coord->id;
}

int32_t coord_session_timeout_ms(const struct coord *coord)
{
    return coord->timeout_ms > 0 ? coord->timeout_ms : coord->wanted_timeout_ms;
}
