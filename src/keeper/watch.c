#include "keeper/watch.h"

#include <assert.h>
#include <stdlib.h>

struct watch_path {
    struct list watches; /* in the order they were set */
    size_t size;
    uint8_t path[];
};

struct watch {
    struct list of_path, of_watcher;
    struct watch *hash_next;
    struct watch_path *path;
    struct watcher *watcher;
    int modes;
};

void watcher_init(struct watcher *watcher)
{
    *watcher = (struct watcher){0};
    list_init(&watcher->watches);
}

static struct slice path_of(const struct watch_path *path)
{
    return (struct slice){path->path, path->size};
}

/* --- (path, watcher) -> watch --- */

static size_t bucket_of(const struct watch_table *table, const struct watch_path *path,
                        const struct watcher *watcher)
{
    uint64_t hash =
        ((uintptr_t)path >> 4) * 0x9e3779b97f4a7c15ULL ^ ((uintptr_t)watcher >> 4) * 0xd6e8feb86659fd93ULL;
    hash ^= hash >> 32;
    return (size_t)hash & (table->bucket_count - 1);
}

static struct watch *find(const struct watch_table *table, const struct watcher *watcher, struct slice path)
{
    struct watch_path *known = map_get(&table->paths, path);
    if (!known) return NULL;
    struct watch *watch = table->buckets[bucket_of(table, known, watcher)];
    while (watch && (watch->path != known || watch->watcher != watcher)) watch = watch->hash_next;
    return watch;
}

static bool buckets_grow(struct watch_table *table)
{
    size_t grown_count = table->bucket_count ? table->bucket_count * 2 : 64;
    struct watch **grown = calloc(grown_count, sizeof *grown);
    if (!grown) return false;
    struct watch **old = table->buckets;
    size_t old_count = table->bucket_count;
    table->buckets = grown;
    table->bucket_count = grown_count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct watch *watch = old[i], *next; watch; watch = next) {
            next = watch->hash_next;
            struct watch **bucket = &grown[bucket_of(table, watch->path, watch->watcher)];
            watch->hash_next = *bucket;
            *bucket = watch;
        }
    }
    free(old);
    return true;
}

/* --- setting and removing --- */

static void modes_set(struct watch_table *table, struct watch *watch, int modes)
{
    table->recursive_count += ((modes & WATCH_RECURSIVE) != 0) - ((watch->modes & WATCH_RECURSIVE) != 0);
    int in_data = ((modes & WATCH_IN_DATA) != 0) - ((watch->modes & WATCH_IN_DATA) != 0);
    table->data_count += in_data;
    watch->watcher->data_count += in_data;
    if (in_data > 0) watch->watcher->is_in_data = true;
    table->child_count += ((modes & WATCH_IN_CHILD) != 0) - ((watch->modes & WATCH_IN_CHILD) != 0);
    watch->modes = modes;
}

static void watch_free(struct watch_table *table, struct watch *watch)
{
    modes_set(table, watch, 0);
    struct watch **at = &table->buckets[bucket_of(table, watch->path, watch->watcher)];
    while (*at != watch) at = &(*at)->hash_next;
    *at = watch->hash_next;
    list_remove(&watch->of_path);
    list_remove(&watch->of_watcher);
    watch->watcher->count--;
    table->count--;
    if (list_empty(&watch->path->watches)) {
        map_remove(&table->paths, path_of(watch->path));
        free(watch->path);
    }
    free(watch);
}

void watcher_free(struct watch_table *table, struct watcher *watcher)
{
    LIST_EACH(&watcher->watches, item) watch_free(table, CONTAINER_OF(item, struct watch, of_watcher));
}

void watch_table_free(struct watch_table *table)
{
    assert(table->count == 0);
    map_free(&table->paths);
    free(table->buckets);
    *table = (struct watch_table){0};
}

enum error watch_add(struct watch_table *table, struct watcher *watcher, struct slice path, int modes)
{
    struct watch *watch = find(table, watcher, path);
    if (watch) {
        modes_set(table, watch, watch->modes | modes);
        return OK;
    }
    if ((size_t)table->count >= table->bucket_count && !buckets_grow(table)) return ERR_NOMEM;
    watch = calloc(1, sizeof *watch);
    if (!watch) return ERR_NOMEM;
    struct watch_path *known = map_get(&table->paths, path);
    if (!known) {
        known = malloc(sizeof *known + path.size);
        if (known) {
            list_init(&known->watches);
            known->size = path.size;
            if (path.size) memcpy(known->path, path.data, path.size);
        }
        if (!known || map_put(&table->paths, path, known) != OK) {
            free(known);
            free(watch);
            return ERR_NOMEM;
        }
    }
    watch->path = known;
    watch->watcher = watcher;
    list_push_back(&known->watches, &watch->of_path);
    list_push_back(&watcher->watches, &watch->of_watcher);
    struct watch **bucket = &table->buckets[bucket_of(table, known, watcher)];
    watch->hash_next = *bucket;
    *bucket = watch;
    modes_set(table, watch, modes);
    watcher->count++;
    table->count++;
    return OK;
}

