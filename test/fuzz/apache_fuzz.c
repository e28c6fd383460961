/* apache_fuzz: Apache ZooKeeper's snapshots and logs of any bytes. They are refused, or come to a state like any other: it is saved,
 * read again, exported, and imported once more as the same. The input is
 *
 *     u8 choice | u16 size, snapshot without its seal | (u16 size, a transaction's bytes) ...
 *
 * and is sealed and summed up here, for a fuzzer does not find checksums. */
#include <stdlib.h>

#include "base/diag.h"
#include "fuzz.h"
#include "keeper/apache_inside.h"
#include "loop/sim.h"

enum { HAS_SNAPSHOT = 1, HAS_DIGEST = 2, FORCES = 4, HAS_END = 8, IS_RAW = 16 };

static void quiet(void *context, enum diag_level level, const char *message)
{
}

static void put_file(struct disk *disk, const char *path, const struct text *bytes)
{
    struct file *file;
    CHECK(file_open(disk, path, FILE_WRITE | FILE_CREATE, &file) == OK);
    CHECK(file_pwrite(file, bytes->data, bytes->size, 0) == OK);
    file_release(&file);
}

static void seal(struct text *text)
{
    text_add_be64(text, adler32_of(1, text->data, text->size));
    text_add(text, SLICE("\0\0\0\1/"));
}

static void check_saved(struct disk *disk, const struct apache_report *report)
{
    struct machine machine, again;
    CHECK(apache_read_ours(disk, "/to", true, UINT64_MAX, &machine) == OK);
    CHECK(machine.zxid == report->next_zxid && machine.tree.count == report->znode_count);

    struct apache_report exported;
    CHECK(apache_export_to(disk, "/to", "/back", &exported) == OK);
    struct apache_import import = {.from = "/back", .to = "/again"};
    struct apache_report imported;
    CHECK(apache_import(disk, &import, &imported) == OK);
    CHECK(imported.verified_zxid == machine.zxid && imported.orphan_count == 0);
    CHECK(apache_read_ours(disk, "/again", true, UINT64_MAX, &again) == OK);
    CHECK(again.tree.digest == machine.tree.digest && again.tree.count == machine.tree.count);
    CHECK(again.sessions.count == machine.sessions.count && again.tree.acls.count == machine.tree.acls.count);
    machine_free(&again);
    machine_free(&machine);
}

static void restore_chunk(void *context, struct slice chunk)
{
    CHECK(machine_restore(context, chunk) == OK);
}

/* As the admin command takes it: what is taken can be taken over. */
static void check_restore(struct disk *disk, const struct text *text)
{
    struct apache_restored *restored = NULL;
    struct apache_report report;
    put_file(disk, "/restore", text);
    if (apache_restore_read(disk, "/restore", (int64_t)7 << 32, &restored, &report) != OK) {
        CHECK(!restored);
        return;
    }
    struct machine machine;
    machine_init(&machine, 1);
    apache_restored_write(restored, restore_chunk, &machine);
    CHECK(machine_restored(&machine) == OK);
    CHECK(machine.zxid == report.next_zxid && machine.zxid >= (int64_t)8 << 32);
    CHECK(machine.tree.count == report.znode_count);
    machine_free(&machine);
    apache_restored_free(&restored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) return 0;
    diag_set_sink(quiet, NULL);
    struct sim *sim;
    struct sim_machine *host;
    CHECK(sim_new(1, &sim) == OK && sim_machine_new(sim, "10.0.0.1", &host) == OK);
    struct disk *disk = sim_machine_disk(host);
    CHECK(disk_mkdir(disk, "/from/version-2") == OK);

    uint8_t choice = data[0];
    struct slice in = {data + 1, size - 1};
    struct text text = {0};
    if (choice & HAS_SNAPSHOT) {
        size_t part = get_be16(in.data);
        in = (struct slice){in.data + 2, in.size - 2};
        if (part > in.size) part = in.size;
        if (!(choice & IS_RAW)) {
            text_add_be32(&text, APACHE_SNAPSHOT_MAGIC);
            text_add_be32(&text, APACHE_FORMAT);
            text_add_be64(&text, 0);
        }
        text_add(&text, (struct slice){in.data, part});
        in = (struct slice){in.data + part, in.size - part};
        if (choice & HAS_END) text_add(&text, SLICE("\0\0\0\1/"));
        seal(&text);
        if (choice & HAS_DIGEST) {
            text_add(&text, SLICE("\0\0\0\0\0\0\0\4\0\0\0\2\0\0\0\0\0\0\0\0"));
            seal(&text);
        }
        put_file(disk, "/from/version-2/snapshot.3", &text);
        if (choice & HAS_DIGEST) {
            text_add_be64(&text, 4);
            seal(&text);
        }
        check_restore(disk, &text);
        text_reset(&text);
    }
    text_add_be32(&text, APACHE_LOG_MAGIC);
    text_add_be32(&text, APACHE_FORMAT);
    text_add_be64(&text, 0);
    while (in.size >= 2) {
        size_t part = get_be16(in.data);
        in = (struct slice){in.data + 2, in.size - 2};
        if (part > in.size) part = in.size;
        text_add_be64(&text, adler32_of(1, in.data, part));
        text_add_be32(&text, (uint32_t)part);
        text_add(&text, (struct slice){in.data, part});
        text_addc(&text, 'B');
        in = (struct slice){in.data + part, in.size - part};
    }
    text_add(&text, in);
    put_file(disk, "/from/version-2/log.1", &text);
    text_free(&text);

    struct apache_import import = {.from = "/from", .to = "/to", .forces = choice & FORCES};
    struct apache_report report;
    if (apache_import(disk, &import, &report) == OK) check_saved(disk, &report);
    sim_free(sim);
    return 0;
}
