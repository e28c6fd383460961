/* fetcher_parts.h: what fetcher.c and fetcher_answer.c share. For those two alone. */
#pragma once
#include "base/arena.h"
#include "base/map.h"
#include "client/connection.h"
#include "loop/loop.h"
#include "replica/fetcher.h"
#include "replica/follower.h"
#include "replica/partition_state.h"
#include "wire/messages.h"

enum { FETCHER_ASKS_AT_ONCE = 64, FETCHER_FLIGHTS = 2 };

/* One partition that follows. */
struct followed {
    struct list link;    /* the fetcher's, next to fetch first */
    struct list changed; /* the fetcher's: what its session does not know yet */
    struct list paused;
    struct fetcher *fetcher;
    struct partition *partition;
    struct follower brain;
    struct follower_fetch sent; /* as the session knows it ... */
    int64_t sent_in;            /* ... since this fetch */
    int64_t sent_start;         /* where it heard that our log begins: DeleteRecords waits for that */
    bool is_in_session, is_syncing;
};

/* What the session knows and is to forget. */
struct forgotten {
    struct list link;
    struct uuid topic_id;
    int32_t index;
    size_t topic_size;
    uint8_t topic[];
};

struct fetcher {
    struct list link; /* the loop's */
    struct fetchers *owner;
    int32_t leader; /* broker id */
    struct connection *connection;
    struct list partitions, changed, paused, forgotten;
    struct map by_key; /* of all partitions: topic id (or name) and index to struct followed */
    size_t count, nameless_count /* without a topic id */, session_count, syncing_count;
    bool uses_ids;  /* how by_key and the session name topics */
    bool is_asking; /* a question for offsets is in flight */
    bool is_in_answer;
    bool must_restart; /* the session, after what is in flight */
    int32_t session_id, session_epoch;
    int64_t retry_ms, retry_pause_ms; /* of the connection */
    bool has_warned;
    struct loop_timer timer;
    /* One, which the leader holds until there is news; and a second one when it must hear of more than that one said. */
    struct fetch_flight {
        struct fetcher *fetcher;
        struct call call;
        int64_t sequence;
        bool is_out, is_full;
    } flights[FETCHER_FLIGHTS];
    size_t flight_count;
    int64_t last_sequence;
    struct call call; /* of the question */
    struct arena arena;
    /* the question for offsets in flight */
    struct followed *asking[FETCHER_ASKS_AT_ONCE]; /* NULL: answered, or followed no more */
    size_t asking_count;
};

/* Of the answer to the fetch `sequence`, in which nothing is wrong as a whole. */
void fetcher_take_answer(struct fetcher *fetcher, int64_t sequence, const struct fetch_response *response);
/* Of the question for offsets. */
void fetcher_take_offsets(struct fetcher *fetcher, const struct list_offsets_response *response);

/* --- fetcher.c's, for the answers --- */
/* NULL: followed no more. */
struct followed *fetcher_find(const struct fetcher *fetcher, const struct uuid *topic_id, struct slice topic,
                              int32_t index);
/* Its brain moved: the next fetch says so. */
void fetcher_note(struct followed *followed);
/* Where only what is on disk counts, nothing is asked of the leader until all there is has been synced: asking tells it that we have it. */
void fetcher_await_sync(struct followed *followed);
struct follower_log followed_log(const struct followed *followed);
