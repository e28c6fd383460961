#include "seeds.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    DEFAULT_SECONDS = 5,
    TWICE_EVERY = 8,
    STUCK_SECONDS = 60, /* of real time for one seed */
    STORY_LINES = 120,
};

/* Leaks are the crashed nodes' business. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

struct life {
    const struct seeds_program *program;
    const char *path; /* of the executable */
    int replicas;     /* 0 = as the seeds say */
};

struct result {
    uint64_t trace;
    int64_t virtual_ms;
    struct world_counts world;
    struct history_counts history;
    char fault[1100];
};

static void live(const struct life *life, uint64_t seed, void (*line)(void *context, const char *text),
                 void *context, struct result *result)
{
    struct world *world;
    *result = (struct result){0};
    if (world_new(seed, life->program->kind, life->replicas, line, context, &world) != OK) abort();
    life->program->live(world);
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

static void live_apart(const struct life *life, uint64_t seed, const char *trace_path, struct result *result)
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
        live(life, seed, file ? write_line : NULL, file, &found);
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

static void report(const struct life *life, uint64_t seed, const char *fault)
{
    const char *dir = getenv("TMPDIR");
    char path[512];
    snprintf(path, sizeof path, "%s/%s.%" PRIu64 ".trace", dir ? dir : "/tmp", life->program->name, seed);
    struct result again;
    live_apart(life, seed, path, &again);
    print_story(path);
    printf("seed %" PRIu64 ": %s\n", seed, fault);
    if (strcmp(again.fault, fault) != 0)
        printf("lived again it says: %s\n", again.fault[0] ? again.fault : "nothing");
    printf("every event: %s\nagain: %s --seed %" PRIu64 " --trace\n", path, life->path, seed);
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

struct wish {
    int64_t seconds, seeds; /* whichever comes first; INT64_MAX = no limit */
    uint64_t first;
    bool keeps_going;
};

static int live_many(const struct life *life, const struct wish *wish)
{
    struct result sum = {0}, one, twin;
    uint64_t first = wish->first;
    int64_t begin_ms = now_ms(), seeds = 0, failed = 0;
    while (seeds == 0 || (seeds < wish->seeds && (now_ms() - begin_ms) / 1000 < wish->seconds)) {
        uint64_t seed = first + (uint64_t)seeds;
        live_apart(life, seed, NULL, &one);
        if (!one.fault[0] && seeds % TWICE_EVERY == 0) {
            live_apart(life, seed, NULL, &twin);
            if (twin.trace != one.trace)
                snprintf(one.fault, sizeof one.fault, "two lives of one seed differ");
        }
        if (one.fault[0] && !wish->keeps_going) {
            report(life, seed, one.fault);
            return 1;
        }
        if (one.fault[0]) {
            printf("seed %" PRIu64 ": %s\n", seed, one.fault);
            fflush(stdout);
            failed++;
        }
        add(&sum, &one);
        seeds++;
    }
    printf("%s: seeds %" PRIu64 " to %" PRIu64 ", %" PRId64 " failed, %" PRId64 " ms real, %" PRId64
           " s virtual\n",
           life->program->name, first, first + (uint64_t)seeds - 1, failed, now_ms() - begin_ms,
           sum.virtual_ms / 1000);
    printf("  starts %" PRId64 ", power cuts %" PRId64 ", kills %" PRId64 ", stops %" PRId64
           ", ended by itself %" PRId64 "\n",
           sum.world.starts, sum.world.power_cuts, sum.world.kills, sum.world.stops, sum.world.ends);
    printf("  records acknowledged %" PRId64 ", read %" PRId64 ", commits %" PRId64 ", claims %" PRId64
           ", topics %" PRId64 ", producer ids %" PRId64 "\n",
           sum.history.acknowledged, sum.history.read, sum.history.commits, sum.history.claims,
           sum.history.topics, sum.history.producer_ids);
    return failed > 0;
}

static int live_one(const struct life *life, uint64_t seed, bool is_tracing)
{
    struct result result;
    live(life, seed, is_tracing ? write_line : NULL, stdout, &result);
    printf("seed %" PRIu64 ": trace %016" PRIx64 ", %" PRId64 " ms virtual: %s\n", seed, result.trace,
           result.virtual_ms, result.fault[0] ? result.fault : "no fault");
    return result.fault[0] != 0;
}

int seeds_main(const struct seeds_program *program, int argc, char **argv)
{
    struct life life = {program, argv[0], 0};
    struct wish wish = {DEFAULT_SECONDS, INT64_MAX, 1, false};
    uint64_t seed = 0;
    bool has_seed = false, is_tracing = false;
    for (int i = 1; i < argc; i++) {
        bool has_next = i + 1 < argc;
        if (strcmp(argv[i], "--seed") == 0 && has_next) {
            seed = strtoull(argv[++i], NULL, 10);
            has_seed = true;
        } else if (strcmp(argv[i], "--from") == 0 && has_next) {
            wish.first = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seeds") == 0 && has_next) {
            wish.seeds = strtoll(argv[++i], NULL, 10);
            wish.seconds = INT64_MAX;
        } else if (strcmp(argv[i], "--replicas") == 0 && has_next) {
            life.replicas = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--keep-going") == 0) {
            wish.keeps_going = true;
        } else if (strcmp(argv[i], "--trace") == 0) {
            is_tracing = true;
        } else if (strtoll(argv[i], NULL, 10) > 0) {
            wish.seconds = strtoll(argv[i], NULL, 10);
        } else {
            fprintf(stderr,
                    "usage: %s [SECONDS] [--seeds N] [--from SEED] [--replicas N] [--keep-going] [--seed N] "
                    "[--trace]\n",
                    argv[0]);
            return 2;
        }
    }
    return has_seed ? live_one(&life, seed, is_tracing) : live_many(&life, &wish);
}
