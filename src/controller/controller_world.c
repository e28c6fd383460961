#include "controller/controller_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"

static void *must(void *memory)
{
    if (!memory) abort();
    return memory;
}

static void must_ok(enum error err)
{
    if (err != OK) abort();
}

/* --- the appliers --- */

static struct slice replica_key(char key[300], struct slice topic, int32_t index)
{
    snprintf(key, 300, "%.*s-%d", SLICE_ARG(topic), index);
    return slice_of(key);
}

static void apply_roles(void *context, const struct leader_and_isr_request *request, struct arena *arena,
                        struct leader_and_isr_response *response, void (*done)(void *), void *done_context)
{
    struct test_broker *broker = context;
    enum error err = metadata_obey(broker->metadata, request->controller_epoch, request->broker_epoch);
    response->error_code = error_kafka_code(err);
    size_t topics = request->topic_states.count > 0 ? (size_t)request->topic_states.count : 0;
    response->topics.items = must(arena_zalloc(arena, (topics + 1) * sizeof *response->topics.items));
    response->topics.count = err == OK ? (int32_t)topics : 0;
    for (int32_t t = 0; err == OK && t < request->topic_states.count; t++) {
        const struct leader_and_isr_request_leader_and_isr_topic_state *topic =
            &request->topic_states.items[t];
        struct leader_and_isr_response_leader_and_isr_topic_error *said = &response->topics.items[t];
        said->topic_id = topic->topic_id;
        said->partition_errors.count = topic->partition_states.count;
        said->partition_errors.items = must(arena_zalloc(arena, ((size_t)topic->partition_states.count + 1) *
                                                                    sizeof *said->partition_errors.items));
        for (int32_t p = 0; p < topic->partition_states.count; p++) {
            const struct leader_and_isr_request_leader_and_isr_partition_state *state =
                &topic->partition_states.items[p];
            char key[300];
            struct slice name = replica_key(key, topic->topic_name, state->partition_index);
            struct test_replica *replica = map_get(&broker->replicas, name);
            said->partition_errors.items[p].partition_index = state->partition_index;
            if (broker->broken && slice_is(name, broker->broken)) {
                said->partition_errors.items[p].error_code = error_kafka_code(ERR_KAFKA_STORAGE_ERROR);
                continue;
            }
            if (!replica) {
                replica = must(calloc(1, sizeof *replica));
                replica->leader_epoch = -1;
                must_ok(map_put(&broker->replicas, name, replica));
            }
            if (state->leader_epoch < replica->leader_epoch) continue;
            *replica = (struct test_replica){state->leader, state->leader_epoch, state->is_new, false};
        }
    }
    done(done_context);
}

static void apply_stops(void *context, const struct stop_replica_request *request, struct arena *arena,
                        struct stop_replica_response *response, void (*done)(void *), void *done_context)
{
    struct test_broker *broker = context;
    enum error err = metadata_obey(broker->metadata, request->controller_epoch, request->broker_epoch);
    response->error_code = error_kafka_code(err);
    size_t most = 0;
    for (int32_t t = 0; t < request->topic_states.count; t++)
        most += (size_t)request->topic_states.items[t].partition_states.count;
    response->partition_errors.items =
        must(arena_zalloc(arena, (most + 1) * sizeof *response->partition_errors.items));
    response->partition_errors.count = 0;
    for (int32_t t = 0; err == OK && t < request->topic_states.count; t++) {
        const struct stop_replica_request_stop_replica_topic_state *topic = &request->topic_states.items[t];
        for (int32_t p = 0; p < topic->partition_states.count; p++) {
            const struct stop_replica_request_stop_replica_partition_state *state =
                &topic->partition_states.items[p];
            struct stop_replica_response_stop_replica_partition_error *said =
                &response->partition_errors.items[response->partition_errors.count++];
            char key[300];
            struct slice name = replica_key(key, topic->topic_name, state->partition_index);
            struct test_replica *replica = map_get(&broker->replicas, name);
            said->topic_name = topic->topic_name;
            said->partition_index = state->partition_index;
            if (state->delete_partition && broker->fails_deletes)
                said->error_code = error_kafka_code(ERR_KAFKA_STORAGE_ERROR);
            else if (replica && state->delete_partition)
                free(map_remove(&broker->replicas, name));
            else if (replica)
                replica->is_stopped = true;
        }
    }
    done(done_context);
}

