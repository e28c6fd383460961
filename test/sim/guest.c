#include "guest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "keeper/inside.h"
#include "keeper/jute.h"

enum { DIAL_MS = 1000 };

/* --- lines --- */

static int pick_member(struct guest *guest)
{
    if (guest->is_inspector) return guest->pinned;
    return (int)keepers_between(guest->keepers, 0, guest->keepers->plan.members - 1);
}

struct ask *line_push(struct line *line, enum ask_kind kind)
{
    struct ask *ask = calloc(1, sizeof *ask);
    if (!ask) abort();
    *ask = (struct ask){.kind = kind,
                        .path = TREE_NO_PATH,
                        .xid = ++line->xid,
                        .sent_ms = keepers_now_ms(line->guest->keepers),
                        .sent_zxid = line->guest->keepers->history.seen_zxid};
    if (line->last)
        line->last->next = ask;
    else
        line->first = ask;
    line->last = ask;
    line->waiting++;
    return ask;
}

void line_send(struct line *line, struct slice frame)
{
    struct bytes *bytes = bytes_new(frame.size + 4);
    if (!bytes) abort();
    put_be32(bytes->data, (uint32_t)frame.size);
    memcpy(bytes->data + 4, frame.data, frame.size);
    bytes->size = frame.size + 4;
    line->sent_ms = keepers_now_ms(line->guest->keepers);
    enum error err = stream_write(line->stream, bytes, 0, bytes->size);
    (void)err; /* a dead stream says so by on_closed */
}

/* What has no answer will not have one. */
static void lose_asks(struct line *line)
{
    struct guest *guest = line->guest;
    struct tree_history *history = &guest->keepers->history;
    while (line->first) {
        struct ask *ask = line->first;
        line->first = ask->next;
        if (ask->serial) {
            tree_history_lost(history, ask->serial);
            if (line->is_given_up && guest->void_zxid)
                tree_history_void(history, line->record, &ask->serial, 1, guest->void_zxid);
            else if (guest->void_count < GUEST_VOIDS)
                guest->voids[guest->void_count++] = ask->serial;
        }
        free(ask);
    }
    line->last = NULL;
    line->waiting = 0;
}

static void line_down(struct line **closed)
{
    struct line *line = *closed;
    *closed = NULL;
    if (!line) return;
    stream_connect_cancel(&line->connecting);
    stream_close(&line->stream);
    lose_asks(line);
    line->state = LINE_DOWN;
    line->next_dead = line->guest->dead;
    line->guest->dead = line;
}

static void free_dead(struct guest *guest)
{
    while (guest->dead) {
        struct line *line = guest->dead;
        guest->dead = line->next_dead;
        text_free(&line->in);
        free(line);
    }
}

static void drop(struct line *line)
{
    struct guest *guest = line->guest;
    if (guest->now == line)
        line_down(&guest->now);
    else if (guest->before == line)
        line_down(&guest->before);
}

void guest_down(struct guest *guest)
{
    line_down(&guest->now);
    line_down(&guest->before);
}

static void on_closed(void *context, enum error err)
{
    drop(context);
}

/* --- a session --- */

static void forget_session(struct guest *guest)
{
    guest->session = 0;
    guest->alive_ms = guest->alive_leader_ms = 0;
    memset(guest->alive_before_ms, 0, sizeof guest->alive_before_ms);
    guest->record = -1;
    guest->watch_count = 0;
    guest->void_count = 0;
    guest->void_zxid = 0;
    guest->wants_void_zxid = false;
    memset(guest->password, 0, GUEST_PASSWORD);
    line_down(&guest->before);
}

/* It is over: closed, or so we were told. What is tried with it from now on is in vain. */
void guest_session_over(struct guest *guest)
{
    guest->ghost = guest->session;
    memcpy(guest->ghost_password, guest->password, GUEST_PASSWORD);
    forget_session(guest);
}

static void told_ended(struct line *line)
{
    struct guest *guest = line->guest;
    struct keepers *keepers = guest->keepers;
    if (line->asked_session == 0) {
        keepers_fail(keepers, "guest %d asked for a new session and was told that it is over", guest->index);
    } else if (line->asked_session == guest->session) {
        struct tree_session *session = &keepers->history.sessions[guest->record];
        if (keepers_has_session(keepers, guest->session)) {
            keepers_fail(keepers,
                         "guest %d was told by member %d that its session %" PRIx64 " is over, and it is not",
                         guest->index, line->member + 1, (uint64_t)guest->session);
        }
        if (session->state == SESSION_OPEN) keepers->history.counts.expired++;
        session->state = SESSION_ENDED;
        guest_session_over(guest);
    }
    guest_down(guest); /* the other connection is of no use either */
}

