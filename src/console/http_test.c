/* http_test.c: a node's three pages and a keeper's, over real sockets on a free port. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/test.h"
#include "console/http.h"
#include "console/keeper_pages.h"
#include "keeper/keeper.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "metrics/metrics.h"

struct asker {
    struct loop *loop;
    uint16_t port;
    const char *const *lines;
    int count;
    char answers[10][16384];
};

static void ask(uint16_t port, const char *line, char *out, size_t size)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t used = 0;
    char request[256];
    int length =
        snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", line);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        write(fd, request, (size_t)length) == length) {
        ssize_t got;
        while (used + 1 < size && (got = read(fd, out + used, size - 1 - used)) > 0) used += (size_t)got;
    }
    out[used] = 0;
    close(fd);
}

static void *asking(void *context)
{
    struct asker *asker = context;
    for (int i = 0; i < asker->count; i++)
        ask(asker->port, asker->lines[i], asker->answers[i], sizeof asker->answers[i]);
    loop_stop(asker->loop);
    return NULL;
}

static bool never_ready(void *context, char *why, size_t size)
{
    (void)context;
    snprintf(why, size, "orders-0 has no leader");
    return false;
}

/* On a thread of its own, while the loop runs. */
static void ask_all(struct asker *asker)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, asking, asker), 0);
    loop_run(asker->loop);
    pthread_join(thread, NULL);
}

static void pages_answer(void **state)
{
    static const char *const lines[] = {"GET /metrics", "GET /healthz", "GET /readyz", "POST /metrics"};
    struct descriptors *descriptors = descriptors_new(0);
    struct loop *loop = NULL;
    assert_int_equal(loop_new(descriptors, &loop), OK);
    struct metrics *metrics = metrics_new();
    counter_add(metrics_counter(metrics, "things_total", "things", ""), 7);
    struct http *http = NULL;
    struct http_options options = {.metrics = metrics, .is_ready = never_ready};
    assert_int_equal(http_open(loop, &options, &http), OK);
    static struct asker asker;
    asker = (struct asker){.loop = loop, .port = http_port(http), .lines = lines, .count = 4};
    struct http *second = NULL;
    options.port = asker.port;
    assert_int_equal(http_open(loop, &options, &second), ERR_BUSY);
    options.host = "nowhere.invalid";
    assert_int_equal(http_open(loop, &options, &second), ERR_NAME);

    ask_all(&asker);
    assert_non_null(strstr(asker.answers[0], "HTTP/1.1 200"));
    assert_non_null(strstr(asker.answers[0], "things_total 7\n"));
    assert_non_null(strstr(asker.answers[1], "HTTP/1.1 200"));
    assert_non_null(strstr(asker.answers[2], "HTTP/1.1 503"));
    assert_non_null(strstr(asker.answers[2], "orders-0 has no leader"));
    assert_non_null(strstr(asker.answers[3], "HTTP/1.1 405"));
    http_close(&http);
    metrics_free(metrics);
    loop_free(loop);
    descriptors_free(descriptors);
}

/* --- a keeper's --- */

static void on_ready(void *context, enum error err)
{
    assert_int_equal(err, OK);
    loop_stop(context);
}

static void on_closed(void *context)
{
    loop_stop(context);
}

static bool answers(const struct asker *asker, int which, const char *status, const char *text)
{
    const char *answer = asker->answers[which];
    return strncmp(answer, status, strlen(status)) == 0 && strstr(answer, text);
}

static void a_keepers_pages_answer(void **state)
{
    static const char *const admin_lines[] = {"GET /c",
                                              "GET /c/ruok",
                                              "GET /c/stmk?traceMask=7",
                                              "GET /c/nosuch",
                                              "PUT /c/ruok",
                                              "GET /commands/ruok",
                                              "GET /cx",
                                              "GET /c/rest",
                                              "GET /c/snapshot",
                                              "GET /c/snap HTTP/1.1\r\nAuthorization: ip\r\nX:"};
    static const char *const metrics_lines[] = {"GET /metrics", "GET /"};
    static struct asker asker;
    char dir[] = "/tmp/keeper_pages_XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct descriptors *descriptors = descriptors_new(0);
    struct disk *disk = disk_new(descriptors);
    struct loop *loop = NULL;
    struct lane *lane = NULL;
    struct keeper *keeper = NULL;
    struct keeper_config config;
    const struct keeper_events events = {.ready = on_ready};
    assert_int_equal(loop_new(descriptors, &loop), OK);
    assert_int_equal(lane_new(loop, "sync", 1, &lane), OK);
    keeper_config_init(&config);
    config.data_dir = dir;
    assert_int_equal(keeper_open(&config, loop, disk, lane, &events, loop, &keeper), OK);
    loop_run(loop);

    struct keeper_pages *pages = NULL;
    struct keeper_pages_options options = {
        .kind = KEEPER_PAGES_ADMIN, .host = "127.0.0.1", .command_url = "/c/", .keeper = keeper};
    assert_int_equal(keeper_pages_open(loop, &options, &pages), OK);
    asker = (struct asker){.loop = loop, .port = keeper_pages_port(pages), .lines = admin_lines, .count = 10};
    ask_all(&asker);
    assert_true(answers(&asker, 0, "HTTP/1.1 200", "<a href=\"/c/ruok\">ruok</a>\n<br/>\n"));
    assert_true(answers(&asker, 1, "HTTP/1.1 200", "\"error\" : null"));
    assert_true(answers(&asker, 1, "HTTP/1.1 200", "Content-Type: application/json\r\n"));
    assert_true(answers(&asker, 2, "HTTP/1.1 200", "\"tracemask\" : 7"));
    assert_true(answers(&asker, 3, "HTTP/1.1 200", "Unknown command: nosuch"));
    assert_true(answers(&asker, 4, "HTTP/1.1 405", ""));
    assert_true(answers(&asker, 5, "HTTP/1.1 404", "/c"));
    assert_true(answers(&asker, 6, "HTTP/1.1 404", "/c"));
    assert_true(answers(&asker, 7, "HTTP/1.1 405", ""));
    assert_true(answers(&asker, 8, "HTTP/1.1 401", "Auth info is missing for the command"));
    assert_true(answers(&asker, 9, "HTTP/1.1 200", "last_zxid: 0x0\r\nsnapshot_size: "));
    assert_true(answers(&asker, 9, "HTTP/1.1 200", "\r\n\r\nZKSN"));
    keeper_pages_close(&pages);

    options.kind = KEEPER_PAGES_METRICS;
    assert_int_equal(keeper_pages_open(loop, &options, &pages), OK);
    asker =
        (struct asker){.loop = loop, .port = keeper_pages_port(pages), .lines = metrics_lines, .count = 2};
    ask_all(&asker);
    assert_true(answers(&asker, 0, "HTTP/1.1 200", "\nznode_count 5\n"));
    assert_true(answers(&asker, 1, "HTTP/1.1 404", "/metrics"));
    keeper_pages_close(&pages);

    keeper_close(&keeper, on_closed, loop);
    loop_run(loop);
    assert_int_equal(disk_remove_tree(disk, dir), OK);
    lane_free(lane);
    loop_free(loop);
    disk_free(disk);
    descriptors_free(descriptors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pages_answer),
                                       cmocka_unit_test(a_keepers_pages_answer)};
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
