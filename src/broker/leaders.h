/* leaders.h: where a client should go instead: leaders and their addresses, from the image (KIP-951). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "metadata/image.h"

struct request;

/* The broker's address on the listener that the request came by; false when it lives no more or has none there. */
bool leader_endpoint(const struct request *request, const struct image *image, int32_t broker_id,
                     struct slice *host, int32_t *port, struct slice *rack);

/* A partition that this loop does not know: what to tell a client. NOT_LEADER_OR_FOLLOWER when another broker has it. */
enum error partition_absence(const struct image *image, struct slice topic, int32_t index);

/* A set of brokers that an answer names, each once. */
struct leader_set {
    int32_t ids[16];
    size_t count;
};
void leader_set_add(struct leader_set *set, int32_t broker_id);
