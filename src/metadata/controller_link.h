/* controller_link.h: this broker's requests to whoever is the controller now.
 *
 *     controller_link_send --> waiting --> the controller that the image names --> done
 *                                 ^                 |
 *                                 `-- 50 to 100 ms --' NOT_CONTROLLER, lost connection, no answer, nobody known
 *
 * Requests   AllocateProducerIds 67, AlterPartition 56, ControlledShutdown 7. They are sent at least once: whoever asks
 *            must bear that the answer to a first sending was lost.
 * Transport  one connection to the inter-broker listener, ApiVersions asked, opened when there is something to send. When
 *            this broker is the controller itself, the same structs go to `local` instead.
 * Moves      a new controller in the image is tried at once with all that is not answered.
 * Threads    the metadata's loop.
 * Source     facts/cluster.md 2.3, 3.12; KIP-497, KIP-730.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"

struct controller_link;
struct loop;
struct metadata;

/* A request to this process. `done` is to be called once, on the same loop, perhaps before `local` returns, with `err` set
 * and, when that is OK, `response` (of the schema, from message_init) filled from `arena`. */
struct controller_link_local {
    int16_t api_key, version;
    const void *request; /* lives until done */
    struct arena *arena;
    void *response;
    enum error err;
    void (*done)(struct controller_link_local *local);
};

struct controller_link_options {
    struct loop *loop; /* the metadata's */
    struct metadata *metadata;
    int32_t broker_id;     /* of this broker */
    struct slice listener; /* inter-broker; copied */
    int64_t timeout_ms;    /* to connect, and for an answer: controller.socket.timeout.ms */
    void (*local)(void *context, struct controller_link_local *local);
    void *context;
};

MUST_USE enum error controller_link_new(const struct controller_link_options *options,
                                        struct controller_link **link);
/* Unanswered calls are done with ERR_CLOSED, from within; what is sent from there is too. */
void controller_link_free(struct controller_link **link);

struct controller_link_call {
    int16_t api_key;
    int16_t max_version;
    const void *request; /* the schema's struct: lives until done, or cancel */
    /* on the loop's monotonic clock: done then comes with ERR_TIMED_OUT; INT64_MAX = try for ever */
    int64_t give_up_ms;
    /* Once. ERR_TIMED_OUT, ERR_UNSUPPORTED_VERSION (the controller does not know the request), ERR_NOMEM, ERR_CLOSED; or OK
     * and the answer, which lives until done returns. Never before controller_link_send returned, but for ERR_CLOSED. */
    void (*done)(struct controller_link_call *call, enum error err, int16_t version, const void *response);
    void *context;
    /* the link's: */
    struct list in_line;
    struct controller_link_flight *flight;
};

void controller_link_send(struct controller_link *link, struct controller_link_call *call);
/* For a call that is not done: done does not come, the call may go. What was sent may still be obeyed. */
void controller_link_cancel(struct controller_link *link, struct controller_link_call *call);
