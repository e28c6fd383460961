#include "broker/channel.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "broker/fetch_session.h"
#include "settings/settings.h"
#include "storage/log.h"

/* Without a large frame for so long, the memory kept for the next one is given back. */
enum { FRAME_MEMORY_QUIET_MS = 3000 };

static void advance(struct channel *channel);
static void parse(struct channel *channel, const uint8_t *data, size_t size);
static void update_reading(struct channel *channel);

/* --- life --- */

static void channel_release(struct channel *channel)
{
    if (--channel->busy > 0 || !channel->is_closed) return;
    free(channel->software);
    free(channel->stash);
    free(channel);
}

static void sweep_by(struct broker_loop *home, int64_t due_ms)
{
    if (loop_timer_running(&home->sweep) && home->sweep.due_ms <= due_ms) return;
    loop_timer_start(home->loop, &home->sweep, due_ms - loop_now_ms(home->loop));
}

/* Negative: for ever, as is more than the clock can count. 0 is as soon as can be: one that was active now is not due yet. */
static int64_t max_idle_ms(const struct broker_loop *home)
{
    int64_t idle_ms = settings_long(home->settings, SETTING_CONNECTIONS_MAX_IDLE_MS);
    if (idle_ms > INT64_MAX / 2) return -1;
    return idle_ms == 0 ? 1 : idle_ms;
}

static int64_t stall_ms(const struct broker_loop *home)
{
    return settings_long(home->settings, SETTING_REQUEST_STALL_TIMEOUT_MS);
}

static void touch(struct channel *channel)
{
    struct broker_loop *home = channel->home;
    channel->last_active_ms = loop_now_ms(home->loop);
    if (channel->is_finishing) return; /* its place is in front, and its time is set */
    list_remove(&channel->link);
    list_push_back(&home->channels, &channel->link);
}

static void end_incoming(struct channel *channel)
{
    list_remove(&channel->begun_link);
    channel->incoming = NULL;
    channel->incoming_got = 0;
    channel->prefix_got = 0;
}

static void leave_starved(struct channel *channel)
{
    if (!channel->is_starved) return;
    channel->is_starved = false;
    list_remove(&channel->starved_link);
    __atomic_fetch_sub(&channel->home->broker->starved_channels, 1, __ATOMIC_RELAXED);
}

struct departure {
    struct loop_message message;
    struct broker *broker;
    struct address peer;
};

/* Control loop: one connection less of this address. */
static void departed(struct loop_message *message)
{
    struct departure *departure = CONTAINER_OF(message, struct departure, message);
    broker_connection_left(departure->broker, &departure->peer);
    free(departure);
}

static void tell_departure(struct channel *channel)
{
    struct broker *broker = channel->home->broker;
    struct loop *control = broker->options.loops[0];
    __atomic_fetch_sub(&broker->connection_count, 1, __ATOMIC_RELAXED);
    struct departure *departure = malloc(sizeof *departure);
    if (!departure) return; /* its address is counted once too often: the lesser evil without memory */
    *departure = (struct departure){{.run = departed}, broker, channel->peer};
    if (control == channel->home->loop)
        departed(&departure->message);
    else
        loop_post(control, &departure->message);
}

void channel_close(struct channel *channel)
{
    if (channel->is_closed) return;
    channel->is_closed = true;
    channel->busy++;
    struct broker_loop *home = channel->home;
    stream_close(&channel->stream);
    loop_timer_stop(home->loop, &channel->mute);
    leave_starved(channel);
    if (channel->incoming) {
        struct request *incoming = channel->incoming;
        end_incoming(channel);
        request_free(incoming);
    }
    list_remove(&channel->begun_link);
    list_remove(&channel->link);
    home->channel_count--;
    /* The last one that the end gave some time has taken less. */
    if (loop_timer_running(&home->ending) && list_empty(&home->channels))
        loop_timer_start(home->loop, &home->ending, 0);
    while (!list_empty(&channel->requests)) {
        struct request *request = CONTAINER_OF(channel->requests.next, struct request, link);
        list_remove(&request->link);
        request->channel = NULL;
        if (request->state != REQUEST_RUNNING)
            request_free(request);
        else if (request->cancel)
            request->cancel(request);
    }
    tell_departure(channel);
    channel_release(channel);
}

