/* epoch_cache_test.c: chosen questions in a table, then random lives against an array that remembers who wrote each record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "storage/epoch_cache.h"

static struct epoch_cache make(const struct epoch_entry *entries, size_t count)
{
    struct epoch_cache cache = {0};
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(epoch_cache_assign(&cache, entries[i].epoch, entries[i].start_offset), OK);
    }
    return cache;
}

static void assert_epoch_end(struct epoch_end got, struct epoch_end want, uint64_t seed)
{
    if (got.epoch == want.epoch && got.end_offset == want.end_offset) return;
    fail_msg("seed %llu: {%d, %lld}, not {%d, %lld}", (unsigned long long)seed, (int)got.epoch,
             (long long)got.end_offset, (int)want.epoch, (long long)want.end_offset);
}

/* The log of the header's picture. */
static void questions(void **state)
{
    static const struct epoch_entry entries[] = {{0, 0}, {2, 120}, {5, 340}};
    static const struct {
        const char *says;
        int32_t asked;
        struct epoch_end want;
    } cases[] = {
        {"an old leader ended where the next began", 0, {0, 120}},
        {"one that wrote nothing answers for the one before it", 1, {0, 120}},
        {"the one before the last", 2, {2, 340}},
        {"again nothing written", 4, {2, 340}},
        {"the newest still grows", 5, {5, 500}},
        {"the future is unknown", 6, {-1, -1}},
        {"nobody is unknown", -1, {-1, -1}},
    };
    struct epoch_cache cache = make(entries, 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_epoch_end(epoch_cache_end(&cache, cases[i].asked, 500), cases[i].want, i);
    }
    epoch_cache_free(&cache);
    assert_epoch_end(epoch_cache_end(&cache, 0, 0), (struct epoch_end){-1, -1}, 0);

    static const struct epoch_entry late[] = {{3, 100}, {4, 200}};
    cache = make(late, 2);
    assert_epoch_end(epoch_cache_end(&cache, 1, 300), (struct epoch_end){1, 100},
                     0); /* those records are gone */
    epoch_cache_free(&cache);
}

static void contradictions_are_dropped(void **state)
{
    static const struct epoch_entry entries[] = {{1, 10}, {2, 20}, {3, 30}};
    struct epoch_cache cache = make(entries, 3);
    assert_int_equal(epoch_cache_assign(&cache, 3, 35), OK); /* still leading */
    assert_int_equal(cache.count, 3);
    assert_int_equal(epoch_cache_assign(&cache, 4, 20), OK);
    assert_int_equal(cache.count, 2);
    assert_int_equal(cache.entries[1].epoch, 4);
    assert_int_equal(epoch_cache_assign(&cache, 1, 5), OK);
    assert_int_equal(cache.count, 1);
    assert_int_equal(cache.entries[0].start_offset, 5);
    epoch_cache_free(&cache);
}

static void ends_are_cut(void **state)
{
    static const struct epoch_entry entries[] = {{1, 10}, {2, 20}, {3, 30}};
    struct epoch_cache cache = make(entries, 3);
    assert_false(epoch_cache_cut_end(&cache, 31));
    assert_true(epoch_cache_cut_end(&cache, 30));
    assert_int_equal(cache.count, 2);
    assert_false(epoch_cache_cut_start(&cache, 10));
    assert_true(epoch_cache_cut_start(&cache, 15)); /* the first one still owns the new start */
    assert_int_equal(cache.count, 2);
    assert_int_equal(cache.entries[0].start_offset, 15);
    assert_true(epoch_cache_cut_start(&cache, 50)); /* an emptied log keeps its newest epoch */
    assert_int_equal(cache.count, 1);
    assert_int_equal(cache.entries[0].epoch, 2);
    assert_int_equal(cache.entries[0].start_offset, 50);
    epoch_cache_free(&cache);
}

static void files(void **state)
{
    static const struct {
        const char *text;
        enum error err;
        size_t count;
    } cases[] = {
        {"", OK, 0},
        {"0\n0\n", OK, 0},
        {"0\n2\n1 0\n4 17\n", OK, 2},
        {"0\r\n1\r\n1 0  \r\n\r\n", OK, 1},
        {"0\n2\n1 0\n", ERR_CORRUPT, 0},
        {"0\n1\n1 0\n2 5\n", ERR_CORRUPT, 0},
        {"1\n0\n", ERR_CORRUPT, 0},
        {"0\n1\n1\n", ERR_CORRUPT, 0},
        {"0\n1\n1 2 3\n", ERR_CORRUPT, 0},
        {"0\n1\n-1 0\n", ERR_CORRUPT, 0},
        {"0\n1\n1 x\n", ERR_CORRUPT, 0},
        {"0\n1\n25 5", ERR_CORRUPT, 0}, /* was 25 59 before the power went */
        {"0\n99999999999999999999\n", ERR_CORRUPT, 0},
        {"0\n3\n1 0\n2 10\n1 20\n", OK, 1}, /* written by a confused one: the later line is right */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct epoch_cache cache = {0};
        struct text text = {0};
        enum error err = epoch_cache_read(slice_of(cases[i].text), &cache);
        if (err != cases[i].err || cache.count != cases[i].count)
            fail_msg("case %zu: %zu entries", i, cache.count);
        epoch_cache_write(&cache, &text);
        struct epoch_cache again = {0};
        assert_int_equal(epoch_cache_read(text_slice(&text), &again), OK);
        assert_int_equal(again.count, cache.count);
        epoch_cache_free(&cache);
        epoch_cache_free(&again);
        text_free(&text);
    }
}

enum { RECORDS = 60 };

static void live(uint64_t seed)
{
    struct random random;
    struct epoch_cache cache = {0};
    int32_t writer[RECORDS + 20], epoch = -1;
    int64_t end = 0;
    random_seed(&random, seed);
    while (end < RECORDS) {
        epoch += 1 + (int32_t)random_below(&random, 2);
        if (end > 0 && random_below(&random, 3) == 0) {
            end -= (int64_t)random_below(&random, (uint64_t)end);
            epoch_cache_cut_end(&cache, end);
        }
        int64_t count = (int64_t)random_below(&random, 12);
        if (count > 0) assert_int_equal(epoch_cache_assign(&cache, epoch, end), OK);
        for (; count > 0; count--) writer[end++] = epoch;
    }
    for (int64_t offset = 0; offset < end; offset++)
        assert_int_equal(epoch_cache_of(&cache, offset), writer[offset]);
    for (int32_t asked = 0; asked <= epoch + 1; asked++) {
        int64_t next = 0; /* first record of a later leader */
        while (next < end && writer[next] <= asked) next++;

        struct epoch_end want = {next > 0 ? writer[next - 1] : asked, next};
        if (next == end && asked != writer[end - 1]) want = (struct epoch_end){-1, -1};
        assert_epoch_end(epoch_cache_end(&cache, asked, end), want, seed);
    }
    epoch_cache_free(&cache);
}

static void random_lives(void **state)
{
    for (uint64_t seed = 1; seed <= 500; seed++) live(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions),    cmocka_unit_test(contradictions_are_dropped),
        cmocka_unit_test(ends_are_cut), cmocka_unit_test(files),
        cmocka_unit_test(random_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
