/* members.h: who is in the ensemble, as clients see it and change it.
 *
 * /zookeeper/config holds the server lines and "version=" with the zxid that made them so. What counts is the membership of the log; the
 * leader writes the znode when both differ: on taking office, and after a change.
 *
 * A reconfig request goes to the leader beside the queue of entries, for it takes as long as newcomers take to catch up; its connection is
 * read no further until then. The leader checks it (in ZooKeeper's order), changes the membership, and only then makes an entry of it, with
 * what came of it, for the member that waits.
 *
 * Source: facts/keeper.md 1.5, 3.1; PrepRequestProcessor of ZooKeeper 3.9.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct keeper;
struct entry;
struct quorum_member;

/* The one that is under way on the leader. */
struct reconfig {
    bool is_running;
    uint32_t number; /* of this one: a change that ends after it was given up finds another */
    uint8_t origin;
    uint32_t life, sequence;
    int64_t session;
    int32_t cxid;
    struct text ids, lines;
};

/* NULL: no member. */
const struct quorum_member *members_find(const struct keeper *keeper, int32_t id);
/* A reconfig from whichever member; the leader only. */
void members_reconfig(struct keeper *keeper, const struct entry *entry);
/* Out of office. */
void members_forget(struct keeper *keeper);
/* The leader: lets /zookeeper/config say what is. */
void members_tell(struct keeper *keeper);
void members_changed(void *context);
