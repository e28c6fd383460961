/* siege.h: what happens to the machines of a cluster and to the network between them, drawn from its seed.
 *
 * Blows overlap: a machine stays down, cut off or full for a while, and meanwhile others fall. While a machine is hurt (its power
 * went and what it had not synced is gone), only such blows come as the promise bears (witness_may_lose, witness_may_hurt).
 */
#pragma once
#include "world.h"

struct siege;

struct siege *siege_new(struct world *world);
void siege_free(struct siege **siege);
/* plan.steps blows, with some time for life between them. */
void siege_live(struct siege *siege);
/* Everything is well again, all servers are up, and all replicas in sync. */
void siege_heal(struct siege *siege);
/* One last death or clean stop of every broker, one after the other or all at once, then all are up and in sync again. */
void siege_last_restart(struct siege *siege);
