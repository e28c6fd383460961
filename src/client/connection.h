/* connection.h: one connection to a Kafka broker: dial, ApiVersions, then requests and their answers in
 * order.
 *
 *     connection_open(loop, "127.0.0.1", 9092, &options, &connection)
 *       -> on_open(context, OK)                        the broker's version ranges are known
 *     connection_send(connection, 3, &metadata_request, &call)
 *       -> call->done(call, OK, version, &metadata_response)   memory lives until done returns
 *
 * Versions: each request goes out in the highest version that the broker, this program's schema and the
 * caller's max_version allow; ERR_UNSUPPORTED_VERSION when there is none. Brokers of one cluster do not ask each other
 * (is_unnegotiated): a call then goes out in exactly its max_version, which inter.broker.protocol.version fixes. Pipelining: any number of calls up
 * to MAX_CALLS are in flight; Kafka answers in order and a correlation id that does not match closes the
 * connection.
 *
 * Threads  the loop's. Ownership: the caller keeps the call (intrusive) until done, which comes exactly once
 * for each accepted call, also when the connection closes (ERR_CLOSED) or the call's timeout passes. Source
 * facts/api-versions.md 3-5; KIP-35, KIP-511.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "loop/loop.h"
#include "loop/stream.h"

struct connection;

struct connection_options {
    const char *client_id;                          /* copied; NULL = "odradek" */
    bool is_unnegotiated;                           /* no ApiVersions: open as soon as it is connected */
    int64_t timeout_ms;                             /* to connect and learn the versions */
    size_t max_frame_size;                          /* of an answer; 0 = 100 MiB */
    void (*on_open)(void *context, enum error err); /* once; on error the connection is closed already */
    void (*on_closed)(void *context,
                      enum error err); /* after on_open(OK), once, when the peer or an error ends it */
    void *context;
};

enum { CONNECTION_MAX_CALLS = 1024 };

struct call {
    void (*done)(struct call *call, enum error err, int16_t version, const void *response);
    void *context;
    int16_t max_version; /* -1 = as high as both sides can */
    int64_t timeout_ms;  /* 0 = none */
    /* the connection's: */
    struct list link;
    int16_t api_key, version;
    int32_t correlation_id;
    struct connection *connection;
    struct loop_timer timer;
};

MUST_USE enum error connection_open(struct loop *loop, const char *host, uint16_t port,
                                    const struct connection_options *options, struct connection **connection);
/* Calls still waiting end with ERR_CLOSED; on_closed is not called. Fine from within callbacks. */
void connection_close(struct connection **connection);

/* `request` is the struct of the schema for api_key; it is encoded before this returns. A Produce with acks=0
 * has no answer: pass its call all the same, done comes when the bytes are queued (response NULL). */
MUST_USE enum error connection_send(struct connection *connection, int16_t api_key, const void *request,
                                    struct call *call);
/* The version connection_send would use, or -1. */
int16_t connection_version(const struct connection *connection, int16_t api_key, int16_t max_version);
bool connection_is_open(const struct connection *connection);
/* "host:port" as dialled, for diagnostics. */
const char *connection_name(const struct connection *connection);
