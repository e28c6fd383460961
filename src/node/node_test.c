/* node_test.c: a whole node on two loops of its own threads, asked over real sockets what clients ask, the odd questions included
 * (facts/api-versions.md 2.1 and 9, facts/storage.md 4 and 8). */
#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/diag.h"
#include "base/list.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "node/node.h"
#include "settings/settings.h"
#include "wire/messages.h"
#include "wire/record.h"

enum {
    PRODUCE = 0,
    FETCH = 1,
    LIST_OFFSETS = 2,
    METADATA = 3,
    FIND_COORDINATOR = 10,
    API_VERSIONS = 18,
    INIT_PRODUCER_ID = 22,
    LOOPS = 2,
    WAIT_S = 20
};

struct world {
    char dir[64];
    struct descriptors *descriptors;
    struct disk *disk;
    struct loop *loops[LOOPS];
    struct settings *settings;
    struct node *node;
    struct loop_message start, stop;
    sem_t ready, ended;
    bool is_spread;
    uint16_t port;
    enum error end;
    struct arena arena; /* of answers */
};

static void on_ready(void *context, const char *line)
{
    struct world *world = context;
    assert_int_equal(strncmp(line, "ready: PLAINTEXT://127.0.0.1:", 29), 0);
    world->port = node_port(world->node);
    sem_post(&world->ready);
}

static void on_end(void *context, enum error err, const char *problem)
{
    struct world *world = context;
    world->end = err;
    if (err != OK) fprintf(stderr, "node: %s\n", problem);
    sem_post(&world->ended);
}

static void start_run(struct loop_message *message)
{
    struct world *world = CONTAINER_OF(message, struct world, start);
    struct node_config config = {.settings = world->settings,
                                 .loops = world->loops,
                                 .loop_count = LOOPS,
                                 .disk = world->disk,
                                 .is_spread = world->is_spread,
                                 .on_ready = on_ready,
                                 .on_end = on_end,
                                 .context = world};
    assert_int_equal(node_start(&config, &world->node), OK);
}

static void world_start(struct world *world)
{
    char dir[100];
    snprintf(dir, sizeof dir, "log.dirs=%s/data", world->dir);
    const char *overrides[] = {dir};
    struct settings_sources sources = {.name = "test",
                                       .text =
                                           SLICE("listeners=PLAINTEXT://127.0.0.1:0\nkeeper.client.port=0\n"
                                                 "offsets.topic.num.partitions=3\n"
                                                 "group.initial.rebalance.delay.ms=0\n"),
                                       .overrides = overrides,
                                       .override_count = 1};
    assert_int_equal(settings_load(&sources, &world->settings), OK);
    world->descriptors = descriptors_new(0);
    world->disk = disk_new(world->descriptors);
    sem_init(&world->ready, 0, 0);
    sem_init(&world->ended, 0, 0);
    arena_init(&world->arena, 0);
    for (int i = 0; i < LOOPS; i++) {
        assert_int_equal(loop_new(world->descriptors, &world->loops[i]), OK);
        assert_int_equal(loop_start_thread(world->loops[i], "node"), OK);
    }
    world->start.run = start_run;
    loop_post(world->loops[0], &world->start);
    sem_wait(&world->ready);
    assert_true(world->port > 0);
}

static void stop_run(struct loop_message *message)
{
    node_stop(CONTAINER_OF(message, struct world, stop)->node);
}

static void world_stop(struct world *world)
{
    world->stop.run = stop_run;
    loop_post(world->loops[0], &world->stop);
    sem_wait(&world->ended);
    assert_int_equal(world->end, OK);
    for (int i = 0; i < LOOPS; i++) {
        loop_stop(world->loops[i]);
        loop_join(world->loops[i]);
    }
    for (int i = 0; i < LOOPS; i++) loop_free(world->loops[i]);
    disk_free(world->disk);
    descriptors_free(world->descriptors);
    settings_free(&world->settings);
    arena_free(&world->arena);
}

