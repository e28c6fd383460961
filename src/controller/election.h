/* election.h: who leads, given who is assigned, in sync and alive. Pure.
 *
 *   kind                 candidate                                          new ISR                     recovering
 *   offline              first assigned that lives and is in sync           those in sync that live, but see below
 *   unclean              the same; else first assigned that lives           else the leader alone       else yes
 *   reassignment         first of the target that lives and is in sync      as it was
 *   preferred            the first assigned, if it lives and is in sync     as it was
 *   controlled shutdown  first assigned that lives, in sync, not leaving    those not leaving, but see below
 *
 * Alone   a leader that alone lives of an ISR of several may be dead as well, and we the last to hear of it: with it alone in the ISR
 *         nobody else could ever lead, whatever it lost. A broker of ours is therefore given the ISR as it was and takes the others
 *         out itself once it has synced what is committed (replica/partition_progress.c); Apache's wait too long for that.
 *
 * Source: facts/cluster.md 3.6, 6.4.
 */
#pragma once
#include <stdbool.h>

#include "metadata/znodes.h"

enum election {
    ELECT_OFFLINE,
    ELECT_UNCLEAN,
    ELECT_REASSIGNMENT,
    ELECT_PREFERRED,
    ELECT_CONTROLLED_SHUTDOWN
};

struct candidates {
    struct int32_list replicas; /* assigned, in order of preference */
    struct int32_list isr;
    struct int32_list live;           /* may be led from; those that shut down are not among them */
    struct int32_list leaving;        /* shutting down in good order, still answering */
    struct int32_list target;         /* of a reassignment; else empty */
    struct int32_list shrinks_itself; /* of the living, see Alone */
};

struct elected {
    int32_t leader;
    size_t isr_count;
    int32_t *isr; /* the caller's, with room for isr.count + 1 */
    bool is_recovering;
};

/* False when nobody may lead; `elected` is then untouched, its isr array may be written. */
bool elect_leader(enum election kind, const struct candidates *candidates, struct elected *elected);

bool ids_have(struct int32_list ids, int32_t id);
