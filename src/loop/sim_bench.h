/* sim_bench.h: what the tests of the simulation begin with. */
#pragma once
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/sim.h"

static inline struct sim *new_sim(uint64_t seed)
{
    struct sim *sim;
    assert_int_equal(sim_new(seed, &sim), OK);
    return sim;
}

static inline struct sim_machine *new_machine(struct sim *sim, const char *host)
{
    struct sim_machine *machine;
    assert_int_equal(sim_machine_new(sim, host, &machine), OK);
    return machine;
}

static inline struct loop *new_loop(struct sim_machine *machine)
{
    struct loop *loop;
    assert_int_equal(sim_loop_new(machine, &loop), OK);
    return loop;
}
