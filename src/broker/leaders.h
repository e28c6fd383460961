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

/* The leaders that an answer names, each once. */
enum { LEADERS_MAX = 16 };
struct leader_set {
    int32_t ids[LEADERS_MAX];
    size_t count;
};
/* Tells the partition's leader (NULL: it has none that anybody knows), and remembers it. */
void leader_set_tell(struct leader_set *set, const struct image_partition *partition, int32_t *leader_id,
                     int32_t *leader_epoch);

struct leader_node {
    int32_t id, port;
    struct slice host, rack;
};
/* Where those of the set are that can be reached; how many. */
size_t leader_set_nodes(const struct leader_set *set, const struct request *request,
                        struct leader_node nodes[LEADERS_MAX]);
