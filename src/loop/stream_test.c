/* stream_test.c: streams over real sockets on the loopback: large answers with file slices, half-closed peers, resets,
 * names, moving between loops, many connections with few descriptors. Ports are the kernel's choice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/random.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/stream.h"

static uint8_t pattern(uint64_t position)
{
    return (uint8_t)(position * 31 + (position >> 8) * 7 + (position >> 16));
}

/* One node and a plain blocking socket as its client. */
struct world {
    struct descriptors *descriptors;
    struct loop *loop;
    struct disk *disk;
    struct listener *listener;
    char directory[64];
    struct loop_timer alarm;
    struct stream *stream; /* the last accepted */
    struct stream_events events;
    void (*accepted)(struct world *world);
    uint8_t received[64 * 1024];
    size_t received_size;
    enum error closed;
    int closed_count, accepted_count, released_count, drained_count;
};

static void stop_loop(struct loop_timer *timer)
{
    loop_stop(CONTAINER_OF(timer, struct world, alarm)->loop);
}

static void on_accept(void *context, struct stream *stream)
{
    struct world *world = context;
    world->accepted_count++;
    world->stream = stream;
    if (world->events.on_readable) {
        stream_set_events(stream, &world->events, world);
        stream_set_reading(stream, true);
    }
    if (world->accepted) world->accepted(world);
}

