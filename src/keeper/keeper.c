/* keeper.c: log and machine put together, and the ways in and out. */
#include "keeper/keeper.h"

#include <assert.h>
#include <stdlib.h>

#include "base/diag.h"
#include "keeper/figures.h"
#include "keeper/inside.h"
#include "loop/tls.h"

enum { SCRATCH_SIZE = 64 << 10, TRACE_MASK = 306 /* as ZooKeeper's */ };

void keeper_config_init(struct keeper_config *config)
{
    *config = (struct keeper_config){
        .server_id = 1,
        .tick_time_ms = 3000,
        .min_session_timeout_ms = -1,
        .max_session_timeout_ms = -1,
        .max_client_cnxns = 60,
        .listen_backlog = -1,
        .jute_max_buffer = 0xfffff,
        .global_outstanding_limit = 1000,
        .sessionless_ms = 10000,
        .snap_count = 100000,
        .container_check_ms = 60000,
        .container_per_minute = 10000,
        .snap_size_bytes = 256 << 20,
        .snap_retain_count = 2,
        .fsync_warning_ms = 1000,
        .force_sync = true,
        .shows_digests = true,
        .four_letter_words = "srvr",
        .patience_ms = 2000,
        .has_admin_snapshot = true,
        .has_admin_restore = true,
        .admin_interval_ms = 300000,
    };
    throttle_config_init(&config->throttle);
}

/* --- the machine behind the log --- */

static enum error on_restore(void *context, struct slice chunk)
{
    struct keeper *keeper = context;
    return machine_restore(&keeper->machine, chunk);
}

static enum error on_restored(void *context, uint64_t index)
{
    struct keeper *keeper = context;
    enum error err = machine_restored(&keeper->machine);
    if (err == OK) keeper->saved_zxid = keeper->machine.zxid;
    return err;
}

/* Not every write: whoever passes a quota does it again and again. */
static void tell_quota(struct keeper *keeper)
{
    const struct text *path = &keeper->machine.outcome.over_quota;
    int64_t now_ms = loop_now_ms(keeper->loop);
    if (path->size == 0 || now_ms < keeper->quota_told_ms + QUOTA_TOLD_EVERY_MS) return;
    keeper->quota_told_ms = now_ms;
    diag_warn("a write to \"%.*s\" %s a quota above it", (int)path->size, path->data,
              keeper->machine.outcome.err == OK ? "passes" : "would pass");
}

static void on_failed(void *context, enum error err);

static void stop_parted(struct keeper *keeper)
{
    diag_error(
        "what is in \"%s\" differs from what the leader has, and is served no more; without its files this "
        "member gets everything anew from the others",
        keeper->config.data_dir);
    on_failed(keeper, ERR_CORRUPT);
}

/* ZooKeeper's history: the digest of the tree after every 128th change. */
static void digests_note(struct keeper *keeper)
{
    int64_t zxid = keeper->machine.zxid;
    if (zxid % DIGEST_INTERVAL != 0 || zxid == keeper->digest_zxid || !keeper->config.shows_digests) return;
    keeper->digest_zxid = zxid;
    if (!keeper->digests) keeper->digests = calloc(DIGESTS_KEPT, sizeof *keeper->digests);
    if (!keeper->digests) return; /* it is only shown */
    keeper->digests[keeper->digest_count++ % DIGESTS_KEPT] =
        (struct tree_digest_at){zxid, keeper->machine.tree.digest};
}

static enum error on_apply(void *context, uint64_t index, uint64_t term, struct slice entry)
{
    struct keeper *keeper = context;
    const struct tree *tree = &keeper->machine.tree;
    int64_t znodes = tree->count, bytes = tree->data_bytes;
    enum error err = machine_apply(&keeper->machine, entry);
    if (err == OK) digests_note(keeper);
    if (err != OK || !keeper->machine.wants_events) return err; /* recovering: nobody listens */
    if (tree->count < znodes || tree->data_bytes < bytes - TRIM_NOTED_BYTES) {
        int64_t freed = (znodes - tree->count) * (int64_t)sizeof(struct znode) + bytes - tree->data_bytes;
        if (freed > 0) trim_consider(keeper, (size_t)freed);
    }
    tell_quota(keeper);
    if (keeper->events.audit) audit_applied(keeper, index, entry);
    events_fire(keeper);
    request_applied(keeper, index);
    if (keeper->machine.has_parted && !keeper->has_failed) stop_parted(keeper);
    return OK;
}

