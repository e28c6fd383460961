/* history.h: what the clients of a simulated node were told and what they saw, and whether it can all be true.
 *
 *     a partition   offset 0    1    2    3    4    5
 *                        w1:0 w1:1 w2:0  ?   w1:2 w1:3     ? = somebody's, never acknowledged nor read
 *
 * Each record is a writer and a counter: a writer is one producer id in one partition, its counters are 0, 1, 2 ... So a record
 * tells by itself whether it is doubled or out of place, and an offset once acknowledged or read has one answer for ever.
 *
 * Alone    what a leader acknowledged alone (acks=1, by a writer that is loose: doubled or out of place is no fault of anybody) may be
 *          lost, but only with an election: history_leader says when there was one. Once somebody has read it, it stays.
 * Start    DeleteRecords: nothing below what was asked for need be there.
 * Loss     with flush.messages=1 a power cut loses nothing. Without it it may take the end of each log: history_power_cut then makes
 *          all it knows a "maybe", and what is read later confirms it up to there or refutes all the rest: a prefix in order.
 * Commits  an answered commit stands until a later one; one whose answer was lost may come true at any time of its generation.
 * Faults   the first contradiction is kept in words; everything after it is ignored.
 * Threads  one.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/random.h"
#include "base/text.h"
#include "base/uuid.h"

enum {
    HISTORY_NAME = 64,
    RECORD_HEAD = 16, /* writer, counter, size of the filling */
};

/* --- records --- */

struct record_id {
    uint32_t writer;
    uint64_t counter;
};

/* A value that says whose it is; the filling is a function of that and its size. */
void record_write(struct text *value, struct record_id id, uint32_t filling);
bool record_read(struct slice value, struct record_id *id);

/* --- history --- */

enum slot_state { SLOT_UNKNOWN, SLOT_ALONE, SLOT_MAYBE, SLOT_KNOWN };

struct history_slot {
    struct record_id id;
    /* SLOT_ALONE: of a leader that had it, or an earlier one. SLOT_MAYBE: which loss made it so */
    int32_t epoch;
    enum slot_state state;
};

struct history_partition {
    char topic[HISTORY_NAME];
    int32_t index;
    struct history_slot *slots; /* by offset */
    size_t count, capacity;
    int64_t seen_end; /* one past the last record anybody read, since the last loss */
    int32_t leader_epoch;
    int64_t asked_start; /* the highest that DeleteRecords was asked for */
};

struct history_writer {
    size_t partition;
    uint64_t next; /* counters below were used */
    bool is_loose;
};

enum commit_state { COMMIT_SENT, COMMIT_ACKED, COMMIT_OPEN };

struct history_commit {
    uint64_t serial;
    int64_t offset;
    int32_t generation;
    enum commit_state state;
};

struct history_commits { /* of one group in one partition */
    size_t group, partition;
    struct history_commit *items;
    size_t count, capacity;
    bool is_any; /* power was lost: whatever is found */
};

struct history_claim {
    size_t group, partition;
    int32_t generation;
    char owner[HISTORY_NAME];
};

struct history_topic {
    char name[HISTORY_NAME];
    struct uuid id;
    int32_t partitions;
    bool is_deleted;   /* acknowledged */
    bool is_uncertain; /* its deletion was asked for and not answered */
};

struct history_counts {
    int64_t acknowledged, read, commits, claims, topics, producer_ids;
    /* acknowledged alone; reads sent to a replica near by; of tools.h */
    int64_t lost, near, moves, deletions;
};

struct history {
    bool is_durable; /* a power cut loses nothing */
    bool was_lossy;  /* and one without that promise has been */
    int32_t losses;
    struct history_partition *partitions;
    size_t partition_count, partition_capacity;
    struct history_writer *writers;
    size_t writer_count, writer_capacity;
    struct history_commits *commits;
    size_t commits_count, commits_capacity;
    struct history_claim *claims;
    size_t claim_count, claim_capacity;
    struct history_topic *topics;
    size_t topic_count, topic_capacity;
    int64_t *producer_ids;
    size_t producer_id_count, producer_id_capacity;
    uint64_t next_serial;
    struct history_counts counts;
    struct text fault;
};

void history_free(struct history *history);
void history_fail(struct history *history, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline bool history_has_fault(const struct history *history)
{
    return history->fault.size > 0;
}

size_t history_add_partition(struct history *history, const char *topic, int32_t index);
/* The partition of that name; SIZE_MAX = none of ours. */
size_t history_find_partition(const struct history *history, struct slice topic, int32_t index);
uint32_t history_add_writer(struct history *history, size_t partition);

/* The power went: what was not synced may be gone. Nothing changes when that is all that matters. */
void history_power_cut(struct history *history);

void history_acknowledged(struct history *history, size_t partition, int64_t base_offset,
                          struct record_id first, uint64_t count);
/* With acks=1, sent to who was said to lead in this epoch. */
void history_acknowledged_alone(struct history *history, size_t partition, int64_t base_offset,
                                struct record_id first, uint64_t count, int32_t epoch);
/* The partition has a leader of this epoch, or soon none. */
void history_leader(struct history *history, struct slice topic, int32_t index, int32_t epoch);
/* A consumer was given this record. */
void history_read(struct history *history, size_t partition, int64_t offset, struct record_id id);
/* A whole log was read, `ids` from offset `start` on: nothing lost, nothing doubled, every writer in order. */
void history_read_whole(struct history *history, size_t partition, int64_t start, const struct record_id *ids,
                        size_t count);

/* One past the last record that must be there. */
int64_t history_known_end(const struct history *history, size_t partition);
/* The same, with what one leader alone has acknowledged. */
int64_t history_told_end(const struct history *history, size_t partition);

void history_producer_id(struct history *history, int64_t producer_id);

/* `owner` got the partition in this generation. */
void history_claimed(struct history *history, size_t group, int32_t generation, size_t partition,
                     struct slice owner);
/* No member of a later generation has claimed anything: what this one is told of offsets is the present. */
bool history_is_newest(const struct history *history, size_t group, int32_t generation);
/* The newest generation that anybody has claimed something in; 0 = none yet, or power was lost since. */
int32_t history_newest(const struct history *history, size_t group);
uint64_t history_commit_sent(struct history *history, size_t group, size_t partition, int32_t generation,
                             int64_t offset);
void history_commit_acked(struct history *history, size_t group, size_t partition, uint64_t serial);
/* Refused for sure, or nobody knows. */
void history_commit_failed(struct history *history, size_t group, size_t partition, uint64_t serial,
                           bool is_refused);
/* An OffsetFetch said so; -1 = none. */
void history_committed(struct history *history, size_t group, size_t partition, int64_t offset);
/* The consumer found its offset beyond what is left of the log: only after a loss. */
void history_out_of_range(struct history *history, size_t group, size_t partition);

void history_topic_made(struct history *history, struct slice name, struct uuid id, int32_t partitions);
struct history_topic *history_find_topic(struct history *history, struct slice name);
