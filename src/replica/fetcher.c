#include "replica/fetcher.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "replica/fetcher_parts.h"
#include "replica/throttle.h"

enum {
    API_FETCH = 1,
    API_LIST_OFFSETS = 2,
    FETCH_VERSION = 17,
    FETCH_VERSION_BY_NAME = 12,
    LIST_OFFSETS_VERSION = 9,
    TIME_LATEST = -1,
    TIME_EARLIEST = -2,
    RETRY_FIRST_MS = 20,
    SYNC_LOOK_MS = 1000,
    KEY_MAX = 256 + 16,
};

static void pump(struct fetcher *fetcher);
static void hang_up(struct fetcher *fetcher);

static int64_t now_ms(const struct fetcher *fetcher)
{
    return loop_now_ms(fetcher->owner->loop);
}

void fetchers_init(struct fetchers *fetchers, struct loop *loop, int32_t broker_id,
                   const struct fetch_rules *rules, const struct peers *peers)
{
    *fetchers = (struct fetchers){.loop = loop, .broker_id = broker_id, .rules = rules, .peers = peers};
    list_init(&fetchers->fetchers);
}

/* --- who is followed --- */

static struct slice key_of(bool uses_ids, const struct uuid *topic_id, struct slice topic, int32_t index,
                           uint8_t out[KEY_MAX])
{
    struct slice name = uses_ids ? (struct slice){topic_id->bytes, sizeof topic_id->bytes} : topic;
    if (name.size > KEY_MAX - sizeof index) name.size = KEY_MAX - sizeof index; /* no topic's */
    memcpy(out, &index, sizeof index);
    if (name.size > 0) memcpy(out + sizeof index, name.data, name.size);
    return (struct slice){out, sizeof index + name.size};
}

static struct slice key_of_followed(const struct followed *followed, uint8_t out[KEY_MAX])
{
    const struct partition *partition = followed->partition;
    return key_of(followed->fetcher->uses_ids, &partition->topic_id, partition_topic(partition),
                  partition->index, out);
}

struct followed *fetcher_find(const struct fetcher *fetcher, const struct uuid *topic_id, struct slice topic,
                              int32_t index)
{
    uint8_t key[KEY_MAX];
    return map_get(&fetcher->by_key, key_of(fetcher->uses_ids, topic_id, topic, index, key));
}

struct follower_log followed_log(const struct followed *followed)
{
    const struct log *log = followed->partition->log;
    return (struct follower_log){.start_offset = log_start_offset(log),
                                 .end_offset = log_end_offset(log),
                                 .high_watermark = partition_high_watermark(followed->partition),
                                 .latest_epoch = log_latest_epoch(log)};
}

static bool may_fetch(const struct followed *followed)
{
    return followed->brain.state == FOLLOWER_FETCHING &&
           follower_may_fetch(&followed->brain, now_ms(followed->fetcher));
}

static bool same_fetch(const struct follower_fetch *a, const struct follower_fetch *b)
{
    return a->offset == b->offset && a->leader_epoch == b->leader_epoch &&
           a->last_fetched_epoch == b->last_fetched_epoch;
}

void fetcher_note(struct followed *followed)
{
    struct fetcher *fetcher = followed->fetcher;
    if (followed->brain.resume_ms > now_ms(fetcher) && list_empty(&followed->paused))
        list_push_back(&fetcher->paused, &followed->paused);
    bool is_known = followed->is_in_session && may_fetch(followed) && followed->partition->log;
    if (is_known) {
        struct follower_log log = followed_log(followed);
        struct follower_fetch next = follower_next(&followed->brain, &log);
        is_known = same_fetch(&next, &followed->sent) && followed->sent_start == log.start_offset;
    }
    if (!is_known && list_empty(&followed->changed)) list_push_back(&fetcher->changed, &followed->changed);
}

static void forget_all(struct fetcher *fetcher)
{
    LIST_EACH(&fetcher->forgotten, item)
    {
        list_remove(item);
        free(CONTAINER_OF(item, struct forgotten, link));
    }
}

