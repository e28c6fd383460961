/* guest.h: clients of a simulated ensemble that speak ZooKeeper's wire: they write, read, watch, lock, list and sync through any
 * member, several requests at a time, and tell the history what they are told.
 *
 *     guest  one session after the other          line  one connection of it to one member, its questions in order
 *
 * A guest whose connection ends, or who hears nothing for too long, goes to another member with its session, and sets its watches
 * again there. Now and then it does so while the old connection is still there and goes on to use that: what it asks there from
 * then on must have no effect. It closes sessions, oversleeps them, and tries those that are over again, in vain.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keepers.h"
#include "loop/loop.h"
#include "tree_history.h"

enum { GUEST_WATCHES = 48, GUEST_VOIDS = 64, GUEST_ALIVES = 6, GUEST_PASSWORD = 16 };

enum ask_kind {
    ASK_PING,
    ASK_GET,
    ASK_EXISTS,
    ASK_SET,
    ASK_CREATE,
    ASK_CREATE_NEXT,
    ASK_DELETE,
    ASK_LIST,
    ASK_PAIR,
    ASK_PAIR_IN_VAIN,
    ASK_PAIR_GET,
    ASK_SYNC,
    ASK_CLOSE,
    ASK_SET_WATCHES,
    ASK_RECONFIG,
};

struct ask {
    struct ask *next;
    enum ask_kind kind;
    int32_t xid;
    int path;
    uint64_t serial; /* of a write; 0 */
    bool watches, with_stat;
    int32_t version;
    int64_t sent_ms, sent_zxid;
};

enum line_state { LINE_DIALING, LINE_SHAKING, LINE_UP, LINE_DOWN };

struct guest;

struct line {
    struct line *next_dead;
    struct guest *guest;
    enum line_state state;
    int member, record; /* record: the history's line; -1 until its session is attached */
    struct connecting *connecting;
    struct stream *stream;
    struct text in;
    struct ask *first, *last;
    int waiting;
    int32_t xid;
    int64_t zxid; /* of its last answer */
    int64_t begun_ms, heard_ms, sent_ms, attached_ms;
    int64_t asked_session;
    bool is_given_up; /* its session is attached elsewhere */
    bool is_closing;
};

struct guest_watch {
    enum line_watch watch;
    int path;
};

struct guest {
    struct keepers *keepers;
    int index;
    bool is_inspector; /* pinned to one member, reads all there is */
    bool is_admin;     /* asks nothing but guest_reconfig's */
    bool is_broker;    /* one of ours: its session ends a moment after its connection */
    int pinned;
    struct sim_machine *machine;
    struct loop *loop;
    struct loop_timer think;
    struct line *now, *before, *dead; /* before: given up, still open */
    int64_t session, zxid, ghost;
    uint8_t password[GUEST_PASSWORD], ghost_password[GUEST_PASSWORD];
    int record; /* the history's session; -1 */
    int32_t timeout_ms;
    int window;
    int64_t alive_ms;                      /* when the last question was sent that got an answer */
    int64_t alive_before_ms[GUEST_ALIVES]; /* and those before, not all of them; the newest first */
    int64_t alive_leader_ms;               /* and from who led then */
    struct guest_watch watches[GUEST_WATCHES];
    size_t watch_count;
    uint64_t voids[GUEST_VOIDS]; /* what was asked before, elsewhere, and has no answer */
    size_t void_count;
    bool wants_void_zxid;
    int64_t void_zxid;    /* nothing asked on `before` may happen later; 0 = not known yet */
    int32_t versions[16]; /* what it last saw, by path */
    int inspected;        /* steps done */
    int64_t nap_until_ms;
    bool is_gone;
};

void guest_start(struct guest *guest, struct keepers *keepers, int index, struct sim_machine *machine,
                 struct loop *loop);
void guest_stop(struct guest *guest);
/* Reads everything there is from one member after a sync, then is_inspected. */
void guest_inspect(struct guest *guest, int member);
bool guest_has_inspected(const struct guest *guest);
/* Asks for a change of the ensemble, by lines and numbers as in zoo.cfg; "" = none. False: it is not connected, or waits yet. */
bool guest_reconfig(struct guest *guest, const char *joining, const char *leaving);
/* Connected, and nothing is unanswered. */
bool guest_is_quiet(const struct guest *guest);
/* The members have ended its session: was that right? */
void guest_session_gone(struct guest *guest);
void guest_down(struct guest *guest);
/* Its session is closed. */
void guest_session_over(struct guest *guest);

/* --- guest_asks.c --- */
void guest_ask(struct line *line);
void guest_ask_one(struct line *line, enum ask_kind kind);
void guest_set_watches(struct line *line);
void guest_setup_ask(struct line *line, int step);
int guest_setup_steps(void);
void guest_inspect_ask(struct line *line);
void guest_heard(struct line *line, struct slice frame);
/* --- guest.c --- */
void line_send(struct line *line, struct slice frame);
struct ask *line_push(struct line *line, enum ask_kind kind);
/* What it asked then was answered. */
void guest_is_alive(struct guest *guest, int64_t asked_ms);
