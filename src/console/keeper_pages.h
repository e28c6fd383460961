/* keeper_pages.h: the HTTP of a keeper alone: ZooKeeper's admin server, and its Prometheus provider.
 *
 *     admin     GET /commands          links to the commands, as HTML
 *               GET /commands/NAME     JSON (keeper/admin.h)
 *               GET /commands/snapshot, POST /commands/restore    a snapshot of Apache's format (keeper/backup.h)
 *     metrics   GET /metrics           Prometheus text
 *
 * Either has a port of its own. Owner: the loop given, the keeper's. Errors: as serve.h. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct keeper;
struct keeper_pages;
struct loop;

enum keeper_pages_kind { KEEPER_PAGES_ADMIN, KEEPER_PAGES_METRICS };

struct keeper_pages_options {
    enum keeper_pages_kind kind;
    const char *host;
    uint16_t port;             /* 0 = any */
    const char *command_url;   /* "/commands"; copied */
    bool admits_forwarded_for; /* who asks may be in X-Forwarded-For */
    struct keeper *keeper;
};

MUST_USE enum error keeper_pages_open(struct loop *loop, const struct keeper_pages_options *options,
                                      struct keeper_pages **pages);
uint16_t keeper_pages_port(const struct keeper_pages *pages);
/* Before keeper_close. */
void keeper_pages_close(struct keeper_pages **pages);
