/* http_test.c: the three pages, over real sockets on a free port. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/test.h"
#include "console/http.h"
#include "loop/loop.h"
#include "metrics/metrics.h"

struct asker {
    struct loop *loop;
    uint16_t port;
    char answers[4][4096];
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
    static const char *const lines[] = {"GET /metrics", "GET /healthz", "GET /readyz", "POST /metrics"};
    struct asker *asker = context;
    for (int i = 0; i < 4; i++) ask(asker->port, lines[i], asker->answers[i], sizeof asker->answers[i]);
    loop_stop(asker->loop);
    return NULL;
}

static bool never_ready(void *context, char *why, size_t size)
{
    (void)context;
    snprintf(why, size, "orders-0 has no leader");
    return false;
}

static void pages_answer(void **state)
{
    (void)state;
    struct descriptors *descriptors = descriptors_new(0);
    struct loop *loop = NULL;
    assert_int_equal(loop_new(descriptors, &loop), OK);
    struct metrics *metrics = metrics_new();
    counter_add(metrics_counter(metrics, "things_total", "things", ""), 7);
    struct http *http = NULL;
    struct http_options options = {.metrics = metrics, .is_ready = never_ready};
    assert_int_equal(http_open(loop, &options, &http), OK);
    struct asker asker = {.loop = loop, .port = http_port(http)};
    struct http *second = NULL;
    options.port = asker.port;
    assert_int_equal(http_open(loop, &options, &second), ERR_BUSY);
    options.host = "nowhere.invalid";
    assert_int_equal(http_open(loop, &options, &second), ERR_NAME);

    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, asking, &asker), 0);
    loop_run(loop);
    pthread_join(thread, NULL);
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pages_answer)};
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
