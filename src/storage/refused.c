#include "storage/refused.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/vec.h"

void refused_free(struct refused *refused)
{
    free(refused->producers);
    *refused = (struct refused){0};
}

static struct refused_producer *find(struct refused *refused, int64_t producer_id)
{
    for (size_t i = 0; i < refused->count; i++) {
        if (refused->producers[i].producer_id == producer_id) return &refused->producers[i];
    }
    return NULL;
}

/* The rest stays in order of age. */
static void drop(struct refused *refused, struct refused_producer *producer)
{
    struct refused_producer *last = &refused->producers[--refused->count];
    for (; producer < last; producer++) *producer = producer[1];
}

static void drop_lapsed(struct refused *refused, int64_t now_ms)
{
    while (refused->count > 0 && now_ms - refused->producers[0].at_ms > REFUSED_MS) {
        drop(refused, refused->producers);
    }
}

/* Sequences go round: ahead is what is nearer that way. */
static bool is_ahead(int32_t sequence, int32_t of)
{
    uint32_t distance = ((uint32_t)sequence - (uint32_t)of) & INT32_MAX;
    return distance > 0 && distance < 1u << 30;
}

void refused_note(struct refused *refused, const struct batch_header *header, int64_t now_ms)
{
    if (!batch_has_producer(header) || header->base_sequence < 0) return;
    struct refused_producer *known = find(refused, header->producer_id);
    if (known && known->epoch == header->producer_epoch &&
        is_ahead(header->base_sequence, known->base_sequence))
        return;
    if (known)
        drop(refused, known);
    else if (refused->count == REFUSED_MAX)
        drop(refused, refused->producers);
    if (!VEC_RESERVE(refused->producers, refused->count, refused->capacity)) return;
    refused->producers[refused->count++] =
        (struct refused_producer){header->producer_id, now_ms, header->base_sequence, header->producer_epoch};
}

enum error refused_check(struct refused *refused, const struct batch_header *header, int32_t next_sequence,
                         int64_t now_ms)
{
    if (refused->count == 0 || header->base_sequence < 0) return OK;
    drop_lapsed(refused, now_ms);
    struct refused_producer *known = find(refused, header->producer_id);
    if (!known || header->producer_epoch < known->epoch) return OK;
    bool still_holds = known->epoch == header->producer_epoch &&
                       (next_sequence < 0 || next_sequence == known->base_sequence);
    if (still_holds && is_ahead(header->base_sequence, known->base_sequence)) return ERR_DISK_FULL;
    /* It is here again, or the log went on without it; one of long ago means neither. */
    if (!still_holds || header->base_sequence == known->base_sequence) drop(refused, known);
    return OK;
}
