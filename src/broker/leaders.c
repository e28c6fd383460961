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

void leader_set_add(struct leader_set *set, int32_t broker_id)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->ids[i] == broker_id) return;
    }
    if (broker_id >= 0 && set->count < sizeof set->ids / sizeof *set->ids) set->ids[set->count++] = broker_id;
}
