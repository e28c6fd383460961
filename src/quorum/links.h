/* links.h: the members' connections: one TCP connection to each other member, both ways, dialled by the one with the greater id; after
 * a while by the other, too, for who was away may not know who belongs to it now.
 *
 *     dial or accept --> hello each way, checked --> up: frames (frames.h) in order --> down --> dial again, after a while
 *
 * A connection is one life of a link: what was sent in an earlier one never arrives in a later one. A second connection from a
 * member takes the place of the first (it came back before we noticed). Whoever is silent for too long is taken for gone; links
 * without traffic are pinged.
 *
 * A hello is refused, and the connection closed with a line to the operator, when it is for somebody else, of a member that we do not
 * expect, of another cluster, or of a later version. Who dials us is believed by its id: that the bytes come from it is the
 * stream's business: TLS, where there are contexts.
 *
 * Threads  the loop's. Callbacks may send, and may close other links, but not free the links. Limits: a frame as
 * frame_size says; its memory grows as its bytes come.
 */
#pragma once
#include "quorum/frames.h"
#include "quorum/membership.h"

struct links;
struct loop;
struct bytes;

struct links_events {
    /* Our own, now. */
    void (*hello)(void *context, struct frame_hello *hello);
    /* Another's came. An error refuses it; the callee has said why. */
    enum error (*check)(void *context, const struct frame_hello *hello);
    void (*up)(void *context, int32_t id, const struct frame_hello *hello);
    /* is_gone: its process has closed or lost the connection, it was not we who hung up. */
    void (*down)(void *context, int32_t id, bool is_gone);
    /* A loan. An error closes the link. */
    enum error (*frame)(void *context, int32_t id, const struct frame *frame);
    /* Much of what was unsent has gone. */
    void (*room)(void *context, int32_t id);
};

struct links_config {
    int32_t id;
    const char *host; /* to listen on */
    uint16_t port;
    int32_t silence_ms;   /* that ends a link; a quarter of it is the pings' interval */
    struct tls_peers tls; /* references are taken */
};

MUST_USE enum error links_new(struct loop *loop, const struct links_config *config,
                              const struct links_events *events, void *context, struct links **links);
/* The port that was asked for, or why not. */
MUST_USE enum error links_listen(struct links *links);
/* Who is dialled; links to others stay when they dialled us, or are closed when we did. */
void links_expect(struct links *links, const struct membership *membership);
/* No callback comes after it. */
void links_free(struct links **links);

bool links_is_up(const struct links *links, int32_t id);
/* One frame, laid out in parts: head, and bytes that follow (may be NULL; one reference is taken over). */
MUST_USE enum error links_send(struct links *links, int32_t id, const uint8_t *head, size_t head_size,
                               struct bytes *body);
MUST_USE enum error links_send_frame(struct links *links, int32_t id, const struct frame *frame);
size_t links_unsent_bytes(const struct links *links, int32_t id);
/* Stops reading for a while. */
void links_pause(struct links *links, int32_t id, bool is_paused);
/* Hangs up. */
void links_drop(struct links *links, int32_t id);
