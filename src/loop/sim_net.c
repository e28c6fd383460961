/* sim_net.c: stream.h over a simulated network.
 *
 *     end 0  --- pipe 0 --->  end 1         a pipe holds segments in order: some on the wire, some arrived and unread
 *            <-- pipe 1 ----                at most PIPE_BYTES of them; what does not fit stays unsent at its end
 *
 * Segments of a pipe keep their order, each with its own delay; between machines that are cut they are sent again until the
 * cut heals. A reset overtakes what is on the wire. An end that closes with bytes unread resets, as TCP does. Names are the
 * machines' hosts, and "localhost" or a loopback address is the machine itself.
 */
#include "loop/sim_net_inside.h"
#include "loop/tls.h"

enum {
    PIPE_BYTES = 128 * 1024,
    SEGMENT_BYTES = 32 * 1024,
    FULL_BYTES = 64 * 1024,
    LOCAL_MAX_US = 50,
    LINGER_MS = 2000,
};

int64_t net_delay_us(struct sim *sim, const struct sim_machine *a, const struct sim_machine *b)
{
    if (a == b) return sim_between(sim, 1, LOCAL_MAX_US);
    return sim_between(sim, sim->min_delay_us, sim->max_delay_us);
}

/* --- what an end notices --- */

static void to_flush(struct stream *stream)
{
    if (stream->is_detached || !stream->connection) return;
    if (list_empty(&stream->in_flush)) list_push_back(&stream->loop->flush, &stream->in_flush);
    if (!loop_is_current(stream->loop))
        loop_wake_at(stream->loop, stream->sim->now_us + sim_between(stream->sim, 1, 20));
}

static bool has_something(const struct stream *stream)
{
    if (stream->was_reset) return true;
    const struct pipe *in = &stream->connection->pipes[!stream->side];
    return in->first != in->flying || in->has_ended;
}

/* Something came, or reading was turned on. */
static void look(struct stream *stream)
{
    if (!stream->connection || stream->is_detached || !has_something(stream)) return;
    bool is_wanted = (stream->is_reading || stream->is_shut) && stream->ended == OK;
    if (!is_wanted) {
        if (stream->was_reset && stream->queue.first) to_flush(stream); /* who writes is told by that */
        return;
    }
    if (!list_empty(&stream->in_ready)) return;
    list_push_back(&stream->loop->ready, &stream->in_ready);
    if (!loop_is_current(stream->loop))
        loop_wake_at(stream->loop, stream->sim->now_us + sim_between(stream->sim, 1, 20));
}

static void end(struct stream *stream, enum error err)
{
    if (stream->is_told) return;
    if (stream->ended == OK) stream->ended = err;
    to_flush(stream);
}

/* --- pipes --- */

static void drop_segments(struct pipe *pipe, bool arrived_too)
{
    struct segment **link = &pipe->first, *last = NULL;
    while (*link != pipe->flying && !arrived_too) {
        last = *link;
        link = &last->next;
    }
    while (*link) {
        struct segment *next = (*link)->next;
        pipe->bytes -= (*link)->size - (*link)->read;
        free(*link);
        *link = next;
    }
    pipe->last = last;
    pipe->flying = NULL;
    sim_event_cancel(pipe->connection->sim, &pipe->arrival);
}

static void connection_free_if_done(struct connection *connection)
{
    if (connection->ends[0] || connection->ends[1]) return;
    for (int i = 0; i < 2; i++) {
        drop_segments(&connection->pipes[i], true);
        sim_event_cancel(connection->sim, &connection->pipes[i].reset);
    }
    list_remove(&connection->in_world);
    free(connection);
}

static void schedule_arrival(struct pipe *pipe)
{
    if (pipe->flying) sim_event_at(pipe->connection->sim, &pipe->arrival, pipe->flying->arrives_us);
}

static void send_reset(struct pipe *pipe, int64_t after_us);

