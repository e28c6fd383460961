/* keeper.c: log and machine put together, and the ways in and out. */
#include "keeper/keeper.h"

#include <assert.h>
#include <stdlib.h>

#include "base/diag.h"
#include "keeper/inside.h"
#include "loop/tls.h"

enum { SCRATCH_SIZE = 64 << 10 };

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
        .snap_count = 100000,
        .snap_size_bytes = 256 << 20,
        .force_sync = true,
        .four_letter_words = "srvr",
    };
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
    return machine_restored(&keeper->machine);
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

static enum error on_apply(void *context, uint64_t index, uint64_t term, struct slice entry)
{
    struct keeper *keeper = context;
    enum error err = machine_apply(&keeper->machine, entry);
    if (err != OK || !keeper->machine.wants_events) return err; /* recovering: nobody listens */
    tell_quota(keeper);
    events_fire(keeper);
    request_applied(keeper, index);
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
    resume_stalled(keeper);
    saver_consider(keeper);
    reaper_consider(keeper);
}

static void on_room(void *context)
{
    resume_stalled(context);
}

static void conns_close(struct keeper *keeper)
{
    while (!list_empty(&keeper->conns)) conn_close(CONTAINER_OF(keeper->conns.next, struct conn, all));
}

static void on_failed(void *context, enum error err)
{
    struct keeper *keeper = context;
    keeper->has_failed = true;
    bool was_serving = keeper->is_serving;
    keeper->is_serving = false;
    conns_close(keeper);
    if (keeper->events.failed && was_serving) keeper->events.failed(keeper->context, err);
    if (!was_serving) keeper->events.ready(keeper->context, err);
}

static void on_snapshot_room(void *context)
{
    saver_room(context);
}

static void on_snapshot_done(void *context, enum error err)
{
    struct keeper *keeper = context;
    keeper->is_saving = false;
}

static void on_ready(void *context, enum error err)
{
    struct keeper *keeper = context;
    if (err == OK) {
        keeper->machine.wants_events = true;
        keeper->closes_left = 0;
        LIST_EACH(&keeper->machine.session_list, item)
        {
            struct session *session = CONTAINER_OF(item, struct session, all);
            err = session_adopt(keeper, session);
            if (err != OK) break;
            keeper->closes_left += session->is_local_door;
        }
        if (err == OK && keeper->closes_left > 0) return; /* ready when they are closed */
        keeper->is_serving = err == OK;
    }
    keeper->events.ready(keeper->context, err);
}

static const struct quorum_machine machine_callbacks = {on_restore, on_restored, on_apply};
static const struct quorum_events quorum_callbacks = {on_ready, on_applied,       on_failed,
                                                      on_room,  on_snapshot_done, on_snapshot_room};

/* --- the ways in and out --- */

static void keeper_free(struct keeper *keeper)
{
    keeper_free_dead(keeper);
    local_free_all(keeper);
    while (keeper->pending_first) {
        struct request *request = keeper->pending_first;
        keeper->pending_first = request->next_pending;
        free(request);
    }
    session_free_all(keeper);
    watch_table_free(&keeper->watches);
    map_free(&keeper->by_host);
    machine_free(&keeper->machine);
    for (size_t i = 0; i < keeper->door_count; i++) tls_context_release(&keeper->doors[i].tls);
    text_free(&keeper->body);
    free(keeper->scratch);
    if (keeper->work) lane_free(keeper->work);
    free((char *)keeper->config.data_dir);
    free((char *)keeper->config.super_digest);
    free((char *)keeper->config.x509_super_user);
    free((char *)keeper->config.four_letter_words);
    free(keeper);
}

static enum error open_parts(struct keeper *keeper, struct lane *sync)
{
    const struct keeper_config *config = &keeper->config;
    enum error err = lane_new(keeper->loop, "keeper", 1, &keeper->work);
    if (err != OK) return err;
    struct quorum_config quorum_config = {
        .dir = config->data_dir, .prefix = "keeper-", .force_sync = config->force_sync};
    return quorum_open(&quorum_config, keeper->loop, keeper->disk, sync, keeper->work, &machine_callbacks,
                       &quorum_callbacks, keeper, &keeper->quorum);
}

enum error keeper_open(const struct keeper_config *config, struct loop *loop, struct disk *disk,
                       struct lane *lane, const struct keeper_events *events, void *context,
                       struct keeper **result)
{
    assert(events->ready);
    if (config->tick_time_ms <= 0 || config->jute_max_buffer <= 0 || config->server_id < 1 ||
        config->server_id > 254 || config->snap_count < 1) {
        return ERR_CONFIG;
    }
    struct keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper) return ERR_NOMEM;
    keeper->config = *config;
    keeper->config.data_dir = slice_dup(slice_of(config->data_dir));
    keeper->config.super_digest = slice_dup(slice_of(config->super_digest));
    keeper->config.x509_super_user = slice_dup(slice_of(config->x509_super_user));
    keeper->config.four_letter_words =
        slice_dup(slice_of(config->four_letter_words ? config->four_letter_words : ""));
    keeper->events = *events;
    keeper->context = context;
    keeper->loop = loop;
    keeper->disk = disk;
    keeper->begun_ms = loop_now_ms(loop);
    keeper->scratch = malloc(SCRATCH_SIZE);
    keeper->turn.run = keeper_turn;
    keeper->timeouts.run = keeper_timeouts;
    keeper->expiry.run = session_expiry;
    keeper->lost_timer.run = session_lost_expiry;
    keeper->reaper.run = reaper_run;
    keeper->saver_message.run = saver_run;
    struct list *lists[] = {&keeper->conns,   &keeper->fresh, &keeper->finishing, &keeper->dirty,
                            &keeper->stalled, &keeper->dead,  &keeper->locals,    &keeper->lost};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) list_init(lists[i]);
    for (int i = 0; i < BUCKETS; i++) list_init(&keeper->buckets[i]);
    machine_init(&keeper->machine, (uint8_t)config->server_id);

    bool has_memory = keeper->config.data_dir && keeper->scratch && keeper->config.four_letter_words &&
                      (keeper->config.super_digest || !config->super_digest) &&
                      (keeper->config.x509_super_user || !config->x509_super_user);
    enum error err = has_memory ? open_parts(keeper, lane) : ERR_NOMEM;
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
    if (!keeper->is_serving) return ERR_CLOSED;
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
    if (!keeper->is_log_closed || keeper->is_turn_deferred) return;
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
    struct loop_timer *timers[] = {&held->timeouts, &held->expiry, &held->lost_timer, &held->reaper};
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++) loop_timer_stop(held->loop, timers[i]);
    quorum_close(&held->quorum, on_quorum_closed, held);
}

void keeper_stats(const struct keeper *keeper, struct keeper_stats *stats)
{
    const struct tree *tree = &keeper->machine.tree;
    struct quorum_stats log;
    quorum_stats(keeper->quorum, &log);
    *stats = (struct keeper_stats){
        .zxid = keeper->machine.zxid,
        .znode_count = tree->count + 1, /* ZooKeeper counts the root twice, as "" and as "/" */
        .watch_count = keeper->watches.count,
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
