/* fetch_parts.h: what the files of a Fetch share. For those alone:
 *
 *     fetch.c         what is asked, and the rounds: the connection's loop
 *     fetch_read.c    each round's reading and waiting: the home loops
 *     fetch_answer.c  the answer: the connection's loop
 */
#pragma once
#include "broker/fetch_session.h"
#include "broker/request.h"
#include "loop/loop.h"
#include "replica/replicas.h"
#include "wire/messages.h"

struct throttle;

struct fetch_part;

struct fetch_entry {
    struct fetch_entry *next;      /* of the same part */
    struct fetch_entry *next_read; /* of those this round reads */
    struct fetch_part *part;
    struct partition *partition;
    struct session_partition *cached; /* NULL without a session */
    struct slice topic;
    struct uuid topic_id;
    int32_t index;
    int64_t fetch_offset, follower_log_start_offset;
    int32_t max_bytes, current_leader_epoch, last_fetched_epoch;
    struct throttle *throttle; /* of a follower that is behind; NULL: it is not slowed */
    bool is_found;             /* `partition` is of this turn */
    bool is_counted;           /* as what the follower has: once, however often we look for more */
    /* what the round found */
    enum error err;
    int64_t high_watermark, last_stable_offset, log_start_offset;
    struct epoch_end diverging; /* epoch -1: none */
    int32_t preferred;          /* another replica, nearer to the consumer: nothing is read here; -1: none */
    struct log_slice slice;
    struct fetch_response_aborted_transaction *aborted;
    int32_t aborted_count;
    size_t aborted_capacity;
    bool is_cold;
    struct partition_waiter waiter;
    struct log_cold_read cold;
    struct lane_job cold_job;
};

struct fetch_part {
    struct fetch_part *next;
    struct fetch *fetch;
    struct loop *home;
    struct fetch_entry *entries, *last;
    struct fetch_entry *reads,
        *woken; /* of this round; and what happened to since it began: of the next one */
    bool must_stop, has_begun, has_woken;
    int cold_reads_out;
    size_t bytes;
    int64_t throttled_ms; /* the first follower that waits for its throttle goes on then; 0 none does */
    bool is_urgent;       /* an error, or something else that is answered at once */
    struct loop_message there, back, woken_message;
};

struct fetch {
    struct request *request;
    const struct fetch_request *asked;
    struct fetch_session *session;
    bool is_increment, is_follower, uses_ids;
    int32_t follower_id;
    int64_t follower_epoch; /* -1 = not told */
    enum partition_reader reader;
    int32_t *near; /* brokers in the consumer's rack, where we send readers away (KIP-392) */
    size_t near_count;
    size_t max_bytes, min_bytes;
    struct fetch_entry *entries;
    size_t entry_count;
    struct fetch_part *parts;
    size_t parts_out;
    bool has_fixed_error; /* an entry that no home loop needs to be asked about */
    bool is_waiting, is_late, is_finishing, is_dropped, has_woken;
    struct loop_timer timer;
    struct loop *loop;
};

/* --- fetch.c --- */
void fetch_round_begin(struct fetch *fetch);
void fetch_round_over(struct fetch *fetch);

/* --- fetch_read.c --- */
/* part->there: its home loop reads, or stops. Answered with fetch_round_over of the last part. */
void fetch_part_command(struct loop_message *message);
struct partition *fetch_find_here(struct fetch *fetch, const struct loop *here,
                                  const struct fetch_entry *entry);
void fetch_release_slice(struct fetch_entry *entry);

/* --- fetch_answer.c --- */
/* Both end the request. */
void fetch_answer(struct fetch *fetch);
void fetch_drop(struct fetch *fetch);
bool fetch_same_topic(const struct fetch *fetch, const struct fetch_entry *a, const struct fetch_entry *b);
