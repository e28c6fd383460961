#include "keeper/throttle.h"

#include <math.h>

void throttle_config_init(struct throttle_config *config)
{
    *config = (struct throttle_config){.fill_ms = 1,
                                       .fill_count = 1,
                                       .freeze_ms = -1,
                                       .drop_increase = 0.02,
                                       .drop_decrease = 0.002,
                                       .new_weight = 3,
                                       .renewed_weight = 2};
}

void throttle_init(struct throttle *throttle, const struct throttle_config *config, int64_t now_ms)
{
    int64_t most = (int64_t)config->tokens * (config->has_weights ? config->new_weight : 1);
    *throttle = (struct throttle){
        .config = *config, .tokens = most, .most = most, .filled_ms = now_ms, .frozen_ms = now_ms};
}

static void fill(struct throttle *throttle, int64_t now_ms)
{
    const struct throttle_config *config = &throttle->config;
    int64_t passed_ms = now_ms - throttle->filled_ms;
    if (passed_ms <= config->fill_ms) return;
    double filled = (double)passed_ms * config->fill_count / config->fill_ms;
    if (config->has_weights) filled *= config->new_weight;
    double missing = (double)(throttle->most - throttle->tokens);
    throttle->tokens = filled >= missing ? throttle->most : throttle->tokens + (int64_t)filled;
    throttle->filled_ms = now_ms;
}

static bool is_unlucky(struct throttle *throttle, int64_t now_ms, double dice)
{
    const struct throttle_config *config = &throttle->config;
    if (config->freeze_ms < 0) return false;
    int64_t used = throttle->most - throttle->tokens;
    if (now_ms - throttle->frozen_ms > config->freeze_ms) {
        if (used == throttle->most)
            throttle->drop = fmin(throttle->drop + config->drop_increase, 1);
        else if (used <= llround((double)throttle->most * config->decrease_ratio))
            throttle->drop = fmax(throttle->drop - config->drop_decrease, 0);
        throttle->frozen_ms = now_ms;
    }
    return dice < throttle->drop;
}

bool throttle_admits(struct throttle *throttle, int64_t now_ms, bool is_renewed, double dice)
{
    const struct throttle_config *config = &throttle->config;
    if (throttle->most == 0) return true;
    fill(throttle, now_ms);
    if (is_unlucky(throttle, now_ms, dice)) return false;
    int64_t needed = !config->has_weights ? 1 : is_renewed ? config->renewed_weight : config->new_weight;
    if (throttle->tokens < needed) return false;
    throttle->tokens -= needed;
    return true;
}
