/* coord_tls.h: TLS towards the ensemble, as zookeeper.ssl.* says. */
#pragma once
#include "base/error.h"

struct coord_options;
struct disk;
struct settings;
struct text;

/* Sets options->tls, which the caller releases, and checks_host; leaves them alone where zookeeper.ssl.client.enable is false. Reads
 * the stores: before the loops run. On error *why (appended to) names the file. */
MUST_USE enum error coord_tls(const struct settings *settings, struct disk *disk,
                              struct coord_options *options, struct text *why);
