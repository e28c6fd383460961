#include "replica/peers.h"

#include <stdlib.h>
#include <string.h>

#include "metadata/image.h"

void peers_free(struct peers *peers)
{
    for (size_t i = 0; i < peers->count; i++) {
        free(peers->items[i].host);
        free(peers->items[i].rack);
    }
    free(peers->items);
    *peers = (struct peers){0};
}

enum error peers_of_image(const struct image *image, struct slice listener, int64_t broker_epoch,
                          struct peers *peers)
{
    size_t count = image_broker_count(image);
    struct peers made = {.broker_epoch = broker_epoch, .image_version = image_version(image)};
    made.items = calloc(count + 1, sizeof *made.items);
    if (!made.items) return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct image_broker *broker = image_broker_at(image, i);
        const struct image_endpoint *endpoint = image_broker_endpoint(broker, listener);
        struct peer *peer = &made.items[made.count++];
        *peer = (struct peer){.id = broker->id};
        peer->host = slice_dup(endpoint ? endpoint->host : SLICE(""));
        peer->rack = broker->rack.data ? slice_dup(broker->rack) : NULL;
        if (endpoint && endpoint->port > 0 && endpoint->port <= UINT16_MAX)
            peer->port = (uint16_t)endpoint->port;
        if (!peer->host || (broker->rack.data && !peer->rack)) {
            peers_free(&made);
            return ERR_NOMEM;
        }
    }
    *peers = made;
    return OK;
}

const struct peer *peers_find(const struct peers *peers, int32_t id)
{
    for (size_t i = 0; i < peers->count; i++) {
        if (peers->items[i].id == id) return &peers->items[i];
    }
    return NULL;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool peers_equal(const struct peers *a, const struct peers *b)
{
    if (a->count != b->count || a->broker_epoch != b->broker_epoch) return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct peer *p = &a->items[i], *q = &b->items[i];
        if (p->id != q->id || p->port != q->port || !same_text(p->host, q->host) ||
            !same_text(p->rack, q->rack)) {
            return false;
        }
    }
    return true;
}
