/* classic_test.c: stories of the classic protocol (facts/coordinators.md 3.2, 10). Each request in each state is in
 * classic_states_test.c, static members are in classic_static_test.c. */
#include "group/classic_cast.h"

static int64_t waited(struct bed *bed, struct bed_call *call, int64_t until_ms)
{
    int64_t began_ms = bed->shard.now_ms;
    while (!call->is_answered && bed->shard.now_ms - began_ms < until_ms) bed_advance(bed, 100);
    return bed->shard.now_ms - began_ms;
}

static void the_initial_delay_is_extended(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    struct bed_call *a = bed_join(&bed, 3, (struct bed_join){.rebalance_ms = 7000});
    bed_advance(&bed, 2000);
    struct bed_call *b = bed_join(&bed, 3, (struct bed_join){.rebalance_ms = 7000});
    assert_int_equal(waited(&bed, a, 20000), 4000); /* 3 s were up at 3.0; b made it 3 more */
    assert_int_equal(joined(a)->generation_id, 1);
    assert_int_equal(joined(a)->members.count, 2);
    assert_int_equal(joined(b)->members.count, 0);
    bed_call_free(a), bed_call_free(b);
    bed_close(&bed);

    /* But never beyond the rebalance timeout: 3 + 3 + 1. */
    bed_open(&bed, 1);
    struct bed_call *calls[20];
    for (int i = 0; i < 20; i++) {
        calls[i] = bed_join(&bed, 3, (struct bed_join){.rebalance_ms = 7000});
        if (i < 19) bed_advance(&bed, 350);
    }
    assert_int_equal(waited(&bed, calls[0], 20000), 400);
    assert_int_equal(joined(calls[0])->members.count, 20);
    for (int i = 0; i < 20; i++) bed_call_free(calls[i]);
    bed_close(&bed);

    /* Nobody else: 3 s, whatever the version. */
    for (int16_t version = 0; version <= 3; version++) {
        bed_open(&bed, 1);
        a = bed_join(&bed, version, (struct bed_join){0});
        assert_int_equal(waited(&bed, a, 20000), 3000);
        assert_true(slice_is(joined(a)->protocol_name, "range"));
        assert_true(slice_equal(joined(a)->leader, joined(a)->member_id));
        bed_call_free(a);
        bed_close(&bed);
    }
}

static void without_delay_the_first_member_goes_on(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    bed.config.initial_rebalance_delay_ms = 0;
    struct bed_call *a = bed_join(&bed, 3, (struct bed_join){0});
    bed_advance(&bed, 0);
    assert_int_equal(joined(a)->generation_id, 1);
    bed_call_free(a);
    bed_close(&bed);
}

static void an_id_that_is_never_used_is_forgotten(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    struct bed_call *ghost = bed_join(&bed, 4, (struct bed_join){.session_ms = 10000});
    assert_int_equal(joined(ghost)->error_code, 79);
    assert_true(memcmp(joined(ghost)->member_id.data, "client-", 7) == 0);
    assert_int_equal(joined(ghost)->member_id.size, 7 + 36);
    struct bed_call *a = bed_join(&bed, 3, (struct bed_join){0});
    bed_advance(&bed, 3000);
    assert_int_equal(joined(a)->error_code, 0); /* the initial delay does not wait for it */

    /* A later round does, until the id's session is over. */
    char id[64];
    slice_text(joined(a)->member_id, id, sizeof id);
    struct bed_call *again = bed_join(&bed, 3, (struct bed_join){.member = id, .metadata = "other"});
    assert_false(again->is_answered);
    assert_int_equal(waited(&bed, again, 60000), 7000);
    assert_int_equal(joined(again)->members.count, 1);
    bed_call_free(a), bed_call_free(again);

    /* One that comes again in time is a member. */
    again = bed_join(&bed, 4, (struct bed_join){0});
    slice_text(joined(again)->member_id, id, sizeof id);
    struct bed_call *b = bed_join(&bed, 4, (struct bed_join){.member = id});
    assert_false(b->is_answered);
    bed_advance(&bed, 60000);
    assert_true(slice_is(joined(b)->member_id, id));
    assert_int_equal(joined(b)->error_code, 0);
    bed_call_free(ghost), bed_call_free(again), bed_call_free(b);
    bed_close(&bed);
}

