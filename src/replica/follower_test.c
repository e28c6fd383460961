/* follower_test.c: what a follower does next: chosen cases, one a row, those of KIP-101 and KIP-279 as small plays, then random
 * lives of three replicas and a controller against a model too plain to be wrong: committed records stay what they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "replica/follower.h"
#include "replica/isr.h"

enum { REPLICAS = 3, RECORDS = 400, PAUSE_MAX_MS = 1000, LAG_MS = 30 };

/* --- a replica: an array of who wrote what, its epochs, and the brains --- */

struct record {
    int32_t epoch;
    int id;
};

struct replica {
    int32_t id;
    struct record log[RECORDS];
    int64_t end, high;
    struct epoch_cache epochs;
    bool leads;
    int32_t leader, leader_epoch;
    struct follower follower;
    struct isr isr;
    /* an answer on its way */
    bool has_answer;
    struct follower_fetch asked;
    struct follower_answer answer;
    int64_t answer_high;
    struct record answer_records[8];
    int answer_count;
    /* a proposal on its way to the controller, and its answer on the way back */
    bool has_proposal, has_verdict;
    int32_t proposal[REPLICAS], proposal_count, proposal_leader_epoch, proposal_partition_epoch;
    struct isr_answer verdict;
    int32_t verdict_isr[REPLICAS];
};

struct world {
    struct replica replicas[REPLICAS];
    struct random random;
    int64_t now_ms;
    int next_id;
    /* the controller's word */
    int32_t leader, leader_epoch, partition_epoch, isr[REPLICAS], isr_count;
    bool must_tell[REPLICAS];
    /* what was ever below a leader's high watermark */
    int committed[RECORDS];
    int64_t committed_end;
    uint64_t seed;
};

static bool all_live(const void *context, int32_t broker_id)
{
    (void)context;
    (void)broker_id;
    return true;
}
static const struct isr_living living = {all_live, NULL};

static struct follower_log view(const struct replica *replica)
{
    const struct epoch_cache *epochs = &replica->epochs;
    return (struct follower_log){.end_offset = replica->end,
                                 .high_watermark = replica->high,
                                 .latest_epoch =
                                     epochs->count > 0 ? epochs->entries[epochs->count - 1].epoch : -1};
}

static void put(struct replica *replica, struct record record)
{
    assert_true(replica->end < RECORDS);
    if (view(replica).latest_epoch != record.epoch)
        assert_int_equal(epoch_cache_assign(&replica->epochs, record.epoch, replica->end), OK);
    replica->log[replica->end++] = record;
}

static void cut(struct replica *replica, int64_t offset)
{
    epoch_cache_cut_end(&replica->epochs, offset);
    if (offset < replica->end) replica->end = offset;
    if (replica->high > replica->end) replica->high = replica->end;
}

/* --- the controller and its words --- */

static void tell(struct world *world, int i)
{
    struct replica *replica = &world->replicas[i];
    static const int32_t assigned[REPLICAS] = {0, 1, 2};
    world->must_tell[i] = false;
    if (replica->leader_epoch >= world->leader_epoch) return;
    bool leads = world->leader == replica->id;
    if (leads) assert_int_equal(epoch_cache_assign(&replica->epochs, world->leader_epoch, replica->end), OK);
    struct isr_assignment assignment = {.replicas = assigned,
                                        .replica_count = REPLICAS,
                                        .isr = world->isr,
                                        .isr_count = world->isr_count,
                                        .leader_epoch = world->leader_epoch,
                                        .partition_epoch = world->partition_epoch};
    replica->isr.self_id = replica->id;
    assert_int_equal(isr_lead(&replica->isr, &assignment, true, replica->end, world->now_ms), OK);
    replica->leads = leads;
    replica->leader = world->leader;
    replica->leader_epoch = world->leader_epoch;
    replica->has_proposal = false;
    if (leads) return;
    struct follower_log log = view(replica);
    struct follower_step step = follower_begin(&replica->follower, world->leader_epoch, &log, PAUSE_MAX_MS);
    if (step.act == FOLLOWER_CUT) cut(replica, step.offset);
}

