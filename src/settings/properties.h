/* properties.h: Java's property files: key and value a line, as java.util.Properties reads them.
 *
 *     # comment        ! comment        key = value        key: value        key value
 *     a value \                          a backslash at the end goes on in the next line, whose blanks in front go
 *         in two lines
 *     \t \n \r \f \\ \: \= \uXXXX        escapes, in keys and values
 *
 * Bytes beyond ASCII are kept as they are (Java would read them as Latin-1; files of today are UTF-8).
 */
#pragma once
#include <stdbool.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"

struct properties {
    struct slice rest;
    int line; /* of what comes next, from 1 */
};

struct property {
    struct slice key, value; /* in the arena, NUL-terminated */
    int line;                /* where it begins */
};

static inline struct properties properties_open(struct slice text)
{
    return (struct properties){text, 1};
}

/* The next one. ERR_EOF at the end; ERR_CORRUPT for a line that has no sense (*why, static text, and property->line say what
 * and where), after which the next may be asked for; ERR_NOMEM. */
MUST_USE enum error properties_next(struct properties *properties, struct arena *arena,
                                    struct property *property, const char **why);

/* Replaces ${env:NAME}, ${file:PATH:KEY} and ${dir:PATH:NAME} (Kafka's config providers) in `value`. Text in ${} without a
 * colon stays. ERR_NOT_FOUND or ERR_CONFIG with `why` where a variable has no value or no such provider is known. */
struct properties_variables {
    const char *(*environment)(void *context, const char *name);
    enum error (*read_file)(void *context, const char *path, struct text *out);
    void *context;
};
MUST_USE enum error properties_expand(struct slice value, const struct properties_variables *variables,
                                      struct arena *arena, struct slice *expanded, struct text *why);
