#include "broker/frame_memory.h"

#include <sys/mman.h>

static int class_of(size_t size)
{
    int index = 0;
    for (size_t room = FRAME_MEMORY_LEAST; room < size; room *= 2) index++;
    return index;
}

static size_t room_of(int index)
{
    return (size_t)FRAME_MEMORY_LEAST << index;
}

uint8_t *frame_memory_get(struct frame_memory *memory, size_t size)
{
    int index = class_of(size);
    if (index < FRAME_MEMORY_CLASSES) {
        void *kept = memory->free[index];
        if (kept) {
            memory->free[index] = *(void **)kept;
            memory->kept_bytes -= room_of(index);
            return kept;
        }
        size = room_of(index);
    }
    void *mapped =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

void frame_memory_put(struct frame_memory *memory, uint8_t *frame, size_t size)
{
    int index = class_of(size);
    if (index >= FRAME_MEMORY_CLASSES) {
        munmap(frame, size);
        return;
    }
    if (memory->kept_bytes + room_of(index) > FRAME_MEMORY_KEPT) {
        munmap(frame, room_of(index));
        return;
    }
    *(void **)frame = memory->free[index];
    memory->free[index] = frame;
    memory->kept_bytes += room_of(index);
}

void frame_memory_trim(struct frame_memory *memory)
{
    for (int i = 0; i < FRAME_MEMORY_CLASSES; i++) {
        while (memory->free[i]) {
            void *kept = memory->free[i];
            memory->free[i] = *(void **)kept;
            munmap(kept, room_of(i));
        }
    }
    memory->kept_bytes = 0;
}
