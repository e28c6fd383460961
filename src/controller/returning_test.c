/* returning_test.c: a broker that may have lost records waits before it registers, as long as it must and no longer. */
#include "base/test.h"

#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "controller/controller.h"
#include "coord/coord.h"
#include "coord/fake_keeper.h"
#include "loop/sim.h"

enum { SELF = 1, PATIENCE_MS = 4000 };

struct world {
    struct sim *sim;
    struct loop *loop;
    struct fake_keeper *fake;
    struct coord *coord;
    struct returning *returning;
    int done, errors;
};

static void count_errors(void *context, enum diag_level level, const char *message)
{
    (void)message;
    ((struct world *)context)->errors += level == DIAG_ERROR;
}

static void done(void *context)
{
    struct world *world = context;
    world->returning = NULL;
    world->done++;
}

static void put_led_state(struct world *world, const char *partition, int leader, const char *isr)
{
    struct text path = {0}, data = {0};
    text_addf(&path, "/brokers/topics/%s/state", partition);
    text_addf(&data, "{\"controller_epoch\":1,\"leader\":%d,\"version\":1,\"leader_epoch\":3,\"isr\":[%s]}",
              leader, isr);
    fake_keeper_put(world->fake, path.data, text_slice(&data), 0);
    text_free(&path);
    text_free(&data);
}

static void put_state(struct world *world, const char *partition, const char *isr)
{
    put_led_state(world, partition, -1, isr);
}

static void world_open(struct world *world)
{
    *world = (struct world){0};
    struct sim_machine *machine;
    diag_set_sink(count_errors, world);
    assert_int_equal(sim_new(1, &world->sim), OK);
    assert_int_equal(sim_machine_new(world->sim, "10.0.0.1", &machine), OK);
    assert_int_equal(sim_loop_new(machine, &world->loop), OK);
    world->fake = fake_keeper_new();
    world->coord = fake_keeper_coord(world->fake, &(struct coord_options){.session_timeout_ms = 2000}, 0);
    coord_door_tick(world->coord);
    fake_keeper_put(world->fake, "/brokers/topics/t",
                    SLICE("{\"partitions\":{\"0\":[1,2,3],\"1\":[2,1],\"2\":[3,2],\"3\":[1]},\"version\":1}"),
                    0);
    fake_keeper_put(world->fake, "/brokers/topics/broken", SLICE("no JSON"), 0);
    put_state(world, "t/partitions/0", "2,3");
    put_state(world, "t/partitions/1", "1");
    put_state(world, "t/partitions/2", "3,2");
    put_state(world, "t/partitions/3", "1");
}

static void begin(struct world *world)
{
    struct cluster_return options = {
        .loop = world->loop, .broker_id = SELF, .patience_ms = PATIENCE_MS, .done = done, .context = world};
    assert_int_equal(cluster_return(world->coord, &options, &world->returning), OK);
    assert_int_equal(world->done, 0);
}

static void pass(struct world *world, int64_t ms)
{
    for (int64_t passed = 0; passed < ms; passed += 20) {
        sim_run_ms(world->sim, 20);
        fake_keeper_advance(world->fake, 20);
    }
}

static void world_close(struct world *world)
{
    cluster_return_cancel(&world->returning);
    coord_close(&world->coord);
    fake_keeper_free(world->fake);
    loop_free(world->loop);
    sim_free(world->sim);
    diag_set_sink(NULL, NULL);
}

/* Alone in an ISR, not in it, no replica: nothing to wait for. */
static void nobody_counts_on_it(void **state)
{
    struct world world;
    world_open(&world);
    begin(&world);
    pass(&world, 100);
    assert_int_equal(world.done, 1);
    assert_false(fake_keeper_has(world.fake, "/odradek/returning/1"));
    assert_true(fake_keeper_has(world.fake, "/odradek/returning"));
    world_close(&world);
}

static void it_waits_until_it_is_out_of_every_isr(void **state)
{
    struct world world;
    world_open(&world);
    put_state(&world, "t/partitions/0", "1,2");
    put_state(&world, "t/partitions/1", "2,1");
    begin(&world);
    pass(&world, PATIENCE_MS / 2);
    assert_int_equal(world.done, 0);
    assert_true(fake_keeper_has(world.fake, "/odradek/returning/1"));
    put_state(&world, "t/partitions/0", "2");
    pass(&world, 500);
    assert_int_equal(world.done, 0);
    put_state(&world, "t/partitions/1", "2");
    pass(&world, 500);
    assert_int_equal(world.done, 1);
    assert_int_equal(world.errors, 0);
    world_close(&world);
}

/* Nothing better will come than what we have ourselves. */
static void who_returns_with_it_is_not_waited_for(void **state)
{
    struct world world;
    world_open(&world);
    put_state(&world, "t/partitions/0", "3,1,2");
    fake_keeper_put(world.fake, "/odradek/returning/2", SLICE_NULL, 0);
    begin(&world);
    pass(&world, 500);
    assert_int_equal(world.done, 0); /* 3 may have it all */
    fake_keeper_put(world.fake, "/odradek/returning/3", SLICE_NULL, 0);
    pass(&world, 500);
    assert_int_equal(world.done, 1);
    world_close(&world);
}

/* It is counted while the others could come back, which takes a keeper. */
static void patience_ends(void **state)
{
    struct world world;
    world_open(&world);
    put_state(&world, "t/partitions/0", "1,2");
    begin(&world);
    pass(&world, PATIENCE_MS - 1000);
    fake_keeper_refuse(world.fake, true);
    fake_keeper_cut(world.fake);
    pass(&world, 10000);
    assert_int_equal(world.done, 0);
    fake_keeper_refuse(world.fake, false);
    pass(&world, PATIENCE_MS - 1000);
    assert_int_equal(world.done, 0);
    assert_int_equal(world.errors, 0);
    pass(&world, 5000);
    assert_int_equal(world.done, 1);
    assert_int_equal(world.errors, 1); /* and it is said */
    world_close(&world);
}

/* A leader that is there takes it out when it has synced what it has, which may take long. */
static void a_leader_that_is_there_is_waited_for(void **state)
{
    struct world world;
    world_open(&world);
    put_led_state(&world, "t/partitions/0", 2, "1,2");
    fake_keeper_put(world.fake, "/brokers/ids/2", SLICE_NULL, 0);
    begin(&world);
    pass(&world, 3 * PATIENCE_MS);
    assert_int_equal(world.done, 0);
    fake_keeper_remove(world.fake, "/brokers/ids/2");
    pass(&world, PATIENCE_MS - 1000);
    assert_int_equal(world.done, 0);
    pass(&world, 5000);
    assert_int_equal(world.done, 1);
    assert_int_equal(world.errors, 1);
    world_close(&world);
}

static void it_may_be_cancelled_at_any_time(void **state)
{
    for (int ms = 0; ms < 400; ms += 20) {
        struct world world;
        world_open(&world);
        put_state(&world, "t/partitions/0", "1,2");
        begin(&world);
        pass(&world, ms);
        cluster_return_cancel(&world.returning);
        pass(&world, ms);
        assert_int_equal(world.done, 0);
        world_close(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_counts_on_it),
        cmocka_unit_test(it_waits_until_it_is_out_of_every_isr),
        cmocka_unit_test(who_returns_with_it_is_not_waited_for),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(a_leader_that_is_there_is_waited_for),
        cmocka_unit_test(it_may_be_cancelled_at_any_time),
    };
    return cmocka_run_group_tests_name("returning", tests, NULL, NULL);
}
