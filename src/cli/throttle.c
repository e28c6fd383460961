/* throttle.c: KIP-73: replicas named in two lists of their topic, rates on the brokers.
 *
 *     topic    leader.replication.throttled.replicas    0:1,0:2     partition 0 as brokers 1 and 2 hand it out
 *              follower.replication.throttled.replicas  0:3         as broker 3 fetches it
 *     broker   leader.replication.throttled.rate, follower.replication.throttled.rate      bytes a second
 *
 * A replica that is not in a list is not slowed, so producers and in-sync followers go on at full speed.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/alter.h"
#include "cli/move.h"

enum {
    DESCRIBE_CONFIGS = 32,
    INCREMENTAL_ALTER_CONFIGS = 44,
    SET = 0,
    DELETE = 1,
    MOST_TOPICS_AT_ONCE = 500
};

typedef struct incremental_alter_configs_request_alter_configs_resource resource_entry;
typedef struct incremental_alter_configs_request_alterable_config config_entry;

static const char *const lists[] = {"leader.replication.throttled.replicas",
                                    "follower.replication.throttled.replicas"};
static const char *const rates[] = {"leader.replication.throttled.rate",
                                    "follower.replication.throttled.rate"};

/* Both keys of a resource: set to these values, or deleted when NULL. */
static enum error fill(struct arena *arena, resource_entry *resource, int8_t type, struct slice name,
                       const char *const keys[2], const struct slice *values)
{
    config_entry *configs = arena_zalloc(arena, 2 * sizeof *configs);
    if (!configs) return ERR_NOMEM;
    resource->resource_type = type;
    resource->resource_name = name;
    resource->configs.items = configs;
    for (int i = 0; i < 2; i++) {
        if (values && values[i].size == 0) continue; /* nothing to slow on that side */
        config_entry *config = &configs[resource->configs.count++];
        config->name = slice_of(keys[i]);
        config->config_operation = values ? SET : DELETE;
        config->value = values ? values[i] : SLICE_NULL;
    }
    return OK;
}

static int ask_alter(struct admin *admin, int32_t node, resource_entry *resources, size_t count)
{
    struct incremental_alter_configs_request request;
    message_init(&incremental_alter_configs_request_type, &request);
    request.resources.items = resources;
    request.resources.count = (int32_t)count;
    if (count == 0) return EXIT_OK;
    const void *answer = NULL;
    enum error err = admin_ask_loud(admin, node, INCREMENTAL_ALTER_CONFIGS, &request, &answer);
    if (err != OK) return admin_exit(err);
    const struct incremental_alter_configs_response *response = answer;
    int status = EXIT_OK;
    for (int32_t i = 0; i < response->responses.count; i++) {
        const struct incremental_alter_configs_response_alter_configs_resource_response *one =
            &response->responses.items[i];
        enum error failure = error_from_kafka(one->error_code);
        /* A topic may have been deleted meanwhile. */
        if (failure == OK || failure == ERR_UNKNOWN_TOPIC_OR_PARTITION) continue;
        cli_complain("throttle of %.*s: %.*s (%s)", SLICE_ARG(one->resource_name),
                     SLICE_ARG(one->error_message), error_name(failure));
        status = admin_exit(failure);
    }
    return status;
}

static int alter_brokers(struct admin *admin, const struct view *view, const struct slice *values)
{
    int status = EXIT_OK;
    for (size_t b = 0; status == EXIT_OK && b < view->broker_count; b++) {
        const struct view_broker *broker = &view->brokers[b];
        if (!broker->host.data) continue;
        resource_entry resource = {0};
        struct slice name = arena_printf(admin_arena(admin), "%d", (int)broker->id);
        if (fill(admin_arena(admin), &resource, ALTER_BROKER, name, rates, values) != OK)
            return EXIT_ITEM_FAILED;
        status = ask_alter(admin, broker->id, &resource, 1);
    }
    return status;
}

static void add_replicas(struct text *text, int32_t index, struct ids ids, struct ids except)
{
    for (int32_t i = 0; i < ids.count; i++) {
        if (!view_ids_have(except, ids.items[i]))
            text_addf(text, "%s%d:%d", text->size ? "," : "", (int)index, (int)ids.items[i]);
    }
}

/* The lists of one topic: from what is to be moved and what moves already. */
static void list_topic(struct slice topic, const struct view *view, const struct move *moves, size_t count,
                       struct text *leaders, struct text *followers)
{
    const struct ids none = {0};
    for (size_t m = 0; m < count; m++) {
        if (!slice_equal(moves[m].topic, topic)) continue;
        add_replicas(leaders, moves[m].index, moves[m].from, none);
        add_replicas(followers, moves[m].index, moves[m].to, moves[m].from);
    }
    const struct view_partition *partition = view_find(view, topic, 0),
                                *end = view->partitions + view->partition_count;
    for (; partition && partition < end && slice_equal(partition->topic, topic); partition++) {
        if (!partition->is_moving) continue;
        add_replicas(leaders, partition->index, partition->replicas, partition->adding);
        add_replicas(followers, partition->index, partition->adding, none);
    }
}

