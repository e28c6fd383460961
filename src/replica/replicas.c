#include "replica/replicas.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "loop/loop.h"
#include "metadata/metadata.h"
#include "replica/late_roles.h"
#include "replica/partition_state.h"
#include "replica/table.h"
#include "wire/messages.h"

/* What one loop has. Touched by that loop alone, but for `home_closed`. */
struct replica_loop {
    struct replicas *owner;
    struct loop *loop;
    struct partition_table table;
    struct log_home home;
    bool has_home;
    struct loop_message closing, closed;
};

enum { NEW_PARTITIONS_A_ROUND = 64 };

struct replicas {
    struct replicas_options options;
    struct replica_loop *loops;
    struct role_listener *listeners;
    int64_t pending_changes;
    struct late_roles late;
    size_t next_home;            /* when they are spread */
    struct replicas_count count; /* relaxed atomics */
    size_t loops_to_close;
    void (*on_closed)(void *context);
    void *on_closed_context;
    bool is_closing;
};

static struct replica_loop *loop_of(struct replicas *replicas, const struct loop *loop)
{
    for (size_t i = 0; i < replicas->options.loop_count; i++) {
        if (replicas->loops[i].loop == loop) return &replicas->loops[i];
    }
    assert(!"a loop of this node");
    return NULL;
}

enum error replicas_new(const struct replicas_options *options, struct replicas **replicas)
{
    struct replicas *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    made->options = *options;
    made->loops = calloc(options->loop_count, sizeof *made->loops);
    if (!made->loops) {
        free(made);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < options->loop_count; i++) {
        made->loops[i].owner = made;
        made->loops[i].loop = options->loops[i];
    }
    late_roles_init(&made->late, made, options->loops[0]);
    *replicas = made;
    return OK;
}

void replicas_free(struct replicas **replicas)
{
    if (!*replicas) return;
    struct partition *partition;
    for (size_t i = 0; (partition = partition_table_next(&(*replicas)->loops[0].table, &i));)
        partition_free(partition);
    for (size_t i = 0; i < (*replicas)->options.loop_count; i++)
        partition_table_free(&(*replicas)->loops[i].table);
    late_roles_free(&(*replicas)->late);
    free((*replicas)->loops);
    free(*replicas);
    *replicas = NULL;
}

void replicas_listen(struct replicas *replicas, struct role_listener *listener)
{
    struct role_listener **end = &replicas->listeners;
    while (*end) end = &(*end)->next;
    listener->next = NULL;
    *end = listener;
}

struct partition *replicas_find(struct replicas *replicas, const struct loop *loop, struct slice topic,
                                int32_t index)
{
    return partition_table_find(&loop_of(replicas, loop)->table, topic, index);
}

struct partition *replicas_next(struct replicas *replicas, const struct loop *loop, size_t *position)
{
    return partition_table_next(&loop_of(replicas, loop)->table, position);
}

static void add_count(int64_t *count, int64_t n)
{
    __atomic_fetch_add(count, n, __ATOMIC_RELAXED);
}

void replicas_count(const struct replicas *replicas, struct replicas_count *count)
{
    count->partitions = __atomic_load_n(&replicas->count.partitions, __ATOMIC_RELAXED);
    count->leaders = __atomic_load_n(&replicas->count.leaders, __ATOMIC_RELAXED);
    count->under_replicated = __atomic_load_n(&replicas->count.under_replicated, __ATOMIC_RELAXED);
    count->under_min_isr = __atomic_load_n(&replicas->count.under_min_isr, __ATOMIC_RELAXED);
    count->offline = 0;
    struct partition *partition;
    for (size_t i = 0; (partition = partition_table_next(&replicas->loops[0].table, &i));) {
        if (log_is_offline(partition->control.log)) count->offline++;
    }
}

bool replicas_is_settled(const struct replicas *replicas)
{
    return replicas->pending_changes == 0;
}

/* --- roles, on the home loop --- */

