/* throttle.h: how many sessions may begin, or come back, in a while. After a fall all clients come at once; those beyond what the tokens allow are
 * cut, and try again later.
 *
 *     tokens   a bucket: `tokens` at most, of which `fill_count` come back in each `fill_ms`
 *     chance   while the bucket is empty the chance to be cut all the same grows, by drop_increase in each freeze_ms; while at most
 *              decrease_ratio of it is used it shrinks again. It spreads over all clients what else the slow ones would get.
 *
 * Source  zookeeper.connection_throttle_* of ZooKeeper 3.9 (BlueThrottle). Pure: time and dice come from the caller.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct throttle_config {
    int32_t tokens; /* 0: no limit */
    int32_t fill_ms, fill_count;
    int32_t freeze_ms; /* -1: no chance */
    double drop_increase, drop_decrease, decrease_ratio;
    bool has_weights; /* then the bucket and its filling are counted in new sessions */
    int32_t new_weight, renewed_weight;
};

struct throttle {
    struct throttle_config config;
    int64_t tokens, most;
    int64_t filled_ms, frozen_ms;
    double drop;
};

/* ZooKeeper's defaults: off. */
void throttle_config_init(struct throttle_config *config);
void throttle_init(struct throttle *throttle, const struct throttle_config *config, int64_t now_ms);
/* dice: 0 <= dice < 1. */
bool throttle_admits(struct throttle *throttle, int64_t now_ms, bool is_renewed, double dice);
