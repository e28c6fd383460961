#include "console/http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/text.h"
#include "loop/loop.h"
#include "metrics/metrics.h"

enum { MAX_CONNECTIONS = 32, IDLE_SECONDS = 30, CONNECTION_MEMORY = 16 * 1024 };

struct http {
    struct loop *loop;
    struct http_options options;
    struct MHD_Daemon *daemon;
    struct loop_poll *poll;
    struct loop_timer timer; /* libmicrohttpd's own time-outs, only while it has connections */
    uint16_t port;
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              struct text *body)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->size, body->data ? body->data : "", MHD_RESPMEM_MUST_COPY);
    text_free(body);
    if (!response) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    (void)version;
    (void)upload;
    (void)state;
    struct http *http = context;
    static const char plain[] = "text/plain; charset=utf-8";
    struct text body = {0};
    *upload_size = 0;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        text_addz(&body, "only GET here\n");
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, plain, &body);
    }
    if (strcmp(url, "/metrics") == 0) {
        metrics_write(http->options.metrics, &body);
        return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &body);
    }
    if (strcmp(url, "/healthz") == 0) {
        text_addz(&body, "ok\n");
        return answer(connection, MHD_HTTP_OK, plain, &body);
    }
    if (strcmp(url, "/readyz") == 0) {
        char why[256] = "not ready";
        bool is_ready =
            !http->options.is_ready || http->options.is_ready(http->options.context, why, sizeof why);
        text_addf(&body, "%s\n", is_ready ? "ready" : why);
        return answer(connection, is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, plain, &body);
    }
    text_addz(&body, "there are /metrics, /healthz and /readyz\n");
    return answer(connection, MHD_HTTP_NOT_FOUND, plain, &body);
}

/* Lets libmicrohttpd work, and asks when it wants to be woken without traffic. */
static void turn(struct http *http)
{
    MHD_run(http->daemon);
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    if (MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES) {
        loop_timer_start(http->loop, &http->timer, (int64_t)wait_ms + 1);
    } else {
        loop_timer_stop(http->loop, &http->timer);
    }
}

static void on_ready(void *context)
{
    turn(context);
}

static void on_timer(struct loop_timer *timer)
{
    turn(CONTAINER_OF(timer, struct http, timer));
}

static enum error listen_at(const char *host, uint16_t port, int *fd, uint16_t *bound)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
    socklen_t size = sizeof *v4;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        size = sizeof *v6;
    } else {
        return ERR_NAME;
    }
    int made = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0) return ERR_LIMIT;
    int one = 1;
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(made, (struct sockaddr *)&address, size) != 0 || listen(made, 64) != 0 ||
        getsockname(made, (struct sockaddr *)&address, &size) != 0) {
        close(made);
        return ERR_BUSY;
    }
    *fd = made;
    *bound = ntohs(address.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    return OK;
}

enum error http_open(struct loop *loop, const struct http_options *options, struct http **http)
{
    struct http *made = calloc(1, sizeof *made);
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
    *http = made;
    return OK;
}

uint16_t http_port(const struct http *http)
{
    return http->port;
}

void http_close(struct http **http)
{
    struct http *closing = *http;
    *http = NULL;
    if (!closing) return;
    loop_timer_stop(closing->loop, &closing->timer);
    loop_poll_free(&closing->poll);
    MHD_stop_daemon(closing->daemon);
    free(closing);
}
