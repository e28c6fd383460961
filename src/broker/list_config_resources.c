/* list_config_resources.c: which resources have configurations (ListConfigResources, KIP-1142). Version 0 asks for
 * client metrics alone, of which there are none here. Source: facts/api-versions.md 2.1. */
#include "broker/admin.h"
#include "broker/handlers.h"
#include "wire/messages.h"

typedef struct list_config_resources_response_config_resource config_resource;

struct wanted_types {
    bool topics, brokers, loggers;
};

/* ERR_UNSUPPORTED_VERSION for a type that this version cannot ask for. */
static enum error read_types(const struct request *request, const struct list_config_resources_request *asked,
                             struct wanted_types *wanted)
{
    *wanted = (struct wanted_types){0};
    if (request->version == 0) return OK;
    bool is_all = asked->resource_types.count <= 0;
    *wanted = (struct wanted_types){is_all, is_all, is_all};
    for (int32_t i = 0; i < asked->resource_types.count; i++) {
        switch (asked->resource_types.items[i]) {
        case RESOURCE_TOPIC: wanted->topics = true; break;
        case RESOURCE_BROKER: wanted->brokers = true; break;
        case RESOURCE_BROKER_LOGGER: wanted->loggers = true; break;
        case RESOURCE_CLIENT_METRICS:
        case RESOURCE_GROUP: break; /* none here */
        default: return ERR_UNSUPPORTED_VERSION;
        }
    }
    return OK;
}

static void add(struct list_config_resources_response *response, int8_t type, struct slice name)
{
    response->config_resources.items[response->config_resources.count++] =
        (config_resource){.resource_name = name, .resource_type = type};
}

static bool add_brokers(struct request *request, const struct image *image, int8_t type,
                        struct list_config_resources_response *response)
{
    for (size_t i = 0; i < image_broker_count(image); i++) {
        struct slice name = arena_printf(&request->arena, "%d", image_broker_at(image, i)->id);
        if (!name.data) return false;
        add(response, type, name);
    }
    return true;
}

void handle_list_config_resources(struct request *request, void *body)
{
    struct list_config_resources_response response;
    list_config_resources_response_init(&response);
    struct wanted_types wanted;
    enum error err = read_types(request, body, &wanted);
    if (!request_may(request, ACL_DESCRIBE_CONFIGS, ACL_CLUSTER, ACL_CLUSTER_NAME)) {
        err = ERR_CLUSTER_AUTHORIZATION_FAILED;
    }
    response.error_code = error_kafka_code(err);
    if (err != OK) {
        request_answer(request, &response);
        return;
    }
    const struct image *image = request_image(request);
    size_t most = image_topic_count(image) + 2 * image_broker_count(image);
    response.config_resources.items = request_alloc(request, most, sizeof *response.config_resources.items);
    bool has_memory = response.config_resources.items != NULL;
    if (has_memory && wanted.topics) {
        const struct image_topic *topic = image_next_topic(image, SLICE_NULL, false);
        for (; topic; topic = image_next_topic(image, topic->name, true))
            add(&response, RESOURCE_TOPIC, topic->name);
    }
    if (has_memory && wanted.brokers) has_memory = add_brokers(request, image, RESOURCE_BROKER, &response);
    if (has_memory && wanted.loggers)
        has_memory = add_brokers(request, image, RESOURCE_BROKER_LOGGER, &response);
    if (has_memory)
        request_answer(request, &response);
    else
        request_close(request);
}
