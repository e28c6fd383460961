/* keeper_life_test.c: a keeper and its guests in the simulated world. The keeper's machine crashes at any write, is killed, paused,
 * its disk fills up or fails; connections are reset. The guests write registers, pairs and ephemerals and hold the
 * keeper to what it promised:
 *
 *     what was acknowledged or seen is never unseen; a version has one value; a compare-and-set wins once
 *     a multi is seen whole or not at all
 *     an event comes before the data that it tells of
 *     a session ends only after its timeout, and its ephemerals end with it; those of the local door end with the process
 *
 * keeper_life_test [SEED [SEEDS]] lives other lives. */
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "base/list.h"
#include "base/random.h"
#include "keeper/jute.h"
#include "keeper/keeper.h"
#include "keeper/machine.h"
#include "loop/sim.h"

enum { GUESTS = 5, KEYS = 3, VERSIONS_MAX = 4096, ROUNDS = 12, PORT = 2181, TICK_MS = 100, TIMEOUT_MS = 800 };

/* What a crash leaves in memory was the machine's own. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

struct world;

struct node {
    struct world *world;
    struct loop *loop;
    struct lane *lane;
    struct keeper *keeper;
    bool is_ready, is_failed, is_closed;
    enum error ready_err;
};

enum guest_state { GUEST_DOWN, GUEST_DIALING, GUEST_SHAKING, GUEST_UP };
enum guest_op { ASK_NOTHING, ASK_GET, ASK_SET, ASK_PAIR_SET, ASK_PAIR_GET, ASK_EPHEMERAL, ASK_UNEPHEMERAL };

struct guest {
    struct world *world;
    int index;
    struct loop *loop;
    struct loop_timer think;
    enum guest_state state;
    struct connecting *dialing;
    struct stream *stream;
    struct keeper_local *local; /* guest 0 comes through the local door */
    struct text in;
    int64_t session, zxid, last_heard_ms;
    int64_t asked_ms,
        alive_ms; /* alive: when the last question was asked that got an answer; the keeper heard us then or later */
    uint8_t password[PASSWORD_SIZE];
    int32_t xid, timeout_ms;
    /* the question that is out */
    enum guest_op op;
    int key;
    int32_t version, floor;
    uint64_t value;
    bool watches;
    /* what it knows */
    int32_t known_version[KEYS];
    bool is_watching[KEYS];
    int32_t watched_version[KEYS];
    bool has_ephemeral, maybe_ephemeral, was_maybe;
};

struct world {
    struct sim *sim;
    struct random *random;
    uint64_t seed;
    struct sim_machine *server, *client;
    struct node *node;
    struct guest guests[GUESTS];
    int32_t floor[KEYS]; /* no later read may show less */
    uint64_t values[KEYS][VERSIONS_MAX];
    bool is_won[KEYS][VERSIONS_MAX];
    int32_t pair_floor;
    uint64_t next_value;
    int answers, events, expired, ephemerals, reattached;
    bool is_ending;
    int64_t quiet_ms; /* since when */
};

static struct {
    int answers, events, expired, ephemerals, reattached;
} total;

#define BROKEN(world, ...)                                                                                   \
    do {                                                                                                     \
        print_error("seed %llu: ", (unsigned long long)(world)->seed);                                       \
        fail_msg(__VA_ARGS__);                                                                               \
    } while (0)

/* --- asking --- */

static void send_frame(struct guest *guest, struct slice frame)
{
    guest->asked_ms = sim_now_ms(guest->world->sim);
    if (guest->local) {
        assert_int_equal(keeper_local_send(guest->local, frame), OK);
        return;
    }
    struct bytes *bytes = bytes_new(frame.size + 4);
    put_be32(bytes->data, (uint32_t)frame.size);
    memcpy(bytes->data + 4, frame.data, frame.size);
    bytes->size = frame.size + 4;
    enum error err = stream_write(guest->stream, bytes, 0, bytes->size);
    (void)err; /* a dead stream says so by on_closed */
}

static void add_key(struct text *out, char kind, int key)
{
    char path[8];
    snprintf(path, sizeof path, "/%c%d", kind, key);
    jute_add_bytes(out, slice_of(path));
}

