/* reassign_calls.c: who wants partitions moved: AlterPartitionReassignments, and tools of before KIP-455 by
 * /admin/reassign_partitions. Either is answered when the move is under way; it ends when the new replicas are in sync. */
#include "controller/reassignment.h"

#define REQUESTED "/admin/reassign_partitions"

enum { VERSION_WITH_FACTOR = 1 };

/* --- AlterPartitionReassignments --- */

struct alteration {
    struct controller_call *call;
    struct moves moves; /* in the order of the request */
    const char **why;   /* of each; NULL = the error's own text */
};

static void alteration_done(struct controller *c, void *argument)
{
    const struct alteration *alteration = argument;
    struct controller_call *call = alteration->call;
    const struct alter_partition_reassignments_request *request = call->request;
    struct alter_partition_reassignments_response *response = call->response;
    engine_guard(c, NULL, NULL);
    alter_partition_reassignments_response_init(response);
    response->error_message = SLICE_NULL;
    response->allow_replication_factor_change = request->allow_replication_factor_change;
    size_t topic_count = request->topics.count > 0 ? (size_t)request->topics.count : 0, at = 0;
    struct alter_partition_reassignments_response_reassignable_topic_response *topics =
        arena_zalloc(call->arena, (topic_count + 1) * sizeof *topics);
    bool is_whole = topics != NULL;
    for (size_t t = 0; is_whole && t < topic_count; t++) {
        const struct alter_partition_reassignments_request_reassignable_topic *said =
            &request->topics.items[t];
        size_t count = said->partitions.count > 0 ? (size_t)said->partitions.count : 0;
        topics[t].name = said->name;
        topics[t].partitions.items =
            arena_zalloc(call->arena, (count + 1) * sizeof *topics[t].partitions.items);
        topics[t].partitions.count = (int32_t)count;
        is_whole = topics[t].partitions.items != NULL;
        for (size_t p = 0; is_whole && p < count; p++, at++) {
            struct alter_partition_reassignments_response_reassignable_partition_response *out =
                &topics[t].partitions.items[p];
            enum error err = alteration->moves.items[at].err;
            out->partition_index = said->partitions.items[p].partition_index;
            out->error_code = error_kafka_code(err);
            if (err != OK)
                out->error_message = slice_of(alteration->why[at] ? alteration->why[at] : error_text(err));
        }
    }
    response->responses.items = topics;
    response->responses.count = (int32_t)topic_count;
    call_done(call, is_whole ? OK : ERR_NOMEM);
}

static bool is_named_before(const struct moves *moves, size_t at, const struct cpartition *partition)
{
    for (size_t i = 0; i < at; i++)
        if (moves->items[i].partition == partition && moves->items[i].err == OK) return true;
    return false;
}

static void plan(struct controller *c, struct alteration *alteration, size_t at, struct slice name,
                 const struct alter_partition_reassignments_request_reassignable_partition *said,
                 bool may_change_factor)
{
    struct move *move = &alteration->moves.items[at];
    const struct ctopic *topic = context_topic(c, name);
    bool is_known = topic && !topic->is_deleting && said->partition_index >= 0 &&
                    (size_t)said->partition_index < topic->partition_count;
    if (!is_known) {
        move->err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        alteration->why[at] = topic && topic->is_deleting ? "the topic is being deleted" : NULL;
        return;
    }
    struct cpartition *partition = topic->partitions[said->partition_index];
    struct int32_list target = {said->replicas.items,
                                said->replicas.count > 0 ? (size_t)said->replicas.count : 0};
    bool is_cancel = said->replicas.count < 0;
    enum error err = reassign_plan(c, partition, is_cancel ? NULL : &target, move, &alteration->why[at]);
    size_t factor = partition->seat_count - partition->adding.count;
    if (err == OK && !is_cancel && !may_change_factor && target.count != factor) {
        err = ERR_INVALID_REPLICATION_FACTOR;
        alteration->why[at] = "the request does not allow another replication factor";
    }
    if (err == OK && is_named_before(&alteration->moves, at, partition)) {
        err = ERR_INVALID_REQUEST;
        alteration->why[at] = "the request names the partition twice";
    }
    move->partition = partition;
    move->err = err;
}

static void alteration_drop(struct controller *c, void *argument)
{
    (void)c;
    call_done(argument, ERR_NOT_CONTROLLER);
}

static void alteration_event(struct controller *c, void *argument)
{
    struct controller_call *call = argument;
    const struct alter_partition_reassignments_request *request = call->request;
    bool may_change_factor = call->version < VERSION_WITH_FACTOR || request->allow_replication_factor_change;
    size_t count = 0, at = 0;
    for (int32_t t = 0; t < request->topics.count; t++)
        if (request->topics.items[t].partitions.count > 0)
            count += (size_t)request->topics.items[t].partitions.count;
    struct alteration *alteration = scratch_alloc(c, 1, sizeof *alteration);
    engine_guard(c, alteration_drop, call);
    alteration->call = call;
    alteration->moves.items = scratch_alloc(c, count + 1, sizeof *alteration->moves.items);
    alteration->moves.count = count;
    alteration->why = scratch_alloc(c, count + 1, sizeof *alteration->why);
    for (int32_t t = 0; t < request->topics.count; t++)
        for (int32_t p = 0; p < request->topics.items[t].partitions.count; p++)
            plan(c, alteration, at++, request->topics.items[t].name,
                 &request->topics.items[t].partitions.items[p], may_change_factor);
    engine_push(c, alteration_done, alteration);
    reassign_begin(c, &alteration->moves);
}

