/* jute.h: ZooKeeper's encoding, as much of it as a client needs: big-endian numbers, buffers and strings with a length before
 * them (-1 = null), vectors with a count.
 *
 * Writing goes into a struct text (check `failed` at the end). A reader never runs past its end: a short or absurd length sets
 * `failed`, and everything read after that is zero. Source: facts/keeper.md 1.1.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/text.h"
#include "coord/coord.h"

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

struct jute_reader {
    const uint8_t *at, *end;
    bool failed;
};

static inline const uint8_t *jute_take(struct jute_reader *in, size_t size)
{
    if (in->failed || (size_t)(in->end - in->at) < size) {
        in->failed = true;
        return NULL;
    }
    const uint8_t *taken = in->at;
    in->at += size;
    return taken;
}

static inline int32_t jute_int(struct jute_reader *in)
{
    const uint8_t *p = jute_take(in, 4);
    return p ? (int32_t)get_be32(p) : 0;
}

static inline int64_t jute_long(struct jute_reader *in)
{
    const uint8_t *p = jute_take(in, 8);
    return p ? (int64_t)get_be64(p) : 0;
}

static inline bool jute_bool(struct jute_reader *in)
{
    const uint8_t *p = jute_take(in, 1);
    return p && *p;
}

static inline struct slice jute_buffer(struct jute_reader *in)
{
    int32_t size = jute_int(in);
    if (size == -1 || in->failed) return SLICE_NULL;
    const uint8_t *p = size < 0 ? NULL : jute_take(in, (size_t)size);
    if (!p) in->failed = true;
    return p ? (struct slice){p, (size_t)size} : SLICE_NULL;
}

/* A vector's count, each item of which takes at least min_size bytes; -1 (null) reads as 0. */
static inline size_t jute_count(struct jute_reader *in, size_t min_size)
{
    int32_t count = jute_int(in);
    if (count == -1) return 0;
    if (count < 0 || (size_t)count > (size_t)(in->end - in->at) / min_size) {
        in->failed = true;
        return 0;
    }
    return (size_t)count;
}

static inline struct coord_stat jute_stat(struct jute_reader *in)
{
    struct coord_stat stat;
    stat.czxid = jute_long(in);
    stat.mzxid = jute_long(in);
    stat.ctime_ms = jute_long(in);
    stat.mtime_ms = jute_long(in);
    stat.version = jute_int(in);
    stat.cversion = jute_int(in);
    stat.aversion = jute_int(in);
    stat.ephemeral_owner = jute_long(in);
    stat.data_size = jute_int(in);
    stat.child_count = jute_int(in);
    stat.pzxid = jute_long(in);
    return stat;
}

static inline void jute_add_buffer(struct text *out, struct slice s)
{
    text_add_be32(out, s.data ? (uint32_t)s.size : UINT32_MAX);
    if (s.size) text_add(out, s);
}

static inline void jute_add_stat(struct text *out, const struct coord_stat *stat)
{
    text_add_be64(out, (uint64_t)stat->czxid);
    text_add_be64(out, (uint64_t)stat->mzxid);
    text_add_be64(out, (uint64_t)stat->ctime_ms);
    text_add_be64(out, (uint64_t)stat->mtime_ms);
    text_add_be32(out, (uint32_t)stat->version);
    text_add_be32(out, (uint32_t)stat->cversion);
    text_add_be32(out, (uint32_t)stat->aversion);
    text_add_be64(out, (uint64_t)stat->ephemeral_owner);
    text_add_be32(out, (uint32_t)stat->data_size);
    text_add_be32(out, (uint32_t)stat->child_count);
    text_add_be64(out, (uint64_t)stat->pzxid);
}

/* A multi's header: before each step, and {-1, true, -1} after the last. */
static inline void jute_add_multi_header(struct text *out, int32_t type, bool is_done, int32_t err)
{
    text_add_be32(out, (uint32_t)type);
    text_addc(out, is_done ? 1 : 0);
    text_add_be32(out, (uint32_t)err);
}
