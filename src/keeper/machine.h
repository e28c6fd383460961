/* machine.h: the state machine: what a keeper's members agree on. Znodes, sessions, the zxid.
 *
 *     entry:  format u8, flags u8, op i32, time_ms i64, session i64, cxid i32,
 *             in format 2: origin u8, life u32, sequence u32, attachment u32;
 *             auth ids (acl.h), the request's body
 *
 * An entry is a client's request as it came, with the leader's time and what its connection had proved. It is checked when
 * it is applied, on every member alike: no clock, no randomness, no order of a hash. Every request takes the next zxid
 * (epoch in the upper half, a count in the lower), also one that fails; what members say to each other takes none.
 *
 * Format 1 is what a keeper alone writes, format 2 what an ensemble does. There, (origin, life, sequence) says which
 * member waits for the entry to answer it, in which of its lives. A session's attachment counts how often its client came
 * back: an entry with another one (but 0) is void, so a client that moved is never overtaken by what it sent before.
 *
 * apply leaves its outcome in `outcome`: the error or the body of the answer, and what happened to which znode, so that
 * watches can fire. Reads ask the same tree and change nothing.
 *
 * Memory   what cannot be allocated stops the process (see tree.h). Errors of apply: the entry is not one of ours.
 * Source   facts/keeper.md 1.5-1.8, 2.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "base/map.h"
#include "base/text.h"
#include "keeper/tree.h"
#include "quorum/quorum.h"

enum keeper_op {
    OP_ERROR = -1,
    OP_CREATE = 1,
    OP_DELETE = 2,
    OP_EXISTS = 3,
    OP_GET_DATA = 4,
    OP_SET_DATA = 5,
    OP_GET_ACL = 6,
    OP_SET_ACL = 7,
    OP_GET_CHILDREN = 8,
    OP_SYNC = 9,
    OP_PING = 11,
    OP_GET_CHILDREN2 = 12,
    OP_CHECK = 13,
    OP_MULTI = 14,
    OP_CREATE2 = 15,
    OP_RECONFIG = 16,
    OP_CHECK_WATCHES = 17,
    OP_REMOVE_WATCHES = 18,
    OP_CREATE_CONTAINER = 19,
    OP_DELETE_CONTAINER = 20,
    OP_CREATE_TTL = 21,
    OP_MULTI_READ = 22,
    OP_AUTH = 100,
    OP_SET_WATCHES = 101,
    OP_SASL = 102,
    OP_GET_EPHEMERALS = 103,
    OP_GET_ALL_CHILDREN_NUMBER = 104,
    OP_SET_WATCHES2 = 105,
    OP_ADD_WATCH = 106,
    OP_WHO_AM_I = 107,
    OP_CREATE_SESSION = -10,
    OP_THROTTLED = INT32_MIN, /* not of the wire: an answer that stands in line */
    OP_NEVER = INT32_MIN + 1, /* nor this: nothing was asked yet */
    OP_CLOSE_SESSION = -11,
    /* Ours, without a zxid. */
    OP_NEW_EPOCH = -100, /* a leader takes office */
    OP_ATTACH = -101,    /* a client is back; the body is createSession's */
    OP_DIGEST = -102,    /* what the leader's machine was at a mark: zxid i64, digest u64 */
};

/* Goes through the log. */
bool op_is_write(int32_t op);
/* Whether its body can be read. One that cannot is answered without going through the log: it takes no zxid, but for a
 * multi, whose parts only the machine looks at. */
bool op_is_decodable(int32_t op, struct slice body);
/* Answered by machine_read. */
bool op_is_read(int32_t op);

enum entry_flags {
    ENTRY_EXTENDED_TYPES = 1, /* extendedTypesEnabled on the leader */
    ENTRY_SKIP_ACL = 2,       /* skipACL */
    ENTRY_LOCAL_DOOR = 4,     /* of createSession: it ends with the leader's process */
    ENTRY_ENFORCE_QUOTA = 8,  /* enforceQuota */
    ENTRY_X509_ACLS = 16,     /* authProvider.N: X509AuthenticationProvider */
    ENTRY_SASL_ACLS = 32,     /* authProvider.N: SASLAuthenticationProvider */
    ENTRY_RECONFIG = 64,      /* reconfigEnabled */
};

enum { PASSWORD_SIZE = 16 };

struct entry {
    uint8_t flags;
    int32_t op;
    int64_t time_ms, session;
    int32_t cxid;
    uint8_t origin; /* 0: a keeper alone, and nothing of the next three */
    uint32_t life, sequence;
    uint32_t attachment; /* 0: not checked */
    struct auth_ids ids; /* encoded; null: none */
    struct slice body;
};
enum { ENTRY_HEADER_MAX = 39 };
/* The fixed part, and its size; ids and body follow as they are. */
size_t entry_header(const struct entry *entry, uint8_t out[ENTRY_HEADER_MAX]);
/* What only the leader knows, put into a header that is made already. */
void entry_stamp(uint8_t header[ENTRY_HEADER_MAX], uint8_t flags, int64_t time_ms);
MUST_USE enum error entry_parse(struct slice bytes, struct entry *entry);

/* Bodies of the entries that no client sends as such. createSession: timeout and password. */
enum { CREATE_SESSION_BODY_SIZE = 4 + PASSWORD_SIZE, DIGEST_BODY_SIZE = 16 };

