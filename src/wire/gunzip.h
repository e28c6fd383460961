/* gunzip.h: a gzip file as a stream, for what is too large to lie in memory twice; and zlib's other checksum.
 *
 * Any number of members, one behind another. Threads: pure. Errors: ERR_CORRUPT, ERR_NOMEM. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct gunzip;

MUST_USE enum error gunzip_new(struct gunzip **gunzip);
void gunzip_free(struct gunzip **gunzip);
/* Reads from *in and takes off it what was used; fills up to `size` bytes of `out`. *got 0 with an empty *in: more input is
 * wanted, or the stream is over. */
MUST_USE enum error gunzip_read(struct gunzip *gunzip, struct slice *in, void *out, size_t size, size_t *got);
/* Between two members: a good place for the file to end. */
bool gunzip_is_whole(const struct gunzip *gunzip);

/* Adler-32 (RFC 1950). Starts from 1 and chains. */
uint32_t adler32_of(uint32_t adler, const void *data, size_t size);