static void tell(struct replicas *replicas, struct partition *partition, bool leads)
{
    for (struct role_listener *l = replicas->listeners; l; l = l->next) {
        void (*told)(void *, struct partition *) = leads ? l->led : l->resigned;
        if (told) told(l->context, partition);
    }
}

/* Gauges count what each partition adds: taken away before a change of role, added again after. */
static void count_role(struct replicas *replicas, const struct partition *partition, int64_t sign)
{
    if (partition->role != PARTITION_LEADER) return;
    add_count(&replicas->count.leaders, sign);
    if (partition->isr_count < partition->replica_count) add_count(&replicas->count.under_replicated, sign);
    if (partition->isr_count < partition_effective_min_insync(partition)) {
        add_count(&replicas->count.under_min_isr, sign);
    }
}

static void apply_rules(struct replicas *replicas, struct partition *partition)
{
    struct topic_rules rules;
    replicas->options.topic_rules(replicas->options.context, partition_topic(partition), &rules);
    if (partition->log) log_configure(partition->log, &rules.log);
    count_role(replicas, partition, -1);
    partition_set_min_insync_replicas(partition, rules.min_insync_replicas);
    count_role(replicas, partition, +1);
    bool must_sync = rules.log.flush_messages == 1;
    if (must_sync != partition_syncs_before_ack(partition))
        partition_set_sync_before_ack(partition, must_sync);
}

static struct log_home *home_of(struct replica_loop *here)
{
    if (!here->has_home) {
        log_home_init(&here->home, here->owner->options.store, here->loop);
        here->has_home = true;
    }
    return &here->home;
}

static enum error change_role(struct replica_loop *here, struct partition *partition,
                              const struct partition_assignment *assignment)
{
    struct replicas *replicas = here->owner;
    if (!partition->log) {
        log_set_home(partition->control.log, home_of(here));
        partition_set_log(partition, partition->control.log);
        apply_rules(replicas, partition);
    }
    bool led = partition->role == PARTITION_LEADER;
    bool leads = assignment->leader == partition->self_id;
    if (led && !leads) tell(replicas, partition, false);
    count_role(replicas, partition, -1);
    enum error err = leads ? partition_become_leader(partition, assignment)
                           : partition_become_follower(partition, assignment);
    count_role(replicas, partition, +1);
    if (err == OK && leads) tell(replicas, partition, true);
    if (err != OK && led && !leads) tell(replicas, partition, true);
    return err;
}

static void stop_here(struct replica_loop *here, struct partition *partition)
{
    if (partition->role == PARTITION_LEADER) tell(here->owner, partition, false);
    count_role(here->owner, partition, -1);
    partition_stop(partition);
}

/* --- changes that visit every loop and come back --- */

struct step {
    struct partition *partition; /* NULL: refused, err says why */
    struct slice topic;
    const struct uuid *topic_id; /* LeaderAndIsr; in the request */
    int32_t index;
    enum error err;
    bool is_new, is_delete;
    int32_t epoch_before; /* of the partition, if the role is not taken */
    const struct leader_and_isr_request_leader_and_isr_partition_state *state;
    struct partition_assignment assignment;
};

struct change;

struct visit {
    struct loop_message there, back;
    struct change *change;
    size_t loop_index;
};

struct change {
    struct replicas *replicas;
    struct step *steps;
    size_t count;
    void (*at_loop)(struct change *change, struct replica_loop *here);
    void (*at_end)(struct change *change); /* control loop */
    struct loop_message go_on; /* LeaderAndIsr goes in rounds: this one has the steps begin <= i < end */
    size_t begin, end;
    size_t visits_out;
    size_t quiet_out; /* removals that wait for a partition to be quiet */
    struct arena *arena;
    const void *request;
    void *response;
    void (*done)(void *context);
    void *done_context;
    struct visit visits[];
};

