/* inside.h: the keeper's own structs, shared by its files.
 *
 *     conn.c      bytes to frames and back, one connection at either door
 *     requests.c  what a frame asks, and the order of answers
 *     session.c   sessions: opening, re-attaching, expiring
 *     events.c    watches set by requests, events sent
 *     sasl.c      SASL, and whether who asks has proved enough
 *     words.c     four-letter words
 *     admin.c     the admin server's commands
 *     figures.c   numbers under ZooKeeper's names
 *     status.c    what words and commands have in common; status_members.c of an ensemble
 *     audit.c     the audit log
 *     local.c     the local door
 *     saver.c     snapshots and the reaper of containers, in slices
 *     members.c   /zookeeper/config, and changes of it
 *     office.c    which part this member plays in its ensemble
 *     forward.c   what it sends to the leader, and what the leader does with it
 *     keeper.c    log and machine put together
 *
 * All of it runs on the keeper's loop. A connection that ends is CONN_DEAD at once and freed at the end of the turn, so
 * whoever holds one on the stack looks at its state after each call that may end it.
 */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "base/text.h"
#include "keeper/keeper.h"
#include "keeper/machine.h"
#include "keeper/members.h"
#include "keeper/office.h"
#include "keeper/watch.h"
#include "loop/loop.h"
#include "loop/stream.h"
#include "quorum/quorum.h"

enum {
    QUEUED_READS_MAX = 64,     /* of one connection, waiting behind its writes */
    OUT_PAUSE_BYTES = 1 << 20, /* unsent: its requests are read no more until it drains */
    OUT_CUT_BYTES = 16 << 20,  /* unsent when an event comes: it is not reading, cut it */
    LINGER_MS = 2000,          /* after our last answer the peer has this long to close */
    BUCKETS = 64,              /* of expiry, a tick each */
    AUTH_IDS_MAX = 64,         /* of one connection */
    BROKER_GRACE_MS = 250,     /* a broker of ours whose connection ended has this long to be back */
    QUOTA_TOLD_EVERY_MS = 1000,
    DIGEST_INTERVAL = 128, /* zxids from one digest that is remembered to the next */
    DIGESTS_KEPT = 1024,
    TRIM_NOTED_BYTES = 4096, /* less data that goes is not worth noting */
};

enum conn_state {
    CONN_FRESH,      /* no ConnectRequest yet */
    CONN_CONNECTING, /* its session is on its way through the log */
    CONN_OPEN,
    CONN_FINISHING, /* flush, then close; what it still sends is not read */
    CONN_DEAD,
};

enum request_kind { REQUEST_WRITE, REQUEST_SYNC, REQUEST_READ, REQUEST_CONNECT, REQUEST_RECONFIG };

/* A request without an answer yet: in its connection's queue, and (all but reads) in the keeper's, in log order. */
struct request {
    struct request *next_of_conn, *next_pending;
    struct conn *conn; /* NULL: gone, or the keeper's own request */
    enum request_kind kind;
    int32_t xid, op;
    uint64_t index;    /* of a keeper alone: applied when the log is */
    uint32_t sequence; /* in an ensemble: of this member's life */
    bool is_applied;   /* a sync that is still in its connection's queue */
    int64_t begun_us;
    size_t body_size;
    uint8_t body[]; /* of a read */
};

struct conn {
    struct list all, timed, dirty, stalled; /* of the keeper; an item that is in no list is alone */
    struct keeper *keeper;
    struct stream *stream; /* NULL at the local door */
    struct keeper_local *local;
    char host[64];
    uint16_t port;
    enum conn_state state;
    bool had_read_only;    /* its ConnectRequest had the field */
    bool wants_read_only;  /* and it was true */
    bool is_broker;        /* one of ours (KEEPER_BROKER_PROTOCOL) */
    bool is_reconfiguring; /* read no further until it is answered */
    bool is_cut;           /* to be closed at the end of the turn */
    struct live *live;
    uint32_t attachment; /* of the session here; 0: a keeper alone */
    struct text ids;
    int auth_count;
    struct sasl_digest *sasl; /* an exchange at work */
    bool sasl_is_over;
    struct watcher watcher;
    uint8_t *in; /* what is not a whole frame yet, or may not be looked at yet */
    size_t in_size, in_capacity;
    struct request *first, *last;
    size_t write_count, read_count; /* of the queue */
    struct bytes *out;
    int64_t timed_from_ms;
    uint64_t attach_after;                    /* its session, once this index is applied */
    bool is_admitted;                         /* by the throttle */
    bool is_counted, is_revalidation_counted; /* its ConnectRequest, which may have to be looked at again */
    int64_t throttled_ms; /* since then a write waits for request_throttle_max; 0: none does */
    int64_t asked_session, begun_ms, received, sent;
    int32_t last_op, last_xid;
    int64_t last_zxid, last_answer_ms;
    int64_t latency_count, latency_min_us, latency_max_us, latency_sum_us, latency_last_us;
};

