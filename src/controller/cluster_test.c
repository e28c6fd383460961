/* cluster_test.c: several brokers on a keeper that is a map: the hard cases of facts/cluster.md 6.2, 6.3 and 6.5, each by its number. */
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controller/cluster_bench.h"

/* --- controlled shutdown --- */

static enum error leave(struct test_world *w, int32_t id, int64_t epoch, int32_t *remaining)
{
    struct controlled_shutdown_request request = {.broker_id = id, .broker_epoch = epoch};
    struct test_call call;
    test_submit(test_controller(w), &call, 7, 3, &request);
    run(w);
    assert_int_equal(call.done, 1);
    assert_int_equal(call.call.err, OK);
    *remaining = call.response.leave.remaining_partitions.count;
    enum error err = error_from_kafka(call.response.leave.error_code);
    test_call_free(&call);
    return err;
}

static void kafka_7482_who_leaves_hears_that_it_leads_no_more(void **state)
{
    struct test_world *w = cluster(1, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 2, 0, 2, 1, 0, 0, 1, 2}, 3, 3),
                     OK);
    int64_t epoch = controller_broker_epoch(w->brokers[1]->controller);
    int32_t remaining;
    assert_int_equal(leave(w, 1, epoch - 1, &remaining), ERR_STALE_BROKER_EPOCH);
    assert_int_equal(leave(w, 3, -1, &remaining), ERR_BROKER_NOT_AVAILABLE);
    assert_int_equal(leave(w, 1, epoch, &remaining), OK);
    assert_int_equal(remaining, 0);
    for (int p = 0; p < 3; p++) {
        const struct image_partition *partition = shown(w, "t", p);
        assert_int_not_equal(partition->leader, 1);
        assert_int_equal(partition->isr_count, 2);
        assert_int_equal(partition->offline_count, 1);
    }
    assert_int_equal(replica(w, 1, "t-0")->leader, 2); /* it is told, while it still answers */
    assert_true(replica(w, 1, "t-1")->is_stopped);
    assert_int_equal(image_broker_count(metadata_image(w->brokers[2]->metadata)), 3);
    test_broker_stop(w, 1);
    test_world_check(w, 1);
    test_broker_start(w, 1);
    test_catch_up(w);
    test_world_check(w, 1);
    assert_int_equal(shown(w, "t", 0)->isr_count, 3);
    test_world_free(w);
}

static void who_leaves_keeps_what_nobody_else_may_lead(void **state)
{
    struct test_world *w = cluster(2, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 2}, 1, 2), OK);
    assert_int_equal(test_create_at(w->brokers[0], "alone", (const int32_t[]){1}, 1, 1), OK);
    assert_int_equal(test_alter_isr(w, "t", 0, IDS(1)), OK);
    int32_t remaining;
    assert_int_equal(leave(w, 1, -1, &remaining), OK);
    assert_int_equal(remaining, 1); /* what has no other replica does not count */
    assert_int_equal(shown(w, "t", 0)->leader, 1);
    assert_int_equal(shown(w, "alone", 0)->leader, 1);
    /* KAFKA-14140: who leaves is not taken into an ISR again, and asking is no error of the asker. */
    assert_int_equal(test_create_at(w->brokers[0], "u", (const int32_t[]){0, 2}, 1, 2), OK);
    assert_int_equal(test_alter_isr(w, "t", 0, IDS(1, 2)), ERR_INELIGIBLE_REPLICA);
    test_world_free(w);
}

static void who_leaves_twice_is_answered_twice(void **state)
{
    struct test_world *w = cluster(3, 2);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 0}, 1, 2), OK);
    int32_t remaining;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(leave(w, 1, -1, &remaining), OK);
        assert_int_equal(remaining, 0);
    }
    assert_int_equal(leave(w, 0, -1, &remaining),
                     OK); /* and so does the controller itself: now nobody is left */
    assert_int_equal(remaining, 1);
    test_world_free(w);
}

/* --- ISR changes --- */

struct isr_row {
    const char *why;
    int leader_epoch, partition_epoch; /* beside what is */
    int32_t isr[3];
    int count;
    bool is_recovering;
    int16_t version;
    enum error want;
};