static void visit_back(struct loop_message *message)
{
    struct visit *visit = CONTAINER_OF(message, struct visit, back);
    struct change *change = visit->change;
    if (--change->visits_out == 0) change->at_end(change);
}

static void visit_there(struct loop_message *message)
{
    struct visit *visit = CONTAINER_OF(message, struct visit, there);
    struct replicas *replicas = visit->change->replicas;
    visit->change->at_loop(visit->change, &replicas->loops[visit->loop_index]);
    loop_post(replicas->options.loops[0], &visit->back);
}

/* Every loop, the control loop last: so a change of a node with one loop is over before this returns. */
static void change_run(struct change *change,
                       void (*at_loop)(struct change *change, struct replica_loop *here),
                       void (*at_end)(struct change *change))
{
    struct replicas *replicas = change->replicas;
    change->at_loop = at_loop;
    change->at_end = at_end;
    change->visits_out = replicas->options.loop_count;
    for (size_t i = 1; i < replicas->options.loop_count; i++) {
        change->visits[i] = (struct visit){{.run = visit_there}, {.run = visit_back}, change, i};
        loop_post(replicas->options.loops[i], &change->visits[i].there);
    }
    at_loop(change, &replicas->loops[0]);
    if (--change->visits_out == 0) at_end(change);
}

static struct change *change_new(struct replicas *replicas, size_t count, struct arena *arena)
{
    struct change *change = calloc(1, sizeof *change + replicas->options.loop_count * sizeof(struct visit));
    if (!change) return NULL;
    change->replicas = replicas;
    change->arena = arena;
    change->steps = arena_zalloc(arena, (count + 1) * sizeof *change->steps);
    if (!change->steps) {
        free(change);
        return NULL;
    }
    change->count = count;
    replicas->pending_changes++;
    return change;
}

static void change_end(struct change *change)
{
    change->replicas->pending_changes--;
    void (*done)(void *) = change->done;
    void *context = change->done_context;
    free(change);
    done(context);
}

/* --- LeaderAndIsr --- */

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
static enum error prepare(struct replicas *replicas, struct step *step)
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
        partition->control.leader_epoch = -1;
        partition->topic_id = *log_topic_id(log);
        err = partition_table_set(&replicas->loops[0].table, partition);
        if (err != OK) {
            partition_free(partition);
            return err;
        }
        add_count(&replicas->count.partitions, 1);
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
        if (is_home && err == OK) err = change_role(here, step->partition, &step->assignment);
        if (is_home && err != OK) step->err = err;
    }
}

/* What a full disk did not let in is not forgotten: as soon as there is room it will be. */
static void keep_for_later(struct change *change, struct step *step)
{
    struct partition *partition = step->partition;
    if (partition && partition->control.leader_epoch == step->assignment.leader_epoch)
        partition->control.leader_epoch = step->epoch_before;
    bool is_kept =
        late_roles_keep(&change->replicas->late, change->request, step->topic, step->topic_id, step->state);
    if (is_kept) step->err = OK;
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
    const struct leader_and_isr_request *request = change->request;
    struct leader_and_isr_response *response = change->response;
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
        change_end(change);
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
    change_end(change);
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
                                                     .isr_count = state->isr.count};
}

/* Control loop. New logs are files and syncs: after some of them they take their roles, and then the sessions and requests of
 * this loop have their turn. Should another controller speak meanwhile, the rest of what this one said is void. */
static void leader_and_isr_round(struct loop_message *message)
{
    struct change *change = CONTAINER_OF(message, struct change, go_on);
    struct replicas *replicas = change->replicas;
    const struct leader_and_isr_request *request = change->request;
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
        step->err = err == OK ? prepare(replicas, step) : err;
        made += step->partition && !was_known;
    }
    change_run(change, leader_and_isr_at_loop, leader_and_isr_at_end);
}

