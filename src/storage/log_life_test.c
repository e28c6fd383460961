/* log_life_test.c: random lives of one log against a model too plain to be wrong (log_life.h).
 *
 * The same lives over the kernel (kill -9 at any time: nothing is lost) and over the simulated disk (power cuts: what was
 * synced is there, and what else is there was written once, at that offset). Every failure names its seed. */
#include "storage/log_life.h"

#include "base/diag.h"
#include "base/vec.h"
#include "storage/dump.h"
#include "wire/record.h"

/* --- what happens to it --- */

static struct model_batch *last_of(struct life *life, int64_t producer_id)
{
    for (size_t i = life->model.count; i > 0; i--) {
        struct model_batch *batch = &life->model.batches[i - 1];
        if (batch->base < life->forget_before) return NULL;
        if (batch->producer_id == producer_id && !batch->is_abort && !batch->is_commit) return batch;
    }
    return NULL;
}

static void model_add(struct life *life, struct model_batch batch)
{
    struct model *model = &life->model;
    assert_true(VEC_RESERVE(model->history, model->history_count, model->history_capacity));
    assert_true(VEC_RESERVE(model->batches, model->count, model->capacity));
    if (model->count > 0) {
        batch.before = model->batches[model->count - 1].bytes;
        batch.before_size = model->batches[model->count - 1].size;
    }
    model->history[model->history_count++] = batch;
    model->batches[model->count++] = batch;
    model->end = batch.last + 1;
}

/* A batch as the next thing to be written; and how. True when it fits a segment. */
static bool make_client_batch(struct life *life, struct model_batch *made, struct log_append *how)
{
    struct batch_builder builder = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    struct model_batch batch = {.producer_id = -1, .base_sequence = -1, .epoch = life->epoch};
    options.codec = below(life, 3) ? CODEC_NONE : (enum codec)below(life, CODEC_COUNT);
    options.level = codec_default_level(options.codec);
    if (below(life, 2)) {
        batch.producer_id = life->producer_base + (int64_t)below(life, PRODUCERS);
        const struct model_batch *last = last_of(life, batch.producer_id);
        bool has_open = open_txn_of(&life->model, batch.producer_id, life->forget_before) >= 0;
        batch.is_transactional = has_open || below(life, 4) == 0;
        batch.base_sequence = last ? sequence_add(last->base_sequence, (int32_t)last->record_count) : 0;
        if (!last && below(life, 2)) batch.base_sequence = INT32_MAX - 3;
        int32_t refused = life->refused[batch.producer_id - life->producer_base];
        if (!last && refused >= 0) batch.base_sequence = refused;
        options.producer_id = batch.producer_id;
        options.producer_epoch = 1;
        options.base_sequence = batch.base_sequence;
        options.is_transactional = batch.is_transactional;
    }
    batch_builder_start(&builder, &options);
    batch.record_count = 1 + below(life, 4);
    batch.timestamps = calloc(batch.record_count, sizeof(int64_t));
    batch.max_timestamp = -1;
    bool has_timestamps = below(life, 10) > 0;
    for (size_t i = 0; i < batch.record_count; i++) {
        uint8_t value[400];
        size_t size = below(life, sizeof value);
        random_fill(&life->random, value, size);
        int64_t timestamp = has_timestamps ? life->now_ms - 5000 + (int64_t)below(life, 6000) : -1;
        batch.timestamps[i] = timestamp;
        if (timestamp > batch.max_timestamp) batch.max_timestamp = timestamp;
        assert_int_equal(
            batch_builder_add(&builder, timestamp, SLICE_NULL, (struct slice){value, size}, NULL, 0), OK);
    }
    struct slice built;
    assert_int_equal(batch_builder_finish(&builder, &built), OK);
    batch.size = built.size;
    batch.bytes = malloc(built.size);
    memcpy(batch.bytes, built.data, built.size);
    batch_builder_free(&builder);
    batch.base = life->model.end;
    batch.last = batch.base + (int64_t)batch.record_count - 1;

    *how = (struct log_append){.origin = APPEND_CLIENT, .leader_epoch = life->epoch, .now_ms = life->now_ms};
    *made = batch;
    return (int64_t)batch.size <= life->config.segment_bytes;
}