static void proposals_are_judged_in_order(void **state)
{
    static const struct isr_row rows[] = {
        {"KAFKA-14154: a newer leader epoch: we are the zombie",
         1,
         0,
         {1, 2},
         2,
         false,
         3,
         ERR_NOT_CONTROLLER},
        {"a newer partition epoch likewise", 0, 1, {1, 2}, 2, false, 3, ERR_NOT_CONTROLLER},
        {"an older leader epoch", -1, 0, {1, 2}, 2, false, 3, ERR_FENCED_LEADER_EPOCH},
        {"an older partition epoch", 0, -1, {1}, 1, false, 3, ERR_INVALID_UPDATE_VERSION},
        {"KAFKA-14144: what is already, asked for again", 0, -1, {1, 2, 0}, 3, false, 3, OK},
        {"nobody in sync", 0, 0, {0}, 0, false, 3, ERR_INVALID_REQUEST},
        {"recovering again", 0, 0, {1}, 1, true, 3, ERR_INVALID_REQUEST},
        {"one that has no replica", 0, 0, {1, 3}, 2, false, 3, ERR_INVALID_REQUEST},
        {"a member less", 0, 0, {1, 2}, 2, false, 3, OK},
    };
    struct test_world *w = cluster(10, 4);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 2, 0}, 1, 3), OK);
    assert_int_equal(test_alter_isr(w, "t", 0, IDS(1, 2)), OK);
    assert_int_equal(test_alter_isr(w, "t", 0, IDS(1, 2, 0)), OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct isr_row *row = &rows[i];
        const struct image_partition *now = shown(w, "t", 0);
        struct test_proposal proposal;
        test_propose(w->brokers[0], "t", 0, row->isr, (size_t)row->count, &proposal);
        proposal.data.leader_epoch += row->leader_epoch;
        proposal.data.leader_recovery_state = row->is_recovering;
        proposal.data.partition_epoch += row->partition_epoch;
        struct test_call call;
        int32_t epoch = now->leader_epoch;
        test_submit(w->brokers[0], &call, 56, row->version, &proposal.request);
        run(w);
        int16_t code = test_proposal_code(&call);
        if (code != error_kafka_code(row->want)) fail_msg("%s: %d", row->why, code);
        test_call_free(&call);
        assert_int_equal(shown(w, "t", 0)->leader_epoch, epoch); /* KAFKA-15021 */
    }
    ASSERT_ISR(shown(w, "t", 0), 1, 2);
    test_broker_stop(w, 0);
    run(w);
    assert_int_equal(test_alter_isr(w, "t", 0, IDS(1, 2, 0)), ERR_INELIGIBLE_REPLICA); /* KAFKA-14140 */
    test_world_free(w);
}

static void kip_903_in_sync_in_an_earlier_life_does_not_count(void **state)
{
    struct test_world *w = cluster(11, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){0, 1}, 1, 2), OK);
    int64_t epoch = controller_broker_epoch(w->brokers[1]->controller);
    test_broker_stop(w, 1);
    test_broker_start(w, 1);
    for (int is_current = 0; is_current < 2; is_current++) {
        if (is_current) epoch = controller_broker_epoch(w->brokers[1]->controller);
        struct test_proposal proposal;
        test_propose(w->brokers[0], "t", 0, IDS(0, 1), &proposal);
        proposal.states[1].broker_epoch = epoch;
        struct test_call call;
        test_submit(w->brokers[0], &call, 56, 3, &proposal.request);
        run(w);
        assert_int_equal(test_proposal_code(&call),
                         is_current ? 0 : error_kafka_code(ERR_INELIGIBLE_REPLICA));
        test_call_free(&call);
    }
    test_world_free(w);
}

