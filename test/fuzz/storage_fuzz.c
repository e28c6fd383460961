/* storage_fuzz: any bytes as the files of a log directory, on the simulated disk. The input is a list of
 *
 *     u8 kind | u8 number | u16 size | bytes        `number` chooses among files of that kind
 *
 * where one kind appends a batch of ours instead of the bytes. However the files contradict each other: loading must end,
 * what whole batches stand at the front of the first segment must be read back after an unclean stop, the log must take
 * appends, and a clean stop and start must leave it as it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "fuzz.h"
#include "loop/sim.h"
#include "storage/checkpoint.h"
#include "storage/dump.h"
#include "storage/log_store.h"
#include "wire/record.h"

static const char *const dir_files[] = {RECOVERY_POINT_FILE, LOG_START_FILE, HIGH_WATERMARK_FILE,
                                        CLEANER_OFFSET_FILE, CLEAN_SHUTDOWN_FILE};
static const char *const log_files[] = {
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000000.txnindex",
    "00000000000000000000.snapshot",
    "00000000000000000002.log",
    "00000000000000000002.index",
    "00000000000000000002.snapshot",
    "00000000000000000005.snapshot",
    "00000000000000000007.log",
    EPOCH_FILE,
    PARTITION_METADATA_FILE,
    "00000000000000000000.log.swap",
    "00000000000000000002.log.cleaned",
    "00000000000000000000.index.deleted",
    "00000000000000000002.index.swap",
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

struct valid {
    int64_t end_offset;
    size_t size;    /* of the file, while it holds nothing but our batches */
    bool is_broken; /* something else was written there */
    bool is_told;   /* a log start, a marker or a compaction may take batches away by right */
};

static void quiet(void *context, enum diag_level level, const char *message)
{
}

static void put(struct disk *disk, const char *dir, const char *name, struct slice content, bool append)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    struct file *file = NULL;
    int64_t size = 0;
    CHECK(file_open(disk, path, FILE_WRITE | FILE_CREATE | (append ? 0 : FILE_TRUNCATE), &file) == OK);
    CHECK(file_size(file, &size) == OK);
    if (content.size > 0) CHECK(file_pwrite(file, content.data, content.size, size) == OK);
    file_release(&file);
}

static void build(int64_t base_offset, int count, struct text *batch)
{
    struct batch_builder builder = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct slice built;
    options.base_offset = base_offset;
    options.partition_leader_epoch = 1;
    options.producer_id = count % 2 ? 5 : -1;
    options.producer_epoch = 0;
    options.base_sequence = count % 2 ? (int32_t)base_offset : -1;
    batch_builder_start(&builder, &options);
    for (int i = 0; i < count; i++) {
        CHECK(batch_builder_add(&builder, 1000 + base_offset + i, SLICE("k"), SLICE("value"), NULL, 0) == OK);
    }
    CHECK(batch_builder_finish(&builder, &built) == OK);
    text_reset(batch);
    text_add(batch, built);
    batch_builder_free(&builder);
}

static void write_files(struct disk *disk, struct slice in, struct valid *valid)
{
    struct text batch = {0};
    while (in.size >= 4) {
        uint8_t kind = in.data[0], number = in.data[1];
        size_t size = get_be16(in.data + 2);
        in = (struct slice){in.data + 4, in.size - 4};
        if (size > in.size) size = in.size;
        struct slice content = {in.data, size};
        in = (struct slice){in.data + size, in.size - size};
        if (kind % 4 == 0) {
            int count = 1 + number % 3;
            build(valid->end_offset, count, &batch);
            put(disk, "/data/t-0", log_files[0], text_slice(&batch), true);
            if (!valid->is_broken) valid->end_offset += count;
        } else if (kind % 4 == 1) {
            const char *name = dir_files[number % COUNT(dir_files)];
            put(disk, "/data", name, content, false);
            if (strcmp(name, LOG_START_FILE) == 0 || strcmp(name, CLEAN_SHUTDOWN_FILE) == 0)
                valid->is_told = true;
        } else {
            const char *name = log_files[number % COUNT(log_files)];
            bool is_first = strcmp(name, log_files[0]) == 0;
            put(disk, "/data/t-0", name, content, is_first);
            if (is_first && size > 0) valid->is_broken = true;
            if (strstr(name, ".swap") || strstr(name, ".cleaned")) valid->is_told = true;
        }
    }
    text_free(&batch);
}

static void loaded(void *context, enum error err, const char *why)
{
    *(enum error *)context = err;
}

