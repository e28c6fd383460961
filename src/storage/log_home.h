/* log_home.h: what one loop does, by itself, for the logs that live on it.
 *
 *     append --> dirty list --one second later--> index entries, epoch file written
 *            \-> flush.messages, flush.ms, a roll --> flush on the sync lane --> log_synced_end_offset, on_synced
 *     delete --> garbage --file.delete.delay.ms later--> unlinked on the slow lane
 *     every log.retention.check.interval.ms: retention and producer expiry of each log
 *
 * A quiet home has no timer running but the retention one.
 *
 * Owner    its loop. Logs come by log_set_home.
 * Errors   a failed write or sync takes the log directory offline and is reported by the store's on_dir_failed.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "loop/loop.h"

struct log;
struct log_store;

struct log_home {
    struct log_store *store;
    /* NULL: no timers; flushes happen at once, garbage goes at the next start (tests, tools) */
    struct loop *loop;
    struct list logs; /* of struct log, home_link */
    /* of struct log, dirty_link: index entries or epochs not written, or bytes to be flushed */
    struct list dirty;
    struct list flush_asked;
    struct list garbage; /* of struct log_garbage, in order of their due time */
    struct loop_timer dirty_timer, garbage_timer, retention_timer;
    struct loop_message flush_message;
    int64_t dirty_due_ms;
    bool flush_deferred, is_closing;
    size_t jobs_in_flight;
    size_t retention_left;          /* logs still to be looked at in this round */
    void (*on_idle)(void *context); /* see log_home_close */
    void *idle_context;
};

void log_home_init(struct log_home *home, struct log_store *store, struct loop *loop);
/* Stops timers; takes no more work; calls on_idle (deferred or now) when no job is in flight. Logs must have been moved to
 * another home or closed. Files still waiting to be unlinked go at the next start. */
void log_home_close(struct log_home *home, void (*on_idle)(void *context), void *context);
/* Something on a worker that the home is to wait for before it is idle. */
void log_home_job_begin(struct log_home *home);
void log_home_job_end(struct log_home *home);
