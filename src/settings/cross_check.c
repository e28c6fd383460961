/* cross_check.c: rules that need several keys to see, and what several keys come to. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "settings/inside.h"

bool host_port_parse(struct slice text, struct slice *host, uint16_t *port)
{
    const uint8_t *colon = text.size ? memrchr(text.data, ':', text.size) : NULL;
    if (!colon) return false;
    struct slice name = {text.data, (size_t)(colon - text.data)};
    struct slice digits = {colon + 1, text.size - name.size - 1};
    int64_t number;
    if (digits.size == 0 || digits.data[0] == '-' || !slice_to_int64(digits, 0, 65535, &number)) return false;
    bool is_bracketed = name.size >= 2 && name.data[0] == '[' && name.data[name.size - 1] == ']';
    if (is_bracketed) {
        name.data++;
        name.size -= 2;
        if (name.size == 0) return false;
    } else if (name.size && memchr(name.data, ':', name.size)) {
        return false; /* IPv6 wants brackets */
    }
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (c <= ' ' || c == '/' || c == '[' || c == ']' || c == '@') return false;
    }
    *host = name;
    *port = (uint16_t)number;
    return true;
}

static bool list_has(struct setting_list list, const char *text)
{
    for (size_t i = 0; i < list.count; i++) {
        if (slice_is(list.items[i], text)) return true;
    }
    return false;
}

static void broker_id_find(struct settings *settings)
{
    struct settings_base *base = settings->base;
    bool has_node = settings_is_set(settings, SETTING_NODE_ID),
         has_broker = settings_is_set(settings, SETTING_BROKER_ID);
    int64_t node = settings_long(settings, SETTING_NODE_ID),
            broker = settings_long(settings, SETTING_BROKER_ID);
    if (has_node && has_broker && node != broker) {
        settings_error(settings, SETTING_NODE_ID,
                       "%lld is not broker.id, %lld; one of them, or both alike, would be right",
                       (long long)node, (long long)broker);
    }
    base->broker_id = (int32_t)(has_node ? node : broker);
    if (base->broker_id < 0 && !settings_bool(settings, SETTING_BROKER_ID_GENERATION_ENABLE)) {
        settings_error(settings, SETTING_BROKER_ID,
                       "a broker needs a number where broker.id.generation.enable is "
                       "false; broker.id=0 would be right, for one broker");
    }
    /* Generated ids begin above the reserved ones, so a given one may not be up there. */
    int64_t reserved = settings_long(settings, SETTING_RESERVED_BROKER_MAX_ID);
    if (!has_node && has_broker && broker > reserved &&
        settings_bool(settings, SETTING_BROKER_ID_GENERATION_ENABLE)) {
        settings_error(settings, SETTING_BROKER_ID,
                       "%lld is above reserved.broker.max.id, %lld, where generated ids are; a smaller one "
                       "would be right",
                       (long long)broker, (long long)reserved);
    }
}

/* "1@host:9093" */
static bool voter_parse(struct slice voter, int64_t *id)
{
    const uint8_t *at = memchr(voter.data, '@', voter.size);
    if (!at) return false;
    struct slice digits = {voter.data, (size_t)(at - voter.data)},
                 address = {at + 1, voter.size - digits.size - 1}, host;
    uint16_t port;
    return slice_to_int64(digits, 0, INT32_MAX, id) && host_port_parse(address, &host, &port) &&
           host.size > 0;
}

static void kraft_check(struct settings *settings)
{
    struct settings_base *base = settings->base;
    struct setting_list roles = settings_list(settings, SETTING_PROCESS_ROLES);
    struct setting_list voters = settings_list(settings, SETTING_CONTROLLER_QUORUM_VOTERS);
    struct setting_list servers = settings_list(settings, SETTING_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS);
    base->is_kraft = roles.count > 0;
    if (base->is_kraft && !list_has(roles, "broker")) {
        settings_error(
            settings, SETTING_PROCESS_ROLES,
            "a KRaft controller alone has no work here; broker, or broker,controller, would be right");
    }
    for (size_t i = 0; i < voters.count; i++) {
        int64_t id;
        if (!voter_parse(voters.items[i], &id)) {
            settings_error(settings, SETTING_CONTROLLER_QUORUM_VOTERS,
                           "\"%.*s\" is not a voter; ID@HOST:PORT would be right",
                           SLICE_ARG(voters.items[i]));
        } else if (id != base->broker_id) {
            settings_error(
                settings, SETTING_CONTROLLER_QUORUM_VOTERS,
                "names node %lld, but a KRaft quorum of other nodes is not spoken here; only this node, or "
                "zookeeper.connect, would be right",
                (long long)id);
        }
    }
    bool is_alone = servers.count <= 1 && (servers.count == 0 || list_has(roles, "controller"));
    if (!is_alone) {
        settings_error(settings, SETTING_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS,
                       "names other nodes, but a KRaft quorum is not spoken here; only this node, with "
                       "process.roles=broker,controller, or zookeeper.connect, would be right");
    }
    if (base->is_kraft && !settings_is_null(settings, SETTING_ZOOKEEPER_CONNECT)) {
        settings_error(settings, SETTING_ZOOKEEPER_CONNECT,
                       "an ensemble, while process.roles says KRaft; one of them would be right");
    }
    if (base->is_kraft && list_has(roles, "broker")) {
        settings_say(settings, PROBLEM_NOTE, SETTING_PROCESS_ROLES,
                     "a KRaft file: node.id is the broker id, controller listeners are not opened");
    }
}

