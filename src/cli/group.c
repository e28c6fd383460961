/* group.c: odradek group list|describe|lag|seek|delete. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/admin.h"
#include "cli/offset.h"

enum { OFFSET_COMMIT = 8, OFFSET_FETCH = 9, DESCRIBE_GROUPS = 15, LIST_GROUPS = 16, DELETE_GROUPS = 42 };

static int list(struct cli *cli, struct admin *admin)
{
    static const struct cli_column columns[] = {
        {"GROUP", "name"}, {"STATE", "state"}, {"TYPE", "type"}, {"PROTOCOL", "protocol"}, {0}};
    const struct metadata_response *metadata = NULL;
    enum error err = admin_metadata(admin, NULL, 0, &metadata);
    if (err != OK) return admin_exit(err);
    struct cli_result result;
    cli_result_begin(&result, cli, "GroupList");
    for (int32_t b = 0; b < metadata->brokers.count; b++) {
        struct list_groups_request request;
        message_init(&list_groups_request_type, &request);
        const void *answer = NULL;
        err = admin_ask_loud(admin, metadata->brokers.items[b].node_id, LIST_GROUPS, &request, &answer);
        const struct list_groups_response *response = answer;
        if (err == OK) err = error_from_kafka(response->error_code);
        if (err != OK) {
            char name[32];
            snprintf(name, sizeof name, "broker %d", (int)metadata->brokers.items[b].node_id);
            cli_result_fail(&result, name, err, SLICE_NULL);
            continue;
        }
        for (int32_t i = 0; i < response->groups.count; i++) {
            const struct list_groups_response_listed_group *group = &response->groups.items[i];
            cli_result_add(&result, json_pack("{s:o, s:o, s:o, s:o}", "name", cli_json_text(group->group_id),
                                              "state", cli_json_text(group->group_state), "type",
                                              cli_json_text(group->group_type), "protocol",
                                              cli_json_text(group->protocol_type)));
        }
    }
    return cli_result_end(&result, columns, "no groups");
}

int cli_group_list(struct cli *cli)
{
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = list(cli, admin);
    admin_close(&admin);
    return status;
}

/* "topic:0,1 other:2" of a member's assignment in the consumer protocol; null when it is of another protocol. */
static json_t *assignment_text(struct slice assignment, struct arena *arena)
{
    if (assignment.size < 2) return json_null();
    int16_t version = (int16_t)get_be16(assignment.data);
    int16_t newest = message_max_version(&consumer_protocol_assignment_type);
    if (version > newest) version = newest; /* newer ones begin alike */
    struct consumer_protocol_assignment decoded;
    struct slice body = {assignment.data + 2, assignment.size - 2};
    if (version < 0 || message_decode(&consumer_protocol_assignment_type, version, body, arena, &decoded,
                                      NULL, NULL) != OK) {
        return json_null();
    }
    struct text text = {0};
    for (int32_t t = 0; t < decoded.assigned_partitions.count; t++) {
        text_addf(&text, "%s%.*s:", t ? " " : "", SLICE_ARG(decoded.assigned_partitions.items[t].topic));
        for (int32_t p = 0; p < decoded.assigned_partitions.items[t].partitions.count; p++) {
            text_addf(&text, "%s%d", p ? "," : "",
                      (int)decoded.assigned_partitions.items[t].partitions.items[p]);
        }
    }
    json_t *result = cli_json_text(text_slice(&text));
    text_free(&text);
    return result;
}

static enum error describe_one(struct admin *admin, const char *name,
                               const struct describe_groups_response_described_group **group)
{
    int32_t node = NODE_ANY;
    if (admin_coordinator(admin, name, &node) != EXIT_OK) return ERR_COORDINATOR_NOT_AVAILABLE;
    struct describe_groups_request request;
    message_init(&describe_groups_request_type, &request);
    struct slice key = slice_of(name);
    request.groups.items = &key;
    request.groups.count = 1;
    const void *answer = NULL;
    enum error err = admin_ask(admin, node, DESCRIBE_GROUPS, 5, &request, &answer);
    if (err != OK) return err;
    const struct describe_groups_response *response = answer;
    if (response->groups.count != 1) return ERR_CORRUPT;
    *group = &response->groups.items[0];
    return error_from_kafka(response->groups.items[0].error_code);
}

