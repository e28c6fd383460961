/* membership.h: who belongs to a quorum, as it lies in CHANGE entries and in snapshots, and travels between members.
 *
 *     01 | count u64 | id u64, text, 00, role u8 | ... | zeros up to 8 bytes        little-endian
 *     text: "ID INCARNATION CLUSTER PORT HOST ABOUT", the two middle numbers as 16 hexadecimal digits; -ID for a seat that leaves
 *
 * The frame is that of the Raft library, which reads CHANGE entries itself (an address is any text to it); it checks no length,
 * so whatever comes from a disk or a wire passes membership_decode first.
 *
 * An incarnation is the random number of a member's directory: a member whose disk was replaced has another one, and is known by
 * it for somebody who has forgotten what it promised. 0: not yet known (the founders' entry). The cluster's number is drawn
 * by the first leader; 0 before that.
 *
 * Owner   strings are the membership's own. Zeroed: nobody. Errors  ERR_CORRUPT, ERR_CONFIG, ERR_NOMEM.
 */
#pragma once
#include "quorum/quorum.h"

enum seat_role { SEAT_STANDBY, SEAT_VOTER, SEAT_SPARE }; /* the library's numbers */

/* A seat that leaves belongs to nobody's list any more: its member is only told what happens until it knows that it is out, and then
 * the seat goes, too. It has no vote.
 * A seat that is owed is a note, for leaders to come: its member was taken out because its directory is another one, and gets its part
 * back when it has caught up. It is a spare under the number 1000 + id; its incarnation is the part (a seat_role). */
struct seat {
    int32_t id;
    enum seat_role role;
    bool is_owed, is_leaving;
    uint64_t incarnation;
    uint16_t port;
    char *host, *about;
};

struct membership {
    struct seat seats[2 * QUORUM_MEMBERS_MAX]; /* by rising id, those that are owed last */
    int count;
    uint64_t cluster;
    uint64_t index; /* of its entry */
};

void membership_free(struct membership *membership);
MUST_USE enum error membership_copy(const struct membership *from, struct membership *to);
/* ERR_CONFIG: an id out of range or given twice, a host that is none, no voter. */
MUST_USE enum error membership_of(const struct quorum_member *members, int count,
                                  struct membership *membership);
/* Free *out. */
MUST_USE enum error membership_encode(const struct membership *membership, uint8_t **out, size_t *size);
MUST_USE enum error membership_decode(struct slice bytes, struct membership *membership);

/* NULL: none. */
struct seat *membership_seat(struct membership *membership, int32_t id);
struct seat *membership_owed(struct membership *membership, int32_t id);
int membership_voters(const struct membership *membership);
/* Adds a copy in its place. ERR_LIMIT. */
MUST_USE enum error membership_add(struct membership *membership, const struct seat *seat);
void membership_remove(struct membership *membership, const struct seat *seat);
/* One number for who founds: ids, parts, hosts, ports. */
uint64_t membership_hash(const struct membership *membership);
