/* role.c: standing for election, taking over, giving up (facts/cluster.md 3.2, 3.3).
 *
 *   look at /controller and /controller_epoch -> one multi: create /controller, epoch + 1 -> fail-over -> active
 *
 * Fail-over reads everything, tells every broker, and repairs what a predecessor left half done. It knows nothing that is not
 * in znodes, so it may be repeated at any point. */
#include "controller/inside.h"

enum { RETRY_MS = 1000, UNREADABLE_MS = 5000, FIRST_REBALANCE_MS = 5000 };

struct look {
    bool has_owner, is_ours, has_epoch;
    struct controller_owner owner;
    int32_t epoch, epoch_version;
    int32_t tried_epoch; /* what our last attempt would have made it; -1 */
};

static void elect_event(struct controller *c, void *argument);
static void failover(struct controller *c);

static bool is_controller(const struct controller *c)
{
    return c->role != ROLE_NONE;
}

void role_elect(struct controller *c)
{
    engine_event(c, elect_event, NULL, NULL, true);
}

void role_resign(struct controller *c)
{
    if (!is_controller(c)) return;
    bool was_active = c->role == ROLE_ACTIVE;
    diag_info("no longer controller of epoch %d", c->epoch);
    c->role = ROLE_NONE;
    c->rebalance_ms = INT64_MAX;
    events_unwatch(c);
    for (size_t i = 0; i < c->reachable.count; i++)
        c->options.channel.broker_removed(c->options.channel.context, c->reachable.items[i]);
    context_clear(c);
    engine_clear(c);
    pending_drop_all(c, ERR_NOT_CONTROLLER);
    if (was_active && c->options.on_role) c->options.on_role(c->options.context, false);
}

void role_moved(struct controller *c)
{
    diag_info("another broker became controller after epoch %d", c->epoch);
    role_resign(c);
    engine_clear(c);
    role_elect(c);
}

void role_failed(struct controller *c, const char *what, enum error err)
{
    diag_error("the controller could not %s: %s", what, error_text(err));
    role_resign(c);
    engine_clear(c);
    c->reelect_ms = controller_now_ms(c) + RETRY_MS;
}

/* --- looking --- */

static void owner_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    struct look *look = argument;
    struct znode_fault fault;
    if (reply->err != OK) return;
    look->has_owner = true;
    if (znode_controller_decode(SLICE("/controller"), reply->data, &look->owner, &fault) != OK) {
        diag_error("the owner of /controller is not readable: %s", fault.text);
        look->owner.broker_id = -1;
    }
    look->is_ours =
        look->owner.broker_id == c->id && reply->stat.ephemeral_owner == coord_session_id(c->coord);
}

static void epoch_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    (void)c;
    struct look *look = argument;
    struct znode_fault fault;
    if (reply->err != OK) return;
    look->has_epoch = true;
    look->epoch_version = reply->stat.version;
    if (znode_epoch_decode(SLICE("/controller_epoch"), reply->data, &look->epoch, &fault) == OK) return;
    diag_error("the controller epoch is not readable, nobody can be controller until it is a number again, "
               "none below the "
               "last: %s",
               fault.text);
    look->has_epoch = false;
    look->epoch = -1;
}

static void look_done(struct controller *c, void *argument);

static void look_again(struct controller *c, int32_t tried_epoch)
{
    struct look *look = scratch_alloc(c, 1, sizeof *look);
    look->tried_epoch = tried_epoch;
    engine_push(c, look_done, look);
    engine_exists(c, SLICE("/controller"), NULL, NULL); /* arms the watch whether it is there or not */
    engine_get(c, SLICE("/controller"), owner_read, look);
    engine_get(c, SLICE("/controller_epoch"), epoch_read, look);
}

static void elect_event(struct controller *c, void *argument)
{
    (void)argument;
    look_again(c, -1);
}

static void won(struct controller *c, int32_t epoch, int32_t fence_version)
{
    c->epoch = epoch;
    c->fence_version = fence_version;
    c->known_controller = c->id;
    c->role = ROLE_FAILING_OVER;
    diag_info("controller of epoch %d", epoch);
    failover(c);
}

struct attempt {
    int32_t epoch;
};

