/* inside.h: what the controller's files share.
 *
 *   controller.c     life, calls coming in, time              engine.c        one event after the other, fenced writes
 *   registration.c   this broker's seat, the cluster's id     role.c          election, fail-over, resigning
 *   context.c        what the cluster looks like to it        transitions.c   states of partitions and replicas
 *   events.c, broker_events.c, notices.c                      what watches bring
 *   deletion.c       topics on their way out
 *   reassignment.c, reassign_calls.c                          partitions on their way to other brokers
 *   requests.c       words to brokers, in batches             alter_partition.c, elect_leaders.c,
 *                                                             controlled_shutdown.c
 *   admin_topics.c, admin_configs.c, producer_ids.c           requests of clients
 *   election.c, placement.c                                   pure rules
 *
 * Events   one at a time. An event is a stack of steps; a step may ask the keeper, and the next step runs when all that was
 *          asked is answered. Losing the role empties the stack: answers of an earlier term find nobody.
 * Memory   scratch of an event comes from `scratch` and goes with the event. A decision cannot be half made: without memory
 *          the process ends (need()), and the next fail-over repeats it.
 */
#pragma once
#include <stdlib.h>

#include "base/diag.h"
#include "base/list.h"
#include "base/map.h"
#include "base/vec.h"
#include "controller/controller.h"
#include "controller/election.h"
#include "coord/coord.h"

/* Never NULL. */
static inline void *need(void *memory)
{
    if (memory) return memory;
    diag_error("the controller is out of memory");
    abort();
}
static inline void need_ok(enum error err)
{
    if (err == OK) return;
    diag_error("the controller cannot go on: %s", error_text(err));
    abort();
}

/* controller.c */
MUST_USE enum error controller_keep_registration(struct controller *c,
                                                 const struct broker_registration *registration);
void controller_reschedule(struct controller *c); /* after a deadline changed */

/* --- the cluster, as the controller sees it --- */

enum partition_phase { PARTITION_NONEXISTENT, PARTITION_NEW, PARTITION_ONLINE, PARTITION_OFFLINE };

/* As named and numbered in facts 3.5. */
enum replica_phase {
    REPLICA_NONEXISTENT = 7,
    REPLICA_NEW = 1,
    REPLICA_ONLINE = 2,
    REPLICA_OFFLINE = 3,
    REPLICA_DELETION_STARTED = 4,
    REPLICA_DELETION_SUCCESSFUL = 5,
    REPLICA_DELETION_INELIGIBLE = 6,
};

struct seat {
    int32_t broker_id;
    enum replica_phase phase;
    bool is_dir_offline; /* it answered KAFKA_STORAGE_ERROR */
};

struct cpartition {
    struct ctopic *topic;
    int32_t index;
    enum partition_phase phase;
    struct seat *seats; /* replicas in order of preference */
    size_t seat_count;
    struct int32_list adding, removing; /* of a reassignment, owned */
    struct seat *dropped;               /* of replicas not needed any more, until they were told to delete */
    size_t dropped_count;
    /* The state znode, as last read or written. */
    bool has_state;
    int32_t leader, leader_epoch, state_epoch /* controller's */, version;
    struct int32_list isr; /* owned */
    bool is_recovering;
    int64_t read_zxid;    /* of its last change, as the fail-over found it */
    uint64_t update_mark; /* the batch that tells of it already */
    uint64_t round_mark;  /* the round of writes that has it already */
    enum error election;  /* how the last one went */
};

struct ctopic {
    struct slice name; /* owned, NUL-terminated */
    struct uuid id;
    struct cpartition **partitions;
    size_t partition_count;
    bool has_folder; /* .../partitions exists */
    bool is_deleting, is_deletion_halted, is_deletion_begun;
    uint64_t write_mark; /* the round of writes that has it already, and where */
    size_t write_index;
};

