/* balance_test.c: chosen clusters first, then random ones: whatever the cluster, the plan keeps its promises. */
#include "cli/balance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/test.h"

enum { MOST_BROKERS = 12, MOST_PARTITIONS = 60, MOST_REPLICAS = 5 };

struct cluster {
    struct balance_broker brokers[MOST_BROKERS];
    struct balance_partition partitions[MOST_PARTITIONS];
    int32_t replicas[MOST_PARTITIONS][MOST_REPLICAS];
    struct balance balance;
    struct arena arena;
};

static void cluster_new(struct cluster *cluster, size_t brokers)
{
    memset(cluster, 0, sizeof *cluster);
    arena_init(&cluster->arena, 0);
    cluster->balance.brokers = cluster->brokers;
    cluster->balance.broker_count = brokers;
    cluster->balance.partitions = cluster->partitions;
    cluster->balance.target = -1;
}

static void add_partition(struct cluster *cluster, const char *replicas, int64_t bytes)
{
    size_t p = cluster->balance.partition_count++;
    struct balance_partition *partition = &cluster->partitions[p];
    partition->before = cluster->replicas[p];
    for (; replicas[partition->before_count]; partition->before_count++)
        cluster->replicas[p][partition->before_count] = replicas[partition->before_count] - '0';
    partition->wanted_count = partition->before_count;
    partition->bytes = bytes;
}

static void assert_after(const struct cluster *cluster, size_t p, const char *replicas)
{
    char text[MOST_REPLICAS + 1] = "";
    for (int32_t i = 0; i < cluster->partitions[p].after_count; i++)
        text[i] = (char)('0' + cluster->partitions[p].after[i]);
    assert_string_equal(text, replicas);
}

static void a_good_spread_stays(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster, 3);
    add_partition(&cluster, "01", 100);
    add_partition(&cluster, "12", 100);
    add_partition(&cluster, "20", 100);
    assert_int_equal(balance_plan(&cluster.balance, &cluster.arena), OK);
    assert_int_equal(cluster.balance.changed, 0);
    arena_free(&cluster.arena);
}

static void a_new_broker_gets_its_share_of_small_ones(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster, 3);
    add_partition(&cluster, "01", 100);
    add_partition(&cluster, "10", 1);
    add_partition(&cluster, "01", 2);
    assert_int_equal(balance_plan(&cluster.balance, &cluster.arena), OK);
    for (int b = 0; b < 3; b++) {
        assert_int_equal(cluster.brokers[b].replicas_after, 2);
        assert_int_equal(cluster.brokers[b].leaders_after, 1);
    }
    assert_int_equal(cluster.balance.moved_bytes, 3);
    assert_int_equal(cluster.balance.moved_replicas, 2);
    arena_free(&cluster.arena);
}

static void leaders_alone_move_no_bytes(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster, 3);
    add_partition(&cluster, "01", 100); /* 0 leads all; 2 can be reached only through 1 */
    add_partition(&cluster, "01", 100);
    add_partition(&cluster, "12", 100);
    cluster.balance.scope = BALANCE_LEADERS;
    assert_int_equal(balance_plan(&cluster.balance, &cluster.arena), OK);
    assert_int_equal(cluster.balance.moved_bytes, 0);
    for (int b = 0; b < 3; b++) assert_int_equal(cluster.brokers[b].leaders_after, 1);
    arena_free(&cluster.arena);
}

static void draining_touches_only_what_it_must(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster, 4);
    add_partition(&cluster, "01", 100);
    add_partition(&cluster, "12", 100);
    add_partition(&cluster, "12", 100);
    add_partition(&cluster, "20", 100);
    cluster.brokers[0].role = BALANCE_EMPTIES;
    cluster.balance.is_only_necessary = true;
    assert_int_equal(balance_plan(&cluster.balance, &cluster.arena), OK);
    assert_after(&cluster, 1, "12");
    assert_after(&cluster, 2, "12");
    assert_int_equal(cluster.brokers[0].replicas_after, 0);
    assert_int_equal(cluster.brokers[3].replicas_after, 2);
    assert_int_equal(cluster.brokers[3].leaders_after, 1);
    assert_int_equal(cluster.balance.moved_bytes, 200);
    arena_free(&cluster.arena);
}

