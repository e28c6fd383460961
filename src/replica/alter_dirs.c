/* alter_dirs.c: an operator says in which log directory replicas are to lie (AlterReplicaLogDirs): judged on the control loop, begun and
 * given up on the home loops.
 *
 *     judge --> moves to elsewhere are given up (home) --> future logs are made --> moves begin (home) --> done
 *
 * Source  facts/cluster.md 5.11; KIP-113. */
#include <stdlib.h>

#include "base/diag.h"
#include "replica/replicas_parts.h"
#include "storage/move.h"

static bool is_in(const struct log *log, struct slice dir)
{
    return slice_is(dir, log_dir_path(log));
}

static void delete_future(struct replicas *replicas, struct log *future)
{
    struct log_store *store = replicas->options.store;
    /* The partition may have been deleted meanwhile, and this with it. */
    if (log_store_future(store, log_topic(future), log_partition(future)) != future) return;
    enum error err = log_store_delete(store, &future);
    if (err != OK) diag_warn("could not delete a copy that is not wanted any more: %s", error_text(err));
}

/* --- a move is over: the control loop --- */

static void ended_here(struct loop_message *message)
{
    struct move_end *end = CONTAINER_OF(message, struct move_end, message);
    struct replicas *replicas = end->context;
    struct partition *partition = partition_table_find(&replicas->loops[0].table, end->topic, end->index);
    if (end->is_moved) {
        struct log_store *store = replicas->options.store;
        if (partition && partition->control.log == end->left)
            partition->control.log = log_store_future(store, end->topic, end->index);
        log_store_moved(store, &end->left);
    } else {
        delete_future(replicas, end->left);
    }
    move_end_free(&end);
}

/* Its home loop. Whatever the control loop asks this loop afterwards is answered after it heard of this. */
void replica_move_ended(void *context, struct move_end *end)
{
    struct replicas *replicas = context;
    end->message.run = ended_here;
    loop_post(replicas->options.loops[0], &end->message);
}

/* --- what is asked --- */

static void finish(struct change *change)
{
    for (size_t i = 0; i < change->count; i++) {
        struct step *step = &change->steps[i];
        step->move->err = step->err;
        if (step->err != OK && step->future) delete_future(change->replicas, step->future);
        struct partition *partition =
            partition_table_find(&change->replicas->loops[0].table, step->topic, step->index);
        if (partition && partition == step->partition) partition->control.is_altering = false;
    }
    change_end(change);
}

static void begin_at_loop(struct change *change, struct replica_loop *here)
{
    for (size_t i = 0; i < change->count; i++) {
        struct step *step = &change->steps[i];
        if (!step->future || step->partition->home != here->loop) continue;
        if (here->is_closed || !step->partition->log || step->partition->move)
            step->err = ERR_REPLICA_NOT_AVAILABLE;
        else
            step->err = moves_begin(&here->moves, step->partition, step->future, replica_home(here));
        if (step->err == ERR_NOMEM) step->err = ERR_UNKNOWN_SERVER_ERROR;
    }
}

/* Control loop: nothing goes elsewhere any more. */
static enum error make_future(struct replicas *replicas, struct step *step)
{
    struct log_store *store = replicas->options.store;
    struct partition *partition = partition_table_find(&replicas->loops[0].table, step->topic, step->index);
    if (partition != step->partition) {
        step->partition = NULL; /* deleted meanwhile */
        return ERR_REPLICA_NOT_AVAILABLE;
    }
    struct slice dir = step->move->dir;
    const struct log *future = log_store_future(store, step->topic, step->index);
    if (is_in(partition->control.log, dir) || (future && is_in(future, dir))) return OK;
    enum error err = log_store_make_future(store, partition->control.log, dir, &step->future);
    if (err != OK) step->future = NULL;
    return err == ERR_NOMEM || err == ERR_EXISTS || err == ERR_LIMIT ? ERR_UNKNOWN_SERVER_ERROR
           : err == ERR_DISK_FULL                                    ? ERR_KAFKA_STORAGE_ERROR
                                                                     : err;
}

static void given_up(struct change *change)
{
    for (size_t i = 0; i < change->count; i++) {
        struct step *step = &change->steps[i];
        if (!step->partition) continue;
        struct log *before = step->future;
        step->future = NULL;
        if (before) delete_future(change->replicas, before);
        step->err = make_future(change->replicas, step);
    }
    change_run(change, begin_at_loop, finish);
}

static void give_up_at_loop(struct change *change, struct replica_loop *here)
{
    for (size_t i = 0; i < change->count; i++) {
        struct step *step = &change->steps[i];
        if (step->is_delete && step->partition->home == here->loop) step->future = moves_end(step->partition);
    }
}

/* A log that is not there yet is made where it is wanted. */
static enum error remember(struct replicas *replicas, const struct step *step)
{
    struct log_store *store = replicas->options.store;
    if (log_store_find(store, step->topic, step->index)) return ERR_REPLICA_NOT_AVAILABLE;
    enum error err = log_store_want(store, step->topic, step->index, step->move->dir);
    return err == OK ? ERR_REPLICA_NOT_AVAILABLE : err == ERR_NOMEM ? ERR_UNKNOWN_SERVER_ERROR : err;
}

static enum error judge(struct replicas *replicas, struct step *step)
{
    struct log_store *store = replicas->options.store;
    struct slice *dir = &step->move->dir;
    while (dir->size > 1 && dir->data[dir->size - 1] == '/') dir->size--;
    enum error err = log_store_check_dir(store, *dir);
    if (err != OK) return err;
    struct partition *partition = partition_table_find(&replicas->loops[0].table, step->topic, step->index);
    if (!partition) return remember(replicas, step);
    if (log_is_offline(partition->control.log)) return ERR_KAFKA_STORAGE_ERROR;
    if (partition->control.is_altering) return ERR_REPLICA_NOT_AVAILABLE;
    const struct log *future = log_store_future(store, step->topic, step->index);
    step->is_delete = future && !is_in(future, *dir);
    step->partition = partition;
    partition->control.is_altering = true;
    return OK;
}

void replicas_alter_dirs(struct replicas *replicas, struct dir_change *changes, size_t count,
                         struct arena *arena, void (*done)(void *context), void *context)
{
    struct change_call call = {.done = done, .context = context};
    struct change *change = replicas->is_closing ? NULL : change_new(replicas, count, arena, &call);
    if (!change) {
        enum error err = replicas->is_closing ? ERR_REPLICA_NOT_AVAILABLE : ERR_UNKNOWN_SERVER_ERROR;
        for (size_t i = 0; i < count; i++) changes[i].err = err;
        done(context);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct step *step = &change->steps[i];
        step->move = &changes[i];
        step->topic = changes[i].topic;
        step->index = changes[i].index;
        step->err = judge(replicas, step);
    }
    change_run(change, give_up_at_loop, given_up);
}
