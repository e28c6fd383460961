/* message_encode.c: structs to bytes, in two walks: message_size counts, and refuses what the format has no word
 * for; message_encode writes and trusts that count. The encoding is the one canonical form that Apache's
 * classes write: shortest varints, tags at their default left out, tags rising.
 */
#include <assert.h>
#include <string.h>

#include "wire/message.h"
#include "wire/message_table.h"

enum { STRING_MAX = 0x7fff };

static inline const struct message_plan *plan_for(const struct message_struct *s, int16_t version)
{
    return &s->plans[s->plan_of_version[version]];
}

static inline const struct unknown_tags *unknown_of(const struct message_struct *s, const void *value)
{
    if (s->unknown_tags == NO_UNKNOWN_TAGS) return NULL;
    return (const struct unknown_tags *)(const void *)((const uint8_t *)value + s->unknown_tags);
}

/* --- counting --- */

struct counter {
    size_t size;
    int16_t version;
    bool is_wrong;
};

static inline size_t uvarint_size(uint32_t value)
{
    return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5;
}

static void count_struct(struct counter *c, const struct message_struct *s, const void *value);

static bool null_is_legal(const struct counter *c, const struct message_field *field,
                          enum wire_encoding encoding)
{
    return encoding == WIRE_JUTE || (c->version >= field->null_min && c->version <= field->null_max);
}

static inline void count_length(struct counter *c, enum wire_encoding encoding, bool is_string, size_t length)
{
    if (length > INT32_MAX - 1 || (is_string && encoding != WIRE_JUTE && length > STRING_MAX))
        c->is_wrong = true;
    if (encoding == WIRE_COMPACT) {
        c->size += uvarint_size((uint32_t)length + 1);
    } else {
        c->size += is_string && encoding == WIRE_CLASSIC ? 2 : 4;
    }
}

/* `length` of a null is written in as many bytes as that of an empty one. */
static void count_null(struct counter *c, const struct message_field *field, enum wire_encoding encoding,
                       bool is_element, bool is_string)
{
    if (encoding != WIRE_JUTE && (is_element || !null_is_legal(c, field, encoding))) c->is_wrong = true;
    count_length(c, encoding, is_string, 0);
}

static void count_value(struct counter *c, const struct message_field *field, enum wire_encoding encoding,
                        bool is_element, const void *value)
{
    switch ((enum field_kind)field->kind) {
    case KIND_BOOL:
    case KIND_INT8: c->size += 1; return;
    case KIND_INT16:
    case KIND_UINT16: c->size += 2; return;
    case KIND_INT32:
    case KIND_UINT32: c->size += 4; return;
    case KIND_INT64:
    case KIND_FLOAT64: c->size += 8; return;
    case KIND_UUID: c->size += 16; return;
    case KIND_STRING:
    case KIND_BYTES: {
        const struct slice *run = value;
        bool is_string = field->kind == KIND_STRING;
        if (!run->data) {
            count_null(c, field, encoding, is_element, is_string);
        } else {
            count_length(c, encoding, is_string, run->size);
            c->size += run->size;
        }
        return;
    }
    case KIND_RECORDS: {
        const struct records_field *run = value;
        if (run->size < 0) {
            count_null(c, field, encoding, is_element, false);
        } else {
            count_length(c, encoding, false, (size_t)run->size);
            c->size += (size_t)run->size;
        }
        return;
    }
    case KIND_STRUCT: count_struct(c, field->of, value); return;
    }
}

static void count_array(struct counter *c, const struct message_field *field, enum wire_encoding encoding,
                        const struct any_array *array)
{
    if (array->count < 0) {
        count_null(c, field, encoding, false, false);
        return;
    }
    count_length(c, encoding, false, (size_t)array->count);
    size_t stride = message_field_element_size(field);
    if (field->kind < KIND_STRING) {
        c->size += (size_t)array->count * (field->kind == KIND_BOOL ? 1 : stride);
        return;
    }
    for (int32_t i = 0; i < array->count && !c->is_wrong; i++) {
        count_value(c, field, encoding, true, (const uint8_t *)array->items + (size_t)i * stride);
    }
}

static void count_field(struct counter *c, const struct message_field *field, enum wire_encoding encoding,
                        const void *value)
{
    if (field->is_classic) encoding = WIRE_CLASSIC;
    if (field->is_array) {
        count_array(c, field, encoding, value);
    } else if (field->is_pointer) {
        const void *pointed = *(const void *const *)value;
        bool may_be_null = null_is_legal(c, field, encoding);
        if (may_be_null) c->size += 1;
        if (pointed) {
            count_struct(c, field->of, pointed);
        } else if (!may_be_null) {
            c->is_wrong = true;
        }
    } else {
        count_value(c, field, encoding, false, value);
    }
}

