/* image_builder.c: a new image from an old one and a change. */
#include <assert.h>
#include <stdlib.h>

#include "base/map.h"
#include "metadata/image_inside.h"
#include "wire/messages.h"

/* Beyond them a request is taken for damage: an index costs a pointer for each number below it that is not known. */
enum { MAX_PLACES = 4 << 20 /* of all topics */, MAX_REPLICAS = 1 << 15 };

struct image_builder {
    struct image *image;
};

enum error image_builder_new(const struct image *old, struct image_builder **builder)
{
    struct image_builder *made = malloc(sizeof *made);
    struct image *image = malloc(sizeof *image);
    if (!made || !image) {
        free(made);
        free(image);
        return ERR_NOMEM;
    }
    *image = (struct image){.references = 1, .version = 1, .controller_id = -1};
    /* Field by field: others count the old one's references meanwhile. */
    if (old)
        *image = (struct image){.references = 1,
                                .version = old->version + 1,
                                .cluster_id = count_up(old->cluster_id),
                                .controller_id = old->controller_id,
                                .is_whole = old->is_whole,
                                .controller_epoch = old->controller_epoch,
                                .topics = tree_retain(old->topics),
                                .topics_by_id = tree_retain(old->topics_by_id),
                                .topic_count = old->topic_count,
                                .partition_count = old->partition_count,
                                .place_count = old->place_count,
                                .brokers = count_up(old->brokers),
                                .configs = tree_retain(old->configs),
                                .features = count_up(old->features)};
    made->image = image;
    *builder = made;
    return OK;
}

struct image *image_builder_finish(struct image_builder **builder)
{
    struct image *image = (*builder)->image;
    free(*builder);
    *builder = NULL;
    return image;
}

void image_builder_drop(struct image_builder **builder)
{
    if (!*builder) return;
    struct image *image = image_builder_finish(builder);
    image_release(&image);
}

enum error image_builder_cluster_id(struct image_builder *builder, struct slice cluster_id)
{
    struct image_text *text = malloc(sizeof *text + cluster_id.size);
    if (!text) return ERR_NOMEM;
    if (cluster_id.size) memcpy(text + 1, cluster_id.data, cluster_id.size);
    *text = (struct image_text){1, {(uint8_t *)(text + 1), cluster_id.size}};
    if (count_down(builder->image->cluster_id)) free(builder->image->cluster_id);
    builder->image->cluster_id = text;
    return OK;
}

/* --- topics --- */

static struct image_topic *topic_new(struct slice name, const struct uuid *id, int32_t partition_count)
{
    size_t array = (size_t)partition_count * sizeof(struct image_partition *);
    struct image_topic *topic = malloc(sizeof *topic + array + name.size + 1);
    if (!topic) return NULL;
    uint8_t *own_name = (uint8_t *)topic->partitions + array;
    memcpy(own_name, name.data, name.size);
    own_name[name.size] = 0;
    *topic = (struct image_topic){1, {own_name, name.size}, *id, partition_count};
    memset(topic->partitions, 0, array);
    return topic;
}

static struct image_partition *partition_copy(const struct image_partition *from)
{
    size_t count = (size_t)from->replica_count + (size_t)from->isr_count + (size_t)from->offline_count;
    struct image_partition *partition = malloc(sizeof *partition + count * sizeof(int32_t));
    if (!partition) return NULL;
    *partition = *from;
    partition->references = 1;
    int32_t *at = (int32_t *)(partition + 1);
    const int32_t **lists[] = {&partition->replicas, &partition->isr, &partition->offline};
    const int32_t counts[] = {from->replica_count, from->isr_count, from->offline_count};
    for (int i = 0; i < 3; i++) {
        if (counts[i]) memcpy(at, *lists[i], (size_t)counts[i] * sizeof *at);
        *lists[i] = at;
        at += counts[i];
    }
    return partition;
}

