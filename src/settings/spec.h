/* spec.h: what a key is: its type, default, bounds, who may change it, what it does here. The tables are broker.def,
 * topic.def and zoo.def; this file turns their lines into arrays, and text into values. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"

/* The numbers are those of DescribeConfigs. */
enum setting_type {
    SETTING_BOOLEAN = 1,
    SETTING_STRING = 2,
    SETTING_INT = 3,
    SETTING_SHORT = 4,
    SETTING_LONG = 5,
    SETTING_DOUBLE = 6,
    SETTING_LIST = 7,
    SETTING_CLASS = 8,
    SETTING_PASSWORD = 9,
};

/* Who may change a broker's key while it runs. */
enum setting_mode {
    SETTING_STATIC,       /* nobody */
    SETTING_PER_BROKER,   /* one broker's own entity only */
    SETTING_CLUSTER_WIDE, /* the default entity of all brokers, or one broker's */
};

/* What setting a key does in this program. */
enum setting_effect {
    SETTING_EFFECTIVE,
    SETTING_NO_EFFECT,              /* accepted, with a warning */
    SETTING_REFUSED_UNLESS_DEFAULT, /* any other value would leave the node less safe than its owner believes */
    SETTING_REFUSED,                /* the same, whatever the value */
};

struct setting_spec {
    const char *name;
    enum setting_type type;
    const char *default_text; /* NULL = null */
    int64_t min, max;         /* of numbers, and of each number in a list never */
    const char *choices;      /* "a|b|c": what a string, or each element of a list, may be; NULL = anything */
    enum setting_mode mode;
    enum setting_effect effect;
    bool is_internal; /* works, but is not shown */
    const char *doc;  /* one sentence */
};

struct setting_table {
    const struct setting_spec *specs; /* in strcmp order of their names */
    size_t count;
};

struct setting_list {
    const struct slice *items;
    size_t count;
};

/* A value after its text was understood. */
struct setting_value {
    const char *text; /* trimmed; NULL = null */
    int64_t number;   /* INT, SHORT, LONG; BOOLEAN as 0 and 1 */
    double real;      /* DOUBLE */
    struct setting_list list;
};

/* The index of `name`, or -1. */
ptrdiff_t setting_find(const struct setting_table *table, struct slice name);
/* The known name nearest to a misspelt one, NULL when none is near. */
const char *setting_nearest(const struct setting_table *table, struct slice name);
/* Understands `text` (null = null) as `spec` asks. Strings and lists of the value live in `arena`. On ERR_CONFIG `why` gets what is
 * wrong and what would be right, as in "\"x\" is not a whole number; a number from 1 to 9 would be right". */
MUST_USE enum error setting_parse(const struct setting_spec *spec, struct slice text, struct arena *arena,
                                  struct setting_value *value, struct text *why);
/* "BOOLEAN", "INT" ... */
const char *setting_type_text(enum setting_type type);
/* Passwords. */
bool setting_is_sensitive(const struct setting_spec *spec);
