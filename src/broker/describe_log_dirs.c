/* describe_log_dirs.c: where partitions lie on this broker, how large they are, and what room there is (DescribeLogDirs).
 *
 *   handle_describe_log_dirs   the connection's loop: who may
 *   look_at_dirs               the control loop: which directories there are
 *   measure                    a worker: how full their file systems are
 *   gather, run                the connection's loop, then each partition's: what lies where
 *   answer                     the connection's loop
 *
 * Source: facts/storage.md 1; KIP-113, KIP-827. */
#include <stdlib.h>

#include "broker/by_home.h"
#include "broker/handlers.h"
#include "broker/request.h"
#include "loop/disk.h"
#include "replica/replicas.h"
#include "wire/messages.h"

typedef struct describe_log_dirs_response_describe_log_dirs_result dir_answer;
typedef struct describe_log_dirs_response_describe_log_dirs_topic topic_answer;
typedef struct describe_log_dirs_response_describe_log_dirs_partition partition_answer;

struct replica {
    struct home_item item;
    struct slice topic;
    int32_t index;
    ptrdiff_t dir; /* -1 = in none that is known */
    int64_t size_bytes, lag;
    bool is_future;
    struct replica *future; /* where it is being moved to, if it is: its own place in the answer */
};

struct described_dir {
    struct slice path;
    bool is_online;
    int64_t free_bytes, total_bytes; /* -1 = unknown */
};

struct describe_log_dirs {
    struct by_home by_home;
    const struct describe_log_dirs_request *asked;
    struct described_dir *dirs;
    size_t dir_count;
    struct replica *replicas;
    size_t replica_count, replica_capacity;
    struct disk *disk;
    struct lane_job job;
};

/* --- the answer: the connection's loop --- */

