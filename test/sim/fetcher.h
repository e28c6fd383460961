/* fetcher.h: Fetch requests of the simulated consumers, and what is in the answers.
 *
 * Every record that comes back is told to the history; positions go forward. What must hold of an answer is checked here: whole
 * batches with a good checksum, records without a gap from the position on.
 */
#pragma once
#include "history.h"
#include "wire/messages.h"

struct world;

struct fetch_place {
    size_t partition; /* of the history */
    int64_t position;
    int32_t leader_epoch;   /* as the metadata says; -1 = any */
    int64_t high_watermark; /* of the last answer, -1 = none yet */
    int out_of_range;       /* answers in a row that said so */
    int near;               /* the broker that the leader sent it to (KIP-392); valid */
    int64_t near_until_ms;  /* until then */
};

enum { FETCH_MAX_PLACES = 32 };

/* A full fetch of places[0..count), of somebody without a rack. `scratch` holds the arrays while the request is sent. */
struct fetch_scratch {
    struct fetch_request_fetch_topic topics[FETCH_MAX_PLACES];
    struct fetch_request_fetch_partition partitions[FETCH_MAX_PLACES];
};
void fetch_fill(const struct world *world, const struct fetch_place *places, size_t count,
                int32_t max_wait_ms, int32_t max_bytes, struct fetch_scratch *scratch,
                struct fetch_request *request);

enum fetch_verdict { FETCH_OK, FETCH_RETRY, FETCH_OUT_OF_RANGE };

/* What the answer says about the place. `each` (may be NULL) is told every new record. */
typedef void fetch_each(void *context, int64_t offset, struct record_id id);
enum fetch_verdict fetch_take(struct world *world, const struct fetch_response *response,
                              struct fetch_place *place, fetch_each *each, void *context);
