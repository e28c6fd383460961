#include "world.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "node/node.h"
#include "peer.h"
#include "settings/settings.h"

enum {
    LOOPS = 2,
    READY_MS = 20000, /* of virtual time; a start must do */
    STOP_MS = 30000,
    MAX_STARTS = 12,
};

/* One start of the node, to its end. Abandoned when the machine dies. */
struct node_life {
    struct world *world;
    struct loop *loops[LOOPS];
    struct settings *settings;
    struct node *node;
    bool has_ended, was_ready;
    struct loop_message start, stop;
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
    world_note(context, "node: %s: %s", names[level], message);
}

void world_peers_break(struct world *world)
{
    LIST_EACH(&world->peers, item)
    {
        peer_break(CONTAINER_OF(item, struct peer, link));
    }
}

/* --- the plan --- */

static void draw_plan(struct world *world)
{
    struct plan *plan = &world->plan;
    int64_t kind = world_between(world, 0, 9);
    plan->is_durable = kind < 5;
    plan->has_power_cuts = kind < 8;
    plan->has_lost_syncs = plan->has_power_cuts && world_chance(world, 3);
    plan->is_spread = !world_chance(world, 4);
    plan->data_dirs = world_chance(world, 4) ? 2 : 1;
    plan->producers = (int)world_between(world, 1, 3);
    plan->groups = (int)world_between(world, 1, 2);
    plan->members_per_group = (int)world_between(world, 1, 3);
    plan->topics = (int)world_between(world, 1, 2);
    plan->partitions_per_topic = (int)world_between(world, 1, 3);
    plan->offsets_partitions = (int)world_between(world, 1, 3);
    plan->segment_bytes = world_chance(world, 2) ? (int)world_between(world, 20000, 100000) : 1 << 30;
    plan->roll_ms = world_chance(world, 4) ? (int)world_between(world, 500, 5000) : 3600 * 1000;
    plan->index_interval_bytes = world_chance(world, 2) ? (int)world_between(world, 0, 2000) : 4096;
    plan->checkpoint_ms = (int)world_between(world, 100, 5000);
    plan->session_ms = (int)world_between(world, 800, 3000);
    plan->steps = (int)world_between(world, 6, 14);
    world->history.is_durable = plan->is_durable;
    world_note(
        world,
        "plan: %s, %s%s%s, dirs %d, producers %d, groups %d of %d, topics %d of %d, segments %d bytes %d ms",
        plan->is_durable ? "flush.messages=1" : "no flush",
        plan->has_power_cuts ? "power cuts" : "kills only", plan->has_lost_syncs ? ", lost syncs" : "",
        plan->is_spread ? ", spread" : "", plan->data_dirs, plan->producers, plan->groups,
        plan->members_per_group, plan->topics, plan->partitions_per_topic, plan->segment_bytes,
        plan->roll_ms);
}

static enum error load_settings(const struct world *world, struct settings **settings)
{
    const struct plan *plan = &world->plan;
    struct text text = {0};
    text_addf(&text,
              "broker.id=0\n"
              "listeners=PLAINTEXT://%s:%d\n"
              "log.dirs=/data/a%s\n"
              "keeper.client.port=0\n"
              "auto.create.topics.enable=false\n"
              "offsets.topic.num.partitions=%d\n"
              "offsets.topic.replication.factor=1\n"
              "offsets.retention.minutes=2000000000\n"
              "group.initial.rebalance.delay.ms=50\n"
              "group.min.session.timeout.ms=100\n"
              "log.retention.ms=-1\n"
              "log.message.timestamp.after.max.ms=9223372036854775807\n"
              "log.segment.bytes=%d\n"
              "log.roll.ms=%d\n"
              "log.index.interval.bytes=%d\n"
              "log.flush.offset.checkpoint.interval.ms=%d\n"
              "replica.high.watermark.checkpoint.interval.ms=%d\n",
              WORLD_SERVER, WORLD_PORT, plan->data_dirs == 2 ? ",/data/b" : "", plan->offsets_partitions,
              plan->segment_bytes, plan->roll_ms, plan->index_interval_bytes, plan->checkpoint_ms,
              plan->checkpoint_ms);
    if (plan->is_durable) text_addz(&text, "log.flush.interval.messages=1\n");
    struct settings_sources sources = {.name = "server.properties", .text = text_slice(&text)};
    enum error err = text.failed ? ERR_NOMEM : settings_load(&sources, settings);
    text_free(&text);
    return err;
}

