/* keeper.c: odradek keeper [zoo.cfg]: a keeper alone, until SIGTERM or SIGINT. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/diag.h"
#include "cli/apache.h"
#include "cli/keeper.h"
#include "cli/keeper_ensemble.h"
#include "cli/keeper_surface.h"
#include "keeper/keeper.h"
#include "keeper/keeper_sasl.h"
#include "keeper/keeper_tls.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/tls.h"
#include "settings/settings.h"

enum { READY_SAID = -2 };

struct running {
    struct descriptors *descriptors;
    struct disk *disk;
    struct loop *loop;
    struct keeper *keeper;
    struct keeper_surface *surface;
    struct tls_context *tls; /* of clients; NULL: none */
    struct tls_peers members_tls;
    struct zoo_config *config;
    struct keeper_servers servers;
    struct keeper_config keeper_config;
    struct sasl_users sasl_users;
    int64_t began_ms;
    int status, ready_fd;
    bool is_heard_early; /* a member says that it is ready as soon as it listens */
    bool is_stopping;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void on_closed(void *context)
{
    struct running *running = context;
    loop_stop(running->loop);
}

static void stop(struct running *running, int status)
{
    if (running->is_stopping) {
        loop_stop(running->loop); /* asked twice: at once */
        return;
    }
    running->is_stopping = true;
    running->status = status;
    bool is_start = status != EXIT_OK && running->ready_fd != READY_SAID;
    keeper_surface_audit_server(running->surface, is_start ? "serverStart" : "serverStop",
                                is_start ? "failure" : "invoked");
    keeper_surface_close(running->surface);
    keeper_close(&running->keeper, on_closed, running);
}

static void on_signal(void *context, int number)
{
    struct running *running = context;
    if (number == SIGHUP && keeper_surface_reopen(running->surface)) return;
    stop(running, EXIT_OK);
}

/* False: it could not, and we stop. Port 0: none. */
static bool listen_on(struct running *running, const char *host, uint16_t port, struct tls_context *tls,
                      bool admits_plain)
{
    if (port == 0) return true;
    enum error err = keeper_listen_tls(running->keeper, host, port, tls, admits_plain);
    if (err == OK) return true;
    diag_error("could not listen on %s:%u: %s", host[0] ? host : "*", port, error_text(err));
    stop(running, EXIT_ITEM_FAILED);
    return false;
}

static bool open_doors(struct running *running)
{
    const struct zoo_config *config = running->config;
    bool is_unified = zoo_bool(config, ZOO_CLIENT_PORT_UNIFICATION);
    const char *secure_host = zoo_text(config, ZOO_SECURE_CLIENT_PORT_ADDRESS);
    if (!listen_on(running, config->client_host, config->client_port, is_unified ? running->tls : NULL,
                   is_unified))
        return false;
    return listen_on(running, secure_host ? secure_host : "",
                     (uint16_t)zoo_number(config, ZOO_SECURE_CLIENT_PORT), running->tls, false);
}

static void tell_ready(struct running *running)
{
    if (running->ready_fd >= 0 && write(running->ready_fd, "\n", 1) != 1)
        diag_warn("nobody heard that we are ready");
    running->ready_fd = -1;
}

static void on_ready(void *context, enum error err)
{
    struct running *running = context;
    const struct zoo_config *config = running->config;
    if (err != OK) {
        diag_error("could not recover the keeper in \"%s\": %s", config->data_dir, error_text(err));
        stop(running, EXIT_ITEM_FAILED);
        return;
    }
    if (!config->is_ensemble && !open_doors(running)) return;
    fprintf(stderr, "ready: keeper on %s:%u, data in %s, in %lld ms\n",
            config->client_host[0] ? config->client_host : "*", keeper_port(running->keeper),
            config->data_dir, (long long)(now_ms() - running->began_ms));
    tell_ready(running);
    running->ready_fd = READY_SAID;
    keeper_surface_audit_server(running->surface, "serverStart", "success");
}

static void on_failed(void *context, enum error err)
{
    diag_error("the keeper's log failed: %s; a restart recovers what was synced", error_text(err));
    stop(context, EXIT_ITEM_FAILED);
}

static void on_audit(void *context, struct slice lines)
{
    struct running *running = context;
    keeper_surface_audit(running->surface, lines);
}

