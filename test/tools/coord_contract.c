/* coord_contract: what coord/coord.h promises, asked of a real keeper through either door.
 *
 *   coord_contract direct DIR                 our keeper in this process, its files in DIR
 *   coord_contract wire HOST:PORT DIR         any ensemble; DIR holds session files
 *
 * One line for each promise; exit 1 if one is broken. Leaves nothing behind in the keeper but /coord-contract when it dies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/text.h"
#include "coord/coord.h"
#include "keeper/keeper.h"
#include "loop/disk.h"
#include "loop/loop.h"

enum { PATIENCE_MS = 20000 };

struct bench {
    struct loop *loop;
    struct disk *disk;
    struct keeper *keeper; /* direct */
    const char *connect;   /* wire */
    const char *dir;
    int awaited;
    bool is_late;
    struct loop_timer timer;
    int broken;
};

struct heard {
    struct bench *bench;
    struct coord_listener listener;
    char log[64]; /* C connected, D disconnected, E expired, N new session */
};

struct answer {
    struct bench *bench;
    int calls;
    enum error err;
    char path[200];
    struct bytes *data;
    struct znode_stat stat;
    size_t children, failed_index, results;
    enum error result_errs[8];
    int order;
};

struct events {
    struct bench *bench;
    int count, order;
    enum coord_event last;
    char path[200];
};

static void check(struct bench *bench, bool is_kept, const char *promise)
{
    printf("%s  %s\n", is_kept ? "ok    " : "BROKEN", promise);
    bench->broken += !is_kept;
}

static void must_ok(enum error err, const char *what)
{
    if (err == OK) return;
    fprintf(stderr, "coord_contract: %s: %s\n", what, error_text(err));
    exit(1);
}

static void on_late(struct loop_timer *timer)
{
    struct bench *bench = (struct bench *)((char *)timer - offsetof(struct bench, timer));
    bench->is_late = true;
    loop_stop(bench->loop);
}

static void one_done(struct bench *bench)
{
    if (--bench->awaited == 0) loop_stop(bench->loop);
}

/* Runs until what is awaited has come. */
static void await(struct bench *bench, int count, int patience_ms)
{
    bench->awaited += count;
    bench->is_late = false;
    if (bench->awaited <= 0) return;
    loop_timer_start(bench->loop, &bench->timer, patience_ms);
    loop_run(bench->loop);
    loop_timer_stop(bench->loop, &bench->timer);
    bench->awaited = 0;
}

static int next_order(void)
{
    static int order; /* a program, not a node */
    return ++order;
}

static void note(void *context, const struct coord_reply *reply)
{
    struct answer *answer = context;
    struct bench *bench = answer->bench;
    bytes_release(&answer->data);
    *answer = (struct answer){.bench = bench,
                              .calls = answer->calls + 1,
                              .err = reply->err,
                              .stat = reply->stat,
                              .children = reply->child_count,
                              .failed_index = reply->failed_index,
                              .results = reply->result_count,
                              .order = next_order()};
    slice_text(reply->path, answer->path, sizeof answer->path);
    if (reply->data.data) answer->data = bytes_copy(reply->data.data, reply->data.size);
    for (size_t i = 0; i < reply->result_count && i < 8; i++) answer->result_errs[i] = reply->results[i].err;
    one_done(bench);
}

static void note_event(void *context, enum coord_event event, struct slice path)
{
    struct events *events = context;
    events->count++;
    events->last = event;
    events->order = next_order();
    slice_text(path, events->path, sizeof events->path);
}

static void note_state(void *context, enum coord_state state)
{
    struct heard *heard = context;
    size_t at = strlen(heard->log);
    if (at + 1 < sizeof heard->log) heard->log[at] = "CDENA"[state];
    if (state == COORD_CONNECTED) one_done(heard->bench);
}

