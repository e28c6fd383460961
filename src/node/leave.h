/* leave.h: before a broker stops it asks the controller to move what it leads to others, and to take it out of the ISRs
 * (ControlledShutdown; facts/cluster.md 2.3).
 *
 * Owner   the caller keeps struct leave until done. Control loop.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"
#include "metadata/controller_link.h"
#include "wire/messages.h"

struct metadata;
struct settings;

struct leave {
    struct loop *loop;
    struct metadata *metadata;
    struct controller_link *link;
    int32_t broker_id;
    int64_t max_tries, backoff_ms, timeout_ms; /* from settings */
    void (*done)(void *context);               /* once, later; the broker stops in any case */
    void *context;
    /* its own: */
    int64_t tries;
    struct controlled_shutdown_request request;
    struct controller_link_call call;
    struct loop_timer timer; /* stopped: the controller has been asked */
    bool is_under_way;
};

void leave_begin(struct leave *leave, const struct settings *settings);
/* Nobody will answer any more, for this reason: done comes now if the leave is under way. */
void leave_give_up(struct leave *leave, const char *why);