static void configure_throttle(const struct zoo_config *config, struct throttle_config *throttle)
{
    *throttle = (struct throttle_config){
        .tokens = (int32_t)zoo_number(config, ZOO_CONNECTION_THROTTLE_TOKENS),
        .fill_ms = (int32_t)zoo_number(config, ZOO_CONNECTION_THROTTLE_FILL_TIME),
        .fill_count = (int32_t)zoo_number(config, ZOO_CONNECTION_THROTTLE_FILL_COUNT),
        .freeze_ms = (int32_t)zoo_number(config, ZOO_CONNECTION_THROTTLE_FREEZE_TIME),
        .drop_increase = zoo_real(config, ZOO_CONNECTION_THROTTLE_DROP_INCREASE),
        .drop_decrease = zoo_real(config, ZOO_CONNECTION_THROTTLE_DROP_DECREASE),
        .decrease_ratio = zoo_real(config, ZOO_CONNECTION_THROTTLE_DECREASE_RATIO),
        .has_weights = zoo_bool(config, ZOO_CONNECTION_THROTTLE_WEIGHT_ENABLED),
        .new_weight = (int32_t)zoo_number(config, ZOO_CONNECTION_THROTTLE_GLOBAL_SESSION_WEIGHT),
        .renewed_weight = (int32_t)zoo_number(config, ZOO_CONNECTION_THROTTLE_RENEW_SESSION_WEIGHT),
    };
}

static void configure(const struct zoo_config *config, struct keeper_config *keeper)
{
    const char *initial = keeper->initial_config;
    keeper_config_init(keeper);
    keeper->initial_config = initial;
    keeper->leaves_silent = true;
    keeper->data_dir = config->data_dir;
    if (strcmp(config->data_log_dir, config->data_dir) != 0) keeper->data_log_dir = config->data_log_dir;
    int64_t log_kib = zoo_number(config, ZOO_SNAP_SIZE_LIMIT_IN_KB);
    keeper->snap_size_bytes = log_kib > 0 ? log_kib << 10 : INT64_MAX;
    keeper->snap_retain_count = (int32_t)zoo_number(config, ZOO_AUTOPURGE_SNAP_RETAIN_COUNT);
    keeper->purge_interval_ms = zoo_number(config, ZOO_AUTOPURGE_PURGE_INTERVAL) * 3600 * 1000;
    keeper->pre_alloc_bytes = zoo_number(config, ZOO_PRE_ALLOC_SIZE) << 10;
    keeper->fsync_warning_ms = zoo_number(config, ZOO_FSYNC_WARNINGTHRESHOLDMS);
    keeper->admits_read_only = zoo_bool(config, ZOO_READONLYMODE_ENABLED);
    keeper->init_limit = (int32_t)zoo_number(config, ZOO_INIT_LIMIT);
    keeper->sync_limit = (int32_t)zoo_number(config, ZOO_SYNC_LIMIT);
    keeper->shows_digests = zoo_bool(config, ZOO_DIGEST_ENABLED);
    keeper->tick_time_ms = (int32_t)config->tick_ms;
    keeper->min_session_timeout_ms = (int32_t)config->min_session_timeout_ms;
    keeper->max_session_timeout_ms = (int32_t)config->max_session_timeout_ms;
    keeper->max_client_cnxns = (int32_t)zoo_number(config, ZOO_MAX_CLIENT_CNXNS);
    keeper->max_cnxns = (int32_t)zoo_number(config, ZOO_MAX_CNXNS);
    keeper->listen_backlog = (int32_t)zoo_number(config, ZOO_CLIENT_PORT_LISTEN_BACKLOG);
    keeper->jute_max_buffer = (int32_t)zoo_number(config, ZOO_JUTE_MAXBUFFER);
    keeper->global_outstanding_limit = (int32_t)zoo_number(config, ZOO_GLOBAL_OUTSTANDING_LIMIT);
    keeper->request_throttle_max = (int32_t)zoo_number(config, ZOO_REQUEST_THROTTLE_MAX_REQUESTS);
    keeper->throttled_wait_ms = (int32_t)zoo_number(config, ZOO_THROTTLED_OP_WAIT_TIME);
    keeper->sessionless_ms = (int32_t)zoo_number(config, ZOO_NIO_SESSIONLESS_CNXN_TIMEOUT);
    configure_throttle(config, &keeper->throttle);
    keeper->snap_count = zoo_number(config, ZOO_SNAP_COUNT);
    keeper->container_check_ms = (int32_t)zoo_number(config, ZOO_ZNODE_CONTAINER_CHECK_INTERVAL_MS);
    keeper->container_per_minute = (int32_t)zoo_number(config, ZOO_ZNODE_CONTAINER_MAX_PER_MINUTE);
    keeper->container_never_used_ms = zoo_number(config, ZOO_ZNODE_CONTAINER_MAX_NEVER_USED_INTERVAL_MS);
    keeper->force_sync = strcmp(zoo_text(config, ZOO_FORCE_SYNC), "yes") == 0;
    keeper->extended_types = zoo_bool(config, ZOO_EXTENDED_TYPES_ENABLED);
    keeper->skip_acl = strcmp(zoo_text(config, ZOO_SKIP_ACL), "yes") == 0;
    keeper->enforce_quota = zoo_bool(config, ZOO_ENFORCE_QUOTA);
    keeper->reconfig_enabled = zoo_bool(config, ZOO_RECONFIG_ENABLED);
    keeper->super_digest = zoo_text(config, ZOO_DIGEST_AUTHENTICATION_PROVIDER_SUPER_DIGEST);
    keeper->super_users = config->super_users;
    keeper->has_admin_snapshot = zoo_bool(config, ZOO_ADMIN_SNAPSHOT_ENABLED);
    keeper->has_admin_restore = zoo_bool(config, ZOO_ADMIN_RESTORE_ENABLED);
    keeper->admin_interval_ms = (int32_t)zoo_number(config, ZOO_ADMIN_RATE_LIMITER_INTERVAL_IN_MS);
    keeper->admits_sasl_failures = zoo_bool(config, ZOO_ALLOW_SASL_FAILED_CLIENTS);
    keeper->enforced_schemes = config->enforced_schemes;
    keeper->has_x509_acls = config->has_x509_provider;
    keeper->has_sasl_acls = config->has_sasl_provider;
    keeper->knows_ensembles = config->has_ensemble_provider;
    keeper->ensemble_names = zoo_text(config, ZOO_ENSEMBLE_AUTH_NAME);
    keeper->x509_super_user = zoo_text(config, ZOO_X509_AUTHENTICATION_PROVIDER_SUPER_USER);
    keeper->four_letter_words = zoo_text(config, ZOO_FOUR_LETTER_WORDS);
    keeper->admits_read_only = zoo_bool(config, ZOO_READONLYMODE_ENABLED);
}

