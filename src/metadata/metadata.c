#include "metadata/metadata.h"

#include <assert.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/map.h"
#include "loop/loop.h"
#include "wire/messages.h"

struct metadata_view {
    struct list link;
    struct loop *loop;
    struct loop_message message;
    struct image *pending; /* __atomic; not NULL while the message is on its way */
    struct image *current;
    void (*on_image)(void *context, const struct image *old, const struct image *image);
    void *context;
    bool is_closed; /* while its message was on its way */
};

enum { GONE_KEPT = 128 };

struct metadata {
    struct loop *home;
    struct image *image;
    struct metadata_listener *listeners;
    struct list views;
    int64_t broker_epoch;
    int32_t controller_epoch;    /* the highest that spoke to us */
    int64_t told_epoch;          /* of the registration of ours that was last told of everything */
    struct uuid gone[GONE_KEPT]; /* topics that were deleted last, from gone_count % GONE_KEPT back, */
    size_t gone_count;
    struct map gone_ids; /* and where to find them: a full update asks of each topic */
};

enum error metadata_new(struct loop *home, struct slice cluster_id, struct metadata **metadata)
{
    struct metadata *made = calloc(1, sizeof *made);
    struct image_builder *builder = NULL;
    enum error err = made ? image_builder_new(NULL, &builder) : ERR_NOMEM;
    if (err == OK) err = image_builder_cluster_id(builder, cluster_id);
    if (err != OK) {
        image_builder_drop(&builder);
        free(made);
        return err;
    }
    made->home = home;
    made->image = image_builder_finish(&builder);
    made->broker_epoch = made->told_epoch = -1;
    list_init(&made->views);
    *metadata = made;
    return OK;
}

void metadata_free(struct metadata **metadata)
{
    if (!*metadata) return;
    assert(list_empty(&(*metadata)->views));
    image_release(&(*metadata)->image);
    map_free(&(*metadata)->gone_ids);
    free(*metadata);
    *metadata = NULL;
}

const struct image *metadata_image(const struct metadata *metadata)
{
    return metadata->image;
}

/* On the view's loop. */
static void view_arrived(struct loop_message *message)
{
    struct metadata_view *view = CONTAINER_OF(message, struct metadata_view, message);
    if (view->is_closed) {
        free(view);
        return;
    }
    struct image *old = view->current;
    view->current = __atomic_exchange_n(&view->pending, NULL, __ATOMIC_ACQ_REL);
    if (view->on_image) view->on_image(view->context, old, view->current);
    image_release(&old);
}

void metadata_publish(struct metadata *metadata, struct image *image)
{
    struct image *old = metadata->image;
    metadata->image = image;
    image_retain(image); /* a listener may publish the next one */
    /* Views first: what a listener posts to a loop must find the image there. */
    LIST_EACH(&metadata->views, item)
    {
        struct metadata_view *view = CONTAINER_OF(item, struct metadata_view, link);
        struct image *passed = __atomic_exchange_n(&view->pending, image_retain(image), __ATOMIC_ACQ_REL);
        /* One that has not been taken yet is passed over; its message brings ours. */
        if (passed)
            image_release(&passed);
        else
            loop_post(view->loop, &view->message);
    }
    for (struct metadata_listener *listener = metadata->listeners, *next; listener; listener = next) {
        next = listener->next;
        listener->on_image(listener->context, old, image);
    }
    image_release(&image);
    image_release(&old);
}

void metadata_listen(struct metadata *metadata, struct metadata_listener *listener)
{
    struct metadata_listener **end = &metadata->listeners;
    while (*end) end = &(*end)->next;
    listener->next = NULL;
    *end = listener;
}

void metadata_unlisten(struct metadata *metadata, struct metadata_listener *listener)
{
    for (struct metadata_listener **at = &metadata->listeners; *at; at = &(*at)->next) {
        if (*at != listener) continue;
        *at = listener->next;
        return;
    }
}

enum error metadata_view_open(struct metadata *metadata, struct loop *loop,
                              void (*on_image)(void *context, const struct image *old,
                                               const struct image *image),
                              void *context, struct metadata_view **view)
{
    struct metadata_view *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    *made = (struct metadata_view){
        .loop = loop, .message.run = view_arrived, .on_image = on_image, .context = context};
    made->current = image_retain(metadata->image);
    list_push_back(&metadata->views, &made->link);
    *view = made;
    return OK;
}

void metadata_view_close(struct metadata *metadata, struct metadata_view **view)
{
    (void)metadata;
    struct metadata_view *closing = *view;
    if (!closing) return;
    *view = NULL;
    list_remove(&closing->link);
    struct image *pending = __atomic_exchange_n(&closing->pending, NULL, __ATOMIC_ACQ_REL);
    image_release(&closing->current);
    closing->is_closed = pending && loop_is_current(closing->loop);
    bool is_awaited = closing->is_closed; /* a stopped loop runs no message any more */
    image_release(&pending);
    if (is_awaited) return;
    free(closing);
}

