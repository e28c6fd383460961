#include "metadata/controller_link.h"

#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "client/connection.h"
#include "loop/loop.h"
#include "metadata/metadata.h"
#include "wire/message.h"
#include "wire/messages.h"

enum {
    API_CONTROLLED_SHUTDOWN = 7,
    API_ALTER_PARTITION = 56,
    API_ALLOCATE_PRODUCER_IDS = 67,
    KAFKA_NOT_CONTROLLER = 41,
    PAUSE_MS = 50, /* and up to as much again */
};

/* A call on its way. It outlives the call, when that is given up, and even the link: somebody still holds its request. */
struct controller_link_flight {
    struct list in_air;
    struct controller_link *link;      /* NULL: freed */
    struct controller_link_call *call; /* NULL: given up */
    struct call wire;
    struct controller_link_local local;
    struct arena arena;
};

struct controller_link {
    struct controller_link_options options;
    char *listener;
    struct list waiting, in_air; /* struct controller_link_call, struct controller_link_flight */
    struct connection *connection;
    int32_t connected_to; /* broker id */
    int64_t next_try_ms;
    bool has_warned, is_freed;
    struct loop_timer timer;
    struct metadata_listener on_image;
};

static int64_t now_ms(const struct controller_link *link)
{
    return loop_now_ms(link->options.loop);
}

/* When there is next something to do: to try again, or to give up. */
static void schedule(struct controller_link *link)
{
    int64_t due_ms = list_empty(&link->waiting) ? INT64_MAX : link->next_try_ms;
    LIST_EACH(&link->waiting, item)
    {
        int64_t end_ms = CONTAINER_OF(item, struct controller_link_call, in_line)->give_up_ms;
        if (end_ms < due_ms) due_ms = end_ms;
    }
    LIST_EACH(&link->in_air, item)
    {
        struct controller_link_call *call = CONTAINER_OF(item, struct controller_link_flight, in_air)->call;
        if (call && call->give_up_ms < due_ms) due_ms = call->give_up_ms;
    }
    if (due_ms == INT64_MAX)
        loop_timer_stop(link->options.loop, &link->timer);
    else
        loop_timer_start(link->options.loop, &link->timer, due_ms - now_ms(link));
}

static void pause_before_next(struct controller_link *link)
{
    uint8_t random;
    loop_random(link->options.loop, &random, sizeof random);
    link->next_try_ms = now_ms(link) + PAUSE_MS + random % (PAUSE_MS + 1);
    schedule(link);
}

/* --- answers --- */

static void flight_free(struct controller_link_flight *flight)
{
    list_remove(&flight->in_air);
    arena_free(&flight->arena);
    free(flight);
}

static int16_t error_code_of(int16_t api_key, const void *response)
{
    switch (api_key) {
    case API_CONTROLLED_SHUTDOWN: return ((const struct controlled_shutdown_response *)response)->error_code;
    case API_ALTER_PARTITION: return ((const struct alter_partition_response *)response)->error_code;
    case API_ALLOCATE_PRODUCER_IDS:
        return ((const struct allocate_producer_ids_response *)response)->error_code;
    default: return 0;
    }
}

static void landed(struct controller_link_flight *flight, enum error err, int16_t version,
                   const void *response)
{
    struct controller_link *link = flight->link;
    struct controller_link_call *call = flight->call;
    if (!call) {
        flight_free(flight);
        return;
    }
    call->flight = NULL;
    bool is_final = err == ERR_UNSUPPORTED_VERSION || err == ERR_NOMEM ||
                    (err == OK && error_code_of(call->api_key, response) != KAFKA_NOT_CONTROLLER);
    if (is_final) {
        if (err == OK) link->has_warned = false;
        call->done(call, err, version, response);
    } else {
        list_push_back(&link->waiting, &call->in_line);
        pause_before_next(link);
    }
    flight_free(flight);
}

static void answered(struct call *wire, enum error err, int16_t version, const void *response)
{
    landed(CONTAINER_OF(wire, struct controller_link_flight, wire), err, version, response);
}

static void answered_here(struct controller_link_local *local)
{
    landed(CONTAINER_OF(local, struct controller_link_flight, local), local->err, local->version,
           local->response);
}

/* --- sending --- */

