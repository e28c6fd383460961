#include "replica/late_roles.h"

#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "replica/replicas.h"
#include "wire/messages.h"

enum { TRY_INTERVAL_MS = 1000 };

struct late_role {
    struct list link;
    struct arena arena; /* of the request */
    struct leader_and_isr_request request;
    struct leader_and_isr_request_leader_and_isr_topic_state topic;
    struct leader_and_isr_request_leader_and_isr_partition_state state;
    struct late_roles *late;
    struct arena answer_arena;
    struct leader_and_isr_response answer;
    bool is_trying, is_kept, is_dropped;
};

static void item_free(struct late_role *item)
{
    list_remove(&item->link);
    arena_free(&item->arena);
    arena_free(&item->answer_arena);
    free(item);
}

static void tried(void *context)
{
    struct late_role *item = context;
    struct late_roles *late = item->late;
    item->is_trying = false;
    arena_reset(&item->answer_arena);
    if (item->is_kept && !item->is_dropped) return;
    if (!item->is_dropped) {
        diag_info("the role of \"%.*s-%d\" waits for room no more", SLICE_ARG(item->topic.topic_name),
                  item->state.partition_index);
    }
    item_free(item);
    if (list_empty(&late->items)) loop_timer_stop(late->loop, &late->timer);
}

static void try_all(struct loop_timer *timer)
{
    struct late_roles *late = CONTAINER_OF(timer, struct late_roles, timer);
    loop_timer_start(late->loop, timer, TRY_INTERVAL_MS);
    LIST_EACH(&late->items, link)
    {
        struct late_role *item = CONTAINER_OF(link, struct late_role, link);
        if (item->is_trying) continue;
        item->is_trying = true;
        item->is_kept = false;
        leader_and_isr_response_init(&item->answer);
        replicas_apply_leader_and_isr(late->replicas, &item->request, &item->answer_arena, &item->answer,
                                      tried, item);
    }
}

void late_roles_init(struct late_roles *late, struct replicas *replicas, struct loop *loop)
{
    *late = (struct late_roles){.replicas = replicas, .loop = loop, .timer = {.run = try_all}};
    list_init(&late->items);
}

void late_roles_stop(struct late_roles *late)
{
    loop_timer_stop(late->loop, &late->timer);
}

void late_roles_free(struct late_roles *late)
{
    while (!list_empty(&late->items)) item_free(CONTAINER_OF(late->items.next, struct late_role, link));
}

static bool copy_ids(struct arena *arena, int32_t **ids, int32_t count)
{
    size_t size = (size_t)(count > 0 ? count : 0);
    int32_t *copy = arena_array(arena, size, sizeof *copy);
    if (!copy) return false;
    if (size > 0) memcpy(copy, *ids, size * sizeof *copy);
    *ids = copy;
    return true;
}

/* One partition's part of a request as a request of its own. */
static bool copy_word(struct late_role *item, const struct leader_and_isr_request *request,
                      struct slice topic, const struct uuid *topic_id,
                      const struct leader_and_isr_request_leader_and_isr_partition_state *state)
{
    leader_and_isr_request_init(&item->request);
    item->request.controller_id = request->controller_id;
    item->request.is_k_raft_controller = request->is_k_raft_controller;
    item->request.controller_epoch = request->controller_epoch;
    item->request.broker_epoch = request->broker_epoch;
    item->request.topic_states.items = &item->topic;
    item->request.topic_states.count = 1;
    leader_and_isr_request_leader_and_isr_topic_state_init(&item->topic);
    item->topic.topic_name = arena_copy(&item->arena, topic);
    item->topic.topic_id = *topic_id;
    item->topic.partition_states.items = &item->state;
    item->topic.partition_states.count = 1;
    item->state = *state;
    item->state.topic_name = item->topic.topic_name;
    item->state.unknown_tags = (struct unknown_tags){0};
    return item->topic.topic_name.data && copy_ids(&item->arena, &item->state.isr.items, state->isr.count) &&
           copy_ids(&item->arena, &item->state.replicas.items, state->replicas.count) &&
           copy_ids(&item->arena, &item->state.adding_replicas.items, state->adding_replicas.count) &&
           copy_ids(&item->arena, &item->state.removing_replicas.items, state->removing_replicas.count);
}

bool late_roles_keep(struct late_roles *late, const struct leader_and_isr_request *request,
                     struct slice topic, const struct uuid *topic_id,
                     const struct leader_and_isr_request_leader_and_isr_partition_state *state)
{
    LIST_EACH(&late->items, link)
    {
        struct late_role *item = CONTAINER_OF(link, struct late_role, link);
        if (request != &item->request) continue;
        item->is_kept = true;
        return true;
    }
    struct late_role *item = calloc(1, sizeof *item);
    if (!item) return false;
    item->late = late;
    list_init(&item->link);
    arena_init(&item->arena, 0);
    arena_init(&item->answer_arena, 0);
    if (!copy_word(item, request, topic, topic_id, state)) {
        item_free(item);
        return false;
    }
    list_push_back(&late->items, &item->link);
    diag_warn("no room on the disk for the role of \"%.*s-%d\": it will be tried each second",
              SLICE_ARG(topic), state->partition_index);
    if (!loop_timer_running(&late->timer)) loop_timer_start(late->loop, &late->timer, TRY_INTERVAL_MS);
    return true;
}

void late_roles_drop(struct late_roles *late, const struct leader_and_isr_request *request,
                     struct slice topic, int32_t index)
{
    LIST_EACH(&late->items, link)
    {
        struct late_role *item = CONTAINER_OF(link, struct late_role, link);
        if (request == &item->request || item->state.partition_index != index ||
            !slice_equal(item->topic.topic_name, topic)) {
            continue;
        }
        if (item->is_trying)
            item->is_dropped = true;
        else
            item_free(item);
    }
}

bool late_roles_is_void(const struct late_roles *late, const struct leader_and_isr_request *request)
{
    LIST_EACH(&late->items, link)
    {
        const struct late_role *item = CONTAINER_OF(link, struct late_role, link);
        if (request == &item->request) return item->is_dropped;
    }
    return false;
}