static void elect(struct world *world, int32_t leader)
{
    world->leader = leader;
    world->leader_epoch++;
    world->partition_epoch++;
    for (int i = 0; i < REPLICAS; i++) world->must_tell[i] = true;
}

static void judge(struct world *world, struct replica *replica)
{
    replica->has_proposal = false;
    replica->has_verdict = true;
    replica->verdict = (struct isr_answer){.leader_epoch = world->leader_epoch, .isr = replica->verdict_isr};
    if (replica->proposal_leader_epoch < world->leader_epoch) {
        replica->verdict.err = ERR_FENCED_LEADER_EPOCH;
    } else if (replica->proposal_partition_epoch < world->partition_epoch) {
        replica->verdict.err = ERR_INVALID_UPDATE_VERSION;
    } else {
        memcpy(world->isr, replica->proposal, sizeof world->isr);
        world->isr_count = replica->proposal_count;
        world->partition_epoch++;
    }
    memcpy(replica->verdict_isr, world->isr, sizeof world->isr);
    replica->verdict.isr_count = world->isr_count;
    replica->verdict.partition_epoch = world->partition_epoch;
}

/* --- leading --- */

static void advance(struct world *world, struct replica *leader)
{
    int64_t committed =
        isr_committed_offset(&leader->isr, leader->end, leader->end, world->now_ms, LAG_MS, &living);
    if (committed > leader->high) leader->high = committed;
    for (int64_t i = 0; i < leader->high; i++) {
        if (i >= world->committed_end) {
            world->committed[i] = leader->log[i].id;
            world->committed_end = i + 1;
        } else if (world->committed[i] != leader->log[i].id) {
            fail_msg("seed %llu: offset %lld was committed as %d, and now as %d",
                     (unsigned long long)world->seed, (long long)i, world->committed[i], leader->log[i].id);
        }
    }
}

static void send_proposal(struct replica *leader)
{
    leader->has_proposal = true;
    memcpy(leader->proposal, leader->isr.proposed, (size_t)leader->isr.proposed_count * sizeof(int32_t));
    leader->proposal_count = leader->isr.proposed_count;
    leader->proposal_leader_epoch = leader->isr.leader_epoch;
    leader->proposal_partition_epoch = leader->isr.partition_epoch;
}

/* As broker/fetch.c. */
static enum error serve(struct world *world, struct replica *leader, const struct replica *follower,
                        const struct follower_fetch *asked, struct follower_answer *answer)
{
    if (asked->leader_epoch < leader->leader_epoch) return ERR_FENCED_LEADER_EPOCH;
    if (asked->leader_epoch > leader->leader_epoch) return ERR_UNKNOWN_LEADER_EPOCH;
    if (!leader->leads) return ERR_NOT_LEADER_OR_FOLLOWER;
    if (asked->last_fetched_epoch >= 0) {
        struct epoch_end end = epoch_cache_end(&leader->epochs, asked->last_fetched_epoch, leader->end);
        if (end.end_offset < 0) return ERR_OFFSET_OUT_OF_RANGE;
        if (end.epoch < asked->last_fetched_epoch || end.end_offset < asked->offset) {
            answer->diverging = end;
            return OK;
        }
    }
    if (asked->offset > leader->end) return ERR_OFFSET_OUT_OF_RANGE;
    struct isr_fetch fetch = {.broker_id = follower->id, .replica_epoch = -1, .offset = asked->offset};
    assert_int_equal(isr_fetched(&leader->isr, &fetch, leader->end, world->now_ms), OK);
    if (isr_propose_expand(&leader->isr, follower->id, leader->high, &living)) send_proposal(leader);
    advance(world, leader);
    return OK;
}

/* --- following --- */

