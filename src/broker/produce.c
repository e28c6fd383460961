/* produce.c: records in.
 *
 *   handle_produce    the connection's loop: who may, which partition, is the batch sound
 *   part_append       each partition's home loop: to be appended, with all others of this turn
 *   appended          home loop, the turn's end: acks=all (and flush.messages=1) waits there
 *   part_finished     home loop: all of its partitions are settled, or the time is up
 *   answer            the connection's loop, when every home has finished
 *
 * Everything is in the request's arena: nothing is allocated in steady state.
 * Source  facts/api-versions.md 2.1, facts/storage.md 4, facts/cluster.md 5.6; KIP-467, KIP-951.
 */
#include <string.h>

#include "base/diag.h"
#include "broker/channel.h"
#include "broker/handlers.h"
#include "broker/leaders.h"
#include "broker/recompress.h"
#include "broker/request.h"
#include "controller/controller.h"
#include "replica/replicas.h"
#include "settings/settings.h"
#include "wire/messages.h"
#include "wire/record.h"

typedef struct produce_response_partition_produce_response partition_answer;

struct part;

struct entry {
    struct entry *next; /* of the same part */
    struct part *part;
    struct partition *partition;
    int32_t record_count;
    bool has_report;
    struct records_report report;
    struct partition_append append;
    struct text remade; /* the batch in the topic's codec, where that is another */
    struct partition_waiter waiter;
    struct slice topic;
    enum error err;
    const char *why; /* for error_message, NULL = none */
    partition_answer *answer;
};

/* The entries of one home loop. */
struct part {
    struct part *next;
    struct produce *produce;
    struct loop *home;
    struct entry *entries, *last;
    int unsettled; /* of its entries */
    struct loop_timer timer;
    struct loop_message there, back;
};

struct produce {
    struct request *request;
    const struct produce_request *asked;
    struct produce_response response;
    struct entry *entries;
    size_t entry_count;
    struct part *parts;
    size_t parts_out;
};

/* --- the end: the connection's loop --- */

static void fill_answer(struct produce *produce, struct entry *entry)
{
    partition_answer *answer = entry->answer;
    answer->error_code = error_kafka_code(entry->err);
    if (entry->err == OK) {
        answer->base_offset = entry->append.appended.base_offset;
        answer->log_append_time_ms = entry->append.appended.log_append_time_ms;
        answer->log_start_offset = entry->append.appended.log_start_offset;
        return;
    }
    const char *why = entry->why ? entry->why : entry->append.appended.bad_record_text;
    bool is_about_records = entry->err == ERR_INVALID_RECORD || entry->err == ERR_INVALID_TIMESTAMP;
    if (!is_about_records || !why) return;
    answer->error_message = slice_of(why);
    if (entry->append.appended.bad_record_index < 0) return;
    answer->record_errors.items = request_alloc(produce->request, 1, sizeof *answer->record_errors.items);
    if (!answer->record_errors.items) return;
    answer->record_errors.count = 1;
    answer->record_errors.items[0].batch_index = entry->append.appended.bad_record_index;
    answer->record_errors.items[0].batch_index_error_message = slice_of(why);
}

/* KIP-951: the leader that the client looked for here, and where it is. */
static void tell_leaders(struct produce *produce)
{
    struct request *request = produce->request;
    if (request->version < 10) return;
    const struct image *image = request_image(request);
    struct leader_set leaders = {0};
    for (size_t i = 0; i < produce->entry_count; i++) {
        struct entry *entry = &produce->entries[i];
        if (entry->err != ERR_NOT_LEADER_OR_FOLLOWER) continue;
        const struct image_partition *partition = image_partition(image, entry->topic, entry->answer->index);
        leader_set_tell(&leaders, partition, &entry->answer->current_leader.leader_id,
                        &entry->answer->current_leader.leader_epoch);
    }
    struct leader_node found[LEADERS_MAX];
    size_t count = leader_set_nodes(&leaders, request, found);
    struct produce_response_node_endpoint *nodes = request_alloc(request, count, sizeof *nodes);
    for (size_t i = 0; nodes && i < count; i++)
        nodes[i] = (struct produce_response_node_endpoint){
            .node_id = found[i].id, .host = found[i].host, .port = found[i].port, .rack = found[i].rack};
    if (!nodes || count == 0) return;
    produce->response.node_endpoints.items = nodes;
    produce->response.node_endpoints.count = (int32_t)count;
}

