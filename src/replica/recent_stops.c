#include "replica/recent_stops.h"

void recent_stops_note(struct recent_stops *stops, int32_t controller_epoch, const struct uuid *topic_id,
                       int32_t index, int32_t leader_epoch)
{
    if (uuid_is_zero(topic_id)) return;
    if (controller_epoch != stops->controller_epoch) stops->count = 0;
    stops->controller_epoch = controller_epoch;
    stops->items[stops->count++ % RECENT_STOPS] = (struct recent_stop){*topic_id, index, leader_epoch};
}

bool recent_stops_cover(const struct recent_stops *stops, int32_t controller_epoch,
                        const struct uuid *topic_id, int32_t index, int32_t leader_epoch)
{
    size_t count = stops->count < RECENT_STOPS ? stops->count : RECENT_STOPS;
    for (size_t i = 0; controller_epoch == stops->controller_epoch && i < count; i++) {
        const struct recent_stop *stop = &stops->items[i];
        if (stop->index == index && leader_epoch <= stop->leader_epoch &&
            uuid_equal(&stop->topic_id, topic_id))
            return true;
    }
    return false;
}
