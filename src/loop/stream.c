/* stream.c: a stream over a non-blocking socket.
 *
 * The socket is polled for reading once and stays so: turning reading off costs nothing until bytes come that nobody
 * wants. It is polled for writing only while a write would block. What a turn queued is sent at its end: runs of bytes
 * and small file slices (read into the loop's scratch) by one sendmsg, large slices by sendfile.
 *
 * transport_read, transport_send and transport_send_file are the only places that touch the bytes of the socket. A stream
 * with TLS (tls.c) gives them to its session there; besides, it shakes hands before anything else, and may hold bytes to
 * read that the socket will not announce again: it then asks for a flush, which comes in every turn.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "base/diag.h"
#include "loop/inside.h"
#include "loop/tls_inside.h"

enum {
    MAX_PARTS = 64,               /* of one sendmsg */
    MAX_SENDFILE_BYTES = 1 << 20, /* of one sendfile */
    MAX_FLUSH_BYTES = 2 << 20,    /* of one stream in one turn; then the others have theirs */
    FULL_BYTES = 64 * 1024,       /* above this the caller hears when the queue is empty again */
    LINGER_MS = 2000,             /* for the peer to read our last words (stream_close_after_sending) */
};

struct last_words {
    struct loop_timer timer;
    struct stream *stream;
};

/* About 330 bytes for an idle connection. */
struct stream {
    uv_poll_t poll;
    struct loop *loop;
    struct stream_events events;
    void *context;
    struct piece_queue queue;
    struct list in_flush;          /* loop->flush */
    struct last_words *last_words; /* only after stream_close_after_sending */
    struct tls *tls;               /* NULL: plain */
    int fd;
    enum error ended; /* why on_closed is or was called; OK while it lives */
    uint8_t polled;   /* UV_READABLE | UV_WRITABLE as libuv knows it */
    bool is_reading, is_blocked, is_full;
    bool is_finishing, is_shut; /* stream_finish: asked, done */
    bool is_peer_done;          /* the peer sends no more; we may */
    bool is_told, is_closed;
    bool is_in_readable;
    bool is_dry;         /* within on_readable a short read was the last: no need to ask the kernel again */
    bool is_shaking;     /* TLS: not yet ready for bytes */
    bool has_input;      /* TLS: unread bytes that the socket does not know of */
    uint8_t peer_family; /* of the socket address below */
    uint16_t peer_port;
    uint8_t peer_ip[16];
};

/* --- transport: the only part that knows it is TCP --- */

enum error net_error(int number)
{
    enum error err = error_from_errno(number);
    return err == ERR_IO ? ERR_NET : err;
}

static enum error transport_read(struct stream *stream, void *into, size_t capacity, size_t *got)
{
    if (stream->tls) return stream->is_shaking ? ERR_AGAIN : tls_read(stream->tls, into, capacity, got);
    for (;;) {
        ssize_t n = recv(stream->fd, into, capacity, 0);
        if (n > 0) {
            *got = (size_t)n;
            return OK;
        }
        if (n == 0) return ERR_EOF;
        if (errno != EINTR) return net_error(errno);
    }
}

/* Sends what the socket takes. *sent may be less than asked: it is full. */
static enum error transport_send(struct stream *stream, struct iovec *parts, int count, bool has_more,
                                 size_t *sent)
{
    if (stream->tls) return tls_send(stream->tls, parts, count, sent);
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
    int flags = MSG_NOSIGNAL | (has_more ? MSG_MORE : 0);
    for (;;) {
        ssize_t n = count == 1 ? send(stream->fd, parts->iov_base, parts->iov_len, flags)
                               : sendmsg(stream->fd, &message, flags);
        if (n >= 0) {
            *sent = (size_t)n;
            return OK;
        }
        if (errno == EINTR) continue;
        *sent = 0;
        return errno == EAGAIN ? OK : net_error(errno);
    }
}