/* The next fetch is a full one, which names everything. */
static void begin_session(struct fetcher *fetcher)
{
    forget_all(fetcher);
    fetcher->session_epoch = 0;
    fetcher->session_count = 0;
    fetcher->must_restart = fetcher->flight_count > 0;
    LIST_EACH(&fetcher->partitions, item)
    {
        struct followed *followed = CONTAINER_OF(item, struct followed, link);
        followed->is_in_session = false;
        fetcher_note(followed);
    }
}

/* Whether topics go by their ids depends on all of them. */
static enum error choose_names(struct fetcher *fetcher)
{
    bool uses_ids = fetcher->nameless_count == 0;
    if (uses_ids == fetcher->uses_ids) return OK;
    map_free(&fetcher->by_key);
    fetcher->by_key = (struct map){0};
    fetcher->uses_ids = uses_ids;
    begin_session(fetcher);
    enum error err = OK;
    LIST_EACH(&fetcher->partitions, item)
    {
        struct followed *followed = CONTAINER_OF(item, struct followed, link);
        uint8_t key[KEY_MAX];
        if (err == OK) err = map_put(&fetcher->by_key, key_of_followed(followed, key), followed);
    }
    return err;
}

/* What the session is to forget. Without memory for that: another session. */
static void forget_later(struct followed *followed)
{
    struct fetcher *fetcher = followed->fetcher;
    if (!followed->is_in_session) return;
    followed->is_in_session = false;
    fetcher->session_count--;
    if (fetcher->session_epoch == 0 && fetcher->flight_count == 0) return;
    struct slice topic = partition_topic(followed->partition);
    struct forgotten *forgotten = calloc(1, sizeof *forgotten + topic.size);
    if (!forgotten) {
        begin_session(fetcher);
        return;
    }
    forgotten->topic_id = followed->partition->topic_id;
    forgotten->index = followed->partition->index;
    forgotten->topic_size = topic.size;
    memcpy(forgotten->topic, topic.data, topic.size);
    list_push_back(&fetcher->forgotten, &forgotten->link);
}

/* It is followed again before the session heard that it is not. */
static void remember_again(struct followed *followed)
{
    struct fetcher *fetcher = followed->fetcher;
    LIST_EACH(&fetcher->forgotten, item)
    {
        struct forgotten *forgotten = CONTAINER_OF(item, struct forgotten, link);
        struct slice topic = {forgotten->topic, forgotten->topic_size};
        if (forgotten->index != followed->partition->index ||
            !uuid_equal(&forgotten->topic_id, &followed->partition->topic_id) ||
            !slice_equal(topic, partition_topic(followed->partition))) {
            continue;
        }
        list_remove(item);
        free(forgotten);
    }
}

static void fetcher_free(struct fetcher *fetcher)
{
    list_remove(&fetcher->link);
    loop_timer_stop(fetcher->owner->loop, &fetcher->timer);
    hang_up(fetcher);
    forget_all(fetcher);
    map_free(&fetcher->by_key);
    arena_free(&fetcher->arena);
    free(fetcher);
}

static void drop_question(struct followed *followed)
{
    struct fetcher *fetcher = followed->fetcher;
    for (size_t i = 0; i < fetcher->asking_count; i++) {
        if (fetcher->asking[i] == followed) fetcher->asking[i] = NULL;
    }
}

static void synced(struct followed *followed)
{
    if (!followed->is_syncing) return;
    followed->is_syncing = false;
    followed->fetcher->syncing_count--;
}

void fetchers_unfollow(struct partition *partition)
{
    struct followed *followed = partition->followed;
    if (!followed) return;
    struct fetcher *fetcher = followed->fetcher;
    assert(!fetcher->is_in_answer);
    partition->followed = NULL;
    synced(followed);
    drop_question(followed);
    forget_later(followed);
    uint8_t key[KEY_MAX];
    map_remove(&fetcher->by_key, key_of_followed(followed, key));
    list_remove(&followed->link);
    list_remove(&followed->changed);
    list_remove(&followed->paused);
    fetcher->count--;
    fetcher->nameless_count -= uuid_is_zero(&partition->topic_id);
    free(followed);
    if (fetcher->count == 0) fetcher_free(fetcher);
}

