#include "base/bytes.h"

#include <assert.h>
#include <stdlib.h>

int slice_compare(struct slice a, struct slice b)
{
    if (!a.data || !b.data) return (a.data != NULL) - (b.data != NULL);
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;
    if (order != 0) return order;
    return (a.size > b.size) - (a.size < b.size);
}

char *slice_dup(struct slice s)
{
    if (!s.data) return NULL;
    char *copy = malloc(s.size + 1);
    if (!copy) return NULL;
    if (s.size) memcpy(copy, s.data, s.size);
    copy[s.size] = 0;
    return copy;
}

void slice_text(struct slice s, char *out, size_t size)
{
    assert(size > 0);
    size_t kept = s.size < size - 1 ? s.size : size - 1;
    if (kept) memcpy(out, s.data, kept);
    out[kept] = 0;
}

struct bytes *bytes_new(size_t capacity)
{
    struct bytes *bytes = malloc(sizeof *bytes + capacity);
    if (!bytes) return NULL;
    *bytes = (struct bytes){.capacity = capacity, .references = 1};
    return bytes;
}

struct bytes *bytes_copy(const void *data, size_t size)
{
    struct bytes *bytes = bytes_new(size);
    if (!bytes) return NULL;
    if (size) memcpy(bytes->data, data, size);
    bytes->size = size;
    return bytes;
}

struct bytes *bytes_retain(struct bytes *bytes)
{
    __atomic_add_fetch(&bytes->references, 1, __ATOMIC_RELAXED);
    return bytes;
}

void bytes_release(struct bytes **bytes)
{
    struct bytes *held = *bytes;
    *bytes = NULL;
    if (!held) return;
    if (__atomic_sub_fetch(&held->references, 1, __ATOMIC_ACQ_REL) > 0) return;
    if (held->free_hook) held->free_hook(held, held->free_context);
    free(held);
}