static int by_place(const void *a, const void *b)
{
    const struct replica *x = a, *y = b;
    if (x->dir != y->dir) return x->dir < y->dir ? -1 : 1;
    int order = slice_compare(x->topic, y->topic);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

/* Fills topics and partitions from a run of replicas of one directory, in order; one that was asked for twice is told once. */
static bool fill_dir(struct request *request, const struct replica *replicas, size_t count, dir_answer *dir)
{
    topic_answer *topics = request_alloc(request, count, sizeof *topics);
    partition_answer *partitions = request_alloc(request, count, sizeof *partitions);
    if (!topics || !partitions) return false;
    dir->topics.items = topics;
    topic_answer *topic = NULL;
    for (size_t i = 0; i < count; i++, partitions++) {
        const struct replica *replica = &replicas[i];
        if (i > 0 && by_place(replica, replica - 1) == 0) continue;
        if (!topic || !slice_equal(topic->name, replica->topic)) {
            topic = &topics[dir->topics.count++];
            topic->name = replica->topic;
            topic->partitions.items = partitions;
        }
        topic->partitions.items[topic->partitions.count++] =
            (partition_answer){.partition_index = replica->index,
                               .partition_size = replica->size_bytes,
                               .offset_lag = replica->lag,
                               .is_future_key = replica->is_future};
    }
    return true;
}

static void answer(struct by_home *by_home)
{
    struct describe_log_dirs *work = CONTAINER_OF(by_home, struct describe_log_dirs, by_home);
    struct request *request = by_home->request;
    struct describe_log_dirs_response response;
    describe_log_dirs_response_init(&response);
    response.results.items = request_alloc(request, work->dir_count, sizeof *response.results.items);
    bool has_memory = response.results.items != NULL;
    if (work->replica_count > 0) qsort(work->replicas, work->replica_count, sizeof *work->replicas, by_place);
    size_t at = 0;
    while (at < work->replica_count && work->replicas[at].dir < 0) at++;
    for (size_t i = 0; has_memory && i < work->dir_count; i++) {
        const struct described_dir *described = &work->dirs[i];
        dir_answer *dir = &response.results.items[response.results.count++];
        describe_log_dirs_response_describe_log_dirs_result_init(dir);
        dir->log_dir = described->path;
        dir->total_bytes = described->total_bytes;
        dir->usable_bytes = described->free_bytes;
        size_t first = at;
        while (at < work->replica_count && work->replicas[at].dir == (ptrdiff_t)i) at++;
        if (!described->is_online)
            dir->error_code = error_kafka_code(ERR_KAFKA_STORAGE_ERROR);
        else if (at > first)
            has_memory = fill_dir(request, &work->replicas[first], at - first, dir);
    }
    if (has_memory)
        request_answer(request, &response);
    else
        request_close(request);
}

/* --- the replicas --- */

static ptrdiff_t dir_of(const struct describe_log_dirs *work, const char *path)
{
    for (size_t i = 0; i < work->dir_count; i++) {
        if (slice_is(work->dirs[i].path, path)) return (ptrdiff_t)i;
    }
    return -1;
}

/* Its home loop. */
static void run(struct by_home *by_home, struct home_item *item)
{
    const struct describe_log_dirs *work = CONTAINER_OF(by_home, struct describe_log_dirs, by_home);
    struct replica *replica = CONTAINER_OF(item, struct replica, item);
    const struct log *log = partition_log(item->partition);
    if (!log || log_is_offline(log)) return;
    int64_t lag = partition_high_watermark(item->partition) - log_end_offset(log);
    replica->dir = dir_of(work, log_dir_path(log));
    replica->size_bytes = log_size_bytes(log);
    replica->lag = lag > 0 ? lag : 0;
    const struct log *future = partition_future_log(item->partition);
    if (!future || log_is_offline(future)) return;
    lag = log_end_offset(log) - log_end_offset(future);
    replica->future->dir = dir_of(work, log_dir_path(future));
    replica->future->size_bytes = log_size_bytes(future);
    replica->future->lag = lag > 0 ? lag : 0;
}

static bool add_replica(struct describe_log_dirs *work, struct partition *partition)
{
    struct request *request = work->by_home.request;
    if (work->replica_count == work->replica_capacity) return true;
    struct replica *replica = &work->replicas[work->replica_count], *future = replica + 1;
    const struct replica *last = work->replica_count > 0 ? replica - 2 : NULL;
    work->replica_count += 2;
    struct slice topic = partition_topic(partition); /* lives only as long as the partition */
    topic = last && slice_equal(last->topic, topic) ? last->topic : arena_copy(&request->arena, topic);
    *replica =
        (struct replica){.topic = topic, .index = partition_index(partition), .dir = -1, .future = future};
    *future =
        (struct replica){.topic = topic, .index = partition_index(partition), .dir = -1, .is_future = true};
    return topic.data && by_home_add(&work->by_home, &replica->item, partition);
}

static size_t count_asked(const struct describe_log_dirs *work, struct replicas *replicas, struct loop *here)
{
    size_t count = 0, position = 0;
    if (work->asked->topics.count < 0) {
        while (replicas_next(replicas, here, &position)) count++;
    }
    for (int32_t t = 0; t < work->asked->topics.count; t++) {
        int32_t n = work->asked->topics.items[t].partitions.count;
        count += n > 0 ? (size_t)n : 0;
    }
    return count;
}

static bool gather(struct describe_log_dirs *work)
{
    struct request *request = work->by_home.request;
    struct replicas *replicas = request_broker(request)->parts.replicas;
    struct loop *here = request->home->loop;
    work->replica_capacity = 2 * count_asked(work, replicas, here);
    work->replicas = request_alloc(request, work->replica_capacity, sizeof *work->replicas);
    bool has_memory = work->replicas != NULL;
    struct partition *partition;
    for (size_t i = 0;
         has_memory && work->asked->topics.count < 0 && (partition = replicas_next(replicas, here, &i));) {
        has_memory = add_replica(work, partition);
    }
    for (int32_t t = 0; t < work->asked->topics.count; t++) {
        const struct describe_log_dirs_request_describable_log_dir_topic *topic =
            &work->asked->topics.items[t];
        for (int32_t i = 0; has_memory && i < topic->partitions.count; i++) {
            partition = replicas_find(replicas, here, topic->topic, topic->partitions.items[i]);
            if (partition) has_memory = add_replica(work, partition);
        }
    }
    return has_memory;
}

static void look_at_replicas(struct request *request)
{
    struct describe_log_dirs *work = request->work;
    if (work->dirs && gather(work))
        by_home_start(&work->by_home);
    else
        request_close(request);
}

/* --- the directories --- */

/* A worker, which nobody waits for when the node stops: it touches the disk and the request, and nothing else. */
static void measure(struct lane_job *job)
{
    struct describe_log_dirs *work = CONTAINER_OF(job, struct describe_log_dirs, job);
    for (size_t i = 0; i < work->dir_count; i++) {
        struct described_dir *dir = &work->dirs[i];
        if (!dir->is_online) continue;
        const char *path = (const char *)dir->path.data;
        if (disk_space(work->disk, path, &dir->free_bytes, &dir->total_bytes) != OK) {
            dir->free_bytes = dir->total_bytes = -1;
        }
    }
}

static void measured(struct lane_job *job)
{
    struct request *request = CONTAINER_OF(job, struct describe_log_dirs, job)->by_home.request;
    request_run_on(request, request->home->loop, look_at_replicas);
}

/* The control loop. */
static void look_at_dirs(struct request *request)
{
    struct describe_log_dirs *work = request->work;
    struct broker *broker = request_broker(request);
    work->dir_count = log_store_dir_count(broker->parts.store);
    work->dirs = request_alloc(request, work->dir_count, sizeof *work->dirs);
    for (size_t i = 0; work->dirs && i < work->dir_count; i++) {
        struct log_store_dir dir;
        log_store_dir(broker->parts.store, i, &dir);
        work->dirs[i] = (struct described_dir){.path = arena_copy(&request->arena, slice_of(dir.path)),
                                               .is_online = dir.is_online,
                                               .free_bytes = -1,
                                               .total_bytes = -1};
        if (!work->dirs[i].path.data) work->dirs = NULL;
    }
    if (!work->dirs) {
        request_run_on(request, request->home->loop, look_at_replicas);
        return;
    }
    work->disk = log_store_disk(broker->parts.store);
    work->job = (struct lane_job){.work = measure, .done = measured};
    lane_submit(broker->options.cold_lane, broker->options.loops[0], &work->job);
}

void handle_describe_log_dirs(struct request *request, void *body)
{
    struct describe_log_dirs *work = request_alloc(request, 1, sizeof *work);
    if (!work) {
        request_close(request);
        return;
    }
    if (!request_may(request, ACL_DESCRIBE, ACL_CLUSTER, ACL_CLUSTER_NAME)) {
        /* Before version 3 the answer cannot say so, and is empty. */
        struct describe_log_dirs_response response;
        describe_log_dirs_response_init(&response);
        response.error_code = error_kafka_code(ERR_CLUSTER_AUTHORIZATION_FAILED);
        request_answer(request, &response);
        return;
    }
    work->asked = body;
    work->by_home = (struct by_home){.request = request, .run = run, .done = answer};
    request->work = work;
    request_run_on(request, request_broker(request)->options.loops[0], look_at_dirs);
}
