#include "settings/zoo_config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "settings/inside.h"
#include "settings/properties.h"

static const struct setting_spec SPECS[ZOO_SETTING_COUNT] = {
#define SETTING(id, key, value_type, default_value, low, high, values, what, sentence)                       \
    {.name = key,                                                                                            \
     .type = SETTING_##value_type,                                                                           \
     .default_text = default_value,                                                                          \
     .min = low,                                                                                             \
     .max = high,                                                                                            \
     .choices = values,                                                                                      \
     .mode = SETTING_STATIC,                                                                                 \
     .effect = SETTING_##what,                                                                               \
     .doc = sentence},
#include "settings/zoo.def"
#undef SETTING
};

static const struct setting_table TABLE = {SPECS, ZOO_SETTING_COUNT};

const struct setting_table *zoo_setting_table(void)
{
    return &TABLE;
}

enum { PROBLEMS_MAX = 1000 };

static bool begins(struct slice s, const char *prefix)
{
    return s.size > strlen(prefix) && memcmp(s.data, prefix, strlen(prefix)) == 0;
}

/* Families of keys; all of them ask for what is not there. */
static const struct {
    const char *prefix, *what;
    bool is_error;
} FAMILIES[] = {
    {"authProvider.", "refused, for it would be ignored: another authentication scheme", true},
    {"ssl.", "has no effect here: a parameter of Java's TLS", false},
    {"quorum.auth.", "has no effect here: SASL among servers", false},
    {"group.", "has no effect here: hierarchical quorums", false},
    {"weight.", "has no effect here: weights in quorums", false},
    {"admin.", "has no effect here: a parameter of ZooKeeper's admin server", false},
    {"metricsProvider.", "has no effect here: a parameter of a metrics provider", false},
    {"nio.", "has no effect here: ZooKeeper's threads", false},
    {"netty.", "has no effect here: a parameter of Netty", false},
    {"commitProcessor.", "has no effect here: ZooKeeper's threads", false},
    {"watchManager", "has no effect here: there is one way to keep watches", false},
    {"multiAddress.", "has no effect here: several addresses for each server", false},
    {"jvm.pause.", "has no effect here: there is no JVM", false},
    {"jmx.", "has no effect here: there is no JVM", false},
    {"leader.", "has no effect here: how ZooKeeper's leader sends", false},
    {"learner.", "has no effect here: how ZooKeeper's learners send", false},
    {"follower.", "has no effect here: ZooKeeper's threads", false},
    {"fastleader.", "has no effect here: ZooKeeper's elections", false},
    {"observer.", "has no effect here: ZooKeeper's observers", false},
    {"messageTracker.", "has no effect here: ZooKeeper's notes of what servers sent", false},
    {"pathStats.", "has no effect here: counters by path", false},
    {"kerberos.", "has no effect here: there is no Kerberos", false},
    {"security.", "has no effect here: there is no Kerberos", false},
};

struct loading {
    struct zoo_config *config;
    const char *file;
    struct zoo_server *servers;
    size_t count, capacity;
    const char *files[ZOO_SETTING_COUNT]; /* where a key was set last; NULL: nowhere */
};

static void complain(struct loading *loading, enum problem_kind kind, int line, struct slice key,
                     const char *what)
{
    problems_add(&loading->config->problems, &loading->config->arena, kind, loading->file, line, key, "%s",
                 what);
}

static struct slice until(struct slice *rest, uint8_t mark)
{
    const uint8_t *at = rest->size ? memchr(rest->data, mark, rest->size) : NULL;
    struct slice taken = {rest->data, at ? (size_t)(at - rest->data) : rest->size};
    rest->data += taken.size + (at != NULL);
    rest->size -= taken.size + (at != NULL);
    return taken;
}

/* HOST:PORT:PORT[:participant|observer][;[HOST:]PORT], of which alternatives behind | are left out. */
bool zoo_server_parse(struct slice text, struct zoo_server *server)
{
    struct slice client = text;
    struct slice front = until(&client, ';');
    front = until(&front, '|');
    struct slice host;
    if (front.size > 0 && front.data[0] == '[') {
        front = (struct slice){front.data + 1, front.size - 1};
        host = until(&front, ']');
        if (front.size == 0 || until(&front, ':').size != 0) return false;
    } else {
        host = until(&front, ':');
    }
    struct slice quorum = until(&front, ':'), election = until(&front, ':'), role = front;
    int64_t quorum_port, election_port, client_port = 0;
    if (host.size == 0 || !slice_to_int64(quorum, 1, 65535, &quorum_port)) return false;
    if (!slice_to_int64(election, 1, 65535, &election_port)) return false;
    if (role.size > 0 && !slice_is(role, "participant") && !slice_is(role, "observer")) return false;
    struct slice client_host = SLICE_NULL;
    if (client.size > 0 && !slice_to_int64(client, 1, 65535, &client_port)) {
        uint16_t port;
        if (!host_port_parse(client, &client_host, &port) || port == 0) return false;
        client_port = port;
    }
    *server = (struct zoo_server){.id = server->id,
                                  .host = host,
                                  .quorum_port = (uint16_t)quorum_port,
                                  .election_port = (uint16_t)election_port,
                                  .is_observer = slice_is(role, "observer"),
                                  .client_host = client_host,
                                  .client_port = (uint16_t)client_port};
    return true;
}

