/* node_stop_test.c: the end of a node whose own keeper cannot write any more. Over the simulated loop, whose disk fails when it is told to. */
#include "base/test.h"

#include <stdio.h>

#include "loop/sim.h"
#include "node/inside.h"

struct world {
    struct sim *sim;
    struct sim_machine *machine;
    struct loop *loop;
    struct loop_timer alarm;
    struct settings *settings;
    struct node *node;
    bool is_ready, has_ended;
    enum error end;
};

static void on_ready(void *context, const char *line)
{
    (void)line;
    ((struct world *)context)->is_ready = true;
}

static void on_end(void *context, enum error err, const char *problem)
{
    (void)problem;
    struct world *world = context;
    world->has_ended = true;
    world->end = err;
}

static void on_alarm(struct loop_timer *timer)
{
    loop_stop(CONTAINER_OF(timer, struct world, alarm)->loop);
}

static void run_ms(struct world *world, int64_t ms)
{
    loop_timer_start(world->loop, &world->alarm, ms);
    loop_run(world->loop);
}

static void world_open(struct world *world)
{
    *world = (struct world){.alarm.run = on_alarm};
    struct settings_sources sources = {.name = "test",
                                       .text = SLICE("listeners=PLAINTEXT://one:9000\n"
                                                     "keeper.client.port=0\n"
                                                     "log.dirs=/data/logs\n"
                                                     "keeper.data.dir=/data/keeper\n")};
    assert_int_equal(settings_load(&sources, &world->settings), OK);
    assert_int_equal(sim_new(1, &world->sim), OK);
    assert_int_equal(sim_machine_new(world->sim, "one", &world->machine), OK);
    assert_int_equal(sim_loop_new(world->machine, &world->loop), OK);
    struct node_config config = {.settings = world->settings,
                                 .loops = &world->loop,
                                 .loop_count = 1,
                                 .disk = sim_machine_disk(world->machine),
                                 .on_ready = on_ready,
                                 .on_end = on_end,
                                 .context = world};
    assert_int_equal(node_start(&config, &world->node), OK);
    for (int i = 0; i < 100 && !world->is_ready; i++) run_ms(world, 100);
    assert_true(world->is_ready);
}

static void world_close(struct world *world)
{
    loop_free(world->loop);
    sim_free(world->sim);
    settings_free(&world->settings);
}

static void ignore(void *context, const struct coord_reply *reply)
{
    (void)context;
    (void)reply;
}

static void fail_keeper(struct world *world)
{
    sim_disk_fail_sync(world->machine, 1000);
    coord_create(world->node->coord, SLICE("/written"), SLICE("in vain"), COORD_PERSISTENT, COORD_ACL_OPEN,
                 ignore, NULL);
}

/* Its controller does not answer any more, and now nobody else can become one. */
static void nobody_is_waited_for_without_a_keeper(void **state)
{
    struct world world;
    world_open(&world);
    world.node->own_controller.controller = NULL;
    node_stop(world.node);
    run_ms(&world, 3000);
    assert_false(world.has_ended); /* it asks again and again */
    fail_keeper(&world);
    for (int i = 0; i < 100 && !world.has_ended; i++) run_ms(&world, 100);
    assert_true(world.has_ended);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_is_waited_for_without_a_keeper)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
