#include "broker/broker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/diag.h"
#include "broker/channel.h"
#include "broker/fetch_session.h"
#include "broker/groups.h"
#include "metadata/znodes.h"
#include "settings/settings.h"

enum { DEFAULT_REQUEST_BYTES = 64 * 1024 * 1024, LISTEN_BACKLOG_LEAST = 50 };

/* --- metrics --- */

static enum error metrics_init(struct broker *broker)
{
    struct metrics *metrics = broker->options.metrics;
    broker->api_metrics = calloc(broker->api_count, sizeof *broker->api_metrics);
    if (!broker->api_metrics) return ERR_NOMEM;
    for (size_t i = 0; i < broker->api_count; i++) {
        struct text labels = {0};
        text_addf(&labels, "request=\"%s\"", broker->apis[i].name);
        const char *label = labels.failed ? "" : labels.data;
        broker->api_metrics[i] = (struct api_metrics){
            .requests = metrics_counter(metrics, "kafka_network_requestmetrics_requests_total",
                                        "requests answered", label),
            .total = metrics_summary_ms(metrics, "kafka_network_requestmetrics_totaltimems",
                                        "from the last byte read to the answer written", label),
            .queue = metrics_summary_ms(metrics, "kafka_network_requestmetrics_requestqueuetimems",
                                        "read, until its turn came", label),
            .local = metrics_summary_ms(metrics, "kafka_network_requestmetrics_localtimems",
                                        "from its start to its answer, waits included", label),
        };
        text_free(&labels);
    }
#define BROKER_COUNTER(field, name, help)                                                                    \
    broker->counters.field =                                                                                 \
        metrics_counter(metrics, "kafka_server_brokertopicmetrics_" name "_total", help, "")
    BROKER_COUNTER(bytes_in, "bytesin", "bytes of requests read");
    BROKER_COUNTER(bytes_out, "bytesout", "bytes of answers written");
    BROKER_COUNTER(messages_in, "messagesin", "records appended for clients");
    BROKER_COUNTER(produce_requests, "totalproducerequests", "Produce requests");
    BROKER_COUNTER(fetch_requests, "totalfetchrequests", "Fetch requests");
    BROKER_COUNTER(failed_produce, "failedproducerequests", "Produce requests in which something failed");
    BROKER_COUNTER(failed_fetch, "failedfetchrequests", "Fetch requests in which something failed");
#undef BROKER_COUNTER
    broker->counters.connections_accepted = metrics_counter(
        metrics, "kafka_server_socketservermetrics_connection_creation_total", "connections accepted", "");
    broker->counters.connections_refused = metrics_counter(metrics, "odradek_connections_refused_total",
                                                           "connections over a limit, closed at once", "");
    broker->counters.frames_refused =
        metrics_counter(metrics, "odradek_frames_refused_total", "frames that made no sense", "");
    return OK;
}

/* --- life --- */

static void loop_free_parts(struct broker_loop *home)
{
    fetch_sessions_free(&home->sessions);
    producer_ids_free(home);
    while (home->free_requests) {
        struct request *request = home->free_requests;
        home->free_requests = request->work;
        arena_free(&request->arena);
        free(request);
    }
    free(home->scratch);
}

static enum error loop_init(struct broker *broker, size_t index)
{
    struct broker_loop *home = &broker->loops[index];
    home->broker = broker;
    home->loop = broker->options.loops[index];
    home->index = index;
    home->settings = broker->settings;
    channel_loop_init(home);
    home->scratch = malloc(CHANNEL_SCRATCH_SIZE);
    if (!home->scratch) return ERR_NOMEM;
    enum error err = fetch_sessions_new(
        &broker->session_count,
        settings_long(broker->settings, SETTING_MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS), &home->sessions);
    if (err == OK) err = producer_ids_new(home);
    if (err == OK) err = metadata_view_open(broker->options.metadata, home->loop, NULL, NULL, &home->view);
    return err;
}

static void on_image(void *context, const struct image *old, const struct image *image)
{
    broker_on_image(context, old, image);
}