static void a_lost_answer_of_a_write_is_read_again(void **state)
{
    for (int steps = 0; steps < 12; steps++) {
        struct test_world *w = cluster(12, 3);
        assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){0, 1, 2}, 1, 3), OK);
        struct test_proposal proposal;
        test_propose(w->brokers[0], "t", 0, IDS(0, 1), &proposal);
        struct test_call call;
        test_submit(w->brokers[0], &call, 56, 3, &proposal.request);
        for (int s = 0; s < steps; s++) fake_keeper_step(w->fake);
        fake_keeper_cut_answers(w->fake);
        fake_keeper_advance(w->fake, 3000);
        assert_int_equal(call.done, 1);
        assert_int_equal(test_proposal_code(&call), 0);
        ASSERT_ISR(shown(w, "t", 0), 0, 1);
        test_call_free(&call);
        test_world_check(w, 12);
        test_world_free(w);
    }
}

static void an_isr_written_by_its_leader_is_taken_over(void **state)
{
    struct test_world *w = cluster(13, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 2}, 1, 2), OK);
    fake_keeper_put(
        w->fake, "/brokers/topics/t/partitions/0/state",
        SLICE("{\"controller_epoch\":1,\"leader\":1,\"version\":1,\"leader_epoch\":0,\"isr\":[1]}"), 0);
    /* Until it is noticed the versions differ, and the next proposal repairs that. */
    assert_int_equal(test_alter_isr(w, "t", 0, IDS(1, 2)), ERR_INVALID_UPDATE_VERSION);
    fake_keeper_put(w->fake, "/isr_change_notification/isr_change_0000000000",
                    SLICE("{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0}]}"), 0);
    fake_keeper_put(w->fake, "/isr_change_notification/isr_change_0000000001", SLICE("nonsense"), 0);
    run(w);
    ASSERT_ISR(shown(w, "t", 0), 1);
    assert_false(fake_keeper_has(w->fake, "/isr_change_notification/isr_change_0000000000"));
    assert_false(fake_keeper_has(w->fake, "/isr_change_notification/isr_change_0000000001"));
    assert_int_equal(test_alter_isr(w, "t", 0, IDS(1, 2)), OK);
    test_world_check(w, 13);
    test_world_free(w);
}

/* --- brokers that come and go --- */

static void a_bounced_broker_is_a_death_and_a_birth(void **state)
{
    struct test_world *w = cluster(14, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 2, 0}, 1, 3), OK);
    int64_t before = controller_broker_epoch(w->brokers[1]->controller);
    /* Its session ends and the next one is there before the controller has looked. */
    fake_keeper_expire(w->fake, coord_session_id(w->brokers[1]->coord));
    fake_keeper_advance(w->fake, 2000);
    assert_true(controller_broker_epoch(w->brokers[1]->controller) > before);
    const struct image_partition *p = shown(w, "t", 0);
    assert_int_not_equal(p->leader, 1);
    assert_true(p->leader_epoch > 0);
    test_catch_up(w);
    assert_int_equal(shown(w, "t", 0)->isr_count, 3);
    test_world_check(w, 14);
    test_world_free(w);
}

static void kafka_6082_a_paused_controller_wakes_and_cannot_write(void **state)
{
    struct test_world *w = cluster(15, 3);
    assert_int_equal(test_create_at(w->brokers[1], "x", (const int32_t[]){1, 2}, 1, 2), ERR_NOT_CONTROLLER);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 2, 0}, 1, 3), OK);
    struct test_broker *old = w->brokers[0];
    int64_t session = coord_session_id(old->coord);
    struct controlled_shutdown_request request = {.broker_id = 1, .broker_epoch = -1};
    struct test_call call;
    test_submit(old, &call, 7, 3, &request); /* it is in the middle of something */
    fake_keeper_expire(w->fake, session);
    fake_keeper_advance(w->fake, 5000);
    assert_int_equal(call.done, 1);
    assert_int_not_equal(call.call.err == OK ? call.response.leave.error_code : 41, 0);
    test_call_free(&call);
    assert_non_null(test_controller(w));
    assert_int_equal(controller_epoch(test_controller(w)->controller), 2);
    assert_true(old->is_registered);
    test_catch_up(w);
    test_world_check(w, 15);
    assert_int_equal(shown(w, "t", 0)->isr_count, 3);
    test_world_free(w);
}

