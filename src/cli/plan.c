#include "cli/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000, EXIT_INTERRUPTED = 130 };

const struct cli_column plan_columns[] = {{"TOPIC", "topic"}, {"PARTITION", "partition"}, {"FROM", "from"},
                                          {"TO", "to"},       {"BYTES TO COPY", "bytes"}, {0}};

void plan_free(struct plan *plan)
{
    arena_free(&plan->arena);
}

int32_t plan_broker(const struct plan *plan, int32_t id)
{
    const struct view_broker *broker = view_broker(&plan->view, id);
    return broker ? (int32_t)(broker - plan->view.brokers) : -1;
}

/* Equal numbers for equal racks. Racks count only where every broker that is up has one, as in Kafka. */
static void number_racks(struct plan *plan)
{
    const struct view *view = &plan->view;
    size_t up = 0, with = 0;
    for (size_t b = 0; b < view->broker_count; b++) {
        up += view->brokers[b].host.data != NULL;
        with += view->brokers[b].host.data && view->brokers[b].rack.data;
    }
    if (with > 0 && with < up)
        cli_complain("%zu of %zu brokers have no broker.rack, so racks do not count here", up - with, up);
    for (size_t b = 0; b < view->broker_count; b++) {
        int32_t rack = 0;
        while (with == up && !slice_equal(view->brokers[rack].rack, view->brokers[b].rack)) rack++;
        plan->balance.brokers[b].rack = rack;
    }
}

static bool is_fixed(const struct view *view, const struct view_partition *partition)
{
    return partition->is_moving || !view_broker(view, partition->leader) ||
           !view_broker(view, partition->leader)->host.data;
}

static enum error ready(struct plan *plan)
{
    const struct view *view = &plan->view;
    struct balance *balance = &plan->balance;
    balance->broker_count = view->broker_count;
    balance->partition_count = view->partition_count;
    balance->target = -1;
    balance->brokers = arena_zalloc(&plan->arena, (view->broker_count + 1) * sizeof *balance->brokers);
    balance->partitions =
        arena_zalloc(&plan->arena, (view->partition_count + 1) * sizeof *balance->partitions);
    if (!balance->brokers || !balance->partitions) return ERR_NOMEM;
    for (size_t b = 0; b < view->broker_count; b++)
        balance->brokers[b].role = view->brokers[b].host.data ? BALANCE_TAKES : BALANCE_KEEPS;
    number_racks(plan);
    for (size_t p = 0; p < view->partition_count; p++) {
        struct balance_partition *to = &balance->partitions[p];
        struct ids target = view_target(&plan->arena, &view->partitions[p]);
        int32_t *indexes = arena_array(&plan->arena, (size_t)target.count + 1, sizeof *indexes);
        if (!target.items || !indexes) return ERR_NOMEM;
        for (int32_t i = 0; i < target.count; i++) indexes[i] = plan_broker(plan, target.items[i]);
        to->before = indexes;
        to->before_count = to->wanted_count = target.count;
        to->bytes = view_size(&view->partitions[p]) > 0 ? view_size(&view->partitions[p]) : 0;
        to->is_fixed = is_fixed(view, &view->partitions[p]);
    }
    return OK;
}

int plan_begin(struct plan *plan, struct admin *admin, const struct cli *cli)
{
    *plan = (struct plan){0};
    arena_init(&plan->arena, 0);
    const char *throttle = cli_text(cli, "throttle");
    if (throttle && (!cli_parse_bytes(throttle, &plan->throttle) || plan->throttle <= 0)) {
        cli_complain("--throttle %s: not bytes a second; 50MB, 10MiB", throttle);
        return EXIT_USAGE;
    }
    if (throttle && cli_flag(cli, "no-wait")) {
        cli_complain("--throttle needs somebody to take it off at the end, so not with --no-wait");
        return EXIT_USAGE;
    }
    enum error err = view_read(admin, VIEW_SIZES | VIEW_MOVES, &plan->view);
    if (err == OK && !plan->view.has_moves) {
        cli_complain("the controller (broker %d) does not say what is being reassigned",
                     (int)plan->view.controller);
        return EXIT_UNREACHABLE;
    }
    if (err == OK) err = ready(plan);
    return admin_exit(err);
}