enum error broker_new(const struct broker_options *options, struct broker **broker)
{
    struct broker *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    made->options = *options;
    made->settings = options->settings;
    int64_t limit = settings_long(options->settings, SETTING_QUEUED_MAX_REQUEST_BYTES);
    made->budget.limit_bytes = limit > 0 ? limit : DEFAULT_REQUEST_BYTES;
    made->loops = calloc(options->loop_count, sizeof *made->loops);
    enum error err = made->loops ? broker_apis_init(made) : ERR_NOMEM;
    if (err == OK) err = metrics_init(made);
    for (size_t i = 0; i < options->loop_count && err == OK; i++) err = loop_init(made, i);
    if (err != OK) {
        broker_free(&made);
        return err;
    }
    made->on_image = (struct metadata_listener){.on_image = on_image, .context = made};
    metadata_listen(options->metadata, &made->on_image);
    made->is_listening_to_metadata = true;
    *broker = made;
    return OK;
}

void broker_free(struct broker **pointer)
{
    struct broker *broker = *pointer;
    if (!broker) return;
    if (broker->is_listening_to_metadata) metadata_unlisten(broker->options.metadata, &broker->on_image);
    for (size_t i = 0; i < broker->listener_count; i++) {
        listener_close(&broker->listeners[i].listener);
        free((void *)broker->listeners[i].advertised_host.data);
    }
    for (size_t i = 0; broker->loops && i < broker->options.loop_count; i++) {
        if (broker->loops[i].view) metadata_view_close(broker->options.metadata, &broker->loops[i].view);
        loop_free_parts(&broker->loops[i]);
    }
    settings_free(&broker->owned_settings);
    text_free(&broker->list_default);
    map_free(&broker->connections_of);
    free(broker->endpoints);
    free(broker->listeners);
    free(broker->api_metrics);
    free(broker->apis);
    free(broker->api_by_key);
    free(broker->loops);
    free(broker);
    *pointer = NULL;
}

void broker_set_parts(struct broker *broker, const struct broker_parts *parts)
{
    broker->parts = *parts;
    groups_attach(broker);
    groups_on_image(broker, metadata_image(broker->options.metadata));
}

int64_t broker_connection_count(const struct broker *broker)
{
    return __atomic_load_n(&broker->connection_count, __ATOMIC_RELAXED);
}

int64_t broker_held_bytes(const struct broker *broker)
{
    return budget_held(&broker->budget);
}

/* --- listeners: the control loop --- */

static void pause_listeners(struct broker *broker, bool is_paused)
{
    if (broker->is_paused == is_paused) return;
    broker->is_paused = is_paused;
    for (size_t i = 0; i < broker->listener_count; i++) {
        if (broker->listeners[i].listener) listener_pause(broker->listeners[i].listener, is_paused);
    }
}

static bool is_full(const struct broker *broker)
{
    return broker_connection_count(broker) >= settings_long(broker->settings, SETTING_MAX_CONNECTIONS);
}

/* One more of this address; false when it has its most. */
static bool count_address(struct broker *broker, const struct address *peer)
{
    struct slice host = slice_of(peer->host);
    uintptr_t count = (uintptr_t)map_get(&broker->connections_of, host);
    if ((int64_t)count >= settings_long(broker->settings, SETTING_MAX_CONNECTIONS_PER_IP)) return false;
    return map_put(&broker->connections_of, host, (void *)(count + 1)) == OK;
}

void broker_connection_left(struct broker *broker, const struct address *peer)
{
    struct slice host = slice_of(peer->host);
    uintptr_t count = (uintptr_t)map_get(&broker->connections_of, host);
    if (count <= 1)
        map_remove(&broker->connections_of, host);
    else if (map_put(&broker->connections_of, host, (void *)(count - 1)) != OK)
        return;
    if (broker->is_paused && !broker->is_closing && !is_full(broker)) pause_listeners(broker, false);
}

