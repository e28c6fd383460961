/* transitions.c: the states that partitions and replicas move through, what is written for it and who is told.
 *
 *   partition   nonexistent -> new -> online <-> offline -> nonexistent
 *   replica     nonexistent -> new -> online <-> offline -> deletion started -> successful -> nonexistent
 *                                       ^-----------'-> ineligible <-'
 *
 * A move that is not drawn is said and not made. Writes are conditional on the state's version; where somebody was faster the
 * state is read again and the decision made anew, three times at most. Source: facts/cluster.md 3.5, 3.6.
 */
#include "controller/inside.h"

enum { MAX_ATTEMPTS = 3 };

/* A partition's next state, and its write. */
struct change {
    struct cpartition *partition;
    struct partition_state state;
    struct write *write;
    int32_t broker_id; /* of a replica going offline */
    bool is_new;
};

struct transition {
    struct partition_list partitions;
    struct replica_list replicas;
    enum election kind;
    enum replica_phase phase;
    struct change *changes;
    struct write *writes;
    size_t change_count;
    int attempts;
    bool is_final;     /* of replicas going offline: out of the ISR, whoever is left in it */
    size_t leaderless; /* elections that found nobody */
    const struct cpartition *first_leaderless;
};

static struct transition *transition_alloc(struct controller *c)
{
    return scratch_alloc(c, 1, sizeof(struct transition));
}

static const char *partition_phase_name(enum partition_phase phase)
{
    static const char *const names[] = {"nonexistent", "new", "online", "offline"};
    return names[phase];
}

static bool partition_may(struct cpartition *partition, enum partition_phase to)
{
    static const unsigned from[] = {
        [PARTITION_NONEXISTENT] = 1u << PARTITION_OFFLINE,
        [PARTITION_NEW] = 1u << PARTITION_NONEXISTENT,
        [PARTITION_ONLINE] = 1u << PARTITION_NEW | 1u << PARTITION_ONLINE | 1u << PARTITION_OFFLINE,
        [PARTITION_OFFLINE] = 1u << PARTITION_NEW | 1u << PARTITION_ONLINE | 1u << PARTITION_OFFLINE,
    };
    if (from[to] & 1u << partition->phase) return true;
    diag_error("partition %.*s-%d cannot go from %s to %s", SLICE_ARG(partition->topic->name),
               partition->index, partition_phase_name(partition->phase), partition_phase_name(to));
    return false;
}

static bool replica_may(struct cpartition *partition, const struct seat *seat, enum replica_phase to)
{
    const unsigned living =
        1u << REPLICA_NEW | 1u << REPLICA_ONLINE | 1u << REPLICA_OFFLINE | 1u << REPLICA_DELETION_INELIGIBLE;
    static const unsigned deletion[] = {
        [REPLICA_NEW] = 1u << REPLICA_NONEXISTENT,
        [REPLICA_DELETION_STARTED] = 1u << REPLICA_OFFLINE,
        [REPLICA_DELETION_SUCCESSFUL] = 1u << REPLICA_DELETION_STARTED,
        [REPLICA_DELETION_INELIGIBLE] = 1u << REPLICA_OFFLINE | 1u << REPLICA_DELETION_STARTED,
        [REPLICA_NONEXISTENT] = 1u << REPLICA_DELETION_SUCCESSFUL,
    };
    unsigned from = to == REPLICA_ONLINE || to == REPLICA_OFFLINE ? living : deletion[to];
    if (from & 1u << seat->phase) return true;
    diag_error("replica %d of %.*s-%d cannot go from state %d to %d", seat->broker_id,
               SLICE_ARG(partition->topic->name), partition->index, seat->phase, to);
    return false;
}

/* --- writing states --- */

static struct slice state_json(struct controller *c, const struct partition_state *state)
{
    struct text text = {0};
    znode_state_encode(state, &text);
    return scratch_text(c, &text);
}

