/* znodes.h: the contents of Kafka's znodes: JSON as Apache Kafka 3.9 writes it, keys in its order.
 *
 * Encoders append to a struct text. Decoders take an arena for what they return, accept any order of keys, unknown keys and the
 * older versions that 3.9 accepts, and otherwise answer ERR_CORRUPT with a fault that names path and field:
 *     /brokers/topics/orders: partitions.0[2]: expected a broker id, found a string
 *
 * Threads  pure.
 * Source   facts/cluster.md 1.4. Held against a live Apache broker's znodes by test/interop/znodes_apache.py.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"
#include "metadata/image.h"

struct znode_fault {
    char text[240];
};

/* --- /brokers/ids/N, version 5 --- */
struct broker_endpoint {
    struct slice listener; /* "EXTERNAL" */
    struct slice host;     /* without brackets */
    int32_t port;
    int16_t security_protocol; /* 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL */
};

struct broker_feature {
    struct slice name;
    int16_t min_version, max_version;
};

struct broker_registration {
    int32_t id; /* of the path, not in the JSON */
    const struct broker_endpoint *endpoints;
    size_t endpoint_count;
    struct slice rack; /* null = none */
    int32_t jmx_port;  /* -1 */
    int64_t timestamp_ms;
    int64_t alive_since_zxid; /* ours, 0 = not told: the epoch of this process' first registration */
    /* Ours: as the last living member of an ISR it syncs what is committed and then takes the others out of the ISR itself, at once:
     * so an ISR of one of these is never of what it only remembers. */
    bool shrinks_itself;
    const struct broker_feature *features;
    size_t feature_count;
};

void znode_broker_encode(const struct broker_registration *broker, struct text *out);
MUST_USE enum error znode_broker_decode(struct slice path, struct slice data, struct arena *arena,
                                        struct broker_registration *broker, struct znode_fault *fault);
const char *security_protocol_name(int16_t protocol); /* NULL when unknown */
bool security_protocol_of_name(struct slice name, int16_t *protocol);

/* --- /brokers/topics/T, version 3 (reads 1 and 2) --- */
struct int32_list {
    const int32_t *items;
    size_t count;
};

struct topic_assignment {
    struct uuid id; /* zero = absent */
    /* Indexed by partition, 0 .. partition_count-1; adding and removing are empty where nothing is being moved. */
    struct int32_list *replicas, *adding, *removing;
    size_t partition_count;
};

void znode_topic_encode(const struct topic_assignment *topic, struct text *out);
MUST_USE enum error znode_topic_decode(struct slice path, struct slice data, struct arena *arena,
                                       struct topic_assignment *topic, struct znode_fault *fault);

/* --- /brokers/topics/T/partitions/P/state, version 1 --- */
struct partition_state {
    int32_t controller_epoch;
    int32_t leader; /* -1 = none */
    int32_t leader_epoch;
    struct int32_list isr;
    bool is_recovering; /* leader_recovery_state 1 */
};

void znode_state_encode(const struct partition_state *state, struct text *out);
MUST_USE enum error znode_state_decode(struct slice path, struct slice data, struct arena *arena,
                                       struct partition_state *state, struct znode_fault *fault);

/* --- /controller, version 2; /controller_epoch --- */
struct controller_owner {
    int32_t broker_id;
    int64_t timestamp_ms;
    int32_t kraft_controller_epoch; /* -1 */
};

void znode_controller_encode(const struct controller_owner *owner, struct text *out);
MUST_USE enum error znode_controller_decode(struct slice path, struct slice data,
                                            struct controller_owner *owner, struct znode_fault *fault);
MUST_USE enum error znode_epoch_decode(struct slice path, struct slice data, int32_t *epoch,
                                       struct znode_fault *fault);

/* --- /cluster/id --- */
void znode_cluster_id_encode(struct slice id, struct text *out);
MUST_USE enum error znode_cluster_id_decode(struct slice path, struct slice data, struct arena *arena,
                                            struct slice *id, struct znode_fault *fault);

/* --- /config/TYPE/NAME, version 1; names are percent-encoded in paths --- */
const char *config_type_name(enum config_type type); /* "topics", "clients", "users", "brokers", "ips" */
bool config_type_parse(struct slice name, enum config_type *type);
void znode_config_encode(const struct config_entry *entries, size_t count, struct text *out);
MUST_USE enum error znode_config_decode(struct slice path, struct slice data, struct arena *arena,
                                        struct config_entry **entries, size_t *count,
                                        struct znode_fault *fault);
/* URL encoding as Kafka's Sanitizer does it; "<default>" stays as it is. */
void entity_name_encode(struct slice name, struct text *out);
MUST_USE enum error entity_name_decode(struct slice encoded, struct arena *arena, struct slice *name);

/* --- /config/changes/config_change_N, version 2 (reads 1) --- */
void znode_config_change_encode(struct slice entity_path, struct text *out); /* "topics/orders" */
MUST_USE enum error znode_config_change_decode(struct slice path, struct slice data, struct arena *arena,
                                               struct slice *entity_path, struct znode_fault *fault);

/* --- lists of partitions: /admin/preferred_replica_election, /isr_change_notification/..., version 1;
 *     /admin/reassign_partitions adds replicas --- */
struct named_partition {
    struct slice topic;
    int32_t partition;
    struct int32_list replicas; /* reassign_partitions alone */
};
void znode_partitions_encode(const struct named_partition *partitions, size_t count, bool has_replicas,
                             struct text *out);
MUST_USE enum error znode_partitions_decode(struct slice path, struct slice data, struct arena *arena,
                                            bool has_replicas, struct named_partition **partitions,
                                            size_t *count, struct znode_fault *fault);

/* --- /log_dir_event_notification/log_dir_event_N, version 1, event 1 --- */
void znode_log_dir_event_encode(int32_t broker_id, struct text *out);
MUST_USE enum error znode_log_dir_event_decode(struct slice path, struct slice data, int32_t *broker_id,
                                               struct znode_fault *fault);

/* --- /feature, version 2 (reads 1) --- */
struct feature_node {
    bool is_enabled; /* status */
    const struct image_feature *features;
    size_t count;
};
void znode_feature_encode(const struct feature_node *node, struct text *out);
MUST_USE enum error znode_feature_decode(struct slice path, struct slice data, struct arena *arena,
                                         struct feature_node *node, struct znode_fault *fault);

/* --- /latest_producer_id_block, version 1; null data = no block yet --- */
struct producer_id_block {
    int32_t broker_id;
    int64_t first, last; /* inclusive */
};
void znode_producer_ids_encode(const struct producer_id_block *block, struct text *out);
MUST_USE enum error znode_producer_ids_decode(struct slice path, struct slice data,
                                              struct producer_id_block *block, struct znode_fault *fault);
