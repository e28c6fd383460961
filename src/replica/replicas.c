#include "replica/replicas.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "replica/replicas_parts.h"

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
    for (size_t i = 0; i < options->loop_count; i++)
        replica_loop_init(&made->loops[i], made, options->loops[i]);
    list_init(&made->waiting);
    late_roles_init(&made->late, made, options->loops[0]);
    enum error err = others_begin(made);
    if (err == OK)
        *replicas = made;
    else
        replicas_free(&made);
    return err;
}

void replicas_free(struct replicas **replicas)
{
    if (!*replicas) return;
    struct partition *partition;
    for (size_t i = 0; (partition = partition_table_next(&(*replicas)->loops[0].table, &i));)
        partition_free(partition);
    for (size_t i = 0; i < (*replicas)->options.loop_count; i++) {
        partition_table_free(&(*replicas)->loops[i].table);
        peers_free(&(*replicas)->loops[i].cluster.peers);
    }
    peers_free(&(*replicas)->peers);
    others_end(*replicas);
    free((char *)(uintptr_t)(*replicas)->options.listener.data);
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
        if (partition->home == here->loop && partition->log) replica_apply_rules(here->owner, partition);
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
        moves_end(partition);
        struct log *log = partition->log;
        partition_set_log(partition, NULL);
        log_set_home(log, NULL);
    }
    moves_close(&here->moves);
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
        if (partition->home == here->loop) replica_stop(here, partition);
    }
    others_end_here(here);
    here->closing.run = release_all;
    loop_post(here->loop, &here->closing);
}

void replicas_close(struct replicas *replicas, void (*done)(void *context), void *context)
{
    assert(!replicas->is_closing);
    replicas->is_closing = true;
    late_roles_stop(&replicas->late);
    others_end(replicas);
    replicas->on_closed = done;
    replicas->on_closed_context = context;
    replicas->loops_to_close = replicas->options.loop_count;
    for (size_t i = 0; i < replicas->options.loop_count; i++) {
        replicas->loops[i].closing.run = stop_all;
        loop_post(replicas->loops[i].loop, &replicas->loops[i].closing);
    }
}
