/* keeper_ensemble_test.c: three keepers that agree, in the simulated world, and chosen moments of theirs: who may write for a session, who
 * ends it and when, what a member does without a leader, a member that differs. test/sim/keepers_life lives whole lives. */
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "keeper/backup.h"
#include "keeper/inside.h"
#include "keeper/jute.h"
#include "loop/disk.h"
#include "loop/sim.h"

enum { MEMBERS = 3, PORT = 2181, QUORUM_PORT = 2888, TICK_MS = 200, TIMEOUT_MS = 2000, CLIENTS_MAX = 16 };

struct world;

struct member {
    struct world *world;
    int32_t id;
    char host[16];
    struct sim_machine *machine;
    struct loop *loop;
    struct lane *lane;
    struct keeper *keeper;
    bool is_ready, has_failed, is_ended;
};

struct client {
    struct world *world;
    struct connecting *dialing;
    struct stream *stream;
    struct text in;
    bool is_dialed, is_closed;
    int64_t session, zxid;
    int32_t err, timeout_ms;
    uint8_t password[PASSWORD_SIZE];
};

struct world {
    struct sim *sim;
    struct member members[MEMBERS];
    struct sim_machine *far;
    struct loop *far_loop;
    struct keeper_server servers[MEMBERS];
    char lines[MEMBERS][64];
    struct keeper_config config;
    struct client clients[CLIENTS_MAX];
    size_t client_count;
};

/* What a crash leaves in memory was the machine's own. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

/* --- members --- */

static void on_ready(void *context, enum error err)
{
    struct member *member = context;
    member->is_ready = err == OK;
    member->has_failed = err != OK;
}

static void on_failed(void *context, enum error err)
{
    ((struct member *)context)->has_failed = true;
}

static void on_ended(void *context)
{
    ((struct member *)context)->is_ended = true;
}

static void start(struct member *member)
{
    static const struct keeper_events events = {.ready = on_ready, .failed = on_failed};
    struct keeper_config config = member->world->config;
    config.server_id = member->id;
    member->is_ready = member->has_failed = member->is_ended = false;
    assert_int_equal(sim_loop_new(member->machine, &member->loop), OK);
    assert_int_equal(lane_new(member->loop, "sync", 1, &member->lane), OK);
    assert_int_equal(keeper_open(&config, member->loop, sim_machine_disk(member->machine), member->lane,
                                 &events, member, &member->keeper),
                     OK);
    assert_int_equal(keeper_listen(member->keeper, "", PORT), OK);
}

static void kill_member(struct member *member)
{
    sim_machine_kill(member->machine);
    member->keeper = NULL; /* abandoned */
}

static bool all_ready(void *context)
{
    struct world *world = context;
    for (int i = 0; i < MEMBERS; i++) {
        struct member *member = &world->members[i];
        if (member->keeper && !(member->is_ready && office_takes_writes(member->keeper))) return false;
    }
    return true;
}

static void settle(struct world *world)
{
    assert_true(sim_run_until(world->sim, all_ready, world, 20000));
}

static struct world *world_new(void (*change)(struct keeper_config *config))
{
    diag_set_level(DIAG_ERROR);
    struct world *world = calloc(1, sizeof *world);
    assert_int_equal(sim_new(11, &world->sim), OK);
    keeper_config_init(&world->config);
    world->config.data_dir = "/keeper";
    world->config.tick_time_ms = TICK_MS;
    world->config.servers = world->servers;
    world->config.server_count = MEMBERS;
    world->config.four_letter_words = "*";
    if (change) change(&world->config);
    for (int i = 0; i < MEMBERS; i++) {
        struct member *member = &world->members[i];
        *member = (struct member){.world = world, .id = quorum_member_of_number(i)};
        snprintf(member->host, sizeof member->host, "10.0.0.%d", i + 1);
        snprintf(world->lines[i], sizeof world->lines[i], "%s:2888:3888:participant", member->host);
        world->servers[i] = (struct keeper_server){
            .id = member->id, .host = member->host, .quorum_port = QUORUM_PORT, .line = world->lines[i]};
        assert_int_equal(sim_machine_new(world->sim, member->host, &member->machine), OK);
    }
    assert_int_equal(sim_machine_new(world->sim, "10.0.0.9", &world->far), OK);
    assert_int_equal(sim_loop_new(world->far, &world->far_loop), OK);
    for (int i = 0; i < MEMBERS; i++) start(&world->members[i]);
    settle(world);
    return world;
}

