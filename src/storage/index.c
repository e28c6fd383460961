#include "storage/index.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/vec.h"

/* Beyond this an index file is not one: 2^31 - 1 bytes of log at one entry a byte would be more, but nobody makes it. */
#define INDEX_SIZE_MAX ((size_t)1 << 30)

void offset_index_free(struct offset_index *index)
{
    free(index->entries);
    *index = (struct offset_index){0};
}

void time_index_free(struct time_index *index)
{
    free(index->entries);
    *index = (struct time_index){0};
}

struct offset_entry offset_entry_get(const uint8_t *at)
{
    return (struct offset_entry){(int32_t)get_be32(at), (int32_t)get_be32(at + 4)};
}

struct time_entry time_entry_get(const uint8_t *at)
{
    return (struct time_entry){(int64_t)get_be64(at), (int32_t)get_be32(at + 8)};
}

enum error offset_index_add(struct offset_index *index, int32_t relative_offset, int32_t position)
{
    if (index->count > 0) {
        const struct offset_entry *last = &index->entries[index->count - 1];
        if (relative_offset <= last->relative_offset || position <= last->position) return OK;
    }
    if (!VEC_RESERVE(index->entries, index->count, index->capacity)) return ERR_NOMEM;
    index->entries[index->count++] = (struct offset_entry){relative_offset, position};
    return OK;
}

enum error time_index_add(struct time_index *index, int64_t timestamp, int32_t relative_offset)
{
    if (timestamp < 0) return OK;
    if (index->count > 0) {
        const struct time_entry *last = &index->entries[index->count - 1];
        if (timestamp <= last->timestamp || relative_offset < last->relative_offset) return OK;
    }
    if (!VEC_RESERVE(index->entries, index->count, index->capacity)) return ERR_NOMEM;
    index->entries[index->count++] = (struct time_entry){timestamp, relative_offset};
    return OK;
}

struct offset_entry offset_index_floor(const struct offset_index *index, int64_t relative_offset)
{
    size_t low = 0, high = index->count; /* entries below `low` are at or below the target */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->entries[middle].relative_offset <= relative_offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? index->entries[low - 1] : (struct offset_entry){0, 0};
}

static void offset_entry_put(uint8_t *out, const void *entries, size_t i)
{
    const struct offset_entry *entry = (const struct offset_entry *)entries + i;
    put_be32(out, (uint32_t)entry->relative_offset);
    put_be32(out + 4, (uint32_t)entry->position);
}

static void time_entry_put(uint8_t *out, const void *entries, size_t i)
{
    const struct time_entry *entry = (const struct time_entry *)entries + i;
    put_be64(out, (uint64_t)entry->timestamp);
    put_be32(out + 8, (uint32_t)entry->relative_offset);
}

/* Writes entries [written, count) and makes the file exactly `count` long. */
static enum error save(struct disk *disk, const char *path, const void *entries, size_t written, size_t count,
                       size_t entry_size, void (*put)(uint8_t *out, const void *entries, size_t i))
{
    struct file *file = NULL;
    int flags = FILE_WRITE | FILE_CREATE | (written == 0 ? FILE_TRUNCATE : 0);
    enum error err = file_open(disk, path, flags, &file);

    uint8_t buffer[4096];
    size_t per_write = sizeof buffer / entry_size;
    while (err == OK && written < count) {
        size_t now = count - written < per_write ? count - written : per_write;
        for (size_t i = 0; i < now; i++) put(buffer + i * entry_size, entries, written + i);
        err = file_pwrite(file, buffer, now * entry_size, (int64_t)(written * entry_size));
        written += now;
    }
    int64_t size = 0;
    if (err == OK) err = file_size(file, &size);
    if (err == OK && size > (int64_t)(count * entry_size))
        err = file_truncate(file, (int64_t)(count * entry_size));
    file_release(&file);
    return err;
}

enum error offset_index_save(struct offset_index *index, struct disk *disk, const char *path)
{
    enum error err =
        save(disk, path, index->entries, index->written, index->count, OFFSET_ENTRY_SIZE, offset_entry_put);
    if (err == OK) index->written = index->count;
    return err;
}

enum error time_index_save(struct time_index *index, struct disk *disk, const char *path)
{
    enum error err =
        save(disk, path, index->entries, index->written, index->count, TIME_ENTRY_SIZE, time_entry_put);
    if (err == OK) index->written = index->count;
    return err;
}

enum error offset_index_load(struct disk *disk, const char *path, int64_t log_size,
                             struct offset_index *index)
{
    struct bytes *bytes = NULL;
    struct offset_index loaded = {0};
    enum error err = disk_read_file(disk, path, INDEX_SIZE_MAX, &bytes);
    if (err != OK) return err;
    if (bytes->size % OFFSET_ENTRY_SIZE != 0) err = ERR_CORRUPT;
    for (size_t at = 0; err == OK && at < bytes->size; at += OFFSET_ENTRY_SIZE) {
        struct offset_entry entry = offset_entry_get(bytes->data + at);
        size_t before = loaded.count;
        if (entry.relative_offset < 0 || entry.position < 0 || entry.position >= log_size) err = ERR_CORRUPT;
        if (err == OK) err = offset_index_add(&loaded, entry.relative_offset, entry.position);
        if (err == OK && loaded.count == before) err = ERR_CORRUPT;
    }
    bytes_release(&bytes);
    if (err != OK) {
        offset_index_free(&loaded);
        return err;
    }
    loaded.written = loaded.count;
    *index = loaded;
    return OK;
}