void fetchers_close(struct fetchers *fetchers)
{
    LIST_EACH(&fetchers->fetchers, item)
    {
        struct fetcher *fetcher = CONTAINER_OF(item, struct fetcher, link);
        size_t left = fetcher->count;
        while (left-- > 0)
            fetchers_unfollow(CONTAINER_OF(fetcher->partitions.next, struct followed, link)->partition);
    }
}

static void timer_run(struct loop_timer *timer)
{
    pump(CONTAINER_OF(timer, struct fetcher, timer));
}

static struct fetcher *fetcher_of(struct fetchers *fetchers, int32_t leader)
{
    LIST_EACH(&fetchers->fetchers, item)
    {
        struct fetcher *fetcher = CONTAINER_OF(item, struct fetcher, link);
        if (fetcher->leader == leader) return fetcher;
    }
    struct fetcher *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    made->owner = fetchers;
    made->leader = leader;
    made->uses_ids = true;
    made->timer.run = timer_run;
    list_init(&made->partitions);
    list_init(&made->changed);
    list_init(&made->paused);
    list_init(&made->forgotten);
    arena_init(&made->arena, 0);
    list_push_back(&fetchers->fetchers, &made->link);
    return made;
}

static enum error join(struct fetcher *fetcher, struct partition *partition)
{
    struct followed *followed = calloc(1, sizeof *followed);
    if (!followed) {
        if (fetcher->count == 0) fetcher_free(fetcher);
        return ERR_NOMEM;
    }
    list_init(&followed->changed);
    list_init(&followed->paused);
    followed->fetcher = fetcher;
    followed->partition = partition;
    list_push_back(&fetcher->partitions, &followed->link);
    partition->followed = followed;
    fetcher->count++;
    fetcher->nameless_count += uuid_is_zero(&partition->topic_id);
    enum error err = choose_names(fetcher);
    uint8_t key[KEY_MAX];
    if (err == OK) err = map_put(&fetcher->by_key, key_of_followed(followed, key), followed);
    if (err != OK) {
        fetchers_unfollow(partition);
        return err;
    }
    return OK;
}

enum error fetchers_follow(struct fetchers *fetchers, struct partition *partition)
{
    struct followed *followed = partition->followed;
    if (followed && followed->fetcher->leader != partition->leader) fetchers_unfollow(partition);
    if (partition->leader < 0) return OK;
    if (!partition->followed) {
        struct fetcher *fetcher = fetcher_of(fetchers, partition->leader);
        enum error err = fetcher ? join(fetcher, partition) : ERR_NOMEM;
        if (err != OK) return err;
    }
    followed = partition->followed;
    drop_question(followed);
    list_remove(&followed->paused);
    struct follower_log log = followed_log(followed);
    struct follower_step step =
        follower_begin(&followed->brain, partition->leader_epoch, &log, fetchers->rules->backoff_ms);
    if (step.act == FOLLOWER_CUT) {
        enum error err = partition_cut(partition, step.offset);
        if (err == ERR_KAFKA_STORAGE_ERROR) {
            fetchers_unfollow(partition);
            return err;
        }
        if (err != OK) follower_pause(&followed->brain, now_ms(followed->fetcher));
    }
    fetcher_await_sync(followed); /* of what another leader sent, or we ourselves wrote */
    fetcher_note(followed);
    pump(followed->fetcher);
    return OK;
}

void fetchers_synced(struct partition *partition)
{
    struct followed *followed = partition->followed;
    if (!followed || !followed->is_syncing) return;
    if (log_synced_end_offset(partition->log) < log_end_offset(partition->log)) return;
    synced(followed);
    if (followed->fetcher->syncing_count == 0) pump(followed->fetcher);
}

void fetchers_peers_changed(struct fetchers *fetchers)
{
    LIST_EACH(&fetchers->fetchers, item)
    {
        struct fetcher *fetcher = CONTAINER_OF(item, struct fetcher, link);
        if (fetcher->connection) continue;
        fetcher->retry_ms = fetcher->retry_pause_ms = 0;
        pump(fetcher);
    }
}

/* --- the connection --- */

/* Nothing is in flight any more, and the next connection begins with a full fetch. */
static void lost(struct fetcher *fetcher)
{
    fetcher->is_asking = false;
    fetcher->asking_count = 0;
    fetcher->flight_count = 0;
    for (int i = 0; i < FETCHER_FLIGHTS; i++) fetcher->flights[i].is_out = false;
    begin_session(fetcher);
}