static struct world *world_new(bool is_spread)
{
    struct world *world = calloc(1, sizeof *world);
    world->is_spread = is_spread;
    strcpy(world->dir, "/tmp/odradek-node-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    world_start(world);
    return world;
}

static void world_free(struct world *world)
{
    world_stop(world);
    struct descriptors *descriptors = descriptors_new(0);
    struct disk *disk = disk_new(descriptors);
    assert_int_equal(disk_remove_tree(disk, world->dir), OK);
    disk_free(disk);
    descriptors_free(descriptors);
    free(world);
}

/* --- a client --- */

static int dial(const struct world *world)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(world->port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    struct timeval limit = {.tv_sec = WAIT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static void ask(int fd, int16_t key, int16_t version, int32_t correlation, const void *request)
{
    const struct message_type *type = api_of(key)->request;
    size_t body = message_size(type, version, request);
    assert_true(body < 1 << 20);
    uint8_t *out = malloc(body + 64), *p = out + 4;
    put_be16(p, (uint16_t)key);
    put_be16(p + 2, (uint16_t)version);
    put_be32(p + 4, (uint32_t)correlation);
    put_be16(p + 8, 4);
    memcpy(p + 10, "test", 4);
    p += 14;
    if (api_request_header_version(key, version) == 2) *p++ = 0;
    p += message_encode(type, version, request, p, NULL);
    put_be32(out, (uint32_t)(p - out - 4));
    size_t size = (size_t)(p - out);
    assert_int_equal(send(fd, out, size, MSG_NOSIGNAL), size);
    free(out);
}

static bool read_all(int fd, void *into, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = recv(fd, (uint8_t *)into + got, size - got, 0);
        if (n <= 0) return false;
        got += (size_t)n;
    }
    return true;
}

/* False: the connection was closed instead. */
static bool hear(struct world *world, int fd, int16_t key, int16_t version, int32_t correlation,
                 void *response)
{
    uint8_t prefix[4];
    if (!read_all(fd, prefix, 4)) return false;
    size_t size = get_be32(prefix);
    assert_true(size >= 4 && size < 64 << 20);
    uint8_t *in = arena_alloc(&world->arena, size);
    assert_true(read_all(fd, in, size));
    assert_int_equal(get_be32(in), correlation);
    size_t header = key != API_VERSIONS && api_response_header_version(key, version) == 1 ? 5 : 4;
    struct slice body = {in + header, size - header};
    size_t consumed = 0;
    struct decode_fault fault = {{0}};
    enum error err =
        message_decode(api_of(key)->response, version, body, &world->arena, response, &consumed, &fault);
    if (err != OK) fail_msg("answer to %d v%d: %s", key, version, fault.text);
    assert_int_equal(consumed, body.size);
    return true;
}

static void call(struct world *world, int fd, int16_t key, int16_t version, const void *request,
                 void *response)
{
    ask(fd, key, version, 4711, request);
    if (!hear(world, fd, key, version, 4711, response)) fail_msg("no answer to %d v%d", key, version);
}

/* --- produce --- */

struct batch {
    uint8_t bytes[4096];
    size_t size;
};

static struct batch batch_of(int records, int64_t producer_id, int16_t epoch, int32_t sequence,
                             int64_t timestamp)
{
    struct batch_builder builder = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    options.producer_id = producer_id;
    options.producer_epoch = epoch;
    options.base_sequence = sequence;
    batch_builder_start(&builder, &options);
    for (int i = 0; i < records; i++) {
        assert_int_equal(batch_builder_add(&builder, timestamp + i, SLICE("key"), SLICE("value"), NULL, 0),
                         OK);
    }
    struct slice built;
    assert_int_equal(batch_builder_finish(&builder, &built), OK);
    struct batch batch = {.size = built.size};
    assert_true(built.size <= sizeof batch.bytes);
    memcpy(batch.bytes, built.data, built.size);
    batch_builder_free(&builder);
    return batch;
}

static struct batch plain(int records)
{
    return batch_of(records, NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE, 1000);
}

struct produced {
    int16_t code;
    int64_t base_offset;
};

static void fill_produce(struct produce_request *request, struct produce_request_topic_produce_data *topic,
                         struct produce_request_partition_produce_data *data, int16_t acks, const char *name,
                         int32_t partition, const void *bytes, int32_t size)
{
    produce_request_init(request);
    request->acks = acks;
    request->timeout_ms = 5000;
    *data = (struct produce_request_partition_produce_data){.index = partition};
    data->records.data = bytes;
    data->records.size = size;
    *topic = (struct produce_request_topic_produce_data){.name = slice_of(name)};
    topic->partition_data.items = data;
    topic->partition_data.count = 1;
    request->topic_data.items = topic;
    request->topic_data.count = 1;
}

static struct produced produce(struct world *world, int fd, int16_t version, int16_t acks, const char *name,
                               int32_t partition, const void *bytes, int32_t size)
{
    struct produce_request request;
    struct produce_request_topic_produce_data topic;
    struct produce_request_partition_produce_data data;
    fill_produce(&request, &topic, &data, acks, name, partition, bytes, size);
    struct produce_response response;
    call(world, fd, PRODUCE, version, &request, &response);
    assert_int_equal(response.responses.count, 1);
    assert_int_equal(response.responses.items[0].partition_responses.count, 1);
    const struct produce_response_partition_produce_response *answer =
        &response.responses.items[0].partition_responses.items[0];
    assert_int_equal(answer->index, partition);
    return (struct produced){answer->error_code, answer->base_offset};
}

static struct produced produce_batch(struct world *world, int fd, int16_t acks, const char *name,
                                     struct batch batch)
{
    return produce(world, fd, 9, acks, name, 0, batch.bytes, (int32_t)batch.size);
}

static void create(struct world *world, int fd, const char *name, struct uuid *id)
{
    struct metadata_request request;
    metadata_request_init(&request);
    struct metadata_request_metadata_request_topic topic = {.name = slice_of(name)};
    request.topics.items = &topic;
    request.topics.count = 1;
    struct metadata_response response;
    call(world, fd, METADATA, 12, &request, &response);
    assert_int_equal(response.topics.count, 1);
    assert_int_equal(response.topics.items[0].error_code, 0);
    assert_int_equal(response.topics.items[0].partitions.count, 1);
    assert_int_equal(response.topics.items[0].partitions.items[0].leader_id,
                     response.brokers.items[0].node_id);
    assert_false(uuid_is_zero(&response.topics.items[0].topic_id));
    if (id) *id = response.topics.items[0].topic_id;
}

static void records_go_in(void **state)
{
    struct world *world = world_new(false);
    int fd = dial(world);
    create(world, fd, "t", NULL);
    for (int16_t version = 3; version <= 12; version++) {
        struct batch batch = plain(2);
        struct produced got =
            produce(world, fd, version, version % 2 ? -1 : 1, "t", 0, batch.bytes, (int32_t)batch.size);
        assert_int_equal(got.code, 0);
        assert_int_equal(got.base_offset, (version - 3) * 2);
    }

    struct batch batch = plain(1), twice = batch, junk = batch, torn = batch, broken = batch, old = batch;
    memcpy(twice.bytes + batch.size, batch.bytes, batch.size);
    twice.size *= 2;
    memset(junk.bytes + batch.size, 7, 20);
    junk.size += 20;
    torn.size -= 5;
    broken.bytes[broken.size - 1] ^= 1;
    old.bytes[16] = 1;
    const struct {
        const char *topic;
        int32_t partition;
        int16_t acks;
        const struct batch *batch; /* NULL = null records */
        enum error err;
    } rows[] = {
        {"t", 0, 1, NULL, ERR_INVALID_RECORD},
        {"t", 0, 1, &twice, ERR_INVALID_RECORD},
        {"t", 0, 1, &junk, ERR_INVALID_RECORD},
        {"t", 0, 1, &torn, ERR_INVALID_RECORD},
        {"t", 0, 1, &old, ERR_INVALID_RECORD},
        {"t", 0, 1, &broken, ERR_CORRUPT_MESSAGE},
        {"t", 0, 7, &batch, ERR_INVALID_REQUIRED_ACKS},
        {"t", 0, -2, &batch, ERR_INVALID_REQUIRED_ACKS},
        {"t", 5, 1, &batch, ERR_UNKNOWN_TOPIC_OR_PARTITION},
        {"t", -1, 1, &batch, ERR_UNKNOWN_TOPIC_OR_PARTITION},
        {"nowhere", 0, 1, &batch, ERR_UNKNOWN_TOPIC_OR_PARTITION},
        {"a/b", 0, 1, &batch, ERR_UNKNOWN_TOPIC_OR_PARTITION},
        {"__consumer_offsets", 0, 1, &batch, ERR_INVALID_TOPIC_EXCEPTION},
        {"t", 0, 1, &batch, OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct batch *sent = rows[i].batch;
        struct produced got = produce(world, fd, 9, rows[i].acks, rows[i].topic, rows[i].partition,
                                      sent ? sent->bytes : NULL, sent ? (int32_t)sent->size : -1);
        if (got.code != error_kafka_code(rows[i].err)) fail_msg("row %zu: %d", i, got.code);
        assert_int_equal(got.base_offset, rows[i].err == OK ? 20 : -1);
    }

    /* By id, and by one that nobody has. */
    struct uuid id;
    create(world, fd, "t", &id);
    for (int i = 0; i < 2; i++) {
        struct produce_request request;
        struct produce_request_topic_produce_data topic;
        struct produce_request_partition_produce_data data;
        fill_produce(&request, &topic, &data, 1, "", 0, batch.bytes, (int32_t)batch.size);
        topic.topic_id = id;
        topic.topic_id.bytes[3] ^= i ? 0xff : 0;
        struct produce_response response;
        call(world, fd, PRODUCE, 13, &request, &response);
        assert_int_equal(response.responses.items[0].partition_responses.items[0].error_code,
                         i ? error_kafka_code(ERR_UNKNOWN_TOPIC_ID) : 0);
    }
    close(fd);
    world_free(world);
}

static void without_acks_nothing_is_said(void **state)
{
    struct world *world = world_new(false);
    int fd = dial(world);
    create(world, fd, "t", NULL);
    struct batch batch = plain(1);
    struct produce_request request;
    struct produce_request_topic_produce_data topic;
    struct produce_request_partition_produce_data data;
    fill_produce(&request, &topic, &data, 0, "t", 0, batch.bytes, (int32_t)batch.size);
    ask(fd, PRODUCE, 9, 1, &request);
    assert_int_equal(produce_batch(world, fd, 1, "t", batch).base_offset,
                     1); /* the next answer is of the next request */
    topic.name = SLICE("nowhere");
    ask(fd, PRODUCE, 9, 2, &request);
    uint8_t byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    world_free(world);
}

static void idempotent_producers_write_once(void **state)
{
    struct world *world = world_new(false);
    int fd = dial(world);
    create(world, fd, "t", NULL);
    struct init_producer_id_request init;
    init_producer_id_request_init(&init);
    init.transactional_id = SLICE_NULL;
    struct init_producer_id_response given, next;
    call(world, fd, INIT_PRODUCER_ID, 4, &init, &given);
    call(world, fd, INIT_PRODUCER_ID, 2, &init, &next);
    assert_int_equal(given.error_code, 0);
    assert_int_equal(given.producer_epoch, 0);
    assert_true(given.producer_id >= 0 && next.producer_id != given.producer_id);
    int64_t id = given.producer_id;
    const struct {
        int16_t epoch;
        int32_t sequence;
        int records;
        enum error err;
        int64_t offset;
    } rows[] = {
        {0, 0, 3, OK, 0}, {0, 0, 3, OK, 0},                                /* again: where it was */
        {0, 3, 1, OK, 3}, {0, 5, 1, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, -1}, /* a gap */
        {0, 0, 3, OK, 0}, {0, 2, 1, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, -1}, /* a part of an old one */
        {1, 0, 1, OK, 4}, {0, 4, 1, ERR_INVALID_PRODUCER_EPOCH, -1},       /* fenced */
        {1, 1, 1, OK, 5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct batch batch = batch_of(rows[i].records, id, rows[i].epoch, rows[i].sequence, 1000);
        struct produced got = produce_batch(world, fd, -1, "t", batch);
        if (got.code != error_kafka_code(rows[i].err) || got.base_offset != rows[i].offset) {
            fail_msg("row %zu: code %d, offset %lld", i, got.code, (long long)got.base_offset);
        }
    }
    close(fd);
    world_free(world);
}

/* --- fetch --- */

struct fetching {
    struct fetch_request request;
    struct fetch_request_fetch_topic topic;
    struct fetch_request_fetch_partition partition;
};

static void fill_fetch(struct fetching *fetching, const char *topic, int64_t offset)
{
    fetch_request_init(&fetching->request);
    fetching->request.max_wait_ms = 0;
    fetching->request.min_bytes = 1;
    fetching->request.max_bytes = 1 << 20;
    fetching->request.session_id = 0;
    fetching->request.session_epoch = -1;
    fetching->partition = (struct fetch_request_fetch_partition){.fetch_offset = offset,
                                                                 .current_leader_epoch = -1,
                                                                 .last_fetched_epoch = -1,
                                                                 .log_start_offset = -1,
                                                                 .partition_max_bytes = 1 << 20,
                                                                 .high_watermark = INT64_MAX};
    fetching->topic = (struct fetch_request_fetch_topic){.topic = slice_of(topic)};
    fetching->topic.partitions.items = &fetching->partition;
    fetching->topic.partitions.count = 1;
    fetching->request.topics.items = &fetching->topic;
    fetching->request.topics.count = 1;
}

static const struct fetch_response_partition_data *only(const struct fetch_response *response)
{
    assert_int_equal(response->responses.count, 1);
    assert_int_equal(response->responses.items[0].partitions.count, 1);
    return &response->responses.items[0].partitions.items[0];
}

static void records_come_out(void **state)
{
    struct world *world = world_new(*state != NULL);
    int fd = dial(world);
    create(world, fd, "t", NULL);
    for (int i = 0; i < 5; i++) produce_batch(world, fd, 1, "t", plain(2));
    int32_t whole = (int32_t)plain(2).size;
    for (int16_t version = 4; version <= 12; version++) {
        struct fetching fetching;
        fill_fetch(&fetching, "t", 3);
        struct fetch_response response;
        call(world, fd, FETCH, version, &fetching.request, &response);
        const struct fetch_response_partition_data *got = only(&response);
        assert_int_equal(got->error_code, 0);
        assert_int_equal(got->high_watermark, 10);
        assert_int_equal(got->aborted_transactions.count, -1);
        assert_int_equal(got->records.size, 4 * whole); /* from the batch that holds offset 3 */
        assert_int_equal(get_be64(got->records.data), 2);
    }
    const struct {
        int64_t offset;
        int32_t partition, partition_max, max, current_epoch, last_epoch;
        int8_t isolation;
        enum error err;
        int32_t size; /* -1: any */
        int64_t high_watermark;
    } rows[] = {
        {0, 0, 1 << 20, 1 << 20, -1, -1, 0, OK, 5 * 79, 10}, /* size set below */
        {0, 0, 0, 0, -1, -1, 0, OK, 79, 10},                 /* never less than a batch */
        {0, 0, 1, 1 << 20, -1, -1, 0, OK, 79, 10},
        {10, 0, 1 << 20, 1 << 20, -1, -1, 0, OK, 0, 10},
        {11, 0, 1 << 20, 1 << 20, -1, -1, 0, ERR_OFFSET_OUT_OF_RANGE, 0, -1},
        {-5, 0, 1 << 20, 1 << 20, -1, -1, 0, ERR_OFFSET_OUT_OF_RANGE, 0, -1},
        {0, 0, -1, 1 << 20, -1, -1, 0, ERR_UNKNOWN_SERVER_ERROR, 0, -1},
        {0, 9, 1 << 20, 1 << 20, -1, -1, 0, ERR_UNKNOWN_TOPIC_OR_PARTITION, 0, -1},
        {0, 0, 1 << 20, 1 << 20, 0, -1, 0, OK, 5 * 79, 10},
        {0, 0, 1 << 20, 1 << 20, 9, -1, 0, ERR_UNKNOWN_LEADER_EPOCH, 0, -1},
        {4, 0, 1 << 20, 1 << 20, -1, 0, 0, OK, 3 * 79, 10},
        {4, 0, 1 << 20, 1 << 20, -1, 7, 0, ERR_OFFSET_OUT_OF_RANGE, 0, -1}, /* an epoch we know nothing of */
        {4, 0, 1 << 20, 1 << 20, -1, -1, 1, OK, 3 * 79, 10},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fetching fetching;
        fill_fetch(&fetching, "t", rows[i].offset);
        fetching.partition.partition = rows[i].partition;
        fetching.partition.partition_max_bytes = rows[i].partition_max;
        fetching.partition.current_leader_epoch = rows[i].current_epoch;
        fetching.partition.last_fetched_epoch = rows[i].last_epoch;
        fetching.request.max_bytes = rows[i].max;
        fetching.request.isolation_level = rows[i].isolation;
        struct fetch_response response;
        call(world, fd, FETCH, 12, &fetching.request, &response);
        const struct fetch_response_partition_data *got = only(&response);
        if (got->error_code != error_kafka_code(rows[i].err))
            fail_msg("row %zu: code %d", i, got->error_code);
        int32_t size = rows[i].size / 79 * whole;
        if (got->records.size != size) fail_msg("row %zu: %d bytes, want %d", i, got->records.size, size);
        assert_int_equal(got->high_watermark, rows[i].high_watermark);
        assert_int_equal(got->log_start_offset, rows[i].high_watermark < 0 ? -1 : 0);
        bool has_aborted = rows[i].isolation == 1 && rows[i].err == OK;
        assert_int_equal(got->aborted_transactions.count, has_aborted ? 0 : -1);
    }
    close(fd);
    world_free(world);
}

static void a_reader_waits_for_what_is_not_there_yet(void **state)
{
    struct world *world = world_new(*state != NULL);
    int reader = dial(world), writer = dial(world);
    create(world, writer, "t", NULL);
    struct fetching fetching;
    fill_fetch(&fetching, "t", 0);
    fetching.request.max_wait_ms = WAIT_S * 1000;
    ask(reader, FETCH, 11, 1, &fetching.request);
    /* Behind it on the same connection, and so answered after it. */
    struct api_versions_request versions;
    api_versions_request_init(&versions);
    ask(reader, API_VERSIONS, 0, 2, &versions);
    produce_batch(world, writer, 1, "t", plain(1));
    struct fetch_response response;
    assert_true(hear(world, reader, FETCH, 11, 1, &response));
    assert_true(only(&response)->records.size > 0);
    struct api_versions_response known;
    assert_true(hear(world, reader, API_VERSIONS, 0, 2, &known));

    /* Not enough bytes: until the time is up, then what there is. */
    fetching.request.min_bytes = 100000;
    fetching.request.max_wait_ms = 50;
    call(world, reader, FETCH, 11, &fetching.request, &response);
    assert_true(only(&response)->records.size > 0);
    /* One who waits and goes is forgotten. */
    fetching.partition.fetch_offset = 1;
    fetching.request.max_wait_ms = WAIT_S * 1000;
    ask(reader, FETCH, 11, 3, &fetching.request);
    close(reader);
    produce_batch(world, writer, 1, "t", plain(1));
    close(writer);
    world_free(world);
}

static void sessions_tell_only_news(void **state)
{
    struct world *world = world_new(false);
    int fd = dial(world);
    struct uuid id;
    create(world, fd, "t", &id);
    struct fetching fetching;
    fill_fetch(&fetching, "t", 0);
    fetching.topic.topic_id = id;
    fetching.request.session_epoch = 0;
    struct fetch_response response;
    call(world, fd, FETCH, 15, &fetching.request, &response);
    int32_t session = response.session_id;
    assert_true(session > 0);
    assert_true(uuid_equal(&response.responses.items[0].topic_id, &id));

    struct fetching empty;
    fill_fetch(&empty, "t", 0);
    empty.request.topics.count = 0;
    empty.request.session_id = session;
    empty.request.session_epoch = 1;
    call(world, fd, FETCH, 15, &empty.request, &response);
    assert_int_equal(response.error_code, 0);
    assert_int_equal(response.responses.count, 0);
    produce_batch(world, fd, 1, "t", plain(1));
    empty.request.session_epoch = 2;
    call(world, fd, FETCH, 15, &empty.request, &response);
    assert_int_equal(only(&response)->high_watermark, 1);

    empty.request.session_epoch = 9;
    call(world, fd, FETCH, 15, &empty.request, &response);
    assert_int_equal(response.error_code, error_kafka_code(ERR_INVALID_FETCH_SESSION_EPOCH));
    empty.request.session_id ^= 0x100;
    call(world, fd, FETCH, 15, &empty.request, &response);
    assert_int_equal(response.error_code, error_kafka_code(ERR_FETCH_SESSION_ID_NOT_FOUND));
    empty.request.session_id = session;
    empty.request.session_epoch = 3;
    call(world, fd, FETCH, 12, &empty.request, &response); /* names now, where ids were */
    assert_int_equal(response.error_code, error_kafka_code(ERR_FETCH_SESSION_TOPIC_ID_ERROR));
    fetching.topic.topic_id.bytes[5] ^= 0xff;
    fetching.request.session_epoch = -1;
    call(world, fd, FETCH, 13, &fetching.request, &response);
    assert_int_equal(only(&response)->error_code, error_kafka_code(ERR_UNKNOWN_TOPIC_ID));
    close(fd);
    world_free(world);
}

/* --- offsets, topics, coordinators --- */

static void offsets_have_times(void **state)
{
    struct world *world = world_new(*state != NULL);
    int fd = dial(world);
    create(world, fd, "t", NULL);
    for (int i = 0; i < 4; i++) {
        produce_batch(world, fd, 1, "t",
                      batch_of(2, NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE, 1000 + i * 100));
    }
    const struct {
        int16_t version;
        int64_t timestamp;
        enum error err;
        int64_t offset, found;
    } rows[] = {
        {1, -1, OK, 8, -1},
        {1, -2, OK, 0, -1},
        {1, -3, ERR_UNSUPPORTED_VERSION, -1, -1},
        {7, -3, OK, 7, 1301},
        {7, -4, ERR_UNSUPPORTED_VERSION, -1, -1},
        {8, -4, OK, 0, -1},
        {9, -5, OK, -1, -1},
        {11, -6, OK, -1, -1},
        {4, 0, OK, 0, 1000},
        {4, 1001, OK, 1, 1001},
        {4, 1150, OK, 4, 1200},
        {4, 1302, OK, -1, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct list_offsets_request request;
        list_offsets_request_init(&request);
        request.replica_id = -1;
        struct list_offsets_request_list_offsets_partition partition = {
            .current_leader_epoch = -1, .max_num_offsets = 1, .timestamp = rows[i].timestamp};
        struct list_offsets_request_list_offsets_topic topic = {.name = SLICE("t")};
        topic.partitions.items = &partition;
        topic.partitions.count = 1;
        request.topics.items = &topic;
        request.topics.count = 1;
        struct list_offsets_response response;
        call(world, fd, LIST_OFFSETS, rows[i].version, &request, &response);
        const struct list_offsets_response_list_offsets_partition_response *got =
            &response.topics.items[0].partitions.items[0];
        if (got->error_code != error_kafka_code(rows[i].err) || got->offset != rows[i].offset ||
            got->timestamp != rows[i].found) {
            fail_msg("row %zu: code %d, offset %lld, timestamp %lld", i, got->error_code,
                     (long long)got->offset, (long long)got->timestamp);
        }
    }
    close(fd);
    world_free(world);
}

static int32_t count_topics(struct world *world, int fd, int16_t version, int32_t count)
{
    struct metadata_request request;
    metadata_request_init(&request);
    request.topics.count = count;
    struct metadata_response response;
    call(world, fd, METADATA, version, &request, &response);
    assert_int_equal(response.brokers.count, 1);
    return response.topics.count;
}

static void topics_are_listed_and_made(void **state)
{
    struct world *world = world_new(false);
    int fd = dial(world);
    struct uuid id;
    create(world, fd, "a", &id);
    create(world, fd, "b", NULL);
    assert_int_equal(count_topics(world, fd, 0, 0), 2);
    assert_int_equal(count_topics(world, fd, 1, 0), 0);
    assert_int_equal(count_topics(world, fd, 1, -1), 2);
    assert_int_equal(count_topics(world, fd, 12, -1), 2);

    struct metadata_request_metadata_request_topic topics[] = {
        {.topic_id = id}, {.topic_id = {{9}}}, {.name = SLICE("no/such")}, {.name = SLICE("unknown")}};
    struct metadata_request request;
    metadata_request_init(&request);
    request.allow_auto_topic_creation = false;
    request.topics.items = topics;
    request.topics.count = 4;
    struct metadata_response response;
    call(world, fd, METADATA, 12, &request, &response);
    assert_true(slice_is(response.topics.items[0].name, "a"));
    assert_int_equal(response.topics.items[1].error_code, error_kafka_code(ERR_UNKNOWN_TOPIC_ID));
    assert_null(response.topics.items[1].name.data);
    assert_int_equal(response.topics.items[2].error_code, error_kafka_code(ERR_INVALID_TOPIC_EXCEPTION));
    assert_int_equal(response.topics.items[3].error_code, error_kafka_code(ERR_UNKNOWN_TOPIC_OR_PARTITION));

    struct find_coordinator_request find;
    find_coordinator_request_init(&find);
    struct slice key = SLICE("group");
    find.coordinator_keys.items = &key;
    find.coordinator_keys.count = 1;
    struct find_coordinator_response found;
    call(world, fd, FIND_COORDINATOR, 4, &find, &found);
    assert_int_equal(found.coordinators.count, 1);
    assert_int_equal(found.coordinators.items[0].error_code, 0);
    assert_int_equal(found.coordinators.items[0].port, world->port);
    assert_int_equal(count_topics(world, fd, 1, -1), 3); /* __consumer_offsets has come to be */
    close(fd);
    world_free(world);
}

static void a_restart_forgets_nothing(void **state)
{
    struct world *world = world_new(true);
    int fd = dial(world);
    struct uuid before, after;
    create(world, fd, "t", &before);
    for (int i = 0; i < 10; i++) produce_batch(world, fd, -1, "t", plain(3));
    close(fd);
    world_stop(world);
    world_start(world);
    fd = dial(world);
    create(world, fd, "t", &after);
    assert_true(uuid_equal(&before, &after));
    assert_int_equal(produce_batch(world, fd, -1, "t", plain(1)).base_offset, 30);
    struct fetching fetching;
    fill_fetch(&fetching, "t", 0);
    struct fetch_response response;
    call(world, fd, FETCH, 11, &fetching.request, &response);
    assert_int_equal(only(&response)->high_watermark, 31);
    close(fd);
    world_free(world);
}

int main(void)
{
    diag_set_level(DIAG_WARN);
    static int spread;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_go_in),
        cmocka_unit_test(without_acks_nothing_is_said),
        cmocka_unit_test(idempotent_producers_write_once),
        cmocka_unit_test(records_come_out),
        cmocka_unit_test_prestate(records_come_out, &spread),
        cmocka_unit_test(a_reader_waits_for_what_is_not_there_yet),
        cmocka_unit_test_prestate(a_reader_waits_for_what_is_not_there_yet, &spread),
        cmocka_unit_test(sessions_tell_only_news),
        cmocka_unit_test(offsets_have_times),
        cmocka_unit_test_prestate(offsets_have_times, &spread),
        cmocka_unit_test(topics_are_listed_and_made),
        cmocka_unit_test(a_restart_forgets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
