/* random.h: a small seeded generator (xoshiro256**) for tests, jitter and the simulator. Not for secrets. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_seed(struct random *random, uint64_t seed);
uint64_t random_next(struct random *random);
/* 0 .. bound-1; bound > 0. */
uint64_t random_below(struct random *random, uint64_t bound);
void random_fill(struct random *random, void *out, size_t size);
