/* fake_partition.h: for tests of coordinators: loops that are queues, partitions that are arrays, time that is a number.
 *
 * Defines the functions of loop/, replica/ and storage/ that statelog/ and group/ call; the linker takes these before the
 * libraries' own. A test says when replication moves (fake_replicate), leadership is lost (fake_depose) and time passes.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "replica/partition.h"
#include "storage/log.h"
#include "wire/batch.h"

enum { FAKE_QUEUE = 4096, FAKE_TIMERS = 16, FAKE_PARTITIONS = 8 };

struct loop {
    int64_t now_ms;
    struct loop_message *queue[FAKE_QUEUE];
    size_t count;
    struct loop_timer *timers[FAKE_TIMERS];
    struct random random;
};

struct file {
    struct partition *partition;
};

/* Its log is itself. */
struct partition {
    struct loop *loop;
    int32_t index;
    uint8_t *bytes;
    size_t size;
    int64_t end_offset, high_watermark, start_offset;
    int32_t epoch;
    enum error append_error;
    bool is_cold;         /* nothing of the log is in memory */
    bool is_cut;          /* a truncation came between the steps of a cold read, once */
    bool is_alone;        /* the only replica: the high watermark follows each append */
    bool is_short_of_isr; /* too few replicas are in sync */
    size_t read_limit;    /* 0 = none: how many bytes a read gives at most */
    struct partition_waiter *waiter;
    struct file file;
    int appends;
};

static struct loop *fake_current; /* whose turn it is; NULL: everybody's */
static struct partition *fake_partitions[FAKE_PARTITIONS];

/* --- loop/ --- */

int64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}
int64_t loop_wall_ms(const struct loop *loop)
{
    return 1700000000000 + loop->now_ms;
}
int64_t loop_clock_us(const struct loop *loop)
{
    return loop->now_ms * 1000;
}
bool loop_is_current(const struct loop *loop)
{
    return !fake_current || fake_current == loop;
}
void loop_random(struct loop *loop, void *out, size_t size)
{
    random_fill(&loop->random, out, size);
}
void loop_post(struct loop *to, struct loop_message *message)
{
    assert_true(to->count < FAKE_QUEUE);
    to->queue[to->count++] = message;
}
void loop_defer(struct loop *loop, struct loop_message *message)
{
    loop_post(loop, message);
}
void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    for (size_t i = 0; i < FAKE_TIMERS; i++) {
        if (loop->timers[i] == timer) loop->timers[i] = NULL;
    }
    timer->heap_index = 0;
}
void loop_timer_start(struct loop *loop, struct loop_timer *timer, int64_t delay_ms)
{
    size_t place = 0;
    loop_timer_stop(loop, timer);
    while (place < FAKE_TIMERS && loop->timers[place]) place++;
    assert_true(place < FAKE_TIMERS);
    timer->due_ms = loop->now_ms + (delay_ms > 0 ? delay_ms : 0);
    timer->heap_index = 1;
    loop->timers[place] = timer;
}
static void fake_lane_finished(struct loop_message *message)
{
    struct lane_job *job = CONTAINER_OF(message, struct lane_job, finished);
    job->done(job);
}
void lane_submit(struct lane *lane, struct loop *loop, struct lane_job *job)
{
    job->work(job);
    job->finished.run = fake_lane_finished;
    loop_post(loop, &job->finished);
}

/* --- replica/ and storage/ --- */

static inline struct partition *fake_of(const struct log *log)
{
    return (struct partition *)log;
}
struct slice partition_topic(const struct partition *partition)
{
    return SLICE("__state");
}
int32_t partition_index(const struct partition *partition)
{
    return partition->index;
}
int32_t partition_leader_epoch(const struct partition *partition)
{
    return partition->epoch;
}
struct loop *partition_home(const struct partition *partition)
{
    return partition->loop;
}
struct log *partition_log(struct partition *partition)
{
    return (struct log *)partition;
}
int64_t partition_high_watermark(const struct partition *partition)
{
    return partition->high_watermark;
}
int64_t log_start_offset(const struct log *log)
{
    return fake_of(log)->start_offset;
}
int64_t log_end_offset(const struct log *log)
{
    return fake_of(log)->end_offset;
}
void log_slice_release(struct log_slice *slice)
{
    slice->file = NULL;
}
bool file_is_cached(struct file *file, int64_t position, size_t size)
{
    return !file->partition->is_cold;
}

enum error partition_append(struct partition *partition, uint8_t *batches, size_t size, int16_t required_acks,
                            enum append_origin origin, int64_t now_ms, struct log_appended *appended)
{
    struct batch_header header;
    assert_int_equal(required_acks, -1);
    assert_true(loop_is_current(partition->loop));
    if (partition->append_error != OK) return partition->append_error;
    assert_int_equal(batch_header_read((struct slice){batches, size}, &header), OK);
    assert_int_equal(header.size_bytes, size);
    batch_set_base_offset(batches, partition->end_offset);
    partition->bytes = realloc(partition->bytes, partition->size + size);
    assert_non_null(partition->bytes);
    memcpy(partition->bytes + partition->size, batches, size);
    partition->size += size;
    appended->base_offset = partition->end_offset;
    appended->last_offset = partition->end_offset + header.last_offset_delta;
    partition->end_offset = appended->last_offset + 1;
    if (partition->is_alone) partition->high_watermark = partition->end_offset;
    partition->appends++;
    return OK;
}