static void add_value(struct text *out, uint64_t value)
{
    text_add_be32(out, 8);
    text_add_be64(out, value);
}

static void add_part(struct text *out, int32_t op)
{
    text_add_be32(out, (uint32_t)op);
    text_addc(out, op == -1);
    text_add_be32(out, UINT32_MAX);
}

static void ask(struct guest *guest)
{
    static const int32_t ops[] = {0, OP_GET_DATA, OP_SET_DATA, OP_MULTI, OP_MULTI_READ, OP_CREATE, OP_DELETE};
    struct world *world = guest->world;
    struct text out = {0};
    uint64_t dice = random_below(world->random, 10);
    guest->key = (int)random_below(world->random, KEYS);
    guest->op = dice < 3                           ? ASK_GET
                : dice < 6                         ? ASK_SET
                : dice < 7                         ? ASK_PAIR_SET
                : dice < 8                         ? ASK_PAIR_GET
                : guest->has_ephemeral && dice < 9 ? ASK_UNEPHEMERAL
                                                   : ASK_EPHEMERAL;
    if (guest->op == ASK_EPHEMERAL && guest->has_ephemeral) guest->op = ASK_GET;
    if (world->is_ending) guest->op = ASK_GET; /* instead of a ping */
    text_add_be32(&out, (uint32_t)++guest->xid);
    text_add_be32(&out, (uint32_t)ops[guest->op]);
    guest->value = ++world->next_value;
    guest->floor = world->floor[guest->key];
    switch (guest->op) {
    case ASK_GET:
        guest->watches = random_below(world->random, 2);
        add_key(&out, 'k', guest->key);
        text_addc(&out, (char)guest->watches);
        break;
    case ASK_SET:
        guest->version = guest->known_version[guest->key];
        add_key(&out, 'k', guest->key);
        add_value(&out, guest->value);
        text_add_be32(&out, (uint32_t)guest->version);
        break;
    case ASK_PAIR_SET:
        for (int i = 0; i < 2; i++) {
            add_part(&out, OP_SET_DATA);
            add_key(&out, 'p', i);
            add_value(&out, guest->value);
            text_add_be32(&out, UINT32_MAX);
        }
        if (random_below(world->random, 3) == 0) { /* this one fails, and must leave no trace */
            add_part(&out, OP_CHECK);
            add_key(&out, 'k', 0);
            text_add_be32(&out, 1 << 30);
        }
        add_part(&out, -1);
        break;
    case ASK_PAIR_GET:
        guest->floor = world->pair_floor;
        for (int i = 0; i < 2; i++) {
            add_part(&out, OP_GET_DATA);
            add_key(&out, 'p', i);
            text_addc(&out, 0);
        }
        add_part(&out, -1);
        break;
    case ASK_EPHEMERAL:
        add_key(&out, 'e', guest->index);
        add_value(&out, guest->value);
        text_add_be32(&out, 1);
        text_add_be32(&out, ACL_ALL);
        jute_add_bytes(&out, SLICE("world"));
        jute_add_bytes(&out, SLICE("anyone"));
        text_add_be32(&out, 1);
        guest->was_maybe = guest->maybe_ephemeral;
        guest->maybe_ephemeral = true;
        break;
    default:
        add_key(&out, 'e', guest->index);
        text_add_be32(&out, UINT32_MAX);
        guest->maybe_ephemeral = true;
        break;
    }
    send_frame(guest, text_slice(&out));
    text_free(&out);
}

static void shake(struct guest *guest)
{
    struct text out = {0};
    text_add_be32(&out, 0);
    text_add_be64(&out, (uint64_t)guest->zxid);
    text_add_be32(&out, TIMEOUT_MS);
    text_add_be64(&out, (uint64_t)guest->session);
    jute_add_bytes(&out, (struct slice){guest->password, PASSWORD_SIZE});
    text_addc(&out, 0);
    guest->state = GUEST_SHAKING;
    send_frame(guest, text_slice(&out));
    text_free(&out);
}

/* --- hearing --- */

