#include "security/authorizer.h"

/* The operations that exist for a kind of resource. */
static int32_t operations_of(enum acl_resource resource)
{
    switch (resource) {
    case ACL_TOPIC:
        return 1 << ACL_READ | 1 << ACL_WRITE | 1 << ACL_CREATE | 1 << ACL_DELETE | 1 << ACL_ALTER |
               1 << ACL_DESCRIBE | 1 << ACL_DESCRIBE_CONFIGS | 1 << ACL_ALTER_CONFIGS;
    case ACL_GROUP: return 1 << ACL_READ | 1 << ACL_DELETE | 1 << ACL_DESCRIBE;
    case ACL_CLUSTER:
        return 1 << ACL_CREATE | 1 << ACL_ALTER | 1 << ACL_DESCRIBE | 1 << ACL_CLUSTER_ACTION |
               1 << ACL_DESCRIBE_CONFIGS | 1 << ACL_ALTER_CONFIGS | 1 << ACL_IDEMPOTENT_WRITE;
    case ACL_TRANSACTIONAL_ID: return 1 << ACL_WRITE | 1 << ACL_DESCRIBE;
    }
    return 0;
}

bool authorize(const struct security_context *context, enum acl_operation operation,
               enum acl_resource resource, struct slice name)
{
    return true;
}

int32_t authorized_operations(const struct security_context *context, enum acl_resource resource,
                              struct slice name)
{
    int32_t set = operations_of(resource);
    for (int operation = ACL_READ; operation <= ACL_IDEMPOTENT_WRITE; operation++) {
        if ((set & 1 << operation) && !authorize(context, (enum acl_operation)operation, resource, name)) {
            set &= ~(1 << operation);
        }
    }
    return set;
}
