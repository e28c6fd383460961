/* peer.h: a client's way to a simulated broker: one connection that is dialled again whenever it is lost.
 *
 * A peer has a home: one broker, or any (then each dial picks one at random). peer_move sends it to another for as long as that
 * connection lasts.
 *
 * Threads  the clients' loop. on_open and on_lost may be NULL; calls in flight end before on_lost. All peers of a world are in a
 *          list, so that a power cut can take back what is still under way (world_peers_break).
 */
#pragma once
#include "base/list.h"
#include "client/connection.h"
#include "loop/loop.h"

struct world;

enum { PEER_ANY = -1 };

struct peer {
    struct world *world;
    const char *name; /* lives longer */
    struct list link; /* in the world's */
    struct connection *connection;
    bool is_open;
    int home, wanted; /* brokers, or PEER_ANY */
    int server;       /* which was dialled last */
    struct loop_timer redial;
    void (*on_open)(struct peer *peer);
    void (*on_lost)(struct peer *peer);
};

void peer_start(struct peer *peer, struct world *world, const char *name, int home);
void peer_stop(struct peer *peer);
/* Hangs up and dials again in a moment. on_lost follows if it was open. Not from within one of its calls' done. */
void peer_break(struct peer *peer);
/* The same, and dials that broker (PEER_ANY = some other one); its home again when that fails or is lost. */
void peer_move(struct peer *peer, int server);
/* As connection_send. ERR_CLOSED while there is no connection. */
MUST_USE enum error peer_send(struct peer *peer, int16_t api_key, const void *request, struct call *call);
