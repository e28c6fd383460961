/* partition_progress.c: how a partition moves on: its roles, what followers have, what is committed. */
#include <assert.h>
#include <stdlib.h>

#include "base/diag.h"
#include "replica/fetcher.h"
#include "replica/partition_state.h"

enum { DEFAULT_LAG_MS = 30000 };

static bool is_alive(const void *context, int32_t broker_id)
{
    const struct partition_cluster *cluster = context;
    return !cluster || peers_find(&cluster->peers, broker_id) != NULL;
}

static struct isr_living living(const struct partition *partition)
{
    return (struct isr_living){is_alive, partition->cluster};
}

/* Before we have heard of ourselves we have not heard of others either. */
static bool is_not_known_dead(const void *context, int32_t broker_id)
{
    const struct partition *partition = context;
    return is_alive(partition->cluster, broker_id) || !is_alive(partition->cluster, partition->self_id);
}

static int64_t lag_ms(const struct partition *partition)
{
    return partition->cluster ? partition->cluster->lag_max_ms : DEFAULT_LAG_MS;
}

/* --- the high watermark --- */

bool partition_must_sync(const struct partition *partition)
{
    bool stands_alone = partition->role == PARTITION_LEADER && partition->isr.assigned_count > 1 &&
                        isr_is_alone(&partition->isr);
    return partition->sync_before_ack || stands_alone;
}

int32_t partition_effective_min_insync(const struct partition *partition)
{
    int32_t assigned = partition->isr.assigned_count;
    return partition->min_insync_replicas < assigned ? partition->min_insync_replicas : assigned;
}

static void set_high_watermark(struct partition *partition, int64_t offset)
{
    __atomic_store_n(&partition->high_watermark, offset, __ATOMIC_RELAXED);
    log_set_high_watermark(partition->log, offset);
    partition_wake(partition, CHANGE_HIGH);
}

/* KIP-966: too small an ISR moves nothing, so that what readers saw survives the loss of those few. */
void partition_advance_high_watermark(struct partition *partition)
{
    if (partition->role != PARTITION_LEADER || !partition->log) return;
    if (partition->isr.count < partition_effective_min_insync(partition)) return;
    struct isr_living who = living(partition);
    int64_t committed =
        isr_committed_offset(&partition->isr, partition_local_end(partition), log_end_offset(partition->log),
                             loop_now_ms(partition->home), lag_ms(partition), &who);
    if (committed > partition_high_watermark(partition)) set_high_watermark(partition, committed);
}

/* --- proposals --- */

static void propose(struct partition *partition)
{
    partition->is_proposal_held = false;
    if (partition->cluster && partition->cluster->propose)
        partition->cluster->propose(partition->cluster->context, partition);
}

/* Once the controller has written that we are alone, our disk is the only place of all that was committed: it is there before. What
 * is committed from now on is synced first (partition_must_sync). */
static void propose_when_safe(struct partition *partition)
{
    bool is_safe = !isr_is_alone(&partition->isr) ||
                   log_synced_end_offset(partition->log) >= partition_high_watermark(partition);
    if (is_safe) {
        propose(partition);
        return;
    }
    partition->is_proposal_held = true;
    log_flush(partition->log);
}

/* Our own disk caught up: on the home loop, by log_on_synced. */
static void synced(void *context, struct log *log)
{
    struct partition *partition = context;
    if (partition->followed) fetchers_synced(partition);
    if (partition->is_proposal_held && log_synced_end_offset(log) >= partition_high_watermark(partition))
        propose(partition);
    if (!partition_must_sync(partition)) return;
    if (!list_empty(&partition->committed_waiters)) partition_wake(partition, 0);
    partition_advance_high_watermark(partition);
}

/* --- followers --- */

enum error partition_follower_fetched(struct partition *partition, const struct isr_fetch *fetch,
                                      int64_t now_ms)
{
    if (partition->role != PARTITION_LEADER || !partition->log) return ERR_NOT_LEADER_OR_FOLLOWER;
    const struct isr_replica *before = isr_find(&partition->isr, fetch->broker_id);
    bool starts_later = before && fetch->log_start_offset > before->log_start_offset;
    enum error err = isr_fetched(&partition->isr, fetch, log_end_offset(partition->log), now_ms);
    if (err != OK) return err;
    if (starts_later) partition_wake(partition, CHANGE_LOW);
    struct isr_living who = living(partition);
    if (isr_propose_expand(&partition->isr, fetch->broker_id, partition_high_watermark(partition), &who))
        propose(partition);
    partition_advance_high_watermark(partition);
    return OK;
}

