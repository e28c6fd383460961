/* status_members.h: what a member of an ensemble tells of it: lines of conf, dump and mntr, admin commands, figures. Nothing of it
 * is said by a keeper alone.
 *
 * Owner   the keeper's loop. Source: facts/keeper.md 3.2, 3.3, and Apache's own answers. */
#pragma once
#include "keeper/inside.h"
#include "keeper/report.h"

bool status_is_member(const struct keeper *keeper);
/* "following - broadcast"; NULL: it has no part in the ensemble at the moment. */
const char *status_peer_state(const struct keeper *keeper);

struct status_learners {
    int64_t voters;               /* of the ensemble */
    int64_t followers, observers; /* linked to us; what a leader tells */
};
void status_learners(const struct keeper *keeper, struct status_learners *learners);

/* What follows serverId in conf. */
void status_add_membership(const struct keeper *keeper, struct text *out);
/* Of dump, for one that does not expire sessions: the sessions with their timeouts. */
void status_add_global_sessions(const struct keeper *keeper, struct text *out);

/* The contents of admin commands. */
void status_report_leader(const struct keeper *keeper, struct report *report);
void status_report_observers(const struct keeper *keeper, struct report *report);
void status_report_voting_view(const struct keeper *keeper, struct report *report);
void status_report_zabstate(const struct keeper *keeper, struct report *report);

/* The office is about to become `next`; and the leader appended an entry of `size` bytes. For the figures. */
void status_office_changes(struct keeper *keeper, enum office_state next);
void status_proposed(struct keeper *keeper, size_t size);
