#include "quorum/files.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/vec.h"
#include "loop/disk.h"
#include "wire/crc32c.h"

enum { SCAN_WINDOW = 1 << 20 };

static const char log_magic[8] = "odrq-log";
static const char snapshot_magic[8] = "odrq-snp";

/* --- writing --- */

void quorum_record_seal(uint8_t *out, uint64_t index, uint64_t term, uint64_t durable, unsigned kind,
                        size_t entry_size)
{
    assert(entry_size <= QUORUM_ENTRY_MAX);
    size_t size = quorum_record_size(entry_size);
    memset(out + QUORUM_RECORD_HEADER_SIZE + entry_size, 0, size - QUORUM_RECORD_HEADER_SIZE - entry_size);
    put_be32(out + 4, (uint32_t)entry_size | (uint32_t)kind << 30);
    put_be64(out + 8, index);
    put_be64(out + 16, term);
    put_be64(out + 24, durable);
    put_be32(out, crc32c(0, out + 4, QUORUM_RECORD_HEADER_SIZE - 4 + entry_size));
}

static uint32_t header_crc(const uint8_t *header)
{
    return crc32c(crc32c(0, header, 12), header + 16, QUORUM_FILE_HEADER_SIZE - 16);
}

static void header_write(uint8_t *out, const char magic[8], uint32_t format, uint64_t a, uint64_t b)
{
    memcpy(out, magic, 8);
    put_be32(out + 8, format);
    put_be64(out + 16, a);
    put_be64(out + 24, b);
    put_be32(out + 12, header_crc(out));
}

void quorum_log_header(uint8_t out[QUORUM_FILE_HEADER_SIZE], uint32_t format, uint64_t first_index)
{
    header_write(out, log_magic, format, first_index, 0);
}

void quorum_snapshot_header(uint8_t out[QUORUM_FILE_HEADER_SIZE], uint32_t format, uint64_t index,
                            uint64_t term)
{
    header_write(out, snapshot_magic, format, index, term);
}

/* The version is looked at before the checksum: a newer format may sum up otherwise. */
static enum error header_check(const uint8_t *header, const char magic[8])
{
    if (memcmp(header, magic, 8) != 0) return ERR_CORRUPT;
    if (get_be32(header + 8) > QUORUM_FORMAT) return ERR_UNSUPPORTED_VERSION;
    if (get_be32(header + 12) != header_crc(header) || get_be32(header + 8) == 0) return ERR_CORRUPT;
    return OK;
}

enum error quorum_header_read(struct disk *disk, const char *path, struct quorum_header *header)
{
    uint8_t bytes[QUORUM_FILE_HEADER_SIZE];
    size_t got = 0;
    struct file *file = NULL;
    enum error err = file_open(disk, path, FILE_READ, &file);
    if (err == OK) err = file_pread(file, bytes, sizeof bytes, 0, &got);
    if (err == OK && got < sizeof bytes) err = ERR_TRUNCATED;
    if (err == OK) err = header_check(bytes, memcmp(bytes, log_magic, 8) == 0 ? log_magic : snapshot_magic);
    if (err == OK)
        *header = (struct quorum_header){get_be32(bytes + 8), get_be64(bytes + 16), get_be64(bytes + 24)};
    file_release(&file);
    return err;
}

/* --- names --- */

bool quorum_path(char out[QUORUM_PATH_SIZE], const char *dir, const char *prefix, const char *kind,
                 uint64_t index)
{
    int size =
        snprintf(out, QUORUM_PATH_SIZE, "%s/%s%s-%020llu", dir, prefix, kind, (unsigned long long)index);
    return size > 0 && size < QUORUM_PATH_SIZE;
}

bool quorum_name_parse(const char *name, const char *prefix, const char *kind, uint64_t *index)
{
    size_t prefix_size = strlen(prefix), kind_size = strlen(kind);
    if (strncmp(name, prefix, prefix_size) != 0) return false;
    name += prefix_size;
    if (strncmp(name, kind, kind_size) != 0 || name[kind_size] != '-') return false;
    name += kind_size + 1;
    int64_t value;
    if (strlen(name) != 20 || !slice_to_int64(slice_of(name), 0, INT64_MAX, &value)) return false;
    *index = (uint64_t)value;
    return true;
}

enum error quorum_files_list(struct disk *disk, const char *dir, const char *prefix, const char *kind,
                             uint64_t **indexes, size_t *count)
{
    struct disk_entry *entries;
    size_t entry_count;
    enum error err = disk_list(disk, dir, &entries, &entry_count);
    if (err != OK) return err;
    uint64_t *found = NULL;
    size_t found_count = 0, capacity = 0;
    for (size_t i = 0; i < entry_count && err == OK; i++) { /* sorted by name, and so by index */
        uint64_t index;
        if (entries[i].is_dir || !quorum_name_parse(entries[i].name, prefix, kind, &index)) continue;
        if (!VEC_RESERVE(found, found_count, capacity)) {
            err = ERR_NOMEM;
            break;
        }
        found[found_count++] = index;
    }
    disk_list_free(entries, entry_count);
    if (err != OK) {
        free(found);
        return err;
    }
    *indexes = found;
    *count = found_count;
    return OK;
}