static bool all_ended(void *context)
{
    struct world *world = context;
    bool is_over = true;
    for (int i = 0; i < MEMBERS; i++) is_over = is_over && world->members[i].is_ended;
    return is_over;
}

static void world_free(struct world *world)
{
    for (size_t i = 0; i < world->client_count; i++) {
        stream_connect_cancel(&world->clients[i].dialing);
        if (world->clients[i].stream) stream_close(&world->clients[i].stream);
        text_free(&world->clients[i].in);
    }
    for (int i = 0; i < MEMBERS; i++) {
        struct member *member = &world->members[i];
        if (member->keeper) {
            keeper_close(&member->keeper, on_ended, member);
        } else {
            member->is_ended = true;
        }
    }
    assert_true(sim_run_until(world->sim, all_ended, world, 10000));
    for (int i = 0; i < MEMBERS; i++) {
        lane_free(world->members[i].lane);
        loop_free(world->members[i].loop);
    }
    loop_free(world->far_loop);
    sim_free(world->sim);
    free(world);
}

static struct member *leader_of(struct world *world)
{
    for (int i = 0; i < MEMBERS; i++) {
        struct member *member = &world->members[i];
        if (member->keeper && member->keeper->office.state == OFFICE_LEADING) return member;
    }
    fail_msg("nobody leads");
    return NULL;
}

/* The first or second who follows. */
static struct member *follower_of(struct world *world, int which)
{
    for (int i = 0; i < MEMBERS; i++) {
        struct member *member = &world->members[i];
        bool follows = member->keeper && member->keeper->office.state == OFFICE_FOLLOWING;
        if (follows && which-- == 0) return member;
    }
    fail_msg("too few follow");
    return NULL;
}

/* --- clients --- */

static void on_readable(void *context)
{
    struct client *client = context;
    uint8_t bytes[4096];
    size_t got;
    while (client->stream && stream_read(client->stream, bytes, sizeof bytes, &got) == OK)
        text_add(&client->in, (struct slice){bytes, got});
}

static void on_closed(void *context, enum error err)
{
    struct client *client = context;
    client->is_closed = true;
    if (client->stream) stream_close(&client->stream);
}

static void on_dialed(void *context, enum error err, struct stream *stream)
{
    static const struct stream_events events = {on_readable, NULL, on_closed};
    struct client *client = context;
    client->dialing = NULL;
    client->is_dialed = true;
    client->is_closed = err != OK;
    if (err != OK) return;
    client->stream = stream;
    stream_set_events(stream, &events, client);
    stream_set_reading(stream, true);
}

static bool is_dialed(void *context)
{
    return ((struct client *)context)->is_dialed;
}

static bool has_frame(void *context)
{
    struct client *client = context;
    return client->is_closed || (client->in.size >= 4 && client->in.size - 4 >= get_be32(client->in.data));
}

static bool has_closed(void *context)
{
    return ((struct client *)context)->is_closed;
}

static void send_frame(struct client *client, const struct text *frame)
{
    if (!client->stream) return;
    struct bytes *bytes = bytes_new(frame->size + 4);
    put_be32(bytes->data, (uint32_t)frame->size);
    memcpy(bytes->data + 4, frame->data, frame->size);
    bytes->size = frame->size + 4;
    assert_int_equal(stream_write(client->stream, bytes, 0, bytes->size), OK);
}

/* The next frame; null when the connection was closed instead. */
static struct slice next_frame(struct client *client, struct text *kept)
{
    assert_true(sim_run_until(client->world->sim, has_frame, client, 10000));
    text_reset(kept);
    if (client->in.size < 4) return SLICE_NULL;
    size_t size = get_be32(client->in.data);
    text_add(kept, (struct slice){(const uint8_t *)client->in.data + 4, size});
    memmove(client->in.data, client->in.data + 4 + size, client->in.size - 4 - size);
    client->in.size -= 4 + size;
    return text_slice(kept);
}

static struct client *dial(struct member *member)
{
    struct world *world = member->world;
    assert_true(world->client_count < CLIENTS_MAX);
    struct client *client = &world->clients[world->client_count++];
    *client = (struct client){.world = world};
    assert_int_equal(
        stream_connect(world->far_loop, member->host, PORT, 5000, on_dialed, client, &client->dialing), OK);
    assert_true(sim_run_until(world->sim, is_dialed, client, 6000));
    return client;
}

