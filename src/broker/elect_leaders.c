/* elect_leaders.c: leadership goes to the preferred replica, or to any that lives (ElectLeaders, KIP-183, KIP-460).
 * Source: facts/cluster.md 3.6, 3.8. */
#include "broker/admin.h"
#include "broker/handlers.h"
#include "wire/messages.h"

typedef struct elect_leaders_response_replica_election_result topic_answer;
typedef struct elect_leaders_response_partition_result partition_answer;

enum { VERSION_WITH_ERROR = 1 };

struct elect_leaders {
    const struct elect_leaders_request *asked;
    struct elect_leaders_response response;
};

/* The same error for all; version 0 can say it only of each partition that was named. */
static void answer_error(struct request *request, const struct elect_leaders_request *asked,
                         struct admin_verdict verdict)
{
    struct elect_leaders_response response;
    elect_leaders_response_init(&response);
    if (request->version >= VERSION_WITH_ERROR) {
        response.error_code = error_kafka_code(verdict.err);
    }
    size_t count = asked->topic_partitions.count > 0 ? (size_t)asked->topic_partitions.count : 0;
    topic_answer *topics = request_alloc(request, count, sizeof *topics);
    bool has_memory = topics != NULL;
    for (size_t t = 0; has_memory && t < count; t++) {
        int32_t n = asked->topic_partitions.items[t].partitions.count > 0
                        ? asked->topic_partitions.items[t].partitions.count
                        : 0;
        topics[t].topic = asked->topic_partitions.items[t].topic;
        partition_answer *partitions = request_alloc(request, (size_t)n, sizeof *partitions);
        has_memory = partitions != NULL;
        for (int32_t i = 0; has_memory && i < n; i++) {
            partitions[i] =
                (partition_answer){.partition_id = asked->topic_partitions.items[t].partitions.items[i],
                                   .error_code = error_kafka_code(verdict.err),
                                   .error_message = verdict.message};
        }
        topics[t].partition_result.items = partitions;
        topics[t].partition_result.count = n;
    }
    if (!has_memory) {
        request_close(request);
        return;
    }
    response.replica_election_results.items = topics;
    response.replica_election_results.count = (int32_t)count;
    request_answer(request, &response);
}

/* Who asked for all wants to hear of those that something happened to. */
static void leave_out_unneeded(struct elect_leaders_response *response)
{
    int32_t topics = 0;
    for (int32_t t = 0; t < response->replica_election_results.count; t++) {
        topic_answer topic = response->replica_election_results.items[t];
        int32_t partitions = 0;
        for (int32_t i = 0; i < topic.partition_result.count; i++) {
            partition_answer partition = topic.partition_result.items[i];
            if (partition.error_code == error_kafka_code(ERR_ELECTION_NOT_NEEDED)) continue;
            topic.partition_result.items[partitions++] = partition;
        }
        topic.partition_result.count = partitions;
        if (partitions > 0) response->replica_election_results.items[topics++] = topic;
    }
    response->replica_election_results.count = topics;
}

static void elected(struct controller_call *call)
{
    struct request *request = call->context;
    struct elect_leaders *work = request->work;
    if (call->err != OK) {
        answer_error(request, work->asked, admin_call_verdict(call));
        return;
    }
    if (work->asked->topic_partitions.count < 0) leave_out_unneeded(&work->response);
    request_answer(request, &work->response);
}

void handle_elect_leaders(struct request *request, void *body)
{
    const struct elect_leaders_request *asked = body;
    struct elect_leaders *work = request_alloc(request, 1, sizeof *work);
    if (!work) {
        request_close(request);
        return;
    }
    work->asked = asked;
    request->work = work;
    if (!request_may(request, ACL_ALTER, ACL_CLUSTER, ACL_CLUSTER_NAME)) {
        answer_error(request, asked,
                     admin_refuse(ERR_CLUSTER_AUTHORIZATION_FAILED, "not authorized to move leaders"));
    } else if (!admin_submit(request, request->version, asked, &work->response, elected)) {
        request_close(request);
    }
}
