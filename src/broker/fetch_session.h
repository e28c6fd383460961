/* fetch_session.h: what a reader fetches, remembered between its requests (KIP-227).
 *
 *     (id 0, epoch -1)   no session: everything is in the request, everything is answered
 *     (any,  epoch 0)    a full request; makes a session where a slot is free and drops the one it names
 *     (id,   epoch n)    the n-th increment: what changed since; answered are only partitions with news
 *     (id,   epoch -1)   a full request that ends the session
 *
 * Slots are counted over the whole node (max.incremental.fetch.session.cache.slots). With none free, a session that was idle
 * for two minutes gives way, or one of a consumer to a follower's; else the reader gets id 0 and goes on with full requests.
 *
 * Owner    a loop has its own sessions; who comes back on another loop begins anew (FETCH_SESSION_ID_NOT_FOUND). A request
 *          holds a reference while it runs, so an evicted session lives as long as its last answer.
 * Source   facts/api-versions.md 8, facts/cluster.md 5.8.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "base/map.h"
#include "base/uuid.h"

struct loop;
struct fetch_request;

enum {
    FETCH_SESSION_IDLE_MS = 120000,
    FETCH_NO_SESSION = 0,
    FETCH_EPOCH_INITIAL = 0,
    FETCH_EPOCH_FINAL = -1
};

struct session_partition {
    struct list link; /* the session's, in the order in which they get their turn */
    struct uuid topic_id;
    int32_t index;
    /* as last asked */
    int64_t fetch_offset, follower_log_start_offset;
    int32_t max_bytes, current_leader_epoch, last_fetched_epoch;
    /* as last answered */
    int64_t high_watermark, log_start_offset;
    bool is_forgotten;
    bool must_answer; /* new, or its last answer was an error */
    size_t topic_size;
    uint8_t topic[];
};

struct fetch_session {
    struct list link; /* the loop's, least recently used first */
    int32_t id, next_epoch;
    int references;
    bool is_follower, uses_ids, is_gone;
    int64_t last_used_ms;
    struct list partitions;
    struct list forgotten; /* no longer asked for, but perhaps still being answered */
    struct map by_key;     /* index and topic name (or id) to partition */
};

struct fetch_sessions;

/* `used` is the node's count of slots in use (atomic), at most `slots`. */
MUST_USE enum error fetch_sessions_new(int64_t *used, int64_t slots, struct fetch_sessions **sessions);
void fetch_sessions_free(struct fetch_sessions **sessions);

/* What the request is to the sessions. *session with a reference, or NULL: everything is in the request. On
 * ERR_FETCH_SESSION_ID_NOT_FOUND, ERR_INVALID_FETCH_SESSION_EPOCH and ERR_FETCH_SESSION_TOPIC_ID_ERROR nothing is read.
 * *is_increment: only news are answered. */
MUST_USE enum error fetch_session_begin(struct fetch_sessions *sessions, struct loop *loop,
                                        const struct fetch_request *request, bool uses_ids, bool is_follower,
                                        struct fetch_session **session, bool *is_increment);
void fetch_session_release(struct fetch_session **session);
/* For a connection that moves to another loop: takes the session out of the table (NULL: none, or somebody uses it), and puts it
 * into another one, where it may find its id taken and then ends. */
struct fetch_session *fetch_sessions_take(struct fetch_sessions *sessions, int32_t id);
void fetch_sessions_give(struct fetch_sessions *sessions, struct fetch_session *session);
/* The answer named this partition: it goes to the end of the line. */
void fetch_session_answered(struct fetch_session *session, struct session_partition *partition);
/* How many there are on this loop, and partitions in them. */
size_t fetch_sessions_count(const struct fetch_sessions *sessions);
