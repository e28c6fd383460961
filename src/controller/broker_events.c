/* broker_events.c: brokers that come, go or change, as the watches of /brokers/ids tell.
 *
 *     brokers_listed     all registrations are read, and compared with those known:
 *       brokers_lost     leaders are elected among the others, replicas on them are offline
 *       joined_step      then those that are new, or are back as another life, hear everything and get their replicas
 *     broker_modified    the same life, with other endpoints or features
 */
#include "controller/reassignment.h"

struct cbroker *event_read_broker(struct controller *c, int32_t id, const struct coord_reply *reply)
{
    if (reply->err != OK) return NULL;
    struct znode_fault fault;
    struct cbroker *broker = need(calloc(1, sizeof *broker));
    arena_init(&broker->arena, 0);
    broker->id = id;
    broker->epoch = reply->stat.czxid;
    enum error err = znode_broker_decode(scratch_print(c, "/brokers/ids/%d", id), reply->data, &broker->arena,
                                         &broker->registration, &fault);
    if (err == OK) {
        broker->registration.id = id;
        return broker;
    }
    diag_error("broker %d is not usable: %s", id, err == ERR_CORRUPT ? fault.text : error_text(err));
    arena_free(&broker->arena);
    free(broker);
    return NULL;
}

struct broker_look {
    int32_t id;
    struct cbroker **found;
};

struct brokers_look {
    struct cbroker **found; /* as read; NULL where it went meanwhile */
    size_t count;
};

static void broker_found(struct controller *c, void *argument, const struct coord_reply *reply)
{
    const struct broker_look *look = argument;
    *look->found = event_read_broker(c, look->id, reply);
}

static void broker_gone(struct controller *c, int32_t id, bool is_back)
{
    if (!is_back) coord_unwatch(c->coord, COORD_WATCH_NODE, scratch_print(c, "/brokers/ids/%d", id));
    context_remove_broker(c, id);
    c->options.channel.broker_removed(c->options.channel.context, id);
}

/* Partitions led by them and replicas on them; those of topics being deleted halt their deletion. */
static bool collect_lost(struct controller *c, struct int32_list dead, struct int32_list strangers,
                         struct partition_list *led, struct replica_list *replicas,
                         struct replica_list *strange)
{
    size_t count;
    struct ctopic **topics = context_sorted_topics(c, &count);
    for (size_t t = 0; t < count; t++) {
        for (size_t p = 0; p < topics[t]->partition_count; p++) {
            struct cpartition *partition = topics[t]->partitions[p];
            if (partition->has_state && ids_have(dead, partition->leader) && !topics[t]->is_deleting)
                partition_list_add(c, led, partition);
            for (size_t s = 0; s < partition->seat_count; s++) {
                if (!ids_have(dead, partition->seats[s].broker_id)) continue;
                if (topics[t]->is_deleting) {
                    topics[t]->is_deletion_halted = true;
                    partition->seats[s].phase = REPLICA_DELETION_INELIGIBLE;
                } else {
                    bool is_strange = ids_have(strangers, partition->seats[s].broker_id);
                    replica_list_add(c, is_strange ? strange : replicas, partition,
                                     partition->seats[s].broker_id);
                }
            }
        }
    }
    return led->count > 0 || replicas->count > 0 || strange->count > 0;
}

/* `strangers`, some of the dead: back already, and Apache's. */
static void brokers_lost(struct controller *c, struct int32_list dead, struct int32_list strangers)
{
    struct partition_list led = {0};
    struct replica_list replicas = {0}, strange = {0};
    for (size_t i = 0; i < dead.count; i++) diag_info("broker %d has left", dead.items[i]);
    if (!collect_lost(c, dead, strangers, &led, &replicas, &strange)) {
        batch_update_to(c, c->reachable);
        batch_send(c);
        return;
    }
    if (strange.count > 0) transition_strangers(c, strange); /* the last pushed runs first */
    transition_replicas(c, replicas, REPLICA_OFFLINE);
    transition_elect_waiting(c);
    transition_offline(c, led);
}

static void resume_step(struct controller *c, void *argument)
{
    const struct int32_list *joined = argument;
    deletion_resume(c);
    for (size_t i = 0; i < joined->count; i++)
        reassign_go_on(c, reassign_running(c, joined->items[i]), false);
}

