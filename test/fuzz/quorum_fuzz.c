/* quorum_fuzz: a log file and a snapshot of any bytes. They are read or refused, and what was read can be appended to. */
#include <stdlib.h>

#include "base/diag.h"
#include "fuzz.h"
#include "loop/sim.h"
#include "quorum/files.h"
#include "quorum/quorum.h"

struct world {
    uint64_t applied;
    bool is_ready, is_closed;
    enum error err;
};

static enum error on_restore(void *context, struct slice chunk)
{
    return OK;
}

static enum error on_restored(void *context, uint64_t index)
{
    struct world *world = context;
    world->applied = index;
    return OK;
}

static enum error on_apply(void *context, uint64_t index, uint64_t term, struct slice entry)
{
    struct world *world = context;
    CHECK(index == world->applied + 1);
    world->applied = index;
    return OK;
}

static void on_ready(void *context, enum error err)
{
    struct world *world = context;
    world->is_ready = true;
    world->err = err;
}

static void on_closed(void *context)
{
    struct world *world = context;
    world->is_closed = true;
}

static bool is_closed(void *context)
{
    struct world *world = context;
    return world->is_closed;
}

static bool is_ready(void *context)
{
    struct world *world = context;
    return world->is_ready;
}

static void quiet(void *context, enum diag_level level, const char *message)
{
}

/* A fuzzer does not find checksums: the input says where records are, and here they are made whole. */
static void put_file(struct disk *disk, const char *path, uint8_t *bytes, size_t size)
{
    struct file *file;
    CHECK(file_open(disk, path, FILE_WRITE | FILE_CREATE, &file) == OK);
    CHECK(file_pwrite(file, bytes, size, 0) == OK);
    CHECK(file_sync(file) == OK);
    file_release(&file);
}

static void make_records(uint8_t *bytes, size_t size)
{
    if (size < QUORUM_FILE_HEADER_SIZE) return;
    if (bytes[8] & 1) quorum_log_header(bytes, QUORUM_FORMAT_LONE, 1);
    uint64_t index = 1;
    for (size_t at = QUORUM_FILE_HEADER_SIZE; size - at >= QUORUM_RECORD_HEADER_SIZE;) {
        uint8_t choice = bytes[at];
        size_t entry_size = bytes[at + 1] % 64, record_size = quorum_record_size(entry_size);
        if (record_size > size - at) break;
        if (choice >= 16) quorum_record_seal(bytes + at, index, 1, choice & 1 ? index : 1, 0, entry_size);
        if (choice >= 32) index++;
        at += record_size;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct quorum_machine machine = {on_restore, on_restored, on_apply};
    static const struct quorum_events events = {.ready = on_ready};
    diag_set_sink(quiet, NULL);
    struct sim *sim;
    struct sim_machine *host;
    struct loop *loop;
    struct lane *lane;
    CHECK(sim_new(1, &sim) == OK);
    CHECK(sim_machine_new(sim, "10.0.0.1", &host) == OK);
    CHECK(sim_loop_new(host, &loop) == OK);
    CHECK(lane_new(loop, "work", 1, &lane) == OK);
    struct disk *disk = sim_machine_disk(host);
    CHECK(disk_mkdir(disk, "/data") == OK);
    uint8_t *bytes = malloc(size + 1);
    memcpy(bytes, data, size);
    if (size > 0 && data[size - 1] & 1) {
        put_file(disk, "/data/keeper-snapshot-00000000000000000003", bytes, size);
    } else {
        make_records(bytes, size);
        put_file(disk, "/data/keeper-log-00000000000000000001", bytes, size);
    }
    free(bytes);
    for (int round = 0; round < 2; round++) {
        struct world world = {0};
        struct quorum *quorum;
        struct quorum_config config = {.dir = "/data", .prefix = "keeper-", .force_sync = true};
        CHECK(quorum_open(&config, loop, disk, lane, lane, &machine, &events, &world, &quorum) == OK);
        CHECK(sim_run_until(sim, is_ready, &world, 60000));
        uint64_t index = 0;
        if (world.err == OK) {
            CHECK(quorum_append(quorum, (struct slice[]){{(const uint8_t *)"entry", 5}}, 1, &index) == OK);
            CHECK(index == world.applied + 1);
            sim_run_ms(sim, 1000);
            CHECK(world.applied == index);
        }
        quorum_close(&quorum, on_closed, &world);
        CHECK(sim_run_until(sim, is_closed, &world, 60000));
    }
    lane_free(lane);
    loop_free(loop);
    sim_free(sim);
    return 0;
}
