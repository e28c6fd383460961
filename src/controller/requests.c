/* requests.c: words to brokers, collected while an event runs and sent at its turns: LeaderAndIsr first, then UpdateMetadata,
 * then StopReplica, one of each at most for a broker (facts/cluster.md 3.13).
 *
 * Who hears of a partition by LeaderAndIsr has everybody else told of it by UpdateMetadata. Every UpdateMetadata carries all
 * brokers. The broker epoch is the one known now. */
#include "controller/inside.h"

struct lisr_item {
    int32_t broker_id;
    struct cpartition *partition;
    bool is_new;
};

struct stop_item {
    int32_t broker_id;
    struct ctopic *topic;
    int32_t index, leader_epoch;
    bool is_deleted;
};

struct batch {
    struct lisr_item *lisr;
    size_t lisr_count, lisr_capacity;
    struct cpartition **updates;
    size_t update_count, update_capacity;
    bool is_update_wanted;
    bool is_whole;               /* what it does not tell of is no more */
    struct int32_list update_to; /* items NULL: all that are reachable */
    struct stop_item *stops;
    size_t stop_count, stop_capacity;
};

static struct batch *batch_of(struct controller *c)
{
    if (!c->batch) {
        c->batch = need(calloc(1, sizeof *c->batch));
        c->batch_number++;
    }
    return c->batch;
}

static void batch_free(struct batch *batch)
{
    if (!batch) return;
    free(batch->lisr);
    free(batch->updates);
    free(batch->stops);
    free((void *)batch->update_to.items);
    free(batch);
}

void batch_drop(struct controller *c)
{
    batch_free(c->batch);
    c->batch = NULL;
}

void batch_update(struct controller *c, struct cpartition *partition)
{
    struct batch *batch = batch_of(c);
    batch->is_update_wanted = true;
    if (partition->update_mark == c->batch_number) return;
    partition->update_mark = c->batch_number;
    if (!VEC_RESERVE(batch->updates, batch->update_count, batch->update_capacity)) need(NULL);
    batch->updates[batch->update_count++] = partition;
}

void batch_update_to(struct controller *c, struct int32_list brokers)
{
    struct batch *batch = batch_of(c);
    batch->is_update_wanted = true;
    int32_t *ids = need(calloc(brokers.count + 1, sizeof *ids));
    if (brokers.count) memcpy(ids, brokers.items, brokers.count * sizeof *ids);
    free((void *)batch->update_to.items);
    batch->update_to = (struct int32_list){ids, brokers.count};
}

void batch_tells_all(struct controller *c)
{
    batch_of(c)->is_whole = batch_of(c)->is_update_wanted = true;
}

void batch_leader_and_isr(struct controller *c, struct int32_list brokers, struct cpartition *partition,
                          bool is_new)
{
    struct batch *batch = batch_of(c);
    for (size_t i = 0; i < brokers.count; i++) {
        if (!ids_have(c->reachable, brokers.items[i])) continue;
        if (!VEC_RESERVE(batch->lisr, batch->lisr_count, batch->lisr_capacity)) need(NULL);
        batch->lisr[batch->lisr_count++] = (struct lisr_item){brokers.items[i], partition, is_new};
    }
    batch_update(c, partition);
}

void batch_stop(struct controller *c, int32_t broker_id, struct cpartition *partition, bool is_deleted)
{
    if (!ids_have(c->reachable, broker_id)) return;
    struct batch *batch = batch_of(c);
    if (!VEC_RESERVE(batch->stops, batch->stop_count, batch->stop_capacity)) need(NULL);
    /* -2: the topic goes, whatever the epoch; -1: not known. */
    int32_t epoch = partition->topic->is_deleting ? -2 : partition->has_state ? partition->leader_epoch : -1;
    batch->stops[batch->stop_count++] =
        (struct stop_item){broker_id, partition->topic, partition->index, epoch, is_deleted};
}

/* --- making the requests --- */

static void *take(struct controller_rpc *rpc, size_t count, size_t size)
{
    return need(arena_zalloc(&rpc->arena, (count ? count : 1) * size));
}

