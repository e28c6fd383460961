/* stop_replica.c: the controller says what is not kept or not followed here any more (facts/cluster.md 4.5): out of every table
 * and stopped; then, where it is deleted, quiet; then its log. */
#include <stdlib.h>

#include "base/diag.h"
#include "replica/replicas_parts.h"
#include "storage/move.h"

enum { LEADER_EPOCH_DURING_DELETE = -2 };

static void stop_replica_end(struct change *change)
{
    struct stop_replica_response *response = change->call.response;
    typedef struct stop_replica_response_stop_replica_partition_error partition_error;
    response->partition_errors.items = arena_array(change->arena, change->count, sizeof(partition_error));
    if (!response->partition_errors.items) {
        response->error_code = error_kafka_code(ERR_UNKNOWN_SERVER_ERROR);
    } else {
        response->partition_errors.count = (int32_t)change->count;
        for (size_t i = 0; i < change->count; i++) {
            response->partition_errors.items[i] =
                (partition_error){.topic_name = change->steps[i].topic,
                                  .partition_index = change->steps[i].index,
                                  .error_code = error_kafka_code(change->steps[i].err)};
        }
    }
    struct replicas *replicas = change->replicas;
    change_end(change);
    change_alone_end(replicas);
}

static enum error delete_log(struct replicas *replicas, struct slice topic, int32_t index)
{
    struct log_store *store = replicas->options.store;
    struct log *future = log_store_future(store, topic, index), *log = log_store_find(store, topic, index);
    enum error err = future ? log_store_delete(store, &future) : OK;
    enum error deleted = log ? log_store_delete(store, &log) : OK;
    return deleted == OK ? err : deleted;
}

static void delete_at_end(struct change *change)
{
    for (size_t i = 0; i < change->count; i++) {
        struct step *step = &change->steps[i];
        if (step->err != OK || !step->is_delete) continue;
        step->err = delete_log(change->replicas, step->topic, step->index);
        if (step->err != OK) {
            diag_warn("could not delete the log of \"%.*s-%d\": %s", SLICE_ARG(step->topic), step->index,
                      error_text(step->err));
        }
    }
    stop_replica_end(change);
}

/* A removed partition's last act, on its home loop: its log is given back to the control loop. */
struct removal {
    struct loop_message message;
    struct change *change;
    struct partition *partition;
};

static void removal_back(struct loop_message *message)
{
    struct removal *removal = CONTAINER_OF(message, struct removal, message);
    struct change *change = removal->change;
    if (--change->quiet_out == 0) delete_at_end(change);
}

static void removed(void *context, struct partition *partition)
{
    struct removal *removal = context;
    struct log *log = partition->log;
    moves_end(partition);
    partition_set_log(partition, NULL);
    if (log) log_set_home(log, NULL);
    partition_free(partition);
    removal->message.run = removal_back;
    loop_post(removal->change->replicas->options.loops[0], &removal->message);
}

static void remove_on_home(struct loop_message *message)
{
    struct removal *removal = CONTAINER_OF(message, struct removal, message);
    partition_remove(removal->partition, removed, removal);
}

static void stopped_at_end(struct change *change)
{
    struct replicas *replicas = change->replicas;
    change->quiet_out = 1; /* ours, until all were posted */
    for (size_t i = 0; i < change->count; i++) {
        struct step *step = &change->steps[i];
        if (!step->partition || !step->is_delete) continue;
        struct removal *removal = arena_zalloc(change->arena, sizeof *removal);
        if (!removal) {
            step->err = ERR_UNKNOWN_SERVER_ERROR;
            continue;
        }
        replica_count_add(&replicas->count.partitions, -1);
        removal->change = change;
        removal->partition = step->partition;
        removal->message.run = remove_on_home;
        change->quiet_out++;
        loop_post(step->partition->home, &removal->message);
    }
    if (--change->quiet_out == 0) delete_at_end(change);
}

static void stop_at_loop(struct change *change, struct replica_loop *here)
{
    for (size_t i = 0; i < change->count; i++) {
        struct step *step = &change->steps[i];
        if (!step->partition) continue;
        if (step->is_delete) partition_table_drop(&here->table, step->partition);
        if (step->partition->home == here->loop) replica_stop(here, step->partition);
    }
}

