/* admin_topics.c: CreateTopics, DeleteTopics, CreatePartitions (facts/cluster.md 1.6, 3.8).
 *
 * What is asked becomes znodes that any broker may write; the controller sees them by its watches. A topic's config is written
 * before the topic, both in one multi. */
#include <stdio.h>

#include "base/map.h"
#include "base/twice.h"
#include "controller/admin.h"
#include "controller/placement.h"

#define TOPIC_TWICE "the request names this topic more than once"
enum { MAX_PARTITIONS_AT_ONCE = 10000 };

static struct slice arena_path(struct admin_call *admin, const char *folder, struct slice name)
{
    return arena_printf(&admin->arena, "%s/%.*s", folder, SLICE_ARG(name));
}

static struct slice arena_text(struct admin_call *admin, struct text *text)
{
    struct slice copy = text->failed ? SLICE_NULL : arena_copy(&admin->arena, text_slice(text));
    text_free(text);
    return copy;
}

/* The live brokers as this broker knows them, in order of their ids. */
static struct placement_broker *live_brokers(struct admin_call *admin, size_t *count)
{
    const struct image *image = metadata_image(admin->c->metadata);
    *count = image_broker_count(image);
    struct placement_broker *brokers = arena_array(&admin->arena, *count + 1, sizeof *brokers);
    for (size_t i = 0; brokers && i < *count; i++) {
        const struct image_broker *broker = image_broker_at(image, i);
        brokers[i] = (struct placement_broker){broker->id, broker->rack};
    }
    return brokers;
}

static bool assignment_alloc(struct admin_call *admin, struct topic_assignment *assignment, size_t count)
{
    struct int32_list *lists = arena_zalloc(&admin->arena, 3 * (count ? count : 1) * sizeof *lists);
    if (!lists) return false;
    assignment->replicas = lists;
    assignment->adding = lists + count;
    assignment->removing = lists + 2 * count;
    assignment->partition_count = count;
    return true;
}

/* --- CreateTopics --- */

typedef struct create_topics_request_creatable_topic wanted_topic;

struct creation {
    struct topic_assignment assignment;
    struct slice config; /* as it will be written */
};

static bool is_created(const struct admin_call *admin, struct admin_item *item)
{
    const struct image_topic *topic = image_topic(metadata_image(admin->c->metadata), item->name);
    if (!topic || topic->partition_count < item->partitions) return false;
    for (int32_t i = 0; i < item->partitions; i++)
        if (!topic->partitions[i] || topic->partitions[i]->leader < 0) return false;
    return true;
}

static enum error answer_creations(struct admin_call *admin)
{
    struct create_topics_response *response = admin->call->response;
    bool is_failed = false;
    create_topics_response_init(response);
    struct create_topics_response_creatable_topic_result *results =
        arena_zalloc(admin->call->arena, (admin->count ? admin->count : 1) * sizeof *results);
    if (!results) return ERR_NOMEM;
    for (size_t i = 0; i < admin->count; i++) {
        const struct admin_item *item = &admin->items[i];
        results[i].name = item->name;
        results[i].error_code = error_kafka_code(item->err);
        results[i].error_message = item_message(admin, item, &is_failed);
        results[i].num_partitions = item->err == OK ? item->partitions : -1;
        results[i].replication_factor = item->err == OK ? item->replication : -1;
        if (item->err == OK) results[i].topic_id = item->id;
    }
    response->topics.items = results;
    response->topics.count = (int32_t)admin->count;
    return is_failed ? ERR_NOMEM : OK;
}

/* Metric names fold '.' to '_', so a.b and a_b may not both exist. SLICE_NULL without memory. */
static struct slice fold(struct admin_call *admin, struct slice name)
{
    struct slice folded = arena_copy(&admin->arena, name);
    for (size_t i = 0; folded.data && i < folded.size; i++)
        if (folded.data[i] == '.') ((uint8_t *)(uintptr_t)folded.data)[i] = '_';
    return folded;
}

static bool folds(struct slice name)
{
    return name.size > 0 && (memchr(name.data, '.', name.size) || memchr(name.data, '_', name.size));
}

