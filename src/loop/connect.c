/* connect.c: names to addresses, addresses to streams.
 *
 * A number is used as it is. A name goes to the lane "names", for getaddrinfo blocks. Every address is tried in the
 * resolver's order; each gets its share of the time left, so that a dead first address does not eat it all.
 *
 * The lane may finish a look-up after its connecting, even after its loop, is gone. So a look-up stands alone: answering
 * and being left behind exclude each other by the lane's mutex, and one left behind is freed by its worker.
 */
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/inside.h"

enum { MAX_ADDRESSES = 16 };

struct lookup {
    struct lane_job job;
    struct list in_loop;      /* loop->lookups, until heard */
    struct connecting *asker; /* NULL when cancelled */
    struct lane *lane;
    struct loop *loop;
    struct loop_message answer;
    bool is_answered, is_abandoned; /* by the lane's mutex */
    char *host;
    char service[8];
    struct addrinfo *found;
};

struct attempt { /* libuv wants the memory of a poll until after its turn */
    uv_poll_t poll;
    struct connecting *owner; /* NULL when given up */
    int fd;
};

struct connecting {
    struct loop *loop;
    struct loop_timer timer; /* the attempt's share of time */
    int64_t deadline_us;
    struct lookup *lookup;
    struct attempt *attempt;
    struct sockaddr_storage addresses[MAX_ADDRESSES];
    int count, next;
    enum error err; /* of the last address tried */
    void (*on_connected)(void *context, enum error err, struct stream *stream);
    void *context;
};

/* --- names --- */

static void lookup_free(struct lookup *lookup)
{
    if (lookup->found) freeaddrinfo(lookup->found);
    free(lookup->host);
    free(lookup);
}

static const struct addrinfo stream_hints = {.ai_socktype = SOCK_STREAM,
                                             .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG};

static void lookup_work(struct lane_job *job)
{
    struct lookup *lookup = CONTAINER_OF(job, struct lookup, job);
    if (getaddrinfo(lookup->host, lookup->service, &stream_hints, &lookup->found) != 0) lookup->found = NULL;
    struct lane *lane = lookup->lane; /* our worker keeps it alive */
    lane_lock(lane);
    bool is_abandoned = lookup->is_abandoned;
    lookup->is_answered = true;
    if (!is_abandoned) loop_post(lookup->loop, &lookup->answer);
    lane_unlock(lane);
    if (is_abandoned) lookup_free(lookup);
}

void lookups_abandon(struct loop *loop)
{
    if (list_empty(&loop->lookups)) return;
    struct lane *lane = CONTAINER_OF(loop->lookups.next, struct lookup, in_loop)->lane;
    lane_lock(lane);
    LIST_EACH(&loop->lookups, item)
    {
        struct lookup *lookup = CONTAINER_OF(item, struct lookup, in_loop);
        assert(!lookup->asker && "a connecting outlives its loop");
        list_remove(item);
        lookup->is_abandoned = true;
        if (lookup->is_answered) lookup_free(lookup); /* its answer is in an inbox that nobody will read */
    }
    lane_unlock(lane);
}

/* --- addresses --- */

static void try_next(struct connecting *connecting);

static void take_addresses(struct connecting *connecting, const struct addrinfo *found)
{
    for (; found && connecting->count < MAX_ADDRESSES; found = found->ai_next) {
        if (found->ai_family != AF_INET && found->ai_family != AF_INET6) continue;
        memcpy(&connecting->addresses[connecting->count++], found->ai_addr, found->ai_addrlen);
    }
}

static void free_attempt(uv_handle_t *handle)
{
    free(handle->data);
}

static void drop_attempt(struct connecting *connecting, bool keeps_socket)
{
    struct attempt *attempt = connecting->attempt;
    if (!attempt) return;
    connecting->attempt = NULL;
    attempt->owner = NULL;
    uv_close((uv_handle_t *)&attempt->poll, free_attempt);
    if (keeps_socket) return;
    close(attempt->fd);
    descriptors_put_socket(connecting->loop->descriptors);
}

static void connecting_free(struct connecting *connecting)
{
    loop_timer_stop(connecting->loop, &connecting->timer);
    if (connecting->lookup) connecting->lookup->asker = NULL;
    drop_attempt(connecting, false);
    free(connecting);
}

static void finish(struct connecting *connecting, enum error err, struct stream *stream)
{
    void (*on_connected)(void *, enum error, struct stream *) = connecting->on_connected;
    void *context = connecting->context;
    connecting_free(connecting);
    on_connected(context, err, stream);
}

static void connected(struct connecting *connecting)
{
    int fd = connecting->attempt->fd;
    drop_attempt(connecting, true);
    struct stream *stream = NULL;
    enum error err = stream_on_socket(
        connecting->loop, fd, (struct sockaddr *)&connecting->addresses[connecting->next - 1], &stream);
    if (err != OK) {
        close(fd);
        descriptors_put_socket(connecting->loop->descriptors);
    }
    finish(connecting, err, stream);
}

static void on_attempt(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct attempt *attempt = poll->data;
    if (!attempt->owner) return;
    struct connecting *connecting = attempt->owner;
    loop_begin_turn(connecting->loop);
    int number = 0;
    socklen_t size = sizeof number;
    getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &number, &size);
    if (number == 0) {
        connected(connecting);
        return;
    }
    connecting->err = number == ECONNRESET ? ERR_REFUSED : net_error(number);
    drop_attempt(connecting, false);
    try_next(connecting);
}

