#include "cli/balance.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool has(const struct balance_partition *partition, int32_t broker)
{
    for (int32_t i = 0; i < partition->after_count; i++) {
        if (partition->after[i] == broker) return true;
    }
    return false;
}

static bool had(const struct balance_partition *partition, int32_t broker)
{
    for (int32_t i = 0; i < partition->before_count; i++) {
        if (partition->before[i] == broker) return true;
    }
    return false;
}

bool balance_is_changed(const struct balance_partition *partition)
{
    return partition->after_count != partition->before_count ||
           memcmp(partition->after, partition->before, (size_t)partition->after_count * sizeof(int32_t)) != 0;
}

static int32_t in_rack(const struct balance *balance, const struct balance_partition *partition, int32_t rack)
{
    int32_t count = 0;
    for (int32_t i = 0; i < partition->after_count; i++)
        count += balance->brokers[partition->after[i]].rack == rack;
    return count;
}

static bool is_open(const struct balance *balance, int32_t broker)
{
    if (balance->scope == BALANCE_ONE_BROKER && broker != balance->target) return false;
    return balance->brokers[broker].role == BALANCE_TAKES;
}

static void put(struct balance *balance, struct balance_partition *partition, int32_t at, int32_t broker)
{
    balance->brokers[partition->after[at]].replicas_after--;
    balance->brokers[broker].replicas_after++;
    partition->after[at] = broker;
}

/* May this partition be changed at all for the sake of a better spread? */
static bool is_free(const struct balance *balance, const struct balance_partition *partition)
{
    if (partition->is_fixed) return false;
    if (!balance->is_only_necessary) return true;
    if (partition->before_count != partition->wanted_count) return true;
    for (int32_t i = 0; i < partition->before_count; i++) {
        if (balance->brokers[partition->before[i]].role == BALANCE_EMPTIES) return true;
    }
    return false;
}

/* --- what must be: replicas off brokers that empty, and as many as are wanted --- */

/* The broker to get one more replica: in the rack with fewest of this partition, then the one with fewest of all. A replica
 * that is `leaving` (-1: none) does not count for its rack. -1: no broker. */
static int32_t best_taker(const struct balance *balance, const struct balance_partition *partition,
                          int32_t leaving)
{
    int32_t best = -1, best_rack = 0;
    for (int32_t b = 0; b < (int32_t)balance->broker_count; b++) {
        const struct balance_broker *broker = &balance->brokers[b];
        if (broker->role != BALANCE_TAKES || has(partition, b)) continue;
        int32_t rack = in_rack(balance, partition, broker->rack);
        if (leaving >= 0 && balance->brokers[leaving].rack == broker->rack) rack--;
        bool is_better =
            best < 0 || rack < best_rack ||
            (rack == best_rack && broker->replicas_after < balance->brokers[best].replicas_after);
        if (!is_better) continue;
        best = b;
        best_rack = rack;
    }
    return best;
}

/* The replica to go when there are too many: on a broker that gives everything away, then in the fullest rack, then on the
 * fullest broker; of equals the last, so that the preferred leader stays. */
static int32_t worst_replica(const struct balance *balance, const struct balance_partition *partition)
{
    int32_t worst = partition->after_count - 1;
    int64_t worst_score = -1;
    for (int32_t i = partition->after_count - 1; i >= 0; i--) {
        const struct balance_broker *broker = &balance->brokers[partition->after[i]];
        int64_t score =
            (int64_t)in_rack(balance, partition, broker->rack) << 32 | (uint32_t)broker->replicas_after;
        if (broker->role != BALANCE_TAKES) score += (int64_t)broker->role << 48;
        if (score <= worst_score) continue;
        worst = i;
        worst_score = score;
    }
    return worst;
}

static bool meet_needs(struct balance *balance, struct balance_partition *partition)
{
    if (partition->is_fixed) return true;
    while (partition->after_count > partition->wanted_count) {
        int32_t at = worst_replica(balance, partition);
        balance->brokers[partition->after[at]].replicas_after--;
        memmove(partition->after + at, partition->after + at + 1,
                (size_t)(partition->after_count - at - 1) * sizeof(int32_t));
        partition->after_count--;
    }
    for (int32_t i = 0; i < partition->after_count; i++) {
        if (balance->brokers[partition->after[i]].role != BALANCE_EMPTIES) continue;
        int32_t taker = best_taker(balance, partition, partition->after[i]);
        if (taker < 0) return false;
        put(balance, partition, i, taker);
    }
    while (partition->after_count < partition->wanted_count) {
        int32_t taker = best_taker(balance, partition, -1);
        if (taker < 0) return false;
        partition->after[partition->after_count++] = taker;
        balance->brokers[taker].replicas_after++;
    }
    return true;
}

