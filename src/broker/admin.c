#include "broker/admin.h"

#include <stdlib.h>

bool admin_submit(struct request *request, int16_t version, const void *asked, void *answer,
                  void (*done)(struct controller_call *call))
{
    struct controller_call *call = request_alloc(request, 1, sizeof *call);
    if (!call) return false;
    *call = (struct controller_call){.api_key = request->api->key,
                                     .version = version,
                                     .request = asked,
                                     .arena = &request->arena,
                                     .response = answer,
                                     .home = request->home->loop,
                                     .done = done,
                                     .context = request};
    controller_submit(request_broker(request)->parts.controller, call);
    return true;
}

struct admin_verdict admin_refuse(enum error err, const char *why)
{
    return (struct admin_verdict){err, slice_of(why)};
}

struct admin_verdict admin_call_verdict(const struct controller_call *call)
{
    return call->err == OK ? ADMIN_OK : admin_refuse(call->err, error_text(call->err));
}

bool admin_is_controller(const struct request *request)
{
    return image_controller_id(request_image(request)) == request_broker(request)->options.broker_id;
}

/* --- resources --- */

struct slice admin_resource_key(struct arena *arena, int8_t type, struct slice name)
{
    uint8_t *key = arena_alloc(arena, 1 + name.size);
    if (!key) return SLICE_NULL;
    key[0] = (uint8_t)type;
    if (name.size > 0) memcpy(key + 1, name.data, name.size);
    return (struct slice){key, 1 + name.size};
}

static struct admin_verdict check_topic(const struct request *request, enum acl_operation operation,
                                        struct slice name)
{
    const char *why = NULL;
    if (name.size == 0 && operation == ACL_ALTER_CONFIGS) {
        return admin_refuse(ERR_INVALID_REQUEST,
                            "topics have no default entity; the broker's own settings are their defaults");
    }
    enum error err = topic_name_check(name, &why);
    if (err != OK && operation != ACL_ALTER_CONFIGS) return admin_refuse(err, why);
    if (image_topic(request_image(request), name)) return ADMIN_OK;
    return admin_refuse(ERR_UNKNOWN_TOPIC_OR_PARTITION, "there is no such topic");
}

static struct admin_verdict check_broker(struct request *request, struct slice name, bool may_be_all)
{
    int64_t id = -1;
    int32_t own_id = request_broker(request)->options.broker_id;
    if (may_be_all && name.size == 0) return ADMIN_OK;
    if (slice_to_int64(name, 0, INT32_MAX, &id) && id == own_id) return ADMIN_OK;
    return (struct admin_verdict){
        ERR_INVALID_REQUEST,
        arena_printf(
            &request->arena,
            "this is broker %d, which answers for its own id%s; broker \"%.*s\" must be asked itself", own_id,
            may_be_all ? " and for \"\", the default of all brokers" : "", SLICE_ARG(name))};
}

struct admin_verdict admin_check_resource(struct request *request, enum acl_operation operation, int8_t type,
                                          struct slice name)
{
    switch (type) {
    case RESOURCE_TOPIC:
        if (!request_may(request, operation, ACL_TOPIC, name)) {
            return admin_refuse(ERR_TOPIC_AUTHORIZATION_FAILED,
                                "not authorized to do this to the topic's configuration");
        }
        return check_topic(request, operation, name);
    case RESOURCE_BROKER:
    case RESOURCE_BROKER_LOGGER:
        if (!request_may(request, operation, ACL_CLUSTER, ACL_CLUSTER_NAME)) {
            return admin_refuse(ERR_CLUSTER_AUTHORIZATION_FAILED,
                                "not authorized to do this to the brokers' configuration");
        }
        return check_broker(request, name, type == RESOURCE_BROKER);
    default:
        return (struct admin_verdict){ERR_INVALID_REQUEST,
                                      arena_printf(&request->arena,
                                                   "resource type %d has no configuration here; topics (2), "
                                                   "brokers (4) and broker loggers (8) have",
                                                   type)};
    }
}
