/* context.c: the cluster as the controller sees it: topics, partitions, seats, brokers. Read from znodes at fail-over, then kept by
 * what the controller itself writes; the last word is the keeper's versions. */
#include <assert.h>

#include "controller/inside.h"

/* --- topics --- */

struct ctopic *context_topic(const struct controller *c, struct slice name)
{
    return map_get(&c->topics, name);
}

struct ctopic *context_topic_by_id(const struct controller *c, const struct uuid *id)
{
    /* Asked by AlterPartition: the image knows names by id. */
    const struct image_topic *known = image_topic_by_id(metadata_image(c->metadata), id);
    struct ctopic *topic = known ? context_topic(c, known->name) : NULL;
    return topic && uuid_equal(&topic->id, id) ? topic : NULL;
}

struct ctopic *context_add_topic(struct controller *c, struct slice name, const struct uuid *id)
{
    struct ctopic *topic = need(calloc(1, sizeof *topic));
    topic->name = (struct slice){need(slice_dup(name)), name.size};
    topic->id = *id;
    need_ok(map_put(&c->topics, name, topic));
    return topic;
}

static struct int32_list ids_copy(struct int32_list ids)
{
    if (ids.count == 0) return (struct int32_list){0};
    int32_t *copy = need(malloc(ids.count * sizeof *copy));
    memcpy(copy, ids.items, ids.count * sizeof *copy);
    return (struct int32_list){copy, ids.count};
}

static void ids_replace(struct int32_list *ids, struct int32_list with)
{
    struct int32_list copy = ids_copy(with);
    free((void *)ids->items);
    *ids = copy;
}

size_t context_assign(struct controller *c, struct ctopic *topic, const struct topic_assignment *assignment)
{
    (void)c;
    size_t before = topic->partition_count;
    if (assignment->partition_count <= before) return before;
    topic->partitions =
        need(realloc(topic->partitions, assignment->partition_count * sizeof *topic->partitions));
    for (size_t i = before; i < assignment->partition_count; i++) {
        struct cpartition *partition = need(calloc(1, sizeof *partition));
        struct int32_list replicas = assignment->replicas[i];
        *partition = (struct cpartition){
            .topic = topic, .index = (int32_t)i, .leader = -1, .phase = PARTITION_NONEXISTENT};
        partition->seats = need(calloc(replicas.count ? replicas.count : 1, sizeof *partition->seats));
        partition->seat_count = replicas.count;
        for (size_t r = 0; r < replicas.count; r++)
            partition->seats[r] = (struct seat){.broker_id = replicas.items[r], .phase = REPLICA_NONEXISTENT};
        partition->adding = ids_copy(assignment->adding[i]);
        partition->removing = ids_copy(assignment->removing[i]);
        topic->partitions[i] = partition;
    }
    topic->partition_count = assignment->partition_count;
    return before;
}

void context_reassign(struct controller *c, struct cpartition *partition, struct int32_list replicas,
                      struct int32_list adding, struct int32_list removing)
{
    (void)c;
    size_t most = partition->dropped_count + partition->seat_count;
    struct seat *seats = need(calloc(replicas.count + 1, sizeof *seats));
    struct seat *dropped = need(calloc(most + 1, sizeof *dropped));
    size_t dropped_count = 0;
    for (size_t i = 0; i < replicas.count; i++) {
        const struct seat *old = context_seat(partition, replicas.items[i]);
        seats[i] = old ? *old : (struct seat){.broker_id = replicas.items[i], .phase = REPLICA_NEW};
    }
    for (size_t i = 0; i < most; i++) {
        struct seat seat = i < partition->dropped_count ? partition->dropped[i]
                                                        : partition->seats[i - partition->dropped_count];
        if (!ids_have(replicas, seat.broker_id)) dropped[dropped_count++] = seat;
    }
    free(partition->seats);
    free(partition->dropped);
    partition->seats = seats;
    partition->seat_count = replicas.count;
    partition->dropped = dropped;
    partition->dropped_count = dropped_count;
    ids_replace(&partition->adding, adding);
    ids_replace(&partition->removing, removing);
}

void context_forget_dropped(struct cpartition *partition)
{
    free(partition->dropped);
    partition->dropped = NULL;
    partition->dropped_count = 0;
}

static void topic_free(struct ctopic *topic)
{
    for (size_t i = 0; i < topic->partition_count; i++) {
        struct cpartition *partition = topic->partitions[i];
        free(partition->seats);
        free(partition->dropped);
        free((void *)partition->adding.items);
        free((void *)partition->removing.items);
        free((void *)partition->isr.items);
        free(partition);
    }
    free(topic->partitions);
    free((void *)topic->name.data);
    free(topic);
}

void context_remove_topic(struct controller *c, struct ctopic *topic)
{
    map_remove(&c->topics, topic->name);
    topic_free(topic);
}

void context_set_state(struct cpartition *partition, const struct partition_state *state, int32_t version)
{
    partition->has_state = true;
    partition->leader = state->leader;
    partition->leader_epoch = state->leader_epoch;
    partition->state_epoch = state->controller_epoch;
    partition->is_recovering = state->is_recovering;
    partition->version = version;
    ids_replace(&partition->isr, state->isr);
    partition->topic->has_folder = true;
}

static int by_name(const void *a, const void *b)
{
    return slice_compare((*(struct ctopic *const *)a)->name, (*(struct ctopic *const *)b)->name);
}

struct ctopic **context_sorted_topics(struct controller *c, size_t *count)
{
    struct ctopic **topics = scratch_alloc(c, c->topics.count + 1, sizeof *topics);
    struct map_slot *slot;
    *count = 0;
    for (size_t i = 0; (slot = map_next(&c->topics, &i));) topics[(*count)++] = slot->value;
    qsort(topics, *count, sizeof *topics, by_name);
    return topics;
}

