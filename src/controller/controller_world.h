/* controller_world.h: for tests: a keeper that is a map, and brokers (coord, metadata, config watch, controller) on it, whose
 * appliers are models: they remember what LeaderAndIsr and StopReplica told them. */
#pragma once
#include "base/map.h"
#include "base/random.h"
#include "controller/controller.h"
#include "coord/fake_keeper.h"

struct test_replica {
    int32_t leader, leader_epoch;
    bool is_new, is_stopped;
};

struct test_broker {
    struct test_world *world;
    int32_t id;
    struct coord *coord;
    struct metadata *metadata;
    struct config_watch *configs;
    struct local_channel *local;
    struct controller *controller;
    struct map replicas; /* "topic-0" -> struct test_replica: what its disk would hold */
    bool is_registered, is_controller, is_fatal;
    bool fails_deletes; /* StopReplica answers KAFKA_STORAGE_ERROR */
    const char *broken; /* LeaderAndIsr answers KAFKA_STORAGE_ERROR to this replica, "topic-0" */
    int roles;
    struct cluster_identity identity;
    enum error joined;
    char problem[400];
};

struct test_world {
    struct fake_keeper *fake;
    struct random random;
    struct test_broker *brokers[4]; /* NULL: down */
    struct arena arena;
    int requests; /* from the controller to other brokers, so far */
    /* brokers that start from now on take others out of an ISR themselves; else they are like Apache's */
    bool are_ours;
    bool is_deletion_disabled, is_unclean_allowed, is_rebalancing;
};

struct test_world *test_world_new(uint64_t seed);
void test_world_free(struct test_world *world);
/* Starts broker id 0..3 and runs until nothing moves. old: what `test_broker_kill` gave, or NULL for an empty disk. */
struct test_broker *test_broker_start(struct test_world *world, int32_t id);
/* The same, but nothing is delivered yet. */
struct test_broker *test_broker_begin(struct test_world *world, int32_t id);
/* kill -9: its session lives on until it expires or is ended. Returns the session. */
int64_t test_broker_kill(struct test_world *world, int32_t id);
void test_broker_stop(struct test_world *world, int32_t id);
struct test_broker *test_controller(struct test_world *world); /* NULL: none active */

/* A call with its answer. */
struct test_call {
    struct controller_call call;
    struct arena arena;
    union {
        struct create_topics_response create;
        struct delete_topics_response remove;
        struct create_partitions_response grow;
        struct incremental_alter_configs_response alter;
        struct allocate_producer_ids_response ids;
        struct elect_leaders_response elect;
        struct alter_partition_response isr;
        struct controlled_shutdown_response leave;
        struct alter_partition_reassignments_response move;
        struct list_partition_reassignments_response moving;
    } response;
    int done;
};
void test_submit(struct test_broker *broker, struct test_call *call, int16_t api_key, int16_t version,
                 const void *request);
/* CreateTopics as a broker asks it for itself, whether it is the controller or not. */
void test_submit_auto(struct test_broker *broker, struct test_call *call,
                      const struct create_topics_request *request);
void test_call_free(struct test_call *call);

/* One topic, waited for: the error code of its item. */
enum error test_create(struct test_broker *broker, const char *name, int32_t partitions, int16_t replication);
enum error test_delete(struct test_broker *broker, const char *name);

/* A topic whose partitions have these replicas, `replication` each. */
enum error test_create_at(struct test_broker *broker, const char *name, const int32_t *replicas,
                          int32_t partitions, int16_t replication);
/* An AlterPartition by which the partition's leader asks for an ISR of these brokers, of whatever life, as all is known at `broker`. Change
 * in it what a test wants to be wrong, and test_submit `request` as 56, version 3. Points into itself. */
struct test_proposal {
    struct alter_partition_request_broker_state states[8];
    struct alter_partition_request_partition_data data;
    struct alter_partition_request_topic_data topic;
    struct alter_partition_request request;
};
void test_propose(struct test_broker *broker, const char *name, int32_t index, const int32_t *isr,
                  size_t count, struct test_proposal *proposal);
/* What the answer says of the one partition. */
static inline int16_t test_proposal_code(const struct test_call *call)
{
    return call->response.isr.topics.items[0].partitions.items[0].error_code;
}
/* The controller is asked by the partition's leader for this ISR. */
enum error test_alter_isr(struct test_world *world, const char *name, int32_t index, const int32_t *isr,
                          size_t count);
/* What leaders do in time: every live replica is proposed for its ISR, until nothing moves. */
void test_catch_up(struct test_world *world);
/* AlterPartitionReassignments for one partition; NULL cancels. */
enum error test_move(struct test_broker *broker, const char *name, int32_t index, const int32_t *replicas,
                     size_t count);

/* Every rule that holds whenever nothing moves: each topic has all its znodes, each partition whose replicas live has a leader in
 * its ISR, images of all brokers and their replicas say what the znodes say. Fails the test with `seed`. */
void test_world_check(struct test_world *world, uint64_t seed);