void channel_finish(struct channel *channel)
{
    if (channel->is_closed || channel->is_finishing) return;
    channel->is_finishing = true;
    channel->finish_due_ms = loop_now_ms(channel->home->loop) + CHANNEL_FINISH_MS;
    update_reading(channel);
    stream_finish(channel->stream);
    /* Into the front: the sweep looks there first. */
    list_remove(&channel->link);
    list_push_front(&channel->home->channels, &channel->link);
    sweep_by(channel->home, channel->finish_due_ms);
}

/* --- reading --- */

static bool may_read(const struct channel *channel)
{
    return !channel->is_closed && !channel->is_finishing && !channel->is_muted && !channel->is_starved &&
           !channel->is_refusing && channel->request_count < REQUEST_READ_AHEAD &&
           stream_unsent_bytes(channel->stream) <= CHANNEL_UNSENT_MAX;
}

static void update_reading(struct channel *channel)
{
    if (channel->is_closed) return;
    bool want = may_read(channel);
    if (want && channel->stash) {
        uint8_t *stash = channel->stash;
        size_t size = channel->stash_size;
        channel->stash = NULL;
        channel->stash_size = 0;
        channel->busy++;
        parse(channel, stash, size);
        free(stash);
        want = may_read(channel) && !channel->stash;
        bool is_closed = channel->is_closed;
        channel_release(channel);
        if (is_closed) return;
    }
    if (want == channel->is_reading) return;
    channel->is_reading = want;
    stream_set_reading(channel->stream, want);
}

static void stash(struct channel *channel, const uint8_t *data, size_t size)
{
    assert(!channel->stash);
    if (size == 0) return;
    channel->stash = malloc(size);
    if (!channel->stash) {
        channel_close(channel);
        return;
    }
    memcpy(channel->stash, data, size);
    channel->stash_size = size;
}

/* What came makes no sense. Requests before it are answered first: it waits its turn as an answer that closes. */
static void refuse(struct channel *channel, struct request *request, const char *why)
{
    counter_add(channel->home->broker->counters.frames_refused, 1);
    diag_debug("closing connection of %s:%u: %s", channel->peer.host, channel->peer.port, why);
    request->state = REQUEST_ANSWERED;
    request->must_close = true;
    channel->is_refusing = true;
    list_push_back(&channel->requests, &request->link);
    channel->request_count++;
    advance(channel);
}

/* The frame is whole. */
static void take(struct channel *channel)
{
    struct request *request = channel->incoming;
    end_incoming(channel);
    request->channel = channel;
    request->read_us = loop_now_us(channel->home->loop);
    counter_add(channel->home->broker->counters.bytes_in, request->frame_size + 4);

    struct decode_fault fault = {{0}};
    enum error err = request_read_header(request, &fault);
    if (err != OK) {
        refuse(channel, request, fault.text[0] ? fault.text : error_text(err));
        return;
    }
    list_push_back(&channel->requests, &request->link);
    channel->request_count++;
    struct request *head = CONTAINER_OF(channel->requests.next, struct request, link);
    if (head != request && head->state == REQUEST_RUNNING && head->hurry) head->hurry(head);
    advance(channel);
}