const struct image *metadata_view_image(const struct metadata_view *view)
{
    return view->current;
}

/* --- obeying --- */

void metadata_set_broker_epoch(struct metadata *metadata, int64_t broker_epoch)
{
    metadata->broker_epoch = broker_epoch;
}

int64_t metadata_broker_epoch(const struct metadata *metadata)
{
    return metadata->broker_epoch;
}

enum error metadata_obey(struct metadata *metadata, int32_t controller_epoch, int64_t broker_epoch)
{
    /* A larger broker epoch is fine: the controller may know our newest registration before we do. */
    if (broker_epoch != -1 && broker_epoch < metadata->broker_epoch) return ERR_STALE_BROKER_EPOCH;
    if (controller_epoch < metadata->controller_epoch) return ERR_STALE_CONTROLLER_EPOCH;
    metadata->controller_epoch = controller_epoch;
    return OK;
}

/* --- what does not come back --- */

typedef struct update_metadata_request_update_metadata_topic_state topic_state;

static struct slice id_slice(const struct uuid *id)
{
    return (struct slice){id->bytes, sizeof id->bytes};
}

bool metadata_is_gone(const struct metadata *metadata, const struct uuid *id)
{
    return metadata->gone_count > 0 && map_get(&metadata->gone_ids, id_slice(id)) != NULL;
}

static bool is_deletion(const topic_state *topic)
{
    return topic->partition_states.count > 0 &&
           topic->partition_states.items[0].leader == IMAGE_LEADER_DELETED;
}

static bool is_stale(const struct metadata *metadata, const topic_state *topic)
{
    return !is_deletion(topic) && metadata_is_gone(metadata, &topic->topic_id);
}

/* After the update. */
static void note_gone(struct metadata *metadata, const struct update_metadata_request *request)
{
    for (int32_t t = 0; t < request->topic_states.count; t++) {
        const topic_state *topic = &request->topic_states.items[t];
        if (!is_deletion(topic) || uuid_is_zero(&topic->topic_id)) continue;
        if (image_topic_by_id(metadata->image, &topic->topic_id) ||
            metadata_is_gone(metadata, &topic->topic_id))
            continue;
        /* Without memory it is not remembered. */
        struct uuid *kept = &metadata->gone[metadata->gone_count % GONE_KEPT];
        if (map_put(&metadata->gone_ids, id_slice(&topic->topic_id), metadata) != OK) continue;
        if (metadata->gone_count >= GONE_KEPT) (void)map_remove(&metadata->gone_ids, id_slice(kept));
        *kept = topic->topic_id;
        metadata->gone_count++;
    }
}

/* A controller that hears no answer sends again over another connection, and goes on. What lay in the first may come at last, when
 * the topic it tells of is deleted: an id is never used twice. *kept is the request without those; to be freed. */
static enum error drop_gone(const struct metadata *metadata, const struct update_metadata_request *request,
                            struct update_metadata_request *kept, topic_state **topics)
{
    bool has_any = false;
    *kept = *request;
    *topics = NULL;
    for (int32_t t = 0; t < request->topic_states.count && !has_any; t++)
        has_any = is_stale(metadata, &request->topic_states.items[t]);
    if (!has_any) return OK;
    *topics = malloc((size_t)request->topic_states.count * sizeof **topics);
    if (!*topics) return ERR_NOMEM;
    kept->topic_states.items = *topics;
    kept->topic_states.count = 0;
    for (int32_t t = 0; t < request->topic_states.count; t++) {
        const topic_state *topic = &request->topic_states.items[t];
        if (!is_stale(metadata, topic)) (*topics)[kept->topic_states.count++] = *topic;
    }
    return OK;
}

enum error metadata_apply_update(struct metadata *metadata, const struct update_metadata_request *asked)
{
    enum error err = metadata_obey(metadata, asked->controller_epoch, asked->broker_epoch);
    if (err != OK) return err;
    struct update_metadata_request kept, *request = &kept;
    topic_state *topics;
    err = drop_gone(metadata, asked, &kept, &topics);
    if (err != OK) return err;
    struct image_builder *builder = NULL;
    err = image_builder_new(metadata->image, &builder);
    if (err == OK) err = image_builder_update(builder, request);
    /* The first word to a new registration that tells of topics tells of all of them. Who was away for a while, and did not
     * restart, so hears what was deleted meanwhile. A new controller of ours says so when it tells of all. */
    bool is_first = request->broker_epoch > metadata->told_epoch && request->topic_states.count > 0;
    bool is_whole = is_first || request->type == METADATA_UPDATE_FULL;
    if (err == OK && is_whole) err = image_builder_only(builder, request);
    if (err == OK && is_first) metadata->told_epoch = request->broker_epoch;
    if (err == OK)
        metadata_publish(metadata, image_builder_finish(&builder));
    else
        image_builder_drop(&builder);
    if (err == OK) note_gone(metadata, request);
    free(topics);
    return err;
}
