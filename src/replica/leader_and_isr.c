/* leader_and_isr.c: the controller says who leads (facts/cluster.md 4.3): judged on the control loop, done on the home loops. */
#include <stdlib.h>

#include "base/diag.h"
#include "replica/replicas_parts.h"
#include "storage/move.h"

enum { NEW_PARTITIONS_A_ROUND = 64 };

static size_t choose_home(struct replicas *replicas)
{
    if (replicas->options.is_spread) return replicas->next_home++ % replicas->options.loop_count;
    size_t best = 0;
    for (size_t i = 0; i < replicas->options.loop_count; i++) {
        int busy = loop_busy_permille(replicas->options.loops[i]);
        if (busy <= 500) return i;
        if (busy < loop_busy_permille(replicas->options.loops[best])) best = i;
    }
    return best;
}

/* The log of a partition that is new to this process: from the disk, or made. */
static enum error find_log(struct replicas *replicas, const struct step *step, const struct uuid *topic_id,
                           struct log **log)
{
    struct log_store *store = replicas->options.store;
    *log = log_store_find(store, step->topic, step->index);
    if (*log) return log_is_offline(*log) ? ERR_KAFKA_STORAGE_ERROR : OK;
    /* It may be in a directory that is gone: an empty log in its place would lose it (KAFKA-4763). */
    if (!step->is_new && log_store_live_dirs(store) < log_store_dir_count(store))
        return ERR_KAFKA_STORAGE_ERROR;
    struct topic_rules rules;
    replicas->options.topic_rules(replicas->options.context, step->topic, &rules);
    return log_store_create(store, step->topic, step->index, topic_id, &rules.log, log);
}

/* The copy of it that was under way when the last life ended; of another topic of that name nothing is wanted. */
static struct log *future_of(struct replicas *replicas, const struct log *log)
{
    struct log_store *store = replicas->options.store;
    struct log *future = log_store_future(store, log_topic(log), log_partition(log));
    if (!future) return NULL;
    const struct uuid *id = log_topic_id(future);
    if (uuid_is_zero(id) || uuid_equal(id, log_topic_id(log))) return future;
    if (log_store_delete(store, &future) != OK)
        diag_warn("could not delete what was to be \"%.*s-%d\" of another topic", SLICE_ARG(log_topic(log)),
                  (int)log_partition(log));
    return NULL;
}

static enum error check_topic_id(struct log *log, const struct uuid *topic_id)
{
    if (uuid_is_zero(topic_id)) return OK;
    if (uuid_is_zero(log_topic_id(log))) return log_set_topic_id(log, topic_id);
    return uuid_equal(log_topic_id(log), topic_id) ? OK : ERR_INCONSISTENT_TOPIC_ID;
}

static bool holds(const int32_t *ids, int32_t count, int32_t id)
{
    for (int32_t i = 0; i < count; i++) {
        if (ids[i] == id) return true;
    }
    return false;
}

