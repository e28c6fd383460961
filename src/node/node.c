#include "node/inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "keeper/keeper_tls.h"
#include "keeper/servers.h"
#include "loop/disk.h"
#include "node/coord_tls.h"

enum { READY_CHECK_MS = 1, MAX_IN_FLIGHT = 128, RETURN_SESSIONS = 2 /* of patience */ };

static void fail(struct node *node, enum error err, const char *problem)
{
    node_end(node, err == OK ? ERR_UNKNOWN_SERVER_ERROR : err, problem);
}

/* --- ready --- */

/* Every partition that the cluster says we keep has a leader. */
static bool has_all_leaders(const struct image *image, int32_t broker_id)
{
    const struct image_topic *topic = image_next_topic(image, SLICE_NULL, false);
    for (; topic; topic = image_next_topic(image, topic->name, true)) {
        for (int32_t i = 0; i < topic->partition_count; i++) {
            const struct image_partition *partition = topic->partitions[i];
            if (!partition || partition->leader >= 0) continue;
            for (int32_t r = 0; r < partition->replica_count; r++) {
                if (partition->replicas[r] == broker_id) return false;
            }
        }
    }
    return true;
}

static void say_ready(struct node *node)
{
    struct text line = {0};
    size_t count = 0;
    const struct broker_endpoint *endpoints = broker_endpoints(node->broker, &count);
    text_addz(&line, "ready: ");
    for (size_t i = 0; i < count; i++) {
        bool is_ipv6 = memchr(endpoints[i].host.data, ':', endpoints[i].host.size) != NULL;
        text_addf(&line, is_ipv6 ? "%s%.*s://[%.*s]:%d" : "%s%.*s://%.*s:%d", i > 0 ? "," : "",
                  SLICE_ARG(endpoints[i].listener), SLICE_ARG(endpoints[i].host), endpoints[i].port);
    }
    struct setting_list dirs = settings_log_dirs(settings_of(node));
    text_addz(&line, " data ");
    for (size_t i = 0; i < dirs.count; i++)
        text_addf(&line, "%s%.*s", i > 0 ? "," : "", SLICE_ARG(dirs.items[i]));
    text_addf(&line, " in %lld ms",
              (long long)((loop_clock_us(node->control) - node->config.started_us + 999) / 1000));
    if (node->config.on_ready && !line.failed) node->config.on_ready(node->config.context, line.data);
    text_free(&line);
}

/* Clients come in when we can tell them of topics: before, they would make those that we just do not know yet. Where the
 * controller may be another broker, which others' keepers allow from the start, it must reach us as soon as we are registered. */
static void maybe_accept(struct node *node)
{
    bool is_alone = node->keeper != NULL;
    if (node->is_accepting || !node->is_registered ||
        (is_alone && !node->has_role && !node->has_other_controller))
        return;
    node->is_accepting = true;
    broker_accept(node->broker);
}

static void check_ready(struct loop_timer *timer)
{
    struct node *node = CONTAINER_OF(timer, struct node, ready_timer);
    if (node->is_ready || node->is_stopping) return;
    const struct image *image = metadata_image(node->metadata);
    bool is_known = image_controller_id(image) >= 0 && image_broker(image, node->identity.broker_id);
    if (node->is_accepting && is_known && replicas_is_settled(node->replicas) &&
        has_all_leaders(image, node->identity.broker_id)) {
        node->is_ready = true;
        say_ready(node);
        return;
    }
    loop_timer_start(node->control, &node->ready_timer, READY_CHECK_MS);
}

static bool http_is_ready(void *context, char *why, size_t size)
{
    struct node *node = context;
    if (node->is_ready && !node->is_stopping) return true;
    snprintf(why, size, "%s", node->is_stopping ? "stopping" : "starting");
    return false;
}

/* --- registered, controller --- */

