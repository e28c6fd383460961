#include "base/map.h"

#include <assert.h>
#include <stdlib.h>

static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdULL;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ULL;
    h ^= h >> 33;
    return h;
}

uint64_t hash_bytes(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t h = 0x9e3779b97f4a7c15ULL ^ size;
    for (; size >= 8; p += 8, size -= 8) h = mix(h ^ get_be64(p));
    uint64_t tail = 0;
    for (size_t i = 0; i < size; i++) tail = tail << 8 | p[i];
    return mix(h ^ tail);
}

static uint64_t nonzero(uint64_t hash)
{
    return hash ? hash : 1;
}

void map_free(struct map *map)
{
    for (size_t i = 0; i < map->capacity; i++) free(map->slots[i].key);
    free(map->slots);
    *map = (struct map){0};
}

static bool same_key(const struct map_slot *slot, uint64_t hash, const uint8_t *key, uint64_t size_or_number)
{
    if (slot->hash != hash || slot->key_size_or_number != size_or_number) return false;
    if (!key) return slot->key == NULL;
    return slot->key && memcmp(slot->key, key, size_or_number) == 0;
}

static struct map_slot *find(const struct map *map, uint64_t hash, const uint8_t *key,
                             uint64_t size_or_number)
{
    if (map->capacity == 0) return NULL;
    for (size_t i = hash & (map->capacity - 1);; i = (i + 1) & (map->capacity - 1)) {
        struct map_slot *slot = &map->slots[i];
        if (slot->hash == 0) return NULL;
        if (same_key(slot, hash, key, size_or_number)) return slot;
    }
}

static void place(struct map *map, struct map_slot item)
{
    size_t i = item.hash & (map->capacity - 1);
    while (map->slots[i].hash) i = (i + 1) & (map->capacity - 1);
    map->slots[i] = item;
}

static bool grow(struct map *map)
{
    struct map grown = {.capacity = map->capacity ? map->capacity * 2 : 8, .count = map->count};
    grown.slots = calloc(grown.capacity, sizeof *grown.slots);
    if (!grown.slots) return false;
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].hash) place(&grown, map->slots[i]);
    }
    free(map->slots);
    *map = grown;
    return true;
}

static enum error put(struct map *map, uint64_t hash, const uint8_t *key, uint64_t size_or_number,
                      void *value)
{
    assert(value);
    struct map_slot *slot = find(map, hash, key, size_or_number);
    if (slot) {
        slot->value = value;
        return OK;
    }
    if ((map->count + 1) * 4 > map->capacity * 3 && !grow(map)) return ERR_NOMEM;
    struct map_slot item = {hash, NULL, size_or_number, value};
    if (key) {
        item.key = malloc(size_or_number + 1);
        if (!item.key) return ERR_NOMEM;
        memcpy(item.key, key, size_or_number);
        item.key[size_or_number] = 0;
    }
    place(map, item);
    map->count++;
    return OK;
}

static void *take(struct map *map, struct map_slot *slot)
{
    if (!slot) return NULL;
    void *value = slot->value;
    free(slot->key);
    size_t mask = map->capacity - 1, hole = (size_t)(slot - map->slots);
    for (size_t i = (hole + 1) & mask; map->slots[i].hash; i = (i + 1) & mask) {
        size_t home = map->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole] = (struct map_slot){0};
    map->count--;
    return value;
}

static const uint8_t *bytes_of(struct slice key)
{
    return key.data ? key.data : (const uint8_t *)"";
}

void *map_get(const struct map *map, struct slice key)
{
    struct map_slot *slot = find(map, nonzero(hash_bytes(key.data, key.size)), bytes_of(key), key.size);
    return slot ? slot->value : NULL;
}

enum error map_put(struct map *map, struct slice key, void *value)
{
    return put(map, nonzero(hash_bytes(key.data, key.size)), bytes_of(key), key.size, value);
}

void *map_remove(struct map *map, struct slice key)
{
    return take(map, find(map, nonzero(hash_bytes(key.data, key.size)), bytes_of(key), key.size));
}

void *map_get_number(const struct map *map, uint64_t key)
{
    struct map_slot *slot = find(map, nonzero(mix(key + 1)), NULL, key);
    return slot ? slot->value : NULL;
}

enum error map_put_number(struct map *map, uint64_t key, void *value)
{
    return put(map, nonzero(mix(key + 1)), NULL, key, value);
}

void *map_remove_number(struct map *map, uint64_t key)
{
    return take(map, find(map, nonzero(mix(key + 1)), NULL, key));
}

struct map_slot *map_next(const struct map *map, size_t *position)
{
    while (*position < map->capacity) {
        struct map_slot *slot = &map->slots[(*position)++];
        if (slot->hash) return slot;
    }
    return NULL;
}