/* reconfig, in an ensemble: ZooKeeper's code of what came of it, i32, then the new server lines, each ended. */
void reconfig_body(struct text *out, enum error err, struct slice lines);

struct session {
    struct list all; /* machine.session_list, in order of creation */
    int64_t id;
    int32_t timeout_ms;
    uint32_t attachment; /* how often its client came, the first time counted */
    uint8_t password[PASSWORD_SIZE];
    bool is_local_door;
    bool had_ephemerals; /* since this process knows it: ZooKeeper's words name it even when they are gone */
    struct ephemerals ephemerals;
};

enum event_type { EVENT_CREATED = 1, EVENT_DELETED = 2, EVENT_DATA_CHANGED = 3, EVENT_CHILDREN_CHANGED = 4 };

/* What happened to a znode. The ACLs are those that rule whether a watcher may hear of it. */
struct machine_event {
    enum event_type type; /* created, deleted or data changed */
    size_t path_at, path_size;
    uint32_t acl, parent_acl;
};

struct machine_outcome {
    enum error err;
    int64_t zxid;
    int32_t op;
    int64_t session;     /* of the entry; of a createSession, the new one */
    uint32_t attachment; /* of a session made or attached */
    uint8_t origin;      /* 0: of a keeper alone */
    uint32_t life, sequence;
    struct text body; /* of the answer, when err is OK */
    struct machine_event *events;
    size_t event_count, event_capacity;
    struct text paths;
    struct text over_quota; /* whose limit, soft or hard, was passed, for the operator; empty: none */
};

/* What the machine was right after `zxid`. Members compare. */
struct machine_mark {
    int64_t zxid;
    uint64_t digest;
};
enum { MARK_EVERY = 1024, MARKS_KEPT = 64 };

struct machine_saver;

struct machine {
    struct tree tree;
    struct map sessions; /* by id */
    struct list session_list;
    int64_t zxid;
    int64_t last_session;
    uint8_t server_id;       /* whose new sessions are, where no entry says it; members must give the same */
    bool wants_events;       /* off while recovering */
    uint64_t session_digest; /* a sum over the sessions */
    struct machine_mark marks[MARKS_KEPT];
    size_t mark_count; /* all that were ever made */
    bool has_parted;   /* the leader had something else at a mark: what is here must not be served */
    struct machine_outcome outcome;
    struct text scratch, path;
    struct machine_saver *saver;
    struct machine_restoring {
        bool is_running;
        int32_t format;
        int64_t znode_count, session_count;
        uint64_t digest; /* of the tree */
    } restoring;
};

void machine_init(struct machine *machine, uint8_t server_id);
void machine_free(struct machine *machine);

/* ERR_CORRUPT, ERR_UNSUPPORTED_VERSION: no entry of ours. */
MUST_USE enum error machine_apply(struct machine *machine, struct slice entry);
static inline struct slice machine_event_path(const struct machine_outcome *outcome,
                                              const struct machine_event *event)
{
    return (struct slice){(const uint8_t *)outcome->paths.data + event->path_at, event->path_size};
}
/* Lets go of the events' ACLs; apply does so too, first thing. */
void machine_forget_events(struct machine *machine);

struct session *machine_session(const struct machine *machine, int64_t id);
/* Of the ids of a member's sessions. */
static inline uint64_t session_top_byte(int32_t member)
{
    return (uint64_t)quorum_member_number(member);
}
/* Given out already: it never will be again. */
bool session_id_is_given(const struct machine *machine, int64_t id);

enum read_watch { READ_WATCH_DATA, READ_WATCH_CHILDREN };
struct read_request {
    int32_t op;
    int64_t session;
    struct auth_ids ids;
    bool skips_acl;
    /* authProvider.N: SASLAuthenticationProvider; whoAmI names no user of an unknown scheme. */
    bool knows_sasl;
    struct slice body;
    /* The reader wants to hear of this path from now on; also when the answer is an error (exists). The path is a loan from
     * the body. */
    void (*watch)(void *context, enum read_watch kind, struct slice path);
    void *context;
};
/* Appends the answer's body to `out`; nothing on error. */
MUST_USE enum error machine_read(const struct machine *machine, const struct read_request *request,
                                 struct text *out);

/* May these ids read a znode under this ACL? */
bool machine_may_read(const struct machine *machine, uint32_t acl, const struct auth_ids *ids);

/* --- snapshots --- */
/* The state of this moment, in chunks; those that must go out now (sessions, ACLs) do so from begin, the others from
 * step and, for a znode about to change, from apply. */
void machine_snapshot_begin(struct machine *machine, void (*write)(void *context, struct slice chunk),
                            void *context);
/* About `slots` znodes more; false: all is out. */
bool machine_snapshot_step(struct machine *machine, size_t slots);

/* The first chunk empties the machine. After an error only machine_free is left. */
MUST_USE enum error machine_restore(struct machine *machine, struct slice chunk);
MUST_USE enum error machine_restored(struct machine *machine);

/* Everything that members must agree on, summed up: walks all of it. */
uint64_t machine_digest(const struct machine *machine);
/* The same of znodes and sessions, kept up to date by each entry. The newest mark; false: there is none yet. */
uint64_t machine_running_digest(const struct machine *machine);
bool machine_last_mark(const struct machine *machine, struct machine_mark *mark);
