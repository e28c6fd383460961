/* diag.h: what we tell the operator: one logfmt line each on standard error.
 *
 *     ts=2026-11-22T10:00:00.123Z level=warn msg="could not roll log \"orders-0\": no space left on the device"
 *
 * error  wants a person     warn  was survived     info  a change of role     debug  a request
 * Any thread; a line is one write(2). The level and the sink are the only mutable statics in the program.
 */
#pragma once
#include <stdbool.h>

enum diag_level { DIAG_ERROR, DIAG_WARN, DIAG_INFO, DIAG_DEBUG };

void diag_set_level(enum diag_level level);
bool diag_level_parse(const char *text, enum diag_level *level);
bool diag_enabled(enum diag_level level);
/* For tests and the simulator: lines go to `sink` instead; NULL restores standard error. */
void diag_set_sink(void (*sink)(void *context, enum diag_level level, const char *message), void *context);

void diag(enum diag_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define diag_error(...) diag(DIAG_ERROR, __VA_ARGS__)
#define diag_warn(...) diag(DIAG_WARN, __VA_ARGS__)
#define diag_info(...) diag(DIAG_INFO, __VA_ARGS__)
#define diag_debug(...)                                                                                      \
    do {                                                                                                     \
        if (diag_enabled(DIAG_DEBUG)) diag(DIAG_DEBUG, __VA_ARGS__);                                         \
    } while (0)
