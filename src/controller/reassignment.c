#include "controller/reassignment.h"

bool reassign_is_running(const struct cpartition *partition)
{
    return partition->adding.count > 0 || partition->removing.count > 0;
}

/* --- sets of brokers, in order --- */

static struct int32_list copy_of(struct controller *c, struct int32_list ids, size_t room)
{
    int32_t *copy = scratch_alloc(c, ids.count + room + 1, sizeof *copy);
    if (ids.count > 0) memcpy(copy, ids.items, ids.count * sizeof *copy);
    return (struct int32_list){copy, ids.count};
}

static struct int32_list minus(struct controller *c, struct int32_list ids, struct int32_list others)
{
    int32_t *left = scratch_alloc(c, ids.count + 1, sizeof *left);
    size_t count = 0;
    for (size_t i = 0; i < ids.count; i++)
        if (!ids_have(others, ids.items[i])) left[count++] = ids.items[i];
    return (struct int32_list){left, count};
}

/* `first`, then those of `others` that are not among them. */
static struct int32_list plus(struct controller *c, struct int32_list first, struct int32_list others)
{
    struct int32_list all = copy_of(c, first, others.count);
    for (size_t i = 0; i < others.count; i++)
        if (!ids_have(first, others.items[i])) ((int32_t *)all.items)[all.count++] = others.items[i];
    return all;
}

static bool is_subset(struct int32_list ids, struct int32_list of)
{
    for (size_t i = 0; i < ids.count; i++)
        if (!ids_have(of, ids.items[i])) return false;
    return true;
}

static struct int32_list origin_of(struct controller *c, const struct cpartition *partition)
{
    return minus(c, context_replicas(c, partition), partition->adding);
}

static struct int32_list target_of(struct controller *c, const struct cpartition *partition)
{
    return minus(c, context_replicas(c, partition), partition->removing);
}

/* In sync, and one of them there to lead. */
static bool is_complete(struct controller *c, const struct cpartition *partition)
{
    struct int32_list target = target_of(c, partition);
    if (!partition->has_state || !is_subset(target, partition->isr)) return false;
    for (size_t i = 0; i < target.count; i++)
        if (context_is_live(c, partition, target.items[i])) return true;
    return false;
}

/* --- planning --- */

enum error reassign_plan(struct controller *c, struct cpartition *partition, const struct int32_list *target,
                         struct move *move, const char **why)
{
    struct int32_list now = context_replicas(c, partition), origin = origin_of(c, partition);
    struct int32_list to = target ? *target : origin;
    *why = NULL;
    if (!target && !reassign_is_running(partition)) {
        *why = "the partition is not being moved";
        return ERR_NO_REASSIGNMENT_IN_PROGRESS;
    }
    if (to.count == 0) *why = "a partition needs at least one replica";
    for (size_t i = 0; i < to.count; i++) {
        struct int32_list before = {to.items, i};
        if (to.items[i] < 0)
            *why = "a broker id is never negative";
        else if (ids_have(before, to.items[i]))
            *why = "a broker is named twice";
        else if (!ids_have(now, to.items[i]) && !ids_have(c->live, to.items[i]))
            *why = "a broker that is to be added is not alive";
    }
    if (*why) return ERR_INVALID_REPLICA_ASSIGNMENT;
    *move = (struct move){.partition = partition, .replicas = plus(c, to, origin)};
    move->adding = minus(c, move->replicas, origin);
    move->removing = minus(c, move->replicas, to);
    return OK;
}

struct partition_list reassign_running(struct controller *c, int32_t broker_id)
{
    struct partition_list found = {0};
    size_t count;
    struct ctopic **topics = context_sorted_topics(c, &count);
    for (size_t t = 0; t < count; t++) {
        for (size_t p = 0; !topics[t]->is_deleting && p < topics[t]->partition_count; p++) {
            struct cpartition *partition = topics[t]->partitions[p];
            if (!reassign_is_running(partition)) continue;
            if (broker_id < 0 || ids_have(target_of(c, partition), broker_id))
                partition_list_add(c, &found, partition);
        }
    }
    return found;
}

/* --- the topics' znodes --- */

struct topic_write {
    struct ctopic *topic;
    struct topic_assignment assignment;
};

