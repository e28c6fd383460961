/* tenant.h: a client in a keeper's own process, as a broker with its keeper inside is one: it comes through the local door, holds an
 * ephemeral, and dies with the process. What it held must be gone before the next life of that member is ready. */
#pragma once
#include "keepers.h"

struct tenant;

/* The member is ready: a tenant moves in, after a look for what an earlier one left behind. */
struct tenant *tenant_new(struct member *member, struct loop *loop, struct keeper *keeper);
/* Before its keeper is closed. One whose machine died is abandoned. */
void tenant_free(struct tenant **tenant);
