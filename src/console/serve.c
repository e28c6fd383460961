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
#include "loop/loop.h"

enum { MAX_CONNECTIONS = 32, IDLE_SECONDS = 30, CONNECTION_MEMORY = 16 * 1024 };

struct serve {
    struct loop *loop;
    struct serve_options options;
    struct MHD_Daemon *daemon;
    struct loop_poll *poll;
    struct loop_timer timer; /* libmicrohttpd's own time-outs, only while it has connections */
    uint16_t port;
};

const char *serve_query(const struct serve_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    (void)version;
    (void)upload;
    (void)state;
    struct serve *serve = context;
    *upload_size = 0;
    struct serve_request request = {.method = method, .path = url, .connection = connection};
    struct serve_answer answer = {.status = MHD_HTTP_OK, .type = "text/plain; charset=utf-8"};
    serve->options.answer(serve->options.context, &request, &answer);
    if (answer.body.failed) {
        text_free(&answer.body);
        return MHD_NO; /* cuts the connection: better than half an answer */
    }
    /* The body is handed over: MHD frees it when it is sent. */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(answer.body.size, answer.body.data, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        text_free(&answer.body);
        return MHD_NO;
    }
    if (answer.type) MHD_add_response_header(response, "Content-Type", answer.type);
    enum MHD_Result result = MHD_queue_response(connection, answer.status, response);
    MHD_destroy_response(response);
    return result;
}

/* Lets libmicrohttpd work, and asks when it wants to be woken without traffic. */
static void turn(struct serve *serve)
{
    MHD_run(serve->daemon);
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    if (MHD_get_timeout(serve->daemon, &wait_ms) == MHD_YES) {
        loop_timer_start(serve->loop, &serve->timer, (int64_t)wait_ms + 1);
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
    int fd = -1;
    enum error err = listen_at(options->host ? options->host : "127.0.0.1", options->port, &fd, &made->port);
    if (err != OK) {
        free(made);
        return err;
    }
    made->daemon =
        MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, made, MHD_OPTION_LISTEN_SOCKET, fd,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
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
    loop_timer_stop(closing->loop, &closing->timer);
    loop_poll_free(&closing->poll);
    MHD_stop_daemon(closing->daemon);
    free(closing);
}
