/* log.c: odradek log dump|verify: works on files alone, beside a running broker or without one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "storage/dump.h"

static void print_line(void *context, const char *text)
{
    (void)context;
    puts(text);
}

static enum error dump_path(struct disk *disk, const char *path, const struct dump_options *options)
{
    struct disk_entry *entries = NULL;
    size_t count = 0;
    if (disk_list(disk, path, &entries, &count) != OK) return dump_file(disk, path, options);
    enum error first = OK;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(path) + strlen(entries[i].name) + 2;
        char *inner = malloc(size);
        if (!inner) break;
        snprintf(inner, size, "%s/%s", path, entries[i].name);
        enum error err =
            entries[i].is_dir ? dump_path(disk, inner, options) : dump_file(disk, inner, options);
        if (err != OK && err != ERR_UNSUPPORTED) {
            cli_complain("%s: %s", inner, error_text(err));
            if (first == OK) first = err;
        }
        free(inner);
    }
    disk_list_free(entries, count);
    return first;
}

int cli_log_dump(struct cli *cli)
{
    struct descriptors *descriptors = descriptors_new(0);
    struct disk *disk = disk_new(descriptors);
    struct dump_options options = {
        .deep = cli_flag(cli, "deep"),
        .json = cli->output == OUTPUT_JSON || cli->output == OUTPUT_JSONL,
        .line = print_line,
    };
    int status = EXIT_OK;
    for (int i = 0; i < cli->argc; i++) {
        enum error err = dump_path(disk, cli->argv[i], &options);
        if (err == OK) continue;
        cli_complain("%s: %s", cli->argv[i], error_text(err));
        status = EXIT_ITEM_FAILED;
    }
    disk_free(disk);
    descriptors_free(descriptors);
    return status;
}

int cli_log_verify(struct cli *cli)
{
    struct descriptors *descriptors = descriptors_new(0);
    struct disk *disk = disk_new(descriptors);
    struct dump_options options = {.line = print_line};
    int status = EXIT_OK;
    for (int i = 0; i < cli->argc; i++) {
        struct verify_report report = {0};
        enum error err = verify_path(disk, cli->argv[i], &options, &report);
        if (err != OK) {
            cli_complain("%s: %s", cli->argv[i], error_text(err));
            status = EXIT_ITEM_FAILED;
            continue;
        }
        printf("%s: %zu partitions, %zu segments, %zu batches, %lld bytes, %zu problems\n", cli->argv[i],
               report.partitions, report.segments, report.batches, (long long)report.bytes, report.problems);
        if (report.problems > 0) status = EXIT_ITEM_FAILED;
    }
    disk_free(disk);
    descriptors_free(descriptors);
    return status;
}
