#include "broker/topic_creation.h"

#include "base/diag.h"
#include "controller/controller.h"
#include "settings/settings.h"

struct creation {
    struct controller_call call;
    struct create_topics_request asked;
    struct create_topics_response answer;
    struct request *request;
    void (*step)(struct request *request);
};

typedef struct create_topics_request_creatable_topic creatable_topic;
typedef struct create_topics_request_creatable_topic_config creatable_config;

static void created(struct controller_call *call)
{
    struct creation *creation = CONTAINER_OF(call, struct creation, call);
    if (call->err != OK) diag_debug("could not create a topic on first use: %s", error_text(call->err));
    for (int32_t i = 0; call->err == OK && i < creation->answer.topics.count; i++) {
        const struct create_topics_response_creatable_topic_result *topic = &creation->answer.topics.items[i];
        enum error err = error_from_kafka(topic->error_code);
        if (err == OK || err == ERR_TOPIC_ALREADY_EXISTS) continue;
        diag_debug("could not create topic \"%.*s\" on first use: %s", SLICE_ARG(topic->name),
                   error_text(err));
    }
    creation->step(creation->request);
}

/* Settings of __consumer_offsets, as Apache Kafka creates it (facts/coordinators.md 1). */
static bool describe_internal(struct request *request, creatable_topic *topic)
{
    const struct settings *settings = request->home->settings;
    int32_t brokers = (int32_t)image_broker_count(request_image(request));
    creatable_config *configs = request_alloc(request, 3, sizeof *configs);
    if (!configs) return false;
    bool is_offsets = slice_is(topic->name, "__consumer_offsets");
    topic->num_partitions =
        (int32_t)settings_long(settings, is_offsets ? SETTING_OFFSETS_TOPIC_NUM_PARTITIONS
                                                    : SETTING_TRANSACTION_STATE_LOG_NUM_PARTITIONS);
    topic->replication_factor =
        (int16_t)settings_replication_factor(settings,
                                             is_offsets ? SETTING_OFFSETS_TOPIC_REPLICATION_FACTOR
                                                        : SETTING_TRANSACTION_STATE_LOG_REPLICATION_FACTOR,
                                             brokers);
    int64_t segment_bytes = settings_long(settings, is_offsets ? SETTING_OFFSETS_TOPIC_SEGMENT_BYTES
                                                               : SETTING_TRANSACTION_STATE_LOG_SEGMENT_BYTES);
    configs[0] = (creatable_config){.name = SLICE("cleanup.policy"), .value = SLICE("compact")};
    configs[1] = (creatable_config){.name = SLICE("segment.bytes"),
                                    .value = arena_printf(&request->arena, "%lld", (long long)segment_bytes)};
    configs[2] = (creatable_config){.name = SLICE("compression.type"),
                                    .value = is_offsets ? SLICE("producer") : SLICE("uncompressed")};
    topic->configs.items = configs;
    topic->configs.count = 3;
    return true;
}

bool topics_create(struct request *request, const struct slice *names, size_t count,
                   void (*step)(struct request *request))
{
    struct creation *creation = request_alloc(request, 1, sizeof *creation);
    creatable_topic *topics = request_alloc(request, count, sizeof *topics);
    if (!creation || !topics) return false;
    for (size_t i = 0; i < count; i++) {
        topics[i].name = names[i];
        topics[i].num_partitions = -1;
        topics[i].replication_factor = -1;
        if (topic_is_internal(names[i]) && !describe_internal(request, &topics[i])) return false;
    }
    create_topics_request_init(&creation->asked);
    creation->asked.topics.items = topics;
    creation->asked.topics.count = (int32_t)count;
    creation->asked.timeout_ms = TOPIC_CREATION_WAIT_MS;
    creation->request = request;
    creation->step = step;
    creation->call = (struct controller_call){.api_key = 19,
                                              .version = 7,
                                              .request = &creation->asked,
                                              .arena = &request->arena,
                                              .response = &creation->answer,
                                              .is_auto_creation = true,
                                              .home = request->home->loop,
                                              .done = created};
    controller_submit(request_broker(request)->parts.controller, &creation->call);
    return true;
}
