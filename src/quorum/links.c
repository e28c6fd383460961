#include "quorum/links.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/list.h"
#include "base/text.h"
#include "loop/loop.h"
#include "loop/stream.h"
#include "loop/tls.h"

enum {
    IDS = QUORUM_MEMBER_ZERO + 1,
    RETRY_FIRST_MS = 20,
    RETRY_LAST_MS = 500,
    PATIENCE_MS = 1000, /* with a member that should dial us */
    DIAL_TIMEOUT_MS = 1000,
    HELLO_TIMEOUT_MS = 5000,
    READ_STEP = 64 << 10,    /* asked of the stream at once */
    READ_TURN = 512 << 10,   /* of one link in a turn */
    BUFFER_KEPT = 256 << 10, /* given back above this */
    GUESTS_MAX = 64,         /* connections that have not said who they are */
};

/* One connection, from its first byte. */
struct link {
    struct links *links;
    struct list in_links;
    struct stream *stream;
    int32_t id; /* 0: a guest that has not said it */
    bool is_up, is_ours, is_paused, is_refused;
    uint8_t *buffer;
    size_t used, capacity;
    int64_t heard_ms, sent_ms;
    struct loop_timer timer;
};

/* A member to dial. */
struct target {
    struct links *links;
    int32_t id;
    char *host;
    uint16_t port;
    struct connecting *connecting;
    struct loop_timer retry;
    int64_t delay_ms;
    bool is_told; /* that it cannot be reached */
};

struct links {
    struct loop *loop;
    int32_t id, silence_ms;
    char *host;
    uint16_t port;
    struct tls_peers tls;
    struct links_events events;
    void *context;
    struct listener *listener;
    struct list all;
    int guests;
    struct link *up[IDS]; /* by id; from its hello on */
    struct target *targets[IDS];
};

static void target_dial(struct target *target);
static void on_readable(void *context);
static void on_drained(void *context);
static void on_closed(void *context, enum error err);

/* It should dial us; but it need not know of us yet, having an old membership. */
static bool is_patient(const struct target *target)
{
    return target->id > target->links->id;
}

static void target_again(struct target *target)
{
    struct links *links = target->links;
    if (target->connecting || loop_timer_running(&target->retry)) return;
    uint8_t dice;
    loop_random(links->loop, &dice, 1);
    int64_t delay_ms = is_patient(target) ? PATIENCE_MS : target->delay_ms;
    loop_timer_start(links->loop, &target->retry, delay_ms + delay_ms * dice / 512);
    target->delay_ms = target->delay_ms * 2 < RETRY_LAST_MS ? target->delay_ms * 2 : RETRY_LAST_MS;
}

/* Frees it and says so, once. */
static void link_end(struct link *link, bool is_gone)
{
    struct links *links = link->links;
    int32_t id = link->id;
    bool was_up = link->is_up;
    if (id && links->up[id] == link) links->up[id] = NULL;
    if (!id) links->guests--;
    loop_timer_stop(links->loop, &link->timer);
    list_remove(&link->in_links);
    if (link->is_refused)
        stream_close_after_sending(&link->stream);
    else
        stream_close(&link->stream);
    free(link->buffer);
    free(link);
    struct target *target = id ? links->targets[id] : NULL;
    if (target && !links->up[id]) target_again(target);
    if (was_up) links->events.down(links->context, id, is_gone);
}

static enum error say(struct link *link, const uint8_t *head, size_t head_size, struct bytes *body)
{
    struct bytes *copy = bytes_copy(head, head_size);
    enum error err = copy ? stream_write(link->stream, copy, 0, head_size) : ERR_NOMEM;
    if (!body) return err;
    if (err == OK && body->size > 0) return stream_write(link->stream, body, 0, body->size);
    bytes_release(&body);
    return err;
}

static enum error say_hello(struct link *link, int32_t to)
{
    struct links *links = link->links;
    struct frame frame = {.kind = FRAME_HELLO};
    links->events.hello(links->context, &frame.hello);
    frame.hello.from = links->id;
    frame.hello.to = to;
    uint8_t head[FRAME_SMALL_MAX];
    return say(link, head, frame_encode(&frame, head), NULL);
}

