/* alone_test.c: who may be left alone in an ISR, and who may not: election.h, Alone. Three brokers on a keeper that is a map. */
#include "base/test.h"

#include <stdlib.h>

#include "controller/cluster_bench.h"

static void expire(struct test_world *w, int32_t id)
{
    fake_keeper_expire(w->fake, coord_session_id(w->brokers[id]->coord));
}

static struct test_world *world(uint64_t seed, bool are_ours)
{
    struct test_world *w = test_world_new(seed);
    w->are_ours = are_ours;
    for (int i = 0; i < 3; i++) test_broker_start(w, i);
    assert_int_equal(test_controller(w)->id, 0);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 2, 2, 1}, 2, 2), OK);
    assert_int_equal(test_create_at(w->brokers[0], "three", (const int32_t[]){1, 2, 0}, 1, 3), OK);
    return w;
}

static void ours_are_asked_before_they_are_left_alone(void **state)
{
    for (int are_ours = 0; are_ours < 2; are_ours++) {
        struct test_world *w = world(1, are_ours);
        fake_keeper_expire(w->fake, test_broker_kill(w, 1));
        fake_keeper_advance(w->fake, 100);
        for (int p = 0; p < 2; p++) {
            assert_int_equal(shown(w, "t", p)->leader, 2);
            assert_int_equal(shown(w, "t", p)->isr_count, are_ours ? 2 : 1);
            assert_int_equal(shown(w, "t", p)->offline_count, 1);
            assert_int_equal(test_alter_isr(w, "t", p, IDS(2)), OK); /* what the leader then does */
            ASSERT_ISR(shown(w, "t", p), 2);
        }
        assert_int_equal(shown(w, "three", 0)->isr_count, 2); /* among two nobody is alone */
        test_broker_start(w, 1);
        test_catch_up(w);
        test_world_check(w, 1);
        assert_int_equal(shown(w, "t", 0)->isr_count, 2);
        test_world_free(w);
    }
}

/* A broker whose machine is off, but whose session lives, must not be the only one that may lead because the other one's ended. */
static void a_dead_one_does_not_inherit_everything(void **state)
{
    struct test_world *w = world(2, true);
    int64_t dead = test_broker_kill(w, 1); /* nobody knows yet */
    expire(w, 2);                          /* lost nothing but its session */
    fake_keeper_advance(w->fake, 100);
    assert_true(w->brokers[2]->is_registered);
    fake_keeper_expire(w->fake, dead);
    fake_keeper_advance(w->fake, 100);
    for (int p = 0; p < 2; p++) assert_int_equal(shown(w, "t", p)->leader, 2);
    test_world_check(w, 2);
    test_world_free(w);
}

static void when_all_go_at_once_each_may_come_back_first(void **state)
{
    for (int32_t first = 1; first <= 2; first++) {
        struct test_world *w = world(3, true);
        int64_t sessions[] = {test_broker_kill(w, 1), test_broker_kill(w, 2)};
        fake_keeper_expire(w->fake, sessions[0]);
        fake_keeper_expire(w->fake, sessions[1]);
        fake_keeper_advance(w->fake, 100);
        for (int p = 0; p < 2; p++) {
            assert_int_equal(shown(w, "t", p)->leader, -1);
            assert_int_equal(shown(w, "t", p)->isr_count, 2);
        }
        test_broker_start(w, first);
        fake_keeper_advance(w->fake, 100);
        for (int p = 0; p < 2; p++) {
            assert_int_equal(shown(w, "t", p)->leader, first);
            assert_int_equal(test_alter_isr(w, "t", p, &first, 1), OK);
        }
        test_broker_start(w, 3 - first);
        test_catch_up(w);
        test_world_check(w, 3);
        assert_int_equal(shown(w, "t", 0)->isr_count, 2);
        test_world_free(w);
    }
}

