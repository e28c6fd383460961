#include "loop/pieces.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "loop/disk.h"

enum { MAX_SPARE_PIECES = 1024 };

void piece_pool_free(struct piece_pool *pool)
{
    while (pool->spare) {
        struct piece *next = pool->spare->next;
        free(pool->spare);
        pool->spare = next;
    }
    pool->count = 0;
}

static struct piece *take(struct piece_pool *pool)
{
    struct piece *piece = pool ? pool->spare : NULL;
    if (!piece) return malloc(sizeof *piece);
    pool->spare = piece->next;
    pool->count--;
    return piece;
}

static void give(struct piece_pool *pool, struct piece *piece)
{
    if (!pool || pool->count >= MAX_SPARE_PIECES) {
        free(piece);
        return;
    }
    piece->next = pool->spare;
    pool->spare = piece;
    pool->count++;
}

void piece_release(const struct piece *piece)
{
    struct bytes *bytes = piece->bytes;
    struct file *file = piece->file;
    bytes_release(&bytes);
    if (file) file_release(&file);
    if (piece->released) piece->released(piece->released_context);
}

enum error pieces_add(struct piece_queue *queue, struct piece_pool *pool, const struct piece *piece)
{
    struct piece *added = take(pool);
    if (!added) {
        piece_release(piece);
        return ERR_NOMEM;
    }
    *added = *piece;
    added->next = NULL;
    if (queue->last) {
        queue->last->next = added;
    } else {
        queue->first = added;
    }
    queue->last = added;
    queue->unsent_bytes += added->size;
    return OK;
}

static void drop_first(struct piece_queue *queue, struct piece_pool *pool)
{
    struct piece *first = queue->first, dropped = *first;
    queue->first = first->next;
    if (!queue->first) queue->last = NULL;
    queue->unsent_bytes -= first->size;
    give(pool, first);
    piece_release(&dropped);
}

void pieces_sent(struct piece_queue *queue, struct piece_pool *pool, size_t size)
{
    /* A released callback may close the stream: then nothing is left to count. */
    while (size > 0 && queue->first) {
        struct piece *piece = queue->first;
        size_t part = size < piece->size ? size : piece->size;
        size -= part;
        piece->position += (int64_t)part;
        piece->size -= part;
        queue->unsent_bytes -= part;
        if (piece->size == 0) drop_first(queue, pool);
    }
}

void pieces_drop_all(struct piece_queue *queue, struct piece_pool *pool)
{
    while (queue->first) drop_first(queue, pool);
}
