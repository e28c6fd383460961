/* varint.h: numbers in groups of 7 bits, lowest first; signed ones zig-zag (0, -1, 1, -2 ... become 0, 1, 2,
 * 3).
 *
 * A put writes at `out`, which has room for VARINT32_MAX or VARINT64_MAX bytes, and returns how many it
 * wrote. A get takes the number off the front of `in`; it fails, leaving `in` alone, when `in` ends inside
 * the number or the number has more groups than its width allows. Longer than needed is accepted, as Java
 * does.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

#define VARINT32_MAX 5
#define VARINT64_MAX 10

static inline uint32_t zigzag32(int32_t value)
{
    return ((uint32_t)value << 1) ^ (uint32_t)(value >> 31);
}

static inline uint64_t zigzag64(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static inline int32_t unzigzag32(uint32_t value)
{
    return (int32_t)((value >> 1) ^ -(value & 1));
}

static inline int64_t unzigzag64(uint64_t value)
{
    return (int64_t)((value >> 1) ^ -(value & 1));
}

static inline size_t uvarint64_size(uint64_t value)
{
    return (size_t)(70 - __builtin_clzll(value | 1)) / 7; /* groups of 7 bits, at least one */
}

static inline size_t varint32_size(int32_t value)
{
    return uvarint64_size(zigzag32(value));
}

static inline size_t varint64_size(int64_t value)
{
    return uvarint64_size(zigzag64(value));
}

static inline size_t uvarint64_put(uint8_t *out, uint64_t value)
{
    size_t size = 0;
    while (value >= 0x80) {
        out[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[size++] = (uint8_t)value;
    return size;
}

static inline size_t varint32_put(uint8_t *out, int32_t value)
{
    return uvarint64_put(out, zigzag32(value));
}

static inline size_t varint64_put(uint8_t *out, int64_t value)
{
    return uvarint64_put(out, zigzag64(value));
}

/* `groups_max` is VARINT32_MAX or VARINT64_MAX; bits beyond the width in the last group are dropped by the
 * cast. */
static inline bool uvarint_get(struct slice *in, size_t groups_max, uint64_t *value)
{
    uint64_t result = 0;
    for (size_t i = 0; i < groups_max && i < in->size; i++) {
        uint8_t byte = in->data[i];
        result |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80) continue;
        in->data += i + 1;
        in->size -= i + 1;
        *value = result;
        return true;
    }
    return false;
}

static inline bool varint32_get(struct slice *in, int32_t *value)
{
    /* Almost every varint of a record is one byte. */
    if (in->size > 0 && in->data[0] < 0x80) {
        *value = unzigzag32(in->data[0]);
        in->data++;
        in->size--;
        return true;
    }
    uint64_t raw;
    if (!uvarint_get(in, VARINT32_MAX, &raw)) return false;
    *value = unzigzag32((uint32_t)raw);
    return true;
}

static inline bool varint64_get(struct slice *in, int64_t *value)
{
    uint64_t raw;
    if (!uvarint_get(in, VARINT64_MAX, &raw)) return false;
    *value = unzigzag64(raw);
    return true;
}
