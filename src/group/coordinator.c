/* coordinator.c: runs the brains: one for each partition of __consumer_offsets this broker leads, each on its partition's
 * home loop, each with a statelog and a timer. See group.h and coordinator.h. */
#include "group/coordinator.h"

#include <assert.h>
#include <stdlib.h>

#include "base/diag.h"
#include "replica/partition.h"

#define PARTITIONS_MAX 10000

/* A partition of __consumer_offsets led here: its brain and what moves it. */
struct group_coordinator {
    struct group_shard shard;
    struct group_coordinators *coordinators;
    struct statelog *statelog; /* NULL: loading failed */
    struct loop *loop;
    struct loop_timer timer, expiry;
    int64_t timer_due_ms; /* INT64_MAX: not running */
    int32_t index;
    bool is_loading, is_settling;
};

/* What any thread may ask of a partition: where it lives. */
struct seat {
    struct loop *home;             /* __atomic; NULL: not led here */
    struct group_coordinator *led; /* home's */
};

struct group_coordinators {
    struct group_config config;
    int32_t partition_count; /* __atomic; 0 = unknown */
    int32_t led_count;       /* __atomic */
    struct seat *seats;
};

static void settle(struct group_coordinator *coordinator);

/* --- the node's table --- */

enum error group_coordinators_new(const struct group_config *config, struct group_coordinators **out)
{
    struct group_coordinators *coordinators = calloc(1, sizeof *coordinators);
    if (!coordinators) return ERR_NOMEM;
    coordinators->config = *config;
    coordinators->seats =
        calloc(PARTITIONS_MAX, sizeof *coordinators->seats); /* pages are touched as they are used */
    if (!coordinators->seats) {
        free(coordinators);
        return ERR_NOMEM;
    }
    *out = coordinators;
    return OK;
}

void group_coordinators_free(struct group_coordinators **to_free)
{
    struct group_coordinators *coordinators = *to_free;
    *to_free = NULL;
    if (!coordinators) return;
    assert(coordinators->led_count == 0);
    free(coordinators->seats);
    free(coordinators);
}

enum error group_partitions_set(struct group_coordinators *coordinators, int32_t count)
{
    if (count <= 0 || count > PARTITIONS_MAX) return ERR_LIMIT;
    int32_t known = group_partition_count(coordinators);
    if (known == count) return OK;
    if (known > 0 && __atomic_load_n(&coordinators->led_count, __ATOMIC_ACQUIRE) > 0) return ERR_EXISTS;
    __atomic_store_n(&coordinators->partition_count, count, __ATOMIC_RELEASE);
    return OK;
}

int32_t group_partition_count(const struct group_coordinators *coordinators)
{
    return __atomic_load_n(&coordinators->partition_count, __ATOMIC_ACQUIRE);
}

int32_t group_partition_of(const struct group_coordinators *coordinators, struct slice group_id)
{
    int32_t count = group_partition_count(coordinators);
    return count > 0 ? statelog_partition_of(group_id, count) : -1;
}

/* --- calls on their way --- */

static void step_on(struct group_call *call);

static void call_arrived(struct loop_message *message)
{
    step_on(CONTAINER_OF(message, struct group_call, message));
}

static void call_returned(struct loop_message *message)
{
    struct group_call *call = CONTAINER_OF(message, struct group_call, message);
    if (call->api->end) call->api->end(call);
    call->done(call);
}

static void send(struct group_call *call, struct loop *to, void (*run)(struct loop_message *message))
{
    call->message.run = run;
    loop_post(to, &call->message);
}

/* The partition this step is about; -1: unknown. */
static int32_t step_partition(const struct group_call *call)
{
    if (!call->api->group_id) return call->step;
    return group_partition_of(call->coordinators, call->api->group_id(call));
}

static enum error ready(const struct group_coordinator *coordinator)
{
    if (!coordinator || (!coordinator->is_loading && !coordinator->statelog)) return ERR_NOT_COORDINATOR;
    return coordinator->is_loading ? ERR_COORDINATOR_LOAD_IN_PROGRESS : OK;
}

static void event_begin(struct group_coordinator *coordinator)
{
    coordinator->shard.now_ms = loop_now_ms(coordinator->loop);
    coordinator->shard.wall_ms = loop_wall_ms(coordinator->loop);
}

