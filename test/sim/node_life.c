/* node_life.c: seeds of one simulated node: topics, producers and groups go about their work, an adversary strikes, and in the end
 * nothing that was said may turn out untrue. */
#include "adversary.h"
#include "life.h"
#include "people.h"
#include "seeds.h"
#include "tools.h"

static void live_in(struct world *world)
{
    world_bring_up(world);
    struct people people;
    people_come(&people, world);
    struct tools *tools = tools_new(world);
    adversary_live(world, tools);
    if (!world_has_failed(world)) people_settle(&people);
    people_go(&people);
    for (int i = 0; i < 2 && !world_has_failed(world); i++) {
        if (i > 0) adversary_last_restart(world);
        if (!world_has_failed(world)) people_read_all(world);
    }
    if (!world_has_failed(world)) world_stop_all(world);
    tools_free(&tools);
}

static void live(uint64_t seed, int forced, void (*line)(void *context, const char *text), void *context,
                 struct seeds_result *result)
{
    life_live(PLAN_ALONE, live_in, seed, forced, line, context, result);
}

int main(int argc, char **argv)
{
    static const struct seeds_program program = {"node_life", life_counts, live};
    return seeds_main(&program, argc, argv);
}