static void zookeeper_check(struct settings *settings)
{
    const char *connect = settings_text(settings, SETTING_ZOOKEEPER_CONNECT);
    if (!connect) return;
    const char *slash = strchr(connect, '/');
    struct slice hosts = {(const uint8_t *)connect, slash ? (size_t)(slash - connect) : strlen(connect)};
    bool is_right = hosts.size > 0;
    while (is_right && hosts.size > 0) {
        const uint8_t *comma = memchr(hosts.data, ',', hosts.size);
        struct slice one = {hosts.data, comma ? (size_t)(comma - hosts.data) : hosts.size}, host;
        hosts.data += one.size + (comma != NULL);
        hosts.size -= one.size + (comma != NULL);
        while (one.size > 0 && *one.data == ' ') one = (struct slice){one.data + 1, one.size - 1};
        while (one.size > 0 && one.data[one.size - 1] == ' ') one.size--;
        uint16_t port = 2181;
        bool has_port = one.size > 0 && memchr(one.data, ':', one.size);
        is_right = has_port ? host_port_parse(one, &host, &port) && host.size > 0 && port > 0 : one.size > 0;
    }
    bool has_odd_chroot = slash && (strstr(slash, "//") || (slash[1] && slash[strlen(slash) - 1] == '/'));
    if (!is_right || has_odd_chroot) {
        settings_error(settings, SETTING_ZOOKEEPER_CONNECT,
                       "\"%s\" is not a list of servers; host:2181,host2:2181/chroot would be right",
                       connect);
    }
    static const enum setting unused[] = {SETTING_KEEPER_CLIENT_PORT, SETTING_KEEPER_CLIENT_ADDRESS,
                                          SETTING_KEEPER_DATA_DIR, SETTING_KEEPER_ID, SETTING_KEEPER_SERVERS};
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++) {
        if (settings_is_set(settings, unused[i])) {
            settings_say(settings, PROBLEM_NO_EFFECT, unused[i],
                         "has no effect here: zookeeper.connect says another ensemble");
        }
    }
}

static void bounds_check(struct settings *settings)
{
    static const enum setting retention[] = {SETTING_LOG_RETENTION_MS, SETTING_LOG_RETENTION_MINUTES,
                                             SETTING_LOG_RETENTION_HOURS};
    for (size_t i = 0; i < sizeof retention / sizeof *retention; i++) {
        if (!settings_is_null(settings, retention[i]) && settings_long(settings, retention[i]) == 0) {
            settings_error(settings, retention[i],
                           "0 would delete records at once; -1 (for ever) or at least 1 would be right");
        }
    }
    static const struct {
        enum setting smaller, larger;
    } pairs[] = {
        {SETTING_GROUP_MIN_SESSION_TIMEOUT_MS, SETTING_GROUP_MAX_SESSION_TIMEOUT_MS},
        {SETTING_GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS, SETTING_GROUP_CONSUMER_MAX_SESSION_TIMEOUT_MS},
        {SETTING_GROUP_CONSUMER_MIN_HEARTBEAT_INTERVAL_MS, SETTING_GROUP_CONSUMER_MAX_HEARTBEAT_INTERVAL_MS},
        {SETTING_LOG_CLEANER_MIN_COMPACTION_LAG_MS, SETTING_LOG_CLEANER_MAX_COMPACTION_LAG_MS},
        {SETTING_REPLICA_FETCH_WAIT_MAX_MS, SETTING_REPLICA_SOCKET_TIMEOUT_MS},
        {SETTING_REPLICA_FETCH_WAIT_MAX_MS, SETTING_REPLICA_LAG_TIME_MAX_MS},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        int64_t smaller = settings_long(settings, pairs[i].smaller),
                larger = settings_long(settings, pairs[i].larger);
        if (smaller <= larger) continue;
        /* Said where the file said something. */
        bool is_first = settings_is_set(settings, pairs[i].smaller);
        const struct setting_table *table = broker_setting_table();
        const char *other = table->specs[is_first ? pairs[i].larger : pairs[i].smaller].name;
        settings_error(settings, is_first ? pairs[i].smaller : pairs[i].larger, "%lld is %s than %s, %lld",
                       (long long)(is_first ? smaller : larger), is_first ? "more" : "less", other,
                       (long long)(is_first ? larger : smaller));
    }
    int64_t budget = settings_long(settings, SETTING_QUEUED_MAX_REQUEST_BYTES);
    if (budget == 0)
        settings_error(settings, SETTING_QUEUED_MAX_REQUEST_BYTES,
                       "0 would take no request; -1 (64 MiB) or more would be right");
}

static enum error log_dirs_find(struct settings *settings)
{
    enum setting key = settings_is_null(settings, SETTING_LOG_DIRS) ? SETTING_LOG_DIR : SETTING_LOG_DIRS;
    struct setting_list list = settings_list(settings, key);
    if (list.count == 0)
        settings_error(settings, key, "no directory; log.dirs=/var/lib/odradek, for one, would be right");
    for (size_t i = 0; i < list.count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (slice_equal(list.items[i], list.items[j])) {
                settings_error(settings, key, "names \"%.*s\" twice", SLICE_ARG(list.items[i]));
            }
        }
    }
    settings->base->log_dirs = list;
    return OK;
}

static void metrics_check(struct settings *settings)
{
    const char *text = settings_text(settings, SETTING_METRICS_LISTENER);
    struct slice host;
    uint16_t port;
    if (!text || !text[0]) return;
    if (!host_port_parse(slice_of(text), &host, &port)) {
        settings_error(settings, SETTING_METRICS_LISTENER,
                       "\"%s\" is not an address; 127.0.0.1:9644 would be right", text);
    }
}

enum error settings_cross_check(struct settings *settings)
{
    broker_id_find(settings);
    kraft_check(settings);
    zookeeper_check(settings);
    bounds_check(settings);
    metrics_check(settings);
    enum error err = log_dirs_find(settings);
    if (err == OK) err = listeners_make(settings);
    return err;
}
