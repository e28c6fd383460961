/* coord.h: what a broker wants from a coordination service: ZooKeeper's operations on one session.
 *
 *     broker, controller          coord (one session, pure)             a door
 *     coord_multi(...)  ---->  queue -> at most 10 in flight  ---->  wire:   TCP to any ensemble
 *     done(reply)       <----  replies, watches, pings        <----  direct: the keeper in this process
 *
 * There is one client. It speaks ZooKeeper's messages, and a door carries them: bytes in, bytes out, time. So both doors
 * behave alike, and the client runs on the simulated loop and under a scripted door in tests.
 *
 * Order     requests are sent, answered and called back in the order they were made. A watch is told before any reply the
 *           keeper gave after the change (that is the keeper's promise; nothing here reorders).
 * Lost      when a connection goes, what was in flight is sent again on the next one of the same session, without limit: a
 *           write may so be applied twice and report ERR_ZK_BAD_VERSION, ERR_ZK_NODE_EXISTS or ERR_ZK_NO_NODE though its first
 *           sending succeeded. Who writes must cope (facts/cluster.md 1.1).
 * Expired   every request made so far fails with ERR_ZK_SESSION_EXPIRED, its watches are gone, COORD_EXPIRED is told; a new
 *           session is begun at once, and what is asked meanwhile waits for it. Handlers stay registered.
 * Watches   one-shot. A get or exists of a path with a node handler, and a children with a child handler, arms the watch;
 *           to hear again, read again. After a reconnect of the same session armed watches are set again.
 * Chroot    is added to every path on the way out and taken off on the way in; created at the first session if absent.
 * Threads   a coord belongs to one loop; every function is called there, every callback comes there.
 * Limits    at most COORD_MAX_WAITING requests and 64 MiB of them wait; beyond, a call fails with ERR_LIMIT.
 * Errors    reach `done`, always after the call has returned, except ERR_NOMEM, ERR_LIMIT, ERR_TOO_LARGE, ERR_CLOSED and
 *           ERR_ZK_BAD_ARGUMENTS, which reach it before. Replies are loans until `done` returns.
 * Source    facts/cluster.md 1.1, facts/keeper.md 1.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "keeper/stat.h"

struct coord;
struct loop;
struct disk;
struct keeper;
struct tls_context;

enum {
    COORD_MAX_IN_FLIGHT = 10,    /* zookeeper.max.in.flight.requests */
    COORD_MAX_WAITING = 1 << 20, /* requests, in flight or not */
    COORD_MAX_MESSAGE =
        1000 * 1000, /* one request, below the 1 MiB that keepers accept; split larger multis */
};

/* Access lists a broker uses: everybody; the creator and readers; the creator alone (facts/cluster.md 1.2). */
enum coord_acl { COORD_ACL_OPEN, COORD_ACL_CREATOR_AND_READERS, COORD_ACL_CREATOR };
enum coord_mode { COORD_PERSISTENT = 0, COORD_EPHEMERAL = 1, COORD_SEQUENTIAL = 2 };
enum { COORD_ANY_VERSION = -1 };

enum coord_op_kind { COORD_CREATE, COORD_DELETE, COORD_SET, COORD_CHECK };

/* One step of a multi. */
struct coord_op {
    enum coord_op_kind kind;
    struct slice path;
    struct slice data;    /* CREATE, SET; null is a legal value */
    int32_t version;      /* DELETE, SET, CHECK; COORD_ANY_VERSION */
    enum coord_mode mode; /* CREATE */
    enum coord_acl acl;   /* CREATE */
};

struct coord_op_result {
    enum error err;         /* ERR_ZK_RUNTIME_INCONSISTENCY: another step failed first */
    struct slice path;      /* CREATE: as created */
    struct znode_stat stat; /* SET */
};

struct coord_reply {
    enum error err;               /* of a multi: the first step that failed */
    int64_t zxid;                 /* the keeper's, when it answered */
    struct slice path;            /* create: as created (sequence number included) */
    struct slice data;            /* get */
    struct znode_stat stat;       /* get, exists, set, children */
    const struct slice *children; /* children: names, in no order */
    size_t child_count;
    const struct coord_op_result *results; /* multi: one for each step, when the keeper answered at all */
    size_t result_count;
    size_t failed_index; /* multi with err: which step */
};

typedef void coord_done(void *context, const struct coord_reply *reply);

/* `path`, `data` and `ops` are copied before the call returns. `done` may be NULL. */
void coord_create(struct coord *coord, struct slice path, struct slice data, enum coord_mode mode,
                  enum coord_acl acl, coord_done *done, void *context);
void coord_delete(struct coord *coord, struct slice path, int32_t version, coord_done *done, void *context);
void coord_set(struct coord *coord, struct slice path, struct slice data, int32_t version, coord_done *done,
               void *context);
void coord_get(struct coord *coord, struct slice path, coord_done *done, void *context);
void coord_exists(struct coord *coord, struct slice path, coord_done *done, void *context);
void coord_children(struct coord *coord, struct slice path, coord_done *done, void *context);
/* All or nothing. An empty one is answered with OK. */
void coord_multi(struct coord *coord, const struct coord_op *ops, size_t count, coord_done *done,
                 void *context);