/* Or, now and then, as it comes to a follower: a leader stamped it. */
static bool make_batch(struct life *life, struct model_batch *batch, struct log_append *how)
{
    bool is_small = make_client_batch(life, batch, how);
    if (below(life, 5) > 0) return is_small;
    how->origin = APPEND_REPLICATION;
    batch_set_base_offset(batch->bytes, batch->base);
    batch_set_leader_epoch(batch->bytes, life->epoch);
    return true;
}

/* What a producer's batches behind this one may hear from now on. */
static void note_refused(struct life *life, const struct model_batch *batch, const struct log_append *how,
                         enum error err)
{
    if (how->origin == APPEND_REPLICATION) refused_forget(life);
    if (batch->producer_id < 0 || how->origin != APPEND_CLIENT) return;
    int32_t *refused = &life->refused[batch->producer_id - life->producer_base];
    if (err != ERR_DISK_FULL)
        *refused = -1;
    else if (*refused < 0 || (((uint32_t)*refused - (uint32_t)batch->base_sequence) & INT32_MAX) < 1u << 30)
        *refused = batch->base_sequence; /* the first of them */
}

static void step_append(struct life *life)
{
    struct model_batch batch;
    struct log_append how;
    struct log_appended appended;
    bool is_small = make_batch(life, &batch, &how);
    enum error err = log_append(life->log, batch.bytes, batch.size, &how, &appended);
    note_refused(life, &batch, &how, err);
    if (!is_small) {
        CHECK(life, err == ERR_RECORD_LIST_TOO_LARGE);
        free(batch.bytes);
        free(batch.timestamps);
        return;
    }
    if (err != OK || appended.is_duplicate || appended.base_offset != batch.base) {
        fail_msg("seed %llu step %d: append at %lld: %s, at %lld%s", (unsigned long long)life->seed,
                 life->step, (long long)batch.base, error_text(err), (long long)appended.base_offset,
                 appended.is_duplicate ? ", a duplicate" : "");
    }
    CHECK(life, appended.last_offset == batch.last);
    model_add(life, batch);
    if (life->config.flush_messages == 1) CHECK(life, log_synced_end_offset(life->log) == life->model.end);
}

/* What several clients send in one turn, the last of it twice. On a full disk some of it may not get in; the rest is in order. */
static void step_append_many(struct life *life, bool is_full)
{
    enum { MANY = 12 };
    struct model *model = &life->model;
    struct model_batch batches[MANY];
    struct log_append hows[MANY + 1];
    struct log_appended appended[MANY + 1];
    struct log_append_item items[MANY + 1];
    size_t count = 0, wanted = 1 + below(life, MANY), batches_before = model->count,
           history_before = model->history_count;
    int64_t end_before = model->end;
    int32_t epoch = life->epoch; /* of the last that gets in */
    while (count < wanted && make_client_batch(life, &batches[count], &hows[count])) {
        items[count] = (struct log_append_item){batches[count].bytes, batches[count].size, &hows[count],
                                                &appended[count], OK};
        model_add(life, batches[count]);
        count++;
        /* What does not get in leaves no trace of its leader, either: the same epochs come again. */
        if (is_full && below(life, 3) == 0) life->epoch++;
    }
    if (count < wanted) {
        free(batches[count].bytes);
        free(batches[count].timestamps);
    }
    if (count == 0) return;
    uint8_t *copy = malloc(batches[count - 1].size);
    memcpy(copy, batches[count - 1].bytes, batches[count - 1].size);
    bool has_retry = batches[count - 1].producer_id >= 0 && hows[count - 1].origin == APPEND_CLIENT;
    hows[count] = hows[count - 1];
    items[count] =
        (struct log_append_item){copy, batches[count - 1].size, &hows[count], &appended[count], OK};
    log_append_all(life->log, items, count + has_retry);

    model->count = batches_before;
    model->history_count = history_before;
    model->end = end_before;
    bool all_in = true;
    for (size_t i = 0; i < count; i++) {
        note_refused(life, &batches[i], &hows[i], items[i].err);
        if (items[i].err != OK) {
            CHECK(life, is_full);
            all_in = false;
            free(batches[i].bytes);
            free(batches[i].timestamps);
            continue;
        }
        CHECK(life, appended[i].base_offset == model->end && !appended[i].is_duplicate);
        batches[i].last = model->end + (batches[i].last - batches[i].base);
        batches[i].base = model->end;
        CHECK(life, appended[i].last_offset == batches[i].last);
        model_add(life, batches[i]);
        epoch = batches[i].epoch;
    }
    life->epoch = epoch;
    if (has_retry && all_in)
        CHECK(life, items[count].err == OK && appended[count].is_duplicate &&
                        appended[count].base_offset == batches[count - 1].base);
    free(copy);
}

