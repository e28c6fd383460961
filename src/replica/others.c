/* others.c: what the other brokers are to our partitions: who lives, which ISR the controller is told of, who fell behind. */
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "replica/replicas_parts.h"

/* --- who lives: from the image to every loop --- */

struct peers_message {
    struct loop_message message;
    struct replica_loop *here;
    struct peers peers;
};

static void check_all(struct replica_loop *here)
{
    struct partition *partition;
    for (size_t i = 0; (partition = partition_table_next(&here->table, &i));) {
        if (partition->home == here->loop) partition_check_lag(partition);
    }
}

static void peers_arrived(struct loop_message *message)
{
    struct peers_message *arrived = CONTAINER_OF(message, struct peers_message, message);
    struct replica_loop *here = arrived->here;
    peers_free(&here->cluster.peers);
    here->cluster.peers = arrived->peers;
    free(arrived);
    if (here->is_closed) return;
    fetchers_peers_changed(&here->fetchers);
    check_all(here); /* an ISR may have lost a member */
    /* And nobody waits for the log of a dead broker to begin later. */
    struct partition *partition;
    for (size_t i = 0; (partition = partition_table_next(&here->table, &i));) {
        if (partition->home == here->loop) partition_wake(partition, CHANGE_LOW);
    }
}

static struct slice listener_of(const struct replicas *replicas)
{
    return replicas->options.listener;
}

static void tell_peers(struct replicas *replicas, const struct image *image)
{
    int64_t broker_epoch = metadata_broker_epoch(replicas->options.metadata);
    struct peers now;
    if (peers_of_image(image, listener_of(replicas), broker_epoch, &now) != OK) {
        diag_error("could not pass on which brokers live: %s", error_text(ERR_NOMEM));
        return;
    }
    bool is_news = !peers_equal(&now, &replicas->peers);
    peers_free(&replicas->peers);
    replicas->peers = now;
    for (size_t i = 0; is_news && i < replicas->options.loop_count; i++) {
        struct peers_message *message = calloc(1, sizeof *message);
        enum error err =
            message ? peers_of_image(image, listener_of(replicas), broker_epoch, &message->peers) : ERR_NOMEM;
        if (err != OK) {
            diag_error("could not pass on which brokers live: %s", error_text(err));
            free(message);
            continue;
        }
        message->message.run = peers_arrived;
        message->here = &replicas->loops[i];
        /* Not by a message to ourselves: a LeaderAndIsr may come right after the image. */
        if (i == 0 && loop_is_current(replicas->loops[0].loop))
            peers_arrived(&message->message);
        else
            loop_post(replicas->loops[i].loop, &message->message);
    }
}

static void on_image(void *context, const struct image *old, const struct image *image)
{
    (void)old;
    tell_peers(context, image);
}

/* --- proposals: home loop to control loop and back --- */

static struct replica_loop *home_of(const struct isr_change *change)
{
    return change->context;
}

static void answered_here(struct loop_message *message);

static void submit(struct loop_message *message)
{
    struct isr_change *change = CONTAINER_OF(message, struct isr_change, message);
    struct replicas *replicas = home_of(change)->owner;
    if (replicas->alter_isr)
        alter_isr_submit(replicas->alter_isr, change);
    else
        isr_change_free(change);
}

/* Control loop. */
static void answered(struct isr_change *change)
{
    change->message.run = answered_here;
    loop_post(home_of(change)->loop, &change->message);
}

enum { AGAIN_MS = 50 };

