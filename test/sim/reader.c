#include "reader.h"

#include <stdlib.h>

#include "base/vec.h"
#include "fetcher.h"
#include "member.h"
#include "peer.h"
#include "routes.h"
#include "wire/messages.h"

enum {
    API_FETCH = 1,
    API_LIST_OFFSETS = 2,
    API_METADATA = 3,
    API_OFFSET_FETCH = 9,
    FETCH_VERSION = 12,
    EARLIEST = -2,
    OFFSET_FETCH_VERSION = 7,
    CALL_MS = 4000,
    MAX_BYTES = 1 << 20,
    WAIT_MS = 50,
    LATE_MS = 5000,  /* in which the high watermark must have risen to what was acknowledged */
    GONE_MS = 10000, /* in which a deleted topic must have gone */
};

struct reader {
    struct world *world;
    struct routes routes;
    struct peer peer;
    bool is_elsewhere; /* what it asked for is another broker's */
    struct loop_timer timer;
    struct call call;
    bool is_calling;
    size_t partition; /* being read, from where it begins */
    int64_t start;    /* -1 = not known */
    int start_server; /* whose word that is */
    int64_t since_ms;
    struct fetch_place place;
    struct record_id *ids;
    size_t count, capacity;
    bool has_topics;
    int told; /* brokers that know what is deleted */
    int64_t topics_since_ms;
    size_t group;
    char group_name[HISTORY_NAME];
};

static void again(struct reader *reader, int64_t delay_ms)
{
    loop_timer_start(reader->world->loop, &reader->timer, delay_ms);
}

static void call(struct reader *reader, int16_t api_key, const void *request, int16_t max_version,
                 void (*done)(struct call *call, enum error err, int16_t version, const void *response))
{
    reader->call =
        (struct call){.done = done, .context = reader, .max_version = max_version, .timeout_ms = CALL_MS};
    reader->is_calling = peer_send(&reader->peer, api_key, request, &reader->call) == OK;
    if (!reader->is_calling) again(reader, 50);
}

/* --- records --- */

static void take(void *context, int64_t offset, struct record_id id)
{
    struct reader *reader = context;
    (void)offset; /* fetch_take leaves no gap */
    if (!VEC_RESERVE(reader->ids, reader->count, reader->capacity)) abort();
    reader->ids[reader->count++] = id;
}

static void fetched(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct reader *reader = call->context;
    struct history *history = &reader->world->history;
    reader->is_calling = false;
    again(reader, err == OK ? 0 : 50);
    if (err != OK) return;
    enum fetch_verdict verdict = fetch_take(reader->world, response, &reader->place, take, reader);
    if (verdict == FETCH_RETRY) {
        routes_refresh(&reader->routes);
        again(reader, 50);
    }
    /* A leader that was killed may have forgotten a DeleteRecords that the next one has not. */
    if (verdict == FETCH_OUT_OF_RANGE && reader->start_server != reader->peer.server) {
        reader->start = -1;
        reader->count = 0;
        return;
    }
    if (verdict == FETCH_OUT_OF_RANGE) {
        history_fail(history, "partition %zu does not begin at %lld", reader->partition,
                     (long long)reader->start);
        return;
    }
    if (verdict != FETCH_OK || reader->place.position != reader->place.high_watermark) return;
    /* After a restart the high watermark follows the first sync of what was recovered, and what a leader acknowledged for itself
     * is only on its way to the others. */
    int64_t now_ms = world_now_ms(reader->world);
    if (reader->place.position < history_told_end(history, reader->partition) &&
        now_ms - reader->since_ms < LATE_MS) {
        again(reader, 20);
        return;
    }
    reader->since_ms = now_ms;
    history_read_whole(history, reader->partition, reader->start, reader->ids, reader->count);
    reader->count = 0;
    reader->partition++;
    reader->start = -1;
}

