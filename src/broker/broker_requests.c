/* broker_requests.c: what brokers ask the controller, when it is this one: AlterPartition, AllocateProducerIds,
 * ControlledShutdown. Whoever is not the controller says so, and the broker asks the next one.
 * Source: facts/cluster.md 2.3, 3.12, 4.7. */
#include "broker/admin.h"
#include "broker/handlers.h"
#include "wire/messages.h"

struct asked_controller {
    union {
        struct alter_partition_response alter_partition;
        struct allocate_producer_ids_response allocate_producer_ids;
        struct controlled_shutdown_response controlled_shutdown;
    } response;
};

/* An answer that says nothing else. */
static void answer_error(struct request *request, enum error err)
{
    struct asked_controller *work = request->work;
    int16_t code = error_kafka_code(err);
    message_init(request->api->api->response, &work->response);
    switch (request->api->key) {
    case 56: work->response.alter_partition.error_code = code; break;
    case 67: work->response.allocate_producer_ids.error_code = code; break;
    default: work->response.controlled_shutdown.error_code = code; break;
    }
    request_answer(request, &work->response);
}

static void answered(struct controller_call *call)
{
    struct request *request = call->context;
    if (call->err == OK)
        request_answer(request, call->response);
    else
        answer_error(request, call->err);
}

static void ask_controller(struct request *request, void *body)
{
    struct asked_controller *work = request_alloc(request, 1, sizeof *work);
    request->work = work;
    if (!work) {
        request_close(request);
    } else if (!request_may(request, ACL_CLUSTER_ACTION, ACL_CLUSTER, ACL_CLUSTER_NAME)) {
        answer_error(request, ERR_CLUSTER_AUTHORIZATION_FAILED);
    } else {
        message_init(request->api->api->response, &work->response);
        if (!admin_submit(request, request->version, body, &work->response, answered)) request_close(request);
    }
}

void handle_alter_partition(struct request *request, void *body)
{
    ask_controller(request, body);
}

void handle_allocate_producer_ids(struct request *request, void *body)
{
    ask_controller(request, body);
}

void handle_controlled_shutdown(struct request *request, void *body)
{
    ask_controller(request, body);
}