static void attempted(struct controller *c, void *argument, const struct coord_reply *reply)
{
    const struct attempt *attempt = argument;
    if (reply->err == OK)
        won(c, attempt->epoch, reply->results[reply->result_count - 1].stat.version);
    else if (reply->err == ERR_ZK_NODE_EXISTS || reply->err == ERR_ZK_BAD_VERSION ||
             reply->err == ERR_ZK_NO_NODE)
        look_again(c, attempt->epoch);
    else
        role_failed(c, "stand for election", reply->err);
}

static void look_done(struct controller *c, void *argument)
{
    const struct look *look = argument;
    c->known_controller = look->has_owner ? look->owner.broker_id : -1;
    if (look->is_ours && is_controller(c)) return;
    if (is_controller(c)) {
        role_moved(c);
        return;
    }
    if (look->has_owner && !look->is_ours) { /* its watch tells when it goes */
        if (c->options.on_other && look->owner.broker_id >= 0)
            c->options.on_other(c->options.context, look->owner.broker_id);
        return;
    }
    if (!c->options.is_candidate || c->broker_epoch < 0) return; /* registering calls us again */
    if (look->epoch < 0) {                                       /* until somebody has put it back */
        c->reelect_ms = controller_now_ms(c) + UNREADABLE_MS;
        return;
    }
    /* Ours, and with the epoch of our attempt: it was done, and the answer lost. */
    if (look->is_ours && look->epoch == look->tried_epoch) {
        won(c, look->epoch, look->epoch_version);
        return;
    }
    struct attempt *attempt = scratch_alloc(c, 1, sizeof *attempt);
    attempt->epoch = look->epoch + 1;
    struct text text = {0};
    struct controller_owner owner = {c->id, c->options.rules.wall_ms(c->options.rules.context), -1};
    znode_controller_encode(&owner, &text);
    struct coord_op ops[3];
    size_t count = 0;
    if (!look->has_epoch)
        ops[count++] =
            (struct coord_op){.kind = COORD_CREATE, .path = SLICE("/controller_epoch"), .data = SLICE("0")};
    struct slice data = scratch_text(c, &text);
    if (!look->is_ours)
        ops[count++] = (struct coord_op){
            .kind = COORD_CREATE, .path = SLICE("/controller"), .data = data, .mode = COORD_EPHEMERAL};
    ops[count++] = (struct coord_op){.kind = COORD_SET,
                                     .path = SLICE("/controller_epoch"),
                                     .data = scratch_print(c, "%d", attempt->epoch),
                                     .version = look->has_epoch ? look->epoch_version : 0};
    engine_multi(c, ops, count, attempted, attempt);
}

/* --- taking over --- */

struct names {
    struct slice *items;
    size_t count;
};

struct load {
    struct names brokers, topics, deletions, isr_changes, log_dir_events;
};

static void names_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    struct names *names = argument;
    if (reply->err != OK && reply->err != ERR_ZK_NO_NODE) {
        role_failed(c, "list a folder", reply->err);
        return;
    }
    names->items = scratch_alloc(c, reply->child_count + 1, sizeof *names->items);
    for (size_t i = 0; i < reply->child_count; i++)
        names->items[names->count++] = scratch_copy(c, reply->children[i]);
}

static void feature_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    (void)argument;
    if (reply->err != ERR_ZK_NO_NODE) return;
    struct text text = {0};
    struct feature_node none = {.is_enabled = true};
    znode_feature_encode(&none, &text);
    /* Nobody waits for it, and whoever is first is as good. */
    coord_create(c->coord, SLICE("/feature"), text_slice(&text), COORD_PERSISTENT, COORD_ACL_OPEN, NULL,
                 NULL);
    text_free(&text);
}

static void load_names(struct controller *c, void *argument)
{
    struct load *load = argument;
    engine_get(c, SLICE("/feature"), feature_read, NULL);
    events_watch(c);
    engine_children(c, SLICE("/brokers/ids"), names_read, &load->brokers);
    engine_children(c, SLICE("/brokers/topics"), names_read, &load->topics);
    engine_children(c, SLICE("/admin/delete_topics"), names_read, &load->deletions);
    engine_children(c, SLICE("/isr_change_notification"), names_read, &load->isr_changes);
    engine_children(c, SLICE("/log_dir_event_notification"), names_read, &load->log_dir_events);
}

