/* log_life.h: one log and the model that it is held against: a list of the batches that were let in. log_life_test.c lives it.
 * Every failure names its seed. */
#pragma once
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "storage/log_store.h"
#ifdef LOOP_IS_SIMULATED
#include "loop/sim.h"
#else
#include "loop/loop.h"
#endif

/* --- the model --- */

struct model_batch {
    int64_t base, last, max_timestamp;
    int64_t producer_id;
    int32_t base_sequence, epoch;
    bool is_transactional, is_abort, is_commit;
    size_t size, record_count;
    uint8_t *bytes;
    int64_t *timestamps;   /* of each record */
    const uint8_t *before; /* bytes of the batch that it was written behind; NULL when none was there */
    size_t before_size;
};

struct model {
    struct model_batch *batches; /* of the log from its very beginning, also those retention took */
    size_t count, capacity;
    struct model_batch *history; /* all that were ever written; owns the memory */
    size_t history_count, history_capacity;
    int64_t start, end, high_watermark;
};

#define PRODUCERS 3

struct life {
    struct model model;
    struct random random;
    uint64_t seed;
    int step;
    bool is_loud;
    int64_t now_ms;
    int32_t epoch;
    int64_t producer_base; /* ids in use; others after a power cut, for what it left of theirs is a guess */
    int32_t refused[PRODUCERS]; /* of the batch that found no room and has not come again; -1 none */
    bool txns_known;
    int64_t forget_before; /* batches of producers below were dropped with it */
    struct log_config config;
    struct log_store_options options;
    const char *dirs[1];
    char path[64];
    struct disk *disk;
    struct log_store *store;
    struct log *log;
#ifdef LOOP_IS_SIMULATED
    struct sim *sim;
    struct sim_machine *machine;
#else
    struct descriptors *descriptors;
#endif
};

#define CHECK(life, condition)                                                                               \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            fail_msg("seed %llu step %d: %s", (unsigned long long)(life)->seed, (life)->step, #condition);   \
    } while (0)

static inline uint64_t below(struct life *life, uint64_t bound)
{
    return random_below(&life->random, bound);
}

/* --- opening and closing --- */

static inline void loaded(void *context, enum error err, const char *why)
{
    if (err != OK) fail_msg("load: %s %s", error_text(err), why);
}

static inline void closed(void *context)
{
    *(bool *)context = true;
}

static inline void refused_forget(struct life *life)
{
    for (int i = 0; i < PRODUCERS; i++) life->refused[i] = -1;
}

static inline void store_open(struct life *life)
{
    refused_forget(life); /* that is not on disk */
    struct text why = {0};
#ifdef LOOP_IS_SIMULATED
    life->disk = sim_machine_disk(life->machine);
#endif
    life->options.disk = life->disk;
    enum error err = log_store_open(&life->options, &life->store, &why);
    if (err == OK) err = log_store_claim(life->store, "a-cluster", 1, &why);
    if (err != OK)
        fail_msg("seed %llu: open: %s %s", (unsigned long long)life->seed, error_text(err), why.data);
    text_free(&why);
    log_store_load(life->store, loaded, life);
    life->log = log_store_find(life->store, slice_of("t-1"), 7);
    if (life->log) log_configure(life->log, &life->config);
}

static inline void life_open(struct life *life, uint64_t seed)
{
    *life = (struct life){.seed = seed, .now_ms = 1700000000000, .producer_base = 1000, .txns_known = true};
    refused_forget(life);
    random_seed(&life->random, seed);
#ifdef LOOP_IS_SIMULATED
    assert_int_equal(sim_new(seed, &life->sim), OK);
    assert_int_equal(sim_machine_new(life->sim, "one", &life->machine), OK);
    strcpy(life->path, "/data");
#else
    life->descriptors = descriptors_new(64);
    life->disk = disk_new(life->descriptors);
    strcpy(life->path, "/tmp/odradek-log-XXXXXX");
    assert_non_null(mkdtemp(life->path));
#endif
    log_store_options_default(&life->options);
    life->dirs[0] = life->path;
    life->options.dirs = life->dirs;
    life->options.dir_count = 1;
    struct log_config *config = &life->options.config;
    config->segment_bytes = 1000 + (int64_t)below(life, 6000);
    config->index_interval_bytes = (int64_t)below(life, 3) * 300;
    config->segment_index_bytes = below(life, 4) ? 1 << 20 : 48;
    config->segment_ms = below(life, 3) ? 604800000 : 20000;
    config->segment_jitter_ms = below(life, 2) ? 0 : 5000;
    config->retention_bytes = below(life, 2) ? -1 : 20000;
    config->retention_ms = below(life, 2) ? -1 : 100000;
    config->timestamp_after_max_ms = INT64_MAX;
    config->flush_messages = below(life, 4) ? INT64_MAX : 1;
    config->preallocate = below(life, 5) == 0;
    life->config = *config;
    store_open(life);
    struct uuid id = {{1, 2, 3}};
    assert_int_equal(log_store_create(life->store, slice_of("t-1"), 7, &id, &life->config, &life->log), OK);
    assert_int_equal(log_flush_now(life->log), OK);
}

