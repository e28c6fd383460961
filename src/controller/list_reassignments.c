/* list_reassignments.c: which partitions are on their way to other brokers (facts/cluster.md 3.10). */
#include "controller/inside.h"

typedef struct list_partition_reassignments_response_ongoing_topic_reassignment moving_topic;
typedef struct list_partition_reassignments_response_ongoing_partition_reassignment moving_partition;

static bool is_moving(const struct cpartition *partition)
{
    return partition->adding.count > 0 || partition->removing.count > 0;
}

static int32_t *copy_ids(struct arena *arena, struct int32_list list)
{
    int32_t *ids = arena_array(arena, list.count, sizeof *ids);
    if (ids && list.count > 0) memcpy(ids, list.items, list.count * sizeof *ids);
    return ids;
}

static bool describe(struct arena *arena, const struct cpartition *partition, moving_partition *moving)
{
    *moving = (moving_partition){.partition_index = partition->index};
    moving->replicas.items = arena_array(arena, partition->seat_count, sizeof *moving->replicas.items);
    moving->adding_replicas.items = copy_ids(arena, partition->adding);
    moving->removing_replicas.items = copy_ids(arena, partition->removing);
    if (!moving->replicas.items || !moving->adding_replicas.items || !moving->removing_replicas.items)
        return false;
    for (size_t i = 0; i < partition->seat_count; i++)
        moving->replicas.items[i] = partition->seats[i].broker_id;
    moving->replicas.count = (int32_t)partition->seat_count;
    moving->adding_replicas.count = (int32_t)partition->adding.count;
    moving->removing_replicas.count = (int32_t)partition->removing.count;
    return true;
}

/* `indexes` NULL: all of the topic. Nothing is added where nothing moves; what does not exist does not move. */
static bool add_topic(struct arena *arena, const struct ctopic *topic, const int32_t *indexes, size_t count,
                      struct list_partition_reassignments_response *response)
{
    size_t asked = indexes ? count : topic->partition_count, moving_count = 0;
    for (size_t i = 0; i < asked; i++) {
        size_t index = indexes ? (size_t)indexes[i] : i;
        if (index < topic->partition_count && is_moving(topic->partitions[index])) moving_count++;
    }
    if (moving_count == 0) return true;
    moving_topic *moving = &response->topics.items[response->topics.count++];
    *moving = (moving_topic){.name = arena_copy(arena, topic->name)};
    moving->partitions.items = arena_array(arena, moving_count, sizeof *moving->partitions.items);
    bool has_memory = moving->name.data && moving->partitions.items;
    for (size_t i = 0; has_memory && i < asked; i++) {
        size_t index = indexes ? (size_t)indexes[i] : i;
        if (index >= topic->partition_count || !is_moving(topic->partitions[index])) continue;
        has_memory =
            describe(arena, topic->partitions[index], &moving->partitions.items[moving->partitions.count++]);
    }
    return has_memory;
}

void call_list_reassignments(struct controller *c, struct controller_call *call)
{
    const struct list_partition_reassignments_request *asked = call->request;
    struct list_partition_reassignments_response *response = call->response;
    list_partition_reassignments_response_init(response);
    response->error_message = SLICE_NULL;
    size_t most = asked->topics.count >= 0 ? (size_t)asked->topics.count : c->topics.count;
    response->topics.items = arena_array(call->arena, most, sizeof *response->topics.items);
    bool has_memory = response->topics.items != NULL;
    for (int32_t i = 0; has_memory && i < asked->topics.count; i++) {
        const struct ctopic *topic = context_topic(c, asked->topics.items[i].name);
        int32_t count = asked->topics.items[i].partition_indexes.count;
        if (!topic || count <= 0) continue;
        has_memory = add_topic(call->arena, topic, asked->topics.items[i].partition_indexes.items,
                               (size_t)count, response);
    }
    struct map_slot *slot;
    for (size_t i = 0; has_memory && asked->topics.count < 0 && (slot = map_next(&c->topics, &i));) {
        has_memory = add_topic(call->arena, slot->value, NULL, 0, response);
    }
    call_done(call, has_memory ? OK : ERR_NOMEM);
}