/* Back before its death was seen: ours lost nothing, for it would have stayed away; of Apache's nobody knows. */
static void who_bounced_keeps_its_place_if_it_is_ours(void **state)
{
    for (int are_ours = 0; are_ours < 2; are_ours++) {
        struct test_world *w = world(4, true);
        int64_t session = test_broker_kill(w, 1);
        w->are_ours = are_ours;
        fake_keeper_expire(w->fake, session);
        test_broker_start(w, 1);
        fake_keeper_advance(w->fake, 100);
        for (int p = 0; p < 2; p++) {
            assert_int_equal(shown(w, "t", p)->isr_count, are_ours ? 2 : 1);
            if (p == 0 || !are_ours) assert_true(shown(w, "t", p)->leader_epoch > 0);
            assert_int_equal(replica(w, 1, p == 0 ? "t-0" : "t-1")->leader_epoch,
                             shown(w, "t", p)->leader_epoch);
        }
        test_catch_up(w);
        test_world_check(w, 4);
        test_world_free(w);
    }
}

/* Who stops in good order hands over and follows to its end; a replica that is moved away is not waited for. */
static void who_stops_follows_to_its_end(void **state)
{
    struct test_world *w = world(5, true);
    struct controlled_shutdown_request request = {.broker_id = 1, .broker_epoch = -1};
    struct test_call call;
    test_submit(test_controller(w), &call, 7, 3, &request);
    run(w);
    assert_int_equal(call.response.leave.remaining_partitions.count, 0);
    test_call_free(&call);
    for (int p = 0; p < 2; p++) {
        assert_int_equal(shown(w, "t", p)->leader, 2);
        assert_int_equal(shown(w, "t", p)->isr_count, 2);
        assert_int_equal(replica(w, 1, p == 0 ? "t-0" : "t-1")->leader, 2);
        assert_false(replica(w, 1, p == 0 ? "t-0" : "t-1")->is_stopped);
    }
    test_broker_stop(w, 1);
    for (int p = 0; p < 2; p++) assert_int_equal(test_alter_isr(w, "t", p, IDS(2)), OK);
    test_broker_start(w, 1);
    test_catch_up(w);
    assert_int_equal(test_move(test_controller(w), "t", 0, IDS(1)), OK);
    test_catch_up(w);
    ASSERT_ISR(shown(w, "t", 0), 1);
    ASSERT_REPLICAS(shown(w, "t", 0), 1);
    test_world_check(w, 5);
    test_world_free(w);
}

/* It was deleted while this broker could not be told, and the controller that knew of it died. Where a znode cannot be read nobody
 * knows what is no more. */
static void a_new_controller_tells_what_there_is(void **state)
{
    for (int is_unreadable = 0; is_unreadable < 2; is_unreadable++) {
        struct test_world *w = world(6, true);
        int32_t ids[] = {1};
        struct update_metadata_request_update_metadata_partition_state partition = {
            .leader = 1, .isr = {ids, 1}, .replicas = {ids, 1}};
        struct update_metadata_request_update_metadata_topic_state topic = {
            .topic_name = SLICE("ghost"), .topic_id = {{7}}, .partition_states = {&partition, 1}};
        struct update_metadata_request stale;
        update_metadata_request_init(&stale);
        stale.controller_epoch = 1;
        stale.topic_states.items = &topic;
        stale.topic_states.count = 1;
        assert_int_equal(metadata_apply_update(w->brokers[2]->metadata, &stale), OK);
        const struct image *image = metadata_image(w->brokers[2]->metadata);
        assert_non_null(image_topic(image, SLICE("ghost")));
        if (is_unreadable) fake_keeper_put(w->fake, "/brokers/topics/bad", SLICE("no JSON"), 0);
        fake_keeper_expire(w->fake, test_broker_kill(w, 0));
        fake_keeper_advance(w->fake, 100);
        image = metadata_image(w->brokers[2]->metadata);
        assert_int_equal(image_topic(image, SLICE("ghost")) != NULL, is_unreadable);
        assert_non_null(image_topic(image, SLICE("three")));
        test_world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ours_are_asked_before_they_are_left_alone),
        cmocka_unit_test(a_dead_one_does_not_inherit_everything),
        cmocka_unit_test(when_all_go_at_once_each_may_come_back_first),
        cmocka_unit_test(who_bounced_keeps_its_place_if_it_is_ours),
        cmocka_unit_test(who_stops_follows_to_its_end),
        cmocka_unit_test(a_new_controller_tells_what_there_is),
    };
    return cmocka_run_group_tests_name("alone", tests, NULL, NULL);
}
