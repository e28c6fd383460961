/* peers.h: the other brokers that live, as one loop knows them: where their inter-broker listener is.
 *
 *     UpdateMetadata --> the image --> control loop: peers_of_image --message--> each loop's own copy
 *
 * Followers find their leaders here, and a leader lets nobody into its ISR who is not among them (KAFKA-14140).
 *
 * Owner    a loop has its own; changed only between two of its turns.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct image;

struct peer {
    int32_t id;
    uint16_t port; /* 0: it has no such listener */
    char *host, *rack;
};

struct peers {
    struct peer *items; /* sorted by id */
    size_t count;
    int64_t broker_epoch; /* of our own registration; -1 unknown */
    int64_t image_version;
};

void peers_free(struct peers *peers);
/* `listener` is the inter-broker one. */
MUST_USE enum error peers_of_image(const struct image *image, struct slice listener, int64_t broker_epoch,
                                   struct peers *peers);
/* NULL: it does not live, as far as we know. */
const struct peer *peers_find(const struct peers *peers, int32_t id);
bool peers_equal(const struct peers *a, const struct peers *b);
