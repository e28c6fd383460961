/* admin_configs.c: AlterConfigs and IncrementalAlterConfigs (facts/cluster.md 1.4, 1.5).
 *
 *   read /config/TYPE/NAME and /controller -> the new whole set, checked
 *   -> one multi: check /controller, set or create the entity, create a change notice -> wait for our own image
 *
 * The last writer wins: there is no compare on the entity. */
#include <stdio.h>

#include "controller/admin.h"

enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, SHOWN_WITHIN_MS = 5000, MAX_ENTRIES = 1000 };
enum { OP_SET, OP_DELETE, OP_APPEND, OP_SUBTRACT };

struct asked_config {
    struct slice key, value;
    int8_t op;
};

struct alteration {
    enum config_type type;
    struct slice entity; /* "<default>" for all brokers */
    struct asked_config *asked;
    size_t asked_count;
    bool is_incremental;
    int32_t owner_version; /* of /controller */
    bool has_owner, has_node;
    struct config_entry *entries; /* the new set */
    size_t entry_count;
};

static bool is_config_shown(const struct admin_call *admin, struct admin_item *item)
{
    const struct alteration *alteration = item->extra;
    const struct image_config *config =
        image_config(metadata_image(admin->c->metadata), alteration->type, alteration->entity);
    if (!config || (size_t)config->entry_count != alteration->entry_count) return false;
    for (size_t i = 0; i < alteration->entry_count; i++)
        if (!slice_equal(image_config_value(config, alteration->entries[i].key),
                         alteration->entries[i].value))
            return false;
    return true;
}

static enum error answer_alter(struct admin_call *admin)
{
    struct alter_configs_response *response = admin->call->response;
    bool is_failed = false;
    alter_configs_response_init(response);
    struct alter_configs_response_alter_configs_resource_response *results =
        arena_zalloc(admin->call->arena, (admin->count ? admin->count : 1) * sizeof *results);
    if (!results) return ERR_NOMEM;
    for (size_t i = 0; i < admin->count; i++) {
        results[i].resource_name = admin->items[i].name;
        results[i].resource_type = (int8_t)admin->items[i].replication;
        results[i].error_code = error_kafka_code(admin->items[i].err);
        results[i].error_message = item_message(admin, &admin->items[i], &is_failed);
    }
    response->responses.items = results;
    response->responses.count = (int32_t)admin->count;
    return is_failed ? ERR_NOMEM : OK;
}

static enum error answer_incremental(struct admin_call *admin)
{
    struct incremental_alter_configs_response *response = admin->call->response;
    bool is_failed = false;
    incremental_alter_configs_response_init(response);
    struct incremental_alter_configs_response_alter_configs_resource_response *results =
        arena_zalloc(admin->call->arena, (admin->count ? admin->count : 1) * sizeof *results);
    if (!results) return ERR_NOMEM;
    for (size_t i = 0; i < admin->count; i++) {
        results[i].resource_name = admin->items[i].name;
        results[i].resource_type = (int8_t)admin->items[i].replication;
        results[i].error_code = error_kafka_code(admin->items[i].err);
        results[i].error_message = item_message(admin, &admin->items[i], &is_failed);
    }
    response->responses.items = results;
    response->responses.count = (int32_t)admin->count;
    return is_failed ? ERR_NOMEM : OK;
}

/* --- the new set --- */

static struct config_entry *entry_of(struct alteration *alteration, struct slice key)
{
    for (size_t i = 0; i < alteration->entry_count; i++)
        if (slice_equal(alteration->entries[i].key, key)) return &alteration->entries[i];
    return NULL;
}

static bool list_has(struct slice list, struct slice wanted)
{
    for (size_t begin = 0; begin <= list.size;) {
        const uint8_t *comma = memchr(list.data + begin, ',', list.size - begin);
        size_t end = comma ? (size_t)(comma - list.data) : list.size;
        if (slice_equal((struct slice){list.data + begin, end - begin}, wanted)) return true;
        begin = end + 1;
    }
    return false;
}