static void leaving_gives_an_unused_id_back(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    struct bed_call *ghost = bed_join(&bed, 4, (struct bed_join){0});
    char id[64];
    slice_text(joined(ghost)->member_id, id, sizeof id);
    assert_int_equal(bed_leave(&bed, 3, "g", id, NULL), 0);
    assert_int_equal(bed_leave(&bed, 3, "g", id, NULL), 25);
    struct bed_call *late = bed_join(&bed, 4, (struct bed_join){.member = id});
    assert_int_equal(joined(late)->error_code, 25);
    bed_call_free(ghost), bed_call_free(late);
    bed_close(&bed);
}

static void sessions_end(void **unused)
{
    struct cast cast;
    cast_open(&cast, STABLE);
    for (int i = 0; i < 8; i++) {
        bed_advance(&cast.bed, 3000);
        assert_int_equal(bed_heartbeat(&cast.bed, "g", cast.a, NULL, 1),
                         i < 3 ? 0 : 27); /* B and S fall silent */
    }
    struct bed_call *a = bed_join(&cast.bed, 5, (struct bed_join){.member = cast.a});
    assert_int_equal(joined(a)->generation_id, 2);
    assert_int_equal(joined(a)->members.count, 1);
    bed_call_free(a);

    /* A member that waits for others keeps its place without heartbeats. */
    struct bed_call *b = bed_join(&cast.bed, 3, (struct bed_join){.rebalance_ms = 100000});
    bed_advance(&cast.bed, 9900);
    assert_false(b->is_answered);
    bed_advance(&cast.bed, 90100); /* A never comes: b alone goes on */
    assert_int_equal(joined(b)->error_code, 0);
    assert_int_equal(joined(b)->members.count, 1);
    bed_call_free(b);
    cast_close(&cast);
}

static void the_last_one_out_leaves_an_empty_group(void **unused)
{
    struct cast cast;
    cast_open(&cast, STABLE);
    size_t before = cast.bed.record_count;
    bed_advance(&cast.bed, 20000);
    struct group *group = group_find(&cast.bed.shard, SLICE("g"));
    assert_int_equal(group->state, GROUP_EMPTY);
    assert_int_equal(group->generation, 2);
    assert_int_equal(cast.bed.record_count, before + 1);
    assert_true(slice_is(group->protocol_type, "consumer"));
    assert_int_equal(group_shard_next_due_ms(&cast.bed.shard), INT64_MAX); /* and no timer */
    cast_close(&cast);
}

static void who_does_not_come_back_is_left_behind(void **unused)
{
    struct cast cast;
    cast_open(&cast, STABLE);
    /* A asks for another round; B is alive but never joins; S is static and away, its place is kept. */
    struct bed_call *a =
        bed_join(&cast.bed, 5, (struct bed_join){.member = cast.a, .metadata = "n", .rebalance_ms = 60000});
    for (int i = 0; i < 12; i++) {
        assert_false(a->is_answered);
        bed_advance(&cast.bed, 5000);
        assert_int_equal(bed_heartbeat(&cast.bed, "g", cast.s, "s1", 1), i < 11 ? 27 : 22);
        (void)bed_heartbeat(&cast.bed, "g", cast.b, NULL, 1);
    }
    assert_int_equal(joined(a)->generation_id, 2);
    assert_int_equal(joined(a)->members.count, 2); /* A and S */
    assert_int_equal(bed_heartbeat(&cast.bed, "g", cast.b, NULL, 2), 25);
    bed_call_free(a);
    cast_close(&cast);
}

static void a_leader_that_stays_away_is_replaced(void **unused)
{
    struct cast cast;
    cast_open(&cast, STABLE);
    struct bed_call *b = bed_join(&cast.bed, 5, (struct bed_join){.member = cast.b, .metadata = "n"});
    struct bed_call *s = bed_join(&cast.bed, 5, (struct bed_join){.member = cast.s, .instance = "s1"});
    bed_advance(&cast.bed, 60000);
    assert_true(slice_is(joined(b)->leader, cast.b));
    assert_true(slice_is(joined(s)->leader, cast.b));
    assert_int_equal(joined(b)->members.count, 2);
    assert_int_equal(joined(s)->members.count, 0);
    bed_call_free(b), bed_call_free(s);
    cast_close(&cast);
}