static void ask(struct world *world, struct replica *follower)
{
    if (follower->leader < 0 || follower->leads || follower->has_answer) return;
    struct replica *leader = &world->replicas[follower->leader];
    struct follower_log log = view(follower);
    if (follower->follower.state == FOLLOWER_FAILED) return;
    if (follower->follower.state != FOLLOWER_FETCHING) {
        bool knows = leader->leads && leader->leader_epoch == follower->leader_epoch;
        bool is_latest = follower->follower.state == FOLLOWER_ASKS_LATEST;
        struct follower_step step =
            follower_told_offset(&follower->follower, &log, knows ? OK : ERR_NOT_LEADER_OR_FOLLOWER,
                                 is_latest ? leader->end : 0, world->now_ms);
        if (step.act == FOLLOWER_CUT) cut(follower, step.offset);
        assert_int_not_equal(step.act, FOLLOWER_START_AT);
        return;
    }
    follower->asked = follower_next(&follower->follower, &log);
    follower->answer = (struct follower_answer){.diverging = {-1, -1}};
    follower->answer.err = serve(world, leader, follower, &follower->asked, &follower->answer);
    follower->answer_count = 0;
    bool has_records = follower->answer.err == OK && follower->answer.diverging.epoch < 0;
    for (int64_t at = follower->asked.offset; has_records && at < leader->end && follower->answer_count < 8;)
        follower->answer_records[follower->answer_count++] = leader->log[at++];
    follower->answer.has_records = follower->answer_count > 0;
    follower->answer_high = leader->high;
    follower->has_answer = true;
}

static void hear(struct world *world, struct replica *follower)
{
    if (!follower->has_answer) return;
    follower->has_answer = false;
    struct follower_log log = view(follower);
    if (follower->leads || !follower_expects(&follower->follower, &log, &follower->asked)) return;
    struct epoch_end own =
        epoch_cache_end(&follower->epochs, follower->answer.diverging.epoch, follower->end);
    struct follower_step step =
        follower_answered(&follower->follower, &log, &follower->answer, own, world->now_ms);
    if (step.act == FOLLOWER_CUT) cut(follower, step.offset);
    if (follower->answer.err != OK || step.act == FOLLOWER_CUT) return;
    for (int i = 0; step.act == FOLLOWER_APPEND && i < follower->answer_count; i++)
        put(follower, follower->answer_records[i]);
    follower->high = follower->answer_high < follower->end ? follower->answer_high : follower->end;
}

static void hear_verdict(struct world *world, struct replica *leader)
{
    if (!leader->has_verdict) return;
    leader->has_verdict = false;
    if (!leader->leads) return;
    enum isr_outcome outcome = isr_answered(&leader->isr, leader->proposal_leader_epoch,
                                            leader->proposal_partition_epoch, &leader->verdict);
    assert_int_not_equal(outcome, ISR_BACK);
    advance(world, leader);
}

static void world_init(struct world *world, uint64_t seed)
{
    *world = (struct world){.leader = -1, .leader_epoch = -1, .isr = {0, 1, 2}, .isr_count = 3, .seed = seed};
    world->now_ms = 1000;
    random_seed(&world->random, seed);
    for (int i = 0; i < REPLICAS; i++) {
        world->replicas[i].id = i;
        world->replicas[i].leader = world->replicas[i].leader_epoch = -1;
    }
    elect(world, 0);
}

static void world_free(struct world *world)
{
    for (int i = 0; i < REPLICAS; i++) {
        epoch_cache_free(&world->replicas[i].epochs);
        isr_free(&world->replicas[i].isr);
    }
}

static void tell_all(struct world *world)
{
    for (int i = 0; i < REPLICAS; i++) tell(world, i);
}

static void append(struct world *world, struct replica *leader)
{
    put(leader, (struct record){leader->leader_epoch, world->next_id++});
    advance(world, leader);
}

static void fetch(struct world *world, struct replica *follower)
{
    ask(world, follower);
    hear(world, follower);
}

/* Everybody hears everything until nothing is new. */
static void settle(struct world *world)
{
    tell_all(world);
    for (int round = 0; round < 400; round++) {
        world->now_ms += 1;
        for (int i = 0; i < REPLICAS; i++) {
            struct replica *replica = &world->replicas[i];
            fetch(world, replica);
            if (replica->has_proposal) judge(world, replica);
            hear_verdict(world, replica);
        }
    }
}

