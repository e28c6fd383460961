/* late_roles.h: roles that could not be taken for want of room on the disk.
 *
 * A full disk is a state, not an end. The controller is told that the role is taken, for nobody else could take it any better,
 * and it has no way to hear that there is room again; the role is then tried each second, with the controller's own words, until
 * it is taken, another word on the partition comes, or another controller speaks.
 *
 * Threads  the control loop.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/list.h"
#include "loop/loop.h"

struct leader_and_isr_request;
struct leader_and_isr_request_leader_and_isr_partition_state;
struct replicas;
struct uuid;

struct late_roles {
    struct replicas *replicas;
    struct loop *loop;
    struct list items;
    struct loop_timer timer;
};

void late_roles_init(struct late_roles *late, struct replicas *replicas, struct loop *loop);
/* No more tries. */
void late_roles_stop(struct late_roles *late);
void late_roles_free(struct late_roles *late);

/* Copies the word. True when it will be tried again: also when `request` is one of our own tries, which then goes on. */
bool late_roles_keep(struct late_roles *late, const struct leader_and_isr_request *request,
                     struct slice topic, const struct uuid *topic_id,
                     const struct leader_and_isr_request_leader_and_isr_partition_state *state);
/* Is this one of our own tries, of a role that was dropped while it waited for its turn? */
bool late_roles_is_void(const struct late_roles *late, const struct leader_and_isr_request *request);
/* A newer word on the partition has come. `request` may be one of our own tries, which is none. */
void late_roles_drop(struct late_roles *late, const struct leader_and_isr_request *request,
                     struct slice topic, int32_t index);
