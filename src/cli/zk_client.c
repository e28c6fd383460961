#include "cli/zk_client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "cli/cli.h"
#include "client/bootstrap.h"
#include "keeper/jute.h"
#include "keeper/machine.h"
#include "loop/loop.h"
#include "loop/stream.h"
#include "loop/tls.h"
#include "security/sasl_digest.h"

enum {
    MEMBERS_MAX = 64,
    DEFAULT_PORT = 2181,
    XID_EVENT = -1,
    XID_PING = -2,
    XID_AUTH = -4,
    FRAME_MAX = 256 << 20,
    ATTEMPT_MS = 5000,
    REST_MS = 200,
    CLOSE_MS = 1000,
};

enum phase { RESTING, DIALLING, GREETING, PROVING, ATTACHED };

/* What Java's client calls the service and its server, whoever they are. */
#define SASL_SERVICE "zookeeper"
#define SASL_SERVER "zk-sasl-md5"

struct known { /* an authentication (scheme, auth) or a watch (path, mode) */
    char *a, *b;
    int32_t mode;
};

struct zk {
    struct zk_options options;
    struct descriptors *descriptors;
    struct loop *loop;
    struct endpoint members[MEMBERS_MAX];
    size_t member_count, next_member, member;
    char *chroot, server[300];

    enum phase phase;
    struct connecting *connecting;
    struct stream *stream;
    struct text in;
    struct loop_timer timer, limit; /* attempts and pings; how long to wait */
    bool is_over_limit, is_stopped, is_closing;
    enum error last_err; /* of the last attempt */

    int64_t id, last_zxid;
    uint8_t password[PASSWORD_SIZE];
    int32_t timeout_ms, last_xid;
    int64_t sent_ms, heard_ms;
    struct list in_flight;
    struct sasl_digest_client *sasl; /* PROVING */
    enum error auth_err;
    size_t auths_pending;

    struct known *auths, *watches;
    size_t auth_count, auth_capacity, watch_count, watch_capacity;
};

static void dial(struct zk *zk);

/* --- the connection --- */

static void fail_in_flight(struct zk *zk, enum error err)
{
    while (!list_empty(&zk->in_flight)) {
        struct zk_request *request = CONTAINER_OF(zk->in_flight.next, struct zk_request, link);
        list_remove(&request->link);
        request->err = err;
    }
    if (zk->auths_pending > 0) zk->auth_err = err;
    zk->auths_pending = 0;
    loop_stop(zk->loop);
}

static void drop(struct zk *zk, enum error err)
{
    if (zk->connecting) stream_connect_cancel(&zk->connecting);
    if (zk->stream) stream_close(&zk->stream);
    sasl_digest_client_free(&zk->sasl);
    text_reset(&zk->in);
    zk->last_err = err;
    zk->phase = RESTING;
    fail_in_flight(zk, ERR_ZK_CONNECTION_LOSS);
    if (!zk->is_closing) loop_timer_start(zk->loop, &zk->timer, REST_MS);
}

static void send_frame(struct zk *zk, const struct text *body)
{
    struct bytes *frame = body->failed || !zk->stream ? NULL : bytes_new(4 + body->size);
    enum error err = zk->stream ? ERR_NOMEM : ERR_CLOSED;
    if (frame) {
        put_be32(frame->data, (uint32_t)body->size);
        memcpy(frame->data + 4, body->data, body->size);
        frame->size = 4 + body->size;
        err = stream_write(zk->stream, frame, 0, frame->size);
    }
    zk->sent_ms = loop_now_ms(zk->loop);
    if (err != OK && zk->stream) drop(zk, err);
}

static void send_header(struct zk *zk, int32_t xid, int32_t op, struct slice body)
{
    struct text frame = {0};
    text_add_be32(&frame, (uint32_t)xid);
    text_add_be32(&frame, (uint32_t)op);
    text_add(&frame, body);
    send_frame(zk, &frame);
    text_free(&frame);
}