/* --- racks --- */

/* Moves replicas out of racks that have at least two more of this partition than another rack with room. */
static void spread_racks(struct balance *balance, struct balance_partition *partition)
{
    for (;;) {
        int32_t best_at = -1, best_to = -1;
        int64_t best_score = INT64_MIN;
        for (int32_t i = 0; i < partition->after_count; i++) {
            const struct balance_broker *from = &balance->brokers[partition->after[i]];
            if (from->role != BALANCE_TAKES) continue;
            int32_t crowd = in_rack(balance, partition, from->rack);
            for (int32_t b = 0; crowd > 1 && b < (int32_t)balance->broker_count; b++) {
                if (!is_open(balance, b) || has(partition, b)) continue;
                int32_t gap = crowd - in_rack(balance, partition, balance->brokers[b].rack);
                if (gap < 2) continue;
                int64_t score =
                    ((int64_t)gap << 40) + from->replicas_after - balance->brokers[b].replicas_after;
                if (score <= best_score) continue;
                best_score = score;
                best_at = i;
                best_to = b;
            }
        }
        if (best_at < 0) return;
        put(balance, partition, best_at, best_to);
    }
}

/* --- replicas --- */

/* Would this move leave the partition's racks as even as they are? */
static bool can_move(const struct balance *balance, const struct balance_partition *partition, int32_t from,
                     int32_t to)
{
    if (has(partition, to)) return false;
    int32_t old_rack = balance->brokers[from].rack, new_rack = balance->brokers[to].rack;
    return old_rack == new_rack ||
           in_rack(balance, partition, old_rack) > in_rack(balance, partition, new_rack);
}

/* What the move adds to the bytes to copy. Moving on what moves anyway, or back to where it was, adds none. */
static int64_t price(const struct balance_partition *partition, int32_t from, int32_t to)
{
    return had(partition, to) || !had(partition, from) ? 0 : partition->bytes;
}

struct edge {
    int64_t price; /* -1: no such move */
    size_t partition;
    int32_t at;
};

static void find_edges(const struct balance *balance, struct edge *edges)
{
    size_t n = balance->broker_count;
    for (size_t i = 0; i < n * n; i++) edges[i].price = -1;
    for (size_t p = 0; p < balance->partition_count; p++) {
        const struct balance_partition *partition = &balance->partitions[p];
        if (!is_free(balance, partition)) continue;
        for (int32_t i = 0; i < partition->after_count; i++) {
            int32_t from = partition->after[i];
            if (balance->brokers[from].role != BALANCE_TAKES) continue;
            for (int32_t to = 0; to < (int32_t)n; to++) {
                struct edge *edge = &edges[(size_t)from * n + (size_t)to];
                if (!is_open(balance, to)) continue;
                int64_t cost = price(partition, from, to);
                if (edge->price >= 0 && cost >= edge->price) continue;
                if (can_move(balance, partition, from, to)) *edge = (struct edge){cost, p, i};
            }
        }
    }
}

struct chain {
    int64_t price;
    size_t size;
    int32_t *brokers; /* from the fullest on; room for broker_count */
};

/* What it costs to move a replica from `start` to each broker, over others, and which one is the last before it (-1: none is).
 * Bellman-Ford by number of moves: brokers are few. */
static void price_chains(const struct balance *balance, const struct edge *edges, int32_t start,
                         int64_t *cost, int32_t *before)
{
    int32_t n = (int32_t)balance->broker_count;
    for (int32_t b = 0; b < n; b++) cost[b] = b == start ? 0 : INT64_MAX;
    for (int32_t b = 0; b < n; b++) before[b] = -1;
    bool is_moving = true;
    for (int32_t round = 0; is_moving && round < n; round++) {
        is_moving = false;
        for (int32_t from = 0; from < n; from++) {
            for (int32_t to = 0; cost[from] != INT64_MAX && to < n; to++) {
                int64_t step = edges[(size_t)from * (size_t)n + (size_t)to].price;
                if (step < 0 || to == start || cost[from] + step >= cost[to]) continue;
                cost[to] = cost[from] + step;
                before[to] = from;
                is_moving = true;
            }
        }
    }
}

static void chain_to(struct chain *chain, int32_t end, int64_t price, const int32_t *before)
{
    chain->price = price;
    chain->size = 0;
    for (int32_t b = end; b >= 0; b = before[b]) chain->size++;
    size_t at = chain->size;
    for (int32_t b = end; b >= 0; b = before[b]) chain->brokers[--at] = b;
}

