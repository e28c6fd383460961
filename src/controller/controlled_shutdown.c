/* controlled_shutdown.c: a broker that is about to stop hands over what it leads and leaves the ISRs of what it follows, while it
 * still answers (facts/cluster.md 2.3).
 *
 *   leaving -> leaders elected among the others, it is told too -> its other replicas stop and leave their ISRs -> what it leads still
 *
 * It hears from us until its registration goes; when that comes back with another epoch it is a broker like any other. */
#include "controller/inside.h"

struct leave {
    struct controller_call *call;
    int32_t broker_id;
};

static void answer(struct controller_call *call, enum error err)
{
    struct controlled_shutdown_response *response = call->response;
    controlled_shutdown_response_init(response);
    response->error_code = error_kafka_code(err);
    call_done(call, OK);
}

static void leave_drop(struct controller *c, void *argument)
{
    (void)c;
    answer(((struct leave *)argument)->call, ERR_NOT_CONTROLLER);
}

/* A replica beside others, of a partition that has a leader or had one. */
static bool is_movable(const struct cpartition *partition, int32_t broker_id)
{
    return partition->seat_count > 1 && partition->has_state && !partition->topic->is_deleting &&
           context_seat((struct cpartition *)partition, broker_id);
}

static size_t count_led(const struct cpartition *const *partitions, size_t count, int32_t broker_id)
{
    size_t led = 0;
    for (size_t i = 0; i < count; i++) led += partitions[i]->leader == broker_id;
    return led;
}

/* Every partition that it has beside others, by topic and index. */
static struct partition_list movable(struct controller *c, int32_t broker_id)
{
    struct partition_list found = {0};
    size_t count;
    struct ctopic **topics = context_sorted_topics(c, &count);
    for (size_t t = 0; t < count; t++)
        for (size_t p = 0; p < topics[t]->partition_count; p++)
            if (is_movable(topics[t]->partitions[p], broker_id))
                partition_list_add(c, &found, topics[t]->partitions[p]);
    return found;
}

static void left(struct controller *c, void *argument)
{
    struct leave *leave = argument;
    struct controller_call *call = leave->call;
    struct partition_list all = movable(c, leave->broker_id);
    const struct cpartition *const *partitions = (const struct cpartition *const *)all.items;
    size_t count = count_led(partitions, all.count, leave->broker_id);
    engine_guard(c, NULL, NULL);
    struct controlled_shutdown_response *response = call->response;
    controlled_shutdown_response_init(response);
    response->remaining_partitions.items =
        arena_zalloc(call->arena, (count + 1) * sizeof *response->remaining_partitions.items);
    if (!response->remaining_partitions.items) {
        call_done(call, ERR_NOMEM);
        return;
    }
    response->remaining_partitions.count = 0;
    for (size_t i = 0; i < all.count; i++) {
        if (partitions[i]->leader != leave->broker_id) continue;
        struct controlled_shutdown_response_remaining_partition *said =
            &response->remaining_partitions.items[response->remaining_partitions.count++];
        said->topic_name = arena_copy(call->arena, partitions[i]->topic->name);
        said->partition_index = partitions[i]->index;
        if (said->topic_name.data) continue;
        call_done(call, ERR_NOMEM);
        return;
    }
    if (count > 0)
        diag_info("broker %d still leads %zu partitions that nobody else may lead", leave->broker_id, count);
    call_done(call, OK);
}

/* What it leads, or else follows, now that elections are over. */
static void leave_followed(struct controller *c, void *argument)
{
    struct leave *leave = argument;
    struct partition_list all = movable(c, leave->broker_id);
    struct replica_list followed = {0};
    for (size_t i = 0; i < all.count; i++)
        if (all.items[i]->leader != leave->broker_id)
            replica_list_add(c, &followed, all.items[i], leave->broker_id);
    if (followed.count > 0) transition_replicas(c, followed, REPLICA_OFFLINE);
}

static void leave_event(struct controller *c, void *argument)
{
    struct controller_call *call = argument;
    const struct controlled_shutdown_request *request = call->request;
    struct cbroker *broker = context_broker(c, request->broker_id);
    if (!broker || (request->broker_epoch != -1 && request->broker_epoch < broker->epoch)) {
        answer(call, broker ? ERR_STALE_BROKER_EPOCH : ERR_BROKER_NOT_AVAILABLE);
        return;
    }
    struct leave *leave = scratch_alloc(c, 1, sizeof *leave);
    *leave = (struct leave){call, request->broker_id};
    engine_guard(c, leave_drop, leave);
    diag_info("broker %d is about to stop", broker->id);
    context_set_leaving(c, broker);
    struct partition_list all = movable(c, leave->broker_id), led = {0};
    for (size_t i = 0; i < all.count; i++)
        if (all.items[i]->leader == leave->broker_id) partition_list_add(c, &led, all.items[i]);
    engine_push(c, left, leave); /* the last pushed runs first */
    engine_push(c, leave_followed, leave);
    if (led.count > 0) transition_online(c, led, ELECT_CONTROLLED_SHUTDOWN);
}

static void leave_event_drop(struct controller *c, void *argument)
{
    (void)c;
    answer(argument, ERR_NOT_CONTROLLER);
}

void call_controlled_shutdown(struct controller *c, struct controller_call *call)
{
    engine_event(c, leave_event, call, leave_event_drop, false);
}
