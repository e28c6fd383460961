/* stream_contract_test.c: what stream.h promises over any loop (contract.h). */
#include "loop/contract.h"

#include "base/random.h"
#include "loop/stream.h"

/* --- streams: two ends of one loop --- */

struct end {
    struct talk *talk;
    struct stream *stream;
    struct text_like {
        uint8_t *data;
        size_t size, capacity;
    } received;
    enum error closed;
    int closed_count, drained_count;
    size_t read_size; /* at most so much in one read */
};

struct talk {
    struct world world;
    struct listener *listener;
    struct connecting *connecting;
    struct end client, server;
    enum error connect_err;
    int connect_count, accept_count, released_count;
};

static void end_readable(void *context)
{
    struct end *end = context;
    for (;;) {
        if (end->received.capacity - end->received.size < end->read_size) {
            end->received.capacity = end->received.capacity * 2 + end->read_size;
            end->received.data = realloc(end->received.data, end->received.capacity);
        }
        size_t got;
        if (stream_read(end->stream, end->received.data + end->received.size, end->read_size, &got) != OK)
            return;
        end->received.size += got;
    }
}

static void end_drained(void *context)
{
    ((struct end *)context)->drained_count++;
}

static void end_closed(void *context, enum error err)
{
    struct end *end = context;
    end->closed = err;
    end->closed_count++;
}

static const struct stream_events end_events = {end_readable, end_drained, end_closed};

static void on_accept(void *context, struct stream *stream)
{
    struct talk *talk = context;
    talk->accept_count++;
    talk->server.stream = stream;
    stream_set_events(stream, &end_events, &talk->server);
    stream_set_reading(stream, true);
}

static void on_connected(void *context, enum error err, struct stream *stream)
{
    struct talk *talk = context;
    talk->connect_err = err;
    talk->connect_count++;
    talk->connecting = NULL;
    talk->client.stream = stream;
    if (!stream) return;
    stream_set_events(stream, &end_events, &talk->client);
    stream_set_reading(stream, true);
}

static void talk_open(struct talk *talk)
{
    memset(talk, 0, sizeof *talk);
    world_open(&talk->world);
    talk->client.talk = talk->server.talk = talk;
    talk->client.read_size = talk->server.read_size = 5000;
    assert_int_equal(stream_listen(talk->world.loop, "127.0.0.1", 0, 0, on_accept, talk, &talk->listener),
                     OK);
    assert_int_equal(stream_connect(talk->world.loop, "127.0.0.1", listener_port(talk->listener), 5000,
                                    on_connected, talk, &talk->connecting),
                     OK);
    assert_int_equal(talk->connect_count, 0); /* never before it returned */
    run_ms(&talk->world, 20);
    assert_int_equal(talk->connect_count, 1);
    assert_int_equal(talk->connect_err, OK);
    assert_int_equal(talk->accept_count, 1);
}

static void talk_close(struct talk *talk)
{
    stream_close(&talk->client.stream);
    stream_close(&talk->server.stream);
    listener_close(&talk->listener);
    free(talk->client.received.data);
    free(talk->server.received.data);
    run_ms(&talk->world, 10);
    world_close(&talk->world);
}

static void say(struct end *end, const char *words)
{
    size_t size = strlen(words);
    struct bytes *bytes = bytes_copy(words, size);
    assert_int_equal(stream_write(end->stream, bytes, 0, size), OK);
}

static void assert_heard(const struct end *end, const char *words)
{
    assert_int_equal(end->received.size, strlen(words));
    assert_memory_equal(end->received.data, words, end->received.size);
}

static void words_pass_both_ways(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    say(&talk.client, "hello ");
    say(&talk.client, "broker");
    assert_int_equal(stream_unsent_bytes(talk.client.stream), 12);
    run_ms(&talk.world, 20);
    assert_int_equal(stream_unsent_bytes(talk.client.stream), 0);
    assert_heard(&talk.server, "hello broker");
    say(&talk.server, "hello client");
    stream_finish(talk.server.stream);
    struct bytes *late = bytes_copy("x", 1);
    assert_int_equal(stream_write(talk.server.stream, late, 0, 1), ERR_CLOSED);
    run_ms(&talk.world, 20);
    assert_heard(&talk.client, "hello client");
    assert_int_equal(talk.client.closed_count, 1);
    assert_int_equal(talk.client.closed, ERR_EOF);
    assert_int_equal(talk.server.closed_count, 0);
    size_t got;
    uint8_t byte;
    assert_int_equal(stream_read(talk.client.stream, &byte, 1, &got), ERR_EOF);
    say(&talk.client, " and bye"); /* half-closed: the other half goes on */
    stream_finish(talk.client.stream);
    run_ms(&talk.world, 20);
    assert_heard(&talk.server, "hello broker and bye");
    assert_int_equal(talk.server.closed_count, 1);
    assert_int_equal(talk.server.closed, ERR_EOF);
    struct address a, b;
    stream_local(talk.client.stream, &a);
    stream_peer(talk.server.stream, &b);
    assert_int_equal(a.port, b.port);
    talk_close(&talk);
}

