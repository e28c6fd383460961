/* life.h: one life of a world, as seeds.h wants it told. */
#pragma once
#include "seeds.h"
#include "world.h"

/* What life_live counts, in order. */
extern const char *const life_counts[];

void life_live(enum plan_kind kind, void (*live)(struct world *world), uint64_t seed, int forced_replicas,
               void (*line)(void *context, const char *text), void *context, struct seeds_result *result);