static inline void life_close(struct life *life)
{
    bool is_closed = false;
    log_store_close(life->store, closed, &is_closed);
    CHECK(life, is_closed);
    for (size_t i = 0; i < life->model.history_count; i++) {
        free(life->model.history[i].bytes);
        free(life->model.history[i].timestamps);
    }
    free(life->model.history);
    free(life->model.batches);
#ifdef LOOP_IS_SIMULATED
    sim_free(life->sim);
#else
    assert_int_equal(disk_remove_tree(life->disk, life->path), OK);
    disk_free(life->disk);
    descriptors_free(life->descriptors);
#endif
}

/* --- what must hold of any log at any time --- */

static inline size_t model_find(const struct model *model, int64_t offset)
{
    size_t i = 0;
    while (i < model->count && model->batches[i].last < offset) i++;
    return i;
}

static inline void check_read(struct life *life, int64_t offset, int64_t limit, size_t max_bytes,
                              bool min_one)
{
    const struct model *model = &life->model;
    struct log_read what = {
        .offset = offset, .limit_offset = limit, .max_bytes = max_bytes, .min_one_batch = min_one};
    struct log_slice slice = {0};
    enum error err;
    int way = (int)below(life, 3);
    if (way == 0)
        err = log_read(life->log, &what, &slice);
    else
        err = ERR_AGAIN;
    if (err == ERR_AGAIN && way == 1) {
        struct log_cold_read cold;
        err = log_cold_read_begin(life->log, &what, &cold);
        if (err == OK) {
            log_cold_read_work(&cold);
            err = log_cold_read_end(life->log, &cold, &slice);
        }
    } else if (err == ERR_AGAIN) {
        err = log_read_blocking(life->log, &what, &slice);
    }
    if (offset < model->start || offset > model->end) {
        CHECK(life, err == ERR_OFFSET_OUT_OF_RANGE);
        return;
    }
    CHECK(life, err == OK);

    size_t i = model_find(model, offset);
    if (limit > model->end) limit = model->end;
    bool has_any = offset < limit && i < model->count && model->batches[i].last < limit;
    bool fits = has_any && (min_one || model->batches[i].size <= max_bytes);
    if (!has_any || !fits) {
        CHECK(life, slice.size == 0 && slice.file == NULL);
        return;
    }
    CHECK(life, slice.size > 0 && slice.file != NULL);
    CHECK(life, slice.base_offset == model->batches[i].base);
    CHECK(life, slice.first_batch_size == (int64_t)model->batches[i].size);
    CHECK(life, slice.size <= max_bytes || slice.size == model->batches[i].size);

    uint8_t *bytes = malloc(slice.size);
    size_t got = 0;
    CHECK(life, file_pread(slice.file, bytes, slice.size, slice.position, &got) == OK && got == slice.size);
    for (size_t at = 0; at < slice.size; i++) {
        CHECK(life, i < model->count && model->batches[i].last < limit);
        size_t size = model->batches[i].size < slice.size - at ? model->batches[i].size : slice.size - at;
        CHECK(life, memcmp(bytes + at, model->batches[i].bytes, size) == 0);
        at += size;
    }
    free(bytes);
    log_slice_release(&slice);
}

/* From the start to the end, segment by segment. */
static inline void check_all(struct life *life)
{
    const struct model *model = &life->model;
    CHECK(life, log_start_offset(life->log) == model->start);
    CHECK(life, log_end_offset(life->log) == model->end);
    CHECK(life, log_synced_end_offset(life->log) <= model->end);
    CHECK(life, log_partition(life->log) == 7 && slice_is(log_topic(life->log), "t-1"));
    CHECK(life, log_topic_id(life->log)->bytes[1] == 2);
    size_t i = model_find(model, model->start);
    for (int64_t offset = model->start; offset < model->end;) {
        struct log_read what = {.offset = offset, .limit_offset = INT64_MAX, .max_bytes = 1 << 30};
        struct log_slice slice;
        enum error err = log_read_blocking(life->log, &what, &slice);
        CHECK(life, err == OK);
        if (slice.size == 0) {
            CHECK(life, i == model->count); /* the end may lie beyond the last batch */
            break;
        }
        uint8_t *bytes = malloc(slice.size);
        size_t got = 0, at = 0;
        CHECK(life,
              file_pread(slice.file, bytes, slice.size, slice.position, &got) == OK && got == slice.size);
        while (at < slice.size) {
            CHECK(life, i < model->count && model->batches[i].size <= slice.size - at);
            CHECK(life, memcmp(bytes + at, model->batches[i].bytes, model->batches[i].size) == 0);
            at += model->batches[i].size;
            offset = model->batches[i++].last + 1;
        }
        free(bytes);
        log_slice_release(&slice);
    }
    CHECK(life, i == model->count);
}

