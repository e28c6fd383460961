/* alter_configs.c: changes of configurations: AlterConfigs, which replaces all overrides of a resource, and
 * IncrementalAlterConfigs, which sets, deletes, appends to and subtracts from single ones (KIP-339).
 *
 * Judged here: who may, and what a request may say at all. What the whole new set of a resource's overrides comes to is judged
 * and stored where the controller's part keeps configurations (controller/controller.h).
 * Source: facts/cluster.md 1.4, 3.8, facts/api-versions.md 2.1. */
#include "base/twice.h"
#include "broker/admin.h"
#include "broker/broker_loggers.h"
#include "broker/handlers.h"
#include "wire/messages.h"

typedef struct alter_configs_request_alter_configs_resource resource;
typedef struct alter_configs_response_alter_configs_resource_response resource_answer;
typedef struct incremental_alter_configs_request_alter_configs_resource incremental_resource;
typedef struct incremental_alter_configs_response_alter_configs_resource_response incremental_answer;

enum { OPERATION_SET, OPERATION_DELETE, OPERATION_APPEND, OPERATION_SUBTRACT };

/* One resource of either request. */
struct change {
    int8_t type;
    struct slice name;
    const resource *replaced;           /* AlterConfigs */
    const incremental_resource *edited; /* IncrementalAlterConfigs */
    struct admin_verdict verdict;
};

struct alter {
    struct change *changes;
    size_t count;
    bool validate_only;
    size_t *places; /* of what went to the controller among the changes */
    union {
        struct alter_configs_request replaced;
        struct incremental_alter_configs_request edited;
    } passed;
    union {
        struct alter_configs_response replaced;
        struct incremental_alter_configs_response edited;
    } answer;
};

static size_t key_count(const struct change *change)
{
    int32_t count = change->replaced ? change->replaced->configs.count : change->edited->configs.count;
    return count > 0 ? (size_t)count : 0;
}

static void key_at(const struct change *change, size_t i, struct slice *key, struct slice *value,
                   int8_t *operation)
{
    *key = change->replaced ? change->replaced->configs.items[i].name : change->edited->configs.items[i].name;
    *value =
        change->replaced ? change->replaced->configs.items[i].value : change->edited->configs.items[i].value;
    *operation = change->replaced ? OPERATION_SET : change->edited->configs.items[i].config_operation;
}

/* --- judging --- */

static struct admin_verdict refuse_key(struct request *request, enum error err, struct slice key,
                                       const char *why)
{
    return (struct admin_verdict){err, arena_printf(&request->arena, "%.*s: %s", SLICE_ARG(key), why)};
}

static struct admin_verdict judge_keys(struct request *request, const struct change *change)
{
    size_t count = key_count(change);
    struct slice *keys = request_alloc(request, count, sizeof *keys);
    if (!keys) return admin_refuse(ERR_UNKNOWN_SERVER_ERROR, error_text(ERR_NOMEM));
    for (size_t i = 0; i < count; i++) {
        struct slice value;
        int8_t operation;
        key_at(change, i, &keys[i], &value, &operation);
        if (operation < OPERATION_SET || operation > OPERATION_SUBTRACT) {
            return refuse_key(
                request, ERR_INVALID_REQUEST, keys[i],
                "not an operation; 0 to set, 1 to delete, 2 to append or 3 to subtract would be right");
        }
        if (operation != OPERATION_DELETE && !value.data) {
            return refuse_key(request, ERR_INVALID_REQUEST, keys[i], "no value");
        }
    }
    const bool *is_twice = find_twice(&request->arena, keys, count);
    if (!is_twice) return admin_refuse(ERR_UNKNOWN_SERVER_ERROR, error_text(ERR_NOMEM));
    for (size_t i = 0; i < count; i++) {
        if (is_twice[i]) return refuse_key(request, ERR_INVALID_REQUEST, keys[i], "named more than once");
    }
    return ADMIN_OK;
}