static void assert_equal_logs(struct world *world)
{
    const struct replica *leader = &world->replicas[world->leader];
    for (int i = 0; i < REPLICAS; i++) {
        const struct replica *replica = &world->replicas[i];
        bool is_same = replica->end == leader->end &&
                       memcmp(replica->log, leader->log, (size_t)leader->end * sizeof *leader->log) == 0;
        if (!is_same)
            fail_msg("seed %llu: replica %d ends at %lld, its leader %d at %lld, or differs",
                     (unsigned long long)world->seed, i, (long long)replica->end, world->leader,
                     (long long)leader->end);
    }
    if (world->committed_end > leader->end)
        fail_msg("seed %llu: %lld were committed, the leader has %lld", (unsigned long long)world->seed,
                 (long long)world->committed_end, (long long)leader->end);
    for (int64_t i = 0; i < world->committed_end; i++)
        assert_int_equal(world->committed[i], leader->log[i].id);
}

/* --- chosen cases --- */

static bool does(struct follower_step step, enum follower_act act, int64_t offset)
{
    return step.act == act && (act == FOLLOWER_NOTHING || step.offset == offset);
}

static void answers(void **state)
{
    (void)state;
    static const struct {
        const char *says;
        int32_t latest_epoch;
        struct epoch_end diverging, own; /* the leader's word, and what we know of that epoch */
        bool has_records;
        enum follower_act act;
        int64_t offset;
    } cases[] = {
        {"records are appended", 3, {-1, -1}, {-1, -1}, true, FOLLOWER_APPEND, 10},
        {"no news is good news", 3, {-1, -1}, {-1, -1}, false, FOLLOWER_NOTHING, 0},
        {"the leader's epoch ended before our end", 3, {3, 7}, {3, 10}, false, FOLLOWER_CUT, 7},
        {"we have that epoch, ours ended earlier", 3, {2, 9}, {2, 6}, false, FOLLOWER_CUT, 6},
        {"we do not have it: to the end of ours before it, and again",
         5,
         {4, 9},
         {3, 5},
         false,
         FOLLOWER_CUT,
         5},
        {"nothing to cut but an epoch that wrote nothing", 6, {5, 10}, {5, 10}, false, FOLLOWER_CUT, 10},
        {"all of it", 1, {1, 0}, {1, 10}, false, FOLLOWER_CUT, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct follower follower = {.leader_epoch = 7, .pause_max_ms = PAUSE_MAX_MS};
        struct follower_log log = {0, 10, 8, cases[i].latest_epoch};
        struct follower_answer answer = {OK, cases[i].diverging, cases[i].has_records};
        struct follower_step step = follower_answered(&follower, &log, &answer, cases[i].own, 100);
        bool is_right = does(step, cases[i].act, cases[i].offset) && follower.state == FOLLOWER_FETCHING &&
                        follower.resume_ms <= 100;
        if (!is_right) fail_msg("%s: act %d, offset %lld", cases[i].says, step.act, (long long)step.offset);
    }
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *says;
        enum error err;
        enum follower_state then;
        bool pauses;
    } cases[] = {
        {"out of range", ERR_OFFSET_OUT_OF_RANGE, FOLLOWER_ASKS_LATEST, false},
        {"fenced at our own epoch", ERR_FENCED_LEADER_EPOCH, FOLLOWER_FAILED, false},
        {"it does not know its epoch yet", ERR_UNKNOWN_LEADER_EPOCH, FOLLOWER_FETCHING, true},
        {"nor its role", ERR_NOT_LEADER_OR_FOLLOWER, FOLLOWER_FETCHING, true},
        {"nor the topic", ERR_UNKNOWN_TOPIC_ID, FOLLOWER_FETCHING, true},
    };
    static const struct follower_log log = {0, 10, 8, 3};
    static const struct epoch_end nothing = {-1, -1};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct follower follower = {.leader_epoch = 7, .pause_max_ms = PAUSE_MAX_MS};
        struct follower_answer answer = {cases[i].err, nothing, false};
        struct follower_step step = follower_answered(&follower, &log, &answer, nothing, 100);
        bool is_right = step.act == FOLLOWER_NOTHING && follower.state == cases[i].then &&
                        (follower.resume_ms > 100) == cases[i].pauses;
        if (!is_right) fail_msg("%s: act %d, state %d", cases[i].says, step.act, follower.state);
    }
}