/* `name`, which outlives the call's beginning, by what it folds to. */
static enum error note_folded(struct admin_call *admin, struct map *by_fold, const struct slice *name)
{
    if (!folds(*name)) return OK;
    struct slice folded = fold(admin, *name);
    return folded.data ? map_put(by_fold, folded, (void *)(uintptr_t)name) : ERR_NOMEM;
}

/* All topics there are, where one of the wanted ones could be taken for another. */
static enum error note_known(struct admin_call *admin, struct map *by_fold)
{
    const struct image *image = metadata_image(admin->c->metadata);
    bool is_needed = false;
    enum error err = OK;
    for (size_t i = 0; i < admin->count; i++) is_needed |= folds(admin->items[i].name);
    if (!is_needed) return OK;
    for (const struct image_topic *topic = image_next_topic(image, SLICE_NULL, false); topic && err == OK;
         topic = image_next_topic(image, topic->name, true))
        err = note_folded(admin, by_fold, &topic->name);
    return err;
}

static void check_is_new(const struct admin_call *admin, struct admin_item *item)
{
    const struct controller *c = admin->c;
    const struct ctopic *known = context_topic(c, item->name);
    if (known && known->is_deleting)
        item_fail(item, ERR_TOPIC_ALREADY_EXISTS, "topic %.*s is still being deleted", SLICE_ARG(item->name));
    else if (known || image_topic(metadata_image(c->metadata), item->name))
        item_fail(item, ERR_TOPIC_ALREADY_EXISTS, "there is a topic %.*s already", SLICE_ARG(item->name));
}

static void check_name(struct admin_call *admin, struct admin_item *item, const struct map *by_fold)
{
    const char *why;
    if (topic_name_check(item->name, &why) != OK) {
        item_fail(item, ERR_INVALID_TOPIC_EXCEPTION, "%s", why);
        return;
    }
    struct slice folded = fold(admin, item->name);
    const struct slice *like = folded.data ? map_get(by_fold, folded) : NULL;
    if (!folded.data)
        item_fail(item, ERR_NOMEM, "%s", "");
    else if (like)
        item_fail(item, ERR_INVALID_TOPIC_EXCEPTION, "differs from topic %.*s only in '.' and '_'",
                  SLICE_ARG(*like));
}

static void take_assignment(struct admin_call *admin, struct admin_item *item, const wanted_topic *wanted,
                            struct topic_assignment *assignment)
{
    int32_t count = wanted->assignments.count;
    if (!assignment_alloc(admin, assignment, (size_t)count)) {
        item_fail(item, ERR_NOMEM, "%s", "");
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        const struct create_topics_request_creatable_replica_assignment *said = &wanted->assignments.items[i];
        bool is_in_range = said->partition_index >= 0 && said->partition_index < count;
        if (!is_in_range || assignment->replicas[said->partition_index].items)
            item_fail(item, ERR_INVALID_REPLICA_ASSIGNMENT,
                      "partitions must be numbered from 0 without gaps, each once");
        else if (said->broker_ids.count <= 0)
            item_fail(item, ERR_INVALID_REPLICA_ASSIGNMENT, "partition %d has no replicas",
                      said->partition_index);
        else if (has_twice(&admin->arena, said->broker_ids.items, (size_t)said->broker_ids.count))
            item_fail(item, ERR_INVALID_REPLICA_ASSIGNMENT, "partition %d names a broker twice",
                      said->partition_index);
        else if (said->broker_ids.count != wanted->assignments.items[0].broker_ids.count)
            item_fail(item, ERR_INVALID_REPLICA_ASSIGNMENT,
                      "all partitions must have the same number of replicas");
        for (int32_t r = 0; item->err == OK && r < said->broker_ids.count; r++)
            if (said->broker_ids.items[r] < 0)
                item_fail(item, ERR_INVALID_REPLICA_ASSIGNMENT, "%d is not a broker id",
                          said->broker_ids.items[r]);
        if (item->err != OK) return;
        assignment->replicas[said->partition_index] =
            (struct int32_list){said->broker_ids.items, (size_t)said->broker_ids.count};
    }
    item->partitions = count;
    item->replication = (int16_t)wanted->assignments.items[0].broker_ids.count;
}

