/* fetch.c: records out.
 *
 *   handle_fetch   the connection's loop: session, entries, one part for each home loop
 *   part_read      home loop: reads each of its partitions, and later those that something happened to; with nothing wrong it
 *                  begins to wait on them
 *                  (positions that only the disk knows are found by a worker first: cold reads)
 *   round_over     the connection's loop, when every part has read: enough, or wait for a wake-up or the time
 *   finish         all parts stop waiting; the answer: headers, and between them slices of files
 *
 * A part gets one command at a time (read, stop) and answers each with one message; between a read and the next command it may
 * send one wake-up, which arrives before the answer to that next command. So when the stop was answered nothing refers to the
 * request any more.
 *
 * Source  facts/api-versions.md 2.1, 8; facts/cluster.md 5.7, 5.8; facts/storage.md 8; KIP-74, KIP-98, KIP-320, KIP-392, KIP-951.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/channel.h"
#include "broker/fetch_hints.h"
#include "broker/fetch_session.h"
#include "broker/handlers.h"
#include "broker/leaders.h"
#include "broker/request.h"
#include "replica/isr.h"
#include "replica/replicas.h"
#include "replica/throttle.h"
#include "settings/settings.h"
#include "wire/messages.h"

typedef struct fetch_response_partition_data partition_answer;

struct part;

struct entry {
    struct entry *next;      /* of the same part */
    struct entry *next_read; /* of those this round reads */
    struct part *part;
    struct partition *partition;
    struct session_partition *cached; /* NULL without a session */
    struct slice topic;
    struct uuid topic_id;
    int32_t index;
    int64_t fetch_offset, follower_log_start_offset;
    int32_t max_bytes, current_leader_epoch, last_fetched_epoch;
    struct throttle *throttle; /* of a follower that is behind; NULL: it is not slowed */
    bool is_found;             /* `partition` is of this turn */
    bool is_counted;           /* as what the follower has: once, however often we look for more */
    /* what the round found */
    enum error err;
    int64_t high_watermark, last_stable_offset, log_start_offset;
    struct epoch_end diverging; /* epoch -1: none */
    int32_t preferred;          /* another replica, nearer to the consumer: nothing is read here; -1: none */
    struct log_slice slice;
    struct fetch_response_aborted_transaction *aborted;
    int32_t aborted_count;
    size_t aborted_capacity;
    bool is_cold;
    struct partition_waiter waiter;
    struct log_cold_read cold;
    struct lane_job cold_job;
};

struct part {
    struct part *next;
    struct fetch *fetch;
    struct loop *home;
    struct entry *entries, *last;
    struct entry *reads, *woken; /* of this round; and what happened to since it began: of the next one */
    bool must_stop, has_begun, has_woken;
    int cold_reads_out;
    size_t bytes;
    int64_t throttled_ms; /* the first follower that waits for its throttle goes on then; 0 none does */
    bool is_urgent;       /* an error, or something else that is answered at once */
    struct loop_message there, back, woken_message;
};

struct fetch {
    struct request *request;
    const struct fetch_request *asked;
    struct fetch_session *session;
    bool is_increment, is_follower, uses_ids;
    int32_t follower_id;
    int64_t follower_epoch; /* -1 = not told */
    enum partition_reader reader;
    int32_t *near; /* brokers in the consumer's rack, where we send readers away (KIP-392) */
    size_t near_count;
    size_t max_bytes, min_bytes;
    struct entry *entries;
    size_t entry_count;
    struct part *parts;
    size_t parts_out;
    bool has_fixed_error; /* an entry that no home loop needs to be asked about */
    bool is_waiting, is_late, is_finishing, is_dropped, has_woken;
    struct loop_timer timer;
    struct loop *loop;
};

static void round_begin(struct fetch *fetch);
static void round_over(struct fetch *fetch);
static void part_run(struct part *part);

/* --- one partition: its home loop --- */

