/* producer_state_test.c: what a leader lets in, one row a batch; what a snapshot keeps; Apache's own bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/producer_state.h"

static struct batch_header batch(int64_t offset, int count, int64_t id, int16_t epoch, int32_t sequence,
                                 bool is_transactional)
{
    return (struct batch_header){.base_offset = offset,
                                 .size_bytes = 100,
                                 .magic = 2,
                                 .attributes = is_transactional ? BATCH_TRANSACTIONAL : 0,
                                 .last_offset_delta = count - 1,
                                 .max_timestamp = 1000 + offset,
                                 .producer_id = id,
                                 .producer_epoch = epoch,
                                 .base_sequence = sequence,
                                 .record_count = count};
}

/* One after the other on one state; what is let in is applied. */
static void one_row_a_batch(void **state)
{
    enum { MARKER = -2 };
    static const struct {
        const char *says;
        int64_t id;
        int16_t epoch;
        int32_t sequence; /* MARKER: an end of transaction */
        int count;        /* of records; of a marker: 0 abort, 1 commit */
        bool is_transactional;
        int32_t coordinator_epoch;
        enum error err;
        int64_t duplicate_of; /* base offset, -1: it is none */
    } rows[] = {
        {"no producer", -1, -1, -1, 3, false, 0, OK, -1},
        {"an unknown one may start anywhere", 7, 0, 5, 2, false, 0, OK, -1},
        {"and goes on", 7, 0, 7, 1, false, 0, OK, -1},
        {"a gap", 7, 0, 9, 1, false, 0, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, -1},
        {"a retry of the last", 7, 0, 7, 1, false, 0, OK, 5},
        {"a retry of the one before", 7, 0, 5, 2, false, 0, OK, 3},
        {"half of an old one", 7, 0, 5, 1, false, 0, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, -1},
        {"third", 7, 0, 8, 1, false, 0, OK, -1},
        {"fourth", 7, 0, 9, 1, false, 0, OK, -1},
        {"fifth", 7, 0, 10, 1, false, 0, OK, -1},
        {"the first is still known", 7, 0, 5, 2, false, 0, OK, 3},
        {"sixth", 7, 0, 11, 1, false, 0, OK, -1},
        {"now the first is not", 7, 0, 5, 2, false, 0, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, -1},
        {"but the second is", 7, 0, 7, 1, false, 0, OK, 5},
        {"a new epoch begins at 0", 7, 1, 3, 1, false, 0, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, -1},
        {"so", 7, 1, 0, 2, false, 0, OK, -1},
        {"the old one is out", 7, 0, 12, 1, false, 0, ERR_INVALID_PRODUCER_EPOCH, -1},
        {"near the wrap", 8, 0, INT32_MAX - 1, 4, false, 0, OK, -1},
        {"beyond the wrap", 8, 0, 2, 1, false, 0, OK, -1},
        {"retry across the wrap", 8, 0, INT32_MAX - 1, 4, false, 0, OK, 12},
        {"a transaction begins", 9, 0, 0, 1, true, 0, OK, -1},
        {"others may not write into it", 9, 0, 1, 1, false, 0, ERR_INVALID_TXN_STATE, -1},
        {"it goes on", 9, 0, 1, 1, true, 0, OK, -1},
        {"and ends", 9, 0, MARKER, 1, true, 4, OK, -1},
        {"a deposed coordinator", 9, 0, MARKER, 1, true, 3, ERR_TRANSACTION_COORDINATOR_FENCED, -1},
        {"its marker for a producer from before", 7, 0, MARKER, 0, true, 4, ERR_INVALID_PRODUCER_EPOCH, -1},
        {"a marker alone", 10, 3, MARKER, 0, true, 4, OK, -1},
        {"and then any sequence", 10, 3, 77, 1, false, 0, OK, -1},
    };
    struct producer_state producers = {0};
    int64_t offset = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool is_marker = rows[i].sequence == MARKER, is_duplicate, has_aborted;
        int count = is_marker ? 1 : rows[i].count;
        struct batch_header header = batch(offset, count, rows[i].id, rows[i].epoch,
                                           is_marker ? -1 : rows[i].sequence, rows[i].is_transactional);
        if (is_marker) header.attributes |= BATCH_CONTROL;
        struct control_record control = {rows[i].count ? CONTROL_COMMIT : CONTROL_ABORT,
                                         rows[i].coordinator_epoch};
        struct producer_batch duplicate;
        struct txn_entry aborted;
        enum error err =
            producer_state_check(&producers, &header, is_marker ? &control : NULL, &is_duplicate, &duplicate);
        if (err != rows[i].err) fail_msg("%s: %s", rows[i].says, error_text(err));
        if (err != OK) continue;
        if (is_duplicate != (rows[i].duplicate_of >= 0))
            fail_msg("%s: duplicate %d", rows[i].says, is_duplicate);
        if (is_duplicate) {
            if (duplicate.last_offset - duplicate.offset_delta != rows[i].duplicate_of)
                fail_msg("%s", rows[i].says);
            continue;
        }
        assert_int_equal(
            producer_state_apply(&producers, &header, is_marker ? &control : NULL, &has_aborted, &aborted),
            OK);
        offset += count;
    }
    producer_state_free(&producers);
}

static void take(struct producer_state *producers, struct batch_header header)
{
    bool has_aborted;
    struct txn_entry aborted;
    assert_int_equal(producer_state_apply(producers, &header, NULL, &has_aborted, &aborted), OK);
}

