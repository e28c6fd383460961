/* move.h: replicas on their way to another log directory of this broker (AlterReplicaLogDirs, KIP-113), on their home loop.
 *
 *     waits --its turn--> is copied --even with its log--> is marked --even again--> storage/move.h: log_move_swap
 *
 * A loop copies one replica after another: a second copy at the same time would only make both slow. Bytes are read by a worker; what
 * little is left in the end, or comes meanwhile, within the turn in which the logs are exchanged. Records that come too fast for
 * that wait for nothing: the copy follows them.
 *
 * Pauses   while the partition has no role, or its log is offline; goes on with moves_look. What is found after a restart is moved on
 *          when the partition gets its first role.
 * Slowed   by replica.alter.log.dirs.io.max.bytes.per.second, all loops together.
 * Owner    the loop. Errors: a target that fails ends the move, and the replica stays where it is.
 * Source   facts/cluster.md 5.11; KIP-113.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "loop/loop.h"
#include "storage/log_home.h"

struct lane;
struct log;
struct partition;
struct throttle;

/* A move is over: is_moved, and `left` is the old log, or it was given up, and `left` is the future one. Nobody on this loop has
 * `left` any more. To be freed by move_end_free, on any thread; the message is the receiver's to use. */
struct move_end {
    struct loop_message message;
    void *context;
    struct slice topic;
    int32_t index;
    struct log *left;
    bool is_moved;
};
void move_end_free(struct move_end **end);

struct moves {
    struct loop *loop;
    struct lane *lane;
    struct throttle *throttle;
    struct list moves; /* the first that can is the one being copied */
    struct loop_timer timer;
    struct loop_message go_on;
    bool is_out;      /* a worker has a part of it */
    bool is_deferred; /* go_on is */
    void (*ended)(void *context, struct move_end *end);
    void *context;
};

void moves_init(struct moves *moves, struct loop *loop, struct lane *lane, struct throttle *throttle);
/* The partition has a log and a home. ERR_NOMEM: nothing happens. */
MUST_USE enum error moves_begin(struct moves *moves, struct partition *partition, struct log *future,
                                struct log_home *home);
/* Gives up: the future log, which nobody on this loop has any more. NULL: it was not moved. */
struct log *moves_end(struct partition *partition);
/* Its role changed. */
void moves_look(struct partition *partition);
/* NULL: it is not being moved. */
struct log *moves_future(const struct partition *partition);
/* No more of them, as the loop is to end. */
void moves_close(struct moves *moves);
