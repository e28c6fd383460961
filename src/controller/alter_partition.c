/* alter_partition.c: a leader proposes another ISR; the controller checks, writes and tells all (facts/cluster.md 3.12). */
#include "controller/reassignment.h"

struct proposal {
    struct cpartition *partition; /* NULL: refused */
    enum error err;
    struct partition_state state;
    struct write *write;
    bool is_written;
};

struct alter_call {
    struct controller_call *call;
    struct proposal *proposals; /* in the order of the request; scratch */
    struct write *writes;
    size_t count, write_count;
};

static void answer_top(struct controller_call *call, enum error err)
{
    struct alter_partition_response *response = call->response;
    alter_partition_response_init(response);
    response->error_code = error_kafka_code(err);
    call_done(call, OK);
}

static bool answer_partition(struct controller_call *call, const struct proposal *proposal, int32_t index,
                             struct alter_partition_response_partition_data *out)
{
    out->partition_index = index;
    out->error_code = error_kafka_code(proposal->err);
    out->leader_id = out->leader_epoch = out->partition_epoch = 0;
    if (proposal->err != OK) return true;
    const struct cpartition *partition = proposal->partition;
    int32_t *isr = arena_array(call->arena, partition->isr.count + 1, sizeof *isr);
    if (!isr) return false;
    memcpy(isr, partition->isr.items, partition->isr.count * sizeof *isr);
    out->leader_id = partition->leader;
    out->leader_epoch = partition->leader_epoch;
    out->isr.items = isr;
    out->isr.count = (int32_t)partition->isr.count;
    out->leader_recovery_state = partition->is_recovering;
    out->partition_epoch = partition->version;
    return true;
}

static void alter_written(struct controller *c, void *argument)
{
    struct alter_call *alter = argument;
    struct controller_call *call = alter->call;
    engine_guard(c, NULL, NULL);
    const struct alter_partition_request *request = call->request;
    struct alter_partition_response *response = call->response;
    alter_partition_response_init(response);
    size_t topic_count = request->topics.count > 0 ? (size_t)request->topics.count : 0;
    struct alter_partition_response_topic_data *topics =
        arena_zalloc(call->arena, (topic_count + 1) * sizeof *topics);
    bool is_whole = topics != NULL;
    struct partition_list moving = {0};
    size_t at = 0;
    for (size_t t = 0; is_whole && t < topic_count; t++) {
        const struct alter_partition_request_topic_data *said = &request->topics.items[t];
        size_t count = said->partitions.count > 0 ? (size_t)said->partitions.count : 0;
        topics[t].topic_name = said->topic_name;
        topics[t].topic_id = said->topic_id;
        topics[t].partitions.count = (int32_t)count;
        topics[t].partitions.items =
            arena_zalloc(call->arena, (count + 1) * sizeof *topics[t].partitions.items);
        is_whole = topics[t].partitions.items != NULL;
        for (size_t p = 0; is_whole && p < count; p++, at++) {
            struct proposal *proposal = &alter->proposals[at];
            if (proposal->is_written && proposal->write->err == OK) {
                context_set_state(proposal->partition, &proposal->state, proposal->write->version);
                batch_update(c, proposal->partition);
                if (reassign_is_running(proposal->partition))
                    partition_list_add(c, &moving, proposal->partition);
            } else if (proposal->is_written) {
                bool is_overtaken = proposal->write->err == ERR_ZK_BAD_VERSION;
                proposal->err = is_overtaken ? ERR_INVALID_UPDATE_VERSION : ERR_UNKNOWN_SERVER_ERROR;
                /* By an old leader, or by hand: with what is there now the next proposal may succeed. */
                if (is_overtaken) transition_reread(c, proposal->partition);
            }
            is_whole = answer_partition(call, proposal, said->partitions.items[p].partition_index,
                                        &topics[t].partitions.items[p]);
        }
    }
    batch_send(c);
    reassign_go_on(c, moving, true);
    response->topics.items = topics;
    response->topics.count = (int32_t)topic_count;
    call_done(call, is_whole ? OK : ERR_NOMEM);
}

static struct int32_list proposed_isr(struct controller *c, int16_t version,
                                      const struct alter_partition_request_partition_data *said)
{
    if (version < 3)
        return (struct int32_list){said->new_isr.items,
                                   said->new_isr.count > 0 ? (size_t)said->new_isr.count : 0};
    size_t count = said->new_isr_with_epochs.count > 0 ? (size_t)said->new_isr_with_epochs.count : 0;
    int32_t *ids = scratch_alloc(c, count + 1, sizeof *ids);
    for (size_t i = 0; i < count; i++) ids[i] = said->new_isr_with_epochs.items[i].broker_id;
    return (struct int32_list){ids, count};
}

static bool same_ids(struct int32_list a, struct int32_list b)
{
    return a.count == b.count && (a.count == 0 || memcmp(a.items, b.items, a.count * sizeof *a.items) == 0);
}

