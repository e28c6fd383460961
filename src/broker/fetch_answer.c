/* fetch_answer.c: what a Fetch found becomes its answer: headers, and between them slices of files (fetch.c). */
#include <stdlib.h>

#include "broker/broker_state.h"
#include "broker/fetch_hints.h"
#include "broker/fetch_parts.h"
#include "replica/throttle.h"

typedef struct fetch_response_partition_data partition_answer;

static bool is_news(const struct fetch *fetch, const struct fetch_entry *entry)
{
    if (!fetch->is_increment || !entry->cached) return true;
    const struct session_partition *cached = entry->cached;
    return cached->must_answer || entry->err != OK || entry->slice.size > 0 || entry->diverging.epoch >= 0 ||
           entry->preferred >= 0 || entry->high_watermark != cached->high_watermark ||
           entry->log_start_offset != cached->log_start_offset;
}

static void fill_answer(const struct fetch *fetch, struct fetch_entry *entry, partition_answer *answer)
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
    /* Null where nothing was read; but a partition that was never asked has none, also in Apache's answers. */
    answer->aborted_transactions.count = entry->part ? -1 : 0;
    bool was_read = entry->err == OK && entry->diverging.epoch < 0 && entry->preferred < 0;
    if (fetch->reader == READ_COMMITTED && was_read) {
        answer->aborted_transactions.items = entry->aborted;
        answer->aborted_transactions.count = entry->aborted_count;
    }
    answer->records.data = (const uint8_t *)"";
    if (entry->slice.size > 0) {
        answer->records.size = (int32_t)entry->slice.size;
        answer->records.external = &entry->slice;
    }
}

bool fetch_same_topic(const struct fetch *fetch, const struct fetch_entry *a, const struct fetch_entry *b)
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
    for (size_t i = 0; i < fetch->entry_count; i++) fetch_release_slice(&fetch->entries[i]);
}

/* Lists that grew on other loops go into the arena, which is ours again. */
static bool adopt_aborted(struct fetch *fetch)
{
    if (fetch->reader != READ_COMMITTED) return true;
    for (size_t i = 0; i < fetch->entry_count; i++) {
        struct fetch_entry *entry = &fetch->entries[i];
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

void fetch_drop(struct fetch *fetch)
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
    const struct fetch_entry *before = NULL;
    struct fetch_response_fetchable_topic_response *topic = topics - 1;
    for (size_t i = 0; i < fetch->entry_count; i++) {
        struct fetch_entry *entry = &fetch->entries[i];
        if (!is_news(fetch, entry)) continue;
        if (entry->cached) {
            entry->cached->must_answer = entry->err != OK;
            entry->cached->high_watermark = entry->high_watermark;
            entry->cached->log_start_offset = entry->log_start_offset;
            if (entry->slice.size > 0) fetch_session_answered(fetch->session, entry->cached);
        }
        if (!before || !fetch_same_topic(fetch, before, entry)) {
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

void fetch_answer(struct fetch *fetch)
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
        fetch_drop(fetch);
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
