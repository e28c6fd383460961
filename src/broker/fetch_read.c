/* fetch_read.c: a Fetch on the home loops of its partitions: each is read, and then waited for (fetch.c). */
#include <stdlib.h>

#include "broker/broker_state.h"
#include "broker/fetch_parts.h"
#include "replica/isr.h"
#include "replica/throttle.h"

static void part_run(struct fetch_part *part);

/* --- one partition: its home loop --- */

static void note_aborted(void *context, const struct log_aborted_txn *txn)
{
    struct fetch_entry *entry = context;
    /* Not from the arena: parts of one request may read at the same time on several loops. */
    if ((size_t)entry->aborted_count == entry->aborted_capacity) {
        size_t grown = entry->aborted_capacity * 2 + 8;
        struct fetch_response_aborted_transaction *items = realloc(entry->aborted, grown * sizeof *items);
        if (!items) {
            entry->err = ERR_UNKNOWN_SERVER_ERROR;
            return;
        }
        entry->aborted = items;
        entry->aborted_capacity = grown;
    }
    entry->aborted[entry->aborted_count++] = (struct fetch_response_aborted_transaction){
        .producer_id = txn->producer_id, .first_offset = txn->first_offset};
}

static void forget_offsets(struct fetch_entry *entry)
{
    entry->preferred = -1;
    entry->diverging = (struct epoch_end){-1, -1};
    entry->high_watermark = entry->last_stable_offset = entry->log_start_offset = -1;
}

void fetch_release_slice(struct fetch_entry *entry)
{
    log_slice_release(&entry->slice);
    entry->slice = (struct log_slice){0};
}

static void entry_reset(struct fetch_entry *entry)
{
    fetch_release_slice(entry);
    entry->aborted_count = 0;
    entry->throttle = NULL;
    entry->err = OK;
    forget_offsets(entry);
}

static void entry_fail(struct fetch_entry *entry, enum error err)
{
    fetch_release_slice(entry);
    forget_offsets(entry);
    entry->err = err;
    entry->part->is_urgent = true;
}

/* A consumer that remembers another history than ours: where the two part (KIP-320). */
static enum error check_history(struct fetch_entry *entry, struct log *log)
{
    if (entry->last_fetched_epoch < 0) return OK;
    if (entry->fetch_offset < log_start_offset(log)) return ERR_OFFSET_OUT_OF_RANGE;
    struct epoch_end end = log_epoch_end(log, entry->last_fetched_epoch);
    if (end.end_offset < 0) return ERR_OFFSET_OUT_OF_RANGE;
    if (end.epoch < entry->last_fetched_epoch || end.end_offset < entry->fetch_offset) entry->diverging = end;
    return OK;
}

struct partition *fetch_find_here(struct fetch *fetch, const struct loop *here,
                                  const struct fetch_entry *entry)
{
    return replicas_find(request_broker(fetch->request)->parts.replicas, here, entry->topic, entry->index);
}

/* OK, or what the client is told of this partition alone. */
static enum error judge(struct fetch *fetch, struct fetch_part *part, struct fetch_entry *entry)
{
    /* What was found a moment ago, in this very turn, is not looked for again. */
    if (!entry->is_found) entry->partition = fetch_find_here(fetch, part->home, entry);
    entry->is_found = false;
    struct partition *partition = entry->partition;
    if (!partition) return ERR_NOT_LEADER_OR_FOLLOWER;
    bool must_lead = fetch->is_follower || fetch->request->version < 11;
    int32_t epoch = entry->current_leader_epoch < 0 ? -1 : entry->current_leader_epoch;
    enum error err = partition_check(partition, epoch, must_lead);
    if (err != OK) return err;
    const struct uuid *id = partition_topic_id(partition);
    if (fetch->uses_ids && !uuid_is_zero(id) && !uuid_equal(id, &entry->topic_id))
        return ERR_INCONSISTENT_TOPIC_ID;
    return OK;
}

static enum error find_aborted(struct fetch *fetch, struct log *log, struct fetch_entry *entry)
{
    if (fetch->reader != READ_COMMITTED || entry->slice.size == 0) return OK;
    return log_aborted_txns(log, entry->fetch_offset, &entry->slice, note_aborted, entry);
}

static void cold_work(struct lane_job *job)
{
    log_cold_read_work(&CONTAINER_OF(job, struct fetch_entry, cold_job)->cold);
}

