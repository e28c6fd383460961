/* isr.h: a leader's view of its followers: how far each has come, who is in sync, and what is therefore committed.
 *
 *     committed --propose_expand--> expanding --answered OK---> committed'
 *               --propose_shrink--> shrinking --answered OK---> committed'
 *                                      |------ refused -------> committed, as it was
 *                                      `------ overtaken -----> waits for LeaderAndIsr
 *
 * While a change is on its way the larger of both sets counts (the maximal ISR): who is about to join is waited for already, who
 * is about to leave still. So whichever of the two the controller wrote, what we called committed is on all of its members.
 *
 * Units   offsets; times in monotonic ms. Epochs: of the leader, of the partition (the state znode's version), of a replica (its
 *         broker's registration, KIP-903).
 * Shape   pure: no clock, no memory but its own arrays. Owner: the partition's home loop. Zeroed = leads nothing.
 * Source  facts/cluster.md 4.6, 5.4, 5.5; KAFKA-7128, KAFKA-14140, KAFKA-15583, KIP-497, KIP-903.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A follower as its leader knows it. */
struct isr_replica {
    int32_t broker_id;
    int64_t replica_epoch;       /* of its fetches; -1 = it tells none */
    int64_t log_end_offset;      /* -1 = unknown since this leader epoch began */
    int64_t log_start_offset;    /* -1 = the same */
    int64_t last_caught_up_ms;   /* INT64_MIN / 2 = not since this leader epoch began */
    int64_t last_fetch_ms;       /* of its previous fetch ... */
    int64_t leader_end_at_fetch; /* ... and where our log ended then; -1 = none */
};

enum isr_phase { ISR_COMMITTED, ISR_EXPANDING, ISR_SHRINKING };

struct isr {
    int32_t self_id;
    int32_t leader_epoch, partition_epoch;
    int64_t epoch_start_offset;
    int32_t *assigned, *ids, *proposed; /* each has room for `capacity` */
    int32_t assigned_count, count, proposed_count, capacity;
    struct isr_replica *replicas; /* assigned, but this one */
    int32_t replica_count;
    enum isr_phase phase;
    bool is_recovering;   /* elected uncleanly: the next change says that it has recovered */
    bool is_unanswerable; /* the controller knows better: nothing is proposed until LeaderAndIsr tells us */
};

struct isr_assignment {
    const int32_t *replicas, *isr;
    int32_t replica_count, isr_count;
    int32_t leader_epoch, partition_epoch;
    bool is_recovering;
};

void isr_free(struct isr *isr);
/* LeaderAndIsr made this broker leader (again). With a new leader epoch all progress is forgotten, else it is kept for those
 * that stay assigned. */
MUST_USE enum error isr_lead(struct isr *isr, const struct isr_assignment *assignment, bool is_new_epoch,
                             int64_t log_end_offset, int64_t now_ms);

/* A follower's fetch: it has everything before `offset`. ERR_NOT_LEADER_OR_FOLLOWER: it is not assigned. ERR_STALE_BROKER_EPOCH:
 * from an earlier life of that broker. */
struct isr_fetch {
    int32_t broker_id;
    int64_t replica_epoch; /* -1 = not told */
    int64_t offset, log_start_offset;
};
MUST_USE enum error isr_fetched(struct isr *isr, const struct isr_fetch *fetch, int64_t log_end_offset,
                                int64_t now_ms);
struct isr_replica *isr_find(const struct isr *isr, int32_t broker_id);
bool isr_holds(const struct isr *isr, int32_t broker_id); /* in the committed one */

/* Does a broker live, as the image knows? */
struct isr_living {
    bool (*is_alive)(const void *context, int32_t broker_id);
    const void *context;
};

/* What all have that must be waited for, at most `own_end`: the members of the maximal ISR, and who is about to be one. */
int64_t isr_committed_offset(const struct isr *isr, int64_t own_end, int64_t log_end_offset, int64_t now_ms,
                             int64_t lag_ms, const struct isr_living *living);
int32_t isr_maximal_count(const struct isr *isr);

/* True: isr->proposed is to be told to the controller, and is on its way from now on. */
bool isr_propose_expand(struct isr *isr, int32_t broker_id, int64_t high_watermark,
                        const struct isr_living *living);
/* Who lives no more is lost at once, the others when they are behind for too long. */
bool isr_propose_shrink(struct isr *isr, int64_t log_end_offset, int64_t now_ms, int64_t lag_ms,
                        const struct isr_living *living);
/* Nobody else is counted on, or will be once the change that is on its way is written. */
bool isr_is_alone(const struct isr *isr);

/* The controller's answer for this partition. */
struct isr_answer {
    enum error err;
    int32_t leader_epoch, partition_epoch;
    const int32_t *isr;
    int32_t isr_count;
};
enum isr_outcome {
    ISR_IGNORED, /* about what is no more */
    ISR_CHANGED, /* a new committed ISR */
    ISR_BACK,    /* the proposal is void, the old one stands */
    ISR_WAITS,   /* for LeaderAndIsr */
    ISR_AGAIN,   /* the same is to be proposed again, after a pause */
};
enum isr_outcome isr_answered(struct isr *isr, int32_t asked_leader_epoch, int32_t asked_partition_epoch,
                              const struct isr_answer *answer);
