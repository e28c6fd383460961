/* witness.h: who sees every change of the cluster's znodes in the keeper's own tree, as it happens, and checks what must always hold:
 *
 *   - the controller epoch never goes back;
 *   - of each partition: state's version, leader epoch and controller epoch never go back, nor is it written by a deposed
 *     controller; a leader epoch has one leader for ever; no change is made twice; the ISR is a part of the replicas, never empty, and has the leader;
 *
 * and, in the end, that the replicas are equal, byte for byte (witness_compare). It also knows what the adversary may do without
 * going beyond what is promised: one machine less than min ISR may lose its memory at a time.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server;
struct witness;
struct world;

struct witness *witness_new(struct world *world);
void witness_free(struct witness **witness);

/* Cheap when nothing has changed. */
void witness_look(struct witness *witness);

/* States written so far. */
int64_t witness_changes(const struct witness *witness);

/* Who leads the partition and who else is in its ISR, by the znodes: ids[0] is the leader; 0 = nobody leads. */
int witness_isr(const struct witness *witness, const char *topic, int32_t index, int32_t *ids);

/* The broker's machine is about to lose what was not synced: it is hurt until it has left every ISR and come back. */
void witness_hurt(struct witness *witness, const struct server *server);
/* May the broker go away (die, be stopped, be cut off) without making one that is hurt the last in some ISR? */
bool witness_may_lose(const struct witness *witness, const struct server *server);
/* And may it lose its memory, too? */
bool witness_may_hurt(const struct witness *witness, const struct server *server);

/* Every broker is registered, every replica in its ISR, no partition without a leader. */
bool witness_is_whole(const struct witness *witness);
/* In words, what is missing for that. */
void witness_say(const struct witness *witness, char *words, size_t size);
/* What the replicas' disks have in common up to the last record that must be there. Faults go to the history. */
void witness_compare(const struct witness *witness);
