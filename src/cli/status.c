/* status.c: odradek cluster status and broker list: one page about the health of a cluster.
 *
 * One JSON object is made of a view; the page on a terminal is printed from that object, so both always say the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/move.h"

enum { MOST_LINES = 15, SAMPLE_MS = 1000, WATCH_PATIENCE_MS = 0, WATCH_ANSWER_MS = 2000 };

static json_t *list(struct ids ids)
{
    json_t *made = json_array();
    for (int32_t i = 0; i < ids.count; i++) json_array_append_new(made, json_integer(ids.items[i]));
    return made;
}

static json_t *number_or_null(int64_t number)
{
    return number >= 0 ? json_integer(number) : json_null();
}

/* --- brokers --- */

static const struct cli_column broker_columns[] = {
    {"BROKER", "id"},   {"ADDRESS", "address"}, {"RACK", "rack"},
    {"STATE", "state"}, {"LEADS", "leads"},     {"HOLDS", "holds"},
    {"SIZE", "size"},   {"FREE", "free"},       {0}};

static json_t *broker_item(const struct view *view, const struct view_broker *broker)
{
    char size[32], free_text[32];
    json_t *address = json_null();
    if (broker->host.data) address = json_sprintf("%.*s:%d", SLICE_ARG(broker->host), (int)broker->port);
    move_bytes_text(broker->bytes, size, sizeof size);
    move_bytes_text(broker->usable_bytes, free_text, sizeof free_text);
    const char *state = !broker->host.data               ? "down"
                        : broker->is_silent              ? "silent"
                        : broker->id == view->controller ? "controller"
                                                         : "up";
    return json_pack("{s:i, s:o, s:o, s:s, s:b, s:i, s:i, s:o, s:o, s:o, s:s, s:s}", "id", (int)broker->id,
                     "address", address, "rack", cli_json_text(broker->rack), "state", state, "controller",
                     broker->id == view->controller, "leads", (int)broker->leads, "holds", (int)broker->holds,
                     "bytes", number_or_null(broker->bytes), "totalBytes",
                     number_or_null(broker->total_bytes), "freeBytes", number_or_null(broker->usable_bytes),
                     "size", size, "free", free_text);
}

static json_t *broker_items(const struct view *view)
{
    json_t *items = json_array();
    for (size_t b = 0; b < view->broker_count; b++)
        json_array_append_new(items, broker_item(view, &view->brokers[b]));
    return items;
}

int cli_broker_list(struct cli *cli)
{
    struct admin *admin = NULL;
    struct view view;
    int status = admin_open(cli, &admin);
    if (status != EXIT_OK) return status;
    enum error err = view_read(admin, VIEW_SIZES, &view);
    if (err == OK) {
        struct cli_result result;
        cli_result_begin(&result, cli, "BrokerList");
        for (size_t b = 0; b < view.broker_count; b++)
            cli_result_add(&result, broker_item(&view, &view.brokers[b]));
        status = cli_result_end(&result, broker_columns, "no brokers");
    } else {
        status = admin_exit(err);
    }
    admin_close(&admin);
    return status;
}

/* --- partitions in trouble --- */

static const struct cli_column trouble_columns[] = {
    {"TROUBLE", "trouble"},   {"TOPIC", "topic"}, {"PARTITION", "partition"}, {"LEADER", "leader"},
    {"REPLICAS", "replicas"}, {"ISR", "isr"},     {"MIN ISR", "minIsr"},      {0}};

struct counts {
    size_t offline, below_min_isr, under_replicated, not_preferred;
};

