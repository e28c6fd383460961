/* request.h: one request of a client, from its frame to its answer.
 *
 *     READ -----------> RUNNING ------------------> ANSWERED ------> written, in the order of the connection
 *      read ahead,       its handler has it, may      encoded
 *      waits its turn    wait, may be on other loops
 *
 * A handler is a function (request, decoded body). It may answer at once, or keep the request and answer later, on any loop:
 * exactly once, with request_answer, request_done or request_close. Everything it needs comes from request->arena.
 *
 * Context  who asks (listener, peer, principal, client id and software), the quota entity, the times of its stages, and how
 *          long the connection is to be muted after the answer.
 * Threads  made and ended on the loop of its connection, `home`. While it runs elsewhere (request_run_on) it belongs there.
 * Gone     a connection may end while its request runs; the answer then goes nowhere. `cancel`, if set, is called on the home
 *          loop at that time, so that what only waits stops waiting; it must answer or post something that does.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "broker/broker_state.h"
#include "loop/loop.h"
#include "security/authorizer.h"
#include "wire/message.h"

struct channel;

enum request_state { REQUEST_READ, REQUEST_RUNNING, REQUEST_ANSWERED };

struct request {
    struct list link;        /* the connection's requests, oldest first */
    struct channel *channel; /* NULL once the connection is gone. Home loop only. */
    struct broker_loop *home;
    enum request_state state;
    const struct api_row *api;
    int16_t version;
    int32_t correlation_id;
    struct slice client_id; /* "" when null */
    struct security_context security;

    struct arena arena;
    uint8_t *frame; /* what was read, without the length */
    size_t frame_size;
    bool frame_is_mapped; /* frame is memory of its own, not of the arena */
    size_t held_bytes;    /* of the budget */
    bool held_as_large;
    size_t held_extra_bytes; /* arrays and the answer, as small */
    size_t body_at;          /* where the body begins in the frame */

    /* monotonic: the last byte came, the handler began, it answered */
    int64_t read_us, started_us, answered_us;
    int32_t throttle_ms;

    /* The answer. */
    struct bytes *answer; /* NULL: none is due (acks=0) */
    /* where file slices go: external is a struct log_slice, released when written or dropped */
    struct splices splices;
    bool must_close;

    void (*cancel)(struct request *request);
    void (*hurry)(struct request *request); /* another one came behind it: what only waits may end now */
    void *work;                             /* the handler's */
    void (*step)(struct request *request);  /* request_run_on's */
    struct loop_message message;
};

/* Encodes `response` and hands it to the connection. Any loop. A response that cannot be encoded closes the connection. */
void request_answer(struct request *request, const void *response);
/* The same where slices of files, `slice_count` of them with `slice_bytes` in all, stand for records (records_field.external
 * is a struct log_slice in the request's arena). On an error nothing was taken over and the request goes on. */
MUST_USE enum error request_answer_with_slices(struct request *request, const void *response,
                                               size_t slice_count, size_t slice_bytes);
/* Over without an answer: acks=0. */
void request_done(struct request *request);
/* The connection is to be closed: nothing sensible can be said. */
void request_close(struct request *request);

/* Goes on with step(request) on `loop`: now if this is it, else by message. */
void request_run_on(struct request *request, struct loop *loop, void (*step)(struct request *request));

/* NULL: no memory; request_close and return. Zeroed. */
void *request_alloc(struct request *request, size_t count, size_t size);

bool request_may(const struct request *request, enum acl_operation operation, enum acl_resource resource,
                 struct slice name);
/* The cluster as this loop sees it now; a loan until the turn ends. */
const struct image *request_image(const struct request *request);
struct broker *request_broker(const struct request *request);

/* --- the connection's: channel.c --- */
struct request *request_new(struct broker_loop *home);
void request_free(struct request *request);
/* Its answer is on its way: counts and stage times. */
void request_account(struct request *request);
/* Reads the header. Errors: ERR_CORRUPT, ERR_UNSUPPORTED (close the connection). */
MUST_USE enum error request_read_header(struct request *request, struct decode_fault *fault);
/* Decodes the body and calls the handler; the request may be over and freed when it returns. */
void request_start(struct request *request);
/* An ApiVersions request of a version we do not know: answered as version 0 (KIP-511). */
bool request_is_unknown_api_versions(const struct request *request);
