/* sim.c: the simulated world: its queue of events, its machines, its trace.
 *
 * Memory of a crashed machine: the node's own memory was the machine's, so a test either frees the node as usual (its
 * objects of loop/ are dead and harmless, see sim_inside.h) or abandons it and runs with leak detection off. Objects of
 * loop/ that nobody freed go with sim_free; free nodes before it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/vec.h"
#include "loop/sim_inside.h"

static const int64_t FIRST_WALL_MS = 1700000000000;

enum sim_limits {
    DEFAULT_MIN_DELAY_US = 50,
    DEFAULT_MAX_DELAY_US = 1000,
    FIRST_PORT = 40000,
};

static const char *const kind_names[] = {
#define KIND(name, text) [SIM_##name] = text,
    SIM_KINDS(KIND)
#undef KIND
};

enum error sim_new(uint64_t seed, struct sim **result)
{
    struct sim *sim = calloc(1, sizeof *sim);
    if (!sim) return ERR_NOMEM;
    random_seed(&sim->world, seed);
    random_seed(&sim->tests, seed ^ 0x7465737473ULL);
    random_seed(&sim->secrets, seed ^ 0x73656372657473ULL);
    sim->min_delay_us = DEFAULT_MIN_DELAY_US;
    sim->max_delay_us = DEFAULT_MAX_DELAY_US;
    list_init(&sim->streams);
    list_init(&sim->connections);
    list_init(&sim->connectings);
    list_init(&sim->listeners);
    list_init(&sim->lanes);
    list_init(&sim->loops);
    *result = sim;
    return OK;
}

void sim_free(struct sim *sim)
{
    if (!sim) return;
    net_free(sim);
    loops_free(sim);
    for (size_t i = 0; i < sim->machine_count; i++) {
        disk_world_free(sim->machines[i]);
        free(sim->machines[i]->host);
        free(sim->machines[i]);
    }
    free(sim->machines);
    free(sim->cuts);
    timer_heap_free(&sim->events);
    free(sim);
}

enum error sim_machine_new(struct sim *sim, const char *host, struct sim_machine **result)
{
    struct sim_machine *machine = calloc(1, sizeof *machine);
    if (!machine) return ERR_NOMEM;
    machine->sim = sim;
    machine->index = (int)sim->machine_count;
    machine->boot_us = sim_between(sim, 1000000, 1000000000);
    machine->next_port = FIRST_PORT;
    machine->host = strdup(host);
    list_init(&machine->inodes);
    list_init(&machine->journal);
    list_init(&machine->disks);
    enum error err = machine->host ? disk_of_machine(machine) : ERR_NOMEM;
    if (err == OK && !VEC_RESERVE(sim->machines, sim->machine_count, sim->machine_capacity)) err = ERR_NOMEM;
    if (err != OK) {
        disk_world_free(machine);
        free(machine->host);
        free(machine);
        return err;
    }
    sim->machines[sim->machine_count++] = machine;
    *result = machine;
    return OK;
}

struct disk *sim_machine_disk(struct sim_machine *machine)
{
    return machine->disk;
}

int sim_machine_crashes(const struct sim_machine *machine)
{
    return machine->crashes;
}

static void die(struct sim_machine *machine, bool is_power_lost)
{
    sim_note(machine->sim, machine, is_power_lost ? SIM_CRASH : SIM_KILL, machine->crashes, 0);
    machine->crashes++;
    machine->power_losses += is_power_lost;
    machine->crash_countdown = 0;
    machine->paused_until_us = 0;
    net_die(machine, is_power_lost);
    loops_die(machine);
    disk_die(machine, is_power_lost);
}

void sim_machine_crash(struct sim_machine *machine)
{
    die(machine, true);
}

void sim_machine_kill(struct sim_machine *machine)
{
    die(machine, false);
}

void sim_machine_crash_at_write(struct sim_machine *machine, int count)
{
    machine->crash_countdown = count;
}

/* --- events --- */

void sim_event_at(struct sim *sim, sim_event *event, int64_t at_us)
{
    timer_heap_start(&sim->events, event, at_us > sim->now_us ? at_us : sim->now_us);
}

void sim_event_cancel(struct sim *sim, sim_event *event)
{
    timer_heap_stop(&sim->events, event);
}

bool sim_step(struct sim *sim, int64_t until_us)
{
    int64_t due_us = timer_heap_next_due_ms(&sim->events);
    if (due_us > until_us) return false;
    if (due_us > sim->now_us) sim->now_us = due_us;
    sim_event *event = timer_heap_take_due(&sim->events, sim->now_us, UINT64_MAX);
    sim->charge_us = 0;
    event->run(event);
    return true;
}

void sim_run_ms(struct sim *sim, int64_t ms)
{
    int64_t until_us = sim->now_us + ms * 1000;
    while (sim_step(sim, until_us)) {
    }
    sim->now_us = until_us;
}

