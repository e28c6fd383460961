/* broker_test.c: frames, order, limits and nonsense, over real sockets: a broker on a loop of its own thread, clients here. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/diag.h"
#include "base/random.h"
#include "broker/broker.h"
#include "broker/budget.h"
#include "broker/fetch_session.h"
#include "loop/loop.h"
#include "metadata/metadata.h"
#include "metrics/metrics.h"
#include "settings/settings.h"
#include "wire/messages.h"

enum { API_VERSIONS = 18, METADATA = 3, WAIT_MS = 20000 };

struct world {
    struct descriptors *descriptors;
    struct loop *loop, *loops[1];
    struct settings *settings;
    struct metadata *metadata;
    struct metrics *metrics;
    struct broker *broker;
    uint16_t port;
    struct loop_message close;
};

/* --- the broker --- */

static struct world *world_new(const char *const *overrides, size_t count)
{
    struct world *world = calloc(1, sizeof *world);
    struct settings_sources sources = {.name = "test",
                                       .text = SLICE("broker.id=1\nlisteners=PLAINTEXT://127.0.0.1:0\n"
                                                     "auto.create.topics.enable=false\n"),
                                       .overrides = overrides,
                                       .override_count = count};
    assert_int_equal(settings_load(&sources, &world->settings), OK);
    world->descriptors = descriptors_new(0);
    assert_int_equal(loop_new(world->descriptors, &world->loop), OK);
    world->loops[0] = world->loop;
    assert_int_equal(metadata_new(world->loop, SLICE("abcdefghijklmnopqrstuv"), &world->metadata), OK);
    world->metrics = metrics_new();
    struct broker_options options = {.broker_id = 1,
                                     .loops = world->loops,
                                     .loop_count = 1,
                                     .settings = world->settings,
                                     .metadata = world->metadata,
                                     .metrics = world->metrics};
    assert_int_equal(broker_new(&options, &world->broker), OK);
    struct text why = {0};
    assert_int_equal(broker_bind(world->broker, &why), OK);
    world->port = broker_port(world->broker, 0);
    assert_true(world->port > 0);
    broker_accept(world->broker);
    assert_int_equal(loop_start_thread(world->loop, "broker"), OK);
    return world;
}

static void closed(void *context)
{
    loop_stop(((struct world *)context)->loop);
}

static void close_run(struct loop_message *message)
{
    struct world *world = CONTAINER_OF(message, struct world, close);
    broker_close(world->broker, 100, closed, world);
}

static void world_free(struct world *world)
{
    world->close.run = close_run;
    loop_post(world->loop, &world->close);
    loop_join(world->loop);
    assert_int_equal(broker_connection_count(world->broker), 0);
    assert_int_equal(broker_held_bytes(world->broker), 0);
    broker_free(&world->broker);
    metadata_free(&world->metadata);
    metrics_free(world->metrics);
    loop_free(world->loop);
    descriptors_free(world->descriptors);
    settings_free(&world->settings);
    free(world);
}

/* --- clients --- */

static int dial(const struct world *world)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(world->port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    struct timeval limit = {.tv_sec = WAIT_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static void send_all(int fd, const void *data, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(fd, (const uint8_t *)data + sent, size - sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) return; /* the broker has heard enough */
        assert_true(n > 0);
        sent += (size_t)n;
    }
}

/* A frame with a header; `body` after it. Returns its size with the length. */
static size_t frame(uint8_t *out, int16_t key, int16_t version, int32_t correlation, const void *body,
                    size_t size)
{
    bool is_flexible = api_of(key) ? api_request_header_version(key, version) == 2 : false;
    if (key == API_VERSIONS) is_flexible = version >= 3;
    uint8_t *p = out + 4;
    put_be16(p, (uint16_t)key);
    put_be16(p + 2, (uint16_t)version);
    put_be32(p + 4, (uint32_t)correlation);
    put_be16(p + 8, 4);
    memcpy(p + 10, "test", 4);
    p += 14;
    if (is_flexible) *p++ = 0;
    if (size > 0) memcpy(p, body, size);
    p += size;
    put_be32(out, (uint32_t)(p - out - 4));
    return (size_t)(p - out);
}

static const uint8_t versions_v3_body[] = {3, 'a', 'b', 2, '1', 0};

static void ask_versions(int fd, int16_t version, int32_t correlation)
{
    uint8_t out[64];
    bool has_body = version == 3 || version == 4;
    send_all(fd, out,
             frame(out, API_VERSIONS, version, correlation, versions_v3_body,
                   has_body ? sizeof versions_v3_body : 0));
}

static bool read_all(int fd, void *into, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = recv(fd, (uint8_t *)into + got, size - got, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) return false;
        if (n < 0) fail_msg("no answer within %d ms: %s", WAIT_MS, strerror(errno));
        got += (size_t)n;
    }
    return true;
}