static void cold_done(struct lane_job *job)
{
    struct fetch_entry *entry = CONTAINER_OF(job, struct fetch_entry, cold_job);
    struct fetch_part *part = entry->part;
    struct partition *now = fetch_find_here(part->fetch, part->home, entry);
    struct log *log = now && now == entry->partition ? partition_log(now) : NULL;
    enum error err = log_cold_read_end(log, &entry->cold, &entry->slice);
    if (err == OK) err = find_aborted(part->fetch, log, entry);
    if (err == ERR_AGAIN)
        part->is_urgent = true; /* cut meanwhile: the reader asks again */
    else if (err != OK)
        entry_fail(entry, log ? err : ERR_NOT_LEADER_OR_FOLLOWER);
    part->bytes += entry->slice.size;
    if (--part->cold_reads_out == 0) part_run(part);
}

/* What the follower asks from is what it has: told before its records are on their way, and only when nothing is wrong with
 * the asking (KAFKA-8400, KAFKA-13141). */
static enum error count_progress(struct fetch *fetch, struct fetch_part *part, struct fetch_entry *entry)
{
    if (!fetch->is_follower || entry->is_counted) return OK;
    struct isr_fetch told = {.broker_id = fetch->follower_id,
                             .replica_epoch = fetch->follower_epoch,
                             .offset = entry->fetch_offset,
                             .log_start_offset = entry->follower_log_start_offset};
    enum error err = partition_follower_fetched(entry->partition, &told, loop_now_ms(part->home));
    if (err == ERR_NOT_LEADER_OR_FOLLOWER && entry->current_leader_epoch >= 0)
        return ERR_UNKNOWN_LEADER_EPOCH;
    if (err != OK) return err;
    entry->is_counted = true;
    entry->high_watermark = partition_high_watermark(entry->partition);
    return OK;
}

static enum error read_cold(struct fetch *fetch, struct fetch_part *part, struct fetch_entry *entry,
                            const struct log_read *what)
{
    enum error err = log_cold_read_begin(partition_log(entry->partition), what, &entry->cold);
    if (err != OK) return err;
    entry->cold_job.work = cold_work;
    entry->cold_job.done = cold_done;
    part->cold_reads_out++;
    entry->is_cold = true;
    lane_submit(request_broker(fetch->request)->options.cold_lane, part->home, &entry->cold_job);
    return OK;
}

static enum error read_one(struct fetch *fetch, struct fetch_part *part, struct fetch_entry *entry,
                           size_t room, bool is_first)
{
    enum error err = judge(fetch, part, entry);
    if (err != OK) return err;
    struct partition *partition = entry->partition;
    struct log *log = partition_log(partition);
    entry->high_watermark = partition_high_watermark(partition);
    entry->last_stable_offset = partition_last_stable_offset(partition);
    entry->log_start_offset = log_start_offset(log);
    entry->preferred = partition_nearest(partition, fetch->near, fetch->near_count, entry->fetch_offset);
    if (entry->preferred >= 0) return OK;
    err = check_history(entry, log);
    if (err != OK || entry->diverging.epoch >= 0) return err;

    entry->throttle = fetch->is_follower ? partition_throttle_for(partition, fetch->follower_id) : NULL;
    int64_t wait_ms = entry->throttle ? throttle_wait_ms(entry->throttle, loop_now_us(part->home)) : 0;
    if (wait_ms > 0) {
        /* Not a byte until then, but what it has counts. */
        if (part->throttled_ms == 0 || wait_ms < part->throttled_ms) part->throttled_ms = wait_ms;
        return count_progress(fetch, part, entry);
    }

    int64_t limit = partition_read_limit(partition, fetch->reader);
    size_t most = entry->max_bytes < 0 ? 0 : (size_t)entry->max_bytes;
    if (most > room) most = room;
    bool is_within = entry->fetch_offset >= entry->log_start_offset && entry->fetch_offset < limit;
    if (entry->max_bytes < 0 && is_within)
        return ERR_UNKNOWN_SERVER_ERROR; /* as Apache, whose reads stumble over it */
    struct log_read what = {
        .offset = entry->fetch_offset, .limit_offset = limit, .max_bytes = most, .min_one_batch = is_first};
    err = log_read(log, &what, &entry->slice);
    bool is_cold = err == ERR_AGAIN;
    if (err == OK || is_cold) {
        enum error counted = count_progress(fetch, part, entry);
        if (counted != OK) return counted;
    }
    if (is_cold) return read_cold(fetch, part, entry, &what);
    return err == OK ? find_aborted(fetch, log, entry) : err;
}