static void kafka_7165_our_own_older_session_holds_the_seat(void **state)
{
    struct test_world *w = cluster(24, 2);
    struct test_broker *b = w->brokers[1];
    int64_t session = coord_session_id(b->coord), epoch = controller_broker_epoch(b->controller);
    char seat[600];
    slice_text(fake_keeper_data(w->fake, "/brokers/ids/1"), seat, sizeof seat);
    fake_keeper_expire(w->fake, session);
    /* The keeper still shows it (ZOOKEEPER-2985). */
    fake_keeper_put(w->fake, "/brokers/ids/1", slice_of(seat), session);
    fake_keeper_advance(w->fake, 3000);
    struct znode_stat stat;
    assert_true(fake_keeper_stat(w->fake, "/brokers/ids/1", &stat));
    assert_int_equal(stat.ephemeral_owner, coord_session_id(b->coord));
    assert_true(controller_broker_epoch(b->controller) > epoch);
    assert_false(b->is_fatal);
    test_world_free(w);
}

static void kafka_6612_a_topic_that_goes_gets_no_more_partitions(void **state)
{
    struct test_world *w = cluster(25, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){0, 1}, 1, 2), OK);
    test_broker_stop(w, 1); /* so that the deletion has to wait */
    assert_int_equal(test_delete(w->brokers[0], "t"), ERR_REQUEST_TIMED_OUT);
    char before[400], after[400];
    slice_text(fake_keeper_data(w->fake, "/brokers/topics/t"), before, sizeof before);
    char *id = strstr(before, "\"topic_id\":");
    assert_non_null(id);
    char grown[500];
    snprintf(grown, sizeof grown,
             "{\"partitions\":{\"0\":[0,1],\"1\":[1,0]},%.35s,\"adding_replicas\":{},\"removing_replicas\":{}"
             ",\"version\":3}",
             id);
    fake_keeper_put(w->fake, "/brokers/topics/t", slice_of(grown), 0);
    run(w);
    slice_text(fake_keeper_data(w->fake, "/brokers/topics/t"), after, sizeof after);
    assert_string_equal(after, before);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){0, 2}, 1, 2),
                     ERR_TOPIC_ALREADY_EXISTS);
    test_broker_start(w, 1);
    run(w);
    assert_false(fake_keeper_has(w->fake, "/brokers/topics/t"));
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){0, 2}, 1, 2), OK);
    test_world_check(w, 25);
    test_world_free(w);
}

static void kafka_7082_two_brokers_create_one_topic(void **state)
{
    struct test_world *w = cluster(26, 3);
    struct create_topics_request_creatable_topic topic = {
        .name = SLICE("t"), .num_partitions = 2, .replication_factor = 2};
    struct create_topics_request request = {.topics = {&topic, 1}, .timeout_ms = 1000};
    struct test_call calls[2];
    for (int i = 0; i < 2; i++) {
        test_submit_auto(w->brokers[i + 1], &calls[i], &request);
    }
    fake_keeper_advance(w->fake, 100);
    int created = 0, exists = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(calls[i].done, 1);
        int16_t code = calls[i].response.create.topics.items[0].error_code;
        created += code == 0;
        exists += code == error_kafka_code(ERR_TOPIC_ALREADY_EXISTS);
        test_call_free(&calls[i]);
    }
    assert_int_equal(created, 1);
    assert_int_equal(exists, 1);
    test_world_check(w, 26);
    test_world_free(w);
}

static void kafka_13225_where_nothing_changed_nobody_is_told(void **state)
{
    struct test_world *w = cluster(27, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){0, 1, 2}, 1, 3), OK);
    int before = w->requests;
    /* Another timestamp; a topic's znode rewritten; a notice of nothing; elections of leaders that lead. */
    struct broker_endpoint endpoint = {SLICE("PLAINTEXT"), SLICE("127.0.0.1"), 9094, 0};
    struct broker_registration same = {.id = 2, .endpoints = &endpoint, .endpoint_count = 1, .jmx_port = -1};
    assert_int_equal(controller_update_registration(w->brokers[2]->controller, &same), OK);
    char topic[400];
    slice_text(fake_keeper_data(w->fake, "/brokers/topics/t"), topic, sizeof topic);
    fake_keeper_put(w->fake, "/brokers/topics/t", slice_of(topic), 0);
    fake_keeper_put(w->fake, "/isr_change_notification/isr_change_0000000000",
                    SLICE("{\"version\":1,\"partitions\":[]}"), 0);
    fake_keeper_put(w->fake, "/admin/preferred_replica_election",
                    SLICE("{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0}]}"), 0);
    run(w);
    assert_false(fake_keeper_has(w->fake, "/admin/preferred_replica_election"));
    assert_int_equal(w->requests, before);
    assert_int_equal(test_alter_isr(w, "t", 0, IDS(0, 1)),
                     OK); /* one change: one word to each of the two others */
    assert_int_equal(w->requests, before + 2);
    test_world_free(w);
}