static struct coord *open_coord(struct bench *bench, struct heard *heard, const char *chroot,
                                const char *session_file)
{
    struct coord_options options = {.session_timeout_ms = 6000, .chroot = chroot};
    struct coord *coord = NULL;
    char path[500];
    snprintf(path, sizeof path, "%s/%s", bench->dir, session_file ? session_file : "");
    if (bench->keeper)
        must_ok(coord_open_direct(bench->loop, bench->keeper, &options, &coord), "direct door");
    else
        must_ok(coord_open_wire(bench->loop, bench->disk, bench->connect, session_file ? path : NULL,
                                &options, &coord),
                "wire door");
    *heard = (struct heard){.bench = bench, .listener = {note_state, heard, NULL}};
    coord_listen(coord, &heard->listener);
    await(bench, 1, PATIENCE_MS);
    if (!coord_is_connected(coord)) {
        fprintf(stderr, "coord_contract: no session within %d ms\n", PATIENCE_MS);
        exit(1);
    }
    return coord;
}

static void finished(void *context)
{
    one_done(context);
}

static void close_coord(struct bench *bench, struct coord **coord)
{
    coord_finish(*coord, 5000, finished, bench);
    await(bench, 1, PATIENCE_MS);
    coord_close(coord);
}

/* --- promises --- */

#define ASK(call) /* one question, and its answer */                                                         \
    do {                                                                                                     \
        call;                                                                                                \
        await(b, 1, PATIENCE_MS);                                                                            \
    } while (0)

static void operations(struct bench *b, struct coord *c)
{
    struct answer a = {.bench = b};
    const struct slice root = SLICE("/n");
    ASK(coord_create(c, root, SLICE("one"), COORD_PERSISTENT, COORD_ACL_OPEN, note, &a));
    check(b, a.err == OK && strcmp(a.path, "/n") == 0, "create answers with the path");
    ASK(coord_create(c, root, SLICE_NULL, COORD_PERSISTENT, COORD_ACL_OPEN, note, &a));
    check(b, a.err == ERR_ZK_NODE_EXISTS, "a second create: the znode exists");
    ASK(coord_set(c, root, SLICE("two"), 0, note, &a));
    check(b, a.err == OK && a.stat.version == 1 && a.stat.mzxid > a.stat.czxid,
          "set answers with the new version");
    ASK(coord_set(c, root, SLICE("x"), 0, note, &a));
    check(b, a.err == ERR_ZK_BAD_VERSION, "set with an old version: refused");
    ASK(coord_get(c, root, note, &a));
    check(b, a.err == OK && slice_is(bytes_slice(a.data), "two") && a.stat.data_length == 3,
          "get gives data and stat");
    ASK(coord_exists(c, SLICE("/none"), note, &a));
    check(b, a.err == ERR_ZK_NO_NODE, "exists of what is not: no such znode");
    ASK(coord_create(c, SLICE("/n/null"), SLICE_NULL, COORD_PERSISTENT, COORD_ACL_OPEN, note, &a));
    ASK(coord_get(c, SLICE("/n/null"), note, &a));
    check(b, a.err == OK && !a.data, "null data stays null");
    ASK(coord_create(c, SLICE("/n/s-"), SLICE(""), COORD_SEQUENTIAL, COORD_ACL_OPEN, note, &a));
    check(b, strcmp(a.path, "/n/s-0000000001") == 0, "sequential names count the parent's children so far");
    ASK(coord_children(c, root, note, &a));
    check(b, a.err == OK && a.children == 2 && a.stat.child_count == 2, "children gives names and stat");
    ASK(coord_delete(c, root, COORD_ANY_VERSION, note, &a));
    check(b, a.err == ERR_ZK_NOT_EMPTY, "delete of a parent: refused");
    ASK(coord_delete(c, SLICE("/n/null"), 5, note, &a));
    check(b, a.err == ERR_ZK_BAD_VERSION, "delete with a wrong version: refused");
    ASK(coord_delete(c, SLICE("/n/null"), 0, note, &a));
    ASK(coord_delete(c, SLICE("/n/s-0000000001"), -1, note, &a));
    ASK(coord_delete(c, root, 1, note, &a));
    check(b, a.err == OK, "delete with the right version");
    bytes_release(&a.data);
}