enum error log_read(struct log *log, const struct log_read *what, struct log_slice *slice)
{
    struct partition *partition = fake_of(log);
    struct slice run = {partition->bytes, partition->size};
    struct batch_header header;
    struct slice batch;
    *slice = (struct log_slice){0};
    while (batches_next(&run, &header, &batch) == OK) {
        if (batch_last_offset(&header) < what->offset) continue;
        size_t position = (size_t)(batch.data - partition->bytes);
        size_t size = partition->size - position;
        size_t limit = partition->read_limit ? partition->read_limit : what->max_bytes;
        if (size > limit) size = limit > header.size_bytes ? limit : header.size_bytes;
        *slice = (struct log_slice){.file = &partition->file, .position = (int64_t)position, .size = size};
        break;
    }
    return OK;
}
enum error log_read_blocking(struct log *log, const struct log_read *what, struct log_slice *slice)
{
    return log_read(log, what, slice);
}
enum error log_cold_read_begin(struct log *log, const struct log_read *what, struct log_cold_read *read)
{
    *read = (struct log_cold_read){.what = *what, .log_file = &fake_of(log)->file};
    return OK;
}
void log_cold_read_work(struct log_cold_read *read)
{
    read->err = log_read(partition_log(read->log_file->partition), &read->what, &read->slice);
}
enum error log_cold_read_end(struct log *log, struct log_cold_read *read, struct log_slice *slice)
{
    if (!log || fake_of(log)->is_cut) {
        if (log) fake_of(log)->is_cut = false;
        return ERR_AGAIN;
    }
    *slice = read->slice;
    return read->err;
}
enum error file_pread(struct file *file, void *into, size_t size, int64_t position, size_t *got)
{
    memcpy(into, file->partition->bytes + position, size);
    *got = size;
    return OK;
}

/* As many in sync as there must be, unless a test says otherwise. */
int32_t partition_isr_count(const struct partition *partition)
{
    return partition->is_short_of_isr ? 1 : 2;
}
int32_t partition_effective_min_insync(const struct partition *partition)
{
    (void)partition;
    return 2;
}

/* Its disk keeps everything at once. */
bool partition_syncs_before_ack(const struct partition *partition)
{
    (void)partition;
    return false;
}
int64_t log_synced_end_offset(const struct log *log)
{
    return log_end_offset(log);
}
void partition_wait_durable(struct partition *partition, struct partition_waiter *waiter, int64_t offset)
{
    (void)partition, (void)waiter, (void)offset;
    fail_msg("nothing to wait for");
}
void partition_wait_committed(struct partition *partition, struct partition_waiter *waiter, int64_t offset)
{
    assert_null(partition->waiter);
    waiter->offset = offset;
    waiter->is_waiting = true;
    partition->waiter = waiter;
}
void partition_wait_cancel(struct partition_waiter *waiter)
{
    waiter->is_waiting = false;
    for (size_t i = 0; i < FAKE_PARTITIONS; i++) {
        if (fake_partitions[i] && fake_partitions[i]->waiter == waiter) fake_partitions[i]->waiter = NULL;
    }
}

/* --- what a test does --- */

static inline void fake_partition_open(struct partition *partition, struct loop *loop, int32_t index)
{
    *partition = (struct partition){.loop = loop, .index = index, .epoch = 7};
    assert_true(index < FAKE_PARTITIONS);
    partition->file.partition = partition;
    fake_partitions[index] = partition;
}

static inline void fake_partition_close(struct partition *partition)
{
    fake_partitions[partition->index] = NULL;
    free(partition->bytes);
}

/* Runs the oldest message; false when there is none. */
static inline bool fake_turn(struct loop *loop)
{
    if (loop->count == 0) return false;
    struct loop_message *message = loop->queue[0];
    memmove(loop->queue, loop->queue + 1, --loop->count * sizeof message);
    message->run(message);
    return true;
}

static inline void fake_wake(struct partition *partition, enum error err)
{
    struct partition_waiter *waiter = partition->waiter;
    if (!waiter) return;
    partition->waiter = NULL;
    waiter->is_waiting = false;
    waiter->run(waiter, err);
}

static inline void fake_replicate(struct partition *partition, int64_t high_watermark)
{
    partition->high_watermark = high_watermark;
    if (partition->waiter && partition->waiter->offset <= high_watermark) fake_wake(partition, OK);
}

static inline void fake_depose(struct partition *partition)
{
    partition->epoch++;
    fake_wake(partition, ERR_NOT_LEADER_OR_FOLLOWER);
}

/* Runs the timer that is due first, if its time has come. */
static inline bool fake_tick(struct loop *loop)
{
    struct loop_timer *first = NULL;
    for (size_t i = 0; i < FAKE_TIMERS; i++) {
        struct loop_timer *timer = loop->timers[i];
        if (timer && timer->due_ms <= loop->now_ms && (!first || timer->due_ms < first->due_ms))
            first = timer;
    }
    if (!first) return false;
    loop_timer_stop(loop, first);
    first->run(first);
    return true;
}
