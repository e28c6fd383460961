#include "wire/message.h"

#include <assert.h>
#include <string.h>

#include "wire/message_table.h"

enum { KEY_CONTROLLED_SHUTDOWN = 7, KEY_API_VERSIONS = 18 };

void message_init(const struct message_type *type, void *message)
{
    memcpy(message, type->body->defaults, type->body->size);
}

const char *message_name(const struct message_type *type)
{
    return type->name;
}

size_t message_struct_size(const struct message_type *type)
{
    return type->body->size;
}

int16_t message_min_version(const struct message_type *type)
{
    return type->min_version;
}

int16_t message_max_version(const struct message_type *type)
{
    return type->max_version;
}

bool message_is_flexible(const struct message_type *type, int16_t version)
{
    return version >= type->flexible_from;
}

enum error message_copy(const struct message_type *type, int16_t version, const void *message,
                        struct arena *arena, void *copy)
{
    size_t size = message_size(type, version, message);
    if (size == SIZE_MAX) return ERR_UNSUPPORTED_VERSION;
    uint8_t *bytes = arena_alloc(arena, size);
    if (!bytes) return ERR_NOMEM;
    message_encode(type, version, message, bytes, NULL);
    return message_decode(type, version, (struct slice){bytes, size}, arena, copy, NULL, NULL);
}

int16_t api_request_header_version(int16_t key, int16_t version)
{
    const struct api *api = api_of(key);
    if (!api) return 1;
    if (message_is_flexible(api->request, version)) return 2;
    return key == KEY_CONTROLLED_SHUTDOWN && version == 0 ? 0 : 1;
}

int16_t api_response_header_version(int16_t key, int16_t version)
{
    /* A client that does not yet know our versions must be able to read this one answer, so it stays at 0. */
    if (key == KEY_API_VERSIONS) return 0;
    const struct api *api = api_of(key);
    return api && message_is_flexible(api->response, version) ? 1 : 0;
}

const struct message_type *message_type_named(struct slice name)
{
    size_t low = 0, high = message_type_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_compare(slice_of(message_types[middle]->name), name);
        if (order == 0) return message_types[middle];
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

size_t message_field_element_size(const struct message_field *field)
{
    static const uint8_t sizes[] = {
        [KIND_BOOL] = sizeof(bool),
        [KIND_INT8] = 1,
        [KIND_INT16] = 2,
        [KIND_UINT16] = 2,
        [KIND_INT32] = 4,
        [KIND_UINT32] = 4,
        [KIND_INT64] = 8,
        [KIND_FLOAT64] = 8,
        [KIND_UUID] = 16,
        [KIND_STRING] = sizeof(struct slice),
        [KIND_BYTES] = sizeof(struct slice),
        [KIND_RECORDS] = sizeof(struct records_field),
    };
    return field->kind == KIND_STRUCT ? field->of->size : sizes[field->kind];
}

/* --- is a field at its default? --- */

static bool struct_is_default(const struct message_struct *s, const void *value);

bool message_field_is_default(const struct message_struct *s, const struct message_field *field,
                              const void *value)
{
    const uint8_t *mine = (const uint8_t *)value + field->offset;
    const uint8_t *theirs = (const uint8_t *)s->defaults + field->offset;
    if (field->is_array) {
        int32_t count = ((const struct any_array *)(const void *)mine)->count;
        int32_t usual = ((const struct any_array *)(const void *)theirs)->count;
        return count < 0 ? usual < 0 : count == usual;
    }
    if (field->is_pointer) {
        const void *const *mine_at = (const void *const *)(const void *)mine;
        const void *const *theirs_at = (const void *const *)(const void *)theirs;
        if (!*mine_at || !*theirs_at) return *mine_at == *theirs_at;
        return struct_is_default(field->of, *mine_at);
    }
    switch ((enum field_kind)field->kind) {
    case KIND_STRUCT: return struct_is_default(field->of, mine);
    case KIND_STRING:
    case KIND_BYTES:
        return slice_equal(*(const struct slice *)(const void *)mine,
                           *(const struct slice *)(const void *)theirs);
    case KIND_RECORDS: return ((const struct records_field *)(const void *)mine)->size < 0;
    case KIND_FLOAT64: {
        double a, b;
        memcpy(&a, mine, sizeof a);
        memcpy(&b, theirs, sizeof b);
        return a == b;
    }
    default: return memcmp(mine, theirs, message_field_element_size(field)) == 0;
    }
}

static bool has_unknown(const struct message_struct *s, const void *value)
{
    if (s->unknown_tags == NO_UNKNOWN_TAGS) return false;
    return ((const struct unknown_tags *)(const void *)((const uint8_t *)value + s->unknown_tags))->count > 0;
}

static bool struct_is_default(const struct message_struct *s, const void *value)
{
    for (unsigned i = 0; i < s->field_count; i++) {
        if (!message_field_is_default(s, &s->fields[i], value)) return false;
    }
    return !has_unknown(s, value);
}