static void prepare_stop(struct change *change, struct step *step, struct slice topic, int32_t index,
                         int32_t leader_epoch, bool is_delete)
{
    struct replicas *replicas = change->replicas;
    step->topic = topic;
    step->index = index;
    step->is_delete = is_delete;
    late_roles_drop(&replicas->late, NULL, topic, index);
    struct partition *partition = partition_table_find(&replicas->loops[0].table, topic, index);
    if (!partition) return; /* perhaps a log without a role: deleted at the end */
    if (log_is_offline(partition->control.log)) step->err = ERR_KAFKA_STORAGE_ERROR;
    /* -1: not known to the sender; -2: the topic goes, whatever the epoch (KIP-570). */
    else if (leader_epoch >= 0 && leader_epoch < partition->control.leader_epoch)
        step->err = ERR_FENCED_LEADER_EPOCH;
    else
        step->partition = partition;
    if (!step->partition || !is_delete) return;
    int32_t until = leader_epoch == LEADER_EPOCH_DURING_DELETE ? INT32_MAX : leader_epoch;
    if (until < partition->control.leader_epoch) until = partition->control.leader_epoch;
    recent_stops_note(&replicas->stops, change->call.controller_epoch, &partition->topic_id, index, until);
}

static void apply(const struct change_later *asked)
{
    struct replicas *replicas = asked->replicas;
    const struct stop_replica_request *request = asked->request;
    struct stop_replica_response *response = asked->response;
    size_t count = request->ungrouped_partitions.count > 0 ? (size_t)request->ungrouped_partitions.count : 0;
    for (int32_t t = 0; t < request->topics.count; t++) {
        int32_t n = request->topics.items[t].partition_indexes.count;
        count += n > 0 ? (size_t)n : 0;
    }
    for (int32_t t = 0; t < request->topic_states.count; t++) {
        int32_t n = request->topic_states.items[t].partition_states.count;
        count += n > 0 ? (size_t)n : 0;
    }
    struct change_call call = {.controller_epoch = request->controller_epoch,
                               .broker_epoch = request->broker_epoch,
                               .request = request,
                               .response = response,
                               .error_code = &response->error_code,
                               .done = asked->done,
                               .context = asked->done_context};
    struct change *change = change_obey(replicas, count, asked->arena, &call);
    if (!change) return;
    change_alone_begin(replicas);

    struct step *step = change->steps;
    for (int32_t i = 0; i < request->ungrouped_partitions.count; i++) {
        const struct stop_replica_request_stop_replica_partition_v0 *p =
            &request->ungrouped_partitions.items[i];
        prepare_stop(change, step++, p->topic_name, p->partition_index, -1, request->delete_partitions);
    }
    for (int32_t t = 0; t < request->topics.count; t++) {
        const struct stop_replica_request_stop_replica_topic_v1 *topic = &request->topics.items[t];
        for (int32_t i = 0; i < topic->partition_indexes.count; i++) {
            prepare_stop(change, step++, topic->name, topic->partition_indexes.items[i], -1,
                         request->delete_partitions);
        }
    }
    for (int32_t t = 0; t < request->topic_states.count; t++) {
        const struct stop_replica_request_stop_replica_topic_state *topic = &request->topic_states.items[t];
        for (int32_t i = 0; i < topic->partition_states.count; i++) {
            const struct stop_replica_request_stop_replica_partition_state *p =
                &topic->partition_states.items[i];
            prepare_stop(change, step++, topic->topic_name, p->partition_index, p->leader_epoch,
                         p->delete_partition);
        }
    }
    change_run(change, stop_at_loop, stopped_at_end);
}

void replicas_apply_stop_replica(struct replicas *replicas, const struct stop_replica_request *request,
                                 struct arena *arena, struct stop_replica_response *response,
                                 void (*done)(void *done_context), void *done_context)
{
    change_in_turn((struct change_later){.replicas = replicas,
                                         .apply = apply,
                                         .controller_epoch = request->controller_epoch,
                                         .broker_epoch = request->broker_epoch,
                                         .request = request,
                                         .arena = arena,
                                         .response = response,
                                         .done = done,
                                         .done_context = done_context},
                   &response->error_code);
}
