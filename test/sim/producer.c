#include "producer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"
#include "routes.h"
#include "wire/messages.h"
#include "wire/record.h"
#include "witness.h"

enum {
    API_PRODUCE = 0,
    API_INIT_PRODUCER_ID = 22,
    PRODUCE_VERSION = 12, /* the last with topic names */
    MAX_LANES = 16,
    LANE_BATCHES = 4,
    REMEMBERED_BATCHES = 5, /* of each producer, by a broker */
    MAX_FLIGHTS = 4,
    MAX_RECORDS = 8,
    TICK_MIN_MS = 2,
    TICK_MAX_MS = 60,
    CALL_MS = 4000,
};

struct batch {
    uint8_t *data;
    size_t size;
    struct record_id first;
    uint32_t count;
    bool is_doubtful; /* not synced in time, or forgotten: it may be in the log */
    int64_t start;    /* which of the node's starts it was first sent to; 0 = not sent yet */
    int behind;       /* batches of its lane that were sent after it */
};

struct lane {
    size_t partition;
    uint32_t writer;
    bool has_writer, was_acknowledged, must_rewind;
    int32_t next_sequence;
    struct batch batches[LANE_BATCHES];
    size_t count, sent, in_flight;
    int server; /* where those in flight went */
    int64_t not_before_ms;
};

struct part {
    size_t lane;
    struct record_id first;
    int32_t epoch; /* of the leader as it was known */
};

struct flight {
    struct producer *producer;
    struct call call;
    bool is_used;
    struct part parts[MAX_LANES];
    size_t count;
};

struct producer {
    struct world *world;
    struct routes routes;
    struct peer peers[WORLD_MAX_SERVERS]; /* one for each broker */
    char name[32];
    struct loop_timer tick;
    struct call init;
    bool is_loose; /* acks=1, and no id: what is sent again is in the log twice */
    bool is_initing, needs_id, is_finishing;
    int64_t producer_id;
    int16_t producer_epoch;
    size_t max_in_flight; /* in each lane; 1 = careful */
    struct lane lanes[MAX_LANES];
    size_t lane_count;
    struct flight flights[WORLD_MAX_SERVERS][MAX_FLIGHTS];
    struct batch_builder builder;
    struct text value;
};

static struct history *history_of(struct producer *producer)
{
    return &producer->world->history;
}

/* --- batches --- */

static void drop_batch(struct lane *lane, size_t at)
{
    free(lane->batches[at].data);
    memmove(&lane->batches[at], &lane->batches[at + 1], (lane->count - at - 1) * sizeof lane->batches[0]);
    lane->count--;
    if (lane->sent > at) lane->sent--;
}

static void make_batch(struct producer *producer, struct lane *lane)
{
    static const enum codec codecs[] = {CODEC_NONE, CODEC_NONE, CODEC_NONE,
                                        CODEC_GZIP, CODEC_LZ4,  CODEC_ZSTD};
    struct world *world = producer->world;
    if (!lane->has_writer) {
        lane->writer = history_add_writer(&world->history, lane->partition);
        world->history.writers[lane->writer].is_loose = producer->is_loose;
        lane->has_writer = true;
    }
    uint64_t *next = &world->history.writers[lane->writer].next;
    struct batch *batch = &lane->batches[lane->count];
    *batch = (struct batch){.first = {lane->writer, *next},
                            .count = (uint32_t)world_between(world, 1, MAX_RECORDS)};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    options.codec = codecs[world_between(world, 0, sizeof codecs / sizeof *codecs - 1)];
    options.level = codec_default_level(options.codec);
    if (!producer->is_loose) {
        options.producer_id = producer->producer_id;
        options.producer_epoch = producer->producer_epoch;
        options.base_sequence = lane->next_sequence;
    }
    batch_builder_start(&producer->builder, &options);
    enum error err = OK;
    for (uint32_t i = 0; i < batch->count && err == OK; i++) {
        struct record_id id = {lane->writer, *next};
        int64_t filling =
            world_chance(world, 40) ? world_between(world, 1000, 9000) : world_between(world, 0, 200);
        record_write(&producer->value, id, (uint32_t)filling);
        /* No batch can be larger than a segment. */
        size_t more = batch_record_size_max(SLICE_NULL, text_slice(&producer->value), NULL, 0);
        if (batch_builder_size(&producer->builder) + more > (size_t)world->plan.segment_bytes) {
            batch->count = i;
            break;
        }
        (*next)++;
        err = batch_builder_add(&producer->builder, loop_wall_ms(world->loop), SLICE_NULL,
                                text_slice(&producer->value), NULL, 0);
    }
    struct slice built;
    if (err == OK) err = batch_builder_finish(&producer->builder, &built);
    if (err != OK) abort();
    batch->data = malloc(built.size);
    if (!batch->data) abort();
    memcpy(batch->data, built.data, built.size);
    batch->size = built.size;
    lane->next_sequence = sequence_add(lane->next_sequence, (int32_t)batch->count);
    lane->count++;
}

