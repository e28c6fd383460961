/* refused_test.c: what a producer hears behind a batch that found no room, one row an event. */
#include "base/test.h"

#include "storage/refused.h"

static struct batch_header batch(int64_t id, int16_t epoch, int32_t sequence)
{
    return (struct batch_header){
        .magic = 2, .producer_id = id, .producer_epoch = epoch, .base_sequence = sequence};
}

static void behind_what_found_no_room(void **state)
{
    static const struct {
        const char *says;
        bool is_note; /* else it is asked for */
        int16_t epoch;
        int32_t sequence, next; /* next: what the log expects, -1 any */
        int64_t now_ms;
        enum error err;
    } rows[] = {
        {"nothing was refused", false, 0, 7, 5, 0, OK},
        {"5 finds no room", true, 0, 5, 0, 1000, OK},
        {"6 is behind it", false, 0, 6, 5, 1000, ERR_DISK_FULL},
        {"and changes nothing", true, 0, 6, 0, 2000, OK},
        {"one of before is none of it", false, 0, 4, 5, 2000, OK},
        {"and leaves it as it was", false, 0, 6, 5, 2000, ERR_DISK_FULL},
        {"5 comes again", false, 0, 5, 5, 2000, OK},
        {"and what is behind it now is its own affair", false, 0, 7, 5, 2000, OK},
        {"5 found no room", true, 0, 5, 0, 3000, OK},
        {"the log has 5, from another leader", false, 0, 7, 6, 3000, OK},
        {"the very first finds no room", true, 0, INT32_MAX, 0, 4000, OK},
        {"and the second is not taken for it", false, 0, 0, -1, 4000, ERR_DISK_FULL},
        {"a late one of an epoch before", false, -1, 3, -1, 4000, OK},
        {"an older one was refused after it", true, 0, INT32_MAX - 5, 0, 5000, OK},
        {"it is the one to wait for", false, 0, INT32_MAX, -1, 5000, ERR_DISK_FULL},
        {"for as long as clients wait", false, 0, INT32_MAX, -1, 5000 + REFUSED_MS, ERR_DISK_FULL},
        {"and no longer", false, 0, INT32_MAX, -1, 5001 + REFUSED_MS, OK},
        {"5 finds no room", true, 0, 5, 0, 6000, OK},
        {"the next epoch begins anew", false, 1, 3, -1, 6000, OK},
        {"and nothing of the last is left", false, 0, 6, 5, 6000, OK},
    };
    struct refused refused = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct batch_header header = batch(9, rows[i].epoch, rows[i].sequence);
        if (rows[i].is_note) {
            refused_note(&refused, &header, rows[i].now_ms);
            continue;
        }
        enum error err = refused_check(&refused, &header, rows[i].next, rows[i].now_ms);
        if (err != rows[i].err) fail_msg("row %zu, %s: %s", i, rows[i].says, error_text(err));
    }
    refused_free(&refused);
}

static void the_one_refused_longest_ago_makes_room(void **state)
{
    struct refused refused = {0};
    for (int64_t id = 0; id <= REFUSED_MAX; id++) {
        struct batch_header header = batch(id, 0, 5);
        refused_note(&refused, &header, id);
    }
    assert_int_equal(refused.count, REFUSED_MAX);
    struct batch_header first = batch(0, 0, 6), second = batch(1, 0, 6), last = batch(REFUSED_MAX, 0, 6);
    assert_int_equal(refused_check(&refused, &first, 5, REFUSED_MAX), OK);
    assert_int_equal(refused_check(&refused, &second, 5, REFUSED_MAX), ERR_DISK_FULL);
    assert_int_equal(refused_check(&refused, &last, 5, REFUSED_MAX), ERR_DISK_FULL);
    refused_free(&refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(behind_what_found_no_room),
                                       cmocka_unit_test(the_one_refused_longest_ago_makes_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
