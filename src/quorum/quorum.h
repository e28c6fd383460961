/* quorum.h: a replicated log that feeds a state machine: of one member, or of several on Raft behind the same functions.
 *
 *     append --> pending --(one worker job: write, fdatasync)--> committed --> machine.apply, in index order
 *
 * Group commit: whatever is appended while a sync runs goes out with the next one, so a lone writer pays one sync each
 * and a thousand writers share it. A small batch needs no worker where the kernel writes it for the loop (straight.c). An entry is applied only after its sync, so what was ever seen is never lost.
 *
 * Files    PREFIXlog-N (N = first index) and PREFIXsnapshot-N (N = last index it holds), drawn in files.h. A log file
 *          is made by the first append, so an empty start syncs nothing. Logs that lie in a directory of their own are named in
 *          PREFIXlogdir, so that nobody starts without them.
 *          Those of several members are of another format. A log of one that is opened with an id goes on as the first member, with
 *          all that it has, once a majority of the founders is there and has nothing (ensemble_seed.c); one of a member becomes a log of
 *          one when its PREFIXvote was removed, or with leaves_silent (convert.c, alone.c).
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
#include "loop/tls.h"
#include "metrics/summary.h"

struct quorum;
struct loop;
struct lane;
struct disk;

enum {
    QUORUM_MEMBERS_MAX = 16,
    QUORUM_MEMBER_TEXT_MAX = 1024,       /* of a host or an about */
    QUORUM_UNSENT_BYTES_MAX = 16 << 20,  /* of the machine's messages to one member */
    QUORUM_MESSAGE_BYTES_MAX = 64 << 20, /* one message of the machine */
};

enum quorum_part { QUORUM_VOTER, QUORUM_OBSERVER };

/* Members have the ids 1..255 here, for 0 is nobody. People number theirs 0..254: 0 is this one. */
enum { QUORUM_MEMBER_ZERO = 255 };
static inline int quorum_member_number(int32_t id)
{
    return id == QUORUM_MEMBER_ZERO ? 0 : (int)id;
}
static inline int32_t quorum_member_of_number(int64_t number)
{
    return number == 0 ? QUORUM_MEMBER_ZERO : (int32_t)number;
}

struct quorum_member {
    int32_t id; /* 1..QUORUM_MEMBER_ZERO */
    enum quorum_part part;
    const char *host; /* where its links are accepted */
    uint16_t port;
    const char *about; /* travels with the membership; not read here */
};

enum quorum_office { QUORUM_LOOKING, QUORUM_FOLLOWING, QUORUM_LEADING };

struct quorum_standing {
    enum quorum_office office;
    int32_t leader; /* 0: unknown */
    uint64_t term;
};

struct quorum_config {
    const char *dir;     /* made when absent */
    const char *log_dir; /* of the log files; NULL: dir */
    const char *prefix;  /* of each file's name, "keeper-" */
    bool force_sync;
    int64_t segment_bytes;     /* a log file is left at about this size; 0: 64 MiB */
    int64_t max_pending_bytes; /* appended and not yet committed; 0: 64 MiB */
    int64_t room_step_bytes;   /* by which a log file grows at once; 0: 256 KiB */
    int64_t slow_sync_ms;      /* a sync that takes longer is told to the operator, and counted; 0: none is */
    int snapshots_kept;        /* by a purge, at least 1; 0: 2 */
    int64_t purge_interval_ms; /* from one purge to the next; 0: after each snapshot */

    /* A log of one: in the directory of a member of several, whose promises are still there, it goes on with what it has if nobody
     * of that ensemble can be reached for half a second (alone.c). False: it is refused. */
    bool leaves_silent;

    /* several members */
    int32_t id; /* of this member; 0: a log of one, without links and without the library */
    const struct quorum_member
        *founders; /* who founds the quorum: read only while the log is empty; the same on each founder */
    int founder_count;
    const char *listen_host;           /* "" or NULL: the host of our own line */
    int64_t memory_bytes;              /* of entries kept for members that lag a little; 0: 16 MiB */
    int32_t heartbeat_ms, election_ms; /* 0: 100, 1000 */
    struct tls_peers tls;              /* of the links; references are taken */
};

/* What is replicated. Entries and chunks are loans. */
struct quorum_machine {
    /* One chunk of a snapshot, as it was given to quorum_snapshot_write; the first call makes the machine empty. */
    enum error (*restore)(void *context, struct slice chunk);
    /* After the last chunk. */
    enum error (*restored)(void *context, uint64_t index);
    /* Entry `index` is committed. An error (entries of a format we do not know) refuses the start; after the start it is a bug. */
    enum error (*apply)(void *context, uint64_t index, uint64_t term, struct slice entry);
    /* Several members only, on the loop; both may be NULL. Between them a snapshot of the leader's replaces what the machine holds: restore and
     * restored are called on the worker meanwhile, and nothing else of the machine may be used. */
    void (*installing)(void *context);
    void (*installed)(void *context);
    /* All that it holds, at once, on the recovery's worker: a log of one becomes one of several, or the other way round. NULL: files of the
     * other kind are refused. */
    enum error (*save)(void *context, void (*write)(void *to, struct slice chunk), void *to);
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

