/* figures.h: the keeper's numbers under ZooKeeper's names, for mntr, the admin server's monitor and Prometheus.
 *
 * A summary is kept in microseconds or as plain counts and shown in milliseconds or as such. What ZooKeeper measures of its own
 * pipeline (prep_processor_*, *_commit_proc_*, netty_*, jvm_*) does not exist here and is not shown.
 * Source  facts/keeper.md 3.2, 3.4. Owner: the keeper's loop. */
#pragma once
#include "keeper/inside.h"
#include "keeper/report.h"

/* Lines "zk_NAME\tVALUE". */
void figures_mntr(struct keeper *keeper, struct text *out);
void figures_report(struct keeper *keeper, struct report *report);
void figures_prometheus(struct keeper *keeper, struct text *out);
/* srst: all back to nothing but what is a state (gauges). */
void figures_reset(struct keeper *keeper);
void figures_reset_counts(struct keeper_counts *counts);