static void greet(struct zk *zk)
{
    struct text frame = {0};
    text_add_be32(&frame, 0);
    text_add_be64(&frame, (uint64_t)zk->last_zxid);
    text_add_be32(&frame, (uint32_t)zk->options.session_timeout_ms);
    text_add_be64(&frame, (uint64_t)zk->id);
    jute_add_bytes(&frame, (struct slice){zk->password, sizeof zk->password});
    text_addc(&frame, 0); /* not read-only */
    send_frame(zk, &frame);
    text_free(&frame);
}

static void send_auth(struct zk *zk, const struct known *auth)
{
    struct text body = {0};
    text_add_be32(&body, 0);
    jute_add_bytes(&body, slice_of(auth->a));
    jute_add_bytes(&body, slice_of(auth->b));
    send_header(zk, XID_AUTH, OP_AUTH, text_slice(&body));
    text_free(&body);
}

static void send_watch(struct zk *zk, const struct known *watch)
{
    struct text body = {0};
    zk_add_path(zk, &body, watch->a);
    text_add_be32(&body, (uint32_t)watch->mode);
    send_header(zk, XID_PING, OP_ADD_WATCH, text_slice(&body)); /* nobody waits for this answer */
    text_free(&body);
}

static void attached(struct zk *zk)
{
    zk->phase = ATTACHED;
    for (size_t i = 0; i < zk->auth_count && zk->stream; i++) send_auth(zk, &zk->auths[i]);
    for (size_t i = 0; i < zk->watch_count && zk->stream; i++) send_watch(zk, &zk->watches[i]);
    loop_timer_start(zk->loop, &zk->timer, zk->timeout_ms / 3);
    loop_stop(zk->loop);
}

static void send_token(struct zk *zk, struct slice token)
{
    struct text body = {0};
    jute_add_bytes(&body, token);
    zk->last_xid = zk->last_xid == INT32_MAX ? 1 : zk->last_xid + 1;
    send_header(zk, zk->last_xid, OP_SASL, text_slice(&body));
    text_free(&body);
}

static void prove(struct zk *zk)
{
    zk->phase = PROVING;
    enum error err = sasl_digest_client_new(zk->options.security.sasl, SASL_SERVICE, SASL_SERVER, &zk->sasl);
    if (err != OK)
        drop(zk, err);
    else
        send_token(zk, SLICE("")); /* asks for the challenge */
}

/* A server without SASL sends no token; one that refuses sends a code, or closes. */
static void token_came(struct zk *zk, int32_t xid, int32_t code, struct jute *in)
{
    if (xid != zk->last_xid) return; /* an event, a ping */
    struct slice token = code == 0 ? jute_bytes(in) : SLICE_NULL;
    struct text out = {0};
    bool is_done = false;
    enum error err = code == 0 ? OK : error_from_zk(code);
    if (err == OK) err = sasl_digest_client_step(zk->sasl, token, &out, &is_done);
    if (err == OK && !is_done) send_token(zk, text_slice(&out));
    text_free(&out);
    if (err != OK) {
        drop(zk, err == ERR_CORRUPT ? ERR_ZK_AUTH_FAILED : err);
    } else if (is_done) {
        sasl_digest_client_free(&zk->sasl);
        attached(zk);
    }
}

static void greeted(struct zk *zk, struct slice frame)
{
    struct jute in = jute_of(frame);
    jute_int(&in);
    int32_t timeout_ms = jute_int(&in);
    int64_t id = jute_long(&in);
    struct slice password = jute_bytes(&in);
    bool was_expired = timeout_ms <= 0;
    if (in.is_bad || (!was_expired && password.size != PASSWORD_SIZE)) {
        drop(zk, ERR_CORRUPT);
        return;
    }
    if (was_expired) {
        zk->id = 0;
        zk->last_zxid = 0;
        memset(zk->password, 0, sizeof zk->password);
        drop(zk, ERR_ZK_SESSION_EXPIRED);
        loop_timer_start(zk->loop, &zk->timer, 0);
        if (zk->options.on_expired) zk->options.on_expired(zk->options.context);
        return;
    }
    zk->id = id;
    zk->timeout_ms = timeout_ms;
    memcpy(zk->password, password.data, PASSWORD_SIZE);
    zk->heard_ms = loop_now_ms(zk->loop);
    if (zk->options.security.sasl)
        prove(zk);
    else
        attached(zk);
}