/* --- brokers --- */

static int by_id(const void *a, const void *b)
{
    int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    return (left > right) - (left < right);
}

static void list_brokers(struct controller *c)
{
    struct int32_list *lists[] = {&c->live, &c->leaving, &c->reachable, &c->shrink_themselves};
    for (int i = 0; i < 4; i++) {
        free((void *)lists[i]->items);
        *lists[i] = (struct int32_list){need(calloc(c->brokers.count + 1, sizeof(int32_t))), 0};
    }
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&c->brokers, &i));) {
        struct cbroker *broker = slot->value;
        struct int32_list *list = broker->is_leaving ? &c->leaving : &c->live;
        ((int32_t *)list->items)[list->count++] = broker->id;
        ((int32_t *)c->reachable.items)[c->reachable.count++] = broker->id;
        if (broker->registration.shrinks_itself && !broker->is_leaving)
            ((int32_t *)c->shrink_themselves.items)[c->shrink_themselves.count++] = broker->id;
    }
    for (int i = 0; i < 4; i++) qsort((void *)lists[i]->items, lists[i]->count, sizeof(int32_t), by_id);
}

static void broker_free(struct cbroker *broker)
{
    arena_free(&broker->arena);
    free(broker);
}

struct cbroker *context_broker(const struct controller *c, int32_t id)
{
    return map_get_number(&c->brokers, (uint64_t)(uint32_t)id + 1);
}

void context_set_broker(struct controller *c, struct cbroker *broker)
{
    struct cbroker *old = map_remove_number(&c->brokers, (uint64_t)(uint32_t)broker->id + 1);
    if (old) broker_free(old);
    need_ok(map_put_number(&c->brokers, (uint64_t)(uint32_t)broker->id + 1, broker));
    list_brokers(c);
}

void context_set_leaving(struct controller *c, struct cbroker *broker)
{
    broker->is_leaving = true;
    list_brokers(c);
}

void context_remove_broker(struct controller *c, int32_t id)
{
    struct cbroker *old = map_remove_number(&c->brokers, (uint64_t)(uint32_t)id + 1);
    if (!old) return;
    broker_free(old);
    list_brokers(c);
}

/* --- replicas --- */

struct seat *context_seat(struct cpartition *partition, int32_t broker_id)
{
    for (size_t i = 0; i < partition->seat_count; i++)
        if (partition->seats[i].broker_id == broker_id) return &partition->seats[i];
    for (size_t i = 0; i < partition->dropped_count; i++)
        if (partition->dropped[i].broker_id == broker_id) return &partition->dropped[i];
    return NULL;
}

bool context_is_live(const struct controller *c, const struct cpartition *partition, int32_t broker_id)
{
    const struct seat *seat = context_seat((struct cpartition *)partition, broker_id);
    return ids_have(c->live, broker_id) && !(seat && seat->is_dir_offline);
}

struct int32_list context_replicas(struct controller *c, const struct cpartition *partition)
{
    int32_t *ids = scratch_alloc(c, partition->seat_count + 1, sizeof *ids);
    for (size_t i = 0; i < partition->seat_count; i++) ids[i] = partition->seats[i].broker_id;
    return (struct int32_list){ids, partition->seat_count};
}

struct int32_list context_live_replicas(struct controller *c, const struct cpartition *partition)
{
    int32_t *ids = scratch_alloc(c, partition->seat_count + 1, sizeof *ids);
    size_t count = 0;
    for (size_t i = 0; i < partition->seat_count; i++)
        if (context_is_live(c, partition, partition->seats[i].broker_id))
            ids[count++] = partition->seats[i].broker_id;
    return (struct int32_list){ids, count};
}

struct int32_list context_reachable_replicas(struct controller *c, const struct cpartition *partition)
{
    int32_t *ids = scratch_alloc(c, partition->seat_count + 1, sizeof *ids);
    size_t count = 0;
    for (size_t i = 0; i < partition->seat_count; i++)
        if (ids_have(c->reachable, partition->seats[i].broker_id) && !partition->seats[i].is_dir_offline)
            ids[count++] = partition->seats[i].broker_id;
    return (struct int32_list){ids, count};
}

void context_clear(struct controller *c)
{
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&c->topics, &i));) topic_free(slot->value);
    for (size_t i = 0; (slot = map_next(&c->brokers, &i));) broker_free(slot->value);
    map_free(&c->topics);
    map_free(&c->brokers);
    struct int32_list *lists[] = {&c->live, &c->leaving, &c->reachable, &c->shrink_themselves};
    for (int i = 0; i < 4; i++) {
        free((void *)lists[i]->items);
        *lists[i] = (struct int32_list){0};
    }
}

/* --- paths and lists --- */

struct slice topic_path(struct controller *c, struct slice name)
{
    return scratch_print(c, "/brokers/topics/%.*s", SLICE_ARG(name));
}

struct slice state_path(struct controller *c, const struct cpartition *partition)
{
    return scratch_print(c, "/brokers/topics/%.*s/partitions/%d/state", SLICE_ARG(partition->topic->name),
                         partition->index);
}

/* Scratch goes all at once, so growing leaves the old array behind. */
static void *grown(struct controller *c, void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return items;
    *capacity = *capacity * 2 + 16;
    void *moved = scratch_alloc(c, *capacity, size);
    if (count) memcpy(moved, items, count * size);
    return moved;
}

void partition_list_add(struct controller *c, struct partition_list *list, struct cpartition *partition)
{
    list->items = grown(c, list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = partition;
}

void replica_list_add(struct controller *c, struct replica_list *list, struct cpartition *partition,
                      int32_t broker_id)
{
    list->items = grown(c, list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = (struct replica_ref){partition, broker_id};
}