static void down(struct guest *guest)
{
    stream_connect_cancel(&guest->dialing);
    stream_close(&guest->stream);
    keeper_local_close(&guest->local);
    text_reset(&guest->in);
    guest->state = GUEST_DOWN;
    guest->op = ASK_NOTHING;
    memset(guest->is_watching, 0, sizeof guest->is_watching);
}

static void forget_session(struct guest *guest)
{
    guest->session = 0;
    memset(guest->password, 0, PASSWORD_SIZE);
    guest->has_ephemeral = guest->maybe_ephemeral = false;
}

static void raise(int32_t *floor, int32_t version)
{
    if (version > *floor) *floor = version;
}

static void saw_value(struct guest *guest, int key, int32_t version, uint64_t value)
{
    struct world *world = guest->world;
    if (version >= VERSIONS_MAX) return;
    uint64_t *known = &world->values[key][version];
    if (*known != 0 && *known != value) BROKEN(world, "/k%d version %d has two values", key, version);
    *known = value;
    raise(&world->floor[key], version);
    guest->known_version[key] = version;
}

static int32_t take_stat(struct jute *in)
{
    const uint8_t *stat = jute_take(in, STAT_SIZE);
    return stat ? (int32_t)get_be32(stat + 32) : -1;
}

static uint64_t take_value(struct jute *in)
{
    struct slice data = jute_bytes(in);
    return data.size == 8 ? get_be64(data.data) : 0;
}

static void heard_get(struct guest *guest, struct jute *in)
{
    uint64_t value = take_value(in);
    int32_t version = take_stat(in);
    assert_false(in->is_bad);
    if (version < guest->floor)
        BROKEN(guest->world, "/k%d went back from %d to %d", guest->key, guest->floor, version);
    if (guest->is_watching[guest->key] && version > guest->watched_version[guest->key]) {
        BROKEN(guest->world, "/k%d changed and no event came first", guest->key);
    }
    saw_value(guest, guest->key, version, value);
    if (guest->watches) {
        guest->is_watching[guest->key] = true;
        guest->watched_version[guest->key] = version;
    }
}

static void heard_set(struct guest *guest, int32_t err, struct jute *in)
{
    struct world *world = guest->world;
    if (err == -103) {
        guest->known_version[guest->key] = world->floor[guest->key];
        return;
    }
    assert_int_equal(err, 0);
    int32_t version = take_stat(in);
    assert_int_equal(version, guest->version + 1);
    if (version < VERSIONS_MAX) {
        if (world->is_won[guest->key][version])
            BROKEN(world, "/k%d version %d was won twice", guest->key, version);
        world->is_won[guest->key][version] = true;
    }
    if (version <= guest->floor)
        BROKEN(world, "/k%d: won version %d after %d was seen", guest->key, version, guest->floor);
    guest->is_watching[guest->key] = false; /* its own event came, or comes: checked by the others */
    saw_value(guest, guest->key, version, guest->value);
}

static void heard_pair(struct guest *guest, struct jute *in)
{
    uint64_t values[2];
    int32_t versions[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(jute_int(in), OP_GET_DATA);
        jute_bool(in);
        jute_int(in);
        values[i] = take_value(in);
        versions[i] = take_stat(in);
    }
    assert_false(in->is_bad);
    if (values[0] != values[1] || versions[0] != versions[1]) BROKEN(guest->world, "half a multi was seen");
    if (versions[0] < guest->floor) BROKEN(guest->world, "the pair went back");
    raise(&guest->world->pair_floor, versions[0]);
}

static void heard_answer(struct guest *guest, int32_t err, struct jute *in)
{
    struct world *world = guest->world;
    enum guest_op op = guest->op;
    guest->op = ASK_NOTHING;
    world->answers++;
    guest->alive_ms = guest->asked_ms;
    switch (op) {
    case ASK_GET:
        assert_int_equal(err, 0);
        heard_get(guest, in);
        break;
    case ASK_SET: heard_set(guest, err, in); break;
    case ASK_PAIR_SET: assert_int_equal(err, 0); break;
    case ASK_PAIR_GET: heard_pair(guest, in); break;
    case ASK_EPHEMERAL:
        if (err != 0 && err != -110) BROKEN(world, "an ephemeral answered %d", err);
        /* It exists: an answer was lost, or an earlier session of ours is not over. At the local door only the former. */
        if (err != 0 && guest->index == 0 && !guest->was_maybe)
            BROKEN(world, "an ephemeral outlived its process");
        guest->has_ephemeral = err == 0;
        guest->maybe_ephemeral = err != 0;
        world->ephemerals++;
        break;
    case ASK_UNEPHEMERAL:
        if (err != 0 && err != -101) BROKEN(world, "a deletion answered %d", err);
        guest->has_ephemeral = guest->maybe_ephemeral = false;
        break;
    default: BROKEN(world, "an answer to nothing");
    }
}