static void segment_arrives(sim_event *event)
{
    struct pipe *pipe = CONTAINER_OF(event, struct pipe, arrival);
    struct connection *connection = pipe->connection;
    struct sim *sim = connection->sim;
    struct sim_machine *from = connection->machines[pipe->from], *to = connection->machines[!pipe->from];
    if (sim_is_cut(sim, from, to)) {
        sim_event_at(sim, event, sim->now_us + sim_between(sim, RETRY_US / 2, RETRY_US * 2));
        return;
    }
    struct segment *segment = pipe->flying;
    struct stream *reader = connection->ends[!pipe->from];
    sim_note(sim, to, SIM_ARRIVE, (int64_t)segment->size, segment->is_end);
    pipe->flying = segment->next;
    if (segment->is_end) pipe->has_ended = true;
    schedule_arrival(pipe);
    if (reader) {
        look(reader);
    } else if (!segment->is_end) { /* nobody there to take it */
        drop_segments(pipe, true);
        send_reset(&connection->pipes[!pipe->from], net_delay_us(sim, from, to));
    }
}

static void reset_arrives(sim_event *event)
{
    struct pipe *pipe = CONTAINER_OF(event, struct pipe, reset);
    struct connection *connection = pipe->connection;
    struct sim *sim = connection->sim;
    struct sim_machine *from = connection->machines[pipe->from], *to = connection->machines[!pipe->from];
    if (sim_is_cut(sim, from, to)) {
        sim_event_at(sim, event, sim->now_us + sim_between(sim, RETRY_US / 2, RETRY_US * 2));
        return;
    }
    sim_note(sim, to, SIM_RESET, 0, 0);
    drop_segments(pipe, false); /* what is on the wire to it; what has arrived can be read */
    drop_segments(&connection->pipes[!pipe->from], true); /* and what it sent */
    struct stream *stream = connection->ends[!pipe->from];
    if (!stream) return;
    stream->was_reset = true;
    look(stream);
}

/* The end that `pipe` leads to will hear a reset. */
static void send_reset(struct pipe *pipe, int64_t after_us)
{
    if (loop_timer_running(&pipe->reset) || !pipe->connection->ends[!pipe->from]) return;
    sim_event_at(pipe->connection->sim, &pipe->reset, pipe->connection->sim->now_us + after_us);
}

static void send_segment(struct pipe *pipe, struct segment *segment)
{
    struct connection *connection = pipe->connection;
    struct sim *sim = connection->sim;
    int64_t arrives_us =
        sim->now_us + sim->charge_us + net_delay_us(sim, connection->machines[0], connection->machines[1]);
    if (arrives_us <= pipe->last_arrival_us) arrives_us = pipe->last_arrival_us + 1;
    pipe->last_arrival_us = arrives_us;
    segment->arrives_us = arrives_us;
    segment->next = NULL;
    if (pipe->first) {
        pipe->last->next = segment;
    } else {
        pipe->first = segment;
    }
    pipe->last = segment;
    pipe->bytes += segment->size;
    sim_note(sim, connection->machines[pipe->from], SIM_SEND, (int64_t)segment->size, segment->is_end);
    if (pipe->flying) return;
    pipe->flying = segment;
    schedule_arrival(pipe);
}

static struct segment *segment_new(size_t size)
{
    struct segment *segment = calloc(1, sizeof *segment + size);
    assert(segment);
    segment->size = size;
    return segment;
}

static void send_end(struct pipe *pipe)
{
    struct segment *fin = segment_new(0);
    fin->is_end = true;
    send_segment(pipe, fin);
}

/* --- life --- */

static struct stream *stream_new(struct connection *connection, int side, struct loop *loop)
{
    struct stream *stream = calloc(1, sizeof *stream);
    assert(stream);
    stream->sim = connection->sim;
    stream->loop = loop;
    stream->machine = loop->machine;
    stream->connection = connection;
    stream->side = side;
    connection->ends[side] = stream;
    list_init(&stream->in_ready);
    list_init(&stream->in_flush);
    list_init(&stream->in_backlog);
    list_push_back(&stream->sim->streams, &stream->in_world);
    return stream;
}

static void leave_lists(struct stream *stream)
{
    list_remove(&stream->in_ready);
    list_remove(&stream->in_flush);
    list_remove(&stream->in_backlog);
    sim_event_cancel(stream->sim, &stream->linger);
}

