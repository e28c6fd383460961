/* statelog_test.c: where keys live; replay of runs; and a statelog over a partition that is an array: what is written is
 * told only below the high watermark, in order, and never twice. */
#include "statelog/fake_partition.h"

#include <stdio.h>

#include "base/diag.h"
#include "statelog/statelog.h"
#include "wire/record.h"

/* --- the table the fakes stand on --- */

struct table {
    struct loop loop;
    struct partition partition;
    struct statelog *log;
    struct {
        int64_t offset, producer_id;
        char key[24], value[24];
        bool is_tombstone;
    } seen[2000];
    size_t seen_count, markers;
    int loads;
    enum error load_err;
};

static void turns(struct table *table)
{
    while (fake_turn(&table->loop)) {
    }
}

static void replicate(struct table *table, int64_t high_watermark)
{
    fake_replicate(&table->partition, high_watermark);
    turns(table);
}

static void depose(struct table *table)
{
    fake_depose(&table->partition);
    turns(table);
}

static void sleep_ms(struct table *table, int64_t ms)
{
    table->loop.now_ms += ms;
    while (fake_tick(&table->loop)) turns(table);
    turns(table);
}

static void seen_record(void *state, const struct statelog_record *record)
{
    struct table *table = state;
    assert_true(table->seen_count < 2000);
    __auto_type seen = &table->seen[table->seen_count++];
    seen->offset = record->offset;
    seen->producer_id = record->producer_id;
    seen->is_tombstone = record->value.data == NULL;
    slice_text(record->key, seen->key, sizeof seen->key);
    slice_text(record->value, seen->value, sizeof seen->value);
}
static void seen_marker(void *state, const struct statelog_marker *marker)
{
    ((struct table *)state)->markers++;
}
static void seen_loaded(void *state, enum error err)
{
    struct table *table = state;
    table->loads++;
    table->load_err = err;
}

static const struct statelog_user user = {
    .replay = seen_record, .replay_marker = seen_marker, .loaded = seen_loaded};

static void table_open(struct table *table)
{
    *table = (struct table){.loop = {.now_ms = 1000}};
    fake_partition_open(&table->partition, &table->loop, 3);
}

static void table_begin(struct table *table)
{
    static char lane; /* its address is all that anybody looks at */
    const struct statelog_config config = {.name = "test coordinator",
                                           .write_timeout_ms = 5000,
                                           .load_buffer_bytes = 4096,
                                           .lane = table->partition.is_cold ? (struct lane *)&lane : NULL};
    assert_int_equal(statelog_new(&table->partition, &config, &user, table, &table->log), OK);
    assert_int_equal(table->loads, 0);
}

static void table_lead(struct table *table)
{
    table_begin(table);
    turns(table);
}

static void table_close(struct table *table)
{
    statelog_close(&table->log);
    turns(table);
    fake_partition_close(&table->partition);
}

struct test_op {
    struct statelog_op op;
    int number, done, timed_out;
    enum error err;
};
static int done_order;

static void op_done(struct statelog_op *op, enum error err)
{
    struct test_op *test = CONTAINER_OF(op, struct test_op, op);
    test->done++;
    test->err = err;
    test->number = done_order++;
}
static void op_timed_out(struct statelog_op *op)
{
    struct test_op *test = CONTAINER_OF(op, struct test_op, op);
    assert_int_equal(test->done, 0);
    test->timed_out++;
}

static void write_op(struct table *table, struct test_op *op, const char *key, const char *value)
{
    struct statelog_entry entry = {slice_of(key), slice_of(value)};
    *op = (struct test_op){.op = {.done = op_done, .timed_out = op_timed_out}};
    statelog_write(table->log, &op->op, &entry, key ? 1 : 0);
    assert_int_equal(op->done, 0); /* never inside the call */
}

/* --- keys --- */

