/* protocol.h: what a client of ZooKeeper's protocol says and hears: kinds of requests, xids that are no request's, a multi's
 * steps. The encoding is keeper/jute.h's, in both directions. Source: facts/keeper.md 1.3, 1.5, 1.6.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "keeper/jute.h"

enum jute_op {
    JUTE_CREATE = 1,
    JUTE_DELETE = 2,
    JUTE_EXISTS = 3,
    JUTE_GET = 4,
    JUTE_SET = 5,
    JUTE_PING = 11,
    JUTE_CHILDREN = 12, /* getChildren2: with the stat */
    JUTE_CHECK = 13,
    JUTE_MULTI = 14,
    JUTE_SET_WATCHES = 101,
    JUTE_CLOSE = -11,
};

enum jute_xid { JUTE_XID_EVENT = -1, JUTE_XID_PING = -2, JUTE_XID_AUTH = -4, JUTE_XID_SET_WATCHES = -8 };

/* A multi's header: before each step, and {-1, true, -1} after the last. */
static inline void jute_add_multi_header(struct text *out, int32_t type, bool is_done, int32_t err)
{
    text_add_be32(out, (uint32_t)type);
    text_addc(out, is_done ? 1 : 0);
    text_add_be32(out, (uint32_t)err);
}
