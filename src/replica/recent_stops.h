/* recent_stops.h: which partitions were deleted here last, and up to which leader epoch.
 *
 * A partition that is gone has no epoch left to hold LeaderAndIsr against. A controller that hears no answer sends again over another
 * connection, and goes on; what lay in the first may come at last, behind the StopReplica that it was sent before, and would make
 * the log anew. Another controller begins with all that is true, so nothing is held against it.
 *
 * Bound  the last RECENT_STOPS; of whole topics metadata_is_gone knows more. Owner  replicas.h, control loop; zeroed = empty.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"

enum { RECENT_STOPS = 128 };

struct recent_stop {
    struct uuid topic_id;
    int32_t index, leader_epoch;
};

struct recent_stops {
    struct recent_stop items[RECENT_STOPS]; /* from count % RECENT_STOPS back */
    size_t count;
    int32_t controller_epoch; /* whose words they were */
};

/* Deleted by a controller that knew of `leader_epoch`; INT32_MAX: for good. Topics without an id are not kept. */
void recent_stops_note(struct recent_stops *stops, int32_t controller_epoch, const struct uuid *topic_id,
                       int32_t index, int32_t leader_epoch);
/* Is this controller's word on this epoch older than its own deletion? */
bool recent_stops_cover(const struct recent_stops *stops, int32_t controller_epoch,
                        const struct uuid *topic_id, int32_t index, int32_t leader_epoch);
