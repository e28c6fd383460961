#include "wire/codec.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/vec.h"

static const char *const NAMES[CODEC_COUNT] = {"none", "gzip", "snappy", "lz4", "zstd"};

const char *codec_text(enum codec codec)
{
    return (unsigned)codec < CODEC_COUNT ? NAMES[codec] : NULL;
}

int codec_default_level(enum codec codec)
{
    switch (codec) {
    case CODEC_GZIP: return -1;
    case CODEC_LZ4: return 9;
    case CODEC_ZSTD: return 3;
    default: return 0;
    }
}

/* Room for `more` bytes behind what `out` holds; NULL without memory. */
static uint8_t *room(struct text *out, size_t more)
{
    if (more > SIZE_MAX / 2 || !vec_grow((void **)&out->data, &out->capacity, out->size + more + 1, 1))
        return NULL;
    return (uint8_t *)out->data + out->size;
}

/* Output that grows as it comes: a window behind what is there, never more than one byte past the limit. That
 * one byte is how a stream shows that it would go on. */
struct sink {
    struct text *out;
    size_t limit_bytes, taken_bytes;
    size_t window_bytes; /* of the next window */
};

static struct sink sink_open(struct text *out, size_t limit_bytes, size_t in_bytes)
{
    if (limit_bytes > SIZE_MAX / 4) limit_bytes = SIZE_MAX / 4;
    size_t first = in_bytes < 1 << 28 ? in_bytes * 3 + 1024 : in_bytes;
    return (struct sink){.out = out, .limit_bytes = limit_bytes, .window_bytes = first};
}

static enum error sink_window(struct sink *sink, uint8_t **at, size_t *size)
{
    if (sink->taken_bytes > sink->limit_bytes) return ERR_TOO_LARGE;
    size_t left = sink->limit_bytes + 1 - sink->taken_bytes;
    *size = sink->window_bytes < left ? sink->window_bytes : left;
    *at = room(sink->out, *size);
    return *at ? OK : ERR_NOMEM;
}

static enum error sink_take(struct sink *sink, size_t size)
{
    sink->out->size += size;
    sink->taken_bytes += size;
    sink->window_bytes = sink->taken_bytes > 4096 ? sink->taken_bytes : 4096; /* doubles */
    return sink->taken_bytes > sink->limit_bytes ? ERR_TOO_LARGE : OK;
}

/* --- gzip --- */

enum { GZIP_WINDOW = 15 + 16 }; /* zlib's way to say: 32 KiB window, gzip header and trailer */

static enum error gzip_compress(int level, struct slice in, struct text *out)
{
    if (in.size > UINT32_MAX / 2) return ERR_TOO_LARGE;
    z_stream stream = {0};
    if (deflateInit2(&stream, level, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return ERR_NOMEM;
    size_t bound = deflateBound(&stream, (uLong)in.size);
    uint8_t *at = room(out, bound);
    enum error err = at ? OK : ERR_NOMEM;
    if (err == OK) {
        stream.next_in = (Bytef *)(uintptr_t)in.data;
        stream.avail_in = (uInt)in.size;
        stream.next_out = at;
        stream.avail_out = (uInt)bound;
        if (deflate(&stream, Z_FINISH) == Z_STREAM_END)
            out->size += bound - stream.avail_out;
        else
            err = ERR_NOMEM;
    }
    deflateEnd(&stream);
    return err;
}

static enum error gzip_decompress(struct slice in, struct sink *sink)
{
    if (in.size > UINT32_MAX) return ERR_TOO_LARGE;
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)in.data, .avail_in = (uInt)in.size};
    if (inflateInit2(&stream, GZIP_WINDOW) != Z_OK) return ERR_NOMEM;
    enum error err = OK;
    bool is_done = false;
    while (err == OK && !is_done) {
        uint8_t *at;
        size_t size;
        err = sink_window(sink, &at, &size);
        if (err != OK) break;
        if (size > UINT32_MAX) size = UINT32_MAX;
        stream.next_out = at;
        stream.avail_out = (uInt)size;
        int got = inflate(&stream, Z_NO_FLUSH);
        err = sink_take(sink, size - stream.avail_out);
        if (err != OK) break;
        if (got == Z_STREAM_END) {
            is_done = stream.avail_in == 0;
            if (!is_done && inflateReset(&stream) != Z_OK) err = ERR_CORRUPT; /* another member */
        } else if (got == Z_MEM_ERROR) {
            err = ERR_NOMEM;
        } else if (got != Z_OK || (stream.avail_in == 0 && stream.avail_out > 0)) {
            err = ERR_CORRUPT; /* includes input that ends early */
        }
    }
    inflateEnd(&stream);
    return err;
}