/* --- channels between brokers: the appliers of whoever lives --- */

static void remote_added(void *context, const struct broker_registration *broker, int64_t epoch)
{
    (void)context;
    (void)broker;
    (void)epoch;
}

static void remote_removed(void *context, int32_t id)
{
    (void)context;
    (void)id;
}

static void nothing(void *context)
{
    (void)context;
}

static void remote_send(void *context, struct controller_rpc *rpc)
{
    struct test_world *world = context;
    world->requests++;
    struct test_broker *broker = rpc->broker_id < 4 ? world->brokers[rpc->broker_id] : NULL;
    if (broker && !broker->metadata) broker = NULL;
    rpc->err = broker ? OK : ERR_CANCELLED;
    if (!broker) {
        /* nobody there: the real channel would try until it is removed */
    } else if (rpc->api_key == 6) {
        rpc->response.update_metadata.error_code =
            error_kafka_code(metadata_apply_update(broker->metadata, &rpc->request.update_metadata));
    } else if (rpc->api_key == 5) {
        apply_stops(broker, &rpc->request.stop_replica, &rpc->arena, &rpc->response.stop_replica, nothing,
                    NULL);
    } else {
        apply_roles(broker, &rpc->request.leader_and_isr, &rpc->arena, &rpc->response.leader_and_isr, nothing,
                    NULL);
    }
    rpc->done(rpc);
}

/* --- rules --- */

static int32_t two(void *context)
{
    (void)context;
    return 2;
}

static int16_t one(void *context)
{
    (void)context;
    return 1;
}

static int64_t now_ms(void *context)
{
    return fake_keeper_now_ms(((struct test_broker *)context)->world->fake);
}

static int64_t wall_ms(void *context)
{
    return FAKE_KEEPER_EPOCH_MS + now_ms(context);
}

static void draw(void *context, void *out, size_t size)
{
    random_fill(&((struct test_broker *)context)->world->random, out, size);
}

static bool may_unclean(void *context, const struct image_config *config)
{
    (void)config;
    return ((struct test_broker *)context)->world->is_unclean_allowed;
}

static enum error check_configs(void *context, enum config_type type, struct slice name,
                                const struct config_entry *entries, size_t count, struct text *message)
{
    (void)context;
    (void)type;
    (void)name;
    for (size_t i = 0; i < count; i++) {
        if (!slice_is(entries[i].key, "bogus")) continue;
        text_addz(message, "bogus is not a config");
        return ERR_INVALID_CONFIG;
    }
    return OK;
}

static bool list_default(void *context, enum config_type type, struct slice name, struct slice key,
                         struct slice *value)
{
    (void)context;
    (void)type;
    (void)name;
    *value = SLICE("delete");
    return slice_is(key, "cleanup.policy");
}

/* --- brokers --- */

static void on_registered(void *context, int64_t epoch)
{
    (void)epoch;
    ((struct test_broker *)context)->is_registered = true;
}

static void on_fatal(void *context, const char *problem)
{
    struct test_broker *broker = context;
    broker->is_fatal = true;
    snprintf(broker->problem, sizeof broker->problem, "%s", problem);
}

static void on_role(void *context, bool is_controller)
{
    struct test_broker *broker = context;
    broker->is_controller = is_controller;
    broker->roles++;
}