/* Takes a call on from step to step, until it has to wait or to travel. */
static void step_on(struct group_call *call)
{
    const struct group_api *api = call->api;
    for (; call->step < call->step_count; call->step++) {
        if (api->wants && !api->wants(call)) continue;
        if (api->needs_group_id && api->group_id(call).size == 0) {
            api->refuse(call, ERR_INVALID_GROUP_ID);
            continue;
        }
        int32_t partition = step_partition(call);
        struct seat *seat = partition >= 0 ? &call->coordinators->seats[partition] : NULL;
        struct loop *home = seat ? __atomic_load_n(&seat->home, __ATOMIC_ACQUIRE) : NULL;
        if (!home) {
            api->refuse(call, partition < 0 ? ERR_COORDINATOR_NOT_AVAILABLE : ERR_NOT_COORDINATOR);
            continue;
        }
        if (!loop_is_current(home)) return send(call, home, call_arrived);

        enum error err = ready(seat->led);
        if (err != OK) {
            api->refuse(call, err);
            continue;
        }
        struct group_coordinator *coordinator = seat->led;
        event_begin(coordinator);
        api->run(&coordinator->shard, call);
        return settle(coordinator); /* which comes back here with the next step, when this one is answered */
    }
    if (!loop_is_current(call->loop)) return send(call, call->loop, call_returned);
    call_returned(&call->message);
}

void group_call_start(struct group_coordinators *coordinators, struct group_call *call,
                      const struct group_api *api, const void *request)
{
    assert(loop_is_current(call->loop));
    call->coordinators = coordinators;
    call->api = api;
    call->request = request;
    call->response = call->work = call->part = NULL;
    call->step = 0;
    call->step_count = 1;
    call->is_waiting = false;
    list_init(&call->link);
    if (!api->begin(call)) call->step_count = 0;
    step_on(call);
}

/* --- what an event left to do --- */

static void write_done(struct statelog_op *op, enum error err)
{
    struct group_write *write = CONTAINER_OF(op, struct group_write, op);
    struct group_coordinator *coordinator = CONTAINER_OF(write->shard, struct group_coordinator, shard);
    int64_t first_offset = op->last_offset - (int64_t)write->entry_count + 1;
    event_begin(coordinator);
    group_shard_written(&coordinator->shard, write, err, first_offset);
    settle(coordinator);
}

static void write_timed_out(struct statelog_op *op)
{
    struct group_write *write = CONTAINER_OF(op, struct group_write, op);
    struct group_coordinator *coordinator = CONTAINER_OF(write->shard, struct group_coordinator, shard);
    event_begin(coordinator);
    group_shard_write_timed_out(&coordinator->shard, write);
    settle(coordinator);
}

static void carry_out(struct group_coordinator *coordinator, struct group_write *write)
{
    struct statelog_entry few[16] = {0}, *entries = few;
    write->op.done = write_done;
    write->op.timed_out = write_timed_out;
    if (write->entry_count > sizeof few / sizeof few[0]) {
        entries = calloc(write->entry_count, sizeof *entries);
        if (!entries) return group_shard_written(&coordinator->shard, write, ERR_NOMEM, -1);
    }
    const uint8_t *bytes = (const uint8_t *)write->bytes.data;
    for (size_t i = 0; i < write->entry_count; i++) {
        const struct group_write_entry *from = &write->entries[i];
        bool is_tombstone = from->value_size == SIZE_MAX;
        entries[i].key = (struct slice){bytes + from->key_at, from->key_size};
        entries[i].value =
            is_tombstone ? SLICE_NULL : (struct slice){bytes + from->value_at, from->value_size};
    }
    statelog_write(coordinator->statelog, &write->op, entries, write->entry_count);
    if (entries != few) free(entries);
    text_free(&write->bytes);
}

static void set_timer(struct group_coordinator *coordinator)
{
    int64_t due_ms = group_shard_next_due_ms(&coordinator->shard);
    if (due_ms == coordinator->timer_due_ms) return;
    coordinator->timer_due_ms = due_ms;
    if (due_ms == INT64_MAX) return loop_timer_stop(coordinator->loop, &coordinator->timer);
    loop_timer_start(coordinator->loop, &coordinator->timer, due_ms - loop_now_ms(coordinator->loop));
}

static void settle(struct group_coordinator *coordinator)
{
    struct group_shard *shard = &coordinator->shard;
    if (coordinator->is_settling) return; /* below us on the stack, and it will see what came */
    coordinator->is_settling = true;
    while (!list_empty(&shard->writes) || !list_empty(&shard->answers)) {
        while (!list_empty(&shard->writes)) {
            struct group_write *write = CONTAINER_OF(shard->writes.next, struct group_write, link);
            list_remove(&write->link);
            carry_out(coordinator, write);
        }
        while (!list_empty(&shard->answers)) {
            struct group_call *call = CONTAINER_OF(shard->answers.next, struct group_call, link);
            list_remove(&call->link);
            call->step++;
            step_on(call);
        }
    }
    coordinator->is_settling = false;
    set_timer(coordinator);
}

