#include "cli/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

enum {
    DESCRIBE_CONFIGS = 32,
    DESCRIBE_LOG_DIRS = 35,
    LIST_PARTITION_REASSIGNMENTS = 46,
    TOPIC_RESOURCE = 2,
    ANSWER_MS = 30000
};

typedef struct metadata_response_metadata_response_topic topic_metadata;
typedef struct metadata_response_metadata_response_partition partition_metadata;

bool view_ids_have(struct ids ids, int32_t id)
{
    for (int32_t i = 0; i < ids.count; i++) {
        if (ids.items[i] == id) return true;
    }
    return false;
}

static int by_place(const void *a, const void *b)
{
    const struct view_partition *x = a, *y = b;
    int order = slice_compare(x->topic, y->topic);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static int by_id(const void *a, const void *b)
{
    const struct view_broker *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

struct view_broker *view_broker(const struct view *view, int32_t id)
{
    const struct view_broker wanted = {.id = id};
    return view->broker_count ? bsearch(&wanted, view->brokers, view->broker_count, sizeof wanted, by_id)
                              : NULL;
}

struct view_partition *view_find(const struct view *view, struct slice topic, int32_t index)
{
    const struct view_partition wanted = {.topic = topic, .index = index};
    return view->partition_count
               ? bsearch(&wanted, view->partitions, view->partition_count, sizeof wanted, by_place)
               : NULL;
}

/* --- brokers and partitions --- */

static enum error read_partitions(struct arena *arena, const struct metadata_response *metadata,
                                  struct view *view)
{
    size_t count = 0;
    for (int32_t t = 0; t < metadata->topics.count; t++)
        count += (size_t)metadata->topics.items[t].partitions.count;
    view->partitions = arena_zalloc(arena, (count + 1) * sizeof *view->partitions);
    if (!view->partitions) return ERR_NOMEM;
    for (int32_t t = 0; t < metadata->topics.count; t++) {
        const topic_metadata *topic = &metadata->topics.items[t];
        for (int32_t p = 0; p < topic->partitions.count; p++) {
            const partition_metadata *from = &topic->partitions.items[p];
            struct view_partition *to = &view->partitions[view->partition_count++];
            *to = (struct view_partition){
                .topic = topic->name,
                .index = from->partition_index,
                .leader = from->leader_id,
                .leader_epoch = from->leader_epoch,
                .replicas = {from->replica_nodes.items, from->replica_nodes.count},
                .isr = {from->isr_nodes.items, from->isr_nodes.count},
                .offline = {from->offline_replicas.items, from->offline_replicas.count},
                .min_isr = -1};
            to->sizes = arena_array(arena, (size_t)to->replicas.count + 1, sizeof *to->sizes);
            if (!to->sizes) return ERR_NOMEM;
            for (int32_t i = 0; i < to->replicas.count; i++) to->sizes[i] = -1;
        }
    }
    if (view->partition_count)
        qsort(view->partitions, view->partition_count, sizeof *view->partitions, by_place);
    for (size_t p = 0; p < view->partition_count; p++)
        view->topic_count += p == 0 || !slice_equal(view->partitions[p].topic, view->partitions[p - 1].topic);
    return OK;
}

static bool name_broker(struct view *view, size_t *capacity, struct view_broker broker)
{
    for (size_t b = 0; b < view->broker_count; b++) {
        if (view->brokers[b].id == broker.id) return true;
    }
    if (view->broker_count == *capacity) return false;
    view->brokers[view->broker_count++] = broker;
    return true;
}

/* Those alive, then those that only replicas name. */
static enum error read_brokers(struct arena *arena, const struct metadata_response *metadata,
                               struct view *view)
{
    enum { MOST_DOWN = 1000 };
    size_t capacity = (size_t)metadata->brokers.count + MOST_DOWN;
    view->brokers = arena_zalloc(arena, capacity * sizeof *view->brokers);
    if (!view->brokers) return ERR_NOMEM;
    for (int32_t b = 0; b < metadata->brokers.count; b++) {
        const struct metadata_response_metadata_response_broker *from = &metadata->brokers.items[b];
        (void)name_broker(view, &capacity,
                          (struct view_broker){.id = from->node_id,
                                               .host = from->host,
                                               .port = from->port,
                                               .rack = from->rack,
                                               .bytes = -1,
                                               .total_bytes = -1,
                                               .usable_bytes = -1});
    }
    for (size_t p = 0; p < view->partition_count; p++) {
        for (int32_t i = 0; i < view->partitions[p].replicas.count; i++) {
            int32_t id = view->partitions[p].replicas.items[i];
            if (!name_broker(
                    view, &capacity,
                    (struct view_broker){.id = id, .bytes = -1, .total_bytes = -1, .usable_bytes = -1}))
                return ERR_LIMIT;
        }
    }
    qsort(view->brokers, view->broker_count, sizeof *view->brokers, by_id);
    for (size_t p = 0; p < view->partition_count; p++) {
        const struct view_partition *partition = &view->partitions[p];
        for (int32_t i = 0; i < partition->replicas.count; i++)
            view_broker(view, partition->replicas.items[i])->holds++;
        struct view_broker *leader = view_broker(view, partition->leader);
        if (leader) leader->leads++;
    }
    return OK;
}

/* --- what moves --- */

static int16_t list_code(const void *response)
{
    return ((const struct list_partition_reassignments_response *)response)->error_code;
}

static void read_moves(struct admin *admin, struct view *view)
{
    struct list_partition_reassignments_request request;
    message_init(&list_partition_reassignments_request_type, &request);
    request.timeout_ms = ANSWER_MS;
    request.topics.count = -1;
    const void *answer = NULL;
    enum error err =
        admin_ask_controller(admin, LIST_PARTITION_REASSIGNMENTS, -1, &request, list_code, &answer);
    const struct list_partition_reassignments_response *response = answer;
    if (err != OK || response->error_code != 0) return;
    view->has_moves = true;
    for (int32_t t = 0; t < response->topics.count; t++) {
        for (int32_t p = 0; p < response->topics.items[t].partitions.count; p++) {
            const struct list_partition_reassignments_response_ongoing_partition_reassignment *from =
                &response->topics.items[t].partitions.items[p];
            struct view_partition *to =
                view_find(view, response->topics.items[t].name, from->partition_index);
            if (!to) continue;
            to->is_moving = true;
            to->adding = (struct ids){from->adding_replicas.items, from->adding_replicas.count};
            to->removing = (struct ids){from->removing_replicas.items, from->removing_replicas.count};
            view->moving_count++;
        }
    }
}

struct ids view_target(struct arena *arena, const struct view_partition *partition)
{
    int32_t *items = arena_array(arena, (size_t)partition->replicas.count + 1, sizeof *items), count = 0;
    if (!items) return (struct ids){0};
    for (int32_t i = 0; i < partition->replicas.count; i++) {
        if (!view_ids_have(partition->removing, partition->replicas.items[i]))
            items[count++] = partition->replicas.items[i];
    }
    return (struct ids){items, count};
}

/* --- bytes --- */

int64_t view_size_on(const struct view_partition *partition, int32_t broker)
{
    for (int32_t i = 0; i < partition->replicas.count; i++) {
        if (partition->replicas.items[i] == broker) return partition->sizes[i];
    }
    return -1;
}

int64_t view_size(const struct view_partition *partition)
{
    int64_t most = -1;
    for (int32_t i = 0; i < partition->replicas.count; i++) {
        if (partition->sizes[i] > most) most = partition->sizes[i];
    }
    return most;
}

static void add_sizes(struct view *view, struct view_broker *broker,
                      const struct describe_log_dirs_response_describe_log_dirs_result *dir)
{
    if (dir->total_bytes >= 0) broker->total_bytes += dir->total_bytes + (broker->total_bytes < 0);
    if (dir->usable_bytes >= 0) broker->usable_bytes += dir->usable_bytes + (broker->usable_bytes < 0);
    for (int32_t t = 0; t < dir->topics.count; t++) {
        for (int32_t p = 0; p < dir->topics.items[t].partitions.count; p++) {
            const struct describe_log_dirs_response_describe_log_dirs_partition *from =
                &dir->topics.items[t].partitions.items[p];
            broker->bytes += from->partition_size;
            struct view_partition *to = view_find(view, dir->topics.items[t].name, from->partition_index);
            /* A future replica is a copy on its way to another directory of the same broker. */
            if (!to || from->is_future_key) continue;
            for (int32_t i = 0; i < to->replicas.count; i++) {
                if (to->replicas.items[i] == broker->id) to->sizes[i] = from->partition_size;
            }
        }
    }
}

/* The partitions to ask sizes of: those that move. One entry for each is what Kafka allows, too. */
static enum error moving_topics(struct arena *arena, const struct view *view,
                                struct describe_log_dirs_request *request)
{
    request->topics.count = 0;
    request->topics.items = arena_zalloc(arena, (view->moving_count + 1) * sizeof *request->topics.items);
    int32_t *indexes = arena_array(arena, view->moving_count + 1, sizeof *indexes);
    if (!request->topics.items || !indexes) return ERR_NOMEM;
    for (size_t p = 0; p < view->partition_count; p++) {
        const struct view_partition *partition = &view->partitions[p];
        if (!partition->is_moving) continue;
        *indexes = partition->index;
        struct describe_log_dirs_request_describable_log_dir_topic *last =
            request->topics.count ? &request->topics.items[request->topics.count - 1] : NULL;
        if (!last || !slice_equal(last->topic, partition->topic)) {
            last = &request->topics.items[request->topics.count++];
            last->topic = partition->topic;
            last->partitions.items = indexes;
        }
        last->partitions.count++;
        indexes++;
    }
    return OK;
}

static bool concerns(const struct view *view, int32_t broker)
{
    for (size_t p = 0; p < view->partition_count; p++) {
        if (view->partitions[p].is_moving && view_ids_have(view->partitions[p].replicas, broker)) return true;
    }
    return false;
}

static enum error read_sizes(struct admin *admin, struct view *view, bool only_moving)
{
    struct describe_log_dirs_request request;
    message_init(&describe_log_dirs_request_type, &request);
    request.topics.count = -1;
    enum error err = only_moving ? moving_topics(admin_arena(admin), view, &request) : OK;
    if (err != OK) return err;
    for (size_t b = 0; b < view->broker_count; b++) {
        struct view_broker *broker = &view->brokers[b];
        if (!broker->host.data || (only_moving && !concerns(view, broker->id))) continue;
        const void *answer = NULL;
        enum error asked = admin_ask(admin, broker->id, DESCRIBE_LOG_DIRS, -1, &request, &answer);
        broker->is_silent = admin_exit(asked) == EXIT_UNREACHABLE;
        if (asked != OK) continue;
        const struct describe_log_dirs_response *response = answer;
        if (response->error_code != 0) continue;
        broker->bytes = 0;
        for (int32_t d = 0; d < response->results.count; d++) {
            if (response->results.items[d].error_code == 0)
                add_sizes(view, broker, &response->results.items[d]);
        }
        if (only_moving) broker->bytes = -1;
    }
    return OK;
}

/* --- min.insync.replicas --- */

static enum error read_min_isr(struct admin *admin, struct view *view)
{
    struct slice key = SLICE("min.insync.replicas");
    struct describe_configs_request request;
    message_init(&describe_configs_request_type, &request);
    request.resources.items =
        arena_zalloc(admin_arena(admin), (view->topic_count + 1) * sizeof *request.resources.items);
    if (!request.resources.items) return ERR_NOMEM;
    for (size_t p = 0; p < view->partition_count; p++) {
        if (p > 0 && slice_equal(view->partitions[p].topic, view->partitions[p - 1].topic)) continue;
        struct describe_configs_request_describe_configs_resource *resource =
            &request.resources.items[request.resources.count++];
        resource->resource_type = TOPIC_RESOURCE;
        resource->resource_name = view->partitions[p].topic;
        resource->configuration_keys.items = &key;
        resource->configuration_keys.count = 1;
    }
    if (request.resources.count == 0) return OK;
    const void *answer = NULL;
    enum error err = admin_ask(admin, NODE_ANY, DESCRIBE_CONFIGS, -1, &request, &answer);
    if (err != OK) return err;
    const struct describe_configs_response *response = answer;
    for (int32_t r = 0; r < response->results.count; r++) {
        const struct describe_configs_response_describe_configs_result *result = &response->results.items[r];
        int64_t value;
        if (result->error_code != 0 || result->configs.count != 1 ||
            !slice_to_int64(result->configs.items[0].value, 1, INT32_MAX, &value))
            continue;
        struct view_partition *partition = view_find(view, result->resource_name, 0);
        const struct view_partition *end = view->partitions + view->partition_count;
        for (; partition && partition < end && slice_equal(partition->topic, result->resource_name);
             partition++)
            partition->min_isr = (int32_t)value;
    }
    return OK;
}

enum error view_read(struct admin *admin, int parts, struct view *view)
{
    *view = (struct view){.controller = -1};
    const struct metadata_response *metadata = NULL;
    enum error err = admin_metadata(admin, NULL, -1, &metadata);
    if (err != OK) return err;
    view->cluster_id = metadata->cluster_id;
    view->controller = metadata->controller_id;
    err = read_partitions(admin_arena(admin), metadata, view);
    if (err == OK) err = read_brokers(admin_arena(admin), metadata, view);
    if (err != OK) return err;
    if (parts & (VIEW_MOVES | VIEW_MOVING_SIZES)) read_moves(admin, view);
    if (parts & VIEW_MIN_ISR) err = read_min_isr(admin, view);
    if (err == ERR_NOMEM) return err;
    err = OK;
    if (parts & VIEW_SIZES) {
        err = read_sizes(admin, view, false);
    } else if (parts & VIEW_MOVING_SIZES && view->moving_count > 0) {
        err = read_sizes(admin, view, true);
    }
    view->at_ms = admin_now_ms(admin);
    return err;
}

/* --- progress --- */

struct view_progress view_progress_of(const struct view_partition *partition)
{
    struct view_progress progress = {0, 0};
    int64_t whole = view_size_on(partition, partition->leader);
    if (whole < 0) whole = view_size(partition);
    if (whole < 0) whole = 0;
    for (int32_t i = 0; i < partition->adding.count; i++) {
        int64_t size = view_size_on(partition, partition->adding.items[i]);
        if (size > whole || view_ids_have(partition->isr, partition->adding.items[i])) size = whole;
        progress.bytes += whole;
        progress.done += size > 0 ? size : 0;
    }
    return progress;
}

struct view_progress view_progress(const struct view *view)
{
    struct view_progress sum = {0, 0};
    for (size_t p = 0; p < view->partition_count; p++) {
        if (!view->partitions[p].is_moving) continue;
        struct view_progress one = view_progress_of(&view->partitions[p]);
        sum.bytes += one.bytes;
        sum.done += one.done;
    }
    return sum;
}