static void joined(void *context, enum error err, const struct cluster_identity *identity,
                   const char *problem)
{
    struct test_broker *broker = context;
    broker->joined = err;
    snprintf(broker->problem, sizeof broker->problem, "%s", problem ? problem : "");
    if (err != OK) return;
    broker->identity = *identity;
    must_ok(metadata_new(NULL, slice_of(identity->cluster_id), &broker->metadata));
    must_ok(config_watch_new(broker->coord, broker->metadata, wall_ms, NULL, broker, &broker->configs));
    struct broker_appliers appliers = {broker, apply_roles, apply_stops};
    struct controller_channel remote = {broker->world, remote_added, remote_removed, remote_send};
    must_ok(
        local_channel_new(broker->id, broker->metadata, broker->configs, &appliers, &remote, &broker->local));
    struct broker_endpoint endpoint = {SLICE("PLAINTEXT"), SLICE("127.0.0.1"), 9092 + broker->id, 0};
    struct controller_options options = {
        .coord = broker->coord,
        .metadata = broker->metadata,
        .configs = broker->configs,
        .registration = {.id = broker->id,
                         .endpoints = &endpoint,
                         .endpoint_count = 1,
                         .jmx_port = -1,
                         .shrinks_itself = broker->world->are_ours},
        .rules = {.context = broker,
                  .check_configs = check_configs,
                  .list_default = list_default,
                  .default_partitions = two,
                  .default_replication_factor = one,
                  .is_unclean_election_allowed = may_unclean,
                  .is_topic_deletion_enabled = !broker->world->is_deletion_disabled,
                  .is_auto_rebalance_enabled = broker->world->is_rebalancing,
                  .imbalance_percentage = 10,
                  .imbalance_check_seconds = 300,
                  .now_ms = now_ms,
                  .wall_ms = wall_ms,
                  .random = draw},
        .channel = local_channel_table(broker->local),
        .is_candidate = true,
        .on_registered = on_registered,
        .on_fatal = on_fatal,
        .on_role = on_role,
        .context = broker,
    };
    must_ok(controller_new(&options, &broker->controller));
}

struct test_broker *test_broker_begin(struct test_world *world, int32_t id)
{
    struct test_broker *broker = must(calloc(1, sizeof *broker));
    *broker = (struct test_broker){.world = world, .id = id, .joined = ERR_AGAIN};
    broker->coord = fake_keeper_coord(world->fake, &(struct coord_options){.session_timeout_ms = 6000}, 0);
    world->brokers[id] = broker;
    struct cluster_join join = {.broker_id = id, .reserved_max_id = 1000, .done = joined, .context = broker};
    draw(broker, &join.new_cluster_id, sizeof join.new_cluster_id);
    must_ok(cluster_join(broker->coord, &join));
    coord_door_tick(broker->coord);
    return broker;
}

struct test_broker *test_broker_start(struct test_world *world, int32_t id)
{
    struct test_broker *broker = test_broker_begin(world, id);
    fake_keeper_advance(world->fake, 10);
    return broker;
}

static void broker_free(struct test_world *world, struct test_broker *broker)
{
    world->brokers[broker->id] = NULL;
    controller_free(&broker->controller);
    local_channel_free(&broker->local);
    config_watch_free(&broker->configs);
    coord_close(&broker->coord);
    metadata_free(&broker->metadata);
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&broker->replicas, &i));) free(slot->value);
    map_free(&broker->replicas);
    free(broker);
}

int64_t test_broker_kill(struct test_world *world, int32_t id)
{
    struct test_broker *broker = world->brokers[id];
    int64_t session = coord_session_id(broker->coord);
    broker_free(world, broker);
    return session;
}

void test_broker_stop(struct test_world *world, int32_t id)
{
    int64_t session = test_broker_kill(world, id);
    fake_keeper_expire(world->fake, session);
    fake_keeper_advance(world->fake, 10);
}

struct test_broker *test_controller(struct test_world *world)
{
    struct test_broker *found = NULL;
    for (int i = 0; i < 4; i++) {
        struct test_broker *broker = world->brokers[i];
        if (broker && broker->controller && controller_is_active(broker->controller)) found = broker;
    }
    return found;
}

static void no_diag(void *context, enum diag_level level, const char *message)
{
    (void)context;
    if (getenv("TEST_DIAG")) fprintf(stderr, "%d %s\n", level, message);
}

struct test_world *test_world_new(uint64_t seed)
{
    struct test_world *world = must(calloc(1, sizeof *world));
    diag_set_sink(no_diag, NULL);
    random_seed(&world->random, seed);
    arena_init(&world->arena, 0);
    world->fake = fake_keeper_new();
    return world;
}

void test_world_free(struct test_world *world)
{
    for (int i = 0; i < 4; i++)
        if (world->brokers[i]) broker_free(world, world->brokers[i]);
    fake_keeper_free(world->fake);
    arena_free(&world->arena);
    diag_set_sink(NULL, NULL);
    free(world);
}

/* --- calls --- */

static void call_finished(struct controller_call *call)
{
    ((struct test_call *)call->context)->done++;
}

