/* message_decode.c: bytes to structs. Accepts what Apache's classes accept, and nothing else:
 *
 * - A length is an int32 (int16 for classic strings) or an unsigned varint less one; any negative is null.
 *   A varint may be longer than needed; bits beyond the 32nd are dropped; a fifth byte may not continue.
 * - An array may not claim more elements than bytes are left. We also multiply by the shortest encoding
 *   of an element, which refuses earlier what would run out of bytes anyway, before memory is charged for it.
 * - The count of a tag section may be negative (no tags). The size of a known tag is not held against what its
 *   field read. Tags may come in any order and twice: the last wins. A tag that the struct has in other versions
 *   only is an error.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wire/message.h"
#include "wire/message_table.h"
#include "wire/utf8.h"

enum { STRING_MAX = 0x7fff };

struct reader {
    const uint8_t *at, *end;
    struct arena *arena;
    struct decode_fault *fault;
    int16_t version;
};

/* Where in the tree of structs we are, for the fault's text. Lives on the stack of the decoders. */
struct place {
    const struct place *up;
    const struct message_field *field;
    int32_t index; /* of the element; -1 = the field itself */
};

static size_t left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

static size_t add_place(const struct place *place, char *text, size_t size)
{
    size_t used = 0;
    if (place->up) {
        used = add_place(place->up, text, size);
        if (used + 1 < size) text[used++] = '.';
    }
    int n = place->index < 0 ? snprintf(text + used, size - used, "%s", place->field->name)
                             : snprintf(text + used, size - used, "%s[%d]", place->field->name, place->index);
    used += (size_t)n;
    return used < size ? used : size - 1;
}

__attribute__((format(printf, 4, 5), cold, noinline)) static enum error
fail(const struct reader *r, const struct place *place, enum error err, const char *format, ...)
{
    if (!r->fault) return err;
    char *text = r->fault->text;
    size_t size = sizeof r->fault->text;
    size_t used = 0;
    if (place) {
        /* What was wrong matters more than the last letters of where. */
        used = add_place(place, text, size - 60);
        memcpy(text + used, ": ", 2);
        used += 2;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
    return err;
}

static enum error fail_short(const struct reader *r, const struct place *place, size_t wanted)
{
    return fail(r, place, ERR_TRUNCATED, "%zu bytes wanted but %zu left", wanted, left(r));
}

static enum error read_uvarint(struct reader *r, const struct place *place, uint32_t *value)
{
    uint32_t result = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (r->at == r->end) return fail_short(r, place, 1);
        uint8_t byte = *r->at++;
        result |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = result;
            return OK;
        }
    }
    return fail(r, place, ERR_CORRUPT, "a varint longer than 5 bytes");
}

/* A length or count; negative = null. */
static inline enum error read_length(struct reader *r, const struct place *place, enum wire_encoding encoding,
                                     bool is_string, int32_t *length)
{
    if (encoding == WIRE_COMPACT) {
        if (r->at < r->end && *r->at < 0x80) {
            *length = *r->at++ - 1;
            return OK;
        }
        uint32_t raw = 0;
        enum error err = read_uvarint(r, place, &raw);
        if (err == OK) *length = (int32_t)(raw - 1);
        return err;
    }
    if (encoding == WIRE_CLASSIC && is_string) {
        if (left(r) < 2) return fail_short(r, place, 2);
        *length = (int16_t)get_be16(r->at);
        r->at += 2;
        return OK;
    }
    if (left(r) < 4) return fail_short(r, place, 4);
    *length = (int32_t)get_be32(r->at);
    r->at += 4;
    if (encoding == WIRE_JUTE && *length < -1) {
        return fail(r, place, ERR_CORRUPT, "length %d", *length);
    }
    return OK;
}

static enum error check_null(const struct reader *r, const struct place *place, enum wire_encoding encoding)
{
    const struct message_field *field = place->field;
    /* The elements of an array are never null, only itself. */
    bool allowed = encoding == WIRE_JUTE ||
                   (place->index < 0 && r->version >= field->null_min && r->version <= field->null_max);
    return allowed ? OK : fail(r, place, ERR_CORRUPT, "is null, which version %d forbids", r->version);
}

static enum error read_run(struct reader *r, const struct place *place, enum wire_encoding encoding,
                           bool is_string, struct slice *run)
{
    int32_t length = 0;
    enum error err = read_length(r, place, encoding, is_string, &length);
    if (err != OK) return err;
    if (length < 0) {
        *run = SLICE_NULL;
        return check_null(r, place, encoding);
    }
    if (is_string && length > STRING_MAX && encoding != WIRE_JUTE) {
        return fail(r, place, ERR_CORRUPT, "a string of %d bytes", length);
    }
    if ((size_t)length > left(r)) {
        return fail(r, place, ERR_TRUNCATED, "length %d but %zu bytes left", length, left(r));
    }
    *run = (struct slice){r->at, (size_t)length};
    r->at += length;
    if (is_string && encoding != WIRE_JUTE && !utf8_is_valid(*run)) {
        uint8_t *replaced = arena_alloc(r->arena, 3 * run->size);
        if (!replaced) return fail(r, place, ERR_NOMEM, "no memory for a string of %d bytes", length);
        *run = (struct slice){replaced, utf8_replace(*run, replaced)};
    }
    return OK;
}

