#include "controller/election.h"

bool ids_have(struct int32_list ids, int32_t id)
{
    for (size_t i = 0; i < ids.count; i++)
        if (ids.items[i] == id) return true;
    return false;
}

static int32_t first_of(struct int32_list order, struct int32_list isr, struct int32_list live)
{
    for (size_t i = 0; i < order.count; i++)
        if (ids_have(isr, order.items[i]) && ids_have(live, order.items[i])) return order.items[i];
    return -1;
}

static int32_t first_alive(struct int32_list order, struct int32_list live)
{
    for (size_t i = 0; i < order.count; i++)
        if (ids_have(live, order.items[i])) return order.items[i];
    return -1;
}

static size_t keep_isr(struct int32_list isr, struct int32_list only, struct int32_list without,
                       bool is_limited, int32_t *out)
{
    size_t count = 0;
    for (size_t i = 0; i < isr.count; i++) {
        int32_t id = isr.items[i];
        if ((!is_limited || ids_have(only, id)) && !ids_have(without, id)) out[count++] = id;
    }
    return count;
}

bool elect_leader(enum election kind, const struct candidates *c, struct elected *elected)
{
    const struct int32_list none = {0};
    int32_t leader = -1;
    size_t count = 0;
    bool is_recovering = false;
    switch (kind) {
    case ELECT_OFFLINE:
    case ELECT_UNCLEAN:
        leader = first_of(c->replicas, c->isr, c->live);
        count = keep_isr(c->isr, c->live, none, true, elected->isr);
        if (count == 1 && ids_have(c->shrinks_itself, leader))
            count = keep_isr(c->isr, none, none, false, elected->isr);
        if (leader < 0 && kind == ELECT_UNCLEAN) {
            leader = first_alive(c->replicas, c->live);
            elected->isr[0] = leader;
            count = 1;
            is_recovering = true;
        }
        break;
    case ELECT_REASSIGNMENT:
        leader = first_of(c->target, c->isr, c->live);
        count = keep_isr(c->isr, none, none, false, elected->isr);
        break;
    case ELECT_PREFERRED: {
        struct int32_list first = {c->replicas.items, c->replicas.count ? 1 : 0};
        leader = first_of(first, c->isr, c->live);
        count = keep_isr(c->isr, none, none, false, elected->isr);
        break;
    }
    case ELECT_CONTROLLED_SHUTDOWN:
        leader = first_of(c->replicas, c->isr, c->live);
        count = keep_isr(c->isr, none, c->leaving, false, elected->isr);
        if (count == 1 && ids_have(c->shrinks_itself, leader))
            count = keep_isr(c->isr, none, none, false, elected->isr);
        break;
    }
    if (leader < 0) return false;
    elected->leader = leader;
    elected->isr_count = count;
    elected->is_recovering = is_recovering;
    return true;
}