static void note_aborted(void *context, const struct log_aborted_txn *txn)
{
    struct entry *entry = context;
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

static void forget_offsets(struct entry *entry)
{
    entry->preferred = -1;
    entry->diverging = (struct epoch_end){-1, -1};
    entry->high_watermark = entry->last_stable_offset = entry->log_start_offset = -1;
}

static void release_slice(struct entry *entry)
{
    log_slice_release(&entry->slice);
    entry->slice = (struct log_slice){0};
}

static void entry_reset(struct entry *entry)
{
    release_slice(entry);
    entry->aborted_count = 0;
    entry->throttle = NULL;
    entry->err = OK;
    forget_offsets(entry);
}

static void entry_fail(struct entry *entry, enum error err)
{
    release_slice(entry);
    forget_offsets(entry);
    entry->err = err;
    entry->part->is_urgent = true;
}

/* A consumer that remembers another history than ours: where the two part (KIP-320). */
static enum error check_history(struct entry *entry, struct log *log)
{
    if (entry->last_fetched_epoch < 0) return OK;
    if (entry->fetch_offset < log_start_offset(log)) return ERR_OFFSET_OUT_OF_RANGE;
    struct epoch_end end = log_epoch_end(log, entry->last_fetched_epoch);
    if (end.end_offset < 0) return ERR_OFFSET_OUT_OF_RANGE;
    if (end.epoch < entry->last_fetched_epoch || end.end_offset < entry->fetch_offset) entry->diverging = end;
    return OK;
}

static struct partition *find_here(struct fetch *fetch, const struct loop *here, const struct entry *entry)
{
    return replicas_find(request_broker(fetch->request)->parts.replicas, here, entry->topic, entry->index);
}

/* OK, or what the client is told of this partition alone. */
static enum error judge(struct fetch *fetch, struct part *part, struct entry *entry)
{
    /* What was found a moment ago, in this very turn, is not looked for again. */
    if (!entry->is_found) entry->partition = find_here(fetch, part->home, entry);
    entry->is_found = false;
    struct partition *partition = entry->partition;
    if (!partition) return ERR_NOT_LEADER_OR_FOLLOWER;
    bool must_lead = fetch->is_follower || fetch->request->version < 11;
    enum error err = partition_check(partition, entry->current_leader_epoch, must_lead);
    if (err != OK) return err;
    const struct uuid *id = partition_topic_id(partition);
    if (fetch->uses_ids && !uuid_is_zero(id) && !uuid_equal(id, &entry->topic_id))
        return ERR_INCONSISTENT_TOPIC_ID;
    if (entry->max_bytes < 0) return ERR_UNKNOWN_SERVER_ERROR;
    return OK;
}

static enum error find_aborted(struct fetch *fetch, struct log *log, struct entry *entry)
{
    if (fetch->reader != READ_COMMITTED || entry->slice.size == 0) return OK;
    return log_aborted_txns(log, entry->fetch_offset, &entry->slice, note_aborted, entry);
}

static void cold_work(struct lane_job *job)
{
    log_cold_read_work(&CONTAINER_OF(job, struct entry, cold_job)->cold);
}

static void cold_done(struct lane_job *job)
{
    struct entry *entry = CONTAINER_OF(job, struct entry, cold_job);
    struct part *part = entry->part;
    struct partition *now = find_here(part->fetch, part->home, entry);
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
static enum error count_progress(struct fetch *fetch, struct part *part, struct entry *entry)
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

static enum error read_cold(struct fetch *fetch, struct part *part, struct entry *entry,
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

static enum error read_one(struct fetch *fetch, struct part *part, struct entry *entry, size_t room,
                           bool is_first)
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

    size_t most = (size_t)entry->max_bytes < room ? (size_t)entry->max_bytes : room;
    struct log_read what = {.offset = entry->fetch_offset,
                            .limit_offset = partition_read_limit(partition, fetch->reader),
                            .max_bytes = most,
                            .min_one_batch = is_first};
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

static void disarm(struct part *part)
{
    for (struct entry *entry = part->entries; entry; entry = entry->next)
        partition_wait_cancel(&entry->waiter);
}

static void part_back(struct loop_message *message)
{
    struct fetch *fetch = CONTAINER_OF(message, struct part, back)->fetch;
    if (--fetch->parts_out == 0) round_over(fetch);
}

static void woken_here(struct loop_message *message)
{
    struct fetch *fetch = CONTAINER_OF(message, struct part, woken_message)->fetch;
    fetch->has_woken = true;
    if (!fetch->is_waiting) return; /* a round, or the end, is under way */
    fetch->is_waiting = false;
    round_begin(fetch);
}

static void changed(struct partition_waiter *waiter, enum error err)
{
    struct entry *entry = CONTAINER_OF(waiter, struct entry, waiter);
    struct part *part = entry->part;
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

static void part_answer(struct part *part)
{
    if (part->home == part->fetch->loop) {
        part_back(&part->back);
        return;
    }
    part->back.run = part_back;
    loop_post(part->fetch->loop, &part->back);
}

/* From here on a change is heard of, until the fetch is over. */
static void arm(struct part *part)
{
    for (struct entry *entry = part->reads; entry; entry = entry->next_read) {
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
static void choose_reads(struct part *part)
{
    part->reads = part->woken;
    part->woken = NULL;
    if (part->has_begun) return;
    part->has_begun = true;
    part->reads = part->entries;
    for (struct entry *entry = part->entries; entry; entry = entry->next) entry->next_read = entry->next;
}

static void part_read(struct part *part)
{
    struct fetch *fetch = part->fetch;
    choose_reads(part);
    for (struct entry *entry = part->reads; entry; entry = entry->next_read) {
        part->bytes -= entry->slice.size;
        entry_reset(entry);
    }
    part->is_urgent = false;
    part->has_woken = false;
    part->cold_reads_out = 1; /* ours, until all were begun */
    size_t room = fetch->max_bytes > part->bytes ? fetch->max_bytes - part->bytes : 0;
    bool is_first = fetch->request->version >= 3 && part->bytes == 0;
    for (struct entry *entry = part->reads; entry; entry = entry->next_read) {
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
static void part_run(struct part *part)
{
    for (struct entry *entry = part->reads; entry; entry = entry->next_read) entry->is_cold = false;
    if (!part->is_urgent && part->bytes < part->fetch->min_bytes) arm(part);
    part_answer(part);
}

static void part_command(struct loop_message *message)
{
    struct part *part = CONTAINER_OF(message, struct part, there);
    if (!part->must_stop) {
        part_read(part);
        return;
    }
    disarm(part);
    part_answer(part);
}

/* --- the connection's loop --- */

static void command_all(struct fetch *fetch, bool must_stop)
{
    struct part *mine = NULL;
    fetch->parts_out = 0;
    for (struct part *part = fetch->parts; part; part = part->next) fetch->parts_out++;
    for (struct part *part = fetch->parts; part; part = part->next) {
        part->must_stop = must_stop;
        part->there.run = part_command;
        if (part->home == fetch->loop)
            mine = part;
        else
            loop_post(part->home, &part->there);
    }
    if (mine)
        part_command(&mine->there);
    else if (!fetch->parts)
        round_over(fetch);
}

static void round_begin(struct fetch *fetch)
{
    fetch->has_woken = false;
    command_all(fetch, false);
}

static void finish_begin(struct fetch *fetch)
{
    fetch->is_finishing = true;
    fetch->is_waiting = false;
    loop_timer_stop(fetch->loop, &fetch->timer);
    command_all(fetch, true);
}

static bool is_news(const struct fetch *fetch, const struct entry *entry)
{
    if (!fetch->is_increment || !entry->cached) return true;
    const struct session_partition *cached = entry->cached;
    return cached->must_answer || entry->err != OK || entry->slice.size > 0 || entry->diverging.epoch >= 0 ||
           entry->preferred >= 0 || entry->high_watermark != cached->high_watermark ||
           entry->log_start_offset != cached->log_start_offset;
}

static void fill_answer(const struct fetch *fetch, struct entry *entry, partition_answer *answer)
{
    *answer =
        (partition_answer){.partition_index = entry->index,
                           .error_code = error_kafka_code(entry->err),
                           .high_watermark = entry->high_watermark,
                           .last_stable_offset = entry->last_stable_offset,
                           .log_start_offset = entry->log_start_offset,
                           .diverging_epoch = {entry->diverging.epoch, entry->diverging.end_offset, {0}},
                           .current_leader = {-1, -1, {0}},
                           .snapshot_id = {-1, -1, {0}},
                           .preferred_read_replica = entry->preferred};
    answer->aborted_transactions.count = -1;
    if (fetch->reader == READ_COMMITTED && entry->err == OK) {
        answer->aborted_transactions.items = entry->aborted;
        answer->aborted_transactions.count = entry->aborted_count;
    }
    answer->records.data = (const uint8_t *)"";
    if (entry->slice.size > 0) {
        answer->records.size = (int32_t)entry->slice.size;
        answer->records.external = &entry->slice;
    }
}

static bool same_topic(const struct fetch *fetch, const struct entry *a, const struct entry *b)
{
    return fetch->uses_ids ? uuid_equal(&a->topic_id, &b->topic_id) : slice_equal(a->topic, b->topic);
}

/* Several homes each had the whole room: what is too much goes away again, the last first. */
static void trim(struct fetch *fetch)
{
    if (!fetch->parts || !fetch->parts->next) return;
    size_t left = fetch->max_bytes;
    bool is_first = true;
    for (size_t i = 0; i < fetch->entry_count; i++) {
        struct log_slice *slice = &fetch->entries[i].slice;
        if (slice->size == 0) continue;
        if (!is_first && slice->size > left) {
            log_slice_release(slice);
            *slice = (struct log_slice){0};
            continue;
        }
        is_first = false;
        left = left > slice->size ? left - slice->size : 0;
    }
}

static void release_slices(struct fetch *fetch)
{
    for (size_t i = 0; i < fetch->entry_count; i++) release_slice(&fetch->entries[i]);
}

/* Lists that grew on other loops go into the arena, which is ours again. */
static bool adopt_aborted(struct fetch *fetch)
{
    if (fetch->reader != READ_COMMITTED) return true;
    for (size_t i = 0; i < fetch->entry_count; i++) {
        struct entry *entry = &fetch->entries[i];
        struct slice list = {(const uint8_t *)entry->aborted,
                             (size_t)entry->aborted_count * sizeof *entry->aborted};
        if (!entry->aborted) continue;
        struct slice copy = arena_copy(&fetch->request->arena, list);
        free(entry->aborted);
        entry->aborted = (struct fetch_response_aborted_transaction *)(uintptr_t)copy.data;
        if (!copy.data) return false;
    }
    return true;
}

static void drop(struct fetch *fetch)
{
    struct request *request = fetch->request;
    for (size_t i = 0; i < fetch->entry_count; i++) free(fetch->entries[i].aborted);
    release_slices(fetch);
    fetch_session_release(&fetch->session);
    request_close(request);
}

/* The entries with news, grouped by topic; those with records count. */
static void fill_topics(struct fetch *fetch, partition_answer *answers,
                        struct fetch_response_fetchable_topic_response *topics,
                        struct fetch_response *response, size_t *slices, size_t *slice_bytes)
{
    const struct entry *before = NULL;
    struct fetch_response_fetchable_topic_response *topic = topics - 1;
    for (size_t i = 0; i < fetch->entry_count; i++) {
        struct entry *entry = &fetch->entries[i];
        if (!is_news(fetch, entry)) continue;
        if (entry->cached) {
            entry->cached->must_answer = entry->err != OK;
            entry->cached->high_watermark = entry->high_watermark;
            entry->cached->log_start_offset = entry->log_start_offset;
            if (entry->slice.size > 0) fetch_session_answered(fetch->session, entry->cached);
        }
        if (!before || !same_topic(fetch, before, entry)) {
            topic++;
            topic->topic = fetch->uses_ids ? SLICE("") : entry->topic;
            topic->topic_id = entry->topic_id;
            topic->partitions.items = answers;
            response->responses.count++;
        }
        before = entry;
        fill_answer(fetch, entry, answers++);
        if (entry->throttle) throttle_charge(entry->throttle, entry->slice.size, loop_now_us(fetch->loop));
        topic->partitions.count++;
        if (entry->slice.size > 0) {
            (*slices)++;
            *slice_bytes += entry->slice.size;
        }
    }
    response->responses.items = topics;
}

static void answer(struct fetch *fetch)
{
    struct request *request = fetch->request;
    struct fetch_response response;
    fetch_response_init(&response);
    response.session_id = fetch->session && !fetch->session->is_gone ? fetch->session->id : FETCH_NO_SESSION;
    partition_answer *answers = request_alloc(request, fetch->entry_count, sizeof *answers);
    struct fetch_response_fetchable_topic_response *topics =
        request_alloc(request, fetch->entry_count, sizeof *topics);
    bool is_adopted = adopt_aborted(fetch);
    if (!answers || !topics || !is_adopted) {
        drop(fetch);
        return;
    }
    trim(fetch);
    size_t slices = 0, slice_bytes = 0;
    fill_topics(fetch, answers, topics, &response, &slices, &slice_bytes);
    for (size_t i = 0; i < fetch->entry_count; i++) {
        if (fetch->entries[i].err == OK) continue;
        counter_add(request_broker(request)->counters.failed_fetch, 1);
        fetch_tell_leaders(request, fetch->uses_ids, &response);
        break;
    }
    counter_add(request_broker(request)->counters.fetch_requests, 1);
    fetch_session_release(&fetch->session);
    if (slices == 0) {
        request_answer(request, &response);
        return;
    }
    if (request_answer_with_slices(request, &response, slices, slice_bytes) != OK) {
        release_slices(fetch);
        request_close(request);
    }
}

static void late(struct loop_timer *timer)
{
    struct fetch *fetch = CONTAINER_OF(timer, struct fetch, timer);
    fetch->is_late = true;
    if (fetch->is_waiting) finish_begin(fetch);
}

static void round_over(struct fetch *fetch)
{
    if (fetch->is_finishing) {
        if (fetch->is_dropped)
            drop(fetch);
        else
            answer(fetch);
        return;
    }
    size_t bytes = 0;
    bool is_urgent = fetch->has_fixed_error || !fetch->parts;
    for (struct part *part = fetch->parts; part; part = part->next) {
        bytes += part->bytes;
        is_urgent |= part->is_urgent;
    }
    bool is_enough = bytes >= fetch->min_bytes || fetch->asked->max_wait_ms <= 0;
    if (is_urgent || is_enough || fetch->is_late || fetch->is_dropped) {
        finish_begin(fetch);
    } else if (fetch->has_woken) {
        round_begin(fetch);
    } else {
        fetch->is_waiting = true;
        int64_t wait_ms = fetch->asked->max_wait_ms;
        for (struct part *part = fetch->parts; part; part = part->next) {
            if (part->throttled_ms > 0 && part->throttled_ms < wait_ms) wait_ms = part->throttled_ms;
        }
        /* Throttled followers are answered with nothing as soon as they may have more, and ask again. */
        if (!loop_timer_running(&fetch->timer)) loop_timer_start(fetch->loop, &fetch->timer, wait_ms);
    }
}

/* A follower's next fetch is behind this one: it follows more by now, which must not wait until there is something new here. */
static void hurried(struct request *request)
{
    late(&((struct fetch *)request->work)->timer);
}

/* The connection is gone. */
static void cancelled(struct request *request)
{
    struct fetch *fetch = request->work;
    fetch->is_dropped = true;
    if (fetch->is_waiting) finish_begin(fetch);
}

/* --- what is asked: the connection's loop --- */

static struct part *part_of(struct fetch *fetch, struct loop *home)
{
    for (struct part *part = fetch->parts; part; part = part->next) {
        if (part->home == home) return part;
    }
    struct part *part = request_alloc(fetch->request, 1, sizeof *part);
    if (!part) return NULL;
    part->fetch = fetch;
    part->home = home;
    part->next = fetch->parts;
    fetch->parts = part;
    return part;
}

/* Finds the entry's home, or what is wrong with it for good. */
static enum error place(struct fetch *fetch, struct entry *entry)
{
    struct request *request = fetch->request;
    const struct image *image = request_image(request);
    const struct entry *before = entry > fetch->entries ? entry - 1 : NULL;
    if (fetch->uses_ids && before && before->topic.size > 0 && same_topic(fetch, before, entry)) {
        entry->topic = before->topic;
    } else if (fetch->uses_ids) {
        const struct image_topic *topic = image_topic_by_id(image, &entry->topic_id);
        entry->topic = SLICE_NULL;
        if (!topic) return ERR_UNKNOWN_TOPIC_ID;
        entry->topic = arena_copy(&request->arena, topic->name);
        if (!entry->topic.data) return ERR_UNKNOWN_SERVER_ERROR;
    }
    if (!fetch->is_follower && !request_may(request, ACL_READ, ACL_TOPIC, entry->topic)) {
        return ERR_TOPIC_AUTHORIZATION_FAILED;
    }
    struct partition *partition = find_here(fetch, fetch->loop, entry);
    if (!partition) return partition_absence(image, entry->topic, entry->index);
    struct part *part = part_of(fetch, partition_home(partition));
    if (request->channel) channel_count_work(request->channel, partition_home(partition));
    if (!part) return ERR_UNKNOWN_SERVER_ERROR;
    entry->part = part;
    entry->partition = partition;
    entry->is_found = part->home == fetch->loop; /* which begins with it in this turn */
    if (part->last)
        part->last->next = entry;
    else
        part->entries = entry;
    part->last = entry;
    return OK;
}

static void add_entry(struct fetch *fetch, struct entry *entry)
{
    entry->preferred = -1;
    entry->diverging = (struct epoch_end){-1, -1};
    entry->high_watermark = entry->last_stable_offset = entry->log_start_offset = -1;
    entry->err = place(fetch, entry);
    if (entry->err != OK) fetch->has_fixed_error = true;
}

static bool entries_of_session(struct fetch *fetch)
{
    size_t count = fetch->session->by_key.count;
    struct entry *entry = fetch->entries = request_alloc(fetch->request, count, sizeof *entry);
    if (!entry) return false;
    LIST_EACH(&fetch->session->partitions, item)
    {
        struct session_partition *cached = CONTAINER_OF(item, struct session_partition, link);
        entry->cached = cached;
        entry->topic = (struct slice){cached->topic, cached->topic_size};
        entry->topic_id = cached->topic_id;
        entry->index = cached->index;
        entry->fetch_offset = cached->fetch_offset;
        entry->follower_log_start_offset = cached->follower_log_start_offset;
        entry->max_bytes = cached->max_bytes;
        entry->current_leader_epoch = cached->current_leader_epoch;
        entry->last_fetched_epoch = cached->last_fetched_epoch;
        add_entry(fetch, entry++);
        fetch->entry_count++;
    }
    return true;
}

static bool entries_of_request(struct fetch *fetch)
{
    size_t count = 0;
    for (int32_t t = 0; t < fetch->asked->topics.count; t++) {
        int32_t n = fetch->asked->topics.items[t].partitions.count;
        count += n > 0 ? (size_t)n : 0;
    }
    struct entry *entry = fetch->entries = request_alloc(fetch->request, count, sizeof *entry);
    if (!entry) return false;
    for (int32_t t = 0; t < fetch->asked->topics.count; t++) {
        const struct fetch_request_fetch_topic *topic = &fetch->asked->topics.items[t];
        for (int32_t i = 0; i < topic->partitions.count; i++) {
            const struct fetch_request_fetch_partition *asked = &topic->partitions.items[i];
            entry->topic = topic->topic;
            entry->topic_id = topic->topic_id;
            entry->index = asked->partition;
            entry->fetch_offset = asked->fetch_offset;
            entry->follower_log_start_offset = asked->log_start_offset;
            entry->max_bytes = asked->partition_max_bytes;
            entry->current_leader_epoch = asked->current_leader_epoch;
            entry->last_fetched_epoch = asked->last_fetched_epoch;
            add_entry(fetch, entry++);
            fetch->entry_count++;
        }
    }
    return true;
}

static void refuse(struct request *request, enum error err)
{
    struct fetch_response response;
    fetch_response_init(&response);
    response.error_code = error_kafka_code(err);
    request_answer(request, &response);
}

void handle_fetch(struct request *request, void *body)
{
    const struct fetch_request *asked = body;
    struct fetch *fetch = request_alloc(request, 1, sizeof *fetch);
    if (!fetch) {
        request_close(request);
        return;
    }
    fetch->request = request;
    fetch->asked = asked;
    fetch->loop = request->home->loop;
    fetch->uses_ids = request->version >= 13;
    fetch->follower_id = request->version >= 15 ? asked->replica_state.replica_id : asked->replica_id;
    fetch->follower_epoch = request->version >= 15 ? asked->replica_state.replica_epoch : -1;
    fetch->is_follower = fetch->follower_id >= 0;
    if (fetch->is_follower && !request_may(request, ACL_CLUSTER_ACTION, ACL_CLUSTER, ACL_CLUSTER_NAME)) {
        refuse(request, ERR_CLUSTER_AUTHORIZATION_FAILED);
        return;
    }
    fetch->reader = fetch->is_follower            ? READ_AS_REPLICA
                    : asked->isolation_level == 1 ? READ_COMMITTED
                                                  : READ_UNCOMMITTED;
    int64_t most = settings_long(request->home->settings, SETTING_FETCH_MAX_BYTES);
    fetch->max_bytes = asked->max_bytes < 0 ? 0 : (size_t)(asked->max_bytes < most ? asked->max_bytes : most);
    fetch->min_bytes = asked->min_bytes < 0 ? 0 : (size_t)asked->min_bytes;
    if (fetch->min_bytes > fetch->max_bytes) fetch->min_bytes = fetch->max_bytes;

    enum error err = fetch_session_begin(request->home->sessions, fetch->loop, asked, fetch->uses_ids,
                                         fetch->is_follower, &fetch->session, &fetch->is_increment);
    if (err != OK) {
        refuse(request, err == ERR_NOMEM ? ERR_UNKNOWN_SERVER_ERROR : err);
        return;
    }
    if (fetch->session && request->channel) request->channel->fetch_session_id = fetch->session->id;
    request->work = fetch;
    bool has_entries =
        (fetch->is_follower || fetch_find_near(request, asked->rack_id, &fetch->near, &fetch->near_count)) &&
        (fetch->session ? entries_of_session(fetch) : entries_of_request(fetch));
    if (!has_entries) {
        fetch_session_release(&fetch->session);
        request_close(request);
        return;
    }
    request->cancel = cancelled;
    if (fetch->is_follower) request->hurry = hurried;
    fetch->timer.run = late;
    round_begin(fetch);
}