static enum error read_struct(struct reader *r, const struct message_struct *s, void *out,
                              const struct place *up);

/* Fewest bytes that one element can take. */
static size_t element_min_size(const struct message_field *field, int16_t version,
                               enum wire_encoding encoding)
{
    static const uint8_t sizes[] = {
        [KIND_BOOL] = 1,   [KIND_INT8] = 1,  [KIND_INT16] = 2,   [KIND_UINT16] = 2, [KIND_INT32] = 4,
        [KIND_UINT32] = 4, [KIND_INT64] = 8, [KIND_FLOAT64] = 8, [KIND_UUID] = 16,
    };
    if (field->kind == KIND_STRUCT) return field->of->plans[field->of->plan_of_version[version]].min_size;
    if (field->kind < KIND_STRING) return sizes[field->kind];
    if (encoding == WIRE_COMPACT) return 1;
    return field->kind == KIND_STRING && encoding == WIRE_CLASSIC ? 2 : 4;
}

/* One value that is not an array, nor a struct behind a pointer. */
static inline enum error read_value(struct reader *r, const struct place *place, enum wire_encoding encoding,
                                    void *out)
{
    const struct message_field *field = place->field;
    switch ((enum field_kind)field->kind) {
    case KIND_BOOL:
        if (left(r) < 1) return fail_short(r, place, 1);
        *(bool *)out = *r->at != 0;
        r->at += 1;
        return OK;
    case KIND_INT8:
        if (left(r) < 1) return fail_short(r, place, 1);
        *(uint8_t *)out = *r->at;
        r->at += 1;
        return OK;
    case KIND_INT16:
    case KIND_UINT16:
        if (left(r) < 2) return fail_short(r, place, 2);
        *(uint16_t *)out = get_be16(r->at);
        r->at += 2;
        return OK;
    case KIND_INT32:
    case KIND_UINT32:
        if (left(r) < 4) return fail_short(r, place, 4);
        *(uint32_t *)out = get_be32(r->at);
        r->at += 4;
        return OK;
    case KIND_INT64:
    case KIND_FLOAT64: {
        if (left(r) < 8) return fail_short(r, place, 8);
        uint64_t bits = get_be64(r->at);
        memcpy(out, &bits, 8);
        r->at += 8;
        return OK;
    }
    case KIND_UUID:
        if (left(r) < 16) return fail_short(r, place, 16);
        memcpy(out, r->at, 16);
        r->at += 16;
        return OK;
    case KIND_STRING: return read_run(r, place, encoding, true, out);
    case KIND_BYTES: return read_run(r, place, encoding, false, out);
    case KIND_RECORDS: {
        struct slice run;
        enum error err = read_run(r, place, encoding, false, &run);
        if (err == OK) {
            *(struct records_field *)out =
                (struct records_field){run.data, run.data ? (int32_t)run.size : -1, NULL};
        }
        return err;
    }
    case KIND_STRUCT: return read_struct(r, field->of, out, place);
    }
    return fail(r, place, ERR_CORRUPT, "a field of no kind");
}

static enum error read_array(struct reader *r, struct place *place, enum wire_encoding encoding,
                             struct any_array *array)
{
    const struct message_field *field = place->field;
    int32_t count = 0;
    enum error err = read_length(r, place, encoding, false, &count);
    if (err != OK) return err;
    if (count < 0) {
        *array = (struct any_array){NULL, -1};
        return check_null(r, place, encoding);
    }
    size_t shortest = element_min_size(field, r->version, encoding);
    if (shortest == 0) shortest = 1;
    if ((size_t)count > left(r) / shortest) {
        return fail(r, place, ERR_TRUNCATED, "%d elements but %zu bytes left", count, left(r));
    }
    *array = (struct any_array){NULL, count};
    if (count == 0) return OK;
    size_t stride = message_field_element_size(field);
    uint8_t *items = arena_array(r->arena, (size_t)count, stride);
    if (!items) return fail(r, place, ERR_NOMEM, "no memory for %d elements", count);
    array->items = items;

    if (field->kind == KIND_INT32) { /* the common one: replicas, partitions */
        for (int32_t i = 0; i < count; i++) ((uint32_t *)(void *)items)[i] = get_be32(r->at + 4 * (size_t)i);
        r->at += 4 * (size_t)count;
        return OK;
    }
    for (int32_t i = 0; i < count; i++) {
        place->index = i;
        err = read_value(r, place, encoding, items + (size_t)i * stride);
        if (err != OK) return err;
    }
    return OK;
}

