/* connection_test.c: a connection that asks for versions, and one that does not. */
#include "base/test.h"

#include "client/connection.h"
#include "client/fake_broker.h"
#include "loop/sim.h"
#include "wire/messages.h"

struct world {
    struct sim *sim;
    struct loop *loop;
    struct fake_broker *fake;
    struct connection *connection;
    bool is_open;
    int16_t heard_version; /* by the broker */
    int answers;
    enum error err;
};

static void respond(void *context, struct fake_request *request)
{
    struct world *world = context;
    world->heard_version = request->version;
    request->is_silent = request->api_key == 7;
}

static void on_open(void *context, enum error err)
{
    ((struct world *)context)->is_open = err == OK;
}

static void answered(struct call *call, enum error err, int16_t version, const void *response)
{
    struct world *world = call->context;
    world->answers++;
    world->err = err;
    if (err == OK) assert_int_equal(version, world->heard_version);
}

static void open_world(struct world *world, bool is_unnegotiated)
{
    *world = (struct world){.heard_version = -1};
    struct sim_machine *machine;
    assert_int_equal(sim_new(1, &world->sim), OK);
    assert_int_equal(sim_machine_new(world->sim, "10.0.0.1", &machine), OK);
    assert_int_equal(sim_loop_new(machine, &world->loop), OK);
    assert_int_equal(fake_broker_open(world->loop, "10.0.0.1", 9092, respond, world, &world->fake), OK);
    struct connection_options options = {
        .timeout_ms = 1000, .is_unnegotiated = is_unnegotiated, .on_open = on_open, .context = world};
    assert_int_equal(connection_open(world->loop, "10.0.0.1", 9092, &options, &world->connection), OK);
    sim_run_ms(world->sim, 100);
    assert_true(world->is_open);
}

static void close_world(struct world *world)
{
    connection_close(&world->connection);
    fake_broker_close(&world->fake);
    sim_run_ms(world->sim, 10);
    loop_free(world->loop);
    sim_free(world->sim);
}

static enum error send_update(struct world *world, struct call *call, int16_t max_version)
{
    struct update_metadata_request request;
    update_metadata_request_init(&request);
    *call = (struct call){.done = answered, .context = world, .max_version = max_version};
    return connection_send(world->connection, 6, &request, call);
}

static void the_highest_common_version_is_spoken(void **state)
{
    struct world world;
    struct call call;
    open_world(&world, false);
    assert_int_equal(send_update(&world, &call, -1), OK);
    sim_run_ms(world.sim, 100);
    assert_int_equal(world.answers, 1);
    assert_int_equal(world.heard_version, 8);
    close_world(&world);
}

static void brokers_speak_the_version_they_are_told(void **state)
{
    struct world world;
    struct call call, impossible;
    open_world(&world, true);
    assert_int_equal(send_update(&world, &call, 6), OK);
    assert_int_equal(send_update(&world, &impossible, 99), ERR_UNSUPPORTED_VERSION);
    assert_int_equal(send_update(&world, &impossible, -1), ERR_UNSUPPORTED_VERSION);
    sim_run_ms(world.sim, 100);
    assert_int_equal(world.answers, 1);
    assert_int_equal(world.heard_version, 6);
    close_world(&world);
}

static void a_lost_answer_ends_the_connection(void **state)
{
    struct world world;
    open_world(&world, true);
    struct controlled_shutdown_request request;
    controlled_shutdown_request_init(&request);
    struct call call = {.done = answered, .context = &world, .max_version = 3, .timeout_ms = 500};
    assert_int_equal(connection_send(world.connection, 7, &request, &call), OK);
    sim_run_ms(world.sim, 1000);
    assert_int_equal(world.answers, 1);
    assert_int_equal(world.err, ERR_TIMED_OUT);
    assert_false(connection_is_open(world.connection));
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_highest_common_version_is_spoken),
                                       cmocka_unit_test(brokers_speak_the_version_they_are_told),
                                       cmocka_unit_test(a_lost_answer_ends_the_connection)};
    return cmocka_run_group_tests_name("connection", tests, NULL, NULL);
}
