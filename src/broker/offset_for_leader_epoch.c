/* offset_for_leader_epoch.c: where a leader's epoch ended in our log (KIP-101, KIP-320). */
#include "broker/by_home.h"
#include "broker/handlers.h"
#include "broker/leaders.h"
#include "broker/request.h"
#include "replica/replicas.h"
#include "wire/messages.h"

typedef struct offset_for_leader_epoch_response_epoch_end_offset partition_answer;

struct entry {
    struct home_item item;
    partition_answer *answer;
    int32_t leader_epoch, current_leader_epoch;
};

struct epochs {
    struct by_home by_home;
    struct offset_for_leader_epoch_response response;
};

static void run(struct by_home *by_home, struct home_item *item)
{
    struct entry *entry = CONTAINER_OF(item, struct entry, item);
    enum error err = partition_check(item->partition, entry->current_leader_epoch, true);
    entry->answer->error_code = error_kafka_code(err);
    if (err != OK) return;
    struct epoch_end end = log_epoch_end(partition_log(item->partition), entry->leader_epoch);
    entry->answer->leader_epoch = end.epoch;
    entry->answer->end_offset = end.end_offset;
}

static void done(struct by_home *by_home)
{
    request_answer(by_home->request, &CONTAINER_OF(by_home, struct epochs, by_home)->response);
}

static enum error place(struct epochs *epochs, struct entry *entry, struct slice topic, int32_t index)
{
    struct request *request = epochs->by_home.request;
    if (!request_may(request, ACL_CLUSTER_ACTION, ACL_CLUSTER, ACL_CLUSTER_NAME) &&
        !request_may(request, ACL_DESCRIBE, ACL_TOPIC, topic)) {
        return ERR_TOPIC_AUTHORIZATION_FAILED;
    }
    struct partition *partition =
        replicas_find(request_broker(request)->parts.replicas, request->home->loop, topic, index);
    if (!partition) return partition_absence(request_image(request), topic, index);
    return by_home_add(&epochs->by_home, &entry->item, partition) ? OK : ERR_UNKNOWN_SERVER_ERROR;
}

void handle_offset_for_leader_epoch(struct request *request, void *body)
{
    const struct offset_for_leader_epoch_request *asked = body;
    size_t topics = asked->topics.count > 0 ? (size_t)asked->topics.count : 0;
    struct epochs *epochs = request_alloc(request, 1, sizeof *epochs);
    struct offset_for_leader_epoch_response_offset_for_leader_topic_result *topic =
        request_alloc(request, topics, sizeof *topic);
    if (!epochs || !topic) {
        request_close(request);
        return;
    }
    epochs->by_home = (struct by_home){.request = request, .run = run, .done = done};
    offset_for_leader_epoch_response_init(&epochs->response);
    epochs->response.topics.items = topic;
    epochs->response.topics.count = (int32_t)topics;
    for (size_t t = 0; t < topics; t++, topic++) {
        const struct offset_for_leader_epoch_request_offset_for_leader_topic *from = &asked->topics.items[t];
        size_t count = from->partitions.count > 0 ? (size_t)from->partitions.count : 0;
        partition_answer *answers = request_alloc(request, count, sizeof *answers);
        struct entry *entries = request_alloc(request, count, sizeof *entries);
        if (!answers || !entries) {
            request_close(request);
            return;
        }
        topic->topic = from->topic;
        topic->partitions.items = answers;
        topic->partitions.count = (int32_t)count;
        for (size_t i = 0; i < count; i++) {
            answers[i] = (partition_answer){
                .partition = from->partitions.items[i].partition, .leader_epoch = -1, .end_offset = -1};
            entries[i].answer = &answers[i];
            entries[i].leader_epoch = from->partitions.items[i].leader_epoch;
            entries[i].current_leader_epoch =
                request->version >= 2 ? from->partitions.items[i].current_leader_epoch : -1;
            enum error err = place(epochs, &entries[i], from->topic, answers[i].partition);
            answers[i].error_code = error_kafka_code(err);
        }
    }
    by_home_start(&epochs->by_home);
}
