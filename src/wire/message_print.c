/* message_print.c: a message as one JSON object, for people and their scripts. Keys are Kafka's, ids are base64 as
 * Kafka shows them, bytes are base64, records only say how many bytes they are. Tags at their default are left
 * out, as they are on the wire; what we did not know stands under "unknownTags".
 */
#include <math.h>
#include <string.h>

#include "wire/message.h"
#include "wire/message_table.h"

static void print_struct(const struct message_struct *s, int16_t version, const void *value,
                         struct text *out);

static void print_base64(struct slice s, struct text *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    text_addc(out, '"');
    for (size_t i = 0; i < s.size; i += 3) {
        size_t here = s.size - i < 3 ? s.size - i : 3;
        uint32_t bits = (uint32_t)s.data[i] << 16;
        if (here > 1) bits |= (uint32_t)s.data[i + 1] << 8;
        if (here > 2) bits |= s.data[i + 2];
        text_addc(out, digits[bits >> 18]);
        text_addc(out, digits[bits >> 12 & 63]);
        text_addc(out, here > 1 ? digits[bits >> 6 & 63] : '=');
        text_addc(out, here > 2 ? digits[bits & 63] : '=');
    }
    text_addc(out, '"');
}

static void print_value(const struct message_field *field, int16_t version, const void *value,
                        struct text *out)
{
    switch ((enum field_kind)field->kind) {
    case KIND_BOOL: text_addz(out, *(const bool *)value ? "true" : "false"); return;
    case KIND_INT8: text_addf(out, "%d", *(const int8_t *)value); return;
    case KIND_INT16: text_addf(out, "%d", *(const int16_t *)value); return;
    case KIND_UINT16: text_addf(out, "%u", *(const uint16_t *)value); return;
    case KIND_INT32: text_addf(out, "%d", *(const int32_t *)value); return;
    case KIND_UINT32: text_addf(out, "%u", *(const uint32_t *)value); return;
    case KIND_INT64: text_addf(out, "%lld", (long long)*(const int64_t *)value); return;
    case KIND_FLOAT64: {
        double number = *(const double *)value;
        if (isfinite(number)) {
            text_addf(out, "%.17g", number);
        } else { /* JSON has no word for these */
            text_addf(out, "\"%s\"", isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity");
        }
        return;
    }
    case KIND_UUID: {
        char id[UUID_TEXT_SIZE];
        uuid_format(value, id);
        text_addf(out, "\"%s\"", id);
        return;
    }
    case KIND_STRING:
    case KIND_BYTES: {
        struct slice run = *(const struct slice *)value;
        if (!run.data) {
            text_addz(out, "null");
        } else if (field->kind == KIND_STRING) {
            text_add_json(out, run);
        } else {
            print_base64(run, out);
        }
        return;
    }
    case KIND_RECORDS: {
        int32_t size = ((const struct records_field *)value)->size;
        if (size < 0) {
            text_addz(out, "null");
        } else {
            text_addf(out, "{\"sizeInBytes\":%d}", size);
        }
        return;
    }
    case KIND_STRUCT: print_struct(field->of, version, value, out); return;
    }
}

static void print_field(const struct message_field *field, int16_t version, const void *value,
                        struct text *out)
{
    if (field->is_pointer) {
        const void *pointed = *(const void *const *)value;
        if (pointed) {
            print_struct(field->of, version, pointed, out);
        } else {
            text_addz(out, "null");
        }
    } else if (field->is_array) {
        const struct any_array *array = value;
        if (array->count < 0) {
            text_addz(out, "null");
            return;
        }
        size_t stride = message_field_element_size(field);
        text_addc(out, '[');
        for (int32_t i = 0; i < array->count; i++) {
            if (i > 0) text_addc(out, ',');
            print_value(field, version, (const uint8_t *)array->items + (size_t)i * stride, out);
        }
        text_addc(out, ']');
    } else {
        print_value(field, version, value, out);
    }
}

static void print_unknown(const struct unknown_tags *unknown, struct text *out)
{
    text_addz(out, "\"unknownTags\":[");
    for (int32_t i = 0; i < unknown->count; i++) {
        if (i > 0) text_addc(out, ',');
        text_addf(out, "{\"tag\":%u,\"data\":", unknown->items[i].tag);
        print_base64(unknown->items[i].data, out);
        text_addc(out, '}');
    }
    text_addc(out, ']');
}

static void print_struct(const struct message_struct *s, int16_t version, const void *value, struct text *out)
{
    const struct message_plan *plan = &s->plans[s->plan_of_version[version]];
    bool is_first = true;
    text_addc(out, '{');
    for (unsigned i = 0; i < (unsigned)plan->untagged + plan->tagged; i++) {
        const struct message_field *field = &s->fields[plan->order[i]];
        if (i >= plan->untagged && message_field_is_default(s, field, value)) continue;
        if (!is_first) text_addc(out, ',');
        is_first = false;
        text_addf(out, "\"%s\":", field->name);
        print_field(field, version, (const uint8_t *)value + field->offset, out);
    }
    if (plan->encoding == WIRE_COMPACT) {
        const struct unknown_tags *unknown =
            (const struct unknown_tags *)(const void *)((const uint8_t *)value + s->unknown_tags);
        if (unknown->count > 0) {
            if (!is_first) text_addc(out, ',');
            print_unknown(unknown, out);
        }
    }
    text_addc(out, '}');
}

void message_print(const struct message_type *type, int16_t version, const void *message, struct text *out)
{
    if (version < type->min_version) version = type->min_version;
    if (version > type->max_version) version = type->max_version;
    print_struct(type->body, version, message, out);
}