static enum error tls_send_file(struct stream *stream, struct file *file, int64_t position, size_t size,
                                size_t *sent)
{
    uint8_t *scratch = loop_scratch(stream->loop);
    if (!scratch) return ERR_NOMEM;
    struct iovec part = {scratch, size < SCRATCH_BYTES ? size : SCRATCH_BYTES};
    size_t got = 0;
    enum error err = file_pread(file, scratch, part.iov_len, position, &got);
    *sent = 0;
    if (err == OK && got < part.iov_len) err = ERR_EOF;
    return err == OK ? tls_send(stream->tls, &part, 1, sent) : err;
}

/* The same for a range of a file; ERR_EOF when the file ends before it. */
static enum error transport_send_file(struct stream *stream, struct file *file, int64_t position, size_t size,
                                      size_t *sent)
{
    if (stream->tls) return tls_send_file(stream, file, position, size, sent);
    int fd;
    enum error err = file_pin(file, &fd);
    if (err != OK) return err;
    off_t offset = position;
    ssize_t n;
    do {
        n = sendfile(stream->fd, fd, &offset, size);
    } while (n < 0 && errno == EINTR);
    int number = errno;
    file_unpin(file);

    *sent = n > 0 ? (size_t)n : 0;
    if (n > 0) return OK;
    if (n == 0) return ERR_EOF;
    return number == EAGAIN ? OK : net_error(number);
}

/* --- polling --- */

static void on_event(uv_poll_t *poll, int status, int events);
static void fail(struct stream *stream, enum error err);

static void poll_for(struct stream *stream, int events)
{
    if (events == stream->polled) return;
    stream->polled = (uint8_t)events;
    int status = events ? uv_poll_start(&stream->poll, events, on_event) : uv_poll_stop(&stream->poll);
    assert(status == 0);
}

static int wanted_events(const struct stream *stream)
{
    if (stream->ended != OK && !stream->is_peer_done) return 0;
    bool wants_reading =
        !stream->is_peer_done && (stream->is_reading || stream->is_shut || stream->is_shaking);
    return (wants_reading ? UV_READABLE : 0) | (stream->is_blocked ? UV_WRITABLE : 0);
}

/* An event that is no longer wanted is dropped when it comes, not before: reading goes off and on for free. */
static void poll_more(struct stream *stream)
{
    if (stream->is_closed) return;
    int wanted = wanted_events(stream);
    if (wanted & ~stream->polled) poll_for(stream, wanted | stream->polled);
}

static void to_flush(struct stream *stream)
{
    if (list_empty(&stream->in_flush)) list_push_back(&stream->loop->flush, &stream->in_flush);
}

/* The peer has finished, or the socket failed. Told at the end of the turn, after what can still be sent. */
static void end(struct stream *stream, enum error err)
{
    assert(err != OK);
    if (stream->is_closed || stream->is_told) return;
    if (stream->ended == OK) stream->ended = err;
    to_flush(stream);
}

/* Goes on shaking hands. False: there is nothing to read or write yet. */
static bool shake(struct stream *stream)
{
    if (!stream->is_shaking) return true;
    enum error err;
    switch (tls_handshake(stream->tls, &err)) {
    case TLS_STEP_READY: break;
    case TLS_STEP_PLAIN: tls_free(&stream->tls); break;
    case TLS_STEP_READ: poll_more(stream); return false;
    case TLS_STEP_WRITE:
        stream->is_blocked = true;
        poll_more(stream);
        return false;
    default:
        if (err == ERR_TLS) {
            struct address peer;
            stream_peer(stream, &peer);
            diag_info("no TLS with %s:%u: %s", peer.host, peer.port, tls_reason(stream->tls));
        }
        pieces_drop_all(&stream->queue, &stream->loop->spare_pieces);
        if (!stream->is_closed) end(stream, err);
        return false;
    }
    stream->is_shaking = false;
    /* What came right behind the other's last word of the handshake has left the socket with it. */
    stream->has_input = stream->tls && tls_has_input(stream->tls);
    if (stream->has_input || stream->queue.first || stream->is_finishing) to_flush(stream);
    return true;
}

