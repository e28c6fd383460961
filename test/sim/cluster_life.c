/* cluster_life.c: seeds of a simulated cluster: topics, producers and groups go about their work on three to five brokers and a
 * keeper alone, an adversary strikes, and in the end nothing that was said may turn out untrue, and all replicas are equal. */
#include "life.h"
#include "people.h"
#include "seeds.h"
#include "siege.h"
#include "witness.h"

static void live_in(struct world *world)
{
    struct siege *siege = siege_new(world);
    world_bring_up(world);
    struct people people;
    people_come(&people, world);
    if (!world_has_failed(world)) siege_live(siege);
    if (!world_has_failed(world)) people_settle(&people);
    people_go(&people);
    for (int i = 0; i < 2 && !world_has_failed(world); i++) {
        if (i > 0) siege_last_restart(siege);
        if (!world_has_failed(world)) people_read_all(world);
        if (!world_has_failed(world)) witness_compare(world->witness);
    }
    if (!world_has_failed(world)) world_stop_all(world);
    siege_free(&siege);
}

static void live(uint64_t seed, int forced, void (*line)(void *context, const char *text), void *context,
                 struct seeds_result *result)
{
    life_live(PLAN_CLUSTER, live_in, seed, forced, line, context, result);
}

int main(int argc, char **argv)
{
    static const struct seeds_program program = {"cluster_life", life_counts, live};
    return seeds_main(&program, argc, argv);
}
