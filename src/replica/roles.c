/* roles.c: a partition's home loop changes its role, and tells who listens. */
#include "base/diag.h"
#include "replica/replicas_parts.h"

enum { LAG_MAX_MS = 30000 }; /* where nobody says */

void replica_loop_init(struct replica_loop *here, struct replicas *replicas, struct loop *loop)
{
    here->owner = replicas;
    here->loop = loop;
    here->lag_timer.run = others_check_lag;
    int64_t lag_max_ms = replicas->options.lag_max_ms > 0 ? replicas->options.lag_max_ms : LAG_MAX_MS;
    here->cluster = (struct partition_cluster){
        .lag_max_ms = lag_max_ms, .peers.broker_epoch = -1, .propose = others_propose, .context = here};
    fetchers_init(&here->fetchers, loop, replicas->options.broker_id, &replicas->options.fetch,
                  &here->cluster.peers);
    moves_init(&here->moves, loop, replicas->options.copy_lane, &replicas->throttle_moves);
    here->moves.ended = replica_move_ended;
    here->moves.context = replicas;
}

static void tell(struct replicas *replicas, struct partition *partition, bool leads)
{
    for (struct role_listener *l = replicas->listeners; l; l = l->next) {
        void (*told)(void *, struct partition *) = leads ? l->led : l->resigned;
        if (told) told(l->context, partition);
    }
}

void replica_count_role(struct replicas *replicas, const struct partition *partition, int64_t sign)
{
    if (partition->role != PARTITION_LEADER) return;
    replica_count_add(&replicas->count.leaders, sign);
    if (partition->isr.count < partition->isr.assigned_count)
        replica_count_add(&replicas->count.under_replicated, sign);
    if (partition->isr.count < partition_effective_min_insync(partition)) {
        replica_count_add(&replicas->count.under_min_isr, sign);
    }
}

void replica_apply_rules(struct replicas *replicas, struct partition *partition)
{
    struct topic_rules rules;
    replicas->options.topic_rules(replicas->options.context, partition_topic(partition), &rules);
    if (partition->log) log_configure(partition->log, &rules.log);
    if (partition->move) log_configure(moves_future(partition), &rules.log);
    throttle_set_rate(&replicas->throttle_moves, rules.move_rate);
    replica_count_role(replicas, partition, -1);
    partition_set_min_insync_replicas(partition, rules.min_insync_replicas);
    replica_count_role(replicas, partition, +1);
    throttle_set_rate(&replicas->throttle_out, rules.leader_rate);
    throttle_set_rate(&replicas->throttle_in, rules.follower_rate);
    bool is_slow_out = throttle_names(rules.throttled_leaders, partition->index, partition->self_id);
    bool is_slow_in = throttle_names(rules.throttled_followers, partition->index, partition->self_id);
    partition->throttle_out = is_slow_out ? &replicas->throttle_out : NULL;
    partition->throttle_in = is_slow_in ? &replicas->throttle_in : NULL;
    bool must_sync = rules.log.flush_messages == 1;
    if (must_sync != partition_syncs_before_ack(partition))
        partition_set_sync_before_ack(partition, must_sync);
}

struct log_home *replica_home(struct replica_loop *here)
{
    if (!here->has_home) {
        log_home_init(&here->home, here->owner->options.store, here->loop);
        here->has_home = true;
    }
    return &here->home;
}

/* A log that was without one has been given it, on the control loop. Who follows by name follows by id from now on. */
static void take_topic_id(struct partition *partition)
{
    if (uuid_is_zero(log_topic_id(partition->log))) return;
    fetchers_unfollow(partition);
    partition->topic_id = *log_topic_id(partition->log);
}

enum error replica_change_role(struct replica_loop *here, struct partition *partition,
                               const struct partition_assignment *assignment)
{
    struct replicas *replicas = here->owner;
    if (!partition->log) {
        log_set_home(partition->control.log, replica_home(here));
        partition->cluster = &here->cluster;
        partition_set_log(partition, partition->control.log);
        replica_apply_rules(replicas, partition);
        struct log *future = partition->control.future;
        if (future && moves_begin(&here->moves, partition, future, replica_home(here)) != OK)
            diag_warn("\"%.*s-%d\" is not moved before the next start: %s",
                      SLICE_ARG(partition_topic(partition)), partition->index, error_text(ERR_NOMEM));
    }
    moves_look(partition);
    if (uuid_is_zero(&partition->topic_id)) take_topic_id(partition);
    bool led = partition->role == PARTITION_LEADER;
    bool leads = assignment->leader == partition->self_id;
    if (led && !leads) tell(replicas, partition, false);
    if (leads) fetchers_unfollow(partition);
    replica_count_role(replicas, partition, -1);
    enum error err = leads ? partition_become_leader(partition, assignment)
                           : partition_become_follower(partition, assignment);
    replica_count_role(replicas, partition, +1);
    if (err == OK && leads) tell(replicas, partition, true);
    if (err != OK && led && !leads) tell(replicas, partition, true);
    if (err == OK && !leads) err = fetchers_follow(&here->fetchers, partition);
    if (err == OK && leads) partition_check_lag(partition); /* a member of its ISR may be dead already */
    return err;
}

void replica_stop(struct replica_loop *here, struct partition *partition)
{
    if (partition->role == PARTITION_LEADER) tell(here->owner, partition, false);
    fetchers_unfollow(partition);
    replica_count_role(here->owner, partition, -1);
    partition_stop(partition);
}