static void deliver(struct stream *stream)
{
    stream->is_in_readable = true;
    stream->is_dry = false;
    stream->events.on_readable(stream->context);
    stream->is_in_readable = false;
    if (!stream->tls || stream->is_closed) return;
    stream->has_input = stream->is_reading && stream->ended == OK && tls_has_input(stream->tls);
    if (stream->has_input) to_flush(stream);
}

static void discard_input(struct stream *stream)
{
    uint8_t waste[4096];
    for (int i = 0; i < 16; i++) {
        size_t got;
        enum error err = transport_read(stream, waste, sizeof waste, &got);
        if (err == ERR_AGAIN) return;
        if (err != OK) {
            stream->is_peer_done = err == ERR_EOF;
            end(stream, err);
            return;
        }
    }
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct stream *stream = poll->data;
    loop_begin_turn(stream->loop);
    if (stream->is_closed) return;
    if (status <
        0) { /* libuv stopped polling: the socket has an error; what came before it can still be read */
        stream->polled = 0;
        events = UV_READABLE | UV_WRITABLE; /* a blocked writer learns it by writing */
        if (!stream->is_reading && !stream->is_shut) {
            int number = 0;
            socklen_t size = sizeof number;
            getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &number, &size);
            /* Nobody will ever take what waits to be sent. */
            fail(stream, number ? net_error(number) : ERR_EOF);
            return;
        }
    }
    if (events & UV_WRITABLE) {
        stream->is_blocked = false;
        to_flush(stream); /* afterwards polling for writing ends unless it blocks again */
    }
    if (events & UV_READABLE) {
        if (!shake(stream)) {
            /* later */
        } else if (stream->is_reading && stream->ended == OK) {
            deliver(stream);
        } else if (stream->is_shut) {
            discard_input(stream);
        }
        if (stream->is_closed) return;
        int wanted = wanted_events(stream);
        if (stream->polled & UV_READABLE && !(wanted & UV_READABLE))
            poll_for(stream, stream->polled & ~UV_READABLE);
        poll_more(stream);
    }
}

/* --- life --- */

enum error stream_on_socket(struct loop *loop, int fd, const struct sockaddr *peer, struct stream **result)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream) return ERR_NOMEM;
    int status = uv_poll_init(&loop->uv, &stream->poll, fd);
    if (status != 0) {
        free(stream);
        return net_error(-status);
    }
    stream->poll.data = stream;
    stream->loop = loop;
    stream->fd = fd;
    list_init(&stream->in_flush);
    stream->peer_family = (uint8_t)peer->sa_family;
    if (peer->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)peer;
        memcpy(stream->peer_ip, &in->sin_addr, 4);
        stream->peer_port = in->sin_port;
    } else if (peer->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)peer;
        memcpy(stream->peer_ip, &in->sin6_addr, 16);
        stream->peer_port = in->sin6_port;
    }
    *result = stream;
    return OK;
}

static void free_stream(uv_handle_t *handle)
{
    struct stream *stream = handle->data;
    free(stream->last_words);
    free(stream);
}

/* Out of the loop's lists and of libuv; the memory goes after this turn. */
static void leave_loop(struct stream *stream)
{
    stream->is_closed = true;
    pieces_drop_all(&stream->queue, &stream->loop->spare_pieces);
    if (stream->last_words) loop_timer_stop(stream->loop, &stream->last_words->timer);
    list_remove(&stream->in_flush);
    uv_close((uv_handle_t *)&stream->poll, free_stream);
}

void stream_close(struct stream **stream)
{
    struct stream *closed = *stream;
    *stream = NULL;
    if (!closed || closed->is_closed) return;
    leave_loop(closed);
    tls_free(&closed->tls);
    close(closed->fd);
    descriptors_put_socket(closed->loop->descriptors);
}

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
    if (!is_reading) return;
    poll_more(stream);
    if (stream->tls && !stream->is_in_readable && tls_has_input(stream->tls)) {
        stream->has_input = true;
        to_flush(stream);
    }
}

