/* refused.h: producers whose batch found no room, so that what they had on its way behind it is not taken for a broken sequence.
 *
 *     sent       5        6        7            6 and 7 were on their way when 5 was refused: they hear what 5 heard, and the
 *     answered   no room  no room  no room      producer sends all three again, in order. OUT_OF_ORDER_SEQUENCE_NUMBER would
 *                                               end its epoch: what it still had unanswered elsewhere is then written twice.
 *
 * An entry holds as long as the refused batch is the one that comes next. It goes when that batch comes again, when the log went on
 * without it, when the log follows another, or after REFUSED_MS, for a producer that has given up has another epoch by then, and one that has not must hear that it
 * lost something.
 *
 * Bound    REFUSED_MAX producers; the one refused longest ago makes room. It then hears what any gap would.
 * Owner    the log; a zeroed struct is empty, costs nothing and needs no memory until a batch is refused.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/batch.h"

enum {
    REFUSED_MAX = 256,
    REFUSED_MS =
        300000, /* what clients give a record before they give it up: 120 s in Java, 300 s in librdkafka */
};

struct refused_producer {
    int64_t producer_id;
    int64_t at_ms;
    int32_t base_sequence; /* of the batch that must come first */
    int16_t epoch;
};

struct refused {
    struct refused_producer *producers;
    size_t count, capacity;
};

void refused_free(struct refused *refused);

/* The batch of `header` found no room at `now_ms`. Without memory nothing is remembered. */
void refused_note(struct refused *refused, const struct batch_header *header, int64_t now_ms);

/* What a batch must hear that is no duplicate; `next_sequence` is what the log expects of this producer's epoch, -1 any. OK: nothing
 * that was refused is before it. ERR_DISK_FULL: something is. */
MUST_USE enum error refused_check(struct refused *refused, const struct batch_header *header,
                                  int32_t next_sequence, int64_t now_ms);