static enum error server_add(struct loading *loading, struct slice key, struct slice value, int line)
{
    int64_t id;
    struct slice digits = {key.data + 7, key.size - 7};
    struct zoo_server server = {0};
    if (!slice_to_int64(digits, 0, 255, &id) || !zoo_server_parse(value, &server)) {
        complain(loading, PROBLEM_ERROR, line, key,
                 "is not a server; server.1=HOST:2888:3888 would be right");
        return OK;
    }
    server.id = (int32_t)id;
    if (memchr(value.data, '|', value.size))
        complain(loading, PROBLEM_WARNING, line, key, "only the first of its addresses is used");
    for (size_t i = 0; i < loading->count; i++) {
        if (loading->servers[i].id == server.id)
            complain(loading, PROBLEM_ERROR, line, key, "stands here twice");
    }
    if (loading->count == PROBLEMS_MAX) return OK;
    if (!VEC_RESERVE(loading->servers, loading->count, loading->capacity)) return ERR_NOMEM;
    loading->servers[loading->count++] = server;
    return OK;
}

static enum error key_set(struct loading *loading, ptrdiff_t index, struct slice text, int line)
{
    struct zoo_config *config = loading->config;
    const struct setting_spec *spec = &SPECS[index];
    struct slice key = slice_of(spec->name);
    struct text why = {0};
    struct setting_value value;
    enum error err = setting_parse(spec, text, &config->arena, &value, &why);
    if (err == OK) {
        if (loading->files[index] == loading->file)
            complain(loading, PROBLEM_WARNING, line, key, "set before; this one counts");
        config->values[index] = value;
        config->line[index] = line;
        loading->files[index] = loading->file;
    }
    if (err == ERR_CONFIG || (err == OK && setting_is_refused(spec, &value, &why))) {
        complain(loading, PROBLEM_ERROR, line, key, why.failed ? "out of memory" : why.data);
        err = OK;
    } else if (err == OK && spec->effect == SETTING_NO_EFFECT) {
        problems_add(&config->problems, &config->arena, PROBLEM_NO_EFFECT, loading->file, line, key,
                     "has no effect here: %s", spec->doc);
    }
    text_free(&why);
    return err;
}

/* Digest and ip are there in any case. */
static bool provider_add(struct zoo_config *config, struct slice class_name)
{
    bool unused;
    const struct {
        const char *name;
        bool *is_there;
    } known[] = {{"X509AuthenticationProvider", &config->has_x509_provider},
                 {"SASLAuthenticationProvider", &config->has_sasl_provider},
                 {"EnsembleAuthenticationProvider", &config->has_ensemble_provider},
                 {"DigestAuthenticationProvider", &unused},
                 {"IPAuthenticationProvider", &unused}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char whole[96];
        snprintf(whole, sizeof whole, "org.apache.zookeeper.server.auth.%s", known[i].name);
        if (!slice_is(class_name, whole)) continue;
        *known[i].is_there = true;
        return true;
    }
    return false;
}

static enum error super_user_add(struct zoo_config *config, struct slice name)
{
    struct text list = {0};
    if (config->super_users) text_addf(&list, "%s\n", config->super_users);
    text_add(&list, name);
    struct slice copy = list.failed ? SLICE_NULL : arena_copy(&config->arena, text_slice(&list));
    text_free(&list);
    config->super_users = (const char *)copy.data;
    return copy.data ? OK : ERR_NOMEM;
}

