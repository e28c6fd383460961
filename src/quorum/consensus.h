/* consensus.h: the deciding part of several members: Raft's state, event and time in, effects out. It knows entries only by their
 * term and kind, does no I/O, and nothing of the library behind it (cowsql raft's pure core) shows here, so that another core could
 * stand in its place.
 *
 *     start, tick, receive, submit, persisted, ... --> struct consensus_effects: what must now be done, in this order:
 *       term or vote   must be on the disk before any message of this or a later step leaves
 *       entries        to the log; those that were there from `first` on are void
 *       installs       the snapshot that was received takes the place of log and machine; then consensus_installed
 *       messages       to their members, in order of each
 *       commit         what may be applied
 *
 * What the library needs from us, and where it is kept (see the tests of consensus and ensemble):
 *   - links are FIFO and nothing of an old connection arrives (links.c);
 *   - a CHANGE comes first in what is received, and alone in what is submitted (the callers cut so; asserted here);
 *   - after `installs` nothing of the old log is applied (ensemble.c);
 *   - a follower's rejections while it gets a snapshot would make the leader start over: they are said as "still here"; one of an
 *     index at or below our snapshot is said as an acceptance of the snapshot, which is committed and so the same (here);
 *   - a rejection of a stale term leaves a field unset (here);
 *   - a sole voter leads without a new term (here);
 *   - persisted indexes rise, and none is told of entries that were cut since (ensemble.c).
 *
 * Errors   ERR_NOMEM and ERR_CORRUPT (two leaders of a term, or a committed entry that differs) are final: the member must stop.
 * Time     ms of one monotonic clock. Effects and what they point to hold until the next call.
 */
#pragma once
#include "quorum/frames.h"
#include "quorum/membership.h"

struct consensus;

enum consensus_state { CONSENSUS_FOLLOWER, CONSENSUS_CANDIDATE, CONSENSUS_LEADER };

/* An entry as the start needs it: bytes only of a CHANGE. */
struct consensus_entry {
    uint64_t term;
    enum entry_kind kind;
    struct slice bytes;
};

struct consensus_message {
    int32_t to;
    struct frame
        frame; /* ENTRIES: count and indexes, the bytes are the sender's to fill in; SNAPSHOT: likewise its size */
};

struct consensus_effects {
    bool has_promised; /* term or vote changed */
    bool has_turned;   /* state or leader may have changed */
    bool has_committed;
    uint64_t first; /* of the entries to log; 0: none */
    uint32_t entry_count;
    const struct consensus_entry *entries;
    bool installs;
    const struct consensus_message *messages;
    int message_count;
};

struct consensus_config {
    int32_t id;
    uint32_t seed, heartbeat_ms, election_ms;
};

/* What is on the disk. */
struct consensus_past {
    uint64_t term;
    int32_t voted_for;
    uint64_t snapshot_index, snapshot_term; /* 0: none */
    const struct membership *membership;    /* the snapshot's */
    uint64_t first;                         /* of the entries */
    const struct consensus_entry *entries;
    uint32_t entry_count;
};

MUST_USE enum error consensus_new(const struct consensus_config *config, struct consensus **consensus);
void consensus_free(struct consensus **consensus);
MUST_USE enum error consensus_start(struct consensus *consensus, int64_t now_ms,
                                    const struct consensus_past *past, struct consensus_effects *effects);
MUST_USE enum error consensus_tick(struct consensus *consensus, int64_t now_ms,
                                   struct consensus_effects *effects);
/* When to tick at the latest. */
int64_t consensus_deadline_ms(const struct consensus *consensus);
/* ENTRIES .. SNAPSHOT; a SNAPSHOT once it lies here whole and checked, with its membership. */
MUST_USE enum error consensus_receive(struct consensus *consensus, int64_t now_ms, int32_t from,
                                      const struct frame *frame, const struct membership *membership,
                                      struct consensus_effects *effects);
/* Leader only, all of the current term; a CHANGE alone. ERR_NOT_LEADER, ERR_BUSY (a change is under way). */
MUST_USE enum error consensus_submit(struct consensus *consensus, int64_t now_ms,
                                     const struct consensus_entry *entries, uint32_t count,
                                     struct consensus_effects *effects);
/* Every entry up to `index` is on the disk. */
MUST_USE enum error consensus_persisted(struct consensus *consensus, int64_t now_ms, uint64_t index,
                                        struct consensus_effects *effects);
MUST_USE enum error consensus_installed(struct consensus *consensus, int64_t now_ms, uint64_t index,
                                        uint64_t term, const struct membership *membership,
                                        struct consensus_effects *effects);
/* The CHANGE entry of membership->index is committed. */
MUST_USE enum error consensus_membership(struct consensus *consensus, int64_t now_ms,
                                         const struct membership *membership,
                                         struct consensus_effects *effects);
/* A snapshot of our own was published; entries below `first` are gone from the disk. */
MUST_USE enum error consensus_snapshot(struct consensus *consensus, int64_t now_ms, uint64_t index,
                                       uint64_t first, const struct membership *membership,
                                       struct consensus_effects *effects);
/* Leader only. to 0: whoever is furthest. ERR_NOT_FOUND, ERR_NOT_LEADER. */
MUST_USE enum error consensus_transfer(struct consensus *consensus, int64_t now_ms, int32_t to,
                                       struct consensus_effects *effects);
/* A snapshot is on its way to us: rejections are said as "still here". */
void consensus_receiving(struct consensus *consensus, bool is_receiving);
/* The leader's process is gone: its followers need not wait out its silence before they grant a pre-vote. */
void consensus_forget_leader(struct consensus *consensus);
/* Stands for election at the next tick, or asks for pre-votes again. A follower only, or a candidate that has not yet won its pre-votes. */
void consensus_hurry(struct consensus *consensus);

/* A member that may not stand: its clock begins anew. */
void consensus_rest(struct consensus *consensus, int64_t now_ms);

enum consensus_state consensus_state(const struct consensus *consensus);
int32_t consensus_leader(const struct consensus *consensus); /* 0: unknown */
uint64_t consensus_term(const struct consensus *consensus);
int32_t consensus_voted_for(const struct consensus *consensus);
uint64_t consensus_commit_index(const struct consensus *consensus);
uint64_t consensus_last_index(const struct consensus *consensus);
uint64_t consensus_stored_index(const struct consensus *consensus); /* as consensus_persisted said */
/* Leader only: the last index a member is known to have; 0: unknown. */
uint64_t consensus_match_index(const struct consensus *consensus, int32_t id);
/* Leader only: a hand-over is under way, so nothing is taken. */
bool consensus_is_transferring(const struct consensus *consensus);
/* A CHANGE that is not yet committed. */
bool consensus_is_changing(const struct consensus *consensus);
