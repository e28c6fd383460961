#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "replica/move.h"
#include "replica/partition_state.h"

enum { APPENDS_AT_ONCE = 32 };

static void wake_run(struct loop_message *message);
static void write_run(struct loop_message *message);

enum error partition_new(struct slice topic, int32_t index, int32_t self_id, struct loop *home,
                         struct partition **partition)
{
    struct partition *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    made->topic = slice_dup(topic);
    if (!made->topic) {
        free(made);
        return ERR_NOMEM;
    }
    made->topic_size = topic.size;
    made->index = index;
    made->self_id = self_id;
    made->home = home;
    made->role = PARTITION_OFFLINE;
    made->leader = -1;
    made->leader_epoch = -1;
    made->controller_epoch = -1;
    made->isr.partition_epoch = -1;
    made->min_insync_replicas = 1;
    made->wake.run = wake_run;
    made->write.run = write_run;
    list_init(&made->committed_waiters);
    list_init(&made->change_waiters);
    *partition = made;
    return OK;
}

void partition_free(struct partition *partition)
{
    assert(partition_is_quiet(partition));
    assert(list_empty(&partition->committed_waiters) && list_empty(&partition->change_waiters));
    assert(!partition->followed && !partition->move);
    isr_free(&partition->isr);
    free(partition->topic);
    free(partition);
}

bool partition_syncs_before_ack(const struct partition *partition)
{
    return partition->sync_before_ack;
}

int32_t partition_isr_count(const struct partition *partition)
{
    return partition->isr.count;
}

bool partition_is_quiet(const struct partition *partition)
{
    return !partition->is_wake_deferred && !partition->appends;
}

/* --- what it is --- */

struct slice partition_topic(const struct partition *partition)
{
    return (struct slice){(const uint8_t *)partition->topic, partition->topic_size};
}

int32_t partition_index(const struct partition *partition)
{
    return partition->index;
}

const struct uuid *partition_topic_id(const struct partition *partition)
{
    return &partition->topic_id;
}

enum partition_role partition_role_of(const struct partition *partition)
{
    return partition->role;
}

int32_t partition_leader_epoch(const struct partition *partition)
{
    return partition->leader_epoch;
}

struct loop *partition_home(const struct partition *partition)
{
    return partition->home;
}

struct log *partition_log(struct partition *partition)
{
    return partition->log;
}

const struct log *partition_future_log(const struct partition *partition)
{
    return moves_future(partition);
}

int64_t partition_high_watermark(const struct partition *partition)
{
    return __atomic_load_n(&partition->high_watermark, __ATOMIC_RELAXED);
}

int64_t partition_last_stable_offset(const struct partition *partition)
{
    int64_t high_watermark = partition_high_watermark(partition);
    return partition->log ? log_last_stable_offset(partition->log) : high_watermark;
}

int64_t partition_epoch_start_offset(const struct partition *partition)
{
    return partition->isr.epoch_start_offset;
}

void partition_set_min_insync_replicas(struct partition *partition, int32_t count)
{
    partition->min_insync_replicas = count;
}

struct throttle *partition_throttle_for(const struct partition *partition, int32_t follower)
{
    if (!partition->throttle_out || isr_holds(&partition->isr, follower)) return NULL;
    return partition->throttle_out;
}

void partition_set_sync_before_ack(struct partition *partition, bool is_on)
{
    partition->sync_before_ack = is_on;
    if (is_on && partition->log) log_flush(partition->log);
}

/* --- waking --- */

int64_t partition_local_end(const struct partition *partition)
{
    return partition_must_sync(partition) ? log_synced_end_offset(partition->log)
                                          : log_end_offset(partition->log);
}

void partition_wake(struct partition *partition, unsigned changes)
{
    partition->changes |= changes;
    if (partition->is_wake_deferred) return;
    if (list_empty(&partition->committed_waiters) && list_empty(&partition->change_waiters)) return;
    partition->is_wake_deferred = true;
    loop_defer(partition->home, &partition->wake);
}

static void waiter_run(struct partition_waiter *waiter, enum error err)
{
    list_remove(&waiter->link);
    waiter->is_waiting = false;
    waiter->run(waiter, err);
}

/* Consumers see up to the high watermark, replicas up to the end: each hears of its own. */
static bool concerns(const struct partition_waiter *waiter, unsigned changes)
{
    if (waiter->is_for_low) return changes & (CHANGE_ROLE | CHANGE_LOW);
    return changes & (CHANGE_ROLE | CHANGE_START | (waiter->is_replica ? CHANGE_END : CHANGE_HIGH));
}

/* Waiters are moved to a list of our own first: those who wait again from within run must not be run again in this
 * round, and one may cancel another. */
