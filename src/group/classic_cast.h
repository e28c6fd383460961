/* classic_cast.h: the group that the tests of the classic protocol begin with, in each of its states: A leads, B follows,
 * S is static as "s1"; all speak "range" of type "consumer". */
#pragma once
#include "group/brain_testbed.h"

#include "base/diag.h"

enum setting { UNKNOWN, EMPTY, PREPARING, COMPLETING, STABLE, DEAD, SETTINGS };

struct cast {
    struct bed bed;
    char a[64], b[64], s[64];
    int32_t generation;
    struct bed_call *waiting[16]; /* answered at the end */
    int count;
};

static inline void keep(struct cast *cast, struct bed_call *call)
{
    assert_true(cast->count < 16);
    cast->waiting[cast->count++] = call;
}

static inline void cast_close(struct cast *cast)
{
    bed_close(&cast->bed);
    for (int i = 0; i < cast->count; i++) bed_call_free(cast->waiting[i]);
}

/* Three joins, and the initial delay. */
static inline void cast_meet(struct cast *cast)
{
    struct bed_call *a = bed_join(&cast->bed, 3, (struct bed_join){0});
    struct bed_call *b = bed_join(&cast->bed, 3, (struct bed_join){0});
    struct bed_call *s = bed_join(&cast->bed, 5, (struct bed_join){.instance = "s1"});
    bed_advance(&cast->bed, 6000);
    slice_text(joined(a)->member_id, cast->a, sizeof cast->a);
    slice_text(joined(b)->member_id, cast->b, sizeof cast->b);
    slice_text(joined(s)->member_id, cast->s, sizeof cast->s);
    assert_true(slice_is(joined(b)->leader, cast->a));
    cast->generation = joined(a)->generation_id;
    keep(cast, a), keep(cast, b), keep(cast, s);
}

static inline void cast_assign(struct cast *cast)
{
    char assignments[256];
    snprintf(assignments, sizeof assignments, "%s=for-a,%s=for-b,%s=for-s", cast->a, cast->b, cast->s);
    struct bed_call *a = bed_sync(&cast->bed, 3, "g", cast->a, NULL, cast->generation, assignments);
    struct bed_call *b = bed_sync(&cast->bed, 3, "g", cast->b, NULL, cast->generation, NULL);
    struct bed_call *s = bed_sync(&cast->bed, 3, "g", cast->s, "s1", cast->generation, NULL);
    assert_true(slice_is(synced(a)->assignment, "for-a") && slice_is(synced(b)->assignment, "for-b"));
    assert_true(slice_is(synced(s)->assignment, "for-s"));
    keep(cast, a), keep(cast, b), keep(cast, s);
}

static inline void cast_open(struct cast *cast, enum setting setting)
{
    memset(cast, 0, sizeof *cast);
    bed_open(&cast->bed, 11);
    strcpy(cast->a, "a-gone"), strcpy(cast->b, "b-gone"), strcpy(cast->s, "s-gone"); /* ids of another life */
    if (setting == UNKNOWN) return;
    cast_meet(cast);
    if (setting == COMPLETING) return;
    cast_assign(cast);
    if (setting == PREPARING) {
        /* The leader wants another round. */
        keep(cast, bed_join(&cast->bed, 3, (struct bed_join){.member = cast->a}));
    } else if (setting == EMPTY || setting == DEAD) {
        assert_int_equal(bed_leave(&cast->bed, 3, "g", cast->a, NULL), 0);
        assert_int_equal(bed_leave(&cast->bed, 3, "g", cast->b, NULL), 0);
        assert_int_equal(bed_leave(&cast->bed, 3, "g", "", "s1"), 0);
        cast->generation = group_find(&cast->bed.shard, SLICE("g"))->generation;
    }
    if (setting == DEAD) {
        cast->bed.mode = BED_HOLDS;
        keep(cast, bed_delete(&cast->bed, "g"));
    }
}
