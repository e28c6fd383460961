/* broker.h: the broker's doors: it listens, reads requests of clients and other brokers, and answers them.
 *
 *     listeners --> channels (frames, order, budget) --> requests --> one handler for each API --> replica, group, controller
 *
 * Everything it needs is made by node/ and outlives it.
 *
 * Threads  broker_new, broker_close, broker_free and the setters: the control loop, which is loops[0]. Requests live on all loops.
 * Source   facts/api-versions.md; one file here for each API.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

struct broker;
struct config_watch;
struct controller;
struct controller_link;
struct coord;
struct disk;
struct group_coordinators;
struct lane;
struct log_store;
struct loop;
struct metadata;
struct metrics;
struct replicas;
struct settings;
struct topic_rules;
struct broker_endpoint;
struct controller_rules;
struct slice;

struct broker_options {
    int32_t broker_id;
    struct loop *const *loops;
    size_t loop_count;
    const struct settings *settings; /* of the file; dynamic layers are put over it here */
    struct metadata *metadata;
    struct metrics *metrics;
    bool is_spread;         /* as replicas_options.is_spread, for connections */
    struct lane *cold_lane; /* reads that wait for the disk */
};

MUST_USE enum error broker_new(const struct broker_options *options, struct broker **broker);

/* Binds all listeners; nobody is accepted yet. On an error `why` names the listener. Then broker_endpoints tells what to
 * register: advertised addresses with the ports that were bound. Memory is the broker's. */
MUST_USE enum error broker_bind(struct broker *broker, struct text *why);
const struct broker_endpoint *broker_endpoints(const struct broker *broker, size_t *count);

/* The port bound for the index-th of settings_listeners. */
uint16_t broker_port(const struct broker *broker, size_t index);

/* What the handlers work with; set before broker_accept. */
struct broker_parts {
    struct replicas *replicas;
    struct controller *controller;
    struct controller_link *controller_link;
    struct coord *coord;
    struct group_coordinators *groups;
    struct config_watch *configs;
    struct log_store *store;
};
void broker_set_parts(struct broker *broker, const struct broker_parts *parts);
/* Takes connections from now on. */
void broker_accept(struct broker *broker);

/* What a topic's configuration comes to now; any of the loops. For struct replicas_options. */
void broker_topic_rules(void *broker, struct slice topic, struct topic_rules *rules);
struct fetch_rules broker_fetch_rules(const struct settings *settings);
/* What the controller asks: defaults, and whether configurations may be. Fills the parts that the broker knows. */
void broker_controller_rules(struct broker *broker, struct controller_rules *rules);

/* Closes listeners and connections (after sending what is queued, at most `grace_ms`), then calls done on the control loop. */
void broker_close(struct broker *broker, int32_t grace_ms, void (*done)(void *context), void *context);
void broker_free(struct broker **broker);

/* Figures. Any thread. */
int64_t broker_connection_count(const struct broker *broker);
int64_t broker_held_bytes(const struct broker *broker);
