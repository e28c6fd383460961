#include "wire/recode.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* A frame may be 100 MiB; its structs are several times that. */
#define MEMORY_LIMIT_BYTES ((size_t)1 << 31)

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool hex_parse(struct slice hex, struct text *bytes)
{
    int high = -1;
    for (size_t i = 0; i < hex.size; i++) {
        if (isspace(hex.data[i])) continue;
        int digit = hex_digit(hex.data[i]);
        if (digit < 0) return false;
        if (high < 0) {
            high = digit;
        } else {
            text_addc(bytes, (char)(high << 4 | digit));
            high = -1;
        }
    }
    return high < 0;
}

void hex_add(struct text *out, struct slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.size; i++) {
        char pair[2] = {digits[bytes.data[i] >> 4], digits[bytes.data[i] & 15]};
        text_add(out, (struct slice){(const uint8_t *)pair, 2});
    }
}

/* The next word of a line; size 0 at its end. */
static struct slice next_word(const char **line)
{
    const char *at = *line;
    while (isspace((unsigned char)*at)) at++;
    const char *start = at;
    while (*at && !isspace((unsigned char)*at)) at++;
    *line = at;
    return (struct slice){(const uint8_t *)start, (size_t)(at - start)};
}

/* Two share group messages had another form of the same version in 3.9 (schema/: Early...). NULL for all others. */
static const struct message_type *early_form(const struct message_type *type)
{
    char name[128];
    int size = snprintf(name, sizeof name, "Early%s", message_name(type));
    return message_type_named((struct slice){(const uint8_t *)name, (size_t)size});
}

struct decoded {
    const struct message_type *type;
    void *message;
    size_t consumed;
};

static enum error decode_as(const struct message_type *type, int16_t version, struct slice in,
                            struct arena *arena, struct decoded *decoded, struct decode_fault *fault)
{
    void *message = arena_alloc(arena, message_struct_size(type) + 1);
    size_t consumed = 0;
    enum error err =
        message ? message_decode(type, version, in, arena, message, &consumed, fault) : ERR_NOMEM;
    if (err == OK) *decoded = (struct decoded){type, message, consumed};
    return err;
}

static enum error decode(const struct message_type *type, int16_t version, struct slice in,
                         struct arena *arena, struct decoded *decoded, struct decode_fault *fault)
{
    enum error err = decode_as(type, version, in, arena, decoded, fault);
    if (err == OK && decoded->consumed == in.size) return OK;
    const struct message_type *early = early_form(type);
    struct decoded other = {0};
    if (early && decode_as(early, version, in, arena, &other, NULL) == OK &&
        (err != OK || other.consumed == in.size)) {
        *decoded = other;
        return OK;
    }
    return err;
}

static void recode(const struct message_type *type, int16_t version, struct slice in, struct text *out)
{
    struct arena arena;
    arena_init(&arena, MEMORY_LIMIT_BYTES);
    struct decode_fault fault = {0};
    struct decoded decoded = {0};
    enum error err = decode(type, version, in, &arena, &decoded, &fault);
    if (err != OK) {
        text_addf(out, "ERR %s %s v%d: %s", error_name(err), message_name(type), version,
                  fault.text[0] ? fault.text : error_text(err));
        arena_free(&arena);
        return;
    }
    size_t size = message_size(decoded.type, version, decoded.message);
    uint8_t *encoded = size == SIZE_MAX ? NULL : malloc(size + 1);
    if (size == SIZE_MAX) {
        text_addf(out, "ERR UNSUPPORTED %s v%d: what was decoded cannot be encoded", message_name(type),
                  version);
    } else if (!encoded) {
        text_addf(out, "ERR NOMEM %s v%d", message_name(type), version);
    } else if (size == 0) {
        text_addc(out, '-');
    } else {
        size = message_encode(decoded.type, version, decoded.message, encoded, NULL);
        hex_add(out, (struct slice){encoded, size});
    }
    free(encoded);
    arena_free(&arena);
}

static void recode_words(const struct message_type *type, struct slice version_word, struct slice hex,
                         struct text *out)
{
    int64_t version;
    struct text bytes = {0};
    if (!slice_to_int64(version_word, INT16_MIN, INT16_MAX, &version)) {
        text_addz(out, "ERR USAGE the version is not a number");
    } else if (hex.size == 0 || (!slice_is(hex, "-") && !hex_parse(hex, &bytes))) {
        text_addz(out, "ERR USAGE the bytes are not hex");
    } else {
        recode(type, (int16_t)version, text_slice(&bytes), out);
    }
    text_free(&bytes);
}

void recode_rpc_line(const char *line, struct text *out)
{
    struct slice key_word = next_word(&line);
    struct slice version = next_word(&line);
    struct slice direction = next_word(&line);
    struct slice hex = next_word(&line);
    int64_t key;
    const struct api *api = NULL;
    if (slice_to_int64(key_word, INT16_MIN, INT16_MAX, &key)) api = api_of((int16_t)key);
    bool is_response = slice_is(direction, "response");
    if (!api) {
        text_addz(out, "ERR UNSUPPORTED no such api key");
    } else if (!is_response && !slice_is(direction, "request")) {
        text_addz(out, "ERR USAGE a line is: apiKey apiVersion request|response hex");
    } else {
        recode_words(is_response ? api->response : api->request, version, hex, out);
    }
}

void recode_msg_line(const char *line, struct text *out)
{
    struct slice name = next_word(&line);
    struct slice version = next_word(&line);
    next_word(&line); /* the place of a direction, "-" */
    struct slice hex = next_word(&line);
    const struct message_type *type = message_type_named(name);
    if (!type) {
        text_addz(out, "ERR UNSUPPORTED no schema has this name");
    } else {
        recode_words(type, version, hex, out);
    }
}

enum error decode_frame(int16_t api_key, int16_t version, bool is_response, struct slice body,
                        struct text *out, size_t *consumed, struct decode_fault *fault)
{
    const struct api *api = api_of(api_key);
    if (!api) {
        if (fault) snprintf(fault->text, sizeof fault->text, "no such api key: %d", api_key);
        return ERR_UNSUPPORTED;
    }
    const struct message_type *type = is_response ? api->response : api->request;
    struct arena arena;
    arena_init(&arena, MEMORY_LIMIT_BYTES);
    void *message = arena_alloc(&arena, message_struct_size(type) + 1);
    enum error err =
        message ? message_decode(type, version, body, &arena, message, consumed, fault) : ERR_NOMEM;
    if (err == OK) message_print(type, version, message, out);
    arena_free(&arena);
    return err;
}