static void place(struct admin_call *admin, struct admin_item *item, struct placement *placement,
                  int32_t existing, struct topic_assignment *assignment)
{
    size_t rf = placement->replication_factor > 0 ? (size_t)placement->replication_factor : 0;
    if (placement->partition_count <= 0) {
        item_fail(item, ERR_INVALID_PARTITIONS, "a topic needs at least one partition, not %d",
                  placement->partition_count);
        return;
    }
    if (placement->partition_count > MAX_PARTITIONS_AT_ONCE) {
        item_fail(item, ERR_INVALID_PARTITIONS, "at most %d partitions can be made at once",
                  MAX_PARTITIONS_AT_ONCE);
        return;
    }
    if (rf == 0 || rf > placement->broker_count) {
        item_fail(item, ERR_INVALID_REPLICATION_FACTOR, "replication factor %d, with %zu live brokers",
                  placement->replication_factor, placement->broker_count);
        return;
    }
    int32_t *ids = arena_array(&admin->arena, (size_t)placement->partition_count * rf, sizeof *ids);
    enum error err = ids ? place_replicas(placement, ids) : ERR_NOMEM;
    if (err != OK) {
        item_fail(item, err, "%s",
                  err == ERR_UNKNOWN_SERVER_ERROR ? "some brokers name their rack and some do not" : "");
        return;
    }
    for (int32_t p = 0; p < placement->partition_count; p++)
        assignment->replicas[existing + p] = (struct int32_list){ids + (size_t)p * rf, rf};
}

static void place_topic(struct admin_call *admin, struct admin_item *item, const wanted_topic *wanted,
                        struct topic_assignment *assignment)
{
    struct controller *c = admin->c;
    const struct controller_rules *rules = &c->options.rules;
    item->partitions = wanted->num_partitions == -1 && rules->default_partitions
                           ? rules->default_partitions(rules->context)
                           : wanted->num_partitions;
    item->replication = wanted->replication_factor == -1 && rules->default_replication_factor
                            ? rules->default_replication_factor(rules->context)
                            : wanted->replication_factor;
    uint32_t random[2];
    rules->random(rules->context, random, sizeof random);
    struct placement placement = {.replication_factor = item->replication,
                                  .partition_count = item->partitions,
                                  .start = random[0],
                                  .shift = random[1] >> 1};
    placement.brokers = live_brokers(admin, &placement.broker_count);
    bool is_sane = item->partitions > 0 && item->partitions <= MAX_PARTITIONS_AT_ONCE;
    if (!placement.brokers || (is_sane && !assignment_alloc(admin, assignment, (size_t)item->partitions)))
        item_fail(item, ERR_NOMEM, "%s", "");
    else
        place(admin, item, &placement, 0, assignment);
}

static void check_topic_config(struct admin_call *admin, struct admin_item *item, const wanted_topic *wanted,
                               struct creation *creation)
{
    const struct controller_rules *rules = &admin->c->options.rules;
    size_t count = wanted->configs.count > 0 ? (size_t)wanted->configs.count : 0;
    struct config_entry *entries = arena_array(&admin->arena, count + 1, sizeof *entries);
    if (!entries) {
        item_fail(item, ERR_NOMEM, "%s", "");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        entries[i] = (struct config_entry){wanted->configs.items[i].name, wanted->configs.items[i].value};
        if (!entries[i].value.data) {
            item_fail(item, ERR_INVALID_CONFIG, "config %.*s has no value", SLICE_ARG(entries[i].key));
            return;
        }
    }
    struct text message = {0};
    enum error err = rules->check_configs ? rules->check_configs(rules->context, CONFIG_TOPIC, item->name,
                                                                 entries, count, &message)
                                          : OK;
    if (err != OK) item_fail(item, err, "%.*s", SLICE_ARG(text_slice(&message)));
    text_free(&message);
    struct text json = {0};
    znode_config_encode(entries, count, &json);
    creation->config = arena_text(admin, &json);
    if (!creation->config.data && item->err == OK) item_fail(item, ERR_NOMEM, "%s", "");
}

