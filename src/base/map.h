/* map.h: a hash map from byte strings or from 64-bit numbers to pointers.
 *
 * Keys of a string map are copied in. Open addressing, at most 3/4 full, tombstone-free (backward shift).
 * Order of iteration is the slots' and depends only on the keys and their history, never on addresses, so a
 * simulation repeats. Neither putting nor removing is allowed while iterating. Zeroed = empty.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct map_slot {
    uint64_t hash; /* 0 = empty */
    uint8_t *key;  /* owned copy; NULL in a number map */
    uint64_t key_size_or_number;
    void *value;
};

struct map {
    struct map_slot *slots;
    size_t capacity, count; /* capacity is a power of two or 0 */
};

/* Frees the map's own memory, not the values. */
void map_free(struct map *map);

/* NULL when absent. */
void *map_get(const struct map *map, struct slice key);
/* Sets or replaces. `value` must not be NULL. */
MUST_USE enum error map_put(struct map *map, struct slice key, void *value);
/* The value removed, or NULL. */
void *map_remove(struct map *map, struct slice key);

void *map_get_number(const struct map *map, uint64_t key);
MUST_USE enum error map_put_number(struct map *map, uint64_t key, void *value);
void *map_remove_number(struct map *map, uint64_t key);

/* for (size_t i = 0; (slot = map_next(map, &i));) ... */
struct map_slot *map_next(const struct map *map, size_t *position);
static inline struct slice map_slot_key(const struct map_slot *slot)
{
    return (struct slice){slot->key, (size_t)slot->key_size_or_number};
}

uint64_t hash_bytes(const void *data, size_t size);