/* One that goes on may close another, or stall again. */
static void resume_stalled(struct keeper *keeper)
{
    struct list waiting;
    list_init(&waiting);
    while (!list_empty(&keeper->stalled)) {
        struct list *item = keeper->stalled.next;
        list_remove(item);
        list_push_back(&waiting, item);
    }
    while (!list_empty(&waiting)) {
        struct conn *conn = CONTAINER_OF(waiting.next, struct conn, stalled);
        conn_resume(conn);
        if (!list_empty(&waiting) && waiting.next == &conn->stalled) { /* it cannot yet */
            list_remove(&conn->stalled);
            list_push_back(&keeper->stalled, &conn->stalled);
        }
        if (keeper->is_closing) break;
    }
    while (!list_empty(&waiting)) {
        struct list *item = waiting.next;
        list_remove(item);
        list_push_back(&keeper->stalled, item);
    }
}

static void on_applied(void *context)
{
    struct keeper *keeper = context;
    if (keeper->is_closing) return;
    if (keeper->office.state != OFFICE_ALONE) office_applied(keeper);
    resume_stalled(keeper);
    if (keeper->is_closing) return;
    backup_go_on(keeper);
    saver_consider(keeper);
    reaper_consider(keeper);
}

static void on_room(void *context)
{
    struct keeper *keeper = context;
    if (forward_append_held(keeper)) resume_stalled(keeper);
}

static void conns_close(struct keeper *keeper)
{
    while (!list_empty(&keeper->conns)) conn_close(CONTAINER_OF(keeper->conns.next, struct conn, all));
}

void keeper_cut_clients(struct keeper *keeper)
{
    keeper->is_serving = false; /* first: that a broker's connection ends now says nothing of the broker */
    conns_close(keeper);
}

void keeper_serve(struct keeper *keeper)
{
    if (keeper->has_failed) return;
    keeper->is_serving = true;
    bool is_first = !keeper->has_told_ready;
    keeper->has_told_ready = true;
    if (is_first) keeper->events.ready(keeper->context, OK);
    if (!keeper->is_closing) resume_stalled(keeper);
}

/* A snapshot of the leader's takes the place of all that is here. Clients come back and set their watches again. */
static void on_installing(void *context)
{
    struct keeper *keeper = context;
    keeper_cut_clients(keeper);
    saver_finish(keeper);
    keeper->is_machine_here = keeper->machine.wants_events = false;
    office_renew(keeper);
    session_free_all(keeper);
}

static void on_installed(void *context)
{
    struct keeper *keeper = context;
    summary_record(&keeper->counts.recovery_us, loop_clock_us(keeper->loop) - keeper->begun_us);
    keeper->is_machine_here = keeper->machine.wants_events = true;
    session_adopt_all(keeper);
    office_ready(keeper);
}

void keeper_fail(struct keeper *keeper, enum error err)
{
    on_failed(keeper, err);
}

static void on_failed(void *context, enum error err)
{
    struct keeper *keeper = context;
    keeper->has_failed = true;
    keeper_cut_clients(keeper);
    if (keeper->has_told_ready) {
        if (keeper->events.failed) keeper->events.failed(keeper->context, err);
    } else {
        keeper->has_told_ready = true;
        keeper->events.ready(keeper->context, err);
    }
}

static void on_snapshot_room(void *context)
{
    saver_room(context);
}

static void on_snapshot_done(void *context, enum error err)
{
    struct keeper *keeper = context;
    keeper->is_saving = false;
    if (err == OK) keeper->saved_zxid = keeper->saving_zxid;
    if (!keeper->is_closing) backup_saved(keeper, err);
}

static void on_ready(void *context, enum error err)
{
    struct keeper *keeper = context;
    if (err != OK) {
        keeper->has_told_ready = true;
        keeper->events.ready(keeper->context, err);
        return;
    }
    summary_record(&keeper->counts.recovery_us, loop_clock_us(keeper->loop) - keeper->begun_us);
    keeper->is_machine_here = keeper->machine.wants_events = true;
    session_adopt_all(keeper);
    office_ready(keeper);
}

static enum error on_save(void *context, void (*write)(void *to, struct slice chunk), void *to)
{
    struct keeper *keeper = context;
    machine_snapshot_begin(&keeper->machine, write, to);
    while (machine_snapshot_step(&keeper->machine, 1024)) continue;
    return OK;
}

static const struct quorum_machine machine_callbacks = {.restore = on_restore,
                                                        .restored = on_restored,
                                                        .apply = on_apply,
                                                        .installing = on_installing,
                                                        .installed = on_installed,
                                                        .save = on_save};
static const struct quorum_events quorum_callbacks = {.ready = on_ready,
                                                      .applied = on_applied,
                                                      .failed = on_failed,
                                                      .room = on_room,
                                                      .snapshot_done = on_snapshot_done,
                                                      .snapshot_room = on_snapshot_room,
                                                      .standing = office_standing,
                                                      .message = office_message,
                                                      .link = office_link,
                                                      .members = members_changed};

/* --- the ways in and out --- */

