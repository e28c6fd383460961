/* statelog.c: see statelog.h. Loading reads ahead of nothing: one run of batches at a time, replayed in slices of a
 * millisecond. Writing gathers the operations of one turn into one batch, appends it when the turn ends, and completes
 * operations from the front of one queue as the high watermark moves. */
#include "statelog/statelog.h"

#include <assert.h>
#include <stdlib.h>

#include "base/diag.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "replica/partition.h"
#include "storage/log.h"
#include "wire/batch.h"
#include "wire/record.h"

#define SLICE_US 1000    /* what a replay takes of the loop before others run */
#define SLICE_BATCHES 8  /* replayed between two looks at the clock */
#define SLOW_LOAD_MS 100 /* a quicker load is not worth a line: there are fifty of them */
#define LOAD_LOOK_MS 100 /* between two looks at whether enough are in sync */
#define READ_SIZE ((size_t)1 << 20)
#define GATHER_SIZE                                                                                          \
    ((size_t)64 << 10) /* a batch of several operations grows to this; one operation may be larger */

/* A read made by a worker. It outlives its statelog if that is closed meanwhile. */
struct load_job {
    struct lane_job job;
    struct log_cold_read read;
    struct statelog *log; /* NULL: closed */
};

struct statelog {
    struct partition *partition;
    struct loop *loop;
    struct statelog_config config;
    const struct statelog_user *user;
    void *state;
    int32_t leader_epoch;
    bool is_loaded, is_closed;

    /* loading */
    struct load_job *job;
    uint8_t *buffer;
    size_t buffer_size;
    struct slice run; /* of the buffer, not replayed yet */
    int64_t start_offset, next_offset;
    int64_t load_began_ms;

    /* writing: gathered, in the builder -> waiting, in the log */
    struct batch_builder builder;
    bool is_gathering;
    struct list gathered, waiting, refused, clock;
    size_t op_count;
    int64_t written_end;
    struct partition_waiter waiter;
    struct loop_timer timer;

    struct loop_message turn; /* deferred or posted: work for this loop */
    bool is_turn_due, is_settling;
};

static void statelog_run_turn(struct loop_message *message);
static void load_read(struct statelog *log);

static void statelog_free(struct statelog *log)
{
    batch_builder_free(&log->builder);
    free(log->buffer);
    free(log);
}

/* --- loading --- */

static void load_end(struct statelog *log, enum error err)
{
    int32_t index = partition_index(log->partition);
    struct slice topic = partition_topic(log->partition);
    int64_t took_ms = loop_now_ms(log->loop) - log->load_began_ms;
    if (err != OK) {
        diag_error("%s could not load %.*s-%d at offset %lld: %s", log->config.name, SLICE_ARG(topic), index,
                   (long long)log->next_offset, error_text(err));
    } else if (took_ms >= SLOW_LOAD_MS) {
        diag_info("%s loaded %.*s-%d to offset %lld in %lld ms", log->config.name, SLICE_ARG(topic), index,
                  (long long)log->next_offset, (long long)took_ms);
    }
    free(log->buffer);
    log->buffer = NULL;
    if (log->waiter.is_waiting) partition_wait_cancel(&log->waiter);
    loop_timer_stop(log->loop, &log->timer);
    log->is_loaded = err == OK;
    log->user->loaded(log->state, err);
}

/* All is read. What is not committed another leader may yet take back, and the next power cut what is not on the disk: both must be
 * before anybody hears of it. While too few are in sync nothing is committed, and members want to go on all the same. */
static void load_reached(struct statelog *log)
{
    struct partition *partition = log->partition;
    if (partition_high_watermark(partition) >= log->next_offset) return load_end(log, OK);
    if (log->waiter.is_waiting) partition_wait_cancel(&log->waiter);
    if (partition_isr_count(partition) >= partition_effective_min_insync(partition)) {
        partition_wait_committed(partition, &log->waiter, log->next_offset);
        loop_timer_start(log->loop, &log->timer, LOAD_LOOK_MS); /* there may be too few soon */
        return;
    }
    bool is_safe = !partition_syncs_before_ack(partition) ||
                   log_synced_end_offset(partition_log(partition)) >= log->next_offset;
    if (is_safe) return load_end(log, OK);
    partition_wait_durable(partition, &log->waiter, log->next_offset);
}

/* Another turn of this loop, after others had theirs. */
static void load_again(struct statelog *log)
{
    assert(!log->is_turn_due);
    log->is_turn_due = true;
    loop_post(log->loop, &log->turn);
}

