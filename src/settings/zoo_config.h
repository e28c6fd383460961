/* zoo_config.h: zoo.cfg, the keeper's own file (QuorumPeerConfig's names and defaults; facts/keeper.md 3.1).
 *
 * A property file like server.properties; unlike ZooKeeper, which makes a system property of every key it does not
 * know, ours names it in a warning. Problems are those of settings.h. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "settings/problems.h"
#include "settings/spec.h"

enum zoo_setting {
#define SETTING(id, name, type, default_text, min, max, choices, effect, doc) ZOO_##id,
#include "settings/zoo.def"
#undef SETTING
    ZOO_SETTING_COUNT
};

/* One server.N line. */
struct zoo_server {
    int32_t id;
    struct slice host;
    uint16_t quorum_port, election_port;
    bool is_observer;
    struct slice client_host; /* null when the line names none */
    uint16_t client_port;     /* 0 when the line names none */
};

struct zoo_config {
    struct arena arena;
    struct problems problems;
    struct setting_value values[ZOO_SETTING_COUNT];
    int line[ZOO_SETTING_COUNT];                                      /* where it was set; 0 = default */
    bool has_x509_provider, has_sasl_provider, has_ensemble_provider; /* authProvider.N */
    const char *super_users;      /* superUser, superUser.N: one a line; NULL: none */
    const char *enforced_schemes; /* of which clients must authenticate; NULL: of none */
    const struct zoo_server *servers;
    size_t server_count;
    bool is_ensemble; /* and they are members of one: several, or one that may not stand alone */
    /* Derived: */
    const char *data_dir, *data_log_dir; /* data_log_dir falls back to data_dir */
    const char *client_host;             /* "" = all addresses */
    uint16_t client_port;                /* 0 = none */
    int64_t tick_ms, min_session_timeout_ms, max_session_timeout_ms;
    bool serves_metrics; /* metricsProvider.className asks for Prometheus */
};

/* What stands behind "server.N=", its strings being loans; the id is left alone. */
bool zoo_server_parse(struct slice text, struct zoo_server *server);

/* Reads the text of a file; `name` is how problems call it. Answers ERR_CONFIG when any problem is an error: all of
 * them are in config->problems, which the caller frees with the rest by zoo_config_free() whatever the answer. */
MUST_USE enum error zoo_config_load(struct slice text, const char *name, struct zoo_config *config);
void zoo_config_free(struct zoo_config *config);

/* KEY=VALUE each, beside the file. */
struct zoo_beside {
    const char *const
        *properties; /* Java's -Dzookeeper.KEY=VALUE: where the file has the key too, the file's counts */
    size_t property_count;
    const char *const *overrides; /* over the file */
    size_t override_count;
};
/* The same with more beside the file. */
MUST_USE enum error zoo_config_load_beside(struct slice text, const char *name,
                                           const struct zoo_beside *beside, struct zoo_config *config);

int64_t zoo_number(const struct zoo_config *config, enum zoo_setting key);
double zoo_real(const struct zoo_config *config, enum zoo_setting key);
bool zoo_bool(const struct zoo_config *config, enum zoo_setting key);
const char *zoo_text(const struct zoo_config *config, enum zoo_setting key);
const struct setting_table *zoo_setting_table(void);