enum error quorum_files_bytes(struct disk *disk, const char *dir, const char *prefix, const char *kind,
                              int64_t *bytes)
{
    struct disk_entry *entries;
    size_t count;
    enum error err = disk_list(disk, dir, &entries, &count);
    if (err != OK) return err;
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t index;
        if (!entries[i].is_dir && quorum_name_parse(entries[i].name, prefix, kind, &index))
            sum += entries[i].size;
    }
    disk_list_free(entries, count);
    *bytes = sum;
    return OK;
}

/* --- reading a log --- */

/* Makes [position, position + size) available, as far as the file goes. */
static enum error scan_fill(struct quorum_scan *scan, int64_t position, size_t size, const uint8_t **data,
                            size_t *got)
{
    int64_t end = scan->buffer_position + (int64_t)scan->buffered;
    if (position < scan->buffer_position || position + (int64_t)size > end) {
        size_t wanted = size > SCAN_WINDOW ? size : SCAN_WINDOW;
        if ((int64_t)wanted > scan->size - position) wanted = (size_t)(scan->size - position);
        if (wanted > scan->capacity) {
            uint8_t *grown = realloc(scan->buffer, wanted);
            if (!grown) return ERR_NOMEM;
            scan->buffer = grown;
            scan->capacity = wanted;
        }
        scan->buffered = 0;
        scan->buffer_position = position;
        enum error err = file_pread(scan->file, scan->buffer, wanted, position, &scan->buffered);
        if (err != OK) return err;
    }
    size_t offset = (size_t)(position - scan->buffer_position);
    size_t available = scan->buffered - offset;
    *data = scan->buffer ? scan->buffer + offset : NULL; /* an empty file has no buffer */
    *got = available < size ? available : size;
    return OK;
}

/* A whole record with a right checksum at `position`? */
static enum error scan_record(struct quorum_scan *scan, int64_t position, bool *is_whole,
                              struct quorum_record *record)
{
    *is_whole = false;
    const uint8_t *data;
    size_t got;
    if (scan->size - position < QUORUM_RECORD_HEADER_SIZE) return OK;
    enum error err = scan_fill(scan, position, QUORUM_RECORD_HEADER_SIZE, &data, &got);
    if (err != OK || got < QUORUM_RECORD_HEADER_SIZE) return err;
    uint32_t word = get_be32(data + 4);
    size_t entry_size = quorum_record_entry_size(word);
    if (get_be64(data + 8) == 0 || (word != entry_size && scan->format == QUORUM_FORMAT_LONE)) return OK;
    size_t size = quorum_record_size(entry_size);
    if ((int64_t)size > scan->size - position) return OK;
    err = scan_fill(scan, position, size, &data, &got);
    if (err != OK || got < size) return err;
    if (get_be32(data) != crc32c(0, data + 4, QUORUM_RECORD_HEADER_SIZE - 4 + entry_size)) return OK;
    *record = (struct quorum_record){get_be64(data + 8),
                                     get_be64(data + 16),
                                     get_be64(data + 24),
                                     word >> 30,
                                     {data + QUORUM_RECORD_HEADER_SIZE, entry_size}};
    *is_whole = true;
    return OK;
}

/* What follows a record that is not whole: nothing, an unfinished write, or proof that it had been durable. */
static enum error scan_judge(struct quorum_scan *scan, uint64_t expected, enum quorum_scan_end *end)
{
    bool is_zero = true;
    for (int64_t position = scan->position; position < scan->size; position += 8) {
        const uint8_t *data;
        size_t got;
        enum error err = scan_fill(scan, position, 8, &data, &got);
        if (err != OK) return err;
        bool is_blank = true;
        for (size_t i = 0; i < got; i++) is_blank = is_blank && data[i] == 0;
        if (is_blank) continue;
        is_zero = false;
        /* Most bytes are no record's first: the index tells without summing up. */
        err = scan_fill(scan, position, 16, &data, &got);
        if (err != OK) return err;
        uint64_t index = got == 16 ? get_be64(data + 8) : 0;
        if (index <= expected || index - expected > (uint64_t)(scan->size - scan->position)) continue;
        struct quorum_record later;
        bool is_whole;
        err = scan_record(scan, position, &is_whole, &later);
        if (err != OK) return err;
        if (is_whole && later.index > expected && later.durable > expected) {
            *end = QUORUM_SCAN_HURT;
            return OK;
        }
    }
    *end = is_zero ? QUORUM_SCAN_END : QUORUM_SCAN_TORN;
    return OK;
}