static void creation_written(struct admin_call *admin, struct admin_item *item,
                             const struct coord_reply *reply);

static void write_topic(struct admin_call *admin, struct admin_item *item, bool has_config)
{
    struct creation *creation = item->extra;
    struct text json = {0};
    znode_topic_encode(&creation->assignment, &json);
    struct coord_op ops[] = {
        {.kind = has_config ? COORD_SET : COORD_CREATE,
         .path = arena_path(admin, "/config/topics", item->name),
         .data = creation->config,
         .version = COORD_ANY_VERSION},
        {.kind = COORD_CREATE,
         .path = arena_path(admin, "/brokers/topics", item->name),
         .data = arena_text(admin, &json)},
    };
    if (!ops[0].path.data || !ops[1].path.data || !ops[1].data.data)
        item_fail(item, ERR_NOMEM, "%s", "");
    else
        admin_multi(admin, item, ops, 2, creation_written);
}

static void creation_written(struct admin_call *admin, struct admin_item *item,
                             const struct coord_reply *reply)
{
    if (reply->err == OK) {
        item->is_waiting = true;
    } else if (reply->err == ERR_ZK_NODE_EXISTS && reply->failed_index == 0) {
        write_topic(admin, item, true); /* a config that a crash, or a deletion, has left behind */
    } else if (reply->err == ERR_ZK_NO_NODE && reply->failed_index == 0) {
        write_topic(admin, item, false); /* and that went since */
    } else if (reply->err == ERR_ZK_NODE_EXISTS) {
        item_fail(item, ERR_TOPIC_ALREADY_EXISTS, "there is a topic %.*s already", SLICE_ARG(item->name));
    } else {
        item_fail(item, reply->err, "the keeper refused it: %s", error_text(reply->err));
    }
}

static void draw_id(struct controller *c, struct uuid *id)
{
    uint8_t random[16];
    do c->options.rules.random(c->options.rules.context, random, sizeof random);
    while (!uuid_from_random(random, id));
}

void call_create_topics(struct controller *c, struct controller_call *call)
{
    const struct create_topics_request *request = call->request;
    size_t count = request->topics.count > 0 ? (size_t)request->topics.count : 0;
    struct admin_call *admin = admin_begin(c, call, count, is_created, answer_creations);
    if (!admin) return;
    admin->is_late_ok = call->is_auto_creation && request->timeout_ms <= 0;
    for (size_t i = 0; i < count; i++) admin->items[i].name = request->topics.items[i].name;
    admin_refuse_twice(admin, TOPIC_TWICE);
    struct map by_fold = {0};
    enum error noted = note_known(admin, &by_fold);
    for (size_t i = 0; i < count; i++) {
        const wanted_topic *wanted = &request->topics.items[i];
        struct admin_item *item = &admin->items[i];
        struct creation *creation = arena_zalloc(&admin->arena, sizeof *creation);
        item->extra = creation;
        if (!creation || noted != OK) item_fail(item, ERR_NOMEM, "%s", "");
        /* In the order in which Apache looks: numbers before names, names before assignments. */
        if (item->err == OK) check_is_new(admin, item);
        bool has_assignment = wanted->assignments.count > 0;
        if (item->err == OK && has_assignment &&
            (wanted->num_partitions != -1 || wanted->replication_factor != -1))
            item_fail(item, ERR_INVALID_REQUEST,
                      "with an assignment, partitions and replication factor must be -1");
        if (item->err == OK && !has_assignment) place_topic(admin, item, wanted, &creation->assignment);
        if (item->err == OK) check_name(admin, item, &by_fold);
        if (item->err == OK && has_assignment) take_assignment(admin, item, wanted, &creation->assignment);
        if (item->err == OK) check_topic_config(admin, item, wanted, creation);
        if (item->err == OK) noted = note_folded(admin, &by_fold, &item->name);
        if (item->err != OK || request->validate_only) continue;
        draw_id(c, &creation->assignment.id);
        item->id = creation->assignment.id;
        write_topic(admin, item, false);
    }
    map_free(&by_fold);
    admin_proceed(admin, request->timeout_ms);
}

