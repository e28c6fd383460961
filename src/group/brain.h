/* brain.h: the groups of one partition of __consumer_offsets, as a pure state machine. For group/ alone.
 *
 *     an event  (a request, a timer, a write that ended)   and now
 *        -->  answers   calls whose response is ready               shard->answers
 *        -->  writes    records for the log, and what to do after   shard->writes
 *        -->  timers    when to call again                          group_shard_next_due_ms()
 *
 * Nothing here does I/O or knows a loop: coordinator.c sets now_ms and wall_ms, calls, and then carries out the lists.
 *
 * Membership is soft: it lives in memory and is written once a generation, when its leader's assignment came. Offsets
 * are the log's: memory changes only when a record is below the high watermark, in the order of the log, by the same
 * steps as in replay. So what is in memory is always what another broker would read.
 *
 * Memory   slices of groups, members and offsets are owned copies; a NULL slice is null.
 * Source   facts/coordinators.md 2, 3.
 */
#pragma once
#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "base/text.h"
#include "group/group.h"
#include "statelog/statelog.h"
#include "wire/messages.h"

#define GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS                                                                     \
    300000                      /* a first join may wait so long; then its client has surely gone */
#define GROUP_PENDING_MAX 10000 /* ids given out by MEMBER_ID_REQUIRED, per group */

struct group_shard;

/* --- timers.c: a heap of deadlines --- */

enum group_timer_kind { TIMER_JOIN, TIMER_SYNC, TIMER_SESSION, TIMER_PENDING };

struct group_timer {
    int64_t due_ms;
    size_t heap_index; /* 1-based; 0 = not running */
    enum group_timer_kind kind;
};

struct group_timers {
    struct group_timer **heap;
    size_t count, capacity, reserved;
};

/* Who makes a timer reserves its place, so starting one cannot fail. False without memory. */
bool group_timers_reserve(struct group_timers *timers, size_t count);
void group_timers_release(struct group_timers *timers, size_t count);
void group_timer_start(struct group_timers *timers, struct group_timer *timer, int64_t due_ms);
void group_timer_stop(struct group_timers *timers, struct group_timer *timer);
struct group_timer *group_timers_first(const struct group_timers *timers); /* NULL when none runs */

/* --- roster.c: groups and members, who is who --- */

enum group_state {
    GROUP_EMPTY,
    GROUP_PREPARING_REBALANCE,
    GROUP_COMPLETING_REBALANCE,
    GROUP_STABLE,
    GROUP_DEAD
};

const char *group_state_name(enum group_state state);

struct member_protocol {
    struct slice name, metadata;
};

struct member_protocols {
    struct member_protocol *items; /* one block, bytes included */
    int32_t count;
};

struct member {
    struct list link; /* group->members, in order of joining */
    struct group *group;
    struct slice id, instance_id, client_id, client_host;
    int32_t rebalance_timeout_ms, session_timeout_ms;
    struct member_protocols protocols;
    struct slice assignment;
    struct slice next_assignment;   /* the leader's, while it is being written */
    struct group_call *join, *sync; /* waiting */
    bool is_new;                    /* has not been in a generation yet */
    bool must_sync;                 /* has not asked for the assignment of this generation yet */
    int64_t deadline_ms;            /* of the session; its timer may run earlier and look again */
    struct group_timer session;
};

struct pending_member {
    struct list link; /* group->pending */
    struct group *group;
    struct slice id;
    struct group_timer timer;
};

struct group {
    struct slice id;
    enum group_state state;
    int64_t state_since_ms; /* wall clock; -1 = unknown */
    int32_t generation;
    struct slice protocol_type, protocol; /* null = none */
    struct member *leader;
    struct list members, pending;
    struct map by_id, by_instance;
    size_t member_count, joining_count, pending_count;

    struct group_timer join_timer, sync_timer;
    bool is_initial_delay, has_new_member; /* in it: somebody joined since it was last extended */
    int64_t initial_remaining_ms;
    bool is_storing; /* the leader's assignment is being written */

    struct map topics; /* name -> struct offset_topic */
    bool has_record;   /* the log has a group metadata record that is no tombstone, or will */
    size_t writes;     /* in flight that will look at this group */
};

