/* storage_tool.c: a log directory without a broker around it, for storage_apache.py.
 *
 *     storage_tool fill DIR TOPIC PARTITION SEED BATCHES [crash]   appends; prints its records; `crash` leaves as kill -9 does
 *     storage_tool show DIR TOPIC PARTITION                        opens, recovers if need be, prints all records
 *
 * A record is a line "offset key value"; those of aborted transactions are printed as well. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "loop/loop.h"
#include "storage/log_store.h"
#include "wire/record.h"

static void must(enum error err, const char *what, const char *why)
{
    if (err == OK) return;
    fprintf(stderr, "storage_tool: %s: %s %s\n", what, error_text(err), why ? why : "");
    exit(1);
}

static void loaded(void *context, enum error err, const char *why)
{
    must(err, "load", why);
}

static void closed(void *context)
{
    *(bool *)context = true;
}

struct producer {
    int64_t id;
    int32_t sequence;
    bool in_transaction;
};

static void append(struct log *log, uint8_t *bytes, size_t size, enum append_origin origin, int64_t now_ms)
{
    struct log_append how = {.origin = origin, .leader_epoch = log_latest_epoch(log), .now_ms = now_ms};
    if (how.leader_epoch < 0) how.leader_epoch = 0;
    struct log_appended appended;
    must(log_append(log, bytes, size, &how, &appended), "append", appended.bad_record_text);
}

static void end_transaction(struct log *log, struct producer *producer, bool is_commit, int64_t now_ms)
{
    uint8_t marker[END_TXN_MARKER_SIZE];
    end_txn_marker_write(marker, producer->id, 0, 0, is_commit, now_ms);
    append(log, marker, sizeof marker, APPEND_COORDINATOR, now_ms);
    producer->in_transaction = false;
}

static void fill(struct log *log, uint64_t seed, int batches)
{
    struct random random;
    random_seed(&random, seed);
    struct producer producers[3] = {{.id = 7000 + (int64_t)seed * 10},
                                    {.id = 7001 + (int64_t)seed * 10},
                                    {.id = 7002 + (int64_t)seed * 10}};
    struct batch_builder builder = {0};
    int64_t now_ms = 1750000000000 + (int64_t)seed * 1000000;
    for (int b = 0; b < batches; b++) {
        struct batch_options options = BATCH_OPTIONS_DEFAULT;
        options.codec = (enum codec)random_below(&random, CODEC_COUNT);
        options.level = codec_default_level(options.codec);
        struct producer *producer = random_below(&random, 2) ? &producers[random_below(&random, 3)] : NULL;
        if (producer && producer->in_transaction && random_below(&random, 3) == 0) {
            end_transaction(log, producer, random_below(&random, 2), now_ms);
        }
        int count = 1 + (int)random_below(&random, 20);
        if (producer) {
            if (random_below(&random, 4) == 0) producer->in_transaction = true;
            options.producer_id = producer->id;
            options.producer_epoch = 0;
            options.base_sequence = producer->sequence;
            options.is_transactional = producer->in_transaction;
            producer->sequence += count;
        }
        batch_builder_start(&builder, &options);
        int64_t offset = log_end_offset(log);
        for (int i = 0; i < count; i++) {
            char key[32], value[128];
            snprintf(key, sizeof key, "k%" PRIu64, random_below(&random, 1000));
            snprintf(value, sizeof value, "seed-%" PRIu64 "-batch-%d-record-%d-%016" PRIx64, seed, b, i,
                     random_next(&random));
            now_ms += (int64_t)random_below(&random, 50);
            must(batch_builder_add(&builder, now_ms, slice_of(key), slice_of(value), NULL, 0), "build", NULL);
            printf("%lld %s %s\n", (long long)offset + i, key, value);
        }
        struct slice built;
        must(batch_builder_finish(&builder, &built), "build", NULL);
        uint8_t *copy = malloc(built.size);
        memcpy(copy, built.data, built.size);
        append(log, copy, built.size, APPEND_CLIENT, now_ms);
        free(copy);
    }
    for (int i = 0; i < 3; i++) {
        if (producers[i].in_transaction) end_transaction(log, &producers[i], i == 1, now_ms);
    }
    batch_builder_free(&builder);
}

static void show_batch(struct slice batch, const struct batch_header *header)
{
    struct text scratch = {0};
    struct slice records;
    struct record record;
    must(batch_records(batch, header, (size_t)1 << 28, &scratch, &records), "decompress", NULL);
    while (!batch_is_control(header) && record_next(&records, &record) == OK) {
        printf("%lld %.*s %.*s\n", (long long)record_offset(header, &record), SLICE_ARG(record.key),
               SLICE_ARG(record.value));
    }
    text_free(&scratch);
}

static void show(struct log *log)
{
    for (int64_t offset = log_start_offset(log); offset < log_end_offset(log);) {
        struct log_read what = {.offset = offset, .limit_offset = INT64_MAX, .max_bytes = (size_t)1 << 30};
        struct log_slice slice;
        must(log_read_blocking(log, &what, &slice), "read", NULL);
        if (slice.size == 0) break;
        uint8_t *bytes = malloc(slice.size);
        size_t got = 0;
        must(file_pread(slice.file, bytes, slice.size, slice.position, &got), "read", NULL);
        struct slice rest = {bytes, got}, batch;
        struct batch_header header;
        while (batches_next(&rest, &header, &batch) == OK) {
            must(batch_check(batch, &header), "check", NULL);
            show_batch(batch, &header);
            offset = batch_last_offset(&header) + 1;
        }
        free(bytes);
        log_slice_release(&slice);
    }
}

int main(int argc, char **argv)
{
    bool is_fill = argc >= 7 && strcmp(argv[1], "fill") == 0;
    if (!is_fill && !(argc == 5 && strcmp(argv[1], "show") == 0)) {
        fprintf(
            stderr,
            "usage: storage_tool fill DIR TOPIC PARTITION SEED BATCHES [crash] | show DIR TOPIC PARTITION\n");
        return 2;
    }
    struct descriptors *descriptors = descriptors_new(0);
    struct disk *disk = disk_new(descriptors);
    struct log_store_options options;
    log_store_options_default(&options);
    const char *dirs[] = {argv[2]};
    options.disk = disk;
    options.dirs = dirs;
    options.dir_count = 1;
    options.random_seed = (uint64_t)getpid();
    options.config.segment_bytes = 40000;
    options.config.index_interval_bytes = 1024;
    options.config.timestamp_after_max_ms = INT64_MAX;

    struct text why = {0};
    struct log_store *store;
    must(log_store_open(&options, &store, &why), "open", why.data);
    struct log_store_identity identity;
    log_store_identity(store, &identity);
    must(log_store_claim(store, identity.is_known ? identity.cluster_id : "cluster-of-storage-tool",
                         identity.is_known ? identity.broker_id : 1, &why),
         "claim", why.data);
    log_store_load(store, loaded, NULL);
    int32_t partition = atoi(argv[4]);
    struct log *log = log_store_find(store, slice_of(argv[3]), partition);
    struct uuid id = {{0x12, 0x34, 0x56}};
    if (!log && is_fill)
        must(log_store_create(store, slice_of(argv[3]), partition, &id, &options.config, &log), "create",
             NULL);
    if (!log) must(ERR_NOT_FOUND, argv[3], NULL);

    if (is_fill)
        fill(log, strtoull(argv[5], NULL, 10), atoi(argv[6]));
    else
        show(log);
    fflush(stdout);
    if (argc == 8) _exit(0);

    bool is_closed = false;
    log_store_close(store, closed, &is_closed);
    disk_free(disk);
    descriptors_free(descriptors);
    text_free(&why);
    return is_closed ? 0 : 1;
}