/* The worst that can be said of it, NULL when all is well; counts all that is true of it. */
static const char *trouble_of(const struct view_partition *partition, struct counts *counts)
{
    const char *trouble = NULL;
    int32_t in_sync = 0, wanted = 0;
    for (int32_t i = 0; i < partition->replicas.count; i++) {
        if (view_ids_have(partition->adding, partition->replicas.items[i])) continue;
        wanted++;
        in_sync += view_ids_have(partition->isr, partition->replicas.items[i]);
    }
    bool is_offline = partition->leader < 0;
    if (!is_offline && partition->replicas.count > 0 && partition->leader != partition->replicas.items[0]) {
        counts->not_preferred++;
        trouble = "not on preferred leader";
    }
    if (in_sync < wanted) {
        counts->under_replicated++;
        trouble = "under-replicated";
    }
    if (!is_offline && partition->min_isr > partition->isr.count) {
        counts->below_min_isr++;
        trouble = "below min ISR";
    }
    if (is_offline) {
        counts->offline++;
        trouble = "offline";
    }
    return trouble;
}

static int rank_of(const char *trouble)
{
    static const char *const ranks[] = {"offline", "below min ISR", "under-replicated",
                                        "not on preferred leader"};
    int rank = 0;
    while (strcmp(ranks[rank], trouble) != 0) rank++;
    return rank;
}

/* Worst first, then by topic and partition. */
static json_t *troubles(const struct view *view, struct counts *counts)
{
    json_t *ranked[4] = {json_array(), json_array(), json_array(), json_array()};
    for (size_t p = 0; p < view->partition_count; p++) {
        const struct view_partition *partition = &view->partitions[p];
        const char *trouble = trouble_of(partition, counts);
        if (!trouble) continue;
        json_array_append_new(ranked[rank_of(trouble)],
                              json_pack("{s:s, s:o, s:i, s:i, s:o, s:o, s:o}", "trouble", trouble, "topic",
                                        cli_json_text(partition->topic), "partition", (int)partition->index,
                                        "leader", (int)partition->leader, "replicas",
                                        list(partition->replicas), "isr", list(partition->isr), "minIsr",
                                        number_or_null(partition->min_isr)));
    }
    for (int r = 1; r < 4; r++) {
        json_array_extend(ranked[0], ranked[r]);
        json_decref(ranked[r]);
    }
    return ranked[0];
}

/* --- what moves --- */

static const struct cli_column move_columns[] = {
    {"REASSIGNING", "topic"}, {"PARTITION", "partition"}, {"REPLICAS", "replicas"},
    {"ADDING", "adding"},     {"REMOVING", "removing"},   {"PROGRESS", "bar"},
    {"COPIED", "copied"},     {"LEFT", "estimate"},       {0}};

/* How far each partition was at an earlier look, for rates. */
struct sample {
    int64_t at_ms;
    json_t *done; /* "topic-partition": bytes; NULL: no earlier look */
};

static int64_t earlier(const struct sample *sample, const char *key)
{
    const json_t *done = json_object_get(sample->done, key);
    return done ? (int64_t)json_integer_value(done) : -1;
}

static json_t *moving_items(const struct view *view, const struct sample *before, struct sample *now)
{
    json_t *items = json_array();
    *now = (struct sample){view->at_ms, json_object()};
    for (size_t p = 0; p < view->partition_count; p++) {
        const struct view_partition *partition = &view->partitions[p];
        if (!partition->is_moving) continue;
        struct view_progress progress = view_progress_of(partition);
        char key[300], bar[13], whole[32], done[32], estimate[32];
        snprintf(key, sizeof key, "%.*s-%d", SLICE_ARG(partition->topic), (int)partition->index);
        json_object_set_new(now->done, key, json_integer(progress.done));
        int64_t was = earlier(before, key), took_ms = view->at_ms - before->at_ms,
                left = progress.bytes - progress.done;
        int64_t rate =
            was >= 0 && progress.done > was && took_ms > 0 ? (progress.done - was) * 1000 / took_ms : 0;
        int64_t left_ms = left == 0 ? 0 : rate > 0 ? (int64_t)((double)left * 1000 / (double)rate) : -1;
        move_bar(progress.bytes ? progress.done : 1, progress.bytes ? progress.bytes : 1, bar);
        move_bytes_text(progress.done, done, sizeof done);
        move_bytes_text(progress.bytes, whole, sizeof whole);
        move_time_text(left_ms, estimate, sizeof estimate);
        json_array_append_new(
            items, json_pack("{s:o, s:i, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:s, s:o, s:s}", "topic",
                             cli_json_text(partition->topic), "partition", (int)partition->index, "replicas",
                             list(partition->replicas), "adding", list(partition->adding), "removing",
                             list(partition->removing), "bytes", (json_int_t)progress.bytes, "doneBytes",
                             (json_int_t)progress.done, "bytesPerSecond", (json_int_t)rate, "leftMs",
                             number_or_null(left_ms), "bar", bar, "copied",
                             json_sprintf("%s of %s", done, whole), "estimate", estimate));
    }
    return items;
}

