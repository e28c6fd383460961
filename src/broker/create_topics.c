/* create_topics.c: new topics (CreateTopics). The answer tells, from version 5 on, what the new topic's configuration comes to
 * (KIP-525), to those who may describe it.
 * Source: facts/cluster.md 3.8, facts/api-versions.md 2.1. */
#include "base/twice.h"
#include "broker/admin.h"
#include "broker/handlers.h"
#include "settings/settings.h"
#include "wire/messages.h"

typedef struct create_topics_request_creatable_topic creatable_topic;
typedef struct create_topics_response_creatable_topic_result topic_answer;
typedef struct create_topics_response_creatable_topic_configs config_answer;

struct create_topics {
    const struct create_topics_request *asked;
    struct create_topics_request passed; /* those that are for the controller to judge */
    int32_t *places;                     /* of each passed one in `response` */
    struct create_topics_response response, answer;
};

/* --- what was made --- */

static void add_config(void *context, const struct setting_description *description)
{
    topic_answer *topic = context;
    if (description->is_internal) return;
    topic->configs.items[topic->configs.count++] =
        (config_answer){.name = slice_of(description->name),
                        .value = slice_of(description->value),
                        .read_only = description->is_read_only,
                        .config_source = (int8_t)description->source,
                        .is_sensitive = description->is_sensitive};
}

static void describe(struct request *request, const creatable_topic *asked, topic_answer *topic)
{
    topic->configs.items = NULL;
    topic->configs.count = 0;
    if (request->version < 5) return;
    if (!request_may(request, ACL_DESCRIBE_CONFIGS, ACL_TOPIC, topic->name)) {
        topic->topic_config_error_code = error_kafka_code(ERR_TOPIC_AUTHORIZATION_FAILED);
        topic->num_partitions = -1;
        topic->replication_factor = -1;
        return;
    }
    size_t count = asked->configs.count > 0 ? (size_t)asked->configs.count : 0;
    struct setting_pair *overrides = request_alloc(request, count, sizeof *overrides);
    topic->configs.items = request_alloc(request, topic_setting_table()->count, sizeof *topic->configs.items);
    if (!overrides || !topic->configs.items) return;
    for (size_t i = 0; i < count; i++) {
        overrides[i] = (struct setting_pair){asked->configs.items[i].name, asked->configs.items[i].value};
    }
    if (settings_describe_topic(request->home->settings, overrides, count, &request->arena, add_config,
                                topic) != OK) {
        topic->configs.count = 0;
    }
}

static void created(struct controller_call *call)
{
    struct request *request = call->context;
    struct create_topics *create = request->work;
    struct admin_verdict whole = admin_call_verdict(call);
    for (int32_t i = 0; i < create->passed.topics.count; i++) {
        topic_answer *topic = &create->response.topics.items[create->places[i]];
        if (call->err != OK) {
            topic->error_code = error_kafka_code(whole.err);
            topic->error_message = whole.message;
            continue;
        }
        struct slice name = topic->name;
        *topic = create->answer.topics.items[i];
        topic->name = name;
        if (topic->error_code == 0) describe(request, &create->passed.topics.items[i], topic);
    }
    request_answer(request, &create->response);
}

/* --- what is asked --- */

static struct admin_verdict judge(struct request *request, const creatable_topic *topic, bool is_twice)
{
    if (is_twice) return admin_refuse(ERR_INVALID_REQUEST, "the request names this topic more than once");
    if (slice_is(topic->name, "__cluster_metadata")) {
        return admin_refuse(ERR_TOPIC_AUTHORIZATION_FAILED, "this name is reserved");
    }
    if (request_may(request, ACL_CREATE, ACL_CLUSTER, ACL_CLUSTER_NAME) ||
        request_may(request, ACL_CREATE, ACL_TOPIC, topic->name)) {
        return ADMIN_OK;
    }
    return admin_refuse(ERR_TOPIC_AUTHORIZATION_FAILED, "not authorized to create this topic");
}

void handle_create_topics(struct request *request, void *body)
{
    const struct create_topics_request *asked = body;
    size_t count = asked->topics.count > 0 ? (size_t)asked->topics.count : 0;
    struct create_topics *create = request_alloc(request, 1, sizeof *create);
    topic_answer *answers = request_alloc(request, count, sizeof *answers);
    creatable_topic *passed = request_alloc(request, count, sizeof *passed);
    int32_t *places = request_alloc(request, count, sizeof *places);
    struct slice *names = request_alloc(request, count, sizeof *names);
    for (size_t i = 0; names && i < count; i++) names[i] = asked->topics.items[i].name;
    const bool *is_twice = names ? find_twice(&request->arena, names, count) : NULL;
    if (!create || !answers || !passed || !places || !is_twice) {
        request_close(request);
        return;
    }
    request->work = create;
    create->asked = asked;
    create->places = places;
    create->passed = *asked;
    create->passed.topics.items = passed;
    create->passed.topics.count = 0;
    create_topics_response_init(&create->response);
    create->response.topics.items = answers;
    create->response.topics.count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        const creatable_topic *topic = &asked->topics.items[i];
        create_topics_response_creatable_topic_result_init(&answers[i]);
        answers[i].name = topic->name;
        struct admin_verdict verdict = judge(request, topic, is_twice[i]);
        answers[i].error_code = error_kafka_code(verdict.err);
        answers[i].error_message = verdict.message;
        if (verdict.err != OK) continue;
        places[create->passed.topics.count] = (int32_t)i;
        passed[create->passed.topics.count++] = *topic;
    }
    if (create->passed.topics.count == 0) {
        request_answer(request, &create->response);
    } else if (!admin_submit(request, request->version, &create->passed, &create->answer, created)) {
        request_close(request);
    }
}
