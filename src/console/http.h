/* http.h: /metrics, /healthz and /readyz over HTTP (serve.h).
 *
 *     GET /metrics   Prometheus text; the whole registry of the node
 *     GET /healthz   200 as long as the loop turns
 *     GET /readyz    200 once every listener answers and every local partition has its leader, else 503 and why
 *
 * Owner: the loop given; no thread of its own. Errors: ERR_BUSY when the port is taken, ERR_NAME for a bad host.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct http;
struct loop;
struct metrics;

struct http_options {
    const char *host; /* a numeric address; NULL = 127.0.0.1 */
    uint16_t port;    /* 0 = any */
    struct metrics *metrics;
    /* Writes why not into `why` when not ready. May be NULL: always ready. */
    bool (*is_ready)(void *context, char *why, size_t size);
    void *context;
};

MUST_USE enum error http_open(struct loop *loop, const struct http_options *options, struct http **http);
uint16_t http_port(const struct http *http);
void http_close(struct http **http);