static void offsets(void **state)
{
    (void)state;
    static const struct {
        const char *says;
        enum follower_state asked;
        int64_t offset;
        enum error err;
        enum follower_act act;
        enum follower_state then;
    } cases[] = {
        {"the leader ends before us", FOLLOWER_ASKS_LATEST, 5, OK, FOLLOWER_CUT, FOLLOWER_FETCHING},
        {"it ends where we do", FOLLOWER_ASKS_LATEST, 10, OK, FOLLOWER_NOTHING, FOLLOWER_ASKS_EARLIEST},
        {"it begins after our end", FOLLOWER_ASKS_EARLIEST, 30, OK, FOLLOWER_START_AT, FOLLOWER_FETCHING},
        {"it begins before", FOLLOWER_ASKS_EARLIEST, 3, OK, FOLLOWER_NOTHING, FOLLOWER_FETCHING},
        {"it leads no more", FOLLOWER_ASKS_LATEST, -1, ERR_NOT_LEADER_OR_FOLLOWER, FOLLOWER_NOTHING,
         FOLLOWER_FETCHING},
        {"fenced", FOLLOWER_ASKS_LATEST, -1, ERR_FENCED_LEADER_EPOCH, FOLLOWER_NOTHING, FOLLOWER_FAILED},
    };
    static const struct follower_log log = {0, 10, 8, 3};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct follower follower = {.state = cases[i].asked, .pause_max_ms = PAUSE_MAX_MS};
        struct follower_step step = follower_told_offset(&follower, &log, cases[i].err, cases[i].offset, 100);
        if (step.act != cases[i].act || follower.state != cases[i].then)
            fail_msg("%s: act %d, state %d", cases[i].says, step.act, follower.state);
    }
}

static void pauses_grow_to_their_limit(void **state)
{
    (void)state;
    struct follower follower = {.pause_max_ms = 100};
    int64_t last = 0;
    for (int i = 0; i < 8; i++) {
        follower_pause(&follower, 1000);
        assert_true(follower.resume_ms - 1000 >= last && follower.resume_ms - 1000 <= 100);
        last = follower.resume_ms - 1000;
    }
    assert_int_equal(last, 100);
    assert_false(follower_may_fetch(&follower, 1099));
    assert_true(follower_may_fetch(&follower, 1100));
    follower_went_on(&follower);
    assert_true(follower_may_fetch(&follower, 0));
}

static void without_epochs_the_high_watermark_is_all_it_knows(void **state)
{
    (void)state;
    struct follower follower;
    struct follower_log log = {0, 10, 4, -1};
    struct follower_step step = follower_begin(&follower, 1, &log, PAUSE_MAX_MS);
    assert_int_equal(step.act, FOLLOWER_CUT);
    assert_int_equal(step.offset, 4);
    log.latest_epoch = 0;
    assert_int_equal(follower_begin(&follower, 1, &log, PAUSE_MAX_MS).act, FOLLOWER_NOTHING);
}

static void an_answer_of_another_epoch_is_dropped(void **state)
{
    (void)state; /* KAFKA-7786, KAFKA-10554 */
    struct follower follower;
    struct follower_log log = {0, 10, 4, 0};
    assert_int_equal(follower_begin(&follower, 1, &log, PAUSE_MAX_MS).act, FOLLOWER_NOTHING);
    struct follower_fetch asked = follower_next(&follower, &log);
    assert_true(follower_expects(&follower, &log, &asked));
    struct follower_log cut_meanwhile = {0, 9, 4, 0};
    assert_false(follower_expects(&follower, &cut_meanwhile, &asked));
    assert_int_equal(follower_begin(&follower, 2, &log, PAUSE_MAX_MS).act, FOLLOWER_NOTHING);
    assert_false(follower_expects(&follower, &log, &asked));
}

/* --- plays --- */

/* KIP-101, first scenario: a follower that has a committed record but does not know that it is committed leads next. */
static void what_was_committed_survives_a_follower_that_did_not_know(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0);
    world.isr_count = 2;
    tell_all(&world);
    struct replica *a = &world.replicas[0], *b = &world.replicas[1];
    append(&world, a);
    append(&world, a);
    fetch(&world, b);
    fetch(&world, b); /* acknowledges; b's own high watermark is told only now */
    ask(&world, b);   /* the answer never comes */
    assert_int_equal(a->high, 2);
    b->high = 1;
    b->has_answer = false;
    elect(&world, 1); /* b restarts and leads at once */
    tell(&world, 1);
    assert_int_equal(b->end, 2); /* not cut to its high watermark */
    settle(&world);
    assert_equal_logs(&world);
    world_free(&world);
}

