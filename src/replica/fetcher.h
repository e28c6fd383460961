/* fetcher.h: the followers of one loop: for each broker they follow one connection and a fetch that waits there.
 *
 *     follow --> changed --.                              .--> append, high watermark --> changed
 *                          +--> Fetch in flight ------> answer --> cut, ask offsets, pause
 *     a pause is over -----'                              '--> (nothing new: the same again)
 *
 * A fetch is at once the acknowledgement of everything before its offset, so the next one goes out as soon as an answer has been
 * written: what acks=all waits for is one round trip and no timer.
 *
 * Sessions  (KIP-227) the leader remembers what we follow; a fetch names only what changed since the one before. Who pauses is
 *           forgotten by the session, for else its records would come again and again.
 * Haste     the leader holds a fetch until there is news. Who begins to follow meanwhile is named by a second one behind it,
 *           upon which our leaders answer the first at once.
 * Version   Fetch 17, 12 while a partition has no topic id; ListOffsets 9. Nothing is negotiated (facts/cluster.md 4.1).
 * Which     fetcher of a partition is decided by its leader alone: a loop needs no second connection to the same broker.
 * Owner     the loop. Source: facts/cluster.md 5.1, 5.2.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "replica/peers.h"

struct loop;
struct partition;

struct fetch_rules {
    int32_t wait_max_ms, min_bytes, max_bytes, response_max_bytes; /* replica.fetch.* */
    int64_t backoff_ms, socket_timeout_ms;
};

struct fetchers {
    struct loop *loop;
    int32_t broker_id; /* our own */
    const struct fetch_rules *rules;
    const struct peers *peers; /* this loop's */
    struct list fetchers;
};

void fetchers_init(struct fetchers *fetchers, struct loop *loop, int32_t broker_id,
                   const struct fetch_rules *rules, const struct peers *peers);
/* Nobody is followed any more. */
void fetchers_close(struct fetchers *fetchers);

/* The partition became a follower: of another leader, or of the same at a new epoch. Without a leader, or one that does not live
 * as far as we know, it waits for one. */
MUST_USE enum error fetchers_follow(struct fetchers *fetchers, struct partition *partition);
/* It follows nobody any more; fine if it did not. */
void fetchers_unfollow(struct partition *partition);
/* Its disk has caught up with what it asked to be synced. */
void fetchers_synced(struct partition *partition);
/* Brokers came, went or moved. */
void fetchers_peers_changed(struct fetchers *fetchers);