/* The next answer's correlation id, its frame in `out`; -1 when the broker closed instead. */
static int32_t next_answer(int fd, uint8_t *out, size_t capacity, size_t *size)
{
    uint8_t prefix[4];
    if (!read_all(fd, prefix, 4)) return -1;
    size_t n = get_be32(prefix);
    assert_true(n >= 4 && n <= capacity);
    assert_true(read_all(fd, out, n));
    if (size) *size = n;
    return (int32_t)get_be32(out);
}

static void expect_answer(int fd, int32_t correlation)
{
    uint8_t answer[8192];
    assert_int_equal(next_answer(fd, answer, sizeof answer, NULL), correlation);
}

static void expect_close(int fd)
{
    uint8_t answer[8192];
    assert_int_equal(next_answer(fd, answer, sizeof answer, NULL), -1);
    close(fd);
}

static void expect_alive(const struct world *world)
{
    int fd = dial(world);
    ask_versions(fd, 0, 77);
    expect_answer(fd, 77);
    close(fd);
}

/* --- tests --- */

static void unknown_versions_of_api_versions_are_told_which_are_known(void **state)
{
    struct world *world = world_new(NULL, 0);
    static const int16_t versions[] = {5, 99, -1};
    static const uint8_t want[] = {0, 0, 0, 9, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4};
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        int fd = dial(world);
        ask_versions(fd, versions[i], 9);
        uint8_t answer[4096];
        size_t size;
        assert_int_equal(next_answer(fd, answer, sizeof answer, &size), 9);
        assert_int_equal(size, sizeof want);
        assert_memory_equal(answer, want, sizeof want);
        ask_versions(fd, 3, 10); /* the same connection goes on */
        expect_answer(fd, 10);
        close(fd);
    }
    world_free(world);
}

static void api_versions_lists_what_is_served(void **state)
{
    struct world *world = world_new(NULL, 0);
    int fd = dial(world);
    ask_versions(fd, 3, 1);
    uint8_t answer[4096];
    size_t size = 0;
    assert_int_equal(next_answer(fd, answer, sizeof answer, &size), 1);
    struct arena arena;
    arena_init(&arena, 0);
    struct api_versions_response response;
    struct slice body = {answer + 4, size - 4}; /* no tags in its header, even in version 3 */
    assert_int_equal(api_versions_response_decode(3, body, &arena, &response, NULL, NULL), OK);
    assert_int_equal(response.error_code, 0);
    bool has_produce = false;
    for (int32_t i = 0; i < response.api_keys.count; i++) {
        if (response.api_keys.items[i].api_key != 0) continue;
        has_produce = true;
        assert_int_equal(response.api_keys.items[i].min_version, 0); /* KAFKA-18659 */
        assert_int_equal(response.api_keys.items[i].max_version, 13);
    }
    assert_true(has_produce);
    arena_free(&arena);
    close(fd);
    world_free(world);
}

static void nonsense_closes_the_connection(void **state)
{
    struct world *world = world_new(NULL, 0);
    static const struct {
        int16_t key, version;
    } refused[] = {{999, 0}, {METADATA, 99}, {METADATA, -1}, {0, 2}, {0, 99}, {52, 0}, {-1, 0}};
    uint8_t out[64];
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        int fd = dial(world);
        send_all(fd, out, frame(out, refused[i].key, refused[i].version, 1, NULL, 0));
        expect_close(fd);
    }
    static const uint32_t lengths[] = {0, 0xffffffff, 0x80000000, 0x7fffffff, 104857601};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int fd = dial(world);
        put_be32(out, lengths[i]);
        memset(out + 4, 0, 8);
        send_all(fd, out, 12);
        expect_close(fd);
    }
    /* A body that ends too early; what came before it is answered all the same. */
    int fd = dial(world);
    ask_versions(fd, 0, 5);
    size_t size = frame(out, METADATA, 1, 6, "\x7f\xff\xff\xff", 4);
    send_all(fd, out, size);
    expect_answer(fd, 5);
    expect_close(fd);
    expect_alive(world);
    world_free(world);
}

