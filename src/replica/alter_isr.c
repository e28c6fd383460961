#include "replica/alter_isr.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/diag.h"
#include "metadata/controller_link.h"
#include "metadata/metadata.h"
#include "wire/messages.h"

enum {
    API_ALTER_PARTITION = 56,
    VERSION = 3,
    VERSION_WITHOUT_EPOCHS = 2, /* of a controller older than KIP-903 */
    VERSION_BY_NAME = 1,
    PAUSE_MS = 50
};

struct alter_isr {
    struct loop *loop;
    struct controller_link *link;
    struct metadata *metadata;
    int32_t broker_id;
    struct list waiting, in_flight;
    bool is_busy, has_warned;
    bool is_without_epochs; /* the controller does not know them */
    int16_t version;        /* of the request in flight, at most */
    struct arena arena;     /* of the request in flight */
    struct alter_partition_request request;
    struct controller_link_call call;
    struct loop_timer timer;
};

struct isr_change *isr_change_new(struct slice topic, int32_t index, int32_t count)
{
    struct isr_change *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    list_init(&made->link);
    made->index = index;
    made->count = count;
    made->topic_size = topic.size;
    made->ids = calloc((size_t)count + 1, sizeof *made->ids);
    made->epochs = calloc((size_t)count + 1, sizeof *made->epochs);
    made->topic = malloc(topic.size + 1);
    if (!made->ids || !made->epochs || !made->topic) {
        isr_change_free(made);
        return NULL;
    }
    if (topic.size > 0) memcpy(made->topic, topic.data, topic.size);
    return made;
}

void isr_change_free(struct isr_change *change)
{
    free(change->ids);
    free(change->epochs);
    free(change->topic);
    free(change->answer_isr);
    free(change);
}

static struct slice topic_of(const struct isr_change *change)
{
    return (struct slice){change->topic, change->topic_size};
}

static void timer_run(struct loop_timer *timer);

enum error alter_isr_new(struct loop *loop, struct controller_link *link, struct metadata *metadata,
                         int32_t broker_id, struct alter_isr **alter)
{
    struct alter_isr *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    made->loop = loop;
    made->link = link;
    made->metadata = metadata;
    made->broker_id = broker_id;
    made->timer.run = timer_run;
    list_init(&made->waiting);
    list_init(&made->in_flight);
    arena_init(&made->arena, 0);
    *alter = made;
    return OK;
}

static void free_all(struct list *changes)
{
    LIST_EACH(changes, item)
    {
        list_remove(item);
        isr_change_free(CONTAINER_OF(item, struct isr_change, link));
    }
}

void alter_isr_free(struct alter_isr **alter)
{
    struct alter_isr *freed = *alter;
    *alter = NULL;
    if (!freed) return;
    if (freed->is_busy) controller_link_cancel(freed->link, &freed->call);
    loop_timer_stop(freed->loop, &freed->timer);
    free_all(&freed->waiting);
    free_all(&freed->in_flight);
    arena_free(&freed->arena);
    free(freed);
}

/* --- the answer --- */

static void finish(struct isr_change *change, enum error err)
{
    list_remove(&change->link);
    change->err = err;
    change->done(change);
}

static struct isr_change *find(struct alter_isr *alter, bool by_id, const struct uuid *id, struct slice name,
                               int32_t index)
{
    LIST_EACH(&alter->in_flight, item)
    {
        struct isr_change *change = CONTAINER_OF(item, struct isr_change, link);
        bool is_topic = by_id ? uuid_equal(&change->topic_id, id) : slice_equal(topic_of(change), name);
        if (is_topic && change->index == index) return change;
    }
    return NULL;
}

static void take(struct isr_change *change, const struct alter_partition_response_partition_data *data)
{
    enum error err = data->error_code == 0 ? OK : error_from_kafka(data->error_code);
    int32_t count = data->isr.count > 0 ? data->isr.count : 0;
    free(change->answer_isr);
    change->answer_isr = calloc((size_t)count + 1, sizeof *change->answer_isr);
    if (!change->answer_isr) {
        finish(change, ERR_NOMEM);
        return;
    }
    if (count > 0) memcpy(change->answer_isr, data->isr.items, (size_t)count * sizeof *change->answer_isr);
    change->answer_isr_count = count;
    change->answer_leader_epoch = data->leader_epoch;
    change->answer_partition_epoch = data->partition_epoch;
    finish(change, err);
}

static void send_waiting(struct alter_isr *alter);

/* What is still in flight was not answered: it goes with the next request, after a pause. */
static void wait_again(struct alter_isr *alter)
{
    int64_t then_ms = loop_now_ms(alter->loop) + PAUSE_MS;
    while (!list_empty(&alter->in_flight)) {
        struct list *item = alter->in_flight.prev;
        list_remove(item);
        CONTAINER_OF(item, struct isr_change, link)->not_before_ms = then_ms;
        list_push_front(&alter->waiting, item);
    }
}

