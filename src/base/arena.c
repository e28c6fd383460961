#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCK_SIZE = 8 * 1024 - 64 };

struct arena_block {
    struct arena_block *next;
    size_t capacity, used;
    _Alignas(16) uint8_t data[];
};

void arena_init(struct arena *arena, size_t limit_bytes)
{
    *arena = (struct arena){.limit_bytes = limit_bytes};
}

void arena_free(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->next;
        free(block);
    }
    arena->used_bytes = 0;
}

void arena_reset(struct arena *arena)
{
    struct arena_block *kept = NULL;
    while (arena->blocks) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->next;
        if (!kept && block->capacity == BLOCK_SIZE) {
            kept = block;
        } else {
            free(block);
        }
    }
    if (kept) {
        kept->next = NULL;
        kept->used = 0;
    }
    arena->blocks = kept;
    arena->used_bytes = 0;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2) return NULL;
    size = (size + 15) & ~(size_t)15;
    if (arena->limit_bytes && (size > arena->limit_bytes || arena->used_bytes > arena->limit_bytes - size)) {
        return NULL;
    }
    struct arena_block *block = arena->blocks;
    if (!block || block->capacity - block->used < size) {
        size_t capacity = size > BLOCK_SIZE / 4 ? size : BLOCK_SIZE;
        struct arena_block *fresh = malloc(sizeof *fresh + capacity);
        if (!fresh) return NULL;
        *fresh = (struct arena_block){.capacity = capacity};
        if (capacity != BLOCK_SIZE && block) {
            /* A big one goes behind, so that the room left in the current block is not lost. */
            fresh->next = block->next;
            block->next = fresh;
        } else {
            fresh->next = block;
            arena->blocks = fresh;
        }
        block = fresh;
    }
    void *memory = block->data + block->used;
    block->used += size;
    arena->used_bytes += size;
    return memory;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    void *memory = arena_alloc(arena, size);
    if (memory) memset(memory, 0, size);
    return memory;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / 2 / size) return NULL;
    return arena_alloc(arena, count * size);
}

struct slice arena_copy(struct arena *arena, struct slice s)
{
    if (!s.data) return SLICE_NULL;
    uint8_t *copy = arena_alloc(arena, s.size + 1);
    if (!copy) return SLICE_NULL;
    if (s.size) memcpy(copy, s.data, s.size);
    copy[s.size] = 0;
    return (struct slice){copy, s.size};
}

struct slice arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0) return SLICE_NULL;
    char *text = arena_alloc(arena, (size_t)size + 1);
    if (!text) return SLICE_NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)size + 1, format, args);
    va_end(args);
    return (struct slice){(uint8_t *)text, (size_t)size};
}
