/* tree_check.h: a check of a history under way (tree_history.h): what tree_check.c finds out of the changes, and tree_watches.c asks. */
#pragma once
#include <stdint.h>
#include <stdlib.h>

#include "base/vec.h"
#include "tree_history.h"

enum change_kind { CHANGE_CREATE, CHANGE_SET, CHANGE_DELETE };

struct change {
    int path;
    enum change_kind kind;
    int64_t zxid, owner; /* owner: -1 = not known */
    int32_t version;     /* -1 = not known */
    uint64_t value;      /* 0 = not known */
};

/* When a session ended: after `after`, not after `until`. */
struct span {
    int64_t after, until;
    const char *path; /* that says `until` */
};

struct check {
    struct tree_history *history;
    struct change *changes; /* by path, then zxid, once each */
    size_t change_count, change_capacity;
    size_t *first_change;    /* by path; one more than there are paths */
    struct tree_fact *facts; /* by path, then zxid */
    size_t fact_count, fact_capacity;
    struct span *spans; /* by session */
};

#define GROW(items, count, capacity)                                                                         \
    do {                                                                                                     \
        if (!VEC_RESERVE(items, count, capacity)) abort();                                                   \
    } while (0)

static inline bool has_fault(const struct check *check)
{
    return tree_history_has_fault(check->history);
}

static const char *name_of(const struct check *check, int path)
{
    return check->history->paths[path].name;
}

/* tree_watches.c: was each client told of what it watched before it was shown a later state, and of nothing else? */
void check_watches(struct check *check);
