/* list_offsets.c: which offset a time has: the earliest, the latest, or the first record at or after a timestamp.
 *
 * A timestamp is looked up by a worker, for indexes and batches of old segments come from the disk.
 * Source: facts/api-versions.md 2.1, facts/storage.md 8; KIP-79, KIP-207, KIP-734. */
#include <stdlib.h>

#include "broker/by_home.h"
#include "broker/handlers.h"
#include "broker/leaders.h"
#include "broker/request.h"
#include "replica/replicas.h"
#include "wire/messages.h"

typedef struct list_offsets_response_list_offsets_partition_response partition_answer;

enum {
    TIME_LATEST = -1,
    TIME_EARLIEST = -2,
    TIME_MAX = -3,
    TIME_EARLIEST_LOCAL = -4,
    TIME_LATEST_TIERED = -5,
    TIME_EARLIEST_PENDING_UPLOAD = -6,
};

struct list_offsets;

struct entry {
    struct home_item item;
    struct list_offsets *list;
    partition_answer *answer;
    struct slice topic;
    int32_t index, current_leader_epoch;
    int64_t timestamp;
    enum error err;
    int64_t old_style_offset;
    bool asks_for_offsets; /* version 0: max_num_offsets > 0 */
    struct log_time_lookup lookup;
    struct lane_job job;
};

struct list_offsets {
    struct by_home by_home;
    const struct list_offsets_request *asked;
    struct list_offsets_response response;
    struct entry *entries;
    size_t entry_count;
    enum partition_reader reader;
    bool is_client;
};

static enum error check_version(int16_t version, int64_t timestamp)
{
    int16_t needs = timestamp == TIME_MAX                       ? 7
                    : timestamp == TIME_EARLIEST_LOCAL          ? 8
                    : timestamp == TIME_LATEST_TIERED           ? 9
                    : timestamp == TIME_EARLIEST_PENDING_UPLOAD ? 11
                                                                : 0;
    return version < needs || timestamp < TIME_EARLIEST_PENDING_UPLOAD ? ERR_UNSUPPORTED_VERSION : OK;
}

static struct list_offsets *of(struct by_home *by_home)
{
    return CONTAINER_OF(by_home, struct list_offsets, by_home);
}

static void found(struct entry *entry, int64_t timestamp, int64_t offset, int32_t leader_epoch)
{
    int16_t version = entry->list->by_home.request->version;
    if (version == 0) { /* a list of offsets, the nearest first: one says it all */
        entry->old_style_offset = offset;
        entry->answer->old_style_offsets.items = &entry->old_style_offset;
        entry->answer->old_style_offsets.count = offset >= 0 && entry->asks_for_offsets ? 1 : 0;
        entry->answer->timestamp = entry->answer->offset = entry->answer->leader_epoch = -1;
        return;
    }
    entry->answer->timestamp = timestamp;
    entry->answer->offset = offset;
    entry->answer->leader_epoch = version >= 4 ? leader_epoch : -1;
}

/* A leader that has just been elected does not know yet how far all replicas had come: what it says could go back
 * (KIP-207). */
static enum error check_is_settled(const struct list_offsets *list, struct partition *partition)
{
    if (!list->is_client || partition_high_watermark(partition) >= partition_epoch_start_offset(partition))
        return OK;
    return list->by_home.request->version >= 5 ? ERR_OFFSET_NOT_AVAILABLE : ERR_LEADER_NOT_AVAILABLE;
}

static void lookup_work(struct lane_job *job)
{
    log_time_lookup_work(&CONTAINER_OF(job, struct entry, job)->lookup);
}

static void lookup_done(struct lane_job *job);

static enum error lookup_begin(struct entry *entry, struct log *log)
{
    int64_t timestamp = entry->timestamp == TIME_MAX ? LOG_TIME_MAX : entry->timestamp;
    entry->lookup = (struct log_time_lookup){0};
    enum error err = log_time_lookup_begin(log, timestamp, &entry->lookup);
    if (err != OK) return err;
    entry->job.work = lookup_work;
    entry->job.done = lookup_done;
    by_home_hold(&entry->item);
    struct broker *broker = request_broker(entry->list->by_home.request);
    lane_submit(broker->options.cold_lane, by_home_loop(&entry->item), &entry->job);
    return OK;
}

static void lookup_done(struct lane_job *job)
{
    struct entry *entry = CONTAINER_OF(job, struct entry, job);
    struct list_offsets *list = entry->list;
    struct replicas *replicas = request_broker(list->by_home.request)->parts.replicas;
    struct partition *now = replicas_find(replicas, by_home_loop(&entry->item), entry->topic, entry->index);
    struct log *log = now && now == entry->item.partition ? partition_log(now) : NULL;
    struct log_time_found at = {-1, -1, -1};
    enum error err = log_time_lookup_end(log, &entry->lookup, &at);
    if (err == ERR_AGAIN && log)
        err = lookup_begin(entry, log); /* cut meanwhile */
    else if (!log)
        err = ERR_NOT_LEADER_OR_FOLLOWER;
    else if (err == OK && at.offset >= 0 && at.offset < partition_read_limit(now, list->reader)) {
        found(entry, at.timestamp, at.offset, at.leader_epoch);
    }
    entry->err = err;
    by_home_release(&entry->item);
}

