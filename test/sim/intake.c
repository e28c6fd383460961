#include "intake.h"

#include <stdio.h>

enum {
    API_FETCH = 1,
    FETCH_VERSION = 12, /* the last with topic names */
    CALL_MS = 4000,
    WAIT_MS = 200,
    /* A leader that does not know yet that it is none has less than others have read, and old metadata leads to it (KIP-320).
     * It lasts as long as that leader is cut off: some 20 s. */
    DEPOSED_ANSWERS = 300,
};

static void fetched(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct intake *intake = call->context;
    struct member *member = intake->member;
    intake->is_fetching = false;
    if (member->state == AWAY) return;
    int64_t delay_ms = 0;
    bool is_ours = err == OK && intake->round == member->round;
    for (size_t i = 0; is_ours && i < intake->asked_count; i++) {
        struct fetch_place *place = &member->places[intake->asked[i]];
        if (place->position != intake->from[i]) continue; /* another broker has led it meanwhile */
        enum fetch_verdict verdict = fetch_take(member->world, response, place, NULL, NULL);
        if (place->near_until_ms > 0 && place->near % PLAN_RACKS != member->rack) {
            history_fail(&member->world->history, "%s of rack %d is sent to broker %d", member->name,
                         member->rack, place->near);
        }
        if (verdict != FETCH_OK && place->near_until_ms > 0) {
            place->near_until_ms = 0; /* the leader knows better */
            delay_ms = world_between(member->world, 20, 100);
            continue;
        }
        /* What was deleted meanwhile begins no lower than what was asked for. */
        const struct history *history = &member->world->history;
        int64_t start = history->partitions[place->partition].asked_start;
        if (verdict == FETCH_OUT_OF_RANGE && place->position < start) {
            place->position = start;
            continue;
        }
        place->out_of_range = verdict == FETCH_OUT_OF_RANGE ? place->out_of_range + 1 : 0;
        bool may_be_deposed = member->world->server_count > 1 && place->out_of_range < DEPOSED_ANSWERS;
        if (verdict == FETCH_OUT_OF_RANGE && !may_be_deposed) {
            history_out_of_range(&member->world->history, member->group, place->partition);
            place->position = 0; /* auto.offset.reset=earliest */
        }
        if (verdict != FETCH_OK) {
            routes_refresh(&member->routes);
            delay_ms = world_between(member->world, 20, 100);
        }
    }
    loop_timer_start(member->world->loop, &intake->timer, delay_ms);
}

static int server_of(const struct member *member, const struct fetch_place *place)
{
    bool is_near = place->near_until_ms > world_now_ms(member->world);
    return is_near ? place->near : routes_leader(&member->routes, place->partition);
}

/* The places that this broker leads, as far as we know, or has near by. */
static size_t choose(struct intake *intake, struct fetch_place chosen[FETCH_MAX_PLACES])
{
    struct member *member = intake->member;
    intake->asked_count = 0;
    for (size_t i = 0; i < member->place_count; i++) {
        struct fetch_place *place = &member->places[i];
        if (server_of(member, place) != intake->server) continue;
        place->leader_epoch = routes_epoch(&member->routes, place->partition);
        chosen[intake->asked_count] = *place;
        intake->asked[intake->asked_count] = i;
        intake->from[intake->asked_count++] = place->position;
    }
    return intake->asked_count;
}

static void fetch(struct loop_timer *timer)
{
    struct intake *intake = CONTAINER_OF(timer, struct intake, timer);
    struct member *member = intake->member;
    struct world *world = member->world;
    bool may = member->has_offsets && member->place_count > 0 && intake->peer.is_open;
    if (!may || intake->is_fetching || world_has_failed(world)) return;
    struct fetch_place chosen[FETCH_MAX_PLACES];
    size_t count = choose(intake, chosen);
    if (count == 0) { /* perhaps soon */
        loop_timer_start(world->loop, timer, world_between(world, 50, 300));
        return;
    }
    struct fetch_scratch scratch;
    struct fetch_request request;
    fetch_fill(world, chosen, count, WAIT_MS, (int32_t)world_between(world, 1, 50000), &scratch, &request);
    char rack[HISTORY_NAME];
    snprintf(rack, sizeof rack, PLAN_RACK, member->rack);
    if (world->plan.has_racks) request.rack_id = slice_of(rack);
    intake->call = (struct call){
        .done = fetched, .context = intake, .max_version = FETCH_VERSION, .timeout_ms = CALL_MS};
    intake->round = member->round;
    intake->is_fetching = peer_send(&intake->peer, API_FETCH, &request, &intake->call) == OK;
}

static void intake_opened(struct peer *peer)
{
    struct intake *intake = CONTAINER_OF(peer, struct intake, peer);
    loop_timer_start(intake->member->world->loop, &intake->timer, 0);
}

void intakes_start(struct member *member)
{
    for (int i = 0; i < member->world->server_count; i++) {
        struct intake *intake = &member->intakes[i];
        intake->member = member;
        intake->server = i;
        intake->timer.run = fetch;
        intake->peer.on_open = intake_opened;
        peer_start(&intake->peer, member->world, member->name, i);
    }
    routes_start(&member->routes, member->world, member->name);
}

void intakes_stop(struct member *member)
{
    for (int i = 0; i < member->world->server_count; i++) {
        loop_timer_stop(member->world->loop, &member->intakes[i].timer);
        peer_stop(&member->intakes[i].peer);
    }
    routes_stop(&member->routes);
}

void intakes_go_on(struct member *member)
{
    for (int i = 0; i < member->world->server_count; i++)
        loop_timer_start(member->world->loop, &member->intakes[i].timer, 0);
}