enum error stream_read(struct stream *stream, void *into, size_t capacity, size_t *got)
{
    assert(capacity > 0);
    if (stream->ended != OK) return stream->ended;
    if (stream->is_peer_done) return ERR_EOF;
    if (stream->is_in_readable && stream->is_dry) return ERR_AGAIN;
    enum error err = transport_read(stream, into, capacity, got);
    if (err == OK) stream->is_dry = *got < capacity && !stream->tls; /* TLS gives a record at a time */
    if (err == OK || err == ERR_AGAIN) return err;
    if (err == ERR_EOF) stream->is_peer_done = true;
    end(stream, err);
    return err;
}

static enum error queue_piece(struct stream *stream, const struct piece *piece)
{
    /* After the peer's end of sending (ERR_EOF) it may still listen; after a failure nobody does. */
    bool is_dead =
        stream->is_closed || stream->is_finishing || (stream->ended != OK && !stream->is_peer_done);
    if (is_dead || piece->size == 0) {
        piece_release(piece);
        return is_dead ? ERR_CLOSED : OK;
    }
    enum error err = pieces_add(&stream->queue, &stream->loop->spare_pieces, piece);
    if (err != OK) return err;
    if (stream->queue.unsent_bytes > FULL_BYTES) stream->is_full = true;
    if (!stream->is_blocked) to_flush(stream);
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

size_t stream_unsent_bytes(const struct stream *stream)
{
    return stream->queue.unsent_bytes;
}

void stream_set_send_buffer(struct stream *stream, int size)
{
    assert(size > 0);
    setsockopt(stream->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

void stream_finish(struct stream *stream)
{
    if (stream->is_closed) return;
    stream->is_finishing = true;
    if (!stream->is_blocked) to_flush(stream);
}

/* --- sending --- */

static bool is_large(const struct piece *piece)
{
    return piece->file && piece->size > SMALL_SLICE_BYTES;
}

static void fail(struct stream *stream, enum error err)
{
    stream->is_peer_done = false; /* whatever it was, now it is dead */
    stream->ended = err;
    pieces_drop_all(&stream->queue, &stream->loop->spare_pieces);
    if (!stream->is_closed) end(stream, err);
}

/* A run of bytes and small slices, in one call. Returns what went out. */
static size_t send_joined(struct stream *stream)
{
    struct iovec parts[MAX_PARTS];
    int count = 0;
    size_t total = 0, scratch_used = 0;
    uint8_t *scratch = NULL;
    struct piece *piece = stream->queue.first;
    for (; piece && count < MAX_PARTS && !is_large(piece) && total < MAX_FLUSH_BYTES; piece = piece->next) {
        if (piece->bytes) {
            parts[count++] = (struct iovec){piece->bytes->data + piece->position, piece->size};
        } else {
            if (piece->size > SCRATCH_BYTES - scratch_used) break;
            if (!scratch) scratch = loop_scratch(stream->loop);
            size_t got = 0;
            enum error err =
                scratch ? file_pread(piece->file, scratch + scratch_used, piece->size, piece->position, &got)
                        : ERR_NOMEM;
            if (err == OK && got < piece->size) err = ERR_IO; /* shorter than promised */
            if (err != OK) {
                fail(stream, err);
                return 0;
            }
            parts[count++] = (struct iovec){scratch + scratch_used, got};
            scratch_used += got;
        }
        total += piece->size;
    }

    size_t done;
    enum error err = transport_send(stream, parts, count, piece != NULL, &done);
    if (err != OK) {
        fail(stream, err);
        return 0;
    }
    if (done < total) stream->is_blocked = true;
    pieces_sent(&stream->queue, &stream->loop->spare_pieces, done);
    return done;
}

static size_t send_large(struct stream *stream)
{
    struct piece *piece = stream->queue.first;
    size_t asked = piece->size < MAX_SENDFILE_BYTES ? piece->size : MAX_SENDFILE_BYTES, done;
    enum error err = transport_send_file(stream, piece->file, piece->position, asked, &done);
    if (err != OK) {
        fail(stream, err == ERR_EOF ? ERR_IO : err); /* the file is shorter than promised */
        return 0;
    }
    if (done < asked) stream->is_blocked = true;
    pieces_sent(&stream->queue, &stream->loop->spare_pieces, done);
    return done;
}

/* Everything that may be done for one stream at the end of a turn. */
static void flush(struct stream *stream)
{
    if (stream->is_shaking && (stream->is_blocked || !shake(stream)) && stream->ended == OK) {
        poll_for(stream, wanted_events(stream));
        return;
    }
    if (stream->has_input) {
        stream->has_input = false;
        if (stream->is_reading && stream->ended == OK) deliver(stream);
        if (stream->is_closed) return;
    }
    size_t budget = MAX_FLUSH_BYTES;
    while (stream->queue.first && !stream->is_blocked) {
        if (budget == 0) {
            to_flush(stream); /* goes on in the next turn, which comes at once */
            return;
        }
        size_t done = is_large(stream->queue.first) ? send_large(stream) : send_joined(stream);
        if (stream->is_closed) return;
        budget -= done < budget ? done : budget;
    }

    if (!stream->queue.first) {
        stream->is_blocked = false;
        if (stream->is_finishing && !stream->is_shut && (stream->ended == OK || stream->is_peer_done)) {
            stream->is_shut = true;
            if (stream->tls) tls_shutdown(stream->tls);
            shutdown(stream->fd, SHUT_WR);
        }
    }
    int wanted = wanted_events(stream) | (stream->polled & UV_READABLE); /* reading ends lazily */
    if (stream->ended != OK) wanted = wanted_events(stream);
    poll_for(stream, wanted);

    if (stream->is_full && !stream->queue.first && stream->ended == OK) {
        stream->is_full = false;
        if (stream->events.on_drained) stream->events.on_drained(stream->context);
        if (stream->is_closed) return;
    }
    /* A peer that has finished sending still gets what it asked for before we say so. */
    if (stream->ended != OK && !stream->is_told && !stream->queue.first) {
        stream->is_told = true;
        if (stream->events.on_closed) stream->events.on_closed(stream->context, stream->ended);
    }
}

void streams_flush(struct loop *loop)
{
    /* Who comes back with more to send waits for the next turn. */
    struct list now;
    list_init(&now);
    if (!list_empty(&loop->flush)) {
        now = loop->flush;
        now.next->prev = now.prev->next = &now;
        list_init(&loop->flush);
    }
    while (!list_empty(&now)) {
        struct stream *stream = CONTAINER_OF(now.next, struct stream, in_flush);
        list_remove(&stream->in_flush);
        flush(stream);
    }
}

/* --- TLS --- */

enum error stream_start_tls(struct stream *stream, struct tls_context *context, const struct tls_start *start)
{
    assert(!stream->tls && !stream->queue.first && !stream->is_finishing);
    enum error err = tls_new(context, start, stream->fd, &stream->tls);
    if (err != OK) return err;
    stream->is_shaking = true;
    to_flush(stream); /* a client speaks first */
    return OK;
}

bool stream_is_tls(const struct stream *stream)
{
    return stream->tls != NULL;
}

bool stream_tls_peer(const struct stream *stream, struct text *subject)
{
    return stream->tls && tls_peer(stream->tls, subject);
}

/* --- closing in peace --- */

static void linger_over(struct loop_timer *timer)
{
    struct stream *stream = CONTAINER_OF(timer, struct last_words, timer)->stream;
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
    if ((stream->ended != OK && !stream->is_peer_done) || (stream->is_peer_done && !stream->queue.first)) {
        stream_close(&stream);
        return;
    }
    stream->last_words = calloc(1, sizeof *stream->last_words);
    if (!stream->last_words) {
        stream_close(&stream);
        return;
    }
    stream->last_words->stream = stream;
    stream->last_words->timer.run = linger_over;
    loop_timer_start(stream->loop, &stream->last_words->timer, LINGER_MS);
    stream->is_told = false;
    stream_set_events(stream, &events, stream);
    stream_finish(stream);
    if (stream->is_peer_done) {
        end(stream, ERR_EOF);
    } else {
        stream_set_reading(stream, true);
    }
}

/* --- addresses --- */

void address_of(const struct sockaddr *from, struct address *address)
{
    *address = (struct address){0};
    if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)from;
        address->port = ntohs(in->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) {
            inet_ntop(AF_INET, &in->sin6_addr.s6_addr[12], address->host, sizeof address->host);
        } else {
            inet_ntop(AF_INET6, &in->sin6_addr, address->host, sizeof address->host);
            address->is_ipv6 = true;
        }
    } else if (from->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;
        address->port = ntohs(in->sin_port);
        inet_ntop(AF_INET, &in->sin_addr, address->host, sizeof address->host);
    }
}

void stream_peer(const struct stream *stream, struct address *address)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } peer;
    memset(&peer, 0, sizeof peer);
    peer.any.sa_family = stream->peer_family;
    if (stream->peer_family == AF_INET6) {
        memcpy(&peer.v6.sin6_addr, stream->peer_ip, 16);
        peer.v6.sin6_port = stream->peer_port;
    } else {
        memcpy(&peer.v4.sin_addr, stream->peer_ip, 4);
        peer.v4.sin_port = stream->peer_port;
    }
    address_of(&peer.any, address);
}

