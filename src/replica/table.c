#include "replica/table.h"

#include <stdlib.h>
#include <string.h>

#include "replica/partition.h"

struct table_topic {
    struct partition **items; /* by index; NULL where it is not here */
    size_t capacity;          /* slots, as all beyond are NULL */
    size_t count;
};

void partition_table_free(struct partition_table *table)
{
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&table->topics, &i));) {
        struct table_topic *topic = slot->value;
        free(topic->items);
        free(topic);
    }
    map_free(&table->topics);
    *table = (struct partition_table){0};
}

struct partition *partition_table_find(const struct partition_table *table, struct slice topic, int32_t index)
{
    const struct table_topic *found = map_get(&table->topics, topic);
    return found && index >= 0 && (size_t)index < found->capacity ? found->items[index] : NULL;
}

enum error partition_table_set(struct partition_table *table, struct partition *partition)
{
    struct slice name = partition_topic(partition);
    size_t index = (size_t)partition_index(partition);
    struct table_topic *topic = map_get(&table->topics, name);
    if (!topic) {
        topic = calloc(1, sizeof *topic);
        if (!topic) return ERR_NOMEM;
        enum error err = map_put(&table->topics, name, topic);
        if (err != OK) {
            free(topic);
            return err;
        }
    }
    if (index >= topic->capacity) {
        size_t grown = index + 1 > topic->capacity * 2 ? index + 1 : topic->capacity * 2;
        struct partition **items = realloc(topic->items, grown * sizeof(struct partition *));
        if (!items) return ERR_NOMEM;
        memset(items + topic->capacity, 0, (grown - topic->capacity) * sizeof(struct partition *));
        topic->items = items;
        topic->capacity = grown;
    }
    if (!topic->items[index]) {
        topic->count++;
        table->count++;
    }
    topic->items[index] = partition;
    return OK;
}

void partition_table_drop(struct partition_table *table, struct partition *partition)
{
    struct slice name = partition_topic(partition);
    size_t index = (size_t)partition_index(partition);
    struct table_topic *topic = map_get(&table->topics, name);
    if (!topic || index >= topic->capacity || topic->items[index] != partition) return;
    topic->items[index] = NULL;
    table->count--;
    if (--topic->count > 0) return;
    map_remove(&table->topics, name);
    free(topic->items);
    free(topic);
}

struct partition *partition_table_next(const struct partition_table *table, size_t *position)
{
    /* Upper half: the map's slot; lower half: the next index in its topic. */
    size_t slot = *position >> 32, index = *position & UINT32_MAX;
    for (; slot < table->topics.capacity; slot++, index = 0) {
        if (table->topics.slots[slot].hash == 0) continue;
        const struct table_topic *topic = table->topics.slots[slot].value;
        for (; index < topic->capacity; index++) {
            if (!topic->items[index]) continue;
            *position = slot << 32 | (index + 1);
            return topic->items[index];
        }
    }
    *position = slot << 32;
    return NULL;
}

struct partition *partition_table_next_of(const struct partition_table *table, struct slice topic,
                                          size_t *position)
{
    const struct table_topic *found = map_get(&table->topics, topic);
    for (; found && *position < found->capacity; (*position)++) {
        if (found->items[*position]) return found->items[(*position)++];
    }
    return NULL;
}
