#include "quorum/entries.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 << 10, SLOT_BYTES = sizeof(struct entry_slot) };

struct entry_block {
    uint32_t live; /* entries that lie in it */
    size_t used, capacity;
    uint8_t data[];
};

static struct entry_slot *slot_of(const struct entries *entries, uint64_t index)
{
    return &entries->slots[index & (entries->capacity - 1)];
}

static void slot_free(struct entries *entries, uint64_t index)
{
    struct entry_slot *slot = slot_of(entries, index);
    struct entry_block *block = slot->block;
    entries->bytes -= slot->size + SLOT_BYTES;
    if (--block->live > 0) return;
    if (block == entries->filling) {
        block->used = 0;
    } else {
        free(block);
    }
}

void entries_reset(struct entries *entries, uint64_t next)
{
    for (uint64_t index = entries->first; index < entries->next; index++) slot_free(entries, index);
    free(entries->filling);
    free(entries->slots);
    *entries = (struct entries){.first = next, .next = next};
}

static bool slots_grow(struct entries *entries)
{
    size_t capacity = entries->capacity ? entries->capacity * 2 : 64;
    struct entry_slot *slots = malloc(capacity * sizeof *slots);
    if (!slots) return false;
    for (uint64_t index = entries->first; index < entries->next; index++) {
        slots[index & (capacity - 1)] = *slot_of(entries, index);
    }
    free(entries->slots);
    entries->slots = slots;
    entries->capacity = capacity;
    return true;
}

/* A block with room for `size` more bytes becomes the one that is filled. */
static bool block_make_room(struct entries *entries, size_t size)
{
    struct entry_block *block = entries->filling;
    if (block && block->capacity - block->used >= size) return true;
    size_t capacity = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    struct entry_block *made = malloc(sizeof *made + capacity);
    if (!made) return false;
    made->live = 0;
    made->used = 0;
    made->capacity = capacity;
    if (block && block->live == 0) free(block);
    entries->filling = made;
    return true;
}

enum error entries_append(struct entries *entries, uint64_t term, enum entry_kind kind,
                          const struct slice *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) size += parts[i].size;
    if (entries->next - entries->first == entries->capacity && !slots_grow(entries)) return ERR_NOMEM;
    if (!block_make_room(entries, size)) return ERR_NOMEM;
    struct entry_block *block = entries->filling;
    uint8_t *data = block->data + block->used;
    uint8_t *at = data;
    for (int i = 0; i < count; i++) {
        if (parts[i].size) memcpy(at, parts[i].data, parts[i].size);
        at += parts[i].size;
    }
    block->used += size;
    block->live++;
    *slot_of(entries, entries->next) = (struct entry_slot){term, kind, (uint32_t)size, data, block};
    entries->bytes += size + SLOT_BYTES;
    entries->next++;
    return OK;
}

void entries_cut(struct entries *entries, uint64_t index)
{
    if (index < entries->first) index = entries->first;
    while (entries->next > index) slot_free(entries, --entries->next);
}

void entries_trim(struct entries *entries, uint64_t index, size_t kept_bytes)
{
    while (entries->bytes > kept_bytes && entries->first < entries->next && entries->first < index) {
        slot_free(entries, entries->first++);
    }
}

bool entries_get(const struct entries *entries, uint64_t index, struct frame_entry *entry)
{
    if (index < entries->first || index >= entries->next) return false;
    const struct entry_slot *slot = slot_of(entries, index);
    *entry = (struct frame_entry){slot->kind, slot->term, {slot->data, slot->size}};
    return true;
}
