/* describe_topic_partitions.c: partitions of topics, page by page (KIP-966).
 *
 * Topics come in order of their names, partitions in order of their index; a page ends after at most
 * max.request.partition.size.limit partitions and then names where the next one begins. Who asked for topics by name hears of
 * those that do not exist. */
#include <stdlib.h>

#include "broker/handlers.h"
#include "broker/request.h"
#include "controller/controller.h"
#include "settings/settings.h"
#include "wire/messages.h"

typedef struct describe_topic_partitions_response_describe_topic_partitions_response_topic topic_answer;
typedef struct describe_topic_partitions_response_describe_topic_partitions_response_partition
    partition_answer;

static int by_bytes(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* Names in order, each once, from the cursor's on. NULL without memory. */
static struct slice *wanted_topics(struct request *request,
                                   const struct describe_topic_partitions_request *asked,
                                   const struct image *image, size_t *count)
{
    struct slice from = asked->cursor ? asked->cursor->topic_name : SLICE_NULL;
    size_t asked_count = asked->topics.count > 0 ? (size_t)asked->topics.count : 0;
    struct slice *names =
        request_alloc(request, asked_count > 0 ? asked_count : image_topic_count(image), sizeof *names);
    *count = 0;
    if (!names) return NULL;
    if (asked_count == 0) {
        const struct image_topic *topic = image_next_topic(image, from, false);
        for (; topic; topic = image_next_topic(image, topic->name, true)) {
            if (request_may(request, ACL_DESCRIBE, ACL_TOPIC, topic->name)) names[(*count)++] = topic->name;
        }
        return names;
    }
    size_t found = 0;
    for (size_t i = 0; i < asked_count; i++) {
        struct slice name = asked->topics.items[i].name;
        if (!from.data || slice_compare(name, from) >= 0) names[found++] = name;
    }
    qsort(names, found, sizeof *names, by_bytes);
    for (size_t i = 0; i < found; i++) {
        if (*count == 0 || !slice_equal(names[*count - 1], names[i])) names[(*count)++] = names[i];
    }
    return names;
}

static void fill_partition(const struct image_partition *partition, partition_answer *answer)
{
    *answer = (partition_answer){.partition_index = partition->index,
                                 .leader_id = partition->leader,
                                 .leader_epoch = partition->leader_epoch};
    if (partition->leader < 0) answer->error_code = error_kafka_code(ERR_LEADER_NOT_AVAILABLE);
    answer->replica_nodes.items = (int32_t *)partition->replicas;
    answer->replica_nodes.count = partition->replica_count;
    answer->isr_nodes.items = (int32_t *)partition->isr;
    answer->isr_nodes.count = partition->isr_count;
    answer->offline_replicas.items = (int32_t *)partition->offline;
    answer->offline_replicas.count = partition->offline_count;
    /* Nobody keeps eligible leader replicas with ZooKeeper's metadata. Empty, for Java's admin client dies of null. */
    answer->eligible_leader_replicas.count = 0;
    answer->last_known_elr.count = 0;
}

/* Fills in the topic, and its partitions from `from` on, `most` at most. The first one left out; 0: none is. */
static int32_t fill_topic(struct request *request, topic_answer *answer, struct slice name, int32_t from,
                          int64_t most)
{
    *answer = (topic_answer){.name = name, .topic_authorized_operations = INT32_MIN};
    const struct image_topic *topic = image_topic(request_image(request), name);
    enum error err = OK;
    if (!request_may(request, ACL_DESCRIBE, ACL_TOPIC, name))
        err = ERR_TOPIC_AUTHORIZATION_FAILED;
    else if (topic_name_check(name, NULL) != OK)
        err = ERR_INVALID_TOPIC_EXCEPTION;
    else if (!topic)
        err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
    answer->error_code = error_kafka_code(err);
    if (err != OK) return 0;

    answer->topic_id = topic->id;
    answer->is_internal = topic_is_internal(topic->name);
    answer->topic_authorized_operations = authorized_operations(&request->security, ACL_TOPIC, topic->name);
    int32_t end = topic->partition_count;
    if (end - from > most) end = from + (int32_t)most;
    answer->partitions.items =
        request_alloc(request, end > from ? (size_t)(end - from) : 0, sizeof *answer->partitions.items);
    if (!answer->partitions.items) return 0;
    for (int32_t p = from; p < end; p++) {
        if (!topic->partitions[p]) continue;
        fill_partition(topic->partitions[p], &answer->partitions.items[answer->partitions.count++]);
    }
    return end < topic->partition_count ? end : 0;
}

static void point_at(struct request *request, struct describe_topic_partitions_response *response,
                     struct slice topic, int32_t index)
{
    response->next_cursor = request_alloc(request, 1, sizeof *response->next_cursor);
    if (!response->next_cursor) return;
    response->next_cursor->topic_name = topic;
    response->next_cursor->partition_index = index;
}

void handle_describe_topic_partitions(struct request *request, void *body)
{
    const struct describe_topic_partitions_request *asked = body;
    struct describe_topic_partitions_response response;
    describe_topic_partitions_response_init(&response);
    size_t count = 0;
    struct slice *names = wanted_topics(request, asked, request_image(request), &count);
    response.topics.items = request_alloc(request, count, sizeof *response.topics.items);
    if (!names || !response.topics.items) {
        request_close(request);
        return;
    }
    int64_t limit = settings_long(request->home->settings, SETTING_MAX_REQUEST_PARTITION_SIZE_LIMIT);
    int64_t left = asked->response_partition_limit < limit ? asked->response_partition_limit : limit;
    if (left < 1) left = 1;

    for (size_t i = 0; i < count; i++) {
        if (left == 0) {
            point_at(request, &response, names[i], 0);
            break;
        }
        bool is_cursor = asked->cursor && slice_equal(asked->cursor->topic_name, names[i]);
        int32_t from = is_cursor && asked->cursor->partition_index > 0 ? asked->cursor->partition_index : 0;
        topic_answer *answer = &response.topics.items[response.topics.count++];
        int32_t next = fill_topic(request, answer, names[i], from, left);
        if (next > 0) {
            point_at(request, &response, names[i], next);
            break;
        }
        left -= answer->partitions.count;
    }
    request_answer(request, &response);
}