void call_alter_reassignments(struct controller *c, struct controller_call *call)
{
    engine_event(c, alteration_event, call, alteration_drop, false);
}

/* --- /admin/reassign_partitions --- */

static bool read_requested(struct controller *c, const struct coord_reply *reply,
                           struct named_partition **named, size_t *count)
{
    struct znode_fault fault;
    if (reply->err != OK) return false;
    if (znode_partitions_decode(SLICE(REQUESTED), reply->data, &c->scratch, true, named, count, &fault) == OK)
        return true;
    diag_warn("a request to move partitions makes no sense, and is removed: %s", fault.text);
    *count = 0;
    return true;
}

static struct cpartition *partition_named(struct controller *c, const struct named_partition *named)
{
    const struct ctopic *topic = context_topic(c, named->topic);
    bool is_known = topic && !topic->is_deleting && (size_t)named->partition < topic->partition_count;
    return is_known ? topic->partitions[named->partition] : NULL;
}

static void rearm(struct controller *c, void *argument)
{
    (void)argument;
    engine_exists(c, SLICE(REQUESTED), NULL, NULL);
}

static void write_requested(struct controller *c, const struct named_partition *left, size_t count)
{
    struct coord_op op = {.kind = COORD_DELETE, .path = SLICE(REQUESTED), .version = COORD_ANY_VERSION};
    if (count > 0) {
        struct text json = {0};
        znode_partitions_encode(left, count, true, &json);
        op.kind = COORD_SET;
        op.data = scratch_text(c, &json);
    }
    engine_push(c, rearm, NULL);
    engine_fenced(c, &op, 1, NULL, NULL);
}

static void clear_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    const struct partition_list *done = argument;
    struct named_partition *named = NULL;
    size_t count = 0, left = 0;
    if (!read_requested(c, reply, &named, &count)) return;
    for (size_t i = 0; i < count; i++) {
        const struct cpartition *partition = partition_named(c, &named[i]);
        bool is_done = !partition;
        for (size_t d = 0; d < done->count && !is_done; d++) is_done = done->items[d] == partition;
        if (!is_done) named[left++] = named[i];
    }
    if (left < count || count == 0) write_requested(c, named, left);
}

void reassign_clear_requested(struct controller *c, struct partition_list partitions)
{
    struct partition_list *done = scratch_alloc(c, 1, sizeof *done);
    *done = partitions;
    engine_get(c, SLICE(REQUESTED), clear_read, done);
}

struct request {
    struct moves moves;
    struct named_partition *named; /* of each */
};

/* What could not be begun is not asked for any more. */
static void request_begun(struct controller *c, void *argument)
{
    const struct request *request = argument;
    size_t left = 0;
    for (size_t i = 0; i < request->moves.count; i++) {
        const struct move *move = &request->moves.items[i];
        if (move->err != OK)
            diag_warn("could not begin to move %.*s-%d: %s", SLICE_ARG(request->named[i].topic),
                      request->named[i].partition, error_text(move->err));
        else if (reassign_is_running(move->partition))
            request->named[left++] = request->named[i];
    }
    if (left < request->moves.count || left == 0) write_requested(c, request->named, left);
}

static void request_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    (void)argument;
    struct request *request = scratch_alloc(c, 1, sizeof *request);
    if (!read_requested(c, reply, &request->named, &request->moves.count)) return;
    request->moves.items = scratch_alloc(c, request->moves.count + 1, sizeof *request->moves.items);
    for (size_t i = 0; i < request->moves.count; i++) {
        struct move *move = &request->moves.items[i];
        const char *why;
        struct cpartition *partition = partition_named(c, &request->named[i]);
        enum error err = !partition || is_named_before(&request->moves, i, partition)
                             ? ERR_UNKNOWN_TOPIC_OR_PARTITION
                             : reassign_plan(c, partition, &request->named[i].replicas, move, &why);
        move->partition = partition;
        move->err = err;
    }
    engine_push(c, request_begun, request);
    reassign_begin(c, &request->moves);
}

static void request_looked(struct controller *c, void *argument, const struct coord_reply *reply)
{
    (void)argument;
    if (reply->err == OK) engine_get(c, SLICE(REQUESTED), request_read, NULL);
}

void event_reassign_requested(struct controller *c, void *argument)
{
    (void)argument;
    engine_exists(c, SLICE(REQUESTED), request_looked, NULL);
}

void event_reassign_resume(struct controller *c, void *argument)
{
    (void)argument;
    reassign_go_on(c, reassign_running(c, -1), false);
}