static void run_changed(struct list *waiters, unsigned changes)
{
    struct list ready;
    list_init(&ready);
    LIST_EACH(waiters, item)
    {
        if (!concerns(CONTAINER_OF(item, struct partition_waiter, link), changes)) continue;
        list_remove(item);
        list_push_back(&ready, item);
    }
    while (!list_empty(&ready)) waiter_run(CONTAINER_OF(ready.next, struct partition_waiter, link), OK);
}

/* Afterwards there may be no partition any more. */
static void tell_quiet(struct partition *partition)
{
    if (partition->on_quiet && partition_is_quiet(partition))
        partition->on_quiet(partition->on_quiet_context, partition);
}

static void wake_run(struct loop_message *message)
{
    struct partition *partition = CONTAINER_OF(message, struct partition, wake);
    partition->is_wake_deferred = false;

    bool is_leading = partition->role == PARTITION_LEADER;
    int64_t high_watermark = partition_high_watermark(partition);
    struct list ready;
    list_init(&ready);
    LIST_EACH(&partition->committed_waiters, item)
    {
        struct partition_waiter *waiter = CONTAINER_OF(item, struct partition_waiter, link);
        bool is_same = is_leading && waiter->leader_epoch == partition->leader_epoch;
        int64_t reached =
            waiter->is_local_only && partition->log ? partition_local_end(partition) : high_watermark;
        if (is_same && reached < waiter->offset) continue;
        list_remove(item);
        list_push_back(&ready, item);
    }
    while (!list_empty(&ready)) {
        struct partition_waiter *waiter = CONTAINER_OF(ready.next, struct partition_waiter, link);
        bool is_same = is_leading && waiter->leader_epoch == partition->leader_epoch;
        enum error err = is_same ? OK : ERR_NOT_LEADER_OR_FOLLOWER;
        if (is_same && !waiter->is_local_only &&
            isr_maximal_count(&partition->isr) < partition_effective_min_insync(partition)) {
            err = ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND;
        }
        waiter_run(waiter, err);
    }

    unsigned changes = partition->changes;
    partition->changes = 0;
    if (changes) run_changed(&partition->change_waiters, changes);
    tell_quiet(partition);
}

static void wait_for(struct partition *partition, struct partition_waiter *waiter, int64_t offset,
                     int64_t reached)
{
    assert(!waiter->is_waiting);
    waiter->offset = offset;
    waiter->leader_epoch = partition->leader_epoch;
    waiter->is_waiting = true;
    list_push_back(&partition->committed_waiters, &waiter->link);
    if (partition->role != PARTITION_LEADER || reached >= offset) partition_wake(partition, 0);
}

void partition_wait_committed(struct partition *partition, struct partition_waiter *waiter, int64_t offset)
{
    waiter->is_local_only = false;
    wait_for(partition, waiter, offset, partition_high_watermark(partition));
}

void partition_wait_durable(struct partition *partition, struct partition_waiter *waiter, int64_t offset)
{
    waiter->is_local_only = true;
    wait_for(partition, waiter, offset, partition->log ? partition_local_end(partition) : offset);
}

void partition_wait_change(struct partition *partition, struct partition_waiter *waiter)
{
    assert(!waiter->is_waiting);
    waiter->is_waiting = true;
    list_push_back(&partition->change_waiters, &waiter->link);
    /* Changes up to now are the caller's to have looked at: it checked before waiting. */
    if (!partition->is_wake_deferred) partition->changes = 0;
}

void partition_wait_cancel(struct partition_waiter *waiter)
{
    if (!waiter->is_waiting) return;
    list_remove(&waiter->link);
    waiter->is_waiting = false;
}

/* --- requests --- */

enum error partition_check(const struct partition *partition, int32_t current_leader_epoch, bool must_lead)
{
    if (!partition->log || log_is_offline(partition->log)) return ERR_KAFKA_STORAGE_ERROR;
    if (current_leader_epoch != -1) { /* any other number is an epoch, however odd */
        if (current_leader_epoch < partition->leader_epoch) return ERR_FENCED_LEADER_EPOCH;
        if (current_leader_epoch > partition->leader_epoch) return ERR_UNKNOWN_LEADER_EPOCH;
    }
    if (partition->role == PARTITION_OFFLINE) return ERR_NOT_LEADER_OR_FOLLOWER;
    if (must_lead && partition->role != PARTITION_LEADER) return ERR_NOT_LEADER_OR_FOLLOWER;
    return OK;
}

static enum error may_append(const struct partition *partition, int16_t required_acks)
{
    enum error err = partition_check(partition, -1, true);
    if (err != OK) return err;
    bool has_too_few = partition->isr.count < partition_effective_min_insync(partition);
    return required_acks == -1 && has_too_few ? ERR_NOT_ENOUGH_REPLICAS : OK;
}