/* The kernel's part of closing: FIN after what was sent, or a reset when bytes are unread. */
static void hang_up(struct stream *stream)
{
    struct connection *connection = stream->connection;
    if (!connection) return;
    struct pipe *out = &connection->pipes[stream->side], *in = &connection->pipes[!stream->side];
    struct sim *sim = connection->sim;
    struct sim_machine *here = connection->machines[stream->side],
                       *there = connection->machines[!stream->side];
    bool has_unread = in->first && in->first != in->flying && !in->first->is_end;
    bool is_more_coming = in->flying && !in->flying->is_end;
    stream->connection = NULL;
    connection->ends[stream->side] = NULL;
    if (stream->was_reset) {
        /* It is over already. */
    } else if (has_unread) {
        send_reset(out, net_delay_us(sim, here, there));
    } else {
        if (!stream->is_shut && connection->ends[!stream->side]) send_end(out);
        /* What is on the wire to us will find nobody. */
        if (is_more_coming) send_reset(out, 2 * net_delay_us(sim, here, there));
    }
    drop_segments(in, true);
    connection_free_if_done(connection);
}

static void stream_free(struct stream *stream)
{
    list_remove(&stream->in_world);
    free(stream);
}

void stream_close(struct stream **stream)
{
    struct stream *closed = *stream;
    *stream = NULL;
    if (!closed || closed->is_closed) return;
    closed->is_closed = true;
    leave_lists(closed);
    hang_up(closed);
    bool is_in_callback = closed->is_in_callback; /* then net_read or net_flush is below us and frees it */
    closed->is_in_callback = true;
    pieces_drop_all(&closed->queue, NULL);
    if (!is_in_callback) stream_free(closed);
}

void net_open(struct connecting *connecting, struct listener *listener, struct stream **near,
              struct stream **far)
{
    struct sim *sim = connecting->sim;
    struct connection *connection = calloc(1, sizeof *connection);
    assert(connection);
    connection->sim = sim;
    connection->machines[0] = connecting->machine;
    connection->machines[1] = listener->machine;
    for (int i = 0; i < 2; i++) {
        struct pipe *pipe = &connection->pipes[i];
        pipe->connection = connection;
        pipe->from = i;
        pipe->arrival.run = segment_arrives;
        pipe->reset.run = reset_arrives;
        struct address *address = &connection->addresses[i];
        strncpy(address->host, connection->machines[i]->host, sizeof address->host - 1);
    }
    connection->addresses[0].port = connection->machines[0]->next_port++;
    connection->addresses[1].port = listener->port;
    list_push_back(&sim->connections, &connection->in_world);
    *near = stream_new(connection, 0, connecting->loop);
    *far = stream_new(connection, 1, listener->loop);
}

static void connection_dies(struct stream *stream, bool is_power_lost)
{
    struct connection *connection = stream->connection;
    if (!connection) return;
    struct sim *sim = connection->sim;
    if (!is_power_lost) {
        hang_up(stream);
        return;
    }
    /* The machine is gone without a word. When it is up again, or something on the way notices, the peer hears a reset. */
    stream->connection = NULL;
    connection->ends[stream->side] = NULL;
    send_reset(&connection->pipes[stream->side],
               sim_chance(sim, 2) ? sim_between(sim, 1000, 50000) : sim_between(sim, 50000, 2000000));
    drop_segments(&connection->pipes[!stream->side], true);
    connection_free_if_done(connection);
}

void net_die(struct sim_machine *machine, bool is_power_lost)
{
    struct sim *sim = machine->sim;
    LIST_EACH(&sim->streams, item)
    {
        struct stream *stream = CONTAINER_OF(item, struct stream, in_world);
        if (stream->machine != machine || !stream->connection) continue;
        connection_dies(stream, is_power_lost);
        leave_lists(stream);
        stream->ended = ERR_CLOSED;
        stream->is_told = true;
        if (stream->is_lingering && !stream->is_in_callback) { /* the node let go of it long ago */
            struct stream *orphan = stream;
            stream_close(&orphan);
        }
    }
    dial_die(machine);
}

