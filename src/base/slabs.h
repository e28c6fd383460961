/* slabs.h: very many small pieces of memory, each known by a 4-byte place.
 *
 *     region  8 MiB of address space          [page][page][page]...
 *     page    64 KiB, pieces of one size      [number][piece][piece][piece]...
 *     place   page number << 13 | offset / 8; never 0
 *
 * A piece costs what it holds, rounded up to 8 bytes, and nothing else: no header, no pointer to find it by. Pieces never move. A
 * page whose last piece was given back serves any other size; its memory goes back to the system when there are several.
 *
 * Limits   524287 pages, so 32 GiB of small pieces; one of more than 16376 bytes has pages for itself and counts as one.
 * Walking  slabs_next visits the pieces that are in use. The first word of a free piece is SLABS_FREE, so that of one in use
 *          must never be, once slabs_next may be called.
 * Errors   NULL from slabs_take alone: no memory, or no place left.
 * Threads  none of its own. A zeroed struct is empty.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define SLABS_FREE UINT32_MAX
enum {
    SLABS_PAGE_SHIFT = 16,
    SLABS_PAGE_BYTES = 1 << SLABS_PAGE_SHIFT,
    SLABS_PLACE_BITS = 13,
    SLABS_CLASSES = 140
};

struct slabs_page {
    uint8_t *base;       /* NULL: a number without a page */
    uint32_t next, prev; /* pages of this class with free pieces; of free pages: next alone */
    uint32_t piece_size; /* 0: a free page */
    uint16_t used, free; /* pieces in use; the first free one's offset / 8, 0: none */
    uint16_t made; /* pieces from the page's beginning that were ever used: those behind it are untouched */
    uint16_t class;
};

struct slabs {
    struct slabs_page *pages; /* page 0 is never used */
    size_t page_count, page_capacity;
    uint32_t partial[SLABS_CLASSES];   /* first page of each class with a free piece; 0: none */
    uint32_t free_pages, bare_numbers; /* lists through next; 0: none */
    size_t touched_free_count;         /* free pages that may still have memory */
    uint8_t **regions;
    size_t region_count, region_capacity;
    uint8_t *region_next, *region_end;
};

void slabs_free(struct slabs *slabs);
/* At least `size` bytes, not cleared. */
void *slabs_take(struct slabs *slabs, size_t size, uint32_t *place);
void slabs_give(struct slabs *slabs, void *piece);

static inline void *slabs_at(const struct slabs *slabs, uint32_t place)
{
    return slabs->pages[place >> SLABS_PLACE_BITS].base + ((place & ((1u << SLABS_PLACE_BITS) - 1)) << 3);
}
static inline uint8_t *slabs_base(const void *piece)
{
    return (uint8_t *)((uintptr_t)piece & ~(uintptr_t)(SLABS_PAGE_BYTES - 1));
}
/* Each page begins with its number. */
static inline uint32_t slabs_place(const void *piece)
{
    const uint8_t *base = slabs_base(piece);
    return *(const uint32_t *)(const void *)base << SLABS_PLACE_BITS |
           (uint32_t)(((const uint8_t *)piece - base) >> 3);
}
/* What a piece really has: at least what was asked for. */
static inline size_t slabs_piece_size(const struct slabs *slabs, const void *piece)
{
    return slabs->pages[*(const uint32_t *)(const void *)slabs_base(piece)].piece_size;
}

/* The piece at or after `*at`, which begins as 0 and is moved behind it; NULL: there is none. Pieces may be taken and given
 * between two calls: those that were in use all the time are visited once. */
void *slabs_next(const struct slabs *slabs, uint64_t *at);
