#include "client/connection.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "wire/message.h"
#include "wire/messages.h"

enum {
    API_PRODUCE = 0,
    API_VERSIONS = 18,
    MAX_KEYS = 256,
    DEFAULT_MAX_FRAME = 100 * 1024 * 1024,
    FIRST_READ = 4096,
    ARENA_LIMIT = 512 * 1024 * 1024,
};

struct version_range {
    int16_t min, max; /* max < min: the broker does not have it */
};

struct connection {
    struct loop *loop;
    struct connecting *connecting;
    struct stream *stream;
    struct connection_options options;
    char *client_id, *name;
    bool is_open, is_in_callback, is_dead;
    int32_t next_correlation_id;
    struct list calls; /* in flight, oldest first */
    size_t call_count;
    struct version_range versions[MAX_KEYS];
    struct call hello;
    int16_t hello_version;
    struct loop_timer hello_timer;
    /* the frame being read: size prefix first */
    uint8_t *buffer;
    size_t filled, capacity;
    struct arena arena;
};

static void fail(struct connection *connection, enum error err);
static void say_hello(struct connection *connection, int16_t version);

static void release(struct connection *connection)
{
    arena_free(&connection->arena);
    free(connection->buffer);
    free(connection->client_id);
    free(connection->name);
    free(connection);
}

static void end_call(struct connection *connection, struct call *call, enum error err, int16_t version,
                     const void *response)
{
    list_remove(&call->link);
    connection->call_count--;
    loop_timer_stop(connection->loop, &call->timer);
    call->connection = NULL;
    call->done(call, err, version, response);
}

/* Ends everything; the struct itself goes once no callback of ours is on the stack. */
static void shut(struct connection *connection, enum error err)
{
    connection->is_dead = true;
    connection->is_open = false;
    loop_timer_stop(connection->loop, &connection->hello_timer);
    if (connection->connecting) stream_connect_cancel(&connection->connecting);
    if (connection->stream) stream_close(&connection->stream);
    while (!list_empty(&connection->calls)) {
        end_call(connection, CONTAINER_OF(connection->calls.next, struct call, link), err, -1, NULL);
    }
}

void connection_close(struct connection **connection)
{
    struct connection *closing = *connection;
    *connection = NULL;
    if (!closing) return;
    closing->options.on_open = NULL;
    closing->options.on_closed = NULL;
    bool is_nested = closing->is_in_callback;
    closing->is_in_callback = true;
    if (!closing->is_dead) shut(closing, ERR_CLOSED);
    closing->is_in_callback = is_nested;
    closing->options.context = closing; /* marks: the owner is gone */
    if (!is_nested) release(closing);
}

static bool owner_is_gone(const struct connection *connection)
{
    return connection->options.context == connection;
}

/* Leaves a callback section; frees when the owner closed meanwhile. False when the connection is gone. */
static bool leave(struct connection *connection)
{
    connection->is_in_callback = false;
    if (!owner_is_gone(connection)) return !connection->is_dead;
    release(connection);
    return false;
}

static void fail(struct connection *connection, enum error err)
{
    bool was_open = connection->is_open;
    shut(connection, err == ERR_EOF ? ERR_CLOSED : err);
    if (owner_is_gone(connection)) return;
    void (*tell)(void *, enum error) = was_open ? connection->options.on_closed : connection->options.on_open;
    connection->options.on_open = connection->options.on_closed = NULL;
    if (tell) tell(connection->options.context, err);
}

static void call_timed_out(struct loop_timer *timer)
{
    struct call *call = CONTAINER_OF(timer, struct call, timer);
    struct connection *connection = call->connection;
    /* Answers come in order, so a lost one blocks all that follow: the connection is of no more use. */
    connection->is_in_callback = true;
    end_call(connection, call, ERR_TIMED_OUT, call->version, NULL);
    if (!connection->is_dead) fail(connection, ERR_TIMED_OUT);
    leave(connection);
}

int16_t connection_version(const struct connection *connection, int16_t api_key, int16_t max_version)
{
    const struct api *api = api_of(api_key);
    if (!api || api_key < 0 || api_key >= MAX_KEYS) return -1;
    if (connection->options.is_unnegotiated)
        return max_version >= api->min_version && max_version <= api->max_version ? max_version : -1;
    struct version_range range = connection->versions[api_key];
    int16_t highest = api->max_version < range.max ? api->max_version : range.max;
    if (max_version >= 0 && max_version < highest) highest = max_version;
    int16_t lowest = api->min_version > range.min ? api->min_version : range.min;
    return highest >= lowest ? highest : -1;
}

