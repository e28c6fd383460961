#include "controller/placement.h"

#include <stdbool.h>
#include <stdlib.h>

static void place_by_id(const struct placement *p, int32_t *out)
{
    uint32_t n = (uint32_t)p->broker_count, shift = p->shift;
    for (int32_t i = 0; i < p->partition_count; i++) {
        uint32_t partition = (uint32_t)(p->first_partition + i);
        if (partition > 0 && partition % n == 0) shift++;
        uint32_t first = (uint32_t)(((uint64_t)partition + p->start) % n);
        *out++ = p->brokers[first].id;
        for (int32_t r = 0; r < p->replication_factor - 1; r++)
            *out++ = p->brokers[(first + 1 + (shift + (uint32_t)r) % (n - 1)) % n].id;
    }
}

static int by_rack(const void *a, const void *b)
{
    const struct placement_broker *left = a, *right = b;
    int order = slice_compare(left->rack, right->rack);
    return order ? order : (left->id > right->id) - (left->id < right->id);
}

/* The brokers as one round over the racks after the other: a1 b1 c1 a2 c2 c3. */
static size_t alternate_racks(const struct placement *p, struct placement_broker *sorted,
                              struct placement_broker *list)
{
    for (size_t i = 0; i < p->broker_count; i++) sorted[i] = p->brokers[i];
    qsort(sorted, p->broker_count, sizeof *sorted, by_rack);
    size_t racks = 0, filled = 0;
    for (size_t round = 0; filled < p->broker_count; round++) {
        for (size_t i = 0, rank = 0; i < p->broker_count; i++) {
            bool is_new_rack = i == 0 || !slice_equal(sorted[i].rack, sorted[i - 1].rack);
            rank = is_new_rack ? 0 : rank + 1;
            if (is_new_rack && round == 0) racks++;
            if (rank == round) list[filled++] = sorted[i];
        }
    }
    return racks;
}

static void place_by_rack(const struct placement *p, const struct placement_broker *list, size_t racks,
                          int32_t *out)
{
    uint32_t n = (uint32_t)p->broker_count, shift = p->shift;
    for (int32_t i = 0; i < p->partition_count; i++, out += p->replication_factor) {
        uint32_t partition = (uint32_t)(p->first_partition + i);
        if (partition > 0 && partition % n == 0) shift++;
        uint32_t first = (uint32_t)(((uint64_t)partition + p->start) % n), tries = 0;
        out[0] = list[first].id;
        size_t placed = 1, racks_used = 1;
        while (placed < (size_t)p->replication_factor) {
            const struct placement_broker *candidate =
                &list[(first + 1 + (uint32_t)(((uint64_t)shift * racks + tries) % (n > 1 ? n - 1 : 1))) % n];
            tries++;
            bool is_broker_used = false, is_rack_used = false;
            for (size_t r = 0; r < placed; r++) {
                is_broker_used |= out[r] == candidate->id;
                for (size_t b = 0; b < n; b++)
                    is_rack_used |= list[b].id == out[r] && slice_equal(list[b].rack, candidate->rack);
            }
            if (is_broker_used || (is_rack_used && racks_used < racks)) continue;
            out[placed++] = candidate->id;
            racks_used += !is_rack_used;
        }
    }
}

enum error place_replicas(const struct placement *p, int32_t *out)
{
    if (p->partition_count <= 0) return ERR_INVALID_PARTITIONS;
    if (p->replication_factor <= 0 || (size_t)p->replication_factor > p->broker_count)
        return ERR_INVALID_REPLICATION_FACTOR;
    size_t with_rack = 0;
    for (size_t i = 0; i < p->broker_count; i++) with_rack += p->brokers[i].rack.data != NULL;
    if (with_rack == 0) {
        place_by_id(p, out);
        return OK;
    }
    if (with_rack < p->broker_count) return ERR_UNKNOWN_SERVER_ERROR;
    struct placement_broker *lists = malloc(2 * p->broker_count * sizeof *lists);
    if (!lists) return ERR_NOMEM;
    size_t racks = alternate_racks(p, lists, lists + p->broker_count);
    place_by_rack(p, lists + p->broker_count, racks, out);
    free(lists);
    return OK;
}
