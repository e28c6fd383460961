/* network_channel.c: the controller's words to other brokers, over connections of its own.
 *
 *     send --> the broker's queue: first -> next -> ...    one in flight; answered: the next
 *                                    ^  |
 *                                    |  v  connection lost, no answer in time: again after 100 ms, for ever
 *                                    `--'
 *
 * Nothing overtakes anything on its way to one broker, and whatever was sent once is sent until it is answered or the broker
 * removed: brokers tell repetitions by epochs. The versions are those of inter.broker.protocol.version 3.9, and nobody asks
 * for others (facts/cluster.md 3.13, 4.1). */
#include <stdlib.h>

#include "base/diag.h"
#include "base/list.h"
#include "client/connection.h"
#include "controller/controller.h"
#include "wire/message.h"

enum { RETRY_MS = 100, LEADER_AND_ISR_VERSION = 7, STOP_REPLICA_VERSION = 4, UPDATE_METADATA_VERSION = 8 };

struct remote_broker {
    struct list link;
    struct network_channel *channel;
    int32_t id;
    char *host; /* NULL: it has no listener that we could reach */
    uint16_t port;
    struct controller_rpc *first, *last; /* the first may be in flight */
    struct connection *connection;
    struct call call;
    bool is_in_flight, has_warned;
    struct loop_timer retry;
};

struct network_channel {
    struct loop *loop;
    char *listener;
    int64_t timeout_ms;
    struct list brokers;
};

static int16_t version_of(const struct controller_rpc *rpc)
{
    return rpc->api_key == 4   ? LEADER_AND_ISR_VERSION
           : rpc->api_key == 5 ? STOP_REPLICA_VERSION
                               : UPDATE_METADATA_VERSION;
}

static void go_on(struct remote_broker *broker);

static void try_later(struct remote_broker *broker, enum error err)
{
    if (!broker->has_warned)
        diag_warn(
            "the controller cannot reach broker %d at %s:%u: %s; trying until it can or the broker leaves",
            broker->id, broker->host ? broker->host : "no listener", broker->port, error_text(err));
    broker->has_warned = true;
    connection_close(&broker->connection);
    loop_timer_start(broker->channel->loop, &broker->retry, RETRY_MS);
}

static struct controller_rpc *take_first(struct remote_broker *broker)
{
    struct controller_rpc *rpc = broker->first;
    broker->first = rpc->next;
    if (!broker->first) broker->last = NULL;
    rpc->next = NULL;
    return rpc;
}

static void finish(struct controller_rpc *rpc, enum error err)
{
    rpc->err = err;
    rpc->done(rpc);
}

static void answered(struct call *call, enum error err, int16_t version, const void *response)
{
    struct remote_broker *broker = CONTAINER_OF(call, struct remote_broker, call);
    struct controller_rpc *rpc = broker->first;
    broker->is_in_flight = false;
    if (err != OK) return; /* the connection is ending, and says so itself */
    broker->has_warned = false;
    err = message_copy(api_of(rpc->api_key)->response, version, response, &rpc->arena, &rpc->response);
    if (err != OK) {
        try_later(broker, err);
        return;
    }
    take_first(broker);
    go_on(broker);
    finish(rpc, OK); /* the controller may remove the broker now */
}

static void on_open(void *context, enum error err)
{
    struct remote_broker *broker = context;
    if (err == OK)
        go_on(broker);
    else
        try_later(broker, err);
}

static void on_closed(void *context, enum error err)
{
    struct remote_broker *broker = context;
    if (broker->first)
        try_later(broker, err);
    else
        connection_close(&broker->connection);
}

static enum error dial(struct remote_broker *broker)
{
    if (!broker->host) return ERR_NAME;
    struct connection_options options = {.is_unnegotiated = true,
                                         .timeout_ms = broker->channel->timeout_ms,
                                         .on_open = on_open,
                                         .on_closed = on_closed,
                                         .context = broker};
    return connection_open(broker->channel->loop, broker->host, broker->port, &options, &broker->connection);
}

