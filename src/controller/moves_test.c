/* moves_test.c: partitions on their way between brokers (KIP-455): begun, completed, replaced, called off, refused, and completed by
 * whoever is controller after a crash at any step. */
#include "base/test.h"

#include <stdio.h>
#include <string.h>

#include "controller/cluster_bench.h"

static void a_partition_moves_when_its_new_replicas_are_in_sync(void **state)
{
    struct test_world *w = cluster(4, 4);
    struct test_broker *c = w->brokers[0];
    assert_int_equal(test_create_at(c, "t", (const int32_t[]){0, 1}, 1, 2), OK);
    assert_int_equal(test_move(c, "t", 0, IDS(2, 3)), OK);
    const struct image_partition *p = shown(w, "t", 0);
    ASSERT_REPLICAS(p, 2, 3, 0, 1);
    ASSERT_ISR(p, 0, 1);
    assert_int_equal(p->leader_epoch, 1);
    assert_true(replica(w, 2, "t-0")->is_new);
    assert_false(replica(w, 1, "t-0")->is_new);
    char znode[400];
    slice_text(fake_keeper_data(w->fake, "/brokers/topics/t"), znode, sizeof znode);
    assert_non_null(strstr(znode, "\"partitions\":{\"0\":[2,3,0,1]}"));
    assert_non_null(strstr(znode, "\"adding_replicas\":{\"0\":[2,3]},\"removing_replicas\":{\"0\":[0,1]}"));

    struct list_partition_reassignments_request list = {.topics = {NULL, -1}};
    struct test_call call;
    test_submit(c, &call, 46, 0, &list);
    assert_int_equal(call.response.moving.topics.count, 1);
    assert_int_equal(call.response.moving.topics.items[0].partitions.items[0].adding_replicas.count, 2);
    test_call_free(&call);

    assert_int_equal(test_alter_isr(w, "t", 0, IDS(0, 1, 2)), OK); /* one of them is not enough */
    ASSERT_REPLICAS(shown(w, "t", 0), 2, 3, 0, 1);
    assert_int_equal(test_alter_isr(w, "t", 0, IDS(0, 1, 2, 3)), OK);
    run(w);
    p = shown(w, "t", 0);
    ASSERT_REPLICAS(p, 2, 3);
    ASSERT_ISR(p, 2, 3);
    assert_int_equal(p->leader, 2);
    assert_null(replica(w, 0, "t-0")); /* KAFKA-13198: told to delete */
    assert_null(replica(w, 1, "t-0"));
    slice_text(fake_keeper_data(w->fake, "/brokers/topics/t"), znode, sizeof znode);
    assert_non_null(strstr(znode, "\"partitions\":{\"0\":[2,3]}"));
    assert_non_null(strstr(znode, "\"adding_replicas\":{},\"removing_replicas\":{}"));
    test_submit(c, &call, 46, 0, &list);
    assert_int_equal(call.response.moving.topics.count, 0);
    test_call_free(&call);
    test_world_check(w, 4);
    test_world_free(w);
}

static void a_move_is_called_off_or_replaced(void **state)
{
    struct test_world *w = cluster(5, 4);
    struct test_broker *c = w->brokers[0];
    assert_int_equal(test_create_at(c, "t", (const int32_t[]){0, 1}, 1, 2), OK);
    assert_int_equal(test_move(c, "t", 0, NULL, 0), ERR_NO_REASSIGNMENT_IN_PROGRESS);
    assert_int_equal(test_move(c, "t", 0, IDS(2, 3)), OK);
    assert_int_equal(test_alter_isr(w, "t", 0, IDS(0, 1, 2)), OK);
    assert_int_equal(test_move(c, "t", 0, NULL, 0), OK);
    const struct image_partition *p = shown(w, "t", 0);
    ASSERT_REPLICAS(p, 0, 1);
    ASSERT_ISR(p, 0, 1);
    assert_null(replica(w, 2, "t-0")); /* KAFKA-13972 */
    assert_null(replica(w, 3, "t-0"));
    test_world_check(w, 5);

    assert_int_equal(test_move(c, "t", 0, IDS(2, 1)), OK);
    assert_int_equal(test_move(c, "t", 0, IDS(1, 3)), OK); /* another target: 2 is not needed any more */
    ASSERT_REPLICAS(shown(w, "t", 0), 1, 3, 0);
    assert_null(replica(w, 2, "t-0"));
    test_catch_up(w);
    p = shown(w, "t", 0);
    ASSERT_REPLICAS(p, 1, 3);
    assert_int_equal(p->leader, 1);
    assert_null(replica(w, 0, "t-0"));
    test_world_check(w, 5);
    test_world_free(w);
}

