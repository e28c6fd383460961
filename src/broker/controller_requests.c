/* controller_requests.c: the word of a controller on another broker: LeaderAndIsr, StopReplica, UpdateMetadata. They are handed
 * to the same appliers that our own controller's requests go to, on the control loop. */
#include "broker/handlers.h"
#include "broker/request.h"
#include "replica/replicas.h"
#include "wire/messages.h"

struct control_work {
    void *body;
    union {
        struct leader_and_isr_response leader_and_isr;
        struct stop_replica_response stop_replica;
        struct update_metadata_response update_metadata;
    } response;
};

static bool begin(struct request *request, void *body, void (*step)(struct request *request))
{
    struct control_work *work = request_alloc(request, 1, sizeof *work);
    if (!work) {
        request_close(request);
        return false;
    }
    work->body = body;
    request->work = work;
    message_init(request->api->api->response, &work->response);
    if (!request_may(request, ACL_CLUSTER_ACTION, ACL_CLUSTER, ACL_CLUSTER_NAME)) {
        /* All three begin with the error code. */
        work->response.update_metadata.error_code = error_kafka_code(ERR_CLUSTER_AUTHORIZATION_FAILED);
        request_answer(request, &work->response);
        return false;
    }
    request_run_on(request, request_broker(request)->options.loops[0], step);
    return true;
}

static void applied(void *context)
{
    struct request *request = context;
    struct control_work *work = request->work;
    request_answer(request, &work->response);
}

/* Versions 2 to 4 group the request by topic but not the answer. */
static void leader_and_isr_applied(void *context)
{
    struct request *request = context;
    struct control_work *work = request->work;
    const struct leader_and_isr_request *asked = work->body;
    struct leader_and_isr_response *response = &work->response.leader_and_isr;
    if (request->version < 5 && response->topics.count > 0) {
        /* One array behind them all, in order (replica/replicas.c). */
        response->partition_errors.items = response->topics.items[0].partition_errors.items;
        for (int32_t t = 0; t < response->topics.count; t++) {
            for (int32_t i = 0; i < response->topics.items[t].partition_errors.count; i++) {
                response->partition_errors.items[response->partition_errors.count++].topic_name =
                    asked->topic_states.items[t].topic_name;
            }
        }
        response->topics.count = 0;
    }
    applied(context);
}

/* The partitions are being closed: nothing may be asked of them, and nobody waits for the answer. */
static bool is_too_late(struct request *request)
{
    if (!request_broker(request)->is_closing) return false;
    applied(request);
    return true;
}

/* A log that is made must find the configuration of its topic. */
static void configs_known(void *context)
{
    struct request *request = context;
    struct control_work *work = request->work;
    if (is_too_late(request)) return;
    replicas_apply_leader_and_isr(request_broker(request)->parts.replicas, work->body, &request->arena,
                                  &work->response.leader_and_isr, leader_and_isr_applied, request);
}

static void leader_and_isr(struct request *request)
{
    struct control_work *work = request->work;
    const struct leader_and_isr_request *asked = work->body;
    size_t count = asked->topic_states.count > 0 ? (size_t)asked->topic_states.count : 0;
    struct slice *names = request_alloc(request, count + 1, sizeof *names);
    if (!names) {
        work->response.leader_and_isr.error_code = error_kafka_code(ERR_NOMEM);
        applied(request);
        return;
    }
    for (size_t i = 0; i < count; i++) names[i] = asked->topic_states.items[i].topic_name;
    config_watch_need_topics(request_broker(request)->parts.configs, names, count, configs_known, request);
}

void handle_leader_and_isr(struct request *request, void *body)
{
    begin(request, body, leader_and_isr);
}

static void stop_replica(struct request *request)
{
    struct control_work *work = request->work;
    if (is_too_late(request)) return;
    replicas_apply_stop_replica(request_broker(request)->parts.replicas, work->body, &request->arena,
                                &work->response.stop_replica, applied, request);
}

void handle_stop_replica(struct request *request, void *body)
{
    begin(request, body, stop_replica);
}

static void update_metadata(struct request *request)
{
    struct control_work *work = request->work;
    enum error err = metadata_apply_update(request_broker(request)->options.metadata, work->body);
    work->response.update_metadata.error_code = error_kafka_code(err);
    applied(request);
}

void handle_update_metadata(struct request *request, void *body)
{
    begin(request, body, update_metadata);
}