static void frame_came(struct zk *zk, struct slice frame)
{
    zk->heard_ms = loop_now_ms(zk->loop);
    if (zk->phase == GREETING) {
        greeted(zk, frame);
        return;
    }
    struct jute in = jute_of(frame);
    int32_t xid = jute_int(&in);
    int64_t zxid = jute_long(&in);
    int32_t code = jute_int(&in);
    if (in.is_bad) {
        drop(zk, ERR_CORRUPT);
        return;
    }
    if (zk->phase == PROVING) {
        token_came(zk, xid, code, &in);
        return;
    }
    if (xid == XID_EVENT) {
        int32_t type = jute_int(&in);
        jute_int(&in);
        struct slice path = jute_bytes(&in);
        if (!in.is_bad && zk->options.on_event)
            zk->options.on_event(zk->options.context, type, zk_strip(zk, path));
        return;
    }
    if (xid == XID_AUTH) {
        if (zk->auths_pending > 0) {
            zk->auths_pending--;
            zk->auth_err = code == 0 ? OK : error_from_zk(code);
            loop_stop(zk->loop);
        }
        return;
    }
    if (xid < 0) return; /* a ping's, or a watch's that was added again */
    if (zxid > zk->last_zxid) zk->last_zxid = zxid;
    struct zk_request *first =
        list_empty(&zk->in_flight) ? NULL : CONTAINER_OF(zk->in_flight.next, struct zk_request, link);
    if (!first || first->xid != xid) {
        drop(zk, ERR_CORRUPT);
        return;
    }
    list_remove(&first->link);
    first->err = code == 0 ? OK : error_from_zk(code);
    text_add(&first->answer, jute_rest(&in));
    if (first->answer.failed) first->err = ERR_NOMEM;
    if (list_empty(&zk->in_flight)) loop_stop(zk->loop);
}

static void on_readable(void *context)
{
    struct zk *zk = context;
    uint8_t piece[16 << 10];
    while (zk->stream) {
        size_t got = 0;
        enum error err = stream_read(zk->stream, piece, sizeof piece, &got);
        if (err == ERR_AGAIN) return;
        if (err != OK) {
            drop(zk, err);
            return;
        }
        text_add(&zk->in, (struct slice){piece, got});
        size_t at = 0;
        while (zk->stream && zk->in.size - at >= 4) {
            size_t size = get_be32(zk->in.data + at);
            if (size > FRAME_MAX || zk->in.failed) {
                drop(zk, zk->in.failed ? ERR_NOMEM : ERR_TOO_LARGE);
                return;
            }
            if (zk->in.size - at - 4 < size) break;
            frame_came(zk, (struct slice){(uint8_t *)zk->in.data + at + 4, size});
            at += 4 + size;
        }
        if (!zk->stream) return;
        memmove(zk->in.data, zk->in.data + at, zk->in.size - at);
        zk->in.size -= at;
    }
}

static void on_closed(void *context, enum error err)
{
    drop(context, err);
}

static void on_connected(void *context, enum error err, struct stream *stream)
{
    static const struct stream_events events = {.on_readable = on_readable, .on_closed = on_closed};
    struct zk *zk = context;
    zk->connecting = NULL;
    if (err != OK) {
        drop(zk, err);
        return;
    }
    zk->stream = stream;
    const struct zk_security *security = &zk->options.security;
    if (security->tls) {
        const struct tls_start start = {.host = zk->members[zk->member].host,
                                        .checks_host = security->checks_host};
        err = stream_start_tls(stream, security->tls, &start);
        if (err != OK) {
            drop(zk, err);
            return;
        }
    }
    zk->phase = GREETING;
    stream_set_events(stream, &events, zk);
    stream_set_reading(stream, true);
    greet(zk);
}