static struct change *change_add(struct controller *c, struct transition *t, struct cpartition *partition,
                                 const struct partition_state *state)
{
    struct change *change = &t->changes[t->change_count];
    struct write *write = &t->writes[t->change_count++];
    *change = (struct change){.partition = partition, .state = *state, .write = write, .broker_id = -1};
    struct slice path = state_path(c, partition), data = state_json(c, state);
    if (partition->has_state) {
        write->ops[write->op_count++] =
            (struct coord_op){.kind = COORD_SET, .path = path, .data = data, .version = partition->version};
        return change;
    }
    /* /partitions, /partitions/N and its state; what a crash left of them is taken as it is. */
    struct slice folder = {path.data, path.size - sizeof "/state" + 1};
    if (!partition->topic->has_folder) {
        struct slice all =
            scratch_print(c, "/brokers/topics/%.*s/partitions", SLICE_ARG(partition->topic->name));
        write->ops[write->op_count++] = (struct coord_op){.kind = COORD_CREATE, .path = all};
        write->may_exist++;
        partition->topic->has_folder = true;
    }
    write->ops[write->op_count++] = (struct coord_op){.kind = COORD_CREATE, .path = folder};
    write->may_exist++;
    write->ops[write->op_count++] = (struct coord_op){.kind = COORD_CREATE, .path = path, .data = data};
    change->is_new = true;
    return change;
}

static void changes_begin(struct controller *c, struct transition *t, size_t most)
{
    t->changes = scratch_alloc(c, most + 1, sizeof *t->changes);
    t->writes = scratch_alloc(c, most + 1, sizeof *t->writes);
    t->change_count = 0;
}

static void state_reread(struct controller *c, void *argument, const struct coord_reply *reply)
{
    struct cpartition *partition = argument;
    struct partition_state state;
    struct znode_fault fault;
    if (reply->err != OK) return;
    if (znode_state_decode(state_path(c, partition), reply->data, &c->scratch, &state, &fault) != OK) {
        diag_error("a partition's state is not usable: %s", fault.text);
        return;
    }
    if (state.controller_epoch > c->epoch) {
        role_moved(c);
        return;
    }
    context_set_state(partition, &state, reply->stat.version);
}

void transition_reread(struct controller *c, struct cpartition *partition)
{
    engine_get(c, state_path(c, partition), state_reread, partition);
}

/* True when the write failed because somebody was faster, and the state is being read again. */
static bool is_overtaken(struct controller *c, const struct change *change)
{
    if (change->write->err != ERR_ZK_BAD_VERSION && change->write->err != ERR_ZK_NODE_EXISTS) return false;
    transition_reread(c, change->partition);
    return true;
}

/* After a write that failed: true when it is to be done again, with the state as it is now; else it has been said. */
static bool must_repeat(struct controller *c, const struct transition *t, const struct change *change)
{
    if (t->attempts < MAX_ATTEMPTS && is_overtaken(c, change)) return true;
    diag_error("could not write the state of %.*s-%d after %d attempts: %s",
               SLICE_ARG(change->partition->topic->name), change->partition->index, t->attempts + 1,
               error_text(change->write->err));
    return false;
}

/* What was written is so, and whom it concerns hears of it; what was overtaken takes the step again. `told` also hears of writes
 * that failed for good. */
static void finish_writes(struct controller *c, const struct transition *t,
                          void (*told)(struct controller *c, const struct transition *t,
                                       const struct change *change),
                          void (*step)(struct controller *c, void *argument))
{
    struct partition_list again = {0};
    for (size_t i = 0; i < t->change_count; i++) {
        const struct change *change = &t->changes[i];
        if (change->write->err != OK && must_repeat(c, t, change)) {
            partition_list_add(c, &again, change->partition);
            continue;
        }
        if (change->write->err == OK)
            context_set_state(change->partition, &change->state, change->write->version);
        told(c, t, change);
    }
    batch_send(c);
    if (again.count == 0) return;
    struct transition *next = transition_alloc(c);
    *next = (struct transition){.partitions = again, .kind = t->kind, .attempts = t->attempts + 1};
    engine_push(c, step, next);
}

