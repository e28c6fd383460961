/* tree_watches.c: watches against the changes that are known (tree_check.h). A watch that was set at a zxid fires with the first
 * change after it; who was shown that change without having heard the event was shown too much. */
#include <inttypes.h>

#include "tree_check.h"

struct birth { /* or death of a child */
    int parent;
    int64_t zxid;
};

struct watches {
    struct check *check;
    struct birth *births; /* by parent, then zxid */
    size_t birth_count, birth_capacity;
};

static int births_in_order(const void *a, const void *b)
{
    const struct birth *left = a, *right = b;
    if (left->parent != right->parent) return left->parent < right->parent ? -1 : 1;
    if (left->zxid != right->zxid) return left->zxid < right->zxid ? -1 : 1;
    return 0;
}

static void gather_births(struct watches *watches)
{
    const struct check *check = watches->check;
    for (size_t i = 0; i < check->change_count; i++) {
        const struct change *change = &check->changes[i];
        int parent = check->history->paths[change->path].parent;
        if (parent < 0 || change->kind == CHANGE_SET) continue;
        GROW(watches->births, watches->birth_count, watches->birth_capacity);
        watches->births[watches->birth_count++] = (struct birth){parent, change->zxid};
    }
    if (watches->birth_count)
        qsort(watches->births, watches->birth_count, sizeof *watches->births, births_in_order);
}

/* The first change of what is watched after this zxid; INT64_MAX = none. */
static int64_t next_change(const struct watches *watches, int path, bool of_children, int64_t after)
{
    const struct check *check = watches->check;
    size_t low = of_children ? 0 : check->first_change[path];
    size_t high = of_children ? watches->birth_count : check->first_change[path + 1];
    size_t end = high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        bool is_before;
        if (of_children) {
            const struct birth *birth = &watches->births[middle];
            is_before = birth->parent < path || (birth->parent == path && birth->zxid <= after);
        } else {
            is_before = check->changes[middle].zxid <= after;
        }
        if (is_before)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == end) return INT64_MAX;
    if (!of_children) return check->changes[low].zxid;
    return watches->births[low].parent == path ? watches->births[low].zxid : INT64_MAX;
}

struct armed {
    enum line_watch watch;
    int path;
    int64_t since;
    bool is_rearmed; /* the answer to setWatches is not there yet */
};

struct arms {
    struct armed *items;
    size_t count, capacity;
};

static bool is_of_children(enum line_watch watch)
{
    return watch == LINE_WATCH_CHILD;
}

static void arm(struct arms *arms, const struct line_entry *entry)
{
    for (size_t i = 0; i < arms->count; i++) {
        const struct armed *armed = &arms->items[i];
        if (armed->path == entry->path && is_of_children(armed->watch) == is_of_children(entry->watch))
            return;
    }
    GROW(arms->items, arms->count, arms->capacity);
    arms->items[arms->count++] =
        (struct armed){entry->watch, entry->path, entry->zxid, entry->kind == LINE_REARMED};
}

static void fire(struct watches *watches, const struct tree_line *line, struct arms *arms,
                 const struct line_entry *entry)
{
    enum { DELETED = 2, CHILDREN = 4 };
    bool is_asked = false;
    for (size_t i = 0; i < arms->count;) {
        struct armed *armed = &arms->items[i];
        bool is_it =
            armed->path == entry->path &&
            (is_of_children(armed->watch) ? entry->event_type == CHILDREN || entry->event_type == DELETED
                                          : entry->event_type != CHILDREN);
        if (!is_it) {
            i++;
            continue;
        }
        is_asked |= entry->zxid == -1 || entry->zxid > armed->since;
        *armed = arms->items[--arms->count];
    }
    if (is_asked) return;
    tree_history_fail(
        watches->check->history,
        "guest %d heard of member %d an event %d of %s at %" PRIx64 " that it had not asked for", line->guest,
        line->member, entry->event_type, name_of(watches->check, entry->path), (uint64_t)entry->zxid);
}

static void answer(struct watches *watches, const struct tree_line *line, struct arms *arms,
                   const struct line_entry *entry)
{
    for (size_t i = 0; i < arms->count; i++) {
        struct armed *armed = &arms->items[i];
        if (armed->is_rearmed && armed->watch == LINE_WATCH_EXIST) {
            if (entry->is_rearming) { /* what came and went meanwhile is not told */
                armed->since = entry->zxid;
                armed->is_rearmed = false;
            }
            continue;
        }
        int64_t changed = next_change(watches, armed->path, is_of_children(armed->watch), armed->since);
        if (changed <= entry->zxid) {
            tree_history_fail(
                watches->check->history,
                "guest %d was shown %" PRIx64
                " by member %d, and had heard no event of %s%s, watched at %" PRIx64
                " and changed at %" PRIx64,
                line->guest, (uint64_t)entry->zxid, line->member, name_of(watches->check, armed->path),
                is_of_children(armed->watch) ? "'s children" : "", (uint64_t)armed->since, (uint64_t)changed);
            return;
        }
        if (entry->is_rearming) armed->is_rearmed = false;
    }
}

static void check_line(struct watches *watches, const struct tree_line *line)
{
    struct arms arms = {0};
    for (size_t i = 0; i < line->count && !has_fault(watches->check); i++) {
        const struct line_entry *entry = &line->entries[i];
        switch (entry->kind) {
        case LINE_ANSWER: answer(watches, line, &arms, entry); break;
        case LINE_EVENT: fire(watches, line, &arms, entry); break;
        default: arm(&arms, entry); break;
        }
    }
    free(arms.items);
}

void check_watches(struct check *check)
{
    struct watches watches = {.check = check};
    gather_births(&watches);
    for (size_t i = 0; i < check->history->line_count && !has_fault(check); i++)
        check_line(&watches, &check->history->lines[i]);
    free(watches.births);
}
