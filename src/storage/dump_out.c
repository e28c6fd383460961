#include "storage/dump_out.h"

#include <stdarg.h>
#include <stdio.h>

static void add_name(struct dump_out *out, const char *name)
{
    if (out->options->json)
        text_addf(&out->line, ",\"%s\":", name);
    else
        text_addf(&out->line, " %s=", name);
}

void dump_begin(struct dump_out *out, const char *what)
{
    text_reset(&out->line);
    if (out->options->json)
        text_addf(&out->line, "{\"type\":\"%s\"", what);
    else
        text_addz(&out->line, what);
}

void dump_number(struct dump_out *out, const char *name, int64_t value)
{
    add_name(out, name);
    text_addf(&out->line, "%lld", (long long)value);
}

void dump_text(struct dump_out *out, const char *name, struct slice value)
{
    add_name(out, name);
    if (value.data)
        text_add_json(&out->line, value);
    else
        text_addz(&out->line, "null");
}

void dump_flag(struct dump_out *out, const char *name, bool value)
{
    if (!value) return;
    if (out->options->json)
        text_addf(&out->line, ",\"%s\":true", name);
    else
        text_addf(&out->line, " %s", name);
}

void dump_end(struct dump_out *out)
{
    if (out->options->json) text_addc(&out->line, '}');
    if (!out->line.failed) out->options->line(out->options->context, out->line.data);
}

void dump_problem(struct dump_out *out, struct verify_report *report, const char *path, int64_t position,
                  const char *format, ...)
{
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    if (report) report->problems++;
    dump_begin(out, "problem");
    dump_text(out, "file", slice_of(path));
    if (position >= 0) dump_number(out, "position", position);
    dump_text(out, "why", slice_of(why));
    dump_end(out);
}
