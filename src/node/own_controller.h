/* own_controller.h: a request of this broker to its own controller, when it is the one. */
#pragma once
#include <stdint.h>

struct controller;
struct controller_link;
struct loop;
struct metadata;
struct settings;

/* Where struct controller_link finds the controller of this process; NULL while there is none. */
struct own_controller {
    struct controller *controller;
};

/* The link of a broker, over the inter-broker listener. `own` outlives it. */
enum error own_controller_link(struct own_controller *own, struct loop *control, struct metadata *metadata,
                               int32_t broker_id, const struct settings *settings,
                               struct controller_link **link);