static void timer_run(struct loop_timer *timer)
{
    struct link *link = CONTAINER_OF(timer, struct link, timer);
    struct links *links = link->links;
    int64_t now_ms = loop_now_ms(links->loop);
    int64_t patience_ms = link->is_up ? links->silence_ms : HELLO_TIMEOUT_MS;
    if (link->is_paused) link->heard_ms = now_ms;
    if (now_ms - link->heard_ms >= patience_ms) {
        if (link->is_up) diag_info("member %d is silent: hanging up", quorum_member_number(link->id));
        link_end(link, true);
        return;
    }
    if (link->is_up) {
        static const uint8_t ping[FRAME_HEAD_SIZE] = {0, 0, 0, 1, FRAME_PING};
        if (stream_unsent_bytes(link->stream) == 0 && say(link, ping, sizeof ping, NULL) != OK) {
            link_end(link, true);
            return;
        }
    }
    loop_timer_start(links->loop, &link->timer, links->silence_ms / 4);
}

static struct link *link_new(struct links *links, struct stream *stream, int32_t id)
{
    static const struct stream_events events = {on_readable, on_drained, on_closed};
    struct link *link = calloc(1, sizeof *link);
    if (!link) return NULL;
    *link = (struct link){.links = links,
                          .stream = stream,
                          .id = id,
                          .is_ours = id != 0,
                          .heard_ms = loop_now_ms(links->loop),
                          .timer.run = timer_run};
    list_push_back(&links->all, &link->in_links);
    links->guests += id == 0;
    stream_set_events(stream, &events, link);
    stream_set_reading(stream, true);
    loop_timer_start(links->loop, &link->timer, links->silence_ms / 4);
    return link;
}

static enum error hello_hear(struct link *link, const struct frame_hello *hello)
{
    struct links *links = link->links;
    struct address peer;
    stream_peer(link->stream, &peer);
    bool is_expected = link->id ? hello->from == link->id : hello->from != links->id;
    if (hello->to != links->id || !is_expected) {
        diag_warn("a connection with %s:%u is from member %d to member %d, and this is member %d: hanging up",
                  peer.host, peer.port, quorum_member_number(hello->from), quorum_member_number(hello->to),
                  quorum_member_number(links->id));
        return ERR_CONFIG;
    }
    struct link *other = links->up[hello->from];
    bool is_patients =
        link->is_ours == (hello->from > links->id); /* the one who dialled should have been dialled */
    if (other && is_patients && loop_now_ms(links->loop) - other->heard_ms < PATIENCE_MS)
        return ERR_CONFIG; /* both dialled */
    enum error err = links->events.check(links->context, hello);
    /* Also to whom we refuse: it finds the same reason. */
    enum error said = link->is_ours ? OK : say_hello(link, hello->from);
    link->is_refused = err != OK;
    if (err == OK) err = said;
    if (err != OK) return err;
    if (links->up[hello->from]) link_end(links->up[hello->from], true);
    if (!link->id) links->guests--;
    link->id = hello->from;
    link->is_up = true;
    links->up[link->id] = link;
    struct target *target = links->targets[link->id];
    if (target) {
        target->delay_ms = RETRY_FIRST_MS;
        target->is_told = false;
        loop_timer_stop(links->loop, &target->retry);
    }
    links->events.up(links->context, link->id, hello);
    return OK;
}