bool sim_run_until(struct sim *sim, bool (*check)(void *context), void *context, int64_t limit_ms)
{
    int64_t until_us = sim->now_us + limit_ms * 1000;
    for (;;) {
        if (check(context)) return true;
        if (!sim_step(sim, until_us)) break;
    }
    sim->now_us = until_us;
    return false;
}

int64_t sim_now_ms(const struct sim *sim)
{
    return sim->now_us / 1000;
}

const char *sim_current_host(const struct sim *sim)
{
    return sim->current ? sim->current->machine->host : NULL;
}

/* --- chance and trace --- */

struct random *sim_random(struct sim *sim)
{
    return &sim->tests;
}

int64_t sim_between(struct sim *sim, int64_t min, int64_t max)
{
    assert(min <= max);
    return min + (int64_t)random_below(&sim->world, (uint64_t)(max - min) + 1);
}

bool sim_chance(struct sim *sim, unsigned one_in)
{
    return random_below(&sim->world, one_in) == 0;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
    return hash ^ hash >> 29;
}

void sim_note(struct sim *sim, const struct sim_machine *machine, enum sim_kind kind, int64_t a, int64_t b)
{
    uint64_t hash = mix(sim->trace, (uint64_t)sim->now_us);
    hash = mix(hash, (uint64_t)kind << 32 | (uint64_t)(machine ? machine->index + 1 : 0));
    sim->trace = mix(mix(hash, (uint64_t)a), (uint64_t)b);
    if (!sim->line) return;
    char text[128];
    snprintf(text, sizeof text, "%10" PRId64 ".%06" PRId64 " %-12s %-8s %" PRId64 " %" PRId64,
             sim->now_us / 1000000, sim->now_us % 1000000, machine ? machine->host : "-", kind_names[kind], a,
             b);
    sim->line(sim->line_context, text);
}

uint64_t sim_trace(const struct sim *sim)
{
    return sim->trace;
}

void sim_trace_to(struct sim *sim, void (*line)(void *context, const char *text), void *context)
{
    sim->line = line;
    sim->line_context = context;
}

/* --- the adversary's levers --- */

void sim_net_delay(struct sim *sim, int64_t min_us, int64_t max_us)
{
    assert(0 <= min_us && min_us <= max_us);
    sim->min_delay_us = min_us;
    sim->max_delay_us = max_us;
}

static size_t find_cut(const struct sim *sim, const struct sim_machine *from, const struct sim_machine *to)
{
    size_t i = 0;
    while (i < sim->cut_count && (sim->cuts[i].from != from || sim->cuts[i].to != to)) i++;
    return i;
}

bool sim_is_cut(const struct sim *sim, const struct sim_machine *from, const struct sim_machine *to)
{
    return from != to && find_cut(sim, from, to) < sim->cut_count;
}

void sim_net_cut_way(struct sim *sim, struct sim_machine *from, struct sim_machine *to, bool is_cut)
{
    size_t at = find_cut(sim, from, to);
    if ((at < sim->cut_count) == is_cut) return;
    sim_note(sim, from, SIM_FAULT, to->index, is_cut);
    if (!is_cut) {
        sim->cuts[at] = sim->cuts[--sim->cut_count];
        return;
    }
    bool has_room = VEC_RESERVE(sim->cuts, sim->cut_count, sim->cut_capacity);
    assert(has_room);
    sim->cuts[sim->cut_count++] = (struct sim_cut){from, to};
}

void sim_net_cut(struct sim *sim, struct sim_machine *a, struct sim_machine *b, bool is_cut)
{
    sim_net_cut_way(sim, a, b, is_cut);
    sim_net_cut_way(sim, b, a, is_cut);
}

void sim_disk_full(struct sim_machine *machine, bool is_full)
{
    sim_note(machine->sim, machine, SIM_FAULT, -1, is_full);
    machine->is_full = is_full;
}

void sim_disk_slow(struct sim_machine *machine, int64_t delay_ms, int count)
{
    machine->slow_ms = delay_ms;
    machine->slow_count = count;
}

void sim_disk_fail_sync(struct sim_machine *machine, int count)
{
    machine->fail_count = count;
}

void sim_wall_jump(struct sim_machine *machine, int64_t ms)
{
    sim_note(machine->sim, machine, SIM_FAULT, -2, ms);
    machine->wall_jump_ms += ms;
}

int64_t sim_wall_ms(const struct sim_machine *machine)
{
    return FIRST_WALL_MS + machine->sim->now_us / 1000 + machine->wall_jump_ms;
}

void sim_machine_pause(struct sim_machine *machine, int64_t ms)
{
    sim_note(machine->sim, machine, SIM_FAULT, -3, ms);
    machine->paused_until_us = machine->sim->now_us + ms * 1000;
}
