/* session.h: the inside of a struct coord, shared by its files.
 *
 *     requests.c   what callers ask, as bytes      session.c   one session on changing connections
 *     watches.c    handlers, and what is armed     wire_door.c, direct_door.c   two ways to a keeper
 */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "base/text.h"
#include "coord/coord.h"
#include "coord/protocol.h"

/* A request that waits, or is in flight. `body` is what follows the header. */
struct request {
    struct list link;
    int32_t op;
    int32_t xid;      /* while in flight */
    bool is_internal; /* made by the session itself: paths as they are, before all others */
    bool is_watching; /* the keeper arms a watch with it */
    coord_done *done;
    void *context;
    struct slice path; /* of a read, within body: as the keeper knows it, chroot included */
    uint8_t *kinds;    /* of a multi's steps, within body's allocation */
    size_t step_count;
    size_t size;
    uint8_t body[];
};

enum armed { ARMED_NOT, ARMED_DATA, ARMED_EXIST, ARMED_CHILD };

struct watch {
    coord_watcher *watcher;
    void *context;
    enum armed armed;
};

enum phase {
    PHASE_RESTING,   /* no connection; the next attempt is due at retry_ms */
    PHASE_OPENING,   /* the door is at it */
    PHASE_GREETING,  /* ConnectRequest sent */
    PHASE_ATTACHED,  /* the session has this connection */
    PHASE_FINISHING, /* closeSession sent, by coord_finish */
    PHASE_FINISHED,
};

struct coord {
    struct coord_door door;
    void *door_context;
    int32_t wanted_timeout_ms, connect_timeout_ms, max_in_flight;
    char *chroot; /* "" = none */
    size_t chroot_size;

    enum phase phase;
    bool is_ending_old; /* the session of `id` is a former process's, to be closed */
    int64_t id;
    uint8_t password[16];
    int32_t timeout_ms; /* granted */
    int64_t last_zxid;
    int32_t last_xid;
    bool has_chroot; /* it is known to exist */
    bool is_refused; /* the keeper wants authentication that we do not give */

    int64_t retry_ms, deadline_ms; /* next attempt; end of this one */
    int64_t sent_ms, heard_ms;
    int32_t failures;       /* attempts in a row */
    int64_t alone_since_ms; /* no keeper has answered since */
    bool has_said_alone;    /* for longer than a session lasts, and that was said */

    struct list urgent, waiting, in_flight; /* struct request */
    size_t waiting_count, waiting_bytes;    /* of all three */
    size_t in_flight_count;

    struct map watches[2]; /* enum coord_watch; path with chroot -> struct watch */
    struct coord_listener *listeners;

    void (*finish_done)(void *context);
    void *finish_context;
};

/* requests.c */
void request_finish(struct coord *coord, struct request *request, const struct coord_reply *reply);
void request_fail(struct coord *coord, struct request *request, enum error err);
/* Decodes the body of an answer and calls back. False when malformed; the request is then still the caller's. */
bool request_take_answer(struct coord *coord, struct request *request, int64_t zxid, int32_t code,
                         struct jute *in);
/* A request of the session itself, with `path` as it is; NULL without memory. */
struct request *request_internal(struct coord *coord, int32_t op, struct slice path, coord_done *done,
                                 void *context);

/* session.c */
void session_pump(struct coord *coord);

/* watches.c */
void watch_arm(struct coord *coord, const struct request *request, enum error err);
bool watch_is_wanted(const struct coord *coord, const struct request *request);
void watch_event(struct coord *coord, int32_t type, struct slice path);
void watch_forget(struct coord *coord);                 /* a new session has none */
MUST_USE enum error watch_restore(struct coord *coord); /* SetWatches, in pieces */
struct slice chroot_strip(const struct coord *coord, struct slice path);