/* The cheapest chain that ends at a broker with at least two fewer than its start; of equals the widest gap, then the
 * shortest. */
static bool find_chain(const struct balance *balance, const struct edge *edges, int64_t *cost,
                       int32_t *before, struct chain *chain)
{
    int32_t n = (int32_t)balance->broker_count;
    chain->size = 0;
    int64_t best_gap = 0;
    for (int32_t start = 0; start < n; start++) {
        if (balance->brokers[start].role != BALANCE_TAKES) continue;
        price_chains(balance, edges, start, cost, before);
        for (int32_t end = 0; end < n; end++) {
            int64_t gap = balance->brokers[start].replicas_after - balance->brokers[end].replicas_after;
            if (before[end] < 0 || gap < 2) continue;
            bool is_better =
                chain->size == 0 || cost[end] < chain->price || (cost[end] == chain->price && gap > best_gap);
            if (!is_better) continue;
            best_gap = gap;
            chain_to(chain, end, cost[end], before);
        }
    }
    return chain->size > 0;
}

/* All moves of the chain, or none when two of them are of one partition and together would crowd a rack. */
static bool apply_chain(struct balance *balance, const struct edge *edges, const struct chain *chain)
{
    size_t n = balance->broker_count, done = 0;
    for (; done + 1 < chain->size; done++) {
        int32_t from = chain->brokers[done], to = chain->brokers[done + 1];
        const struct edge *edge = &edges[(size_t)from * n + (size_t)to];
        struct balance_partition *partition = &balance->partitions[edge->partition];
        if (!can_move(balance, partition, from, to)) break;
        put(balance, partition, edge->at, to);
    }
    if (done + 1 == chain->size) return true;
    while (done-- > 0) {
        int32_t from = chain->brokers[done], to = chain->brokers[done + 1];
        const struct edge *edge = &edges[(size_t)from * n + (size_t)to];
        put(balance, &balance->partitions[edge->partition], edge->at, from);
    }
    return false;
}

struct replica {
    int64_t bytes;
    size_t partition;
    int32_t at;
};

static int by_bytes(const void *a, const void *b)
{
    const struct replica *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    if (x->partition != y->partition) return x->partition < y->partition ? -1 : 1;
    return x->at - y->at;
}

enum { ANY_RACK = -1 };

/* Straight moves from brokers with more than `above` to brokers with less than `below`, small replicas first; within one
 * rack, or anywhere. */
static void move_straight(struct balance *balance, const struct replica *replicas, size_t count, int32_t rack,
                          int32_t above, int32_t below)
{
    for (size_t r = 0; r < count; r++) {
        struct balance_partition *partition = &balance->partitions[replicas[r].partition];
        int32_t from = partition->after[replicas[r].at], best = -1;
        if (balance->brokers[from].role != BALANCE_TAKES || balance->brokers[from].replicas_after <= above)
            continue;
        if (rack != ANY_RACK && balance->brokers[from].rack != rack) continue;
        for (int32_t to = 0; to < (int32_t)balance->broker_count; to++) {
            if (!is_open(balance, to) || balance->brokers[to].replicas_after >= below) continue;
            if (rack != ANY_RACK && balance->brokers[to].rack != rack) continue;
            if (balance->brokers[to].replicas_after + 2 > balance->brokers[from].replicas_after) continue;
            if (best >= 0 && balance->brokers[to].replicas_after >= balance->brokers[best].replicas_after)
                continue;
            if (can_move(balance, partition, from, to)) best = to;
        }
        if (best >= 0) put(balance, partition, replicas[r].at, best);
    }
}

/* Towards the mean of a rack, or of all. This does most of the work in few passes; chains do the rest. */
static void move_to_mean(struct balance *balance, const struct replica *replicas, size_t count, int32_t rack)
{
    int32_t total = 0, takers = 0;
    for (size_t b = 0; b < balance->broker_count; b++) {
        if (balance->brokers[b].role != BALANCE_TAKES) continue;
        if (rack != ANY_RACK && balance->brokers[b].rack != rack) continue;
        takers++;
        total += balance->brokers[b].replicas_after;
    }
    if (takers < 2) return;
    int32_t floor = total / takers, ceiling = (total + takers - 1) / takers;
    move_straight(balance, replicas, count, rack, ceiling, floor);
    move_straight(balance, replicas, count, rack, ceiling, ceiling);
    move_straight(balance, replicas, count, rack, floor, floor);
}

static bool is_first_of_rack(const struct balance *balance, size_t broker)
{
    for (size_t b = 0; b < broker; b++) {
        if (balance->brokers[b].rack == balance->brokers[broker].rack) return false;
    }
    return true;
}

