/* bench.h: what the tests of settings read from beside the file: an environment and files of secrets. */
#pragma once
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings/inside.h"
#include "settings/settings.h"

static const char *environment(void *context, const char *name)
{
    (void)context;
    if (strcmp(name, "PARTS") == 0) return "12";
    if (strcmp(name, "HOST") == 0) return "example.org";
    return NULL;
}

static inline enum error read_file(void *context, const char *path, struct text *out)
{
    (void)context;
    if (strcmp(path, "/etc/secrets") == 0)
        text_addz(out, "a=1\nparts = 7\n");
    else if (strcmp(path, "/run/secrets/parts") == 0)
        text_addz(out, "9\n");
    else
        return ERR_NOT_FOUND;
    return OK;
}

static inline struct settings *load(const char *text, const char *const *overrides, size_t count,
                                    enum error want)
{
    struct settings_sources sources = {.name = text ? "f" : NULL,
                                       .text = slice_of(text),
                                       .overrides = overrides,
                                       .override_count = count,
                                       .environment = environment,
                                       .read_file = read_file};
    struct settings *settings = NULL;
    assert_int_equal(settings_load(&sources, &settings), want);
    assert_non_null(settings);
    return settings;
}
