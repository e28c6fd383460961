/* election.h: who leads, given who is assigned, in sync and alive. Pure.
 *
 *   kind                 candidate                                          new ISR                     recovering
 *   offline              first assigned that lives and is in sync           those in sync that live
 *   unclean              the same; else first assigned that lives           else the leader alone       else yes
 *   reassignment         first of the target that lives and is in sync      as it was
 *   preferred            the first assigned, if it lives and is in sync     as it was
 *   controlled shutdown  first assigned that lives, in sync, not leaving    those not leaving
 *
 * Source: facts/cluster.md 3.6.
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
    struct int32_list live;    /* may be led from; those that shut down are not among them */
    struct int32_list leaving; /* shutting down in good order, still answering */
    struct int32_list target;  /* of a reassignment; else empty */
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