static void hang_up(struct fetcher *fetcher)
{
    if (!fetcher->connection) return;
    connection_close(&fetcher->connection);
    lost(fetcher);
}

static void failed(struct fetcher *fetcher, enum error err)
{
    const struct fetch_rules *rules = fetcher->owner->rules;
    int64_t pause_ms = fetcher->retry_pause_ms > 0 ? fetcher->retry_pause_ms * 2 : RETRY_FIRST_MS;
    if (pause_ms > rules->backoff_ms) pause_ms = rules->backoff_ms;
    fetcher->retry_pause_ms = pause_ms;
    fetcher->retry_ms = now_ms(fetcher) + pause_ms;
    if (!fetcher->has_warned) {
        fetcher->has_warned = true;
        diag_warn("could not fetch from broker %d, leader of %zu partitions here: %s; trying again",
                  fetcher->leader, fetcher->count, error_text(err));
    }
    hang_up(fetcher);
    pump(fetcher);
}

static void on_open(void *context, enum error err)
{
    struct fetcher *fetcher = context;
    if (err != OK) {
        connection_close(&fetcher->connection);
        lost(fetcher);
        failed(fetcher, err);
        return;
    }
    pump(fetcher);
}

static void on_closed(void *context, enum error err)
{
    struct fetcher *fetcher = context;
    failed(fetcher, err);
}

/* False: not now. */
static bool is_connected(struct fetcher *fetcher)
{
    if (fetcher->connection) return connection_is_open(fetcher->connection);
    const struct peer *peer = peers_find(fetcher->owner->peers, fetcher->leader);
    if (!peer || peer->port == 0 || now_ms(fetcher) < fetcher->retry_ms) return false;
    char client_id[48];
    snprintf(client_id, sizeof client_id, "broker-%d-fetcher-0", fetcher->owner->broker_id);
    struct connection_options options = {.client_id = client_id,
                                         .is_unnegotiated = true,
                                         .timeout_ms = fetcher->owner->rules->socket_timeout_ms,
                                         .max_frame_size = INT32_MAX,
                                         .on_open = on_open,
                                         .on_closed = on_closed,
                                         .context = fetcher};
    enum error err =
        connection_open(fetcher->owner->loop, peer->host, peer->port, &options, &fetcher->connection);
    if (err != OK) {
        fetcher->connection = NULL;
        fetcher->retry_ms = now_ms(fetcher) + fetcher->owner->rules->backoff_ms;
    }
    return fetcher->connection && connection_is_open(fetcher->connection);
}

/* --- questions for offsets --- */

static void offsets_done(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct fetcher *fetcher = call->context;
    if (err != OK) return; /* the connection is gone, or will be told to be */
    fetcher->is_asking = false;
    fetcher->is_in_answer = true;
    fetcher_take_offsets(fetcher, response);
    for (size_t i = 0; i < fetcher->asking_count; i++) {
        struct followed *followed = fetcher->asking[i];
        if (!followed) continue; /* else it was not answered at all */
        follower_pause(&followed->brain, now_ms(fetcher));
        fetcher_note(followed);
    }
    fetcher->asking_count = 0;
    fetcher->is_in_answer = false;
    pump(fetcher);
}

static bool asks(const struct followed *followed)
{
    bool is_state =
        followed->brain.state == FOLLOWER_ASKS_LATEST || followed->brain.state == FOLLOWER_ASKS_EARLIEST;
    return is_state && follower_may_fetch(&followed->brain, now_ms(followed->fetcher));
}

