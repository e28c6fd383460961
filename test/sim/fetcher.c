#include "fetcher.h"

#include <assert.h>
#include <inttypes.h>

#include "wire/record.h"
#include "world.h"

enum { MAX_BATCH_BYTES = 16 << 20, NEAR_MS = 3000 /* metadata.max.age.ms */ };

void fetch_fill(const struct world *world, const struct fetch_place *places, size_t count,
                int32_t max_wait_ms, int32_t max_bytes, struct fetch_scratch *scratch,
                struct fetch_request *request)
{
    assert(count <= FETCH_MAX_PLACES);
    fetch_request_init(request);
    request->max_wait_ms = max_wait_ms;
    request->min_bytes = 1;
    request->max_bytes = max_bytes;
    request->session_epoch = -1;
    request->topics.items = scratch->topics;
    request->topics.count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        const struct history_partition *partition = &world->history.partitions[places[i].partition];
        fetch_request_fetch_topic_init(&scratch->topics[i]);
        fetch_request_fetch_partition_init(&scratch->partitions[i]);
        scratch->topics[i].topic = slice_of(partition->topic);
        scratch->topics[i].partitions.items = &scratch->partitions[i];
        scratch->topics[i].partitions.count = 1;
        scratch->partitions[i].partition = partition->index;
        scratch->partitions[i].current_leader_epoch = places[i].leader_epoch;
        scratch->partitions[i].fetch_offset = places[i].position;
        scratch->partitions[i].partition_max_bytes = max_bytes;
    }
}

/* One batch: its records at and after the position. */
static void take_batch(struct world *world, struct fetch_place *place, struct slice batch, fetch_each *each,
                       void *context)
{
    struct history *history = &world->history;
    const struct history_partition *partition = &history->partitions[place->partition];
    struct batch_header header;
    struct slice records;
    struct text plain = {0};
    enum error err = batch_check(batch, &header);
    if (err == OK) err = batch_records(batch, &header, MAX_BATCH_BYTES, &plain, &records);
    if (err != OK) {
        history_fail(history, "%s-%d: the batch at %" PRId64 " is damaged: %s", partition->topic,
                     partition->index, place->position, error_text(err));
    }
    struct record record;
    while (err == OK && !history_has_fault(history) && record_next(&records, &record) == OK) {
        int64_t offset = record_offset(&header, &record);
        if (offset < place->position) continue;
        struct record_id id;
        if (offset != place->position) {
            history_fail(history, "%s-%d: nothing at %" PRId64 ", the next record is at %" PRId64,
                         partition->topic, partition->index, place->position, offset);
        } else if (!record_read(record.value, &id)) {
            history_fail(history, "%s-%d: the record at %" PRId64 " is not as it was written",
                         partition->topic, partition->index, offset);
        } else {
            history_read(history, place->partition, offset, id);
            if (each) each(context, offset, id);
            place->position = offset + 1;
        }
    }
    text_free(&plain);
}

static const struct fetch_response_partition_data *find(const struct fetch_response *response,
                                                        const struct history_partition *partition)
{
    for (int32_t t = 0; t < response->responses.count; t++) {
        const struct fetch_response_fetchable_topic_response *topic = &response->responses.items[t];
        if (!slice_is(topic->topic, partition->topic)) continue;
        for (int32_t p = 0; p < topic->partitions.count; p++) {
            if (topic->partitions.items[p].partition_index == partition->index)
                return &topic->partitions.items[p];
        }
    }
    return NULL;
}

enum fetch_verdict fetch_take(struct world *world, const struct fetch_response *response,
                              struct fetch_place *place, fetch_each *each, void *context)
{
    struct history *history = &world->history;
    const struct history_partition *partition = &history->partitions[place->partition];
    if (response->error_code != 0) return FETCH_RETRY;
    const struct fetch_response_partition_data *data = find(response, partition);
    if (!data) {
        history_fail(history, "%s-%d is not in a full fetch's answer", partition->topic, partition->index);
        return FETCH_RETRY;
    }
    enum error err = data->error_code == 0 ? OK : error_from_kafka(data->error_code);
    if (err == ERR_OFFSET_OUT_OF_RANGE) return FETCH_OUT_OF_RANGE;
    if (err != OK) {
        bool is_passing = err == ERR_UNKNOWN_TOPIC_OR_PARTITION || err == ERR_NOT_LEADER_OR_FOLLOWER ||
                          err == ERR_LEADER_NOT_AVAILABLE || err == ERR_KAFKA_STORAGE_ERROR ||
                          err == ERR_FENCED_LEADER_EPOCH || err == ERR_UNKNOWN_LEADER_EPOCH;
        if (!is_passing) {
            history_fail(history, "%s-%d: a fetch at %" PRId64 " answers %s", partition->topic,
                         partition->index, place->position, error_name(err));
        }
        return FETCH_RETRY;
    }
    place->high_watermark = data->high_watermark;
    int32_t near = data->preferred_read_replica;
    if (near >= 0 && near < world->server_count) {
        place->near = near;
        history->counts.near++;
        place->near_until_ms = world_now_ms(world) + NEAR_MS;
    }
    struct slice run = {data->records.data, data->records.size > 0 ? (size_t)data->records.size : 0}, batch;
    while (!history_has_fault(history)) {
        err = batches_next(&run, NULL, &batch);
        if (err == ERR_EOF || err == ERR_TRUNCATED) break; /* a last batch may be cut by the size asked for */
        if (err != OK) {
            history_fail(history, "%s-%d: what was fetched at %" PRId64 " is no run of batches: %s",
                         partition->topic, partition->index, place->position, error_text(err));
            break;
        }
        take_batch(world, place, batch, each, context);
    }
    return FETCH_OK;
}
