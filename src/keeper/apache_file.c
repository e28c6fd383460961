/* apache_file.c: the bytes of one of Apache's files. What is passed is summed up when the buffer moves on, so the sum costs
 * one walk over warm bytes. */
#include <stdlib.h>
#include <string.h>

#include "keeper/apache_inside.h"
#include "loop/disk.h"
#include "wire/codec.h"

enum {
    READ_SIZE = 1 << 20,
    SNAPPY_HEADER_SIZE = 16,
    SNAPPY_BLOCK_MAX = 64 << 20, /* snappy-java's default is 32 KiB */
};

static const uint8_t SNAPPY_MAGIC[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};

static bool has_suffix(const char *path, const char *suffix)
{
    size_t size = strlen(path), suffix_size = strlen(suffix);
    return size > suffix_size && strcmp(path + size - suffix_size, suffix) == 0;
}

enum error apache_file_open(struct disk *disk, const char *path, struct apache_file *file)
{
    *file = (struct apache_file){.adler = 1, .is_snappy = has_suffix(path, ".snappy")};
    enum error err = file_open(disk, path, FILE_READ, &file->file);
    if (err == OK && has_suffix(path, ".gz")) err = gunzip_new(&file->gunzip);
    if (err != OK) apache_file_close(file);
    return err;
}

void apache_file_close(struct apache_file *file)
{
    file_release(&file->file);
    gunzip_free(&file->gunzip);
    free(file->packed);
    free(file->buffer);
    text_free(&file->unpacked);
    *file = (struct apache_file){0};
}

uint32_t apache_file_sum(struct apache_file *file)
{
    if (file->begin == file->summed) return file->adler;
    file->adler = adler32_of(file->adler, file->buffer + file->summed, file->begin - file->summed);
    file->summed = file->begin;
    return file->adler;
}

static enum error grow(uint8_t **data, size_t *capacity, size_t wanted)
{
    if (wanted <= *capacity) return OK;
    size_t size = *capacity + *capacity / 2;
    if (size < wanted) size = wanted;
    if (size < READ_SIZE) size = READ_SIZE;
    uint8_t *moved = realloc(*data, size);
    if (!moved) return ERR_NOMEM;
    *data = moved;
    *capacity = size;
    return OK;
}

/* At least `size` packed bytes, if the file has them. */
static enum error fill_packed(struct apache_file *file, size_t size, size_t *got)
{
    *got = file->packed_end - file->packed_begin;
    if (*got >= size) return OK;
    memmove(file->packed, file->packed + file->packed_begin, *got);
    file->packed_begin = 0;
    file->packed_end = *got;
    enum error err = OK;
    while (*got < size) {
        /* Memory grows with what the file really holds. */
        err = grow(&file->packed, &file->packed_capacity, *got + READ_SIZE);
        size_t part = 0;
        if (err == OK)
            err =
                file_pread(file->file, file->packed + *got, file->packed_capacity - *got, file->read, &part);
        if (err != OK || part == 0) break;
        file->read += (int64_t)part;
        file->packed_end = *got += part;
    }
    return err;
}

static enum error read_gzip(struct apache_file *file, uint8_t *out, size_t size, size_t *got)
{
    *got = 0;
    while (*got == 0) {
        size_t there;
        enum error err = fill_packed(file, 1, &there);
        if (err != OK) return err;
        if (there == 0) return gunzip_is_whole(file->gunzip) ? OK : ERR_TRUNCATED;
        struct slice in = {file->packed + file->packed_begin, there};
        err = gunzip_read(file->gunzip, &in, out, size, got);
        if (err != OK) return err;
        file->packed_begin = file->packed_end - in.size;
    }
    return OK;
}

/* The next block into `unpacked`; nothing at the end of the file. */
static enum error next_block(struct apache_file *file)
{
    text_reset(&file->unpacked);
    file->unpacked_begin = 0;
    for (;;) {
        size_t there;
        enum error err = fill_packed(file, SNAPPY_HEADER_SIZE, &there);
        if (err != OK || there == 0) return err;
        const uint8_t *at = file->packed + file->packed_begin;
        if (there >= SNAPPY_HEADER_SIZE && memcmp(at, SNAPPY_MAGIC, sizeof SNAPPY_MAGIC) == 0) {
            file->packed_begin += SNAPPY_HEADER_SIZE;
            continue;
        }
        if (file->read == (int64_t)there) return ERR_CORRUPT; /* a file begins with the magic */
        if (there < 4) return ERR_TRUNCATED;
        size_t size = get_be32(at);
        if (size > SNAPPY_BLOCK_MAX) return ERR_CORRUPT;
        err = fill_packed(file, 4 + size, &there);
        if (err != OK) return err;
        if (there < 4 + size) return ERR_TRUNCATED;
        struct slice block = {file->packed + file->packed_begin + 4, size};
        err = codec_decompress(CODEC_SNAPPY, block, SNAPPY_BLOCK_MAX, &file->unpacked);
        file->packed_begin += 4 + size;
        if (err != OK || file->unpacked.size > 0) return err;
    }
}

static enum error read_snappy(struct apache_file *file, uint8_t *out, size_t size, size_t *got)
{
    if (file->unpacked_begin == file->unpacked.size) {
        enum error err = next_block(file);
        if (err != OK) return err;
    }
    size_t rest = file->unpacked.size - file->unpacked_begin;
    *got = rest < size ? rest : size;
    if (*got > 0) memcpy(out, file->unpacked.data + file->unpacked_begin, *got);
    file->unpacked_begin += *got;
    return OK;
}

enum error apache_file_peek(struct apache_file *file, size_t size, const uint8_t **data, size_t *got)
{
    enum error err = OK;
    if (file->end - file->begin < size) {
        apache_file_sum(file);
        if (file->begin > 0) memmove(file->buffer, file->buffer + file->begin, file->end - file->begin);
        file->end -= file->begin;
        file->begin = file->summed = 0;
    }
    while (err == OK && file->end < size) {
        err = grow(&file->buffer, &file->capacity, file->end + READ_SIZE);
        if (err != OK) break;
        uint8_t *out = file->buffer + file->end;
        size_t room = file->capacity - file->end, part = 0;
        if (file->gunzip) {
            err = read_gzip(file, out, room, &part);
        } else if (file->is_snappy) {
            err = read_snappy(file, out, room, &part);
        } else {
            err = file_pread(file->file, out, room, file->read, &part);
            file->read += (int64_t)part;
        }
        if (part == 0) break;
        file->end += part;
    }
    *data = file->buffer + file->begin;
    *got = file->end - file->begin;
    if (*got > size) *got = size;
    return err;
}

enum error apache_file_take(struct apache_file *file, size_t size, const uint8_t **data)
{
    size_t got;
    enum error err = apache_file_peek(file, size, data, &got);
    if (err == OK && got < size) err = ERR_TRUNCATED;
    if (err != OK) return err;
    file->begin += size;
    file->position += (int64_t)size;
    return OK;
}

enum error apache_file_int(struct apache_file *file, int32_t *value)
{
    const uint8_t *data;
    enum error err = apache_file_take(file, 4, &data);
    if (err == OK) *value = (int32_t)get_be32(data);
    return err;
}

enum error apache_file_long(struct apache_file *file, int64_t *value)
{
    const uint8_t *data;
    enum error err = apache_file_take(file, 8, &data);
    if (err == OK) *value = (int64_t)get_be64(data);
    return err;
}
