/* network_channel_test.c: the controller's requests to another broker: in order, one at a time, until answered or removed. */
#include "base/test.h"

#include <stdlib.h>

#include "base/diag.h"
#include "client/fake_broker.h"
#include "controller/controller.h"
#include "loop/sim.h"

enum { REQUESTS = 40, OTHER = 2 };

struct world {
    struct sim *sim;
    struct loop *loop;
    struct fake_broker *fake;
    struct network_channel *channel;
    struct controller_channel table;
    int32_t heard[400]; /* controller epochs, which number the requests here */
    int16_t versions[400];
    int heard_count;
    int silent, hangs_up; /* the next so many */
    int done, next_done, cancelled;
    bool removes_when_done;
};

static void respond(void *context, struct fake_request *request)
{
    struct world *world = context;
    int32_t number = -1;
    if (request->api_key == 4) {
        number = ((const struct leader_and_isr_request *)request->body)->controller_epoch;
        struct leader_and_isr_response *response = request->response;
        response->topics.items = arena_zalloc(request->arena, sizeof *response->topics.items);
        response->topics.count = 1;
        response->topics.items[0].topic_id.bytes[0] = (uint8_t)number;
        response->topics.items[0].partition_errors.items =
            arena_zalloc(request->arena, sizeof *response->topics.items[0].partition_errors.items);
        response->topics.items[0].partition_errors.count = 1;
        response->topics.items[0].partition_errors.items[0].error_code = 56;
    } else if (request->api_key == 5) {
        number = ((const struct stop_replica_request *)request->body)->controller_epoch;
    } else {
        assert_int_equal(request->api_key, 6);
        number = ((const struct update_metadata_request *)request->body)->controller_epoch;
    }
    assert_in_range(world->heard_count, 0, 399);
    world->versions[world->heard_count] = request->version;
    world->heard[world->heard_count++] = number;
    request->is_silent = world->silent > 0 && world->silent--;
    request->hangs_up = !request->is_silent && world->hangs_up > 0 && world->hangs_up--;
}

static void no_diag(void *context, enum diag_level level, const char *message)
{
    (void)context;
    (void)level;
    (void)message;
}

static void listen_at(struct world *world)
{
    assert_int_equal(fake_broker_open(world->loop, "10.0.0.1", 9092, respond, world, &world->fake), OK);
}

static void open_world(struct world *world)
{
    *world = (struct world){0};
    struct sim_machine *machine;
    diag_set_sink(no_diag, NULL);
    assert_int_equal(sim_new(1, &world->sim), OK);
    assert_int_equal(sim_machine_new(world->sim, "10.0.0.1", &machine), OK);
    assert_int_equal(sim_loop_new(machine, &world->loop), OK);
    assert_int_equal(network_channel_new(world->loop, SLICE("INTERNAL"), 1000, &world->channel), OK);
    world->table = network_channel_table(world->channel);
    struct broker_endpoint endpoints[] = {{SLICE("EXTERNAL"), SLICE("10.0.0.1"), 9, 0},
                                          {SLICE("INTERNAL"), SLICE("10.0.0.1"), 9092, 0}};
    struct broker_registration registration = {.id = OTHER, .endpoints = endpoints, .endpoint_count = 2};
    world->table.broker_added(world->table.context, &registration, 77);
}

static void close_world(struct world *world)
{
    network_channel_free(&world->channel);
    fake_broker_close(&world->fake);
    sim_run_ms(world->sim, 10);
    loop_free(world->loop);
    sim_free(world->sim);
}

static int32_t *number_of(struct controller_rpc *rpc)
{
    return rpc->api_key == 4   ? &rpc->request.leader_and_isr.controller_epoch
           : rpc->api_key == 5 ? &rpc->request.stop_replica.controller_epoch
                               : &rpc->request.update_metadata.controller_epoch;
}

static void done(struct controller_rpc *rpc)
{
    struct world *world = rpc->context;
    if (rpc->err == ERR_CANCELLED) {
        world->cancelled++;
    } else {
        assert_int_equal(rpc->err, OK);
        assert_int_equal(*number_of(rpc), ++world->next_done);
        world->done++;
        if (rpc->api_key == 4) {
            const struct leader_and_isr_response *response = &rpc->response.leader_and_isr;
            assert_int_equal(response->topics.count, 1);
            assert_int_equal(response->topics.items[0].topic_id.bytes[0], world->next_done);
            assert_int_equal(response->topics.items[0].partition_errors.items[0].error_code, 56);
        }
        if (world->removes_when_done) world->table.broker_removed(world->table.context, OTHER);
    }
    arena_free(&rpc->arena);
    free(rpc);
}

