/* adversary.h: what happens to the one node and to the network of a world, drawn from its seed. */
#pragma once
#include "tools.h"
#include "world.h"

/* plan.steps blows, one after the other, with some time for life between them. */
void adversary_live(struct world *world, struct tools *tools);
/* Everything is well again and the node is up. */
void adversary_heal(struct world *world);
/* One last death or clean stop, then the node is up again. */
void adversary_last_restart(struct world *world);