static uint8_t pattern(uint64_t position)
{
    return (uint8_t)(position * 131 + (position >> 9));
}

static void released(void *context)
{
    ((struct talk *)context)->released_count++;
}

static void much_passes_in_order_from_memory_and_files(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    enum { FILE_BYTES = 1 << 20 };
    uint8_t *content = malloc(FILE_BYTES);
    for (size_t i = 0; i < FILE_BYTES; i++) content[i] = pattern(i);
    struct file *file;
    assert_int_equal(
        file_open(talk.world.disk, in(&talk.world, "segment").text, FILE_WRITE | FILE_CREATE, &file), OK);
    assert_int_equal(file_pwrite(file, content, FILE_BYTES, 0), OK);

    struct random random;
    random_seed(&random, 11);
    uint8_t *want = malloc(16 << 20);
    size_t total = 0;
    int slices = 0;
    for (int i = 0; i < 100; i++) {
        size_t size = random_below(&random, i % 10 ? 3000 : 400000),
               at = random_below(&random, FILE_BYTES - 400000);
        if (i % 3 == 0) {
            struct bytes *bytes = bytes_copy(content + at, size);
            assert_int_equal(stream_write(talk.server.stream, bytes, 0, size), OK);
        } else {
            slices++;
            assert_int_equal(
                stream_write_file(talk.server.stream, file_retain(file), (int64_t)at, size, released, &talk),
                OK);
        }
        memcpy(want + total, content + at, size);
        total += size;
    }
    assert_int_equal(stream_unsent_bytes(talk.server.stream), total);
    /* A reader that pauses now and then. */
    for (int i = 0; i < 5000 && talk.client.received.size < total; i++) {
        stream_set_reading(talk.client.stream, i % 4 != 0);
        run_ms(&talk.world, 1);
    }
    assert_int_equal(talk.client.received.size, total);
    assert_memory_equal(talk.client.received.data, want, total);
    assert_int_equal(talk.released_count, slices);
    assert_int_equal(talk.server.drained_count, 1);

    /* Dropped pieces are released too, and a file that is too short ends the stream. */
    assert_int_equal(
        stream_write_file(talk.server.stream, file_retain(file), FILE_BYTES - 5, 10, released, &talk), OK);
    run_ms(&talk.world, 20);
    assert_int_equal(talk.released_count, slices + 1);
    assert_int_equal(talk.server.closed, ERR_IO);
    free(want);
    free(content);
    file_release(&file);
    talk_close(&talk);
}

static void reading_off_hears_nothing(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    stream_set_reading(talk.server.stream, false);
    say(&talk.client, "knock");
    run_ms(&talk.world, 20);
    assert_int_equal(talk.server.received.size, 0);
    stream_close(&talk.client.stream);
    run_ms(&talk.world, 20);
    assert_int_equal(talk.server.closed_count, 0);
    stream_set_reading(talk.server.stream, true);
    run_ms(&talk.world, 20);
    assert_heard(&talk.server, "knock");
    assert_int_equal(talk.server.closed_count, 1);
    talk_close(&talk);
}

/* Level-triggered: what is left unread calls again. */
struct sipper {
    struct end *end;
    int calls;
};

static void sip(void *context)
{
    struct sipper *sipper = context;
    uint8_t byte;
    size_t got;
    sipper->calls++;
    if (stream_read(sipper->end->stream, &byte, 1, &got) != OK) return;
    sipper->end->received.size++;
}

static void sipper_closed(void *context, enum error err)
{
    struct sipper *sipper = context;
    sipper->end->closed = err;
    sipper->end->closed_count++;
}

static void unread_bytes_call_again(void **state)
{
    (void)state;
    static const struct stream_events events = {sip, NULL, sipper_closed};
    struct talk talk;
    talk_open(&talk);
    struct sipper sipper = {&talk.server, 0};
    stream_set_events(talk.server.stream, &events, &sipper);
    say(&talk.client, "0123456789");
    stream_finish(talk.client.stream);
    run_ms(&talk.world, 50);
    assert_int_equal(talk.server.received.size, 10);
    assert_int_equal(sipper.calls, 11);
    assert_int_equal(talk.server.closed_count, 1);
    talk_close(&talk);
}