static void hashes_are_javas(void **unused)
{
    static const struct {
        const char *text;
        int32_t hash;
        size_t length;
    } cases[] = {
        {"", 0, 0},
        {"a", 97, 1},
        {"Aa", 2112, 2}, /* the oldest collision there is */
        {"BB", 2112, 2},
        {"hello", 99162322, 5},
        {"my-group", -1906497762, 8},
        {"polygenelubricants", INT32_MIN, 18},
        {"\xc3\xa9", 233, 1},
        {"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 25921943, 3},
        {"\xf0\x9f\x98\x80", 1772899, 2}, /* a surrogate pair in Java */
        {"a\xf0\x9f\x98\x80"
         "b",
         57849694, 4},
        {"\xf4\x8f\xbf\xbf", 1803232, 2},
        {"\xff"
         "a\xe6\x97",
         65533 * 961 + 97 * 31 + 65533, 3}, /* not UTF-8: U+FFFD where Java's decoder puts it */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(java_string_hash(slice_of(cases[i].text)), cases[i].hash);
        assert_int_equal(java_string_length(slice_of(cases[i].text)), cases[i].length);
    }
    assert_int_equal(statelog_partition_of(SLICE("polygenelubricants"), 50), 0);
    assert_int_equal(statelog_partition_of(SLICE("my-group"), 50), 1906497762 % 50);
    assert_int_equal(statelog_partition_of(SLICE("hello"), 50), 99162322 % 50);
    assert_int_equal(statelog_partition_of(SLICE("hello"), 1), 0);
}

/* --- writing --- */

static void tells_below_the_high_watermark(void **unused)
{
    struct table *table = malloc(sizeof *table);
    table_open(table);
    table_lead(table);
    assert_int_equal(table->loads, 1);
    assert_true(statelog_is_loaded(table->log));

    struct test_op a, b, c, barrier;
    write_op(table, &barrier, NULL, NULL);
    turns(table);
    assert_int_equal(barrier.done, 1); /* nothing was written before it */
    write_op(table, &a, "a", "1");
    write_op(table, &b, "b", NULL);
    write_op(table, &barrier, NULL, NULL);
    turns(table);
    assert_int_equal(table->partition.appends, 1); /* one turn, one batch */
    write_op(table, &c, "c", "3");
    turns(table);
    assert_int_equal(table->partition.appends, 2);
    assert_int_equal(a.done + b.done + c.done, 0);
    assert_int_equal(barrier.done, 0);
    replicate(table, 1);
    assert_int_equal(a.done, 0); /* its batch is whole or not at all */
    replicate(table, 2);
    assert_int_equal(a.done + b.done + barrier.done, 3);
    assert_true(b.number < barrier.number);
    write_op(table, &barrier, NULL, NULL);
    assert_true(a.number < b.number);
    assert_int_equal(a.op.last_offset, 0);
    assert_int_equal(b.op.last_offset, 1);
    assert_int_equal(c.done + barrier.done, 0);
    replicate(table, 3);
    assert_int_equal(c.done + barrier.done, 2);
    assert_true(c.number < barrier.number);
    assert_int_equal(c.err, OK);
    table_close(table);
    free(table);
}

static void failures_are_told(void **unused)
{
    struct table *table = malloc(sizeof *table);
    table_open(table);
    table_lead(table);
    struct test_op a, b, c, d;

    table->partition.append_error = ERR_NOT_ENOUGH_REPLICAS;
    write_op(table, &a, "a", "1");
    write_op(table, &b, "b", "1");
    turns(table);
    assert_int_equal(a.err, ERR_NOT_ENOUGH_REPLICAS);
    assert_int_equal(b.err, ERR_NOT_ENOUGH_REPLICAS);
    assert_int_equal(a.done + b.done, 2);

    table->partition.append_error = OK;
    write_op(table, &a, "a", "1");
    turns(table);
    sleep_ms(table, 4999);
    assert_int_equal(a.timed_out, 0);
    write_op(table, &b, "b", "1");
    sleep_ms(table, 1);
    assert_int_equal(a.timed_out, 1);
    assert_int_equal(a.done, 0);
    replicate(table, 1); /* late, but it came */
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err, OK);

    write_op(table, &c, "c", "1");
    depose(table);
    assert_int_equal(b.err, ERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(c.err, ERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(b.done + c.done, 2);
    write_op(table, &d, "d", "1");
    statelog_close(&table->log);
    assert_int_equal(d.done, 1);
    assert_int_equal(d.err, ERR_NOT_COORDINATOR);
    assert_int_equal(a.done + b.done + c.done, 3);

    static const struct {
        enum error err, client;
    } words[] = {{OK, OK},
                 {ERR_NOT_ENOUGH_REPLICAS, ERR_COORDINATOR_NOT_AVAILABLE},
                 {ERR_NOT_LEADER_OR_FOLLOWER, ERR_NOT_COORDINATOR},
                 {ERR_KAFKA_STORAGE_ERROR, ERR_NOT_COORDINATOR},
                 {ERR_DISK_FULL, ERR_COORDINATOR_NOT_AVAILABLE},
                 {ERR_NETWORK_EXCEPTION, ERR_COORDINATOR_LOAD_IN_PROGRESS},
                 {ERR_MESSAGE_TOO_LARGE, ERR_UNKNOWN_SERVER_ERROR},
                 {ERR_RECORD_LIST_TOO_LARGE, ERR_UNKNOWN_SERVER_ERROR},
                 {ERR_NOMEM, ERR_UNKNOWN_SERVER_ERROR}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        assert_int_equal(statelog_client_error(words[i].err), words[i].client);
    }
    table_close(table);
    free(table);
}

/* done() may write, close, or free. */
struct chained {
    struct statelog_op op;
    struct table *table;
    int left;
};
static void chain(struct statelog_op *op, enum error err)
{
    struct chained *chained = CONTAINER_OF(op, struct chained, op);
    struct statelog_entry entry = {SLICE("chain"), SLICE("x")};
    if (chained->left-- > 0) return statelog_write(chained->table->log, &chained->op, &entry, 1);
    statelog_close(&chained->table->log);
    free(chained);
}
static void done_may_do_anything(void **unused)
{
    struct table *table = malloc(sizeof *table);
    table_open(table);
    table->partition.high_watermark = INT64_MAX; /* the only replica */
    table_lead(table);
    struct chained *chained = calloc(1, sizeof *chained);
    *chained = (struct chained){.op = {.done = chain}, .table = table, .left = 5};
    chain(&chained->op, OK);
    struct test_op last;
    write_op(table, &last, "k", "v");
    turns(table);
    assert_null(table->log);
    assert_int_equal(last.done, 1);
    assert_int_equal(table->partition.end_offset, 6);
    table_close(table);
    free(table);
}

/* --- loading --- */

static void append_batch(struct table *table, const struct batch_options *options, const char *key,
                         const char *value)
{
    struct batch_builder builder = {0};
    struct slice batch;
    struct log_appended appended;
    batch_builder_start(&builder, options);
    assert_int_equal(batch_builder_add(&builder, 5, slice_of(key), slice_of(value), NULL, 0), OK);
    assert_int_equal(batch_builder_finish(&builder, &batch), OK);
    assert_int_equal(partition_append(&table->partition, (uint8_t *)batch.data, batch.size, -1, APPEND_CLIENT,
                                      5, &appended),
                     OK);
    batch_builder_free(&builder);
}

static void loads_what_is_there(void **unused)
{
    for (size_t read_limit = 0; read_limit < 400; read_limit += 97) {
        struct table *table = malloc(sizeof *table);
        table_open(table);
        struct batch_options plain = BATCH_OPTIONS_DEFAULT, in_transaction = BATCH_OPTIONS_DEFAULT,
                             packed = plain;
        in_transaction.is_transactional = true;
        in_transaction.producer_id = 42;
        in_transaction.producer_epoch = 1;
        packed.codec = CODEC_GZIP;
        packed.level = codec_default_level(CODEC_GZIP);
        append_batch(table, &plain, "gone", "below the log's start");
        append_batch(table, &plain, "a", "1");
        append_batch(table, &in_transaction, "b", "2");
        append_batch(table, &packed, "c", NULL);
        append_batch(table, &plain, NULL, "a record without key says nothing");
        uint8_t marker[END_TXN_MARKER_SIZE];
        struct log_appended appended;
        end_txn_marker_write(marker, 42, 1, 0, true, 5);
        assert_int_equal(
            partition_append(&table->partition, marker, sizeof marker, -1, APPEND_COORDINATOR, 5, &appended),
            OK);
        for (int i = 0; i < 1000; i++) append_batch(table, &plain, "d", "many");
        table->partition.start_offset = 1;
        table->partition.high_watermark = table->partition.end_offset;
        table->partition.read_limit = read_limit;
        table_lead(table);

        assert_int_equal(table->loads, 1);
        assert_int_equal(table->load_err, OK);
        assert_int_equal(table->seen_count, 1003);
        assert_int_equal(table->markers, 1);
        assert_string_equal(table->seen[0].key, "a");
        assert_int_equal(table->seen[0].offset, 1);
        assert_int_equal(table->seen[0].producer_id, -1);
        assert_int_equal(table->seen[1].producer_id, 42);
        assert_true(table->seen[2].is_tombstone);
        assert_int_equal(table->seen[1002].offset, 1005);
        table_close(table);
        free(table);
    }
}

static void a_worker_reads_what_is_not_in_memory(void **unused)
{
    for (int closed_after = 0; closed_after < 6; closed_after++) {
        struct table *table = malloc(sizeof *table);
        table_open(table);
        struct batch_options plain = BATCH_OPTIONS_DEFAULT;
        for (int i = 0; i < 10; i++) append_batch(table, &plain, "a", "1");
        table->partition.high_watermark = table->partition.end_offset;
        table->partition.is_cold = table->partition.is_cut = true;
        table->partition.read_limit = 300;
        if (closed_after == 0) {
            table_lead(table);
            assert_int_equal(table->load_err, OK);
            assert_int_equal(table->seen_count, 10);
        } else { /* while a worker is at it: its bytes are nobody's any more */
            table_begin(table);
            for (int i = 0; i < closed_after; i++) fake_turn(&table->loop);
            assert_int_equal(table->loads, 0);
        }
        table_close(table);
        assert_int_equal(table->loads, closed_after == 0);
        free(table);
    }
}

/* A leader of a new epoch has what an earlier one wrote last, and another leader after it may take that back. */
static void what_is_not_committed_is_not_served(void **unused)
{
    struct table *table = malloc(sizeof *table);
    table_open(table);
    struct batch_options plain = BATCH_OPTIONS_DEFAULT;
    append_batch(table, &plain, "a", "1");
    append_batch(table, &plain, "b", "2");
    replicate(table, 1);
    table_lead(table);
    sleep_ms(table, 10000);
    assert_int_equal(table->loads, 0);
    replicate(table, 2);
    turns(table);
    assert_int_equal(table->loads, 1);
    assert_int_equal(table->load_err, OK);
    sleep_ms(table, 1000);
    statelog_close(&table->log);
    turns(table);

    /* With too few in sync it never would be, and the group must live. */
    table->loads = 0;
    append_batch(table, &plain, "c", "3");
    table_lead(table);
    assert_int_equal(table->loads, 0);
    table->partition.is_short_of_isr = true;
    sleep_ms(table, 200);
    assert_int_equal(table->loads, 1);
    table_close(table);

    table_open(table);
    append_batch(table, &plain, "a", "1");
    table_lead(table); /* closed in the middle of its waiting */
    table_close(table);
    assert_int_equal(table->loads, 0);
    free(table);
}

static void a_broken_log_is_not_served(void **unused)
{
    struct table *table = malloc(sizeof *table);
    table_open(table);
    struct batch_options plain = BATCH_OPTIONS_DEFAULT;
    append_batch(table, &plain, "a", "1");
    append_batch(table, &plain, "b", "2");
    table->partition.bytes[table->partition.size - 1] ^= 1;
    table_lead(table);
    assert_int_equal(table->loads, 1);
    assert_int_not_equal(table->load_err, OK);
    assert_false(statelog_is_loaded(table->log));
    assert_int_equal(table->seen_count, 1);
    table_close(table);
    free(table);
}

/* What was told as done is what the next leader reads, in order, whatever batches it came in. */
static void what_is_done_is_read_again(void **unused)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct table *table = malloc(sizeof *table);
        table_open(table);
        table_lead(table);
        static struct test_op ops[600];
        static char keys[600][16];
        int count = 0;
        for (int step = 0; step < 600; step++) {
            switch (random_below(&random, 6)) {
            case 0: turns(table); break;
            case 1:
                replicate(table,
                          table->partition.high_watermark +
                              (int64_t)random_below(&random, (uint64_t)(table->partition.end_offset -
                                                                        table->partition.high_watermark) +
                                                                 1));
                break;
            case 2: table->partition.append_error = random_below(&random, 3) ? OK : ERR_DISK_FULL; break;
            default:
                snprintf(keys[count], sizeof keys[count], "%d", count);
                write_op(table, &ops[count], keys[count], "v");
                count++;
            }
        }
        table->partition.append_error = OK;
        turns(table);
        replicate(table, table->partition.end_offset);
        statelog_close(&table->log);
        turns(table);
        table->loads = 0;
        table_lead(table);
        size_t next = 0;
        for (int i = 0; i < count; i++) {
            assert_int_equal(ops[i].done, 1);
            if (ops[i].err != OK) continue;
            assert_true(next < table->seen_count);
            assert_string_equal(table->seen[next].key, keys[i]);
            assert_int_equal(table->seen[next].offset, ops[i].op.last_offset);
            next++;
        }
        assert_int_equal(next, table->seen_count);
        table_close(table);
        free(table);
    }
}

int main(void)
{
    diag_set_level(DIAG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_javas),
        cmocka_unit_test(tells_below_the_high_watermark),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(done_may_do_anything),
        cmocka_unit_test(loads_what_is_there),
        cmocka_unit_test(a_worker_reads_what_is_not_in_memory),
        cmocka_unit_test(what_is_not_committed_is_not_served),
        cmocka_unit_test(a_broken_log_is_not_served),
        cmocka_unit_test(what_is_done_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