static void submit(struct test_broker *broker, struct test_call *call, int16_t api_key, int16_t version,
                   const void *request, bool is_auto_creation)
{
    *call = (struct test_call){0};
    arena_init(&call->arena, 0);
    call->call = (struct controller_call){.api_key = api_key,
                                          .version = version,
                                          .request = request,
                                          .arena = &call->arena,
                                          .response = &call->response,
                                          .is_auto_creation = is_auto_creation,
                                          .done = call_finished,
                                          .context = call};
    controller_submit(broker->controller, &call->call);
}

void test_submit(struct test_broker *broker, struct test_call *call, int16_t api_key, int16_t version,
                 const void *request)
{
    submit(broker, call, api_key, version, request, false);
}

void test_submit_auto(struct test_broker *broker, struct test_call *call,
                      const struct create_topics_request *request)
{
    submit(broker, call, 19, 7, request, true);
}

void test_call_free(struct test_call *call)
{
    arena_free(&call->arena);
}

static void settle(struct test_broker *broker, const struct test_call *call)
{
    struct test_world *world = broker->world;
    for (int i = 0; i < 100 && !call->done; i++) {
        fake_keeper_advance(world->fake, 500);
        for (int b = 0; b < 4; b++)
            if (world->brokers[b] && world->brokers[b]->controller)
                controller_tick(world->brokers[b]->controller);
    }
}

enum error test_create(struct test_broker *broker, const char *name, int32_t partitions, int16_t replication)
{
    struct create_topics_request_creatable_topic topic = {
        .name = slice_of(name), .num_partitions = partitions, .replication_factor = replication};
    struct create_topics_request request = {.topics = {&topic, 1}, .timeout_ms = 5000};
    struct test_call call;
    test_submit(broker, &call, 19, 7, &request);
    settle(broker, &call);
    enum error err = !call.done ? ERR_AGAIN : call.call.err;
    if (err == OK) err = error_from_kafka(call.response.create.topics.items[0].error_code);
    test_call_free(&call);
    return err;
}

enum error test_delete(struct test_broker *broker, const char *name)
{
    struct slice names[] = {slice_of(name)};
    struct delete_topics_request request = {.topic_names = {names, 1}, .timeout_ms = 5000};
    struct test_call call;
    test_submit(broker, &call, 20, 5, &request);
    settle(broker, &call);
    enum error err = !call.done ? ERR_AGAIN : call.call.err;
    if (err == OK) err = error_from_kafka(call.response.remove.responses.items[0].error_code);
    test_call_free(&call);
    return err;
}

enum error test_create_at(struct test_broker *broker, const char *name, const int32_t *replicas,
                          int32_t partitions, int16_t replication)
{
    struct create_topics_request_creatable_replica_assignment assignments[16];
    for (int32_t p = 0; p < partitions; p++)
        assignments[p] = (struct create_topics_request_creatable_replica_assignment){
            .partition_index = p,
            .broker_ids = {(int32_t *)(uintptr_t)(replicas + p * replication), replication}};
    struct create_topics_request_creatable_topic topic = {.name = slice_of(name),
                                                          .num_partitions = -1,
                                                          .replication_factor = -1,
                                                          .assignments = {assignments, partitions}};
    struct create_topics_request request = {.topics = {&topic, 1}, .timeout_ms = 5000};
    struct test_call call;
    test_submit(broker, &call, 19, 7, &request);
    settle(broker, &call);
    enum error err = !call.done ? ERR_AGAIN : call.call.err;
    if (err == OK) err = error_from_kafka(call.response.create.topics.items[0].error_code);
    test_call_free(&call);
    return err;
}

void test_propose(struct test_broker *broker, const char *name, int32_t index, const int32_t *isr,
                  size_t count, struct test_proposal *proposal)
{
    const struct image_topic *topic = image_topic(metadata_image(broker->metadata), slice_of(name));
    const struct image_partition *now = topic->partitions[index];
    *proposal = (struct test_proposal){.topic = {.topic_id = topic->id}};
    for (size_t i = 0; i < count; i++)
        proposal->states[i] =
            (struct alter_partition_request_broker_state){.broker_id = isr[i], .broker_epoch = -1};
    proposal->data = (struct alter_partition_request_partition_data){
        .partition_index = index,
        .leader_epoch = now->leader_epoch,
        .new_isr_with_epochs = {proposal->states, (int32_t)count},
        .partition_epoch = now->zk_version};
    proposal->topic.partitions.items = &proposal->data;
    proposal->topic.partitions.count = 1;
    proposal->request = (struct alter_partition_request){
        .broker_id = now->leader,
        .broker_epoch = controller_broker_epoch(broker->world->brokers[now->leader]->controller),
        .topics = {&proposal->topic, 1}};
}