static void shake(struct line *line)
{
    static const uint8_t no_password[GUEST_PASSWORD];
    struct guest *guest = line->guest;
    struct text out = {0};
    bool is_ghost = guest->session == 0 && guest->ghost != 0;
    line->asked_session = is_ghost ? guest->ghost : guest->session;
    text_add_be32(&out, guest->is_broker ? KEEPER_BROKER_PROTOCOL : 0);
    text_add_be64(&out, (uint64_t)guest->zxid);
    text_add_be32(&out, (uint32_t)guest->keepers->plan.timeout_ms);
    text_add_be64(&out, (uint64_t)line->asked_session);
    const uint8_t *password = is_ghost         ? guest->ghost_password
                              : guest->session ? guest->password
                                               : no_password;
    jute_add_bytes(&out, (struct slice){password, GUEST_PASSWORD});
    text_addc(&out, 0);
    line->state = LINE_SHAKING;
    line_send(line, text_slice(&out));
    text_free(&out);
    if (is_ghost) guest->ghost = 0; /* once */
}

static void attached(struct line *line)
{
    struct guest *guest = line->guest;
    struct keepers *keepers = guest->keepers;
    line->record = tree_history_line(&keepers->history, guest->index, line->member + 1, guest->record);
    line->state = LINE_UP;
    line->attached_ms = keepers_now_ms(keepers);
    line->zxid = guest->zxid;
    line->is_given_up = false;
    if (guest->now != line) { /* the session moved here; the old connection may still be there */
        struct line *old = guest->now;
        guest->before = old; /* where this one was */
        guest->now = line;
        if (old) old->is_given_up = true;
        keepers->history.counts.moved++;
    }
    for (const struct ask *ask = guest->before ? guest->before->first : NULL; ask; ask = ask->next) {
        if (ask->serial && guest->void_count < GUEST_VOIDS) guest->voids[guest->void_count++] = ask->serial;
    }
    guest->void_zxid = 0;
    guest->wants_void_zxid = true;
    if (guest->watch_count) guest_set_watches(line);
}

static void heard_shake(struct line *line, struct slice frame)
{
    struct guest *guest = line->guest;
    struct keepers *keepers = guest->keepers;
    struct jute in = jute_of(frame);
    jute_int(&in);
    int32_t timeout_ms = jute_int(&in);
    int64_t id = jute_long(&in);
    struct slice password = jute_bytes(&in);
    if (in.is_bad || password.size != GUEST_PASSWORD) {
        keepers_fail(keepers, "guest %d was sent a malformed ConnectResponse", guest->index);
        return;
    }
    if (timeout_ms == 0) {
        told_ended(line);
        return;
    }
    if (line->asked_session && (line->asked_session != guest->session || id != guest->session)) {
        keepers_fail(keepers, "guest %d asked member %d for session %" PRIx64 ", %s, and was given %" PRIx64,
                     guest->index, line->member + 1, (uint64_t)line->asked_session,
                     line->asked_session == guest->session ? "its own" : "which is over", (uint64_t)id);
        return;
    }
    if (line->asked_session == 0) {
        guest->session = id;
        guest->record = tree_history_open(&keepers->history, id);
        memcpy(guest->password, password.data, GUEST_PASSWORD);
        if (keepers->plan.members > 1 && (id >> 56) != line->member + 1) {
            keepers_fail(keepers, "session %" PRIx64 " was made by member %d", (uint64_t)id,
                         line->member + 1);
        }
    }
    /* It asked before the other was attached, and was told after: which of them has the session now, nobody here knows. */
    if (line != guest->now && guest->now && guest->now->attached_ms >= line->sent_ms) {
        drop(line);
        return;
    }
    guest->timeout_ms = timeout_ms;
    guest_is_alive(guest, line->sent_ms);
    attached(line);
}

/* --- reading --- */