/* --- the world --- */

enum error world_new(uint64_t seed, void (*line)(void *context, const char *text), void *context,
                     struct world **result)
{
    struct world *world = calloc(1, sizeof *world);
    if (!world) return ERR_NOMEM;
    world->seed = seed;
    world->line = line;
    world->line_context = context;
    random_seed(&world->random, seed);
    list_init(&world->peers);
    enum error err = sim_new(seed, &world->sim);
    if (err == OK) err = sim_machine_new(world->sim, WORLD_SERVER, &world->server);
    if (err == OK) err = sim_machine_new(world->sim, WORLD_CLIENTS, &world->clients);
    if (err == OK) err = sim_loop_new(world->clients, &world->loop);
    if (err != OK) {
        world_free(&world);
        return err;
    }
    if (line) sim_trace_to(world->sim, line, context);
    diag_set_sink(note_diagnostic, world);
    draw_plan(world);
    *result = world;
    return OK;
}

void world_free(struct world **freed)
{
    struct world *world = *freed;
    *freed = NULL;
    if (!world) return;
    sim_free(world->sim);
    history_free(&world->history);
    diag_set_sink(NULL, NULL);
    free(world);
}

/* --- the node's death --- */

/* What follows once the machine has died, by our hand or by itself in the middle of a write. */
static void mourn(struct world *world, bool is_power_lost)
{
    world->deaths_seen = sim_machine_crashes(world->server);
    world->state = NODE_DOWN;
    world->life = NULL; /* abandoned */
    if (!is_power_lost) return;
    world->counts.power_cuts++;
    world->has_lost_sync = false;
    if (world->plan.is_durable) return;
    world_peers_break(world);
    history_power_cut(&world->history);
}

static bool look_for_death(struct world *world)
{
    if (sim_machine_crashes(world->server) == world->deaths_seen) return false;
    world_note(world, "the power is gone in the middle of a write");
    mourn(world, true);
    return true;
}

void world_power_cut(struct world *world)
{
    world_note(world, "power cut");
    sim_machine_crash(world->server);
    mourn(world, true);
}

void world_kill(struct world *world)
{
    if (world->has_lost_sync) {
        world_power_cut(world);
        return;
    }
    world_note(world, "kill -9");
    world->counts.kills++;
    sim_machine_kill(world->server);
    mourn(world, false);
}

/* The process is over: its loops, sockets and locks go; memory that was not freed stays abandoned. */
static void bury(struct world *world)
{
    if (world->life) settings_free(&world->life->settings);
    free(world->life);
    if (world->has_lost_sync) {
        world_power_cut(world);
        return;
    }
    sim_machine_kill(world->server);
    mourn(world, false);
}

/* --- the disk --- */

static void sicken(struct world *world)
{
    world->is_disk_sick = world->may_end = true;
}

void world_disk_full(struct world *world, bool is_full)
{
    world_note(world, is_full ? "the disk is full" : "the disk has room");
    sim_disk_full(world->server, is_full);
    world->is_full = is_full;
    world->was_starved |= is_full && world->state == NODE_STARTING;
}

void world_fail_syncs(struct world *world, int count)
{
    world_note(world, "the next %d syncs fail", count);
    sim_disk_fail_sync(world->server, count);
    sicken(world);
    world->has_lost_sync = true;
}

