/* fake_broker.h: a broker of a few lines, for tests: it decodes each request that comes over a stream, asks a function of
 * the test for the answer, and sends it. ApiVersions it answers by itself, with every API in all versions of the schema.
 *
 *     fake_broker_open(loop, "10.0.0.2", 9092, respond, context, &fake)
 *     respond(context, request)                  fills request->response
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "loop/loop.h"

struct fake_broker;

struct fake_request {
    int16_t api_key, version;
    const void *body; /* the schema's struct */
    void *response;   /* message_init'ed, to be filled */
    struct arena *arena;
    bool is_silent; /* set by the test: no answer ever comes */
    bool hangs_up;  /* set by the test: the connection is closed instead */
};

MUST_USE enum error fake_broker_open(struct loop *loop, const char *host, uint16_t port,
                                     void (*respond)(void *context, struct fake_request *request),
                                     void *context, struct fake_broker **fake);
/* Stops listening, and resets its connections. */
void fake_broker_close(struct fake_broker **fake);
/* Closes the connections; goes on listening. */
void fake_broker_hang_up(struct fake_broker *fake);
/* Connections that ever came. */
int fake_broker_connections(const struct fake_broker *fake);
