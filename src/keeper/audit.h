/* audit.h: who did what to which znode: the audit log's lines.
 *
 *     2026-11-27 22:44:11,123 INFO audit.Slf4jAuditLogger: session=0x1..\tuser=10.0.0.1,alice\tip=10.0.0.1\toperation=create\t
 *     znode=/a\tznode_type=persistent\tresult=success
 *
 * A line for each create, delete, setData, setAcl and reconfig that was carried out or refused, for each part of a multi
 * that was, for a multi that was not, and for each ephemeral that went with its session. Tabs stand between pairs; bytes that could
 * make a line look like two are shown as '?'. user: the ids a connection proved; of a digest only the name.
 * Source  facts/keeper.md 3.5, and Apache's own lines (test/interop/keeper_operators.py). */
#pragma once
#include <stdint.h>

#include "base/text.h"

/* A line of the server itself: serverStart or serverStop, success, failure or invoked. */
void audit_server_line(struct text *out, int64_t wall_ms, const char *operation, const char *result);
