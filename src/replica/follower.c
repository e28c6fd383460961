#include "replica/follower.h"

enum { FIRST_PAUSE_MS = 10 }; /* a new leader may hear of its role a little later than we of it */

static const struct follower_step nothing = {FOLLOWER_NOTHING, 0};

void follower_pause(struct follower *follower, int64_t now_ms)
{
    int64_t pause_ms = follower->pause_ms > 0 ? follower->pause_ms * 2 : FIRST_PAUSE_MS;
    if (pause_ms > follower->pause_max_ms) pause_ms = follower->pause_max_ms;
    follower->pause_ms = pause_ms;
    follower->resume_ms = now_ms + pause_ms;
}

void follower_went_on(struct follower *follower)
{
    follower->pause_ms = 0;
    follower->resume_ms = 0;
}

struct follower_step follower_begin(struct follower *follower, int32_t leader_epoch,
                                    const struct follower_log *log, int64_t pause_max_ms)
{
    *follower = (struct follower){
        .state = FOLLOWER_FETCHING, .leader_epoch = leader_epoch, .pause_max_ms = pause_max_ms};
    if (log->latest_epoch >= 0 || log->high_watermark >= log->end_offset) return nothing;
    return (struct follower_step){FOLLOWER_CUT, log->high_watermark};
}

struct follower_fetch follower_next(const struct follower *follower, const struct follower_log *log)
{
    return (struct follower_fetch){log->end_offset, follower->leader_epoch, log->latest_epoch};
}

bool follower_expects(const struct follower *follower, const struct follower_log *log,
                      const struct follower_fetch *asked)
{
    return follower->state == FOLLOWER_FETCHING && asked->leader_epoch == follower->leader_epoch &&
           asked->offset == log->end_offset;
}

bool follower_may_fetch(const struct follower *follower, int64_t now_ms)
{
    return follower->state != FOLLOWER_FAILED && now_ms >= follower->resume_ms;
}

/* The leader says that `leader.epoch`, the largest it has that is not above our last, ended at leader.end_offset. */
static struct follower_step cut_by_epoch(const struct follower_log *log, struct epoch_end leader,
                                         struct epoch_end own)
{
    int64_t cut = leader.end_offset < log->end_offset ? leader.end_offset : log->end_offset;
    if (leader.epoch >= 0 && own.end_offset >= 0) {
        /* Where we do not have its epoch, ours before it ended earlier: cut to there, and the next fetch asks with that one
         * (KIP-279). */
        if (own.epoch != leader.epoch)
            cut = own.end_offset < log->end_offset ? own.end_offset : log->end_offset;
        else if (own.end_offset < cut)
            cut = own.end_offset;
    }
    return (struct follower_step){FOLLOWER_CUT, cut};
}

struct follower_step follower_answered(struct follower *follower, const struct follower_log *log,
                                       const struct follower_answer *answer, struct epoch_end own,
                                       int64_t now_ms)
{
    switch (answer->err) {
    case OK:
        if (answer->diverging.end_offset >= 0) return cut_by_epoch(log, answer->diverging, own);
        if (!answer->has_records) follower_went_on(follower); /* else when they are in */
        return answer->has_records ? (struct follower_step){FOLLOWER_APPEND, log->end_offset} : nothing;
    case ERR_OFFSET_OUT_OF_RANGE: follower->state = FOLLOWER_ASKS_LATEST; return nothing;
    case ERR_FENCED_LEADER_EPOCH: follower->state = FOLLOWER_FAILED; return nothing;
    default: follower_pause(follower, now_ms); return nothing;
    }
}

struct follower_step follower_told_offset(struct follower *follower, const struct follower_log *log,
                                          enum error err, int64_t offset, int64_t now_ms)
{
    bool asked_latest = follower->state == FOLLOWER_ASKS_LATEST;
    follower->state = err == ERR_FENCED_LEADER_EPOCH ? FOLLOWER_FAILED : FOLLOWER_FETCHING;
    if (err != OK || offset < 0) {
        follower_pause(follower, now_ms);
        return nothing;
    }
    if (asked_latest && offset >= log->end_offset) {
        follower->state = FOLLOWER_ASKS_EARLIEST;
        return nothing;
    }
    if (asked_latest) return (struct follower_step){FOLLOWER_CUT, offset};
    if (offset > log->end_offset) return (struct follower_step){FOLLOWER_START_AT, offset};
    /* In range, and yet refused: the leader lost its epochs, or changed meanwhile. */
    follower_pause(follower, now_ms);
    return nothing;
}