static int describe(struct cli *cli, struct admin *admin)
{
    static const struct cli_column columns[] = {{"GROUP", "group"},
                                                {"STATE", "state"},
                                                {"MEMBER", "member"},
                                                {"CLIENT", "client"},
                                                {"HOST", "host"},
                                                {"ASSIGNED", "assigned"},
                                                {0}};
    struct cli_result result;
    cli_result_begin(&result, cli, "GroupDescribe");
    for (int i = 0; i < cli->argc; i++) {
        const struct describe_groups_response_described_group *group = NULL;
        enum error err = describe_one(admin, cli->argv[i], &group);
        if (err == OK && slice_is(group->group_state, "Dead")) err = ERR_GROUP_ID_NOT_FOUND;
        if (err != OK) {
            cli_result_fail(&result, cli->argv[i], err, SLICE_NULL);
            continue;
        }
        for (int32_t m = 0; m < group->members.count; m++) {
            const struct describe_groups_response_described_group_member *member = &group->members.items[m];
            cli_result_add(
                &result,
                json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "group", cli->argv[i], "state",
                          cli_json_text(group->group_state), "member", cli_json_text(member->member_id),
                          "instance", cli_json_text(member->group_instance_id), "client",
                          cli_json_text(member->client_id), "host", cli_json_text(member->client_host),
                          "assigned", assignment_text(member->member_assignment, admin_arena(admin))));
        }
        if (group->members.count == 0) {
            cli_result_add(&result, json_pack("{s:s, s:o, s:n}", "group", cli->argv[i], "state",
                                              cli_json_text(group->group_state), "member"));
        }
    }
    return cli_result_end(&result, columns, NULL);
}

int cli_group_describe(struct cli *cli)
{
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = describe(cli, admin);
    admin_close(&admin);
    return status;
}

struct committed {
    struct slice topic;
    int32_t partition;
    int64_t offset;
};

/* All committed offsets of a group, in the arena. */
static enum error fetch_committed(struct admin *admin, const char *name, struct committed **committed,
                                  size_t *count)
{
    int32_t node = NODE_ANY;
    if (admin_coordinator(admin, name, &node) != EXIT_OK) return ERR_COORDINATOR_NOT_AVAILABLE;
    struct offset_fetch_request request;
    message_init(&offset_fetch_request_type, &request);
    request.group_id = slice_of(name);
    request.topics.count = -1; /* all */
    const void *answer = NULL;
    /* Version 7: one group; 8 and above are batched. */
    enum error err = admin_ask(admin, node, OFFSET_FETCH, 7, &request, &answer);
    const struct offset_fetch_response *response = answer;
    if (err == OK) err = error_from_kafka(response->error_code);
    if (err != OK) return err;
    size_t n = 0;
    for (int32_t t = 0; t < response->topics.count; t++)
        n += (size_t)response->topics.items[t].partitions.count;
    struct committed *made = arena_zalloc(admin_arena(admin), (n + 1) * sizeof *made);
    if (!made) return ERR_NOMEM;
    n = 0;
    for (int32_t t = 0; t < response->topics.count; t++) {
        for (int32_t p = 0; p < response->topics.items[t].partitions.count; p++) {
            const struct offset_fetch_response_offset_fetch_response_partition *partition =
                &response->topics.items[t].partitions.items[p];
            made[n++] = (struct committed){response->topics.items[t].name, partition->partition_index,
                                           partition->committed_offset};
        }
    }
    *committed = made;
    *count = n;
    return OK;
}