static void heard_shake(struct guest *guest, struct slice frame)
{
    struct world *world = guest->world;
    struct jute in = jute_of(frame);
    jute_int(&in);
    int32_t timeout_ms = jute_int(&in);
    int64_t session = jute_long(&in);
    struct slice password = jute_bytes(&in);
    assert_false(in.is_bad);
    if (timeout_ms == 0) {
        int64_t silent_ms = sim_now_ms(world->sim) - guest->alive_ms;
        if (silent_ms < guest->timeout_ms)
            BROKEN(world, "a session ended after %lld ms", (long long)silent_ms);
        world->expired++;
        forget_session(guest);
        down(guest);
        return;
    }
    guest->alive_ms = guest->asked_ms;
    world->reattached += guest->session == session;
    guest->session = session;
    guest->timeout_ms = timeout_ms;
    memcpy(guest->password, password.data, PASSWORD_SIZE);
    guest->state = GUEST_UP;
}

static void heard(struct guest *guest, struct slice frame)
{
    guest->last_heard_ms = sim_now_ms(guest->world->sim);
    if (guest->state == GUEST_SHAKING) {
        heard_shake(guest, frame);
        return;
    }
    struct jute in = jute_of(frame);
    int32_t xid = jute_int(&in);
    int64_t zxid = jute_long(&in);
    int32_t err = jute_int(&in);
    assert_false(in.is_bad);
    if (zxid > guest->zxid) guest->zxid = zxid;
    if (xid == -1) {
        jute_int(&in);
        jute_int(&in);
        struct slice path = jute_bytes(&in);
        assert_true(path.size == 3);
        guest->is_watching[path.data[2] - '0'] = false;
        guest->world->events++;
        return;
    }
    assert_int_equal(xid, guest->xid);
    heard_answer(guest, err, &in);
}

static void on_frame(void *context, struct slice frame)
{
    heard(context, frame);
}

static void on_local_closed(void *context)
{
    down(context);
}

static void on_readable(void *context)
{
    struct guest *guest = context;
    uint8_t bytes[4096];
    size_t got;
    while (guest->stream && stream_read(guest->stream, bytes, sizeof bytes, &got) == OK) {
        text_add(&guest->in, (struct slice){bytes, got});
        while (guest->in.size >= 4 && guest->in.size - 4 >= get_be32(guest->in.data)) {
            size_t size = get_be32(guest->in.data);
            heard(guest, (struct slice){(const uint8_t *)guest->in.data + 4, size});
            if (guest->state == GUEST_DOWN) return;
            memmove(guest->in.data, guest->in.data + 4 + size, guest->in.size - 4 - size);
            guest->in.size -= 4 + size;
        }
    }
}

static void on_closed(void *context, enum error err)
{
    down(context);
}

static void on_dialed(void *context, enum error err, struct stream *stream)
{
    static const struct stream_events events = {on_readable, NULL, on_closed};
    struct guest *guest = context;
    guest->dialing = NULL;
    if (err != OK) {
        guest->state = GUEST_DOWN;
        return;
    }
    guest->stream = stream;
    stream_set_events(stream, &events, guest);
    stream_set_reading(stream, true);
    shake(guest);
}