static void on_readable(void *context)
{
    struct line *line = context;
    struct guest *guest = line->guest;
    uint8_t bytes[4096];
    size_t got;
    while (line->stream && stream_read(line->stream, bytes, sizeof bytes, &got) == OK) {
        text_add(&line->in, (struct slice){bytes, got});
        size_t at = 0;
        while (line->in.size - at >= 4 && line->in.size - at - 4 >= get_be32(line->in.data + at)) {
            size_t size = get_be32(line->in.data + at);
            struct slice frame = {(const uint8_t *)line->in.data + at + 4, size};
            line->heard_ms = keepers_now_ms(guest->keepers);
            if (line->state == LINE_SHAKING)
                heard_shake(line, frame);
            else
                guest_heard(line, frame);
            if (line->state == LINE_DOWN || keepers_has_failed(guest->keepers)) return;
            at += 4 + size;
        }
        memmove(line->in.data, line->in.data + at, line->in.size - at);
        line->in.size -= at;
    }
}

static void on_dialed(void *context, enum error err, struct stream *stream)
{
    static const struct stream_events events = {on_readable, NULL, on_closed};
    struct line *line = context;
    line->connecting = NULL;
    if (err != OK) {
        drop(line);
        return;
    }
    line->stream = stream;
    stream_set_events(stream, &events, line);
    stream_set_reading(stream, true);
    shake(line);
}

static struct line *dial(struct guest *guest, int member)
{
    struct line *line = calloc(1, sizeof *line);
    if (!line) abort();
    *line = (struct line){.guest = guest, .member = member, .record = -1};
    line->begun_ms = line->heard_ms = keepers_now_ms(guest->keepers);
    enum error err = stream_connect(guest->loop, guest->keepers->members[member].host, MEMBER_PORT, DIAL_MS,
                                    on_dialed, line, &line->connecting);
    if (err == OK) return line;
    free(line);
    return NULL;
}

/* --- thinking --- */

/* The second connection is `before` until its session is attached there. */
static void think_moving(struct guest *guest)
{
    struct keepers *keepers = guest->keepers;
    struct line *other = guest->before;
    if (!other) {
        bool may_move = keepers->phase == PHASE_LIFE && !guest->is_inspector && !guest->is_admin &&
                        guest->now && guest->now->state == LINE_UP && !guest->now->is_closing;
        if (may_move && keepers_chance(keepers, 150)) guest->before = dial(guest, pick_member(guest));
        return;
    }
    int64_t old_ms = keepers_now_ms(keepers) - other->begun_ms;
    if (other->is_given_up) {
        if (other->state == LINE_UP && keepers_chance(keepers, 2)) guest_ask(other);
        if (keepers_chance(keepers, 10)) line_down(&guest->before);
    } else if (old_ms > DIAL_MS * 2) {
        line_down(&guest->before);
    }
}

static void think_up(struct guest *guest)
{
    struct keepers *keepers = guest->keepers;
    struct line *line = guest->now;
    int64_t now_ms = keepers_now_ms(keepers);
    if (line->waiting > 0 && now_ms - line->heard_ms > guest->timeout_ms * 2 / 3) {
        line_down(&guest->now); /* silence for too long: another member, as clients do */
        return;
    }
    if (guest->is_inspector) {
        if (line->waiting == 0) guest_inspect_ask(line);
        return;
    }
    if (keepers->phase == PHASE_LIFE && !line->is_closing && !guest->is_admin) {
        while (guest->now == line && line->waiting < guest->window && !line->is_closing) {
            guest_ask(line);
            if (!keepers_chance(keepers, 3)) break;
        }
    }
    bool is_idle = now_ms - line->sent_ms >= guest->timeout_ms / 3 || keepers->phase == PHASE_QUIET;
    if (guest->now == line && is_idle && line->waiting == 0) guest_ask_one(line, ASK_PING);
}