static int64_t known_partitions(const struct image_topic *topic)
{
    int64_t known = 0;
    for (int32_t i = 0; topic && i < topic->partition_count; i++) known += topic->partitions[i] != NULL;
    return known;
}

static struct slice id_key(const struct image_topic *topic)
{
    return (struct slice){topic->id.bytes, sizeof topic->id.bytes};
}

/* The partitions of `old` (may be NULL) in a topic of at least `count` of them. */
static struct image_topic *topic_grown(const struct image_topic *old, struct slice name,
                                       const struct uuid *id, int32_t count)
{
    int32_t old_count = old ? old->partition_count : 0;
    struct image_topic *topic = topic_new(name, id, count > old_count ? count : old_count);
    if (!topic) return NULL;
    for (int32_t i = 0; i < old_count; i++) topic->partitions[i] = count_up(old->partitions[i]);
    return topic;
}

static enum error remove_topic(struct image *image, struct slice name)
{
    struct image_topic *old = tree_get(image->topics, name);
    if (!old) return OK;
    int64_t known = known_partitions(old);
    count_up(old); /* its name and id are the keys */
    enum error err =
        uuid_is_zero(&old->id) ? OK : tree_remove(&image->topics_by_id, &image_topic_kind, id_key(old));
    if (err == OK) err = tree_remove(&image->topics, &image_topic_kind, old->name);
    if (err == OK) {
        image->topic_count--;
        image->partition_count -= known;
        image->place_count -= old->partition_count;
    }
    image_topic_kind.release(old);
    return err;
}

/* Puts `topic` (a reference it does not take) in the place of `old`. */
static enum error replace_topic(struct image *image, struct image_topic *old, struct image_topic *topic)
{
    int64_t old_known = known_partitions(old), old_places = old ? old->partition_count : 0;
    bool is_new = !old;
    enum error err = OK;
    if (old && !uuid_is_zero(&old->id) && !uuid_equal(&old->id, &topic->id))
        err = tree_remove(&image->topics_by_id, &image_topic_kind, id_key(old));
    if (err == OK && !uuid_is_zero(&topic->id))
        err = tree_put(&image->topics_by_id, &image_topic_kind, id_key(topic), topic);
    if (err == OK) err = tree_put(&image->topics, &image_topic_kind, topic->name, topic);
    if (err != OK) return err;
    image->topic_count += is_new;
    image->partition_count += known_partitions(topic) - old_known;
    image->place_count += topic->partition_count - old_places;
    return OK;
}

static bool is_sane(const struct image_partition *partition)
{
    return partition->index >= 0 && partition->index < MAX_PLACES && partition->replica_count >= 0 &&
           partition->replica_count <= MAX_REPLICAS && partition->isr_count >= 0 &&
           partition->isr_count <= MAX_REPLICAS && partition->offline_count >= 0 &&
           partition->offline_count <= MAX_REPLICAS;
}

/* What a controller sent over a connection that it has given up since may come behind what it sent over the next. */
static bool is_overtaken(const struct image_partition *known, const struct image_partition *change)
{
    return known && change->controller_epoch <= known->controller_epoch &&
           change->zk_version < known->zk_version;
}

