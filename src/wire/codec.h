/* codec.h: the compressions of records: whole buffers in, whole buffers out.
 *
 *     gzip     one gzip member (any number is read)
 *     snappy   as xerial frames it: 82 "SNAPPY" 00, version 1, compatible 1, then i32 size and a raw block,
 *              repeated; a raw block without that header is read too
 *     lz4      the LZ4 frame format, independent 64 KiB blocks
 *     zstd     zstd frames
 *
 * All three functions append to `out` (base/text.h, as a byte buffer). Decompressing stops with ERR_TOO_LARGE at
 * `limit_bytes` of output, so a small hostile input costs no more than that; memory grows as output comes.
 * Errors  ERR_CORRUPT, ERR_TOO_LARGE, ERR_NOMEM, ERR_UNSUPPORTED for a codec nobody knows (5 to 7).
 *         On an error `out` is as it was.
 * Threads pure. Source: facts/storage.md 3.1, 3.2; KAFKA-3160 for the lz4 header checksum of old messages.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"

enum codec { CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD, CODEC_COUNT };

/* "none", "gzip", "snappy", "lz4", "zstd"; NULL for others. */
const char *codec_text(enum codec codec);
/* The level Apache uses where none is set: gzip -1, lz4 9, zstd 3; 0 for those without levels. */
int codec_default_level(enum codec codec);

/* `level`: gzip -1 and 1..9, lz4 1..17, zstd -131072..22, as the settings allow. */
MUST_USE enum error codec_compress(enum codec codec, int level, struct slice in, struct text *out);
MUST_USE enum error codec_decompress(enum codec codec, struct slice in, size_t limit_bytes, struct text *out);
/* For messages of magic 0 and 1, whose lz4 frames may carry a header checksum that also covers the magic. */
MUST_USE enum error codec_decompress_old(enum codec codec, struct slice in, size_t limit_bytes,
                                         struct text *out);