enum error time_index_load(struct disk *disk, const char *path, struct time_index *index)
{
    struct bytes *bytes = NULL;
    struct time_index loaded = {0};
    enum error err = disk_read_file(disk, path, INDEX_SIZE_MAX, &bytes);
    if (err != OK) return err;
    if (bytes->size % TIME_ENTRY_SIZE != 0) err = ERR_CORRUPT;
    for (size_t at = 0; err == OK && at < bytes->size; at += TIME_ENTRY_SIZE) {
        struct time_entry entry = time_entry_get(bytes->data + at);
        size_t before = loaded.count;
        if (entry.relative_offset < 0) err = ERR_CORRUPT;
        if (err == OK) err = time_index_add(&loaded, entry.timestamp, entry.relative_offset);
        if (err == OK && loaded.count == before) err = ERR_CORRUPT;
    }
    bytes_release(&bytes);
    if (err != OK) {
        time_index_free(&loaded);
        return err;
    }
    loaded.written = loaded.count;
    *index = loaded;
    return OK;
}

static enum error read_at(struct file *file, bool cached, void *into, size_t size, int64_t position)
{
    size_t got = 0;
    enum error err = cached ? file_pread_cached(file, into, size, position, &got)
                            : file_pread(file, into, size, position, &got);
    if (err == OK && got < size) err = ERR_CORRUPT; /* it shrank meanwhile */
    return err;
}

/* Entries [0, *low) are at or below the key; narrows [*low, *high) until `few` are left, so that one read takes them. */
enum { FEW = 128 };

enum error offset_index_search(struct file *file, bool cached, int64_t relative_offset,
                               struct offset_entry *entry)
{
    int64_t size;
    enum error err = file_size(file, &size);
    if (err != OK) return err;

    int64_t low = 0, high = size / OFFSET_ENTRY_SIZE;
    while (high - low > FEW) {
        uint8_t raw[OFFSET_ENTRY_SIZE];
        int64_t middle = low + (high - low) / 2;
        err = read_at(file, cached, raw, sizeof raw, middle * OFFSET_ENTRY_SIZE);
        if (err != OK) return err;
        if (offset_entry_get(raw).relative_offset <= relative_offset)
            low = middle + 1;
        else
            high = middle;
    }
    /* The answer is the last one at or below, so it may be the entry before `low`. */
    int64_t first = low > 0 ? low - 1 : 0;
    uint8_t raw[(FEW + 1) * OFFSET_ENTRY_SIZE];
    size_t count = (size_t)(high - first);
    if (count > 0) err = read_at(file, cached, raw, count * OFFSET_ENTRY_SIZE, first * OFFSET_ENTRY_SIZE);
    if (err != OK) return err;
    struct offset_entry found = {0, 0};
    for (size_t i = 0; i < count; i++) {
        struct offset_entry candidate = offset_entry_get(raw + i * OFFSET_ENTRY_SIZE);
        if (candidate.relative_offset > relative_offset) break;
        found = candidate;
    }
    *entry = found;
    return OK;
}

enum error time_index_search(struct file *file, int64_t timestamp, struct time_entry *entry)
{
    int64_t size;
    enum error err = file_size(file, &size);
    if (err != OK) return err;

    struct time_entry found = {-1, 0};
    int64_t low = 0, high = size / TIME_ENTRY_SIZE;
    while (low < high) {
        uint8_t raw[TIME_ENTRY_SIZE];
        int64_t middle = low + (high - low) / 2;
        err = read_at(file, false, raw, sizeof raw, middle * TIME_ENTRY_SIZE);
        if (err != OK) return err;
        struct time_entry candidate = time_entry_get(raw);
        if (candidate.timestamp < timestamp) {
            found = candidate;
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *entry = found;
    return OK;
}

enum error time_index_last(struct file *file, struct time_entry *entry)
{
    int64_t size;
    enum error err = file_size(file, &size);
    if (err != OK) return err;
    struct time_entry found = {-1, 0};
    int64_t count = size / TIME_ENTRY_SIZE;
    if (count > 0) {
        uint8_t raw[TIME_ENTRY_SIZE];
        err = read_at(file, false, raw, sizeof raw, (count - 1) * TIME_ENTRY_SIZE);
        if (err != OK) return err;
        found = time_entry_get(raw);
        /* An untrimmed tail of zeros, left by a writer that died: it says nothing. */
        if (found.timestamp == 0 && found.relative_offset == 0) found = (struct time_entry){-1, 0};
    }
    *entry = found;
    return OK;
}