/* --- the page --- */

static json_t *status_item(const struct view *view, const struct sample *before, struct sample *now)
{
    struct counts counts = {0};
    json_t *list_of_troubles = troubles(view, &counts);
    size_t down = 0;
    for (size_t b = 0; b < view->broker_count; b++)
        down += !view->brokers[b].host.data || view->brokers[b].is_silent;
    bool is_well =
        down + counts.offline + counts.below_min_isr + counts.under_replicated == 0 && view->controller >= 0;
    return json_pack(
        "{s:o, s:o, s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:o, s:o, s:o}", "cluster",
        cli_json_text(view->cluster_id), "controller", number_or_null(view->controller), "healthy", is_well,
        "brokersUp", (int)(view->broker_count - down), "brokersDown", (int)down, "topics",
        (int)view->topic_count, "partitions", (int)view->partition_count, "offline", (int)counts.offline,
        "belowMinIsr", (int)counts.below_min_isr, "underReplicated", (int)counts.under_replicated,
        "notOnPreferredLeader", (int)counts.not_preferred, "reassignmentsKnown", view->has_moves, "brokers",
        broker_items(view), "troubles", list_of_troubles, "reassignments", moving_items(view, before, now));
}

static long long number(const json_t *item, const char *key)
{
    return (long long)json_integer_value(json_object_get(item, key));
}

static void print_some(FILE *out, const json_t *items, const struct cli_column *columns)
{
    size_t count = json_array_size(items);
    if (count == 0) return;
    json_t *some = json_array();
    for (size_t i = 0; i < count && i < MOST_LINES; i++) json_array_append(some, json_array_get(items, i));
    fputc('\n', out);
    cli_table(out, some, columns);
    if (count > MOST_LINES) fprintf(out, "... and %zu more\n", count - MOST_LINES);
    json_decref(some);
}

static void print_page(FILE *out, const json_t *item)
{
    const json_t *controller = json_object_get(item, "controller");
    const char *cluster = json_string_value(json_object_get(item, "cluster"));
    fprintf(out, "cluster %s: %s\n", cluster ? cluster : "?",
            json_is_true(json_object_get(item, "healthy")) ? "all is well" : "TROUBLE");
    fprintf(out, "%lld brokers up, %lld down; ", number(item, "brokersUp"), number(item, "brokersDown"));
    if (json_is_integer(controller))
        fprintf(out, "controller %lld; ", (long long)json_integer_value(controller));
    if (!json_is_integer(controller)) fprintf(out, "NO CONTROLLER; ");
    fprintf(out, "%lld topics, %lld partitions\n", number(item, "topics"), number(item, "partitions"));
    fprintf(out,
            "%lld offline, %lld below min ISR, %lld under-replicated, %lld not on their preferred leader, ",
            number(item, "offline"), number(item, "belowMinIsr"), number(item, "underReplicated"),
            number(item, "notOnPreferredLeader"));
    if (json_is_true(json_object_get(item, "reassignmentsKnown"))) {
        fprintf(out, "%zu being reassigned\n\n", json_array_size(json_object_get(item, "reassignments")));
    } else {
        fprintf(out, "reassignments unknown\n\n");
    }
    cli_table(out, json_object_get(item, "brokers"), broker_columns);
    print_some(out, json_object_get(item, "troubles"), trouble_columns);
    print_some(out, json_object_get(item, "reassignments"), move_columns);
}