static void answer(struct produce *produce)
{
    struct request *request = produce->request;
    struct broker *broker = request_broker(request);
    bool has_failed = false;
    uint64_t records = 0;
    for (size_t i = 0; i < produce->entry_count; i++) {
        struct entry *entry = &produce->entries[i];
        if (entry->err == OK)
            records += (uint64_t)entry->record_count;
        else
            has_failed = true;
    }
    counter_add(broker->counters.messages_in, records);
    counter_add(broker->counters.produce_requests, 1);
    if (has_failed) counter_add(broker->counters.failed_produce, 1);
    if (produce->asked->acks == 0) {
        /* Nobody listens to an answer; a client that learns of an error only so must find the connection gone. */
        if (has_failed)
            request_close(request);
        else
            request_done(request);
        return;
    }
    for (size_t i = 0; i < produce->entry_count; i++) fill_answer(produce, &produce->entries[i]);
    if (has_failed) tell_leaders(produce);
    request_answer(request, &produce->response);
}

static void part_back(struct loop_message *message)
{
    struct produce *produce = CONTAINER_OF(message, struct part, back)->produce;
    if (--produce->parts_out == 0) answer(produce);
}

/* --- appending: the partition's home loop --- */

static void part_finished(struct part *part)
{
    loop_timer_stop(part->home, &part->timer);
    if (part->home == part->produce->request->home->loop) {
        part_back(&part->back);
        return;
    }
    part->back.run = part_back;
    loop_post(part->produce->request->home->loop, &part->back);
}

static void entry_settled(struct entry *entry, enum error err)
{
    entry->err = err;
    if (--entry->part->unsettled == 0) part_finished(entry->part);
}

static void committed(struct partition_waiter *waiter, enum error err)
{
    entry_settled(CONTAINER_OF(waiter, struct entry, waiter), err);
}

static void timed_out(struct loop_timer *timer)
{
    struct part *part = CONTAINER_OF(timer, struct part, timer);
    for (struct entry *entry = part->entries; entry; entry = entry->next) {
        if (!entry->waiter.is_waiting) continue;
        partition_wait_cancel(&entry->waiter);
        entry->err = ERR_REQUEST_TIMED_OUT;
        part->unsettled--;
    }
    if (part->unsettled == 0) part_finished(part);
}

static void appended(struct partition_append *append)
{
    struct entry *entry = CONTAINER_OF(append, struct entry, append);
    struct part *part = entry->part;
    struct partition *partition = entry->partition;
    text_free(&entry->remade);
    int64_t end = append->appended.last_offset + 1;
    int16_t acks = append->required_acks;
    bool must_wait = append->err == OK && acks == -1 && partition_high_watermark(partition) < end;
    bool must_sync = append->err == OK && acks == 1 && partition_syncs_before_ack(partition) &&
                     log_synced_end_offset(partition_log(partition)) < end;
    if (!must_wait && !must_sync) {
        entry_settled(entry, append->err);
        return;
    }
    if (must_wait)
        partition_wait_committed(partition, &entry->waiter, end);
    else
        partition_wait_durable(partition, &entry->waiter, end);
    if (loop_timer_running(&part->timer)) return;
    part->timer.run = timed_out;
    loop_timer_start(part->home, &part->timer, part->produce->asked->timeout_ms);
}

/* The same batch in the codec that the topic asks for. */
static enum error remake(struct entry *entry)
{
    struct partition_append *append = &entry->append;
    const struct log *log = partition_log(entry->partition);
    if (!log || !log_config_of(log)->recompresses) return OK;
    struct slice batch = {append->batch, append->size};
    entry->report.fault_index = -1;
    enum error err = partition_check(entry->partition, -1, true);
    if (err == OK) err = recompress(log_config_of(log), &batch, &entry->remade, &entry->report, &entry->why);
    if (err != OK) {
        append->appended.bad_record_index = entry->report.fault_index;
        return err;
    }
    if (entry->remade.size == 0) return OK;
    append->batch = (uint8_t *)entry->remade.data;
    append->size = batch.size;
    entry->has_report = true;
    return OK;
}

static void part_append(struct part *part)
{
    for (struct entry *entry = part->entries; entry; entry = entry->next) part->unsettled++;
    for (struct entry *entry = part->entries, *next; entry; entry = next) {
        next = entry->next; /* the last to be settled may take all of it away */
        entry->err = remake(entry);
        if (entry->err != OK) {
            text_free(&entry->remade);
            entry_settled(entry, entry->err);
            continue;
        }
        entry->waiter.run = committed;
        entry->append.run = appended;
        entry->append.required_acks = part->produce->asked->acks;
        entry->append.report = entry->has_report ? &entry->report : NULL;
        partition_append_soon(entry->partition, &entry->append);
    }
}

