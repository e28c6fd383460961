/* message_table.h: the tables between tool/gen and the interpreter in message.c. Nobody else includes this.
 *
 * A message is a tree of structs. For each struct and each version there is one plan: which fields are on the
 * wire, in which order, and which must be at their default because the wire has no place for them. Neighbouring
 * versions share a plan. Everything is const and made at build time.
 */
#pragma once
#include "wire/message.h"

enum field_kind {
    KIND_BOOL,
    KIND_INT8,
    KIND_INT16,
    KIND_UINT16,
    KIND_INT32,
    KIND_UINT32,
    KIND_INT64,
    KIND_FLOAT64,
    KIND_UUID,
    KIND_STRING,
    KIND_BYTES,
    KIND_RECORDS,
    KIND_STRUCT
};

/* How lengths are written. */
enum wire_encoding {
    WIRE_CLASSIC, /* int16 for strings, int32 for the rest; -1 = null */
    WIRE_COMPACT, /* unsigned varint of length + 1; 0 = null; a tag section ends each struct */
    WIRE_JUTE     /* int32; -1 = null, allowed everywhere */
};

struct message_struct;

struct message_field {
    const char *name;                /* as in JSON */
    const struct message_struct *of; /* KIND_STRUCT */
    uint8_t kind;                    /* enum field_kind, of the elements where is_array */
    bool is_array, is_pointer;       /* is_pointer: a struct that may be null */
    bool is_classic;                 /* its lengths stay classic in flexible versions (client_id) */
    bool is_tagged;                  /* in some versions */
    bool is_late;                    /* a release that takes earlier versions does not know this tag */
    uint16_t tag;
    uint32_t offset;            /* in the C struct */
    int16_t null_min, null_max; /* versions in which null is legal; min > max = none */
};

/* One struct in some versions. `order`: the untagged fields as on the wire, the tagged by rising tag, then those
 * that have no place here and may not be dropped. */
struct message_plan {
    const uint8_t *order;
    uint8_t untagged, tagged, absent;
    uint8_t encoding;  /* enum wire_encoding */
    uint32_t min_size; /* no encoding is shorter */
};

struct message_struct {
    const char *name;
    const struct message_field *fields;
    const struct message_plan *plans;
    const uint8_t *plan_of_version; /* index of the plan, by version from 0 */
    const void *defaults;           /* an instance with every field at its default */
    uint32_t size;
    uint32_t unknown_tags; /* offset, or NO_UNKNOWN_TAGS */
    uint8_t field_count;
};

#define NO_UNKNOWN_TAGS UINT32_MAX

struct message_type {
    const char *name;
    const struct message_struct *body;
    int16_t min_version, max_version;
    int16_t flexible_from; /* INT16_MAX = never */
};

/* Every array field has this shape; message.h says so. */
struct any_array {
    void *items;
    int32_t count;
};

/* Of one element in memory. */
size_t message_field_element_size(const struct message_field *field);
/* Whether `field` of `value`, a struct of type s, is at its default. */
bool message_field_is_default(const struct message_struct *s, const struct message_field *field,
                              const void *value);

/* Sorted by name, with its count: for message_type_named. */
extern const struct message_type *const message_types[];
extern const size_t message_type_count;