void world_disk_heal(struct world *world)
{
    world->is_full = false;
    sim_disk_full(world->server, false);
    sim_disk_fail_sync(world->server, 0);
    sim_disk_slow(world->server, 0, 0);
    world->is_disk_sick = false;
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
    waiting->has_died |= look_for_death(waiting->world);
    struct world *world = waiting->world;
    if (world->life && world->life->has_ended) {
        bury(world); /* it ended by itself or was stopped */
        waiting->has_died = true;
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

/* --- the node's life --- */

static void node_is_ready(void *context, const char *line)
{
    struct world *world = ((struct node_life *)context)->world;
    world_note(world, "%s", line);
    ((struct node_life *)context)->was_ready = true;
    if (world->state == NODE_STARTING) world->state = NODE_READY;
}

static void node_has_ended(void *context, enum error err, const char *problem)
{
    struct node_life *life = context;
    struct world *world = life->world;
    world_note(world, "the node ended: %s: %s", error_name(err), problem);
    bool was_asked = world->state == NODE_STOPPING && err == OK;
    /* Recovery needs a little room; without it the node says so and ends. */
    bool could_not_start = !life->was_ready && world->was_starved;
    if (!was_asked && !world->may_end && !could_not_start) {
        history_fail(&world->history, "the node ended by itself: %s: %s", error_name(err), problem);
    }
    world->counts.ends += !was_asked;
    world->state = NODE_DOWN;
    life->node = NULL;
    life->has_ended = true;
}

static void start_node(struct loop_message *message)
{
    struct node_life *life = CONTAINER_OF(message, struct node_life, start);
    struct world *world = life->world;
    struct node_config config = {.settings = life->settings,
                                 .loops = life->loops,
                                 .loop_count = LOOPS,
                                 .is_spread = world->plan.is_spread,
                                 .disk = sim_machine_disk(world->server),
                                 .started_us = loop_clock_us(life->loops[0]),
                                 .on_ready = node_is_ready,
                                 .on_end = node_has_ended,
                                 .context = life};
    enum error err = node_start(&config, &life->node);
    if (err != OK) history_fail(&world->history, "node_start: %s", error_text(err));
}

void world_start_node(struct world *world)
{
    assert(world->state == NODE_DOWN && !world->life);
    struct node_life *life = calloc(1, sizeof *life);
    if (!life) abort();
    life->world = world;
    enum error err = load_settings(world, &life->settings);
    for (int i = 0; i < LOOPS && err == OK; i++) err = sim_loop_new(world->server, &life->loops[i]);
    if (err != OK) {
        history_fail(&world->history, "could not begin a life: %s", error_text(err));
        return;
    }
    world_note(world, "start");
    world->counts.starts++;
    world->life = life;
    world->state = NODE_STARTING;
    world->may_end = world->is_disk_sick;
    world->was_starved = world->is_full;
    life->start.run = start_node;
    loop_post(life->loops[0], &life->start);
}

static bool is_down(void *context)
{
    return ((struct world *)context)->state == NODE_DOWN;
}

static bool is_up_or_down(void *context)
{
    enum node_state state = ((struct world *)context)->state;
    return state == NODE_DOWN || state == NODE_READY;
}

static void stop_node(struct loop_message *message)
{
    node_stop(CONTAINER_OF(message, struct node_life, stop)->node);
}

void world_stop_node(struct world *world)
{
    if (world->state == NODE_DOWN) return;
    world_note(world, "stop");
    world->counts.stops++;
    world->state = NODE_STOPPING;
    world->life->stop.run = stop_node;
    loop_post(world->life->loops[0], &world->life->stop);
    if (!world_run_until(world, is_down, world, STOP_MS)) {
        history_fail(&world->history, "a clean stop does not end within %d s", STOP_MS / 1000);
    }
    world_run(world, 0); /* takes leave of it */
}

void world_bring_up(struct world *world)
{
    for (int starts = 0; starts < MAX_STARTS && !world_has_failed(world); starts++) {
        if (world->state == NODE_READY) return;
        if (world->state == NODE_DOWN) world_start_node(world);
        if (!world_run_until(world, is_up_or_down, world, READY_MS)) {
            history_fail(&world->history, "the node is not ready %d s after its start", READY_MS / 1000);
        }
        world_run(world, 0);
    }
    if (world->state != NODE_READY) history_fail(&world->history, "the node does not come up");
}
