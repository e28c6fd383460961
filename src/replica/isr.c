#include "replica/isr.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NEVER_MS (INT64_MIN / 2)

void isr_free(struct isr *isr)
{
    free(isr->assigned);
    free(isr->ids);
    free(isr->proposed);
    free(isr->replicas);
    *isr = (struct isr){0};
}

static bool is_in(const int32_t *ids, int32_t count, int32_t id)
{
    for (int32_t i = 0; i < count; i++) {
        if (ids[i] == id) return true;
    }
    return false;
}

bool isr_holds(const struct isr *isr, int32_t broker_id)
{
    return is_in(isr->ids, isr->count, broker_id);
}

struct isr_replica *isr_find(const struct isr *isr, int32_t broker_id)
{
    for (int32_t i = 0; i < isr->replica_count; i++) {
        if (isr->replicas[i].broker_id == broker_id) return &isr->replicas[i];
    }
    return NULL;
}

static struct isr_replica unknown_replica(int32_t broker_id, bool is_in_sync, int64_t now_ms)
{
    return (struct isr_replica){.broker_id = broker_id,
                                .replica_epoch = -1,
                                .log_end_offset = -1,
                                .log_start_offset = -1,
                                .last_caught_up_ms = is_in_sync ? now_ms : NEVER_MS,
                                .leader_end_at_fetch = -1};
}

enum error isr_lead(struct isr *isr, const struct isr_assignment *assignment, bool is_new_epoch,
                    int64_t log_end_offset, int64_t now_ms)
{
    assert(assignment->replica_count >= 0 && assignment->isr_count >= 0);
    int32_t capacity = assignment->replica_count + assignment->isr_count + 1;
    size_t size = (size_t)capacity * sizeof(int32_t);
    int32_t *assigned = malloc(size), *ids = malloc(size), *proposed = malloc(size);
    struct isr_replica *replicas = calloc((size_t)capacity, sizeof *replicas);
    if (!assigned || !ids || !proposed || !replicas) {
        free(assigned);
        free(ids);
        free(proposed);
        free(replicas);
        return ERR_NOMEM;
    }
    struct isr made = {.self_id = isr->self_id,
                       .leader_epoch = assignment->leader_epoch,
                       .partition_epoch = assignment->partition_epoch,
                       .epoch_start_offset = is_new_epoch ? log_end_offset : isr->epoch_start_offset,
                       .assigned = assigned,
                       .ids = ids,
                       .proposed = proposed,
                       .assigned_count = assignment->replica_count,
                       .count = assignment->isr_count,
                       .capacity = capacity,
                       .replicas = replicas,
                       .is_recovering = assignment->is_recovering};
    for (int32_t i = 0; i < made.assigned_count; i++) {
        int32_t id = assigned[i] = assignment->replicas[i];
        if (id == made.self_id || isr_find(&made, id)) continue;
        const struct isr_replica *before = is_new_epoch ? NULL : isr_find(isr, id);
        bool is_in_sync = is_in(assignment->isr, assignment->isr_count, id);
        replicas[made.replica_count++] = before ? *before : unknown_replica(id, is_in_sync, now_ms);
    }
    for (int32_t i = 0; i < made.count; i++) ids[i] = assignment->isr[i];
    isr_free(isr);
    *isr = made;
    return OK;
}

enum error isr_fetched(struct isr *isr, const struct isr_fetch *fetch, int64_t log_end_offset, int64_t now_ms)
{
    struct isr_replica *replica = isr_find(isr, fetch->broker_id);
    if (!replica) return ERR_NOT_LEADER_OR_FOLLOWER;
    if (fetch->replica_epoch >= 0 && fetch->replica_epoch < replica->replica_epoch)
        return ERR_STALE_BROKER_EPOCH;
    if (fetch->replica_epoch > replica->replica_epoch) {
        /* Another life: what the former one had is not to be counted on. */
        if (replica->replica_epoch >= 0) replica->leader_end_at_fetch = -1;
        replica->replica_epoch = fetch->replica_epoch;
    }
    if (fetch->offset >= log_end_offset) {
        replica->last_caught_up_ms = now_ms;
    } else if (replica->leader_end_at_fetch >= 0 && fetch->offset >= replica->leader_end_at_fetch) {
        if (replica->last_fetch_ms > replica->last_caught_up_ms)
            replica->last_caught_up_ms = replica->last_fetch_ms;
    }
    replica->log_end_offset = fetch->offset;
    replica->log_start_offset = fetch->log_start_offset;
    replica->last_fetch_ms = now_ms;
    replica->leader_end_at_fetch = log_end_offset;
    return OK;
}

static bool is_caught_up(const struct isr_replica *replica, int64_t log_end_offset, int64_t now_ms,
                         int64_t lag_ms)
{
    return replica->log_end_offset == log_end_offset || now_ms - replica->last_caught_up_ms <= lag_ms;
}

static bool is_maximal(const struct isr *isr, int32_t broker_id)
{
    return isr_holds(isr, broker_id) ||
           (isr->phase == ISR_EXPANDING && is_in(isr->proposed, isr->proposed_count, broker_id));
}

int32_t isr_maximal_count(const struct isr *isr)
{
    return isr->phase == ISR_EXPANDING ? isr->proposed_count : isr->count;
}

