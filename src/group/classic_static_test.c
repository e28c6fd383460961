/* classic_static_test.c: static members of classic groups: they stay away, come back, are fenced (facts/coordinators.md
 * 3.2, 10). */
#include "group/classic_cast.h"

/* A static one keeps its place while it is away, but not the lead. */
static void a_static_leader_that_stays_away_does_not_lead(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    struct bed_call *s = bed_join(&bed, 5, (struct bed_join){.instance = "s1", .session_ms = 300000});
    struct bed_call *d = bed_join(&bed, 3, (struct bed_join){.session_ms = 300000});
    bed_advance(&bed, 6000);
    char sid[64], did[64];
    slice_text(joined(s)->member_id, sid, sizeof sid);
    slice_text(joined(d)->member_id, did, sizeof did);
    assert_true(slice_is(joined(d)->leader, sid));
    struct bed_call *again =
        bed_join(&bed, 5, (struct bed_join){.member = did, .metadata = "n", .session_ms = 300000});
    bed_advance(&bed, 60000);
    assert_true(slice_is(joined(again)->leader, did));
    assert_int_equal(joined(again)->members.count, 2);
    bed_call_free(s), bed_call_free(d), bed_call_free(again);
    bed_close(&bed);
}

static void only_static_members_all_away(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    struct bed_call *s =
        bed_join(&bed, 5, (struct bed_join){.instance = "s1", .session_ms = 300000, .rebalance_ms = 10000});
    struct bed_call *d = bed_join(&bed, 3, (struct bed_join){.rebalance_ms = 10000});
    bed_advance(&bed, 10000);
    char sid[64], did[64];
    slice_text(joined(s)->member_id, sid, sizeof sid);
    slice_text(joined(d)->member_id, did, sizeof did);
    assert_int_equal(bed_leave(&bed, 3, "g", did, NULL), 0); /* a rebalance that only S could join */
    bed_advance(&bed, 100000);
    struct group *group = group_find(&bed.shard, SLICE("g"));
    assert_int_equal(group->state, GROUP_PREPARING_REBALANCE);
    assert_int_equal(group->member_count, 1);
    struct bed_call *back = bed_join(&bed, 5, (struct bed_join){.instance = "s1", .session_ms = 300000});
    assert_int_equal(joined(back)->error_code, 0);
    assert_int_equal(joined(back)->generation_id, 2);
    assert_int_equal(bed_heartbeat(&bed, "g", sid, "s1", 2), 82);
    bed_call_free(s), bed_call_free(d), bed_call_free(back);
    bed_close(&bed);
}

static void a_static_member_comes_back_in_peace(void **unused)
{
    struct cast cast;
    cast_open(&cast, STABLE);
    cast.bed.mode = BED_HOLDS;
    struct bed_call *back = bed_join(&cast.bed, 5, (struct bed_join){.instance = "s1"});
    assert_false(back->is_answered); /* written first */
    bed_release(&cast.bed);
    char id[64];
    slice_text(joined(back)->member_id, id, sizeof id);
    assert_int_equal(joined(back)->generation_id, 1);
    assert_int_not_equal(strcmp(id, cast.s), 0);
    assert_int_equal(memcmp(id, "s1-", 3), 0);
    assert_true(slice_is(joined(back)->leader, cast.a));
    assert_int_equal(bed_heartbeat(&cast.bed, "g", cast.s, "s1", 1), 82);
    assert_int_equal(bed_heartbeat(&cast.bed, "g", cast.a, NULL, 1), 0); /* nobody else noticed */
    struct bed_call *sync = bed_sync(&cast.bed, 5, "g", id, "s1", 1, NULL);
    assert_true(slice_is(synced(sync)->assignment, "for-s"));
    bed_call_free(back), bed_call_free(sync);
    cast_close(&cast);
}