/* A struct that may be null. Before it stands an int8, or a varint where it is a tag's value. */
static enum error read_pointer(struct reader *r, const struct place *place, bool is_tag, void **out)
{
    const struct message_field *field = place->field;
    if (r->version >= field->null_min && r->version <= field->null_max) {
        int32_t present;
        if (is_tag) {
            uint32_t raw = 0;
            enum error err = read_uvarint(r, place, &raw);
            if (err != OK) return err;
            present = (int32_t)raw;
            if (present == 0) present = -1;
        } else {
            if (left(r) < 1) return fail_short(r, place, 1);
            present = (int8_t)*r->at++;
        }
        if (present < 0) {
            *out = NULL;
            return OK;
        }
    }
    void *built = arena_alloc(r->arena, field->of->size);
    if (!built) return fail(r, place, ERR_NOMEM, "no memory for a struct");
    *out = built;
    return read_struct(r, field->of, built, place);
}

static inline enum error read_field(struct reader *r, struct place *place, enum wire_encoding encoding,
                                    bool is_tag, void *out)
{
    const struct message_field *field = place->field;
    if (field->is_classic) encoding = WIRE_CLASSIC;
    if (field->is_array) return read_array(r, place, encoding, out);
    if (field->is_pointer) return read_pointer(r, place, is_tag, out);
    return read_value(r, place, encoding, out);
}

static enum error keep_unknown(struct reader *r, const struct place *up, uint32_t tag, uint32_t size,
                               struct unknown_tags *tags, int32_t *capacity)
{
    if (size > left(r)) {
        return fail(r, up, ERR_TRUNCATED, "tag %u has %u bytes but %zu left", tag, size, left(r));
    }
    if (tags->count == *capacity) {
        int32_t wider = *capacity ? 2 * *capacity : 4;
        struct unknown_tag *items = arena_array(r->arena, (size_t)wider, sizeof *items);
        if (!items) return fail(r, up, ERR_NOMEM, "no memory for %d unknown tags", wider);
        if (tags->count) memcpy(items, tags->items, (size_t)tags->count * sizeof *items);
        tags->items = items;
        *capacity = wider;
    }
    tags->items[tags->count++] = (struct unknown_tag){tag, {r->at, size}};
    r->at += size;
    return OK;
}

static enum error read_tags(struct reader *r, const struct message_struct *s, const struct message_plan *plan,
                            uint8_t *out, const struct place *up)
{
    uint32_t count = 0;
    enum error err = read_uvarint(r, up, &count);
    int32_t capacity = 0;
    for (int32_t i = 0; err == OK && i < (int32_t)count; i++) {
        uint32_t tag = 0, size = 0;
        err = read_uvarint(r, up, &tag);
        if (err == OK) err = read_uvarint(r, up, &size);
        if (err != OK) return err;

        const struct message_field *known = NULL;
        for (unsigned t = 0; t < plan->tagged && !known; t++) {
            const struct message_field *field = &s->fields[plan->order[plan->untagged + t]];
            if (field->tag == tag) known = field;
        }
        if (known) {
            struct place place = {up, known, -1};
            err = read_field(r, &place, WIRE_COMPACT, true, out + known->offset);
            continue;
        }
        for (unsigned f = 0; f < s->field_count; f++) {
            const struct message_field *field = &s->fields[f];
            if (field->is_tagged && field->tag == tag && !field->is_late) {
                return fail(r, up, ERR_CORRUPT, "tag %u is not of version %d", tag, r->version);
            }
        }
        err =
            keep_unknown(r, up, tag, size, (struct unknown_tags *)(void *)(out + s->unknown_tags), &capacity);
    }
    return err;
}

static enum error read_struct(struct reader *r, const struct message_struct *s, void *out,
                              const struct place *up)
{
    const struct message_plan *plan = &s->plans[s->plan_of_version[r->version]];
    memcpy(out, s->defaults, s->size);
    struct place place = {up, NULL, -1};
    for (unsigned i = 0; i < plan->untagged; i++) {
        const struct message_field *field = &s->fields[plan->order[i]];
        place.field = field;
        place.index = -1;
        enum error err = read_field(r, &place, plan->encoding, false, (uint8_t *)out + field->offset);
        if (err != OK) return err;
    }
    return plan->encoding == WIRE_COMPACT ? read_tags(r, s, plan, out, up) : OK;
}

enum error message_decode(const struct message_type *type, int16_t version, struct slice in,
                          struct arena *arena, void *message, size_t *consumed, struct decode_fault *fault)
{
    static const uint8_t nothing;
    const uint8_t *at = in.data ? in.data : &nothing;
    struct reader r = {at, at + in.size, arena, fault, version};
    if (version < type->min_version || version > type->max_version) {
        return fail(&r, NULL, ERR_UNSUPPORTED, "%s has versions %d-%d, not %d", type->name, type->min_version,
                    type->max_version, version);
    }
    enum error err = read_struct(&r, type->body, message, NULL);
    if (err != OK) {
        message_init(type, message);
        return err;
    }
    if (consumed) *consumed = (size_t)(r.at - at);
    return OK;
}