struct hello_options {
    const struct client *again; /* whose session it takes over */
    bool is_broker, wants_read_only;
    int64_t seen_zxid;
};

static void say_hello(struct client *client, const struct hello_options *options)
{
    struct text frame = {0};
    static const uint8_t nothing[PASSWORD_SIZE];
    text_add_be32(&frame, options->is_broker ? KEEPER_BROKER_PROTOCOL : 0);
    text_add_be64(&frame, (uint64_t)options->seen_zxid);
    text_add_be32(&frame, TIMEOUT_MS);
    text_add_be64(&frame, options->again ? (uint64_t)options->again->session : 0);
    jute_add_bytes(&frame,
                   (struct slice){options->again ? options->again->password : nothing, PASSWORD_SIZE});
    text_addc(&frame, (char)options->wants_read_only);
    send_frame(client, &frame);
    text_free(&frame);
}

/* False: closed without an answer. A session of 0 is one that is over. */
static bool hear_hello(struct client *client)
{
    struct text kept = {0};
    struct jute in = jute_of(next_frame(client, &kept));
    jute_int(&in);
    client->timeout_ms = jute_int(&in);
    client->session = jute_long(&in);
    struct slice password = jute_bytes(&in);
    bool is_there = !in.is_bad && password.size == PASSWORD_SIZE;
    if (is_there) memcpy(client->password, password.data, PASSWORD_SIZE);
    text_free(&kept);
    return is_there;
}

static struct client *join(struct member *member, const struct hello_options *options)
{
    static const struct hello_options plain;
    struct client *client = dial(member);
    say_hello(client, options ? options : &plain);
    assert_true(hear_hello(client));
    assert_true(client->session != 0);
    return client;
}

static void send_request(struct client *client, int32_t op, const char *path, const char *data, int32_t flags)
{
    struct text frame = {0};
    text_add_be32(&frame, op == OP_PING ? (uint32_t)-2 : 1);
    text_add_be32(&frame, (uint32_t)op);
    if (op != OP_PING && op != OP_CLOSE_SESSION) jute_add_bytes(&frame, slice_of(path));
    if (op == OP_CREATE) {
        jute_add_bytes(&frame, slice_of(data));
        text_add_be32(&frame, 1);
        text_add_be32(&frame, ACL_ALL);
        jute_add_bytes(&frame, SLICE("world"));
        jute_add_bytes(&frame, SLICE("anyone"));
        text_add_be32(&frame, (uint32_t)flags);
    }
    if (op == OP_EXISTS) text_addc(&frame, 0);
    send_frame(client, &frame);
    text_free(&frame);
}

enum { CLOSED = 12345 };
/* The error of the answer, or CLOSED. */
static int32_t hear(struct client *client)
{
    struct text kept = {0};
    struct jute in = jute_of(next_frame(client, &kept));
    jute_int(&in);
    client->zxid = jute_long(&in);
    client->err = jute_int(&in);
    if (in.is_bad) client->err = CLOSED;
    text_free(&kept);
    return client->err;
}

static int32_t ask(struct client *client, int32_t op, const char *path)
{
    send_request(client, op, path, "x", 0);
    return hear(client);
}

static int32_t create(struct client *client, const char *path, int32_t flags)
{
    send_request(client, OP_CREATE, path, "x", flags);
    return hear(client);
}

static bool exists(struct member *member, const char *path)
{
    return tree_find(&member->keeper->machine.tree, slice_of(path)) != NULL;
}

static void run(struct world *world, int64_t ms)
{
    sim_run_ms(world->sim, ms);
}

/* --- the tests --- */

static void writes_of_all_members_are_everywhere(void **state)
{
    struct world *world = world_new(NULL);
    struct client *clients[MEMBERS];
    char path[16];
    for (int i = 0; i < MEMBERS; i++) {
        clients[i] = join(&world->members[i], NULL);
        assert_int_equal((uint64_t)clients[i]->session >> 56, i);
        snprintf(path, sizeof path, "/n%d", i);
        assert_int_equal(create(clients[i], path, 0), 0);
    }
    for (int i = 0; i < MEMBERS; i++) {
        assert_int_equal(ask(clients[i], OP_SYNC, "/"), 0);
        for (int other = 0; other < MEMBERS; other++) {
            snprintf(path, sizeof path, "/n%d", other);
            assert_int_equal(ask(clients[i], OP_EXISTS, path), 0);
        }
    }
    assert_int_equal(create(clients[0], "/n1", 0), -110);
    run(world, 500);
    for (int i = 1; i < MEMBERS; i++) {
        assert_true(machine_digest(&world->members[i].keeper->machine) ==
                    machine_digest(&world->members[0].keeper->machine));
    }
    assert_true(world->members[0].keeper->machine.zxid >> 32 == 1);
    world_free(world);
}