void stream_local(const struct stream *stream, struct address *address)
{
    struct sockaddr_storage local = {0};
    socklen_t size = sizeof local;
    getsockname(stream->fd, (struct sockaddr *)&local, &size);
    address_of((struct sockaddr *)&local, address);
}

/* --- moving --- */

struct detached_stream {
    int fd;
    bool is_shaking;
    struct tls *tls;
    struct descriptors *descriptors;
    struct sockaddr_storage peer;
};

enum error stream_detach(struct stream **stream, struct detached_stream **result)
{
    struct stream *leaving = *stream;
    assert(!leaving->queue.first && !leaving->is_reading && !leaving->is_finishing && !leaving->last_words);
    if (leaving->ended != OK) return ERR_CLOSED;
    struct detached_stream *detached = calloc(1, sizeof *detached);
    if (!detached) return ERR_NOMEM;
    detached->fd = leaving->fd;
    detached->tls = leaving->tls;
    detached->is_shaking = leaving->is_shaking;
    leaving->tls = NULL;
    detached->descriptors = leaving->loop->descriptors;
    detached->peer.ss_family = leaving->peer_family;
    if (leaving->peer_family == AF_INET6) {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)&detached->peer;
        memcpy(&in->sin6_addr, leaving->peer_ip, 16);
        in->sin6_port = leaving->peer_port;
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)&detached->peer;
        memcpy(&in->sin_addr, leaving->peer_ip, 4);
        in->sin_port = leaving->peer_port;
    }
    leave_loop(leaving);
    *stream = NULL;
    *result = detached;
    return OK;
}

enum error stream_attach(struct loop *loop, struct detached_stream **detached, struct stream **stream)
{
    struct detached_stream *arriving = *detached;
    enum error err = stream_on_socket(loop, arriving->fd, (struct sockaddr *)&arriving->peer, stream);
    if (err == OK) {
        (*stream)->tls = arriving->tls;
        (*stream)->is_shaking = arriving->is_shaking;
        if ((*stream)->is_shaking) to_flush(*stream);
    } else { /* there is no way back: the connection ends here */
        tls_free(&arriving->tls);
        close(arriving->fd);
        descriptors_put_socket(arriving->descriptors);
    }
    free(arriving);
    *detached = NULL;
    return err;
}