static struct ids ids_of(struct plan *plan, const int32_t *indexes, int32_t count)
{
    int32_t *ids = arena_array(&plan->arena, (size_t)count + 1, sizeof *ids);
    for (int32_t i = 0; ids && i < count; i++) ids[i] = plan->view.brokers[indexes[i]].id;
    return (struct ids){ids, count};
}

int plan_make(struct plan *plan)
{
    struct balance *balance = &plan->balance;
    enum error err = balance_plan(balance, &plan->arena);
    if (err == ERR_LIMIT) {
        const struct view_partition *partition = &plan->view.partitions[balance->impossible];
        size_t takers = 0;
        for (size_t b = 0; b < balance->broker_count; b++)
            takers += balance->brokers[b].role == BALANCE_TAKES;
        cli_complain("%.*s-%d shall have %d replicas, and only %zu brokers may take them",
                     SLICE_ARG(partition->topic), (int)partition->index,
                     (int)balance->partitions[balance->impossible].wanted_count, takers);
        return EXIT_ITEM_FAILED;
    }
    plan->moves = err == OK ? arena_zalloc(&plan->arena, (balance->changed + 1) * sizeof *plan->moves) : NULL;
    for (size_t p = 0; plan->moves && p < balance->partition_count; p++) {
        const struct balance_partition *from = &balance->partitions[p];
        if (!balance_is_changed(from)) continue;
        struct move *move = &plan->moves[plan->count++];
        move->topic = arena_copy(&plan->arena, plan->view.partitions[p].topic);
        move->index = plan->view.partitions[p].index;
        move->from = ids_of(plan, from->before, from->before_count);
        move->to = ids_of(plan, from->after, from->after_count);
        if (!move->topic.data || !move->from.items || !move->to.items) plan->moves = NULL;
        for (int32_t i = 0; plan->moves && i < move->to.count; i++)
            move->bytes += view_ids_have(move->from, move->to.items[i]) ? 0 : from->bytes;
    }
    if (!plan->moves) cli_complain("no plan: %s", error_text(err == OK ? ERR_NOMEM : err));
    return plan->moves ? EXIT_OK : EXIT_ITEM_FAILED;
}

static json_t *list(struct ids ids)
{
    json_t *made = json_array();
    for (int32_t i = 0; i < ids.count; i++) json_array_append_new(made, json_integer(ids.items[i]));
    return made;
}

void plan_show(const struct plan *plan, struct cli_result *result)
{
    for (size_t m = 0; m < plan->count; m++) {
        const struct move *move = &plan->moves[m];
        cli_result_add(result, json_pack("{s:o, s:i, s:o, s:o, s:I}", "topic", cli_json_text(move->topic),
                                         "partition", (int)move->index, "from", list(move->from), "to",
                                         list(move->to), "bytes", (json_int_t)move->bytes));
    }
}

void plan_summary(const struct plan *plan, const char *verb)
{
    const struct balance *balance = &plan->balance;
    char bytes[32];
    move_bytes_text(balance->moved_bytes, bytes, sizeof bytes);
    if (!isatty(STDERR_FILENO)) return;
    fprintf(stderr, "%s: %zu partitions change: %zu replicas (%s) to copy, %zu preferred leaders\n", verb,
            balance->changed, balance->moved_replicas, bytes, balance->changed_leaders);
    for (size_t b = 0; plan->count > 0 && b < balance->broker_count; b++) {
        const struct balance_broker *broker = &balance->brokers[b];
        fprintf(stderr, "  broker %d%s: replicas %d -> %d, preferred leader of %d -> %d\n",
                (int)plan->view.brokers[b].id, plan->view.brokers[b].host.data ? "" : " (down)",
                (int)broker->replicas_before, (int)broker->replicas_after, (int)broker->leaders_before,
                (int)broker->leaders_after);
    }
}

