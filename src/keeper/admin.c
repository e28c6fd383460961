#include "keeper/admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "keeper/figures.h"
#include "keeper/inside.h"
#include "keeper/process.h"
#include "keeper/report.h"
#include "keeper/status.h"
#include "keeper/status_members.h"
#include "loop/tls.h"
#include "settings/properties.h"

struct asked {
    struct keeper *keeper;
    const char *trace_mask;
    struct report *report;
    const char *error; /* NULL: none. ZooKeeper puts it before the command where a command found it itself. */
};

/* --- connections --- */

static void add_conn(const struct conn *conn, struct report *report, bool is_brief)
{
    char address[80];
    bool is_ipv6 = strchr(conn->host, ':') != NULL;
    snprintf(address, sizeof address, is_ipv6 ? "[%s]:%u" : "%s:%u", conn->host, conn->port);
    report_open(report, NULL, '{');
    report_text(report, "remote_socket_address", slice_of(address));
    report_number(report, "interest_ops", status_interest(conn));
    report_number(report, "outstanding_requests", (int64_t)(conn->write_count + conn->read_count));
    report_number(report, "packets_received", conn->received);
    report_number(report, "packets_sent", conn->sent);
    if (!is_brief) {
        const struct loop *loop = conn->keeper->loop;
        int64_t average_us = conn->latency_count > 0 ? conn->latency_sum_us / conn->latency_count : 0;
        report_number(report, "session_id", status_session_id(conn));
        if (conn->last_op == OP_NEVER) {
            report_null(report, "last_operation");
        } else {
            report_text(report, "last_operation", slice_of(status_op_name(conn->last_op)));
        }
        report_number(report, "established", loop_wall_ms(loop) - (loop_now_ms(loop) - conn->begun_ms));
        report_number(report, "session_timeout", conn->live ? conn->live->timeout_ms : 0);
        report_number(report, "last_cxid", conn->last_xid);
        report_number(report, "last_zxid", conn->last_zxid);
        report_number(report, "last_response_time", conn->last_answer_ms);
        report_number(report, "last_latency", conn->latency_last_us / 1000);
        report_number(report, "min_latency", conn->latency_min_us / 1000);
        report_number(report, "avg_latency", average_us / 1000);
        report_number(report, "max_latency", conn->latency_max_us / 1000);
    }
    report_close(report);
}

static void add_conns(const struct asked *asked, bool is_brief)
{
    static const char *const keys[] = {"connections", "secure_connections"};
    for (int is_secure = 0; is_secure < 2; is_secure++) {
        report_open(asked->report, keys[is_secure], '[');
        LIST_EACH(&asked->keeper->conns, item)
        {
            const struct conn *conn = CONTAINER_OF(item, struct conn, all);
            bool speaks_tls = conn->stream && stream_is_tls(conn->stream);
            if (speaks_tls == (is_secure == 1)) add_conn(conn, asked->report, is_brief);
        }
        report_close(asked->report);
    }
}

static void run_connections(struct asked *asked)
{
    add_conns(asked, false);
}

static void run_connection_stat_reset(struct asked *asked)
{
    conns_reset(asked->keeper);
}

/* --- the server --- */

static void run_configuration(struct asked *asked)
{
    struct report *report = asked->report;
    struct keeper *keeper = asked->keeper;
    const struct keeper_config *config = &keeper->config;
    const char *log_dir = config->data_log_dir ? config->data_log_dir : config->data_dir;
    int plain, secure;
    status_ports(keeper, &plain, &secure);
    if (plain >= 0) report_number(report, "client_port", plain);
    if (secure >= 0) report_number(report, "secure_client_port", secure);
    report_text(report, "data_dir", slice_of(config->data_dir));
    report_text(report, "data_log_dir", slice_of(log_dir));
    report_number(report, "tick_time", config->tick_time_ms);
    report_number(report, "max_client_cnxns", config->max_client_cnxns);
    report_number(report, "min_session_timeout", keeper_min_timeout_ms(keeper));
    report_number(report, "max_session_timeout", keeper_max_timeout_ms(keeper));
    report_number(report, "server_id", quorum_member_number(asked->keeper->office.id));
    report_number(report, "client_port_listen_backlog", config->listen_backlog);
}

static void run_dirs(struct asked *asked)
{
    int64_t data_bytes, log_bytes;
    status_dir_bytes(asked->keeper, &data_bytes, &log_bytes);
    report_number(asked->report, "datadir_size", data_bytes);
    report_number(asked->report, "logdir_size", log_bytes);
}

static void number_key(struct report *report, int64_t number)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, number);
    report_key(report, slice_of(digits));
}

static void add_path(struct report *report, const struct tree *tree, const struct znode *node,
                     struct text *path)
{
    text_reset(path);
    tree_path(tree, node, path);
    report_text(report, NULL, text_slice(path));
}

