#include "cli/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/vec.h"
#include "client/client.h"
#include "loop/loop.h"

enum {
    CONNECT_MS = 2000,
    ANSWER_MS = 30000,
    MAX_ENDPOINTS = 64,
    AGAIN_MS = 100,
    PATIENCE_MS = 2000,
    LIST_OFFSETS = 2,
    METADATA = 3,
    FIND_COORDINATOR = 10,
};

struct node {
    int32_t id;
    char host[256];
    uint16_t port;
    struct connection *connection;
    struct admin *admin;
    bool is_told; /* that it cannot be reached: once is enough */
};

struct admin {
    const struct cli *cli;
    struct descriptors *descriptors;
    struct loop *loop;
    struct endpoint endpoints[MAX_ENDPOINTS];
    size_t endpoint_count;
    int64_t patience_ms, answer_ms;
    bool is_interrupted;
    struct node bootstrap; /* id NODE_ANY */
    struct node **nodes;
    size_t node_count, node_capacity;
    int32_t controller;
    struct arena arena;
    /* what is being waited for */
    bool is_waiting;
    enum error outcome;
    struct loop_timer timer;
};

struct question {
    struct call call;
    struct admin *admin;
    const struct api *api;
    const void *response;
};

struct arena *admin_arena(struct admin *admin)
{
    return &admin->arena;
}

int admin_exit(enum error err)
{
    switch (err) {
    case OK: return EXIT_OK;
    case ERR_CLUSTER_AUTHORIZATION_FAILED:
    case ERR_TOPIC_AUTHORIZATION_FAILED:
    case ERR_GROUP_AUTHORIZATION_FAILED: return EXIT_DENIED;
    case ERR_REFUSED:
    case ERR_UNREACHABLE:
    case ERR_NAME:
    case ERR_TIMED_OUT:
    case ERR_CLOSED:
    case ERR_EOF:
    case ERR_NET:
    case ERR_IO: return EXIT_UNREACHABLE;
    default: return EXIT_ITEM_FAILED;
    }
}

static void stop_waiting(struct admin *admin, enum error err)
{
    if (!admin->is_waiting) return;
    admin->is_waiting = false;
    admin->outcome = err;
    loop_stop(admin->loop);
}

static enum error wait_for(struct admin *admin)
{
    if (admin->is_interrupted) return ERR_CLOSED;
    admin->is_waiting = true;
    loop_run(admin->loop);
    return admin->outcome;
}

static void on_open(void *context, enum error err)
{
    struct node *node = context;
    stop_waiting(node->admin, err);
}

static enum error connect_node(struct admin *admin, struct node *node)
{
    if (node->connection && connection_is_open(node->connection)) return OK;
    connection_close(&node->connection);
    node->admin = admin;
    struct connection_options options = {
        .client_id = "odradek-cli",
        .timeout_ms = admin->cli->timeout_ms ? admin->cli->timeout_ms : CONNECT_MS,
        .on_open = on_open,
        .context = node,
    };
    enum error err = connection_open(admin->loop, node->host, node->port, &options, &node->connection);
    if (err == OK) err = wait_for(admin);
    if (err == OK) node->is_told = false;
    if (err != OK) connection_close(&node->connection);
    return err;
}

static void answered(struct call *call, enum error err, int16_t version, const void *response)
{
    struct question *question = CONTAINER_OF(call, struct question, call);
    struct admin *admin = question->admin;
    if (err == OK && response) {
        /* The answer is a loan of the connection: keep a copy of our own, by encoding and decoding it. */
        const struct message_type *type = question->api->response;
        size_t size = message_size(type, version, response);
        uint8_t *raw = size == SIZE_MAX ? NULL : arena_alloc(&admin->arena, size);
        void *copy = arena_zalloc(&admin->arena, message_struct_size(type));
        err = ERR_NOMEM;
        if (raw && copy) {
            message_encode(type, version, response, raw, NULL);
            err = message_decode(type, version, (struct slice){raw, size}, &admin->arena, copy, NULL, NULL);
        }
        question->response = copy;
    }
    stop_waiting(admin, err);
}

