/* text.h: a growing buffer for text or bytes (JSON, tables, znodes, encoded frames off the hot path).
 * A failed growth sets `failed` and drops what follows, so a writer checks once, at the end. Zeroed = empty.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct text {
    char *data; /* NUL-terminated once anything was added */
    size_t size, capacity;
    bool failed;
};

void text_free(struct text *text);
void text_reset(struct text *text); /* empties, keeps the memory */
void text_add(struct text *text, struct slice s);
void text_addz(struct text *text, const char *s);
void text_addc(struct text *text, char c);
void text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string with quotes; bytes that are not UTF-8 become U+FFFD. */
void text_add_json(struct text *text, struct slice s);
/* Big-endian numbers, for encoders off the hot path. */
void text_add_be16(struct text *text, uint16_t v);
void text_add_be32(struct text *text, uint32_t v);
void text_add_be64(struct text *text, uint64_t v);
static inline struct slice text_slice(const struct text *text)
{
    return (struct slice){(const uint8_t *)(text->data ? text->data : ""), text->size};
}

/* A whole decimal number in s, within [min, max]; nothing before or after it. */
bool slice_to_int64(struct slice s, int64_t min, int64_t max, int64_t *value);