static void load_replay(struct statelog *log)
{
    int64_t began_us = loop_clock_us(log->loop);
    while (log->run.size > 0) {
        int64_t end_offset = log->next_offset;
        size_t before = log->run.size;
        enum error err = statelog_replay_run(&log->run, log->start_offset, SLICE_BATCHES, log->user,
                                             log->state, &end_offset);
        if (end_offset > log->next_offset) log->next_offset = end_offset;
        if (err != OK) return load_end(log, err);
        if (log->run.size == before) log->run = SLICE_NULL; /* a cut batch is all that is left */
        if (loop_clock_us(log->loop) - began_us > SLICE_US) break;
    }
    /* Reading on is left to another turn even when it would not wait: then every step begins here. */
    load_again(log);
}

/* Takes the bytes of a slice, whose reference it drops. */
static void load_take(struct statelog *log, struct log_slice *slice)
{
    size_t got = 0;
    enum error err = OK;
    if (slice->size > log->buffer_size) {
        uint8_t *grown = realloc(log->buffer, slice->size);
        if (!grown) err = ERR_NOMEM;
        if (grown) log->buffer = grown, log->buffer_size = slice->size;
    }
    if (err == OK) err = file_pread(slice->file, log->buffer, slice->size, slice->position, &got);
    log_slice_release(slice);
    if (err != OK) return load_end(log, err);

    int64_t before = log->next_offset;
    log->run = (struct slice){log->buffer, got};
    /* The first batch must come whole, or loading would ask for it for ever. */
    int64_t end_offset = before;
    err = statelog_replay_run(&log->run, log->start_offset, 1, log->user, log->state, &end_offset);
    if (err == OK && end_offset <= before) err = ERR_CORRUPT;
    if (err != OK) return load_end(log, err);
    log->next_offset = end_offset;
    load_replay(log);
}

static void load_work(struct lane_job *lane_job)
{
    struct load_job *job = CONTAINER_OF(lane_job, struct load_job, job);
    log_cold_read_work(&job->read);
}

static void load_worked(struct lane_job *lane_job)
{
    struct load_job *job = CONTAINER_OF(lane_job, struct load_job, job);
    struct statelog *log = job->log;
    struct log_slice slice = {0};
    enum error err = log_cold_read_end(log ? partition_log(log->partition) : NULL, &job->read, &slice);
    free(job);
    if (!log) {
        if (err == OK) log_slice_release(&slice);
        return;
    }
    log->job = NULL;
    if (err == ERR_AGAIN) return load_again(log);
    if (err != OK) return load_end(log, err);
    if (slice.size == 0) return load_reached(log);
    load_take(log, &slice);
}

static void load_cold(struct statelog *log, const struct log_read *what)
{
    struct load_job *job = calloc(1, sizeof *job);
    if (!job) return load_end(log, ERR_NOMEM);
    enum error err = log_cold_read_begin(partition_log(log->partition), what, &job->read);
    if (err != OK) {
        free(job);
        return err == ERR_AGAIN ? load_again(log) : load_end(log, err);
    }
    job->log = log;
    job->job = (struct lane_job){.work = load_work, .done = load_worked};
    log->job = job;
    lane_submit(log->config.lane, log->loop, &job->job);
}

static void load_read(struct statelog *log)
{
    struct log *storage = partition_log(log->partition);
    if (!storage) return load_end(log, ERR_KAFKA_STORAGE_ERROR);
    int64_t end_offset = log_end_offset(storage);
    if (log->next_offset < log_start_offset(storage)) log->next_offset = log_start_offset(storage);
    if (log->next_offset >= end_offset) return load_reached(log);

    size_t size = log->config.load_buffer_bytes;
    if (size == 0 || size > READ_SIZE) size = READ_SIZE;
    struct log_read what = {log->next_offset, end_offset, size, true};
    struct log_slice slice = {0};
    enum error err = log_read(storage, &what, &slice);
    bool is_cold = err == ERR_AGAIN ||
                   (err == OK && slice.size && !file_is_cached(slice.file, slice.position, slice.size));
    if (is_cold && log->config.lane) {
        if (err == OK) log_slice_release(&slice);
        return load_cold(log, &what);
    }
    if (err == ERR_AGAIN) err = log_read_blocking(storage, &what, &slice);
    if (err != OK) return load_end(log, err);
    if (slice.size == 0) return load_reached(log);
    load_take(log, &slice);
}

/* --- writing --- */

/* The turn's end: batches close, operations complete. */
static void due_turn(struct statelog *log)
{
    if (log->is_turn_due || log->is_settling) return;
    log->is_turn_due = true;
    loop_defer(log->loop, &log->turn);
}

