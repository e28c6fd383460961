#include "keeper/figures.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "keeper/process.h"
#include "keeper/status.h"
#include "keeper/status_members.h"

enum { FIGURES_MAX = 96 };

enum figure_kind {
    FIGURE_GAUGE,
    FIGURE_COUNTER,
    FIGURE_BASIC,    /* a summary without quantiles, but for the median in Prometheus */
    FIGURE_ADVANCED, /* one with */
};

struct figure {
    const char *name;
    enum figure_kind kind;
    bool is_real;
    double unit; /* of a summary: how many of what was recorded make one of what is shown */
    int64_t whole;
    double real;
    const struct summary *summary;
};

struct figures {
    struct figure items[FIGURES_MAX];
    size_t count;
};

/* --- what there is --- */

static void add(struct figures *figures, struct figure figure)
{
    if (figures->count < FIGURES_MAX) figures->items[figures->count++] = figure;
}

static void gauge(struct figures *figures, const char *name, int64_t value)
{
    add(figures, (struct figure){.name = name, .kind = FIGURE_GAUGE, .whole = value});
}

static void real(struct figures *figures, const char *name, double value)
{
    add(figures, (struct figure){.name = name, .kind = FIGURE_GAUGE, .is_real = true, .real = value});
}

static void counter(struct figures *figures, const char *name, int64_t value)
{
    add(figures, (struct figure){.name = name, .kind = FIGURE_COUNTER, .whole = value});
}

static void times(struct figures *figures, const char *name, enum figure_kind kind,
                  const struct summary *summary)
{
    add(figures, (struct figure){.name = name, .kind = kind, .unit = 1000, .summary = summary});
}

static void sizes(struct figures *figures, const char *name, const struct summary *summary)
{
    add(figures, (struct figure){.name = name, .kind = FIGURE_BASIC, .unit = 1, .summary = summary});
}

static double average_ms(const struct keeper *keeper)
{
    return keeper->latency_count > 0 ? (double)keeper->latency_sum_us / 1000.0 / (double)keeper->latency_count
                                     : 0.0;
}

static void gather_gauges(struct keeper *keeper, struct figures *figures)
{
    struct keeper_stats stats;
    keeper_stats(keeper, &stats);
    const struct keeper_counts *counts = &keeper->counts;
    gauge(figures, "ephemerals_count", stats.ephemeral_count);
    gauge(figures, "num_alive_connections", stats.connection_count);
    real(figures, "avg_latency", average_ms(keeper));
    gauge(figures, "outstanding_requests", stats.outstanding);
    gauge(figures, "znode_count", stats.znode_count);
    gauge(figures, "global_sessions", stats.session_count);
    gauge(figures, "non_mtls_remote_conn_count", 0);
    gauge(figures, "last_client_response_size", counts->answer_last);
    gauge(figures, "packets_sent", stats.packets_sent);
    gauge(figures, "packets_received", stats.packets_received);
    gauge(figures, "max_client_response_size", counts->answer_greatest);
    real(figures, "connection_drop_probability", keeper->throttle.drop);
    gauge(figures, "watch_count", stats.watch_count);
    gauge(figures, "auth_failed_count", counts->auth_failed);
    gauge(figures, "min_latency", keeper->latency_min_us / 1000);
    gauge(figures, "max_file_descriptor_count", process_max_descriptors());
    gauge(figures, "approximate_data_size", stats.approximate_data_bytes);
    gauge(figures, "open_file_descriptor_count", process_open_descriptors());
    gauge(figures, "local_sessions", 0);
    gauge(figures, "uptime", loop_now_ms(keeper->loop) - keeper->begun_ms);
    gauge(figures, "max_latency", keeper->latency_max_us / 1000);
    gauge(figures, "min_client_response_size", counts->answer_least);
    gauge(figures, "non_mtls_local_conn_count", 0);
    gauge(figures, "outstanding_tls_handshake", 0);
}

static void gather_members(struct keeper *keeper, struct figures *figures)
{
    const struct keeper_counts *counts = &keeper->counts;
    struct status_learners learners;
    status_learners(keeper, &learners);
    gauge(figures, "quorum_size", learners.voters);
    if (keeper->office.state == OFFICE_LEADING) {
        gauge(figures, "learners", learners.followers + learners.observers);
        gauge(figures, "synced_followers", learners.followers);
        gauge(figures, "synced_non_voting_followers", 0);
        gauge(figures, "synced_observers", learners.observers);
        gauge(figures, "pending_syncs", 0);
        gauge(figures, "leader_uptime", loop_now_ms(keeper->loop) - keeper->led_from_ms);
        gauge(figures, "last_proposal_size", counts->proposal_last);
        gauge(figures, "min_proposal_size", counts->proposal_least);
        gauge(figures, "max_proposal_size", counts->proposal_greatest);
    }
    counter(figures, "looking_count", counts->lookings);
    counter(figures, "snap_count", quorum_times(keeper->quorum)->snapshots_sent);
    counter(figures, "proposal_count", counts->proposals);
    times(figures, "election_time", FIGURE_BASIC, &counts->election_us);
}