static void multis(struct bench *b, struct coord *c)
{
    struct answer a = {.bench = b};
    struct coord_op good[] = {{.kind = COORD_CREATE, .path = SLICE("/m"), .data = SLICE("0")},
                              {.kind = COORD_SET, .path = SLICE("/m"), .data = SLICE("1"), .version = 0},
                              {.kind = COORD_CHECK, .path = SLICE("/m"), .version = 1},
                              {.kind = COORD_CREATE, .path = SLICE("/m/e"), .mode = COORD_EPHEMERAL}};
    ASK(coord_multi(c, good, 4, note, &a));
    check(b, a.err == OK && a.results == 4, "a multi's steps see those before them");
    ASK(coord_exists(c, SLICE("/m"), note, &a));
    int64_t czxid = a.stat.czxid;
    ASK(coord_exists(c, SLICE("/m/e"), note, &a));
    check(b, a.stat.czxid == czxid && a.stat.ephemeral_owner == coord_session_id(c),
          "all its steps share one zxid");
    struct coord_op bad[] = {{.kind = COORD_DELETE, .path = SLICE("/m/e"), .version = -1},
                             {.kind = COORD_CHECK, .path = SLICE("/m"), .version = 9},
                             {.kind = COORD_DELETE, .path = SLICE("/m"), .version = -1}};
    ASK(coord_multi(c, bad, 3, note, &a));
    check(b,
          a.err == ERR_ZK_BAD_VERSION && a.failed_index == 1 && a.result_errs[0] == OK &&
              a.result_errs[2] == ERR_ZK_RUNTIME_INCONSISTENCY,
          "a failed multi names its step");
    ASK(coord_exists(c, SLICE("/m/e"), note, &a));
    check(b, a.err == OK, "and does nothing");
    ASK(coord_multi(c, NULL, 0, note, &a));
    check(b, a.err == OK, "an empty multi is fine");
    struct coord_op gone[] = {{.kind = COORD_DELETE, .path = SLICE("/m/e"), .version = -1},
                              {.kind = COORD_DELETE, .path = SLICE("/m"), .version = -1}};
    ASK(coord_multi(c, gone, 2, note, &a));
    check(b, a.err == OK, "deletes in a multi, the child first");
}

static void watches(struct bench *b, struct coord *c, struct coord *other)
{
    struct answer a = {.bench = b}, late = {.bench = b};
    struct events node = {.bench = b}, children = {.bench = b};
    must_ok(coord_watch(c, COORD_WATCH_NODE, SLICE("/w"), note_event, &node), "watch");
    must_ok(coord_watch(c, COORD_WATCH_CHILDREN, SLICE("/"), note_event, &children), "watch");
    ASK(coord_exists(c, SLICE("/w"), note, &a));
    ASK(coord_children(c, SLICE("/"), note, &a));
    ASK(coord_create(other, SLICE("/w"), SLICE("1"), COORD_PERSISTENT, COORD_ACL_OPEN, note, &a));
    ASK(coord_get(c, SLICE("/w"), note, &late));
    check(b, node.count == 1 && node.last == COORD_NODE_CREATED && strcmp(node.path, "/w") == 0,
          "exists watches for creation");
    check(b, children.count == 1 && children.last == COORD_CHILDREN_CHANGED, "children watches for children");
    check(b, node.order < late.order, "the event comes before a later read's answer");
    ASK(coord_set(other, SLICE("/w"), SLICE("2"), -1, note, &a));
    ASK(coord_get(c, SLICE("/w"), note, &late));
    check(b, node.count == 2 && node.last == COORD_NODE_CHANGED, "get watches for change");
    ASK(coord_create(other, SLICE("/w2"), SLICE(""), COORD_EPHEMERAL, COORD_ACL_OPEN, note, &a));
    ASK(coord_delete(other, SLICE("/w"), -1, note, &a));
    ASK(coord_exists(c, SLICE("/w"), note, &late));
    check(b, node.count == 3 && node.last == COORD_NODE_DELETED, "and for deletion");
    check(b, children.count == 1, "a watch fires once");
    coord_unwatch(c, COORD_WATCH_NODE, SLICE("/w"));
    coord_unwatch(c, COORD_WATCH_CHILDREN, SLICE("/"));
    ASK(coord_delete(other, SLICE("/w2"), -1, note, &a));
    bytes_release(&late.data);
}

