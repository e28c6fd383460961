#include "console/serve.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "loop/disk.h"
#include "loop/loop.h"

enum {
    MAX_CONNECTIONS = 32,
    IDLE_SECONDS = 30,
    CONNECTION_MEMORY = 16 * 1024,
    FILE_PIECE = 64 * 1024,
    TURN_PASSES = 16
};

/* A request that is answered later. */
struct serve_call {
    struct list in_serve;
    struct serve *serve;
    struct MHD_Connection *connection;
    struct serve_task task;
    struct serve_answer answer;
    bool has_answer, is_whole, is_suspended;
};

struct serve {
    struct loop *loop;
    struct serve_options options;
    struct MHD_Daemon *daemon;
    struct loop_poll *poll;
    struct list calls;
    struct loop_timer timer; /* libmicrohttpd's own time-outs, only while it has connections */
    uint16_t port;
};

const char *serve_query(const struct serve_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *serve_header(const struct serve_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

void serve_peer(const struct serve_request *request, char *out, size_t size)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    out[0] = 0;
    if (!info || !info->client_addr) return;
    socklen_t length =
        info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (getnameinfo(info->client_addr, length, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST) != 0)
        out[0] = 0;
}

static ssize_t read_file(void *context, uint64_t position, char *out, size_t size)
{
    size_t got = 0;
    enum error err = file_pread(context, out, size, (int64_t)position, &got);
    return err == OK && got > 0 ? (ssize_t)got : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void file_done(void *context)
{
    struct file *file = context;
    file_release(&file);
}

static struct MHD_Response *response_of(struct serve_answer *answer)
{
    struct MHD_Response *response;
    if (answer->file) {
        response = MHD_create_response_from_callback((uint64_t)answer->file_size, FILE_PIECE, read_file,
                                                     answer->file, file_done);
    } else { /* The body is handed over: MHD frees it when it is sent. */
        response =
            MHD_create_response_from_buffer(answer->body.size, answer->body.data, MHD_RESPMEM_MUST_FREE);
    }
    if (!response) {
        text_free(&answer->body);
        file_release(&answer->file);
        return NULL;
    }
    if (answer->type) MHD_add_response_header(response, "Content-Type", answer->type);
    for (int i = 0; i < SERVE_HEADERS_MAX && answer->headers[i].name; i++)
        MHD_add_response_header(response, answer->headers[i].name, answer->headers[i].value);
    return response;
}

static enum MHD_Result answer_now(struct MHD_Connection *connection, struct serve_answer *answer)
{
    if (answer->body.failed) {
        text_free(&answer->body);
        file_release(&answer->file);
        return MHD_NO; /* cuts the connection: better than half an answer */
    }
    unsigned status = answer->status;
    struct MHD_Response *response = response_of(answer);
    *answer = (struct serve_answer){0};
    if (!response) return MHD_NO;
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* More of a request that is answered later: of its body, its end, or the answer. */
static enum MHD_Result go_on(struct serve_call *call, const char *upload, size_t *upload_size)
{
    if (call->has_answer) return answer_now(call->connection, &call->answer);
    if (*upload_size > 0) {
        if (call->task.take)
            call->task.take(call->task.context, (struct slice){(const uint8_t *)upload, *upload_size});
        *upload_size = 0;
        return MHD_YES;
    }
    if (call->task.end && !call->is_whole) call->task.end(call->task.context);
    call->is_whole = true;
    call->is_suspended = true;
    MHD_suspend_connection(call->connection);
    return MHD_YES;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    (void)version;
    struct serve *serve = context;
    if (*state) return go_on(*state, upload, upload_size);
    struct serve_request request = {.method = method, .path = url, .connection = connection};
    struct serve_call *call = calloc(1, sizeof *call);
    if (!call) return MHD_NO;
    *call = (struct serve_call){.serve = serve, .connection = connection};
    struct serve_answer answer = {.status = MHD_HTTP_OK, .type = "text/plain; charset=utf-8", .call = call};
    serve->options.answer(serve->options.context, &request, &answer);
    if (!answer.is_later) {
        free(call);
        return answer_now(connection, &answer);
    }
    call->task = answer.task;
    list_push_back(&serve->calls, &call->in_serve);
    *state = call;
    return MHD_YES;
}

static void call_end(struct serve_call *call)
{
    if (!call->has_answer && call->task.gone) call->task.gone(call->task.context);
    if (call->has_answer) text_free(&call->answer.body);
    if (call->has_answer) file_release(&call->answer.file);
    list_remove(&call->in_serve);
    free(call);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)context;
    (void)connection;
    (void)code;
    if (*state) call_end(*state);
    *state = NULL;
}

void serve_answer_later(struct serve_call *call, struct serve_answer *answer)
{
    call->answer = *answer;
    call->has_answer = true;
    *answer = (struct serve_answer){0};
    if (!call->is_suspended) return; /* its body still comes */
    call->is_suspended = false;
    MHD_resume_connection(call->connection);
    loop_timer_start(call->serve->loop, &call->serve->timer, 0);
}

/* Lets libmicrohttpd work, and asks when it wants to be woken without traffic. */
static void turn(struct serve *serve)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    enum MHD_Result waits = MHD_YES;
    for (int pass = 0; pass < TURN_PASSES && waits == MHD_YES && wait_ms == 0; pass++) {
        MHD_run(serve->daemon);
        waits = MHD_get_timeout(serve->daemon, &wait_ms);
    }
    if (waits == MHD_YES) { /* 0: it has more to do at once, a body that comes or goes */
        loop_timer_start(serve->loop, &serve->timer, wait_ms > 0 ? (int64_t)wait_ms + 1 : 0);
    } else {
        loop_timer_stop(serve->loop, &serve->timer);
    }
}

static void on_ready(void *context)
{
    turn(context);
}

static void on_timer(struct loop_timer *timer)
{
    turn(CONTAINER_OF(timer, struct serve, timer));
}

static enum error listen_on(const struct addrinfo *info, int *fd, uint16_t *bound)
{
    int made = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0) return ERR_LIMIT;
    int one = 1;
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(made, info->ai_addr, info->ai_addrlen) != 0 || listen(made, 64) != 0 ||
        getsockname(made, (struct sockaddr *)&address, &size) != 0) {
        close(made);
        return ERR_BUSY;
    }
    *fd = made;
    *bound = ntohs(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                                : ((struct sockaddr_in6 *)&address)->sin6_port);
    return OK;
}

