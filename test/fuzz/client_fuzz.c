/* client_fuzz: a connection to a broker that answers with any bytes, over the simulated network. The input is the broker's
 * script: the version of its greeting, then frames with the right correlation id, bytes as they are, silence, the end.
 * on_open comes once, every accepted call is done exactly once, and what we send are whole frames. */
#include <stdlib.h>

#include "base/text.h"
#include "client/connection.h"
#include "fuzz.h"
#include "loop/sim.h"
#include "wire/messages.h"

enum { CALL_COUNT = 8, PORT = 9092 };

struct world {
    struct stream *broker;
    struct listener *listener;
    struct connection *connection;
    struct text heard; /* by the broker, from its last whole frame on */
    int32_t correlation_ids[CALL_COUNT + 2];
    size_t id_count, answered;
    int opened, closed, accepted, done;
    struct call calls[CALL_COUNT];
};

static void on_done(struct call *call, enum error err, int16_t version, const void *response)
{
    struct world *world = call->context;
    CHECK(call->connection == NULL);
    CHECK((err == OK) == (response != NULL));
    CHECK(err != OK || version >= 0);
    world->done++;
    call->context = NULL; /* a second time would be seen */
}

static void on_open(void *context, enum error err)
{
    static const int16_t keys[CALL_COUNT] = {3, 10, 2, 1, 32, 11, 60, 18};
    struct world *world = context;
    CHECK(world->opened++ == 0);
    for (int i = 0; err == OK && i < CALL_COUNT; i++) {
        const struct api *api = api_of(keys[i]);
        void *request = malloc(message_struct_size(api->request) + 1);
        message_init(api->request, request);
        world->calls[i] =
            (struct call){.done = on_done, .context = world, .max_version = -1, .timeout_ms = 500};
        world->accepted++;
        if (connection_send(world->connection, keys[i], request, &world->calls[i]) != OK) world->accepted--;
        free(request);
    }
}

static void on_closed(void *context, enum error err)
{
    struct world *world = context;
    CHECK(world->opened == 1 && world->closed++ == 0 && err != OK);
}

static void on_broker_readable(void *context)
{
    struct world *world = context;
    uint8_t bytes[4096];
    size_t got;
    while (world->broker && stream_read(world->broker, bytes, sizeof bytes, &got) == OK)
        text_add(&world->heard, (struct slice){bytes, got});
    size_t at = 0;
    while (world->heard.size - at >= 4) {
        size_t size = get_be32(world->heard.data + at);
        CHECK(size >= 10 && size < 1 << 20);
        if (world->heard.size - at - 4 < size) break;
        CHECK(api_of((int16_t)get_be16(world->heard.data + at + 4)) != NULL);
        CHECK(world->id_count < CALL_COUNT + 2);
        world->correlation_ids[world->id_count++] = (int32_t)get_be32(world->heard.data + at + 8);
        at += 4 + size;
    }
    if (at > 0) memmove(world->heard.data, world->heard.data + at, world->heard.size - at);
    world->heard.size -= at;
}

static void on_broker_closed(void *context, enum error err)
{
    struct world *world = context;
    stream_close(&world->broker);
}

static void on_accept(void *context, struct stream *stream)
{
    static const struct stream_events events = {on_broker_readable, NULL, on_broker_closed};
    struct world *world = context;
    world->broker = stream;
    stream_set_events(stream, &events, world);
    stream_set_reading(stream, true);
}

static void say(struct world *world, struct text *bytes)
{
    if (world->broker && stream_write(world->broker, bytes_copy(bytes->data ? bytes->data : "", bytes->size),
                                      0, bytes->size) != OK)
        stream_close(&world->broker);
    text_free(bytes);
}

static void answer(struct world *world, struct slice body)
{
    if (world->answered >= world->id_count) return;
    struct text out = {0};
    text_add_be32(&out, (uint32_t)(4 + body.size));
    text_add_be32(&out, (uint32_t)world->correlation_ids[world->answered++]);
    text_add(&out, body);
    say(world, &out);
}

/* Every api in every version that there is, so that the newest answers are the ones that are read. */
static void greet(struct world *world, int16_t highest)
{
    struct api_versions_response_api_version versions[128];
    struct api_versions_response response;
    message_init(&api_versions_response_type, &response);
    const struct api *api;
    for (int32_t i = 0; i < 128 && (api = api_at((size_t)i)); i++) {
        message_init(&api_versions_response_type, &response);
        versions[i] = (struct api_versions_response_api_version){.api_key = api->key, .max_version = highest};
        response.api_keys.count = i + 1;
    }
    response.api_keys.items = versions;
    size_t size = message_size(&api_versions_response_type, 3, &response);
    CHECK(size != SIZE_MAX);
    uint8_t *body = malloc(size);
    CHECK(message_encode(&api_versions_response_type, 3, &response, body, NULL) == size);
    answer(world, (struct slice){body, size});
    free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    struct sim *sim;
    struct sim_machine *machine;
    struct loop *loop;
    struct world world = {0};
    CHECK(sim_new(1, &sim) == OK);
    CHECK(sim_machine_new(sim, "10.0.0.1", &machine) == OK);
    CHECK(sim_loop_new(machine, &loop) == OK);
    CHECK(stream_listen(loop, "", PORT, 5, on_accept, &world, &world.listener) == OK);
    const struct connection_options options = {.timeout_ms = 1000,
                                               .max_frame_size = 1 << 16,
                                               .on_open = on_open,
                                               .on_closed = on_closed,
                                               .context = &world};
    CHECK(connection_open(loop, "10.0.0.1", PORT, &options, &world.connection) == OK);
    sim_run_ms(sim, 20);
    if (data[0] & 1) greet(&world, data[0] >> 1);
    sim_run_ms(sim, 20);
    struct slice in = {data + 1, size - 1};
    while (in.size >= 2) {
        uint8_t choice = in.data[0] % 8;
        size_t body_size = choice == 7 ? 0 : in.data[1];
        in = (struct slice){in.data + 2, in.size - 2};
        if (body_size > in.size) body_size = in.size;
        struct slice body = {in.data, body_size};
        in = (struct slice){in.data + body_size, in.size - body_size};
        struct text raw = {0};
        if (choice < 5)
            answer(&world, body);
        else if (choice == 5)
            text_add(&raw, body), say(&world, &raw);
        else if (choice == 6)
            sim_run_ms(sim, (int64_t)body_size);
        else
            stream_close(&world.broker);
        sim_run_ms(sim, 5);
    }
    sim_run_ms(sim, 2000); /* every timeout has passed */
    CHECK(world.opened == 1);
    CHECK(world.done == world.accepted);
    connection_close(&world.connection);
    stream_close(&world.broker);
    listener_close(&world.listener);
    text_free(&world.heard);
    loop_free(loop);
    sim_free(sim);
    return 0;
}
