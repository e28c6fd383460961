/* budget.h: how many bytes of requests a node holds: being read, running, waiting, and their answers not yet taken.
 *
 *     0 |---------- frames above 64 KiB: at most 3/4 ----------|-- kept for smaller frames --| limit
 *
 * A large frame is read on only once its announced length is admitted; one that would never fit is admitted when no other
 * large one is. Small frames are admitted while the whole is below the limit, and always while they themselves hold less
 * than a quarter, so they go on whatever the large ones do.
 *
 * Threads  any; relaxed atomics. Two loops may both be admitted the last bytes: the limit is met to within one frame a loop.
 * Source   design section 6; queued.max.request.bytes.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUDGET_SMALL_FRAME (64 * 1024)

struct budget {
    int64_t limit_bytes;
    int64_t small_bytes, large_bytes; /* held, by kind of frame */
};

/* True: `size` is held from now on, give it back with budget_release. */
bool budget_try(struct budget *budget, size_t size);
/* Holds it whether it fits or not: what cannot wait, such as the arrays of a request already read. Counts as small. */
void budget_force(struct budget *budget, size_t size);
/* `size` as it was tried; is_large: it was tried as a frame above BUDGET_SMALL_FRAME. */
void budget_release(struct budget *budget, size_t size, bool is_large);
int64_t budget_held(const struct budget *budget);
