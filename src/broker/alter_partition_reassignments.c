/* alter_partition_reassignments.c: partitions move to other brokers, or stay after all (AlterPartitionReassignments, KIP-455).
 * Source: facts/cluster.md 3.8, 3.10. */
#include "broker/admin.h"
#include "broker/handlers.h"
#include "wire/messages.h"

static void answer_error(struct request *request, struct admin_verdict verdict)
{
    struct alter_partition_reassignments_response response;
    alter_partition_reassignments_response_init(&response);
    response.error_code = error_kafka_code(verdict.err);
    response.error_message = verdict.message;
    request_answer(request, &response);
}

static void altered(struct controller_call *call)
{
    if (call->err == OK)
        request_answer(call->context, call->response);
    else
        answer_error(call->context, admin_call_verdict(call));
}

void handle_alter_partition_reassignments(struct request *request, void *body)
{
    if (!request_may(request, ACL_ALTER, ACL_CLUSTER, ACL_CLUSTER_NAME)) {
        answer_error(request,
                     admin_refuse(ERR_CLUSTER_AUTHORIZATION_FAILED, "not authorized to move partitions"));
        return;
    }
    struct alter_partition_reassignments_response *response = request_alloc(request, 1, sizeof *response);
    if (!response || !admin_submit(request, request->version, body, response, altered))
        request_close(request);
}