static void done(struct controller_link_call *call, enum error err, int16_t version, const void *answer)
{
    struct alter_isr *alter = call->context;
    const struct alter_partition_response *response = answer;
    alter->is_busy = false;
    if (err == ERR_CLOSED) return; /* the link is being freed, and so are we */
    /* Older, or newer than we thought: the members are told in one of two ways. */
    if (err == ERR_UNSUPPORTED_VERSION) alter->is_without_epochs = !alter->is_without_epochs;
    if (err == OK && response->error_code != 0) err = error_from_kafka(response->error_code);
    if (err != OK && !alter->has_warned)
        diag_warn("the controller refused to change ISRs: %s; trying again", error_text(err));
    alter->has_warned = err != OK;
    for (int32_t t = 0; err == OK && t < response->topics.count; t++) {
        const struct alter_partition_response_topic_data *topic = &response->topics.items[t];
        for (int32_t i = 0; i < topic->partitions.count; i++) {
            struct isr_change *change = find(alter, version >= 2, &topic->topic_id, topic->topic_name,
                                             topic->partitions.items[i].partition_index);
            if (change) take(change, &topic->partitions.items[i]);
        }
    }
    wait_again(alter);
    send_waiting(alter);
}

/* --- the request --- */

static bool add(struct alter_isr *alter, const struct isr_change *change,
                struct alter_partition_request_partition_data *partition)
{
    struct alter_partition_request *request = &alter->request;
    struct alter_partition_request_topic_data *topic =
        request->topics.count > 0 ? &request->topics.items[request->topics.count - 1] : NULL;
    if (!topic || !slice_equal(topic->topic_name, topic_of(change)) ||
        (alter->version >= VERSION_WITHOUT_EPOCHS && !uuid_equal(&topic->topic_id, &change->topic_id))) {
        topic = &request->topics.items[request->topics.count++];
        alter_partition_request_topic_data_init(topic);
        topic->topic_name = topic_of(change);
        if (alter->version >= VERSION_WITHOUT_EPOCHS) topic->topic_id = change->topic_id;
        topic->partitions.items = partition;
    }
    topic->partitions.count++;
    alter_partition_request_partition_data_init(partition);
    partition->partition_index = change->index;
    partition->leader_epoch = change->leader_epoch;
    partition->partition_epoch = change->partition_epoch;
    if (alter->version < VERSION) {
        partition->new_isr.items = change->ids;
        partition->new_isr.count = change->count;
        return true;
    }
    struct alter_partition_request_broker_state *states =
        arena_array(&alter->arena, (size_t)change->count + 1, sizeof *states);
    if (!states) return false;
    for (int32_t i = 0; i < change->count; i++) {
        alter_partition_request_broker_state_init(&states[i]);
        states[i].broker_id = change->ids[i];
        states[i].broker_epoch = change->epochs[i];
    }
    partition->new_isr_with_epochs.items = states;
    partition->new_isr_with_epochs.count = change->count;
    return true;
}

/* Moves what is due from waiting to in flight, and counts it; *next_ms is when more is due. */
static size_t collect(struct alter_isr *alter, int64_t *next_ms, bool *has_ids)
{
    size_t count = 0;
    *next_ms = INT64_MAX;
    *has_ids = true;
    LIST_EACH(&alter->waiting, item)
    {
        struct isr_change *change = CONTAINER_OF(item, struct isr_change, link);
        if (change->not_before_ms > loop_now_ms(alter->loop)) {
            if (change->not_before_ms < *next_ms) *next_ms = change->not_before_ms;
            continue;
        }
        list_remove(item);
        list_push_back(&alter->in_flight, item);
        *has_ids &= !uuid_is_zero(&change->topic_id);
        count++;
    }
    return count;
}

static void send_waiting(struct alter_isr *alter)
{
    if (alter->is_busy) return;
    int64_t next_ms;
    bool has_ids;
    size_t count = collect(alter, &next_ms, &has_ids);
    if (count == 0) {
        if (next_ms != INT64_MAX)
            loop_timer_start(alter->loop, &alter->timer, next_ms - loop_now_ms(alter->loop));
        return;
    }
    arena_reset(&alter->arena);
    alter->version = !has_ids ? VERSION_BY_NAME : alter->is_without_epochs ? VERSION_WITHOUT_EPOCHS : VERSION;
    alter_partition_request_init(&alter->request);
    alter->request.broker_id = alter->broker_id;
    alter->request.broker_epoch = metadata_broker_epoch(alter->metadata);
    alter->request.topics.items = arena_array(&alter->arena, count, sizeof *alter->request.topics.items);
    struct alter_partition_request_partition_data *partition =
        arena_array(&alter->arena, count, sizeof *partition);
    bool is_whole = alter->request.topics.items && partition;
    LIST_EACH(&alter->in_flight, item)
    {
        if (is_whole) is_whole = add(alter, CONTAINER_OF(item, struct isr_change, link), partition++);
    }
    if (!is_whole) {
        wait_again(alter);
        loop_timer_start(alter->loop, &alter->timer, PAUSE_MS);
        return;
    }
    alter->call = (struct controller_link_call){.api_key = API_ALTER_PARTITION,
                                                .max_version = alter->version,
                                                .request = &alter->request,
                                                .give_up_ms = INT64_MAX,
                                                .done = done,
                                                .context = alter};
    alter->is_busy = true;
    controller_link_send(alter->link, &alter->call);
}

static void timer_run(struct loop_timer *timer)
{
    send_waiting(CONTAINER_OF(timer, struct alter_isr, timer));
}

void alter_isr_submit(struct alter_isr *alter, struct isr_change *change)
{
    list_push_back(&alter->waiting, &change->link);
    send_waiting(alter);
}
