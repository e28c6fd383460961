/* bytes.h: views of memory, shared buffers, and big-endian numbers.
 *
 *     struct slice   a loan: bytes somebody else keeps alive. data == NULL is null (size 0), which is not "empty".
 *     struct bytes   counted memory that many readers share, e.g. a received frame or an answer being sent.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t size;
};

#define SLICE_NULL ((struct slice){0})
/* A string literal as a slice. */
#define SLICE(literal) ((struct slice){(const uint8_t *)(literal), sizeof(literal) - 1})
/* For printf: "%.*s", SLICE_ARG(s). */
#define SLICE_ARG(s) (int)(s).size, (s).data ? (const char *)(s).data : ""

static inline struct slice slice_of(const char *text)
{
    return (struct slice){(const uint8_t *)text, text ? strlen(text) : 0};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    if ((a.data == NULL) != (b.data == NULL) || a.size != b.size) return false;
    return a.size == 0 || memcmp(a.data, b.data, a.size) == 0;
}

static inline bool slice_is(struct slice a, const char *text)
{
    return a.data && a.size == strlen(text) && memcmp(a.data, text, a.size) == 0;
}

/* Bytewise order; null before everything. */
int slice_compare(struct slice a, struct slice b);
/* A NUL-terminated copy that the caller frees; NULL for a null slice or without memory. */
char *slice_dup(struct slice s);
/* Copies into `out`, cut to size - 1, always NUL-terminated. */
void slice_text(struct slice s, char *out, size_t size);

/* Counted bytes. Counting is atomic: a last release may come from any thread. */
struct bytes {
    size_t size;
    size_t capacity;
    int references;                                        /* __atomic */
    void (*free_hook)(struct bytes *bytes, void *context); /* called before the memory goes; may be NULL */
    void *free_context;
    uint8_t data[];
};

/* One reference, size 0. NULL without memory. */
struct bytes *bytes_new(size_t capacity);
struct bytes *bytes_copy(const void *data, size_t size);
struct bytes *bytes_retain(struct bytes *bytes);
/* Drops one reference and clears the caller's pointer; NULL is fine. */
void bytes_release(struct bytes **bytes);

static inline struct slice bytes_slice(const struct bytes *bytes)
{
    return bytes ? (struct slice){bytes->data, bytes->size} : SLICE_NULL;
}

/* Big-endian numbers at any address. */
static inline uint16_t get_be16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return __builtin_bswap16(v);
}
static inline uint32_t get_be32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}
static inline uint64_t get_be64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}
static inline void put_be16(void *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, 2);
}
static inline void put_be32(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}
static inline void put_be64(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, 8);
}