/* --- partitions --- */

static void new_step(struct controller *c, void *argument)
{
    (void)c;
    struct transition *t = argument;
    for (size_t i = 0; i < t->partitions.count; i++)
        if (partition_may(t->partitions.items[i], PARTITION_NEW))
            t->partitions.items[i]->phase = PARTITION_NEW;
}

void transition_new(struct controller *c, struct partition_list partitions)
{
    struct transition *t = transition_alloc(c);
    t->partitions = partitions;
    engine_push(c, new_step, t);
}

static void offline_step(struct controller *c, void *argument)
{
    (void)c;
    struct transition *t = argument;
    for (size_t i = 0; i < t->partitions.count; i++)
        if (partition_may(t->partitions.items[i], PARTITION_OFFLINE))
            t->partitions.items[i]->phase = PARTITION_OFFLINE;
}

void transition_offline(struct controller *c, struct partition_list partitions)
{
    struct transition *t = transition_alloc(c);
    t->partitions = partitions;
    engine_push(c, offline_step, t);
}

static bool is_unclean_allowed(struct controller *c, const struct cpartition *partition)
{
    const struct controller_rules *rules = &c->options.rules;
    if (!rules->is_unclean_election_allowed) return false;
    const struct image_config *config =
        image_config(metadata_image(c->metadata), CONFIG_TOPIC, partition->topic->name);
    return rules->is_unclean_election_allowed(rules->context, config);
}

/* Said once for all of them: there may be thousands. */
static void add_leaderless(struct transition *t, const struct cpartition *partition)
{
    if (t->leaderless++ == 0) t->first_leaderless = partition;
}

static void say_leaderless(const struct transition *t)
{
    if (t->leaderless == 0) return;
    const struct cpartition *first = t->first_leaderless;
    if (t->leaderless == 1)
        diag_warn("partition %.*s-%d has no replica that may lead", SLICE_ARG(first->topic->name),
                  first->index);
    else
        diag_warn("%zu partitions have no replica that may lead, %.*s-%d is the first", t->leaderless,
                  SLICE_ARG(first->topic->name), first->index);
}

/* A partition that never had a leader: its first live replica leads, all live ones are in sync. */
static void begin_first(struct controller *c, struct transition *t, struct cpartition *partition)
{
    struct int32_list live = context_live_replicas(c, partition);
    if (live.count == 0) {
        partition->election = ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE;
        add_leaderless(t, partition);
        return;
    }
    struct partition_state state = {.controller_epoch = c->epoch, .leader = live.items[0], .isr = live};
    change_add(c, t, partition, &state);
}

static void begin_election(struct controller *c, struct transition *t, struct cpartition *partition)
{
    struct candidates candidates = {.replicas = context_replicas(c, partition),
                                    .isr = partition->isr,
                                    .live = context_live_replicas(c, partition),
                                    .leaving = c->leaving,
                                    .target = context_replicas(c, partition),
                                    .shrinks_itself = c->shrink_themselves};
    struct elected elected = {.isr = scratch_alloc(c, partition->isr.count + 1, sizeof(int32_t))};
    bool is_found = elect_leader(t->kind, &candidates, &elected);
    if (!is_found && t->kind == ELECT_OFFLINE && is_unclean_allowed(c, partition))
        is_found = elect_leader(ELECT_UNCLEAN, &candidates, &elected);
    if (!is_found) {
        if (t->kind == ELECT_OFFLINE) c->has_leaderless = true;
        partition->election = t->kind == ELECT_PREFERRED ? ERR_PREFERRED_LEADER_NOT_AVAILABLE
                                                         : ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE;
        if (t->kind == ELECT_OFFLINE || t->kind == ELECT_UNCLEAN) add_leaderless(t, partition);
        return;
    }
    if (t->kind == ELECT_PREFERRED && elected.leader == partition->leader) {
        partition->election = ERR_ELECTION_NOT_NEEDED;
        return;
    }
    if (elected.is_recovering)
        diag_warn("unclean election: %d leads %.*s-%d, records may be lost", elected.leader,
                  SLICE_ARG(partition->topic->name), partition->index);
    struct partition_state state = {.controller_epoch = c->epoch,
                                    .leader = elected.leader,
                                    .leader_epoch = partition->leader_epoch + 1,
                                    .isr = {elected.isr, elected.isr_count},
                                    .is_recovering = elected.is_recovering || partition->is_recovering};
    change_add(c, t, partition, &state);
}