/* --- a new id --- */

static size_t flying(const struct producer *producer)
{
    size_t count = 0;
    for (int server = 0; server < producer->world->server_count; server++) {
        for (size_t i = 0; i < MAX_FLIGHTS; i++) count += producer->flights[server][i].is_used;
    }
    return count;
}

static void inited(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct producer *producer = call->context;
    const struct init_producer_id_response *answer = response;
    producer->is_initing = false;
    if (err != OK) return;
    enum error code = error_from_kafka(answer->error_code);
    if (answer->error_code != 0) {
        bool is_passing = code == ERR_COORDINATOR_LOAD_IN_PROGRESS || code == ERR_COORDINATOR_NOT_AVAILABLE ||
                          code == ERR_NOT_COORDINATOR || code == ERR_REQUEST_TIMED_OUT;
        if (!is_passing) history_fail(history_of(producer), "InitProducerId answers %s", error_name(code));
        return;
    }
    history_producer_id(history_of(producer), answer->producer_id);
    producer->producer_id = answer->producer_id;
    producer->producer_epoch = answer->producer_epoch;
    producer->needs_id = false;
    world_note(producer->world, "%s is producer id %lld", producer->name, (long long)producer->producer_id);
}

/* Some broker that can be asked; NULL = none. */
static struct peer *open_peer(struct producer *producer)
{
    int count = producer->world->server_count;
    int first = count > 1 ? (int)world_between(producer->world, 0, count - 1) : 0;
    for (int i = 0; i < count; i++) {
        struct peer *peer = &producer->peers[(first + i) % count];
        if (peer->is_open) return peer;
    }
    return NULL;
}

/* What was made under the old id is nobody's from now on. */
static void ask_for_id(struct producer *producer)
{
    if (producer->is_initing || flying(producer) > 0) return;
    struct peer *peer = open_peer(producer);
    if (!peer) return;
    for (size_t i = 0; i < producer->lane_count; i++) {
        struct lane *lane = &producer->lanes[i];
        while (lane->count > 0) drop_batch(lane, lane->count - 1);
        *lane = (struct lane){.partition = lane->partition};
    }
    struct init_producer_id_request request;
    init_producer_id_request_init(&request);
    request.transactional_id = SLICE_NULL;
    request.transaction_timeout_ms = 60000;
    producer->init =
        (struct call){.done = inited, .context = producer, .max_version = -1, .timeout_ms = CALL_MS};
    producer->is_initing = peer_send(peer, API_INIT_PRODUCER_ID, &request, &producer->init) == OK;
}

/* --- sending --- */

