/* topic.c: odradek topic list|describe|create|delete|grow|alter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/admin.h"
#include "cli/alter.h"
#include "cli/assignment.h"

enum { CREATE_TOPICS = 19, DELETE_TOPICS = 20, CREATE_PARTITIONS = 37, WAIT_MS = 30000 };

typedef struct metadata_response_metadata_response_topic topic_metadata;
typedef struct metadata_response_metadata_response_partition partition_metadata;

static int by_name(const void *a, const void *b)
{
    return slice_compare(((const topic_metadata *)a)->name, ((const topic_metadata *)b)->name);
}

static int by_index(const void *a, const void *b)
{
    return ((const partition_metadata *)a)->partition_index -
           ((const partition_metadata *)b)->partition_index;
}

int cli_topic_list(struct cli *cli)
{
    static const struct cli_column columns[] = {{"TOPIC", "name"},
                                                {"PARTITIONS", "partitions"},
                                                {"REPLICAS", "replication"},
                                                {"TROUBLE", "trouble"},
                                                {0}};
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status != EXIT_OK) return status;
    const struct metadata_response *metadata = NULL;
    enum error err = admin_metadata(admin, NULL, -1, &metadata);
    if (err != OK) {
        admin_close(&admin);
        return admin_exit(err);
    }
    struct cli_result result;
    cli_result_begin(&result, cli, "TopicList");
    if (metadata->topics.count > 0) {
        qsort(metadata->topics.items, (size_t)metadata->topics.count, sizeof *metadata->topics.items,
              by_name);
    }
    for (int32_t i = 0; i < metadata->topics.count; i++) {
        const topic_metadata *topic = &metadata->topics.items[i];
        if (topic->is_internal && !cli_flag(cli, "internal")) continue;
        int32_t offline = 0, under_replicated = 0;
        for (int32_t p = 0; p < topic->partitions.count; p++) {
            offline += topic->partitions.items[p].leader_id < 0;
            under_replicated +=
                topic->partitions.items[p].isr_nodes.count < topic->partitions.items[p].replica_nodes.count;
        }
        char trouble[64] = "";
        if (offline) snprintf(trouble, sizeof trouble, "%d without leader", (int)offline);
        if (!offline && under_replicated)
            snprintf(trouble, sizeof trouble, "%d under-replicated", (int)under_replicated);
        char id[UUID_TEXT_SIZE];
        uuid_format(&topic->topic_id, id);
        int32_t replicas = topic->partitions.count ? topic->partitions.items[0].replica_nodes.count : 0;
        cli_result_add(&result,
                       json_pack("{s:o, s:s, s:i, s:i, s:b, s:s}", "name", cli_json_text(topic->name), "id",
                                 id, "partitions", (int)topic->partitions.count, "replication", (int)replicas,
                                 "internal", topic->is_internal, "trouble", trouble));
    }
    status = cli_result_end(&result, columns, "no topics");
    admin_close(&admin);
    return status;
}

static json_t *id_list(const int32_t *items, int32_t count)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < count; i++) json_array_append_new(list, json_integer(items[i]));
    return list;
}

struct offsets {
    struct partition_offset *starts, *ends; /* of the partitions of all topics, one after another */
    size_t count;
};