/* Bytes that this step adds to a multi; the sum must stay below COORD_MAX_MESSAGE. */
size_t coord_op_size(const struct coord *coord, const struct coord_op *op);

/* --- watches --- */
enum coord_event {
    COORD_NODE_CREATED = 1,
    COORD_NODE_DELETED = 2,
    COORD_NODE_CHANGED = 3,
    COORD_CHILDREN_CHANGED = 4
};
enum coord_watch { COORD_WATCH_NODE, COORD_WATCH_CHILDREN };

typedef void coord_watcher(void *context, enum coord_event event, struct slice path);

/* At most one handler for a path and kind. A child handler also hears of its node's deletion. */
MUST_USE enum error coord_watch(struct coord *coord, enum coord_watch kind, struct slice path,
                                coord_watcher *watcher, void *context);
void coord_unwatch(struct coord *coord, enum coord_watch kind, struct slice path);

/* --- the session --- */
enum coord_state {
    COORD_CONNECTED,    /* attached: at first, and again after DISCONNECTED */
    COORD_DISCONNECTED, /* still trying; the session may live */
    COORD_EXPIRED,      /* the session and its ephemerals are gone; a new one is being begun */
    COORD_NEW_SESSION,  /* comes before CONNECTED, for the first session too */
    COORD_AUTH_FAILED,  /* tried again every second */
};

struct coord_listener {
    void (*on_state)(void *context, enum coord_state state);
    void *context;
    struct coord_listener *next; /* the coord's */
};

/* The caller owns `listener`; told in the order they were added. */
void coord_listen(struct coord *coord, struct coord_listener *listener);
void coord_unlisten(struct coord *coord, struct coord_listener *listener);
bool coord_is_connected(const struct coord *coord);
int64_t coord_session_id(const struct coord *coord);         /* 0 = none yet */
int32_t coord_session_timeout_ms(const struct coord *coord); /* as the keeper granted it */

/* --- opening --- */
struct coord_options {
    int32_t session_timeout_ms; /* zookeeper.session.timeout.ms; 0 = 18000 */
    int32_t connect_timeout_ms; /* of one attempt; 0 = 6000, at most the session's */
    int32_t max_in_flight;      /* 0 = COORD_MAX_IN_FLIGHT */
    const char *chroot;         /* "/kafka"; NULL or "" = none */
    struct tls_context *tls;    /* the wire door's, retained; NULL = in the clear */
    bool checks_host;           /* with tls: the name in the ensemble's certificates */
};

/* The keeper of this process. Its sessions end with the process, so nothing is kept on disk. */
MUST_USE enum error coord_open_direct(struct loop *loop, struct keeper *keeper,
                                      const struct coord_options *options, struct coord **coord);

/* connect is zookeeper.connect: "host:port,host:port/chroot" (its chroot wins over options->chroot; default port 2181; IPv6
 * in brackets). session_path: a file that keeps session id and password so that the next process can end the session of
 * this one before it begins its own; NULL = none. Connecting goes on in the background; see coord_listen. */
MUST_USE enum error coord_open_wire(struct loop *loop, struct disk *disk, const char *connect,
                                    const char *session_path, const struct coord_options *options,
                                    struct coord **coord);

/* Ends the session in good order (ephemerals go at once), then calls done; ends the connection after timeout_ms in any case.
 * Requests not yet answered fail with ERR_CLOSED, later ones too. */
void coord_finish(struct coord *coord, int32_t timeout_ms, void (*done)(void *context), void *context);
/* Frees it. What is not yet answered fails with ERR_CLOSED from within; after it no callback comes. Without coord_finish the
 * session is left to its timeout. Not from a callback. */
void coord_close(struct coord **coord);

/* --- doors: for the two above, for tests and the simulator --- */
struct coord_door {
    /* Begins a connection to the next member of the ensemble. Later, never from within: coord_door_opened or _closed. */
    void (*open)(void *context);
    /* One message without its length prefix; takes over the reference. */
    void (*send)(void *context, struct bytes *message);
    /* Drops the connection, if any; no coord_door_ call about it comes after. */
    void (*close)(void *context);
    int64_t (*now_ms)(void *context);
    /* Calls coord_door_tick at due_ms or soon after; replaces the time asked for before. */
    void (*wake_at)(void *context, int64_t due_ms);
    void (*random)(void *context, void *out, size_t size);
    /* A session began that the next process should end; all zero: it is over. May be NULL. */
    void (*remember)(void *context, int64_t session_id, const uint8_t password[16]);
    void (*free)(void *context); /* with the coord; may be NULL */
};

/* old_session_id != 0: that session is closed before the first of ours is begun. The first coord_door open call is made in
 * the first coord_door_tick. */
MUST_USE enum error coord_new(const struct coord_door *door, void *door_context,
                              const struct coord_options *options, int64_t old_session_id,
                              const uint8_t old_password[16], struct coord **coord);
void coord_door_opened(struct coord *coord);
void coord_door_message(struct coord *coord, struct slice message);
void coord_door_closed(struct coord *coord, enum error err);
void coord_door_tick(struct coord *coord);
