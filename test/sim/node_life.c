/* node_life.c: seeds of one simulated node: topics, producers and groups go about their work, an adversary strikes, and in the end
 * nothing that was said may turn out untrue.
 *
 *     node_life [SECONDS] [--seed N] [--trace]
 *
 *     node_life 60              60 seconds of seeds, each in a process of its own; every eighth is lived twice and must be the same
 *     node_life --seed N        that one, here, for a debugger; with --trace every event is printed
 *
 * A seed that fails is lived again with its trace written to a file, and its story (without the events) is printed.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "admin.h"
#include "adversary.h"
#include "member.h"
#include "producer.h"
#include "reader.h"
#include "world.h"

enum {
    DEFAULT_SECONDS = 5,
    TWICE_EVERY = 8,
    STUCK_SECONDS = 60, /* of real time for one seed */
    MAX_PRODUCERS = 8,
    MAX_GROUPS = 4,
    SETTLE_MS = 60000, /* of virtual time until all is acknowledged, read and committed */
    READ_MS = 60000,
    STORY_LINES = 120,
};

/* Leaks are the crashed nodes' business. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

/* --- one seed --- */

struct people {
    struct world *world;
    struct admin *admin;
    struct producer *producers[MAX_PRODUCERS];
    struct crew *crews[MAX_GROUPS];
    int producer_count, crew_count;
};

static bool is_written(void *context)
{
    const struct people *people = context;
    for (int i = 0; i < people->producer_count; i++) {
        if (!producer_is_idle(people->producers[i])) return false;
    }
    return admin_is_idle(people->admin);
}

static bool is_consumed(void *context)
{
    const struct people *people = context;
    for (int i = 0; i < people->crew_count; i++) {
        if (!crew_is_done(people->crews[i])) return false;
    }
    return true;
}

static bool is_read(void *context)
{
    return reader_is_done(context);
}

static void come(struct people *people, struct world *world)
{
    *people = (struct people){
        .world = world, .producer_count = world->plan.producers, .crew_count = world->plan.groups};
    people->admin = admin_new(world);
    for (int i = 0; i < people->producer_count; i++) people->producers[i] = producer_new(world, i);
    for (int i = 0; i < people->crew_count; i++) people->crews[i] = crew_new(world, (size_t)i);
}

static void go(struct people *people)
{
    admin_free(&people->admin);
    for (int i = 0; i < people->producer_count; i++) producer_free(&people->producers[i]);
    for (int i = 0; i < people->crew_count; i++) crew_free(&people->crews[i]);
}

static void settle(struct people *people)
{
    struct world *world = people->world;
    admin_finish(people->admin);
    for (int i = 0; i < people->producer_count; i++) producer_finish(people->producers[i]);
    for (int i = 0; i < people->crew_count; i++) crew_settle(people->crews[i]);
    if (!world_run_until(world, is_written, people, SETTLE_MS)) {
        history_fail(&world->history, "not everything is acknowledged %d s after all was well",
                     SETTLE_MS / 1000);
    }
    if (!world_run_until(world, is_consumed, people, SETTLE_MS)) {
        history_fail(&world->history, "the groups have not read and committed everything %d s later",
                     SETTLE_MS / 1000);
    }
}

static void read_all(struct world *world)
{
    world_note(world, "everything is read");
    struct reader *reader = reader_new(world);
    if (!world_run_until(world, is_read, reader, READ_MS))
        history_fail(&world->history, "cannot read everything within %d s", READ_MS / 1000);
    reader_free(&reader);
}

struct result {
    uint64_t trace;
    int64_t virtual_ms;
    struct world_counts world;
    struct history_counts history;
    char fault[1100];
};

static void live(uint64_t seed, void (*line)(void *context, const char *text), void *context,
                 struct result *result)
{
    struct world *world;
    *result = (struct result){0};
    if (world_new(seed, line, context, &world) != OK) abort();
    world_bring_up(world);
    struct people people;
    come(&people, world);
    adversary_live(world);
    if (!world_has_failed(world)) settle(&people);
    go(&people);
    for (int i = 0; i < 2 && !world_has_failed(world); i++) {
        if (i > 0) adversary_last_restart(world);
        if (!world_has_failed(world)) read_all(world);
    }
    if (!world_has_failed(world)) world_stop_node(world);
    if (world_has_failed(world)) {
        snprintf(result->fault, sizeof result->fault, "%s", world->history.fault.data);
        world_note(world, "FAULT: %s", result->fault);
    }
    result->trace = sim_trace(world->sim);
    result->virtual_ms = world_now_ms(world);
    result->world = world->counts;
    result->history = world->history.counts;
    world_free(&world);
}

/* --- in a process of its own, for nodes that died are abandoned, and a bug may kill it --- */

static void write_line(void *context, const char *text)
{
    FILE *file = context;
    fputs(text, file);
    fputc('\n', file);
    fflush(file);
}

