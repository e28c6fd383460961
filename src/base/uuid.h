/* uuid.h: Kafka's ids: 16 bytes, written as 22 characters of URL-safe base64 without padding. Zero = none. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

struct uuid {
    uint8_t bytes[16];
};

enum { UUID_TEXT_SIZE = 23 }; /* 22 characters and NUL */

static inline bool uuid_is_zero(const struct uuid *id)
{
    static const uint8_t zero[16];
    return memcmp(id->bytes, zero, 16) == 0;
}
static inline bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, 16) == 0;
}
void uuid_format(const struct uuid *id, char text[UUID_TEXT_SIZE]);
/* Exactly 22 characters of the alphabet, or false. */
bool uuid_parse(struct slice text, struct uuid *id);
/* A version 4 id from 16 random bytes. False when Kafka would not use it (reserved, or its text begins
 * with '-'): draw again. */
bool uuid_from_random(const uint8_t random[16], struct uuid *id);
