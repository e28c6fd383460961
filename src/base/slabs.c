/* slabs.c: pages by size, found by number; see the header. */
#include "base/slabs.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/vec.h"

enum {
    HEADER = 8, /* of a page: its number */
    EXACT_MAX = 1024,
    EXACT_CLASSES = EXACT_MAX / 8 + 1, /* by size / 8 */
    FIRST_REGION = 1 << 20,
    REGION = 8 << 20, /* no huge pages: they would fill up again what was given back around what stays */
    KEPT_FREE_PAGES = 16,
    PAGES_MAX = 1 << (32 - SLABS_PLACE_BITS),
};

/* Above EXACT_MAX: as many pieces as fill a page well. */
static const uint16_t large_sizes[] = {1280, 1560, 2040, 2616, 3272, 4088, 5456, 6552, 8184, 10920, 16376};
enum { LARGE_CLASSES = sizeof large_sizes / sizeof large_sizes[0], LARGE_MAX = 16376 };
_Static_assert(EXACT_CLASSES + LARGE_CLASSES == SLABS_CLASSES, "as many lists as classes");

static size_t class_of(size_t size, uint32_t *piece_size)
{
    if (size <= EXACT_MAX) {
        size_t eighths = size <= 8 ? 1 : (size + 7) / 8;
        *piece_size = (uint32_t)eighths * 8;
        return eighths;
    }
    size_t at = 0;
    while (large_sizes[at] < size) at++;
    *piece_size = large_sizes[at];
    return EXACT_CLASSES + at;
}

/* --- pages --- */

static bool region_make(struct slabs *slabs)
{
    size_t size = slabs->region_count == 0 ? FIRST_REGION : REGION;
    size_t align = SLABS_PAGE_BYTES;
    if (!VEC_RESERVE(slabs->regions, slabs->region_count, slabs->region_capacity)) return false;
    uint8_t *got = mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) return false;
    size_t skipped = (align - ((uintptr_t)got & (align - 1))) & (align - 1);
    if (skipped > 0) munmap(got, skipped);
    if (align - skipped > 0) munmap(got + skipped + size, align - skipped);
    uint8_t *region = got + skipped;
    slabs->regions[slabs->region_count++] = region;
    slabs->region_next = region;
    slabs->region_end = region + size;
    return true;
}

/* A number for a page that has its base. */
static uint32_t number_take(struct slabs *slabs)
{
    uint32_t number = slabs->bare_numbers;
    if (number) {
        slabs->bare_numbers = slabs->pages[number].next;
        return number;
    }
    if (slabs->page_count == 0) slabs->page_count = 1;
    if (slabs->page_count >= PAGES_MAX) return 0;
    if (!VEC_RESERVE(slabs->pages, slabs->page_count, slabs->page_capacity)) return 0;
    return (uint32_t)slabs->page_count++;
}

static uint32_t page_take(struct slabs *slabs)
{
    uint32_t number = slabs->free_pages;
    if (number) {
        slabs->free_pages = slabs->pages[number].next;
        if (slabs->touched_free_count > 0) slabs->touched_free_count--;
    } else {
        if (slabs->region_next == slabs->region_end && !region_make(slabs)) return 0;
        number = number_take(slabs);
        if (!number) return 0;
        slabs->pages[number].base = slabs->region_next;
        slabs->region_next += SLABS_PAGE_BYTES;
    }
    *(uint32_t *)(void *)slabs->pages[number].base = number;
    return number;
}

static void page_give(struct slabs *slabs, uint32_t number)
{
    struct slabs_page *page = &slabs->pages[number];
    page->piece_size = 0;
    page->next = slabs->free_pages;
    slabs->free_pages = number;
    if (slabs->touched_free_count < KEPT_FREE_PAGES) {
        slabs->touched_free_count++;
    } else {
        madvise(page->base, SLABS_PAGE_BYTES, MADV_DONTNEED);
    }
}

static void partial_add(struct slabs *slabs, uint32_t number)
{
    struct slabs_page *page = &slabs->pages[number];
    page->prev = 0;
    page->next = slabs->partial[page->class];
    if (page->next) slabs->pages[page->next].prev = number;
    slabs->partial[page->class] = number;
}

static void partial_remove(struct slabs *slabs, uint32_t number)
{
    struct slabs_page *page = &slabs->pages[number];
    *(page->prev ? &slabs->pages[page->prev].next : &slabs->partial[page->class]) = page->next;
    if (page->next) slabs->pages[page->next].prev = page->prev;
}

/* --- pieces --- */