int watch_modes(const struct watch_table *table, const struct watcher *watcher, struct slice path)
{
    const struct watch *watch = find(table, watcher, path);
    return watch ? watch->modes : 0;
}

void watch_remove(struct watch_table *table, struct watcher *watcher, struct slice path, int modes)
{
    struct watch *watch = find(table, watcher, path);
    if (!watch) return;
    bool was_in_data = (watch->modes & WATCH_IN_DATA) != 0;
    modes_set(table, watch, watch->modes & ~modes);
    if (was_in_data && watcher->data_count == 0) watcher->is_in_data = false;
    if (watch->modes == 0) watch_free(table, watch);
}

/* --- firing --- */

static void tell(const struct watch_table *table, const struct watch_firing *firing, struct watch *watch,
                 enum event_type type, struct slice path, bool is_of_parent)
{
    if (watch->watcher->told == table->firing) return;
    watch->watcher->told = table->firing;
    firing->fired(firing->context, watch->watcher, type, path, is_of_parent);
}

/* Those set on exactly this path with one of `modes`; the modes in `spent` go. */
static void fire_at(struct watch_table *table, const struct watch_firing *firing, struct slice at, int modes,
                    int spent, enum event_type type, struct slice path, bool is_of_parent)
{
    struct watch_path *known = map_get(&table->paths, at);
    if (!known) return;
    size_t left = 0;
    LIST_EACH(&known->watches, counted) left++;
    /* The path goes with its last watch, so the walk counts instead of looking at the list's head. */
    for (struct list *item = known->watches.next; left > 0; left--) {
        struct watch *watch = CONTAINER_OF(item, struct watch, of_path);
        item = item->next;
        if (!(watch->modes & modes)) continue;
        tell(table, firing, watch, type, path, is_of_parent);
        modes_set(table, watch, watch->modes & ~spent);
        if (watch->modes == 0) watch_free(table, watch);
    }
}

static struct slice parent_of(struct slice path)
{
    size_t size = path.size;
    while (size > 0 && path.data[size - 1] != '/') size--;
    return (struct slice){path.data, size > 1 ? size - 1 : 1};
}

void watch_fire(struct watch_table *table, const struct watch_firing *firing)
{
    if (table->count == 0) return;
    struct slice path = firing->path;
    table->firing++;
    fire_at(table, firing, path, WATCH_DATA | WATCH_PERSISTENT | WATCH_RECURSIVE, WATCH_DATA, firing->type,
            path, false);
    if (table->recursive_count > 0) {
        for (struct slice at = path; at.size > 1;) {
            at = parent_of(at);
            fire_at(table, firing, at, WATCH_RECURSIVE, 0, firing->type, path, false);
        }
    }
    if (firing->type == EVENT_DATA_CHANGED) return;
    /* A deletion is told to child watchers of the znode, too, but not twice to the same. */
    if (firing->type == EVENT_DELETED) {
        fire_at(table, firing, path, WATCH_CHILD | WATCH_PERSISTENT, WATCH_CHILD, EVENT_DELETED, path, false);
    }
    table->firing++;
    struct slice parent = parent_of(path);
    fire_at(table, firing, parent, WATCH_CHILD | WATCH_PERSISTENT, WATCH_CHILD, EVENT_CHILDREN_CHANGED,
            parent, true);
}

/* --- looking --- */

struct watch_path *watch_next_path(const struct watch_table *table, size_t *position, struct slice *path)
{
    struct map_slot *slot = map_next(&table->paths, position);
    if (!slot) return NULL;
    *path = path_of(slot->value);
    return slot->value;
}

struct watcher *watch_next_watcher(const struct watch_path *path, struct list **position, int *modes)
{
    struct list *next = *position ? (*position)->next : path->watches.next;
    *position = next;
    if (next == &path->watches) return NULL;
    const struct watch *watch = CONTAINER_OF(next, struct watch, of_path);
    *modes = watch->modes;
    return watch->watcher;
}

bool watcher_next_path(const struct watcher *watcher, struct list **position, struct slice *path, int *modes)
{
    struct list *next = *position ? (*position)->next : watcher->watches.next;
    *position = next;
    if (next == &watcher->watches) return false;
    const struct watch *watch = CONTAINER_OF(next, struct watch, of_watcher);
    *path = path_of(watch->path);
    *modes = watch->modes;
    return true;
}
