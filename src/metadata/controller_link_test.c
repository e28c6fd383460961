/* controller_link_test.c: one broker's requests while the controller moves, is silent, refuses, hangs up, or is the broker
 * itself. */
#include "base/test.h"

#include "client/fake_broker.h"
#include "loop/sim.h"
#include "metadata/controller_link.h"
#include "metadata/metadata.h"
#include "wire/messages.h"

enum { SELF = 1, OTHERS = 2 };

struct other {
    struct world *world;
    struct fake_broker *fake;
    int heard, refuses, silent, hangs_up; /* the next so many requests */
};

struct world {
    struct sim *sim;
    struct loop *loop;
    struct metadata *metadata;
    struct controller_link *link;
    struct other others[OTHERS]; /* brokers 2 and 3 */
    int here;                    /* asked of this broker's own controller */
    bool holds;                  /* it keeps the last for later */
    struct controller_link_local *held;
    struct controller_link_call call;
    struct allocate_producer_ids_request request;
    int done;
    enum error err;
    int64_t start;
};

static void respond(void *context, struct fake_request *request)
{
    struct other *other = context;
    assert_int_equal(request->api_key, 67);
    assert_int_equal(((const struct allocate_producer_ids_request *)request->body)->broker_id, SELF);
    other->heard++;
    struct allocate_producer_ids_response *response = request->response;
    response->producer_id_start = 1000 * (other - other->world->others + 2);
    response->producer_id_len = 1000;
    if (other->refuses > 0 && other->refuses--) response->error_code = 41;
    request->is_silent = other->silent > 0 && other->silent--;
    request->hangs_up = other->hangs_up > 0 && other->hangs_up--;
}

static void answer_here(struct controller_link_local *local)
{
    ((struct allocate_producer_ids_response *)local->response)->producer_id_start = 1000;
    local->err = OK;
    local->done(local);
}

static void local(void *context, struct controller_link_local *asked)
{
    struct world *world = context;
    assert_int_equal(asked->api_key, 67);
    assert_int_equal(((const struct allocate_producer_ids_request *)asked->request)->broker_id, SELF);
    world->here++;
    if (world->holds)
        world->held = asked;
    else
        answer_here(asked);
}

/* The controller is `id`; brokers 2 and 3 are at 10.0.0.2 and .3. */
static void elect(struct world *world, int32_t id)
{
    struct update_metadata_request request;
    update_metadata_request_init(&request);
    struct update_metadata_request_update_metadata_broker brokers[OTHERS];
    struct update_metadata_request_update_metadata_endpoint endpoints[OTHERS];
    for (int i = 0; i < OTHERS; i++) {
        update_metadata_request_update_metadata_broker_init(&brokers[i]);
        update_metadata_request_update_metadata_endpoint_init(&endpoints[i]);
        brokers[i].id = i + 2;
        brokers[i].endpoints.items = &endpoints[i];
        brokers[i].endpoints.count = 1;
        endpoints[i].host = SLICE("10.0.0.1");
        endpoints[i].port = 9000 + i + 2;
        endpoints[i].listener = SLICE("INTERNAL");
    }
    request.controller_id = id;
    request.controller_epoch = image_controller_epoch(metadata_image(world->metadata)) + 1;
    if (request.controller_epoch < 1) request.controller_epoch = 1;
    request.live_brokers.items = brokers;
    request.live_brokers.count = OTHERS;
    assert_int_equal(metadata_apply_update(world->metadata, &request), OK);
}

static void open_world(struct world *world)
{
    *world = (struct world){.start = -1};
    struct sim_machine *machine;
    assert_int_equal(sim_new(1, &world->sim), OK);
    assert_int_equal(sim_machine_new(world->sim, "10.0.0.1", &machine), OK);
    assert_int_equal(sim_loop_new(machine, &world->loop), OK);
    assert_int_equal(metadata_new(world->loop, SLICE("cluster"), &world->metadata), OK);
    for (int i = 0; i < OTHERS; i++) {
        world->others[i].world = world;
        assert_int_equal(fake_broker_open(world->loop, "10.0.0.1", (uint16_t)(9002 + i), respond,
                                          &world->others[i], &world->others[i].fake),
                         OK);
    }
    struct controller_link_options options = {.loop = world->loop,
                                              .metadata = world->metadata,
                                              .broker_id = SELF,
                                              .listener = SLICE("INTERNAL"),
                                              .timeout_ms = 1000,
                                              .local = local,
                                              .context = world};
    assert_int_equal(controller_link_new(&options, &world->link), OK);
}

static void close_world(struct world *world)
{
    controller_link_free(&world->link);
    for (int i = 0; i < OTHERS; i++) fake_broker_close(&world->others[i].fake);
    sim_run_ms(world->sim, 10);
    metadata_free(&world->metadata);
    loop_free(world->loop);
    sim_free(world->sim);
}

static void done(struct controller_link_call *call, enum error err, int16_t version, const void *response)
{
    struct world *world = call->context;
    world->done++;
    world->err = err;
    if (err != OK) return;
    assert_int_equal(version, 0);
    world->start = ((const struct allocate_producer_ids_response *)response)->producer_id_start;
}

