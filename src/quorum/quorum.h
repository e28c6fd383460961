/* quorum.h: a replicated log that feeds a state machine. Of one member now; several will stand behind the same functions.
 *
 *     append --> pending --(one worker job: write, fdatasync)--> committed --> machine.apply, in index order
 *
 * Group commit: whatever is appended while a sync runs goes out with the next one, so a lone writer pays one sync each
 * and a thousand writers share it. An entry is applied only after its sync, so what was ever seen is never lost.
 *
 * Files    PREFIXlog-N (N = first index) and PREFIXsnapshot-N (N = last index it holds), drawn in files.h. A log file
 *          is made by the first append, so an empty start syncs nothing.
 * Recovery the newest snapshot, then the log after it. A torn last write is cut; damage anywhere else is refused with
 *          its place named, for what follows it was acknowledged.
 * Threads  the loop's, except that recovery calls machine.restore and machine.apply on a worker, before `ready`.
 * Errors   a failed sync is final: nothing more is committed, `failed` is called once. A full disk is a state: the short
 *          write is cut back and tried again each second; appends wait.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct quorum;
struct loop;
struct lane;
struct disk;

struct quorum_config {
    const char *dir;    /* made when absent */
    const char *prefix; /* of each file's name, "keeper-" */
    bool force_sync;
    int64_t segment_bytes;     /* a log file is left at about this size; 0: 64 MiB */
    int64_t max_pending_bytes; /* appended and not yet committed; 0: 64 MiB */
};

/* What is replicated. Entries and chunks are loans. */
struct quorum_machine {
    /* One chunk of a snapshot, as it was given to quorum_snapshot_write; the first call makes the machine empty. */
    enum error (*restore)(void *context, struct slice chunk);
    /* After the last chunk. */
    enum error (*restored)(void *context, uint64_t index);
    /* Entry `index` is committed. An error (entries of a format we do not know) refuses the start; after the start it is a bug. */
    enum error (*apply)(void *context, uint64_t index, uint64_t term, struct slice entry);
};

struct quorum_events {
    void (*ready)(void *context, enum error err);
    /* After each run of applied entries: answers may be sent. */
    void (*applied)(void *context);
    void (*failed)(void *context, enum error err);
    /* There is room again after quorum_append answered ERR_AGAIN. */
    void (*room)(void *context);
    /* A snapshot is finished (OK) or was given up. */
    void (*snapshot_done)(void *context, enum error err);
    /* The snapshot's writer has caught up: more may be written. */
    void (*snapshot_room)(void *context);
};

/* Begins recovery on `work`; ready comes later. `sync` runs the log's writes. `machine`, `events` are copied; everything else
 * outlives the quorum. */
MUST_USE enum error quorum_open(const struct quorum_config *config, struct loop *loop, struct disk *disk,
                                struct lane *sync, struct lane *work, const struct quorum_machine *machine,
                                const struct quorum_events *events, void *context, struct quorum **quorum);

/* Lets the job at work finish (what it committed is applied no more), then frees and calls `closed` in a later turn. */
void quorum_close(struct quorum **quorum, void (*closed)(void *context), void *context);

/* Copies the parts, one after another, as one entry and says which index it will have. It goes to the disk at the end of
 * this turn. ERR_AGAIN: too much is pending, `room` will be called. ERR_IO: the log has failed. ERR_NOMEM. */
MUST_USE enum error quorum_append(struct quorum *quorum, const struct slice *parts, int count,
                                  uint64_t *index);

uint64_t quorum_last_index(const struct quorum *quorum);    /* appended */
uint64_t quorum_applied_index(const struct quorum *quorum); /* applied */
/* Since the last snapshot began. */
int64_t quorum_log_entries(const struct quorum *quorum);
int64_t quorum_log_bytes(const struct quorum *quorum);

/* A snapshot of the machine as it is now, after quorum_applied_index. The machine hands over its chunks at its own pace
 * (it must give its state as of begin). end publishes it and purges what it makes superfluous; the one before is kept
 * with the log after it. ERR_BUSY: one is being written. */
MUST_USE enum error quorum_snapshot_begin(struct quorum *quorum);
/* Copies the chunk. True: write on; false: better wait for snapshot_room (writing all the same is allowed). */
bool quorum_snapshot_write(struct quorum *quorum, struct slice chunk);
void quorum_snapshot_end(struct quorum *quorum);

struct quorum_stats {
    int64_t syncs, bytes_written, snapshots;
    int64_t sync_us_sum, sync_us_max;
    bool has_failed, is_disk_full;
};
void quorum_stats(const struct quorum *quorum, struct quorum_stats *stats);