static enum error check(struct controller *c, int16_t version, const struct cpartition *partition,
                        const struct alter_partition_request_partition_data *said, struct int32_list isr)
{
    bool is_recovering = said->leader_recovery_state == 1;
    /* Ahead of us: then we are the ones who are behind (KAFKA-14154). */
    if (said->leader_epoch > partition->leader_epoch || said->partition_epoch > partition->version)
        return ERR_NOT_CONTROLLER;
    if (said->leader_epoch < partition->leader_epoch) return ERR_FENCED_LEADER_EPOCH;
    bool is_done = said->partition_epoch < partition->version && same_ids(isr, partition->isr) &&
                   is_recovering == partition->is_recovering;
    if (is_done) return ERR_EXISTS; /* asked again after a lost answer (KAFKA-14144) */
    if (said->partition_epoch < partition->version) return ERR_INVALID_UPDATE_VERSION;
    if (isr.count == 0) return ERR_INVALID_REQUEST;
    if (is_recovering && (isr.count > 1 || !partition->is_recovering)) return ERR_INVALID_REQUEST;
    for (size_t i = 0; i < isr.count; i++) {
        if (!context_seat((struct cpartition *)partition, isr.items[i])) return ERR_INVALID_REQUEST;
        const struct cbroker *broker = context_broker(c, isr.items[i]);
        /* In sync in an earlier life: it may have lost since what it had then (KIP-903). */
        bool is_reborn = version >= 3 && broker && said->new_isr_with_epochs.items[i].broker_epoch >= 0 &&
                         said->new_isr_with_epochs.items[i].broker_epoch != broker->epoch;
        if (is_reborn || !context_is_live(c, partition, isr.items[i]))
            return version >= 2 ? ERR_INELIGIBLE_REPLICA : ERR_OPERATION_NOT_ATTEMPTED;
    }
    return OK;
}

static void propose(struct controller *c, struct alter_call *alter, const struct ctopic *topic,
                    enum error unknown, const struct alter_partition_request_partition_data *said)
{
    struct proposal *proposal = &alter->proposals[alter->count++];
    bool is_known = topic && !topic->is_deleting && said->partition_index >= 0 &&
                    (size_t)said->partition_index < topic->partition_count &&
                    topic->partitions[said->partition_index]->has_state;
    proposal->err = topic ? ERR_UNKNOWN_TOPIC_OR_PARTITION : unknown;
    if (!is_known) return;
    proposal->partition = topic->partitions[said->partition_index];
    struct int32_list isr = proposed_isr(c, alter->call->version, said);
    proposal->err = check(c, alter->call->version, proposal->partition, said, isr);
    if (proposal->err == ERR_EXISTS)
        proposal->err = OK;
    else if (proposal->err == OK) {
        proposal->state = (struct partition_state){.controller_epoch = c->epoch,
                                                   .leader = proposal->partition->leader,
                                                   .leader_epoch = proposal->partition->leader_epoch,
                                                   .isr = isr,
                                                   .is_recovering = said->leader_recovery_state == 1};
        struct text text = {0};
        znode_state_encode(&proposal->state, &text);
        struct write *write = &alter->writes[alter->write_count++];
        write->ops[write->op_count++] = (struct coord_op){.kind = COORD_SET,
                                                          .path = state_path(c, proposal->partition),
                                                          .data = scratch_text(c, &text),
                                                          .version = proposal->partition->version};
        proposal->write = write;
        proposal->is_written = true;
    }
}

static void alter_drop(struct controller *c, void *argument)
{
    (void)c;
    answer_top(argument, ERR_NOT_CONTROLLER);
}

static void alter_event(struct controller *c, void *argument)
{
    struct controller_call *call = argument;
    const struct alter_partition_request *request = call->request;
    const struct cbroker *broker = context_broker(c, request->broker_id);
    if (!broker || broker->epoch != request->broker_epoch) {
        answer_top(call, ERR_STALE_BROKER_EPOCH);
        return;
    }
    size_t count = 0;
    for (int32_t t = 0; t < request->topics.count; t++)
        if (request->topics.items[t].partitions.count > 0)
            count += (size_t)request->topics.items[t].partitions.count;
    struct alter_call *alter = scratch_alloc(c, 1, sizeof *alter);
    engine_guard(c, alter_drop, call);
    alter->call = call;
    alter->proposals = scratch_alloc(c, count + 1, sizeof *alter->proposals);
    alter->writes = scratch_alloc(c, count + 1, sizeof *alter->writes);
    for (int32_t t = 0; t < request->topics.count; t++) {
        const struct alter_partition_request_topic_data *said = &request->topics.items[t];
        bool is_by_id = call->version >= 2;
        const struct ctopic *topic =
            is_by_id ? context_topic_by_id(c, &said->topic_id) : context_topic(c, said->topic_name);
        for (int32_t p = 0; p < said->partitions.count; p++)
            propose(c, alter, topic, is_by_id ? ERR_UNKNOWN_TOPIC_ID : ERR_UNKNOWN_TOPIC_OR_PARTITION,
                    &said->partitions.items[p]);
    }
    engine_push(c, alter_written, alter);
    engine_writes(c, alter->writes, alter->write_count);
}

void call_alter_partition(struct controller *c, struct controller_call *call)
{
    engine_event(c, alter_event, call, alter_drop, false);
}