/* Connects to one address; false when that failed at once. */
static bool try_address(struct connecting *connecting, const struct sockaddr_storage *address)
{
    struct loop *loop = connecting->loop;
    if (!descriptors_take_socket(loop->descriptors)) {
        connecting->err = ERR_LIMIT;
        return false;
    }
    int number = ENOMEM, on = 1;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (fd < 0 || !attempt) {
        number = fd < 0 ? errno : ENOMEM;
    } else {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        socklen_t size =
            address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        int status = connect(fd, (const struct sockaddr *)address, size);
        number = status == 0 || errno == EINPROGRESS ? 0 : errno;
        if (number == 0) number = -uv_poll_init(&loop->uv, &attempt->poll, fd);
    }
    if (number != 0) {
        free(attempt);
        if (fd >= 0) close(fd);
        descriptors_put_socket(loop->descriptors);
        connecting->err = net_error(number);
        return false;
    }
    attempt->poll.data = attempt;
    attempt->fd = fd;
    attempt->owner = connecting;
    connecting->attempt = attempt;
    int status = uv_poll_start(&attempt->poll, UV_WRITABLE, on_attempt);
    assert(status == 0);
    return true;
}

static void try_next(struct connecting *connecting)
{
    int64_t left_ms = (connecting->deadline_us - loop_now_us(connecting->loop)) / 1000;
    while (connecting->next < connecting->count && left_ms > 0) {
        int others = connecting->count - connecting->next;
        if (!try_address(connecting, &connecting->addresses[connecting->next++])) continue;
        int64_t share_ms = left_ms / others;
        loop_timer_start(connecting->loop, &connecting->timer, share_ms > 0 ? share_ms : 1);
        return;
    }
    finish(connecting, connecting->next < connecting->count ? ERR_TIMED_OUT : connecting->err, NULL);
}

static void on_time(struct loop_timer *timer)
{
    struct connecting *connecting = CONTAINER_OF(timer, struct connecting, timer);
    if (connecting->lookup) { /* the name server is silent */
        finish(connecting, ERR_TIMED_OUT, NULL);
        return;
    }
    if (connecting->attempt) {
        connecting->err = ERR_TIMED_OUT;
        drop_attempt(connecting, false);
    }
    try_next(connecting);
}

static void lookup_heard(struct loop_message *message)
{
    struct lookup *lookup = CONTAINER_OF(message, struct lookup, answer);
    struct connecting *connecting = lookup->asker;
    list_remove(&lookup->in_loop);
    if (connecting) {
        connecting->lookup = NULL;
        loop_timer_stop(connecting->loop, &connecting->timer);
        connecting->err = ERR_NAME;
        take_addresses(connecting, lookup->found);
    }
    lookup_free(lookup);
    if (connecting) try_next(connecting);
}

static enum error look_up(struct connecting *connecting, const char *host, const char *service,
                          int64_t timeout_ms)
{
    struct lane *names;
    enum error err = descriptors_names(connecting->loop->descriptors, &names);
    if (err != OK) return err;
    struct lookup *lookup = calloc(1, sizeof *lookup);
    if (!lookup) return ERR_NOMEM;
    lookup->host = strdup(host);
    if (!lookup->host) {
        free(lookup);
        return ERR_NOMEM;
    }
    strcpy(lookup->service, service);
    lookup->asker = connecting;
    lookup->lane = names;
    lookup->loop = connecting->loop;
    lookup->answer.run = lookup_heard;
    lookup->job.work = lookup_work;
    list_push_back(&connecting->loop->lookups, &lookup->in_loop);
    connecting->lookup = lookup;
    loop_timer_start(connecting->loop, &connecting->timer, timeout_ms);
    lane_submit(names, NULL, &lookup->job); /* without a loop: the work posts its answer itself */
    return OK;
}

enum error stream_connect(struct loop *loop, const char *host, uint16_t port, int64_t timeout_ms,
                          void (*on_connected)(void *context, enum error err, struct stream *stream),
                          void *context, struct connecting **result)
{
    struct connecting *connecting = calloc(1, sizeof *connecting);
    if (!connecting) return ERR_NOMEM;
    connecting->loop = loop;
    connecting->timer.run = on_time;
    connecting->err = ERR_NAME;
    connecting->on_connected = on_connected;
    connecting->context = context;
    if (timeout_ms < 1) timeout_ms = 1;
    if (timeout_ms > INT32_MAX) timeout_ms = INT32_MAX;
    connecting->deadline_us = loop_now_us(loop) + timeout_ms * 1000;

    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = stream_hints, *found = NULL;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    enum error err = OK;
    if (getaddrinfo(host, service, &hints, &found) == 0) {
        take_addresses(connecting, found);
        freeaddrinfo(found);
        loop_timer_start(loop, &connecting->timer, 0); /* never answers before it returned */
    } else {
        err = look_up(connecting, host, service, timeout_ms);
    }
    if (err != OK) {
        free(connecting);
        return err;
    }
    if (result) *result = connecting;
    return OK;
}

void stream_connect_cancel(struct connecting **connecting)
{
    struct connecting *cancelled = *connecting;
    *connecting = NULL;
    if (cancelled) connecting_free(cancelled);
}