static void run_dump(struct asked *asked)
{
    struct report *report = asked->report;
    size_t count;
    struct status_due *due = status_sessions(asked->keeper, &count);
    if (!office_leads(asked->keeper)) count = 0; /* the leader's to say */
    report_open(report, "expiry_time_to_session_ids", '{');
    for (size_t at = 0, same; at < count; at += same) {
        same = status_same_due(due, count, at);
        number_key(report, due[at].due_ms);
        report_open(report, NULL, '[');
        for (size_t i = at; i < at + same; i++) report_number(report, NULL, due[i].session->id);
        report_close(report);
    }
    report_close(report);
    free(due);

    struct text path = {0};
    const struct tree *tree = &asked->keeper->machine.tree;
    report_open(report, "session_id_to_ephemeral_paths", '{');
    LIST_EACH(&asked->keeper->machine.session_list, item)
    {
        const struct session *session = CONTAINER_OF(item, struct session, all);
        if (!status_names_ephemerals(session)) continue;
        number_key(report, session->id);
        report_open(report, NULL, '[');
        for (const struct znode *node = session->ephemerals.first; node;
             node = znode_next_ephemeral(tree, node))
            add_path(report, tree, node, &path);
        report_close(report);
    }
    report_close(report);
    report->out->failed |= path.failed;
    text_free(&path);
}

static void add_pair(void *context, const char *name, const char *value)
{
    report_text(context, name, slice_of(value));
}

static void run_environment(struct asked *asked)
{
    process_environment(KEEPER_VERSION, add_pair, asked->report);
}

static void run_get_trace_mask(struct asked *asked)
{
    report_number(asked->report, "tracemask", asked->keeper->trace_mask);
}

static void run_set_trace_mask(struct asked *asked)
{
    int64_t mask;
    if (!asked->trace_mask) {
        asked->error = "setTraceMask requires long traceMask argument";
    } else if (!slice_to_int64(slice_of(asked->trace_mask), INT64_MIN, INT64_MAX, &mask)) {
        asked->error = "setTraceMask requires long traceMask argument, got another value";
    } else {
        asked->keeper->trace_mask = mask;
        run_get_trace_mask(asked);
    }
}

static void run_hash(struct asked *asked)
{
    const struct keeper *keeper = asked->keeper;
    struct report *report = asked->report;
    uint64_t at = keeper->digest_count > DIGESTS_KEPT ? keeper->digest_count - DIGESTS_KEPT : 0;
    report_open(report, "digests", '[');
    for (; at < keeper->digest_count; at++) {
        const struct tree_digest_at *then = &keeper->digests[at % DIGESTS_KEPT];
        report_open(report, NULL, '{');
        report_number(report, "zxid", then->zxid);
        report_number(report, "digest_version", 2);
        report_number(report, "digest", (int64_t)then->digest);
        report_close(report);
    }
    report_close(report);
}

static void run_initial_configuration(struct asked *asked)
{
    report_text(asked->report, "initial_configuration", slice_of(asked->keeper->config.initial_config));
}

static void run_is_read_only(struct asked *asked)
{
    report_bool(asked->report, "read_only", asked->keeper->is_read_only);
}

static void run_last_snapshot(struct asked *asked)
{
    uint64_t index;
    int64_t wall_ms;
    char zxid[24];
    bool is_known = quorum_last_snapshot(asked->keeper->quorum, &index, &wall_ms);
    snprintf(zxid, sizeof zxid, "%" PRIx64, is_known ? (uint64_t)asked->keeper->saved_zxid : UINT64_MAX);
    report_text(asked->report, "zxid", slice_of(zxid));
    report_number(asked->report, "timestamp", is_known ? wall_ms / 1000 : -1);
}

static void run_leader(struct asked *asked)
{
    if (status_peer_state(asked->keeper)) {
        status_report_leader(asked->keeper, asked->report);
    } else {
        asked->error = "server is not initialized"; /* so says ZooKeeper of one that is alone */
    }
}

static void run_monitor(struct asked *asked)
{
    figures_report(asked->keeper, asked->report);
}

static void run_nothing(struct asked *asked)
{
}

static void run_observers(struct asked *asked)
{
    if (status_is_member(asked->keeper)) {
        status_report_observers(asked->keeper, asked->report);
        return;
    }
    report_number(asked->report, "synced_observers", 0);
    report_open(asked->report, "observers", '[');
    report_close(asked->report);
}

static void add_answer_sizes(const struct keeper *keeper, struct report *report, const char *key)
{
    report_open(report, key, '{');
    report_number(report, "last_buffer_size", keeper->counts.answer_last);
    report_number(report, "min_buffer_size", keeper->counts.answer_least);
    report_number(report, "max_buffer_size", keeper->counts.answer_greatest);
    report_close(report);
}

