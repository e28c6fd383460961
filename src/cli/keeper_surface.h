/* keeper_surface.h: what an operator sees of a keeper beside its client port: the admin server, a metrics port, the audit log.
 *
 * Owner: the keeper's loop. Errors: a metrics port that is taken or an audit file that cannot be opened end the start, as in ZooKeeper; an
 * admin port that is taken is a warning. */
#pragma once
#include "base/bytes.h"
#include "base/error.h"

struct keeper;
struct keeper_surface;
struct loop;
struct zoo_config;

/* Before the keeper is there, for its first lines; NULL when audit.enable is false is no error. */
MUST_USE enum error keeper_surface_new(const struct zoo_config *config, struct loop *loop,
                                       struct keeper_surface **surface);
/* After keeper_open. */
MUST_USE enum error keeper_surface_open(struct keeper_surface *surface, struct keeper *keeper);
/* Before keeper_close. The audit log stays. */
void keeper_surface_close(struct keeper_surface *surface);
void keeper_surface_free(struct keeper_surface **surface);

/* False: no audit log is kept. */
bool keeper_surface_audits(const struct keeper_surface *surface);
void keeper_surface_audit(struct keeper_surface *surface, struct slice lines);
/* serverStart or serverStop; success, failure or invoked. */
void keeper_surface_audit_server(struct keeper_surface *surface, const char *operation, const char *result);
/* Opens auditlog.file anew, for it may have been rotated; false: there is none. */
bool keeper_surface_reopen(struct keeper_surface *surface);
