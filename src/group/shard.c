/* shard.c: the life of a partition's groups: made, loaded, ticked, told how its writes ended, freed. */
#include <assert.h>
#include <stdlib.h>

#include "group/brain.h"

void group_shard_init(struct group_shard *shard, const struct group_config *config)
{
    *shard = (struct group_shard){.config = config};
    list_init(&shard->answers);
    list_init(&shard->writes);
    arena_init(&shard->scratch, 0);
}

enum error group_shard_loaded(struct group_shard *shard)
{
    if (shard->is_short_of_memory) return ERR_NOMEM;
    struct map_slot *slot;
    for (size_t position = 0; (slot = map_next(&shard->groups, &position));) {
        struct group *group = slot->value;
        LIST_EACH(&group->members, item)
        {
            /* Who was a member when the log's last word was written may still be one: a whole session to say so. */
            group_session_restart(shard, CONTAINER_OF(item, struct member, link));
        }
        if (group->member_count > (size_t)shard->config->max_size) group_prepare_rebalance(shard, group);
    }
    return OK;
}

void group_shard_tick(struct group_shard *shard)
{
    struct group_timer *timer;
    arena_reset(&shard->scratch);
    while ((timer = group_timers_first(&shard->timers)) && timer->due_ms <= shard->now_ms) {
        group_timer_stop(&shard->timers, timer);
        group_timer_due(shard, timer);
    }
}

int64_t group_shard_next_due_ms(const struct group_shard *shard)
{
    const struct group_timer *timer = group_timers_first(&shard->timers);
    return timer ? timer->due_ms : INT64_MAX;
}

/* --- writes that ended --- */

static void apply_changes(struct group_shard *shard, struct group_write *write, int64_t first_offset)
{
    for (size_t i = 0; i < write->change_count; i++) {
        struct offset_change *change = &write->changes[i];
        int64_t record_offset = first_offset + (int64_t)i;
        if (write->kind == WRITE_OFFSETS) {
            change->value.record_offset = record_offset;
            offsets_set(change->entry, &change->value);
        } else {
            offsets_clear(shard, change->entry, record_offset);
        }
    }
}

static void answer_changes(struct group_shard *shard, struct group_write *write, enum error err)
{
    struct group_call *call = write->call;
    if (!call) return;
    write->call = NULL;
    for (size_t i = 0; i < write->change_count; i++) {
        if (write->changes[i].error_code) *write->changes[i].error_code = error_kafka_code(err);
    }
    group_answer(shard, call);
}

static void answer_delete(struct group_shard *shard, struct group_write *write, enum error err)
{
    struct group_call *call = write->call;
    if (!call) return;
    write->call = NULL;
    *(int16_t *)call->part = error_kafka_code(err);
    group_answer(shard, call);
}

static void answer_barrier(struct group_shard *shard, struct group_write *write, enum error err)
{
    struct group_call *call = write->call;
    if (!call) return;
    write->call = NULL;
    group_fetch_resumed(shard, call, err);
}

/* Tells whoever waits; the state follows with the records, whenever they come. */
static void answer_write(struct group_shard *shard, struct group_write *write, enum error err)
{
    switch (write->kind) {
    case WRITE_ASSIGNMENT: return shard->is_over ? (void)0 : group_assignment_written(shard, write, err);
    case WRITE_STATIC_MEMBER: return group_static_member_written(shard, write, err);
    case WRITE_EMPTY: return;
    case WRITE_OFFSETS:
    case WRITE_OFFSET_DELETES: return answer_changes(shard, write, err);
    case WRITE_GROUP_DELETE: return answer_delete(shard, write, err);
    case WRITE_BARRIER: return answer_barrier(shard, write, err);
    }
}

void group_shard_write_timed_out(struct group_shard *shard, struct group_write *write)
{
    answer_write(shard, write, ERR_COORDINATOR_NOT_AVAILABLE);
}

void group_shard_written(struct group_shard *shard, struct group_write *write, enum error err,
                         int64_t first_offset)
{
    struct group *group = write->group;
    arena_reset(&shard->scratch);
    if (err == OK) apply_changes(shard, write, first_offset);
    answer_write(shard, write, statelog_client_error(err));

    bool is_deleted = write->kind == WRITE_GROUP_DELETE && err == OK;
    if (write->kind == WRITE_GROUP_DELETE && err != OK) group->state = GROUP_EMPTY; /* it lives on */
    group_write_free(write);
    if (!group || shard->is_over) return;
    if (is_deleted)
        group_drop(shard, group);
    else
        group_drop_if_void(shard, group);
}

/* --- the end --- */

void group_shard_fail(struct group_shard *shard, enum error err)
{
    shard->is_over = true;
    struct map_slot *slot;
    for (size_t position = 0; (slot = map_next(&shard->groups, &position));)
        group_fail_calls(shard, slot->value, err);
    while (!list_empty(&shard->writes)) {
        struct group_write *write = CONTAINER_OF(shard->writes.next, struct group_write, link);
        list_remove(&write->link);
        group_shard_written(shard, write, err, -1);
    }
}

void group_shard_free(struct group_shard *shard)
{
    assert(list_empty(&shard->writes) && list_empty(&shard->answers));
    offsets_free_transactions(shard);
    group_drop_all(shard);
    free(shard->timers.heap);
    arena_free(&shard->scratch);
}
