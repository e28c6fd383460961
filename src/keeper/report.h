/* report.h: JSON as ZooKeeper's admin server prints it: two spaces for each object, "key" : value, [ a, b ] on one line, for
 * people grep it. Values follow one another; a key is NULL inside an array.
 *
 *     struct report report = {.out = out};
 *     report_open(&report, NULL, '{');
 *     report_number(&report, "node_count", 10);
 *     report_close(&report);
 *
 * Errors: those of the text. No more than REPORT_DEPTH_MAX levels, which a bug alone can exceed. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum { REPORT_DEPTH_MAX = 8 };

struct report {
    struct text *out;
    int depth, objects;
    char closers[REPORT_DEPTH_MAX];
    bool has_items[REPORT_DEPTH_MAX];
};

/* bracket: '{' or '['. */
void report_open(struct report *report, const char *key, char bracket);
void report_close(struct report *report);
/* Before a value whose key is no C string. */
void report_key(struct report *report, struct slice key);
void report_text(struct report *report, const char *key, struct slice value);
void report_number(struct report *report, const char *key, int64_t value);
void report_real(struct report *report, const char *key, double value);
void report_bool(struct report *report, const char *key, bool value);
void report_null(struct report *report, const char *key);

/* As Java prints a double that was rounded to four places: 0.0, 7.75, 12.3457. */
void text_add_real(struct text *out, double value);