/* Those of `from` that are not in `without`, after `out`. */
static void list_add(struct text *out, struct slice from, struct slice without)
{
    for (size_t begin = 0; from.data && begin <= from.size;) {
        const uint8_t *comma = memchr(from.data + begin, ',', from.size - begin);
        size_t end = comma ? (size_t)(comma - from.data) : from.size;
        struct slice one = {from.data + begin, end - begin};
        begin = end + 1;
        if (one.size == 0 || (without.data && list_has(without, one))) continue;
        if (out->size > 0) text_addc(out, ',');
        text_add(out, one);
    }
}

static void change_list(struct admin_call *admin, struct admin_item *item, const struct asked_config *asked,
                        struct slice *value)
{
    struct alteration *alteration = item->extra;
    const struct controller_rules *rules = &admin->c->options.rules;
    struct slice fallback = SLICE_NULL;
    bool is_list = rules->list_default && rules->list_default(rules->context, alteration->type,
                                                              alteration->entity, asked->key, &fallback);
    if (!is_list) {
        item_fail(item, ERR_INVALID_CONFIG, "%.*s is not a list, it can be set or deleted only",
                  SLICE_ARG(asked->key));
        return;
    }
    const struct config_entry *entry = entry_of(alteration, asked->key);
    struct slice now = entry ? entry->value : fallback;
    struct text list = {0};
    list_add(&list, now, asked->op == OP_SUBTRACT ? asked->value : SLICE_NULL);
    if (asked->op == OP_APPEND) list_add(&list, asked->value, now.data ? now : SLICE(""));
    *value = list.failed ? SLICE_NULL : arena_copy(&admin->arena, text_slice(&list));
    text_free(&list);
    if (!value->data) item_fail(item, ERR_NOMEM, "%s", "");
}

static void change_entry(struct admin_call *admin, struct admin_item *item, const struct asked_config *asked)
{
    struct alteration *alteration = item->extra;
    struct config_entry *entry = entry_of(alteration, asked->key);
    struct slice value = asked->value;
    if (asked->op == OP_DELETE) {
        if (entry) *entry = alteration->entries[--alteration->entry_count];
        return;
    }
    if (asked->op == OP_APPEND || asked->op == OP_SUBTRACT) change_list(admin, item, asked, &value);
    if (item->err != OK) return;
    if (entry)
        entry->value = value;
    else
        alteration->entries[alteration->entry_count++] = (struct config_entry){asked->key, value};
}

/* --- writing --- */

static void alteration_written(struct admin_call *admin, struct admin_item *item,
                               const struct coord_reply *reply)
{
    (void)admin;
    if (reply->err == OK)
        item->is_waiting = true;
    else if (reply->failed_index == 0 && reply->result_count > 0)
        item_fail(item, ERR_NOT_CONTROLLER, "the controller changed meanwhile");
    else
        item_fail(item, reply->err, "the keeper refused it: %s", error_text(reply->err));
}

static struct slice entity_path(struct admin_call *admin, const struct alteration *alteration,
                                const char *prefix)
{
    struct text path = {0};
    text_addf(&path, "%s%s/", prefix, config_type_name(alteration->type));
    entity_name_encode(alteration->entity, &path);
    struct slice copy = path.failed ? SLICE_NULL : arena_copy(&admin->arena, text_slice(&path));
    text_free(&path);
    return copy;
}

static void write_config(struct admin_call *admin, struct admin_item *item)
{
    struct alteration *alteration = item->extra;
    struct text config = {0}, notice = {0};
    struct slice path = entity_path(admin, alteration, "/config/");
    znode_config_encode(alteration->entries, alteration->entry_count, &config);
    struct slice entity = entity_path(admin, alteration, "");
    znode_config_change_encode(entity, &notice);
    struct coord_op ops[] = {
        {.kind = COORD_CHECK, .path = SLICE("/controller"), .version = alteration->owner_version},
        {.kind = alteration->has_node ? COORD_SET : COORD_CREATE,
         .path = path,
         .data = text_slice(&config),
         .version = COORD_ANY_VERSION},
        {.kind = COORD_CREATE,
         .path = SLICE("/config/changes/config_change_"),
         .data = text_slice(&notice),
         .mode = COORD_SEQUENTIAL},
    };
    bool is_whole = path.data && entity.data && !config.failed && !notice.failed;
    if (is_whole)
        admin_multi(admin, item, ops, 3, alteration_written);
    else
        item_fail(item, ERR_NOMEM, "%s", "");
    text_free(&config);
    text_free(&notice);
}