static void gather(struct keeper *keeper, struct figures *figures)
{
    figures->count = 0;
    struct keeper_counts *counts = &keeper->counts;
    struct quorum_stats log;
    quorum_stats(keeper->quorum, &log);
    const struct quorum_times *log_times = quorum_times(keeper->quorum);
    gather_gauges(keeper, figures);
    if (status_is_member(keeper)) gather_members(keeper, figures);

    counter(figures, "watch_bytes", counts->watch_bytes);
    counter(figures, "connection_rejected", keeper->rejected_count);
    counter(figures, "sessionless_connections_expired", counts->sessionless_expired);
    counter(figures, "bytes_received_count", counts->bytes_received);
    counter(figures, "response_bytes", counts->response_bytes);
    counter(figures, "connection_request_count", counts->connection_requests);
    counter(figures, "connection_revalidate_count", counts->revalidations);
    counter(figures, "large_requests_rejected", counts->large_requests);
    counter(figures, "stale_sessions_expired", keeper->expired_count);
    counter(figures, "sync_processor_request_queued", counts->log_entries);
    counter(figures, "unrecoverable_error_count", log.has_failed);
    counter(figures, "snapshot_error_count", counts->backups_failed[false]);
    counter(figures, "snapshot_rate_limited_count", counts->backups_limited[false]);
    counter(figures, "restore_error_count", counts->backups_failed[true]);
    counter(figures, "restore_rate_limited_count", counts->backups_limited[true]);

    times(figures, "fsynctime", FIGURE_BASIC, &log_times->sync_us);
    times(figures, "snapshottime", FIGURE_BASIC, &log_times->snapshot_us);
    times(figures, "restore_time", FIGURE_BASIC, &counts->restore_us);
    times(figures, "dbinittime", FIGURE_BASIC, &counts->recovery_us);
    times(figures, "startup_snap_load_time", FIGURE_BASIC, &log_times->load_us);
    times(figures, "startup_txns_load_time", FIGURE_BASIC, &log_times->replay_us);
    sizes(figures, "startup_txns_loaded", &log_times->replayed);
    sizes(figures, "sync_processor_batch_size", &log_times->sync_entries);
    sizes(figures, "node_created_watch_count", &counts->told[EVENT_CREATED]);
    sizes(figures, "node_deleted_watch_count", &counts->told[EVENT_DELETED]);
    sizes(figures, "node_changed_watch_count", &counts->told[EVENT_DATA_CHANGED]);
    sizes(figures, "node_children_watch_count", &counts->told[EVENT_CHILDREN_CHANGED]);
    times(figures, "readlatency", FIGURE_ADVANCED, &counts->read_us);
    times(figures, "updatelatency", FIGURE_ADVANCED, &counts->update_us);
}

void figures_reset_counts(struct keeper_counts *counts)
{
    *counts = (struct keeper_counts){.answer_last = -1,
                                     .answer_least = -1,
                                     .answer_greatest = -1,
                                     .proposal_last = -1,
                                     .proposal_least = -1,
                                     .proposal_greatest = -1};
}

void figures_reset(struct keeper *keeper)
{
    int64_t entries = keeper->counts.log_entries;
    figures_reset_counts(&keeper->counts);
    keeper->counts.log_entries = entries;
    struct quorum_times *log_times = quorum_times(keeper->quorum);
    *log_times = (struct quorum_times){0};
    keeper->packets_received = keeper->packets_sent = 0;
    keeper->latency_count = keeper->latency_sum_us = keeper->latency_min_us = keeper->latency_max_us = 0;
    keeper->rejected_count = keeper->expired_count = 0;
}

/* --- as lines and as JSON --- */

/* Whatever shows it: a whole number, or a real one. */
struct show {
    void (*whole)(void *context, const char *name, int64_t value);
    void (*real)(void *context, const char *name, double value);
    void *context;
};