/* The length is known. False: not yet, the budget is used up. */
static bool begin_frame(struct channel *channel)
{
    struct broker_loop *home = channel->home;
    int32_t size = (int32_t)get_be32(channel->prefix);
    int64_t max = settings_long(home->settings, SETTING_SOCKET_REQUEST_MAX_BYTES);
    if (size <= 0 || size > max) {
        struct request *request = request_new(home);
        channel->prefix_got = 0;
        if (!request) {
            channel_close(channel);
            return false;
        }
        request->channel = channel;
        refuse(channel, request, "a frame of an impossible length");
        return false;
    }
    if (!budget_try(&home->broker->budget, (size_t)size)) {
        if (!channel->is_starved) {
            channel->is_starved = true;
            list_push_back(&home->starved, &channel->starved_link);
            __atomic_fetch_add(&home->broker->starved_channels, 1, __ATOMIC_RELAXED);
        }
        return false;
    }
    struct request *request = request_new(home);
    if (!request) {
        budget_release(&home->broker->budget, (size_t)size, size > BUDGET_SMALL_FRAME);
        channel_close(channel);
        return false;
    }
    request->channel = channel;
    request->held_bytes = (size_t)size;
    request->held_as_large = size > BUDGET_SMALL_FRAME;
    request->frame_size = (size_t)size;
    request->frame_is_mapped = size > CHANNEL_SCRATCH_SIZE;
    request->frame = request->frame_is_mapped ? frame_memory_get(&home->frames, (size_t)size)
                                              : arena_alloc(&request->arena, (size_t)size);
    if (!request->frame) {
        request->frame_is_mapped = false;
        request_free(request);
        channel_close(channel);
        return false;
    }
    if (request->frame_is_mapped) {
        home->is_frame_memory_quiet = false;
        sweep_by(home, loop_now_ms(home->loop) + FRAME_MEMORY_QUIET_MS);
    }
    channel->incoming = request;
    channel->incoming_got = 0;
    return true;
}

static void parse(struct channel *channel, const uint8_t *data, size_t size)
{
    for (;;) {
        if (channel->is_closed || channel->is_finishing || channel->is_refusing) return;
        if (!channel->incoming) {
            if (!may_read(channel)) break;
            while (channel->prefix_got < 4 && size > 0) {
                channel->prefix[channel->prefix_got++] = *data++;
                size--;
            }
            if (channel->prefix_got < 4) return;
            if (!begin_frame(channel)) break;
        }
        struct request *incoming = channel->incoming;
        size_t missing = incoming->frame_size - channel->incoming_got;
        size_t part = size < missing ? size : missing;
        memcpy(incoming->frame + channel->incoming_got, data, part);
        channel->incoming_got += part;
        data += part;
        size -= part;
        if (part == missing) {
            take(channel);
            continue;
        }
        list_remove(&channel->begun_link);
        list_push_back(&channel->home->begun, &channel->begun_link);
        sweep_by(channel->home, loop_now_ms(channel->home->loop) + stall_ms(channel->home));
        return;
    }
    if (!channel->is_closed && !channel->is_finishing && !channel->is_refusing) stash(channel, data, size);
}

/* --- moving to another loop --- */

static const struct stream_events channel_events;

void channel_count_work(struct channel *channel, const struct loop *home)
{
    struct broker_loop *here = channel->home;
    channel->work_count++;
    if (home != here->loop) {
        if (!channel->away || channel->away->loop != home) {
            struct broker *broker = here->broker;
            for (size_t i = 0; i < broker->options.loop_count; i++) {
                if (broker->loops[i].loop == home) channel->away = &broker->loops[i];
            }
        }
        channel->away_count++;
    }
    if (channel->work_count < CHANNEL_WORK_SAMPLE) return;
    channel->must_move = channel->away_count > CHANNEL_WORK_SAMPLE / 2 && !here->broker->options.is_spread &&
                         loop_busy_permille(channel->away->loop) <= CHANNEL_MOVE_BUSY_MAX;
    channel->work_count = channel->away_count = 0;
}

static bool is_idle(const struct channel *channel)
{
    return list_empty(&channel->requests) && !channel->incoming && channel->prefix_got == 0 &&
           !channel->stash && !channel->is_muted && !channel->is_finishing && !channel->is_refusing &&
           stream_unsent_bytes(channel->stream) == 0;
}

/* Control loop: it arrived nowhere. */
static void move_failed(struct loop_message *message)
{
    struct channel *channel = CONTAINER_OF(message, struct channel, moving);
    tell_departure(channel);
    free(channel->software);
    free(channel);
}

