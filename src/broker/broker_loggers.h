/* broker_loggers.h: the loggers of DescribeConfigs and IncrementalAlterConfigs: there is one, "root", and its level is how much
 * we tell the operator (base/diag.h). It lasts until the process ends. Source: KIP-412. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

#define ROOT_LOGGER SLICE("root")

/* As Kafka names it: ERROR, WARN, INFO or DEBUG. */
struct slice root_logger_level(void);
/* `operation` as on the wire (0 SET ...). On an error *why, static text; with validate_only nothing changes. */
MUST_USE enum error broker_logger_alter(struct slice logger, int8_t operation, struct slice level,
                                        bool validate_only, const char **why);
