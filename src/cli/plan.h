/* plan.h: from a view of the cluster to a plan of moves, and the plan carried out. Shared by cluster balance, broker drain and
 * undrain, and topic reassign.
 */
#pragma once
#include "cli/balance.h"
#include "cli/move.h"

struct plan {
    struct arena arena; /* moves outlive the admin's answers */
    struct view view;   /* only until the plan is carried out */
    struct balance balance;
    struct move *moves; /* by topic and partition */
    size_t count;
    int64_t throttle; /* bytes a second; 0 none */
};

/* Reads the cluster and readies the balance: brokers that are up take, those that are down keep, partitions on the move or
 * without a leader are fixed. EXIT_OK or an exit code after saying why. plan_free in either case. */
int plan_begin(struct plan *plan, struct admin *admin, const struct cli *cli);
void plan_free(struct plan *plan);
/* Plans, and makes moves of what changed. */
int plan_make(struct plan *plan);
/* Of a broker in the balance; -1 when there is none of this id. */
int32_t plan_broker(const struct plan *plan, int32_t id);

/* The moves as items. */
void plan_show(const struct plan *plan, struct cli_result *result);
/* One line on standard error, on a terminal. */
void plan_summary(const struct plan *plan, const char *verb);

/* Which partitions are to be led by their preferred leader in the end; NULL: those of the moves alone. */
typedef bool plan_scope(const void *context, const struct view_partition *partition);
/* Submits, waits (unless --no-wait), elects preferred leaders, takes off the throttle. Failures go to the result; the
 * result of the waiting (130 when interrupted) is the answer. */
int plan_execute(struct plan *plan, struct admin *admin, const struct cli *cli, struct cli_result *result,
                 plan_scope *scope, const void *context);
extern const struct cli_column plan_columns[];
