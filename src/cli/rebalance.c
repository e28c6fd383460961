/* rebalance.c: odradek cluster balance, broker drain|undrain, topic reassign. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/assignment.h"
#include "cli/plan.h"

static int finish(struct plan *plan, struct cli_result *result, int status, const char *empty)
{
    int shown = cli_result_end(result, plan_columns, empty);
    plan_free(plan);
    return status != EXIT_OK ? status : shown;
}

static bool everywhere(const void *context, const struct view_partition *partition)
{
    (void)context;
    (void)partition;
    return true;
}

/* --- cluster balance --- */

static int balance(struct cli *cli, struct admin *admin)
{
    struct plan plan;
    int status = plan_begin(&plan, admin, cli);
    if (cli_flag(cli, "leaders-only")) plan.balance.scope = BALANCE_LEADERS;
    if (status == EXIT_OK) status = plan_make(&plan);
    if (status != EXIT_OK) {
        plan_free(&plan);
        return status;
    }
    bool is_real = cli_flag(cli, "execute") && !cli_flag(cli, "dry-run");
    size_t under_way = plan.view.moving_count;
    struct cli_result result;
    cli_result_begin(&result, cli, "ClusterBalance");
    plan_show(&plan, &result);
    plan_summary(&plan, "balance");
    if (under_way > 0)
        cli_complain("%zu partitions are being reassigned already; they stay where they go%s", under_way,
                     is_real ? ", and are waited for" : "");
    if (is_real) {
        status = plan_execute(&plan, admin, cli, &result, everywhere, NULL);
    } else if (plan.count > 0 && isatty(STDERR_FILENO)) {
        fprintf(stderr, "nothing was changed; --execute does it, with --throttle 50MB gently\n");
    }
    return finish(&plan, &result, status, "the spread is as even as it can be");
}

int cli_cluster_balance(struct cli *cli)
{
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = balance(cli, admin);
    admin_close(&admin);
    return status;
}

/* --- broker drain --- */

struct broker_scope {
    int32_t id;
};

static bool led_by(const void *context, const struct view_partition *partition)
{
    return partition->leader == ((const struct broker_scope *)context)->id;
}

/* Leaders go at once, to a replica that is in sync, long before the last byte is copied: the order of each partition that
 * this broker leads, or is to lead, with it at the end. The order the plan ends in is kept where it can be. */
static enum error leaders_first(struct plan *plan, int32_t id, struct move **moves, size_t *count)
{
    *moves = arena_zalloc(&plan->arena, (plan->count + 1) * sizeof **moves);
    *count = 0;
    for (size_t m = 0; *moves && m < plan->count; m++) {
        const struct move *move = &plan->moves[m];
        const struct view_partition *partition = view_find(&plan->view, move->topic, move->index);
        if (!partition || (partition->leader != id && move->from.items[0] != id)) continue;
        int32_t *order = arena_array(&plan->arena, (size_t)move->from.count + 1, sizeof *order), n = 0;
        if (!order) return ERR_NOMEM;
        for (int pass = 0; pass < 2; pass++) { /* in sync, then not */
            for (int32_t i = 0; i < move->to.count + move->from.count; i++) {
                int32_t one = i < move->to.count ? move->to.items[i] : move->from.items[i - move->to.count];
                if (one == id || !view_ids_have(move->from, one) ||
                    view_ids_have((struct ids){order, n}, one))
                    continue;
                if (view_ids_have(partition->isr, one) == (pass == 0)) order[n++] = one;
            }
        }
        /* Nobody else in sync: it leads until the copy is there. */
        if (n == 0 || !view_ids_have(partition->isr, order[0])) continue;
        if (view_ids_have(move->from, id)) order[n++] = id;
        (*moves)[(*count)++] = (struct move){move->topic, move->index, move->from, {order, n}, 0};
    }
    return *moves ? OK : ERR_NOMEM;
}

static int leave_leadership(struct plan *plan, struct admin *admin, int32_t id, struct cli_result *result)
{
    struct move *moves = NULL;
    size_t count = 0, accepted = 0, held = 0;
    enum error err = leaders_first(plan, id, &moves, &count);
    if (err != OK || count == 0) return admin_exit(err);
    struct election *elections = arena_array(&plan->arena, count, sizeof *elections);
    if (!elections) return EXIT_ITEM_FAILED;
    for (size_t m = 0; m < count; m++) elections[m] = (struct election){moves[m].topic, moves[m].index};
    move_submit(admin, moves, count, result, &accepted);
    move_elect(admin, ELECT_PREFERRED, elections, count, result, &held);
    return EXIT_OK;
}

