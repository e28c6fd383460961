/* producer_state.h: what the log remembers of each producer: its epoch, its last batches, its open transaction.
 *
 * With it a leader tells a retry from a new batch (the last 5 batches of each producer), refuses gaps in sequence numbers,
 * and knows which transactions are undecided. It is a function of the log: replaying batches rebuilds it; snapshots only save
 * time. A snapshot keeps one batch of each producer, so after a restart the window is 1; after a cut or a failed append it stays.
 *
 *     snapshot   i16 version 1 | u32 crc-32c of the rest | i32 count | count x 46 bytes
 *     46 bytes   i64 producer id | i16 epoch | i32 last sequence | i64 last offset | i32 offset delta | i64 timestamp
 *                | i32 coordinator epoch | i64 first offset of the open transaction (-1 none)
 *
 * Owner    the log. A zeroed struct is empty and costs nothing until a producer with an id writes.
 * Source   facts/storage.md 3.8, 4.3; KIP-98, KIP-360.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/map.h"
#include "base/text.h"
#include "storage/txn_index.h"
#include "wire/batch.h"
#include "wire/record.h"

#define PRODUCER_BATCHES 5
#define PRODUCER_SNAPSHOT_SIZE_MAX ((size_t)1 << 30)

struct producer_batch {
    int64_t last_offset;
    int64_t timestamp;
    int32_t last_sequence;
    int32_t offset_delta; /* last offset - first offset, and so last sequence - first sequence */
};

struct producer {
    int64_t id;
    int64_t last_timestamp;
    int64_t txn_first_offset; /* -1 none open */
    int32_t coordinator_epoch;
    int16_t epoch;
    uint8_t batch_count;
    struct producer_batch batches[PRODUCER_BATCHES]; /* oldest first */
};

/* A transaction whose marker is in the log, but perhaps not yet below the high watermark. */
struct ended_txn {
    int64_t first_offset, last_offset;
};

struct producer_state {
    struct map producers;      /* id -> struct producer */
    int64_t first_open_offset; /* valid while open_count > 0 */
    size_t open_count;
    struct ended_txn *ended; /* by last_offset */
    size_t ended_count, ended_capacity;
};

void producer_state_free(struct producer_state *state);

/* What a leader may append. *duplicate is set, on OK, when the very batch is among the last ones: then it holds that batch.
 * ERR_INVALID_PRODUCER_EPOCH, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, ERR_INVALID_TXN_STATE; for markers
 * ERR_TRANSACTION_COORDINATOR_FENCED. `control` is NULL for data. */
MUST_USE enum error producer_state_check(const struct producer_state *state,
                                         const struct batch_header *header,
                                         const struct control_record *control, bool *is_duplicate,
                                         struct producer_batch *duplicate);
/* The sequence that must come next from the producer of this batch, in its epoch; -1 any. */
int32_t producer_state_next(const struct producer_state *state, const struct batch_header *header);

/* What a batch in the log changes, whoever let it in. When a marker ends a transaction by abort, *aborted is filled and
 * *has_aborted set. ERR_NOMEM leaves all as it was. */
MUST_USE enum error producer_state_apply(struct producer_state *state, const struct batch_header *header,
                                         const struct control_record *control, bool *has_aborted,
                                         struct txn_entry *aborted);

/* After it was read and replayed anew up to `end_offset`, which gives one batch of each producer from the snapshot: the older ones that
 * `before` still knows of it, in the same epoch. */
void producer_state_recall(struct producer_state *state, const struct producer_state *before,
                           int64_t end_offset);

/* First offset of the oldest open transaction; INT64_MAX when none. */
int64_t producer_state_first_open(const struct producer_state *state);
/* The same, and of those ended at or beyond the high watermark. Forgets those ended below it. */
int64_t producer_state_first_unstable(struct producer_state *state, int64_t high_watermark);

/* Forgets producers without an open transaction and silent since `before_ms` or earlier. */
void producer_state_expire(struct producer_state *state, int64_t before_ms);

void producer_state_write(const struct producer_state *state, struct text *snapshot);
/* ERR_CORRUPT, ERR_UNSUPPORTED, ERR_NOMEM; *state is then untouched. Replaces what was there. */
MUST_USE enum error producer_state_read(struct slice snapshot, struct producer_state *state);

/* The control record of a whole control batch; ERR_CORRUPT. */
MUST_USE enum error control_batch_read(struct slice batch, const struct batch_header *header,
                                       struct control_record *control);
