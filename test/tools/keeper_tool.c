/* keeper_tool.c: a keeper and nothing else, for interop scripts: keeper_tool DIR [PORT] [key=value]...
 * Says "ready PORT in N us" on standard output, serves until SIGTERM. Keys: tickTime, minSessionTimeout, maxSessionTimeout,
 * maxClientCnxns, snapCount, forceSync, extendedTypesEnabled, superDigest, 4lw. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "keeper/keeper.h"
#include "loop/disk.h"
#include "loop/loop.h"

struct tool {
    struct loop *loop;
    struct keeper *keeper;
    uint16_t port;
    int64_t begun_us;
    bool has_failed;
};

static void on_closed(void *context)
{
    struct tool *tool = context;
    loop_stop(tool->loop);
}

static void stop(struct tool *tool)
{
    if (tool->keeper) keeper_close(&tool->keeper, on_closed, tool);
}

static void on_signal(void *context, int signal)
{
    stop(context);
}

static void on_ready(void *context, enum error err)
{
    struct tool *tool = context;
    if (err == OK) err = keeper_listen(tool->keeper, "127.0.0.1", tool->port);
    if (err != OK) {
        diag_error("no keeper: %s", error_text(err));
        tool->has_failed = true;
        stop(tool);
        return;
    }
    printf("ready %u in %lld us\n", keeper_port(tool->keeper),
           (long long)(loop_clock_us(tool->loop) - tool->begun_us));
    fflush(stdout);
}

static void on_failed(void *context, enum error err)
{
    struct tool *tool = context;
    tool->has_failed = true;
    stop(tool);
}

static void configure(struct keeper_config *config, const char *argument)
{
    const char *value = strchr(argument, '=');
    if (!value) return;
    size_t size = (size_t)(value++ - argument);
    struct slice key = {(const uint8_t *)argument, size};
    if (slice_is(key, "tickTime")) config->tick_time_ms = atoi(value);
    if (slice_is(key, "minSessionTimeout")) config->min_session_timeout_ms = atoi(value);
    if (slice_is(key, "maxSessionTimeout")) config->max_session_timeout_ms = atoi(value);
    if (slice_is(key, "maxClientCnxns")) config->max_client_cnxns = atoi(value);
    if (slice_is(key, "snapCount")) config->snap_count = atoi(value);
    if (slice_is(key, "forceSync")) config->force_sync = strcmp(value, "no") != 0;
    if (slice_is(key, "extendedTypesEnabled")) config->extended_types = strcmp(value, "true") == 0;
    if (slice_is(key, "superDigest")) config->super_digest = value;
    if (slice_is(key, "4lw")) config->four_letter_words = value;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: keeper_tool DIR [PORT] [key=value]...\n");
        return 2;
    }
    struct tool tool = {.port = argc > 2 ? (uint16_t)atoi(argv[2]) : 0};
    struct keeper_config config;
    keeper_config_init(&config);
    config.data_dir = argv[1];
    config.tick_time_ms = 2000;
    config.four_letter_words = "*";
    for (int i = 3; i < argc; i++) configure(&config, argv[i]);

    struct descriptors *descriptors = descriptors_new(0);
    struct disk *disk = descriptors ? disk_new(descriptors) : NULL;
    struct lane *lane = NULL;
    static const struct keeper_events events = {on_ready, on_failed};
    enum error err = disk ? loop_new(descriptors, &tool.loop) : ERR_NOMEM;
    if (err == OK) err = lane_new(tool.loop, "sync", 1, &lane);
    if (err == OK) err = loop_on_signals(tool.loop, on_signal, &tool);
    if (err == OK) tool.begun_us = loop_clock_us(tool.loop);
    if (err == OK) err = keeper_open(&config, tool.loop, disk, lane, &events, &tool, &tool.keeper);
    if (err != OK) {
        fprintf(stderr, "keeper_tool: %s\n", error_text(err));
        return 1;
    }
    loop_run(tool.loop);
    lane_free(lane);
    loop_free(tool.loop);
    disk_free(disk);
    descriptors_free(descriptors);
    return tool.has_failed;
}