struct cbroker {
    int32_t id;
    int64_t epoch; /* czxid of its registration */
    struct arena arena;
    struct broker_registration registration; /* in arena */
    bool is_leaving;
};

/* --- events and steps --- */

struct controller;
typedef void step_run(struct controller *c, void *argument);

struct step {
    step_run *run;
    void *argument;
};

struct event {
    struct list link;
    step_run *run;
    void *argument;
    void (*drop)(struct controller *c, void *argument); /* when it will not run; may be NULL */
    bool is_unique;                                     /* one that waits does for several */
};

/* One answer of the keeper. `scratch` of the event is alive. Not called when the term is over. */
typedef void op_done(struct controller *c, void *argument, const struct coord_reply *reply);

/* One item of a fenced batch: steps that belong together. */
struct write {
    struct coord_op ops[3];
    size_t op_count;
    size_t may_exist;  /* so many of the first creates may find their node there */
    enum error err;    /* after the batch */
    int32_t version;   /* of the last set */
    struct slice data; /* what the last op wrote, to know our own lost answer */
};

enum role { ROLE_NONE, ROLE_FAILING_OVER, ROLE_ACTIVE };

struct controller {
    struct controller_options options;
    struct coord *coord;
    struct metadata *metadata;
    struct arena own; /* our registration */
    int32_t id;
    struct coord_listener session_listener;
    struct metadata_listener image_listener;
    bool is_freed;
    size_t unanswered; /* callbacks that will come: keeper, channel */
    struct loop_timer timer;

    /* registration.c */
    int64_t broker_epoch; /* -1 = not registered */
    int64_t first_epoch;  /* of this process' registrations; 0 = none yet */
    int64_t last_session; /* the one we registered with before */
    bool is_registering, is_waiting_for_seat;
    int64_t seat_deadline_ms;

    /* role.c */
    enum role role;
    int32_t known_controller; /* -1 */
    int32_t epoch, fence_version;
    int64_t reelect_ms; /* INT64_MAX */
    int64_t rebalance_ms;

    /* engine.c */
    struct list events;
    struct step *steps;
    size_t step_count, step_capacity;
    size_t outstanding;
    uint64_t term; /* answers of another one are dropped */
    bool is_driving;
    void (*guard)(struct controller *c, void *argument); /* engine_guard */
    void *guarded;
    struct arena scratch;

    /* context.c: of the role */
    struct map topics;                          /* name -> struct ctopic */
    struct map brokers;                         /* id -> struct cbroker */
    struct int32_list live, leaving, reachable; /* ids in order; reachable: both. Owned */
    struct int32_list shrink_themselves;        /* of the live: struct broker_registration.shrinks_itself */

    /* requests.c: the batch being collected */
    struct batch *batch;
    uint64_t batch_number, round_number;

    /* transitions.c */
    bool has_unreadable; /* znodes of topics that this fail-over could make nothing of */
    bool has_leaderless; /* an election found nobody who may lead */

    /* admin: struct pending */
    struct list pending;
    bool is_checking_pending;
};

/* engine.c */
void engine_event(struct controller *c, step_run *run, void *argument,
                  void (*drop)(struct controller *, void *), bool is_unique);
void engine_push(struct controller *c, step_run *run, void *argument); /* runs before those pushed earlier */
void engine_drive(struct controller *c);
/* From an event that somebody waits for: should it be cut short, drop(argument) is called. NULL: it has been answered. */
void engine_guard(struct controller *c, void (*drop)(struct controller *c, void *argument), void *argument);
/* Ends what runs and forgets what waits. */
void engine_clear(struct controller *c);
/* A step's questions. */
void engine_get(struct controller *c, struct slice path, op_done *done, void *argument);
void engine_exists(struct controller *c, struct slice path, op_done *done, void *argument);
void engine_children(struct controller *c, struct slice path, op_done *done, void *argument);
void engine_multi(struct controller *c, const struct coord_op *ops, size_t count, op_done *done,
                  void *argument);