static void on_registered(void *context, int64_t broker_epoch)
{
    struct node *node = context;
    node->is_registered = true;
    log_store_set_broker_epoch(node->store, broker_epoch);
    log_store_note_boot(node->store);
    maybe_accept(node);
}

static void on_fatal(void *context, const char *problem)
{
    fail(context, ERR_DUPLICATE_BROKER_REGISTRATION, problem);
}

static void on_role(void *context, bool is_controller)
{
    struct node *node = context;
    diag_info(is_controller ? "this broker is the controller now"
                            : "this broker is not the controller any more");
    node->has_role |= is_controller;
    maybe_accept(node);
    check_ready(&node->ready_timer);
}

static void apply_leader_and_isr(void *context, const struct leader_and_isr_request *request,
                                 struct arena *arena, struct leader_and_isr_response *response,
                                 void (*done)(void *done_context), void *done_context)
{
    replicas_apply_leader_and_isr(((struct node *)context)->replicas, request, arena, response, done,
                                  done_context);
}

static void apply_stop_replica(void *context, const struct stop_replica_request *request, struct arena *arena,
                               struct stop_replica_response *response, void (*done)(void *done_context),
                               void *done_context)
{
    replicas_apply_stop_replica(((struct node *)context)->replicas, request, arena, response, done,
                                done_context);
}

static void on_other(void *context, int32_t controller_id)
{
    (void)controller_id;
    struct node *node = context;
    node->has_other_controller = true;
    maybe_accept(node);
}

static enum error make_replicas(struct node *node)
{
    const struct settings *settings = settings_of(node);
    struct replicas_options options = {.broker_id = node->identity.broker_id,
                                       .loops = node->config.loops,
                                       .loop_count = node->config.loop_count,
                                       .store = node->store,
                                       .metadata = node->metadata,
                                       .controller_link = node->controller_link,
                                       .listener = settings_inter_broker_listener(settings)->name,
                                       .fetch = broker_fetch_rules(settings),
                                       .copy_lane = node->cold_lane,
                                       .lag_max_ms = settings_long(settings, SETTING_REPLICA_LAG_TIME_MAX_MS),
                                       .is_spread = node->config.is_spread,
                                       .topic_rules = broker_topic_rules,
                                       .context = node->broker};
    return replicas_new(&options, &node->replicas);
}

static enum error make_groups(struct node *node)
{
    const struct settings *settings = settings_of(node);
    struct group_config config = GROUP_CONFIG_DEFAULT;
    config.initial_rebalance_delay_ms =
        (int32_t)settings_long(settings, SETTING_GROUP_INITIAL_REBALANCE_DELAY_MS);
    config.min_session_timeout_ms = (int32_t)settings_long(settings, SETTING_GROUP_MIN_SESSION_TIMEOUT_MS);
    config.max_session_timeout_ms = (int32_t)settings_long(settings, SETTING_GROUP_MAX_SESSION_TIMEOUT_MS);
    config.max_size = (int32_t)settings_long(settings, SETTING_GROUP_MAX_SIZE);
    config.offset_metadata_max_bytes = (int32_t)settings_long(settings, SETTING_OFFSET_METADATA_MAX_BYTES);
    config.offsets_retention_ms = settings_long(settings, SETTING_OFFSETS_RETENTION_MINUTES) * 60000;
    config.offsets_retention_check_interval_ms =
        settings_long(settings, SETTING_OFFSETS_RETENTION_CHECK_INTERVAL_MS);
    config.commit_timeout_ms = (int32_t)settings_long(settings, SETTING_OFFSETS_COMMIT_TIMEOUT_MS);
    config.load_buffer_bytes = (size_t)settings_long(settings, SETTING_OFFSETS_LOAD_BUFFER_SIZE);
    config.offsets_topic_codec = (enum codec)settings_long(settings, SETTING_OFFSETS_TOPIC_COMPRESSION_CODEC);
    config.lane = node->cold_lane;
    return group_coordinators_new(&config, &node->groups);
}

