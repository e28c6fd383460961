/* admin.h: what the admin server and a metrics provider serve; the HTTP around it is console/keeper_pages.c.
 *
 *     keeper_admin(keeper, SLICE("stat"), ...)   {"version" : ..., "command" : "stats", "error" : null}
 *
 * Every answer is one JSON object with "command" and "error". As in ZooKeeper an unknown command is an answer like others, status 200,
 * whose error says so; so is one that cannot be carried out while the keeper does not serve.
 *
 * Owner   the keeper's loop; may be called from keeper_open to keeper_close. Errors: those of the text.
 * Source  facts/keeper.md 3.3, 3.4; compared with Apache's answers by test/interop/keeper_operators.py. */
#pragma once
#include <stddef.h>

#include "base/bytes.h"
#include "base/text.h"

struct keeper;

#define KEEPER_NOT_SERVING "This ZooKeeper instance is not currently serving requests"

/* The commands by their first names, in order; NULL at the end. */
const char *keeper_admin_name(size_t index);
/* `name`: any name of a command, but for those of backup.h. `trace_mask`: the value of the request's traceMask, NULL when it has none. */
void keeper_admin(struct keeper *keeper, struct slice name, const char *trace_mask, struct text *out);

/* Prometheus text. */
void keeper_metrics(struct keeper *keeper, struct text *out);
