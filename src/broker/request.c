#include "broker/request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "broker/channel.h"
#include "storage/log.h"
#include "wire/messages.h"

enum {
    FREE_REQUESTS_KEPT = 64,
    DECODED_BYTES_PER_FRAME_BYTE = 16, /* the worst that honest requests need is about 6 */
    DECODED_BYTES_LEAST = 64 * 1024,
    API_VERSIONS = 18,
};

struct request *request_new(struct broker_loop *home)
{
    struct request *request = home->free_requests;
    struct arena arena;
    if (request) {
        home->free_requests = request->work;
        home->free_request_count--;
        arena = request->arena;
    } else {
        request = malloc(sizeof *request);
        if (!request) return NULL;
        arena_init(&arena, 0);
    }
    memset(request, 0, sizeof *request);
    request->arena = arena;
    request->home = home;
    list_init(&request->link);
    return request;
}

static void drop_slices(struct request *request)
{
    for (size_t i = 0; i < request->splices.count; i++) log_slice_release(request->splices.items[i].external);
    request->splices.count = 0;
}

void request_free(struct request *request)
{
    struct broker_loop *home = request->home;
    struct broker *broker = home->broker;
    bytes_release(&request->answer);
    drop_slices(request);
    if (request->frame_is_mapped) frame_memory_put(&home->frames, request->frame, request->frame_size);
    if (request->held_bytes > 0) budget_release(&broker->budget, request->held_bytes, request->held_as_large);
    if (request->held_extra_bytes > 0) budget_release(&broker->budget, request->held_extra_bytes, false);
    bool held = request->held_bytes > 0;
    list_remove(&request->link);
    if (home->free_request_count < FREE_REQUESTS_KEPT) {
        arena_reset(&request->arena);
        request->work = home->free_requests;
        home->free_requests = request;
        home->free_request_count++;
    } else {
        arena_free(&request->arena);
        free(request);
    }
    if (held) channel_feed(broker);
}

void request_account(struct request *request)
{
    if (!request->api || request->started_us == 0) return;
    struct broker *broker = request->home->broker;
    struct api_metrics *metrics = &broker->api_metrics[request->api - broker->apis];
    int64_t now_us = loop_clock_us(request->home->loop);
    counter_add(metrics->requests, 1);
    histogram_record(metrics->total, now_us - request->read_us);
    histogram_record(metrics->queue, request->started_us - request->read_us);
    histogram_record(metrics->local, request->answered_us - request->started_us);
}

/* --- the header --- */

static bool is_flexible_header(int16_t key, int16_t version)
{
    return api_request_header_version(key, version) >= 2;
}

enum error request_read_header(struct request *request, struct decode_fault *fault)
{
    struct slice in = {request->frame, request->frame_size};
    if (in.size < 8) return ERR_TRUNCATED;
    int16_t key = (int16_t)get_be16(in.data);
    request->version = (int16_t)get_be16(in.data + 2);
    request->api = broker_api(request->home->broker, key);
    if (!request->api) return ERR_UNSUPPORTED;
    bool is_served =
        request->version >= request->api->served_from && request->version <= request->api->max_version;
    if (!is_served && key != API_VERSIONS) return ERR_UNSUPPORTED;

    /* The body of an ApiVersions request of another version is not looked at, but its header is: from version 3 on it is
     * of the flexible kind (facts 4.1). */
    bool is_flexible =
        key == API_VERSIONS ? request->version >= 3 : is_flexible_header(key, request->version);
    struct request_header header;
    size_t consumed = 0;
    bool has_client_id = api_request_header_version(key, request->version) > 0;
    enum error err = request_header_decode(!has_client_id ? 0
                                           : is_flexible  ? 2
                                                          : 1,
                                           in, &request->arena, &header, &consumed, fault);
    if (err != OK) return err;
    request->correlation_id = header.correlation_id;
    request->client_id = header.client_id.data ? header.client_id : SLICE("");
    request->body_at = consumed;

    const struct channel *channel = request->channel;
    request->security = (struct security_context){.principal = PRINCIPAL_ANONYMOUS,
                                                  .host = slice_of(channel->peer.host),
                                                  .listener = channel->listener->name};
    return OK;
}

bool request_is_unknown_api_versions(const struct request *request)
{
    return request->api->key == API_VERSIONS &&
           (request->version < request->api->min_version || request->version > request->api->max_version);
}

/* --- running --- */

static size_t decode_limit(const struct request *request)
{
    size_t most = (size_t)request->home->broker->budget.limit_bytes;
    size_t limit = DECODED_BYTES_LEAST + request->frame_size * DECODED_BYTES_PER_FRAME_BYTE;
    return limit < most ? limit : most;
}

