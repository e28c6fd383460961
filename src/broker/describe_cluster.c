/* describe_cluster.c: the brokers that live (KIP-700, KIP-919). */
#include "broker/handlers.h"
#include "broker/leaders.h"
#include "broker/request.h"
#include "wire/messages.h"

void handle_describe_cluster(struct request *request, void *body)
{
    const struct describe_cluster_request *asked = body;
    struct describe_cluster_response response;
    describe_cluster_response_init(&response);
    enum { BROKERS = 1 };
    if (request->version >= 1 && asked->endpoint_type != BROKERS) {
        response.error_code = error_kafka_code(asked->endpoint_type == 2 ? ERR_MISMATCHED_ENDPOINT_TYPE
                                                                         : ERR_UNSUPPORTED_ENDPOINT_TYPE);
        response.error_message = SLICE("this is a listener of brokers");
        request_answer(request, &response);
        return;
    }
    const struct image *image = request_image(request);
    response.cluster_id = image_cluster_id(image);
    response.controller_id = image_controller_id(image);
    size_t count = image_broker_count(image);
    response.brokers.items = request_alloc(request, count, sizeof *response.brokers.items);
    if (!response.brokers.items) {
        request_close(request);
        return;
    }
    int32_t filled = 0;
    for (size_t i = 0; i < count; i++) {
        struct describe_cluster_response_describe_cluster_broker *broker = &response.brokers.items[filled];
        broker->broker_id = image_broker_at(image, i)->id;
        if (leader_endpoint(request, image, broker->broker_id, &broker->host, &broker->port, &broker->rack))
            filled++;
    }
    response.brokers.count = filled;
    if (asked->include_cluster_authorized_operations) {
        response.cluster_authorized_operations =
            authorized_operations(&request->security, ACL_CLUSTER, ACL_CLUSTER_NAME);
    }
    request_answer(request, &response);
}