/* Loops fill one after another: see replica/replicas.h. */
static struct broker_loop *choose_home(struct broker *broker)
{
    if (broker->options.is_spread) return &broker->loops[broker->next_home++ % broker->options.loop_count];
    size_t best = 0;
    for (size_t i = 0; i < broker->options.loop_count; i++) {
        int busy = loop_busy_permille(broker->options.loops[i]);
        if (busy <= 500) return &broker->loops[i];
        if (busy < loop_busy_permille(broker->options.loops[best])) best = i;
    }
    return &broker->loops[best];
}

struct arrival {
    struct loop_message message;
    struct broker_loop *home;
    const struct broker_listener *listener;
    struct detached_stream *detached;
    struct address peer;
};

static void forget_arrival(struct broker *broker, const struct address *peer)
{
    __atomic_fetch_sub(&broker->connection_count, 1, __ATOMIC_RELAXED);
    broker_connection_left(broker, peer);
}

static void arrival_failed(struct loop_message *message)
{
    struct arrival *arrival = CONTAINER_OF(message, struct arrival, message);
    forget_arrival(arrival->home->broker, &arrival->peer);
    free(arrival);
}

static void arrived(struct loop_message *message)
{
    struct arrival *arrival = CONTAINER_OF(message, struct arrival, message);
    struct broker_loop *home = arrival->home;
    struct stream *stream = NULL;
    enum error err = stream_attach(home->loop, &arrival->detached, &stream);
    if (err == OK) err = channel_open(home, arrival->listener, stream);
    if (err == OK) {
        free(arrival);
        return;
    }
    if (stream) stream_close(&stream);
    arrival->message.run = arrival_failed;
    loop_post(home->broker->options.loops[0], &arrival->message);
}

static enum error send_away(struct broker_loop *home, const struct broker_listener *listener,
                            struct stream **stream, const struct address *peer)
{
    struct arrival *arrival = calloc(1, sizeof *arrival);
    if (!arrival) return ERR_NOMEM;
    *arrival = (struct arrival){{.run = arrived}, home, listener, NULL, *peer};
    enum error err = stream_detach(stream, &arrival->detached);
    if (err != OK) {
        free(arrival);
        return err;
    }
    loop_post(home->loop, &arrival->message);
    return OK;
}

static void on_accept(void *context, struct stream *stream)
{
    struct broker_listener *listener = context;
    struct broker *broker = listener->broker;
    struct address peer;
    stream_peer(stream, &peer);
    if (broker->is_closing || !count_address(broker, &peer)) {
        counter_add(broker->counters.connections_refused, 1);
        stream_close(&stream);
        return;
    }
    __atomic_fetch_add(&broker->connection_count, 1, __ATOMIC_RELAXED);
    counter_add(broker->counters.connections_accepted, 1);
    struct broker_loop *home = choose_home(broker);
    enum error err =
        home->index == 0 ? channel_open(home, listener, stream) : send_away(home, listener, &stream, &peer);
    if (err != OK) {
        stream_close(&stream);
        forget_arrival(broker, &peer);
        return;
    }
    if (is_full(broker)) pause_listeners(broker, true);
}

/* What others dial: as configured, else the bound host, else this machine's name. */
static enum error advertise(struct broker_listener *listener, const struct listener_setting *setting)
{
    char name[256] = "localhost";
    struct slice host = setting->advertised_host.size > 0 ? setting->advertised_host : setting->host;
    if (host.size == 0 || slice_is(host, "0.0.0.0") || slice_is(host, "::")) {
        if (gethostname(name, sizeof name - 1) != 0) memcpy(name, "localhost", 10);
        host = slice_of(name);
    }
    char *copy = slice_dup(host);
    if (!copy) return ERR_NOMEM;
    listener->advertised_host = slice_of(copy);
    listener->advertised_port =
        setting->advertised_port > 0 ? setting->advertised_port : listener_port(listener->listener);
    return OK;
}

