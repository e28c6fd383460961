/* peer.h: a client's way to the simulated node: one connection that is dialled again whenever it is lost.
 *
 * Threads  the clients' loop. on_open and on_lost may be NULL; calls in flight end before on_lost. All peers of a world are in a
 *          list, so that a power cut can take back what is still under way (world_peers_break).
 */
#pragma once
#include "base/list.h"
#include "client/connection.h"
#include "loop/loop.h"

struct world;

struct peer {
    struct world *world;
    const char *name; /* lives longer */
    struct list link; /* in the world's */
    struct connection *connection;
    bool is_open;
    struct loop_timer redial;
    void (*on_open)(struct peer *peer);
    void (*on_lost)(struct peer *peer);
};

void peer_start(struct peer *peer, struct world *world, const char *name);
void peer_stop(struct peer *peer);
/* Hangs up and dials again in a moment. on_lost follows if it was open. Not from within one of its calls' done. */
void peer_break(struct peer *peer);
/* As connection_send. ERR_CLOSED while there is no connection. */
MUST_USE enum error peer_send(struct peer *peer, int16_t api_key, const void *request, struct call *call);