/* --- snappy --- */

static const uint8_t XERIAL_MAGIC[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};

enum {
    XERIAL_HEADER_SIZE = 16,
    XERIAL_BLOCK_SIZE = 32 * 1024,
};

static enum error snappy_compress_xerial(struct slice in, struct text *out)
{
    size_t blocks = in.size / XERIAL_BLOCK_SIZE + 1;
    uint8_t *at =
        room(out, XERIAL_HEADER_SIZE + blocks * (4 + snappy_max_compressed_length(XERIAL_BLOCK_SIZE)));
    if (!at) return ERR_NOMEM;
    uint8_t *start = at;
    memcpy(at, XERIAL_MAGIC, sizeof XERIAL_MAGIC);
    put_be32(at + 8, 1);  /* version */
    put_be32(at + 12, 1); /* oldest version that can read it */
    at += XERIAL_HEADER_SIZE;
    for (size_t done = 0; done < in.size;) {
        size_t part = in.size - done < XERIAL_BLOCK_SIZE ? in.size - done : XERIAL_BLOCK_SIZE;
        size_t size = snappy_max_compressed_length(part);
        if (snappy_compress((const char *)in.data + done, part, (char *)at + 4, &size) != SNAPPY_OK)
            return ERR_NOMEM;
        put_be32(at, (uint32_t)size);
        at += 4 + size;
        done += part;
    }
    out->size += (size_t)(at - start);
    return OK;
}

static enum error snappy_block(struct slice in, struct sink *sink)
{
    size_t size;
    if (snappy_uncompressed_length((const char *)in.data, in.size, &size) != SNAPPY_OK) return ERR_CORRUPT;
    /* Three bytes make at most 64, so a bigger claim is a lie and gets no memory. */
    if (size / 32 > in.size) return ERR_CORRUPT;
    if (size > sink->limit_bytes - sink->taken_bytes) return ERR_TOO_LARGE;
    uint8_t *at = room(sink->out, size);
    if (!at) return ERR_NOMEM;
    if (snappy_uncompress((const char *)in.data, in.size, (char *)at, &size) != SNAPPY_OK) return ERR_CORRUPT;
    return sink_take(sink, size);
}

static bool is_xerial(struct slice in)
{
    return in.size >= XERIAL_HEADER_SIZE && memcmp(in.data, XERIAL_MAGIC, sizeof XERIAL_MAGIC) == 0;
}

static enum error snappy_decompress(struct slice in, struct sink *sink)
{
    if (!is_xerial(in)) return snappy_block(in, sink);
    while (in.size > 0) {
        if (is_xerial(in)) { /* streams may stand one behind another */
            in.data += XERIAL_HEADER_SIZE;
            in.size -= XERIAL_HEADER_SIZE;
            continue;
        }
        if (in.size < 4) return ERR_CORRUPT;
        size_t size = get_be32(in.data);
        in.data += 4;
        in.size -= 4;
        if (size > in.size) return ERR_CORRUPT;
        enum error err = snappy_block((struct slice){in.data, size}, sink);
        if (err != OK) return err;
        in.data += size;
        in.size -= size;
    }
    return OK;
}

/* --- lz4 --- */