static bool broker_argument(const struct cli *cli, const struct plan *plan, struct broker_scope *broker,
                            int32_t *index)
{
    int64_t id = -1;
    bool is_number = slice_to_int64(slice_of(cli->argv[0]), 0, INT32_MAX, &id);
    broker->id = (int32_t)id;
    *index = is_number ? plan_broker(plan, broker->id) : -1;
    if (*index < 0) cli_complain("no broker \"%s\"; see odradek broker list", cli->argv[0]);
    return *index >= 0;
}

/* Partitions that cannot be copied, for the only replicas are on the broker, and it is down. */
static size_t stuck_on(const struct plan *plan, int32_t id)
{
    size_t count = 0;
    for (size_t p = 0; p < plan->view.partition_count; p++) {
        const struct view_partition *partition = &plan->view.partitions[p];
        count += view_ids_have(partition->replicas, id) && !partition->is_moving &&
                 plan->balance.partitions[p].is_fixed;
    }
    return count;
}

static int drain(struct cli *cli, struct admin *admin)
{
    struct plan plan;
    struct broker_scope broker;
    int32_t index;
    int status = plan_begin(&plan, admin, cli);
    if (status == EXIT_OK && !broker_argument(cli, &plan, &broker, &index)) status = EXIT_USAGE;
    if (status == EXIT_OK) {
        plan.balance.brokers[index].role = BALANCE_EMPTIES;
        plan.balance.is_only_necessary = true;
        if (cli_flag(cli, "leaders-only")) plan.balance.scope = BALANCE_LEADERS;
        status = plan_make(&plan);
        if (status == EXIT_ITEM_FAILED && !cli_flag(cli, "leaders-only"))
            cli_complain("add a broker first; before a restart, --leaders-only is enough");
    }
    bool is_real = !cli_flag(cli, "dry-run");
    if (status == EXIT_OK) {
        plan_summary(&plan, "drain");
        bool is_needed = plan.count > 0 || plan.view.moving_count > 0;
        if (is_real && is_needed &&
            !cli_confirm(cli, "move %s away from broker %d?",
                         cli_flag(cli, "leaders-only") ? "leaders" : "everything", (int)broker.id))
            status = EXIT_USAGE;
    }
    if (status != EXIT_OK) {
        plan_free(&plan);
        return status;
    }
    size_t stuck = stuck_on(&plan, broker.id);
    struct cli_result result;
    cli_result_begin(&result, cli, "BrokerDrain");
    plan_show(&plan, &result);
    if (stuck > 0) {
        char text[128];
        snprintf(text, sizeof text, "%zu partitions have no leader to copy from and stay", stuck);
        cli_result_fail(&result, cli->argv[0], ERR_LEADER_NOT_AVAILABLE, slice_of(text));
    }
    if (is_real) status = leave_leadership(&plan, admin, broker.id, &result);
    if (is_real && status == EXIT_OK) status = plan_execute(&plan, admin, cli, &result, led_by, &broker);
    if (is_real && status == EXIT_OK && isatty(STDERR_FILENO) && !cli_flag(cli, "no-wait"))
        fprintf(stderr, "broker %d %s; `odradek broker undrain %d` brings them back\n", (int)broker.id,
                cli_flag(cli, "leaders-only") ? "leads nothing any more" : "is empty", (int)broker.id);
    return finish(&plan, &result, status, "nothing there to move");
}

int cli_broker_drain(struct cli *cli)
{
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = drain(cli, admin);
    admin_close(&admin);
    return status;
}

/* --- broker undrain --- */

static bool prefers(const void *context, const struct view_partition *partition)
{
    return partition->replicas.count > 0 &&
           partition->replicas.items[0] == ((const struct broker_scope *)context)->id;
}

static int undrain(struct cli *cli, struct admin *admin)
{
    struct plan plan;
    struct broker_scope broker;
    int32_t index;
    int status = plan_begin(&plan, admin, cli);
    if (status == EXIT_OK && !broker_argument(cli, &plan, &broker, &index)) status = EXIT_USAGE;
    if (status == EXIT_OK && plan.balance.brokers[index].role != BALANCE_TAKES) {
        cli_complain("broker %d is down", (int)broker.id);
        status = EXIT_ITEM_FAILED;
    }
    if (status == EXIT_OK) {
        plan.balance.scope = BALANCE_ONE_BROKER;
        plan.balance.target = index;
        status = plan_make(&plan);
    }
    bool is_real = !cli_flag(cli, "dry-run");
    if (status == EXIT_OK) {
        plan_summary(&plan, "undrain");
        bool is_needed = plan.count > 0 || plan.view.moving_count > 0;
        if (is_real && is_needed && !cli_confirm(cli, "give broker %d its share?", (int)broker.id))
            status = EXIT_USAGE;
    }
    if (status != EXIT_OK) {
        plan_free(&plan);
        return status;
    }
    struct cli_result result;
    cli_result_begin(&result, cli, "BrokerUndrain");
    plan_show(&plan, &result);
    if (is_real) status = plan_execute(&plan, admin, cli, &result, prefers, &broker);
    return finish(&plan, &result, status, "it has its share already");
}

