/* delete_records.c: the beginning of partitions is forgotten (DeleteRecords, KIP-107): the leader raises its log start, up to the
 * high watermark, and answers when the replicas on live brokers have raised theirs, or with REQUEST_TIMED_OUT when they have not
 * within the time that the client gave.
 * Source: facts/storage.md 6, facts/cluster.md 5.7, 5.11. */
#include "broker/admin.h"
#include "broker/by_home.h"
#include "broker/handlers.h"
#include "broker/leaders.h"
#include "replica/replicas.h"
#include "wire/messages.h"

typedef struct delete_records_response_delete_records_partition_result partition_answer;
typedef struct delete_records_response_delete_records_topic_result topic_answer;

struct entry {
    struct home_item item;
    partition_answer *answer;
    int64_t offset;
    enum error err;
    struct partition_waiter waiter;
    struct loop_timer timer;
};

struct delete_records {
    struct by_home by_home;
    struct delete_records_response response;
    struct entry *entries;
    size_t entry_count;
    int32_t timeout_ms;
};

/* --- the home loop --- */

static void over(struct entry *entry, enum error err)
{
    entry->err = err;
    loop_timer_stop(by_home_loop(&entry->item), &entry->timer);
    partition_wait_cancel(&entry->waiter);
    by_home_release(&entry->item);
}

static void late(struct loop_timer *timer)
{
    over(CONTAINER_OF(timer, struct entry, timer), ERR_REQUEST_TIMED_OUT);
}

static bool is_everywhere(struct entry *entry)
{
    entry->answer->low_watermark = partition_low_watermark(entry->item.partition);
    return entry->answer->low_watermark >= entry->offset;
}

static void changed(struct partition_waiter *waiter, enum error err)
{
    struct entry *entry = CONTAINER_OF(waiter, struct entry, waiter);
    if (err == OK) err = partition_check(entry->item.partition, -1, true);
    if (err != OK || is_everywhere(entry))
        over(entry, err);
    else
        partition_wait_change(entry->item.partition, waiter);
}

static void run(struct by_home *by_home, struct home_item *item)
{
    struct entry *entry = CONTAINER_OF(item, struct entry, item);
    entry->err = partition_delete_records(item->partition, &entry->offset);
    if (entry->err != OK || is_everywhere(entry)) return;
    int32_t timeout_ms = CONTAINER_OF(by_home, struct delete_records, by_home)->timeout_ms;
    by_home_hold(item);
    entry->waiter.run = changed;
    entry->waiter.is_for_low = true;
    partition_wait_change(item->partition, &entry->waiter);
    entry->timer.run = late;
    loop_timer_start(by_home_loop(item), &entry->timer, timeout_ms > 0 ? timeout_ms : 0);
}

/* --- the connection's loop --- */

static void done(struct by_home *by_home)
{
    struct delete_records *work = CONTAINER_OF(by_home, struct delete_records, by_home);
    for (size_t i = 0; i < work->entry_count; i++) {
        struct entry *entry = &work->entries[i];
        entry->answer->error_code = error_kafka_code(entry->err);
        if (entry->err != OK && entry->err != ERR_REQUEST_TIMED_OUT) entry->answer->low_watermark = -1;
    }
    request_answer(by_home->request, &work->response);
}

static enum error place(struct delete_records *work, struct entry *entry, struct slice topic, int32_t index)
{
    struct request *request = work->by_home.request;
    if (!request_may(request, ACL_DELETE, ACL_TOPIC, topic)) return ERR_TOPIC_AUTHORIZATION_FAILED;
    struct partition *partition =
        replicas_find(request_broker(request)->parts.replicas, request->home->loop, topic, index);
    if (!partition) return partition_absence(request_image(request), topic, index);
    if (topic_is_internal(topic)) return ERR_INVALID_TOPIC_EXCEPTION;
    return by_home_add(&work->by_home, &entry->item, partition) ? OK : ERR_UNKNOWN_SERVER_ERROR;
}

void handle_delete_records(struct request *request, void *body)
{
    const struct delete_records_request *asked = body;
    size_t topics = asked->topics.count > 0 ? (size_t)asked->topics.count : 0, count = 0;
    for (size_t t = 0; t < topics; t++) {
        int32_t n = asked->topics.items[t].partitions.count;
        count += n > 0 ? (size_t)n : 0;
    }
    struct delete_records *work = request_alloc(request, 1, sizeof *work);
    struct entry *entry = request_alloc(request, count, sizeof *entry);
    partition_answer *answer = request_alloc(request, count, sizeof *answer);
    topic_answer *topic = request_alloc(request, topics, sizeof *topic);
    if (!work || !entry || !answer || !topic) {
        request_close(request);
        return;
    }
    work->by_home = (struct by_home){.request = request, .run = run, .done = done};
    work->entries = entry;
    work->entry_count = count;
    work->timeout_ms = asked->timeout_ms;
    delete_records_response_init(&work->response);
    work->response.topics.items = topic;
    work->response.topics.count = (int32_t)topics;
    for (size_t t = 0; t < topics; t++, topic++) {
        const struct delete_records_request_delete_records_topic *from = &asked->topics.items[t];
        topic->name = from->name;
        topic->partitions.items = answer;
        topic->partitions.count = from->partitions.count > 0 ? from->partitions.count : 0;
        for (int32_t i = 0; i < from->partitions.count; i++, entry++, answer++) {
            *answer = (partition_answer){.partition_index = from->partitions.items[i].partition_index,
                                         .low_watermark = -1};
            entry->answer = answer;
            entry->offset = from->partitions.items[i].offset;
            entry->err = place(work, entry, from->name, answer->partition_index);
        }
    }
    by_home_start(&work->by_home);
}
