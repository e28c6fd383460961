#include "settings/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/vec.h"

void problems_free(struct problems *problems)
{
    free(problems->items);
    *problems = (struct problems){0};
}

void problems_add(struct problems *problems, struct arena *arena, enum problem_kind kind, const char *file,
                  int line, struct slice key, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    char *text = NULL;
    int size = vasprintf(&text, what, args);
    va_end(args);
    struct slice kept = SLICE_NULL, key_kept = arena_copy(arena, key.data ? key : SLICE(""));
    if (size >= 0) {
        kept = arena_copy(arena, (struct slice){(const uint8_t *)text, (size_t)size});
        free(text);
    }
    if (kind == PROBLEM_ERROR) problems->error_count++;
    if (!kept.data || !key_kept.data || !VEC_RESERVE(problems->items, problems->count, problems->capacity)) {
        problems->is_out_of_memory = true;
        return;
    }
    problems->items[problems->count++] = (struct problem){.kind = kind,
                                                          .file = file,
                                                          .line = line,
                                                          .key = (const char *)key_kept.data,
                                                          .what = (const char *)kept.data};
}

void problem_print(const struct problem *problem, struct text *out)
{
    text_addz(out, problem->file);
    if (problem->line > 0) text_addf(out, ":%d", problem->line);
    text_addz(out, ": ");
    if (problem->key[0]) text_addf(out, "%s: ", problem->key);
    text_addz(out, problem->what);
}