void net_free(struct sim *sim)
{
    /* Nothing may be called any more: contexts may be freed memory. */
    dial_free(sim);
    LIST_EACH(&sim->streams, item)
    {
        struct stream *stream = CONTAINER_OF(item, struct stream, in_world);
        for (struct piece *piece = stream->queue.first; piece; piece = piece->next) piece->released = NULL;
        pieces_drop_all(&stream->queue, NULL);
        free(stream);
    }
    LIST_EACH(&sim->connections, item)
    {
        struct connection *connection = CONTAINER_OF(item, struct connection, in_world);
        drop_segments(&connection->pipes[0], true);
        drop_segments(&connection->pipes[1], true);
        free(connection);
    }
}

bool sim_net_reset_one(struct sim *sim)
{
    uint64_t count = 0;
    LIST_EACH(&sim->connections, item)
    {
        const struct connection *connection = CONTAINER_OF(item, struct connection, in_world);
        count += connection->ends[0] && connection->ends[1];
    }
    if (count == 0) return false;
    uint64_t chosen = random_below(&sim->world, count);
    LIST_EACH(&sim->connections, item)
    {
        struct connection *connection = CONTAINER_OF(item, struct connection, in_world);
        if (!connection->ends[0] || !connection->ends[1] || chosen-- > 0) continue;
        send_reset(&connection->pipes[0], 0);
        send_reset(&connection->pipes[1], 0);
        return true;
    }
    return true;
}

/* --- reading --- */

void stream_set_events(struct stream *stream, const struct stream_events *events, void *context)
{
    assert(events->on_readable && events->on_closed);
    stream->events = *events;
    stream->context = context;
}

void stream_set_reading(struct stream *stream, bool is_reading)
{
    assert(!is_reading || stream->events.on_readable);
    stream->is_reading = is_reading;
    if (is_reading) look(stream);
}

/* Room in the pipe: whoever waits to write it may go on, when the news has reached it. */
static void made_room(struct pipe *pipe)
{
    struct stream *writer = pipe->connection->ends[pipe->from];
    if (writer && writer->is_blocked && pipe->bytes <= PIPE_BYTES / 2) {
        writer->is_blocked = false;
        to_flush(writer);
    }
}

enum error stream_read(struct stream *stream, void *into, size_t capacity, size_t *got)
{
    assert(capacity > 0);
    if (stream->ended != OK) return stream->ended;
    if (!stream->connection) return ERR_CLOSED;
    struct pipe *in = &stream->connection->pipes[!stream->side];
    size_t done = 0;
    while (done < capacity && in->first && in->first != in->flying && !in->first->is_end) {
        struct segment *segment = in->first;
        size_t part = segment->size - segment->read;
        if (part > capacity - done) part = capacity - done;
        memcpy((uint8_t *)into + done, segment->data + segment->read, part);
        segment->read += part;
        done += part;
        in->bytes -= part;
        if (segment->read < segment->size) break;
        in->first = segment->next;
        if (!in->first) in->last = NULL;
        free(segment);
    }
    if (done > 0) {
        made_room(in);
        *got = done;
        return OK;
    }
    if (stream->was_reset) {
        end(stream, ERR_EOF);
        return ERR_EOF;
    }
    if (!in->has_ended) return ERR_AGAIN;
    stream->is_peer_done = true;
    end(stream, ERR_EOF);
    return ERR_EOF;
}

static void discard_input(struct stream *stream)
{
    uint8_t waste[4096];
    size_t got;
    while (stream_read(stream, waste, sizeof waste, &got) == OK) {
    }
}

void net_read(struct loop *loop)
{
    struct list now;
    list_init(&now);
    while (!list_empty(&loop->ready)) {
        struct list *item = loop->ready.next;
        list_remove(item);
        list_push_back(&now, item);
    }
    while (!list_empty(&now)) {
        struct stream *stream = CONTAINER_OF(now.next, struct stream, in_ready);
        list_remove(&stream->in_ready);
        if (stream->is_reading && stream->ended == OK) {
            /* Still there afterwards? Then it is level-triggered: back into the list for the next turn. */
            stream->is_in_callback = true;
            stream->events.on_readable(stream->context);
            if (stream->is_closed) {
                stream_free(stream);
            } else {
                stream->is_in_callback = false;
                look(stream);
            }
        } else if (stream->is_shut && stream->ended == OK) {
            discard_input(stream);
        }
        if (loop->is_dead) { /* the lists of a dead loop are empty, but this one is ours */
            while (!list_empty(&now)) list_remove(now.next);
            return;
        }
    }
}