static enum error pair_set(struct loading *loading, struct slice key, struct slice value, int line)
{
    if (begins(key, "zookeeper."))
        key = (struct slice){key.data + 10, key.size - 10}; /* its system properties */
    ptrdiff_t index = setting_find(&TABLE, key);
    if (index >= 0) return key_set(loading, index, value, line);
    if (begins(key, "server.")) return server_add(loading, key, value, line);
    if (slice_is(key, "version")) return OK; /* of a dynamic file: the members count, whenever that was */
    if (loading->config->problems.count >= PROBLEMS_MAX) return OK;
    if (begins(key, "authProvider.") && provider_add(loading->config, value)) return OK;
    if (slice_is(key, "superUser") || begins(key, "superUser."))
        return super_user_add(loading->config, value);
    for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++) {
        if (!begins(key, FAMILIES[i].prefix)) continue;
        complain(loading, FAMILIES[i].is_error ? PROBLEM_ERROR : PROBLEM_NO_EFFECT, line, key,
                 FAMILIES[i].what);
        return OK;
    }
    const char *nearest = setting_nearest(&TABLE, key);
    problems_add(&loading->config->problems, &loading->config->arena, PROBLEM_UNKNOWN, loading->file, line,
                 key, nearest ? "unknown and ignored; %s would be right, perhaps" : "unknown and ignored",
                 nearest);
    return OK;
}

static void derive_metrics(struct loading *loading)
{
    struct zoo_config *config = loading->config;
    static const char *const quiet[] = {"org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
                                        "org.apache.zookeeper.metrics.impl.NullMetricsProvider"};
    const char *name = zoo_text(config, ZOO_METRICS_PROVIDER_CLASS_NAME);
    config->serves_metrics =
        strcmp(name, "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider") == 0;
    if (config->serves_metrics || strcmp(name, quiet[0]) == 0 || strcmp(name, quiet[1]) == 0) return;
    complain(loading, PROBLEM_NO_EFFECT, config->line[ZOO_METRICS_PROVIDER_CLASS_NAME],
             SLICE("metricsProvider.className"),
             "has no effect here: a class of one's own; "
             "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider would serve metrics");
}

static void derive(struct loading *loading)
{
    struct zoo_config *config = loading->config;
    derive_metrics(loading);
    config->tick_ms = zoo_number(config, ZOO_TICK_TIME);
    int64_t least = zoo_number(config, ZOO_MIN_SESSION_TIMEOUT),
            most = zoo_number(config, ZOO_MAX_SESSION_TIMEOUT);
    config->min_session_timeout_ms = least < 0 ? 2 * config->tick_ms : least;
    config->max_session_timeout_ms = most < 0 ? 20 * config->tick_ms : most;
    if (config->min_session_timeout_ms > config->max_session_timeout_ms) {
        complain(loading, PROBLEM_ERROR, config->line[ZOO_MIN_SESSION_TIMEOUT], SLICE("minSessionTimeout"),
                 "is more than maxSessionTimeout");
    }
    config->data_dir = zoo_text(config, ZOO_DATA_DIR);
    config->data_log_dir = zoo_text(config, ZOO_DATA_LOG_DIR);
    if (!config->data_dir || !config->data_dir[0]) {
        complain(loading, PROBLEM_ERROR, config->line[ZOO_DATA_DIR], SLICE("dataDir"),
                 "not set; dataDir=/var/lib/zookeeper, for one, would be right");
    }
    if (!config->data_log_dir) config->data_log_dir = config->data_dir;
    config->client_host = zoo_text(config, ZOO_CLIENT_PORT_ADDRESS);
    config->client_port = (uint16_t)zoo_number(config, ZOO_CLIENT_PORT);
    if (!config->client_host) config->client_host = "";
    bool is_secure_only = config->line[ZOO_CLIENT_PORT] == 0 && config->line[ZOO_SECURE_CLIENT_PORT] > 0;
    if (is_secure_only) config->client_port = 0;

    config->enforced_schemes = zoo_text(config, ZOO_ENFORCE_AUTH_SCHEMES);
    if (zoo_bool(config, ZOO_SESSION_REQUIRE_CLIENT_SASLAUTH)) {
        config->enforced_schemes = "sasl";
    } else if (!zoo_bool(config, ZOO_ENFORCE_AUTH_ENABLED)) {
        config->enforced_schemes = NULL;
    } else if (!config->enforced_schemes || !config->enforced_schemes[0]) {
        complain(loading, PROBLEM_ERROR, config->line[ZOO_ENFORCE_AUTH_ENABLED],
                 SLICE("enforce.auth.enabled"),
                 "asks for enforce.auth.schemes; digest, for one, would be right");
    }

    size_t voters = 0;
    for (size_t i = 0; i < loading->count; i++) voters += !loading->servers[i].is_observer;
    config->is_ensemble =
        loading->count > 1 || (loading->count == 1 && !zoo_bool(config, ZOO_STANDALONE_ENABLED));
    if (loading->count > 0 && voters == 0) {
        complain(loading, PROBLEM_ERROR, 0, SLICE("server.N"),
                 "observers only; a participant would be right");
    }
    const char *lines_elsewhere = zoo_text(config, ZOO_DYNAMIC_CONFIG_FILE);
    bool has_lines = loading->count > 0 || (lines_elsewhere && lines_elsewhere[0]);
    if (!has_lines && !zoo_bool(config, ZOO_STANDALONE_ENABLED)) {
        complain(
            loading, PROBLEM_ERROR, config->line[ZOO_STANDALONE_ENABLED], SLICE("standaloneEnabled"),
            "forbids a server alone, and there is no server.N line; server.1=HOST:2888:3888 would be right");
    }
    if (loading->count == 1 && loading->servers[0].client_port > 0 && config->line[ZOO_CLIENT_PORT] == 0) {
        struct slice host = arena_copy(&config->arena, loading->servers[0].client_host);
        config->client_port = loading->servers[0].client_port;
        if (host.data) config->client_host = (const char *)host.data;
    }
}