static void step_retry(struct life *life)
{
    const struct model_batch *last = last_of(life, life->producer_base + (int64_t)below(life, PRODUCERS));
    if (!last) return;
    uint8_t *copy = malloc(last->size);
    memcpy(copy, last->bytes, last->size);
    struct log_append how = {.origin = APPEND_CLIENT, .leader_epoch = life->epoch, .now_ms = life->now_ms};
    struct log_appended appended;
    CHECK(life, log_append(life->log, copy, last->size, &how, &appended) == OK);
    CHECK(life, appended.is_duplicate);
    CHECK(life, appended.base_offset == last->base && appended.last_offset == last->last);

    /* One that leaves a gap: behind one that found no room it is to come again, too. */
    int32_t *refused = &life->refused[last->producer_id - life->producer_base];
    bool is_behind = *refused == sequence_add(last->base_sequence, (int32_t)last->record_count);
    batch_set_producer(copy, last->size, last->producer_id, 1, sequence_add(last->base_sequence, 1000),
                       last->is_transactional);
    CHECK(life, log_append(life->log, copy, last->size, &how, &appended) ==
                    (is_behind ? ERR_DISK_FULL : ERR_OUT_OF_ORDER_SEQUENCE_NUMBER));
    if (!is_behind) *refused = -1;
    /* And one of a producer that was replaced. */
    batch_set_producer(copy, last->size, last->producer_id, 0, 0, last->is_transactional);
    CHECK(life, log_append(life->log, copy, last->size, &how, &appended) == ERR_INVALID_PRODUCER_EPOCH);
    free(copy);
}

static void step_end_txn(struct life *life)
{
    int64_t id = life->producer_base + (int64_t)below(life, PRODUCERS);
    if (open_txn_of(&life->model, id, life->forget_before) < 0) return;
    bool is_commit = below(life, 2);
    struct model_batch batch = {.producer_id = id,
                                .base_sequence = -1,
                                .epoch = life->epoch,
                                .is_transactional = true,
                                .is_abort = !is_commit,
                                .is_commit = is_commit,
                                .size = END_TXN_MARKER_SIZE,
                                .record_count = 1,
                                .base = life->model.end,
                                .last = life->model.end,
                                .max_timestamp = life->now_ms};
    if (batch.size > (size_t)life->config.segment_bytes) return;
    batch.bytes = malloc(batch.size);
    batch.timestamps = malloc(sizeof(int64_t));
    batch.timestamps[0] = life->now_ms;
    end_txn_marker_write(batch.bytes, id, 1, 0, is_commit, life->now_ms);
    struct log_append how = {
        .origin = APPEND_COORDINATOR, .leader_epoch = life->epoch, .now_ms = life->now_ms};
    struct log_appended appended;
    CHECK(life, log_append(life->log, batch.bytes, batch.size, &how, &appended) == OK);
    model_add(life, batch);
}

