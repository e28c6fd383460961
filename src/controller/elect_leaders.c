/* elect_leaders.c: ElectLeaders, preferred or unclean, in the controller's turn; answered when the image shows the new leaders. */
#include <stdio.h>

#include "controller/admin.h"

enum { TYPE_PREFERRED, TYPE_UNCLEAN };

struct wanted_election {
    struct admin_call *admin;
    struct partition_list partitions;
};

static bool is_elected(const struct admin_call *admin, struct admin_item *item)
{
    const struct ctopic *topic = context_topic(admin->c, item->name);
    const struct image_partition *shown =
        image_partition(metadata_image(admin->c->metadata), item->name, item->partitions);
    bool is_known = topic && (size_t)item->partitions < topic->partition_count;
    return is_known && shown && shown->leader == topic->partitions[item->partitions]->leader &&
           shown->leader >= 0;
}

static enum error answer_elections(struct admin_call *admin)
{
    struct elect_leaders_response *response = admin->call->response;
    bool is_failed = false;
    elect_leaders_response_init(response);
    struct arena *arena = admin->call->arena;
    struct elect_leaders_response_replica_election_result *topics =
        arena_zalloc(arena, (admin->count ? admin->count : 1) * sizeof *topics);
    struct elect_leaders_response_partition_result *partitions =
        arena_zalloc(arena, (admin->count ? admin->count : 1) * sizeof *partitions);
    if (!topics || !partitions) return ERR_NOMEM;
    int32_t topic_count = 0;
    for (size_t i = 0; i < admin->count; i++) {
        const struct admin_item *item = &admin->items[i];
        struct elect_leaders_response_replica_election_result *last =
            topic_count ? &topics[topic_count - 1] : NULL;
        if (!last || !slice_equal(last->topic, item->name)) {
            last = &topics[topic_count++];
            last->topic = arena_copy(arena, item->name);
            is_failed |= !last->topic.data;
            last->partition_result.items = &partitions[i];
        }
        partitions[i].partition_id = item->partitions;
        partitions[i].error_code = error_kafka_code(item->err);
        partitions[i].error_message = item_message(admin, item, &is_failed);
        last->partition_result.count++;
    }
    response->replica_election_results.items = topics;
    response->replica_election_results.count = topic_count;
    return is_failed ? ERR_NOMEM : OK;
}

static void proceed(struct admin_call *admin)
{
    const struct elect_leaders_request *request = admin->call->request;
    admin_proceed(admin, request->timeout_ms);
}

static void elections_done(struct controller *c, void *argument)
{
    struct admin_call *admin = argument;
    engine_guard(c, NULL, NULL);
    for (size_t i = 0; i < admin->count; i++) {
        struct admin_item *item = &admin->items[i];
        if (item->err != OK) continue;
        const struct ctopic *topic = context_topic(c, item->name);
        struct cpartition *partition = topic && (size_t)item->partitions < topic->partition_count
                                           ? topic->partitions[item->partitions]
                                           : NULL;
        if (!partition)
            item_fail(item, ERR_UNKNOWN_TOPIC_OR_PARTITION, "%s", "");
        else if (partition->election != OK)
            item_fail(item, partition->election, "%s", "");
        else
            item->is_waiting = true;
    }
    proceed(admin);
}

static void elections_drop(struct controller *c, void *argument)
{
    (void)c;
    struct admin_call *admin = argument;
    for (size_t i = 0; i < admin->count; i++) item_fail(&admin->items[i], ERR_NOT_CONTROLLER, "%s", "");
    proceed(admin);
}

static void elections_event(struct controller *c, void *argument)
{
    struct admin_call *admin = argument;
    const struct elect_leaders_request *request = admin->call->request;
    bool is_unclean = request->election_type == TYPE_UNCLEAN;
    struct partition_list partitions = {0};
    engine_guard(c, elections_drop, admin);
    for (size_t i = 0; i < admin->count; i++) {
        struct admin_item *item = &admin->items[i];
        const struct ctopic *topic = item->err == OK ? context_topic(c, item->name) : NULL;
        if (item->err != OK) continue;
        if (!topic || item->partitions < 0 || (size_t)item->partitions >= topic->partition_count) {
            item_fail(item, ERR_UNKNOWN_TOPIC_OR_PARTITION, "%s", "");
        } else if (topic->is_deleting) {
            item_fail(item, ERR_INVALID_TOPIC_EXCEPTION, "the topic is being deleted");
        } else {
            struct cpartition *partition = topic->partitions[item->partitions];
            bool has_leader = partition->leader >= 0 && context_is_live(c, partition, partition->leader);
            if (is_unclean && has_leader)
                item_fail(item, ERR_ELECTION_NOT_NEEDED, "it has a leader");
            else
                partition_list_add(c, &partitions, partition);
        }
    }
    engine_push(c, elections_done, admin);
    if (partitions.count > 0) transition_online(c, partitions, is_unclean ? ELECT_UNCLEAN : ELECT_PREFERRED);
}

/* Null topic_partitions: every partition. */
static size_t count_partitions(const struct controller *c, const struct elect_leaders_request *request)
{
    size_t count = 0;
    struct map_slot *slot;
    for (int32_t t = 0; t < request->topic_partitions.count; t++)
        if (request->topic_partitions.items[t].partitions.count > 0)
            count += (size_t)request->topic_partitions.items[t].partitions.count;
    if (request->topic_partitions.count >= 0) return count;
    for (size_t i = 0; (slot = map_next(&c->topics, &i));)
        if (!((struct ctopic *)slot->value)->is_deleting)
            count += ((struct ctopic *)slot->value)->partition_count;
    return count;
}

void call_elect_leaders(struct controller *c, struct controller_call *call)
{
    const struct elect_leaders_request *request = call->request;
    if (request->election_type != TYPE_PREFERRED && request->election_type != TYPE_UNCLEAN) {
        call_done(call, ERR_INVALID_REQUEST);
        return;
    }
    struct admin_call *admin =
        admin_begin(c, call, count_partitions(c, request), is_elected, answer_elections);
    if (!admin) return;
    size_t at = 0;
    for (int32_t t = 0; t < request->topic_partitions.count; t++) {
        for (int32_t p = 0; p < request->topic_partitions.items[t].partitions.count; p++, at++) {
            admin->items[at].name = request->topic_partitions.items[t].topic;
            admin->items[at].partitions = request->topic_partitions.items[t].partitions.items[p];
        }
    }
    struct map_slot *slot;
    for (size_t i = 0; request->topic_partitions.count < 0 && (slot = map_next(&c->topics, &i));) {
        const struct ctopic *topic = slot->value;
        for (size_t p = 0; !topic->is_deleting && p < topic->partition_count; p++, at++) {
            admin->items[at].name = arena_copy(&admin->arena, topic->name);
            admin->items[at].partitions = (int32_t)p;
        }
    }
    engine_event(c, elections_event, admin, elections_drop, false);
}
