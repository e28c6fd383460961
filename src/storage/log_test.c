/* log_test.c: the rules of one log, a row or a few lines each: what a leader lets in and how it stamps it, when it rolls, what
 * retention takes, what old messages still answer. Over the kernel's disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/diag.h"
#include "loop/loop.h"
#include "storage/dump.h"
#include "storage/log_store.h"
#include "wire/legacy.h"
#include "wire/record.h"

#define NOW 1700000000000

struct world {
    struct descriptors *descriptors;
    struct disk *disk;
    struct log_store_options options;
    const char *dirs[1];
    char root[64];
    struct log_store *store;
    struct log *log;
    struct text batch;
};

static void loaded(void *context, enum error err, const char *why)
{
    assert_int_equal(err, OK);
}

static void closed(void *context)
{
}

static void open_store(struct world *world)
{
    struct text why = {0};
    assert_int_equal(log_store_open(&world->options, &world->store, &why), OK);
    assert_int_equal(log_store_claim(world->store, "c", 1, &why), OK);
    log_store_load(world->store, loaded, NULL);
    world->log = log_store_find(world->store, SLICE("t"), 0);
    if (!world->log) {
        assert_int_equal(
            log_store_create(world->store, SLICE("t"), 0, NULL, &world->options.config, &world->log), OK);
    }
}

static void world_open(struct world *world)
{
    *world = (struct world){.descriptors = descriptors_new(0)};
    world->disk = disk_new(world->descriptors);
    strcpy(world->root, "/tmp/odradek-log-XXXXXX");
    assert_non_null(mkdtemp(world->root));
    log_store_options_default(&world->options);
    world->dirs[0] = world->root;
    world->options.disk = world->disk;
    world->options.dirs = world->dirs;
    world->options.dir_count = 1;
}

static void world_close(struct world *world)
{
    log_store_close(world->store, closed, NULL);
    text_free(&world->batch);
    assert_int_equal(disk_remove_tree(world->disk, world->root), OK);
    disk_free(world->disk);
    descriptors_free(world->descriptors);
}

struct sent {
    int64_t timestamps[3]; /* of its records; 0 = no record */
    size_t value_size;
    enum timestamp_type timestamp_type;
    bool is_keyless;
    bool lies; /* max_timestamp is 1 less than it should be */
    bool reported;
};

/* Builds, judges as a connection does if `reported`, and appends. */
static enum error append(struct world *world, const struct sent *sent, int64_t now_ms,
                         struct log_appended *appended)
{
    struct batch_builder builder = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct slice built;
    uint8_t *value = calloc(1, sent->value_size + 1);
    options.timestamp_type = sent->timestamp_type;
    options.append_time = NOW;
    batch_builder_start(&builder, &options);
    for (int i = 0; i < 3 && (i == 0 || sent->timestamps[i]); i++) {
        assert_int_equal(batch_builder_add(&builder, sent->timestamps[i],
                                           sent->is_keyless ? SLICE_NULL : SLICE("k"),
                                           (struct slice){value, sent->value_size}, NULL, 0),
                         OK);
    }
    assert_int_equal(batch_builder_finish(&builder, &built), OK);
    text_reset(&world->batch);
    text_add(&world->batch, built);
    batch_builder_free(&builder);
    free(value);

    uint8_t *data = (uint8_t *)world->batch.data;
    struct batch_header header;
    struct slice batch = text_slice(&world->batch);
    assert_int_equal(batch_header_read(batch, &header), OK);
    if (sent->lies) batch_set_max_timestamp(data, batch.size, sent->timestamp_type, header.max_timestamp - 1);
    assert_int_equal(batch_check(batch, &header), OK);
    struct records_report report;
    struct slice records = {batch.data + BATCH_HEADER_SIZE, batch.size - BATCH_HEADER_SIZE};
    assert_int_equal(records_check(&header, records, &report), OK);
    struct log_append how = {.leader_epoch = 4, .now_ms = now_ms, .report = sent->reported ? &report : NULL};
    return log_append(world->log, data, batch.size, &how, appended);
}

