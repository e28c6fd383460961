/* pieces.h: what a stream still has to send: runs of bytes and slices of files, in order. For both kinds of stream.
 *
 * Owner  the stream's loop. A piece's `released` is called when it went out or is dropped, last of all that happens to it: it may
 *        close the stream and so empty the queue.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct bytes;
struct file;

struct piece {
    struct piece *next;
    struct bytes *bytes; /* or */
    struct file *file;
    int64_t position; /* in the file, or in bytes->data */
    size_t size;      /* unsent */
    void (*released)(void *context);
    void *released_context;
};

struct piece_queue {
    struct piece *first, *last;
    size_t unsent_bytes;
};

/* A loop's pieces that wait to be used again; a pool of NULL keeps none. */
struct piece_pool {
    struct piece *spare;
    size_t count;
};
void piece_pool_free(struct piece_pool *pool);

/* What it holds goes, then who gave it is told. */
void piece_release(const struct piece *piece);
/* Takes over what it holds, also on ERR_NOMEM. */
MUST_USE enum error pieces_add(struct piece_queue *queue, struct piece_pool *pool, const struct piece *piece);
/* That much went out, from the front. */
void pieces_sent(struct piece_queue *queue, struct piece_pool *pool, size_t size);
void pieces_drop_all(struct piece_queue *queue, struct piece_pool *pool);
