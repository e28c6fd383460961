/* offset.h: where to start reading, as people write it. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum offset_kind { OFFSET_START, OFFSET_END, OFFSET_NUMBER, OFFSET_FROM_END, OFFSET_AT_TIME };

struct offset_wish {
    enum offset_kind kind;
    int64_t value; /* offset; records before the end; ms since 1970 */
};

/* start | end | N | -N | @2026-11-22T10:00Z | @1763805600000 | @-1h. now_ms is the wall clock. */
bool offset_parse(const char *text, int64_t now_ms, struct offset_wish *wish);