/* --- carrying it out --- */

static bool is_planned(const struct plan *plan, const struct view_partition *partition)
{
    for (size_t low = 0, high = plan->count; low < high;) {
        size_t middle = (low + high) / 2;
        int order = slice_compare(plan->moves[middle].topic, partition->topic);
        if (order == 0) order = plan->moves[middle].index - partition->index;
        if (order == 0) return true;
        if (order < 0) low = middle + 1;
        if (order > 0) high = middle;
    }
    return false;
}

/* Partitions whose preferred leader could lead and does not. */
static void elect_preferred(struct plan *plan, struct admin *admin, const struct view *view,
                            plan_scope *scope, const void *context, struct cli_result *result)
{
    struct election *elections =
        arena_array(admin_arena(admin), view->partition_count + 1, sizeof *elections);
    size_t count = 0, held = 0;
    for (size_t p = 0; elections && p < view->partition_count; p++) {
        const struct view_partition *partition = &view->partitions[p];
        if (partition->replicas.count == 0 || partition->leader == partition->replicas.items[0]) continue;
        if (!view_ids_have(partition->isr, partition->replicas.items[0]) || partition->is_moving) continue;
        if (!is_planned(plan, partition) && !(scope && scope(context, partition))) continue;
        elections[count++] = (struct election){partition->topic, partition->index};
    }
    if (count > 0) move_elect(admin, ELECT_PREFERRED, elections, count, result, &held);
}

/* Replica lists as brokers know them follow the controller by a moment: waits until they are those of the plan, for two
 * seconds at most. */
static enum error settled_view(struct plan *plan, struct admin *admin, struct view *view)
{
    for (int try = 0;; try++) {
        admin_forget(admin);
        enum error err = admin_refresh(admin);
        if (err == OK) err = view_read(admin, VIEW_MOVES, view);
        bool is_settled = err == OK;
        for (size_t m = 0; is_settled && m < plan->count; m++) {
            const struct view_partition *partition =
                view_find(view, plan->moves[m].topic, plan->moves[m].index);
            if (!partition || partition->is_moving) continue;
            struct ids to = plan->moves[m].to;
            is_settled =
                partition->replicas.count == to.count &&
                memcmp(partition->replicas.items, to.items, (size_t)to.count * sizeof *to.items) == 0;
        }
        if (is_settled || try == 20 || !admin_wait(admin, 100)) return err;
    }
}

int plan_execute(struct plan *plan, struct admin *admin, const struct cli *cli, struct cli_result *result,
                 plan_scope *scope, const void *context)
{
    enum error err = admin_stay(admin, PATIENCE_MS);
    if (err != OK) return admin_exit(err);
    int status = EXIT_OK;
    if (plan->throttle > 0)
        status = throttle_set(admin, &plan->view, plan->moves, plan->count, plan->throttle);
    size_t accepted = 0;
    if (status == EXIT_OK && plan->count > 0) move_submit(admin, plan->moves, plan->count, result, &accepted);
    if (status != EXIT_OK) return status;
    /* Where only the order changed the leader can go at once. */
    struct view view;
    err = settled_view(plan, admin, &view);
    if (err == OK) elect_preferred(plan, admin, &view, scope, context, result);
    if (cli_flag(cli, "no-wait")) return admin_exit(err);
    status = move_wait(admin, cli);
    if (status != EXIT_OK) return status;
    err = settled_view(plan, admin, &view);
    if (err != OK) return admin_is_interrupted(admin) ? EXIT_INTERRUPTED : admin_exit(err);
    elect_preferred(plan, admin, &view, scope, context, result);
    bool found = false;
    status = throttle_clear(admin, &view, &found);
    if (found && plan->throttle == 0 && isatty(STDERR_FILENO))
        fprintf(stderr, "took off a throttle that an earlier run had left\n");
    return status;
}