static void refuse(struct statelog *log, struct statelog_op *op, enum error err)
{
    op->refusal = err;
    list_push_back(&log->refused, &op->link);
    due_turn(log);
}

/* Hands what was gathered to the log. Completes nothing. */
static void flush(struct statelog *log)
{
    if (!log->is_gathering) return;
    log->is_gathering = false;

    struct slice batch;
    struct log_appended appended = {0};
    enum error err = batch_builder_finish(&log->builder, &batch);
    if (err == OK && partition_leader_epoch(log->partition) != log->leader_epoch)
        err = ERR_NOT_LEADER_OR_FOLLOWER;
    if (err == OK) {
        /* The builder's bytes are ours alone until its next start, so the log may stamp them. */
        err = partition_append(log->partition, (uint8_t *)batch.data, batch.size, -1, APPEND_COORDINATOR,
                               loop_wall_ms(log->loop), &appended);
    }
    if (err == OK) log->written_end = appended.last_offset + 1;

    LIST_EACH(&log->gathered, item)
    {
        struct statelog_op *op = CONTAINER_OF(item, struct statelog_op, link);
        list_remove(&op->link);
        bool is_barrier = op->last_delta < 0;
        if (err != OK && !is_barrier) {
            refuse(log, op, err);
            continue;
        }
        op->last_offset = is_barrier ? op->end_offset - 1 : appended.base_offset + op->last_delta;
        op->end_offset = is_barrier ? op->end_offset : log->written_end;
        list_push_back(&log->waiting, &op->link);
    }
}

static void waiter_run(struct partition_waiter *waiter, enum error err)
{
    struct statelog *log = CONTAINER_OF(waiter, struct statelog, waiter);
    if (err != OK) {
        /* No longer leader at this epoch: nobody knows what becomes of these records. The owner hears of it by
         * LeaderAndIsr too and closes us. */
        while (!list_empty(&log->waiting)) {
            struct statelog_op *op = CONTAINER_OF(log->waiting.next, struct statelog_op, link);
            list_remove(&op->link);
            refuse(log, op, err);
        }
    }
    due_turn(log);
}

static void finish(struct statelog *log, struct statelog_op *op, enum error err)
{
    list_remove(&op->link);
    list_remove(&op->clock_link);
    log->op_count--;
    op->done(op, err);
}

static void settle(struct statelog *log)
{
    log->is_settling = true; /* what done() writes is gathered for the flush below */
    do {
        flush(log);
        while (!list_empty(&log->refused)) {
            struct statelog_op *op = CONTAINER_OF(log->refused.next, struct statelog_op, link);
            finish(log, op, op->refusal);
            if (log->is_closed) return;
        }
        int64_t high_watermark = partition_high_watermark(log->partition);
        while (!list_empty(&log->waiting)) {
            struct statelog_op *op = CONTAINER_OF(log->waiting.next, struct statelog_op, link);
            if (op->end_offset > high_watermark) break;
            finish(log, op, OK);
            if (log->is_closed) return;
        }
    } while (log->is_gathering || !list_empty(&log->refused));
    log->is_settling = false;

    if (!list_empty(&log->waiting) && !log->waiter.is_waiting) {
        struct statelog_op *first = CONTAINER_OF(log->waiting.next, struct statelog_op, link);
        partition_wait_committed(log->partition, &log->waiter, first->end_offset);
    }
}

static void clock_start(struct statelog *log)
{
    if (list_empty(&log->clock)) return;
    struct statelog_op *first = CONTAINER_OF(log->clock.next, struct statelog_op, clock_link);
    loop_timer_start(log->loop, &log->timer, first->deadline_ms - loop_now_ms(log->loop));
}

static void clock_run(struct loop_timer *timer)
{
    struct statelog *log = CONTAINER_OF(timer, struct statelog, timer);
    if (!log->is_loaded) {
        if (!log->is_turn_due) load_again(log);
        return;
    }
    int64_t now_ms = loop_now_ms(log->loop);
    log->is_settling = true; /* we stay alive if timed_out() closes us */
    while (!list_empty(&log->clock)) {
        struct statelog_op *op = CONTAINER_OF(log->clock.next, struct statelog_op, clock_link);
        if (op->deadline_ms > now_ms) break;
        list_remove(&op->clock_link);
        if (op->timed_out) op->timed_out(op);
        if (log->is_closed) return;
    }
    log->is_settling = false;
    if (log->op_count > 0) due_turn(log);
    clock_start(log);
}

