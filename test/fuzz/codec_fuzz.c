/* codec_fuzz: every decompressor against any bytes and a limit; and what is compressed comes back. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    enum codec codec = (enum codec)(data[0] % 8);
    size_t limit = (size_t)data[1] << 10;
    struct slice in = {data + 2, size - 2};
    struct text out = {0}, packed = {0};
    text_addz(&out, "kept");
    enum error err = codec_decompress_old(codec, in, limit, &out);
    CHECK(out.size >= 4 && memcmp(out.data, "kept", 4) == 0);
    CHECK(out.size - 4 <= limit);
    if (err != OK) CHECK(out.size == 4);
    if (codec < CODEC_COUNT) {
        text_reset(&out);
        CHECK(codec_compress(codec, codec_default_level(codec), in, &packed) == OK);
        CHECK(codec_decompress(codec, text_slice(&packed), in.size, &out) == OK);
        CHECK(out.size == in.size && (in.size == 0 || memcmp(out.data, in.data, in.size) == 0));
    }
    text_free(&out);
    text_free(&packed);
    return 0;
}
