#include "loop/timer_heap.h"

#include <assert.h>
#include <stdlib.h>

#include "base/vec.h"

void timer_heap_free(struct timer_heap *heap)
{
    free(heap->timers);
    *heap = (struct timer_heap){0};
}

static bool is_before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void put(struct timer_heap *heap, size_t index, struct loop_timer *timer)
{
    heap->timers[index] = timer;
    timer->heap_index = index;
}

static void rise(struct timer_heap *heap, size_t index, struct loop_timer *timer)
{
    for (; index > 1 && is_before(timer, heap->timers[index / 2]); index /= 2) {
        put(heap, index, heap->timers[index / 2]);
    }
    put(heap, index, timer);
}

static void sink(struct timer_heap *heap, size_t index, struct loop_timer *timer)
{
    for (;;) {
        size_t child = index * 2;
        if (child > heap->count) break;
        if (child < heap->count && is_before(heap->timers[child + 1], heap->timers[child])) child++;
        if (!is_before(heap->timers[child], timer)) break;
        put(heap, index, heap->timers[child]);
        index = child;
    }
    put(heap, index, timer);
}

void timer_heap_start(struct timer_heap *heap, struct loop_timer *timer, int64_t due_ms)
{
    assert(timer->run);
    timer_heap_stop(heap, timer);
    bool has_room = VEC_RESERVE(heap->timers, heap->count + 1, heap->capacity);
    assert(has_room && "no memory for a timer");
    timer->due_ms = due_ms;
    timer->order = heap->next_order++;
    heap->count++;
    rise(heap, heap->count, timer);
}

void timer_heap_stop(struct timer_heap *heap, struct loop_timer *timer)
{
    size_t index = timer->heap_index;
    if (index == 0) return;
    assert(index <= heap->count && heap->timers[index] == timer);
    timer->heap_index = 0;

    struct loop_timer *last = heap->timers[heap->count--];
    if (last == timer) return;
    if (index > 1 && is_before(last, heap->timers[index / 2])) {
        rise(heap, index, last);
    } else {
        sink(heap, index, last);
    }
}

int64_t timer_heap_next_due_ms(const struct timer_heap *heap)
{
    return heap->count > 0 ? heap->timers[1]->due_ms : INT64_MAX;
}

struct loop_timer *timer_heap_take_due(struct timer_heap *heap, int64_t now_ms, uint64_t before_order)
{
    if (heap->count == 0) return NULL;
    /* A timer started during this run is due now at the earliest and younger than all others due: it is the top only when
     * no older one is due. */
    struct loop_timer *top = heap->timers[1];
    if (top->due_ms > now_ms || top->order >= before_order) return NULL;
    timer_heap_stop(heap, top);
    return top;
}