/* All changes of one topic, so that its array is copied once. */
static enum error change_topic(struct image *image, struct slice name, const struct uuid *id,
                               const struct image_partition *changes, size_t count)
{
    struct image_topic *old = tree_get(image->topics, name);
    /* A topic of another id was deleted and created again while we did not look. */
    bool is_other = old && !uuid_is_zero(id) && !uuid_is_zero(&old->id) && !uuid_equal(id, &old->id);
    int32_t wanted = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_sane(&changes[i])) return ERR_CORRUPT;
        if (changes[i].leader != IMAGE_LEADER_DELETED && changes[i].index >= wanted)
            wanted = changes[i].index + 1;
    }
    int32_t places = old ? old->partition_count : 0;
    if (wanted > places && image->place_count + wanted - places > MAX_PLACES) return ERR_CORRUPT;
    const struct image_topic *holder = uuid_is_zero(id) ? NULL : image_topic_by_id(image, id);
    if (holder && holder != old) return ERR_CORRUPT; /* two topics cannot have one id */
    struct image_topic *topic = topic_grown(is_other ? NULL : old, name, id, wanted);
    if (!topic) return ERR_NOMEM;
    enum error err = OK;
    for (size_t i = 0; err == OK && i < count; i++) {
        const struct image_partition *change = &changes[i];
        bool is_gone = change->leader == IMAGE_LEADER_DELETED;
        if (is_gone && change->index >= topic->partition_count) continue;
        if (!is_gone && !is_other && is_overtaken(topic->partitions[change->index], change) &&
            !uuid_is_zero(id))
            continue;
        struct image_partition *partition = is_gone ? NULL : partition_copy(change);
        if (!is_gone && !partition) {
            err = ERR_NOMEM;
            break;
        }
        struct image_partition **slot = &topic->partitions[change->index];
        if (count_down(*slot)) free(*slot);
        *slot = partition;
    }
    if (err == OK && known_partitions(topic) == 0) {
        err = remove_topic(image, name);
        if (err == OK) err = image_builder_config_remove(&(struct image_builder){image}, CONFIG_TOPIC, name);
    } else if (err == OK) {
        err = replace_topic(image, old, topic);
    }
    image_topic_kind.release(topic);
    return err;
}

enum error image_builder_partition(struct image_builder *builder, struct slice topic, const struct uuid *id,
                                   const struct image_partition *partition)
{
    return change_topic(builder->image, topic, id, partition, 1);
}

/* --- UpdateMetadata --- */

static struct image_partition
partition_of_state(const struct update_metadata_request_update_metadata_partition_state *state)
{
    return (struct image_partition){
        .index = state->partition_index,
        .leader = state->leader,
        .leader_epoch = state->leader_epoch,
        .controller_epoch = state->controller_epoch,
        .zk_version = state->zk_version,
        .replica_count = state->replicas.count,
        .isr_count = state->isr.count,
        .offline_count = state->offline_replicas.count > 0 ? state->offline_replicas.count : 0,
        .replicas = state->replicas.items,
        .isr = state->isr.items,
        .offline = state->offline_replicas.items,
    };
}

