/* arena.h: memory that goes all at once, charged to a budget.
 *
 * What a request needs comes from its arena and goes when the answer is sent. Blocks are kept by reset
 * (up to one default block), so a steady stream of requests does not call malloc. Not thread-safe: an arena
 * belongs to one request. Memory is aligned to 16 and not zeroed unless asked.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used_bytes;          /* handed out since reset */
    size_t limit_bytes;         /* 0 = none; beyond it arena_alloc answers NULL */
};

void arena_init(struct arena *arena, size_t limit_bytes);
void arena_free(struct arena *arena);
void arena_reset(struct arena *arena);
/* NULL when the limit or memory is out. size 0 gives a valid pointer. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_zalloc(struct arena *arena, size_t size);
/* count * size without overflow. */
void *arena_array(struct arena *arena, size_t count, size_t size);
/* A copy, NUL-terminated beyond its size. Null stays null. Without memory: null. */
struct slice arena_copy(struct arena *arena, struct slice s);
struct slice arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
