#include "wire/legacy.h"

#include <assert.h>

#include "wire/crc32c.h"

static bool nullable_take(struct slice *in, struct slice *out)
{
    if (in->size < 4) return false;
    int32_t size = (int32_t)get_be32(in->data);
    in->data += 4;
    in->size -= 4;
    if (size < -1 || (size > 0 && (size_t)size > in->size)) return false;
    *out = size < 0 ? SLICE_NULL : (struct slice){in->data, (size_t)size};
    in->data += out->size;
    in->size -= out->size;
    return true;
}

enum error legacy_message_read(struct slice entry, bool check_crc, struct legacy_message *message)
{
    struct batch_header header;
    enum error err = batch_header_read(entry, &header);
    if (err != OK) return err;
    if (entry.size < header.size_bytes) return ERR_TRUNCATED;
    if (entry.size > header.size_bytes || header.magic > 1) return ERR_CORRUPT;
    if (check_crc && crc32_legacy(0, entry.data + 16, entry.size - 16) != header.crc) return ERR_CORRUPT;

    size_t fixed = header.magic == 0 ? LEGACY_OVERHEAD_V0 - 8 : LEGACY_OVERHEAD_V1 - 8;
    struct slice rest = {entry.data + fixed, entry.size - fixed};
    struct legacy_message read = {
        .offset = header.base_offset,
        .magic = header.magic,
        .attributes = (int8_t)header.attributes,
        .timestamp = header.max_timestamp,
    };
    if (!nullable_take(&rest, &read.key) || !nullable_take(&rest, &read.value) || rest.size > 0)
        return ERR_CORRUPT;
    *message = read;
    return OK;
}

enum error legacy_walk_open(const struct legacy_message *message, size_t limit_bytes, struct text *scratch,
                            struct legacy_walk *walk)
{
    struct legacy_walk opened = {.wrapper = *message, .is_compressed = legacy_codec(message) != CODEC_NONE};
    if (!opened.is_compressed) {
        *walk = opened;
        return OK;
    }
    /* zstd came with magic 2. */
    if (legacy_codec(message) > CODEC_LZ4 || !message->value.data) return ERR_CORRUPT;
    text_reset(scratch);
    enum error err = codec_decompress_old(legacy_codec(message), message->value, limit_bytes, scratch);
    if (err != OK) return err;
    opened.rest = text_slice(scratch);

    /* Magic 1 numbers the inner messages from 0 and gives the wrapper the offset of the last, so where they
     * begin is known only after a walk to the end. */
    struct slice run = opened.rest, entry;
    struct batch_header header;
    int64_t last = -1;
    while ((err = batches_next(&run, &header, &entry)) == OK) {
        if (header.magic != message->magic) return ERR_CORRUPT;
        if (header.attributes & BATCH_CODEC_MASK) return ERR_CORRUPT; /* wrappers do not nest */
        if (header.base_offset <= last) return ERR_CORRUPT;
        last = header.base_offset;
    }
    if (err != ERR_EOF) return ERR_CORRUPT;
    if (last < 0) return ERR_CORRUPT; /* a wrapper of nothing */
    if (message->magic == 1) {
        opened.offset_shift = message->offset - last;
        if (opened.offset_shift < 0) return ERR_CORRUPT;
    }
    *walk = opened;
    return OK;
}

enum error legacy_walk_next(struct legacy_walk *walk, struct legacy_message *message)
{
    if (!walk->is_compressed) {
        if (walk->is_done) return ERR_EOF;
        walk->is_done = true;
        *message = walk->wrapper;
        return OK;
    }
    struct slice entry;
    enum error err = batches_next(&walk->rest, NULL, &entry);
    if (err != OK) return err;
    struct legacy_message read;
    err = legacy_message_read(entry, true, &read);
    if (err != OK) return err;
    read.offset += walk->offset_shift;
    if (walk->wrapper.attributes & BATCH_TIMESTAMP_TYPE) {
        read.timestamp = walk->wrapper.timestamp;
        read.attributes |= BATCH_TIMESTAMP_TYPE;
    }
    *message = read;
    return OK;
}

static void nullable_add(struct text *out, struct slice s)
{
    text_add_be32(out, s.data ? (uint32_t)s.size : UINT32_MAX);
    text_add(out, s);
}

enum error legacy_message_write(const struct legacy_message *message, struct text *out)
{
    assert(message->magic == 0 || message->magic == 1);
    size_t overhead = message->magic == 0 ? LEGACY_OVERHEAD_V0 : LEGACY_OVERHEAD_V1;
    if (message->key.size > INT32_MAX - overhead ||
        message->value.size > INT32_MAX - overhead - message->key.size) {
        return ERR_TOO_LARGE;
    }
    size_t start = out->size, size = overhead + message->key.size + message->value.size;
    text_add_be64(out, (uint64_t)message->offset);
    text_add_be32(out, (uint32_t)(size - BATCH_PREFIX_SIZE));
    text_add_be32(out, 0); /* the crc's place */
    text_addc(out, (char)message->magic);
    text_addc(out, (char)message->attributes);
    if (message->magic == 1) text_add_be64(out, (uint64_t)message->timestamp);
    nullable_add(out, message->key);
    nullable_add(out, message->value);
    if (out->failed) return ERR_NOMEM;
    assert(out->size - start == size);
    put_be32(out->data + start + 12, crc32_legacy(0, out->data + start + 16, size - 16));
    return OK;
}