struct group *group_find(const struct group_shard *shard, struct slice id);
/* Found or made; NULL without memory. */
struct group *group_obtain(struct group_shard *shard, struct slice id);
/* Takes it out of the shard; its calls must have been answered. */
void group_drop(struct group_shard *shard, struct group *group);
void group_drop_all(struct group_shard *shard);
/* Drops a group that holds nothing: made for a request that failed, or forgotten by its tombstone. */
void group_drop_if_void(struct group_shard *shard, struct group *group);
/* Asserts that the move is one of Kafka's. */
void group_move(struct group_shard *shard, struct group *group, enum group_state state);

struct member *group_member(const struct group *group, struct slice id);
struct member *group_static_member(const struct group *group, struct slice instance_id);
struct pending_member *group_pending(const struct group *group, struct slice id);

/* The last joiner becomes leader if there is none. NULL without memory, and nothing changed. */
struct member *group_add_member(struct group_shard *shard, struct group *group, struct slice id,
                                struct slice instance_id, struct slice client_id, struct slice client_host);
/* Its calls must have been answered. A leader's place goes to the first joiner still there. */
void group_remove_member(struct group_shard *shard, struct member *member);
/* A static member goes on under another id. False without memory, and nothing changed. */
bool group_rename_member(struct member *member, struct slice id);
bool group_add_pending(struct group_shard *shard, struct group *group, struct slice id, int64_t due_ms);
void group_remove_pending(struct group_shard *shard, struct pending_member *pending);

int32_t group_rebalance_timeout_ms(const struct group *group);
bool group_supports(const struct group *group, struct slice protocol_type,
                    const struct join_group_request *request);
/* The protocol most members prefer among those all support: a loan from a member; null when there is none. */
struct slice group_select_protocol(const struct group *group);
/* Metadata of that protocol; null when the member has none. */
struct slice member_metadata(const struct member *member, struct slice protocol);
bool member_protocols_match(const struct member *member, const struct join_group_request *request);
/* False without memory. */
bool member_protocols_copy(const struct join_group_request *request, struct member_protocols *protocols);

/* Owned copies. False without memory, then `to` is as it was. */
bool slice_keep(struct slice from, struct slice *to); /* frees what `to` had */
void slice_drop(struct slice *slice);

/* --- offsets.c: what was committed --- */

struct offset_value {
    int64_t offset;
    int32_t leader_epoch;
    struct slice metadata;
    int64_t commit_timestamp, expire_timestamp; /* -1 = by retention */
    struct uuid topic_id;                       /* zero = unknown */
    int64_t record_offset;                      /* in __consumer_offsets: the later record wins */
};

struct offset_topic {
    struct group *group;
    struct slice name;
    struct map partitions; /* index -> struct offset_entry */
};

struct offset_entry {
    struct offset_topic *topic;
    int32_t partition;
    bool has_value;
    struct offset_value value;
    uint32_t in_flight;    /* writes about it that have not ended */
    uint32_t transactions; /* open ones that committed it */
};

/* One offset of an open transaction. */
struct offset_pending {
    struct offset_entry *entry;
    struct offset_value value;
};

struct open_transaction {
    struct offset_pending *items;
    size_t count, capacity;
};

struct offset_entry *offsets_find(const struct group *group, struct slice topic, int32_t partition);
struct offset_entry *offsets_obtain(struct group *group, struct slice topic, int32_t partition);
/* Takes over `value` with its metadata; an older record than what is there changes nothing. */
void offsets_set(struct offset_entry *entry, struct offset_value *value);
/* A tombstone: it also outlives what open transactions committed before it. */
void offsets_clear(struct group_shard *shard, struct offset_entry *entry, int64_t record_offset);
/* Frees the entry if nothing holds it; its group is left. */
void offsets_tidy(struct offset_entry *entry);
/* All of the group, out of open transactions too. */
void offsets_free(struct group_shard *shard, struct group *group);
/* Nothing committed, being committed, or in a transaction. */
bool offsets_are_void(const struct group *group);
/* A transactional record; false without memory. */
bool offsets_set_pending(struct group_shard *shard, int64_t producer_id, struct offset_entry *entry,
                         struct offset_value *value);
void offsets_end_transaction(struct group_shard *shard, int64_t producer_id, bool is_commit);
void offsets_free_transactions(struct group_shard *shard);

/* --- records.c: writes and replay --- */