static void world_open_with(struct world *world, size_t limit)
{
    memset(world, 0, sizeof *world);
    strcpy(world->directory, "/tmp/odradek-stream-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    world->descriptors = descriptors_new(limit);
    assert_int_equal(loop_new(world->descriptors, &world->loop), OK);
    world->disk = disk_new(world->descriptors);
    world->alarm.run = stop_loop;
    assert_int_equal(stream_listen(world->loop, "127.0.0.1", 0, 0, on_accept, world, &world->listener), OK);
    assert_int_not_equal(listener_port(world->listener), 0);
}

static void world_open(struct world *world)
{
    world_open_with(world, 0);
}

static void world_close(struct world *world)
{
    loop_timer_stop(world->loop, &world->alarm);
    if (world->stream) stream_close(&world->stream);
    listener_close(&world->listener);
    assert_int_equal(disk_remove_tree(world->disk, world->directory), OK);
    loop_free(world->loop);
    disk_free(world->disk);
    descriptors_free(world->descriptors);
}

static void run_ms(struct world *world, int64_t ms)
{
    loop_timer_start(world->loop, &world->alarm, ms);
    loop_run(world->loop);
}

static int dial(const struct world *world)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(listener_port(world->listener)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void world_readable(void *context)
{
    struct world *world = context;
    size_t got;
    while (world->received_size < sizeof world->received &&
           stream_read(world->stream, world->received + world->received_size,
                       sizeof world->received - world->received_size, &got) == OK) {
        world->received_size += got;
    }
}

static void world_closed(void *context, enum error err)
{
    struct world *world = context;
    world->closed = err;
    world->closed_count++;
    loop_stop(world->loop);
}

static void world_drained(void *context)
{
    ((struct world *)context)->drained_count++;
}

static const struct stream_events plain = {world_readable, world_drained, world_closed};

/* --- a large answer of bytes, small and large slices arrives whole, in order --- */

enum { FILE_BYTES = 6 << 20 };

static void note_release(void *context)
{
    ((struct world *)context)->released_count++;
}

struct reader {
    int fd;
    uint64_t seed;
    size_t total;
    struct file *file; /* NULL: the socket closed early, or too late */
};

/* The answer is a random sequence of pieces; the same seed tells the client what to expect. */
static int next_piece(struct random *random, size_t *size, int64_t *position)
{
    int kind = (int)random_below(random, 3);
    *size = kind == 0   ? random_below(random, 3000)
            : kind == 1 ? random_below(random, 64 * 1024) + 1
                        : 64 * 1024 + random_below(random, 2 << 20);
    *position = (int64_t)random_below(random, FILE_BYTES - (2 << 20) - 64 * 1024);
    return kind;
}

enum { PIECES = 60 };

static size_t queue_answer(struct world *world, struct file *file, uint64_t seed)
{
    struct random random;
    random_seed(&random, seed);
    size_t total = 0;
    for (int i = 0; i < PIECES; i++) {
        size_t size;
        int64_t position;
        if (next_piece(&random, &size, &position) == 0) {
            struct bytes *bytes = bytes_new(size + 5);
            for (size_t k = 0; k < size; k++) bytes->data[5 + k] = pattern((uint64_t)position + k);
            assert_int_equal(stream_write(world->stream, bytes, 5, size), OK);
        } else {
            assert_int_equal(
                stream_write_file(world->stream, file_retain(file), position, size, note_release, world), OK);
        }
        total += size;
    }
    return total;
}

static void *read_answer(void *argument)
{
    struct reader *reader = argument;
    struct random random, pauses;
    random_seed(&random, reader->seed);
    random_seed(&pauses, reader->seed + 1);
    static __thread uint8_t buffer[2 << 20];
    uintptr_t wrong = 0;
    for (int i = 0; i < PIECES; i++) {
        size_t size, done = 0;
        int64_t position;
        next_piece(&random, &size, &position);
        while (done < size) {
            size_t asked = 1 + random_below(&pauses, 200000);
            if (asked > size - done) asked = size - done;
            ssize_t n = recv(reader->fd, buffer, asked, 0);
            if (n <= 0) return (void *)(uintptr_t)1;
            for (ssize_t k = 0; k < n; k++)
                wrong += buffer[k] != pattern((uint64_t)position + done + (size_t)k);
            done += (size_t)n;
        }
    }
    /* Then the end, as the node promised with stream_finish; then ours. */
    if (recv(reader->fd, buffer, 1, 0) != 0) wrong++;
    shutdown(reader->fd, SHUT_WR);
    return (void *)wrong;
}

static struct file *make_file(struct world *world)
{
    char path[128];
    snprintf(path, sizeof path, "%s/segment", world->directory);
    struct file *file;
    assert_int_equal(file_open(world->disk, path, FILE_WRITE | FILE_CREATE, &file), OK);
    uint8_t *content = malloc(FILE_BYTES);
    for (size_t i = 0; i < FILE_BYTES; i++) content[i] = pattern(i);
    assert_int_equal(file_pwrite(file, content, FILE_BYTES, 0), OK);
    free(content);
    return file;
}

static void large_answers_arrive_whole(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct world world;
        world_open(&world);
        world.events = plain;
        struct file *file = make_file(&world);
        struct reader reader = {.fd = dial(&world), .seed = seed};
        run_ms(&world, 20);
        assert_int_equal(world.accepted_count, 1);
        size_t total = queue_answer(&world, file, seed);
        assert_int_equal(stream_unsent_bytes(world.stream), total);
        stream_finish(world.stream);
        pthread_t thread;
        pthread_create(&thread, NULL, read_answer, &reader);
        run_ms(&world, 20000); /* ends when the client has closed */
        void *wrong;
        pthread_join(thread, &wrong);
        assert_ptr_equal(wrong, NULL);
        assert_int_equal(world.closed, ERR_EOF);
        assert_int_equal(world.closed_count, 1);
        assert_int_equal(stream_unsent_bytes(world.stream), 0);
        assert_true(world.released_count > 0);
        assert_int_equal(world.drained_count, 1);
        file_release(&file);
        close(reader.fd);
        world_close(&world);
    }
}

static void a_file_shorter_than_promised_ends_the_stream(void **state)
{
    (void)state;
    for (int is_large = 0; is_large < 2; is_large++) {
        struct world world;
        world_open(&world);
        world.events = plain;
        struct file *file = make_file(&world);
        int fd = dial(&world);
        run_ms(&world, 20);
        size_t size = is_large ? 100000 : 1000;
        assert_int_equal(
            stream_write_file(world.stream, file_retain(file), FILE_BYTES - 10, size, note_release, &world),
            OK);
        run_ms(&world, 5000);
        assert_int_equal(world.closed, ERR_IO);
        assert_int_equal(world.released_count, 1);
        struct bytes *late = bytes_copy("late", 4);
        assert_int_equal(stream_write(world.stream, late, 0, 4), ERR_CLOSED);
        file_release(&file);
        close(fd);
        world_close(&world);
    }
}

/* --- ends --- */

static void answer_word(void *context)
{
    struct world *world = context;
    world_readable(world);
    if (world->received_size >= 4 && stream_unsent_bytes(world->stream) == 0) {
        world->received_size = 0;
        struct bytes *answer = bytes_copy("imok", 4);
        assert_int_equal(stream_write(world->stream, answer, 0, 4), OK);
        stream_close_after_sending(&world->stream);
        loop_stop(world->loop);
    }
}

/* "echo ruok | nc": the peer has said its last word before it hears ours. */
static void a_peer_that_finished_sending_still_gets_its_answer(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    world.events = (struct stream_events){answer_word, NULL, world_closed};
    int fd = dial(&world);
    assert_int_equal(send(fd, "ruok and more that nobody reads", 31, 0), 31);
    shutdown(fd, SHUT_WR);
    run_ms(&world, 5000);
    assert_null(world.stream);
    char answer[8];
    assert_int_equal(recv(fd, answer, sizeof answer, MSG_WAITALL), 4);
    assert_memory_equal(answer, "imok", 4);
    assert_int_equal(world.closed_count, 0);
    close(fd);
    run_ms(&world, 20);
    world_close(&world);
}

static void the_end_is_told_once(void **state)
{
    (void)state;
    struct {
        bool is_reset;
        enum error want;
    } rows[] = {{false, ERR_EOF}, {true, ERR_EOF}};
    for (size_t i = 0; i < 2; i++) {
        struct world world;
        world_open(&world);
        world.events = plain;
        int fd = dial(&world);
        assert_int_equal(send(fd, "hello", 5, 0), 5);
        run_ms(&world, 20);
        assert_int_equal(world.received_size, 5);
        if (rows[i].is_reset) {
            struct {
                int on, seconds;
            } hard = {1, 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        }
        close(fd);
        run_ms(&world, 5000);
        assert_int_equal(world.closed, rows[i].want);
        run_ms(&world, 20);
        assert_int_equal(world.closed_count, 1);
        size_t got;
        assert_int_equal(stream_read(world.stream, world.received, 1, &got), ERR_EOF);
        world_close(&world);
    }
}

/* It asked for more than it took, and went: whoever waits for room to send it, and reads nothing meanwhile, must hear of that. */
static void a_reset_ends_what_waits_to_be_sent(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    world.events = plain;
    int fd = dial(&world);
    assert_int_equal(send(fd, "hello", 5, 0), 5);
    run_ms(&world, 20);
    stream_set_reading(world.stream, false);
    for (int i = 0; i < 64; i++) {
        struct bytes *bytes = bytes_new(1 << 20);
        memset(bytes->data, i, 1 << 20);
        assert_int_equal(stream_write(world.stream, bytes, 0, 1 << 20), OK);
    }
    run_ms(&world, 50);
    assert_true(stream_unsent_bytes(world.stream) > 0);
    close(fd); /* with bytes it never read: a reset */
    run_ms(&world, 5000);
    assert_int_equal(world.closed_count, 1);
    assert_int_equal(stream_unsent_bytes(world.stream), 0);
    world_close(&world);
}

static void close_in_accept(struct world *world)
{
    stream_close(&world->stream);
    loop_stop(world->loop);
}

static void a_stream_may_be_closed_in_accept(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    world.accepted = close_in_accept;
    int fd = dial(&world);
    run_ms(&world, 5000);
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    world_close(&world);
}

/* Reading off: bytes wait in the kernel, the loop sleeps; reading on: they come. */
static void reading_can_pause(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    world.events = plain;
    int fd = dial(&world);
    run_ms(&world, 10);
    stream_set_reading(world.stream, false);
    assert_int_equal(send(fd, "abc", 3, 0), 3);
    run_ms(&world, 30);
    assert_int_equal(world.received_size, 0);
    stream_set_reading(world.stream, true);
    run_ms(&world, 30);
    assert_int_equal(world.received_size, 3);
    close(fd);
    run_ms(&world, 5000);
    assert_int_equal(world.closed_count, 1);
    world_close(&world);
}

/* --- connecting --- */

struct call {
    struct world *world;
    struct stream *stream;
    struct connecting *connecting;
    enum error err;
    int count;
};

static void on_connected(void *context, enum error err, struct stream *stream)
{
    struct call *call = context;
    call->connecting = NULL;
    call->err = err;
    call->stream = stream;
    call->count++;
    loop_stop(call->world->loop);
}

static void names_and_numbers_connect(void **state)
{
    (void)state;
    const char *hosts[] = {"127.0.0.1", "localhost"};
    for (int i = 0; i < 2; i++) {
        struct world world;
        world_open(&world);
        struct call call = {.world = &world};
        assert_int_equal(stream_connect(world.loop, hosts[i], listener_port(world.listener), 5000,
                                        on_connected, &call, &call.connecting),
                         OK);
        assert_int_equal(call.count, 0);
        run_ms(&world, 5000);
        assert_int_equal(call.count, 1);
        assert_int_equal(call.err, OK);
        run_ms(&world, 10);
        struct address peer, local, other;
        stream_peer(call.stream, &peer);
        assert_string_equal(peer.host, "127.0.0.1");
        assert_int_equal(peer.port, listener_port(world.listener));
        stream_local(call.stream, &local);
        stream_peer(world.stream, &other);
        assert_string_equal(local.host, other.host);
        assert_int_equal(local.port, other.port);
        assert_false(local.is_ipv6);
        stream_close(&call.stream);
        world_close(&world);
    }
}

static void failures_to_connect_have_their_names(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    uint16_t port = listener_port(world.listener);
    listener_close(&world.listener);
    struct {
        const char *host;
        int64_t timeout_ms;
        enum error want;
    } rows[] = {
        {"127.0.0.1", 5000, ERR_REFUSED},
        {"localhost", 5000, ERR_REFUSED},
        {"no such host", 5000, ERR_NAME},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct call call = {.world = &world};
        assert_int_equal(stream_connect(world.loop, rows[i].host, port, rows[i].timeout_ms, on_connected,
                                        &call, &call.connecting),
                         OK);
        run_ms(&world, 10000);
        assert_int_equal(call.count, 1);
        assert_int_equal(call.err, rows[i].want);
        assert_null(call.stream);
    }
    /* Cancelled at every stage: nobody calls. */
    for (int i = 0; i < 4; i++) {
        struct call call = {.world = &world};
        const char *host = i % 2 ? "localhost" : "127.0.0.1";
        assert_int_equal(stream_connect(world.loop, host, port, 5000, on_connected, &call, &call.connecting),
                         OK);
        if (i >= 2) run_ms(&world, 0);
        if (call.connecting) stream_connect_cancel(&call.connecting);
        run_ms(&world, 20);
        assert_true(call.count <= (i >= 2));
    }
    /* A loop may go while the name server thinks. */
    struct call call = {.world = &world};
    assert_int_equal(
        stream_connect(world.loop, "localhost", port, 5000, on_connected, &call, &call.connecting), OK);
    stream_connect_cancel(&call.connecting);
    assert_int_equal(stream_listen(world.loop, NULL, 0, 0, on_accept, &world, &world.listener), OK);
    world_close(&world);
}

static void a_silent_address_times_out(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    /* A full backlog drops further connects without a word. */
    listener_pause(world.listener, true);
    int quiet = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof at;
    assert_int_equal(bind(quiet, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(quiet, 0), 0);
    getsockname(quiet, (struct sockaddr *)&at, &size);
    struct call calls[4];
    int timed_out = 0;
    for (int i = 0; i < 4; i++) {
        calls[i] = (struct call){.world = &world};
        assert_int_equal(stream_connect(world.loop, "127.0.0.1", ntohs(at.sin_port), 150, on_connected,
                                        &calls[i], &calls[i].connecting),
                         OK);
    }
    for (int i = 0; i < 20 && timed_out == 0; i++) {
        run_ms(&world, 300);
        for (int k = 0; k < 4; k++) timed_out += calls[k].count == 1 && calls[k].err == ERR_TIMED_OUT;
    }
    assert_true(timed_out > 0);
    for (int i = 0; i < 4; i++) {
        if (calls[i].connecting) stream_connect_cancel(&calls[i].connecting);
        if (calls[i].stream) stream_close(&calls[i].stream);
    }
    close(quiet);
    world_close(&world);
}

static void all_addresses_means_both_kinds(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    listener_close(&world.listener);
    assert_int_equal(stream_listen(world.loop, "", 0, 0, on_accept, &world, &world.listener), OK);
    int fd = dial(&world);
    run_ms(&world, 20);
    assert_int_equal(world.accepted_count, 1);
    struct address peer;
    stream_peer(world.stream, &peer);
    assert_string_equal(peer.host, "127.0.0.1"); /* not ::ffff:127.0.0.1 */
    assert_false(peer.is_ipv6);
    struct listener *second;
    assert_int_equal(
        stream_listen(world.loop, "", listener_port(world.listener), 0, on_accept, &world, &second),
        ERR_BUSY);
    close(fd);
    world_close(&world);
}

/* --- moving to another loop --- */

struct moving {
    struct world world;
    struct loop *other;
    struct loop_message message;
    struct detached_stream *detached;
    struct stream *stream;
    struct loop_message stop;
    char word[8];
    size_t word_size;
};

static void moved_readable(void *context)
{
    struct moving *moving = context;
    size_t got;
    if (stream_read(moving->stream, moving->word + moving->word_size, sizeof moving->word - moving->word_size,
                    &got) == OK) {
        moving->word_size += got;
    }
    if (moving->word_size < 4) return;
    struct bytes *answer = bytes_copy("pong", 4);
    assert_int_equal(stream_write(moving->stream, answer, 0, 4), OK);
}

static void moved_closed(void *context, enum error err)
{
    struct moving *moving = context;
    assert_int_equal(err, ERR_EOF);
    stream_close(&moving->stream);
    loop_stop(moving->other);
}

static void arrive(struct loop_message *message)
{
    struct moving *moving = CONTAINER_OF(message, struct moving, message);
    static const struct stream_events events = {moved_readable, NULL, moved_closed};
    assert_int_equal(stream_attach(moving->other, &moving->detached, &moving->stream), OK);
    stream_set_events(moving->stream, &events, moving);
    stream_set_reading(moving->stream, true);
}

static void a_stream_moves_to_another_loop(void **state)
{
    (void)state;
    struct moving moving = {.message = {.run = arrive}};
    world_open(&moving.world);
    assert_int_equal(loop_new(moving.world.descriptors, &moving.other), OK);
    int fd = dial(&moving.world);
    run_ms(&moving.world, 20);
    assert_int_equal(stream_detach(&moving.world.stream, &moving.detached), OK);
    assert_null(moving.world.stream);
    assert_int_equal(loop_start_thread(moving.other, "other"), OK);
    loop_post(moving.other, &moving.message);
    char answer[4];
    assert_int_equal(send(fd, "ping", 4, 0), 4);
    assert_int_equal(recv(fd, answer, 4, MSG_WAITALL), 4);
    assert_memory_equal(answer, "pong", 4);
    close(fd);
    loop_join(moving.other);
    loop_free(moving.other);
    world_close(&moving.world);
}

/* --- many --- */

enum { MANY = 300 };

struct crowd {
    struct stream *streams[MANY];
    int count;
};

static void keep(void *context, struct stream *stream)
{
    static const struct stream_events none = {world_readable, NULL, world_closed};
    struct crowd *crowd = context;
    stream_set_events(stream, &none, NULL);
    crowd->streams[crowd->count++] = stream;
}

static void idle_connections_are_small_and_bounded(void **state)
{
    (void)state;
    struct world world;
    world_open_with(&world, 200);
    listener_close(&world.listener);
    struct crowd crowd = {.count = 0};
    assert_int_equal(stream_listen(world.loop, "127.0.0.1", 0, 0, keep, &crowd, &world.listener), OK);
    size_t before = mallinfo2().uordblks;
    int clients[MANY];
    for (int i = 0; i < MANY; i++) {
        clients[i] = dial(&world);
        if (i % 50 == 49) run_ms(&world, 5);
    }
    run_ms(&world, 50);
    /* Of 200 descriptors sockets get what files and the rest do not need; the others hear it at once. */
    assert_in_range(crowd.count, 100, 170);
    size_t each = (mallinfo2().uordblks - before) / (size_t)crowd.count;
    assert_true(each < 1024);
    int refused = 0;
    for (int i = 0; i < MANY; i++) {
        char byte;
        refused += recv(clients[i], &byte, 1, MSG_DONTWAIT) == 0;
        close(clients[i]);
    }
    assert_int_equal(refused, MANY - crowd.count);
    for (int i = 0; i < crowd.count; i++) stream_close(&crowd.streams[i]);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_answers_arrive_whole),
        cmocka_unit_test(a_file_shorter_than_promised_ends_the_stream),
        cmocka_unit_test(a_peer_that_finished_sending_still_gets_its_answer),
        cmocka_unit_test(the_end_is_told_once),
        cmocka_unit_test(a_reset_ends_what_waits_to_be_sent),
        cmocka_unit_test(a_stream_may_be_closed_in_accept),
        cmocka_unit_test(reading_can_pause),
        cmocka_unit_test(names_and_numbers_connect),
        cmocka_unit_test(failures_to_connect_have_their_names),
        cmocka_unit_test(a_silent_address_times_out),
        cmocka_unit_test(all_addresses_means_both_kinds),
        cmocka_unit_test(a_stream_moves_to_another_loop),
        cmocka_unit_test(idle_connections_are_small_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