enum error test_alter_isr(struct test_world *world, const char *name, int32_t index, const int32_t *isr,
                          size_t count)
{
    struct test_broker *controller = test_controller(world);
    if (!controller) return ERR_NOT_CONTROLLER;
    const struct image *image = metadata_image(controller->metadata);
    const struct image_topic *topic = image_topic(image, slice_of(name));
    const struct image_partition *now = image_topic_partition(topic, index);
    if (!now || now->leader < 0 || !world->brokers[now->leader]) return ERR_LEADER_NOT_AVAILABLE;
    struct test_proposal proposal;
    test_propose(controller, name, index, isr, count, &proposal);
    struct test_call call;
    test_submit(controller, &call, 56, 3, &proposal.request);
    settle(controller, &call);
    enum error err = !call.done ? ERR_AGAIN : call.call.err;
    if (err == OK) err = error_from_kafka(call.response.isr.error_code);
    if (err == OK) err = error_from_kafka(test_proposal_code(&call));
    test_call_free(&call);
    return err;
}

static bool is_in(const int32_t *ids, size_t count, int32_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id) return true;
    return false;
}

/* Proposes once; true when there was something to propose. */
static bool catch_up_once(struct test_world *world)
{
    struct test_broker *controller = test_controller(world);
    if (!controller) return false;
    const struct image *image = metadata_image(controller->metadata);
    for (const struct image_topic *topic = image_next_topic(image, SLICE_NULL, false); topic;
         topic = image_next_topic(image, topic->name, true)) {
        for (int32_t p = 0; p < topic->partition_count; p++) {
            const struct image_partition *partition = topic->partitions[p];
            if (!partition || partition->leader < 0 || !world->brokers[partition->leader]) continue;
            int32_t isr[8];
            size_t count = 0, new_count = 0;
            for (int32_t i = 0; i < partition->isr_count; i++) isr[count++] = partition->isr[i];
            for (int32_t r = 0; r < partition->replica_count; r++) {
                int32_t id = partition->replicas[r];
                if (is_in(isr, count, id) || !world->brokers[id] || !image_broker(image, id)) continue;
                if (is_in(partition->offline, (size_t)partition->offline_count, id)) continue;
                isr[count++] = id;
                new_count++;
            }
            char name[300];
            slice_text(topic->name, name, sizeof name);
            if (new_count > 0 && test_alter_isr(world, name, p, isr, count) == OK) return true;
        }
    }
    return false;
}

void test_catch_up(struct test_world *world)
{
    for (int i = 0; i < 200 && catch_up_once(world); i++) fake_keeper_advance(world->fake, 10);
}

enum error test_move(struct test_broker *broker, const char *name, int32_t index, const int32_t *replicas,
                     size_t count)
{
    struct alter_partition_reassignments_request_reassignable_partition partition = {
        .partition_index = index,
        .replicas = {(int32_t *)(uintptr_t)replicas, replicas ? (int32_t)count : -1}};
    struct alter_partition_reassignments_request_reassignable_topic topic = {.name = slice_of(name),
                                                                             .partitions = {&partition, 1}};
    struct alter_partition_reassignments_request request = {
        .timeout_ms = 1000, .allow_replication_factor_change = true, .topics = {&topic, 1}};
    struct test_call call;
    test_submit(broker, &call, 45, 1, &request);
    settle(broker, &call);
    enum error err = !call.done ? ERR_AGAIN : call.call.err;
    if (err == OK)
        err = error_from_kafka(call.response.move.responses.items[0].partitions.items[0].error_code);
    test_call_free(&call);
    return err;
}

/* --- what must hold --- */

static void complain(uint64_t seed, const char *what, struct slice topic, int index)
{
    fprintf(stderr, "seed %llu: %.*s-%d: %s\n", (unsigned long long)seed, SLICE_ARG(topic), index, what);
    abort();
}

struct check {
    struct test_world *world;
    uint64_t seed;
    size_t topics;
};

