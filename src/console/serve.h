/* serve.h: pages over HTTP, on libmicrohttpd polled by a loop.
 *
 *     serve_open(loop, &(struct serve_options){.host = "0.0.0.0", .port = 8080, .answer = pages}, &serve)
 *
 * `answer` is called on the loop for each request, once its headers are there; the body it makes is handed over. A request's own
 * body is read and dropped, unless the answer says who takes it. What takes long answers later: nothing else waits for it.
 *
 * Owner: the loop given; no thread of its own. Errors: ERR_BUSY when the port is taken, ERR_NAME for a bad host.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

struct serve;
struct serve_call;
struct loop;
struct file;
struct MHD_Connection;

struct serve_request {
    const char *method, *path; /* without the query */
    struct MHD_Connection *connection;
};
/* A parameter of the query; NULL when there is none of this name. */
const char *serve_query(const struct serve_request *request, const char *name);
const char *serve_header(const struct serve_request *request, const char *name);
/* Who asks: a numeric address. */
void serve_peer(const struct serve_request *request, char *out, size_t size);

/* Of an answer that comes later, or of a request whose body is wanted. */
struct serve_task {
    void (*take)(void *context, struct slice bytes); /* NULL: no body is wanted */
    void (*end)(void *context);                      /* all of it came */
    /* Nobody waits any more: the client is gone, or serve_close was called. Not after serve_answer_later. */
    void (*gone)(void *context);
    void *context;
};
enum { SERVE_HEADERS_MAX = 2 };

/* As given: 200 and text/plain. */
struct serve_answer {
    unsigned status;
    const char *type; /* NULL: says none */
    struct text body;
    struct file *file; /* in its place: file_size bytes from its beginning; handed over */
    int64_t file_size;
    struct serve_header {
        const char *name;
        char value[32];
    } headers[SERVE_HEADERS_MAX]; /* name NULL: none */
    bool is_later;                /* nothing of this counts; `task` has the rest */
    struct serve_task task;
    struct serve_call *call; /* what serve_answer_later wants; set before `answer` is called */
};
/* Never from within `answer`, take or end. Empties *answer. */
void serve_answer_later(struct serve_call *call, struct serve_answer *answer);

struct serve_options {
    const char *host; /* a name or a numeric address; NULL = 127.0.0.1 */
    uint16_t port;    /* 0 = any */
    void (*answer)(void *context, const struct serve_request *request, struct serve_answer *answer);
    void *context;
};

MUST_USE enum error serve_open(struct loop *loop, const struct serve_options *options, struct serve **serve);
uint16_t serve_port(const struct serve *serve);
void serve_close(struct serve **serve);