static void config_read(struct admin_call *admin, struct admin_item *item, const struct coord_reply *reply)
{
    struct alteration *alteration = item->extra;
    const struct controller_rules *rules = &admin->c->options.rules;
    const bool *is_validate_only =
        admin->call->api_key == 33
            ? &((const struct alter_configs_request *)admin->call->request)->validate_only
            : &((const struct incremental_alter_configs_request *)admin->call->request)->validate_only;
    struct config_entry *stored = NULL;
    size_t stored_count = 0;
    struct znode_fault fault;
    if (item->err != OK) return; /* the look at /controller failed it */
    if (reply->err != OK && reply->err != ERR_ZK_NO_NODE) {
        item_fail(item, reply->err, "could not read it: %s", error_text(reply->err));
        return;
    }
    alteration->has_node = reply->err == OK;
    if (alteration->has_node && reply->data.data) {
        struct slice path = entity_path(admin, alteration, "/config/");
        enum error err =
            znode_config_decode(path, reply->data, &admin->arena, &stored, &stored_count, &fault);
        if (err == ERR_CORRUPT && alteration->is_incremental)
            item_fail(item, ERR_INVALID_CONFIG, "%s", fault.text);
        if (err == ERR_NOMEM) item_fail(item, ERR_NOMEM, "%s", "");
        if (err != OK) stored_count = 0;
    }
    alteration->entries =
        arena_array(&admin->arena, stored_count + alteration->asked_count + 1, sizeof *alteration->entries);
    if (!alteration->entries) item_fail(item, ERR_NOMEM, "%s", "");
    for (size_t i = 0; item->err == OK && alteration->is_incremental && i < stored_count; i++)
        alteration->entries[alteration->entry_count++] = stored[i];
    for (size_t i = 0; item->err == OK && i < alteration->asked_count; i++)
        change_entry(admin, item, &alteration->asked[i]);
    if (item->err != OK) return;

    struct text message = {0};
    enum error err = rules->check_configs
                         ? rules->check_configs(rules->context, alteration->type, alteration->entity,
                                                alteration->entries, alteration->entry_count, &message)
                         : OK;
    if (err != OK) item_fail(item, err, "%.*s", SLICE_ARG(text_slice(&message)));
    text_free(&message);
    if (item->err == OK && !*is_validate_only) write_config(admin, item);
}

static void owner_read(struct admin_call *admin, struct admin_item *item, const struct coord_reply *reply)
{
    (void)admin;
    struct alteration *alteration = item->extra;
    alteration->owner_version = reply->stat.version;
    if (reply->err != OK) item_fail(item, ERR_NOT_CONTROLLER, "there is no controller at the moment");
}

/* --- what is asked --- */

static void check_resource(struct admin_call *admin, struct admin_item *item)
{
    struct alteration *alteration = item->extra;
    int64_t id;
    if (item->replication == RESOURCE_TOPIC) {
        alteration->type = CONFIG_TOPIC;
        alteration->entity = item->name;
        const char *why;
        if (topic_name_check(item->name, &why) != OK)
            item_fail(item, ERR_INVALID_TOPIC_EXCEPTION, "%s", why);
        else if (!image_topic(metadata_image(admin->c->metadata), item->name))
            item_fail(item, ERR_UNKNOWN_TOPIC_OR_PARTITION, "%s", "");
    } else if (item->replication == RESOURCE_BROKER) {
        alteration->type = CONFIG_BROKER;
        alteration->entity = item->name.size ? item->name : SLICE(CONFIG_DEFAULT_ENTITY);
        if (item->name.size && (!slice_to_int64(item->name, 0, INT32_MAX, &id) || id != admin->c->id))
            item_fail(item, ERR_INVALID_REQUEST,
                      "this is broker %d: ask for its own configs, or with an empty name for all",
                      admin->c->id);
    } else {
        item_fail(item, ERR_INVALID_REQUEST, "resources of type %d have no configs here", item->replication);
    }
}