static enum error spread_replicas(struct balance *balance, struct arena *arena)
{
    size_t n = balance->broker_count, count = 0, most = 0;
    for (size_t p = 0; p < balance->partition_count; p++) most += (size_t)balance->partitions[p].after_count;
    struct replica *replicas = arena_array(arena, most + 1, sizeof *replicas);
    struct edge *edges = arena_array(arena, n * n, sizeof *edges);
    int64_t *cost = arena_array(arena, n, sizeof *cost);
    int32_t *before = arena_array(arena, n, sizeof *before);
    struct chain chain = {.brokers = arena_array(arena, n, sizeof *chain.brokers)};
    if (!replicas || !edges || !cost || !before || !chain.brokers) return ERR_NOMEM;
    for (size_t p = 0; p < balance->partition_count; p++) {
        if (!is_free(balance, &balance->partitions[p])) continue;
        for (int32_t i = 0; i < balance->partitions[p].after_count; i++) {
            const struct balance_partition *partition = &balance->partitions[p];
            int64_t bytes = had(partition, partition->after[i]) ? partition->bytes : 0;
            replicas[count++] = (struct replica){bytes, p, i};
        }
    }
    qsort(replicas, count, sizeof *replicas, by_bytes);
    move_to_mean(balance, replicas, count, ANY_RACK);
    for (size_t b = 0; b < n; b++) {
        if (is_first_of_rack(balance, b)) move_to_mean(balance, replicas, count, balance->brokers[b].rack);
    }
    do {
        find_edges(balance, edges);
    } while (find_chain(balance, edges, cost, before, &chain) && apply_chain(balance, edges, &chain));
    return OK;
}

/* --- leaders --- */

static bool can_lead(const struct balance *balance, int32_t from, int32_t to)
{
    return to != from && is_open(balance, to) && balance->brokers[from].role != BALANCE_KEEPS;
}

static void swap_leader(struct balance *balance, struct balance_partition *partition, int32_t at)
{
    int32_t old = partition->after[0];
    partition->after[0] = partition->after[at];
    partition->after[at] = old;
    balance->brokers[old].leaders_after--;
    balance->brokers[partition->after[0]].leaders_after++;
}

/* swaps[a * n + b]: partitions led by a that b could lead. */
static void count_swaps(const struct balance *balance, const struct balance_partition *partition,
                        size_t *swaps, int by)
{
    int32_t leader = partition->after[0];
    for (int32_t i = 1; i < partition->after_count; i++) {
        if (!can_lead(balance, leader, partition->after[i])) continue;
        swaps[(size_t)leader * balance->broker_count + (size_t)partition->after[i]] += (size_t)by;
    }
}

/* Swaps one partition that `from` leads over to `to`; first one whose leader is not the one it had, or would be again. */
static void swap_one(struct balance *balance, size_t *swaps, int32_t from, int32_t to)
{
    struct balance_partition *found = NULL;
    int32_t found_at = 0;
    int found_score = -1;
    for (size_t p = 0; p < balance->partition_count && found_score < 2; p++) {
        struct balance_partition *partition = &balance->partitions[p];
        if (partition->after_count == 0 || partition->after[0] != from || !is_free(balance, partition))
            continue;
        for (int32_t i = 1; i < partition->after_count; i++) {
            if (partition->after[i] != to) continue;
            int32_t leader = partition->before_count > 0 ? partition->before[0] : -1;
            int score = leader == to ? 2 : leader != from ? 1 : 0;
            if (score <= found_score) continue;
            found = partition;
            found_at = i;
            found_score = score;
        }
    }
    assert(found);
    count_swaps(balance, found, swaps, -1);
    swap_leader(balance, found, found_at);
    count_swaps(balance, found, swaps, 1);
}

/* The shortest chain of swaps from `start` to a broker that leads at least two fewer; breadth first. */
static bool find_swaps(const struct balance *balance, const size_t *swaps, int32_t start, int32_t *before,
                       int32_t *queue, int32_t *end)
{
    int32_t n = (int32_t)balance->broker_count, head = 0, tail = 0, best = -1;
    /* From a broker that may lead nothing any swap helps. */
    bool must_go = balance->brokers[start].role == BALANCE_EMPTIES;
    for (int32_t b = 0; b < n; b++) before[b] = -1;
    before[start] = start;
    queue[tail++] = start;
    while (head < tail) {
        int32_t from = queue[head++];
        for (int32_t to = 0; to < n; to++) {
            if (before[to] >= 0 || swaps[(size_t)from * (size_t)n + (size_t)to] == 0) continue;
            before[to] = from;
            queue[tail++] = to;
            int32_t gap = balance->brokers[start].leaders_after - balance->brokers[to].leaders_after;
            if (gap < 2 && !must_go) continue;
            if (best < 0 || balance->brokers[to].leaders_after < balance->brokers[best].leaders_after)
                best = to;
        }
    }
    *end = best;
    return best >= 0;
}