/* --- DeleteTopics --- */

static bool is_deleted(const struct admin_call *admin, struct admin_item *item)
{
    return !image_topic(metadata_image(admin->c->metadata), item->name) &&
           !context_topic(admin->c, item->name);
}

static enum error answer_deletions(struct admin_call *admin)
{
    struct delete_topics_response *response = admin->call->response;
    bool is_failed = false;
    delete_topics_response_init(response);
    struct delete_topics_response_deletable_topic_result *results =
        arena_zalloc(admin->call->arena, (admin->count ? admin->count : 1) * sizeof *results);
    if (!results) return ERR_NOMEM;
    for (size_t i = 0; i < admin->count; i++) {
        const struct admin_item *item = &admin->items[i];
        results[i].name = item->name.data ? arena_copy(admin->call->arena, item->name) : SLICE_NULL;
        results[i].topic_id = item->id;
        results[i].error_code = error_kafka_code(item->err);
        results[i].error_message = item_message(admin, item, &is_failed);
        is_failed |= item->name.data && !results[i].name.data;
    }
    response->responses.items = results;
    response->responses.count = (int32_t)admin->count;
    return is_failed ? ERR_NOMEM : OK;
}

static void deletion_written(struct admin_call *admin, struct admin_item *item,
                             const struct coord_reply *reply)
{
    (void)admin;
    /* Asked for before: then we wait for the same end. */
    if (reply->err == OK || reply->err == ERR_ZK_NODE_EXISTS)
        item->is_waiting = true;
    else
        item_fail(item, reply->err, "the keeper refused it: %s", error_text(reply->err));
}

static void ask_deletion(struct admin_call *admin, struct admin_item *item)
{
    struct controller *c = admin->c;
    const struct image *image = metadata_image(c->metadata);
    bool is_by_id = !item->name.data;
    const struct image_topic *topic =
        is_by_id ? image_topic_by_id(image, &item->id) : image_topic(image, item->name);
    if (is_by_id && topic) {
        item->name = arena_copy(&admin->arena, topic->name); /* the image may be gone when we answer */
        if (!item->name.data) item_fail(item, ERR_NOMEM, "%s", "");
    }
    if (is_by_id && !topic) {
        item_fail(item, ERR_UNKNOWN_TOPIC_ID, "%s", "");
    } else if (!topic && !context_topic(c, item->name)) {
        item_fail(item, ERR_UNKNOWN_TOPIC_OR_PARTITION, "%s", "");
    } else if (!c->options.rules.is_topic_deletion_enabled) {
        item_fail(item, admin->call->version >= 3 ? ERR_TOPIC_DELETION_DISABLED : ERR_INVALID_REQUEST,
                  "delete.topic.enable is false on this broker");
    } else if (item->err == OK) {
        if (topic) item->id = topic->id;
        struct coord_op op = {.kind = COORD_CREATE,
                              .path = arena_path(admin, "/admin/delete_topics", item->name)};
        if (!op.path.data)
            item_fail(item, ERR_NOMEM, "%s", "");
        else
            admin_multi(admin, item, &op, 1, deletion_written);
    }
}

void call_delete_topics(struct controller *c, struct controller_call *call)
{
    const struct delete_topics_request *request = call->request;
    bool is_old = call->version < 6;
    int32_t said = is_old ? request->topic_names.count : request->topics.count;
    size_t count = said > 0 ? (size_t)said : 0;
    struct admin_call *admin = admin_begin(c, call, count, is_deleted, answer_deletions);
    if (!admin) return;
    for (size_t i = 0; i < count; i++) {
        admin->items[i].name = is_old ? request->topic_names.items[i] : request->topics.items[i].name;
        if (!is_old) admin->items[i].id = request->topics.items[i].topic_id;
    }
    admin_refuse_twice(admin, TOPIC_TWICE);
    for (size_t i = 0; i < count; i++) {
        struct admin_item *item = &admin->items[i];
        if (item->name.data && !is_old && !uuid_is_zero(&item->id))
            item_fail(item, ERR_INVALID_REQUEST, "a topic is deleted by its name or by its id, not by both");
        if (item->err == OK) ask_deletion(admin, item);
    }
    admin_proceed(admin, request->timeout_ms);
}