/* The own controller gets a copy, so that a call may be given up while it is at work. */
static enum error copy_for_local(struct controller_link_flight *flight,
                                 const struct controller_link_call *call)
{
    const struct api *api = api_of(call->api_key);
    if (!api || call->max_version < api->min_version || call->max_version > api->max_version)
        return ERR_UNSUPPORTED_VERSION;
    void *request = arena_zalloc(&flight->arena, message_struct_size(api->request));
    void *response = arena_zalloc(&flight->arena, message_struct_size(api->response));
    if (!request || !response) return ERR_NOMEM;
    message_init(api->response, response);
    flight->local = (struct controller_link_local){.api_key = call->api_key,
                                                   .version = call->max_version,
                                                   .request = request,
                                                   .arena = &flight->arena,
                                                   .response = response,
                                                   .done = answered_here};
    return message_copy(api->request, call->max_version, call->request, &flight->arena, request);
}

/* ERR_LIMIT: the connection is full; the call goes on waiting. */
static enum error fly(struct controller_link *link, struct controller_link_call *call, bool is_local)
{
    struct controller_link_flight *flight = calloc(1, sizeof *flight);
    enum error err = flight ? OK : ERR_NOMEM;
    if (err == OK) {
        arena_init(&flight->arena, 0);
        flight->link = link;
        flight->call = call;
        flight->wire = (struct call){
            .done = answered, .max_version = call->max_version, .timeout_ms = link->options.timeout_ms};
        list_init(&flight->in_air);
        err = is_local ? copy_for_local(flight, call)
                       : connection_send(link->connection, call->api_key, call->request, &flight->wire);
        if (err == ERR_LIMIT || err == ERR_CLOSED) {
            flight_free(flight);
            return err;
        }
    }
    list_remove(&call->in_line);
    if (err != OK) {
        if (flight) flight_free(flight);
        call->done(call, err, -1, NULL);
        return OK;
    }
    list_push_back(&link->in_air, &flight->in_air);
    call->flight = flight;
    if (is_local) link->options.local(link->options.context, &flight->local);
    return OK;
}

/* What waits now; what comes back meanwhile waits for its next try. */
static void fly_all(struct controller_link *link, bool is_local)
{
    struct list leaving;
    list_init(&leaving);
    while (!list_empty(&link->waiting)) {
        struct list *item = link->waiting.next;
        list_remove(item);
        list_push_back(&leaving, item);
    }
    enum error err = OK;
    while (!list_empty(&leaving) && err == OK)
        err = fly(link, CONTAINER_OF(leaving.next, struct controller_link_call, in_line), is_local);
    while (!list_empty(&leaving)) {
        struct list *item = leaving.prev;
        list_remove(item);
        list_push_front(&link->waiting, item);
    }
    if (err != OK) pause_before_next(link);
}

static void hang_up(struct controller_link *link)
{
    connection_close(&link->connection); /* what is in the air comes back as ERR_CLOSED */
}

static void pump(struct controller_link *link);

static void on_open(void *context, enum error err)
{
    struct controller_link *link = context;
    if (err == OK) {
        pump(link);
        return;
    }
    if (!link->has_warned)
        diag_warn("cannot reach the controller, broker %d at %s: %s; trying again", link->connected_to,
                  connection_name(link->connection), error_text(err));
    link->has_warned = true;
    hang_up(link);
    pause_before_next(link);
}

static void on_closed(void *context, enum error err)
{
    (void)err;
    struct controller_link *link = context;
    hang_up(link);
    if (!list_empty(&link->waiting)) pause_before_next(link);
}

static enum error dial(struct controller_link *link, int32_t broker_id)
{
    const struct image_broker *broker = image_broker(metadata_image(link->options.metadata), broker_id);
    const struct image_endpoint *endpoint =
        broker ? image_broker_endpoint(broker, link->options.listener) : NULL;
    if (!endpoint || endpoint->port <= 0 || endpoint->port > UINT16_MAX) return ERR_UNKNOWN_CONTROLLER_ID;
    char *host = slice_dup(endpoint->host);
    if (!host) return ERR_NOMEM;
    struct connection_options options = {
        .timeout_ms = link->options.timeout_ms, .on_open = on_open, .on_closed = on_closed, .context = link};
    link->connected_to = broker_id;
    enum error err =
        connection_open(link->options.loop, host, (uint16_t)endpoint->port, &options, &link->connection);
    free(host);
    return err;
}

