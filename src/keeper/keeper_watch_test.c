/* keeper_watch_test.c: who hears of what: chosen cases, then random lives against a list of (watcher, path, mode) walked whole. */
#include "keeper/watch.h"

#include "base/random.h"
#include "base/test.h"
#include "keeper/path.h"

#include <stdio.h>
#include <stdlib.h>

enum { WATCHERS = 4, HEARD_MAX = 64 };

struct heard {
    int watcher;
    enum event_type type;
    char path[32];
};

struct bench {
    struct watch_table table;
    struct watcher watchers[WATCHERS];
    struct heard heard[HEARD_MAX];
    int count;
};

static void init(struct bench *bench)
{
    *bench = (struct bench){0};
    for (int i = 0; i < WATCHERS; i++) watcher_init(&bench->watchers[i]);
}

static void finish(struct bench *bench)
{
    for (int i = 0; i < WATCHERS; i++) watcher_free(&bench->table, &bench->watchers[i]);
    watch_table_free(&bench->table);
}

static void fired(void *context, struct watcher *watcher, enum event_type type, struct slice path,
                  bool is_of_parent)
{
    struct bench *bench = context;
    assert_true(bench->count < HEARD_MAX);
    assert_int_equal(is_of_parent, type == EVENT_CHILDREN_CHANGED);
    struct heard *heard = &bench->heard[bench->count++];
    heard->watcher = (int)(watcher - bench->watchers);
    heard->type = type;
    slice_text(path, heard->path, sizeof heard->path);
}

static void fire(struct bench *bench, enum event_type type, const char *path)
{
    bench->count = 0;
    watch_fire(&bench->table, &(struct watch_firing){type, slice_of(path), fired, bench});
}

static void add(struct bench *bench, int watcher, const char *path, int modes)
{
    assert_int_equal(watch_add(&bench->table, &bench->watchers[watcher], slice_of(path), modes), OK);
}

