#include "wire/utf8.h"

#include <string.h>

static bool continues(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Whether `second` may follow `first`, the lead of a sequence of 3 or 4 bytes. Surrogates pass here. */
static bool may_follow(uint8_t first, uint8_t second)
{
    if (first == 0xe0) return second >= 0xa0 && second <= 0xbf;
    if (first == 0xf0) return second >= 0x90 && second <= 0xbf;
    if (first == 0xf4) return second >= 0x80 && second <= 0x8f;
    return continues(second);
}

/* The sequence at s[0..size): its length, and in *valid whether it is a character. A malformed one is as long as
 * what Java replaces by one U+FFFD. */
static size_t sequence(const uint8_t *s, size_t size, bool *valid)
{
    uint8_t first = s[0];
    *valid = true;
    if (first < 0x80) return 1;
    if (first >= 0xc2 && first <= 0xdf) {
        if (size >= 2 && continues(s[1])) return 2;
        *valid = false;
        return 1;
    }
    if (first >= 0xe0 && first <= 0xef) {
        if (size >= 2 && may_follow(first, s[1])) {
            if (size >= 3 && continues(s[2])) {
                *valid = !(first == 0xed && s[1] >= 0xa0);
                return 3;
            }
            *valid = false;
            return 2;
        }
        *valid = false;
        return 1;
    }
    if (first >= 0xf0 && first <= 0xf4 && size >= 2 && may_follow(first, s[1])) {
        if (size >= 3 && continues(s[2])) {
            if (size >= 4 && continues(s[3])) return 4;
            *valid = false;
            return 3;
        }
        *valid = false;
        return 2;
    }
    *valid = false;
    return 1;
}

bool utf8_is_valid(struct slice s)
{
    size_t i = 0;
    while (i < s.size) {
        uint64_t eight;
        if (s.size - i >= sizeof eight) {
            memcpy(&eight, s.data + i, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        if (s.data[i] < 0x80) {
            i++;
            continue;
        }
        bool valid;
        i += sequence(s.data + i, s.size - i, &valid);
        if (!valid) return false;
    }
    return true;
}

size_t utf8_replace(struct slice s, uint8_t *out)
{
    size_t written = 0;
    for (size_t i = 0; i < s.size;) {
        bool valid;
        size_t length = sequence(s.data + i, s.size - i, &valid);
        if (valid) {
            memcpy(out + written, s.data + i, length);
            written += length;
        } else {
            memcpy(out + written, "\xef\xbf\xbd", 3);
            written += 3;
        }
        i += length;
    }
    return written;
}
