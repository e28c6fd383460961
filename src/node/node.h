/* node.h: one whole node: a keeper, unless another ensemble is named, and a broker.
 *
 *     locks, meta.properties -> keeper -> coord -> cluster id, broker id -> logs (in parallel) -> listeners bound
 *       -> registration, controller -> LeaderAndIsr, UpdateMetadata -> clients accepted -> ready
 *
 * A node is a value over any implementation of loop/: ten of them may live in one process, or in a simulation. It knows no
 * signals, no command line and no threads but its lanes'.
 *
 * Threads  everything here on loops[0], the control loop. Ownership: settings, loops and disk are the caller's and outlive it.
 * Errors   start-up ends with on_end(err, problem); a node that runs ends by itself only when its last log directory failed or
 *          another process took its broker id.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct disk;
struct loop;
struct metrics;
struct node;
struct settings;

struct node_config {
    const struct settings *settings;
    struct loop *const *loops; /* all running, or about to; loops[0] is the caller's */
    size_t loop_count;
    struct disk *disk;
    bool is_spread; /* every loop gets work from the start: for tests, and machines that are never idle */
    /* loop_clock_us(loops[0]) when the program began, or a little before: for "in N ms" */
    int64_t started_us;
    /* Once: listeners answer and every local partition has its leader. `line` is what an operator is to read. */
    void (*on_ready)(void *context, const char *line);
    /* Once, the last callback: the node is over and freed. OK after node_stop; else why, and `problem` in words. */
    void (*on_end)(void *context, enum error err, const char *problem);
    void *context;
};

/* Begins to start. ERR_NOMEM: nothing was begun, on_end does not come. */
MUST_USE enum error node_start(const struct node_config *config, struct node **node);
/* Stops in good order, whatever state it is in: clients are finished, logs flushed and marked clean, the registration removed.
 * on_end follows. Calling it again changes nothing. */
void node_stop(struct node *node);

/* The port of the first listener once it is bound; 0 before. */
uint16_t node_port(const struct node *node);