static void online_written(struct controller *c, void *argument);

static void online_step(struct controller *c, void *argument)
{
    struct transition *t = argument;
    changes_begin(c, t, t->partitions.count);
    for (size_t i = 0; i < t->partitions.count; i++) {
        struct cpartition *partition = t->partitions.items[i];
        partition->election = OK;
        if (!partition_may(partition, PARTITION_ONLINE)) continue;
        if (partition->has_state)
            begin_election(c, t, partition);
        else
            begin_first(c, t, partition);
    }
    say_leaderless(t);
    engine_push(c, online_written, t);
    engine_writes(c, t->writes, t->change_count);
}

static void online_told(struct controller *c, const struct transition *t, const struct change *change)
{
    struct cpartition *partition = change->partition;
    if (change->write->err != OK) {
        partition->election = ERR_UNKNOWN_SERVER_ERROR;
        return;
    }
    partition->phase = PARTITION_ONLINE;
    /* Who is about to stop must hear that it leads no more (KAFKA-7482). */
    struct int32_list told = t->kind == ELECT_PREFERRED             ? context_replicas(c, partition)
                             : t->kind == ELECT_CONTROLLED_SHUTDOWN ? context_reachable_replicas(c, partition)
                                                                    : context_live_replicas(c, partition);
    batch_leader_and_isr(c, told, partition, change->is_new);
}

static void online_written(struct controller *c, void *argument)
{
    finish_writes(c, argument, online_told, online_step);
}

void transition_online(struct controller *c, struct partition_list partitions, enum election kind)
{
    struct transition *t = transition_alloc(c);
    t->partitions = partitions;
    t->kind = kind;
    engine_push(c, online_step, t);
}

static void elect_waiting_step(struct controller *c, void *argument)
{
    (void)argument;
    struct partition_list waiting = {0};
    c->has_leaderless = false;
    size_t count;
    struct ctopic **topics = context_sorted_topics(c, &count);
    for (size_t t = 0; t < count; t++) {
        for (size_t p = 0; !topics[t]->is_deleting && p < topics[t]->partition_count; p++) {
            struct cpartition *partition = topics[t]->partitions[p];
            if (partition->phase == PARTITION_NEW || partition->phase == PARTITION_OFFLINE)
                partition_list_add(c, &waiting, partition);
        }
    }
    if (waiting.count > 0) transition_online(c, waiting, ELECT_OFFLINE);
}

void transition_elect_waiting(struct controller *c)
{
    engine_push(c, elect_waiting_step, NULL);
}

void event_elect_waiting(struct controller *c, void *argument)
{
    elect_waiting_step(c, argument);
}

/* --- the same again, one epoch later --- */

static void epoch_written(struct controller *c, void *argument);

static void epoch_step(struct controller *c, void *argument)
{
    struct transition *t = argument;
    changes_begin(c, t, t->partitions.count);
    for (size_t i = 0; i < t->partitions.count; i++) {
        const struct cpartition *partition = t->partitions.items[i];
        if (!partition->has_state) continue; /* nobody leads it yet: its first leader will tell */
        struct partition_state state = {.controller_epoch = c->epoch,
                                        .leader = partition->leader,
                                        .leader_epoch = partition->leader_epoch + 1,
                                        .isr = partition->isr,
                                        .is_recovering = partition->is_recovering};
        change_add(c, t, t->partitions.items[i], &state);
    }
    engine_push(c, epoch_written, t);
    engine_writes(c, t->writes, t->change_count);
}