static void frames_come_in_any_pieces(void **state)
{
    struct world *world = world_new(NULL, 0);
    int fd = dial(world);
    uint8_t out[64];
    size_t size = frame(out, API_VERSIONS, 3, 1, versions_v3_body, sizeof versions_v3_body);
    for (size_t i = 0; i < size; i++) send_all(fd, out + i, 1);
    expect_answer(fd, 1);
    uint8_t both[128];
    size_t first = frame(both, API_VERSIONS, 0, 2, NULL, 0);
    size_t second = frame(both + first, API_VERSIONS, 0, 3, NULL, 0);
    send_all(fd, both, first + second);
    expect_answer(fd, 2);
    expect_answer(fd, 3);
    close(fd);
    world_free(world);
}

static void many_pipelined_requests_are_answered_in_order(void **state)
{
    struct world *world = world_new(NULL, 0);
    int fd = dial(world);
    enum { COUNT = 1000 };
    uint8_t *out = malloc(COUNT * 32);
    size_t size = 0;
    for (int i = 0; i < COUNT; i++) size += frame(out + size, API_VERSIONS, 0, i, NULL, 0);
    send_all(fd, out, size);
    for (int i = 0; i < COUNT; i++) expect_answer(fd, i);
    free(out);
    close(fd);
    world_free(world);
}

static void random_bytes_do_no_harm(void **state)
{
    struct world *world = world_new(NULL, 0);
    struct random random;
    random_seed(&random, 7);
    for (int i = 0; i < 300; i++) {
        uint8_t out[512];
        size_t size = random_below(&random, sizeof out - 64) + 1;
        random_fill(&random, out, size);
        if (i % 3 == 1) put_be32(out, (uint32_t)random_below(&random, 400)); /* a length that may be right */
        if (i % 3 == 2) {                                                    /* and a header that is */
            static const int16_t keys[] = {0, 1, 2, 3, 10, 11, 18, 22, 23, 60, 75};
            int16_t key = keys[random_below(&random, sizeof keys / sizeof *keys)];
            int16_t version = (int16_t)random_below(&random, (uint64_t)api_of(key)->max_version + 1);
            if (key != API_VERSIONS && key != METADATA && key != 60 && key != 75)
                version = 99; /* needs its parts */
            uint8_t body[200];
            size_t body_size = random_below(&random, sizeof body);
            random_fill(&random, body, body_size);
            size = frame(out, key, version, 1, body, body_size);
        }
        int fd = dial(world);
        send_all(fd, out, size);
        close(fd);
    }
    expect_alive(world);
    world_free(world);
}

static void idle_connections_go(void **state)
{
    static const char *const overrides[] = {"connections.max.idle.ms=100"};
    struct world *world = world_new(overrides, 1);
    int fd = dial(world);
    ask_versions(fd, 0, 1);
    expect_answer(fd, 1);
    expect_close(fd);
    world_free(world);
}

static void idle_connections_may_stay(void **state)
{
    static const char *const most[] = {"connections.max.idle.ms=-1",
                                       "connections.max.idle.ms=9223372036854775807"};
    for (size_t i = 0; i < 2; i++) {
        const char *overrides[] = {most[i], "request.stall.timeout.ms=1000"};
        struct world *world = world_new(overrides, 2);
        int fd = dial(world), stalled = dial(world);
        ask_versions(fd, 0, 1);
        expect_answer(fd, 1);
        uint8_t out[100] = {0};
        put_be32(out, 1000);
        send_all(stalled, out, sizeof out);
        expect_close(stalled); /* so there was a sweep */
        ask_versions(fd, 0, 2);
        expect_answer(fd, 2);
        close(fd);
        world_free(world);
    }
}

static void stalled_frames_lose_their_connection(void **state)
{
    static const char *const overrides[] = {"request.stall.timeout.ms=1000"};
    struct world *world = world_new(overrides, 1);
    int fd = dial(world);
    uint8_t out[200000] = {0};
    put_be32(out, 1000000);
    send_all(fd, out, sizeof out);
    expect_close(fd);
    world_free(world);
}

static void addresses_have_a_most(void **state)
{
    static const char *const overrides[] = {"max.connections.per.ip=3"};
    struct world *world = world_new(overrides, 1);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(world);
        ask_versions(fds[i], 0, i);
        expect_answer(fds[i], i);
    }
    expect_close(dial(world));
    close(fds[0]);
    /* The broker needs a moment to see that one has gone. */
    for (bool is_in = false; !is_in;) {
        uint8_t answer[8192];
        int fd = dial(world);
        ask_versions(fd, 0, 9);
        is_in = next_answer(fd, answer, sizeof answer, NULL) == 9;
        close(fd);
    }
    close(fds[1]);
    close(fds[2]);
    world_free(world);
}