/* --- CreatePartitions --- */

typedef struct create_partitions_request_create_partitions_topic grown_topic;

static enum error answer_growth(struct admin_call *admin)
{
    struct create_partitions_response *response = admin->call->response;
    bool is_failed = false;
    create_partitions_response_init(response);
    struct create_partitions_response_create_partitions_topic_result *results =
        arena_zalloc(admin->call->arena, (admin->count ? admin->count : 1) * sizeof *results);
    if (!results) return ERR_NOMEM;
    for (size_t i = 0; i < admin->count; i++) {
        results[i].name = admin->items[i].name;
        results[i].error_code = error_kafka_code(admin->items[i].err);
        results[i].error_message = item_message(admin, &admin->items[i], &is_failed);
    }
    response->results.items = results;
    response->results.count = (int32_t)admin->count;
    return is_failed ? ERR_NOMEM : OK;
}

static void take_growth(struct admin_call *admin, struct admin_item *item, const grown_topic *wanted,
                        const struct ctopic *topic, struct topic_assignment *assignment)
{
    size_t existing = topic->partition_count, rf = topic->partitions[0]->seat_count;
    const struct image *image = metadata_image(admin->c->metadata);
    if ((size_t)wanted->assignments.count != (size_t)wanted->count - existing) {
        item_fail(item, ERR_INVALID_REPLICA_ASSIGNMENT, "%zu partitions are new, and %d are assigned",
                  (size_t)wanted->count - existing, wanted->assignments.count);
        return;
    }
    for (int32_t i = 0; i < wanted->assignments.count; i++) {
        const struct create_partitions_request_create_partitions_assignment *said =
            &wanted->assignments.items[i];
        if (said->broker_ids.count <= 0 || (size_t)said->broker_ids.count != rf)
            item_fail(item, ERR_INVALID_REPLICA_ASSIGNMENT,
                      "each new partition needs %zu replicas, as the others have", rf);
        else if (has_twice(&admin->arena, said->broker_ids.items, (size_t)said->broker_ids.count))
            item_fail(item, ERR_INVALID_REPLICA_ASSIGNMENT, "an assignment names a broker twice");
        for (int32_t r = 0; item->err == OK && r < said->broker_ids.count; r++)
            if (!image_broker(image, said->broker_ids.items[r]))
                item_fail(item, ERR_INVALID_REPLICA_ASSIGNMENT, "there is no live broker %d",
                          said->broker_ids.items[r]);
        if (item->err != OK) return;
        assignment->replicas[existing + (size_t)i] =
            (struct int32_list){said->broker_ids.items, (size_t)said->broker_ids.count};
    }
}

/* New partitions go on where the old ones began: from the broker that leads partition 0. */
static void place_growth(struct admin_call *admin, struct admin_item *item, const grown_topic *wanted,
                         const struct ctopic *topic, struct topic_assignment *assignment)
{
    size_t existing = topic->partition_count;
    struct placement placement = {.replication_factor = (int32_t)topic->partitions[0]->seat_count,
                                  .first_partition = (int32_t)existing,
                                  .partition_count = wanted->count - (int32_t)existing};
    placement.brokers = live_brokers(admin, &placement.broker_count);
    if (!placement.brokers) {
        item_fail(item, ERR_NOMEM, "%s", "");
        return;
    }
    while (placement.start < placement.broker_count &&
           placement.brokers[placement.start].id < topic->partitions[0]->seats[0].broker_id)
        placement.start++;
    placement.shift = placement.start;
    place(admin, item, &placement, (int32_t)existing, assignment);
}

static void growth_written(struct admin_call *admin, struct admin_item *item, const struct coord_reply *reply)
{
    (void)admin;
    if (reply->err == OK)
        item->is_waiting = true;
    else
        item_fail(item, reply->err, "the keeper refused it: %s", error_text(reply->err));
}