static struct slice take_text(struct controller_rpc *rpc, struct slice s)
{
    if (!s.data) return s;
    struct slice copy = arena_copy(&rpc->arena, s);
    need((void *)copy.data);
    return copy;
}

static int32_t *take_ids(struct controller_rpc *rpc, struct int32_list ids)
{
    int32_t *copy = take(rpc, ids.count, sizeof *copy);
    if (ids.count) memcpy(copy, ids.items, ids.count * sizeof *copy);
    return copy;
}

#define SET_IDS(field, list)                                                                                 \
    do {                                                                                                     \
        (field).items = take_ids(rpc, list);                                                                 \
        (field).count = (int32_t)(list).count;                                                               \
    } while (0)

static int32_t *take_replicas(struct controller_rpc *rpc, const struct cpartition *partition)
{
    int32_t *ids = take(rpc, partition->seat_count, sizeof *ids);
    for (size_t i = 0; i < partition->seat_count; i++) ids[i] = partition->seats[i].broker_id;
    return ids;
}

static void rpc_free(struct controller_rpc *rpc)
{
    arena_free(&rpc->arena);
    free(rpc);
}

struct rpc_answer {
    struct controller *c;
    uint64_t term;
};

/* In an event of its own, like everything that happens to the controller. */
static void rpc_answer_event(struct controller *c, void *argument)
{
    struct controller_rpc *rpc = argument;
    if (rpc->err == OK && rpc->api_key == 5) deletion_answered(c, rpc->broker_id, rpc);
    if (rpc->err == OK && rpc->api_key == 4) {
        struct replica_list failed = {0};
        const struct leader_and_isr_response *response = &rpc->response.leader_and_isr;
        for (int32_t t = 0; t < response->topics.count; t++) {
            const struct ctopic *topic = context_topic_by_id(c, &response->topics.items[t].topic_id);
            for (int32_t p = 0; topic && p < response->topics.items[t].partition_errors.count; p++) {
                const struct leader_and_isr_response_leader_and_isr_partition_error *said =
                    &response->topics.items[t].partition_errors.items[p];
                if (said->error_code == 0) continue;
                /* After a fail-over all roles are told again: brokers that knew theirs already say so with this. */
                if (said->error_code == error_kafka_code(ERR_STALE_CONTROLLER_EPOCH)) continue;
                diag_warn("broker %d answers %s to its role in %.*s-%d", rpc->broker_id,
                          error_name(error_from_kafka(said->error_code)), SLICE_ARG(topic->name),
                          said->partition_index);
                bool is_known =
                    said->partition_index >= 0 && (size_t)said->partition_index < topic->partition_count;
                struct cpartition *partition = is_known ? topic->partitions[said->partition_index] : NULL;
                struct seat *seat = partition ? context_seat(partition, rpc->broker_id) : NULL;
                if (said->error_code != error_kafka_code(ERR_KAFKA_STORAGE_ERROR) || !seat ||
                    seat->is_dir_offline)
                    continue;
                seat->is_dir_offline = true;
                replica_list_add(c, &failed, partition, rpc->broker_id);
            }
        }
        if (failed.count > 0) {
            struct partition_list led = {0};
            for (size_t i = 0; i < failed.count; i++)
                if (failed.items[i].partition->leader == failed.items[i].broker_id)
                    partition_list_add(c, &led, failed.items[i].partition);
            transition_replicas(c, failed, REPLICA_OFFLINE); /* the last pushed runs first */
            transition_elect_waiting(c);
            transition_offline(c, led);
        }
    }
    rpc_free(rpc);
}

static void rpc_answer_drop(struct controller *c, void *argument)
{
    (void)c;
    rpc_free(argument);
}

static void rpc_done(struct controller_rpc *rpc)
{
    struct rpc_answer *answer = rpc->context;
    struct controller *c = answer->c;
    uint64_t term = answer->term;
    bool is_alive = controller_is_alive(c);
    if (is_alive && c->term == term && c->role != ROLE_NONE)
        engine_event(c, rpc_answer_event, rpc, rpc_answer_drop, false);
    else
        rpc_free(rpc);
}