static int print_item(const struct cli *cli, json_t *item)
{
    if (cli->output == OUTPUT_TABLE) {
        print_page(stdout, item);
        json_decref(item);
        return EXIT_OK;
    }
    struct cli_result result;
    cli_result_begin(&result, cli, "ClusterStatus");
    if (cli->output == OUTPUT_TSV || cli->output == OUTPUT_NAME) {
        json_decref(result.items);
        result.items = json_incref(json_object_get(item, "brokers"));
        json_decref(item);
    } else {
        cli_result_add(&result, item);
    }
    return cli_result_end(&result, broker_columns, NULL);
}

static enum error look(struct admin *admin, struct sample *sample, json_t **item)
{
    admin_forget(admin);
    struct view view;
    enum error err = view_read(admin, VIEW_SIZES | VIEW_MOVES | VIEW_MIN_ISR, &view);
    if (err != OK) return err;
    struct sample now;
    *item = status_item(&view, sample, &now);
    json_decref(sample->done);
    *sample = now;
    return OK;
}

static int once(struct cli *cli, struct admin *admin)
{
    struct sample sample = {0};
    json_t *item = NULL;
    enum error err = look(admin, &sample, &item);
    /* An estimate takes a second look. */
    if (err == OK && json_array_size(json_object_get(item, "reassignments")) > 0 &&
        admin_wait(admin, SAMPLE_MS)) {
        json_decref(item);
        item = NULL;
        err = look(admin, &sample, &item);
    }
    json_decref(sample.done);
    if (err != OK) return admin_exit(err);
    bool is_well = json_is_true(json_object_get(item, "healthy"));
    int status = print_item(cli, item);
    return cli_flag(cli, "check") && !is_well ? EXIT_ITEM_FAILED : status;
}

/* Until interrupted, whatever happens to the brokers. */
static int watch(struct cli *cli, struct admin *admin, int64_t interval_ms)
{
    struct sample sample = {0};
    bool is_page = cli->is_terminal && cli->output == OUTPUT_TABLE;
    enum error err = admin_stay(admin, WATCH_PATIENCE_MS);
    int status = admin_exit(err);
    admin_hurry(admin, WATCH_ANSWER_MS); /* a broker that is paused must not stop the page */
    while (err == OK) {
        json_t *item = NULL;
        enum error seen = admin_refresh(admin);
        if (seen == OK) seen = look(admin, &sample, &item);
        if (admin_is_interrupted(admin)) {
            json_decref(item);
            break;
        }
        if (is_page) fputs("\033[H\033[J", stdout);
        if (seen == OK) {
            status = print_item(cli, item);
        } else if (is_page) {
            printf("no broker of %s answers: %s\n", cli->bootstrap, error_text(seen));
        }
        if (cli->output == OUTPUT_TABLE && !is_page) putchar('\n');
        fflush(stdout);
        if (ferror(stdout) || !admin_wait(admin, interval_ms)) break;
    }
    json_decref(sample.done);
    return status;
}

int cli_cluster_status(struct cli *cli)
{
    int64_t interval_ms = 1000;
    const char *interval = cli_text(cli, "interval");
    if (interval && (!cli_parse_duration_ms(interval, &interval_ms) || interval_ms < 100)) {
        cli_complain("--interval %s: not a duration of at least 100ms; 500ms, 2s", interval);
        return EXIT_USAGE;
    }
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK)
        status = cli_flag(cli, "watch") ? watch(cli, admin, interval_ms) : once(cli, admin);
    admin_close(&admin);
    return status;
}
