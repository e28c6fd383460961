#include "broker/broker_loggers.h"

#include "base/diag.h"

/* Kafka has six; ours stand for the nearest that says no less. */
static const struct {
    const char *name;
    enum diag_level level;
} LEVELS[] = {
    {"FATAL", DIAG_ERROR}, {"ERROR", DIAG_ERROR}, {"WARN", DIAG_WARN},
    {"INFO", DIAG_INFO},   {"DEBUG", DIAG_DEBUG}, {"TRACE", DIAG_DEBUG},
};
enum { LEVEL_COUNT = sizeof LEVELS / sizeof *LEVELS, OPERATION_SET = 0 };

struct slice root_logger_level(void)
{
    if (diag_enabled(DIAG_DEBUG)) return SLICE("DEBUG");
    if (diag_enabled(DIAG_INFO)) return SLICE("INFO");
    return diag_enabled(DIAG_WARN) ? SLICE("WARN") : SLICE("ERROR");
}

enum error broker_logger_alter(struct slice logger, int8_t operation, struct slice level, bool validate_only,
                               const char **why)
{
    if (!slice_equal(logger, ROOT_LOGGER)) {
        *why = "there is one logger, root";
        return ERR_INVALID_CONFIG;
    }
    if (operation != OPERATION_SET) {
        *why = "a logger's level can only be set";
        return ERR_INVALID_REQUEST;
    }
    for (int i = 0; i < LEVEL_COUNT; i++) {
        if (!slice_is(level, LEVELS[i].name)) continue;
        if (!validate_only) diag_set_level(LEVELS[i].level);
        return OK;
    }
    *why = "not a level; FATAL, ERROR, WARN, INFO, DEBUG or TRACE would be right";
    return ERR_INVALID_CONFIG;
}