static void an_assignment_is_told_when_it_is_written(void **unused)
{
    struct cast cast;
    cast_open(&cast, COMPLETING);
    cast.bed.mode = BED_HOLDS;
    struct bed_call *b = bed_sync(&cast.bed, 3, "g", cast.b, NULL, 1, NULL);
    char assignments[128];
    snprintf(assignments, sizeof assignments, "%s=x,stranger=y", cast.b);
    struct bed_call *a = bed_sync(&cast.bed, 3, "g", cast.a, NULL, 1, assignments);
    assert_false(a->is_answered || b->is_answered);
    assert_int_equal(bed_heartbeat(&cast.bed, "g", cast.a, NULL, 1), 0);
    bed_release(&cast.bed);
    assert_true(slice_is(synced(b)->assignment, "x"));
    assert_int_equal(synced(a)->error_code, 0);
    assert_int_equal(synced(a)->assignment.size, 0); /* it did not name itself */
    assert_non_null(synced(a)->assignment.data);
    assert_true(slice_is(synced(b)->protocol_type, "consumer") &&
                slice_is(synced(b)->protocol_name, "range"));
    bed_call_free(a), bed_call_free(b);
    cast_close(&cast);
}

static void an_assignment_that_is_not_written_starts_a_round(void **unused)
{
    static const struct {
        enum error err;
        int16_t code;
    } cases[] = {
        {ERR_NOT_ENOUGH_REPLICAS, 15}, {ERR_NOT_LEADER_OR_FOLLOWER, 16}, {ERR_MESSAGE_TOO_LARGE, -1}};
    for (size_t i = 0; i < 3; i++) {
        struct cast cast;
        cast_open(&cast, COMPLETING);
        cast.bed.mode = BED_HOLDS;
        struct bed_call *b = bed_sync(&cast.bed, 3, "g", cast.b, NULL, 1, NULL);
        struct bed_call *a = bed_sync(&cast.bed, 3, "g", cast.a, NULL, 1, NULL);
        bed_refuse_last(&cast.bed, cases[i].err);
        assert_int_equal(synced(a)->error_code, cases[i].code);
        assert_int_equal(synced(b)->error_code, cases[i].code);
        assert_int_equal(bed_heartbeat(&cast.bed, "g", cast.a, NULL, 1), 27);
        bed_call_free(a), bed_call_free(b);
        cast_close(&cast);
    }
}

static void an_assignment_of_an_old_generation_is_discarded(void **unused)
{
    struct cast cast;
    cast_open(&cast, COMPLETING);
    cast.bed.mode = BED_HOLDS;
    struct bed_call *a = bed_sync(&cast.bed, 3, "g", cast.a, NULL, 1, NULL);
    assert_int_equal(bed_leave(&cast.bed, 3, "g", cast.b, NULL), 0); /* while it is being written */
    assert_int_equal(synced(a)->error_code, 27);
    bed_release(&cast.bed);
    assert_int_equal(group_find(&cast.bed.shard, SLICE("g"))->state, GROUP_PREPARING_REBALANCE);
    bed_call_free(a);
    cast_close(&cast);
}

/* Two generations' assignments are on their way at once; each is told when its own is written. */
static void a_late_write_does_not_answer_the_next_generation(void **unused)
{
    struct cast cast;
    cast_open(&cast, COMPLETING);
    cast.bed.mode = BED_HOLDS;
    struct bed_call *first = bed_sync(&cast.bed, 3, "g", cast.a, NULL, 1, "x=y");
    assert_int_equal(bed_leave(&cast.bed, 3, "g", cast.b, NULL), 0);
    assert_int_equal(bed_leave(&cast.bed, 3, "g", "", "s1"), 0);
    struct bed_call *again = bed_join(&cast.bed, 3, (struct bed_join){.member = cast.a});
    assert_int_equal(joined(again)->generation_id, 2);
    char assignments[100];
    snprintf(assignments, sizeof assignments, "%s=mine", cast.a);
    struct bed_call *second = bed_sync(&cast.bed, 3, "g", cast.a, NULL, 2, assignments);
    bed_end_one(&cast.bed, OK);
    bed_settle(&cast.bed);
    assert_int_equal(synced(first)->error_code, 27);
    assert_false(second->is_answered);
    bed_release(&cast.bed);
    assert_true(slice_is(synced(second)->assignment, "mine"));
    bed_call_free(first), bed_call_free(again), bed_call_free(second);
    cast_close(&cast);
}