static void epoch_told(struct controller *c, const struct transition *t, const struct change *change)
{
    (void)t;
    struct cpartition *partition = change->partition;
    for (size_t s = 0; change->write->err == OK && s < partition->seat_count; s++) {
        int32_t *id = scratch_alloc(c, 1, sizeof *id);
        *id = partition->seats[s].broker_id;
        batch_leader_and_isr(c, (struct int32_list){id, 1}, partition, ids_have(partition->adding, *id));
    }
}

static void epoch_written(struct controller *c, void *argument)
{
    finish_writes(c, argument, epoch_told, epoch_step);
}

void transition_epoch(struct controller *c, struct partition_list partitions)
{
    struct transition *t = transition_alloc(c);
    t->partitions = partitions;
    engine_push(c, epoch_step, t);
}

/* --- replicas --- */

static void replicas_written(struct controller *c, void *argument);

static void went_offline(struct controller *c, struct cpartition *partition, int32_t broker_id)
{
    struct seat *seat = context_seat(partition, broker_id);
    if (seat) seat->phase = REPLICA_OFFLINE;
    if (partition->topic->is_deleting || !partition->has_state) return;
    struct int32_list live = context_live_replicas(c, partition);
    int32_t *others = scratch_alloc(c, live.count + 1, sizeof *others);
    size_t count = 0;
    for (size_t i = 0; i < live.count; i++)
        if (live.items[i] != broker_id) others[count++] = live.items[i];
    batch_leader_and_isr(c, (struct int32_list){others, count}, partition, false);
}

static bool is_assigned(const struct cpartition *partition, int32_t broker_id)
{
    for (size_t i = 0; i < partition->seat_count; i++)
        if (partition->seats[i].broker_id == broker_id) return true;
    return false;
}

/* Of an ISR of two: who would be left alone is dead as well for all we know, or takes this one out itself (election.h, Alone). Who lost
 * its disk, while the other one lives, or is no replica any more goes at once, and so does a stranger that is back already: it may have lost what it had. Who
 * is about to stop goes on following until it does. */
static bool may_stay(struct controller *c, const struct transition *t, struct cpartition *partition,
                     int32_t broker_id)
{
    const struct cbroker *broker = context_broker(c, broker_id);
    const struct seat *seat = context_seat(partition, broker_id);
    bool is_strange = broker && !broker->is_leaving && !broker->registration.shrinks_itself;
    bool is_gone = t->is_final || !is_assigned(partition, broker_id) || is_strange;
    if (is_gone || partition->isr.count != 2) return false;
    int32_t last_id = partition->isr.items[partition->isr.items[0] == broker_id];
    bool is_last_live = context_is_live(c, partition, last_id);
    if (seat->is_dir_offline) return !is_last_live;
    return is_last_live ? ids_have(c->shrink_themselves, last_id) : !broker;
}

/* Leaves the ISR, unless it is the last one in it or may stay: that one may come back with what was acknowledged. */
static struct partition_state without(struct controller *c, const struct cpartition *partition,
                                      int32_t broker_id, bool stays)
{
    int32_t *isr = scratch_alloc(c, partition->isr.count + 1, sizeof *isr);
    size_t count = 0;
    for (size_t i = 0; i < partition->isr.count; i++)
        if (stays || partition->isr.items[i] != broker_id) isr[count++] = partition->isr.items[i];
    return (struct partition_state){.controller_epoch = c->epoch,
                                    .leader = partition->leader == broker_id ? -1 : partition->leader,
                                    .leader_epoch = partition->leader_epoch + 1,
                                    .isr = count > 0 ? (struct int32_list){isr, count} : partition->isr,
                                    .is_recovering = partition->is_recovering};
}

