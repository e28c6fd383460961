/* quota.h: how much a subtree may hold, and how much it holds.
 *
 *     /zookeeper/quota/a/b/zookeeper_limits   what /a/b and all below it may hold together
 *     /zookeeper/quota/a/b/zookeeper_stats    what they hold; kept by the service, whatever clients write there
 *
 *     "count=N,bytes=N", then perhaps "=;byteHardLimit=N;countHardLimit=N"; -1 is no limit
 *
 * A client makes both znodes. A change counts for the deepest prefix of its path that has limits, not for those above; the root
 * has none. Stats change without version, zxid or event. Soft limits are only told to the operator; hard ones refuse, when the
 * leader says that quotas are enforced (a flag of each entry, so that all members do the same).
 * What is below is in the tree already when it is asked about here, so the parts of a multi count as they come.
 * Source   facts/keeper.md 2.7.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "keeper/tree.h"

/* The znode below /zookeeper/quota that rules `path`; NULL when none does. */
struct znode *quota_of(const struct tree *tree, struct slice path);

/* May the subtree that `quota` (not NULL) rules hold this much more? ERR_ZK_QUOTA_EXCEEDED: a hard limit says no. *is_over: some
 * limit, if only a soft one, is passed. ERR_ZK_MARSHALLING: limits or stats are no figures. */
MUST_USE enum error quota_check(const struct tree *tree, const struct znode *quota, int64_t bytes_more,
                                int64_t count_more, bool *is_over);

/* `path` has come, gone or changed its size: counts it. */
void quota_add(struct tree *tree, struct slice path, int64_t bytes_more, int64_t count_more);

/* `node` has been made: if it is some subtree's stats, counts what is there. */
void quota_made(struct tree *tree, struct znode *node);
