/* authorizer.h: may this principal do this to that?
 *
 * Every handler asks, with the request's context, before it does or tells anything. While no ACLs exist the answer is
 * always yes, as with Apache Kafka without authorizer.class.name; start-up refuses a configuration that asks for one.
 *
 * Threads  pure. Source  operation and resource codes: facts/api-versions.md (ACL APIs).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

/* The wire's codes; a set of them is a bit set by code. */
enum acl_operation {
    ACL_READ = 3,
    ACL_WRITE = 4,
    ACL_CREATE = 5,
    ACL_DELETE = 6,
    ACL_ALTER = 7,
    ACL_DESCRIBE = 8,
    ACL_CLUSTER_ACTION = 9,
    ACL_DESCRIBE_CONFIGS = 10,
    ACL_ALTER_CONFIGS = 11,
    ACL_IDEMPOTENT_WRITE = 12,
};

enum acl_resource { ACL_TOPIC = 2, ACL_GROUP = 3, ACL_CLUSTER = 4, ACL_TRANSACTIONAL_ID = 5 };

#define ACL_CLUSTER_NAME SLICE("kafka-cluster")

struct principal {
    struct slice type, name; /* "User", "ANONYMOUS" */
};
#define PRINCIPAL_ANONYMOUS ((struct principal){SLICE("User"), SLICE("ANONYMOUS")})

/* Who asks, from where. */
struct security_context {
    struct principal principal;
    struct slice host;     /* numeric address of the peer */
    struct slice listener; /* "PLAINTEXT" */
};

bool authorize(const struct security_context *context, enum acl_operation operation,
               enum acl_resource resource, struct slice name);
/* All operations the principal may do to the resource: for the authorized-operations fields of answers. */
int32_t authorized_operations(const struct security_context *context, enum acl_resource resource,
                              struct slice name);