/* Over the network to other brokers, and straight to the own one's appliers. */
static enum error make_channel(struct node *node)
{
    const struct settings *settings = settings_of(node);
    enum error err =
        network_channel_new(node->control, settings_control_plane_listener(settings)->name,
                            settings_long(settings, SETTING_CONTROLLER_SOCKET_TIMEOUT_MS), &node->network);
    if (err != OK) return err;
    struct broker_appliers appliers = {node, apply_leader_and_isr, apply_stop_replica};
    struct controller_channel others = network_channel_table(node->network);
    return local_channel_new(node->identity.broker_id, node->metadata, node->configs, &appliers, &others,
                             &node->channel);
}

static enum error make_controller(struct node *node)
{
    const struct settings *settings = settings_of(node);
    struct controller_options options = {.loop = node->control,
                                         .coord = node->coord,
                                         .metadata = node->metadata,
                                         .configs = node->configs,
                                         .channel = local_channel_table(node->channel),
                                         .listener = settings_inter_broker_listener(settings)->name,
                                         .is_candidate = true,
                                         .on_registered = on_registered,
                                         .on_fatal = on_fatal,
                                         .on_role = on_role,
                                         .on_other = on_other,
                                         .context = node};
    broker_controller_rules(node->broker, &options.rules);
    options.registration =
        (struct broker_registration){.id = node->identity.broker_id,
                                     .rack = slice_of(settings_text(settings, SETTING_BROKER_RACK)),
                                     .jmx_port = -1,
                                     .timestamp_ms = loop_wall_ms(node->control),
                                     .shrinks_itself = true};
    options.registration.endpoints = broker_endpoints(node->broker, &options.registration.endpoint_count);
    return controller_new(&options, &node->controller);
}

static enum error join_cluster(struct node *node)
{
    enum error err = own_controller_link(&node->own_controller, node->control, node->metadata,
                                         node->identity.broker_id, settings_of(node), &node->controller_link);
    if (err == OK) err = make_replicas(node);
    if (err == OK) err = make_groups(node);
    if (err == OK) err = make_channel(node);
    if (err == OK) err = make_controller(node);
    if (err != OK) return err;
    node->own_controller.controller = node->controller;
    struct broker_parts parts = {.replicas = node->replicas,
                                 .coord = node->coord,
                                 .controller_link = node->controller_link,
                                 .groups = node->groups,
                                 .configs = node->configs,
                                 .store = node->store,
                                 .controller = node->controller};
    broker_set_parts(node->broker, &parts);
    check_ready(&node->ready_timer);
    return OK;
}

static void maybe_join(struct node *node);

static void returned(void *context)
{
    struct node *node = context;
    node->returning = NULL;
    node->has_returned = true;
    maybe_join(node);
}

/* Whoever has what our machine's memory lost must lead, so we are not there to be elected for a moment. */
static enum error begin_return(struct node *node)
{
    struct cluster_return options = {
        .loop = node->control,
        .broker_id = node->identity.broker_id,
        .patience_ms =
            RETURN_SESSIONS * settings_long(settings_of(node), SETTING_ZOOKEEPER_SESSION_TIMEOUT_MS),
        .done = returned,
        .context = node};
    return cluster_return(node->coord, &options, &node->returning);
}

static void maybe_join(struct node *node)
{
    if (!node->is_loaded || !node->has_configs || node->is_stopping || node->controller) return;
    if (log_store_may_have_lost(node->store) && !node->has_returned) {
        enum error err = node->returning ? OK : begin_return(node);
        if (err != OK) fail(node, err, "could not look who counts on this broker");
        return;
    }
    enum error err = join_cluster(node);
    if (err != OK) fail(node, err, "could not make the parts of the broker");
}

static void on_configs(void *context)
{
    struct node *node = context;
    node->has_configs = true;
    maybe_join(node);
}

/* --- logs --- */