static enum error know_users(struct running *running)
{
    struct text why = {0};
    bool is_on = false;
    enum error err = keeper_sasl_users(running->config, running->disk, &running->sasl_users, &is_on, &why);
    if (err != OK) diag_error("no SASL for clients: %s", why.size > 0 ? why.data : error_text(err));
    text_free(&why);
    if (is_on) running->keeper_config.sasl_users = &running->sasl_users;
    return err;
}

static enum error secure_members(struct running *running)
{
    const struct zoo_config *config = running->config;
    struct tls_peers *tls = &running->members_tls;
    bool is_on = zoo_bool(config, ZOO_SSL_QUORUM);
    tls->admits_plain = zoo_bool(config, ZOO_PORT_UNIFICATION);
    tls->checks_host = zoo_bool(config, ZOO_SSL_MEMBERS_HOSTNAME_VERIFICATION);
    if (!config->is_ensemble || (!is_on && !tls->admits_plain)) return OK;
    struct text why = {0};
    enum error err = keeper_tls_context(config, running->disk, KEEPER_TLS_ACCEPTING, &tls->accepting, &why);
    if (err == OK && is_on)
        err = keeper_tls_context(config, running->disk, KEEPER_TLS_DIALING, &tls->dialing, &why);
    if (err != OK) diag_error("no TLS among members: %s", why.size > 0 ? why.data : error_text(err));
    text_free(&why);
    running->keeper_config.tls = *tls;
    return err;
}

static enum error secure(struct running *running)
{
    const struct zoo_config *config = running->config;
    bool has_tls =
        zoo_number(config, ZOO_SECURE_CLIENT_PORT) != 0 || zoo_bool(config, ZOO_CLIENT_PORT_UNIFICATION);
    if (!has_tls) return OK;
    struct text why = {0};
    enum error err = keeper_tls_context(config, running->disk, KEEPER_TLS_CLIENTS, &running->tls, &why);
    if (err != OK) diag_error("no TLS for clients: %s", why.size > 0 ? why.data : error_text(err));
    text_free(&why);
    return err;
}

