/* timers.c: a binary heap of deadlines, earliest first. Equal ones run in no stated order, but always the same. */
#include <assert.h>

#include "base/vec.h"
#include "group/brain.h"

bool group_timers_reserve(struct group_timers *timers, size_t count)
{
    /* Place 0 stays unused, so that a zeroed timer does not run. */
    if (!VEC_RESERVE_N(timers->heap, timers->reserved + 1, timers->capacity, count)) return false;
    timers->reserved += count;
    return true;
}

void group_timers_release(struct group_timers *timers, size_t count)
{
    assert(timers->reserved >= count);
    timers->reserved -= count;
}

static void place(struct group_timers *timers, size_t index, struct group_timer *timer)
{
    timers->heap[index] = timer;
    timer->heap_index = index;
}

static void sift(struct group_timers *timers, size_t index, struct group_timer *timer)
{
    while (index > 1 && timers->heap[index / 2]->due_ms > timer->due_ms) {
        place(timers, index, timers->heap[index / 2]);
        index /= 2;
    }
    for (size_t child; (child = index * 2) <= timers->count; index = child) {
        if (child < timers->count && timers->heap[child + 1]->due_ms < timers->heap[child]->due_ms) child++;
        if (timers->heap[child]->due_ms >= timer->due_ms) break;
        place(timers, index, timers->heap[child]);
    }
    place(timers, index, timer);
}

void group_timer_start(struct group_timers *timers, struct group_timer *timer, int64_t due_ms)
{
    timer->due_ms = due_ms;
    size_t index = timer->heap_index;
    if (index == 0) {
        assert(timers->count < timers->reserved);
        index = ++timers->count;
    }
    sift(timers, index, timer);
}

void group_timer_stop(struct group_timers *timers, struct group_timer *timer)
{
    size_t index = timer->heap_index;
    if (index == 0) return;
    timer->heap_index = 0;
    struct group_timer *last = timers->heap[timers->count--];
    if (last != timer) sift(timers, index, last);
}

struct group_timer *group_timers_first(const struct group_timers *timers)
{
    return timers->count > 0 ? timers->heap[1] : NULL;
}