static enum error spread_leaders(struct balance *balance, struct arena *arena)
{
    size_t n = balance->broker_count;
    size_t *swaps = arena_zalloc(arena, n * n * sizeof *swaps + 1);
    int32_t *before = arena_array(arena, n, sizeof *before), *queue = arena_array(arena, n, sizeof *queue);
    if (!swaps || !before || !queue) return ERR_NOMEM;
    for (size_t p = 0; p < balance->partition_count; p++) {
        const struct balance_partition *partition = &balance->partitions[p];
        if (partition->after_count > 0 && is_free(balance, partition))
            count_swaps(balance, partition, swaps, 1);
    }
    for (int32_t start = 0; start < (int32_t)n;) {
        int32_t end;
        if (!find_swaps(balance, swaps, start, before, queue, &end)) {
            start++;
            continue;
        }
        for (int32_t to = end; to != start; to = before[to]) swap_one(balance, swaps, before[to], to);
        /* A chain changes who could start one: begin again. */
        start = 0;
    }
    return OK;
}

/* --- the whole --- */

static enum error copy_before(struct balance *balance, struct arena *arena)
{
    for (size_t b = 0; b < balance->broker_count; b++)
        balance->brokers[b].replicas_before = balance->brokers[b].leaders_before = 0;
    for (size_t p = 0; p < balance->partition_count; p++) {
        struct balance_partition *partition = &balance->partitions[p];
        int32_t room = partition->before_count > partition->wanted_count ? partition->before_count
                                                                         : partition->wanted_count;
        partition->after = arena_array(arena, (size_t)room + 1, sizeof *partition->after);
        if (!partition->after) return ERR_NOMEM;
        partition->after_count = partition->before_count;
        for (int32_t i = 0; i < partition->before_count; i++) {
            assert(partition->before[i] >= 0 && (size_t)partition->before[i] < balance->broker_count);
            partition->after[i] = partition->before[i];
            balance->brokers[partition->before[i]].replicas_before++;
            if (i == 0) balance->brokers[partition->before[i]].leaders_before++;
        }
    }
    for (size_t b = 0; b < balance->broker_count; b++)
        balance->brokers[b].replicas_after = balance->brokers[b].replicas_before;
    return OK;
}

static void sum_up(struct balance *balance)
{
    balance->changed = balance->moved_replicas = balance->changed_leaders = 0;
    balance->moved_bytes = 0;
    for (size_t p = 0; p < balance->partition_count; p++) {
        const struct balance_partition *partition = &balance->partitions[p];
        if (!balance_is_changed(partition)) continue;
        balance->changed++;
        for (int32_t i = 0; i < partition->after_count; i++) {
            if (had(partition, partition->after[i])) continue;
            balance->moved_replicas++;
            balance->moved_bytes += partition->bytes;
        }
        bool has_both = partition->after_count > 0 && partition->before_count > 0;
        balance->changed_leaders += has_both && partition->after[0] != partition->before[0];
    }
}

enum error balance_plan(struct balance *balance, struct arena *arena)
{
    enum error err = copy_before(balance, arena);
    if (err != OK) return err;
    bool moves_replicas = balance->scope != BALANCE_LEADERS;
    for (size_t p = 0; moves_replicas && p < balance->partition_count; p++) {
        if (!meet_needs(balance, &balance->partitions[p])) {
            balance->impossible = p;
            return ERR_LIMIT;
        }
    }
    /* What must move was placed well; to move more than that would only cost. */
    bool is_spreading = moves_replicas && !balance->is_only_necessary;
    for (size_t p = 0; is_spreading && p < balance->partition_count; p++) {
        if (!balance->partitions[p].is_fixed) spread_racks(balance, &balance->partitions[p]);
    }
    if (is_spreading) err = spread_replicas(balance, arena);
    for (size_t b = 0; b < balance->broker_count; b++) balance->brokers[b].leaders_after = 0;
    for (size_t p = 0; p < balance->partition_count; p++) {
        if (balance->partitions[p].after_count > 0)
            balance->brokers[balance->partitions[p].after[0]].leaders_after++;
    }
    if (err == OK) err = spread_leaders(balance, arena);
    if (err == OK) sum_up(balance);
    return err;
}