int64_t partition_low_watermark(const struct partition *partition)
{
    int64_t low = log_start_offset(partition->log);
    const struct log *future = partition_future_log(partition);
    if (future && log_start_offset(future) < low) low = log_start_offset(future);
    for (int32_t i = 0; i < partition->isr.replica_count; i++) {
        const struct isr_replica *replica = &partition->isr.replicas[i];
        if (replica->log_start_offset >= low || !is_alive(partition->cluster, replica->broker_id)) continue;
        low = replica->log_start_offset;
    }
    return low;
}

int32_t partition_nearest(const struct partition *partition, const int32_t *broker_ids, size_t count,
                          int64_t offset)
{
    if (count == 0 || partition->role != PARTITION_LEADER) return -1;
    const struct isr_replica *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct isr_replica *replica = isr_find(&partition->isr, broker_ids[i]);
        if (!replica || !isr_holds(&partition->isr, broker_ids[i])) continue;
        if (replica->log_start_offset < 0 || offset < replica->log_start_offset) continue;
        if (offset > replica->log_end_offset) continue;
        if (!best || replica->log_end_offset > best->log_end_offset) best = replica;
    }
    return best ? best->broker_id : -1;
}

void partition_check_lag(struct partition *partition)
{
    if (partition->role != PARTITION_LEADER || !partition->log) return;
    int64_t end = log_end_offset(partition->log);
    struct isr_living who = {is_not_known_dead, partition};
    if (!isr_propose_shrink(&partition->isr, end, loop_now_ms(partition->home), lag_ms(partition), &who))
        return;
    diag_info("\"%.*s-%d\": %d of its %d in-sync replicas are gone or fell behind %lld",
              SLICE_ARG(partition_topic(partition)), partition->index,
              partition->isr.count - partition->isr.proposed_count, partition->isr.count, (long long)end);
    propose_when_safe(partition);
}

enum isr_outcome partition_isr_answered(struct partition *partition, int32_t asked_leader_epoch,
                                        int32_t asked_partition_epoch, const struct isr_answer *answer)
{
    if (partition->role != PARTITION_LEADER) return ISR_IGNORED;
    enum isr_outcome outcome =
        isr_answered(&partition->isr, asked_leader_epoch, asked_partition_epoch, answer);
    if (outcome == ISR_CHANGED || outcome == ISR_BACK) {
        if (partition_must_sync(partition)) log_flush(partition->log);
        partition_advance_high_watermark(partition);
        if (!list_empty(&partition->committed_waiters)) partition_wake(partition, 0);
    }
    return outcome;
}

/* --- following --- */

void partition_follow_offsets(struct partition *partition, int64_t high_watermark, int64_t start_offset)
{
    struct log *log = partition->log;
    int64_t start = log_start_offset(log), end = log_end_offset(log);
    if (high_watermark < start) high_watermark = start;
    if (high_watermark > end) high_watermark = end;
    if (high_watermark != partition_high_watermark(partition)) set_high_watermark(partition, high_watermark);
    if (start_offset > high_watermark) start_offset = high_watermark;
    if (start_offset <= start) return;
    enum error err = log_increase_start(log, start_offset);
    if (err == OK) {
        partition_wake(partition, CHANGE_START);
    } else {
        diag_warn("could not raise the start of \"%.*s-%d\" to its leader's: %s",
                  SLICE_ARG(partition_topic(partition)), partition->index, error_text(err));
    }
}

enum error partition_append_fetched(struct partition *partition, uint8_t *batches, size_t size)
{
    struct log_append how = {.origin = APPEND_REPLICATION, .now_ms = loop_wall_ms(partition->home)};
    struct log_appended appended;
    enum error err = log_append(partition->log, batches, size, &how, &appended);
    if (err != OK) return err;
    if (partition->sync_before_ack) log_flush(partition->log);
    partition_wake(partition, CHANGE_END);
    return OK;
}

/* The high watermark stays within what is left. */
static void was_cut(struct partition *partition)
{
    int64_t start = log_start_offset(partition->log), end = log_end_offset(partition->log);
    int64_t high = partition_high_watermark(partition);
    if (high > end) {
        diag_warn("\"%.*s-%d\" was cut to %lld, below its high watermark %lld",
                  SLICE_ARG(partition_topic(partition)), partition->index, (long long)end, (long long)high);
    }
    if (high > end) set_high_watermark(partition, end);
    if (high < start) set_high_watermark(partition, start);
    partition_wake(partition, CHANGE_END);
}