static void a_move_changes_order_and_number_of_replicas(void **state)
{
    struct test_world *w = cluster(6, 4);
    struct test_broker *c = w->brokers[0];
    assert_int_equal(test_create_at(c, "t", (const int32_t[]){0, 1}, 1, 2), OK);
    assert_int_equal(test_move(c, "t", 0, IDS(1, 0)), OK); /* another order: nothing to wait for */
    ASSERT_REPLICAS(shown(w, "t", 0), 1, 0);
    assert_int_equal(shown(w, "t", 0)->leader, 0);
    assert_int_equal(test_move(c, "t", 0, IDS(1, 0, 3)), OK);
    test_catch_up(w);
    ASSERT_REPLICAS(shown(w, "t", 0), 1, 0, 3);
    assert_int_equal(shown(w, "t", 0)->isr_count, 3);
    assert_int_equal(test_move(c, "t", 0, IDS(3)), OK);
    ASSERT_REPLICAS(shown(w, "t", 0), 3);
    ASSERT_ISR(shown(w, "t", 0), 3);
    test_world_check(w, 6);
    test_world_free(w);
}

static void impossible_moves_are_refused(void **state)
{
    struct test_world *w = cluster(7, 3);
    struct test_broker *c = w->brokers[0];
    assert_int_equal(test_create_at(c, "t", (const int32_t[]){0, 1}, 1, 2), OK);
    assert_int_equal(test_move(c, "t", 0, (const int32_t[]){0}, 0), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(test_move(c, "t", 0, IDS(1, 1)), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(test_move(c, "t", 0, IDS(1, -1)), ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(test_move(c, "t", 0, IDS(1, 3)), ERR_INVALID_REPLICA_ASSIGNMENT); /* not alive */
    assert_int_equal(test_move(c, "t", 1, IDS(1, 2)), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(test_move(c, "u", 0, IDS(1, 2)), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(test_move(w->brokers[1], "t", 0, IDS(1, 2)), ERR_NOT_CONTROLLER);
    int32_t three[] = {0, 1, 2};
    struct alter_partition_reassignments_request_reassignable_partition partition = {.replicas = {three, 3}};
    struct alter_partition_reassignments_request_reassignable_topic topic = {.name = SLICE("t"),
                                                                             .partitions = {&partition, 1}};
    struct alter_partition_reassignments_request request = {.topics = {&topic, 1}};
    struct test_call call;
    test_submit(c, &call, 45, 1, &request);
    run(w);
    assert_int_equal(call.response.move.responses.items[0].partitions.items[0].error_code,
                     error_kafka_code(ERR_INVALID_REPLICATION_FACTOR));
    test_call_free(&call);
    ASSERT_REPLICAS(shown(w, "t", 0), 0, 1);
    test_world_check(w, 7);
    test_world_free(w);
}

static void a_move_asked_for_in_a_znode_is_made(void **state)
{
    struct test_world *w = cluster(8, 3);
    struct test_broker *c = w->brokers[0];
    assert_int_equal(test_create_at(c, "t", (const int32_t[]){0, 1, 0, 1}, 2, 2), OK);
    for (int round = 0; round < 2; round++) { /* the watch is armed again */
        fake_keeper_put(w->fake, "/admin/reassign_partitions",
                        round == 0 ? SLICE("{\"version\":1,\"partitions\":["
                                           "{\"topic\":\"t\",\"partition\":0,\"replicas\":[1,2]},"
                                           "{\"topic\":\"t\",\"partition\":1,\"replicas\":[2,3]},"
                                           "{\"topic\":\"none\",\"partition\":0,\"replicas\":[1]}]}")
                                   : SLICE("{\"version\":1,\"partitions\":["
                                           "{\"topic\":\"t\",\"partition\":1,\"replicas\":[2,0]}]}"),
                        0);
        run(w);
        if (round == 0) {
            char left[200];
            slice_text(fake_keeper_data(w->fake, "/admin/reassign_partitions"), left, sizeof left);
            assert_string_equal(left, "{\"version\":1,\"partitions\":["
                                      "{\"topic\":\"t\",\"partition\":0,\"replicas\":[1,2]}]}");
        }
        assert_true(fake_keeper_has(w->fake, "/admin/reassign_partitions"));
        test_catch_up(w);
        run(w);
        assert_false(fake_keeper_has(w->fake, "/admin/reassign_partitions"));
    }
    ASSERT_REPLICAS(shown(w, "t", 0), 1, 2);
    ASSERT_REPLICAS(shown(w, "t", 1), 2, 0);
    fake_keeper_put(w->fake, "/admin/reassign_partitions", SLICE("by hand"), 0);
    run(w);
    assert_false(fake_keeper_has(w->fake, "/admin/reassign_partitions"));
    test_world_check(w, 8);
    test_world_free(w);
}

/* The controller dies after so many messages of a move of two partitions; the next one completes it. */
static bool move_with_a_crash_after(int steps)
{
    struct test_world *w = cluster((uint64_t)steps + 100, 4);
    struct test_broker *c = w->brokers[0];
    assert_int_equal(test_create_at(c, "t", (const int32_t[]){1, 2, 2, 0}, 2, 2), OK);
    int32_t to[2][2] = {{3, 1}, {1, 3}};
    struct alter_partition_reassignments_request_reassignable_partition partitions[] = {
        {.partition_index = 0, .replicas = {to[0], 2}}, {.partition_index = 1, .replicas = {to[1], 2}}};
    struct alter_partition_reassignments_request_reassignable_topic topic = {.name = SLICE("t"),
                                                                             .partitions = {partitions, 2}};
    struct alter_partition_reassignments_request request = {.allow_replication_factor_change = true,
                                                            .topics = {&topic, 1}};
    struct test_call call;
    test_submit(c, &call, 45, 1, &request);
    int left = steps;
    while (left > 0 && fake_keeper_step(w->fake)) left--;
    for (int p = 0; p < 2 && c && call.done && left > 0; p++) {
        /* All that have a replica are in sync now, says the leader. */
        const struct image_partition *now = shown(w, "t", p);
        struct test_proposal proposal;
        test_propose(c, "t", p, now->replicas, (size_t)now->replica_count, &proposal);
        struct test_call proposed;
        test_submit(c, &proposed, 56, 3, &proposal.request);
        while (left > 0 && fake_keeper_step(w->fake)) left--;
        if (!proposed.done) { /* it dies now: the request must live until it has answered */
            fake_keeper_expire(w->fake, test_broker_kill(w, 0));
            c = NULL;
        }
        test_call_free(&proposed);
    }
    bool is_over = left > 0;
    if (c) fake_keeper_expire(w->fake, test_broker_kill(w, 0));
    bool was_begun = call.call.err == OK;
    test_call_free(&call);
    fake_keeper_advance(w->fake, 100);
    test_broker_start(w, 0);
    fake_keeper_advance(w->fake, 100);
    test_catch_up(w);
    fake_keeper_advance(w->fake, 100);
    test_world_check(w, (uint64_t)steps);
    char znode[400];
    slice_text(fake_keeper_data(w->fake, "/brokers/topics/t"), znode, sizeof znode);
    if (!strstr(znode, "\"adding_replicas\":{},\"removing_replicas\":{}"))
        fail_msg("after %d steps a move is stuck: %s", steps, znode);
    if (was_begun) {
        ASSERT_REPLICAS(shown(w, "t", 0), 3, 1);
        ASSERT_REPLICAS(shown(w, "t", 1), 1, 3);
    }
    test_world_free(w);
    return is_over;
}

static void a_move_survives_a_crash_of_the_controller_at_any_step(void **state)
{
    int steps = 1;
    while (!move_with_a_crash_after(steps)) {
        steps++;
        assert_in_range(steps, 1, 2000);
    }
    assert_in_range(steps, 20, 2000);
}

static void a_move_waits_for_a_broker_that_died(void **state)
{
    struct test_world *w = cluster(9, 4);
    struct test_broker *c = w->brokers[0];
    assert_int_equal(test_create_at(c, "t", (const int32_t[]){0, 1}, 1, 2), OK);
    assert_int_equal(test_move(c, "t", 0, IDS(2, 3)), OK);
    test_broker_stop(w, 3);
    test_catch_up(w);
    ASSERT_REPLICAS(shown(w, "t", 0), 2, 3, 0, 1);
    test_broker_start(w, 3);
    assert_true(replica(w, 3, "t-0")->is_new); /* it is told again */
    test_catch_up(w);
    ASSERT_REPLICAS(shown(w, "t", 0), 2, 3);
    test_world_check(w, 9);

    /* A topic that is deleted takes its moves with it. */
    assert_int_equal(test_move(c, "t", 0, IDS(0, 1)), OK);
    assert_int_equal(test_delete(c, "t"), OK);
    for (int b = 0; b < 4; b++) assert_null(replica(w, b, "t-0"));
    test_world_check(w, 9);
    test_world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_partition_moves_when_its_new_replicas_are_in_sync),
        cmocka_unit_test(a_move_is_called_off_or_replaced),
        cmocka_unit_test(a_move_changes_order_and_number_of_replicas),
        cmocka_unit_test(impossible_moves_are_refused),
        cmocka_unit_test(a_move_asked_for_in_a_znode_is_made),
        cmocka_unit_test(a_move_survives_a_crash_of_the_controller_at_any_step),
        cmocka_unit_test(a_move_waits_for_a_broker_that_died),
    };
    return cmocka_run_group_tests_name("moves", tests, NULL, NULL);
}
