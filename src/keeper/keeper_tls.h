/* keeper_tls.h: TLS as zoo.cfg describes it, to a context of loop/tls.h. Reads the key files; called before the loop runs.
 *
 * Source  ZooKeeper's ssl.* and ssl.quorum.* keys (facts/keeper.md 3.5). */
#pragma once
#include <stdbool.h>

#include "base/error.h"
#include "loop/tls.h"

struct disk;
struct zoo_config;

/* Stores and how to use them, whoever names them. Strings may be NULL. */
struct tls_files {
    bool is_server;
    enum tls_peer_check peer;
    const char *key_location, *key_password, *key_password_path; /* a path wins over the password itself */
    const char *trust_location, *trust_password, *trust_password_path;
    const char *protocol, *protocols; /* `protocol` counts where `protocols` is not set */
    const char *ciphers;
};
MUST_USE enum error tls_files_context(const struct tls_files *files, struct disk *disk,
                                      struct tls_context **context, struct text *why);

enum keeper_tls_side {
    KEEPER_TLS_CLIENTS,   /* server side of the client port */
    KEEPER_TLS_ACCEPTING, /* among members, who is connected to */
    KEEPER_TLS_DIALING,   /* among members, who connects */
};

/* ERR_CONFIG and others: *why (appended to) names the file or key. */
MUST_USE enum error keeper_tls_context(const struct zoo_config *config, struct disk *disk,
                                       enum keeper_tls_side side, struct tls_context **context,
                                       struct text *why);
