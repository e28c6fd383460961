#include "seeds.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
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

/* --- in a process of its own, for nodes that died are abandoned, and a bug may kill it --- */

static void write_line(void *context, const char *text)
{
    FILE *file = context;
    fputs(text, file);
    fputc('\n', file);
    fflush(file);
}

static void live_apart(const struct life *life, uint64_t seed, const char *trace_path,
                       struct seeds_result *result)
{
    int ends[2];
    *result = (struct seeds_result){0};
    if (pipe(ends) != 0) abort();
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) abort();
    if (child == 0) {
        close(ends[0]);
        alarm(STUCK_SECONDS);
        FILE *file = trace_path ? fopen(trace_path, "w") : NULL;
        struct seeds_result found = {0};
        life->program->live(seed, life->replicas, file ? write_line : NULL, file, &found);
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
    *result = (struct seeds_result){0};
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
    struct seeds_result again;
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

static void add(struct seeds_result *sum, const struct seeds_result *one)
{
    for (int i = 0; i < SEEDS_MAX_COUNTS; i++) sum->counts[i] += one->counts[i];
    sum->virtual_ms += one->virtual_ms;
}

static void print_counts(const struct life *life, const struct seeds_result *sum)
{
    enum { PER_LINE = 6 };
    for (int i = 0; life->program->count_names[i]; i++) {
        printf("%s%s %" PRId64, i % PER_LINE == 0 ? "  " : ", ", life->program->count_names[i],
               sum->counts[i]);
        if (i % PER_LINE == PER_LINE - 1 || !life->program->count_names[i + 1]) printf("\n");
    }
}

struct wish {
    int64_t seconds, seeds; /* whichever comes first; INT64_MAX = no limit */
    uint64_t first;
    bool keeps_going;
};

static int live_many(const struct life *life, const struct wish *wish)
{
    struct seeds_result sum = {0}, one, twin;
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
    print_counts(life, &sum);
    return failed > 0;
}

static int live_one(const struct life *life, uint64_t seed, bool is_tracing)
{
    struct seeds_result result = {0};
    life->program->live(seed, life->replicas, is_tracing ? write_line : NULL, stdout, &result);
    printf("seed %" PRIu64 ": trace %016" PRIx64 ", %" PRId64 " ms virtual: %s\n", seed, result.trace,
           result.virtual_ms, result.fault[0] ? result.fault : "no fault");
    return result.fault[0] != 0;
}

/* N, or A-B. */
static void parse_seeds(const char *words, struct wish *wish)
{
    char *rest;
    int64_t number = strtoll(words, &rest, 10);
    wish->seeds = number;
    wish->seconds = INT64_MAX;
    if (*rest != '-') return;
    wish->first = (uint64_t)number;
    wish->seeds = strtoll(rest + 1, NULL, 10) - number + 1;
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
            parse_seeds(argv[++i], &wish);
        } else if (strcmp(argv[i], "--replicas") == 0 && has_next) {
            life.replicas = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--keep-going") == 0) {
            wish.keeps_going = true;
        } else if (strcmp(argv[i], "--trace") == 0 || strcmp(argv[i], "--verbose") == 0) {
            is_tracing = true;
        } else if (strtoll(argv[i], NULL, 10) > 0) {
            wish.seconds = strtoll(argv[i], NULL, 10);
        } else {
            fprintf(
                stderr,
                "usage: %s [SECONDS] [--seeds N|A-B] [--from SEED] [--replicas N] [--keep-going] [--seed N] "
                "[--trace]\n",
                argv[0]);
            return 2;
        }
    }
    return has_seed ? live_one(&life, seed, is_tracing) : live_many(&life, &wish);
}
