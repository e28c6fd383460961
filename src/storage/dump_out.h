/* dump_out.h: one line of dump or verify: a word and fields, as `batch base=0 last=9 ...` or as one JSON object. */
#pragma once
#include <stdint.h>

#include "base/text.h"
#include "storage/dump.h"

struct dump_out {
    const struct dump_options *options;
    struct text line;
};

void dump_begin(struct dump_out *out, const char *what);
void dump_number(struct dump_out *out, const char *name, int64_t value);
/* As it stands, quoted; null is null. */
void dump_text(struct dump_out *out, const char *name, struct slice value);
void dump_flag(struct dump_out *out, const char *name, bool value); /* only shown when true */
void dump_end(struct dump_out *out);

/* Where and why something is wrong; counts it. `position` -1: nowhere in particular. */
void dump_problem(struct dump_out *out, struct verify_report *report, const char *path, int64_t position,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