static void a_client_that_moves_leaves_nothing_behind(void **state)
{
    struct world *world = world_new(NULL);
    struct member *here = follower_of(world, 0), *there = follower_of(world, 1), *leader = leader_of(world);
    struct client *first = join(here, NULL);
    assert_int_equal(create(first, "/mine", 1), 0);
    const struct hello_options again = {.again = first};
    struct client *second = join(there, &again);
    assert_true(second->session == first->session);
    assert_true(sim_run_until(world->sim, has_closed, first, 2000));
    assert_true(exists(leader, "/mine"));
    assert_int_equal(create(second, "/more", 1), 0);

    /* What it asks here comes to the leader after it moved on: void. */
    sim_net_cut(world->sim, there->machine, leader->machine, true);
    send_request(second, OP_CREATE, "/late", "x", 0);
    const struct hello_options away = {.again = second};
    struct client *third = join(here, &away);
    run(world, 50);
    sim_net_cut(world->sim, there->machine, leader->machine, false);
    settle(world);
    run(world, 1000);
    assert_false(exists(here, "/late"));
    assert_int_equal(create(third, "/late", 0), 0);

    struct client wrong = *third;
    wrong.password[3] ^= 1;
    const struct hello_options guess = {.again = &wrong};
    struct client *thief = dial(there);
    say_hello(thief, &guess);
    assert_true(hear_hello(thief));
    assert_true(thief->session == 0 && thief->timeout_ms == 0);
    const struct hello_options ahead = {.seen_zxid = INT64_MAX};
    struct client *future = dial(there);
    say_hello(future, &ahead);
    assert_false(hear_hello(future));
    world_free(world);
}

static void the_leader_ends_sessions_and_only_after_a_full_timeout_in_office(void **state)
{
    struct world *world = world_new(NULL);
    struct member *follower = follower_of(world, 0), *leader = leader_of(world);
    struct client *quiet = join(follower, NULL), *lively = join(follower, NULL);
    assert_int_equal(create(quiet, "/quiet", 1), 0);
    assert_int_equal(create(lively, "/lively", 1), 0);
    for (int i = 0; i < 8; i++) { /* the follower tells the leader of pings */
        run(world, TIMEOUT_MS / 4);
        assert_int_equal(ask(lively, OP_PING, NULL), 0);
        if (i == 2) assert_true(exists(leader, "/quiet"));
    }
    assert_false(exists(leader, "/quiet"));
    assert_true(exists(leader, "/lively"));
    assert_true(quiet->is_closed);

    run(world, TIMEOUT_MS - 2 * TICK_MS); /* nearly over, and then nobody knows since when */
    kill_member(leader);
    settle(world);
    run(world, TIMEOUT_MS - TICK_MS);
    assert_true(exists(follower, "/lively"));
    run(world, 3 * TICK_MS);
    assert_false(exists(follower, "/lively"));
    world_free(world);
}

static void a_brokers_session_ends_with_its_connection_elsewhere_too(void **state)
{
    struct world *world = world_new(NULL);
    struct member *follower = follower_of(world, 0), *leader = leader_of(world);
    const struct hello_options broker = {.is_broker = true};
    struct client *guest = join(follower, NULL), *gone = join(follower, &broker),
                  *back = join(follower, &broker);
    assert_int_equal(create(guest, "/guest", 1), 0);
    assert_int_equal(create(gone, "/gone", 1), 0);
    assert_int_equal(create(back, "/back", 1), 0);
    stream_close(&guest->stream);
    stream_close(&gone->stream);
    stream_close(&back->stream);
    const struct hello_options again = {.again = back, .is_broker = true};
    struct client *moved = join(follower_of(world, 1), &again);
    run(world, 500);
    assert_true(exists(leader, "/guest"));
    assert_false(exists(leader, "/gone"));
    assert_true(exists(leader, "/back"));

    /* The log takes longer than the grace: it is back all the same. */
    for (int i = 0; i < MEMBERS; i++) sim_disk_slow(world->members[i].machine, 2 * BROKER_GRACE_MS, 4);
    stream_close(&moved->stream);
    const struct hello_options once_more = {.again = moved, .is_broker = true};
    struct client *slow = dial(follower);
    say_hello(slow, &once_more);
    run(world, 6 * BROKER_GRACE_MS);
    assert_true(hear_hello(slow));
    assert_true(slow->session == moved->session);
    assert_true(exists(leader, "/back"));
    world_free(world);
}

