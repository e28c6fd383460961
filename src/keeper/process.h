/* process.h: what the operating system says of this process, as ZooKeeper's envi and metrics show it. Linux.
 *
 * Threads any. Errors: what cannot be had is "", -1, or left out. */
#pragma once
#include <stdint.h>

#include "base/text.h"

/* What ZooKeeper calls its environment, in its order: zookeeper.version, host.name, java.*, os.*, user.*. */
void process_environment(const char *version,
                         void (*each)(void *context, const char *name, const char *value), void *context);
int64_t process_open_descriptors(void);
int64_t process_max_descriptors(void);
/* "root"; empty where the account has no name. */
void process_user(char *out, size_t size);
/* Families process_* for Prometheus, as its client libraries name them. */
void process_metrics(struct text *out);
