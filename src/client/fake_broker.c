#include "client/fake_broker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "loop/stream.h"
#include "wire/message.h"
#include "wire/messages.h"

enum { API_VERSIONS = 18, BUFFER = 4 << 20 };

struct guest {
    struct list link;
    struct fake_broker *fake;
    struct stream *stream;
    uint8_t *buffer;
    size_t filled;
};

struct fake_broker {
    struct loop *loop;
    struct listener *listener;
    void (*respond)(void *context, struct fake_request *request);
    void *context;
    struct list guests;
    int connections;
};

static void leave(struct guest *guest)
{
    list_remove(&guest->link);
    stream_close(&guest->stream);
    free(guest->buffer);
    free(guest);
}

static void list_all_apis(struct fake_request *request)
{
    struct api_versions_response *response = request->response;
    int32_t count = 0;
    while (api_at((size_t)count)) count++;
    response->api_keys.items = arena_array(request->arena, (size_t)count, sizeof *response->api_keys.items);
    assert(response->api_keys.items);
    response->api_keys.count = count;
    for (int32_t i = 0; i < count; i++) {
        const struct api *api = api_at((size_t)i);
        api_versions_response_api_version_init(&response->api_keys.items[i]);
        response->api_keys.items[i].api_key = api->key;
        response->api_keys.items[i].min_version = api->min_version;
        response->api_keys.items[i].max_version = api->max_version;
    }
}

static bool send_answer(struct guest *guest, const struct fake_request *request, int32_t correlation_id)
{
    const struct message_type *type = api_of(request->api_key)->response;
    size_t header = api_response_header_version(request->api_key, request->version) >= 1 ? 5 : 4;
    size_t body = message_size(type, request->version, request->response);
    assert(body != SIZE_MAX);
    struct bytes *frame = bytes_new(4 + header + body);
    assert(frame);
    put_be32(frame->data, (uint32_t)(header + body));
    put_be32(frame->data + 4, (uint32_t)correlation_id);
    if (header == 5) frame->data[8] = 0; /* no tags */
    message_encode(type, request->version, request->response, frame->data + 4 + header, NULL);
    frame->size = 4 + header + body;
    return stream_write(guest->stream, frame, 0, frame->size) == OK;
}

/* False: the connection is to be closed. */
static bool take_frame(struct guest *guest, struct slice frame)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct request_header header;
    size_t used = 0;
    int16_t key = (int16_t)get_be16(frame.data), version = (int16_t)get_be16(frame.data + 2);
    const struct api *api = api_of(key);
    assert(api);
    enum error err = message_decode(&request_header_type, api_request_header_version(key, version), frame,
                                    &arena, &header, &used, NULL);
    assert(err == OK);
    struct fake_request request = {.api_key = key, .version = version, .arena = &arena};
    void *body = arena_zalloc(&arena, message_struct_size(api->request));
    request.response = arena_zalloc(&arena, message_struct_size(api->response));
    assert(body && request.response);
    err = message_decode(api->request, version, (struct slice){frame.data + used, frame.size - used}, &arena,
                         body, NULL, NULL);
    assert(err == OK);
    message_init(api->response, request.response);
    request.body = body;
    if (key == API_VERSIONS)
        list_all_apis(&request);
    else
        guest->fake->respond(guest->fake->context, &request);
    bool stays = !request.hangs_up;
    if (stays && !request.is_silent) stays = send_answer(guest, &request, header.correlation_id);
    arena_free(&arena);
    return stays;
}

static void on_readable(void *context)
{
    struct guest *guest = context;
    size_t got = 0;
    while (stream_read(guest->stream, guest->buffer + guest->filled, BUFFER - guest->filled, &got) == OK) {
        guest->filled += got;
        while (guest->filled >= 4 && guest->filled >= 4 + (size_t)get_be32(guest->buffer)) {
            size_t size = get_be32(guest->buffer);
            bool stays = take_frame(guest, (struct slice){guest->buffer + 4, size});
            guest->filled -= 4 + size;
            memmove(guest->buffer, guest->buffer + 4 + size, guest->filled);
            if (!stays) {
                leave(guest);
                return;
            }
        }
    }
}

static void on_closed(void *context, enum error err)
{
    (void)err;
    leave(context);
}

static void on_accept(void *context, struct stream *stream)
{
    static const struct stream_events events = {.on_readable = on_readable, .on_closed = on_closed};
    struct fake_broker *fake = context;
    struct guest *guest = calloc(1, sizeof *guest);
    assert(guest);
    *guest = (struct guest){.fake = fake, .stream = stream, .buffer = malloc(BUFFER)};
    assert(guest->buffer);
    list_push_back(&fake->guests, &guest->link);
    fake->connections++;
    stream_set_events(stream, &events, guest);
    stream_set_reading(stream, true);
}

enum error fake_broker_open(struct loop *loop, const char *host, uint16_t port,
                            void (*respond)(void *context, struct fake_request *request), void *context,
                            struct fake_broker **fake)
{
    struct fake_broker *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    *made = (struct fake_broker){.loop = loop, .respond = respond, .context = context};
    list_init(&made->guests);
    enum error err = stream_listen(loop, host, port, 16, on_accept, made, &made->listener);
    if (err == OK)
        *fake = made;
    else
        free(made);
    return err;
}

void fake_broker_hang_up(struct fake_broker *fake)
{
    while (!list_empty(&fake->guests)) leave(CONTAINER_OF(fake->guests.next, struct guest, link));
}

void fake_broker_close(struct fake_broker **fake)
{
    if (!*fake) return;
    fake_broker_hang_up(*fake);
    listener_close(&(*fake)->listener);
    free(*fake);
    *fake = NULL;
}

int fake_broker_connections(const struct fake_broker *fake)
{
    return fake->connections;
}
