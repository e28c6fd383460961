/* member.h: groups of simulated consumers (the classic protocol): they join, share out partitions, read, commit, leave and die.
 *
 *     find coordinator -> join -> (the leader assigns) sync -> fetch offsets -> heartbeat | fetch, commit
 *          ^                ^---- rebalance ----------------------------------------'
 *          '---- connection lost, coordinator moved
 *
 * A crew is one group: a number of seats, each taken by a member for a while. A member that dies just hangs up and is replaced
 * later; some have an instance id (KIP-345) and come back as the same.
 *
 * What it checks: one owner for each partition in a generation, offsets found are offsets committed, no record is skipped.
 */
#pragma once
#include "world.h"

struct crew;

/* Reads all partitions that the history has. */
struct crew *crew_new(struct world *world, size_t group);
void crew_free(struct crew **crew);
/* The seats are all taken from now on and nobody leaves or dies any more. */
void crew_settle(struct crew *crew);
/* Every partition was read to the end of what is known, and that is committed. */
bool crew_is_done(const struct crew *crew);
void crew_name(const struct world *world, size_t group, char name[HISTORY_NAME]);
