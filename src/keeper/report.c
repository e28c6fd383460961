#include "keeper/report.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void line(struct report *report)
{
    text_addc(report->out, '\n');
    for (int i = 0; i < report->objects; i++) text_addz(report->out, "  ");
}

/* What stands before an item: a comma, a line of its own in an object. */
static void begin(struct report *report)
{
    if (report->depth == 0) return;
    bool *has_items = &report->has_items[report->depth - 1];
    bool is_object = report->closers[report->depth - 1] == '}';
    if (*has_items) text_addc(report->out, ',');
    if (is_object) {
        line(report);
    } else {
        text_addc(report->out, ' ');
    }
    *has_items = true;
}

void report_key(struct report *report, struct slice key)
{
    begin(report);
    text_add_json(report->out, key);
    text_addz(report->out, " : ");
}

static void begin_value(struct report *report, const char *key)
{
    bool is_in_object = report->depth > 0 && report->closers[report->depth - 1] == '}';
    if (key) {
        report_key(report, slice_of(key));
    } else if (!is_in_object) {
        begin(report);
    } /* else its key is there already */
}

void report_open(struct report *report, const char *key, char bracket)
{
    assert(report->depth < REPORT_DEPTH_MAX);
    begin_value(report, key);
    text_addc(report->out, bracket);
    report->closers[report->depth] = bracket == '{' ? '}' : ']';
    report->has_items[report->depth++] = false;
    report->objects += bracket == '{';
}

void report_close(struct report *report)
{
    assert(report->depth > 0);
    char closer = report->closers[--report->depth];
    report->objects -= closer == '}';
    if (closer == '}' && report->has_items[report->depth]) {
        line(report);
    } else {
        text_addc(report->out, ' ');
    }
    text_addc(report->out, closer);
}

void report_text(struct report *report, const char *key, struct slice value)
{
    begin_value(report, key);
    text_add_json(report->out, value);
}

void report_number(struct report *report, const char *key, int64_t value)
{
    begin_value(report, key);
    text_addf(report->out, "%" PRId64, value);
}

void report_real(struct report *report, const char *key, double value)
{
    begin_value(report, key);
    text_add_real(report->out, value);
}

void report_bool(struct report *report, const char *key, bool value)
{
    begin_value(report, key);
    text_addz(report->out, value ? "true" : "false");
}

void report_null(struct report *report, const char *key)
{
    begin_value(report, key);
    text_addz(report->out, "null");
}

void text_add_real(struct text *out, double value)
{
    char digits[340];
    int size = snprintf(digits, sizeof digits, "%.4f", round(value * 10000) / 10000);
    while (size > 2 && digits[size - 1] == '0' && digits[size - 2] != '.') size--;
    text_add(out, (struct slice){(const uint8_t *)digits, (size_t)size});
}
