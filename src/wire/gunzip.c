#include "wire/gunzip.h"

#include <stdlib.h>
#include <zlib.h>

enum { GZIP_ONLY = 16 + 15 };

struct gunzip {
    z_stream stream;
    bool is_whole;
};

enum error gunzip_new(struct gunzip **result)
{
    struct gunzip *gunzip = calloc(1, sizeof *gunzip);
    if (!gunzip) return ERR_NOMEM;
    if (inflateInit2(&gunzip->stream, GZIP_ONLY) != Z_OK) {
        free(gunzip);
        return ERR_NOMEM;
    }
    *result = gunzip;
    return OK;
}

void gunzip_free(struct gunzip **gunzip)
{
    if (!*gunzip) return;
    inflateEnd(&(*gunzip)->stream);
    free(*gunzip);
    *gunzip = NULL;
}

enum error gunzip_read(struct gunzip *gunzip, struct slice *in, void *out, size_t size, size_t *got)
{
    z_stream *stream = &gunzip->stream;
    uInt want = size > UINT32_MAX ? UINT32_MAX : (uInt)size;
    stream->next_out = out;
    stream->avail_out = want;
    int answer = Z_OK;
    while (answer == Z_OK && in->size > 0 && stream->avail_out > 0) {
        if (gunzip->is_whole && inflateReset(stream) != Z_OK) return ERR_CORRUPT; /* another member */
        gunzip->is_whole = false;
        uInt offered = in->size > UINT32_MAX ? UINT32_MAX : (uInt)in->size;
        stream->next_in = (Bytef *)(uintptr_t)in->data;
        stream->avail_in = offered;
        answer = inflate(stream, Z_NO_FLUSH);
        size_t used = offered - stream->avail_in;
        *in = (struct slice){in->data + used, in->size - used};
        if (answer == Z_STREAM_END) {
            gunzip->is_whole = true;
            answer = Z_OK;
        } else if (answer == Z_OK && used == 0 && stream->avail_out == want) {
            break;
        }
    }
    *got = want - stream->avail_out;
    if (answer == Z_MEM_ERROR) return ERR_NOMEM;
    return answer == Z_OK || (answer == Z_BUF_ERROR && *got > 0) ? OK : ERR_CORRUPT;
}

bool gunzip_is_whole(const struct gunzip *gunzip)
{
    return gunzip->is_whole;
}

uint32_t adler32_of(uint32_t adler, const void *data, size_t size)
{
    return (uint32_t)adler32_z(adler, data, size);
}