static struct node *node_of(struct admin *admin, int32_t id)
{
    if (id == NODE_CONTROLLER) id = admin->controller;
    for (size_t i = 0; id >= 0 && i < admin->node_count; i++) {
        if (admin->nodes[i]->id == id) return admin->nodes[i];
    }
    return &admin->bootstrap;
}

enum error admin_ask(struct admin *admin, int32_t id, int16_t api_key, int16_t max_version,
                     const void *request, const void **response)
{
    struct node *node = node_of(admin, id);
    enum error err = connect_node(admin, node);
    if (err != OK) {
        if (node != &admin->bootstrap && !node->is_told && !admin->is_interrupted) {
            node->is_told = true;
            cli_complain("%s answered, but it says broker %d is at %s:%u, and that fails from here: %s"
                         " (advertised.listeners)",
                         admin->cli->bootstrap, (int)node->id, node->host, node->port, error_text(err));
        }
        return err;
    }
    struct question question = {
        .call = {.done = answered,
                 .max_version = max_version,
                 .timeout_ms = admin->cli->timeout_ms ? admin->cli->timeout_ms : admin->answer_ms},
        .admin = admin,
        .api = api_of(api_key),
    };
    err = connection_send(node->connection, api_key, request, &question.call);
    if (err == OK) err = wait_for(admin);
    /* Interrupted: the question must not outlive this call. */
    if (admin->is_interrupted) connection_close(&node->connection);
    if (err == OK) *response = question.response;
    return err;
}

enum error admin_ask_loud(struct admin *admin, int32_t node, int16_t api_key, const void *request,
                          const void **response)
{
    enum error err = admin_ask(admin, node, api_key, -1, request, response);
    if (err != OK) {
        struct node *asked = node_of(admin, node);
        cli_complain("%s of %s:%u: %s", api_of(api_key)->name, asked->host, asked->port, error_text(err));
    }
    return err;
}

enum error admin_metadata(struct admin *admin, const char *const *topics, int32_t count,
                          const struct metadata_response **response)
{
    struct metadata_request request;
    message_init(&metadata_request_type, &request);
    request.topics.count = count;
    request.topics.items =
        arena_zalloc(&admin->arena, (size_t)(count > 0 ? count : 0) * sizeof *request.topics.items);
    if (!request.topics.items) return ERR_NOMEM;
    for (int32_t i = 0; i < count; i++) request.topics.items[i].name = slice_of(topics[i]);
    request.allow_auto_topic_creation = false;
    const void *answer = NULL;
    enum error err = admin_ask(admin, NODE_ANY, METADATA, -1, &request, &answer);
    if (err != OK) {
        cli_complain("Metadata of %s: %s", admin->cli->bootstrap, error_text(err));
        return err;
    }
    *response = answer;
    return OK;
}

/* Who there is, as the broker we talk to says. A broker it no longer names stays, for it may be back soon. */
static enum error learn_nodes(struct admin *admin)
{
    const struct metadata_response *metadata = NULL;
    enum error err = admin_metadata(admin, NULL, 0, &metadata);
    if (err != OK) return err;
    for (int32_t i = 0; i < metadata->brokers.count; i++) {
        const struct metadata_response_metadata_response_broker *broker = &metadata->brokers.items[i];
        struct node *node = node_of(admin, broker->node_id);
        if (node == &admin->bootstrap) {
            if (!VEC_RESERVE(admin->nodes, admin->node_count, admin->node_capacity)) return ERR_NOMEM;
            node = calloc(1, sizeof *node);
            if (!node) return ERR_NOMEM;
            admin->nodes[admin->node_count++] = node;
        }
        char host[sizeof node->host];
        slice_text(broker->host, host, sizeof host);
        if (node->port != (uint16_t)broker->port || strcmp(node->host, host) != 0)
            connection_close(&node->connection);
        node->id = broker->node_id;
        memcpy(node->host, host, sizeof host);
        node->port = (uint16_t)broker->port;
    }
    admin->controller = metadata->controller_id;
    return OK;
}

/* Talks to this address from now on, if it answers. */
static enum error try_bootstrap(struct admin *admin, const char *host, uint16_t port)
{
    connection_close(&admin->bootstrap.connection);
    snprintf(admin->bootstrap.host, sizeof admin->bootstrap.host, "%s", host);
    admin->bootstrap.port = port;
    enum error err = connect_node(admin, &admin->bootstrap);
    return err == OK ? learn_nodes(admin) : err;
}