static void model_cut(struct life *life, int64_t offset)
{
    struct model *model = &life->model;
    if (offset >= model->end) return;
    model->end = offset;
    while (model->count > 0 && model->batches[model->count - 1].last >= offset) {
        model->count--;
        if (model->batches[model->count].base < model->end) model->end = model->batches[model->count].base;
    }
    if (model->start > model->end) model->start = model->end;
    if (model->high_watermark > model->end) model->high_watermark = model->end;
}

/* On a full disk all is cut or nothing; nothing only where no batch would be left whole, for then the log begins anew. */
static void step_truncate(struct life *life, bool is_full)
{
    int64_t back = below(life, 5) ? (int64_t)below(life, 12) : (int64_t)below(life, 80);
    int64_t offset = life->model.end - back;
    if (offset < life->model.start) offset = life->model.start;
    life->epoch++; /* logs are cut when leaders change */
    enum error err = log_truncate_to(life->log, offset);
    if (is_full && life->model.start > 0 && err == ERR_DISK_FULL) return;
    CHECK(life, err == OK);
    int64_t start = life->model.start;
    model_cut(life, offset);
    /* With the batch that held the log start went the last that there was to remember anybody by. */
    if (life->model.end < start) life->forget_before = life->model.end;
    log_set_high_watermark(life->log, life->model.high_watermark);
}

static void step_truncate_fully(struct life *life, bool is_full)
{
    int64_t offset = life->model.end + (int64_t)below(life, 50);
    enum error err = log_truncate_fully_and_start_at(life->log, offset);
    if (is_full && err == ERR_DISK_FULL) return; /* nothing has changed */
    CHECK(life, err == OK);
    life->model.count = 0;
    life->model.start = life->model.end = life->model.high_watermark = offset;
    life->forget_before = offset;
    life->txns_known = true;
    log_set_high_watermark(life->log, offset);
}

static void step_retention(struct life *life)
{
    size_t deleted = 0;
    int64_t before = life->model.start, size_before = log_size_bytes(life->log);
    CHECK(life, log_delete_old_segments(life->log, life->model.high_watermark, life->now_ms, &deleted) == OK);
    int64_t start = log_start_offset(life->log);
    CHECK(life, start >= before && start <= life->model.high_watermark);
    CHECK(life, (deleted > 0) || start == before);
    bool has_limit = life->config.retention_bytes >= 0 || life->config.retention_ms >= 0;
    if (!has_limit && deleted > 0) CHECK(life, start == before); /* only what was below the start already */
    if (life->config.retention_ms < 0 && life->config.retention_bytes >= 0 &&
        size_before <= life->config.retention_bytes) {
        CHECK(life, start == before);
    }
    life->model.start = start;
}

static void say(void *context, const char *line)
{
    fprintf(stderr, "%s\n", line);
}

static void step_reopen(struct life *life)
{
    int64_t start = log_start_offset(life->log);
    bool is_closed = false;
    log_store_close(life->store, closed, &is_closed);
    CHECK(life, is_closed);
    struct dump_options options = {.line = say};
    struct verify_report report;
    CHECK(life, verify_path(life->disk, life->path, &options, &report) == OK);
    CHECK(life, report.problems == 0 && report.partitions == 1);
    store_open(life);
    struct log_store_dir dir;
    log_store_dir(life->store, 0, &dir);
    CHECK(life, dir.was_clean && life->log);
    CHECK(life, log_start_offset(life->log) == start);
    CHECK(life, log_synced_end_offset(life->log) == life->model.end);
    CHECK(life, log_high_watermark(life->log) == life->model.high_watermark);
}