static void part_there(struct loop_message *message)
{
    part_append(CONTAINER_OF(message, struct part, there));
}

/* --- judging: the connection's loop --- */

/* The batch's records where they can be looked at without opening it, or where the topic needs it opened: a compacted topic
 * takes no null keys. The report then goes with the append. */
static enum error check_records(struct entry *entry, const struct batch_header *header, struct slice batch,
                                bool must_open)
{
    struct slice records = {batch.data + BATCH_HEADER_SIZE, batch.size - BATCH_HEADER_SIZE};
    struct text scratch = {0};
    enum error err = OK;
    if (batch_codec(header) != CODEC_NONE) {
        if (!must_open) return OK;
        err = batch_records(batch, header, 256 * 1024 * 1024, &scratch, &records);
        if (err != OK) {
            entry->why = "the records cannot be decompressed";
            text_free(&scratch);
            return err == ERR_NOMEM ? ERR_NOMEM : ERR_CORRUPT_MESSAGE;
        }
    }
    err = records_check(header, records, &entry->report);
    if (err == OK) {
        entry->has_report = true;
    } else {
        entry->why = entry->report.fault;
        entry->append.appended.bad_record_index = entry->report.fault_index;
    }
    text_free(&scratch);
    return err;
}

/* Exactly one sound batch of magic 2. */
static enum error check_batch(const struct request *request, struct entry *entry,
                              const struct records_field *records, bool must_open)
{
    entry->append.appended.bad_record_index = -1;
    struct slice run = {records->data, records->size > 0 ? (size_t)records->size : 0};
    if (run.size == 0) {
        entry->why = "a Produce request needs one record batch for each partition";
        return ERR_INVALID_RECORD;
    }
    if (run.size >= BATCH_MAGIC_END && run.data[16] < 2) {
        entry->why = "this version of Produce takes record batches of magic 2 only";
        return ERR_INVALID_RECORD;
    }
    struct batch_header header;
    struct slice batch;
    enum error err = batches_next(&run, &header, &batch);
    if (err == ERR_TRUNCATED || err == ERR_EOF) {
        entry->why = "the record batch is cut off";
        return ERR_INVALID_RECORD;
    }
    if (err != OK) return ERR_CORRUPT_MESSAGE;
    if (run.size > 0) {
        entry->why = "a Produce request takes only one record batch for each partition";
        return ERR_INVALID_RECORD;
    }
    if (batch_codec(&header) == CODEC_ZSTD && request->version < 7) return ERR_UNSUPPORTED_COMPRESSION_TYPE;
    err = batch_check_produced(&header, &entry->why);
    /* The checksum comes first, as in Apache's answers; it is made once. */
    bool is_sound = err == OK ? batch_check(batch, &header) == OK : batch_crc_is_right(batch, &header);
    if (!is_sound) entry->why = NULL;
    if (!is_sound) return ERR_CORRUPT_MESSAGE;
    if (err != OK) return err;
    /* Transactions are not served: none can be open that this batch belongs to. */
    if (batch_is_transactional(&header)) return ERR_INVALID_TXN_STATE;
    entry->record_count = header.record_count;
    entry->append.batch = (uint8_t *)batch.data; /* the frame is ours, and nobody else's */
    entry->append.size = batch.size;
    return check_records(entry, &header, batch, must_open);
}

static struct part *part_of(struct produce *produce, struct loop *home)
{
    for (struct part *part = produce->parts; part; part = part->next) {
        if (part->home == home) return part;
    }
    struct part *part = request_alloc(produce->request, 1, sizeof *part);
    if (!part) return NULL;
    part->produce = produce;
    part->home = home;
    part->next = produce->parts;
    produce->parts = part;
    produce->parts_out++;
    return part;
}

