#include "metadata/json_read.h"

#include <stdio.h>

enum { MAX_ZNODE = 16 << 20 };

void json_fail(struct json_reader *reader, const char *field, const char *what)
{
    if (reader->err != OK) return;
    reader->err = ERR_CORRUPT;
    if (reader->fault)
        snprintf(reader->fault->text, sizeof reader->fault->text, "%.*s: %s%s%s", SLICE_ARG(reader->path),
                 field, *field ? ": " : "", what);
}

static void fail_kind(struct json_reader *reader, const char *field, const char *expected,
                      const json_t *found)
{
    char what[96];
    snprintf(what, sizeof what, "expected %s, found %s", expected, json_kind(found));
    json_fail(reader, field, what);
}

const char *json_kind(const json_t *value)
{
    if (!value) return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "a whole number";
    case JSON_REAL: return "a fraction";
    case JSON_TRUE:
    case JSON_FALSE: return "a truth value";
    case JSON_NULL: return "null";
    }
    return "something else";
}

void json_reader_begin(struct json_reader *reader, struct slice path, struct slice data, struct arena *arena,
                       struct znode_fault *fault)
{
    *reader = (struct json_reader){.path = path, .arena = arena, .fault = fault};
    json_error_t why;
    if (!data.data) {
        json_fail(reader, "", "expected JSON, found null data");
    } else if (data.size > MAX_ZNODE) {
        json_fail(reader, "", "larger than any znode");
    } else if (!(reader->root = json_loadb((const char *)data.data, data.size, 0, &why))) {
        char what[128];
        snprintf(what, sizeof what, "not JSON, at byte %d: %.90s", why.position, why.text);
        json_fail(reader, "", what);
    } else if (!json_is_object(reader->root)) {
        fail_kind(reader, "", "an object", reader->root);
    }
}

enum error json_reader_end(struct json_reader *reader)
{
    json_decref(reader->root);
    reader->root = NULL;
    return reader->err;
}

json_t *json_find(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

int64_t json_number(struct json_reader *reader, const json_t *value, const char *field, int64_t min,
                    int64_t max)
{
    if (reader->err != OK) return 0;
    if (!json_is_integer(value)) {
        fail_kind(reader, field, "a whole number", value);
        return 0;
    }
    int64_t number = json_integer_value(value);
    if (number >= min && number <= max) return number;
    char what[96];
    snprintf(what, sizeof what, "%lld is not between %lld and %lld", (long long)number, (long long)min,
             (long long)max);
    json_fail(reader, field, what);
    return 0;
}

int64_t json_field_number(struct json_reader *reader, const json_t *object, const char *key, int64_t min,
                          int64_t max)
{
    return json_number(reader, json_object_get(object, key), key, min, max);
}

int64_t json_field_number_or(struct json_reader *reader, const json_t *object, const char *key, int64_t min,
                             int64_t max, int64_t fallback)
{
    const json_t *value = json_find(object, key);
    return value ? json_number(reader, value, key, min, max) : fallback;
}

struct slice json_text(struct json_reader *reader, const json_t *value, const char *field)
{
    if (reader->err != OK) return SLICE_NULL;
    if (!json_is_string(value)) {
        fail_kind(reader, field, "a string", value);
        return SLICE_NULL;
    }
    struct slice text = {(const uint8_t *)json_string_value(value), json_string_length(value)};
    struct slice copy = arena_copy(reader->arena, text);
    if (!copy.data) reader->err = ERR_NOMEM;
    return copy;
}

struct slice json_field_text(struct json_reader *reader, const json_t *object, const char *key)
{
    return json_text(reader, json_object_get(object, key), key);
}

json_t *json_field_object(struct json_reader *reader, const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    if (json_is_object(value)) return value;
    fail_kind(reader, key, "an object", value);
    return NULL;
}

json_t *json_field_array(struct json_reader *reader, const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    if (json_is_array(value)) return value;
    fail_kind(reader, key, "an array", value);
    return NULL;
}

void *json_alloc(struct json_reader *reader, size_t count, size_t size)
{
    void *memory = reader->err == OK ? arena_zalloc(reader->arena, (count ? count : 1) * size) : NULL;
    if (!memory && reader->err == OK) reader->err = ERR_NOMEM;
    return memory;
}

struct int32_list json_ids(struct json_reader *reader, const json_t *array, const char *field)
{
    struct int32_list list = {0};
    if (!json_is_array(array)) {
        fail_kind(reader, field, "an array of broker ids", array);
        return list;
    }
    size_t count = json_array_size(array);
    int32_t *ids = json_alloc(reader, count, sizeof *ids);
    for (size_t i = 0; ids && i < count && reader->err == OK; i++) {
        char name[96];
        snprintf(name, sizeof name, "%.70s[%zu]", field, i);
        ids[i] = (int32_t)json_number(reader, json_array_get(array, i), name, 0, INT32_MAX);
        for (size_t j = 0; j < i; j++)
            if (ids[j] == ids[i]) json_fail(reader, name, "a broker is named twice");
    }
    if (reader->err == OK) list = (struct int32_list){ids, count};
    return list;
}