static inline void check_time(struct life *life)
{
    const struct model *model = &life->model;
    int64_t asked = below(life, 8) ? life->now_ms - (int64_t)below(life, 60000) : LOG_TIME_MAX, largest = -1;
    struct log_time_found want = {-1, -1, -1}, found;
    for (size_t i = 0; i < model->count; i++) {
        const struct model_batch *batch = &model->batches[i];
        for (size_t r = 0; r < batch->record_count; r++) {
            int64_t offset = batch->base + (int64_t)r, timestamp = batch->timestamps[r];
            if (offset < model->start) continue;
            bool is_it = asked == LOG_TIME_MAX ? timestamp > largest : timestamp >= asked && want.offset < 0;
            if (is_it) want = (struct log_time_found){offset, timestamp, batch->epoch};
            if (is_it) largest = timestamp;
        }
    }
    CHECK(life, log_offset_for_time(life->log, asked, &found) == OK);
    CHECK(life, found.offset == want.offset);
    CHECK(life, found.timestamp == want.timestamp);
    CHECK(life, found.leader_epoch == want.leader_epoch);
}

static inline void check_epochs(struct life *life)
{
    const struct model *model = &life->model;
    if (model->start == model->end) return;
    int64_t offset = model->start + (int64_t)below(life, (uint64_t)(model->end - model->start));
    size_t i = model_find(model, offset);
    if (i == model->count) return;
    CHECK(life, log_epoch_of(life->log, offset) == model->batches[i].epoch);
    /* Where the epoch of this batch ended: the first batch of a later one. */
    int64_t end = model->end;
    for (size_t k = model->count; k > i && model->batches[k - 1].epoch > model->batches[i].epoch; k--) {
        end = model->batches[k - 1].base;
    }
    struct epoch_end answer = log_epoch_end(life->log, model->batches[i].epoch);
    CHECK(life, answer.epoch == model->batches[i].epoch);
    CHECK(life, answer.end_offset == end || end == model->end);
}

static inline int64_t open_txn_of(const struct model *model, int64_t producer_id, int64_t from)
{
    int64_t open = -1;
    for (size_t i = 0; i < model->count; i++) {
        const struct model_batch *batch = &model->batches[i];
        if (batch->producer_id != producer_id || batch->base < from) continue;
        if (batch->is_abort || batch->is_commit)
            open = -1;
        else if (batch->is_transactional && open < 0)
            open = batch->base;
    }
    return open;
}

static inline void check_txns(struct life *life)
{
    int64_t first = INT64_MAX;
    if (!life->txns_known) return;
    for (int64_t id = life->producer_base; id < life->producer_base + PRODUCERS; id++) {
        int64_t open = open_txn_of(&life->model, id, life->forget_before);
        if (open >= 0 && open < first) first = open;
    }
    CHECK(life, log_first_unstable_offset(life->log) == first);
}

struct aborted_list {
    struct log_aborted_txn txns[256];
    size_t count;
};

static inline void add_aborted(void *context, const struct log_aborted_txn *txn)
{
    struct aborted_list *list = context;
    if (list->count < 256) list->txns[list->count++] = *txn;
}

/* Every record of an aborted transaction in the slice must be covered by the list. */
static inline void check_aborted(struct life *life)
{
    const struct model *model = &life->model;
    if (model->start == model->end) return;
    int64_t offset = model->start + (int64_t)below(life, (uint64_t)(model->end - model->start));
    struct log_read what = {
        .offset = offset, .limit_offset = INT64_MAX, .max_bytes = 3000, .min_one_batch = true};
    struct log_slice slice;
    CHECK(life, log_read_blocking(life->log, &what, &slice) == OK);
    struct aborted_list list = {.count = 0};
    CHECK(life, log_aborted_txns(life->log, offset, &slice, add_aborted, &list) == OK);
    size_t at = 0;
    for (size_t i = model_find(model, offset); i < model->count && at < slice.size;
         at += model->batches[i++].size) {
        const struct model_batch *batch = &model->batches[i];
        if (!batch->is_transactional || batch->is_abort || batch->is_commit) continue;
        if (batch->producer_id < life->producer_base) continue;
        /* How did it end? */
        size_t k = i;
        while (k < model->count && (model->batches[k].producer_id != batch->producer_id ||
                                    !(model->batches[k].is_abort || model->batches[k].is_commit))) {
            k++;
        }
        if (k == model->count || !model->batches[k].is_abort || life->forget_before > batch->base) continue;
        bool is_listed = false;
        for (size_t t = 0; t < list.count; t++) {
            is_listed |=
                list.txns[t].producer_id == batch->producer_id && list.txns[t].first_offset <= batch->base;
        }
        CHECK(life, is_listed || list.count == 256);
    }
    log_slice_release(&slice);
}