static struct controller_rpc *rpc_new(struct controller *c, const struct cbroker *broker, int16_t api_key)
{
    struct controller_rpc *rpc = need(calloc(1, sizeof *rpc));
    arena_init(&rpc->arena, 0);
    rpc->broker_id = broker->id;
    rpc->api_key = api_key;
    rpc->done = rpc_done;
    struct rpc_answer *answer = take(rpc, 1, sizeof *answer);
    *answer = (struct rpc_answer){c, c->term};
    rpc->context = answer;
    return rpc;
}

static void rpc_send(struct controller *c, struct controller_rpc *rpc)
{
    c->unanswered++;
    c->options.channel.send(c->options.channel.context, rpc);
}

static int compare_partitions(const struct cpartition *a, const struct cpartition *b)
{
    int order = a->topic == b->topic ? 0 : slice_compare(a->topic->name, b->topic->name);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

static int by_broker(const void *a, const void *b)
{
    const struct lisr_item *x = a, *y = b;
    return x->broker_id != y->broker_id ? (x->broker_id > y->broker_id) - (x->broker_id < y->broker_id)
                                        : compare_partitions(x->partition, y->partition);
}

static int by_partition(const void *a, const void *b)
{
    return compare_partitions(*(struct cpartition *const *)a, *(struct cpartition *const *)b);
}

static int by_stop(const void *a, const void *b)
{
    const struct stop_item *x = a, *y = b;
    if (x->broker_id != y->broker_id) return (x->broker_id > y->broker_id) - (x->broker_id < y->broker_id);
    int order = x->topic == y->topic ? 0 : slice_compare(x->topic->name, y->topic->name);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static void add_live_leader(struct controller *c, struct controller_rpc *rpc,
                            struct leader_and_isr_request *request, int32_t id)
{
    for (int32_t i = 0; i < request->live_leaders.count; i++)
        if (request->live_leaders.items[i].broker_id == id) return;
    const struct cbroker *broker = context_broker(c, id);
    if (!broker || broker->registration.endpoint_count == 0) return;
    const struct broker_endpoint *endpoint = &broker->registration.endpoints[0];
    for (size_t e = 0; e < broker->registration.endpoint_count; e++)
        if (slice_equal(broker->registration.endpoints[e].listener, c->options.listener))
            endpoint = &broker->registration.endpoints[e];
    struct leader_and_isr_request_leader_and_isr_live_leader *leader =
        &request->live_leaders.items[request->live_leaders.count++];
    leader->broker_id = id;
    leader->host_name = take_text(rpc, endpoint->host);
    leader->port = endpoint->port;
}

static void send_leader_and_isr(struct controller *c, const struct cbroker *broker,
                                const struct lisr_item *items, size_t count)
{
    struct controller_rpc *rpc = rpc_new(c, broker, 4);
    struct leader_and_isr_request *request = &rpc->request.leader_and_isr;
    leader_and_isr_request_init(request);
    leader_and_isr_response_init(&rpc->response.leader_and_isr);
    request->controller_id = c->id;
    request->controller_epoch = c->epoch;
    request->broker_epoch = broker->epoch;
    request->topic_states.items = take(rpc, count, sizeof *request->topic_states.items);
    request->live_leaders.items = take(rpc, c->brokers.count, sizeof *request->live_leaders.items);
    request->live_leaders.count = 0;

    for (size_t begin = 0, end; begin < count; begin = end) {
        const struct ctopic *topic = items[begin].partition->topic;
        for (end = begin; end < count && items[end].partition->topic == topic;) end++;
        struct leader_and_isr_request_leader_and_isr_topic_state *said =
            &request->topic_states.items[request->topic_states.count++];
        said->topic_name = take_text(rpc, topic->name);
        said->topic_id = topic->id;
        said->partition_states.items = take(rpc, end - begin, sizeof *said->partition_states.items);
        for (size_t i = begin; i < end; i++) {
            const struct cpartition *partition = items[i].partition;
            bool is_repeated = i > begin && items[i - 1].partition == partition;
            if (is_repeated) {
                said->partition_states.items[said->partition_states.count - 1].is_new |= items[i].is_new;
                continue;
            }
            struct leader_and_isr_request_leader_and_isr_partition_state *state =
                &said->partition_states.items[said->partition_states.count++];
            state->topic_name = said->topic_name;
            state->partition_index = partition->index;
            state->controller_epoch = partition->state_epoch;
            state->leader = partition->leader;
            state->leader_epoch = partition->leader_epoch;
            SET_IDS(state->isr, partition->isr);
            state->partition_epoch = partition->version;
            state->replicas.items = take_replicas(rpc, partition);
            state->replicas.count = (int32_t)partition->seat_count;
            SET_IDS(state->adding_replicas, partition->adding);
            SET_IDS(state->removing_replicas, partition->removing);
            state->is_new = items[i].is_new;
            state->leader_recovery_state = partition->is_recovering ? 1 : 0;
            add_live_leader(c, rpc, request, partition->leader);
        }
    }
    rpc_send(c, rpc);
}

static void add_brokers(struct controller *c, struct controller_rpc *rpc,
                        struct update_metadata_request *request)
{
    request->live_brokers.items = take(rpc, c->reachable.count, sizeof *request->live_brokers.items);
    for (size_t b = 0; b < c->reachable.count; b++) {
        const struct broker_registration *known = &context_broker(c, c->reachable.items[b])->registration;
        struct update_metadata_request_update_metadata_broker *said =
            &request->live_brokers.items[request->live_brokers.count++];
        said->id = c->reachable.items[b];
        said->rack = take_text(rpc, known->rack);
        said->endpoints.items = take(rpc, known->endpoint_count, sizeof *said->endpoints.items);
        said->endpoints.count = (int32_t)known->endpoint_count;
        for (size_t e = 0; e < known->endpoint_count; e++) {
            said->endpoints.items[e].host = take_text(rpc, known->endpoints[e].host);
            said->endpoints.items[e].listener = take_text(rpc, known->endpoints[e].listener);
            said->endpoints.items[e].port = known->endpoints[e].port;
            said->endpoints.items[e].security_protocol = known->endpoints[e].security_protocol;
        }
    }
}

static void send_update(struct controller *c, const struct cbroker *broker,
                        struct cpartition *const *partitions, size_t count, bool is_whole)
{
    struct controller_rpc *rpc = rpc_new(c, broker, 6);
    struct update_metadata_request *request = &rpc->request.update_metadata;
    update_metadata_request_init(request);
    update_metadata_response_init(&rpc->response.update_metadata);
    request->controller_id = c->id;
    request->controller_epoch = c->epoch;
    request->broker_epoch = broker->epoch;
    /* Apache's brokers know the word from KRaft's controllers alone. */
    if (is_whole && broker->registration.shrinks_itself) request->type = METADATA_UPDATE_FULL;
    request->topic_states.items = take(rpc, count, sizeof *request->topic_states.items);

    for (size_t begin = 0, end; begin < count; begin = end) {
        const struct ctopic *topic = partitions[begin]->topic;
        for (end = begin; end < count && partitions[end]->topic == topic;) end++;
        struct update_metadata_request_update_metadata_topic_state *said =
            &request->topic_states.items[request->topic_states.count++];
        said->topic_name = take_text(rpc, topic->name);
        said->topic_id = topic->id;
        said->partition_states.items = take(rpc, end - begin, sizeof *said->partition_states.items);
        said->partition_states.count = (int32_t)(end - begin);
        for (size_t i = begin; i < end; i++) {
            const struct cpartition *partition = partitions[i];
            struct update_metadata_request_update_metadata_partition_state *state =
                &said->partition_states.items[i - begin];
            state->topic_name = said->topic_name;
            state->partition_index = partition->index;
            state->controller_epoch = partition->state_epoch;
            state->leader = topic->is_deleting ? IMAGE_LEADER_DELETED : partition->leader;
            state->leader_epoch = topic->is_deleting ? 0 : partition->leader_epoch;
            SET_IDS(state->isr, partition->isr);
            state->zk_version = topic->is_deleting ? 0 : partition->version;
            state->replicas.items = take_replicas(rpc, partition);
            state->replicas.count = (int32_t)partition->seat_count;
            state->offline_replicas.items = take(rpc, partition->seat_count, sizeof(int32_t));
            state->offline_replicas.count = 0;
            for (size_t s = 0; s < partition->seat_count; s++)
                if (!context_is_live(c, partition, partition->seats[s].broker_id))
                    state->offline_replicas.items[state->offline_replicas.count++] =
                        partition->seats[s].broker_id;
        }
    }
    add_brokers(c, rpc, request);
    rpc_send(c, rpc);
}

static void send_stop(struct controller *c, const struct cbroker *broker, const struct stop_item *items,
                      size_t count)
{
    struct controller_rpc *rpc = rpc_new(c, broker, 5);
    struct stop_replica_request *request = &rpc->request.stop_replica;
    stop_replica_request_init(request);
    stop_replica_response_init(&rpc->response.stop_replica);
    request->controller_id = c->id;
    request->controller_epoch = c->epoch;
    request->broker_epoch = broker->epoch;
    request->topic_states.items = take(rpc, count, sizeof *request->topic_states.items);
    for (size_t begin = 0, end; begin < count; begin = end) {
        const struct ctopic *topic = items[begin].topic;
        for (end = begin; end < count && items[end].topic == topic;) end++;
        struct stop_replica_request_stop_replica_topic_state *said =
            &request->topic_states.items[request->topic_states.count++];
        said->topic_name = take_text(rpc, topic->name);
        said->partition_states.items = take(rpc, end - begin, sizeof *said->partition_states.items);
        for (size_t i = begin; i < end; i++) {
            bool is_repeated = i > begin && items[i - 1].index == items[i].index;
            struct stop_replica_request_stop_replica_partition_state *state =
                &said->partition_states
                     .items[is_repeated ? said->partition_states.count - 1 : said->partition_states.count++];
            state->partition_index = items[i].index;
            state->leader_epoch = items[i].leader_epoch;
            state->delete_partition |= items[i].is_deleted;
        }
    }
    rpc_send(c, rpc);
}

void batch_send(struct controller *c)
{
    struct batch *batch = c->batch;
    if (!batch) return;
    c->batch = NULL; /* sending may bring answers, and those a new batch */
    if (batch->lisr_count) qsort(batch->lisr, batch->lisr_count, sizeof *batch->lisr, by_broker);
    for (size_t begin = 0, end; begin < batch->lisr_count; begin = end) {
        int32_t id = batch->lisr[begin].broker_id;
        for (end = begin; end < batch->lisr_count && batch->lisr[end].broker_id == id;) end++;
        const struct cbroker *broker = context_broker(c, id);
        if (broker) send_leader_and_isr(c, broker, batch->lisr + begin, end - begin);
    }
    if (batch->update_count)
        qsort(batch->updates, batch->update_count, sizeof(struct cpartition *), by_partition);
    struct int32_list to = batch->update_to.items ? batch->update_to : c->reachable;
    for (size_t i = 0; batch->is_update_wanted && i < to.count; i++) {
        const struct cbroker *broker = context_broker(c, to.items[i]);
        if (broker) send_update(c, broker, batch->updates, batch->update_count, batch->is_whole);
    }
    if (batch->stop_count) qsort(batch->stops, batch->stop_count, sizeof *batch->stops, by_stop);
    for (size_t begin = 0, end; begin < batch->stop_count; begin = end) {
        int32_t id = batch->stops[begin].broker_id;
        for (end = begin; end < batch->stop_count && batch->stops[end].broker_id == id;) end++;
        const struct cbroker *broker = context_broker(c, id);
        if (broker) send_stop(c, broker, batch->stops + begin, end - begin);
    }
    batch_free(batch);
}