/* Of one link, whole frames that are there. False: the link is gone. */
static bool frames_hear(struct link *link)
{
    struct links *links = link->links;
    size_t at = 0;
    while (link->used - at >= FRAME_HEAD_SIZE) {
        const uint8_t *head = link->buffer + at;
        size_t size = frame_size(head);
        bool is_early = !link->is_up && head[4] != FRAME_HELLO;
        struct frame frame;
        enum error err = size == 0 || is_early ? ERR_CORRUPT : OK;
        if (err == OK && link->used - at - 4 < size) break;
        if (err == OK) err = frame_decode((struct slice){head + 4, size}, &frame);
        if (err == OK && frame.kind == FRAME_HELLO) {
            err = link->is_up ? ERR_CORRUPT : hello_hear(link, &frame.hello);
            if (err == OK && links->up[frame.hello.from] != link) return false;
        } else if (err == OK && frame.kind != FRAME_PING) {
            int32_t id = link->id;
            err = links->events.frame(links->context, id, &frame);
            if (links->up[id] != link) return false; /* dropped meanwhile */
        }
        if (err != OK) {
            struct address peer;
            stream_peer(link->stream, &peer);
            if (err != ERR_CONFIG) /* else it was said */
                diag_warn("member %d at %s:%u sends what cannot be used (%s): hanging up",
                          quorum_member_number(link->id), peer.host, peer.port, error_text(err));
            link_end(link, false);
            return false;
        }
        at += 4 + size;
    }
    memmove(link->buffer, link->buffer + at, link->used - at);
    link->used -= at;
    if (link->used == 0 && link->capacity > BUFFER_KEPT) {
        free(link->buffer);
        link->buffer = NULL;
        link->capacity = 0;
    }
    return true;
}

static void on_readable(void *context)
{
    struct link *link = context;
    for (size_t turn = 0; turn < READ_TURN && !link->is_paused;) {
        /* Twice what came so far: a length alone makes nobody rich. */
        size_t wanted = link->used + (link->used > READ_STEP ? link->used : READ_STEP);
        if (link->capacity < link->used + READ_STEP) {
            uint8_t *grown = realloc(link->buffer, wanted);
            if (!grown) {
                link_end(link, false);
                return;
            }
            link->buffer = grown;
            link->capacity = wanted;
        }
        size_t got = 0;
        enum error err =
            stream_read(link->stream, link->buffer + link->used, link->capacity - link->used, &got);
        if (err == ERR_AGAIN) return;
        if (err != OK) {
            link_end(link, true);
            return;
        }
        link->used += got;
        turn += got;
        link->heard_ms = loop_now_ms(link->links->loop);
        if (!frames_hear(link)) return;
    }
}

static void on_drained(void *context)
{
    struct link *link = context;
    if (link->is_up) link->links->events.room(link->links->context, link->id);
}

static void on_closed(void *context, enum error err)
{
    link_end(context, true);
}

static void on_accept(void *context, struct stream *stream)
{
    struct links *links = context;
    struct tls_start start = {.admits_plain = links->tls.admits_plain};
    enum error err = links->guests < GUESTS_MAX ? OK : ERR_LIMIT;
    if (err == OK && links->tls.accepting) err = stream_start_tls(stream, links->tls.accepting, &start);
    if (err != OK || !link_new(links, stream, 0)) stream_close(&stream);
}

static void on_connected(void *context, enum error err, struct stream *stream)
{
    struct target *target = context;
    struct links *links = target->links;
    target->connecting = NULL;
    struct tls_start start = {.host = target->host, .checks_host = links->tls.checks_host};
    if (err == OK && links->tls.dialing) {
        err = stream_start_tls(stream, links->tls.dialing, &start);
        if (err != OK) stream_close(&stream);
    }
    struct link *link = err == OK ? link_new(links, stream, target->id) : NULL;
    if (err == OK && !link) stream_close(&stream);
    if (link && say_hello(link, target->id) != OK) {
        link_end(link, false); /* dials again */
        return;
    }
    if (link) return;
    if (!target->is_told && err != OK) {
        diag_info("member %d at %s:%u cannot be reached: %s; trying again", quorum_member_number(target->id),
                  target->host, target->port, error_text(err));
        target->is_told = true;
    }
    target_again(target);
}

static void target_dial(struct target *target)
{
    struct links *links = target->links;
    if (target->connecting || links->up[target->id]) return;
    if (stream_connect(links->loop, target->host, target->port, DIAL_TIMEOUT_MS, on_connected, target,
                       &target->connecting) != OK) {
        target_again(target);
    }
}

static void retry_run(struct loop_timer *timer)
{
    target_dial(CONTAINER_OF(timer, struct target, retry));
}