/* Since the start, or the last srst. */
struct keeper_counts {
    int64_t bytes_received, response_bytes, watch_bytes; /* with their lengths */
    int64_t connection_requests, revalidations, sessionless_expired, large_requests, auth_failed;
    int64_t log_entries;
    int64_t backups_failed[2], backups_limited[2];      /* of the admin server: snapshots, restores */
    int64_t answer_last, answer_least, answer_greatest; /* bytes of answers, -1: none yet */
    int64_t lookings, proposals; /* of a member: elections it took part in; entries it led */
    int64_t proposal_last, proposal_least, proposal_greatest; /* bytes of them, -1: none yet */
    struct summary recovery_us, restore_us, read_us, update_us, election_us;
    struct summary told[EVENT_CHILDREN_CHANGED + 1]; /* watchers of one change, by its type */
};

/* A session as this member sees it. */
struct live {
    struct list bucket;
    struct list touched; /* among the keeper's: the leader is to hear of it */
    int64_t id;
    struct session *session; /* the machine's, or of a read-only connection its own */
    struct conn *conn;       /* NULL: disconnected */
    int32_t timeout_ms;
    int64_t due_tick;
    bool is_closing;
    bool is_coming_back; /* the leader: another member asked to attach it, and that is not applied yet */
    bool is_old;         /* of an earlier life of this process, and to be closed before we are ready */
    bool is_read_only;   /* known to this member only, and gone with its connection */
    struct list lost;    /* among the keeper's: a broker's, without its connection */
    int64_t lost_ms;
};

struct keeper_local {
    struct list all;
    struct keeper *keeper;
    struct conn *conn; /* NULL: the keeper closed it */
    struct keeper_local_events events;
    void *context;
    struct text in; /* frames with their lengths, not looked at yet */
    struct bytes *out;
    bool wants_closed, is_delivering, is_dropped;
};

/* Where clients come in. */
struct door {
    struct keeper *keeper;
    struct listener *listener;
    struct tls_context *tls; /* NULL: in the clear */
    bool admits_plain;
};

struct keeper {
    struct keeper_config config;
    struct keeper_events events;
    void *context;
    struct loop *loop;
    struct disk *disk;
    struct lane *work;
    struct quorum *quorum;
    struct machine machine;
    bool is_serving, is_closing, has_failed, is_log_closed;
    bool has_told_ready;
    bool is_machine_here; /* no worker restores it: it may be looked at */
    bool is_read_only;    /* without a leader, and serving readers all the same */
    struct office office;
    struct held *held_first, *held_last;
    struct list touched; /* struct live */
    struct loop_timer touch_timer;
    size_t closes_left; /* sessions of an earlier process that are still being closed */
    void (*closed)(void *context);
    void *closed_context;

    struct door doors[8];
    size_t door_count;
    struct map by_host; /* connections of an address: a number as a pointer */
    bool has_cut;       /* some connection is_cut */
    struct list conns, fresh, finishing, dirty, stalled, dead, locals;
    size_t conn_count;
    struct loop_timer timeouts;
    struct loop_message turn;
    bool is_turn_deferred;
    uint8_t *scratch;

    struct request *pending_first, *pending_last;
    struct request *reconfigs; /* beside the queue, for they take their time */
    struct reconfig reconfig;
    bool is_config_told; /* the leader: /zookeeper/config says what is, or will */
    size_t outstanding;

    struct map lives; /* by session id */
    struct list buckets[BUCKETS];
    struct loop_timer expiry;
    int64_t expiry_at_ms; /* when the timer is due */
    struct list lost;     /* struct live, oldest first */
    struct loop_timer lost_timer;

    struct throttle throttle;
    struct watch_table watches;
    struct text body;