/* KIP-101, second scenario: two replicas wrote different records at the same offset. */
static void two_stories_at_one_offset_become_one(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0);
    tell_all(&world);
    struct replica *a = &world.replicas[0], *b = &world.replicas[1];
    append(&world, a);
    fetch(&world, b);
    fetch(&world, b);
    append(&world, a); /* on a alone */
    elect(&world, 1);
    tell(&world, 1);
    append(&world, b); /* another record at the same offset */
    settle(&world);
    assert_equal_logs(&world);
    assert_int_equal(a->log[1].epoch, 1);
    world_free(&world);
}

/* KIP-279: two fast fail-overs; the leader has no entry for the follower's epoch. */
static void after_two_fast_failovers_histories_meet(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0);
    tell_all(&world);
    struct replica *a = &world.replicas[0], *b = &world.replicas[1];
    append(&world, a);
    fetch(&world, b);
    elect(&world, 1);
    tell(&world, 1);
    append(&world, b);
    append(&world, b); /* epoch 1, on b alone */
    elect(&world, 0);
    tell(&world, 0);
    append(&world, a);
    append(&world, a);
    append(&world, a); /* epoch 2 at the same offsets */
    settle(&world);
    assert_equal_logs(&world);
    assert_int_equal(b->log[1].epoch, 2);
    world_free(&world);
}

/* Unclean: a leader whose history is {epoch 3 -> 0}; the other one has epoch 1 to offset 10. */
static void an_old_leader_gives_up_all_it_has_to_an_unclean_one(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0);
    tell_all(&world);
    for (int i = 0; i < 10; i++) append(&world, &world.replicas[0]);
    world.committed_end = 0; /* an unclean election loses what it loses */
    elect(&world, 2);
    world.isr[0] = 2;
    world.isr_count = 1;
    settle(&world);
    assert_int_equal(world.replicas[0].end, 0);
    assert_equal_logs(&world);
    world_free(&world);
}

/* --- lives --- */

static void live(uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world_init(world, seed);
    tell_all(world);
    for (int step = 0; step < 600; step++) {
        struct replica *replica = &world->replicas[random_below(&world->random, REPLICAS)];
        world->now_ms += (int64_t)random_below(&world->random, 4);
        switch (random_below(&world->random, 12)) {
        case 0:
        case 1:
        case 2:
            if (replica->leads && replica->end < RECORDS / 2) append(world, replica);
            break;
        case 3:
        case 4:
        case 5: ask(world, replica); break;
        case 6:
        case 7: hear(world, replica); break;
        case 8:
            if (world->must_tell[replica->id]) tell(world, replica->id);
            break;
        case 9:
            if (replica->has_proposal)
                judge(world, replica);
            else
                hear_verdict(world, replica);
            break;
        case 10:
            if (random_below(&world->random, 8) == 0)
                elect(world, world->isr[random_below(&world->random, (uint64_t)world->isr_count)]);
            break;
        case 11:
            if (replica->leads &&
                isr_propose_shrink(&replica->isr, replica->end, world->now_ms, LAG_MS, &living))
                send_proposal(replica);
            break;
        }
    }
    settle(world);
    /* Who gave up, or stands between two words of the controller, hears one more. */
    elect(world, world->leader);
    settle(world);
    assert_equal_logs(world);
    world_free(world);
    free(world);
}

static void committed_records_stay(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1500; seed++) live(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(refusals),
        cmocka_unit_test(offsets),
        cmocka_unit_test(pauses_grow_to_their_limit),
        cmocka_unit_test(without_epochs_the_high_watermark_is_all_it_knows),
        cmocka_unit_test(an_answer_of_another_epoch_is_dropped),
        cmocka_unit_test(what_was_committed_survives_a_follower_that_did_not_know),
        cmocka_unit_test(two_stories_at_one_offset_become_one),
        cmocka_unit_test(after_two_fast_failovers_histories_meet),
        cmocka_unit_test(an_old_leader_gives_up_all_it_has_to_an_unclean_one),
        cmocka_unit_test(committed_records_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
