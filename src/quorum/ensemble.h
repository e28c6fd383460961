/* ensemble.h: a member among several: what drives the core (consensus.h) and does what it decides.
 *
 *     frames from links, writes done, time, appends --> core --> effects --> log, promises, frames to links, machine
 *
 * Effects are only noted when they come; the turn's end does them, in this order: office told, entries applied, what was appended
 * submitted, the log's write begun, frames sent. So many frames of a turn cost one write and one apply, and the machine may call
 * anything of quorum.h from its callbacks.
 *
 * Who may vote. A member whose disk was lost must not vote as if it had never promised anything. So the membership names each member's
 * directory by its incarnation, and a member votes and stands only if the newest membership it has gives it a vote under its own.
 * Founders are not yet named: they vote if their directory says that they founded. A blank member founds when all voting founders say
 * that they are blank, too (or, FOUNDING_PATIENCE_MS after a majority said so, without those that were not seen, saying which:
 * the wiped one among them would be the one that comes back later, and is then refused as of another cluster or caught up as new).
 * A member whose incarnation is not the one in the membership is taken out and in again by the leader (ensemble_change.c): then
 * all that it promised in its earlier life was to a quorum that it does not belong to.
 *
 * Files of this  ensemble.c (the turn), ensemble_open.c (from files to a running core, founding, promises), ensemble_seed.c (data from before), ensemble_send.c (frames
 * to members), ensemble_snapshot.c (snapshots both ways), ensemble_change.c (membership), ensemble_part.c (quorum.h's part of it).
 * Threads  the loop's; ensemble_recover_* run on the recovery's worker.
 */
#pragma once
#include "loop/disk.h"
#include "loop/loop.h"
#include "quorum/consensus.h"
#include "quorum/entries.h"
#include "quorum/inside.h"
#include "quorum/links.h"
#include "quorum/vote.h"

enum {
    PEERS = QUORUM_MEMBER_ZERO + 1, /* by id */
    HEARTBEAT_MS = 100,
    ELECTION_MS = 1000,
    FOUNDING_PATIENCE_MS = 5000,
    SEND_AHEAD_BYTES = 512 << 10, /* given to a stream before its first byte is gone */
    FRAME_FILL_BYTES = 256 << 10, /* of entries in a frame */
    ARRIVAL_BYTES = 4 << 20,      /* of a snapshot received before they are written */
    MEMORY_BYTES = 16 << 20,      /* of entries kept for members that lag */
    MARK_STEP_BYTES = 64 << 10,   /* from one known place in a log file to the next */
    READ_BYTES = 1 << 20,         /* of entries read from files at once */
};

/* Where an entry lies. */
struct log_mark {
    uint64_t index, file_first;
    int64_t position;
};

/* Entries on their way from the files. */
struct log_read {
    struct lane_job job;
    struct ensemble *ensemble;
    bool is_running, is_void; /* void: nobody wants it any more */
    uint64_t first, next;     /* wanted: from `first`, below `next`; read: below `next` */
    size_t limit;
    struct log_mark mark;
    struct bytes *bytes; /* as frames carry them: heads and bytes */
    size_t at;           /* read up to here by `cursor` */
    uint64_t cursor;
    enum error err;
};

struct peer {
    struct ensemble *ensemble;
    int32_t id;
    bool is_up, is_paused;
    bool is_stranger_told; /* to the operator; once */
    struct frame_hello hello;
    struct frame *queue; /* Raft's, oldest first from `head` */
    size_t head, count, capacity;
    uint64_t told_commit; /* the commit that frames on their way carry */
    struct list parcels;  /* the machine's messages */
    size_t parcel_bytes;
    struct log_read read;
    bool is_owed_snapshot; /* the core counts on it that the member gets it, whatever becomes of the link */
    bool is_sending, has_begun_sending, has_sent_snapshot;
    struct frame_snapshot sending;
    struct file *sending_file;
    uint64_t sending_position;
    struct lane_job sending_job;
    bool is_sending_job, is_sending_void; /* void: what the job reads is for nobody */
    struct bytes *sending_bytes;
    enum error sending_err;
};

/* A snapshot from the leader. */
struct arrival {
    struct lane_job job;
    bool is_open, is_running, is_void; /* void: the job that runs is for nothing */
    int32_t from;
    struct frame_snapshot frame;
    uint64_t position;                      /* received */
    struct quorum_batch gathering, writing; /* bytes, not records */
    struct loop_timer drop_timer;           /* of a link over which it came in vain */
    int32_t declined;                       /* whose came at a bad time: its link begins anew; 0: nobody's */
    /* the job's, while it runs */
    struct file *file;
    int64_t written;
    bool job_ends;
    struct membership membership;
    enum error err;
};

enum founding { FOUNDING_NO, FOUNDING_VOTE, FOUNDING_LOG, FOUNDING_DONE };

