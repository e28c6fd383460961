/* events.c: what watches bring: new topics, new partitions, requests left in znodes; broker_events.c has brokers.
 *
 * A watch says only that something changed; the event reads it, which arms the watch again, and compares with the context. So
 * it does not matter how many changes one event stands for. Source: facts/cluster.md 3.4, 3.9, 3.7. */
#include "controller/reassignment.h"

static void queue_plain(struct controller *c, step_run *run)
{
    if (c->role != ROLE_NONE) engine_event(c, run, NULL, NULL, true);
}

static void drop_name(struct controller *c, void *argument)
{
    (void)c;
    free(argument);
}

/* --- reading --- */

enum error event_read_topic(struct controller *c, struct slice name, const struct coord_reply *reply,
                            struct topic_assignment *assignment)
{
    struct znode_fault fault;
    enum error err = reply->err;
    if (err == OK)
        err = znode_topic_decode(topic_path(c, name), reply->data, &c->scratch, assignment, &fault);
    if (err == ERR_CORRUPT)
        diag_error("topic %.*s is left alone: %s", SLICE_ARG(name), fault.text);
    else if (err != OK && err != ERR_ZK_NO_NODE)
        diag_error("could not read topic %.*s: %s", SLICE_ARG(name), error_text(err));
    if (err != OK || !uuid_is_zero(&assignment->id)) return err;

    /* Of a time before topics had ids. */
    uint8_t random[16];
    do c->options.rules.random(c->options.rules.context, random, sizeof random);
    while (!uuid_from_random(random, &assignment->id));
    struct text text = {0};
    znode_topic_encode(assignment, &text);
    struct coord_op op = {.kind = COORD_SET,
                          .path = topic_path(c, name),
                          .data = scratch_text(c, &text),
                          .version = reply->stat.version};
    engine_fenced(c, &op, 1, NULL, NULL);
    return OK;
}

/* --- new topics and partitions --- */

void event_new_partitions(struct controller *c, struct partition_list partitions)
{
    if (partitions.count == 0) return;
    struct replica_list replicas = {0};
    for (size_t i = 0; i < partitions.count; i++)
        for (size_t s = 0; s < partitions.items[i]->seat_count; s++)
            replica_list_add(c, &replicas, partitions.items[i], partitions.items[i]->seats[s].broker_id);
    /* The last pushed runs first. */
    transition_replicas(c, replicas, REPLICA_ONLINE);
    transition_online(c, partitions, ELECT_OFFLINE);
    transition_replicas(c, replicas, REPLICA_NEW);
    transition_new(c, partitions);
}

struct topic_look {
    struct slice name;
    struct partition_list *added;
};

static void add_from(struct controller *c, struct ctopic *topic, size_t first, struct partition_list *added)
{
    for (size_t p = first; p < topic->partition_count; p++)
        partition_list_add(c, added, topic->partitions[p]);
}

static void topic_found(struct controller *c, void *argument, const struct coord_reply *reply)
{
    const struct topic_look *look = argument;
    struct topic_assignment assignment;
    if (event_read_topic(c, look->name, reply, &assignment) != OK) return;
    struct ctopic *topic = context_add_topic(c, look->name, &assignment.id);
    context_assign(c, topic, &assignment);
    add_from(c, topic, 0, look->added);
}

static void topics_found(struct controller *c, void *argument)
{
    struct partition_list *added = argument;
    event_new_partitions(c, *added);
}

static void unwatch_topic(struct controller *c, struct slice name)
{
    coord_unwatch(c->coord, COORD_WATCH_NODE, topic_path(c, name));
}

static void topics_listed(struct controller *c, void *argument, const struct coord_reply *reply)
{
    (void)argument;
    if (reply->err != OK) {
        role_failed(c, "list topics", reply->err);
        return;
    }
    struct partition_list *added = scratch_alloc(c, 1, sizeof *added);
    struct map present = {0};
    engine_push(c, topics_found, added);
    for (size_t i = 0; i < reply->child_count; i++) {
        struct slice name = reply->children[i];
        need_ok(map_put(&present, name, c));
        if (context_topic(c, name) || topic_name_check(name, NULL) != OK) continue;
        struct topic_look *look = scratch_alloc(c, 1, sizeof *look);
        *look = (struct topic_look){scratch_copy(c, name), added};
        event_watch_topic(c, look->name);
        engine_get(c, topic_path(c, look->name), topic_found, look);
    }
    /* Removed behind our back: nothing is left to be decided about it. */
    size_t count;
    struct ctopic **topics = context_sorted_topics(c, &count);
    for (size_t i = 0; i < count; i++) {
        if (map_get(&present, topics[i]->name)) continue;
        diag_warn("topic %.*s has vanished from the keeper", SLICE_ARG(topics[i]->name));
        unwatch_topic(c, topics[i]->name);
        batch_drop(c);
        topics[i]->is_deleting = true;
        for (size_t p = 0; p < topics[i]->partition_count; p++) batch_update(c, topics[i]->partitions[p]);
        batch_send(c);
        context_remove_topic(c, topics[i]);
    }
    map_free(&present);
}