static void check_asked(struct admin_item *item)
{
    struct alteration *alteration = item->extra;
    if (alteration->asked_count > MAX_ENTRIES) {
        item_fail(item, ERR_INVALID_REQUEST, "at most %d configs can be altered at once", MAX_ENTRIES);
        return;
    }
    for (size_t i = 0; item->err == OK && i < alteration->asked_count; i++) {
        const struct asked_config *asked = &alteration->asked[i];
        if (asked->key.size == 0)
            item_fail(item, ERR_INVALID_REQUEST, "a config has no name");
        else if (asked->op < OP_SET || asked->op > OP_SUBTRACT)
            item_fail(item, ERR_INVALID_REQUEST, "%d is not an operation on configs", asked->op);
        else if (asked->op != OP_DELETE && !asked->value.data)
            item_fail(item, ERR_INVALID_REQUEST, "config %.*s has no value", SLICE_ARG(asked->key));
        for (size_t j = 0; j < i; j++)
            if (slice_equal(alteration->asked[j].key, asked->key))
                item_fail(item, ERR_INVALID_REQUEST, "config %.*s is named more than once",
                          SLICE_ARG(asked->key));
    }
}

static bool take_asked(struct admin_call *admin, struct alteration *alteration, size_t i)
{
    if (admin->call->api_key == 44) {
        const struct incremental_alter_configs_request *request = admin->call->request;
        const struct incremental_alter_configs_request_alter_configs_resource *resource =
            &request->resources.items[i];
        admin->items[i].name = resource->resource_name;
        admin->items[i].replication = resource->resource_type;
        alteration->is_incremental = true;
        alteration->asked_count = resource->configs.count > 0 ? (size_t)resource->configs.count : 0;
        alteration->asked =
            arena_array(&admin->arena, alteration->asked_count + 1, sizeof *alteration->asked);
        for (size_t k = 0; alteration->asked && k < alteration->asked_count; k++)
            alteration->asked[k] =
                (struct asked_config){resource->configs.items[k].name, resource->configs.items[k].value,
                                      resource->configs.items[k].config_operation};
    } else {
        const struct alter_configs_request *request = admin->call->request;
        const struct alter_configs_request_alter_configs_resource *resource = &request->resources.items[i];
        admin->items[i].name = resource->resource_name;
        admin->items[i].replication = resource->resource_type;
        alteration->asked_count = resource->configs.count > 0 ? (size_t)resource->configs.count : 0;
        alteration->asked =
            arena_array(&admin->arena, alteration->asked_count + 1, sizeof *alteration->asked);
        for (size_t k = 0; alteration->asked && k < alteration->asked_count; k++)
            alteration->asked[k] = (struct asked_config){resource->configs.items[k].name,
                                                         resource->configs.items[k].value, OP_SET};
    }
    return alteration->asked != NULL;
}

void call_alter_configs(struct controller *c, struct controller_call *call)
{
    bool is_incremental = call->api_key == 44;
    int32_t said = is_incremental
                       ? ((const struct incremental_alter_configs_request *)call->request)->resources.count
                       : ((const struct alter_configs_request *)call->request)->resources.count;
    size_t count = said > 0 ? (size_t)said : 0;
    struct admin_call *admin =
        admin_begin(c, call, count, is_config_shown, is_incremental ? answer_incremental : answer_alter);
    if (!admin) return;
    admin->is_late_ok = true;
    for (size_t i = 0; i < count; i++) {
        struct admin_item *item = &admin->items[i];
        struct alteration *alteration = arena_zalloc(&admin->arena, sizeof *alteration);
        item->extra = alteration;
        if (!alteration || !take_asked(admin, alteration, i)) item_fail(item, ERR_NOMEM, "%s", "");
    }
    admin_refuse_twice(admin, "the request names this resource more than once");
    for (size_t i = 0; i < count; i++) {
        struct admin_item *item = &admin->items[i];
        struct alteration *alteration = item->extra;
        if (item->err == OK) check_resource(admin, item);
        if (item->err == OK) check_asked(item);
        if (item->err != OK) continue;
        struct slice path = entity_path(admin, alteration, "/config/");
        if (!path.data) {
            item_fail(item, ERR_NOMEM, "%s", "");
            continue;
        }
        admin_get(admin, item, SLICE("/controller"), owner_read);
        admin_get(admin, item, path, config_read);
    }
    admin_proceed(admin, SHOWN_WITHIN_MS);
}
