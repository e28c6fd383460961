/* keepers_siege.h: what happens to the members of an ensemble and to the network between them and the guests, drawn from its seed.
 *
 * Blows overlap: a member stays down, cut off or full for a while, and meanwhile others fall. Everything may be lost at once but
 * disks: one disk may be new at a time, and only while all others are up and level with each other.
 */
#pragma once
#include "keepers.h"

struct keepers_siege;

struct keepers_siege *keepers_siege_new(struct keepers *keepers);
void keepers_siege_free(struct keepers_siege **siege);
/* plan.steps blows, with some time for life between them. */
void keepers_siege_live(struct keepers_siege *siege);
/* Everything is well again and all members are up. */
void keepers_siege_heal(struct keepers_siege *siege);
/* One last death or clean stop of every member, one after the other or all at once, then all are up again. */
void keepers_siege_last_restart(struct keepers_siege *siege);
