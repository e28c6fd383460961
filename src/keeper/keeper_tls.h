/* keeper_tls.h: TLS as zoo.cfg describes it, to a context of loop/tls.h. Reads the key files; called before the loop runs.
 *
 * Source  ZooKeeper's ssl.* and ssl.quorum.* keys (facts/keeper.md 3.5). */
#pragma once
#include <stdbool.h>

#include "base/error.h"

struct disk;
struct text;
struct tls_context;
struct zoo_config;

enum keeper_tls_side {
    KEEPER_TLS_CLIENTS,   /* server side of the client port */
    KEEPER_TLS_ACCEPTING, /* among members, who is connected to */
    KEEPER_TLS_DIALING,   /* among members, who connects */
};

/* ERR_CONFIG and others: *why (appended to) names the file or key. */
MUST_USE enum error keeper_tls_context(const struct zoo_config *config, struct disk *disk,
                                       enum keeper_tls_side side, struct tls_context **context,
                                       struct text *why);