/* Whether the topic may have so many; what stands in the way is the item's failure. */
static bool may_grow(struct admin_item *item, const struct ctopic *topic, const grown_topic *wanted)
{
    if (!topic || topic->partition_count == 0) {
        item_fail(item, ERR_UNKNOWN_TOPIC_OR_PARTITION, "%s", "");
        return false;
    }
    if (topic->is_deleting) {
        item_fail(item, ERR_UNKNOWN_TOPIC_OR_PARTITION, "the topic is being deleted");
        return false;
    }
    size_t existing = topic->partition_count;
    for (size_t p = 0; p < existing; p++)
        if (topic->partitions[p]->adding.count || topic->partitions[p]->removing.count)
            item_fail(item, ERR_REASSIGNMENT_IN_PROGRESS, "partition %zu is being reassigned", p);
    if (item->err != OK) return false;
    if (wanted->count <= 0 || (size_t)wanted->count <= existing) {
        item_fail(item, ERR_INVALID_PARTITIONS,
                  "it has %zu partitions, and %d were asked for: the count can only grow", existing,
                  wanted->count);
        return false;
    }
    if ((size_t)wanted->count - existing > MAX_PARTITIONS_AT_ONCE) {
        item_fail(item, ERR_INVALID_PARTITIONS, "at most %d partitions can be made at once",
                  MAX_PARTITIONS_AT_ONCE);
        return false;
    }
    return true;
}

/* What is there keeps its replicas; the rest is placed as was asked, or by us. */
static void assign_growth(struct admin_call *admin, struct admin_item *item, const grown_topic *wanted,
                          const struct ctopic *topic, struct topic_assignment *assignment)
{
    if (!assignment_alloc(admin, assignment, (size_t)wanted->count)) {
        item_fail(item, ERR_NOMEM, "%s", "");
        return;
    }
    assignment->id = topic->id;
    for (size_t p = 0; p < topic->partition_count; p++) {
        const struct cpartition *partition = topic->partitions[p];
        int32_t *ids = arena_array(&admin->arena, partition->seat_count + 1, sizeof *ids);
        for (size_t s = 0; ids && s < partition->seat_count; s++) ids[s] = partition->seats[s].broker_id;
        if (!ids) item_fail(item, ERR_NOMEM, "%s", "");
        assignment->replicas[p] = (struct int32_list){ids, partition->seat_count};
    }
    if (item->err != OK) return;
    if (wanted->assignments.count >= 0 && wanted->assignments.items)
        take_growth(admin, item, wanted, topic, assignment);
    else
        place_growth(admin, item, wanted, topic, assignment);
    item->partitions = wanted->count;
}

static void grow(struct admin_call *admin, struct admin_item *item, const grown_topic *wanted,
                 bool is_only_checked)
{
    struct ctopic *topic = context_topic(admin->c, item->name);
    if (!may_grow(item, topic, wanted)) return;
    struct topic_assignment assignment = {0};
    assign_growth(admin, item, wanted, topic, &assignment);
    if (item->err != OK || is_only_checked) return;

    struct text json = {0};
    znode_topic_encode(&assignment, &json);
    struct coord_op op = {.kind = COORD_SET,
                          .path = arena_path(admin, "/brokers/topics", item->name),
                          .data = arena_text(admin, &json),
                          .version = COORD_ANY_VERSION};
    if (!op.path.data || !op.data.data)
        item_fail(item, ERR_NOMEM, "%s", "");
    else
        admin_multi(admin, item, &op, 1, growth_written);
}

void call_create_partitions(struct controller *c, struct controller_call *call)
{
    const struct create_partitions_request *request = call->request;
    size_t count = request->topics.count > 0 ? (size_t)request->topics.count : 0;
    struct admin_call *admin = admin_begin(c, call, count, is_created, answer_growth);
    if (!admin) return;
    for (size_t i = 0; i < count; i++) admin->items[i].name = request->topics.items[i].name;
    admin_refuse_twice(admin, TOPIC_TWICE);
    for (size_t i = 0; i < count; i++) {
        struct admin_item *item = &admin->items[i];
        if (item->err == OK) grow(admin, item, &request->topics.items[i], request->validate_only);
    }
    admin_proceed(admin, request->timeout_ms);
}