/* True: something is in flight now. Who asks is among those that changed. */
static bool ask_offsets(struct fetcher *fetcher)
{
    struct list_offsets_request_list_offsets_topic topics[FETCHER_ASKS_AT_ONCE];
    struct list_offsets_request_list_offsets_partition partitions[FETCHER_ASKS_AT_ONCE];
    fetcher->asking_count = 0;
    LIST_EACH(&fetcher->changed, item)
    {
        struct followed *followed = CONTAINER_OF(item, struct followed, changed);
        size_t i = fetcher->asking_count;
        if (i == FETCHER_ASKS_AT_ONCE || !asks(followed)) continue;
        bool is_latest = followed->brain.state == FOLLOWER_ASKS_LATEST;
        list_offsets_request_list_offsets_partition_init(&partitions[i]);
        partitions[i].partition_index = followed->partition->index;
        partitions[i].current_leader_epoch = followed->brain.leader_epoch;
        partitions[i].timestamp = is_latest ? TIME_LATEST : TIME_EARLIEST;
        list_offsets_request_list_offsets_topic_init(&topics[i]);
        topics[i].name = partition_topic(followed->partition);
        topics[i].partitions.items = &partitions[i];
        topics[i].partitions.count = 1;
        fetcher->asking[fetcher->asking_count++] = followed;
    }
    if (fetcher->asking_count == 0) return false;
    struct list_offsets_request request;
    list_offsets_request_init(&request);
    request.replica_id = fetcher->owner->broker_id;
    request.topics.items = topics;
    request.topics.count = (int32_t)fetcher->asking_count;
    fetcher->call = (struct call){.done = offsets_done,
                                  .context = fetcher,
                                  .max_version = LIST_OFFSETS_VERSION,
                                  .timeout_ms = fetcher->owner->rules->socket_timeout_ms};
    enum error err = connection_send(fetcher->connection, API_LIST_OFFSETS, &request, &fetcher->call);
    fetcher->is_asking = err == OK;
    if (err != OK) failed(fetcher, err);
    return true;
}

/* --- fetches --- */

/* What is wrong with the answer as a whole. False: nothing. */
static bool is_refused(struct fetcher *fetcher, const struct fetch_response *response)
{
    switch (response->error_code == 0 ? OK : error_from_kafka(response->error_code)) {
    case OK: return false;
    case ERR_FETCH_SESSION_ID_NOT_FOUND: fetcher->session_id = 0; /* fall through */
    case ERR_INVALID_FETCH_SESSION_EPOCH:
    case ERR_FETCH_SESSION_TOPIC_ID_ERROR:
        begin_session(fetcher);
        pump(fetcher);
        return true;
    default: failed(fetcher, error_from_kafka(response->error_code)); return true;
    }
}

static void fetch_done(struct call *call, enum error err, int16_t version, const void *answer)
{
    (void)version;
    struct fetch_flight *flight = call->context;
    struct fetcher *fetcher = flight->fetcher;
    if (err != OK) return; /* the connection is gone, or will be told to be */
    const struct fetch_response *response = answer;
    flight->is_out = false;
    fetcher->flight_count--;
    if (is_refused(fetcher, response)) return;
    if (fetcher->has_warned) diag_info("fetching from broker %d again", fetcher->leader);
    fetcher->has_warned = false;
    fetcher->retry_pause_ms = 0;
    if (flight->is_full) {
        fetcher->session_id = response->session_id;
        if (fetcher->session_id != 0 && !fetcher->must_restart) fetcher->session_epoch = 1;
    }
    fetcher->is_in_answer = true;
    fetcher_take_answer(fetcher, flight->sequence, response);
    fetcher->is_in_answer = false;
    /* The leader has no room for a session, or we want another one. */
    if (fetcher->session_epoch == 0) begin_session(fetcher);
    pump(fetcher);
}

static struct fetch_request_fetch_topic *next_topic(struct fetch_request *request, struct fetcher *fetcher,
                                                    const struct partition *partition,
                                                    struct fetch_request_fetch_partition *partitions)
{
    struct slice name = partition_topic(partition);
    struct fetch_request_fetch_topic *last =
        request->topics.count > 0 ? &request->topics.items[request->topics.count - 1] : NULL;
    if (last && slice_equal(last->topic, name) && uuid_equal(&last->topic_id, &partition->topic_id))
        return last;
    struct fetch_request_fetch_topic *topic = &request->topics.items[request->topics.count++];
    fetch_request_fetch_topic_init(topic);
    topic->topic = name;
    if (fetcher->uses_ids) topic->topic_id = partition->topic_id;
    topic->partitions.items = partitions;
    return topic;
}

