/* problems.h: what is wrong with a file of settings, all of it at once.
 *
 *     server.properties:12: num.partitions: "many" is not a whole number; a number from 1 to 2147483647 would be right
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/text.h"

enum problem_kind {
    PROBLEM_ERROR,     /* the node does not start */
    PROBLEM_UNKNOWN,   /* a warning: no such key, with the nearest known one */
    PROBLEM_NO_EFFECT, /* a warning: known, but does nothing here */
    PROBLEM_WARNING,   /* any other warning */
    PROBLEM_NOTE,      /* worth a line, nothing wrong */
};

struct problem {
    enum problem_kind kind;
    const char *file; /* "server.properties", "--override", "default" */
    int line;         /* 0 where there are none */
    const char *key;  /* "" for the file as a whole */
    const char *what; /* what is wrong, what would be right */
};

/* In the order of the files' lines, then those that need several keys to see. Their text lives in the owner's arena. */
struct problems {
    struct problem *items;
    size_t count, capacity;
    size_t error_count;
    bool is_out_of_memory;
};

void problems_free(struct problems *problems);
/* `what` is copied. */
void problems_add(struct problems *problems, struct arena *arena, enum problem_kind kind, const char *file,
                  int line, struct slice key, const char *what, ...) __attribute__((format(printf, 7, 8)));
/* "file:line: key: what" without a newline. */
void problem_print(const struct problem *problem, struct text *out);
/* Whether it deserves exit code 1 of a check. */
static inline bool problem_is_error(const struct problem *problem)
{
    return problem->kind == PROBLEM_ERROR;
}