void replicas_apply_leader_and_isr(struct replicas *replicas, const struct leader_and_isr_request *request,
                                   struct arena *arena, struct leader_and_isr_response *response,
                                   void (*done)(void *done_context), void *done_context)
{
    enum error err = replicas->is_closing ? ERR_NOT_LEADER_OR_FOLLOWER
                                          : metadata_obey(replicas->options.metadata,
                                                          request->controller_epoch, request->broker_epoch);
    size_t count = 0;
    for (int32_t t = 0; t < request->topic_states.count; t++) {
        int32_t n = request->topic_states.items[t].partition_states.count;
        count += n > 0 ? (size_t)n : 0;
    }
    bool is_flat = request->topic_states.count <= 0;
    if (is_flat && request->ungrouped_partition_states.count > 0) {
        count = (size_t)request->ungrouped_partition_states.count;
    }
    struct change *change = err == OK ? change_new(replicas, count, arena) : NULL;
    if (!change) {
        response->error_code = error_kafka_code(err == OK ? ERR_UNKNOWN_SERVER_ERROR : err);
        done(done_context);
        return;
    }
    change->request = request;
    change->response = response;
    change->done = done;
    change->done_context = done_context;

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

/* --- StopReplica: out of every table and stopped; then, where it is deleted, quiet; then its log --- */

static void stop_replica_end(struct change *change)
{
    struct stop_replica_response *response = change->response;
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
    change_end(change);
}

static enum error delete_log(struct replicas *replicas, struct slice topic, int32_t index)
{
    struct log *log = log_store_find(replicas->options.store, topic, index);
    return log ? log_store_delete(replicas->options.store, &log) : OK;
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
        add_count(&replicas->count.partitions, -1);
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
        if (step->partition->home == here->loop) stop_here(here, step->partition);
    }
}

static void prepare_stop(struct replicas *replicas, struct step *step, struct slice topic, int32_t index,
                         int32_t leader_epoch, bool is_delete)
{
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
}

void replicas_apply_stop_replica(struct replicas *replicas, const struct stop_replica_request *request,
                                 struct arena *arena, struct stop_replica_response *response,
                                 void (*done)(void *done_context), void *done_context)
{
    enum error err = replicas->is_closing ? ERR_NOT_LEADER_OR_FOLLOWER
                                          : metadata_obey(replicas->options.metadata,
                                                          request->controller_epoch, request->broker_epoch);
    size_t count = request->ungrouped_partitions.count > 0 ? (size_t)request->ungrouped_partitions.count : 0;
    for (int32_t t = 0; t < request->topics.count; t++) {
        int32_t n = request->topics.items[t].partition_indexes.count;
        count += n > 0 ? (size_t)n : 0;
    }
    for (int32_t t = 0; t < request->topic_states.count; t++) {
        int32_t n = request->topic_states.items[t].partition_states.count;
        count += n > 0 ? (size_t)n : 0;
    }
    struct change *change = err == OK ? change_new(replicas, count, arena) : NULL;
    if (!change) {
        response->error_code = error_kafka_code(err == OK ? ERR_UNKNOWN_SERVER_ERROR : err);
        done(done_context);
        return;
    }
    change->request = request;
    change->response = response;
    change->done = done;
    change->done_context = done_context;

    struct step *step = change->steps;
    for (int32_t i = 0; i < request->ungrouped_partitions.count; i++) {
        const struct stop_replica_request_stop_replica_partition_v0 *p =
            &request->ungrouped_partitions.items[i];
        prepare_stop(replicas, step++, p->topic_name, p->partition_index, -1, request->delete_partitions);
    }
    for (int32_t t = 0; t < request->topics.count; t++) {
        const struct stop_replica_request_stop_replica_topic_v1 *topic = &request->topics.items[t];
        for (int32_t i = 0; i < topic->partition_indexes.count; i++) {
            prepare_stop(replicas, step++, topic->name, topic->partition_indexes.items[i], -1,
                         request->delete_partitions);
        }
    }
    for (int32_t t = 0; t < request->topic_states.count; t++) {
        const struct stop_replica_request_stop_replica_topic_state *topic = &request->topic_states.items[t];
        for (int32_t i = 0; i < topic->partition_states.count; i++) {
            const struct stop_replica_request_stop_replica_partition_state *p =
                &topic->partition_states.items[i];
            prepare_stop(replicas, step++, topic->topic_name, p->partition_index, p->leader_epoch,
                         p->delete_partition);
        }
    }
    change_run(change, stop_at_loop, stopped_at_end);
}

