/* office.h: which part this member plays in its ensemble at the moment.
 *
 *     LOOKING --a leader, and a link to it--> JOINING --all that the leader had when we came--> FOLLOWING
 *     LOOKING --elected-----------------------> ENTERING --our first entry is applied------------> LEADING
 *
 * Writes go to the log from FOLLOWING (through the leader) and LEADING. Whoever loses its leader, or its office, does not know
 * what became of the writes on their way: connections that wait for one are closed, the others stay, their reads are
 * answered from what is here and their writes wait. After `patience` without a leader all clients are closed; a keeper that
 * admits readers then serves those who asked for it.
 *
 * A life is one stretch of this member's requests to one leader: a number drawn anew whenever the leader, its term or the link
 * to it changes. Entries carry it, so an answer that comes too late finds nobody.
 *
 * Between members, by quorum_send (numbers big-endian):
 *     'H' hello     term u64, life u32                   member to leader: I follow you
 *     'W' welcome   term u64, life u32, index u64        leader to member: you are up to date once you have applied this
 *     'F' forward   life u32, an entry                   member to leader: append this (forward.c)
 *     'T' touches   session i64 each                     member to leader: heard of these (forward.c)
 *     'L' lost      session i64, attachment u32          member to leader: a broker's connection ended (forward.c)
 *     'X' renew     life u32                             leader to member: something of this life is lost, begin a new one
 *
 * Source: facts/keeper.md 6.11.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"
#include "quorum/quorum.h"

struct keeper;

enum office_state {
    OFFICE_ALONE, /* a keeper without others */
    OFFICE_LOOKING,
    OFFICE_JOINING,
    OFFICE_FOLLOWING,
    OFFICE_ENTERING,
    OFFICE_LEADING,
};

enum { MEMBER_IDS = 256 };

struct office {
    enum office_state state;
    uint8_t id;     /* 0: alone */
    int32_t leader; /* 0: none */
    uint64_t term;
    uint32_t life, sequence; /* sequence: of the last request of this life */
    uint64_t joined_index;   /* JOINING: what must be applied; 0: not told yet */
    bool owes_epoch;         /* ENTERING: the log had no room for our first entry */
    int64_t told_mark_zxid;  /* the last mark whose digest the others were told */
    bool is_linked[MEMBER_IDS];
    struct hello {
        uint64_t term;
        uint32_t life;
    } hellos[MEMBER_IDS]; /* as they came; term 0: none since the link is up */
    struct loop_timer patience, retry;
};

void office_open(struct keeper *keeper);
void office_close(struct keeper *keeper);

/* The log is recovered. */
void office_ready(struct keeper *keeper);
/* Quorum's events. */
void office_standing(void *context, const struct quorum_standing *standing);
void office_message(void *context, int32_t from, struct slice bytes);
void office_link(void *context, int32_t id, bool is_up);
/* Entries were applied. */
void office_applied(struct keeper *keeper);
/* Our first entry in office was. */
void office_entered(struct keeper *keeper);
/* Something of this life was lost on its way. */
void office_renew(struct keeper *keeper);

/* A write may go to the log. */
bool office_takes_writes(const struct keeper *keeper);
/* Expires sessions, reaps containers. */
bool office_leads(const struct keeper *keeper);
/* As words say it: standalone, leader, follower, observer, read-only. */
const char *office_mode(const struct keeper *keeper);