enum group_write_kind {
    WRITE_ASSIGNMENT,     /* the leader's SyncGroup */
    WRITE_STATIC_MEMBER,  /* one took its own place again */
    WRITE_EMPTY,          /* a group without members; nobody waits for it */
    WRITE_OFFSETS,        /* OffsetCommit */
    WRITE_OFFSET_DELETES, /* OffsetDelete, expiry */
    WRITE_GROUP_DELETE,   /* DeleteGroups, expiry of the last offset */
    WRITE_BARRIER,        /* OffsetFetch with require_stable */
};

struct group_write_entry {
    size_t key_at, key_size, value_at, value_size; /* in bytes; value_size SIZE_MAX = tombstone */
};

struct offset_change {
    struct offset_entry *entry;
    struct offset_value value; /* of a commit */
    int16_t *error_code;       /* in the response that waits; NULL = none */
};

/* Made by the brain, carried out by the shell, and handed back to group_shard_written. */
struct group_write {
    struct list link;      /* shard->writes */
    struct statelog_op op; /* the shell's */
    struct group_shard *shard;
    enum group_write_kind kind;
    struct group *group; /* NULL for a barrier */
    int32_t generation;
    struct group_call *call; /* waits for it; NULL = nobody, or told already that time is up */
    struct text bytes;
    struct group_write_entry *entries;
    size_t entry_count, entry_capacity;
    struct offset_change *changes; /* one for each of the first entries */
    size_t change_count, change_capacity;
    /* WRITE_STATIC_MEMBER: what to go back to, and what to answer. */
    struct slice new_id, old_id, old_leader_id;
    struct member_protocols old_protocols;
};

struct group_write *group_write_new(struct group_shard *shard, enum group_write_kind kind,
                                    struct group *group);
void group_write_free(struct group_write *write);
bool group_write_offset(struct group_write *write, struct offset_entry *entry,
                        const struct offset_value *value);
bool group_write_offset_tombstone(struct group_write *write, struct offset_entry *entry);
/* The members with the assignments they have, or with those the leader gave for now; or the group without members. */
enum group_metadata_kind { METADATA_PRESENT, METADATA_NEXT, METADATA_EMPTY };
bool group_write_metadata(struct group_write *write, const struct group *group,
                          enum group_metadata_kind kind);
bool group_write_metadata_tombstone(struct group_write *write, const struct group *group);
/* Hands it to the shell. */
void group_write_submit(struct group_write *write);

/* --- the shard --- */

struct group_shard {
    const struct group_config *config;
    int64_t now_ms, wall_ms; /* of the event that is being handled */
    void (*random)(void *context, void *out, size_t size);
    void *random_context;

    struct map groups;       /* id -> struct group */
    struct map transactions; /* producer id -> struct open_transaction */
    struct group_timers timers;
    struct list answers, writes;
    struct arena scratch; /* of one event */
    size_t skipped_records;
    bool is_over;            /* group_shard_fail was here: writes that end only answer */
    uint64_t warned_types;   /* one warning for each type of record that is not ours */
    bool is_short_of_memory; /* a replay lost something: the state is worthless */
};

void group_shard_init(struct group_shard *shard, const struct group_config *config);
/* Every waiting call is answered with `err`; then only group_shard_free may follow (after the writes have ended). */
void group_shard_fail(struct group_shard *shard, enum error err);
void group_shard_free(struct group_shard *shard);

void group_shard_replay(struct group_shard *shard, const struct statelog_record *record);
/* Replay is over: sessions begin anew. ERR_NOMEM when it lost something. */
MUST_USE enum error group_shard_loaded(struct group_shard *shard);

/* Runs what is due at now_ms. */
void group_shard_tick(struct group_shard *shard);
int64_t group_shard_next_due_ms(const struct group_shard *shard); /* INT64_MAX when no timer runs */
/* The offsets' retention; every offsets_retention_check_interval_ms. */
void group_shard_expire(struct group_shard *shard);

/* Frees the write. `first_offset` is that of its first record. */
void group_shard_written(struct group_shard *shard, struct group_write *write, enum error err,
                         int64_t first_offset);
void group_shard_write_timed_out(struct group_shard *shard, struct group_write *write);

/* --- requests: classic.c --- */

void group_shard_join(struct group_shard *shard, struct group_call *call);
void group_shard_sync(struct group_shard *shard, struct group_call *call);
void group_shard_heartbeat(struct group_shard *shard, struct group_call *call);
void group_shard_leave(struct group_shard *shard, struct group_call *call);

/* --- rebalance.c: how a group moves --- */