static void on_loaded(void *context, enum error err, const char *why)
{
    struct node *node = context;
    node->is_loading = false;
    if (node->is_stopping) {
        if (node->is_waiting_for_load) node_end_loaded(node);
        return;
    }
    if (err != OK) {
        fail(node, err, why);
        return;
    }
    struct log_store_progress progress;
    log_store_progress(node->store, &progress);
    if (progress.recovered > 0) {
        diag_info("recovered %zu of %zu partitions, which were not stopped cleanly", progress.recovered,
                  progress.partitions);
    }
    node->is_loaded = true;
    maybe_join(node);
}

static void tell_of_failed_dir(struct node *node);

static void failed_dir_told(void *context, const struct coord_reply *reply)
{
    if (reply->err == ERR_ZK_SESSION_EXPIRED) tell_of_failed_dir(context); /* in the next one, then */
}

/* The controller asks us about each of our partitions then, and elects other leaders for those that are gone. */
static void tell_of_failed_dir(struct node *node)
{
    struct text event = {0};
    znode_log_dir_event_encode(node->identity.broker_id, &event);
    if (node->coord && !node->is_stopping && !event.failed) {
        coord_create(node->coord, SLICE("/log_dir_event_notification/log_dir_event_"), text_slice(&event),
                     COORD_SEQUENTIAL, COORD_ACL_OPEN, failed_dir_told, node);
    }
    text_free(&event);
}

static void on_dir_failed(void *context, const char *dir, enum error err)
{
    struct node *node = context;
    diag_error("log directory \"%s\" is offline until the next start: %s", dir, error_text(err));
    if (log_store_live_dirs(node->store) == 0) {
        fail(node, err, "the last log directory failed");
        return;
    }
    tell_of_failed_dir(node);
}

/* The directories' paths as text, until the store has its own. */
static const char **dir_texts(const struct setting_list *dirs, struct arena *arena)
{
    const char **texts = arena_array(arena, dirs->count + 1, sizeof *texts);
    for (size_t i = 0; texts && i < dirs->count; i++) {
        texts[i] = (const char *)arena_copy(arena, dirs->items[i]).data;
        if (!texts[i]) return NULL;
    }
    return texts;
}

static enum error open_store(struct node *node, struct text *why)
{
    const struct settings *settings = settings_of(node);
    struct log_store_options options;
    log_store_options_default(&options);
    struct arena arena;
    arena_init(&arena, 0);
    struct setting_list dirs = settings_log_dirs(settings);
    options.disk = node->config.disk;
    options.loop = node->control;
    options.dirs = dir_texts(&dirs, &arena);
    options.dir_count = dirs.count;
    options.recovery_threads_per_dir =
        (int)settings_long(settings, SETTING_NUM_RECOVERY_THREADS_PER_DATA_DIR);
    options.recovery_checkpoint_interval_ms =
        settings_long(settings, SETTING_LOG_FLUSH_OFFSET_CHECKPOINT_INTERVAL_MS);
    options.log_start_checkpoint_interval_ms =
        settings_long(settings, SETTING_LOG_FLUSH_START_OFFSET_CHECKPOINT_INTERVAL_MS);
    options.high_watermark_checkpoint_interval_ms =
        settings_long(settings, SETTING_REPLICA_HIGH_WATERMARK_CHECKPOINT_INTERVAL_MS);
    options.retention_check_interval_ms = settings_long(settings, SETTING_LOG_RETENTION_CHECK_INTERVAL_MS);
    options.retention_initial_delay_ms = settings_long(settings, SETTING_LOG_INITIAL_TASK_DELAY_MS);
    options.is_of_cluster = true;
    options.on_dir_failed = on_dir_failed;
    options.context = node;
    enum error err = options.dirs ? log_store_open(&options, &node->store, why) : ERR_NOMEM;
    arena_free(&arena);
    return err;
}

/* --- cluster --- */

static int64_t wall_ms(void *context)
{
    return loop_wall_ms(((struct node *)context)->control);
}