void event_topics_changed(struct controller *c, void *argument)
{
    (void)argument;
    engine_children(c, SLICE("/brokers/topics"), topics_listed, NULL);
}

/* --- a topic's znode changed: more partitions --- */

/* While a topic goes, nothing is added to it. */
static void revert_growth(struct controller *c, struct ctopic *topic, const struct topic_assignment *grown)
{
    struct topic_assignment old = *grown;
    old.partition_count = topic->partition_count;
    old.id = topic->id;
    struct text text = {0};
    znode_topic_encode(&old, &text);
    struct coord_op op = {.kind = COORD_SET,
                          .path = topic_path(c, topic->name),
                          .data = scratch_text(c, &text),
                          .version = COORD_ANY_VERSION};
    diag_warn("topic %.*s is being deleted and gets no more partitions", SLICE_ARG(topic->name));
    engine_fenced(c, &op, 1, NULL, NULL);
}

static void topic_modified_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    const struct topic_look *look = argument;
    struct ctopic *topic = context_topic(c, look->name);
    struct topic_assignment assignment;
    if (!topic || event_read_topic(c, look->name, reply, &assignment) != OK) return;
    if (assignment.partition_count <= topic->partition_count) return;
    if (topic->is_deleting) {
        revert_growth(c, topic, &assignment);
        return;
    }
    size_t before = context_assign(c, topic, &assignment);
    add_from(c, topic, before, look->added);
}

static void topic_modified(struct controller *c, void *argument)
{
    char *name = argument;
    struct topic_look *look = scratch_alloc(c, 1, sizeof *look);
    struct partition_list *added = scratch_alloc(c, 1, sizeof *added);
    *look = (struct topic_look){scratch_copy(c, slice_of(name)), added};
    free(name);
    engine_push(c, topics_found, added);
    engine_get(c, topic_path(c, look->name), topic_modified_read, look);
}

/* --- requests to delete --- */

static void deletions_listed(struct controller *c, void *argument, const struct coord_reply *reply)
{
    (void)argument;
    if (reply->err != OK) return;
    bool is_enabled = c->options.rules.is_topic_deletion_enabled;
    struct write *writes = scratch_alloc(c, reply->child_count + 1, sizeof *writes);
    size_t count = 0;
    for (size_t i = 0; i < reply->child_count; i++) {
        struct ctopic *topic = context_topic(c, reply->children[i]);
        if (topic && is_enabled) {
            deletion_begin(c, topic);
            continue;
        }
        if (topic) diag_warn("topic %.*s stays: delete.topic.enable is false", SLICE_ARG(topic->name));
        writes[count].ops[0] = (struct coord_op){
            .kind = COORD_DELETE,
            .path = scratch_print(c, "/admin/delete_topics/%.*s", SLICE_ARG(reply->children[i])),
            .version = COORD_ANY_VERSION};
        writes[count++].op_count = 1;
    }
    engine_writes(c, writes, count);
    deletion_resume(c);
}

void event_deletions_changed(struct controller *c, void *argument)
{
    (void)argument;
    engine_children(c, SLICE("/admin/delete_topics"), deletions_listed, NULL);
}

/* --- preferred leaders: asked for in a znode, or by the clock --- */

static void preferred_done(struct controller *c, void *argument)
{
    (void)argument;
    struct coord_op op = {.kind = COORD_DELETE,
                          .path = SLICE("/admin/preferred_replica_election"),
                          .version = COORD_ANY_VERSION};
    engine_fenced(c, &op, 1, NULL, NULL);
    engine_exists(c, op.path, NULL, NULL); /* arms it for the next request */
}

static void preferred_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    (void)argument;
    if (reply->err != OK) return;
    struct named_partition *named = NULL;
    size_t count = 0;
    struct znode_fault fault;
    if (znode_partitions_decode(SLICE("/admin/preferred_replica_election"), reply->data, &c->scratch, false,
                                &named, &count, &fault) != OK)
        diag_warn("a request for preferred leaders makes no sense: %s", fault.text);
    struct partition_list wanted = {0};
    for (size_t i = 0; i < count; i++) {
        struct ctopic *topic = context_topic(c, named[i].topic);
        bool is_known = topic && !topic->is_deleting && (size_t)named[i].partition < topic->partition_count;
        if (is_known) partition_list_add(c, &wanted, topic->partitions[named[i].partition]);
    }
    engine_push(c, preferred_done, NULL);
    if (wanted.count > 0) transition_online(c, wanted, ELECT_PREFERRED);
}

static void preferred_asked(struct controller *c, void *argument, const struct coord_reply *reply)
{
    (void)argument;
    if (reply->err == OK) engine_get(c, SLICE("/admin/preferred_replica_election"), preferred_read, NULL);
}

void event_preferred_requested(struct controller *c, void *argument)
{
    (void)argument;
    engine_exists(c, SLICE("/admin/preferred_replica_election"), preferred_asked, NULL);
}