static void ask(struct world *world, int64_t give_up_ms)
{
    allocate_producer_ids_request_init(&world->request);
    world->request.broker_id = SELF;
    world->call = (struct controller_link_call){.api_key = 67,
                                                .max_version = 0,
                                                .request = &world->request,
                                                .give_up_ms = give_up_ms,
                                                .done = done,
                                                .context = world};
    controller_link_send(world->link, &world->call);
    assert_int_equal(world->done, 0);
}

static void the_controller_answers(void **state)
{
    struct world world;
    open_world(&world);
    elect(&world, 2);
    ask(&world, INT64_MAX);
    sim_run_ms(world.sim, 50);
    assert_int_equal(world.done, 1);
    assert_int_equal(world.start, 2000);
    world.done = 0;
    ask(&world, INT64_MAX);
    sim_run_ms(world.sim, 50);
    assert_int_equal(world.done, 1);
    assert_int_equal(fake_broker_connections(world.others[0].fake), 1);
    close_world(&world);
}

static void nobody_is_known_at_first(void **state)
{
    struct world world;
    open_world(&world);
    ask(&world, INT64_MAX);
    sim_run_ms(world.sim, 5000);
    assert_int_equal(world.done, 0);
    elect(&world, 3);
    sim_run_ms(world.sim, 20);
    assert_int_equal(world.done, 1);
    assert_int_equal(world.start, 3000);
    close_world(&world);
}

static void a_deposed_controller_refuses_until_the_next_is_known(void **state)
{
    struct world world;
    open_world(&world);
    elect(&world, 2);
    world.others[0].refuses = 1000000;
    ask(&world, INT64_MAX);
    sim_run_ms(world.sim, 1000);
    assert_int_equal(world.done, 0);
    assert_in_range(world.others[0].heard, 9, 21); /* each 50 to 100 ms */
    elect(&world, 3);
    sim_run_ms(world.sim, 20);
    assert_int_equal(world.start, 3000);
    close_world(&world);
}

static void silence_and_hanging_up_are_tried_again(void **state)
{
    struct world world;
    open_world(&world);
    elect(&world, 2);
    world.others[0].hangs_up = 2;
    ask(&world, INT64_MAX);
    sim_run_ms(world.sim, 500);
    assert_int_equal(world.done, 1);
    assert_int_equal(world.others[0].heard, 3);
    world.done = 0;
    world.others[0].silent = 1;
    ask(&world, INT64_MAX);
    sim_run_ms(world.sim, 900);
    assert_int_equal(world.done, 0);
    sim_run_ms(world.sim, 300);
    assert_int_equal(world.done, 1);
    close_world(&world);
}

static void a_new_controller_gets_what_the_old_one_holds(void **state)
{
    struct world world;
    open_world(&world);
    elect(&world, 2);
    world.others[0].silent = 1;
    ask(&world, INT64_MAX);
    sim_run_ms(world.sim, 100);
    elect(&world, 3);
    sim_run_ms(world.sim, 100);
    assert_int_equal(world.done, 1);
    assert_int_equal(world.start, 3000);
    close_world(&world);
}

static void this_broker_is_the_controller(void **state)
{
    struct world world;
    open_world(&world);
    elect(&world, SELF);
    ask(&world, INT64_MAX);
    sim_run_ms(world.sim, 20);
    assert_int_equal(world.done, 1);
    assert_int_equal(world.start, 1000);
    assert_int_equal(world.here, 1);
    close_world(&world);
}

static void a_call_given_up_or_cancelled_is_left_alone(void **state)
{
    struct world world;
    open_world(&world);
    ask(&world, loop_now_ms(world.loop) + 300); /* nobody is controller */
    sim_run_ms(world.sim, 400);
    assert_int_equal(world.done, 1);
    assert_int_equal(world.err, ERR_TIMED_OUT);

    elect(&world, 2);
    world.others[0].silent = 1;
    world.done = 0;
    ask(&world, loop_now_ms(world.loop) + 300); /* asked, not answered */
    sim_run_ms(world.sim, 400);
    assert_int_equal(world.done, 1);
    assert_int_equal(world.err, ERR_TIMED_OUT);

    world.done = 0;
    world.holds = true;
    elect(&world, SELF);
    ask(&world, INT64_MAX);
    sim_run_ms(world.sim, 50);
    controller_link_cancel(world.link, &world.call);
    assert_non_null(world.held);
    world.call = (struct controller_link_call){.api_key = -1};
    world.request.broker_id = -1;
    assert_int_equal(((const struct allocate_producer_ids_request *)world.held->request)->broker_id, SELF);
    answer_here(world.held);

    ask(&world, INT64_MAX); /* and one that outlives the link */
    sim_run_ms(world.sim, 50);
    controller_link_free(&world.link);
    assert_int_equal(world.done, 1);
    assert_int_equal(world.err, ERR_CLOSED);
    answer_here(world.held);
    assert_int_equal(world.done, 1);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_controller_answers),
        cmocka_unit_test(nobody_is_known_at_first),
        cmocka_unit_test(a_deposed_controller_refuses_until_the_next_is_known),
        cmocka_unit_test(silence_and_hanging_up_are_tried_again),
        cmocka_unit_test(a_new_controller_gets_what_the_old_one_holds),
        cmocka_unit_test(this_broker_is_the_controller),
        cmocka_unit_test(a_call_given_up_or_cancelled_is_left_alone),
    };
    return cmocka_run_group_tests_name("controller_link", tests, NULL, NULL);
}
