/* node_life.c: seeds of one simulated node: topics, producers and groups go about their work, an adversary strikes, and in the end
 * nothing that was said may turn out untrue. */
#include "adversary.h"
#include "people.h"
#include "seeds.h"

static void live(struct world *world)
{
    world_bring_up(world);
    struct people people;
    people_come(&people, world);
    adversary_live(world);
    if (!world_has_failed(world)) people_settle(&people);
    people_go(&people);
    for (int i = 0; i < 2 && !world_has_failed(world); i++) {
        if (i > 0) adversary_last_restart(world);
        if (!world_has_failed(world)) people_read_all(world);
    }
    if (!world_has_failed(world)) world_stop_all(world);
}

int main(int argc, char **argv)
{
    static const struct seeds_program program = {"node_life", PLAN_ALONE, live};
    return seeds_main(&program, argc, argv);
}