static void found_start(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct reader *reader = call->context;
    const struct list_offsets_response *answer = response;
    reader->is_calling = false;
    bool is_told = err == OK && answer->topics.count == 1 && answer->topics.items[0].partitions.count == 1 &&
                   answer->topics.items[0].partitions.items[0].error_code == 0;
    if (is_told) {
        reader->start = answer->topics.items[0].partitions.items[0].offset;
        reader->start_server = reader->peer.server;
        reader->place = (struct fetch_place){.partition = reader->partition,
                                             .position = reader->start,
                                             .leader_epoch = -1,
                                             .high_watermark = -1};
    } else {
        routes_refresh(&reader->routes);
    }
    again(reader, is_told ? 0 : 50);
}

static void find_start(struct reader *reader)
{
    const struct history_partition *partition = &reader->world->history.partitions[reader->partition];
    struct list_offsets_request_list_offsets_partition place;
    list_offsets_request_list_offsets_partition_init(&place);
    place.partition_index = partition->index;
    place.timestamp = EARLIEST;
    struct list_offsets_request_list_offsets_topic topic;
    list_offsets_request_list_offsets_topic_init(&topic);
    topic.name = slice_of(partition->topic);
    topic.partitions.items = &place;
    topic.partitions.count = 1;
    struct list_offsets_request request;
    list_offsets_request_init(&request);
    request.replica_id = -1;
    request.topics.items = &topic;
    request.topics.count = 1;
    call(reader, API_LIST_OFFSETS, &request, -1, found_start);
}

static void fetch(struct reader *reader)
{
    int leader = routes_leader(&reader->routes, reader->partition);
    if (leader != reader->peer.server && reader->world->server_count > 1) {
        if (leader >= 0) peer_move(&reader->peer, leader);
        again(reader, 20);
        return;
    }
    if (reader->start < 0) {
        find_start(reader);
        return;
    }
    reader->place.leader_epoch = routes_epoch(&reader->routes, reader->partition);
    struct fetch_scratch scratch;
    struct fetch_request request;
    fetch_fill(reader->world, &reader->place, 1, WAIT_MS, MAX_BYTES, &scratch, &request);
    call(reader, API_FETCH, &request, FETCH_VERSION, fetched);
}

/* --- topics --- */

static const struct metadata_response_metadata_response_topic *find(const struct metadata_response *response,
                                                                    const char *name)
{
    for (int32_t i = 0; i < response->topics.count; i++) {
        if (slice_is(response->topics.items[i].name, name)) return &response->topics.items[i];
    }
    return NULL;
}

static void judge_topic(struct history *history, const struct history_topic *topic,
                        const struct metadata_response_metadata_response_topic *found)
{
    if (!found) {
        history_fail(history, "topic %s was made and is gone", topic->name);
    } else if (!uuid_equal(&found->topic_id, &topic->id)) {
        history_fail(history, "topic %s has another id", topic->name);
    } else if (found->partitions.count != topic->partitions) {
        history_fail(history, "topic %s has %d partitions instead of %d", topic->name,
                     found->partitions.count, topic->partitions);
    }
    for (int32_t i = 0; found && i < found->partitions.count; i++) {
        if (found->partitions.items[i].leader_id < 0)
            history_fail(history, "%s-%d has no leader", topic->name,
                         found->partitions.items[i].partition_index);
    }
}

static void described(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct reader *reader = call->context;
    struct history *history = &reader->world->history;
    reader->is_calling = false;
    again(reader, 100);
    if (err != OK) return;
    int64_t now_ms = world_now_ms(reader->world);
    if (reader->topics_since_ms == 0) reader->topics_since_ms = now_ms;
    bool is_gone = true;
    for (size_t i = 0; i < history->topic_count; i++) {
        const struct history_topic *topic = &history->topics[i];
        const struct metadata_response_metadata_response_topic *found = find(response, topic->name);
        if (topic->is_uncertain) continue;
        if (!topic->is_deleted) {
            judge_topic(history, topic, found);
        } else if (found) {
            is_gone = false;
            if (now_ms - reader->topics_since_ms > GONE_MS)
                history_fail(history, "topic %s was deleted and is still there", topic->name);
        }
    }
    if (is_gone) reader->told++;
    reader->has_topics = reader->told == reader->world->server_count;
}