static void kafka_9866_a_preferred_leader_must_be_in_sync(void **state)
{
    struct test_world *w = cluster(28, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 2}, 1, 2), OK);
    test_broker_stop(w, 1);
    test_broker_start(w, 1);
    assert_int_equal(shown(w, "t", 0)->leader, 2);
    int32_t epoch = shown(w, "t", 0)->leader_epoch;
    for (int is_in_sync = 0; is_in_sync < 2; is_in_sync++) {
        struct elect_leaders_request request = {.topic_partitions = {NULL, -1}, .timeout_ms = 1000};
        struct test_call call;
        test_submit(w->brokers[0], &call, 43, 2, &request);
        run(w);
        assert_int_equal(call.done, 1);
        assert_int_equal(
            call.response.elect.replica_election_results.items[0].partition_result.items[0].error_code,
            is_in_sync ? 0 : error_kafka_code(ERR_PREFERRED_LEADER_NOT_AVAILABLE));
        test_call_free(&call);
        assert_int_equal(shown(w, "t", 0)->leader, is_in_sync ? 1 : 2);
        assert_int_equal(shown(w, "t", 0)->leader_epoch, epoch + is_in_sync);
        test_catch_up(w);
    }
    test_world_free(w);
}

/* The controller dies after so many messages of another broker's handing over; that asks the next one again. */
static bool leave_with_a_crash_after(int steps)
{
    struct test_world *w = cluster((uint64_t)steps + 500, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 2, 0, 2, 1, 0, 0, 1, 2}, 3, 3),
                     OK);
    struct controlled_shutdown_request request = {.broker_id = 1, .broker_epoch = -1};
    struct test_call call;
    test_submit(w->brokers[0], &call, 7, 3, &request);
    int left = steps;
    while (left > 0 && fake_keeper_step(w->fake)) left--;
    fake_keeper_expire(w->fake, test_broker_kill(w, 0));
    assert_int_equal(call.done, 1);
    test_call_free(&call);
    fake_keeper_advance(w->fake, 100);
    int32_t remaining;
    assert_int_equal(leave(w, 1, -1, &remaining), OK);
    assert_int_equal(remaining, 0);
    test_broker_stop(w, 1);
    test_broker_start(w, 0);
    test_broker_start(w, 1);
    test_catch_up(w);
    test_world_check(w, (uint64_t)steps + 500);
    for (int p = 0; p < 3; p++) assert_int_equal(shown(w, "t", p)->isr_count, 3);
    test_world_free(w);
    return left > 0;
}

static void handing_over_survives_a_crash_of_the_controller_at_any_step(void **state)
{
    int steps = 0;
    while (!leave_with_a_crash_after(steps)) {
        steps++;
        assert_in_range(steps, 1, 200);
    }
    assert_in_range(steps, 4, 200);
}

static void changed_listeners_are_told_to_all(void **state)
{
    struct test_world *w = cluster(16, 3);
    struct broker_endpoint endpoint = {SLICE("PLAINTEXT"), SLICE("10.9.8.7"), 1234, 0};
    struct broker_registration registration = {
        .id = 2, .endpoints = &endpoint, .endpoint_count = 1, .jmx_port = -1};
    int64_t epoch = controller_broker_epoch(w->brokers[2]->controller);
    assert_int_equal(controller_update_registration(w->brokers[2]->controller, &registration), OK);
    run(w);
    for (int b = 0; b < 3; b++) {
        const struct image_broker *broker = image_broker(metadata_image(w->brokers[b]->metadata), 2);
        assert_int_equal(image_broker_endpoint(broker, SLICE("PLAINTEXT"))->port, 1234);
    }
    assert_int_equal(controller_broker_epoch(w->brokers[2]->controller), epoch);
    test_world_free(w);
}

