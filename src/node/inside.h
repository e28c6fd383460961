/* inside.h: what a node is made of. For node.c, which starts it, and stop.c, which ends it. */
#pragma once
#include "broker/broker.h"
#include "console/http.h"
#include "controller/controller.h"
#include "coord/coord.h"
#include "group/group.h"
#include "keeper/keeper.h"
#include "loop/loop.h"
#include "metadata/controller_link.h"
#include "metadata/metadata.h"
#include "metrics/metrics.h"
#include "node/gauges.h"
#include "node/leave.h"
#include "node/node.h"
#include "node/own_controller.h"
#include "replica/replicas.h"
#include "settings/settings.h"
#include "storage/log_store.h"

/* A message to a loop and back: all that was posted there before has run. */
struct fence {
    struct loop_message message;
    struct node *node;
};

struct node {
    struct node_config config;
    struct loop *control;
    struct metrics *metrics;
    struct lane *cold_lane, *keeper_lane;
    struct log_store *store;
    struct keeper *keeper;
    struct coord *coord;
    struct metadata *metadata;
    struct config_watch *configs;
    struct broker *broker;
    struct replicas *replicas;
    struct group_coordinators *groups;
    struct local_channel *channel;
    struct network_channel *network;
    struct leave leave;
    struct returning *returning; /* until has_returned */
    struct controller *controller;
    struct own_controller own_controller;
    struct controller_link *controller_link;
    struct http *http;
    struct gauges gauges;

    struct cluster_identity identity;
    bool is_loading, is_loaded, has_configs, has_returned, has_role, has_other_controller, is_registered,
        is_accepting, is_ready, has_keeper_failed;
    struct loop_timer ready_timer;

    bool is_stopping, is_waiting_for_load;
    struct loop_message stop_step;
    struct fence *fences; /* one for each loop, while the broker is about to go */
    size_t fences_out;
    enum error end_err;
    char problem[512];
};

static inline const struct settings *settings_of(const struct node *node)
{
    return node->config.settings;
}

/* stop.c */
/* Begins the end, once: on_end comes when it is over. err OK: leaders are handed over before. */
void node_end(struct node *node, enum error err, const char *problem);
/* The load that the end waited for is over. */
void node_end_loaded(struct node *node);

/* node.c */
void node_free(struct node *node);