static enum error lz4_compress(int level, struct slice in, struct text *out)
{
    /* Apache's default 9 means its fast compressor; any other level the slow one. */
    int mapped = level == 9 ? 0 : level < 3 ? 3 : level;
    LZ4F_preferences_t preferences = {
        .frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent},
        .compressionLevel = mapped,
    };
    size_t bound = LZ4F_compressFrameBound(in.size, &preferences);
    uint8_t *at = room(out, bound);
    if (!at) return ERR_NOMEM;
    size_t size = LZ4F_compressFrame(at, bound, in.data, in.size, &preferences);
    if (LZ4F_isError(size)) return ERR_NOMEM;
    out->size += size;
    return OK;
}

static uint32_t rotate_left(uint32_t value, int bits)
{
    return value << bits | value >> (32 - bits);
}

/* xxHash-32 with seed 0 of fewer than 16 bytes, which is all a frame header has. */
static uint32_t xxh32_short(const uint8_t *data, size_t size)
{
    uint32_t hash = 374761393u + (uint32_t)size;
    for (; size >= 4; data += 4, size -= 4) {
        uint32_t word =
            (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
        hash = rotate_left(hash + word * 3266489917u, 17) * 668265263u;
    }
    for (; size > 0; data++, size--) hash = rotate_left(hash + *data * 374761393u, 11) * 2654435761u;
    hash = (hash ^ hash >> 15) * 2246822519u;
    hash = (hash ^ hash >> 13) * 3266489917u;
    return hash ^ hash >> 16;
}

enum {
    LZ4_HEADER_MIN = 7,
    LZ4_HEADER_MAX = 19,
    LZ4_AT_DESCRIPTOR = 4,
    LZ4_HAS_CONTENT_SIZE = 0x08,
    LZ4_HAS_DICTIONARY = 0x01,
};

static enum error lz4_feed(LZ4F_dctx *context, struct slice *in, struct sink *sink, bool *is_done)
{
    while (in->size > 0 && !*is_done) {
        uint8_t *at;
        size_t room_bytes;
        enum error err = sink_window(sink, &at, &room_bytes);
        if (err != OK) return err;
        size_t made = room_bytes, eaten = in->size;
        size_t hint = LZ4F_decompress(context, at, &made, in->data, &eaten, NULL);
        if (LZ4F_isError(hint)) return ERR_CORRUPT;
        in->data += eaten;
        in->size -= eaten;
        *is_done = hint == 0;
        err = sink_take(sink, made);
        if (err != OK) return err;
        if (eaten == 0 && made == 0) return ERR_CORRUPT;
    }
    return OK;
}

/* The broken clients of magic 0 and 1 hashed the frame's magic too. The message has a checksum of its own, so
 * the header's is simply made right before the library sees it. */
static enum error lz4_decompress(struct slice in, bool mend_header, struct sink *sink)
{
    uint8_t mended[LZ4_HEADER_MAX];
    struct slice head = SLICE_NULL;
    if (mend_header && in.size >= LZ4_HEADER_MIN) {
        uint8_t flags = in.data[LZ4_AT_DESCRIPTOR];
        size_t described = 2 + (flags & LZ4_HAS_CONTENT_SIZE ? 8 : 0) + (flags & LZ4_HAS_DICTIONARY ? 4 : 0);
        size_t head_size = LZ4_AT_DESCRIPTOR + described + 1;
        if (in.size < head_size) return ERR_CORRUPT;
        memcpy(mended, in.data, head_size);
        mended[head_size - 1] = (uint8_t)(xxh32_short(mended + LZ4_AT_DESCRIPTOR, described) >> 8);
        head = (struct slice){mended, head_size};
        in.data += head_size;
        in.size -= head_size;
    }
    LZ4F_dctx *context = NULL;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION))) return ERR_NOMEM;
    bool is_done = false;
    enum error err = lz4_feed(context, &head, sink, &is_done);
    if (err == OK) err = lz4_feed(context, &in, sink, &is_done);
    /* Output may still wait inside when all input is in. */
    while (err == OK && !is_done) {
        uint8_t *at;
        size_t made, eaten = 0;
        err = sink_window(sink, &at, &made);
        if (err != OK) break;
        size_t hint = LZ4F_decompress(context, at, &made, at, &eaten, NULL);
        if (LZ4F_isError(hint) || (made == 0 && hint != 0)) {
            err = ERR_CORRUPT;
            break;
        }
        is_done = hint == 0;
        err = sink_take(sink, made);
    }
    if (err == OK && in.size > 0) err = ERR_CORRUPT;
    LZ4F_freeDecompressionContext(context);
    return err;
}

