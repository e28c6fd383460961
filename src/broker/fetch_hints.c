#include "broker/fetch_hints.h"

#include <string.h>

#include "broker/broker_state.h"
#include "broker/leaders.h"
#include "broker/request.h"
#include "settings/settings.h"
#include "wire/messages.h"

#define RACK_AWARE_SELECTOR "org.apache.kafka.common.replica.RackAwareReplicaSelector"

void fetch_tell_leaders(struct request *request, bool uses_ids, struct fetch_response *response)
{
    if (request->version < 16) return;
    const struct image *image = request_image(request);
    struct leader_set leaders = {0};
    for (int32_t t = 0; t < response->responses.count; t++) {
        struct fetch_response_fetchable_topic_response *topic = &response->responses.items[t];
        for (int32_t i = 0; i < topic->partitions.count; i++) {
            struct fetch_response_partition_data *answer = &topic->partitions.items[i];
            if (answer->error_code != error_kafka_code(ERR_NOT_LEADER_OR_FOLLOWER) &&
                answer->error_code != error_kafka_code(ERR_FENCED_LEADER_EPOCH)) {
                continue;
            }
            const struct image_topic *known =
                uses_ids ? image_topic_by_id(image, &topic->topic_id) : image_topic(image, topic->topic);
            const struct image_partition *partition = image_topic_partition(known, answer->partition_index);
            leader_set_tell(&leaders, partition, &answer->current_leader.leader_id,
                            &answer->current_leader.leader_epoch);
        }
    }
    struct leader_node found[LEADERS_MAX];
    size_t count = leader_set_nodes(&leaders, request, found);
    struct fetch_response_node_endpoint *nodes = request_alloc(request, count, sizeof *nodes);
    for (size_t i = 0; nodes && i < count; i++)
        nodes[i] = (struct fetch_response_node_endpoint){
            .node_id = found[i].id, .host = found[i].host, .port = found[i].port, .rack = found[i].rack};
    if (!nodes || count == 0) return;
    response->node_endpoints.items = nodes;
    response->node_endpoints.count = (int32_t)count;
}

bool fetch_find_near(struct request *request, struct slice rack, int32_t **ids, size_t *count)
{
    const char *selector = settings_text(request->home->settings, SETTING_REPLICA_SELECTOR_CLASS);
    *ids = NULL;
    *count = 0;
    bool selects = selector && strcmp(selector, RACK_AWARE_SELECTOR) == 0;
    if (!selects || request->version < 11 || rack.size == 0) return true;
    const struct image *image = request_image(request);
    int32_t *near = request_alloc(request, image_broker_count(image) + 1, sizeof *near);
    if (!near) return false;
    size_t found = 0;
    for (size_t i = 0; i < image_broker_count(image); i++) {
        const struct image_broker *broker = image_broker_at(image, i);
        if (!broker->rack.data || !slice_equal(broker->rack, rack)) continue;
        if (broker->id == request_broker(request)->options.broker_id) return true;
        if (image_broker_endpoint(broker, request->security.listener)) near[found++] = broker->id;
    }
    *ids = near;
    *count = found;
    return true;
}
