/* utf8.h: strings as Java hears them.
 *
 * Apache's classes turn bytes that are not UTF-8 into U+FFFD while decoding, so what a string then is (a topic's
 * name, a key of a map, the bytes sent on) has the replacement in it. We do the same, so that both call
 * one thing by one name. Surrogates count as malformed, each run of three bytes as one.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

bool utf8_is_valid(struct slice s);
/* Writes s with replacements into `out`, which has room for 3 * s.size bytes. Returns the size. */
size_t utf8_replace(struct slice s, uint8_t *out);