void statelog_write(struct statelog *log, struct statelog_op *op, const struct statelog_entry *entries,
                    size_t count)
{
    assert(log->is_loaded && !log->is_closed);
    list_init(&op->link);
    list_init(&op->clock_link);
    op->deadline_ms = loop_now_ms(log->loop) + log->config.write_timeout_ms;
    op->last_delta = -1;
    log->op_count++;
    if (log->op_count > STATELOG_OPERATIONS_MAX) return refuse(log, op, ERR_LIMIT);

    list_push_back(&log->clock, &op->clock_link);
    if (!loop_timer_running(&log->timer)) clock_start(log);

    if (count == 0) {
        op->end_offset = log->written_end;
        list_push_back(log->is_gathering ? &log->gathered : &log->waiting, &op->link);
        return due_turn(log);
    }

    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += batch_record_size_max(entries[i].key, entries[i].value, NULL, 0);
    if (log->is_gathering && batch_builder_size(&log->builder) + size > GATHER_SIZE) flush(log);
    if (!log->is_gathering) {
        struct batch_options options = BATCH_OPTIONS_DEFAULT;
        options.codec = log->config.codec;
        options.level = codec_default_level(options.codec);
        batch_builder_start(&log->builder, &options);
    }

    /* All or none: a batch that took half an operation is given up with all that is in it. */
    enum error err = OK;
    int64_t now_ms = loop_wall_ms(log->loop);
    for (size_t i = 0; i < count && err == OK; i++) {
        err = batch_builder_add(&log->builder, now_ms, entries[i].key, entries[i].value, NULL, 0);
    }
    if (err != OK) {
        while (!list_empty(&log->gathered)) {
            struct statelog_op *other = CONTAINER_OF(log->gathered.next, struct statelog_op, link);
            list_remove(&other->link);
            refuse(log, other, err);
        }
        log->is_gathering = false;
        return refuse(log, op, err);
    }
    log->is_gathering = true;
    op->last_delta = log->builder.last_offset_delta;
    list_push_back(&log->gathered, &op->link);
    due_turn(log);
}

/* --- life --- */

static void statelog_run_turn(struct loop_message *message)
{
    struct statelog *log = CONTAINER_OF(message, struct statelog, turn);
    log->is_turn_due = false;
    if (log->is_closed) return statelog_free(log);
    if (log->is_loaded) return settle(log);
    if (log->run.size > 0) return load_replay(log);
    load_read(log);
}

enum error statelog_new(struct partition *partition, const struct statelog_config *config,
                        const struct statelog_user *user, void *state, struct statelog **out)
{
    struct statelog *log = calloc(1, sizeof *log);
    if (!log) return ERR_NOMEM;
    log->partition = partition;
    log->loop = partition_home(partition);
    log->config = *config;
    log->user = user;
    log->state = state;
    log->leader_epoch = partition_leader_epoch(partition);
    log->start_offset = log->next_offset = log_start_offset(partition_log(partition));
    log->load_began_ms = loop_now_ms(log->loop);
    list_init(&log->gathered);
    list_init(&log->waiting);
    list_init(&log->refused);
    list_init(&log->clock);
    list_init(&log->waiter.link);
    log->waiter.run = waiter_run;
    log->timer.run = clock_run;
    log->turn.run = statelog_run_turn;
    load_again(log);
    *out = log;
    return OK;
}

void statelog_close(struct statelog **log_to_close)
{
    struct statelog *log = *log_to_close;
    *log_to_close = NULL;
    if (!log) return;
    assert(!log->is_closed);
    log->is_closed = true;
    if (log->job) log->job->log = NULL;
    if (log->waiter.is_waiting) partition_wait_cancel(&log->waiter);
    loop_timer_stop(log->loop, &log->timer);

    struct list *queues[] = {&log->refused, &log->waiting, &log->gathered};
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
        while (!list_empty(queues[i])) {
            finish(log, CONTAINER_OF(queues[i]->next, struct statelog_op, link), ERR_NOT_COORDINATOR);
        }
    }
    /* A turn that is due still holds our message, and settle() may be below us on the stack with its turn run. */
    if (!log->is_turn_due && !log->is_settling) return statelog_free(log);
    if (!log->is_turn_due) {
        log->is_turn_due = true;
        loop_defer(log->loop, &log->turn);
    }
}

bool statelog_is_loaded(const struct statelog *log)
{
    return log->is_loaded;
}

int32_t statelog_leader_epoch(const struct statelog *log)
{
    return log->leader_epoch;
}