static enum error look(struct list_offsets *list, struct entry *entry)
{
    struct partition *partition = entry->item.partition;
    enum error err = partition_check(partition, entry->current_leader_epoch, list->asked->replica_id != -2);
    if (err != OK) return err;
    struct log *log = partition_log(partition);
    switch (entry->timestamp) {
    case TIME_LATEST:
        err = check_is_settled(list, partition);
        if (err == OK)
            found(entry, -1, partition_read_limit(partition, list->reader),
                  partition_leader_epoch(partition));
        return err;
    case TIME_EARLIEST:
    case TIME_EARLIEST_LOCAL: {
        int64_t start = log_start_offset(log);
        found(entry, -1, start, log_epoch_of(log, start));
        return OK;
    }
    case TIME_LATEST_TIERED:
    case TIME_EARLIEST_PENDING_UPLOAD: return OK; /* nothing is kept in tiers: none */
    default: break;
    }
    err = check_is_settled(list, partition);
    return err == OK ? lookup_begin(entry, log) : err;
}

static void run(struct by_home *by_home, struct home_item *item)
{
    struct entry *entry = CONTAINER_OF(item, struct entry, item);
    entry->err = look(of(by_home), entry);
}

static void done(struct by_home *by_home)
{
    struct list_offsets *list = of(by_home);
    struct entry *entry = list->entries;
    for (size_t i = 0; i < list->entry_count; i++, entry++) {
        entry->answer->error_code = error_kafka_code(entry->err);
        if (entry->err != OK) found(entry, -1, -1, -1);
    }
    request_answer(by_home->request, &list->response);
}

static int by_place(const void *a, const void *b)
{
    const struct entry *left = *(struct entry *const *)a, *right = *(struct entry *const *)b;
    int order = slice_compare(left->topic, right->topic);
    return order != 0 ? order : (left->index > right->index) - (left->index < right->index);
}

/* Of a partition that is named more than once nothing is told. False without memory. */
static bool mark_twice(struct list_offsets *list)
{
    size_t count = list->entry_count;
    if (count < 2) return true;
    struct entry **sorted = request_alloc(list->by_home.request, count, sizeof *sorted);
    if (!sorted) return false;
    for (size_t i = 0; i < count; i++) sorted[i] = &list->entries[i];
    qsort(sorted, count, sizeof *sorted, by_place);
    for (size_t i = 1; i < count; i++) {
        if (by_place(&sorted[i - 1], &sorted[i]) == 0)
            sorted[i - 1]->err = sorted[i]->err = ERR_INVALID_REQUEST;
    }
    return true;
}

static enum error place(struct list_offsets *list, struct entry *entry)
{
    struct request *request = list->by_home.request;
    if (entry->err != OK) return entry->err;
    enum error err = check_version(request->version, entry->timestamp);
    if (err != OK) return err;
    if (!request_may(request, ACL_DESCRIBE, ACL_TOPIC, entry->topic)) return ERR_TOPIC_AUTHORIZATION_FAILED;
    struct partition *partition = replicas_find(request_broker(request)->parts.replicas, request->home->loop,
                                                entry->topic, entry->index);
    if (!partition) return partition_absence(request_image(request), entry->topic, entry->index);
    return by_home_add(&list->by_home, &entry->item, partition) ? OK : ERR_UNKNOWN_SERVER_ERROR;
}

void handle_list_offsets(struct request *request, void *body)
{
    const struct list_offsets_request *asked = body;
    size_t topics = asked->topics.count > 0 ? (size_t)asked->topics.count : 0, count = 0;
    for (size_t t = 0; t < topics; t++) {
        int32_t n = asked->topics.items[t].partitions.count;
        count += n > 0 ? (size_t)n : 0;
    }
    struct list_offsets *list = request_alloc(request, 1, sizeof *list);
    struct entry *entry = request_alloc(request, count, sizeof *entry);
    partition_answer *answer = request_alloc(request, count, sizeof *answer);
    struct list_offsets_response_list_offsets_topic_response *topic =
        request_alloc(request, topics, sizeof *topic);
    if (!list || !entry || !answer || !topic) {
        request_close(request);
        return;
    }
    list->by_home = (struct by_home){.request = request, .run = run, .done = done};
    list->asked = asked;
    list->entries = entry;
    list->entry_count = count;
    list->is_client = asked->replica_id < 0;
    list->reader = asked->replica_id >= 0 || asked->replica_id == -2 ? READ_AS_REPLICA
                   : asked->isolation_level == 1                     ? READ_COMMITTED
                                                                     : READ_UNCOMMITTED;
    list_offsets_response_init(&list->response);
    list->response.topics.items = topic;
    list->response.topics.count = (int32_t)topics;
    for (size_t t = 0; t < topics; t++, topic++) {
        const struct list_offsets_request_list_offsets_topic *from = &asked->topics.items[t];
        topic->name = from->name;
        topic->partitions.items = answer;
        topic->partitions.count = from->partitions.count > 0 ? from->partitions.count : 0;
        for (int32_t i = 0; i < from->partitions.count; i++, entry++, answer++) {
            *answer = (partition_answer){.partition_index = from->partitions.items[i].partition_index};
            entry->list = list;
            entry->answer = answer;
            entry->topic = from->name;
            entry->index = from->partitions.items[i].partition_index;
            entry->current_leader_epoch =
                request->version >= 4 ? from->partitions.items[i].current_leader_epoch : -1;
            entry->timestamp = from->partitions.items[i].timestamp;
            entry->asks_for_offsets = from->partitions.items[i].max_num_offsets > 0;
            found(entry, -1, -1, -1);
        }
    }
    if (request->version > 0 && !mark_twice(list)) {
        request_close(request);
        return;
    }
    for (size_t i = 0; i < count; i++) list->entries[i].err = place(list, &list->entries[i]);
    by_home_start(&list->by_home);
}