int throttle_set(struct admin *admin, const struct view *view, const struct move *moves, size_t count,
                 int64_t bytes_per_second)
{
    struct arena *arena = admin_arena(admin);
    resource_entry *resources = arena_zalloc(arena, MOST_TOPICS_AT_ONCE * sizeof *resources);
    struct slice rate = arena_printf(arena, "%lld", (long long)bytes_per_second);
    if (!resources || !rate.data) return EXIT_ITEM_FAILED;
    /* Rates first: a list without a rate slows nothing, a rate without a list nothing either. */
    int status = alter_brokers(admin, view, (const struct slice[]){rate, rate});
    size_t filled = 0;
    for (size_t p = 0; status == EXIT_OK && p < view->partition_count; p++) {
        struct slice topic = view->partitions[p].topic;
        if (p > 0 && slice_equal(topic, view->partitions[p - 1].topic)) continue;
        struct text leaders = {0}, followers = {0};
        list_topic(topic, view, moves, count, &leaders, &followers);
        if (followers.size > 0) {
            const struct slice values[] = {arena_copy(arena, text_slice(&leaders)),
                                           arena_copy(arena, text_slice(&followers))};
            if (fill(arena, &resources[filled++], ALTER_TOPIC, topic, lists, values) != OK)
                status = EXIT_ITEM_FAILED;
        }
        text_free(&leaders);
        text_free(&followers);
        if (filled == MOST_TOPICS_AT_ONCE) {
            status = ask_alter(admin, NODE_ANY, resources, filled);
            filled = 0;
            memset(resources, 0, MOST_TOPICS_AT_ONCE * sizeof *resources);
        }
    }
    if (status == EXIT_OK) status = ask_alter(admin, NODE_ANY, resources, filled);
    return status;
}

/* Has this topic a list that names single replicas? "*" is somebody's own rule, which stays. */
static bool is_listed(const struct describe_configs_response_describe_configs_result *topic)
{
    enum { SOURCE_TOPIC = 1 };
    for (int32_t c = 0; c < topic->configs.count; c++) {
        const struct describe_configs_response_describe_configs_resource_result *config =
            &topic->configs.items[c];
        bool is_list = slice_is(config->name, lists[0]) || slice_is(config->name, lists[1]);
        if (is_list && config->config_source == SOURCE_TOPIC && config->value.size > 0 &&
            !slice_is(config->value, "*"))
            return true;
    }
    return false;
}

int throttle_clear(struct admin *admin, const struct view *view, bool *found)
{
    struct arena *arena = admin_arena(admin);
    *found = false;
    struct slice keys[] = {slice_of(lists[0]), slice_of(lists[1])};
    struct describe_configs_request request;
    message_init(&describe_configs_request_type, &request);
    request.resources.items = arena_zalloc(arena, (view->topic_count + 1) * sizeof *request.resources.items);
    resource_entry *resources = arena_zalloc(arena, (view->topic_count + 1) * sizeof *resources);
    if (!request.resources.items || !resources) return EXIT_ITEM_FAILED;
    for (size_t p = 0; p < view->partition_count; p++) {
        if (p > 0 && slice_equal(view->partitions[p].topic, view->partitions[p - 1].topic)) continue;
        struct describe_configs_request_describe_configs_resource *resource =
            &request.resources.items[request.resources.count++];
        resource->resource_type = ALTER_TOPIC;
        resource->resource_name = view->partitions[p].topic;
        resource->configuration_keys.items = keys;
        resource->configuration_keys.count = 2;
    }
    if (request.resources.count == 0) return EXIT_OK;
    const void *answer = NULL;
    enum error err = admin_ask_loud(admin, NODE_ANY, DESCRIBE_CONFIGS, &request, &answer);
    if (err != OK) return admin_exit(err);
    const struct describe_configs_response *response = answer;
    size_t filled = 0;
    for (int32_t r = 0; r < response->results.count; r++) {
        if (response->results.items[r].error_code != 0 || !is_listed(&response->results.items[r])) continue;
        if (filled < view->topic_count && fill(arena, &resources[filled++], ALTER_TOPIC,
                                               response->results.items[r].resource_name, lists, NULL) != OK)
            return EXIT_ITEM_FAILED;
    }
    *found = filled > 0;
    if (filled == 0) return EXIT_OK;
    int status = ask_alter(admin, NODE_ANY, resources, filled);
    return status == EXIT_OK ? alter_brokers(admin, view, NULL) : status;
}