static void keeper_free(struct keeper *keeper)
{
    backup_free(&keeper->backup);
    keeper_free_dead(keeper);
    local_free_all(keeper);
    request_drop_pending(keeper);
    forward_drop_held(keeper);
    members_forget(keeper);
    session_free_all(keeper);
    watch_table_free(&keeper->watches);
    map_free(&keeper->by_host);
    machine_free(&keeper->machine);
    for (size_t i = 0; i < keeper->door_count; i++) tls_context_release(&keeper->doors[i].tls);
    text_free(&keeper->body);
    free(keeper->scratch);
    if (keeper->work) lane_free(keeper->work);
    text_free(&keeper->audit);
    free(keeper->digests);
    free((char *)keeper->config.data_dir);
    free((char *)keeper->config.data_log_dir);
    free((char *)keeper->config.initial_config);
    free((char *)keeper->config.super_digest);
    free((char *)keeper->config.x509_super_user);
    free((char *)keeper->config.super_users);
    free((char *)keeper->config.enforced_schemes);
    free((char *)keeper->config.ensemble_names);
    free((char *)keeper->config.four_letter_words);
    free(keeper);
}

static enum error open_parts(struct keeper *keeper, struct lane *sync)
{
    const struct keeper_config *config = &keeper->config;
    enum error err = lane_new(keeper->loop, "keeper", 1, &keeper->work);
    if (err != OK) return err;
    struct quorum_config quorum_config = {
        .dir = config->data_dir,
        .log_dir = config->data_log_dir,
        .prefix = "keeper-",
        .force_sync = config->force_sync,
        .room_step_bytes = config->pre_alloc_bytes,
        .slow_sync_ms = config->fsync_warning_ms,
        .snapshots_kept = config->snap_retain_count,
        .purge_interval_ms = config->purge_interval_ms,
        .leaves_silent = config->leaves_silent,
    };
    struct quorum_member founders[QUORUM_MEMBERS_MAX];
    if (config->server_count > 0) {
        for (size_t i = 0; i < config->server_count; i++) {
            const struct keeper_server *server = &config->servers[i];
            founders[i] = (struct quorum_member){.id = server->id,
                                                 .part = server->is_observer ? QUORUM_OBSERVER : QUORUM_VOTER,
                                                 .host = server->host,
                                                 .port = server->quorum_port,
                                                 .about = server->line};
        }
        quorum_config.id = config->server_id;
        quorum_config.tls = config->tls;
        quorum_config.founders = founders;
        quorum_config.founder_count = (int)config->server_count;
        quorum_config.listen_host = config->listens_on_all_ips ? "0.0.0.0" : NULL;
        quorum_config.heartbeat_ms = config->heartbeat_ms;
        quorum_config.election_ms = config->election_ms;
    }
    return quorum_open(&quorum_config, keeper->loop, keeper->disk, sync, keeper->work, &machine_callbacks,
                       &quorum_callbacks, keeper, &keeper->quorum);
}

/* Its texts become ours. False without memory. */
static bool take_config(struct keeper *keeper, const struct keeper_config *config)
{
    struct keeper_config *own = &keeper->config;
    *own = *config;
    if (!own->four_letter_words) own->four_letter_words = "";
    const char **texts[] = {&own->data_dir,       &own->data_log_dir,     &own->initial_config,
                            &own->super_digest,   &own->x509_super_user,  &own->super_users,
                            &own->ensemble_names, &own->enforced_schemes, &own->four_letter_words};
    bool has_all = own->data_dir;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *given = *texts[i];
        *texts[i] = slice_dup(slice_of(given));
        has_all = has_all && (*texts[i] || !given);
    }
    return has_all;
}