static bool may_send(const struct producer *producer, const struct lane *lane, int server)
{
    if (lane->server != server) return false;
    /* Until a first batch is in, a later one would be let in before it: who is unknown may begin anywhere (KIP-360). */
    size_t limit = lane->was_acknowledged ? producer->max_in_flight : 1;
    /* Nor may one that is sent again have more behind it than the broker remembers (node_life seed 20000714). */
    bool is_new = lane->sent < lane->count && lane->batches[lane->sent].start == 0;
    if (is_new && lane->sent > 0 && lane->batches[0].behind + 1 >= REMEMBERED_BATCHES) return false;
    return lane->sent < lane->count && !lane->must_rewind && lane->in_flight < limit &&
           world_now_ms(producer->world) >= lane->not_before_ms;
}

static void answered(struct call *call, enum error err, int16_t version, const void *response);

static void send_flight(struct producer *producer, int server, struct flight *flight)
{
    struct world *world = producer->world;
    struct produce_request_topic_produce_data topics[MAX_LANES];
    struct produce_request_partition_produce_data partitions[MAX_LANES];
    struct produce_request request;
    produce_request_init(&request);
    request.transactional_id = SLICE_NULL;
    /* What one broker says alone is no promise where there are others. */
    bool is_one_enough = !plan_is_replicated(&world->plan) && world_chance(world, 4);
    request.acks = producer->is_loose || is_one_enough ? 1 : -1;
    request.timeout_ms = (int32_t)world_between(world, 200, 3000);
    request.topic_data.items = topics;
    flight->count = 0;
    for (size_t i = 0; i < producer->lane_count; i++) {
        struct lane *lane = &producer->lanes[i];
        if (!may_send(producer, lane, server)) continue;
        struct batch *batch = &lane->batches[lane->sent];
        for (size_t b = 0; batch->start == 0 && b < lane->sent; b++) lane->batches[b].behind++;
        if (batch->start == 0) batch->start = world->counts.starts;
        const struct history_partition *partition = &world->history.partitions[lane->partition];
        produce_request_topic_produce_data_init(&topics[flight->count]);
        produce_request_partition_produce_data_init(&partitions[flight->count]);
        topics[flight->count].name = slice_of(partition->topic);
        topics[flight->count].partition_data.items = &partitions[flight->count];
        topics[flight->count].partition_data.count = 1;
        partitions[flight->count].index = partition->index;
        partitions[flight->count].records =
            (struct records_field){.data = batch->data, .size = (int32_t)batch->size};
        flight->parts[flight->count++] =
            (struct part){i, batch->first, routes_epoch(&producer->routes, lane->partition)};
    }
    if (flight->count == 0) return;
    request.topic_data.count = (int32_t)flight->count;
    flight->producer = producer;
    flight->call = (struct call){
        .done = answered, .context = flight, .max_version = PRODUCE_VERSION, .timeout_ms = CALL_MS};
    if (peer_send(&producer->peers[server], API_PRODUCE, &request, &flight->call) != OK) return;
    flight->is_used = true;
    for (size_t i = 0; i < flight->count; i++) {
        struct lane *lane = &producer->lanes[flight->parts[i].lane];
        lane->sent++;
        lane->in_flight++;
    }
}

static void pump(struct producer *producer)
{
    if (world_has_failed(producer->world)) return;
    if (producer->needs_id) {
        ask_for_id(producer);
        return;
    }
    for (size_t i = 0; i < producer->lane_count; i++) {
        struct lane *lane = &producer->lanes[i];
        if (lane->in_flight == 0) lane->server = routes_leader(&producer->routes, lane->partition);
    }
    for (int server = 0; server < producer->world->server_count; server++) {
        if (!producer->peers[server].is_open) continue;
        for (size_t i = 0; i < MAX_FLIGHTS; i++) {
            struct flight *flight = &producer->flights[server][i];
            if (!flight->is_used) send_flight(producer, server, flight);
        }
    }
}

/* --- answers --- */

static bool is_passing(enum error code)
{
    switch (code) {
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_LEADER_NOT_AVAILABLE:
    case ERR_KAFKA_STORAGE_ERROR:
    case ERR_REQUEST_TIMED_OUT:
    case ERR_NOT_ENOUGH_REPLICAS:
    case ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case ERR_NETWORK_EXCEPTION: return true;
    default: return false;
    }
}

