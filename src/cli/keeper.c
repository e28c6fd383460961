/* keeper.c: odradek keeper [zoo.cfg]: a keeper alone, until SIGTERM or SIGINT. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/diag.h"
#include "cli/apache.h"
#include "cli/cli.h"
#include "keeper/keeper.h"
#include "keeper/keeper_tls.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/tls.h"
#include "settings/settings.h"

struct running {
    struct descriptors *descriptors;
    struct disk *disk;
    struct loop *loop;
    struct keeper *keeper;
    struct tls_context *tls; /* of clients; NULL: none */
    const struct zoo_config *config;
    struct keeper_config keeper_config;
    int64_t began_ms;
    int status;
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
    keeper_close(&running->keeper, on_closed, running);
}

static void on_signal(void *context, int number)
{
    (void)number;
    stop(context, EXIT_OK);
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

static void on_ready(void *context, enum error err)
{
    struct running *running = context;
    const struct zoo_config *config = running->config;
    if (err != OK) {
        diag_error("could not recover the keeper in \"%s\": %s", config->data_dir, error_text(err));
        stop(running, EXIT_ITEM_FAILED);
        return;
    }
    bool is_unified = zoo_bool(config, ZOO_CLIENT_PORT_UNIFICATION);
    const char *secure_host = zoo_text(config, ZOO_SECURE_CLIENT_PORT_ADDRESS);
    if (!listen_on(running, config->client_host, config->client_port, is_unified ? running->tls : NULL,
                   is_unified))
        return;
    if (!listen_on(running, secure_host ? secure_host : "",
                   (uint16_t)zoo_number(config, ZOO_SECURE_CLIENT_PORT), running->tls, false))
        return;
    fprintf(stderr, "ready: keeper on %s:%u, data in %s, in %lld ms\n",
            config->client_host[0] ? config->client_host : "*", keeper_port(running->keeper),
            config->data_dir, (long long)(now_ms() - running->began_ms));
}

static void on_failed(void *context, enum error err)
{
    diag_error("the keeper's log failed: %s; a restart recovers what was synced", error_text(err));
    stop(context, EXIT_ITEM_FAILED);
}

static void configure(const struct zoo_config *config, struct keeper_config *keeper)
{
    keeper_config_init(keeper);
    keeper->data_dir = config->data_dir;
    keeper->tick_time_ms = (int32_t)config->tick_ms;
    keeper->min_session_timeout_ms = (int32_t)config->min_session_timeout_ms;
    keeper->max_session_timeout_ms = (int32_t)config->max_session_timeout_ms;
    keeper->max_client_cnxns = (int32_t)zoo_number(config, ZOO_MAX_CLIENT_CNXNS);
    keeper->max_cnxns = (int32_t)zoo_number(config, ZOO_MAX_CNXNS);
    keeper->listen_backlog = (int32_t)zoo_number(config, ZOO_CLIENT_PORT_LISTEN_BACKLOG);
    keeper->jute_max_buffer = (int32_t)zoo_number(config, ZOO_JUTE_MAXBUFFER);
    keeper->global_outstanding_limit = (int32_t)zoo_number(config, ZOO_GLOBAL_OUTSTANDING_LIMIT);
    keeper->snap_count = zoo_number(config, ZOO_SNAP_COUNT);
    keeper->force_sync = strcmp(zoo_text(config, ZOO_FORCE_SYNC), "yes") == 0;
    keeper->extended_types = zoo_bool(config, ZOO_EXTENDED_TYPES_ENABLED);
    keeper->skip_acl = strcmp(zoo_text(config, ZOO_SKIP_ACL), "yes") == 0;
    keeper->enforce_quota = zoo_bool(config, ZOO_ENFORCE_QUOTA);
    keeper->super_digest = zoo_text(config, ZOO_DIGEST_AUTHENTICATION_PROVIDER_SUPER_DIGEST);
    keeper->x509_super_user = zoo_text(config, ZOO_X509_AUTHENTICATION_PROVIDER_SUPER_USER);
    keeper->four_letter_words = zoo_text(config, ZOO_FOUR_LETTER_WORDS);
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
    static const struct keeper_events events = {.ready = on_ready, .failed = on_failed};
    configure(running->config, &running->keeper_config);
    if (err == OK) err = secure(running);
    if (err == OK) {
        err = keeper_open(&running->keeper_config, running->loop, running->disk, lane, &events, running,
                          &running->keeper);
    }
    if (err == OK) {
        loop_run(running->loop);
    } else {
        diag_error("could not start the keeper in \"%s\": %s", running->config->data_dir, error_text(err));
        running->status = EXIT_ITEM_FAILED;
    }
    if (lane) lane_free(lane);
    if (running->loop) loop_free(running->loop);
    tls_context_release(&running->tls);
    return running->status;
}

int cli_keeper(struct cli *cli)
{
    const char *path = cli->argc ? cli->argv[0] : NULL;
    struct running running = {.began_ms = now_ms(), .descriptors = descriptors_new(0)};
    if (running.descriptors) running.disk = disk_new(running.descriptors);
    struct bytes *file = NULL;
    enum error err = running.disk ? OK : ERR_NOMEM;
    if (err == OK && path) err = disk_read_file(running.disk, path, 1 << 20, &file);
    int status = EXIT_USAGE;
    if (err != OK) {
        cli_complain("%s: %s", path ? path : "keeper", error_text(err));
    } else {
        static const char without_file[] =
            "dataDir=odradek-keeper\nclientPort=2181\nclientPortAddress=127.0.0.1\n";
        struct slice text = file ? bytes_slice(file) : SLICE(without_file);
        struct zoo_config config;
        err = zoo_config_load(text, path ? path : "default", &config);
        struct text report = {0};
        for (size_t i = 0; i < config.problems.count; i++) {
            text_reset(&report);
            problem_print(&config.problems.items[i], &report);
            fprintf(stderr, "%s\n", report.data);
        }
        text_free(&report);
        running.config = &config;
        if (err == OK) {
            bool is_alone = config.server_count <= 1;
            status = apache_take_over(running.disk, config.data_dir, config.data_log_dir, is_alone) == OK
                         ? run(&running)
                         : EXIT_ITEM_FAILED;
        }
        zoo_config_free(&config);
    }
    bytes_release(&file);
    if (running.disk) disk_free(running.disk);
    if (running.descriptors) descriptors_free(running.descriptors);
    return status;
}