/* The leader of each wanted partition, from metadata of their topics. */
static void find_leaders(struct admin *admin, struct partition_offset *wanted, size_t count)
{
    const struct metadata_response *metadata = NULL;
    const char **names = arena_zalloc(admin_arena(admin), (count + 1) * sizeof *names);
    if (!names) return;
    int32_t name_count = 0;
    for (size_t i = 0; i < count; i++) {
        wanted[i].leader = -1;
        bool is_known = false;
        for (int32_t n = 0; n < name_count; n++) is_known = is_known || slice_is(wanted[i].topic, names[n]);
        struct slice copy = arena_copy(admin_arena(admin), wanted[i].topic);
        if (!is_known && copy.data) names[name_count++] = (const char *)copy.data;
    }
    if (name_count == 0 || admin_metadata(admin, names, name_count, &metadata) != OK) return;
    for (int32_t t = 0; t < metadata->topics.count; t++) {
        for (int32_t p = 0; p < metadata->topics.items[t].partitions.count; p++) {
            const struct metadata_response_metadata_response_partition *partition =
                &metadata->topics.items[t].partitions.items[p];
            for (size_t i = 0; i < count; i++) {
                if (wanted[i].partition == partition->partition_index &&
                    slice_equal(wanted[i].topic, metadata->topics.items[t].name)) {
                    wanted[i].leader = partition->leader_id;
                }
            }
        }
    }
}

static int compare_committed(const void *a, const void *b)
{
    const struct committed *x = a, *y = b;
    int order = slice_compare(x->topic, y->topic);
    return order ? order : (x->partition > y->partition) - (x->partition < y->partition);
}

static void add_lag(struct admin *admin, struct cli_result *result, const char *name)
{
    struct committed *committed = NULL;
    size_t count = 0;
    enum error err = fetch_committed(admin, name, &committed, &count);
    if (err != OK) {
        cli_result_fail(result, name, err, SLICE_NULL);
        return;
    }
    qsort(committed, count, sizeof *committed, compare_committed);
    struct partition_offset *ends = arena_zalloc(admin_arena(admin), (count + 1) * sizeof *ends);
    if (!ends) return;
    for (size_t i = 0; i < count; i++) {
        ends[i] = (struct partition_offset){committed[i].topic, committed[i].partition, -1, -1, -1, OK};
    }
    find_leaders(admin, ends, count);
    admin_offsets(admin, ends, count);
    for (size_t i = 0; i < count; i++) {
        bool is_known = ends[i].err == OK;
        cli_result_add(
            result, json_pack("{s:s, s:o, s:i, s:o, s:o, s:o}", "group", name, "topic",
                              cli_json_text(committed[i].topic), "partition", (int)committed[i].partition,
                              "committed", json_integer(committed[i].offset), "end",
                              is_known ? json_integer(ends[i].offset) : json_null(), "lag",
                              is_known ? json_integer(ends[i].offset - committed[i].offset) : json_null()));
    }
}

int cli_group_lag(struct cli *cli)
{
    static const struct cli_column columns[] = {{"GROUP", "group"},
                                                {"TOPIC", "topic"},
                                                {"PARTITION", "partition"},
                                                {"COMMITTED", "committed"},
                                                {"END", "end"},
                                                {"LAG", "lag"},
                                                {0}};
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status != EXIT_OK) return status;
    struct cli_result result;
    cli_result_begin(&result, cli, "GroupLag");
    for (int i = 0; i < cli->argc; i++) add_lag(admin, &result, cli->argv[i]);
    status = cli_result_end(&result, columns, "nothing committed");
    admin_close(&admin);
    return status;
}

