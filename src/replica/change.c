/* change.c: a change of some partitions visits every loop of the node and comes back. */
#include <assert.h>
#include <stdlib.h>

#include "replica/replicas_parts.h"

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

void change_run(struct change *change, void (*at_loop)(struct change *change, struct replica_loop *here),
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

struct change *change_new(struct replicas *replicas, size_t count, struct arena *arena,
                          const struct change_call *call)
{
    struct change *change = calloc(1, sizeof *change + replicas->options.loop_count * sizeof(struct visit));
    if (!change) return NULL;
    change->replicas = replicas;
    change->arena = arena;
    change->call = *call;
    change->steps = arena_zalloc(arena, (count + 1) * sizeof *change->steps);
    if (!change->steps) {
        free(change);
        return NULL;
    }
    change->count = count;
    replicas->pending_changes++;
    return change;
}

struct change *change_obey(struct replicas *replicas, size_t count, struct arena *arena,
                           const struct change_call *call)
{
    enum error err = ERR_NOT_LEADER_OR_FOLLOWER;
    if (!replicas->is_closing)
        err = metadata_obey(replicas->options.metadata, call->controller_epoch, call->broker_epoch);
    struct change *change = err == OK ? change_new(replicas, count, arena, call) : NULL;
    if (change) return change;
    *call->error_code = error_kafka_code(err == OK ? ERR_UNKNOWN_SERVER_ERROR : err);
    call->done(call->context);
    return NULL;
}

void change_end(struct change *change)
{
    change->replicas->pending_changes--;
    struct change_call call = change->call;
    free(change);
    call.done(call.context);
}

void change_in_turn(struct change_later asked, int16_t *error_code)
{
    struct replicas *replicas = asked.replicas;
    if (!replicas->is_busy && list_empty(&replicas->waiting)) {
        asked.apply(&asked);
        return;
    }
    enum error err = metadata_obey(replicas->options.metadata, asked.controller_epoch, asked.broker_epoch);
    struct change_later *later = err == OK ? arena_zalloc(asked.arena, sizeof *later) : NULL;
    if (!later) {
        *error_code = error_kafka_code(err == OK ? ERR_UNKNOWN_SERVER_ERROR : err);
        asked.done(asked.done_context);
        return;
    }
    *later = asked;
    list_push_back(&replicas->waiting, &later->link);
    replicas->pending_changes++;
}

void change_alone_begin(struct replicas *replicas)
{
    assert(!replicas->is_busy);
    replicas->is_busy = true;
}

void change_alone_end(struct replicas *replicas)
{
    replicas->is_busy = false;
    while (!replicas->is_busy && !list_empty(&replicas->waiting)) {
        struct change_later *later = CONTAINER_OF(replicas->waiting.next, struct change_later, link);
        list_remove(&later->link);
        replicas->pending_changes--;
        later->apply(later);
    }
}
