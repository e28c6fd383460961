/* jute.h: ZooKeeper's encoding, by hand, for it is five types: int, long, boolean, buffer, ustring.
 *
 * Reading is a cursor that remembers whether anything was wrong, so a record is read field by field and checked once.
 * A buffer or string of length -1 is null; any other negative length, or one beyond the end, is malformed. Strings stay
 * bytes (Java's surrogate pairs included). Writing goes to a struct text. Source: facts/keeper.md 1.1.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/text.h"

struct jute {
    const uint8_t *data;
    size_t size, at;
    bool is_bad;
};

static inline struct jute jute_of(struct slice bytes)
{
    return (struct jute){bytes.data, bytes.size, 0, false};
}

static inline const uint8_t *jute_take(struct jute *in, size_t size)
{
    if (in->is_bad || in->size - in->at < size) {
        in->is_bad = true;
        return NULL;
    }
    const uint8_t *taken = in->data + in->at;
    in->at += size;
    return taken;
}

static inline int32_t jute_int(struct jute *in)
{
    const uint8_t *p = jute_take(in, 4);
    return p ? (int32_t)get_be32(p) : 0;
}

static inline int64_t jute_long(struct jute *in)
{
    const uint8_t *p = jute_take(in, 8);
    return p ? (int64_t)get_be64(p) : 0;
}

static inline bool jute_bool(struct jute *in)
{
    const uint8_t *p = jute_take(in, 1);
    return p && *p != 0;
}

/* A buffer or a string. */
static inline struct slice jute_bytes(struct jute *in)
{
    int32_t size = jute_int(in);
    if (in->is_bad || size == -1) return SLICE_NULL;
    if (size < -1) {
        in->is_bad = true;
        return SLICE_NULL;
    }
    const uint8_t *p = jute_take(in, (size_t)size);
    return p ? (struct slice){p, (size_t)size} : SLICE_NULL;
}

/* The count of a vector whose items take at least item_size bytes each; -1 = null, any other negative one is empty, as Java's
 * reader has it. */
static inline int32_t jute_count(struct jute *in, size_t item_size)
{
    int32_t count = jute_int(in);
    if (in->is_bad || count == -1) return count;
    if (count < -1) return 0;
    if ((size_t)count > (in->size - in->at) / item_size) {
        in->is_bad = true;
        return 0;
    }
    return count;
}

static inline struct slice jute_rest(const struct jute *in)
{
    return (struct slice){in->data + in->at, in->size - in->at};
}

static inline void jute_add_bytes(struct text *out, struct slice bytes)
{
    text_add_be32(out, bytes.data ? (uint32_t)bytes.size : UINT32_MAX);
    text_add(out, bytes);
}