struct topic_writes {
    struct topic_write *topics;
    struct write *writes;
    size_t count;
};

static struct topic_write *topic_write_of(struct controller *c, struct topic_writes *all,
                                          struct ctopic *topic)
{
    if (topic->write_mark == c->round_number) return &all->topics[topic->write_index];
    topic->write_mark = c->round_number;
    topic->write_index = all->count;
    struct topic_write *made = &all->topics[all->count++];
    struct int32_list *lists = scratch_alloc(c, 3 * topic->partition_count + 1, sizeof *lists);
    made->topic = topic;
    made->assignment = (struct topic_assignment){.id = topic->id,
                                                 .replicas = lists,
                                                 .adding = lists + topic->partition_count,
                                                 .removing = lists + 2 * topic->partition_count,
                                                 .partition_count = topic->partition_count};
    for (size_t p = 0; p < topic->partition_count; p++) {
        made->assignment.replicas[p] = context_replicas(c, topic->partitions[p]);
        made->assignment.adding[p] = topic->partitions[p]->adding;
        made->assignment.removing[p] = topic->partitions[p]->removing;
    }
    return made;
}

static void topic_writes_begin(struct controller *c, struct topic_writes *all, size_t most)
{
    all->topics = scratch_alloc(c, most + 1, sizeof *all->topics);
    all->writes = scratch_alloc(c, most + 1, sizeof *all->writes);
    all->count = 0;
    c->round_number++;
}

static void topic_writes_send(struct controller *c, struct topic_writes *all)
{
    for (size_t t = 0; t < all->count; t++) {
        struct text json = {0};
        znode_topic_encode(&all->topics[t].assignment, &json);
        all->writes[t].ops[0] = (struct coord_op){.kind = COORD_SET,
                                                  .path = topic_path(c, all->topics[t].topic->name),
                                                  .data = scratch_text(c, &json),
                                                  .version = COORD_ANY_VERSION};
        all->writes[t].op_count = 1;
    }
    engine_writes(c, all->writes, all->count);
}

/* --- replicas that are not needed any more --- */

static void forget_dropped(struct controller *c, void *argument)
{
    (void)c;
    struct partition_list *partitions = argument;
    for (size_t i = 0; i < partitions->count; i++) context_forget_dropped(partitions->items[i]);
}

static struct replica_list dropped_of(struct controller *c, const struct partition_list *partitions)
{
    struct replica_list dropped = {0};
    for (size_t i = 0; i < partitions->count; i++)
        for (size_t s = 0; s < partitions->items[i]->dropped_count; s++)
            replica_list_add(c, &dropped, partitions->items[i], partitions->items[i]->dropped[s].broker_id);
    return dropped;
}

/* Out of the ISR, stopped, deleted; nobody waits for the answers (KAFKA-13198). */
static void stop_dropped(struct controller *c, void *argument)
{
    struct replica_list dropped = dropped_of(c, argument);
    engine_push(c, forget_dropped, argument); /* the last pushed runs first */
    if (dropped.count == 0) return;
    transition_replicas(c, dropped, REPLICA_DELETION_STARTED);
    transition_replicas(c, dropped, REPLICA_OFFLINE);
}

static struct partition_list *kept_list(struct controller *c, struct partition_list list)
{
    struct partition_list *kept = scratch_alloc(c, 1, sizeof *kept);
    *kept = list;
    return kept;
}

/* --- B: arrived --- */

static void resume_deletions(struct controller *c, void *argument)
{
    (void)argument;
    deletion_resume(c);
}

static void tell_all(struct controller *c, void *argument)
{
    struct partition_list *partitions = argument;
    for (size_t i = 0; i < partitions->count; i++) {
        diag_info("partition %.*s-%d has moved", SLICE_ARG(partitions->items[i]->topic->name),
                  partitions->items[i]->index);
        batch_update(c, partitions->items[i]);
    }
    batch_send(c);
}

static void write_arrived(struct controller *c, void *argument)
{
    struct partition_list *partitions = argument;
    struct topic_writes *all = scratch_alloc(c, 1, sizeof *all);
    topic_writes_begin(c, all, partitions->count);
    for (size_t i = 0; i < partitions->count; i++) topic_write_of(c, all, partitions->items[i]->topic);
    topic_writes_send(c, all);
}

