/* producer_ids.c: blocks of producer ids, a thousand at a time, by compare and set on /latest_producer_id_block. */
#include "controller/inside.h"

enum { BLOCK_SIZE = 1000, MAX_ATTEMPTS = 10 };

struct allocation {
    struct controller *c;
    struct controller_call *call;
    struct producer_id_block block;
    int attempts;
};

static void look(struct allocation *allocation);

static void end(struct allocation *allocation, enum error err)
{
    struct controller_call *call = allocation->call;
    struct allocate_producer_ids_response *response = call->response;
    allocate_producer_ids_response_init(response);
    response->error_code = error_kafka_code(err);
    if (err == OK) {
        response->producer_id_start = allocation->block.first;
        response->producer_id_len = BLOCK_SIZE;
    }
    free(allocation);
    call_done(call, OK);
}

static void written(void *context, const struct coord_reply *reply)
{
    struct allocation *allocation = context;
    bool is_retried = reply->err == ERR_ZK_BAD_VERSION && ++allocation->attempts < MAX_ATTEMPTS;
    if (!controller_is_alive(allocation->c))
        end(allocation, ERR_NOT_CONTROLLER);
    else if (reply->err == OK)
        end(allocation, OK);
    else if (is_retried)
        look(allocation);
    else
        end(allocation, reply->err == ERR_ZK_SESSION_EXPIRED ? ERR_NOT_CONTROLLER : ERR_UNKNOWN_SERVER_ERROR);
}

static void looked(void *context, const struct coord_reply *reply)
{
    struct allocation *allocation = context;
    struct controller *c = allocation->c;
    struct znode_fault fault;
    struct producer_id_block last = {.last = -1};
    if (!controller_is_alive(c)) {
        end(allocation, ERR_NOT_CONTROLLER);
        return;
    }
    enum error err = reply->err;
    if (err == OK && reply->data.data && reply->data.size > 0)
        err = znode_producer_ids_decode(SLICE("/latest_producer_id_block"), reply->data, &last, &fault);
    if (err == OK && last.last > INT64_MAX - BLOCK_SIZE) err = ERR_LIMIT;
    if (err != OK) {
        diag_error("no more producer ids: %s", err == ERR_CORRUPT ? fault.text : error_text(err));
        end(allocation, err == ERR_ZK_SESSION_EXPIRED ? ERR_NOT_CONTROLLER : ERR_UNKNOWN_SERVER_ERROR);
        return;
    }
    const struct allocate_producer_ids_request *request = allocation->call->request;
    allocation->block = (struct producer_id_block){request->broker_id, last.last + 1, last.last + BLOCK_SIZE};
    struct text data = {0};
    znode_producer_ids_encode(&allocation->block, &data);
    c->unanswered++;
    coord_set(c->coord, SLICE("/latest_producer_id_block"), text_slice(&data), reply->stat.version, written,
              allocation);
    text_free(&data);
}

static void look(struct allocation *allocation)
{
    allocation->c->unanswered++;
    coord_get(allocation->c->coord, SLICE("/latest_producer_id_block"), looked, allocation);
}

void call_allocate_producer_ids(struct controller *c, struct controller_call *call)
{
    const struct allocate_producer_ids_request *request = call->request;
    const struct cbroker *broker = context_broker(c, request->broker_id);
    struct allocation *allocation = malloc(sizeof *allocation);
    if (!allocation) {
        call_done(call, ERR_NOMEM);
        return;
    }
    *allocation = (struct allocation){.c = c, .call = call};
    if (!broker)
        end(allocation, ERR_BROKER_ID_NOT_REGISTERED);
    else if (request->broker_epoch != -1 && request->broker_epoch < broker->epoch)
        end(allocation, ERR_STALE_BROKER_EPOCH);
    else
        look(allocation);
}
