/* image_inside.h: what an image is made of, for image.c (reading) and image_builder.c (making). */
#pragma once
#include "metadata/image.h"
#include "metadata/tree.h"

/* A counted, immutable set of brokers or features: the array and all it points to in one arena. */
struct image_brokers {
    int references;
    size_t count;
    struct image_broker *items; /* by id */
};

struct image_features {
    int references;
    int64_t epoch;
    size_t count;
    struct image_feature *items; /* by name */
};

struct image_text {
    int references;
    struct slice text;
};

struct image {
    int references;
    int64_t version;
    struct image_text *cluster_id;
    int32_t controller_id, controller_epoch;
    bool is_whole;
    struct tree_node *topics;       /* name -> struct image_topic */
    struct tree_node *topics_by_id; /* 16 bytes -> the same */
    size_t topic_count;
    int64_t partition_count;
    int64_t place_count;             /* of the topics' arrays, those of unknown partitions too */
    struct image_brokers *brokers;   /* NULL = none */
    struct tree_node *configs;       /* a byte of its type, then its name -> struct image_config */
    struct image_features *features; /* NULL = none known */
};

extern const struct tree_kind image_topic_kind, image_config_kind;

/* Counting of any of the structs above, whose first member counts; `free` is all it takes. */
static inline void *count_up(void *counted)
{
    if (counted) __atomic_add_fetch((int *)counted, 1, __ATOMIC_RELAXED);
    return counted;
}
static inline bool count_down(void *counted)
{
    return counted && __atomic_sub_fetch((int *)counted, 1, __ATOMIC_ACQ_REL) == 0;
}
