#include "base/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

static enum diag_level max_level = DIAG_INFO;
static void (*sink_function)(void *context, enum diag_level level, const char *message);
static void *sink_context;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void diag_set_level(enum diag_level level)
{
    __atomic_store_n(&max_level, level, __ATOMIC_RELAXED);
}

bool diag_level_parse(const char *text, enum diag_level *level)
{
    for (int i = DIAG_ERROR; i <= DIAG_DEBUG; i++) {
        if (strcasecmp(text, level_names[i]) == 0) {
            *level = (enum diag_level)i;
            return true;
        }
    }
    return false;
}

bool diag_enabled(enum diag_level level)
{
    return level <= __atomic_load_n(&max_level, __ATOMIC_RELAXED);
}

void diag_set_sink(void (*sink)(void *context, enum diag_level level, const char *message), void *context)
{
    sink_function = sink;
    sink_context = context;
}

void diag(enum diag_level level, const char *format, ...)
{
    if (!diag_enabled(level)) return;
    char message[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (sink_function) {
        sink_function(sink_context, level, message);
        return;
    }

    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm utc;
    gmtime_r(&now.tv_sec, &utc);
    struct text line = {0};
    text_addf(&line, "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ level=%s msg=", utc.tm_year + 1900,
              utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1000000,
              level_names[level]);
    text_add_json(&line, slice_of(message));
    text_addc(&line, '\n');
    if (!line.failed) {
        ssize_t written = write(STDERR_FILENO, line.data, line.size);
        (void)written; /* nobody is left to be told */
    }
    text_free(&line);
}
