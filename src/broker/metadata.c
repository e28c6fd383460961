/* metadata.c: who is in the cluster, and where partitions are led (Metadata); topics that are asked for may come to be.
 * Source: facts/api-versions.md 2.1. */
#include "broker/handlers.h"
#include "broker/leaders.h"
#include "broker/request.h"
#include "broker/topic_creation.h"
#include "controller/controller.h"
#include "settings/settings.h"
#include "wire/messages.h"

typedef struct metadata_response_metadata_response_topic topic_answer;
typedef struct metadata_response_metadata_response_partition partition_answer;

enum { EARLY_US = 30 * 1000 * 1000 };

struct metadata_work {
    const struct metadata_request *asked;
    bool is_creation_over; /* what is not there now will not be */
};

static bool wants_all(const struct request *request, const struct metadata_request *asked)
{
    return asked->topics.count < 0 || (request->version == 0 && asked->topics.count == 0);
}

static bool may_create(const struct request *request, const struct metadata_request *asked)
{
    return (request->version < 4 || asked->allow_auto_topic_creation) &&
           settings_bool(request->home->settings, SETTING_AUTO_CREATE_TOPICS_ENABLE);
}

/* Its live brokers' addresses may be missing on this listener; then clients cannot reach the leader. */
static void fill_partition(const struct request *request, const struct image *image,
                           const struct image_partition *partition, partition_answer *answer)
{
    *answer = (partition_answer){.partition_index = partition->index,
                                 .leader_id = partition->leader,
                                 .leader_epoch = partition->leader_epoch};
    answer->replica_nodes.items = (int32_t *)partition->replicas;
    answer->replica_nodes.count = partition->replica_count;
    answer->isr_nodes.items = (int32_t *)partition->isr;
    answer->isr_nodes.count = partition->isr_count;
    answer->offline_replicas.items = (int32_t *)partition->offline;
    answer->offline_replicas.count = partition->offline_count;
    const struct image_broker *leader = image_broker(image, partition->leader);
    if (!leader) {
        answer->error_code = error_kafka_code(ERR_LEADER_NOT_AVAILABLE);
        answer->leader_id = -1;
    } else if (!image_broker_endpoint(leader, request->security.listener)) {
        answer->error_code =
            error_kafka_code(request->version >= 6 ? ERR_LISTENER_NOT_FOUND : ERR_LEADER_NOT_AVAILABLE);
        answer->leader_id = -1;
    }
}

static void fill_topic(struct request *request, const struct image *image, const struct image_topic *topic,
                       const struct metadata_request *asked, topic_answer *answer)
{
    *answer = (topic_answer){.name = topic->name,
                             .topic_id = topic->id,
                             .is_internal = topic_is_internal(topic->name),
                             .topic_authorized_operations = INT32_MIN};
    if (request->version >= 8 && asked->include_topic_authorized_operations) {
        answer->topic_authorized_operations =
            authorized_operations(&request->security, ACL_TOPIC, topic->name);
    }
    partition_answer *partitions = request_alloc(request, (size_t)topic->partition_count, sizeof *partitions);
    if (!partitions) return;
    int32_t count = 0;
    for (int32_t i = 0; i < topic->partition_count; i++) {
        if (topic->partitions[i]) fill_partition(request, image, topic->partitions[i], &partitions[count++]);
    }
    answer->partitions.items = partitions;
    answer->partitions.count = count;
}

static topic_answer topic_error(struct slice name, const struct uuid *id, enum error err)
{
    return (topic_answer){.error_code = error_kafka_code(err),
                          .name = name,
                          .topic_id = *id,
                          .is_internal = name.data && topic_is_internal(name),
                          .topic_authorized_operations = INT32_MIN};
}

static bool has_id(const struct metadata_request_metadata_request_topic *topic)
{
    return !uuid_is_zero(&topic->topic_id);
}

/* Until the controller's first word a topic may be there that we do not know: a client that knows it must not take it for gone, as
 * librdkafka then fails all that it has for it. Apache's controllers have no such word in a cluster without topics. */
static bool is_early(const struct request *request, const struct image *image)
{
    int64_t accepting_us = loop_clock_us(request->home->loop) - request_broker(request)->accepting_since_us;
    return !image_is_whole(image) && accepting_us < EARLY_US;
}

