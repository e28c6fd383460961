/* fetcher_answer.c: what a leader's answers do to the partitions that asked. */
#include "base/diag.h"
#include "replica/fetcher_parts.h"
#include "replica/throttle.h"
#include "wire/batch.h"

typedef struct fetch_response_partition_data partition_answer;

static int64_t now_ms(const struct followed *followed)
{
    return loop_now_ms(followed->partition->home);
}

/* How many bytes of whole, sound batches of our leader's epoch or older come first. A newer leader's (KAFKA-18723) are for the one
 * who follows that. */
static enum error take_whole(const struct followed *followed, struct slice records, size_t *size,
                             struct batch_header *first)
{
    struct slice rest = records, batch;
    struct batch_header header;
    *size = 0;
    while (rest.size > 0) {
        enum error err = batches_next(&rest, NULL, &batch);
        if (err == ERR_TRUNCATED || err == ERR_EOF) break;
        if (err == OK) err = batch_check(batch, &header);
        if (err != OK) return err;
        if (header.partition_leader_epoch > followed->brain.leader_epoch) break;
        if (*size == 0) *first = header;
        *size += batch.size;
    }
    return OK;
}

static enum error append(struct followed *followed, struct slice records, int64_t leader_start)
{
    struct partition *partition = followed->partition;
    struct batch_header first = {0};
    size_t size;
    enum error err = take_whole(followed, records, &size, &first);
    if (err != OK || size == 0) return err;
    struct log *log = partition->log;
    /* A leader whose log starts in the middle of a batch (DeleteRecords) sends all of it (KAFKA-6975), and all that we have lies
     * below that start: nothing, or what a leader that was since deposed gave us. */
    int64_t end = log_end_offset(log);
    bool is_across = first.base_offset < end && batch_last_offset(&first) >= end;
    bool is_nothing_left = log_start_offset(log) == end || leader_start >= end;
    if (is_across && is_nothing_left) err = partition_start_at(partition, first.base_offset);
    if (err != OK) return err;
    /* The bytes are the connection's, which nobody else reads; those of a leader stay as they are. */
    return partition_append_fetched(partition, (uint8_t *)(uintptr_t)records.data, size);
}

static void report(const struct followed *followed, const char *what, enum error err)
{
    diag_warn("\"%.*s-%d\" could not %s what broker %d sent: %s",
              SLICE_ARG(partition_topic(followed->partition)), followed->partition->index, what,
              followed->fetcher->leader, error_text(err));
}

/* ERR_KAFKA_STORAGE_ERROR: the directory is gone, the controller will hear of it. */
static void went(struct followed *followed, enum error err, const char *what)
{
    if (err == OK) {
        follower_went_on(&followed->brain);
        return;
    }
    report(followed, what, err);
    if (err == ERR_KAFKA_STORAGE_ERROR)
        followed->brain.state = FOLLOWER_FAILED;
    else
        follower_pause(&followed->brain, now_ms(followed));
}

/* A leader that has deleted what is left to us does not know any more where we part: it may be further below. */
static void cut(struct followed *followed, int64_t offset, int64_t leader_start)
{
    struct follower_log before = followed_log(followed);
    enum error err = partition_cut(followed->partition, offset);
    const struct log *log = followed->partition->log;
    int64_t end = log_end_offset(log);
    if (err == OK && leader_start >= end && log_start_offset(log) < end)
        err = partition_start_at(followed->partition, end);
    struct follower_log after = followed_log(followed);
    bool is_same = after.end_offset == before.end_offset && after.latest_epoch == before.latest_epoch;
    went(followed, err, "cut its log as");
    if (err == OK && is_same) follower_pause(&followed->brain, now_ms(followed));
}

static void obey(struct followed *followed, struct follower_step step, int64_t leader_start)
{
    if (step.act == FOLLOWER_CUT)
        cut(followed, step.offset, leader_start);
    else if (step.act == FOLLOWER_START_AT)
        went(followed, partition_start_at(followed->partition, step.offset), "start anew as");
}

void fetcher_await_sync(struct followed *followed)
{
    struct partition *partition = followed->partition;
    if (!partition->sync_before_ack || followed->is_syncing) return;
    if (log_synced_end_offset(partition->log) >= log_end_offset(partition->log)) return;
    followed->is_syncing = true;
    followed->fetcher->syncing_count++;
    log_flush(partition->log); /* what recovery or a cut left nobody has asked to be synced */
}

