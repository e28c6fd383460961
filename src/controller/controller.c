/* controller.c: life, sessions, calls coming in, time. */
#include <stdio.h>

#include "controller/inside.h"

enum { MAX_TOPIC_NAME = 249 };

enum error topic_name_check(struct slice name, const char **why)
{
    const char *problem = NULL;
    if (name.size == 0)
        problem = "a topic name is empty";
    else if (slice_is(name, ".") || slice_is(name, ".."))
        problem = "a topic cannot be named \".\" or \"..\"";
    else if (name.size > MAX_TOPIC_NAME)
        problem = "a topic name has at most 249 characters";
    for (size_t i = 0; !problem && i < name.size; i++) {
        uint8_t c = name.data[i];
        bool is_legal = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                        c == '.' || c == '_' || c == '-';
        if (!is_legal) problem = "a topic name is made of letters, digits, '.', '_' and '-'";
    }
    if (why) *why = problem;
    return problem ? ERR_INVALID_TOPIC_EXCEPTION : OK;
}

bool topic_is_internal(struct slice name)
{
    return slice_is(name, "__consumer_offsets") || slice_is(name, "__transaction_state") ||
           slice_is(name, "__share_group_state");
}

/* --- our registration --- */

static struct slice keep_text(struct arena *arena, struct slice s)
{
    return s.data ? arena_copy(arena, s) : s;
}

enum error controller_keep_registration(struct controller *c, const struct broker_registration *registration)
{
    struct arena arena;
    struct broker_registration copy = *registration;
    arena_init(&arena, 0);
    struct broker_endpoint *endpoints = arena_array(&arena, registration->endpoint_count, sizeof *endpoints);
    struct broker_feature *features = arena_array(&arena, registration->feature_count, sizeof *features);
    bool is_whole = endpoints && features;
    for (size_t i = 0; is_whole && i < registration->endpoint_count; i++) {
        endpoints[i] = registration->endpoints[i];
        endpoints[i].host = keep_text(&arena, registration->endpoints[i].host);
        endpoints[i].listener = keep_text(&arena, registration->endpoints[i].listener);
        is_whole = endpoints[i].host.data && endpoints[i].listener.data;
    }
    for (size_t i = 0; is_whole && i < registration->feature_count; i++) {
        features[i] = registration->features[i];
        features[i].name = keep_text(&arena, registration->features[i].name);
        is_whole = features[i].name.data;
    }
    copy.endpoints = endpoints;
    copy.features = features;
    copy.rack = keep_text(&arena, registration->rack);
    if (!is_whole || (registration->rack.data && !copy.rack.data)) {
        arena_free(&arena);
        return ERR_NOMEM;
    }
    arena_free(&c->own);
    c->own = arena;
    c->options.registration = copy;
    return OK;
}

/* --- sessions --- */

static void on_session(void *context, enum coord_state state)
{
    struct controller *c = context;
    if (state == COORD_EXPIRED) {
        role_resign(c);
        engine_clear(c);
        registration_session_lost(c);
    } else if (state == COORD_NEW_SESSION && !c->is_registering && c->broker_epoch < 0) {
        registration_begin(c);
    }
}

static void on_controller(void *context, enum coord_event event, struct slice path)
{
    (void)event;
    (void)path;
    role_elect(context);
}

static void on_image(void *context, const struct image *old, const struct image *image)
{
    struct controller *c = context;
    /* unclean.leader.election.enable may have been set for those that wait for a leader (facts 3.6). */
    bool is_due = c->role == ROLE_ACTIVE && c->has_leaderless && !image_same_configs(old, image);
    if (is_due) engine_event(c, event_elect_waiting, NULL, NULL, true);
    pending_check(c);
}

/* --- time --- */

static void schedule(struct controller *c);

static void on_timer(struct loop_timer *timer)
{
    controller_tick(CONTAINER_OF(timer, struct controller, timer));
}

static int64_t due_ms(const struct controller *c)
{
    int64_t due = pending_due_ms(c);
    if (c->rebalance_ms < due) due = c->rebalance_ms;
    if (c->reelect_ms < due) due = c->reelect_ms;
    if (c->is_waiting_for_seat && c->seat_deadline_ms < due) due = c->seat_deadline_ms;
    return due;
}

static void schedule(struct controller *c)
{
    if (!c->options.loop) return;
    int64_t due = due_ms(c);
    if (due == INT64_MAX)
        loop_timer_stop(c->options.loop, &c->timer);
    else
        loop_timer_start(c->options.loop, &c->timer, due - controller_now_ms(c));
}