    bool is_saving, saver_waits;
    struct loop_message saver_message;
    bool is_saver_posted;
    struct loop_timer reaper;
    uint64_t reaper_at; /* tree_next */
    struct loop_timer trim;
    size_t freed_bytes, trim_freed_bytes;
    int trim_waits;
    bool is_trim_last;

    int64_t begun_ms, quota_told_ms;
    int64_t packets_received, packets_sent;
    int64_t latency_count, latency_sum_us, latency_min_us, latency_max_us;
    int64_t rejected_count, expired_count;
    struct keeper_counts counts;
    int64_t trace_mask, begun_us;
    bool is_looking; /* for a leader, since looking_from_us */
    int64_t looking_from_us, led_from_ms;
    int64_t saving_zxid,
        saved_zxid; /* of the snapshot being written, and of the newest on the disk; -1: none */

    struct tree_digest_at {
        int64_t zxid;
        uint64_t digest;
    } * digests; /* a ring of the last DIGESTS_KEPT */
    uint64_t digest_count;
    int64_t digest_zxid;

    struct text audit; /* lines of this turn */
    struct backup *backup;
};

/* --- conn.c --- */
struct conn *conn_new(struct keeper *keeper);
/* context: a struct door. */
void conn_accept(void *context, struct stream *stream);
/* Bytes from either door: frames are handled as far as they may be, the rest is kept. */
void conn_input(struct conn *conn, const uint8_t *data, size_t size);
/* Looks at kept input again and reads on, if nothing holds it back any more. */
void conn_resume(struct conn *conn);
void conn_close(struct conn *conn);
/* After what is queued now has been sent. */
void conn_finish(struct conn *conn);
/* Space for `size` bytes of output; NULL: without memory, and the connection will be cut. */
uint8_t *conn_reserve(struct conn *conn, size_t size);
/* Closes it at the end of the turn: for places where it must not go at once. */
void conn_cut(struct conn *conn);
void conn_reply(struct conn *conn, int32_t xid, int64_t zxid, int32_t code, struct slice body);
size_t conn_unsent(const struct conn *conn);
void keeper_turn_soon(struct keeper *keeper);
void keeper_free_dead(struct keeper *keeper);
void keeper_turn(struct loop_message *message);
void keeper_timeouts(struct loop_timer *timer);
/* --- keeper.c --- */
/* Clients may come; the first time this is `ready`. */
void keeper_serve(struct keeper *keeper);
/* Closes every connection and lets nobody in. */
void keeper_cut_clients(struct keeper *keeper);
/* It cannot go on: as when the log has failed. */
void keeper_fail(struct keeper *keeper, enum error err);
/* Once closing: frees it as soon as nothing will call it any more. */
void keeper_end(struct keeper *keeper);

/* --- requests.c --- */
/* One frame. False: it cannot be taken now and must be offered again. The connection may be dead afterwards. */
bool request_frame(struct conn *conn, struct slice frame);
/* Entry `index` has been applied; machine.outcome tells how. */
void request_applied(struct keeper *keeper, uint64_t index);
/* Of ours, the one that waits for it; NULL: it is another member's, or nobody waits any more. */
const struct request *request_of_applied(const struct keeper *keeper, uint64_t index);
/* Answers what waits at the head of a connection's queue and may be answered. */
void request_drain(struct conn *conn);
void request_drop_all(struct conn *conn);
/* The keeper's own entry (no connection waits). */
MUST_USE enum error request_submit_own(struct keeper *keeper, int32_t op, int64_t session, struct slice body);
/* Fills in the entry's origin. ERR_AGAIN: not now. */
MUST_USE enum error request_submit(struct keeper *keeper, struct conn *conn, enum request_kind kind,
                                   int32_t xid, struct entry *entry);
/* What this member's configuration puts into each entry it leads to the log. */
uint8_t request_flags(const struct keeper *keeper);
/* Forgets what is on its way to the log, and closes the connections that wait for it. */
void request_drop_pending(struct keeper *keeper);

/* --- forward.c --- */
/* Header, ids and body towards the log, through the leader if that is another. ERR_AGAIN: not now. */
MUST_USE enum error forward_entry(struct keeper *keeper, const struct slice parts[3], uint64_t *index);
void forward_lost(struct keeper *keeper, int64_t session, uint32_t attachment);
void forward_touches(struct loop_timer *timer);
void forward_message(struct keeper *keeper, int32_t from, struct slice bytes);
void forward_refuse(struct keeper *keeper, int32_t member, uint32_t life);
/* False: there is still no room. */
bool forward_append_held(struct keeper *keeper);
void forward_drop_held(struct keeper *keeper);

