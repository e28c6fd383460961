/* ensemble_siege.h: what happens to the members of an ensemble and to the network between them and the guests, drawn from its seed.
 *
 * Blows overlap: a member stays down, cut off or full for a while, and meanwhile others fall. Everything may be lost at once but
 * disks: one disk may be new at a time, and only while all others are up and level with each other.
 */
#pragma once
#include "ensemble.h"

struct ensemble_siege;

struct ensemble_siege *ensemble_siege_new(struct ensemble *ensemble);
void ensemble_siege_free(struct ensemble_siege **siege);
/* plan.steps blows, with some time for life between them. */
void ensemble_siege_live(struct ensemble_siege *siege);
/* Everything is well again and all members are up. */
void ensemble_siege_heal(struct ensemble_siege *siege);
/* One last death or clean stop of every member, one after the other or all at once, then all are up again. */
void ensemble_siege_last_restart(struct ensemble_siege *siege);
