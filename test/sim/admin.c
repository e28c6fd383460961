#include "admin.h"

#include <stdio.h>
#include <stdlib.h>

#include "peer.h"
#include "wire/messages.h"

enum {
    API_METADATA = 3,
    API_CREATE_TOPICS = 19,
    API_DELETE_TOPICS = 20,
    DELETE_TOPICS_VERSION = 5, /* the last with plain names */
    CALL_MS = 6000,
    MAX_EXTRAS = 12,
};

struct admin {
    struct world *world;
    struct peer peer;
    struct loop_timer timer;
    struct call call;
    bool is_calling, is_finishing;
    bool is_elsewhere; /* the controller is another broker */
    bool is_made;      /* the topic at hand exists, but its id is not known yet */
    bool is_somebodys; /* by an earlier request, whose answer was lost */
    int made, extras;  /* topics for producers that are there; others asked for */
    int32_t asked_partitions;
    char name[HISTORY_NAME];
};

static void again(struct admin *admin, int64_t min_ms, int64_t max_ms)
{
    loop_timer_start(admin->world->loop, &admin->timer, world_between(admin->world, min_ms, max_ms));
}

static void call(struct admin *admin, int16_t api_key, const void *request, int16_t max_version,
                 void (*done)(struct call *call, enum error err, int16_t version, const void *response))
{
    admin->call =
        (struct call){.done = done, .context = admin, .max_version = max_version, .timeout_ms = CALL_MS};
    admin->is_calling = peer_send(&admin->peer, api_key, request, &admin->call) == OK;
    if (!admin->is_calling) again(admin, 50, 200);
}

static struct admin *returned(struct call *call)
{
    struct admin *admin = call->context;
    admin->is_calling = false;
    again(admin, 20, 300);
    return admin;
}

/* While a node starts or its disk is full. */
static bool is_passing(struct admin *admin, enum error code)
{
    admin->is_elsewhere |= code == ERR_NOT_CONTROLLER && admin->world->server_count > 1;
    /* A deposed controller that does not know it yet, nor what others have made since. */
    if (code == ERR_UNKNOWN_TOPIC_OR_PARTITION && admin->world->server_count > 1) return true;
    return code == ERR_NOT_CONTROLLER || code == ERR_REQUEST_TIMED_OUT ||
           code == ERR_COORDINATOR_NOT_AVAILABLE || code == ERR_UNKNOWN_SERVER_ERROR ||
           code == ERR_KAFKA_STORAGE_ERROR || code == ERR_LEADER_NOT_AVAILABLE ||
           code == ERR_INVALID_REPLICATION_FACTOR || code == ERR_NETWORK_EXCEPTION;
}

/* --- topics of the producers --- */

static bool is_own(const struct admin *admin)
{
    return admin->made < admin->world->plan.topics;
}

static void described(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct admin *admin = returned(call);
    const struct metadata_response *answer = response;
    if (err != OK || answer->topics.count != 1) return;
    const struct metadata_response_metadata_response_topic *topic = &answer->topics.items[0];
    struct history *history = &admin->world->history;
    /* Made, but not everybody has heard. */
    if (topic->error_code != 0 && (admin->is_somebodys || admin->world->server_count > 1)) return;
    if (topic->error_code != 0) {
        history_fail(history, "topic %s was made, and Metadata answers %s", admin->name,
                     error_name(error_from_kafka(topic->error_code)));
        return;
    }
    bool is_told_in_part = topic->partitions.count < admin->world->plan.partitions_per_topic;
    if (is_told_in_part && admin->world->server_count > 1) return; /* some have no leader yet */
    history_topic_made(history, slice_of(admin->name), topic->topic_id, topic->partitions.count);
    for (int32_t i = 0; i < topic->partitions.count; i++) history_add_partition(history, admin->name, i);
    admin->is_made = false;
    admin->made++;
}

static void describe(struct admin *admin)
{
    struct metadata_request_metadata_request_topic topic;
    metadata_request_metadata_request_topic_init(&topic);
    topic.name = slice_of(admin->name);
    struct metadata_request request;
    metadata_request_init(&request);
    request.topics.items = &topic;
    request.topics.count = 1;
    request.allow_auto_topic_creation = false;
    call(admin, API_METADATA, &request, -1, described);
}

/* --- making and deleting --- */

static void made(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct admin *admin = returned(call);
    const struct create_topics_response *answer = response;
    if (err != OK || answer->topics.count != 1) return;
    enum error code =
        answer->topics.items[0].error_code ? error_from_kafka(answer->topics.items[0].error_code) : OK;
    world_note(admin->world, "CreateTopics %s answers %s", admin->name, error_name(code));
    if (is_own(admin)) {
        admin->is_made = code == OK || code == ERR_TOPIC_ALREADY_EXISTS;
        admin->is_somebodys = code == ERR_TOPIC_ALREADY_EXISTS;
    } else if (code == OK) {
        history_topic_made(&admin->world->history, slice_of(admin->name), answer->topics.items[0].topic_id,
                           admin->asked_partitions);
    }
    if (code != OK && code != ERR_TOPIC_ALREADY_EXISTS && !is_passing(admin, code)) {
        history_fail(&admin->world->history, "CreateTopics %s answers %s: %.*s", admin->name,
                     error_name(code), SLICE_ARG(answer->topics.items[0].error_message));
    }
}