enum error admin_refresh(struct admin *admin)
{
    enum error err = connect_node(admin, &admin->bootstrap);
    if (err == OK) err = learn_nodes(admin);
    for (size_t i = 0; err != OK && !admin->is_interrupted && i < admin->endpoint_count; i++)
        err = try_bootstrap(admin, admin->endpoints[i].host, admin->endpoints[i].port);
    for (size_t i = 0; err != OK && !admin->is_interrupted && i < admin->node_count; i++)
        err = try_bootstrap(admin, admin->nodes[i]->host, admin->nodes[i]->port);
    return err;
}

static void timer_due(struct loop_timer *timer)
{
    stop_waiting(CONTAINER_OF(timer, struct admin, timer), OK);
}

bool admin_wait(struct admin *admin, int64_t ms)
{
    if (admin->is_interrupted) return false;
    admin->timer.run = timer_due;
    loop_timer_start(admin->loop, &admin->timer, ms);
    (void)!wait_for(admin);
    loop_timer_stop(admin->loop, &admin->timer);
    return !admin->is_interrupted;
}

int64_t admin_now_ms(struct admin *admin)
{
    return loop_clock_us(admin->loop) / 1000;
}

static void on_signal(void *context, int signal)
{
    (void)signal;
    struct admin *admin = context;
    admin->is_interrupted = true;
    stop_waiting(admin, ERR_CLOSED);
}

enum error admin_stay(struct admin *admin, int64_t patience_ms)
{
    admin->patience_ms = patience_ms;
    return loop_on_signals(admin->loop, on_signal, admin);
}

void admin_hurry(struct admin *admin, int64_t answer_ms)
{
    admin->answer_ms = answer_ms;
}

bool admin_is_interrupted(const struct admin *admin)
{
    return admin->is_interrupted;
}

void admin_forget(struct admin *admin)
{
    arena_reset(&admin->arena);
}

enum error admin_ask_controller(struct admin *admin, int16_t api_key, int16_t max_version,
                                const void *request, int16_t (*code_of)(const void *response),
                                const void **response)
{
    int64_t give_up_ms = admin_now_ms(admin) + admin->patience_ms;
    for (;;) {
        enum error err = admin_ask(admin, NODE_CONTROLLER, api_key, max_version, request, response);
        if (err == OK) err = error_from_kafka(code_of(*response));
        bool is_elsewhere = err == ERR_NOT_CONTROLLER || admin_exit(err) == EXIT_UNREACHABLE;
        if (!is_elsewhere || admin_now_ms(admin) >= give_up_ms || !admin_wait(admin, AGAIN_MS)) {
            /* What the whole request was told is in the answer, for the caller to say. */
            return err == OK || *response ? OK : err;
        }
        *response = NULL;
        (void)!admin_refresh(admin);
    }
}

int admin_open(const struct cli *cli, struct admin **admin)
{
    const char *why = NULL;
    struct slice bad;
    struct admin *made = calloc(1, sizeof *made);
    if (!made) return EXIT_ITEM_FAILED;
    if (bootstrap_parse(slice_of(cli->bootstrap), 9092, made->endpoints, MAX_ENDPOINTS, &made->endpoint_count,
                        &why, &bad) != OK) {
        cli_complain("bootstrap \"%s\": %.*s: %s", cli->bootstrap, SLICE_ARG(bad), why);
        free(made);
        return EXIT_USAGE;
    }
    made->cli = cli;
    made->controller = -1;
    made->patience_ms = PATIENCE_MS;
    made->answer_ms = ANSWER_MS;
    made->bootstrap.id = NODE_ANY;
    arena_init(&made->arena, 0);
    made->descriptors = descriptors_new(0);
    enum error err = made->descriptors ? loop_new(made->descriptors, &made->loop) : ERR_NOMEM;
    if (err != OK) {
        cli_complain("no event loop: %s", error_text(err));
        admin_close(&made);
        return EXIT_ITEM_FAILED;
    }
    for (size_t i = 0; i < made->endpoint_count; i++) {
        err = try_bootstrap(made, made->endpoints[i].host, made->endpoints[i].port);
        if (err == OK) {
            *admin = made;
            return EXIT_OK;
        }
        cli_complain("no broker at %s:%u: %s", made->endpoints[i].host, made->endpoints[i].port,
                     error_text(err));
    }
    admin_close(&made);
    return EXIT_UNREACHABLE;
}