/* --- writing --- */

static bool is_deaf(const struct stream *stream)
{
    return !stream->connection || stream->is_closed || stream->is_finishing || stream->loop->is_dead ||
           (stream->ended != OK && !stream->is_peer_done);
}

static enum error queue_piece(struct stream *stream, const struct piece *piece)
{
    bool is_dead = is_deaf(stream);
    if (is_dead || piece->size == 0) {
        piece_release(piece);
        return is_dead ? ERR_CLOSED : OK;
    }
    enum error err = pieces_add(&stream->queue, NULL, piece);
    assert(err == OK);
    if (stream->queue.unsent_bytes > FULL_BYTES) stream->is_full = true;
    if (!stream->is_blocked || stream->was_reset) to_flush(stream);
    return OK;
}

enum error stream_write(struct stream *stream, struct bytes *bytes, size_t offset, size_t size)
{
    assert(offset <= bytes->capacity && size <= bytes->capacity - offset);
    const struct piece piece = {.bytes = bytes, .position = (int64_t)offset, .size = size};
    return queue_piece(stream, &piece);
}

enum error stream_write_file(struct stream *stream, struct file *file, int64_t position, size_t size,
                             void (*released)(void *context), void *context)
{
    const struct piece piece = {
        .file = file, .position = position, .size = size, .released = released, .released_context = context};
    return queue_piece(stream, &piece);
}

void stream_set_send_buffer(struct stream *stream, int size)
{
    (void)stream;
    assert(size > 0); /* windows here are the world's to choose */
}

size_t stream_unsent_bytes(const struct stream *stream)
{
    return stream->queue.unsent_bytes;
}

void stream_finish(struct stream *stream)
{
    if (stream->is_closed || !stream->connection) return;
    stream->is_finishing = true;
    if (!stream->is_blocked) to_flush(stream);
}

static void fail(struct stream *stream, enum error err)
{
    stream->is_peer_done = false;
    stream->ended = err;
    pieces_drop_all(&stream->queue, NULL);
}

/* One segment's worth of the first piece goes into the pipe. */
static void send_some(struct stream *stream, struct pipe *out)
{
    struct piece *piece = stream->queue.first;
    size_t part = piece->size < SEGMENT_BYTES ? piece->size : SEGMENT_BYTES;
    if (part > PIPE_BYTES - out->bytes) part = PIPE_BYTES - out->bytes;
    if (part > 1 && sim_chance(stream->sim, 8)) part = (size_t)sim_between(stream->sim, 1, (int64_t)part);
    struct segment *segment = segment_new(part);
    if (piece->bytes) {
        memcpy(segment->data, piece->bytes->data + piece->position, part);
    } else {
        size_t got = 0;
        enum error err = file_pread(piece->file, segment->data, part, piece->position, &got);
        if (err == OK && got < part) err = ERR_IO; /* shorter than promised */
        if (err != OK) {
            free(segment);
            fail(stream, err);
            return;
        }
    }
    send_segment(out, segment);
    pieces_sent(&stream->queue, NULL, part);
}

static void flush(struct stream *stream)
{
    if (stream->was_reset && stream->queue.first) fail(stream, ERR_EOF);
    while (stream->queue.first && !stream->is_blocked && stream->connection) {
        struct pipe *out = &stream->connection->pipes[stream->side];
        if (out->bytes >= PIPE_BYTES) {
            stream->is_blocked = true;
            break;
        }
        send_some(stream, out);
        if (stream->is_closed) return;
    }
    if (!stream->connection) return;
    if (!stream->queue.first && stream->is_finishing && !stream->is_shut &&
        (stream->ended == OK || stream->is_peer_done)) {
        stream->is_shut = true;
        if (!stream->was_reset) send_end(&stream->connection->pipes[stream->side]);
        look(stream);
    }
    if (stream->is_full && !stream->queue.first && stream->ended == OK) {
        stream->is_full = false;
        if (stream->events.on_drained) stream->events.on_drained(stream->context);
        if (stream->is_closed || !stream->connection) return;
    }
    if (stream->ended != OK && !stream->is_told && !stream->queue.first) {
        stream->is_told = true;
        if (stream->events.on_closed) stream->events.on_closed(stream->context, stream->ended);
    }
}