static void on_local_frame(void *context, struct slice frame)
{
    int *count = context;
    ++*count;
}

static void on_local_closed(void *context)
{
}

static struct keeper_local *open_door(struct member *member, int *frames, const char *path)
{
    static const struct keeper_local_events events = {on_local_frame, on_local_closed};
    static const uint8_t nothing[PASSWORD_SIZE];
    struct keeper_local *local;
    struct text frame = {0};
    *frames = 0;
    assert_int_equal(keeper_local_connect(member->keeper, &events, frames, &local), OK);
    text_add_be32(&frame, KEEPER_BROKER_PROTOCOL);
    text_add_be64(&frame, 0);
    text_add_be32(&frame, TIMEOUT_MS * 2);
    text_add_be64(&frame, 0);
    jute_add_bytes(&frame, (struct slice){nothing, PASSWORD_SIZE});
    assert_int_equal(keeper_local_send(local, text_slice(&frame)), OK);
    text_reset(&frame);
    text_add_be32(&frame, 1);
    text_add_be32(&frame, OP_CREATE);
    jute_add_bytes(&frame, slice_of(path));
    jute_add_bytes(&frame, SLICE(""));
    text_add_be32(&frame, 1);
    text_add_be32(&frame, ACL_ALL);
    jute_add_bytes(&frame, SLICE("world"));
    jute_add_bytes(&frame, SLICE("anyone"));
    text_add_be32(&frame, 1);
    assert_int_equal(keeper_local_send(local, text_slice(&frame)), OK);
    text_free(&frame);
    run(member->world, 300);
    assert_int_equal(*frames, 2);
    return local;
}

static void sessions_of_the_local_door_end_with_their_member(void **state)
{
    struct world *world = world_new(NULL);
    struct member *follower = follower_of(world, 0), *other = follower_of(world, 1);
    int frames[2];
    open_door(follower, &frames[0], "/inside");
    open_door(other, &frames[1], "/beside");
    assert_true(exists(leader_of(world), "/inside"));
    kill_member(follower);
    run(world, 700); /* well before the timeout */
    assert_false(exists(leader_of(world), "/inside"));
    assert_true(exists(leader_of(world), "/beside"));

    /* One that is back at once finds its earlier life's closed, before it is ready. */
    kill_member(other);
    start(other);
    start(follower);
    settle(world);
    assert_false(exists(other, "/beside"));
    world_free(world);
}

static void may_read(struct keeper_config *config)
{
    config->admits_read_only = true;
}

static void without_a_leader_readers_are_served_if_admitted(void **state)
{
    struct world *world = world_new(may_read);
    struct member *left = follower_of(world, 0);
    struct client *writer = join(left, NULL);
    assert_int_equal(create(writer, "/here", 0), 0);
    for (int i = 0; i < MEMBERS; i++) {
        if (&world->members[i] != left) kill_member(&world->members[i]);
    }
    run(world, 500); /* patience: it reads, its writes wait */
    assert_false(writer->is_closed);
    assert_int_equal(ask(writer, OP_EXISTS, "/here"), 0);
    assert_true(sim_run_until(world->sim, has_closed, writer, 5000));
    assert_string_equal(office_mode(left->keeper), "read-only");

    struct client *refused = dial(left);
    say_hello(refused, &(const struct hello_options){0});
    assert_false(hear_hello(refused));
    const struct hello_options reader = {.wants_read_only = true};
    struct client *guest = join(left, &reader);
    assert_int_equal(ask(guest, OP_EXISTS, "/here"), 0);
    assert_int_equal(create(guest, "/there", 0), -119);
    assert_int_equal(ask(guest, OP_SYNC, "/"), -119);
    assert_int_equal(ask(guest, OP_CLOSE_SESSION, NULL), 0);
    const struct hello_options again = {.again = writer, .wants_read_only = true};
    struct client *known = join(left, &again);
    assert_int_equal(ask(known, OP_CLOSE_SESSION, NULL), -119);
    assert_int_equal(ask(known, OP_EXISTS, "/here"), 0);

    for (int i = 0; i < MEMBERS; i++) {
        if (&world->members[i] != left) start(&world->members[i]);
    }
    settle(world);
    assert_true(sim_run_until(world->sim, has_closed, known, 5000)); /* it comes back to write */
    const struct hello_options home = {.again = writer};
    struct client *back = join(left, &home);
    assert_int_equal(create(back, "/there", 0), 0);
    world_free(world);
}

