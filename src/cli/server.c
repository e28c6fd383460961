/* server.c: odradek server [server.properties]: one node in this process, until SIGTERM or SIGINT. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/diag.h"
#include "cli/cli.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "node/node.h"
#include "settings/settings.h"

enum { LOOPS_MAX = 64 };

struct serving {
    struct loop *loops[LOOPS_MAX];
    size_t loop_count;
    struct node *node;
    int ready_fd; /* -1 = none */
    bool is_spread;
    int status;
    bool is_stopping;
};

static void on_ready(void *context, const char *line)
{
    const struct serving *serving = context;
    fprintf(stderr, "%s\n", line);
    if (serving->ready_fd < 0) return;
    if (write(serving->ready_fd, "\n", 1) != 1)
        diag_warn("could not write to --ready-fd: %s", strerror(errno));
    close(serving->ready_fd);
}

static void on_end(void *context, enum error err, const char *problem)
{
    struct serving *serving = context;
    if (err != OK) {
        diag_error("%s", problem[0] ? problem : error_text(err));
        serving->status = EXIT_ITEM_FAILED;
    }
    loop_stop(serving->loops[0]);
}

/* SIGTERM or SIGINT: in good order. Another one, of either kind: at once, as the next start recovers. */
static void on_signal(void *context, int number)
{
    (void)number;
    struct serving *serving = context;
    if (serving->is_stopping) _exit(EXIT_ITEM_FAILED);
    serving->is_stopping = true;
    node_stop(serving->node);
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static size_t wanted_loops(const struct cli *cli, const struct settings *settings)
{
    int64_t most = settings_long(settings, SETTING_LOOPS_MAX);
    if (!cli_number(cli, "loops", 1, LOOPS_MAX, &most)) return 0;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (most == 0) most = cores > 0 ? cores : 1;
    return most > LOOPS_MAX ? LOOPS_MAX : (size_t)most;
}

static enum error make_loops(struct serving *serving, struct descriptors *descriptors, size_t count)
{
    enum error err = OK;
    while (err == OK && serving->loop_count < count) {
        err = loop_new(descriptors, &serving->loops[serving->loop_count]);
        if (err == OK) serving->loop_count++;
    }
    for (size_t i = 1; i < serving->loop_count && err == OK; i++) {
        char name[sizeof "loop-" + 20];
        snprintf(name, sizeof name, "loop-%zu", i);
        err = loop_start_thread(serving->loops[i], name);
        if (err != OK) serving->loop_count = i;
    }
    return err;
}

static int serve(struct serving *serving, const struct settings *settings, size_t loops, int64_t started_us)
{
    struct descriptors *descriptors = descriptors_new(0);
    struct disk *disk = descriptors ? disk_new(descriptors) : NULL;
    enum error err = disk ? make_loops(serving, descriptors, loops) : ERR_NOMEM;
    if (err == OK) err = loop_on_signals(serving->loops[0], on_signal, serving);
    struct node_config config = {.settings = settings,
                                 .loops = serving->loops,
                                 .loop_count = serving->loop_count,
                                 .disk = disk,
                                 .is_spread = serving->is_spread,
                                 .started_us = started_us,
                                 .on_ready = on_ready,
                                 .on_end = on_end,
                                 .context = serving};
    if (err == OK) err = node_start(&config, &serving->node);
    if (err == OK) {
        loop_run(serving->loops[0]);
    } else {
        diag_error("could not start: %s", error_text(err));
        serving->status = EXIT_ITEM_FAILED;
    }
    for (size_t i = 1; i < serving->loop_count; i++) {
        loop_stop(serving->loops[i]);
        loop_join(serving->loops[i]);
    }
    for (size_t i = 0; i < serving->loop_count; i++) loop_free(serving->loops[i]);
    if (disk) disk_free(disk);
    if (descriptors) descriptors_free(descriptors);
    return serving->status;
}

static void print_problems(const struct settings *settings)
{
    const struct problems *problems = settings_problems(settings);
    struct text line = {0};
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->items[i];
        text_reset(&line);
        problem_print(problem, &line);
        if (problem_is_error(problem))
            diag_error("%s", line.data);
        else if (problem->kind == PROBLEM_NOTE)
            diag_info("%s", line.data);
        else
            diag_warn("%s", line.data);
    }
    text_free(&line);
}

int cli_server(struct cli *cli)
{
    int64_t started_us = now_us(), ready_fd = -1;
    if (!cli_number(cli, "ready-fd", 0, 1 << 20, &ready_fd)) return EXIT_USAGE;
    const char *overrides[256];
    size_t override_count = 0;
    const char *override;
    while (override_count < 256 && (override = cli_text_at(cli, "override", override_count))) {
        overrides[override_count++] = override;
    }

    const char *path = cli->argc ? cli->argv[0] : NULL;
    struct settings *settings = NULL;
    enum error err = settings_load_file(path, overrides, override_count, &settings);
    if (settings)
        print_problems(settings);
    else
        cli_complain("%s: %s", path ? path : "settings", error_text(err));
    int status = EXIT_USAGE;
    if (err == OK) {
        struct serving serving = {.ready_fd = (int)ready_fd, .is_spread = cli_flag(cli, "spread")};
        size_t loops = wanted_loops(cli, settings);
        if (loops > 0) status = serve(&serving, settings, loops, started_us);
    }
    settings_free(&settings);
    return status;
}