/* With the check of /controller_epoch before them; a failed check ends the role. */
void engine_fenced(struct controller *c, const struct coord_op *ops, size_t count, op_done *done,
                   void *argument);
/* Fenced, many in one multi; where one fails, each alone. `writes` keep their results when the next step runs. */
void engine_writes(struct controller *c, struct write *writes, size_t count);
void *scratch_alloc(struct controller *c, size_t count, size_t size); /* zeroed */
struct slice scratch_print(struct controller *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct slice scratch_text(struct controller *c, struct text *text); /* copies, frees `text` */
struct slice scratch_copy(struct controller *c, struct slice s);
int64_t controller_now_ms(const struct controller *c);
/* Answers of asynchronous calls beside the engine: counts one; false: the controller was freed. */
bool controller_is_alive(struct controller *c);

/* registration.c */
void registration_begin(struct controller *c);
void registration_session_lost(struct controller *c);
void registration_tick(struct controller *c);

/* role.c */
void role_elect(struct controller *c); /* queues it */
void role_resign(struct controller *c);
/* The fence said that another one is controller. */
void role_moved(struct controller *c);
/* The keeper failed us in the middle of something: give up the role, try again in a second. */
void role_failed(struct controller *c, const char *what, enum error err);

/* context.c */
struct ctopic *context_topic(const struct controller *c, struct slice name);
struct ctopic *context_topic_by_id(const struct controller *c, const struct uuid *id);
struct ctopic *context_add_topic(struct controller *c, struct slice name, const struct uuid *id);
/* Adds the partitions it lacks, with their replicas; returns how many it had before. */
size_t context_assign(struct controller *c, struct ctopic *topic, const struct topic_assignment *assignment);
/* Another set of replicas; those not in it any more are kept as dropped, and seats found there too, until forgotten. */
void context_reassign(struct controller *c, struct cpartition *partition, struct int32_list replicas,
                      struct int32_list adding, struct int32_list removing);
void context_forget_dropped(struct cpartition *partition);
void context_remove_topic(struct controller *c, struct ctopic *topic);
void context_set_state(struct cpartition *partition, const struct partition_state *state, int32_t version);
void context_set_broker(struct controller *c, struct cbroker *broker);
void context_remove_broker(struct controller *c, int32_t id);
/* It is about to stop: neither elected nor counted as living, but told everything. */
void context_set_leaving(struct controller *c, struct cbroker *broker);
struct cbroker *context_broker(const struct controller *c, int32_t id);
void context_clear(struct controller *c);
bool context_is_live(const struct controller *c, const struct cpartition *partition, int32_t broker_id);
/* Ids of the replicas, in scratch. */
struct int32_list context_replicas(struct controller *c, const struct cpartition *partition);
/* Those of them that live with a working directory. */
struct int32_list context_live_replicas(struct controller *c, const struct cpartition *partition);
/* Those, and those about to stop. */
struct int32_list context_reachable_replicas(struct controller *c, const struct cpartition *partition);
struct seat *context_seat(struct cpartition *partition, int32_t broker_id);
struct ctopic **context_sorted_topics(struct controller *c, size_t *count); /* in scratch */
struct slice state_path(struct controller *c, const struct cpartition *partition);
struct slice topic_path(struct controller *c, struct slice name);

/* Lists of partitions and of replicas, in scratch. */
struct partition_list {
    struct cpartition **items;
    size_t count, capacity;
};
struct replica_ref {
    struct cpartition *partition;
    int32_t broker_id;
};
struct replica_list {
    struct replica_ref *items;
    size_t count, capacity;
};
void partition_list_add(struct controller *c, struct partition_list *list, struct cpartition *partition);
void replica_list_add(struct controller *c, struct replica_list *list, struct cpartition *partition,
                      int32_t broker_id);

/* requests.c */
void batch_leader_and_isr(struct controller *c, struct int32_list brokers, struct cpartition *partition,
                          bool is_new);
void batch_update(struct controller *c, struct cpartition *partition);
/* Brokers only, or with what batch_update added, goes to these instead of to all. */
void batch_update_to(struct controller *c, struct int32_list brokers);
/* The topics of this batch's updates are all there are: a broker that knows others forgets them. */
void batch_tells_all(struct controller *c);
void batch_stop(struct controller *c, int32_t broker_id, struct cpartition *partition, bool is_deleted);
void batch_send(struct controller *c);
void batch_drop(struct controller *c);

/* transitions.c: each pushes its steps; they send one batch at their end */
void transition_new(struct controller *c, struct partition_list partitions);
void transition_online(struct controller *c, struct partition_list partitions, enum election kind);
void transition_offline(struct controller *c, struct partition_list partitions);
/* The next leader epoch, everything else as it is: all replicas hear their role anew, those being added that they are new. */
void transition_epoch(struct controller *c, struct partition_list partitions);
void transition_replicas(struct controller *c, struct replica_list replicas, enum replica_phase phase);
/* Offline, and out of their ISRs in any case: of brokers that are back and may have lost what they had. */
void transition_strangers(struct controller *c, struct replica_list replicas);
/* The state as it is in the keeper now, before the next step. */
void transition_reread(struct controller *c, struct cpartition *partition);
void transition_elect_waiting(struct controller *c); /* every new or offline partition not being deleted */
void event_elect_waiting(struct controller *c, void *argument);

/* reassign_calls.c */
void event_reassign_requested(struct controller *c, void *argument); /* a znode */
void event_reassign_resume(struct controller *c, void *argument);    /* what a predecessor began */

/* events.c */
void events_watch(struct controller *c);
void events_unwatch(struct controller *c);
void event_topics_changed(struct controller *c, void *argument);
void event_deletions_changed(struct controller *c, void *argument);
void event_preferred_requested(struct controller *c, void *argument);
void event_new_partitions(struct controller *c, struct partition_list partitions); /* pushes */
enum error event_read_topic(struct controller *c, struct slice name, const struct coord_reply *reply,
                            struct topic_assignment *assignment);
void event_watch_topic(struct controller *c, struct slice name);
void event_rebalance(struct controller *c, void *argument); /* preferred leaders, by the clock */
/* broker_events.c */
void event_brokers_changed(struct controller *c, void *argument);
/* The registration that was read; NULL: there is none, or it cannot be read. The caller frees its arena and it. */
struct cbroker *event_read_broker(struct controller *c, int32_t id, const struct coord_reply *reply);
void event_watch_broker(struct controller *c, int32_t id);
/* notices.c */
void event_log_dirs_changed(struct controller *c, void *argument);
void event_isr_changes(struct controller *c, void *argument);

/* deletion.c */
void deletion_begin(struct controller *c, struct ctopic *topic);
void deletion_resume(struct controller *c); /* pushes what can go on */
void deletion_answered(struct controller *c, int32_t broker_id,
                       const struct controller_rpc *rpc); /* pushes */

/* admin */
struct pending;
void pending_check(struct controller *c);
int64_t pending_due_ms(const struct controller *c);
void pending_drop_all(struct controller *c, enum error err);
void call_done(struct controller_call *call, enum error err);
void call_create_topics(struct controller *c, struct controller_call *call);
void call_delete_topics(struct controller *c, struct controller_call *call);
void call_create_partitions(struct controller *c, struct controller_call *call);
void call_alter_configs(struct controller *c, struct controller_call *call);
void call_allocate_producer_ids(struct controller *c, struct controller_call *call);
void call_alter_partition(struct controller *c, struct controller_call *call);
void call_alter_reassignments(struct controller *c, struct controller_call *call);
void call_controlled_shutdown(struct controller *c, struct controller_call *call);
void call_elect_leaders(struct controller *c, struct controller_call *call);
void call_list_reassignments(struct controller *c, struct controller_call *call);