/* Sorts topics and partitions, and asks where each begins and ends. */
static enum error ask_offsets(struct admin *admin, const struct metadata_response *metadata,
                              struct offsets *offsets)
{
    if (metadata->topics.count > 0) {
        qsort(metadata->topics.items, (size_t)metadata->topics.count, sizeof *metadata->topics.items,
              by_name);
    }
    size_t count = 0;
    for (int32_t i = 0; i < metadata->topics.count; i++)
        count += (size_t)metadata->topics.items[i].partitions.count;
    offsets->count = count;
    offsets->starts = arena_zalloc(admin_arena(admin), (count + 1) * sizeof *offsets->starts);
    offsets->ends = arena_zalloc(admin_arena(admin), (count + 1) * sizeof *offsets->ends);
    if (!offsets->starts || !offsets->ends) return ERR_NOMEM;
    size_t at = 0;
    for (int32_t i = 0; i < metadata->topics.count; i++) {
        topic_metadata *topic = &metadata->topics.items[i];
        if (topic->partitions.count > 0) {
            qsort(topic->partitions.items, (size_t)topic->partitions.count, sizeof *topic->partitions.items,
                  by_index);
        }
        for (int32_t p = 0; p < topic->partitions.count; p++, at++) {
            const partition_metadata *partition = &topic->partitions.items[p];
            offsets->starts[at] = (struct partition_offset){
                topic->name, partition->partition_index, partition->leader_id, -2, -1, OK};
            offsets->ends[at] = offsets->starts[at];
            offsets->ends[at].timestamp = -1;
        }
    }
    admin_offsets(admin, offsets->starts, count);
    admin_offsets(admin, offsets->ends, count);
    return OK;
}

static json_t *offset_of(const struct partition_offset *found)
{
    return found->err == OK ? json_integer(found->offset) : json_null();
}

static void add_partition(struct cli_result *result, struct slice topic, const partition_metadata *partition,
                          const struct partition_offset *start, const struct partition_offset *end)
{
    cli_result_add(
        result, json_pack("{s:o, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o}", "topic", cli_json_text(topic),
                          "partition", (int)partition->partition_index, "leader", (int)partition->leader_id,
                          "leaderEpoch", (int)partition->leader_epoch, "replicas",
                          id_list(partition->replica_nodes.items, partition->replica_nodes.count), "isr",
                          id_list(partition->isr_nodes.items, partition->isr_nodes.count), "offline",
                          id_list(partition->offline_replicas.items, partition->offline_replicas.count),
                          "start", offset_of(start), "end", offset_of(end)));
}

static bool is_well(const partition_metadata *partition)
{
    return partition->leader_id >= 0 && partition->offline_replicas.count == 0 &&
           partition->isr_nodes.count >= partition->replica_nodes.count;
}

int cli_topic_describe(struct cli *cli)
{
    static const struct cli_column columns[] = {{"TOPIC", "topic"},       {"PARTITION", "partition"},
                                                {"LEADER", "leader"},     {"EPOCH", "leaderEpoch"},
                                                {"REPLICAS", "replicas"}, {"ISR", "isr"},
                                                {"OFFLINE", "offline"},   {"START", "start"},
                                                {"END", "end"},           {0}};
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status != EXIT_OK) return status;
    const struct metadata_response *metadata = NULL;
    struct offsets offsets = {0};
    enum error err =
        admin_metadata(admin, (const char *const *)cli->argv, cli->argc ? cli->argc : -1, &metadata);
    if (err == OK) err = ask_offsets(admin, metadata, &offsets);
    if (err != OK) {
        admin_close(&admin);
        return admin_exit(err);
    }
    struct cli_result result;
    cli_result_begin(&result, cli, "TopicDescribe");
    bool all = !cli_flag(cli, "trouble");
    size_t at = 0;
    for (int32_t i = 0; i < metadata->topics.count; i++) {
        const topic_metadata *topic = &metadata->topics.items[i];
        if (topic->error_code != 0) {
            char name[256];
            slice_text(topic->name, name, sizeof name);
            cli_result_fail(&result, name, error_from_kafka(topic->error_code), SLICE_NULL);
        }
        for (int32_t p = 0; p < topic->partitions.count; p++, at++) {
            const partition_metadata *partition = &topic->partitions.items[p];
            if (all || !is_well(partition))
                add_partition(&result, topic->name, partition, &offsets.starts[at], &offsets.ends[at]);
        }
    }
    status = cli_result_end(&result, columns, all ? "no topics" : "all is well");
    admin_close(&admin);
    return status;
}

