/* delete_topics.c: topics on their way out (DeleteTopics), by name, from version 6 on also by id.
 * Source: facts/cluster.md 3.8, facts/api-versions.md 2.1; KIP-516. */
#include "base/twice.h"
#include "broker/admin.h"
#include "broker/handlers.h"
#include "settings/settings.h"
#include "wire/messages.h"

typedef struct delete_topics_request_delete_topic_state topic_state;
typedef struct delete_topics_response_deletable_topic_result topic_answer;

enum { VERSION_WITH_IDS = 6, VERSION_THAT_KNOWS_DISABLED = 3 };

/* To the controller go names, in the form of version 6, whatever came. */
struct delete_topics {
    struct delete_topics_request passed;
    int32_t *places; /* of each passed one in `response` */
    struct delete_topics_response response, answer;
};

static void deleted(struct controller_call *call)
{
    struct request *request = call->context;
    struct delete_topics *work = request->work;
    struct admin_verdict whole = admin_call_verdict(call);
    for (int32_t i = 0; i < work->passed.topics.count; i++) {
        topic_answer *topic = &work->response.responses.items[work->places[i]];
        bool is_answered = call->err == OK;
        topic->error_code =
            is_answered ? work->answer.responses.items[i].error_code : error_kafka_code(whole.err);
        topic->error_message = is_answered ? work->answer.responses.items[i].error_message : whole.message;
    }
    request_answer(request, &work->response);
}

/* What is to be deleted: the name, in the request's memory, and who it is. An id whose topic may not be described must not
 * give away the name. */
static struct admin_verdict judge(struct request *request, const topic_state *asked, bool is_twice,
                                  topic_answer *answer)
{
    const struct image *image = request_image(request);
    bool is_by_id = !uuid_is_zero(&asked->topic_id);
    answer->name = asked->name;
    answer->topic_id = asked->topic_id;
    if (is_by_id && asked->name.data) {
        return admin_refuse(ERR_INVALID_REQUEST,
                            "a topic has both a name and an id; one of them would be right");
    }
    if (!is_by_id && !asked->name.data) {
        return admin_refuse(ERR_INVALID_REQUEST, "a topic has neither a name nor an id");
    }
    if (is_twice) return admin_refuse(ERR_INVALID_REQUEST, "the request names this topic more than once");
    if (!admin_is_controller(request)) {
        return admin_refuse(ERR_NOT_CONTROLLER, error_text(ERR_NOT_CONTROLLER));
    }
    const struct image_topic *topic =
        is_by_id ? image_topic_by_id(image, &asked->topic_id) : image_topic(image, asked->name);
    if (is_by_id && !topic) return admin_refuse(ERR_UNKNOWN_TOPIC_ID, "no topic has this id");
    struct slice name = topic ? topic->name : asked->name;
    if (is_by_id && !request_may(request, ACL_DESCRIBE, ACL_TOPIC, name)) {
        return admin_refuse(ERR_TOPIC_AUTHORIZATION_FAILED, "not authorized to see this topic");
    }
    if (is_by_id) answer->name = arena_copy(&request->arena, name);
    if (!request_may(request, ACL_DELETE, ACL_TOPIC, name)) {
        return admin_refuse(ERR_TOPIC_AUTHORIZATION_FAILED, "not authorized to delete this topic");
    }
    if (!topic) return admin_refuse(ERR_UNKNOWN_TOPIC_OR_PARTITION, "there is no such topic");
    answer->topic_id = topic->id;
    if (settings_bool(request->home->settings, SETTING_DELETE_TOPIC_ENABLE)) return ADMIN_OK;
    return admin_refuse(request->version >= VERSION_THAT_KNOWS_DISABLED ? ERR_TOPIC_DELETION_DISABLED
                                                                        : ERR_INVALID_REQUEST,
                        "delete.topic.enable is false");
}

/* Both forms of the request as one list. NULL without memory. */
static const topic_state *asked_topics(struct request *request, const struct delete_topics_request *asked,
                                       size_t *count)
{
    if (request->version >= VERSION_WITH_IDS) {
        *count = asked->topics.count > 0 ? (size_t)asked->topics.count : 0;
        return *count > 0 ? asked->topics.items : request_alloc(request, 1, sizeof(topic_state));
    }
    *count = asked->topic_names.count > 0 ? (size_t)asked->topic_names.count : 0;
    topic_state *topics = request_alloc(request, *count, sizeof *topics);
    for (size_t i = 0; topics && i < *count; i++) topics[i].name = asked->topic_names.items[i];
    return topics;
}

/* A topic named once by name and once by id is named twice, too. NULL without memory. */
static const bool *find_named_twice(struct request *request, const topic_state *topics, size_t count)
{
    const struct image *image = request_image(request);
    struct slice *names = request_alloc(request, count, sizeof *names);
    if (!names) return NULL;
    for (size_t i = 0; i < count; i++) {
        const struct image_topic *topic =
            uuid_is_zero(&topics[i].topic_id) ? NULL : image_topic_by_id(image, &topics[i].topic_id);
        names[i] = topic ? topic->name : topics[i].name;
    }
    return find_twice(&request->arena, names, count);
}

void handle_delete_topics(struct request *request, void *body)
{
    const struct delete_topics_request *asked = body;
    size_t count;
    const topic_state *topics = asked_topics(request, asked, &count);
    struct delete_topics *work = request_alloc(request, 1, sizeof *work);
    topic_answer *answers = request_alloc(request, count, sizeof *answers);
    topic_state *passed = request_alloc(request, count, sizeof *passed);
    int32_t *places = request_alloc(request, count, sizeof *places);
    const bool *is_twice = topics ? find_named_twice(request, topics, count) : NULL;
    if (!work || !answers || !passed || !places || !is_twice) {
        request_close(request);
        return;
    }
    request->work = work;
    work->places = places;
    delete_topics_request_init(&work->passed);
    work->passed.topics.items = passed;
    work->passed.timeout_ms = asked->timeout_ms;
    delete_topics_response_init(&work->response);
    work->response.responses.items = answers;
    work->response.responses.count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        delete_topics_response_deletable_topic_result_init(&answers[i]);
        struct admin_verdict verdict = judge(request, &topics[i], is_twice[i], &answers[i]);
        answers[i].error_code = error_kafka_code(verdict.err);
        answers[i].error_message = verdict.message;
        if (verdict.err != OK) continue;
        places[work->passed.topics.count] = (int32_t)i;
        passed[work->passed.topics.count++] = (topic_state){.name = answers[i].name};
    }
    if (work->passed.topics.count == 0) {
        request_answer(request, &work->response);
    } else if (!admin_submit(request, VERSION_WITH_IDS, &work->passed, &work->answer, deleted)) {
        request_close(request);
    }
}
