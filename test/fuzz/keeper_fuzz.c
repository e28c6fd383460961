/* keeper_fuzz: what clients send, against a whole keeper over the simulated loop. A session is opened at the local door; then
 * each piece of the input is a request (a byte chooses the operation, two its length), or raw bytes on a wire of its own.
 * Whatever comes, the keeper serves on, and its state survives a snapshot and a restart unchanged. */
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "fuzz.h"
#include "keeper/admin.h"
#include "keeper/jute.h"
#include "keeper/keeper.h"
#include "keeper/machine.h"
#include "loop/sim.h"

struct world {
    struct sim *sim;
    struct sim_machine *machine;
    struct loop *loop;
    struct lane *lane;
    struct keeper *keeper;
    struct keeper_local *local;
    struct stream *wire;
    bool is_ready, is_closed;
    int frames;
};

static void on_ready(void *context, enum error err)
{
    struct world *world = context;
    CHECK(err == OK);
    CHECK(keeper_listen(world->keeper, "", 2181) == OK);
    world->is_ready = true;
}

static void on_closed(void *context)
{
    struct world *world = context;
    world->is_closed = true;
}

static bool is_ready(void *context)
{
    struct world *world = context;
    return world->is_ready;
}

static bool is_closed(void *context)
{
    struct world *world = context;
    return world->is_closed;
}

static void on_frame(void *context, struct slice frame)
{
    struct world *world = context;
    world->frames++;
}

static void on_local_closed(void *context)
{
    struct world *world = context;
    keeper_local_close(&world->local);
}

static void on_wire_readable(void *context)
{
    struct world *world = context;
    uint8_t bytes[4096];
    size_t got;
    enum error err = OK;
    while (err == OK) err = stream_read(world->wire, bytes, sizeof bytes, &got);
}

static void on_wire_closed(void *context, enum error err)
{
    struct world *world = context;
    stream_close(&world->wire);
}

static void on_wire(void *context, enum error err, struct stream *stream)
{
    static const struct stream_events events = {on_wire_readable, NULL, on_wire_closed};
    struct world *world = context;
    if (err != OK) return;
    world->wire = stream;
    stream_set_events(stream, &events, world);
    stream_set_reading(stream, true);
}

/* One line ends in one newline, whatever a request says. */
static void on_audit(void *context, struct slice lines)
{
    static const char mark[] = " audit.Slf4jAuditLogger: ";
    CHECK(lines.size > 0 && lines.data[lines.size - 1] == '\n');
    for (size_t at = 0; at < lines.size;) {
        const uint8_t *end = memchr(lines.data + at, '\n', lines.size - at);
        CHECK(memmem(lines.data + at, (size_t)(end - lines.data) - at, mark, sizeof mark - 1));
        at = (size_t)(end - lines.data) + 1;
    }
}

/* Every command answers with what looks like one JSON object. */
static void ask_admin(struct world *world, struct slice name, const char *mask)
{
    struct text out = {0};
    keeper_admin(world->keeper, name, mask, &out);
    CHECK(!out.failed && out.size > 4 && out.data[0] == '{' && out.data[out.size - 1] == '}');
    int depth = 0;
    bool is_text = false;
    for (size_t i = 0; i < out.size; i++) {
        CHECK((unsigned char)out.data[i] >= 0x20 || out.data[i] == '\n');
        if (out.data[i] == '"') is_text = !is_text;
        if (is_text) {
            i += out.data[i] == '\\';
            continue;
        }
        depth += (out.data[i] == '{' || out.data[i] == '[') - (out.data[i] == '}' || out.data[i] == ']');
        CHECK(depth > 0 || i + 1 == out.size);
    }
    CHECK(depth == 0 && !is_text);
    text_free(&out);
}

static void ask_all(struct world *world)
{
    const char *name;
    for (size_t i = 0; (name = keeper_admin_name(i)); i++) ask_admin(world, slice_of(name), NULL);
    struct text out = {0};
    keeper_metrics(world->keeper, &out);
    CHECK(!out.failed && out.size > 0);
    text_free(&out);
}

