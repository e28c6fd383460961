/* init_producer_id.c: ids for idempotent producers (KIP-98), from blocks that the controller hands out (KIP-730).
 *
 *   a loop's block: next ... end ----90 % used----> the control loop asks the controller ----> the block after it
 *
 * Each loop has a block of its own. Should it be used up before the next one is here, requests wait for that a second at most,
 * then their clients hear to come again. Transactions are not served: who asks with a transactional id hears that there is no
 * coordinator for it. */
#include <stdlib.h>

#include "base/diag.h"
#include "broker/handlers.h"
#include "broker/request.h"
#include "metadata/controller_link.h"
#include "wire/messages.h"

enum { API_ALLOCATE_PRODUCER_IDS = 67, ASK_AGAIN_PART = 10, PATIENCE_MS = 1000 };

struct producer_wait {
    struct list link;
    struct request *request;
};

struct id_block {
    int64_t next, end;
};

struct producer_ids {
    struct broker_loop *home;
    struct id_block block, following; /* following: empty, or fetched ahead */
    int64_t block_size;               /* of the last one given */
    bool is_asking;
    struct list waiting; /* of struct producer_wait */
    /* While it is asked for, these are the control loop's. */
    struct loop_message message;
    struct controller_link_call call;
    struct allocate_producer_ids_request asked;
    struct id_block given;
    enum error err;
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

/* The loop that asked. */
static void given(struct loop_message *message)
{
    struct producer_ids *ids = CONTAINER_OF(message, struct producer_ids, message);
    ids->is_asking = false;
    if (ids->err == OK) ids->block_size = ids->given.end - ids->given.next;
    if (ids->err == OK && ids->block.next == ids->block.end)
        ids->block = ids->given;
    else if (ids->err == OK)
        ids->following = ids->given;
    serve(ids, ids->err);
}

/* The control loop. */
static void answered(struct controller_link_call *call, enum error err, int16_t version, const void *response)
{
    struct producer_ids *ids = call->context;
    const struct allocate_producer_ids_response *answer = response;
    (void)version;
    if (err == OK) err = error_from_kafka(answer->error_code);
    if (err == OK && (answer->producer_id_start < 0 || answer->producer_id_len <= 0)) err = ERR_CORRUPT;
    ids->err = err;
    if (err == OK)
        ids->given =
            (struct id_block){answer->producer_id_start, answer->producer_id_start + answer->producer_id_len};
    ids->message.run = given;
    loop_post(ids->home->loop, &ids->message);
}

/* The control loop. */
static void ask_controller(struct loop_message *message)
{
    struct producer_ids *ids = CONTAINER_OF(message, struct producer_ids, message);
    struct broker *broker = ids->home->broker;
    struct loop *control = broker->options.loops[0];
    if (broker->is_closing) {
        ids->err = ERR_CLOSED;
        ids->message.run = given;
        loop_post(ids->home->loop, &ids->message);
        return;
    }
    allocate_producer_ids_request_init(&ids->asked);
    ids->asked.broker_id = broker->options.broker_id;
    ids->asked.broker_epoch = metadata_broker_epoch(broker->options.metadata);
    ids->call = (struct controller_link_call){.api_key = API_ALLOCATE_PRODUCER_IDS,
                                              .request = &ids->asked,
                                              .give_up_ms = loop_now_ms(control) + PATIENCE_MS,
                                              .done = answered,
                                              .context = ids};
    controller_link_send(broker->parts.controller_link, &ids->call);
}

static void ask(struct producer_ids *ids)
{
    ids->is_asking = true;
    ids->message.run = ask_controller;
    loop_post(ids->home->broker->options.loops[0], &ids->message);
}

/* Whoever waits gets an id while there are some; on an error all hear to come again. */
static void serve(struct producer_ids *ids, enum error err)
{
    while (!list_empty(&ids->waiting)) {
        if (ids->block.next == ids->block.end) {
            ids->block = ids->following;
            ids->following = (struct id_block){0, 0};
        }
        bool has_ids = ids->block.next < ids->block.end;
        if (!has_ids && err == OK) break;
        struct request *request = CONTAINER_OF(ids->waiting.next, struct producer_wait, link)->request;
        list_remove(ids->waiting.next);
        if (has_ids)
            answer(request, ids->block.next++, OK);
        else
            answer(request, -1, ERR_COORDINATOR_LOAD_IN_PROGRESS);
    }
    bool has_following = ids->following.next < ids->following.end;
    int64_t left = ids->block.end - ids->block.next;
    bool is_low = !has_following && left <= ids->block_size / ASK_AGAIN_PART;
    if (!ids->is_asking && err == OK && (is_low || !list_empty(&ids->waiting))) ask(ids);
}

enum error producer_ids_new(struct broker_loop *home)
{
    struct producer_ids *ids = calloc(1, sizeof *ids);
    if (!ids) return ERR_NOMEM;
    ids->home = home;
    list_init(&ids->waiting);
    home->producer_ids = ids;
    return OK;
}

void producer_ids_free(struct broker_loop *home)
{
    if (!home->producer_ids) return;
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
    if (asked->producer_id == -1 ? asked->producer_epoch != -1 : asked->producer_epoch == -1) {
        answer(request, -1, ERR_INVALID_REQUEST); /* one says a producer, the other says none */
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
    serve(ids, OK);
}