static void show_summary(const struct figure *figure, const struct show *show)
{
    static const struct {
        const char *prefix;
        double q;
    } quantiles[] = {{"p50_", 0.5}, {"p95_", 0.95}, {"p99_", 0.99}, {"p999_", 0.999}};
    const struct summary *summary = figure->summary;
    char name[96];
    double sum = (double)summary_sum(summary) / figure->unit;
    snprintf(name, sizeof name, "avg_%s", figure->name);
    show->real(show->context, name, summary->count > 0 ? sum / (double)summary->count : 0);
    snprintf(name, sizeof name, "min_%s", figure->name);
    show->whole(show->context, name, (int64_t)((double)summary->least / figure->unit));
    snprintf(name, sizeof name, "max_%s", figure->name);
    show->whole(show->context, name, (int64_t)((double)summary->greatest / figure->unit));
    snprintf(name, sizeof name, "cnt_%s", figure->name);
    show->whole(show->context, name, (int64_t)summary->count);
    snprintf(name, sizeof name, "sum_%s", figure->name);
    show->whole(show->context, name, (int64_t)sum);
    for (size_t i = 0; i < 4 && figure->kind == FIGURE_ADVANCED; i++) {
        snprintf(name, sizeof name, "%s%s", quantiles[i].prefix, figure->name);
        show->whole(show->context, name,
                    (int64_t)((double)summary_quantile(summary, quantiles[i].q) / figure->unit));
    }
}

static void show_all(struct keeper *keeper, const struct show *show)
{
    struct figures figures;
    gather(keeper, &figures);
    for (size_t i = 0; i < figures.count; i++) {
        const struct figure *figure = &figures.items[i];
        if (figure->summary) {
            show_summary(figure, show);
        } else if (figure->is_real) {
            show->real(show->context, figure->name, figure->real);
        } else {
            show->whole(show->context, figure->name, figure->whole);
        }
    }
}

static void line_whole(void *context, const char *name, int64_t value)
{
    text_addf(context, "zk_%s\t%" PRId64 "\n", name, value);
}

static void line_real(void *context, const char *name, double value)
{
    text_addf(context, "zk_%s\t", name);
    text_add_real(context, value);
    text_addc(context, '\n');
}

void figures_mntr(struct keeper *keeper, struct text *out)
{
    text_addf(out, "zk_version\t%s\nzk_server_state\t%s\n", KEEPER_VERSION, status_mode(keeper));
    if (status_peer_state(keeper)) text_addf(out, "zk_peer_state\t%s\n", status_peer_state(keeper));
    show_all(keeper, &(struct show){line_whole, line_real, out});
}

static void report_whole_of(void *context, const char *name, int64_t value)
{
    report_number(context, name, value);
}

static void report_real_of(void *context, const char *name, double value)
{
    report_real(context, name, value);
}

void figures_report(struct keeper *keeper, struct report *report)
{
    report_text(report, "version", SLICE(KEEPER_VERSION));
    report_text(report, "server_state", slice_of(status_mode(keeper)));
    if (status_peer_state(keeper)) report_text(report, "peer_state", slice_of(status_peer_state(keeper)));
    show_all(keeper, &(struct show){report_whole_of, report_real_of, report});
}

/* --- for Prometheus --- */

static void prometheus_summary(const struct figure *figure, struct text *out)
{
    static const char *const quantiles[] = {"0.5", "0.9", "0.99"};
    const struct summary *summary = figure->summary;
    size_t count = figure->kind == FIGURE_ADVANCED ? 3 : 1;
    for (size_t i = 0; i < count; i++) {
        double value = (double)summary_quantile(summary, strtod(quantiles[i], NULL)) / figure->unit;
        text_addf(out, "%s{quantile=\"%s\"} ", figure->name, quantiles[i]);
        text_addf(out, summary->count > 0 ? "%.9g\n" : "NaN\n", value);
    }
    text_addf(out, "%s_count %" PRIu64 "\n", figure->name, summary->count);
    text_addf(out, "%s_sum %.9g\n", figure->name, (double)summary_sum(summary) / figure->unit);
}

void figures_prometheus(struct keeper *keeper, struct text *out)
{
    static const char *const types[] = {"gauge", "counter", "summary", "summary"};
    struct figures figures;
    gather(keeper, &figures);
    for (size_t i = 0; i < figures.count; i++) {
        const struct figure *figure = &figures.items[i];
        metrics_family(out, figure->name, types[figure->kind], figure->name);
        if (figure->summary) {
            prometheus_summary(figure, out);
        } else {
            metrics_sample(out, figure->name, "", figure->is_real ? figure->real : (double)figure->whole);
        }
    }
    process_metrics(out);
    metrics_family(out, "odradek_build_info", "gauge", "1; the labels say what runs");
    metrics_sample(out, "odradek_build_info", "version=\"" ODRADEK_VERSION "\"", 1);
}