static enum error admit(struct produce *produce, struct entry *entry, enum error topic_err,
                        const struct produce_request_partition_produce_data *data)
{
    struct request *request = produce->request;
    struct loop *here = request->home->loop;
    int16_t acks = produce->asked->acks;
    if (topic_err != OK) return topic_err;
    entry->partition =
        replicas_find(request_broker(request)->parts.replicas, here, entry->topic, data->index);
    if (!entry->partition) return partition_absence(request_image(request), entry->topic, data->index);
    if (acks < -1 || acks > 1) return ERR_INVALID_REQUIRED_ACKS;
    if (topic_is_internal(entry->topic) && !slice_is(request->client_id, "__admin_client"))
        return ERR_INVALID_TOPIC_EXCEPTION;

    struct loop *home = partition_home(entry->partition);
    if (request->channel) channel_count_work(request->channel, home);
    struct log *log = home == here ? partition_log(entry->partition) : NULL;
    bool must_open = home != here || (log && log_config_of(log)->compact_policy);
    enum error err = check_batch(request, entry, &data->records, must_open);
    if (err != OK) return err;

    struct part *part = part_of(produce, home);
    if (!part) return ERR_UNKNOWN_SERVER_ERROR;
    entry->part = part;
    if (part->last)
        part->last->next = entry;
    else
        part->entries = entry;
    part->last = entry;
    return OK;
}

static enum error check_topic(struct request *request, struct slice name, bool is_by_id)
{
    if (is_by_id && !name.data) return ERR_UNKNOWN_TOPIC_ID;
    if (!request_may(request, ACL_WRITE, ACL_TOPIC, name)) return ERR_TOPIC_AUTHORIZATION_FAILED;
    return OK;
}

/* `entries` and `answers`: as many as it has partitions. */
static void take_topic(struct produce *produce, const struct produce_request_topic_produce_data *data,
                       struct entry *entries, partition_answer *answers,
                       struct produce_response_topic_produce_response *topic)
{
    struct request *request = produce->request;
    bool is_by_id = request->version >= 13;
    struct slice name = data->name;
    if (is_by_id) {
        const struct image_topic *known = image_topic_by_id(request_image(request), &data->topic_id);
        name = known ? arena_copy(&request->arena, known->name) : SLICE_NULL;
    }
    enum error topic_err = check_topic(request, name, is_by_id);
    topic->name = is_by_id ? SLICE("") : data->name;
    topic->topic_id = data->topic_id;
    topic->partition_responses.items = answers;
    topic->partition_responses.count = data->partition_data.count > 0 ? data->partition_data.count : 0;
    for (int32_t i = 0; i < topic->partition_responses.count; i++) {
        answers[i] = (partition_answer){.index = data->partition_data.items[i].index,
                                        .base_offset = -1,
                                        .log_append_time_ms = -1,
                                        .log_start_offset = -1,
                                        .current_leader = {-1, -1, {0}}};
        entries[i].topic = name;
        entries[i].answer = &answers[i];
        entries[i].err = admit(produce, &entries[i], topic_err, &data->partition_data.items[i]);
    }
}

/* Ours last: when it finishes at once, the others are on their way already. */
static void append_parts(struct produce *produce)
{
    struct part *mine = NULL;
    for (struct part *part = produce->parts; part; part = part->next) {
        if (part->home == produce->request->home->loop) {
            mine = part;
            continue;
        }
        part->there.run = part_there;
        loop_post(part->home, &part->there);
    }
    if (mine) part_append(mine);
}

void handle_produce(struct request *request, void *body)
{
    const struct produce_request *asked = body;
    struct produce *produce = request_alloc(request, 1, sizeof *produce);
    size_t count = 0;
    for (int32_t t = 0; t < asked->topic_data.count; t++) {
        int32_t n = asked->topic_data.items[t].partition_data.count;
        count += n > 0 ? (size_t)n : 0;
    }
    size_t topics = 0; /* those of which something is told */
    for (int32_t t = 0; t < asked->topic_data.count; t++)
        topics += asked->topic_data.items[t].partition_data.count > 0;
    partition_answer *answers = request_alloc(request, count, sizeof *answers);
    struct entry *entry = request_alloc(request, count, sizeof *entry);
    struct produce_response_topic_produce_response *topic = request_alloc(request, topics, sizeof *topic);
    if (!produce || !answers || !entry || !topic) {
        request_close(request);
        return;
    }
    produce->request = request;
    produce->asked = asked;
    produce->entries = entry;
    produce->entry_count = count;
    produce_response_init(&produce->response);
    produce->response.responses.items = topic;
    produce->response.responses.count = (int32_t)topics;

    for (int32_t t = 0; t < asked->topic_data.count; t++) {
        if (asked->topic_data.items[t].partition_data.count <= 0) continue;
        take_topic(produce, &asked->topic_data.items[t], entry, answers, topic);
        entry += topic->partition_responses.count;
        answers += topic->partition_responses.count;
        topic++;
    }
    if (produce->parts)
        append_parts(produce);
    else
        answer(produce);
}