/* The batch that was written as these bytes; NULL when nobody ever wrote them. */
static const struct model_batch *history_of(const struct model *model, struct slice bytes)
{
    for (size_t i = model->history_count; i > 0; i--) {
        const struct model_batch *was = &model->history[i - 1];
        if (was->size <= bytes.size && memcmp(was->bytes, bytes.data, was->size) == 0) return was;
    }
    return NULL;
}

/* After a power cut: all that was synced is there, and what else is there was written once. */
static void adopt_what_is_there(struct life *life, int64_t synced, int64_t start_before)
{
    struct model *model = &life->model;
    struct model_batch *found = NULL;
    size_t count = 0, capacity = 0;
    int64_t start = log_start_offset(life->log), end = log_end_offset(life->log);
    CHECK(life, end >= synced);
    for (size_t i = 0; i < model->count && model->batches[i].last < start; i++) {
        assert_true(VEC_RESERVE(found, count, capacity));
        found[count++] = model->batches[i];
    }
    for (int64_t offset = start; offset < end;) {
        struct log_read what = {.offset = offset, .limit_offset = INT64_MAX, .max_bytes = 1 << 30};
        struct log_slice slice;
        CHECK(life, log_read_blocking(life->log, &what, &slice) == OK);
        if (slice.size == 0) break;
        uint8_t *bytes = malloc(slice.size);
        size_t got = 0;
        CHECK(life,
              file_pread(slice.file, bytes, slice.size, slice.position, &got) == OK && got == slice.size);
        for (size_t at = 0; at < slice.size;) {
            const struct model_batch *was = history_of(model, (struct slice){bytes + at, slice.size - at});
            CHECK(life, was != NULL);
            /* Nothing that was cut is under, or behind, what came in its place. */
            if (count > 0 && was->before && found[count - 1].last >= start) {
                const struct model_batch *last = &found[count - 1];
                CHECK(life,
                      last->size == was->before_size && memcmp(last->bytes, was->before, last->size) == 0);
            }
            assert_true(VEC_RESERVE(found, count, capacity));
            found[count++] = *was;
            at += was->size;
            offset = was->last + 1;
        }
        free(bytes);
        log_slice_release(&slice);
    }
    size_t k = 0;
    for (size_t i = 0; i < model->count; i++) {
        const struct model_batch *batch = &model->batches[i];
        if (batch->base < start_before || batch->last < start || batch->last >= synced) continue;
        while (k < count && found[k].base < batch->base) k++;
        CHECK(life, k < count && found[k].bytes == batch->bytes);
    }
    free(model->batches);
    model->batches = found;
    model->count = count;
    model->capacity = capacity;
    model->start = start;
    model->end = end;
    model->high_watermark = log_high_watermark(life->log);
    CHECK(life, model->high_watermark <= end);
}

#ifdef LOOP_IS_SIMULATED
static void reopen_after_crash(struct life *life, int64_t synced, int64_t start)
{
    if (life->store) log_store_abandon(life->store, true);
    store_open(life);
    CHECK(life, life->log != NULL);
    adopt_what_is_there(life, synced, start);
    life->producer_base += PRODUCERS;
    life->forget_before = 0;
    life->txns_known = false;
}