static void think(struct loop_timer *timer)
{
    struct guest *guest = CONTAINER_OF(timer, struct guest, think);
    struct world *world = guest->world;
    if (guest->state == GUEST_DOWN) {
        guest->state = GUEST_DIALING;
        if (stream_connect(guest->loop, "10.0.0.1", PORT, 1000, on_dialed, guest, &guest->dialing) != OK) {
            guest->state = GUEST_DOWN;
        }
    } else if (guest->state == GUEST_UP && guest->op == ASK_NOTHING) {
        ask(guest);
    } else if (guest->state != GUEST_UP || guest->op != ASK_NOTHING) {
        /* Silence for too long: try another connection, as clients do. */
        if (sim_now_ms(world->sim) - guest->last_heard_ms > TIMEOUT_MS &&
            random_below(world->random, 20) == 0)
            down(guest);
    }
    uint64_t nap_ms = !world->is_ending && random_below(world->random, 50) == 0
                          ? 5000
                          : 25; /* some oversleep their session */
    loop_timer_start(guest->loop, &guest->think, 1 + (int64_t)random_below(world->random, nap_ms));
}

/* Guest 0 lives in the keeper's process and dies with it. */
static void think_local(struct loop_timer *timer)
{
    static const struct keeper_local_events events = {on_frame, on_local_closed};
    struct guest *guest = CONTAINER_OF(timer, struct guest, think);
    struct world *world = guest->world;
    if (guest->state == GUEST_DOWN) {
        if (keeper_local_connect(world->node->keeper, &events, guest, &guest->local) == OK) shake(guest);
    } else if (guest->state == GUEST_UP && guest->op == ASK_NOTHING) {
        ask(guest);
    }
    loop_timer_start(guest->loop, &guest->think, 1 + (int64_t)random_below(world->random, 25));
}

/* --- the keeper --- */

static void node_ready(void *context, enum error err)
{
    struct node *node = context;
    node->ready_err = err;
    node->is_ready = true;
    if (err == OK) err = keeper_listen(node->keeper, "", PORT);
    assert_true(err == OK || node->ready_err != OK);
}

static void node_failed(void *context, enum error err)
{
    struct node *node = context;
    node->is_failed = true;
}

static void node_closed(void *context)
{
    struct node *node = context;
    node->is_closed = true;
}

static bool is_ready(void *context)
{
    struct node *node = context;
    return node->is_ready;
}

static bool is_closed(void *context)
{
    struct node *node = context;
    return node->is_closed;
}

static void start(struct world *world)
{
    static const struct keeper_events events = {node_ready, node_failed};
    struct node *node = calloc(1, sizeof *node);
    node->world = world;
    world->node = node;
    assert_int_equal(sim_loop_new(world->server, &node->loop), OK);
    assert_int_equal(lane_new(node->loop, "sync", 1, &node->lane), OK);
    struct keeper_config config;
    keeper_config_init(&config);
    config.data_dir = "/var/keeper";
    config.tick_time_ms = TICK_MS;
    config.snap_count = 50 + (int64_t)random_below(world->random, 500);
    assert_int_equal(keeper_open(&config, node->loop, sim_machine_disk(world->server), node->lane, &events,
                                 node, &node->keeper),
                     OK);
    assert_true(sim_run_until(world->sim, is_ready, node, 60000));
    if (node->ready_err != OK) BROKEN(world, "the keeper does not start: %s", error_text(node->ready_err));

    struct guest *local = &world->guests[0];
    *local = (struct guest){.world = world, .loop = node->loop, .think.run = think_local};
}

static void stop(struct world *world)
{
    struct node *node = world->node;
    struct guest *local = &world->guests[0];
    loop_timer_stop(local->loop, &local->think);
    down(local);
    text_free(&local->in);
    keeper_close(&node->keeper, node_closed, node);
    assert_true(sim_run_until(world->sim, is_closed, node, 60000));
    lane_free(node->lane);
    loop_free(node->loop);
    free(node);
    world->node = NULL;
}

/* --- a life --- */

struct setup {
    struct keeper_local *local;
    int answers;
};

static void setup_frame(void *context, struct slice frame)
{
    struct setup *setup = context;
    setup->answers++;
}

static void setup_closed(void *context)
{
}