static struct admin_verdict alter_loggers(struct request *request, const struct change *change,
                                          bool validate_only)
{
    if (change->replaced) {
        return admin_refuse(ERR_INVALID_REQUEST,
                            "loggers are altered one by one, by IncrementalAlterConfigs");
    }
    /* All or nothing: first look, then do. */
    for (int round = 0; round < (validate_only ? 1 : 2); round++) {
        for (size_t i = 0; i < key_count(change); i++) {
            struct slice logger, level;
            int8_t operation;
            key_at(change, i, &logger, &level, &operation);
            const char *why = NULL;
            enum error err = broker_logger_alter(logger, operation, level, round == 0, &why);
            if (err != OK) return refuse_key(request, err, logger, why);
        }
    }
    return ADMIN_OK;
}

static struct admin_verdict judge(struct request *request, const struct change *change, bool is_twice)
{
    if (is_twice) return admin_refuse(ERR_INVALID_REQUEST, "the request names this resource more than once");
    struct admin_verdict verdict =
        admin_check_resource(request, ACL_ALTER_CONFIGS, change->type, change->name);
    if (verdict.err != OK && verdict.err != ERR_UNKNOWN_TOPIC_OR_PARTITION) return verdict;
    struct admin_verdict keys = judge_keys(request, change);
    return keys.err != OK ? keys : verdict;
}

/* --- the answer --- */

static void answer_replaced(struct request *request, const struct alter *alter)
{
    struct alter_configs_response response;
    alter_configs_response_init(&response);
    response.responses.items = request_alloc(request, alter->count, sizeof *response.responses.items);
    if (!response.responses.items) {
        request_close(request);
        return;
    }
    response.responses.count = (int32_t)alter->count;
    for (size_t i = 0; i < alter->count; i++) {
        const struct change *change = &alter->changes[i];
        response.responses.items[i] = (resource_answer){.error_code = error_kafka_code(change->verdict.err),
                                                        .error_message = change->verdict.message,
                                                        .resource_type = change->type,
                                                        .resource_name = change->name};
    }
    request_answer(request, &response);
}

static void answer_edited(struct request *request, const struct alter *alter)
{
    struct incremental_alter_configs_response response;
    incremental_alter_configs_response_init(&response);
    response.responses.items = request_alloc(request, alter->count, sizeof *response.responses.items);
    if (!response.responses.items) {
        request_close(request);
        return;
    }
    response.responses.count = (int32_t)alter->count;
    for (size_t i = 0; i < alter->count; i++) {
        const struct change *change = &alter->changes[i];
        response.responses.items[i] =
            (incremental_answer){.error_code = error_kafka_code(change->verdict.err),
                                 .error_message = change->verdict.message,
                                 .resource_type = change->type,
                                 .resource_name = change->name};
    }
    request_answer(request, &response);
}

static void replaced(struct controller_call *call)
{
    struct request *request = call->context;
    struct alter *alter = request->work;
    for (int32_t i = 0; i < alter->passed.replaced.resources.count; i++) {
        struct change *change = &alter->changes[alter->places[i]];
        const resource_answer *answer = call->err == OK ? &alter->answer.replaced.responses.items[i] : NULL;
        change->verdict =
            !answer ? admin_call_verdict(call)
                    : (struct admin_verdict){error_from_kafka(answer->error_code), answer->error_message};
    }
    answer_replaced(request, alter);
}

static void edited(struct controller_call *call)
{
    struct request *request = call->context;
    struct alter *alter = request->work;
    for (int32_t i = 0; i < alter->passed.edited.resources.count; i++) {
        struct change *change = &alter->changes[alter->places[i]];
        const incremental_answer *answer = call->err == OK ? &alter->answer.edited.responses.items[i] : NULL;
        change->verdict =
            !answer ? admin_call_verdict(call)
                    : (struct admin_verdict){error_from_kafka(answer->error_code), answer->error_message};
    }
    answer_edited(request, alter);
}

/* --- the request --- */

