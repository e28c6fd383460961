/* members_fuzz: what other members send to a leading keeper, and server lines. The input is pieces of u16 size, bytes: each is a message of
 * member 2, which has said hello; a piece that begins with '=' is server lines. Whatever comes, the keeper leads on, and lines that are
 * taken print as lines that are taken. */
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "fuzz.h"
#include "keeper/inside.h"
#include "keeper/servers.h"
#include "loop/sim.h"

enum { OTHER = 2, LIFE = 7, PIECES_MAX = 64 };

struct world {
    struct keeper *keeper;
    bool is_ready, is_closed;
};

static void on_ready(void *context, enum error err)
{
    CHECK(err == OK);
    ((struct world *)context)->is_ready = true;
}

static void on_closed(void *context)
{
    ((struct world *)context)->is_closed = true;
}

static bool is_ready(void *context)
{
    return ((struct world *)context)->is_ready;
}

static bool is_closed(void *context)
{
    return ((struct world *)context)->is_closed;
}

static void print(const struct keeper_servers *servers, struct text *out)
{
    for (size_t i = 0; i < servers->count; i++) {
        keeper_server_print(servers->items[i].id, servers->items[i].line, out);
        text_addc(out, '\n');
    }
}

static void try_lines(struct slice lines)
{
    struct keeper_servers first, second;
    struct text why = {0}, once = {0}, twice = {0};
    keeper_servers_init(&first);
    keeper_servers_init(&second);
    if (keeper_servers_parse(&first, lines, ",\n", &why) == OK) {
        print(&first, &once);
        CHECK(keeper_servers_parse(&second, text_slice(&once), "\n", &why) == OK);
        print(&second, &twice);
        CHECK(slice_equal(text_slice(&once), text_slice(&twice)));
    }
    keeper_servers_free(&first);
    keeper_servers_free(&second);
    text_free(&why);
    text_free(&once);
    text_free(&twice);
}

/* A forwarded entry gets past the first checks, so that what is behind them is tried as well. */
static void try_message(struct keeper *keeper, struct slice bytes)
{
    struct text sent = {0};
    text_add(&sent, bytes);
    uint8_t *data = (uint8_t *)sent.data;
    if (sent.size > 5 + 31 && data[0] == 'F') {
        put_be32(data + 1, LIFE);
        data[5] = 2; /* format */
        data[5 + 26] = OTHER;
        put_be32(data + 5 + 27, LIFE);
    }
    keeper->office.hellos[OTHER] = (struct hello){keeper->office.term, LIFE};
    office_message(keeper, OTHER, text_slice(&sent));
    text_free(&sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct keeper_server alone = {
        .id = 1, .host = "10.0.0.1", .quorum_port = 2888, .line = "10.0.0.1:2888:3888:participant"};
    static const struct keeper_events events = {.ready = on_ready};
    struct world world = {0};
    struct sim *sim;
    struct sim_machine *machine;
    struct loop *loop;
    struct lane *lane;
    diag_set_level(DIAG_ERROR);
    CHECK(sim_new(1, &sim) == OK && sim_machine_new(sim, "10.0.0.1", &machine) == OK);
    CHECK(sim_loop_new(machine, &loop) == OK && lane_new(loop, "sync", 1, &lane) == OK);
    struct keeper_config config;
    keeper_config_init(&config);
    config.data_dir = "/keeper";
    config.servers = &alone;
    config.server_count = 1;
    config.reconfig_enabled = config.skip_acl = true;
    CHECK(keeper_open(&config, loop, sim_machine_disk(machine), lane, &events, &world, &world.keeper) == OK);
    CHECK(sim_run_until(sim, is_ready, &world, 20000));
    for (int pieces = 0; size >= 2 && pieces < PIECES_MAX; pieces++) {
        size_t piece = get_be16(data);
        data += 2;
        size -= 2;
        if (piece > size) piece = size;
        struct slice bytes = {data, piece};
        if (piece > 0 && data[0] == '=') {
            try_lines((struct slice){data + 1, piece - 1});
        } else {
            try_message(world.keeper, bytes);
        }
        sim_run_ms(sim, 5);
        data += piece;
        size -= piece;
    }
    sim_run_ms(sim, 500);
    CHECK(!world.keeper->has_failed && quorum_members(world.keeper->quorum, &(int){0}, &(uint64_t){0}));
    keeper_close(&world.keeper, on_closed, &world);
    CHECK(sim_run_until(sim, is_closed, &world, 20000));
    lane_free(lane);
    loop_free(loop);
    sim_free(sim);
    return 0;
}
