/* tree_history.h: what ZooKeeper's clients were told, and whether one history of the tree can have told them all of it.
 *
 * Every answer carries a zxid: it says what was so at that zxid. So each is a fact about the state after a known point of one
 * history, which is the order of all writes:
 *
 *     path /r0    created 3    set 8 (v1)           set 17 (v2)       deleted 21
 *     facts              at 5: v0     at 9, 12: v1           at 20: v2      at 22: absent
 *
 * A znode's stat names the zxids that made it, so what a lost answer hid comes out when anybody reads. Values are unique: each is
 * the serial of the write that carries it. In the end tree_history_check looks for a contradiction:
 *
 *   - writes are linearizable: a write sent after a zxid was seen by anybody is later than it, and none happens twice, or though
 *     it was refused, or after its connection was given up for another one of the same session;
 *   - reads are of exactly the state they say, compare-and-set wins on the version it names, a multi happens whole;
 *   - what was acknowledged is there until something is known (or may be thought) to have removed it;
 *   - an ephemeral goes with its session, at the one zxid that ended it, and not before;
 *   - on each connection an event comes before any answer of a state that has the change, and none comes that nobody asked for.
 *
 * Faults   the first contradiction is kept in words; everything after it is ignored.
 * Threads  one.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/text.h"

enum { TREE_NAME = 40, TREE_NO_PATH = -1 };

/* --- paths --- */

struct tree_path {
    char name[TREE_NAME];
    int parent;                            /* a path whose children are listed; -1 = none of those */
    bool may_be_ephemeral, has_ephemerals; /* has: its children are */
};

/* --- writes --- */

enum tree_write_kind { WRITE_CREATE, WRITE_CREATE_NEXT, WRITE_SET, WRITE_DELETE, WRITE_PAIR, WRITE_CLOSE };
enum tree_write_state { WRITE_SENT, WRITE_DONE, WRITE_REFUSED, WRITE_LOST };

struct tree_write { /* its serial is its index + 1 */
    enum tree_write_kind kind;
    enum tree_write_state state;
    int path, other_path; /* of WRITE_CREATE_NEXT the parent; other: of a pair */
    int32_t version;      /* expected; -1 = any */
    bool is_ephemeral;
    int session;
    int64_t sent_ms, sent_zxid; /* the greatest that anybody had seen by then */
    int64_t zxid;               /* when done or refused: of the answer */
    int64_t void_after;         /* it cannot happen later; INT64_MAX = no limit */
    int64_t happened[2];        /* at which zxid, to path and other_path; 0 = not known to have */
};

/* --- facts: at zxid ... --- */

enum tree_fact_kind {
    FACT_IS,          /* the znode has this stat, and value when it is not 0 */
    FACT_THERE,       /* it exists */
    FACT_ABSENT,      /* it does not */
    FACT_NOT_VERSION, /* it has not this version */
    FACT_CHILDREN,    /* the path has these children */
    FACT_CREATED,     /* this zxid made it (an event, an answer) */
    FACT_CHANGED,
    FACT_DELETED,
};

struct tree_fact {
    enum tree_fact_kind kind;
    int64_t zxid;
    int path, line;
    int64_t czxid, mzxid, owner;
    int32_t version;
    uint64_t value;
    size_t first, count; /* of FACT_CHILDREN: in history.listed */
};

/* --- sessions --- */

enum tree_session_state { SESSION_OPEN, SESSION_CLOSING, SESSION_CLOSED, SESSION_ENDED };

struct tree_session {
    int64_t id;
    enum tree_session_state state; /* as its client knows */
    int64_t closed_zxid;           /* of the answer to its closeSession */
    bool is_alive_at_end;          /* the members still have it when all is over */
    int64_t seen_zxid;             /* of the last answer it got */
};

/* --- connections --- */

enum line_entry_kind {
    LINE_ANSWER,  /* of a state as of this zxid */
    LINE_ARMED,   /* a watch, as of this zxid */
    LINE_REARMED, /* by setWatches: as of this zxid (what the client had seen); its answer is still to come */
    LINE_EVENT,
};
enum line_watch { LINE_WATCH_DATA, LINE_WATCH_EXIST, LINE_WATCH_CHILD };

struct line_entry {
    enum line_entry_kind kind;
    enum line_watch watch;
    int path;
    int event_type;
    int64_t zxid;     /* of an event: -1 = not told */
    bool is_rearming; /* of an answer: it is that of setWatches */
};

struct tree_line {
    int guest, member, session;
    struct line_entry *entries;
    size_t count, capacity;
};

struct tree_history_counts {
    int64_t writes, reads, events, sessions, moved, expired, closed, lost;
};

struct tree_history {
    struct tree_path *paths;
    size_t path_count, path_capacity;
    struct map path_by_name; /* index + 1 as a pointer */
    struct tree_write *writes;
    size_t write_count, write_capacity;
    struct tree_fact *facts;
    size_t fact_count, fact_capacity;
    int *listed;
    size_t listed_count, listed_capacity;
    struct tree_session *sessions;
    size_t session_count, session_capacity;
    struct tree_line *lines;
    size_t line_count, line_capacity;
    int64_t seen_zxid; /* the greatest that anybody was told */
    struct tree_history_counts counts;
    struct text fault;
};

void tree_history_free(struct tree_history *history);
void tree_history_fail(struct tree_history *history, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline bool tree_history_has_fault(const struct tree_history *history)
{
    return history->fault.size > 0;
}

/* The path of that name, known from now on. */
int tree_history_path(struct tree_history *history, const char *name, int parent);

/* A write goes out: its serial, which is its value. */
uint64_t tree_history_send(struct tree_history *history, const struct tree_write *write);
/* It was answered: done, or refused for good. The zxid is checked against what was seen when it was sent. */
void tree_history_answered(struct tree_history *history, uint64_t serial, int64_t zxid, bool is_done);
/* Nobody will answer any more. */
void tree_history_lost(struct tree_history *history, uint64_t serial);
/* What of the session's writes has no answer cannot happen after this zxid. */
void tree_history_void(struct tree_history *history, int line, const uint64_t *serials, size_t count,
                       int64_t zxid);

void tree_history_tell(struct tree_history *history, const struct tree_fact *fact);
void tree_history_tell_children(struct tree_history *history, int line, int64_t zxid, int parent,
                                const int *children, size_t count);

int tree_history_open(struct tree_history *history, int64_t id);
int tree_history_line(struct tree_history *history, int guest, int member, int session);
void tree_history_note(struct tree_history *history, int line, struct line_entry entry);

/* Everything there is to be known is known. `line` (may be NULL) gets what is known of the path that a fault names. */
void tree_history_check(struct tree_history *history, void (*line)(void *context, const char *text),
                        void *context);