static void run_server_stats(struct asked *asked)
{
    struct keeper *keeper = asked->keeper;
    struct report *report = asked->report;
    struct quorum_stats log;
    int64_t data_bytes, log_bytes;
    quorum_stats(keeper->quorum, &log);
    status_dir_bytes(keeper, &data_bytes, &log_bytes);
    double sum_ms = (double)keeper->latency_sum_us / 1000;
    report_text(report, "version", SLICE(KEEPER_VERSION));
    report_bool(report, "read_only", keeper->is_read_only);
    report_open(report, "server_stats", '{');
    report_number(report, "packets_sent", keeper->packets_sent);
    report_number(report, "packets_received", keeper->packets_received);
    report_number(report, "fsync_threshold_exceed_count", log.slow_syncs);
    add_answer_sizes(keeper, report, "client_response_stats");
    report_bool(report, "provider_null", false);
    report_number(report, "data_dir_size", data_bytes);
    report_number(report, "log_dir_size", log_bytes);
    report_number(report, "last_processed_zxid", keeper->machine.zxid);
    report_number(report, "outstanding_requests", (int64_t)keeper->outstanding);
    report_text(report, "server_state", slice_of(status_mode(keeper)));
    report_real(report, "avg_latency",
                keeper->latency_count > 0 ? sum_ms / (double)keeper->latency_count : 0);
    report_number(report, "max_latency", keeper->latency_max_us / 1000);
    report_number(report, "min_latency", keeper->latency_min_us / 1000);
    report_number(report, "num_alive_client_connections", (int64_t)keeper->conn_count);
    report_number(report, "uptime", loop_now_ms(keeper->loop) - keeper->begun_ms);
    report_number(report, "auth_failed_count", keeper->counts.auth_failed);
    report_number(report, "non_mtlsremote_conn_count", 0);
    report_number(report, "non_mtlslocal_conn_count", 0);
    report_close(report);
    add_answer_sizes(keeper, report, "client_response");
    if (keeper->office.state == OFFICE_LEADING) {
        report_open(report, "proposal_stats", '{');
        report_number(report, "last_buffer_size", keeper->counts.proposal_last);
        report_number(report, "min_buffer_size", keeper->counts.proposal_least);
        report_number(report, "max_buffer_size", keeper->counts.proposal_greatest);
        report_close(report);
    }
    report_number(report, "node_count", keeper->machine.tree.count + 1);
}

static void run_stats(struct asked *asked)
{
    run_server_stats(asked);
    add_conns(asked, true);
}

static void run_stat_reset(struct asked *asked)
{
    figures_reset(asked->keeper);
}

/* In ZooKeeper the JVM's; those that zoo.cfg would have made are here too. */
static void run_system_properties(struct asked *asked)
{
    process_environment(KEEPER_VERSION, add_pair, asked->report);
    struct arena arena;
    arena_init(&arena, 0);
    struct properties properties = properties_open(slice_of(asked->keeper->config.initial_config));
    struct property property;
    const char *broken;
    struct text key = {0};
    while (properties_next(&properties, &arena, &property, &broken) == OK) {
        text_reset(&key);
        text_addz(&key, "zookeeper.");
        text_add(&key, property.key);
        report_key(asked->report, text_slice(&key));
        report_text(asked->report, NULL, property.value);
    }
    asked->report->out->failed |= key.failed;
    text_free(&key);
    arena_free(&arena);
}

static void run_voting_view(struct asked *asked)
{
    if (status_is_member(asked->keeper)) {
        status_report_voting_view(asked->keeper, asked->report);
        return;
    }
    report_open(asked->report, "current_config", '{');
    report_close(asked->report);
}

static void run_zabstate(struct asked *asked)
{
    if (status_is_member(asked->keeper)) {
        status_report_zabstate(asked->keeper, asked->report);
        return;
    }
    report_bool(asked->report, "voting", false);
    report_text(asked->report, "zabstate", SLICE(""));
}

/* --- watches --- */

static void run_watch_summary(struct asked *asked)
{
    int64_t connections, paths;
    status_watches(asked->keeper, &connections, &paths);
    report_number(asked->report, "num_connections", connections);
    report_number(asked->report, "num_paths", paths);
    report_number(asked->report, "num_total_watches", asked->keeper->watches.data_count);
}

static void run_watches(struct asked *asked)
{
    struct report *report = asked->report;
    report_open(report, "session_id_to_watched_paths", '{');
    LIST_EACH(&asked->keeper->conns, item)
    {
        const struct conn *conn = CONTAINER_OF(item, struct conn, all);
        struct slice path;
        int modes;
        if (!conn->watcher.is_in_data) continue;
        number_key(report, status_session_id(conn));
        report_open(report, NULL, '[');
        for (struct list *position = NULL; watcher_next_path(&conn->watcher, &position, &path, &modes);) {
            if (modes & WATCH_IN_DATA) report_text(report, NULL, path);
        }
        report_close(report);
    }
    report_close(report);
}

