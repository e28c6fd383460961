/* alter_isr.h: proposals for other ISRs on their way to the controller.
 *
 *     submit --> waiting --all of them, in one AlterPartition--> in flight --> done for each
 *                   ^                                              |
 *                   `--- 50 ms --- refused as a whole, or left out-'
 *
 * One request is in flight; what comes meanwhile goes with the next. Tried for ever: a proposal that is void, because the
 * controller has named another leader, is refused by its epochs.
 *
 * Threads  the control loop. Source: facts/cluster.md 4.6; KIP-497.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "base/uuid.h"
#include "loop/loop.h"

struct alter_isr;
struct controller_link;
struct metadata;

/* One partition's. Made on its home loop, with room for `count` members; whoever runs `done` frees it with isr_change_free. */
struct isr_change {
    struct list link;
    struct loop_message message; /* the owner's, for the way between its loops */
    void *context;               /* the owner's */
    void (*done)(struct isr_change *change);
    struct uuid topic_id;
    int32_t index, leader_epoch, partition_epoch;
    int64_t not_before_ms; /* 0 = at once */
    /* what the controller says of it */
    enum error err;
    int32_t answer_leader_epoch, answer_partition_epoch;
    int32_t *answer_isr;
    int32_t answer_isr_count;
    /* members */
    int32_t count;
    int32_t *ids;
    int64_t *epochs; /* of their brokers' registrations, -1 = not known */
    size_t topic_size;
    uint8_t *topic;
};
/* ids and epochs are to be filled. NULL without memory. */
struct isr_change *isr_change_new(struct slice topic, int32_t index, int32_t count);
void isr_change_free(struct isr_change *change);

MUST_USE enum error alter_isr_new(struct loop *loop, struct controller_link *link, struct metadata *metadata,
                                  int32_t broker_id, struct alter_isr **alter);
/* Nothing is sent any more; what was not answered is freed, done does not come. */
void alter_isr_free(struct alter_isr **alter);
void alter_isr_submit(struct alter_isr *alter, struct isr_change *change);