static enum error open_broker(struct node *node, struct text *why)
{
    enum error err = log_store_claim(node->store, node->identity.cluster_id, node->identity.broker_id, why);
    if (err == OK) err = metadata_new(node->control, slice_of(node->identity.cluster_id), &node->metadata);
    if (err != OK) return err;
    struct broker_options options = {.broker_id = node->identity.broker_id,
                                     .loops = node->config.loops,
                                     .loop_count = node->config.loop_count,
                                     .settings = settings_of(node),
                                     .metadata = node->metadata,
                                     .metrics = node->metrics,
                                     .is_spread = node->config.is_spread,
                                     .cold_lane = node->cold_lane};
    err = broker_new(&options, &node->broker);
    if (err == OK) err = broker_bind(node->broker, why);
    if (err == OK)
        err = config_watch_new(node->coord, node->metadata, wall_ms, on_configs, node, &node->configs);
    return err;
}

static void on_joined(void *context, enum error err, const struct cluster_identity *identity,
                      const char *problem)
{
    struct node *node = context;
    if (node->is_stopping) return;
    if (err != OK) {
        fail(node, err, problem);
        return;
    }
    node->identity = *identity;
    node->gauges.broker_id = identity->broker_id;
    struct text why = {0};
    err = open_broker(node, &why);
    node->is_loading = err == OK;
    if (err != OK)
        fail(node, err, why.data);
    else
        log_store_load(node->store, on_loaded, node);
    text_free(&why);
}

static enum error begin_join(struct node *node)
{
    struct log_store_identity known;
    log_store_identity(node->store, &known);
    int32_t configured = settings_broker_id(settings_of(node));
    if (configured < 0 && known.broker_id < 0 &&
        !settings_bool(settings_of(node), SETTING_BROKER_ID_GENERATION_ENABLE)) {
        fail(node, ERR_CONFIG,
             "broker.id is not set, and broker.id.generation.enable=false lets nobody choose one");
        return OK;
    }
    struct cluster_join join = {
        .known_cluster_id = known.cluster_id[0] ? slice_of(known.cluster_id) : SLICE_NULL,
        .broker_id = configured >= 0 ? configured : known.broker_id,
        .reserved_max_id = (int32_t)settings_long(settings_of(node), SETTING_RESERVED_BROKER_MAX_ID),
        .done = on_joined,
        .context = node};
    uint8_t random[16];
    do {
        loop_random(node->control, random, sizeof random);
    } while (!uuid_from_random(random, &join.new_cluster_id));
    return cluster_join(node->coord, &join);
}

/* A fail-over reads the state of every partition: with Kafka's ten at a time it would mostly wait. */
static int32_t max_in_flight(const struct settings *settings)
{
    return settings_is_set(settings, SETTING_ZOOKEEPER_MAX_IN_FLIGHT_REQUESTS)
               ? (int32_t)settings_long(settings, SETTING_ZOOKEEPER_MAX_IN_FLIGHT_REQUESTS)
               : MAX_IN_FLIGHT;
}

/* --- keeper --- */

static void coord_opened(struct node *node, enum error err)
{
    if (err == OK) err = begin_join(node);
    if (err != OK) fail(node, err, "could not open a session with the keeper");
}