static void make(struct admin *admin, int32_t partitions)
{
    struct create_topics_request_creatable_topic topic;
    create_topics_request_creatable_topic_init(&topic);
    topic.name = slice_of(admin->name);
    topic.num_partitions = admin->asked_partitions = partitions;
    topic.replication_factor = (int16_t)admin->world->plan.replicas;
    struct create_topics_request_creatable_topic_config configs[2];
    static const char *const throttled[] = {"leader.replication.throttled.replicas",
                                            "follower.replication.throttled.replicas"};
    for (int i = 0; i < 2; i++) {
        create_topics_request_creatable_topic_config_init(&configs[i]);
        configs[i].name = slice_of(throttled[i]);
        configs[i].value = SLICE("*");
    }
    topic.configs.items = configs;
    topic.configs.count = admin->world->plan.throttle_bytes > 0 ? 2 : 0;
    struct create_topics_request request;
    create_topics_request_init(&request);
    request.topics.items = &topic;
    request.topics.count = 1;
    request.timeout_ms = 3000;
    call(admin, API_CREATE_TOPICS, &request, -1, made);
}

static void deleted(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    struct admin *admin = returned(call);
    const struct delete_topics_response *answer = response;
    if (err != OK || answer->responses.count != 1) return;
    struct history *history = &admin->world->history;
    struct history_topic *topic = history_find_topic(history, slice_of(admin->name));
    int16_t error_code = answer->responses.items[0].error_code;
    enum error code = error_code ? error_from_kafka(error_code) : OK;
    world_note(admin->world, "DeleteTopics %s answers %s", admin->name, error_name(code));
    if (code == OK) {
        topic->is_deleted = true;
        topic->is_uncertain = false;
    } else if (code == ERR_UNKNOWN_TOPIC_OR_PARTITION && is_passing(admin, code)) {
        topic->is_uncertain = false; /* nothing was done: it must still be there */
    } else if (!is_passing(admin, code)) {
        history_fail(history, "DeleteTopics %s answers %s", admin->name, error_name(code));
    }
}

static bool delete_one(struct admin *admin)
{
    struct history *history = &admin->world->history;
    for (size_t i = 0; i < history->topic_count; i++) {
        struct history_topic *topic = &history->topics[i];
        if (history_find_partition(history, slice_of(topic->name), 0) != SIZE_MAX) continue;
        if (topic->is_deleted || topic->is_uncertain) continue;
        slice_text(slice_of(topic->name), admin->name, sizeof admin->name);
        topic->is_uncertain = true;
        struct slice name = slice_of(admin->name);
        struct delete_topics_request request;
        delete_topics_request_init(&request);
        request.topic_names.items = &name;
        request.topic_names.count = 1;
        request.timeout_ms = 3000;
        call(admin, API_DELETE_TOPICS, &request, DELETE_TOPICS_VERSION, deleted);
        return true;
    }
    return false;
}

static void step(struct loop_timer *timer)
{
    struct admin *admin = CONTAINER_OF(timer, struct admin, timer);
    struct world *world = admin->world;
    if (admin->is_calling || world_has_failed(world)) return;
    if (admin->is_elsewhere) {
        admin->is_elsewhere = false;
        peer_move(&admin->peer, PEER_ANY);
    }
    if (!admin->peer.is_open) {
        again(admin, 20, 100);
    } else if (is_own(admin)) {
        snprintf(admin->name, sizeof admin->name, "topic-%d", admin->made);
        if (admin->is_made)
            describe(admin);
        else
            make(admin, world->plan.partitions_per_topic);
    } else if (!admin->is_finishing && admin->extras < MAX_EXTRAS && !world_chance(world, 3)) {
        snprintf(admin->name, sizeof admin->name, "extra-%d", admin->extras++);
        make(admin, (int32_t)world_between(world, 1, 3));
    } else if (admin->is_finishing || !delete_one(admin)) {
        again(admin, 500, 1500);
    }
}

struct admin *admin_new(struct world *world)
{
    struct admin *admin = calloc(1, sizeof *admin);
    if (!admin) abort();
    admin->world = world;
    admin->timer.run = step;
    peer_start(&admin->peer, world, "admin", PEER_ANY);
    again(admin, 0, 5);
    return admin;
}

void admin_free(struct admin **freed)
{
    struct admin *admin = *freed;
    *freed = NULL;
    if (!admin) return;
    peer_stop(&admin->peer);
    loop_timer_stop(admin->world->loop, &admin->timer);
    free(admin);
}

void admin_finish(struct admin *admin)
{
    admin->is_finishing = true;
}

bool admin_is_idle(const struct admin *admin)
{
    return !is_own(admin) && !admin->is_calling;
}
