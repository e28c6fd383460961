/* wire_bench.h: what the tests of a keeper's sockets share: a keeper on a simulated machine, and clients on another that send frames
 * and take answers. */
#pragma once
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "keeper/jute.h"
#include "keeper/keeper.h"
#include "keeper/machine.h"
#include "loop/sim.h"

enum { PORT = 2181, TICK_MS = 1000, CLIENTS_MAX = 12 };

struct client {
    struct bench *bench;
    struct connecting *dialing;
    struct stream *stream;
    struct text in; /* raw, everything that came */
    bool is_connected, is_closed, is_deaf, is_broker;
    int64_t session;
    uint8_t password[PASSWORD_SIZE];
    int32_t timeout_ms, xid;
};

struct bench {
    struct sim *sim;
    struct sim_machine *server, *far;
    struct loop *loop, *far_loop;
    struct lane *lane;
    struct keeper *keeper;
    struct keeper_config config;
    struct keeper_events events;
    struct text audit; /* lines, where events.audit gathers them */
    bool is_ready, is_ended;
    enum error ready_err;
    struct client clients[CLIENTS_MAX];
    size_t client_count;
};

/* --- the keeper --- */

static inline void on_ready(void *context, enum error err)
{
    struct bench *bench = context;
    bench->is_ready = true;
    bench->ready_err = err;
    if (err == OK) assert_int_equal(keeper_listen(bench->keeper, "", PORT), OK);
}

static inline void on_ended(void *context)
{
    struct bench *bench = context;
    bench->is_ended = true;
}

static inline bool is_ready(void *context)
{
    struct bench *bench = context;
    return bench->is_ready;
}

static inline bool is_ended(void *context)
{
    struct bench *bench = context;
    return bench->is_ended;
}

static inline void start(struct bench *bench)
{
    bench->is_ready = bench->is_ended = false;
    assert_int_equal(keeper_open(&bench->config, bench->loop, sim_machine_disk(bench->server), bench->lane,
                                 &bench->events, bench, &bench->keeper),
                     OK);
    assert_true(sim_run_until(bench->sim, is_ready, bench, 10000));
    assert_int_equal(bench->ready_err, OK);
}

static inline void stop(struct bench *bench)
{
    keeper_close(&bench->keeper, on_ended, bench);
    assert_true(sim_run_until(bench->sim, is_ended, bench, 10000));
}

static inline struct bench *bench_new(void)
{
    struct bench *bench = calloc(1, sizeof *bench);
    assert_int_equal(sim_new(7, &bench->sim), OK);
    assert_int_equal(sim_machine_new(bench->sim, "10.0.0.1", &bench->server), OK);
    assert_int_equal(sim_machine_new(bench->sim, "10.0.0.2", &bench->far), OK);
    assert_int_equal(sim_loop_new(bench->server, &bench->loop), OK);
    assert_int_equal(sim_loop_new(bench->far, &bench->far_loop), OK);
    assert_int_equal(lane_new(bench->loop, "sync", 1, &bench->lane), OK);
    keeper_config_init(&bench->config);
    bench->config.data_dir = "/keeper";
    bench->config.tick_time_ms = TICK_MS;
    bench->events.ready = on_ready;
    return bench;
}

/* The last that dialed: its place is free again. */
static inline void hang_up(struct bench *bench)
{
    struct client *client = &bench->clients[--bench->client_count];
    stream_connect_cancel(&client->dialing);
    if (client->stream) stream_close(&client->stream);
    text_free(&client->in);
}

static inline void bench_free(struct bench *bench)
{
    while (bench->client_count > 0) hang_up(bench);
    if (bench->keeper) stop(bench);
    lane_free(bench->lane);
    loop_free(bench->loop);
    loop_free(bench->far_loop);
    sim_free(bench->sim);
    text_free(&bench->audit);
    free(bench);
}

static inline struct keeper_stats stats_of(struct bench *bench)
{
    struct keeper_stats stats;
    keeper_stats(bench->keeper, &stats);
    return stats;
}

/* --- a client --- */

static inline void on_readable(void *context)
{
    struct client *client = context;
    uint8_t bytes[8192];
    size_t got;
    while (!client->is_deaf && stream_read(client->stream, bytes, sizeof bytes, &got) == OK) {
        text_add(&client->in, (struct slice){bytes, got});
    }
    if (client->is_deaf) stream_set_reading(client->stream, false);
}

static inline void on_closed(void *context, enum error err)
{
    struct client *client = context;
    client->is_closed = true;
    stream_close(&client->stream);
}

static inline void on_dialed(void *context, enum error err, struct stream *stream)
{
    static const struct stream_events events = {on_readable, NULL, on_closed};
    struct client *client = context;
    client->dialing = NULL;
    assert_int_equal(err, OK);
    client->is_connected = true;
    client->stream = stream;
    stream_set_events(stream, &events, client);
    stream_set_reading(stream, true);
}

static inline bool is_connected(void *context)
{
    struct client *client = context;
    return client->is_connected;
}

static inline struct client *dial(struct bench *bench)
{
    assert_true(bench->client_count < CLIENTS_MAX);
    struct client *client = &bench->clients[bench->client_count++];
    *client = (struct client){.bench = bench};
    assert_int_equal(
        stream_connect(bench->far_loop, "10.0.0.1", PORT, 5000, on_dialed, client, &client->dialing), OK);
    assert_true(sim_run_until(bench->sim, is_connected, client, 5000));
    return client;
}

static inline void send_raw(struct client *client, struct slice bytes)
{
    if (!client->stream) return;
    assert_int_equal(stream_write(client->stream, bytes_copy(bytes.data, bytes.size), 0, bytes.size), OK);
}

