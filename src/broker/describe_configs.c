/* describe_configs.c: what settings come to, and where each value is from (DescribeConfigs).
 *
 *   topic          overrides of its znode over the broker's settings over Kafka's defaults
 *   broker "N"     all of this broker's settings
 *   broker ""      what is set for all brokers, and nothing else
 *   broker logger  how much this broker tells (broker_loggers.h)
 *
 * A topic whose overrides this broker has not read yet (it has no replica here) is read first, on the control loop.
 * Source: facts/api-versions.md 2.1; KIP-226, KIP-412, KIP-569. */
#include "broker/admin.h"
#include "broker/broker_loggers.h"
#include "broker/handlers.h"
#include "settings/settings.h"
#include "wire/messages.h"

typedef struct describe_configs_request_describe_configs_resource resource_asked;
typedef struct describe_configs_response_describe_configs_result resource_answer;
typedef struct describe_configs_response_describe_configs_resource_result config_answer;
typedef struct describe_configs_response_describe_configs_synonym synonym_answer;

enum { SOURCE_BROKER_LOGGER = 6 };

struct describe_configs {
    const struct describe_configs_request *asked;
    struct slice *unread; /* names of topics */
    size_t unread_count;
};

/* One resource being described. */
struct describing {
    struct request *request;
    const struct describe_configs_request *asked;
    const resource_asked *resource;
    resource_answer *answer;
    bool is_default_of_all;
    bool is_out_of_memory;
};

static bool wants(const resource_asked *resource, const char *name)
{
    if (resource->configuration_keys.count <= 0) return true;
    for (int32_t i = 0; i < resource->configuration_keys.count; i++) {
        if (slice_is(resource->configuration_keys.items[i], name)) return true;
    }
    return false;
}

static void fill_synonyms(struct describing *describing, const struct setting_description *description,
                          config_answer *config)
{
    synonym_answer *synonyms =
        request_alloc(describing->request, description->synonym_count, sizeof *synonyms);
    if (!synonyms) {
        describing->is_out_of_memory = true;
        return;
    }
    config->synonyms.items = synonyms;
    for (size_t i = 0; i < description->synonym_count; i++) {
        const struct setting_synonym *synonym = &description->synonyms[i];
        if (describing->is_default_of_all && synonym->source != SOURCE_DYNAMIC_DEFAULT) continue;
        synonyms[config->synonyms.count++] = (synonym_answer){.name = slice_of(synonym->name),
                                                              .value = slice_of(synonym->value),
                                                              .source = (int8_t)synonym->source};
    }
}

/* What all brokers have by default, NULL when this key is not among it. */
static const struct setting_synonym *default_of_all(const struct setting_description *description)
{
    for (size_t i = 0; i < description->synonym_count; i++) {
        const struct setting_synonym *synonym = &description->synonyms[i];
        bool is_own = slice_is(slice_of(synonym->name), description->name);
        if (is_own && synonym->source == SOURCE_DYNAMIC_DEFAULT) return synonym;
    }
    return NULL;
}

static void add(void *context, const struct setting_description *description)
{
    struct describing *describing = context;
    int16_t version = describing->request->version;
    if (description->is_internal || !wants(describing->resource, description->name)) return;
    const struct setting_synonym *of_all = describing->is_default_of_all ? default_of_all(description) : NULL;
    if (describing->is_default_of_all && !of_all) return;

    config_answer *config = &describing->answer->configs.items[describing->answer->configs.count++];
    enum setting_source source = of_all ? of_all->source : description->source;
    *config = (config_answer){.name = slice_of(description->name),
                              .value = slice_of(of_all ? of_all->value : description->value),
                              .read_only = description->is_read_only,
                              .is_default = version == 0 && source == SOURCE_DEFAULT,
                              .config_source = (int8_t)source,
                              .is_sensitive = description->is_sensitive,
                              .config_type = (int8_t)description->type};
    if (describing->asked->include_documentation) config->documentation = slice_of(description->doc);
    if (describing->asked->include_synonyms) fill_synonyms(describing, description, config);
}

static enum error describe_topic(struct describing *describing)
{
    struct request *request = describing->request;
    const struct image_config *config =
        image_config(request_image(request), CONFIG_TOPIC, describing->resource->resource_name);
    size_t count = config ? (size_t)config->entry_count : 0;
    struct setting_pair *overrides = request_alloc(request, count, sizeof *overrides);
    if (!overrides) return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        overrides[i] = (struct setting_pair){config->entries[i].key, config->entries[i].value};
    }
    return settings_describe_topic(request->home->settings, overrides, count, &request->arena, add,
                                   describing);
}

