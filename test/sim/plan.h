/* plan.h: what kind of world a seed makes. */
#pragma once
#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

struct world;

#define PLAN_RACK "rack-%d"
enum { PLAN_RACKS = 2 };

enum plan_kind {
    PLAN_ALONE,  /* one broker with its keeper */
    PLAN_CLUSTER /* several, and a keeper alone */
};

struct plan {
    int brokers, loops;
    bool is_durable;     /* flush.messages=1: a power cut loses nothing acknowledged */
    bool has_power_cuts; /* else only kill -9 and clean stops */
    bool has_lost_syncs;
    bool has_blackouts; /* all machines of a replicated cluster lose their power at once */
    /* both loops have work from the start; else the second gets some when the first is busy */
    bool is_spread;
    int data_dirs; /* 1 or 2 */
    int producers, groups, members_per_group;
    int loose_producers; /* of them: acks=1, without an id */
    bool has_racks;      /* consumers read from the replica in their own (KIP-392) */
    /* where no power cut may take the end of a log: else nobody knows where it begins */
    bool deletes_records;
    int throttle_bytes; /* a second between replicas; 0 = none */
    int move_bytes;     /* a second between log directories */
    int topics, partitions_per_topic, offsets_partitions;
    int replicas, min_isr;
    int segment_bytes, roll_ms, index_interval_bytes, checkpoint_ms, session_ms;
    int keeper_session_ms, lag_ms; /* of the brokers' sessions; replica.lag.time.max.ms */
    int steps;                     /* of the adversary */
};

/* Into world->plan. */
void plan_draw(struct world *world, enum plan_kind kind);
/* server.properties of that broker. */
void plan_settings(const struct world *world, int broker_id, struct text *out);
/* More than one machine has each record, so the loss of one is no loss. */
bool plan_is_replicated(const struct plan *plan);
