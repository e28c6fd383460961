/* servers.h: server lines, as zoo.cfg, /zookeeper/config and a reconfig request have them, to what keeper.h takes.
 *
 *     server.1=a.example:2888:3888:participant;0.0.0.0:2181
 *
 * Ids are those of quorum.h, the N of a line is a number.
 * Only the first of several addresses counts, and of its ports the first: all that members say to each other goes over it. Strings are
 * the list's own, until it is freed. */
#pragma once
#include "base/arena.h"
#include "base/text.h"
#include "keeper/keeper.h"
#include "quorum/quorum.h" /* ids and numbers of members */

struct zoo_config;
struct zoo_server;

struct keeper_servers {
    struct arena arena;
    struct keeper_server *items;
    size_t count;
};

void keeper_servers_init(struct keeper_servers *servers);
void keeper_servers_free(struct keeper_servers *servers);

/* "server.N=..." lines between any of `separators`; blanks around and empty ones are nothing, and so is "version=...".
 * ERR_CONFIG: *why (appended to) says which is none; ERR_LIMIT: which is one, of a number that no member can have. */
MUST_USE enum error keeper_servers_parse(struct keeper_servers *servers, struct slice lines,
                                         const char *separators, struct text *why);
/* A line of ours that names no client port gets this one. */
void keeper_servers_add_client_port(struct keeper_servers *servers, int32_t id, const char *host,
                                    uint16_t port);
const struct keeper_server *keeper_servers_find(const struct keeper_servers *servers, int32_t id);

/* Those of zoo.cfg, of whom `id` is us. */
MUST_USE enum error keeper_servers_of_zoo(struct keeper_servers *servers, const struct zoo_config *config,
                                          int32_t id, struct text *why);

/* Appends one as a line, without its end. */
void keeper_server_print(int32_t id, const char *line, struct text *out);
/* Makes of a parsed line one of ours; false: without memory. */
bool keeper_server_of(struct arena *arena, const struct zoo_server *parsed, struct keeper_server *server);
