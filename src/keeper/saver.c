/* saver.c: long work in slices of about a millisecond: snapshots, and the reaper of containers and TTL znodes; and memory that is
 * given back when much of it is free and little happens. */
#include <malloc.h>

#include "keeper/inside.h"
#include "keeper/jute.h"

enum { SLICE_US = 1000, SLOTS_AT_ONCE = 128 };
enum { TRIM_BYTES = 1 << 20, TRIM_DELAY_MS = 1000, TRIM_LAST_MS = 5000, TRIM_WAITS_MAX = 9 };

/* --- snapshots --- */

static void write_chunk(void *context, struct slice chunk)
{
    struct keeper *keeper = context;
    keeper->saver_waits = !quorum_snapshot_write(keeper->quorum, chunk);
}

static void saver_post(struct keeper *keeper)
{
    if (keeper->is_saver_posted) return;
    keeper->is_saver_posted = true;
    loop_post(keeper->loop, &keeper->saver_message);
}

void saver_consider(struct keeper *keeper)
{
    if (keeper->is_saving || keeper->is_closing || keeper->has_failed || !keeper->is_machine_here) return;
    bool is_due = quorum_log_entries(keeper->quorum) >= keeper->config.snap_count ||
                  quorum_log_bytes(keeper->quorum) >= keeper->config.snap_size_bytes;
    if (is_due) (void)!saver_begin(keeper); /* one that cannot begin is looked at again */
}

enum error saver_begin(struct keeper *keeper)
{
    enum error err = quorum_snapshot_begin(keeper->quorum);
    if (err != OK) return err;
    keeper->is_saving = true;
    keeper->saving_zxid = keeper->machine.zxid;
    keeper->saver_waits = false;
    machine_snapshot_begin(&keeper->machine, write_chunk, keeper);
    saver_post(keeper);
    return OK;
}

void saver_run(struct loop_message *message)
{
    struct keeper *keeper = CONTAINER_OF(message, struct keeper, saver_message);
    keeper->is_saver_posted = false;
    if (keeper->is_closing || !keeper->machine.saver || keeper->saver_waits) return;
    int64_t begun_us = loop_clock_us(keeper->loop);
    bool is_more = true;
    while (is_more && !keeper->saver_waits && loop_clock_us(keeper->loop) - begun_us < SLICE_US) {
        is_more = machine_snapshot_step(&keeper->machine, SLOTS_AT_ONCE);
    }
    if (!is_more) {
        quorum_snapshot_end(keeper->quorum);
    } else if (!keeper->saver_waits) {
        saver_post(keeper);
    }
}

/* At once, for the machine is about to be another: a rare pause of the loop. */
void saver_finish(struct keeper *keeper)
{
    if (!keeper->machine.saver) return;
    while (machine_snapshot_step(&keeper->machine, SLOTS_AT_ONCE)) continue;
    quorum_snapshot_end(keeper->quorum);
    keeper->is_saving = false;
}

void saver_room(struct keeper *keeper)
{
    if (!keeper->machine.saver || !keeper->saver_waits) return;
    keeper->saver_waits = false;
    saver_post(keeper);
}

/* --- memory --- */

/* The C library keeps what was freed in the middle of its heap. */
void trim_consider(struct keeper *keeper, size_t freed_bytes)
{
    keeper->freed_bytes += freed_bytes;
    if (keeper->freed_bytes < TRIM_BYTES || loop_timer_running(&keeper->trim) || keeper->is_closing) return;
    keeper->trim_waits = 0;
    keeper->trim_freed_bytes = keeper->freed_bytes;
    loop_timer_start(keeper->loop, &keeper->trim, TRIM_DELAY_MS);
}

