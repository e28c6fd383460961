#include "settings/properties.h"

#include <string.h>

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static bool is_end(uint8_t c)
{
    return c == '\n' || c == '\r';
}

/* Takes one line as it stands in the file, without its end. */
static struct slice line_take(struct properties *properties)
{
    struct slice *rest = &properties->rest;
    size_t size = 0;
    while (size < rest->size && !is_end(rest->data[size])) size++;
    struct slice line = {rest->data, size};
    size_t end = size;
    if (end < rest->size) {
        bool is_crlf = rest->data[end] == '\r' && end + 1 < rest->size && rest->data[end + 1] == '\n';
        end += is_crlf ? 2 : 1;
    }
    rest->data += end;
    rest->size -= end;
    properties->line++;
    return line;
}

static struct slice skip_blanks(struct slice s)
{
    while (s.size > 0 && is_blank(*s.data)) {
        s.data++;
        s.size--;
    }
    return s;
}

static bool goes_on(struct slice line)
{
    size_t count = 0;
    while (count < line.size && line.data[line.size - 1 - count] == '\\') count++;
    return count % 2 == 1;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Four hex digits behind "\u", or -1. */
static int32_t unit_read(struct slice s)
{
    if (s.size < 4) return -1;
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(s.data[i]);
        if (digit < 0) return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static size_t utf8_put(uint8_t *out, int32_t point)
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (uint8_t)(0xc0 | point >> 6);
        out[1] = (uint8_t)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (uint8_t)(0xe0 | point >> 12);
        out[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | point >> 18);
    out[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (point & 0x3f));
    return 4;
}

/* The character of the escape "\\uXXXX" whose first digit is at *at, with the second one of a pair if that follows; *at is then the last
 * digit. Half of a pair is U+FFFD. -1: not four digits. */
static int32_t escaped_point(struct slice in, size_t *at)
{
    size_t i = *at;
    int32_t point = unit_read((struct slice){in.data + i, in.size - i});
    if (point < 0) return -1;
    i += 3;
    if (point >= 0xd800 && point < 0xdc00 && i + 2 < in.size && in.data[i + 1] == '\\' &&
        in.data[i + 2] == 'u') {
        int32_t low = unit_read((struct slice){in.data + i + 3, in.size - i - 3});
        if (low >= 0xdc00 && low < 0xe000) {
            point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
            i += 6;
        }
    }
    *at = i;
    return point >= 0xd800 && point < 0xe000 ? 0xfffd : point;
}

/* What stands behind a backslash, but for "u". */
static uint8_t escaped_byte(uint8_t c)
{
    switch (c) {
    case 't': return '\t';
    case 'n': return '\n';
    case 'r': return '\r';
    case 'f': return '\f';
    default: return c;
    }
}

/* Escapes resolved into `out`, which has room for as many bytes as `in`: no escape grows. */
static bool unescape(struct slice in, struct slice *out, uint8_t *to, const char **why)
{
    static const char nul[] = "a NUL character; text without it would be right";
    size_t size = 0;
    for (size_t i = 0; i < in.size; i++) {
        uint8_t c = in.data[i];
        bool is_escape = c == '\\' && i + 1 < in.size;
        if (is_escape && in.data[i + 1] == 'u') {
            i += 2;
            int32_t point = escaped_point(in, &i);
            if (point <= 0) {
                *why = point == 0 ? nul
                                  : "\\u without four hexadecimal digits; \\\\u would be a backslash and a u";
                return false;
            }
            size += utf8_put(to + size, point);
            continue;
        }
        if (is_escape) c = escaped_byte(in.data[++i]);
        if (c == 0) {
            *why = nul;
            return false;
        }
        to[size++] = c;
    }
    to[size] = 0;
    *out = (struct slice){to, size};
    return true;
}

enum error properties_next(struct properties *properties, struct arena *arena, struct property *property,
                           const char **why)
{
    struct slice first;
    int line;
    do {
        if (properties->rest.size == 0) return ERR_EOF;
        line = properties->line;
        first = skip_blanks(line_take(properties));
    } while (first.size == 0 || first.data[0] == '#' || first.data[0] == '!');

    /* The whole logical line, still with its escapes. */
    struct text joined = {0};
    struct slice logical = first;
    if (goes_on(first)) {
        struct slice part = first;
        while (goes_on(part)) {
            text_add(&joined, (struct slice){part.data, part.size - 1});
            if (properties->rest.size == 0) {
                part = SLICE_NULL;
                break;
            }
            part = skip_blanks(line_take(properties));
        }
        text_add(&joined, part);
        logical = text_slice(&joined);
        if (joined.failed) {
            text_free(&joined);
            return ERR_NOMEM;
        }
    }

    size_t key_size = 0;
    while (key_size < logical.size) {
        uint8_t c = logical.data[key_size];
        if (c == '=' || c == ':' || is_blank(c)) break;
        key_size += c == '\\' && key_size + 1 < logical.size ? 2 : 1;
    }
    struct slice value = skip_blanks((struct slice){logical.data + key_size, logical.size - key_size});
    if (value.size > 0 && (*value.data == '=' || *value.data == ':')) {
        value = skip_blanks((struct slice){value.data + 1, value.size - 1});
    }

    struct property read = {.line = line};
    uint8_t *key_to = arena_alloc(arena, key_size + 1), *value_to = arena_alloc(arena, value.size + 1);
    enum error err = key_to && value_to ? OK : ERR_NOMEM;
    if (err == OK && (!unescape((struct slice){logical.data, key_size}, &read.key, key_to, why) ||
                      !unescape(value, &read.value, value_to, why))) {
        err = ERR_CORRUPT;
    }
    text_free(&joined);
    if (err == OK)
        *property = read;
    else
        property->line = line;
    return err;
}

/* The key of a property file, for ${file:PATH:KEY}. */
static enum error file_lookup(struct slice text, struct slice key, struct arena *arena, struct slice *value)
{
    struct properties file = properties_open(text);
    struct property property;
    const char *why;
    enum error err, found = ERR_NOT_FOUND;
    while ((err = properties_next(&file, arena, &property, &why)) != ERR_EOF) {
        if (err == ERR_NOMEM) return err;
        if (err != OK || !slice_equal(property.key, key)) continue;
        *value = property.value;
        found = OK;
    }
    return found;
}

/* What stands between ${ and }. */
static enum error variable_value(struct slice inside, const struct properties_variables *variables,
                                 struct arena *arena, struct slice *value, struct text *why)
{
    const uint8_t *colon = memchr(inside.data, ':', inside.size);
    struct slice provider = {inside.data, (size_t)(colon - inside.data)};
    struct slice rest = arena_copy(arena, (struct slice){colon + 1, inside.size - provider.size - 1});
    if (!rest.data) return ERR_NOMEM;
    if (slice_is(provider, "env")) {
        const char *found = variables->environment(variables->context, (const char *)rest.data);
        if (!found) {
            text_addf(why, "the environment has no variable %s; set it, or write the value",
                      (const char *)rest.data);
            return ERR_NOT_FOUND;
        }
        *value = arena_copy(arena, slice_of(found));
        return value->data ? OK : ERR_NOMEM;
    }
    bool is_file = slice_is(provider, "file"), is_dir = slice_is(provider, "dir");
    if (!is_file && !is_dir) {
        text_addf(why, "${%.*s:...} has no provider here; env, file or dir would be right",
                  SLICE_ARG(provider));
        return ERR_CONFIG;
    }
    uint8_t *second = (uint8_t *)(uintptr_t)memrchr(rest.data, ':', rest.size);
    if (!second) {
        text_addf(why, "${%.*s:%s} names no key; ${%.*s:PATH:KEY} would be right", SLICE_ARG(provider),
                  (const char *)rest.data, SLICE_ARG(provider));
        return ERR_CONFIG;
    }
    *second = 0;
    const char *path = (const char *)rest.data, *key = (const char *)second + 1;
    struct slice full = is_dir ? arena_printf(arena, "%s/%s", path, key) : slice_of(path);
    struct text bytes = {0};
    enum error err =
        full.data ? variables->read_file(variables->context, (const char *)full.data, &bytes) : ERR_NOMEM;
    if (err == OK && bytes.failed) err = ERR_NOMEM;
    if (err == OK && is_dir) {
        *value = arena_copy(arena, text_slice(&bytes));
        if (!value->data)
            err = ERR_NOMEM;
        else if (memchr(value->data, 0, value->size))
            err = ERR_CORRUPT;
    } else if (err == OK) {
        err = file_lookup(text_slice(&bytes), slice_of(key), arena, value);
    }
    text_free(&bytes);
    if (err != OK && err != ERR_NOMEM) {
        text_addf(why, "${%.*s:%s:%s}: %s", SLICE_ARG(provider), path, key,
                  err == ERR_NOT_FOUND && is_file ? "no such file, or no such key in it" : error_text(err));
        err = ERR_NOT_FOUND;
    }
    return err;
}

enum error properties_expand(struct slice value, const struct properties_variables *variables,
                             struct arena *arena, struct slice *expanded, struct text *why)
{
    if (!memmem(value.data, value.size, "${", 2)) {
        *expanded = value;
        return OK;
    }
    struct text out = {0};
    enum error err = OK;
    while (err == OK && value.size > 0) {
        const uint8_t *open = memmem(value.data, value.size, "${", 2);
        const uint8_t *close = open ? memchr(open, '}', value.size - (size_t)(open - value.data)) : NULL;
        const uint8_t *colon = close ? memchr(open + 2, ':', (size_t)(close - open - 2)) : NULL;
        size_t before = open ? (size_t)(open - value.data) : value.size;
        size_t taken = close ? (size_t)(close + 1 - value.data) : value.size;
        if (colon) {
            text_add(&out, (struct slice){value.data, before});
            struct slice found = SLICE_NULL;
            err = variable_value((struct slice){open + 2, (size_t)(close - open - 2)}, variables, arena,
                                 &found, why);
            text_add(&out, found);
        } else {
            text_add(&out, (struct slice){value.data, taken});
        }
        value.data += taken;
        value.size -= taken;
    }
    if (err == OK) {
        *expanded = arena_copy(arena, text_slice(&out));
        if (out.failed || !expanded->data) err = ERR_NOMEM;
    }
    text_free(&out);
    return err;
}