static void clear_requested(struct controller *c, void *argument)
{
    struct partition_list *partitions = argument;
    reassign_clear_requested(c, *partitions);
}

static void move_leaders(struct controller *c, void *argument)
{
    struct partition_list *partitions = argument;
    struct partition_list stay = {0}, go = {0};
    for (size_t i = 0; i < partitions->count; i++) {
        struct cpartition *partition = partitions->items[i];
        bool stays = ids_have(context_replicas(c, partition), partition->leader) &&
                     context_is_live(c, partition, partition->leader);
        partition_list_add(c, stays ? &stay : &go, partition);
    }
    if (stay.count > 0) transition_epoch(c, stay);
    if (go.count > 0) transition_online(c, go, ELECT_REASSIGNMENT);
}

static void arrive(struct controller *c, struct partition_list partitions)
{
    for (size_t i = 0; i < partitions.count; i++) {
        struct cpartition *partition = partitions.items[i];
        for (size_t s = 0; s < partition->seat_count; s++)
            if (partition->seats[s].phase == REPLICA_NEW) partition->seats[s].phase = REPLICA_ONLINE;
        const struct int32_list none = {0};
        context_reassign(c, partition, target_of(c, partition), none, none);
    }
    struct partition_list *kept = kept_list(c, partitions);
    /* The last pushed runs first. */
    engine_push(c, resume_deletions, NULL);
    engine_push(c, tell_all, kept);
    engine_push(c, clear_requested, kept);
    engine_push(c, write_arrived, kept);
    engine_push(c, stop_dropped, kept);
    engine_push(c, move_leaders, kept);
}

/* --- A: under way --- */

void reassign_go_on(struct controller *c, struct partition_list partitions, bool is_only_complete)
{
    struct partition_list arrived = {0}, waiting = {0};
    for (size_t i = 0; i < partitions.count; i++) {
        struct cpartition *partition = partitions.items[i];
        if (is_complete(c, partition))
            partition_list_add(c, &arrived, partition);
        else if (!is_only_complete)
            partition_list_add(c, &waiting, partition);
    }
    if (arrived.count > 0) arrive(c, arrived);
    if (waiting.count > 0) transition_epoch(c, waiting);
}

static void go_on_step(struct controller *c, void *argument)
{
    reassign_go_on(c, *(struct partition_list *)argument, false);
}

/* --- U: a new target --- */

struct update {
    struct moves *moves;
    struct topic_writes topics;
};

static void updated(struct controller *c, void *argument)
{
    const struct update *update = argument;
    struct partition_list changed = {0};
    for (size_t i = 0; i < update->moves->count; i++) {
        struct move *move = &update->moves->items[i];
        if (move->err != OK) continue;
        const struct ctopic *topic = move->partition->topic;
        enum error err = update->topics.writes[topic->write_index].err;
        if (err != OK) {
            diag_error("could not write the new replicas of topic %.*s: %s", SLICE_ARG(topic->name),
                       error_text(err));
            move->err = ERR_UNKNOWN_SERVER_ERROR;
            continue;
        }
        context_reassign(c, move->partition, move->replicas, move->adding, move->removing);
        partition_list_add(c, &changed, move->partition);
    }
    struct partition_list *kept = kept_list(c, changed);
    engine_push(c, go_on_step, kept); /* the last pushed runs first */
    engine_push(c, stop_dropped, kept);
}

static void update_step(struct controller *c, void *argument)
{
    struct update *update = argument;
    topic_writes_begin(c, &update->topics, update->moves->count);
    for (size_t i = 0; i < update->moves->count; i++) {
        const struct move *move = &update->moves->items[i];
        if (move->err != OK) continue;
        struct topic_write *topic = topic_write_of(c, &update->topics, move->partition->topic);
        topic->assignment.replicas[move->partition->index] = move->replicas;
        topic->assignment.adding[move->partition->index] = move->adding;
        topic->assignment.removing[move->partition->index] = move->removing;
    }
    engine_push(c, updated, update);
    topic_writes_send(c, &update->topics);
}

void reassign_begin(struct controller *c, struct moves *moves)
{
    struct update *update = scratch_alloc(c, 1, sizeof *update);
    update->moves = moves;
    engine_push(c, update_step, update);
}