static void who_never_syncs_is_removed(void **unused)
{
    struct cast cast;
    cast_open(&cast, COMPLETING);
    struct bed_call *a = bed_sync(&cast.bed, 3, "g", cast.a, NULL, 1, NULL);
    struct bed_call *s = bed_sync(&cast.bed, 3, "g", cast.s, "s1", 1, NULL);
    assert_int_equal(synced(a)->error_code + synced(s)->error_code, 0);
    for (int i = 0; i < 12; i++) {
        bed_advance(&cast.bed, 5000);
        int16_t want = i < 11 ? 0 : 27;
        assert_int_equal(bed_heartbeat(&cast.bed, "g", cast.a, NULL, 1), want);
        assert_int_equal(bed_heartbeat(&cast.bed, "g", cast.s, "s1", 1), want);
        assert_int_equal(bed_heartbeat(&cast.bed, "g", cast.b, NULL, 1),
                         i < 11 ? 0 : 25); /* alive, but no use */
    }
    bed_call_free(a), bed_call_free(s);
    cast_close(&cast);
}

static void the_protocol_is_what_most_prefer_of_what_all_know(void **unused)
{
    static const struct {
        const char *lists[3], *chosen;
    } cases[] = {
        {{"range", "range", "range"}, "range"}, {{"a,b", "b,a", "b,a"}, "b"},
        {{"a,b,c", "c,b", "b,c"}, "b"}, /* a is not known to all: the first votes for b */
        {{"only,x", "x", "y,x,only"}, "x"},     {{"a,b", "a,b", "b,a"}, "a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bed bed;
        struct bed_call *calls[3];
        bed_open(&bed, 1);
        for (int j = 0; j < 3; j++)
            calls[j] = bed_join(&bed, 3, (struct bed_join){.protocols = cases[i].lists[j]});
        bed_advance(&bed, 6000);
        for (int j = 0; j < 3; j++) {
            assert_true(slice_is(joined(calls[j])->protocol_name, cases[i].chosen));
            bed_call_free(calls[j]);
        }
        bed_close(&bed);
    }
}

static void a_full_group_takes_nobody(void **unused)
{
    struct cast cast;
    cast_open(&cast, STABLE);
    cast.bed.config.max_size = 3;
    struct bed_call *d = bed_join(&cast.bed, 3, (struct bed_join){0});
    assert_int_equal(joined(d)->error_code, 81);
    assert_int_equal(joined(d)->member_id.size, 0);
    bed_call_free(d);
    d = bed_join(&cast.bed, 5, (struct bed_join){.member = cast.b}); /* members come and go */
    assert_int_equal(joined(d)->error_code, 0);
    bed_call_free(d);

    /* One too many after the limit was lowered: the last to come finds no place. */
    cast.bed.config.max_size = 2;
    struct bed_call *a = bed_join(&cast.bed, 3, (struct bed_join){.member = cast.a});
    struct bed_call *b = bed_join(&cast.bed, 3, (struct bed_join){.member = cast.b});
    struct bed_call *s = bed_join(&cast.bed, 5, (struct bed_join){.member = cast.s, .instance = "s1"});
    assert_int_equal(joined(s)->error_code, 81);
    assert_int_equal(joined(a)->members.count, 2);
    bed_call_free(a), bed_call_free(b), bed_call_free(s);
    cast_close(&cast);
}

static void session_timeouts_have_bounds(void **unused)
{
    static const struct {
        int32_t session_ms;
        int16_t code;
    } cases[] = {{5999, 26}, {6000, 79}, {1800000, 79}, {1800001, 26}, {-1, 26}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bed bed;
        bed_open(&bed, 1);
        struct bed_call *a = bed_join(&bed, 4, (struct bed_join){.session_ms = cases[i].session_ms});
        assert_int_equal(joined(a)->error_code, cases[i].code);
        bed_call_free(a);
        bed_close(&bed);
    }
}

static void a_new_member_waits_five_minutes_at_most(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    struct bed_call *s = bed_join(
        &bed, 5, (struct bed_join){.instance = "s1", .session_ms = 1800000, .rebalance_ms = 1200000});
    bed_advance(&bed, 3000);
    char id[64];
    slice_text(joined(s)->member_id, id, sizeof id);
    struct bed_call *d = bed_join(&bed, 3, (struct bed_join){.rebalance_ms = 1200000});
    assert_int_equal(waited(&bed, d, 2000000), 300000);
    assert_int_equal(joined(d)->error_code, 25);
    bed_call_free(s), bed_call_free(d);
    bed_close(&bed);
}

static void leaving_answers_each_member(void **unused)
{
    struct cast cast;
    cast_open(&cast, STABLE);
    struct bed_call *call = bed_call(5);
    struct leave_group_request_member_identity who[] = {
        {.member_id = slice_of(cast.a)},
        {.member_id = SLICE(""), .group_instance_id = SLICE("s1")},
        {.member_id = SLICE("stranger")},
        {.member_id = slice_of(cast.a)},
        {.member_id = slice_of(cast.b), .group_instance_id = SLICE("s1")},
    };
    static const int16_t want[] = {0, 0, 25, 25, 25};
    leave_group_request_init(&call->request.leave);
    call->request.leave.group_id = SLICE("g");
    call->request.leave.members.items = who;
    call->request.leave.members.count = 5;
    group_shard_leave(&cast.bed.shard, &call->call);
    bed_settle(&cast.bed);
    const struct leave_group_response *response = call->call.response;
    assert_int_equal(response->error_code, 0);
    assert_int_equal(response->members.count, 5);
    for (int i = 0; i < 5; i++) assert_int_equal(response->members.items[i].error_code, want[i]);
    assert_true(slice_is(response->members.items[1].group_instance_id, "s1"));
    bed_call_free(call);
    cast_close(&cast);
}

static void a_new_group_leaves_a_trace(void **unused)
{
    struct bed bed;
    bed_open(&bed, 1);
    struct bed_call *first = bed_join(&bed, 4, (struct bed_join){.protocols = ""});
    assert_int_equal(joined(first)->error_code, 23);
    assert_int_equal(bed.record_count, 0);
    assert_null(group_find(&bed.shard, SLICE("g"))); /* nothing came of it */
    bed_call_free(first);
    first = bed_join(&bed, 4, (struct bed_join){0});
    assert_int_equal(bed.record_count, 1);
    struct group_shard shard;
    bed_replay(&bed, &shard);
    assert_int_equal(group_shard_loaded(&shard), OK);
    const struct group *group = group_find(&shard, SLICE("g"));
    assert_non_null(group);
    assert_int_equal(group->state, GROUP_EMPTY);
    assert_int_equal(group->generation, 0);
    assert_int_equal(group->state_since_ms, bed.shard.wall_ms);
    assert_null(group->protocol_type.data);
    group_shard_free(&shard);
    bed_call_free(first);
    bed_close(&bed);
}

static void another_broker_goes_on(void **unused)
{
    struct cast cast;
    cast_open(&cast, STABLE);
    struct group_shard shard;
    bed_replay(&cast.bed, &shard);
    assert_int_equal(group_shard_loaded(&shard), OK);
    const struct group *group = group_find(&shard, SLICE("g"));
    assert_int_equal(group->state, GROUP_STABLE);
    assert_int_equal(group->generation, 1);
    assert_int_equal(group->member_count, 3);
    assert_true(slice_is(group->leader->id, cast.a));
    const struct member *s = group_static_member(group, SLICE("s1"));
    assert_true(slice_is(s->id, cast.s) && slice_is(s->assignment, "for-s"));
    assert_true(slice_is(s->client_host, "/127.0.0.1") && slice_is(s->client_id, "client"));
    assert_int_equal(s->session_timeout_ms, 10000);
    assert_int_equal(s->rebalance_timeout_ms, 60000);
    assert_int_equal(group_shard_next_due_ms(&shard), shard.now_ms + 10000); /* fresh sessions */
    group_shard_free(&shard);
    cast_close(&cast);
}

/* What was true when memory was lost must not be what the log says: Preparing and Completing are not written. */
static void failover_in_the_middle_asks_for_a_new_join(void **unused)
{
    for (enum setting setting = PREPARING; setting <= COMPLETING; setting++) {
        struct cast cast;
        cast_open(&cast, setting);
        struct group_shard shard;
        bed_replay(&cast.bed, &shard);
        assert_int_equal(group_shard_loaded(&shard), OK);
        const struct group *group = group_find(&shard, SLICE("g"));
        assert_int_equal(group->state, setting == PREPARING ? GROUP_STABLE : GROUP_EMPTY);
        assert_int_equal(group->generation, setting == PREPARING ? 1 : 0);
        group_shard_free(&shard);
        cast_close(&cast);
    }
}

static void describe_tells_more_of_a_stable_group(void **unused)
{
    static const struct {
        enum setting setting;
        const char *state, *protocol;
        int members;
    } cases[] = {{UNKNOWN, "Dead", "", 0},
                 {EMPTY, "Empty", "", 0},
                 {PREPARING, "PreparingRebalance", "", 3},
                 {COMPLETING, "CompletingRebalance", "", 3},
                 {STABLE, "Stable", "range", 3},
                 {DEAD, "Dead", "", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cast cast;
        cast_open(&cast, cases[i].setting);
        for (int16_t version = 5; version <= 6; version++) {
            struct bed_call *call = bed_call(version);
            struct describe_groups_response_described_group answer = {
                .group_state = SLICE(""), .protocol_type = SLICE(""), .protocol_data = SLICE("")};
            call->call.response = call;
            group_shard_describe(&cast.bed.shard, &call->call, SLICE("g"), &answer);
            assert_true(slice_is(answer.group_state, cases[i].state));
            assert_true(slice_is(answer.protocol_data, cases[i].protocol));
            assert_true(slice_is(answer.protocol_type, cases[i].setting == UNKNOWN ? "" : "consumer"));
            assert_int_equal(answer.members.count, cases[i].members);
            assert_int_equal(answer.error_code, cases[i].setting == UNKNOWN && version == 6 ? 69 : 0);
            bool is_stable = cases[i].setting == STABLE;
            for (int j = 0; j < answer.members.count; j++) {
                assert_true(slice_is(answer.members.items[j].member_metadata, is_stable ? "m" : ""));
                assert_int_equal(answer.members.items[j].member_assignment.size, is_stable ? 5 : 0);
                assert_true(slice_is(answer.members.items[j].client_host, "/127.0.0.1"));
            }
            call->is_answered = true;
            bed_call_free(call);
        }
        cast_close(&cast);
    }
}

static void list_filters_without_regard_to_case(void **unused)
{
    static const struct {
        const char *state, *type;
        int count;
    } cases[] = {{NULL, NULL, 2},      {"stable", NULL, 1}, {"EMPTY", NULL, 1},       {"dead", NULL, 0},
                 {NULL, "classic", 2}, {NULL, "share", 0},  {"Stable", "CLASSIC", 1}, {"nonsense", NULL, 0}};
    struct cast cast;
    cast_open(&cast, STABLE);
    assert_int_equal(bed_commit_now(&cast.bed, 8, (struct bed_commit){.group = "simple", .generation = -1}),
                     0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct list_groups_request request;
        struct group_listing listing = {0};
        struct arena arena;
        struct slice state = slice_of(cases[i].state), type = slice_of(cases[i].type);
        arena_init(&arena, 0);
        list_groups_request_init(&request);
        if (state.data) request.states_filter.items = &state, request.states_filter.count = 1;
        if (type.data) request.types_filter.items = &type, request.types_filter.count = 1;
        assert_true(group_shard_list(&cast.bed.shard, &request, &arena, &listing));
        assert_int_equal(listing.count, cases[i].count);
        arena_free(&arena);
    }
    cast_close(&cast);
}

int main(void)
{
    diag_set_level(DIAG_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_initial_delay_is_extended),
        cmocka_unit_test(without_delay_the_first_member_goes_on),
        cmocka_unit_test(an_id_that_is_never_used_is_forgotten),
        cmocka_unit_test(leaving_gives_an_unused_id_back),
        cmocka_unit_test(sessions_end),
        cmocka_unit_test(the_last_one_out_leaves_an_empty_group),
        cmocka_unit_test(who_does_not_come_back_is_left_behind),
        cmocka_unit_test(a_leader_that_stays_away_is_replaced),
        cmocka_unit_test(an_assignment_is_told_when_it_is_written),
        cmocka_unit_test(an_assignment_that_is_not_written_starts_a_round),
        cmocka_unit_test(an_assignment_of_an_old_generation_is_discarded),
        cmocka_unit_test(a_late_write_does_not_answer_the_next_generation),
        cmocka_unit_test(who_never_syncs_is_removed),
        cmocka_unit_test(the_protocol_is_what_most_prefer_of_what_all_know),
        cmocka_unit_test(a_full_group_takes_nobody),
        cmocka_unit_test(session_timeouts_have_bounds),
        cmocka_unit_test(a_new_member_waits_five_minutes_at_most),
        cmocka_unit_test(leaving_answers_each_member),
        cmocka_unit_test(a_new_group_leaves_a_trace),
        cmocka_unit_test(another_broker_goes_on),
        cmocka_unit_test(failover_in_the_middle_asks_for_a_new_join),
        cmocka_unit_test(describe_tells_more_of_a_stable_group),
        cmocka_unit_test(list_filters_without_regard_to_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