/* Does the broker where the lane's batches went lead, by the znodes? */
static bool is_leader(const struct producer *producer, const struct lane *lane)
{
    const struct world *world = producer->world;
    const struct history_partition *partition = &world->history.partitions[lane->partition];
    int32_t ids[WORLD_MAX_SERVERS + 1];
    if (!world->witness) return true;
    return witness_isr(world->witness, partition->topic, partition->index, ids) > 0 && ids[0] == lane->server;
}

static size_t find_batch(const struct lane *lane, struct record_id first)
{
    size_t i = 0;
    while (i < lane->count && (lane->batches[i].first.writer != first.writer ||
                               lane->batches[i].first.counter != first.counter)) {
        i++;
    }
    return i;
}

/* `code` is what the answer says of this batch, ERR_CLOSED when there was none. */
static void batch_answered(struct producer *producer, struct lane *lane, const struct part *part,
                           enum error code, int64_t base_offset)
{
    struct record_id first = part->first;
    struct world *world = producer->world;
    struct history *history = &world->history;
    const struct history_partition *partition = &history->partitions[lane->partition];
    size_t at = find_batch(lane, first);
    assert(at < lane->sent);
    struct batch *batch = &lane->batches[at];
    lane->in_flight--;
    if (code == OK && producer->is_loose) {
        history_acknowledged_alone(history, lane->partition, base_offset, first, batch->count, part->epoch);
        drop_batch(lane, at);
    } else if (code == OK) {
        history_acknowledged(history, lane->partition, base_offset, first, batch->count);
        bool was_refused = false;
        for (size_t i = 0; i < at; i++) was_refused |= !lane->batches[i].is_doubtful;
        if (was_refused && !history->was_lossy) {
            history_fail(history, "%s-%d: a batch of %s was let in before the one it follows",
                         partition->topic, partition->index, producer->name);
        }
        drop_batch(lane, at);
        lane->was_acknowledged = true;
    } else if (!producer->is_loose &&
               (code == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER || code == ERR_UNKNOWN_PRODUCER_ID)) {
        lane->must_rewind = true;
        /* The first in line: has the broker forgotten it? It may, of several, after a restart. */
        bool has_restarted = batch->start != world->counts.starts;
        bool may_forget = producer->max_in_flight > 1 && has_restarted;
        /* Or a deposed leader that does not know it: the next one may have taken those before it, from a client whose metadata
         * was older still. */
        may_forget |= !is_leader(producer, lane);
        if (at == 0 && !history->was_lossy && !may_forget) {
            history_fail(history, "%s-%d: %s is told %s for the first of its batches", partition->topic,
                         partition->index, producer->name, error_name(code));
        }
        if (at == 0) producer->needs_id = true;
        batch->is_doubtful |= may_forget;
    } else {
        lane->must_rewind = true;
        batch->is_doubtful |= code == ERR_REQUEST_TIMED_OUT || code == ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND;
        /* A leader that was deposed while the batch waited has it, and so may the next. */
        batch->is_doubtful |= world->server_count > 1;
        routes_refresh(&producer->routes);
        lane->not_before_ms = world_now_ms(world) + world_between(world, 10, 200);
        if (code != ERR_CLOSED && !is_passing(code)) {
            history_fail(history, "%s-%d: Produce of %s answers %s", partition->topic, partition->index,
                         producer->name, error_name(code));
        }
    }
    if (lane->in_flight == 0 && lane->must_rewind) {
        lane->must_rewind = false;
        lane->sent = 0;
    }
}

static const struct produce_response_partition_produce_response *
find_answer(const struct produce_response *response, const struct history_partition *partition)
{
    for (int32_t t = 0; t < response->responses.count; t++) {
        const struct produce_response_topic_produce_response *topic = &response->responses.items[t];
        if (!slice_is(topic->name, partition->topic)) continue;
        for (int32_t p = 0; p < topic->partition_responses.count; p++) {
            if (topic->partition_responses.items[p].index == partition->index)
                return &topic->partition_responses.items[p];
        }
    }
    return NULL;
}

