/* reader.h: the last witness: reads every partition from its first record to its end, all topics' metadata and all groups' offsets,
 * and tells the history.
 *
 * Everybody else must be quiet by then.
 */
#pragma once
#include "world.h"

struct reader;

struct reader *reader_new(struct world *world);
void reader_free(struct reader **reader);
bool reader_is_done(const struct reader *reader);