int64_t controller_tick(struct controller *c)
{
    int64_t now_ms = controller_now_ms(c);
    registration_tick(c);
    if (now_ms >= c->reelect_ms) {
        c->reelect_ms = INT64_MAX;
        role_elect(c);
    }
    if (now_ms >= c->rebalance_ms) {
        c->rebalance_ms = now_ms + (int64_t)c->options.rules.imbalance_check_seconds * 1000;
        if (c->role == ROLE_ACTIVE) engine_event(c, event_rebalance, NULL, NULL, true);
    }
    pending_check(c);
    schedule(c);
    return due_ms(c);
}

void controller_reschedule(struct controller *c)
{
    schedule(c);
}

/* --- calls --- */

static void call_home(struct loop_message *message)
{
    struct controller_call *call = CONTAINER_OF(message, struct controller_call, message);
    call->done(call);
}

void call_done(struct controller_call *call, enum error err)
{
    call->err = err;
    call->message.run = call_home;
    if (call->home)
        loop_post(call->home, &call->message);
    else
        call->done(call);
}

static void take_call(struct controller *c, struct controller_call *call)
{
    bool may_any_broker =
        call->api_key == 33 || call->api_key == 44 || (call->api_key == 19 && call->is_auto_creation);
    if (c->is_freed || (!may_any_broker && c->role != ROLE_ACTIVE)) {
        call_done(call, ERR_NOT_CONTROLLER);
        return;
    }
    switch (call->api_key) {
    case 7: call_controlled_shutdown(c, call); break;
    case 19: call_create_topics(c, call); break;
    case 20: call_delete_topics(c, call); break;
    case 33:
    case 44: call_alter_configs(c, call); break;
    case 37: call_create_partitions(c, call); break;
    case 43: call_elect_leaders(c, call); break;
    case 45: call_alter_reassignments(c, call); break;
    case 46: call_list_reassignments(c, call); break;
    case 56: call_alter_partition(c, call); break;
    case 67: call_allocate_producer_ids(c, call); break;
    default: call_done(call, ERR_UNSUPPORTED_VERSION); break;
    }
    schedule(c);
}

static void call_arrived(struct loop_message *message)
{
    struct controller_call *call = CONTAINER_OF(message, struct controller_call, message);
    take_call(call->controller, call);
}

void controller_submit(struct controller *c, struct controller_call *call)
{
    call->controller = c;
    if (!c->options.loop || loop_is_current(c->options.loop)) {
        take_call(c, call);
        return;
    }
    call->message.run = call_arrived;
    loop_post(c->options.loop, &call->message);
}

/* --- life --- */

enum error controller_new(const struct controller_options *options, struct controller **controller)
{
    struct controller *c = calloc(1, sizeof *c);
    if (!c) return ERR_NOMEM;
    *c = (struct controller){
        .options = *options,
        .coord = options->coord,
        .metadata = options->metadata,
        .id = options->registration.id,
        .broker_epoch = -1,
        .known_controller = -1,
        .reelect_ms = INT64_MAX,
        .rebalance_ms = INT64_MAX,
        .timer.run = on_timer,
        .session_listener = {on_session, c, NULL},
        .image_listener = {on_image, c, NULL},
    };
    arena_init(&c->own, 0);
    arena_init(&c->scratch, 0);
    list_init(&c->events);
    list_init(&c->pending);
    enum error err = controller_keep_registration(c, &options->registration);
    if (err == OK) err = coord_watch(c->coord, COORD_WATCH_NODE, SLICE("/controller"), on_controller, c);
    if (err != OK) {
        arena_free(&c->own);
        free(c);
        return err;
    }
    coord_listen(c->coord, &c->session_listener);
    metadata_listen(c->metadata, &c->image_listener);
    *controller = c;
    registration_begin(c);
    return OK;
}

void controller_free(struct controller **controller)
{
    struct controller *c = *controller;
    if (!c) return;
    *controller = NULL;
    char path[40];
    role_resign(c);
    c->is_freed = true;
    engine_clear(c);
    pending_drop_all(c, ERR_NOT_CONTROLLER);
    if (c->options.loop) loop_timer_stop(c->options.loop, &c->timer);
    metadata_unlisten(c->metadata, &c->image_listener);
    coord_unlisten(c->coord, &c->session_listener);
    coord_unwatch(c->coord, COORD_WATCH_NODE, SLICE("/controller"));
    snprintf(path, sizeof path, "/brokers/ids/%d", c->id);
    coord_unwatch(c->coord, COORD_WATCH_NODE, slice_of(path));
    arena_free(&c->own);
    arena_free(&c->scratch);
    free(c->steps);
    c->unanswered++;
    controller_is_alive(c);
}

bool controller_is_active(const struct controller *c)
{
    return c->role == ROLE_ACTIVE;
}

int32_t controller_epoch(const struct controller *c)
{
    return c->epoch;
}

int64_t controller_broker_epoch(const struct controller *c)
{
    return c->broker_epoch;
}