static void answered(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct flight *flight = call->context;
    struct producer *producer = flight->producer;
    flight->is_used = false;
    for (size_t i = 0; i < flight->count; i++) {
        struct lane *lane = &producer->lanes[flight->parts[i].lane];
        enum error code = ERR_CLOSED;
        int64_t base_offset = -1;
        if (err == OK) {
            const struct history_partition *partition = &history_of(producer)->partitions[lane->partition];
            const struct produce_response_partition_produce_response *answer =
                find_answer(response, partition);
            if (!answer) {
                history_fail(history_of(producer), "%s-%d is not in a Produce's answer", partition->topic,
                             partition->index);
                return;
            }
            code = answer->error_code == 0 ? OK : error_from_kafka(answer->error_code);
            base_offset = answer->base_offset;
            if (code != OK) {
                world_note(producer->world, "%s: %s-%d answers %s", producer->name, partition->topic,
                           partition->index, error_name(code));
            }
        }
        batch_answered(producer, lane, &flight->parts[i], code, base_offset);
    }
}

/* --- life --- */

static void tick(struct loop_timer *timer)
{
    struct producer *producer = CONTAINER_OF(timer, struct producer, tick);
    struct world *world = producer->world;
    while (producer->lane_count < world->history.partition_count && producer->lane_count < MAX_LANES) {
        producer->lanes[producer->lane_count] = (struct lane){.partition = producer->lane_count};
        producer->lane_count++;
    }
    if (!producer->is_finishing && !producer->needs_id && producer->lane_count > 0) {
        size_t makes = (size_t)world_between(world, 1, 2);
        for (size_t i = 0; i < makes; i++) {
            struct lane *lane = &producer->lanes[world_between(world, 0, (int64_t)producer->lane_count - 1)];
            if (lane->count < LANE_BATCHES) make_batch(producer, lane);
        }
    }
    pump(producer);
    loop_timer_start(world->loop, timer, world_between(world, TICK_MIN_MS, TICK_MAX_MS));
}

struct producer *producer_new(struct world *world, int number)
{
    struct producer *producer = calloc(1, sizeof *producer);
    if (!producer) abort();
    producer->world = world;
    producer->is_loose = number < world->plan.loose_producers;
    producer->needs_id = !producer->is_loose;
    producer->max_in_flight = world_chance(world, 2) ? 1 : (size_t)world_between(world, 2, LANE_BATCHES);
    snprintf(producer->name, sizeof producer->name, "producer-%d", number);
    routes_start(&producer->routes, world, producer->name);
    for (int i = 0; i < world->server_count; i++) peer_start(&producer->peers[i], world, producer->name, i);
    producer->tick.run = tick;
    loop_timer_start(world->loop, &producer->tick, 0);
    return producer;
}

void producer_free(struct producer **freed)
{
    struct producer *producer = *freed;
    *freed = NULL;
    if (!producer) return;
    for (int i = 0; i < WORLD_MAX_SERVERS; i++) peer_stop(&producer->peers[i]);
    routes_stop(&producer->routes);
    loop_timer_stop(producer->world->loop, &producer->tick);
    for (size_t i = 0; i < producer->lane_count; i++) {
        while (producer->lanes[i].count > 0) drop_batch(&producer->lanes[i], producer->lanes[i].count - 1);
    }
    batch_builder_free(&producer->builder);
    text_free(&producer->value);
    free(producer);
}

void producer_finish(struct producer *producer)
{
    producer->is_finishing = true;
}

bool producer_is_idle(const struct producer *producer)
{
    if (!producer->is_finishing || flying(producer) > 0) return false;
    for (size_t i = 0; i < producer->lane_count; i++) {
        if (producer->lanes[i].count > 0) return false;
    }
    return true;
}