static void run_watches_by_path(struct asked *asked)
{
    struct report *report = asked->report;
    struct watch_path *known;
    struct slice path;
    report_open(report, "path_to_session_ids", '{');
    for (size_t at = 0; (known = watch_next_path(&asked->keeper->watches, &at, &path));) {
        struct watcher *watcher;
        int modes;
        bool is_named = false;
        for (struct list *position = NULL; (watcher = watch_next_watcher(known, &position, &modes));) {
            if (!(modes & WATCH_IN_DATA)) continue;
            if (!is_named) {
                report_key(report, path);
                report_open(report, NULL, '[');
            }
            is_named = true;
            report_number(report, NULL, status_session_id(CONTAINER_OF(watcher, struct conn, watcher)));
        }
        if (is_named) report_close(report);
    }
    report_close(report);
}

/* --- the commands --- */

static const struct command {
    const char *names[3];             /* the first is the one */
    bool works_always;                /* also while we do not serve */
    void (*run)(struct asked *asked); /* NULL: backup.c's */
} commands[] = {
    {{"configuration", "conf", "config"}, false, run_configuration},
    {{"connection_stat_reset", "crst"}, false, run_connection_stat_reset},
    {{"connections", "cons"}, false, run_connections},
    {{"dirs"}, false, run_dirs},
    {{"dump"}, false, run_dump},
    {{"environment", "env", "envi"}, true, run_environment},
    {{"get_trace_mask", "gtmk"}, true, run_get_trace_mask},
    {{"hash"}, false, run_hash},
    {{"initial_configuration", "icfg"}, false, run_initial_configuration},
    {{"is_read_only", "isro"}, false, run_is_read_only},
    {{"last_snapshot", "lsnp"}, false, run_last_snapshot},
    {{"leader", "lead"}, false, run_leader},
    {{"monitor", "mntr"}, false, run_monitor},
    {{"observer_connection_stat_reset", "orst"}, false, run_nothing},
    {{"observers", "obsr"}, false, run_observers},
    {{"restore", "rest"}, false, NULL},
    {{"ruok"}, false, run_nothing},
    {{"server_stats", "srvr"}, false, run_server_stats},
    {{"set_trace_mask", "stmk"}, true, run_set_trace_mask},
    {{"snapshot", "snap"}, false, NULL},
    {{"stat_reset", "srst"}, false, run_stat_reset},
    {{"stats", "stat"}, false, run_stats},
    {{"system_properties", "sysp"}, true, run_system_properties},
    {{"voting_view"}, false, run_voting_view},
    {{"watch_summary", "wchs"}, false, run_watch_summary},
    {{"watches", "wchc"}, false, run_watches},
    {{"watches_by_path", "wchp"}, false, run_watches_by_path},
    {{"zabstate"}, true, run_zabstate},
};

const char *keeper_admin_name(size_t index)
{
    return index < sizeof commands / sizeof *commands ? commands[index].names[0] : NULL;
}

static const struct command *command_of(struct slice name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        for (size_t j = 0; j < 3 && commands[i].names[j]; j++) {
            if (slice_is(name, commands[i].names[j])) return &commands[i];
        }
    }
    return NULL;
}

static void add_unknown(struct report *report, struct slice name)
{
    struct text error = {0};
    text_addz(&error, "Unknown command: ");
    text_add(&error, name);
    report_text(report, "command", name);
    report_text(report, "error", text_slice(&error));
    report->out->failed |= error.failed;
    text_free(&error);
}

void keeper_admin(struct keeper *keeper, struct slice name, const char *trace_mask, struct text *out)
{
    struct report report = {.out = out};
    struct asked asked = {.keeper = keeper, .trace_mask = trace_mask, .report = &report};
    const struct command *command = command_of(name);
    report_open(&report, NULL, '{');
    if (!command || !command->run) {
        add_unknown(&report, name);
    } else if (!command->works_always && !keeper->is_serving) {
        report_text(&report, "command", name);
        report_text(&report, "error", SLICE(KEEPER_NOT_SERVING));
    } else {
        command->run(&asked);
        if (asked.error) report_text(&report, "error", slice_of(asked.error));
        report_text(&report, "command", slice_of(command->names[0]));
        if (!asked.error) report_null(&report, "error");
    }
    report_close(&report);
}

void keeper_metrics(struct keeper *keeper, struct text *out)
{
    if (keeper->is_serving) figures_prometheus(keeper, out);
}