static void dial(struct zk *zk)
{
    zk->member = zk->next_member;
    zk->next_member = (zk->next_member + 1) % zk->member_count;
    const struct endpoint *to = &zk->members[zk->member];
    snprintf(zk->server, sizeof zk->server, strchr(to->host, ':') ? "[%s]:%u" : "%s:%u", to->host, to->port);
    zk->phase = DIALLING;
    loop_timer_start(zk->loop, &zk->timer, ATTEMPT_MS);
    enum error err =
        stream_connect(zk->loop, to->host, to->port, ATTEMPT_MS, on_connected, zk, &zk->connecting);
    if (err != OK) drop(zk, err);
}

static void on_timer(struct loop_timer *timer)
{
    struct zk *zk = CONTAINER_OF(timer, struct zk, timer);
    if (zk->phase == RESTING) {
        dial(zk);
        return;
    }
    if (zk->phase != ATTACHED) {
        drop(zk, ERR_TIMED_OUT);
        return;
    }
    if (loop_now_ms(zk->loop) - zk->heard_ms >= (int64_t)zk->timeout_ms * 2 / 3) {
        drop(zk, ERR_TIMED_OUT);
        return;
    }
    send_header(zk, XID_PING, OP_PING, SLICE_NULL);
    if (zk->phase == ATTACHED) loop_timer_start(zk->loop, timer, zk->timeout_ms / 3);
}

/* --- waiting --- */

static void on_limit(struct loop_timer *timer)
{
    struct zk *zk = CONTAINER_OF(timer, struct zk, limit);
    zk->is_over_limit = true;
    loop_stop(zk->loop);
}

static void limit_start(struct zk *zk, int64_t ms)
{
    zk->is_over_limit = false;
    loop_timer_start(zk->loop, &zk->limit, ms);
}

static enum error wait_attached(struct zk *zk)
{
    limit_start(zk, zk->options.timeout_ms);
    /* Every member is tried once before their refusals count. */
    size_t tries = 0;
    while (zk->phase != ATTACHED && !zk->is_over_limit) {
        loop_run(zk->loop);
        if (zk->phase != RESTING) continue;
        bool is_final =
            zk->last_err == ERR_NAME || zk->last_err == ERR_REFUSED || zk->last_err == ERR_UNREACHABLE;
        bool is_refused =
            zk->last_err == ERR_ZK_AUTH_FAILED || zk->last_err == ERR_ZK_SESSION_CLOSED_REQUIRE_SASL;
        if (is_refused) break;
        if (is_final && zk->id == 0 && ++tries >= zk->member_count) break;
    }
    loop_timer_stop(zk->loop, &zk->limit);
    if (zk->phase == ATTACHED) return OK;
    return zk->last_err != OK ? zk->last_err : ERR_TIMED_OUT;
}

static void poll_ready(void *context)
{
    zk_stop(context);
}

void zk_idle(struct zk *zk, int fd, int64_t ms)
{
    struct loop_poll *poll = NULL;
    zk->is_stopped = false;
    if (fd >= 0 && loop_poll_new(zk->loop, fd, poll_ready, zk, &poll) != OK)
        return; /* a file: it can be read */
    if (fd < 0 && ms >= 0) limit_start(zk, ms);
    zk->is_over_limit = false;
    while (!zk->is_stopped && !zk->is_over_limit) loop_run(zk->loop);
    loop_timer_stop(zk->loop, &zk->limit);
    loop_poll_free(&poll);
}

void zk_stop(struct zk *zk)
{
    zk->is_stopped = true;
    loop_stop(zk->loop);
}

/* --- asking --- */