/* Size of a tagged field's value alone. */
static size_t tag_value_size(struct counter *c, const struct message_field *field, const void *value)
{
    struct counter inner = {.version = c->version};
    count_field(&inner, field, WIRE_COMPACT, (const uint8_t *)value + field->offset);
    if (inner.is_wrong || inner.size > INT32_MAX) c->is_wrong = true;
    return inner.size;
}

static void count_unknown(struct counter *c, const struct message_struct *s, const struct message_plan *plan,
                          const struct unknown_tags *unknown)
{
    for (int32_t i = 0; i < unknown->count; i++) {
        const struct unknown_tag *tag = &unknown->items[i];
        /* As Apache: rising, none that the struct knows itself, none beyond the largest int. */
        if (tag->tag >= INT32_MAX || tag->data.size > INT32_MAX) c->is_wrong = true;
        if (i > 0 && unknown->items[i - 1].tag >= tag->tag) c->is_wrong = true;
        for (unsigned t = 0; t < plan->tagged; t++) {
            if (s->fields[plan->order[plan->untagged + t]].tag == tag->tag) c->is_wrong = true;
        }
        c->size += uvarint_size(tag->tag) + uvarint_size((uint32_t)tag->data.size) + tag->data.size;
    }
}

static void count_tags(struct counter *c, const struct message_struct *s, const struct message_plan *plan,
                       const void *value, const struct unknown_tags *unknown)
{
    uint32_t count = (uint32_t)unknown->count;
    for (unsigned i = 0; i < plan->tagged; i++) {
        const struct message_field *field = &s->fields[plan->order[plan->untagged + i]];
        if (message_field_is_default(s, field, value)) continue;
        size_t size = tag_value_size(c, field, value);
        c->size += uvarint_size(field->tag) + uvarint_size((uint32_t)size) + size;
        count++;
    }
    count_unknown(c, s, plan, unknown);
    c->size += uvarint_size(count);
}

static void count_struct(struct counter *c, const struct message_struct *s, const void *value)
{
    const struct message_plan *plan = plan_for(s, c->version);
    for (unsigned i = 0; i < plan->untagged; i++) {
        const struct message_field *field = &s->fields[plan->order[i]];
        count_field(c, field, plan->encoding, (const uint8_t *)value + field->offset);
    }
    const uint8_t *absent = plan->order + plan->untagged + plan->tagged;
    for (unsigned i = 0; i < plan->absent; i++) {
        if (!message_field_is_default(s, &s->fields[absent[i]], value)) c->is_wrong = true;
    }
    const struct unknown_tags *unknown = unknown_of(s, value);
    if (plan->encoding == WIRE_COMPACT) {
        count_tags(c, s, plan, value, unknown);
    } else if (unknown && unknown->count > 0) {
        c->is_wrong = true;
    }
}

size_t message_size(const struct message_type *type, int16_t version, const void *message)
{
    if (version < type->min_version || version > type->max_version) return SIZE_MAX;
    struct counter c = {.version = version};
    count_struct(&c, type->body, message);
    return c.is_wrong ? SIZE_MAX : c.size;
}

/* --- writing --- */

struct writer {
    uint8_t *at, *start;
    struct splices *splices;
    int16_t version;
};