/* KIP-73: who is behind, and on its topic's list, waits until what it took is paid for. */
static void slow_down(struct followed *followed, size_t bytes, int64_t leader_high_watermark)
{
    struct partition *partition = followed->partition;
    if (!partition->throttle_in || log_end_offset(partition->log) >= leader_high_watermark) return;
    int64_t now_us = loop_now_us(partition->home);
    throttle_charge(partition->throttle_in, bytes, now_us);
    followed->brain.resume_ms = now_ms(followed) + throttle_wait_ms(partition->throttle_in, now_us);
}

static void take_partition(struct followed *followed, const partition_answer *data)
{
    struct partition *partition = followed->partition;
    if (!partition->log || log_is_offline(partition->log)) {
        followed->brain.state = FOLLOWER_FAILED;
        return;
    }
    struct follower_log log = followed_log(followed);
    if (!follower_expects(&followed->brain, &log, &followed->sent)) return;
    struct slice records = {data->records.data, data->records.size > 0 ? (size_t)data->records.size : 0};
    struct follower_answer answer = {
        .err = data->error_code == 0 ? OK : error_from_kafka(data->error_code),
        .diverging = {data->diverging_epoch.epoch, data->diverging_epoch.end_offset},
        .has_records = records.size > 0};
    struct epoch_end own = {-1, -1};
    if (answer.diverging.epoch >= 0) own = log_epoch_end(partition->log, answer.diverging.epoch);
    struct follower_step step = follower_answered(&followed->brain, &log, &answer, own, now_ms(followed));
    if (step.act == FOLLOWER_APPEND)
        went(followed, append(followed, records, data->log_start_offset), "append");
    if (step.act == FOLLOWER_CUT || step.act == FOLLOWER_START_AT)
        obey(followed, step, data->log_start_offset);
    bool is_good = answer.err == OK && step.act != FOLLOWER_CUT && followed->brain.pause_ms == 0;
    if (!is_good || followed->brain.state != FOLLOWER_FETCHING) return;
    partition_follow_offsets(partition, data->high_watermark, data->log_start_offset);
    fetcher_await_sync(followed);
    if (step.act != FOLLOWER_APPEND) return;
    slow_down(followed, records.size, data->high_watermark);
    /* Others first, where the leader keeps no session for us. */
    list_remove(&followed->link);
    list_push_back(&followed->fetcher->partitions, &followed->link);
}

void fetcher_take_answer(struct fetcher *fetcher, int64_t sequence, const struct fetch_response *response)
{
    size_t fenced = 0; /* thousands at a fail-over */
    for (int32_t t = 0; t < response->responses.count; t++) {
        const struct fetch_response_fetchable_topic_response *topic = &response->responses.items[t];
        for (int32_t i = 0; i < topic->partitions.count; i++) {
            const partition_answer *data = &topic->partitions.items[i];
            struct followed *followed =
                fetcher_find(fetcher, &topic->topic_id, topic->topic, data->partition_index);
            if (!followed || !followed->is_in_session || followed->sent_in > sequence) continue;
            take_partition(followed, data);
            fetcher_note(followed);
            fenced += data->error_code == error_kafka_code(ERR_FENCED_LEADER_EPOCH);
        }
    }
    if (fenced == 0) return;
    diag_info("broker %d knows a later leader epoch of %zu partitions: waiting for the controller's word",
              fetcher->leader, fenced);
}

/* Takes it out of the question in flight. */
static struct followed *asked_about(struct fetcher *fetcher, struct slice topic, int32_t index)
{
    for (size_t i = 0; i < fetcher->asking_count; i++) {
        struct followed *followed = fetcher->asking[i];
        if (!followed || followed->partition->index != index) continue;
        if (!slice_equal(partition_topic(followed->partition), topic)) continue;
        fetcher->asking[i] = NULL;
        return followed;
    }
    return NULL;
}

void fetcher_take_offsets(struct fetcher *fetcher, const struct list_offsets_response *response)
{
    for (int32_t t = 0; t < response->topics.count; t++) {
        const struct list_offsets_response_list_offsets_topic_response *topic = &response->topics.items[t];
        for (int32_t i = 0; i < topic->partitions.count; i++) {
            const struct list_offsets_response_list_offsets_partition_response *data =
                &topic->partitions.items[i];
            struct followed *followed = asked_about(fetcher, topic->name, data->partition_index);
            if (!followed) continue;
            struct partition *partition = followed->partition;
            if (!partition->log || log_is_offline(partition->log)) {
                followed->brain.state = FOLLOWER_FAILED;
                continue;
            }
            struct follower_log log = followed_log(followed);
            enum error err = data->error_code == 0 ? OK : error_from_kafka(data->error_code);
            struct follower_step step =
                follower_told_offset(&followed->brain, &log, err, data->offset, now_ms(followed));
            obey(followed, step, -1);
            fetcher_note(followed);
        }
    }
}