static void timer_run(struct loop_timer *timer)
{
    struct group_coordinator *coordinator = CONTAINER_OF(timer, struct group_coordinator, timer);
    coordinator->timer_due_ms = INT64_MAX;
    event_begin(coordinator);
    group_shard_tick(&coordinator->shard);
    settle(coordinator);
}

static void expiry_run(struct loop_timer *timer)
{
    struct group_coordinator *coordinator = CONTAINER_OF(timer, struct group_coordinator, expiry);
    event_begin(coordinator);
    group_shard_expire(&coordinator->shard);
    settle(coordinator);
    loop_timer_start(coordinator->loop, timer,
                     coordinator->shard.config->offsets_retention_check_interval_ms);
}

/* --- leading --- */

static void replay(void *state, const struct statelog_record *record)
{
    struct group_coordinator *coordinator = state;
    group_shard_replay(&coordinator->shard, record);
}

static void replay_marker(void *state, const struct statelog_marker *marker)
{
    struct group_coordinator *coordinator = state;
    offsets_end_transaction(&coordinator->shard, marker->producer_id, marker->is_commit);
}

static void loaded(void *state, enum error err)
{
    struct group_coordinator *coordinator = state;
    event_begin(coordinator);
    coordinator->is_loading = false;
    if (err == OK) err = group_shard_loaded(&coordinator->shard);
    if (err != OK) {
        diag_error("groups of __consumer_offsets-%d are not served until its leader changes: %s",
                   coordinator->index, error_text(err));
        return statelog_close(&coordinator->statelog);
    }
    loop_timer_start(coordinator->loop, &coordinator->expiry,
                     coordinator->shard.config->offsets_retention_check_interval_ms);
    settle(coordinator);
}

static void random_bytes(void *context, void *out, size_t size)
{
    loop_random(context, out, size);
}

enum error group_partition_led(struct group_coordinators *coordinators, struct partition *partition)
{
    static const struct statelog_user user = {
        .replay = replay, .replay_marker = replay_marker, .loaded = loaded};
    int32_t index = partition_index(partition);
    if (index < 0 || index >= PARTITIONS_MAX) return ERR_LIMIT;
    struct seat *seat = &coordinators->seats[index];
    if (seat->led && seat->led->statelog &&
        statelog_leader_epoch(seat->led->statelog) == partition_leader_epoch(partition)) {
        return OK;
    }
    group_partition_resigned(coordinators, index);

    struct group_coordinator *coordinator = calloc(1, sizeof *coordinator);
    if (!coordinator) return ERR_NOMEM;
    group_shard_init(&coordinator->shard, &coordinators->config);
    coordinator->coordinators = coordinators;
    coordinator->loop = partition_home(partition);
    coordinator->shard.random = random_bytes;
    coordinator->shard.random_context = coordinator->loop;
    coordinator->timer.run = timer_run;
    coordinator->expiry.run = expiry_run;
    coordinator->timer_due_ms = INT64_MAX;
    coordinator->index = index;
    coordinator->is_loading = true;
    const struct statelog_config config = {.name = "group coordinator",
                                           .write_timeout_ms = coordinators->config.commit_timeout_ms,
                                           .load_buffer_bytes = coordinators->config.load_buffer_bytes,
                                           .codec = coordinators->config.offsets_topic_codec,
                                           .lane = coordinators->config.lane};
    enum error err = statelog_new(partition, &config, &user, coordinator, &coordinator->statelog);
    if (err != OK) {
        group_shard_free(&coordinator->shard);
        free(coordinator);
        return err;
    }
    seat->led = coordinator;
    __atomic_fetch_add(&coordinators->led_count, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&seat->home, coordinator->loop, __ATOMIC_RELEASE);
    return OK;
}

void group_partition_resigned(struct group_coordinators *coordinators, int32_t partition_index)
{
    if (partition_index < 0 || partition_index >= PARTITIONS_MAX) return;
    struct seat *seat = &coordinators->seats[partition_index];
    struct group_coordinator *coordinator = seat->led;
    if (!coordinator) return;
    assert(loop_is_current(coordinator->loop) && !coordinator->is_settling);
    seat->led = NULL;
    __atomic_store_n(&seat->home, NULL, __ATOMIC_RELEASE);

    event_begin(coordinator);
    loop_timer_stop(coordinator->loop, &coordinator->timer);
    loop_timer_stop(coordinator->loop, &coordinator->expiry);
    group_shard_fail(&coordinator->shard, ERR_NOT_COORDINATOR);
    statelog_close(&coordinator->statelog); /* operations in flight hear of it, and answer their calls */
    settle(coordinator);
    loop_timer_stop(coordinator->loop, &coordinator->timer);
    group_shard_free(&coordinator->shard);
    free(coordinator);
    __atomic_fetch_sub(&coordinators->led_count, 1, __ATOMIC_RELEASE);
}
