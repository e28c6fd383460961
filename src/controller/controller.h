/* controller.h: the broker's place in its cluster: registration, the controller when elected, admin requests.
 *
 *     admin request --> admin part --> znodes --> watches --> controller (one event at a time) --> znodes (fenced)
 *          ^                                                       |
 *          `---- answered when this broker's image shows it <-- image <-- UpdateMetadata, LeaderAndIsr, StopReplica
 *
 * Every broker runs one of these. Whoever owns /controller decides; it moves brokers, its own included, only through the three
 * requests, so that it makes no difference whether an Apache broker is the controller or the one that is moved.
 *
 * Pure     what decides is a function of replies, watches, calls and time. Effects leave through coord, struct
 *          controller_channel and the calls' done.
 * Fenced   every write of the controller is a multi with a check of /controller_epoch: a deposed one cannot write.
 * Crash    everything is derived from znodes; the next fail-over repeats and completes what was begun.
 * Threads  the control loop. controller_submit may be called on any thread when the controller has a loop.
 * Source   facts/cluster.md 1.4-1.6, 2.1, 3; section numbers are cited where a rule comes from there.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "loop/loop.h"
#include "metadata/metadata.h"
#include "wire/messages.h"

struct controller;
struct coord;

/* ---- registration.c: before anything else (facts 2.1) ---- */

struct cluster_identity {
    char cluster_id[64];
    int32_t broker_id;
};

struct cluster_join {
    /* of meta.properties; null = none. Another one in /cluster/id is ERR_INCONSISTENT_CLUSTER_ID */
    struct slice known_cluster_id;
    int32_t broker_id; /* configured or of meta.properties; -1 = generate (broker.id.generation.enable) */
    int32_t reserved_max_id;    /* reserved.broker.max.id, 1000 */
    struct uuid new_cluster_id; /* proposed when the cluster has none: random, from uuid_from_random */
    /* Comes once. On an error `problem` says it for the operator. */
    void (*done)(void *context, enum error err, const struct cluster_identity *identity, const char *problem);
    void *context;
};

/* Makes the top-level znodes that are missing, finds or sets the cluster's id, and this broker's. A handful of pipelined reads and
 * at most one multi. */
MUST_USE enum error cluster_join(struct coord *coord, const struct cluster_join *join);

/* ---- returning.c: after joining, where acknowledged records may have been lost with the machine's memory (facts 6.4) ---- */

struct cluster_return {
    struct loop *loop; /* the coord's */
    int32_t broker_id;
    int64_t patience_ms;         /* so long do others have to come back; counted while the keeper answers */
    void (*done)(void *context); /* register now */
    void *context;
};

struct returning;
/* Until no ISR of several counts on this broker, which must not be registered yet: the controller takes it out of them as it does
 * with any that is away, and whoever else is in them leads. done comes once, later, unless it is cancelled; then *returning is
 * gone. Where all that an ISR has return in the same way, nothing is waited for. */
MUST_USE enum error cluster_return(struct coord *coord, const struct cluster_return *options,
                                   struct returning **returning);
/* Before coord_close. */
void cluster_return_cancel(struct returning **returning);

/* ---- the way to brokers ---- */

/* One request to one broker, and its answer. The channel frees nothing: done does. */
struct controller_rpc {
    int32_t broker_id;
    int16_t api_key;    /* 4 LeaderAndIsr, 5 StopReplica, 6 UpdateMetadata */
    struct arena arena; /* holds the request and, where the channel wants, the answer */
    union {
        struct leader_and_isr_request leader_and_isr;
        struct stop_replica_request stop_replica;
        struct update_metadata_request update_metadata;
    } request;
    union {
        struct leader_and_isr_response leader_and_isr;
        struct stop_replica_response stop_replica;
        struct update_metadata_response update_metadata;
    } response; /* message_init'ed; the channel fills it */
    void (*done)(struct controller_rpc
                     *rpc); /* call exactly once, on the control loop, also when the broker was removed */
    void *context;
    enum error err;              /* set before done: OK, or ERR_CANCELLED (removed, never answered) */
    struct controller_rpc *next; /* the channel's, for its queue */
};

