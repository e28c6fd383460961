#include "keeper/children.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/slabs.h"
#include "keeper/tree.h"

enum { TAG_EMPTY, TAG_REMOVED, TAG_CHILD = 0x80, CAPACITY_MIN = 4, MOVED_AT_ONCE = 8 };
#define NOWHERE UINT32_MAX

uint32_t children_hash(struct slice name)
{
    uint64_t hash = hash_bytes(name.data, name.size);
    return (uint32_t)(hash ^ hash >> 32);
}

static uint8_t *tags_of(const struct children_table *table)
{
    return (uint8_t *)(table->places + table->capacity);
}

static uint8_t tag_of(uint32_t hash)
{
    return (uint8_t)(TAG_CHILD | (hash & 0x7f));
}

/* Tables of two capacities have two orders: whoever creates children in the order in which another lists them (an import, a copy) would
 * else fill the table from one end on, and look through all that is there for each. */
static uint32_t home_of(const struct children_table *table, uint32_t hash)
{
    uint32_t mixed = hash * ((table->capacity * 2654435761u) | 1);
    return (uint32_t)((uint64_t)mixed * table->capacity >> 32);
}

static void table_make(struct children_table *table, uint32_t capacity)
{
    *table = (struct children_table){.capacity = capacity};
    table->places = malloc((size_t)capacity * (sizeof *table->places + 1));
    assert(table->places);
    memset(tags_of(table), TAG_EMPTY, capacity);
}

/* Where this name, or this very znode, is. */
static uint32_t table_find(const struct slabs *nodes, const struct children_table *table, struct slice name,
                           uint32_t hash, uint32_t place)
{
    if (table->capacity == 0) return NOWHERE;
    const uint8_t *tags = tags_of(table);
    uint8_t tag = tag_of(hash);
    for (uint32_t at = home_of(table, hash); tags[at] != TAG_EMPTY;) {
        if (tags[at] == tag) {
            if (place ? table->places[at] == place
                      : slice_equal(znode_name(slabs_at(nodes, table->places[at])), name)) {
                return at;
            }
        }
        if (++at == table->capacity) at = 0;
    }
    return NOWHERE;
}

static void table_put(struct znode_children *children, uint32_t place, uint32_t hash)
{
    struct children_table *table = &children->now;
    uint8_t *tags = tags_of(table);
    uint32_t at = home_of(table, hash);
    while (tags[at] >= TAG_CHILD) at = at + 1 == table->capacity ? 0 : at + 1;
    if (tags[at] == TAG_EMPTY) table->used++;
    tags[at] = tag_of(hash);
    table->places[at] = place;
    if (at < children->first) children->first = at;
}

static void move(const struct slabs *nodes, struct znode_children *children, uint32_t count)
{
    struct children_table *old = &children->old;
    for (; old->capacity > 0 && count > 0; count--) {
        uint8_t *tag = &tags_of(old)[children->moved];
        if (*tag >= TAG_CHILD) {
            uint32_t place = old->places[children->moved];
            table_put(children, place, children_hash(znode_name(slabs_at(nodes, place))));
            *tag = TAG_REMOVED;
            old->used--;
        }
        if (++children->moved == old->capacity) {
            free(old->places);
            *old = (struct children_table){0};
            children->moved = 0;
        }
    }
}

static void resize(const struct slabs *nodes, struct znode_children *children)
{
    move(nodes, children, UINT32_MAX);
    children->old = children->now;
    children->old.used = children->count;
    children->moved = children->first = 0;
    assert(children->count < UINT32_MAX / 2);
    table_make(&children->now, children->count + children->count / 2 + CAPACITY_MIN);
    if (children->count == 0) move(nodes, children, UINT32_MAX);
}

static uint32_t most(uint32_t capacity)
{
    return capacity - capacity / 8 - 1;
}

void children_expect(struct znode_children *children, uint32_t count)
{
    assert(children->now.capacity == 0);
    table_make(&children->now, count + count / 4 + CAPACITY_MIN);
}

struct znode *children_find(const struct slabs *nodes, const struct znode_children *children,
                            struct slice name, uint32_t hash)
{
    const struct children_table *table = &children->now;
    uint32_t at = table_find(nodes, table, name, hash, 0);
    if (at == NOWHERE) {
        table = &children->old;
        at = table_find(nodes, table, name, hash, 0);
    }
    return at == NOWHERE ? NULL : slabs_at(nodes, table->places[at]);
}

void children_add(const struct slabs *nodes, struct znode_children *children, struct znode *node,
                  uint32_t hash)
{
    if (children->now.capacity == 0) table_make(&children->now, CAPACITY_MIN);
    if (children->now.used + children->old.used >= most(children->now.capacity)) resize(nodes, children);
    move(nodes, children, MOVED_AT_ONCE);
    table_put(children, slabs_place(node), hash);
    children->count++;
}

void children_remove(const struct slabs *nodes, struct znode_children *children, const struct znode *node)
{
    uint32_t hash = children_hash(znode_name(node)), place = slabs_place(node);
    struct children_table *table = &children->now;
    uint32_t at = table_find(nodes, table, SLICE_NULL, hash, place);
    if (at == NOWHERE) {
        table = &children->old;
        at = table_find(nodes, table, SLICE_NULL, hash, place);
        assert(at != NOWHERE);
        table->used--;
        tags_of(table)[at] = TAG_REMOVED;
    } else {
        uint8_t *tags = tags_of(table);
        bool is_last = tags[at + 1 == table->capacity ? 0 : at + 1] == TAG_EMPTY;
        tags[at] = is_last ? TAG_EMPTY : TAG_REMOVED;
        if (is_last) table->used--;
        while (children->first < table->capacity && tags[children->first] < TAG_CHILD) children->first++;
    }
    children->count--;
    move(nodes, children, MOVED_AT_ONCE);
    if (children->old.capacity == 0 && children->count > 0 && children->now.capacity > 16 &&
        children->count < children->now.capacity / 8) {
        resize(nodes, children);
    }
}

void children_free(struct znode_children *children)
{
    free(children->now.places);
    free(children->old.places);
}

struct znode *children_next(const struct slabs *nodes, const struct znode_children *children, size_t *at)
{
    const struct children_table *now = &children->now, *old = &children->old;
    if (*at < children->first) *at = children->first;
    for (; *at < now->capacity; ++*at) {
        if (tags_of(now)[*at] >= TAG_CHILD) return slabs_at(nodes, now->places[(*at)++]);
    }
    for (; *at - now->capacity < old->capacity; ++*at) {
        size_t place = *at - now->capacity;
        if (tags_of(old)[place] >= TAG_CHILD) {
            ++*at;
            return slabs_at(nodes, old->places[place]);
        }
    }
    return NULL;
}

size_t children_after(const struct slabs *nodes, const struct znode_children *children,
                      const struct znode *node)
{
    uint32_t hash = children_hash(znode_name(node)), place = slabs_place(node);
    uint32_t at = table_find(nodes, &children->now, SLICE_NULL, hash, place);
    if (at != NOWHERE) return (size_t)at + 1;
    at = table_find(nodes, &children->old, SLICE_NULL, hash, place);
    assert(at != NOWHERE);
    return (size_t)children->now.capacity + at + 1;
}