/* The power goes in the middle of something: at one of its writes. */
static void step_crash_inside(struct life *life)
{
    struct model *model = &life->model;
    int64_t synced = log_synced_end_offset(life->log), start = model->start, offset;
    int crashes = sim_machine_crashes(life->machine);
    uint64_t what = below(life, 8);
    bool is_closed = false;
    struct model_batch batch;
    struct log_append how;
    struct log_appended appended;
    if (what == 0 && make_batch(life, &batch, &how))
        model_add(life, batch);
    else if (what == 0)
        what = 1;

    sim_machine_crash_at_write(life->machine, 1 + (int)below(life, 8));
    enum error err = OK;
    if (what == 0) {
        err = log_append(life->log, batch.bytes, batch.size, &how, &appended);
        memcpy(model->history[model->history_count - 1].bytes, batch.bytes, batch.size);
    } else if (what == 1) {
        err = log_roll(life->log, life->now_ms);
    } else if (what == 2) {
        life->epoch++;
        offset = model->end - (int64_t)below(life, 30);
        if (offset < start) offset = start;
        err = log_truncate_to(life->log, offset);
        model_cut(life, offset);
        if (model->end < synced) synced = model->end;
    } else if (what == 3) {
        life->epoch++;
        offset = model->end + 10;
        err = log_truncate_fully_and_start_at(life->log, offset);
        if (err == OK) life->forget_before = offset;
        synced = 0;
    } else if (what == 4) {
        err = log_delete_old_segments(life->log, model->high_watermark, life->now_ms, NULL);
    } else if (what == 5) {
        err = log_flush_now(life->log);
        if (err == OK) synced = log_synced_end_offset(life->log);
    } else if (what == 6) {
        log_store_checkpoint(life->store);
    } else {
        log_store_close(life->store, closed, &is_closed);
        life->store = NULL;
    }
    if (sim_machine_crashes(life->machine) == crashes)
        sim_machine_crash(life->machine);
    else
        CHECK(life, err != OK || what <= 1 || what == 4 ||
                        what >= 6); /* those do part of it behind the caller's back */
    reopen_after_crash(life, synced, start);
}

static void step_disk_full(struct life *life)
{
    sim_disk_full(life->machine, true);
    for (int i = 0; i < 3; i++) {
        struct model_batch batch;
        struct log_append how;
        struct log_appended appended;
        enum error err = ERR_DISK_FULL;
        bool is_small = make_batch(life, &batch, &how);
        if (is_small) err = log_append(life->log, batch.bytes, batch.size, &how, &appended);
        if (is_small) note_refused(life, &batch, &how, err);
        CHECK(life, err == OK || err == ERR_DISK_FULL);
        if (err == OK) {
            model_add(life, batch);
        } else {
            free(batch.bytes);
            free(batch.timestamps);
        }
        check_all(life);
    }
    step_append_many(life, true);
    check_all(life);
    enum error err = log_roll(life->log, life->now_ms);
    CHECK(life, err == OK || err == ERR_DISK_FULL);
    check_all(life);
    if (below(life, 2) == 0) step_truncate(life, true);
    check_all(life);
    if (below(life, 4) == 0) step_truncate_fully(life, true);
    check_all(life);
    sim_disk_full(life->machine, false);
    CHECK(life, !log_is_offline(life->log));
    step_append(life);
}
#endif

static void step_crash(struct life *life)
{
    int64_t synced = log_synced_end_offset(life->log), start = life->model.start;
#ifdef LOOP_IS_SIMULATED
    bool is_kill = below(life, 3) == 0;
    if (is_kill)
        sim_machine_kill(life->machine);
    else
        sim_machine_crash(life->machine);
    if (!is_kill) {
        reopen_after_crash(life, synced, start);
        return;
    }
    log_store_abandon(life->store, true);
    store_open(life);
    CHECK(life, life->log != NULL);
#else
    (void)synced;
    log_store_abandon(life->store, false);
    store_open(life);
    CHECK(life, life->log != NULL);
#endif
    /* The kernel lives, so all is there; only a log start that no checkpoint knew yet may have come back. */
    CHECK(life, log_start_offset(life->log) <= start);
    CHECK(life, log_end_offset(life->log) == life->model.end);
    if (log_start_offset(life->log) < start) adopt_what_is_there(life, life->model.end, start);
    life->model.high_watermark = log_high_watermark(life->log);
}