/* One of Apache's, in an ISR of its earlier life beside others that live: whether it still has what it had, nobody can say. */
static bool is_strange_in_isr(const struct controller *c, const struct cpartition *partition,
                              int32_t broker_id)
{
    if (context_broker(c, broker_id)->registration.shrinks_itself || !ids_have(partition->isr, broker_id))
        return false;
    for (size_t i = 0; i < partition->isr.count; i++)
        if (partition->isr.items[i] != broker_id && ids_have(c->live, partition->isr.items[i])) return true;
    return false;
}

static void brokers_joined(struct controller *c, struct int32_list joined)
{
    struct int32_list others = {scratch_alloc(c, c->reachable.count + 1, sizeof(int32_t)), 0};
    for (size_t i = 0; i < c->reachable.count; i++)
        if (!ids_have(joined, c->reachable.items[i]))
            ((int32_t *)others.items)[others.count++] = c->reachable.items[i];
    batch_update_to(c, others);
    batch_send(c);

    struct replica_list replicas = {0}, strange = {0};
    size_t count;
    struct ctopic **topics = context_sorted_topics(c, &count);
    for (size_t t = 0; t < count; t++) {
        for (size_t p = 0; p < topics[t]->partition_count; p++) {
            struct cpartition *partition = topics[t]->partitions[p];
            if (partition->has_state) batch_update(c, partition);
            for (size_t s = 0; s < partition->seat_count; s++) {
                if (!ids_have(joined, partition->seats[s].broker_id)) continue;
                int32_t id = partition->seats[s].broker_id;
                partition->seats[s].is_dir_offline = false;
                if (topics[t]->is_deleting) continue;
                replica_list_add(c, &replicas, partition, id);
                if (is_strange_in_isr(c, partition, id)) replica_list_add(c, &strange, partition, id);
            }
        }
        if (topics[t]->is_deleting) topics[t]->is_deletion_halted = false;
    }
    batch_update_to(c, joined);
    batch_send(c);
    struct int32_list *kept = scratch_alloc(c, 1, sizeof *kept);
    *kept = joined;
    engine_push(c, resume_step, kept);
    transition_elect_waiting(c);
    transition_replicas(c, replicas, REPLICA_ONLINE);
    if (strange.count > 0) transition_strangers(c, strange);
}

static void found_free(struct controller *c, void *argument)
{
    (void)c;
    struct brokers_look *look = argument;
    for (size_t f = 0; f < look->count; f++) {
        if (!look->found[f]) continue;
        arena_free(&look->found[f]->arena);
        free(look->found[f]);
    }
}

/* After what their earlier lives have lost was dealt with. */
static void joined_step(struct controller *c, void *argument)
{
    struct brokers_look *look = argument;
    struct int32_list joined = {scratch_alloc(c, look->count + 1, sizeof(int32_t)), 0};
    engine_guard(c, NULL, NULL);
    for (size_t f = 0; f < look->count; f++) {
        struct cbroker *broker = look->found[f];
        if (!broker) continue;
        event_watch_broker(c, broker->id);
        context_set_broker(c, broker);
        c->options.channel.broker_added(c->options.channel.context, &broker->registration, broker->epoch);
        ((int32_t *)joined.items)[joined.count++] = broker->id;
        diag_info("broker %d has joined", broker->id);
    }
    if (joined.count > 0) brokers_joined(c, joined);
}

static void brokers_compared(struct controller *c, void *argument)
{
    struct brokers_look *look = argument;
    struct int32_list dead = {scratch_alloc(c, c->brokers.count + 1, sizeof(int32_t)), 0};
    /* Another registration of the same id is a death and a birth. */
    for (size_t i = 0; i < c->reachable.count; i++) {
        int32_t id = c->reachable.items[i];
        bool is_here = false;
        for (size_t f = 0; f < look->count; f++) {
            struct cbroker *broker = look->found[f];
            if (!broker || broker->id != id || broker->epoch != context_broker(c, id)->epoch) continue;
            is_here = true;
            arena_free(&broker->arena);
            free(broker);
            look->found[f] = NULL;
        }
        if (!is_here) ((int32_t *)dead.items)[dead.count++] = id;
    }
    engine_push(c, joined_step, look);
    struct int32_list strangers = {scratch_alloc(c, dead.count + 1, sizeof(int32_t)), 0};
    for (size_t i = 0; i < dead.count; i++) {
        const struct cbroker *back = NULL;
        for (size_t f = 0; f < look->count; f++)
            if (look->found[f] && look->found[f]->id == dead.items[i]) back = look->found[f];
        if (back && !back->registration.shrinks_itself)
            ((int32_t *)strangers.items)[strangers.count++] = dead.items[i];
        broker_gone(c, dead.items[i], back != NULL);
    }
    if (dead.count > 0) brokers_lost(c, dead, strangers);
}

