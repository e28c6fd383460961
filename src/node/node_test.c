/* node_test.c: a whole node is asked over real sockets what clients ask, the odd questions included (facts/api-versions.md 2.1 and
 * 9, facts/storage.md 4 and 8). */
#include "node/node_bench.h"

#include "base/diag.h"

/* --- produce --- */

static void records_go_in(void **state)
{
    struct world *world = world_new(false);
    int fd = dial(world);
    create(world, fd, "t", NULL);
    for (int16_t version = 3; version <= 12; version++) {
        struct batch batch = plain(2);
        struct produced got =
            produce(world, fd, version, version % 2 ? -1 : 1, "t", 0, batch.bytes, (int32_t)batch.size);
        assert_int_equal(got.code, 0);
        assert_int_equal(got.base_offset, (version - 3) * 2);
    }

    struct batch batch = plain(1), twice = batch, junk = batch, torn = batch, broken = batch, old = batch;
    memcpy(twice.bytes + batch.size, batch.bytes, batch.size);
    twice.size *= 2;
    memset(junk.bytes + batch.size, 7, 20);
    junk.size += 20;
    torn.size -= 5;
    broken.bytes[broken.size - 1] ^= 1;
    old.bytes[16] = 1;
    const struct {
        const char *topic;
        int32_t partition;
        int16_t acks;
        const struct batch *batch; /* NULL = null records */
        enum error err;
    } rows[] = {
        {"t", 0, 1, NULL, ERR_INVALID_RECORD},
        {"t", 0, 1, &twice, ERR_INVALID_RECORD},
        {"t", 0, 1, &junk, ERR_INVALID_RECORD},
        {"t", 0, 1, &torn, ERR_INVALID_RECORD},
        {"t", 0, 1, &old, ERR_INVALID_RECORD},
        {"t", 0, 1, &broken, ERR_CORRUPT_MESSAGE},
        {"t", 0, 7, &batch, ERR_INVALID_REQUIRED_ACKS},
        {"t", 0, -2, &batch, ERR_INVALID_REQUIRED_ACKS},
        {"t", 5, 1, &batch, ERR_UNKNOWN_TOPIC_OR_PARTITION},
        {"t", -1, 1, &batch, ERR_UNKNOWN_TOPIC_OR_PARTITION},
        {"nowhere", 0, 1, &batch, ERR_UNKNOWN_TOPIC_OR_PARTITION},
        {"a/b", 0, 1, &batch, ERR_UNKNOWN_TOPIC_OR_PARTITION},
        {"__consumer_offsets", 0, 1, &batch, ERR_UNKNOWN_TOPIC_OR_PARTITION}, /* not made yet */
        {"nowhere", 0, 7, &batch, ERR_UNKNOWN_TOPIC_OR_PARTITION},
        {"t", 0, 1, &batch, OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct batch *sent = rows[i].batch;
        struct produced got = produce(world, fd, 9, rows[i].acks, rows[i].topic, rows[i].partition,
                                      sent ? sent->bytes : NULL, sent ? (int32_t)sent->size : -1);
        if (got.code != error_kafka_code(rows[i].err)) fail_msg("row %zu: %d", i, got.code);
        assert_int_equal(got.base_offset, rows[i].err == OK ? 20 : -1);
    }

    /* By id, and by one that nobody has. */
    struct uuid id;
    create(world, fd, "t", &id);
    for (int i = 0; i < 2; i++) {
        struct produce_request request;
        struct produce_request_topic_produce_data topic;
        struct produce_request_partition_produce_data data;
        fill_produce(&request, &topic, &data, 1, "", 0, batch.bytes, (int32_t)batch.size);
        topic.topic_id = id;
        topic.topic_id.bytes[3] ^= i ? 0xff : 0;
        struct produce_response response;
        call(world, fd, PRODUCE, 13, &request, &response);
        assert_int_equal(response.responses.items[0].partition_responses.items[0].error_code,
                         i ? error_kafka_code(ERR_UNKNOWN_TOPIC_ID) : 0);
    }
    close(fd);
    world_free(world);
}

static void without_acks_nothing_is_said(void **state)
{
    struct world *world = world_new(false);
    int fd = dial(world);
    create(world, fd, "t", NULL);
    struct batch batch = plain(1);
    struct produce_request request;
    struct produce_request_topic_produce_data topic;
    struct produce_request_partition_produce_data data;
    fill_produce(&request, &topic, &data, 0, "t", 0, batch.bytes, (int32_t)batch.size);
    ask(fd, PRODUCE, 9, 1, &request);
    assert_int_equal(produce_batch(world, fd, 1, "t", batch).base_offset,
                     1); /* the next answer is of the next request */
    topic.name = SLICE("nowhere");
    ask(fd, PRODUCE, 9, 2, &request);
    uint8_t byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    world_free(world);
}

static void idempotent_producers_write_once(void **state)
{
    struct world *world = world_new(false);
    int fd = dial(world);
    create(world, fd, "t", NULL);
    struct init_producer_id_request init;
    init_producer_id_request_init(&init);
    init.transactional_id = SLICE_NULL;
    struct init_producer_id_response given, next;
    call(world, fd, INIT_PRODUCER_ID, 4, &init, &given);
    call(world, fd, INIT_PRODUCER_ID, 2, &init, &next);
    assert_int_equal(given.error_code, 0);
    assert_int_equal(given.producer_epoch, 0);
    assert_true(given.producer_id >= 0 && next.producer_id != given.producer_id);
    int64_t id = given.producer_id;
    init.producer_id = id; /* and no epoch */
    call(world, fd, INIT_PRODUCER_ID, 4, &init, &next);
    assert_int_equal(next.error_code, error_kafka_code(ERR_INVALID_REQUEST));
    const struct {
        int16_t epoch;
        int32_t sequence;
        int records;
        enum error err;
        int64_t offset;
    } rows[] = {
        {0, 0, 3, OK, 0}, {0, 0, 3, OK, 0},                                /* again: where it was */
        {0, 3, 1, OK, 3}, {0, 5, 1, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, -1}, /* a gap */
        {0, 0, 3, OK, 0}, {0, 2, 1, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, -1}, /* a part of an old one */
        {1, 0, 1, OK, 4}, {0, 4, 1, ERR_INVALID_PRODUCER_EPOCH, -1},       /* fenced */
        {1, 1, 1, OK, 5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct batch batch = batch_of(rows[i].records, id, rows[i].epoch, rows[i].sequence, 1000);
        struct produced got = produce_batch(world, fd, -1, "t", batch);
        if (got.code != error_kafka_code(rows[i].err) || got.base_offset != rows[i].offset) {
            fail_msg("row %zu: code %d, offset %lld", i, got.code, (long long)got.base_offset);
        }
    }
    close(fd);
    world_free(world);
}

/* --- fetch --- */

static void records_come_out(void **state)
{
    struct world *world = world_new(*state != NULL);
    int fd = dial(world);
    create(world, fd, "t", NULL);
    for (int i = 0; i < 5; i++) produce_batch(world, fd, 1, "t", plain(2));
    int32_t whole = (int32_t)plain(2).size;
    for (int16_t version = 4; version <= 12; version++) {
        struct fetching fetching;
        fill_fetch(&fetching, "t", 3);
        struct fetch_response response;
        call(world, fd, FETCH, version, &fetching.request, &response);
        const struct fetch_response_partition_data *got = only(&response);
        assert_int_equal(got->error_code, 0);
        assert_int_equal(got->high_watermark, 10);
        assert_int_equal(got->aborted_transactions.count, -1);
        assert_int_equal(got->records.size, 4 * whole); /* from the batch that holds offset 3 */
        assert_int_equal(get_be64(got->records.data), 2);
    }
    const struct {
        int64_t offset;
        int32_t partition, partition_max, max, current_epoch, last_epoch;
        int8_t isolation;
        enum error err;
        int32_t size; /* -1: any */
        int64_t high_watermark;
    } rows[] = {
        {0, 0, 1 << 20, 1 << 20, -1, -1, 0, OK, 5 * 79, 10}, /* size set below */
        {0, 0, 0, 0, -1, -1, 0, OK, 79, 10},                 /* never less than a batch */
        {0, 0, 1, 1 << 20, -1, -1, 0, OK, 79, 10},
        {10, 0, 1 << 20, 1 << 20, -1, -1, 0, OK, 0, 10},
        {11, 0, 1 << 20, 1 << 20, -1, -1, 0, ERR_OFFSET_OUT_OF_RANGE, 0, -1},
        {-5, 0, 1 << 20, 1 << 20, -1, -1, 0, ERR_OFFSET_OUT_OF_RANGE, 0, -1},
        {0, 0, -1, 1 << 20, -1, -1, 0, ERR_UNKNOWN_SERVER_ERROR, 0, -1},
        {0, 9, 1 << 20, 1 << 20, -1, -1, 0, ERR_UNKNOWN_TOPIC_OR_PARTITION, 0, -1},
        {0, 0, 1 << 20, 1 << 20, 0, -1, 0, OK, 5 * 79, 10},
        {0, 0, 1 << 20, 1 << 20, 9, -1, 0, ERR_UNKNOWN_LEADER_EPOCH, 0, -1},
        {4, 0, 1 << 20, 1 << 20, -1, 0, 0, OK, 3 * 79, 10},
        {4, 0, 1 << 20, 1 << 20, -1, 7, 0, ERR_OFFSET_OUT_OF_RANGE, 0, -1}, /* an epoch we know nothing of */
        {4, 0, 1 << 20, 1 << 20, -1, -1, 1, OK, 3 * 79, 10},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fetching fetching;
        fill_fetch(&fetching, "t", rows[i].offset);
        fetching.partition.partition = rows[i].partition;
        fetching.partition.partition_max_bytes = rows[i].partition_max;
        fetching.partition.current_leader_epoch = rows[i].current_epoch;
        fetching.partition.last_fetched_epoch = rows[i].last_epoch;
        fetching.request.max_bytes = rows[i].max;
        fetching.request.isolation_level = rows[i].isolation;
        struct fetch_response response;
        call(world, fd, FETCH, 12, &fetching.request, &response);
        const struct fetch_response_partition_data *got = only(&response);
        if (got->error_code != error_kafka_code(rows[i].err))
            fail_msg("row %zu: code %d", i, got->error_code);
        int32_t size = rows[i].size / 79 * whole;
        if (got->records.size != size) fail_msg("row %zu: %d bytes, want %d", i, got->records.size, size);
        assert_int_equal(got->high_watermark, rows[i].high_watermark);
        assert_int_equal(got->log_start_offset, rows[i].high_watermark < 0 ? -1 : 0);
        bool has_aborted = rows[i].isolation == 1 && rows[i].err == OK;
        if (rows[i].err == ERR_UNKNOWN_TOPIC_OR_PARTITION)
            has_aborted = true; /* none, not null, as in Apache's */
        assert_int_equal(got->aborted_transactions.count, has_aborted ? 0 : -1);
    }
    close(fd);
    world_free(world);
}

static void a_reader_waits_for_what_is_not_there_yet(void **state)
{
    struct world *world = world_new(*state != NULL);
    int reader = dial(world), writer = dial(world);
    create(world, writer, "t", NULL);
    struct fetching fetching;
    fill_fetch(&fetching, "t", 0);
    fetching.request.max_wait_ms = WAIT_S * 1000;
    ask(reader, FETCH, 11, 1, &fetching.request);
    /* Behind it on the same connection, and so answered after it. */
    struct api_versions_request versions;
    api_versions_request_init(&versions);
    ask(reader, API_VERSIONS, 0, 2, &versions);
    produce_batch(world, writer, 1, "t", plain(1));
    struct fetch_response response;
    assert_true(hear(world, reader, FETCH, 11, 1, &response));
    assert_true(only(&response)->records.size > 0);
    struct api_versions_response known;
    assert_true(hear(world, reader, API_VERSIONS, 0, 2, &known));

    /* Not enough bytes: until the time is up, then what there is. */
    fetching.request.min_bytes = 100000;
    fetching.request.max_wait_ms = 50;
    call(world, reader, FETCH, 11, &fetching.request, &response);
    assert_true(only(&response)->records.size > 0);
    /* One who waits and goes is forgotten. */
    fetching.partition.fetch_offset = 1;
    fetching.request.max_wait_ms = WAIT_S * 1000;
    ask(reader, FETCH, 11, 3, &fetching.request);
    close(reader);
    produce_batch(world, writer, 1, "t", plain(1));
    close(writer);
    world_free(world);
}

/* Whose long wait was over when the sweep came is looked at again: alone on its loop, nobody else brings the sweep back. */
static void who_waited_long_is_idle_from_then_on(void **state)
{
    struct world *world = world_new_with(false, "connections.max.idle.ms=150");
    int reader = dial(world);
    create(world, reader, "t", NULL);
    struct fetching fetching;
    fill_fetch(&fetching, "t", 0);
    fetching.request.max_wait_ms = 500;
    struct fetch_response response;
    call(world, reader, FETCH, 11, &fetching.request, &response);
    assert_int_equal(only(&response)->records.size, 0);
    uint8_t byte;
    assert_int_equal(recv(reader, &byte, 1, 0), 0); /* closed, and no timeout of ours */
    close(reader);
    world_free(world);
}

static void sessions_tell_only_news(void **state)
{
    struct world *world = world_new(false);
    int fd = dial(world);
    struct uuid id;
    create(world, fd, "t", &id);
    struct fetching fetching;
    fill_fetch(&fetching, "t", 0);
    fetching.topic.topic_id = id;
    fetching.request.session_epoch = 0;
    struct fetch_response response;
    call(world, fd, FETCH, 15, &fetching.request, &response);
    int32_t session = response.session_id;
    assert_true(session > 0);
    assert_true(uuid_equal(&response.responses.items[0].topic_id, &id));

    struct fetching empty;
    fill_fetch(&empty, "t", 0);
    empty.request.topics.count = 0;
    empty.request.session_id = session;
    empty.request.session_epoch = 1;
    call(world, fd, FETCH, 15, &empty.request, &response);
    assert_int_equal(response.error_code, 0);
    assert_int_equal(response.responses.count, 0);
    produce_batch(world, fd, 1, "t", plain(1));
    empty.request.session_epoch = 2;
    call(world, fd, FETCH, 15, &empty.request, &response);
    assert_int_equal(only(&response)->high_watermark, 1);

    empty.request.session_epoch = 9;
    call(world, fd, FETCH, 15, &empty.request, &response);
    assert_int_equal(response.error_code, error_kafka_code(ERR_INVALID_FETCH_SESSION_EPOCH));
    empty.request.session_id ^= 0x100;
    call(world, fd, FETCH, 15, &empty.request, &response);
    assert_int_equal(response.error_code, error_kafka_code(ERR_FETCH_SESSION_ID_NOT_FOUND));
    empty.request.session_id = session;
    empty.request.session_epoch = 3;
    call(world, fd, FETCH, 12, &empty.request, &response); /* names now, where ids were */
    assert_int_equal(response.error_code, error_kafka_code(ERR_FETCH_SESSION_TOPIC_ID_ERROR));
    fetching.topic.topic_id.bytes[5] ^= 0xff;
    fetching.request.session_epoch = -1;
    call(world, fd, FETCH, 13, &fetching.request, &response);
    assert_int_equal(only(&response)->error_code, error_kafka_code(ERR_UNKNOWN_TOPIC_ID));

    /* One without partitions is a session, until an increment leaves it so. */
    empty.request.session_id = 0;
    empty.request.session_epoch = 0;
    call(world, fd, FETCH, 15, &empty.request, &response);
    assert_true(response.session_id > 0);
    empty.request.session_id = response.session_id;
    empty.request.session_epoch = 1;
    call(world, fd, FETCH, 15, &empty.request, &response);
    assert_int_equal(response.error_code, 0);
    assert_int_equal(response.session_id, 0);
    empty.request.session_epoch = 2;
    call(world, fd, FETCH, 15, &empty.request, &response);
    assert_int_equal(response.error_code, error_kafka_code(ERR_FETCH_SESSION_ID_NOT_FOUND));
    close(fd);
    world_free(world);
}

/* --- offsets, topics, coordinators --- */

static void offsets_have_times(void **state)
{
    struct world *world = world_new(*state != NULL);
    int fd = dial(world);
    create(world, fd, "t", NULL);
    for (int i = 0; i < 4; i++) {
        produce_batch(world, fd, 1, "t",
                      batch_of(2, NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE, 1000 + i * 100));
    }
    const struct {
        int16_t version;
        int64_t timestamp;
        enum error err;
        int64_t offset, found;
    } rows[] = {
        {1, -1, OK, 8, -1},
        {1, -2, OK, 0, -1},
        {1, -3, ERR_UNSUPPORTED_VERSION, -1, -1},
        {7, -3, OK, 7, 1301},
        {7, -4, ERR_UNSUPPORTED_VERSION, -1, -1},
        {8, -4, OK, 0, -1},
        {9, -5, OK, -1, -1},
        {11, -6, OK, -1, -1},
        {4, 0, OK, 0, 1000},
        {4, 1001, OK, 1, 1001},
        {4, 1150, OK, 4, 1200},
        {4, 1302, OK, -1, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct list_offsets_request request;
        list_offsets_request_init(&request);
        request.replica_id = -1;
        struct list_offsets_request_list_offsets_partition partition = {
            .current_leader_epoch = -1, .max_num_offsets = 1, .timestamp = rows[i].timestamp};
        struct list_offsets_request_list_offsets_topic topic = {.name = SLICE("t")};
        topic.partitions.items = &partition;
        topic.partitions.count = 1;
        request.topics.items = &topic;
        request.topics.count = 1;
        struct list_offsets_response response;
        call(world, fd, LIST_OFFSETS, rows[i].version, &request, &response);
        const struct list_offsets_response_list_offsets_partition_response *got =
            &response.topics.items[0].partitions.items[0];
        if (got->error_code != error_kafka_code(rows[i].err) || got->offset != rows[i].offset ||
            got->timestamp != rows[i].found) {
            fail_msg("row %zu: code %d, offset %lld, timestamp %lld", i, got->error_code,
                     (long long)got->offset, (long long)got->timestamp);
        }
    }
    close(fd);
    world_free(world);
}

static int32_t count_topics(struct world *world, int fd, int16_t version, int32_t count)
{
    struct metadata_request request;
    metadata_request_init(&request);
    request.topics.count = count;
    struct metadata_response response;
    call(world, fd, METADATA, version, &request, &response);
    assert_int_equal(response.brokers.count, 1);
    return response.topics.count;
}

static void topics_are_listed_and_made(void **state)
{
    struct world *world = world_new(false);
    int fd = dial(world);
    struct uuid id;
    create(world, fd, "a", &id);
    create(world, fd, "b", NULL);
    assert_int_equal(count_topics(world, fd, 0, 0), 2);
    assert_int_equal(count_topics(world, fd, 1, 0), 0);
    assert_int_equal(count_topics(world, fd, 1, -1), 2);
    assert_int_equal(count_topics(world, fd, 12, -1), 2);

    struct metadata_request_metadata_request_topic topics[] = {
        {.topic_id = id}, {.topic_id = {{9}}}, {.name = SLICE("no/such")}, {.name = SLICE("unknown")}};
    struct metadata_request request;
    metadata_request_init(&request);
    request.allow_auto_topic_creation = false;
    request.topics.items = topics;
    request.topics.count = 4;
    struct metadata_response response;
    call(world, fd, METADATA, 12, &request, &response);
    assert_true(slice_is(response.topics.items[0].name, "a"));
    assert_int_equal(response.topics.items[1].error_code, error_kafka_code(ERR_UNKNOWN_TOPIC_ID));
    assert_null(response.topics.items[1].name.data);
    assert_int_equal(response.topics.items[2].error_code, error_kafka_code(ERR_INVALID_TOPIC_EXCEPTION));
    assert_int_equal(response.topics.items[3].error_code, error_kafka_code(ERR_UNKNOWN_TOPIC_OR_PARTITION));

    struct find_coordinator_request find;
    find_coordinator_request_init(&find);
    struct slice key = SLICE("group");
    find.coordinator_keys.items = &key;
    find.coordinator_keys.count = 1;
    struct find_coordinator_response found;
    call(world, fd, FIND_COORDINATOR, 4, &find, &found);
    assert_int_equal(found.coordinators.count, 1);
    assert_int_equal(found.coordinators.items[0].error_code, 0);
    assert_int_equal(found.coordinators.items[0].port, world->port);
    assert_int_equal(count_topics(world, fd, 1, -1), 3); /* __consumer_offsets has come to be */
    close(fd);
    world_free(world);
}

static void a_restart_forgets_nothing(void **state)
{
    struct world *world = world_new(true);
    int fd = dial(world);
    struct uuid before, after;
    create(world, fd, "t", &before);
    for (int i = 0; i < 10; i++) produce_batch(world, fd, -1, "t", plain(3));
    close(fd);
    world_stop(world);
    world_start(world);
    fd = dial(world);
    create(world, fd, "t", &after);
    assert_true(uuid_equal(&before, &after));
    assert_int_equal(produce_batch(world, fd, -1, "t", plain(1)).base_offset, 30);
    struct fetching fetching;
    fill_fetch(&fetching, "t", 0);
    struct fetch_response response;
    call(world, fd, FETCH, 11, &fetching.request, &response);
    assert_int_equal(only(&response)->high_watermark, 31);
    close(fd);
    world_free(world);
}

int main(void)
{
    diag_set_level(DIAG_WARN);
    static int spread;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_go_in),
        cmocka_unit_test(without_acks_nothing_is_said),
        cmocka_unit_test(idempotent_producers_write_once),
        cmocka_unit_test(records_come_out),
        cmocka_unit_test_prestate(records_come_out, &spread),
        cmocka_unit_test(a_reader_waits_for_what_is_not_there_yet),
        cmocka_unit_test_prestate(a_reader_waits_for_what_is_not_there_yet, &spread),
        cmocka_unit_test(who_waited_long_is_idle_from_then_on),
        cmocka_unit_test(sessions_tell_only_news),
        cmocka_unit_test(offsets_have_times),
        cmocka_unit_test_prestate(offsets_have_times, &spread),
        cmocka_unit_test(topics_are_listed_and_made),
        cmocka_unit_test(a_restart_forgets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
