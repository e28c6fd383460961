#include "broker/leaders.h"

#include "broker/request.h"

bool leader_endpoint(const struct request *request, const struct image *image, int32_t broker_id,
                     struct slice *host, int32_t *port, struct slice *rack)
{
    const struct image_broker *broker = image_broker(image, broker_id);
    const struct image_endpoint *endpoint =
        broker ? image_broker_endpoint(broker, request->security.listener) : NULL;
    if (!endpoint) return false;
    *host = endpoint->host;
    *port = endpoint->port;
    *rack = broker->rack;
    return true;
}

enum error partition_absence(const struct image *image, struct slice topic, int32_t index)
{
    const struct image_partition *partition = image_partition(image, topic, index);
    return partition ? ERR_NOT_LEADER_OR_FOLLOWER : ERR_UNKNOWN_TOPIC_OR_PARTITION;
}

void leader_set_tell(struct leader_set *set, const struct image_partition *partition, int32_t *leader_id,
                     int32_t *leader_epoch)
{
    if (!partition || partition->leader < 0) return;
    *leader_id = partition->leader;
    *leader_epoch = partition->leader_epoch;
    for (size_t i = 0; i < set->count; i++) {
        if (set->ids[i] == partition->leader) return;
    }
    if (set->count < LEADERS_MAX) set->ids[set->count++] = partition->leader;
}

size_t leader_set_nodes(const struct leader_set *set, const struct request *request,
                        struct leader_node nodes[LEADERS_MAX])
{
    const struct image *image = request_image(request);
    size_t count = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct leader_node *node = &nodes[count];
        node->id = set->ids[i];
        if (leader_endpoint(request, image, node->id, &node->host, &node->port, &node->rack)) count++;
    }
    return count;
}