enum error quorum_scan_open(struct disk *disk, const char *path, uint64_t name_index,
                            struct quorum_scan *scan)
{
    struct quorum_scan opened = {.path = path, .position = QUORUM_FILE_HEADER_SIZE};
    const uint8_t *header = NULL;
    size_t got = 0;
    enum error err = file_open(disk, path, FILE_WRITE, &opened.file);
    if (err == OK) err = file_size(opened.file, &opened.size);
    if (err == OK) err = scan_fill(&opened, 0, QUORUM_FILE_HEADER_SIZE, &header, &got);
    if (err == OK && got < QUORUM_FILE_HEADER_SIZE) err = ERR_TRUNCATED;
    if (err == OK) {
        static const uint8_t zeros[QUORUM_FILE_HEADER_SIZE];
        err = memcmp(header, zeros, sizeof zeros) == 0 ? ERR_TRUNCATED : header_check(header, log_magic);
    }
    if (err == ERR_TRUNCATED && got == QUORUM_FILE_HEADER_SIZE) {
        /* The first write makes header and records: a file without a header has nothing durable, or is hurt. */
        enum quorum_scan_end end = QUORUM_SCAN_FAILED;
        if (scan_judge(&opened, name_index, &end) != OK || end == QUORUM_SCAN_HURT) err = ERR_CORRUPT;
    }
    if (err == OK && get_be64(header + 16) != name_index) err = ERR_CORRUPT;
    if (err == OK) opened.format = get_be32(header + 8);
    if (err == OK) {
        *scan = opened;
    } else {
        quorum_scan_close(&opened);
    }
    return err;
}

enum quorum_scan_end quorum_scan_next(struct quorum_scan *scan, uint64_t expected,
                                      struct quorum_record *record, enum error *err)
{
    bool is_whole;
    *err = scan_record(scan, scan->position, &is_whole, record);
    if (*err != OK) return QUORUM_SCAN_FAILED;
    if (is_whole && record->index == expected) {
        scan->position += (int64_t)quorum_record_size(record->entry.size);
        return QUORUM_SCAN_RECORD;
    }
    if (is_whole) return QUORUM_SCAN_HURT; /* a record in the wrong place was not torn there */
    enum quorum_scan_end end;
    *err = scan_judge(scan, expected, &end);
    return *err == OK ? end : QUORUM_SCAN_FAILED;
}

void quorum_scan_close(struct quorum_scan *scan)
{
    file_release(&scan->file);
    free(scan->buffer);
    *scan = (struct quorum_scan){0};
}

/* --- reading a snapshot --- */

enum error quorum_snapshot_read(struct disk *disk, const char *path, uint64_t *index, uint64_t *term,
                                uint32_t *format, enum error (*members)(void *context, struct slice chunk),
                                enum error (*chunk)(void *context, struct slice chunk), void *context,
                                int64_t *position)
{
    struct quorum_scan scan = {.path = path};
    const uint8_t *data;
    size_t got;
    *position = 0;
    enum error err = file_open(disk, path, FILE_READ, &scan.file);
    if (err == OK) err = file_size(scan.file, &scan.size);
    if (err == OK) err = scan_fill(&scan, 0, QUORUM_FILE_HEADER_SIZE, &data, &got);
    if (err == OK) err = got < QUORUM_FILE_HEADER_SIZE ? ERR_TRUNCATED : header_check(data, snapshot_magic);
    if (err != OK) goto out;
    *index = get_be64(data + 16);
    *term = get_be64(data + 24);
    *format = get_be32(data + 8);
    bool has_members = *format != QUORUM_FORMAT_LONE;
    if (has_members && !members) {
        err = ERR_UNSUPPORTED;
        goto out;
    }

    int64_t at = QUORUM_FILE_HEADER_SIZE;
    uint32_t crc = 0;
    for (uint64_t count = 0;; count++) {
        *position = at;
        err = scan_fill(&scan, at, QUORUM_CHUNK_HEADER_SIZE, &data, &got);
        if (err == OK && got < QUORUM_CHUNK_HEADER_SIZE) err = ERR_TRUNCATED;
        if (err != OK) break;
        uint32_t size = get_be32(data), want = get_be32(data + 4);
        bool is_last = size == QUORUM_CHUNK_END;
        if (is_last) size = 8;
        at += QUORUM_CHUNK_HEADER_SIZE;
        if ((int64_t)size > scan.size - at) err = ERR_TRUNCATED;
        if (err == OK) err = scan_fill(&scan, at, size, &data, &got);
        if (err == OK && got < size) err = ERR_TRUNCATED;
        if (err != OK) break;
        crc = crc32c(crc, data, size);
        if (crc != want || (is_last && get_be64(data) != count)) err = ERR_CORRUPT;
        if (err == OK && is_last && has_members && count == 0) err = ERR_CORRUPT;
        if (err == OK && !is_last) {
            struct slice bytes = {data, size};
            err = has_members && count == 0 ? members(context, bytes) : chunk(context, bytes);
        }
        if (err != OK || is_last) break;
        at += size;
    }
out:
    quorum_scan_close(&scan);
    return err;
}