/* Home loop. */
static void answered_here(struct loop_message *message)
{
    struct isr_change *change = CONTAINER_OF(message, struct isr_change, message);
    struct replica_loop *here = home_of(change);
    struct slice topic = {change->topic, change->topic_size};
    struct partition *partition = partition_table_find(&here->table, topic, change->index);
    enum isr_outcome outcome = ISR_IGNORED;
    if (partition && partition->home == here->loop) {
        struct isr_answer answer = {.err = change->err,
                                    .leader_epoch = change->answer_leader_epoch,
                                    .partition_epoch = change->answer_partition_epoch,
                                    .isr = change->answer_isr,
                                    .isr_count = change->answer_isr_count};
        replica_count_role(here->owner, partition, -1);
        outcome = partition_isr_answered(partition, change->leader_epoch, change->partition_epoch, &answer);
        replica_count_role(here->owner, partition, +1);
    }
    if (outcome == ISR_WAITS) {
        diag_info("the controller knows more of \"%.*s-%d\" than we do (%s): waiting for its word",
                  SLICE_ARG(topic), change->index, error_text(change->err));
    }
    if (outcome != ISR_AGAIN) {
        isr_change_free(change);
        return;
    }
    change->not_before_ms = loop_now_ms(here->loop) + AGAIN_MS;
    change->message.run = submit;
    loop_post(here->owner->options.loops[0], &change->message);
}

void others_propose(void *context, struct partition *partition)
{
    struct replica_loop *here = context;
    const struct isr *isr = &partition->isr;
    struct isr_change *change =
        isr_change_new(partition_topic(partition), partition->index, isr->proposed_count);
    if (!change) {
        struct isr_answer answer = {.err = ERR_OPERATION_NOT_ATTEMPTED};
        (void)partition_isr_answered(partition, isr->leader_epoch, isr->partition_epoch, &answer);
        return;
    }
    change->context = here;
    change->done = answered;
    change->topic_id = partition->topic_id;
    change->leader_epoch = isr->leader_epoch;
    change->partition_epoch = isr->partition_epoch;
    for (int32_t i = 0; i < isr->proposed_count; i++) {
        const struct isr_replica *replica = isr_find(isr, isr->proposed[i]);
        change->ids[i] = isr->proposed[i];
        change->epochs[i] = replica ? replica->replica_epoch : -1;
        if (isr->proposed[i] == isr->self_id) change->epochs[i] = here->cluster.peers.broker_epoch;
    }
    change->message.run = submit;
    loop_post(here->owner->options.loops[0], &change->message);
}

/* --- who fell behind: each home loop, every half of the time that is allowed --- */

void others_check_lag(struct loop_timer *timer)
{
    struct replica_loop *here = CONTAINER_OF(timer, struct replica_loop, lag_timer);
    check_all(here);
    loop_timer_start(here->loop, timer, here->cluster.lag_max_ms / 2);
}

static void lag_start(struct loop_message *message)
{
    struct replica_loop *here = CONTAINER_OF(message, struct replica_loop, lag_start);
    if (!here->is_closed) loop_timer_start(here->loop, &here->lag_timer, here->cluster.lag_max_ms / 2);
}

/* --- begin and end --- */

enum error others_begin(struct replicas *replicas)
{
    struct replicas_options *options = &replicas->options;
    char *listener = slice_dup(options->listener.data ? options->listener : SLICE(""));
    options->listener = slice_of(listener);
    if (!listener) return ERR_NOMEM;
    if (options->controller_link) {
        enum error err = alter_isr_new(options->loops[0], options->controller_link, options->metadata,
                                       options->broker_id, &replicas->alter_isr);
        if (err != OK) return err;
    }
    replicas->on_image = (struct metadata_listener){.on_image = on_image, .context = replicas};
    metadata_listen(options->metadata, &replicas->on_image);
    replicas->peers.broker_epoch = -1;
    tell_peers(replicas, metadata_image(options->metadata));
    for (size_t i = 0; i < options->loop_count; i++) {
        replicas->loops[i].lag_start.run = lag_start;
        loop_post(replicas->loops[i].loop, &replicas->loops[i].lag_start);
    }
    return OK;
}

void others_end(struct replicas *replicas)
{
    if (replicas->on_image.on_image) metadata_unlisten(replicas->options.metadata, &replicas->on_image);
    replicas->on_image.on_image = NULL;
    alter_isr_free(&replicas->alter_isr);
}

void others_end_here(struct replica_loop *here)
{
    here->is_closed = true;
    loop_timer_stop(here->loop, &here->lag_timer);
    fetchers_close(&here->fetchers);
}