static enum error listen_at(const char *host, uint16_t port, int *fd, uint16_t *bound)
{
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, service, &wanted, &found) != 0 || !found) return ERR_NAME;
    enum error err = listen_on(found, fd, bound);
    freeaddrinfo(found);
    return err;
}

enum error serve_open(struct loop *loop, const struct serve_options *options, struct serve **serve)
{
    struct serve *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    made->loop = loop;
    made->options = *options;
    made->timer.run = on_timer;
    list_init(&made->calls);
    int fd = -1;
    enum error err = listen_at(options->host ? options->host : "127.0.0.1", options->port, &fd, &made->port);
    if (err != OK) {
        free(made);
        return err;
    }
    made->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, made, MHD_OPTION_LISTEN_SOCKET,
        fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, made, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        made->daemon ? MHD_get_daemon_info(made->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) {
        if (made->daemon) {
            MHD_stop_daemon(made->daemon);
        } else {
            close(fd);
        }
        free(made);
        return ERR_NOMEM;
    }
    err = loop_poll_new(loop, info->epoll_fd, on_ready, made, &made->poll);
    if (err != OK) {
        MHD_stop_daemon(made->daemon);
        free(made);
        return err;
    }
    *serve = made;
    return OK;
}

uint16_t serve_port(const struct serve *serve)
{
    return serve->port;
}

void serve_close(struct serve **serve)
{
    struct serve *closing = *serve;
    *serve = NULL;
    if (!closing) return;
    LIST_EACH(&closing->calls, item)
    {
        struct serve_call *call = CONTAINER_OF(item, struct serve_call, in_serve);
        if (call->is_suspended) MHD_resume_connection(call->connection);
    }
    loop_timer_stop(closing->loop, &closing->timer);
    loop_poll_free(&closing->poll);
    MHD_stop_daemon(closing->daemon);
    free(closing);
}