static void brokers_listed(struct controller *c, void *argument, const struct coord_reply *reply)
{
    (void)argument;
    if (reply->err != OK) {
        role_failed(c, "list brokers", reply->err);
        return;
    }
    struct brokers_look *look = scratch_alloc(c, 1, sizeof *look);
    look->found = scratch_alloc(c, reply->child_count + 1, sizeof *look->found);
    engine_guard(c, found_free, look);
    engine_push(c, brokers_compared, look);
    for (size_t i = 0; i < reply->child_count; i++) {
        int64_t id;
        if (!slice_to_int64(reply->children[i], 0, INT32_MAX, &id)) continue;
        struct broker_look *one = scratch_alloc(c, 1, sizeof *one);
        *one = (struct broker_look){(int32_t)id, &look->found[look->count++]};
        event_watch_broker(c, one->id);
        engine_get(c, scratch_print(c, "/brokers/ids/%d", one->id), broker_found, one);
    }
}

void event_brokers_changed(struct controller *c, void *argument)
{
    (void)argument;
    engine_children(c, SLICE("/brokers/ids"), brokers_listed, NULL);
}

static bool same_endpoints(const struct broker_registration *a, const struct broker_registration *b)
{
    if (a->endpoint_count != b->endpoint_count || a->feature_count != b->feature_count) return false;
    for (size_t i = 0; i < a->endpoint_count; i++) {
        const struct broker_endpoint *x = &a->endpoints[i], *y = &b->endpoints[i];
        if (x->port != y->port || x->security_protocol != y->security_protocol ||
            !slice_equal(x->host, y->host) || !slice_equal(x->listener, y->listener))
            return false;
    }
    for (size_t i = 0; i < a->feature_count; i++)
        if (!slice_equal(a->features[i].name, b->features[i].name) ||
            a->features[i].max_version != b->features[i].max_version ||
            a->features[i].min_version != b->features[i].min_version)
            return false;
    return true;
}

static void broker_modified_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    const int32_t *id = argument;
    struct cbroker *broker = event_read_broker(c, *id, reply), *known = context_broker(c, *id);
    if (!broker) return;
    bool is_news = known && known->epoch == broker->epoch &&
                   !same_endpoints(&known->registration, &broker->registration);
    if (!is_news) {
        arena_free(&broker->arena);
        free(broker);
        return;
    }
    broker->is_leaving = known->is_leaving;
    context_set_broker(c, broker);
    batch_update_to(c, c->reachable);
    batch_send(c);
}

static void broker_modified(struct controller *c, void *argument)
{
    int32_t *id = scratch_alloc(c, 1, sizeof *id);
    *id = *(int32_t *)argument;
    free(argument);
    engine_get(c, scratch_print(c, "/brokers/ids/%d", *id), broker_modified_read, id);
}

/* --- the watch of one --- */

static void drop(struct controller *c, void *argument)
{
    (void)c;
    free(argument);
}

static void on_broker(void *context, enum coord_event event, struct slice path)
{
    struct controller *c = context;
    size_t prefix = sizeof "/brokers/ids/" - 1;
    int64_t id;
    if (event != COORD_NODE_CHANGED || c->role == ROLE_NONE || path.size <= prefix) return;
    if (!slice_to_int64((struct slice){path.data + prefix, path.size - prefix}, 0, INT32_MAX, &id)) return;
    int32_t *copy = need(malloc(sizeof *copy));
    *copy = (int32_t)id;
    engine_event(c, broker_modified, copy, drop, false);
}

void event_watch_broker(struct controller *c, int32_t id)
{
    need_ok(coord_watch(c->coord, COORD_WATCH_NODE, scratch_print(c, "/brokers/ids/%d", id), on_broker, c));
}