/* What the notices tell is in the states that are read now. */
static void drop_notices(struct controller *c, const char *folder, const struct names *names)
{
    struct write *writes = scratch_alloc(c, names->count + 1, sizeof *writes);
    for (size_t i = 0; i < names->count; i++) {
        writes[i].ops[0] =
            (struct coord_op){.kind = COORD_DELETE,
                              .path = scratch_print(c, "%s/%.*s", folder, SLICE_ARG(names->items[i])),
                              .version = COORD_ANY_VERSION};
        writes[i].op_count = 1;
    }
    engine_writes(c, writes, names->count);
}

struct topic_load {
    struct slice name;
};

static void topic_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    const struct topic_load *load = argument;
    struct topic_assignment assignment;
    if (reply->err == ERR_ZK_NO_NODE) return;
    if (event_read_topic(c, load->name, reply, &assignment) != OK) {
        c->has_unreadable = true;
        return;
    }
    context_assign(c, context_add_topic(c, load->name, &assignment.id), &assignment);
}

static void broker_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    const int32_t *id = argument;
    struct cbroker *broker = event_read_broker(c, *id, reply);
    if (!broker) return;
    context_set_broker(c, broker);
    c->options.channel.broker_added(c->options.channel.context, &broker->registration, broker->epoch);
}

static void load_nodes(struct controller *c, void *argument)
{
    struct load *load = argument;
    drop_notices(c, "/isr_change_notification", &load->isr_changes);
    drop_notices(c, "/log_dir_event_notification", &load->log_dir_events);
    for (size_t i = 0; i < load->brokers.count; i++) {
        int64_t id;
        if (!slice_to_int64(load->brokers.items[i], 0, INT32_MAX, &id)) continue;
        int32_t *own = scratch_alloc(c, 1, sizeof *own);
        *own = (int32_t)id;
        event_watch_broker(c, *own);
        engine_get(c, scratch_print(c, "/brokers/ids/%d", *own), broker_read, own);
    }
    for (size_t i = 0; i < load->topics.count; i++) {
        struct topic_load *one = scratch_alloc(c, 1, sizeof *one);
        one->name = load->topics.items[i];
        if (topic_name_check(one->name, NULL) != OK) continue;
        event_watch_topic(c, one->name);
        engine_get(c, topic_path(c, one->name), topic_read, one);
    }
}

static void state_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    struct cpartition *partition = argument;
    struct partition_state state;
    struct znode_fault fault;
    if (reply->err == ERR_ZK_NO_NODE) return;
    if (reply->err != OK) {
        role_failed(c, "read a partition's state", reply->err);
        return;
    }
    if (znode_state_decode(state_path(c, partition), reply->data, &c->scratch, &state, &fault) != OK) {
        diag_error("a partition's state is not usable, it stays without leader: %s", fault.text);
        c->has_unreadable = true;
        return;
    }
    context_set_state(partition, &state, reply->stat.version);
    partition->read_zxid = reply->stat.mzxid;
}

static void load_states(struct controller *c, void *argument)
{
    (void)argument;
    size_t count;
    struct ctopic **topics = context_sorted_topics(c, &count);
    for (size_t t = 0; t < count; t++)
        for (size_t p = 0; p < topics[t]->partition_count; p++)
            engine_get(c, state_path(c, topics[t]->partitions[p]), state_read, topics[t]->partitions[p]);
}

/* Before any LeaderAndIsr: whom to obey, and where the others are. */
static void tell_brokers(struct controller *c, void *argument)
{
    struct load *load = argument;
    for (size_t i = 0; i < load->deletions.count; i++) {
        struct ctopic *topic = context_topic(c, load->deletions.items[i]);
        if (topic && c->options.rules.is_topic_deletion_enabled) topic->is_deleting = true;
    }
    batch_update_to(c, c->reachable);
    batch_send(c);
}

/* Came to be after the state was written: what the state says of it, it says of an earlier life, which may have had more. Who lost
 * no more than its session says that it was there all the time. */
