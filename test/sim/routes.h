/* routes.h: which broker leads which partition, as one client knows it from Metadata.
 *
 * Asked again and again, of any broker; an answer that tells of an older leader epoch than the one known changes nothing (as in
 * Apache's clients), so a client never goes back to a deposed leader. In a world of one broker nothing is asked.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "peer.h"

struct route {
    int leader; /* -1 = not known */
    int32_t epoch;
};

struct routes {
    struct world *world;
    struct peer peer;
    struct loop_timer timer;
    struct call call;
    bool is_calling;
    struct route *items; /* by partition of the history */
    size_t count, capacity;
};

void routes_start(struct routes *routes, struct world *world, const char *name);
void routes_stop(struct routes *routes);
/* What is known has proved wrong. */
void routes_refresh(struct routes *routes);
/* -1 = not known yet. */
int routes_leader(const struct routes *routes, size_t partition);
int32_t routes_epoch(const struct routes *routes, size_t partition);