static void draining_leaders_only(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster, 3);
    add_partition(&cluster, "012", 100);
    add_partition(&cluster, "102", 100);
    add_partition(&cluster, "021", 100);
    cluster.brokers[0].role = BALANCE_EMPTIES;
    cluster.balance.is_only_necessary = true;
    cluster.balance.scope = BALANCE_LEADERS;
    assert_int_equal(balance_plan(&cluster.balance, &cluster.arena), OK);
    assert_int_equal(cluster.brokers[0].leaders_after, 0);
    assert_int_equal(cluster.balance.moved_replicas, 0);
    arena_free(&cluster.arena);
}

static void draining_needs_room(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster, 3);
    add_partition(&cluster, "12", 100);
    add_partition(&cluster, "012", 100);
    cluster.brokers[0].role = BALANCE_EMPTIES;
    cluster.balance.is_only_necessary = true;
    assert_int_equal(balance_plan(&cluster.balance, &cluster.arena), ERR_LIMIT);
    assert_int_equal(cluster.balance.impossible, 1);
    arena_free(&cluster.arena);
}

static void more_and_fewer_replicas(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster, 4);
    for (int b = 0; b < 4; b++) cluster.brokers[b].rack = b / 2;
    add_partition(&cluster, "0", 100);
    add_partition(&cluster, "012", 100);
    cluster.partitions[0].wanted_count = 3;
    cluster.partitions[1].wanted_count = 2;
    cluster.balance.is_only_necessary = true;
    assert_int_equal(balance_plan(&cluster.balance, &cluster.arena), OK);
    assert_int_equal(cluster.partitions[0].after_count, 3);
    assert_int_equal(cluster.partitions[1].after_count, 2);
    assert_int_equal(cluster.brokers[cluster.partitions[1].after[0]].rack +
                         cluster.brokers[cluster.partitions[1].after[1]].rack,
                     1);
    arena_free(&cluster.arena);
}

/* --- random clusters --- */

static int32_t racks_uneven(const struct cluster *cluster, const int32_t *replicas, int32_t count)
{
    int32_t squares = 0;
    for (int32_t i = 0; i < count; i++) {
        for (int32_t j = 0; j < count; j++)
            squares += cluster->brokers[replicas[i]].rack == cluster->brokers[replicas[j]].rack;
    }
    return squares;
}

static void random_cluster(struct cluster *cluster, struct random *random)
{
    size_t brokers = 1 + random_below(random, MOST_BROKERS), racks = 1 + random_below(random, 4);
    cluster_new(cluster, brokers);
    for (size_t b = 0; b < brokers; b++) {
        cluster->brokers[b].rack = (int32_t)random_below(random, racks);
        if (random_below(random, 12) == 0) cluster->brokers[b].role = BALANCE_KEEPS;
        if (random_below(random, 12) == 0) cluster->brokers[b].role = BALANCE_EMPTIES;
    }
    cluster->balance.is_only_necessary = random_below(random, 4) == 0;
    if (random_below(random, 4) == 0) cluster->balance.scope = BALANCE_LEADERS;
    if (random_below(random, 6) == 0) {
        cluster->balance.scope = BALANCE_ONE_BROKER;
        cluster->balance.target = (int32_t)random_below(random, brokers);
    }
    cluster->balance.partition_count = random_below(random, MOST_PARTITIONS + 1);
    size_t crowd = 1 + random_below(random, brokers); /* the brokers in use so far */
    for (size_t p = 0; p < cluster->balance.partition_count; p++) {
        struct balance_partition *partition = &cluster->partitions[p];
        partition->before = cluster->replicas[p];
        partition->before_count =
            1 + (int32_t)random_below(random, crowd < MOST_REPLICAS ? crowd : MOST_REPLICAS);
        for (int32_t i = 0; i < partition->before_count; i++) {
            bool is_taken = true;
            while (is_taken) {
                cluster->replicas[p][i] = (int32_t)random_below(random, crowd);
                is_taken = false;
                for (int32_t j = 0; j < i; j++)
                    is_taken = is_taken || cluster->replicas[p][j] == cluster->replicas[p][i];
            }
        }
        partition->wanted_count = partition->before_count;
        partition->bytes = (int64_t)random_below(random, 1000);
        partition->is_fixed = random_below(random, 20) == 0;
    }
}