static void one_change_tells_each_what_it_asked(void **state)
{
    static const struct {
        const char *sentence, *watched;
        int modes;
        enum event_type happened;
        const char *path, *hears; /* types as digits, "" = nothing */
        int left;
    } rows[] = {
        {"a data watch hears a change, once", "/a", WATCH_DATA, EVENT_DATA_CHANGED, "/a", "3", 0},
        {"a data watch hears the creation it waits for", "/a", WATCH_DATA, EVENT_CREATED, "/a", "1", 0},
        {"a data watch hears the deletion", "/a", WATCH_DATA, EVENT_DELETED, "/a", "2", 0},
        {"a data watch does not hear of children", "/a", WATCH_DATA, EVENT_CREATED, "/a/b", "", WATCH_DATA},
        {"a child watch hears of a new child", "/a", WATCH_CHILD, EVENT_CREATED, "/a/b", "4", 0},
        {"a child watch hears of a lost child", "/a", WATCH_CHILD, EVENT_DELETED, "/a/b", "4", 0},
        {"a child watch hears its znode's deletion", "/a", WATCH_CHILD, EVENT_DELETED, "/a", "2", 0},
        {"a child watch does not hear of grandchildren", "/a", WATCH_CHILD, EVENT_CREATED, "/a/b/c", "",
         WATCH_CHILD},
        {"a child watch does not hear of data", "/a", WATCH_CHILD, EVENT_DATA_CHANGED, "/a", "", WATCH_CHILD},
        {"the root's children", "/", WATCH_CHILD, EVENT_CREATED, "/a", "4", 0},
        {"both watches hear one deletion once", "/a", WATCH_DATA | WATCH_CHILD, EVENT_DELETED, "/a", "2", 0},
        {"a persistent watch stays", "/a", WATCH_PERSISTENT, EVENT_DATA_CHANGED, "/a", "3", WATCH_PERSISTENT},
        {"a persistent watch hears of children", "/a", WATCH_PERSISTENT, EVENT_CREATED, "/a/b", "4",
         WATCH_PERSISTENT},
        {"a persistent watch hears a deletion once", "/a", WATCH_PERSISTENT, EVENT_DELETED, "/a", "2",
         WATCH_PERSISTENT},
        {"a recursive watch hears its own znode", "/a", WATCH_RECURSIVE, EVENT_DATA_CHANGED, "/a", "3",
         WATCH_RECURSIVE},
        {"a recursive watch hears descendants", "/a", WATCH_RECURSIVE, EVENT_CREATED, "/a/b/c", "1",
         WATCH_RECURSIVE},
        {"a recursive watch hears no children event", "/a", WATCH_RECURSIVE, EVENT_CREATED, "/a/b", "1",
         WATCH_RECURSIVE},
        {"a recursive watch is no prefix of names", "/a", WATCH_RECURSIVE, EVENT_CREATED, "/ab", "",
         WATCH_RECURSIVE},
        {"a recursive watch on the root hears all", "/", WATCH_RECURSIVE, EVENT_DELETED, "/a/b", "2",
         WATCH_RECURSIVE},
        {"modes live side by side", "/a", WATCH_DATA | WATCH_PERSISTENT, EVENT_DATA_CHANGED, "/a", "3",
         WATCH_PERSISTENT},
        {"recursive and child: two tables, two events", "/a", WATCH_RECURSIVE | WATCH_CHILD, EVENT_CREATED,
         "/a/b", "14", WATCH_RECURSIVE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bench bench;
        init(&bench);
        add(&bench, 1, rows[i].watched, rows[i].modes);
        fire(&bench, rows[i].happened, rows[i].path);
        char hears[8] = "";
        for (int n = 0; n < bench.count; n++) hears[n] = (char)('0' + bench.heard[n].type);
        int left = watch_modes(&bench.table, &bench.watchers[1], slice_of(rows[i].watched));
        if (strcmp(hears, rows[i].hears) != 0 || left != rows[i].left) {
            fail_msg("%s: heard \"%s\", left %d", rows[i].sentence, hears, left);
        }
        finish(&bench);
    }
}

/* --- random lives --- */

struct plain {
    int watcher, modes;
    char path[32];
};

static void random_path(struct random *random, char path[32])
{
    size_t size = 0;
    int depth = (int)random_below(random, 4);
    if (depth == 0) strcpy(path, "/");
    for (int i = 0; i < depth; i++)
        size += (size_t)snprintf(path + size, 32 - size, "/%c", 'a' + (int)random_below(random, 2));
}

static void plain_fire(struct plain *plain, int count, struct heard *want, int *want_count,
                       bool told[WATCHERS], const char *at, int modes, int spent, enum event_type type,
                       const char *path)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(plain[i].path, at) != 0 || !(plain[i].modes & modes)) continue;
        if (!told[plain[i].watcher]) {
            struct heard *heard = &want[(*want_count)++];
            *heard = (struct heard){.watcher = plain[i].watcher, .type = type};
            snprintf(heard->path, sizeof heard->path, "%s", path);
        }
        told[plain[i].watcher] = true;
        plain[i].modes &= ~spent;
    }
}

static int plain_change(struct plain *plain, int count, struct heard *want, enum event_type type,
                        const char *path)
{
    int want_count = 0;
    bool told[WATCHERS] = {false};
    char parent[32];
    snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = 0;
    if (!parent[0]) strcpy(parent, "/");
    plain_fire(plain, count, want, &want_count, told, path, WATCH_DATA | WATCH_PERSISTENT | WATCH_RECURSIVE,
               WATCH_DATA, type, path);
    for (int i = 0; i < count; i++) { /* ancestors */
        bool is_above =
            strcmp(plain[i].path, path) != 0 && path_is_within(slice_of(path), slice_of(plain[i].path));
        if (!is_above || !(plain[i].modes & WATCH_RECURSIVE)) continue;
        struct plain *one = &plain[i];
        plain_fire(one, 1, want, &want_count, told, one->path, WATCH_RECURSIVE, 0, type, path);
    }
    if (type == EVENT_DATA_CHANGED) return want_count;
    if (type == EVENT_DELETED) {
        plain_fire(plain, count, want, &want_count, told, path, WATCH_CHILD | WATCH_PERSISTENT, WATCH_CHILD,
                   type, path);
    }
    memset(told, 0, sizeof told);
    plain_fire(plain, count, want, &want_count, told, parent, WATCH_CHILD | WATCH_PERSISTENT, WATCH_CHILD,
               EVENT_CHILDREN_CHANGED, parent);
    return want_count;
}

