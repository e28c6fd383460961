/* timer_heap.h: a loop's timers: a binary heap by (due_ms, order of starting). Used by both implementations.
 *
 * Timers live in their owners; the heap holds pointers, and each timer knows its place, so stopping is O(log n).
 * Running out of memory while growing is a bug we cannot report (loop_timer_start has no error): it asserts.
 */
#pragma once
#include "loop/loop.h"

struct timer_heap {
    struct loop_timer **timers; /* 1-based: timers[0] is not used */
    size_t count, capacity;
    uint64_t next_order;
};

void timer_heap_free(struct timer_heap *heap);
void timer_heap_start(struct timer_heap *heap, struct loop_timer *timer, int64_t due_ms);
void timer_heap_stop(struct timer_heap *heap, struct loop_timer *timer);
/* INT64_MAX when none is running. */
int64_t timer_heap_next_due_ms(const struct timer_heap *heap);
/* The next timer due at now_ms among those started before `before_order`, taken out of the heap; NULL when there is none.
 * With before_order read from next_order beforehand, a timer started meanwhile waits for the next turn. */
struct loop_timer *timer_heap_take_due(struct timer_heap *heap, int64_t now_ms, uint64_t before_order);