enum error group_check_member(const struct group *group, struct slice member_id, struct slice instance_id);
void group_session_restart(struct group_shard *shard, struct member *member);
void group_prepare_rebalance(struct group_shard *shard, struct group *group);
/* Unless one is being prepared already, or the group is dead. */
void group_maybe_prepare_rebalance(struct group_shard *shard, struct group *group);
/* The join phase is over when all are there. */
void group_try_complete_join(struct group_shard *shard, struct group *group);
/* Answers its calls, takes it out, and lets the others go on. */
void group_expel_member(struct group_shard *shard, struct member *member);
/* Nobody waits for this record. */
void group_write_empty(struct group_shard *shard, struct group *group);
void group_timer_due(struct group_shard *shard, struct group_timer *timer);

/* --- classic.c: writes of theirs that ended --- */

void group_assignment_written(struct group_shard *shard, struct group_write *write, enum error err);
void group_static_member_written(struct group_shard *shard, struct group_write *write, enum error err);

/* --- requests: commit.c and admin.c --- */

/* call->work is a struct group_topic_check for each topic of the request, made by the shell. */
struct group_topic_check {
    enum error err;
    struct group_topic topic;
};
void group_shard_commit(struct group_shard *shard, struct group_call *call);
void group_shard_offset_delete(struct group_shard *shard, struct group_call *call);

/* One group of an OffsetFetch of any version. */
struct group_fetch {
    struct slice group_id;
    int32_t topic_count; /* -1 = all that was committed */
    struct group_fetch_topic {
        struct group_topic_check check;
        const int32_t *partitions;
        int32_t partition_count;
    } * topics;
    bool require_stable;
    struct offset_fetch_response_offset_fetch_response_group *answer;
};
/* Completes fetch->answer, then answers the call. */
void group_shard_fetch(struct group_shard *shard, struct group_call *call, struct group_fetch *fetch);
/* The barrier before a fetch ended. */
void group_fetch_resumed(struct group_shard *shard, struct group_call *call, enum error err);

void group_shard_describe(struct group_shard *shard, struct group_call *call, struct slice group_id,
                          struct describe_groups_response_described_group *answer);
/* False: the call waits. `error_code` is in the call's arena. */
bool group_shard_delete(struct group_shard *shard, struct group_call *call, struct slice group_id,
                        int16_t *error_code);
/* Appends this shard's groups that pass the filters to list (a growing array in `arena`). False without memory. */
struct group_listing {
    struct list_groups_response_listed_group *items;
    int32_t count, capacity;
};
bool group_shard_list(struct group_shard *shard, const struct list_groups_request *request,
                      struct arena *arena, struct group_listing *listing);

/* --- answers.c --- */

/* The response is complete (or NULL): to shard->answers. */
void group_answer(struct group_shard *shard, struct group_call *call);
/* A response of `type`, zeroed to its defaults, as call->response; NULL without memory. */
void *group_response(struct group_call *call, const struct message_type *type);
/* A copy in the call's arena; without memory the whole response is given up. */
struct slice group_answer_slice(struct group_call *call, struct slice s);
void group_answer_join_error(struct group_shard *shard, struct group_call *call, enum error err,
                             struct slice member_id);
/* This generation, as `member_id` hears it. */
void group_answer_join(struct group_shard *shard, struct group_call *call, const struct group *group,
                       struct slice member_id, struct slice leader_id, bool with_members,
                       bool skip_assignment);
void group_answer_sync(struct group_shard *shard, struct group_call *call, const struct group *group,
                       enum error err, struct slice assignment);

/* Who waits. A member that asks twice has given up its first question. */
void member_wait_join(struct group_shard *shard, struct member *member, struct group_call *call);
void member_wait_sync(struct group_shard *shard, struct member *member, struct group_call *call);
void member_fail_join(struct group_shard *shard, struct member *member, enum error err,
                      struct slice member_id);
void member_fail_sync(struct group_shard *shard, struct member *member, enum error err);
void group_fail_calls(struct group_shard *shard, struct group *group, enum error err);

/* --- responses that say only what is wrong, for those who have no shard --- */

void group_join_error(struct group_call *call, enum error err, struct slice member_id);
void group_sync_error(struct group_call *call, enum error err);
void group_heartbeat_error(struct group_call *call, enum error err);
void group_leave_error(struct group_call *call, enum error err);
void group_commit_error(struct group_call *call, enum error err);
void group_offset_delete_error(struct group_call *call, enum error err);
void group_fetch_error(struct group_call *call, struct group_fetch *fetch, enum error err);
