/* offsets.c: what groups committed, and what open transactions would commit. Changed only by records, in the order of
 * the log: by replay, and when a write of ours is below the high watermark. */
#include <assert.h>
#include <stdlib.h>

#include "base/vec.h"
#include "group/brain.h"

struct offset_entry *offsets_find(const struct group *group, struct slice name, int32_t partition)
{
    const struct offset_topic *topic = map_get(&group->topics, name);
    return topic ? map_get_number(&topic->partitions, (uint32_t)partition) : NULL;
}

static void topic_tidy(struct offset_topic *topic)
{
    if (topic->partitions.count > 0) return;
    map_remove(&topic->group->topics, topic->name);
    map_free(&topic->partitions);
    slice_drop(&topic->name);
    free(topic);
}

static struct offset_topic *topic_obtain(struct group *group, struct slice name)
{
    struct offset_topic *topic = map_get(&group->topics, name);
    if (topic) return topic;
    topic = calloc(1, sizeof *topic);
    if (!topic) return NULL;
    topic->group = group;
    if (!slice_keep(name, &topic->name) || map_put(&group->topics, name, topic) != OK) {
        slice_drop(&topic->name);
        free(topic);
        return NULL;
    }
    return topic;
}

struct offset_entry *offsets_obtain(struct group *group, struct slice name, int32_t partition)
{
    struct offset_topic *topic = topic_obtain(group, name);
    if (!topic) return NULL;
    struct offset_entry *entry = map_get_number(&topic->partitions, (uint32_t)partition);
    if (entry) return entry;
    entry = calloc(1, sizeof *entry);
    if (entry) {
        entry->topic = topic;
        entry->partition = partition;
        if (map_put_number(&topic->partitions, (uint32_t)partition, entry) == OK) return entry;
        free(entry);
    }
    topic_tidy(topic);
    return NULL;
}

void offsets_set(struct offset_entry *entry, struct offset_value *value)
{
    if (entry->has_value && entry->value.record_offset > value->record_offset) {
        slice_drop(&value->metadata);
        return;
    }
    slice_drop(&entry->value.metadata);
    entry->value = *value;
    entry->has_value = true;
    value->metadata = SLICE_NULL;
}

void offsets_tidy(struct offset_entry *entry)
{
    if (entry->has_value || entry->in_flight > 0 || entry->transactions > 0) return;
    struct offset_topic *topic = entry->topic;
    map_remove_number(&topic->partitions, (uint32_t)entry->partition);
    free(entry);
    topic_tidy(topic);
}

bool offsets_are_void(const struct group *group)
{
    return group->topics.count == 0;
}

/* --- transactions --- */

bool offsets_set_pending(struct group_shard *shard, int64_t producer_id, struct offset_entry *entry,
                         struct offset_value *value)
{
    struct open_transaction *open = map_get_number(&shard->transactions, (uint64_t)producer_id);
    if (!open) {
        open = calloc(1, sizeof *open);
        if (!open) return false;
        if (map_put_number(&shard->transactions, (uint64_t)producer_id, open) != OK) {
            free(open);
            return false;
        }
    }
    if (!VEC_RESERVE(open->items, open->count, open->capacity)) return false;
    open->items[open->count++] = (struct offset_pending){entry, *value};
    entry->transactions++;
    value->metadata = SLICE_NULL;
    return true;
}

void offsets_end_transaction(struct group_shard *shard, int64_t producer_id, bool is_commit)
{
    struct open_transaction *open = map_remove_number(&shard->transactions, (uint64_t)producer_id);
    if (!open) return;
    for (size_t i = 0; i < open->count; i++) {
        struct offset_pending *pending = &open->items[i];
        struct group *group = pending->entry->topic->group;
        pending->entry->transactions--;
        if (is_commit) offsets_set(pending->entry, &pending->value);
        slice_drop(&pending->value.metadata);
        offsets_tidy(pending->entry);
        group_drop_if_void(shard, group);
    }
    free(open->items);
    free(open);
}

/* Takes what was committed to `entry` before `record_offset` out of all open transactions. */
static void forget_pending(struct group_shard *shard, struct offset_entry *entry, int64_t record_offset)
{
    size_t position = 0;
    struct map_slot *slot;
    while (entry->transactions > 0 && (slot = map_next(&shard->transactions, &position))) {
        struct open_transaction *open = slot->value;
        size_t kept = 0;
        for (size_t i = 0; i < open->count; i++) {
            struct offset_pending *pending = &open->items[i];
            if (pending->entry == entry && pending->value.record_offset < record_offset) {
                slice_drop(&pending->value.metadata);
                entry->transactions--;
            } else {
                open->items[kept++] = *pending;
            }
        }
        open->count = kept;
    }
}

void offsets_clear(struct group_shard *shard, struct offset_entry *entry, int64_t record_offset)
{
    forget_pending(shard, entry, record_offset);
    if (entry->has_value && entry->value.record_offset < record_offset) {
        slice_drop(&entry->value.metadata);
        entry->has_value = false;
    }
    offsets_tidy(entry);
}

void offsets_free(struct group_shard *shard, struct group *group)
{
    size_t at_topic = 0;
    struct map_slot *topic_slot;
    while ((topic_slot = map_next(&group->topics, &at_topic))) {
        struct offset_topic *topic = topic_slot->value;
        size_t at_partition = 0;
        struct map_slot *slot;
        while ((slot = map_next(&topic->partitions, &at_partition))) {
            struct offset_entry *entry = slot->value;
            forget_pending(shard, entry, INT64_MAX);
            slice_drop(&entry->value.metadata);
            free(entry);
        }
        map_free(&topic->partitions);
        slice_drop(&topic->name);
        free(topic);
    }
    map_free(&group->topics);
}

void offsets_free_transactions(struct group_shard *shard)
{
    size_t position = 0;
    struct map_slot *slot;
    while ((slot = map_next(&shard->transactions, &position))) {
        struct open_transaction *open = slot->value;
        for (size_t i = 0; i < open->count; i++) {
            open->items[i].entry->transactions--;
            slice_drop(&open->items[i].value.metadata);
        }
        free(open->items);
        free(open);
    }
    map_free(&shard->transactions);
}