static void live_apart(uint64_t seed, const char *trace_path, struct result *result)
{
    int ends[2];
    *result = (struct result){0};
    if (pipe(ends) != 0) abort();
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) abort();
    if (child == 0) {
        close(ends[0]);
        alarm(STUCK_SECONDS);
        FILE *file = trace_path ? fopen(trace_path, "w") : NULL;
        struct result found;
        live(seed, file ? write_line : NULL, file, &found);
        ssize_t written = write(ends[1], &found, sizeof found);
        _exit(written == (ssize_t)sizeof found ? 0 : 2);
    }
    close(ends[1]);
    size_t got = 0;
    ssize_t more;
    while ((more = read(ends[0], (char *)result + got, sizeof *result - got)) > 0 ||
           (more < 0 && errno == EINTR)) {
        if (more > 0) got += (size_t)more;
    }
    close(ends[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (got == sizeof *result && WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    *result = (struct result){0};
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(result->fault, sizeof result->fault, "stuck for %d s of real time", STUCK_SECONDS);
    else if (WIFSIGNALED(status))
        snprintf(result->fault, sizeof result->fault, "the process was ended by signal %d (%s)",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(result->fault, sizeof result->fault, "the process exited with %d", WEXITSTATUS(status));
}

/* --- many --- */

/* The story of a trace: its lines that begin a note. */
static void print_story(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) return;
    static char lines[STORY_LINES][400];
    size_t count = 0;
    char line[1400];
    while (fgets(line, sizeof line, file)) {
        if (!strstr(line, "    # ")) continue;
        snprintf(lines[count++ % STORY_LINES], sizeof lines[0], "%.*s", (int)strcspn(line, "\n"), line);
    }
    fclose(file);
    if (count > STORY_LINES) printf("... %zu lines before\n", count - STORY_LINES);
    for (size_t i = count > STORY_LINES ? count - STORY_LINES : 0; i < count; i++)
        printf("%s\n", lines[i % STORY_LINES]);
}

static void report(const char *program, uint64_t seed, const char *fault)
{
    const char *dir = getenv("TMPDIR");
    char path[512];
    snprintf(path, sizeof path, "%s/node_life.%" PRIu64 ".trace", dir ? dir : "/tmp", seed);
    struct result again;
    live_apart(seed, path, &again);
    print_story(path);
    printf("seed %" PRIu64 ": %s\n", seed, fault);
    if (strcmp(again.fault, fault) != 0)
        printf("lived again it says: %s\n", again.fault[0] ? again.fault : "nothing");
    printf("every event: %s\nagain: %s --seed %" PRIu64 " --trace\n", path, program, seed);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void add(struct result *sum, const struct result *one)
{
    int64_t *to[] = {(int64_t *)&sum->world, (int64_t *)&sum->history};
    const int64_t *from[] = {(const int64_t *)&one->world, (const int64_t *)&one->history};
    size_t sizes[] = {sizeof sum->world, sizeof sum->history};
    for (int part = 0; part < 2; part++) {
        for (size_t i = 0; i < sizes[part] / sizeof(int64_t); i++) to[part][i] += from[part][i];
    }
    sum->virtual_ms += one->virtual_ms;
}

static int live_many(const char *program, int64_t seconds, uint64_t first)
{
    struct result sum = {0}, one, twin;
    int64_t begin_ms = now_ms(), seeds = 0;
    while (seeds == 0 || now_ms() - begin_ms < seconds * 1000) {
        uint64_t seed = first + (uint64_t)seeds;
        live_apart(seed, NULL, &one);
        if (!one.fault[0] && seeds % TWICE_EVERY == 0) {
            live_apart(seed, NULL, &twin);
            if (twin.trace != one.trace)
                snprintf(one.fault, sizeof one.fault, "two lives of one seed differ");
        }
        if (one.fault[0]) {
            report(program, seed, one.fault);
            return 1;
        }
        add(&sum, &one);
        seeds++;
    }
    printf("node_life: seeds %" PRIu64 " to %" PRIu64 ", %" PRId64 " ms real, %" PRId64 " s virtual\n", first,
           first + (uint64_t)seeds - 1, now_ms() - begin_ms, sum.virtual_ms / 1000);
    printf("  starts %" PRId64 ", power cuts %" PRId64 ", kills %" PRId64 ", stops %" PRId64
           ", ended by itself %" PRId64 "\n",
           sum.world.starts, sum.world.power_cuts, sum.world.kills, sum.world.stops, sum.world.ends);
    printf("  records acknowledged %" PRId64 ", read %" PRId64 ", commits %" PRId64 ", claims %" PRId64
           ", topics %" PRId64 ", producer ids %" PRId64 "\n",
           sum.history.acknowledged, sum.history.read, sum.history.commits, sum.history.claims,
           sum.history.topics, sum.history.producer_ids);
    return 0;
}

static int live_one(uint64_t seed, bool is_tracing)
{
    struct result result;
    live(seed, is_tracing ? write_line : NULL, stdout, &result);
    printf("seed %" PRIu64 ": trace %016" PRIx64 ", %" PRId64 " ms virtual: %s\n", seed, result.trace,
           result.virtual_ms, result.fault[0] ? result.fault : "no fault");
    return result.fault[0] != 0;
}

int main(int argc, char **argv)
{
    int64_t seconds = DEFAULT_SECONDS;
    uint64_t seed = 0, from = 1;
    bool has_seed = false, is_tracing = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
            has_seed = true;
        } else if (strcmp(argv[i], "--from") == 0 && i + 1 < argc) {
            from = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--trace") == 0) {
            is_tracing = true;
        } else if (strtoll(argv[i], NULL, 10) > 0) {
            seconds = strtoll(argv[i], NULL, 10);
        } else {
            fprintf(stderr, "usage: %s [SECONDS] [--from SEED] [--seed N] [--trace]\n", argv[0]);
            return 2;
        }
    }
    return has_seed ? live_one(seed, is_tracing) : live_many(argv[0], seconds, from);
}
