/* Small pieces of memory: lives against a list of what was taken. */
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/slabs.h"
#include "base/test.h"

enum { PIECES = 4000 };

struct held {
    uint32_t *piece, place, mark;
    size_t size;
};

static size_t size_of(struct random *random)
{
    switch (random_below(random, 12)) {
    case 0: return 1100 + random_below(random, 15000);
    case 1: return 16377 + random_below(random, 200000);
    default: return 8 + random_below(random, 300);
    }
}

static void check(const struct slabs *slabs, const struct held *held, size_t count)
{
    size_t seen = 0;
    uint64_t at = 0;
    for (uint32_t *piece; (piece = slabs_next(slabs, &at)); seen++) assert_true(piece[0] < PIECES * 100);
    assert_int_equal(seen, count);
    for (size_t i = 0; i < PIECES; i++) {
        if (!held[i].piece) continue;
        assert_ptr_equal(slabs_at(slabs, held[i].place), held[i].piece);
        assert_int_equal(slabs_place(held[i].piece), held[i].place);
        assert_true(slabs_piece_size(slabs, held[i].piece) >= held[i].size);
        assert_int_equal(held[i].piece[0], held[i].mark);
        uint8_t last = ((uint8_t *)held[i].piece)[held[i].size - 1];
        assert_true(held[i].size == 8 || last == (uint8_t)held[i].mark);
    }
}

static void pieces_are_where_they_were(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct slabs slabs = {0};
        struct held *held = calloc(PIECES, sizeof *held);
        size_t count = 0;
        for (uint32_t step = 0; step < 60000; step++) {
            /* Now it grows, now it shrinks, so that pages become empty and serve other sizes. */
            size_t i = random_below(&random, step / 20000 % 2 ? PIECES : PIECES / 3);
            struct held *one = &held[i];
            if (one->piece) {
                slabs_give(&slabs, one->piece);
                one->piece = NULL;
                count--;
            } else if (step / 10000 % 2 == 0 || i % 5 == 0) {
                one->size = size_of(&random);
                one->piece = slabs_take(&slabs, one->size, &one->place);
                assert_non_null(one->piece);
                assert_true(one->place != 0);
                memset(one->piece, 0, one->size);
                one->mark = step;
                ((uint8_t *)one->piece)[one->size - 1] = (uint8_t)step;
                one->piece[0] = step;
                count++;
            }
            if (step % 5000 == 0) check(&slabs, held, count);
        }
        check(&slabs, held, count);
        slabs_free(&slabs);
        free(held);
    }
}

static void what_is_there_all_the_time_is_visited_once(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 7);
    struct slabs slabs = {0};
    enum { STAYING = 500, OTHERS = 500 };
    uint32_t *others[OTHERS] = {0}, place;
    uint8_t seen[STAYING] = {0};
    for (uint32_t i = 0; i < STAYING; i++) {
        uint32_t *piece = slabs_take(&slabs, 8 + random_below(&random, 3000), &place);
        piece[0] = i;
    }
    uint64_t at = 0;
    for (uint32_t *piece; (piece = slabs_next(&slabs, &at));) {
        if (piece[0] < STAYING) seen[piece[0]]++;
        for (int k = 0; k < 4; k++) {
            size_t i = random_below(&random, OTHERS);
            if (others[i]) {
                slabs_give(&slabs, others[i]);
                others[i] = NULL;
            } else {
                others[i] = slabs_take(&slabs, 8 + random_below(&random, 3000), &place);
                others[i][0] = STAYING;
            }
        }
    }
    for (size_t i = 0; i < STAYING; i++) assert_int_equal(seen[i], 1);
    slabs_free(&slabs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_where_they_were),
        cmocka_unit_test(what_is_there_all_the_time_is_visited_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
