#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/vec.h"

void text_free(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

void text_reset(struct text *text)
{
    text->size = 0;
    text->failed = false;
    if (text->data) text->data[0] = 0;
}

static char *room(struct text *text, size_t size)
{
    if (text->failed) return NULL;
    if (!vec_grow((void **)&text->data, &text->capacity, text->size + size + 1, 1)) {
        text->failed = true;
        return NULL;
    }
    return text->data + text->size;
}

void text_add(struct text *text, struct slice s)
{
    char *at = room(text, s.size);
    if (!at) return;
    if (s.size) memcpy(at, s.data, s.size);
    text->size += s.size;
    text->data[text->size] = 0;
}

void text_addz(struct text *text, const char *s)
{
    text_add(text, slice_of(s));
}

void text_addc(struct text *text, char c)
{
    text_add(text, (struct slice){(const uint8_t *)&c, 1});
}

void text_addf(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *at = size < 0 ? NULL : room(text, (size_t)size);
    if (!at) {
        text->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(at, (size_t)size + 1, format, args);
    va_end(args);
    text->size += (size_t)size;
}

/* Length of the valid UTF-8 sequence at p, or 0. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    if (p[0] < 0x80) return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf && left >= 2 && (p[1] & 0xc0) == 0x80) return 2;
    if ((p[0] & 0xf0) == 0xe0 && left >= 3 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80) {
        bool is_overlong = p[0] == 0xe0 && p[1] < 0xa0;
        bool is_surrogate = p[0] == 0xed && p[1] >= 0xa0;
        return is_overlong || is_surrogate ? 0 : 3;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4 && left >= 4 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80 &&
        (p[3] & 0xc0) == 0x80) {
        bool is_out = (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
        return is_out ? 0 : 4;
    }
    return 0;
}

void text_add_json(struct text *text, struct slice s)
{
    text_addc(text, '"');
    for (size_t i = 0; i < s.size;) {
        uint8_t c = s.data[i];
        size_t length = utf8_length(s.data + i, s.size - i);
        if (length == 0) {
            text_addz(text, "\\ufffd");
            i++;
        } else if (c == '"' || c == '\\') {
            text_addf(text, "\\%c", c);
            i++;
        } else if (c == '\n') {
            text_addz(text, "\\n");
            i++;
        } else if (c < 0x20 || c == 0x7f) {
            text_addf(text, "\\u%04x", c);
            i++;
        } else {
            text_add(text, (struct slice){s.data + i, length});
            i += length;
        }
    }
    text_addc(text, '"');
}

void text_add_be16(struct text *text, uint16_t v)
{
    uint8_t raw[2];
    put_be16(raw, v);
    text_add(text, (struct slice){raw, 2});
}

void text_add_be32(struct text *text, uint32_t v)
{
    uint8_t raw[4];
    put_be32(raw, v);
    text_add(text, (struct slice){raw, 4});
}

void text_add_be64(struct text *text, uint64_t v)
{
    uint8_t raw[8];
    put_be64(raw, v);
    text_add(text, (struct slice){raw, 8});
}

bool slice_to_int64(struct slice s, int64_t min, int64_t max, int64_t *value)
{
    size_t i = 0;
    bool is_negative = s.size > 0 && s.data[0] == '-';
    if (is_negative) i = 1;
    if (i == s.size || s.size > 20) return false;
    __int128 sum = 0;
    for (; i < s.size; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') return false;
        sum = sum * 10 + (s.data[i] - '0');
    }
    if (is_negative) sum = -sum;
    if (sum < min || sum > max) return false;
    *value = (int64_t)sum;
    return true;
}
