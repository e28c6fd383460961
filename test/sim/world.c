#include "world.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "peer.h"
#include "witness.h"

enum {
    READY_MS = 20000, /* of virtual time; a start must do, once the sessions of those that died are over */
    MAX_STARTS = 12,
};

/* --- chance, time, notes --- */

int64_t world_now_ms(const struct world *world)
{
    return sim_now_ms(world->sim);
}

int64_t world_between(struct world *world, int64_t min, int64_t max)
{
    assert(min <= max);
    return min + (int64_t)random_below(&world->random, (uint64_t)(max - min) + 1);
}

bool world_chance(struct world *world, unsigned one_in)
{
    return random_below(&world->random, one_in) == 0;
}

void world_note(struct world *world, const char *format, ...)
{
    if (!world->line) return;
    char text[1200];
    int used = snprintf(text, sizeof text, "%10" PRId64 ".%03" PRId64 "    # ", world_now_ms(world) / 1000,
                        world_now_ms(world) % 1000);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, sizeof text - (size_t)used, format, arguments);
    va_end(arguments);
    world->line(world->line_context, text);
}

static void note_diagnostic(void *context, enum diag_level level, const char *message)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    struct world *world = context;
    const char *host = sim_current_host(world->sim);
    world_note(world, "%s: %s: %s", host ? host : "-", names[level], message);
}

void world_peers_break(struct world *world)
{
    LIST_EACH(&world->peers, item)
    {
        peer_break(CONTAINER_OF(item, struct peer, link));
    }
}

/* --- the world --- */

static enum error make_machines(struct world *world)
{
    enum error err = sim_machine_new(world->sim, WORLD_CLIENTS, &world->clients);
    if (err == OK) err = sim_loop_new(world->clients, &world->loop);
    world->server_count = world->plan.brokers;
    for (int i = 0; i < world->server_count && err == OK; i++) {
        char host[24];
        snprintf(host, sizeof host, "10.0.0.%d", i + 1);
        server_init(&world->servers[i], world, host, i, false);
        err = sim_machine_new(world->sim, host, &world->servers[i].machine);
    }
    if (world->server_count > 1 && err == OK) {
        server_init(&world->keeper, world, WORLD_KEEPER, -1, true);
        err = sim_machine_new(world->sim, WORLD_KEEPER, &world->keeper.machine);
        if (err == OK) world->witness = witness_new(world);
    }
    return err;
}

enum error world_new(uint64_t seed, enum plan_kind kind, int forced_replicas,
                     void (*line)(void *context, const char *text), void *context, struct world **result)
{
    struct world *world = calloc(1, sizeof *world);
    if (!world) return ERR_NOMEM;
    world->seed = seed;
    world->forced_replicas = forced_replicas;
    world->line = line;
    world->line_context = context;
    random_seed(&world->random, seed);
    list_init(&world->peers);
    enum error err = sim_new(seed, &world->sim);
    if (err == OK) {
        diag_set_sink(note_diagnostic, world);
        plan_draw(world, kind);
        err = make_machines(world);
    }
    if (err != OK) {
        world_free(&world);
        return err;
    }
    if (line) sim_trace_to(world->sim, line, context);
    *result = world;
    return OK;
}

void world_free(struct world **freed)
{
    struct world *world = *freed;
    *freed = NULL;
    if (!world) return;
    witness_free(&world->witness);
    sim_free(world->sim);
    history_free(&world->history);
    diag_set_sink(NULL, NULL);
    free(world);
}

/* --- time --- */

struct waiting {
    struct world *world;
    bool (*check)(void *context);
    void *context;
    bool ends_with_death, has_died;
};

static bool is_over(void *context)
{
    struct waiting *waiting = context;
    struct world *world = waiting->world;
    for (int i = 0; i < world->server_count; i++) waiting->has_died |= server_look(&world->servers[i]);
    if (world->keeper.is_there) {
        waiting->has_died |= server_look(&world->keeper);
        witness_look(world->witness);
    }
    if (world_has_failed(world)) return true;
    if (waiting->ends_with_death && waiting->has_died) return true;
    return waiting->check && waiting->check(waiting->context);
}

void world_run(struct world *world, int64_t ms)
{
    struct waiting waiting = {.world = world, .ends_with_death = true};
    sim_run_until(world->sim, is_over, &waiting, ms);
}

bool world_run_until(struct world *world, bool (*check)(void *context), void *context, int64_t limit_ms)
{
    struct waiting waiting = {.world = world, .check = check, .context = context};
    return sim_run_until(world->sim, is_over, &waiting, limit_ms) && !world_has_failed(world);
}

/* --- all servers --- */

static bool is_all_ready(const struct world *world)
{
    for (int i = 0; i < world->server_count; i++) {
        if (world->servers[i].state != SERVER_READY) return false;
    }
    return !world->keeper.is_there || world->keeper.state == SERVER_READY;
}

static bool is_any_down(const struct world *world)
{
    for (int i = 0; i < world->server_count; i++) {
        if (world->servers[i].state == SERVER_DOWN) return true;
    }
    return world->keeper.is_there && world->keeper.state == SERVER_DOWN;
}

static bool is_settled(void *context)
{
    return is_all_ready(context) || is_any_down(context);
}

void world_bring_up(struct world *world)
{
    for (int starts = 0; starts < MAX_STARTS && !world_has_failed(world); starts++) {
        if (is_all_ready(world)) return;
        if (world->keeper.is_there && world->keeper.state == SERVER_DOWN) server_start(&world->keeper);
        for (int i = 0; i < world->server_count; i++) {
            if (world->servers[i].state == SERVER_DOWN) server_start(&world->servers[i]);
        }
        if (!world_run_until(world, is_settled, world, READY_MS + 2 * world->plan.keeper_session_ms)) {
            for (int i = 0; i < world->server_count; i++) {
                if (world->servers[i].state == SERVER_READY) continue;
                history_fail(&world->history, "%s is not ready %d s after its start", world->servers[i].host,
                             READY_MS / 1000);
            }
            history_fail(&world->history, "the keeper is not ready");
        }
        world_run(world, 0);
    }
    if (!is_all_ready(world)) history_fail(&world->history, "not every server comes up");
}

void world_stop_all(struct world *world)
{
    for (int i = 0; i < world->server_count && !world_has_failed(world); i++) server_stop(&world->servers[i]);
    if (world->keeper.is_there && !world_has_failed(world)) server_stop(&world->keeper);
}