/* --- configuration --- */

struct reconfigure {
    struct loop_message message;
    struct replica_loop *here;
    size_t topic_size;
    bool is_all;
    uint8_t topic[];
};

static void reconfigure_run(struct loop_message *message)
{
    struct reconfigure *work = CONTAINER_OF(message, struct reconfigure, message);
    struct replica_loop *here = work->here;
    struct slice topic = {work->topic, work->topic_size};
    size_t position = 0;
    struct partition *partition;
    while ((partition = work->is_all ? partition_table_next(&here->table, &position)
                                     : partition_table_next_of(&here->table, topic, &position))) {
        if (partition->home == here->loop && partition->log) apply_rules(here->owner, partition);
    }
    free(work);
}

void replicas_reconfigure(struct replicas *replicas, struct slice topic)
{
    for (size_t i = 0; i < replicas->options.loop_count; i++) {
        struct reconfigure *work = calloc(1, sizeof *work + topic.size + 1);
        if (!work) {
            diag_error("could not apply a changed configuration: %s", error_text(ERR_NOMEM));
            return;
        }
        work->message.run = reconfigure_run;
        work->here = &replicas->loops[i];
        work->is_all = topic.data == NULL;
        work->topic_size = topic.size;
        if (topic.size > 0) memcpy(work->topic, topic.data, topic.size);
        loop_post(replicas->loops[i].loop, &work->message);
    }
}

/* --- the end --- */

static void loop_closed(struct loop_message *message)
{
    struct replica_loop *here = CONTAINER_OF(message, struct replica_loop, closed);
    struct replicas *replicas = here->owner;
    if (--replicas->loops_to_close > 0) return;
    replicas->on_closed(replicas->on_closed_context);
}

static void home_idle(void *context)
{
    struct replica_loop *here = context;
    here->closed.run = loop_closed;
    loop_post(here->owner->options.loops[0], &here->closed);
}

/* All have stopped and their waiters were told in the turn before: nothing refers to them any more. */
static void release_all(struct loop_message *message)
{
    struct replica_loop *here = CONTAINER_OF(message, struct replica_loop, closing);
    struct partition *partition;
    for (size_t i = 0; (partition = partition_table_next(&here->table, &i));) {
        if (partition->home != here->loop || !partition->log) continue;
        struct log *log = partition->log;
        partition_set_log(partition, NULL);
        log_set_home(log, NULL);
    }
    if (here->has_home)
        log_home_close(&here->home, home_idle, here);
    else
        home_idle(here);
}

static void stop_all(struct loop_message *message)
{
    struct replica_loop *here = CONTAINER_OF(message, struct replica_loop, closing);
    struct partition *partition;
    for (size_t i = 0; (partition = partition_table_next(&here->table, &i));) {
        if (partition->home == here->loop) stop_here(here, partition);
    }
    here->closing.run = release_all;
    loop_post(here->loop, &here->closing);
}

void replicas_close(struct replicas *replicas, void (*done)(void *context), void *context)
{
    assert(!replicas->is_closing);
    replicas->is_closing = true;
    late_roles_stop(&replicas->late);
    replicas->on_closed = done;
    replicas->on_closed_context = context;
    replicas->loops_to_close = replicas->options.loop_count;
    for (size_t i = 0; i < replicas->options.loop_count; i++) {
        replicas->loops[i].closing.run = stop_all;
        loop_post(replicas->loops[i].loop, &replicas->loops[i].closing);
    }
}