static void check_plan(const struct cluster *cluster, uint64_t seed)
{
    const struct balance *balance = &cluster->balance;
    bool moves_replicas = balance->scope != BALANCE_LEADERS;
    int64_t bytes = 0;
    for (size_t p = 0; p < balance->partition_count; p++) {
        const struct balance_partition *partition = &cluster->partitions[p];
        if (partition->after_count != partition->wanted_count)
            fail_msg("seed %llu: replicas lost", (unsigned long long)seed);
        if (partition->is_fixed && balance_is_changed(partition))
            fail_msg("seed %llu: fixed, but moved", (unsigned long long)seed);
        bool is_touched = false, must_go = false;
        for (int32_t i = 0; i < partition->after_count; i++) {
            int32_t broker = partition->after[i];
            bool is_new = true;
            for (int32_t j = 0; j < partition->before_count; j++)
                is_new = is_new && partition->before[j] != broker;
            for (int32_t j = 0; j < i; j++)
                if (partition->after[j] == broker)
                    fail_msg("seed %llu: twice on a broker", (unsigned long long)seed);
            is_touched = is_touched || is_new;
            bytes += is_new ? partition->bytes : 0;
            enum balance_role role = cluster->brokers[broker].role;
            if (is_new && role != BALANCE_TAKES)
                fail_msg("seed %llu: placed on %d", (unsigned long long)seed, (int)broker);
            if (!partition->is_fixed && moves_replicas && role == BALANCE_EMPTIES)
                fail_msg("seed %llu: left on %d", (unsigned long long)seed, (int)broker);
            if (cluster->brokers[partition->before[i]].role == BALANCE_KEEPS) {
                bool is_kept = false;
                for (int32_t j = 0; j < partition->after_count; j++)
                    is_kept = is_kept || partition->after[j] == partition->before[i];
                if (!is_kept) fail_msg("seed %llu: taken from a broker that keeps", (unsigned long long)seed);
            }
            must_go = must_go || cluster->brokers[partition->before[i]].role == BALANCE_EMPTIES;
        }
        if (is_touched && !moves_replicas) fail_msg("seed %llu: leaders only", (unsigned long long)seed);
        if (balance_is_changed(partition) && balance->is_only_necessary && !must_go)
            fail_msg("seed %llu: moved without need", (unsigned long long)seed);
        if (!must_go && racks_uneven(cluster, partition->after, partition->after_count) >
                            racks_uneven(cluster, partition->before, partition->before_count)) {
            fail_msg("seed %llu: racks more crowded than before", (unsigned long long)seed);
        }
    }
    if (bytes != balance->moved_bytes) fail_msg("seed %llu: bytes", (unsigned long long)seed);
}

/* With one rack, every broker taking and nothing fixed, brokers end within one replica of each other, and so do leaders
 * where replicas are spread. */
