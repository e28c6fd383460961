/* watch.h: who wants to hear of which path. Kept by each member for its own connections; nothing of it is replicated.
 *
 *     mode                 in the data table   in the child table   goes when it fires
 *     WATCH_DATA                  x                                        x
 *     WATCH_CHILD                                     x                    x
 *     WATCH_PERSISTENT            x                   x
 *     WATCH_RECURSIVE             x  (and for everything below the path)
 *
 * One struct watch holds all modes of one watcher on one path. A watcher hears at most once of one change in one place.
 * Firing calls `fired` for each, in the order in which the watches were set; it must not set or remove watches.
 * Source: facts/keeper.md 2.5.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "base/map.h"
#include "base/text.h"
#include "keeper/machine.h"

enum watch_mode {
    WATCH_DATA = 1,
    WATCH_CHILD = 2,
    WATCH_PERSISTENT = 4,
    WATCH_RECURSIVE = 8,
    WATCH_ANY = 15,
    WATCH_IN_DATA = WATCH_DATA | WATCH_PERSISTENT | WATCH_RECURSIVE, /* in the data table */
    WATCH_IN_CHILD = WATCH_CHILD | WATCH_PERSISTENT,
};

/* One connection's part of the table. */
struct watcher {
    struct list watches;
    uint64_t told; /* the last firing it heard of */
    int64_t count, data_count;
    bool
        is_in_data; /* it had watches in the data table, and they fired or are there: ZooKeeper forgets it only by removeWatches */
};

struct watch;
struct watch_path;

struct watch_table {
    struct map paths;       /* struct watch_path */
    struct watch **buckets; /* by (path, watcher) */
    size_t bucket_count;
    int64_t count;                   /* of watches: (watcher, path) pairs */
    int64_t recursive_count;         /* of those with WATCH_RECURSIVE */
    int64_t data_count, child_count; /* in either table */
    uint64_t firing;
};

void watcher_init(struct watcher *watcher);
/* Removes all its watches. */
void watcher_free(struct watch_table *table, struct watcher *watcher);
/* All watchers must be gone. */
void watch_table_free(struct watch_table *table);

/* ERR_NOMEM. */
MUST_USE enum error watch_add(struct watch_table *table, struct watcher *watcher, struct slice path,
                              int modes);
/* The modes this watcher has on this path, 0 = none. */
int watch_modes(const struct watch_table *table, const struct watcher *watcher, struct slice path);
/* Takes modes away. */
void watch_remove(struct watch_table *table, struct watcher *watcher, struct slice path, int modes);

/* What happened to `path`: tells its watchers and, unless the data changed, those of its parent. */
struct watch_firing {
    enum event_type type;
    struct slice path;
    void (*fired)(void *context, struct watcher *watcher, enum event_type type, struct slice path,
                  bool is_of_parent);
    void *context;
};
void watch_fire(struct watch_table *table, const struct watch_firing *firing);

/* For wchc, wchp: each path with its watchers. */
struct watch_path *watch_next_path(const struct watch_table *table, size_t *position, struct slice *path);
struct watcher *watch_next_watcher(const struct watch_path *path, struct list **position, int *modes);
/* Each path of one watcher. */
bool watcher_next_path(const struct watcher *watcher, struct list **position, struct slice *path, int *modes);
