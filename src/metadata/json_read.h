/* json_read.h: reading znodes' JSON with a fault that names the field. The first fault is kept; what is read after it is
 * zero, so a decoder reads everything and looks at `err` once. */
#pragma once
#include <jansson.h>

#include "metadata/znodes.h"

struct json_reader {
    struct slice path; /* of the znode */
    json_t *root;
    struct arena *arena;
    struct znode_fault *fault;
    enum error err;
};

/* The root must be an object. Call json_reader_end in any case. */
void json_reader_begin(struct json_reader *reader, struct slice path, struct slice data, struct arena *arena,
                       struct znode_fault *fault);
enum error json_reader_end(struct json_reader *reader);

void json_fail(struct json_reader *reader, const char *field, const char *what) __attribute__((cold));
const char *json_kind(const json_t *value); /* "a string"; NULL: "nothing" */

/* NULL when absent or null. */
json_t *json_find(const json_t *object, const char *key);
int64_t json_number(struct json_reader *reader, const json_t *value, const char *field, int64_t min,
                    int64_t max);
int64_t json_field_number(struct json_reader *reader, const json_t *object, const char *key, int64_t min,
                          int64_t max);
/* Absent: `fallback`. */
int64_t json_field_number_or(struct json_reader *reader, const json_t *object, const char *key, int64_t min,
                             int64_t max, int64_t fallback);
struct slice json_text(struct json_reader *reader, const json_t *value,
                       const char *field); /* copied into the arena */
struct slice json_field_text(struct json_reader *reader, const json_t *object, const char *key);
/* NULL when it is not there or of another type, which is a fault. */
json_t *json_field_object(struct json_reader *reader, const json_t *object, const char *key);
json_t *json_field_array(struct json_reader *reader, const json_t *object, const char *key);
/* Distinct broker ids, >= 0. */
struct int32_list json_ids(struct json_reader *reader, const json_t *array, const char *field);
void *json_alloc(struct json_reader *reader, size_t count, size_t size); /* zeroed; NULL: ERR_NOMEM is set */