enum error broker_bind(struct broker *broker, struct text *why)
{
    size_t count = 0;
    const struct listener_setting *settings = settings_listeners(broker->settings, &count);
    broker->listeners = calloc(count + 1, sizeof *broker->listeners);
    broker->endpoints = calloc(count + 1, sizeof *broker->endpoints);
    if (!broker->listeners || !broker->endpoints) return ERR_NOMEM;
    int64_t backlog = settings_long(broker->settings, SETTING_SOCKET_LISTEN_BACKLOG_SIZE);
    if (backlog < LISTEN_BACKLOG_LEAST) backlog = LISTEN_BACKLOG_LEAST;
    for (size_t i = 0; i < count; i++) {
        struct broker_listener *listener = &broker->listeners[i];
        listener->broker = broker;
        listener->name = settings[i].name;
        listener->security_protocol = (int16_t)settings[i].protocol;
        listener->is_inter_broker = settings[i].is_inter_broker;
        char host[256];
        slice_text(settings[i].host, host, sizeof host);
        enum error err = stream_listen(broker->options.loops[0], host, settings[i].port, (int)backlog,
                                       on_accept, listener, &listener->listener);
        if (err != OK) {
            text_addf(why, "could not listen on %.*s://%s:%u: %s", SLICE_ARG(settings[i].name), host,
                      settings[i].port, err == ERR_BUSY ? "the port is in use" : error_text(err));
            return err;
        }
        broker->listener_count = i + 1;
        listener_pause(listener->listener, true);
        err = advertise(listener, &settings[i]);
        if (err != OK) return err;
        if (!settings[i].is_advertised) continue;
        broker->endpoints[broker->endpoint_count++] =
            (struct broker_endpoint){.listener = listener->name,
                                     .host = listener->advertised_host,
                                     .port = listener->advertised_port,
                                     .security_protocol = listener->security_protocol};
    }
    broker->is_paused = true;
    return OK;
}

const struct broker_endpoint *broker_endpoints(const struct broker *broker, size_t *count)
{
    *count = broker->endpoint_count;
    return broker->endpoints;
}

uint16_t broker_port(const struct broker *broker, size_t index)
{
    return index < broker->listener_count ? listener_port(broker->listeners[index].listener) : 0;
}

void broker_accept(struct broker *broker)
{
    broker->accepting_since_us = loop_clock_us(broker->loops[0].loop);
    pause_listeners(broker, false);
}

/* --- the end --- */

struct loop_end {
    struct loop_message there, back;
    struct broker_loop *home;
    struct broker *broker;
};

static void loop_ended(struct loop_message *message)
{
    struct loop_end *end = CONTAINER_OF(message, struct loop_end, back);
    struct broker *broker = end->broker;
    free(end);
    if (--broker->loops_to_close == 0) broker->on_closed(broker->on_closed_context);
}

static void loop_end_now(struct loop_timer *timer)
{
    struct broker_loop *home = CONTAINER_OF(timer, struct broker_loop, ending);
    channel_loop_close(home);
    loop_post(home->broker->options.loops[0], &home->end->back);
}

static void loop_end(struct loop_message *message)
{
    struct loop_end *end = CONTAINER_OF(message, struct loop_end, there);
    struct broker_loop *home = end->home;
    home->end = end;
    LIST_EACH(&home->channels, item)
    {
        channel_finish(CONTAINER_OF(item, struct channel, link));
    }
    home->ending.run = loop_end_now;
    loop_timer_start(home->loop, &home->ending, list_empty(&home->channels) ? 0 : home->broker->grace_ms);
}

void broker_close(struct broker *broker, int32_t grace_ms, void (*done)(void *context), void *context)
{
    broker->is_closing = true;
    broker->on_closed = done;
    broker->on_closed_context = context;
    broker->grace_ms = grace_ms;
    for (size_t i = 0; i < broker->listener_count; i++) listener_close(&broker->listeners[i].listener);
    broker->loops_to_close = broker->options.loop_count;
    for (size_t i = 0; i < broker->options.loop_count; i++) {
        struct loop_end *end = malloc(sizeof *end);
        assert(end); /* at the end of the process, without memory: nothing better is left */
        *end = (struct loop_end){{.run = loop_end}, {.run = loop_ended}, &broker->loops[i], broker};
        loop_post(broker->options.loops[i], &end->there);
    }
}