/* The leader itself restarts: KAFKA-13435, KIP-814. */
static void a_static_leader_comes_back(void **unused)
{
    for (int16_t version = 5; version <= 9; version++) {
        struct bed bed;
        bed_open(&bed, 3);
        struct bed_call *first = bed_join(&bed, version, (struct bed_join){.instance = "s1"});
        bed_advance(&bed, 3000);
        char old_id[64], assignments[100];
        slice_text(joined(first)->member_id, old_id, sizeof old_id);
        snprintf(assignments, sizeof assignments, "%s=all", old_id);
        struct bed_call *sync = bed_sync(&bed, 5, "g", old_id, "s1", 1, assignments);
        struct bed_call *back = bed_join(&bed, version, (struct bed_join){.instance = "s1"});
        assert_int_equal(joined(back)->error_code, 0);
        assert_int_equal(joined(back)->skip_assignment, version >= 9);
        assert_int_equal(joined(back)->members.count, version >= 9 ? 1 : 0);
        if (version >= 9) assert_true(slice_equal(joined(back)->leader, joined(back)->member_id));
        if (version < 9) assert_true(slice_is(joined(back)->leader, old_id));
        bed_call_free(first), bed_call_free(sync), bed_call_free(back);
        bed_close(&bed);
    }
}

static void a_static_member_that_could_not_be_written_goes_back(void **unused)
{
    for (int timed_out = 0; timed_out < 2; timed_out++) {
        struct cast cast;
        cast_open(&cast, STABLE);
        cast.bed.mode = BED_HOLDS;
        struct bed_call *back = bed_join(&cast.bed, 5, (struct bed_join){.instance = "s1", .metadata = "n"});
        if (timed_out) {
            struct group_write *write = CONTAINER_OF(cast.bed.held.next, struct group_write, link);
            group_shard_write_timed_out(&cast.bed.shard, write);
            bed_collect(&cast.bed);
            assert_int_equal(joined(back)->error_code, 15);
            bed_release(&cast.bed);
        } else {
            bed_refuse_last(&cast.bed, ERR_NOT_LEADER_OR_FOLLOWER);
            assert_int_equal(joined(back)->error_code, 16);
        }
        assert_int_equal(joined(back)->member_id.size, 0);
        assert_int_equal(bed_heartbeat(&cast.bed, "g", cast.s, "s1", 1), 0);
        struct member *s = group_static_member(group_find(&cast.bed.shard, SLICE("g")), SLICE("s1"));
        assert_true(slice_is(member_metadata(s, SLICE("range")), "m"));
        bed_call_free(back);
        cast_close(&cast);
    }
}

static void a_static_member_replaced_while_it_waits_is_fenced(void **unused)
{
    struct cast cast;
    cast_open(&cast, COMPLETING);
    struct bed_call *sync = bed_sync(&cast.bed, 5, "g", cast.s, "s1", 1, NULL);
    struct bed_call *back = bed_join(&cast.bed, 5, (struct bed_join){.instance = "s1"});
    assert_int_equal(synced(sync)->error_code, 82);
    assert_false(back->is_answered); /* a round: the leader was to assign to the old one */
    struct bed_call *third = bed_join(&cast.bed, 5, (struct bed_join){.instance = "s1"});
    assert_int_equal(joined(back)->error_code, 82);
    assert_false(third->is_answered);
    keep(&cast, third);
    bed_call_free(sync), bed_call_free(back);
    cast_close(&cast);
}

static void a_static_member_with_another_choice_starts_a_round(void **unused)
{
    struct bed bed;
    bed_open(&bed, 3);
    struct bed_call *first =
        bed_join(&bed, 5, (struct bed_join){.instance = "s1", .protocols = "range,sticky"});
    bed_advance(&bed, 3000);
    char id[64];
    slice_text(joined(first)->member_id, id, sizeof id);
    struct bed_call *sync = bed_sync(&bed, 5, "g", id, "s1", 1, NULL);
    struct bed_call *back =
        bed_join(&bed, 5, (struct bed_join){.instance = "s1", .protocols = "sticky,range"});
    assert_int_equal(joined(back)->generation_id, 2); /* it is the only one, so the round is over at once */
    assert_true(slice_is(joined(back)->protocol_name, "sticky"));
    bed_call_free(first), bed_call_free(sync), bed_call_free(back);
    bed_close(&bed);
}

int main(void)
{
    diag_set_level(DIAG_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_static_leader_that_stays_away_does_not_lead),
        cmocka_unit_test(only_static_members_all_away),
        cmocka_unit_test(a_static_member_comes_back_in_peace),
        cmocka_unit_test(a_static_leader_comes_back),
        cmocka_unit_test(a_static_member_that_could_not_be_written_goes_back),
        cmocka_unit_test(a_static_member_replaced_while_it_waits_is_fenced),
        cmocka_unit_test(a_static_member_with_another_choice_starts_a_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