static void keeper_ready(void *context, enum error err)
{
    struct node *node = context;
    if (node->is_stopping) return;
    if (err != OK) {
        fail(node, err, "the keeper in this process could not start");
        return;
    }
    const struct settings *settings = settings_of(node);
    int64_t port = settings_long(settings, SETTING_KEEPER_CLIENT_PORT);
    if (port > 0) {
        const char *host = settings_text(settings, SETTING_KEEPER_CLIENT_ADDRESS);
        err = keeper_listen(node->keeper, host, (uint16_t)port);
        if (err != OK && settings_is_set(settings, SETTING_KEEPER_CLIENT_PORT)) {
            char problem[200];
            snprintf(problem, sizeof problem, "the keeper could not listen on %s:%lld", host ? host : "",
                     (long long)port);
            fail(node, err, problem);
            return;
        }
        /* Nobody asked for it: an Apache ZooKeeper, or another node of ours, has the port. */
        if (err != OK) {
            diag_warn(
                "the keeper does not listen on %s:%lld: %s; set keeper.client.port to another port, or to 0",
                host ? host : "", (long long)port, err == ERR_BUSY ? "the port is in use" : error_text(err));
        }
    }
    struct coord_options options = {
        .session_timeout_ms = (int32_t)settings_long(settings, SETTING_ZOOKEEPER_SESSION_TIMEOUT_MS),
        .max_in_flight = max_in_flight(settings)};
    coord_opened(node, coord_open_direct(node->control, node->keeper, &options, &node->coord));
}

static void keeper_failed(void *context, enum error err)
{
    struct node *node = context;
    static const char *const problem = "the keeper in this process cannot write any more";
    diag_error("%s: %s", problem, error_text(err));
    node->has_keeper_failed = true;
    leave_give_up(&node->leave, problem);
    fail(node, err, problem);
}

/* keeper.servers and keeper.id: this keeper and others agree. */
static enum error join_ensemble(const struct settings *settings, struct keeper_servers *servers,
                                struct keeper_config *config, struct text *why)
{
    const char *lines = settings_text(settings, SETTING_KEEPER_SERVERS);
    if (!lines || !lines[0]) return OK;
    enum error err = keeper_servers_parse(servers, slice_of(lines), ",", why);
    int32_t id = settings_is_null(settings, SETTING_KEEPER_ID)
                     ? 0
                     : quorum_member_of_number(settings_long(settings, SETTING_KEEPER_ID));
    if (err == OK && !keeper_servers_find(servers, id)) {
        int number = quorum_member_number(id);
        text_addf(why, id ? "there is no server.%d, and keeper.id=%d" : "keeper.id is not set", number,
                  number);
        err = ERR_CONFIG;
    }
    if (err != OK) return err;
    const char *host = settings_text(settings, SETTING_KEEPER_CLIENT_ADDRESS);
    keeper_servers_add_client_port(servers, id, host ? host : "",
                                   (uint16_t)settings_long(settings, SETTING_KEEPER_CLIENT_PORT));
    config->server_id = id;
    config->servers = servers->items;
    config->server_count = servers->count;
    return OK;
}

static enum error open_keeper(struct node *node)
{
    const struct settings *settings = settings_of(node);
    struct setting_list dirs = settings_log_dirs(settings);
    const char *set = settings_text(settings, SETTING_KEEPER_DATA_DIR);
    char *dir = set ? strdup(set) : slice_dup(dirs.items[0]);
    if (!dir) return ERR_NOMEM;
    struct keeper_config config;
    keeper_config_init(&config);
    config.data_dir = dir;
    static const struct keeper_events events = {.ready = keeper_ready, .failed = keeper_failed};
    struct keeper_servers servers;
    struct text why = {0};
    keeper_servers_init(&servers);
    enum error err = join_ensemble(settings, &servers, &config, &why);
    if (err != OK) diag_error("keeper.servers: %s", why.size > 0 ? why.data : error_text(err));
    if (err == OK) {
        err = keeper_open(&config, node->control, node->config.disk, node->keeper_lane, &events, node,
                          &node->keeper);
    }
    keeper_servers_free(&servers);
    text_free(&why);
    free(dir);
    return err;
}