/* -c KEY=VALUE and the short forms, as configs of the request. False after saying what is wrong. */
static bool read_configs(const struct cli *cli, struct arena *arena,
                         struct create_topics_request_creatable_topic_config **configs, int32_t *count)
{
    size_t wanted = 2;
    while (cli_text_at(cli, "config", wanted - 2)) wanted++;
    struct create_topics_request_creatable_topic_config *made = arena_zalloc(arena, wanted * sizeof *made);
    if (!made) return false;
    int32_t n = 0;
    const char *text;
    for (size_t i = 0; (text = cli_text_at(cli, "config", i)); i++) {
        const char *equals = strchr(text, '=');
        if (!equals || equals == text) {
            cli_complain("--config %s: not KEY=VALUE", text);
            return false;
        }
        made[n].name = (struct slice){(const uint8_t *)text, (size_t)(equals - text)};
        made[n++].value = slice_of(equals + 1);
    }
    int64_t number = 0;
    if ((text = cli_text(cli, "retention"))) {
        if (strcmp(text, "-1") != 0 && !cli_parse_duration_ms(text, &number)) {
            cli_complain("--retention %s: not a duration; 7d, 12h, 30m", text);
            return false;
        }
        made[n].name = SLICE("retention.ms");
        made[n++].value = arena_printf(arena, "%lld", strcmp(text, "-1") == 0 ? -1LL : (long long)number);
    }
    if ((text = cli_text(cli, "segment"))) {
        if (!cli_parse_bytes(text, &number)) {
            cli_complain("--segment %s: not a size; 512MiB, 1G", text);
            return false;
        }
        made[n].name = SLICE("segment.bytes");
        made[n++].value = arena_printf(arena, "%lld", (long long)number);
    }
    *configs = made;
    *count = n;
    return true;
}

/* --assignment for each of the topics. False after saying what is wrong. */
static bool read_assignment(const struct cli *cli, struct arena *arena, struct create_topics_request *request)
{
    const char *text = cli_text(cli, "assignment"), *why = NULL;
    if (!text) return true;
    struct ids *replicas = NULL;
    int32_t count = 0;
    enum error err = assignment_parse(text, arena, &replicas, &count, &why);
    if (err == OK &&
        (cli_text(cli, "partitions") || cli_text(cli, "replicas") || cli_text(cli, "replication-factor"))) {
        why = "it says how many partitions and replicas there are, so no other option does";
        err = ERR_CONFIG;
    }
    if (err == ERR_CONFIG) cli_complain("--assignment %s: %s", text, why);
    struct create_topics_request_creatable_replica_assignment *made =
        err == OK ? arena_zalloc(arena, (size_t)count * sizeof *made) : NULL;
    for (int32_t p = 0; made && p < count; p++) {
        made[p].partition_index = p;
        made[p].broker_ids.items = (int32_t *)replicas[p].items;
        made[p].broker_ids.count = replicas[p].count;
    }
    for (int32_t t = 0; made && t < request->topics.count; t++) {
        request->topics.items[t].assignments.items = made;
        request->topics.items[t].assignments.count = count;
    }
    return made != NULL;
}

static int16_t create_code(const void *answer)
{
    const struct create_topics_response *response = answer;
    return response->topics.count > 0 ? response->topics.items[0].error_code : 0;
}

