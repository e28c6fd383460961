/* node_bench.h: a whole node on two loops of its own threads, and clients that ask it over real sockets: what its tests share. */
#pragma once
#include "base/test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
    const char *setting; /* "key=value" besides the usual ones; NULL: none */
    uint16_t port;
    enum error end;
    struct arena arena; /* of answers */
};

static inline void on_ready(void *context, const char *line)
{
    struct world *world = context;
    assert_int_equal(strncmp(line, "ready: PLAINTEXT://127.0.0.1:", 29), 0);
    world->port = node_port(world->node);
    sem_post(&world->ready);
}

static inline void on_end(void *context, enum error err, const char *problem)
{
    struct world *world = context;
    world->end = err;
    if (err != OK) fprintf(stderr, "node: %s\n", problem);
    sem_post(&world->ended);
}

static inline void start_run(struct loop_message *message)
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

static inline void world_start(struct world *world)
{
    char dir[100];
    snprintf(dir, sizeof dir, "log.dirs=%s/data", world->dir);
    const char *overrides[] = {dir, world->setting};
    struct settings_sources sources = {.name = "test",
                                       .text =
                                           SLICE("listeners=PLAINTEXT://127.0.0.1:0\nkeeper.client.port=0\n"
                                                 "offsets.topic.num.partitions=3\n"
                                                 "group.initial.rebalance.delay.ms=0\n"),
                                       .overrides = overrides,
                                       .override_count = world->setting ? 2 : 1};
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

static inline void stop_run(struct loop_message *message)
{
    node_stop(CONTAINER_OF(message, struct world, stop)->node);
}

static inline void world_stop(struct world *world)
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

static inline struct world *world_new_with(bool is_spread, const char *setting)
{
    struct world *world = calloc(1, sizeof *world);
    world->is_spread = is_spread;
    world->setting = setting;
    strcpy(world->dir, "/tmp/odradek-node-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    world_start(world);
    return world;
}

static inline struct world *world_new(bool is_spread)
{
    return world_new_with(is_spread, NULL);
}

static inline void world_free(struct world *world)
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

static inline int dial(const struct world *world)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(world->port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    struct timeval limit = {.tv_sec = WAIT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static inline void ask(int fd, int16_t key, int16_t version, int32_t correlation, const void *request)
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

static inline bool read_all(int fd, void *into, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = recv(fd, (uint8_t *)into + got, size - got, 0);
        if (n <= 0) return false;
        got += (size_t)n;
    }
    return true;
}

/* False: the connection was closed instead. */
static inline bool hear(struct world *world, int fd, int16_t key, int16_t version, int32_t correlation,
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

static inline void call(struct world *world, int fd, int16_t key, int16_t version, const void *request,
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

static inline struct batch batch_of(int records, int64_t producer_id, int16_t epoch, int32_t sequence,
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

static inline struct batch plain(int records)
{
    return batch_of(records, NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE, 1000);
}

struct produced {
    int16_t code;
    int64_t base_offset;
};

static inline void fill_produce(struct produce_request *request,
                                struct produce_request_topic_produce_data *topic,
                                struct produce_request_partition_produce_data *data, int16_t acks,
                                const char *name, int32_t partition, const void *bytes, int32_t size)
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

static inline struct produced produce(struct world *world, int fd, int16_t version, int16_t acks,
                                      const char *name, int32_t partition, const void *bytes, int32_t size)
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

static inline struct produced produce_batch(struct world *world, int fd, int16_t acks, const char *name,
                                            struct batch batch)
{
    return produce(world, fd, 9, acks, name, 0, batch.bytes, (int32_t)batch.size);
}

static inline void create(struct world *world, int fd, const char *name, struct uuid *id)
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

/* --- fetch --- */

struct fetching {
    struct fetch_request request;
    struct fetch_request_fetch_topic topic;
    struct fetch_request_fetch_partition partition;
};

static inline void fill_fetch(struct fetching *fetching, const char *topic, int64_t offset)
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