static enum error open_coordination(struct node *node)
{
    const struct settings *settings = settings_of(node);
    const char *connect = settings_text(settings, SETTING_ZOOKEEPER_CONNECT);
    if (!connect) return open_keeper(node);
    struct coord_options options = {
        .session_timeout_ms = (int32_t)settings_long(settings, SETTING_ZOOKEEPER_SESSION_TIMEOUT_MS),
        .max_in_flight = max_in_flight(settings)};
    if (!settings_is_null(settings, SETTING_ZOOKEEPER_CONNECTION_TIMEOUT_MS)) {
        options.connect_timeout_ms =
            (int32_t)settings_long(settings, SETTING_ZOOKEEPER_CONNECTION_TIMEOUT_MS);
    }
    struct setting_list dirs = settings_log_dirs(settings);
    struct text session = {0}, why = {0};
    enum error err = coord_tls(settings, node->config.disk, &options, &why);
    if (err != OK) diag_error("no TLS towards ZooKeeper: %s", why.size > 0 ? why.data : error_text(err));
    text_addf(&session, "%.*s/odradek-session", SLICE_ARG(dirs.items[0]));
    if (err == OK && session.failed) err = ERR_NOMEM;
    if (err == OK) {
        err =
            coord_open_wire(node->control, node->config.disk, connect, session.data, &options, &node->coord);
    }
    tls_context_release(&options.tls);
    text_free(&session);
    text_free(&why);
    return err == OK ? begin_join(node) : err;
}

/* --- start --- */

static enum error open_http(struct node *node, struct text *why)
{
    const char *listener = settings_text(settings_of(node), SETTING_METRICS_LISTENER);
    if (!listener || !*listener) return OK;
    const char *colon = strrchr(listener, ':');
    char host[64] = "";
    int64_t port = 0;
    bool is_sound = colon && (size_t)(colon - listener) < sizeof host &&
                    slice_to_int64(slice_of(colon + 1), 0, 65535, &port);
    if (is_sound) memcpy(host, listener, (size_t)(colon - listener));
    struct http_options options = {.host = host[0] ? host : NULL,
                                   .port = (uint16_t)port,
                                   .metrics = node->metrics,
                                   .is_ready = http_is_ready,
                                   .context = node};
    enum error err = is_sound ? http_open(node->control, &options, &node->http) : ERR_CONFIG;
    if (err == OK) return OK;
    if (err == ERR_BUSY) { /* a broker without its figures is better than none */
        diag_warn("no metrics on %s: the port is in use; set metrics.listener to another one", listener);
        return OK;
    }
    text_addf(why, "metrics.listener=%s: %s", listener,
              is_sound ? error_text(err) : "host:port is what it takes");
    return err;
}

void node_free(struct node *node)
{
    loop_timer_stop(node->control, &node->ready_timer);
    if (node->cold_lane) lane_free(node->cold_lane);
    if (node->keeper_lane) lane_free(node->keeper_lane);
    metrics_free(node->metrics);
    free(node);
}

enum error node_start(const struct node_config *config, struct node **node)
{
    struct node *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    made->config = *config;
    made->control = config->loops[0];
    made->ready_timer.run = check_ready;
    made->metrics = metrics_new();
    enum error err = made->metrics ? lane_new(made->control, "cold", 2, &made->cold_lane) : ERR_NOMEM;
    if (err == OK) err = lane_new(made->control, "keeper", 1, &made->keeper_lane);
    if (err != OK) {
        if (made->cold_lane) lane_free(made->cold_lane);
        if (made->metrics) metrics_free(made->metrics);
        free(made);
        return err;
    }
    made->gauges = (struct gauges){.control = made->control,
                                   .metadata = &made->metadata,
                                   .replicas = &made->replicas,
                                   .broker = &made->broker,
                                   .controller = &made->controller,
                                   .keeper = &made->keeper};
    gauges_register(&made->gauges, made->metrics);
    *node = made;
    struct text why = {0};
    err = open_store(made, &why);
    if (err == OK) err = open_http(made, &why);
    if (err == OK) err = open_coordination(made);
    if (err != OK) fail(made, err, why.data);
    text_free(&why);
    return OK;
}

uint16_t node_port(const struct node *node)
{
    return node->broker ? broker_port(node->broker, 0) : 0;
}