static uint32_t pieces_of(const struct slabs_page *page)
{
    return (SLABS_PAGE_BYTES - HEADER) / page->piece_size;
}

static void *large_take(struct slabs *slabs, size_t size, uint32_t *place)
{
    if (size > UINT32_MAX - SLABS_PAGE_BYTES) return NULL;
    size_t rounded = (size + HEADER + SLABS_PAGE_BYTES - 1) & ~(size_t)(SLABS_PAGE_BYTES - 1);
    uint8_t *base = aligned_alloc(SLABS_PAGE_BYTES, rounded);
    if (!base) return NULL;
    uint32_t number = number_take(slabs);
    if (!number) {
        free(base);
        return NULL;
    }
    slabs->pages[number] =
        (struct slabs_page){.base = base, .piece_size = (uint32_t)(rounded - HEADER), .used = 1, .made = 1};
    *(uint32_t *)(void *)base = number;
    *place = number << SLABS_PLACE_BITS | HEADER / 8;
    return base + HEADER;
}

void *slabs_take(struct slabs *slabs, size_t size, uint32_t *place)
{
    if (size > LARGE_MAX) return large_take(slabs, size, place);
    uint32_t piece_size;
    size_t class = class_of(size, &piece_size);
    uint32_t number = slabs->partial[class];
    if (!number) {
        number = page_take(slabs);
        if (!number) return NULL;
        struct slabs_page *made = &slabs->pages[number];
        *made = (struct slabs_page){.base = made->base, .piece_size = piece_size, .class = (uint16_t) class};
        partial_add(slabs, number);
    }
    struct slabs_page *page = &slabs->pages[number];
    uint32_t offset;
    if (page->free) {
        offset = (uint32_t)page->free * 8;
        page->free = (uint16_t)((uint32_t *)(void *)(page->base + offset))[1];
    } else {
        offset = HEADER + page->made++ * page->piece_size;
    }
    page->used++;
    if (page->used == pieces_of(page)) partial_remove(slabs, number);
    *place = number << SLABS_PLACE_BITS | offset / 8;
    return page->base + offset;
}

void slabs_give(struct slabs *slabs, void *piece)
{
    uint32_t place = slabs_place(piece), number = place >> SLABS_PLACE_BITS;
    struct slabs_page *page = &slabs->pages[number];
    assert(page->used > 0);
    if (page->piece_size > LARGE_MAX) {
        free(page->base);
        *page = (struct slabs_page){.next = slabs->bare_numbers};
        slabs->bare_numbers = number;
        return;
    }
    if (page->used == pieces_of(page)) partial_add(slabs, number);
    page->used--;
    if (page->used == 0) {
        partial_remove(slabs, number);
        page_give(slabs, number);
        return;
    }
    uint32_t *words = piece;
    words[0] = SLABS_FREE;
    words[1] = page->free;
    page->free = (uint16_t)(place & ((1u << SLABS_PLACE_BITS) - 1));
}

void *slabs_next(const struct slabs *slabs, uint64_t *at)
{
    size_t number = (size_t)(*at >> SLABS_PLACE_BITS);
    uint32_t from = (uint32_t)(*at & ((1u << SLABS_PLACE_BITS) - 1)) * 8;
    if (number == 0) number = 1;
    for (; number < slabs->page_count; number++, from = 0) {
        const struct slabs_page *page = &slabs->pages[number];
        if (!page->base || page->piece_size == 0) continue;
        /* The page may have got another size since: the next piece that begins at or behind `from`. */
        uint32_t index = from <= HEADER ? 0 : (from - HEADER + page->piece_size - 1) / page->piece_size;
        for (; index < page->made; index++) {
            uint32_t offset = HEADER + index * page->piece_size;
            void *piece = page->base + offset;
            if (*(const uint32_t *)piece == SLABS_FREE) continue;
            *at = (uint64_t)number << SLABS_PLACE_BITS;
            *at += page->piece_size > LARGE_MAX ? 1u << SLABS_PLACE_BITS : (offset + page->piece_size) / 8;
            return piece;
        }
    }
    *at = (uint64_t)number << SLABS_PLACE_BITS;
    return NULL;
}

void slabs_free(struct slabs *slabs)
{
    for (size_t i = 1; i < slabs->page_count; i++) {
        if (slabs->pages[i].piece_size > LARGE_MAX) free(slabs->pages[i].base);
    }
    for (size_t i = 0; i < slabs->region_count; i++)
        munmap(slabs->regions[i], i == 0 ? FIRST_REGION : REGION);
    free(slabs->regions);
    free(slabs->pages);
    *slabs = (struct slabs){0};
}
