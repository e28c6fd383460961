/* stop.c: the end of a node, in the order in which its parts need each other:
 *
 *   leaders handed over -> clients -> partitions -> logs -> controller, session -> the loops' last messages -> broker -> keeper
 *
 * Each step has a turn of its own, so that whoever failed is not freed under its feet. */
#include "node/inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENT_GRACE_MS = 500, SESSION_END_MS = 2000 };

static void step(struct node *node, void (*run)(struct loop_message *message))
{
    node->stop_step.run = run;
    loop_post(node->control, &node->stop_step);
}

static struct node *stopping(struct loop_message *message)
{
    return CONTAINER_OF(message, struct node, stop_step);
}

static void stop_over(struct loop_message *message)
{
    struct node *node = stopping(message);
    void (*on_end)(void *, enum error, const char *) = node->config.on_end;
    void *context = node->config.context;
    enum error err = node->end_err;
    char problem[sizeof node->problem];
    memcpy(problem, node->problem, sizeof problem);
    node_free(node);
    if (on_end) on_end(context, err, problem);
}

static void keeper_closed(void *context)
{
    step(context, stop_over);
}

static void stop_keeper(struct loop_message *message)
{
    struct node *node = stopping(message);
    if (node->coord) coord_close(&node->coord);
    if (node->metadata) metadata_free(&node->metadata);
    if (node->keeper)
        keeper_close(&node->keeper, keeper_closed, node);
    else
        keeper_closed(node);
}

static void stop_broker(struct loop_message *message)
{
    struct node *node = stopping(message);
    free(node->fences);
    node->fences = NULL;
    broker_free(&node->broker);
    replicas_free(&node->replicas);
    group_coordinators_free(&node->groups);
    stop_keeper(message);
}

static void fence_is_back(struct loop_message *message)
{
    struct node *node = CONTAINER_OF(message, struct fence, message)->node;
    if (--node->fences_out == 0) step(node, stop_broker);
}

static void fence_is_there(struct loop_message *message)
{
    struct fence *fence = CONTAINER_OF(message, struct fence, message);
    message->run = fence_is_back;
    loop_post(fence->node->control, message);
}

/* What waited for the controller or the keeper has just been told that there is none: these last messages to the requests'
 * loops must have run before the broker goes. */
static void session_over(void *context)
{
    struct node *node = context;
    size_t count = node->config.loop_count;
    node->fences = calloc(count, sizeof *node->fences);
    assert(node->fences); /* at the end of the process, without memory: nothing better is left */
    node->fences_out = count;
    for (size_t i = 0; i < count; i++) {
        node->fences[i] = (struct fence){.message.run = fence_is_there, .node = node};
        loop_post(node->config.loops[i], &node->fences[i].message);
    }
}

/* The registration goes only now, when the logs are safe: then nobody takes over what is not yet closed. */
static void stop_coord(struct loop_message *message)
{
    struct node *node = stopping(message);
    cluster_return_cancel(&node->returning);
    controller_link_free(&node->controller_link);
    node->own_controller.controller = NULL;
    controller_free(&node->controller);
    local_channel_free(&node->channel);
    network_channel_free(&node->network);
    config_watch_free(&node->configs);
    if (node->coord)
        coord_finish(node->coord, SESSION_END_MS, session_over, node);
    else
        session_over(node);
}

static void store_closed(void *context)
{
    struct node *node = context;
    node->store = NULL;
    step(node, stop_coord);
}

static void stop_store(struct loop_message *message)
{
    struct node *node = stopping(message);
    node->is_waiting_for_load = node->is_loading;
    if (node->is_loading) return; /* on_loaded comes back here */
    if (node->store)
        log_store_close(node->store, store_closed, node);
    else
        store_closed(node);
}

static void replicas_over(void *context)
{
    step(context, stop_store);
}

static void stop_replicas(struct loop_message *message)
{
    struct node *node = stopping(message);
    if (node->replicas)
        replicas_close(node->replicas, replicas_over, node);
    else
        replicas_over(node);
}

static void clients_over(void *context)
{
    step(context, stop_replicas);
}

static void stop_clients(struct loop_message *message)
{
    struct node *node = stopping(message);
    http_close(&node->http);
    if (node->broker)
        broker_close(node->broker, CLIENT_GRACE_MS, clients_over, node);
    else
        clients_over(node);
}

static void has_left(void *context)
{
    step(context, stop_clients);
}

/* Clients are served until others have taken over. With a keeper that does not answer nobody can: then we just go. */
static void stop_leading(struct loop_message *message)
{
    struct node *node = stopping(message);
    bool is_wanted = node->end_err == OK && node->is_registered && !node->has_keeper_failed &&
                     settings_bool(settings_of(node), SETTING_CONTROLLED_SHUTDOWN_ENABLE) &&
                     coord_is_connected(node->coord) &&
                     image_controller_id(metadata_image(node->metadata)) >= 0;
    if (!is_wanted) {
        has_left(node);
        return;
    }
    node->leave = (struct leave){.loop = node->control,
                                 .metadata = node->metadata,
                                 .link = node->controller_link,
                                 .broker_id = node->identity.broker_id,
                                 .done = has_left,
                                 .context = node};
    leave_begin(&node->leave, settings_of(node));
}

void node_end(struct node *node, enum error err, const char *problem)
{
    if (node->is_stopping) return;
    node->is_stopping = true;
    node->end_err = err;
    snprintf(node->problem, sizeof node->problem, "%s", problem ? problem : err == OK ? "" : error_text(err));
    step(node, stop_leading);
}

void node_stop(struct node *node)
{
    node_end(node, OK, NULL);
}

void node_end_loaded(struct node *node)
{
    step(node, stop_store);
}