/* The partitions that `seek` means: those of --topic, or all the group has committed. */
static enum error seek_targets(struct cli *cli, struct admin *admin, struct partition_offset **targets,
                               size_t *count)
{
    struct committed *committed = NULL;
    size_t n = 0;
    const char *first = cli_text_at(cli, "topic", 0);
    if (!first) {
        enum error err = fetch_committed(admin, cli->argv[0], &committed, &n);
        if (err != OK) return err;
        *targets = arena_zalloc(admin_arena(admin), (n + 1) * sizeof **targets);
        for (size_t i = 0; *targets && i < n; i++) {
            (*targets)[i] =
                (struct partition_offset){committed[i].topic, committed[i].partition, -1, 0, -1, OK};
        }
        *count = n;
        return *targets ? OK : ERR_NOMEM;
    }
    enum { MOST = 100000 };
    *targets = arena_zalloc(admin_arena(admin), MOST * sizeof **targets);
    if (!*targets) return ERR_NOMEM;
    const char *text;
    for (size_t i = 0; (text = cli_text_at(cli, "topic", i)); i++) {
        const char *colon = strrchr(text, ':');
        size_t size = colon ? (size_t)(colon - text) : strlen(text);
        struct slice topic = arena_copy(admin_arena(admin), (struct slice){(const uint8_t *)text, size});
        const char *names[] = {(const char *)topic.data};
        const struct metadata_response *metadata = NULL;
        enum error err = admin_metadata(admin, names, 1, &metadata);
        if (err == OK && metadata->topics.count == 1)
            err = error_from_kafka(metadata->topics.items[0].error_code);
        if (err != OK) return err;
        for (int32_t p = 0; p < metadata->topics.items[0].partitions.count && n < MOST; p++) {
            int32_t index = metadata->topics.items[0].partitions.items[p].partition_index;
            bool is_meant = !colon;
            for (const char *at = colon; at && *at; at = strchr(at + 1, ','))
                is_meant = is_meant || atoi(at + 1) == index;
            if (is_meant) (*targets)[n++] = (struct partition_offset){topic, index, -1, 0, -1, OK};
        }
    }
    *count = n;
    return OK;
}

static enum error commit(struct admin *admin, const char *group, const struct partition_offset *targets,
                         size_t count, struct cli_result *result)
{
    int32_t node = NODE_ANY;
    if (admin_coordinator(admin, group, &node) != EXIT_OK) return ERR_COORDINATOR_NOT_AVAILABLE;
    struct offset_commit_request request;
    message_init(&offset_commit_request_type, &request);
    request.group_id = slice_of(group);
    request.topics.items = arena_zalloc(admin_arena(admin), (count + 1) * sizeof *request.topics.items);
    if (!request.topics.items) return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (targets[i].err != OK || targets[i].offset < 0) continue;
        struct offset_commit_request_offset_commit_request_topic *topic =
            &request.topics.items[request.topics.count++];
        topic->name = targets[i].topic;
        topic->partitions.items = arena_zalloc(admin_arena(admin), sizeof *topic->partitions.items);
        if (!topic->partitions.items) return ERR_NOMEM;
        topic->partitions.count = 1;
        topic->partitions.items[0].partition_index = targets[i].partition;
        topic->partitions.items[0].committed_offset = targets[i].offset;
        topic->partitions.items[0].committed_leader_epoch = -1;
        topic->partitions.items[0].commit_timestamp = -1;
        topic->partitions.items[0].committed_metadata = SLICE("");
    }
    const void *answer = NULL;
    enum error err = admin_ask(admin, node, OFFSET_COMMIT, 9, &request, &answer);
    if (err != OK) return err;
    const struct offset_commit_response *response = answer;
    for (int32_t t = 0; t < response->topics.count; t++) {
        for (int32_t p = 0; p < response->topics.items[t].partitions.count; p++) {
            int16_t code = response->topics.items[t].partitions.items[p].error_code;
            char name[300];
            snprintf(name, sizeof name, "%.*s-%d", SLICE_ARG(response->topics.items[t].name),
                     (int)response->topics.items[t].partitions.items[p].partition_index);
            struct slice hint =
                code == 25 || code == 27 ? SLICE("the group has members; stop them first") : SLICE_NULL;
            if (code != 0) cli_result_fail(result, name, error_from_kafka(code), hint);
        }
    }
    return OK;
}

