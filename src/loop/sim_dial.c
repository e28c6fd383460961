/* sim_dial.c: listening and connecting in the simulated network. */
#include "loop/sim_net_inside.h"

enum error stream_listen(struct loop *loop, const char *host, uint16_t port, int backlog,
                         void (*on_accept)(void *context, struct stream *stream), void *context,
                         struct listener **result)
{
    (void)host;
    (void)backlog;
    struct sim *sim = loop->sim;
    if (loop->is_dead) return ERR_CLOSED;
    for (bool is_taken = true; is_taken;) {
        uint16_t wanted = port ? port : loop->machine->next_port++;
        is_taken = false;
        LIST_EACH(&sim->listeners, item)
        {
            const struct listener *other = CONTAINER_OF(item, struct listener, in_world);
            if (other->machine == loop->machine && other->port == wanted && !other->is_dead) is_taken = true;
        }
        if (is_taken && port) return ERR_BUSY;
        if (!is_taken) port = wanted;
    }
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener) return ERR_NOMEM;
    listener->sim = sim;
    listener->loop = loop;
    listener->machine = loop->machine;
    listener->port = port;
    listener->on_accept = on_accept;
    listener->context = context;
    list_init(&listener->in_accepting);
    list_init(&listener->backlog);
    list_push_back(&sim->listeners, &listener->in_world);
    *result = listener;
    return OK;
}

uint16_t listener_port(const struct listener *listener)
{
    return listener->port;
}

static void accept_soon(struct listener *listener)
{
    if (listener->is_dead || listener->is_paused || list_empty(&listener->backlog)) return;
    if (list_empty(&listener->in_accepting))
        list_push_back(&listener->loop->accepting, &listener->in_accepting);
    loop_wake_at(listener->loop, listener->sim->now_us + sim_between(listener->sim, 1, 20));
}

void listener_pause(struct listener *listener, bool is_paused)
{
    listener->is_paused = is_paused;
    accept_soon(listener);
}

static void listener_drop(struct listener *listener)
{
    list_remove(&listener->in_accepting);
    list_remove(&listener->in_world);
    free(listener);
}

void listener_close(struct listener **listener)
{
    struct listener *closed = *listener;
    *listener = NULL;
    if (!closed) return;
    while (!list_empty(&closed->backlog)) {
        struct stream *waiting = CONTAINER_OF(closed->backlog.next, struct stream, in_backlog);
        list_remove(&waiting->in_backlog);
        stream_close(&waiting);
    }
    closed->is_dead = true;
    closed->is_closed = true;
    if (!closed->is_accepting) listener_drop(closed); /* else net_accept is below us */
}

void net_accept(struct loop *loop)
{
    while (!list_empty(&loop->accepting) && !loop->is_dead) {
        struct listener *listener = CONTAINER_OF(loop->accepting.next, struct listener, in_accepting);
        list_remove(&listener->in_accepting);
        listener->is_accepting = true;
        while (!listener->is_dead && !listener->is_paused && !list_empty(&listener->backlog)) {
            struct stream *stream = CONTAINER_OF(listener->backlog.next, struct stream, in_backlog);
            list_remove(&stream->in_backlog);
            listener->on_accept(listener->context, stream);
        }
        listener->is_accepting = false;
        if (listener->is_closed) listener_drop(listener);
    }
}

/* --- connecting --- */

static struct sim_machine *resolve(struct connecting *connecting)
{
    static const char *const own[] = {"localhost", "127.0.0.1", "::1", "0.0.0.0"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (strcmp(connecting->host, own[i]) == 0) return connecting->machine;
    }
    struct sim *sim = connecting->sim;
    for (size_t i = 0; i < sim->machine_count; i++) {
        if (strcmp(connecting->host, sim->machines[i]->host) == 0) return sim->machines[i];
    }
    return NULL;
}

static struct listener *find_listener(struct sim *sim, const struct sim_machine *machine, uint16_t port)
{
    LIST_EACH(&sim->listeners, item)
    {
        struct listener *listener = CONTAINER_OF(item, struct listener, in_world);
        if (listener->machine == machine && listener->port == port && !listener->is_dead) return listener;
    }
    return NULL;
}

static void answer(struct connecting *connecting)
{
    list_push_back(&connecting->loop->answered, &connecting->in_answered);
    loop_wake_at(connecting->loop, connecting->sim->now_us);
}

