/* recompress.h: a topic whose compression.type is not "producer" keeps its batches in its own codec.
 *
 * A batch that comes in another one is opened, its records judged (which nobody does to compressed ones elsewhere), and closed
 * again in the topic's codec at the topic's level; a batch of the right codec stays as it is, whatever its level. Runs on the
 * partition's home loop and takes the time that compressing takes: only topics that ask for it pay.
 * Source  facts/storage.md 4.2; KIP-110, KIP-390.
 */
#pragma once
#include "storage/log.h"
#include "wire/record.h"

/* What to append in place of *batch; `made` holds it, and is untouched where the batch may stay as it is. On error *why is for
 * the client (static text) or NULL; *report is written where the batch was opened, also on ERR_INVALID_RECORD. */
MUST_USE enum error recompress(const struct log_config *config, struct slice *batch, struct text *made,
                               struct records_report *report, const char **why);
