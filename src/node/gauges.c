#include "node/gauges.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "broker/broker.h"
#include "controller/controller.h"
#include "keeper/keeper.h"
#include "loop/loop.h"
#include "metadata/metadata.h"
#include "metrics/metrics.h"
#include "replica/replicas.h"

/* Boards that draw one line for each partition do not survive more. */
enum { PARTITION_LINES_MAX = 10000 };

static void one(struct text *out, const char *name, const char *help, double value)
{
    metrics_family(out, name, "gauge", help);
    metrics_sample(out, name, "", value);
}

static void write_replicas(const struct gauges *gauges, struct text *out)
{
    struct replicas_count count;
    replicas_count(*gauges->replicas, &count);
    one(out, "kafka_server_replicamanager_partitioncount", "partitions with a replica here",
        (double)count.partitions);
    one(out, "kafka_server_replicamanager_leadercount", "partitions led here", (double)count.leaders);
    one(out, "kafka_server_replicamanager_underreplicatedpartitions", "led here, with replicas out of sync",
        (double)count.under_replicated);
    one(out, "kafka_server_replicamanager_underminisrpartitioncount",
        "led here, with an ISR below min.insync.replicas", (double)count.under_min_isr);
    one(out, "kafka_server_replicamanager_offlinereplicacount", "replicas in failed log directories",
        (double)count.offline);
}

static void write_broker(const struct gauges *gauges, struct text *out)
{
    one(out, "kafka_server_socketservermetrics_connection_count", "connections of clients and brokers",
        (double)broker_connection_count(*gauges->broker));
    one(out, "odradek_request_memory_bytes", "held by requests and answers, of queued.max.request.bytes",
        (double)broker_held_bytes(*gauges->broker));
}

static void write_controller(const struct gauges *gauges, struct text *out)
{
    bool is_active = controller_is_active(*gauges->controller);
    const struct image *image = metadata_image(*gauges->metadata);
    one(out, "kafka_controller_kafkacontroller_activecontrollercount", "1 on the controller", is_active);
    if (!is_active) return;
    int64_t offline = 0;
    const struct image_topic *topic = image_next_topic(image, SLICE_NULL, false);
    for (; topic; topic = image_next_topic(image, topic->name, true)) {
        for (int32_t i = 0; i < topic->partition_count; i++) {
            offline += topic->partitions[i] && topic->partitions[i]->leader < 0;
        }
    }
    one(out, "kafka_controller_kafkacontroller_offlinepartitionscount", "partitions without a leader",
        (double)offline);
    one(out, "kafka_controller_kafkacontroller_globaltopiccount", "topics of the cluster",
        (double)image_topic_count(image));
    one(out, "kafka_controller_kafkacontroller_globalpartitioncount", "partitions of the cluster",
        (double)image_partition_count(image));
    one(out, "kafka_brokers", "live brokers of the cluster", (double)image_broker_count(image));
}

/* The image says who leads, for the partition's own role belongs to its home loop. */
static const struct image_partition *known(const struct gauges *gauges, struct partition *partition)
{
    return image_partition(metadata_image(*gauges->metadata), partition_topic(partition),
                           partition_index(partition));
}

static void partition_sample(struct text *out, const char *name, struct partition *partition, double value)
{
    char labels[320];
    snprintf(labels, sizeof labels, "topic=\"%.*s\",partition=\"%" PRId32 "\"",
             SLICE_ARG(partition_topic(partition)), partition_index(partition));
    metrics_sample(out, name, labels, value);
}

static void write_partitions(const struct gauges *gauges, struct text *out)
{
    struct replicas_count count;
    replicas_count(*gauges->replicas, &count);
    if (count.partitions > PARTITION_LINES_MAX) return;
    static const char current[] = "kafka_topic_partition_current_offset";
    static const char leader[] = "kafka_topic_partition_leader";
    struct partition *partition;
    metrics_family(out, current, "gauge", "where the next committed record goes");
    for (size_t i = 0; (partition = replicas_next(*gauges->replicas, gauges->control, &i));) {
        const struct image_partition *state = known(gauges, partition);
        if (!state || state->leader != gauges->broker_id) continue;
        partition_sample(out, current, partition, (double)partition_high_watermark(partition));
    }
    metrics_family(out, leader, "gauge", "the broker that leads it, told by that broker");
    for (size_t i = 0; (partition = replicas_next(*gauges->replicas, gauges->control, &i));) {
        const struct image_partition *state = known(gauges, partition);
        if (state && state->leader == gauges->broker_id)
            partition_sample(out, leader, partition, state->leader);
    }
}

static void write_keeper(const struct gauges *gauges, struct text *out)
{
    struct keeper_stats stats;
    keeper_stats(*gauges->keeper, &stats);
    one(out, "znode_count", "znodes of the keeper in this process", (double)stats.znode_count);
    one(out, "watch_count", "watches set", (double)stats.watch_count);
    one(out, "ephemerals_count", "ephemeral znodes", (double)stats.ephemeral_count);
    one(out, "num_alive_connections", "connections of clients of the keeper", (double)stats.connection_count);
    one(out, "outstanding_requests", "requests not answered yet", (double)stats.outstanding);
    one(out, "approximate_data_size", "bytes of znodes", (double)stats.approximate_data_bytes);
}

static void write_process(struct text *out)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return;
    int read = fscanf(file, "%*s %ld", &pages);
    fclose(file);
    if (read != 1) return;
    one(out, "process_resident_memory_bytes", "resident memory",
        (double)pages * (double)sysconf(_SC_PAGESIZE));
}

static void write_all(void *context, struct text *out)
{
    const struct gauges *gauges = context;
    metrics_family(out, "odradek_build_info", "gauge", "1; the labels say what runs");
    metrics_sample(out, "odradek_build_info", "version=\"" ODRADEK_VERSION "\"", 1);
    write_process(out);
    if (*gauges->replicas) write_replicas(gauges, out);
    if (*gauges->broker) write_broker(gauges, out);
    if (*gauges->controller) write_controller(gauges, out);
    if (*gauges->keeper) write_keeper(gauges, out);
    if (*gauges->replicas) write_partitions(gauges, out);
}

void gauges_register(struct gauges *gauges, struct metrics *metrics)
{
    metrics_collector(metrics, write_all, gauges);
}