static void closed(void *context)
{
    *(bool *)context = true;
}

static struct log_store *start(struct disk *disk)
{
    static const char *const dirs[] = {"/data"};
    struct log_store_options options;
    struct log_store *store;
    struct text why = {0};
    enum error err = ERR_AGAIN;
    log_store_options_default(&options);
    options.disk = disk;
    options.dirs = dirs;
    options.dir_count = 1;
    options.config.segment_bytes = 400;
    options.config.index_interval_bytes = 100;
    options.config.timestamp_after_max_ms = INT64_MAX;
    CHECK(log_store_open(&options, &store, &why) == OK);
    CHECK(log_store_claim(store, "fuzz", 1, &why) == OK);
    log_store_load(store, loaded, &err);
    CHECK(err == OK || err == ERR_IO);
    text_free(&why);
    return store;
}

/* Reads everything; the number of whole batches. */
static size_t read_all(struct log *log)
{
    size_t count = 0;
    int64_t offset = log_start_offset(log);
    while (offset < log_end_offset(log)) {
        struct log_read what = {
            .offset = offset, .limit_offset = INT64_MAX, .max_bytes = 1 << 20, .min_one_batch = true};
        struct log_slice slice;
        if (log_read_blocking(log, &what, &slice) != OK || slice.size == 0) break;
        uint8_t *bytes = malloc(slice.size);
        size_t got = 0;
        CHECK(bytes && file_pread(slice.file, bytes, slice.size, slice.position, &got) == OK);
        struct slice rest = {bytes, got}, batch;
        struct batch_header header;
        int64_t before = offset;
        while (batches_next(&rest, &header, &batch) == OK) {
            offset = batch_last_offset(&header) + 1;
            count++;
        }
        free(bytes);
        log_slice_release(&slice);
        if (offset <= before) break; /* a damaged place in what a clean stop vouched for */
    }
    return count;
}

static void pass_line(void *context, const char *text)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    diag_set_sink(quiet, NULL);
    struct sim *sim;
    struct sim_machine *machine;
    CHECK(sim_new(1, &sim) == OK);
    CHECK(sim_machine_new(sim, "one", &machine) == OK);
    struct disk *disk = sim_machine_disk(machine);
    CHECK(disk_mkdir(disk, "/data/t-0") == OK);
    struct valid valid = {0};
    write_files(disk, (struct slice){data, size}, &valid);

    struct dump_options options = {.deep = true, .limit_bytes = 1 << 20, .line = pass_line};
    struct verify_report report;
    CHECK(verify_path(disk, "/data", &options, &report) == OK);
    for (size_t i = 0; i < COUNT(log_files); i++) {
        char path[128];
        snprintf(path, sizeof path, "/data/t-0/%s", log_files[i]);
        if (disk_exists(disk, path) && dump_file(disk, path, &options) == ERR_IO) __builtin_trap();
    }

    struct log_store *store = start(disk);
    struct log *log = log_store_find(store, SLICE("t"), 0);
    if (!log) {
        log_store_abandon(store, false);
        sim_free(sim);
        return 0;
    }
    if (!valid.is_told) CHECK(log_end_offset(log) >= valid.end_offset);
    size_t batches = read_all(log);
    struct log_time_found found;
    if (log_offset_for_time(log, 1002, &found) == ERR_IO) __builtin_trap();
    if (log_offset_for_time(log, LOG_TIME_MAX, &found) == ERR_IO) __builtin_trap();

    struct text batch = {0};
    build(0, 2, &batch);
    struct log_append how = {.leader_epoch = 9, .now_ms = 5000};
    struct log_appended appended;
    int64_t end = log_end_offset(log);
    enum error err = log_append(log, (uint8_t *)batch.data, batch.size, &how, &appended);
    text_free(&batch);
    if (err == OK) {
        CHECK(appended.base_offset == end && log_end_offset(log) == end + 2);
        if (!valid.is_told) CHECK(read_all(log) == batches + 1);
        int64_t first = log_start_offset(log);
        bool is_closed = false;
        log_store_close(store, closed, &is_closed);
        CHECK(is_closed);
        store = start(disk);
        log = log_store_find(store, SLICE("t"), 0);
        CHECK(log && log_end_offset(log) == end + 2 && log_start_offset(log) == first);
        CHECK(log_truncate_to(log, end) == OK || log_is_offline(log));
    }
    log_store_abandon(store, false);
    sim_free(sim);
    return 0;
}