static bool is_reborn(const struct controller *c, const struct cpartition *partition, int32_t broker_id)
{
    const struct cbroker *broker = context_broker(c, broker_id);
    if (!broker) return false;
    int64_t since = broker->registration.alive_since_zxid;
    return (since > 0 ? since : broker->epoch) > partition->read_zxid;
}

/* A broker that died and came back while nobody was controller has bounced, like one that does so under our eyes: it leaves the
 * ISR while others are in it, and in no case goes on leading in the old epoch. */
static void collect_reborn(struct controller *c, struct cpartition *partition, struct replica_list *reborn,
                           struct partition_list *again)
{
    bool has_other = false;
    if (!partition->has_state || partition->seat_count < 2 || partition->topic->is_deleting) return;
    for (size_t i = 0; i < partition->isr.count; i++) {
        int32_t id = partition->isr.items[i];
        has_other |= ids_have(c->live, id) && !is_reborn(c, partition, id);
    }
    bool is_leader_reborn = is_reborn(c, partition, partition->leader);
    if (!has_other && is_leader_reborn) partition_list_add(c, again, partition);
    if (!has_other) return;
    if (is_leader_reborn) partition->phase = PARTITION_OFFLINE;
    for (size_t i = 0; i < partition->isr.count; i++)
        if (is_reborn(c, partition, partition->isr.items[i]) &&
            context_seat(partition, partition->isr.items[i]))
            replica_list_add(c, reborn, partition, partition->isr.items[i]);
}

static void start_states(struct controller *c, void *argument)
{
    (void)argument;
    struct replica_list online = {0}, offline = {0}, reborn = {0};
    struct partition_list again = {0};
    size_t count;
    struct ctopic **topics = context_sorted_topics(c, &count);
    for (size_t t = 0; t < count; t++) {
        for (size_t p = 0; p < topics[t]->partition_count; p++) {
            struct cpartition *partition = topics[t]->partitions[p];
            if (!partition->has_state)
                partition->phase = PARTITION_NEW;
            else
                partition->phase =
                    ids_have(c->live, partition->leader) ? PARTITION_ONLINE : PARTITION_OFFLINE;
            for (size_t s = 0; s < partition->seat_count; s++) {
                struct seat *seat = &partition->seats[s];
                bool is_live = ids_have(c->live, seat->broker_id);
                seat->phase = is_live ? REPLICA_ONLINE : REPLICA_OFFLINE;
                replica_list_add(c, is_live ? &online : &offline, partition, seat->broker_id);
            }
            if (partition->has_state && !topics[t]->is_deleting) batch_update(c, partition);
            collect_reborn(c, partition, &reborn, &again);
        }
    }
    /* A topic may have been deleted while a broker could not be told. */
    if (!c->has_unreadable) batch_tells_all(c);
    /* The last pushed runs first. */
    transition_elect_waiting(c);
    if (offline.count > 0) transition_replicas(c, offline, REPLICA_OFFLINE);
    transition_replicas(c, online, REPLICA_ONLINE);
    if (again.count > 0) transition_epoch(c, again);
    if (reborn.count > 0) transition_replicas(c, reborn, REPLICA_OFFLINE);
}

static void take_over_rest(struct controller *c, void *argument)
{
    (void)argument;
    c->role = ROLE_ACTIVE;
    c->rebalance_ms =
        c->options.rules.is_auto_rebalance_enabled ? controller_now_ms(c) + FIRST_REBALANCE_MS : INT64_MAX;
    if (c->options.on_role) c->options.on_role(c->options.context, true);
    engine_event(c, event_deletions_changed, NULL, NULL, true);
    engine_event(c, event_reassign_resume, NULL, NULL, true);
    engine_event(c, event_reassign_requested, NULL, NULL, true);
    engine_event(c, event_preferred_requested, NULL, NULL, true);
}

static void failover(struct controller *c)
{
    struct load *load = scratch_alloc(c, 1, sizeof *load);
    c->has_unreadable = false;
    engine_push(c, take_over_rest, load);
    engine_push(c, start_states, load);
    engine_push(c, tell_brokers, load);
    engine_push(c, load_states, load);
    engine_push(c, load_nodes, load);
    engine_push(c, load_names, load);
}