static void fill_asked(struct request *request, const struct image *image, const struct metadata_work *work,
                       const struct metadata_request_metadata_request_topic *asked, topic_answer *answer)
{
    const struct image_topic *topic =
        has_id(asked) ? image_topic_by_id(image, &asked->topic_id) : image_topic(image, asked->name);
    struct slice name = topic ? topic->name : asked->name;
    if (has_id(asked) && !topic) {
        *answer = topic_error(SLICE_NULL, &asked->topic_id, ERR_UNKNOWN_TOPIC_ID);
    } else if (!name.data) {
        *answer = topic_error(SLICE(""), &asked->topic_id, ERR_INVALID_TOPIC_EXCEPTION);
    } else if (!request_may(request, ACL_DESCRIBE, ACL_TOPIC, name)) {
        *answer =
            topic_error(has_id(asked) ? SLICE_NULL : name, &asked->topic_id, ERR_TOPIC_AUTHORIZATION_FAILED);
    } else if (topic) {
        fill_topic(request, image, topic, work->asked, answer);
    } else {
        const char *why;
        enum error err = topic_name_check(name, &why);
        /* It could not be made in time: it may be there soon. */
        bool may_come = work->is_creation_over && may_create(request, work->asked);
        if (err == OK)
            err = may_come || is_early(request, image) ? ERR_LEADER_NOT_AVAILABLE
                                                       : ERR_UNKNOWN_TOPIC_OR_PARTITION;
        *answer = topic_error(name, &asked->topic_id, err);
        if (request->version >= 8 && work->asked->include_topic_authorized_operations)
            answer->topic_authorized_operations = authorized_operations(&request->security, ACL_TOPIC, name);
    }
}

static void fill_brokers(struct request *request, const struct image *image,
                         struct metadata_response *response)
{
    size_t count = image_broker_count(image);
    response->brokers.items = request_alloc(request, count, sizeof *response->brokers.items);
    if (!response->brokers.items) return;
    int32_t filled = 0;
    for (size_t i = 0; i < count; i++) {
        struct metadata_response_metadata_response_broker *broker = &response->brokers.items[filled];
        broker->node_id = image_broker_at(image, i)->id;
        if (leader_endpoint(request, image, broker->node_id, &broker->host, &broker->port, &broker->rack))
            filled++;
    }
    response->brokers.count = filled;
}

static void answer(struct request *request)
{
    const struct metadata_work *work = request->work;
    const struct metadata_request *asked = work->asked;
    const struct image *image = request_image(request);
    struct metadata_response response;
    metadata_response_init(&response);
    fill_brokers(request, image, &response);
    response.cluster_id = image_cluster_id(image);
    response.controller_id = image_controller_id(image);

    bool is_all = wants_all(request, asked);
    size_t count = is_all ? image_topic_count(image) : (size_t)asked->topics.count;
    response.topics.items = request_alloc(request, count, sizeof *response.topics.items);
    if (!response.topics.items) {
        request_close(request);
        return;
    }
    if (is_all) {
        const struct image_topic *topic = image_next_topic(image, SLICE_NULL, false);
        for (; topic; topic = image_next_topic(image, topic->name, true)) {
            if (!request_may(request, ACL_DESCRIBE, ACL_TOPIC, topic->name)) continue;
            fill_topic(request, image, topic, asked, &response.topics.items[response.topics.count++]);
        }
    } else {
        for (int32_t i = 0; i < asked->topics.count; i++) {
            fill_asked(request, image, work, &asked->topics.items[i],
                       &response.topics.items[response.topics.count++]);
        }
    }
    if (request->version >= 8 && request->version <= 10 && asked->include_cluster_authorized_operations) {
        response.cluster_authorized_operations =
            authorized_operations(&request->security, ACL_CLUSTER, ACL_CLUSTER_NAME);
    }
    request_answer(request, &response);
}

static void created(struct request *request)
{
    struct metadata_work *work = request->work;
    work->is_creation_over = true;
    answer(request);
}

/* The names among those asked for that are missing, legal, and may be made. */
static size_t missing_topics(struct request *request, const struct metadata_request *asked,
                             struct slice *names)
{
    const struct image *image = request_image(request);
    size_t count = 0;
    for (int32_t i = 0; i < asked->topics.count; i++) {
        const struct metadata_request_metadata_request_topic *topic = &asked->topics.items[i];
        if (has_id(topic) || !topic->name.data || image_topic(image, topic->name)) continue;
        if (topic_name_check(topic->name, NULL) != OK) continue;
        if (!request_may(request, ACL_DESCRIBE, ACL_TOPIC, topic->name) ||
            (!request_may(request, ACL_CREATE, ACL_CLUSTER, ACL_CLUSTER_NAME) &&
             !request_may(request, ACL_CREATE, ACL_TOPIC, topic->name))) {
            continue;
        }
        bool is_twice = false;
        for (size_t k = 0; k < count && !is_twice; k++) is_twice = slice_equal(names[k], topic->name);
        if (!is_twice) names[count++] = topic->name;
    }
    return count;
}

void handle_metadata(struct request *request, void *body)
{
    const struct metadata_request *asked = body;
    struct metadata_work *work = request_alloc(request, 1, sizeof *work);
    if (!work) {
        request_close(request);
        return;
    }
    work->asked = asked;
    request->work = work;
    if (!wants_all(request, asked) && may_create(request, asked)) {
        struct slice *names = request_alloc(request, (size_t)asked->topics.count, sizeof *names);
        size_t count = names ? missing_topics(request, asked, names) : 0;
        if (count > 0 && topics_create(request, names, count, created)) return;
    }
    answer(request);
}
