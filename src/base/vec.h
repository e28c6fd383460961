/* vec.h: growing arrays that stay plain pointers.
 *
 *     if (!VEC_RESERVE(items, count, capacity)) return ERR_NOMEM;   room for one more than count
 *     items[count++] = item;
 *
 * The owner frees `items`. Growth is by half, so n pushes cost O(n).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static inline bool vec_grow(void **items, size_t *capacity, size_t wanted, size_t item_size)
{
    if (wanted <= *capacity) return true;
    size_t grown = *capacity + *capacity / 2 + 8;
    if (grown < wanted) grown = wanted;
    if (item_size && grown > (size_t)-1 / item_size) return false;
    void *moved = realloc(*items, grown * item_size);
    if (!moved) return false;
    *items = moved;
    *capacity = grown;
    return true;
}

#define VEC_RESERVE(items, count, capacity)                                                                  \
    vec_grow((void **)&(items), &(capacity), (size_t)(count) + 1, sizeof *(items))
#define VEC_RESERVE_N(items, count, capacity, n)                                                             \
    vec_grow((void **)&(items), &(capacity), (size_t)(count) + (size_t)(n), sizeof *(items))