static void volume(struct bench *b, struct coord *c)
{
    enum { COUNT = 2000, BIG = 500000 };
    static struct answer answers[COUNT];
    struct answer a = {.bench = b};
    ASK(coord_create(c, SLICE("/v"), SLICE(""), COORD_PERSISTENT, COORD_ACL_OPEN, note, &a));
    for (int i = 0; i < COUNT; i++) {
        answers[i] = (struct answer){.bench = b};
        coord_set(c, SLICE("/v"), SLICE("x"), i, note, &answers[i]);
    }
    int64_t began = loop_clock_us(b->loop);
    await(b, COUNT, 60000);
    bool is_in_order = true;
    for (int i = 0; i < COUNT; i++) is_in_order &= answers[i].err == OK && answers[i].stat.version == i + 1;
    check(b, is_in_order, "2,000 conditional sets, pipelined, each finds the version of the one before");
    printf("        (%lld us for each)\n", (long long)(loop_clock_us(b->loop) - began) / COUNT);

    struct bytes *big = bytes_new(BIG);
    memset(big->data, 'b', BIG);
    big->size = BIG;
    ASK(coord_set(c, SLICE("/v"), bytes_slice(big), -1, note, &a));
    ASK(coord_get(c, SLICE("/v"), note, &a));
    check(b, a.err == OK && slice_equal(bytes_slice(a.data), bytes_slice(big)), "half a megabyte of data");
    bytes_release(&big);

    /* Child lists may be larger than any request. */
    enum { CHILDREN = 6000, EACH = 200 };
    static char names[CHILDREN][EACH];
    for (int begin = 0; begin < CHILDREN; begin += 1000) {
        struct coord_op ops[1000];
        for (int i = 0; i < 1000; i++) {
            snprintf(names[begin + i], EACH, "/v/%0190d", begin + i);
            ops[i] = (struct coord_op){.kind = COORD_CREATE, .path = slice_of(names[begin + i])};
        }
        ASK(coord_multi(c, ops, 1000, note, &a));
        if (a.err != OK) break;
    }
    ASK(coord_children(c, SLICE("/v"), note, &a));
    check(b, a.err == OK && a.children == CHILDREN, "6,000 children with names of 190 characters");
    for (int begin = 0; begin < CHILDREN; begin += 1000) {
        struct coord_op ops[1000];
        for (int i = 0; i < 1000; i++)
            ops[i] =
                (struct coord_op){.kind = COORD_DELETE, .path = slice_of(names[begin + i]), .version = -1};
        ASK(coord_multi(c, ops, 1000, note, &a));
    }
    ASK(coord_delete(c, SLICE("/v"), -1, note, &a));
    check(b, a.err == OK, "and all of them deleted");
    bytes_release(&a.data);
}

static void ephemerals(struct bench *b, struct coord *c)
{
    struct answer a = {.bench = b};
    struct heard heard;
    struct coord *mortal = open_coord(b, &heard, "/coord-contract", "mortal");
    ASK(coord_create(mortal, SLICE("/e"), SLICE(""), COORD_EPHEMERAL, COORD_ACL_OPEN, note, &a));
    ASK(coord_create(mortal, SLICE("/e/c"), SLICE(""), COORD_PERSISTENT, COORD_ACL_OPEN, note, &a));
    check(b, a.err == ERR_ZK_NO_CHILDREN_FOR_EPHEMERALS, "ephemerals have no children");
    ASK(coord_exists(c, SLICE("/e"), note, &a));
    check(b, a.err == OK && a.stat.ephemeral_owner == coord_session_id(mortal),
          "an ephemeral names its owner");
    close_coord(b, &mortal);
    ASK(coord_exists(c, SLICE("/e"), note, &a));
    check(b, a.err == ERR_ZK_NO_NODE, "ephemerals go with their session, at once when it is finished");
}