static void kafka_3143_a_replica_away_when_the_controller_starts(void **state)
{
    struct test_world *w = cluster(17, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){0, 1, 2, 1, 0, 2}, 2, 3), OK);
    /* The controller and a leader die together: at most two leader epochs for each partition. */
    int64_t sessions[] = {test_broker_kill(w, 0), test_broker_kill(w, 1)};
    fake_keeper_expire(w->fake, sessions[0]);
    fake_keeper_expire(w->fake, sessions[1]);
    fake_keeper_advance(w->fake, 100);
    assert_int_equal(test_controller(w)->id, 2);
    for (int p = 0; p < 2; p++) {
        assert_int_equal(shown(w, "t", p)->leader, 2);
        ASSERT_ISR(shown(w, "t", p), 2);
        assert_in_range(shown(w, "t", p)->leader_epoch, 1, 3);
        assert_int_equal(shown(w, "t", p)->offline_count, 2);
    }
    test_world_check(w, 17);
    test_world_free(w);
}

static void who_died_and_came_back_between_controllers_has_bounced(void **state)
{
    for (int is_everybody = 0; is_everybody < 2; is_everybody++) {
        struct test_world *w = cluster(23, 3);
        /* The leader; a follower; and one that has no other replica. */
        assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 2, 2, 1}, 2, 2), OK);
        assert_int_equal(test_create_at(w->brokers[0], "alone", (const int32_t[]){1}, 1, 1), OK);
        int64_t controller = test_broker_kill(w, 0);
        fake_keeper_expire(w->fake, test_broker_kill(w, 1));
        if (is_everybody) fake_keeper_expire(w->fake, test_broker_kill(w, 2));
        test_broker_start(w, 1);
        if (is_everybody) test_broker_start(w, 2);
        assert_null(test_controller(w));
        fake_keeper_expire(w->fake, controller);
        fake_keeper_advance(w->fake, 100);
        for (int p = 0; p < 2; p++) {
            const struct image_partition *partition = shown(w, "t", p);
            assert_true(partition->leader_epoch > 0);
            assert_int_equal(partition->leader, is_everybody ? partition->replicas[0] : 2);
            assert_int_equal(partition->isr_count, is_everybody ? 2 : 1);
            assert_int_equal(replica(w, 1, p == 0 ? "t-0" : "t-1")->leader_epoch, partition->leader_epoch);
            assert_int_equal(replica(w, 2, p == 0 ? "t-0" : "t-1")->leader_epoch, partition->leader_epoch);
        }
        assert_int_equal(shown(w, "alone", 0)->leader_epoch, 0);
        test_catch_up(w);
        assert_int_equal(shown(w, "t", 0)->isr_count, 2);
        test_world_check(w, 23);
        test_world_free(w);
    }
}

static void a_failed_log_directory_loses_its_leaders(void **state)
{
    struct test_world *w = cluster(18, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 2, 1, 0}, 2, 2), OK);
    w->brokers[1]->broken = "t-0";
    fake_keeper_put(w->fake, "/log_dir_event_notification/log_dir_event_0000000000",
                    SLICE("{\"version\":1,\"broker\":1,\"event\":1}"), 0);
    run(w);
    assert_false(fake_keeper_has(w->fake, "/log_dir_event_notification/log_dir_event_0000000000"));
    assert_int_equal(shown(w, "t", 0)->leader, 2);
    ASSERT_ISR(shown(w, "t", 0), 2);
    assert_int_equal(shown(w, "t", 0)->offline[0], 1);
    assert_int_equal(shown(w, "t", 1)->leader, 1); /* in another directory */
    assert_int_equal(test_alter_isr(w, "t", 0, IDS(2, 1)), ERR_INELIGIBLE_REPLICA);
    test_broker_stop(w, 1);
    test_broker_start(w, 1); /* with a new disk */
    test_catch_up(w);
    assert_int_equal(shown(w, "t", 0)->isr_count, 2);
    test_world_check(w, 18);
    test_world_free(w);
}

