/* bootstrap.h: "host:port,[v6]:port" lists, as in bootstrap.servers and zookeeper.connect. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct endpoint {
    char host[256];
    uint16_t port;
};

/* Parses at most `capacity` entries; spaces around commas are fine. ERR_CONFIG with *why (static text) and
 * *bad (the offending part of `text`) when something is wrong. */
MUST_USE enum error bootstrap_parse(struct slice text, uint16_t default_port, struct endpoint *endpoints,
                                    size_t capacity, size_t *count, const char **why, struct slice *bad);