void net_flush(struct loop *loop)
{
    struct list now;
    list_init(&now);
    while (!list_empty(&loop->flush)) {
        struct list *item = loop->flush.next;
        list_remove(item);
        list_push_back(&now, item);
    }
    while (!list_empty(&now)) {
        struct stream *stream = CONTAINER_OF(now.next, struct stream, in_flush);
        list_remove(&stream->in_flush);
        stream->is_in_callback = true;
        flush(stream);
        if (stream->is_closed) {
            stream_free(stream);
        } else {
            stream->is_in_callback = false;
        }
        if (loop->is_dead) {
            while (!list_empty(&now)) list_remove(now.next);
            return;
        }
    }
}

/* --- closing in peace --- */

static void linger_over(sim_event *event)
{
    struct stream *stream = CONTAINER_OF(event, struct stream, linger);
    stream_close(&stream);
}

static void lingered(void *context, enum error err)
{
    (void)err;
    struct stream *stream = context;
    stream_close(&stream);
}

static void linger_readable(void *context)
{
    discard_input(context);
}

void stream_close_after_sending(struct stream **closing)
{
    static const struct stream_events events = {linger_readable, NULL, lingered};
    struct stream *stream = *closing;
    *closing = NULL;
    if (!stream || stream->is_closed) return;
    bool has_failed = stream->ended != OK && !stream->is_peer_done;
    if (!stream->connection || stream->was_reset || has_failed ||
        (stream->is_peer_done && !stream->queue.first)) {
        stream_close(&stream);
        return;
    }
    stream->is_lingering = true;
    stream->is_told = false;
    stream->linger.run = linger_over;
    sim_event_at(stream->sim, &stream->linger, stream->sim->now_us + LINGER_MS * 1000);
    stream_set_events(stream, &events, stream);
    stream_finish(stream);
    if (stream->is_peer_done) {
        end(stream, ERR_EOF);
    } else {
        stream_set_reading(stream, true);
    }
}

/* --- addresses and moving --- */

void stream_peer(const struct stream *stream, struct address *address)
{
    *address = stream->connection ? stream->connection->addresses[!stream->side] : (struct address){0};
}

void stream_local(const struct stream *stream, struct address *address)
{
    *address = stream->connection ? stream->connection->addresses[stream->side] : (struct address){0};
}

struct detached_stream {
    struct stream *stream;
};

enum error stream_detach(struct stream **stream, struct detached_stream **result)
{
    struct stream *leaving = *stream;
    assert(!leaving->queue.first && !leaving->is_reading && !leaving->is_finishing && !leaving->is_lingering);
    if (leaving->ended != OK || !leaving->connection) return ERR_CLOSED;
    struct detached_stream *detached = malloc(sizeof *detached);
    if (!detached) return ERR_NOMEM;
    list_remove(&leaving->in_ready);
    list_remove(&leaving->in_flush);
    leaving->is_detached = true;
    leaving->events = (struct stream_events){0};
    detached->stream = leaving;
    *stream = NULL;
    *result = detached;
    return OK;
}

enum error stream_attach(struct loop *loop, struct detached_stream **detached, struct stream **stream)
{
    struct stream *arriving = (*detached)->stream;
    free(*detached);
    *detached = NULL;
    arriving->is_detached = false;
    arriving->loop = loop;
    *stream = arriving;
    return OK;
}

/* --- TLS: there is none --- */

enum error stream_start_tls(struct stream *stream, struct tls_context *context, const struct tls_start *start)
{
    (void)stream;
    (void)context;
    (void)start;
    return ERR_UNSUPPORTED;
}

bool stream_is_tls(const struct stream *stream)
{
    (void)stream;
    return false;
}

bool stream_tls_peer(const struct stream *stream, struct text *subject)
{
    (void)stream;
    (void)subject;
    return false;
}
