#include "base/twice.h"

#include <stdlib.h>
#include <string.h>

struct named {
    struct slice name;
    size_t index;
};

static int by_name(const void *a, const void *b)
{
    return slice_compare(((const struct named *)a)->name, ((const struct named *)b)->name);
}

const bool *find_twice(struct arena *arena, const struct slice *names, size_t count)
{
    bool *is_twice = arena_zalloc(arena, count * sizeof *is_twice);
    struct named *sorted = arena_array(arena, count, sizeof *sorted);
    if (!is_twice || !sorted) return NULL;
    for (size_t i = 0; i < count; i++) sorted[i] = (struct named){names[i], i};
    qsort(sorted, count, sizeof *sorted, by_name);
    for (size_t i = 1; i < count; i++) {
        if (!sorted[i].name.data || !slice_equal(sorted[i].name, sorted[i - 1].name)) continue;
        is_twice[sorted[i].index] = is_twice[sorted[i - 1].index] = true;
    }
    return is_twice;
}

static int by_number(const void *a, const void *b)
{
    int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    return (left > right) - (left < right);
}

bool has_twice(struct arena *arena, const int32_t *numbers, size_t count)
{
    if (count < 2) return false;
    int32_t *sorted = arena_array(arena, count, sizeof *sorted);
    if (!sorted) return true;
    memcpy(sorted, numbers, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_number);
    for (size_t i = 1; i < count; i++)
        if (sorted[i] == sorted[i - 1]) return true;
    return false;
}