static int heard_compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct heard));
}

static void lives_agree_with_a_list(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct bench bench;
        init(&bench);
        static struct plain plain[1000];
        int count = 0;
        for (int step = 0; step < 3000; step++) {
            char path[32] = "";
            random_path(&random, path);
            int watcher = (int)random_below(&random, WATCHERS);
            uint64_t dice = random_below(&random, 10);
            int modes = 1 << random_below(&random, 4), found = -1;
            for (int i = 0; i < count; i++) {
                if (plain[i].watcher == watcher && strcmp(plain[i].path, path) == 0) found = i;
            }
            if (dice < 5) {
                add(&bench, watcher, path, modes);
                if (found < 0) {
                    found = count++;
                    plain[found] = (struct plain){.watcher = watcher};
                    memcpy(plain[found].path, path, sizeof path);
                }
                plain[found].modes |= modes;
            } else if (dice < 6) {
                watch_remove(&bench.table, &bench.watchers[watcher], slice_of(path), modes);
                if (found >= 0) plain[found].modes &= ~modes;
            } else if (random_below(&random, 40) == 0) {
                watcher_free(&bench.table, &bench.watchers[watcher]);
                for (int i = 0; i < count; i++) {
                    if (plain[i].watcher == watcher) plain[i].modes = 0;
                }
            } else if (strcmp(path, "/") != 0) {
                enum event_type type = 1 + (int)random_below(&random, 3);
                struct heard want[HEARD_MAX];
                memset(want, 0, sizeof want);
                memset(bench.heard, 0, sizeof bench.heard);
                int want_count = plain_change(plain, count, want, type, path);
                fire(&bench, type, path);
                assert_int_equal(bench.count, want_count);
                qsort(want, (size_t)want_count, sizeof *want, heard_compare);
                qsort(bench.heard, (size_t)bench.count, sizeof *want, heard_compare);
                for (int i = 0; i < want_count; i++) {
                    assert_int_equal(bench.heard[i].watcher, want[i].watcher);
                    assert_int_equal(bench.heard[i].type, want[i].type);
                    assert_string_equal(bench.heard[i].path, want[i].path);
                }
            }
            int64_t live = 0, recursive = 0;
            for (int i = 0; i < count;) {
                live += plain[i].modes != 0;
                recursive += (plain[i].modes & WATCH_RECURSIVE) != 0;
                if (plain[i].modes == 0) {
                    plain[i] = plain[--count];
                } else {
                    i++;
                }
            }
            assert_int_equal(bench.table.count, live);
            assert_int_equal(bench.table.recursive_count, recursive);
        }
        finish(&bench);
    }
}

static void paths(void **state)
{
    static const struct {
        const char *path;
        bool is_valid;
    } rows[] = {
        {"/", true},
        {"/a", true},
        {"/a/b.c/..d", true},
        {"/\xc3\xa9", true},
        {"/a b", true},
        {"/...", true},
        {"", false},
        {"a", false},
        {"//", false},
        {"/a/", false},
        {"/a//b", false},
        {"/.", false},
        {"/a/..", false},
        {"/a/./b", false},
        {"/\x01", false},
        {"/\x7f", false},
        {"/\xc2\x9f", false},
        {"/\xc2\xa0", true},
        {"/\xed\x9f\xbf", true},
        {"/\xed\xa0\x80", false},
        {"/\xef\xa3\xbf", false},
        {"/\xef\xa4\x80", true},
        {"/\xef\xbf\xaf", true},
        {"/\xef\xbf\xb0", false},
        {"/\xf0\x9f\x98\x80", false},
        {"/\xff", false},
        {"/\xc3", false},
        {"/\xc0\x80", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (path_is_valid(slice_of(rows[i].path)) != rows[i].is_valid) fail_msg("\"%s\"", rows[i].path);
    }
    assert_false(path_is_valid((struct slice){(const uint8_t *)"/a\0b", 4}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_change_tells_each_what_it_asked),
        cmocka_unit_test(lives_agree_with_a_list),
        cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
