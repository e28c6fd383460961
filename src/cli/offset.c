#include "cli/offset.h"

#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/cli.h"

static bool parse_time(const char *text, int64_t now_ms, int64_t *ms)
{
    int64_t number = 0;
    if (strcmp(text, "now") == 0) {
        *ms = now_ms;
        return true;
    }
    if (text[0] == '-' && cli_parse_duration_ms(text + 1, &number)) {
        *ms = now_ms - number;
        return true;
    }
    if (slice_to_int64(slice_of(text), 0, INT64_MAX, &number)) {
        *ms = number;
        return true;
    }
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%S",
                                          "%Y-%m-%dT%H:%M", "%Y-%m-%d"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct tm utc = {0};
        const char *end = strptime(text, formats[i], &utc);
        if (end && *end == 0) {
            *ms = (int64_t)timegm(&utc) * 1000;
            return true;
        }
    }
    return false;
}

bool offset_parse(const char *text, int64_t now_ms, struct offset_wish *wish)
{
    int64_t number = 0;
    if (strcmp(text, "start") == 0 || strcmp(text, "beginning") == 0 || strcmp(text, "earliest") == 0) {
        *wish = (struct offset_wish){OFFSET_START, 0};
    } else if (strcmp(text, "end") == 0 || strcmp(text, "latest") == 0) {
        *wish = (struct offset_wish){OFFSET_END, 0};
    } else if (text[0] == '@') {
        if (!parse_time(text + 1, now_ms, &number)) return false;
        *wish = (struct offset_wish){OFFSET_AT_TIME, number};
    } else if (slice_to_int64(slice_of(text), INT64_MIN + 1, INT64_MAX, &number)) {
        bool is_from_end = text[0] == '-';
        *wish = (struct offset_wish){is_from_end ? OFFSET_FROM_END : OFFSET_NUMBER,
                                     is_from_end ? -number : number};
    } else {
        return false;
    }
    return true;
}
