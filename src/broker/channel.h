/* channel.h: one connection of a client: frames in, answers out, in order.
 *
 *     stream --> 4 bytes length --> frame --> request --> handler --> answer --> stream
 *
 * Order    a request starts when all before it are answered. Only a Produce may start while earlier Produces of its connection
 *          wait (for replicas, for the disk); answers keep their order all the same. At most REQUEST_READ_AHEAD are read ahead.
 * Reading  stops while requests are read ahead to that limit, the budget is used up, the answers are not taken, or the
 *          connection is muted after a throttled answer. A turn takes at most TURN_BYTES of one connection.
 * Ends     at the peer's wish; after connections.max.idle.ms of silence; when a frame that was begun gets no byte for
 *          request.stall.timeout.ms; when bytes make no sense: those before are answered first, then the connection is closed.
 * Moving   a channel most of whose work is done by partitions of another loop goes to live there, when it is idle for a moment
 *          and that loop has room: a hop costs more than most requests.
 * Threads  a channel belongs to its loop.
 * Source   facts/api-versions.md 5.
 */
#pragma once
#include <stdbool.h>

#include "broker/broker_state.h"
#include "broker/request.h"

enum {
    CHANNEL_TURN_BYTES = 1024 * 1024,
    CHANNEL_SCRATCH_SIZE = 16 * 1024,
    CHANNEL_UNSENT_MAX = 1024 * 1024,
    CHANNEL_FINISH_MS = 2000,    /* for the peer to close too, when we are done with it */
    CHANNEL_WORK_SAMPLE = 64,    /* pieces of work after which it is asked where a channel should live */
    CHANNEL_MOVE_BUSY_MAX = 700, /* permille: a busier loop gets no more channels */
};

struct channel {
    struct list link;         /* home->channels */
    struct list begun_link;   /* home->begun, while a frame is begun */
    struct list starved_link; /* home->starved */
    struct broker_loop *home;
    const struct broker_listener *listener;
    struct stream *stream;
    struct address peer;
    char *software; /* "name" NUL "version" NUL, as ApiVersions told; NULL */

    struct list requests;
    int request_count;
    struct request *incoming; /* its frame is being read */
    size_t incoming_got;
    uint8_t prefix[4];
    uint8_t prefix_got;
    uint8_t *stash; /* bytes read but not yet parsed, while reading is stopped */
    size_t stash_size;

    int64_t last_active_ms, finish_due_ms;
    struct broker_loop *away; /* the other loop most work went to lately */
    uint16_t work_count, away_count;
    bool must_move;
    int32_t fetch_session_id; /* last used: it moves, too */
    struct loop_message moving;
    struct detached_stream *detached;
    struct fetch_session *moving_session;
    struct loop_timer mute;
    bool is_starved, is_muted, is_refusing, is_finishing, is_closed, is_reading;
    bool is_advancing, must_advance;
    int busy; /* calls of ours on the stack: freed when none is left */
};

/* On the loop that the stream belongs to. Takes the stream over. */
MUST_USE enum error channel_open(struct broker_loop *home, const struct broker_listener *listener,
                                 struct stream *stream);
void channel_close(struct channel *channel);
/* No more requests; what is queued is sent, then it closes. */
void channel_finish(struct channel *channel);
/* A request of this channel is answered now. */
void channel_answered(struct channel *channel);

/* A piece of a request's work is done on `home`: a partition's append or read. Loop of the channel. */
void channel_count_work(struct channel *channel, const struct loop *home);

void channel_loop_init(struct broker_loop *home);
void channel_loop_close(struct broker_loop *home); /* all of its channels */
/* Bytes of the budget were given back: channels that starve may go on. Any thread. */
void channel_feed(struct broker *broker);