static void settle(struct channel *channel)
{
    struct broker_loop *home = channel->home;
    list_push_back(&home->channels, &channel->link);
    home->channel_count++;
    channel->last_active_ms = loop_now_ms(home->loop);
    stream_set_events(channel->stream, &channel_events, channel);
    update_reading(channel);
    if (max_idle_ms(home) >= 0) sweep_by(home, channel->last_active_ms + max_idle_ms(home));
}

static void move_in(struct loop_message *message)
{
    struct channel *channel = CONTAINER_OF(message, struct channel, moving);
    struct broker_loop *home = channel->home;
    if (channel->moving_session) fetch_sessions_give(home->sessions, channel->moving_session);
    channel->moving_session = NULL;
    enum error err = stream_attach(home->loop, &channel->detached, &channel->stream);
    if (err != OK || home->is_ended) {
        stream_close(&channel->stream);
        channel->moving.run = move_failed;
        loop_post(home->broker->options.loops[0], &channel->moving);
        return;
    }
    settle(channel);
}

/* Its bytes wait in the socket meanwhile. False: it stays. */
static bool move_out(struct channel *channel)
{
    struct broker_loop *home = channel->home;
    channel->must_move = false;
    if (channel->is_reading) stream_set_reading(channel->stream, false);
    channel->is_reading = false;
    if (stream_detach(&channel->stream, &channel->detached) != OK) {
        update_reading(channel);
        return false;
    }
    list_remove(&channel->link);
    home->channel_count--;
    if (channel->fetch_session_id != 0) {
        channel->moving_session = fetch_sessions_take(home->sessions, channel->fetch_session_id);
    }
    channel->home = channel->away;
    channel->away = NULL;
    channel->work_count = channel->away_count = 0; /* what is away from here is another loop */
    channel->moving.run = move_in;
    loop_post(channel->home->loop, &channel->moving);
    return true;
}

static void on_readable(void *context)
{
    struct channel *channel = context;
    if (channel->must_move && channel->busy == 0 && is_idle(channel) && move_out(channel)) return;
    channel->busy++;
    touch(channel);
    for (size_t taken = 0; taken < CHANNEL_TURN_BYTES && may_read(channel);) {
        struct request *incoming = channel->incoming;
        uint8_t *into = incoming ? incoming->frame + channel->incoming_got : channel->home->scratch;
        size_t room = incoming ? incoming->frame_size - channel->incoming_got : CHANNEL_SCRATCH_SIZE;
        size_t got = 0;
        enum error err = stream_read(channel->stream, into, room, &got);
        if (err == ERR_AGAIN) break;
        if (err != OK) {
            channel_close(channel);
            break;
        }
        taken += got;
        if (!incoming) {
            parse(channel, into, got);
        } else {
            channel->incoming_got += got;
            list_remove(&channel->begun_link);
            list_push_back(&channel->home->begun, &channel->begun_link);
            if (got == room) take(channel);
        }
        if (got < room) break;
    }
    if (!channel->is_closed) update_reading(channel);
    channel_release(channel);
}

static void on_drained(void *context)
{
    struct channel *channel = context;
    touch(channel);
    update_reading(channel);
}

static void on_closed(void *context, enum error err)
{
    channel_close(context);
}

static const struct stream_events channel_events = {on_readable, on_drained, on_closed};

/* --- order --- */

static void answer_taken(struct bytes *bytes, void *context)
{
    struct broker *broker = context;
    budget_release(&broker->budget, bytes->capacity, false);
    channel_feed(broker);
}

/* Large answers count until the peer took them. */
static void hold_answer(struct broker *broker, struct bytes *answer)
{
    if (answer->capacity <= CHANNEL_SCRATCH_SIZE) return;
    budget_force(&broker->budget, answer->capacity);
    answer->free_hook = answer_taken;
    answer->free_context = broker;
}

