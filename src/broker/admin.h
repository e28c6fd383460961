/* admin.h: what the handlers of admin requests share: asking the controller, and judging what they are asked about.
 *
 *     handler: who may, what is asked twice --> admin_submit (the rest of it) --> done, on the connection's loop: one answer for all
 *
 * Each item of a request gets its own error and message; a refused item does not stop the others.
 *
 * Memory   the request's arena. While the controller works on a call, it is the controller's.
 * Source   facts/cluster.md 3.8, facts/api-versions.md 2.1.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/request.h"
#include "controller/controller.h"

/* Hands `asked`, of the request's API, to the controller; it fills `answer`. Then done(call) on the connection's loop, with
 * call->context the request. `asked` and `answer` live in the request's arena. False without memory: nothing was begun. */
bool admin_submit(struct request *request, int16_t version, const void *asked, void *answer,
                  void (*done)(struct controller_call *call));

/* What happened to one item. */
struct admin_verdict {
    enum error err;
    struct slice message; /* null = none */
};
#define ADMIN_OK ((struct admin_verdict){OK, SLICE_NULL})
struct admin_verdict admin_refuse(enum error err, const char *why);
/* The items share the error of a call that failed as a whole. */
struct admin_verdict admin_call_verdict(const struct controller_call *call);

/* The controller, as far as this loop knows. */
bool admin_is_controller(const struct request *request);

/* --- what configurations belong to --- */
enum {
    RESOURCE_TOPIC = 2,
    RESOURCE_BROKER = 4,
    RESOURCE_BROKER_LOGGER = 8,
    RESOURCE_CLIENT_METRICS = 16,
    RESOURCE_GROUP = 32,
};

/* May the requester do `operation` (ACL_DESCRIBE_CONFIGS, ACL_ALTER_CONFIGS) to this resource, and is it one that this broker
 * can answer for? A broker answers for itself and for the default of all brokers, whose name is "". */
struct admin_verdict admin_check_resource(struct request *request, enum acl_operation operation, int8_t type,
                                          struct slice name);
/* One key for a resource's type and name, for find_twice. Null without memory. */
struct slice admin_resource_key(struct arena *arena, int8_t type, struct slice name);
