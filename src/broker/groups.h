/* groups.h: what broker/ tells the group coordinators: partitions led and resigned, how many there are. */
#pragma once
#include "broker/broker_state.h"

/* Once replicas and coordinators are known; before the first LeaderAndIsr. */
void groups_attach(struct broker *broker);
/* Control loop: __consumer_offsets may be known now. */
void groups_on_image(struct broker *broker, const struct image *image);
#define GROUPS_TOPIC SLICE("__consumer_offsets")
