/* producer.h: idempotent producers (KIP-98): each record once, in order, whatever happens to the node and to the network.
 *
 * A producer has a lane for each partition: batches that were made and not yet acknowledged, oldest first, sequences following
 * one another. Several may be in flight; a failed one, and those behind it, go again with the sequences they had. Only an answer
 * that says the broker has forgotten the producer (or more than its last batch) makes it start over with a new id; what it had in
 * flight is then nobody's, and is not sent again.
 *
 * Careful  producers with one batch at a time in each lane must never be told OUT_OF_ORDER_SEQUENCE_NUMBER: the broker remembers
 *          the last batch of each producer through restarts (its snapshots hold that one alone, facts/storage.md).
 */
#pragma once
#include "world.h"

struct producer;

/* Writes to all partitions that the history has by now. */
struct producer *producer_new(struct world *world, int number);
void producer_free(struct producer **producer);
/* Makes no more records; what was made is sent until it is acknowledged. */
void producer_finish(struct producer *producer);
bool producer_is_idle(const struct producer *producer);