static int by_id(const void *a, const void *b)
{
    const struct image_broker *left = a, *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

static uint8_t *copy_into(uint8_t *at, struct slice s, struct slice *copy)
{
    if (s.size) memcpy(at, s.data, s.size);
    *copy = s.data ? (struct slice){at, s.size} : SLICE_NULL;
    return at + s.size;
}

/* Brokers, endpoints and texts in one block, in this order. */
static struct image_brokers *brokers_of(const struct update_metadata_request *request)
{
    size_t count = (size_t)request->live_brokers.count, endpoints = 0, text = 0;
    for (size_t i = 0; i < count; i++) {
        const struct update_metadata_request_update_metadata_broker *broker = &request->live_brokers.items[i];
        endpoints += (size_t)broker->endpoints.count;
        text += broker->rack.size;
        for (int32_t e = 0; e < broker->endpoints.count; e++)
            text += broker->endpoints.items[e].host.size + broker->endpoints.items[e].listener.size;
    }
    struct image_brokers *brokers = malloc(sizeof *brokers + count * sizeof(struct image_broker) +
                                           endpoints * sizeof(struct image_endpoint) + text);
    if (!brokers) return NULL;
    *brokers = (struct image_brokers){1, count, (struct image_broker *)(brokers + 1)};
    struct image_endpoint *endpoint = (struct image_endpoint *)(brokers->items + count);
    uint8_t *at = (uint8_t *)(endpoint + endpoints);
    for (size_t i = 0; i < count; i++) {
        const struct update_metadata_request_update_metadata_broker *from = &request->live_brokers.items[i];
        struct image_broker *broker = &brokers->items[i];
        *broker = (struct image_broker){from->id, SLICE_NULL, endpoint, from->endpoints.count};
        at = copy_into(at, from->rack, &broker->rack);
        for (int32_t e = 0; e < from->endpoints.count; e++, endpoint++) {
            const struct update_metadata_request_update_metadata_endpoint *said = &from->endpoints.items[e];
            *endpoint =
                (struct image_endpoint){.port = said->port, .security_protocol = said->security_protocol};
            at = copy_into(at, said->host, &endpoint->host);
            at = copy_into(at, said->listener, &endpoint->listener);
        }
    }
    qsort(brokers->items, count, sizeof *brokers->items, by_id);
    return brokers;
}

static bool same_brokers(const struct image_brokers *a, const struct image_brokers *b)
{
    if (!a || a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct image_broker *x = &a->items[i], *y = &b->items[i];
        if (x->id != y->id || x->endpoint_count != y->endpoint_count || !slice_equal(x->rack, y->rack))
            return false;
        for (int32_t e = 0; e < x->endpoint_count; e++) {
            const struct image_endpoint *p = &x->endpoints[e], *q = &y->endpoints[e];
            if (p->port != q->port || p->security_protocol != q->security_protocol ||
                !slice_equal(p->host, q->host) || !slice_equal(p->listener, q->listener))
                return false;
        }
    }
    return true;
}

enum error image_builder_update(struct image_builder *builder, const struct update_metadata_request *request)
{
    struct image *image = builder->image;
    struct image_brokers *brokers = brokers_of(request);
    if (!brokers) return ERR_NOMEM;
    for (size_t i = 1; i < brokers->count; i++) {
        if (brokers->items[i - 1].id != brokers->items[i].id) continue;
        free(brokers);
        return ERR_CORRUPT;
    }
    /* Kept where equal, so that who compares pointers sees that nothing changed. */
    if (same_brokers(image->brokers, brokers)) {
        free(brokers);
    } else {
        if (count_down(image->brokers)) free(image->brokers);
        image->brokers = brokers;
    }
    image->controller_id = request->controller_id;
    image->controller_epoch = request->controller_epoch;

    enum error err = OK;
    for (int32_t t = 0; err == OK && t < request->topic_states.count; t++) {
        const struct update_metadata_request_update_metadata_topic_state *topic =
            &request->topic_states.items[t];
        size_t count = (size_t)topic->partition_states.count;
        if (count == 0) continue;
        struct image_partition *changes = malloc(count * sizeof *changes);
        if (!changes) return ERR_NOMEM;
        for (size_t p = 0; p < count; p++) changes[p] = partition_of_state(&topic->partition_states.items[p]);
        err = topic->topic_name.size == 0
                  ? ERR_CORRUPT
                  : change_topic(image, topic->topic_name, &topic->topic_id, changes, count);
        free(changes);
    }
    return err;
}

/* --- configs and features --- */

/* Of equal keys the later copied one comes last, and wins. */
enum error image_builder_only(struct image_builder *builder, const struct update_metadata_request *request)
{
    struct map named = {0};
    enum error err = OK;
    for (int32_t t = 0; err == OK && t < request->topic_states.count; t++)
        err = map_put(&named, request->topic_states.items[t].topic_name, builder);
    const struct image_topic *topic = image_next_topic(builder->image, SLICE_NULL, false);
    while (err == OK && topic) {
        char *name = slice_dup(topic->name); /* the topic may go */
        if (!name) {
            err = ERR_NOMEM;
            break;
        }
        bool is_gone = !map_get(&named, slice_of(name));
        if (is_gone) err = remove_topic(builder->image, slice_of(name));
        if (is_gone && err == OK) err = image_builder_config_remove(builder, CONFIG_TOPIC, slice_of(name));
        topic = image_next_topic(builder->image, slice_of(name), true);
        free(name);
    }
    map_free(&named);
    builder->image->is_whole |= err == OK;
    return err;
}

static int by_key(const void *a, const void *b)
{
    struct slice left = ((const struct config_entry *)a)->key, right = ((const struct config_entry *)b)->key;
    int order = slice_compare(left, right);
    return order ? order : (left.data > right.data) - (left.data < right.data);
}

static struct image_config *config_new(enum config_type type, struct slice name,
                                       const struct config_entry *entries, size_t count)
{
    size_t text = name.size + 2;
    for (size_t i = 0; i < count; i++) text += entries[i].key.size + entries[i].value.size;
    struct image_config *config = malloc(sizeof *config + count * sizeof *entries + text);
    if (!config) return NULL;
    uint8_t *at = (uint8_t *)(config->entries + count);
    *at++ = (uint8_t)type;
    *config = (struct image_config){.references = 1, .type = type};
    at = copy_into(at, name, &config->name);
    *at++ = 0;
    for (size_t i = 0; i < count; i++) {
        at = copy_into(at, entries[i].key, &config->entries[i].key);
        at = copy_into(at, entries[i].value, &config->entries[i].value);
    }
    qsort(config->entries, count, sizeof *config->entries, by_key);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_same = kept > 0 && slice_equal(config->entries[kept - 1].key, config->entries[i].key);
        config->entries[is_same ? kept - 1 : kept++] = config->entries[i];
    }
    config->entry_count = (int32_t)kept;
    return config;
}

