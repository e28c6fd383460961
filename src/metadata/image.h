/* image.h: what the cluster looks like, as one immutable value.
 *
 *     image 7 ---- topics: tree by name ---- orders ---- partition 0, 1, 2
 *        \                    \
 *         \                    `-- shared --.
 *     image 8 ---- topics: tree by name ---- (a new path of ~log n nodes) ---- orders' ---- partition 0, 1', 2
 *
 * A change makes a new image that shares all it did not touch, so that one changed partition among 100,000 costs
 * microseconds, and a request reads one image from start to end without a lock.
 *
 * Owner    references are counted atomically: image_retain and image_release on any thread. What an image lends (topics,
 *          partitions, configs, slices) lives as long as the image.
 * Order    topics are in bytewise order of their names, brokers in order of their ids, config entries in order of their keys.
 * Absent   numbers -1, slices null, pointers NULL.
 * Source   facts/cluster.md 4.4 (the view a broker keeps), design section 2 "The image".
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/uuid.h"

struct image;
struct tree_node;
struct update_metadata_request;

enum { IMAGE_NO_LEADER = -1, IMAGE_LEADER_DELETED = -2 };

struct image_partition {
    int references; /* the images' */
    int32_t index;
    int32_t leader; /* broker id, IMAGE_NO_LEADER */
    int32_t leader_epoch;
    int32_t controller_epoch;
    int32_t zk_version; /* of the state znode: the partition epoch */
    int32_t replica_count, isr_count, offline_count;
    const int32_t *replicas, *isr, *offline; /* broker ids; replicas in order of preference */
};

struct image_topic {
    int references; /* the images' */
    struct slice name;
    struct uuid id; /* zero = none */
    /* NULL where an index below the count is not known (UpdateMetadata told of others only). */
    int32_t partition_count;
    struct image_partition *partitions[];
};

struct image_endpoint {
    struct slice listener; /* "PLAINTEXT" */
    struct slice host;
    int32_t port;
    int16_t security_protocol; /* 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL */
};

struct image_broker {
    int32_t id;
    struct slice rack; /* null = none */
    const struct image_endpoint *endpoints;
    int32_t endpoint_count;
};

/* The entity types below /config. */
enum config_type { CONFIG_TOPIC, CONFIG_CLIENT, CONFIG_USER, CONFIG_BROKER, CONFIG_IP, CONFIG_TYPE_COUNT };
/* Kept under this name; for brokers the cluster-wide dynamic default. */
#define CONFIG_DEFAULT_ENTITY "<default>"

struct config_entry {
    struct slice key, value;
};

/* The overrides of one entity, as its znode says them. */
struct image_config {
    int references;    /* the images' */
    struct slice name; /* "orders", "1", "<default>" */
    enum config_type type;
    int32_t entry_count;
    struct config_entry entries[];
};

struct image_feature {
    struct slice name;
    int16_t max_level, min_level;
};

struct image *image_retain(const struct image *image);
void image_release(struct image **image);         /* clears the pointer; NULL is fine */
int64_t image_version(const struct image *image); /* rises by one with every image */

struct slice image_cluster_id(const struct image *image);
int32_t image_controller_id(const struct image *image); /* -1 = unknown */
/* A controller has told of all topics: what is not here does not exist. Right after a start what is not here may just not be known. */
bool image_is_whole(const struct image *image);
int32_t image_controller_epoch(const struct image *image); /* of the last UpdateMetadata */

/* --- topics: O(log n) --- */
const struct image_topic *image_topic(const struct image *image, struct slice name);
const struct image_topic *image_topic_by_id(const struct image *image, const struct uuid *id);
const struct image_partition *image_partition(const struct image *image, struct slice topic, int32_t index);
static inline const struct image_partition *image_topic_partition(const struct image_topic *topic,
                                                                  int32_t index)
{
    return topic && index >= 0 && index < topic->partition_count ? topic->partitions[index] : NULL;
}
size_t image_topic_count(const struct image *image);
int64_t image_partition_count(const struct image *image);
/* The first topic in order whose name is >= from (null: of all); with `is_after` > from. NULL at the end.
 *     for (t = image_next_topic(image, SLICE_NULL, false); t; t = image_next_topic(image, t->name, true)) */
const struct image_topic *image_next_topic(const struct image *image, struct slice from, bool is_after);

/* --- brokers that live --- */
size_t image_broker_count(const struct image *image);
const struct image_broker *image_broker_at(const struct image *image, size_t index);
const struct image_broker *image_broker(const struct image *image, int32_t id);
/* Where clients of `listener` reach it; NULL when it has no such listener. */
const struct image_endpoint *image_broker_endpoint(const struct image_broker *broker, struct slice listener);

/* --- configs --- */
/* NULL: not read yet, or no such entity. Equal pointers in two images mean nothing changed. */
const struct image_config *image_config(const struct image *image, enum config_type type, struct slice name);
/* Null slice when not set. */
struct slice image_config_value(const struct image_config *config, struct slice key);
/* Nothing at all was configured otherwise in between: no need to look. */
bool image_same_configs(const struct image *a, const struct image *b);
/* Walks the entities of a type, as image_next_topic does. */
const struct image_config *image_next_config(const struct image *image, enum config_type type,
                                             struct slice from, bool is_after);

/* --- finalized features; epoch -1 = none known --- */
int64_t image_feature_epoch(const struct image *image);
size_t image_feature_count(const struct image *image);
const struct image_feature *image_feature_at(const struct image *image, size_t index);

/* --- making images: one at a time, on one thread --- */
struct image_builder;

/* An empty image; `old` may be NULL for the first one, which needs a cluster id. */
MUST_USE enum error image_builder_new(const struct image *old, struct image_builder **builder);
/* Frees it and what it made; for the way out of an error. */
void image_builder_drop(struct image_builder **builder);
/* The new image with one reference; the builder is gone. Never fails. */
struct image *image_builder_finish(struct image_builder **builder);

MUST_USE enum error image_builder_cluster_id(struct image_builder *builder, struct slice cluster_id);
/* Partition states are deltas, LiveBrokers replaces all brokers, leader -2 removes a partition, the last one its topic (and the
 * topic's config, which a later topic of that name must not inherit). Versions 5 and up. */
MUST_USE enum error image_builder_update(struct image_builder *builder,
                                         const struct update_metadata_request *request);
/* Topics that `request` does not name are no more, nor are their configs: it tells of everything there is. */
MUST_USE enum error image_builder_only(struct image_builder *builder,
                                       const struct update_metadata_request *request);
/* entries need not be sorted; duplicates: the last wins. */
MUST_USE enum error image_builder_config(struct image_builder *builder, enum config_type type,
                                         struct slice name, const struct config_entry *entries, size_t count);
MUST_USE enum error image_builder_config_remove(struct image_builder *builder, enum config_type type,
                                                struct slice name);
MUST_USE enum error image_builder_features(struct image_builder *builder, int64_t epoch,
                                           const struct image_feature *features, size_t count);
/* One topic's partition; used by tests and by image_builder_update. Copies all of `partition` but its references. */
MUST_USE enum error image_builder_partition(struct image_builder *builder, struct slice topic,
                                            const struct uuid *id, const struct image_partition *partition);
