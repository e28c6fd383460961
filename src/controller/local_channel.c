/* local_channel.c: the own broker as a broker like any other: its requests go to the appliers, one at a time and in order. */
#include "base/diag.h"
#include "controller/controller.h"

#include <stdlib.h>

struct local_channel {
    int32_t id;
    struct metadata *metadata;
    struct config_watch *configs;
    struct broker_appliers appliers;
    struct controller_channel remote;
    bool has_remote;
    struct controller_rpc *first, *last;
    bool is_busy, is_freed, is_running;
};

static void run(struct local_channel *local);

static void finish(struct local_channel *local)
{
    struct controller_rpc *rpc = local->first;
    local->first = rpc->next;
    if (!local->first) local->last = NULL;
    local->is_busy = false;
    rpc->next = NULL;
    rpc->err = local->is_freed ? ERR_CANCELLED : OK;
    rpc->done(rpc);
    if (!local->is_freed)
        run(local);
    else if (!local->first)
        free(local);
    else
        finish(local);
}

static void applied(void *context)
{
    finish(context);
}

static void configs_known(void *context)
{
    struct local_channel *local = context;
    struct controller_rpc *rpc = local->first;
    if (local->is_freed)
        finish(local);
    else
        local->appliers.leader_and_isr(local->appliers.context, &rpc->request.leader_and_isr, &rpc->arena,
                                       &rpc->response.leader_and_isr, applied, local);
}

static void apply(struct local_channel *local, struct controller_rpc *rpc)
{
    if (rpc->api_key == 6) {
        enum error err = metadata_apply_update(local->metadata, &rpc->request.update_metadata);
        if (err != OK) diag_warn("did not take over UpdateMetadata: %s", error_text(err));
        rpc->response.update_metadata.error_code = error_kafka_code(err);
        finish(local);
    } else if (rpc->api_key == 5) {
        local->appliers.stop_replica(local->appliers.context, &rpc->request.stop_replica, &rpc->arena,
                                     &rpc->response.stop_replica, applied, local);
    } else {
        const struct leader_and_isr_request *request = &rpc->request.leader_and_isr;
        size_t count = (size_t)request->topic_states.count;
        struct slice *names = local->configs ? arena_array(&rpc->arena, count + 1, sizeof *names) : NULL;
        for (size_t i = 0; names && i < count; i++) names[i] = request->topic_states.items[i].topic_name;
        if (names)
            config_watch_need_topics(local->configs, names, count, configs_known, local);
        else
            configs_known(local);
    }
}

/* A loop, not a recursion: an applier may be done before it returns. */
static void run(struct local_channel *local)
{
    if (local->is_running) return;
    local->is_running = true;
    while (local->first && !local->is_busy && !local->is_freed) {
        local->is_busy = true;
        apply(local, local->first);
    }
    local->is_running = false;
}

static void send_rpc(void *context, struct controller_rpc *rpc)
{
    struct local_channel *local = context;
    if (rpc->broker_id != local->id) {
        if (local->has_remote) {
            local->remote.send(local->remote.context, rpc);
        } else {
            rpc->err = ERR_CANCELLED;
            rpc->done(rpc);
        }
        return;
    }
    rpc->next = NULL;
    if (local->last)
        local->last->next = rpc;
    else
        local->first = rpc;
    local->last = rpc;
    run(local);
}

static void broker_added(void *context, const struct broker_registration *broker, int64_t broker_epoch)
{
    struct local_channel *local = context;
    if (broker->id != local->id && local->has_remote)
        local->remote.broker_added(local->remote.context, broker, broker_epoch);
}

static void broker_removed(void *context, int32_t broker_id)
{
    struct local_channel *local = context;
    if (broker_id != local->id && local->has_remote)
        local->remote.broker_removed(local->remote.context, broker_id);
}

enum error local_channel_new(int32_t own_broker_id, struct metadata *metadata, struct config_watch *configs,
                             const struct broker_appliers *appliers, const struct controller_channel *remote,
                             struct local_channel **local)
{
    struct local_channel *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    *made = (struct local_channel){
        .id = own_broker_id, .metadata = metadata, .configs = configs, .appliers = *appliers};
    if (remote) {
        made->remote = *remote;
        made->has_remote = true;
    }
    *local = made;
    return OK;
}

void local_channel_free(struct local_channel **local)
{
    struct local_channel *freed = *local;
    if (!freed) return;
    *local = NULL;
    freed->is_freed = true;
    /* What is with an applier ends there; the rest is answered now. */
    if (freed->is_busy) return;
    if (freed->first)
        finish(freed);
    else
        free(freed);
}

struct controller_channel local_channel_table(struct local_channel *local)
{
    return (struct controller_channel){local, broker_added, broker_removed, send_rpc};
}
