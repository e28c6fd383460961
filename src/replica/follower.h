/* follower.h: what a follower does next: one partition that follows a leader at one leader epoch.
 *
 *     begin --> FETCHING --records--> append -----------------.
 *                  |  ^                                        |
 *                  |  |<-- cut, when the leader names where our histories part (diverging epoch)
 *                  |  |<-- pause, when it does not know us or its role yet
 *                  v  |
 *             ASKS_LATEST --> cut to the leader's end; else ASKS_EARLIEST --> begin anew at the leader's start
 *
 * A log is cut by leader epoch, never by the high watermark, but where it knows no epochs at all (KIP-101, KIP-279): two
 * followers with the same high watermark may hold different records above it, of which only one was committed.
 *
 * Shape   pure: the log is seen through struct follower_log, the caller does what is answered and asks again. Owner: the
 *         partition's home loop. Times in monotonic ms.
 * Source  facts/cluster.md 5.2, 5.3, 6.1.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "storage/epoch_cache.h"

enum follower_state {
    FOLLOWER_FETCHING,
    FOLLOWER_ASKS_LATEST,
    FOLLOWER_ASKS_EARLIEST,
    FOLLOWER_FAILED /* until LeaderAndIsr says something else */
};

struct follower {
    enum follower_state state;
    int32_t leader_epoch;
    int64_t resume_ms; /* nothing is asked before */
    int64_t pause_ms;  /* the last pause, 0 = the last answer was good */
    int64_t pause_max_ms;
};

/* Our log as it is now. */
struct follower_log {
    int64_t start_offset, end_offset, high_watermark;
    int32_t latest_epoch; /* -1 = it knows no epochs */
};

enum follower_act { FOLLOWER_NOTHING, FOLLOWER_APPEND, FOLLOWER_CUT, FOLLOWER_START_AT };
struct follower_step {
    enum follower_act act;
    int64_t offset; /* of CUT and START_AT */
};

/* At a new leader, or at the same with a new epoch. CUT: before anything is fetched. */
struct follower_step follower_begin(struct follower *follower, int32_t leader_epoch,
                                    const struct follower_log *log, int64_t pause_max_ms);

/* What a fetch asks for; an answer is of use only while it would be asked again. */
struct follower_fetch {
    int64_t offset;
    int32_t leader_epoch, last_fetched_epoch;
};
struct follower_fetch follower_next(const struct follower *follower, const struct follower_log *log);
bool follower_expects(const struct follower *follower, const struct follower_log *log,
                      const struct follower_fetch *asked);
bool follower_may_fetch(const struct follower *follower, int64_t now_ms);

struct follower_answer {
    enum error err;
    struct epoch_end diverging; /* {-1, -1} = none */
    bool has_records;
};
/* `own` is where our log says that answer->diverging.epoch ended. */
struct follower_step follower_answered(struct follower *follower, const struct follower_log *log,
                                       const struct follower_answer *answer, struct epoch_end own,
                                       int64_t now_ms);

/* The leader's latest or earliest offset, whichever was asked for. */
struct follower_step follower_told_offset(struct follower *follower, const struct follower_log *log,
                                          enum error err, int64_t offset, int64_t now_ms);

/* What was answered could not be done, or changed nothing: tried again later. */
void follower_pause(struct follower *follower, int64_t now_ms);
/* It could be done. */
void follower_went_on(struct follower *follower);