static enum error pairs_set(struct loading *loading, const char *name, const char *const *pairs, size_t count)
{
    const char *file = loading->file;
    loading->file = name;
    enum error err = OK;
    for (size_t i = 0; i < count && err == OK; i++) {
        struct slice value = slice_of(pairs[i]), key = until(&value, '=');
        err = pair_set(loading, arena_copy(&loading->config->arena, key),
                       arena_copy(&loading->config->arena, value), (int)i + 1);
    }
    loading->file = file;
    return err;
}

enum error zoo_config_load(struct slice text, const char *name, struct zoo_config *config)
{
    return zoo_config_load_beside(text, name, &(struct zoo_beside){0}, config);
}

enum error zoo_config_load_beside(struct slice text, const char *name, const struct zoo_beside *beside,
                                  struct zoo_config *config)
{
    *config = (struct zoo_config){0};
    arena_init(&config->arena, 0);
    struct slice file = arena_copy(&config->arena, slice_of(name));
    if (!file.data) return ERR_NOMEM;
    struct loading loading = {.config = config, .file = (const char *)file.data};
    enum error err = OK;
    for (int key = 0; err == OK && key < ZOO_SETTING_COUNT; key++) {
        struct text why = {0};
        err = setting_parse(&SPECS[key], slice_of(SPECS[key].default_text), &config->arena,
                            &config->values[key], &why);
        assert(err != ERR_CONFIG);
        text_free(&why);
    }
    if (err == OK) err = pairs_set(&loading, "-D", beside->properties, beside->property_count);
    struct properties properties = properties_open(text);
    struct property property;
    const char *broken = NULL;
    while (err == OK) {
        err = properties_next(&properties, &config->arena, &property, &broken);
        if (err == OK) {
            err = pair_set(&loading, property.key, property.value, property.line);
        } else if (err == ERR_CORRUPT) {
            complain(&loading, PROBLEM_ERROR, property.line, SLICE_NULL, broken);
            err = OK;
        }
    }
    if (err == ERR_EOF) err = pairs_set(&loading, "--override", beside->overrides, beside->override_count);
    if (err == OK) {
        derive(&loading);
        struct zoo_server *servers = arena_array(&config->arena, loading.count + 1, sizeof *servers);
        if (servers && loading.count) memcpy(servers, loading.servers, loading.count * sizeof *servers);
        config->servers = servers;
        config->server_count = servers ? loading.count : 0;
        if (!servers || config->problems.is_out_of_memory) err = ERR_NOMEM;
    }
    free(loading.servers);
    if (err == OK && config->problems.error_count > 0) err = ERR_CONFIG;
    return err;
}

void zoo_config_free(struct zoo_config *config)
{
    problems_free(&config->problems);
    arena_free(&config->arena);
    *config = (struct zoo_config){0};
}

int64_t zoo_number(const struct zoo_config *config, enum zoo_setting key)
{
    enum setting_type type = SPECS[key].type;
    assert(type == SETTING_INT || type == SETTING_LONG);
    assert(config->values[key].text);
    return config->values[key].number;
}

double zoo_real(const struct zoo_config *config, enum zoo_setting key)
{
    assert(SPECS[key].type == SETTING_DOUBLE);
    return config->values[key].real;
}

bool zoo_bool(const struct zoo_config *config, enum zoo_setting key)
{
    const char *text = config->values[key].text;
    if (SPECS[key].type == SETTING_BOOLEAN) return config->values[key].number != 0;
    assert(SPECS[key].choices && strcmp(SPECS[key].choices, "yes|no") == 0);
    return strcmp(text, "yes") == 0;
}

const char *zoo_text(const struct zoo_config *config, enum zoo_setting key)
{
    return config->values[key].text;
}