static void send_rpc(struct world *world, int16_t api_key, int32_t number)
{
    struct controller_rpc *rpc = calloc(1, sizeof *rpc);
    assert_non_null(rpc);
    arena_init(&rpc->arena, 0);
    rpc->broker_id = OTHER;
    rpc->api_key = api_key;
    rpc->done = done;
    rpc->context = world;
    if (api_key == 4)
        leader_and_isr_request_init(&rpc->request.leader_and_isr);
    else if (api_key == 5)
        stop_replica_request_init(&rpc->request.stop_replica);
    else
        update_metadata_request_init(&rpc->request.update_metadata);
    *number_of(rpc) = number;
    world->table.send(world->table.context, rpc);
}

static void requests_go_in_order_in_the_versions_of_3_9(void **state)
{
    struct world world;
    open_world(&world);
    listen_at(&world);
    static const int16_t keys[] = {4, 6, 5}, versions[] = {7, 8, 4};
    for (int i = 0; i < REQUESTS; i++) send_rpc(&world, keys[i % 3], i + 1);
    assert_int_equal(world.done, 0);
    sim_run_ms(world.sim, 1000);
    assert_int_equal(world.done, REQUESTS);
    assert_int_equal(world.heard_count, REQUESTS);
    for (int i = 0; i < REQUESTS; i++) {
        assert_int_equal(world.heard[i], i + 1);
        assert_int_equal(world.versions[i], versions[i % 3]);
    }
    assert_int_equal(fake_broker_connections(world.fake), 1);
    close_world(&world);
}

static void a_request_is_sent_until_it_is_answered(void **state)
{
    struct world world;
    open_world(&world);
    for (int i = 0; i < 3; i++) send_rpc(&world, 4, i + 1);
    sim_run_ms(world.sim, 1000); /* nobody listens yet */
    assert_int_equal(world.done, 0);
    listen_at(&world);
    world.hangs_up = 2;
    sim_run_ms(world.sim, 500);
    assert_int_equal(world.done, 3);
    assert_int_equal(world.heard_count, 5);
    assert_int_equal(world.heard[2], 1);

    world.silent = 2;
    send_rpc(&world, 6, 4);
    sim_run_ms(world.sim, 1900);
    assert_int_equal(world.done, 3);
    sim_run_ms(world.sim, 500);
    assert_int_equal(world.done, 4);
    assert_int_equal(world.heard_count, 8);

    fake_broker_hang_up(world.fake); /* while nothing waits: then the next one dials */
    sim_run_ms(world.sim, 500);
    send_rpc(&world, 5, 5);
    sim_run_ms(world.sim, 500);
    assert_int_equal(world.done, 5);
    close_world(&world);
}

static void what_waits_for_a_removed_broker_vanishes(void **state)
{
    struct world world;
    open_world(&world);
    send_rpc(&world, 4, 1);
    send_rpc(&world, 4, 2);
    sim_run_ms(world.sim, 300);
    world.table.broker_removed(world.table.context, OTHER);
    assert_int_equal(world.cancelled, 2);
    send_rpc(&world, 4, 3);
    assert_int_equal(world.cancelled, 3);
    close_world(&world);

    open_world(&world);
    listen_at(&world);
    world.removes_when_done = true; /* from within an answer */
    for (int i = 0; i < 3; i++) send_rpc(&world, 4, i + 1);
    sim_run_ms(world.sim, 300);
    assert_int_equal(world.done, 1);
    assert_int_equal(world.cancelled, 2);
    close_world(&world);
}

static void a_broker_without_the_listener_is_waited_for(void **state)
{
    struct world world;
    open_world(&world);
    world.table.broker_removed(world.table.context, OTHER);
    struct broker_endpoint endpoint = {SLICE("EXTERNAL"), SLICE("10.0.0.1"), 9092, 0};
    struct broker_registration registration = {.id = OTHER, .endpoints = &endpoint, .endpoint_count = 1};
    world.table.broker_added(world.table.context, &registration, 78);
    listen_at(&world);
    send_rpc(&world, 4, 1);
    sim_run_ms(world.sim, 1000);
    assert_int_equal(world.heard_count, 0);
    endpoint.listener = SLICE("INTERNAL"); /* it registers anew, with it */
    world.table.broker_added(world.table.context, &registration, 78);
    sim_run_ms(world.sim, 1000);
    assert_int_equal(world.done, 1);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_go_in_order_in_the_versions_of_3_9),
        cmocka_unit_test(a_request_is_sent_until_it_is_answered),
        cmocka_unit_test(what_waits_for_a_removed_broker_vanishes),
        cmocka_unit_test(a_broker_without_the_listener_is_waited_for),
    };
    return cmocka_run_group_tests_name("network_channel", tests, NULL, NULL);
}
