/* deletion.c: topics on their way out (facts/cluster.md 3.9).
 *
 *   /admin/delete_topics/T -> brokers forget T (UpdateMetadata, leader -2) -> replicas stop -> replicas delete their data
 *                          -> T's znodes go, then its config, then the request
 *
 * A replica on a dead broker halts it until that broker returns. The request goes last, so whoever fails over begins again.
 */
#include "controller/inside.h"

enum { STEPS_IN_A_MULTI = 400 };

void deletion_begin(struct controller *c, struct ctopic *topic)
{
    if (topic->is_deleting) return;
    (void)c;
    topic->is_deleting = true;
    topic->is_deletion_halted = false;
    diag_info("deleting topic %.*s", SLICE_ARG(topic->name));
}

/* --- the znodes --- */

static void forget(struct controller *c, struct ctopic *topic)
{
    coord_unwatch(c->coord, COORD_WATCH_NODE, topic_path(c, topic->name));
    diag_info("topic %.*s is deleted", SLICE_ARG(topic->name));
    context_remove_topic(c, topic);
}

static void forget_step(struct controller *c, void *argument)
{
    forget(c, argument);
}

static void delete_step(struct controller *c, void *argument)
{
    struct slice *path = argument;
    struct coord_op op = {.kind = COORD_DELETE, .path = *path, .version = COORD_ANY_VERSION};
    engine_fenced(c, &op, 1, NULL, NULL); /* one that is gone already is as good */
}

static struct slice *kept_path(struct controller *c, struct slice path)
{
    struct slice *kept = scratch_alloc(c, 1, sizeof *kept);
    *kept = path;
    return kept;
}

static void tree_step(struct controller *c, void *argument);

static void tree_listed(struct controller *c, void *argument, const struct coord_reply *reply)
{
    struct slice *path = argument;
    for (size_t i = 0; reply->err == OK && i < reply->child_count; i++)
        engine_push(
            c, tree_step,
            kept_path(c, scratch_print(c, "%.*s/%.*s", SLICE_ARG(*path), SLICE_ARG(reply->children[i]))));
}

/* What is below first, whatever it is. */
static void tree_step(struct controller *c, void *argument)
{
    engine_push(c, delete_step, argument);
    engine_children(c, *(struct slice *)argument, tree_listed, argument);
}

static struct slice config_path(struct controller *c, const struct ctopic *topic)
{
    return scratch_print(c, "/config/topics/%.*s", SLICE_ARG(topic->name));
}

static struct slice request_path(struct controller *c, const struct ctopic *topic)
{
    return scratch_print(c, "/admin/delete_topics/%.*s", SLICE_ARG(topic->name));
}

/* Node by node, as found: the slow way, for what is not as we think. */
static void delete_by_listing(struct controller *c, struct ctopic *topic)
{
    engine_push(c, forget_step, topic);
    engine_push(c, delete_step, kept_path(c, request_path(c, topic)));
    engine_push(c, delete_step, kept_path(c, config_path(c, topic)));
    engine_push(c, tree_step, kept_path(c, topic_path(c, topic->name)));
}

static void all_deleted(struct controller *c, void *argument, const struct coord_reply *reply)
{
    if (reply->err == OK)
        forget(c, argument);
    else
        delete_by_listing(c, argument);
}

/* The topic itself, its config, the request: together, after all that lies below. */
static void delete_rest(struct controller *c, struct ctopic *topic, struct coord_op *ops, size_t count)
{
    const struct coord_op remove = {.kind = COORD_DELETE, .version = COORD_ANY_VERSION};
    struct slice paths[] = {scratch_print(c, "/brokers/topics/%.*s/partitions", SLICE_ARG(topic->name)),
                            topic_path(c, topic->name), config_path(c, topic), request_path(c, topic)};
    for (size_t i = topic->has_folder ? 0 : 1; i < 4; i++) {
        ops[count] = remove;
        ops[count++].path = paths[i];
    }
    engine_fenced(c, ops, count, all_deleted, topic);
}

static size_t partition_steps(struct controller *c, const struct cpartition *partition, struct coord_op *ops)
{
    if (!partition->has_state) return 0;
    struct slice path = state_path(c, partition);
    ops[0] = (struct coord_op){.kind = COORD_DELETE, .path = path, .version = COORD_ANY_VERSION};
    ops[1] = ops[0];
    ops[1].path = (struct slice){path.data, path.size - sizeof "/state" + 1};
    return 2;
}

struct large_topic {
    struct ctopic *topic;
    struct write *writes;
    size_t count;
};

static void large_topic_step(struct controller *c, void *argument)
{
    struct large_topic *large = argument;
    for (size_t i = 0; i < large->count; i++) {
        if (large->writes[i].err == OK) continue;
        delete_by_listing(c, large->topic);
        return;
    }
    delete_rest(c, large->topic, scratch_alloc(c, 4, sizeof(struct coord_op)), 0);
}

static void delete_znodes(struct controller *c, struct ctopic *topic)
{
    size_t most = 2 * topic->partition_count + 4, count = 0;
    if (most <= STEPS_IN_A_MULTI) {
        struct coord_op *ops = scratch_alloc(c, most, sizeof *ops);
        for (size_t p = 0; p < topic->partition_count; p++)
            count += partition_steps(c, topic->partitions[p], ops + count);
        delete_rest(c, topic, ops, count);
        return;
    }
    struct large_topic *large = scratch_alloc(c, 1, sizeof *large);
    large->topic = topic;
    large->writes = scratch_alloc(c, topic->partition_count, sizeof *large->writes);
    for (size_t p = 0; p < topic->partition_count; p++) {
        struct write *write = &large->writes[large->count];
        write->op_count = partition_steps(c, topic->partitions[p], write->ops);
        large->count += write->op_count > 0;
    }
    engine_push(c, large_topic_step, large);
    engine_writes(c, large->writes, large->count);
}