/* The header of the batch at `offset`, its checksum held. */
static struct batch_header stored(struct world *world, int64_t offset)
{
    struct log_read what = {.offset = offset, .limit_offset = INT64_MAX, .max_bytes = 1 << 20};
    struct log_slice slice;
    struct batch_header header;
    static uint8_t bytes[1 << 20];
    size_t got;
    assert_int_equal(log_read(world->log, &what, &slice), OK);
    assert_int_equal(file_pread(slice.file, bytes, (size_t)slice.first_batch_size, slice.position, &got), OK);
    assert_int_equal(batch_check((struct slice){bytes, got}, &header), OK);
    log_slice_release(&slice);
    return header;
}

static void what_a_leader_lets_in(void **state)
{
    static const struct {
        const char *says;
        struct sent sent;
        bool log_append_time, compact;
        enum error err;
        int32_t bad_record;
        int64_t max_timestamp; /* as stored */
    } cases[] = {
        {"now", {{NOW}}, .max_timestamp = NOW},
        {"without timestamps", {{-1, -1}}, .max_timestamp = -1},
        {"just young enough", {{NOW + 3600000}}, .max_timestamp = NOW + 3600000},
        {"from the future",
         {{NOW, NOW + 3600001}, .reported = true},
         .err = ERR_INVALID_TIMESTAMP,
         .bad_record = 1},
        {"too old",
         {{NOW - 1, NOW - 86400001, NOW}, .reported = true},
         .err = ERR_INVALID_TIMESTAMP,
         .bad_record = 1},
        {"too old by its header", {{NOW - 86400001}}, .err = ERR_INVALID_TIMESTAMP, .bad_record = 0},
        {"a false largest timestamp is set right",
         {{NOW - 9, NOW - 5}, .lies = true, .reported = true},
         .max_timestamp = NOW - 5},
        {"the type is the topic's",
         {{NOW - 9}, .timestamp_type = TIMESTAMP_LOG_APPEND, .reported = true},
         .max_timestamp = NOW - 9},
        {"append time", {{NOW - 77}}, .log_append_time = true, .max_timestamp = NOW},
        {"append time is not the client's to set",
         {{NOW}, .timestamp_type = TIMESTAMP_LOG_APPEND},
         .log_append_time = true,
         .err = ERR_INVALID_TIMESTAMP},
        {"a compacted topic needs keys",
         {{NOW, NOW}, .is_keyless = true, .reported = true},
         .compact = true,
         .err = ERR_INVALID_RECORD,
         .bad_record = 0},
        {"and has them", {{NOW}, .reported = true}, .compact = true, .max_timestamp = NOW},
        {"exactly max.message.bytes", {{NOW}, .value_size = 2000 - 61 - 10}, .max_timestamp = NOW},
        {"one byte more",
         {{NOW}, .value_size = 2000 - 61 - 9},
         .err = ERR_MESSAGE_TOO_LARGE,
         .bad_record = -1},
    };
    struct world world;
    world_open(&world);
    world.options.config.timestamp_before_max_ms = 86400000;
    world.options.config.max_message_bytes = 2000;
    open_store(&world);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct log_config config = world.options.config;
        if (cases[i].log_append_time) config.timestamp_type = TIMESTAMP_LOG_APPEND;
        config.compact_policy = cases[i].compact;
        log_configure(world.log, &config);
        int64_t end = log_end_offset(world.log);
        struct log_appended appended;
        enum error err = append(&world, &cases[i].sent, NOW, &appended);
        if (err != cases[i].err) fail_msg("%s: %s", cases[i].says, error_text(err));
        if (err != OK) {
            if (appended.bad_record_index != cases[i].bad_record)
                fail_msg("%s: %d", cases[i].says, appended.bad_record_index);
            assert_int_equal(log_end_offset(world.log), end);
            continue;
        }
        assert_int_equal(appended.base_offset, end);
        assert_int_equal(appended.log_append_time_ms, cases[i].log_append_time ? NOW : -1);
        struct batch_header header = stored(&world, end);
        if (header.max_timestamp != cases[i].max_timestamp) fail_msg("%s: stored otherwise", cases[i].says);
        assert_int_equal(batch_timestamp_type(&header), cases[i].log_append_time);
        assert_int_equal(header.partition_leader_epoch, 4);
        assert_int_equal(header.base_offset, end);
    }
    assert_int_equal(log_latest_epoch(world.log), 4);
    world_close(&world);
}