static void seed_znodes(struct world *world)
{
    static const struct keeper_local_events events = {setup_frame, setup_closed};
    struct setup setup = {0};
    assert_int_equal(keeper_local_connect(world->node->keeper, &events, &setup, &setup.local), OK);
    struct text out = {0};
    static const uint8_t no_password[PASSWORD_SIZE];
    text_add_be32(&out, 0);
    text_add_be64(&out, 0);
    text_add_be32(&out, TIMEOUT_MS);
    text_add_be64(&out, 0);
    jute_add_bytes(&out, (struct slice){no_password, PASSWORD_SIZE});
    assert_int_equal(keeper_local_send(setup.local, text_slice(&out)), OK);
    for (int i = 0; i < KEYS + 2; i++) {
        text_reset(&out);
        text_add_be32(&out, (uint32_t)i + 1);
        text_add_be32(&out, OP_CREATE);
        add_key(&out, i < KEYS ? 'k' : 'p', i < KEYS ? i : i - KEYS);
        add_value(&out, 0);
        text_add_be32(&out, 1);
        text_add_be32(&out, ACL_ALL);
        jute_add_bytes(&out, SLICE("world"));
        jute_add_bytes(&out, SLICE("anyone"));
        text_add_be32(&out, 0);
        assert_int_equal(keeper_local_send(setup.local, text_slice(&out)), OK);
    }
    text_free(&out);
    for (int i = 0; i < 100 && setup.answers < KEYS + 3; i++) sim_run_ms(world->sim, 50);
    assert_int_equal(setup.answers, KEYS + 3);
    keeper_local_close(&setup.local);
}

static bool all_settled(void *context)
{
    struct world *world = context;
    for (int i = 0; i < GUESTS; i++) {
        const struct guest *guest = &world->guests[i];
        if (guest->alive_ms <= world->quiet_ms) return false;
        if (guest->state != GUEST_UP || (guest->op != ASK_NOTHING && guest->op != ASK_GET)) return false;
    }
    return true;
}

/* Everybody is connected and only reads: sessions and ephemerals must be exactly what the guests believe. */
static void check_quiet(struct world *world)
{
    sim_net_delay(world->sim, 50, 1000);
    world->is_ending = true; /* until the round ends */
    world->quiet_ms = sim_now_ms(world->sim);
    for (int i = 0; i < GUESTS; i++) loop_timer_start(world->guests[i].loop, &world->guests[i].think, 1);
    bool is_settled = sim_run_until(world->sim, all_settled, world, 60000);
    if (world->node->is_failed) return; /* the write that was under way met the failing sync */
    if (!is_settled) {
        BROKEN(world, "guests are stuck: states %d %d %d %d %d", world->guests[0].state,
               world->guests[1].state, world->guests[2].state, world->guests[3].state,
               world->guests[4].state);
    }
    struct keeper_stats stats;
    keeper_stats(world->node->keeper, &stats);
    int64_t least = 0;
    for (int i = 0; i < GUESTS; i++) {
        least += world->guests[i].has_ephemeral && !world->guests[i].maybe_ephemeral;
    }
    /* Sessions that nobody came back for may still be on their way out. */
    if (stats.ephemeral_count < least) {
        BROKEN(world, "%lld ephemerals, at least %lld are owned", (long long)stats.ephemeral_count,
               (long long)least);
    }
    if (stats.session_count < GUESTS) BROKEN(world, "%lld sessions", (long long)stats.session_count);
}

/* All guests go and stay away: in the end nothing of them is left. */
static void check_end(struct world *world)
{
    for (int i = 0; i < GUESTS; i++) {
        loop_timer_stop(world->guests[i].loop, &world->guests[i].think);
        down(&world->guests[i]);
    }
    sim_run_ms(world->sim, TIMEOUT_MS * 3);
    struct keeper_stats stats;
    keeper_stats(world->node->keeper, &stats);
    if (stats.ephemeral_count || stats.session_count || stats.watch_count || stats.connection_count) {
        BROKEN(world, "left behind: %lld ephemerals, %lld sessions, %lld watches, %lld connections",
               (long long)stats.ephemeral_count, (long long)stats.session_count, (long long)stats.watch_count,
               (long long)stats.connection_count);
    }
}