static void think(struct loop_timer *timer)
{
    struct guest *guest = CONTAINER_OF(timer, struct guest, think);
    struct keepers *keepers = guest->keepers;
    free_dead(guest);
    if (guest->is_gone || keepers_has_failed(keepers)) return;
    int64_t now_ms = keepers_now_ms(keepers);
    if (now_ms >= guest->nap_until_ms) {
        /* The order of what the second connection does matters: it becomes the first when it is attached. */
        think_moving(guest);
        if (!guest->now && keepers->phase != PHASE_OVER) {
            guest->now = dial(guest, pick_member(guest));
        } else if (guest->now && guest->now->state == LINE_UP) {
            think_up(guest);
        } else if (guest->now && now_ms - guest->now->begun_ms > DIAL_MS * 2) {
            line_down(&guest->now);
        }
        bool may_nap = keepers->phase == PHASE_LIFE && !guest->is_inspector && !guest->is_admin;
        if (may_nap && keepers_chance(keepers, 400))
            guest->nap_until_ms = now_ms + keepers_between(keepers, 0, 3 * (int64_t)keepers->plan.timeout_ms);
    }
    int64_t most_ms = guest->is_inspector ? 5 : keepers->phase == PHASE_LIFE ? 40 : 100;
    loop_timer_start(guest->loop, &guest->think, keepers_between(keepers, 1, most_ms));
}

/* --- life --- */

void guest_start(struct guest *guest, struct keepers *keepers, int index, struct sim_machine *machine,
                 struct loop *loop)
{
    *guest = (struct guest){.keepers = keepers,
                            .index = index,
                            .machine = machine,
                            .loop = loop,
                            .record = -1,
                            .think.run = think,
                            .window = (int)keepers_between(keepers, 1, keepers->plan.window)};
    loop_timer_start(loop, &guest->think, 1 + index);
}

void guest_inspect(struct guest *guest, int member)
{
    guest->is_inspector = true;
    guest->pinned = member;
    guest->inspected = 0;
}

void guest_stop(struct guest *guest)
{
    guest->is_gone = true;
    loop_timer_stop(guest->loop, &guest->think);
    guest_down(guest);
    free_dead(guest);
}

bool guest_is_quiet(const struct guest *guest)
{
    return guest->now && guest->now->state == LINE_UP && guest->now->waiting <= 1 &&
           (!guest->now->first || guest->now->first->kind == ASK_PING) && guest->session;
}

void guest_is_alive(struct guest *guest, int64_t asked_ms)
{
    if (asked_ms <= guest->alive_ms) return;
    if (guest->alive_ms - guest->alive_before_ms[0] > guest->keepers->plan.tick_ms / 4) {
        memmove(guest->alive_before_ms + 1, guest->alive_before_ms,
                sizeof guest->alive_before_ms - sizeof(int64_t));
        guest->alive_before_ms[0] = guest->alive_ms;
    }
    guest->alive_ms = asked_ms;
}

/* When its session's leader must have heard it at the latest. Who is heard by another member is told of within half a tick, and while
 * things are in disorder perhaps not at all. */
static int64_t heard_by_leader_ms(const struct guest *guest)
{
    enum { ON_THE_WAY_MS = 400 };
    const struct keepers *keepers = guest->keepers;
    if (keepers->plan.members == 1) return guest->alive_ms;
    int64_t heard_ms = guest->alive_leader_ms;
    int64_t told_ms = keepers_now_ms(keepers) - keepers->plan.tick_ms / 2 - ON_THE_WAY_MS;
    for (int i = -1; i < GUEST_ALIVES; i++) {
        int64_t alive_ms = i < 0 ? guest->alive_ms : guest->alive_before_ms[i];
        if (alive_ms < keepers->trouble_ms || alive_ms > told_ms) continue;
        if (alive_ms > heard_ms) heard_ms = alive_ms;
        break;
    }
    return heard_ms;
}

/* Its connection has been there long enough that no member can take it for lost. */
static bool has_stayed(const struct guest *guest)
{
    enum { LONG_MS = 3000 };
    const struct line *line = guest->now;
    return line && line->state == LINE_UP && keepers_now_ms(guest->keepers) - line->begun_ms > LONG_MS;
}

void guest_session_gone(struct guest *guest)
{
    struct keepers *keepers = guest->keepers;
    const struct tree_session *session = &keepers->history.sessions[guest->record];
    if (session->state != SESSION_OPEN) return;
    bool is_calm = keepers->trouble_ms <= keepers_now_ms(keepers);
    if (guest->is_broker && !(is_calm && has_stayed(guest))) return;
    int64_t silent_ms = keepers_now_ms(keepers) - heard_by_leader_ms(guest);
    if (silent_ms < guest->timeout_ms) {
        keepers_fail(keepers,
                     "session %" PRIx64 " of guest %d ended %" PRId64 " ms after it was heard, of %d ms",
                     (uint64_t)guest->session, guest->index, silent_ms, guest->timeout_ms);
    }
}