void request_start(struct request *request)
{
    struct broker_loop *home = request->home;
    request->state = REQUEST_RUNNING;
    request->started_us = loop_clock_us(home->loop);
    if (request_is_unknown_api_versions(request)) {
        request->api->handler(request, NULL);
        return;
    }

    const struct message_type *type = request->api->api->request;
    void *body = arena_alloc(&request->arena, message_struct_size(type));
    if (!body) {
        request_close(request);
        return;
    }
    size_t before = request->arena.used_bytes;
    request->arena.limit_bytes = before + decode_limit(request);
    struct slice in = {request->frame + request->body_at, request->frame_size - request->body_at};
    struct decode_fault fault = {{0}};
    enum error err = message_decode(type, request->version, in, &request->arena, body, NULL, &fault);
    request->arena.limit_bytes = 0;
    size_t decoded = request->arena.used_bytes - before;
    if (decoded > CHANNEL_SCRATCH_SIZE) {
        budget_force(&home->broker->budget, decoded);
        request->held_extra_bytes = decoded;
    }
    if (err != OK) {
        counter_add(home->broker->counters.frames_refused, 1);
        diag_debug("closing connection of %.*s: %s v%d: %s", SLICE_ARG(request->security.host),
                   request->api->name, request->version, fault.text[0] ? fault.text : error_text(err));
        request_close(request);
        return;
    }
    request->api->handler(request, body);
}

/* Home loop: the connection writes it in its turn, or it goes nowhere. */
static void ended(struct request *request)
{
    request->state = REQUEST_ANSWERED;
    request->cancel = NULL;
    if (request->channel)
        channel_answered(request->channel);
    else
        request_free(request);
}

static void ended_elsewhere(struct loop_message *message)
{
    ended(CONTAINER_OF(message, struct request, message));
}

static void end(struct request *request)
{
    request->answered_us = loop_clock_us(request->home->loop);
    if (loop_is_current(request->home->loop)) {
        ended(request);
        return;
    }
    request->message.run = ended_elsewhere;
    loop_post(request->home->loop, &request->message);
}

/* external_bytes: what slices stand for, which is not written here. */
static enum error encode(struct request *request, const void *response, struct splices *splices,
                         size_t external_bytes)
{
    const struct message_type *type = request->api->api->response;
    int16_t key = request->api->key;
    /* ApiVersions is always answered with the old header, whatever its body (KIP-511). */
    int16_t header_version = key == API_VERSIONS ? 0 : api_response_header_version(key, request->version);
    int16_t version = key == API_VERSIONS && request_is_unknown_api_versions(request) ? 0 : request->version;

    size_t header_size = header_version > 0 ? 5 : 4;
    size_t body_size = message_size(type, version, response);
    if (body_size == SIZE_MAX || body_size > INT32_MAX - header_size) return ERR_TOO_LARGE;
    struct bytes *answer = bytes_new(4 + header_size + body_size - external_bytes);
    if (!answer) return ERR_NOMEM;
    put_be32(answer->data, (uint32_t)(header_size + body_size));
    put_be32(answer->data + 4, (uint32_t)request->correlation_id);
    if (header_version > 0) answer->data[8] = 0;
    size_t written = message_encode(type, version, response, answer->data + 4 + header_size, splices);
    assert(written == body_size - external_bytes);
    answer->size = 4 + header_size + written;
    for (size_t i = 0; splices && i < splices->count; i++) splices->items[i].at += 4 + header_size;
    request->answer = answer;
    return OK;
}

void request_answer(struct request *request, const void *response)
{
    if (encode(request, response, NULL, 0) != OK) {
        diag_error("could not encode the answer to %s v%d", request->api->name, request->version);
        request->must_close = true;
    }
    end(request);
}

enum error request_answer_with_slices(struct request *request, const void *response, size_t slice_count,
                                      size_t slice_bytes)
{
    struct splices splices = {.items = arena_array(&request->arena, slice_count, sizeof *splices.items),
                              .capacity = slice_count};
    if (!splices.items) return ERR_NOMEM;
    enum error err = encode(request, response, &splices, slice_bytes);
    if (err != OK) return err;
    request->splices = splices;
    end(request);
    return OK;
}

void request_done(struct request *request)
{
    end(request);
}

void request_close(struct request *request)
{
    request->must_close = true;
    end(request);
}

static void step_run(struct loop_message *message)
{
    struct request *request = CONTAINER_OF(message, struct request, message);
    request->step(request);
}

void request_run_on(struct request *request, struct loop *loop, void (*step)(struct request *request))
{
    if (loop_is_current(loop)) {
        step(request);
        return;
    }
    request->step = step;
    request->message.run = step_run;
    loop_post(loop, &request->message);
}

void *request_alloc(struct request *request, size_t count, size_t size)
{
    void *memory = arena_array(&request->arena, count, size);
    if (memory) memset(memory, 0, count * size);
    return memory;
}

bool request_may(const struct request *request, enum acl_operation operation, enum acl_resource resource,
                 struct slice name)
{
    return authorize(&request->security, operation, resource, name);
}

const struct image *request_image(const struct request *request)
{
    return metadata_view_image(request->home->view);
}

struct broker *request_broker(const struct request *request)
{
    return request->home->broker;
}