/* What changed since the last fetch: who asks from elsewhere, who does not ask any more. False without memory. */
static bool name_changes(struct fetcher *fetcher, struct fetch_request *request)
{
    size_t count = 0;
    LIST_EACH(&fetcher->changed, item) count++;
    struct fetch_request_fetch_partition *partition =
        arena_array(&fetcher->arena, count + 1, sizeof *partition);
    request->topics.items = arena_array(&fetcher->arena, count + 1, sizeof *request->topics.items);
    if (!partition || !request->topics.items) return false;
    LIST_EACH(&fetcher->changed, item)
    {
        struct followed *followed = CONTAINER_OF(item, struct followed, changed);
        if (asks(followed)) continue; /* its turn comes */
        list_remove(item);
        if (!may_fetch(followed) || !followed->partition->log) {
            forget_later(followed);
            continue;
        }
        struct follower_log log = followed_log(followed);
        followed->sent = follower_next(&followed->brain, &log);
        followed->sent_in = fetcher->last_sequence;
        followed->sent_start = log.start_offset;
        if (!followed->is_in_session) {
            remember_again(followed);
            fetcher->session_count++;
            followed->is_in_session = true;
        }
        struct fetch_request_fetch_topic *topic =
            next_topic(request, fetcher, followed->partition, partition);
        fetch_request_fetch_partition_init(partition);
        partition->partition = followed->partition->index;
        partition->current_leader_epoch = followed->sent.leader_epoch;
        partition->fetch_offset = followed->sent.offset;
        partition->last_fetched_epoch = followed->sent.last_fetched_epoch;
        partition->log_start_offset = log.start_offset;
        partition->partition_max_bytes = fetcher->owner->rules->max_bytes;
        topic->partitions.count++;
        partition++;
    }
    return true;
}

static bool name_forgotten(struct fetcher *fetcher, struct fetch_request *request)
{
    size_t count = 0;
    LIST_EACH(&fetcher->forgotten, item) count++;
    request->forgotten_topics_data.items =
        arena_array(&fetcher->arena, count + 1, sizeof *request->forgotten_topics_data.items);
    if (!request->forgotten_topics_data.items) return false;
    LIST_EACH(&fetcher->forgotten, item)
    {
        struct forgotten *forgotten = CONTAINER_OF(item, struct forgotten, link);
        struct fetch_request_forgotten_topic *topic =
            &request->forgotten_topics_data.items[request->forgotten_topics_data.count++];
        fetch_request_forgotten_topic_init(topic);
        topic->topic = (struct slice){forgotten->topic, forgotten->topic_size};
        if (fetcher->uses_ids) topic->topic_id = forgotten->topic_id;
        topic->partitions.items = &forgotten->index;
        topic->partitions.count = 1;
    }
    return true;
}

static struct fetch_flight *free_flight(struct fetcher *fetcher)
{
    for (int i = 0; i < FETCHER_FLIGHTS; i++) {
        if (!fetcher->flights[i].is_out) return &fetcher->flights[i];
    }
    return NULL;
}

static void send_fetch(struct fetcher *fetcher)
{
    const struct fetch_rules *rules = fetcher->owner->rules;
    struct fetch_flight *flight = free_flight(fetcher);
    if (!flight) return;
    struct fetch_request request;
    fetch_request_init(&request);
    arena_reset(&fetcher->arena);
    fetcher->last_sequence++;
    bool is_whole = name_changes(fetcher, &request) && name_forgotten(fetcher, &request);
    if (is_whole && fetcher->session_count == 0)
        return; /* nobody fetches; the session can wait for that news */
    if (fetcher->uses_ids) {
        request.replica_state.replica_id = fetcher->owner->broker_id;
        request.replica_state.replica_epoch = fetcher->owner->peers->broker_epoch;
    } else {
        request.replica_id = fetcher->owner->broker_id;
    }
    request.max_wait_ms = rules->wait_max_ms;
    request.min_bytes = rules->min_bytes;
    request.max_bytes = rules->response_max_bytes;
    request.session_id = fetcher->session_id;
    request.session_epoch = fetcher->session_epoch;
    *flight = (struct fetch_flight){
        .fetcher = fetcher,
        .call = {.done = fetch_done,
                 .context = flight,
                 .max_version = fetcher->uses_ids ? FETCH_VERSION : FETCH_VERSION_BY_NAME,
                 .timeout_ms = rules->socket_timeout_ms + rules->wait_max_ms * FETCHER_FLIGHTS},
        .sequence = fetcher->last_sequence,
        .is_full = fetcher->session_epoch == 0};
    enum error err =
        is_whole ? connection_send(fetcher->connection, API_FETCH, &request, &flight->call) : ERR_NOMEM;
    forget_all(fetcher);
    if (err != OK) {
        failed(fetcher, err);
        return;
    }
    flight->is_out = true;
    fetcher->flight_count++;
    if (fetcher->session_epoch == INT32_MAX)
        fetcher->session_epoch = 1;
    else if (fetcher->session_epoch > 0)
        fetcher->session_epoch++;
}