static void close_both(void *context)
{
    struct talk *talk = ((struct end *)context)->talk;
    stream_close(&talk->client.stream);
    stream_close(&talk->server.stream);
}

static void a_callback_may_close_everything(void **state)
{
    (void)state;
    static const struct stream_events events = {close_both, NULL, end_closed};
    struct talk talk;
    talk_open(&talk);
    stream_set_events(talk.server.stream, &events, &talk.server);
    say(&talk.client, "die");
    run_ms(&talk.world, 20);
    assert_null(talk.server.stream);
    assert_null(talk.client.stream);
    assert_int_equal(talk.client.closed_count + talk.server.closed_count, 0);
    talk_close(&talk);
}

static void last_words_are_heard(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    say(&talk.client, "bytes that the server never reads");
    stream_set_reading(talk.server.stream, false);
    run_ms(&talk.world, 20);
    say(&talk.server, "go away");
    stream_close_after_sending(&talk.server.stream);
    assert_null(talk.server.stream);
    run_ms(&talk.world, 20);
    assert_heard(&talk.client, "go away");
    assert_int_equal(talk.client.closed_count, 1);
    assert_int_equal(talk.server.closed_count, 0);
    stream_close(&talk.client.stream);
    run_ms(&talk.world, 20);
    talk_close(&talk);
}

static void connecting_fails_with_a_reason(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    stream_close(&talk.client.stream);
    uint16_t port = listener_port(talk.listener);
    struct listener *second;
    assert_int_equal(stream_listen(talk.world.loop, "127.0.0.1", port, 0, on_accept, &talk, &second),
                     ERR_BUSY);
    listener_close(&talk.listener);
    assert_int_equal(
        stream_connect(talk.world.loop, "127.0.0.1", port, 2000, on_connected, &talk, &talk.connecting), OK);
    run_ms(&talk.world, 50);
    assert_int_equal(talk.connect_count, 2);
    assert_int_equal(talk.connect_err, ERR_REFUSED);
    assert_int_equal(
        stream_connect(talk.world.loop, "127.0.0.1", port, 2000, on_connected, &talk, &talk.connecting), OK);
    stream_connect_cancel(&talk.connecting);
    assert_null(talk.connecting);
    run_ms(&talk.world, 50);
    assert_int_equal(talk.connect_count, 2);
    talk_close(&talk);
}

static void a_paused_listener_lets_them_wait(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    struct stream *first = talk.server.stream, *first_client = talk.client.stream;
    listener_pause(talk.listener, true);
    assert_int_equal(stream_connect(talk.world.loop, "127.0.0.1", listener_port(talk.listener), 2000,
                                    on_connected, &talk, &talk.connecting),
                     OK);
    run_ms(&talk.world, 30);
    assert_int_equal(talk.connect_count, 2); /* by the kernel */
    assert_int_equal(talk.accept_count, 1);
    listener_pause(talk.listener, false);
    run_ms(&talk.world, 30);
    assert_int_equal(talk.accept_count, 2);
    stream_close(&first);
    stream_close(&first_client);
    talk_close(&talk);
}

static void a_detached_stream_goes_on(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk);
    stream_set_reading(talk.server.stream, false);
    say(&talk.client, "one ");
    run_ms(&talk.world, 20);
    struct detached_stream *detached;
    assert_int_equal(stream_detach(&talk.server.stream, &detached), OK);
    assert_null(talk.server.stream);
    say(&talk.client, "two");
    run_ms(&talk.world, 20);
    assert_int_equal(stream_attach(talk.world.loop, &detached, &talk.server.stream), OK);
    assert_null(detached);
    stream_set_events(talk.server.stream, &end_events, &talk.server);
    stream_set_reading(talk.server.stream, true);
    run_ms(&talk.world, 20);
    assert_heard(&talk.server, "one two");
    talk_close(&talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_pass_both_ways),
        cmocka_unit_test(much_passes_in_order_from_memory_and_files),
        cmocka_unit_test(reading_off_hears_nothing),
        cmocka_unit_test(unread_bytes_call_again),
        cmocka_unit_test(a_callback_may_close_everything),
        cmocka_unit_test(last_words_are_heard),
        cmocka_unit_test(connecting_fails_with_a_reason),
        cmocka_unit_test(a_paused_listener_lets_them_wait),
        cmocka_unit_test(a_detached_stream_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