static void a_member_that_differs_stops(void **state)
{
    struct world *world = world_new(NULL);
    struct member *odd = follower_of(world, 0), *sound = follower_of(world, 1);
    struct client *client = join(sound, NULL);
    assert_int_equal(create(client, "/a", 0), 0);
    run(world, 100);
    struct tree *tree = &odd->keeper->machine.tree;
    tree_set_data(tree, tree_find(tree, SLICE("/a")), SLICE("other"), odd->keeper->machine.zxid, 0);
    struct member *leader = leader_of(world);
    int64_t before = leader->keeper->machine.zxid;
    for (int i = 0; i < MARK_EVERY + 10; i++) assert_int_equal(create(client, "/a", 0), -110);
    run(world, 500);
    assert_true(leader->keeper->machine.zxid > before + MARK_EVERY);
    assert_true(odd->has_failed);
    assert_false(sound->has_failed || leader->has_failed);
    assert_int_equal(create(client, "/b", 0), 0);
    world_free(world);
}

static void saves_often(struct keeper_config *config)
{
    config->snap_count = 50;
}

static void who_was_away_for_long_is_given_a_snapshot(void **state)
{
    struct world *world = world_new(saves_often);
    struct member *away = follower_of(world, 0), *stays = follower_of(world, 1);
    struct client *client = join(stays, NULL);
    kill_member(away);
    for (int i = 0; i < 400; i++) {
        char path[32];
        snprintf(path, sizeof path, "/n%d", i);
        assert_int_equal(create(client, path, i % 7 == 0), 0);
    }
    start(away);
    settle(world);
    run(world, 500);
    assert_true(machine_digest(&away->keeper->machine) == machine_digest(&stays->keeper->machine));
    struct client *there = join(away, NULL);
    assert_int_equal(ask(there, OP_EXISTS, "/n399"), 0);
    assert_int_equal(create(there, "/more", 1), 0);
    world_free(world);
}

static void on_backup(void *context, struct backup_answer *answer)
{
    *(struct backup_answer *)context = *answer;
}

static bool has_backup(void *context)
{
    return ((struct backup_answer *)context)->status != 0;
}

/* Each member gives the same; none takes one for all. */
static void every_member_gives_a_snapshot(void **state)
{
    struct world *world = world_new(NULL);
    struct client *client = join(follower_of(world, 0), NULL);
    for (int i = 0; i < 50; i++) {
        char path[16];
        snprintf(path, sizeof path, "/n%d", i);
        assert_int_equal(create(client, path, 0), 0);
    }
    run(world, 500);
    int64_t size = 0;
    for (int i = 0; i < MEMBERS; i++) {
        struct keeper *keeper = world->members[i].keeper;
        struct backup_answer answer = {0};
        struct backup_request request = {
            .name = SLICE("snapshot"), .authorization = "ip", .host = "10.0.0.9", .streams = true};
        assert_true(backup_begin(keeper, &request, on_backup, &answer, &answer));
        assert_true(sim_run_until(world->sim, has_backup, &answer, 10000));
        assert_int_equal(answer.status, 200);
        assert_true(answer.zxid == keeper->machine.zxid && (i == 0 || answer.size == size));
        size = answer.size;
        file_release(&answer.file);
        request.is_restore = true;
        assert_false(backup_begin(keeper, &request, on_backup, &answer, &answer));
        assert_int_equal(answer.status, 503);
        text_free(&answer.body);
    }
    world_free(world);
}

static void may_change(struct keeper_config *config)
{
    config->reconfig_enabled = config->skip_acl = true;
}