static void connections_wait_at_the_most(void **state)
{
    static const char *const overrides[] = {"max.connections=2"};
    struct world *world = world_new(overrides, 1);
    int first = dial(world), second = dial(world), third = dial(world);
    ask_versions(first, 0, 1);
    expect_answer(first, 1);
    ask_versions(second, 0, 2);
    expect_answer(second, 2);
    ask_versions(third, 0, 3); /* in the kernel's queue until a place is free */
    struct pollfd waits = {.fd = third, .events = POLLIN};
    assert_int_equal(poll(&waits, 1, 50), 0);
    close(first);
    expect_answer(third, 3);
    close(second);
    close(third);
    world_free(world);
}

/* Who sent nonsense, takes all answers before it and then stays is closed after CHANNEL_FINISH_MS, whoever else is connected. */
static void finished_connections_do_not_stay(void **state)
{
    static const char *const overrides[] = {"max.connections=2"};
    struct world *world = world_new(overrides, 1);
    int idle = dial(world), slow = dial(world), third = dial(world);
    ask_versions(idle, 0, 1);
    expect_answer(idle, 1);
    enum { COUNT = 3000 }; /* more than the kernel takes for one who does not read yet */
    uint8_t *out = malloc(COUNT * 32 + 4);
    size_t size = 0;
    for (int i = 0; i < COUNT; i++) size += frame(out + size, API_VERSIONS, 0, i, NULL, 0);
    put_be32(out + size, UINT32_MAX);
    send_all(slow, out, size + 4);
    free(out);
    for (int i = 0; i < COUNT; i++) expect_answer(slow, i);
    uint8_t answer[8192];
    assert_int_equal(next_answer(slow, answer, sizeof answer, NULL), -1);
    ask_versions(third, 0, 3);
    expect_answer(third, 3); /* in its place */
    close(idle);
    close(slow);
    close(third);
    world_free(world);
}

static void half_sent_large_frames_do_not_stop_small_ones(void **state)
{
    static const char *const overrides[] = {"queued.max.request.bytes=1048576"};
    struct world *world = world_new(overrides, 1);
    enum { GREEDY = 20, ANNOUNCED = 600000 };
    uint8_t *half = calloc(1, ANNOUNCED / 2);
    int greedy[GREEDY];
    for (int i = 0; i < GREEDY; i++) {
        greedy[i] = dial(world);
        put_be32(half, ANNOUNCED);
        send_all(greedy[i], half, i == 0 ? ANNOUNCED / 2 : 4096);
    }
    for (int i = 0; i < 20; i++) expect_alive(world);
    /* When the admitted ones go, the next are read: each is nonsense, so it is closed after its last byte. */
    uint8_t *rest = calloc(1, ANNOUNCED);
    for (int i = 0; i < GREEDY; i++) {
        send_all(greedy[i], rest, i == 0 ? ANNOUNCED / 2 + 4 : ANNOUNCED - 4092);
        expect_close(greedy[i]);
    }
    free(half);
    free(rest);
    world_free(world);
}

static void budgets_keep_a_quarter_for_small_frames(void **state)
{
    struct budget budget = {.limit_bytes = 1000000};
    assert_true(budget_try(&budget, 700000));
    assert_false(budget_try(&budget, 100000)); /* beyond three quarters */
    int small = 0;
    while (budget_try(&budget, 50000)) small++;
    assert_int_equal(small, 6);
    for (int i = 0; i < small; i++) budget_release(&budget, 50000, false);
    budget_release(&budget, 700000, true);
    assert_int_equal(budget_held(&budget), 0);
    assert_true(budget_try(&budget, 5000000)); /* one that never fits, alone */
    assert_false(budget_try(&budget, 100000));
    assert_true(budget_try(&budget, 50000)); /* small ones go on */
}

/* --- fetch sessions --- */

static struct fetch_request fetch_of(int32_t id, int32_t epoch, struct fetch_request_fetch_topic *topic)
{
    struct fetch_request request;
    fetch_request_init(&request);
    request.session_id = id;
    request.session_epoch = epoch;
    request.topics.items = topic;
    request.topics.count = topic ? 1 : 0;
    return request;
}