/* Requests for one broker are delivered one at a time, in order, again and again until answered or the broker removed. */
struct controller_channel {
    void *context;
    void (*broker_added)(void *context, const struct broker_registration *broker, int64_t broker_epoch);
    void (*broker_removed)(void *context, int32_t broker_id);
    void (*send)(void *context, struct controller_rpc *rpc);
};

/* ---- local_channel.c: the own broker as a broker like any other ---- */

/* The appliers that also take these requests from an Apache controller. Each fills `response` from `arena` and calls
 * done(done_context) once, perhaps before it returns; request and response live until then. UpdateMetadata goes to `metadata`. */
struct broker_appliers {
    void *context;
    void (*leader_and_isr)(void *context, const struct leader_and_isr_request *request, struct arena *arena,
                           struct leader_and_isr_response *response, void (*done)(void *done_context),
                           void *done_context);
    void (*stop_replica)(void *context, const struct stop_replica_request *request, struct arena *arena,
                         struct stop_replica_response *response, void (*done)(void *done_context),
                         void *done_context);
};

struct local_channel;
/* `remote` (may be NULL: a cluster of one) takes what is for other brokers. Before LeaderAndIsr it waits for the topics' configs. */
MUST_USE enum error local_channel_new(int32_t own_broker_id, struct metadata *metadata,
                                      struct config_watch *configs, const struct broker_appliers *appliers,
                                      const struct controller_channel *remote, struct local_channel **local);
void local_channel_free(struct local_channel **local);
/* The table to hand to controller_new. */
struct controller_channel local_channel_table(struct local_channel *local);

/* ---- network_channel.c: the other brokers ---- */

struct network_channel;
/* `listener` is where brokers hear their controller (control.plane.listener.name, or else the inter-broker one). A request that
 * is not answered within `timeout_ms` is sent again over a new connection. */
MUST_USE enum error network_channel_new(struct loop *loop, struct slice listener, int64_t timeout_ms,
                                        struct network_channel **channel);
/* What waits is answered ERR_CANCELLED. */
void network_channel_free(struct network_channel **channel);
struct controller_channel network_channel_table(struct network_channel *channel);

/* ---- the controller ---- */

/* What the broker knows and the controller asks. All on the control loop. */
struct controller_rules {
    void *context;
    /* May these be the overrides of this entity? They are its whole new set. Else an error (ERR_INVALID_CONFIG,
     * ERR_INVALID_REQUEST, ERR_POLICY_VIOLATION) and why, for the client. NULL: everything may. */
    enum error (*check_configs)(void *context, enum config_type type, struct slice name,
                                const struct config_entry *entries, size_t count, struct text *message);
    /* For APPEND and SUBTRACT: true when the key is a list, with the value it has where the entity does not set it. */
    bool (*list_default)(void *context, enum config_type type, struct slice name, struct slice key,
                         struct slice *value);
    int32_t (*default_partitions)(void *context);         /* num.partitions */
    int16_t (*default_replication_factor)(void *context); /* default.replication.factor */
    /* unclean.leader.election.enable of the topic, its override (may be NULL) considered. */
    bool (*is_unclean_election_allowed)(void *context, const struct image_config *config);
    bool is_topic_deletion_enabled;   /* delete.topic.enable */
    bool is_auto_rebalance_enabled;   /* auto.leader.rebalance.enable */
    int32_t imbalance_percentage;     /* leader.imbalance.per.broker.percentage, 10 */
    int32_t imbalance_check_seconds;  /* leader.imbalance.check.interval.seconds, 300 */
    int64_t (*now_ms)(void *context); /* monotonic */
    int64_t (*wall_ms)(void *context);
    void (*random)(void *context, void *out, size_t size);
};