static void start(struct world *world)
{
    static const struct keeper_events events = {.ready = on_ready, .audit = on_audit};
    struct keeper_config config;
    keeper_config_init(&config);
    config.data_dir = "/data";
    config.snap_count = 5;
    config.extended_types = true;
    config.four_letter_words = "*";
    world->is_ready = world->is_closed = false;
    CHECK(keeper_open(&config, world->loop, sim_machine_disk(world->machine), world->lane, &events, world,
                      &world->keeper) == OK);
    CHECK(sim_run_until(world->sim, is_ready, world, 60000));
}

static void stop(struct world *world)
{
    keeper_local_close(&world->local);
    stream_close(&world->wire);
    keeper_close(&world->keeper, on_closed, world);
    CHECK(sim_run_until(world->sim, is_closed, world, 60000));
}

static void open_session(struct world *world)
{
    static const struct keeper_local_events events = {on_frame, on_local_closed};
    static const uint8_t connect[45] = {[14] = 0x75, [15] = 0x30, [27] = 16};
    if (world->local) return;
    CHECK(keeper_local_connect(world->keeper, &events, world, &world->local) == OK);
    CHECK(keeper_local_send(world->local, (struct slice){connect, sizeof connect}) == OK);
}

static void send_wire(struct world *world, struct slice bytes)
{
    struct connecting *connecting = NULL;
    if (!world->wire) {
        if (stream_connect(world->loop, "10.0.0.1", 2181, 1000, on_wire, world, &connecting) != OK) return;
        sim_run_ms(world->sim, 20);
    }
    if (world->wire && stream_write(world->wire, bytes_copy(bytes.data, bytes.size), 0, bytes.size) != OK) {
        stream_close(&world->wire);
    }
}

static void quiet(void *context, enum diag_level level, const char *message)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int8_t ops[] = {1,  2,  3,  4,  5,  6,   7,   8,   9,   11,  12,  13,  14,  15,  16,  17,
                                 18, 19, 20, 21, 22, 100, 101, 102, 103, 104, 105, 106, 107, -11, -10, -100};
    diag_set_sink(quiet, NULL);
    struct world world = {0};
    CHECK(sim_new(1, &world.sim) == OK);
    CHECK(sim_machine_new(world.sim, "10.0.0.1", &world.machine) == OK);
    CHECK(sim_loop_new(world.machine, &world.loop) == OK);
    CHECK(lane_new(world.loop, "sync", 1, &world.lane) == OK);
    start(&world);
    int32_t xid = 0;
    for (size_t at = 0; size - at >= 3;) {
        uint8_t choice = data[at];
        size_t length = get_be16(data + at + 1) % 512;
        at += 3;
        if (length > size - at) length = size - at;
        struct slice body = {data + at, length};
        at += length;
        if (choice >= 0xf0) {
            send_wire(&world, body);
        } else {
            uint8_t frame[8 + 512];
            open_session(&world);
            put_be32(frame, (uint32_t)++xid);
            put_be32(frame + 4, (uint32_t)(int32_t)ops[choice % sizeof ops]);
            memcpy(frame + 8, body.data, length);
            CHECK(keeper_local_send(world.local, (struct slice){frame, 8 + length}) == OK);
        }
        if (choice & 0x80) sim_run_ms(world.sim, 20);
    }
    sim_run_ms(world.sim, 1000);
    ask_all(&world);
    char mask[16] = "";
    slice_text((struct slice){data, size < 15 ? size : 15}, mask, sizeof mask);
    ask_admin(&world, (struct slice){data, size < 64 ? size : 64}, NULL);
    ask_admin(&world, SLICE("stmk"), mask);
    open_session(&world); /* it still serves */
    int frames = world.frames;
    sim_run_ms(world.sim, 1000);
    static const uint8_t ping[8] = {0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11};
    if (world.local) CHECK(keeper_local_send(world.local, (struct slice){ping, sizeof ping}) == OK);
    sim_run_ms(world.sim, 1000);
    CHECK(world.frames > frames);

    struct keeper_stats before, after;
    keeper_stats(world.keeper, &before);
    stop(&world);
    start(&world);
    keeper_stats(world.keeper, &after);
    CHECK(after.zxid >= before.zxid);
    CHECK(after.znode_count == before.znode_count - before.ephemeral_count + after.ephemeral_count);
    stop(&world);
    lane_free(world.lane);
    loop_free(world.loop);
    sim_free(world.sim);
    return 0;
}
