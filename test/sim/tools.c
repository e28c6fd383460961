#include "tools.h"

#include <inttypes.h>
#include <stdlib.h>

#include "peer.h"
#include "wire/messages.h"

enum {
    API_DELETE_RECORDS = 21,
    API_ALTER_REPLICA_LOG_DIRS = 34,
    CALL_MS = 4000,
};

struct tools {
    struct world *world;
    struct peer peer;
    struct call call;
    bool is_waiting, is_calling; /* for a connection to `broker`; for its answer */
    int broker;
    size_t partition;
    const char *dir; /* NULL: records are to be deleted, up to */
    int64_t offset;
};

static const struct history_partition *partition_of(const struct tools *tools)
{
    return &tools->world->history.partitions[tools->partition];
}

/* --- answers --- */

static void say(struct tools *tools, const char *what, enum error err, int16_t code)
{
    const struct history_partition *partition = partition_of(tools);
    if (err == OK && code != 0) err = error_from_kafka(code);
    world_note(tools->world, "%s of %s-%d on broker %d: %s", what, partition->topic, partition->index,
               tools->broker, error_name(err));
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
    const struct history_partition *partition = partition_of(tools);
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
                 partition->topic, partition->index, tools->offset, result->low_watermark);
}

/* --- requests --- */

static void send(struct tools *tools, int16_t api_key, const void *request,
                 void (*done)(struct call *call, enum error err, int16_t version, const void *response))
{
    tools->call = (struct call){.done = done, .context = tools, .max_version = -1, .timeout_ms = CALL_MS};
    tools->is_calling = peer_send(&tools->peer, api_key, request, &tools->call) == OK;
}

static void move(struct tools *tools)
{
    int32_t index = partition_of(tools)->index;
    struct alter_replica_log_dirs_request_alter_replica_log_dir_topic topic;
    alter_replica_log_dirs_request_alter_replica_log_dir_topic_init(&topic);
    topic.name = slice_of(partition_of(tools)->topic);
    topic.partitions.items = &index;
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
    send(tools, API_ALTER_REPLICA_LOG_DIRS, &request, moved);
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
    send(tools, API_DELETE_RECORDS, &request, deleted);
}

static void opened(struct peer *peer)
{
    struct tools *tools = CONTAINER_OF(peer, struct tools, peer);
    if (!tools->is_waiting) return;
    tools->is_waiting = false;
    if (peer->server != tools->broker) return; /* it could not be reached */
    if (tools->dir)
        move(tools);
    else
        delete (tools);
}

static void ask(struct tools *tools, int broker, size_t partition, const char *dir, int64_t offset)
{
    if (tools->is_waiting || tools->is_calling || broker < 0) return;
    tools->broker = broker;
    tools->partition = partition;
    tools->dir = dir;
    tools->offset = offset;
    tools->is_waiting = true;
    peer_move(&tools->peer, broker);
}

void tools_move_dir(struct tools *tools, int broker, size_t partition, const char *dir)
{
    ask(tools, broker, partition, dir, 0);
}

void tools_delete_records(struct tools *tools, int leader, size_t partition, int64_t offset)
{
    ask(tools, leader, partition, NULL, offset);
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
