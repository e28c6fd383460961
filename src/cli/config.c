/* config.c: odradek config get|set|unset, of topics and brokers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/admin.h"
#include "cli/alter.h"

enum { DESCRIBE_CONFIGS = 32, INCREMENTAL_ALTER_CONFIGS = 44, OPERATION_SET = 0, OPERATION_DELETE = 1 };

/* Which resource the options name. False after saying what is wrong. */
static bool resource_of(const struct cli *cli, int8_t *type, const char **name)
{
    const char *topic = cli_text(cli, "topic"), *broker = cli_text(cli, "broker");
    int given = (topic != NULL) + (broker != NULL) + cli_flag(cli, "brokers");
    if (given != 1) {
        cli_complain("say of what: --topic NAME, --broker ID or --brokers");
        return false;
    }
    *type = topic ? ALTER_TOPIC : ALTER_BROKER;
    *name = topic ? topic : broker ? broker : "";
    return true;
}

static int32_t node_for(int8_t type, const char *name)
{
    return type == ALTER_BROKER && name[0] ? atoi(name) : NODE_ANY;
}

bool alter_parse_set(const char *text, struct alter_change *change)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        cli_complain("%s: not KEY=VALUE", text);
        return false;
    }
    *change = (struct alter_change){{(const uint8_t *)text, (size_t)(equals - text)}, slice_of(equals + 1)};
    return true;
}

static int alter(struct cli *cli, struct admin *admin, int8_t type, const char *name,
                 const struct alter_change *changes, size_t count)
{
    static const struct cli_column columns[] = {{"KEY", "key"}, {"VALUE", "value"}, {0}};
    struct incremental_alter_configs_request request;
    message_init(&incremental_alter_configs_request_type, &request);
    struct incremental_alter_configs_request_alter_configs_resource resource = {
        .resource_type = type, .resource_name = slice_of(name)};
    resource.configs.count = (int32_t)count;
    resource.configs.items = arena_zalloc(admin_arena(admin), count * sizeof *resource.configs.items);
    if (!resource.configs.items) return EXIT_ITEM_FAILED;
    for (size_t i = 0; i < count; i++) {
        resource.configs.items[i].name = changes[i].key;
        resource.configs.items[i].value = changes[i].value;
        resource.configs.items[i].config_operation = changes[i].value.data ? OPERATION_SET : OPERATION_DELETE;
    }
    request.resources.items = &resource;
    request.resources.count = 1;
    const void *answer = NULL;
    enum error err =
        admin_ask_loud(admin, node_for(type, name), INCREMENTAL_ALTER_CONFIGS, &request, &answer);
    if (err != OK) return admin_exit(err);
    const struct incremental_alter_configs_response *response = answer;
    struct cli_result result;
    cli_result_begin(&result, cli, "ConfigAlter");
    for (int32_t i = 0; i < response->responses.count; i++) {
        enum error failure = error_from_kafka(response->responses.items[i].error_code);
        if (failure != OK) {
            cli_result_fail(&result, name[0] ? name : "brokers", failure,
                            response->responses.items[i].error_message);
            continue;
        }
        for (size_t c = 0; c < count; c++) {
            cli_result_add(&result, json_pack("{s:o, s:o}", "key", cli_json_text(changes[c].key), "value",
                                              cli_json_text(changes[c].value)));
        }
    }
    return cli_result_end(&result, columns, NULL);
}

int alter_configs(struct cli *cli, int8_t type, const char *resource, const struct alter_change *changes,
                  size_t count)
{
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = alter(cli, admin, type, resource, changes, count);
    admin_close(&admin);
    return status;
}

static int change(struct cli *cli, bool is_set)
{
    int8_t type;
    const char *name;
    if (!resource_of(cli, &type, &name)) return EXIT_USAGE;
    struct alter_change changes[ALTER_MAX];
    if (cli->argc > ALTER_MAX) {
        cli_complain("at most %d keys at once", ALTER_MAX);
        return EXIT_USAGE;
    }
    for (int i = 0; i < cli->argc; i++) {
        changes[i] = (struct alter_change){slice_of(cli->argv[i]), SLICE_NULL};
        if (is_set && !alter_parse_set(cli->argv[i], &changes[i])) return EXIT_USAGE;
    }
    return alter_configs(cli, type, name, changes, (size_t)cli->argc);
}

int cli_config_set(struct cli *cli)
{
    return change(cli, true);
}

int cli_config_unset(struct cli *cli)
{
    return change(cli, false);
}

static const char *source_name(int8_t source)
{
    static const char *const names[] = {"unknown", "topic", "broker", "brokers", "file", "default"};
    return source >= 0 && source < 6 ? names[source] : "other";
}

static int get(struct cli *cli, struct admin *admin, int8_t type, const char *name)
{
    static const struct cli_column columns[] = {
        {"KEY", "key"}, {"VALUE", "value"}, {"SOURCE", "source"}, {0}};
    struct describe_configs_request request;
    message_init(&describe_configs_request_type, &request);
    struct describe_configs_request_describe_configs_resource resource = {.resource_type = type,
                                                                          .resource_name = slice_of(name)};
    resource.configuration_keys.count = cli->argc ? cli->argc : -1;
    resource.configuration_keys.items =
        arena_zalloc(admin_arena(admin), ((size_t)cli->argc + 1) * sizeof(struct slice));
    if (!resource.configuration_keys.items) return EXIT_ITEM_FAILED;
    for (int i = 0; i < cli->argc; i++) resource.configuration_keys.items[i] = slice_of(cli->argv[i]);
    request.resources.items = &resource;
    request.resources.count = 1;
    const void *answer = NULL;
    enum error err = admin_ask_loud(admin, node_for(type, name), DESCRIBE_CONFIGS, &request, &answer);
    if (err != OK) return admin_exit(err);
    const struct describe_configs_response *response = answer;
    struct cli_result result;
    cli_result_begin(&result, cli, "ConfigGet");
    bool wants_all = cli_flag(cli, "all") || cli->argc > 0;
    for (int32_t i = 0; i < response->results.count; i++) {
        enum error failure = error_from_kafka(response->results.items[i].error_code);
        if (failure != OK) {
            cli_result_fail(&result, name, failure, response->results.items[i].error_message);
            continue;
        }
        for (int32_t c = 0; c < response->results.items[i].configs.count; c++) {
            const struct describe_configs_response_describe_configs_resource_result *config =
                &response->results.items[i].configs.items[c];
            if (!wants_all && config->config_source == 5) continue;
            cli_result_add(&result,
                           json_pack("{s:o, s:o, s:s, s:b}", "key", cli_json_text(config->name), "value",
                                     cli_json_text(config->value), "source",
                                     source_name(config->config_source), "readOnly", config->read_only));
        }
    }
    return cli_result_end(&result, columns, "everything is at its default; --all shows the defaults");
}

int cli_config_get(struct cli *cli)
{
    int8_t type;
    const char *name;
    if (!resource_of(cli, &type, &name)) return EXIT_USAGE;
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status == EXIT_OK) status = get(cli, admin, type, name);
    admin_close(&admin);
    return status;
}