enum error partition_cut(struct partition *partition, int64_t offset)
{
    int64_t before = log_end_offset(partition->log);
    enum error err = log_truncate_to(partition->log, offset);
    if (err != OK) return err;
    if (log_end_offset(partition->log) < before) {
        diag_info("\"%.*s-%d\" cuts its log from %lld to %lld, where it parts from its leader's",
                  SLICE_ARG(partition_topic(partition)), partition->index, (long long)before,
                  (long long)log_end_offset(partition->log));
        was_cut(partition);
    }
    return OK;
}

enum error partition_start_at(struct partition *partition, int64_t offset)
{
    diag_warn("\"%.*s-%d\" ends at %lld, before its leader begins: starts anew at %lld",
              SLICE_ARG(partition_topic(partition)), partition->index,
              (long long)log_end_offset(partition->log), (long long)offset);
    enum error err = log_truncate_fully_and_start_at(partition->log, offset);
    if (err == OK) was_cut(partition);
    return err;
}

/* --- roles --- */

void partition_set_log(struct partition *partition, struct log *log)
{
    if (partition->log) log_on_synced(partition->log, NULL, NULL);
    partition->log = log;
    if (!log) return;
    partition->topic_id = *log_topic_id(log);
    int64_t start = log_start_offset(log), end = log_end_offset(log), high = log_high_watermark(log);
    if (high < start) high = start;
    if (high > end) high = end;
    __atomic_store_n(&partition->high_watermark, high, __ATOMIC_RELAXED);
    log_set_high_watermark(log, high);
    log_on_synced(log, synced, partition);
}

void partition_swap_log(struct partition *partition, struct log *log)
{
    log_on_synced(partition->log, NULL, NULL);
    partition->log = log;
    log_on_synced(log, synced, partition);
    if (partition_must_sync(partition)) log_flush(log);
    /* It may be on disk already where the other was not yet, and told nobody. */
    synced(partition, log);
}

static enum error take_assignment(struct partition *partition, const struct partition_assignment *assignment,
                                  bool is_new_epoch)
{
    struct isr_assignment taken = {.replicas = assignment->replicas,
                                   .replica_count = assignment->replica_count,
                                   .isr = assignment->isr,
                                   .isr_count = assignment->isr_count,
                                   .leader_epoch = assignment->leader_epoch,
                                   .partition_epoch = assignment->partition_epoch,
                                   .is_recovering = assignment->is_recovering};
    int64_t end = partition->log ? log_end_offset(partition->log) : 0;
    partition->isr.self_id = partition->self_id;
    partition->is_proposal_held = false; /* of an ISR that is no more */
    enum error err = isr_lead(&partition->isr, &taken, is_new_epoch, end, loop_now_ms(partition->home));
    if (err != OK) return err;
    partition->leader = assignment->leader;
    partition->leader_epoch = assignment->leader_epoch;
    partition->controller_epoch = assignment->controller_epoch;
    return OK;
}

enum error partition_become_leader(struct partition *partition, const struct partition_assignment *assignment)
{
    if (!partition->log || log_is_offline(partition->log)) return ERR_KAFKA_STORAGE_ERROR;
    /* First of all that can fail: an epoch that is on disk although we never lead at it does no harm. */
    bool is_new_epoch =
        assignment->leader_epoch != partition->leader_epoch || partition->role != PARTITION_LEADER;
    if (is_new_epoch) {
        enum error err =
            log_epoch_assign(partition->log, assignment->leader_epoch, log_end_offset(partition->log));
        if (err != OK) return err;
    }
    enum error err = take_assignment(partition, assignment, is_new_epoch);
    if (err != OK) return err;
    partition->role = PARTITION_LEADER;
    if (partition_must_sync(partition)) log_flush(partition->log);
    partition_advance_high_watermark(partition);
    partition_wake(partition, CHANGE_ROLE);
    return OK;
}

enum error partition_become_follower(struct partition *partition,
                                     const struct partition_assignment *assignment)
{
    enum error err = take_assignment(partition, assignment, true);
    if (err != OK) return err;
    partition->role = PARTITION_FOLLOWER;
    partition_wake(partition, CHANGE_ROLE);
    return OK;
}
