/* stream.h: byte streams between nodes and clients: TCP, or TLS on it, or simulated.
 *
 *   reading   pull: on_readable says there is something; stream_read copies what is there into the caller's
 * memory. A stream with reading off costs no wake-up and holds no buffer. writing   a queue of pieces
 * (counted bytes, or a range of a file). stream_write only queues; the loop sends all that was queued in a
 * turn at its end, in as few system calls as the pieces allow (writev for bytes and small file slices,
 * sendfile for large ones; through a buffer for TLS). closing   stream_close at any time, also from within a
 * callback; no callback comes after it. Queued bytes are dropped.
 *
 *   transport TCP, or TLS on it (loop/tls.h): users of this header do not notice.
 *   ends      a peer that has finished sending (ERR_EOF) may still listen: what is queued by then is sent before on_closed
 *             comes, and may be added to afterwards. stream_read tells the end first, on_closed follows at the end of the turn
 *             unless the stream was closed. With reading off, an end is noticed only when writing or when reading goes on.
 *
 * Threads  a stream belongs to its loop. Limits: the caller watches stream_unsent_bytes and stops reading.
 * Errors   on_closed(err) once, when the peer closed (ERR_EOF) or something failed. The caller then calls
 * stream_close.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "loop/loop.h"

struct stream;
struct listener;
struct file; /* loop/disk.h */

struct stream_events {
    void (*on_readable)(void *context);
    void (*on_drained)(void *context); /* the queue ran empty after having been above 64 KiB; may be NULL */
    void (*on_closed)(void *context, enum error err);
};

/* host:port of one end, numeric host without brackets. */
struct address {
    char host[64];
    uint16_t port;
    bool is_ipv6;
};

/* Listens on host (name or number; "" or NULL = all addresses, IPv6 and IPv4) and port (0 = any free).
 * on_accept gets a stream without events: call stream_set_events before returning, or stream_close it.
 * on_accept may be told by listener_pause to stop for a while (max.connections). */
MUST_USE enum error stream_listen(struct loop *loop, const char *host, uint16_t port, int backlog,
                                  void (*on_accept)(void *context, struct stream *stream), void *context,
                                  struct listener **listener);
uint16_t listener_port(const struct listener *listener);
void listener_pause(struct listener *listener, bool is_paused);
void listener_close(struct listener **listener);

/* Resolves and connects; on_connected comes later, once: OK with a stream to set events on, or the error.
 * Cancel with stream_connect_cancel (no callback comes then). timeout_ms covers names and TCP together. */
struct connecting;
MUST_USE enum error stream_connect(struct loop *loop, const char *host, uint16_t port, int64_t timeout_ms,
                                   void (*on_connected)(void *context, enum error err, struct stream *stream),
                                   void *context, struct connecting **connecting);
void stream_connect_cancel(struct connecting **connecting);

void stream_set_events(struct stream *stream, const struct stream_events *events, void *context);
/* Off at first. While on, on_readable is called each turn in which unread bytes are there (level-triggered).
 */
void stream_set_reading(struct stream *stream, bool is_reading);
/* OK with *got > 0; ERR_AGAIN; ERR_EOF when the peer has finished; else the failure. */
MUST_USE enum error stream_read(struct stream *stream, void *into, size_t capacity, size_t *got);

/* Takes over one reference of `bytes`, also on error. ERR_CLOSED after a failure or stream_finish: nobody listens. */
MUST_USE enum error stream_write(struct stream *stream, struct bytes *bytes, size_t offset, size_t size);
/* Takes over one reference of `file` (file_retain), also on error, and sends size bytes from `position`. If the file turns
 * out to be shorter, the stream closes with ERR_IO. `released` (may be NULL) is called when the piece is sent
 * or dropped. */
MUST_USE enum error stream_write_file(struct stream *stream, struct file *file, int64_t position, size_t size,
                                      void (*released)(void *context), void *context);
size_t stream_unsent_bytes(const struct stream *stream);
/* How much the kernel may hold that the peer has not taken. Not called: as much as the kernel finds good. */
void stream_set_send_buffer(struct stream *stream, int size);
/* Sends what is queued, then closes for writing. on_closed follows when the peer closes too. */
void stream_finish(struct stream *stream);
void stream_close(struct stream **stream);
/* Lets go of the stream: what is queued is sent, the peer gets two seconds to take it, then it is closed. For last words: an
 * answer before hanging up. No callback comes after it. */
void stream_close_after_sending(struct stream **stream);

void stream_peer(const struct stream *stream, struct address *address);
void stream_local(const struct stream *stream, struct address *address);
/* Moves an idle stream (nothing unsent, reading off, no events pending) to another loop: detach on the old
 * loop, attach on the new one's thread. */
struct detached_stream;
MUST_USE enum error stream_detach(struct stream **stream, struct detached_stream **detached);
MUST_USE enum error stream_attach(struct loop *loop, struct detached_stream **detached,
                                  struct stream **stream);