static void step(struct life *life)
{
    life->now_ms += (int64_t)below(life, 3000);
    uint64_t what = below(life, 100);
    if (life->is_loud) {
        fprintf(stderr, "step %d what %d: start %lld end %lld synced %lld epoch %d\n", life->step, (int)what,
                (long long)life->model.start, (long long)life->model.end,
                (long long)log_synced_end_offset(life->log), (int)life->epoch);
    }
    struct model *model = &life->model;
    if (what < 38) {
        step_append(life);
    } else if (what < 45) {
        step_append_many(life, false);
    } else if (what < 50) {
        step_retry(life);
    } else if (what < 55) {
        step_end_txn(life);
    } else if (what < 57) {
        CHECK(life, log_roll(life->log, life->now_ms) == OK);
    } else if (what < 61) {
        step_truncate(life, false);
    } else if (what < 62) {
        if (below(life, 8) == 0) step_truncate_fully(life, false);
    } else if (what < 64) {
        model->high_watermark += (int64_t)below(life, (uint64_t)(model->end - model->high_watermark) + 1);
        log_set_high_watermark(life->log, model->high_watermark);
    } else if (what < 66) {
        step_retention(life);
    } else if (what < 67) {
        int64_t offset = model->start + (int64_t)below(life, 10);
        enum error err = log_increase_start(life->log, offset);
        CHECK(life, err == (offset > model->high_watermark && offset > model->start ? ERR_OFFSET_OUT_OF_RANGE
                                                                                    : OK));
        if (err == OK && offset > model->start) model->start = offset;
    } else if (what < 70) {
        CHECK(life, log_flush_now(life->log) == OK);
        CHECK(life, log_synced_end_offset(life->log) == model->end);
    } else if (what < 71) {
        log_store_checkpoint(life->store);
    } else if (what < 73) {
        life->epoch++;
        if (below(life, 2)) CHECK(life, log_epoch_assign(life->log, life->epoch, model->end) == OK);
    } else if (what < 75) {
        step_reopen(life);
    } else if (what < 77) {
        step_crash(life);
#ifdef LOOP_IS_SIMULATED
    } else if (what < 79) {
        step_crash_inside(life);
    } else if (what < 80) {
        step_disk_full(life);
#endif
    } else if (what < 88) {
        int64_t span = model->end - model->start + 4;
        int64_t offset = model->start - 2 + (int64_t)below(life, (uint64_t)span);
        int64_t limit = below(life, 2) ? INT64_MAX : offset - 2 + (int64_t)below(life, 30);
        check_read(life, offset, limit, below(life, 2) ? below(life, 2000) : 1 << 20, below(life, 2));
    } else if (what < 91) {
        check_time(life);
    } else if (what < 94) {
        check_epochs(life);
    } else if (what < 97) {
        check_txns(life);
    } else if (what < 99) {
        check_aborted(life);
    } else {
        check_all(life);
    }
}

static void live(uint64_t seed, int steps, bool is_loud)
{
    struct life life;
    life_open(&life, seed);
    life.is_loud = is_loud;
    for (life.step = 0; life.step < steps; life.step++) step(&life);
    check_all(&life);
    step_reopen(&life);
    check_all(&life);
    life_close(&life);
}

static void quiet(void *context, enum diag_level level, const char *message)
{
    if (getenv("LIFE_SEED")) fprintf(stderr, "%s\n", message);
}

/* LIFE_SEED=17 lives that one aloud; LIFE_COUNT=1000 more of them than a quick test wants. */
static void random_lives(void **state)
{
    diag_set_sink(quiet, NULL);
    const char *seed = getenv("LIFE_SEED"), *lives = getenv("LIFE_COUNT");
    uint64_t first = seed ? strtoull(seed, NULL, 10) : 1;
#ifdef LOOP_IS_SIMULATED
    const uint64_t usual = 700;
#else
    const uint64_t usual = 12; /* each syncs a real disk hundreds of times */
#endif
    uint64_t count = seed ? 1 : lives ? strtoull(lives, NULL, 10) : usual;
    for (uint64_t i = first; i < first + count; i++) live(i, 400, seed != NULL);
    diag_set_sink(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_lives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
