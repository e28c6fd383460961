/* coord_fuzz: a coord whose keeper answers with any bytes, at any time. The input is a script for the door: greetings, answers
 * to the request that is due, watch events, frames of any bytes, connections that open and end, time that passes, and what
 * the broker asks meanwhile. Every request is called back exactly once, at most COORD_MAX_IN_FLIGHT are out at a time, and
 * nothing is sent where no connection is. */
#include <stdlib.h>

#include "base/diag.h"
#include "base/text.h"
#include "coord/coord.h"
#include "coord/protocol.h"
#include "fuzz.h"

struct script {
    struct coord *coord;
    int64_t now_ms, due_ms;
    bool is_opening, is_open, is_greeted;
    int32_t xids[COORD_MAX_IN_FLIGHT]; /* sent on this connection and not yet answered; oldest first */
    size_t xid_count;
    int64_t asked, done;
};

static void door_open(void *context)
{
    struct script *script = context;
    CHECK(!script->is_open && !script->is_opening);
    script->is_opening = true;
}

static void door_send(void *context, struct bytes *message)
{
    struct script *script = context;
    CHECK(script->is_open);
    CHECK(message->size >= 8 && message->size <= COORD_MAX_MESSAGE + 64);
    int32_t xid = (int32_t)get_be32(message->data);
    if (script->is_greeted && xid > 0) {
        CHECK(script->xid_count < COORD_MAX_IN_FLIGHT);
        script->xids[script->xid_count++] = xid;
    }
    bytes_release(&message);
}

static void door_close(void *context)
{
    struct script *script = context;
    script->is_open = script->is_opening = script->is_greeted = false;
    script->xid_count = 0;
}

static int64_t door_now_ms(void *context)
{
    return ((struct script *)context)->now_ms;
}

static void door_wake_at(void *context, int64_t due_ms)
{
    ((struct script *)context)->due_ms = due_ms;
}

static void door_random(void *context, void *out, size_t size)
{
    memset(out, 7, size);
}

static void on_done(void *context, const struct coord_reply *reply)
{
    struct script *script = context;
    script->done++;
    CHECK(script->done <= script->asked);
    for (size_t i = 0; i < reply->child_count; i++) CHECK(reply->children[i].data);
    CHECK(reply->err == OK || reply->result_count == 0 || reply->failed_index < reply->result_count);
    if (reply->err == ERR_ZK_NO_NODE && script->asked < 1000) { /* who is told so often asks again at once */
        script->asked++;
        coord_exists(script->coord, SLICE("/again"), on_done, script);
    }
}

static void on_watch(void *context, enum coord_event event, struct slice path)
{
    CHECK(path.data && event >= COORD_NODE_CREATED && event <= COORD_CHILDREN_CHANGED);
}

static void ask(struct script *script, int what)
{
    struct coord *coord = script->coord;
    static const struct slice path = {(const uint8_t *)"/a/b", 4};
    const struct coord_op ops[] = {{COORD_CREATE, path, SLICE("x"), 0, COORD_EPHEMERAL, COORD_ACL_OPEN},
                                   {COORD_SET, path, SLICE_NULL, 3, 0, 0},
                                   {COORD_CHECK, path, SLICE_NULL, -1, 0, 0},
                                   {COORD_DELETE, path, SLICE_NULL, -1, 0, 0}};
    script->asked++;
    switch (what % 8) {
    case 0:
        coord_create(coord, path, SLICE("data"), COORD_SEQUENTIAL, COORD_ACL_OPEN, on_done, script);
        break;
    case 1: coord_delete(coord, path, 1, on_done, script); break;
    case 2: coord_set(coord, path, SLICE(""), COORD_ANY_VERSION, on_done, script); break;
    case 3: coord_get(coord, path, on_done, script); break;
    case 4: coord_exists(coord, path, on_done, script); break;
    case 5: coord_children(coord, path, on_done, script); break;
    case 6: coord_multi(coord, ops, 4, on_done, script); break;
    default:
        script->asked--;
        if (what & 8)
            coord_unwatch(coord, what & 16 ? COORD_WATCH_NODE : COORD_WATCH_CHILDREN, path);
        else
            (void)!coord_watch(coord, what & 16 ? COORD_WATCH_NODE : COORD_WATCH_CHILDREN, path, on_watch,
                               script);
    }
}