static void trouble(struct world *world)
{
    switch (random_below(world->random, 12)) {
    case 0: sim_disk_full(world->server, true); break;
    case 1: sim_disk_full(world->server, false); break;
    case 2: sim_disk_slow(world->server, 200, 3); break;
    case 3: sim_net_reset_one(world->sim); break;
    case 4: sim_net_cut(world->sim, world->server, world->client, true); break;
    case 5: sim_net_cut(world->sim, world->server, world->client, false); break;
    case 6: sim_wall_jump(world->server, (int64_t)random_below(world->random, 20000) - 10000); break;
    case 7: sim_machine_pause(world->server, (int64_t)random_below(world->random, 1500)); break;
    case 8:
        if (random_below(world->random, 4) == 0) sim_disk_fail_sync(world->server, 1);
        break;
    default: break;
    }
}

static void round_of_life(struct world *world)
{
    start(world);
    world->is_ending = false;
    if (world->next_value == 0) {
        world->next_value = 1;
        seed_znodes(world);
        for (int i = 1; i < GUESTS; i++) loop_timer_start(world->guests[i].loop, &world->guests[i].think, i);
    }
    loop_timer_start(world->guests[0].loop, &world->guests[0].think, 1);
    int crashes = sim_machine_crashes(world->server);
    if (random_below(world->random, 3) == 0) {
        sim_machine_crash_at_write(world->server, 1 + (int)random_below(world->random, 150));
    }
    for (int turns = (int)random_below(world->random, 60); turns > 0; turns--) {
        sim_run_ms(world->sim, (int64_t)random_below(world->random, 100));
        if (sim_machine_crashes(world->server) != crashes || world->node->is_failed) break;
        if (random_below(world->random, 6) == 0) trouble(world);
    }
    sim_machine_crash_at_write(world->server, 0);
    sim_disk_full(world->server, false);
    sim_disk_fail_sync(world->server, 0);
    sim_disk_slow(world->server, 0, 0);
    sim_net_cut(world->sim, world->server, world->client, false);
    bool has_crashed = sim_machine_crashes(world->server) != crashes;
    if (!has_crashed && !world->node->is_failed && random_below(world->random, 3) == 0) check_quiet(world);
    if (has_crashed) return;
    switch (random_below(world->random, 3)) {
    case 0: stop(world); break;
    case 1: sim_machine_kill(world->server); break;
    default: sim_machine_crash(world->server); break;
    }
}

static uint64_t live(uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);
    world->seed = seed;
    assert_int_equal(sim_new(seed, &world->sim), OK);
    world->random = sim_random(world->sim);
    assert_int_equal(sim_machine_new(world->sim, "10.0.0.1", &world->server), OK);
    assert_int_equal(sim_machine_new(world->sim, "10.0.0.2", &world->client), OK);
    struct loop *loop;
    assert_int_equal(sim_loop_new(world->client, &loop), OK);
    for (int i = 1; i < GUESTS; i++) {
        world->guests[i] = (struct guest){.world = world, .index = i, .loop = loop, .think.run = think};
    }
    for (int round = 0; round < ROUNDS; round++) round_of_life(world);
    start(world);
    sim_run_ms(world->sim, 1000);
    check_quiet(world);
    check_end(world);
    stop(world);
    total.answers += world->answers;
    total.events += world->events;
    total.expired += world->expired;
    total.ephemerals += world->ephemerals;
    total.reattached += world->reattached;
    for (int i = 1; i < GUESTS; i++) text_free(&world->guests[i].in);
    uint64_t trace = sim_trace(world->sim) ^ (uint64_t)world->answers;
    loop_free(loop);
    sim_free(world->sim);
    free(world);
    return trace;
}

static void quiet(void *context, enum diag_level level, const char *message)
{
}

static uint64_t first_seed = 1, seeds = 40;

static void promises_are_kept(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) live(seed);
    print_message("%d answers, %d events, %d ephemerals, %d sessions re-attached, %d expired\n",
                  total.answers, total.events, total.ephemerals, total.reattached, total.expired);
    if (seeds >= 20) assert_true(total.events && total.ephemerals && total.reattached && total.expired);
}

static void the_same_seed_lives_the_same_life(void **state)
{
    assert_true(live(first_seed) == live(first_seed));
}

int main(int argc, char **argv)
{
    if (argc > 1) first_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2) seeds = strtoull(argv[2], NULL, 10);
    diag_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promises_are_kept),
        cmocka_unit_test(the_same_seed_lives_the_same_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