struct ensemble {
    struct quorum *quorum;
    int32_t id;
    int32_t heartbeat_ms, election_ms;
    uint32_t seed;
    struct membership founders;
    uint64_t founders_hash;
    char *listen_host;
    struct tls_peers tls;

    struct consensus *core;
    struct links *links;
    struct peer peers[PEERS];
    struct entries entries;
    size_t memory_bytes; /* of them, where nobody needs them */
    struct log_mark *marks;
    size_t mark_count, mark_capacity;

    uint64_t submitted;   /* below or at it: the core knows */
    uint64_t written;     /* below or at it: in the files */
    uint64_t cut;         /* of the files, once the write that runs is done; 0: none */
    bool is_cut_in_files; /* what is cut was there before that write */
    uint64_t applied_term;
    int64_t pending_bytes; /* appended here in this office, and not yet applied */
    struct consensus_entry *submitting;
    size_t submitting_capacity;
    struct membership committed; /* index 0: the founders, nobody has said otherwise */
    struct membership *changes;  /* in the log, not yet applied, by rising index */
    size_t change_count, change_capacity;
    struct quorum_member *told; /* quorum_members */

    struct quorum_standing standing; /* as told */
    uint64_t office_index;           /* once it is applied the office is ours; 0: we do not lead */
    uint64_t office_term;
    struct loop_message turn;
    bool is_expecting_leader; /* linked as long as it leads: it is no member */
    bool is_turn_deferred, is_submitting, is_begun;
    struct loop_timer timer, end_timer;

    /* promises */
    char vote_path[QUORUM_PATH_SIZE];
    struct vote_file vote_file;
    struct vote vote, vote_written, vote_writing;
    struct lane_job vote_job;
    bool is_vote_running;
    enum error vote_err;
    struct loop_timer vote_retry;

    /* founding */
    enum founding founding;
    int64_t founding_since_ms; /* a majority was blank; -1: not yet */
    struct loop_timer founding_timer;

    /* a leader that is gone */
    struct loop_timer hurry_timer;
    int hurries_left;
    uint64_t hurry_term;

    struct log_read apply_read;

    /* snapshots */
    struct arrival arrival;
    bool wants_install, is_installing;
    struct lane_job install_job;
    enum error install_err;
    uint64_t sending_oldest; /* atomic: the oldest snapshot on its way to somebody; UINT64_MAX: none */
    struct membership snapshot_membership; /* of the one being written */

    /* membership (ensemble_change.c) */
    struct membership wanted;
    bool is_changing;
    uint64_t farewell_index; /* what those that leave must have applied, the leader among them */
    int64_t farewell_ms,
        farewell_heard_ms; /* since when they leave, and since when all have it; -1: not yet */
    bool is_parting;       /* we lead and are out: the core is told when the farewell is applied */
    void (*changed)(void *context, enum error err);
    void *changed_context;
    struct loop_timer change_timer;
    uint64_t change_nearness; /* of those that it waits for */
    int64_t change_moved_ms;

    /* recovery */
    struct consensus_entry *past;
    size_t past_count, past_capacity;
    uint64_t past_first, snapshot_term;
    bool is_past_stale, has_vote;
    uint32_t seed_crc; /* of the machine's chunks in the snapshot */
    bool is_seeded;    /* begins with an imported snapshot, which all founders must have */
    bool is_growing;   /* has the data of a keeper that stood alone, and waits for blank members */
    int32_t rival;     /* who else has data then; 0: nobody */
};

/* --- for quorum.c, recovery.c and snapshot.c --- */
MUST_USE enum error quorum_ensemble_new(struct quorum *quorum, const struct quorum_config *config,
                                        struct ensemble **ensemble);
void quorum_ensemble_free(struct ensemble **ensemble);
/* On a worker. */
MUST_USE enum error ensemble_recover_begin(struct ensemble *ensemble);
void ensemble_recover_chunk(struct ensemble *ensemble, struct slice chunk);
MUST_USE enum error ensemble_recover_members(struct ensemble *ensemble, struct slice chunk);
MUST_USE enum error ensemble_recover_record(struct ensemble *ensemble, const struct quorum_record *record,
                                            uint64_t file_first, int64_t position);
MUST_USE enum error ensemble_recover_end(struct ensemble *ensemble);
/* On the loop again. */
MUST_USE enum error ensemble_begin(struct ensemble *ensemble);
void ensemble_close(struct ensemble *ensemble);
bool ensemble_is_busy(const struct ensemble *ensemble);
void ensemble_failed(struct ensemble *ensemble);
/* What quorum->writing holds is on the disk. */
void ensemble_written(struct ensemble *ensemble);
/* The disk had no room for it: it is written again later. */
void ensemble_unwritten(struct ensemble *ensemble);
MUST_USE enum error ensemble_append(struct ensemble *ensemble, const struct slice *parts, int count,
                                    size_t size, uint64_t *index);
