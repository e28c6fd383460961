/* move.h: carries out what was planned: reassignments, elections, waiting for them, the throttle around them.
 *
 * The cluster keeps the work, not this program: once submitted, reassignments go on without it, and whoever starts it again
 * sees what is under way. Only the throttle needs somebody to take it off: throttle_clear by the next run.
 */
#pragma once
#include "cli/view.h"

/* One partition to get other replicas, or these in another order. Memory is whoever's made it, not the admin's. */
struct move {
    struct slice topic;
    int32_t index;
    struct ids from, to; /* to.items NULL: cancel what is under way */
    int64_t bytes;       /* to copy */
};

/* Failures go to the result by partition, or by the name of the request; *accepted counts the others. */
void move_submit(struct admin *admin, const struct move *moves, size_t count, struct cli_result *result,
                 size_t *accepted);

enum { ELECT_PREFERRED = 0, ELECT_UNCLEAN = 1 };
struct election {
    struct slice topic;
    int32_t index;
};
/* Elects; *held counts those that had one. A partition that needs none is no failure. */
void move_elect(struct admin *admin, int8_t type, const struct election *elections, size_t count,
                struct cli_result *result, size_t *held);

/* Waits until nothing is being reassigned, with a bar on a terminal. EXIT_OK; 130 when interrupted, after saying that the
 * cluster goes on. Forgets the admin's answers. */
int move_wait(struct admin *admin, const struct cli *cli);

/* KIP-73: at most this many bytes a second in and out of each broker, for the replicas that `moves` copy and those already
 * being copied. EXIT_OK or an exit code after saying why. */
int throttle_set(struct admin *admin, const struct view *view, const struct move *moves, size_t count,
                 int64_t bytes_per_second);
/* Takes off all lists that name single replicas and, where there were any, the brokers' rates. *found tells of any. */
int throttle_clear(struct admin *admin, const struct view *view, bool *found);

/* "[######....]" of ten, and "1.5 GiB". */
void move_bar(int64_t done, int64_t whole, char out[13]);
void move_bytes_text(int64_t bytes, char *out, size_t size);
/* "12 s", "3 min", "2.5 h"; "?" for -1. */
void move_time_text(int64_t ms, char *out, size_t size);