/* Hands the answer to the stream: bytes, and between them ranges of files. */
static enum error write_answer(struct channel *channel, struct request *request)
{
    struct bytes *answer = request->answer;
    request->answer = NULL;
    counter_add(channel->home->broker->counters.bytes_out, answer->size);
    hold_answer(channel->home->broker, answer);
    size_t at = 0;
    enum error err = OK;
    for (size_t i = 0; i < request->splices.count; i++) {
        struct log_slice *slice = request->splices.items[i].external;
        size_t until = request->splices.items[i].at;
        if (err == OK && until > at)
            err = stream_write(channel->stream, bytes_retain(answer), at, until - at);
        at = until;
        if (err != OK || slice->size == 0) {
            log_slice_release(slice);
            continue;
        }
        counter_add(channel->home->broker->counters.bytes_out, slice->size);
        err = stream_write_file(channel->stream, slice->file, slice->position, slice->size, NULL, NULL);
        slice->file = NULL; /* the stream's now */
    }
    request->splices.count = 0;
    if (err == OK && answer->size > at) return stream_write(channel->stream, answer, at, answer->size - at);
    bytes_release(&answer);
    return err;
}

static void unmute(struct loop_timer *timer)
{
    struct channel *channel = CONTAINER_OF(timer, struct channel, mute);
    channel->is_muted = false;
    channel->busy++;
    advance(channel);
    if (!channel->is_closed) update_reading(channel);
    channel_release(channel);
}

/* The head of the line is answered: out it goes. */
static void write_head(struct channel *channel, struct request *request)
{
    enum error err = request->answer ? write_answer(channel, request) : OK;
    bool must_close = request->must_close;
    int32_t throttle_ms = request->throttle_ms;
    list_remove(&request->link);
    channel->request_count--;
    request_account(request);
    request_free(request);
    if (err != OK) {
        channel_close(channel);
    } else if (must_close) {
        channel_finish(channel);
    } else if (throttle_ms > 0) {
        channel->is_muted = true;
        channel->mute.run = unmute;
        loop_timer_start(channel->home->loop, &channel->mute, throttle_ms);
    }
}

/* The next that may start, NULL when none may. */
static struct request *startable(struct channel *channel)
{
    bool all_pipeline = true;
    if (channel->is_muted) return NULL;
    LIST_EACH(&channel->requests, item)
    {
        struct request *request = CONTAINER_OF(item, struct request, link);
        if (request->state == REQUEST_ANSWERED && request->must_close) return NULL;
        bool is_first = item == channel->requests.next;
        if (request->state == REQUEST_READ) {
            return is_first || (all_pipeline && request->api->may_pipeline) ? request : NULL;
        }
        if (request->state == REQUEST_RUNNING && !request->api->may_pipeline) all_pipeline = false;
    }
    return NULL;
}

static void advance(struct channel *channel)
{
    channel->must_advance = true;
    if (channel->is_advancing || channel->is_closed) return;
    channel->is_advancing = true;
    channel->busy++;
    while (channel->must_advance) {
        channel->must_advance = false;
        while (!channel->is_closed && !channel->is_finishing && !channel->is_muted &&
               !list_empty(&channel->requests)) {
            struct request *head = CONTAINER_OF(channel->requests.next, struct request, link);
            if (head->state != REQUEST_ANSWERED) break;
            write_head(channel, head);
        }
        if (channel->is_closed || channel->is_finishing) break;
        struct request *next = startable(channel);
        if (!next) continue;
        channel->must_advance = true;
        request_start(next);
    }
    channel->is_advancing = false;
    channel_release(channel);
}

void channel_answered(struct channel *channel)
{
    channel->busy++;
    bool was_inside = channel->is_advancing;
    advance(channel);
    if (!was_inside && !channel->is_closed) update_reading(channel);
    channel_release(channel);
}

/* --- the budget --- */

static void fed(struct loop_message *message)
{
    struct broker_loop *home = CONTAINER_OF(message, struct broker_loop, fed);
    __atomic_store_n(&home->is_fed_posted, false, __ATOMIC_RELAXED);
    struct list waiting;
    list_init(&waiting);
    LIST_EACH(&home->starved, item)
    {
        list_remove(item);
        list_push_back(&waiting, item);
    }
    while (!list_empty(&waiting)) {
        struct channel *channel = CONTAINER_OF(waiting.next, struct channel, starved_link);
        channel->busy++;
        leave_starved(channel);
        touch(channel);
        if (!begin_frame(channel) && channel->is_starved) {
            /* Still hungry, and back in line. The rest may be smaller. */
        } else if (!channel->is_closed) {
            update_reading(channel);
        }
        channel_release(channel);
    }
}