static bool same_config(const struct image_config *a, const struct image_config *b)
{
    if (!a || a->entry_count != b->entry_count) return false;
    for (int32_t i = 0; i < a->entry_count; i++)
        if (!slice_equal(a->entries[i].key, b->entries[i].key) ||
            !slice_equal(a->entries[i].value, b->entries[i].value))
            return false;
    return true;
}

enum error image_builder_config(struct image_builder *builder, enum config_type type, struct slice name,
                                const struct config_entry *entries, size_t count)
{
    assert(name.data);
    struct image_config *config = config_new(type, name, entries, count);
    if (!config) return ERR_NOMEM;
    enum error err = OK;
    if (!same_config(image_config(builder->image, type, name), config))
        err = tree_put(&builder->image->configs, &image_config_kind,
                       (struct slice){config->name.data - 1, name.size + 1}, config);
    image_config_kind.release(config);
    return err;
}

enum error image_builder_config_remove(struct image_builder *builder, enum config_type type,
                                       struct slice name)
{
    struct image_config *config = (struct image_config *)image_config(builder->image, type, name);
    if (!config) return OK;
    count_up(config);
    enum error err = tree_remove(&builder->image->configs, &image_config_kind,
                                 (struct slice){config->name.data - 1, config->name.size + 1});
    image_config_kind.release(config);
    return err;
}

static int by_name(const void *a, const void *b)
{
    return slice_compare(((const struct image_feature *)a)->name, ((const struct image_feature *)b)->name);
}

enum error image_builder_features(struct image_builder *builder, int64_t epoch,
                                  const struct image_feature *features, size_t count)
{
    size_t text = 0;
    for (size_t i = 0; i < count; i++) text += features[i].name.size;
    struct image_features *made = malloc(sizeof *made + count * sizeof *features + text);
    if (!made) return ERR_NOMEM;
    *made = (struct image_features){1, epoch, count, (struct image_feature *)(made + 1)};
    uint8_t *at = (uint8_t *)(made->items + count);
    for (size_t i = 0; i < count; i++) {
        made->items[i] = features[i];
        at = copy_into(at, features[i].name, &made->items[i].name);
    }
    qsort(made->items, count, sizeof *made->items, by_name);
    if (count_down(builder->image->features)) free(builder->image->features);
    builder->image->features = made;
    return OK;
}
