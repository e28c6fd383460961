/* listen.c: listening sockets. Several connections are accepted a turn; beyond our descriptors they are accepted and
 * closed at once, so that a client hears it now and not after its timeout. */
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/inside.h"

enum {
    MAX_ACCEPTS = 64,      /* a turn */
    ACCEPT_RETRY_MS = 100, /* when the kernel has no descriptor left */
};

struct listener {
    uv_poll_t poll;
    struct loop *loop;
    struct loop_timer retry;
    void (*on_accept)(void *context, struct stream *stream);
    void *context;
    int fd;
    uint16_t port;
    bool is_paused, is_closed;
};

static void on_connections(uv_poll_t *poll, int status, int events);

static void set_polling(struct listener *listener, bool is_on)
{
    int status =
        is_on ? uv_poll_start(&listener->poll, UV_READABLE, on_connections) : uv_poll_stop(&listener->poll);
    assert(status == 0);
}

static void accept_again(struct loop_timer *timer)
{
    struct listener *listener = CONTAINER_OF(timer, struct listener, retry);
    if (!listener->is_paused) set_polling(listener, true);
}

static void on_connections(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct listener *listener = poll->data;
    struct loop *loop = listener->loop;
    loop_begin_turn(loop);
    for (int i = 0; i < MAX_ACCEPTS && !listener->is_closed && !listener->is_paused; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t size = sizeof peer;
        int fd = accept4(listener->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno == EAGAIN) return;
            set_polling(listener, false);
            loop_timer_start(loop, &listener->retry, ACCEPT_RETRY_MS);
            return;
        }
        if (!descriptors_take_socket(loop->descriptors)) {
            close(fd);
            continue;
        }
        struct stream *stream;
        if (stream_on_socket(loop, fd, (struct sockaddr *)&peer, &stream) != OK) {
            close(fd);
            descriptors_put_socket(loop->descriptors);
            continue;
        }
        listener->on_accept(listener->context, stream);
    }
}

/* A bound, listening socket for one address, or the error. */
static enum error listen_on(const struct sockaddr *address, socklen_t size, bool is_dual, int backlog,
                            int *result)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return net_error(errno);
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* Inherited by what it accepts. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (address->sa_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, is_dual ? &off : &on, sizeof on);
    }
    if (bind(fd, address, size) != 0 || listen(fd, backlog > 0 ? backlog : 511) != 0) {
        enum error err = net_error(errno);
        close(fd);
        return err;
    }
    *result = fd;
    return OK;
}

static enum error listen_everywhere(uint16_t port, int backlog, int *fd)
{
    struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT, .sin6_port = htons(port)};
    enum error err = listen_on((struct sockaddr *)&six, sizeof six, true, backlog, fd);
    if (err == OK || err == ERR_BUSY || err == ERR_DENIED) return err;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)}; /* a machine without IPv6 */
    return listen_on((struct sockaddr *)&four, sizeof four, false, backlog, fd);
}

static enum error listen_by_name(const char *host, uint16_t port, int backlog, int *fd)
{
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found = NULL;
    if (getaddrinfo(host, service, &hints, &found) != 0) return ERR_NAME;
    /* A name of both kinds means its IPv4 address, as it does for Java. */
    const struct addrinfo *chosen = found;
    for (const struct addrinfo *at = found; at; at = at->ai_next) {
        if (at->ai_family == AF_INET) {
            chosen = at;
            break;
        }
    }
    bool is_any = chosen->ai_family == AF_INET6 &&
                  IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)chosen->ai_addr)->sin6_addr);
    enum error err = listen_on(chosen->ai_addr, chosen->ai_addrlen, is_any, backlog, fd);
    freeaddrinfo(found);
    return err;
}

enum error stream_listen(struct loop *loop, const char *host, uint16_t port, int backlog,
                         void (*on_accept)(void *context, struct stream *stream), void *context,
                         struct listener **result)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener) return ERR_NOMEM;
    if (!descriptors_take_socket(loop->descriptors)) {
        free(listener);
        return ERR_LIMIT;
    }
    int fd = -1;
    enum error err =
        host && *host ? listen_by_name(host, port, backlog, &fd) : listen_everywhere(port, backlog, &fd);
    int status = err == OK ? uv_poll_init(&loop->uv, &listener->poll, fd) : 0;
    if (err == OK && status != 0) {
        close(fd);
        err = net_error(-status);
    }
    if (err != OK) {
        descriptors_put_socket(loop->descriptors);
        free(listener);
        return err;
    }
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    getsockname(fd, (struct sockaddr *)&bound, &size);
    struct address local;
    address_of((struct sockaddr *)&bound, &local);

    listener->poll.data = listener;
    listener->loop = loop;
    listener->fd = fd;
    listener->port = local.port;
    listener->on_accept = on_accept;
    listener->context = context;
    listener->retry.run = accept_again;
    set_polling(listener, true);
    *result = listener;
    return OK;
}

uint16_t listener_port(const struct listener *listener)
{
    return listener->port;
}

void listener_pause(struct listener *listener, bool is_paused)
{
    if (listener->is_paused == is_paused) return;
    listener->is_paused = is_paused;
    loop_timer_stop(listener->loop, &listener->retry);
    set_polling(listener, !is_paused);
}

static void free_listener(uv_handle_t *handle)
{
    free(handle->data);
}

void listener_close(struct listener **listener)
{
    struct listener *closed = *listener;
    *listener = NULL;
    if (!closed) return;
    closed->is_closed = true;
    loop_timer_stop(closed->loop, &closed->retry);
    uv_close((uv_handle_t *)&closed->poll, free_listener);
    close(closed->fd);
    descriptors_put_socket(closed->loop->descriptors);
}
