/* fetch.c: records out.
 *
 *   handle_fetch   the connection's loop: session, entries, one part for each home loop
 *   fetch_read.c   home loop: reads each of its partitions, and later those that something happened to; with nothing wrong it
 *                  begins to wait on them
 *                  (positions that only the disk knows are found by a worker first: cold reads)
 *   round_over     the connection's loop, when every part has read: enough, or wait for a wake-up or the time
 *   fetch_answer.c all parts stop waiting; the answer: headers, and between them slices of files
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
#include "broker/fetch_parts.h"
#include "broker/handlers.h"
#include "broker/leaders.h"
#include "settings/settings.h"

/* --- rounds: the connection's loop --- */

static void command_all(struct fetch *fetch, bool must_stop)
{
    struct fetch_part *mine = NULL;
    fetch->parts_out = 0;
    for (struct fetch_part *part = fetch->parts; part; part = part->next) fetch->parts_out++;
    for (struct fetch_part *part = fetch->parts; part; part = part->next) {
        part->must_stop = must_stop;
        part->there.run = fetch_part_command;
        if (part->home == fetch->loop)
            mine = part;
        else
            loop_post(part->home, &part->there);
    }
    if (mine)
        fetch_part_command(&mine->there);
    else if (!fetch->parts)
        fetch_round_over(fetch);
}

void fetch_round_begin(struct fetch *fetch)
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

static void late(struct loop_timer *timer)
{
    struct fetch *fetch = CONTAINER_OF(timer, struct fetch, timer);
    fetch->is_late = true;
    if (fetch->is_waiting) finish_begin(fetch);
}

void fetch_round_over(struct fetch *fetch)
{
    if (fetch->is_finishing) {
        if (fetch->is_dropped)
            fetch_drop(fetch);
        else
            fetch_answer(fetch);
        return;
    }
    size_t bytes = 0;
    bool is_urgent = fetch->has_fixed_error || !fetch->parts;
    for (struct fetch_part *part = fetch->parts; part; part = part->next) {
        bytes += part->bytes;
        is_urgent |= part->is_urgent;
    }
    bool is_enough = bytes >= fetch->min_bytes || fetch->asked->max_wait_ms <= 0;
    if (is_urgent || is_enough || fetch->is_late || fetch->is_dropped) {
        finish_begin(fetch);
    } else if (fetch->has_woken) {
        fetch_round_begin(fetch);
    } else {
        fetch->is_waiting = true;
        int64_t wait_ms = fetch->asked->max_wait_ms;
        for (struct fetch_part *part = fetch->parts; part; part = part->next) {
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

static struct fetch_part *part_of(struct fetch *fetch, struct loop *home)
{
    for (struct fetch_part *part = fetch->parts; part; part = part->next) {
        if (part->home == home) return part;
    }
    struct fetch_part *part = request_alloc(fetch->request, 1, sizeof *part);
    if (!part) return NULL;
    part->fetch = fetch;
    part->home = home;
    part->next = fetch->parts;
    fetch->parts = part;
    return part;
}

/* Finds the entry's home, or what is wrong with it for good. */
static enum error place(struct fetch *fetch, struct fetch_entry *entry)
{
    struct request *request = fetch->request;
    const struct image *image = request_image(request);
    const struct fetch_entry *before = entry > fetch->entries ? entry - 1 : NULL;
    if (fetch->uses_ids && before && before->topic.size > 0 && fetch_same_topic(fetch, before, entry)) {
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
    struct partition *partition = fetch_find_here(fetch, fetch->loop, entry);
    if (!partition) return partition_absence(image, entry->topic, entry->index);
    struct fetch_part *part = part_of(fetch, partition_home(partition));
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

static void add_entry(struct fetch *fetch, struct fetch_entry *entry)
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
    struct fetch_entry *entry = fetch->entries = request_alloc(fetch->request, count, sizeof *entry);
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
    struct fetch_entry *entry = fetch->entries = request_alloc(fetch->request, count, sizeof *entry);
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
    fetch_round_begin(fetch);
}