static enum error send_version(struct connection *connection, int16_t api_key, int16_t version,
                               const void *request, struct call *call)
{
    const struct api *api = api_of(api_key);
    int16_t header_version = api_request_header_version(api_key, version);
    size_t id_size = strlen(connection->client_id);
    size_t header_size = 10 + id_size + (header_version >= 2 ? 1 : 0);
    size_t body_size = message_size(api->request, version, request);
    if (body_size == SIZE_MAX || header_size + body_size > INT32_MAX) return ERR_UNSUPPORTED_VERSION;

    struct bytes *frame = bytes_new(4 + header_size + body_size);
    if (!frame) return ERR_NOMEM;
    uint8_t *out = frame->data;
    call->api_key = api_key;
    call->version = version;
    call->correlation_id = connection->next_correlation_id++;
    if (connection->next_correlation_id < 0) connection->next_correlation_id = 0;
    put_be32(out, (uint32_t)(header_size + body_size));
    put_be16(out + 4, (uint16_t)api_key);
    put_be16(out + 6, (uint16_t)version);
    put_be32(out + 8, (uint32_t)call->correlation_id);
    put_be16(out + 12, (uint16_t)id_size);
    memcpy(out + 14, connection->client_id, id_size);
    if (header_version >= 2) out[14 + id_size] = 0; /* no tags */
    frame->size =
        4 + header_size + message_encode(api->request, version, request, out + 4 + header_size, NULL);
    assert(frame->size == frame->capacity);
    enum error err = stream_write(connection->stream, frame, 0, frame->size);
    if (err != OK) return err;

    call->connection = connection;
    list_push_back(&connection->calls, &call->link);
    connection->call_count++;
    call->timer = (struct loop_timer){.run = call_timed_out};
    if (call->timeout_ms > 0) loop_timer_start(connection->loop, &call->timer, call->timeout_ms);
    return OK;
}

enum error connection_send(struct connection *connection, int16_t api_key, const void *request,
                           struct call *call)
{
    if (!connection->is_open) return ERR_CLOSED;
    if (connection->call_count >= CONNECTION_MAX_CALLS) return ERR_LIMIT;
    int16_t version = connection_version(connection, api_key, call->max_version);
    if (version < 0) return ERR_UNSUPPORTED_VERSION;
    bool has_answer = api_key != API_PRODUCE || ((const struct produce_request *)request)->acks != 0;
    enum error err = send_version(connection, api_key, version, request, call);
    if (err == OK && !has_answer) end_call(connection, call, OK, version, NULL);
    return err;
}

bool connection_is_open(const struct connection *connection)
{
    return connection->is_open;
}

const char *connection_name(const struct connection *connection)
{
    return connection->name;
}

/* --- ApiVersions --- */

static void opened(struct connection *connection)
{
    loop_timer_stop(connection->loop, &connection->hello_timer);
    connection->is_open = true;
    void (*tell)(void *, enum error) = connection->options.on_open;
    connection->options.on_open = NULL;
    if (tell) tell(connection->options.context, OK);
}

static void hello_done(struct call *call, enum error err, int16_t version, const void *response)
{
    struct connection *connection = call->context;
    if (err != OK) return; /* fail() tells the owner */
    const struct api_versions_response *answer = response;
    if (answer->error_code == 35 && connection->hello_version > 0) {
        say_hello(connection, 0); /* an old broker answers in version 0, whatever was asked (KIP-511) */
        return;
    }
    if (answer->error_code != 0) {
        fail(connection, error_from_kafka(answer->error_code));
        return;
    }
    for (int32_t i = 0; i < answer->api_keys.count; i++) {
        int16_t key = answer->api_keys.items[i].api_key;
        if (key < 0 || key >= MAX_KEYS) continue;
        connection->versions[key] = (struct version_range){answer->api_keys.items[i].min_version,
                                                           answer->api_keys.items[i].max_version};
    }
    opened(connection);
}

static void say_hello(struct connection *connection, int16_t version)
{
    struct api_versions_request request;
    message_init(&api_versions_request_type, &request);
    request.client_software_name = SLICE("odradek");
    request.client_software_version = SLICE(ODRADEK_VERSION);
    connection->hello_version = version;
    connection->hello = (struct call){.done = hello_done, .context = connection, .max_version = -1};
    enum error err = send_version(connection, API_VERSIONS, version, &request, &connection->hello);
    if (err != OK) fail(connection, err);
}

/* --- reading --- */

/* One whole frame without its size. False when the connection is to be failed with *err. */
static bool take_frame(struct connection *connection, struct slice frame, enum error *err)
{
    *err = ERR_CORRUPT;
    if (frame.size < 4 || list_empty(&connection->calls)) return false;
    struct call *call = CONTAINER_OF(connection->calls.next, struct call, link);
    if ((int32_t)get_be32(frame.data) != call->correlation_id) return false;

    const struct api *api = api_of(call->api_key);
    int16_t version = call->version;
    struct slice body = {frame.data + 4, frame.size - 4};
    arena_reset(&connection->arena);
    if (api_response_header_version(call->api_key, version) >= 1) {
        struct response_header header;
        size_t used = 0;
        *err = message_decode(&response_header_type, 1, frame, &connection->arena, &header, &used, NULL);
        if (*err != OK) return false;
        body = (struct slice){frame.data + used, frame.size - used};
    }
    bool is_refused = call->api_key == API_VERSIONS && body.size >= 2 && get_be16(body.data) == 35;
    if (is_refused) version = 0;
    void *response = arena_zalloc(&connection->arena, message_struct_size(api->response));
    *err = response ? message_decode(api->response, version, body, &connection->arena, response, NULL, NULL)
                    : ERR_NOMEM;
    if (*err != OK) return false;
    end_call(connection, call, OK, version, response);
    return true;
}