static void say(struct script *script, struct text *message)
{
    /* Random bytes, too, may happen to answer the oldest request. */
    if (script->xid_count > 0 && message->size >= 4 && (int32_t)get_be32(message->data) == script->xids[0]) {
        script->xid_count--;
        memmove(script->xids, script->xids + 1, script->xid_count * sizeof *script->xids);
    }
    if (script->is_open) coord_door_message(script->coord, text_slice(message));
    text_free(message);
}

static void greet(struct script *script, uint8_t what)
{
    struct text message = {0};
    text_add_be32(&message, 0);
    text_add_be32(&message, what & 1 ? 0 : 6000); /* 0: the session has expired */
    text_add_be64(&message, 0x1000 + (what >> 4));
    text_add_be32(&message, 16);
    text_add(&message, SLICE("0123456789abcdef"));
    script->is_greeted = script->is_open && !(what & 1);
    say(script, &message);
}

static void answer(struct script *script, int32_t xid, uint8_t code, struct slice body)
{
    static const int16_t codes[] = {0, 0, 0, -101, -103, -110, -2, -112, -124, -4};
    struct text message = {0};
    text_add_be32(&message, (uint32_t)xid);
    text_add_be64(&message, 5);
    text_add_be32(&message, (uint32_t)codes[code % (sizeof codes / sizeof *codes)]);
    text_add(&message, body);
    say(script, &message);
}

static void step(struct script *script, uint8_t choice, uint8_t detail, struct slice body)
{
    switch (choice % 8) {
    case 0: ask(script, detail); break;
    case 1:
        script->now_ms = detail & 1 && script->due_ms != INT64_MAX ? script->due_ms : script->now_ms + detail;
        coord_door_tick(script->coord);
        break;
    case 2:
        if (!script->is_opening) break;
        script->is_opening = false;
        script->is_open = true;
        coord_door_opened(script->coord);
        break;
    case 3:
        if (script->is_open && !script->is_greeted) greet(script, detail);
        break;
    case 4:
        if (!script->is_open && !script->is_opening) break;
        script->is_open = script->is_opening = script->is_greeted = false;
        script->xid_count = 0;
        coord_door_closed(script->coord, ERR_EOF);
        break;
    case 5: answer(script, JUTE_XID_EVENT, 0, body); break;
    case 6:
        if (script->xid_count > 0) answer(script, script->xids[0], detail, body);
        break;
    default: {
        struct text message = {0};
        text_add(&message, body);
        say(script, &message);
    }
    }
}

static void quiet(void *context, enum diag_level level, const char *message)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct coord_door door = {.open = door_open,
                                           .send = door_send,
                                           .close = door_close,
                                           .now_ms = door_now_ms,
                                           .wake_at = door_wake_at,
                                           .random = door_random};
    if (size == 0) return 0;
    diag_set_sink(quiet, NULL);
    struct script script = {0};
    const struct coord_options options = {.chroot = data[0] & 1 ? "/a/kafka" : NULL};
    int64_t old_session = data[0] & 2 ? 99 : 0;
    CHECK(coord_new(&door, &script, &options, old_session, (const uint8_t[16]){0}, &script.coord) == OK);
    struct slice in = {data + 1, size - 1};
    while (in.size >= 3) {
        uint8_t choice = in.data[0], detail = in.data[1];
        size_t body_size = choice % 8 < 5 ? 0 : in.data[2];
        size_t used = choice % 8 < 5 ? 2 : 3;
        in = (struct slice){in.data + used, in.size - used};
        if (body_size > in.size) body_size = in.size;
        step(&script, choice, detail, (struct slice){in.data, body_size});
        in = (struct slice){in.data + body_size, in.size - body_size};
    }
    coord_close(&script.coord);
    CHECK(script.done == script.asked);
    return 0;
}
