/* apache.c: odradek keeper import, keeper export: to and from Apache ZooKeeper's version-2 directories. */
#include <stdio.h>
#include <time.h>

#include "cli/apache.h"
#include "cli/cli.h"
#include "keeper/apache.h"
#include "loop/disk.h"
#include "loop/loop.h"

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void say(FILE *out, const char *from, const struct apache_report *report, int64_t took_ms)
{
    fprintf(out, "imported %s: %lld znodes and %lld sessions as of zxid 0x%llx, in %lld ms\n", from,
            (long long)report->znode_count, (long long)report->session_count,
            (unsigned long long)report->last_zxid, (long long)took_ms);
    if (report->snapshot_zxid >= 0) {
        fprintf(out, "  from the snapshot of 0x%llx and %lld transactions after it\n",
                (unsigned long long)report->snapshot_zxid, (long long)report->txn_count);
    } else {
        fprintf(out, "  from %lld transactions, for there was no snapshot\n", (long long)report->txn_count);
    }
    if (report->orphan_count > 0) {
        fprintf(out, "  dropped %lld ephemeral znodes whose sessions had ended\n",
                (long long)report->orphan_count);
    }
    if (report->problem_count > 0) {
        fprintf(out, "  passed over %lld problems, as --force asks\n", (long long)report->problem_count);
    }
    if (report->verified_zxid > 0) {
        fprintf(out, "  the digest that ZooKeeper left at 0x%llx is that of the tree\n",
                (unsigned long long)report->verified_zxid);
    } else {
        fprintf(out, "  ZooKeeper left no digest to hold the tree against\n");
    }
    fprintf(out, "  zxids go on at 0x%llx\n", (unsigned long long)report->next_zxid);
}

static json_t *report_json(const struct apache_report *report)
{
    json_t *item = json_object();
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"znodes", report->znode_count},         {"sessions", report->session_count},
                   {"transactions", report->txn_count},     {"orphans_dropped", report->orphan_count},
                   {"problems", report->problem_count},     {"snapshot_zxid", report->snapshot_zxid},
                   {"last_zxid", report->last_zxid},        {"next_zxid", report->next_zxid},
                   {"verified_zxid", report->verified_zxid}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_object_set_new(item, numbers[i].name, json_integer(numbers[i].value));
    return item;
}

static int finish(struct cli *cli, const char *kind, const char *name, enum error err,
                  const struct apache_report *report)
{
    struct cli_result result;
    cli_result_begin(&result, cli, kind);
    if (err == OK) cli_result_add(&result, report_json(report));
    if (err != OK) cli_result_fail(&result, name, err, SLICE_NULL);
    static const struct cli_column columns[] = {
        {"ZNODES", "znodes"}, {"SESSIONS", "sessions"}, {"LAST ZXID", "last_zxid"}, {0}};
    return cli_result_end(&result, columns, NULL);
}

/* Runs `work` with a disk. */
static int with_disk(struct cli *cli, int (*work)(struct cli *cli, struct disk *disk))
{
    struct descriptors *descriptors = descriptors_new(0);
    struct disk *disk = descriptors ? disk_new(descriptors) : NULL;
    int status = EXIT_ITEM_FAILED;
    if (disk) {
        status = work(cli, disk);
    } else {
        cli_complain("%s", error_text(ERR_NOMEM));
    }
    if (disk) disk_free(disk);
    if (descriptors) descriptors_free(descriptors);
    return status;
}

static int import(struct cli *cli, struct disk *disk)
{
    struct apache_import wanted = {.from = cli_text(cli, "from"),
                                   .log_dir = cli_text(cli, "log-dir"),
                                   .to = cli_text(cli, "to"),
                                   .forces = cli_flag(cli, "force")};
    struct apache_report report;
    int64_t began_ms = now_ms();
    enum error err = apache_import(disk, &wanted, &report);
    if (err == OK) say(stderr, wanted.from, &report, now_ms() - began_ms);
    return finish(cli, "keeper_import", wanted.from, err, &report);
}

int cli_keeper_import(struct cli *cli)
{
    if (!cli_text(cli, "from") || !cli_text(cli, "to")) {
        cli_complain("keeper import needs --from DIR, Apache's dataDir, and --to DIR, the keeper's");
        return EXIT_USAGE;
    }
    return with_disk(cli, import);
}

static int export(struct cli *cli, struct disk *disk)
{
    const char *from = cli_text(cli, "from"), *to = cli_text(cli, "to");
    struct apache_report report;
    enum error err = apache_export_to(disk, from, to, &report);
    if (err == OK) {
        fprintf(stderr, "exported %lld znodes and %lld sessions to %s/version-2/snapshot.%llx\n",
                (long long)report.znode_count, (long long)report.session_count, to,
                (unsigned long long)report.last_zxid);
    }
    return finish(cli, "keeper_export", from, err, &report);
}

int cli_keeper_export(struct cli *cli)
{
    if (!cli_text(cli, "from") || !cli_text(cli, "to")) {
        cli_complain("keeper export needs --from DIR, the keeper's dataDir, and --to DIR, Apache's");
        return EXIT_USAGE;
    }
    return with_disk(cli, export);
}

enum error apache_take_over(struct disk *disk, const char *data_dir, const char *log_dir, bool is_alone)
{
    bool is_there, is_both;
    enum error err = apache_is_there(disk, data_dir, &is_there, &is_both);
    if (err != OK) return err;
    if (is_both) {
        fprintf(stderr, "\"%s\" has a keeper's files: Apache's version-2 beside them is not looked at\n",
                data_dir);
    }
    if (!is_there) return OK;
    if (!is_alone) {
        cli_complain(
            "\"%s\" holds Apache's version-2 and no keeper's files, and this keeper is one of several, which "
            "must "
            "begin alike: run odradek keeper import once, on the newest of their directories, and copy the "
            "keeper-snapshot-1 that it makes to all of them",
            data_dir);
        return ERR_CONFIG;
    }
    struct apache_import wanted = {.from = data_dir, .log_dir = log_dir, .to = data_dir};
    struct apache_report report;
    fprintf(stderr, "importing Apache ZooKeeper's files in \"%s\"; they stay as they are\n", data_dir);
    int64_t began_ms = now_ms();
    err = apache_import(disk, &wanted, &report);
    if (err == OK) say(stderr, data_dir, &report, now_ms() - began_ms);
    return err;
}
