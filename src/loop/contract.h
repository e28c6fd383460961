/* contract.h: a loop and a disk for the tests that are built twice, over the kernel and over the simulation. Whatever the
 * simulation lets pass in them, a broker tested on it may rely on. */
#pragma once
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/sim.h"

struct world {
    struct descriptors *descriptors;
    struct loop *loop;
    struct disk *disk;
    char directory[64];
    struct loop_timer alarm;
#ifdef LOOP_IS_SIMULATED
    struct sim *sim;
    struct sim_machine *machine;
#endif
};

static inline void stop_loop(struct loop_timer *timer)
{
    loop_stop(CONTAINER_OF(timer, struct world, alarm)->loop);
}

/* The seed is the simulation's. */
static inline void world_open_seeded(struct world *world, uint64_t seed)
{
    *world = (struct world){.descriptors = descriptors_new(0), .alarm = {.run = stop_loop}};
#ifdef LOOP_IS_SIMULATED
    assert_int_equal(sim_new(seed, &world->sim), OK);
    assert_int_equal(sim_machine_new(world->sim, "one", &world->machine), OK);
    assert_int_equal(sim_loop_new(world->machine, &world->loop), OK);
    world->disk = sim_machine_disk(world->machine);
    strcpy(world->directory, "/data");
    assert_int_equal(disk_mkdir(world->disk, world->directory), OK);
#else
    (void)seed;
    assert_int_equal(loop_new(world->descriptors, &world->loop), OK);
    world->disk = disk_new(world->descriptors);
    strcpy(world->directory, "/tmp/odradek-contract-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
#endif
}

static inline void world_open(struct world *world)
{
    world_open_seeded(world, 1);
}

static inline void world_close(struct world *world)
{
    loop_timer_stop(world->loop, &world->alarm);
    assert_int_equal(disk_remove_tree(world->disk, world->directory), OK);
    loop_free(world->loop);
    disk_free(world->disk);
    descriptors_free(world->descriptors);
#ifdef LOOP_IS_SIMULATED
    sim_free(world->sim);
#endif
}

/* In pieces: on a busy machine the first thing that is due may be the alarm, and a turn is only had once for each. */
static inline void run_ms(struct world *world, int64_t ms)
{
    enum { PIECES = 10 };
    for (int64_t i = 0; i < PIECES; i++) {
        loop_timer_start(world->loop, &world->alarm, ms * (i + 1) / PIECES - ms * i / PIECES);
        loop_run(world->loop);
    }
}

struct path {
    char text[160];
};

static inline struct path in(const struct world *world, const char *name)
{
    struct path path;
    snprintf(path.text, sizeof path.text, "%s/%s", world->directory, name);
    return path;
}
