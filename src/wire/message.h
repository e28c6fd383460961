/* message.h: messages to structs and back, driven by tables that tool/gen writes from schema/.
 *
 * For each message `Foo` of schema/ the generator writes, in wire/messages.h:
 *     struct foo { ... };                               fields in schema order, snake_case
 *     extern const struct message_type foo_type;
 *     static inline enum error foo_decode(...), foo_init(...), foo_size(...), foo_encode(...)  typed wrappers
 * C of a field:
 *     bool int8..int64 uint16 uint32 float64    bool, intN_t, uintN_t, double
 *     uuid                                      struct uuid
 *     string, bytes                             struct slice, a loan from the decoded frame; data NULL = null
 *     records                                   struct records_field
 *     []T                                       struct { T *items; int32_t count; } name;   count -1 = null
 *     nullable struct                           struct x *name;   NULL = null
 *     struct in a message                       struct <message>_<struct type in snake case>
 * Every struct of a flexible message ends in `struct unknown_tags unknown_tags;` so that what a newer peer sent
 * survives re-encoding. foo_init sets each field to its schema default (empty arrays, "" strings, ...), and
 * foo_bar_init does so for a struct of an array: start from these, for a zero where the default is -1 cannot be
 * encoded in a version that lacks the field. A struct pointer may point to a constant after init: replace it.
 *
 * One interpreter walks the tables, instead of generated straight-line code for each of the ~600 structs: it is
 * one decoder to harden and fuzz, and 10 times less code in the caches.
 *
 * Decoding never trusts a length: each is checked against what the frame still holds and, before an array is
 * built, its whole size is charged to `arena` (arena.limit_bytes is the request's budget). Threads: pure.
 * Source: facts/api-versions.md sections 3, 6; KIP-482.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"

struct unknown_tag {
    uint32_t tag;
    struct slice data;
};

struct unknown_tags {
    struct unknown_tag *items;
    int32_t count;
};

/* A run of record batches inside a message. When encoding, `external` != NULL says the bytes are not in memory:
 * only the length prefix is written and the place is noted as a splice (a Fetch answer's file slice). */
struct records_field {
    const uint8_t *data;
    int32_t size;   /* -1 = null */
    void *external; /* the caller's, e.g. its file slice; NULL when decoded */
};

/* Where `size` bytes from `external` belong: before byte `at` of the encoded output. */
struct splice {
    size_t at;
    void *external;
    size_t size;
};

struct splices {
    struct splice *items; /* the caller's array */
    size_t count, capacity;
};

/* What was wrong with a frame, for the diagnostic: "topic_data[3].name: length 70000 but 12 bytes left". */
struct decode_fault {
    char text[160];
};

struct message_type;

/* Sets every field to its default for messages that will be encoded. */
void message_init(const struct message_type *type, void *message);
/* Decodes `in` from its start. *consumed (may be NULL) gets the bytes read; bytes after the body are not an error
 * here. On error: ERR_TRUNCATED, ERR_CORRUPT, ERR_NOMEM (budget), ERR_UNSUPPORTED (version), and *fault (may be
 * NULL) says where. */
MUST_USE enum error message_decode(const struct message_type *type, int16_t version, struct slice in,
                                   struct arena *arena, void *message, size_t *consumed,
                                   struct decode_fault *fault);
/* Exact size in bytes of the encoding, external records included; SIZE_MAX if a length does not fit the format
 * or a field that this version lacks (and that may not be ignored) is not at its default. */
size_t message_size(const struct message_type *type, int16_t version, const void *message);
/* Writes message_size() bytes minus those of external records, and returns how many. `splices` may be NULL if no
 * field is external; entries are appended in rising `at`, relative to `out`. */
size_t message_encode(const struct message_type *type, int16_t version, const void *message, uint8_t *out,
                      struct splices *splices);
/* A copy that shares nothing with `message` and lives as long as `arena`, by way of the encoding in `version`. ERR_NOMEM;
 * ERR_UNSUPPORTED_VERSION when it cannot be encoded in it. */
MUST_USE enum error message_copy(const struct message_type *type, int16_t version, const void *message,
                                 struct arena *arena, void *copy);
/* One JSON object, keys as Kafka spells the fields. */
void message_print(const struct message_type *type, int16_t version, const void *message, struct text *out);

const char *message_name(const struct message_type *type);
size_t message_struct_size(const struct message_type *type);
int16_t message_min_version(const struct message_type *type);
int16_t message_max_version(const struct message_type *type);
bool message_is_flexible(const struct message_type *type, int16_t version);

/* --- the table of all APIs (wire/apis.c, generated) --- */
struct api {
    int16_t key;
    const char *name; /* "Produce" */
    const struct message_type *request, *response;
    int16_t min_version, max_version; /* union of Apache 3.9.2 and 4.3.1 */
};

const struct api *api_of(int16_t key);  /* NULL when unknown */
const struct api *api_at(size_t index); /* for walking: index 0.., NULL at the end */
/* Request header version 1 or 2 (0 for ControlledShutdown v0), response header 0 or 1; facts/api-versions.md 3. */
int16_t api_request_header_version(int16_t key, int16_t version);
int16_t api_response_header_version(int16_t key, int16_t version);
/* Records of internal topics and embedded protocols by schema name, "GroupMetadataValue"; NULL when unknown. */
const struct message_type *message_type_named(struct slice name);
