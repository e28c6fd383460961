#include "tools.h"

#include <inttypes.h>
#include <stdlib.h>

#include "peer.h"
#include "wire/messages.h"
#include "wire/record.h"

enum {
    API_PRODUCE = 0,
    PRODUCE_VERSION = 12, /* the last with topic names */
    API_DELETE_RECORDS = 21,
    API_ALTER_REPLICA_LOG_DIRS = 34,
    CALL_MS = 4000,
};

enum tool { TOOL_MOVE, TOOL_DELETE, TOOL_FILL };

struct tools {
    struct world *world;
    struct peer peer;
    struct call call;
    bool is_waiting, is_calling; /* for a connection to `broker`; for its answer */
    int broker;
    char topic[HISTORY_NAME];
    int32_t index;
    enum tool tool;
    const char *dir;
    size_t partition; /* of the history, where records are deleted, up to */
    int64_t offset;
    size_t size; /* of what fills it */
};

/* --- with what --- */

bool tools_target_doomed(struct world *world, struct tools_target *target)
{
    const struct history *history = &world->history;
    for (size_t i = 0; i < history->topic_count; i++) {
        const struct history_topic *topic = &history->topics[i];
        bool is_kept = history_find_partition(history, slice_of(topic->name), 0) != SIZE_MAX;
        if (is_kept || topic->is_deleted || topic->partitions < 1) continue;
        *target = (struct tools_target){topic->name, (int32_t)world_between(world, 0, topic->partitions - 1)};
        return true;
    }
    return false;
}

bool tools_target_draw(struct world *world, struct tools_target *target)
{
    const struct history *history = &world->history;
    int64_t kind = world_between(world, 0, 9);
    if (kind < 2) {
        int64_t last = world->plan.offsets_partitions - 1;
        *target = (struct tools_target){"__consumer_offsets", (int32_t)world_between(world, 0, last)};
        return true;
    }
    if (kind < 4 && tools_target_doomed(world, target)) return true;
    if (history->partition_count == 0) return false;
    const struct history_partition *partition =
        &history->partitions[world_between(world, 0, (int64_t)history->partition_count - 1)];
    *target = (struct tools_target){partition->topic, partition->index};
    return true;
}

/* --- answers --- */

static void say(struct tools *tools, const char *what, enum error err, int16_t code)
{
    if (err == OK && code != 0) err = error_from_kafka(code);
    world_note(tools->world, "%s of %s-%d on broker %d: %s", what, tools->topic, tools->index, tools->broker,
               error_name(err));
}

static void moved(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct tools *tools = call->context;
    const struct alter_replica_log_dirs_response *answer = response;
    tools->is_calling = false;
    bool has_code = err == OK && answer->results.count == 1 && answer->results.items[0].partitions.count == 1;
    tools->world->history.counts.moves +=
        has_code && answer->results.items[0].partitions.items[0].error_code == 0;
    say(tools, "AlterReplicaLogDirs", err,
        has_code ? answer->results.items[0].partitions.items[0].error_code : 0);
}

static void deleted(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct tools *tools = call->context;
    const struct delete_records_response *answer = response;
    tools->is_calling = false;
    bool has_code = err == OK && answer->topics.count == 1 && answer->topics.items[0].partitions.count == 1;
    if (!has_code) return;
    const struct delete_records_response_delete_records_partition_result *result =
        &answer->topics.items[0].partitions.items[0];
    say(tools, "DeleteRecords", err, result->error_code);
    tools->world->history.counts.deletions += result->error_code == 0;
    bool is_low = result->error_code == 0 && result->low_watermark < tools->offset;
    if (!is_low) return;
    history_fail(&tools->world->history,
                 "%s-%d: records below %" PRId64 " are deleted, and the low watermark is %" PRId64,
                 tools->topic, tools->index, tools->offset, result->low_watermark);
}

static void filled(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct tools *tools = call->context;
    const struct produce_response *answer = response;
    tools->is_calling = false;
    bool has_code = err == OK && answer->responses.count == 1 &&
                    answer->responses.items[0].partition_responses.count == 1;
    say(tools, "Produce", err,
        has_code ? answer->responses.items[0].partition_responses.items[0].error_code : 0);
}

/* --- requests --- */

static void send(struct tools *tools, int16_t api_key, const void *request, int16_t max_version,
                 void (*done)(struct call *call, enum error err, int16_t version, const void *response))
{
    tools->call =
        (struct call){.done = done, .context = tools, .max_version = max_version, .timeout_ms = CALL_MS};
    tools->is_calling = peer_send(&tools->peer, api_key, request, &tools->call) == OK;
}