static int seek(struct cli *cli, struct admin *admin)
{
    static const struct cli_column columns[] = {
        {"TOPIC", "topic"}, {"PARTITION", "partition"}, {"OFFSET", "offset"}, {0}};
    struct offset_wish wish;
    const char *to = cli_text(cli, "to");
    if (!to || !offset_parse(to, time(NULL) * 1000, &wish) || wish.kind == OFFSET_FROM_END) {
        cli_complain("say where: --to start, end, N, @TIME or @-1h");
        return EXIT_USAGE;
    }
    struct partition_offset *targets = NULL;
    size_t count = 0;
    enum error err = seek_targets(cli, admin, &targets, &count);
    if (err != OK) {
        cli_complain("group \"%s\": %s", cli->argv[0], error_text(err));
        return admin_exit(err);
    }
    if (count == 0) {
        cli_complain("group \"%s\" has committed nothing; name partitions with --topic", cli->argv[0]);
        return EXIT_ITEM_FAILED;
    }
    find_leaders(admin, targets, count);
    for (size_t i = 0; i < count; i++) {
        targets[i].timestamp = wish.kind == OFFSET_START ? -2 : wish.kind == OFFSET_AT_TIME ? wish.value : -1;
    }
    admin_offsets(admin, targets, count);
    struct partition_offset *ends = arena_zalloc(admin_arena(admin), count * sizeof *ends);
    if (!ends) return EXIT_ITEM_FAILED;
    memcpy(ends, targets, count * sizeof *ends);
    for (size_t i = 0; i < count; i++) ends[i].timestamp = -1;
    if (wish.kind == OFFSET_AT_TIME) admin_offsets(admin, ends, count);
    struct cli_result result;
    cli_result_begin(&result, cli, "GroupSeek");
    for (size_t i = 0; i < count; i++) {
        if (wish.kind == OFFSET_NUMBER) targets[i].offset = wish.value;
        /* Nothing that late: the end. */
        if (wish.kind == OFFSET_AT_TIME && targets[i].err == OK && targets[i].offset < 0)
            targets[i].offset = ends[i].offset;
        char name[300];
        snprintf(name, sizeof name, "%.*s-%d", SLICE_ARG(targets[i].topic), (int)targets[i].partition);
        if (targets[i].err != OK) {
            cli_result_fail(&result, name, targets[i].err, SLICE_NULL);
            continue;
        }
        cli_result_add(&result,
                       json_pack("{s:o, s:i, s:I}", "topic", cli_json_text(targets[i].topic), "partition",
                                 (int)targets[i].partition, "offset", (json_int_t)targets[i].offset));
    }
    bool goes_ahead = !cli_flag(cli, "dry-run") &&
                      cli_confirm(cli, "set %zu offsets of group \"%s\"?", count, cli->argv[0]);
    if (goes_ahead) {
        err = commit(admin, cli->argv[0], targets, count, &result);
        if (err != OK) cli_result_fail(&result, cli->argv[0], err, SLICE_NULL);
    }
    int status = cli_result_end(&result, columns, NULL);
    return status == EXIT_OK && !goes_ahead && !cli_flag(cli, "dry-run") ? EXIT_USAGE : status;
}

int cli_group_seek(struct cli *cli)
{
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = seek(cli, admin);
    admin_close(&admin);
    return status;
}

static int delete_groups(struct cli *cli, struct admin *admin)
{
    static const struct cli_column columns[] = {{"DELETED", "name"}, {0}};
    struct cli_result result;
    cli_result_begin(&result, cli, "GroupDelete");
    for (int i = 0; i < cli->argc; i++) {
        int32_t node = NODE_ANY;
        int status = admin_coordinator(admin, cli->argv[i], &node);
        struct delete_groups_request request;
        message_init(&delete_groups_request_type, &request);
        struct slice name = slice_of(cli->argv[i]);
        request.groups_names.items = &name;
        request.groups_names.count = 1;
        const void *answer = NULL;
        enum error err = status != EXIT_OK ? ERR_COORDINATOR_NOT_AVAILABLE
                                           : admin_ask(admin, node, DELETE_GROUPS, -1, &request, &answer);
        const struct delete_groups_response *response = answer;
        if (err == OK && response->results.count == 1)
            err = error_from_kafka(response->results.items[0].error_code);
        if (err != OK) {
            cli_result_fail(&result, cli->argv[i], err, SLICE_NULL);
        } else {
            cli_result_add(&result, json_pack("{s:s}", "name", cli->argv[i]));
        }
    }
    return cli_result_end(&result, columns, NULL);
}

int cli_group_delete(struct cli *cli)
{
    if (!cli_confirm(cli, "forget %d group%s and their committed offsets?", cli->argc,
                     cli->argc > 1 ? "s" : "")) {
        return EXIT_USAGE;
    }
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = delete_groups(cli, admin);
    admin_close(&admin);
    return status;
}