static void target_free(struct links *links, int32_t id)
{
    struct target *target = links->targets[id];
    links->targets[id] = NULL;
    if (!target) return;
    stream_connect_cancel(&target->connecting);
    loop_timer_stop(links->loop, &target->retry);
    free(target->host);
    free(target);
}

static bool target_is(const struct target *target, const struct seat *seat)
{
    return target && target->port == seat->port && strcmp(target->host, seat->host) == 0;
}

void links_expect(struct links *links, const struct membership *membership)
{
    for (int32_t id = 1; id < IDS; id++) {
        if (id == links->id) continue;
        const struct seat *seat = membership_seat((struct membership *)membership, id);
        if (seat && target_is(links->targets[id], seat)) continue;
        bool was_ours = links->targets[id] && links->up[id] && links->up[id]->is_ours;
        target_free(links, id);
        if (was_ours) link_end(links->up[id], false);
        if (!seat) continue;
        struct target *target = calloc(1, sizeof *target);
        char *host = slice_dup(slice_of(seat->host));
        if (!target || !host) {
            diag_error("no memory to reach member %d", quorum_member_number(id));
            free(target);
            free(host);
            continue;
        }
        *target = (struct target){.links = links,
                                  .id = id,
                                  .host = host,
                                  .port = seat->port,
                                  .retry.run = retry_run,
                                  .delay_ms = RETRY_FIRST_MS};
        links->targets[id] = target;
        if (is_patient(target) && !links->up[id]) target_again(target);
        if (!is_patient(target)) target_dial(target);
    }
}

enum error links_new(struct loop *loop, const struct links_config *config, const struct links_events *events,
                     void *context, struct links **links)
{
    struct links *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    *made = (struct links){.loop = loop,
                           .id = config->id,
                           .silence_ms = config->silence_ms,
                           .host = slice_dup(slice_of(config->host)),
                           .port = config->port,
                           .tls = tls_peers_retain(&config->tls),
                           .events = *events,
                           .context = context};
    list_init(&made->all);
    if (!made->host) {
        tls_peers_release(&made->tls);
        free(made);
        return ERR_NOMEM;
    }
    *links = made;
    return OK;
}

enum error links_listen(struct links *links)
{
    return stream_listen(links->loop, links->host, links->port, 64, on_accept, links, &links->listener);
}

void links_free(struct links **links)
{
    struct links *held = *links;
    *links = NULL;
    if (!held) return;
    for (int32_t id = 0; id < IDS; id++) target_free(held, id);
    if (held->listener) listener_close(&held->listener);
    LIST_EACH(&held->all, item)
    {
        struct link *link = CONTAINER_OF(item, struct link, in_links);
        link->is_up = false; /* nobody hears of it */
        link_end(link, false);
    }
    tls_peers_release(&held->tls);
    free(held->host);
    free(held);
}

bool links_is_up(const struct links *links, int32_t id)
{
    return id > 0 && id < IDS && links->up[id];
}

enum error links_send(struct links *links, int32_t id, const uint8_t *head, size_t head_size,
                      struct bytes *body)
{
    if (!links_is_up(links, id)) {
        bytes_release(&body);
        return ERR_CLOSED;
    }
    return say(links->up[id], head, head_size, body);
}

enum error links_send_frame(struct links *links, int32_t id, const struct frame *frame)
{
    uint8_t head[FRAME_SMALL_MAX];
    return links_send(links, id, head, frame_encode(frame, head), NULL);
}

size_t links_unsent_bytes(const struct links *links, int32_t id)
{
    return links_is_up(links, id) ? stream_unsent_bytes(links->up[id]->stream) : 0;
}

void links_pause(struct links *links, int32_t id, bool is_paused)
{
    if (!links_is_up(links, id) || links->up[id]->is_paused == is_paused) return;
    links->up[id]->is_paused = is_paused;
    stream_set_reading(links->up[id]->stream, !is_paused);
}

void links_drop(struct links *links, int32_t id)
{
    if (links_is_up(links, id)) link_end(links->up[id], false);
}