void admin_close(struct admin **admin)
{
    struct admin *closing = *admin;
    *admin = NULL;
    if (!closing) return;
    connection_close(&closing->bootstrap.connection);
    for (size_t i = 0; i < closing->node_count; i++) {
        connection_close(&closing->nodes[i]->connection);
        free(closing->nodes[i]);
    }
    free(closing->nodes);
    arena_free(&closing->arena);
    if (closing->loop) loop_free(closing->loop);
    descriptors_free(closing->descriptors);
    free(closing);
}

int admin_coordinator(struct admin *admin, const char *group, int32_t *node)
{
    for (int try = 0;; try++) {
        struct find_coordinator_request request;
        message_init(&find_coordinator_request_type, &request);
        request.key = slice_of(group);
        const void *answer = NULL;
        /* Version 3: one key, which every broker since 0.11 can answer. */
        enum error err = admin_ask(admin, NODE_ANY, FIND_COORDINATOR, 3, &request, &answer);
        const struct find_coordinator_response *response = answer;
        if (err == OK) err = error_from_kafka(response->error_code);
        if (err == OK) {
            *node = response->node_id;
            return EXIT_OK;
        }
        /* A new cluster creates the offsets topic first. */
        if (err != ERR_COORDINATOR_NOT_AVAILABLE || try == 50) {
            cli_complain("no coordinator for group \"%s\": %s", group, error_text(err));
            return admin_exit(err);
        }
    }
}

static void ask_leader(struct admin *admin, struct partition_offset *offsets, size_t count, int32_t leader)
{
    struct list_offsets_request request;
    message_init(&list_offsets_request_type, &request);
    request.topics.items = arena_zalloc(&admin->arena, count * sizeof *request.topics.items);
    if (!request.topics.items) return;
    for (size_t i = 0; i < count; i++) {
        if (offsets[i].leader != leader || offsets[i].err != ERR_AGAIN) continue;
        /* One topic entry each: simple, and Kafka allows it. */
        struct list_offsets_request_list_offsets_topic *topic = &request.topics.items[request.topics.count++];
        topic->name = offsets[i].topic;
        topic->partitions.count = 1;
        topic->partitions.items = arena_zalloc(&admin->arena, sizeof *topic->partitions.items);
        if (!topic->partitions.items) return;
        topic->partitions.items[0].partition_index = offsets[i].partition;
        topic->partitions.items[0].current_leader_epoch = -1;
        topic->partitions.items[0].timestamp = offsets[i].timestamp;
        topic->partitions.items[0].max_num_offsets = 1;
    }
    const void *answer = NULL;
    enum error err = admin_ask(admin, leader, LIST_OFFSETS, -1, &request, &answer);
    const struct list_offsets_response *response = answer;
    for (size_t i = 0; i < count; i++) {
        struct partition_offset *wanted = &offsets[i];
        if (wanted->leader != leader || wanted->err != ERR_AGAIN) continue;
        wanted->err = err != OK ? err : ERR_UNKNOWN_TOPIC_OR_PARTITION;
        for (int32_t t = 0; err == OK && t < response->topics.count; t++) {
            if (!slice_equal(response->topics.items[t].name, wanted->topic)) continue;
            for (int32_t p = 0; p < response->topics.items[t].partitions.count; p++) {
                if (response->topics.items[t].partitions.items[p].partition_index != wanted->partition)
                    continue;
                wanted->offset = response->topics.items[t].partitions.items[p].offset;
                wanted->err = error_from_kafka(response->topics.items[t].partitions.items[p].error_code);
            }
        }
    }
}

void admin_offsets(struct admin *admin, struct partition_offset *offsets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        offsets[i].offset = -1;
        offsets[i].err = offsets[i].leader < 0 ? ERR_LEADER_NOT_AVAILABLE : ERR_AGAIN;
    }
    for (size_t i = 0; i < count; i++) {
        if (offsets[i].err == ERR_AGAIN) ask_leader(admin, offsets, count, offsets[i].leader);
    }
}
