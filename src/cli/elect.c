/* elect.c: odradek cluster elect and cluster reassignments. */
#include <stdio.h>

#include "cli/assignment.h"
#include "cli/move.h"

/* Does the command mean this partition? All, without --topic. */
static bool is_meant(const struct cli *cli, const struct view_partition *partition)
{
    const char *wish;
    for (size_t i = 0; (wish = cli_text_at(cli, "topic", i)); i++) {
        if (partition_wish_names(wish, partition->topic, partition->index)) return true;
    }
    return !cli_text(cli, "topic");
}

static bool are_wishes_good(const struct cli *cli)
{
    const char *wish;
    for (size_t i = 0; (wish = cli_text_at(cli, "topic", i)); i++) {
        if (partition_wish_is_good(wish)) continue;
        cli_complain("--topic %s: not TOPIC or TOPIC:P,P", wish);
        return false;
    }
    return true;
}

/* --- elect --- */

static int elect(struct cli *cli, struct admin *admin)
{
    static const struct cli_column columns[] = {{"TOPIC", "topic"},
                                                {"PARTITION", "partition"},
                                                {"LEADER WAS", "leader"},
                                                {"PREFERRED", "preferred"},
                                                {0}};
    bool is_unclean = cli_flag(cli, "unclean");
    struct view view;
    enum error err = view_read(admin, 0, &view);
    if (err != OK) return admin_exit(err);
    struct election *elections = arena_array(admin_arena(admin), view.partition_count + 1, sizeof *elections);
    if (!elections) return EXIT_ITEM_FAILED;
    size_t count = 0, held = 0;
    struct cli_result result;
    cli_result_begin(&result, cli, "ClusterElect");
    for (size_t p = 0; p < view.partition_count; p++) {
        const struct view_partition *partition = &view.partitions[p];
        if (!is_meant(cli, partition) || partition->replicas.count == 0) continue;
        if (is_unclean ? partition->leader >= 0 : partition->leader == partition->replicas.items[0]) continue;
        elections[count++] = (struct election){partition->topic, partition->index};
        cli_result_add(&result,
                       json_pack("{s:o, s:i, s:i, s:i}", "topic", cli_json_text(partition->topic),
                                 "partition", (int)partition->index, "leader", (int)partition->leader,
                                 "preferred", (int)partition->replicas.items[0]));
    }
    bool is_agreed =
        !is_unclean || count == 0 || cli_flag(cli, "dry-run") ||
        cli_confirm(cli, "let replicas lead %zu partitions that may lack acknowledged records?", count);
    if (count > 0 && is_agreed && !cli_flag(cli, "dry-run")) {
        move_elect(admin, is_unclean ? ELECT_UNCLEAN : ELECT_PREFERRED, elections, count, &result, &held);
    }
    int status =
        cli_result_end(&result, columns,
                       is_unclean ? "no partition is without a leader" : "all are on their preferred leader");
    return is_agreed ? status : EXIT_USAGE;
}

int cli_cluster_elect(struct cli *cli)
{
    if (cli_flag(cli, "unclean") && cli_flag(cli, "preferred")) {
        cli_complain("either --preferred or --unclean");
        return EXIT_USAGE;
    }
    if (!are_wishes_good(cli)) return EXIT_USAGE;
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = elect(cli, admin);
    admin_close(&admin);
    return status;
}

/* --- reassignments --- */

static json_t *list(struct ids ids)
{
    json_t *made = json_array();
    for (int32_t i = 0; i < ids.count; i++) json_array_append_new(made, json_integer(ids.items[i]));
    return made;
}

static int reassignments(struct cli *cli, struct admin *admin)
{
    static const struct cli_column columns[] = {
        {"TOPIC", "topic"},       {"PARTITION", "partition"}, {"REPLICAS", "replicas"}, {"ADDING", "adding"},
        {"REMOVING", "removing"}, {"PROGRESS", "bar"},        {"COPIED", "copied"},     {0}};
    struct view view;
    enum error err = view_read(admin, VIEW_MOVING_SIZES, &view);
    if (err == OK && !view.has_moves) {
        cli_complain("the controller (broker %d) does not say what is being reassigned",
                     (int)view.controller);
        return EXIT_UNREACHABLE;
    }
    if (err != OK) return admin_exit(err);
    struct move *moves = arena_zalloc(admin_arena(admin), (view.moving_count + 1) * sizeof *moves);
    if (!moves) return EXIT_ITEM_FAILED;
    size_t count = 0, accepted = 0;
    struct cli_result result;
    cli_result_begin(&result, cli, "ClusterReassignments");
    for (size_t p = 0; p < view.partition_count; p++) {
        const struct view_partition *partition = &view.partitions[p];
        if (!partition->is_moving || !is_meant(cli, partition)) continue;
        moves[count++] = (struct move){.topic = partition->topic, .index = partition->index};
        struct view_progress progress = view_progress_of(partition);
        char bar[13], done[32], whole[32];
        move_bar(progress.bytes ? progress.done : 1, progress.bytes ? progress.bytes : 1, bar);
        move_bytes_text(progress.done, done, sizeof done);
        move_bytes_text(progress.bytes, whole, sizeof whole);
        cli_result_add(&result,
                       json_pack("{s:o, s:i, s:o, s:o, s:o, s:I, s:I, s:s, s:o}", "topic",
                                 cli_json_text(partition->topic), "partition", (int)partition->index,
                                 "replicas", list(partition->replicas), "adding", list(partition->adding),
                                 "removing", list(partition->removing), "bytes", (json_int_t)progress.bytes,
                                 "doneBytes", (json_int_t)progress.done, "bar", bar, "copied",
                                 json_sprintf("%s of %s", done, whole)));
    }
    bool is_agreed = true;
    if (cli_flag(cli, "cancel") && count > 0 && !cli_flag(cli, "dry-run")) {
        is_agreed = cli_confirm(cli, "cancel %zu reassignments, dropping what was copied?", count);
        if (is_agreed) move_submit(admin, moves, count, &result, &accepted);
    }
    int status = cli_result_end(&result, columns, "nothing is being reassigned");
    return is_agreed ? status : EXIT_USAGE;
}

int cli_cluster_reassignments(struct cli *cli)
{
    if (!are_wishes_good(cli)) return EXIT_USAGE;
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = reassignments(cli, admin);
    admin_close(&admin);
    return status;
}