void zk_add_path(const struct zk *zk, struct text *body, const char *path)
{
    size_t chroot = strlen(zk->chroot), size = strlen(path);
    if (chroot > 0 && size == 1 && path[0] == '/') size = 0;
    text_add_be32(body, (uint32_t)(chroot + size));
    text_add(body, (struct slice){(const uint8_t *)zk->chroot, chroot});
    text_add(body, (struct slice){(const uint8_t *)path, size});
}

struct slice zk_strip(const struct zk *zk, struct slice path)
{
    size_t chroot = strlen(zk->chroot);
    if (chroot == 0 || path.size < chroot || memcmp(path.data, zk->chroot, chroot) != 0) return path;
    if (path.size == chroot) return SLICE("/");
    return (struct slice){path.data + chroot, path.size - chroot};
}

enum error zk_ask_all(struct zk *zk, struct zk_request *requests, size_t count)
{
    enum error err = wait_attached(zk);
    for (size_t i = 0; i < count; i++) {
        requests[i].err = err;
        if (err != OK) continue;
        zk->last_xid = zk->last_xid == INT32_MAX ? 1 : zk->last_xid + 1;
        requests[i].xid = zk->last_xid;
        list_push_back(&zk->in_flight, &requests[i].link);
        send_header(zk, requests[i].xid, requests[i].op, text_slice(&requests[i].body));
        if (zk->phase != ATTACHED) err = ERR_ZK_CONNECTION_LOSS;
    }
    limit_start(zk, zk->options.timeout_ms);
    while (!list_empty(&zk->in_flight) && !zk->is_over_limit) loop_run(zk->loop);
    loop_timer_stop(zk->loop, &zk->limit);
    if (!list_empty(&zk->in_flight)) drop(zk, ERR_TIMED_OUT);
    for (size_t i = 0; i < count; i++) {
        if (requests[i].err != OK) return requests[i].err;
    }
    return OK;
}

enum error zk_ask(struct zk *zk, struct zk_request *request)
{
    return zk_ask_all(zk, request, 1);
}

void zk_request_free(struct zk_request *request)
{
    text_free(&request->body);
    text_free(&request->answer);
}

static enum error known_add(struct known **items, size_t *count, size_t *capacity, const char *a,
                            const char *b, int32_t mode)
{
    if (!vec_grow((void **)items, capacity, *count + 1, sizeof **items)) return ERR_NOMEM;
    struct known known = {slice_dup(slice_of(a)), b ? slice_dup(slice_of(b)) : NULL, mode};
    (*items)[(*count)++] = known;
    return known.a && (known.b || !b) ? OK : ERR_NOMEM;
}

static void known_free(struct known *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(items[i].a);
        free(items[i].b);
    }
}

enum error zk_auth(struct zk *zk, const char *scheme, const char *auth)
{
    enum error err = wait_attached(zk);
    struct known known = {(char *)scheme, (char *)auth, 0};
    if (err != OK) return err;
    zk->auths_pending = 1;
    zk->auth_err = ERR_TIMED_OUT;
    send_auth(zk, &known);
    limit_start(zk, zk->options.timeout_ms);
    while (zk->auths_pending > 0 && !zk->is_over_limit) loop_run(zk->loop);
    loop_timer_stop(zk->loop, &zk->limit);
    zk->auths_pending = 0;
    if (zk->auth_err != OK) return zk->auth_err;
    return known_add(&zk->auths, &zk->auth_count, &zk->auth_capacity, scheme, auth, 0);
}

enum error zk_watch(struct zk *zk, const char *path, int32_t mode)
{
    struct zk_request request = {.op = OP_ADD_WATCH};
    zk_add_path(zk, &request.body, path);
    text_add_be32(&request.body, (uint32_t)mode);
    enum error err = zk_ask(zk, &request);
    zk_request_free(&request);
    if (err != OK) return err;
    return known_add(&zk->watches, &zk->watch_count, &zk->watch_capacity, path, NULL, mode);
}