static inline void send_frame(struct client *client, const struct text *frame)
{
    uint8_t size[4];
    put_be32(size, (uint32_t)frame->size);
    send_raw(client, (struct slice){size, 4});
    send_raw(client, text_slice(frame));
}

static inline bool has_frame(void *context)
{
    struct client *client = context;
    if (client->is_closed) return true;
    return client->in.size >= 4 && client->in.size - 4 >= get_be32(client->in.data);
}

static inline bool has_closed(void *context)
{
    struct client *client = context;
    return client->is_closed;
}

/* The next frame, copied into `frame`; false when the connection is closed instead. */
static inline bool take_frame(struct client *client, struct text *frame)
{
    text_reset(frame);
    assert_true(sim_run_until(client->bench->sim, has_frame, client, 10000));
    if (client->in.size < 4 || client->in.size - 4 < get_be32(client->in.data)) return false;
    size_t size = get_be32(client->in.data);
    text_add(frame, (struct slice){(const uint8_t *)client->in.data + 4, size});
    memmove(client->in.data, client->in.data + 4 + size, client->in.size - 4 - size);
    client->in.size -= 4 + size;
    return true;
}

/* The size of the answer; 0 when the keeper closed without one. */
static inline size_t shake(struct client *client, int64_t session, const uint8_t *password, int64_t zxid,
                           int32_t timeout_ms, bool has_read_only)
{
    static const uint8_t no_password[PASSWORD_SIZE];
    struct text frame = {0};
    text_add_be32(&frame, client->is_broker ? KEEPER_BROKER_PROTOCOL : 0);
    text_add_be64(&frame, (uint64_t)zxid);
    text_add_be32(&frame, (uint32_t)timeout_ms);
    text_add_be64(&frame, (uint64_t)session);
    jute_add_bytes(&frame, (struct slice){password ? password : no_password, PASSWORD_SIZE});
    if (has_read_only) text_addc(&frame, 0);
    send_frame(client, &frame);
    size_t size = take_frame(client, &frame) ? frame.size : 0;
    if (size > 0) {
        struct jute in = jute_of(text_slice(&frame));
        jute_int(&in);
        client->timeout_ms = jute_int(&in);
        client->session = jute_long(&in);
        struct slice given = jute_bytes(&in);
        assert_int_equal(given.size, PASSWORD_SIZE);
        memcpy(client->password, given.data, PASSWORD_SIZE);
    }
    text_free(&frame);
    return size;
}

static inline struct client *open_client(struct bench *bench)
{
    struct client *client = dial(bench);
    assert_int_equal(shake(client, 0, NULL, 0, 10000, true), 37);
    return client;
}

static inline void add_header(struct text *out, int32_t xid, int32_t op)
{
    text_reset(out);
    text_add_be32(out, (uint32_t)xid);
    text_add_be32(out, (uint32_t)op);
}

static inline void add_acl(struct text *out, int32_t perms, const char *scheme, const char *id)
{
    text_add_be32(out, 1);
    text_add_be32(out, (uint32_t)perms);
    jute_add_bytes(out, slice_of(scheme));
    jute_add_bytes(out, slice_of(id));
}

/* With the open ACL. */
static inline void add_create_body(struct text *out, const char *path, int32_t flags, size_t size)
{
    jute_add_bytes(out, slice_of(path));
    text_add_be32(out, (uint32_t)size);
    for (size_t i = 0; i < size; i++) text_addc(out, 'x');
    add_acl(out, ACL_ALL, "world", "anyone");
    text_add_be32(out, (uint32_t)flags);
}

/* A whole create request; the caller may add to it. */
static inline void add_create(struct text *out, int32_t xid, int32_t op, const char *path, int32_t flags,
                              size_t size)
{
    add_header(out, xid, op);
    add_create_body(out, path, flags, size);
}

static inline void send_create(struct client *client, int32_t xid, const char *path, int32_t flags,
                               size_t size)
{
    struct text out = {0};
    add_create(&out, xid, OP_CREATE, path, flags, size);
    send_frame(client, &out);
    text_free(&out);
}

static inline void send_delete(struct client *client, int32_t xid, const char *path)
{
    struct text out = {0};
    add_header(&out, xid, OP_DELETE);
    jute_add_bytes(&out, slice_of(path));
    text_add_be32(&out, (uint32_t)-1);
    send_frame(client, &out);
    text_free(&out);
}

static inline void send_path(struct client *client, int32_t xid, int32_t op, const char *path, int watch)
{
    struct text out = {0};
    add_header(&out, xid, op);
    if (path) jute_add_bytes(&out, slice_of(path));
    if (watch >= 0) text_addc(&out, (char)watch);
    send_frame(client, &out);
    text_free(&out);
}

struct answer {
    int32_t xid, err;
    int64_t zxid;
    size_t size;
};

static inline bool take_answer(struct client *client, struct answer *answer)
{
    struct text frame = {0};
    bool is_there = take_frame(client, &frame);
    if (is_there) {
        struct jute in = jute_of(text_slice(&frame));
        answer->xid = jute_int(&in);
        answer->zxid = jute_long(&in);
        answer->err = jute_int(&in);
        answer->size = frame.size;
    }
    text_free(&frame);
    return is_there;
}

static inline int32_t answer_code(struct client *client, int32_t xid)
{
    struct answer answer = {0};
    assert_true(take_answer(client, &answer));
    assert_int_equal(answer.xid, xid);
    return answer.err;
}

static inline void assert_cut(struct client *client)
{
    assert_true(sim_run_until(client->bench->sim, has_closed, client, 15000));
}