static void go_on(struct remote_broker *broker)
{
    struct controller_rpc *rpc = broker->first;
    if (!rpc || broker->is_in_flight || loop_timer_running(&broker->retry)) return;
    if (!broker->connection) {
        enum error err = dial(broker);
        if (err != OK) try_later(broker, err);
    } else if (connection_is_open(broker->connection)) {
        broker->call = (struct call){
            .done = answered, .max_version = version_of(rpc), .timeout_ms = broker->channel->timeout_ms};
        broker->is_in_flight = true;
        enum error err = connection_send(broker->connection, rpc->api_key, &rpc->request, &broker->call);
        if (err == OK) return;
        broker->is_in_flight = false;
        try_later(broker, err);
    }
}

static void retry(struct loop_timer *timer)
{
    go_on(CONTAINER_OF(timer, struct remote_broker, retry));
}

/* --- the table --- */

static struct remote_broker *find(const struct network_channel *channel, int32_t id)
{
    LIST_EACH((struct list *)&channel->brokers, item)
    {
        struct remote_broker *broker = CONTAINER_OF(item, struct remote_broker, link);
        if (broker->id == id) return broker;
    }
    return NULL;
}

static void send_rpc(void *context, struct controller_rpc *rpc)
{
    struct remote_broker *broker = find(context, rpc->broker_id);
    rpc->next = NULL;
    if (!broker) {
        finish(rpc, ERR_CANCELLED);
        return;
    }
    if (broker->last)
        broker->last->next = rpc;
    else
        broker->first = rpc;
    broker->last = rpc;
    go_on(broker);
}

/* Of a broker that is known the address may have changed; it is dialled when the connection ends. */
static void broker_added(void *context, const struct broker_registration *registration, int64_t broker_epoch)
{
    (void)broker_epoch; /* the requests carry it */
    struct network_channel *channel = context;
    struct remote_broker *broker = find(channel, registration->id);
    if (!broker) {
        broker = calloc(1, sizeof *broker);
        if (!broker) {
            diag_error("no memory to talk to broker %d", registration->id);
            return;
        }
        broker->channel = channel;
        broker->id = registration->id;
        broker->retry.run = retry;
        list_push_back(&channel->brokers, &broker->link);
    }
    free(broker->host);
    broker->host = NULL;
    for (size_t i = 0; i < registration->endpoint_count; i++) {
        const struct broker_endpoint *endpoint = &registration->endpoints[i];
        if (!slice_is(endpoint->listener, channel->listener) || endpoint->port > UINT16_MAX) continue;
        broker->host = slice_dup(endpoint->host);
        broker->port = (uint16_t)endpoint->port;
    }
}

static void remove_broker(struct remote_broker *broker)
{
    list_remove(&broker->link);
    loop_timer_stop(broker->channel->loop, &broker->retry);
    connection_close(&broker->connection);
    while (broker->first) finish(take_first(broker), ERR_CANCELLED);
    free(broker->host);
    free(broker);
}

static void broker_removed(void *context, int32_t broker_id)
{
    struct remote_broker *broker = find(context, broker_id);
    if (broker) remove_broker(broker);
}

enum error network_channel_new(struct loop *loop, struct slice listener, int64_t timeout_ms,
                               struct network_channel **channel)
{
    struct network_channel *made = calloc(1, sizeof *made);
    char *name = slice_dup(listener);
    if (!made || !name) {
        free(made);
        free(name);
        return ERR_NOMEM;
    }
    *made = (struct network_channel){.loop = loop, .listener = name, .timeout_ms = timeout_ms};
    list_init(&made->brokers);
    *channel = made;
    return OK;
}

void network_channel_free(struct network_channel **channel)
{
    struct network_channel *freed = *channel;
    *channel = NULL;
    if (!freed) return;
    while (!list_empty(&freed->brokers))
        remove_broker(CONTAINER_OF(freed->brokers.next, struct remote_broker, link));
    free(freed->listener);
    free(freed);
}

struct controller_channel network_channel_table(struct network_channel *channel)
{
    return (struct controller_channel){channel, broker_added, broker_removed, send_rpc};
}