/* One replica of each partition in a round, for each changes the state that the next one starts from. */
static void replicas_offline_step(struct controller *c, void *argument)
{
    struct transition *t = argument;
    struct transition *later = transition_alloc(c);
    *later = (struct transition){.phase = t->phase, .is_final = t->is_final};
    changes_begin(c, t, t->replicas.count);
    c->round_number++;
    for (size_t i = 0; i < t->replicas.count; i++) {
        struct replica_ref *ref = &t->replicas.items[i];
        struct seat *seat = context_seat(ref->partition, ref->broker_id);
        if (!seat) continue;
        if (ref->partition->round_mark == c->round_number) {
            replica_list_add(c, &later->replicas, ref->partition, ref->broker_id);
            continue;
        }
        if (!replica_may(ref->partition, seat, REPLICA_OFFLINE)) continue;
        ref->partition->round_mark = c->round_number;
        bool is_in = ref->partition->has_state && ids_have(ref->partition->isr, ref->broker_id);
        bool stays = is_in && may_stay(c, t, ref->partition, ref->broker_id);
        const struct cbroker *broker = context_broker(c, ref->broker_id);
        if (stays && broker && broker->is_leaving) continue;
        if (t->attempts == 0) batch_stop(c, ref->broker_id, ref->partition, false);
        /* One that lives again must hear its role anew, which takes another epoch. */
        bool is_unchanged = stays && ref->partition->leader != ref->broker_id && !broker;
        if (!is_in || is_unchanged) {
            went_offline(c, ref->partition, ref->broker_id);
            continue;
        }
        struct partition_state state = without(c, ref->partition, ref->broker_id, stays);
        change_add(c, t, ref->partition, &state)->broker_id = ref->broker_id;
    }
    if (later->replicas.count > 0) engine_push(c, replicas_offline_step, later);
    engine_push(c, replicas_written, t);
    engine_writes(c, t->writes, t->change_count);
}

static void replicas_written(struct controller *c, void *argument)
{
    struct transition *t = argument;
    struct replica_list again = {0};
    for (size_t i = 0; i < t->change_count; i++) {
        struct change *change = &t->changes[i];
        if (change->write->err == OK) {
            context_set_state(change->partition, &change->state, change->write->version);
            went_offline(c, change->partition, change->broker_id);
        } else if (must_repeat(c, t, change)) {
            replica_list_add(c, &again, change->partition, change->broker_id);
        }
    }
    batch_send(c);
    if (again.count == 0) return;
    struct transition *next = transition_alloc(c);
    *next = (struct transition){
        .replicas = again, .phase = t->phase, .is_final = t->is_final, .attempts = t->attempts + 1};
    engine_push(c, replicas_offline_step, next);
}

static void replicas_step(struct controller *c, void *argument)
{
    struct transition *t = argument;
    for (size_t i = 0; i < t->replicas.count; i++) {
        struct cpartition *partition = t->replicas.items[i].partition;
        struct seat *seat = context_seat(partition, t->replicas.items[i].broker_id);
        if (!seat || !replica_may(partition, seat, t->phase)) continue;
        bool was_new = seat->phase == REPLICA_NEW;
        seat->phase = t->phase;
        if (t->phase == REPLICA_ONLINE && !was_new && partition->has_state) {
            int32_t *id = scratch_alloc(c, 1, sizeof *id);
            *id = seat->broker_id;
            batch_leader_and_isr(c, (struct int32_list){id, 1}, partition, false);
        }
        if (t->phase == REPLICA_DELETION_STARTED) batch_stop(c, seat->broker_id, partition, true);
    }
    batch_send(c);
}

void transition_strangers(struct controller *c, struct replica_list replicas)
{
    struct transition *t = transition_alloc(c);
    t->replicas = replicas;
    t->phase = REPLICA_OFFLINE;
    t->is_final = true;
    engine_push(c, replicas_offline_step, t);
}

void transition_replicas(struct controller *c, struct replica_list replicas, enum replica_phase phase)
{
    struct transition *t = transition_alloc(c);
    t->replicas = replicas;
    t->phase = phase;
    engine_push(c, phase == REPLICA_OFFLINE ? replicas_offline_step : replicas_step, t);
}