int cli_broker_undrain(struct cli *cli)
{
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = undrain(cli, admin);
    admin_close(&admin);
    return status;
}

/* --- topic reassign --- */

static bool of_topic(const void *context, const struct view_partition *partition)
{
    return slice_is(partition->topic, context);
}

/* The assignment that was written out, in place of a plan. */
static int assign(struct plan *plan, const char *topic, const char *text)
{
    struct ids *replicas = NULL;
    int32_t count = 0;
    const char *why = NULL;
    enum error err = assignment_parse(text, &plan->arena, &replicas, &count, &why);
    if (err == ERR_CONFIG) {
        cli_complain("--assignment %s: %s", text, why);
        return EXIT_USAGE;
    }
    plan->moves = err == OK ? arena_zalloc(&plan->arena, ((size_t)count + 1) * sizeof *plan->moves) : NULL;
    if (!plan->moves) return EXIT_ITEM_FAILED;
    for (int32_t i = 0; i < count; i++) {
        const struct view_partition *partition = view_find(&plan->view, slice_of(topic), i);
        if (!partition) {
            cli_complain("topic \"%s\" has no partition %d; --assignment has %d", topic, (int)i, (int)count);
            return EXIT_USAGE;
        }
        struct move *move = &plan->moves[plan->count++];
        struct ids from = view_target(&plan->arena, partition);
        *move = (struct move){slice_of(topic), i, from, replicas[i], 0};
        bool is_same = from.count == replicas[i].count &&
                       memcmp(from.items, replicas[i].items, (size_t)from.count * sizeof *from.items) == 0;
        for (int32_t r = 0; r < replicas[i].count; r++) {
            if (view_ids_have(from, replicas[i].items[r])) continue;
            move->bytes += view_size(partition) > 0 ? view_size(partition) : 0;
            plan->balance.moved_replicas++;
        }
        plan->balance.moved_bytes += move->bytes;
        plan->balance.changed_leaders += !is_same && from.count > 0 && from.items[0] != replicas[i].items[0];
        if (is_same) plan->count--;
    }
    plan->balance.changed = plan->count;
    return EXIT_OK;
}

static int replicate(struct plan *plan, const struct cli *cli, const char *topic)
{
    int64_t wanted = 0;
    if (!cli_number(cli, "replication-factor", 1, INT16_MAX, &wanted)) return EXIT_USAGE;
    for (size_t p = 0; p < plan->view.partition_count; p++) {
        if (slice_is(plan->view.partitions[p].topic, topic))
            plan->balance.partitions[p].wanted_count = (int32_t)wanted;
    }
    plan->balance.is_only_necessary = true;
    return plan_make(plan);
}

static int reassign(struct cli *cli, struct admin *admin)
{
    const char *topic = cli->argv[0], *assignment = cli_text(cli, "assignment");
    bool has_factor = cli_text(cli, "replication-factor") != NULL;
    if ((assignment != NULL) == has_factor) {
        cli_complain("say how: --assignment 1:2:3,2:3:1 or --replication-factor N");
        return EXIT_USAGE;
    }
    struct plan plan;
    int status = plan_begin(&plan, admin, cli);
    if (status == EXIT_OK && !view_find(&plan.view, slice_of(topic), 0)) {
        cli_complain("no topic \"%s\"", topic);
        status = EXIT_ITEM_FAILED;
    }
    if (status == EXIT_OK)
        status = assignment ? assign(&plan, topic, assignment) : replicate(&plan, cli, topic);
    bool is_real = !cli_flag(cli, "dry-run");
    if (status == EXIT_OK && is_real && plan.count > 0) {
        char bytes[32];
        move_bytes_text(plan.balance.moved_bytes, bytes, sizeof bytes);
        if (!cli_confirm(cli, "reassign %zu partitions of \"%s\", copying %s?", plan.count, topic, bytes))
            status = EXIT_USAGE;
    }
    if (status != EXIT_OK) {
        plan_free(&plan);
        return status;
    }
    struct cli_result result;
    cli_result_begin(&result, cli, "TopicReassign");
    plan_show(&plan, &result);
    if (is_real) status = plan_execute(&plan, admin, cli, &result, of_topic, topic);
    return finish(&plan, &result, status, "it is so already");
}

int cli_topic_reassign(struct cli *cli)
{
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = reassign(cli, admin);
    admin_close(&admin);
    return status;
}