enum error keeper_open(const struct keeper_config *config, struct loop *loop, struct disk *disk,
                       struct lane *lane, const struct keeper_events *events, void *context,
                       struct keeper **result)
{
    assert(events->ready);
    if (config->tick_time_ms <= 0 || config->jute_max_buffer <= 0 || config->server_id < 1 ||
        config->server_id > QUORUM_MEMBER_ZERO || config->snap_count < 1 || config->container_check_ms < 1 ||
        config->container_per_minute < 1 || config->server_count > QUORUM_MEMBERS_MAX ||
        config->patience_ms < 0) {
        return ERR_CONFIG;
    }
    struct keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper) return ERR_NOMEM;
    bool has_memory = take_config(keeper, config);
    keeper->events = *events;
    keeper->context = context;
    keeper->loop = loop;
    keeper->disk = disk;
    keeper->begun_ms = loop_now_ms(loop);
    keeper->begun_us = loop_clock_us(loop);
    throttle_init(&keeper->throttle, &config->throttle, keeper->begun_ms);
    figures_reset_counts(&keeper->counts);
    keeper->trace_mask = TRACE_MASK;
    keeper->saved_zxid = -1;
    keeper->scratch = malloc(SCRATCH_SIZE);
    keeper->turn.run = keeper_turn;
    keeper->timeouts.run = keeper_timeouts;
    keeper->expiry.run = session_expiry;
    keeper->lost_timer.run = session_lost_expiry;
    keeper->reaper.run = reaper_run;
    keeper->trim.run = trim_run;
    keeper->saver_message.run = saver_run;
    keeper->touch_timer.run = forward_touches;
    struct list *lists[] = {&keeper->conns,  &keeper->fresh,   &keeper->finishing,
                            &keeper->dirty,  &keeper->stalled, &keeper->dead,
                            &keeper->locals, &keeper->lost,    &keeper->touched};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) list_init(lists[i]);
    for (int i = 0; i < BUCKETS; i++) list_init(&keeper->buckets[i]);
    machine_init(&keeper->machine, (uint8_t)config->server_id);
    office_open(keeper);

    enum error err = has_memory && keeper->scratch ? open_parts(keeper, lane) : ERR_NOMEM;
    if (err != OK) {
        keeper_free(keeper);
        return err;
    }
    *result = keeper;
    return OK;
}

enum error keeper_listen_tls(struct keeper *keeper, const char *host, uint16_t port,
                             struct tls_context *context, bool admits_plain)
{
    if (!keeper->is_serving && keeper->office.state == OFFICE_ALONE) return ERR_CLOSED;
    if (keeper->door_count == sizeof keeper->doors / sizeof *keeper->doors) return ERR_LIMIT;
    struct door *door = &keeper->doors[keeper->door_count];
    *door = (struct door){.keeper = keeper, .admits_plain = admits_plain};
    int backlog = keeper->config.listen_backlog > 0 ? keeper->config.listen_backlog : 50;
    enum error err = stream_listen(keeper->loop, host, port, backlog, conn_accept, door, &door->listener);
    if (err != OK) return err;
    if (context) door->tls = tls_context_retain(context);
    keeper->door_count++;
    return OK;
}

enum error keeper_listen(struct keeper *keeper, const char *host, uint16_t port)
{
    return keeper_listen_tls(keeper, host, port, NULL, false);
}

uint16_t keeper_port(const struct keeper *keeper)
{
    return keeper->door_count > 0 ? listener_port(keeper->doors[0].listener) : 0;
}

void keeper_end(struct keeper *keeper)
{
    if (!keeper->is_log_closed || keeper->is_turn_deferred || backup_is_busy(keeper)) return;
    void (*closed)(void *context) = keeper->closed;
    void *closed_context = keeper->closed_context;
    keeper_free(keeper);
    if (closed) closed(closed_context);
}

static void on_quorum_closed(void *context)
{
    struct keeper *keeper = context;
    keeper->is_log_closed = true;
    keeper_end(keeper);
}

void keeper_close(struct keeper **keeper, void (*closed)(void *context), void *context)
{
    struct keeper *held = *keeper;
    *keeper = NULL;
    if (!held) return;
    assert(!held->is_closing);
    held->is_closing = true;
    held->is_serving = false;
    held->closed = closed;
    held->closed_context = context;
    for (size_t i = 0; i < held->door_count; i++) listener_close(&held->doors[i].listener);
    conns_close(held);
    struct loop_timer *timers[] = {&held->timeouts, &held->expiry,      &held->lost_timer,
                                   &held->reaper,   &held->touch_timer, &held->trim};
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++) loop_timer_stop(held->loop, timers[i]);
    office_close(held);
    quorum_close(&held->quorum, on_quorum_closed, held);
}

void keeper_stats(const struct keeper *keeper, struct keeper_stats *stats)
{
    const struct tree *tree = &keeper->machine.tree;
    struct quorum_stats log;
    quorum_stats(keeper->quorum, &log);
    *stats = (struct keeper_stats){.log_syncs = log.syncs, .log_bytes = log.bytes_written};
    if (!keeper->is_machine_here) return;
    *stats = (struct keeper_stats){
        .zxid = keeper->machine.zxid,
        .znode_count = tree->count + 1, /* ZooKeeper counts the root twice, as "" and as "/" */
        .watch_count = keeper->watches.data_count + keeper->watches.child_count,
        .ephemeral_count = tree->ephemeral_count,
        .session_count = (int64_t)keeper->machine.sessions.count,
        .connection_count = (int64_t)keeper->conn_count,
        .outstanding = (int64_t)keeper->outstanding,
        .packets_received = keeper->packets_received,
        .packets_sent = keeper->packets_sent,
        .approximate_data_bytes = tree->data_bytes,
        .log_syncs = log.syncs,
        .log_bytes = log.bytes_written,
    };
}