enum error zk_unwatch(struct zk *zk, const char *path, int32_t kind)
{
    enum { ANY_KIND = 3 };
    for (size_t i = 0; i < zk->watch_count && kind == ANY_KIND; i++) {
        if (strcmp(zk->watches[i].a, path) != 0) continue;
        free(zk->watches[i].a);
        zk->watches[i--] = zk->watches[--zk->watch_count];
    }
    struct zk_request request = {.op = OP_REMOVE_WATCHES};
    zk_add_path(zk, &request.body, path);
    text_add_be32(&request.body, (uint32_t)kind);
    enum error err = zk_ask(zk, &request);
    zk_request_free(&request);
    return err;
}

/* --- life --- */

static enum error parse_server(struct zk *zk, const char *server)
{
    const char *slash = strchr(server, '/'), *why = "";
    struct slice hosts = {(const uint8_t *)server, slash ? (size_t)(slash - server) : strlen(server)}, bad;
    enum error err =
        bootstrap_parse(hosts, DEFAULT_PORT, zk->members, MEMBERS_MAX, &zk->member_count, &why, &bad);
    if (err != OK) {
        cli_complain("--server %s: \"%.*s\": %s", server, SLICE_ARG(bad), why);
        return ERR_CONFIG;
    }
    struct slice chroot = slice_of(slash ? slash : "");
    while (chroot.size > 0 && chroot.data[chroot.size - 1] == '/') chroot.size--;
    zk->chroot = chroot.size > 0 ? slice_dup(chroot) : calloc(1, 1);
    return zk->chroot ? OK : ERR_NOMEM;
}

enum error zk_open(const struct zk_options *options, struct zk **result)
{
    struct zk *zk = calloc(1, sizeof *zk);
    if (!zk) return ERR_NOMEM;
    zk->options = *options;
    zk->timer.run = on_timer;
    zk->limit.run = on_limit;
    list_init(&zk->in_flight);
    enum error err = parse_server(zk, options->server);
    if (err == OK && !(zk->descriptors = descriptors_new(0))) err = ERR_NOMEM;
    if (err == OK) err = loop_new(zk->descriptors, &zk->loop);
    if (err == OK) {
        uint32_t draw;
        loop_random(zk->loop, &draw, sizeof draw);
        zk->next_member = draw % zk->member_count;
        loop_timer_start(zk->loop, &zk->timer, 0);
        err = wait_attached(zk);
    }
    *result = zk;
    if (err != OK) zk_close(result);
    return err;
}

void zk_close(struct zk **closed)
{
    struct zk *zk = *closed;
    *closed = NULL;
    if (!zk) return;
    zk->is_closing = true;
    if (zk->loop) {
        if (zk->phase == ATTACHED) {
            send_header(zk, ++zk->last_xid, OP_CLOSE_SESSION, SLICE_NULL);
            limit_start(zk, CLOSE_MS);
            while (zk->phase == ATTACHED && !zk->is_over_limit)
                loop_run(zk->loop); /* the answer is the end */
        }
        if (zk->connecting) stream_connect_cancel(&zk->connecting);
        if (zk->stream) stream_close(&zk->stream);
        sasl_digest_client_free(&zk->sasl);
        loop_timer_stop(zk->loop, &zk->timer);
        loop_timer_stop(zk->loop, &zk->limit);
        loop_free(zk->loop);
    }
    if (zk->descriptors) descriptors_free(zk->descriptors);
    known_free(zk->auths, zk->auth_count);
    known_free(zk->watches, zk->watch_count);
    free(zk->auths);
    free(zk->watches);
    text_free(&zk->in);
    free(zk->chroot);
    free(zk);
}

enum zk_state zk_state(const struct zk *zk)
{
    return zk->phase == ATTACHED ? ZK_CONNECTED : ZK_CONNECTING;
}

const char *zk_server(const struct zk *zk)
{
    return zk->server;
}

int64_t zk_session_id(const struct zk *zk)
{
    return zk->id;
}

int32_t zk_session_timeout_ms(const struct zk *zk)
{
    return zk->timeout_ms;
}