/* The next process ends the session of the one before. */
static void succession(struct bench *b, struct coord *c)
{
    struct answer a = {.bench = b};
    struct heard first_heard, second_heard;
    struct coord *first = open_coord(b, &first_heard, "/coord-contract", "seat");
    int64_t session = coord_session_id(first);
    ASK(coord_create(first, SLICE("/seat"), SLICE(""), COORD_EPHEMERAL, COORD_ACL_OPEN, note, &a));
    struct coord *second = open_coord(b, &second_heard, "/coord-contract", "seat");
    ASK(coord_exists(c, SLICE("/seat"), note, &a));
    check(b, a.err == ERR_ZK_NO_NODE, "a session file lets the next process end the old session first");
    if (strcmp(first_heard.log, "NCDENC") != 0) await(b, 1, PATIENCE_MS);
    check(b, strcmp(first_heard.log, "NCDENC") == 0 && coord_session_id(first) != session,
          "who is expired hears it and begins a new session");
    if (strcmp(first_heard.log, "NCDENC") != 0) printf("        (heard %s)\n", first_heard.log);
    close_coord(b, &first);
    close_coord(b, &second);
}

static int promises(struct bench *b)
{
    struct heard heard, other_heard, plain_heard;
    struct answer a = {.bench = b};
    struct coord *c = open_coord(b, &heard, "/coord-contract", NULL);
    struct coord *other = open_coord(b, &other_heard, "/coord-contract", NULL);
    struct coord *plain = open_coord(b, &plain_heard, NULL, NULL);
    ASK(coord_children(plain, SLICE("/coord-contract"), note, &a));
    check(b, a.err == OK, "the chroot is created");
    check(b, strcmp(heard.log, "NC") == 0, "a new session, then connected");
    operations(b, c);
    multis(b, c);
    watches(b, c, other);
    volume(b, c);
    ephemerals(b, c);
    if (!b->keeper) succession(b, c);
    close_coord(b, &c);
    close_coord(b, &other);
    ASK(coord_delete(plain, SLICE("/coord-contract"), -1, note, &a));
    check(b, a.err == OK, "nothing is left behind");
    close_coord(b, &plain);
    printf("%s\n", b->broken ? "BROKEN" : "all promises kept");
    return b->broken ? 1 : 0;
}

/* --- doors --- */

static void keeper_ready(void *context, enum error err)
{
    must_ok(err, "keeper");
    one_done(context);
}

int main(int argc, char **argv)
{
    bool is_direct = argc == 3 && strcmp(argv[1], "direct") == 0;
    if (!is_direct && (argc != 4 || strcmp(argv[1], "wire") != 0)) {
        fprintf(stderr, "coord_contract direct DIR | coord_contract wire HOST:PORT DIR\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    diag_set_level(DIAG_ERROR);
    struct bench bench = {.connect = is_direct ? NULL : argv[2], .dir = argv[argc - 1], .timer.run = on_late};
    struct descriptors *descriptors = descriptors_new(0);
    must_ok(loop_new(descriptors, &bench.loop), "loop");
    bench.disk = disk_new(descriptors);
    must_ok(disk_mkdir(bench.disk, bench.dir), "directory");
    struct lane *lane = NULL;
    if (is_direct) {
        struct keeper_config config;
        struct keeper_events events = {.ready = keeper_ready};
        keeper_config_init(&config);
        config.data_dir = bench.dir;
        must_ok(lane_new(bench.loop, "sync", 1, &lane), "lane");
        must_ok(keeper_open(&config, bench.loop, bench.disk, lane, &events, &bench, &bench.keeper), "keeper");
        await(&bench, 1, PATIENCE_MS);
    }
    int status = promises(&bench);
    if (is_direct) {
        keeper_close(&bench.keeper, finished, &bench);
        await(&bench, 1, PATIENCE_MS);
        lane_free(lane);
    }
    loop_free(bench.loop);
    disk_free(bench.disk);
    descriptors_free(descriptors);
    return status;
}