static enum error read_frames(struct connection *connection)
{
    for (;;) {
        size_t wanted = FIRST_READ;
        if (connection->filled >= 4) {
            uint32_t size = get_be32(connection->buffer);
            if (size > connection->options.max_frame_size) return ERR_TOO_LARGE;
            wanted = 4 + (size_t)size;
        }
        if (wanted < FIRST_READ) wanted = FIRST_READ;
        if (connection->capacity < wanted) {
            /* Memory as bytes come: at most double what has arrived. */
            size_t grown = connection->filled * 2 > FIRST_READ ? connection->filled * 2 : FIRST_READ;
            if (grown > wanted) grown = wanted;
            if (grown > connection->capacity) {
                uint8_t *moved = realloc(connection->buffer, grown);
                if (!moved) return ERR_NOMEM;
                connection->buffer = moved;
                connection->capacity = grown;
            }
        }
        size_t got = 0;
        enum error err = stream_read(connection->stream, connection->buffer + connection->filled,
                                     connection->capacity - connection->filled, &got);
        if (err == ERR_AGAIN) return OK;
        if (err != OK) return err;
        connection->filled += got;

        size_t taken = 0;
        while (connection->filled - taken >= 4) {
            uint32_t size = get_be32(connection->buffer + taken);
            if (size > connection->options.max_frame_size) return ERR_TOO_LARGE;
            if (connection->filled - taken - 4 < size) break;
            struct slice frame = {connection->buffer + taken + 4, size};
            if (!take_frame(connection, frame, &err)) return err;
            if (connection->is_dead) return OK;
            taken += 4 + (size_t)size;
        }
        memmove(connection->buffer, connection->buffer + taken, connection->filled - taken);
        connection->filled -= taken;
    }
}

static void on_readable(void *context)
{
    struct connection *connection = context;
    connection->is_in_callback = true;
    enum error err = read_frames(connection);
    if (err != OK && !connection->is_dead) fail(connection, err);
    leave(connection);
}

static void on_stream_closed(void *context, enum error err)
{
    struct connection *connection = context;
    connection->is_in_callback = true;
    if (!connection->is_dead) fail(connection, err);
    leave(connection);
}

static void hello_timed_out(struct loop_timer *timer)
{
    struct connection *connection = CONTAINER_OF(timer, struct connection, hello_timer);
    connection->is_in_callback = true;
    fail(connection, ERR_TIMED_OUT);
    leave(connection);
}

static void on_connected(void *context, enum error err, struct stream *stream)
{
    static const struct stream_events events = {.on_readable = on_readable, .on_closed = on_stream_closed};
    struct connection *connection = context;
    connection->connecting = NULL;
    connection->is_in_callback = true;
    if (err != OK) {
        fail(connection, err);
    } else {
        connection->stream = stream;
        stream_set_events(stream, &events, connection);
        stream_set_reading(stream, true);
        if (connection->options.is_unnegotiated)
            opened(connection);
        else
            say_hello(connection, 3);
    }
    leave(connection);
}

enum error connection_open(struct loop *loop, const char *host, uint16_t port,
                           const struct connection_options *options, struct connection **connection)
{
    struct connection *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    made->loop = loop;
    made->options = *options;
    if (made->options.max_frame_size == 0) made->options.max_frame_size = DEFAULT_MAX_FRAME;
    list_init(&made->calls);
    arena_init(&made->arena, ARENA_LIMIT);
    made->hello_timer.run = hello_timed_out;
    for (int i = 0; i < MAX_KEYS; i++) made->versions[i] = (struct version_range){0, -1};
    made->client_id = strdup(options->client_id ? options->client_id : "odradek");
    size_t name_size = strlen(host) + 8;
    made->name = malloc(name_size);
    if (!made->client_id || !made->name || strlen(made->client_id) > INT16_MAX) {
        release(made);
        return ERR_NOMEM;
    }
    snprintf(made->name, name_size, "%s:%u", host, port);
    enum error err =
        stream_connect(loop, host, port, options->timeout_ms, on_connected, made, &made->connecting);
    if (err != OK) {
        release(made);
        return err;
    }
    if (options->timeout_ms > 0) loop_timer_start(loop, &made->hello_timer, options->timeout_ms);
    *connection = made;
    return OK;
}