/* --- what is next --- */

/* Who paused long enough asks again. The next time to look, INT64_MAX for never. */
static int64_t resume(struct fetcher *fetcher)
{
    int64_t due_ms = INT64_MAX;
    LIST_EACH(&fetcher->paused, item)
    {
        struct followed *followed = CONTAINER_OF(item, struct followed, paused);
        const struct throttle *throttle = followed->partition->throttle_in;
        bool is_due = followed->brain.resume_ms <= now_ms(fetcher);
        /* Others have paid meanwhile, or it is a long wait that is looked at again. */
        if (is_due && throttle && followed->brain.pause_ms == 0)
            followed->brain.resume_ms =
                now_ms(fetcher) + throttle_wait_ms(throttle, loop_now_us(fetcher->owner->loop));
        if (followed->brain.resume_ms > now_ms(fetcher)) {
            if (followed->brain.resume_ms < due_ms) due_ms = followed->brain.resume_ms;
            continue;
        }
        list_remove(item);
        fetcher_note(followed);
    }
    return due_ms;
}

/* A sync that failed took its directory with it: the others go on. */
static void look_at_syncs(struct fetcher *fetcher)
{
    LIST_EACH(&fetcher->partitions, item)
    {
        struct followed *followed = CONTAINER_OF(item, struct followed, link);
        if (!followed->is_syncing) continue;
        struct log *log = followed->partition->log;
        if (!log || log_is_offline(log) || log_synced_end_offset(log) >= log_end_offset(log))
            synced(followed);
    }
}

/* Somebody who may fetch is not in what the leader knows. */
static bool has_news(const struct fetcher *fetcher)
{
    LIST_EACH(&fetcher->changed, item)
    {
        if (may_fetch(CONTAINER_OF(item, struct followed, changed))) return true;
    }
    return false;
}

static bool may_send(struct fetcher *fetcher)
{
    if (fetcher->is_asking || fetcher->is_in_answer || fetcher->syncing_count > 0) return false;
    if (fetcher->flight_count == 0) return true;
    /* Beside one that waits: only increments of a session that the leader has told us of. */
    return fetcher->flight_count < FETCHER_FLIGHTS && fetcher->session_epoch > 0 && !fetcher->must_restart &&
           has_news(fetcher);
}

static void pump(struct fetcher *fetcher)
{
    int64_t due_ms = resume(fetcher);
    if (fetcher->syncing_count > 0) look_at_syncs(fetcher);
    bool is_held = fetcher->syncing_count > 0;
    if (is_held && now_ms(fetcher) + SYNC_LOOK_MS < due_ms) due_ms = now_ms(fetcher) + SYNC_LOOK_MS;
    if (may_send(fetcher) && is_connected(fetcher)) {
        if (fetcher->flight_count == 0) fetcher->must_restart = false;
        if (fetcher->flight_count > 0 || !ask_offsets(fetcher)) send_fetch(fetcher);
    }
    if (!fetcher->connection && now_ms(fetcher) < fetcher->retry_ms && fetcher->retry_ms < due_ms)
        due_ms = fetcher->retry_ms;
    if (due_ms == INT64_MAX)
        loop_timer_stop(fetcher->owner->loop, &fetcher->timer);
    else
        loop_timer_start(fetcher->owner->loop, &fetcher->timer, due_ms - now_ms(fetcher));
}