/* The snapshot had the batch at 20, the replay brought those from 30 on; one at 50 was never written. */
static void what_stays_in_the_log_is_not_forgotten(void **state)
{
    for (int known = 0; known < 6; known++) {
        struct producer_state before = {0}, after = {0};
        for (int i = 6 - known; i <= 5; i++) take(&before, batch(i * 10, 10, 7, 2, i * 10, false));
        for (int i = 2; i <= 4; i++) take(&after, batch(i * 10, 10, 7, 2, i * 10, false));
        take(&before, batch(5, 1, 8, 3, 0, false)); /* another epoch, another producer */
        take(&after, batch(6, 1, 8, 4, 0, false));
        take(&before, batch(7, 1, 9, 0, 0, false));
        producer_state_recall(&after, &before, 50);
        for (int i = 0; i <= 5; i++) {
            bool is_duplicate;
            struct producer_batch duplicate;
            struct batch_header header = batch(90, 10, 7, 2, i * 10, false);
            enum error err = producer_state_check(&after, &header, NULL, &is_duplicate, &duplicate);
            bool is_known = i >= 2 ? i <= 4 : i >= 6 - known;
            assert_int_equal(err, is_known || i == 5 ? OK : ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
            if (err == OK) assert_int_equal(is_duplicate, is_known);
            if (is_known) assert_int_equal(duplicate.last_offset, i * 10 + 9);
        }
        assert_int_equal(after.producers.count, 2);
        producer_state_free(&before);
        producer_state_free(&after);
    }
}

static void transactions_hold_back_readers(void **state)
{
    struct producer_state producers = {0};
    struct txn_entry aborted;
    bool has_aborted;
    assert_true(producer_state_first_open(&producers) == INT64_MAX);
    struct batch_header first = batch(10, 2, 1, 0, 0, true), second = batch(12, 1, 2, 0, 0, true);
    assert_int_equal(producer_state_apply(&producers, &first, NULL, &has_aborted, &aborted), OK);
    assert_int_equal(producer_state_apply(&producers, &second, NULL, &has_aborted, &aborted), OK);
    assert_int_equal(producer_state_first_open(&producers), 10);

    struct control_record abort = {CONTROL_ABORT, 0}, commit = {CONTROL_COMMIT, 0};
    struct batch_header marker = batch(13, 1, 1, 0, -1, true);
    assert_int_equal(producer_state_apply(&producers, &marker, &abort, &has_aborted, &aborted), OK);
    assert_true(has_aborted);
    assert_int_equal(aborted.first_offset, 10);
    assert_int_equal(aborted.last_offset, 13);
    assert_int_equal(aborted.last_stable_offset, 12); /* the other one is still open */
    assert_int_equal(producer_state_first_open(&producers), 12);
    assert_int_equal(producer_state_first_unstable(&producers, 13), 10); /* its marker is not committed */
    assert_int_equal(producer_state_first_unstable(&producers, 14), 12);

    marker = batch(14, 1, 2, 0, -1, true);
    assert_int_equal(producer_state_apply(&producers, &marker, &commit, &has_aborted, &aborted), OK);
    assert_false(has_aborted);
    assert_int_equal(producer_state_first_unstable(&producers, 14), 12);
    assert_true(producer_state_first_unstable(&producers, 15) == INT64_MAX);
    producer_state_free(&producers);
}

/* As a broker of 4.3 wrote it: one producer, epoch 4, a transaction open at 8. */
static void apaches_snapshot(void **state)
{
    static const uint8_t bytes[] = {0x00, 0x01, 0xc3, 0x2b, 0xbf, 0x95, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
                                    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00,
                                    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00,
                                    0x00, 0x00, 0x01, 0xa2, 0x03, 0x44, 0x83, 0xe2, 0x00, 0x00, 0x00, 0x00,
                                    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08};
    struct producer_state producers = {0};
    struct text written = {0};
    assert_int_equal(producer_state_read((struct slice){bytes, sizeof bytes}, &producers), OK);
    assert_int_equal(producers.producers.count, 1);
    assert_int_equal(producer_state_first_open(&producers), 8);
    producer_state_write(&producers, &written);
    assert_int_equal(written.size, sizeof bytes);
    assert_memory_equal(written.data, bytes, sizeof bytes);
    for (size_t size = 0; size < sizeof bytes; size++) {
        assert_int_not_equal(producer_state_read((struct slice){bytes, size}, &producers), OK);
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        uint8_t bad[sizeof bytes];
        memcpy(bad, bytes, sizeof bytes);
        bad[i] ^= 0x40;
        assert_int_not_equal(producer_state_read((struct slice){bad, sizeof bad}, &producers), OK);
    }
    assert_int_equal(producers.producers.count, 1); /* untouched by what could not be read */
    text_free(&written);
    producer_state_free(&producers);
}

static void silent_producers_are_forgotten(void **state)
{
    struct producer_state producers = {0};
    struct txn_entry aborted;
    bool has_aborted;
    for (int64_t id = 0; id < 300; id++) {
        struct batch_header header = batch(id, 1, id, 0, 0, id == 5);
        assert_int_equal(producer_state_apply(&producers, &header, NULL, &has_aborted, &aborted), OK);
    }
    producer_state_expire(&producers, 1000 + 199);
    assert_int_equal(producers.producers.count, 101); /* 200..299, and the one with an open transaction */
    assert_non_null(map_get_number(&producers.producers, 5));
    producer_state_free(&producers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_row_a_batch),
        cmocka_unit_test(what_stays_in_the_log_is_not_forgotten),
        cmocka_unit_test(transactions_hold_back_readers),
        cmocka_unit_test(apaches_snapshot),
        cmocka_unit_test(silent_producers_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