/* --- the replicas --- */

/* Those on live brokers stop and delete; the others make their topic wait. */
static void collect_replicas(struct controller *c, struct ctopic *topic, struct replica_list *living)
{
    for (size_t p = 0; p < topic->partition_count; p++) {
        struct cpartition *partition = topic->partitions[p];
        for (size_t s = 0; s < partition->seat_count; s++) {
            struct seat *seat = &partition->seats[s];
            if (seat->phase == REPLICA_DELETION_SUCCESSFUL) continue;
            if (!context_is_live(c, partition, seat->broker_id)) {
                seat->phase = REPLICA_DELETION_INELIGIBLE;
                topic->is_deletion_halted = true;
                continue;
            }
            if (seat->phase == REPLICA_NONEXISTENT) seat->phase = REPLICA_OFFLINE;
            replica_list_add(c, living, partition, seat->broker_id);
        }
    }
    if (topic->is_deletion_halted)
        diag_info("deleting topic %.*s waits for a broker that is away", SLICE_ARG(topic->name));
    topic->is_deletion_begun = true;
}

enum next { NEXT_NOTHING, NEXT_REPLICAS, NEXT_ZNODES };

static enum next next_of(struct controller *c, const struct ctopic *topic)
{
    size_t seats = 0, successful = 0, started = 0, retriable = 0;
    for (size_t p = 0; p < topic->partition_count; p++) {
        for (size_t s = 0; s < topic->partitions[p]->seat_count; s++) {
            const struct seat *seat = &topic->partitions[p]->seats[s];
            seats++;
            successful += seat->phase == REPLICA_DELETION_SUCCESSFUL;
            started += seat->phase == REPLICA_DELETION_STARTED;
            retriable += seat->phase != REPLICA_DELETION_SUCCESSFUL &&
                         context_is_live(c, topic->partitions[p], seat->broker_id);
        }
    }
    if (successful == seats) return NEXT_ZNODES;
    bool is_due = !topic->is_deletion_begun || (!topic->is_deletion_halted && retriable > 0);
    return started == 0 && is_due ? NEXT_REPLICAS : NEXT_NOTHING;
}

/* All topics that can go on go on together: one word to each broker, few writes. */
void deletion_resume(struct controller *c)
{
    struct replica_list living = {0};
    size_t count;
    struct ctopic **topics = context_sorted_topics(c, &count);
    for (size_t i = 0; i < count; i++) {
        enum next next = topics[i]->is_deleting ? next_of(c, topics[i]) : NEXT_NOTHING;
        if (next == NEXT_ZNODES) delete_znodes(c, topics[i]);
        if (next != NEXT_REPLICAS) continue;
        for (size_t p = 0; p < topics[i]->partition_count; p++) {
            topics[i]->partitions[p]->phase = PARTITION_NONEXISTENT;
            batch_update(c, topics[i]->partitions[p]);
        }
        collect_replicas(c, topics[i], &living);
    }
    batch_send(c); /* brokers forget them first */
    if (living.count == 0) return;
    transition_replicas(c, living, REPLICA_DELETION_STARTED); /* the last pushed runs first */
    transition_replicas(c, living, REPLICA_OFFLINE);
}

static int16_t answer_for(const struct stop_replica_response *response, struct slice topic, int32_t index)
{
    for (int32_t i = 0; i < response->partition_errors.count; i++) {
        const struct stop_replica_response_stop_replica_partition_error *said =
            &response->partition_errors.items[i];
        if (said->partition_index == index && slice_equal(said->topic_name, topic)) return said->error_code;
    }
    return response->error_code;
}

void deletion_answered(struct controller *c, int32_t broker_id, const struct controller_rpc *rpc)
{
    const struct stop_replica_request *request = &rpc->request.stop_replica;
    const struct cbroker *broker = context_broker(c, broker_id);
    /* What was asked of an earlier life says nothing of this one, which may be at it already. */
    if (!broker || request->broker_epoch != broker->epoch) return;
    bool is_any = false;
    for (int32_t t = 0; t < request->topic_states.count; t++) {
        const struct stop_replica_request_stop_replica_topic_state *said = &request->topic_states.items[t];
        struct ctopic *topic = context_topic(c, said->topic_name);
        if (!topic || !topic->is_deleting) continue;
        for (int32_t p = 0; p < said->partition_states.count; p++) {
            int32_t index = said->partition_states.items[p].partition_index;
            bool is_known =
                said->partition_states.items[p].delete_partition && (size_t)index < topic->partition_count;
            struct seat *seat = is_known ? context_seat(topic->partitions[index], broker_id) : NULL;
            if (!seat || seat->phase != REPLICA_DELETION_STARTED) continue;
            int16_t code = answer_for(&rpc->response.stop_replica, said->topic_name, index);
            seat->phase = code == 0 ? REPLICA_DELETION_SUCCESSFUL : REPLICA_DELETION_INELIGIBLE;
            is_any = true;
            if (code == 0) continue;
            topic->is_deletion_halted = true;
            diag_warn("broker %d could not delete %.*s-%d: %s", broker_id, SLICE_ARG(topic->name), index,
                      error_name(error_from_kafka(code)));
        }
    }
    if (is_any) deletion_resume(c);
}