static void send_reconfig(struct client *client, const char *joining, const char *leaving)
{
    struct text frame = {0};
    text_add_be32(&frame, 1);
    text_add_be32(&frame, OP_RECONFIG);
    jute_add_bytes(&frame, slice_of(joining));
    jute_add_bytes(&frame, slice_of(leaving));
    jute_add_bytes(&frame, SLICE_NULL);
    text_add_be64(&frame, (uint64_t)-1);
    send_frame(client, &frame);
    text_free(&frame);
}

static void may_ask_to_change(struct keeper_config *config)
{
    config->reconfig_enabled = true;
}

/* A line that is none is refused before rights are asked for; one with a number that only Apache has, after. */
static void a_change_is_refused_in_order(void **state)
{
    for (int may = 0; may < 2; may++) {
        struct world *world = world_new(may ? may_change : may_ask_to_change);
        struct member *follower = follower_of(world, 0);
        struct client *client = join(follower, NULL);
        const struct tree *tree = &follower->keeper->machine.tree;
        assert_int_equal(follower->keeper->machine.zxid,
                         0x100000001); /* the session's: the leader's words take none */
        struct slice config = znode_data(tree, tree_find(tree, SLICE("/zookeeper/config")));
        static const char first[] = "version=100000000";
        assert_memory_equal(config.data + config.size - (sizeof first - 1), first, sizeof first - 1);
        send_reconfig(client, "server.999=10.0.0.8:1:2;3", NULL);
        assert_int_equal(hear(client), may ? -8 : -102);
        send_reconfig(client, "server.9=nowhere", NULL);
        assert_int_equal(hear(client), -8);
        send_reconfig(client, NULL, "2");
        assert_int_equal(hear(client), may ? 0 : -102);
        world_free(world);
    }
}

/* The answer comes through the member that leaves, behind what was asked before; then it serves nobody. */
static void who_takes_out_its_own_member_hears_the_answer(void **state)
{
    for (int leads = 0; leads < 2; leads++) {
        struct world *world = world_new(may_change);
        struct member *leaving = leads ? leader_of(world) : follower_of(world, 0);
        struct member *stays = follower_of(world, 1 - leads);
        struct client *client = join(leaving, NULL), *reader = join(leaving, NULL);
        send_request(client, OP_CREATE, "/before", "x", 0);
        char id[12];
        snprintf(id, sizeof id, "%d", quorum_member_number(leaving->id));
        send_reconfig(client, NULL, id);
        assert_int_equal(hear(client), 0);
        assert_int_equal(hear(client), 0);
        int64_t zxid = client->zxid;
        assert_int_equal(ask(reader, OP_EXISTS, "/before"), 0);
        assert_true(sim_run_until(world->sim, has_closed, client, 5000));
        assert_true(sim_run_until(world->sim, has_closed, reader, 5000));

        struct client *other = join(stays, NULL);
        assert_true(exists(stays, "/before"));
        struct tree *tree = &stays->keeper->machine.tree;
        const struct znode *config = tree_find(tree, SLICE("/zookeeper/config"));
        struct slice lines = znode_data(tree, config);
        assert_null(memmem(lines.data, lines.size, leaving->host, strlen(leaving->host)));
        char version[32], text[512];
        snprintf(version, sizeof version, "version=%llx", (unsigned long long)zxid);
        slice_text(lines, text, sizeof text);
        assert_non_null(strstr(text, version));
        assert_int_equal(create(other, "/after", 0), 0);
        assert_false(exists(leaving, "/after"));
        world_free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_of_all_members_are_everywhere),
        cmocka_unit_test(a_client_that_moves_leaves_nothing_behind),
        cmocka_unit_test(the_leader_ends_sessions_and_only_after_a_full_timeout_in_office),
        cmocka_unit_test(a_brokers_session_ends_with_its_connection_elsewhere_too),
        cmocka_unit_test(sessions_of_the_local_door_end_with_their_member),
        cmocka_unit_test(without_a_leader_readers_are_served_if_admitted),
        cmocka_unit_test(a_member_that_differs_stops),
        cmocka_unit_test(who_was_away_for_long_is_given_a_snapshot),
        cmocka_unit_test(every_member_gives_a_snapshot),
        cmocka_unit_test(a_change_is_refused_in_order),
        cmocka_unit_test(who_takes_out_its_own_member_hears_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