static inline void write_uvarint(struct writer *w, uint32_t value)
{
    while (value >= 0x80) {
        *w->at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *w->at++ = (uint8_t)value;
}

/* length -1 = null. */
static inline void write_length(struct writer *w, enum wire_encoding encoding, bool is_string, int32_t length)
{
    if (encoding == WIRE_COMPACT) {
        write_uvarint(w, (uint32_t)length + 1);
    } else if (is_string && encoding == WIRE_CLASSIC) {
        put_be16(w->at, (uint16_t)length);
        w->at += 2;
    } else {
        put_be32(w->at, (uint32_t)length);
        w->at += 4;
    }
}

static void write_struct(struct writer *w, const struct message_struct *s, const void *value);

static void write_run(struct writer *w, enum wire_encoding encoding, bool is_string, struct slice run)
{
    write_length(w, encoding, is_string, run.data ? (int32_t)run.size : -1);
    if (run.size) memcpy(w->at, run.data, run.size);
    w->at += run.size;
}

static void write_records(struct writer *w, enum wire_encoding encoding, const struct records_field *run)
{
    if (!run->external) {
        struct slice bytes = {run->data, run->size > 0 ? (size_t)run->size : 0};
        write_length(w, encoding, false, run->size < 0 ? -1 : run->size);
        if (bytes.size) memcpy(w->at, bytes.data, bytes.size);
        w->at += bytes.size;
        return;
    }
    write_length(w, encoding, false, run->size);
    assert(w->splices && w->splices->count < w->splices->capacity);
    w->splices->items[w->splices->count++] =
        (struct splice){(size_t)(w->at - w->start), run->external, (size_t)run->size};
}

static inline void write_value(struct writer *w, const struct message_field *field,
                               enum wire_encoding encoding, const void *value)
{
    switch ((enum field_kind)field->kind) {
    case KIND_BOOL: *w->at++ = *(const bool *)value ? 1 : 0; return;
    case KIND_INT8: *w->at++ = *(const uint8_t *)value; return;
    case KIND_INT16:
    case KIND_UINT16:
        put_be16(w->at, *(const uint16_t *)value);
        w->at += 2;
        return;
    case KIND_INT32:
    case KIND_UINT32:
        put_be32(w->at, *(const uint32_t *)value);
        w->at += 4;
        return;
    case KIND_INT64:
    case KIND_FLOAT64: {
        uint64_t bits;
        memcpy(&bits, value, 8);
        put_be64(w->at, bits);
        w->at += 8;
        return;
    }
    case KIND_UUID:
        memcpy(w->at, value, 16);
        w->at += 16;
        return;
    case KIND_STRING: write_run(w, encoding, true, *(const struct slice *)value); return;
    case KIND_BYTES: write_run(w, encoding, false, *(const struct slice *)value); return;
    case KIND_RECORDS: write_records(w, encoding, value); return;
    case KIND_STRUCT: write_struct(w, field->of, value); return;
    }
}

static void write_array(struct writer *w, const struct message_field *field, enum wire_encoding encoding,
                        const struct any_array *array)
{
    write_length(w, encoding, false, array->count < 0 ? -1 : array->count);
    size_t stride = message_field_element_size(field);
    for (int32_t i = 0; i < array->count; i++) {
        write_value(w, field, encoding, (const uint8_t *)array->items + (size_t)i * stride);
    }
}

static inline void write_field(struct writer *w, const struct message_field *field,
                               enum wire_encoding encoding, bool is_tag, const void *value)
{
    if (field->is_classic) encoding = WIRE_CLASSIC;
    if (field->is_array) {
        write_array(w, field, encoding, value);
    } else if (field->is_pointer) {
        const void *pointed = *(const void *const *)value;
        if (w->version >= field->null_min && w->version <= field->null_max) {
            *w->at++ = pointed ? 1 : is_tag ? 0 : 0xff;
        }
        if (pointed) write_struct(w, field->of, pointed);
    } else {
        write_value(w, field, encoding, value);
    }
}

static void write_tags(struct writer *w, const struct message_struct *s, const struct message_plan *plan,
                       const void *value)
{
    const struct unknown_tags *unknown = unknown_of(s, value);
    const uint8_t *order = plan->order + plan->untagged;
    uint32_t count = (uint32_t)unknown->count;
    for (unsigned i = 0; i < plan->tagged; i++)
        count += !message_field_is_default(s, &s->fields[order[i]], value);
    write_uvarint(w, count);

    int32_t u = 0;
    for (unsigned i = 0; i <= plan->tagged; i++) {
        const struct message_field *field = i < plan->tagged ? &s->fields[order[i]] : NULL;
        while (u < unknown->count && (!field || unknown->items[u].tag < field->tag)) {
            struct slice data = unknown->items[u].data;
            write_uvarint(w, unknown->items[u].tag);
            write_uvarint(w, (uint32_t)data.size);
            if (data.size) memcpy(w->at, data.data, data.size);
            w->at += data.size;
            u++;
        }
        if (!field || message_field_is_default(s, field, value)) continue;
        struct counter c = {.version = w->version};
        write_uvarint(w, field->tag);
        write_uvarint(w, (uint32_t)tag_value_size(&c, field, value));
        write_field(w, field, WIRE_COMPACT, true, (const uint8_t *)value + field->offset);
    }
}

static void write_struct(struct writer *w, const struct message_struct *s, const void *value)
{
    const struct message_plan *plan = plan_for(s, w->version);
    for (unsigned i = 0; i < plan->untagged; i++) {
        const struct message_field *field = &s->fields[plan->order[i]];
        write_field(w, field, plan->encoding, false, (const uint8_t *)value + field->offset);
    }
    if (plan->encoding == WIRE_COMPACT) write_tags(w, s, plan, value);
}

size_t message_encode(const struct message_type *type, int16_t version, const void *message, uint8_t *out,
                      struct splices *splices)
{
    assert(version >= type->min_version && version <= type->max_version);
    struct writer w = {out, out, splices, version};
    write_struct(&w, type->body, message);
    return (size_t)(w.at - out);
}