/* Control loop: judges one partition of the request; afterwards step->partition is in no table yet if it is new. */
static enum error prepare(struct replicas *replicas, struct step *step, int32_t controller_epoch)
{
    const struct partition_assignment *asked = &step->assignment;
    const struct uuid *topic_id = step->topic_id;
    if (!holds(asked->replicas, asked->replica_count, replicas->options.broker_id)) {
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    struct partition *partition = partition_table_find(&replicas->loops[0].table, step->topic, step->index);
    if (partition) {
        enum error err = log_is_offline(partition->control.log)
                             ? ERR_KAFKA_STORAGE_ERROR
                             : check_topic_id(partition->control.log, topic_id);
        if (err != OK) return err;
        if (asked->leader_epoch <= partition->control.leader_epoch) return ERR_STALE_CONTROLLER_EPOCH;
    } else {
        /* From before it was deleted here; what was told twice is no news. */
        if (metadata_is_gone(replicas->options.metadata, topic_id) ||
            recent_stops_cover(&replicas->stops, controller_epoch, topic_id, step->index,
                               asked->leader_epoch))
            return ERR_STALE_CONTROLLER_EPOCH;
        struct log *log;
        enum error err = find_log(replicas, step, topic_id, &log);
        if (err == OK) err = check_topic_id(log, topic_id);
        size_t home = choose_home(replicas);
        if (err == OK) {
            err = partition_new(step->topic, step->index, replicas->options.broker_id,
                                replicas->loops[home].loop, &partition);
        }
        if (err != OK) return err;
        partition->control.log = log;
        partition->control.future = future_of(replicas, log);
        partition->control.leader_epoch = -1;
        partition->topic_id = *log_topic_id(log);
        err = partition_table_set(&replicas->loops[0].table, partition);
        if (err != OK) {
            partition_free(partition);
            return err;
        }
        replica_count_add(&replicas->count.partitions, 1);
    }
    step->epoch_before = partition->control.leader_epoch;
    partition->control.leader_epoch = asked->leader_epoch;
    step->partition = partition;
    return OK;
}

static void leader_and_isr_at_loop(struct change *change, struct replica_loop *here)
{
    for (size_t i = change->begin; i < change->end; i++) {
        struct step *step = &change->steps[i];
        if (!step->partition) continue;
        bool is_home = step->partition->home == here->loop;
        enum error err = partition_table_set(&here->table, step->partition);
        if (is_home && err == OK) err = replica_change_role(here, step->partition, &step->assignment);
        if (is_home && err != OK) step->err = err;
    }
}

/* What a full disk did not let in is not forgotten: as soon as there is room it will be. */
static void keep_for_later(struct change *change, struct step *step)
{
    struct partition *partition = step->partition;
    if (partition && partition->control.leader_epoch == step->assignment.leader_epoch)
        partition->control.leader_epoch = step->epoch_before;
    bool is_kept = late_roles_keep(&change->replicas->late, change->call.request, step->topic, step->topic_id,
                                   step->state);
    if (is_kept) step->err = OK;
}

static void finish(struct change *change)
{
    struct replicas *replicas = change->replicas;
    bool was_alone = change->is_alone;
    change_end(change);
    if (was_alone) change_alone_end(replicas);
}

static void leader_and_isr_at_end(struct change *change)
{
    for (size_t i = change->begin; i < change->end; i++) {
        if (change->steps[i].err == ERR_DISK_FULL) keep_for_later(change, &change->steps[i]);
    }
    if (change->end < change->count) {
        loop_post(change->replicas->options.loops[0], &change->go_on);
        return;
    }
    const struct leader_and_isr_request *request = change->call.request;
    struct leader_and_isr_response *response = change->call.response;
    for (size_t i = 0; i < change->count; i++) {
        const struct step *step = &change->steps[i];
        /* A new controller tells all it knows again: what we know already is no news. */
        if (step->err == OK || step->err == ERR_STALE_CONTROLLER_EPOCH) continue;
        diag_warn("could not take the role of \"%.*s-%d\": %s", SLICE_ARG(step->topic), step->index,
                  error_text(step->err));
    }

    /* In the shape the request came in; who must answer versions 2 to 4, which group only the request, flattens it. */
    const struct step *step = change->steps;
    typedef struct leader_and_isr_response_leader_and_isr_partition_error partition_error;
    partition_error *errors = arena_array(change->arena, change->count, sizeof *errors);
    int32_t topics = request->topic_states.count > 0 ? request->topic_states.count : 0;
    response->topics.items = arena_array(change->arena, (size_t)topics, sizeof *response->topics.items);
    if (!errors || !response->topics.items) {
        response->error_code = error_kafka_code(ERR_UNKNOWN_SERVER_ERROR);
        finish(change);
        return;
    }
    for (size_t i = 0; i < change->count; i++) {
        errors[i] = (partition_error){.topic_name = SLICE(""),
                                      .partition_index = step[i].index,
                                      .error_code = error_kafka_code(step[i].err)};
        if (topics == 0) errors[i].topic_name = step[i].topic;
    }
    if (topics == 0) {
        response->partition_errors.items = errors;
        response->partition_errors.count = (int32_t)change->count;
    }
    for (int32_t t = 0; t < topics; t++) {
        int32_t count = request->topic_states.items[t].partition_states.count;
        if (count < 0) count = 0;
        struct leader_and_isr_response_leader_and_isr_topic_error *topic = &response->topics.items[t];
        *topic = (struct leader_and_isr_response_leader_and_isr_topic_error){
            .topic_id = request->topic_states.items[t].topic_id};
        topic->partition_errors.items = errors;
        topic->partition_errors.count = count;
        errors += count;
    }
    response->topics.count = topics;
    finish(change);
}

static void take_state(struct step *step, struct slice topic,
                       const struct leader_and_isr_request_leader_and_isr_partition_state *state)
{
    step->topic = topic;
    step->state = state;
    step->index = state->partition_index;
    step->is_new = state->is_new;
    step->assignment = (struct partition_assignment){.leader = state->leader,
                                                     .leader_epoch = state->leader_epoch,
                                                     .partition_epoch = state->partition_epoch,
                                                     .controller_epoch = state->controller_epoch,
                                                     .replicas = state->replicas.items,
                                                     .replica_count = state->replicas.count,
                                                     .isr = state->isr.items,
                                                     .isr_count = state->isr.count,
                                                     .is_recovering = state->leader_recovery_state == 1};
}

/* Control loop. New logs are files and syncs: after some of them they take their roles, and then the sessions and requests of
 * this loop have their turn. Should another controller speak meanwhile, the rest of what this one said is void. */
static void leader_and_isr_round(struct loop_message *message)
{
    struct change *change = CONTAINER_OF(message, struct change, go_on);
    struct replicas *replicas = change->replicas;
    const struct leader_and_isr_request *request = change->call.request;
    enum error err = OK;
    if (replicas->is_closing) {
        err = ERR_NOT_LEADER_OR_FOLLOWER;
    } else if (change->end > 0) {
        err = metadata_obey(replicas->options.metadata, request->controller_epoch, request->broker_epoch);
    }
    size_t made = 0;
    change->begin = change->end;
    for (; change->end < change->count && made < NEW_PARTITIONS_A_ROUND; change->end++) {
        struct step *step = &change->steps[change->end];
        late_roles_drop(&replicas->late, request, step->topic, step->index);
        bool was_known = partition_table_find(&replicas->loops[0].table, step->topic, step->index);
        step->err = err == OK ? prepare(replicas, step, request->controller_epoch) : err;
        made += step->partition && !was_known;
    }
    if (change->end < change->count && !change->is_alone) {
        change->is_alone = true;
        change_alone_begin(replicas);
    }
    change_run(change, leader_and_isr_at_loop, leader_and_isr_at_end);
}

static void apply(const struct change_later *asked)
{
    struct replicas *replicas = asked->replicas;
    const struct leader_and_isr_request *request = asked->request;
    struct leader_and_isr_response *response = asked->response;
    size_t count = 0;
    /* The controller may have spoken while it waited for its turn. */
    if (late_roles_is_void(&replicas->late, request)) {
        asked->done(asked->done_context);
        return;
    }
    for (int32_t t = 0; t < request->topic_states.count; t++) {
        int32_t n = request->topic_states.items[t].partition_states.count;
        count += n > 0 ? (size_t)n : 0;
    }
    bool is_flat = request->topic_states.count <= 0;
    if (is_flat && request->ungrouped_partition_states.count > 0) {
        count = (size_t)request->ungrouped_partition_states.count;
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

    static const struct uuid no_id;
    struct step *step = change->steps;
    for (int32_t t = 0; t < request->topic_states.count; t++) {
        const struct leader_and_isr_request_leader_and_isr_topic_state *topic =
            &request->topic_states.items[t];
        for (int32_t i = 0; i < topic->partition_states.count; i++, step++) {
            take_state(step, topic->topic_name, &topic->partition_states.items[i]);
            step->topic_id = &topic->topic_id;
        }
    }
    for (int32_t i = 0; is_flat && i < request->ungrouped_partition_states.count; i++, step++) {
        const struct leader_and_isr_request_leader_and_isr_partition_state *state =
            &request->ungrouped_partition_states.items[i];
        take_state(step, state->topic_name, state);
        step->topic_id = &no_id;
    }
    change->go_on.run = leader_and_isr_round;
    leader_and_isr_round(&change->go_on);
}

void replicas_apply_leader_and_isr(struct replicas *replicas, const struct leader_and_isr_request *request,
                                   struct arena *arena, struct leader_and_isr_response *response,
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