static void check_even(const struct cluster *cluster, uint64_t seed)
{
    const struct balance *balance = &cluster->balance;
    if (balance->scope != BALANCE_ALL || balance->is_only_necessary) return;
    for (size_t p = 0; p < balance->partition_count; p++)
        if (cluster->partitions[p].is_fixed) return;
    int32_t fewest = INT32_MAX, most = 0;
    for (size_t b = 0; b < balance->broker_count; b++) {
        if (cluster->brokers[b].rack != cluster->brokers[0].rack || cluster->brokers[b].role != BALANCE_TAKES)
            return;
        if (cluster->brokers[b].replicas_after < fewest) fewest = cluster->brokers[b].replicas_after;
        if (cluster->brokers[b].replicas_after > most) most = cluster->brokers[b].replicas_after;
    }
    if (most > fewest + 1)
        fail_msg("seed %llu: %d to %d replicas", (unsigned long long)seed, (int)fewest, (int)most);
}

/* Carried out, a plan leaves nothing to plan. */
static void check_again(struct cluster *cluster, uint64_t seed)
{
    if (cluster->balance.scope == BALANCE_LEADERS)
        return; /* brokers that empty would still hold replicas: same scope */
    struct cluster again;
    cluster_new(&again, cluster->balance.broker_count);
    memcpy(again.brokers, cluster->brokers, sizeof again.brokers);
    again.balance.scope = cluster->balance.scope;
    again.balance.target = cluster->balance.target;
    again.balance.is_only_necessary = cluster->balance.is_only_necessary;
    again.balance.partition_count = cluster->balance.partition_count;
    for (size_t p = 0; p < again.balance.partition_count; p++) {
        again.partitions[p] = cluster->partitions[p];
        again.partitions[p].before = cluster->partitions[p].after;
        again.partitions[p].before_count = cluster->partitions[p].after_count;
    }
    assert_int_equal(balance_plan(&again.balance, &again.arena), OK);
    if (again.balance.changed)
        fail_msg("seed %llu: %zu more to do", (unsigned long long)seed, again.balance.changed);
    arena_free(&again.arena);
}

static void random_clusters(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct cluster cluster;
        random_cluster(&cluster, &random);
        enum error err = balance_plan(&cluster.balance, &cluster.arena);
        if (err == OK) {
            check_plan(&cluster, seed);
            check_even(&cluster, seed);
            check_again(&cluster, seed);
        } else {
            assert_int_equal(err, ERR_LIMIT);
        }
        arena_free(&cluster.arena);
    }
}

/* Every way to place single replicas of four partitions on three brokers: none that is even moves fewer bytes. */
static void fewest_bytes_of_single_replicas(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct cluster cluster;
        cluster_new(&cluster, 3);
        for (int p = 0; p < 4; p++) {
            char replica[2] = {(char)('0' + random_below(&random, 3)), 0};
            add_partition(&cluster, replica, (int64_t)random_below(&random, 100));
        }
        assert_int_equal(balance_plan(&cluster.balance, &cluster.arena), OK);
        int64_t best = INT64_MAX;
        for (int way = 0; way < 81; way++) {
            int counts[3] = {0}, rest = way;
            int64_t bytes = 0;
            for (int p = 0; p < 4; p++, rest /= 3) {
                counts[rest % 3]++;
                if (rest % 3 != cluster.replicas[p][0]) bytes += cluster.partitions[p].bytes;
            }
            bool is_even = true;
            for (int b = 0; b < 3; b++) is_even = is_even && counts[b] >= 1 && counts[b] <= 2;
            if (is_even && bytes < best) best = bytes;
        }
        if (cluster.balance.moved_bytes != best)
            fail_msg("seed %llu: %lld bytes, not %lld", (unsigned long long)seed,
                     (long long)cluster.balance.moved_bytes, (long long)best);
        arena_free(&cluster.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_spread_stays),
        cmocka_unit_test(a_new_broker_gets_its_share_of_small_ones),
        cmocka_unit_test(leaders_alone_move_no_bytes),
        cmocka_unit_test(draining_touches_only_what_it_must),
        cmocka_unit_test(draining_leaders_only),
        cmocka_unit_test(draining_needs_room),
        cmocka_unit_test(more_and_fewer_replicas),
        cmocka_unit_test(random_clusters),
        cmocka_unit_test(fewest_bytes_of_single_replicas),
    };
    return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