static void move(struct tools *tools)
{
    struct alter_replica_log_dirs_request_alter_replica_log_dir_topic topic;
    alter_replica_log_dirs_request_alter_replica_log_dir_topic_init(&topic);
    topic.name = slice_of(tools->topic);
    topic.partitions.items = &tools->index;
    topic.partitions.count = 1;
    struct alter_replica_log_dirs_request_alter_replica_log_dir dir;
    alter_replica_log_dirs_request_alter_replica_log_dir_init(&dir);
    dir.path = slice_of(tools->dir);
    dir.topics.items = &topic;
    dir.topics.count = 1;
    struct alter_replica_log_dirs_request request;
    alter_replica_log_dirs_request_init(&request);
    request.dirs.items = &dir;
    request.dirs.count = 1;
    send(tools, API_ALTER_REPLICA_LOG_DIRS, &request, -1, moved);
}

static void delete (struct tools *tools)
{
    struct history_partition *partition = &tools->world->history.partitions[tools->partition];
    struct delete_records_request_delete_records_partition place;
    delete_records_request_delete_records_partition_init(&place);
    place.partition_index = partition->index;
    place.offset = tools->offset;
    struct delete_records_request_delete_records_topic topic;
    delete_records_request_delete_records_topic_init(&topic);
    topic.name = slice_of(partition->topic);
    topic.partitions.items = &place;
    topic.partitions.count = 1;
    struct delete_records_request request;
    delete_records_request_init(&request);
    request.topics.items = &topic;
    request.topics.count = 1;
    request.timeout_ms = CALL_MS / 2;
    if (tools->offset > partition->asked_start) partition->asked_start = tools->offset;
    send(tools, API_DELETE_RECORDS, &request, -1, deleted);
}

static void fill(struct tools *tools)
{
    struct batch_builder builder = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct text value = {0};
    struct slice built = {0};
    for (size_t i = 0; i < tools->size; i++) text_addc(&value, (char)('a' + i % 26));
    enum error err = value.failed ? ERR_NOMEM : OK;
    batch_builder_start(&builder, &options);
    if (err == OK)
        err = batch_builder_add(&builder, loop_wall_ms(tools->world->loop), SLICE_NULL, text_slice(&value),
                                NULL, 0);
    if (err == OK) err = batch_builder_finish(&builder, &built);
    if (err != OK) abort();
    struct produce_request_partition_produce_data partition;
    produce_request_partition_produce_data_init(&partition);
    partition.index = tools->index;
    partition.records = (struct records_field){.data = built.data, .size = (int32_t)built.size};
    struct produce_request_topic_produce_data topic;
    produce_request_topic_produce_data_init(&topic);
    topic.name = slice_of(tools->topic);
    topic.partition_data.items = &partition;
    topic.partition_data.count = 1;
    struct produce_request request;
    produce_request_init(&request);
    request.transactional_id = SLICE_NULL;
    request.acks = 1;
    request.timeout_ms = CALL_MS / 2;
    request.topic_data.items = &topic;
    request.topic_data.count = 1;
    send(tools, API_PRODUCE, &request, PRODUCE_VERSION, filled);
    batch_builder_free(&builder);
    text_free(&value);
}

static void opened(struct peer *peer)
{
    struct tools *tools = CONTAINER_OF(peer, struct tools, peer);
    if (!tools->is_waiting) return;
    tools->is_waiting = false;
    if (peer->server != tools->broker) return; /* it could not be reached */
    switch (tools->tool) {
    case TOOL_MOVE: move(tools); break;
    case TOOL_DELETE: delete (tools); break;
    case TOOL_FILL: fill(tools); break;
    }
}

/* False when something else is being asked. */
static bool ask(struct tools *tools, enum tool tool, int broker, const char *topic, int32_t index)
{
    if (tools->is_waiting || tools->is_calling || broker < 0) return false;
    tools->tool = tool;
    tools->broker = broker;
    slice_text(slice_of(topic), tools->topic, sizeof tools->topic);
    tools->index = index;
    tools->is_waiting = true;
    peer_move(&tools->peer, broker);
    return true;
}

void tools_move_dir(struct tools *tools, int broker, const char *topic, int32_t index, const char *dir)
{
    if (ask(tools, TOOL_MOVE, broker, topic, index)) tools->dir = dir;
}

void tools_fill(struct tools *tools, int leader, const char *topic, int32_t index, size_t size)
{
    if (ask(tools, TOOL_FILL, leader, topic, index)) tools->size = size;
}

void tools_delete_records(struct tools *tools, int leader, size_t partition, int64_t offset)
{
    const struct history_partition *asked = &tools->world->history.partitions[partition];
    if (!ask(tools, TOOL_DELETE, leader, asked->topic, asked->index)) return;
    tools->partition = partition;
    tools->offset = offset;
}

struct tools *tools_new(struct world *world)
{
    struct tools *tools = calloc(1, sizeof *tools);
    if (!tools) abort();
    tools->world = world;
    tools->peer.on_open = opened;
    peer_start(&tools->peer, world, "tools", PEER_ANY);
    return tools;
}

void tools_free(struct tools **freed)
{
    struct tools *tools = *freed;
    *freed = NULL;
    peer_stop(&tools->peer);
    free(tools);
}
