/* notices.c: sequential znodes by which brokers tell the controller what it cannot see: a log directory failed; an ISR was changed by
 * a leader that writes states itself (inter.broker.protocol.version below 2.7). Read, acted upon, then deleted; a fail-over deletes
 * all, for it reads everything anyway. Source: facts/cluster.md 1.4, 3.3, 3.4. */
#include "controller/reassignment.h"

struct notices {
    struct write *writes; /* that delete them */
    size_t count;
    struct partition_list changed;
};

static struct notices *notices_new(struct controller *c, const char *folder, const struct coord_reply *listed)
{
    struct notices *notices = scratch_alloc(c, 1, sizeof *notices);
    notices->writes = scratch_alloc(c, listed->child_count + 1, sizeof *notices->writes);
    for (size_t i = 0; i < listed->child_count; i++) {
        struct write *write = &notices->writes[notices->count++];
        write->ops[0] =
            (struct coord_op){.kind = COORD_DELETE,
                              .path = scratch_print(c, "%s/%.*s", folder, SLICE_ARG(listed->children[i])),
                              .version = COORD_ANY_VERSION};
        write->op_count = 1;
    }
    return notices;
}

static void notices_delete(struct controller *c, void *argument)
{
    struct notices *notices = argument;
    engine_writes(c, notices->writes, notices->count);
}

/* --- a broker lost a log directory --- */

static void log_dir_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    struct write *write = argument;
    int32_t id;
    struct znode_fault fault;
    write->ops[0].version = COORD_ANY_VERSION;
    if (reply->err != OK) return;
    if (znode_log_dir_event_decode(write->ops[0].path, reply->data, &id, &fault) != OK) {
        diag_warn("a notice of a failed log directory makes no sense: %s", fault.text);
        return;
    }
    /* Asked for its role anew, it answers which of its replicas are gone. */
    struct replica_list replicas = {0};
    size_t count;
    struct ctopic **topics = context_sorted_topics(c, &count);
    for (size_t t = 0; t < count; t++)
        for (size_t p = 0; p < topics[t]->partition_count; p++)
            if (!topics[t]->is_deleting && context_seat(topics[t]->partitions[p], id))
                replica_list_add(c, &replicas, topics[t]->partitions[p], id);
    transition_replicas(c, replicas, REPLICA_ONLINE);
}

static void log_dirs_listed(struct controller *c, void *argument, const struct coord_reply *reply)
{
    (void)argument;
    if (reply->err != OK || reply->child_count == 0) return;
    struct notices *notices = notices_new(c, "/log_dir_event_notification", reply);
    engine_push(c, notices_delete, notices);
    for (size_t i = 0; i < notices->count; i++)
        engine_get(c, notices->writes[i].ops[0].path, log_dir_read, &notices->writes[i]);
}

void event_log_dirs_changed(struct controller *c, void *argument)
{
    (void)argument;
    engine_children(c, SLICE("/log_dir_event_notification"), log_dirs_listed, NULL);
}

/* --- leaders that write ISRs themselves --- */

static void isrs_read(struct controller *c, void *argument)
{
    const struct notices *notices = argument;
    for (size_t i = 0; i < notices->changed.count; i++) batch_update(c, notices->changed.items[i]);
    batch_send(c);
    reassign_go_on(c, notices->changed, true);
}

static void isr_notice_read(struct controller *c, void *argument, const struct coord_reply *reply)
{
    struct notices *notices = argument;
    struct named_partition *named = NULL;
    size_t count = 0;
    struct znode_fault fault;
    if (reply->err != OK) return;
    if (znode_partitions_decode(SLICE("/isr_change_notification"), reply->data, &c->scratch, false, &named,
                                &count, &fault) != OK) {
        diag_warn("a notice of changed ISRs makes no sense: %s", fault.text);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct ctopic *topic = context_topic(c, named[i].topic);
        bool is_known = topic && !topic->is_deleting && (size_t)named[i].partition < topic->partition_count;
        if (!is_known || !topic->partitions[named[i].partition]->has_state) continue;
        struct cpartition *partition = topic->partitions[named[i].partition];
        if (partition->round_mark == c->round_number) continue;
        partition->round_mark = c->round_number;
        partition_list_add(c, &notices->changed, partition);
        transition_reread(c, partition);
    }
}

static void isr_changes_listed(struct controller *c, void *argument, const struct coord_reply *reply)
{
    (void)argument;
    if (reply->err != OK || reply->child_count == 0) return;
    struct notices *notices = notices_new(c, "/isr_change_notification", reply);
    c->round_number++;
    engine_push(c, notices_delete, notices); /* the last pushed runs first */
    engine_push(c, isrs_read, notices);
    for (size_t i = 0; i < notices->count; i++)
        engine_get(c, notices->writes[i].ops[0].path, isr_notice_read, notices);
}

void event_isr_changes(struct controller *c, void *argument)
{
    (void)argument;
    engine_children(c, SLICE("/isr_change_notification"), isr_changes_listed, NULL);
}
