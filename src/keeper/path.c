#include "keeper/path.h"

#include <stdint.h>

/* Decodes one character of at most three bytes; 0 when malformed or longer. */
static uint32_t character(const uint8_t *p, size_t left, size_t *size)
{
    *size = 1;
    if (p[0] < 0x80) return p[0];
    if (p[0] >= 0xc2 && p[0] < 0xe0 && left >= 2 && (p[1] & 0xc0) == 0x80) {
        *size = 2;
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    }
    if (p[0] >= 0xe0 && p[0] < 0xf0 && left >= 3 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80) {
        *size = 3;
        uint32_t c = (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
        return c >= 0x800 ? c : 0;
    }
    return 0;
}

static bool character_is_refused(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0xd800 && c <= 0xf8ff) || c >= 0xfff0;
}

static bool component_is_valid(const uint8_t *p, size_t size)
{
    if (size == 0 || (size == 1 && p[0] == '.') || (size == 2 && p[0] == '.' && p[1] == '.')) return false;
    for (size_t at = 0, step; at < size; at += step) {
        if (character_is_refused(character(p + at, size - at, &step))) return false;
    }
    return true;
}

bool path_is_valid(struct slice path)
{
    if (path.size == 0 || path.data[0] != '/') return false;
    if (path.size == 1) return true;
    for (size_t at = 1; at <= path.size;) {
        const uint8_t *slash = at < path.size ? memchr(path.data + at, '/', path.size - at) : NULL;
        size_t end = slash ? (size_t)(slash - path.data) : path.size;
        if (!component_is_valid(path.data + at, end - at)) return false;
        at = end + 1;
    }
    return true;
}

bool path_split(struct slice path, struct slice *parent, struct slice *name)
{
    if (path.size == 0 || path_has_nul(path)) return false;
    const uint8_t *slash = memrchr(path.data, '/', path.size);
    if (!slash) return false;
    size_t before = (size_t)(slash - path.data);
    *parent = (struct slice){path.data, before};
    *name = (struct slice){slash + 1, path.size - before - 1};
    return true;
}

bool path_is_special(struct slice path)
{
    return slice_is(path, "/") || slice_is(path, "/zookeeper") || slice_is(path, "/zookeeper/quota") ||
           slice_is(path, "/zookeeper/config");
}

bool path_is_within(struct slice path, struct slice ancestor)
{
    if (ancestor.size == 1) return true;
    return path.size >= ancestor.size && memcmp(path.data, ancestor.data, ancestor.size) == 0 &&
           (path.size == ancestor.size || path.data[ancestor.size] == '/');
}