/* Every broker must know. */
static void ask_next(struct reader *reader)
{
    peer_move(&reader->peer, reader->told);
    again(reader, 20);
}

static void describe(struct reader *reader)
{
    struct metadata_request request;
    metadata_request_init(&request);
    request.topics.items = NULL;
    request.topics.count = -1; /* all */
    call(reader, API_METADATA, &request, -1, described);
}

/* --- groups --- */

static void looked_up(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct reader *reader = call->context;
    struct history *history = &reader->world->history;
    const struct offset_fetch_response *answer = response;
    reader->is_calling = false;
    again(reader, err == OK ? 0 : 50);
    if (err != OK) return;
    bool is_passing = answer->error_code != 0;
    for (int32_t t = 0; t < answer->topics.count; t++) {
        for (int32_t p = 0; p < answer->topics.items[t].partitions.count; p++)
            is_passing |= answer->topics.items[t].partitions.items[p].error_code != 0;
    }
    if (is_passing) {
        again(reader, 50); /* the coordinator is still reading its partition, or another broker */
        reader->is_elsewhere = reader->world->server_count > 1;
        return;
    }
    for (size_t i = 0; i < history->partition_count; i++) {
        int64_t offset = -1;
        for (int32_t t = 0; t < answer->topics.count; t++) {
            const struct offset_fetch_response_offset_fetch_response_topic *topic = &answer->topics.items[t];
            for (int32_t p = 0; p < topic->partitions.count; p++) {
                if (history_find_partition(history, topic->name,
                                           topic->partitions.items[p].partition_index) == i)
                    offset = topic->partitions.items[p].committed_offset;
            }
        }
        history_committed(history, reader->group, i, offset);
    }
    reader->group++;
}

static void look_up(struct reader *reader)
{
    crew_name(reader->world, reader->group, reader->group_name);
    struct offset_fetch_request request;
    offset_fetch_request_init(&request);
    request.group_id = slice_of(reader->group_name);
    request.topics.items = NULL;
    request.topics.count = -1; /* all */
    call(reader, API_OFFSET_FETCH, &request, OFFSET_FETCH_VERSION, looked_up);
}

/* --- life --- */

static void step(struct loop_timer *timer)
{
    struct reader *reader = CONTAINER_OF(timer, struct reader, timer);
    struct world *world = reader->world;
    if (reader->is_calling || world_has_failed(world) || reader_is_done(reader)) return;
    if (reader->is_elsewhere) {
        reader->is_elsewhere = false;
        peer_move(&reader->peer, PEER_ANY);
    }
    if (!reader->peer.is_open)
        again(reader, 20);
    else if (reader->partition < world->history.partition_count)
        fetch(reader);
    else if (!reader->has_topics && reader->peer.server != reader->told)
        ask_next(reader);
    else if (!reader->has_topics)
        describe(reader);
    else
        look_up(reader);
}

struct reader *reader_new(struct world *world)
{
    struct reader *reader = calloc(1, sizeof *reader);
    if (!reader) abort();
    reader->world = world;
    reader->start = -1;
    reader->since_ms = world_now_ms(world);
    reader->timer.run = step;
    routes_start(&reader->routes, world, "reader");
    peer_start(&reader->peer, world, "reader", PEER_ANY);
    again(reader, 0);
    return reader;
}

void reader_free(struct reader **freed)
{
    struct reader *reader = *freed;
    *freed = NULL;
    if (!reader) return;
    routes_stop(&reader->routes);
    peer_stop(&reader->peer);
    loop_timer_stop(reader->world->loop, &reader->timer);
    free(reader->ids);
    free(reader);
}

bool reader_is_done(const struct reader *reader)
{
    return reader->partition == reader->world->history.partition_count && reader->has_topics &&
           reader->group == (size_t)reader->world->plan.groups;
}