static void unclean_election_takes_effect_when_it_is_allowed(void **state)
{
    struct test_world *w = cluster(19, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){1, 2}, 1, 2), OK);
    test_broker_stop(w, 2);
    test_broker_stop(w, 1);
    test_broker_start(w, 2);
    assert_int_equal(shown(w, "t", 0)->leader, -1);
    w->is_unclean_allowed = true; /* as the override of a topic would: */
    fake_keeper_put(w->fake, "/config/topics/t",
                    SLICE("{\"version\":1,\"config\":{\"unclean.leader.election.enable\":\"true\"}}"), 0);
    fake_keeper_put(w->fake, "/config/changes/config_change_0000000000",
                    SLICE("{\"version\":2,\"entity_path\":\"topics/t\"}"), 0);
    run(w);
    assert_int_equal(shown(w, "t", 0)->leader, 2);
    ASSERT_ISR(shown(w, "t", 0), 2);
    char data[200];
    slice_text(fake_keeper_data(w->fake, "/brokers/topics/t/partitions/0/state"), data, sizeof data);
    assert_non_null(strstr(data, "\"leader_recovery_state\":1"));
    assert_int_equal(test_alter_isr(w, "t", 0, IDS(2)), OK); /* the leader has recovered */
    slice_text(fake_keeper_data(w->fake, "/brokers/topics/t/partitions/0/state"), data, sizeof data);
    assert_null(strstr(data, "leader_recovery_state"));
    test_world_free(w);
}

static void a_state_edited_into_nonsense_stops_nobody_else(void **state)
{
    struct test_world *w = cluster(20, 3);
    assert_int_equal(test_create_at(w->brokers[0], "t", (const int32_t[]){0, 1, 1, 0}, 2, 2), OK);
    fake_keeper_put(w->fake, "/brokers/topics/t/partitions/0/state", SLICE("{\"leader\":"), 0);
    fake_keeper_put(w->fake, "/brokers/topics/bad", SLICE("no JSON"), 0);
    fake_keeper_put(w->fake, "/brokers/ids/77", SLICE("{}"), 0);
    test_broker_stop(w, 0); /* a fail-over reads all of it */
    fake_keeper_advance(w->fake, 100);
    assert_non_null(test_controller(w));
    assert_int_equal(shown(w, "t", 1)->leader, 1);
    assert_int_equal(test_create_at(test_controller(w), "u", (const int32_t[]){1, 2}, 1, 2), OK);
    test_world_free(w);
}

/* Nobody guesses a number; whoever puts it back need do no more. */
static void an_edited_controller_epoch_is_waited_for(void **state)
{
    struct test_world *w = cluster(25, 3);
    fake_keeper_put(w->fake, "/controller_epoch", SLICE("nonsense"), 0);
    test_broker_stop(w, 0);
    fake_keeper_advance(w->fake, 1000);
    assert_null(test_controller(w));
    fake_keeper_put(w->fake, "/controller_epoch", SLICE("7"), 0);
    for (int i = 0; i < 12; i++) {
        for (int b = 1; b < 3; b++) controller_tick(w->brokers[b]->controller);
        fake_keeper_advance(w->fake, 1000);
    }
    assert_non_null(test_controller(w));
    assert_int_equal(controller_epoch(test_controller(w)->controller), 8);
    assert_int_equal(test_create_at(test_controller(w), "t", (const int32_t[]){1, 2}, 1, 2), OK);
    test_world_free(w);
}