static int run(struct running *running)
{
    struct lane *lane = NULL;
    enum error err = loop_new(running->descriptors, &running->loop);
    if (err == OK) err = lane_new(running->loop, "keeper-sync", 1, &lane);
    if (err == OK) err = loop_on_signals(running->loop, on_signal, running);
    struct keeper_events events = {.ready = on_ready, .failed = on_failed};
    configure(running->config, &running->keeper_config);
    if (err == OK) err = know_users(running);
    if (err == OK) err = secure(running);
    if (err == OK) err = secure_members(running);
    if (err == OK && running->config->is_ensemble) {
        err = ensemble_configure(running->disk, running->config, &running->servers, &running->keeper_config);
    }
    if (err == OK) err = keeper_surface_new(running->config, running->loop, &running->surface);
    if (err == OK && keeper_surface_audits(running->surface)) events.audit = on_audit;
    if (err == OK) {
        err = keeper_open(&running->keeper_config, running->loop, running->disk, lane, &events, running,
                          &running->keeper);
    }
    if (err == OK && keeper_surface_open(running->surface, running->keeper) != OK)
        stop(running, EXIT_ITEM_FAILED);
    if (err == OK) {
        /* Words are answered before there is a leader. */
        if (running->config->is_ensemble && open_doors(running) && running->is_heard_early)
            tell_ready(running);
        loop_run(running->loop);
    } else {
        diag_error("could not start the keeper in \"%s\": %s", running->config->data_dir, error_text(err));
        running->status = EXIT_ITEM_FAILED;
    }
    keeper_surface_free(&running->surface);
    if (lane) lane_free(lane);
    if (running->loop) loop_free(running->loop);
    tls_context_release(&running->tls);
    tls_peers_release(&running->members_tls);
    return running->status;
}

int keeper_main(const char *path, const struct zoo_beside *beside, int ready_fd, bool is_heard_early)
{
    struct running running = {.began_ms = now_ms(),
                              .descriptors = descriptors_new(0),
                              .ready_fd = ready_fd,
                              .is_heard_early = is_heard_early};
    keeper_servers_init(&running.servers);
    if (running.descriptors) running.disk = disk_new(running.descriptors);
    struct bytes *file = NULL;
    enum error err = running.disk ? OK : ERR_NOMEM;
    if (err == OK && path) err = disk_read_file(running.disk, path, 1 << 20, &file);
    int status = EXIT_USAGE;
    if (err != OK) {
        cli_complain("%s: %s", path ? path : "keeper", error_text(err));
    } else {
        static const char without_file[] = "dataDir=odradek-keeper\nclientPort=2181\nclientPortAddress=127.0."
                                           "0.1\nadmin.serverAddress=127.0.0.1\n";
        struct slice text = file ? bytes_slice(file) : SLICE(without_file);
        struct zoo_config config;
        err = ensemble_load(running.disk, text, path ? path : "default", beside, &config);
        struct text report = {0};
        for (size_t i = 0; i < config.problems.count; i++) {
            text_reset(&report);
            problem_print(&config.problems.items[i], &report);
            fprintf(stderr, "%s\n", report.data);
        }
        text_free(&report);
        running.config = &config;
        char *shown = slice_dup(text); /* what the admin server shows as the initial configuration */
        running.keeper_config.initial_config = shown;
        if (err == OK) {
            bool is_alone = !config.is_ensemble;
            status = apache_take_over(running.disk, config.data_dir, config.data_log_dir, is_alone) == OK
                         ? run(&running)
                         : EXIT_ITEM_FAILED;
        }
        free(shown);
        zoo_config_free(&config);
        keeper_servers_free(&running.servers);
    }
    bytes_release(&file);
    sasl_users_free(&running.sasl_users);
    if (running.disk) disk_free(running.disk);
    if (running.descriptors) descriptors_free(running.descriptors);
    return status;
}

const char **keeper_overrides(const struct cli *cli, size_t *count)
{
    const char **overrides = calloc(cli->value_count + 1, sizeof *overrides), *override;
    *count = 0;
    while (overrides && (override = cli_text_at(cli, "override", *count))) overrides[(*count)++] = override;
    return overrides;
}

int cli_keeper(struct cli *cli)
{
    struct zoo_beside beside = {0};
    const char **overrides = keeper_overrides(cli, &beside.override_count);
    int64_t ready_fd = -1;
    if (!overrides || !cli_number(cli, "ready-fd", 0, 1 << 20, &ready_fd)) {
        free(overrides);
        return EXIT_USAGE;
    }
    beside.overrides = overrides;
    int status = keeper_main(cli->argc ? cli->argv[0] : NULL, &beside, (int)ready_fd, false);
    free(overrides);
    return status;
}
