/* seeds.h: the main of a program that lives seeds: many, each in a process of its own, or one, here, for a debugger.
 *
 *     PROGRAM 60                  60 seconds of seeds; every eighth is lived twice and must be the same
 *     PROGRAM --seeds N           that many, however long it takes; --from SEED: from there on
 *     PROGRAM --replicas N        each record on N brokers, whatever the seeds say
 *     PROGRAM --keep-going        does not stop at the first that fails
 *     PROGRAM --seed N [--trace]  that one, here; with --trace every event is printed
 *
 * A seed that fails is lived again with its trace written to a file, and its story (without the events) is printed.
 */
#pragma once
#include "world.h"

struct seeds_program {
    const char *name;
    enum plan_kind kind;
    void (*live)(struct world *world); /* what happens between world_new and world_free */
};

int seeds_main(const struct seeds_program *program, int argc, char **argv);