static void leaders_return_to_the_brokers_they_are_preferred_on(void **state)
{
    struct test_world *w = cluster(21, 3);
    w->is_rebalancing = true;
    test_broker_stop(w, 0); /* whoever is controller now has the rule */
    test_broker_start(w, 0);
    test_broker_stop(w, 1);
    test_broker_start(w, 1);
    test_broker_stop(w, 2);
    test_broker_start(w, 2);
    struct test_broker *c = test_controller(w);
    assert_int_equal(test_create_at(c, "t", (const int32_t[]){0, 1, 1, 2, 2, 0, 0, 2}, 4, 2), OK);
    int32_t other = (c->id + 1) % 3;
    test_broker_stop(w, other);
    test_broker_start(w, other);
    test_catch_up(w);
    int away = 0;
    for (int p = 0; p < 4; p++) away += shown(w, "t", p)->leader != shown(w, "t", p)->replicas[0];
    assert_true(away > 0);
    for (int i = 0; i < 4; i++) {
        fake_keeper_advance(w->fake, 150000);
        for (int b = 0; b < 3; b++) controller_tick(w->brokers[b]->controller);
        fake_keeper_advance(w->fake, 100);
    }
    for (int p = 0; p < 4; p++) assert_int_equal(shown(w, "t", p)->leader, shown(w, "t", p)->replicas[0]);
    test_world_check(w, 21);
    test_world_free(w);
}

/* --- many --- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fail_over_with_ten_thousand_partitions_takes_few_writes(void **state)
{
    struct test_world *w = cluster(22, 3);
    for (int t = 0; t < 10; t++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", t);
        assert_int_equal(test_create(w->brokers[0], name, 1000, 3), OK);
    }
    int64_t writes = fake_keeper_writes(w->fake), requests = fake_keeper_requests(w->fake);
    double began = seconds();
    int64_t session = test_broker_kill(w, 0);
    fake_keeper_expire(w->fake, session);
    fake_keeper_advance(w->fake, 50);
    double took = seconds() - began;
    assert_non_null(test_controller(w));
    writes = fake_keeper_writes(w->fake) - writes;
    requests = fake_keeper_requests(w->fake) - requests;
    if (getenv("TEST_VERBOSE"))
        printf("fail-over of 10,000 partitions: %lld writes, %lld requests, %.0f ms of CPU for all\n",
               (long long)writes, (long long)requests, took * 1000);
    test_world_check(w, 22);
    assert_in_range(writes, 1, 300);
    assert_in_range(requests, 10000, 11000);
    test_world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kafka_7482_who_leaves_hears_that_it_leads_no_more),
        cmocka_unit_test(who_leaves_keeps_what_nobody_else_may_lead),
        cmocka_unit_test(who_leaves_twice_is_answered_twice),
        cmocka_unit_test(proposals_are_judged_in_order),
        cmocka_unit_test(kip_903_in_sync_in_an_earlier_life_does_not_count),
        cmocka_unit_test(a_lost_answer_of_a_write_is_read_again),
        cmocka_unit_test(an_isr_written_by_its_leader_is_taken_over),
        cmocka_unit_test(a_bounced_broker_is_a_death_and_a_birth),
        cmocka_unit_test(kafka_6082_a_paused_controller_wakes_and_cannot_write),
        cmocka_unit_test(kafka_7165_our_own_older_session_holds_the_seat),
        cmocka_unit_test(kafka_6612_a_topic_that_goes_gets_no_more_partitions),
        cmocka_unit_test(kafka_7082_two_brokers_create_one_topic),
        cmocka_unit_test(kafka_13225_where_nothing_changed_nobody_is_told),
        cmocka_unit_test(kafka_9866_a_preferred_leader_must_be_in_sync),
        cmocka_unit_test(handing_over_survives_a_crash_of_the_controller_at_any_step),
        cmocka_unit_test(changed_listeners_are_told_to_all),
        cmocka_unit_test(kafka_3143_a_replica_away_when_the_controller_starts),
        cmocka_unit_test(who_died_and_came_back_between_controllers_has_bounced),
        cmocka_unit_test(a_failed_log_directory_loses_its_leaders),
        cmocka_unit_test(unclean_election_takes_effect_when_it_is_allowed),
        cmocka_unit_test(a_state_edited_into_nonsense_stops_nobody_else),
        cmocka_unit_test(an_edited_controller_epoch_is_waited_for),
        cmocka_unit_test(leaders_return_to_the_brokers_they_are_preferred_on),
        cmocka_unit_test(fail_over_with_ten_thousand_partitions_takes_few_writes),
    };
    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