struct controller_options {
    struct loop *loop; /* the control loop; NULL in tests, which then call controller_tick */
    struct coord *coord;
    struct metadata *metadata;
    struct config_watch *configs;
    struct broker_registration registration; /* of this broker; copied */
    struct controller_rules rules;
    struct controller_channel channel;
    /* where brokers reach each other; lives as long as the controller. Null: their first */
    struct slice listener;
    bool is_candidate; /* false: never stands for election */
    /* Registered (again): the broker epoch, which is the znode's czxid. Also given to metadata. */
    void (*on_registered)(void *context, int64_t broker_epoch);
    /* This broker cannot be a member: another process owns its id and did not leave. The broker must end. */
    void (*on_fatal)(void *context, const char *problem);
    /* Became controller and finished its fail-over, or ceased to be it. */
    void (*on_role)(void *context, bool is_controller);
    /* Another broker is the controller; again for each look at it. May be NULL. */
    void (*on_other)(void *context, int32_t controller_id);
    void *context;
};

/* Registers the broker and stands for election at once, the writes pipelined; again after each new session. */
MUST_USE enum error controller_new(const struct controller_options *options, struct controller **controller);
/* Calls in progress are answered with ERR_NOT_CONTROLLER. Call before coord_close; no callback comes after. */
void controller_free(struct controller **controller);

bool controller_is_active(const struct controller *controller); /* control loop */
int32_t controller_epoch(const struct controller *controller);
int64_t controller_broker_epoch(const struct controller *controller); /* -1 = not registered */
/* Advertised listeners changed: writes /brokers/ids/N anew, the epoch stays. */
MUST_USE enum error controller_update_registration(struct controller *controller,
                                                   const struct broker_registration *registration);
/* Timeouts; done by itself when there is a loop. The next time it wants to be called, INT64_MAX = none. */
int64_t controller_tick(struct controller *controller);

/* ---- requests of clients and of this broker, as Kafka's structs ---- */

/* Supported: CreateTopics 19, DeleteTopics 20, CreatePartitions 37, AlterConfigs 33, IncrementalAlterConfigs 44,
 * ElectLeaders 43, AlterPartitionReassignments 45, ListPartitionReassignments 46; AlterPartition 56, AllocateProducerIds 67, ControlledShutdown 7 of brokers. The request holds only
 * what the caller has authorized; the answer has an item for each of its items, in its order, with error code and message. */
struct controller_call {
    int16_t api_key;
    int16_t version;     /* the request's, for rules that depend on it */
    const void *request; /* struct create_topics_request ...: lives until done */
    struct arena *arena; /* for the answer; the caller keeps off it until done */
    void *response;      /* struct create_topics_response ...: filled, after message_init, when err is OK */
    /* top-level: ERR_NOT_CONTROLLER, ERR_NOMEM, ERR_INVALID_REQUEST, ...; response is then untouched */
    enum error err;
    /* CreateTopics of a client's Metadata or of an internal topic: any broker may, timeout_ms 0 waits not */
    bool is_auto_creation;
    struct loop *home; /* where done runs; NULL = on the control loop, perhaps before submit returns */
    void (*done)(struct controller_call *call);
    void *context;
    struct loop_message message; /* the controller's, as is: */
    struct controller *controller;
};

/* Any thread. The call struct is the caller's and must live until done; done comes exactly once. */
void controller_submit(struct controller *controller, struct controller_call *call);

/* ---- small rules that others need too ---- */

/* ERR_INVALID_TOPIC_EXCEPTION with a reason in `why` (may be NULL): 1..249 of [a-zA-Z0-9._-], not "." or "..". */
MUST_USE enum error topic_name_check(struct slice name, const char **why);
/* __consumer_offsets, __transaction_state, __share_group_state. */
bool topic_is_internal(struct slice name);