int64_t isr_committed_offset(const struct isr *isr, int64_t own_end, int64_t log_end_offset, int64_t now_ms,
                             int64_t lag_ms, const struct isr_living *living)
{
    int64_t committed = own_end;
    for (int32_t i = 0; i < isr->replica_count; i++) {
        const struct isr_replica *replica = &isr->replicas[i];
        if (replica->log_end_offset >= committed) continue;
        if (!is_maximal(isr, replica->broker_id)) {
            /* It will be in the ISR in a moment; were it not waited for now, it would be below the high watermark then. */
            if (!is_caught_up(replica, log_end_offset, now_ms, lag_ms)) continue;
            if (!living->is_alive(living->context, replica->broker_id)) continue;
        }
        committed = replica->log_end_offset;
    }
    return committed;
}

/* --- proposals --- */

static bool may_propose(const struct isr *isr)
{
    return isr->phase == ISR_COMMITTED && !isr->is_unanswerable;
}

bool isr_propose_expand(struct isr *isr, int32_t broker_id, int64_t high_watermark,
                        const struct isr_living *living)
{
    const struct isr_replica *replica = isr_find(isr, broker_id);
    if (!replica || !may_propose(isr) || isr_holds(isr, broker_id)) return false;
    /* The start of our epoch, too: the high watermark may lag behind what earlier leaders called committed (KAFKA-7128). */
    if (replica->log_end_offset < high_watermark || replica->log_end_offset < isr->epoch_start_offset)
        return false;
    if (!living->is_alive(living->context, broker_id)) return false;
    memcpy(isr->proposed, isr->ids, (size_t)isr->count * sizeof *isr->ids);
    isr->proposed[isr->count] = broker_id;
    isr->proposed_count = isr->count + 1;
    isr->phase = ISR_EXPANDING;
    return true;
}

bool isr_is_alone(const struct isr *isr)
{
    bool will_be = isr->phase == ISR_SHRINKING && isr->proposed_count == 1;
    return isr_maximal_count(isr) == 1 || will_be;
}

bool isr_propose_shrink(struct isr *isr, int64_t log_end_offset, int64_t now_ms, int64_t lag_ms,
                        const struct isr_living *living)
{
    if (!may_propose(isr)) return false;
    isr->proposed_count = 0;
    for (int32_t i = 0; i < isr->count; i++) {
        const struct isr_replica *replica = isr_find(isr, isr->ids[i]);
        bool is_lost =
            isr->ids[i] != isr->self_id && (!replica || !living->is_alive(living->context, isr->ids[i]) ||
                                            !is_caught_up(replica, log_end_offset, now_ms, lag_ms));
        if (!is_lost) isr->proposed[isr->proposed_count++] = isr->ids[i];
    }
    if (isr->proposed_count == isr->count || isr->proposed_count == 0) return false;
    isr->phase = ISR_SHRINKING;
    return true;
}

static bool is_proposed(const struct isr *isr, const struct isr_answer *answer)
{
    return answer->isr_count == isr->proposed_count &&
           memcmp(answer->isr, isr->proposed, (size_t)answer->isr_count * sizeof *answer->isr) == 0;
}

/* What the controller says is so. An ISR of strangers, longer than ours may be, is a mistake that LeaderAndIsr will mend. */
static enum isr_outcome adopt(struct isr *isr, const struct isr_answer *answer)
{
    if (answer->isr_count <= 0 || answer->isr_count > isr->capacity) {
        isr->is_unanswerable = true;
        return ISR_WAITS;
    }
    memcpy(isr->ids, answer->isr, (size_t)answer->isr_count * sizeof *answer->isr);
    isr->count = answer->isr_count;
    isr->partition_epoch = answer->partition_epoch;
    isr->phase = ISR_COMMITTED;
    isr->is_recovering = false;
    return ISR_CHANGED;
}

enum isr_outcome isr_answered(struct isr *isr, int32_t asked_leader_epoch, int32_t asked_partition_epoch,
                              const struct isr_answer *answer)
{
    bool is_ours = isr->phase != ISR_COMMITTED && asked_leader_epoch == isr->leader_epoch &&
                   asked_partition_epoch == isr->partition_epoch;
    if (!is_ours) return ISR_IGNORED;
    switch (answer->err) {
    case OK:
        if (answer->leader_epoch > isr->leader_epoch) return ISR_WAITS;
        if (answer->leader_epoch < isr->leader_epoch || answer->partition_epoch < isr->partition_epoch)
            return ISR_AGAIN;
        if (answer->partition_epoch == isr->partition_epoch && !is_proposed(isr, answer)) return ISR_AGAIN;
        return adopt(isr, answer);
    case ERR_OPERATION_NOT_ATTEMPTED:
    case ERR_INELIGIBLE_REPLICA: isr->phase = ISR_COMMITTED; return ISR_BACK;
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_UNKNOWN_TOPIC_ID:
    case ERR_FENCED_LEADER_EPOCH:
    case ERR_INVALID_UPDATE_VERSION:
    case ERR_INVALID_REQUEST:
    case ERR_NEW_LEADER_ELECTED: return ISR_WAITS;
    default: return ISR_AGAIN;
    }
}
