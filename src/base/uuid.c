#include "base/uuid.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void uuid_format(const struct uuid *id, char text[UUID_TEXT_SIZE])
{
    uint32_t bits = 0;
    int count = 0, out = 0;
    for (int i = 0; i < 16; i++) {
        bits = bits << 8 | id->bytes[i];
        count += 8;
        while (count >= 6) {
            count -= 6;
            text[out++] = alphabet[bits >> count & 63];
        }
    }
    text[out++] = alphabet[bits << (6 - count) & 63];
    text[out] = 0;
}

bool uuid_parse(struct slice text, struct uuid *id)
{
    if (!text.data || text.size != 22) return false;
    struct uuid parsed;
    uint32_t bits = 0;
    int count = 0, out = 0;
    for (size_t i = 0; i < 22; i++) {
        const char *at = memchr(alphabet, text.data[i], 64);
        if (!at) return false;
        bits = bits << 6 | (uint32_t)(at - alphabet);
        count += 6;
        if (count >= 8) {
            count -= 8;
            parsed.bytes[out++] = (uint8_t)(bits >> count);
        }
    }
    *id = parsed;
    return true;
}

bool uuid_from_random(const uint8_t random[16], struct uuid *id)
{
    struct uuid made;
    memcpy(made.bytes, random, 16);
    made.bytes[6] = (uint8_t)((made.bytes[6] & 0x0f) | 0x40);
    made.bytes[8] = (uint8_t)((made.bytes[8] & 0x3f) | 0x80);
    char text[UUID_TEXT_SIZE];
    uuid_format(&made, text);
    if (text[0] == '-') return false;
    *id = made;
    return true;
}