    /* Several members only; each may be NULL. */
    /* Office, leader or term changed. LEADING is told only once everything of earlier terms is committed and applied here, so that what the
     * machine appends next is the first thing of its own in this term. When LEADING ends, entries appended and not yet
     * applied have an unknown outcome. */
    void (*standing)(void *context, const struct quorum_standing *standing);
    /* A message of the machine's own from member `from` (quorum_send). In order within one life of a link. A loan. */
    void (*message)(void *context, int32_t from, struct slice bytes);
    /* The link to a member came up or went down. After down, nothing sent before arrives any more on either side. */
    void (*link)(void *context, int32_t id, bool is_up);
    /* A membership was committed; quorum_members tells it. */
    void (*members)(void *context);
};

/* Begins recovery on `work`; ready comes later. `sync` runs the log's writes. `machine`, `events` are copied; everything else
 * outlives the quorum. */
MUST_USE enum error quorum_open(const struct quorum_config *config, struct loop *loop, struct disk *disk,
                                struct lane *sync, struct lane *work, const struct quorum_machine *machine,
                                const struct quorum_events *events, void *context, struct quorum **quorum);

/* Lets the job at work finish (what it committed is applied no more), then frees and calls `closed` in a later turn. */
void quorum_close(struct quorum **quorum, void (*closed)(void *context), void *context);

/* Copies the parts, one after another, as one entry and says which index it will have. It goes to the disk at the end of
 * this turn. ERR_AGAIN: too much is pending, `room` will be called. ERR_IO: the log has failed. ERR_NOMEM. With several members
 * ERR_NOT_LEADER unless LEADING. Indexes rise but need not be dense: some entries are the quorum's own. */
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
    int64_t syncs, slow_syncs, bytes_written, snapshots;
    int64_t sync_us_sum, sync_us_max;
    bool has_failed, is_disk_full;
};
void quorum_stats(const struct quorum *quorum, struct quorum_stats *stats);
/* How long syncs took, how many entries each had, how long snapshots took from begin to end; of the start, how long the snapshot took, and how
 * many entries of the machine's came after it from the log in which time. The quorum's own: read them, or set them back to zeros. */
struct quorum_times {
    struct summary sync_us, sync_entries, snapshot_us;
    struct summary load_us, replay_us, replayed;
    int64_t snapshots_sent; /* begun to be, to members */
};
struct quorum_times *quorum_times(struct quorum *quorum);
/* The newest snapshot: the entry it ends with, and when it was made; false: there is none. */
bool quorum_last_snapshot(const struct quorum *quorum, uint64_t *index, int64_t *wall_ms);
/* Bytes of files in the directories; asks the file system. */
MUST_USE enum error quorum_disk_bytes(const struct quorum *quorum, int64_t *snapshots, int64_t *logs);

/* --- several members --- */

/* False: built without the Raft library. quorum_open then refuses an id other than 0 with ERR_UNSUPPORTED. */
bool quorum_can_have_members(void);
void quorum_standing(const struct quorum *quorum, struct quorum_standing *standing);
/* ERR_CLOSED: there is no link. ERR_AGAIN: too much is unsent. Copies. Messages share the link with Raft's own, which go first
 * at a turn's end. */
MUST_USE enum error quorum_send(struct quorum *quorum, int32_t to, const struct slice *parts, int count);
/* As committed, by rising numbers, and the index of the entry that made it. A loan until the next `members` event; none with a log of one. */
const struct quorum_member *quorum_members(const struct quorum *quorum, int *count, uint64_t *index);
/* No member any more, but still told what happens until it knows. */
bool quorum_is_leaving(const struct quorum *quorum, int32_t id);
/* Leader only: brings the membership to `members` by single-server changes, newcomers catching up before they vote; done comes once,
 * after the last was committed (or the first failed); what it appends then still reaches those that leave, and a leader that takes
 * itself out leads until that is applied. ERR_BUSY: one is under way; ERR_NOT_LEADER; ERR_CONFIG: no such
 * membership can be. Copies. */
MUST_USE enum error quorum_change(struct quorum *quorum, const struct quorum_member *members, int count,
                                  void (*done)(void *context, enum error err), void *context);
/* Leader only: hands office to the voter `to` (0: whoever is furthest). ERR_NOT_LEADER, ERR_BUSY, ERR_NOT_FOUND. */
MUST_USE enum error quorum_transfer(struct quorum *quorum, int32_t to);
