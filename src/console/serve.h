/* serve.h: pages over HTTP, on libmicrohttpd polled by a loop.
 *
 *     serve_open(loop, &(struct serve_options){.host = "0.0.0.0", .port = 8080, .answer = pages}, &serve)
 *
 * `answer` is called on the loop for each request, once its headers are there; the body it makes is handed over. A request's own
 * body is read and dropped. Answers are made at once: what takes long does not belong here.
 *
 * Owner: the loop given; no thread of its own. Errors: ERR_BUSY when the port is taken, ERR_NAME for a bad host.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

struct serve;
struct loop;
struct MHD_Connection;

struct serve_request {
    const char *method, *path; /* without the query */
    struct MHD_Connection *connection;
};
/* A parameter of the query; NULL when there is none of this name. */
const char *serve_query(const struct serve_request *request, const char *name);

/* As given: 200 and text/plain. */
struct serve_answer {
    unsigned status;
    const char *type; /* NULL: says none */
    struct text body;
};

struct serve_options {
    const char *host; /* a name or a numeric address; NULL = 127.0.0.1 */
    uint16_t port;    /* 0 = any */
    void (*answer)(void *context, const struct serve_request *request, struct serve_answer *answer);
    void *context;
};

MUST_USE enum error serve_open(struct loop *loop, const struct serve_options *options, struct serve **serve);
uint16_t serve_port(const struct serve *serve);
void serve_close(struct serve **serve);