static void describe_logger(struct describing *describing)
{
    if (!wants(describing->resource, "root")) return;
    config_answer *config = &describing->answer->configs.items[describing->answer->configs.count++];
    *config = (config_answer){.name = ROOT_LOGGER,
                              .value = root_logger_level(),
                              .config_source = SOURCE_BROKER_LOGGER,
                              .config_type = SETTING_STRING};
    if (describing->asked->include_documentation) {
        config->documentation = SLICE("How much the broker tells on standard error.");
    }
    if (!describing->asked->include_synonyms) return;
    config->synonyms.items = request_alloc(describing->request, 1, sizeof *config->synonyms.items);
    if (!config->synonyms.items) return;
    config->synonyms.count = 1;
    config->synonyms.items[0] =
        (synonym_answer){.name = ROOT_LOGGER, .value = config->value, .source = SOURCE_BROKER_LOGGER};
}

static enum error describe(struct describing *describing)
{
    struct request *request = describing->request;
    int8_t type = describing->resource->resource_type;
    size_t most = type == RESOURCE_TOPIC ? topic_setting_table()->count : broker_setting_table()->count;
    describing->answer->configs.items =
        request_alloc(request, most, sizeof *describing->answer->configs.items);
    if (!describing->answer->configs.items) return ERR_NOMEM;
    enum error err = OK;
    if (type == RESOURCE_TOPIC) {
        err = describe_topic(describing);
    } else if (type == RESOURCE_BROKER_LOGGER) {
        describe_logger(describing);
    } else {
        describing->is_default_of_all = describing->resource->resource_name.size == 0;
        err = settings_describe_broker(request->home->settings, &request->arena, add, describing);
    }
    return err == OK && describing->is_out_of_memory ? ERR_NOMEM : err;
}

static void answer(struct request *request)
{
    const struct describe_configs *work = request->work;
    const struct describe_configs_request *asked = work->asked;
    struct describe_configs_response response;
    describe_configs_response_init(&response);
    size_t count = asked->resources.count > 0 ? (size_t)asked->resources.count : 0;
    response.results.items = request_alloc(request, count, sizeof *response.results.items);
    if (!response.results.items) {
        request_close(request);
        return;
    }
    response.results.count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        const resource_asked *resource = &asked->resources.items[i];
        resource_answer *result = &response.results.items[i];
        *result = (resource_answer){.resource_type = resource->resource_type,
                                    .resource_name = resource->resource_name};
        struct admin_verdict verdict = admin_check_resource(request, ACL_DESCRIBE_CONFIGS,
                                                            resource->resource_type, resource->resource_name);
        if (verdict.err == OK) {
            struct describing describing = {
                .request = request, .asked = asked, .resource = resource, .answer = result};
            enum error err = describe(&describing);
            if (err != OK) verdict = admin_refuse(err, error_text(err));
            if (err != OK) result->configs.count = 0;
        }
        result->error_code = error_kafka_code(verdict.err);
        result->error_message = verdict.message;
    }
    request_answer(request, &response);
}

/* --- topics that are not read yet --- */

static void topics_read(void *context)
{
    struct request *request = context;
    request_run_on(request, request->home->loop, answer);
}

/* The control loop. */
static void read_topics(struct request *request)
{
    struct describe_configs *work = request->work;
    config_watch_need_topics(request_broker(request)->parts.configs, work->unread, work->unread_count,
                             topics_read, request);
}

void handle_describe_configs(struct request *request, void *body)
{
    const struct describe_configs_request *asked = body;
    size_t count = asked->resources.count > 0 ? (size_t)asked->resources.count : 0;
    struct describe_configs *work = request_alloc(request, 1, sizeof *work);
    struct slice *unread = request_alloc(request, count, sizeof *unread);
    if (!work || !unread) {
        request_close(request);
        return;
    }
    work->asked = asked;
    work->unread = unread;
    request->work = work;
    const struct image *image = request_image(request);
    for (size_t i = 0; i < count; i++) {
        struct slice name = asked->resources.items[i].resource_name;
        bool is_topic = asked->resources.items[i].resource_type == RESOURCE_TOPIC && image_topic(image, name);
        if (!is_topic || image_config(image, CONFIG_TOPIC, name)) continue;
        if (request_may(request, ACL_DESCRIBE_CONFIGS, ACL_TOPIC, name)) unread[work->unread_count++] = name;
    }
    if (work->unread_count == 0)
        answer(request);
    else
        request_run_on(request, request_broker(request)->options.loops[0], read_topics);
}
