/* seeds.h: the main of a program that lives seeds: many, each in a process of its own, or one, here, for a debugger.
 *
 *     PROGRAM 60                  60 seconds of seeds; every eighth is lived twice and must be the same
 *     PROGRAM --seeds N           that many, however long it takes; --from SEED: from there on; --seeds A-B: these
 *     PROGRAM --replicas N        each record on N brokers, or N members, whatever the seeds say
 *     PROGRAM --keep-going        does not stop at the first that fails
 *     PROGRAM --seed N [--trace]  that one, here; with --trace (--verbose) every event is printed
 *
 * A seed that fails is lived again with its trace written to a file, and its story (without the events) is printed.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { SEEDS_MAX_COUNTS = 24, SEEDS_FAULT = 1100 };

/* One life. */
struct seeds_result {
    uint64_t trace; /* equal lives have equal traces */
    int64_t virtual_ms;
    int64_t counts[SEEDS_MAX_COUNTS]; /* of what happened; summed up over the seeds */
    char fault[SEEDS_FAULT];          /* "" = none */
};

struct seeds_program {
    const char *name;
    const char *const *count_names; /* ends with NULL */
    /* `forced` is the --replicas given, 0 = as the seed draws them. `line` (may be NULL) gets every event as readable lines; a line
     * of the story has "    # " after its time. */
    void (*live)(uint64_t seed, int forced, void (*line)(void *context, const char *text), void *context,
                 struct seeds_result *result);
};

int seeds_main(const struct seeds_program *program, int argc, char **argv);