static void fetch_sessions_follow_their_epochs(void **state)
{
    struct descriptors *descriptors = descriptors_new(0);
    struct loop *loop;
    assert_int_equal(loop_new(descriptors, &loop), OK);
    int64_t used = 0;
    struct fetch_sessions *sessions;
    assert_int_equal(fetch_sessions_new(&used, 2, &sessions), OK);
    struct fetch_request_fetch_partition partitions[2] = {{.partition = 0}, {.partition = 1}};
    struct fetch_request_fetch_topic topic = {.topic = SLICE("orders"), .partitions = {partitions, 2}};

    struct fetch_session *session;
    bool is_increment;
    struct fetch_request request = fetch_of(0, -1, &topic);
    assert_int_equal(fetch_session_begin(sessions, loop, &request, false, false, &session, &is_increment),
                     OK);
    assert_null(session);
    request = fetch_of(0, 0, &topic);
    assert_int_equal(fetch_session_begin(sessions, loop, &request, false, false, &session, &is_increment),
                     OK);
    assert_non_null(session);
    assert_false(is_increment);
    int32_t id = session->id;
    assert_int_equal(session->by_key.count, 2);
    fetch_session_release(&session);

    request = fetch_of(id, 2, NULL);
    assert_int_equal(fetch_session_begin(sessions, loop, &request, false, false, &session, &is_increment),
                     ERR_INVALID_FETCH_SESSION_EPOCH);
    request = fetch_of(id ^ 1, 1, NULL);
    assert_int_equal(fetch_session_begin(sessions, loop, &request, false, false, &session, &is_increment),
                     ERR_FETCH_SESSION_ID_NOT_FOUND);
    request = fetch_of(id, 1, NULL);
    assert_int_equal(fetch_session_begin(sessions, loop, &request, true, false, &session, &is_increment),
                     ERR_FETCH_SESSION_TOPIC_ID_ERROR);

    int32_t gone = 1;
    struct fetch_request_forgotten_topic forgotten = {.topic = SLICE("orders"), .partitions = {&gone, 1}};
    request = fetch_of(id, 1, NULL);
    request.forgotten_topics_data.items = &forgotten;
    request.forgotten_topics_data.count = 1;
    assert_int_equal(fetch_session_begin(sessions, loop, &request, false, false, &session, &is_increment),
                     OK);
    assert_true(is_increment);
    assert_int_equal(session->by_key.count, 1);
    session->next_epoch = INT32_MAX;
    fetch_session_release(&session);
    request = fetch_of(id, INT32_MAX, NULL);
    assert_int_equal(fetch_session_begin(sessions, loop, &request, false, false, &session, &is_increment),
                     OK);
    assert_int_equal(session->next_epoch, 1);
    fetch_session_release(&session);

    /* Two slots: a third consumer gets none, a follower takes a consumer's. */
    request = fetch_of(0, 0, &topic);
    assert_int_equal(fetch_session_begin(sessions, loop, &request, false, false, &session, &is_increment),
                     OK);
    fetch_session_release(&session);
    assert_int_equal(fetch_session_begin(sessions, loop, &request, false, false, &session, &is_increment),
                     OK);
    assert_null(session);
    assert_int_equal(fetch_session_begin(sessions, loop, &request, false, true, &session, &is_increment), OK);
    assert_non_null(session);
    fetch_session_release(&session);
    assert_int_equal(used, 2);
    fetch_sessions_free(&sessions);
    assert_int_equal(used, 0);
    loop_free(loop);
    descriptors_free(descriptors);
}

int main(void)
{
    diag_set_level(DIAG_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_versions_of_api_versions_are_told_which_are_known),
        cmocka_unit_test(api_versions_lists_what_is_served),
        cmocka_unit_test(nonsense_closes_the_connection),
        cmocka_unit_test(frames_come_in_any_pieces),
        cmocka_unit_test(many_pipelined_requests_are_answered_in_order),
        cmocka_unit_test(random_bytes_do_no_harm),
        cmocka_unit_test(idle_connections_go),
        cmocka_unit_test(idle_connections_may_stay),
        cmocka_unit_test(stalled_frames_lose_their_connection),
        cmocka_unit_test(addresses_have_a_most),
        cmocka_unit_test(connections_wait_at_the_most),
        cmocka_unit_test(finished_connections_do_not_stay),
        cmocka_unit_test(half_sent_large_frames_do_not_stop_small_ones),
        cmocka_unit_test(budgets_keep_a_quarter_for_small_frames),
        cmocka_unit_test(fetch_sessions_follow_their_epochs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