/* --- zstd --- */

static enum error zstd_compress(int level, struct slice in, struct text *out)
{
    size_t bound = ZSTD_compressBound(in.size);
    uint8_t *at = room(out, bound);
    if (!at) return ERR_NOMEM;
    size_t size = ZSTD_compress(at, bound, in.data, in.size, level);
    if (ZSTD_isError(size)) return ERR_NOMEM;
    out->size += size;
    return OK;
}

static enum error zstd_decompress(struct slice in, struct sink *sink)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    if (!context) return ERR_NOMEM;
    ZSTD_inBuffer input = {in.data, in.size, 0};
    enum error err = OK;
    bool is_done = false;
    while (err == OK && !is_done) {
        uint8_t *at;
        size_t size;
        err = sink_window(sink, &at, &size);
        if (err != OK) break;
        ZSTD_outBuffer output = {at, size, 0};
        size_t hint = ZSTD_decompressStream(context, &output, &input);
        if (ZSTD_isError(hint)) {
            err = ERR_CORRUPT;
            break;
        }
        /* 0: a frame ended with all its output out. Another may follow. */
        is_done = hint == 0 && input.pos == input.size;
        if (hint != 0 && input.pos == input.size && output.pos < output.size)
            err = ERR_CORRUPT; /* ends early */
        enum error taken = sink_take(sink, output.pos);
        if (err == OK) err = taken;
    }
    ZSTD_freeDCtx(context);
    return err;
}

/* --- all --- */

enum error codec_compress(enum codec codec, int level, struct slice in, struct text *out)
{
    enum error err;
    size_t size = out->size;
    static const uint8_t nothing[1];
    if (!in.data) in.data = nothing;
    switch (codec) {
    case CODEC_NONE: {
        uint8_t *at = room(out, in.size);
        err = at ? OK : ERR_NOMEM;
        if (at) {
            memcpy(at, in.data, in.size);
            out->size += in.size;
        }
        break;
    }
    case CODEC_GZIP: err = gzip_compress(level, in, out); break;
    case CODEC_SNAPPY: err = snappy_compress_xerial(in, out); break;
    case CODEC_LZ4: err = lz4_compress(level, in, out); break;
    case CODEC_ZSTD: err = zstd_compress(level, in, out); break;
    default: err = ERR_UNSUPPORTED; break;
    }
    if (err != OK) out->size = size;
    if (out->data) out->data[out->size] = 0;
    return err;
}

static enum error decompress(enum codec codec, struct slice in, bool is_old, size_t limit_bytes,
                             struct text *out)
{
    enum error err;
    size_t size = out->size;
    struct sink sink = sink_open(out, limit_bytes, in.size);
    static const uint8_t nothing[1];
    if (!in.data) in.data = nothing;
    switch (codec) {
    case CODEC_NONE:
        if (in.size > limit_bytes) return ERR_TOO_LARGE;
        err = codec_compress(CODEC_NONE, 0, in, out);
        break;
    case CODEC_GZIP: err = gzip_decompress(in, &sink); break;
    case CODEC_SNAPPY: err = snappy_decompress(in, &sink); break;
    case CODEC_LZ4: err = lz4_decompress(in, is_old, &sink); break;
    case CODEC_ZSTD: err = zstd_decompress(in, &sink); break;
    default: err = ERR_UNSUPPORTED; break;
    }
    if (err != OK) out->size = size;
    if (out->data) out->data[out->size] = 0;
    return err;
}

enum error codec_decompress(enum codec codec, struct slice in, size_t limit_bytes, struct text *out)
{
    return decompress(codec, in, false, limit_bytes, out);
}

enum error codec_decompress_old(enum codec codec, struct slice in, size_t limit_bytes, struct text *out)
{
    return decompress(codec, in, true, limit_bytes, out);
}
