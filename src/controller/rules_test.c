/* The pure rules: who leads, where replicas go, what a topic may be called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "controller/controller.h"
#include "controller/election.h"
#include "controller/placement.h"

static struct int32_list list_of(const char *digits, int32_t out[8])
{
    size_t count = strlen(digits);
    for (size_t i = 0; i < count; i++) out[i] = digits[i] - '0';
    return (struct int32_list){out, count};
}

static void each_election_takes_whom_it_should(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        enum election kind;
        const char *replicas, *isr, *live, *leaving, *target;
        int leader; /* -1 = nobody */
        const char *want_isr;
        bool is_recovering;
    } rows[] = {
        {"the first assigned that is in sync and lives", ELECT_OFFLINE, "123", "123", "23", "", "", 2, "23",
         false},
        {"order of assignment, not of the ISR", ELECT_OFFLINE, "321", "123", "123", "", "", 3, "123", false},
        {"alive but not in sync is not enough", ELECT_OFFLINE, "123", "1", "23", "", "", -1, "", false},
        {"unless unclean is allowed", ELECT_UNCLEAN, "123", "1", "23", "", "", 2, "2", true},
        {"which still prefers a clean one", ELECT_UNCLEAN, "123", "3", "23", "", "", 3, "3", false},
        {"one of ours that is left alone says so itself", ELECT_OFFLINE, "567", "567", "6", "", "", 6, "567",
         false},
        {"among two nobody is alone", ELECT_OFFLINE, "567", "567", "67", "", "", 6, "67", false},
        {"ours were alone before", ELECT_OFFLINE, "567", "6", "67", "", "", 6, "6", false},
        {"nobody lives", ELECT_UNCLEAN, "123", "1", "", "", "", -1, "", false},
        {"preferred: the first, in sync and alive", ELECT_PREFERRED, "123", "321", "123", "", "", 1, "321",
         false},
        {"preferred: the first is not in sync", ELECT_PREFERRED, "123", "32", "123", "", "", -1, "", false},
        {"preferred: the first is away", ELECT_PREFERRED, "123", "123", "23", "", "", -1, "", false},
        {"reassignment: the first of the target", ELECT_REASSIGNMENT, "1234", "1234", "1234", "", "43", 4,
         "1234", false},
        {"reassignment: none of the target in sync", ELECT_REASSIGNMENT, "1234", "12", "1234", "", "43", -1,
         "", false},
        {"shutdown: who leaves is neither led by nor in sync", ELECT_CONTROLLED_SHUTDOWN, "123", "123", "23",
         "1", "", 2, "23", false},
        {"shutdown: one of ours is not left alone", ELECT_CONTROLLED_SHUTDOWN, "56", "56", "6", "5", "", 6,
         "56", false},
        {"shutdown: nobody to hand over to", ELECT_CONTROLLED_SHUTDOWN, "12", "1", "2", "1", "", -1, "",
         false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t a[8], b[8], c[8], d[8], e[8], isr[9], want[8];
        int32_t ours[8];
        struct candidates candidates = {list_of(rows[i].replicas, a), list_of(rows[i].isr, b),
                                        list_of(rows[i].live, c),     list_of(rows[i].leaving, d),
                                        list_of(rows[i].target, e),   list_of("567", ours)};
        struct elected elected = {.leader = -1, .isr = isr};
        bool is_found = elect_leader(rows[i].kind, &candidates, &elected);
        struct int32_list wanted = list_of(rows[i].want_isr, want);
        bool is_right = is_found == (rows[i].leader >= 0) && elected.leader == rows[i].leader &&
                        (!is_found || (elected.isr_count == wanted.count &&
                                       elected.is_recovering == rows[i].is_recovering &&
                                       memcmp(isr, want, wanted.count * sizeof *isr) == 0));
        if (!is_right) fail_msg("%s", rows[i].why);
    }
}

/* Placed by hand from the rule: 5 brokers, start 0, shift 0. */
static void placement_follows_kafkas_rule(void **state)
{
    (void)state;
    static const int32_t want[10][3] = {{0, 1, 2}, {1, 2, 3}, {2, 3, 4}, {3, 4, 0}, {4, 0, 1},
                                        {0, 2, 3}, {1, 3, 4}, {2, 4, 0}, {3, 0, 1}, {4, 1, 2}};
    struct placement_broker brokers[5];
    int32_t got[10][3];
    for (int i = 0; i < 5; i++) brokers[i] = (struct placement_broker){i, SLICE_NULL};
    struct placement placement = {
        .brokers = brokers, .broker_count = 5, .replication_factor = 3, .partition_count = 10};
    assert_int_equal(place_replicas(&placement, &got[0][0]), OK);
    assert_memory_equal(got, want, sizeof want);
}