static void connect_step(sim_event *event)
{
    struct connecting *connecting = CONTAINER_OF(event, struct connecting, step);
    struct sim *sim = connecting->sim;
    struct sim_machine *from = connecting->machine, *to = resolve(connecting);
    if (!connecting->has_answer && sim->now_us >= connecting->deadline_us) {
        connecting->err = ERR_TIMED_OUT;
        connecting->has_answer = true;
    }
    if (connecting->has_answer) {
        answer(connecting);
        return;
    }
    if (!to) {
        connecting->err = ERR_NAME;
        answer(connecting);
        return;
    }
    int64_t next_us;
    if (sim_is_cut(sim, from, to) || sim_is_cut(sim, to, from)) {
        next_us = sim->now_us + sim_between(sim, RETRY_US / 2, RETRY_US * 2);
        if (next_us > connecting->deadline_us) next_us = connecting->deadline_us;
    } else {
        struct listener *listener = find_listener(sim, to, connecting->port);
        sim_note(sim, to, SIM_CONNECT, connecting->port, listener != NULL);
        if (listener) {
            struct stream *far;
            net_open(connecting, listener, &connecting->stream, &far);
            list_push_back(&listener->backlog, &far->in_backlog);
            accept_soon(listener);
        }
        connecting->err = listener ? OK : ERR_REFUSED;
        connecting->has_answer = true;
        next_us = sim->now_us + net_delay_us(sim, from, to);
    }
    sim_event_at(sim, event, next_us);
}

enum error stream_connect(struct loop *loop, const char *host, uint16_t port, int64_t timeout_ms,
                          void (*on_connected)(void *context, enum error err, struct stream *stream),
                          void *context, struct connecting **result)
{
    struct sim *sim = loop->sim;
    struct connecting *connecting = calloc(1, sizeof *connecting);
    if (!connecting || !(connecting->host = strdup(host))) {
        free(connecting);
        return ERR_NOMEM;
    }
    connecting->sim = sim;
    connecting->loop = loop;
    connecting->machine = loop->machine;
    connecting->step.run = connect_step;
    connecting->port = port;
    connecting->deadline_us = sim->now_us + (timeout_ms > 0 ? timeout_ms : 1) * 1000;
    connecting->on_connected = on_connected;
    connecting->context = context;
    list_init(&connecting->in_answered);
    list_push_back(&sim->connectings, &connecting->in_world);
    if (!loop->is_dead) {
        struct sim_machine *to = resolve(connecting);
        sim_event_at(sim, &connecting->step, sim->now_us + net_delay_us(sim, loop->machine, to));
    }
    if (result) *result = connecting;
    return OK;
}

static void connecting_free(struct connecting *connecting)
{
    sim_event_cancel(connecting->sim, &connecting->step);
    list_remove(&connecting->in_answered);
    list_remove(&connecting->in_world);
    free(connecting->host);
    free(connecting);
}

void stream_connect_cancel(struct connecting **connecting)
{
    struct connecting *cancelled = *connecting;
    *connecting = NULL;
    if (!cancelled) return;
    if (cancelled->stream) stream_close(&cancelled->stream);
    connecting_free(cancelled);
}

void net_answer(struct loop *loop)
{
    while (!list_empty(&loop->answered) && !loop->is_dead) {
        struct connecting *connecting = CONTAINER_OF(loop->answered.next, struct connecting, in_answered);
        void (*on_connected)(void *, enum error, struct stream *) = connecting->on_connected;
        void *context = connecting->context;
        enum error err = connecting->err;
        struct stream *stream = connecting->stream;
        connecting_free(connecting);
        on_connected(context, err, stream);
    }
}

/* --- the end of a machine, and of the world --- */

void dial_die(struct sim_machine *machine)
{
    struct sim *sim = machine->sim;
    LIST_EACH(&sim->listeners, item)
    {
        struct listener *listener = CONTAINER_OF(item, struct listener, in_world);
        if (listener->machine != machine) continue;
        listener->is_dead = true;
        list_remove(&listener->in_accepting);
        while (!list_empty(&listener->backlog)) { /* never seen by the node */
            struct stream *waiting = CONTAINER_OF(listener->backlog.next, struct stream, in_backlog);
            list_remove(&waiting->in_backlog);
            stream_close(&waiting);
        }
    }
    LIST_EACH(&sim->connectings, item)
    {
        struct connecting *connecting = CONTAINER_OF(item, struct connecting, in_world);
        if (connecting->machine != machine) continue;
        sim_event_cancel(sim, &connecting->step);
        list_remove(&connecting->in_answered);
        if (connecting->stream) stream_close(&connecting->stream);
    }
}

void dial_free(struct sim *sim)
{
    LIST_EACH(&sim->connectings, item)
    {
        struct connecting *connecting = CONTAINER_OF(item, struct connecting, in_world);
        free(connecting->host);
        free(connecting);
    }
    LIST_EACH(&sim->listeners, item) free(CONTAINER_OF(item, struct listener, in_world));
}