/* A broker that leads too few of those it is preferred for gets them back (facts/cluster.md 3.7). */
void event_rebalance(struct controller *c, void *argument)
{
    (void)argument;
    size_t count;
    struct ctopic **topics = context_sorted_topics(c, &count);
    for (size_t b = 0; b < c->live.count; b++) {
        int32_t id = c->live.items[b];
        struct partition_list lost = {0};
        size_t preferred = 0, away = 0;
        for (size_t t = 0; t < count; t++) {
            for (size_t p = 0; !topics[t]->is_deleting && p < topics[t]->partition_count; p++) {
                struct cpartition *partition = topics[t]->partitions[p];
                if (partition->seat_count == 0 || partition->seats[0].broker_id != id) continue;
                preferred++;
                if (partition->leader == id) continue;
                away++;
                if (partition->phase == PARTITION_ONLINE && ids_have(partition->isr, id) &&
                    context_is_live(c, partition, id))
                    partition_list_add(c, &lost, partition);
            }
        }
        bool is_unbalanced =
            preferred > 0 && away * 100 > preferred * (size_t)c->options.rules.imbalance_percentage;
        if (is_unbalanced && lost.count > 0) transition_online(c, lost, ELECT_PREFERRED);
    }
}

/* --- watches --- */

static void on_topics(void *context, enum coord_event event, struct slice path)
{
    (void)event;
    (void)path;
    queue_plain(context, event_topics_changed);
}

static void on_deletions(void *context, enum coord_event event, struct slice path)
{
    (void)event;
    (void)path;
    queue_plain(context, event_deletions_changed);
}

static void on_brokers(void *context, enum coord_event event, struct slice path)
{
    (void)event;
    (void)path;
    queue_plain(context, event_brokers_changed);
}

static void on_log_dirs(void *context, enum coord_event event, struct slice path)
{
    (void)event;
    (void)path;
    queue_plain(context, event_log_dirs_changed);
}

static void on_isr_changes(void *context, enum coord_event event, struct slice path)
{
    (void)event;
    (void)path;
    queue_plain(context, event_isr_changes);
}

static void on_reassignment(void *context, enum coord_event event, struct slice path)
{
    (void)path;
    if (event == COORD_NODE_CREATED) queue_plain(context, event_reassign_requested);
}

static void on_preferred(void *context, enum coord_event event, struct slice path)
{
    (void)path;
    if (event == COORD_NODE_CREATED) queue_plain(context, event_preferred_requested);
}

static void on_topic(void *context, enum coord_event event, struct slice path)
{
    struct controller *c = context;
    size_t prefix = sizeof "/brokers/topics/" - 1;
    if (event != COORD_NODE_CHANGED || c->role == ROLE_NONE || path.size <= prefix) return;
    char *name = need(slice_dup((struct slice){path.data + prefix, path.size - prefix}));
    engine_event(c, topic_modified, name, drop_name, false);
}

static const struct {
    enum coord_watch kind;
    const char *path;
    coord_watcher *watcher;
} folder_watches[] = {
    {COORD_WATCH_CHILDREN, "/brokers/topics", on_topics},
    {COORD_WATCH_CHILDREN, "/admin/delete_topics", on_deletions},
    {COORD_WATCH_CHILDREN, "/brokers/ids", on_brokers},
    {COORD_WATCH_CHILDREN, "/log_dir_event_notification", on_log_dirs},
    {COORD_WATCH_CHILDREN, "/isr_change_notification", on_isr_changes},
    {COORD_WATCH_NODE, "/admin/preferred_replica_election", on_preferred},
    {COORD_WATCH_NODE, "/admin/reassign_partitions", on_reassignment},
};
enum { FOLDER_WATCHES = sizeof folder_watches / sizeof *folder_watches };

void events_watch(struct controller *c)
{
    for (int i = 0; i < FOLDER_WATCHES; i++)
        need_ok(coord_watch(c->coord, folder_watches[i].kind, slice_of(folder_watches[i].path),
                            folder_watches[i].watcher, c));
}

void events_unwatch(struct controller *c)
{
    for (int i = 0; i < FOLDER_WATCHES; i++)
        coord_unwatch(c->coord, folder_watches[i].kind, slice_of(folder_watches[i].path));
    struct map_slot *slot;
    struct text path = {0};
    for (size_t i = 0; (slot = map_next(&c->topics, &i));) {
        text_reset(&path);
        text_addf(&path, "/brokers/topics/%.*s", SLICE_ARG(((struct ctopic *)slot->value)->name));
        coord_unwatch(c->coord, COORD_WATCH_NODE, text_slice(&path));
    }
    for (size_t i = 0; (slot = map_next(&c->brokers, &i));) {
        text_reset(&path);
        text_addf(&path, "/brokers/ids/%d", ((struct cbroker *)slot->value)->id);
        coord_unwatch(c->coord, COORD_WATCH_NODE, text_slice(&path));
    }
    text_free(&path);
}

void event_watch_topic(struct controller *c, struct slice name)
{
    need_ok(coord_watch(c->coord, COORD_WATCH_NODE, topic_path(c, name), on_topic, c));
}