/* --- a part: its home loop --- */

static void disarm(struct fetch_part *part)
{
    for (struct fetch_entry *entry = part->entries; entry; entry = entry->next)
        partition_wait_cancel(&entry->waiter);
}

static void part_back(struct loop_message *message)
{
    struct fetch *fetch = CONTAINER_OF(message, struct fetch_part, back)->fetch;
    if (--fetch->parts_out == 0) fetch_round_over(fetch);
}

static void woken_here(struct loop_message *message)
{
    struct fetch *fetch = CONTAINER_OF(message, struct fetch_part, woken_message)->fetch;
    fetch->has_woken = true;
    if (!fetch->is_waiting) return; /* a round, or the end, is under way */
    fetch->is_waiting = false;
    fetch_round_begin(fetch);
}

static void changed(struct partition_waiter *waiter, enum error err)
{
    struct fetch_entry *entry = CONTAINER_OF(waiter, struct fetch_entry, waiter);
    struct fetch_part *part = entry->part;
    entry->next_read = part->woken;
    part->woken = entry;
    if (part->has_woken) return;
    part->has_woken = true;
    part->woken_message.run = woken_here;
    if (part->home == part->fetch->loop)
        woken_here(&part->woken_message);
    else
        loop_post(part->fetch->loop, &part->woken_message);
}

static void part_answer(struct fetch_part *part)
{
    if (part->home == part->fetch->loop) {
        part_back(&part->back);
        return;
    }
    part->back.run = part_back;
    loop_post(part->fetch->loop, &part->back);
}

/* From here on a change is heard of, until the fetch is over. */
static void arm(struct fetch_part *part)
{
    for (struct fetch_entry *entry = part->reads; entry; entry = entry->next_read) {
        if (!entry->partition || entry->err != OK) continue;
        /* What is written to it changes nothing for who has to wait. */
        if (entry->throttle && entry->slice.size == 0 && part->throttled_ms > 0) continue;
        entry->waiter.run = changed;
        entry->waiter.is_replica = part->fetch->is_follower;
        partition_wait_change(entry->partition, &entry->waiter);
    }
}

/* What this round reads: everything at first; later what woke us. The others are still waited for, and what was read of them
 * stands: a thousand quiet partitions are not looked at for each record of a busy one. */
static void choose_reads(struct fetch_part *part)
{
    part->reads = part->woken;
    part->woken = NULL;
    if (part->has_begun) return;
    part->has_begun = true;
    part->reads = part->entries;
    for (struct fetch_entry *entry = part->entries; entry; entry = entry->next)
        entry->next_read = entry->next;
}

static void part_read(struct fetch_part *part)
{
    struct fetch *fetch = part->fetch;
    choose_reads(part);
    for (struct fetch_entry *entry = part->reads; entry; entry = entry->next_read) {
        part->bytes -= entry->slice.size;
        entry_reset(entry);
    }
    part->is_urgent = false;
    part->has_woken = false;
    part->cold_reads_out = 1; /* ours, until all were begun */
    size_t room = fetch->max_bytes > part->bytes ? fetch->max_bytes - part->bytes : 0;
    bool is_first = fetch->request->version >= 3 && part->bytes == 0;
    for (struct fetch_entry *entry = part->reads; entry; entry = entry->next_read) {
        enum error err = read_one(fetch, part, entry, room, is_first);
        if (err != OK) entry_fail(entry, err);
        if (entry->diverging.epoch >= 0 || entry->preferred >= 0) part->is_urgent = true;
        size_t took = entry->is_cold ? entry->cold.what.max_bytes : entry->slice.size;
        if (took > 0) is_first = false;
        room = room > took ? room - took : 0;
        if (!entry->is_cold) part->bytes += entry->slice.size;
    }
    if (--part->cold_reads_out == 0) part_run(part);
}

/* All is read: wait for more where nothing needs an answer at once. */
static void part_run(struct fetch_part *part)
{
    for (struct fetch_entry *entry = part->reads; entry; entry = entry->next_read) entry->is_cold = false;
    if (!part->is_urgent && part->bytes < part->fetch->min_bytes) arm(part);
    part_answer(part);
}

void fetch_part_command(struct loop_message *message)
{
    struct fetch_part *part = CONTAINER_OF(message, struct fetch_part, there);
    if (!part->must_stop) {
        part_read(part);
        return;
    }
    disarm(part);
    part_answer(part);
}