static int create(struct cli *cli, struct admin *admin)
{
    static const struct cli_column columns[] = {
        {"TOPIC", "name"}, {"PARTITIONS", "partitions"}, {"REPLICAS", "replication"}, {"ID", "id"}, {0}};
    int64_t partitions = -1, replicas = -1;
    struct create_topics_request request;
    message_init(&create_topics_request_type, &request);
    struct create_topics_request_creatable_topic_config *configs = NULL;
    int32_t config_count = 0;
    if (!cli_number(cli, "partitions", 1, INT32_MAX, &partitions) ||
        !cli_number(cli, "replicas", 1, INT16_MAX, &replicas) ||
        !cli_number(cli, "replication-factor", 1, INT16_MAX, &replicas) ||
        !read_configs(cli, admin_arena(admin), &configs, &config_count)) {
        return EXIT_USAGE;
    }
    request.timeout_ms = WAIT_MS;
    request.validate_only = cli_flag(cli, "dry-run");
    request.topics.count = cli->argc;
    request.topics.items = arena_zalloc(admin_arena(admin), (size_t)cli->argc * sizeof *request.topics.items);
    if (!request.topics.items) return EXIT_ITEM_FAILED;
    for (int i = 0; i < cli->argc; i++) {
        request.topics.items[i].name = slice_of(cli->argv[i]);
        request.topics.items[i].num_partitions = (int32_t)partitions;
        request.topics.items[i].replication_factor = (int16_t)replicas;
        request.topics.items[i].configs.items = configs;
        request.topics.items[i].configs.count = config_count;
    }
    if (!read_assignment(cli, admin_arena(admin), &request)) return EXIT_USAGE;
    const void *answer = NULL;
    enum error err = admin_ask_controller(admin, CREATE_TOPICS, -1, &request, create_code, &answer);
    if (err != OK) {
        cli_complain("CreateTopics: %s", error_text(err));
        return admin_exit(err);
    }
    const struct create_topics_response *response = answer;
    struct cli_result result;
    cli_result_begin(&result, cli, "TopicCreate");
    for (int32_t i = 0; i < response->topics.count; i++) {
        const struct create_topics_response_creatable_topic_result *topic = &response->topics.items[i];
        enum error failure = error_from_kafka(topic->error_code);
        if (failure == ERR_TOPIC_ALREADY_EXISTS && cli_flag(cli, "if-not-exists")) continue;
        char name[256], id[UUID_TEXT_SIZE];
        slice_text(topic->name, name, sizeof name);
        uuid_format(&topic->topic_id, id);
        if (failure != OK) {
            cli_result_fail(&result, name, failure, topic->error_message);
        } else {
            cli_result_add(&result, json_pack("{s:s, s:s, s:i, s:i, s:n}", "name", name, "id", id,
                                              "partitions", (int)topic->num_partitions, "replication",
                                              (int)topic->replication_factor, "error"));
        }
    }
    return cli_result_end(&result, columns, NULL);
}

int cli_topic_create(struct cli *cli)
{
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = create(cli, admin);
    admin_close(&admin);
    return status;
}

static int16_t delete_code(const void *answer)
{
    const struct delete_topics_response *response = answer;
    return response->responses.count > 0 ? response->responses.items[0].error_code : 0;
}

static int delete_topics(struct cli *cli, struct admin *admin)
{
    static const struct cli_column columns[] = {{"DELETED", "name"}, {0}};
    struct delete_topics_request request;
    message_init(&delete_topics_request_type, &request);
    request.timeout_ms = WAIT_MS;
    struct slice *names = arena_zalloc(admin_arena(admin), (size_t)cli->argc * sizeof *names);
    if (!names) return EXIT_ITEM_FAILED;
    for (int i = 0; i < cli->argc; i++) names[i] = slice_of(cli->argv[i]);
    request.topic_names.items = names;
    request.topic_names.count = cli->argc;
    const void *answer = NULL;
    /* Version 5 takes names and answers with messages; 6 is for deleting by id. */
    enum error err = admin_ask_controller(admin, DELETE_TOPICS, 5, &request, delete_code, &answer);
    if (err != OK) {
        cli_complain("DeleteTopics: %s", error_text(err));
        return admin_exit(err);
    }
    const struct delete_topics_response *response = answer;
    struct cli_result result;
    cli_result_begin(&result, cli, "TopicDelete");
    for (int32_t i = 0; i < response->responses.count; i++) {
        const struct delete_topics_response_deletable_topic_result *topic = &response->responses.items[i];
        char name[256];
        slice_text(topic->name, name, sizeof name);
        if (topic->error_code != 0) {
            cli_result_fail(&result, name, error_from_kafka(topic->error_code), topic->error_message);
        } else {
            cli_result_add(&result, json_pack("{s:s}", "name", name));
        }
    }
    return cli_result_end(&result, columns, NULL);
}