static struct alter *alter_new(struct request *request, int32_t count, bool validate_only)
{
    size_t n = count > 0 ? (size_t)count : 0;
    struct alter *alter = request_alloc(request, 1, sizeof *alter);
    if (!alter) return NULL;
    alter->changes = request_alloc(request, n, sizeof *alter->changes);
    alter->places = request_alloc(request, n, sizeof *alter->places);
    if (!alter->changes || !alter->places) return NULL;
    alter->count = n;
    alter->validate_only = validate_only;
    request->work = alter;
    return alter;
}

/* Judges all; loggers are altered at once. How many are for the controller, their places filled in; -1 without memory. */
static ptrdiff_t alter_judge(struct request *request, struct alter *alter)
{
    struct slice *keys = request_alloc(request, alter->count, sizeof *keys);
    if (!keys) return -1;
    for (size_t i = 0; i < alter->count; i++) {
        keys[i] = admin_resource_key(&request->arena, alter->changes[i].type, alter->changes[i].name);
        if (!keys[i].data) return -1;
    }
    const bool *is_twice = find_twice(&request->arena, keys, alter->count);
    if (!is_twice) return -1;
    size_t passed = 0;
    for (size_t i = 0; i < alter->count; i++) {
        struct change *change = &alter->changes[i];
        change->verdict = judge(request, change, is_twice[i]);
        if (change->verdict.err != OK) continue;
        if (change->type == RESOURCE_BROKER_LOGGER) {
            change->verdict = alter_loggers(request, change, alter->validate_only);
        } else {
            alter->places[passed++] = i;
        }
    }
    return (ptrdiff_t)passed;
}

void handle_alter_configs(struct request *request, void *body)
{
    const struct alter_configs_request *asked = body;
    struct alter *alter = alter_new(request, asked->resources.count, asked->validate_only);
    for (size_t i = 0; alter && i < alter->count; i++) {
        const resource *item = &asked->resources.items[i];
        alter->changes[i] =
            (struct change){.type = item->resource_type, .name = item->resource_name, .replaced = item};
    }
    ptrdiff_t count = alter ? alter_judge(request, alter) : -1;
    resource *passed = count >= 0 ? request_alloc(request, (size_t)count, sizeof *passed) : NULL;
    if (!passed) {
        request_close(request);
        return;
    }
    for (ptrdiff_t i = 0; i < count; i++) passed[i] = *alter->changes[alter->places[i]].replaced;
    alter->passed.replaced = *asked;
    alter->passed.replaced.resources.items = passed;
    alter->passed.replaced.resources.count = (int32_t)count;
    if (count == 0) {
        answer_replaced(request, alter);
    } else if (!admin_submit(request, request->version, &alter->passed.replaced, &alter->answer.replaced,
                             replaced)) {
        request_close(request);
    }
}

void handle_incremental_alter_configs(struct request *request, void *body)
{
    const struct incremental_alter_configs_request *asked = body;
    struct alter *alter = alter_new(request, asked->resources.count, asked->validate_only);
    for (size_t i = 0; alter && i < alter->count; i++) {
        const incremental_resource *item = &asked->resources.items[i];
        alter->changes[i] =
            (struct change){.type = item->resource_type, .name = item->resource_name, .edited = item};
    }
    ptrdiff_t count = alter ? alter_judge(request, alter) : -1;
    incremental_resource *passed = count >= 0 ? request_alloc(request, (size_t)count, sizeof *passed) : NULL;
    if (!passed) {
        request_close(request);
        return;
    }
    for (ptrdiff_t i = 0; i < count; i++) passed[i] = *alter->changes[alter->places[i]].edited;
    alter->passed.edited = *asked;
    alter->passed.edited.resources.items = passed;
    alter->passed.edited.resources.count = (int32_t)count;
    if (count == 0) {
        answer_edited(request, alter);
    } else if (!admin_submit(request, request->version, &alter->passed.edited, &alter->answer.edited,
                             edited)) {
        request_close(request);
    }
}