static void when_it_rolls(void **state)
{
    static const struct {
        const char *says;
        int64_t segment_bytes, segment_ms, segment_index_bytes;
        int64_t first_timestamp, second_timestamp, now_after_ms;
        bool rolls;
    } cases[] = {
        {"room enough", 2000, 1000, 1 << 20, NOW, NOW, 0, false},
        {"no room", 300, 1000, 1 << 20, NOW, NOW, 0, true},
        {"time between timestamps", 2000, 1000, 1 << 20, NOW, NOW + 1001, 0, true},
        {"not the clock's", 2000, 1000, 1 << 20, NOW, NOW + 1000, 999999, false},
        {"old timestamps replayed", 2000, 1000, 1 << 20, NOW - 99999, NOW, 0, true},
        {"without timestamps the clock's", 2000, 1000, 1 << 20, -1, -1, 1001, true},
        {"or not yet", 2000, 1000, 1 << 20, -1, -1, 1000, false},
        {"a full index", 2000, 1000, 0, NOW, NOW, 0, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world world;
        world_open(&world);
        world.options.config.segment_bytes = cases[i].segment_bytes;
        world.options.config.segment_ms = cases[i].segment_ms;
        world.options.config.segment_index_bytes = cases[i].segment_index_bytes;
        open_store(&world);
        struct sent sent = {{cases[i].first_timestamp}, .value_size = 100};
        struct log_appended appended;
        assert_int_equal(append(&world, &sent, NOW, &appended), OK);
        assert_false(appended.rolled); /* never an empty one */
        sent.timestamps[0] = cases[i].second_timestamp;
        assert_int_equal(append(&world, &sent, NOW + cases[i].now_after_ms, &appended), OK);
        if (appended.rolled != cases[i].rolls) fail_msg("%s", cases[i].says);
        world_close(&world);
    }
}

static void a_batch_larger_than_a_segment(void **state)
{
    struct world world;
    world_open(&world);
    world.options.config.segment_bytes = 300;
    open_store(&world);
    struct sent sent = {{NOW}, .value_size = 300};
    struct log_appended appended;
    assert_int_equal(append(&world, &sent, NOW, &appended), ERR_RECORD_LIST_TOO_LARGE);
    /* A follower takes what its leader took. */
    struct log_append how = {.origin = APPEND_REPLICATION, .now_ms = NOW};
    batch_set_base_offset((uint8_t *)world.batch.data, 40);
    assert_int_equal(log_append(world.log, (uint8_t *)world.batch.data, world.batch.size, &how, &appended),
                     OK);
    assert_int_equal(appended.base_offset, 40);
    assert_int_equal(log_append(world.log, (uint8_t *)world.batch.data, world.batch.size, &how, &appended),
                     ERR_OFFSET_OUT_OF_RANGE);
    /* One cut off at its end waits for the rest. */
    batch_set_base_offset((uint8_t *)world.batch.data, 41);
    size_t size = world.batch.size;
    uint8_t part[200];
    memcpy(part, world.batch.data, sizeof part);
    text_add(&world.batch, (struct slice){part, sizeof part});
    assert_int_equal(log_append(world.log, (uint8_t *)world.batch.data, world.batch.size, &how, &appended),
                     OK);
    assert_int_equal(appended.last_offset, 41);
    assert_int_equal(log_size_bytes(world.log), 2 * size);
    world_close(&world);
}

/* Ten segments of one batch, a day apart; which are left? */
static void what_retention_takes(void **state)
{
    const int64_t day = 86400000;
    static const struct {
        const char *says;
        int64_t retention_days, retention_segments; /* -1 no limit */
        int64_t high_watermark, log_start;
        bool has_future, compact_only;
        int64_t first_left;
    } cases[] = {
        {"nothing to do", -1, -1, 10, 0, false, false, 0},
        {"seven days", 7, -1, 10, 0, false, false, 3},
        {"three segments", -1, 3, 10, 0, false, false, 7},
        {"both, whichever takes more", 7, 3, 10, 0, false, false, 7},
        {"not what is not committed", 1, -1, 4, 0, false, false, 4},
        {"everything: a new segment takes its place", 0, -1, 10, 0, false, false, 10},
        {"a future timestamp holds all behind it", 1, -1, 10, 0, true, false, 3},
        {"deleted records, whole segments of them", -1, -1, 10, 5, false, false, 5},
        {"a compacted topic forgets only those", 1, 1, 10, 2, false, true, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world world;
        world_open(&world);
        world.options.config.segment_bytes = 200;
        world.options.config.timestamp_after_max_ms = INT64_MAX;
        open_store(&world);
        for (int64_t k = 0; k < 10; k++) {
            struct sent sent = {{NOW - (9 - k) * day}, .value_size = 60};
            if (cases[i].has_future && k == 3) sent.timestamps[0] = NOW + 100 * day;
            struct log_appended appended;
            assert_int_equal(append(&world, &sent, NOW, &appended), OK);
        }
        struct log_config config = world.options.config;
        config.retention_ms = cases[i].retention_days < 0 ? -1 : cases[i].retention_days * day;
        config.retention_bytes = cases[i].retention_segments < 0
                                     ? -1
                                     : cases[i].retention_segments * (log_size_bytes(world.log) / 10);
        config.delete_policy = !cases[i].compact_only;
        config.compact_policy = cases[i].compact_only;
        log_configure(world.log, &config);
        log_set_high_watermark(world.log, cases[i].high_watermark);
        assert_int_equal(log_increase_start(world.log, cases[i].log_start), OK);
        size_t deleted;
        assert_int_equal(log_delete_old_segments(world.log, cases[i].high_watermark, NOW + 1, &deleted), OK);
        if (log_start_offset(world.log) != cases[i].first_left) {
            fail_msg("%s: %lld", cases[i].says, (long long)log_start_offset(world.log));
        }
        assert_int_equal(log_end_offset(world.log), 10);
        assert_int_equal(log_latest_epoch(world.log), 4); /* an emptied log still knows who wrote last */
        world_close(&world);
    }
}

/* Records deleted to the middle of a segment stay deleted. */
static void a_log_start_survives_a_restart(void **state)
{
    struct world world;
    world_open(&world);
    open_store(&world);
    for (int64_t k = 0; k < 10; k++) {
        struct sent sent = {{NOW + k}};
        struct log_appended appended;
        assert_int_equal(append(&world, &sent, NOW, &appended), OK);
    }
    assert_int_equal(log_increase_start(world.log, 4), ERR_OFFSET_OUT_OF_RANGE); /* not committed */
    log_set_high_watermark(world.log, 8);
    assert_int_equal(log_increase_start(world.log, 4), OK);
    struct log_time_found found;
    assert_int_equal(log_offset_for_time(world.log, NOW, &found), OK);
    assert_int_equal(found.offset, 4);
    log_store_close(world.store, closed, NULL);
    open_store(&world);
    assert_int_equal(log_start_offset(world.log), 4);
    assert_int_equal(log_high_watermark(world.log), 8);
    struct log_read what = {.offset = 3, .limit_offset = 10, .max_bytes = 1000};
    struct log_slice slice;
    assert_int_equal(log_read(world.log, &what, &slice), ERR_OFFSET_OUT_OF_RANGE);
    world_close(&world);
}

/* Messages of magic 0 and 1, as an old broker left them: they are read, found by time, and survive recovery. */
static void old_messages(void **state)
{
    struct world world;
    world_open(&world);
    open_store(&world);
    struct text run = {0}, inner = {0}, packed = {0};
    for (int i = 0; i < 3; i++) {
        struct legacy_message message = {
            .offset = i, .magic = 1, .timestamp = NOW + i, .value = SLICE("inner")};
        assert_int_equal(legacy_message_write(&message, &inner), OK);
    }
    assert_int_equal(codec_compress(CODEC_GZIP, -1, text_slice(&inner), &packed), OK);
    struct legacy_message messages[] = {
        {.offset = 0, .magic = 0, .timestamp = -1, .value = SLICE("zero")},
        {.offset = 1, .magic = 1, .timestamp = NOW - 5, .value = SLICE("one")},
        {.offset = 4,
         .magic = 1,
         .attributes = CODEC_GZIP,
         .timestamp = NOW + 2,
         .value = text_slice(&packed)},
    };
    for (size_t i = 0; i < 3; i++) assert_int_equal(legacy_message_write(&messages[i], &run), OK);
    struct log_append how = {.origin = APPEND_REPLICATION, .now_ms = NOW};
    struct log_appended appended;
    assert_int_equal(log_append(world.log, (uint8_t *)run.data, run.size, &how, &appended), OK);
    assert_int_equal(log_end_offset(world.log), 5);
    assert_int_equal(log_latest_epoch(world.log), -1);

    for (int round = 0; round < 2; round++) {
        static const struct {
            int64_t asked, offset, timestamp;
        } questions[] = {{0, 1, NOW - 5},
                         {NOW - 4, 2, NOW},
                         {NOW + 1, 3, NOW + 1},
                         {NOW + 3, -1, -1},
                         {LOG_TIME_MAX, 4, NOW + 2}};
        for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
            struct log_time_found found;
            assert_int_equal(log_offset_for_time(world.log, questions[i].asked, &found), OK);
            assert_int_equal(found.offset, questions[i].offset);
            assert_int_equal(found.timestamp, questions[i].timestamp);
        }
        struct log_read what = {.offset = 3, .limit_offset = 5, .max_bytes = 1000};
        struct log_slice slice;
        assert_int_equal(log_read_blocking(world.log, &what, &slice), OK);
        assert_int_equal(slice.base_offset, 4); /* of a compressed set: its last one's */
        log_slice_release(&slice);
        log_store_abandon(world.store, false); /* and now after recovery */
        open_store(&world);
        assert_int_equal(log_end_offset(world.log), 5);
    }
    text_free(&run);
    text_free(&inner);
    text_free(&packed);
    world_close(&world);
}

/* Leader epochs are in the batches, too. */
static void a_damaged_epoch_file_is_made_anew(void **state)
{
    static const char *const contents[] = {"", "0\n1\n", "\xff"};
    for (size_t i = 0; i < 3; i++) {
        struct world world;
        world_open(&world);
        open_store(&world);
        struct sent sent = {{NOW}};
        struct log_appended appended;
        assert_int_equal(append(&world, &sent, NOW, &appended), OK);
        struct log_append how = {.leader_epoch = 5, .now_ms = NOW};
        assert_int_equal(
            log_append(world.log, (uint8_t *)world.batch.data, world.batch.size, &how, &appended), OK);
        log_store_close(world.store, closed, NULL);
        char path[128];
        snprintf(path, sizeof path, "%s/t-0/leader-epoch-checkpoint", world.root);
        assert_int_equal(disk_write_file_atomic(world.disk, path, slice_of(contents[i])), OK);
        open_store(&world);
        assert_int_equal(log_latest_epoch(world.log), 5);
        assert_int_equal(log_epoch_of(world.log, 0), 4);
        assert_int_equal(log_epoch_end(world.log, 4).end_offset, 1);
        world_close(&world);
    }
}

/* A leader that wrote nothing is told by the next that it never was (KAFKA-10706), though there is nothing to cut. */
static void a_cut_at_the_end_takes_epochs(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    open_store(&world);
    struct sent sent = {{NOW}};
    struct log_appended appended;
    assert_int_equal(append(&world, &sent, NOW, &appended), OK);
    assert_int_equal(log_epoch_assign(world.log, 7, log_end_offset(world.log)), OK);
    assert_int_equal(log_latest_epoch(world.log), 7);
    assert_int_equal(log_truncate_to(world.log, log_end_offset(world.log)), OK);
    assert_int_equal(log_latest_epoch(world.log), 4);
    assert_int_equal(log_end_offset(world.log), 1);
    log_store_close(world.store, closed, NULL);
    open_store(&world);
    assert_int_equal(log_latest_epoch(world.log), 4);
    world_close(&world);
}

static void collect(void *context, const char *line)
{
    text_addz(context, line);
    text_addc(context, '\n');
}

static void dump_says_what_is_there(void **state)
{
    struct world world;
    world_open(&world);
    open_store(&world);
    struct sent sent = {{NOW, NOW + 1}};
    struct log_appended appended;
    struct text seen = {0};
    char path[128];
    assert_int_equal(append(&world, &sent, NOW, &appended), OK);
    log_store_close(world.store, closed, NULL);
    struct dump_options options = {.deep = true, .line = collect, .context = &seen};
    snprintf(path, sizeof path, "%s/t-0/00000000000000000000.log", world.root);
    assert_int_equal(dump_file(world.disk, path, &options), OK);
    assert_non_null(strstr(seen.data, "batch base=0 last=1 count=2 position=0"));
    assert_non_null(strstr(seen.data, "record offset=1 timestamp=1700000000001 key=\"k\" value=\"\""));
    text_reset(&seen);
    snprintf(path, sizeof path, "%s/t-0/leader-epoch-checkpoint", world.root);
    options.json = true;
    assert_int_equal(dump_file(world.disk, path, &options), OK);
    assert_string_equal(seen.data, "{\"type\":\"epoch\",\"leader_epoch\":4,\"start\":0}\n");

    /* Damage has a name and a place. */
    snprintf(path, sizeof path, "%s/t-0/00000000000000000000.log", world.root);
    struct file *file;
    assert_int_equal(file_open(world.disk, path, FILE_WRITE, &file), OK);
    assert_int_equal(file_pwrite(file, "?", 1, 70), OK);
    file_release(&file);
    text_reset(&seen);
    struct verify_report report;
    assert_int_equal(verify_path(world.disk, world.root, &options, &report), OK);
    assert_int_equal(report.problems, 1);
    assert_non_null(strstr(seen.data, "fails its checksum"));
    assert_int_equal(dump_file(world.disk, path, &options), ERR_CORRUPT);
    snprintf(path, sizeof path, "%s/nothing.log", world.root);
    assert_int_equal(dump_file(world.disk, path, &options), ERR_NOT_FOUND);
    text_free(&seen);
    open_store(&world);
    world_close(&world);
}

int main(void)
{
    diag_set_level(DIAG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_leader_lets_in),
        cmocka_unit_test(when_it_rolls),
        cmocka_unit_test(a_batch_larger_than_a_segment),
        cmocka_unit_test(what_retention_takes),
        cmocka_unit_test(a_log_start_survives_a_restart),
        cmocka_unit_test(old_messages),
        cmocka_unit_test(a_damaged_epoch_file_is_made_anew),
        cmocka_unit_test(a_cut_at_the_end_takes_epochs),
        cmocka_unit_test(dump_says_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