int cli_topic_delete(struct cli *cli)
{
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK &&
        !cli_confirm(cli, "delete %d topic%s and all their records?", cli->argc, cli->argc > 1 ? "s" : "")) {
        status = EXIT_USAGE;
    }
    if (status == EXIT_OK) status = delete_topics(cli, admin);
    admin_close(&admin);
    return status;
}

static int16_t grow_code(const void *answer)
{
    const struct create_partitions_response *response = answer;
    return response->results.count > 0 ? response->results.items[0].error_code : 0;
}

static int grow(struct cli *cli, struct admin *admin)
{
    static const struct cli_column columns[] = {{"TOPIC", "name"}, {"PARTITIONS", "partitions"}, {0}};
    int64_t partitions = 0;
    if (!cli_number(cli, "partitions", 1, INT32_MAX, &partitions)) return EXIT_USAGE;
    if (partitions == 0) {
        cli_complain("say how many partitions there shall be: --partitions N");
        return EXIT_USAGE;
    }
    struct create_partitions_request request;
    message_init(&create_partitions_request_type, &request);
    struct create_partitions_request_create_partitions_topic topic = {
        .name = slice_of(cli->argv[0]), .count = (int32_t)partitions, .assignments = {NULL, -1}};
    request.topics.items = &topic;
    request.topics.count = 1;
    request.timeout_ms = WAIT_MS;
    request.validate_only = cli_flag(cli, "dry-run");
    const void *answer = NULL;
    enum error err = admin_ask_controller(admin, CREATE_PARTITIONS, -1, &request, grow_code, &answer);
    if (err != OK) {
        cli_complain("CreatePartitions: %s", error_text(err));
        return admin_exit(err);
    }
    const struct create_partitions_response *response = answer;
    struct cli_result result;
    cli_result_begin(&result, cli, "TopicGrow");
    for (int32_t i = 0; i < response->results.count; i++) {
        enum error failure = error_from_kafka(response->results.items[i].error_code);
        if (failure != OK) {
            cli_result_fail(&result, cli->argv[0], failure, response->results.items[i].error_message);
        } else {
            cli_result_add(&result,
                           json_pack("{s:s, s:i}", "name", cli->argv[0], "partitions", (int)partitions));
        }
    }
    return cli_result_end(&result, columns, NULL);
}

int cli_topic_grow(struct cli *cli)
{
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = grow(cli, admin);
    admin_close(&admin);
    return status;
}

int cli_topic_alter(struct cli *cli)
{
    struct alter_change changes[ALTER_MAX];
    size_t count = 0;
    const char *text;
    for (size_t i = 0; (text = cli_text_at(cli, "config", i)) && count < ALTER_MAX; i++) {
        if (!alter_parse_set(text, &changes[count++])) return EXIT_USAGE;
    }
    for (size_t i = 0; (text = cli_text_at(cli, "unset", i)) && count < ALTER_MAX; i++) {
        changes[count++] = (struct alter_change){slice_of(text), SLICE_NULL};
    }
    bool is_growing = cli_flag(cli, "partitions");
    if (count == 0 && !is_growing) {
        cli_complain("nothing to change: --config KEY=VALUE, --unset KEY or --partitions N");
        return EXIT_USAGE;
    }
    if (count > 0 && (is_growing || cli_flag(cli, "dry-run"))) {
        cli_complain("--partitions and --dry-run go alone, not with --config and --unset");
        return EXIT_USAGE;
    }
    if (is_growing) return cli_topic_grow(cli);
    return alter_configs(cli, ALTER_TOPIC, cli->argv[0], changes, count);
}
