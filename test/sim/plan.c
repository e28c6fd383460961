#include "plan.h"

#include "world.h"

bool plan_is_replicated(const struct plan *plan)
{
    return plan->replicas > 1;
}

static void draw_cluster(struct world *world)
{
    struct plan *plan = &world->plan;
    plan->brokers = world_chance(world, 3) ? (int)world_between(world, 4, 5) : 3;
    plan->loops = world_chance(world, 3) ? 2 : 1;
    plan->replicas = world_chance(world, 6) ? 1 : world_chance(world, 4) ? 2 : 3;
    if (world->forced_replicas > 0) plan->replicas = world->forced_replicas;
    plan->min_isr = plan->replicas == 1 ? 1 : 2;
    plan->has_blackouts = plan->has_power_cuts && plan->replicas > 1 && world_chance(world, 4);
    plan->keeper_session_ms = (int)world_between(world, 1000, 4000);
    plan->lag_ms = (int)world_between(world, 500, 4000);
    plan->steps = (int)world_between(world, 6, 16);
    bool is_replicated = plan_is_replicated(plan);
    plan->loose_producers = world_chance(world, 3) ? 1 : 0;
    plan->producers += plan->loose_producers;
    plan->has_racks = is_replicated && world_chance(world, 2);
    plan->deletes_records =
        world_chance(world, 3) && (plan->is_durable || (is_replicated && !plan->has_blackouts));
    /* Enough for three that catch up with producers who do not wait for them. */
    plan->throttle_bytes =
        is_replicated && world_chance(world, 4) ? (int)world_between(world, 500000, 1500000) : 0;
}

static void say(struct world *world)
{
    const struct plan *plan = &world->plan;
    world_note(
        world,
        "plan: %s, %s%s%s, dirs %d, producers %d, groups %d of %d, topics %d of %d, segments %d bytes %d ms",
        plan->is_durable ? "flush.messages=1" : "no flush",
        plan->has_power_cuts ? "power cuts" : "kills only", plan->has_lost_syncs ? ", lost syncs" : "",
        plan->is_spread ? ", spread" : "", plan->data_dirs, plan->producers, plan->groups,
        plan->members_per_group, plan->topics, plan->partitions_per_topic, plan->segment_bytes,
        plan->roll_ms);
    if (plan->brokers > 1) {
        world_note(
            world,
            "plan: %d brokers of %d loops, replicas %d, min ISR %d, sessions %d ms, lag %d ms%s%s%s%s, "
            "throttle %d, moves %d",
            plan->brokers, plan->loops, plan->replicas, plan->min_isr, plan->keeper_session_ms, plan->lag_ms,
            plan->has_blackouts ? ", blackouts" : "", plan->loose_producers > 0 ? ", acks=1" : "",
            plan->has_racks ? ", racks" : "", plan->deletes_records ? ", DeleteRecords" : "",
            plan->throttle_bytes, plan->move_bytes);
    }
}

void plan_draw(struct world *world, enum plan_kind plan_kind)
{
    struct plan *plan = &world->plan;
    int64_t kind = world_between(world, 0, 9);
    plan->brokers = plan->replicas = plan->min_isr = 1;
    plan->loops = 2;
    plan->is_durable = kind < 5;
    plan->has_power_cuts = kind < 8;
    plan->has_lost_syncs = plan->has_power_cuts && world_chance(world, 3);
    plan->is_spread = !world_chance(world, 4);
    plan->data_dirs = world_chance(world, 4) ? 2 : 1;
    plan->producers = (int)world_between(world, 1, 3);
    plan->groups = (int)world_between(world, 1, 2);
    plan->members_per_group = (int)world_between(world, 1, 3);
    plan->topics = (int)world_between(world, 1, 2);
    plan->partitions_per_topic = (int)world_between(world, 1, 3);
    plan->offsets_partitions = (int)world_between(world, 1, 3);
    plan->segment_bytes = world_chance(world, 2) ? (int)world_between(world, 20000, 100000) : 1 << 30;
    plan->roll_ms = world_chance(world, 4) ? (int)world_between(world, 500, 5000) : 3600 * 1000;
    plan->index_interval_bytes = world_chance(world, 2) ? (int)world_between(world, 0, 2000) : 4096;
    plan->checkpoint_ms = (int)world_between(world, 100, 5000);
    plan->session_ms = (int)world_between(world, 800, 3000);
    plan->steps = (int)world_between(world, 6, 14);
    plan->move_bytes =
        plan->data_dirs > 1 && world_chance(world, 2) ? (int)world_between(world, 20000, 500000) : 0;
    if (plan_kind == PLAN_CLUSTER) draw_cluster(world);
    world->history.is_durable = plan->is_durable;
    say(world);
}

void plan_settings(const struct world *world, int broker_id, struct text *out)
{
    const struct plan *plan = &world->plan;
    text_addf(out,
              "broker.id=%d\n"
              "listeners=PLAINTEXT://%s:%d\n"
              "log.dirs=/data/a%s\n"
              "auto.create.topics.enable=false\n"
              "offsets.topic.num.partitions=%d\n"
              "offsets.topic.replication.factor=%d\n"
              "offsets.retention.minutes=2000000000\n"
              "group.initial.rebalance.delay.ms=50\n"
              "group.min.session.timeout.ms=100\n"
              "log.retention.ms=-1\n"
              "log.message.timestamp.after.max.ms=9223372036854775807\n"
              "log.segment.bytes=%d\n"
              "log.roll.ms=%d\n"
              "log.index.interval.bytes=%d\n"
              "log.flush.offset.checkpoint.interval.ms=%d\n"
              "replica.high.watermark.checkpoint.interval.ms=%d\n",
              broker_id, world->servers[broker_id].host, WORLD_PORT, plan->data_dirs == 2 ? ",/data/b" : "",
              plan->offsets_partitions, plan->replicas, plan->segment_bytes, plan->roll_ms,
              plan->index_interval_bytes, plan->checkpoint_ms, plan->checkpoint_ms);
    if (plan->is_durable) text_addz(out, "log.flush.interval.messages=1\n");
    if (plan->move_bytes > 0)
        text_addf(out, "replica.alter.log.dirs.io.max.bytes.per.second=%d\n", plan->move_bytes);
    if (plan->brokers == 1) {
        text_addz(out, "keeper.client.port=0\n");
        return;
    }
    text_addf(out,
              "zookeeper.connect=%s:%d/kafka\n"
              "zookeeper.session.timeout.ms=%d\n"
              "min.insync.replicas=%d\n"
              "replica.lag.time.max.ms=%d\n"
              "replica.fetch.backoff.ms=200\n"
              "replica.fetch.wait.max.ms=200\n"
              "controlled.shutdown.retry.backoff.ms=300\n"
              "controller.socket.timeout.ms=3000\n"
              "leader.imbalance.check.interval.seconds=5\n",
              WORLD_KEEPER, WORLD_KEEPER_PORT, plan->keeper_session_ms, plan->min_isr, plan->lag_ms);
    if (plan->has_racks) {
        text_addf(out,
                  "broker.rack=" PLAN_RACK "\n"
                  "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector\n",
                  broker_id % PLAN_RACKS);
    }
    if (plan->throttle_bytes > 0) {
        text_addf(out, "leader.replication.throttled.rate=%d\nfollower.replication.throttled.rate=%d\n",
                  plan->throttle_bytes, plan->throttle_bytes);
    }
}
