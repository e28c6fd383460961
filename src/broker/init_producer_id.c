/* init_producer_id.c: ids for idempotent producers (KIP-98), from blocks that the controller hands out (KIP-730).
 *
 * Each loop has a block of its own; when it is used up, the requests that come meanwhile wait for the next one. Transactions
 * are not served: who asks with a transactional id hears that there is no coordinator for it. */
#include <stdlib.h>

#include "base/diag.h"
#include "broker/handlers.h"
#include "broker/request.h"
#include "controller/controller.h"
#include "wire/messages.h"

struct producer_wait {
    struct list link;
    struct request *request;
};

struct producer_ids {
    int64_t next, end;
    bool is_asking;
    struct list waiting; /* of struct producer_wait */
    struct arena arena;
    struct controller_call call;
    struct allocate_producer_ids_request asked;
    struct allocate_producer_ids_response answer;
    struct broker_loop *home;
};

static void answer(struct request *request, int64_t producer_id, enum error err)
{
    struct init_producer_id_response response;
    init_producer_id_response_init(&response);
    response.error_code = error_kafka_code(err);
    response.producer_id = producer_id;
    response.producer_epoch = producer_id >= 0 ? 0 : -1;
    request_answer(request, &response);
}

static void serve(struct producer_ids *ids, enum error err);

static void allocated(struct controller_call *call)
{
    struct producer_ids *ids = CONTAINER_OF(call, struct producer_ids, call);
    ids->is_asking = false;
    enum error err = call->err == OK ? error_from_kafka(ids->answer.error_code) : call->err;
    if (err == OK) {
        ids->next = ids->answer.producer_id_start;
        ids->end = ids->next + ids->answer.producer_id_len;
    }
    arena_reset(&ids->arena);
    serve(ids, err);
}

static void ask(struct producer_ids *ids)
{
    struct broker *broker = ids->home->broker;
    ids->is_asking = true;
    allocate_producer_ids_request_init(&ids->asked);
    ids->asked.broker_id = broker->options.broker_id;
    ids->asked.broker_epoch = -1;
    ids->call = (struct controller_call){.api_key = 67,
                                         .request = &ids->asked,
                                         .arena = &ids->arena,
                                         .response = &ids->answer,
                                         .home = ids->home->loop,
                                         .done = allocated};
    controller_submit(broker->parts.controller, &ids->call);
}

/* Whoever waits gets an id while there are some; on an error all hear to come again. */
static void serve(struct producer_ids *ids, enum error err)
{
    while (!list_empty(&ids->waiting) && (ids->next < ids->end || err != OK)) {
        struct request *request = CONTAINER_OF(ids->waiting.next, struct producer_wait, link)->request;
        list_remove(ids->waiting.next);
        if (err != OK)
            answer(request, -1, ERR_COORDINATOR_LOAD_IN_PROGRESS);
        else
            answer(request, ids->next++, OK);
    }
    if (!list_empty(&ids->waiting) && !ids->is_asking) ask(ids);
}

enum error producer_ids_new(struct broker_loop *home)
{
    struct producer_ids *ids = calloc(1, sizeof *ids);
    if (!ids) return ERR_NOMEM;
    ids->home = home;
    list_init(&ids->waiting);
    arena_init(&ids->arena, 0);
    home->producer_ids = ids;
    return OK;
}

void producer_ids_free(struct broker_loop *home)
{
    if (!home->producer_ids) return;
    arena_free(&home->producer_ids->arena);
    free(home->producer_ids);
    home->producer_ids = NULL;
}

void handle_init_producer_id(struct request *request, void *body)
{
    const struct init_producer_id_request *asked = body;
    if (asked->transactional_id.data) {
        if (asked->transactional_id.size == 0)
            answer(request, -1, ERR_INVALID_REQUEST);
        else
            answer(request, -1, ERR_UNSUPPORTED_VERSION);
        return;
    }
    if (!request_may(request, ACL_IDEMPOTENT_WRITE, ACL_CLUSTER, ACL_CLUSTER_NAME)) {
        answer(request, -1, ERR_CLUSTER_AUTHORIZATION_FAILED);
        return;
    }
    struct producer_ids *ids = request->home->producer_ids;
    struct producer_wait *wait = request_alloc(request, 1, sizeof *wait);
    if (!wait) {
        request_close(request);
        return;
    }
    wait->request = request;
    list_push_back(&ids->waiting, &wait->link);
    if (!ids->is_asking) serve(ids, OK);
}
