/* alter_replica_log_dirs.c: in which log directories of this broker replicas are to lie (AlterReplicaLogDirs, KIP-113). It is answered
 * when the moves have begun; DescribeLogDirs tells how far they are.
 *
 *   handle_alter_replica_log_dirs   the connection's loop: who may, what is asked
 *   alter                           the control loop (replica/alter_dirs.c)
 *   answer                          the connection's loop
 */
#include <stdlib.h>

#include "broker/handlers.h"
#include "broker/request.h"
#include "replica/replicas.h"
#include "wire/messages.h"

typedef struct alter_replica_log_dirs_response_alter_replica_log_dir_topic_result topic_answer;
typedef struct alter_replica_log_dirs_response_alter_replica_log_dir_partition_result partition_answer;

struct alter_dirs {
    struct request *request;
    struct dir_change *changes;
    size_t count;
};

static void answer(struct request *request)
{
    const struct alter_dirs *work = request->work;
    struct alter_replica_log_dirs_response response;
    alter_replica_log_dirs_response_init(&response);
    topic_answer *topics = request_alloc(request, work->count, sizeof *topics);
    partition_answer *partitions = request_alloc(request, work->count, sizeof *partitions);
    if (!topics || !partitions) {
        request_close(request);
        return;
    }
    response.results.items = topics;
    topic_answer *topic = NULL;
    for (size_t i = 0; i < work->count; i++, partitions++) {
        const struct dir_change *change = &work->changes[i];
        if (!topic || !slice_equal(topic->topic_name, change->topic)) {
            topic = &topics[response.results.count++];
            *topic = (topic_answer){.topic_name = change->topic, .partitions.items = partitions};
        }
        enum error err = change->err;
        /* Where it shall live is remembered, should it come to be. */
        if ((err == ERR_REPLICA_NOT_AVAILABLE || err == ERR_INVALID_TOPIC_EXCEPTION) &&
            !image_partition(request_image(request), change->topic, change->index))
            err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        *partitions =
            (partition_answer){.partition_index = change->index, .error_code = error_kafka_code(err)};
        topic->partitions.count++;
    }
    request_answer(request, &response);
}

static void altered(void *context)
{
    struct request *request = context;
    request_run_on(request, request->home->loop, answer);
}

static void alter(struct request *request)
{
    struct alter_dirs *work = request->work;
    replicas_alter_dirs(request_broker(request)->parts.replicas, work->changes, work->count, &request->arena,
                        altered, request);
}

static int by_partition(const void *a, const void *b)
{
    const struct dir_change *x = a, *y = b;
    int order = slice_compare(x->topic, y->topic);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

void handle_alter_replica_log_dirs(struct request *request, void *body)
{
    const struct alter_replica_log_dirs_request *asked = body;
    struct alter_dirs *work = request_alloc(request, 1, sizeof *work);
    size_t count = 0;
    for (int32_t d = 0; d < asked->dirs.count; d++) {
        for (int32_t t = 0; t < asked->dirs.items[d].topics.count; t++) {
            int32_t n = asked->dirs.items[d].topics.items[t].partitions.count;
            count += n > 0 ? (size_t)n : 0;
        }
    }
    struct dir_change *change = request_alloc(request, count, sizeof *change);
    if (!work || !change) {
        request_close(request);
        return;
    }
    *work = (struct alter_dirs){.request = request, .changes = change, .count = count};
    bool may = request_may(request, ACL_ALTER, ACL_CLUSTER, ACL_CLUSTER_NAME);
    for (int32_t d = 0; d < asked->dirs.count; d++) {
        const struct alter_replica_log_dirs_request_alter_replica_log_dir *dir = &asked->dirs.items[d];
        for (int32_t t = 0; t < dir->topics.count; t++) {
            const struct alter_replica_log_dirs_request_alter_replica_log_dir_topic *topic =
                &dir->topics.items[t];
            for (int32_t i = 0; i < topic->partitions.count; i++)
                *change++ = (struct dir_change){.topic = topic->name,
                                                .dir = dir->path,
                                                .index = topic->partitions.items[i],
                                                .err = may ? OK : ERR_CLUSTER_AUTHORIZATION_FAILED};
        }
    }
    if (count > 0) qsort(work->changes, count, sizeof *work->changes, by_partition);
    request->work = work;
    if (may)
        request_run_on(request, request_broker(request)->options.loops[0], alter);
    else
        answer(request);
}