void channel_feed(struct broker *broker)
{
    if (__atomic_load_n(&broker->starved_channels, __ATOMIC_RELAXED) == 0) return;
    for (size_t i = 0; i < broker->options.loop_count; i++) {
        struct broker_loop *home = &broker->loops[i];
        if (__atomic_exchange_n(&home->is_fed_posted, true, __ATOMIC_RELAXED)) continue;
        home->fed.run = fed;
        loop_post(home->loop, &home->fed);
    }
}

/* --- time --- */

static void sweep(struct loop_timer *timer)
{
    struct broker_loop *home = CONTAINER_OF(timer, struct broker_loop, sweep);
    int64_t now_ms = loop_now_ms(home->loop), next_ms = INT64_MAX, idle_ms = max_idle_ms(home);
    LIST_EACH(&home->begun, item)
    {
        struct channel *channel = CONTAINER_OF(item, struct channel, begun_link);
        int64_t due_ms = channel->last_active_ms + stall_ms(home);
        if (due_ms > now_ms) {
            next_ms = due_ms;
            break;
        }
        diag_debug("closing connection of %s:%u: no byte of a begun frame for too long", channel->peer.host,
                   channel->peer.port);
        channel_close(channel);
    }
    LIST_EACH(&home->channels, item)
    {
        struct channel *channel = CONTAINER_OF(item, struct channel, link);
        int64_t due_ms = channel->is_finishing ? channel->finish_due_ms : channel->last_active_ms + idle_ms;
        if (!channel->is_finishing && idle_ms < 0) break;
        /* Somebody who waits for an answer of ours is not idle. */
        if (!channel->is_finishing && due_ms <= now_ms && channel->request_count > 0) {
            touch(channel);
            if (now_ms + idle_ms < next_ms) next_ms = now_ms + idle_ms;
            continue;
        }
        if (due_ms > now_ms) {
            if (due_ms < next_ms) next_ms = due_ms;
            if (channel->is_finishing) continue;
            break;
        }
        channel_close(channel);
    }
    if (home->frames.kept_bytes > 0 && home->is_frame_memory_quiet) {
        frame_memory_trim(&home->frames);
        malloc_trim(0);
    }
    home->is_frame_memory_quiet = true;
    if (home->frames.kept_bytes > 0 && next_ms > now_ms + FRAME_MEMORY_QUIET_MS)
        next_ms = now_ms + FRAME_MEMORY_QUIET_MS;
    if (next_ms != INT64_MAX) sweep_by(home, next_ms);
}

void channel_loop_init(struct broker_loop *home)
{
    list_init(&home->channels);
    list_init(&home->begun);
    list_init(&home->starved);
    home->sweep.run = sweep;
}

void channel_loop_close(struct broker_loop *home)
{
    home->is_ended = true;
    while (!list_empty(&home->channels)) {
        channel_close(CONTAINER_OF(home->channels.next, struct channel, link));
    }
    loop_timer_stop(home->loop, &home->sweep);
    frame_memory_trim(&home->frames);
}

enum error channel_open(struct broker_loop *home, const struct broker_listener *listener,
                        struct stream *stream)
{
    struct channel *channel = calloc(1, sizeof *channel);
    if (!channel) return ERR_NOMEM;
    channel->home = home;
    channel->listener = listener;
    channel->stream = stream;
    stream_peer(stream, &channel->peer);
    /* Small, so that what is sent is still in the processor's cache when a fast reader takes it. */
    int64_t send_buffer = settings_long(home->settings, SETTING_SOCKET_SEND_BUFFER_BYTES);
    if (send_buffer > 0) stream_set_send_buffer(stream, (int)send_buffer);
    list_init(&channel->requests);
    list_init(&channel->begun_link);
    list_init(&channel->starved_link);
    list_init(&channel->link);
    settle(channel);
    return OK;
}