static void check_partition(struct check *check, struct slice name, const struct topic_assignment *topic,
                            int32_t index)
{
    struct test_world *world = check->world;
    char path[400];
    struct partition_state state;
    snprintf(path, sizeof path, "/brokers/topics/%.*s/partitions/%d/state", SLICE_ARG(name), index);
    bool is_any_live = false, is_isr_live = false;
    for (size_t r = 0; r < topic->replicas[index].count; r++)
        is_any_live |= world->brokers[topic->replicas[index].items[r]] != NULL;
    if (!fake_keeper_has(world->fake, path)) {
        if (is_any_live) complain(check->seed, "has no state", name, index);
        return;
    }
    must_ok(
        znode_state_decode(slice_of(path), fake_keeper_data(world->fake, path), &world->arena, &state, NULL));
    struct znode_stat stat;
    fake_keeper_stat(world->fake, path, &stat);
    bool is_leader_in_isr = false;
    for (size_t i = 0; i < state.isr.count; i++) {
        is_isr_live |= world->brokers[state.isr.items[i]] != NULL;
        is_leader_in_isr |= state.isr.items[i] == state.leader;
    }
    if (state.isr.count == 0) complain(check->seed, "has an empty ISR", name, index);
    if (is_isr_live && (state.leader < 0 || !world->brokers[state.leader]))
        complain(check->seed, "has no live leader", name, index);
    if (state.leader >= 0 && !is_leader_in_isr)
        complain(check->seed, "its leader is not in the ISR", name, index);
    for (int b = 0; b < 4; b++) {
        struct test_broker *broker = world->brokers[b];
        if (!broker) continue;
        const struct image_partition *shown = image_partition(metadata_image(broker->metadata), name, index);
        if (!shown)
            complain(check->seed, "is missing in an image", name, index);
        else if (shown->leader != state.leader || shown->zk_version != stat.version ||
                 shown->leader_epoch != state.leader_epoch)
            complain(check->seed, "an image differs from its znode", name, index);
        bool is_mine = false;
        for (size_t r = 0; r < topic->replicas[index].count; r++)
            is_mine |= topic->replicas[index].items[r] == b;
        if (!is_mine || state.leader < 0) continue;
        char key[300];
        struct test_replica *replica = map_get(&broker->replicas, replica_key(key, name, index));
        if (!replica)
            complain(check->seed, "a replica was never told", name, index);
        else if (replica->leader != state.leader)
            complain(check->seed, "a replica follows another leader", name, index);
    }
}

static void check_node(void *context, const char *path, struct slice data)
{
    struct check *check = context;
    const char prefix[] = "/brokers/topics/";
    if (strncmp(path, prefix, sizeof prefix - 1) != 0 || strchr(path + sizeof prefix - 1, '/')) return;
    struct slice name = slice_of(path + sizeof prefix - 1);
    struct topic_assignment topic;
    check->topics++;
    must_ok(znode_topic_decode(slice_of(path), data, &check->world->arena, &topic, NULL));
    char config[400];
    snprintf(config, sizeof config, "/config/topics/%.*s", SLICE_ARG(name));
    if (!fake_keeper_has(check->world->fake, config)) complain(check->seed, "has no config", name, -1);
    for (size_t p = 0; p < topic.partition_count; p++) check_partition(check, name, &topic, (int32_t)p);
    for (int b = 0; b < 4; b++) {
        struct test_broker *broker = check->world->brokers[b];
        const struct image_topic *shown = broker ? image_topic(metadata_image(broker->metadata), name) : NULL;
        if (broker && (!shown || !uuid_equal(&shown->id, &topic.id)))
            complain(check->seed, "an image has another id", name, b);
    }
}

void test_world_check(struct test_world *world, uint64_t seed)
{
    struct check check = {world, seed, 0};
    if (getenv("TEST_DIAG")) {
        struct text dump = {0};
        fake_keeper_dump(world->fake, &dump);
        fprintf(stderr, "%s", dump.data);
        text_free(&dump);
    }
    arena_reset(&world->arena);
    fake_keeper_walk(world->fake, check_node, &check);
    for (int b = 0; b < 4; b++) {
        struct test_broker *broker = world->brokers[b];
        if (!broker) continue;
        if (image_topic_count(metadata_image(broker->metadata)) != check.topics)
            complain(seed, "an image has topics that are no more", SLICE("broker"), b);
        if (image_controller_id(metadata_image(broker->metadata)) != test_controller(world)->id)
            complain(seed, "an image names another controller", SLICE("broker"), b);
    }
}