/* --- session.c --- */
void session_connect_frame(struct conn *conn, struct slice frame, bool *is_taken);
/* Entries that were applied, whoever asked for them. */
void session_created(struct keeper *keeper);
void session_attached(struct keeper *keeper);
void session_closed(struct keeper *keeper, int64_t id, struct conn *asked);
/* This connection's createSession or attach was applied. */
void session_connected(struct conn *conn);
void session_touch(struct keeper *keeper, struct live *live);
/* The machine has new sessions, all of them: after recovery, or a snapshot of the leader's. */
void session_adopt_all(struct keeper *keeper);
/* Asks for the end of those of the local door in an earlier life of this process; closes_left counts them. */
void session_end_old(struct keeper *keeper);
void session_take_office(struct keeper *keeper);
void session_leave_office(struct keeper *keeper);
/* The leader's link to a member, at whose local door sessions may be, came or went. */
void session_member_linked(struct keeper *keeper, int32_t member, bool is_up);
/* A member says that a broker's connection ended there. */
void session_lost_elsewhere(struct keeper *keeper, int64_t id, uint32_t attachment);
/* A member asks to attach a session: however slow the log is, its broker is back. */
void session_coming_back(struct keeper *keeper, const struct entry *entry);
void session_detach(struct conn *conn);
/* The same, and the peer did not say that it goes. */
void session_connection_lost(struct conn *conn);
void session_lost_expiry(struct loop_timer *timer);
void session_expiry(struct loop_timer *timer);
void session_free_all(struct keeper *keeper);
int32_t keeper_min_timeout_ms(const struct keeper *keeper);
int32_t keeper_max_timeout_ms(const struct keeper *keeper);

/* --- events.c --- */
void events_fire(struct keeper *keeper);
void events_watch_read(void *context, enum read_watch kind, struct slice path);
enum error events_set_watches(struct conn *conn, struct slice body, bool has_persistent);
enum error events_add_watch(struct conn *conn, struct slice body, struct text *out);
enum error events_check_watches(struct conn *conn, struct slice body, bool removes);

/* --- sasl.c --- */
void sasl_take(struct conn *conn, int32_t xid, struct slice body);
/* Has it proved enough (enforce.auth) to be served? */
/* `list` has items between `mark`s, blanks around them; NULL: none. */
bool list_names(const char *list, char mark, struct slice wanted);
bool sasl_suffices(const struct conn *conn);
void sasl_refuse(struct conn *conn, int32_t xid);

/* --- words.c --- */
/* Are these bytes, four at least, a word? If so it is answered and the connection finishes. */
enum words_found { WORDS_NONE, WORDS_MORE, WORDS_ANSWERED };
enum words_found words_try(struct conn *conn, const uint8_t *data, size_t size);
void conns_reset(struct keeper *keeper);

/* --- backup.c --- */
/* Entries were applied; a snapshot was finished, or given up. */
void backup_go_on(struct keeper *keeper);
void backup_saved(struct keeper *keeper, enum error err);
/* A worker is at something of it. */
bool backup_is_busy(const struct keeper *keeper);
void backup_free(struct backup **backup);

/* --- requests.c again: what a password proves --- */
/* How many ids it adds. */
int auth_add_digest(const struct keeper *keeper, struct slice secret, struct text *ids);

/* --- audit.c --- */
/* Entry `index` was applied, its events still there. */
void audit_applied(struct keeper *keeper, uint64_t index, struct slice entry);
/* Hands over the lines, before the answers go out. */
void audit_flush(struct keeper *keeper);

/* --- local.c --- */
void local_deliver(struct keeper *keeper);
void local_take_input(struct keeper *keeper);
void local_free_all(struct keeper *keeper);

/* --- saver.c --- */
void saver_consider(struct keeper *keeper);
/* Now, whatever is due. ERR_BUSY: one is being written. */
MUST_USE enum error saver_begin(struct keeper *keeper);
void saver_run(struct loop_message *message);
void saver_room(struct keeper *keeper);
void saver_finish(struct keeper *keeper);
/* About so much memory was freed: some day the system shall have it back. */
void trim_consider(struct keeper *keeper, size_t freed_bytes);
void trim_run(struct loop_timer *timer);
void reaper_consider(struct keeper *keeper);
void reaper_run(struct loop_timer *timer);