static void pump(struct controller_link *link)
{
    int32_t controller = image_controller_id(metadata_image(link->options.metadata));
    bool is_local = controller == link->options.broker_id && link->options.local;
    if (list_empty(&link->waiting)) return;
    if (link->connection && link->connected_to != controller) hang_up(link);
    if (is_local) {
        fly_all(link, true);
    } else if (link->connection) {
        if (connection_is_open(link->connection))
            fly_all(link, false);
        else
            link->next_try_ms = INT64_MAX; /* on_open goes on */
    } else if (controller < 0 || dial(link, controller) != OK) {
        pause_before_next(link);
    } else {
        link->next_try_ms = INT64_MAX;
    }
    schedule(link);
}

/* --- time and the image --- */

static void give_up_old(struct controller_link *link)
{
    int64_t now = now_ms(link);
    struct list old;
    list_init(&old);
    LIST_EACH(&link->waiting, item)
    {
        if (CONTAINER_OF(item, struct controller_link_call, in_line)->give_up_ms > now) continue;
        list_remove(item);
        list_push_back(&old, item);
    }
    LIST_EACH(&link->in_air, item)
    {
        struct controller_link_flight *flight = CONTAINER_OF(item, struct controller_link_flight, in_air);
        if (!flight->call || flight->call->give_up_ms > now) continue;
        list_push_back(&old, &flight->call->in_line);
        flight->call->flight = NULL;
        flight->call = NULL;
    }
    while (!list_empty(&old)) {
        struct controller_link_call *call = CONTAINER_OF(old.next, struct controller_link_call, in_line);
        list_remove(&call->in_line);
        call->done(call, ERR_TIMED_OUT, -1, NULL);
    }
}

static void on_time(struct loop_timer *timer)
{
    struct controller_link *link = CONTAINER_OF(timer, struct controller_link, timer);
    give_up_old(link);
    if (now_ms(link) >= link->next_try_ms) pump(link);
    schedule(link);
}

static void on_image(void *context, const struct image *old, const struct image *image)
{
    struct controller_link *link = context;
    int32_t controller = image_controller_id(image);
    if (image_controller_id(old) == controller) return;
    if (link->connection && link->connected_to != controller) hang_up(link);
    link->has_warned = false;
    link->next_try_ms = now_ms(link);
    schedule(link);
}

/* --- */

void controller_link_send(struct controller_link *link, struct controller_link_call *call)
{
    call->flight = NULL;
    if (link->is_freed) {
        list_init(&call->in_line);
        call->done(call, ERR_CLOSED, -1, NULL);
        return;
    }
    bool is_first = list_empty(&link->waiting);
    list_push_back(&link->waiting, &call->in_line);
    bool is_ready = !link->connection || connection_is_open(link->connection);
    if (is_first && is_ready) link->next_try_ms = now_ms(link);
    schedule(link);
}

void controller_link_cancel(struct controller_link *link, struct controller_link_call *call)
{
    if (call->flight)
        call->flight->call = NULL;
    else
        list_remove(&call->in_line);
    call->flight = NULL;
    if (!link->is_freed) schedule(link);
}

enum error controller_link_new(const struct controller_link_options *options, struct controller_link **link)
{
    struct controller_link *made = calloc(1, sizeof *made);
    char *listener = slice_dup(options->listener);
    if (!made || !listener) {
        free(made);
        free(listener);
        return ERR_NOMEM;
    }
    made->options = *options;
    made->listener = listener;
    made->options.listener = slice_of(listener);
    made->timer.run = on_time;
    made->on_image = (struct metadata_listener){.on_image = on_image, .context = made};
    list_init(&made->waiting);
    list_init(&made->in_air);
    metadata_listen(options->metadata, &made->on_image);
    *link = made;
    return OK;
}

void controller_link_free(struct controller_link **link)
{
    struct controller_link *freed = *link;
    *link = NULL;
    if (!freed) return;
    metadata_unlisten(freed->options.metadata, &freed->on_image);
    loop_timer_stop(freed->options.loop, &freed->timer);
    freed->is_freed = true;
    LIST_EACH(&freed->in_air, item)
    {
        struct controller_link_flight *flight = CONTAINER_OF(item, struct controller_link_flight, in_air);
        if (flight->call) list_push_back(&freed->waiting, &flight->call->in_line);
        if (flight->call) flight->call->flight = NULL;
        flight->call = NULL;
        flight->link = NULL;
        list_remove(item); /* it ends by itself */
    }
    connection_close(&freed->connection);
    while (!list_empty(&freed->waiting)) {
        struct controller_link_call *call =
            CONTAINER_OF(freed->waiting.next, struct controller_link_call, in_line);
        list_remove(&call->in_line);
        call->done(call, ERR_CLOSED, -1, NULL);
    }
    free(freed->listener);
    free(freed);
}
