#include "broker/budget.h"

static int64_t load(const int64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

bool budget_try(struct budget *budget, size_t size)
{
    int64_t wanted = (int64_t)size, small = load(&budget->small_bytes), large = load(&budget->large_bytes);
    if (size > BUDGET_SMALL_FRAME) {
        int64_t most = budget->limit_bytes - budget->limit_bytes / 4;
        if (large > 0 && large + wanted > most) return false;
        if (large > 0 && small + large + wanted > budget->limit_bytes) return false;
        __atomic_fetch_add(&budget->large_bytes, wanted, __ATOMIC_RELAXED);
        return true;
    }
    if (small + large + wanted > budget->limit_bytes && small + wanted > budget->limit_bytes / 4)
        return false;
    __atomic_fetch_add(&budget->small_bytes, wanted, __ATOMIC_RELAXED);
    return true;
}

void budget_force(struct budget *budget, size_t size)
{
    __atomic_fetch_add(&budget->small_bytes, (int64_t)size, __ATOMIC_RELAXED);
}

void budget_release(struct budget *budget, size_t size, bool is_large)
{
    __atomic_fetch_sub(is_large ? &budget->large_bytes : &budget->small_bytes, (int64_t)size,
                       __ATOMIC_RELAXED);
}

int64_t budget_held(const struct budget *budget)
{
    return load(&budget->small_bytes) + load(&budget->large_bytes);
}
