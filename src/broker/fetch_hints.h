/* fetch_hints.h: what a fetch's answer says of other brokers: who leads instead of us (KIP-951), who is nearer (KIP-392).
 * The connection's loop. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct fetch_response;
struct request;

/* Names the leader of each partition that is answered with NOT_LEADER_OR_FOLLOWER or FENCED_LEADER_EPOCH, and where it is. */
void fetch_tell_leaders(struct request *request, bool uses_ids, struct fetch_response *response);

/* The brokers in a consumer's rack that can be reached the way it came; none when we are among them, or where
 * replica.selector.class does not ask for it. False without memory. */
bool fetch_find_near(struct request *request, struct slice rack, int32_t **ids, size_t *count);