static void placement_is_even_and_spread_over_racks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct random random;
        random_seed(&random, seed);
        enum { MOST = 12 };
        struct placement_broker brokers[MOST];
        char racks[4][4] = {"r0", "r1", "r2", "r3"};
        size_t count = 1 + random_below(&random, MOST), rack_count = 1 + random_below(&random, 4);
        bool has_racks = random_below(&random, 2);
        size_t in_rack[4] = {0}, used_racks = 0;
        for (size_t i = 0; i < count; i++) {
            size_t rack = random_below(&random, rack_count);
            used_racks += has_racks && in_rack[rack]++ == 0;
            brokers[i] =
                (struct placement_broker){(int32_t)(i * 10), has_racks ? slice_of(racks[rack]) : SLICE_NULL};
        }
        int32_t rf = 1 + (int32_t)random_below(&random, count),
                partitions = 1 + (int32_t)random_below(&random, 60);
        struct placement placement = {.brokers = brokers,
                                      .broker_count = count,
                                      .replication_factor = rf,
                                      .partition_count = partitions,
                                      .start = (uint32_t)random_next(&random),
                                      .shift = (uint32_t)random_next(&random) >> 1};
        int32_t *out = malloc((size_t)(rf * partitions) * sizeof *out);
        assert_int_equal(place_replicas(&placement, out), OK);
        int led[MOST] = {0};
        for (int32_t p = 0; p < partitions; p++) {
            size_t racks_here = 0;
            bool has[4] = {0};
            led[out[p * rf] / 10]++;
            for (int32_t r = 0; r < rf; r++) {
                for (int32_t q = 0; q < r; q++) assert_int_not_equal(out[p * rf + q], out[p * rf + r]);
                for (size_t k = 0; has_racks && k < 4; k++) {
                    if (has[k] || !slice_is(brokers[out[p * rf + r] / 10].rack, racks[k])) continue;
                    has[k] = true;
                    racks_here++;
                }
            }
            if (has_racks) assert_int_equal(racks_here, (size_t)rf < used_racks ? (size_t)rf : used_racks);
        }
        for (size_t i = 0; i < count; i++) /* leaders differ by one at most */
            if (led[i] < partitions / (int)count || led[i] > partitions / (int)count + 1)
                fail_msg("seed %llu: broker %zu leads %d of %d", (unsigned long long)seed, i, led[i],
                         partitions);
        free(out);
    }
}

static void impossible_placements_are_refused(void **state)
{
    (void)state;
    struct placement_broker brokers[] = {{1, SLICE("a")}, {2, SLICE_NULL}};
    int32_t out[4];
    struct placement placement = {
        .brokers = brokers, .broker_count = 2, .replication_factor = 1, .partition_count = 1};
    assert_int_equal(place_replicas(&placement, out), ERR_UNKNOWN_SERVER_ERROR);
    placement.replication_factor = 3;
    assert_int_equal(place_replicas(&placement, out), ERR_INVALID_REPLICATION_FACTOR);
    placement.partition_count = 0;
    assert_int_equal(place_replicas(&placement, out), ERR_INVALID_PARTITIONS);
}

static void topic_names_are_judged(void **state)
{
    (void)state;
    char long_name[251];
    memset(long_name, 'x', sizeof long_name);
    long_name[250] = 0;
    static const char *const good[] = {"a", "A.b_c-9", "...", "__consumer_offsets"};
    static const char *const bad[] = {"", ".", "..", "a b", "a/b", "\xc3\xa4", "a\n", "a:b"};
    const char *why;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(topic_name_check(slice_of(good[i]), NULL), OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(topic_name_check(slice_of(bad[i]), &why), ERR_INVALID_TOPIC_EXCEPTION);
        assert_non_null(why);
    }
    assert_int_equal(topic_name_check(slice_of(long_name), NULL), ERR_INVALID_TOPIC_EXCEPTION);
    assert_int_equal(topic_name_check(slice_of(long_name + 1), NULL), OK);
    assert_int_equal(topic_name_check(SLICE_NULL, NULL), ERR_INVALID_TOPIC_EXCEPTION);
    assert_true(topic_is_internal(SLICE("__consumer_offsets")));
    assert_false(topic_is_internal(SLICE("__mine")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_election_takes_whom_it_should),
        cmocka_unit_test(placement_follows_kafkas_rule),
        cmocka_unit_test(placement_is_even_and_spread_over_racks),
        cmocka_unit_test(impossible_placements_are_refused),
        cmocka_unit_test(topic_names_are_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