void trim_run(struct loop_timer *timer)
{
    struct keeper *keeper = CONTAINER_OF(timer, struct keeper, trim);
    bool is_quiet = keeper->freed_bytes - keeper->trim_freed_bytes < TRIM_BYTES;
    if (!is_quiet && keeper->trim_waits++ < TRIM_WAITS_MAX) { /* it will be wanted again at once */
        keeper->trim_freed_bytes = keeper->freed_bytes;
        loop_timer_start(keeper->loop, &keeper->trim, TRIM_DELAY_MS);
        return;
    }
    keeper->freed_bytes = 0;
    malloc_trim(0);
    /* What is counted is less than what is freed, and the end of it comes after its weight: once more, later. */
    keeper->is_trim_last = !keeper->is_trim_last;
    if (keeper->is_trim_last) loop_timer_start(keeper->loop, &keeper->trim, TRIM_LAST_MS);
}

/* --- the reaper --- */

static bool has_reapable(const struct keeper *keeper)
{
    return keeper->machine.tree.container_count > 0 || keeper->machine.tree.ttl_count > 0;
}

void reaper_consider(struct keeper *keeper)
{
    if (office_leads(keeper) && has_reapable(keeper) && !loop_timer_running(&keeper->reaper)) {
        loop_timer_start(keeper->loop, &keeper->reaper, keeper->config.container_check_ms);
    }
}

static bool is_over(const struct keeper *keeper, const struct znode *node, int64_t wall_ms)
{
    const struct tree *tree = &keeper->machine.tree;
    enum owner_kind kind = znode_owner_kind(tree, node);
    if ((kind != OWNER_IS_CONTAINER && kind != OWNER_IS_TTL) || znode_child_count(tree, node) > 0)
        return false;
    struct stat_kept kept = znode_kept(tree, node);
    int64_t age_ms = wall_ms - kept.mtime_ms;
    if (kind == OWNER_IS_TTL) return age_ms > (kept.owner & ~OWNER_TTL_MASK);
    int64_t never_used_ms = keeper->config.container_never_used_ms;
    return kept.cversion > 0 || (never_used_ms > 0 && age_ms > never_used_ms);
}

static bool reap(struct keeper *keeper, const struct znode *node, struct text *path, struct text *body)
{
    text_reset(path);
    text_reset(body);
    tree_path(&keeper->machine.tree, node, path);
    jute_add_bytes(body, text_slice(path));
    return !body->failed && request_submit_own(keeper, OP_DELETE_CONTAINER, 0, text_slice(body)) == OK;
}

/* Some, then a pause that keeps to the rate. The deletion is checked again when it is applied, for a child may be on its way. */
void reaper_run(struct loop_timer *timer)
{
    struct keeper *keeper = CONTAINER_OF(timer, struct keeper, reaper);
    const struct tree *tree = &keeper->machine.tree;
    if (!office_leads(keeper) || !has_reapable(keeper) || keeper->has_failed) return;
    int64_t begun_us = loop_clock_us(keeper->loop), wall_ms = loop_wall_ms(keeper->loop);
    int per_minute = keeper->config.container_per_minute;
    int most = per_minute < 60 ? 1 : per_minute / 60, reaped = 0;
    struct text path = {0}, body = {0};
    bool is_done = false;
    for (size_t looked = 1; reaped < most; looked++) {
        const struct znode *node = tree_next(tree, &keeper->reaper_at);
        is_done = !node;
        if (is_done) break;
        bool is_due = is_over(keeper, node, wall_ms);
        if (is_due && !reap(keeper, node, &path, &body)) break;
        reaped += is_due;
        if ((is_due || looked % SLOTS_AT_ONCE == 0) && loop_clock_us(keeper->loop) - begun_us > SLICE_US)
            break;
    }
    text_free(&path);
    text_free(&body);
    int64_t pause_ms = (int64_t)reaped * 60000 / per_minute;
    if (is_done) keeper->reaper_at = 0;
    if (is_done && pause_ms < keeper->config.container_check_ms) pause_ms = keeper->config.container_check_ms;
    loop_timer_start(keeper->loop, &keeper->reaper, pause_ms > 0 ? pause_ms : 1);
}