/* The log is longer. */
static void appended_more(struct partition *partition)
{
    if (partition_must_sync(partition)) log_flush(partition->log);
    partition_advance_high_watermark(partition);
    partition_wake(partition, CHANGE_END);
}

enum error partition_append(struct partition *partition, uint8_t *batches, size_t size, int16_t required_acks,
                            enum append_origin origin, int64_t now_ms, struct log_appended *appended)
{
    enum error err = may_append(partition, required_acks);
    if (err != OK) return err;
    struct log_append how = {.origin = origin, .now_ms = now_ms, .leader_epoch = partition->leader_epoch};
    err = log_append(partition->log, batches, size, &how, appended);
    if (err == OK && !appended->is_duplicate) appended_more(partition);
    return err;
}

void partition_append_soon(struct partition *partition, struct partition_append *append)
{
    append->next = NULL;
    if (partition->appends) {
        partition->last_append->next = append;
    } else {
        partition->appends = append;
        loop_defer(partition->home, &partition->write);
    }
    partition->last_append = append;
}

/* Appends up to APPENDS_AT_ONCE of the list; returns those that are left. True in *is_longer when the log has grown. */
static struct partition_append *append_some(struct partition *partition, struct partition_append *append,
                                            int64_t now_ms, bool *is_longer)
{
    struct partition_append *taken[APPENDS_AT_ONCE];
    struct log_append hows[APPENDS_AT_ONCE];
    struct log_append_item items[APPENDS_AT_ONCE];
    size_t count = 0;
    for (; append && count < APPENDS_AT_ONCE; append = append->next) {
        append->appended.bad_record_index = -1;
        append->err = may_append(partition, append->required_acks);
        if (append->err != OK) continue;
        taken[count] = append;
        hows[count] = (struct log_append){.origin = APPEND_CLIENT,
                                          .now_ms = now_ms,
                                          .leader_epoch = partition->leader_epoch,
                                          .report = append->report};
        items[count] = (struct log_append_item){.batches = append->batch,
                                                .size = append->size,
                                                .how = &hows[count],
                                                .appended = &append->appended};
        count++;
    }
    if (count > 0) log_append_all(partition->log, items, count);
    for (size_t i = 0; i < count; i++) {
        taken[i]->err = items[i].err;
        *is_longer = *is_longer || (items[i].err == OK && !taken[i]->appended.is_duplicate);
    }
    return append;
}

static void write_run(struct loop_message *message)
{
    struct partition *partition = CONTAINER_OF(message, struct partition, write);
    struct partition_append *first = partition->appends, *rest = first;
    int64_t now_ms = loop_wall_ms(partition->home);
    bool is_longer = false;
    while (rest) rest = append_some(partition, rest, now_ms, &is_longer);
    if (is_longer) appended_more(partition);

    /* Who is told may append again. */
    partition->appends = partition->last_append = NULL;
    while (first) {
        struct partition_append *next = first->next;
        first->run(first);
        first = next;
    }
    tell_quiet(partition);
}

enum error partition_delete_records(struct partition *partition, int64_t *offset)
{
    enum error err = partition_check(partition, -1, true);
    if (err != OK) return err;
    const struct log_config *config = log_config_of(partition->log);
    if (config->compact_policy && !config->delete_policy) return ERR_POLICY_VIOLATION;
    int64_t high_watermark = partition_high_watermark(partition);
    if (*offset == -1) *offset = high_watermark;
    if (*offset < 0 || *offset > high_watermark) return ERR_OFFSET_OUT_OF_RANGE;
    int64_t before = log_start_offset(partition->log);
    err = log_increase_start(partition->log, *offset);
    if (err == OK && log_start_offset(partition->log) != before) partition_wake(partition, CHANGE_START);
    return err;
}

int64_t partition_read_limit(const struct partition *partition, enum partition_reader reader)
{
    switch (reader) {
    case READ_UNCOMMITTED: return partition_high_watermark(partition);
    case READ_COMMITTED: return partition_last_stable_offset(partition);
    case READ_AS_REPLICA: return log_end_offset(partition->log);
    }
    return 0;
}

/* --- the end --- */

void partition_stop(struct partition *partition)
{
    partition->role = PARTITION_OFFLINE;
    partition->leader = -1;
    partition_wake(partition, CHANGE_ROLE);
}

void partition_remove(struct partition *partition,
                      void (*on_quiet)(void *context, struct partition *partition), void *context)
{
    partition_stop(partition);
    partition->on_quiet = on_quiet;
    partition->on_quiet_context = context;
    if (partition_is_quiet(partition)) on_quiet(context, partition);
}
