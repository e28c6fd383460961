#include "metadata/image.h"

#include <stdlib.h>

#include "metadata/image_inside.h"

static void topic_retain(void *value)
{
    count_up(value);
}

static void topic_release(void *value)
{
    struct image_topic *topic = value;
    if (!count_down(topic)) return;
    for (int32_t i = 0; i < topic->partition_count; i++)
        if (count_down(topic->partitions[i])) free(topic->partitions[i]);
    free(topic);
}

static void config_retain(void *value)
{
    count_up(value);
}

static void config_release(void *value)
{
    if (count_down(value)) free(value);
}

const struct tree_kind image_topic_kind = {topic_retain, topic_release};
const struct tree_kind image_config_kind = {config_retain, config_release};

struct image *image_retain(const struct image *image)
{
    return count_up((struct image *)image);
}

void image_release(struct image **image)
{
    struct image *released = *image;
    *image = NULL;
    if (!count_down(released)) return;
    tree_release(&released->topics, &image_topic_kind);
    tree_release(&released->topics_by_id, &image_topic_kind);
    tree_release(&released->configs, &image_config_kind);
    if (count_down(released->brokers)) free(released->brokers);
    if (count_down(released->features)) free(released->features);
    if (count_down(released->cluster_id)) free(released->cluster_id);
    free(released);
}

int64_t image_version(const struct image *image)
{
    return image->version;
}

struct slice image_cluster_id(const struct image *image)
{
    return image->cluster_id ? image->cluster_id->text : SLICE_NULL;
}

bool image_is_whole(const struct image *image)
{
    return image->is_whole;
}

int32_t image_controller_id(const struct image *image)
{
    return image->controller_id;
}

int32_t image_controller_epoch(const struct image *image)
{
    return image->controller_epoch;
}

const struct image_topic *image_topic(const struct image *image, struct slice name)
{
    return tree_get(image->topics, name);
}

const struct image_topic *image_topic_by_id(const struct image *image, const struct uuid *id)
{
    return tree_get(image->topics_by_id, (struct slice){id->bytes, sizeof id->bytes});
}

const struct image_partition *image_partition(const struct image *image, struct slice topic, int32_t index)
{
    return image_topic_partition(image_topic(image, topic), index);
}

size_t image_topic_count(const struct image *image)
{
    return image->topic_count;
}

int64_t image_partition_count(const struct image *image)
{
    return image->partition_count;
}

const struct image_topic *image_next_topic(const struct image *image, struct slice from, bool is_after)
{
    return tree_next(image->topics, from, is_after);
}

size_t image_broker_count(const struct image *image)
{
    return image->brokers ? image->brokers->count : 0;
}

const struct image_broker *image_broker_at(const struct image *image, size_t index)
{
    return index < image_broker_count(image) ? &image->brokers->items[index] : NULL;
}

const struct image_broker *image_broker(const struct image *image, int32_t id)
{
    size_t low = 0, high = image_broker_count(image);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct image_broker *broker = &image->brokers->items[middle];
        if (broker->id == id) return broker;
        if (broker->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct image_endpoint *image_broker_endpoint(const struct image_broker *broker, struct slice listener)
{
    for (int32_t i = 0; broker && i < broker->endpoint_count; i++)
        if (slice_equal(broker->endpoints[i].listener, listener)) return &broker->endpoints[i];
    return NULL;
}

/* --- configs --- */

const struct image_config *image_next_config(const struct image *image, enum config_type type,
                                             struct slice from, bool is_after)
{
    uint8_t small[256];
    uint8_t *key = from.size < sizeof small ? small : malloc(from.size + 1);
    if (!key) return NULL;
    key[0] = (uint8_t)type;
    if (from.size) memcpy(key + 1, from.data, from.size);
    const struct image_config *config =
        tree_next(image->configs, (struct slice){key, from.size + 1}, is_after);
    if (key != small) free(key);
    return config && config->type == type ? config : NULL;
}

const struct image_config *image_config(const struct image *image, enum config_type type, struct slice name)
{
    const struct image_config *config = image_next_config(image, type, name, false);
    return config && slice_compare(config->name, name) == 0 ? config : NULL;
}

bool image_same_configs(const struct image *a, const struct image *b)
{
    return a->configs == b->configs;
}

struct slice image_config_value(const struct image_config *config, struct slice key)
{
    int32_t low = 0, high = config ? config->entry_count : 0;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        int order = slice_compare(key, config->entries[middle].key);
        if (order == 0) return config->entries[middle].value;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return SLICE_NULL;
}

int64_t image_feature_epoch(const struct image *image)
{
    return image->features ? image->features->epoch : -1;
}

size_t image_feature_count(const struct image *image)
{
    return image->features ? image->features->count : 0;
}

const struct image_feature *image_feature_at(const struct image *image, size_t index)
{
    return index < image_feature_count(image) ? &image->features->items[index] : NULL;
}