MUST_USE enum error ensemble_snapshot_begin(struct ensemble *ensemble);
void ensemble_snapshot_done(struct ensemble *ensemble);
/* Any thread. */
bool ensemble_sends_snapshot(const struct ensemble *ensemble, uint64_t index);

/* --- between the files of this --- */
void ensemble_turn_soon(struct ensemble *ensemble);
/* Notes what the core decided. An error of the core is final. False: it has failed. */
bool ensemble_take(struct ensemble *ensemble, enum error err, const struct consensus_effects *effects);
/* Of the committed membership. False: it has failed. */
bool ensemble_tell_core(struct ensemble *ensemble);
/* The newest membership in the log. */
struct membership *ensemble_membership(struct ensemble *ensemble);
bool ensemble_may_vote(struct ensemble *ensemble);
bool ensemble_is_blank(const struct ensemble *ensemble);
static inline int64_t ensemble_now_ms(const struct ensemble *ensemble)
{
    return loop_now_ms(ensemble->quorum->loop);
}
/* Puts the membership of a CHANGE behind the others. */
MUST_USE enum error ensemble_note_change(struct ensemble *ensemble, uint64_t index, struct slice bytes);
/* To the log (what is gathered) and to memory. */
MUST_USE enum error ensemble_log(struct ensemble *ensemble, uint64_t index, uint64_t term,
                                 enum entry_kind kind, struct slice bytes);
void ensemble_mark(struct ensemble *ensemble, uint64_t index, uint64_t file_first, int64_t position);
/* What was appended goes to the core. */
void ensemble_submit_pending(struct ensemble *ensemble);
void ensemble_expect(struct ensemble *ensemble);
/* ensemble_part.c: who can take office soonest; 0: nobody. */
int32_t ensemble_nearest_voter(struct ensemble *ensemble);

/* ensemble_open.c */
MUST_USE enum error ensemble_start_core(struct ensemble *ensemble);
MUST_USE enum error ensemble_vote_make(struct ensemble *ensemble); /* its file; on a worker */
void ensemble_promise(struct ensemble *ensemble);                  /* writes ensemble->vote */
bool ensemble_is_promised(const struct ensemble *ensemble);
void ensemble_found_maybe(struct ensemble *ensemble);
void ensemble_founded_written(struct ensemble *ensemble);
void ensemble_hello(void *context, struct frame_hello *hello);
enum error ensemble_check(void *context, const struct frame_hello *hello);

/* ensemble_seed.c, on a worker: before the files are read, and after. */
MUST_USE enum error ensemble_seed_take(struct ensemble *ensemble);
MUST_USE enum error ensemble_seed_check(struct ensemble *ensemble);
/* Whoever holds a growing member up; 0: nobody any more. */
void ensemble_rival_note(struct ensemble *ensemble, int32_t id);

/* ensemble_send.c */
void peer_enqueue(struct ensemble *ensemble, const struct consensus_message *message);
/* Entries and snapshots of an office that has ended. */
void peers_forget_office(struct ensemble *ensemble);
void peer_forget(struct peer *peer);
void peers_pump(struct ensemble *ensemble);
void peer_pump(struct peer *peer);
MUST_USE enum error peer_parcel(struct peer *peer, const struct slice *parts, int count);
/* Starts reading [first, ...) from the files; `done` is the job's. False: there is no such place. */
bool log_read_start(struct ensemble *ensemble, struct log_read *read, uint64_t first, uint64_t next,
                    void (*done)(struct lane_job *job));
/* The next entry that was read; false: none is left. */
bool log_read_next(struct log_read *read, struct frame_entry *entry);
void log_read_free(struct log_read *read);

/* ensemble_snapshot.c */
void peer_snapshot_send(struct peer *peer, const struct frame_snapshot *frame);
void peer_snapshot_pump(struct peer *peer);
void peer_snapshot_void(struct peer *peer);
/* Is it there by now? */
void peer_snapshot_check(struct peer *peer);
MUST_USE enum error arrival_hear(struct ensemble *ensemble, int32_t from, const struct frame *frame);
void arrival_void(struct ensemble *ensemble);
void arrival_free(struct arrival *arrival);
void arrival_drop_run(struct loop_timer *timer);
/* The core has decided: the arrival replaces log and machine. */
void ensemble_install_maybe(struct ensemble *ensemble);

/* ensemble_change.c */
void ensemble_change_run(struct ensemble *ensemble);
void ensemble_change_end(struct ensemble *ensemble, enum error err);
/* A membership was committed. */
void ensemble_change_committed(struct ensemble *ensemble);
/* Steps down, when all is said that a leader has to say that is out. */
void ensemble_step_down(struct ensemble *ensemble);
void ensemble_change_timer_run(struct loop_timer *timer);
