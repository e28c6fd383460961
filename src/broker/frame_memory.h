/* frame_memory.h: memory for large frames: mapped, so untouched pages cost nothing until their bytes come, and kept for the
 * next frame of about that size, because the first touch of a page costs more than handling its bytes.
 *
 * Owner one loop. Limits: FRAME_MEMORY_KEPT bytes wait for reuse; frame_memory_trim gives them back.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { FRAME_MEMORY_CLASSES = 7, FRAME_MEMORY_LEAST = 32 * 1024, FRAME_MEMORY_KEPT = 8 * 1024 * 1024 };

struct frame_memory {
    void *free[FRAME_MEMORY_CLASSES]; /* 32 KiB, 64 KiB ... 2 MiB; linked through their first word */
    size_t kept_bytes;
};

/* NULL without memory. */
uint8_t *frame_memory_get(struct frame_memory *memory, size_t size);
void frame_memory_put(struct frame_memory *memory, uint8_t *frame, size_t size);
void frame_memory_trim(struct frame_memory *memory);
