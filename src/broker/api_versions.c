/* api_versions.c: what we serve (KIP-35, KIP-511, KIP-584). */
#include <stdlib.h>
#include <string.h>

#include "broker/channel.h"
#include "broker/handlers.h"
#include "broker/request.h"
#include "wire/messages.h"

const struct api_row *broker_api(const struct broker *broker, int16_t key)
{
    return key >= 0 && (size_t)key < broker->api_by_key_count ? broker->api_by_key[key] : NULL;
}

enum error broker_apis_init(struct broker *broker)
{
    static const struct api_row rows[] = {
#define API(name, key, min, max, served_from, may_pipeline, handler)                                         \
    {key, #name, min, max, served_from, may_pipeline, handler, NULL},
#include "broker/api.def"
#undef API
    };
    size_t count = sizeof rows / sizeof *rows;
    size_t keys = (size_t)rows[count - 1].key + 1;
    broker->apis = calloc(count, sizeof *broker->apis);
    broker->api_by_key = calloc(keys, sizeof *broker->api_by_key);
    if (!broker->apis || !broker->api_by_key) return ERR_NOMEM;
    broker->api_count = count;
    broker->api_by_key_count = keys;
    for (size_t i = 0; i < count; i++) {
        broker->apis[i] = rows[i];
        broker->apis[i].api = api_of(rows[i].key);
        broker->api_by_key[rows[i].key] = &broker->apis[i];
    }
    return OK;
}

/* [A-Za-z0-9] with - and . inside. */
static bool is_software_text(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        bool is_alphanumeric = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool is_inside = i > 0 && i + 1 < text.size;
        if (!is_alphanumeric && !(is_inside && (c == '-' || c == '.'))) return false;
    }
    return text.size > 0;
}

static void remember_software(struct channel *channel, struct slice name, struct slice version)
{
    char *text = malloc(name.size + version.size + 2);
    if (!text) return;
    slice_text(name, text, name.size + 1);
    slice_text(version, text + name.size + 1, version.size + 1);
    free(channel->software);
    channel->software = text;
}

static void list_apis(struct request *request, struct api_versions_response *response)
{
    const struct broker *broker = request_broker(request);
    response->api_keys.items = request_alloc(request, broker->api_count, sizeof *response->api_keys.items);
    if (!response->api_keys.items) return;
    response->api_keys.count = (int32_t)broker->api_count;
    for (size_t i = 0; i < broker->api_count; i++) {
        const struct api_row *row = &broker->apis[i];
        response->api_keys.items[i].api_key = row->key;
        response->api_keys.items[i].min_version = row->min_version;
        response->api_keys.items[i].max_version = row->max_version;
    }
}

static void list_features(struct request *request, struct api_versions_response *response)
{
    const struct image *image = request_image(request);
    size_t count = image_feature_count(image);
    response->finalized_features_epoch = image_feature_epoch(image);
    response->finalized_features.items =
        request_alloc(request, count, sizeof *response->finalized_features.items);
    if (!response->finalized_features.items) return;
    response->finalized_features.count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        const struct image_feature *feature = image_feature_at(image, i);
        response->finalized_features.items[i].name = feature->name;
        response->finalized_features.items[i].max_version_level = feature->max_level;
        response->finalized_features.items[i].min_version_level = feature->min_level;
    }
}

void handle_api_versions(struct request *request, void *body)
{
    struct api_versions_response response;
    api_versions_response_init(&response);
    const struct api_versions_request *asked = body;
    if (!asked) { /* a version we do not know: told in version 0 which ones we do */
        response.error_code = error_kafka_code(ERR_UNSUPPORTED_VERSION);
        response.api_keys.items = request_alloc(request, 1, sizeof *response.api_keys.items);
        if (response.api_keys.items) {
            response.api_keys.count = 1;
            response.api_keys.items[0].api_key = request->api->key;
            response.api_keys.items[0].min_version = request->api->min_version;
            response.api_keys.items[0].max_version = request->api->max_version;
        }
    } else if (request->version >= 3 && (!is_software_text(asked->client_software_name) ||
                                         !is_software_text(asked->client_software_version))) {
        response.error_code = error_kafka_code(ERR_INVALID_REQUEST);
    } else {
        if (request->version >= 3 && request->channel) {
            remember_software(request->channel, asked->client_software_name, asked->client_software_version);
        }
        list_apis(request, &response);
        list_features(request, &response);
    }
    request_answer(request, &response);
}
